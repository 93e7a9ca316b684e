"""A question about effects, settled before any work is done: which model, rows, output, features and kind; and who answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from whybox.background.marginal import shares
from whybox.core.validation import check_jobs
from whybox.data.cells import snapshot_table
from whybox.data.table import Table, as_table
from whybox.errors import InputError, OptionError, UnknownFieldError, UnsupportedModelError, did_you_mean
from whybox.explanation.effects import Key
from whybox.kernels.compiled_trees import threads_available
from whybox.kernels.effects import representatives
from whybox.kernels.predict import agreement
from whybox.methods.common.output import OutputSelection, resolve_output
from whybox.methods.effects.grid import Grid, product
from whybox.methods.effects.kinds import EffectKind
from whybox.methods.effects.points import make_grid
from whybox.methods.effects.predict_evaluator import Evaluator, PredictEvaluator, Rows, caller
from whybox.methods.effects.repeatability import Repeats
from whybox.methods.effects.tree_evaluator import TreeEvaluator, tree_evaluator_unavailable
from whybox.methods.method_spec import MethodSpec
from whybox.methods.registry import find, load
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox, as_black_box
from whybox.models.columns_read import narrowed
from whybox.models.receive import Received, receive
from whybox.models.registry import as_model, learnt_categories, raw_scores
from whybox.models.trees import TreeEnsemble

__all__ = ["EffectsProblem", "check_kind", "readable", "settle", "weighted_rows"]

ROWS_VERIFIED: Final = 65536
MOST_SPARSE: Final = 2000  # columns of sparse rows that all have effects found unless they are named


@final
@dataclass(frozen=True, eq=False)
class EffectsProblem:
    """Everything settled. ``wanted`` holds the features asked about, each one column's position or two.

    ``checked`` is how many rows the model's own predict is asked about beside the curves: all, to compare our reading; of a model that is only asked,
    those that show what comes out (``shown``), and those that are asked about several times (`repeats`).
    """

    model: Model
    rows: Rows
    repeats: Repeats
    target: OutputSelection
    wanted: tuple[tuple[int, ...], ...]
    kind: str
    grid: Any
    received: Received
    max_evals: int | None = None
    agreement: float = 0.0
    checked: int = 0
    shown: int = 0
    threads: int = 1
    _engines: dict[str, Evaluator] = field(default_factory=dict, repr=False)

    @property
    def spec(self) -> MethodSpec:
        """The kind of effect in the registry of methods."""
        return find("effects", self.kind, argument="kind")

    @cached_property
    def effect_kind(self) -> EffectKind:
        """What computes this kind of effect."""
        made: EffectKind = load(self.spec.run)()
        return made

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the model and the rows."""
        return (*self.model.notes, *self.received.about())

    def name(self, members: Sequence[int]) -> Key:
        """Return the name of a feature, or the names of two."""
        names = tuple(self.rows.table.names[p] for p in members)
        return names[0] if len(names) == 1 else names

    def evaluator(self, members: Sequence[int]) -> Evaluator:
        """Return who answers about these columns: the trees themselves where they can, else predictions."""
        kind = "predicts" if self.reason(members) is not None else "trees"
        if kind not in self._engines:
            model = self.model
            self._engines[kind] = (
                TreeEvaluator(model, self.rows, self.target, threads=self.threads)
                if kind == "trees" and isinstance(model, TreeEnsemble)
                else PredictEvaluator(
                    model, self.rows, self.target, repeats=self.repeats, most=self.max_evals, before=self.probed
                )
            )
        return self._engines[kind]

    def reason(self, members: Sequence[int]) -> str | None:
        """Say why the model is asked for predictions about these columns; None where its trees answer."""
        if isinstance(self.model, TreeEnsemble):
            return tree_evaluator_unavailable(self.model, members)
        return "the model is no tree ensemble that is read"

    @property
    def asks(self) -> bool:
        """Whether some of the features take predictions."""
        return any(self.reason(m) is not None for m in self.wanted)

    @property
    def probed(self) -> int:
        """Rows that a model that is only asked is asked about beside the curves."""
        return self.checked if isinstance(self.model, BlackBox) else 0

    def make(self, members: Sequence[int]) -> Grid:
        """Return the points of a feature, or of two."""
        one, each = self.effect_kind.default_points
        made = [self._single(p, one if len(members) == 1 else each) for p in members]
        return made[0] if len(made) == 1 else product(*made)

    def _single(self, position: int, most: int) -> Grid:
        wanted = self.grid
        if isinstance(wanted, Mapping):
            name = self.rows.table.names[position]
            wanted = wanted.get(name, wanted.get(position))
        if isinstance(wanted, str):
            wanted = self._thresholds(position)
        return make_grid(self.rows.table, self.rows.feature(position), wanted, self.rows.weights, most=most)

    def apart(self, members: Sequence[int]) -> tuple[str, ...]:
        """Return a note where a tree ensemble is asked for predictions, with the reason."""
        why = self.reason(members) if isinstance(self.model, TreeEnsemble) else None
        return () if why is None else (f"Found by predictions, because {why}.",)

    def _thresholds(self, position: int) -> Any:
        """Values of a numeric column between which the trees see no difference, one for each step; None (all of them) for categories."""
        name = self.rows.table.names[position]
        feature = self.rows.feature(position)
        trees, model = self.evaluator((position,)), self.model
        if not isinstance(trees, TreeEvaluator) or not isinstance(model, TreeEnsemble):
            raise OptionError(
                f"grid='thresholds' of {name!r}: {self.reason((position,))}. Give a number of points or values."
            )
        if feature.kind == "category":
            return None
        columns = trees.columns((position,))
        if (
            not model.inputs.encoder.elementwise
            or feature.numbers is None
            or feature.kind == "datetime"
            or len(columns) != 1
        ):
            raise OptionError(
                f"grid='thresholds' of {name!r}: its values are transformed before the trees compare them. Give a number of points or values."
            )
        steps = representatives(model, columns[0], feature.numbers)
        return [*steps[np.isfinite(steps)].tolist(), *([None] if feature.missing else [])]


