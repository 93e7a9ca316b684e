"""From the arguments of shap to the explainers of whybox, which are kept between calls."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np

from whybox.api.explain import explainer_of
from whybox.compat.columns import features_in_order
from whybox.compat.shap.backgrounds import Background
from whybox.data.library_containers import rows_of_container
from whybox.data.table import Floats, as_table
from whybox.errors import LimitError, UnknownFieldError, UnsupportedModelError
from whybox.explanation.explanation import Explanation as OwnExplanation
from whybox.methods.shap.options import ShapOptions
from whybox.models.registry import as_model

__all__ = ["Answers", "Budget"]

ALWAYS_ALLOWED: Final = 1_000  # predictions beside those of coalitions: of checks, for example
WHOLE_BUDGET: Final = 1e-9  # a share of the largest value that no estimate reaches


@final
@dataclass(frozen=True)
class Budget:
    """How many predictions a row may take.

    Attributes:
        name: of the argument of shap, for messages. evaluations: predictions of single rows for each row explained.
        is_given: whether the user gave the number: then it is spent; else an estimate stops at small errors.
    """

    name: str
    evaluations: int
    is_given: bool = False

    def max_evals(self, rows: int, background: int) -> int:
        """Return the predictions of single rows for all rows together, with those beside the coalitions."""
        return self.evaluations * rows + 4 * rows + 2 * background + ALWAYS_ALLOWED


@final
class Answers:
    """A model, a background and options of :func:`whybox.explain`; explanations of rows, by kept explainers.

    Args:
        model: as shap takes it. background: whose rows may be None. options: of ShapOptions, beside order, budget and background weights.
    """

    def __init__(self, model: Any, background: Background, **options: Any) -> None:
        self.background = background
        self._options = {**options, "background_weight": background.weights}
        self._rows = None if background.rows is None else as_table(background.rows, what="the background")
        try:
            self.model: Any = as_model(model)
        except (UnsupportedModelError, UnknownFieldError):
            if self._rows is None:
                raise
            self.model = model  # it is evaluated
        self._kept: tuple[Hashable, Any] = (None, None)
        self._last_base: Floats | None = None

    def explain(
        self, rows: Any, *, order: int = 1, y: Any = None, budget: Budget | None = None, batch_size: int | None = None
    ) -> OwnExplanation:
        """Explain rows.

        Args:
            rows: of the kind of the background. order: 2 for interactions. y: the truth, where losses are explained. budget: of an estimate. batch_size: most rows
                in one call of the model.

        Raises:
            WhyboxError: as :func:`whybox.explain`.
        """
        held = rows_of_container(rows, "X")
        table = None if held is not None else as_table(rows)
        count = len(table) if table is not None else len(held.rows)  # type: ignore[union-attr]  # one of the two is there
        options: dict[str, Any] = {**self._options, "order": order, "batch_size": batch_size}
        if budget is not None:
            options["max_evals"] = budget.max_evals(count, len(self.background))
            options["tol"] = WHOLE_BUDGET if budget.is_given else None
        key = (order, batch_size, options.get("max_evals"), options.get("tol"))
        if self._kept[0] != key:
            self._kept = key, explainer_of(self.model, self._rows, ShapOptions(**options), table)
        given = {} if y is None else {"y": y}
        try:
            explanation: OwnExplanation = self._kept[1](rows, **given)
        except LimitError as reason:
            if budget is None:
                raise
            words = f"{budget.name} of shap is {budget.evaluations:,} predictions for each row here, with all background rows: "
            raise LimitError(words, *reason.message, known=reason.known, hint=reason.hint) from reason
        self._last_base = explanation.base
        return features_in_order(explanation, getattr(rows, "columns", ()))

    @cached_property
    def base(self) -> Floats:
        """The value when every feature is absent, () or (outputs,)."""
        if self._last_base is not None:
            return self._last_base
        explainer = explainer_of(self.model, self._rows, ShapOptions(**self._options))
        if hasattr(explainer, "base"):
            base: Floats = explainer.base
            return base
        options = {**self._options, "players": {"all features": list(self._names)}, "hierarchy": None}
        if options.get("method") == "partition_shap":
            options["method"] = "exact_shap"
        one_game = explainer_of(self.model, self._rows, ShapOptions(**options, spot_checks=0))
        explanation: OwnExplanation = one_game(self._first_row)  # all features are one player: two coalitions
        return explanation.base

    @property
    def _names(self) -> tuple[str, ...]:
        return () if self._rows is None else tuple(self._rows.names)

    @property
    def _first_row(self) -> Any:
        assert self._rows is not None  # noqa: S101  # only models that are read have none
        return self._rows.rows(np.zeros(1, dtype=np.int64))
