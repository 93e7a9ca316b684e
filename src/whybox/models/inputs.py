"""The mapping from the user's columns to a model's matrix, and the user's columns that each model column depends on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, final, runtime_checkable

import numpy as np
import numpy.typing as npt

from whybox.data.cells import representative_rows
from whybox.data.table import Column, Floats, Table, align_columns, is_missing
from whybox.errors import (
    Argument,
    ColumnsError,
    DtypeError,
    NonFiniteError,
    UnsupportedModelError,
    WhyboxError,
    quoted_list,
)
from whybox.models.categories import Vocabulary, category_key
from whybox.models.mixed_rows import mix_cells

__all__ = ["Encoder", "Inputs", "NumberEncoder", "same_columns"]

_ROWS_ENCODED: Final = 65536  # of a block
_MAX_ROWS_CONFIRMED: Final = 24  # rows used to confirm a pipeline's structure
_ROWS_ENCODED_ALONE: Final = 4  # of these, rows that are encoded alone
_MIXING_ROUNDS: Final = 10  # the chance that two players stay together in all rounds is 1 in 1,000


class Encoder(Protocol):
    """Encodes an aligned table as the model's matrix (rows, model columns), float64; missing is NaN."""

    @property
    def is_elementwise(self) -> bool:
        """Whether each model column is one of the user's columns, row by row, so that nothing has to be confirmed."""

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories that the model learned, by position of the user's categorical columns; `table` is None before there are rows."""
        return {}

    def __call__(self, table: Table) -> Floats:
        """Return the matrix."""


@runtime_checkable
class SelectableEncoder(Protocol):
    """An encoder that can compute some of its model columns without the others."""

    def select_columns(self, columns: npt.NDArray[np.int64]) -> Encoder:
        """Return the encoder of these model columns, in increasing order."""


