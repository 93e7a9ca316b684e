"""Conductance, recomputed by hand: the sum over the recorded nodes of a path, with NumPy."""

from __future__ import annotations

from typing import Final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.saliency.base import MethodOutput
from whybox.methods.saliency.conductance import FIRST_STEPS, Conductance
from whybox.methods.saliency.problem import SaliencyProblem
from whybox.methods.saliency.spot_record import SpotRecord
from whybox.methods.saliency.spot_rows import RecomputedNumbers

__all__ = ["SEVERAL_BASELINES", "recompute_conductance"]

SEVERAL_BASELINES: Final = "not recomputed: the sums over several baselines; one recorded point of each was"
ROUNDING: Final = 1e-9  # of the terms' sizes: both sums are of the same recorded numbers


def recompute_conductance(
    problem: SaliencyProblem, method: Conductance, output: MethodOutput, record: SpotRecord, row: int
) -> list[RecomputedNumbers] | None:
    """The map of a row at the recorded places of the layer, for each recorded target; None if the nodes belong to several paths.

    Args:
        problem: the one that begins at the layer.
    """
    points, gradients, _ = record.points_of(row)
    values, steps = points[0], int(output.extras["steps"][1][row])
    levels = [steps] if method.steps is not None else [FIRST_STEPS]
    while levels[-1] < steps:
        levels.append(2 * levels[-1])
    if values is None or len(values) != sum(n + 1 for n in levels):
        return None
    shape = record.input_positions[0].number_indices.shape
    found = []
    for of in gradients:
        slopes = of[0]
        assert slopes is not None  # noqa: S101  # recorded with the values
        nodes = values[-steps - 1 :], slopes[-steps - 1 :]
        fine, size = _path_sum(*nodes)
        coarse, _ = _path_sum(*(a[::2] for a in nodes))
        found.append(
            RecomputedNumbers(((4 * fine - coarse) / 3).reshape(shape), (ROUNDING * size).reshape(shape) + 1e-300)
        )
    return found


def _path_sum(values: Floats, slopes: Floats) -> tuple[Floats, Floats]:
    """The trapezoidal sum of slopes over values, node by node; and the sum of the sizes of its terms."""
    terms = (slopes[1:] + slopes[:-1]) / 2 * np.diff(values, axis=0)
    return np.asarray(terms.sum(axis=0)), np.asarray(np.abs(terms).sum(axis=0))
