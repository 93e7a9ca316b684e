"""Run a settled question on rows, block by block, and check every row against the model's own predict."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats, Table
from whybox.errors import LimitError, ModelMismatchError, OptionError
from whybox.explanation.evidence import Evidence, versions
from whybox.explanation.explanation import PAIR_SEPARATOR, Explanation, labels
from whybox.kernels.predict import advice, mixed_agreement, sampled
from whybox.methods.method_spec import MethodSpec
from whybox.methods.shap.compute import FLOAT32_ROUNDING, CompiledProblem, KernelRunner
from whybox.methods.shap.plan import ROWS_PER_BLOCK
from whybox.methods.shap.problem import Question
from whybox.models.agreement import ask, compare
from whybox.models.receive import Received

__all__ = ["run"]

MAX_RESULT_BYTES: Final = 2**33  # bytes of one result
LARGEST_OF_SPARSE: Final = 2**30  # of sparse rows, whose attributions are nearly all zero
CELLS: Final = 2**22  # numbers of sparse rows, and of their results, that are dense at a time


def run(
    compiled: CompiledProblem,
    received: Received,
    spec: MethodSpec,
    *,
    out: npt.NDArray[Any] | None = None,
) -> Explanation:
    """Return the explanation of the rows that were received.

    Args:
        compiled: the question, with what the explainer keeps between calls.
        out: where to write the attributions, instead of memory of our own.

    Raises:
        LimitError: the result would not fit in memory.
        ModelMismatchError: base + attributions is not the model's own prediction.
    """
    began = time.perf_counter()
    table = received.table
    q, n = compiled.question, len(table)
    shape = (n, *q.shape_shown(), len(q.target.names))
    values, prediction = _room(q, shape, out, sparse=table.is_sparse), np.empty((n, shape[-1]))
    engine = KernelRunner(compiled, n)
    check = _Check(engine, max(engine.rounding, FLOAT32_ROUNDING if values.dtype == np.float32 else 0.0))
    digest = hashlib.sha256()
    for start, block in table.blocks(_together(q)):
        X = q.model.inputs.block(block, start)
        digest.update(X.data)
        some = slice(start, start + len(X))
        here = (
            values[some] if q.every is None else np.zeros((len(X), *q.shape(q.options.order), shape[-1]), values.dtype)
        )
        engine.fill(
            X,
            here,
            what=f"{spec.title} {start + 1:,}-{start + len(X):,} of {n:,}" if n > ROWS_PER_BLOCK else spec.title,
        )
        prediction[some] = check.block(X, block, here, start)
        if start == 0:
            check.mixed_rows(compiled, table)
        if q.every is not None:
            _spread(q, here, values[some])
    evidence = _evidence(
        q, engine, check, spec, received, rows=n, digest=digest.hexdigest(), seconds=time.perf_counter() - began
    )
    return _explanation(q, table, values, prediction, q.target.levels(engine.base), evidence)


def _together(q: Question) -> int:
    """Rows to encode and explain together; of sparse rows so many that their dense columns stay small."""
    if q.every is None:
        return ROWS_PER_BLOCK
    numbers = q.model.inputs.width + int(np.prod(q.shape(q.options.order))) * len(q.target.names)
    return int(np.clip(CELLS // numbers, 1, ROWS_PER_BLOCK))


def _spread(q: Question, here: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    """Put what was computed where it belongs among all players."""
    places = q.places
    if out.ndim == 4:
        out[:, places[:, None], places] = here
    else:
        out[:, places] = here


def _room(q: Question, shape: tuple[int, ...], out: npt.NDArray[Any] | None, *, sparse: bool) -> npt.NDArray[Any]:
    dtype = np.dtype(q.options.dtype or "float64")
    if out is None:
        size = np.prod(shape, dtype=np.float64) * dtype.itemsize
        if size > (LARGEST_OF_SPARSE if sparse else MAX_RESULT_BYTES):
            keep = {
                (1, False): ", keep only the features that the model reads with sparse=True",
                (2, False): ", keep only pairs that share a path with sparse=True",
            }.get((q.options.order, q.options.sparse), "")
            raise LimitError(
                f"the result of {shape[0]:,} rows x {' x '.join(str(s) for s in shape[1:])} numbers would take {size / 2**30:.1f} GiB"
                f"{f', and the rows are sparse ({LARGEST_OF_SPARSE / 2**30:.0f} GiB allowed)' if sparse else ''}; "
                f"explain fewer rows at a time{keep}, or group columns with players={{...}}."
            )
        return np.zeros(shape, dtype)
    wanted = shape if q.target.axis else shape[:-1]
    if not isinstance(out, np.ndarray) or out.shape != wanted or out.dtype not in (np.float32, np.float64):
        raise OptionError(f"out must be a float32 or float64 array of shape {wanted}.")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise OptionError("out must be writeable and row-major (C-contiguous).")
    out[...] = 0
    return out.reshape(shape)


@final
@dataclass
class _Check:
    """Compares each block with the model's own predict and keeps the largest differences."""

    engine: KernelRunner
    rounding: float
    residual: float = 0.0
    tolerance: float = 0.0
    agreement: float = 0.0
    calls: int = 0
    mixed: int = 0

    def mixed_rows(self, compiled: CompiledProblem, table: Table) -> None:
        """Ask the model about rows that take some columns from the background, or from another row where there is none."""
        q = self.engine.question
        if q.model.own is None or not compiled.mixed_due(table):
            return
        there = None if q.background is None else q.background.some
        difference, self.mixed = mixed_agreement(q.model, sampled(q.model, table), there)
        self.agreement = max(self.agreement, difference)
        self.calls += self.mixed
        if self.mixed:
            compiled.mixed_asked(table)

    def block(self, X: Floats, table: Table, values: npt.NDArray[Any], start: int) -> Floats:
        """Check one block; return its predictions on the target's scale, (rows, outputs explained)."""
        q = self.engine.question
        own = q.model.own
        # Where attributions add up to every raw output, their sum is our reading of the model: no need to predict once more.
        whole = q.additive and q.target.scale == "raw" and q.target.plain and len(q.target.picks) == len(q.model.base)
        total = None
        if q.additive:
            total = q.target.levels(self.engine.base) + values.sum(
                axis=tuple(range(1, values.ndim - 1)), dtype=np.float64
            )
        raw = total if whole and total is not None and own is not None else self.engine.raw(X)
        told = self._on_target(raw)
        if own is not None:
            theirs = ask(own, table)
            self.calls += len(X)
            relative = own.relative + (self.rounding if raw is total else 0.0)
            difference, _ = compare(
                q.model,
                raw,
                theirs,
                scale=own.scale,
                relative=relative,
                size=self.engine.size(X),
                advice=advice(q.model, table),
            )
            self.agreement = max(self.agreement, difference)
            if own.scale == "raw" or q.model.outputs.link.identity:
                told = self._on_target(theirs)
            elif q.target.scale == "response":
                told = q.target.levels(theirs)
        if total is not None:
            self._adds_up(total, told, self._room(raw, X), start)
        return told

    def _on_target(self, raw: Floats) -> Floats:
        q = self.engine.question
        return q.target.levels(raw if q.target.scale == "raw" else q.model.outputs.link(raw))

    def _room(self, raw: Floats, X: Floats) -> Floats:
        """What rounding explains, (rows, outputs explained): the library's own, and ours over many terms."""
        q = self.engine.question
        if q.options.additivity_tol is not None:
            return np.full((len(raw), len(q.target.names)), q.options.additivity_tol)
        relative = (q.model.own.relative if q.model.own else 0.0) + self.rounding
        room = np.broadcast_to(relative * np.maximum(self.engine.size(X), np.abs(raw)) + 1e-300, raw.shape)
        if q.target.scale == "raw":
            return room[:, list(q.target.picks)]
        link = q.model.outputs.link
        here = link(raw)
        moved = np.maximum(np.abs(link(raw + room) - here), np.abs(here - link(raw - room))).max(axis=1, keepdims=True)
        return np.asarray(moved + relative * np.abs(here) + 1e-10 * np.abs(self.engine.base))[:, list(q.target.picks)]

    def _adds_up(self, total: Floats, told: Floats, room: Floats, start: int) -> None:
        q = self.engine.question
        off = np.abs(total - told)
        self.residual, self.tolerance = (
            max(self.residual, float(off.max(initial=0.0))),
            max(self.tolerance, float(room.max(initial=0.0))),
        )
        wrong = ~(off <= room)
        if wrong.any():
            i, k = np.argwhere(wrong)[0]
            raise ModelMismatchError(
                f"base + attributions is {total[i, k]!r} where {'the model itself predicts' if q.model.own else 'our reading of the model predicts'} {told[i, k]!r} "
                f"(row {start + i:,}, output {q.target.names[k]!r};"
                f" {'additivity_tol' if q.options.additivity_tol is not None else 'rounding'} allows {room[i, k]:.3g}); nothing is returned."
            )