@final
@dataclass(frozen=True)
class Inputs:
    """The input columns of a model.

    Attributes:
        names: the user's columns, in the model's order.
        has_names: whether the model stores the names (else columns are matched by position).
        encoder: maps those columns to the model's matrix.
        source_columns: for each model column, the positions of the user's columns it is computed from.
        blank_replacement: what the library writes instead of a blank in a name, if it does so (LightGBM writes "_").
        own_names: names that the library made up because it was given none; a frame that has all of them is matched by name.
        pipeline_names: names that another step of a Pipeline was fitted with, if the model itself stores none.
        known_from: whose columns these are, for messages; a plain function was trained on none.
        undeclared_steps: steps of a Pipeline that do not tell which columns they make theirs of, by class: `source_columns` holds all that they may be.
        tried_steps: those of which it was found by trial, see whybox.models.source_trials.
    """

    names: tuple[str, ...]
    has_names: bool
    encoder: Encoder
    source_columns: tuple[tuple[int, ...], ...]
    blank_replacement: str | None = None
    own_names: tuple[str, ...] = ()
    pipeline_names: tuple[str, ...] = ()
    known_from: str = "the model was trained on"
    undeclared_steps: tuple[str, ...] = ()
    tried_steps: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Number of model columns."""
        return len(self.source_columns)

    def align_table(self, table: Table, *, what: str = "X") -> tuple[Table, tuple[str, ...]]:
        """Arrange a table's columns in the model's order; also return the names of columns that the model does not use.

        Raises:
            ColumnsError: a column is missing (it is named), or an unnamed table has another width.
        """
        table = replace(table, absent=getattr(self.encoder, "absent", 0.0))
        if self.by_name(table):
            known_names = self.names if self.has_names else self.own_names
            library_spellings = tuple(self._library_spelling(n) for n in table.names)
            return _restore_names(
                *align_columns(table.with_names(library_spellings), known_names, what=what, whose=self.known_from),
                table.names,
                library_spellings,
            )
        if table.width != len(self.names):
            raise ColumnsError(
                Argument(what),
                f" has {table.width} columns, {self.known_from} {len(self.names)}",
                f": {quoted_list(self.names)}." if self.has_names else ". Pass the same columns in the same order.",
            )
        return (table if table.named else table.with_names(self.names)), ()

    def by_name(self, table: Table) -> bool:
        """Whether the table's columns are matched by name; else by position."""
        return table.named and (self.has_names or (bool(self.own_names) and set(self.own_names) <= set(table.names)))

    def reads_column(self, name: str) -> bool:
        """Whether the model reads a column of this name; False if the model stores no names."""
        return (self.has_names and self._library_spelling(name) in self.names) or name in self.own_names

    def categorical_columns(self, names: Sequence[str]) -> dict[str, Vocabulary]:
        """Return the categories that the model learned for columns of a table, given only their names."""
        known_names = self.names if self.has_names else self.own_names if set(self.own_names) <= set(names) else ()
        given_name = (
            {self._library_spelling(n): n for n in names} if known_names else dict(zip(self.names, names, strict=False))
        )
        by_model_name = {(known_names or self.names)[i]: v for i, v in self.encoder.learned_categories(None).items()}
        return {given_name[n]: v for n, v in by_model_name.items() if n in given_name}

    def _library_spelling(self, name: str) -> str:
        return (
            name
            if self.blank_replacement is None or name in self.names
            else re.sub(r"\s", self.blank_replacement, name)
        )

    def select_columns(self, columns: npt.NDArray[np.int64]) -> Inputs:
        """Return the inputs of some model columns, in increasing order; the user's columns stay the same."""
        encoder = self.encoder
        selected = (
            encoder.select_columns(columns)
            if isinstance(encoder, SelectableEncoder)
            else _SelectedColumns(encoder, columns, selects_before=False)
        )
        return replace(self, encoder=selected, source_columns=tuple(self.source_columns[int(c)] for c in columns))

    def matrix(self, table: Table) -> Floats:
        """Encode an aligned table: (rows, model columns), float64, C-contiguous."""
        return np.ascontiguousarray(self.encoder(table), dtype=np.float64)

    def matrix_of_block(self, table: Table, start: int) -> Floats:
        """Encode a block of a longer table that begins at row `start`; errors name rows of the whole table."""
        try:
            return self.matrix(table)
        except NonFiniteError as error:
            raise error.later(start) from None

    def matrix_in_blocks(self, table: Table) -> Floats:
        """Encode an aligned table of any length, as :meth:`matrix` does, a block of rows at a time."""
        return np.concatenate([self.matrix_of_block(block, start) for start, block in table.blocks(_ROWS_ENCODED)])

    def confirm_structure(self, table: Table) -> None:
        """Confirm on real rows that each model column depends only on its `source_columns`, and only on its own row.

        Evenly spaced rows, and one with a missing value for each column that has any, are encoded in different subsets and alone. Then they
        are mixed: in each round a random half of the players comes from other rows, and the encoded
        result must be the same mix of the encoded rows. This detects steps whose declared structure is wrong.
        A single row is combined with a copy whose numbers are increased by one.

        Raises:
            UnsupportedModelError: a step mixes columns or rows against its declared structure.
        """
        if self.encoder.is_elementwise:
            return
        rows, encoded = self._rows_to_confirm(table)
        n_rows = len(rows)
        if n_rows < 2:
            return
        self._confirm_rows(rows, encoded)
        players = self.group_columns()
        player_of = {j: p for p, player in enumerate(players) for j in player}
        player_of_column = np.array([player_of[s[0]] if s else -1 for s in self.source_columns], dtype=np.int64)
        for mixed, donor, from_other in self._mixtures(rows, players):
            changed = np.where(player_of_column >= 0, from_other[:, np.maximum(player_of_column, 0)], False)
            expected = np.where(changed, encoded[donor], encoded[np.arange(len(donor)) % n_rows])
            wrong_columns = np.flatnonzero(~same_columns(self.matrix(mixed), expected))
            if len(wrong_columns):
                names = quoted_list([self.names[i] for i in self.source_columns[wrong_columns[0]]])
                if self.tried_steps:
                    raise UnsupportedModelError(
                        f"a step of the pipeline ({', '.join(self.tried_steps)}) makes a model column of other columns than {names}, which trials on the first rows "
                        "did not show. Pass rows of all kinds as background, or name the columns that belong together as one of ",
                        Argument("players"),
                        ".",
                    )
                raise UnsupportedModelError(
                    f"a step of the pipeline makes a model column of other columns than {names}, though by its structure it should come from no others. "
                    "Wrap that step so that whybox sees it as one that mixes its columns: any transformer class of your own is taken that way."
                )

    @staticmethod
    def _mixtures(
        rows: Table, players: Sequence[Sequence[int]]
    ) -> Iterator[tuple[Table, npt.NDArray[np.int64], npt.NDArray[np.bool_]]]:
        """Yield mixed rows, the position of each one's donor, and which players come from it, (rows, players).

        All rounds in one table, since a transformer takes little longer for many rows than for one; a round at a time where a frame cannot be mixed cell by cell.
        """
        rng, positions = np.random.default_rng(0), np.arange(len(rows))
        rounds = [
            (rng.random(len(players)) < 0.5, np.roll(positions, int(rng.integers(1, len(rows)))))
            for _ in range(_MIXING_ROUNDS)
        ]
        from_other = np.repeat([mask for mask, _ in rounds], len(rows), axis=0)
        donor = np.concatenate([donors for _, donors in rounds])
        player_of = np.zeros(rows.width, dtype=np.int64)
        for player, members in enumerate(players):
            player_of[list(members)] = player
        together = mix_cells(rows.rows(np.tile(positions, _MIXING_ROUNDS)), rows.rows(donor), from_other[:, player_of])
        if together is not None:
            yield together, donor, from_other
            return
        for mask, donors in rounds:
            columns = [j for p in np.flatnonzero(mask).tolist() for j in players[p]]
            yield rows.with_columns_from(rows.rows(donors), columns), donors, np.tile(mask, (len(rows), 1))

    def _confirm_rows(self, rows: Table, encoded: Floats) -> None:
        """Confirm that a row is encoded the same among rows in another order, in either half, alone, and when repeated."""
        n_rows = len(rows)
        shuffled = np.random.default_rng(1).permutation(n_rows)
        single_rows = [
            np.array([i]) for i in range(n_rows - 1, max(n_rows - 1 - _ROWS_ENCODED_ALONE, -1), -1)
        ]  # the last rows have missing values
        for positions in (
            np.roll(np.arange(n_rows), 1),
            shuffled[: n_rows // 2],
            shuffled[n_rows // 2 :],
            *single_rows,
            np.arange(n_rows),
        ):
            try:
                again = self.matrix(rows.rows(positions))
            except NonFiniteError:
                raise
            except WhyboxError as error:
                raise UnsupportedModelError(
                    f"a step of the pipeline takes {n_rows} rows together but not {len(positions)} of them, so it looks at the rows beside a row: {error}"
                ) from error
            if not _same_matrix(again, encoded[positions]):
                raise UnsupportedModelError(
                    "a step of the pipeline encodes a row differently when other rows stand around it, or at each call, so single decisions cannot be explained. "
                    "What it needs of other rows (a median to fill with, a rank, a scale) it must learn in fit."
                )

    def _rows_to_confirm(self, table: Table) -> tuple[Table, Floats]:
        """Representative rows of a table, and their encoding; a single row gets a shifted copy, if the encoder accepts it."""
        if len(table) > 1:
            rows = table.rows(representative_rows(table, _MAX_ROWS_CONFIRMED))
            return rows, self.matrix(rows)
        row_and_copy = table.with_shifted_copy()
        try:
            return row_and_copy, self.matrix(row_and_copy)
        except WhyboxError:  # the step refuses the shifted copy, so nothing can be confirmed on a single row
            return table, np.empty((1, 0))

    def group_columns(self) -> tuple[tuple[int, ...], ...]:
        """Group the user's columns into players: columns that one model column depends on belong together.

        A column that no model column reads is a player of its own; its attribution is exactly zero.
        """
        if all(len(source) < 2 for source in self.source_columns):
            return tuple((i,) for i in range(len(self.names)))
        leader = list(range(len(self.names)))

        def find(column: int) -> int:
            while leader[column] != column:
                leader[column] = leader[leader[column]]
                column = leader[column]
            return column

        for source in self.source_columns:
            for other in source[1:]:
                a, b = find(source[0]), find(other)
                leader[max(a, b)] = min(a, b)
        groups: dict[int, list[int]] = {}
        for i in range(len(self.names)):
            groups.setdefault(find(i), []).append(i)
        return tuple(tuple(g) for g in groups.values())


def same_columns(a: Floats, b: Floats) -> npt.NDArray[np.bool_]:
    """Whether each column is the same up to rounding: matrix products differ in the last bit with the number of rows."""
    with np.errstate(invalid="ignore"):
        magnitude = np.where(np.isfinite(b), np.abs(b), 0.0)
        too_far = np.abs(a - b) > 2e-7 * magnitude + 1e-12 * magnitude.max(axis=0, initial=0.0)
        equal = (a == b) | (np.isnan(a) & np.isnan(b))
        return np.asarray((equal | (np.isfinite(a) & np.isfinite(b) & ~too_far)).all(axis=0))


def _same_matrix(a: Floats, b: Floats) -> bool:
    return a.shape == b.shape and bool(same_columns(a, b).all())


def _restore_names(
    table: Table, unused: tuple[str, ...], names: Sequence[str], respelled: Sequence[str]
) -> tuple[Table, tuple[str, ...]]:
    original_name = dict(zip(respelled, names, strict=True))
    return table.with_names([original_name[n] for n in table.names]), tuple(original_name[n] for n in unused)


@final
@dataclass(frozen=True)
class NumberEncoder:
    """Encodes columns of numbers and categories one to one.

    Attributes:
        float32: whether the library rounds inputs to float32.
        missing_value: the value that means missing, besides NaN.
        allow_nan: whether the library accepts missing values.
        allow_infinite: whether it accepts infinities.
        categories: by position of a categorical column, its training categories in the order of their codes, or None if the
            frame's own codes are read as they are.
        unseen_code: the code of a category that training did not have (NaN: read as missing); None: refuse it.
        array_codes: whether the library reads the codes in a plain array, because it knows categories only from a frame's dtype.
        absent: the value that the library reads where a sparse matrix stores nothing.
        sparse_nan: whether the library handles missing values in sparse rows as in dense rows.
        float32_kinds: dtype kinds that the library rounds to float32 in a plain array (float32 and float64 are never rounded).
        library: name of the library, for messages.
    """

    library: str
    float32: bool = False
    missing_value: float = float("nan")
    allow_nan: bool = True
    allow_infinite: bool = True
    categories: Mapping[int, tuple[Any, ...] | None] = field(default_factory=dict)
    unseen_code: float | None = float("nan")
    array_codes: bool = False
    float32_kinds: str = ""
    absent: float = 0.0
    sparse_nan: bool = True

    @property
    def is_elementwise(self) -> bool:
        """True: columns are read one to one."""
        return True

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories of training, column by column."""
        cells_are_codes = self.array_codes and table is not None and isinstance(table.native, np.ndarray)
        return {
            i: Vocabulary(categories, cells_are_codes=cells_are_codes and categories is not None)
            for i, categories in self.categories.items()
        }

    def select_columns(self, columns: npt.NDArray[np.int64]) -> Encoder:
        """Return the encoder of some columns."""
        new_position = {int(c): i for i, c in enumerate(columns)}
        categories = {new_position[c]: v for c, v in self.categories.items() if c in new_position}
        return _SelectedColumns(replace(self, categories=categories), columns, selects_before=True)

    def __call__(self, table: Table) -> Floats:
        """Return the matrix of an aligned table."""
        table = replace(table, absent=self.absent)
        array = table.native if isinstance(table.native, np.ndarray) else None
        is_numeric = not self.categories or (self.array_codes and (array is not None or table.is_matrix))
        values = table.matrix() if is_numeric else self._encode_columns(table)
        rounds_to_float32 = (
            array is not None and array.dtype not in (np.float32, np.float64) and array.dtype.kind in self.float32_kinds
        )
        with np.errstate(over="ignore"):
            matrix = (
                values.astype(np.float32).astype(np.float64)
                if self.float32 or rounds_to_float32
                else values.astype(np.float64)
            )
        if not np.isnan(self.missing_value):
            matrix[matrix == (np.float64(np.float32(self.missing_value)) if self.float32 else self.missing_value)] = (
                np.nan
            )
        self._refuse_values(values, matrix, table)
        return matrix

    def _encode_columns(self, table: Table) -> npt.NDArray[Any]:
        encoded = np.empty((len(table), table.width))
        for i in range(table.width):
            column = table.column(i)
            if i in self.categories:
                encoded[:, i] = self.category_codes(column, self.categories[i])
            elif column.kind in ("number", "boolean"):
                encoded[:, i] = column.values
            else:
                raise DtypeError(
                    f"column {column.name!r} is not numeric, but {self.library} was trained with numbers there; cast or encode it as the training data was."
                )
        return encoded

    def category_codes(self, column: Column, categories: tuple[Any, ...] | None) -> Floats:
        """Return a categorical column's training codes as floats."""
        if column.kind in ("number", "boolean") and categories is None:
            return column.values.astype(np.float64)
        if categories is None and column.categories is not None:
            return np.where(column.values < 0, np.nan, column.values.astype(np.float64))
        if categories is None:
            raise DtypeError(
                f"column {column.name!r} is categorical for {self.library}; give it the categorical dtype it had in training."
            )
        code_of = {category_key(c): float(i) for i, c in enumerate(categories)}
        if column.categories is not None:
            code_by_position = np.array([*(self._category_code(column, c, code_of) for c in column.categories), np.nan])
            return np.asarray(code_by_position[column.values])
        return np.array(
            [np.nan if is_missing(v) else self._category_code(column, v, code_of) for v in column.objects()],
            dtype=np.float64,
        )

    def _category_code(self, column: Column, value: Any, code_of: Mapping[Any, float]) -> float:
        code = code_of.get(category_key(value))
        if code is not None:
            return code
        if self.unseen_code is None:
            raise DtypeError(
                f"column {column.name!r} holds the category {value!r}, which training did not have, and {self.library} refuses such values. Known: {quoted_list(list(code_of))}."
            )
        return self.unseen_code

    def _refuse_values(self, raw: npt.NDArray[Any], matrix: Floats, table: Table) -> None:
        if not self.allow_infinite and np.isinf(matrix).any():
            i, j = np.argwhere(np.isinf(matrix))[0]
            description = "an infinite value" if np.isinf(float(raw[i, j])) else "a value too large for float32"
            raise NonFiniteError(
                f"column {table.names[j]!r} holds {description} ({{row}}); {self.library} refuses those. Replace it, for example by NaN where that means missing.",
                row=int(i),
            )
        if not self.sparse_nan and table.is_sparse and np.isnan(matrix).any():
            i, j = np.argwhere(np.isnan(matrix))[0]
            raise NonFiniteError(
                f"column {table.names[j]!r} stores a missing value in sparse rows ({{row}}); {self.library} does not treat those as it does in dense rows. "
                "Pass dense rows (X.toarray()), or impute them as the training data was.",
                row=int(i),
            )
        if not self.allow_nan and np.isnan(matrix).any():
            i, j = np.argwhere(np.isnan(matrix))[0]
            raise NonFiniteError(
                f"column {table.names[j]!r} has a missing value ({{row}}); {self.library} refuses those. Impute it as the training data was.",
                row=int(i),
            )


@final
@dataclass(frozen=True)
class _SelectedColumns:
    """Encodes some of an encoder's model columns, from the same columns of the user or from all of them.

    Attributes:
        selects_before: whether the encoder gets only these columns of the user (else the encoded matrix is cut).
    """

    encoder: Encoder
    columns: npt.NDArray[np.int64]
    selects_before: bool

    @property
    def is_elementwise(self) -> bool:
        """As of the encoder."""
        return self.encoder.is_elementwise

    @property
    def absent(self) -> float:
        """As of the encoder."""
        return float(getattr(self.encoder, "absent", 0.0))

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories of training of the user's own columns, as of the encoder."""
        if not self.selects_before:
            return self.encoder.learned_categories(table)
        found = self.encoder.learned_categories(None if table is None else table.select(self.columns.tolist()))
        return {int(self.columns[i]): vocabulary for i, vocabulary in found.items()}

    def __call__(self, table: Table) -> Floats:
        """Return the matrix of these columns."""
        if self.selects_before:
            return self.encoder(table.select(self.columns.tolist()))
        return self.encoder(table)[:, self.columns]
