"""What is said about the errors of estimated values: their intervals, their typical size, and which values are not distinguishable from zero."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.labelled import Labelled
from whybox.numerics.statistics import critical_value, rank_intervals

__all__ = [
    "DEFAULT_LEVEL",
    "error_of_sum",
    "includes_zero",
    "interval_level",
    "interval_of_values",
    "interval_reach",
    "mean_size_error",
    "median_error",
    "median_error_text",
    "rank_ends",
    "unconverged_rows",
]

DEFAULT_LEVEL: Final = 0.95
ESTIMATED_KINDS: Final = ("attribution", "interaction")  # whose standard errors make intervals where none are kept


def interval_level(e: Labelled) -> float:
    """Return the confidence of the intervals: as kept with them, else as the method was asked, else 0.95."""
    if "interval_level" in e.extras:
        return float(e.extras["interval_level"][1])
    return float(e.evidence.settings.get("level", DEFAULT_LEVEL))


def interval_of_values(e: Labelled) -> tuple[Floats, Floats] | None:
    """Return the lower and upper ends of the interval of each value, shaped as the values are; None where there is none.

    Those that are kept in ``extras["interval"]``; else of attributions and interactions that were estimated, and of maps that were sampled in groups, the values
    and so many standard errors to either side as the level takes.
    """
    kept = e.extras.get("interval")
    if kept is not None:
        return kept[1][..., 0], kept[1][..., 1]
    if e.std_error is None or (e.kind not in ESTIMATED_KINDS and "freedom" not in e.extras):
        return None
    half = interval_reach(e) * e.std_error
    return e.values - half, e.values + half


def interval_reach(e: Labelled) -> float:
    """Return how many standard errors an interval reaches to either side."""
    freedom = float(e.extras["freedom"][1]) if "freedom" in e.extras else None
    return critical_value(interval_level(e), freedom)


def includes_zero(e: Labelled) -> npt.NDArray[np.bool_]:
    """Return which values are not distinguishable from zero, shaped as they are: estimated ones whose interval includes it; of exact values none."""
    ends = interval_of_values(e)
    if e.std_error is None or ends is None:
        return np.zeros(e.values.shape, dtype=np.bool_)
    return np.asarray((e.std_error > 0.0) & (ends[0] <= 0.0) & (ends[1] >= 0.0))


def rank_ends(e: Labelled) -> tuple[Floats, Floats]:
    """Return the lower and upper end of the interval of each value's rank by its size, 1 for the largest, (features,) each, of one row and output.

    Errors of a row's values depend on each other, so those of two values are added.
    """
    error = np.zeros(e.values.shape) if e.std_error is None else e.std_error
    _, low, high = rank_intervals(np.abs(e.values), error[:, None] + error, interval_level(e))
    return low, high


def median_error(e: Labelled) -> float | None:
    """Return the median standard error of the values that were estimated; None where all are exact."""
    if e.std_error is None:
        return None
    estimated = e.std_error[e.std_error > 0.0]
    return float(np.median(estimated)) if estimated.size else None


def unconverged_rows(e: Labelled) -> int:
    """Return in how many rows the errors of attributions are larger than was asked; 0 where nothing was asked."""
    converged = e.extras.get("converged") if e.kind in ESTIMATED_KINDS else None
    return 0 if converged is None else int(np.count_nonzero(~np.asarray(converged[1], dtype=np.bool_)))


def mean_size_error(e: Labelled) -> Floats | None:
    """Return a bound on the standard error of the mean absolute value over the rows, (features,) [, outputs]; None of exact values.

    It is the mean of the rows' standard errors: an absolute value is never further from the true one than the value itself, and errors of different rows, which
    may share what was drawn, add up at most. An interval of this error also holds what the absolute values of errors add to the mean. It is the error for these
    rows: how the mean would change with other rows is not in it (see ``wb.importance(..., method="shap")``).
    """
    if e.std_error is None:
        return None
    return e.std_error.mean(axis=e.dims.index("row")) if "row" in e.dims else e.std_error


def error_of_sum(e: Labelled, features: npt.NDArray[np.intp]) -> float | None:
    """Return a bound on the standard error of the sum of some values of one row, at positions `features`; None of exact values.

    Errors of a row's values depend on each other. They add up at most; and where all values add up exactly to prediction minus base, the sum of some is off by
    what the sum of the others is off.
    """
    if e.std_error is None:
        return None
    total, own = float(e.std_error.sum()), float(e.std_error[features].sum())
    return min(own, total - own) if e.evidence.additive else own


def median_error_text(e: Labelled) -> str:
    """Return ``, median error 0.012`` of estimated attributions and interactions, for one line about them; nothing of others."""
    error = median_error(e) if e.kind in ESTIMATED_KINDS else None
    return "" if error is None else f", {'median ' if e.values.size > 1 else ''}error {error:.2g}"
