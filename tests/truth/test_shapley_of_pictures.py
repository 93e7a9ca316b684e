"""Shapley values of a real picture's parts, for a plain function of arrays: against all coalitions of the parts, and their errors."""

import numpy as np
import pytest

import whybox as wb
from whybox.explainers import ShapleyParts
from whybox.games.exact import all_coalitions, exact_values

data = pytest.importorskip("skimage.data")
SIDE, CUTS = 64, 3  # pixels, and squares a side


@pytest.fixture(scope="module")
def picture():
    """A cat, as channels, rows and columns."""
    cut = data.chelsea()[10:266:4, 100:356:4].astype(np.float64) / 255
    return cut.transpose(2, 0, 1)[None]


def cat_score(pictures):
    """How orange and how rough pictures are, together: parts interact."""
    orange = np.maximum(pictures[:, 0] - pictures[:, 2], 0).mean(axis=(1, 2))
    rough = np.abs(np.diff(pictures.mean(axis=1), axis=2)).mean(axis=(1, 2))
    return np.tanh(30 * orange * rough)


def squares():
    """The number of the part that each pixel is in."""
    cut = np.minimum(np.arange(SIDE) * CUTS // SIDE, CUTS - 1)
    return cut[:, None] * CUTS + cut[None, :]


def all_worths(picture, parts):
    coalitions = all_coalitions(CUTS**2)
    return cat_score(np.where(coalitions[:, parts][:, None], picture, 0.5))


def test_enumerated_parts_are_shapley_values_of_a_plain_function(picture):
    parts = squares()
    want = exact_values(all_worths(picture, parts)[:, None])[:, 0]
    e = wb.saliency(cat_score, picture, None, ShapleyParts(parts=parts, baseline=0.5, samples=512))
    assert e.evidence.exact
    assert e.std_error is None
    np.testing.assert_allclose(e.extras["part"][1].ravel(), want, atol=1e-9)
    np.testing.assert_allclose(e.values.sum() + e.base_values, e.prediction, atol=1e-9)


def test_sampled_parts_hold_the_exact_values_within_their_errors(picture):
    parts = squares()
    want = exact_values(all_worths(picture, parts)[:, None])[:, 0]
    inside = []
    for seed in range(12):
        method = ShapleyParts(parts=parts, baseline=0.5, samples=80)
        e = wb.saliency(cat_score, picture, None, method, seed=seed)
        assert not e.evidence.exact
        found, error = (e.extras[name][1].ravel() for name in ("part", "part_error"))
        np.testing.assert_allclose(found.sum(), want.sum(), atol=1e-9)
        assert (error > 0).all()
        assert np.abs(found - want).max() < 0.1 * np.abs(want).max()
        inside.append(np.abs(found - want) <= 1.96 * error)
        pixels, first = np.bincount(parts.ravel()), np.unique(parts, return_index=True)[1]
        np.testing.assert_allclose(e.std_error.ravel()[first], error / pixels, rtol=1e-9)  # each pixel has its share
    assert np.mean(inside) >= 0.85