def _evidence(
    q: Question,
    engine: KernelRunner,
    check: _Check,
    spec: MethodSpec,
    received: Received,
    *,
    rows: int,
    digest: str,
    seconds: float,
) -> Evidence:
    own = q.model.own
    prints = {"model": q.model.fingerprint, "rows": digest}
    if q.background is not None:
        prints["background"] = q.background.fingerprint
    shown = [*received.about(), *q.model.notes]
    if q.background is not None:
        shown += [n for n in q.background.received.about(" of the background") if n not in shown]
    if q.kernel == "rescaled":
        shown.append("Rescaled approximation: not the Shapley value of this output, only its sum is right.")
    if q.options.sparse and q.options.order == 2:
        shown.append(
            "Terms: main effects, then whole interactions of pairs that some path of a tree asks for together; those of other pairs are exactly zero."
        )
    left = 0 if q.every is None or not q.compact else q.every.count - q.players.count
    if left:
        shown.append(
            f"{left:,} features that the model does not read were left out: their attributions are exactly zero."
        )
    if q.kernel == "path-dependent" and q.unseen:
        shown.append("Some nodes were never reached in training; absent features split them evenly.")
    return Evidence(
        **spec.evidence_fields(),
        kernel=engine.plan.name,
        exact=q.exact,
        estimand=q.estimand,
        index=q.options.index.name,
        additive=q.additive,
        residual=check.residual,
        agreement=check.agreement,
        residual_units=q.target.units,
        tolerance=check.tolerance,
        residual_against=_against(q),
        model=q.model.kind,
        verdict={**vars(q.model.verdict), "mixed_rows": check.mixed},
        model_calls=check.calls,
        seed=q.options.seed,
        rows=rows,
        background_rows=0 if q.background is None else len(q.background.matrix),
        fingerprints=prints,
        versions=versions(own.library if own else None),
        seconds=seconds,
        notes=tuple(shown),
        by_position=received.by_position,
        unseen=received.unseen_as_data(),
    )


