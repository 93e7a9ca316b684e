"""``random_state`` of other packages as a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from whybox.errors import Argument, OptionError

__all__ = ["as_seed"]


def as_seed(random_state: Any) -> int:
    """Return a whole number: itself, one drawn from a RandomState or a Generator, or 0 for None, so that equal calls have equal answers.

    Raises:
        OptionError: none of these.
    """
    if random_state is None:
        return 0
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        return int(random_state)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    raise OptionError(
        Argument("random_state", random_state), " must be a whole number, a RandomState, a Generator, or None."
    )
