"""Rows off the data, natively, against the specification; and what the off-data share makes of equal rows."""

from __future__ import annotations

import numpy as np
import pytest

from whybox import _native
from whybox.kernels import compiled_trees
from whybox.kernels.compiled_trees import forced_kernel
from whybox.kernels.off_data import HALF_PAIRS, off_data_shares, split_into_quarters
from whybox.kernels.reference_effects import off_data_rows

each_set = pytest.mark.parametrize("name", [s.name for s in compiled_trees.instruction_sets()])


def drawn(count, dimensions, changed, sets, size, seed):
    """Rows of few values, so that many are equal; some of them changed; sets of neighbours, some of them among the changed."""
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 9, (count, dimensions)) / 9.0
    which = np.sort(rng.choice(count, changed, replace=False))
    weights = rng.random(changed)
    near = np.array([rng.choice(count, size, replace=False) for _ in range(sets)])
    return data, which, weights / weights.sum(), near


def specified(data, which, near, share):
    place = np.full(len(data), -1)
    place[which] = np.arange(len(which))
    return off_data_rows(data[which], data[near], place[near], share)


@each_set
@pytest.mark.parametrize(
    ("count", "dimensions", "changed", "sets", "size", "share"),
    [(9, 1, 4, 3, 2, 0.95), (40, 2, 31, 5, 8, 0.95), (90, 3, 32, 7, 33, 0.5), (500, 3, 401, 600, 20, 0.95)],
)
@pytest.mark.parametrize("halves", [False, True])
def test_native_shares_are_those_of_the_specification(name, count, dimensions, changed, sets, size, share, halves):
    if halves and size < 8:
        pytest.skip("too few neighbours to halve")
    data, which, weights, near = drawn(count, dimensions, changed, sets, size, seed=count)
    with forced_kernel(instructions=name):
        shares, squares = off_data_shares(data, which, weights, near, share, halves=halves)
    off = np.array([specified(data, which, one, share) for one in near])
    assert 0.02 < off.mean() < 0.98
    np.testing.assert_allclose(shares[:, 0], off @ weights, atol=1e-14)
    np.testing.assert_allclose(squares, off @ weights**2, atol=1e-14)
    assert shares.shape == (sets, 7 if halves else 1)
    if halves:
        order, starts = split_into_quarters(size)
        parts = np.split(order, starts[1:-1])
        for pair, found in zip(HALF_PAIRS, shares[:, 1:].T, strict=True):
            half = np.concatenate([parts[q] for q in pair])
            off = np.array([specified(data, which, one[half], share) for one in near])
            np.testing.assert_allclose(found, off @ weights, atol=1e-14)


def test_every_instruction_set_gives_the_same_bits():
    found = []
    for s in compiled_trees.instruction_sets():
        with forced_kernel(instructions=s.name):
            found.append(off_data_shares(*drawn(300, 3, 77, 40, 30, seed=0), 0.95, halves=True))
    assert all(np.array_equal(found[0][i], f[i]) for f in found for i in (0, 1))


def test_equal_rows_are_not_off_the_data():
    data = np.full((50, 2), 0.1 + 0.2)
    which = np.arange(0, 50, 2)
    near = np.arange(20)[None]
    assert off_data_shares(data, which, np.full(25, 0.04), near, 0.95, halves=True)[0].max() == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"changed": np.array([1, 0, 2])},
        {"changed": np.array([0, 1, 5])},
        {"weights": np.ones(2)},
        {"usual_share": 1.5},
        {"neighbours": np.array([0, 1, 2])},
        {"neighbours": np.array([0, 1, 2, 5])},
        {"neighbours": np.array([0, 1, 2, -1])},
        {"size": 0},
        {"starts": np.array([0, 1])},
        {"starts": np.array([0, 1, 2])},
        {"starts": np.array([0, 0, 1, 1, 2])},
        {"shares": np.empty(3)},
        {"squares": np.empty(1)},
    ],
    ids=lambda w: next(iter(w)),
)
def test_extents_are_checked(wrong):
    right = {
        "data": np.zeros((5, 2)),
        "changed": np.arange(3),
        "weights": np.ones(3),
        "usual_share": 0.95,
        "neighbours": np.array([0, 1, 2, 3]),
        "size": 2,
        "starts": np.array([0, 2]),
        "instructions": "plain",
        "shares": np.empty((2, 1)),
        "squares": np.empty(2),
    }
    _native.off_data_shares(**right)
    with pytest.raises(ValueError, match="must|no such"):
        _native.off_data_shares(**right | wrong)
