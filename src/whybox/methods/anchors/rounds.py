"""The searches of many rows side by side: what they ask for in one round goes to the model in one call."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from typing import Final

import numpy as np

from whybox.methods.anchors.evaluate import DrawEvaluator
from whybox.methods.anchors.law import RuleLaw
from whybox.methods.anchors.screening import SharedPool, pieces_of
from whybox.methods.anchors.search import Draws, FoundRule, Request, RuleProblem, search

__all__ = ["find_rules"]

PROBLEMS_TOGETHER: Final = 256
Search = Generator[Request, list[Draws], FoundRule]


def find_rules(
    law: RuleLaw, evaluator: DrawEvaluator, pool: SharedPool, problems: Sequence[RuleProblem]
) -> list[FoundRule]:
    """Return the rule of each problem. It depends on the problem and the seed alone, not on the other problems."""
    found: list[FoundRule] = []
    for start in range(0, len(problems), PROBLEMS_TOGETHER):
        found += _find_together(law, evaluator, pool, problems[start : start + PROBLEMS_TOGETHER])
    return found


def _find_together(
    law: RuleLaw, evaluator: DrawEvaluator, pool: SharedPool, problems: Sequence[RuleProblem]
) -> list[FoundRule]:
    found: dict[int, FoundRule] = {}
    searches: dict[int, Search] = {}
    requests: dict[int, Request] = {}
    rngs = [_rng(law.setting.options.seed, problem) for problem in problems]
    for i, problem in enumerate(problems):
        searches[i] = search(problem, problem.predicates.met_by(pool.pieces), pool.answers == problem.answer)
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
