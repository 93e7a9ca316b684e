"""The searches of many rows side by side: what they ask for in one round goes to the model in one call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from typing import Final

import numpy as np

from whybox.methods.anchors.evaluate import DrawEvaluator
from whybox.methods.anchors.law import RuleLaw
from whybox.methods.anchors.screening import Rule, SharedPool, pieces_of, screened_rules
from whybox.methods.anchors.search import Draws, FoundRule, Request, RuleProblem, search

__all__ = ["find_rules", "problems_together"]

MAX_PROBLEMS_TOGETHER: Final = 256
MAX_BYTES_TOGETHER: Final = 2**28  # of which background rows meet which predicates
Search = Generator[Request, list[Draws], FoundRule]


def find_rules(
    law: RuleLaw, evaluator: DrawEvaluator, pool: SharedPool, count: int, make_problem: Callable[[int], RuleProblem]
) -> list[FoundRule]:
    """Return the rule of each of so many problems. It depends on the problem and the seed alone, not on the other problems.

    Args:
        law, evaluator, pool: of the explainer. count: of problems. make_problem: makes one; only those that are searched together are held.
    """
    found: list[FoundRule] = []
    together = problems_together(law)
    for start in range(0, count, together):
        found += _find_together(law, evaluator, pool, [make_problem(i) for i in range(start, min(start + together, count))])  # fmt: skip
    return found


def problems_together(law: RuleLaw) -> int:
    """Return how many problems are searched side by side."""
    each = 2 * law.setting.players.count * len(law.setting.background)
    return int(np.clip(MAX_BYTES_TOGETHER // each, 1, MAX_PROBLEMS_TOGETHER))


def _find_together(
    law: RuleLaw, evaluator: DrawEvaluator, pool: SharedPool, problems: Sequence[RuleProblem]
) -> list[FoundRule]:
    found: dict[int, FoundRule] = {}
    searches: dict[int, Search] = {}
    requests: dict[int, Request] = {}
    rngs = [_rng(law.setting.options.seed, problem) for problem in problems]
    for i, problem in enumerate(problems):
        searches[i] = search(problem, *_screened(problem, pool))
        _advance(i, None, searches, requests, found)
    while requests:
        sources = {
            i: [law.draw(rngs[i], problems[i].predicates.conditions(rule), count) for rule, count in request]
            for i, request in requests.items()
        }
        outputs = evaluator.outputs(np.concatenate([s for each in sources.values() for s in each]), what="anchors")
        answers = law.setting.reader.answers(outputs)
        at = 0
        for i, drawn in sources.items():
            replies = []
            for s in drawn:
                here = slice(at, at + len(s))
                at += len(s)
                inside = problems[i].predicates.met_by(pieces_of(law.setting, s))
                replies.append(Draws(answers[here] == problems[i].answer, inside, s, outputs[here].copy()))
            _advance(i, replies, searches, requests, found)
    return [found[i] for i in range(len(problems))]


def _screened(problem: RuleProblem, pool: SharedPool) -> tuple[list[Rule], list[Rule]]:
    return screened_rules(
        problem.predicates,
        problem.predicates.met_by(pool.pieces),
        pool.answers == problem.answer,
        problem.usable,
        problem.precision,
        problem.max_size,
    )


def _advance(
    i: int,
    replies: list[Draws] | None,
    searches: dict[int, Search],
    requests: dict[int, Request],
    found: dict[int, FoundRule],
) -> None:
    """Take a search to its next request, or to its end."""
    try:
        requests[i] = next(searches[i]) if replies is None else searches[i].send(replies)
    except StopIteration as end:
        requests.pop(i, None)
        found[i] = end.value


def _rng(seed: int, problem: RuleProblem) -> np.random.Generator:
    """Draws of one problem: its own pieces and class, and the seed, say which."""
    key = hashlib.sha256(repr((problem.own.tolist(), problem.answer)).encode()).digest()
    return np.random.default_rng([seed % 2**63, 1, *np.frombuffer(key, dtype=np.uint32).tolist()])
