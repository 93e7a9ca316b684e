"""Pairs of words, other indices, and hierarchies that the user gives, against brute force; and a real network of sentences."""

from itertools import combinations, permutations, product
from math import comb

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage

import whybox as wb
from whybox.errors import OptionError
from whybox.explainers import PartitionShap

WORDS = ("not", "a", "good", "film", "but", "long")
TEXT = " ".join(WORDS)


def judge(texts):
    """A function of which words are there, with pairs and a triple."""
    out = []
    for text in texts:
        there = set(text.split())
        out.append(
            1.0 * ("good" in there)
            - 2.5 * ({"not", "good"} <= there)
            - 0.7 * ({"but", "long"} <= there)
            + 0.3 * ({"good", "film", "long"} <= there)
            + 0.9 * ({"a", "good", "film"} <= there)
        )
    return np.array(out)


def worth(coalition):
    return judge([" ".join(w for i, w in enumerate(WORDS) if i in coalition)])[0]


def subsets(players):
    return [frozenset(c) for k in range(len(players) + 1) for c in combinations(players, k)]


def marginals(i):
    others = [p for p in range(len(WORDS)) if p != i]
    return {s: worth(s | {i}) - worth(s) for s in subsets(others)}


def orders_of(nested):
    """All orders that keep the players of each block together."""
    if not isinstance(nested, list):
        return [(nested,)]
    parts = [orders_of(part) for part in nested]
    return [
        tuple(p for i in order for p in chosen[i])
        for chosen in product(*parts)
        for order in permutations(range(len(parts)))
    ]


def owen(nested):
    orders = orders_of(nested)
    out = np.zeros(len(WORDS))
    for order in orders:
        for k, word in enumerate(order):
            out[word] += (worth(frozenset(order[: k + 1])) - worth(frozenset(order[:k]))) / len(orders)
    return out


def test_pairs_of_words_are_shapley_interactions():
    n = len(WORDS)
    want = np.zeros((n, n))
    for i, j in combinations(range(n), 2):
        for s in subsets([p for p in range(n) if p not in (i, j)]):
            change = worth(s | {i, j}) - worth(s | {i}) - worth(s | {j}) + worth(s)
            want[i, j] += change / ((n - 1) * comb(n - 2, len(s))) / 2
    want += want.T
    e = wb.explain(judge, TEXT, order=2)
    assert (e.kind, e.dims) == ("interaction", ("row", "feature", "feature_2"))
    assert e.feature_names == WORDS
    single = wb.explain(judge, TEXT)
    np.testing.assert_allclose(e.values[0] * (1 - np.eye(n)), want, atol=1e-12)
    np.testing.assert_allclose(e.values[0].sum(axis=1), single.values[0], atol=1e-12)
    np.testing.assert_allclose(e.base + e.values.sum(), e.prediction[0], atol=1e-12)
    assert float(e[0, "not", "good"]) < -0.5
    assert e.plot.heatmap() is not None
    assert len(e.to_frame()) == n * n
    assert np.isfinite(wb.explain(judge, "good", order=2).values).all()
    twice = wb.explain(lambda texts: [float(t.count("good")) for t in texts], "good, good", order=2, by_position=True)
    assert twice.feature_names == ("good (1)", "good (2)")
    with pytest.raises(OptionError, match="order=2 takes one text at a time, and these are 2"):
        wb.explain(judge, [TEXT, TEXT], order=2)


@pytest.mark.parametrize(
    ("index", "weight"),
    [("banzhaf", lambda s, n: 1 / 2 ** (n - 1)), ("banzhaf(0.3)", lambda s, n: 0.3**s * 0.7 ** (n - 1 - s))],
)
def test_other_indices_of_words(index, weight):
    n = len(WORDS)
    want = [sum(weight(len(s), n) * change for s, change in marginals(i).items()) for i in range(n)]
    e = wb.explain(judge, TEXT, index=index)
    np.testing.assert_allclose(e.values[0], want, atol=1e-12)
    assert (e.evidence.index, e.evidence.additive, e.evidence.residual) == (index, False, 0.0)


NESTED = [["not", "good"], ["film", ["but", "long"]]]  # "a" stands beside
POSITIONS = [[0, 2], [3, [4, 5]], 1]


@pytest.mark.parametrize(
    "hierarchy",
    [NESTED, (("not", "good"), {"of": "film", "what": ["but", "long"]}), [[0, "good"], [3, [4, 5]]], lambda text: NESTED if text == TEXT else None],
)  # fmt: skip
def test_words_share_in_blocks_of_the_users_own(hierarchy):
    e = wb.explain(judge, TEXT, method="partition_shap", hierarchy=hierarchy)
    assert e.evidence.exact
    assert e.evidence.settings["hierarchy"] == "as given"
    assert "blocks of words, as given" in e.evidence.estimand
    np.testing.assert_allclose(e.values[0], owen(POSITIONS), atol=1e-12)
    assert np.abs(e.values - wb.explain(judge, TEXT, method="partition_shap").values).max() > 1e-3
    assert PartitionShap(judge, hierarchy=hierarchy).hierarchy_of(TEXT) == [["not", "good"], ["film", ["but", "long"]], "a"]  # fmt: skip


def test_a_linkage_of_words_is_a_hierarchy():
    matrix = linkage(np.array([[0.0], [9.0], [0.1], [5.0], [6.0], [6.2]]), "average")
    explainer = PartitionShap(judge, hierarchy=matrix)
    nested = explainer.hierarchy_of(TEXT)
    places = {word: k for k, word in enumerate(WORDS)}

    def positions(part):
        return [positions(p) for p in part] if isinstance(part, list) else places[part]

    np.testing.assert_allclose(explainer(TEXT).values[0], owen(positions(nested)), atol=1e-12)


