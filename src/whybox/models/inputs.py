"""From the user's columns to the numbers a model reads, and which of the user's columns each of those numbers depends on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, final, runtime_checkable

import numpy as np
import numpy.typing as npt

from whybox.data.cells import representative_rows
from whybox.data.table import Column, Floats, Table, align_columns, is_missing
from whybox.errors import ColumnsError, DtypeError, NonFiniteError, UnsupportedModelError, WhyboxError, shown
from whybox.models.categories import Vocabulary, category_key

__all__ = ["Encoder", "Inputs", "NumberEncoder"]

_SAMPLE: Final = 24  # rows that are mixed to confirm a pipeline's structure
_ALONE: Final = 4  # of them that are encoded alone
_ROUNDS: Final = 10  # two players stay on one side in all of them once in a thousand times


class Encoder(Protocol):
    """Turns an aligned table into the model's matrix (rows, model columns), float64; missing is NaN."""

    @property
    def elementwise(self) -> bool:
        """Whether each model column is plainly one of the user's columns, row by row, so that there is nothing to confirm."""

    def learnt(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return what categories the model learnt, for the positions of the user's columns that are categorical; None: before there are rows."""
        return {}

    def __call__(self, table: Table) -> Floats:
        """Return the matrix."""


@runtime_checkable
class Narrowing(Protocol):
    """An encoder that can make some of its model columns without the others."""

    def only(self, columns: npt.NDArray[np.int64]) -> Encoder:
        """Return the encoder of these model columns, in rising order."""


@final
@dataclass(frozen=True)
class Inputs:
    """What a model wants to be given.

    Attributes:
        names: the user's columns, in the model's order.
        named: whether the model itself knows the names (else columns are matched by position).
        encoder: from those columns to the model's matrix.
        sources: for each model column, the positions of the user's columns it is computed from.
        blank: what the library writes in place of a blank in a name, where it does (LightGBM writes "_").
        own_names: what the library called the columns itself because it was given no names; a frame that has all of them is matched by them.
        remembered: names that another part of the model was fitted with (a step of a Pipeline), where the model itself knows none.
    """

    names: tuple[str, ...]
    named: bool
    encoder: Encoder
    sources: tuple[tuple[int, ...], ...]
    blank: str | None = None
    own_names: tuple[str, ...] = ()
    remembered: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Number of model columns."""
        return len(self.sources)

    def align(self, table: Table, *, what: str = "X") -> tuple[Table, tuple[str, ...]]:
        """Bring a table's columns into the model's order; also return the names of columns the model does not use.

        Raises:
            ColumnsError: a column is missing (it is named), or an unnamed table has another width.
        """
        table = replace(table, absent=getattr(self.encoder, "absent", 0.0))
        if self.by_name(table):
            known = self.names if self.named else self.own_names
            respelled = tuple(self._respell(n) for n in table.names)
            return _restore(*align_columns(table.renamed(respelled), known, what=what), table.names, respelled)
        if table.width != len(self.names):
            raise ColumnsError(
                f"{what} has {table.width} columns, the model was trained on {len(self.names)}"
                + (f": {shown(self.names)}." if self.named else ". Pass the same columns in the same order.")
            )
        return (table if table.named else table.renamed(self.names)), ()

    def by_name(self, table: Table) -> bool:
        """Whether the table's columns are matched by name; else they are taken by position."""
        return table.named and (self.named or (bool(self.own_names) and set(self.own_names) <= set(table.names)))

    def reads(self, name: str) -> bool:
        """Whether a column of this name is one of the model's; no column is, where the model knows no names."""
        return (self.named and self._respell(name) in self.names) or name in self.own_names

    def categorical(self, names: Sequence[str]) -> dict[str, Vocabulary]:
        """Return what categories the model learnt of the columns of a table, of which only the names are known yet."""
        known = self.names if self.named else self.own_names if set(self.own_names) <= set(names) else ()
        at = {self._respell(n): n for n in names} if known else dict(zip(self.names, names, strict=False))
        wanted = {(known or self.names)[i]: v for i, v in self.encoder.learnt(None).items()}
        return {at[n]: v for n, v in wanted.items() if n in at}

    def _respell(self, name: str) -> str:
        return name if self.blank is None or name in self.names else re.sub(r"\s", self.blank, name)

    def only(self, columns: npt.NDArray[np.int64]) -> Inputs:
        """Return the same inputs with some of the model columns, in rising order; the user's columns stay."""
        encoder = self.encoder
        some = encoder.only(columns) if isinstance(encoder, Narrowing) else _Picked(encoder, columns, before=False)
        return replace(self, encoder=some, sources=tuple(self.sources[int(c)] for c in columns))

    def matrix(self, table: Table) -> Floats:
        """Encode an aligned table: (rows, model columns), float64, C-contiguous."""
        return np.ascontiguousarray(self.encoder(table), dtype=np.float64)

    def block(self, table: Table, start: int) -> Floats:
        """Encode a block of a longer table that begins at row `start`; errors name rows of the whole."""
        try:
            return self.matrix(table)
        except NonFiniteError as error:
            raise error.later(start) from None

    def confirm(self, table: Table) -> None:
        """Confirm on real rows that each model column depends on its `sources` only, and on its own row only.

        Rows from all over the table, and one with a missing value of each column that has any, are encoded in several companies, some alone. Then they
        are mixed: in each round a random half of the players is taken from other rows, and the encoded
        result must be the mix of the encoded rows. Where a step's declared structure is not its own, this is where it is found out.
        A single row is joined by a copy with its numbers moved, where there are numbers to move.

        Raises:
            UnsupportedModelError: a step mixes columns or rows in a way that its declared structure does not show.
        """
        if self.encoder.elementwise:
            return
        rows, here = self._sample(table)
        n = len(rows)
        if n < 2:
            return
        rng = np.random.default_rng(0)
        self._confirm_rows(rows, here)
        players = self.players()
        player_of = {j: p for p, player in enumerate(players) for j in player}
        of_column = np.array([player_of[s[0]] if s else -1 for s in self.sources], dtype=np.int64)
        for _ in range(_ROUNDS):
            taken = rng.random(len(players)) < 0.5
            other = np.roll(np.arange(n), int(rng.integers(1, n)))
            moved = taken[of_column] & (of_column >= 0)
            mixed = self.matrix(rows.mixed(rows.rows(other), [j for p in np.flatnonzero(taken) for j in players[p]]))
            wrong = np.flatnonzero(~_same_columns(mixed, np.where(moved, here[other], here)))
            if len(wrong):
                names = shown([self.names[i] for i in self.sources[wrong[0]]])
                raise UnsupportedModelError(
                    f"a step of the pipeline makes a model column of other columns than {names}, though by its structure it should come from no others. "
                    "Wrap that step so that whybox sees it as one that mixes its columns: any transformer class of your own is taken that way."
                )

    def _confirm_rows(self, rows: Table, here: Floats) -> None:
        """Confirm that a row is encoded the same among others in another order, in either half, alone, and once more."""
        n = len(rows)
        mixed = np.random.default_rng(1).permutation(n)
        alone = [np.array([i]) for i in range(n - 1, max(n - 1 - _ALONE, -1), -1)]  # the last ones have missing values
        for some in (np.roll(np.arange(n), 1), mixed[: n // 2], mixed[n // 2 :], *alone, np.arange(n)):
            try:
                said = self.matrix(rows.rows(some))
            except NonFiniteError:
                raise
            except WhyboxError as error:
                raise UnsupportedModelError(
                    f"a step of the pipeline takes {n} rows together but not {len(some)} of them, so it looks at the rows beside a row: {error}"
                ) from error
            if not _same(said, here[some]):
                raise UnsupportedModelError(
                    "a step of the pipeline encodes a row differently when other rows stand around it, or at each call, so single decisions cannot be explained. "
                    "What it needs of other rows (a median to fill with, a rank, a scale) it must learn in fit."
                )

    def _sample(self, table: Table) -> tuple[Table, Floats]:
        """Rows from all over a table, encoded; a single row is joined by a moved copy, if the encoder takes one."""
        if len(table) > 1:
            rows = table.rows(representative_rows(table, _SAMPLE))
            return rows, self.matrix(rows)
        two = table.with_shifted_copy()
        try:
            return two, self.matrix(two)
        except WhyboxError:  # the step refuses the moved copy, so nothing can be confirmed on a single row
            return table, np.empty((1, 0))

    def players(self) -> tuple[tuple[int, ...], ...]:
        """Group the user's columns that must be one player, because some model column is computed from several of them.

        Columns that no model column reads come as players of their own: their attribution is exactly zero.
        """
        if all(len(source) < 2 for source in self.sources):
            return tuple((i,) for i in range(len(self.names)))
        leader = list(range(len(self.names)))

        def find(i: int) -> int:
            while leader[i] != i:
                leader[i] = leader[leader[i]]
                i = leader[i]
            return i

        for source in self.sources:
            for other in source[1:]:
                a, b = find(source[0]), find(other)
                leader[max(a, b)] = min(a, b)
        groups: dict[int, list[int]] = {}
        for i in range(len(self.names)):
            groups.setdefault(find(i), []).append(i)
        return tuple(tuple(g) for g in groups.values())


def _same_columns(a: Floats, b: Floats) -> npt.NDArray[np.bool_]:
    """Whether each column is the same but for rounding: products of matrices differ in the last bit with the number of rows."""
    with np.errstate(invalid="ignore"):
        size = np.where(np.isfinite(b), np.abs(b), 0.0)
        off = np.abs(a - b) > 2e-7 * size + 1e-12 * size.max(axis=0, initial=0.0)
        equal = (a == b) | (np.isnan(a) & np.isnan(b))
        return np.asarray((equal | (np.isfinite(a) & np.isfinite(b) & ~off)).all(axis=0))


def _same(a: Floats, b: Floats) -> bool:
    return a.shape == b.shape and bool(_same_columns(a, b).all())


def _restore(
    table: Table, unused: tuple[str, ...], names: Sequence[str], respelled: Sequence[str]
) -> tuple[Table, tuple[str, ...]]:
    back = dict(zip(respelled, names, strict=True))
    return table.renamed([back[n] for n in table.names]), tuple(back[n] for n in unused)


@final
@dataclass(frozen=True)
class NumberEncoder:
    """Columns of numbers and, where said, of categories, read one to one.

    Attributes:
        single: the library rounds to float32.
        missing: the value that means missing, besides NaN.
        allow_nan: whether the library takes missing values at all.
        allow_infinite: whether it takes infinities.
        categories: for a categorical column's position, its training categories in the order of their codes, or None when the
            frame's own codes are read as they are.
        unseen: the code of a category that training did not have (NaN: it is read as missing); None: refuse it.
        array_codes: in a plain array, the library reads categories as their codes: it knows categories by a frame's dtype only.
        absent: what the library reads where a sparse matrix stores nothing.
        sparse_nan: whether it routes missing values in sparse rows as in dense ones.
        narrow: kinds of dtypes that the library rounds to float32 where they stand in a plain array; float32 and float64 it never does.
        library: whose rules these are, for messages.
    """

    library: str
    single: bool = False
    missing: float = float("nan")
    allow_nan: bool = True
    allow_infinite: bool = True
    categories: Mapping[int, tuple[Any, ...] | None] = field(default_factory=dict)
    unseen: float | None = float("nan")
    array_codes: bool = False
    narrow: str = ""
    absent: float = 0.0
    sparse_nan: bool = True

    @property
    def elementwise(self) -> bool:
        """True: columns are read one to one."""
        return True

    def learnt(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories of training, column by column."""
        codes = self.array_codes and table is not None and isinstance(table.native, np.ndarray)
        return {i: Vocabulary(known, codes=codes and known is not None) for i, known in self.categories.items()}

    def only(self, columns: npt.NDArray[np.int64]) -> Encoder:
        """Return the encoder of some columns."""
        place = {int(c): i for i, c in enumerate(columns)}
        known = {place[c]: v for c, v in self.categories.items() if c in place}
        return _Picked(replace(self, categories=known), columns, before=True)

    def __call__(self, table: Table) -> Floats:
        """Return the matrix of an aligned table."""
        table = replace(table, absent=self.absent)
        array = table.native if isinstance(table.native, np.ndarray) else None
        plain = not self.categories or (self.array_codes and (array is not None or table.is_matrix))
        raw = table.matrix() if plain else self._columns(table)
        rounded = array is not None and array.dtype not in (np.float32, np.float64) and array.dtype.kind in self.narrow
        with np.errstate(over="ignore"):
            matrix = raw.astype(np.float32).astype(np.float64) if self.single or rounded else raw.astype(np.float64)
        if not np.isnan(self.missing):
            matrix[matrix == (np.float64(np.float32(self.missing)) if self.single else self.missing)] = np.nan
        self._refuse(raw, matrix, table)
        return matrix

    def _columns(self, table: Table) -> npt.NDArray[Any]:
        out = np.empty((len(table), table.width))
        for i in range(table.width):
            column = table.column(i)
            if i in self.categories:
                out[:, i] = self.codes(column, self.categories[i])
            elif column.kind in ("number", "boolean"):
                out[:, i] = column.values
            else:
                raise DtypeError(
                    f"column {column.name!r} is not numeric, but {self.library} was trained with numbers there; cast or encode it as the training data was."
                )
        return out

    def codes(self, column: Column, known: tuple[Any, ...] | None) -> Floats:
        """Return a categorical column's training codes as floats."""
        if column.kind in ("number", "boolean") and known is None:
            return column.values.astype(np.float64)
        if known is None and column.categories is not None:
            return np.where(column.values < 0, np.nan, column.values.astype(np.float64))
        if known is None:
            raise DtypeError(
                f"column {column.name!r} is categorical for {self.library}; give it the categorical dtype it had in training."
            )
        code = {category_key(c): float(i) for i, c in enumerate(known)}
        if column.categories is not None:
            lookup = np.array([*(self._code(column, c, code) for c in column.categories), np.nan])
            return np.asarray(lookup[column.values])
        return np.array(
            [np.nan if is_missing(v) else self._code(column, v, code) for v in column.objects()], dtype=np.float64
        )

    def _code(self, column: Column, value: Any, code: Mapping[Any, float]) -> float:
        found = code.get(category_key(value))
        if found is not None:
            return found
        if self.unseen is None:
            raise DtypeError(
                f"column {column.name!r} holds the category {value!r}, which training did not have, and {self.library} refuses such values. Known: {shown(list(code))}."
            )
        return self.unseen

    def _refuse(self, raw: npt.NDArray[Any], matrix: Floats, table: Table) -> None:
        if not self.allow_infinite and np.isinf(matrix).any():
            i, j = np.argwhere(np.isinf(matrix))[0]
            size = "an infinite value" if np.isinf(float(raw[i, j])) else "a value too large for float32"
            raise NonFiniteError(
                f"column {table.names[j]!r} holds {size} ({{row}}); {self.library} refuses those. Replace it, for example by NaN where that means missing.",
                int(i),
            )
        if not self.sparse_nan and table.is_sparse and np.isnan(matrix).any():
            i, j = np.argwhere(np.isnan(matrix))[0]
            raise NonFiniteError(
                f"column {table.names[j]!r} stores a missing value in sparse rows ({{row}}); {self.library} does not treat those as it does in dense rows. "
                "Pass dense rows (X.toarray()), or impute them as the training data was.",
                int(i),
            )
        if not self.allow_nan and np.isnan(matrix).any():
            i, j = np.argwhere(np.isnan(matrix))[0]
            raise NonFiniteError(
                f"column {table.names[j]!r} has a missing value ({{row}}); {self.library} refuses those. Impute it as the training data was.",
                int(i),
            )


@final
@dataclass(frozen=True)
class _Picked:
    """Some of an encoder's model columns: of the user's columns that they are, or of all of them where that cannot be told.

    Attributes:
        before: the encoder reads these of the user's columns and no others.
    """

    encoder: Encoder
    columns: npt.NDArray[np.int64]
    before: bool

    @property
    def elementwise(self) -> bool:
        """As of the encoder."""
        return self.encoder.elementwise

    @property
    def absent(self) -> float:
        """As of the encoder."""
        return float(getattr(self.encoder, "absent", 0.0))

    def learnt(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories of training of the user's own columns, as of the encoder."""
        if not self.before:
            return self.encoder.learnt(table)
        found = self.encoder.learnt(None if table is None else table.select(self.columns.tolist()))
        return {int(self.columns[i]): vocabulary for i, vocabulary in found.items()}

    def __call__(self, table: Table) -> Floats:
        """Return the matrix of these columns."""
        if self.before:
            return self.encoder(table.select(self.columns.tolist()))
        return self.encoder(table)[:, self.columns]
