"""CatBoost's model columns: floats as they are, one-hot categories as codes, counters (CTRs) as the numbers their tables give.

A counter of one categorical column is a function of that column; one that combines columns makes them one player. So models with
categories are explained exactly, in the user's columns or in the groups that the model itself ties together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.adapters.catboost.cityhash import category_hash, combine_hashes
from whybox.data.table import Column, Floats, Table, is_missing
from whybox.errors import DtypeError
from whybox.models.categories import Vocabulary
from whybox.models.inputs import Encoder

__all__ = ["CatBoostEncoder", "CtrElement", "CtrFeature", "CtrTable"]


@final
@dataclass(frozen=True)
class CtrElement:
    """One element of a CTR feature: a categorical column, a float column above a border, or a category equal to a value."""

    column: int
    border: float | None = None
    equals: int | None = None


@final
@dataclass(frozen=True)
class CtrTable:
    """A learned CTR table: the counts of each hash."""

    kind: str
    values: Mapping[int, tuple[float, ...]]
    denominator: float


@final
@dataclass(frozen=True)
class CtrFeature:
    """A CTR (target statistics) feature: (count + prior) / (total + prior weight), shifted and scaled, from a table of counts."""

    elements: tuple[CtrElement, ...]
    table: CtrTable
    prior: float
    prior_weight: float
    shift: float
    scale: float
    target_border: int

    @property
    def columns(self) -> tuple[int, ...]:
        """The user's columns it is computed from."""
        return tuple(sorted({e.column for e in self.elements}))

    def value(self, key: int) -> float:
        """Return the column's value for one hash, in float32 as CatBoost computes it."""
        count, total = self._count_and_total(self.table.values.get(key))
        float32 = np.float32
        ratio = (float32(count) + float32(self.prior)) / (float32(total) + float32(self.prior_weight))
        return float((ratio + float32(self.shift)) * float32(self.scale))

    def _count_and_total(self, counts: tuple[float, ...] | None) -> tuple[float, float]:
        if counts is None:
            return 0.0, 0.0
        kind = self.table.kind
        if kind in ("BinarizedTargetMeanValue", "FloatTargetMeanValue"):
            return counts[0], counts[1]
        if kind in ("Counter", "FeatureFreq"):
            return counts[0], self.table.denominator
        if kind == "Buckets":
            return counts[self.target_border], sum(counts)
        return sum(counts[self.target_border + 1 :]), sum(counts)


@lru_cache(maxsize=200_000)
def _cached_hash(text: str) -> int:
    return category_hash(text)


