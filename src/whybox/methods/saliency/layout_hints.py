"""Which other order of its axes a network takes, of pictures that it does not take as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.models.differentiable import Differentiable

__all__ = ["layout_hint"]

_CHANNELS: Final = (1, 3, 4)  # of pictures
_FIRST, _LAST = "channels before height and width", "channels behind height and width"
_ONE = "one picture, with an axis of rows before it"
_Layout = tuple[str, str, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]]  # as it is written, in words, what it makes
_LAYOUTS: Final[dict[int, tuple[_Layout, ...]]] = {
    4: (
        ("x.transpose(0, 3, 1, 2)", _FIRST, lambda x: x.transpose(0, 3, 1, 2)),
        ("x.transpose(0, 2, 3, 1)", _LAST, lambda x: x.transpose(0, 2, 3, 1)),
    ),
    3: (
        ("x[None]", _ONE, lambda x: x[None]),
        ("x.transpose(2, 0, 1)[None]", f"{_ONE}, {_FIRST}", lambda x: x.transpose(2, 0, 1)[None]),
        ("x.transpose(1, 2, 0)[None]", f"{_ONE}, {_LAST}", lambda x: x.transpose(1, 2, 0)[None]),
        ("x[:, None]", "an axis of one channel behind the rows", lambda x: x[:, None]),
        ("x[..., None]", "an axis of one channel behind height and width", lambda x: x[..., None]),
    ),
    2: (("x[None, None]", "one picture, with an axis of rows and one of its channel", lambda x: x[None, None]),),
}


def layout_hint(net: Differentiable, arrays: tuple[npt.NDArray[Any], ...]) -> str:
    """Return how a batch of pictures, or a single one, is to be passed, as the end of a message; nothing where no other order helps.

    Args:
        net: the network. arrays: its inputs as they were given, of which it did not take any row.
    """
    if len(arrays) != 1:
        return ""
    x = arrays[0].astype(np.float32) if arrays[0].dtype == np.uint8 else arrays[0]
    for text, words, arranged in _LAYOUTS.get(x.ndim, ()):
        other = np.ascontiguousarray(arranged(x)[:1])
        if other.ndim == 4 and not {other.shape[1], other.shape[3]} & set(_CHANNELS):
            continue
        if _is_taken(net, other):
            return f" It takes them as {text}: {words}."
    return ""


def _is_taken(net: Differentiable, x: npt.NDArray[Any]) -> bool:
    for typed in net.with_input_dtypes([x.dtype.name] if x.dtype.kind == "f" else [], (x,)):
        try:
            typed.forward_and_live_memory((typed.array(x),))
        except Exception:  # noqa: S112  # whatever the network makes of it: then it is none
            continue
        return True
    return False
