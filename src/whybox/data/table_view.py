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
GAP_TEXT: Final = "..."


def table_item(table: Table, key: Any) -> Any:
    """Return a column, a row, a cell or a smaller table; see ``Table.__getitem__``."""
    if isinstance(key, tuple):
        if len(key) != 2:
            raise OptionError(f"rows have two axes: data[rows, columns]; {len(key)} keys were given.")
        rows, columns = key
        selected = _one_row_table(table, rows) if isinstance(rows, (int, np.integer)) else _selected_rows(table, rows)
        if not _is_one_column(columns):
            selected = selected.select(_column_positions(table, columns))
            return _row_as_dict(selected) if isinstance(rows, (int, np.integer)) else selected
        column = selected.select([_column_position(table, columns)])
        return (
            next(iter(_row_as_dict(column).values()))
            if isinstance(rows, (int, np.integer))
            else _column_values(column, 0)
        )
    if isinstance(key, str):
        return _column_values(table, _column_position(table, key))
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return _row_as_dict(_one_row_table(table, key))
    if isinstance(key, list) and key and all(isinstance(name, str) for name in key):
        return table.select(_column_positions(table, key))
    return _selected_rows(table, key)


def _one_row_table(table: Table, position: Any) -> Table:
    """One row as a table."""
    if isinstance(position, (bool, np.bool_)):
        raise OptionError(f"{position!r} is no position of a row.")
    if not -len(table) <= position < len(table):
        raise IndexError(f"row {int(position):,} of {len(table):,} rows.")
    return table.rows(np.array([int(position) % len(table)]))


def _selected_rows(table: Table, key: Any) -> Table:
    if isinstance(key, slice):
        return table.rows(key)
    positions = np.asarray(key)
    if positions.size == 0 and positions.ndim == 1:
        positions = positions.astype(np.intp)
    if positions.ndim != 1 or positions.dtype.kind not in "iub":
        raise OptionError(
            f"{key!r} names no rows or columns: give a column's name, a row's position, a slice, a mask, or a list of these. Columns are {table.names[:8]}."
        )
    if positions.dtype.kind == "b" and len(positions) != len(table):
        raise OptionError(f"the mask has {len(positions):,} entries for {len(table):,} rows.")
    if (
        positions.dtype.kind != "b"
        and positions.size
        and not (-len(table) <= positions.min() and positions.max() < len(table))
    ):
        raise IndexError(f"positions from {positions.min():,} to {positions.max():,} of {len(table):,} rows.")
    return table.rows(np.arange(len(table))[positions])


def _is_one_column(key: Any) -> bool:
    return isinstance(key, (str, int, np.integer))


def _column_positions(table: Table, key: Any) -> list[int]:
    if isinstance(key, slice):
        return list(range(table.width))[key]
    return [
        _column_position(table, name) for name in (key if isinstance(key, (list, tuple)) else np.asarray(key).tolist())
    ]


def _column_position(table: Table, column: Any) -> int:
    if isinstance(column, str) and column in table.names:
        return int(table.names.index(column))
    is_integer = isinstance(column, (int, np.integer)) and not isinstance(column, bool)
    if is_integer and -table.width <= column < table.width:
        return int(column % table.width)
    raise OptionError(f"there is no column {column!r}.{did_you_mean(column, table.names)}")


def _column_values(table: Table, position: int) -> npt.NDArray[Any]:
    """The values of a column, read-only."""
    column = table.column(position)
    is_plain = column.kind in ("number", "datetime") or column.values.dtype.kind == "b"
    values = (column.values if is_plain else column.objects()).view()
    values.flags.writeable = False
    return np.asarray(values)


def _row_as_dict(table: Table) -> dict[str, Any]:
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


def _header_and_lines(table: Table) -> tuple[list[str], list[list[str]]]:
    """Header and lines of cells as text, cut in the middle where there are many."""
    rows, columns = _positions_shown(len(table), MAX_ROWS_PRINTED), _positions_shown(table.width, MAX_COLUMNS_PRINTED)
    shown = table.select([c for c in columns if c is not None]).rows(np.array([r for r in rows if r is not None]))
    cells = [[_cell_text(v) for v in shown.column(position).objects()] for position in range(shown.width)]
    labels = [_cell_text(label) for label in shown.row_labels.tolist()]

    def line(get: Any, first: str) -> list[str]:
        column_numbers: Iterator[int] = iter(range(shown.width))
        return [first, *(GAP_TEXT if c is None else get(next(column_numbers)) for c in columns)]

    lines, row_number = [], iter(range(len(shown)))
    for r in rows:
        if r is None:
            lines.append([GAP_TEXT] * (len(columns) + 1))
            continue
        position = next(row_number)
        lines.append(line(lambda k, position=position: cells[k][position], labels[position]))
    return line(lambda k: _shorten_cell(shown.names[k]), ""), lines


def _positions_shown(count: int, maximum: int) -> list[int | None]:
    """Positions from both ends, None for those left out between them."""
    if count <= maximum:
        return list(range(count))
    return [*range((maximum + 1) // 2), None, *range(count - maximum // 2, count)]


def _cell_text(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "missing"
    return _shorten_cell(f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value))


def _shorten_cell(text: str) -> str:
    one_line = " ".join(text.split())
    return (
        one_line if len(one_line) <= MAX_CELL_LETTERS else one_line[: MAX_CELL_LETTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )


def _size_text(table: Table) -> str:
    return f"{len(table):,} row{'s' * (len(table) != 1)} x {table.width:,} column{'s' * (table.width != 1)} ({table.library})"


def table_text(table: Table) -> str:
    """Return the table as text: labels and cells of the first and last rows and columns, and its size."""
    if not len(table) or not table.width:
        return _size_text(table)
    header, lines = _header_and_lines(table)
    widths = [max(len(line[k]) for line in [header, *lines]) for k in range(len(header))]
    joined = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in [header, *lines]
    ]
    return "\n".join([*(line.rstrip() for line in joined), _size_text(table)])


def table_html(table: Table) -> str:
    """Return what :func:`table_text` shows as HTML, for notebooks."""
    header, lines = _header_and_lines(table) if len(table) and table.width else ([], [])
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr><th>{escape(line[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in line[1:])}</tr>"
        for line in lines
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><div>{escape(_size_text(table))}</div>"
