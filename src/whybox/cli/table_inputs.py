"""Tables as inputs of a network: which columns are taken, as floats or whole numbers, and a single column as one number a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.errors import InputError, OptionError, did_you_mean

__all__ = ["Shape", "read_table_input", "shape_text"]

Shape = tuple[int | None, ...] | None


def shape_text(shape: Sequence[int | None]) -> str:
    """A shape in words: ``"3 x 8 x any"``, ``"one number"``."""
    return " x ".join("any" if n is None else str(n) for n in shape) or "one number"


def read_table_input(
    paths: Sequence[str], shape: Shape, name: str, columns: str | None, *, whole_numbers: bool, several: bool
) -> Any:
    """Read a table as an input of a network.

    Args:
        paths: one file. shape: of a row as the network declares it; None: it does not. name: of the input, "" where it has none.
        columns: which of the file's columns are the input, with commas between them; None: all. whole_numbers: whether the network declares that it takes these.
        several: whether the network has several inputs, of which one may be one number a row.

    Returns:
        A table (a frame); an array where the network takes whole numbers; (rows,) for one number a row.

    Raises:
        InputError: more than one file, no such columns, columns that do not fit the network, or text. OptionError: columns that do not fit.
    """
    from whybox.data.table import as_table
    from whybox.data.table_files import read_table

    if len(paths) > 1:
        raise InputError(f"one table is read for an input, and there are {len(paths)}; put their rows into one file.")
    if shape is not None and len(shape) > 1:
        raise InputError(f"the program takes rows of shape {shape_text(shape)}, which are no table; give .npy arrays.")
    file = Path(paths[0]).name
    table = read_table(paths[0])
    chosen = list(table.column_names) if columns is None else _named_columns(table.column_names, columns, file)
    table = table.select(chosen)
    is_one_number = shape == () or (shape is None and several and columns is not None and len(chosen) == 1)
    if is_one_number and len(chosen) != 1:
        example = "COLUMN" if not name else f"{name}=COLUMN"
        raise OptionError(
            f"the program takes one number a row{f' as {name}' if name else ''}, and there are {len(chosen)} columns of {file}; say which is meant: --column {example}."
        )
    if not is_one_number and shape is not None and shape[0] not in (None, len(chosen)):
        counted = f"{file} has {len(chosen)} columns" if columns is None else f"--column names {len(chosen)}"
        raise InputError(f"{counted}, and the program takes {shape[0]} numbers a row.")
    numbers = as_table(table).matrix()  # refuses text
    if whole_numbers:
        numbers = _as_whole(numbers, chosen, file)
    elif not is_one_number:
        return table
    elif shape is None and _holds_integers(table):  # an id, unless the network says that it takes floats
        numbers = _as_whole(numbers, chosen, file)
    return np.ascontiguousarray(numbers[:, 0] if is_one_number else numbers)


def _named_columns(known: Sequence[str], columns: str, file: str) -> list[str]:
    """Names of columns out of a text; one that is the name of a column itself may hold commas.

    Raises:
        InputError: there is no such column. OptionError: one is named twice.
    """
    names = [columns] if columns in known else [part.strip() for part in columns.split(",")]
    unknown = next((n for n in names if n not in known), None)
    if unknown is not None:
        raise InputError(f"--column {columns}: {file} has no column {unknown!r}.{did_you_mean(unknown, known)}")
    if len(set(names)) < len(names):
        raise OptionError(f"--column {columns}: each column is named once.")
    return names


def _holds_integers(table: Any) -> bool:
    import pyarrow as pa

    return all(pa.types.is_integer(field.type) for field in table.schema)


def _as_whole(numbers: npt.NDArray[Any], names: Sequence[str], file: str) -> npt.NDArray[np.int64]:
    """The numbers as whole ones.

    Raises:
        InputError: some are not.
    """
    wrong = np.argwhere(~(np.isfinite(numbers) & (numbers == np.rint(numbers))))
    if len(wrong):
        row, column = wrong[0].tolist()
        found = numbers[row, column]
        shown = "a missing cell" if np.isnan(found) else f"{found:g}"
        raise InputError(
            f"the program takes whole numbers, and row {row} (counted from 0) of column {names[column]!r} of {file} holds {shown}."
        )
    return np.asarray(numbers.astype(np.int64))
