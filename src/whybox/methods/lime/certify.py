"""How many of the largest coefficients are settled, and which ranks they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.numerics.rounding import rounding_floor
from whybox.numerics.statistics import critical_value

__all__ = ["Certificate", "CertifiedRows", "are_certified", "certify", "certify_rows"]

Ints = npt.NDArray[np.int64]
BLOCK: Final = 512  # features compared with all others at a time
MAX_CELLS: Final = 2**20  # comparisons at a time


@final
@dataclass(frozen=True, eq=False)
class Certificate:
    """What is settled of the order of absolute values.

    Attributes:
        order: (features,): positions by falling absolute value.
        certified: so many of the largest are settled: each of them is larger than all that follow it, at a level that holds for all these statements together.
        rank: (features,): 1 and the number of features that are larger, each by a comparison of the two alone. Features that cannot be told apart share one.
    """

    order: Ints
    certified: int
    rank: Ints


@final
@dataclass(frozen=True, eq=False)
class CertifiedRows:
    """A :class:`Certificate` for each row: ``order`` and ``rank`` (rows, features), ``certified`` (rows,)."""

    order: Ints
    certified: Ints
    rank: Ints


def certify(
    values: Floats,
    std_error: Floats | None = None,
    *,
    level: float = 0.95,
    freedom: float | None = None,
    looks: int = 1,
    rounding: float = 0.0,
) -> Certificate:
    """Say how many of the largest absolute values are settled.

    The largest is compared with all others, then the second with all smaller ones, and so on until a comparison fails. Every comparison is two-sided, at
    ``1 - level``. The winner of many is then falsely declared with at most this probability, without a correction for their number, because it must
    beat the runner-up too; and a step is only reached if those before it succeeded, so that the level holds for all steps together.

    Args:
        values: (features,). std_error: of the values, in their shape; None: they are exact, and the order is known, with ties where values are equal.
        level: of confidence. freedom: degrees of freedom of the standard errors; None: many.
        looks: how many times the same question is asked of growing samples; the error is shared out among them.
        rounding: differences up to this much are rounding: values were computed from numbers that are so uncertain.

    Raises:
        OptionError: the level is not between 0 and 1.

    References:
        Hung & Fithian, Rank verification for exponential families, Annals of Statistics 47 (2019); Goldwasser & Hooker, Statistical significance of
        feature importance rankings (2024).
    """
    error = None if std_error is None else np.asarray(std_error, dtype=np.float64)[None]
    one = certify_rows(
        np.asarray(values, dtype=np.float64)[None], error, level=level, freedom=freedom, looks=looks, rounding=rounding
    )
    return Certificate(one.order[0], int(one.certified[0]), one.rank[0])


def certify_rows(
    values: Floats,
    std_error: Floats | None = None,
    *,
    level: float = 0.95,
    freedom: float | None = None,
    looks: int = 1,
    rounding: float = 0.0,
) -> CertifiedRows:
    """Say for each row by itself how many of its largest absolute values are settled.

    Args:
        values: (rows, features). Others as of :func:`certify`.

    Raises:
        OptionError: the level is not between 0 and 1.
    """
    n, p = values.shape
    order, certified, rank = np.empty((n, p), np.int64), np.empty(n, np.int64), np.empty((n, p), np.int64)
    step = max(1, MAX_CELLS // max(1, p * min(p, BLOCK)))
    for start in range(0, n, step):
        rows = slice(start, start + step)
        ordered = _ordered(
            values[rows], None if std_error is None else std_error[rows], level, freedom, looks, rounding
        )
        order[rows] = ordered.order
        certified[rows], ranks = ordered.compare(p)
        np.put_along_axis(rank[rows], ordered.order, ranks, axis=1)
    return CertifiedRows(order, certified, rank)


def are_certified(
    values: Floats, std_error: Floats, top: int, *, level: float, freedom: float | None, looks: int
) -> npt.NDArray[np.bool_]:
    """Return in which rows as many as `top` of the largest are settled, (rows,).

    Args:
        values, std_error: (rows, features). top: at most the number of features. Others as of :func:`certify`.
    """
    n, p = values.shape
    out = np.empty(n, dtype=bool)
    step = max(1, MAX_CELLS // max(1, p * top))
    for start in range(0, n, step):
        rows = slice(start, start + step)
        out[rows] = _ordered(values[rows], std_error[rows], level, freedom, looks, 0.0).compare(top)[0] >= top
    return out


@final
@dataclass(frozen=True, eq=False)
class _Ordered:
    """Absolute values of rows by falling size, (rows, features), with their errors; `floor` (rows,) is what rounding explains of a difference."""

    order: Ints
    size: Floats
    error: Floats
    joint: float
    floor: Floats

    def compare(self, steps: int) -> tuple[Ints, Ints]:
        """Compare each of the first so many with all that follow: how many are certified, (rows,), and the ranks by falling size, (rows, features)."""
        n, p = self.size.shape
        rank, certified, failed = np.ones((n, p), dtype=np.int64), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
        for at in range(0, steps, BLOCK):
            block = slice(at, min(at + BLOCK, steps))
            distance = self.size[:, block, None] - self.size[:, None]
            of_both = np.hypot(self.error[:, block, None], self.error[:, None])
            above = distance > np.maximum(self.joint * of_both, self.floor[:, None, None])
            smaller = np.arange(block.start, block.stop)[:, None] < np.arange(p)
            settled = (~smaller | above | (of_both == 0.0)).all(axis=2)
            first = np.where(settled.all(axis=1), settled.shape[1], settled.argmin(axis=1))
            certified += np.where(failed, 0, first)
            failed |= ~settled.all(axis=1)
            rank += (above & smaller).sum(axis=1)
        return certified, rank


def _ordered(
    values: Floats, std_error: Floats | None, level: float, freedom: float | None, looks: int, rounding: float
) -> _Ordered:
    size = np.abs(values)
    error = np.zeros_like(size) if std_error is None else std_error
    error = np.where(np.isfinite(error), error, np.inf)
    order = np.argsort(-size, axis=1, kind="stable")
    largest, spread = np.take_along_axis(size, order, axis=1), np.take_along_axis(error, order, axis=1)
    floor = np.maximum(rounding_floor(size.T), rounding) if size.size else np.zeros(len(size))
    return _Ordered(order, largest, spread, critical_value(1.0 - (1.0 - level) / looks, freedom), floor)
