"""Checks of options that are numbers, or True or False, with the same messages everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from whybox.errors import Argument, OptionError

__all__ = ["check_positive", "check_true_or_false", "check_whole_number"]


def check_whole_number(argument: str, value: Any, minimum: int | None = 1) -> int:
    """Check that an option is a whole number and return it as int.

    Raises:
        OptionError: it is not a whole number, or smaller than `minimum` (None: no limit).
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or (minimum is not None and value < minimum):
        raise OptionError(
            Argument(argument, value), f" must be a whole number{'' if minimum is None else f', {minimum} or more'}."
        )
    return int(value)


def check_true_or_false(argument: str, value: Any) -> None:
    """Check that an option is True or False.

    Raises:
        OptionError: it is anything else.
    """
    if not isinstance(value, bool):
        raise OptionError(Argument(argument, value), " must be True or False.")


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
            Argument(argument, value),
            f" must be a number above 0{'' if np.isinf(maximum) else f' and at most {maximum:g}'}.",
        )
    return float(value)
