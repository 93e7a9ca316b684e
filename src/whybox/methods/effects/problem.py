"""The problem of an effect, resolved before any work: which model, rows, output, features, kind and points; and which evaluator computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, final

import numpy as np

from whybox.core.workers import thread_count
from whybox.data.table import Floats, Table
from whybox.errors import Argument, OptionError, did_you_mean
from whybox.explanation.effects import CurveKey
from whybox.kernels.value_intervals import interval_representatives
from whybox.methods.common.options import PredictionOptions
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.repeatability import RepeatCheck
from whybox.methods.common.resolved_model import resolve_model
from whybox.methods.common.rows import WeightedRows
from whybox.methods.effects.columns_read import reason_columns_mix
from whybox.methods.effects.grid import Grid, product_grid
from whybox.methods.effects.grid_points import make_grid
from whybox.methods.effects.kinds import EffectKind
from whybox.methods.effects.linear_evaluator import LinearEvaluator
from whybox.methods.effects.predict_evaluator import Evaluator, PredictEvaluator
from whybox.methods.effects.tree_evaluator import TreeEvaluator, tree_evaluator_unavailable
from whybox.methods.method_spec import MethodSpec
from whybox.methods.registry import find, load
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox
from whybox.models.linear import Linear
from whybox.models.prepare_rows import PreparedRows
from whybox.models.trees import TreeEnsemble

__all__ = ["EffectsProblem", "resolve_effects"]

DEFAULT_MAX_EVALS: Final = 10**8  # predictions of single rows in total, when the caller sets no limit
MAX_SPARSE_COLUMNS: Final = 2000  # columns of sparse rows that all have effects found unless they are named


@final
@dataclass(frozen=True, eq=False)
class EffectsProblem:
    """A resolved problem. ``requested_features`` holds the features, each one column's position or two.

    ``n_rows_checked`` is how many rows the model's own predict is evaluated on beside the curves: of a model that is read all rows, to compare our reading; of a
    black box those that give its output shape (``n_rows_probed``), and those that are evaluated several times (`repeat_check`).
    """

    model: Model
    rows: WeightedRows
    repeat_check: RepeatCheck
    selection: OutputSelection
    requested_features: tuple[tuple[int, ...], ...]
    kind: str
    requested_grid: Any
    prepared_rows: PreparedRows
    options: PredictionOptions
    agreement: float = 0.0
    n_rows_checked: int = 0
    n_rows_probed: int = 0
    _evaluators: dict[str, Evaluator] = field(default_factory=dict, repr=False)
    _single_grids: dict[tuple[int, int], Grid] = field(default_factory=dict, init=False, repr=False)
    histograms: dict[int, tuple[Floats, Floats]] = field(default_factory=dict, init=False, repr=False)

    @property
    def max_predictions(self) -> int:
        """How many predictions of single rows may be made in total."""
        return DEFAULT_MAX_EVALS if self.options.max_evals is None else self.options.max_evals

    @property
    def threads(self) -> int:
        """Threads of tree ensembles."""
        return thread_count(self.options.n_jobs)

    @property
    def spec(self) -> MethodSpec:
        """The kind of effect in the registry of methods."""
        return find("effects", self.kind, argument="kind")

    @cached_property
    def effect_kind(self) -> EffectKind:
        """What computes this kind of effect."""
        kind: EffectKind = load(self.spec.run).from_options(self.options)
        return kind

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the model and the rows."""
        return (*self.model.notes, *self.prepared_rows.remarks())

    def feature_key(self, members: Sequence[int]) -> CurveKey:
        """Return the name of a feature, or the names of two."""
        names = tuple(self.rows.table.names[p] for p in members)
        return names[0] if len(names) == 1 else names

    def evaluator_of(self, members: Sequence[int]) -> Evaluator:
        """Return the evaluator of these columns: the leaves of trees or the weights of a linear model where they suffice, else predictions."""
        kind = "predicts" if self.reason_for_predictions(members) is not None else "reading"
        if kind not in self._evaluators:
            self._evaluators[kind] = (
                self.evaluator_over(self.rows)
                if kind == "reading"
                else PredictEvaluator(
                    self.model,
                    self.rows,
                    self.selection,
                    repeat_check=self.repeat_check,
                    max_evals=self.max_predictions,
                    reserved_predictions=self.reserved_predictions,
                )
            )
        return self._evaluators[kind]

    def evaluator_over(self, rows: WeightedRows) -> Evaluator:
        """Return the evaluator that takes no predictions, over any rows."""
        if isinstance(self.model, Linear):
            return LinearEvaluator(self.model, rows, self.selection)
        assert isinstance(self.model, TreeEnsemble)  # noqa: S101  # others take predictions
        return TreeEvaluator(self.model, rows, self.selection, threads=self.threads)

    def reason_for_predictions(self, members: Sequence[int]) -> str | None:
        """Return why these columns take predictions; None where the leaves of trees or the weights of a linear model suffice."""
        if isinstance(self.model, TreeEnsemble):
            return tree_evaluator_unavailable(self.model, members)
        if isinstance(self.model, Linear):
            return reason_columns_mix(self.model, members, "its weights")
        return "the model is neither a tree ensemble nor a linear model that is read"

    @property
    def needs_predictions(self) -> bool:
        """Whether some of the features take predictions."""
        return any(self.reason_for_predictions(m) is not None for m in self.requested_features)

    @property
    def reserved_predictions(self) -> int:
        """Rows that a black box is evaluated on beside the curves."""
        return self.n_rows_checked if isinstance(self.model, BlackBox) else 0

    def make_grid(self, members: Sequence[int]) -> Grid:
        """Return the points of a feature, or of two."""
        n_points, n_points_per_side = self.effect_kind.default_points
        grids = [self._single_grid(p, n_points if len(members) == 1 else n_points_per_side) for p in members]
        return grids[0] if len(grids) == 1 else product_grid(*grids)

    def _single_grid(self, position: int, max_points: int) -> Grid:
        """The points of one feature, made once: each is a side of many surfaces."""
        key = position, max_points
        if key not in self._single_grids:
            self._single_grids[key] = self._new_grid(position, max_points)
        return self._single_grids[key]

    def _new_grid(self, position: int, max_points: int) -> Grid:
        requested = self.requested_grid
        if isinstance(requested, Mapping):
            name = self.rows.table.names[position]
            requested = requested.get(name, requested.get(position))
        if isinstance(requested, str):
            requested = self._threshold_values(position)
        return make_grid(
            self.rows.table, self.rows.feature(position), requested, self.rows.weights, max_points=max_points
        )

    def prediction_notes(self, members: Sequence[int]) -> tuple[str, ...]:
        """Return a note where a tree ensemble or a linear model takes predictions, with the reason."""
        is_read = isinstance(self.model, TreeEnsemble | Linear)
        reason = self.reason_for_predictions(members) if is_read else None
        return () if reason is None else (f"Found by predictions, because {reason}.",)

    def _threshold_values(self, position: int) -> Any:
        """Values of a numeric column between which the trees see no difference, one for each step; all values of the rows for categories."""
        name = self.rows.table.names[position]
        feature = self.rows.feature(position)
        trees, model = self.evaluator_of((position,)), self.model
        if not isinstance(trees, TreeEvaluator) or not isinstance(model, TreeEnsemble):
            reason = self.reason_for_predictions((position,)) or "a linear model has no thresholds"
            raise OptionError(
                Argument("grid", "thresholds"),
                f" of {name!r}: {reason}. Give a number of points or values.",
            )
        if feature.kind == "category":
            return None
        if position in model.inputs.encoder.learned_categories(self.rows.table) and feature.numbers is not None:
            values = np.unique(
                feature.numbers[np.isfinite(feature.numbers)]
            )  # numbers that are categories: no steps between them
            return [*values.tolist(), *([None] if feature.missing else [])]
        columns = trees.model_columns((position,))
        if (
            not model.inputs.encoder.is_elementwise
            or feature.numbers is None
            or feature.kind == "datetime"
            or len(columns) != 1
        ):
            raise OptionError(
                Argument("grid", "thresholds"),
                f" of {name!r}: its values are transformed before the trees compare them. Give a number of points or values.",
            )
        steps = interval_representatives(model, columns[0], feature.numbers)
        return [*steps[np.isfinite(steps)].tolist(), *([None] if feature.missing else [])]


