"""Permutation importance: how much more the model loses when a player's values come from another row."""

from __future__ import annotations

import time
from dataclasses import replace

from whybox.explanation.explanation import Explanation
from whybox.methods.common.plan import MethodPlan, Plan
from whybox.methods.importance.loss_problem import LossProblem, resolve_loss_problem
from whybox.methods.importance.off_data import mean_off_data
from whybox.methods.importance.permutation_by_predictions import planned_rounds, sampled_pairs
from whybox.methods.importance.permutation_by_score import permutation_by_score, plan_permutation_by_score
from whybox.methods.importance.permutation_of_linear import LinearPairs, linear_pairs
from whybox.methods.importance.permutation_of_trees import TreePairs, tree_pairs
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.importance.result import PlayerValues, exact_pair_values, importance_result
from whybox.methods.importance.spot_checks import PermutationChecks, planned_checks
from whybox.models.blackbox import BlackBox
from whybox.models.trees import TreeEnsemble

__all__ = ["permutation", "plan_permutation"]


def permutation(problem: ImportanceProblem) -> Explanation:
    """Return how much the mean loss grows when each player's values come from another row.

    The value is the mean over all ordered pairs of two different rows of ``loss(row i with the player's values of row j) - loss(row i)``, a U-statistic. It is exact
    of tree ensembles that are read, and of linear models by the squared loss: all pairs are taken, nothing is drawn. Else donors are drawn, see
    `permutation_by_predictions`. The standard error is that of the rows as a sample (of Hajek's projection): ``sd(r_i + d_i) / sqrt(n)``, with r_i the mean of
    row i over its donors and d_i the mean over the rows that got the values of row i. With ``scoring``, a score of all rows together in place of a loss, see
    `permutation_by_score`.

    Args:
        problem: a model, rows and their truth.

    Returns:
        Explanation of kind ``"importance"``, (features,), in the units of the loss.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.

    References:
        Breiman, Machine Learning 45 (2001); Fisher, Rudin & Dominici, Journal of Machine Learning Research 20 (2019), equation 3; Hajek, Annals of
        Mathematical Statistics 39 (1968).
    """
    if problem.options.scoring is not None:
        return permutation_by_score(problem)
    began = time.perf_counter()
    resolved = resolve_loss_problem(problem, check=False)
    pairs = _exact_pairs(resolved)
    if isinstance(pairs, str):
        resolved = resolved.compared()
        found = sampled_pairs(resolved, pairs)
    else:
        resolved, found = _exact(resolved, pairs)
    off_data = {"off_data": (("feature",), mean_off_data(resolved))}
    return importance_result(
        resolved, replace(found, extras={**found.extras, **off_data}), seconds=time.perf_counter() - began
    )


def _exact_pairs(problem: LossProblem) -> TreePairs | LinearPairs | str:
    """Return what gives all pairs of rows without predictions, or why they are sampled."""
    return tree_pairs(problem) if isinstance(problem.model, TreeEnsemble) else linear_pairs(problem)


def _exact(problem: LossProblem, of_model: TreePairs | LinearPairs) -> tuple[LossProblem, PlayerValues]:
    """The values over all pairs, and the problem, compared with the model's own predict: the outputs of the rows are known from the pairs."""
    theirs = None if problem.is_compared else problem.resolved.own_predictions()
    checks = PermutationChecks(problem)
    pairs = of_model.pair_differences(problem, checks)
    if theirs is not None:
        problem = problem.compared_known(of_model.X, pairs.raw, theirs)
    checks.check_predictions()
    checks.check_sums(pairs.of_row, pairs.of_donor)
    found = exact_pair_values(
        problem,
        pairs.of_row,
        pairs.of_donor,
        baseline=pairs.baseline,
        kernel=of_model.kernel,
        predictions=0,
        spot_checks=checks.result,
    )
    return problem, found


def plan_permutation(problem: ImportanceProblem) -> Plan:
    """Plan :func:`permutation`: predictions beforehand, at most.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    if problem.options.scoring is not None:
        return plan_permutation_by_score(problem)
    resolved = resolve_loss_problem(problem, check=False)
    count, players, pairs = len(resolved), resolved.players.count, _exact_pairs(resolved)
    in_full = not isinstance(pairs, str)
    rounds = 0 if in_full else planned_rounds(resolved)
    predictions = count * (1 + players * rounds) if rounds and isinstance(resolved.model, BlackBox) else 0
    return MethodPlan(
        method=problem.spec.title,
        method_id=problem.spec.method_id,
        kernel="rows with a player's values from other rows" if isinstance(pairs, str) else pairs.kernel,
        exact=in_full or rounds >= count - 1,
        rows=count,
        model_calls=resolved.n_rows_checked + predictions + planned_checks(resolved, float(count * players * rounds)),
    )
