"""The sampling error of importance over rows: standard errors, intervals and ranks, from what each row contributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.explanation import interval_extras
from whybox.numerics.statistics import (
    RunningMoments,
    adjust_p_values,
    rank_intervals,
    skewed_interval,
    std_error_of_mean,
)

__all__ = ["RowErrors", "errors_over_rows"]

Extras = Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]]


@final
@dataclass(frozen=True, eq=False)
class RowErrors:
    """Standard errors, shaped as the values are, and the extras of an explanation of kind ``"importance"``: intervals, tests and ranks."""

    std_error: Floats
    extras: Extras


def errors_over_rows(
    values: Floats,
    influence: Floats,
    weights: Floats,
    level: float,
    *,
    monte_carlo_error: Floats | None = None,
    p_value: Floats | None = None,
) -> RowErrors:
    """Return how far importance would move with other rows of the same kind, from the spread of what each row contributes.

    Args:
        values: (features,) or (features, outputs). influence: (rows, *values.shape), what each row contributes: values are weighted means of it but for a constant.
        weights: (rows,), which sum to one. level: of confidence.
        monte_carlo_error: as values, the error that they have for these rows, which is added; None: there is none, or the influence holds it.
        p_value: as values, NaN where there is no test; None: nowhere.

    Returns:
        Ranks are among the features of one output.
    """
    moments = RunningMoments(values.shape)
    moments.add_rows(influence, weights)
    own = np.zeros(values.shape) if monte_carlo_error is None else monte_carlo_error
    error, freedom = np.hypot(moments.std_error, own), max(moments.effective_count - 1.0, 1.0)
    ends = skewed_interval(values, error, moments.skewness, level, freedom)
    p_values = np.full(values.shape, np.nan) if p_value is None else p_value
    q_values, rank = np.empty(values.shape), np.empty(values.shape)
    rank_ends = np.empty((*values.shape, 2))
    for at in np.ndindex(values.shape[1:]):  # one output after the other
        one = (slice(None), *at)
        q_values[one] = adjust_p_values(p_values[one], "benjamini-yekutieli")
        spread = _errors_of_differences(influence[(slice(None), *one)], moments.mean[one], weights, own[one])
        rank[one], rank_ends[(*one, 0)], rank_ends[(*one, 1)] = rank_intervals(values[one], spread, level, freedom)
    dims = ("feature", "output")[: values.ndim]
    extras = {
        **interval_extras(np.stack(ends, axis=-1), dims, level),
        "p_value": (dims, p_values),
        "q_value": (dims, q_values),
        "rank": (dims, rank),
        "rank_interval": ((*dims, "bound"), rank_ends),
    }
    return RowErrors(np.asarray(error), extras)


def _errors_of_differences(influence: Floats, mean: Floats, weights: Floats, own: Floats) -> Floats:
    """Standard errors of the differences of any two values of one output, (features, features)."""
    centred = weights[:, None] * (influence - mean)
    products = centred.T @ centred
    squares = np.diag(products)
    both = np.maximum(squares[:, None] + squares[None, :] - 2.0 * products, 0.0)
    error = std_error_of_mean(both, float(1.0 / (weights**2).sum()))
    return np.asarray(np.sqrt(error**2 + own[:, None] ** 2 + own[None, :] ** 2))
