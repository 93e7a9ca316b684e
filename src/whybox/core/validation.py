"""Numbers among options, refused in the same words everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from whybox.errors import Argument, OptionError

__all__ = ["check_jobs", "fraction", "whole"]


def whole(name: str, value: Any, least: int | None = 1) -> int:
    """Return a whole number, or refuse it.

    Raises:
        OptionError: it is none, or smaller than `least` (None: any will do).
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or (least is not None and value < least):
        raise OptionError(
            Argument(name, value), f" must be a whole number{'' if least is None else f', {least} or more'}."
        )
    return int(value)


def fraction(name: str, value: Any, most: float = np.inf) -> float:
    """Return a positive number, or refuse it.

    Raises:
        OptionError: it is none, not positive, or larger than `most`.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float, np.number))
        or not 0 < value <= most
        or not np.isfinite(float(value))
    ):
        raise OptionError(
            Argument(name, value), f" must be a number above 0{'' if np.isinf(most) else f' and at most {most:g}'}."
        )
    return float(value)


def check_jobs(n_jobs: Any) -> int | None:
    """Return the number of threads, None for all there are.

    Raises:
        OptionError: no such number.
    """
    if n_jobs is not None and (
        isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)) or n_jobs == 0 or n_jobs < -1
    ):
        raise OptionError(
            Argument("n_jobs", n_jobs), " must be a positive whole number of threads, or -1 for all there are."
        )
    return None if n_jobs in (None, -1) else int(n_jobs)