def test_several_texts_have_a_hierarchy_each():
    texts = [TEXT, "long but good"]
    each = wb.explain(judge, texts, method="partition_shap", hierarchy=[NESTED, [["long", "good"], "but"]])
    np.testing.assert_allclose(each[0].values, owen(POSITIONS), atol=1e-12)
    one = wb.explain(judge, texts[1], method="partition_shap", hierarchy=[["long", "good"]])
    np.testing.assert_array_equal(each[1].values, one.values[0])
    default = wb.explain(judge, texts, method="partition_shap", hierarchy=[None, None])
    np.testing.assert_array_equal(default.values, wb.explain(judge, texts, method="partition_shap").values)


def test_a_word_that_stands_several_times_is_named_as_often():
    def nested(explainer):
        return explainer.hierarchy_of("the cat and the dog")

    blocks = [["the", "cat"], ["the", "dog"]]
    assert nested(PartitionShap(judge, hierarchy=blocks)) == [["the", "cat"], "dog", "and"]
    apart = PartitionShap(judge, hierarchy=blocks, by_position=True)
    assert nested(apart) == [["the", "cat"], ["the", "dog"], "and"]
    assert nested(PartitionShap(judge)) == [["the", "cat"], ["and", "dog"]]


@pytest.mark.parametrize(
    ("hierarchy", "words"),
    [
        ("sentences", "must be nested lists of words, such as"),
        (3, "must be nested lists of words"),
        ([["nut"]], "names the word 'nut', which the text does not have. Did you mean 'not'"),
        ([["not", "not"]], "names 'not' more often than it stands in the text"),
        ([[0, "not"]], "names 'not' twice; a word stands in one block"),
        ([6], "names position 6; there are 6 words, from 0 on"),
        ([None], "holds None; give names or positions of words"),
        (np.zeros((2, 4)), "a linkage of 6 words has 5 rows"),
        (np.zeros((5, 4)), "is no linkage matrix"),
        (lambda text: text.nested, "raised AttributeError for row 0"),
        (lambda text: 3, "of row 0 must be nested lists"),
    ],
)
def test_hierarchies_that_do_not_fit_are_refused_before_any_work(hierarchy, words):
    asked = []

    def counted(texts):
        asked.extend(texts)
        return judge(texts)

    with pytest.raises(OptionError, match=words.replace("(", r"\(")):
        wb.explain(counted, TEXT, method="partition_shap", hierarchy=hierarchy)
    assert not asked


def test_hierarchies_of_several_texts_and_of_other_methods_are_refused():
    deep = [0]
    for position in range(1, 600):
        deep = [deep, position]
    long = " ".join(f"w{k}" for k in range(600))
    with pytest.raises(OptionError, match="too many blocks within blocks"):
        wb.explain(judge, long, method="partition_shap", hierarchy=deep)
    with pytest.raises(OptionError, match=r"of 2 texts must be a list of as many.*this one has 3"):
        wb.explain(judge, [TEXT, TEXT], method="partition_shap", hierarchy=[[0], [1], [2]])
    for method in ("auto", "exact_shap", "sampled_shap"):
        with pytest.raises(
            OptionError, match="takes no hierarchy; blocks of words are those of method='partition_shap'"
        ):
            wb.explain(judge, TEXT, method=method, hierarchy=NESTED)


def test_sampled_values_over_a_hierarchy_of_the_users_own_hold_the_exact_ones():
    text = " ".join(f"{a}{b}" for b in range(4) for a in WORDS)

    def long_judge(texts):
        return sum(judge([" ".join(w[:-1] for w in t.split() if w.endswith(str(b))) for t in texts]) for b in range(4))

    blocks = [[k + 6 * b for k in range(6)] for b in range(4)]
    exact = wb.explain(long_judge, text, method="partition_shap", hierarchy=blocks, max_evals=10_000)
    assert exact.evidence.exact
    inside = []
    for seed in range(5):
        e = wb.explain(long_judge, text, method="partition_shap", hierarchy=blocks, max_evals=900, tol=0, seed=seed)
        assert not e.evidence.exact
        inside.append((np.abs(e.values - exact.values) <= 1.96 * e.std_error + 1e-12)[np.abs(exact.values) > 1e-9])
    assert np.mean(np.concatenate(inside)) > 0.9


def test_words_of_a_real_network_of_sentences():
    from networks.minilm import minilm

    torch = pytest.importorskip("torch")
    net, tokenizer = minilm()
    tokenizer.enable_padding()

    def vectors(texts):
        out = []
        for text in texts:  # one by one: a row does not depend on how much the others are filled up
            ids = torch.tensor([tokenizer.encode(text).ids])
            with torch.no_grad():
                out.append(net(ids, torch.ones_like(ids))[0].numpy())
        return np.array(out, dtype=float)

    target = vectors(["The weather is bad and it rains."])[0]

    def likeness(texts):
        return vectors(texts) @ target

    text = "heavy rain and storms today"
    e = wb.explain(likeness, text)
    words = text.split()
    n = len(words)
    worths = {
        s: likeness([" ".join(w if i in s else "" for i, w in enumerate(words))])[0] for s in subsets(range(n))
    }  # blanks stay: they are no words
    want = [
        sum((worths[s | {i}] - worths[s]) / (n * comb(n - 1, len(s))) for s in subsets([p for p in range(n) if p != i]))
        for i in range(n)
    ]
    np.testing.assert_allclose(e.values[0], want, atol=1e-6)
    assert words[int(np.argmax(e.values[0]))] in ("rain", "storms")
    owen_values = wb.explain(likeness, text, method="partition_shap")
    np.testing.assert_allclose(owen_values.values.sum(), e.values.sum(), atol=1e-6)
