"""Unbiased impurity importance of forests: what splits that were found on a tree's bootstrap sample gain on the rows that the sample left out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, InputError
from whybox.explanation.explanation import Explanation, as_labels
from whybox.games.players import Players
from whybox.methods.common.evidence import make_evidence
from whybox.methods.common.plan import MethodPlan, Plan
from whybox.methods.common.resolved_model import resolve_model
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.importance.loss_problem import training_rows
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.importance.row_errors import errors_over_rows
from whybox.methods.importance.rows_problem import ModelRows, compared_rows
from whybox.models.losses import class_labels, true_classes, true_numbers

if TYPE_CHECKING:
    from whybox.adapters.sklearn.bagging import BaggedTree

__all__ = ["plan_unbiased_impurity", "unbiased_impurity"]

KERNEL: Final = "out-of-bag rows of every tree"
NOTE: Final = (
    "Measured on rows of training that a tree did not see. The error is that of the rows as a sample, training included; "
    "of features without influence it is on the large side."
)
ROUNDING: Final = 1e-8  # relative: of means of the truth at nodes, in two orders


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class ForestProblem(ModelRows):
    """A forest, its rows of training and their truth.

    Attributes:
        forest: the estimator. truth: (rows, outputs), numbers, or for each class whether it is the row's own.
    """

    forest: Any
    truth: Floats


def unbiased_impurity(problem: ImportanceProblem) -> Explanation:
    """Return how much the impurity of out-of-bag rows decreases by the splits on each player's columns.

    A split was chosen because it separates the truths of the tree's bootstrap sample, so that its gain there is too large, and most for features with many values.
    Here a split at node t sends row i that was not in the sample to the child c, and gains ``(m_c - m_t) (y_i - m'_t)``, with m the means of the sample and m'_t that
    of the node's other out-of-bag rows. Its mean over rows, summed over nodes and averaged over trees, is the mean decrease in impurity where both samples are equal,
    and zero on the average where the truth does not depend on the feature, given the node. Truths of classes are indicators, which gives Gini's impurity, whatever
    the criterion of the forest was. A node with one out-of-bag row counts zero.

    The standard error takes the rows as a sample. A row counts twice, in training and when it is left out, so that its influence is twice its mean gain over the
    trees that left it out; what another random seed would change, ``extras["monte_carlo_error"]``, is added.

    Args:
        problem: a forest of scikit-learn with bootstrap samples, and ``train``: its rows of training and their truth.

    Returns:
        Explanation of kind ``"importance"``, (features,), in squared units of the truth, or of Gini's impurity; it may be below zero.

    Raises:
        UnsupportedModelError: no such forest. OptionError: no training rows. InputError: they are not those of training; weights were used.
            Others as for ``whybox.effects``.

    References:
        Zhou & Hooker, Unbiased measurement of feature importance in tree-based methods, ACM Transactions on Knowledge Discovery from Data 15 (2021); Li, Wang, Basu,
        Kumbier & Yu, A debiased MDI feature importance measure for random forests, NeurIPS 2019.
    """
    began = time.perf_counter()
    resolved = _resolve(problem)
    checker, n, options = SpotChecker(), len(resolved.truth), problem.options
    of_trees, gains, times_out = [], np.zeros((n, resolved.players.count)), np.zeros(n)
    for gained, out in _gains_of_trees(resolved, checker):
        of_trees.append(gained.sum(axis=0) / max(int(out.sum()), 1))
        gains += gained
        times_out += out
    trees, seen = np.array(of_trees), times_out > 0
    monte_carlo_error = trees.std(axis=0, ddof=1) / np.sqrt(len(trees))
    values, influence = trees.mean(axis=0), 2.0 * gains[seen] / times_out[seen, None]
    weights = np.full(len(influence), 1.0 / max(len(influence), 1))
    errors = errors_over_rows(values, influence, weights, options.level, monte_carlo_error=monte_carlo_error)
    players, model, names = resolved.players, resolved.model, resolved.table.names
    units = "squared units of the truth" if class_labels(model.outputs) is None else "Gini impurity"
    return Explanation(
        kind="importance",
        library=resolved.table.library,
        values=values,
        dims=("feature",),
        coords={"feature": as_labels(players.names)},
        base=np.zeros(()),
        units=units,
        std_error=errors.std_error,
        evidence=make_evidence(
            resolved,
            resolved.resolved.rows,
            spec=problem.spec,
            kernel=KERNEL,
            exact=False,
            calls=0,
            notes=(*model.notes, *resolved.prepared_rows.remarks(), NOTE, *errors.notes),
            seconds=time.perf_counter() - began,
            spot_checks=checker.result,
            units=units,
            settings={"role": "train", "level": options.level},
        ),
        players=players.columns_of(names),
        extras={
            **errors.extras,
            "monte_carlo_error": (("feature",), monte_carlo_error),
            **({} if resolved.linkage is None else {"linkage": (("join", "column"), resolved.linkage)}),
        },
    )


def plan_unbiased_impurity(problem: ImportanceProblem) -> Plan:
    """Plan :func:`unbiased_impurity`: nothing is evaluated but the model on the rows, to compare our reading.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    resolved = _resolve(problem, check=False)
    return MethodPlan(
        method=problem.spec.title,
        method_id=problem.spec.method_id,
        kernel=KERNEL,
        exact=False,
        rows=len(resolved.truth),
        model_calls=resolved.n_rows_checked,
    )


def _resolve(problem: ImportanceProblem, *, check: bool = True) -> ForestProblem:
    """Read the forest and its rows of training.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    from whybox.adapters.sklearn.bagging import bagged_forest

    forest = bagged_forest(problem.model)
    table, y = training_rows(problem)
    if table.is_sparse:
        raise InputError(Argument("train"), " must be dense rows here: pass X.toarray().")
    resolved = resolve_model(problem.model, table, problem.options)
    labels, rows = class_labels(resolved.model.outputs), len(table)
    truth = true_numbers(y, rows)[:, None] if labels is None else np.eye(len(labels))[true_classes(y, labels, rows)]
    return ForestProblem(forest=forest, truth=truth, **compared_rows(resolved, problem.players, check=check))


def _gains_of_trees(problem: ForestProblem, checker: SpotChecker) -> Iterator[tuple[Floats, npt.NDArray[np.bool_]]]:
    """For each tree what its splits gain at each out-of-bag row, (rows, players), and which rows these are, (rows,).

    Raises:
        InputError: the samples that are drawn again are not those of training.
    """
    from whybox.adapters.sklearn.bagging import bagged_trees

    X = problem.model.inputs.matrix_in_blocks(problem.table)
    for number, tree in enumerate(bagged_trees(problem.forest, X)):
        out = tree.counts == 0
        inside, outside = (_sums_at_nodes(tree, used, problem.truth) for used in (tree.counts, out.astype(np.float64)))
        drawn = _sums_at_nodes(tree, (tree.counts > 0).astype(np.float64), problem.truth[:, :0])[0]
        means = inside[1] / np.maximum(inside[0], 1.0)[:, None]
        if not (np.array_equal(drawn, tree.n_rows) and np.array_equal(inside[0], tree.weight)):
            raise _not_the_training_rows(number, "reach its nodes as often")
        if tree.value is not None:
            recorded = tree.value if tree.value.shape == means.shape else np.full(means.shape, np.nan)
            difference, scale = np.abs(recorded - means), float(np.abs(problem.truth).max(initial=0.0))
            if not (difference <= ROUNDING * scale).all():
                raise _not_the_training_rows(number, "have the means of the truth at its nodes")
            checker.note_agreement(
                means.size,
                0,
                float(difference.max()),
                way="by the means of the truth that each tree recorded at its nodes",
            )
        yield _gains(tree, problem.players, problem.truth, means, outside), out


def _not_the_training_rows(tree: int, what: str) -> InputError:
    return InputError(
        Argument("train"),
        f" is not what tree {tree} of the forest was trained on: the rows of its bootstrap sample, drawn again, do not {what} as it recorded in training. "
        "Pass all rows of training and their truth, in the same order. Of a forest that was trained with sample_weight, or by several calls of fit, samples cannot be "
        "drawn again: use ",
        Argument("method", "permutation"),
        ".",
    )


def _sums_at_nodes(tree: BaggedTree, weights: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """The weight of rows at each node, (nodes,), and the weighted sum of their truths, (nodes, outputs)."""
    parent = tree.parent
    weight, sums = np.zeros(len(parent)), np.zeros((len(parent), truth.shape[1]))
    rows = np.flatnonzero(weights)
    node = tree.leaf[rows]
    while len(rows):
        weight += np.bincount(node, weights[rows], minlength=len(parent))
        for k in range(truth.shape[1]):
            sums[:, k] += np.bincount(node, weights[rows] * truth[rows, k], minlength=len(parent))
        node = parent[node]
        rows, node = rows[node >= 0], node[node >= 0]
    return weight, sums


def _gains(tree: BaggedTree, players: Players, truth: Floats, means: Floats, outside: tuple[Floats, Floats]) -> Floats:
    """What the splits on the path of each out-of-bag row gain, (rows, players)."""
    (weight, sums), parent = outside, tree.parent
    player = players.of_column[np.maximum(tree.feature, 0)]
    gains = np.zeros((len(truth), players.count))
    rows = np.flatnonzero(tree.counts == 0)
    node = tree.leaf[rows]
    while True:
        above = parent[node]
        rows, node, above = rows[above >= 0], node[above >= 0], above[above >= 0]
        if not len(rows):
            return gains
        others = np.maximum(weight[above] - 1.0, 1.0)[:, None]
        mean_of_others = (sums[above] - truth[rows]) / others
        gain = ((means[node] - means[above]) * (truth[rows] - mean_of_others)).sum(axis=1)
        gains[rows, player[above]] += np.where(weight[above] > 1.0, gain, 0.0)
        node = above
