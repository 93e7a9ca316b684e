"""Coefficients of the words of a text, from draws with known weights.

The covariance of presences is known, so that coefficients are means over draws, not a regression. What is averaged is what a surrogate leaves over: a fit
that is linear in presences and in presences times a function of the number of words, whose own projection is known exactly. An additive model leaves nothing. The
surrogate of a replicate is fitted to other replicates, so that each replicate is an unbiased estimate; their spread gives the standard errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.lime.removal_law import RemovalLaw
from whybox.numerics.rounding import varies

__all__ = ["WordFit", "fit_enumerated", "fit_replicates"]

Masks = npt.NDArray[np.bool_]
FOLDS: Final = 4
SIZE_COLUMNS: Final = 3  # of the surrogate: the constant, and two functions of the number of words present
RIDGES: Final = (0.01, 0.1)  # beside the mean diagonal, where the draws are few for so many columns
JITTER: Final = 1e-13  # beside the mean diagonal, so that words that are never absent in a fold do no harm


@final
@dataclass(frozen=True, eq=False)
class WordFit:
    """A linear fit of outputs to the presence of words.

    Attributes:
        values, std_error: (words, outputs); None: exact. intercept, r_squared: (outputs,); NaN for an output that does not vary.
        freedom: degrees of freedom of the standard errors. squared_residuals: (draws,), of the surrogate, all outputs together.
    """

    values: Floats
    std_error: Floats | None
    intercept: Floats
    r_squared: Floats
    freedom: int | None = None
    squared_residuals: Floats | None = None


def fit_enumerated(
    law: RemovalLaw, present: Masks, outputs: Floats, probability: Floats, alpha: float = 0.0
) -> WordFit:
    """Return the fit from all masks, (masks, words), their outputs, (masks, outputs), and their probabilities, (masks,)."""
    mean = probability @ outputs
    values = law.solve((present - law.presence).T @ (probability[:, None] * (outputs - mean)))
    return _finish(law, values, mean, alpha, present, outputs, probability)


def fit_replicates(law: RemovalLaw, present: Masks, outputs: Floats, weights: Floats, alpha: float = 0.0) -> WordFit:
    """Return the fit from draws in independent replicates.

    Args:
        law: of the removals. alpha: lime's ridge penalty.
        present: (replicates, draws, words). outputs: (replicates, draws, outputs).
        weights: (replicates, draws): probability of a draw under the law, relative to that with which it was drawn.
    """
    replicates, draws, d = present.shape
    surrogate = _Surrogate(law, present.reshape(-1, d), outputs.reshape(replicates * draws, -1), weights.reshape(-1))
    coefficients, residuals = surrogate.cross_fit(np.repeat(np.arange(replicates) % FOLDS, draws))
    left = (weights.reshape(-1, 1) * residuals).reshape(replicates, draws, -1)
    covariance = np.matmul((present - law.presence).transpose(0, 2, 1), left) / draws
    projected, mean = surrogate.project(coefficients)
    of_fold = np.arange(replicates) % FOLDS
    each = projected[of_fold] + np.stack([law.solve(c) for c in covariance])
    if alpha:
        each = np.stack([law.shrink(e, alpha) for e in each])
    fit = _finish(
        law,
        each.mean(axis=0),
        (mean[of_fold] + left.mean(axis=1)).mean(axis=0),
        0.0,  # shrunk already
        present.reshape(-1, d),
        outputs.reshape(replicates * draws, -1),
        weights.reshape(-1) / weights.size,
    )
    return WordFit(
        fit.values,
        each.std(axis=0, ddof=1) / np.sqrt(replicates),
        fit.intercept,
        fit.r_squared,
        replicates - 1,
        (residuals**2 / surrogate.output_scale).sum(axis=1),
    )


def _finish(
    law: RemovalLaw, values: Floats, mean: Floats, alpha: float, present: Masks, outputs: Floats, probability: Floats
) -> WordFit:
    values = law.shrink(values, alpha) if alpha else values
    intercept = mean - law.presence * values.sum(axis=0)
    total = (probability[:, None] * (outputs - mean) ** 2).sum(axis=0)
    left = (probability[:, None] * (outputs - intercept - present @ values) ** 2).sum(axis=0)
    some = np.array([varies(column) for column in outputs.T]) & (total > 0.0)
    return WordFit(values, None, intercept, np.where(some, 1.0 - left / np.where(some, total, 1.0), np.nan))


@final
class _Surrogate:
    """A fit to an output whose linear projection is known.

    Its columns are 1, t, t^2, the presence of each word, and presence times t, where t is the root of the number of words over that of words present: rows that are
    scaled to length one (tf-idf) have coefficients of this kind.
    """

    def __init__(self, law: RemovalLaw, present: Masks, outputs: Floats, weights: Floats) -> None:
        self.law, self.present, self.outputs, self.weights = law, present, outputs, weights
        t = np.sqrt(law.n_words / (law.sizes + 1.0))
        t = t - law.size_mean(t)
        self._of_size = np.stack([np.ones_like(t), t, t**2], axis=1)
        sizes = present.sum(axis=1)
        self._size_columns = self._of_size[sizes]
        self._t, self._t_of_draw = t, t[sizes][:, None]
        share = law.sizes / law.n_words
        self._spread = (share * (1.0 - share) + (share - law.presence) ** 2)[sizes]
        scale = outputs.var(axis=0)
        self.output_scale = np.where(scale > 0.0, scale, 1.0)

    def cross_fit(self, fold: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return the coefficients without each fold, (folds, columns, outputs), and what they leave of it, (draws, outputs)."""
        d, n = self.law.n_words, len(fold)
        folds = int(fold.max()) + 1
        fitted = n * (folds - 1) // folds
        kinds = [SIZE_COLUMNS, SIZE_COLUMNS + d, SIZE_COLUMNS + 2 * d]
        kinds = [k for k in kinds if k <= max(1.5 * fitted, SIZE_COLUMNS)] or kinds[:1]
        columns = self._columns(kinds[-1])
        weighted = columns * self.weights[:, None]
        grams, products = [], []
        for k in range(folds):
            own = fold == k
            grams.append(weighted[own].T @ columns[own])
            products.append(weighted[own].T @ self.outputs[own])
        gram, product = np.sum(grams, axis=0), np.sum(products, axis=0)
        best: tuple[float, Floats, Floats] | None = None
        for width in kinds[-2:]:
            for ridge in (JITTER,) if 3 * width <= fitted else RIDGES:
                coefficients = np.stack(
                    [_solve_ridge(gram - grams[k], product - products[k], width, ridge) for k in range(folds)]
                )
                residuals = np.empty_like(self.outputs)
                for k in range(folds):
                    own = fold == k
                    residuals[own] = self.outputs[own] - columns[own, :width] @ coefficients[k]
                loss = ((self.weights**2 * self._spread)[:, None] * residuals**2 / self.output_scale).sum()
                if best is None or loss < best[0]:
                    best = float(loss), coefficients, residuals
        assert best is not None  # noqa: S101  # there is always the constant
        return best[1], best[2]

    def _columns(self, width: int) -> Floats:
        d = self.law.n_words
        columns = np.empty((len(self.present), width))
        columns[:, :SIZE_COLUMNS] = self._size_columns
        if width > SIZE_COLUMNS:
            columns[:, SIZE_COLUMNS : SIZE_COLUMNS + d] = self.present
        if width > SIZE_COLUMNS + d:
            np.multiply(self.present, self._t_of_draw, out=columns[:, SIZE_COLUMNS + d :])
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
    from scipy.linalg import lapack

    own = gram[:width, :width].copy()
    own[np.diag_indices(width)] += ridge * np.trace(own) / width
    _, solution, failed = lapack.dposv(own, product[:width])
    if failed:
        solution = np.linalg.lstsq(own, product[:width], rcond=None)[0]
    return np.asarray(solution)
