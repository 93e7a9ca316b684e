"""Asking a model about rows with one feature set to other values: what every effect is made of. One protocol, and its answer for any model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol, final

import numpy as np
import numpy.typing as npt

from whybox.errors import LimitError, NonFiniteError
from whybox.frames import Floats, Table
from whybox.kernels.outputs import raw
from whybox.methods.effects.grid import Feature, Grid, Ints, feature_of
from whybox.methods.shap.target import Target
from whybox.models.base import Model, digest
from whybox.models.blackbox import BlackBox
from whybox.models.compare import ask
from whybox.progress import batches

__all__ = ["BLOCK", "Corners", "Evaluator", "Moments", "Predicts", "Request", "Rows", "moments"]

# a signed sum of answers: (sign, point of each row), -1 for rows that are left out; as asked of a grid
Corners = Sequence[tuple[int, Ints]]
Request = tuple[Grid, Corners]
BLOCK: Final = 2**22  # numbers of individual curves held at a time


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """The rows an effect is taken over: an aligned table, and shares that sum to one.

    ``count`` is the effective number of rows, (sum w)^2 / sum w^2.
    """

    table: Table
    weights: Floats
    _features: dict[int, Feature] = field(default_factory=dict, repr=False)
    _alike: dict[tuple[int, ...], tuple[Ints, Ints]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table)

    @property
    def count(self) -> float:
        """Effective number of rows."""
        return float(1.0 / (self.weights**2).sum())

    def feature(self, position: int) -> Feature:
        """Return a column, coded once."""
        if position not in self._features:
            self._features[position] = feature_of(self.table, position)
        return self._features[position]

    @cached_property
    def codes(self) -> Ints:
        """All columns coded, (rows, columns): equal rows have equal codes."""
        return np.column_stack([self.feature(p).codes for p in range(self.table.width)])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the rows, column by column, and their shares."""
        parts: list[object] = [self.weights]
        for p in range(self.table.width):
            f = self.feature(p)
            parts += [f.name, f.codes, [str(v) for v in f.unique] if f.unique.dtype.kind in "OmM" else f.unique]
        return digest(*parts)

    def alike(self, without: Sequence[int]) -> tuple[Ints, Ints]:
        """Return a row for each different row but for some columns, and which of these each row is."""
        key = tuple(without)
        if key not in self._alike:
            self._alike.clear()  # one is enough: features come one after another
            self._alike[key] = self._different(key)
        return self._alike[key]

    def _different(self, without: Sequence[int]) -> tuple[Ints, Ints]:
        others = [p for p in range(self.table.width) if p not in without]
        if not others:
            return np.zeros(1, dtype=np.int64), np.zeros(len(self), dtype=np.int64)
        _, first, inverse = np.unique(self.codes[:, others], axis=0, return_index=True, return_inverse=True)
        return first.astype(np.int64), inverse.reshape(-1).astype(np.int64)


@final
@dataclass(frozen=True, eq=False)
class Moments:
    """Of the individual values at each point, over rows: weighted mean and unbiased variance, (points, outputs).

    ``notes`` say where the variance is of fewer rows than the mean.
    """

    mean: Floats
    variance: Floats
    notes: tuple[str, ...] = ()


class Evaluator(Protocol):
    """Answers about rows with features set to points, on the scale asked for; (…, outputs) everywhere."""

    rows: Rows
    target: Target
    spent: int

    @property
    def kernel(self) -> str:
        """How answers are found, in words."""

    def answers(self) -> Floats:
        """Return the prediction of each row, (rows, outputs)."""

    def curves(self, grids: Sequence[Grid]) -> Iterator[tuple[int, Ints, Floats]]:
        """Yield (which grid, positions of rows, their curves (rows, points, outputs)) in blocks; every row comes once for each grid."""

    def means(self, grids: Sequence[Grid]) -> list[Floats]:
        """Return the mean over rows at each point, (points, outputs) for each grid."""

    def moments(self, grids: Sequence[Grid]) -> list[Moments]:
        """Return mean and variance over rows at each point, for each grid."""

    def shifted(self, requests: Sequence[Request]) -> list[Floats]:
        """Return for each request and row the signed sum of its answers at the corners, (rows, outputs); rows left out get zeros."""


