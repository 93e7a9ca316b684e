"""Offsets of rows: a part of each prediction that is known without the model, added to its raw outputs before the link.

XGBoost calls it base margin, LightGBM initial score, CatBoost baseline, and statistics an offset: of counts the log of the exposure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np

from whybox.data.library_containers import rows_of_container
from whybox.data.series import is_missing
from whybox.data.table import Floats, Table, as_table
from whybox.errors import Argument, InputError, NonFiniteError, OptionError, UnsupportedModelError
from whybox.kernels.predict import mismatch_advice, rounding_scale
from whybox.methods.common.columns import Ints
from whybox.methods.common.columns_beside import separate_column
from whybox.models.agreement import call_own_predict, compare_predictions
from whybox.models.base import Model, OwnPredict, digest
from whybox.models.blackbox import BlackBox

__all__ = [
    "OFFSET_ROLE",
    "RowOffsets",
    "check_finite",
    "refuse_offset",
    "refuse_offset_of_texts",
    "resolve_offsets",
    "rows_and_offset",
    "rows_and_own_offset",
    "separate_offset",
]

OFFSET_ROLE: Final = "an offset"


@final
@dataclass(frozen=True, eq=False)
class RowOffsets:
    """The offsets of rows.

    Attributes:
        model: whose raw outputs they are added to. given: (n, outputs of the model).
        positions: (n,), where the rows stand among those that the caller gave, for messages; None: they are these.
    """

    model: Model
    given: Floats
    positions: Ints | None = None

    @property
    def name(self) -> str:
        """The library's word for it: ``"base_margin"``; ``"offset"`` where it has none."""
        return "offset" if self.model.offset_rule is None else self.model.offset_rule.name

    @property
    def replaced(self) -> Floats:
        """What of the model's base offsets take the place of, (outputs,)."""
        rule = self.model.offset_rule
        return np.zeros(self.given.shape[1]) if rule is None or rule.replaced is None else rule.replaced

    @property
    def added(self) -> Floats:
        """What is added to the model's raw outputs of each row in all, (n, outputs): the offset, less what it replaces."""
        return np.asarray(self.given - self.replaced)

    @property
    def is_compared(self) -> bool:
        """Whether a predict of the library takes offsets."""
        return self.model.offset_rule is not None and self.model.offset_rule.predict is not None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the offsets."""
        return digest(self.given)

    def rows_at(self, positions: Any) -> RowOffsets:
        """Return those of some of the rows."""
        return replace(self, given=self.given[positions], positions=self.positions_of(positions))

    def positions_of(self, rows: Any) -> Ints:
        """Return where some of the rows stand among those that the caller gave."""
        every = np.arange(len(self.given)) if self.positions is None else self.positions
        return np.asarray(every[rows], dtype=np.int64)

    def compare(self, table: Table, X: Floats, raw: Floats, start: int = 0) -> float:
        """Compare our raw outputs with offsets with the library's own predict, where that takes them; return the largest difference, 0 where it does not.

        Args:
            table: rows, aligned with the model. X: encoded. raw: our raw outputs of them without offsets. start: which of the offsets is that of the first.

        Raises:
            ModelMismatchError: they differ by more than rounding. InputError: the library refuses the rows.
        """
        rule = self.model.offset_rule
        if rule is None or rule.predict is None:
            return 0.0
        some, predict = self.rows_at(slice(start, start + len(raw))), rule.predict
        own = OwnPredict(lambda rows: predict(rows, some.given), "raw", rule.relative_rounding, rule.call_name, "")
        difference, _ = compare_predictions(
            self.model,
            raw + some.added,
            call_own_predict(own, table),
            scale="raw",
            relative=own.relative_rounding,
            rounding_scale=rounding_scale(self.model, X) + np.abs(some.given),
            what=lambda i: f"row {self.positions_of(start + i):,} with its offset",
            what_to_do=mismatch_advice(self.model, table),
        )
        return difference

    @property
    def groups(self) -> list[Ints]:
        """Positions of the rows of equal offsets, for each different offset."""
        _, which = np.unique(self.given, axis=0, return_inverse=True)
        which = which.reshape(-1)
        order, ends = np.argsort(which, kind="stable"), np.cumsum(np.bincount(which))
        return [np.asarray(part, dtype=np.int64) for part in np.split(order, ends[:-1])]

    @property
    def note(self) -> str:
        """What an explanation of rows with offsets says, for its evidence."""
        added = "Each row's offset is added to the model's raw outputs, before any link"
        if self.replaced.any():
            constant = ", ".join(f"{value:.6g}" for value in self.replaced)
            added += f"; as in the library, {self.name} takes the place of the base score ({constant})"
        if self.is_compared:
            rule = self.model.offset_rule
            return f"{added}. Every row was compared with {rule.call_name if rule else ''}."
        if self.model.own_predict is None:
            return f"{added}. The model was read from a file, so rows with offsets were not compared with its library."
        return f"{added}. No predict of the library takes offsets, so there is none to compare with."


def rows_and_offset(X: Any, offset: Any = None) -> tuple[Table, Any]:
    """Return rows as a table, and their offsets: where X is a DMatrix, Pool or Dataset that has some, those.

    Args:
        offset: as it was given.

    Raises:
        OptionError: both have. InputError: as of :func:`as_table`.
    """
    held = rows_of_container(X, "X")
    if held is None:
        return as_table(X), offset
    if held.offset is not None and offset is not None:
        raise OptionError(
            Argument("offset"),
            f" is given, and the {held.kind} has {held.offset_name} of its own. Give one of the two.",
        )
    return as_table(held.rows), offset if held.offset is None else held.offset


def rows_and_own_offset(model: Model, X: Any, offset: Any) -> tuple[Table, Any]:
    """Return rows as a table, and the offset of each, or None: of a model that is read already.

    Args:
        model: as it was read. X, offset: as they were given.

    Raises:
        OptionError, InputError: as :func:`rows_and_offset` and :func:`separate_offset`. UnsupportedModelError: as :func:`refuse_offset`.
    """
    rows, given = rows_and_offset(X, offset)
    if given is None:
        return rows, None
    refuse_offset(model)
    return separate_offset(rows, given, model)


def separate_offset(table: Table, offset: Any, model: Model | None = None) -> tuple[Table, Any]:
    """Return the rows, and the offsets: where `offset` names a column of them, that column, which is then no column of the rows.

    Raises:
        OptionError: no such column, or the model reads it. InputError: a pandas series of the rows' labels in another order.
    """
    return separate_column(table, offset, "offset", OFFSET_ROLE, model)


def check_finite(predictions: Floats, rows: Ints | None = None) -> None:
    """Refuse predictions of rows with offsets that are too large for a number.

    Args:
        predictions: (k, ...). rows: (k,), positions of the rows that they are of; None: not known.

    Raises:
        NonFiniteError: there are some.
    """
    bad = ~np.isfinite(predictions).reshape(len(predictions), -1).all(axis=1)
    if bad.any():
        raise NonFiniteError(
            Argument("offset"),
            " takes predictions beyond the largest number, the first in {row}. It is added before the link: of an exposure it is the log.",
            row=None if rows is None else int(rows[bad][0]),
        )


def refuse_offset(model: Model | None) -> None:
    """Refuse offsets for what has no raw outputs that an offset could be added to.

    Args:
        model: as it was read; None: it is evaluated and not read.

    Raises:
        UnsupportedModelError: there are none.
    """
    if model is None or isinstance(model, BlackBox):
        raise UnsupportedModelError(
            Argument("offset"),
            " is added to the raw outputs of a model that is read, before its link; this one is evaluated, and only predicts. Write the offset into the function: a function "
            "of rows whose column holds it, with that column in a ",
            Argument("background"),
            " too, and the offset is explained as a feature like others.",
        )
    if model.outputs.additive_probability:
        raise UnsupportedModelError(
            Argument("offset"),
            f" is added before a link, and {model.kind} has none: its trees give probabilities. Leave it out.",
        )


def refuse_offset_of_texts(offset: Any) -> None:
    """Refuse offsets of texts.

    Raises:
        OptionError: there are some.
    """
    if offset is not None:
        raise OptionError(
            Argument("offset"), " is of rows of a table, whose model is read; these are texts. Leave it out."
        )


def resolve_offsets(model: Model, offset: Any, rows: int) -> RowOffsets:
    """Return the offsets of rows.

    Args:
        model: as it was read. offset: one number a row, (rows,), or for each output, (rows, outputs), in any container. rows: how many there must be.

    Raises:
        UnsupportedModelError: as :func:`refuse_offset`. InputError: another shape, no numbers, or columns of the outputs' names in another order.
        NonFiniteError: missing or infinite values.
    """
    refuse_offset(model)
    numbers = _as_numbers(offset)
    if numbers.ndim == 0:
        raise OptionError(Argument("offset", offset), " must be a column of X, or hold one number for each row.")
    if numbers.ndim == 1:
        numbers = numbers[:, None]
    outputs = model.outputs.names
    if numbers.ndim != 2 or len(numbers) != rows:
        raise InputError(
            Argument("offset"), f" has the shape {np.shape(offset)} for {rows:,} rows; give one number for each."
        )
    if numbers.shape[1] != len(outputs):
        wanted = f"({rows}, {len(outputs)})" if len(outputs) > 1 else f"({rows},)"
        raise InputError(
            Argument("offset"),
            f" has {numbers.shape[1]} column{'s' * (numbers.shape[1] != 1)}, and the model has {len(outputs)} raw output{'s' * (len(outputs) != 1)} "
            f"({', '.join(map(str, outputs[:8]))}): give the shape {wanted}.",
        )
    _refuse_another_order(offset, outputs)
    if (bad := ~np.isfinite(numbers).all(axis=1)).any():
        count = int(bad.sum())
        raise NonFiniteError(
            Argument("offset"),
            f" is missing or infinite for {count:,} row{'s' * (count != 1)}, the first being {{row}}. Of an exposure the offset is its log, and an exposure of 0 has none; "
            "leave those rows out.",
            row=int(np.flatnonzero(bad)[0]),
        )
    return RowOffsets(model, np.ascontiguousarray(numbers))


def _refuse_another_order(offset: Any, outputs: tuple[str, ...]) -> None:
    """Refuse a frame whose columns are named as the outputs are, but in another order: values are taken by position."""
    labels = getattr(offset, "column_names", None)  # of Arrow; its columns are values
    labels = getattr(offset, "columns", None) if labels is None else labels
    if labels is None:
        return
    given, wanted = [str(label) for label in labels], [str(name) for name in outputs]
    if given != wanted and sorted(given) == sorted(wanted):
        raise InputError(
            Argument("offset"),
            f" has the model's raw outputs as columns in another order, and values are taken by position; give them in the order {', '.join(wanted)}.",
        )


def _as_numbers(offset: Any) -> Floats:
    if isinstance(offset, np.ndarray) and offset.dtype.kind in "fiu":
        numbers = offset.astype(np.float64)
        return numbers.filled(np.nan) if isinstance(numbers, np.ma.MaskedArray) else numbers
    cells = np.asarray(offset, dtype=object)
    numbers = np.empty(cells.shape)
    for at, cell in np.ndenumerate(cells):
        try:
            numbers[at] = np.nan if is_missing(cell) else float(cell)
        except (TypeError, ValueError):
            raise InputError(Argument("offset"), f" holds {cell!r}, which is no number.") from None
    return numbers
