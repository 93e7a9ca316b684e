"""The user's rows as a model takes them: columns in the model's order, categories in the type of training, and what is to be said about both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, final

import numpy as np

from whybox.data.series import same_codes
from whybox.data.table import Column, Table, as_table, is_missing
from whybox.errors import ColumnsError, DtypeError, shown
from whybox.models.base import Model
from whybox.models.categories import UNCERTAIN, Unseen, Vocabulary
from whybox.models.inputs import Inputs

__all__ = ["BY_POSITION", "Received", "receive"]

BY_POSITION: Final = "The model knows no column names; columns were taken by position."
_NUMBERED: Final = ("{}", "x{}", "f{}", "Column_{}")  # how libraries call columns that were given no names


@final
@dataclass(frozen=True)
class Received:
    """Rows that a model can be given.

    Attributes:
        table: aligned, its categories of the type of training.
        given: the names of the columns as they were given; () for arrays.
        by_position: whether columns that have names were taken by position.
        unseen: what the rows hold of categories that training did not have, column by column.
        lists: the data's own list of categories of each column of which the model reads the codes.
        notes: what else the user should know.
    """

    table: Table
    given: tuple[str, ...] = ()
    by_position: bool = False
    unseen: Mapping[str, Unseen] = field(default_factory=dict)
    lists: Mapping[int, tuple[Any, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def about(self, where: str = "") -> tuple[str, ...]:
        """Everything that is to be said about these rows; `where` follows the number of rows (" of the background")."""
        return (
            *self.notes,
            *(u.note(c, where=where) for c, u in self.unseen.items()),
            *((BY_POSITION,) if self.by_position else ()),
        )

    def unseen_as_data(self) -> dict[str, dict[str, Any]]:
        """What is unseen, as plain data for the evidence."""
        return {column: asdict(u) for column, u in self.unseen.items()}

    def agree(self, other: Received) -> None:
        """Check that rows and a background mean the same by a position and by a code, where the model itself cannot tell.

        Raises:
            ColumnsError: they have the same columns in different orders. DtypeError: their lists of categories give different codes.
        """
        a, b = self.given, other.given
        if self.by_position and other.by_position and a != b and set(a) == set(b):
            raise ColumnsError(
                f"the model knows no column names, and the background has the same columns as the rows in another order ({shown(b)}; the rows: {shown(a)}). "
                "Put both in the order of training."
            )
        self.agree_on_codes(other.lists, "in the background")

    def agree_on_codes(self, lists: Mapping[int, tuple[Any, ...]], where: str) -> None:
        """Check that codes mean the same here as by other lists of categories.

        Raises:
            DtypeError: they give other codes.
        """
        for i in self.lists.keys() & lists.keys():
            if not same_codes(self.lists[i], lists[i]):
                raise DtypeError(
                    f"column {self.table.names[i]!r}: the model stores no category names and reads the codes of the data's own list of categories, but that is "
                    f"{shown(lists[i])} {where} and {shown(self.lists[i])} in the rows. {_GIVE_ONE_LIST}"
                )


_GIVE_ONE_LIST: Final = "Give the column one list of categories, that of training in its order (pandas.CategoricalDtype, polars.Enum), or pass the codes themselves as numbers."


def receive(model: Model, data: Any, *, what: str = "X") -> Received:
    """Bring the user's rows to a model.

    Args:
        model: whose inputs they are.
        data: a table of any kind.
        what: what to call it in messages.

    Raises:
        ColumnsError: a column is missing, or columns that are only known by position stand in another order than their names say.
        DtypeError: a column of categories came as another type, and what was meant is not certain; or codes of categories cannot be known.
        InputError, EmptyDataError: as :func:`whybox.data.table.as_table`.
    """
    given, inputs = as_table(data, what=what), model.inputs
    by_position = _by_position(inputs, given, what)
    table, unused = inputs.align(given, what=what)
    notes = (
        [f"Columns that the model does not use were left out: {', '.join(unused[:20])}{' ...' * (len(unused) > 20)}."]
        if unused
        else []
    )
    unseen: dict[str, Unseen] = {}
    lists: dict[int, tuple[Any, ...]] = {}
    for i, vocabulary in inputs.encoder.learnt(table).items():
        if not vocabulary.stored:
            lists.update(_own_list(table, i, what))
            continue
        column = table.column(i)
        counts = dict(_counted(column))
        table, said = _meant(table, column, counts, vocabulary, live=model.own is not None)
        notes += said
        if said:
            counts = dict(_counted(table.column(i)))
        strange = vocabulary.unseen(counts)
        if strange:
            unseen[table.names[i]] = Unseen.of(strange, complete=vocabulary.complete)
    notes += [
        f"The model stores no category names for {table.names[i]!r}; its codes are those of the data's own list: {shown(words)}."
        for i, words in lists.items()
    ]
    return Received(table, given.names if given.named else (), by_position, unseen, lists, tuple(notes))


def _by_position(inputs: Inputs, table: Table, what: str) -> bool:
    """Whether named columns are taken by position without their names saying the same.

    Raises:
        ColumnsError: their names say another order.
    """
    if not table.named or inputs.by_name(table):
        return False
    for names in (inputs.remembered, *_numbered(len(inputs.names))):
        if table.names == names:
            return False
        if names and set(table.names) == set(names):
            place = next(i for i, (a, b) in enumerate(zip(table.names, names, strict=True)) if a != b)
            raise ColumnsError(
                f"the model takes columns by position, but those of {what} stand in another order than their names say: column {place} is "
                f"{table.names[place]!r} where {names[place]!r} belongs. Put them in that order: {shown(names)}."
            )
    return True


def _numbered(width: int) -> Iterator[tuple[str, ...]]:
    return (tuple(style.format(i) for i in range(width)) for style in _NUMBERED)


def _own_list(table: Table, position: int, what: str) -> dict[int, tuple[Any, ...]]:
    """The list of categories whose codes the model will read; none for columns of numbers, which are the codes.

    Raises:
        DtypeError: nobody chose the codes.
    """
    if isinstance(table.native, np.ndarray):
        return {}
    column = table.column(position)
    if column.categories is None:
        return {}
    if column.name in table.arbitrary_codes:
        raise DtypeError(
            f"column {column.name!r} of {what}: the model stores no category names and reads the codes of the data's own list of categories, but this column has "
            f"no list that holds for all its rows (its codes count the categories as they were met: {shown(column.categories)}). {_GIVE_ONE_LIST}"
        )
    return {position: column.categories}


def _counted(column: Column) -> Iterator[tuple[Any, int]]:
    """Each different cell that is not missing, as a Python object, with the number of its rows."""
    if column.categories is not None:
        counts = np.bincount(column.values[column.values >= 0], minlength=len(column.categories))
        yield from ((c, int(n)) for c, n in zip(column.categories, counts.tolist(), strict=True) if n)
        return
    if column.kind == "string":
        yield from ((c, n) for c, n in Counter(column.values.tolist()).items() if c is not None)
        return
    values = column.values if column.originals is None else column.originals
    if values.dtype.kind in "fiub":
        known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        found, counts = np.unique(known, return_counts=True)
        cells = found.astype(bool) if column.kind == "boolean" else found
        yield from zip(cells.tolist(), counts.tolist(), strict=True)
        return
    if values.dtype.kind == "M":
        values = values.astype("datetime64[us]") if values.dtype.str[-3:] != "[D]" else values
    yield from _tally(values.tolist())


def _tally(cells: Sequence[Any]) -> Iterator[tuple[Any, int]]:
    counts: dict[Any, tuple[Any, int]] = {}
    for cell in cells:
        if not is_missing(cell):
            try:
                key = (type(cell), cell)
                counts[key] = (cell, counts.get(key, (cell, 0))[1] + 1)
            except TypeError:  # lists and the like are no categories; the encoder says so
                continue
    yield from counts.values()


def _meant(
    table: Table, column: Column, counts: Mapping[Any, int], vocabulary: Vocabulary, *, live: bool
) -> tuple[Table, list[str]]:
    """Give the cells of one column the type that training had, where what was meant is certain.

    Raises:
        DtypeError: it is not; or a live model would itself take these cells for other categories.
    """
    meant = {(type(v), v): m for v, m in zip(counts, vocabulary.meant(list(counts)), strict=True)}
    other = [(v, m) for (_, v), m in meant.items() if m is not v]
    if not other:
        return table, []
    value, word = other[0] if all(m is not UNCERTAIN for _, m in other) else next(o for o in other if o[1] is UNCERTAIN)
    came = f"column {column.name!r} holds {value!r} ({_type(value)}), but the categories of training are {_type_of(vocabulary)}"
    if word is UNCERTAIN:
        raise DtypeError(
            f"{came}, and which of them was meant cannot be told from it. Read the column as it was read for training "
            f"(pandas: dtype={{{column.name!r}: str}})."
        )
    if live:
        raise DtypeError(
            f"{came}: {word!r} was probably meant, but the model itself takes the cell for another category. Give the column the type it had in training"
            + (f", for example with astype({type(word).__name__})." if isinstance(word, (str, int, float)) else ".")
        )
    text = isinstance(word, str)
    stray = next((v for (_, v), m in meant.items() if m is v and isinstance(v, str)), None)
    if not text and stray is not None:
        raise DtypeError(
            f"column {column.name!r} holds {stray!r}, which is not a number, beside numbers written as text; the categories of training are "
            f"{_type_of(vocabulary)}. Replace it by a missing value, or by a number that training did not have."
        )
    cells = [None if is_missing(v) else _as_meant(v, meant, text=text) for v in _cells(column)]
    said = (
        f"Column {column.name!r} came as {_type(value)} and was read as the {_type_of(vocabulary)} that training had."
    )
    return table.replaced(table.names.index(column.name), cells), [said]


def _cells(column: Column) -> list[Any]:
    if column.values.dtype.kind == "M":
        unit = "D" if column.values.dtype.str[-3:] == "[D]" else "us"
        return list(column.values.astype(f"datetime64[{unit}]").tolist())
    cells = (column.objects() if column.originals is None else column.originals).tolist()
    return [c if c is None else bool(c) for c in cells] if column.kind == "boolean" else list(cells)


def _as_meant(value: Any, meant: Mapping[Any, Any], *, text: bool) -> Any:
    found = meant.get((type(value), value), value)
    if not text or isinstance(found, str):
        return found
    whole = isinstance(found, float) and found.is_integer()
    return str(int(found)) if whole else str(found)


def _type(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "a boolean"
    if isinstance(value, (int, float, np.number)):
        return "a number"
    return "text" if isinstance(value, str) else f"a {type(value).__name__}"


def _type_of(vocabulary: Vocabulary) -> str:
    words = shown(list(vocabulary.words or ()), 3)
    return f"{'text' if vocabulary.text else 'numbers'}{f' ({words})' if words else ''}"
