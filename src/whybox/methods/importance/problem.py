"""The problem of importance: a model and whatever the method needs, checked before any work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from whybox.data.table import Floats, as_table
from whybox.errors import Argument, OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.common.rows import rows_of_positive_weight, weighted_rows
from whybox.methods.importance.options import ImportanceOptions
from whybox.methods.method_spec import MethodSpec
from whybox.methods.registry import family_ids, find

__all__ = ["ImportanceProblem", "check_truth"]


@final
@dataclass(frozen=True, eq=False)
class ImportanceProblem:
    """A model and what importance may need, as the caller gave it.

    Attributes:
        model: any supported model. X: rows, or None. y: the truth, or None.
        options: all of them, of the method's own dataclass.
        explain: explains rows, (model, rows, **options) -> attributions; plan_explain: plans that. effects, plan_effects: the same of curves,
            (model, rows, features, kind, **options). They are handed in, so that importance imports no other method.
    """

    model: Any
    X: Any
    y: Any
    options: ImportanceOptions
    explain: Callable[..., Any]
    plan_explain: Callable[..., Any]
    effects: Callable[..., Any]
    plan_effects: Callable[..., Any]

    @property
    def players(self) -> Any:
        """Named groups of columns, or None."""
        return self.options.players

    @property
    def spec(self) -> MethodSpec:
        """The method in the registry of methods."""
        return find("importance", self.options.method)

    def given_options(self, *names: str) -> dict[str, Any]:
        """Return those of some options that the caller gave."""
        given = self.options.given()
        return {name: getattr(self.options, name) for name in names if name in given}

    @property
    def _attribution_options(self) -> dict[str, Any]:
        """Those options of an explanation that the caller gave."""
        return self.given_options(
            "background", "output", "scale", "players", "background_weight", "n_jobs", "spot_checks"
        )

    @property
    def train_rows(self) -> tuple[Any, Any]:
        """The rows and the truth of ``train``.

        Raises:
            OptionError: it is not two things.
        """
        train = self.options.train
        if not isinstance(train, (tuple, list)) or len(train) != 2:
            raise OptionError(Argument("train"), " takes two things, (rows, truth).")
        return train[0], train[1]

    def explain_rows(self) -> Explanation:
        """Explain the rows that have some weight.

        Raises:
            WhyboxError: as :meth:`explain_weighted_rows`.
        """
        return self.explain_weighted_rows()[0]

    def explain_weighted_rows(self) -> tuple[Explanation, Floats]:
        """Explain the rows that have some weight, and return their weights too, which sum to one.

        Raises:
            OptionError: there are no rows, or options that do not go together. InputError: weights that are none. Others as for ``whybox.explain``.
        """
        if self.X is None:
            raise OptionError(Argument("method", self.options.method), " averages over rows: pass ", Argument("X"), ".")
        table, weights, _ = rows_of_positive_weight(as_table(self.X), self.options.sample_weight)
        explanation: Explanation = self.explain(self.model, table, **self._attribution_options)
        return explanation, weighted_rows(table, weights).weights

    def plan_rows(self) -> Any:
        """Plan :meth:`explain_rows`; the rows may be a number of rows.

        Raises:
            OptionError: there are no rows, or options that do not go together.
        """
        if self.X is None:
            raise OptionError(
                Argument("method", self.options.method),
                " averages over rows: pass ",
                Argument("X"),
                ", or how many rows.",
            )
        return self.plan_explain(self.model, self.X, **self._attribution_options)


def check_truth(y: Any, method: str) -> None:
    """Refuse a truth where the method does not use it, none where it needs one, or a method in its place.

    Raises:
        OptionError: any of these.
    """
    if isinstance(y, str) and y in family_ids("importance"):
        raise OptionError(
            "the third argument of importance is y, the truth; name the method: ", Argument("method", y), "."
        )
    spec = find("importance", method)
    if y is None and "y" in spec.needs:
        raise OptionError(Argument("method", method), " measures against the truth: pass ", Argument("y"), ".")
    if y is not None and "y" not in (*spec.needs, *spec.takes):
        raise OptionError(
            Argument("method", method), " does not use y, the truth of each row; leave ", Argument("y"), " out."
        )
