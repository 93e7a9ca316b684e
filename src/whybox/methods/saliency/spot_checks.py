"""Every map checks itself: a few rows are evaluated alone, and the numbers of the map are recomputed by hand at a few places.

The methods share no code with what happens here. Sums are formed with numpy from what was recorded while the method ran (spot_record.py); one recorded point
of a row is given to the network alone; its gradient is held against differences of outputs. Rows, places and outputs are drawn by the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from whybox.explanation.explanation import Explanation
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.common.spot_checks import NOT_CHECKED, SpotChecker, spot_rng
from whybox.methods.saliency import spot_cam, spot_gradients, spot_masking, spot_rules
from whybox.methods.saliency.backprop_rules import DeepLift, GuidedBackprop
from whybox.methods.saliency.base import Method, MethodOutput
from whybox.methods.saliency.cam import GradCam, GradCamPlusPlus, LayerCam, ScoreCam
from whybox.methods.saliency.conductance import Conductance
from whybox.methods.saliency.expected_gradients import ExpectedGradients
from whybox.methods.saliency.gradients import Gradient, GradientInput, SmoothGrad, VarGrad
from whybox.methods.saliency.guided_gradcam import GuidedGradCam
from whybox.methods.saliency.integrated_gradients import IntegratedGradients
from whybox.methods.saliency.layer_integrated_gradients import LayerIntegratedGradients
from whybox.methods.saliency.lime import LimeParts
from whybox.methods.saliency.occlusion import Occlusion
from whybox.methods.saliency.problem import SaliencyProblem
from whybox.methods.saliency.rise import Rise
from whybox.methods.saliency.segment_shapley import ShapleyParts
from whybox.methods.saliency.segments import Ablation
from whybox.methods.saliency.spot_conductance import SEVERAL_BASELINES, recompute_conductance
from whybox.methods.saliency.spot_record import SpotRecord
from whybox.methods.saliency.spot_rows import check_outputs, compare_with_map, outputs_alone

__all__ = ["MIN_PASSES", "check_map", "rows_alone", "start_record"]

MIN_PASSES: Final = 6  # rows through the network that the checks of an answer may take, forward and backward
MAX_PASSES_SHARE: Final = (
    0.005  # of those that the answer itself takes, where that is more: a row alone takes as long as several in a batch
)

MIN_ROWS: Final = 2  # that may be evaluated alone
MAX_ROWS_SHARE: Final = 0.01  # of all rows, where that is more

_GRADIENT_METHODS: Final = (Gradient, GradientInput, SmoothGrad, VarGrad, IntegratedGradients, ExpectedGradients)
_MASKING_METHODS: Final = (Occlusion, Ablation, Rise, ShapleyParts, LimeParts)
_CAM_METHODS: Final = (GradCam, GradCamPlusPlus, LayerCam, ScoreCam)
_RULE_METHODS: Final = (DeepLift, GuidedBackprop, GuidedGradCam)
_LAYER_METHODS: Final = (LayerIntegratedGradients, Conductance)


def start_record(problem: SaliencyProblem, method: Method, spot_checks: int | None) -> SpotRecord | None:
    """Draw what is recorded while a method runs; None if nothing is checked."""
    if spot_checks == 0:
        return None
    rng = spot_rng(problem.seed)
    rows = _most_rows(problem.n_rows) if spot_checks is None else spot_checks // passes_of_a_row(type(method))
    whole = isinstance(method, ShapleyParts)
    return SpotRecord.draw_record(problem.inputs, problem.target.n_targets, rng, max(1, rows), whole_masks=whole)


def passes_of_a_row(method: type[Method]) -> int:
    """Rows forward and backward that checking one row takes."""
    if issubclass(method, (Gradient, GradientInput)):
        return 4  # the row, forward and backward; two for a difference
    if issubclass(method, (*_GRADIENT_METHODS, *_LAYER_METHODS)):
        return 5  # the row; a recorded point, forward and backward; two for a difference
    return 3 if issubclass(method, (*_CAM_METHODS, *_RULE_METHODS)) else 2


def rows_alone(method: type[Method], spot_checks: int | None, passes: int, rows: int) -> int:
    """How many of the rows are evaluated alone, for a map that took so many passes."""
    if spot_checks == 0:
        return 0
    most = rows if spot_checks is not None else _most_rows(rows)
    allowed = max(MIN_PASSES, int(MAX_PASSES_SHARE * passes)) if spot_checks is None else spot_checks
    return min(rows, most, max(1, allowed // passes_of_a_row(method)))


def _most_rows(rows: int) -> int:
    """Most rows that are evaluated alone, without a wish of the user."""
    return min(rows, max(MIN_ROWS, int(MAX_ROWS_SHARE * rows)))


def check_map(
    problem: SaliencyProblem,
    method: Method,
    output: MethodOutput,
    explanations: Sequence[Explanation],
    spot_checks: int | None,
) -> tuple[SpotChecks, tuple[str, ...]]:
    """Recompute some of the numbers of a map.

    Returns:
        What was recomputed; and notes on what could not be.

    Raises:
        SpotCheckError: a number differs by more than rounding explains.
    """
    record = problem.spot_record
    if record is None:
        return NOT_CHECKED, ()
    counter, checker = problem.net.passes, SpotChecker()
    before = counter.forward + counter.backward
    alone = record.rows[: rows_alone(type(method), spot_checks, before, problem.n_rows)].tolist()
    if not isinstance(method, (Gradient, GradientInput)):  # whose gradient at the row alone gives its outputs too
        for row in alone:
            outputs = outputs_alone(problem, [i.x[row : row + 1] for i in problem.inputs])
            check_outputs(problem, explanations[0], checker, row, outputs)
    notes: list[str] = []
    if isinstance(method, Conductance):
        notes += _check_conductance(problem, method, output, explanations[0], checker, alone)
    elif isinstance(method, _GRADIENT_METHODS):
        notes += _check_gradients(problem, method, output, explanations, checker, alone)
    elif isinstance(method, _MASKING_METHODS):
        notes += spot_masking.check_rows(problem, method, output, explanations, checker, alone)
    elif isinstance(method, _CAM_METHODS):
        spot_cam.check_rows(problem, method, output, explanations[0], checker, alone)
    elif isinstance(method, _RULE_METHODS):
        known = method.with_resolved(output.resolved_options) if output.resolved_options else method
        for row in alone:
            spot_rules.check_row(problem, known, output, explanations, checker, row)
        notes.append("not recomputed: the rules of operators, which have no second way")
    else:
        notes.append("not recomputed: the map, for its method is a class of your own; the network's outputs were")
    checker.predictions = counter.forward + counter.backward - before
    return checker.result, tuple(notes)


def _check_conductance(
    problem: SaliencyProblem,
    method: Conductance,
    output: MethodOutput,
    e: Explanation,
    checker: SpotChecker,
    alone: Sequence[int],
) -> list[str]:
    record, lost = problem.spot_record, 0
    assert record is not None  # noqa: S101  # asked by the caller
    for row in record.rows.tolist():
        sums = recompute_conductance(problem, method, output, record, row)
        lost += sums is None
        for t, numbers in zip(record.targets, sums or (), strict=False):
            places, way = record.input_positions[0], spot_gradients.SUM_WAY
            compare_with_map(problem, e, output, checker, numbers, (row, t, 0), places, way)
    differences = _are_derivatives(problem)
    for row in (r for r in alone if r in record.sampled_points):
        spot_gradients.check_gradient_alone(problem, record, row, differences=differences)
    return [SEVERAL_BASELINES] if lost else []


def _check_gradients(
    problem: SaliencyProblem,
    method: Method,
    output: MethodOutput,
    explanations: Sequence[Explanation],
    checker: SpotChecker,
    alone: Sequence[int],
) -> list[str]:
    record, lost = problem.spot_record, 0
    assert record is not None  # noqa: S101  # asked by the caller
    mapped = [i for i, a in enumerate(output.maps[0]) if a is not None]
    for row in record.rows.tolist():
        sums = spot_gradients.recompute_sum(problem, method, record, row, check_points=row in alone)
        for n, t in enumerate(record.targets):
            for e, i in zip(explanations, mapped, strict=True):
                numbers, places = sums[n][i], record.input_positions[i]
                if numbers is None:
                    lost += n == 0
                else:
                    way = spot_gradients.SUM_WAY
                    compare_with_map(problem, e, output, checker, numbers, (row, t, i), places, way)
    differences = _are_derivatives(problem)
    for row in (r for r in alone if r in record.sampled_points):
        outputs = spot_gradients.check_gradient_alone(problem, record, row, differences=differences)
        if isinstance(method, (Gradient, GradientInput)):
            check_outputs(problem, explanations[0], checker, row, outputs)
    return (
        [f"not recomputed: the sums of {lost} recorded rows, whose paths cross or are lost in rounding"] if lost else []
    )


def _are_derivatives(problem: SaliencyProblem) -> bool:
    """Whether derivatives are held against differences of outputs: not where they were found to follow something else."""
    return not any(remark.startswith("UNCHECKED") for remark in problem.net.remarks)
