"""What a user takes out of a table between brackets, and how a table looks when it is printed."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data import sparse_rows
from whybox.errors import OptionError, did_you_mean

Table = Any  # a Table of whybox.data.table, which imports this file

__all__ = ["table_array", "table_html", "table_item", "table_text"]

MAX_ROWS_PRINTED: Final = 8  # more are cut in the middle
MAX_COLUMNS_PRINTED: Final = 10
MAX_CELL_LETTERS: Final = 18
GAP: Final = "..."


def table_item(table: Table, key: Any) -> Any:
    """Return a column, a row, a cell or a smaller table; see ``Table.__getitem__``."""
    if isinstance(key, tuple):
        if len(key) != 2:
            raise OptionError(f"rows have two axes: data[rows, columns]; {len(key)} keys were given.")
        rows, columns = key
        some = _rows(table, rows) if isinstance(rows, (int, np.integer)) else _some_rows(table, rows)
        if not _is_one_column(columns):
            some = some.select(_positions(table, columns))
            return _row(some) if isinstance(rows, (int, np.integer)) else some
        column = some.select([_position(table, columns)])
        return next(iter(_row(column).values())) if isinstance(rows, (int, np.integer)) else _values(column, 0)
    if isinstance(key, str):
        return _values(table, _position(table, key))
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return _row(_rows(table, key))
    if isinstance(key, list) and key and all(isinstance(name, str) for name in key):
        return table.select(_positions(table, key))
    return _some_rows(table, key)


def _rows(table: Table, position: Any) -> Table:
    """One row as a table."""
    if isinstance(position, (bool, np.bool_)):
        raise OptionError(f"{position!r} is no position of a row.")
    if not -len(table) <= position < len(table):
        raise IndexError(f"row {int(position):,} of {len(table):,} rows.")
    return table.rows(np.array([int(position) % len(table)]))


def _some_rows(table: Table, key: Any) -> Table:
    if isinstance(key, slice):
        return table.rows(key)
    chosen = np.asarray(key)
    if chosen.size == 0 and chosen.ndim == 1:
        chosen = chosen.astype(np.intp)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iub":
        raise OptionError(
            f"{key!r} names no rows or columns: give a column's name, a row's position, a slice, a mask, or a list of these. Columns are {table.names[:8]}."
        )
    if chosen.dtype.kind == "b" and len(chosen) != len(table):
        raise OptionError(f"the mask has {len(chosen):,} entries for {len(table):,} rows.")
    if chosen.dtype.kind != "b" and chosen.size and not (-len(table) <= chosen.min() and chosen.max() < len(table)):
        raise IndexError(f"positions from {chosen.min():,} to {chosen.max():,} of {len(table):,} rows.")
    return table.rows(np.arange(len(table))[chosen])


def _is_one_column(key: Any) -> bool:
    return isinstance(key, (str, int, np.integer))


def _positions(table: Table, key: Any) -> list[int]:
    if isinstance(key, slice):
        return list(range(table.width))[key]
    return [_position(table, name) for name in (key if isinstance(key, (list, tuple)) else np.asarray(key).tolist())]


def _position(table: Table, column: Any) -> int:
    if isinstance(column, str) and column in table.names:
        return int(table.names.index(column))
    whole = isinstance(column, (int, np.integer)) and not isinstance(column, bool)
    if whole and -table.width <= column < table.width:
        return int(column % table.width)
    raise OptionError(f"there is no column {column!r}.{did_you_mean(column, table.names)}")


def _values(table: Table, position: int) -> npt.NDArray[Any]:
    """The values of a column, read-only."""
    column = table.column(position)
    plain = column.kind in ("number", "datetime") or column.values.dtype.kind == "b"
    out = (column.values if plain else column.objects()).view()
    out.flags.writeable = False
    return np.asarray(out)


def _row(table: Table) -> dict[str, Any]:
    """The cells of a table of one row."""
    if table.is_matrix:
        return dict(zip(table.names, sparse_rows.to_dense(table.native, table.absent)[0].tolist(), strict=True))
    if isinstance(table.native, np.ndarray):
        return dict(zip(table.names, table.native[0].tolist(), strict=True))
    return {name: table.column(i).objects()[0] for i, name in enumerate(table.names)}


def table_array(table: Table) -> npt.NDArray[Any]:
    """Return all cells, (rows, columns): numbers where every column holds numbers (missing as NaN), else Python objects (missing as None)."""
    columns = () if table.is_matrix else tuple(table.column(i) for i in range(table.width))
    if all(column.kind in ("number", "boolean") for column in columns):
        return np.asarray(table.matrix())
    return np.column_stack([column.objects() for column in columns])


def _lines(table: Table) -> tuple[list[str], list[list[str]]]:
    """Header and lines of cells as text, cut in the middle where there are many."""
    rows, columns = _ends(len(table), MAX_ROWS_PRINTED), _ends(table.width, MAX_COLUMNS_PRINTED)
    shown = table.select([c for c in columns if c is not None]).rows(np.array([r for r in rows if r is not None]))
    cells = [[_cell(v) for v in shown.column(i).objects()] for i in range(shown.width)]
    labels = [_cell(label) for label in shown.row_labels.tolist()]

    def line(get: Any, first: str) -> list[str]:
        at: Iterator[int] = iter(range(shown.width))
        return [first, *(GAP if c is None else get(next(at)) for c in columns)]

    out, place = [], iter(range(len(shown)))
    for r in rows:
        if r is None:
            out.append([GAP] * (len(columns) + 1))
            continue
        i = next(place)
        out.append(line(lambda k, i=i: cells[k][i], labels[i]))
    return line(lambda k: _cut(shown.names[k]), ""), out


def _ends(count: int, most: int) -> list[int | None]:
    """Positions from both ends, None for those left out between them."""
    if count <= most:
        return list(range(count))
    return [*range((most + 1) // 2), None, *range(count - most // 2, count)]


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "missing"
    return _cut(f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value))


def _cut(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= MAX_CELL_LETTERS else plain[: MAX_CELL_LETTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _size(table: Table) -> str:
    return f"{len(table):,} row{'s' * (len(table) != 1)} x {table.width:,} column{'s' * (table.width != 1)} ({table.library})"


def table_text(table: Table) -> str:
    """Return the table as text: labels and cells of the first and last rows and columns, and its size."""
    if not len(table) or not table.width:
        return _size(table)
    header, lines = _lines(table)
    widths = [max(len(line[k]) for line in [header, *lines]) for k in range(len(header))]
    text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in [header, *lines]]
    return "\n".join([*(line.rstrip() for line in text), _size(table)])


def table_html(table: Table) -> str:
    """Return what :func:`table_text` shows as HTML, for notebooks."""
    header, lines = _lines(table) if len(table) and table.width else ([], [])
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr><th>{escape(line[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in line[1:])}</tr>"
        for line in lines
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><div>{escape(_size(table))}</div>"
