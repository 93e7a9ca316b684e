"""Rows that take some of their columns from one row and the others from another: what an absent feature means, asked of the model itself.

Rows as they come cannot show that a step reads two columns together, or that an empty cell is read otherwise than thought: only a row that
mixes two can. So a few of them are made of the rows explained and the background, in the user's own columns, for the model's own predict.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data import sparse_rows
from whybox.data.cells import object_cells
from whybox.data.table import Floats, Table
from whybox.errors import InputError

__all__ = ["ASKED", "Mixed", "Sample", "check_kinds", "masks", "mix", "sample"]

ASKED: Final = 48  # mixed rows
_TOGETHER: Final = 6  # mixed rows that take the same columns, where a frame is mixed column by column

_Bools = npt.NDArray[np.bool_]
_Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class Sample:
    """Some rows from all over a table.

    Attributes:
        table: the rows, aligned with the model.
        matrix: the same as the model reads them, (rows, model columns).
        at: their positions in the whole table.
    """

    table: Table
    matrix: Floats
    at: _Ints


@final
@dataclass(frozen=True, eq=False)
class Mixed:
    """Mixed rows.

    Attributes:
        table: in the user's own columns.
        matrix: what the model reads if each of its columns depends on its own of the user's columns alone.
        here, there: positions of the rows they are made of.
        taken: (rows, players): which come from `there`.
    """

    table: Table
    matrix: Floats
    here: _Ints
    there: _Ints
    taken: _Bools


def check_kinds(here: Table, there: Table, *, elementwise: bool) -> None:
    """Refuse rows and a background of which one is a sparse matrix, unless a cell that is not stored is surely zero to the model.

    Raises:
        InputError: they are not of one kind.
    """
    if here.is_matrix != there.is_matrix and (here.absent != 0.0 or not elementwise):
        raise InputError(
            "of the rows and the background, one is a sparse matrix and the other is not. An empty cell of a sparse matrix may be missing to this model, "
            "while a zero elsewhere is zero; pass both as sparse matrices, or both dense."
        )


def sample(table: Table, kept: _Ints, most: int = ASKED) -> tuple[Table, _Ints]:
    """Return at most so many of the rows at `kept`, evenly spaced, and their positions."""
    at = kept[np.unique(np.linspace(0, len(kept) - 1, most).astype(np.int64))]
    return table.rows(at), at


def masks(rows: int, players: int, rng: np.random.Generator, together: int = 1) -> _Bools:
    """Which players each mixed row takes from elsewhere, (rows, players): a half, but for some rows one player alone, or all but one."""
    kinds = -(-rows // together)
    out = rng.random((kinds, players)) < 0.5
    alone = np.arange(kinds) % 4 == 3
    out[alone] = False
    out[alone, rng.integers(0, players, int(alone.sum()))] = True
    out[np.arange(kinds) % 8 == 7] ^= True
    return np.repeat(out, together, axis=0)[:rows]


def mix(
    here: Sample, there: Sample, players: Sequence[Sequence[int]], of_column: npt.NDArray[np.integer], rows: int = ASKED
) -> Iterator[Mixed]:
    """Mix rows of two tables, so many in all: together, or, where columns of the two differ in dtype, those that take the same columns at a time.

    Args:
        here, there: rows, encoded.
        players: the user's columns that go together.
        of_column: (model columns,), the player of each; -1: of none.
    """
    rng = np.random.default_rng(0)
    i = rng.permutation(np.arange(rows) % len(here.table))
    j = rng.permutation(np.arange(rows) % len(there.table))
    taken = masks(rows, len(players), rng)
    columns = np.zeros(sum(map(len, players)), dtype=np.int64)
    for p, members in enumerate(players):
        columns[list(members)] = p
    table = _together(here.table.rows(i), there.table.rows(j), taken[:, columns])
    if table is not None:
        yield Mixed(table, _matrix(here, there, i, j, taken, of_column), here.at[i], there.at[j], taken)
        return
    taken = masks(rows, len(players), rng, _TOGETHER)
    for start in range(0, rows, _TOGETHER):
        some = slice(start, start + _TOGETHER)
        one, two, mask = i[some], j[some], taken[some]
        positions = np.flatnonzero(mask[0, columns]).tolist()
        table = _by_column(here.table.rows(one), there.table.rows(two), positions)
        yield Mixed(table, _matrix(here, there, one, two, mask, of_column), here.at[one], there.at[two], mask)


def _matrix(
    here: Sample, there: Sample, i: _Ints, j: _Ints, taken: _Bools, of_column: npt.NDArray[np.integer]
) -> Floats:
    from_there = np.where(of_column >= 0, taken[:, np.maximum(of_column, 0)], False)
    return np.ascontiguousarray(np.where(from_there, there.matrix[j], here.matrix[i]))


def _together(here: Table, there: Table, taken: _Bools) -> Table | None:
    """Rows mixed cell by cell; None where their columns are of different dtypes."""
    if here.is_matrix or there.is_matrix:
        a, b = (t.native if t.is_matrix else sparse_rows.from_dense(t.matrix()) for t in (here, there))
        return replace(here, native=sparse_rows.mix_cells(a, b, taken), library="scipy")
    if isinstance(here.native, np.ndarray) and isinstance(there.native, np.ndarray):
        return replace(here, native=np.where(taken, there.native, here.native))
    return here.interleaved(there, taken)


def _by_column(here: Table, there: Table, positions: list[int]) -> Table:
    if here.library == there.library:
        return here.mixed(there, positions)
    for p in positions:
        here = here.with_values(p, list(object_cells(there, p)))
    return here
