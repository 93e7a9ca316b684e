"""Permutation importance: how much more the model loses when a player's values come from another row."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from whybox.explanation.explanation import Explanation
from whybox.methods.common.plan import MethodPlan, Plan
from whybox.methods.importance.loss_problem import LossProblem, resolve_loss_problem
from whybox.methods.importance.off_data import mean_off_data
from whybox.methods.importance.pairs_of_rows import EXACT_NOTE, increase_units, u_statistic
from whybox.methods.importance.permutation_by_predictions import DEFAULT_PREDICTIONS_A_ROW, sampled_pairs
from whybox.methods.importance.permutation_of_trees import exact_unavailable, pair_differences
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.importance.result import PlayerValues, importance_result
from whybox.methods.importance.spot_checks import PermutationChecks

__all__ = ["permutation", "plan_permutation"]

KERNEL: Final = "the trees' own leaves, every row with every other row's values"


def permutation(problem: ImportanceProblem) -> Explanation:
    """Return how much the mean loss grows when each player's values come from another row.

    The value is the mean over all ordered pairs of two different rows of ``loss(row i with the player's values of row j) - loss(row i)``, a U-statistic. Of tree
    ensembles that are read it is exact: all pairs are taken, nothing is drawn. Else donors are drawn, see `permutation_by_predictions`. The standard error is
    that of the rows as a sample (of Hajek's projection): ``sd(r_i + d_i) / sqrt(n)``, with r_i the mean of row i over its donors and d_i the mean over the rows
    that got the values of row i.

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
    began = time.perf_counter()
    resolved = resolve_loss_problem(problem)
    reason = exact_unavailable(resolved)
    found = _exact(resolved) if reason is None else sampled_pairs(resolved, reason)
    off_data = {"off_data": (("feature",), mean_off_data(resolved))}
    return importance_result(
        resolved, replace(found, extras={**found.extras, **off_data}), seconds=time.perf_counter() - began
    )


def _exact(problem: LossProblem) -> PlayerValues:
    checks = PermutationChecks(problem)
    pairs = pair_differences(problem, checks.observe_points)
    values, influence = u_statistic(problem.weights, pairs.of_row, pairs.of_donor)
    return PlayerValues(
        values=values,
        influence=influence,
        units=increase_units(problem),
        kernel=KERNEL,
        exact=True,
        predictions=0,
        baseline_loss=float(problem.weights @ pairs.baseline),
        notes=(EXACT_NOTE,),
        spot_checks=checks.check(pairs.of_row, pairs.of_donor),
    )


def plan_permutation(problem: ImportanceProblem) -> Plan:
    """Plan :func:`permutation`: predictions beforehand, at most.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    resolved = resolve_loss_problem(problem, check=False)
    spec, rows = problem.spec, len(resolved)
    exact = exact_unavailable(resolved) is None
    limit = resolved.options.max_evals or DEFAULT_PREDICTIONS_A_ROW * rows
    return MethodPlan(
        method=spec.title,
        method_id=spec.method_id,
        kernel=KERNEL if exact else "rows with a player's values from other rows",
        exact=exact,
        rows=rows,
        model_calls=resolved.checked + (0 if exact else limit),
    )
