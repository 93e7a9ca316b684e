"""PartitionShap: Owen values of any model over a hierarchy of features."""

from __future__ import annotations

from functools import partial
from typing import Any, final

from whybox.methods.common.plan import MethodPlan
from whybox.methods.shap.column_hierarchy import resolve_hierarchy
from whybox.methods.shap.game_explainer import GameExplainer, Sampler
from whybox.methods.shap.game_plan import plan_games
from whybox.methods.shap.game_problem import GameRows
from whybox.methods.shap.options import ShapOptions
from whybox.methods.shap.owen_games import DRAWN, EXACT, check_budget, needed_predictions, owen_games

__all__ = ["PartitionShap"]


@final
class PartitionShap(GameExplainer):
    """Owen values of any model over a hierarchy of features: features that depend on each other share the credit of their block.

    Args:
        model: any model, or a function of rows. background: rows (m, d) that absent features take their values from, all of which count.
        options: a ShapOptions object (whybox.methods.shap.options), in place of those by name; see :func:`whybox.explain`. ``hierarchy``: nested lists of
            features, or a linkage matrix of scipy; None: by how much columns of the background depend on each other.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.

    References:
        Winter, A value for cooperative games with levels structure of cooperation, International Journal of Game Theory 18 (1989).
    """

    method_ids = ("partition_shap",)

    def __init__(self, model: Any, background: Any = None, options: ShapOptions | None = None, **given: Any) -> None:
        super().__init__(model, background, options, **given)
        self._hierarchy = resolve_hierarchy(self.options.hierarchy, self.setting.players, self.setting.background)

    @property
    def hierarchy(self) -> Any:
        """The hierarchy as nested lists of features."""
        return self._hierarchy.nested(self.setting.players.names)

    @property
    def _different_rows(self) -> int:
        """Number of different background rows."""
        return len(self.background.distinct_rows(())[0])

    def plan(self, rows: Any, *, sparse: bool = False, y: Any = None, offset: Any = None) -> MethodPlan:
        """Say how rows would be explained, and what that costs at most; see :meth:`GameExplainer.plan`."""
        del sparse
        given = self._rows_to_plan(rows, y, offset)
        spec, notes = self._choose(given)
        self._check_budget(given)
        needed = needed_predictions(self._hierarchy, given.differs, self._different_rows)
        return plan_games(given, spec, notes, needed=float(needed), kernels=(EXACT.format(len(self.background)), DRAWN))

    def _sampler(self) -> Sampler:
        return partial(owen_games, hierarchy=self._hierarchy)

    def _check_budget(self, given: GameRows) -> None:
        check_budget(self._hierarchy, given.differs, self._different_rows, given.budget, self.setting.options.max_evals)
