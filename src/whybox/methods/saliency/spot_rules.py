"""Maps by rules of operators: a row alone, and its sum against the network's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.saliency.base import Method, MethodOutput
from whybox.methods.saliency.gradient_check import input_sizes
from whybox.methods.saliency.prepare_inputs import cut_to_rows, one_a_row
from whybox.methods.saliency.problem import SaliencyProblem, select_rows
from whybox.methods.saliency.spot_record import RecordedPositions
from whybox.methods.saliency.spot_rows import RecomputedNumbers, compare_with_map, gradient_tolerance

__all__ = ["check_row"]

ROW_ALONE_WAY: Final = "by explaining one row alone"
NEAR_ROWS: Final = 4  # moved by a thousandth of the row's size, and less


def check_row(
    problem: SaliencyProblem,
    method: Method,
    output: MethodOutput,
    explanations: Sequence[Explanation],
    checker: SpotChecker,
    row: int,
) -> None:
    """Explain a row alone, and compare all of its numbers.

    Raises:
        SpotCheckError: they differ.
    """
    mapped = [i for i, a in enumerate(output.maps[0]) if a is not None]
    alone = _maps_alone(problem, method, row)
    near: list[list[list[Floats | None]]] | None = None
    for e, i in zip(explanations, mapped, strict=True):
        places = RecordedPositions.all_positions(problem.inputs[i])
        channels = places.number_indices.shape[1] if problem.reduce == "sum" else 1
        for t in range(problem.target.n_targets):
            own, answer = alone[t][i], output.maps[t][i]
            assert own is not None  # noqa: S101  # the input has a map
            assert answer is not None  # noqa: S101
            size = np.sqrt(np.mean(np.square(own))) + np.abs(own)
            allowed = gradient_tolerance(problem.net.arithmetic) * size / np.sqrt(channels) + 1e-30
            if (np.abs(answer[row : row + 1] - own) > allowed).any():  # perhaps there is a kink
                near = near or [_maps_alone(problem, method, row, k) for k in range(1, NEAR_ROWS + 1)]
                allowed = allowed + 3 * np.max([np.abs(np.asarray(of[t][i]) - own) for of in near], axis=0)
            numbers = RecomputedNumbers(
                *(places.numbers_of(a)[0].reshape(places.number_indices.shape) for a in (own, allowed))
            )
            compare_with_map(problem, e, output, checker, numbers, (row, t, i), places, ROW_ALONE_WAY)


def _maps_alone(problem: SaliencyProblem, method: Method, row: int, moved: int = 0) -> list[list[Floats | None]]:
    """Maps of a row alone, for each target and input; `moved`: of a row that is moved a little, by another draw each."""
    at = np.array([row], dtype=np.intp)
    one = select_rows(problem, at)
    if moved:
        inputs = []
        for i in one.inputs:
            noise = (
                problem.rng_for(row, moved).standard_normal(i.x.shape) * input_sizes(i.x, i.dims) * 10.0 ** -(2 + moved)
            )
            inputs.append(i if i.without_gradient else replace(i, x=(i.x + noise).astype(i.x.dtype)))
        one = replace(one, inputs=tuple(inputs))
    return cut_to_rows(method, at, one_a_row(*(i.x.shape for i in problem.inputs)))(one).maps
