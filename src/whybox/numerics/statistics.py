"""Rank correlations, intervals: what checks are counted with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.numerics.rounding import floor, varies

__all__ = ["about", "interval", "kendall", "ranks", "sizes_alike", "spearman", "t_of", "taus"]

# two-sided 95 % points of Student's t for 1 to 30 degrees of freedom; beyond, 1.96 + 2.4 / df is right to three digits
_T: Final = (
    12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def ranks(values: npt.NDArray[Any]) -> Floats:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse.reshape(-1)], dtype=np.float64)


def spearman(a: Floats, b: Floats) -> float:
    """Rank correlation of two flat arrays; 0 where one of them is constant, but for rounding, for it then says nothing of the other."""
    if not (varies(a) and varies(b)):
        return 0.0
    x, y = ranks(a) - (len(a) + 1) / 2, ranks(b) - (len(b) + 1) / 2
    size = float(np.sqrt((x @ x) * (y @ y)))
    return 0.0 if size == 0.0 else float(x @ y) / size


def sizes_alike(a: Floats, b: Floats) -> Floats:
    """Rank correlation of sizes, of each row of two tables, over the places where both are numbers."""
    both = np.isfinite(a) & np.isfinite(b)
    return np.array([spearman(np.abs(x[u]), np.abs(y[u])) for x, y, u in zip(a, b, both, strict=True)])


def kendall(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's tau-b of a few numbers: pairs in the same order less pairs in the other, over all; NaN where one side is constant. Rounding is no order."""
    i, j = np.triu_indices(len(a), 1)
    s, t = (np.sign(x[i] - x[j]) * (np.abs(x[i] - x[j]) > floor(x)) for x in (np.asarray(a), np.asarray(b)))
    size = float(np.sqrt((s @ s) * (t @ t)))
    return float("nan") if size == 0.0 else float(s @ t) / size


def taus(columns: Sequence[Sequence[float]]) -> list[float]:
    """Kendall's tau of every pair of columns."""
    return [kendall(a, b) for a, b in itertools.combinations(columns, 2)]


def interval(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean, and half of its 95 % interval, of rows (n,) or of repetitions of rows (repetitions, n).

    Rows and repetitions are both samples: the two variances of the mean are added, so that few repetitions are not taken for many.
    """
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    mean = float(table.mean()) if table.size else float("nan")
    half = 0.0
    for axis in (0, 1):
        means = table.mean(axis=axis)  # of each row over repetitions, of each repetition over rows
        if len(means) > 1:
            half += (t_of(len(means) - 1) * float(means.std(ddof=1))) ** 2 / len(means)
    several = any(n > 1 for n in table.shape)
    return mean, float(np.sqrt(half)) if several else float("inf")


def about(mean: float, half: float) -> str:
    """A mean and its interval in words; from a single row there is none."""
    return f"{mean:.2f} +- {half:.2f}" if np.isfinite(half) else f"{mean:.2f} (one row)"


def t_of(freedom: int) -> float:
    """The two-sided 95 % point of Student's t."""
    return _T[freedom - 1] if freedom <= len(_T) else 1.96 + 2.4 / freedom
