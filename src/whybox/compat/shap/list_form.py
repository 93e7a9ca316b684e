"""Lists of outputs, as shap had them before version 0.45."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from whybox.data.table import Floats

__all__ = ["lists_are_asked", "old_shapes", "shaped"]

_ASKED = [False]


class _Switched:
    """What :func:`old_shapes` returns: leaving a ``with`` block switches back."""

    def __init__(self, before: bool) -> None:
        self._before = before

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        _ASKED[0] = self._before


def old_shapes(on: bool = True) -> _Switched:  # written once, at the top of a program
    """Let ``shap_values`` and ``shap_interaction_values`` return a list with one array for each output, as before shap 0.45.

    Only of models with several outputs; LightGBM's binary classifiers without a background have two there, of which the first has the other sign. Calls of
    explainers, ``explainer(X)``, return an Explanation as ever.

    Args:
        on: False: the last axis holds the outputs, as in shap 0.45 and later.

    Returns:
        What a ``with`` block can leave: ``with shap.old_shapes(): ...``.
    """
    before, _ASKED[0] = _ASKED[0], bool(on)
    return _Switched(before)


def lists_are_asked() -> bool:
    """Whether lists are asked for."""
    return _ASKED[0]


def shaped(values: Floats, *, has_outputs: bool, doubled: bool = False) -> Any:
    """Return values as they are asked for.

    Args:
        values: outputs last, if any. has_outputs: whether the last axis holds outputs. doubled: whether older code expects both classes of a binary model.
    """
    if not _ASKED[0]:
        return values
    if has_outputs:
        make: Callable[[Any], Floats] = np.ascontiguousarray
        return [make(values[..., k]) for k in range(values.shape[-1])]
    return [-values, values] if doubled else values
