"""Maps of derivatives, recomputed by hand: the sum over recorded gradients with numpy, and one gradient of a row alone, held against differences of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.baselines import resolve_baselines
from whybox.methods.saliency.expected_gradients import SAMPLE_GROUPS, ExpectedGradients
from whybox.methods.saliency.gradient_check import RowCheck, input_sizes, step_sizes, unit_roundoff
from whybox.methods.saliency.gradients import GradientInput, SmoothGrad, VarGrad
from whybox.methods.saliency.integrated_gradients import IntegratedGradients
from whybox.methods.saliency.problem import SaliencyProblem
from whybox.methods.saliency.spot_record import SpotRecord
from whybox.methods.saliency.spot_rows import RecomputedNumbers, gradient_tolerance

__all__ = ["SUM_WAY", "check_gradient_alone", "recompute_sum"]

SUM_WAY: Final = "with NumPy from recorded gradients, some of which were taken again at one row alone and held against differences of the network's outputs"
POINT_WAY: Final = "from the row itself, which the recorded points should lie about"
ALONE_WAY: Final = "by differentiating the network at one row alone"
DIFFERENCE_WAY: Final = "by differences of the network's outputs in a random direction"
MAX_STRAYED: Final = 1e-5  # of the path: a recorded point that is farther from it belongs to no path
MIN_VISIBLE_PATH: Final = 1e-3  # of the row's numbers: positions along shorter paths are lost in rounding
MAX_KINK: Final = 0.3  # of the change: where slopes to both sides differ by more, differences tell nothing
DIRECTIONS_TRIED: Final = 4  # all of which must contradict a gradient
NARROW_WIDTH: Final = 0.125  # of the first difference
MIN_SLOPE_ERROR: Final = 0.02  # of the slope's size: smaller errors of a gradient are found by taking it again
NESTED_RULES: Final = (
    1,
    3,
    7,
    15,
    31,
)  # numbers of nodes of rules that integrate polynomials of higher degree than their number of nodes


def recompute_sum(
    problem: SaliencyProblem, method: Method, record: SpotRecord, row: int, *, check_points: bool
) -> list[list[RecomputedNumbers | None]]:
    """Recompute the map of a row at the recorded places, from its recorded gradients.

    Args:
        check_points: whether the recorded points are compared with where they should be.

    Returns:
        For each recorded target and input its numbers, None where nothing can be recomputed: no map, points whose place on their path is lost in rounding.

    Raises:
        SpotCheckError: a recorded point is not where the method says.
    """
    points, gradients, passes = record.points_of(row)
    weights = _path_weights(problem, method, record, row, points)
    found: list[list[RecomputedNumbers | None]] = [[None] * len(problem.inputs) for _ in record.targets]
    for i, input_ in enumerate(problem.inputs):
        x = points[i]
        if input_.without_gradient or x is None:
            continue
        one = _RecordedPoints(
            problem,
            row,
            i,
            record.input_positions[i].numbers_of(input_.x[row : row + 1])[0].astype(np.float64),
            x,
            passes,
            record,
        )
        if check_points:
            _check_points(one, method)
        for n in range(len(record.targets)):
            g = gradients[n][i]
            if g is None:
                continue
            if isinstance(method, IntegratedGradients):
                found[n][i] = None if weights is None else _path_integral(one, weights, g)
            elif isinstance(method, ExpectedGradients):
                found[n][i] = _group_estimate(one, method, g)
            elif isinstance(method, VarGrad):
                found[n][i] = _vargrad_numbers(one, g)
            elif isinstance(method, SmoothGrad):
                found[n][i] = _smoothgrad_numbers(one, method, g)
            else:
                value = g[0] * (one.row_numbers if isinstance(method, GradientInput) else 1.0)
                slack = 4 * one.unit_roundoff if isinstance(method, GradientInput) else 1e-9
                found[n][i] = RecomputedNumbers(
                    value.reshape(one.shape), slack * np.abs(value).reshape(one.shape) + 1e-300
                )
    return found


@final
@dataclass(frozen=True)
class _RecordedPoints:
    """The recorded points of one row and input.

    Attributes:
        row_numbers: the row's own numbers at the places. point_numbers: (points, numbers). pass_of_point: the pass that each point was in.
    """

    problem: SaliencyProblem
    row: int
    input_index: int
    row_numbers: Floats
    point_numbers: Floats
    pass_of_point: npt.NDArray[np.intp]
    record: SpotRecord

    @property
    def shape(self) -> tuple[int, int]:
        """Places and channels."""
        places, channels = self.record.input_positions[self.input_index].number_indices.shape
        return places, channels

    @property
    def unit_roundoff(self) -> float:
        """Rounding of one operation."""
        return unit_roundoff(self.problem.net.arithmetic)

    @property
    def sums_channels(self) -> bool:
        """True if variances are those of sums over channels."""
        return self.problem.summed_channel(self.input_index) is not None


def _check_points(one: _RecordedPoints, method: Method) -> None:
    """Compare the recorded points with the row: itself, or the middle of the noise, or on the way from a background row."""
    own, x, checker = one.row_numbers, one.point_numbers, SpotChecker()  # these are no numbers of the answer
    size = max(float(np.abs(own).max(initial=0.0)), float(np.abs(x).max(initial=0.0)))
    allowed = 16 * one.unit_roundoff * size + 1e-30

    def place_of(k: tuple[int, ...]) -> list[tuple[str, object]]:
        return [
            ("row", one.row),
            ("number of the input", int(one.record.input_positions[one.input_index].number_indices.reshape(-1)[k[-1]])),
        ]

    if isinstance(method, (SmoothGrad, VarGrad)):
        checker.compare(
            [float(len(x))], [float(method.samples)], 0.0, way=POINT_WAY, where=lambda _: [("row", one.row)]
        )
        ups, downs = _antithetic_pairs(one.pass_of_point)
        checker.compare(
            (x[ups] + x[downs]) / 2, np.broadcast_to(own, x[ups].shape), allowed, way=POINT_WAY, where=place_of
        )
    elif isinstance(method, ExpectedGradients):
        starts = _path_starts(one, method)
        path = own - starts
        t = (x - starts) * path
        t = t.sum(axis=1, keepdims=True) / np.maximum((path * path).sum(axis=1, keepdims=True), 1e-300)
        checker.compare(x, starts + np.clip(t, 0, 1) * path, allowed, way=POINT_WAY, where=place_of)
    elif not isinstance(method, IntegratedGradients):
        checker.compare(x, np.broadcast_to(own, x.shape), allowed, way=POINT_WAY, where=place_of)


def _smoothgrad_numbers(one: _RecordedPoints, method: SmoothGrad, g: Floats) -> RecomputedNumbers:
    """The mean of gradients under noise, and its variance from antithetic pairs."""
    pairs, size = method.samples // 2, (8 + len(g)) * one.unit_roundoff
    ups, downs = _antithetic_pairs(one.pass_of_point)
    half = ((g[ups] + g[downs]) / 2).reshape(-1, *one.shape)
    mean = half.mean(axis=0)
    each = half.sum(axis=2, keepdims=True) if one.sums_channels else half
    square, centre = (each * each).mean(axis=0), each.mean(axis=0)
    allowed = size * np.abs(g).mean(axis=0).reshape(one.shape) + 1e-300
    slack = 8 * size * (square + allowed.sum(axis=1, keepdims=True) ** 2) / (pairs - 1) + 1e-300
    return RecomputedNumbers(mean, allowed, np.maximum(square - centre * centre, 0.0) / (pairs - 1), slack)


def _vargrad_numbers(one: _RecordedPoints, g: Floats) -> RecomputedNumbers:
    """The variance of gradients under noise."""
    square, centre = (g * g).mean(axis=0), g.mean(axis=0)
    value = np.maximum(square - centre * centre, 0.0)
    allowed = 4 * (8 + len(g)) * one.unit_roundoff * square + 1e-300
    return RecomputedNumbers(value.reshape(one.shape), allowed.reshape(one.shape))


def _antithetic_pairs(passes: npt.NDArray[np.intp]) -> tuple[list[int], list[int]]:
    """Positions of the two of each pair: a pass with noise of one sign is followed by the pass with the other."""
    order = np.unique(passes)
    ups = [int(k) for p in order[::2] for k in np.flatnonzero(passes == p)]
    downs = [int(k) for p in order[1::2] for k in np.flatnonzero(passes == p)]
    return ups, downs


def _path_weights(
    problem: SaliencyProblem, method: Method, record: SpotRecord, row: int, points: Sequence[Floats | None]
) -> tuple[Floats, list[list[Floats | None]]] | None:
    """Weight of each recorded point in the integral, and the path of each, row less baseline, for each input; None if they cannot be told."""
    if not isinstance(method, IntegratedGradients):
        return None
    at = np.array([row])
    paths: list[list[Floats | None]] = []
    fractions: list[Floats] = []
    strayed: list[Floats] = []
    for baseline in resolve_baselines(problem, method.baseline):
        starts = baseline.for_rows(at)
        path: list[Floats | None] = []
        along: Any = 0.0
        length = 0.0
        for i, (input_, x) in enumerate(zip(problem.inputs, points, strict=True)):
            if x is None or input_.without_gradient:
                path.append(None)
                continue
            end, start = (
                record.input_positions[i].numbers_of(a)[0].astype(np.float64)
                for a in (input_.x[row : row + 1], starts[i])
            )
            path.append(end - start)
            along = along + (x - start) @ (end - start)
            length += float((end - start) @ (end - start))
        size = max(float(np.abs(p).max(initial=0.0)) for p in map(np.asarray, points) if p.dtype != object)
        if not np.sqrt(length) > MIN_VISIBLE_PATH * size or "16" in problem.net.arithmetic:
            return None
        t = np.asarray(along / length)
        off = np.zeros(len(t))
        for i, (p, x) in enumerate(zip(path, points, strict=True)):
            if p is not None and x is not None:
                end = record.input_positions[i].numbers_of(problem.inputs[i].x[row : row + 1])[0]
                off = np.maximum(off, np.abs(x - (end - p) - t[:, None] * p).max(axis=1))
        paths.append(path)
        fractions.append(t)
        strayed.append(off / (np.sqrt(length) + size))
    off = np.array(strayed)
    mine = off.argmin(axis=0)
    if len(paths) > 1 and (np.partition(off, 1, axis=0)[1] < MAX_STRAYED).any():
        return None  # two paths cross there, or are the same
    weights = np.full(len(mine), np.nan)
    for k, t in enumerate(fractions):
        which = np.flatnonzero(mine == k)
        if len(which):
            weights[which] = _quadrature_weights(t[which], method.steps) / len(paths)
    weights[off.min(axis=0) > MAX_STRAYED] = np.nan  # on no path at all: the comparison fails
    return weights, [[paths[k][i] for k in mine] for i in range(len(problem.inputs))]


def _quadrature_weights(t: Floats, steps: int | None) -> Floats:
    """Weights of an integral over [0, 1] by its nodes: a rule whose polynomials are exact beyond its number of nodes, else the share nearest to each node."""
    order = np.argsort(t)
    nodes = t[order]
    out = np.empty(len(t))
    if steps is not None:
        out[order] = np.polynomial.legendre.leggauss(steps)[1] / 2 if len(t) == steps else np.nan
        return out
    if len(t) in NESTED_RULES:
        legendre = np.polynomial.legendre.legvander(2 * nodes - 1, (3 * len(t) - 1) // 2).T
        integral = np.zeros(len(legendre))
        integral[0] = 1.0
        exact = np.linalg.solve(legendre[: len(t)], integral[: len(t)])
        if np.abs(legendre @ exact - integral).max() < 1e-3:
            out[order] = exact
            return out
    ends = np.concatenate([[0.0], (nodes[1:] + nodes[:-1]) / 2, [1.0]])
    out[order] = ends[1:] - ends[:-1]
    return out


def _path_integral(
    one: _RecordedPoints, weights: tuple[Floats, list[list[Floats | None]]], g: Floats
) -> RecomputedNumbers:
    """The integral of the gradient along the path, times the path."""
    w, paths = weights
    terms = w[:, None] * g * np.array(paths[one.input_index])
    # nodes and weights are in float32 in a network of float64 too
    eps = max(one.unit_roundoff, unit_roundoff("float32"))
    allowed = (64 + 4 * len(g)) * eps * np.abs(terms).sum(axis=0)
    return RecomputedNumbers(terms.sum(axis=0).reshape(one.shape), allowed.reshape(one.shape) + 1e-300)


def _path_starts(one: _RecordedPoints, method: ExpectedGradients) -> Floats:
    """The background row of each sample, at the places."""
    assert one.problem.background is not None  # noqa: S101  # asked by the method
    background = (
        one.record.input_positions[one.input_index]
        .numbers_of(one.problem.background[one.input_index].x)
        .astype(np.float64)
    )
    return np.asarray(background[method.draw_samples(one.problem, one.row, len(background))[1]])


def _group_estimate(one: _RecordedPoints, method: ExpectedGradients, g: Floats) -> RecomputedNumbers:
    """Means of groups with their control variate."""
    assert one.problem.background is not None  # noqa: S101  # asked by the method
    starts, own = _path_starts(one, method), one.row_numbers
    centre = (
        one.record.input_positions[one.input_index]
        .numbers_of(one.problem.background[one.input_index].x)
        .astype(np.float64)
        .mean(axis=0)
    )
    products = (g * (own - starts)).reshape(SAMPLE_GROUPS, -1, len(own)).mean(axis=1)
    slopes = g.reshape(SAMPLE_GROUPS, -1, len(own)).mean(axis=1)
    unbalanced = starts.reshape(SAMPLE_GROUPS, -1, len(own)).mean(axis=1) - centre
    per_group = products + (slopes.sum(axis=0) - slopes) / (SAMPLE_GROUPS - 1) * unbalanced
    size = np.abs(g * (own - starts)).mean(axis=0) + np.abs(slopes).mean(axis=0) * np.abs(unbalanced).max(axis=0)
    # the mean is of pairs of groups, and each adds to the others by its slope too
    influence = per_group + (slopes - slopes.mean(axis=0)) * (unbalanced.sum(axis=0) - unbalanced) / (SAMPLE_GROUPS - 1)
    each = influence.reshape(SAMPLE_GROUPS, *one.shape)
    each = each.sum(axis=2, keepdims=True) if one.sums_channels else each
    variance = each.var(axis=0, ddof=1) / SAMPLE_GROUPS
    allowed = (64 + method.samples) * one.unit_roundoff * size.reshape(one.shape) + 1e-300
    room = allowed.sum(axis=1, keepdims=True) if one.sums_channels else allowed
    slack = 8 * room * np.abs(each - each.mean(axis=0)).max(axis=0) / SAMPLE_GROUPS + room**2
    return RecomputedNumbers(per_group.mean(axis=0).reshape(one.shape), allowed, variance, slack)


def check_gradient_alone(problem: SaliencyProblem, record: SpotRecord, row: int, *, differences: bool) -> Floats:
    """Differentiate the network at one recorded point of a row, alone, and compare with what was recorded; return its outputs there, flattened.

    Args:
        differences: whether the gradient is held against differences of outputs too; not where derivatives were found to follow something else.

    Raises:
        SpotCheckError: they differ.
    """
    number, x = record.sampled_points[row]
    net = problem.net
    t = record.targets[0]
    outputs, gradient = _gradient_at(problem, x, t, row)
    recorded = record.points_of(row)[1][0]
    for i, input_ in enumerate(problem.inputs):
        g, whole = recorded[i], gradient[i]
        if g is None or whole is None or input_.without_gradient:
            continue
        alone = record.input_positions[i].numbers_of(whole)[0]
        relative = gradient_tolerance(net.arithmetic)
        rms = np.sqrt(np.mean(np.square(whole)))
        allowed = relative * (np.abs(alone) + rms) + 1e-30
        if (np.abs(g[number] - alone) > allowed).any():
            allowed = allowed + 3 * _nearby_spread(problem, record, x, t, row, i, alone)
        numbers = record.input_positions[i].number_indices.reshape(-1)
        name, output = input_.name, problem.target.output_phrase(t)
        SpotChecker().compare(
            g[number], alone, allowed, way=ALONE_WAY, where=_GradientPlace(row, name + output, numbers)
        )
    if differences:
        _check_difference(problem, record, row, (outputs, gradient), x)
    return np.asarray(outputs[0])


@final
@dataclass(frozen=True)
class _GradientPlace:
    """Where a gradient stands: row, input, number of the input."""

    row: int
    input_name: str
    number_indices: npt.NDArray[np.intp]

    def __call__(self, k: tuple[int, ...]) -> list[tuple[str, object]]:
        return [("row", self.row), (f"gradient by the numbers of {self.input_name}", int(self.number_indices[k[-1]]))]


def _gradient_at(
    problem: SaliencyProblem, x: Sequence[npt.NDArray[Any]], t: int, row: int
) -> tuple[Floats, list[Floats | None]]:
    """Outputs, flattened, and the gradient of one target by each input, of rows that take the place of `row`."""
    net, count = problem.net, len(x[0])
    outputs, pull = net(tuple(net.array(a) for a in x))
    cotangent = np.zeros((count, int(np.prod(problem.target.output_shape, dtype=int))), dtype=np.float32)
    cotangent[:, problem.target.positions[t, row]] = 1
    gradient = pull(net.array(cotangent.reshape(count, *problem.target.output_shape)), last=True)
    return net.numpy(outputs).reshape(count, -1), [None if g is None else net.numpy(g) for g in gradient]


def _nearby_spread(
    problem: SaliencyProblem, record: SpotRecord, x: Sequence[npt.NDArray[Any]], t: int, row: int, i: int, alone: Floats
) -> Floats:
    """How far the gradient moves where the point moves a little: by much on a kink, where rounding decides which side a pass is on."""
    draws = problem.rng_for(row, i)
    copies = []
    for k, input_ in enumerate(problem.inputs):
        size = np.zeros((16, *(1,) * (x[k].ndim - 1)))
        if not input_.without_gradient:
            size[:] = np.repeat([1e-6, 1e-5, 1e-4, 1e-3], 4).reshape(-1, *(1,) * (x[k].ndim - 1))
        noise = (
            size * input_sizes(input_.x, input_.dims) * draws.standard_normal((16, *x[k].shape[1:]))
            if size.any()
            else 0
        )
        copies.append((x[k] + noise).astype(x[k].dtype) if size.any() else np.repeat(x[k], 16, axis=0))
    step = max(1, problem.batch_size)
    parts = []
    for start in range(0, 16, step):
        gradient = _gradient_at(problem, [c[start : start + step] for c in copies], t, row)[1][i]
        assert gradient is not None  # noqa: S101  # there is one at the row
        parts.append(record.input_positions[i].numbers_of(gradient))
    return np.asarray(np.abs(np.concatenate(parts) - alone).max(axis=0))


def _check_difference(
    problem: SaliencyProblem,
    record: SpotRecord,
    row: int,
    found: tuple[Floats, list[Floats | None]],
    x: Sequence[npt.NDArray[Any]],
) -> None:
    """Hold a gradient against differences of the score to both sides, in random directions uphill; the first that agrees suffices, kinks tell nothing.

    What kinks do to a slope shrinks with the width of the difference; what a wrong gradient does stays. So a slope contradicts a gradient if it stays where it
    is over a narrower difference.
    """
    t = record.targets[0]
    outputs, gradient = found
    sizes = {k: input_sizes(i.x, i.dims) for k, i in enumerate(problem.inputs) if not i.without_gradient}
    position = problem.target.positions[t : t + 1, row]
    here = RowCheck(problem.net, tuple(x), sizes, position, problem.target.output_shape)
    slopes = {k: np.zeros(x[k].shape) if gradient[k] is None else np.asarray(gradient[k]) for k in sizes}
    centre, largest = float(outputs[0, position[0]]), float(np.abs(outputs).max())
    steps, expected = step_sizes(here, [slopes], largest)
    tolerance = max(here.relative_tolerance, MIN_SLOPE_ERROR)
    difference: _ScoreDifference | None = None
    for _ in range(DIRECTIONS_TRIED):
        direction = _uphill_direction(steps, slopes, float(expected[0]), record.rng)
        difference = _score_difference(here, slopes, direction, centre, 1.0)
        size = abs(difference.predicted_slope) + abs(difference.measured_slope)
        if difference.tells_nothing(size):
            return
        allowed = tolerance * size + difference.rounding_noise + difference.kink_size
        if abs(difference.measured_slope - difference.predicted_slope) <= allowed:
            return
        narrow = _score_difference(here, slopes, direction, centre, NARROW_WIDTH)
        allowed = (
            tolerance * size
            + narrow.rounding_noise
            + narrow.kink_size
            + 2 * abs(narrow.measured_slope - difference.measured_slope)
        )
        if narrow.tells_nothing(size) or abs(narrow.measured_slope - narrow.predicted_slope) <= allowed:
            return
        difference = narrow
    assert difference is not None  # noqa: S101  # there is a direction
    SpotChecker().compare(
        [difference.predicted_slope], [difference.measured_slope], tolerance * size + difference.rounding_noise, way=DIFFERENCE_WAY,
        where=lambda _: [("row", row), ("slope of the score", "")],
    )  # fmt: skip


def _uphill_direction(
    steps: dict[int, Floats], slopes: dict[int, Floats], expected: float, rng: np.random.Generator
) -> dict[int, Floats]:
    """A random direction in which every number of the gradient raises the score: its change is as large as of longer steps in any other direction.

    So fewer kinks are crossed, and errors of the gradient do not cancel.
    """
    away = {i: s * rng.standard_normal(slopes[i].shape) for i, s in steps.items()}
    uphill = {i: np.where(slopes[i] == 0, a, np.abs(a) * np.sign(slopes[i])) for i, a in away.items()}
    rise = float(sum(np.sum(slopes[i] * a) for i, a in uphill.items()))
    scale = min(1.0, expected / rise) if rise > 0 else 1.0
    return {i: scale * a for i, a in uphill.items()}


@final
@dataclass(frozen=True)
class _ScoreDifference:
    """A slope of the score in one direction.

    Attributes:
        measured_slope: by a difference to both sides. predicted_slope: by the gradient. kink_size: how far the slopes to the two sides are apart.
        rounding_noise: error by rounding.
    """

    measured_slope: float
    predicted_slope: float
    kink_size: float
    rounding_noise: float

    def tells_nothing(self, size: float) -> bool:
        """Whether the slope, of this size, is lost in rounding or in kinks."""
        finite = np.isfinite([self.measured_slope, self.predicted_slope, self.kink_size]).all()
        return not finite or self.kink_size > MAX_KINK * size or size < 3 * self.rounding_noise


def _score_difference(
    here: RowCheck, slopes: dict[int, Floats], direction: dict[int, Floats], centre: float, width: float
) -> _ScoreDifference:
    up, high, moved_up = here.scores_at({i: width * d for i, d in direction.items()})
    down, low, moved_down = here.scores_at({i: -width * d for i, d in direction.items()})
    predicted = float(sum(np.sum(slopes[i] * (moved_up[i] - moved_down[i])) for i in slopes))
    noise = here.rounding_noise(max(abs(centre), high, low))
    kink = abs(float(up[0] + down[0]) - 2 * centre)
    return _ScoreDifference(
        float(up[0] - down[0]) / (2 * width), predicted / (2 * width), kink / (2 * width), noise / (2 * width)
    )
