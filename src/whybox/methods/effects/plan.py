"""What effects will cost: how many predictions, how long, how much memory; said before any of it is done.

Predictions are counted, not guessed: the rows are compared and the hybrids are made as they will be, but not evaluated. Seconds come from timing: a black box
is evaluated on a few of these hybrids, trees on some of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, final

import numpy as np

from whybox.core.progress import expected_batch_sizes
from whybox.methods.common.columns import Ints
from whybox.methods.common.extrapolation import OffDataShare
from whybox.methods.common.plan import (
    MAX_TIMINGS,
    WORK,
    MethodPlan,
    Stopwatch,
    bytes_given,
    cost_table,
    duration_text,
    smallest_seconds,
)
from whybox.methods.common.rows import WeightedRows
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.interaction_errors import rows_left_out
from whybox.methods.effects.interactions import InteractionsWork, prepare_interactions
from whybox.methods.effects.linear_evaluator import LinearEvaluator
from whybox.methods.effects.predict_evaluator import CURVE_NUMBERS_HELD, Evaluator, PredictEvaluator
from whybox.methods.effects.problem import EffectsProblem
from whybox.methods.effects.result import features_by_evaluator
from whybox.methods.effects.spot_checks import CheckedCurves
from whybox.methods.effects.spot_kinds import IndividualChecks
from whybox.methods.effects.tree_evaluator import TreeEvaluator
from whybox.methods.registry import find
from whybox.models.blackbox import BlackBox

__all__ = ["EffectsPlan", "plan_effects", "plan_interactions", "plan_regions"]

_TIMED_ROWS: Final = (256, 1024)  # rows that leaves and weights are timed with
_TIMED_ROWS_OF_MEANS: Final = (2048, 8192)  # the same, for means, which come out of all rows at once
_TIMED_CURVES, _TIMED_SURFACES = 6, 2  # curves and surfaces that they are timed with
_TIMED_PREDICTIONS: Final = (
    32,
    512,
    4096,
)  # predictions that a model is timed with: more only where they take next to no time
_QUICK_SECONDS: Final = (0.2, 0.02)  # seconds after which no more of them are made
_TIMED_POINTS: Final = (2, 12)  # points timed


@final
@dataclass(frozen=True)
class EffectsPlan:
    """What :func:`whybox.effects` will do with the same arguments.

    Attributes:
        method: what will be computed, in words. method_id: its id in the registry of methods. estimand: of what, as evidence records it.
        exact: whether the values are exact for the rows given (they are, of all kinds there are).
        kernel: how answers are found: ``"the trees' own leaves"``, or whose predictions.
        rows, curves, points: how many; points of all curves together.
        predictions: of single rows, for the curves; exactly as many, equal ones once. 0 where the leaves of trees suffice.
        brute: what these would be, each row and point by itself: points x rows for curves of means and of rows.
        checks: rows that the model's own predict is evaluated on beside these: to learn its output shape, to check our reading of it, and to recompute
            numbers of the answer.
        model_calls: what evidence will count: checks, and the predictions where the model's own predict answers them.
        batches: calls of the model, about. seconds: about. memory_bytes: at most, about, beyond the rows given. given_bytes: of these.
        spent: rows that the model's own predict was evaluated on to make this plan.
    """

    method: str
    method_id: str
    estimand: str
    exact: bool
    kernel: str
    rows: int
    curves: int
    points: int
    predictions: int
    brute: int
    checks: int
    model_calls: int
    batches: int
    seconds: float
    memory_bytes: float
    spent: int
    given_bytes: float = float("nan")

    def repeated_plan(self, times: int) -> EffectsPlan:
        """Return the plan of the same work done so many times, for models fitted again."""
        names = ("predictions", "brute", "checks", "model_calls", "batches", "seconds")
        return replace(self, **{name: times * getattr(self, name) for name in names})

    @property
    def line(self) -> str:
        """The cost in one line."""
        if not self.predictions:
            return f"no predictions of the model, {duration_text(self.seconds)}"
        return f"{self.predictions:,} predictions of the model, {duration_text(self.seconds)}"

    def __str__(self) -> str:
        several = "s" * (self.curves != 1)
        less = f" instead of {self.brute:,}" if self.predictions < self.brute else ""
        calls = (
            f"{self.predictions:,} predictions of single rows{less}, in about {self.batches:,} batch{'es' * (self.batches != 1)}"
            if self.predictions
            else "no predictions"
        )
        beside = f"; beside them {self.checks:,} rows to check the model" if self.checks else ""
        return "\n".join(
            [
                f"{self.method}: {self.curves:,} curve{several}, {self.points:,} points, {self.rows:,} rows",
                f"estimand  {self.estimand}; {'exact for these rows' if self.exact else 'estimated'}",
                f"kernel    {self.kernel}",
                f"calls     {calls}{beside}",
                *cost_table({WORK: self.seconds}, {WORK: self.memory_bytes, "rows given": self.given_bytes}),
            ]
        )


def plan_effects(problem: EffectsProblem) -> EffectsPlan:
    """Return the cost of a resolved problem.

    Raises:
        LimitError: more predictions than allowed, or curves that do not fit. OptionError: as :func:`whybox.effects`.
    """
    is_black_box = isinstance(problem.model, BlackBox)
    rounds: list[int] = []
    brute, seconds, memory, spent, kernels, checks = 0, 0.0, 0.0, problem.n_rows_probed, [], problem.n_rows_checked
    all_grids: list[Grid] = []
    batches = 0
    for evaluator, wanted in features_by_evaluator(problem):
        watch = Stopwatch()
        grids = [problem.make_grid(m) for m in wanted]
        curves = CheckedCurves(
            problem, evaluator, grids, SpotChecker(), share=len(wanted) / len(problem.requested_features)
        )
        rounds_here = curves.rounds
        checks += curves.predictions
        seconds += watch.elapsed_seconds()  # this much is done again
        if isinstance(evaluator, PredictEvaluator):
            overhead, seconds_each, used = _time_predictions(
                evaluator, grids, sum(rounds_here), _max_timing_predictions(problem, sum(rounds_here))
            )
            first_batch, max_batch = evaluator.hybrids.batch_sizes(problem.rows.table)
            sizes = [
                expected_batch_sizes(n, overhead, seconds_each, first_size=first_batch, max_size=max_batch)
                for n in rounds_here
            ]
            batches += sum(map(len, sizes))
            seconds += sum(map(len, sizes)) * overhead + sum(rounds_here) * seconds_each
            spent += used if is_black_box else 0
            brute += problem.effect_kind.brute_force_predictions(evaluator, grids)
        else:
            seconds += _seconds_of_reading(problem, evaluator, grids)
        memory = max(memory, _memory_bytes(problem, evaluator, grids, rounds_here))
        kernels.append(evaluator.kernel)
        rounds += rounds_here
        all_grids += grids
    return EffectsPlan(
        method=problem.spec.title,
        method_id=problem.spec.method_id,
        estimand=problem.spec.estimand,
        exact=problem.spec.exact,
        kernel="; ".join(kernels),
        rows=len(problem.rows),
        curves=len(all_grids),
        points=sum(len(g) for g in all_grids),
        predictions=sum(rounds),
        brute=brute,
        checks=checks,
        model_calls=checks + (sum(rounds) if is_black_box else 0),
        batches=batches,
        seconds=seconds + _off_data_seconds(problem, all_grids),
        memory_bytes=memory,
        given_bytes=bytes_given(problem.rows.table),
        spent=spent,
    )


def plan_interactions(problem: EffectsProblem, *, sample: int | None, seed: int) -> MethodPlan:
    """Return what :func:`whybox.interactions` will cost.

    Raises:
        LimitError, OptionError: as :func:`whybox.interactions`.
    """
    spec = find("interactions", "friedman_h")
    work = prepare_interactions(problem, sample, seed)
    rows, outputs = work.evaluator.rows, len(problem.selection.names)
    checks = work.make_checks(problem)
    check_predictions = 0 if checks is None else checks.predictions
    left_out = 0 if work.sample_size is None else len(rows_left_out(len(rows), len(work.members_read), outputs))
    if isinstance(work.evaluator, PredictEvaluator):
        _, seconds_each, _ = _time_predictions(
            work.evaluator, [], work.n_predictions, _max_timing_predictions(problem, work.n_predictions)
        )
        seconds = seconds_each * work.n_predictions
    else:
        seconds = _seconds_of_rows(problem, work)
    return MethodPlan(
        method=spec.title,
        method_id=spec.method_id,
        kernel=work.evaluator.kernel,
        exact=work.sample_size is None,
        rows=len(rows),
        model_calls=problem.n_rows_checked
        + check_predictions
        + (work.n_predictions if isinstance(problem.model, BlackBox) else 0),
        memory_bytes=8.0
        * len(rows)
        * (3 * rows.table.width + 4 + outputs * (1 + left_out) * (2 * len(work.members_read) + 3)),
        given_bytes=bytes_given(rows.table),
        seconds=seconds,
    )


def _seconds_of_rows(problem: EffectsProblem, work: InteractionsWork) -> float:
    """Time the leaves on two samples of the rows, and draw a straight line through them."""
    times = []
    count = len(work.evaluator.rows)
    for size in sorted({min(n, count) for n in _TIMED_ROWS}):
        seconds = smallest_seconds(
            lambda some: replace(work, evaluator=some[0]).compute_sizes(), partial(_reading_of_some_rows, problem, size)
        )
        times.append((size, seconds))
    return _line_through_timings(times, count)


def plan_regions(problem: EffectsProblem) -> MethodPlan:
    """Return what :func:`whybox.regions` will cost.

    Raises:
        LimitError: more predictions than allowed.
    """
    spec = find("regions", "regional")
    members = problem.requested_features[0]
    evaluator, grid = problem.evaluator_of(members), problem.make_grid(members)
    curves = CheckedCurves(problem, evaluator, [grid], SpotChecker(), kind=IndividualChecks)
    predictions = sum(curves.rounds)
    if isinstance(evaluator, PredictEvaluator):
        _, seconds_each, _ = _time_predictions(
            evaluator, [grid], predictions, _max_timing_predictions(problem, predictions)
        )
        seconds = seconds_each * predictions
    else:
        seconds = _extrapolated_seconds(
            problem, [grid], lambda e, g: list(e.curve_blocks(g)), len(problem.rows), _TIMED_ROWS
        )
    return MethodPlan(
        method=spec.title,
        method_id=spec.method_id,
        kernel=evaluator.kernel,
        exact=spec.exact,
        rows=len(problem.rows),
        model_calls=problem.n_rows_checked
        + curves.predictions
        + (predictions if isinstance(problem.model, BlackBox) else 0),
        memory_bytes=24.0 * len(problem.rows) * len(grid) * len(problem.selection.names),
        given_bytes=bytes_given(problem.rows.table),
        seconds=seconds,
        notes=("The time is that of the curves, without the search for splits.",),
    )


def _max_timing_predictions(problem: EffectsProblem, needed: int) -> int:
    """How many predictions may be made for timing."""
    return min(needed, max(problem.max_predictions - problem.reserved_predictions, 0))


def _time_predictions(
    evaluator: PredictEvaluator, grids: Sequence[Grid], needed: int, max_rows: int
) -> tuple[float, float, int]:
    """Time the model: seconds a call, seconds a prediction, and how many rows that took."""
    grid = grids[0] if grids else None
    timings: list[tuple[int, float]] = []
    used = repeated = 0
    for n_rows, limit_seconds in zip(_TIMED_PREDICTIONS, (np.inf, *_QUICK_SECONDS), strict=True):
        size = min(n_rows, max_rows if not timings else max_rows // 8 - repeated)
        if size == 0 or (timings and (timings[-1][1] > limit_seconds or size <= timings[-1][0])):
            break
        seconds, times = _smallest_of_calls(evaluator, grid, size, max_rows // 8 - used)
        used += size * times
        repeated += size * (times - 1)
        timings.append((size, seconds))
    if not timings or not needed:
        return 0.0, 0.0, 0
    size, seconds = timings[-1]
    if len(timings) == 1:
        return 0.0, seconds / size, used
    size_before, seconds_before = timings[-2]
    seconds_each = max((seconds - seconds_before) / (size - size_before), 0.1 * seconds / size)
    return max(seconds_before - seconds_each * size_before, 0.0), seconds_each, used


def _smallest_of_calls(evaluator: PredictEvaluator, grid: Grid | None, size: int, max_rows: int) -> tuple[float, int]:
    """Time a call of so many rows, again within `most` rows while it takes next to no time; return the smallest time and how many calls there were."""
    seconds, times = np.inf, 0
    while times == 0 or (times < MAX_TIMINGS and (times + 1) * size <= max_rows and seconds <= _QUICK_SECONDS[-1]):
        watch = Stopwatch(may_wait=isinstance(evaluator.model, BlackBox))
        evaluator.predict_sample(grid, size)
        seconds, times = min(seconds, watch.elapsed_seconds()), times + 1
    return seconds, times


def _seconds_of_reading(problem: EffectsProblem, evaluator: Evaluator, grids: Sequence[Grid]) -> float:
    """Time what takes no predictions on some of the rows, curves and surfaces."""
    total, kind = 0.0, problem.effect_kind
    for n_features, n_timed in ((1, _TIMED_CURVES), (2, _TIMED_SURFACES)):
        grids_alike = [g for g in grids if len(g.features) == n_features]
        timed_grids = (
            [grids_alike[i] for i in np.unique(np.linspace(0, len(grids_alike) - 1, n_timed).astype(int))]
            if grids_alike
            else []
        )
        if not timed_grids:
            continue
        n_error_rows = len(problem.rows)
        if kind.samples_variance and isinstance(evaluator, TreeEvaluator):
            n_error_rows = evaluator.n_error_rows(n_features)
        seconds = _extrapolated_seconds(
            problem,
            timed_grids,
            kind.compute_curves,
            n_error_rows,
            _TIMED_ROWS_OF_MEANS if kind.mean_cost else _TIMED_ROWS,
        )
        if n_error_rows < len(problem.rows):
            seconds += _extrapolated_seconds(
                problem, timed_grids, lambda e, g: e.point_means(g), len(problem.rows), _TIMED_ROWS_OF_MEANS
            )
        total += seconds * len(grids_alike) / len(timed_grids)
    return total


def _extrapolated_seconds(
    problem: EffectsProblem,
    grids: list[Grid],
    work: Callable[[Evaluator, list[Grid]], object],
    rows: int,
    sizes: tuple[int, int],
) -> float:
    """Seconds for so many rows, by a straight line through the times of two samples of them."""
    times = []
    for size in sorted({min(n, rows) for n in sizes}):
        make_pilot = partial(_timed_reading, problem, grids, size)
        times.append((len(make_pilot()[0].rows), smallest_seconds(lambda pilot: work(*pilot), make_pilot)))
    return _line_through_timings(times, rows)


def _timed_reading(problem: EffectsProblem, grids: Sequence[Grid], size: int) -> tuple[Evaluator, list[Grid]]:
    """The evaluator over so many of the rows, and grids of these rows."""
    few, picked = _reading_of_some_rows(problem, size)
    return few, [_grid_of_rows(g, few.rows, picked) for g in grids]


def _grid_of_rows(grid: Grid, rows: WeightedRows, picked: Ints) -> Grid:
    """The same points over some of the rows."""
    return replace(
        grid,
        features=tuple(rows.feature(p) for p in grid.column_positions),
        point_of_row=grid.point_of_row[picked],
        is_at_point=grid.is_at_point[picked],
        is_custom=True,
        side_grids=tuple(_grid_of_rows(side, rows, picked) for side in grid.side_grids),
    )


def _reading_of_some_rows(problem: EffectsProblem, size: int) -> tuple[Evaluator, Ints]:
    """What takes no predictions, over so many of the rows, taken evenly; and which."""
    picked = np.unique(np.linspace(0, len(problem.rows) - 1, size).astype(np.int64))
    part = WeightedRows(problem.rows.table.rows(picked), np.full(len(picked), 1.0 / len(picked)))
    return problem.evaluator_over(part), picked


def _line_through_timings(times: Sequence[tuple[int, float]], rows: int) -> float:
    """Seconds for so many rows, by a straight line through the first and the last timing, (rows, seconds)."""
    (size, seconds), (size_before, seconds_before) = times[-1], times[0]
    if size == size_before:
        return seconds * rows / size if rows > size else seconds
    slope = max((seconds - seconds_before) / (size - size_before), 0.0)
    return seconds + slope * (rows - size)


def _off_data_seconds(problem: EffectsProblem, grids: Sequence[Grid]) -> float:
    """Time of the share off the data, by a few points of the first curve."""
    curves = [g for g in grids if len(g.features) == 1] if problem.effect_kind.off_data else []
    if not curves:
        return 0.0
    setup_seconds = smallest_seconds(OffDataShare, lambda: problem.rows)
    sizes = [min(n, len(curves[0])) for n in _TIMED_POINTS]
    fewer_seconds, more_seconds = (
        smallest_seconds(partial(_share_of_points, _few_points(curves[0], size)), lambda: OffDataShare(problem.rows))
        for size in sizes
    )
    point_seconds = max(more_seconds - fewer_seconds, 0.0) / max(sizes[1] - sizes[0], 1)
    return float(
        setup_seconds
        + len(curves) * max(fewer_seconds - sizes[0] * point_seconds, 0.0)
        + point_seconds * sum(len(g) for g in curves)
    )


def _few_points(grid: Grid, size: int) -> Grid:
    return grid.select_points(np.unique(np.linspace(0, len(grid) - 1, size).astype(np.int64)))


def _share_of_points(grid: Grid, share: OffDataShare) -> None:
    share(grid.features[0], grid.points[0], grid.point_of_row)


def _memory_bytes(problem: EffectsProblem, evaluator: Evaluator, grids: Sequence[Grid], rounds: Sequence[int]) -> float:
    """Bytes at most, about: codes of the rows, the result, and the blocks that are worked on."""
    n, outputs, kind = len(problem.rows), len(problem.selection.names), problem.effect_kind
    width = problem.rows.table.width
    raw = outputs if isinstance(evaluator, PredictEvaluator) else max(outputs, len(problem.model.outputs.names))
    cells = sum(len(g) for g in grids)
    codes = 8.0 * n * (3 * width + 4)
    result = 8.0 * cells * outputs * (n if kind.by_row else 2) + 8.0 * n * outputs
    if isinstance(evaluator, PredictEvaluator):
        batch = min(max(rounds, default=0), evaluator.hybrids.batch_sizes(problem.rows.table)[1])
        return (
            codes
            + result
            + 16.0 * n * (len(grids) + 1)
            + 24.0 * batch * (width + outputs)
            + 32.0 * min(max(rounds, default=0) * outputs, CURVE_NUMBERS_HELD)
            + kind.bytes_per_row * n
        )
    if isinstance(evaluator, LinearEvaluator):
        return codes + result + 8.0 * n * raw * len(grids) + 32.0 * CURVE_NUMBERS_HELD
    columns = problem.model.inputs.width
    block = min(8.0 * n * kind.numbers_per_row(grids) * raw, 8.0 * CURVE_NUMBERS_HELD)
    sums = 8.0 * cells * raw * (8 + 6 * problem.threads)
    return codes + result + 16.0 * n * columns + 2 * block + sums
