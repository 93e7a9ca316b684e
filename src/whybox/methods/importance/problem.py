"""The problem of importance: a model and whatever the method needs, checked before any work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, final

import numpy.typing as npt

from whybox.data.table import Floats, as_table
from whybox.errors import Argument, OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.common.row_offsets import RowOffsets
from whybox.methods.common.rows import rows_of_positive_weight, weighted_rows
from whybox.methods.importance.dependence_groups import dependence_groups
from whybox.methods.importance.options import AUTO, ImportanceOptions
from whybox.methods.method_spec import MethodSpec
from whybox.methods.registry import family_ids, find
from whybox.models.prepare_rows import prepare_rows
from whybox.models.readable import read_or_black_box

__all__ = ["ImportanceProblem", "check_truth"]

Extras = dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]


@final
@dataclass(frozen=True, eq=False)
class ImportanceProblem:
    """A model and what importance may need, as the caller gave it.

    Attributes:
        model: any supported model. X: rows, or None. y: the truth, or None.
        options: all of them, of the method's own dataclass; offsets are :class:`RowOffsets`.
        explain: explains rows, (model, rows, **options) -> attributions; plan_explain: plans that. effects, plan_effects: the same of curves,
            (model, rows, features, kind, **options). They are handed in, so that importance imports no other method.
        train_offset: of each row of ``train``, where rows have offsets.
        agreement: how far our reading is from the model's own predict at most, where these rows were compared before: they are not compared again. None: they were not.
    """

    model: Any
    X: Any
    y: Any
    options: ImportanceOptions
    explain: Callable[..., Any]
    plan_explain: Callable[..., Any]
    effects: Callable[..., Any]
    plan_effects: Callable[..., Any]
    train_offset: RowOffsets | None = None
    agreement: float | None = None

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
    def attribution_options(self) -> dict[str, Any]:
        """Those options of the explanation of the rows that the caller gave."""
        return self.given_options(
            "background",
            "output",
            "scale",
            "players",
            "background_weight",
            "response_method",
            "tol",
            "max_evals",
            "seed",
            "n_jobs",
            "spot_checks",
        )

    def offset_option(self, rows: Any = slice(None)) -> dict[str, Any]:
        """Return the offsets of some rows, as an option of what explains them or draws their curves; nothing where there are none."""
        offset = self.options.offset
        return {} if offset is None else {"offset": offset.given[rows]}

    @property
    def train_rows(self) -> tuple[Any, Any]:
        """The rows and the truth of ``train``.

        Raises:
            OptionError: it is not two things.
        """
        train = self.options.train
        if not isinstance(train, (tuple, list)) or len(train) != 2:
            raise OptionError(Argument("train"), " must be a pair: ", Argument("train", example="(rows, truth)"), ".")
        return train[0], train[1]

    def check_rows_given(self, end: str = ".") -> None:
        """Refuse a call without rows; `end` of the message.

        Raises:
            OptionError: there are none.
        """
        if self.X is None:
            raise OptionError(Argument("method", self.options.method), " averages over rows: pass ", Argument("X"), end)

    def with_groups(self) -> tuple[ImportanceProblem, Extras]:
        """Return the problem with the groups that ``players="auto"`` finds in its rows, and the extras that show them; else itself.

        Raises:
            OptionError: there are no rows. Others as for ``whybox.explain``.
        """
        if not (isinstance(self.players, str) and self.players == AUTO):
            return self, {}
        if self.X is None or isinstance(self.X, Integral):
            raise OptionError(
                Argument("players", AUTO),
                " looks for columns that depend on each other: pass rows, ",
                Argument("X"),
                ".",
            )
        rows = as_table(self.X)
        model = read_or_black_box(self.model, rows)
        table = prepare_rows(model, rows).table
        groups, linkage = dependence_groups(weighted_rows(table, None), model.inputs.group_columns())
        grouped = replace(self, model=model, options=replace(self.options, players=groups or None))
        return grouped, {"linkage": (("join", "column"), linkage)}

    def explain_rows(self) -> Explanation:
        """Explain the rows that have some weight; where groups of columns were found in them, ``linkage`` is in the extras.

        Raises:
            WhyboxError: as :meth:`explain_weighted_rows`.
        """
        return self.explain_weighted_rows()[0]

    def explain_weighted_rows(self) -> tuple[Explanation, Floats]:
        """Explain the rows that have some weight, and return their weights too, which sum to one.

        Raises:
            OptionError: there are no rows, or options that do not go together. InputError: weights that are none. Others as for ``whybox.explain``.
        """
        self.check_rows_given()
        table, weights, kept = rows_of_positive_weight(as_table(self.X), self.options.sample_weight)
        grouped, extras = replace(self, X=table).with_groups()
        options = grouped.attribution_options | self.offset_option(kept)
        explanation: Explanation = self.explain(grouped.model, table, **options)
        found = replace(explanation, extras={**explanation.extras, **extras})
        return found, weighted_rows(table, weights).weights

    def plan_rows(self) -> Any:
        """Plan :meth:`explain_rows`; the rows may be a number of rows.

        Raises:
            OptionError: there are no rows, or options that do not go together.
        """
        self.check_rows_given(", or how many rows.")
        grouped, _ = self.with_groups()
        return self.plan_explain(grouped.model, self.X, **grouped.attribution_options, **self.offset_option())


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
