"""The kinds of effects: one class each, which says how its curves are computed and what that takes.

The registry of methods names these classes; whoever runs, plans or saves an effect asks the kind and never its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, final

import numpy as np

from whybox.data.table import Floats
from whybox.explanation.curve_functions import CurveFunction, PiecewiseLinearCurve
from whybox.methods.common.options import PredictionOptions
from whybox.methods.effects.ale import accumulated_local_effects, requests_of
from whybox.methods.effects.curves import (
    Curve,
    anova_components,
    centred_curve,
    check_individual,
    check_slopes,
    curve_slopes,
    individual_curves,
    mean_by_value,
    partial_dependence,
    with_side_grids,
)
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.predict_evaluator import Evaluator
from whybox.methods.effects.spot_kinds import CentredChecks, CheckedKind, IndividualChecks, SlopeChecks
from whybox.methods.effects.spot_local import LocalEffectChecks
from whybox.methods.effects.spot_means import AnovaChecks, MeanByValueChecks, MeanChecks

__all__ = [
    "AccumulatedLocalEffects",
    "AnovaComponents",
    "CentredCurves",
    "CurveSlopes",
    "EffectKind",
    "IndividualCurves",
    "MeanByValue",
    "PartialDependence",
]


class EffectKind(ABC):
    """One kind of effect.

    Class attributes:
        default_points: points of one feature, and of each of two, where the caller names none.
        by_row: whether there is one curve a row.
        off_data: whether it says how far points are off the data.
        saves_steps: whether its curve over a tree ensemble is a step function, which can be saved with it.
        plain_mean: whether the curve alone is the mean of the model over the rows.
        samples_variance: whether large tables are sampled for its standard error; mean_cost: whether all its cost is in means over the rows.
        surface_quantity: what one number of a surface is, where it is not what the registry says of a curve.
        bytes_per_row: memory it needs beside the evaluator's.
        spot_checks: what recomputes some of its numbers; None: its evidence says "not checked". spot_checks_at: the same for values at other points, where it differs.
    """

    default_points: ClassVar[tuple[int, int]] = (100, 20)
    by_row: ClassVar[bool] = False
    off_data: ClassVar[bool] = False
    saves_steps: ClassVar[bool] = False
    plain_mean: ClassVar[bool] = False
    samples_variance: ClassVar[bool] = False
    mean_cost: ClassVar[bool] = False
    surface_quantity: ClassVar[str] = ""
    bytes_per_row: ClassVar[float] = 0.0
    spot_checks: ClassVar[CheckedKind | None] = None
    spot_checks_at: ClassVar[CheckedKind | None] = None

    @classmethod
    def from_options(cls, options: PredictionOptions) -> EffectKind:
        """Return the kind with those of its own options that it needs; here none."""
        return cls()

    @abstractmethod
    def compute_curves(self, evaluator: Evaluator, grids: list[Grid]) -> list[Curve]:
        """Compute the curves at the points of the grids."""

    def reserve_predictions(self, evaluator: Evaluator, grids: Sequence[Grid]) -> list[int]:
        """Return how many predictions each round of `compute_curves` will take, or refuse too many."""
        return evaluator.reserve_predictions(grids)

    def brute_force_predictions(self, evaluator: Evaluator, grids: Sequence[Grid]) -> int:
        """Return how many predictions it would take if each row and point were evaluated by itself."""
        return len(evaluator.rows) * sum(map(len, grids))

    def numbers_per_row(self, grids: Sequence[Grid]) -> int:
        """Return how many numbers of each row are held at a time."""
        return 0

    def units(self, units: str, feature: str) -> str:
        """Return the units of the values, given those of the prediction."""
        return units

    def grids_at(self, grid: Grid, make_first_point: Callable[[], Grid]) -> list[Grid]:
        """Return the grids that the values at other points are computed from; `make_first_point` makes the grid of the curve's own first point."""
        return [grid]

    def compute_at(self, evaluator: Evaluator, grids: list[Grid]) -> list[Curve]:
        """Compute the curves at these grids."""
        return self.compute_curves(evaluator, grids)

    def values_at(self, curves: Sequence[Curve]) -> Floats:
        """Return the values at other points, ([rows,] points, outputs), from the curves at these grids."""
        return curves[0].values

    def curve_function(self, curve: Curve, values: Floats) -> CurveFunction | None:
        """Return the curve as a function of its points, where its values say it all; None: the model is evaluated again."""
        return None


@final
class PartialDependence(EffectKind):
    """The mean over the rows with the feature set to each point."""

    off_data = saves_steps = plain_mean = samples_variance = True
    spot_checks = MeanChecks

    def compute_curves(self, evaluator: Evaluator, grids: list[Grid]) -> list[Curve]:
        """See whybox.methods.effects.curves.partial_dependence."""
        return partial_dependence(evaluator, grids)


class IndividualCurves(EffectKind):
    """Each row's own curve."""

    by_row = off_data = saves_steps = True
    spot_checks = IndividualChecks

    def compute_curves(self, evaluator: Evaluator, grids: list[Grid]) -> list[Curve]:
        """See whybox.methods.effects.curves.individual."""
        return individual_curves(evaluator, grids)

    def reserve_predictions(self, evaluator: Evaluator, grids: Sequence[Grid]) -> list[int]:
        """Refuse curves that do not fit, too."""
        for grid in grids:
            check_individual(evaluator, grid)
        return evaluator.reserve_predictions(grids)

    def numbers_per_row(self, grids: Sequence[Grid]) -> int:
        """All points."""
        return sum(map(len, grids))


