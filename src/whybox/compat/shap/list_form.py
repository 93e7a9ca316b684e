"""Lists of outputs, as shap had them before version 0.45."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Floats

__all__ = ["lists_are_asked", "old_shapes", "shaped"]

MOST_WRITTEN: Final = 100  # kept, so that a program that writes it in a loop does not grow
_WRITTEN: Final[list[_Switched]] = []  # the switches that no block has taken, of all threads; the last one counts
_IN_BLOCK: Final[ContextVar[bool | None]] = ContextVar("lists of shap_values", default=None)  # of one thread or task


@final
class _Switched:
    """What :func:`old_shapes` returns: a ``with`` block holds for its own thread, and leaving it switches back."""

    def __init__(self, on: bool) -> None:
        self.on, self._before = on, _IN_BLOCK.get()
        if self._before is None:
            _WRITTEN[:] = [*_WRITTEN, self][-MOST_WRITTEN:]
        else:
            _IN_BLOCK.set(on)  # written inside a block, it ends with the block

    def __enter__(self) -> None:
        if self in _WRITTEN:
            _WRITTEN.remove(self)
        _IN_BLOCK.set(self.on)

    def __exit__(self, *_: object) -> None:
        _IN_BLOCK.set(self._before)


def old_shapes(on: bool = True) -> _Switched:  # written once, at the top of a program
    """Let ``shap_values`` and ``shap_interaction_values`` return a list with one array for each output, as before shap 0.45.

    Only of models with several outputs; LightGBM's binary classifiers without a background have two there, of which the first has the other sign. Calls of
    explainers, ``explainer(X)``, return an Explanation as ever.

    Args:
        on: False: the last axis holds the outputs, as in shap 0.45 and later.

    Returns:
        What a ``with`` block can leave: ``with shap.old_shapes(): ...``. A block holds for its own thread; a line of its own for the program.
    """
    return _Switched(bool(on))


def lists_are_asked() -> bool:
    """Whether lists are asked for."""
    in_block = _IN_BLOCK.get()
    if in_block is not None:
        return in_block
    return bool(_WRITTEN) and _WRITTEN[-1].on


def shaped(values: Floats, *, has_outputs: bool, doubled: bool = False) -> Any:
    """Return values as they are asked for.

    Args:
        values: outputs last, if any. has_outputs: whether the last axis holds outputs. doubled: whether older code expects both classes of a binary model.
    """
    if not lists_are_asked():
        return values
    if has_outputs:
        make: Callable[[Any], Floats] = np.ascontiguousarray
        return [make(values[..., k]) for k in range(values.shape[-1])]
    return [-values, values] if doubled else values
