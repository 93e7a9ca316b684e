"""Shapley and Owen values of words against brute force, on a small classifier of real documentation texts."""

import inspect
from itertools import combinations, permutations, product
from math import comb

import numpy as np
import pytest
import sklearn.cluster
import sklearn.linear_model
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import whybox as wb
from whybox.errors import EmptyDataError, InputError, LimitError, OptionError
from whybox.games.compatible_orders import MIN_DRAWS
from whybox.games.owen import count_coalitions
from whybox.methods.common.words.split import split_text
from whybox.methods.shap.word_hierarchy import word_hierarchy

SHORT = "Clusters of samples: mean shift, not a linear model."  # nine words, all distinct
REPEATED = "Linear models and more linear models; sparse models. Clusters of models!"
LONG = (
    "Fit the linear model with coordinate descent. The regression path is computed for every alpha, the penalty of the coefficients; a cross validation "
    "picks the best one of them. Clusters of samples are found by density, and noise has no cluster, which the labels say."
)


@pytest.fixture(scope="module")
def model():
    texts, topics = [], []
    for topic, module in {"cluster": sklearn.cluster, "linear": sklearn.linear_model}.items():
        for name in module.__all__:
            if text := inspect.getdoc(getattr(module, name)):
                texts.append(text[:400])
                topics.append(topic)
    return make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10)).fit(texts, topics)


class Counting:
    """A function of texts that remembers what it was asked."""

    def __init__(self, model):
        self.model, self.asked = model, []

    def __call__(self, texts):
        self.asked += texts
        return self.model.predict_proba(texts)[:, 1]


def worths(model, text, mask=None, **split):
    """The game of a text, by leaving its words out one by one."""
    words = split_text(text, **split)

    def worth(coalition):
        kept = [
            piece if player < 0 or player in coalition else (mask or "")
            for piece, player in zip(words.pieces, words.player_of.tolist(), strict=True)
        ]
        return model.predict_proba(["".join(kept)])[0, 1]

    return words, {
        frozenset(c): worth(c) for k in range(words.n_words + 1) for c in combinations(range(words.n_words), k)
    }


def shapley(words, worth):
    n = words.n_words
    out = np.zeros(n)
    for i in range(n):
        for coalition, value in worth.items():
            if i not in coalition:
                out[i] += (worth[coalition | {i}] - value) / (n * comb(n - 1, len(coalition)))
    return out


def compatible_orders(nested):
    if not isinstance(nested, list):
        return [(nested,)]
    parts = [compatible_orders(part) for part in nested]
    return [
        tuple(p for i in order for p in chosen[i])
        for chosen in product(*parts)
        for order in permutations(range(len(parts)))
    ]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (SHORT, {}),
        (REPEATED, {}),
        (SHORT, {"mask_string": "UNK"}),
        ("models, models; linear models", {"by_position": True}),
    ],
)
def test_values_of_words_are_shapley_values(model, text, options):
    split = {name: value for name, value in options.items() if name == "by_position"}
    words, worth = worths(model, text, options.get("mask_string"), **split)
    e = wb.explain(model, text, **options)
    assert e.evidence.method_id == "shap.exact_shap"
    assert e.evidence.exact
    assert e.std_error is None
    assert e[0].coords["word"].tolist() == list(words.words)
    np.testing.assert_allclose(e.values[0], shapley(words, worth), atol=1e-12)
    np.testing.assert_allclose(e.base, worth[frozenset()], atol=1e-12)
    np.testing.assert_allclose(e.base + e.values[0].sum(), e.prediction[0], atol=1e-12)
    np.testing.assert_allclose(e.prediction, model.predict_proba([text])[:, 1], atol=1e-12)


@pytest.mark.parametrize("text", [SHORT, REPEATED])
def test_owen_values_of_words_are_means_over_orders_that_keep_neighbours_together(model, text):
    words, worth = worths(model, text)
    orders = compatible_orders(word_hierarchy(words).nested(range(words.n_words)))
    want = np.zeros(words.n_words)
    for order in orders:
        for k, word in enumerate(order):
            want[word] += (worth[frozenset(order[: k + 1])] - worth[frozenset(order[:k])]) / len(orders)
    e = wb.explain(model, text, method="partition_shap")
    assert e.evidence.exact
    assert e.evidence.index == "owen"
    np.testing.assert_allclose(e.values[0], want, atol=1e-12)
    assert np.abs(want - shapley(words, worth)).max() > 1e-3


