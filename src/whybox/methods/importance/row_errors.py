"""The sampling error of importance over rows: standard errors, intervals and ranks, from what each row contributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

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

MAX_FEATURES_RANKED: Final = 2000  # all pairs of features are compared
NUMBERS_AT_ONCE: Final = 2**22  # of the influence of rows
Extras = Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]]


@final
@dataclass(frozen=True, eq=False)
class RowErrors:
    """Standard errors, shaped as the values are; the extras of an explanation of kind ``"importance"``: intervals, tests and ranks; and notes for the reader."""

    std_error: Floats
    extras: Extras
    notes: tuple[str, ...] = ()


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
        Ranks are among the features of one output; of more than 2,000 features their intervals are NaN, and a note says so.
    """
    from scipy.stats import rankdata

    moments = RunningMoments(values.shape)
    for block in _blocks_of_rows(influence):
        moments.add_rows(influence[block], weights[block])
    own = np.zeros(values.shape) if monte_carlo_error is None else monte_carlo_error
    error, freedom = np.hypot(moments.std_error, own), max(moments.effective_count - 1.0, 1.0)
    ends = skewed_interval(values, error, moments.skewness, level, freedom)
    p_values = np.full(values.shape, np.nan) if p_value is None else p_value
    q_values, rank = np.empty(values.shape), np.empty(values.shape)
    rank_ends = np.empty((*values.shape, 2))
    for at in np.ndindex(values.shape[1:]):  # one output after the other
        one = (slice(None), *at)
        q_values[one] = adjust_p_values(p_values[one], "benjamini-yekutieli")
        rank[one], rank_ends[one] = rankdata(-values[one], method="min"), np.nan
        if len(values) <= MAX_FEATURES_RANKED:
            spread = _errors_of_differences(influence[(slice(None), *one)], moments.mean[one], weights, own[one])
            _, *ends_of_ranks = rank_intervals(values[one], spread, level, freedom)
            rank_ends[one] = np.column_stack(ends_of_ranks)
    dims = ("feature", "output")[: values.ndim]
    extras = {
        **interval_extras(np.stack(ends, axis=-1), dims, level),
        "p_value": (dims, p_values),
        "q_value": (dims, q_values),
        "rank": (dims, rank),
        "rank_interval": ((*dims, "bound"), rank_ends),
    }
    unranked = f"Ranks of more than {MAX_FEATURES_RANKED:,} features have no intervals."
    return RowErrors(np.asarray(error), extras, (unranked,) if len(values) > MAX_FEATURES_RANKED else ())


def _blocks_of_rows(influence: Floats) -> list[slice]:
    """Rows to take at a time, so that the copies that moments make stay small."""
    step = max(1, NUMBERS_AT_ONCE // max(influence[0].size, 1)) if len(influence) else 1
    return [slice(start, start + step) for start in range(0, len(influence), step)]


def _errors_of_differences(influence: Floats, mean: Floats, weights: Floats, own: Floats) -> Floats:
    """Standard errors of the differences of any two values of one output, (features, features)."""
    products = np.zeros((len(mean), len(mean)))
    for block in _blocks_of_rows(influence):
        centred = weights[block, None] * (influence[block] - mean)
        products += centred.T @ centred
    squares = np.diag(products)
    both = np.maximum(squares[:, None] + squares[None, :] - 2.0 * products, 0.0)
    error = std_error_of_mean(both, float(1.0 / (weights**2).sum()))
    return np.asarray(np.sqrt(error**2 + own[:, None] ** 2 + own[None, :] ** 2))
