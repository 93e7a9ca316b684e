"""Class activation maps, recomputed by hand: from the layer's output and gradient at one row alone, cell by cell with numpy, and drawn on the input's positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.saliency.base import MethodOutput
from whybox.methods.saliency.cam import GradCam, LayerCam, ScoreCam
from whybox.methods.saliency.gradient_check import input_sizes, unit_roundoff
from whybox.methods.saliency.problem import SaliencyProblem
from whybox.methods.saliency.spot_masking import check_sampled_mask
from whybox.methods.saliency.spot_record import MaskedBlock, RecordedPositions
from whybox.methods.saliency.spot_rows import RecomputedNumbers, compare_with_map, gradient_tolerance

__all__ = ["check_rows"]

MAX_CHANNELS: Final = 16  # of a layer, whose own maps are recomputed
CELLS_WAY: Final = "cell by cell with NumPy from the layer's recorded output and gradient, some of which were taken again at one row alone"
ALONE_WAY: Final = "from the layer's output and gradient at one row alone"


def check_rows(
    problem: SaliencyProblem,
    method: Any,
    output: MethodOutput,
    e: Explanation,
    checker: SpotChecker,
    alone: Sequence[int],
) -> None:
    """Recompute the maps of the recorded rows, from what the layer gave; and what it gives for a few of them alone.

    Raises:
        SpotCheckError: they differ.
    """
    record, net = problem.spot_record, problem.net
    assert record is not None  # noqa: S101  # asked by the caller
    i = next(k for k, a in enumerate(output.maps[0]) if a is not None)
    eps = unit_roundoff(net.arithmetic)
    for row in record.rows.tolist():
        scores = record.masked_of(row) if isinstance(method, ScoreCam) else None
        activation, gradients = record.layer_outputs[row]
        for n, t in enumerate(record.targets):
            gradient = gradients[n] if gradients else None
            maps, size = _layer_map(problem, method, output, i, t, activation, gradient, scores)
            grid = maps.shape[1:]
            places = record.input_positions[i] if method.upsample else _cells_of(grid)
            sizes = problem.inputs[i].position_shape if method.upsample else grid
            channels = np.arange(len(maps))
            if output.layer_channels:
                channels = np.sort(record.rng.choice(len(maps), min(len(maps), MAX_CHANNELS), replace=False))
                places = _places_of_channels(problem, i, places.positions, channels, (len(maps), *sizes))
            drawn = np.stack([_drawn_at(maps[k], sizes, places.positions) for k in channels], axis=1)
            allowed = np.full(drawn.shape, (64 + activation.shape[-1]) * eps * size + 1e-30)
            numbers = RecomputedNumbers(drawn, allowed)
            compare_with_map(problem, e, output, checker, numbers, (row, t, i), places, CELLS_WAY)
    for row in alone:
        if isinstance(method, ScoreCam):
            check_sampled_mask(problem, method, row)
        _check_layer_alone(problem, method, output, i, row)


def _check_layer_alone(problem: SaliencyProblem, method: Any, output: MethodOutput, i: int, row: int) -> None:
    """Compare what a layer gives for a row alone with what was recorded, as the map that it makes."""
    record, arrays = problem.spot_record, [a.x[row : row + 1] for a in problem.inputs]
    assert record is not None  # noqa: S101  # asked by the caller
    scores = record.masked_of(row) if isinstance(method, ScoreCam) else None
    recorded, gradients = record.layer_outputs[row]
    t = record.targets[0]
    activation, gradient = _layer_at(problem, method, output, arrays, t, row)
    alone, size = _layer_map(problem, method, output, i, t, activation, gradient, scores)
    kept, _ = _layer_map(problem, method, output, i, t, recorded, gradients[0] if gradients else None, scores)
    relative = gradient_tolerance(problem.net.arithmetic)
    allowed = relative * (np.abs(alone) + np.sqrt(np.mean(alone**2))) + 1e-2 * relative * size + 1e-30
    if (np.abs(kept - alone) > allowed).any():  # perhaps there is a kink
        near_activation, near_gradient = _layer_at(problem, method, output, _moved_copies(problem, arrays), t, row)
        for k in range(len(near_activation)):
            one = None if near_gradient is None else near_gradient[k : k + 1]
            near, _ = _layer_map(problem, method, output, i, t, near_activation[k : k + 1], one, scores)
            allowed = np.maximum(allowed, relative * size * 1e-2 + 3 * np.abs(near - alone))
    SpotChecker().compare(kept, alone, allowed, way=ALONE_WAY, where=lambda k: [("row", row), ("cell of the layer", k)])


def _layer_at(
    problem: SaliencyProblem, method: Any, output: MethodOutput, arrays: list[npt.NDArray[Any]], t: int, row: int
) -> tuple[Floats, Floats | None]:
    """A layer's output at these rows, which take the place of `row`, and its gradient."""
    net, count = problem.at_call(output.resolved_options.get("call")).net, len(arrays[0])
    tap = net.tap_layer(tuple(net.array(a) for a in arrays), output.resolved_options["layer"])
    activation = net.numpy(tap.activation)
    if isinstance(method, ScoreCam):
        return activation, None
    cotangent = np.zeros((count, int(np.prod(problem.target.output_shape, dtype=int))), dtype=np.float32)
    cotangent[:, problem.target.positions[t, row]] = 1
    return activation, net.numpy(
        tap.pullback(net.array(cotangent.reshape(count, *problem.target.output_shape)), last=True)
    )


