"""Rows that test a reading: they stand where it is said that they do. And the numbers of a text are those of its words."""

from __future__ import annotations

import numpy as np
import pytest

from ensembles import ensemble, random_ensemble, random_rows
from whybox.adapters.files.strict_document import (
    CheckedNode,
    parse_plain_number,
    parse_plain_numbers,
    read_concatenated,
)
from whybox.adapters.verification.probe_rows import Domain, ProbeRowMaker, can_probe_every_node, rows_for_every_node
from whybox.errors import ModelFileError
from whybox.kernels import tree_shap
from whybox.kernels.reference import ZERO_THRESHOLD, goes_left
from whybox.models.trees import FLOAT32_SPLIT, LESS_EQUAL, MISSING_LEFT, NAN_AS_ZERO, TINY_AS_ZERO, ZERO_MISSING, Tree

TINY = np.nextafter(0, 1)
THRESHOLDS = [
    0.0,
    -0.0,
    0.1,
    -0.1,
    1.0,
    1e30,
    TINY,
    -TINY,
    ZERO_THRESHOLD,
    -ZERO_THRESHOLD,
    np.nextafter(ZERO_THRESHOLD, 1),
    -np.nextafter(ZERO_THRESHOLD, 1),
    1e-36,
]
SINGLES = [
    float(np.float32(0.1)),
    float(np.float32(0.1)) + 1e-10,
    float(np.float32(0.1)) - 1e-10,
    1.0,
    0.0,
    16777217.0,
    -3.0000001,
]


def stump(threshold, flags):
    leaf = [-1, -1]
    return Tree(
        left=np.array([1, *leaf]),
        right=np.array([2, *leaf]),
        feature=np.array([0, *leaf]),
        threshold=np.array([threshold, np.nan, np.nan]),
        flags=np.array([flags, 0, 0], np.uint8),
        cover=np.array([2.0, 1.0, 1.0]),
        value=np.array([0.0, 1.0, 2.0]),
        output=0,
    )


@pytest.mark.parametrize("equal", [0, LESS_EQUAL])
@pytest.mark.parametrize(
    "kind", [0, FLOAT32_SPLIT, TINY_AS_ZERO, TINY_AS_ZERO | ZERO_MISSING, TINY_AS_ZERO | ZERO_MISSING | MISSING_LEFT]
)
def test_the_last_value_left_and_the_first_right(equal, kind):
    for t in SINGLES if kind == FLOAT32_SPLIT else THRESHOLDS:
        e = ensemble([stump(t, equal | kind)], 1, 1)
        maker = ProbeRowMaker(e, Domain())
        left, right = maker.last_left[0], maker.first_right[0]
        ways = goes_left(e, 0, np.array([left, right]))
        assert ways.tolist() == [True, False], (t, left, right)
        if not kind & ZERO_MISSING:  # there, a zone between them counts as missing
            assert right == np.nextafter(left, np.inf), t


