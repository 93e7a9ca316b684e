"""How files of rows are told apart by their names, and how text in them is cut and coded."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from whybox.errors import InputError, MissingDependencyError

__all__ = [
    "PARQUET",
    "READABLE_SUFFIXES",
    "TEXT",
    "TextFormat",
    "kind_of_file",
    "open_text",
    "read_excel",
    "reading_text_as",
    "text_format",
]

TEXT: Final = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
PARQUET: Final = (".parquet", ".pq")
EXCEL: Final = (".xlsx",)
READABLE_SUFFIXES: Final = (*TEXT, *PARQUET, *EXCEL)


@final
@dataclass(frozen=True)
class TextFormat:
    """How text files are read: None takes what the suffix says, a decimal point and UTF-8."""

    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None


_PLAIN: Final = TextFormat()
_format: ContextVar[TextFormat] = ContextVar("text_format", default=_PLAIN)


def text_format() -> TextFormat:
    """Return how text files are read at present."""
    return _format.get()


@contextmanager
def reading_text_as(chosen: TextFormat) -> Iterator[None]:
    """Read text files so, inside."""
    token = _format.set(chosen)
    try:
        yield
    finally:
        _format.reset(token)


def kind_of_file(file: str | Path) -> str:
    """Return the suffix of a file of rows, in small letters: one of READABLE_SUFFIXES, else its last suffix."""
    name = Path(file).name.lower()
    return next((suffix for suffix in READABLE_SUFFIXES if name.endswith(suffix)), Path(name).suffix)


def open_text(file: Path, errors: str = "strict") -> Any:
    """Open a text file of rows, compressed or not, to read its lines; `errors` as of ``open``."""
    encoding = text_format().encoding or "utf-8-sig"
    opened = gzip.open if file.name.lower().endswith(".gz") else open
    return opened(file, "rt", encoding=encoding, errors=errors, newline="")


def read_excel(file: Path) -> Any:
    """Return the first sheet of a workbook as a pyarrow Table: its first line has the names, and a column of mixed cells is text.

    Raises:
        MissingDependencyError: openpyxl is not installed. InputError: no workbook, or a first line that names no columns.
    """
    import pyarrow as pa

    try:
        from openpyxl import load_workbook
    except ImportError:
        raise MissingDependencyError("openpyxl", f"{file.name}: reading a workbook of Excel") from None
    try:
        book = load_workbook(file, read_only=True, data_only=True)
        lines = [list(line) for line in book.worksheets[0].iter_rows(values_only=True)]
        book.close()
    except Exception as error:  # whatever is in it
        raise InputError(f"{file.name} cannot be read as a workbook: {str(error).splitlines()[0][:300]}") from None
    lines = [line for line in lines if any(cell is not None for cell in line)]
    names = ["" if cell is None else str(cell) for cell in lines[0]] if lines else []
    twice = next((name for name in names if names.count(name) > 1), None)
    if not names or "" in names or twice is not None:
        raise InputError(
            f"{file.name}: the first line of its first sheet must name every column, each once{'' if not twice else f'; {twice!r} is there twice'}."
        )
    columns = list(zip(*lines[1:], strict=True)) or [()] * len(names)
    return pa.table({name: _excel_column(cells) for name, cells in zip(names, columns, strict=True)})


def _excel_column(cells: Any) -> Any:
    """Cells of one type as such, whole and other numbers together as numbers, others as text."""
    import pyarrow as pa

    try:
        return pa.array(cells)
    except (pa.ArrowException, TypeError):
        present = [cell for cell in cells if cell is not None]
        if all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in present):
            return pa.array([None if cell is None else float(cell) for cell in cells])
        return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
