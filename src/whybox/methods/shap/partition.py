"""PartitionShap: Owen values of any model over a hierarchy of features."""

from __future__ import annotations

from functools import partial
from typing import Any, final

from whybox.errors import OptionError
from whybox.methods.common.plan import MethodPlan
from whybox.methods.shap.column_hierarchy import resolve_hierarchy
from whybox.methods.shap.game_budget import checks_reserved
from whybox.methods.shap.game_explainer import GameExplainer, Sampler
from whybox.methods.shap.game_plan import plan_games
from whybox.methods.shap.game_problem import GameRows
from whybox.methods.shap.options import ShapOptions
from whybox.methods.shap.owen_games import DRAWN, EXACT, SPARED_SHARE, check_budget, needed_predictions, owen_games
from whybox.methods.shap.text_options import ShapTextOptions

__all__ = ["PartitionShap"]


@final
class PartitionShap(GameExplainer):
    """Owen values of any model over a hierarchy of features: features that depend on each other share the credit of their block.

    Args:
        model: any model, or a function of rows; or a model of texts, which needs no background.
        background: rows (m, d) that absent features take their values from, all of which count. None: the explainer is of texts.
        options: a ShapOptions object (whybox.methods.shap.options), of texts a ShapTextOptions object (whybox.methods.shap.text_options), in place of those by
            name; see :func:`whybox.explain`. ``hierarchy``: nested lists of features, or a linkage matrix of scipy; None: by how much columns of the background
            depend on each other.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.

    References:
        Winter, A value for cooperative games with levels structure of cooperation, International Journal of Game Theory 18 (1989).
    """

    method_ids = ("partition_shap",)

    def __init__(
        self, model: Any, background: Any = None, options: ShapOptions | ShapTextOptions | None = None, **given: Any
    ) -> None:
        super().__init__(model, background, options, **given)
        if self._texts is not None:
            return
        self._hierarchy = resolve_hierarchy(self.options.hierarchy, self.setting.players, self.setting.background)

    @property
    def hierarchy(self) -> Any:
        """The hierarchy as nested lists of features.

        Raises:
            AttributeError: the explainer is of texts, and each has its own.
        """
        if self._texts is not None:
            raise AttributeError("each text has a hierarchy of its own; hierarchy_of(text) returns it.")
        return self._hierarchy.nested(self.setting.players.names)

    def hierarchy_of(self, text: str) -> Any:
        """Return the hierarchy of a text as nested lists of its words.

        Raises:
            OptionError: the explainer is of tables, or the hierarchy that was given does not fit. InputError: the text has no words.
        """
        if self._texts is None:
            raise OptionError("this explainer has a background, so it explains rows of a table; .hierarchy is theirs.")
        return self._texts.hierarchy_of(text)

    @property
    def _different_rows(self) -> int:
        """Number of different background rows."""
        return len(self.background.distinct_rows(())[0])

    def plan(self, rows: Any, *, sparse: bool = False, y: Any = None, offset: Any = None) -> MethodPlan:
        """Say how rows would be explained, and what that costs at most; see :meth:`GameExplainer.plan`."""
        if self._texts is not None:
            return super().plan(rows, sparse=sparse, y=y, offset=offset)
        given = self._rows_to_plan(rows, y, offset)
        spec, notes = self._choose(given)
        given = given.reserving(self._planned_checks(given, exact=False))
        self._check_budget(given)
        needed = self._needed(given)
        return plan_games(given, spec, notes, needed=float(needed), kernels=(EXACT.format(len(self.background)), DRAWN))

    def _needed(self, given: GameRows) -> int:
        """Predictions of exact values."""
        return needed_predictions(self._hierarchy, given.differs, self._different_rows)

    def _planned_checks(self, given: GameRows, *, exact: bool) -> int:
        """All that exact values may be given; of draws one worth over the whole background, where that is a small share."""
        del exact
        asked, once = self.options.spot_checks, len(self.background)
        planned = checks_reserved(asked, of_worths=once)
        if self._needed(given) <= given.budget - planned:
            return planned
        is_kept = once <= SPARED_SHARE * given.budget and (asked is None or asked >= once)
        return once if is_kept else 0

    def _sampler(self) -> Sampler:
        return partial(owen_games, hierarchy=self._hierarchy)

    def _check_budget(self, given: GameRows) -> None:
        check_budget(self._hierarchy, given.differs, self._different_rows, given.budget, self.setting.options.max_evals)
