"""Checks of numeric options, with the same messages everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from whybox.errors import OptionError

__all__ = ["check_jobs", "check_positive", "check_whole_number"]


def check_whole_number(argument: str, value: Any, minimum: int | None = 1) -> int:
    """Check that an option is a whole number and return it as int.

    Raises:
        OptionError: it is not a whole number, or smaller than `minimum` (None: no limit).
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or (minimum is not None and value < minimum):
        raise OptionError(
            f"{argument}={value!r} must be a whole number{'' if minimum is None else f', {minimum} or more'}."
        )
    return int(value)


def check_positive(argument: str, value: Any, maximum: float = np.inf) -> float:
    """Check that an option is a positive number and return it as float.

    Raises:
        OptionError: it is not a number, not positive, or larger than `maximum`.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float, np.number))
        or not 0 < value <= maximum
        or not np.isfinite(float(value))
    ):
        raise OptionError(
            f"{argument}={value!r} must be a number above 0{'' if np.isinf(maximum) else f' and at most {maximum:g}'}."
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
            f"n_jobs={n_jobs!r} must be a positive whole number of threads, or None or -1 for all there are."
        )
    return None if n_jobs in (None, -1) else int(n_jobs)
