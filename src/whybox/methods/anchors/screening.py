"""Rules worth trying, found on one sample of changed background rows that all explained rows share: it costs no predictions of a row's own.

The sample only proposes. Its rows meet a rule by chance, which is another law than the promised one, so no number of it is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.anchors.evaluate import DrawEvaluator
from whybox.methods.anchors.law import RuleLaw
from whybox.methods.anchors.predicates import Flags, Predicates
from whybox.methods.anchors.problem import AnchorsSetting
from whybox.methods.common.columns import Ints

__all__ = ["PoolOutputs", "Rule", "SharedPool", "coverage", "draw_pool", "pieces_of", "screened_rules", "success_score"]

Rule = tuple[int, ...]  # predicates, in the order in which they were added
POOL_DRAWS: Final = 12_000
UNCHANGED_SHARE: Final = (
    3  # one in so many draws is a background row as it is; in the others half of the features are replaced
)
MIN_SUPPORT: Final = 40  # draws that meet a rule, below which nothing is said of it
BEAM: Final = 6  # rules that are made longer
MAX_SCREENED: Final = 6  # predicates of a screened rule


@final
@dataclass(frozen=True, eq=False)
class SharedPool:
    """Changed background rows with their predicted classes.

    Attributes:
        pieces: (draws, players). answers: (draws,), as :meth:`ClassReader.answers`.
    """

    pieces: Ints
    answers: Floats

    def __len__(self) -> int:
        """Return the number of draws."""
        return len(self.pieces)


@final
@dataclass(frozen=True, eq=False)
class PoolOutputs:
    """Changed background rows: pieces, (draws, players), and outputs, (draws, outputs)."""

    pieces: Ints
    outputs: Floats

    def __len__(self) -> int:
        """Return the number of draws."""
        return len(self.pieces)


def draw_pool(law: RuleLaw, evaluator: DrawEvaluator, draws: int) -> PoolOutputs:
    """Draw the sample and evaluate it."""
    setting = law.setting
    rng = np.random.default_rng([setting.options.seed % 2**63, 0])
    base = law.background_rows((rng.permutation(draws) + rng.random(draws)) / draws)
    sources = np.repeat(base[:, None], setting.players.count, axis=1)
    changed = rng.random(sources.shape) < 0.5
    changed[: draws // UNCHANGED_SHARE] = False
    for p in range(setting.players.count):
        sources[changed[:, p], p] = law.background_rows(rng.random(int(changed[:, p].sum())))
    outputs = evaluator.outputs(sources, what="anchors, the shared sample")
    return PoolOutputs(pieces_of(setting, sources), outputs)


def pieces_of(setting: AnchorsSetting, sources: Ints) -> Ints:
    """Return the piece of each cell of draws, (draws, players)."""
    return np.asarray(np.take_along_axis(setting.pieces, sources, axis=0))


def success_score(successes: Floats, trials: Floats) -> Floats:
    """Return a share less one standard error, with one success and one failure added: how rules of different support are compared."""
    share = (successes + 1.0) / (trials + 2.0)
    return np.asarray(share - np.sqrt(share * (1.0 - share) / (trials + 2.0)))


def screened_rules(
    predicates: Predicates, inside: Flags, agrees: Flags, usable: Flags, precision: float, max_size: int
) -> tuple[list[Rule], list[Rule]]:
    """Return the rules that reach the precision in the sample, and the best rules of the last round, best first.

    Args:
        predicates: that the row meets. inside: (draws, predicates), which of them each draw meets. agrees: (draws,), which draws have the row's class.
        usable: (predicates,), which may be used. precision: to reach. max_size: most players with a condition.
    """
    reached: list[Rule] = [()] if agrees.mean() >= precision else []
    cells = np.ascontiguousarray(inside.T)
    rules: list[Rule] = [()]
    met = [np.ones(len(agrees), dtype=bool)]  # which draws meet each rule
    for _ in range(MAX_SCREENED):
        trials = np.stack([_counts(cells, of_rule) for of_rule in met])
        successes = np.stack([_counts(cells, of_rule & agrees) for of_rule in met])
        score = success_score(successes, trials)
        found: dict[frozenset[int], tuple[float, Rule, int]] = {}
        for i, rule in enumerate(rules):
            allowed = usable & predicates.can_follow(rule, max_size) & (trials[i] >= MIN_SUPPORT)
            for p in np.flatnonzero(allowed).tolist():
                longer = (*rule, p)
                if frozenset(longer) in found:
                    continue
                if successes[i, p] >= precision * trials[i, p]:
                    reached.append(longer)
                found[frozenset(longer)] = (float(score[i, p]), longer, i)
        if not found:
            break
        order = sorted(found.values(), key=lambda each: (-each[0], sorted(each[1])))[:BEAM]
        rules = [rule for _, rule, _ in order]
        met = [met[i] & cells[rule[-1]] for _, rule, i in order]
    return reached, rules


def _counts(cells: Flags, of_rule: Flags) -> Floats:
    """How many of the draws that meet a rule meet each predicate too, (predicates,), of cells (predicates, draws)."""
    return np.array([np.count_nonzero(both) for both in cells & of_rule], dtype=np.float64)


def coverage(inside: Flags, weights: Floats, rule: Sequence[int]) -> float:
    """Return the weighted share of background rows that meet every predicate of a rule; `inside` is (background rows, predicates)."""
    return min(1.0, float(weights[inside[:, list(rule)].all(axis=1)].sum()))  # a sum of all weights is 1 up to rounding