def resolve_effects(
    model: Any,
    X: Any,
    features: Any,
    options: PredictionOptions,
    *,
    kind: str = "pdp",
    grid: Any = None,
    check: bool = True,
    known: float | None = None,
) -> EffectsProblem:
    """Resolve a problem, and compare our reading of the model with its own predict on these rows.

    Args:
        model, X, features, kind, grid: as for whybox.effects. options: the others.
        check: False where there is only a plan to make, and nothing is compared yet.
        known: how far our reading is from the model's own predict at most, where these rows were compared before: they are not compared again.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    find("effects", kind, argument="kind")
    resolved = resolve_model(model, X, options)
    table = resolved.rows.table
    if table.is_sparse:
        _check_width(table, features)
    requested_features = _feature_positions(table.names, features)
    _check_grid(table.names, grid)
    agreement, n_rows_checked = resolved.compare(check=check, known=known)
    return EffectsProblem(
        resolved.model,
        resolved.rows,
        resolved.repeat_check,
        resolved.selection,
        requested_features,
        kind,
        grid,
        resolved.prepared_rows,
        options,
        agreement=agreement,
        n_rows_checked=n_rows_checked,
        n_rows_probed=resolved.n_rows_probed,
    )


def _feature_positions(names: Sequence[str], features: Any) -> tuple[tuple[int, ...], ...]:
    """Positions of the columns wanted: each a single one, or two in a tuple."""
    if features is None:
        return tuple((i,) for i in range(len(names)))
    listed = [features] if isinstance(features, (str, int, np.integer, tuple)) else features
    try:
        out = [tuple(_column_position(names, f) for f in (k if isinstance(k, (tuple, list)) else (k,))) for k in listed]
    except TypeError:
        raise OptionError(
            Argument("features", features), ": give names or positions, and a tuple of two for a surface."
        ) from None
    for members in out:
        if len(members) not in (1, 2) or len(set(members)) != len(members):
            raise OptionError(Argument("features"), ": an effect is of one column, or of two different ones.")
    if not out:
        raise OptionError(Argument("features"), " is empty; leave it out for all columns.")
    return tuple(dict.fromkeys(out))


def _check_width(table: Table, features: Any) -> None:
    if features is None and table.width > MAX_SPARSE_COLUMNS:
        raise OptionError(
            f"these sparse rows have {table.width:,} columns; name the features to find effects of: ",
            Argument("features", example="[...]"),
            ".",
        )


def _column_position(names: Sequence[str], feature: Any) -> int:
    if isinstance(feature, str) and feature in names:
        return names.index(feature)
    if isinstance(feature, (int, np.integer)) and not isinstance(feature, bool) and -len(names) <= feature < len(names):
        return int(feature) % len(names)
    raise OptionError(f"there is no feature {feature!r}.{did_you_mean(feature, names)}")


def _check_grid(names: Sequence[str], grid: Any) -> None:
    if (
        grid is None
        or (isinstance(grid, str) and grid == "thresholds")
        or (isinstance(grid, (int, np.integer)) and not isinstance(grid, bool))
    ):
        return
    if not isinstance(grid, Mapping):
        raise OptionError(
            Argument("grid", grid),
            ": give a number of points or 'thresholds'; in Python also a dict from a feature to its values.",
        )
    for name, requested in grid.items():
        _column_position(names, name)
        if isinstance(requested, str) and requested != "thresholds":
            raise OptionError(
                Argument("grid"),
                f" of {name!r}: {requested!r} is not known; give values, their number, or 'thresholds'.",
            )
