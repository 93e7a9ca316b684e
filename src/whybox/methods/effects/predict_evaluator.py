"""Asking a model about rows with one feature set to other values: what every effect is made of. One protocol, and its answer for any model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol, final

import numpy as np
import numpy.typing as npt

from whybox.core.progress import timed_batches
from whybox.data.table import Floats, Table
from whybox.errors import LimitError, NonFiniteError
from whybox.kernels.predict import raw
from whybox.methods.common.output import OutputSelection
from whybox.methods.effects.grid import Feature, Grid, Ints, feature_of
from whybox.methods.effects.repeatability import Repeats
from whybox.models.agreement import ask
from whybox.models.base import Model, digest
from whybox.models.blackbox import BlackBox
from whybox.numerics.statistics import RunningMoments

__all__ = [
    "CURVE_NUMBERS_HELD",
    "Corners",
    "Evaluator",
    "Moments",
    "PredictEvaluator",
    "Request",
    "Rows",
    "caller",
    "moments",
]

# a signed sum of answers: (sign, point of each row), -1 for rows that are left out; as asked of a grid
Corners = Sequence[tuple[int, Ints]]
Request = tuple[Grid, Corners]
CURVE_NUMBERS_HELD: Final = 2**22  # numbers of individual curves held at a time
_KEPT: Final = 2**23  # numbers of `Rows.alike` kept
FIRST, MOST = 4096, 65536  # rows of a batch


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
        """All columns coded, (rows, columns): equal codes stand for cells that no model can tell apart."""
        return np.column_stack([self.feature(p).cells for p in range(self.table.width)])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the rows, column by column, and their shares."""
        parts: list[object] = [self.weights]
        if self.table.is_matrix:
            rows = self.table.native
            return digest(self.weights, rows.shape, rows.indptr, rows.indices, rows.data)
        for p in range(self.table.width):
            f = self.feature(p)
            parts += [
                f.name,
                f.codes,
                f.cells,
                list(map(_spelled, f.unique)) if f.unique.dtype.kind in "OmM" else f.unique,
            ]
        return digest(*parts)

    def alike(self, without: Sequence[int]) -> tuple[Ints, Ints]:
        """Return a row for each different row but for some columns, and which of these each row is."""
        key = tuple(without)
        if key not in self._alike:
            if len(self) * len(self._alike) > _KEPT:
                self._alike.clear()
            self._alike[key] = self._different(key)
        return self._alike[key]

    def _different(self, without: Sequence[int]) -> tuple[Ints, Ints]:
        others = [p for p in range(self.table.width) if p not in without]
        if not others:
            return np.zeros(1, dtype=np.int64), np.zeros(len(self), dtype=np.int64)
        if self.table.is_matrix:
            return _alike_cells(self.table.select(others).native)
        _, first, inverse = np.unique(self.codes[:, others], axis=0, return_index=True, return_inverse=True)
        return first.astype(np.int64), inverse.reshape(-1).astype(np.int64)


def _spelled(value: object) -> str:
    """A value in full, where its text would leave numbers out."""
    return repr(value.tolist()) if isinstance(value, np.ndarray) else str(value)


def _alike_cells(rows: Any) -> tuple[Ints, Ints]:
    """A row for each different row of a sparse matrix, and which of these each row is; a stored zero is no empty cell."""
    seen: dict[tuple[bytes, bytes], int] = {}
    first: list[int] = []
    inverse = np.empty(rows.shape[0], dtype=np.int64)
    for i, (a, b) in enumerate(zip(rows.indptr[:-1], rows.indptr[1:], strict=True)):
        key = (rows.indices[a:b].tobytes(), rows.data[a:b].tobytes())
        if key not in seen:
            seen[key] = len(first)
            first.append(i)
        inverse[i] = seen[key]
    return np.array(first, dtype=np.int64), inverse


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
    target: OutputSelection
    spent: int

    @property
    def kernel(self) -> str:
        """How answers are found, in words."""

    def reserve(
        self, grids: Sequence[Grid] = (), requests: Sequence[Request] = (), *, answers: bool = False
    ) -> list[int]:
        """Return the rounds of predictions of single rows that all of this takes, refusing too many before any is made; see `PredictEvaluator`."""

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


def moments(evaluator: Evaluator, grid: Grid, blocks: Iterable[tuple[Ints, Floats]]) -> Moments:
    """Return mean and variance from blocks of individual curves (rows, curves).

    The variance is ``sum w (v - mean)^2 * n / (n - 1)`` with shares w and the effective number of rows n.
    """
    w, n = evaluator.rows.weights, evaluator.rows.count
    seen = RunningMoments((len(grid), len(evaluator.target.names)))
    for rows, values in blocks:
        seen.add(values, w[rows])
    return Moments(seen.mean, seen.sum_of_squares * (n / (n - 1.0)) if n > 1 else np.full(seen.mean.shape, np.nan))


