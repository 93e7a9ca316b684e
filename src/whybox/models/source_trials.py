"""Which of the user's columns a pipeline's steps make each model column of, found by trial where the steps do not tell.

A column of some rows gets other cells, one after the other, and the model columns that change depend on it. What is found is confirmed by mixing rows
(`Inputs.confirm_structure`), there and in the rows of every later answer, and predictions of mixed rows are held against the model's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from whybox.data.cells import cell_codes, representative_rows
from whybox.data.table import Floats, Table, as_table
from whybox.errors import WhyboxError
from whybox.models.additive import Additive
from whybox.models.base import Model
from whybox.models.columns_read import columns_read
from whybox.models.inputs import Inputs, same_columns
from whybox.models.linear import Linear
from whybox.models.prepare_rows import prepare_rows
from whybox.models.trees import TreeEnsemble

__all__ = ["with_sources_found"]

_MIN_ROWS: Final = 50
_ROWS_CHANGED: Final = 12
_NUMBERS_TRIED: Final = 48  # of a column, in each of those rows
_WORDS_TRIED: Final = 512  # of a column that holds no numbers, where each may have a model column of its own
_MAX_COLUMNS_TRIED: Final = 200
_MIXED_ROUNDS: Final = 32  # each with a random half of the players
_ROWS_MIXED: Final = (
    512  # in each round: a step that combines columns in one of 3,000 mixed rows is found almost surely
)

_IntArray = npt.NDArray[np.int64]
_ModelT = TypeVar("_ModelT", bound=Model)


def with_sources_found(model: _ModelT, tables: Sequence[Any], *, all_rows: bool = False) -> _ModelT:
    """Return the model with the sources of its columns as found by trial; the same model where its steps declare them, or where rows do not show them.

    Args:
        model: any. tables: rows of any kind that it takes.
        all_rows: whether the cells of these rows are all that it will be given. Then what is the same in all of them does not matter.
    """
    inputs = model.inputs
    if not inputs.undeclared_steps or not tables or not isinstance(model, (TreeEnsemble, Linear, Additive)):
        return model
    try:
        prepared = [prepare_rows(model, table).table for table in map(as_table, tables)]
    except WhyboxError:  # whoever asks about these rows says what is wrong with them
        return model
    declared = [set(source) if len(source) > 1 else set() for source in inputs.source_columns]
    candidates = sorted(set().union(*declared))
    n_rows = sum(len(table) for table in prepared)
    few = n_rows < _MIN_ROWS and not all_rows
    if few or any(table.is_sparse for table in prepared) or len(candidates) > _MAX_COLUMNS_TRIED:
        return model
    found: list[set[int]] = [set() for _ in declared]
    varied: set[int] = set()
    try:
        for table in prepared:
            _add_sources(inputs, table, candidates, found, varied)
    except WhyboxError:  # a step refuses rows whose columns are combined anew
        return model
    narrowed = tuple(
        tuple(sorted(here & there)) if there else source
        for source, here, there in zip(inputs.source_columns, found, declared, strict=True)
    )
    read = columns_read(model) if isinstance(model, TreeEnsemble) else range(inputs.width)
    unmoved = [int(c) for c in read if declared[int(c)] and not narrowed[int(c)]]
    if not all_rows and (unmoved or set(candidates) - varied):
        return model  # a column that is the same in all rows, or a model column that nothing moves
    if unmoved and not _are_constant(inputs, prepared, unmoved):
        return model
    steps = ", ".join(inputs.undeclared_steps)
    known = replace(inputs, source_columns=narrowed, undeclared_steps=(), tried_steps=inputs.undeclared_steps)
    try:
        for table in prepared:
            known.confirm_structure(table)
        rows, donors = prepared[-1], prepared[0]
        of_one_kind = type(rows.native) is type(donors.native)  # others are refused where they are mixed
        if not _holds_of_mixed_rows(known, rows if of_one_kind else donors, donors):
            return model
    except WhyboxError:  # it has more sources than were seen: all that it may have
        return model
    note = (
        f"{steps} does not tell which columns its own are made of; that was found by trial, by changing one column after the other in {n_rows:,} rows, "
        f"and held for {_MIXED_ROUNDS * _ROWS_MIXED:,} rows mixed at random."
    )
    return replace(model, inputs=known, notes=(*model.notes, note))


def _holds_of_mixed_rows(inputs: Inputs, rows: Table, donors: Table) -> bool:
    """Whether model columns change with their sources alone in rows of one table that take a random half of the players from rows of another.

    Trials change one column of a row; what only several together change is seen here.
    """
    rng = np.random.default_rng(0)
    encoded, of_donors = inputs.matrix_in_blocks(rows), inputs.matrix_in_blocks(donors)
    players = inputs.group_columns()
    player_of = {j: p for p, player in enumerate(players) for j in player}
    player_of_column = np.array([player_of[s[0]] if s else -1 for s in inputs.source_columns], dtype=np.int64)
    for _ in range(_MIXED_ROUNDS):
        from_donor = rng.random(len(players)) < 0.5
        row, donor = rng.integers(len(rows), size=_ROWS_MIXED), rng.integers(len(donors), size=_ROWS_MIXED)
        columns = [j for p in np.flatnonzero(from_donor) for j in players[p]]
        mixed = inputs.matrix(rows.rows(row).with_columns_from(donors.rows(donor), columns))
        changed = from_donor[player_of_column] & (player_of_column >= 0)
        if not same_columns(mixed, np.where(changed, of_donors[donor], encoded[row])).all():
            return False
    return True


def _are_constant(inputs: Inputs, tables: Sequence[Table], columns: Sequence[int]) -> bool:
    """Whether model columns are the same in all rows of all tables."""
    encoded = np.concatenate([inputs.matrix_in_blocks(table)[:, columns] for table in tables])
    return bool(same_columns(encoded, np.broadcast_to(encoded[:1], encoded.shape)).all())


def _add_sources(
    inputs: Inputs, table: Table, candidates: Sequence[int], found: list[set[int]], varied: set[int]
) -> None:
    """Add to `found` the columns that each model column was seen to depend on, and to `varied` those that were given other cells."""
    rows = representative_rows(table, _ROWS_CHANGED)
    base = table.rows(rows)
    encoded = inputs.matrix(base)
    for column in candidates:
        codes = cell_codes(table, column)
        _, first = np.unique(codes, return_index=True)
        is_number = table.column(column).kind == "number"
        most = min(len(first), _NUMBERS_TRIED if is_number else _WORDS_TRIED)
        chosen = first[np.unique(np.linspace(0, len(first) - 1, most).astype(np.int64))]
        changes = [_changed_columns(inputs, base, encoded, table.rows(chosen), column)]
        if len(first) > 1:
            varied.add(column)
        if is_number:
            try:
                changes.append(_changed_columns(inputs, base, encoded, _numbers_beyond(table, column), column))
                varied.add(column)
            except WhyboxError:  # the step takes no numbers beyond those of the rows
                pass
        for model_column in np.flatnonzero(np.any(changes, axis=0)).tolist():
            found[model_column].add(column)


def _numbers_beyond(table: Table, column: int) -> Table:
    """Rows with numbers in a column that lie beyond those of the table: a step may have thresholds there."""
    values = table.column(column).values
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = (known.min().item(), known.max().item()) if len(known) else (0, 1)
    span = max(high - low, 1)
    cells = [low - span, low - 1, high + 1, high + span]
    return table.rows(np.zeros(len(cells), dtype=np.int64)).with_values(column, cells)


def _changed_columns(inputs: Inputs, base: Table, encoded: Floats, donors: Table, column: int) -> npt.NDArray[np.bool_]:
    """Which model columns change when some rows get the cells of others in one column, (model columns,)."""
    row = np.repeat(np.arange(len(base)), len(donors))
    cells = donors.rows(np.tile(np.arange(len(donors)), len(base)))
    return ~same_columns(inputs.matrix(base.rows(row).with_columns_from(cells, [column])), encoded[row])
