"""Which axes of a layer follow which axes of the input: found by evaluating the network on larger inputs, and on inputs changed in one part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import UnsupportedModelError
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.problem import SaliencyProblem
from whybox.models.differentiable import Array

__all__ = [
    "AxisOrder",
    "AxisResponse",
    "LayerChanges",
    "changed_rows",
    "growing_axes",
    "possible_orders",
    "probe_changes",
]

LayerShapes = Mapping[str, tuple[int, ...]]
BANDS_PER_AXIS: Final = 4  # parts of an axis that are changed, one after the other
MIN_CORRELATION: Final = (
    0.3  # between the position of the change in the input and in the layer, from which on an axis is taken to follow
)
SMALL_LAYER_FACTOR: Final = (
    1.2  # small layers need this / sqrt(bands x length), about four standard deviations of random weights
)
MIN_CORRELATION_ALONE: Final = 0.5  # if only changes show which axis is which; and twice the factor for small layers
MAX_NEEDED_CORRELATION: Final = 0.95  # but never more than this
MIN_MARGIN: Final = 0.4  # over any other axis, unless the correlation is twice as large
FAR_SHARE: Final = 0.1  # of the axis length, beyond the size of the part itself: changes there are astray
MAX_ASTRAY: Final = 0.75  # such changes, relative to the largest change
MIN_SHUFFLED: Final = 0.95  # of such changes if positions are shuffled
MIN_NARROW: Final = 0.5  # changes so narrow that the positions must be elsewhere, if not where they should be
MIN_LENGTH_SHUFFLED: Final = 5  # positions of an axis for which shuffling can be recognised
EXTRA_DRAWS: Final = (
    3,
    15,
    400_000,
)  # if one random change does not suffice: least and most further ones, and input numbers in all of them
NOISE_SHARE: Final = 1e-5  # changes below this share of the largest are rounding


@final
@dataclass(frozen=True)
class AxisOrder:
    """A reading of a layer's axes: the channel axis, and the axis that follows each position axis of the input. Axis 0 is the rows."""

    channel_axis: int
    position_axes: tuple[int, ...]


def possible_orders(shape: Sequence[int], grown_axes: Mapping[int, tuple[int, ...]]) -> list[AxisOrder]:
    """Readings that larger inputs allow, one of those that give the same map.

    Args:
        shape: of the layer's output, rows first. grown_axes: for each position axis of the input, by its index, the layer's axes that grow with it, if known.
    """
    found: dict[tuple[int | None, ...], AxisOrder] = {}
    if any(len(axes) > 1 for axes in grown_axes.values()):  # such as attention scores between positions
        return []
    for channel, *places in permutations(range(1, len(shape))):
        if all(axes == (places[k],) for k, axes in grown_axes.items()):
            alike = tuple(axis if shape[axis] > 1 else None for axis in (channel, *places))
            found.setdefault(alike, AxisOrder(channel, tuple(places)))
    return list(found.values())


