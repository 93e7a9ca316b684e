"""The model and the rows of a report: what is the truth, what names the rows, what groups them, and which are shown; all refused or settled before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.label_choice import matching_positions, output_position
from whybox.data.series import is_missing
from whybox.data.table import Table
from whybox.errors import Argument, InputError, OptionError, quoted_list
from whybox.explanation.html import number_text
from whybox.models.base import Model
from whybox.models.losses import class_labels, one_value_a_row
from whybox.models.readable import read_or_black_box
from whybox.reporting.options import ReportOptions

__all__ = ["AskedRows", "Grouping", "make_grouping", "settle_rows"]

MAX_GROUPS: Final = 8  # with a line each
QUARTERS: Final = (0.25, 0.5, 0.75)
DIGITS_OF_FLOAT: Final = 17  # which tell any two apart


@final
@dataclass(frozen=True)
class Grouping:
    """Groups of rows by the values of one column.

    Attributes:
        name: of the column. labels: (groups,) in words. group: (rows,) positions among the labels.
    """

    name: str
    labels: tuple[str, ...]
    group: npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class AskedRows:
    """The rows of a report.

    Attributes:
        model: read, or a black box. table: the rows, with their ids as labels where there are ids.
        truth: one value a row, or None; truth_name: of its column. ids_name: what the ids are called; None: rows are counted from 0, or have an index.
        chosen: positions of the rows that are to be shown; None: typical and extreme ones. groupings: one for each column of ``by``.
        positive: position of the class that a threshold is about; None: there is none.
    """

    model: Model
    table: Table
    truth: npt.NDArray[Any] | None = None
    truth_name: str | None = None
    ids_name: str | None = None
    chosen: npt.NDArray[np.int64] | None = None
    groupings: tuple[Grouping, ...] = ()
    positive: int | None = None


def settle_rows(model: Any, table: Table, y: Any, options: ReportOptions, scale: Any) -> AskedRows:
    """Take truth, ids and groups out of the rows, and read the model.

    Args:
        model, y, scale: as for ``whybox.report``. table: the rows as they came.

    Raises:
        OptionError: a column or row that is not there, a threshold or class that does not go with the model. InputError: values that do not fit the rows.
        Others as the model is read.
    """
    truth, truth_name = _named_values("y", table, y)
    ids, ids_name = _named_values("ids", table, options.ids)
    groupings = _groupings(table, options.by)
    chosen = None if options.rows is None else _chosen_positions(options.rows, ids, ids_name, len(table))
    apart = [name for name in (y, options.ids) if isinstance(name, str)]
    adapted, rows = _model_and_rows(model, table, apart, _column_names(table, options.by), scale)
    if ids is not None:
        rows = replace(rows, labels=ids, index=None)
    return AskedRows(
        adapted, rows, truth, truth_name, ids_name, chosen, groupings, _positive_class(adapted, options)
    )  # fmt: skip


def _named_values(argument: str, table: Table, given: Any) -> tuple[npt.NDArray[Any] | None, str | None]:
    """The values of a column, or one a row as they are given; and their name."""
    if given is None:
        return None, None
    if isinstance(given, str):
        return _column(argument, table, given).objects(), given
    name = getattr(given, "name", None)
    values = np.asarray(given, dtype=object) if argument != "y" else one_value_a_row(given, len(table))
    if values.shape != (len(table),):
        raise InputError(Argument(argument), f" must be a column of the rows, or one value for each of the {len(table):,} rows.")  # fmt: skip
    return values, None if name is None else str(name)


def _column(argument: str, table: Table, name: str) -> Any:
    if name not in table.names:
        raise OptionError(Argument(argument, name), " is not a column of the rows.", known=table.names)
    return table.column(table.names.index(name))


def _column_names(table: Table, by: Any) -> list[str]:
    """The columns that are named; none where values are given."""
    if isinstance(by, str):
        return [by]
    names = list(by) if isinstance(by, (list, tuple)) and all(isinstance(name, str) for name in by) else []
    are_values = len(names) == len(table) and not set(names) <= set(table.names)
    return [] if are_values else names


def _groupings(table: Table, by: Any) -> tuple[Grouping, ...]:
    if by is None:
        return ()
    names = _column_names(table, by)
    if names:
        columns = [(name, _column("by", table, name)) for name in names]
        return tuple(make_grouping(name, c.objects(), numbers=c.kind == "number") for name, c in columns)
    values, name = _named_values("by", table, by)
    assert values is not None  # noqa: S101  # by is given
    return (make_grouping(name or "group", values, numbers=np.asarray(by).dtype.kind in "iuf"),)


def make_grouping(name: str, values: Sequence[Any] | npt.NDArray[Any], *, numbers: bool) -> Grouping:
    """Return groups of rows: by each value; of many numbers by quarters of the rows, of many other values the commonest and all others together.

    Args:
        name: of the values. values: one a row. numbers: whether they have an order to cut by.
    """
    in_order = sorted({v for v in values if _is_number(v)})
    if numbers and len(in_order) > MAX_GROUPS:
        return _quarters(name, np.array([np.nan if is_missing(v) else float(v) for v in values]))
    text_of = dict(zip(in_order, _texts_apart(in_order, 6), strict=True))
    texts = np.array([text_of[v] if _is_number(v) else _as_text(v) for v in values], dtype=object)
    found, counts = np.unique(texts, return_counts=True)
    if len(found) > MAX_GROUPS:
        kept = set(found[np.argsort(-counts, kind="stable")[: MAX_GROUPS - 1]].tolist())
        others = f"{len(found) - len(kept):,} others"
        texts = np.array([t if t in kept else others for t in texts], dtype=object)
        labels = [*sorted(kept), others]
    else:
        labels = [*text_of.values(), *(t for t in found if t == "missing")] if numbers else sorted(found.tolist())
    place = {label: i for i, label in enumerate(labels)}
    return Grouping(name, tuple(labels), np.array([place[t] for t in texts], dtype=np.int64))


def _quarters(name: str, x: npt.NDArray[np.float64]) -> Grouping:
    """Groups of about a quarter of the rows each, by their numbers; missing ones apart."""
    missing = np.isnan(x)
    cuts = np.unique(np.quantile(x[~missing], QUARTERS))
    group = np.where(missing, len(cuts) + 1, np.searchsorted(cuts, x, side="left"))
    words = _texts_apart(cuts.tolist(), 3)
    labels = [f"up to {words[0]}", *(f"{a} to {b}" for a, b in pairwise(words)), f"above {words[-1]}"]  # fmt: skip
    used, group = np.unique(group, return_inverse=True)
    return Grouping(name, tuple([*labels, "missing"][i] for i in used), group.astype(np.int64))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and not is_missing(value)


def _texts_apart(numbers: Sequence[Any], fewest: int) -> list[str]:
    """Different numbers in words, with so many digits or as many more as tell them apart."""
    tries = ([number_text(float(v), digits) for v in numbers] for digits in range(fewest, DIGITS_OF_FLOAT + 1))
    return next((texts for texts in tries if len(set(texts)) == len(numbers)), [str(v) for v in numbers])


def _as_text(value: Any) -> str:
    if is_missing(value):
        return "missing"
    return str(value).lower() if isinstance(value, (bool, np.bool_)) else str(value)


def _chosen_positions(
    rows: Sequence[Any], ids: npt.NDArray[Any] | None, ids_name: str | None, count: int
) -> npt.NDArray[np.int64]:
    """Positions of the rows that are named by ids, or else by positions counted from 0."""
    if ids is None:
        for row in rows:
            if not isinstance(row, (int, np.integer)):
                raise OptionError(
                    Argument("rows", row), " is no position counted from 0; ", Argument("ids", example=""), " names a column by whose values rows are chosen."
                )  # fmt: skip
            if not 0 <= row < count:
                raise OptionError(Argument("rows", row), f": there is no such row; they are counted from 0 to {count - 1:,}.")  # fmt: skip
        return np.array(rows, dtype=np.int64)
    found = []
    for row in rows:
        at = matching_positions(row, ids.tolist())
        if len(at) != 1:
            what = "is no id" if not at else f"is the id of {len(at):,} rows"
            where = "" if ids_name is None else f" in the column {ids_name!r}"
            raise OptionError(Argument("rows", row), f" {what}{where}; the first ids are {quoted_list(list(ids[:3]))}.")
        found += at
    return np.array(found, dtype=np.int64)


def _model_and_rows(
    model: Any, table: Table, apart: Sequence[str], by: Sequence[str], scale: Any
) -> tuple[Model, Table]:
    """The model as it is read, or else as a black box; and its rows, without columns that only say something about them, unless the model knows those."""
    learned = getattr(model, "feature_names_in_", ())
    unread = {n for n in apart if n not in learned} | {n for n in by if len(learned) and n not in learned}
    adapted = read_or_black_box(model, _without(table, unread), scale=scale)
    inputs = adapted.inputs
    extra = table.width - len(unread) > len(inputs.names)
    unread = {n for n in apart if not inputs.reads_column(n)}
    unread |= {n for n in by if not inputs.reads_column(n) and (inputs.has_names or extra)}
    return adapted, _without(table, unread)


def _without(table: Table, names: set[str]) -> Table:
    return table.select([i for i, name in enumerate(table.names) if name not in names]) if names else table


def _positive_class(model: Model, options: ReportOptions) -> int | None:
    """The position of the class that a threshold is about, among the model's classes."""
    classes = class_labels(model.outputs)
    asked = "threshold" if options.threshold is not None else "positive" if options.positive is not None else None
    if classes is None:
        if asked is not None:
            raise OptionError(
                Argument(asked, getattr(options, asked)), f" is about the probability of a class, and this model predicts {model.outputs.response_words}."
            )  # fmt: skip
        return None
    if options.positive is not None:
        at = output_position("positive", options.positive, classes)
        if at is None:
            raise OptionError(Argument("positive", options.positive), " is none of the model's classes.", known=classes)
        return at
    if len(classes) == 2:
        return 1
    if options.threshold is not None:
        raise OptionError(
            Argument("threshold", options.threshold), f" is about one of the {len(classes)} classes; name it: ", Argument("positive", classes[0]), "."
        )  # fmt: skip
    return None