def check_kind(kind: Any) -> str:
    """Refuse what is not a kind of effect.

    Raises:
        OptionError: unknown kind.
    """
    return find("effects", kind, argument="kind").id


def readable(model: Any, rows: Table, response_method: str | None = None, scale: Any = None) -> Model:
    """Return the model as we read it, or as what can only be asked: functions, and estimators that we do not read.

    An estimator of a kind that is read on its additive scale is asked on that scale too, unless `scale` asks for another: one that
    cannot be read must not move from log-odds to probabilities.

    Raises:
        ModelError: a file we cannot read, or a model that is not what it seems. InputError: it refuses the rows.
    """
    if isinstance(model, Model):
        if response_method is not None:
            raise OptionError(
                "response_method names a method of an estimator; this model is adapted already. Use scale=."
            )
        return model
    if response_method is not None or (callable(model) and not hasattr(model, "predict")):
        return as_black_box(model, rows, response_method=response_method, learnt=learnt_categories)
    if isinstance(model, (str, Path)):
        return as_model(model)
    try:
        return as_model(model)
    except (UnsupportedModelError, UnknownFieldError) as reason:
        if not hasattr(model, "predict") and not hasattr(model, "predict_proba"):
            raise
        scores = None if isinstance(scale, str) and scale in ("probability", "response") else raw_scores(model)
        through = "its own predict" if scores is None else scores.what
        note = f"Asked through {through}, because it is not read: {reason}"
        return as_black_box(model, rows, notes=(note,), scores=scores, learnt=learnt_categories)


def weighted_rows(table: Table, sample_weight: Any) -> Rows:
    """Return the rows with their shares.

    Raises:
        InputError: sample weights that are negative, not finite, all zero, or not one a row.
    """
    if isinstance(sample_weight, str):
        raise InputError("sample_weight must be numbers, one a row; pass the column itself, not its name.")
    return Rows(table, shares(sample_weight, len(table), "sample_weight", "row"))


