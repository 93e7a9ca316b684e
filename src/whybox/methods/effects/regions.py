"""Regions: where the individual curves of a feature disagree, the rows are split so that they agree better inside each part.

Each curve is taken less its own mean over the points, each point weighted by the rows near it, so that only its shape is left. The heterogeneity of a
set of rows is the root mean square distance of their curves from the set's mean curve, in the units of the prediction; it is zero where the effect is
the same in every row. A set is split by the value of one other feature, where that reduces the sum of squares most, as long as a split reduces it by at least a
tenth of what all rows have and leaves a twentieth of the rows (and 20) on either side.

References:
    Herbinger et al., Decomposing global feature effects based on feature interactions, Journal of Machine Learning Research 25 (2024).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import LimitError, OptionError
from whybox.explanation.effects import Effects, Key
from whybox.explanation.explanation import Explanation
from whybox.methods.common.columns import Feature, Ints
from whybox.methods.common.rows import WeightedRows
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.effects.curves import MAX_RESULT_BYTES, Curve, grid_share, individual, with_off_data
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.problem import EffectsProblem
from whybox.methods.effects.result import labelled, with_spot_checks
from whybox.methods.effects.spot_checks import CheckedCurves
from whybox.methods.effects.spot_kinds import IndividualChecks
from whybox.methods.effects.spot_means import SECOND_SUM
from whybox.methods.registry import find
from whybox.numerics.rounding import rounding_floor

__all__ = ["GRID_POINTS", "regions"]

GRID_POINTS: Final = 30  # of the grid, by default
CUTS_TRIED: Final = 20  # of a number that are tried
CATEGORIES_TRIED: Final = 20  # categories that are tried
MIN_REGION_ROWS: Final = 20
MIN_REGION_SHARE: Final = 0.05
MIN_GAIN: Final = 0.1


@final
@dataclass(frozen=True, eq=False)
class _Region:
    """A set of rows: their positions, and the conditions that they meet, in words."""

    rows: Ints
    rules: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The conditions, joined."""
        return " and ".join(self.rules) if self.rules else "all rows"


@final
@dataclass(frozen=True, eq=False)
class _Shapes:
    """Centred curves, one line a row, so that squared distances are plain: points and outputs side by side, each times the root of its share."""

    lines: Floats
    weights: Floats

    def squares(self, rows: Ints) -> float:
        """Weighted sum of squared distances from the mean curve."""
        w, x = self.weights[rows], self.lines[rows]
        total = w.sum()
        return 0.0 if total == 0 else max(float(w @ (x**2).sum(axis=1) - ((w @ x) ** 2).sum() / total), 0.0)

    def heterogeneity(self, rows: Ints) -> float:
        """Root mean square distance of the curves from their mean, computed from the differences, so that it is zero where they agree."""
        w, x = self.weights[rows], self.lines[rows]
        if not w.sum() > 0:
            return 0.0
        w = w / w.sum()
        return float(np.sqrt(w @ ((x - w @ x) ** 2).sum(axis=1)))


def regions(problem: EffectsProblem, *, depth: int) -> Effects:
    """Return the effect over all rows and in each region, keyed by its conditions.

    Raises:
        OptionError: not one single feature. LimitError: the individual curves do not fit.
    """
    began = time.perf_counter()
    if len(problem.wanted) != 1 or len(problem.wanted[0]) != 1:
        raise OptionError("regions are found for one feature at a time; name a single one.")
    members = problem.wanted[0]
    evaluator, grid = problem.evaluator(members), problem.make(members)
    if 8 * len(problem.rows) * len(grid) * len(problem.selection.names) > MAX_RESULT_BYTES:
        raise LimitError(
            f"{len(problem.rows):,} rows x {len(grid)} points do not fit; pass fewer rows or a smaller grid."
        )
    checker = SpotChecker()
    values = CheckedCurves(problem, evaluator, [grid], checker, kind=IndividualChecks).compute(individual)[0].values
    problem.repeats.check_after()
    shapes = _shapes(problem, grid, values)
    whole = _Region(np.arange(len(problem.rows)))
    every = values.reshape(-1, values.shape[2])  # the prediction at each point of each row
    rounding = float((rounding_floor(every, np.repeat(problem.rows.weights, len(grid))) ** 2).sum())
    least = max(MIN_GAIN * shapes.squares(whole.rows), rounding)
    split = [whole, *_split(problem, shapes, whole, members[0], depth, least)]
    if len(split) == 2:
        split = split[:1]  # nothing was split
    cost = (f"{evaluator.spent:,} predictions of single rows for all regions.",) if evaluator.spent else ()
    out: dict[Key, Explanation] = {}
    for region in split:
        notes = (*problem.notes, *problem.apart(members), f"Rows: {region.name}.", *cost)
        part, curve = _curve(problem, grid, values, shapes, region)
        _check_mean(problem, values[region.rows], region, curve, checker)
        out[region.name] = labelled(
            part, evaluator, curve, notes, evaluator.spent, time.perf_counter() - began, find("regions", "regional")
        )
    return Effects({key: with_spot_checks(e, checker.result) for key, e in out.items()}, problem.rows.table.library)