def test_blocks_are_sentences_then_clauses_then_halves():
    def blocks(text):
        words = split_text(text)
        return word_hierarchy(words).nested(words.words)

    assert blocks("It rains. We stay in, and you go out") == [
        ["It", "rains"],
        [["We", ["stay", "in"]], [["and", "you"], ["go", "out"]]],
    ]
    assert blocks("a b c d") == [["a", "b"], ["c", "d"]]
    assert blocks("one (two three) four") == ["one", [["two", "three"], "four"]]
    assert blocks('He said: "Go!" Then he left.') == [[["He", "said"], "Go"], ["Then", ["he", "left"]]]
    assert blocks("3.5 of a well-known") == [["3", ["5", "of"]], ["a", ["well", "known"]]]  # no ends within words
    assert blocks("word") == "word"
    assert blocks("the cat. the dog") == [["the", "cat"], "dog"]  # a word is where it stands first
    assert blocks("\u732b\uff0c\u72ac\u3002\u9ce5") == [["\u732b", "\u72ac"], "\u9ce5"]


def test_sampled_values_hold_the_exact_ones(model):
    inside = []
    for start in range(5):
        text = " ".join(LONG.split()[3 * start : 3 * start + 14])
        exact = wb.explain(model, text, max_evals=20_000, method="exact")
        assert exact.evidence.exact
        e = wb.explain(model, text, max_evals=300, tol=0, seed=start)
        assert e.evidence.method_id == "shap.sampled_shap"
        assert not e.evidence.exact
        np.testing.assert_allclose(e.base + e.values[0].sum(), e.prediction[0], atol=1e-9)
        inside.append(np.abs(e.values - exact.values) <= 1.96 * e.std_error)
        assert int(e.extras["model_evals"][1][0]) <= 300
    assert np.mean(np.concatenate(inside, axis=1)) >= 0.88


def test_sampled_owen_values_hold_the_exact_ones(model):
    exact = wb.explain(model, LONG, max_evals=20_000, method="partition_shap")
    assert exact.evidence.exact
    inside = []
    for seed in range(6):
        e = wb.explain(model, LONG, max_evals=1_200, tol=0, seed=seed, method="partition_shap")
        assert not e.evidence.exact
        np.testing.assert_allclose(e.base + e.values[0].sum(), e.prediction[0], atol=1e-9)
        inside.append(np.abs(e.values - exact.values) <= 1.96 * e.std_error + 1e-12)
    assert 0.88 <= np.mean(inside) <= 0.99


def test_each_different_text_is_asked_once(model):
    function = Counting(model)
    e = wb.explain(function, REPEATED)
    n_words = e.shape[1]
    assert len(set(function.asked)) <= 2**n_words
    assert len(function.asked) - len(set(function.asked)) <= 8  # to learn what it returns, and the checks
    assert e.evidence.model_calls == len(function.asked)
    counted = wb.explain(model, REPEATED)
    np.testing.assert_allclose(e.values, counted.values, atol=1e-12)


def test_draws_end_where_errors_are_small_enough(model):
    loose, tight = (wb.explain(model, LONG, tol=tol) for tol in (0.9, 1e-9))
    assert loose.extras["converged"][1].all()
    assert not tight.extras["converged"][1].any()
    assert loose.extras["model_evals"][1][0] < tight.extras["model_evals"][1][0] / 2
    assert "NOT CONVERGED" in tight.evidence.warnings
    assert not loose.evidence.warnings


def test_a_text_has_its_values_wherever_it_stands(model):
    options = {"max_evals": 700, "method": "sampled_shap"}
    together = wb.explain(model, [LONG, SHORT, REPEATED], **options)
    alone = wb.explain(model, LONG, **options)
    np.testing.assert_array_equal(together[0].values, alone[0].values)
    assert together.evidence.method_id == "shap.sampled_shap"
    assert (together[1].std_error == 0).all()  # enumerated
    single = together[2]
    assert single.coords["word"].tolist() == list(split_text(REPEATED).words)
    np.testing.assert_allclose(float(single.base) + single.values.sum(), single.prediction, atol=1e-12)
    joined = wb.concat([alone, wb.explain(model, [SHORT, REPEATED], **options)])
    np.testing.assert_array_equal(joined.values, together.values)
    np.testing.assert_array_equal(joined.base_values, together.base_values)


def test_several_outputs_and_the_predicted_one(model):
    e = wb.explain(model, [SHORT, REPEATED], output="all")
    assert e.dims == ("row", "word", "output")
    np.testing.assert_allclose(e.base_values + np.nansum(e.values, axis=1), e.prediction, atol=1e-12)
    predicted = wb.explain(model, [SHORT, REPEATED], output="predicted")
    labels = predicted.extras["label"][1].tolist()
    for row, label in enumerate(labels):
        own = e[row, :, label] if row == 0 else e[row][:, label]
        np.testing.assert_allclose(predicted[row].values, own.values[: len(predicted[row].values)], atol=1e-12)
    assert labels == model.predict([SHORT, REPEATED]).tolist()


