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
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.predict_evaluator import CURVE_NUMBERS_HELD, Corners, Moments, Request, moments
from whybox.methods.effects.row_sample import RowSample
from whybox.models.trees import TreeEnsemble
from whybox.numerics.statistics import skewness_of_mean, std_error_of_mean

__all__ = ["TreeEvaluator", "tree_evaluator_unavailable"]

# links that the kernel itself knows, where their scale is one
_LINKS: Final[dict[str, effects.LinkName]] = {
    "sigmoid": "logistic",
    "exp": "exp",
    "softmax": "softmax",
}
ROWS_ENCODED: Final = 65536
SKEWNESS_NUMBERS_HELD: Final = 2**18  # numbers of curves worked on at a time, so that they stay in a cache
SPREAD_ROWS: Final = {
    1: 2000,
    2: 400,
}  # rows that are enough to know a standard error to two in a hundred, of surfaces to four


def tree_evaluator_unavailable(model: TreeEnsemble, members: Sequence[int]) -> str | None:
    """Return why the leaves alone do not give the effect of these of the user's columns; None where they do."""
    if model.has_linear_leaves:
        return "the leaves of this model are linear functions, so its effects are not steps"
    taken = set(members)
    mixed = [s for s in model.inputs.source_columns if taken & set(s) and not set(s) <= taken]
    if mixed:
        names = sorted({model.inputs.names[i] for s in mixed for i in s if i not in taken})
        return f"the model mixes this column with {', '.join(names[:5])}{' ...' if len(names) > 5 else ''} before its trees read it"
    return None