@pytest.mark.parametrize(
    "flags", [LESS_EQUAL, 0, FLOAT32_SPLIT, LESS_EQUAL | MISSING_LEFT, LESS_EQUAL | TINY_AS_ZERO | NAN_AS_ZERO]
)
@pytest.mark.parametrize("seed", range(4))
def test_every_threshold_is_pinned_from_both_sides_in_its_own_tree(seed, flags):
    grid = np.random.default_rng(seed).normal(size=12).astype(np.float32).astype(float)
    e = random_ensemble(seed, columns=5, trees=4, depth=5, categorical=False, flags=flags, grid=grid)
    maker = ProbeRowMaker(e, Domain())
    made, pinned, total = rows_for_every_node(maker)
    assert made.shape == (len(e.left), 2, 5)
    assert (
        0 < pinned <= total == len({(f, t) for f, t, k in zip(e.feature, e.threshold, e.left, strict=True) if k >= 0})
    )
    sure = missing = 0
    for tree in range(e.n_trees):
        first, last = e.tree_offsets[tree : tree + 2]
        rows = made[first:last].reshape(-1, 5)
        at = {int(first): np.arange(len(rows))}  # node -> the rows that reach it
        boxes = {int(first): (np.full(5, -np.inf), np.full(5, np.inf))}
        for node in range(first, last):
            if e.left[node] < 0:
                assert len(at[node]) or (boxes[node][0] > boxes[node][1]).any()
                continue
            f = e.feature[node]
            values = rows[at[node], f]
            ways = goes_left(e, node, values)
            for child, mine in ((int(first + e.left[node]), ways), (int(first + e.right[node]), ~ways)):
                at[child] = at[node][mine]
                low, high = (b.copy() for b in boxes[node])
                if child == first + e.left[node]:
                    high[f] = min(high[f], maker.last_left[node])
                else:
                    low[f] = max(low[f], maker.first_right[node])
                boxes[child] = low, high
                is_left = child == first + e.left[node]
                edge = maker.last_left[node] if is_left else maker.first_right[node]
                if (low <= high).all() and edge == (high if is_left else low)[
                    f
                ]:  # not one that a node above is stricter than
                    sure += 1
                    assert edge in rows[at[child], f], "nothing stands on the threshold"
            asked = any(f == e.feature[k] for k in _above(e, int(first), node))
            if not asked and (boxes[node][0] <= boxes[node][1]).all():
                missing += 1
                assert np.isnan(values).any()
    assert sure > 20
    assert missing > 5


def _above(e, first, node):
    parent = {first + int(k): n for n in range(first, node) if e.left[n] >= 0 for k in (e.left[n], e.right[n])}
    while node in parent:
        node = parent[node]
        yield node


def test_categories_and_linear_leaves_are_left_to_rows_that_meet_all_trees():
    plain = {"columns": 4, "trees": 2, "depth": 3}
    assert can_probe_every_node(random_ensemble(0, **plain, categorical=False), Domain())
    assert not can_probe_every_node(random_ensemble(0, **plain, categorical=False), Domain(categories={0: 3}))
    assert not can_probe_every_node(random_ensemble(1, **plain, categorical=True), Domain())
    assert not can_probe_every_node(random_ensemble(0, **plain, categorical=False, linear=True), Domain())


@pytest.mark.parametrize("vector", [False, True])
def test_trees_add_up_from_parts(vector):
    e = random_ensemble(3, columns=4, trees=6, depth=3, outputs=2, vector=vector)
    X = random_rows(0, 50, 4)
    parts = [slice(0, 2), slice(2, 2), slice(2, 5), slice(5, None)]
    np.testing.assert_allclose(
        sum(tree_shap.predict(e, X, p) - e.base_values for p in parts) + e.base_values,
        tree_shap.predict(e, X),
        atol=1e-12,
    )
    sizes = sum(e.rounding_scale_of(p) - np.abs(e.base_values) for p in parts) + np.abs(e.base_values)
    np.testing.assert_allclose(sizes, e.rounding_scale, atol=1e-12)
    with pytest.raises(ValueError, match="no such trees"):
        tree_shap.native_ensemble(e).predict(X, np.empty((50, 2)), 0, 7, "plain")