@final
@dataclass(frozen=True, eq=False)
class _Questions:
    """What is asked of one grid, each question once: a question is a row but for the feature, and a point.

    ``different`` numbers them, row * points + point; ``own`` is a row that stands there itself, whose prediction is the answer, or -1.
    """

    grid: Grid
    different: Ints
    own: Ints


@final
class PredictEvaluator:
    """Any model, through predictions of rows with the feature's column replaced.

    Rows that are equal but for the feature are asked about once. A point that is a row's own value is that row as it is: wherever that saves
    something, the rows as they are are asked about once and serve all features. Work goes in batches that Ctrl-C can end.

    Args:
        repeats: rows that are asked about several times. most: predictions allowed. before: those that this question takes beside these.
    """

    def __init__(
        self,
        model: Model,
        rows: Rows,
        target: OutputSelection,
        *,
        repeats: Repeats | None = None,
        most: int | None = None,
        before: int = 0,
    ) -> None:
        self.model, self.rows, self.target, self.repeats = model, rows, target, repeats
        self.spent = 0
        self._most, self._before = most, before
        self._call = caller(model, target)
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

    def reserve(
        self, grids: Sequence[Grid] = (), requests: Sequence[Request] = (), *, answers: bool = False
    ) -> list[int]:
        """Return how many predictions it will take to give curves of grids, sums of requests, and the rows' own answers: the size of each round.

        Their sum is exact.

        Raises:
            LimitError: more than are allowed.
        """
        return self._reserve(grids, requests, answers=answers)[0]

    def _reserve(
        self, grids: Sequence[Grid] = (), requests: Sequence[Request] = (), *, answers: bool = False
    ) -> tuple[list[int], bool]:
        """The rounds, and whether asking about the rows as they are costs no more than it saves."""
        sizes = [self._size_of_curves(g) for g in grids]
        for grid, corners in _by_grid(requests):
            asked = self._questions(grid, corners)
            sizes.append((len(asked.different), int((asked.own >= 0).sum()), 1))
        as_they_are = 0 if self._answers is not None else len(self.rows.alike(())[0])
        share = answers or sum(own for _, own, _ in sizes) >= as_they_are
        rounds = [as_they_are] if share else []
        for size, own, blocks in sizes:
            left = size - own if share else size
            rounds += [left // blocks + (i < left % blocks) for i in range(blocks)]
        self._afford(sum(rounds))
        self._in_all = f", {sum(rounds):,} predictions in all"
        return [r for r in rounds if r], share

    def _size_of_curves(self, grid: Grid) -> tuple[int, int, int]:
        """How many different questions a grid asks, how many of them are rows as they are, and in how many blocks they come."""
        rest = len(self.rows.alike(grid.members)[0])
        block = max(1, CURVE_NUMBERS_HELD // (len(grid) * len(self.target.names)))
        return rest * len(grid), len(self._cells(grid)[0]), -(-rest // block)

    def sample(self, grid: Grid | None, size: int) -> None:
        """Ask some of the questions of a grid, or about rows as they are, for a timing; the answers are not kept, nor counted."""
        rows = np.arange(size) % len(self.rows)
        block = self.rows.table.rows(rows)
        if grid is not None:
            block = block.mixed(grid.table.rows(np.arange(size) % len(grid)), grid.members)
        self._call(block)

    def _start(self, grids: Sequence[Grid] = (), requests: Sequence[Request] = ()) -> None:
        if self._reserve(grids, requests)[1]:
            self.answers()

    def answers(self) -> Floats:
        """Return the prediction of each row; equal rows are asked about once."""
        if self._answers is None:
            first, inverse = self.rows.alike(())
            self._afford(len(first))
            self._answers = self._ask(self.rows.table, first, None, None, "predictions")[inverse]
            if self.repeats is not None:
                self.repeats.compare(self.rows.table, self._answers)
        return self._answers

    def curves(self, grids: Sequence[Grid]) -> Iterator[tuple[int, Ints, Floats]]:
        """Yield individual curves, grid after grid, in blocks of rows that are equal but for the feature."""
        self._start(grids)
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
        known = None if self._answers is None else self._cells(grid)
        size = max(1, CURVE_NUMBERS_HELD // (points * k))
        for start in range(0, len(first), size):
            stop = min(start + size, len(first))
            values = np.empty((stop - start, points, k))
            open_ = np.ones((stop - start, points), dtype=bool)
            if known is not None and self._answers is not None:
                cells, row = known
                here = slice(*np.searchsorted(cells, [start * points, stop * points]))
                values.reshape(-1, k)[cells[here] - start * points] = self._answers[row[here]]
                open_.reshape(-1)[cells[here] - start * points] = False
            r, g = np.nonzero(open_)
            values[r, g] = self._ask(self.rows.table, first[start + r], grid, g, f"effect of {grid.name}")
            members = order[begins[start] : begins[stop]]
            yield members, values[inverse[members] - start]

    def moments(self, grids: Sequence[Grid]) -> list[Moments]:
        """Return mean and variance over rows at each point, for each grid."""
        self._start(grids)
        return [moments(self, g, self._curves_of(g)) for g in grids]

    def shifted(self, requests: Sequence[Request]) -> list[Floats]:
        """Return signed sums of answers at corners, each different (rest of the row, point) asked about once."""
        self._start(requests=requests)
        out = [np.zeros((len(self.rows), len(self.target.names))) for _ in requests]
        for grid, mine in _by_grid(requests):
            asked = self._questions(grid, mine)
            said = self._said(asked)
            inverse = self.rows.alike(grid.members)[1]
            for i, (other, corners) in enumerate(requests):
                if other is not grid:
                    continue
                used = _used(corners)
                for sign, at in corners:
                    where = np.searchsorted(asked.different, inverse[used] * len(grid) + at[used])
                    out[i][used] += sign * said[where]
        return out

    def _questions(self, grid: Grid, several: Sequence[Corners]) -> _Questions:
        inverse = self.rows.alike(grid.members)[1]
        pairs = [inverse[_used(corners)] * len(grid) + at[_used(corners)] for corners in several for _, at in corners]
        different = np.unique(np.concatenate(pairs))
        cells, row = self._cells(grid)
        own = np.full(len(different), -1, dtype=np.int64)
        if len(cells):
            where = np.minimum(np.searchsorted(cells, different), len(cells) - 1)
            own = np.where(cells[where] == different, row[where], -1)
        return _Questions(grid, different, own)

    def _said(self, asked: _Questions) -> Floats:
        """Answers to each question, (questions, outputs)."""
        grid, first = asked.grid, self.rows.alike(asked.grid.members)[0]
        open_ = np.ones(len(asked.own), dtype=bool) if self._answers is None else asked.own < 0
        rest, point = np.divmod(asked.different[open_], len(grid))
        out = np.empty((len(asked.own), len(self.target.names)))
        out[open_] = self._ask(self.rows.table, first[rest], grid, point, f"effect of {grid.name}")
        if self._answers is not None:
            out[~open_] = self._answers[asked.own[~open_]]
        return out

    def _cells(self, grid: Grid) -> tuple[Ints, Ints]:
        """Questions of a grid that are rows as they are, sorted, and a row for each."""
        on = np.flatnonzero(grid.same & (grid.at >= 0))
        cells, first = np.unique(self.rows.alike(grid.members)[1][on] * len(grid) + grid.at[on], return_index=True)
        return cells, on[first]

    def _afford(self, more: int) -> None:
        if self._most is not None and self._before + self.spent + more > self._most:
            raise LimitError(
                f"this takes {self._before + self.spent + more:,} predictions of single rows, more than max_evals={self._most:,}. "
                "Pass fewer rows, fewer features, a smaller grid, or raise max_evals."
            )

    def _ask(
        self, table: Table, rows: Ints, grid: Grid | None, points: npt.NDArray[np.int64] | None, what: str
    ) -> Floats:
        if self.repeats is not None:
            self.repeats.begin()
        out = np.empty((len(rows), len(self.target.names)))
        for part in timed_batches(
            len(rows), description=what + self._in_all, first_size=FIRST, max_size=MOST, unit="predictions"
        ):
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


def _by_grid(requests: Sequence[Request]) -> list[tuple[Grid, list[Corners]]]:
    """Requests about the same grid together."""
    found: dict[int, tuple[Grid, list[Corners]]] = {}
    for grid, corners in requests:
        found.setdefault(id(grid), (grid, []))[1].append(corners)
    return list(found.values())


def _used(corners: Corners) -> Ints:
    """Rows that no corner leaves out."""
    return np.flatnonzero(np.min([at for _, at in corners], axis=0) >= 0)


def caller(model: Model, target: OutputSelection) -> Callable[[Table], Floats]:
    """Aligned table -> answers on the target's scale, (rows, outputs)."""
    if isinstance(model, BlackBox):
        own = model.own
        assert own is not None  # noqa: S101  # a black box is nothing but its own predict
        return lambda table: target.levels(ask(own, table, what="rows with this feature replaced"))

    def call(table: Table) -> Floats:
        said = raw(model, model.inputs.matrix(table))
        return target.levels(said if target.scale == "raw" else model.outputs.link(said))

    return call
