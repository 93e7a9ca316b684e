"""Distances of rows to the nearest of some points, natively, against the specification; and what the off-data share makes of equal rows."""

from __future__ import annotations

import numpy as np
import pytest

from whybox.kernels import compiled_trees
from whybox.kernels.compiled_trees import forced_kernel
from whybox.kernels.nearest import nearest_squares
from whybox.kernels.reference_effects import nearest_squares as specified

each_set = pytest.mark.parametrize("name", [s.name for s in compiled_trees.instruction_sets()])


@each_set
@pytest.mark.parametrize(
    ("rows", "points", "dimensions"), [(1, 1, 1), (31, 20, 2), (32, 7, 3), (100, 100, 5), (401, 64, 1)]
)
def test_native_distances_are_those_of_the_specification(name, rows, points, dimensions):
    rng = np.random.default_rng(rows)
    x = rng.integers(0, 50, (rows, dimensions)) / 50.0
    y = rng.integers(0, 50, (points, dimensions)) / 50.0
    itself = np.full(points, -1)
    some = rng.permutation(min(rows, points))[: max(1, min(rows, points) // 2)]
    itself[some] = some
    y[some] = x[some]
    starts = np.sort(np.concatenate([[0, points], rng.integers(0, points + 1, 3)]))
    with forced_kernel(instructions=name):
        found = nearest_squares(x, y, itself, starts)
    expected = specified(x, y, itself, starts)
    assert found.shape == (4, rows)
    assert np.array_equal(np.isinf(found), np.isinf(expected))
    assert np.allclose(found, expected, rtol=1e-13, atol=0.0)
    assert np.array_equal(found == 0.0, expected == 0.0)  # equal rows are at no distance, not at one of rounding


def test_every_instruction_set_gives_the_same_distances():
    rng = np.random.default_rng(0)
    x, y = rng.random((77, 4)), rng.random((30, 4))
    found = []
    for s in compiled_trees.instruction_sets():
        with forced_kernel(instructions=s.name):
            found.append(nearest_squares(x, y, np.full(30, -1), np.array([0, 11, 30])))
    assert all(np.array_equal(found[0], f) for f in found)


@pytest.mark.parametrize(
    ("points", "itself", "starts"),
    [
        (np.zeros((2, 3)), [-1, -1], [0, 2]),
        (np.zeros((2, 2)), [-1], [0, 2]),
        (np.zeros((2, 2)), [-1, 5], [0, 2]),
        (np.zeros((2, 2)), [-1, -1], [0, 3]),
        (np.zeros((2, 2)), [-1, -1], [2, 0]),
    ],
)
def test_extents_are_checked(points, itself, starts):
    with pytest.raises(ValueError, match="must|no such"):
        nearest_squares(np.zeros((5, 2)), points, np.array(itself), np.array(starts))
