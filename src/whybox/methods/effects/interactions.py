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
from whybox.explanation.explanation import Explanation, as_labels, interval_extras
from whybox.kernels import effects, interaction_strength, value_intervals
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.evidence import make_evidence
from whybox.methods.common.rows import WeightedRows
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.effects.interaction_errors import (
    PairMeans,
    SizeEstimate,
    overall_estimates,
    pair_estimates,
    rows_left_out,
)
from whybox.methods.effects.predict_evaluator import Evaluator, PredictEvaluator
from whybox.methods.effects.problem import EffectsProblem
from whybox.methods.effects.spot_checks import predictions_of_checks
from whybox.methods.effects.spot_interactions import InteractionChecks, LeafChecks, PredictionChecks
from whybox.methods.effects.tree_evaluator import TreeEvaluator
from whybox.methods.registry import find
from whybox.models.trees import TreeEnsemble
from whybox.numerics.rounding import ratio_above_rounding, rounding_floor

__all__ = ["InteractionsWork", "find_interactions", "leaves_suffice", "prepare_interactions", "sizes_from_leaves"]

MAX_PREDICTIONS: Final = 20_000_000  # predictions, where the caller sets no limit
MAX_TRUSTED_SKEWNESS: Final = 0.6  # skewness of a size from which its interval is not trusted
MAX_NAMED: Final = 3  # pairs in a note


@final
@dataclass(frozen=True, eq=False)
class InteractionSizes:
    """Sizes and H squared of pairs, (features, features, outputs): each feature against all others on the diagonal.

    ``error_tables`` of a sample: standard errors, intervals (..., 2) and skewness, by name.
    """

    sizes: Floats
    h_squared: Floats
    error_tables: Mapping[str, Floats] = field(default_factory=dict)

    @classmethod
    def from_estimates(
        cls,
        found: Mapping[tuple[int, int], tuple[SizeEstimate, SizeEstimate]],
        members: int,
        outputs: int,
        *,
        errors: bool,
    ) -> InteractionSizes:
        """Put the estimates of all pairs together."""

        def table_of(which: int, name: str) -> Floats:
            cells = [getattr(found[i, j][which], name) for i in range(members) for j in range(members)]
            return np.array(cells, dtype=np.float64).reshape(members, members, outputs)

        sizes, h_squared = table_of(0, "value"), table_of(1, "value")
        if not errors:
            return cls(sizes, h_squared)
        both = (("", 0), ("h_squared_", 1))
        return cls(
            sizes,
            h_squared,
            {f"{tag}{name}": table_of(k, name) for tag, k in both for name in ("std_error", "skewness")}
            | {
                f"{tag}interval": np.stack([table_of(k, "interval_low"), table_of(k, "interval_high")], axis=-1)
                for tag, k in both
            },
        )

    def for_members(self, members: Sequence[int], used: Sequence[int]) -> InteractionSizes:
        """Return these of the features used as those of all members; the others do not interact."""
        at = np.array([list(members).index(p) for p in used], dtype=np.int64)

        def embed_table(table: Floats) -> Floats:
            out = np.zeros((len(members), len(members), *table.shape[2:]))
            out[np.ix_(at, at)] = table
            return out

        return InteractionSizes(
            embed_table(self.sizes),
            embed_table(self.h_squared),
            {name: embed_table(e) for name, e in self.error_tables.items()},
        )

    def with_unknown_errors(self, members: Sequence[int]) -> InteractionSizes:
        """Return the same with errors NaN for some of the members, of whose interactions the rows tell nothing."""
        if not members:
            return self
        errors = {name: e.copy() for name, e in self.error_tables.items()}
        for e in errors.values():
            e[list(members)] = np.nan
            e[:, list(members)] = np.nan
        return replace(self, error_tables=errors)


