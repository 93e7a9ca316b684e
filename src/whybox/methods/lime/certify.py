"""How many of the largest coefficients are settled, and which ranks they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.numerics.rounding import rounding_floor
from whybox.numerics.statistics import critical_value

__all__ = ["Certificate", "certify"]

Ints = npt.NDArray[np.int64]
BLOCK: Final = 512  # features compared with all others at a time


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
    size = np.abs(np.asarray(values, dtype=np.float64))
    error = np.zeros_like(size) if std_error is None else np.asarray(std_error, dtype=np.float64)
    error = np.where(np.isfinite(error), error, np.inf)
    joint = critical_value(1.0 - (1.0 - level) / looks, freedom)
    order = np.argsort(-size, kind="stable")
    largest, spread = size[order], error[order]
    rank, certified, failed = np.ones(len(size), dtype=np.int64), 0, False
    floor = max(float(rounding_floor(size)), rounding) if len(size) else 0.0
    for at in range(0, len(size), BLOCK):
        block = slice(at, at + BLOCK)
        distance = largest[block, None] - largest
        of_both = np.hypot(spread[block, None], spread)
        above = distance > np.maximum(joint * of_both, floor)
        smaller = np.arange(at, at + len(distance))[:, None] < np.arange(len(size))
        settled = (~smaller | above | (of_both == 0.0)).all(axis=1)
        if not failed:
            certified += int(settled.argmin()) if not settled.all() else len(settled)
            failed = not settled.all()
        rank += (above & smaller).sum(axis=0)
    ranks = np.empty_like(rank)
    ranks[order] = rank
    return Certificate(order, certified, ranks)