def _check_mean(problem: EffectsProblem, values: Floats, region: _Region, curve: Curve, checker: SpotChecker) -> None:
    """Hold the mean curve of a region against a plain sum of the individual curves of its rows.

    Raises:
        SpotCheckError: they differ.
    """
    weights = problem.rows.weights[region.rows]
    if problem.options.spot_checks == 0 or not weights.sum() > 0 or not np.isfinite(values).all():
        return
    again = sum(w * v for w, v in zip(weights, values, strict=True)) / weights.sum()
    checker.compare(
        curve.values, again, 1e-12 * (1.0 + 1e-3 * len(values)) * np.abs(values).max(axis=(0, 1)), way=SECOND_SUM,
        where=lambda at: [("region", region.name), ("position on the grid", at[0]), ("output", at[1])],
    )  # fmt: skip


def _shapes(problem: EffectsProblem, grid: Grid, values: Floats) -> _Shapes:
    share = grid_share(problem.rows, grid)
    share = share / share.sum() if share.sum() > 0 else np.full(len(grid), 1.0 / len(grid))
    centred = values - np.einsum("p,rpk->rk", share, values)[:, None]
    centred = centred - np.einsum("r,rpk->pk", problem.rows.weights, centred)  # what all rows share would only cancel
    lines = centred * np.sqrt(share)[None, :, None]
    return _Shapes(lines.reshape(len(values), -1), problem.rows.weights)


def _split(
    problem: EffectsProblem, shapes: _Shapes, region: _Region, own: int, depth: int, least: float
) -> list[_Region]:
    """Return the parts of a region, or the region itself where no split reduces the sum of squares enough."""
    if depth == 0:
        return [region]
    before = shapes.squares(region.rows)
    best: tuple[float, npt.NDArray[np.bool_], str, str] | None = None
    for position in range(problem.rows.table.width):
        if position == own:
            continue
        feature = problem.rows.feature(position)
        for left, yes, no in _candidates(feature, region.rows):
            if not _large_enough(problem.rows, region.rows, left):
                continue
            gain = before - shapes.squares(region.rows[left]) - shapes.squares(region.rows[~left])
            if gain > least and (best is None or gain > best[0] * (1 + 1e-9)):
                best = (gain, left, yes, no)
    if best is None:
        return [region]
    _, left, yes, no = best
    parts = (
        _Region(region.rows[left], (*region.rules, yes)),
        _Region(region.rows[~left], (*region.rules, no)),
    )
    return [leaf for part in parts for leaf in _split(problem, shapes, part, own, depth - 1, least)]


def _large_enough(rows: WeightedRows, here: Ints, left: npt.NDArray[np.bool_]) -> bool:
    mass = rows.weights[here]
    return (
        min(int(left.sum()), int((~left).sum())) >= MIN_REGION_ROWS
        and min(mass[left].sum(), mass[~left].sum()) >= MIN_REGION_SHARE
    )


def _candidates(feature: Feature, rows: Ints) -> Iterator[tuple[npt.NDArray[np.bool_], str, str]]:
    """Yield (which rows go left, the condition in words, its opposite)."""
    codes = feature.codes[rows]
    gap = codes < 0
    if gap.any() and not gap.all():
        yield gap, f"{feature.name} is missing", f"{feature.name} is known"
    if feature.numbers is None:
        common, counts = np.unique(codes[~gap], return_counts=True)
        words = [str(v) for v in feature.unique]
        for code in common[np.argsort(-counts, kind="stable")][:CATEGORIES_TRIED]:
            word = words[code] if words.count(words[code]) == 1 else repr(feature.unique[code])
            yield codes == code, f"{feature.name} = {word}", f"{feature.name} is not {word}"
        return
    known = np.sort(codes[~gap])
    if not len(known):
        return
    cuts = np.unique(known[np.linspace(0, len(known) - 1, CUTS_TRIED + 2).astype(np.int64)[1:-1]])
    or_missing = " or missing" if gap.any() else ""
    for cut in cuts:
        edge, above = feature.unique[cut], feature.unique[min(int(cut) + 1, len(feature.unique) - 1)]
        exact = feature.kind == "datetime" or float(edge) == float(above)
        word = str(edge) if exact else _short_between(float(edge), float(above))
        yield (codes <= cut) & ~gap, f"{feature.name} <= {word}", f"{feature.name} > {word}{or_missing}"


def _short_between(edge: float, above: float) -> str:
    """The shortest number from `edge` up to, but not including, the next value: it splits the rows exactly so."""
    if edge < above < np.inf:
        for digits in range(2, 17):
            word = f"{(edge + above) / 2:.{digits}g}"
            if edge <= float(word) < above:
                return word
    return repr(edge)


def _curve(
    problem: EffectsProblem, grid: Grid, values: Floats, shapes: _Shapes, region: _Region
) -> tuple[EffectsProblem, Curve]:
    """The mean curve of a region with its standard error, and the problem of the region's rows alone."""
    picked = region.rows
    w = problem.rows.weights[picked]
    part = WeightedRows(problem.rows.table.rows(picked), w / w.sum())
    inner = replace(problem, rows=part, kind="pdp", _evaluators={})
    own = replace(
        grid,
        features=(part.feature(grid.column_positions[0]),),
        point_of_row=grid.point_of_row[picked],
        is_at_point=grid.is_at_point[picked],
    )
    mean = np.einsum("r,rpk->pk", part.weights, values[picked])
    spread = np.einsum("r,rpk->pk", part.weights, (values[picked] - mean) ** 2)
    error = np.sqrt(spread / (part.effective_count - 1.0)) if part.effective_count > 1 else np.full(mean.shape, np.nan)
    extras: dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = {
        "heterogeneity": ((), np.array(shapes.heterogeneity(picked))),
        "region_share": ((), np.array(float(w.sum()))),
    }
    return inner, with_off_data(part, [Curve(own, mean, error, extras=extras)])[0]