def settle(  # noqa: PLR0913  # the options there are
    model: Any,
    X: Any,
    features: Any,
    *,
    kind: str,
    grid: Any,
    output: Any,
    scale: Any = None,
    sample_weight: Any,
    response_method: str | None,
    max_evals: int | None,
    n_jobs: int | None = None,
    check: bool = True,
    known: float | None = None,
) -> EffectsProblem:
    """Settle a question, holding our reading of the model against its own predict on these rows.

    Args:
        model, X, features, kind, grid, output, scale, sample_weight, response_method, max_evals, n_jobs: as for whybox.effects.
        check: False where there is only a plan to make, and nothing is compared yet.
        known: how far our reading is from the model's own predict at most, where these rows were compared before: the model is not asked again.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    check_kind(kind)
    if max_evals is not None and not (isinstance(max_evals, (int, np.integer)) and max_evals > 0):
        raise OptionError(f"max_evals={max_evals!r} must be a positive whole number.")
    threads = check_jobs(n_jobs) or threads_available()
    given = as_table(X)
    adapted = readable(model, given, response_method, scale)
    received = receive(adapted, given)
    table = snapshot_table(received.table)
    if table.is_sparse:
        _check_width(table, features)
        adapted = narrowed(adapted)
    if not isinstance(adapted, BlackBox):
        adapted.inputs.confirm(table)
    rows = weighted_rows(table, sample_weight)
    target = resolve_output(adapted.outputs, output, scale)
    wanted = _features(table.names, features)
    _check_grid(table.names, grid)
    agreement, calls = _agreement(adapted, table, check=check, known=known)
    box = isinstance(adapted, BlackBox)
    repeats = Repeats(caller(adapted, target), table, asked=box)
    shown_rows = adapted.probed if isinstance(adapted, BlackBox) and adapted is not model else 0
    calls = shown_rows + repeats.count if box else calls
    return EffectsProblem(
        adapted, rows, repeats, target, wanted, kind, grid, received, max_evals, agreement, calls, shown_rows, threads
    )


def _features(names: Sequence[str], features: Any) -> tuple[tuple[int, ...], ...]:
    """Positions of the columns asked about: each a single one, or two in a tuple."""
    if features is None:
        return tuple((i,) for i in range(len(names)))
    listed = [features] if isinstance(features, (str, int, np.integer, tuple)) else features
    try:
        out = [tuple(_position(names, f) for f in (k if isinstance(k, (tuple, list)) else (k,))) for k in listed]
    except TypeError:
        raise OptionError(
            f"features={features!r}: give names or positions, and a tuple of two for a surface."
        ) from None
    for members in out:
        if len(members) not in (1, 2) or len(set(members)) != len(members):
            raise OptionError("features: an effect is of one column, or of two different ones in a tuple.")
    if not out:
        raise OptionError("features is empty; leave it out for all columns.")
    return tuple(dict.fromkeys(out))


def _check_width(table: Table, features: Any) -> None:
    if features is None and table.width > MOST_SPARSE:
        raise OptionError(
            f"these sparse rows have {table.width:,} columns; name the features to find effects of: features=[...]."
        )


def _position(names: Sequence[str], feature: Any) -> int:
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
            f"grid={grid!r}: give a number of points, 'thresholds', or a dict from a feature to its values (or one of these)."
        )
    for name, wanted in grid.items():
        _position(names, name)
        if isinstance(wanted, str) and wanted != "thresholds":
            raise OptionError(f"grid of {name!r}: {wanted!r} is not known; give values, their number, or 'thresholds'.")


def _agreement(model: Model, table: Table, *, check: bool, known: float | None) -> tuple[float, int]:
    """Hold our reading of the rows against the model's own predict; return the largest difference and how many rows that asks about."""
    if model.own is None or isinstance(model, BlackBox):
        return 0.0, 0
    if not check or known is not None:
        return float("nan") if known is None else known, len(table)
    worst = 0.0
    for start, block in table.blocks(ROWS_VERIFIED):
        X = model.inputs.block(block, start)
        worst = max(worst, agreement(model, block, X, rows="these rows", row="row"))
    return worst, len(table)
