"""The problem of importance by a loss: a model, rows with their truth and weights, players, and the loss of each row; all checked before any work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats, Table, as_table
from whybox.errors import Argument, InputError, OptionError
from whybox.methods.common.columns import Ints
from whybox.methods.common.row_losses import (
    RowLosses,
    check_loss_scale,
    choose_loss,
    resolve_for_loss,
    separate_truth,
)
from whybox.methods.common.rows import rows_of_positive_weight
from whybox.methods.importance.options import ImportanceOptions
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.importance.rows_problem import RowsProblem, check_several_rows, rows_with_offsets
from whybox.models.losses import Loss, one_value_a_row

__all__ = [
    "LossProblem",
    "drop_weightless",
    "read_train",
    "resolve_loss_problem",
    "training_rows",
]


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class LossProblem(RowsProblem):
    """Rows, their truth, and what a model loses on them.

    Attributes:
        truth: (rows,) numbers, or positions of the true classes. loss: of each row.
        labels: of the classes, in the order of probabilities; None: the model predicts numbers.
    """

    truth: Floats | Ints
    loss: Loss
    labels: tuple[str, ...] | None

    @property
    def _row_losses(self) -> RowLosses:
        return RowLosses(self.model, self.loss, self.labels)

    @property
    def units(self) -> str:
        """Units of an increase of the loss, in words: which loss, and what it is measured in."""
        return self._row_losses.units

    @property
    def measure(self) -> dict[str, str]:
        """What is compared, for the settings of the evidence."""
        return {"loss": self.loss.name}

    def losses(self, outputs: Floats, rows: Ints | None = None) -> Floats:
        """Return the loss of each of some rows, (rows,).

        Args:
            outputs: (rows, outputs) as :attr:`evaluated`. rows: which rows they are of; None: all of them, in order.

        Raises:
            InputError, OptionError: the loss is not defined for the truth or the predictions, or gives no finite number of a row.
            NonFiniteError: as :meth:`predictions`.
        """
        return self.losses_of_predictions(self.predictions(outputs, rows), rows)

    def losses_of_predictions(self, predictions: Floats, rows: Ints | None = None) -> Floats:
        """Return :meth:`losses` of predictions that are known, (rows, outputs) of the selection."""
        return self._row_losses(self.truth if rows is None else self.truth[rows], predictions)


def drop_weightless(rows: Table, y: Any, options: ImportanceOptions) -> tuple[Table, Any, ImportanceOptions]:
    """Return the rows of some weight, their truth, and the options with their weights and offsets.

    Raises:
        InputError: weights that are none, or a truth of another length.
    """
    count = len(rows)
    rows, weights, kept = rows_of_positive_weight(rows, options.sample_weight)
    if len(kept) == count:
        return rows, y, options
    values = one_value_a_row(y, count)
    offset = None if options.offset is None else options.offset.rows_at(kept)
    kept_options = replace(options, sample_weight=weights, offset=offset)
    return rows, y.iloc[kept] if hasattr(y, "iloc") else values[kept], kept_options


def read_train(problem: ImportanceProblem) -> ImportanceProblem:
    """Return the problem with the rows of ``train`` as a table: this refuses before any work what cannot be, and a reader gives its rows once.

    Raises:
        OptionError: there are none and the method needs them, or no pair. InputError: rows that are no table, or a truth of another length.
    """
    if problem.options.train is None:
        if "train" in problem.spec.needs:
            raise _no_training_rows(problem.options.method)
        return problem
    X, y = problem.train_rows
    rows = as_table(X, what="the rows of train")
    if not isinstance(y, str) and hasattr(y, "__len__") and len(y) != len(rows):
        raise InputError(Argument("train"), f" has {len(rows):,} rows and another number of truths, {len(y):,}.")
    return replace(problem, options=replace(problem.options, train=(rows, y)))


def _no_training_rows(method: str) -> OptionError:
    return OptionError(
        Argument("method", method), " needs the rows of training: pass the rows and the truth of training, ", Argument("train", example="(X, y)"), "."
    )  # fmt: skip


def training_rows(problem: ImportanceProblem) -> tuple[Table, npt.NDArray[Any]]:
    """Return the rows of ``train``, and their truth as an array.

    Raises:
        OptionError: there are none, or not two things. InputError: a truth of another length.
    """
    if problem.options.train is None:
        raise _no_training_rows(problem.options.method)
    rows, truth = separate_truth(*problem.train_rows)
    values = np.asarray(truth)
    if values.ndim == 0 or len(values) != len(rows):
        raise InputError(Argument("train"), f" has {len(rows):,} rows and another number of truths.")
    return rows, values


def resolve_loss_problem(problem: ImportanceProblem, *, check: bool = True) -> LossProblem:
    """Read the model, align the rows, match the truth with the model's outputs, and choose the loss.

    Args:
        problem: as the caller gave it. check: False where the model's own predict is not compared yet: there is only a plan to make, or it comes later.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    options = problem.options
    rows, y = separate_truth(problem.X, problem.y)
    check_loss_scale(options.scale)
    rows, y, options = drop_weightless(rows, y, options)
    resolved, labels = resolve_for_loss(problem.model, rows, options)
    table = resolved.rows.table
    check_several_rows(resolved)
    loss = choose_loss(options.loss, resolved.model.outputs, labels)
    truth = RowLosses(resolved.model, loss, labels).truth_of(y, len(table))
    compared = rows_with_offsets(resolved, options, check=check, known=problem.agreement)
    return LossProblem(**compared, options=options, spec=problem.spec, truth=truth, loss=loss, labels=labels)
