"""Columns of the rows that say something about each row and are none of the model's: the truth, an offset."""

from __future__ import annotations

from typing import Any

from whybox.data.table import Table
from whybox.errors import Argument, InputError, OptionError, did_you_mean
from whybox.models.base import Model

__all__ = [
    "refuse_column_of_estimator",
    "refuse_column_of_model",
    "refuse_same_column",
    "separate_column",
    "without_column",
]


def separate_column(
    table: Table, values: Any, argument: str, role: str, model: Model | None = None
) -> tuple[Table, Any]:
    """Return the rows and the values: where these are the name of a column of the rows, that column, which is then no column of the rows.

    Args:
        values: as they were given. argument: what they were given as. role: what they cannot be if the model reads them: ``"the truth"``.
        model: where it is read already; it must not read that column.

    Raises:
        OptionError: no such column, or the model reads it. InputError: a pandas series of the rows' labels in another order.
    """
    if not isinstance(values, str):
        _refuse_another_order(table, values, argument)
        return table, values
    if model is not None:
        refuse_column_of_model(model, values, argument, role)
    if values not in table.names:
        raise OptionError(
            Argument(argument, values),
            f" is no column of the rows.{did_you_mean(values, table.names)} Give a column or the values.",
        )
    return without_column(table, values), table[values]


def _refuse_another_order(table: Table, values: Any, argument: str) -> None:
    """Refuse a series or frame whose labels are those of the rows, but in another order: values are taken by position."""
    index: Any = getattr(values, "index", None)
    if not table.is_pandas or not hasattr(index, "sort_values") or len(index) != len(table):
        return
    own = table.native.index
    if not index.equals(own) and index.nlevels == own.nlevels and index.isin(own).all() and own.isin(index).all():
        raise InputError(
            Argument(argument),
            f" has the row labels of X in another order, and values are taken by position; pass {argument}.loc[X.index], or {argument}.to_numpy() if they stand as "
            "the rows do.",
        )


def without_column(table: Table, name: str) -> Table:
    """Return a table without a column, if it has one of this name."""
    return table.select([i for i, other in enumerate(table.names) if other != name])


def refuse_column_of_model(model: Model, values: Any, argument: str, role: str) -> None:
    """Refuse a column that a model reads; arguments are those of :func:`separate_column`.

    Raises:
        OptionError: `values` names one.
    """
    if isinstance(values, str) and model.inputs.reads_column(values):
        raise _read_column(values, argument, role)


def refuse_column_of_estimator(model: Any, values: Any, argument: str, role: str) -> None:
    """Refuse a column that an estimator was trained on; arguments are those of :func:`separate_column`.

    Raises:
        OptionError: `values` names one.
    """
    if isinstance(values, str) and values in tuple(getattr(model, "feature_names_in_", ())):
        raise _read_column(values, argument, role)


def refuse_same_column(y: Any, offset: Any) -> None:
    """Refuse one column as both the truth and the offset; each may be given in any way.

    Raises:
        OptionError: both name the same one.
    """
    if isinstance(y, str) and isinstance(offset, str) and y == offset:
        raise OptionError(
            Argument("offset", offset), " is the column of ", Argument("y"), " too; give each a column of its own."
        )


def _read_column(name: str, argument: str, role: str) -> OptionError:
    return OptionError(Argument(argument, name), f" is a column that the model reads, so it cannot be {role}.")
