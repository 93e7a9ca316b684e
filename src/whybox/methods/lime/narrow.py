"""LIME near a row that a common sample hardly reaches: draws from the row's own weighted distribution, and each feature moved across its border.

With a narrow kernel nearly all weight of a common sample lies on few draws. Here every draw has the same weight. For each draw the model is evaluated as it is
and with one feature after the other taken from the other side, and the coefficient is the mean difference.

Source: GLIME, Tan, Tian & Li (2023), arXiv:2311.15722, for drawing from the weighted distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from whybox.data.table import Floats, Table
from whybox.errors import Argument
from whybox.methods.common.columns import Ints
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.lime.design import LocalDesign
from whybox.methods.lime.problem import LimeProblem
from whybox.methods.lime.sample import Sample, sample_of
from whybox.methods.lime.shared_sample import REPLICATES, LocalValues, UniformNumbers, finite_outputs

__all__ = ["CONSTANT", "MIN_EFFECTIVE_SHARE", "NarrowDraws", "add_narrow_values", "own_spread", "weighted_draws"]

CONSTANT: Final = 1e-9  # of a difference: less is rounding
MIN_EFFECTIVE_SHARE: Final = 0.1  # of a common sample; below it a row has draws of its own


@final
@dataclass(frozen=True, eq=False)
class NarrowDraws:
    """The draws of one row, kept so that its coefficients can be checked.

    Attributes:
        row: its position. side: (draws, players), the uniform numbers that chose sides. base, partner: the draws, and with every feature across its border.
        moved: (moved,), the players that were moved. outputs: (1 + moved, draws, outputs), of the draws, then with each of these players from the partner.
    """

    row: int
    side: Floats
    base: Sample
    partner: Sample
    moved: Ints
    outputs: Floats


def weighted_draws(problem: LimeProblem, row: int, u: Floats) -> tuple[Sample, Sample]:
    """Return draws from a row's weighted distribution, and partners with every feature on the other side of its border.

    Args:
        row: its position. u: (draws, players, 3), uniform: which side, where inside the own region, where outside.

    Returns:
        Two samples of (draws) rows. Where a side has nothing, both have the other.
    """
    count = len(problem.distributions)
    own, other = np.empty((len(u), count)), np.empty((len(u), count))
    for p, d in enumerate(problem.distributions):
        ends = d.ends
        low, high = ends[problem.first[row, p]], ends[problem.last[row, p]]
        own[:, p] = low + u[:, p, 1] * (high - low)
        outside = u[:, p, 2] * problem.other_share[row, p]
        other[:, p] = np.where(outside < low, outside, high + (outside - low))
    empty_own = problem.share[row] <= 0
    empty_other = problem.other_share[row] <= 0
    own, other = np.where(empty_own, other, own), np.where(empty_other, own, other)
    below_one = np.nextafter(1.0, 0.0)
    is_own = u[:, :, 0] < problem.own_chance[row]
    base, partner = (
        sample_of(problem.neighbourhood.background.table, problem.distributions, np.clip(here, 0.0, below_one))
        for here in (np.where(is_own, own, other), np.where(is_own, other, own))
    )
    unseen = np.flatnonzero(problem.is_unseen[row])
    if len(unseen):
        columns = [c for p in unseen for c in problem.distributions[p].columns]
        at = np.full((len(u), base.table.width), 0)
        mine = problem.rows.rows(np.array([row])).columns_at_rows(at)
        partner = replace(partner, table=partner.table.with_columns_from(mine, columns))
    return base, partner


def add_narrow_values(
    design: LocalDesign,
    evaluator: HybridEvaluator,
    rows: Ints,
    draws: int,
    found: LocalValues,
    kept: Ints,
) -> tuple[NarrowDraws, ...]:
    """Write the coefficients of some rows, their errors, and mean and variance of the output into `found`; return the draws of the rows in `kept`.

    Args:
        design: of all rows, none of their numbers in standard deviations. rows: positions. draws: for each row, a multiple of the number of scramblings.

    Raises:
        LimitError: more predictions than allowed. NonFiniteError: an output is NaN.
    """
    problem, errors = design.problem, found.std_error
    assert errors is not None  # noqa: S101  # sampled
    count = len(problem.distributions)
    patterns = [(), *(d.columns for d in problem.distributions)]
    moved = np.flatnonzero((design.variance.max(axis=0) > 0) | problem.is_unseen.any(axis=0))
    evaluator.check_limit(
        len(rows) * draws * (len(moved) + 1),
        what="LIME with so narrow a kernel",
        smaller=("a wider ", Argument("kernel_width")),
    )
    draws_kept = []
    seeds = [np.random.default_rng([problem.options.seed % 2**63, r]) for r in range(REPLICATES)]
    each = draws // REPLICATES
    u = np.concatenate([UniformNumbers(3 * count, rng)(each) for rng in seeds]).reshape(draws, count, 3)
    for row in rows.tolist():
        here = np.flatnonzero((design.variance[row] > 0) | problem.is_unseen[row])
        base, partner = weighted_draws(problem, int(row), u)
        pattern = np.repeat(np.concatenate([[0], here + 1]), draws)
        at = np.tile(np.arange(draws), len(here) + 1)
        hybrids, outputs = evaluator.evaluate_hybrids(
            base.table, partner.table, at, at, pattern, patterns, what="LIME, a narrow kernel"
        )
        known = finite_outputs(outputs)[hybrids].reshape(len(here) + 1, draws, -1)
        is_own = u[:, here, 0] < problem.own_chance[row, here]
        sign = np.where(is_own & ~problem.is_unseen[row, here], 1.0, -1.0).T[:, :, None]
        differences = (sign * (known[0] - known[1:])).reshape(len(here), REPLICATES, each, -1).mean(axis=2)
        spread = differences.std(axis=1, ddof=1) / np.sqrt(REPLICATES)
        # draws that all agree do not prove that nothing else happens: an event of chance 1 / draws is missed in a third of the cases
        unseen_event = np.abs(known[0] - known[1:]).max(axis=(0, 1), initial=0.0) / draws
        found.values[row], errors[row] = 0.0, 0.0
        found.values[row, here] = differences.mean(axis=1)
        errors[row, here] = np.where(spread <= CONSTANT * unseen_event, unseen_event, spread)
        found.mean[row], found.variance[row] = known[0].mean(axis=0), known[0].var(axis=0)
        if row in kept:
            draws_kept.append(NarrowDraws(row, u[:, :, 0].copy(), base, partner, here, known))
    return tuple(draws_kept)


def own_spread(problem: LimeProblem, predict: Callable[[Table], Floats], row: int, draws: int) -> Floats:
    """Return the variance of the outputs over draws from a row's own weighted distribution, (outputs,).

    Args:
        predict: rows -> outputs. row: its position. draws: how many.
    """
    count = len(problem.distributions)
    u = UniformNumbers(3 * count, np.random.default_rng([problem.options.seed % 2**63, REPLICATES]))(draws)
    return np.asarray(predict(weighted_draws(problem, row, u.reshape(draws, count, 3))[0].table).var(axis=0))
