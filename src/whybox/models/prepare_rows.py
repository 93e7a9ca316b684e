"""Prepare the user's rows for a model: columns in the model's order, categories in the type of training, remarks about both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, final

import numpy as np

from whybox.data.series import same_codes
from whybox.data.table import Column, Table, as_table, is_missing
from whybox.errors import Argument, ColumnsError, DtypeError, quoted_list
from whybox.models.base import Model
from whybox.models.categories import AMBIGUOUS_CELL, UnseenCategories, Vocabulary
from whybox.models.inputs import Inputs

__all__ = ["BY_POSITION_NOTE", "PreparedRows", "prepare_rows"]

BY_POSITION_NOTE: Final = "The model knows no column names; columns were taken by position."
_DEFAULT_NAME_PATTERNS: Final = ("{}", "x{}", "f{}", "Column_{}")  # names that libraries give to unnamed columns


@final
@dataclass(frozen=True)
class PreparedRows:
    """Rows that a model can evaluate.

    Attributes:
        table: aligned with the model, categories in the type of training.
        given_names: column names of the user's data; () for arrays.
        by_position: whether named columns were matched by position.
        unseen_categories: categories of the rows that training did not have, by column.
        category_lists: the data's own list of categories, for each column whose codes the model reads.
        notes: further remarks for the user.
    """

    table: Table
    given_names: tuple[str, ...] = ()
    by_position: bool = False
    unseen_categories: Mapping[str, UnseenCategories] = field(default_factory=dict)
    category_lists: Mapping[int, tuple[Any, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def remarks(self, where: str = "") -> tuple[str, ...]:
        """All remarks about these rows; `where` follows the number of rows (" of the background")."""
        return (
            *self.notes,
            *(u.describe(c, where=where) for c, u in self.unseen_categories.items()),
            *((BY_POSITION_NOTE,) if self.by_position else ()),
        )

    def unseen_as_data(self) -> dict[str, dict[str, Any]]:
        """The unseen categories as plain data for the evidence."""
        return {column: asdict(u) for column, u in self.unseen_categories.items()}

    def check_agreement(self, other: PreparedRows) -> None:
        """Check that rows and background agree in the order of columns and in category codes, where the model cannot check it.

        Raises:
            ColumnsError: the same columns in different orders. DtypeError: different codes for the same categories.
        """
        a, b = self.given_names, other.given_names
        if self.by_position and other.by_position and a != b and set(a) == set(b):
            raise ColumnsError(
                f"the model knows no column names, and the background has the same columns as the rows in another order ({quoted_list(b)}; the rows: {quoted_list(a)}). "
                "Put both in the order of training."
            )
        self.check_codes_agree(other.category_lists, "in the background")

    def check_codes_agree(self, lists: Mapping[int, tuple[Any, ...]], where: str) -> None:
        """Check that category codes agree with other lists of categories.

        Raises:
            DtypeError: they give different codes.
        """
        for i in self.category_lists.keys() & lists.keys():
            if not same_codes(self.category_lists[i], lists[i]):
                raise DtypeError(
                    f"column {self.table.names[i]!r}: the model stores no category names and reads the codes of the data's own list of categories, but that is "
                    f"{quoted_list(lists[i])} {where} and {quoted_list(self.category_lists[i])} in the rows. {_HOW_TO_GIVE_ONE_LIST}"
                )


_HOW_TO_GIVE_ONE_LIST: Final = (
    "Give the column one list of categories, that of training in its order (pandas.CategoricalDtype, polars.Enum), "
    "or pass the codes themselves as numbers."
)


def prepare_rows(model: Model, data: Any, *, what: str = "X") -> PreparedRows:
    """Prepare the user's rows for a model.

    Args:
        model: the model that will evaluate them.
        data: a table of any kind.
        what: what to call it in messages.

    Raises:
        ColumnsError: a column is missing, or columns matched by position are in another order than their names imply.
        DtypeError: a categorical column came as another type and its categories are ambiguous, or its codes are arbitrary.
        InputError, EmptyDataError: as :func:`whybox.data.table.as_table`.
    """
    given_table, inputs = as_table(data, what=what), model.inputs
    by_position = _taken_by_position(inputs, given_table, what)
    table, unused = inputs.align_table(given_table, what=what)
    notes = (
        [f"Columns that the model does not use were left out: {', '.join(unused[:20])}{' ...' * (len(unused) > 20)}."]
        if unused
        else []
    )
    unseen: dict[str, UnseenCategories] = {}
    lists: dict[int, tuple[Any, ...]] = {}
    for i, vocabulary in inputs.encoder.learned_categories(table).items():
        if not vocabulary.is_stored:
            lists.update(_category_list(table, i, what))
            continue
        column = table.column(i)
        counts = dict(_count_cells(column))
        table, remarks = _restore_training_type(table, column, counts, vocabulary, live=model.own_predict is not None)
        notes += remarks
        if remarks:
            counts = dict(_count_cells(table.column(i)))
        unseen_counts = vocabulary.count_unseen(counts)
        if unseen_counts:
            unseen[table.names[i]] = UnseenCategories.from_counts(unseen_counts, complete=vocabulary.is_complete)
    notes += [
        f"The model stores no category names for {table.names[i]!r}; its codes are those of the data's own list: {quoted_list(categories)}."
        for i, categories in lists.items()
    ]
    return PreparedRows(table, given_table.names if given_table.named else (), by_position, unseen, lists, tuple(notes))


def _taken_by_position(inputs: Inputs, table: Table, what: str) -> bool:
    """Whether named columns are matched by position, although their names do not confirm it.

    Raises:
        ColumnsError: their names imply another order.
    """
    if not table.named or inputs.by_name(table):
        return False
    for names in (inputs.pipeline_names, *_default_names(len(inputs.names))):
        if table.names == names:
            return False
        if names and set(table.names) == set(names):
            position = next(
                i
                for i, (given_name, known_name) in enumerate(zip(table.names, names, strict=True))
                if given_name != known_name
            )
            raise ColumnsError(
                "the model takes columns by position, but those of ",
                Argument(what),
                f" stand in another order than their names say: column {position} is {table.names[position]!r} where {names[position]!r} "
                f"belongs. Put them in that order: {quoted_list(names)}.",
            )
    return True


def _default_names(width: int) -> Iterator[tuple[str, ...]]:
    return (tuple(pattern.format(i) for i in range(width)) for pattern in _DEFAULT_NAME_PATTERNS)


def _category_list(table: Table, position: int, what: str) -> dict[int, tuple[Any, ...]]:
    """The list of categories whose codes the model will read; empty for columns of numbers, which are codes themselves.

    Raises:
        DtypeError: the codes are arbitrary.
    """
    if isinstance(table.native, np.ndarray):
        return {}
    column = table.column(position)
    if column.categories is None:
        return {}
    if column.name in table.arbitrary_codes:
        raise DtypeError(
            f"column {column.name!r} of ",
            Argument(what),
            ": the model stores no category names and reads the codes of the data's own list of categories, but this column has no list "
            f"that holds for all its rows (its codes count the categories as they were met: {quoted_list(column.categories)}). {_HOW_TO_GIVE_ONE_LIST}",
        )
    return {position: column.categories}


def _count_cells(column: Column) -> Iterator[tuple[Any, int]]:
    """Each distinct cell that is not missing, as a Python object, with its number of rows."""
    if column.categories is not None:
        counts = np.bincount(column.values[column.values >= 0], minlength=len(column.categories))
        yield from ((c, int(n)) for c, n in zip(column.categories, counts.tolist(), strict=True) if n)
        return
    if column.kind == "string":
        yield from ((c, n) for c, n in Counter(column.values.tolist()).items() if c is not None)
        return
    values = column.values if column.originals is None else column.originals
    if values.dtype.kind in "fiub":
        present = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        distinct, counts = np.unique(present, return_counts=True)
        cells = distinct.astype(bool) if column.kind == "boolean" else distinct
        yield from zip(cells.tolist(), counts.tolist(), strict=True)
        return
    if values.dtype.kind == "M":
        values = values.astype("datetime64[us]") if values.dtype.str[-3:] != "[D]" else values
    yield from _count_objects(values.tolist())


def _count_objects(cells: Sequence[Any]) -> Iterator[tuple[Any, int]]:
    counts: dict[Any, tuple[Any, int]] = {}
    for cell in cells:
        if not is_missing(cell):
            try:
                key = (type(cell), cell)
                counts[key] = (cell, counts.get(key, (cell, 0))[1] + 1)
            except TypeError:  # unhashable cells are no categories; the encoder refuses them
                continue
    yield from counts.values()


def _restore_training_type(
    table: Table, column: Column, counts: Mapping[Any, int], vocabulary: Vocabulary, *, live: bool
) -> tuple[Table, list[str]]:
    """Convert the cells of one column to the type of training, if their categories are certain.

    Raises:
        DtypeError: they are ambiguous, or a live model would read these cells as other categories.
    """
    resolved = {(type(v), v): m for v, m in zip(counts, vocabulary.resolve_cells(list(counts)), strict=True)}
    changed = [(v, m) for (_, v), m in resolved.items() if m is not v]
    if not changed:
        return table, []
    value, category = (
        changed[0]
        if all(m is not AMBIGUOUS_CELL for _, m in changed)
        else next(o for o in changed if o[1] is AMBIGUOUS_CELL)
    )
    problem = f"column {column.name!r} holds {value!r} ({_describe_type(value)}), but the categories of training are {_describe_training_type(vocabulary)}"
    if category is AMBIGUOUS_CELL:
        raise DtypeError(
            f"{problem}, and which of them was meant cannot be told from it. Read the column as it was read for training "
            f"(pandas: read_csv(dtype={{{column.name!r}: str}})).",
        )
    if live:
        raise DtypeError(
            f"{problem}: {category!r} was probably meant, but the model itself takes the cell for another category. Give the column the type it had in training"
            + (
                f", for example with astype({type(category).__name__})."
                if isinstance(category, (str, int, float))
                else "."
            )
        )
    is_text = isinstance(category, str)
    unresolved_text = next((v for (_, v), m in resolved.items() if m is v and isinstance(v, str)), None)
    if not is_text and unresolved_text is not None:
        raise DtypeError(
            f"column {column.name!r} holds {unresolved_text!r}, which is not a number, beside numbers written as text; the categories of training are "
            f"{_describe_training_type(vocabulary)}. Replace it by a missing value, or by a number that training did not have."
        )
    cells = [None if is_missing(v) else _training_value(v, resolved, text=is_text) for v in _cells_of(column)]
    remark = f"Column {column.name!r} came as {_describe_type(value)} and was read as the {_describe_training_type(vocabulary)} that training had."
    return table.with_column(table.names.index(column.name), cells), [remark]


def _cells_of(column: Column) -> list[Any]:
    if column.values.dtype.kind == "M":
        unit = "D" if column.values.dtype.str[-3:] == "[D]" else "us"
        return list(column.values.astype(f"datetime64[{unit}]").tolist())
    cells = (column.objects() if column.originals is None else column.originals).tolist()
    return [c if c is None else bool(c) for c in cells] if column.kind == "boolean" else list(cells)


def _training_value(value: Any, meant: Mapping[Any, Any], *, text: bool) -> Any:
    category = meant.get((type(value), value), value)
    if not text or isinstance(category, str):
        return category
    is_whole = isinstance(category, float) and category.is_integer()
    return str(int(category)) if is_whole else str(category)


def _describe_type(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "a boolean"
    if isinstance(value, (int, float, np.number)):
        return "a number"
    return "text" if isinstance(value, str) else f"a {type(value).__name__}"


def _describe_training_type(vocabulary: Vocabulary) -> str:
    examples = quoted_list(list(vocabulary.categories or ()), 3)
    return f"{'text' if vocabulary.is_text else 'numbers'}{f' ({examples})' if examples else ''}"