@final
@dataclass(frozen=True, eq=False)
class InteractionsWork:
    """What is left to do once the way is chosen.

    Attributes:
        members: columns wanted; members_read: those of them that the model may read. evaluator: over the rows used.
        sample_size: how many rows were drawn; None: all are used. n_predictions: at most, of single rows; 0 where trees answer.
        brute_force_predictions: the same, if they did not.
        level: of intervals.
    """

    members: list[int]
    members_read: list[int]
    evaluator: Evaluator
    from_leaves: bool
    sample_size: int | None
    n_predictions: int
    level: float = 0.95
    brute_force_predictions: int = 0

    def compute_sizes(self, observer: InteractionChecks | None = None) -> InteractionSizes:
        """Compute the interactions of the columns used; `observer` sees what they are made of."""
        evaluator = self.evaluator
        if self.from_leaves and isinstance(evaluator, TreeEvaluator):
            return sizes_from_leaves(evaluator, self.members_read, observer)
        return _sizes_from_curves(
            evaluator, self.members_read, observer, level=None if self.sample_size is None else self.level
        )

    def make_checks(self, problem: EffectsProblem) -> InteractionChecks | None:
        """Return what recomputes some of it; None where the caller wants nothing recomputed."""
        if problem.options.spot_checks == 0:
            return None
        if self.from_leaves and isinstance(self.evaluator, TreeEvaluator):
            work = len(self.evaluator.rows) ** 2 * len(self.members_read) ** 2
            return LeafChecks(
                problem,
                self.evaluator,
                self.members_read,
                work,
                lambda trees, used: sizes_from_leaves(trees, used).sizes,
            )
        return PredictionChecks(
            problem, self.evaluator, self.members_read, self.brute_force_predictions, all_rows=self.sample_size is None
        )


def prepare_interactions(problem: EffectsProblem, sample: int | None, seed: int) -> InteractionsWork:
    """Choose the way: all rows, exactly, from the leaves, or predictions at every pair of rows.

    Raises:
        OptionError: fewer than two features, or a surface among them. LimitError: more predictions than allowed.
    """
    members = [m[0] for m in problem.requested_features]
    if any(len(m) != 1 for m in problem.requested_features) or len(members) < 2:
        raise OptionError("interactions are of single features, two at least; name them without tuples.")
    rows, model, used = problem.rows, problem.model, _members_read(problem, members)
    if leaves_suffice(problem, members) and isinstance(model, TreeEnsemble):
        trees = TreeEvaluator(model, rows, problem.selection, threads=problem.threads)
        return InteractionsWork(members, used, trees, True, None, 0, problem.options.level)
    drawn = sample if sample is not None and sample < np.count_nonzero(rows.weights) else None
    rows = rows if drawn is None else _sample_rows(rows, drawn, seed)
    evaluator = _make_evaluator(problem, rows, members)
    needed = _count_predictions(problem, evaluator, used)
    answered = isinstance(evaluator, PredictEvaluator)
    return InteractionsWork(
        members, used, evaluator, False, drawn, needed if answered else 0, problem.options.level, needed
    )


def leaves_suffice(problem: EffectsProblem, members: Sequence[int]) -> bool:
    """Whether the leaves of trees give all interactions of these columns exactly, without a prediction at every pair of rows."""
    trees = isinstance(problem.model, TreeEnsemble) and problem.selection.scale == "raw"
    return trees and all(problem.reason_for_predictions((p,)) is None for p in members)