def _against(q: Question) -> str:
    """Whose predictions the sums were held against, on the scale that was explained."""
    own, link = q.model.own, q.model.outputs.link
    if own is None:
        return "our reading of the model file"
    if own.scale == q.target.scale or link.identity:
        return own.what
    return f"the {link.name} of {own.what}" if own.scale == "raw" else f"our reading, itself held against {own.what}"


def _explanation(
    q: Question, table: Table, values: npt.NDArray[Any], prediction: Floats, base: Floats, evidence: Evidence
) -> Explanation:
    axis = q.target.axis
    matrices = q.options.order == 2 and not q.options.sparse
    dims: tuple[str, ...] = ("row", "feature", "feature_2") if matrices else ("row", "feature")
    players = _terms(q)
    coords: dict[str, Any] = {dim: labels(tuple(players)) for dim in dims[1:]}
    coords["row"] = table.row_labels
    coords["output"] = labels(q.target.names)
    return Explanation(
        kind="interaction" if matrices else "attribution",
        values=np.ascontiguousarray(q.target.drop(values)),
        dims=(*dims, "output") if axis else dims,
        coords=coords,
        base=np.asarray(q.target.drop(base)),
        prediction=np.ascontiguousarray(q.target.drop(prediction)),
        units=q.target.units,
        evidence=evidence,
        data=table,
        players={name: tuple(table.names[i] for i in members) for name, members in players.items()},
    )


def _terms(q: Question) -> dict[str, tuple[int, ...]]:
    """What stands on the feature axis, with the user's columns of each: players, and where they were asked for, pairs of them."""
    terms = dict(zip(q.shown.names, q.shown.members, strict=True))
    if q.options.sparse and q.options.order == 2:
        names, members = q.players.names, q.players.members
        terms |= {f"{names[i]}{PAIR_SEPARATOR}{names[j]}": (*members[i], *members[j]) for i, j in q.pairs.tolist()}
        if len(terms) < q.shown.count + len(q.pairs):
            raise OptionError("a column is called as a pair of columns would be; rename it, or leave sparse out.")
    return terms
