"""The search of one rule: try what the shared sample proposes under each rule's own law, confirm, and make a rule longer where none is confirmed.

A rule is confirmed by draws of its own that had no part in choosing it. The error is shared out: test k of a row has the part 1 / (k (k + 1)) of it, which adds
up to one over any number of tests, and in a test every look at the growing sample has an equal part, half for each bound. So all bounds that a row's search ever
computes hold together with the promised confidence.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.anchors.predicates import Condition, Flags, Predicates
from whybox.methods.anchors.screening import Rule, coverage, success_score
from whybox.methods.common.columns import Ints
from whybox.numerics.statistics import binomial_bounds

__all__ = ["KEPT_DRAWS", "MIN_BUDGET", "Draws", "FoundRule", "Request", "RuleProblem", "search"]

LOOKS: Final = (128, 256, 512, 1024, 2048)  # draws of a rule when its bounds are computed
MIN_BUDGET: Final = 640  # predictions of one round of scouts and one look
SCOUT_DRAWS: Final = 64  # by which it is decided whether a rule is tested
SCOUT_ERROR: Final = 0.5 / SCOUT_DRAWS**0.5  # standard error of a share of so many, at most
EXPLORE_DRAWS: Final = 384  # of a rule that is to be made longer
KEPT_DRAWS: Final = 32  # whose cells are kept for checks
MAX_SCOUTED: Final = 8  # rules that are tried at a time
MAX_LONGER: Final = 3  # of those made longer by one condition


@final
@dataclass(frozen=True, eq=False)
class RuleProblem:
    """A row's own pieces and its class; rows that share both share the rule.

    Attributes:
        own: (players,). predicates: that the row meets. answer: what the model predicts.
        usable: (predicates,), those that some background rows meet and some do not. inside, weights: (background rows, predicates), which rows meet them; and
            their weights.
        precision, error: as asked. max_size: most conditions. budget: most predictions.
    """

    own: Ints
    predicates: Predicates
    answer: float
    usable: Flags
    inside: Flags
    weights: Floats
    precision: float
    error: float
    max_size: int
    budget: int


@final
@dataclass(frozen=True, eq=False)
class Draws:
    """Draws under a rule: which have the row's class, (draws,); which predicates they meet, (draws, predicates); sources and outputs of them."""

    agrees: Flags
    inside: Flags
    sources: Ints
    outputs: Floats

    def and_more(self, other: Draws) -> Draws:
        """Return both together."""
        names = ("agrees", "inside", "sources", "outputs")
        return Draws(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))

    def first(self, count: int) -> Draws:
        """Return them with the cells and outputs of the first alone, for checks."""
        return Draws(self.agrees, self.inside[:count], self.sources[:count], self.outputs[:count])


Request = list[tuple[Rule, int]]


@final
@dataclass(frozen=True, eq=False)
class FoundRule:
    """What a search found.

    Attributes:
        rule: its predicates in the order in which they were added. conditions: the same, one for each player. draws: those that confirmed it.
        bounds: of its precision. certified: whether the lower bound reaches the precision. coverage: share of the background.
        out_of_budget: whether the search ended for want of predictions.
    """

    rule: Rule
    conditions: tuple[Condition, ...]
    draws: Draws
    bounds: tuple[float, float]
    certified: bool
    coverage: float
    out_of_budget: bool

    @property
    def precision(self) -> float:
        """Share of the draws that kept the class; NaN where none was made."""
        return float(self.draws.agrees.mean()) if len(self.draws.agrees) else float("nan")


class _OutOfBudgetError(Exception):
    """The predictions allowed are spent."""