def find_interactions(problem: EffectsProblem, *, sample: int | None, seed: int) -> Explanation:
    """Return the interactions of all pairs of the features wanted.

    Raises:
        OptionError: fewer than two features, or a surface among them. LimitError: more predictions than allowed.
    """
    began = time.perf_counter()
    work = prepare_interactions(problem, sample, seed)
    notes: tuple[str, ...] = problem.notes
    members, rows, kernel = work.members, work.evaluator.rows, work.evaluator.kernel
    checker = SpotChecker()
    checks = work.make_checks(problem)
    found, calls = work.compute_sizes(checks), work.evaluator.n_predictions_made
    if checks is not None:
        checks.check_sizes(found.sizes, checker)
    if work.from_leaves and sample is not None:
        notes = (*notes, f"sample={sample} was not needed: all rows are used, exactly.")
    if calls:
        notes = (*notes, f"{calls:,} predictions of single rows.")
    sample = work.sample_size
    problem.repeat_check.check_after()
    found = found.for_members(members, work.members_read)
    if sample is not None:
        names = [problem.rows.table.names[p] for p in members]
        constant = [i for i, p in enumerate(members) if _is_constant(rows, p) and not _is_constant(problem.rows, p)]
        found = found.with_unknown_errors(constant)
        about = _about_sample(sample, len(problem.rows), found, names, [names[i] for i in constant])
        notes = (*notes, *about)
    return _labelled_sizes(
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


def _members_read(problem: EffectsProblem, members: Sequence[int]) -> list[int]:
    """Those of the features that the model may read: of the others nothing is computed."""
    model = problem.model
    if not isinstance(model, TreeEnsemble):
        return list(members)
    read = {p for column in model.columns_read.tolist() for p in model.inputs.source_columns[column]}
    return [p for p in members if p in read]


def _sample_rows(rows: WeightedRows, sample: int, seed: int) -> WeightedRows:
    rng = np.random.default_rng(seed)
    able = np.flatnonzero(rows.weights > 0)
    picked = np.sort(rng.choice(able, sample, replace=False))
    w = rows.weights[picked]
    return WeightedRows(rows.table.rows(picked), w / w.sum())


def _make_evaluator(problem: EffectsProblem, rows: WeightedRows, members: Sequence[int]) -> Evaluator:
    pairs = [(p,) for p in members] + list(combinations(members, 2))
    if all(problem.reason_for_predictions(p) is None for p in pairs):
        return problem.evaluator_over(rows)
    return PredictEvaluator(problem.model, rows, problem.selection, repeat_check=problem.repeat_check)


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
    max_predictions = MAX_PREDICTIONS if problem.options.max_evals is None else problem.options.max_evals
    HybridEvaluator(
        problem.model, problem.selection, max_predictions, reserved=problem.reserved_predictions
    ).check_limit(
        needed + predictions_of_checks(problem, evaluator, needed),
        what=f"a table of interactions of {len(members)} features over {len(rows):,} rows",
        smaller=(Argument("sample", 300), " (rows drawn, with standard errors), fewer features"),
    )
    return needed


def sizes_from_leaves(
    trees: TreeEvaluator, members: Sequence[int], observer: InteractionChecks | None = None
) -> InteractionSizes:
    """All rows, exactly, from the leaves."""
    model, X, w = trees.model, trees.matrix, trees.rows.weights
    columns = {p: trees.model_columns((p,)) for p in members}
    used = [
        p for p in members if set(columns[p]) & set(model.columns_read.tolist())
    ]  # of the others nothing is computed: exactly zero
    players = []
    for p in used:
        own_columns = X[:, list(columns[p])]
        one = (
            value_intervals.interval_representatives(model, columns[p][0], own_columns[:, 0])[:, None]
            if len(columns[p]) == 1
            else own_columns
        )
        # values of the rows where they are fewer; the first rows tell of most columns that they are not, without sorting all
        start = np.unique(own_columns[: 4 * len(one)], axis=0)
        points = np.unique(own_columns, axis=0) if len(start) < len(one) else start
        players.append(effects.PlayerPoints(columns[p], points if len(points) < len(one) else one))
    count = len(trees.selection.names)
    sizes, h_squared = (np.zeros((len(members), len(members), count)) for _ in range(2))
    picks = list(trees.selection.output_positions)
    floor = rounding_floor(trees.predictions(), w, size=model.rounding_scale[picks]) ** 2
    pairs = list(combinations(range(len(used)), 2))
    at = [list(members).index(p) for p in used]
    of_pair, of_single = _kernel_observers(observer, used, pairs)
    pair_strengths = interaction_strength.pair_interactions(
        model, players, pairs, X, w, threads=trees.threads, observe=of_pair
    ) if pairs else None  # fmt: skip
    overall_strengths = interaction_strength.overall_interactions(
        model, players, X, w, threads=trees.threads, observe=of_single, raw=trees.raw_predictions
    )
    for k, (a, b) in enumerate(pairs if pair_strengths is not None else []):
        assert pair_strengths is not None  # noqa: S101  # there are pairs
        i, j = at[a], at[b]
        sizes[i, j] = sizes[j, i] = np.sqrt(pair_strengths.interaction_sums[k, picks])
        h_squared[i, j] = h_squared[j, i] = ratio_above_rounding(
            pair_strengths.interaction_sums[k, picks], pair_strengths.total_sums[k, picks], floor
        )
    for a, i in enumerate(at):
        sizes[i, i] = np.sqrt(overall_strengths.interaction_sums[a, picks])
        h_squared[i, i] = ratio_above_rounding(
            overall_strengths.interaction_sums[a, picks], overall_strengths.total_sums[a, picks], floor
        )
    return InteractionSizes(sizes, h_squared)


def _kernel_observers(
    observer: InteractionChecks | None, used: Sequence[int], pairs: Sequence[tuple[int, int]]
) -> tuple[Callable[[int, Floats, Floats, Floats], None] | None, Callable[[int, Floats, Floats], None] | None]:
    """What the kernels show an observer, by columns."""
    if observer is None:
        return None, None
    return (
        lambda k, *at_rows: observer.observe_pair((used[pairs[k][0]], used[pairs[k][1]]), *at_rows),
        lambda j, at_rows, without: observer.observe_single(used[j], at_rows, without),
    )


def _sizes_from_curves(
    evaluator: Evaluator, members: Sequence[int], observer: InteractionChecks | None = None, *, level: float | None
) -> InteractionSizes:
    """Every pair of rows evaluated; with a level, what is left without each row in turn gives errors and intervals."""
    w = evaluator.rows.weights
    predictions = evaluator.predictions()
    floor = rounding_floor(predictions, w) ** 2
    left_out = None if level is None else rows_left_out(len(w), len(members), predictions.shape[1])
    own = {p: PairMeans.from_evaluator(evaluator, (p,), left_out, observer, keep_columns=True) for p in members}
    found: dict[tuple[int, int], tuple[SizeEstimate, SizeEstimate]] = {}
    for i, p in enumerate(members):
        found[i, i] = overall_estimates(w, predictions, own[p], floor, level)
        for j in range(i):
            both = PairMeans.from_evaluator(evaluator, (members[j], p), left_out, observer)
            found[i, j] = found[j, i] = pair_estimates(w, both, own[members[j]], own[p], floor, level)
    return InteractionSizes.from_estimates(found, len(members), predictions.shape[1], errors=level is not None)


def _is_constant(rows: WeightedRows, position: int) -> bool:
    cells = rows.feature(position).cells
    return bool((cells == cells[0]).all())


def _about_sample(
    sample: int, rows: int, found: InteractionSizes, names: Sequence[str], constant: Sequence[str]
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
    skewed = np.nan_to_num(np.abs(found.error_tables["skewness"])).max(axis=-1) > MAX_TRUSTED_SKEWNESS
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


def _labelled_sizes(
    problem: EffectsProblem, members: Sequence[int], found: InteractionSizes, evidence: Evidence
) -> Explanation:
    selection = problem.selection
    names = [problem.rows.table.names[p] for p in members]
    dims: tuple[str, ...] = ("feature", "feature_2")
    dims = (*dims, "output") if selection.has_output_axis else dims

    def drop_axis(values: Floats) -> Floats:
        return np.ascontiguousarray(selection.drop_output_axis(values))

    extras: dict[str, Any] = {"h_squared": (dims, drop_axis(found.h_squared))}
    errors = found.error_tables
    if errors:
        extras["h_squared_std_error"] = (dims, drop_axis(errors["h_squared_std_error"]))
        bounds = (
            np.stack([drop_axis(end) for end in np.moveaxis(errors[f"{tag}interval"], -1, 0)], axis=-1)
            for tag in ("", "h_squared_")
        )
        extras |= interval_extras(next(bounds), dims, problem.options.level)
        extras["h_squared_interval"] = ((*dims, "bound"), next(bounds))
    return Explanation(
        kind="interaction_size",
        library=problem.rows.table.library,
        values=drop_axis(found.sizes),
        dims=dims,
        coords={"feature": as_labels(names), "feature_2": as_labels(names), "output": as_labels(selection.names)},
        base=np.asarray(selection.drop_output_axis(np.full(len(selection.names), np.nan))),
        units=selection.units,
        evidence=evidence,
        std_error=drop_axis(errors["std_error"]) if errors else None,
        players={n: (n,) for n in names},
        extras=extras,
    )