@pytest.mark.parametrize("categorical", [False, True])
def test_trees_whose_nodes_lie_about_are_put_in_order(categorical):
    e = random_ensemble(5, columns=4, trees=4, depth=4, categorical=categorical, linear=True)
    rng = np.random.default_rng(0)
    mixed = []
    for k, tree in enumerate(e.to_trees()):
        n = len(tree.left)
        new = np.r_[0, 1 + rng.permutation(n - 1)] if k % 2 else np.arange(n)
        old = np.argsort(new)
        kids = [np.where(c[old] >= 0, new[c[old]], -1) for c in (tree.left, tree.right)]
        names = ("feature", "threshold", "flags", "cover", "value", "gain")
        arrays = {name: getattr(tree, name)[old] for name in names}
        sets, linear = ({int(new[i]): v for i, v in m.items()} for m in (tree.sets, tree.linear))
        mixed.append(Tree(*kids, **arrays, sets=sets, linear=linear, output=tree.output, weight=tree.weight))
    X = random_rows(0, 300, 4)
    np.testing.assert_array_equal(
        tree_shap.predict(ensemble(mixed, 4, 1), X), tree_shap.predict(ensemble(e.to_trees(), 4, 1), X)
    )


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        ([1, -1, -1], [3, -1, -1], "outside"),
        ([1, -1, -1], [-1, -1, -1], "outside"),
        ([2**32 + 1, -1, -1], [2, -1, -1], "outside"),
        ([1, -1, -1], [1, -1, -1], "two parents"),
        ([1, 0, -1], [2, 2, -1], "two parents|root has one"),
    ],
)
def test_children_that_no_tree_has_are_refused(left, right, words):
    tree = stump(0.0, 0)
    tree.left, tree.right = np.array(left), np.array(right)
    for trees_ in ([tree], [stump(0.0, 0), tree], [tree, stump(0.0, 0)]):
        with pytest.raises(ModelFileError, match=words):
            ensemble(trees_, 1, 1)


GOOD = "0 1 -1 +1 1. .5 -.5e3 1e5 1E-5 1e+0005 1e400 inf -Inf +NaN nan 1e-400 0.1 2.2250738585072014e-308 5e-324 1.7976931348623157e308"
BAD = "1e00005 infinity 1_0 0x1 1e 1e+ . - + e5 1.2.3 1,5 in na --1 inff nan(1) 1d5 \u00b2 \u0661"


def test_numbers_of_a_text_are_those_of_its_words():
    rng = np.random.default_rng(0)
    random = ["".join(rng.choice(list("0123456789+-.eEinfa_ x\t"), rng.integers(1, 7))) for _ in range(3000)]
    for text in [*GOOD.split(), *BAD.split(), *random, "1 2", " 1  2 ", "1\t2", "1\n2", "1\x0b2", "1\xa02", ""]:
        want = [parse_plain_number(w) for w in text.split(" ") if w]
        found = parse_plain_numbers([text, "7"])
        if None in want:
            assert found is None, text
        else:
            assert found is not None, text
            assert found[0].tobytes() == np.array([*want, 7.0]).tobytes()
            assert found[1] == [len(want), 1]
    values = rng.integers(0, 2**64, 20_000, dtype=np.uint64).view(np.float64)
    found = parse_plain_numbers([" ".join(f"{v:.17g}" for v in values)])
    assert found is not None
    np.testing.assert_array_equal(found[0], values)


@pytest.mark.parametrize("make", [list, np.array])
def test_lists_read_together_say_which_is_wrong(make):
    def whole(doc, n):
        return doc.integer_array(n, 0, 9)

    docs = [CheckedNode(make(v), f"$.trees[{i}]") for i, v in enumerate([[1, 2], [3], [4, 5, 6]])]
    assert read_concatenated(docs, [2, 1, 3], whole).tolist() == [1, 2, 3, 4, 5, 6]
    bad = [docs[0], CheckedNode(make([30]), "$.trees[1]"), docs[2]]
    with pytest.raises(ModelFileError, match=r"outside 0 .. 9 stands at \$\.trees\[1\]"):
        read_concatenated(bad, [2, 1, 3], whole)
    with pytest.raises(ModelFileError, match=r"4 numbers were expected.*\$\.trees\[2\]"):
        read_concatenated(docs, [2, 1, 4], whole)
    with pytest.raises(ModelFileError, match=r"\$\.trees\[1\]"):
        read_concatenated([docs[0], CheckedNode("3", "$.trees[1]"), docs[2]], [2, 1, 3], whole)
