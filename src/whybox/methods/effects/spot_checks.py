"""Spot checks of effects: some numbers of every answer are recomputed by asking the model itself, and held against it.

What evaluates the rows (leaves of trees, or predictions of which equal ones are made once) is left as it is; it is only looked at while it works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.rows import WeightedRows
from whybox.methods.common.spot_checks import SpotChecker, spot_predictions, spot_rng
from whybox.methods.common.spot_rows import RowRecomputation, rows_alone
from whybox.methods.effects.curves import Curve
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.predict_evaluator import CornerRequest, Evaluator, PointMoments, PredictEvaluator
from whybox.methods.effects.problem import EffectsProblem
from whybox.methods.effects.spot_kinds import CheckedKind, CurveChecks

__all__ = ["CheckedCurves", "predictions_of_checks"]

MAX_PREDICTIONS: Final = 500  # of the checks of one answer, unless more are asked for


def predictions_of_checks(problem: EffectsProblem, evaluator: Evaluator, work: int, *, at_least: int = 1) -> int:
    """Return how many predictions of single rows the checks of an answer may take: never more than the answer itself.

    Args:
        work: how many it takes, or would take one by one where leaves of trees suffice. at_least: one for each curve.
    """
    requested = problem.options.spot_checks
    n_predictions = spot_predictions(requested, work if isinstance(evaluator, PredictEvaluator) else 0)
    return min(n_predictions if requested is not None else max(min(n_predictions, MAX_PREDICTIONS), at_least), work)


@final
class CheckedCurves:
    """The curves of one evaluator, computed and checked.

    Args:
        problem, evaluator, grids: what is computed from. checker: takes the numbers that were compared. share: of the predictions of the whole answer that the
            checks of these curves may take. kind: what recomputes these curves; "own": as the problem's kind of effect says; None: nothing.

    Attributes:
        rounds: how many predictions each round of the evaluator takes, as its `reserve_predictions` says. predictions: how many the checks take.

    Raises:
        LimitError: more predictions than allowed, those of the checks among them.
    """

    def __init__(
        self,
        problem: EffectsProblem,
        evaluator: Evaluator,
        grids: Sequence[Grid],
        checker: SpotChecker,
        *,
        share: float = 1.0,
        kind: CheckedKind | Literal["own"] | None = "own",
    ) -> None:
        self._problem, self._evaluator, self._grids, self._checker = problem, evaluator, list(grids), checker
        self._share = share
        kind_of_problem = problem.effect_kind.spot_checks if kind == "own" else kind
        self._kind = None if problem.options.spot_checks == 0 else kind_of_problem
        self._checks: CurveChecks | None = None
        self._alone, self.predictions = 0, 0
        if isinstance(evaluator, PredictEvaluator):
            evaluator.predictions_beside = self._draw_numbers
        self.rounds = problem.effect_kind.reserve_predictions(evaluator, grids)
        if self._kind is not None and not isinstance(evaluator, PredictEvaluator):
            self._draw_numbers(problem.effect_kind.brute_force_predictions(evaluator, grids))

    def _draw_numbers(self, work: int) -> int:
        """Draw what is recomputed, given how many predictions the curves take; once: later calls find what was drawn. Return how many the checks take."""
        problem = self._problem
        if self._checks is None and self._kind is not None and work:
            curves = len(self._grids)
            max_predictions = predictions_of_checks(problem, self._evaluator, work, at_least=curves)
            max_predictions = min(max(int(max_predictions * self._share), curves), max_predictions)
            alone = min(rows_alone(problem.model), max_predictions - 1)
            self._checks = self._kind(self._evaluator, self._grids, spot_rng(0, len(self._evaluator.rows), curves))
            drawn = self._checks.draw_numbers(max_predictions - alone)
            self._alone = min(alone, drawn)
            self.predictions = 0 if problem.model.own_predict is None else drawn + self._alone
        return self.predictions

    def compute_and_check(self, work: Callable[[Evaluator, list[Grid]], list[Curve]]) -> list[Curve]:
        """Return the curves that `work` computes from an evaluator and the grids, after the checks.

        Raises:
            SpotCheckError: a number is not what was recomputed.
        """
        curves = self.compute_unchecked(work)
        self.check_curves(curves)
        return curves

    def compute_unchecked(self, work: Callable[[Evaluator, list[Grid]], list[Curve]]) -> list[Curve]:
        """Return the curves that `work` computes, unchecked: `check_curves` follows."""
        if self._checks is None:
            return work(self._evaluator, self._grids)
        return work(_ObservedEvaluator(self._evaluator, self._checks), self._grids)

    def check_curves(self, curves: Sequence[Curve]) -> None:
        """Hold curves against what is recomputed.

        Raises:
            SpotCheckError: a number differs.
        """
        if self._checks is not None:
            problem, rows = self._problem, self._evaluator.rows
            recompute = RowRecomputation(problem.model, rows.table, problem.selection, self._checker, alone=self._alone)
            self._checks.check_curves(curves, recompute, self._checker)


@final
class _ObservedEvaluator:
    """An evaluator that shows checks what it computes."""

    def __init__(self, evaluator: Evaluator, checks: CurveChecks) -> None:
        self._evaluator, self._checks = evaluator, checks
        self.rows: WeightedRows = evaluator.rows
        self.selection: OutputSelection = evaluator.selection

    @property
    def n_predictions_made(self) -> int:
        """Predictions of single rows made so far."""
        return self._evaluator.n_predictions_made

    @property
    def kernel(self) -> str:
        """How predictions are computed, in words."""
        return self._evaluator.kernel

    def reserve_predictions(
        self, grids: Sequence[Grid] = (), requests: Sequence[CornerRequest] = (), *, predictions: bool = False
    ) -> list[int]:
        """See `Evaluator`."""
        return self._evaluator.reserve_predictions(grids, requests, predictions=predictions)

    def predictions(self) -> Floats:
        """See `Evaluator`."""
        return self._evaluator.predictions()

    def curve_blocks(self, grids: Sequence[Grid], rows: Ints | None = None) -> Iterator[tuple[int, Ints, Floats]]:
        """See `Evaluator`."""
        return self._evaluator.curve_blocks(grids, rows)

    def point_means(self, grids: Sequence[Grid]) -> list[Floats]:
        """See `Evaluator`."""
        if isinstance(self._evaluator, PredictEvaluator):
            return [m.mean for m in self._evaluator.point_moments(grids, self._checks.observe_block)]
        return self._evaluator.point_means(grids)

    def point_moments(self, grids: Sequence[Grid]) -> list[PointMoments]:
        """See `Evaluator`."""
        if isinstance(self._evaluator, PredictEvaluator):
            return self._evaluator.point_moments(grids, self._checks.observe_block)
        return self._evaluator.point_moments(grids)

    def corner_sums(self, requests: Sequence[CornerRequest]) -> list[Floats]:
        """See `Evaluator`."""
        moved = self._evaluator.corner_sums(requests)
        used = [np.flatnonzero(np.min([at for _, at in corners], axis=0) >= 0) for _, corners in requests]
        self._checks.observe_corner_sums(list(zip(used, moved, strict=True)))
        return moved
