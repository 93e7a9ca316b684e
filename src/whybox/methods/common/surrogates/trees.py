"""Boosted trees as a surrogate: scikit-learn's HistGradientBoostingRegressor on what a smooth fit leaves, one for each output.

Their interventional Shapley values are those of the tree kernels, over the whole background.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, ModelMismatchError
from whybox.games.indices import SHAPLEY, Index
from whybox.kernels import tree_shap
from whybox.methods.common.surrogates.base import PlayerOf, Surrogate
from whybox.methods.common.surrogates.features import MAX_NUMBER
from whybox.models.registry import trees_of_boosting
from whybox.models.trees import TreeEnsemble

__all__ = ["TreeSurrogate", "fit_trees", "load_library"]

# Chosen on hybrids of six models (an MLP, an SVM, boosted trees, a forest, a logistic regression, nearest neighbours), 2,000 and 24,000 of them, after a smooth
# fit: of a dozen settings these leave the least (4.0 % in the geometric mean of 24,000, 6.9 % of 2,000) but for one that takes half as long again; 63 bins leave
# 4.7 %. There is no noise, so that no iteration is one too many
SETTINGS: Final[dict[str, Any]] = {
    "learning_rate": 0.15,
    "max_leaf_nodes": 63,
    "min_samples_leaf": 20,
    "max_bins": 255,
    "early_stopping": False,
    "random_state": 0,
}
ITERATIONS: Final = 80
MAX_TREES: Final = 320  # of all outputs together, but MIN_ITERATIONS each
MIN_ITERATIONS: Final = 20
MAX_CATEGORIES: Final = 60  # of a column of categories; more are read as numbers
ROWS_COMPARED: Final = 256  # hybrids whose prediction is compared with scikit-learn's own
TOLERANCE: Final = 1e-9  # of the largest output, in that comparison
MAX_WORK_AT_ONCE: Final = 2**23  # rows, times background rows, times trees, of one call of the kernel

Bools = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class TreeSurrogate:
    """A smooth part, and trees for each output on what it leaves.

    Attributes:
        smooth: the smooth part. ensembles: the trees of each output.
        codes: for each column that the trees read as categories, the codes they know, sorted; any other is missing to them.
    """

    smooth: Surrogate
    ensembles: tuple[TreeEnsemble, ...]
    codes: Mapping[int, Floats]

    def predict(self, cells: Floats) -> Floats:
        """Return the outputs, (n, outputs)."""
        X = _encoded(cells, self.codes)
        out = self.smooth.predict(cells)
        for k, e in enumerate(self.ensembles):
            out[:, k] += tree_shap.predict(e, X)[:, 0]
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
        """Return exact values over the whole background, (n, players, outputs); see :class:`.base.Surrogate`."""
        out = self.smooth.shapley_values(rows, background, weights, of_column, players, index, threads=threads)
        X, B = _encoded(rows, self.codes), _encoded(background, self.codes)
        by_row = np.ascontiguousarray(weights, dtype=np.float64)[None, :]
        player_of = np.ascontiguousarray(of_column, dtype=np.int32)
        for k, e in enumerate(self.ensembles):
            longest = int(tree_shap.players_on_path(e, player_of, players).max(initial=0))
            table = index.moments(max(longest, 1) + 1)
            size = max(1, MAX_WORK_AT_ONCE // max(1, len(B) * e.n_trees))
            blocks = [slice(i, i + size) for i in range(0, len(X), size)]
            part = np.zeros((len(X), players, 1))

            def add(block: slice, e: TreeEnsemble = e, table: Floats = table, part: Floats = part) -> None:
                tree_shap.add_interventional(e, player_of, players, X[block], B, by_row, table, 1, part[block])

            if threads > 1 and len(blocks) == 1:
                share = -(-len(X) // threads)
                blocks = [slice(i, i + share) for i in range(0, len(X), share)]
            _for_each(add, blocks, threads)
            out[:, :, k] += part[:, :, 0]
        return out


def _for_each(do: Any, blocks: list[slice], threads: int) -> None:
    if threads == 1 or len(blocks) < 2:
        for block in blocks:
            do(block)
        return
    with ThreadPoolExecutor(threads) as pool:  # the native code holds no lock
        list(pool.map(do, blocks))


def load_library() -> None:
    """Load scikit-learn, whose threads can be limited from then on."""
    import sklearn.ensemble  # noqa: F401


def fit_trees(
    cells: Floats,
    outputs: Floats,
    categorical: Bools,
    smooth: Surrogate,
) -> TreeSurrogate:
    """Fit boosted trees to hybrids, on what a smooth fit leaves.

    Args:
        cells: as numbers, (hybrids, columns). outputs: (hybrids, outputs), finite. categorical: (columns,), whose numbers are codes.
        smooth: fitted to the same hybrids.

    Raises:
        ModelMismatchError: whybox reads the trees differently from scikit-learn.
    """
    rest = outputs - smooth.predict(cells)
    codes = {}
    for c in np.flatnonzero(categorical).tolist():
        known = np.unique(cells[~np.isnan(cells[:, c]), c])
        if len(known) <= MAX_CATEGORIES:
            codes[c] = known
    X = np.clip(
        _encoded(cells, codes), -MAX_NUMBER, MAX_NUMBER
    )  # scikit-learn takes means of neighbours for thresholds
    X[:, np.isnan(X).all(axis=0)] = 0.0  # a column that tells nothing
    iterations = min(ITERATIONS, max(MIN_ITERATIONS, MAX_TREES // outputs.shape[1]))
    fit = partial(_fit_output, X, sorted(codes), iterations)
    return TreeSurrogate(smooth, tuple(fit(rest[:, k]) for k in range(outputs.shape[1])), codes)


def _encoded(cells: Floats, codes: Mapping[int, Floats]) -> Floats:
    """Return the cells with categories as positions in the list of those known; others as missing."""
    if not codes:
        return np.ascontiguousarray(cells, dtype=np.float64)
    X = np.array(cells, dtype=np.float64, order="C")
    for c, known in codes.items():
        at = np.minimum(np.searchsorted(known, cells[:, c]), max(len(known) - 1, 0))
        X[:, c] = np.where(known[at] == cells[:, c], at, np.nan) if len(known) else np.nan
    return X


def _fit_output(X: Floats, categories: list[int], iterations: int, target: Floats) -> TreeEnsemble:
    from sklearn.ensemble import HistGradientBoostingRegressor

    estimator = HistGradientBoostingRegressor(
        **SETTINGS, max_iter=iterations, categorical_features=categories or None
    ).fit(X, target)
    ensemble = trees_of_boosting(estimator)
    some = np.ascontiguousarray(X[:: -(-len(X) // ROWS_COMPARED)])
    ours, theirs = tree_shap.predict(ensemble, some)[:, 0], estimator.predict(some)
    if np.abs(ours - theirs).max() > TOLERANCE * max(float(np.abs(target).max()), float(np.abs(theirs).max())):
        raise ModelMismatchError(
            f"the trees of a surrogate are read differently from scikit-learn's own predict (by {np.abs(ours - theirs).max():.3g}). Please report this; ",
            Argument("surrogate", False),
            " explains without one.",
        )
    return ensemble
