"""LIME of any model: one sample for all rows, drawn from the background and weighed for each row; coefficients are weighted means with errors.

An additive fit, whose coefficients are known, takes what it can off the outputs first; only what it leaves is averaged.

Source: Ribeiro et al. (2016), doi:10.1145/2939672.2939778.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.lime.additive_fit import AdditiveFit, additive_basis, fit_additive
from whybox.methods.lime.design import LocalDesign, Sample
from whybox.methods.lime.shared_sample import REPLICATES, LocalValues, SharedSample
from whybox.methods.lime.unseen import add_unseen_values

__all__ = ["local_spread", "local_values"]


def local_values(design: LocalDesign, sample: SharedSample, near: npt.NDArray[np.bool_]) -> LocalValues:
    """Return the coefficients of rows from what was drawn so far.

    Args:
        near: (rows,), those that the sample reaches; the numbers of others stay zero.
    """
    problem = design.problem
    scaled = bool(design.is_scaled.any())
    places = [design.places(s) if scaled else None for s in sample.samples]
    fit = _fit(design, sample, places)
    rests = [
        o if fit is None else fit.rest(s, z, o) for s, z, o in zip(sample.samples, places, sample.outputs, strict=True)
    ]
    known, known_mean = (None, None) if fit is None else fit.coefficients(design)
    n, count = problem.first.shape
    outputs = sample.outputs[0].shape[1]
    values, errors = np.zeros((n, count, outputs)), np.zeros((n, count, outputs))
    mean, variance = np.zeros((n, outputs)), np.zeros((n, outputs))
    terms = 0 if fit is None else fit.basis.terms
    total = sum(map(len, sample.samples))
    middle = sample.outputs[0].mean(
        axis=0
    )  # taken off, so that squares do not lose a small variance beside a large mean
    inflation = np.sqrt(total / max(total - terms, 1))  # the fit has seen the draws that it is taken off
    for row in np.flatnonzero(near).tolist():
        each, rest_mean, square = _row_replicates(design, sample, places, rests, row, middle)
        values[row] = each.mean(axis=0)
        errors[row] = each.std(axis=0, ddof=1) / np.sqrt(REPLICATES) * inflation
        mean[row] = rest_mean.mean(axis=0) + (0.0 if known_mean is None else known_mean[row])
        variance[row] = np.maximum(square - (mean[row] - middle) ** 2, 0.0)
    if known is not None:
        values += known
    constant = design.variance <= 0
    values[constant], errors[constant] = 0.0, 0.0
    add_unseen_values(design, sample, near, values, errors)
    return LocalValues(values, errors, mean, variance, sample.evaluator.spent)


def _fit(design: LocalDesign, sample: SharedSample, places: list[Floats | None]) -> AdditiveFit | None:
    basis = additive_basis(design, sum(map(len, sample.samples)))
    if basis is None:
        return None
    joined = Sample(
        np.concatenate([s.pieces for s in sample.samples]),
        np.concatenate([s.values for s in sample.samples]),
        sample.samples[0].table,
    )
    z = None if places[0] is None else np.concatenate([p for p in places if p is not None])
    return fit_additive(basis, joined, z, np.concatenate(sample.outputs))


def _row_replicates(
    design: LocalDesign,
    sample: SharedSample,
    places: list[Floats | None],
    rests: list[Floats],
    row: int,
    middle: Floats,
) -> tuple[Floats, Floats, Floats]:
    """Of one row the coefficients of each scrambling, (replicates, players, outputs), its mean of what is left, and the mean squared distance of the outputs from `middle`."""
    count, outputs = design.centre.shape[1], rests[0].shape[1]
    moments, sums = np.zeros((REPLICATES, count, outputs)), np.zeros((REPLICATES, outputs))
    square, weight_sum = np.zeros(outputs), 0.0
    draws = sample.draws
    for one, place, rest, out in zip(sample.samples, places, rests, sample.outputs, strict=True):
        z, weight = design.of_row(row, one, place)
        weighted = weight[:, None] * rest
        blocks = (REPLICATES, len(weight) // REPLICATES)
        moments += np.matmul(z.reshape(*blocks, count).transpose(0, 2, 1), weighted.reshape(*blocks, outputs))
        sums += weighted.reshape(*blocks, outputs).sum(axis=1)
        square += weight @ (out - middle) ** 2
        weight_sum += float(weight.sum())
    moments, sums = moments / draws, sums / draws
    variance = np.where(design.variance[row] > 0, design.variance[row], 1.0)[:, None]
    each = (moments - design.centre[row][:, None] * sums[:, None, :]) / variance
    return each, sums, square / weight_sum


def local_spread(design: LocalDesign, sample: SharedSample) -> Floats:
    """Return the weighted variance of the outputs near each row, (rows, outputs), from what was drawn so far."""
    scaled = bool(design.is_scaled.any())
    n, outputs = len(design.problem.rows), sample.outputs[0].shape[1]
    out = np.zeros((n, outputs))
    for one, values in zip(sample.samples, sample.outputs, strict=True):
        places = design.places(one) if scaled else None
        for row in range(n):
            weight = design.of_row(row, one, places)[1]
            weight = weight / weight.sum()
            out[row] = np.maximum(weight @ values**2 - (weight @ values) ** 2, 0.0)
    return out
