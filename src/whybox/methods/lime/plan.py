"""What LIME of a table will cost: how many predictions, and about how long; a few rows are explained for the timing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from scipy.optimize import nnls

from whybox.data.table import Table
from whybox.explanation.explanation import Explanation
from whybox.methods.common.evaluation import prediction_function
from whybox.methods.common.plan import MethodPlan, Stopwatch, bytes_given, seconds_of_each, smallest_seconds
from whybox.methods.common.row_offsets import rows_and_own_offset
from whybox.methods.common.shifted_outputs import ShiftedOutputs
from whybox.methods.lime.design import LocalDesign
from whybox.methods.lime.explainer import Lime
from whybox.methods.lime.local_model import default_evals, sample_budget
from whybox.methods.lime.options import LimeOptions
from whybox.methods.lime.problem import resolve_rows
from whybox.methods.lime.shared_sample import REPLICATES
from whybox.methods.registry import find
from whybox.models.blackbox import BlackBox

__all__ = ["plan_rows"]

TIMED_ROWS: Final = (1, 64)  # that are explained for the timing of an exact answer
TIMED_SAMPLED_ROWS: Final = 16
TIMED_EVALS: Final = (1_024, 8_192)  # that these may take, unless the fewest are more
TIMED_PREDICTIONS: Final = (32, 2_048)
QUICK_SECONDS: Final = 0.02
MAX_TIMED_SECONDS: Final = 0.5  # of fitting, beyond which no more is timed
NUMBERS_OF_A_VALUE: Final = 8  # arrays of float64 in the shape of the values that are held at a time
NUMBERS_OF_A_DRAW: Final = 9  # the same, of the draws and their columns


def plan_rows(model: Any, background: Any, options: LimeOptions, rows: Table, offset: Any = None) -> MethodPlan:
    """Return what :func:`whybox.lime` will cost with the same arguments.

    Args:
        model, background, options: of the explainer. rows: to be explained. offset: as given.

    Raises:
        WhyboxError: as the call itself, but for what only its answer shows.
    """
    watch = Stopwatch(may_wait=True)
    explainer = Lime(model, background, options)
    reading = watch.elapsed_seconds()
    widths = options.widths or (None,)
    rows, offset = rows_and_own_offset(explainer.neighbourhood.model, rows, offset)
    problems = [resolve_rows(explainer.neighbourhood, rows, width, offset) for width in widths]
    of_rows = _ExplainRows(explainer, rows, problems[0].shifted)
    if explainer.method == "exact":
        return _exact_plan(of_rows, reading, len(widths))
    evaluated = len(rows) if isinstance(explainer.neighbourhood.model, BlackBox) else 0
    for problem in problems:
        sample_budget(LocalDesign(problem), evaluated)  # refuses what the call would
    return _sampled_plan(of_rows, reading, len(widths))


@final
@dataclass(frozen=True, eq=False)
class _ExplainRows:
    """An explainer, rows, and their offsets, or None."""

    explainer: Lime
    rows: Table
    shifted: ShiftedOutputs | None

    @property
    def calls_a_row(self) -> int:
        """How often a row is given to the model's own predict: with its offset once more, where that takes it."""
        return 1 + (self.shifted is not None and self.shifted.offsets.is_compared)

    def first(self, count: int, explainer: Lime | None = None) -> Explanation:
        """Explain the first rows, with another explainer than its own where one is given."""
        offset = None if self.shifted is None else self.shifted.offsets.given[:count]
        return (explainer or self.explainer)(self.rows.rows(slice(0, count)), offset=offset)


