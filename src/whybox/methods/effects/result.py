"""Run a settled question about effects and label what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.effects import Effects
from whybox.explanation.explanation import Explanation, labels
from whybox.methods.effects.curve_at import CurveAt
from whybox.methods.effects.curves import Curve, grid_share
from whybox.methods.effects.evidence import evidence
from whybox.methods.effects.extrapolation import with_off_data
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.predict_evaluator import Evaluator
from whybox.methods.effects.problem import EffectsProblem
from whybox.methods.method_spec import MethodSpec

__all__ = ["grouped", "labelled", "run"]

LARGEST: Final = float(np.finfo(np.float64).max)
HISTOGRAM_BINS: Final = 30  # of the histogram below a curve


def run(asked: EffectsProblem) -> Effects:
    """Return the effects asked for.

    Raises:
        LimitError: more predictions or memory than allowed. Others as whybox.effects.
    """
    began = time.perf_counter()
    found: dict[tuple[int, ...], Explanation] = {}
    for evaluator, wanted in grouped(asked):
        before = evaluator.spent
        grids = [asked.make(m) for m in wanted]
        curves = asked.effect_kind.compute(evaluator, grids)
        asked.repeats.end()
        if asked.effect_kind.off_data:
            curves = with_off_data(asked.rows, curves)
        spent = _said(asked, evaluator.spent - before, sum(len(g) for g in grids) * len(asked.rows))
        calls = evaluator.spent - before
        for members, curve in zip(wanted, curves, strict=True):
            notes = (*asked.notes, *asked.apart(members), *curve.notes, *spent)
            found[members] = labelled(asked, evaluator, curve, notes, calls, time.perf_counter() - began)
    return Effects({asked.name(m): found[m] for m in asked.wanted}, asked.rows.table.library)


def grouped(asked: EffectsProblem) -> list[tuple[Evaluator, list[tuple[int, ...]]]]:
    """Return who answers about which features."""
    groups: dict[str, tuple[Evaluator, list[tuple[int, ...]]]] = {}
    for members in asked.wanted:
        evaluator = asked.evaluator(members)
        groups.setdefault(evaluator.kernel, (evaluator, []))[1].append(members)
    return list(groups.values())


def _said(asked: EffectsProblem, spent: int, floor: int) -> tuple[str, ...]:
    """What the curves of one call cost, in words."""
    if not spent:
        return ()
    less = (
        f" instead of {floor:,}, because equal rows are asked about once"
        if asked.effect_kind.plain_mean and spent < floor
        else ""
    )
    return (f"{spent:,} predictions of single rows for the curves of this call{less}.",)


def labelled(
    asked: EffectsProblem,
    evaluator: Evaluator,
    curve: Curve,
    notes: tuple[str, ...],
    calls: int,
    seconds: float,
    spec: MethodSpec | None = None,
) -> Explanation:
    """Return a curve with its axes named, and its evidence; `spec` is of the method, where it is not the problem's own."""
    grid, target = curve.grid, asked.target
    points = curve.points or grid.points
    rows = curve.values.ndim == 3
    lead = (len(asked.rows),) if rows else ()
    shape = (*lead, *(len(p) for p in points))
    dims = (*(("row",) if rows else ()), "point", "point_2")[: len(shape)]
    values = target.drop(curve.values.reshape(*shape, -1))
    error = None if curve.std_error is None else target.drop(curve.std_error.reshape(*shape, -1))
    coords: dict[str, Any] = dict(zip(("point", "point_2"), points, strict=False))
    coords["row"], coords["output"] = asked.rows.table.row_labels, labels(target.names)
    names = [f.name for f in grid.features]
    off = {} if curve.off_data is None else {"off_data": (("point",), curve.off_data)}
    return Explanation(
        kind="effect",
        values=np.ascontiguousarray(values),
        dims=(*dims, "output") if target.axis else dims,
        coords={d: np.array(v) for d, v in coords.items() if d in (*dims, "output")},
        base=np.asarray(target.drop(np.full(len(target.names), np.nan))),
        units=asked.effect_kind.units(target.units, names[0]),
        evidence=evidence(
            asked,
            asked.rows,
            spec=_spec(asked, len(points)) if spec is None else spec,
            kernel=evaluator.kernel,
            calls=calls,
            notes=(*notes, *(note for f in grid.features for note in f.notes)),
            seconds=seconds,
        ),
        std_error=None if error is None else np.ascontiguousarray(error),
        data=asked.rows.table if rows else None,
        players={name: (name,) for name in names},
        extras={
            **_about(asked, grid, points),
            **curve.extras,
            **off,
            **({"weight": (("row",), asked.rows.weights)} if rows else {}),
        },
        again=_again(asked, curve, np.ascontiguousarray(values)),
    )


def _spec(asked: EffectsProblem, features: int) -> MethodSpec:
    """What the registry says of this kind of effect, with the words for a surface where there are two features."""
    of_two = asked.effect_kind.surface_quantity
    return replace(asked.spec, quantity=of_two) if features == 2 and of_two else asked.spec


def _about(
    asked: EffectsProblem, grid: Grid, points: Sequence[npt.NDArray[Any]]
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """How the data lie about the points: shares of rows, and a histogram of numbers."""
    axes = ("point", "point_2")[: len(points)]
    out: dict[str, tuple[tuple[str, ...], Any]] = {}
    if grid.shape == tuple(len(p) for p in points):
        out["share"] = (axes, grid_share(asked.rows, grid))
    for feature, tag in zip(grid.features, ("", "_2"), strict=False):
        x = feature.numbers
        if x is not None and np.isfinite(x).any():
            if feature.zero:
                continue  # numbers beyond 2**53 are kept as distances, which no edge of a bin can name
            known = np.isfinite(x)
            mass, edges = np.histogram(x[known], bins=_bins(x[known]), weights=asked.rows.weights[known])
            out[f"histogram{tag}"], out[f"histogram_edges{tag}"] = (("bin",), mass), (("edge",), edges)
    return out


def _bins(x: Floats) -> Floats:
    """Edges of bins of equal width over the numbers; of fewer bins where there are not so many numbers between the ends."""
    low, high = float(x.min()), float(x.max())
    if low == high:
        reach = max(0.5, 1e-9 * abs(low))
        low, high = (float(v) for v in np.clip([low - reach, high + reach], *(-LARGEST, LARGEST)))
    if high - low > LARGEST:
        t = np.linspace(0.0, 1.0, HISTOGRAM_BINS + 1)
        return low * (1 - t) + high * t
    with np.errstate(over="ignore"):
        edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    return np.unique(np.clip(edges, low, high))


def _again(asked: EffectsProblem, curve: Curve, values: Floats) -> Callable[[Any], Floats] | None:
    """What answers at(points): the accumulated curve itself, or whoever computed the others."""
    known = asked.effect_kind.curve_function(curve, values)
    if known is not None:
        return known
    return None if curve.points else CurveAt(asked, curve.grid)
