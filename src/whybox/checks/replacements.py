"""What replaces removed parts of inputs: which replacements are used, and the rows that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.checks.check_subject import CheckSubject
from whybox.checks.trivial_maps import is_picture
from whybox.errors import Argument, OptionError
from whybox.methods.saliency.inputs import Input

__all__ = ["BASELINES_TRIED", "check_requested", "replacement_names", "replacement_rows"]

BASELINES_TRIED: Final = ("zero", "mean", "blur", "other row")


def check_requested(requested: Sequence[str], known: Sequence[str], what: str = "") -> tuple[str, ...]:
    """Return the replacements that the caller names, each once.

    Args:
        requested: as the caller gave them. known: names that there are. what: ``"of tokens "`` or the like, for the message.

    Raises:
        OptionError: one that is not known, or fewer than two.
    """
    if isinstance(requested, str) or any(a not in known for a in requested):
        raise OptionError(Argument("absent", requested), f": {what}a tuple of {', '.join(map(repr, known))}.")
    if len(set(requested)) < 2:
        raise OptionError(
            "absent: the result depends on what replaces a removed part, so at least two replacements are needed."
        )
    return tuple(dict.fromkeys(requested))


def replacement_names(inputs: tuple[Input, ...], requested: Sequence[str] | None, rows: int) -> tuple[str, ...]:
    """The replacements to use: those that the caller names, or two that suit the inputs.

    Raises:
        OptionError: some that are not known or do not suit, or fewer than two.
    """
    pictures = any(is_picture(i) for i in inputs)
    if requested is None:
        if pictures:
            return "zero", "blur"
        return ("mean", "other row") if rows >= 8 else ("zero", "other row") if rows >= 2 else ("zero", "one")
    named = check_requested(requested, BASELINES_TRIED if "one" not in requested else (*BASELINES_TRIED, "one"))
    if "blur" in named and not pictures:
        raise OptionError("absent: only pictures, series and volumes can be blurred.")
    return named


def replacement_rows(name: str, subject: CheckSubject, number: int, given: Input) -> npt.NDArray[Any]:
    """Rows that replace removed parts."""
    x, all_rows = given.x, subject.inputs[number].x
    if given.without_gradient:
        return x
    if name == "zero":
        return np.zeros_like(x)
    if name == "one":
        return np.ones_like(x)
    if name == "mean":
        return (
            np.broadcast_to(all_rows.mean(axis=0, keepdims=True), x.shape).astype(x.dtype)
            if not is_picture(given)
            else _channel_means(given)
        )
    if name == "other row":
        shift = 1 + np.random.default_rng([subject.seed, 80]).integers(len(all_rows) - 1) if len(all_rows) > 1 else 0
        return np.asarray(all_rows[(subject.rows + shift) % len(all_rows)])
    return _blurred_rows(given)


def _channel_means(given: Input) -> npt.NDArray[Any]:
    """Each row's mean over positions, channel by channel."""
    return np.broadcast_to(given.x.mean(axis=given.position_axes, keepdims=True), given.x.shape).astype(given.x.dtype)


def _blurred_rows(given: Input) -> npt.NDArray[Any]:
    """A box of a quarter of each axis, three times over: nearly a Gaussian; the border is repeated."""
    x = given.x.astype(np.float64)
    for axis in given.position_axes:
        n = x.shape[axis]
        half = max(1, n // 8)
        for _ in range(3):
            wide = np.pad(x, [(half, half) if i == axis else (0, 0) for i in range(x.ndim)], mode="edge")
            total = np.cumsum(np.insert(wide, 0, 0.0, axis=axis), axis=axis)
            x = (
                np.take(total, np.arange(2 * half + 1, n + 2 * half + 1), axis=axis)
                - np.take(total, np.arange(n), axis=axis)
            ) / (2 * half + 1)
    return x.astype(given.x.dtype)
