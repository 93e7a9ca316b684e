"""Run a method on a settled question and label what came out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import snapshot_table
from whybox.data.table import Floats, Table, as_table
from whybox.errors import Argument, NonFiniteError
from whybox.explanation.evidence import Evidence, versions
from whybox.explanation.explanation import Explanation, labels
from whybox.methods.registry import load, of_id
from whybox.methods.saliency.base import Method, MethodOutput
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.problem import Question
from whybox.methods.saliency.recipe import digest, settings_of
from whybox.numerics.rounding import SINGLE, relative

__all__ = ["explained"]

ROUNDING: Final = 1e-3  # of |score - base| and of the scores, for methods that add up exactly but for float32


def explained(
    q: Question, method: Method, notes: Sequence[str] = (), asked: Mapping[str, Any] | None = None
) -> tuple[Explanation, ...]:
    """Run, and return one explanation for each input that is not of whole numbers; `asked` is kept in the evidence's settings.

    Raises:
        WhyboxError: see whybox.errors; the message says what to do.
    """
    began = time.perf_counter()
    found = method(q)
    _finite(found, method)
    balance = _balance(q, found)
    mapped = [which for which, a in enumerate(found.maps[0]) if a is not None]
    settings = settings_of(q, method, asked) | {"inputs": mapped}
    if found.resolved:
        settings["resolved"] = dict(found.resolved)
    evidence = _evidence(q, method, found, balance, (*notes, *q.net.remarks, *found.notes), settings, began)
    return tuple(_one(q, found, which, balance, evidence) for which in mapped)


def _finite(found: MethodOutput, method: Method) -> None:
    """Refuse what is no number.

    Raises:
        NonFiniteError: a row's map has NaN or infinity.
    """
    for a in (a for of in found.maps for a in of if a is not None):
        if (bad := ~np.isfinite(a.reshape(len(a), -1)).all(axis=1)).any():
            raise NonFiniteError(
                "the map of {row} by ",
                Argument("method", method.name),
                " has NaN or infinity: there, or on the way from its baseline, the network has no finite derivative (a root, a logarithm or a "
                "quotient at zero, numbers too large for its type). Leave the row out, or choose another baseline.",
                row=int(np.argmax(bad)),
            )


@final
@dataclass(frozen=True)
class _Balance:
    """How far maps add up to score - base; all (rows, targets).

    Attributes:
        base: scores without anything. change: score - base.
        gap: completeness error, the sum of all maps less the change. allowed: how large it may be. converged: whether it is not larger, and the row came to rest.
    """

    base: Floats
    change: Floats
    gap: Floats
    allowed: Floats
    converged: npt.NDArray[np.bool_]


def _balance(q: Question, found: MethodOutput) -> _Balance | None:
    """None: the maps need not add up."""
    base = found.base
    if base is None:
        return None
    score = q.scores
    change = score - base
    total = np.zeros(base.shape)
    for t, of in enumerate(found.maps):
        for a in of:
            if a is not None:
                total[:, t] += a.reshape(q.rows, -1).sum(axis=1)
    gap, allowed = total - change, found.allowed
    if allowed is None:
        rounding = ROUNDING * (np.abs(change) + 1e-2 * (np.abs(score) + np.abs(base))) + 1e-6
        allowed = np.maximum(found.tolerance * np.abs(change), rounding)
    well = np.abs(gap) <= allowed
    return _Balance(base, change, gap, allowed, well if found.settled is None else well & found.settled)


def _evidence(
    q: Question,
    method: Method,
    found: MethodOutput,
    balance: _Balance | None,
    notes: tuple[str, ...],
    settings: dict[str, Any],
    began: float,
) -> Evidence:
    """How it was made. Rows outside the tolerance are counted in a note."""
    if balance is not None and not balance.converged.all():
        least = SINGLE * np.maximum(np.abs(balance.base), np.abs(q.scores))
        worst = float(relative(np.abs(balance.gap), balance.change, least).max())
        missed = f"{int((~balance.converged).any(axis=1).sum()):,} of {q.rows:,} rows miss the tolerance"
        notes = (
            *notes,
            f"NOT CONVERGED: {missed} (completeness errors up to {worst:.2g} of score - base); see extras['converged']",
        )
    net = q.net
    return Evidence(
        **_of_registry(method),
        kernel=f"{found.kernel}, {net.arithmetic}",
        exact=found.exact,
        estimand=found.estimand,
        index=found.index,
        additive=balance is not None,
        residual=0.0 if balance is None else float(np.abs(balance.gap).max()),
        residual_units="score",
        residual_against="the network's own outputs",
        agreement=q.answers.apart,
        tolerance=0.0 if balance is None else float(balance.allowed.max()),
        model=net.kind,
        verdict={"against": "nothing: the network itself was run"},
        model_calls=net.passes.forward,
        seed=q.seed,
        rows=q.rows,
        fingerprints={"model": net.fingerprint, "rows": digest(q.inputs)},
        versions=versions(net.library),
        seconds=time.perf_counter() - began,
        notes=notes,
        passes={"forward": net.passes.forward, "backward": net.passes.backward, "rows together": q.at_once},
        operators=found.operators,
        settings=settings,
    )


def _of_registry(method: Method) -> dict[str, Any]:
    """What evidence says of a method: as the registry has it, or the method itself where it is a class of the user's own."""
    spec = of_id(f"saliency.{method.name}")
    if spec is not None and isinstance(method, load(spec.run)):
        return spec.evidence_fields()
    return {"method": method.title}


