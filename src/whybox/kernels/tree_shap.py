"""Native tree kernels behind one small face: checked arrays in, arrays out. The specification is in reference.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from whybox import _native
from whybox.data.table import Floats
from whybox.models.trees import TreeEnsemble

__all__ = [
    "QuadratureRules",
    "add_interventional",
    "expectation",
    "hybrid_outputs",
    "interacting_pairs",
    "leaf_indices",
    "players_on_path",
    "predict",
]

PlayerOf = npt.NDArray[np.int32]
_NATIVE_ENSEMBLES: Final[WeakKeyDictionary[TreeEnsemble, _native.Ensemble]] = WeakKeyDictionary()
_ENSEMBLE_ARRAYS: Final = (
    "tree_offsets",
    "left",
    "right",
    "feature",
    "leaf",
    "threshold",
    "cover",
    "flags",
    "set_begin",
    "set_words",
    "sets",
    "tree_output",
    "tree_weight",
    "linear_offset",
    "linear_feature",
    "linear_coef",
    "linear_const",
)


@cache
def _best_instructions() -> str:
    return str(_native.instruction_sets()[0][0])


def native_ensemble(e: TreeEnsemble) -> _native.Ensemble:
    """Return the native twin of an ensemble, built once and kept while the ensemble lives."""
    ensemble = _NATIVE_ENSEMBLES.get(e)
    if ensemble is None:
        arrays = {name: getattr(e, name) for name in _ENSEMBLE_ARRAYS}
        ensemble = _native.Ensemble(
            **arrays, leaf_values=e.leaf_values.reshape(-1), base=e.base_values, columns=e.inputs.width
        )
        _NATIVE_ENSEMBLES[e] = ensemble
    return ensemble


def predict(e: TreeEnsemble, X: Floats, some: slice = slice(None), *, instructions: str | None = None) -> Floats:
    """Raw outputs, (rows, outputs): the base values and some of the trees.

    Args:
        instructions: name of the instruction set; None: the best. It changes no bit.
    """
    first, last, _ = some.indices(e.n_trees)
    out = np.empty((len(X), len(e.base_values)))
    native_ensemble(e).predict(X, out, first, last, instructions or _best_instructions())
    return out


def leaf_indices(e: TreeEnsemble, X: Floats) -> npt.NDArray[np.int32]:
    """Return the leaf (node of its tree) each row ends in, (rows, trees)."""
    out = np.empty((len(X), e.n_trees), dtype=np.int32)
    native_ensemble(e).leaf_indices(X, out)
    return out


def expectation(e: TreeEnsemble) -> Floats:
    """Path-dependent value of the empty coalition, (outputs,)."""
    out = np.empty(len(e.base_values))
    native_ensemble(e).expectation(out)
    return out


def interacting_pairs(e: TreeEnsemble, player_of: PlayerOf, count: int) -> npt.NDArray[np.int32]:
    """Pairs of players that some path of a tree tests together, sorted, (pairs, 2). Any other pair's interaction is exactly zero."""
    return native_ensemble(e).interacting_pairs(player_of, count)


def players_on_path(e: TreeEnsemble, player_of: PlayerOf, count: int) -> npt.NDArray[np.int32]:
    """Most different players on one path, for each tree."""
    out = np.empty(e.n_trees, dtype=np.int32)
    native_ensemble(e).players_on_path(player_of, count, out)
    return out


@final
@dataclass(frozen=True)
class QuadratureRules:
    """Quadrature for each tree, laid out as the native code takes it."""

    nodes: Floats
    weights: Floats
    offsets: npt.NDArray[np.int64]
    of_tree: npt.NDArray[np.int32]

    @classmethod
    def from_rules(cls, rules: Sequence[tuple[Floats, Floats]], of_tree: npt.NDArray[np.int32]) -> QuadratureRules:
        """Lay rules end to end; `of_tree` says which one each tree uses."""
        sizes = [len(p) for p, _ in rules]
        return cls(
            np.concatenate([p for p, _ in rules]),
            np.concatenate([w for _, w in rules]),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            of_tree.astype(np.int32),
        )

    @property
    def sizes(self) -> npt.NDArray[np.int32]:
        """Quadrature nodes of each tree."""
        return np.diff(self.offsets).astype(np.int32)[self.of_tree]


def add_interventional(  # noqa: PLR0913, PLR0917  # the mathematics has this many ingredients
    e: TreeEnsemble,
    player_of: PlayerOf,
    count: int,
    X: Floats,
    B: Floats,
    weights: Floats,
    table: Floats,
    order: int,
    out: Floats,
    some: slice = slice(None),
    *,
    instructions: str | None = None,
) -> None:
    """Add interventional attributions (order 1) or pairs (order 2) to `out`; see reference.interventional.

    Args:
        weights: (1, background rows), or (rows, background rows) for weights that depend on the row.
        some: the trees to add. instructions: the instruction set to take; None: the best that this processor has.
    """
    first, last, _ = some.indices(e.n_trees)
    native_ensemble(e).pair_walk(
        x=X,
        of_column=player_of,
        count=count,
        b=B,
        weights=weights,
        table=table,
        order=order,
        first_tree=first,
        last_tree=last,
        instructions=instructions or _native.instruction_sets()[0][0],
        out=out,
    )


def hybrid_outputs(e: TreeEnsemble, player_of: PlayerOf, count: int, x: Floats, B: Floats) -> Floats:
    """Raw outputs of one row for every coalition against each background row, without base: (background rows, 2^players, outputs)."""
    out = np.empty((len(B), 2**count, len(e.base_values)))
    native_ensemble(e).hybrid_outputs(x=x, of_column=player_of, count=count, b=B, out=out)
    return out