@final
@dataclass
class _Search:
    problem: RuleProblem
    spent: int = 0
    tests: int = 0
    best: FoundRule | None = None
    scouted: list[tuple[float, Rule]] = field(
        default_factory=list
    )  # every rule that scouts were drawn for, with its score

    def ask(self, request: Request) -> Generator[Request, list[Draws], list[Draws]]:
        """Have draws made, if the budget allows."""
        count = sum(n for _, n in request)
        if self.spent + count > self.problem.budget:
            raise _OutOfBudgetError
        self.spent += count
        return (yield request)

    def test(self, rule: Rule) -> Generator[Request, list[Draws], bool]:
        """Draw under a rule until its lower bound reaches the precision, or it is plain that it will not."""
        problem = self.problem
        self.tests += 1
        error = problem.error / (self.tests * (self.tests + 1)) / len(LOOKS) / 2.0
        draws: Draws | None = None
        for look in LOOKS:
            more = look - (0 if draws is None else len(draws.agrees))
            try:
                (new,) = yield from self.ask([(rule, more)])
            except _OutOfBudgetError:
                if self.best is None and draws is not None:
                    self._note(rule, draws, error, certified=False)
                raise
            draws = new if draws is None else draws.and_more(new)
            agree = int(draws.agrees.sum())
            low, _ = binomial_bounds(agree, look, error)
            if low >= problem.precision:
                self._note(rule, draws, error, certified=True)
                return True
            if not _has_hope(agree, look, error, problem.precision):
                break
        assert draws is not None  # noqa: S101  # there is one look at least
        self._note(rule, draws, error, certified=False)
        return False

    def _note(self, rule: Rule, draws: Draws, error: float, *, certified: bool) -> None:
        low, high = binomial_bounds(int(draws.agrees.sum()), len(draws.agrees), error)
        if certified or self.best is None or float(low) > self.best.bounds[0]:
            share = coverage(self.problem.inside, self.problem.weights, rule)
            conditions, bounds = self.problem.predicates.conditions(rule), (float(low), float(high))
            self.best = FoundRule(rule, conditions, draws, bounds, certified, share, out_of_budget=False)

    def try_rules(self, rules: Sequence[Rule]) -> Generator[Request, list[Draws], list[tuple[float, Rule]] | None]:
        """Scout some rules and test those that look right, largest coverage first; None: one is confirmed, else the rules with their scores, best first."""
        problem = self.problem
        answers = yield from self.ask([(rule, SCOUT_DRAWS) for rule in rules])
        shares = [float(each.agrees.mean()) for each in answers]
        for rule, share in zip(rules, shares, strict=True):
            if share >= problem.precision and (yield from self.test(rule)):
                return None
        scores = [float(success_score(np.array(s * SCOUT_DRAWS), np.array(float(SCOUT_DRAWS)))) for s in shares]
        order = sorted(zip(scores, rules, strict=True), key=lambda each: (-each[0], len(each[1]), sorted(each[1])))
        self.scouted += order
        return order

    @property
    def promising(self) -> Rule:
        """The shortest of the scouted rules whose score is within a standard error of the best."""
        best = max(score for score, _ in self.scouted)
        near = [each for each in self.scouted if each[0] >= best - SCOUT_ERROR]
        return min(near, key=lambda each: (len(each[1]), -each[0], sorted(each[1])))[1]

    def addable(self, rule: Rule) -> Flags:
        """Return which predicates can be added to a rule, (predicates,)."""
        problem = self.problem
        return np.asarray(problem.usable & problem.predicates.can_follow(rule, problem.max_size))

    def shorten(self) -> Generator[Request, list[Draws], None]:
        """Leave conditions of the confirmed rule out, one at a time, as long as a shorter rule is confirmed."""
        while self.best is not None and self.best.rule:
            rule = self.best.rule
            shorter = [tuple(q for q in rule if q != p) for p in rule]
            if (yield from self.try_rules(self.by_coverage(shorter))) is not None:
                return

    def by_coverage(self, rules: Sequence[Rule]) -> list[Rule]:
        """Return rules, largest coverage first."""
        problem = self.problem
        return sorted(rules, key=lambda r: (-coverage(problem.inside, problem.weights, r), len(r), sorted(r)))

    def lengthen(self, rule: Rule) -> Generator[Request, list[Draws], list[Rule]]:
        """Return the longer rules, best first, by draws under the rule that meet one more predicate."""
        (draws,) = yield from self.ask([(rule, EXPLORE_DRAWS)])
        allowed = self.addable(rule)
        trials = draws.inside.sum(axis=0).astype(np.float64)
        score = success_score(draws.inside[draws.agrees].sum(axis=0).astype(np.float64), trials)
        order = np.argsort(-score, kind="stable").tolist()
        return [(*rule, p) for p in order if allowed[p]]


def search(
    problem: RuleProblem, reached: list[Rule], nearest: list[Rule]
) -> Generator[Request, list[Draws], FoundRule]:
    """Search the rule of a row: yields what is to be drawn, takes the draws, and returns what it found.

    Args:
        problem: of the row. reached, nearest: rules that the shared sample proposes, as :func:`screened_rules` returns them.
    """
    state = _Search(problem)
    out_of_budget = False
    try:
        yield from _search(state, reached, nearest)
    except _OutOfBudgetError:
        out_of_budget = True
    found = state.best
    if found is None:  # nothing could be tested: the rule without conditions, of which nothing is known
        nothing = Draws(
            np.zeros(0, dtype=bool),
            np.zeros((0, len(problem.predicates)), dtype=bool),
            np.zeros((0, len(problem.own)), dtype=np.int64),
            np.zeros((0, 0)),
        )
        found = FoundRule((), (), nothing, (0.0, 1.0), certified=False, coverage=1.0, out_of_budget=True)
    return replace(found, draws=found.draws.first(KEPT_DRAWS), out_of_budget=out_of_budget)


def _search(state: _Search, reached: list[Rule], nearest: list[Rule]) -> Generator[Request, list[Draws], None]:
    tried = yield from state.try_rules((state.by_coverage(reached) if reached else nearest)[:MAX_SCOUTED])
    while tried is not None and state.addable(rule := tried[0][1]).any():
        longer = yield from state.lengthen(rule)
        tried = yield from state.try_rules(state.by_coverage(longer[:MAX_LONGER]))
    if tried is None:
        yield from state.shorten()
    elif state.best is None:  # every rule was turned down before a test
        rule = state.promising
        if (
            yield from state.try_rules([rule[:k] for k in range(len(rule))] or [()])
        ) is not None and state.best is None:
            yield from state.test(state.promising)


def _has_hope(agree: int, look: int, error: float, precision: float) -> bool:
    """Whether the largest look would confirm the precision if the share so far, and one standard error more, held on."""
    share = agree / look
    share = min(1.0, share + float(np.sqrt(max(share * (1.0 - share), 1.0 / look) / look)))
    low, _ = binomial_bounds(share * LOOKS[-1], LOOKS[-1], error)
    return bool(low >= precision)
