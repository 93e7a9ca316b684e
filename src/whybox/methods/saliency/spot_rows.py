"""What the spot checks of maps have in common: numbers recomputed at a few places, their reduction over channels, where they stand in an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.saliency.base import MethodOutput
from whybox.methods.saliency.problem import SaliencyProblem
from whybox.methods.saliency.spot_record import RecordedPositions

__all__ = [
    "RecomputedNumbers",
    "check_outputs",
    "compare_with_map",
    "gradient_tolerance",
    "outputs_alone",
    "score_tolerance",
]

OUTPUT_WAY: Final = "by evaluating the network at one row alone"


@final
@dataclass(frozen=True)
class RecomputedNumbers:
    """Numbers of one row and output, recomputed at the places of an input.

    Attributes:
        values: (places, channels), before channels are reduced; (places, 1) where the map has none. allowed_difference: the difference that rounding explains.
        variance: of each number if the map was sampled, (places, channels or 1 where they are summed); None: none was recomputed. variance_rounding: rounding of it.
    """

    values: Floats
    allowed_difference: Floats
    variance: Floats | None = None
    variance_rounding: Floats | None = None


def gradient_tolerance(arithmetic: str) -> float:
    """How far a gradient in another batch may be, relative to its size."""
    if "16" in arithmetic:
        return 0.2
    return 1e-8 if "64" in arithmetic else 1e-3


def score_tolerance(arithmetic: str) -> float:
    """How far an output in another batch may be, relative to the largest output."""
    if "16" in arithmetic:
        return 4e-2
    return 1e-8 if "64" in arithmetic else 2e-3


def outputs_alone(problem: SaliencyProblem, arrays: Sequence[npt.NDArray[Any]]) -> Floats:
    """The network's outputs at one row that is given to it alone, flattened."""
    return problem.net.numpy(problem.net.forward(tuple(problem.net.array(a) for a in arrays))).reshape(-1)


def check_outputs(problem: SaliencyProblem, e: Explanation, checker: SpotChecker, row: int, outputs: Floats) -> None:
    """Hold the predictions of a row, and its predicted output, against the outputs at this row alone, flattened.

    Raises:
        SpotCheckError: they differ.
    """
    size = float(np.abs(outputs).max(initial=0.0)) + 1e-6
    allowed = score_tolerance(problem.net.arithmetic) * size
    prediction = np.asarray(e.prediction).reshape(problem.n_rows, -1)[row]
    own = outputs[problem.target.positions[:, row]]
    checker.compare(
        prediction,
        own,
        allowed,
        way=OUTPUT_WAY,
        where=lambda k: [("row", row), ("output", _output_name(problem, k[0]))],
    )
    if problem.target.is_predicted:  # the largest output of the row, or one as large
        largest = [("row", row), ("output", "predicted")]
        checker.compare(own[:1], [outputs.max()], 2 * allowed, way=OUTPUT_WAY, where=lambda _: largest)


def compare_with_map(
    problem: SaliencyProblem,
    e: Explanation,
    output: MethodOutput,
    checker: SpotChecker,
    numbers: RecomputedNumbers,
    at: tuple[int, int, int],
    places: RecordedPositions,
    way: str,
) -> None:
    """Hold the answer's numbers, and their standard errors, against recomputed ones.

    Args:
        at: row, target and input.

    Raises:
        SpotCheckError: they differ.
    """
    row, t, i = at
    channels_gone = output.channels_reduced or (problem.reduce is not None and not output.keep_channels)
    has_channel = problem.inputs[i].channel_axis is not None
    value, allowed = numbers.values, numbers.allowed_difference
    variance, slack = numbers.variance, numbers.variance_rounding
    positions = places.positions
    if has_channel and not channels_gone:
        positions = places.number_indices.reshape(-1)
        value, allowed = value.reshape(-1), allowed.reshape(-1)
    elif has_channel and not output.channels_reduced:
        value, allowed, variance, slack = _reduce_channels(problem.reduce, value, allowed, variance, slack)
    else:
        value, allowed = value[:, 0], allowed[:, 0]
        variance, slack = (None if a is None else a[:, :1] for a in (variance, slack))
    several = problem.target.has_output_axis

    def of_row(a: npt.NDArray[Any]) -> Floats:
        mine = a[row, ..., t] if several else a[row]
        return np.asarray(mine).reshape(-1)[positions]

    axes = [n for n in e.dims if n not in ("row", "output")]
    shape = e.values.shape[1 : 1 + len(axes)]

    def place_of(k: tuple[int, ...]) -> list[tuple[str, object]]:
        index = np.unravel_index(int(positions[k[0]]), shape)
        named = [(axis, e.coords[axis][j]) for axis, j in zip(axes, index, strict=True)]
        return [("row", row), *named, *([("output", _output_name(problem, t))] if several else [])]

    checker.compare(of_row(e.values), value, allowed, way=way, where=place_of)
    if variance is not None and slack is not None and e.std_error is not None:
        checker.compare(
            of_row(e.std_error) ** 2, variance.reshape(-1), slack.reshape(-1), way=way,
            where=lambda k: [*place_of(k), ("squared standard error", "")],
        )  # fmt: skip


def _reduce_channels(
    how: str | None, value: Floats, allowed: Floats, variance: Floats | None, slack: Floats | None
) -> tuple[Floats, Floats, Floats | None, Floats | None]:
    """Channels as one number, place by place in plain Python."""
    if how == "sum":
        return np.array([sum(v) for v in value.tolist()]), allowed.sum(axis=1), variance, slack
    size = np.array([max(map(abs, v)) for v in value.tolist()])
    if variance is None or slack is None:
        return size, allowed.max(axis=1), None, None
    largest = np.array([max(range(len(v)), key=lambda k, v=v: abs(v[k])) for v in value.tolist()])  # type: ignore[misc]
    rest = np.sort(np.abs(value), axis=1)
    clear = rest[:, -1] - (rest[:, -2] if value.shape[1] > 1 else 0) > 2 * allowed.max(axis=1)
    picked = np.arange(len(value)), largest
    return size, allowed.max(axis=1), variance[picked], np.where(clear, slack[picked], np.inf)


def _output_name(problem: SaliencyProblem, t: int) -> object:
    return problem.target.names[t] if t < len(problem.target.names) else t
