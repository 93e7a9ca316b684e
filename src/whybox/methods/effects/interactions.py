"""Interactions of features: how far the effect of two together is from the sum of their own, at the rows themselves.

With partial dependences centred over the rows, the interaction of j and k at row i is ``I_jk = PD_jk - PD_j - PD_k``. Its size is the root of the weighted
mean of I_jk^2, in the units of the prediction; Friedman's H squared is ``sum w I_jk^2 / sum w PD_jk^2``. Overall, feature j against all others:
``f - PD_j - PD_without_j`` in place of I and f in place of PD_jk. H squared is a ratio and is large where both effects are next to nothing, so pairs are ranked
by size. Where the effect of both is no more than rounding beside the predictions, H squared is 0.

Tree ensembles on their own scale give this exactly for all rows. Any other model is evaluated on every pair of rows, which is exact too and costs up to
rows^2 predictions a pair; with ``sample`` it is done for so many rows drawn without repeats, with errors and intervals (interaction_errors.py).

References:
    Friedman and Popescu, Predictive learning via rule ensembles, Annals of Applied Statistics 2 (2008).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.explanation.evidence import Evidence
from whybox.explanation.explanation import Explanation, interval_extras, labels
from whybox.kernels import effects, interaction_strength, value_intervals
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.rows import WeightedRows
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.effects.evidence import make_evidence
from whybox.methods.effects.interaction_errors import Estimate, PairMeans, overall, rows_left_out, together
from whybox.methods.effects.predict_evaluator import Evaluator, PredictEvaluator
from whybox.methods.effects.problem import EffectsProblem
from whybox.methods.effects.spot_checks import predictions_of_checks
from whybox.methods.effects.spot_interactions import InteractionChecks, LeafChecks, PredictionChecks
from whybox.methods.effects.tree_evaluator import TreeEvaluator
from whybox.methods.registry import find
from whybox.models.trees import TreeEnsemble
from whybox.numerics.rounding import ratio_above_rounding, rounding_floor

__all__ = ["InteractionsWork", "interactions", "leaves_suffice", "of_trees", "prepared"]

MAX_PREDICTIONS: Final = 20_000_000  # predictions, where the caller sets no limit
SKEWED: Final = 0.6  # skewness of a size from which its interval is not trusted
MAX_NAMED: Final = 3  # pairs in a note


@final
@dataclass(frozen=True, eq=False)
class Sizes:
    """Sizes and H squared of pairs, (features, features, outputs): each feature against all others on the diagonal.

    ``errors`` of a sample: standard errors, intervals (..., 2) and skewness, by name.
    """

    size: Floats
    ratio: Floats
    errors: Mapping[str, Floats] = field(default_factory=dict)

    @classmethod
    def of(
        cls, found: Mapping[tuple[int, int], tuple[Estimate, Estimate]], members: int, outputs: int, *, errors: bool
    ) -> Sizes:
        """Put the estimates of all pairs together."""

        def table(which: int, name: str) -> Floats:
            cells = [getattr(found[i, j][which], name) for i in range(members) for j in range(members)]
            return np.array(cells, dtype=np.float64).reshape(members, members, outputs)

        size, ratio = table(0, "value"), table(1, "value")
        if not errors:
            return cls(size, ratio)
        both = (("", 0), ("h_squared_", 1))
        return cls(
            size,
            ratio,
            {f"{tag}{name}": table(k, name) for tag, k in both for name in ("std_error", "skewness")}
            | {f"{tag}interval": np.stack([table(k, "low"), table(k, "high")], axis=-1) for tag, k in both},
        )

    def among(self, members: Sequence[int], used: Sequence[int]) -> Sizes:
        """Return these of the features used as those of all members; the others do not interact."""
        at = np.array([list(members).index(p) for p in used], dtype=np.int64)

        def put(table: Floats) -> Floats:
            out = np.zeros((len(members), len(members), *table.shape[2:]))
            out[np.ix_(at, at)] = table
            return out

        return Sizes(put(self.size), put(self.ratio), {name: put(e) for name, e in self.errors.items()})

    def unknown(self, members: Sequence[int]) -> Sizes:
        """Return the same with errors NaN for some of the members, of whose interactions the rows tell nothing."""
        if not members:
            return self
        errors = {name: e.copy() for name, e in self.errors.items()}
        for e in errors.values():
            e[list(members)] = np.nan
            e[:, list(members)] = np.nan
        return replace(self, errors=errors)


@final
@dataclass(frozen=True, eq=False)
class InteractionsWork:
    """What is left to do once the way is chosen.

    Attributes:
        members: columns wanted; used: those of them that the model may read. evaluator: over the rows used.
        sample: how many rows were drawn; None: all are used. predictions: at most, of single rows; 0 where trees answer. work: the same, if they did not.
        level: of intervals.
    """

    members: list[int]
    used: list[int]
    evaluator: Evaluator
    from_leaves: bool
    sample: int | None
    predictions: int
    level: float = 0.95
    work: int = 0

    def sizes(self, observer: InteractionChecks | None = None) -> Sizes:
        """Compute the interactions of the columns used; `observer` sees what they are made of."""
        evaluator = self.evaluator
        if self.from_leaves and isinstance(evaluator, TreeEvaluator):
            return of_trees(evaluator, self.used, observer)
        return _of_curves(evaluator, self.used, observer, level=None if self.sample is None else self.level)

    def checks(self, problem: EffectsProblem) -> InteractionChecks | None:
        """Return what recomputes some of it; None where the caller wants nothing recomputed."""
        if problem.options.spot_checks == 0:
            return None
        if self.from_leaves and isinstance(self.evaluator, TreeEvaluator):
            work = len(self.evaluator.rows) ** 2 * len(self.used) ** 2
            return LeafChecks(problem, self.evaluator, self.used, work, lambda trees, used: of_trees(trees, used).size)
        return PredictionChecks(problem, self.evaluator, self.used, self.work, all_rows=self.sample is None)


def prepared(problem: EffectsProblem, sample: int | None, seed: int) -> InteractionsWork:
    """Choose the way: all rows, exactly, from the leaves, or predictions at every pair of rows.

    Raises:
        OptionError: fewer than two features, or a surface among them. LimitError: more predictions than allowed.
    """
    members = [m[0] for m in problem.requested_features]
    if any(len(m) != 1 for m in problem.requested_features) or len(members) < 2:
        raise OptionError("interactions are of single features, two at least; name them without tuples.")
    rows, model, used = problem.rows, problem.model, _read(problem, members)
    if leaves_suffice(problem, members) and isinstance(model, TreeEnsemble):
        trees = TreeEvaluator(model, rows, problem.selection, threads=problem.threads)
        return InteractionsWork(members, used, trees, True, None, 0, problem.options.level)
    drawn = sample if sample is not None and sample < np.count_nonzero(rows.weights) else None
    rows = rows if drawn is None else _sampled(rows, drawn, seed)
    evaluator = _evaluator(problem, rows, members)
    needed = _count_predictions(problem, evaluator, used)
    answered = isinstance(evaluator, PredictEvaluator)
    return InteractionsWork(
        members, used, evaluator, False, drawn, needed if answered else 0, problem.options.level, needed
    )


def leaves_suffice(problem: EffectsProblem, members: Sequence[int]) -> bool:
    """Whether the leaves of trees give all interactions of these columns exactly, without a prediction at every pair of rows."""
    trees = isinstance(problem.model, TreeEnsemble) and problem.selection.scale == "raw"
    return trees and all(problem.reason_for_predictions((p,)) is None for p in members)


def interactions(problem: EffectsProblem, *, sample: int | None, seed: int) -> Explanation:
    """Return the interactions of all pairs of the features wanted.

    Raises:
        OptionError: fewer than two features, or a surface among them. LimitError: more predictions than allowed.
    """
    began = time.perf_counter()
    work = prepared(problem, sample, seed)
    notes: tuple[str, ...] = problem.notes
    members, rows, kernel = work.members, work.evaluator.rows, work.evaluator.kernel
    checker = SpotChecker()
    checks = work.checks(problem)
    found, calls = work.sizes(checks), work.evaluator.n_predictions_made
    if checks is not None:
        checks.check(found.size, checker)
    if work.from_leaves and sample is not None:
        notes = (*notes, f"sample={sample} was not needed: all rows are used, exactly.")
    if calls:
        notes = (*notes, f"{calls:,} predictions of single rows.")
    sample = work.sample
    problem.repeat_check.check_after()
    found = found.among(members, work.used)
    if sample is not None:
        names = [problem.rows.table.names[p] for p in members]
        constant = [i for i, p in enumerate(members) if _is_constant(rows, p) and not _is_constant(problem.rows, p)]
        found = found.unknown(constant)
        about = _about_sample(sample, len(problem.rows), found, names, [names[i] for i in constant])
        notes = (*notes, *about)
    return _labelled(
        problem,
        members,
        found,
        make_evidence(
            problem,
            rows,
            spec=find("interactions", "friedman_h"),
            kernel=kernel,
            exact=sample is None,
            calls=calls,
            notes=notes,
            seed=seed,
            seconds=time.perf_counter() - began,
            spot_checks=checker.result,
        ),
    )


def _read(problem: EffectsProblem, members: Sequence[int]) -> list[int]:
    """Those of the features that the model may read: of the others nothing is computed."""
    model = problem.model
    if not isinstance(model, TreeEnsemble):
        return list(members)
    read = {p for column in model.columns_read.tolist() for p in model.inputs.sources[column]}
    return [p for p in members if p in read]


def _sampled(rows: WeightedRows, sample: int, seed: int) -> WeightedRows:
    rng = np.random.default_rng(seed)
    able = np.flatnonzero(rows.weights > 0)
    picked = np.sort(rng.choice(able, sample, replace=False))
    w = rows.weights[picked]
    return WeightedRows(rows.table.rows(picked), w / w.sum())


def _evaluator(problem: EffectsProblem, rows: WeightedRows, members: Sequence[int]) -> Evaluator:
    model = problem.model
    pairs = [(p,) for p in members] + list(combinations(members, 2))
    if isinstance(model, TreeEnsemble) and all(problem.reason_for_predictions(p) is None for p in pairs):
        return TreeEvaluator(model, rows, problem.selection, threads=problem.threads)
    return PredictEvaluator(model, rows, problem.selection, repeat_check=problem.repeat_check)


def _count_predictions(problem: EffectsProblem, evaluator: Evaluator, members: Sequence[int]) -> int:
    """Return how many predictions are needed at most; curves from the leaves of trees count alike.

    Raises:
        LimitError: more than allowed.
    """
    needed, rows = 0, evaluator.rows
    for m in [(p,) for p in members] + list(combinations(members, 2)):
        others = [p for p in range(rows.table.width) if p not in m]
        needed += len(np.unique(rows.codes[:, list(m)], axis=0)) * (
            len(np.unique(rows.codes[:, others], axis=0)) if others else 1
        )
    most = MAX_PREDICTIONS if problem.options.max_evals is None else problem.options.max_evals
    HybridEvaluator(problem.model, problem.selection, most, reserved=problem.reserved_predictions).check_limit(
        needed + predictions_of_checks(problem, evaluator, needed),
        what=f"a table of interactions of {len(members)} features over {len(rows):,} rows",
        smaller=(Argument("sample", 300), " (rows drawn, with standard errors), fewer features"),
    )
    return needed


def of_trees(trees: TreeEvaluator, members: Sequence[int], observer: InteractionChecks | None = None) -> Sizes:
    """All rows, exactly, from the leaves."""
    model, X, w = trees.model, trees.matrix, trees.rows.weights
    columns = {p: trees.model_columns((p,)) for p in members}
    used = [
        p for p in members if set(columns[p]) & set(model.columns_read.tolist())
    ]  # of the others nothing is computed: exactly zero
    levels = []
    for p in used:
        own = X[:, list(columns[p])]
        one = (
            value_intervals.interval_representatives(model, columns[p][0], own[:, 0])[:, None]
            if len(columns[p]) == 1
            else own
        )
        points = np.unique(own, axis=0)
        levels.append(effects.PlayerPoints(columns[p], points if len(points) < len(one) else one))
    count = len(trees.selection.names)
    size, ratio = (np.zeros((len(members), len(members), count)) for _ in range(2))
    picks = list(trees.selection.picks)
    least = rounding_floor(trees.predictions(), w, size=model.rounding_scale[picks]) ** 2
    pairs = list(combinations(range(len(used)), 2))
    at = [list(members).index(p) for p in used]
    of_pair, of_single = _observers(observer, used, pairs)
    together = interaction_strength.pair_interactions(
        model, levels, pairs, X, w, threads=trees.threads, observe=of_pair
    ) if pairs else None  # fmt: skip
    alone = interaction_strength.overall_interactions(model, levels, X, w, threads=trees.threads, observe=of_single)
    for k, (a, b) in enumerate(pairs if together is not None else []):
        assert together is not None  # noqa: S101  # there are pairs
        i, j = at[a], at[b]
        size[i, j] = size[j, i] = np.sqrt(together.interaction[k, picks])
        ratio[i, j] = ratio[j, i] = ratio_above_rounding(
            together.interaction[k, picks], together.whole[k, picks], least
        )
    for a, i in enumerate(at):
        size[i, i] = np.sqrt(alone.interaction[a, picks])
        ratio[i, i] = ratio_above_rounding(alone.interaction[a, picks], alone.whole[a, picks], least)
    return Sizes(size, ratio)


def _observers(
    observer: InteractionChecks | None, used: Sequence[int], pairs: Sequence[tuple[int, int]]
) -> tuple[Callable[[int, Floats, Floats, Floats], None] | None, Callable[[int, Floats, Floats], None] | None]:
    """What the kernels show an observer, by columns."""
    if observer is None:
        return None, None
    return (
        lambda k, *at_rows: observer.see_pair((used[pairs[k][0]], used[pairs[k][1]]), *at_rows),
        lambda j, at_rows, without: observer.see_single(used[j], at_rows, without),
    )


def _of_curves(
    evaluator: Evaluator, members: Sequence[int], observer: InteractionChecks | None = None, *, level: float | None
) -> Sizes:
    """Every pair of rows evaluated; with a level, what is left without each row in turn gives errors and intervals."""
    w = evaluator.rows.weights
    predictions = evaluator.predictions()
    least = rounding_floor(predictions, w) ** 2
    left_out = None if level is None else rows_left_out(len(w), len(members), predictions.shape[1])
    own = {p: PairMeans.of(evaluator, (p,), left_out, observer, columns=True) for p in members}
    found: dict[tuple[int, int], tuple[Estimate, Estimate]] = {}
    for i, p in enumerate(members):
        found[i, i] = overall(w, predictions, own[p], least, level)
        for j in range(i):
            both = PairMeans.of(evaluator, (members[j], p), left_out, observer)
            found[i, j] = found[j, i] = together(w, both, own[members[j]], own[p], least, level)
    return Sizes.of(found, len(members), predictions.shape[1], errors=level is not None)


def _is_constant(rows: WeightedRows, position: int) -> bool:
    cells = rows.feature(position).cells
    return bool((cells == cells[0]).all())


def _about_sample(
    sample: int, rows: int, found: Sizes, names: Sequence[str], constant: Sequence[str]
) -> tuple[str, ...]:
    """What to say of a sample of rows, and of interactions that few of them make up."""
    drawn = (
        f"Of {sample:,} rows drawn from {rows:,}; sizes are corrected for the bias of few rows, errors and intervals come from leaving out each row "
        "in turn."
    )
    notes: tuple[str, ...] = (drawn,)
    if constant:
        notes = (
            *notes,
            f"In the sample {', '.join(constant)} has one value only, so nothing is known of its interactions. Draw more rows.",
        )
    skewed = np.nan_to_num(np.abs(found.errors["skewness"])).max(axis=-1) > SKEWED
    pairs = [f"{names[i]} x {names[j]}" for i, j in np.argwhere(np.tril(skewed, -1)).tolist()]
    alone = [f"{names[i]} with all others" for i in np.flatnonzero(np.diag(skewed)).tolist()]
    if not (few := [*pairs, *alone]):
        return notes
    more = f" and {len(few) - MAX_NAMED} more" if len(few) > MAX_NAMED else ""
    warning = (
        f"A few rows make up most of {', '.join(few[:MAX_NAMED])}{more}: rows like them may be missing from the sample, so these intervals, and those "
        "of H squared above all, may cover less often than they say. Draw more rows."
    )
    return (*notes, warning)


def _labelled(problem: EffectsProblem, members: Sequence[int], found: Sizes, made: Evidence) -> Explanation:
    selection = problem.selection
    names = [problem.rows.table.names[p] for p in members]
    dims: tuple[str, ...] = ("feature", "feature_2")
    dims = (*dims, "output") if selection.axis else dims

    def put(values: Floats) -> Floats:
        return np.ascontiguousarray(selection.drop(values))

    extras: dict[str, Any] = {"h_squared": (dims, put(found.ratio))}
    errors = found.errors
    if errors:
        extras["h_squared_std_error"] = (dims, put(errors["h_squared_std_error"]))
        bounds = (
            np.stack([put(end) for end in np.moveaxis(errors[f"{tag}interval"], -1, 0)], axis=-1)
            for tag in ("", "h_squared_")
        )
        extras |= interval_extras(next(bounds), dims, problem.options.level)
        extras["h_squared_interval"] = ((*dims, "bound"), next(bounds))
    return Explanation(
        kind="interaction_size",
        values=put(found.size),
        dims=dims,
        coords={"feature": labels(names), "feature_2": labels(names), "output": labels(selection.names)},
        base=np.asarray(selection.drop(np.full(len(selection.names), np.nan))),
        units=selection.units,
        evidence=made,
        std_error=put(errors["std_error"]) if errors else None,
        players={n: (n,) for n in names},
        extras=extras,
    )