def moments(evaluator: Evaluator, grid: Grid) -> Moments:
    """Return mean and variance from individual curves, block by block, by Chan's pairwise update.

    The variance is ``sum w (v - mean)^2 * n / (n - 1)`` with shares w and the effective number of rows n.
    """
    w, n = evaluator.rows.weights, evaluator.rows.count
    shape = (len(grid), len(evaluator.target.names))
    mass, mean, square = 0.0, np.zeros(shape), np.zeros(shape)
    for _, rows, values in evaluator.curves([grid]):
        here = float(w[rows].sum())
        if here == 0.0:
            continue
        share = w[rows] / here
        middle = np.einsum("r,rpk->pk", share, values)
        off = middle - mean
        square += here * np.einsum("r,rpk->pk", share, (values - middle) ** 2) + off**2 * mass * here / (mass + here)
        mass += here
        mean = mean + off * (here / mass)
    return Moments(mean, square * (n / (n - 1.0)) if n > 1 else np.full(shape, np.nan))


@final
@dataclass(frozen=True, eq=False)
class _Shift:
    """Corners of one grid, each different question once: rows and points to ask about, and for every corner of every row used where its answer is.

    ``own`` marks corners where a row stands itself, whose prediction is known; ``rows`` are theirs.
    """

    grid: Grid
    corners: Corners
    used: Ints
    different: Ints
    points: Ints
    where: Ints
    own: npt.NDArray[np.bool_]
    rows: Ints


