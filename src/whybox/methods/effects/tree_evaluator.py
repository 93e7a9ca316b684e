"""Effects of tree ensembles from their leaves: exact, and without predicting the changed rows one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.kernels import effects
from whybox.kernels.tree_shap import predict
from whybox.methods.common.columns import Ints
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.rows import WeightedRows
from whybox.methods.effects.columns_read import model_columns, reason_columns_mix
from whybox.methods.effects.error_sample import ErrorSample
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.predict_evaluator import (
    CURVE_NUMBERS_HELD,
    CornerRequest,
    PointMoments,
    SignedCorners,
    moments_of_blocks,
)
from whybox.models.trees import TreeEnsemble
from whybox.numerics.statistics import skewness_of_mean, std_error_of_mean

__all__ = ["TreeEvaluator", "tree_evaluator_unavailable"]

# links that the kernel itself knows, where their scale is one
_KERNEL_LINKS: Final[dict[str, effects.LinkName]] = {
    "sigmoid": "logistic",
    "exp": "exp",
    "softmax": "softmax",
}
SKEWNESS_NUMBERS_HELD: Final = 2**18  # numbers of curves worked on at a time, so that they stay in a cache
ERROR_ROWS: Final = {
    1: 2000,
    2: 400,
}  # rows that are enough to know a standard error to two in a hundred, of surfaces to four


def tree_evaluator_unavailable(model: TreeEnsemble, members: Sequence[int]) -> str | None:
    """Return why the leaves alone do not give the effect of these of the user's columns; None where they do."""
    if model.has_linear_leaves:
        return "the leaves of this model are linear functions, so its effects are not steps"
    return reason_columns_mix(model, members, "its trees")


