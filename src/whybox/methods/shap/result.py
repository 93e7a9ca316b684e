"""Run a resolved problem on rows, block by block, and check every row against the model's own predict."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats, Table
from whybox.errors import Argument, LimitError, ModelMismatchError, OptionError
from whybox.explanation.evidence import Evidence, library_versions
from whybox.explanation.explanation import Explanation, as_labels
from whybox.explanation.kinds import PAIR_SEPARATOR
from whybox.kernels.predict import mismatch_advice
from whybox.methods.common.row_offsets import RowOffsets, check_finite
from whybox.methods.common.spot_checks import NOT_CHECKED
from whybox.methods.method_spec import MethodSpec
from whybox.methods.shap.added_columns import split_added, with_added
from whybox.methods.shap.compute import FLOAT32_ROUNDING, CompiledProblem, KernelRunner
from whybox.methods.shap.offset_games import with_offsets
from whybox.methods.shap.plan import ROWS_PER_BLOCK
from whybox.methods.shap.problem import ShapProblem
from whybox.methods.shap.spot_checks import AnswerChecks
from whybox.models.agreement import call_own_predict, compare_predictions
from whybox.models.prepare_rows import PreparedRows

__all__ = ["explain_rows"]

MAX_RESULT_BYTES: Final = 2**33  # bytes of one result
MAX_SPARSE_RESULT_BYTES: Final = 2**30  # bytes of the result of sparse rows, whose attributions are nearly all zero
MAX_DENSE_NUMBERS: Final = 2**22  # numbers of sparse rows, and of their results, that are dense at a time


def explain_rows(
    compiled: CompiledProblem,
    received: PreparedRows,
    spec: MethodSpec,
    *,
    out: npt.NDArray[Any] | None = None,
    offsets: RowOffsets | None = None,
    call: int | None = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Explanation, float]:
    """Return the explanation of the rows that were received, and the seconds that its checks took.

    Args:
        compiled: the problem, with what the explainer keeps between calls.
        out: where to write the attributions, instead of memory of our own. offsets: of the rows, if they have some.
        call: which call of the explainer this is, for what its checks draw; None: numbers are not recomputed.
        clock: by which the checks are timed.

    Raises:
        LimitError: the result would not fit in memory, or more predictions than ``max_evals``.
        ModelMismatchError: base + attributions is not the model's own prediction.
        SpotCheckError: a number that was recomputed differs.
    """
    began = time.perf_counter()
    table = received.table
    problem, n = compiled.problem, len(table)
    problem.check_evals(n)
    shape = (n, *problem.result_shape(), len(problem.selection.names))
    values, prediction = _result_array(problem, shape, out, sparse=table.is_sparse), np.empty((n, shape[-1]))
    runner = KernelRunner(compiled, n)
    rounding = max(runner.relative_rounding, FLOAT32_ROUNDING if values.dtype == np.float32 else 0.0)
    checks = _RowChecks(runner, rounding, offsets)
    added = offsets.added if offsets is not None and problem.selection.scale == "response" else None
    bases = None if added is None else np.empty((n, shape[-1]))
    players = _term_names(problem)
    spot = None
    if call is not None and problem.options.spot_checks != 0 and n:
        axes = [tuple(players)] * (len(shape) - 2)
        encode = partial(_encode, problem, added)
        spot = AnswerChecks(runner, n, checks.relative_rounding, call=call, names=axes, encode=encode, clock=clock)
    digest = hashlib.sha256()
    for start, block in table.blocks(_rows_at_once(problem)):
        X = problem.model.inputs.matrix_of_block(block, start)
        digest.update(X.data)
        some = slice(start, start + len(X))
        X = with_added(X, None if added is None else added[some])
        bases_of_outputs = runner.bases(X)
        if bases is not None:
            bases[some] = problem.selection.select_predictions(bases_of_outputs)
            _refuse_infinite(runner, X, bases[some], start)
        computed = (
            values[some]
            if problem.all_players is None
            else np.zeros((len(X), *problem.values_shape(problem.options.order), shape[-1]), values.dtype)
        )
        runner.write_values(
            X,
            computed,
            what=f"{spec.title} {start + 1:,}-{start + len(X):,} of {n:,}" if n > ROWS_PER_BLOCK else spec.title,
        )
        prediction[some] = checks.check_block(X, block, computed, bases_of_outputs, start)
        if problem.all_players is not None:
            _place_among_all(problem, computed, values[some])
        if spot is not None:
            checks.agreement = max(checks.agreement, spot.check_block(block, values[some], start))
    if spot is not None:
        spot.check_at_end(table, values, prediction, checks.predict_with_tolerance)
        checks.model_calls += spot.mixed
    evidence = _make_evidence(
        problem,
        runner,
        checks,
        spot,
        spec,
        received,
        digest=digest.hexdigest(),
        seconds=time.perf_counter() - began,
    )
    base = problem.selection.select_predictions(runner.base)
    explanation = _make_explanation(problem, table, players, values, prediction, base, evidence)
    if offsets is not None:
        explanation = with_offsets(explanation, offsets, problem.selection, bases)
    return explanation, 0.0 if spot is None else spot.seconds


def _refuse_infinite(runner: KernelRunner, X: Floats, bases: Floats, start: int) -> None:
    """Refuse rows with offsets behind a link of which a prediction or a base, (rows, outputs explained), is too large for a number.

    Raises:
        NonFiniteError: there are some.
    """
    rows = np.arange(start, start + len(X))
    with np.errstate(over="ignore"):
        predictions = runner.problem.selection.from_raw(runner.raw_outputs(X), runner.problem.model.outputs.link)
    check_finite(np.concatenate([predictions, bases], axis=1), rows)


def _encode(problem: ShapProblem, added: Floats | None, table: Table, rows: npt.NDArray[np.int64]) -> Floats:
    """Encode some of the rows, those at `rows`, with what is added to their raw outputs."""
    return with_added(problem.model.inputs.matrix(table.rows(rows)), None if added is None else added[rows])


def _rows_at_once(problem: ShapProblem) -> int:
    """Rows to encode and explain together; of sparse rows so many that their dense columns stay small."""
    if problem.all_players is None:
        return ROWS_PER_BLOCK
    numbers = problem.model.inputs.width + int(np.prod(problem.values_shape(problem.options.order))) * len(
        problem.selection.names
    )
    return int(np.clip(MAX_DENSE_NUMBERS // numbers, 1, ROWS_PER_BLOCK))


def _place_among_all(problem: ShapProblem, computed: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    """Copy computed values to their positions among all players."""
    positions = problem.result_positions
    if out.ndim == 4:
        out[:, positions[:, None], positions] = computed
    else:
        out[:, positions] = computed


def _result_array(
    problem: ShapProblem, shape: tuple[int, ...], out: npt.NDArray[Any] | None, *, sparse: bool
) -> npt.NDArray[Any]:
    dtype = np.dtype(problem.options.dtype or "float64")
    if out is None:
        size = np.prod(shape, dtype=np.float64) * dtype.itemsize
        if size > (MAX_SPARSE_RESULT_BYTES if sparse else MAX_RESULT_BYTES):
            keep = {
                (1, False): (", keep only the features that the model reads with ", Argument("sparse", True)),
                (2, False): (", keep only pairs that share a path with ", Argument("sparse", True)),
            }.get((problem.options.order, problem.options.sparse), ())
            raise LimitError(
                f"the result of {shape[0]:,} rows x {' x '.join(str(s) for s in shape[1:])} numbers would take {size / 2**30:.1f} GiB"
                f"{f', and the rows are sparse ({MAX_SPARSE_RESULT_BYTES / 2**30:.0f} GiB allowed)' if sparse else ''}; explain fewer rows at a time",
                keep,
                ", or group columns with ",
                Argument("players", example="{...}"),
                ".",
            )
        return np.zeros(shape, dtype)
    wanted = shape if problem.selection.has_output_axis else shape[:-1]
    if not isinstance(out, np.ndarray) or out.shape != wanted or out.dtype not in (np.float32, np.float64):
        raise OptionError(f"out must be a float32 or float64 array of shape {wanted}.")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise OptionError("out must be writeable and row-major (C-contiguous).")
    out[...] = 0
    return out.reshape(shape)


@final
@dataclass
class _RowChecks:
    """Compares each block with the model's own predict and keeps the largest differences."""

    runner: KernelRunner
    relative_rounding: float
    offsets: RowOffsets | None = None
    residual: float = 0.0
    tolerance: float = 0.0
    agreement: float = 0.0
    model_calls: int = 0

    def check_block(self, X: Floats, table: Table, values: npt.NDArray[Any], bases: Floats, start: int) -> Floats:
        """Check one block, whose bases are those of :meth:`KernelRunner.bases`; return its predictions on the selection's scale, (rows, outputs explained)."""
        problem = self.runner.problem
        own = problem.model.own_predict
        # Where attributions add up to every raw output, their sum is our reading of the model: no need to predict once more.
        whole = (
            problem.additive
            and problem.selection.scale == "raw"
            and problem.selection.is_every_output
            and len(problem.selection.output_positions) == len(problem.model.base)
        )
        total = None
        if problem.additive:
            total = problem.selection.select_predictions(bases) + values.sum(
                axis=tuple(range(1, values.ndim - 1)), dtype=np.float64
            )
        raw = total if whole and total is not None and own is not None else self.runner.raw_outputs(X)
        predictions = self._compared_predictions(raw, X, table, self.relative_rounding if raw is total else 0.0)
        if self.offsets is not None and self.offsets.is_compared:
            rows = split_added(X, problem.model.inputs.width)[0]
            ours = self.runner.raw_outputs(rows)
            self.agreement = max(self.agreement, self.offsets.compare(table, rows, ours, start))
            self.model_calls += len(X)
        if total is not None:
            tol = problem.options.additivity_tol
            allowed = self._rounding_tolerance(raw, X, bases) if tol is None else np.full(total.shape, tol)
            self._check_sums(total, predictions, allowed, start)
        return predictions

    def predict_with_tolerance(self, table: Table, X: Floats) -> tuple[Floats, Floats]:
        """Return the predictions of some rows on the selection's scale, and what rounding explains, (rows, outputs explained) each."""
        raw = self.runner.raw_outputs(X)
        return self._compared_predictions(raw, X, table, 0.0), self._rounding_tolerance(raw, X, self.runner.bases(X))

    def _compared_predictions(self, raw: Floats, X: Floats, table: Table, rounding: float) -> Floats:
        """Return predictions on the selection's scale; what the model predicts without offsets is held against its own predict."""
        rows, added = split_added(X, self.runner.problem.model.inputs.width)
        if added is None:
            return self._compare_with_own_predict(raw, X, table, rounding)
        self._compare_with_own_predict(self.runner.raw_outputs(rows), rows, table, rounding)
        return self._on_scale(raw)

    def _compare_with_own_predict(self, raw: Floats, X: Floats, table: Table, rounding: float) -> Floats:
        """Hold raw outputs, which have lost `rounding`, against the model's own predict; return predictions on the selection's scale."""
        problem = self.runner.problem
        own, predictions = problem.model.own_predict, self._on_scale(raw)
        if own is None:
            return predictions
        own_predictions = call_own_predict(own, table)
        self.model_calls += len(X)
        difference, _ = compare_predictions(
            problem.model,
            raw,
            own_predictions,
            scale=own.scale,
            relative=own.relative_rounding + rounding,
            rounding_scale=self.runner.rounding_scale(X),
            what_to_do=mismatch_advice(problem.model, table),
        )
        self.agreement = max(self.agreement, difference)
        if own.scale == "raw" or problem.model.outputs.link.is_identity:
            predictions = self._on_scale(own_predictions)
        elif problem.selection.scale == "response":
            predictions = problem.selection.select_predictions(own_predictions)
        return predictions

    def _on_scale(self, raw: Floats) -> Floats:
        problem = self.runner.problem
        return problem.selection.from_raw(raw, problem.model.outputs.link)

    def _rounding_tolerance(self, raw: Floats, X: Floats, bases: Floats) -> Floats:
        """What rounding explains, (rows, outputs explained): the library's own, and ours over many terms."""
        problem = self.runner.problem
        relative = (
            problem.model.own_predict.relative_rounding if problem.model.own_predict else 0.0
        ) + self.relative_rounding
        tolerance = np.broadcast_to(
            relative * np.maximum(self.runner.rounding_scale(X), np.abs(raw)) + 1e-300, raw.shape
        )
        if problem.selection.scale == "raw":
            return tolerance[:, list(problem.selection.output_positions)]
        link = problem.model.outputs.link
        response = link(raw)
        moved = np.maximum(np.abs(link(raw + tolerance) - response), np.abs(response - link(raw - tolerance))).max(
            axis=1, keepdims=True
        )
        return np.asarray(moved + relative * np.abs(response) + 1e-10 * np.abs(bases))[
            :, list(problem.selection.output_positions)
        ]

    def _check_sums(self, total: Floats, predictions: Floats, tolerance: Floats, start: int) -> None:
        problem = self.runner.problem
        residuals = np.abs(total - predictions)
        self.residual, self.tolerance = (
            max(self.residual, float(residuals.max(initial=0.0))),
            max(self.tolerance, float(tolerance.max(initial=0.0))),
        )
        wrong = ~(residuals <= tolerance)
        if wrong.any():
            i, k = np.argwhere(wrong)[0]
            source = "the model itself predicts" if problem.model.own_predict else "our reading of the model predicts"
            limit = "rounding" if problem.options.additivity_tol is None else "additivity_tol"
            raise ModelMismatchError(
                f"base + attributions is {total[i, k]!r} where {source} {predictions[i, k]!r} "
                f"(row {start + i:,}, output {problem.selection.names[k]!r}; {limit} allows {tolerance[i, k]:.3g}); nothing is returned."
            )


