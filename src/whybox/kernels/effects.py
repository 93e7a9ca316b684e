"""Feature effects of tree ensembles, exactly: the model's outputs with a player set to each point of a grid.

Everything is in the model's encoded columns and on its raw scale, base included. The specification is in reference_effects.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
import numpy.typing as npt

from whybox import _native
from whybox.core.progress import timed_batches
from whybox.data.table import Floats
from whybox.errors import EmptyDataError, InputError, OptionError, UnsupportedModelError
from whybox.kernels.compiled_trees import fastest_instructions
from whybox.kernels.reproducible_sum import count_parts, for_each_thread, sum_effects
from whybox.kernels.tree_shap import native_ensemble, predict
from whybox.kernels.value_intervals import native_intervals
from whybox.models.trees import TreeEnsemble

__all__ = [
    "CurveMoments",
    "NativeGrid",
    "PlayerPairs",
    "PlayerPoints",
    "checked_rows",
    "checked_weights",
    "compute_surfaces",
    "individual_curve_blocks",
    "individual_curve_moments",
    "individual_curves",
    "joint_partial_dependence",
    "partial_dependence",
    "point_differences",
]

PlayerPairs = Sequence[tuple[int, int]]
LinkName = Literal["identity", "logistic", "exp", "softmax"]
LINK_NAMES: Final[tuple[LinkName, ...]] = ("identity", "logistic", "exp", "softmax")
SURFACE_BYTES: Final = 256 * 2**20  # bytes of surfaces that are added up at a time
MOMENT_ROWS: Final = 256  # rows whose moments are added up together


# Whole curves of trees with so few leaves, at so many points in all, take less time than both walks of a shifted row.
MAX_LEAVES_FOR_CURVES: Final = 64
MAX_POINTS_FOR_CURVES: Final = 4096


@final
@dataclass(frozen=True)
class PlayerPoints:
    """The grid points of one player, a feature that may be several model columns (one-hot, say).

    Attributes:
        columns: its model columns.
        values: (points, len(columns)) what they are set to at each point; in any order, may repeat and may hold NaN.
    """

    columns: tuple[int, ...]
    values: Floats


@final
@dataclass(frozen=True)
class CurveMoments:
    """Mean and spread over rows of one player's individual curves, each (points, outputs).

    Attributes:
        mean: the weighted mean.
        variance: the weighted mean of its squared distance from that mean (divided by the sum of weights, not by one less).
    """

    mean: Floats
    variance: Floats


@final
class NativeGrid:
    """A native grid, and how its own points map to those that were given."""

    def __init__(self, e: TreeEnsemble, levels: Sequence[PlayerPoints]) -> None:
        if e.has_linear_leaves:
            raise UnsupportedModelError(
                "this model's leaves are linear functions: its effects are not step functions and have no tree kernel."
            )
        columns = [c for one in levels for c in one.columns]
        if len(set(columns)) != len(columns):
            raise OptionError("a model column belongs to two players; compute them in two calls.")
        for one in levels:
            if one.values.ndim != 2 or one.values.shape[1] != len(one.columns) or not one.values.size:
                raise OptionError("the values of a player's levels must be (points, columns), with at least one point.")
        sizes = [len(one.columns) for one in levels]
        self.native = _native.EffectGrid(
            native_ensemble(e),
            native_intervals(e),
            np.array(columns, dtype=np.int32),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            np.concatenate([np.asarray(one.values, dtype=np.float64).ravel() for one in levels]),
            np.array([len(one.values) for one in levels], dtype=np.int64),
        )
        self.points = [self.native.point_count(j) for j in range(len(levels))]
        self.outputs = len(e.base_values)
        self.index = []
        for j, one in enumerate(levels):
            index = np.empty(len(one.values), dtype=np.uint32)
            self.native.point_order(j, index)
            self.index.append(index)

    def split_by_player(self, flat: Floats) -> list[Floats]:
        """(total points, outputs) in the grid's order -> for each player (its points, outputs) in the caller's."""
        parts = np.split(flat, np.cumsum(self.points)[:-1])
        return [part[index] for part, index in zip(parts, self.index, strict=True)]


def checked_rows(e: TreeEnsemble, X: Floats) -> Floats:
    """Return rows as the kernels take them.

    Raises:
        InputError, EmptyDataError: they are not the model's, or there are none.
    """
    X = np.ascontiguousarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != e.inputs.width:
        raise InputError(f"rows must be (rows, {e.inputs.width}), the model's columns.")
    if not len(X):
        raise EmptyDataError("there are no rows.")
    return X


def checked_weights(X: Floats, weights: Floats | None) -> Floats:
    """Return one weight a row.

    Raises:
        InputError: they cannot be weights of these rows.
    """
    if weights is None:
        return np.ones(len(X))
    w = np.ascontiguousarray(weights, dtype=np.float64)
    if w.shape != (len(X),) or not np.isfinite(w).all() or (w < 0).any() or not w.sum() > 0:
        raise InputError("weights must be one finite number of at least zero for each row, not all of them zero.")
    return w


def partial_dependence(
    e: TreeEnsemble, levels: Sequence[PlayerPoints], X: Floats, weights: Floats | None = None, *, threads: int = 1
) -> list[Floats]:
    """Weighted mean over rows of the raw output with one player set to each of its points.

    Args:
        levels: the players; no model column may belong to two of them.
        X: (rows, model columns). weights: (rows,), or None.

    Returns:
        For each player (points, outputs).

    Raises:
        UnsupportedModelError: leaves are linear functions. OptionError, InputError: levels, rows or weights cannot be used.
    """
    X = checked_rows(e, X)
    w = checked_weights(X, weights)
    if not levels:
        return []
    grid = NativeGrid(e, levels)
    n_parts = count_parts(e, len(X), pairs=False)
    sums, total = sum_effects(e, grid.native, np.empty((0, 2), dtype=np.int64), X, w, threads=threads, n_parts=n_parts)
    return [_curve_sums(e, grid, sums, j)[grid.index[j]] / total + e.base_values for j in range(len(levels))]


def _curve_sums(e: TreeEnsemble, grid: NativeGrid, sums: _native.EffectSums, j: int) -> Floats:
    out = np.empty((grid.points[j], len(e.base_values)))
    sums.curve(j, out)
    return out


def joint_partial_dependence(
    e: TreeEnsemble,
    levels: Sequence[PlayerPoints],
    pairs: PlayerPairs,
    X: Floats,
    weights: Floats | None = None,
    *,
    threads: int = 1,
) -> list[Floats]:
    """Weighted mean over rows of the raw output with two players set to each of their pairs of points.

    Args:
        pairs: positions in `levels`, two different ones each.

    Returns:
        For each pair (points of the first, points of the second, outputs).

    Raises:
        UnsupportedModelError, OptionError, InputError: as `partial_dependence`.
    """
    X = checked_rows(e, X)
    w = checked_weights(X, weights)
    out: list[Floats] = [np.empty(0)] * len(pairs)
    for k, surface in compute_surfaces(e, levels, pairs, X, w, threads):
        out[k] = surface
    return out


def compute_surfaces(
    e: TreeEnsemble, levels: Sequence[PlayerPoints], pairs: PlayerPairs, X: Floats, w: Floats, threads: int
) -> Iterator[tuple[int, Floats]]:
    """Yield (which pair, its surface), as many pairs at a time as fit into memory."""
    if any(a == b or not (0 <= a < len(levels) and 0 <= b < len(levels)) for a, b in pairs):
        raise OptionError("a pair is two different positions in levels.")
    size = [len(one.values) + 1 for one in levels]
    waiting = list(enumerate(pairs))
    bytes_ = 8.0 * len(e.base_values) * sum(size[a] * size[b] for a, b in pairs)
    parts = count_parts(e, len(X), pairs=True, max_parts=SURFACE_BYTES / max(bytes_, 1.0))
    while waiting:
        room, count = SURFACE_BYTES / (8 * len(e.base_values) * parts), 0
        while count < len(waiting) and (count == 0 or room >= size[waiting[count][1][0]] * size[waiting[count][1][1]]):
            room -= size[waiting[count][1][0]] * size[waiting[count][1][1]]
            count += 1
        some, waiting = waiting[:count], waiting[count:]
        used = sorted({j for _, pair in some for j in pair})
        grid = NativeGrid(e, [levels[j] for j in used])
        requested = sorted({(used.index(min(p)), used.index(max(p))) for _, p in some})
        chosen = np.array(requested, dtype=np.int64).reshape(-1, 2)
        sums, total = sum_effects(e, grid.native, chosen, X, w, threads=threads, n_parts=parts)
        for k, (a, b) in some:
            low, high = used.index(min(a, b)), used.index(max(a, b))
            surface = np.empty((grid.points[low], grid.points[high], len(e.base_values)))
            sums.surface(requested.index((low, high)), surface)
            surface = surface[np.ix_(grid.index[low], grid.index[high])] / total + e.base_values
            yield k, surface if a < b else np.ascontiguousarray(surface.transpose(1, 0, 2))


def individual_curves(e: TreeEnsemble, levels: PlayerPoints, X: Floats, *, threads: int = 1) -> Floats:
    """Raw output of every row with the player set to each of its points (ICE): (rows, points, outputs).

    Raises:
        UnsupportedModelError, OptionError, InputError: as `partial_dependence`.
    """
    X = checked_rows(e, X)
    grid = NativeGrid(e, [levels])
    out = np.empty((len(X), len(levels.values), grid.outputs))
    for rows in timed_batches(len(X), description="individual curves", first_size=256, max_size=8192):
        _fill_individual_curves(grid, X[rows], out[rows], threads)
    return out


def _fill_individual_curves(grid: NativeGrid, X: Floats, out: Floats, threads: int) -> None:
    instructions = fastest_instructions()
    for_each_thread(
        threads, slice(0, len(X)), lambda some: grid.native.individual_curves(X[some], instructions, out[some])
    )


def individual_curve_blocks(
    e: TreeEnsemble, levels: Sequence[PlayerPoints], X: Floats, *, numbers: int = 2**21, threads: int = 1
) -> Iterator[tuple[slice, list[Floats]]]:
    """Yield the individual curves of all players, made in one walk, for blocks of rows: (rows, a (rows, points, outputs) for each player).

    Args:
        numbers: how many of all curves a block holds at most (but for one row).

    Raises:
        UnsupportedModelError, OptionError, InputError: as `partial_dependence`.
    """
    X = checked_rows(e, X)
    if not levels:
        return
    grid = NativeGrid(e, levels)
    points = [len(one.values) for one in levels]
    max_rows = max(1, numbers // (sum(points) * grid.outputs))
    for rows in timed_batches(len(X), description="individual curves", first_size=256, max_size=max_rows):
        block = np.empty((rows.stop - rows.start, sum(points), grid.outputs))
        _fill_individual_curves(grid, X[rows], block, threads)
        yield rows, np.split(block, np.cumsum(points)[:-1], axis=1)


def individual_curve_moments(
    e: TreeEnsemble,
    levels: Sequence[PlayerPoints],
    X: Floats,
    weights: Floats | None = None,
    *,
    center: Literal["mean", "row"] = "mean",
    link: LinkName = "identity",
    threads: int = 1,
) -> list[CurveMoments]:
    """Mean and variance over rows of individual curves, without keeping them.

    Squares are taken of distances from the curves of one row, and corrected by the mean distance: little cancels, and where all rows agree the variance is
    zero but for rounding.

    Args:
        center: ``"mean"``: of link(curve); the mean is partial dependence on the link's scale.
            ``"row"``: of link(curve) less link(the row's own prediction).
        link: applied to each value of a curve; ``"softmax"`` goes across the outputs.

    Returns:
        For each player its moments.

    Raises:
        UnsupportedModelError, OptionError, InputError: as `partial_dependence`.
    """
    X = checked_rows(e, X)
    w = checked_weights(X, weights)
    if threads < 1:
        raise OptionError("threads must be at least 1.")
    if center not in {"mean", "row"} or link not in LINK_NAMES:
        raise OptionError(f"center is 'mean' or 'row', link one of {', '.join(LINK_NAMES)}.")
    if not levels:
        return []
    grid = NativeGrid(e, levels)
    sums, squares, centre = (np.zeros((sum(grid.points), grid.outputs)) for _ in range(3))
    instructions = fastest_instructions()

    def summed(rows: slice, weights: Floats) -> tuple[Floats, Floats]:
        own = np.zeros_like(sums), np.zeros_like(sums)
        grid.native.curve_moments(
            X[rows], instructions, weights, LINK_NAMES.index(link), center == "row", centre.ravel(), *own
        )
        return own

    median = _median_row(e, X, w)
    centre = summed(slice(median, median + 1), np.ones(1))[0]

    def chunk(which: int) -> tuple[Floats, Floats]:
        rows = slice(which * MOMENT_ROWS, (which + 1) * MOMENT_ROWS)
        return summed(rows, w[rows])

    with ThreadPoolExecutor(threads) as pool:
        for some in timed_batches(
            -(-len(X) // MOMENT_ROWS),
            description="individual curves",
            first_size=threads,
            max_size=2 * threads,
            unit=f"x {MOMENT_ROWS} rows",
        ):
            for one, two in (pool.map if threads > 1 else map)(chunk, range(some.start, some.stop)):
                sums += one
                squares += two
    shift = sums / w.sum()
    variance = np.maximum(squares / w.sum() - shift**2, 0.0)
    return [
        CurveMoments(m, v)
        for m, v in zip(grid.split_by_player(shift + centre), grid.split_by_player(variance), strict=True)
    ]


def _median_row(e: TreeEnsemble, X: Floats, w: Floats) -> int:
    """Return a row of positive weight whose predictions have middle ranks."""
    from scipy.stats import rankdata

    weighted = np.flatnonzero(w > 0)
    sample = weighted[np.linspace(0, len(weighted) - 1, min(len(weighted), 1000)).astype(np.int64)]
    ranks = rankdata(predict(e, np.ascontiguousarray(X[sample])), method="ordinal", axis=0)
    return int(sample[np.abs(ranks - 1 - len(sample) // 2).max(axis=1).argmin()])


def point_differences(
    e: TreeEnsemble,
    levels: Sequence[PlayerPoints],
    X: Floats,
    low: npt.NDArray[np.int32],
    high: npt.NDArray[np.int32],
    *,
    threads: int = 1,
) -> Floats:
    """Raw output with a player at one of its points less that with it at another, for every row and player, as ALE needs.

    Args:
        low, high: (rows, players) positions among the player's points.

    Returns:
        (rows, players, outputs): f(row with the player at `high`) - f(row with the player at `low`).

    Raises:
        UnsupportedModelError, OptionError, InputError: as `partial_dependence`.
    """
    X = checked_rows(e, X)
    low, high = (np.ascontiguousarray(a, dtype=np.int32) for a in (low, high))
    if low.shape != (len(X), len(levels)) or high.shape != low.shape:
        raise OptionError("low and high must be (rows, players).")
    n_points = np.array([len(one.values) for one in levels])
    if (low < 0).any() or (high < 0).any() or (low >= n_points).any() or (high >= n_points).any():
        raise OptionError("low and high must be positions among the player's points.")
    out = np.empty((len(X), len(levels), len(e.base_values)))
    if not levels:
        return out
    if np.diff(e.tree_offsets).max(initial=0) < 2 * MAX_LEAVES_FOR_CURVES and n_points.sum() <= MAX_POINTS_FOR_CURVES:
        for rows, curves in individual_curve_blocks(e, levels, X, threads=threads):
            at = np.arange(rows.stop - rows.start)
            for j, curve in enumerate(curves):
                out[rows, j] = curve[at, high[rows, j]] - curve[at, low[rows, j]]
        return out
    grid = NativeGrid(e, levels)

    def work(rows: slice) -> None:
        grid.native.point_differences(X[rows], low[rows].ravel(), high[rows].ravel(), out[rows])

    for rows in timed_batches(len(X), description="shifted rows", first_size=256):
        for_each_thread(threads, rows, work)
    return out