def growing_axes(
    problem: SaliencyProblem, input_index: int
) -> Callable[[str, tuple[int, ...]], dict[int, tuple[int, ...]]]:
    """Evaluate the first row made twice as long along each position axis in turn; half as long if an index outside of a table is fatal for the device.

    Returns:
        (layer, its shape for one row) -> for each position axis, by its index, the axes of the layer that grew; axes of which nothing is known are left out.
    """
    input_ = problem.inputs[input_index]
    first = [i.x[:1] for i in problem.inputs]
    larger: list[LayerShapes] = []
    for axis in input_.position_axes:
        length = input_.x.shape[axis]
        at = np.arange(-(-length // 2) if problem.net.may_break_device else 2 * length) % length
        longer = [np.take(x, at, axis) if i == input_index else x for i, x in enumerate(first)]
        larger.append(problem.net.named_shapes(tuple(problem.net.array(x) for x in longer)))

    def grown_axes_of(layer: str, shape: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
        found = {}
        for k, shapes in enumerate(larger):
            now = shapes.get(layer, ())
            axes = tuple(i for i in range(1, len(shape)) if len(now) == len(shape) and now[i] != shape[i])
            if axes:
                found[k] = axes
        return found

    return grown_axes_of


@final
@dataclass(frozen=True)
class AxisResponse:
    """How the layer changes with the input: for each position axis (first index) and each axis of the layer (second, without rows).

    Attributes:
        position_correlation: correlation, between -1 and 1, of the positions of changes in the input and in the layer.
        max_distant_change: the largest change far from the change in the input, relative to the largest anywhere; largest over all changed parts. min_distant_change: the smallest.
        change_narrowness: how narrow the changes are, wherever they are: 0 if equal along the axis, 1 if at one position of the layer for each part.
        part_counts: of each position axis, the number of parts that were changed. axis_lengths: of the layer's axes after the rows.
    """

    position_correlation: Floats
    max_distant_change: Floats
    min_distant_change: Floats
    change_narrowness: Floats
    part_counts: tuple[int, ...]
    axis_lengths: tuple[int, ...]

    def follows_clearly(self, k: int, axis: int, *, by_changes_only: bool = False) -> bool:
        """True if this axis of the layer, and no other, follows position axis k; `by_changes_only`: nothing else shows it."""
        others = np.delete(np.abs(self.position_correlation[k]), axis - 1).max(initial=0)
        here, needed = (
            self.position_correlation[k, axis - 1],
            self._needed_correlation(k, axis, by_changes_only=by_changes_only),
        )
        return bool(
            here >= needed
            and self.max_distant_change[k, axis - 1] <= MAX_ASTRAY
            and others <= max(here / 2, here - MIN_MARGIN)
        )

    def _needed_correlation(self, k: int, axis: int, *, by_changes_only: bool = False) -> float:
        """Correlation that is sufficient for axes of this length; infinity if one of them has length 1."""
        bands, length = self.part_counts[k], self.axis_lengths[axis - 1]
        if min(bands, length) < 2:
            return np.inf
        few = SMALL_LAYER_FACTOR / float(np.sqrt(bands * length))
        return (
            min(max(MIN_CORRELATION_ALONE, 2 * few), MAX_NEEDED_CORRELATION)
            if by_changes_only
            else max(MIN_CORRELATION, few)
        )

    def _contradicts_axis(self, k: int, axis: int) -> bool:
        """True if this axis is reversed or shuffled, or if another one follows."""
        here, needed = self.position_correlation[k, axis - 1], self._needed_correlation(k, axis)
        elsewhere = any(
            self.follows_clearly(k, other + 1) for other in range(len(self.axis_lengths)) if other != axis - 1
        )
        copied = here >= needed and self.min_distant_change[k, axis - 1] > MAX_ASTRAY
        grown_axes = (
            self.change_narrowness[k, axis - 1] > MIN_NARROW and self.max_distant_change[k, axis - 1] > MIN_SHUFFLED
        )
        shuffled = self.axis_lengths[axis - 1] >= MIN_LENGTH_SHUFFLED and (copied or grown_axes)
        return bool(elsewhere or shuffled or here <= -needed)

    def allows_order(self, order: AxisOrder) -> bool:
        """True if nothing contradicts a reading."""
        return not any(self._contradicts_axis(k, axis) for k, axis in enumerate(order.position_axes))

    def confirms_order(self, order: AxisOrder, *, by_changes_only: bool = False) -> bool:
        """True if everything supports a reading; `by_changes_only`: nothing else does, so that an axis of length 1 in the layer does not."""
        return all(
            self.part_counts[k] < 2
            or (self.axis_lengths[axis - 1] == 1 and not by_changes_only)
            or self.follows_clearly(k, axis, by_changes_only=by_changes_only)
            for k, axis in enumerate(order.position_axes)
        )


@final
@dataclass(frozen=True)
class LayerChanges:
    """How much a layer changes when one part of the input is changed.

    Attributes:
        squared_changes: squared changes, (parts, *the layer's axes after the rows). changed_parts: (index of the position axis, start, end), as fractions of that axis.
    """

    squared_changes: Floats
    changed_parts: tuple[tuple[int, float, float], ...]

    def axis_response(self) -> AxisResponse:
        """How each axis of the layer follows each position axis."""
        shape = self.squared_changes.shape[1:]
        count = 1 + max(k for k, _, _ in self.changed_parts)
        found = np.zeros((4, count, len(shape)))
        for k in range(count):
            mine = [i for i, part in enumerate(self.changed_parts) if part[0] == k]
            ends = np.array([self.changed_parts[i][1:] for i in mine])
            for a, length in enumerate(shape):
                if len(mine) < 2 or length < 2 or not np.isfinite(self.squared_changes).all():
                    continue
                over = tuple(i + 1 for i in range(len(shape)) if i != a)
                found[:, k, a] = _change_statistics(self.squared_changes[mine].sum(axis=over), ends)
        parts = tuple(sum(part[0] == k for part in self.changed_parts) for k in range(count))
        follows, astray, always, local = found
        return AxisResponse(follows, astray, always, local, parts, tuple(shape))

    def single_part_shares(self, axis: int) -> Floats:
        """How much each position along an axis of the layer depends on single parts: the largest share of one part, mean over position axes."""
        over = tuple(i + 1 for i in range(self.squared_changes.ndim - 1) if i != axis - 1)
        of = self.squared_changes.sum(axis=over)
        found = []
        for k in range(1 + max(k for k, _, _ in self.changed_parts)):
            mine = of[[i for i, part in enumerate(self.changed_parts) if part[0] == k]]
            mine = mine / np.maximum(mine.sum(axis=1, keepdims=True), 1e-300)
            total = mine.sum(axis=0)
            found.append(np.where(total > 0, mine.max(axis=0) / np.where(total > 0, total, 1), 1 / len(mine)))
        return np.asarray(np.mean(found, axis=0))


def probe_changes(
    problem: SaliencyProblem, input_index: int, layer: str, arrange: Callable[[Array], Array]
) -> Iterator[LayerChanges]:
    """Change the first row in one part after the other, once, then several times; the caller stops when it knows enough.

    Args:
        problem, input_index: the problem, and the input that the map shows. layer: its name. arrange: brings its output into the axes to be read, rows first.

    Raises:
        UnsupportedModelError: the layer's output has no row axis.
    """
    input_ = problem.inputs[input_index]
    total, parts = _one_draw(problem, input_index, layer, arrange, 0)
    yield LayerChanges(total, parts)
    least, most, numbers = EXTRA_DRAWS
    more = max(least, min(most, numbers // input_.x[0].size))
    for draw in range(1, more + 1):
        total = total + _one_draw(problem, input_index, layer, arrange, draw)[0]
    yield LayerChanges(total, parts)


def _one_draw(
    problem: SaliencyProblem, input_index: int, layer: str, arrange: Callable[[Array], Array], draw: int
) -> tuple[Floats, tuple[tuple[int, float, float], ...]]:
    """Squared changes of the layer, and the parts of the input that were changed; all draws but the first begin from another row too."""
    rows, parts = changed_rows(problem.inputs[input_index], draw, problem.inputs[input_index].position_axes)
    activations = np.concatenate(list(_layer_activations(problem, input_index, layer, rows, arrange)))
    change = (activations[1:] - activations[0]) ** 2
    change[change <= NOISE_SHARE**2 * change.max(initial=0)] = 0
    return change, tuple(parts)


def changed_rows(
    input_: Input, draw: int, axes: Sequence[int]
) -> tuple[npt.NDArray[Any], tuple[tuple[int, float, float], ...]]:
    """A row, and copies of it with one part changed, for all parts along each of these axes; and the parts, see Changes."""
    base = input_.x[:1] if not draw else _shuffled_row(input_.x[:1], input_.channel_axis, 2 * draw - 1)
    other = _shuffled_row(input_.x[:1], input_.channel_axis, 2 * draw)
    rows, parts = [base], []
    for k, axis in enumerate(axes):
        length = input_.x.shape[axis]
        for start, stop in _band_limits(length):
            at = (slice(None),) * axis + (slice(start, stop),)
            changed = base.copy()
            changed[at] = other[at]
            rows.append(changed)
            parts.append((k, start / length, stop / length))
    return np.concatenate(rows), tuple(parts)


def _band_limits(length: int) -> list[tuple[int, int]]:
    ends = np.linspace(0, length, min(length, BANDS_PER_AXIS) + 1).round().astype(int)
    return [(int(a), int(b)) for a, b in pairwise(ends)]


def _shuffled_row(x: npt.NDArray[Any], channel: int | None, seed: int) -> npt.NDArray[Any]:
    """A row like this one: each channel's numbers in another order, so that all numbers are of a kind that the network knows."""
    draw = np.random.default_rng(seed)
    channels_last = x[..., None] if channel is None else np.moveaxis(x, channel, -1)
    flat = channels_last.reshape(-1, channels_last.shape[-1])
    out = np.stack([draw.permutation(column) for column in flat.T], axis=1)
    same = np.ptp(flat, axis=0) == 0
    if same.any() and x.dtype.kind == "f":  # an order of equal numbers changes nothing
        scale = max(float(flat.std()), 0.1 * float(np.abs(flat).max(initial=0))) or 1.0
        out[:, same] += (scale * draw.random((len(flat), int(same.sum())))).astype(x.dtype)
    out = out.reshape(channels_last.shape)
    return out[..., 0] if channel is None else np.moveaxis(out, -1, channel)


def _layer_activations(
    problem: SaliencyProblem, input_index: int, layer: str, rows: npt.NDArray[Any], arrange: Callable[[Array], Array]
) -> Iterator[Floats]:
    """The layer's output for these rows of one input, with the other inputs of the first row."""
    for start in range(0, len(rows), problem.batch_size):
        some = rows[start : start + problem.batch_size]
        xs = tuple(
            problem.net.array(some if i == input_index else np.repeat(other.x[:1], len(some), axis=0))
            for i, other in enumerate(problem.inputs)
        )
        found = problem.net.split_at_layer(layer, xs)[1]
        if len(found) != len(some):
            raise UnsupportedModelError(
                f"layer {layer!r} does not output one array whose first axis is the rows; name another."
            )
        yield problem.net.numpy(arrange(found))


def _change_statistics(change: Floats, ends: Floats) -> tuple[float, float, float, float]:
    """Correlation of parts (rows) and positions (columns) under weights made equal for all parts and all positions; how large those far away are; how narrow they are."""
    weights = change + 1e-9 * change.max() + 1e-300
    for _ in range(30):
        weights = weights / weights.sum(axis=1, keepdims=True)
        weights = weights / weights.sum(axis=0, keepdims=True)
    of_parts, of_places = weights.sum(axis=1) / weights.sum(), weights.sum(axis=0) / weights.sum()
    parts, places = ends.mean(axis=1), (np.arange(weights.shape[1]) + 0.5) / weights.shape[1]
    dp, dq = parts - of_parts @ parts, places - of_places @ places
    spread = float(np.sqrt((of_parts @ dp**2) * (of_places @ dq**2)))
    together = float(dp @ weights @ dq / weights.sum()) / spread if spread > 0 else 0.0
    room = (ends[:, 1] - ends[:, 0]) / 2 + 0.5 / weights.shape[1] + FAR_SHARE
    far = np.abs(places - parts[:, None]) > room[:, None]
    astray = np.where(far, weights, 0).max(axis=1) / weights.max(axis=1)
    most = weights.max(axis=1) / weights.sum(axis=1) * weights.shape[1]  # 1 where all places change alike
    return together, float(astray.max()), float(astray.min()), float((most.mean() - 1) / max(min(weights.shape) - 1, 1))
