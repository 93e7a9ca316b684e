"""Surrogates for folds of rows, each fitted to the hybrids of the other rows."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
import numpy.typing as npt

from whybox.core.workers import one_library_thread
from whybox.data.table import Floats
from whybox.errors import InputError
from whybox.games.indices import SHAPLEY, Index
from whybox.methods.common.surrogates.additive import fit_additive
from whybox.methods.common.surrogates.base import PlayerOf, Surrogate
from whybox.methods.common.surrogates.gaussians import fit_gaussians
from whybox.methods.common.surrogates.store import HybridStore, content_keys
from whybox.methods.common.surrogates.trees import fit_trees, load_library

__all__ = ["FAMILIES", "Family", "SurrogateFolds", "default_family", "fit_folds", "fit_surrogate", "folds_of_rows"]

Family = Literal["trees", "kernels", "kernels and trees"]
FAMILIES: Final[dict[Family, str]] = {
    "trees": "boosted trees on an additive fit",
    "kernels": "products of Gaussians of single columns",
    "kernels and trees": "products of Gaussians of single columns, boosted trees on what they leave",
}
MAX_FITTED: Final = 30_000  # hybrids that a surrogate is fitted to
MAX_KERNEL_COLUMNS: Final = 64  # columns beyond which values of kernels take too long
MAX_TREE_OUTPUTS: Final = 4  # outputs beyond which trees, which each has of its own, take too long
MAX_OUTPUT: Final = 1e100  # whose squares can be added up
MAX_JUDGED: Final = 10_000  # hybrids of the rows left out that a fold is judged by

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class SurrogateFolds:
    """A surrogate for each fold of rows, fitted to the hybrids of the rows outside it.

    Attributes:
        fold_of_row: (n,). surrogates: (folds,).
        left_share: (outputs,), the share of the variance among a row's hybrids that the surrogate leaves, over the rows left out; 1 where nothing varies.
        left_share_of_folds: (folds, outputs).
        family: which kind of surrogate, in words.
        fitted: (folds,), how many hybrids each was fitted to.
    """

    fold_of_row: Ints
    surrogates: tuple[Surrogate, ...]
    left_share: Floats
    left_share_of_folds: Floats
    family: str
    fitted: Ints

    def surrogate(self, row: int) -> Surrogate:
        """Return the surrogate that was fitted without a row, and without the rows that equal it."""
        return self.surrogates[int(self.fold_of_row[row])]

    def predict(self, row: Ints, cells: Floats) -> Floats:
        """Return the outputs of hybrids (n, columns), each by the surrogate of its row, (n, outputs)."""
        out = np.empty((len(cells), len(self.left_share)))
        folds = self.fold_of_row[row]
        for fold in np.unique(folds).tolist():
            here = np.flatnonzero(folds == fold)
            out[here] = self.surrogates[fold].predict(cells[here])
        return out

    def shapley_values(
        self,
        rows: Floats,
        background: Floats,
        weights: Floats,
        of_column: PlayerOf,
        players: int,
        index: Index = SHAPLEY,
        *,
        threads: int = 1,
    ) -> Floats:
        """Return each row's exact values by the surrogate fitted without it, (n, players, outputs); see :class:`.base.Surrogate`.

        Args:
            rows: all rows that the folds are of, (n, columns), as they were given to :func:`fit_folds`.
        """
        out = np.empty((len(rows), players, len(self.left_share)))
        for fold, surrogate in enumerate(self.surrogates):
            here = np.flatnonzero(self.fold_of_row == fold)
            if len(here):
                out[here] = surrogate.shapley_values(
                    rows[here], background, weights, of_column, players, index, threads=threads
                )
        return out


def default_family(columns: int, outputs: int) -> Family:
    """Return kernels and trees, which together leave the least; for many columns trees alone, for many outputs kernels alone, whose Gaussians all outputs share."""
    if columns > MAX_KERNEL_COLUMNS:
        return "trees"
    return "kernels" if outputs > MAX_TREE_OUTPUTS else "kernels and trees"


def fit_surrogate(family: Family, cells: Floats, outputs: Floats, categorical: Bools) -> Surrogate:
    """Fit one surrogate to hybrids.

    Args:
        family: which kind. cells, outputs, categorical: as :func:`.trees.fit_trees` and :func:`.gaussians.fit_gaussians` take them.
    """
    if family == "trees":
        smooth: Surrogate = fit_additive(cells, outputs, categorical)
    else:
        smooth = fit_gaussians(cells, outputs, categorical)
    if family == "kernels":
        return smooth
    return fit_trees(cells, outputs, categorical, smooth)


def folds_of_rows(rows: Floats, folds: int, seed: int = 0) -> Ints:
    """Return the fold of each row, (n,): at random, in equal sizes; equal rows are in the same fold. It does not depend on the order of rows.

    Raises:
        InputError: fewer different rows than folds, or fewer than two folds.
    """
    different, inverse = np.unique(content_keys(rows, seed), return_inverse=True)
    if not 2 <= folds <= len(different):
        raise InputError(f"{len(different):,} different rows cannot be cut into {folds:,} folds.")
    return np.asarray(np.arange(len(different)) % folds, dtype=np.int64)[inverse.reshape(-1)]


def fit_folds(
    store: HybridStore,
    rows: Floats,
    categorical: Bools,
    *,
    family: Family | None = None,
    folds: int = 3,
    seed: int = 0,
    threads: int = 1,
) -> SurrogateFolds:
    """Fit a surrogate for each fold of rows to the hybrids of the rows outside it.

    The same hybrids, rows and seed give the same surrogates, bit for bit, whatever the number of threads and the order of rows and hybrids.

    Args:
        store: hybrids of these rows, whose positions it names.
        rows: cells as numbers, (n, columns). categorical: (columns,), whose numbers are codes.
        family: which kind of surrogate; None: :func:`default_family`.
        folds: how many. seed: of the folds. threads: folds are shared between them.

    Raises:
        InputError: fewer different rows than folds, rows outside a fold without hybrids, or outputs beyond 1e100.
        ModelMismatchError: as :func:`.trees.fit_trees`.
    """
    kind = default_family(rows.shape[1], store.outputs) if family is None else family
    fold_of_row = folds_of_rows(rows, folds, seed)
    cells, outputs, row, _ = store.hybrids()
    if not (np.abs(outputs) <= MAX_OUTPUT).all():
        raise InputError(f"surrogates take outputs of at most {MAX_OUTPUT:g}.")
    fold = fold_of_row[row]
    if len(np.unique(fold)) < 2:
        raise InputError("surrogates need hybrids of rows in two folds at least.")

    def fit_one(k: int) -> _FoldFit:
        here = np.flatnonzero(fold != k)[:MAX_FITTED]  # hybrids lie in random order
        surrogate = fit_surrogate(kind, cells[here], outputs[here], categorical)
        out = np.flatnonzero(fold == k)[:MAX_JUDGED]
        left = _spread_within(outputs[out] - surrogate.predict(cells[out]), row[out])
        return surrogate, left, _spread_within(outputs[out], row[out]), len(here)

    answers = _fit_all(fit_one, folds, threads)
    left, spread = np.array([a[1] for a in answers]), np.array([a[2] for a in answers])
    return SurrogateFolds(
        fold_of_row,
        tuple(a[0] for a in answers),
        _share(left.sum(axis=0), spread.sum(axis=0)),
        _share(left, spread),
        FAMILIES[kind],
        np.array([a[3] for a in answers], dtype=np.int64),
    )


_FoldFit = tuple[Surrogate, Floats, Floats, int]


def _fit_all(fit_one: Callable[[int], _FoldFit], folds: int, threads: int) -> list[_FoldFit]:
    """Fit all folds, each with one thread of every library, so that no number depends on how many there are."""
    load_library()  # a limit holds for libraries that are loaded already

    def alone(k: int) -> _FoldFit:
        with one_library_thread("openmp"):  # the limit is the thread's own
            return fit_one(k)

    with one_library_thread("blas"):  # the limit is the process's
        if threads == 1:
            return [alone(k) for k in range(folds)]
        with ThreadPoolExecutor(min(threads, folds)) as pool:
            return list(pool.map(alone, range(folds)))


def _spread_within(values: Floats, row: Ints) -> Floats:
    """Sum of squared distances from the mean of the same row, (outputs,): what a row adds to all its hybrids changes no Shapley value."""
    _, at, count = np.unique(row, return_inverse=True, return_counts=True)
    sums = np.zeros((len(count), values.shape[1]))
    np.add.at(sums, at.reshape(-1), values)
    return np.asarray(((values - (sums / count[:, None])[at.reshape(-1)]) ** 2).sum(axis=0))


def _share(left: Floats, spread: Floats) -> Floats:
    return np.where(spread > 0, np.minimum(left / np.where(spread > 0, spread, 1.0), 1e300), 1.0)
