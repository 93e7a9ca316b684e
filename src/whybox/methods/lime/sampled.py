"""LIME of any model: one sample for all rows, drawn from the background and weighed for each row; coefficients are weighted means with errors.

An additive fit, whose coefficients are known, takes what it can off the outputs first; only what it leaves is averaged.

Source: Ribeiro et al. (2016), doi:10.1145/2939672.2939778.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.lime.design import LocalDesign
from whybox.methods.lime.sample import Sample
from whybox.methods.lime.shared_sample import REPLICATES, LocalValues, SharedSample
from whybox.methods.lime.unseen import add_unseen_values

__all__ = ["local_spread", "local_values"]

WEIGHTS_AT_ONCE: Final = 2**20  # of some rows at all draws


def local_values(design: LocalDesign, sample: SharedSample, near: npt.NDArray[np.bool_]) -> LocalValues:
    """Return the coefficients of rows from what was drawn so far.

    Args:
        near: (rows,), those that the sample reaches; the numbers of others stay zero.
    """
    problem = design.problem
    fit = sample.fit()
    n, count = problem.first.shape
    outputs = sample.outputs[0].shape[1]
    values, errors = np.zeros((n, count, outputs)), np.zeros((n, count, outputs))
    mean, variance = np.zeros((n, outputs)), np.zeros((n, outputs))
    terms = 0 if fit is None else fit.basis.terms
    total = sum(map(len, sample.samples))
    inflation = np.sqrt(total / max(total - terms, 1))  # the fit has seen the draws that it is taken off
    for rows, sums in _weighted_sums(design, sample, sample.rests(fit), np.flatnonzero(near)):
        moments, rest, square, weight = sums
        scale = np.where(design.variance[rows] > 0, design.variance[rows], 1.0)[:, :, None]
        each = (moments - design.centre[rows][:, :, None] * rest[:, :, None]) / scale / sample.draws
        values[rows] = each.mean(axis=0)
        errors[rows] = each.std(axis=0, ddof=1) / np.sqrt(REPLICATES) * inflation
        mean[rows] = rest.mean(axis=0) / sample.draws
        variance[rows] = square / weight[:, None]
    if fit is None:
        mean += sample.middle
    else:
        known, known_mean = fit.coefficients(design)
        values += known
        mean += known_mean
    variance = np.maximum(variance - (mean - sample.middle) ** 2, 0.0)
    mean[~near], variance[~near] = 0.0, 0.0
    constant = design.variance <= 0
    values[constant], errors[constant] = 0.0, 0.0
    add_unseen_values(design, sample, near, values, errors)
    return LocalValues(values, errors, mean, variance, sample.evaluator.spent)


class _Sums(NamedTuple):
    """Weighted sums over draws.

    Attributes:
        moments: (replicates, rows, players, outputs), of the design times what the fit leaves. rest: (replicates, rows, outputs), of what it leaves.
        square: (rows, outputs), of the squared distance of the outputs from their middle. weight: (rows,).
    """

    moments: Floats
    rest: Floats
    square: Floats
    weight: Floats


def _weighted_sums(
    design: LocalDesign, sample: SharedSample, rests: list[Floats], rows: Ints
) -> Iterator[tuple[Ints, _Sums]]:
    """Some rows at a time with their sums over all samples."""
    squares = [(out - sample.middle) ** 2 for out in sample.outputs]
    places = [design.places(one) if design.is_scaled.any() else None for one in sample.samples]
    step = max(1, WEIGHTS_AT_ONCE // max(map(len, sample.samples)))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        parts = [
            _sums_of_rows(design, some, *each) for each in zip(sample.samples, places, rests, squares, strict=True)
        ]
        yield some, _Sums(*(sum(each[1:], each[0]) for each in zip(*parts, strict=True)))


def _sums_of_rows(
    design: LocalDesign, rows: Ints, one: Sample, places: Floats | None, rest: Floats, squares: Floats
) -> _Sums:
    weights = design.weights(rows, one, places)
    n, blocks = len(rows), (REPLICATES, len(one) // REPLICATES)
    weighted = (
        (weights[:, :, None] * rest).reshape(n, *blocks, -1).transpose(1, 3, 0, 2)
    )  # replicate, output, row, draw
    moments = np.stack(
        [
            design.moments(rows, one, places, slice(r * blocks[1], (r + 1) * blocks[1]), each)
            for r, each in enumerate(weighted)
        ]
    )
    return _Sums(moments, weighted.sum(axis=3).transpose(0, 2, 1), weights @ squares, weights.sum(axis=1))


def local_spread(design: LocalDesign, sample: SharedSample) -> Floats:
    """Return the weighted variance of the outputs near each row, (rows, outputs), from what was drawn last."""
    one, values = sample.samples[-1], sample.outputs[-1]
    values = values - values.mean(axis=0)  # so that squares do not lose a small variance beside a large mean
    places = design.places(one) if design.is_scaled.any() else None
    n = len(design.problem.rows)
    out = np.empty((n, values.shape[1]))
    step = max(1, WEIGHTS_AT_ONCE // len(one))
    for start in range(0, n, step):
        rows = np.arange(start, min(start + step, n))
        weights = design.relative_weights(rows, one, places)
        weights /= weights.sum(axis=1, keepdims=True)
        for k, each in enumerate(
            values.T.copy()
        ):  # sums and no matrix product, whose rounding depends on the number of rows
            weighted = weights * each
            out[rows, k] = np.maximum((weighted * each).sum(axis=1) - weighted.sum(axis=1) ** 2, 0.0)
    return out