def _make_evidence(
    problem: ShapProblem,
    runner: KernelRunner,
    checks: _RowChecks,
    spot: AnswerChecks | None,
    spec: MethodSpec,
    received: PreparedRows,
    *,
    digest: str,
    seconds: float,
) -> Evidence:
    own = problem.model.own_predict
    prints = {"model": problem.model.fingerprint, "rows": digest}
    if problem.background is not None:
        prints["background"] = problem.background.fingerprint
    notes = [*received.remarks(), *problem.model.notes]
    if problem.background is not None:
        notes += [note for note in problem.background.prepared_rows.remarks(" of the background") if note not in notes]
    if spot is not None:
        notes += spot.notes
    if problem.kernel == "rescaled":
        notes.append("Rescaled approximation: not the Shapley value of this output, only its sum is right.")
    if problem.options.sparse and problem.options.order == 2:
        notes.append(
            "Terms: main effects, then whole interactions of pairs that some path of a tree tests together; those of other pairs are exactly zero."
        )
    left_out = (
        0
        if problem.all_players is None or not problem.omits_unread_players
        else problem.all_players.count - problem.players.count
    )
    if left_out:
        notes.append(
            f"{left_out:,} features that the model does not read were left out: their attributions are exactly zero."
        )
    if problem.kernel == "linear, correlated":
        notes.append(_note_on_gaussian(problem))
    if problem.kernel == "path-dependent" and problem.has_unreached_nodes:
        notes.append("Some nodes were never reached in training; absent features split them evenly.")
    return Evidence(
        **spec.evidence_fields(),
        kernel=runner.kernel_plan.name,
        exact=problem.exact,
        estimand=problem.estimand,
        index=problem.options.game_index.name,
        additive=problem.additive,
        residual=checks.residual,
        agreement=checks.agreement,
        residual_units=problem.selection.units,
        tolerance=checks.tolerance,
        residual_against=_compared_with(problem),
        model=problem.model.kind,
        spot_checks=NOT_CHECKED if spot is None else spot.result,
        verdict={**vars(problem.model.verdict), "mixed_rows": 0 if spot is None else spot.mixed},
        model_calls=checks.model_calls,
        seed=problem.options.seed,
        rows=len(received.table),
        background_rows=0 if problem.background is None else len(problem.background.matrix),
        fingerprints=prints,
        versions=library_versions(own.library if own else None),
        seconds=seconds,
        notes=tuple(notes),
        by_position=received.by_position,
        unseen=received.unseen_as_data(),
    )


