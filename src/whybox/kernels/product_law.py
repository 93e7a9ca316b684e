"""Expectation of a tree ensemble when its columns are independent, and its derivative for every player: trees under a product law.

Every player has a law: a mass for each class of values that the model treats alike, or for each atom. The specification is in reference.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from whybox import _native
from whybox.core.progress import timed_batches
from whybox.data.table import Floats
from whybox.errors import InputError, OptionError, UnsupportedModelError
from whybox.kernels.compiled_trees import fastest_instructions
from whybox.kernels.effects import NativeGrid, PlayerPoints
from whybox.kernels.tree_shap import predict
from whybox.kernels.value_intervals import interval_edges
from whybox.models.trees import TreeEnsemble

__all__ = ["PlayerLaw", "ProductLaw", "expected_outputs"]

Ints = npt.NDArray[np.int64]
MAX_RATIO: Final = 1e290  # of a derivative to its mass: beyond it, products of masses lose the derivative
MAX_TABLE_BYTES: Final = 64 * 2**20
MAX_LAWS_IN_TABLES: Final = 16  # of the native kernel: a player with more has tables for each block of rows
TOTAL_ROUNDING: Final = 1e-9  # how far masses may add up to something else than one


@final
@dataclass(frozen=True, eq=False)
class PlayerLaw:
    """How the values of one player are distributed, and the derivative of that distribution.

    A player is a numeric column with a mass for each class of values (`edges`), or any columns with a mass for each atom (`atoms`). One of the two is
    given. A player has several laws where its distribution depends on the row; each row takes one of them.

    Attributes:
        columns: the player's model columns.
        mass: (laws, classes) or (laws, atoms), not negative, in each law adding up to one.
        derivative: the same shape, in each law adding up to zero; of any sign, and zero where the mass is zero.
        edges: (classes - 2,) of the column, as :func:`value_intervals.interval_edges` returns them. Class i holds the values above ``edges[i - 1]`` and up
            to ``edges[i]``; the last class but one all values above the last edge; the last one NaN (:func:`value_intervals.interval_index`).
        atoms: (atoms, columns), values in model columns.
    """

    columns: tuple[int, ...]
    mass: Floats
    derivative: Floats
    edges: Floats | None = None
    atoms: Floats | None = None

    @property
    def n_laws(self) -> int:
        """How many laws the player has."""
        return len(self.mass)

    def points(self) -> Floats:
        """Return a value of each class, or the atoms: (points, columns)."""
        if self.atoms is not None:
            return np.ascontiguousarray(self.atoms, dtype=np.float64)
        return np.append(np.asarray(self.edges, dtype=np.float64), [np.inf, np.nan])[:, None]


@final
class ProductLaw:
    """Laws of every player of a model, checked, with the tables that the native kernel makes of them.

    Tables are made at the first call. They are kept where they fit into 64 MiB, and otherwise made at each call for some trees at a time. Beside them a call takes
    about 60 bytes a split of the model, once more the size of the laws, and for each thread a few hundred rows' worth of results. A player with more than 16 laws
    (one for each row, say) has tables of its own in every block of 8 rows; then 64 MiB are shared between the threads, and the caller bounds the size of the laws
    by giving some rows at a time. No number depends on which rows are computed together.

    Args:
        e: the model.
        laws: one for each player. Every column that the model reads belongs to one of them.

    Raises:
        UnsupportedModelError: leaves are linear functions, which need means and not only masses.
        OptionError: the laws are not those of this model, or are no laws.
    """

    def __init__(self, e: TreeEnsemble, laws: Sequence[PlayerLaw]) -> None:
        self.ensemble = e
        self.laws = tuple(laws)
        _check_model(e, self.laws)
        for law in self.laws:
            _check_law(e, law)
        self._kept: _native.LawTables | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": None}  # native tables are made again

    def expected_outputs(self, law_of: Ints, *, threads: int = 1) -> tuple[Floats, Floats]:
        """See :func:`expected_outputs`."""
        e = self.ensemble
        law_of = self._checked_law_of(law_of)
        if threads < 1:
            raise OptionError("threads must be at least 1.")
        if not self.laws:  # and so no split
            return predict(e, np.zeros((len(law_of), e.inputs.width))), np.zeros((len(law_of), 0, len(e.base_values)))
        expected = np.tile(e.base_values, (len(law_of), 1))
        derivative = np.zeros((len(law_of), len(self.laws), len(e.base_values)))
        first = 0
        while first < e.n_trees:
            tables = self._tables(first, threads)
            for some in timed_batches(len(law_of), description="expected outputs", first_size=4096):
                tables.run(
                    law_of[some].ravel(),
                    some.stop - some.start,
                    fastest_instructions(),
                    threads,
                    expected[some].reshape(-1),
                    derivative[some].reshape(-1),
                )
            first = tables.last_tree
        return expected, derivative

    def _tables(self, first: int, threads: int) -> _native.LawTables:
        kept = self._kept
        if kept is not None and first == 0:
            return kept
        paths = _paths_of(self.ensemble, self.laws)
        mass, derivative = (
            np.concatenate(
                [_by_point(t, i, n).ravel() for t, i, n in zip(of_players, paths.index, paths.points, strict=True)]
            )
            for of_players in ([law.mass for law in self.laws], [law.derivative for law in self.laws])
        )
        n_laws = np.array([law.n_laws for law in self.laws], dtype=np.int64)
        max_bytes = MAX_TABLE_BYTES // (threads if n_laws.max() > MAX_LAWS_IN_TABLES else 1)
        tables = paths.native.tables(mass, derivative, n_laws, first, max_bytes, threads)
        if first == 0 and tables.last_tree == self.ensemble.n_trees and tables.bytes <= MAX_TABLE_BYTES:
            self._kept = tables
        return tables

    def _checked_law_of(self, law_of: Ints) -> Ints:
        law_of = np.ascontiguousarray(law_of, dtype=np.int64)
        if law_of.ndim != 2 or law_of.shape[1] != len(self.laws):
            raise InputError(f"law_of must be (rows, {len(self.laws)}), a law of each player.")
        if ((law_of < 0) | (law_of >= np.array([law.n_laws for law in self.laws], dtype=np.int64))).any():
            raise InputError("law_of names a law that its player does not have.")
        return law_of


def expected_outputs(
    e: TreeEnsemble, laws: Sequence[PlayerLaw], law_of: Ints, *, threads: int = 1
) -> tuple[Floats, Floats]:
    """Expectation of the raw outputs when players are independent, and its derivative for each player.

    Where every mass M of a player changes by t D, its derivative D, the expectation changes by t times the derivative that is returned, since it is linear in
    each player's masses. With ``M = q own + (1 - q) other`` and ``D = own - other``, the derivative is the expectation under the player's own law less the
    expectation under its other law. For more calls with the same laws keep a :class:`ProductLaw`.

    Args:
        e: the model.
        laws: one for each player. Every column that the model reads belongs to one of them.
        law_of: (rows, players), which law of each player each row takes.
        threads: rows are shared between them; the numbers do not depend on it.

    Returns:
        The expectation (rows, outputs), base included, and the derivative (rows, players, outputs).

    Raises:
        UnsupportedModelError: leaves are linear functions, which need means and not only masses.
        OptionError, InputError: the laws are not those of this model, or are no laws; `law_of` is out of range.
    """
    return ProductLaw(e, laws).expected_outputs(law_of, threads=threads)


@final
@dataclass(frozen=True)
class _Paths:
    """Native paths of the trees, and for each player how the points of its grid map to those that were given.

    Attributes:
        key: the players and points that they belong to.
        index: for each player (points,), the position in the grid of each given point. points: of each player in the grid.
    """

    key: tuple[object, ...]
    native: _native.ProductPaths
    index: list[npt.NDArray[np.uint32]]
    points: list[int]


_PATHS: Final[WeakKeyDictionary[TreeEnsemble, _Paths]] = WeakKeyDictionary()


def _paths_of(e: TreeEnsemble, laws: Sequence[PlayerLaw]) -> _Paths:
    """Return the paths of an ensemble for these players; those of the last players are kept while the ensemble lives."""
    key = tuple((law.columns, None if law.atoms is None else law.points().tobytes()) for law in laws)
    paths = _PATHS.get(e)
    if paths is None or paths.key != key:
        grid = NativeGrid(e, [PlayerPoints(law.columns, law.points()) for law in laws])
        paths = _PATHS[e] = _Paths(key, grid.native.product_paths(), grid.index, grid.points)
    return paths


def _by_point(table: Floats, index: npt.NDArray[np.uint32], n_points: int) -> Floats:
    """(laws, points as given) -> (laws, points of the grid); the model treats points that become one alike."""
    if np.array_equal(index, np.arange(n_points)):
        return np.ascontiguousarray(table, dtype=np.float64)
    out = np.zeros((n_points, len(table)))
    np.add.at(out, index, table.T)
    return np.ascontiguousarray(out.T)


def _check_model(e: TreeEnsemble, laws: Sequence[PlayerLaw]) -> None:
    if e.has_linear_leaves:
        raise UnsupportedModelError(
            "this model's leaves are linear functions: their expectation needs means of columns and not only masses. Take a method that samples."
        )
    columns = [c for law in laws for c in law.columns]
    if len(set(columns)) != len(columns):
        raise OptionError("a model column belongs to the laws of two players; give it to one of them.")
    if any(not 0 <= c < e.inputs.width for c in columns):
        raise OptionError(
            f"a law has a column that the model does not have; columns count from 0 to {e.inputs.width - 1}."
        )
    without = np.setdiff1d(e.columns_read, np.array(columns, dtype=np.int64))
    if len(without):
        raise OptionError(f"the model reads column {int(without[0])}, which has no law; give every column a law.")


def _check_law(e: TreeEnsemble, law: PlayerLaw) -> None:
    which = f"the law of columns {list(law.columns)}"
    if (law.edges is None) == (law.atoms is None) or not law.columns:
        raise OptionError(f"{which} needs columns, and either the edges of classes or atoms.")
    if law.edges is not None and (
        len(law.columns) > 1 or not np.array_equal(interval_edges(e, law.columns[0]), law.edges)
    ):
        raise OptionError(
            f"{which} has edges of classes that are not those of the model; take interval_edges of one column."
        )
    if law.atoms is not None and (law.atoms.ndim != 2 or law.atoms.shape[1] != len(law.columns)):
        raise OptionError(f"{which} has atoms of shape {law.atoms.shape}; it must be (atoms, {len(law.columns)}).")
    n_points = len(law.points())
    if (
        law.mass.ndim != 2
        or law.mass.shape[1] != n_points
        or law.derivative.shape != law.mass.shape
        or not law.mass.size
    ):
        raise OptionError(
            f"{which} must have masses and derivatives of shape (laws, {n_points}), and at least one law."
        )
    if not (np.isfinite(law.derivative).all() and (law.mass >= 0).all()):
        raise OptionError(f"{which} has a mass that is negative or not a number, or a derivative that is not finite.")
    size = np.abs(law.derivative)
    if (size > MAX_RATIO * law.mass).any():
        raise OptionError(f"{which} has a derivative where the mass is zero or nearly so; take a wider kernel.")
    totals = np.abs(law.mass.sum(axis=1) - 1), np.abs(law.derivative.sum(axis=1))
    if (totals[0] > TOTAL_ROUNDING).any() or (totals[1] > TOTAL_ROUNDING * (1 + size.sum(axis=1))).any():
        raise OptionError(f"{which} has masses that do not add up to one, or derivatives that do not add up to zero.")
