"""Regions: where the individual curves of a feature disagree, the rows are split so that they agree better inside each part.

Each curve is taken less its own mean over the points, each point weighted by the rows near it, so that only its shape is left. The heterogeneity of a
set of rows is the root mean square distance of their curves from the set's mean curve, in the units of the prediction; it is zero where the effect is
the same in every row. A set is split by the value of one other feature, or of two in two steps, as `region_search.py` finds it.

References:
    Herbinger et al., Decomposing global feature effects based on feature interactions, Journal of Machine Learning Research 25 (2024).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import LimitError, OptionError
from whybox.explanation.effects import CurveKey, Effects
from whybox.explanation.explanation import Explanation
from whybox.methods.common.columns import Ints
from whybox.methods.common.rows import WeightedRows
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.effects.curves import MAX_RESULT_BYTES, Curve, grid_share, individual_curves, with_off_data
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.problem import EffectsProblem
from whybox.methods.effects.region_search import Condition, CurveShapes, SplitSearch
from whybox.methods.effects.result import labelled_curve, with_spot_checks
from whybox.methods.effects.spot_checks import CheckedCurves
from whybox.methods.effects.spot_kinds import IndividualChecks
from whybox.methods.effects.spot_means import SECOND_SUM
from whybox.methods.registry import find
from whybox.numerics.rounding import rounding_floor
from whybox.numerics.statistics import RunningMoments

__all__ = ["GRID_POINTS", "find_regions"]

GRID_POINTS: Final = 30  # of the grid, by default


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

    def split_by(self, condition: Condition) -> tuple[_Region, _Region]:
        """The rows that meet a condition, and the others."""
        left, right = condition.split_rows(self.rows)
        return _Region(left, (*self.rules, condition.met_text)), _Region(right, (*self.rules, condition.unmet_text))


def find_regions(problem: EffectsProblem, *, depth: int, width: int | None = None) -> Effects:
    """Return the effect over all rows and in each region, keyed by its conditions.

    Args:
        problem: of one feature. depth: of splits. width: so many first columns may split rows; None: all.

    Raises:
        OptionError: not one single feature. LimitError: the individual curves do not fit.
    """
    began = time.perf_counter()
    if len(problem.requested_features) != 1 or len(problem.requested_features[0]) != 1:
        raise OptionError("regions are found for one feature at a time; name a single one.")
    members = problem.requested_features[0]
    evaluator, grid = problem.evaluator_of(members), problem.make_grid(members)
    if 8 * len(problem.rows) * len(grid) * len(problem.selection.names) > MAX_RESULT_BYTES:
        raise LimitError(
            f"{len(problem.rows):,} rows x {len(grid)} points do not fit; pass fewer rows or a smaller grid."
        )
    checker = SpotChecker()
    values = (
        CheckedCurves(problem, evaluator, [grid], checker, kind=IndividualChecks)
        .compute_and_check(individual_curves)[0]
        .values
    )
    problem.repeat_check.check_after()
    shapes = _curve_shapes(problem, grid, values)
    all_rows = _Region(np.arange(len(problem.rows)))
    predictions = values.reshape(-1, values.shape[2])  # the prediction at each point of each row
    rounding = float((rounding_floor(predictions, np.repeat(problem.rows.weights, len(grid))) ** 2).sum())
    others = [problem.rows.feature(p) for p in range(width or problem.rows.table.width) if p != members[0]]
    search = SplitSearch(shapes, others, rounding)
    found_regions = [all_rows, *_split_region(search, all_rows, depth)]
    if len(found_regions) == 2:
        found_regions = found_regions[:1]  # nothing was split
    cost = (
        (f"{evaluator.n_predictions_made:,} predictions of single rows for all regions.",)
        if evaluator.n_predictions_made
        else ()
    )
    out: dict[CurveKey, Explanation] = {}
    for region in found_regions:
        notes = (*problem.notes, *problem.prediction_notes(members), f"Rows: {region.name}.", *search.notes, *cost)
        part, curve = _region_curve(problem, grid, values, shapes, region)
        _check_mean(problem, values[region.rows], region, curve, checker)
        out[region.name] = labelled_curve(
            part,
            evaluator,
            curve,
            notes,
            evaluator.n_predictions_made,
            time.perf_counter() - began,
            find("regions", "regional"),
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
    second_mean = np.average(values, axis=0, weights=weights)
    checker.compare(
        curve.values, second_mean, 1e-12 * (1.0 + 1e-3 * len(values)) * np.abs(values).max(axis=(0, 1)), way=SECOND_SUM,
        where=lambda at: [("region", region.name), ("position on the grid", at[0]), ("output", at[1])],
    )  # fmt: skip


def _curve_shapes(problem: EffectsProblem, grid: Grid, values: Floats) -> CurveShapes:
    share = grid_share(problem.rows, grid)
    share = share / share.sum() if share.sum() > 0 else np.full(len(grid), 1.0 / len(grid))
    centred = values - np.einsum("p,rpk->rk", share, values)[:, None]
    mean = np.einsum("r,rpk->pk", problem.rows.weights, centred)
    root = np.sqrt(share)[None, :, None]
    lines = (centred - mean) * root  # what all rows share would only cancel
    return CurveShapes(lines.reshape(len(values), -1), (mean * root).reshape(-1), problem.rows.weights)


def _split_region(search: SplitSearch, region: _Region, depth: int) -> list[_Region]:
    """Return the parts of a region, or the region itself where no split is enough."""
    if depth == 0:
        return [region]
    condition = search.single_split(region.rows)
    if condition is not None:
        return [leaf for part in region.split_by(condition) for leaf in _split_region(search, part, depth - 1)]
    condition = search.first_of_two(region.rows) if depth > 1 else None
    if condition is None:
        return [region]
    leaves = [leaf for part in region.split_by(condition) for leaf in _split_region(search, part, depth - 1)]
    return leaves if search.is_enough(region.rows, [leaf.rows for leaf in leaves]) else [region]


def _region_curve(
    problem: EffectsProblem, grid: Grid, values: Floats, shapes: CurveShapes, region: _Region
) -> tuple[EffectsProblem, Curve]:
    """The mean curve of a region with its standard error, and the problem of the region's rows alone."""
    picked = region.rows
    weights = problem.rows.weights[picked]
    region_rows = WeightedRows(problem.rows.table.rows(picked), weights / weights.sum())
    region_problem = replace(problem, rows=region_rows, kind="pdp", _evaluators={})
    region_grid = replace(
        grid,
        features=(region_rows.feature(grid.column_positions[0]),),
        point_of_row=grid.point_of_row[picked],
        is_at_point=grid.is_at_point[picked],
    )
    mean = np.einsum("r,rpk->pk", region_rows.weights, values[picked])
    moments = RunningMoments(mean.shape)
    moments.add_rows(values[picked], region_rows.weights)
    extras: dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = {
        "heterogeneity": ((), np.array(shapes.heterogeneity(picked))),
        "region_share": ((), np.array(float(weights.sum()))),
    }
    curve = Curve(region_grid, mean, moments.std_error, moments.skewness, moments.effective_count - 1.0, extras=extras)
    return region_problem, with_off_data(region_rows, [curve])[0]