@final
class CentredCurves(IndividualCurves):
    """Each row's own curve, less its first point."""

    spot_checks = CentredChecks
    spot_checks_at = IndividualChecks

    def compute_curves(self, evaluator: Evaluator, grids: list[Grid]) -> list[Curve]:
        """See whybox.methods.effects.curves.centred."""
        return [centred_curve(c) for c in individual_curves(evaluator, grids)]

    def grids_at(self, grid: Grid, make_first_point: Callable[[], Grid]) -> list[Grid]:
        """The curve's own first point, too."""
        return [grid, make_first_point()]

    def compute_at(self, evaluator: Evaluator, grids: list[Grid]) -> list[Curve]:
        """Not less the first of the other points."""
        return individual_curves(evaluator, grids)

    def values_at(self, curves: Sequence[Curve]) -> Floats:
        """Less the curve's own first point, wherever it is evaluated."""
        return np.asarray(curves[0].values - curves[1].values)


@final
class CurveSlopes(IndividualCurves):
    """The slope of each row's own curve."""

    off_data = saves_steps = False
    spot_checks = SlopeChecks

    def compute_curves(self, evaluator: Evaluator, grids: list[Grid]) -> list[Curve]:
        """See whybox.methods.effects.curves.slopes."""
        for grid in grids:
            check_slopes(grid)
        return [curve_slopes(c) for c in individual_curves(evaluator, grids)]

    def reserve_predictions(self, evaluator: Evaluator, grids: Sequence[Grid]) -> list[int]:
        """Refuse what has no slopes, too."""
        for grid in grids:
            check_slopes(grid)
        return super().reserve_predictions(evaluator, grids)

    def units(self, units: str, feature: str) -> str:
        """Per unit of the feature."""
        return f"{units} per unit of {feature}"


@final
class AccumulatedLocalEffects(EffectKind):
    """Local changes, accumulated."""

    default_points = (41, 21)
    surface_quantity = "second-order effect"
    bytes_per_row = 96.0
    spot_checks = LocalEffectChecks

    def compute_curves(self, evaluator: Evaluator, grids: list[Grid]) -> list[Curve]:
        """See whybox.methods.effects.ale."""
        return accumulated_local_effects(evaluator, grids)

    def reserve_predictions(self, evaluator: Evaluator, grids: Sequence[Grid]) -> list[int]:
        """Count the ends of each row's own interval."""
        return evaluator.reserve_predictions(requests=requests_of(evaluator.rows, grids))

    def brute_force_predictions(self, evaluator: Evaluator, grids: Sequence[Grid]) -> int:
        """Rows of categories are evaluated at their own level, once for the step up and once for the step down: the definition needs one for both."""
        total = 0
        for grid, corners in requests_of(evaluator.rows, grids):
            used = int((np.min([at for _, at in corners], axis=0) >= 0).sum())
            total += used * (1 if grid.features[0].kind == "category" else len(corners))
        return total + len(evaluator.rows) * sum(g.features[0].kind == "category" for g in grids)

    def numbers_per_row(self, grids: Sequence[Grid]) -> int:
        """Those of the largest grid."""
        return max(map(len, grids), default=1)

    def curve_function(self, curve: Curve, values: Floats) -> CurveFunction | None:
        """Straight between its edges, as it is defined."""
        return PiecewiseLinearCurve(curve.points, values)


@final
class MeanByValue(EffectKind):
    """The mean prediction of the rows that have the value."""

    default_points = (21, 11)
    spot_checks = MeanByValueChecks

    def compute_curves(self, evaluator: Evaluator, grids: list[Grid]) -> list[Curve]:
        """See whybox.methods.effects.curves.marginal."""
        return [mean_by_value(evaluator, g) for g in grids]

    def reserve_predictions(self, evaluator: Evaluator, grids: Sequence[Grid]) -> list[int]:
        """Rows as they are, once."""
        return evaluator.reserve_predictions(predictions=True)

    def brute_force_predictions(self, evaluator: Evaluator, grids: Sequence[Grid]) -> int:
        """Each row once."""
        return len(evaluator.rows)


@final
class AnovaComponents(EffectKind):
    """What a feature adds to the mean, or a pair to what its features add alone."""

    off_data = saves_steps = mean_cost = True
    spot_checks = AnovaChecks
    surface_quantity = "second-order effect"

    def compute_curves(self, evaluator: Evaluator, grids: list[Grid]) -> list[Curve]:
        """See whybox.methods.effects.curves.components."""
        return anova_components(evaluator, grids)

    def reserve_predictions(self, evaluator: Evaluator, grids: Sequence[Grid]) -> list[int]:
        """The curves, those of both features of each surface, and the mean."""
        return evaluator.reserve_predictions(with_side_grids(grids)[0], predictions=True)

    def brute_force_predictions(self, evaluator: Evaluator, grids: Sequence[Grid]) -> int:
        """The mean takes every row once more."""
        return len(evaluator.rows) * (1 + sum(map(len, with_side_grids(grids)[0])))
