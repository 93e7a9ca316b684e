"""How strongly features interact, exactly, from the leaves of a tree ensemble: what Friedman's H squared is a ratio of.

The specification is in reference_effects.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from whybox.core.progress import timed_batches
from whybox.data.table import Floats
from whybox.kernels.compiled_trees import fastest_instructions
from whybox.kernels.effects import (
    NativeGrid,
    PlayerPairs,
    PlayerPoints,
    checked_rows,
    checked_weights,
    compute_surfaces,
    partial_dependence,
)
from whybox.kernels.reproducible_sum import for_each_thread
from whybox.kernels.tree_shap import interacting_pairs, predict
from whybox.kernels.value_intervals import point_index_of_rows
from whybox.models.trees import TreeEnsemble

__all__ = ["InteractionStrength", "overall_interactions", "pair_interactions"]


@final
@dataclass(frozen=True)
class InteractionStrength:
    """What Friedman's H squared is a ratio of, for each pair (or player) and output: weighted sums over rows.

    Attributes:
        interaction_sums: (pairs, outputs) sum of weight * (interaction at the row)^2.
        total_sums: (pairs, outputs) sum of weight * (what it is compared with, centred, at the row)^2.
    """

    interaction_sums: Floats
    total_sums: Floats


def pair_interactions(
    e: TreeEnsemble,
    levels: Sequence[PlayerPoints],
    pairs: PlayerPairs,
    X: Floats,
    weights: Floats | None = None,
    *,
    threads: int = 1,
    observe: Callable[[int, Floats, Floats, Floats], None] | None = None,
) -> InteractionStrength:
    """Friedman and Popescu's pairwise interactions, at the rows themselves.

    With PD centred over the rows, ``interaction_sums`` is the sum of weight * (PD_jk - PD_j - PD_k)^2 and ``total_sums`` that of weight * PD_jk^2;
    H squared is their ratio, and sqrt(interaction / sum of weights) the size of the interaction in the output's units.

    Two players that no path of a tree tests together do not interact: theirs is exactly zero, and no surface is computed for them.

    Args:
        levels: points such that every row is at one (`value_intervals.interval_representatives`).
        observe: is shown, for each pair that a path tests together, its position and the mean output with both players, with the first and with the second set
            to each row's values, (rows, outputs) each.

    Returns:
        (pairs, outputs) each.

    Raises:
        UnsupportedModelError, OptionError, InputError: as `partial_dependence`; a row is at none of the points.
    """
    X = checked_rows(e, X)
    w = checked_weights(X, weights)
    used = sorted({j for pair in pairs for j in pair})
    together = _interacting_pairs(e, levels)
    at = {j: point_index_of_rows(e, levels[j].columns, levels[j].values, X[:, list(levels[j].columns)]) for j in used}
    curves = dict(zip(used, partial_dependence(e, [levels[j] for j in used], X, w, threads=threads), strict=True))
    alone = {j: _subtract_mean(curves[j][at[j]], w) for j in used}
    out = InteractionStrength(*(np.zeros((len(pairs), len(e.base_values))) for _ in range(2)))
    joined = [k for k, (a, b) in enumerate(pairs) if (min(a, b), max(a, b)) in together]
    for k, (a, b) in enumerate(pairs):
        out.total_sums[k] = w @ (alone[a] + alone[b]) ** 2
    for i, surface in compute_surfaces(e, levels, [pairs[k] for k in joined], X, w, threads):
        k = joined[i]
        a, b = pairs[k]
        at_rows = surface[at[a], at[b]]
        if observe is not None:
            observe(k, at_rows, curves[a][at[a]], curves[b][at[b]])
        both = _subtract_mean(at_rows, w)
        out.interaction_sums[k] = w @ (both - alone[a] - alone[b]) ** 2
        out.total_sums[k] = w @ both**2
    return out


def _interacting_pairs(e: TreeEnsemble, levels: Sequence[PlayerPoints]) -> set[tuple[int, int]]:
    """Pairs of players that some path tests together, the lower position first; columns of nobody are one player more, the last."""
    of_column = np.full(e.inputs.width, len(levels), dtype=np.int32)
    for j, one in enumerate(levels):
        of_column[list(one.columns)] = j
    return {(min(a, b), max(a, b)) for a, b in interacting_pairs(e, of_column, len(levels) + 1).tolist()}


def overall_interactions(
    e: TreeEnsemble,
    levels: Sequence[PlayerPoints],
    X: Floats,
    weights: Floats | None = None,
    *,
    threads: int = 1,
    observe: Callable[[int, Floats, Floats], None] | None = None,
    raw: Floats | None = None,
) -> InteractionStrength:
    """How strongly each player interacts with all others together, at the rows themselves.

    With f, PD_j and the mean over the player's own distribution F_j centred over the rows, ``interaction_sums`` is the sum of
    weight * (f - PD_j - F_j)^2 and ``total_sums`` that of weight * f^2. A player that no path of a tree tests together with another has exactly zero.

    Args:
        levels: points such that every row is at one (`value_intervals.interval_representatives`).
        observe: is shown, for each player, its position, the mean output with the player set to each row's values, and each row's mean over the player's own
            distribution, (rows, outputs) both.
        raw: the raw outputs of the rows, (rows, outputs), where they are known.

    Returns:
        (players, outputs) each.

    Raises:
        UnsupportedModelError, OptionError, InputError: as `pair_interactions`.
    """
    X = checked_rows(e, X)
    w = checked_weights(X, weights)
    out = InteractionStrength(*(np.empty((len(levels), len(e.base_values))) for _ in range(2)))
    if not levels:
        return out
    at = [point_index_of_rows(e, one.columns, one.values, X[:, list(one.columns)]) for one in levels]
    grid = NativeGrid(e, levels)
    masses = [np.bincount(grid.index[j][at[j]], w, minlength=grid.points[j]) / w.sum() for j in range(len(levels))]
    without = np.empty((len(X), len(levels), grid.outputs))
    mass, instructions = np.concatenate(masses), fastest_instructions()
    for rows in timed_batches(len(X), description="interactions", first_size=256):
        for_each_thread(
            threads, rows, lambda some: grid.native.row_averages(X[some], instructions, mass, without[some])
        )
    f = _subtract_mean(predict(e, X) if raw is None else raw, w)
    interacting = {j for pair in _interacting_pairs(e, levels) for j in pair}
    for j, curve in enumerate(partial_dependence(e, levels, X, w, threads=threads)):
        if observe is not None:
            observe(j, curve[at[j]], without[:, j])
        rest = f - _subtract_mean(curve[at[j]], w) - _subtract_mean(without[:, j], w)
        out.interaction_sums[j] = w @ rest**2 if j in interacting else 0.0
        out.total_sums[j] = w @ f**2
    return out


def _subtract_mean(values: Floats, w: Floats) -> Floats:
    near = values - values[0]  # what is the same in all rows leaves no rounding behind
    return np.asarray(near - w @ near / w.sum())
