"""Coefficients of the words of a text, from draws with known weights.

The covariance of presences is known, so that coefficients are means over draws, not a regression. What is averaged is what a surrogate leaves over: a fit
that is linear in presences and in presences times a function of the number of words, whose own projection is known exactly. An additive model leaves nothing. The
surrogate of a replicate is fitted to other replicates, so that each replicate is an unbiased estimate; their spread gives the standard errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.lime.removal_law import RemovalLaw
from whybox.numerics.rounding import FLOAT64_ROUNDING, varies

__all__ = ["WordFit", "fit_enumerated", "fit_replicates"]

Masks = npt.NDArray[np.bool_]
FOLDS: Final = 4
ADDITIVE: Final = 1e-3  # of the variance: if a surrogate leaves less, it is fitted again in double precision
SIZE_COLUMNS: Final = 3  # of the surrogate: the constant, and two functions of the number of words present
RIDGES: Final = (0.01, 0.1)  # beside the mean diagonal, where the draws are few for so many columns
DRAWS_A_COLUMN: Final = 6  # with so many, smaller surrogates are not tried
JITTER: Final = 100.0  # roundings beside the mean diagonal, so that words that are never absent in a fold do no harm


@final
@dataclass(frozen=True, eq=False)
class WordFit:
    """A linear fit of outputs to the presence of words.

    Attributes:
        values, std_error: (words, outputs); None: exact. intercept, r_squared: (outputs,); NaN for an output that does not vary.
        spread: (outputs,), standard deviation of the output under the law. rounding: (outputs,), how uncertain coefficients are by rounding.
        freedom: degrees of freedom of the standard errors. squared_residuals: (draws,), of the surrogate, all outputs together.
    """

    values: Floats
    std_error: Floats | None
    intercept: Floats
    r_squared: Floats
    spread: Floats
    rounding: Floats
    freedom: int | None = None
    squared_residuals: Floats | None = None


def fit_enumerated(
    law: RemovalLaw, present: Masks, outputs: Floats, probability: Floats, alpha: float = 0.0
) -> WordFit:
    """Return the fit from all masks, (masks, words), their outputs, (masks, outputs), and their probabilities, (masks,)."""
    mean = probability @ outputs
    values = law.solve((present - law.presence).T @ (probability[:, None] * (outputs - mean)))
    some = np.array([varies(column) for column in outputs.T])
    return _finish(law, values, mean, alpha, present, outputs, probability, some)


def fit_replicates(law: RemovalLaw, present: Masks, outputs: Floats, weights: Floats, alpha: float = 0.0) -> WordFit:
    """Return the fit from draws in independent replicates.

    Args:
        law: of the removals. alpha: lime's ridge penalty.
        present: (replicates, draws, words). outputs: (replicates, draws, outputs).
        weights: (replicates, draws): probability of a draw under the law, relative to that with which it was drawn.
    """
    replicates, draws, d = present.shape
    middle = outputs.mean(axis=(0, 1))  # taken off, so that single precision and ridge are small beside the spread
    given = outputs.reshape(replicates * draws, -1)
    some = np.array([varies(column) for column in given.T])
    surrogate = _Surrogate(law, present.reshape(-1, d), given - middle, weights.reshape(-1), some)
    of_fold = np.arange(replicates) * FOLDS // replicates
    ends = np.searchsorted(of_fold, np.arange(FOLDS + 1)) * draws
    coefficients, residuals = surrogate.cross_fit(ends, np.float32)
    if (
        residuals.var(axis=0) < ADDITIVE * surrogate.output_scale
    ).any():  # rounding of single precision is not small beside it
        coefficients, residuals = surrogate.cross_fit(ends, np.float64)
    left = (weights.reshape(-1, 1) * residuals).reshape(replicates, draws, -1)
    total = left.sum(axis=1, keepdims=True)  # (replicates, 1, outputs)
    covariance = (
        np.matmul(surrogate.presence.reshape(present.shape).transpose(0, 2, 1), left) - law.presence * total
    ) / draws
    projected, mean = surrogate.project(coefficients)
    each = projected[of_fold] + np.stack([law.solve(c) for c in covariance])
    if alpha:
        each = np.stack([law.shrink(e, alpha) for e in each])
    fit = _finish(
        law,
        each.mean(axis=0),
        (mean[of_fold] + left.mean(axis=1)).mean(axis=0),
        0.0,  # shrunk already
        surrogate.presence,
        surrogate.outputs,
        surrogate.weights / weights.size,
        some,
    )
    return WordFit(
        fit.values,
        each.std(axis=0, ddof=1) / np.sqrt(replicates),
        fit.intercept + middle,
        fit.r_squared,
        fit.spread,
        FLOAT64_ROUNDING * np.abs(given).max(axis=0),
        replicates - 1,
        (residuals**2 / surrogate.output_scale).sum(axis=1),
    )


def _finish(
    law: RemovalLaw,
    values: Floats,
    mean: Floats,
    alpha: float,
    present: Masks | Floats,
    outputs: Floats,
    probability: Floats,
    is_varying: npt.NDArray[np.bool_],
) -> WordFit:
    values = law.shrink(values, alpha) if alpha else values
    intercept = mean - law.presence * values.sum(axis=0)
    total = (probability[:, None] * (outputs - mean) ** 2).sum(axis=0)
    left = (probability[:, None] * (outputs - intercept - present @ values) ** 2).sum(axis=0)
    some = is_varying & (total > 0.0)
    r_squared = np.where(some, 1.0 - left / np.where(some, total, 1.0), np.nan)
    return WordFit(values, None, intercept, r_squared, np.sqrt(total), FLOAT64_ROUNDING * np.abs(outputs).max(axis=0))


@final
class _Surrogate:
    """A fit to an output whose linear projection is known.

    Its columns are 1, t, t^2, the presence of each word, and presence times t, where t is the root of the number of words over that of words present: rows that are
    scaled to length one (tf-idf) have coefficients of this kind.
    """

    def __init__(
        self, law: RemovalLaw, present: Masks, outputs: Floats, weights: Floats, is_varying: npt.NDArray[np.bool_]
    ) -> None:
        self.law, self.outputs, self.weights = law, outputs, weights
        self.present, self.presence = present, present.astype(np.float64)
        t = np.sqrt(law.n_words / (law.sizes + 1.0))
        self._t = t - law.size_mean(t)
        self._of_size = np.stack([np.ones_like(t), self._t, self._t**2], axis=1)
        self._sizes = present.sum(axis=1)
        share = law.sizes / law.n_words
        self._spread = (share * (1.0 - share) + (share - law.presence) ** 2)[self._sizes]
        self.output_scale = np.where(is_varying, outputs.var(axis=0), 1.0)

    def cross_fit(self, ends: npt.NDArray[np.int64], dtype: type[Any]) -> tuple[Floats, Floats]:
        """Fit without each fold.

        Args:
            ends: (folds + 1,): where folds begin and end among the draws. dtype: in which the surrogate is fitted and evaluated.

        Returns:
            Coefficients without each fold, (folds, columns, outputs), and what they leave of it, (draws, outputs).
        """
        folds = [slice(a, b) for a, b in pairwise(ends.tolist())]
        fitted = len(self.outputs) * (len(folds) - 1) // len(folds)
        widths = self._widths(fitted)
        root = np.sqrt(self.weights)[:, None].astype(dtype)
        columns, outputs = self._columns(widths[-1], root), (self.outputs * root).astype(dtype)  # both weighted
        grams = [columns[f].T @ columns[f] for f in folds]
        products = [columns[f].T @ outputs[f] for f in folds]
        gram, product = np.sum(grams, axis=0), np.sum(products, axis=0)
        influence = self.weights * self._spread
        best: tuple[float, Floats, Floats] | None = None
        for width in widths:
            for ridge in (JITTER * float(np.finfo(dtype).eps),) if 3 * width <= fitted else RIDGES:
                coefficients = np.stack(
                    [_solve_ridge(gram - g, product - p, width, ridge) for g, p in zip(grams, products, strict=True)]
                )
                residuals = np.concatenate(
                    [outputs[f] - columns[f, :width] @ c for f, c in zip(folds, coefficients, strict=True)]
                )
                loss = float((influence @ residuals**2 / self.output_scale).sum())
                if best is None or loss < best[0]:
                    best = loss, coefficients, residuals
        assert best is not None  # noqa: S101  # there is always the constant
        return best[1].astype(np.float64), (best[2] / root).astype(np.float64)

    def _widths(self, fitted: int) -> list[int]:
        """Numbers of columns to try: all of them where there are draws enough, else also fewer."""
        d = self.law.n_words
        if fitted >= DRAWS_A_COLUMN * (SIZE_COLUMNS + 2 * d):
            return [SIZE_COLUMNS + 2 * d]
        widths = [SIZE_COLUMNS, SIZE_COLUMNS + d, SIZE_COLUMNS + 2 * d]
        return [w for w in widths if w <= 1.5 * fitted] or widths[:1]

    def _columns(self, width: int, root: Floats) -> Floats:
        """The columns, each row multiplied by the root of its weight."""
        d = self.law.n_words
        columns = np.empty((len(self.present), width), dtype=root.dtype)
        columns[:, :SIZE_COLUMNS] = self._of_size[self._sizes] * root
        if width > SIZE_COLUMNS:
            np.multiply(self.present, root, out=columns[:, SIZE_COLUMNS : SIZE_COLUMNS + d])
        if width > SIZE_COLUMNS + d:
            scaled = (root * self._t[self._sizes, None]).astype(root.dtype)
            np.multiply(self.present, scaled, out=columns[:, SIZE_COLUMNS + d :])
        return columns

    def project(self, coefficients: Floats) -> tuple[Floats, Floats]:
        """Return the coefficients of words, (fits, words, outputs), and the mean, (fits, outputs), of surrogates under the law."""
        law, d = self.law, self.law.n_words
        of_size = coefficients[:, :SIZE_COLUMNS]
        mean = np.einsum("c,fco->fo", law.size_mean(self._of_size), of_size)
        shared = np.einsum("c,fco->fo", law.covariance_of_size(self._of_size), of_size)
        covariance = np.repeat(shared[:, None], d, axis=1)
        values = np.zeros_like(covariance)
        if coefficients.shape[1] > SIZE_COLUMNS:
            values = coefficients[:, SIZE_COLUMNS : SIZE_COLUMNS + d]
            mean = mean + law.presence * values.sum(axis=1)
        if coefficients.shape[1] > SIZE_COLUMNS + d:
            scaled = coefficients[:, SIZE_COLUMNS + d :]
            own, other = law.covariance_of_scaled(self._t)
            total = scaled.sum(axis=1, keepdims=True)
            covariance = covariance + (own - other) * scaled + other * total
            mean = mean + float(law.size_mean(self._t * law.sizes)) / d * total[:, 0]
        return values + np.stack([law.solve(c) for c in covariance]), mean


def _solve_ridge(gram: Floats, product: Floats, width: int, ridge: float) -> Floats:
    """Return least squares with a penalty on all but the functions of size."""
    from scipy.linalg import get_lapack_funcs

    own = gram[:width, :width].copy()
    own[np.diag_indices(width)] += ridge * np.trace(own) / width
    (solve,) = get_lapack_funcs(("posv",), (own,))
    _, solution, failed = solve(own, product[:width])
    if failed:
        solution = np.linalg.lstsq(own, product[:width], rcond=None)[0]
    return np.asarray(solution)