@final
class TreeEvaluator:
    """Predictions of changed rows from the leaves of a tree ensemble (kernels/effects.py); the number of threads changes no bit."""

    def __init__(
        self, model: TreeEnsemble, rows: WeightedRows, selection: OutputSelection, *, threads: int = 1
    ) -> None:
        self.model, self.rows, self.selection, self.threads = model, rows, selection, threads
        self.n_predictions_made = 0

    @property
    def kernel(self) -> str:
        """How predictions are computed, in words."""
        return "the trees' own leaves"

    def reserve_predictions(
        self, grids: Sequence[Grid] = (), requests: Sequence[CornerRequest] = (), *, predictions: bool = False
    ) -> list[int]:
        """Return no rounds: leaves take no predictions."""
        del grids, requests, predictions
        return []

    def n_error_rows(self, features: int) -> int:
        """How many rows the standard errors of partial dependence are estimated from, for one feature or two."""
        return len(self._error_sample(self._kernel_link or "", ERROR_ROWS[features]).rows)

    @cached_property
    def matrix(self) -> Floats:
        """The rows as the trees read them, (rows, model columns)."""
        return self.model.inputs.matrix_in_blocks(self.rows.table)

    @cached_property
    def raw_predictions(self) -> Floats:
        """The raw outputs of the rows, (rows, raw outputs)."""
        return predict(self.model, self.matrix)

    def predictions(self) -> Floats:
        """Return the prediction of each row, (rows, outputs)."""
        return self._on_scale(self.raw_predictions)

    def model_columns(self, members: Sequence[int]) -> tuple[int, ...]:
        """Return the model columns that are made of these of the user's columns."""
        return model_columns(self.model, members)

    def player_points(self, grid: Grid) -> effects.PlayerPoints:
        """Return the grid's points as the trees read them."""
        columns = self.model_columns(grid.column_positions)
        return effects.PlayerPoints(
            columns, np.ascontiguousarray(self.model.inputs.matrix(grid.table)[:, list(columns)])
        )

    def curve_blocks(self, grids: Sequence[Grid], rows: Ints | None = None) -> Iterator[tuple[int, Ints, Floats]]:
        """Yield individual curves in blocks of rows, all features in one walk."""
        positions = np.arange(len(self.rows)) if rows is None else rows
        X = self.matrix if rows is None else self.matrix[rows]
        players = [self.player_points(g) for g in grids]
        for group in _disjoint_groups([player.columns for player in players]):
            chosen = [players[i] for i in group]
            for block, curves in effects.individual_curve_blocks(
                self.model, chosen, X, numbers=CURVE_NUMBERS_HELD, threads=self.threads
            ):
                for i, values in zip(group, curves, strict=True):
                    yield i, positions[block], self._on_scale(values)
        for i, (grid, player) in enumerate(zip(grids, players, strict=True)):
            if not player.columns:  # no tree reads the feature, so every row stays as it is
                yield i, positions, np.repeat(self.predictions()[positions, None], len(grid), axis=1)

    def point_means(self, grids: Sequence[Grid]) -> list[Floats]:
        """Return the means alone: on the trees' own scale they need no curves."""
        if self._kernel_link != "identity":
            return [m.mean for m in self.point_moments(grids)]
        out: list[Floats | None] = [None] * len(grids)
        surfaces = [i for i, g in enumerate(grids) if len(g.features) == 2 and self._are_read_separately(g)]
        for i, surface in zip(surfaces, self._surface_means([grids[i] for i in surfaces]), strict=True):
            out[i] = self.selection.select_predictions(surface)
        rest = [i for i, found in enumerate(out) if found is None]
        players = {i: self.player_points(grids[i]) for i in rest}
        for some in _disjoint_groups([players[i].columns for i in rest]):
            group = [rest[k] for k in some]
            found = effects.partial_dependence(
                self.model, [players[i] for i in group], self.matrix, self.rows.weights, threads=self.threads
            )
            for i, mean in zip(group, found, strict=True):
                out[i] = self.selection.select_predictions(mean)
        overall_mean = self.rows.weights @ self.predictions() if any(v is None for v in out) else np.empty(0)
        return [
            np.repeat(overall_mean[None], len(g), axis=0) if v is None else v for g, v in zip(grids, out, strict=True)
        ]

    def _are_read_separately(self, grid: Grid) -> bool:
        """Whether trees read both features of a surface, and none reads a column made of both."""
        one, two = (self.model_columns((p,)) for p in grid.column_positions)
        return bool(one and two) and {*one, *two} == set(self.model_columns(grid.column_positions))

    def _surface_means(self, grids: Sequence[Grid]) -> Iterator[Floats]:
        """Yield the raw means of surfaces, (points, outputs), all made in one walk; a feature's points of all surfaces are one player's."""
        columns: dict[int, tuple[int, ...]] = {}
        values: dict[int, list[Floats]] = {}
        places: dict[Any, slice] = {}
        for grid in grids:
            for side, p in enumerate(grid.column_positions):
                key = grid.point_keys[side]
                if key in places:
                    continue
                columns[p] = self.model_columns((p,))
                rows = np.arange(grid.shape[side]) * (grid.shape[1] if side == 0 else 1)
                own = self.model.inputs.matrix(grid.table.rows(rows))[:, list(columns[p])]
                start = sum(len(v) for v in values.get(p, ()))
                values.setdefault(p, []).append(own)
                places[key] = slice(start, start + len(own))
        players = list(columns)
        levels = [effects.PlayerPoints(columns[p], np.ascontiguousarray(np.concatenate(values[p]))) for p in players]
        pairs = [(players.index(g.column_positions[0]), players.index(g.column_positions[1])) for g in grids]
        different = list(dict.fromkeys(pairs))
        found = effects.joint_partial_dependence(
            self.model, levels, different, self.matrix, self.rows.weights, threads=self.threads
        ) if pairs else []  # fmt: skip
        for grid, pair in zip(grids, pairs, strict=True):
            one, two = (places[key] for key in grid.point_keys)
            yield found[different.index(pair)][one, two].reshape(len(grid), -1)

    def point_moments(self, grids: Sequence[Grid]) -> list[PointMoments]:
        """Return the mean over rows at each point, with its error, for each grid."""
        link = self._kernel_link
        if link is None:
            return [self._one_by_one(g) for g in grids]
        out: list[PointMoments | None] = [None] * len(grids)
        for n_features in (1, 2):
            positions = [i for i, g in enumerate(grids) if len(g.features) == n_features]
            for i, m in zip(
                positions,
                self._moments_behind_link([grids[i] for i in positions], link, ERROR_ROWS[n_features]),
                strict=True,
            ):
                out[i] = m
        return [self._one_by_one(g) if m is None else m for g, m in zip(grids, out, strict=True)]

    def _moments_behind_link(
        self, grids: Sequence[Grid], link: effects.LinkName, n_error_rows: int
    ) -> list[PointMoments | None]:
        """Means and their errors; None for a feature that no tree reads."""
        out: list[PointMoments | None] = [None] * len(grids)
        players = [self.player_points(g) for g in grids]
        sample = self._error_sample(link, n_error_rows)
        means = self.point_means(grids) if sample.notes else []
        for group in _disjoint_groups([one.columns for one in players]):
            chosen, known_means = [players[i] for i in group], [means[i] for i in group if means]
            for i, m in zip(
                group, self._with_errors(chosen, known_means, link, sample, n_error_rows // 2), strict=True
            ):
                out[i] = m
        return out

    def _with_errors(
        self,
        players: list[effects.PlayerPoints],
        means: Sequence[Floats],
        link: effects.LinkName,
        sample: ErrorSample,
        max_skewness_rows: int,
    ) -> Iterator[PointMoments]:
        """Means and their errors from the kernel's moments of a sample of rows; `means` are given where the sample is not all rows.

        Where rows differ in weight the squares take a second walk. The skewness is of at most `max_skewness_rows` rows: only where rows are few an interval needs it.
        """
        walk = partial(effects.individual_curve_moments, self.model, players, self.matrix[sample.rows], link=link)
        moments = walk(sample.mean_weights, threads=self.threads)
        squared = moments if sample.is_equal else walk(sample.square_weights, threads=self.threads)
        means = means or [self.selection.select_predictions(m.mean) for m in moments]
        skewness = self._mean_skewness(players, means, sample.random_subset(max_skewness_rows))
        for mean, square, mean_skewness in zip(means, squared, skewness, strict=True):
            variance = square.variance[..., list(self.selection.output_positions)]
            squares = variance + (self.selection.select_predictions(square.mean) - mean) ** 2
            error = std_error_of_mean(sample.square_weights.sum() * squares, self.rows.effective_count)
            yield PointMoments(mean, error, mean_skewness, sample.notes)

    def _mean_skewness(
        self, players: list[effects.PlayerPoints], means: Sequence[Floats], sample: ErrorSample
    ) -> list[Floats]:
        """The skewness of each mean, from the curves of a sample of rows."""
        square_sums, cube_sums = ([np.zeros(m.shape) for m in means] for _ in range(2))
        X = self.matrix[sample.rows]
        for block, curves in effects.individual_curve_blocks(
            self.model, players, X, numbers=SKEWNESS_NUMBERS_HELD, threads=self.threads
        ):
            for k, values in enumerate(curves):
                deviations = self._on_scale(values) - means[k]
                squares = deviations * deviations
                square_sums[k] += np.tensordot(sample.square_weights[block], squares, 1)
                cube_sums[k] += np.tensordot(sample.cube_weights[block], squares * deviations, 1)
        effective_count = float(np.sqrt(sample.square_weights).sum() ** 2 / sample.square_weights.sum())
        return [skewness_of_mean(*both, effective_count) for both in zip(square_sums, cube_sums, strict=True)]

    def _one_by_one(self, grid: Grid) -> PointMoments:
        return moments_of_blocks(self, grid, ((rows, values) for _, rows, values in self.curve_blocks([grid])))

    def _error_sample(self, link: str, n_error_rows: int) -> ErrorSample:
        """The rows from whose curves errors are estimated: all, or where means need no curves, some drawn at random."""
        n, w = len(self.rows), self.rows.weights
        if link != "identity" or n <= 2 * n_error_rows:
            return ErrorSample.all_rows(np.arange(n), w)
        weighted = np.flatnonzero(w > 0)
        if len(weighted) <= 2 * n_error_rows:
            return ErrorSample.all_rows(weighted, w[weighted])
        return replace(
            ErrorSample.draw_rows(w, n_error_rows),
            notes=(
                f"Means are of all rows; standard errors are estimated from the curves of {n_error_rows:,} of the {n:,} rows, drawn at random (seed 0).",
            ),
        )

    def corner_sums(self, requests: Sequence[CornerRequest]) -> list[Floats]:
        """Return signed sums of predictions at corners; on the trees' own scale all features are walked together, a pair of corners at a time."""
        out = [np.zeros((len(self.rows), len(self.selection.names))) for _ in requests]
        players = [self.player_points(grid) for grid, _ in requests]
        if self.selection.scale == "response":
            for player, (grid, corners), sums in zip(players, requests, out, strict=True):
                self._at_corners(player, len(grid), corners, sums)
            return out
        steps = [
            (i, used, high, low) for i, (_, corners) in enumerate(requests) for used, high, low in _pairs_of(corners)
        ]
        for group in _disjoint_groups([players[i].columns for i, *_ in steps]):
            chosen = [steps[t] for t in group]
            low, high = (np.column_stack([step[k] for step in chosen]).astype(np.int32) for k in (3, 2))
            moved = effects.point_differences(
                self.model, [players[i] for i, *_ in chosen], self.matrix, low, high, threads=self.threads
            )
            for at, (i, used, *_) in enumerate(chosen):
                out[i][used] += self.selection.select_values(moved[used, at])
        return out

    def _at_corners(self, player: effects.PlayerPoints, n_points: int, corners: SignedCorners, out: Floats) -> None:
        used = np.flatnonzero(np.min([at for _, at in corners], axis=0) >= 0)
        size = max(1, CURVE_NUMBERS_HELD // (n_points * len(self.model.base_values)))
        for start in range(0, len(used), size):
            rows = used[start : start + size]
            values = self._on_scale(self._raw_curves(player, rows, n_points))
            for sign, at in corners:
                out[rows] += sign * values[np.arange(len(rows)), at[rows]]

    @property
    def needs_curves(self) -> bool:
        """Whether means are taken after a link, so that they need every row's curve."""
        return self._kernel_link != "identity"

    @property
    def _kernel_link(self) -> effects.LinkName | None:
        """The kernel's name of the link that is applied before averaging; None where the kernel does not have it."""
        link = self.model.outputs.link
        if self.selection.scale == "raw" or link.is_identity:
            return "identity"
        return _KERNEL_LINKS.get(link.name) if link.function is None and link.scale == 1.0 else None

    def _raw_curves(self, player: effects.PlayerPoints, rows: Ints, n_points: int) -> Floats:
        """Raw curves, (rows, points, raw outputs); a feature that no tree reads leaves every row as it is."""
        if not player.columns:
            return np.repeat(self.raw_predictions[rows][:, None], n_points, axis=1)
        return effects.individual_curves(self.model, player, self.matrix[rows], threads=self.threads)

    def _on_scale(self, raw: Floats) -> Floats:
        return self.selection.from_raw(raw, self.model.outputs.link)


def _disjoint_groups(columns: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Groups of positions in which no model column occurs twice, as the kernel needs it; those without columns are left out."""
    groups: list[tuple[set[int], list[int]]] = []
    for i, taken in enumerate(columns):
        if not taken:
            continue
        free = next((g for g in groups if not g[0] & set(taken)), None)
        if free is None:
            free = (set(), [])
            groups.append(free)
        free[0].update(taken)
        free[1].append(i)
    return [members for _, members in groups]


def _pairs_of(corners: SignedCorners) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Yield (rows that take part, their upper points, their lower points); rows left out stand still at point 0."""
    used = np.flatnonzero(np.min([at for _, at in corners], axis=0) >= 0)
    above, below = ([np.maximum(at, 0) for sign, at in corners if sign * way > 0] for way in (1, -1))
    for high, low in zip(above, below, strict=True):
        yield used, high, low
