"""Rows split where a feature acts differently."""

from __future__ import annotations

from functools import partial
from typing import Any

from whybox.api.texts_or_tables import refuse_texts
from whybox.explanation.effects import Effects
from whybox.methods.common.offset_column import with_offset_columns
from whybox.methods.common.options import refuses_unknown_options
from whybox.methods.common.plan import Plan
from whybox.methods.common.row_offsets import rows_and_offset
from whybox.methods.effects.options import RegionsOptions
from whybox.methods.effects.plan import plan_regions as plan_problem
from whybox.methods.effects.problem import EffectsProblem, resolve_effects
from whybox.methods.effects.regions import GRID_POINTS, find_regions

__all__ = ["plan_regions", "regions"]

_refuses_options_of_others = partial(refuses_unknown_options, options_class=RegionsOptions)


@_refuses_options_of_others
def regions(  # noqa: PLR0913  # the promise of the public surface
    model: Any,
    X: Any,
    feature: Any,
    *,
    offset: Any = None,
    depth: int = 2,
    grid: Any = None,
    output: Any = None,
    scale: str | None = None,
    sample_weight: Any = None,
    response_method: str | None = None,
    max_evals: int | None = None,
    n_jobs: int | None = None,
    level: float = 0.95,
    spot_checks: int | None = None,
) -> Effects:
    """Split the rows where a feature acts differently, and show its effect in each part.

    Args:
        model, X, output, scale, sample_weight, response_method, max_evals, n_jobs, level, spot_checks: as for :func:`effects`.
        feature: one name or position.
        offset: what is added to the raw outputs of each row, which keeps it, as for :func:`effects`; rows are not split by it.
        depth: how many splits a region may be deep, 1 to 4.
        grid: as for :func:`effects`; None: 30 points.

    Returns:
        Effects keyed by conditions on other features: ``"all rows"`` first, then each region, if a split is found. A split is one that takes a quarter off the
        squared distances of the individual curves from their mean, and either three fifths, or a quarter of the spread of the curves themselves; the search is repeated
        on either half of the rows, and the other half must confirm it. With ``depth`` 2 or more, two splits that are enough only together are found too.
        Each effect is partial dependence over the rows that meet the conditions; ``extras["heterogeneity"]`` is how far their individual curves still are from
        it (root mean square, less their levels), and ``extras["region_share"]`` the region's share of the rows.

    Raises:
        OptionError: more than one feature, or a depth that cannot be. Others as :func:`effects`.

    Examples:
        >>> import numpy as np
        >>> import whybox as wb
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> parts = wb.regions(lambda rows: rows[:, 0] * np.where(rows[:, 1] > 0, 1.0, -1.0), X, 0, depth=1)
        >>> len(parts)
        3
    """
    options = RegionsOptions(
        depth=depth,
        grid=grid,
        output=output,
        scale=scale,
        sample_weight=sample_weight,
        response_method=response_method,
        max_evals=max_evals,
        n_jobs=n_jobs,
        level=level,
        spot_checks=spot_checks,
    )
    problem, width = _make_problem(model, X, feature, options, offset)
    return find_regions(problem, depth=options.depth, width=width)


def _make_problem(
    model: Any, X: Any, feature: Any, options: RegionsOptions, offset: Any, *, check: bool = True
) -> tuple[EffectsProblem, int | None]:
    """The problem, and how many of its columns are features; None: all."""
    refuse_texts(model, X, "wb.regions")
    points = GRID_POINTS if options.grid is None else options.grid
    rows, offset = rows_and_offset(X, offset)
    width = None
    if offset is not None:
        model, rows, names = with_offset_columns(model, rows, offset, options)
        width = len(names)
    return resolve_effects(model, rows, [feature], options, grid=points, check=check), width


def plan_regions(model: Any, X: Any, feature: Any, *, offset: Any = None, **options: Any) -> Plan:
    """Plan :func:`regions`: how many predictions, and how long, about."""
    return plan_problem(_make_problem(model, X, feature, RegionsOptions(**options), offset, check=False)[0])
