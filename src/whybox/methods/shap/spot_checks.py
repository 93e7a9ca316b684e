"""The checks of one answer: rows, players, outputs and mixed rows are drawn by the seed and computed again by a second way.

Three roads: mixed rows, given to the model's own predict and held against our reading of them; values of a few rows, recomputed without the kernel
(:mod:`whybox.methods.shap.second_way`); and rows explained and predicted again at the end, in another order and one of them alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats, Table
from whybox.explanation.spot_checks import SpotChecks
from whybox.kernels.predict import compare_mixed_rows, draw_mixed_rows
from whybox.methods.common.spot_checks import (
    DEFAULT_SPOT_PREDICTIONS,
    MAX_WORK_SHARE,
    SpotChecker,
    spot_predictions,
    spot_rng,
)
from whybox.methods.shap.compute import KernelRunner
from whybox.methods.shap.problem import ShapProblem
from whybox.methods.shap.second_way import choose_second_way, kernel_nanoseconds
from whybox.models.base import OwnPredict
from whybox.models.file_library import ask_library
from whybox.models.mixed_rows import MixedRows, RowSample

__all__ = ["AnswerChecks", "planned_predictions"]

DEFAULT_NANOSECONDS: Final = 30e6  # that recomputing values may take, as counted, for the default number of predictions
MAX_ROWS: Final = 48  # rows whose values are recomputed, and rows that are explained again
MAX_ROWS_MIXED: Final = 64  # rows of a block that are mixed
MAX_NUMBERS: Final = 2**21  # numbers of recomputed rows that are held
SHARE_AGAIN: Final = 5  # one prediction in so many is of a row as it is
PAIR_ROUNDING: Final = 4.0  # an interaction is a difference of differences

Ints = npt.NDArray[np.int64]


def planned_predictions(problem: ShapProblem, rows: int) -> int:
    """Return how many predictions of single rows the checks of a first call take."""
    if problem.model.own_predict is None:
        return 0
    mixed, again = _split_predictions(problem, rows)
    return mixed + again


def _split_predictions(problem: ShapProblem, rows: int) -> tuple[int, int]:
    """How many predictions of mixed rows, and of rows as they are."""
    wanted = spot_predictions(problem.options.spot_checks, rows)
    again = min(rows, wanted // SHARE_AGAIN)
    can_mix = len(problem.model.inputs.group_columns()) > 1 and (problem.background is not None or rows > 1)
    return (wanted - again if can_mix else 0), again


@final
class AnswerChecks:
    """The checks of one answer, block by block and at its end.

    Args:
        runner: what computes the answer.
        rows: how many there are.
        rounding: what the answer's arithmetic may lose, relative to the largest sum there can be.
        call: which call of an explainer this is, so that each draws anew.
        names: of the axes of a row's numbers. encode: table, positions of its rows -> these as kernels take them. clock: by which the checks are timed.

    Attributes:
        mixed: mixed rows that the model's own predict was given. seconds: that the checks have taken. notes: what was not checked, and why.
    """

    def __init__(
        self,
        runner: KernelRunner,
        rows: int,
        rounding: float,
        *,
        call: int,
        names: Sequence[Sequence[str]],
        encode: Callable[[Table, Ints], Floats],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock, self._call, self._encode = clock, call, encode
        began = clock()
        self.problem, self._runner, self._rows = runner.problem, runner, rows
        options = self.problem.options
        self._rounding = rounding * (PAIR_ROUNDING if options.order == 2 else 1.0)
        self._rng = spot_rng(options.seed, call)
        self._names, self._checker = names, SpotChecker()
        self._own_predict = self.problem.model.own_predict
        self._mixed_wanted, self._again_wanted = (
            _split_predictions(self.problem, rows) if self._own_predict is not None else (0, 0)
        )
        self.mixed, self._position = 0, _result_positions(self.problem)
        self._nanoseconds = DEFAULT_NANOSECONDS
        if options.spot_checks is None:
            self._nanoseconds = max(
                DEFAULT_NANOSECONDS, MAX_WORK_SHARE * kernel_nanoseconds(self.problem, runner, rows)
            )
        else:
            self._nanoseconds *= options.spot_checks / DEFAULT_SPOT_PREDICTIONS
        self._second_way = choose_second_way(self.problem, runner, self._nanoseconds, self._rng)
        most = 0 if self._second_way is None else min(self._second_way.max_rows, self._affordable_rows())
        self._drawn_rows = np.sort(self._rng.permutation(rows)[: min(rows, most)])
        self.notes: tuple[str, ...] = ()
        self.seconds = self._clock() - began

    def _affordable_rows(self) -> int:
        numbers = int(np.prod(self.problem.result_shape())) * len(self.problem.selection.names)
        return int(np.clip(MAX_NUMBERS // max(numbers, 1), 1, MAX_ROWS))

    @property
    def result(self) -> SpotChecks:
        """What was recomputed."""
        return self._checker.result

    def check_block(self, table: Table, values: npt.NDArray[Any], start: int) -> float:
        """Check a block of rows; return the largest difference between our reading of mixed rows and the model's own predictions.

        Args:
            table: the block. values: (rows, *result shape, outputs). start: position of its first row.

        Raises:
            ModelMismatchError: our reading of a mixed row differs. SpotCheckError: a value does.
        """
        began = self._clock()
        if start == 0:
            self._recompute_rows(table, values, self._drawn_rows[self._drawn_rows < len(table)])
            self._drawn_rows = self._drawn_rows[self._drawn_rows >= len(table)]
        difference = self._check_mixed_rows(table, start)
        self.seconds += self._clock() - began
        return difference

    def _check_mixed_rows(self, table: Table, start: int) -> float:
        """Predict mixed rows of a block, as many as are its share."""
        if self._own_predict is None:
            return self._ask_library_of_file(table, start) if start == 0 and self._call == 0 else 0.0
        done, due = (self._mixed_wanted * at // self._rows for at in (start, start + len(table)))
        difference = 0.0
        for mixed in self._mixed_rows(table, start, due - done):
            here = compare_mixed_rows(self.problem.model, self._own_predict, mixed, donors=self._donor_name)
            self._note_mixed_rows(mixed, here, f"by asking {self._own_predict.call_name}")
            difference, self.mixed = max(difference, here), self.mixed + len(mixed.table)
        return difference

    @property
    def _donor_name(self) -> str:
        return "row" if self.problem.background is None else "the background's row"

    def _mixed_rows(self, table: Table, start: int, n_rows: int) -> Iterator[MixedRows]:
        if n_rows > 0:
            drawn = self._rng.permutation(len(table))[: max(2, min(MAX_ROWS_MIXED, n_rows))]
            rows, background = table.rows(drawn), self.problem.background
            sample = RowSample(rows, self.problem.model.inputs.matrix(rows), drawn + start)
            others = None if background is None else background.row_sample
            yield from draw_mixed_rows(self.problem.model, sample, others, n_rows=n_rows, rng=self._rng)

    def _note_mixed_rows(self, mixed: MixedRows, difference: float, way: str) -> None:
        numbers = len(mixed.table) * len(self.problem.model.outputs.names)
        self._checker.note_agreement(numbers, len(mixed.table), difference, way=f"{way} about mixed rows")

    def _ask_library_of_file(self, table: Table, start: int) -> float:
        """Ask the library of a model file about mixed rows, in one call, since that starts a process; say why where it does not answer."""
        model, began = self.problem.model, self._clock()
        wanted = spot_predictions(self.problem.options.spot_checks, self._rows)
        mixed = next(self._mixed_rows(table, start, wanted), None) if model.file_library is not None else None
        answer = None if mixed is None else ask_library(model, mixed.table)
        if answer is None or mixed is None:
            return 0.0
        predictions = answer.predictions
        if predictions is None:
            self.notes += (f"No mixed rows were predicted by the library of the file: {answer.call_name}.",)
            return 0.0
        own = OwnPredict(lambda _: predictions, answer.scale, answer.relative_rounding, answer.call_name, "")
        difference = compare_mixed_rows(model, own, mixed, donors=self._donor_name)
        self._note_mixed_rows(mixed, difference, answer.call_name)
        self.seconds -= self._clock() - began  # a file is asked about once: later checks do not take that long
        return difference

    def _recompute_rows(self, table: Table, values: npt.NDArray[Any], rows: Ints) -> None:
        """Recompute the values of some rows, of those of a table from its first on."""
        way = self._second_way
        if way is None or not len(rows):
            return
        X, values = self._encode(table, rows), values[rows]
        recomputed, size = way.recompute_values(X)
        kernel = way.kernel_values(X)
        names, answer = self._names, values[..., way.output_positions]
        if kernel is None:
            recomputed = self._place_in_result(recomputed)
        else:
            answer = kernel
            names = [self.problem.players.names] * self.problem.options.order
        outputs = [self.problem.selection.names[k] for k in way.output_positions]
        self._compare_numbers(answer, recomputed, self._rounding * size, rows, [*names, outputs], way.description)

    def _place_in_result(self, computed: Floats) -> Floats:
        """Computed values, (rows, *computed shape, outputs), where they stand in the result."""
        at = self._position
        if at is None:
            return computed
        out = np.zeros((len(computed), *self.problem.result_shape(), computed.shape[-1]))
        if computed.ndim == 4:
            out[:, at[:, None], at] = computed
        else:
            out[:, at] = computed
        return out

    def check_at_end(
        self,
        table: Table,
        values: npt.NDArray[Any],
        predictions: Floats,
        predict: Callable[[Table, Floats], tuple[Floats, Floats]],
    ) -> None:
        """Recompute rows of later blocks, and explain and predict some rows again.

        Args:
            table: all rows. values, predictions: the answer.
            predict: rows and their encoding -> predictions on the scale explained, and what rounding explains, (rows, outputs) each.

        Raises:
            SpotCheckError: a row alone, or among others, is another number than in the answer.
        """
        began = self._clock()
        self._recompute_rows(table, values, self._drawn_rows)
        outputs = self.problem.selection.names
        again = self._rng.permutation(self._rows)[: self._again_wanted]
        for rows in (again[:1], again[1:]):
            if len(rows):
                predicted, allowed = predict(table.rows(rows), self._encode(table, rows))
                self._checker.predictions += len(rows)
                assert self._own_predict is not None  # noqa: S101  # else none are wanted
                way = f"by asking {self._own_predict.call_name} about rows again"
                self._compare_numbers(
                    predictions[rows], predicted, 2 * allowed, rows, [outputs], way, value="prediction"
                )
        rows = self._rng.permutation(self._rows)[: self._rows_explained_again()]
        if len(rows):
            X = self._encode(table, rows)
            computed = np.zeros(
                (len(X), *self.problem.values_shape(self.problem.options.order), len(outputs)), values.dtype
            )
            self._runner.write_values(X, computed, what="")
            size = np.broadcast_to(self._runner.rounding_scale(X), (len(X), len(self.problem.model.base)))
            allowed = 2 * self._rounding * self._size_on_scale(size, values[rows], X)
            way = "by explaining rows again in another order"
            self._compare_numbers(
                values[rows], self._place_in_result(computed), allowed, rows, [*self._names, outputs], way
            )
        self.seconds += self._clock() - began

    def _size_on_scale(self, size: Floats, values: npt.NDArray[Any], X: Floats) -> Floats:
        if self.problem.selection.scale == "raw":
            return size[:, list(self.problem.selection.output_positions)]
        largest = np.abs(values).max(axis=tuple(range(1, values.ndim - 1)))
        return np.asarray(largest + np.abs(self._runner.bases(X)).max(axis=-1, keepdims=True), dtype=np.float64)

    def _rows_explained_again(self) -> int:
        """How many rows the kernel can explain again within what the checks may take."""
        if self._rows < 2:
            return 0
        most = min(self._rows, self._affordable_rows())
        row = kernel_nanoseconds(self.problem, self._runner, 1) - kernel_nanoseconds(self.problem, self._runner, 0)
        build = self._runner.nanoseconds_to_build_again
        return int(np.clip((self._nanoseconds / 2 - build) // max(row, 1.0), 0, most))

    def _compare_numbers(
        self,
        answer: npt.NDArray[Any],
        recomputed: npt.NDArray[Any],
        allowed: Floats,
        rows: Ints,
        names: Sequence[Sequence[str]],
        way: str,
        value: str | None = None,
    ) -> None:
        """Compare rows of numbers, (rows, ..., outputs), those alone that are not zero in both, if there are any.

        Args:
            allowed: (rows, outputs). rows: their positions. names: of each axis behind the first. value: what the numbers are, where they are no values.
        """
        kept = (answer != 0) | (recomputed != 0)
        at = np.nonzero(kept if kept.any() else np.ones_like(kept))
        axes = ("feature", "feature_2")[: len(names) - 1]

        def where(i: tuple[int, ...]) -> list[tuple[str, object]]:
            place = [int(a[i[0]]) for a in at]
            out: list[tuple[str, object]] = [("row", int(rows[place[0]]))]
            out += [(axis, names[k][place[k + 1]]) for k, axis in enumerate(axes)]
            out.append(("output", names[-1][place[-1]]))
            return out + ([("value", value)] if value else [])

        self._checker.compare(answer[at], recomputed[at], allowed[at[0], at[-1]], way=way, where=where)


def _result_positions(problem: ShapProblem) -> Ints | None:
    """Where computed players and pairs stand in the result, found by name; None: at the same places."""
    if problem.all_players is None or problem.omits_unread_players:
        return None
    at = {name: k for k, name in enumerate(problem.all_players.names)}
    pairs = int(np.prod(problem.values_shape(2))) - problem.players.count if problem.options.sparse else 0
    return np.array([*(at[name] for name in problem.players.names), *(problem.all_players.count + np.arange(pairs))])
