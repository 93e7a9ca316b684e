"""Class activation maps, recomputed by hand: from the layer's output and gradient at one row alone, cell by cell with numpy, and drawn on the input's positions."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.saliency.base import MethodOutput
from whybox.methods.saliency.cam import GradCam, LayerCam, ScoreCam
from whybox.methods.saliency.gradient_check import input_sizes
from whybox.methods.saliency.problem import SaliencyProblem
from whybox.methods.saliency.spot_coverings import check_sampled_mask
from whybox.methods.saliency.spot_record import MaskedBlock, Places
from whybox.methods.saliency.spot_rows import Numbers, compare_with_map, gradient_tolerance

__all__ = ["check_row"]

WAY: Final = "from the layer's output and gradient at one row alone, cell by cell with NumPy"


def check_row(
    problem: SaliencyProblem,
    method: Any,
    output: MethodOutput,
    e: Explanation,
    checker: SpotChecker,
    row: int,
) -> None:
    """Recompute the map of a row.

    Raises:
        SpotCheckError: it differs.
    """
    record, net = problem.record, problem.net
    assert record is not None  # noqa: S101  # asked by the caller
    i = next(k for k, a in enumerate(output.maps[0]) if a is not None)
    arrays = [a.x[row : row + 1] for a in problem.inputs]
    scores = record.masked_of(row) if isinstance(method, ScoreCam) else None
    if scores is not None:
        check_sampled_mask(problem, method, row)
    cells = _layer_cells(problem, method, output, arrays, i, row, scores)
    for t, of in zip(record.targets, cells, strict=True):
        grid = of[0]
        places = record.places[i] if method.upsample else _cells_of(grid.shape)
        sizes = problem.inputs[i].position_shape if method.upsample else grid.shape
        drawn = _drawn_at(grid, sizes, places.positions)
        allowed = (
            gradient_tolerance(net.arithmetic) * (np.abs(drawn) + np.sqrt(np.mean(grid**2)) + 1e-6 * of[1]) + 1e-30
        )
        reported = np.asarray(e.values[row, ..., t] if problem.target.several else e.values[row]).reshape(-1)
        if scores is None and (np.abs(reported[places.positions] - drawn) > allowed).any():
            near = _layer_cells(problem, method, output, _moved(problem, arrays), i, row, None)
            moved = [_drawn_at(c, sizes, places.positions) for c in near[record.targets.index(t)][:-1]]
            allowed = allowed + 3 * np.abs(np.array(moved) - drawn).max(axis=0)
        numbers = Numbers(drawn[:, None], allowed[:, None])
        compare_with_map(problem, e, output, checker, numbers, (row, t, i), places, WAY)


def _layer_cells(
    problem: SaliencyProblem,
    method: Any,
    output: MethodOutput,
    arrays: list[npt.NDArray[Any]],
    i: int,
    row: int,
    scores: MaskedBlock | None,
) -> list[list[Any]]:
    """For each recorded target the map of each of these rows on the layer's grid; and last, the size of what is summed."""
    net, record, count = problem.net, problem.record, len(arrays[0])
    assert record is not None  # noqa: S101  # asked by the caller
    tap = net.tap_layer(tuple(net.array(a) for a in arrays), output.resolved["layer"])

    def read(a: Any) -> Floats:
        return _channels_first(problem, output, i, net.numpy(a if method.reshape is None else method.reshape(a)))

    activation = read(tap.activation)
    found: list[list[Any]] = []
    for t in record.targets:
        if isinstance(method, ScoreCam):
            weights = [_score_weights(activation[0], scores, t)]
        else:
            cotangent = np.zeros((count, int(np.prod(problem.target.shape, dtype=int))), dtype=np.float32)
            cotangent[:, problem.target.positions[t, row]] = 1
            gradient = tap.pull(
                net.array(cotangent.reshape(count, *problem.target.shape)), last=t == record.targets[-1]
            )
            weights = [_weights(method, a, g) for a, g in zip(activation, read(gradient), strict=True)]
        terms = [w * a for w, a in zip(weights, activation, strict=True)]
        found.append([*(np.maximum(of.sum(axis=0), 0.0) for of in terms), float(np.abs(terms[0]).sum(axis=0).max())])
    return found


def _weights(method: Any, activation: Floats, gradient: Floats) -> Floats:
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
        mean = np.array([scores.scores[scores.masks == k, t].mean() for k in range(len(usable))])
        share = np.exp(mean - mean.max())
        weights[usable] = (share / share.sum()).reshape(-1, *(1,) * (activation.ndim - 1))
    return weights


def _channels_first(problem: SaliencyProblem, output: MethodOutput, i: int, a: Floats) -> Floats:
    """A layer's output as (rows, channels, *positions in the input's order), by the names of its axes."""
    names, grid = list(output.resolved["layer_axes"]), output.resolved["grid"]
    a = np.moveaxis(a, names.index("channel") + 1, 1)
    names.remove("channel")
    if grid is not None:
        count, spare = int(np.prod(grid)), output.resolved["spare"]
        first = a.shape[2] - spare - count
        return a[:, :, first : first + count].reshape(*a.shape[:2], *grid)
    own = [problem.inputs[i].dims[axis] for axis in problem.inputs[i].position_axes]
    return np.transpose(a, (0, 1, *(2 + names.index(name) for name in own)))


def _cells_of(grid: tuple[int, ...]) -> Places:
    """All cells of a grid."""
    count = int(np.prod(grid))
    return Places(np.arange(count), np.arange(count)[:, None], tuple(np.unravel_index(np.arange(count), grid)))


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


def _moved(problem: SaliencyProblem, arrays: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
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
