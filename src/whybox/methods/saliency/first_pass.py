"""The first evaluation of a network: which type of floats it takes, what derivatives keep, and what to do if it does not take its inputs."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.errors import InputError, WhyboxError
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.layout_hints import layout_hint
from whybox.models.differentiable import Array, Differentiable

__all__ = ["BYTES_HINT", "first_pass", "input_refusal", "is_picture", "with_other_row"]

BYTES_HINT: Final = "Pass pictures of bytes as floats, scaled as for training: x.astype('float32') / 255."


def with_other_row(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A row after another one of wider range, which shows quantisation by the range of a batch."""
    other = np.flip(x, -1)
    return np.concatenate([other * x.dtype.type(1.5) if x.dtype.kind == "f" else other, x])


def first_pass(
    net: Differentiable,
    sample: tuple[npt.NDArray[Any], ...],
    inputs: tuple[Input, ...],
    *,
    derivatives: bool = True,
    user_function: bool = False,
) -> tuple[Differentiable, Array, int]:
    """Evaluate for the first time, and find the type of floats that the network takes.

    Args:
        net: the network. sample: some rows of its inputs. inputs: the inputs themselves. derivatives: True if derivatives will be taken.
        user_function: True if a function of the user runs after the network; its errors are not due to the inputs, and are raised as they are.

    Returns:
        The network, taking this type; its outputs; and the bytes that derivatives at these rows keep (without derivatives: that are in use at a time).

    Raises:
        InputError: the network cannot compute with such arrays.
    """
    failed: Exception | None = None
    for typed in net.with_input_dtypes([i.given_dtype for i in inputs if i.given_dtype], sample):
        try:
            measure = typed.forward_and_memory if derivatives else typed.forward_and_live_memory
            return typed, *measure(tuple(typed.array(x) for x in sample))
        except Exception as error:
            if isinstance(error, (WhyboxError, NotImplementedError)) or "OutOfMemory" in type(error).__name__:
                raise
            failed = failed or error
    assert failed is not None  # noqa: S101  # for the types
    if user_function:
        raise failed
    raise input_refusal(net, failed, len(sample[0]), inputs) from failed


def is_picture(x: npt.NDArray[Any]) -> bool:
    """True for pictures of bytes."""
    return x.dtype == np.uint8 and x.ndim > 2


def _holds_whole_floats(x: npt.NDArray[Any]) -> bool:
    return bool(x.dtype.kind == "f" and (x == np.floor(x)).all())


def input_refusal(net: Differentiable, error: Exception, count: int, inputs: tuple[Input, ...]) -> InputError:
    """The error for a network that cannot compute with these inputs; it names their types and shapes."""
    given = "; ".join(f"{i.name}: {i.x.dtype} of shape {i.x.shape}" for i in inputs)
    message = " ".join(str(error).split())
    hint = layout_hint(net, tuple(i.x for i in inputs))
    advice = BYTES_HINT if any(is_picture(i.x) for i in inputs) else net.input_advice
    if any(i.feature_names is not None and _holds_whole_floats(i.x) for i in inputs):
        advice += (
            " A frame is passed as floats: pass categories (token ids) as an array of whole numbers, frame.to_numpy()."
        )
    return InputError(
        f"the {net.noun} does not take these inputs ({given}), tried on {count} of the rows: {type(error).__name__}: {message[:300]}.{hint} {advice}"
    )
