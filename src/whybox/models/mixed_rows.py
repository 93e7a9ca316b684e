"""Mixed rows, which take some columns from one row and the others from another, to test how the model itself treats absent features.

Unchanged rows cannot show that a step reads two columns together, or that an empty cell is read in another way than assumed: only a row that
mixes two can. So a few are mixed from the explained rows and the background, in the user's own columns, for the model's own predict.
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

__all__ = [
    "MAX_ROWS_SAMPLED",
    "MixedRows",
    "RowSample",
    "check_same_kind",
    "mix_cells",
    "mix_rows",
    "random_masks",
    "sample_rows",
]

MAX_ROWS_SAMPLED: Final = 48  # rows of a table that are mixed with others
_MAX_PATTERNS: Final = 8  # patterns of columns, where a frame is mixed column by column

_BoolArray = npt.NDArray[np.bool_]
_IntArray = npt.NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class RowSample:
    """Some rows of a table.

    Attributes:
        table: the rows, aligned with the model.
        matrix: their encoding, (rows, model columns).
        row_positions: their positions in the whole table.
    """

    table: Table
    matrix: Floats
    row_positions: _IntArray


@final
@dataclass(frozen=True, eq=False)
class MixedRows:
    """Mixed rows.

    Attributes:
        table: in the user's own columns.
        matrix: their expected encoding, if each model column depends only on its declared columns.
        row_positions, donor_positions: positions of the rows that each is mixed from.
        from_donor: (rows, players): which players come from the donor row.
    """

    table: Table
    matrix: Floats
    row_positions: _IntArray
    donor_positions: _IntArray
    from_donor: _BoolArray


def check_same_kind(rows: Table, donors: Table, *, elementwise: bool) -> None:
    """Refuse rows and a background if only one is a sparse matrix, unless the model surely reads an absent cell as zero.

    Raises:
        InputError: they are of different kinds.
    """
    if rows.is_matrix != donors.is_matrix and (rows.absent != 0.0 or not elementwise):
        raise InputError(
            "of the rows and the background, one is a sparse matrix and the other is not. An empty cell of a sparse matrix may be missing to this model, "
            "while a zero elsewhere is zero; pass both as sparse matrices, or both dense."
        )


def sample_rows(table: Table, eligible: _IntArray, max_rows: int = MAX_ROWS_SAMPLED) -> tuple[Table, _IntArray]:
    """Return at most `max_rows` of the rows at `eligible`, evenly spaced, and their positions."""
    positions = eligible[np.unique(np.linspace(0, len(eligible) - 1, max_rows).astype(np.int64))]
    return table.rows(positions), positions


def random_masks(n_rows: int, n_players: int, rng: np.random.Generator, rows_per_pattern: int = 1) -> _BoolArray:
    """Which players each mixed row takes from its donor, (rows, players): a random half, or in a quarter of the rows one player or all but one."""
    n_patterns = -(-n_rows // rows_per_pattern)
    from_donor = rng.random((n_patterns, n_players)) < 0.5
    single = np.arange(n_patterns) % 4 == 3
    from_donor[single] = False
    from_donor[single, rng.integers(0, n_players, int(single.sum()))] = True
    from_donor[np.arange(n_patterns) % 8 == 7] ^= True
    return np.repeat(from_donor, rows_per_pattern, axis=0)[:n_rows]


def mix_rows(
    rows: RowSample,
    donors: RowSample,
    players: Sequence[Sequence[int]],
    player_of_column: npt.NDArray[np.integer],
    n_rows: int,
    rng: np.random.Generator,
) -> Iterator[MixedRows]:
    """Mix rows of two tables, `n_rows` in total: all at once, or, if their columns differ in dtype, rows with the same pattern at a time.

    Args:
        rows, donors: rows with their encoding.
        players: groups of the user's columns.
        player_of_column: (model columns,), the player of each, or -1.
        rng: draws which rows are mixed, and which columns each takes.
    """
    row_order = rng.permutation(np.arange(n_rows) % len(rows.table))
    donor_order = rng.permutation(np.arange(n_rows) % len(donors.table))
    from_donor = random_masks(n_rows, len(players), rng)
    player_of_user_column = np.zeros(sum(map(len, players)), dtype=np.int64)
    for player, members in enumerate(players):
        player_of_user_column[list(members)] = player
    table = mix_cells(rows.table.rows(row_order), donors.table.rows(donor_order), from_donor[:, player_of_user_column])
    if table is not None:
        yield _mixed_rows(table, rows, donors, row_order, donor_order, from_donor, player_of_column)
        return
    rows_per_pattern = -(-n_rows // _MAX_PATTERNS)
    from_donor = random_masks(n_rows, len(players), rng, rows_per_pattern)
    for start in range(0, n_rows, rows_per_pattern):
        block = slice(start, start + rows_per_pattern)
        block_rows, block_donors, block_mask = row_order[block], donor_order[block], from_donor[block]
        positions = np.flatnonzero(block_mask[0, player_of_user_column]).tolist()
        table = _mix_columns(rows.table.rows(block_rows), donors.table.rows(block_donors), positions)
        yield _mixed_rows(table, rows, donors, block_rows, block_donors, block_mask, player_of_column)


def _mixed_rows(
    table: Table,
    rows: RowSample,
    donors: RowSample,
    row_positions: _IntArray,
    donor_positions: _IntArray,
    from_donor: _BoolArray,
    player_of_column: npt.NDArray[np.integer],
) -> MixedRows:
    """Return a mixed table with its encoding, mixed in the same way."""
    cells_from_donor = np.where(player_of_column >= 0, from_donor[:, np.maximum(player_of_column, 0)], False)
    matrix = np.where(cells_from_donor, donors.matrix[donor_positions], rows.matrix[row_positions])
    return MixedRows(
        table,
        np.ascontiguousarray(matrix),
        rows.row_positions[row_positions],
        donors.row_positions[donor_positions],
        from_donor,
    )


def mix_cells(rows: Table, donors: Table, from_donor: _BoolArray) -> Table | None:
    """Return rows with the cells of donors where `from_donor`, (rows, columns); None where columns of the two differ in dtype."""
    if rows.is_matrix or donors.is_matrix:
        row_csr, donor_csr = (t.native if t.is_matrix else sparse_rows.from_dense(t.matrix()) for t in (rows, donors))
        return replace(rows, native=sparse_rows.mix_cells(row_csr, donor_csr, from_donor), library="scipy")
    if isinstance(rows.native, np.ndarray) and isinstance(donors.native, np.ndarray):
        return replace(rows, native=np.where(from_donor, donors.native, rows.native))
    return rows.with_cells_from(donors, from_donor)


def _mix_columns(rows: Table, donors: Table, positions: list[int]) -> Table:
    if rows.library == donors.library:
        return rows.with_columns_from(donors, positions)
    return rows.with_columns_of_values({p: list(object_cells(donors, p)) for p in positions})