def _exact_plan(of_rows: _ExplainRows, reading: float, widths: int) -> MethodPlan:
    explainer, rows = of_rows.explainer, of_rows.rows
    neighbourhood, n = explainer.neighbourhood, len(rows)
    small, large = (min(n, k) for k in TIMED_ROWS)
    watch = Stopwatch()
    answer = of_rows.first(large)  # makes what is made once, and checks some numbers
    first = watch.elapsed_seconds()
    each = 0.0
    if n > large:
        times = [
            smallest_seconds(of_rows.first, lambda k=k: k)  # type: ignore[misc]
            for k in (small, large)
        ]
        each = max(times[1] - times[0], 0.0) / (large - small)
    spec = find("lime", "exact")
    return MethodPlan(
        method=spec.title,
        method_id=spec.method_id,
        kernel="exact",
        exact=True,
        rows=n,
        model_calls=float(answer.evidence.model_calls + (n - large) * widths * of_rows.calls_a_row),
        memory_bytes=_bytes_of_values(explainer, n),
        given_bytes=bytes_given(rows),
        seconds=reading + first + (n - large) * each,
        notes=(
            f"the model's own predict is called on every row, to compare; {len(neighbourhood.background):,} background rows were read in {reading:.2g} s",
        ),
    )


def _sampled_plan(of_rows: _ExplainRows, reading: float, widths: int) -> MethodPlan:
    explainer, rows = of_rows.explainer, of_rows.rows
    neighbourhood, n = explainer.neighbourhood, len(rows)
    evals, players = default_evals(explainer.options, n), neighbourhood.players.count
    spec = find("lime", "sampled")
    memory = evals * players * 8 * NUMBERS_OF_A_DRAW + _bytes_of_values(explainer, n)
    return MethodPlan(
        method=spec.title,
        method_id=spec.method_id,
        kernel="one sample for all rows",
        exact=False,
        rows=n,
        model_calls=float(evals * widths),
        memory_bytes=memory,
        given_bytes=bytes_given(rows),
        seconds=reading + widths * _seconds_of_sampling(of_rows, evals),
        notes=("at most: sampling stops when the largest values are settled; lower max_evals to bound it",),
    )


def _seconds_of_sampling(of_rows: _ExplainRows, evals: int) -> float:
    """Return how long a sample of so many predictions takes.

    One row and a few are timed at two sizes, unless that takes long; time is taken as a sum of what each draw, each row, and each draw for each row take.
    """
    explainer, rows = of_rows.explainer, of_rows.rows
    a_prediction = _seconds_of_a_prediction(explainer)
    times: list[float] = []
    work: list[list[int]] = []
    for count in sorted({1, min(len(rows), TIMED_SAMPLED_ROWS)}):
        least = count * (REPLICATES * (explainer.neighbourhood.players.count + 1) + 1)  # where kernels are narrow
        for size in sorted({min(evals, max(size, least)) for size in TIMED_EVALS}):
            if sum(times) > MAX_TIMED_SECONDS or (times and a_prediction * size > MAX_TIMED_SECONDS):
                break
            timed, watch = explainer.limited(size), Stopwatch(may_wait=True)
            made = int(of_rows.first(count, timed).evidence.model_calls)
            times.append(max(watch.elapsed_seconds() - a_prediction * made, 0.0))
            work.append([made, count, made * count])
    each, _ = nnls(np.array(work, dtype=float), np.array(times))
    return float(each @ [evals, len(rows), evals * len(rows)]) + a_prediction * evals


def _seconds_of_a_prediction(explainer: Lime) -> float:
    """Time predictions of background rows: more only where they take next to no time."""
    neighbourhood = explainer.neighbourhood
    background = neighbourhood.background.table
    predict = prediction_function(neighbourhood.model, neighbourhood.selection)

    def work(count: int) -> None:
        predict(background.rows(np.resize(np.arange(len(background)), count)))

    may_wait = isinstance(neighbourhood.model, BlackBox)
    return seconds_of_each(work, TIMED_PREDICTIONS, quick=QUICK_SECONDS, may_wait=may_wait)


def _bytes_of_values(explainer: Lime, rows: int) -> float:
    values = rows * explainer.neighbourhood.players.count * len(explainer.neighbourhood.selection.names)
    return float(values * 8 * NUMBERS_OF_A_VALUE)