@final
@dataclass(frozen=True)
class CatBoostEncoder(Encoder):
    """From the user's columns to CatBoost's: used float columns, one-hot codes, counters, in this order.

    Attributes:
        floats: the user's positions of float columns.
        one_hot: position of a categorical column -> hashes whose equality is tested.
        counters: derived columns.
        categorical: positions of all categorical columns.
    """

    float_positions: tuple[int, ...]
    one_hot: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    ctr_features: tuple[CtrFeature, ...] = ()
    categorical_positions: frozenset[int] = frozenset()

    @property
    def is_elementwise(self) -> bool:
        """Whether every model column reads one column of the user, so that nothing has to be confirmed."""
        return all(len(c.columns) == 1 for c in self.ctr_features)

    @property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """For each model column, the user's columns."""
        return (
            *((position,) for position in self.float_positions),
            *((position,) for position in self.one_hot),
            *(c.columns for c in self.ctr_features),
        )

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories that the model knows by their hashes; complete if a CTR feature of the column alone lists them."""
        vocabularies = {}
        for position in sorted(self.categorical_positions):
            own_tables = [
                counter.table.values for counter in self.ctr_features if counter.elements == (CtrElement(position),)
            ]
            one_hot_hashes = frozenset(self.one_hot.get(position, ()))
            vocabularies[position] = Vocabulary(
                contains_text=_KnownHashes(one_hot_hashes, tuple(own_tables)), is_complete=bool(own_tables)
            )
        return vocabularies

    def __call__(self, table: Table) -> Floats:
        """Return the model's matrix of an aligned table."""
        parts = [self.float_columns(table)]
        hashes = {
            position: self._category_hashes(table.column(position))
            for position in sorted(self.categorical_positions)
            if self._is_read(position)
        }
        for position, values in self.one_hot.items():
            code_of_hash = {category: float(i) for i, category in enumerate(values)}
            parts.append(
                np.array([[code_of_hash.get(int(category), float(len(values)))] for category in hashes[position]])
            )
        parts += [self._ctr_column(feature, table, hashes) for feature in self.ctr_features]
        return np.concatenate(parts, axis=1)

    def _is_read(self, position: int) -> bool:
        return position in self.one_hot or any(position in c.columns for c in self.ctr_features)

    def float_columns(self, table: Table) -> Floats:
        """Return the used float columns of an aligned table."""
        rows = table.select(self.float_positions).matrix() if self.float_positions else np.empty((len(table), 0))
        with np.errstate(over="ignore"):
            return np.asarray(rows.astype(np.float32).astype(np.float64))

    def _category_hashes(self, column: Column) -> npt.NDArray[np.int64]:
        """Hashes of the text of each category."""
        texts, codes = _texts_and_codes(column)
        hashes = np.array([_cached_hash(text) for text in texts], dtype=np.int64)
        return hashes if codes is None else np.asarray(hashes[codes])

    def category_texts(self, column: Column) -> list[str]:
        """Return the text of each category, as CatBoost hashes it."""
        texts, codes = _texts_and_codes(column)
        return texts if codes is None else [texts[code] for code in codes.tolist()]

    def _ctr_column(self, counter: CtrFeature, table: Table, hashes: Mapping[int, npt.NDArray[np.int64]]) -> Floats:
        columns: list[npt.NDArray[np.int64]] = []
        for element in counter.elements:
            if element.border is not None:
                with np.errstate(over="ignore"):
                    columns.append(
                        (
                            np.asarray(table.column(element.column).values, dtype=np.float64).astype(np.float32)
                            > np.float32(element.border)
                        ).astype(np.int64)
                    )
            elif element.equals is not None:
                columns.append((hashes[element.column] == element.equals).astype(np.int64))
            else:
                columns.append(hashes[element.column])
        keys, key_of_row = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
        values = np.array([counter.value(combine_hashes([int(k) for k in key])) for key in keys])
        return np.asarray(values[key_of_row.reshape(-1)][:, None])


@final
@dataclass(frozen=True)
class _KnownHashes:
    """Whether the hash of a category is a one-hot value or in a CTR table."""

    hashes: frozenset[int]
    ctr_tables: tuple[Mapping[int, tuple[float, ...]], ...]

    def __call__(self, text: str) -> bool:
        found = _cached_hash(text)
        return found in self.hashes or any(combine_hashes([found]) in values for values in self.ctr_tables)


def _texts_and_codes(column: Column) -> tuple[list[str], npt.NDArray[Any] | None]:
    """Texts of the categories and the code of each cell; None: one text a cell."""
    if column.categories is not None:
        if (column.values < 0).any():
            raise DtypeError(_missing_message(column))
        return [_hashed_text(column, c) for c in column.categories], column.values
    values = column.values if column.originals is None else column.originals
    if values.dtype.kind == "f":  # floats, or whole numbers or booleans that turned into them with a missing value
        raise DtypeError(_missing_message(column) if column.kind == "boolean" else _floats_message(column))
    return [_hashed_text(column, value) for value in values.tolist()], None


def _hashed_text(column: Column, value: object) -> str:
    """Return the text of a category that CatBoost hashes."""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if is_missing(value):
        raise DtypeError(_missing_message(column))
    if isinstance(value, (float, np.floating)):
        raise DtypeError(_floats_message(column))
    return str(value)


def _missing_message(column: Column) -> str:
    return (
        f"column {column.name!r} has missing categories; CatBoost refuses those, so give them a name such as 'missing'."
    )


def _floats_message(column: Column) -> str:
    return (
        f"column {column.name!r} is categorical for CatBoost but holds floats or missing values; CatBoost refuses those, "
        "so cast it to integers or text."
    )