def _one(q: Question, found: MethodOutput, which: int, balance: _Balance | None, evidence: Evidence) -> Explanation:
    given = q.inputs[which]
    axis = None if found.reduced or found.kept else given.channel
    several = q.target.several
    maps, errors = [], []
    for t in range(q.target.count):
        value = found.maps[t][which]
        assert value is not None  # noqa: S101  # asked by the caller
        variance = None if found.variances is None else found.variances[t][which]
        if axis is not None:
            value, variance = _reduced(value, variance, axis, q.reduce)
        maps.append(value)
        errors.append(None if variance is None else np.sqrt(variance))
    values = np.stack(maps, axis=-1) if several else maps[0]
    error = (
        None if errors[0] is None else np.stack([e for e in errors if e is not None], axis=-1) if several else errors[0]
    )
    gone = (found.reduced or (q.reduce is not None and not found.kept)) and given.channel is not None
    dims = tuple(d for d in given.dims if not (gone and d == "channel"))
    coords: dict[str, npt.NDArray[Any]] = {d: labels(list(range(n))) for d, n in zip(dims, values.shape, strict=False)}
    if given.names is not None:
        coords[dims[-1]] = labels(given.names)
    elif dims[-1] == "feature" and given.x.ndim == 2:
        coords["feature"] = labels([f"x{i}" for i in range(values.shape[1])])
    if several:
        dims, coords["output"] = (*dims, "output"), labels(q.target.names)
    elif q.target.names[0] not in ("predicted", "given"):
        coords["output"] = labels(q.target.names)
    tail = ("row", "output") if several else ("row",)
    extras = dict(found.extras)

    def kept(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.array(a if several else a[:, 0])

    base = np.full(q.target.count if several else (), np.nan)
    if balance is not None:
        extras["base"] = (tail, kept(balance.base))
        extras["completeness_error"] = (tail, kept(balance.gap))
        extras["converged"] = (tail, kept(balance.converged))
        same = np.ptp(balance.base, axis=0).max() <= 1e-6 * (1 + np.abs(balance.base).max())
        base = kept(balance.base)[0] if same else base
    if q.target.names[0] in ("predicted", "given"):
        extras["target"] = (("row",), q.target.where[0].copy())
        if len(q.net.output_names) > int(q.target.where[0].max(initial=0)):
            names = np.array(q.net.output_names)
            extras["target_name"] = (("row",), names[q.target.where[0]])
    data = _table(given) if given.x.ndim == 2 and not given.whole and "feature" in coords else None
    return Explanation(
        kind="saliency",
        values=np.ascontiguousarray(values, dtype=np.float64),
        dims=dims,
        coords=coords,
        base=np.asarray(base, dtype=np.float64),
        units=found.units or ("score" if balance is not None else "score per unit of input"),
        evidence=evidence,
        prediction=kept(q.scores),
        std_error=error,
        data=data,
        extras=extras | _shown(given, coords),
        players={} if data is None else {str(n): (str(n),) for n in coords["feature"]},
    )


def _table(given: Input) -> Table:
    """Rows of features under the names they came with."""
    table = snapshot_table(as_table(given.x))
    return table.with_names(given.names if given.names is not None else [f"x{i}" for i in range(table.width)])


def _shown(given: Input, coords: Mapping[str, Any]) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
    """The input itself, for pictures. Axes that are longer than those of the map are not the same axes."""
    if given.x.ndim <= 2 or "token" in given.dims:
        return {}
    same = {d: d not in coords or len(coords[d]) == n for d, n in zip(given.dims, given.x.shape, strict=True)}
    return {"input": (tuple(d if same[d] else f"input_{d}" for d in given.dims), given.x.copy())}


def _reduced(value: Floats, variance: Floats | None, axis: int, how: str | None) -> tuple[Floats, Floats | None]:
    """One number out of the channels, and its variance."""
    if how is None:
        return value, variance
    if how == "sum":
        return value.sum(axis=axis), variance  # reduced by whoever sampled
    at = np.abs(value).argmax(axis=axis, keepdims=True)
    largest = np.abs(np.take_along_axis(value, at, axis)).squeeze(axis)
    return largest, None if variance is None else np.take_along_axis(variance, at, axis).squeeze(axis)
