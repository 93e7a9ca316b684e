"""``shap.links``: from the outputs of a model to the units of the values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

__all__ = ["as_link", "identity", "logit"]

EPSILON: Final = 1e-15  # shap's KernelExplainer: probabilities of 0 and 1 have finite log-odds


def identity(x: Any) -> Any:
    """Return the outputs as they are."""
    return x


def logit(x: Any) -> Any:
    """Return the log-odds of probabilities, which are first cut to 1e-15 from 0 and 1."""
    cut = np.clip(np.asarray(x, dtype=np.float64), EPSILON, 1.0 - EPSILON)
    return np.log(cut / (1.0 - cut))


def as_link(link: Any) -> Callable[[Any], Any]:
    """Return the function that a link means: ``"identity"``, ``"logit"``, one of this module, or any function.

    Raises:
        TypeError: it is none of these.
    """
    if link is None or (isinstance(link, str) and link == "identity"):
        return identity
    if isinstance(link, str) and link == "logit":
        return logit
    if not callable(link):
        raise TypeError(f"a link is 'identity', 'logit' or a function; this is {link!r}.")
    given: Callable[[Any], Any] = link
    return given
