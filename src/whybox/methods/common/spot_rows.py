"""Ask a model about single rows with features set to other values, by a way that shares no code with what computes effects and importance.

The cells are set in the user's own columns, one column after the other, and the model's own predict answers: no tree kernel, no encoded matrix, no row that
stands for equal ones. Of a model file, the file's library answers in a process of its own, once; else the plain NumPy reading of the trees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import column_dtype, object_cells
from whybox.data.series import is_missing
from whybox.data.table import Floats, Table
from whybox.kernels import reference
from whybox.kernels.predict import raw_outputs, rounding_scale
from whybox.methods.common.columns import Feature
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.repeatability import RELATIVE_ROUNDING
from whybox.methods.common.spot_checks import SpotChecker
from whybox.models.agreement import allowed_difference, call_own_predict
from whybox.models.base import Model, OwnPredict
from whybox.models.blackbox import BlackBox
from whybox.models.file_library import ask_library
from whybox.models.trees import TreeEnsemble

__all__ = ["FeaturePoints", "PositionLabel", "RowCell", "RowRecomputation", "output_label", "rows_alone"]

ROWS_ALONE: Final = 2  # rows that a model that is read is asked about alone, after it was asked about all together
ROWS_TOGETHER: Final = 4096  # rows of one call
REFERENCE_VISITS: Final = 20_000  # rows x trees that the NumPy reading walks for one answer

PositionLabel = list[tuple[str, object]]


@final
@dataclass(frozen=True, eq=False)
class FeaturePoints:
    """Values that some features are set to together.

    Attributes:
        features: one or more. table: a row a point, with the features set to it. labels: for each feature its value at each point, as the user sees it.
    """

    features: tuple[Feature, ...]
    table: Table
    labels: tuple[npt.NDArray[Any], ...]

    @property
    def column_positions(self) -> tuple[int, ...]:
        """Positions of the user's columns."""
        return tuple(f.position for f in self.features)

    def position_label(self, point: int) -> PositionLabel:
        """Which features are set to which values, for messages."""
        out: PositionLabel = []
        for feature, labels in zip(self.features, self.labels, strict=True):
            value = labels[point]
            plain = isinstance(value, np.generic) and value.dtype.kind not in "mM"
            out += [("feature", feature.name), ("point", value.item() if plain else value)]
        return out


@final
@dataclass(frozen=True, eq=False)
class RowCell:
    """A row, by its position, with features set to a point, or as it is (None)."""

    row: int
    points: FeaturePoints | None = None
    point: int = 0

    @property
    def position_label(self) -> PositionLabel:
        """What it is, for messages."""
        out: PositionLabel = [("row", self.row)]
        return out if self.points is None else [*out, *self.points.position_label(self.point)]


def rows_alone(model: Model) -> int:
    """Return how many rows are asked about alone: of a black box `RepeatCheck` does that, of a file there is nothing to ask."""
    return 0 if isinstance(model, BlackBox) or model.own_predict is None else ROWS_ALONE


