"""CatBoost's model columns: floats as they are, one-hot categories as codes, counters (CTRs) as the numbers their tables give.

A counter of one categorical column is a function of that column; one that combines columns makes them one player. So models with
categories are explained exactly, in the user's columns or in the groups that the model itself ties together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import final

import numpy as np
import numpy.typing as npt

from whybox.adapters.catboost.cityhash import category_hash, combine
from whybox.data.table import Column, Floats, Table, is_missing
from whybox.errors import DtypeError
from whybox.models.categories import Vocabulary
from whybox.models.inputs import Encoder

__all__ = ["CatBoostEncoder", "Counter", "Counts", "Element"]


@final
@dataclass(frozen=True)
class Element:
    """One ingredient of a counter: a categorical column, a float column above a border, or a category equal to a value."""

    column: int
    border: float | None = None
    equals: int | None = None


@final
@dataclass(frozen=True)
class Counts:
    """A learnt table: what was counted for each hash."""

    kind: str
    values: Mapping[int, tuple[float, ...]]
    denominator: float


@final
@dataclass(frozen=True)
class Counter:
    """One derived column: (good + prior) / (total + weight), shifted and scaled, from a table of counts."""

    elements: tuple[Element, ...]
    table: Counts
    prior: float
    prior_weight: float
    shift: float
    scale: float
    target: int

    @property
    def columns(self) -> tuple[int, ...]:
        """The user's columns it is computed from."""
        return tuple(sorted({e.column for e in self.elements}))

    def value(self, key: int) -> float:
        """Return the column's value for one hash, in float32 as CatBoost computes it."""
        good, total = self._counted(self.table.values.get(key))
        f = np.float32
        ratio = (f(good) + f(self.prior)) / (f(total) + f(self.prior_weight))
        return float((ratio + f(self.shift)) * f(self.scale))

    def _counted(self, found: tuple[float, ...] | None) -> tuple[float, float]:
        if found is None:
            return 0.0, 0.0
        kind = self.table.kind
        if kind in ("BinarizedTargetMeanValue", "FloatTargetMeanValue"):
            return found[0], found[1]
        if kind in ("Counter", "FeatureFreq"):
            return found[0], self.table.denominator
        if kind == "Buckets":
            return found[self.target], sum(found)
        return sum(found[self.target + 1 :]), sum(found)


@lru_cache(maxsize=200_000)
def _hash(text: str) -> int:
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

    floats: tuple[int, ...]
    one_hot: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    counters: tuple[Counter, ...] = ()
    categorical: frozenset[int] = frozenset()

    @property
    def is_elementwise(self) -> bool:
        """Whether there is nothing to confirm: every model column reads one of the user's."""
        return all(len(c.columns) == 1 for c in self.counters)

    @property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """For each model column, the user's columns."""
        return (*((p,) for p in self.floats), *((p,) for p in self.one_hot), *(c.columns for c in self.counters))

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return what categories the model knows by their hashes: all of training where a counter of the column alone lists them."""
        found = {}
        for p in sorted(self.categorical):
            alone = [c.table.values for c in self.counters if c.elements == (Element(p),)]
            known = frozenset(self.one_hot.get(p, ()))
            found[p] = Vocabulary(contains_text=_Known(known, tuple(alone)), is_complete=bool(alone))
        return found

    def __call__(self, table: Table) -> Floats:
        """Return the model's matrix of an aligned table."""
        parts = [self._floats(table)]
        hashes = {p: self._hashes(table.column(p)) for p in sorted(self.categorical) if self._needed(p)}
        for p, values in self.one_hot.items():
            code = {h: float(i) for i, h in enumerate(values)}
            parts.append(np.array([[code.get(int(h), float(len(values)))] for h in hashes[p]]))
        parts += [self._counter(c, table, hashes) for c in self.counters]
        return np.concatenate(parts, axis=1)

    def _needed(self, position: int) -> bool:
        return position in self.one_hot or any(position in c.columns for c in self.counters)

    def _floats(self, table: Table) -> Floats:
        rows = table.select(self.floats).matrix() if self.floats else np.empty((len(table), 0))
        with np.errstate(over="ignore"):
            return np.asarray(rows.astype(np.float32).astype(np.float64))

    def _hashes(self, column: Column) -> npt.NDArray[np.int64]:
        """Hashes of the text that CatBoost makes of each category."""
        if column.categories is not None:
            if (column.values < 0).any():
                raise DtypeError(_missing(column))
            table = np.array([_hash(_text(column, c)) for c in column.categories], dtype=np.int64)
            return np.asarray(table[column.values])
        values = column.values if column.originals is None else column.originals
        if values.dtype.kind == "f":  # floats, or whole numbers or booleans that turned into them with a missing value
            raise DtypeError(_missing(column) if column.kind == "boolean" else _floats(column))
        return np.array([_hash(_text(column, v)) for v in values.tolist()], dtype=np.int64)

    def _counter(self, counter: Counter, table: Table, hashes: Mapping[int, npt.NDArray[np.int64]]) -> Floats:
        columns: list[npt.NDArray[np.int64]] = []
        for e in counter.elements:
            if e.border is not None:
                with np.errstate(over="ignore"):
                    columns.append(
                        (
                            np.asarray(table.column(e.column).values, dtype=np.float64).astype(np.float32)
                            > np.float32(e.border)
                        ).astype(np.int64)
                    )
            elif e.equals is not None:
                columns.append((hashes[e.column] == e.equals).astype(np.int64))
            else:
                columns.append(hashes[e.column])
        keys, back = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
        values = np.array([counter.value(combine([int(k) for k in key])) for key in keys])
        return np.asarray(values[back.reshape(-1)][:, None])


@final
@dataclass(frozen=True)
class _Known:
    """Whether a category is one of some hashes, or of those that counters have counted."""

    hashes: frozenset[int]
    counted: tuple[Mapping[int, tuple[float, ...]], ...]

    def __call__(self, text: str) -> bool:
        found = _hash(text)
        return found in self.hashes or any(combine([found]) in values for values in self.counted)


def _text(column: Column, value: object) -> str:
    """Return a category as CatBoost writes it before it hashes it."""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if is_missing(value):
        raise DtypeError(_missing(column))
    if isinstance(value, (float, np.floating)):
        raise DtypeError(_floats(column))
    return str(value)


def _missing(column: Column) -> str:
    return (
        f"column {column.name!r} has missing categories; CatBoost refuses those, so give them a name such as 'missing'."
    )


def _floats(column: Column) -> str:
    return (
        f"column {column.name!r} is categorical for CatBoost but holds floats or missing values; CatBoost refuses those, "
        "so cast it to integers or text."
    )
