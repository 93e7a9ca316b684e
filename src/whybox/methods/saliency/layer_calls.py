"""Layers that one pass calls several times: which inputs each call depends on, and which call is meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_whole_number
from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.problem import SaliencyProblem
from whybox.models.differentiable import Differentiable

__all__ = ["changed_numbers", "check_call", "input_by_name", "inputs_of_calls", "resolve_call"]


def check_call(given: Any, layer: Any) -> None:
    """Check which call of a layer is meant, as an option: a number from 0 on, the name of an input, or None.

    Raises:
        OptionError: something else, or no layer is named.
    """
    if given is None:
        return
    if not isinstance(given, str):
        check_whole_number("call", given, 0)
    if layer is None:
        raise OptionError(
            Argument("call", given), " is about one layer: name it, ", Argument("layer", example="'...'"), "."
        )


def input_by_name(inputs: tuple[Input, ...], option: str, wanted: Any) -> int:
    """Position of an input that is given by its name or its number.

    Raises:
        OptionError: there is no such input.
    """
    names = [i.name for i in inputs]
    if isinstance(wanted, str) and wanted in names:
        return names.index(wanted)
    if isinstance(wanted, int) and not isinstance(wanted, bool) and 0 <= wanted < len(names):
        return wanted
    raise OptionError(Argument(option, wanted), ": there is no such input.", known=names)


def changed_numbers(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Other numbers of the same kind: whole numbers stay between the least and the largest, or 0 and 1 where all are alike."""
    if x.dtype == bool:
        return ~x
    if x.dtype.kind not in "iu":
        return np.ascontiguousarray((2 * np.flip(x) + 1).astype(x.dtype))
    mirrored = x.min() + x.max() - x
    return np.where(mirrored == x, np.where(x > 0, 0, 1), mirrored).astype(x.dtype)


def inputs_of_calls(net: Differentiable, layer: str, inputs: tuple[Input, ...]) -> list[tuple[int, ...]]:
    """For each call of a layer the positions of the inputs that its output changes with, at two rows.

    Raises:
        UnsupportedModelError: it is called more often for some numbers than for others.
    """
    arrays = [i.x[:2] for i in inputs]

    def outputs_of(xs: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        return [net.numpy(a) for a in net.split_at_calls(layer, tuple(map(net.array, xs)))[1]]

    before = outputs_of(arrays)
    read: list[list[int]] = [[] for _ in before]
    for i, x in enumerate(arrays):
        after = outputs_of([changed_numbers(x) if k == i else a for k, a in enumerate(arrays)])
        net.refuse_other_count(layer, len(before), len(after))
        for of, a, b in zip(read, before, after, strict=True):
            if not np.array_equal(a, b):
                of.append(i)
    return [tuple(of) for of in read]


def resolve_call(problem: SaliencyProblem, layer: str | None, call: int | str | None, wanted: Any = None) -> int | None:
    """Which call of a layer is meant, by its number; None: it is called once.

    Args:
        problem: the inputs. layer: the layer's name, if the user named one. call: as the user gave it: a number, the name of the only input that its output
            depends on, or None. wanted: the input that a map lies on, by name or number, where that decides.

    Raises:
        OptionError: the layer is called several times and nothing decides, or the call of that name does not depend on the input that the map lies on.
    """
    if layer is None or isinstance(call, int) or (call is None and len(problem.inputs) == 1):
        return call if isinstance(call, int) else None
    shown = None if wanted is None else input_by_name(problem.inputs, "on_input", wanted)
    mine = shown if call is None else input_by_name(problem.inputs, "call", call)
    if call is None and _is_called_once(problem, layer):
        return None
    read = inputs_of_calls(problem.net, layer, problem.inputs)
    found = [k for k, of in enumerate(read) if mine in of]
    if len(found) == 1:
        if shown is not None and shown not in read[found[0]]:
            raise OptionError(
                Argument("on_input", wanted),
                ": the layer does not depend on it at ",
                Argument("call", call),
                "; leave one of the two out.",
            )
        return found[0] if len(read) > 1 else None
    names = [" and ".join(problem.inputs[i].name for i in of) or "no input" for of in read]
    times = f"{len(read)} times" if len(read) > 1 else "once"
    raise OptionError(
        f"layer {layer!r} is called {times} in one pass; say which call is meant, by its number or, if only one depends on it, by an input ("
        f"{', '.join(f'{k}: of {n}' for k, n in enumerate(names))}): ",
        Argument("call", 0),
        ".",
    )


def _is_called_once(problem: SaliencyProblem, layer: str) -> bool:
    """Whether a layer is called once; also where its output cannot be read, which is refused elsewhere if it is needed."""
    try:
        return len(problem.net.split_at_calls(layer, problem.to_device(np.zeros(1, dtype=np.intp)))[1]) == 1
    except UnsupportedModelError:
        return True