@final
class TreeEvaluator:
    """Predictions of changed rows from the leaves of a tree ensemble (kernels/effects.py); the number of threads changes no bit."""

    def __init__(
        self, model: TreeEnsemble, rows: WeightedRows, selection: OutputSelection, *, threads: int = 1
    ) -> None:
        self.model, self.rows, self.selection, self.threads = model, rows, selection, threads
        self.spent = 0

    @property
    def kernel(self) -> str:
        """How predictions are computed, in words."""
        return "the trees' own leaves"

    def reserve(
        self, grids: Sequence[Grid] = (), requests: Sequence[Request] = (), *, predictions: bool = False
    ) -> list[int]:
        """Return no rounds: leaves take no predictions."""
        del grids, requests, predictions
        return []

    def spread(self, features: int) -> int:
        """How many rows the standard errors of partial dependence are estimated from, for one feature or two."""
        return len(self._sample(self._link or "", SPREAD_ROWS[features]).rows)

    @cached_property
    def matrix(self) -> Floats:
        """The rows as the trees read them, (rows, model columns)."""
        inputs = self.model.inputs
        return np.concatenate([inputs.matrix_of_block(b, start) for start, b in self.rows.table.blocks(ROWS_ENCODED)])

    @cached_property
    def _raw(self) -> Floats:
        return predict(self.model, self.matrix)

    def predictions(self) -> Floats:
        """Return the prediction of each row, (rows, outputs)."""
        return self._scaled(self._raw)

    def columns(self, members: Sequence[int]) -> tuple[int, ...]:
        """Return the model columns that are made of these of the user's columns."""
        taken = set(members)
        return tuple(i for i, s in enumerate(self.model.inputs.source_columns) if s and set(s) <= taken)

    def levels(self, grid: Grid) -> effects.PlayerPoints:
        """Return the grid's points as the trees read them."""
        columns = self.columns(grid.column_positions)
        return effects.PlayerPoints(
            columns, np.ascontiguousarray(self.model.inputs.matrix(grid.table)[:, list(columns)])
        )

    def curves(self, grids: Sequence[Grid]) -> Iterator[tuple[int, Ints, Floats]]:
        """Yield individual curves in blocks of rows, all features in one walk."""
        levels = [self.levels(g) for g in grids]
        for together in _disjoint([one.columns for one in levels]):
            chosen = [levels[i] for i in together]
            for part, curves in effects.individual_curve_blocks(
                self.model, chosen, self.matrix, numbers=CURVE_NUMBERS_HELD, threads=self.threads
            ):
                for i, values in zip(together, curves, strict=True):
                    yield i, np.arange(part.start, part.stop), self._scaled(values)
        for i, (grid, one) in enumerate(zip(grids, levels, strict=True)):
            if not one.columns:  # no tree reads the feature, so every row stays as it is
                yield i, np.arange(len(self.rows)), np.repeat(self.predictions()[:, None], len(grid), axis=1)

    def means(self, grids: Sequence[Grid]) -> list[Floats]:
        """Return the means alone: on the trees' own scale they need no curves."""
        if self._link != "identity":
            return [m.mean for m in self.moments(grids)]
        out: list[Floats | None] = [None] * len(grids)
        surfaces = [i for i, g in enumerate(grids) if len(g.features) == 2 and self._apart(g)]
        for i, surface in zip(surfaces, self._surfaces([grids[i] for i in surfaces]), strict=True):
            out[i] = self.selection.select_predictions(surface)
        rest = [i for i, found in enumerate(out) if found is None]
        levels = {i: self.levels(grids[i]) for i in rest}
        for some in _disjoint([levels[i].columns for i in rest]):
            together = [rest[k] for k in some]
            found = effects.partial_dependence(
                self.model, [levels[i] for i in together], self.matrix, self.rows.weights, threads=self.threads
            )
            for i, mean in zip(together, found, strict=True):
                out[i] = self.selection.select_predictions(mean)
        flat = self.rows.weights @ self.predictions() if any(v is None for v in out) else np.empty(0)
        return [np.repeat(flat[None], len(g), axis=0) if v is None else v for g, v in zip(grids, out, strict=True)]

    def _apart(self, grid: Grid) -> bool:
        """Whether trees read both features of a surface, and none reads a column made of both."""
        one, two = (self.columns((p,)) for p in grid.column_positions)
        return bool(one and two) and {*one, *two} == set(self.columns(grid.column_positions))

    def _surfaces(self, grids: Sequence[Grid]) -> Iterator[Floats]:
        """Yield the raw means of surfaces, (points, outputs), all made in one walk; a feature's points of all surfaces are one player's."""
        columns: dict[int, tuple[int, ...]] = {}
        values: dict[int, list[Floats]] = {}
        places: dict[Any, slice] = {}
        for grid in grids:
            for side, p in enumerate(grid.column_positions):
                key = grid.keys[side]
                if key in places:
                    continue
                columns[p] = self.columns((p,))
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
            one, two = (places[key] for key in grid.keys)
            yield found[different.index(pair)][one, two].reshape(len(grid), -1)

    def moments(self, grids: Sequence[Grid]) -> list[Moments]:
        """Return the mean over rows at each point, with its error, for each grid."""
        link = self._link
        if link is None:
            return [self._one_by_one(g) for g in grids]
        out: list[Moments | None] = [None] * len(grids)
        for many in (1, 2):
            those = [i for i, g in enumerate(grids) if len(g.features) == many]
            for i, m in zip(those, self._moments([grids[i] for i in those], link, SPREAD_ROWS[many]), strict=True):
                out[i] = m
        return [self._one_by_one(g) if m is None else m for g, m in zip(grids, out, strict=True)]

    def _moments(self, grids: Sequence[Grid], link: effects.LinkName, spread: int) -> list[Moments | None]:
        """Means and their errors; None for a feature that no tree reads."""
        out: list[Moments | None] = [None] * len(grids)
        levels = [self.levels(g) for g in grids]
        sample = self._sample(link, spread)
        means = self.means(grids) if sample.notes else []
        for together in _disjoint([one.columns for one in levels]):
            chosen, given = [levels[i] for i in together], [means[i] for i in together if means]
            for i, m in zip(together, self._with_errors(chosen, given, link, sample, spread // 2), strict=True):
                out[i] = m
        return out

    def _with_errors(
        self,
        levels: list[effects.PlayerPoints],
        means: Sequence[Floats],
        link: effects.LinkName,
        sample: RowSample,
        most: int,
    ) -> Iterator[Moments]:
        """Means and their errors from the kernel's moments of a sample of rows; `means` are given where the sample is not all rows.

        Where rows differ in weight the squares take a second walk. The skewness is of at most `most` rows: only where rows are few an interval needs it.
        """
        walk = partial(effects.individual_curve_moments, self.model, levels, self.matrix[sample.rows], link=link)
        found = walk(sample.shares, threads=self.threads)
        squared = found if sample.is_equal else walk(sample.squares, threads=self.threads)
        means = means or [self.selection.select_predictions(m.mean) for m in found]
        skewness = self._skewness(levels, means, sample.some(most))
        for mean, square, skew in zip(means, squared, skewness, strict=True):
            variance = square.variance[..., list(self.selection.output_positions)]
            squares = variance + (self.selection.select_predictions(square.mean) - mean) ** 2
            error = std_error_of_mean(sample.squares.sum() * squares, self.rows.effective_count)
            yield Moments(mean, error, skew, sample.notes)

    def _skewness(self, levels: list[effects.PlayerPoints], means: Sequence[Floats], sample: RowSample) -> list[Floats]:
        """The skewness of each mean, from the curves of a sample of rows."""
        two, three = ([np.zeros(m.shape) for m in means] for _ in range(2))
        X = self.matrix[sample.rows]
        for part, curves in effects.individual_curve_blocks(
            self.model, levels, X, numbers=SKEWNESS_NUMBERS_HELD, threads=self.threads
        ):
            for k, values in enumerate(curves):
                off = self._scaled(values) - means[k]
                power = off * off
                two[k] += np.tensordot(sample.squares[part], power, 1)
                three[k] += np.tensordot(sample.cubes[part], power * off, 1)
        rows = float(np.sqrt(sample.squares).sum() ** 2 / sample.squares.sum())
        return [skewness_of_mean(*both, rows) for both in zip(two, three, strict=True)]

    def _one_by_one(self, grid: Grid) -> Moments:
        return moments(self, grid, ((rows, values) for _, rows, values in self.curves([grid])))

    def _sample(self, link: str, spread: int) -> RowSample:
        """The rows from whose curves errors are estimated: all, or where means need no curves, some drawn at random."""
        n, w = len(self.rows), self.rows.weights
        if link != "identity" or n <= 2 * spread:
            return RowSample.every(np.arange(n), w)
        weighted = np.flatnonzero(w > 0)
        if len(weighted) <= 2 * spread:
            return RowSample.every(weighted, w[weighted])
        return replace(
            RowSample.drawn(w, spread),
            notes=(
                f"Means are of all rows; standard errors are estimated from the curves of {spread:,} of the {n:,} rows, drawn at random (seed 0).",
            ),
        )

    def shifted(self, requests: Sequence[Request]) -> list[Floats]:
        """Return signed sums of predictions at corners; on the trees' own scale all features are walked together, a pair of corners at a time."""
        out = [np.zeros((len(self.rows), len(self.selection.names))) for _ in requests]
        levels = [self.levels(grid) for grid, _ in requests]
        if self.selection.scale == "response":
            for one, (grid, corners), found in zip(levels, requests, out, strict=True):
                self._at_corners(one, len(grid), corners, found)
            return out
        steps = [
            (i, used, high, low) for i, (_, corners) in enumerate(requests) for used, high, low in _pairs_of(corners)
        ]
        for together in _disjoint([levels[i].columns for i, *_ in steps]):
            chosen = [steps[t] for t in together]
            low, high = (np.column_stack([step[k] for step in chosen]).astype(np.int32) for k in (3, 2))
            moved = effects.point_differences(
                self.model, [levels[i] for i, *_ in chosen], self.matrix, low, high, threads=self.threads
            )
            for at, (i, used, *_) in enumerate(chosen):
                out[i][used] += self.selection.select_values(moved[used, at])
        return out

    def _at_corners(self, levels: effects.PlayerPoints, points: int, corners: Corners, out: Floats) -> None:
        used = np.flatnonzero(np.min([at for _, at in corners], axis=0) >= 0)
        size = max(1, CURVE_NUMBERS_HELD // (points * len(self.model.base_values)))
        for start in range(0, len(used), size):
            rows = used[start : start + size]
            values = self._scaled(self._individual(levels, rows, points))
            for sign, at in corners:
                out[rows] += sign * values[np.arange(len(rows)), at[rows]]

    @property
    def curved(self) -> bool:
        """Whether means are taken after a link, so that they need every row's curve."""
        return self._link != "identity"

    @property
    def _link(self) -> effects.LinkName | None:
        """The kernel's name of the link that is applied before averaging; None where the kernel does not have it."""
        link = self.model.outputs.link
        if self.selection.scale == "raw" or link.is_identity:
            return "identity"
        return _LINKS.get(link.name) if link.function is None and link.scale == 1.0 else None

    def _individual(self, levels: effects.PlayerPoints, rows: Ints, points: int) -> Floats:
        """Raw curves, (rows, points, raw outputs); a feature that no tree reads leaves every row as it is."""
        if not levels.columns:
            return np.repeat(self._raw[rows][:, None], points, axis=1)
        return effects.individual_curves(self.model, levels, self.matrix[rows], threads=self.threads)

    def _scaled(self, raw: Floats) -> Floats:
        return self.selection.select_predictions(raw if self.selection.scale == "raw" else self.model.outputs.link(raw))


def _disjoint(columns: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Groups of positions in which no model column occurs twice, as the kernel needs it; those without columns are left out."""
    groups: list[tuple[set[int], list[int]]] = []
    for i, own in enumerate(columns):
        if not own:
            continue
        free = next((g for g in groups if not g[0] & set(own)), None)
        if free is None:
            free = (set(), [])
            groups.append(free)
        free[0].update(own)
        free[1].append(i)
    return [members for _, members in groups]


def _pairs_of(corners: Corners) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Yield (rows that take part, their upper points, their lower points); rows left out stand still at point 0."""
    used = np.flatnonzero(np.min([at for _, at in corners], axis=0) >= 0)
    above, below = ([np.maximum(at, 0) for sign, at in corners if sign * way > 0] for way in (1, -1))
    for high, low in zip(above, below, strict=True):
        yield used, high, low
