"""Verify our reading of a model against the model's own predict on probe rows (probe_rows.py).

A row for every node costs little if only the node's own tree evaluates it, and boosting libraries can predict with some rounds only.
Then every node is tested in this way, and some more rows test the whole model.
Otherwise, or if there are too many nodes, rows are made for as many nodes as the time allows, and the whole model evaluates all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.adapters.verification.probe_rows import (
    MAX_PROBE_ROWS,
    MIN_PROBE_ROWS,
    Domain,
    ProbeRowMaker,
    can_probe_every_node,
    rows_for_every_node,
    rows_for_some_nodes,
)
from whybox.data.sparse_rows import from_dense
from whybox.data.table import Floats, as_table
from whybox.kernels import tree_shap
from whybox.models.agreement import compare_predictions
from whybox.models.base import Scale, Verdict
from whybox.models.columns_read import columns_read, narrow_to_columns_read
from whybox.models.linear import Linear
from whybox.models.mixed_rows import random_masks
from whybox.models.trees import TreeEnsemble

__all__ = ["Domain", "PredictOfRounds", "verify_linear", "verify_trees"]

ROUNDS_PER_CALL: Final = (
    10  # rounds that are asked about each other's rows: fewer save little, for a call has its price
)
WHOLE_MODEL_ROWS: Final = 500  # rows for the whole model, where every node has rows of its own
MIXED_PROBE_ROWS: Final = 64  # rows that are mixed of two of them
MAX_COLUMNS_MADE: Final = (
    2048  # columns; of wider models, rows have the columns that are read alone, until a predict is asked
)
MAX_RAW_COMPARED: Final = 3.0  # raw outputs of rows whose predictions behind a link are compared
MAX_CELLS_PER_CALL: Final = 2**22  # of dense rows that are asked about at a time


@final
@dataclass(frozen=True)
class PredictOfRounds:
    """The library's own predict with some boosting rounds.

    Attributes:
        predict: rows, first round, round after the last -> (rows, outputs), on the scale of the whole predict and with its base values.
        trees: trees a round.
    """

    predict: Callable[[Floats, int, int], Floats]
    trees_per_round: int


def verify_trees(
    model: TreeEnsemble,
    predict: Callable[[Any], Floats],
    *,
    scale: Scale,
    relative: float,
    domain: Domain,
    against: str,
    decode: Callable[[Floats], Any] | None = None,
    rounds: PredictOfRounds | None = None,
) -> TreeEnsemble:
    """Compare the model with the library's own predict; return it with the verdict.

    Args:
        predict: rows as the library reads them -> (rows, outputs).
        decode: model matrix -> such rows, where they differ (categories); the encoder is then tested along with the trees.
        rounds: the same predict with some rounds; None: the library has none.

    Raises:
        ModelMismatchError: they differ by more than rounding.
    """
    if decode is None and model.inputs.width > MAX_COLUMNS_MADE:
        columns = columns_read(model)
        wide_rows = _WideRows(columns, model.inputs.width, domain.sparse)
        n_categories = {
            position: (domain.categories or {})[int(column)]
            for position, column in enumerate(columns)
            if int(column) in (domain.categories or {})
        }
        checked = _compare_on_probe_rows(
            narrowed_trees(model),
            wide_rows.predict_of_narrow_rows(predict),
            scale,
            relative,
            replace(domain, categories=n_categories),
            None,
            None if rounds is None else replace(rounds, predict=wide_rows.rounds_of_narrow_rows(rounds.predict)),
        )
    else:
        checked = _compare_on_probe_rows(model, predict, scale, relative, domain, decode, rounds)
    return replace(model, verdict=replace(checked, against=against))


def narrowed_trees(model: TreeEnsemble) -> TreeEnsemble:
    """Return the model reduced to the columns that it reads."""
    narrow_model = narrow_to_columns_read(model)
    assert isinstance(narrow_model, TreeEnsemble)  # noqa: S101  # the same kind of model comes back
    return narrow_model


def _compare_on_probe_rows(
    model: TreeEnsemble,
    predict: Callable[[Any], Floats],
    scale: Scale,
    relative: float,
    domain: Domain,
    decode: Callable[[Floats], Any] | None,
    rounds: PredictOfRounds | None,
) -> Verdict:
    maker = ProbeRowMaker(model, domain)
    probes_every_node = (
        rounds is not None and decode is None and model.n_trees > 0 and can_probe_every_node(model, domain)
    )
    n_columns = len(model.inputs.names)
    if decode is not None:  # which makes whole rows
        max_rows = int(np.clip(2 * MAX_CELLS_PER_CALL // n_columns, 60, MAX_PROBE_ROWS))
    else:
        max_rows = (
            MAX_PROBE_ROWS
            if n_columns <= MAX_COLUMNS_MADE
            else int(np.clip(2 * MAX_CELLS_PER_CALL // model.inputs.width, MIN_PROBE_ROWS, MAX_PROBE_ROWS))
        )
    rows, tested, n_thresholds = rows_for_some_nodes(maker, WHOLE_MODEL_ROWS if probes_every_node else max_rows)
    mixed = _mix_probe_rows(rows, maker.rng)
    probe_rows = np.concatenate([rows, mixed])
    library_rows = probe_rows if decode is None else decode(probe_rows)
    our_matrix = (
        probe_rows if decode is None else model.inputs.matrix(model.inputs.align_table(as_table(library_rows))[0])
    )
    library_predictions = predict(library_rows).reshape(len(probe_rows), -1)

    def what(position: int) -> str:
        return (
            f"made row {position:,} of {len(probe_rows):,}{', which mixes two others' if position >= len(rows) else ''}"
        )

    differences = [
        compare_predictions(
            model,
            tree_shap.predict(model, our_matrix),
            library_predictions,
            scale=scale,
            relative=relative,
            rounding_scale=model.rounding_scale,
            what=what,
        )
    ]
    n_rows = len(probe_rows)
    if probes_every_node and rounds is not None:
        probe_rows, tested, n_thresholds = rows_for_every_node(maker)
        n_rows += probe_rows.shape[0] * probe_rows.shape[1]
        differences += _compare_by_rounds(model, probe_rows, rounds, scale, relative)
    difference, tolerance = (max(pair[i] for pair in differences) for i in range(2))
    return Verdict(n_rows, tested, n_thresholds, difference, tolerance, mixed=len(mixed))


def _mix_probe_rows(rows: Floats, rng: np.random.Generator) -> Floats:
    """Rows that take some of their columns from one probe row and the others from another."""
    if len(rows) < 2 or rows.shape[1] < 2:
        return rows[:0]
    from_second = random_masks(MIXED_PROBE_ROWS, rows.shape[1], rng)
    first_rows, second_rows = rng.integers(0, len(rows), (2, MIXED_PROBE_ROWS))
    return np.asarray(np.where(from_second, rows[second_rows], rows[first_rows]))


@final
@dataclass(frozen=True)
class _WideRows:
    """Rows of the columns read, extended to all columns for a predict: as a sparse matrix if it accepts one, else in blocks."""

    columns: npt.NDArray[np.int64]
    width: int
    sparse: bool

    def evaluate(self, predict: Callable[..., Floats], rows: Floats, *rounds: int) -> Floats:
        """Return the predictions of these rows."""
        if self.sparse:
            return predict(from_dense(rows, columns=self.columns, width=self.width), *rounds)
        step = max(1, MAX_CELLS_PER_CALL // self.width)
        predictions = [predict(self._widen(rows[i : i + step]), *rounds) for i in range(0, len(rows), step)]
        return np.asarray(np.concatenate(predictions), dtype=np.float64)

    def _widen(self, rows: Floats) -> Floats:
        whole_rows = np.zeros((len(rows), self.width))
        whole_rows[:, self.columns] = rows
        return whole_rows

    def predict_of_narrow_rows(self, predict: Callable[[Any], Floats]) -> Callable[[Any], Floats]:
        """Return the predict for rows of the columns read."""
        return lambda rows: self.evaluate(predict, rows)

    def rounds_of_narrow_rows(
        self, predict: Callable[[Floats, int, int], Floats]
    ) -> Callable[[Floats, int, int], Floats]:
        """Return the predict with some rounds for rows of the columns read."""
        return lambda rows, first, last: self.evaluate(predict, rows, first, last)


def _compare_by_rounds(
    model: TreeEnsemble, probe_rows: Floats, rounds: PredictOfRounds, scale: Scale, relative: float
) -> Iterator[tuple[float, float]]:
    """Compare a few rounds at a time on the rows for their nodes, (nodes, rows a node, columns)."""
    trees_per_call = ROUNDS_PER_CALL * rounds.trees_per_round
    for first in range(0, model.n_trees, trees_per_call):
        last = min(first + trees_per_call, model.n_trees)
        rows = probe_rows[model.tree_offsets[first] : model.tree_offsets[last]].reshape(-1, probe_rows.shape[2])
        library_predictions = rounds.predict(
            rows, first // rounds.trees_per_round, last // rounds.trees_per_round
        ).reshape(len(rows), -1)
        trees = slice(first, last)
        yield compare_predictions(
            model,
            tree_shap.predict(model, rows, trees),
            library_predictions,
            scale=scale,
            relative=relative,
            rounding_scale=model.rounding_scale_of(trees),
            what=f"row for trees {first} to {last - 1},",
        )


def verify_linear(
    model: Linear,
    predict: Callable[[Any], Floats],
    *,
    relative: float,
    against: str,
    scale: Scale = "raw",
    nan: bool = True,
    seed: int = 0,
) -> Linear:
    """As `verify_trees`, for a linear model: zeros, random rows, missing values.

    Args:
        scale: of the predictions. Behind a link, rows are shrunk to where it is not flat. nan: whether the library takes missing values.

    Raises:
        ModelMismatchError: they differ by more than rounding.
    """
    rng = np.random.default_rng(seed)
    n_rows = int(np.clip(MAX_CELLS_PER_CALL // model.inputs.width, 20, 200))
    rows = rng.normal(size=(n_rows, model.inputs.width)) * rng.choice([0.0, 1e-3, 1.0, 1e3], size=(n_rows, 1))
    if nan:
        rows[rng.random(rows.shape) < 0.05] = np.nan
    if scale == "response":
        rows *= rng.uniform(0.1, MAX_RAW_COMPARED, (n_rows, 1)) / np.maximum(
            np.abs(np.nan_to_num(rows) @ model.weights).max(axis=1, keepdims=True), 1e-300
        )
        rows = np.clip(rows, -1e30, 1e30)
    rows = rows.astype(np.float32).astype(np.float64)
    mixed = _mix_probe_rows(rows, rng)[:n_rows]
    rows = np.concatenate([rows, mixed])
    difference, tolerance = compare_predictions(
        model,
        model.raw_outputs(rows),
        predict(rows),
        scale=scale,
        relative=relative,
        rounding_scale=model.rounding_scale(rows),
    )
    return replace(model, verdict=Verdict(len(rows), 0, 0, difference, tolerance, against, len(mixed)))
