"""Which axis of a series is time and which holds features: from the first layer that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.saliency.axis_probe import LayerChanges, changed_rows
from whybox.methods.saliency.inputs import Input
from whybox.models.differentiable import Array, Differentiable

__all__ = ["named_axes"]

MAX_DRAWS: Final = 4  # random changes of the input that are tried


def named_axes(
    net: Differentiable, inputs: tuple[Input, ...], *, channels: bool
) -> tuple[tuple[Input, ...], tuple[str, ...]]:
    """Name the axes of inputs (rows, a, b) of floats; notes say how they are known.

    Args:
        net, inputs: the network and its inputs. channels: True if the method needs channels: features that are known become channels if no input has any.
    """
    channels = channels and all(i.channel_axis is None for i in inputs)
    out, notes = list(inputs), []
    for input_index, input_ in enumerate(inputs):
        if input_.dims != ("row", "time", "feature") or input_.without_gradient or input_.feature_names is not None:
            continue
        found = _time_axis(net, inputs, input_index)
        if found is None:
            notes.append(
                f"{input_.name}: no layer shows which axis is time and which holds features; they are named (row, time, feature). If axis 1 holds features or "
                "channels: channel_axis=1 (and reduce=None keeps them)"
            )
            continue
        layer, axis = found
        other = 3 - axis
        features = "channel" if channels else "feature"
        names = {0: "row", axis: "time", other: features}
        out[input_index] = replace(
            input_, dims=tuple(names[i] for i in range(3)), channel_axis=other if channels else None
        )
        notes.append(
            f"{input_.name}: axis {axis} is time and axis {other} holds {features}s, as layer {layer!r} takes them"
        )
    return tuple(out), tuple(notes)


def _sequence_values(net: Differentiable, x: tuple[Array, ...]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Inputs of layers that tell time from features, as (rows, time, features)."""
    rows = len(x[0])
    try:
        for layer, axes, input_ in net.sequence_layers(x):
            values = np.transpose(net.numpy(input_), [axes.index(name) for name in ("row", "time", "feature")])
            if len(values) == rows:
                yield layer, values
    except Exception:  # a network that fails here is refused with a reason in the next step
        return


def _time_axis(net: Differentiable, inputs: tuple[Input, ...], input_index: int) -> tuple[str, int] | None:
    """The first layer whose input is the network's input, or whose time axis follows one axis of it; and that axis."""
    total: dict[str, Floats] = {}
    for draw in range(MAX_DRAWS):
        rows, parts = changed_rows(inputs[input_index], draw, (1, 2))
        while len(rows) in rows.shape[1:]:  # so that the row axis is recognised by its length
            rows = np.concatenate([rows, rows[:1]])
        some = tuple(
            net.array(rows if i == input_index else np.repeat(other.x[:1], len(rows), axis=0))
            for i, other in enumerate(inputs)
        )
        own = net.numpy(some[input_index])
        for layer, values in _sequence_values(net, some):
            same = [axis for axis in (1, 2) if np.array_equal(values, own if axis == 1 else own.swapaxes(1, 2))]
            if len(same) == 1:
                return layer, same[0]
            change = (values[1 : len(parts) + 1] - values[0]) ** 2
            total[layer] = change if layer not in total else total[layer] + change
            seen = LayerChanges(total[layer], parts).axis_response()
            follows = seen.position_correlation[:, 0]  # of each axis of the input, how the layer's time follows it
            axis = 1 + int(follows.argmax())
            if (
                seen.follows_clearly(axis - 1, 1, by_changes_only=True)
                and abs(follows[2 - axis]) <= follows[axis - 1] / 2
            ):
                return layer, axis
        if not total:
            return None
    return None