@final
class RowRecomputation:
    """Predictions of cells on the scale of an answer, asked of the model itself.

    Args:
        model, selection: as of the answer. table: its rows. checker: counts what that takes.
        alone: how many of the first cells are asked about a second time, alone. rows: what is asked about, in words.
        batch_size: most rows of one call of the model; None: as the model says.
    """

    def __init__(
        self,
        model: Model,
        table: Table,
        selection: OutputSelection,
        checker: SpotChecker,
        *,
        alone: int = 0,
        rows: str = "rows with the feature set to a point",
        batch_size: int | None = None,
    ) -> None:
        self._batch_size = batch_size
        self.model, self.table, self.selection, self._checker = model, table, selection, checker
        self._alone, self._rows = alone, rows
        self._library: str | None = None  # how the library of a model file was asked

    @property
    def description(self) -> str:
        """How cells are recomputed, in words that follow "were recomputed"."""
        own, rows = self.model.own_predict, self._rows
        if own is not None:
            return f"by asking {own.call_name} about {rows}"
        return f"by a plain NumPy reading of {rows}" if self._library is None else f"{self._library} about {rows}"

    def __call__(self, cells: Sequence[RowCell]) -> tuple[Floats, Floats]:
        """Return the predictions of cells and how far rounding may move each, (cells, outputs) both.

        Raises:
            SpotCheckError: our reading of these rows is not the model's own predict of them, or a row alone gives another output than among others.
        """
        own = self.model.own_predict
        size = self._batch_size or getattr(self.model, "batch_size", None) or ROWS_TOGETHER
        parts = [self._predict_cells(cells[i : i + size], own) for i in range(0, len(cells), size)]
        values, allowed = (np.concatenate([p[k] for p in parts]) for k in (0, 1))
        self._ask_alone(cells, values, allowed)
        return values, allowed

    def _ask_alone(self, cells: Sequence[RowCell], values: Floats, allowed: Floats) -> None:
        """Ask about some cells once more, each alone: an output that depends on the other rows of a call shows."""
        asked_alone = cells[: self._alone]
        self._alone -= len(asked_alone)
        for i, cell in enumerate(asked_alone):
            alone_values, _ = self._predict_cells([cell], self.model.own_predict)

            def label_of(at: tuple[int, ...], cell: RowCell = cell) -> PositionLabel:
                return [*cell.position_label, *output_label(self.selection, at[-1]), ("asked", "alone")]

            self._checker.compare(
                values[i : i + 1], alone_values, 2 * allowed[i : i + 1], way=self.description, where=label_of
            )

    def _predict_cells(self, cells: Sequence[RowCell], own: OwnPredict | None) -> tuple[Floats, Floats]:
        values, allowed = np.empty((2, len(cells), len(self.selection.names)))
        for which, table in _tables_of_cells(self.table, cells):
            cells_of_table = [cells[i] for i in which]
            values[which], allowed[which] = self._predict_table(table, cells_of_table, own)
        return values, allowed

    def _predict_table(self, table: Table, cells: Sequence[RowCell], own: OwnPredict | None) -> tuple[Floats, Floats]:
        model, selection = self.model, self.selection
        if own is not None:
            self._checker.predictions += len(cells)
        if isinstance(model, BlackBox):
            assert own is not None  # noqa: S101  # a black box is nothing but its own predict
            values = selection.select_predictions(
                call_own_predict(own, table, what="rows with one feature set to a point")
            )
            finite = np.where(np.isfinite(values), np.abs(values), 0.0)
            return values, np.broadcast_to(RELATIVE_ROUNDING * finite.max(axis=0, initial=0.0) + 1e-300, values.shape)
        X = model.inputs.matrix(table)
        raw, size = raw_outputs(model, X), rounding_scale(model, X)
        picks = list(selection.output_positions)
        own = self._library_of_file(table) if own is None else own
        if own is None:
            self._hold_against_reference(X, raw, size, cells)
        else:
            theirs = call_own_predict(own, table, what="rows with one feature set to a point")
            ours, allowed = allowed_difference(
                model, raw, scale=own.scale, relative=own.relative_rounding, rounding_scale=size
            )
            if not selection.added and (own.scale == selection.scale or model.outputs.link.is_identity):
                return selection.select_predictions(theirs), allowed[:, picks]
            SpotChecker().compare(
                ours,
                theirs,
                allowed,
                way=self.description,
                where=lambda at: [*cells[at[0]].position_label, ("output", at[1])],
            )
        if selection.added:
            raw, size = selection.with_added(raw), size + np.abs(selection.added)
        values, allowed = allowed_difference(model, raw, scale=selection.scale, relative=0.0, rounding_scale=size)
        return selection.select_predictions(values), allowed[:, picks]

    def _library_of_file(self, table: Table) -> OwnPredict | None:
        """Ask the library of a model file about these rows, in a process of its own; None where it does not answer, or was asked before."""
        answer = ask_library(self.model, table)
        if answer is None or answer.predictions is None:
            return None
        self._library, predictions = answer.call_name, answer.predictions
        return OwnPredict(lambda _: predictions, answer.scale, answer.relative_rounding, answer.call_name, "")

    def _hold_against_reference(self, X: Floats, raw: Floats, size: Floats, cells: Sequence[RowCell]) -> None:
        """Compare some rows with the NumPy reading of the trees: as many as it reads in little time."""
        model = self.model
        if isinstance(model, TreeEnsemble):
            n_rows = max(1, REFERENCE_VISITS // max(model.n_trees, 1))
            SpotChecker().compare(
                raw[:n_rows],
                reference.predict(model, X[:n_rows]),
                1e-12 * np.broadcast_to(size, raw.shape)[:n_rows] + 1e-300,
                way=self.description,
                where=lambda at: [*cells[at[0]].position_label, ("output", at[1])],
            )


def output_label(selection: OutputSelection, output: int) -> PositionLabel:
    """Return which output a number is of, for messages; nothing where there is one alone."""
    return [("output", selection.names[output])] if selection.has_output_axis else []


def _tables_of_cells(table: Table, cells: Sequence[RowCell]) -> list[tuple[npt.NDArray[np.int64], Table]]:
    """Tables of cells, and which cells each is of: all together, but for those whose points need a column of their own."""
    groups: dict[int, list[int]] = {}
    needs_own_column: dict[int, bool] = {}
    dtype_of = cache(column_dtype)  # points of many features share a table
    for i, cell in enumerate(cells):
        key = id(cell.points)
        if key not in needs_own_column:
            needs_own_column[key] = cell.points is not None and _needs_own_column(table, cell.points, dtype_of)
        groups.setdefault(key if needs_own_column[key] else 0, []).append(i)
    out = []
    for key, which in groups.items():
        cells_of_table = [cells[i] for i in which]
        rows = table.rows(np.array([c.row for c in cells_of_table], dtype=np.int64))
        points = cells_of_table[0].points
        if key and points is not None:
            donors = points.table.rows(np.array([c.point for c in cells_of_table], dtype=np.int64))
            rows = rows.with_columns_from(donors, points.column_positions)
        else:
            rows = _with_points(rows, cells_of_table)
        out.append((np.array(which, dtype=np.int64), rows))
    return out


def _needs_own_column(table: Table, points: FeaturePoints, dtype_of: Callable[[Table, int], Any]) -> bool:
    """Whether points have another dtype than the column, or are dates, which Python objects may round."""
    dates = any(f.kind == "datetime" for f in points.features)
    return dates or any(dtype_of(table, p) != dtype_of(points.table, p) for p in points.column_positions)


def _with_points(rows: Table, cells: Sequence[RowCell]) -> Table:
    """The rows with each cell's features set to its point, column after column."""
    sets: dict[int, tuple[FeaturePoints, list[int]]] = {}
    for i, cell in enumerate(cells):
        if cell.points is not None:
            sets.setdefault(id(cell.points), (cell.points, []))[1].append(i)
    columns: dict[int, npt.NDArray[np.object_]] = {}
    cells_of = cache(object_cells)  # points of many features share a table
    for points, which in sets.values():
        points_set = np.array([cells[i].point for i in which], dtype=np.int64)
        for side, position in enumerate(points.column_positions):
            if position not in columns:
                columns[position] = object_cells(rows, position).copy()
            columns[position][which] = _cell_values(cells_of(points.table, position), points.labels[side], points_set)
    return rows.with_columns_of_values({position: list(values) for position, values in columns.items()})


def _cell_values(
    cells: npt.NDArray[np.object_], labels: npt.NDArray[Any], points: npt.NDArray[np.int64]
) -> npt.NDArray[np.object_]:
    """The cells of points, which the user sees as their labels: a cell that is not its label is replaced by it."""
    different, inverse = np.unique(points, return_inverse=True)
    out = np.empty(len(different), dtype=object)
    for i, (cell, label) in enumerate(zip(cells[different], labels[different], strict=True)):
        out[i] = cell if _is_same_value(cell, label) else label
    return out[inverse.reshape(-1)]


def _is_same_value(cell: Any, label: Any) -> bool:
    """Whether a cell is what its label says; of dates and of objects that cannot be compared, it is."""
    if is_missing(cell) or is_missing(label):
        return is_missing(cell) and is_missing(label)
    if isinstance(label, (np.datetime64, np.timedelta64)) or isinstance(cell, (np.ndarray, list, dict, set)):
        return True
    try:
        return bool(cell == label)
    except (TypeError, ValueError):
        return True