def _note_on_gaussian(problem: ShapProblem) -> str:
    """What the values assume, and in how many directions the background varies."""
    gaussian = problem.gaussian
    note = "Absent features follow from those present as in a Gaussian with the background's mean and covariance."
    if gaussian.rank < len(gaussian.mean):
        note += (
            f" The background varies in {gaussian.rank:,} directions only, with {len(gaussian.mean):,} columns of the model; "
            "the others predict nothing (pseudo-inverse)."
        )
    return note


def _compared_with(problem: ShapProblem) -> str:
    """Whose predictions the sums were held against, on the scale that was explained."""
    own, link = problem.model.own_predict, problem.model.outputs.link
    if own is None:
        return "our reading of the model file"
    if own.scale == problem.selection.scale or link.is_identity:
        return own.call_name
    return (
        f"the {link.name} of {own.call_name}"
        if own.scale == "raw"
        else f"our reading, itself held against {own.call_name}"
    )


def _make_explanation(
    problem: ShapProblem,
    table: Table,
    players: dict[str, tuple[int, ...]],
    values: npt.NDArray[Any],
    prediction: Floats,
    base: Floats,
    evidence: Evidence,
) -> Explanation:
    axis = problem.selection.has_output_axis
    matrices = problem.options.order == 2 and not problem.options.sparse
    dims: tuple[str, ...] = ("row", "feature", "feature_2") if matrices else ("row", "feature")
    coords: dict[str, Any] = {dim: as_labels(tuple(players)) for dim in dims[1:]}
    coords["row"] = table.row_labels
    coords["output"] = as_labels(problem.selection.names)
    return Explanation(
        kind="interaction" if matrices else "attribution",
        values=np.ascontiguousarray(problem.selection.drop_output_axis(values)),
        dims=(*dims, "output") if axis else dims,
        coords=coords,
        base=np.asarray(problem.selection.drop_output_axis(base)),
        prediction=np.ascontiguousarray(problem.selection.drop_output_axis(prediction)),
        units=problem.selection.units,
        evidence=evidence,
        data=table,
        players={name: tuple(table.names[i] for i in members) for name, members in players.items()},
    )


def _term_names(problem: ShapProblem) -> dict[str, tuple[int, ...]]:
    """Return the labels of the feature axis, with the user's columns of each: players and, where the result has them, pairs of players."""
    terms = dict(zip(problem.players_shown.names, problem.players_shown.members, strict=True))
    if problem.options.sparse and problem.options.order == 2:
        names, members = problem.players.names, problem.players.members
        terms |= {
            f"{names[i]}{PAIR_SEPARATOR}{names[j]}": (*members[i], *members[j])
            for i, j in problem.interacting_pairs.tolist()
        }
        if len(terms) < problem.players_shown.count + len(problem.interacting_pairs):
            raise OptionError(
                "a column is called as a pair of columns would be; rename it, or leave ", Argument("sparse"), " out."
            )
    return terms
