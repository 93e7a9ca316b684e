"""The problem of importance: a model and whatever the method needs, checked before any work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from whybox.errors import Argument, OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.importance.options import ImportanceOptions
from whybox.methods.registry import family_ids, find

__all__ = ["ImportanceProblem", "check_truth"]


@final
@dataclass(frozen=True, eq=False)
class ImportanceProblem:
    """A model and what importance may need, as the caller gave it.

    Attributes:
        model: any supported model. X: rows, or None. players: named groups of columns, or None.
        attribution_options: options of an explanation by name, those alone that the caller gave.
        explain: explains rows, (model, rows, **options) -> attributions; plan_explain: plans that. They are handed in, so that importance imports no
            other method.
        y: the truth, or None. options: all of them, of the method's own dataclass.
    """

    model: Any
    X: Any
    players: Any
    attribution_options: dict[str, Any]
    explain: Callable[..., Any]
    plan_explain: Callable[..., Any]
    y: Any
    options: ImportanceOptions

    def explain_rows(self, method: str) -> Explanation:
        """Explain the rows.

        Raises:
            OptionError: there are no rows, or options that do not go together. Others as for ``whybox.explain``.
        """
        if self.X is None:
            raise OptionError(Argument("method", method), " averages over rows: pass X.")
        explanation: Explanation = self.explain(self.model, self.X, players=self.players, **self.attribution_options)
        return explanation

    def plan_rows(self, method: str) -> Any:
        """Plan :meth:`explain_rows`; the rows may be a number of rows.

        Raises:
            OptionError: there are no rows, or options that do not go together.
        """
        if self.X is None:
            raise OptionError(Argument("method", method), " averages over rows: pass X, or how many rows.")
        return self.plan_explain(self.model, self.X, players=self.players, **self.attribution_options)

    def without_rows(self, method: str) -> Any:
        """Return the model, for a method that reads the model alone.

        Raises:
            OptionError: options that only rows need.
        """
        if self.attribution_options:
            raise OptionError(
                Argument("method", method),
                " reads the model alone: background, output, scale, background_weight and spot_checks do not go with it.",
            )
        return self.model


def check_truth(y: Any, method: str) -> None:
    """Refuse a truth where the method does not use it, none where it needs one, or a method in its place.

    Raises:
        OptionError: any of these.
    """
    spec = find("importance", method)
    if y is None and "y" in spec.needs:
        raise OptionError(Argument("method", method), " measures against the truth: pass ", Argument("y"), ".")
    if y is None or "y" in (*spec.needs, *spec.takes):
        return
    if isinstance(y, str) and y in family_ids("importance"):
        raise OptionError(
            "the third argument of importance is y, the truth; name the method: ", Argument("method", y), "."
        )
    raise OptionError(
        Argument("method", method), " does not use y, the truth of each row; leave ", Argument("y"), " out."
    )