def _layer_map(
    problem: SaliencyProblem,
    method: Any,
    output: MethodOutput,
    i: int,
    t: int,
    activation: Floats,
    gradient: Floats | None,
    scores: MaskedBlock | None,
) -> tuple[Floats, float]:
    """The map of one row on the layer's grid, (1, *grid) or (channels, *grid) if they are kept; and the size of what is summed there."""

    def read_channels(a: Floats) -> Floats:
        if method.reshape is not None:
            a = problem.net.numpy(method.reshape(problem.net.array(a.astype(np.float32))))
        return np.asarray(_channels_first(problem, output, i, a)[0])

    own = read_channels(activation)
    weights = (
        _score_weights(own, scores, t) if gradient is None else _channel_weights(method, own, read_channels(gradient))
    )
    terms = weights * own
    size = float(np.abs(terms).sum(axis=0).max())
    if output.layer_channels:
        return terms, size
    total = terms.sum(axis=0, keepdims=True)
    return total if method.signed else np.maximum(total, 0.0), size


def _channel_weights(method: Any, activation: Floats, gradient: Floats) -> Floats:
    """Weight of each channel, or of each cell of each channel, (channels, *grid) or with ones."""
    grid = tuple(range(1, activation.ndim))
    if isinstance(method, GradCam):
        return np.asarray(gradient.mean(axis=grid, keepdims=True))
    rising = np.where(gradient > 0, gradient, 0.0)
    if isinstance(method, LayerCam):
        return rising
    return np.asarray((rising / (2 + rising * activation.sum(axis=grid, keepdims=True))).sum(axis=grid, keepdims=True))


def _score_weights(activation: Floats, scores: MaskedBlock | None, t: int) -> Floats:
    """Softmax of the scores of the channels that are not constant; each mask is averaged over what masked positions hold."""
    weights = np.zeros((len(activation), *(1,) * (activation.ndim - 1)))
    flat = activation.reshape(len(activation), -1)
    usable = np.flatnonzero(flat.max(axis=1) > flat.min(axis=1))
    if scores is not None and len(usable):
        mean = np.array([scores.scores[scores.mask_numbers == k, t].mean() for k in range(len(usable))])
        share = np.exp(mean - mean.max())
        weights[usable] = (share / share.sum()).reshape(-1, *(1,) * (activation.ndim - 1))
    return weights


def _channels_first(problem: SaliencyProblem, output: MethodOutput, i: int, a: Floats) -> Floats:
    """A layer's output as (rows, channels, *positions in the input's order), by the names of its axes."""
    names, grid = list(output.resolved_options["layer_axes"]), output.resolved_options["grid"]
    a = np.moveaxis(a, names.index("channel") + 1, 1)
    names.remove("channel")
    if grid is not None:
        count, spare = int(np.prod(grid)), output.resolved_options["spare"]
        first = a.shape[2] - spare - count
        return np.asarray(a[:, :, first : first + count].reshape(*a.shape[:2], *grid))
    own = [problem.inputs[i].dims[axis] for axis in problem.inputs[i].position_axes]
    return np.asarray(np.transpose(a, (0, 1, *(2 + names.index(name) for name in own))))


def _places_of_channels(
    problem: SaliencyProblem,
    i: int,
    positions: npt.NDArray[np.intp],
    channels: npt.NDArray[np.intp],
    shape: tuple[int, ...],
) -> RecordedPositions:
    """These positions and channels of a map that keeps the channels of a layer; `shape`: channels, then positions, of a row."""
    axis = (problem.inputs[i].channel_axis or 1) - 1
    numbers = np.arange(int(np.prod(shape))).reshape((*shape[1 : axis + 1], shape[0], *shape[axis + 1 :]))
    flat = np.moveaxis(numbers, axis, 0).reshape(shape[0], -1)
    return RecordedPositions(positions, np.asarray(flat[channels][:, positions].T), ())


def _cells_of(grid: tuple[int, ...]) -> RecordedPositions:
    """All cells of a grid."""
    count = int(np.prod(grid))
    return RecordedPositions(
        np.arange(count), np.arange(count)[:, None], tuple(np.unravel_index(np.arange(count), grid))
    )


def _drawn_at(cells: Floats, sizes: tuple[int, ...], positions: npt.NDArray[np.intp]) -> Floats:
    """A grid drawn on positions: linear between the middles of its cells, flat beyond the outermost ones; position by position."""
    out = np.zeros(len(positions))
    for n, position in enumerate(np.stack(np.unravel_index(positions, sizes), axis=1).tolist()):
        part: Any = cells
        for place, size, count in zip(position, sizes, cells.shape, strict=True):
            at = min(max((place + 0.5) * count / size - 0.5, 0.0), count - 1.0)
            low = int(at)
            part = part[low] * (1 - (at - low)) + part[min(low + 1, count - 1)] * (at - low)
        out[n] = part
    return out


def _moved_copies(problem: SaliencyProblem, arrays: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Copies of a row, moved a little: on a kink, rounding decides which side a pass is on."""
    draws, out = problem.rng_for(len(arrays)), []
    for input_, a in zip(problem.inputs, arrays, strict=True):
        copies = np.repeat(a, 8, axis=0)
        if not input_.without_gradient:
            size = np.repeat([1e-6, 1e-5, 1e-4, 1e-3], 2).reshape(-1, *(1,) * (a.ndim - 1))
            noise = size * input_sizes(input_.x, input_.dims) * draws.standard_normal(copies.shape)
            copies = (copies + noise).astype(a.dtype)
        out.append(copies)
    return out