@final
class Predicts:
    """Any model, through predictions of rows with the feature's column replaced.

    Rows that are equal but for the feature are asked about once, and so are points that are a row's own value where its prediction is
    known already. Work goes in batches that Ctrl-C can end.
    """

    def __init__(self, model: Model, rows: Rows, target: Target, *, most: int | None = None) -> None:
        self.model, self.rows, self.target = model, rows, target
        self.spent = 0
        self._most = most
        self._call = _caller(model, target)
        self._answers: Floats | None = None
        self._in_all = ""

    @property
    def kernel(self) -> str:
        """How answers are found."""
        return (
            f"predictions: {self.model.own.what}"
            if isinstance(self.model, BlackBox) and self.model.own
            else "predictions: our verified reading of the model"
        )

    def answers(self) -> Floats:
        """Return the prediction of each row; equal rows are asked about once."""
        if self._answers is None:
            first, inverse = self.rows.alike(())
            self._afford(len(first))
            self._answers = self._ask(self.rows.table, first, None, None, "predictions")[inverse]
        return self._answers

    def curves(self, grids: Sequence[Grid]) -> Iterator[tuple[int, Ints, Floats]]:
        """Yield individual curves, grid after grid, in blocks of rows that are equal but for the feature."""
        self._announce(sum(len(self.rows.alike(g.members)[0]) * len(g) for g in grids))
        for i, grid in enumerate(grids):
            for rows, values in self._curves_of(grid):
                yield i, rows, values

    def means(self, grids: Sequence[Grid]) -> list[Floats]:
        """Return the means alone; what they cost is what their spread would."""
        return [m.mean for m in self.moments(grids)]

    def _curves_of(self, grid: Grid) -> Iterator[tuple[Ints, Floats]]:
        first, inverse = self.rows.alike(grid.members)
        order = np.argsort(inverse, kind="stable")
        begins = np.searchsorted(inverse[order], np.arange(len(first) + 1))
        points, k = len(grid), len(self.target.names)
        known = self._known(grid, inverse)
        size = max(1, BLOCK // (points * k))
        for start in range(0, len(first), size):
            stop = min(start + size, len(first))
            values = np.empty((stop - start, points, k))
            open_ = np.ones((stop - start, points), dtype=bool)
            if known is not None:
                here = (known[0] >= start) & (known[0] < stop)
                values[known[0][here] - start, known[1][here]] = known[2][here]
                open_[known[0][here] - start, known[1][here]] = False
            r, g = np.nonzero(open_)
            values[r, g] = self._ask(self.rows.table, first[start + r], grid, g, f"effect of {grid.name}")
            members = order[begins[start] : begins[stop]]
            yield members, values[inverse[members] - start]

    def moments(self, grids: Sequence[Grid]) -> list[Moments]:
        """Return mean and variance over rows at each point, for each grid."""
        self._announce(sum(len(self.rows.alike(g.members)[0]) * len(g) for g in grids))
        return [moments(self, g) for g in grids]

    def shifted(self, requests: Sequence[Request]) -> list[Floats]:
        """Return signed sums of answers at corners, each different (rest of the row, point) asked about once."""
        plans = [self._plan(grid, corners) for grid, corners in requests]
        self._announce(sum(len(plan.different) for plan in plans))
        return [self._shifted(plan) for plan in plans]

    def _plan(self, grid: Grid, corners: Corners) -> _Shift:
        used = np.flatnonzero(np.min([at for _, at in corners], axis=0) >= 0)
        first, inverse = self.rows.alike(grid.members)
        points = np.concatenate([at[used] for _, at in corners])
        pairs = np.tile(inverse[used], len(corners)) * len(grid) + points
        rows = np.tile(used, len(corners))
        own = (points == grid.at[rows]) if self._answers is not None else np.zeros(len(points), dtype=bool)
        different, where = np.unique(pairs[~own], return_inverse=True)
        return _Shift(grid, corners, used, first[different // len(grid)], different % len(grid), where, own, rows)

    def _shifted(self, plan: _Shift) -> Floats:
        said = self._ask(self.rows.table, plan.different, plan.grid, plan.points, f"effect of {plan.grid.name}")
        each = np.empty((len(plan.own), len(self.target.names)))
        each[~plan.own] = said[plan.where]
        if plan.own.any():
            each[plan.own] = self.answers()[plan.rows[plan.own]]
        out = np.zeros((len(self.rows), len(self.target.names)))
        for (sign, _), part in zip(plan.corners, each.reshape(len(plan.corners), len(plan.used), -1), strict=True):
            out[plan.used] += sign * part
        return out

    def _known(self, grid: Grid, inverse: Ints) -> tuple[Ints, Ints, Floats] | None:
        """Answers at a row's own value: where they are there already, or cost nothing because every row stands on a point."""
        if self._answers is None and (grid.at < 0).any():
            return None
        on = np.flatnonzero(grid.at >= 0)
        cells, first = np.unique(inverse[on] * len(grid) + grid.at[on], return_index=True)
        return cells // len(grid), cells % len(grid), self.answers()[on[first]]

    def _announce(self, needed: int) -> None:
        """Refuse what is more than allowed before any of it is asked; show the rest beside the bar."""
        self._afford(needed)
        self._in_all = f", {needed:,} predictions in all"

    def _afford(self, more: int) -> None:
        if self._most is not None and self.spent + more > self._most:
            raise LimitError(
                f"this takes up to {self.spent + more:,} predictions of single rows, more than max_evals={self._most:,}. "
                "Pass fewer rows, fewer features, a smaller grid, or raise max_evals."
            )

    def _ask(
        self, table: Table, rows: Ints, grid: Grid | None, points: npt.NDArray[np.int64] | None, what: str
    ) -> Floats:
        out = np.empty((len(rows), len(self.target.names)))
        for part in batches(len(rows), what=what + self._in_all, first=4096, most=65536, unit="predictions"):
            block = table.rows(rows[part])
            if grid is not None and points is not None:
                block = block.mixed(grid.table.rows(points[part]), grid.members)
            out[part] = self._call(block)
            self.spent += len(block)
        if np.isnan(out).any():
            raise NonFiniteError(
                "the model answers some of these rows with NaN ({row}), so no mean of answers is defined."
            )
        return out


def _caller(model: Model, target: Target) -> Callable[[Table], Floats]:
    """Aligned table -> answers on the target's scale, (rows, outputs)."""
    if isinstance(model, BlackBox):
        own = model.own
        assert own is not None  # noqa: S101  # a black box is nothing but its own predict
        return lambda table: target.levels(ask(own, table, what="rows with this feature replaced"))

    def call(table: Table) -> Floats:
        said = raw(model, model.inputs.matrix(table))
        return target.levels(said if target.scale == "raw" else model.outputs.link(said))

    return call
