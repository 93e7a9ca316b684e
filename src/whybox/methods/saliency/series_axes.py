"""Which axis of a series is time and which holds features: from the first layer that knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.saliency.axis_probe import Changes, changed_rows
from whybox.methods.saliency.inputs import Input
from whybox.models.differentiable import Array, Differentiable

__all__ = ["named_axes"]

DRAWS: Final = 4  # changes of the input that are tried


def named_axes(
    net: Differentiable, inputs: tuple[Input, ...], *, channels: bool
) -> tuple[tuple[Input, ...], tuple[str, ...]]:
    """Name the axes of inputs (rows, a, b) of floats, and say in notes how they are known.

    Args:
        net, inputs: the network and what goes in. channels: whether the method needs channels: features that are known are then taken for them, where no input has any.
    """
    channels = channels and all(i.channel is None for i in inputs)
    out, notes = list(inputs), []
    for which, given in enumerate(inputs):
        if given.dims != ("row", "time", "feature") or given.whole or given.names is not None:
            continue
        found = _time_axis(net, inputs, which)
        if found is None:
            notes.append(
                f"{given.name}: no layer says which axis is time and which holds features; they are called (row, time, feature). If axis 1 holds features or "
                "channels: channel_axis=1 (and reduce=None keeps them)"
            )
            continue
        layer, axis = found
        other = 3 - axis
        features = "channel" if channels else "feature"
        names = {0: "row", axis: "time", other: features}
        out[which] = replace(given, dims=tuple(names[i] for i in range(3)), channel=other if channels else None)
        notes.append(
            f"{given.name}: axis {axis} is time and axis {other} holds {features}s, as layer {layer!r} takes them"
        )
    return tuple(out), tuple(notes)


def _given(net: Differentiable, x: tuple[Array, ...]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """What layers that know time from features are given, as (rows, time, features)."""
    rows = len(x[0])
    try:
        for layer, axes, given in net.sequence_layers(x):
            values = np.transpose(net.numpy(given), [axes.index(name) for name in ("row", "time", "feature")])
            if len(values) == rows:
                yield layer, values
    except Exception:  # a network that cannot be asked is refused, in words, by the question that comes next
        return


def _time_axis(net: Differentiable, inputs: tuple[Input, ...], which: int) -> tuple[str, int] | None:
    """The first layer that is given the input itself, or whose axis of time follows one axis of the input; and that axis."""
    total: dict[str, Floats] = {}
    for draw in range(DRAWS):
        rows, parts = changed_rows(inputs[which], draw, (1, 2))
        while len(rows) in rows.shape[1:]:  # so that the axis of rows is told by its length
            rows = np.concatenate([rows, rows[:1]])
        some = tuple(
            net.array(rows if i == which else np.repeat(other.x[:1], len(rows), axis=0))
            for i, other in enumerate(inputs)
        )
        own = net.numpy(some[which])
        for layer, values in _given(net, some):
            same = [axis for axis in (1, 2) if np.array_equal(values, own if axis == 1 else own.swapaxes(1, 2))]
            if len(same) == 1:
                return layer, same[0]
            change = (values[1 : len(parts) + 1] - values[0]) ** 2
            total[layer] = change if layer not in total else total[layer] + change
            seen = Changes(total[layer], parts).response()
            along = seen.follows[:, 0]  # of each axis of the input, how the layer's time follows it
            axis = 1 + int(along.argmax())
            if seen.clear(axis - 1, 1, alone=True) and abs(along[2 - axis]) <= along[axis - 1] / 2:
                return layer, axis
        if not total:
            return None
    return None
