"""Which input a class activation map lies on, where a network has several: the one that the named layer depends on."""

from __future__ import annotations

from typing import Any

import numpy as np

from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.methods.saliency.layer_calls import changed_numbers, input_by_name
from whybox.methods.saliency.problem import SaliencyProblem

__all__ = ["map_input"]


def map_input(problem: SaliencyProblem, layer: str | None, wanted: Any = None) -> int:
    """Index of the input that the map shows.

    Args:
        problem: the inputs. layer: the layer's name, if the user named one. wanted: the input, by name or number; None: the only one with channels, or the only
            one of these that the layer depends on.

    Raises:
        UnsupportedModelError: no input has channels. OptionError: several have, and the layer does not decide; or the input that was named has none.
    """
    usable = [i for i, input_ in enumerate(problem.inputs) if input_.channel_axis is not None]
    if not usable:
        raise UnsupportedModelError(
            f"class activation maps need one input with channels and positions, and 0 of {len(problem.inputs)} inputs have channels; give ",
            Argument("channel_axis", example="..."),
            " if there are some.",
        )
    if wanted is not None:
        chosen = input_by_name(problem.inputs, "on_input", wanted)
        if chosen not in usable:
            raise OptionError(
                Argument("on_input", wanted),
                f": this input has the axes {', '.join(problem.inputs[chosen].dims)} and no channels.",
            )
        return chosen
    if len(usable) == 1:
        return usable[0]
    names = " and ".join(problem.inputs[i].name for i in usable)
    if layer is None:
        raise OptionError(
            f"{names} have channels, and a class activation map lies on one of them: name the layer, ",
            Argument("layer", example="..."),
            ", or the input, ",
            Argument("on_input", example="..."),
            ".",
        )
    reached = [i for i in usable if _depends_on(problem, layer, i)]
    if len(reached) != 1:
        raise OptionError(
            f"layer {layer!r} depends on {'none' if not reached else 'several'} of {names}; say which of them the map lies on: ",
            Argument("on_input", example="..."),
            ".",
        )
    return reached[0]


def _depends_on(problem: SaliencyProblem, layer: str, changed: int) -> bool:
    """Whether a layer's output changes with an input, at the first row."""
    first = np.zeros(1, dtype=np.intp)
    whole = problem.to_device(first)
    other = problem.net.array(changed_numbers(problem.inputs[changed].x[first]))
    moved = tuple(other if i == changed else a for i, a in enumerate(whole))
    before, after = (problem.net.numpy(problem.net.tap_layer(a, layer).activation) for a in (whole, moved))
    return not np.array_equal(before, after)