def test_single_words_and_constant_models(model):
    e = wb.explain(model, "clusters", method="partition_shap")
    assert e.values.shape == (1, 1)
    assert float(e.values[0, 0]) == pytest.approx(float(e.prediction[0] - e.base))
    for method in ("auto", "partition_shap"):
        constant = wb.explain(lambda texts: np.ones(len(texts)), LONG, method=method, max_evals=900)
        assert np.abs(constant.values).max() < 1e-12
        assert constant.std_error.max() < 1e-12


def test_figures_tables_and_files(model, tmp_path):
    e = wb.explain(model, [LONG, REPEATED], max_evals=700)
    assert dir(e.plot) == ["bar", "waterfall", "words"]
    ax = e.plot.waterfall(1)
    assert any("models" in label.get_text() for label in ax.get_yticklabels())
    assert "Linear" in "".join(t.get_text() for t in e.plot.words(1).texts)
    frame = e.to_frame()
    assert len(frame) == sum(len(set(split_text(t).words)) for t in (LONG, REPEATED))
    assert {"row", "word", "attribution", "std_error", "interval_low", "base", "start"} <= set(frame.columns)
    html = e._repr_html_().lower()
    assert "base" in html
    assert "errors are larger than asked" in html
    e.save(tmp_path / "texts.whybox")
    back = wb.load(tmp_path / "texts.whybox")
    np.testing.assert_array_equal(back.values, e.values)
    np.testing.assert_array_equal(back.base_values, e.base_values)
    assert float(back[1].base) == float(e[1].base)
    with pytest.raises(OptionError, match=r"plot\.words"):
        e.plot.beeswarm()


def test_plans_say_what_is_exact(model):
    plan = wb.plan(wb.explain, model, [SHORT, LONG], method="partition_shap", max_evals=20_000)
    assert plan.exact
    longest = count_coalitions(word_hierarchy(split_text(LONG)))
    shortest = count_coalitions(word_hierarchy(split_text(SHORT)))
    assert plan.model_calls == longest + shortest + 2 * 16
    sampled = wb.plan(wb.explain, model, [LONG], max_evals=500)
    assert not sampled.exact
    assert sampled.method_id == "shap.sampled_shap"
    assert sampled.model_calls == 500


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"background": [SHORT]}, OptionError, "words are left out"),
        ({"players": {"a": ["b"]}}, OptionError, "players is an option of tables"),
        ({"sparse": True}, OptionError, "option of tables"),
        ({"order": 3}, OptionError, "2 gives pairwise interactions"),
        ({"order": 2}, LimitError, "They have no estimate: explain a shorter text"),
        ({"index": "banzhaf"}, LimitError, "They have no estimate: explain a shorter text"),
        (
            {"index": "banzhaf", "method": "sampled_shap"},
            OptionError,
            "other indices are exact: take method='exact_shap'",
        ),
        ({"order": 2, "method": "partition_shap"}, OptionError, "Owen values of single words"),
        ({"index": "median"}, OptionError, "is not known"),
        ({"method": "tree_shap"}, OptionError, "no method of texts"),
        ({"method": "exact_shap"}, LimitError, r"2\^\d+ predictions"),
        ({"method": "exact", "max_evals": 10**12}, LimitError, "1,048,576 that are held in memory"),
        ({"max_evals": 50}, LimitError, "at least"),
        ({"max_evals": 50, "method": "partition_shap"}, LimitError, "at least"),
        ({"tol": -1}, OptionError, "tol"),
        ({"level": 2}, OptionError, "level"),
        ({"batch_size": 0}, OptionError, "batch_size"),
        ({"max_evalz": 3}, OptionError, "max_evals"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(model, options, error, words):
    function = Counting(model)
    with pytest.raises(error, match=words):
        wb.explain(function, LONG, **options)
    assert not function.asked


def test_models_of_tables_and_tables_for_models_of_texts_are_refused(model):
    table = LogisticRegression().fit(np.eye(4), [0, 1, 0, 1])
    with pytest.raises(InputError, match="takes the columns of a table"):
        wb.explain(table, [SHORT])
    with pytest.raises(InputError, match="takes texts, and this is a table"):
        wb.explain(model, np.eye(4), np.eye(4))
    with pytest.raises(OptionError, match="option of texts, and X is a table"):
        wb.explain(table, np.eye(4), np.eye(4), tokenizer="characters")
    with pytest.raises(EmptyDataError, match="no texts"):
        wb.explain(model, [])
    with pytest.raises(InputError, match="has no words"):
        wb.explain(model, ["...", SHORT])


def test_a_small_budget_says_what_it_takes(model):
    words = split_text(LONG).n_words
    least = 2 + 2 * (words - 1) * MIN_DRAWS + 16
    with pytest.raises(LimitError, match=f"{least:,} predictions at least"):
        wb.explain(model, LONG, method="partition_shap", max_evals=least - 1)
    e = wb.explain(model, LONG, method="partition_shap", max_evals=least)
    assert np.isfinite(e.std_error).all()
