"""Do the parts that a map ranks high matter to the score? Deletion and insertion with several replacements, between chance and the best order known.

Sources: Petsiuk, Das & Saenko 2018 (RISE, arXiv:1806.07421) for deletion and insertion; normalised between bounds as in Schulz et al. 2024 (NAOPC,
arXiv:2408.08137). Metrics of this family are known to contradict each other, so none of them is shown alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np

from whybox.checks.check_subject import CheckSubject, flatten_maps
from whybox.checks.cost import CheckCost
from whybox.checks.deletion_curves import FEW_SEGMENTS, MIN_SEGMENTS, RemovalGame, rank_segments, segment_ids
from whybox.checks.group import CheckGroup
from whybox.checks.replacements import replacement_names, replacement_rows
from whybox.checks.result import Check
from whybox.checks.token_removal import token_games, token_orders
from whybox.checks.trivial_maps import edge_map, input_size, is_picture
from whybox.data.table import Floats
from whybox.methods.saliency.problem import Indices, SaliencyProblem
from whybox.numerics.rounding import varies
from whybox.numerics.statistics import (
    adjust_p_values,
    critical_value,
    format_mean,
    kendall_of_pairs,
    mean_p_value,
    rows_needed,
)

__all__ = ["CHECK_GROUP", "faithfulness_checks", "removal_games"]

FAITHFULNESS: Final = "faithfulness"
FORWARDS_FOR_CURVES: Final = 700  # of a row, about, for deletion and insertion
TOGETHER_LINE: Final = "faithfulness: together"
RANDOM_ORDERS: Final = 6  # random orders
MANY_RANDOM_ORDERS: Final = 24  # if there are few parts, whose coalitions are evaluated once each
MAX_ORDERS: Final = 40  # the best of so many is found by chance in 2.5 %
MAX_ERROR: Final = (
    0.025  # chance that any line of a map no better than chance passes, and that any line of one at MIN_SCORE fails
)
MIN_P_SHOWN: Final = 1e-3
MIN_SCORE: Final = 0.25  # of the way from chance to the best order known; a map that is shown to be below it, and not above chance, fails
# the same for maps without a sign: the best order known also collects changes of one sign, which such a map cannot know
MIN_DISTANCE_SCORE: Final = 0.0
MIN_AGREEMENT: Final = 0.2  # mean tau; measured on digits, metrics that contradict each other have -0.6 to 0.1, those that agree 0.75 and more


def faithfulness_checks(subject: CheckSubject) -> list[Check]:
    """Compare the map's order of parts with random orders and the best one known.

    Raises:
        OptionError: replacements that are not known, or fewer than two.
    """
    problem = subject.score_problem()
    games, reason = removal_games(subject, problem, subject.replacements)
    if reason:
        return [Check(FAITHFULNESS, TOGETHER_LINE, "not applicable", None, reason)]
    candidates = _candidate_orders(subject, games) if subject.tokens is None else token_orders(subject, games)
    metrics: list[_MetricLine] = []
    columns: list[list[float]] = []
    for name, game in games.items():
        rng = np.random.default_rng([subject.seed, 79])
        chance = [
            game.random_orders(rng)
            for _ in range(MANY_RANDOM_ORDERS if game.n_segments <= FEW_SEGMENTS else RANDOM_ORDERS)
        ]
        for metric, order_scores in _score_orders(game, candidates, chance):
            metrics.append(_MetricLine(f"{metric}, {name}", metric, order_scores, game))
            columns.append([_mean_or_zero(s) for s in order_scores.scores.values()] + [0.0])
    checks = _metric_checks(metrics, "the sizes of the given map" if subject.is_unsigned else "the given map")
    if not subject.is_unsigned and not any(varies(m[np.isfinite(m)]) for m in flatten_maps(subject.explained_maps())):
        checks = [_constant_map(c) for c in checks]
    return [*checks, _agreement_check(checks, columns, [*candidates, "chance"])]


def removal_games(
    subject: CheckSubject, problem: SaliencyProblem, replacements: Sequence[str] | None
) -> tuple[dict[str, RemovalGame], str]:
    """Deletion and insertion with each replacement; or the reason why there is none.

    Raises:
        OptionError: replacements that are not known, or fewer than two.
    """
    if subject.tokens is not None:
        games, reason = token_games(subject, problem, replacements)
        own = next(iter(games.values())).segment_counts if games else np.zeros(0)
        log_orders = float(sum(math.lgamma(n + 1) for n in own if n >= MIN_SEGMENTS))
        if not reason and log_orders < math.log(MAX_ORDERS):
            text = f"there are only {math.exp(log_orders):.0f} orders of the parts of these texts"
            return {}, f"{text}, so that even the best of them could be chance; pass more texts, or longer ones."
        return games, reason
    reason = _why_not_applicable(subject, problem)
    if reason:
        return {}, reason
    ids, count = [], 0
    for number in subject.input_of:
        own = segment_ids(problem.inputs[number])
        ids.append((number, own + count))
        count += int(own.max()) + 1
    return {
        name: RemovalGame(
            problem,
            tuple(ids),
            count,
            tuple(
                replacement_rows(name, subject, number, problem.inputs[number]) for number in range(len(problem.inputs))
            ),
            by_distance=subject.is_unsigned,
        )
        for name in replacement_names(problem.inputs, replacements, len(subject.inputs[0].x))
    }, ""


def _why_not_applicable(subject: CheckSubject, problem: SaliencyProblem) -> str:
    for number, part in zip(subject.input_of, subject.explained_maps(), strict=True):
        given = problem.inputs[number]
        if given.without_gradient:
            return "the inputs are whole numbers (tokens, categories), which zero, mean or blur cannot replace."
        shape = tuple(given.x.shape[1:])
        if part.shape[1:] not in (shape, given.position_shape):
            return f"the map has the shape {part.shape[1:]} a row and the input {shape}: its positions are not those of the input, which could be removed."
    if sum(int(segment_ids(problem.inputs[i]).max()) + 1 for i in subject.input_of) < MIN_SEGMENTS:
        return "the input has fewer than three parts."
    return ""


def _candidate_orders(subject: CheckSubject, games: Mapping[str, RemovalGame]) -> dict[str, Indices]:
    """Orders of the parts, largest first: by the map, and by trivial maps."""
    game = next(iter(games.values()))
    ids, count, seed = game.input_segments, game.n_segments, subject.seed
    given = [(subject.inputs[n], subject.inputs[n].x[subject.rows]) for n, _ in ids]
    own = []
    for (g, _), part in zip(given, subject.explained_maps(), strict=True):
        value = np.abs(part) if subject.is_unsigned else part
        own.append(
            value
            if value.ndim == len(g.position_axes) + 1 or g.channel_axis is None
            else value.sum(axis=g.channel_axis)
        )
    out = {
        "the map": _segment_order(own, ids, count, seed),
        "the input itself": _segment_order([input_size(g, x) for g, x in given], ids, count, seed),
    }
    if all(is_picture(g) for g, _ in given):
        out["an edge detector"] = _segment_order([edge_map(g, x) for g, x in given], ids, count, seed)
    return out


def _segment_order(maps: Sequence[Floats], ids: Sequence[tuple[int, Indices]], count: int, seed: int) -> Indices:
    total = np.zeros((len(maps[0]), count))
    for part, (_, own) in zip(maps, ids, strict=True):
        for k in range(len(part)):
            total[k] += np.bincount(own.reshape(-1), weights=part[k].reshape(-1), minlength=count)
    return rank_segments(total, seed)


@final
@dataclass(frozen=True)
class _OrderScores:
    """A metric of all candidates.

    Attributes:
        scores: of each candidate, for every row whose score reacts: 0 is chance, 1 the best order known.
        std_error: of the mean of random orders. random_std: their standard deviation. n_random: number of random orders.
        n_inert: rows whose score does not react. n_short: rows with too few parts.
    """

    scores: dict[str, Floats]
    std_error: float
    random_std: float
    n_random: int
    n_inert: int
    n_short: int


def _score_orders(
    game: RemovalGame, candidates: dict[str, Indices], chance: list[Indices]
) -> list[tuple[str, _OrderScores]]:
    """Scores of the candidates' orders, for deletion and insertion."""
    (away, alone), (come, _) = game.greedy_order(removing=True), game.greedy_order(removing=False)
    tried = {
        **candidates,
        "single removals": np.argsort(alone, axis=1, kind="stable"),
        "away": away,
        "come": game.reversed_orders(come),
    }
    areas = game.curve_areas([*tried.values(), *map(game.reversed_orders, tried.values()), *chance])
    k = len(tried)
    down, up, random = areas[:k], areas[k : 2 * k], areas[2 * k :]
    mean, scatter = random.mean(axis=0), random.std(axis=0, ddof=1)
    std_error = scatter / np.sqrt(len(random))
    long = game.segment_counts >= MIN_SEGMENTS
    out = []
    for metric, sign, own in (("deletion", -1.0, down), ("insertion", 1.0, up)):
        best = (sign * areas).max(axis=0) * sign
        room = sign * (best - mean)
        reacts = long & (room > np.maximum(3 * std_error, 1e-6 * (np.abs(mean) + 1e-12)))
        scores = {
            name: (sign * (own[i] - mean) / np.where(reacts, room, 1.0))[reacts]
            for i, name in enumerate((*candidates, "single removals"))
        }
        size = _mean_or_zero(room[reacts]) or 1.0
        deviations = _mean_or_zero(std_error[reacts]) / size, _mean_or_zero(scatter[reacts]) / size
        out.append(
            (metric, _OrderScores(scores, *deviations, len(random), int((long & ~reacts).sum()), int((~long).sum())))
        )
    return out


def _mean_or_zero(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


@final
@dataclass(frozen=True)
class _MetricLine:
    """One line of the table before its verdict: its name, and the scores of the orders on the parts of its game."""

    name: str
    metric: str
    order_scores: _OrderScores
    game: RemovalGame

    @property
    def min_score(self) -> float:
        """The score below which a map says too little."""
        return MIN_DISTANCE_SCORE if self.game.by_distance else MIN_SCORE

    def estimate_mean(self) -> _MeanEstimate | None:
        """The mean over rows; of a single row only the scatter of random orders is known. None: no row applies."""
        scores = self.order_scores.scores["the map"]
        if not len(scores):
            return None
        if len(scores) == 1:
            deviation = float(np.hypot(self.order_scores.random_std, self.order_scores.std_error))
            return _MeanEstimate(float(scores[0]), deviation, deviation, self.order_scores.n_random - 1)
        deviation = float(scores.std(ddof=1))
        return _MeanEstimate(float(scores.mean()), deviation / math.sqrt(len(scores)), deviation, len(scores) - 1)

    def describe_estimate(self, estimate: _MeanEstimate, what: str) -> str:
        """The number in words: what was measured on which rows."""
        of, half = self.order_scores, critical_value(freedom=estimate.degrees_of_freedom) * estimate.std_error
        measure = "the distance from the row's own score" if self.game.by_distance else "the score"
        action = "removed" if self.metric == "deletion" else "put back"
        text = (
            f"{format_mean(estimate.mean, half)}, where 0 is random orders ({of.n_random}, standard error {of.std_error:.2f}) and 1 the best order known; "
            f"{measure} as {self.describe_parts()} parts are {action} in the order of {what}"
        )
        if of.n_inert:
            text += f"; {of.n_inert} rows left out, whose score no order changes"
        if of.n_short:
            text += f"; {of.n_short} rows left out for fewer than {MIN_SEGMENTS} parts"
        return text

    def describe_parts(self) -> str:
        """How many parts rows have."""
        counts = self.game.segment_counts
        least, most = int(counts[counts >= MIN_SEGMENTS].min(initial=self.game.n_segments)), int(counts.max())
        return f"{most}" if least == most else f"{least} to {most}"


@final
@dataclass(frozen=True)
class _MeanEstimate:
    """A mean over rows, its standard error, the standard deviation of one row, and degrees of freedom."""

    mean: float
    std_error: float
    std_of_row: float
    degrees_of_freedom: int


def _metric_checks(metrics: Sequence[_MetricLine], what: str) -> list[Check]:
    """Verdicts of all metrics together: Holm's adjustment keeps the chance of any wrong one at MAX_ERROR, for "pass" and for "fail"."""
    estimates = [m.estimate_mean() for m in metrics]
    both = list(zip(metrics, estimates, strict=True))
    above = adjust_p_values(
        [math.nan if e is None else mean_p_value(e.mean, e.std_error, e.degrees_of_freedom) for e in estimates]
    )
    below = adjust_p_values(
        [
            math.nan if e is None else mean_p_value(-e.mean, e.std_error, e.degrees_of_freedom, limit=-m.min_score)
            for m, e in both
        ]
    )
    family = sum(e is not None for e in estimates)
    return [
        _metric_check(m, e, (float(a), float(b)), family, what) for (m, e), a, b in zip(both, above, below, strict=True)
    ]


def _metric_check(
    m: _MetricLine, e: _MeanEstimate | None, p_values: tuple[float, float], family: int, what: str
) -> Check:
    """The verdict of one metric, by its p-values of being above chance and below the least score that counts."""
    if e is None:
        reason = f"no order of the {m.describe_parts()} parts changes the score more than random orders do, in any of {m.order_scores.n_inert} rows"
        return Check(FAITHFULNESS, m.name, "not applicable", None, reason + ".")
    (above, below), text, rows = p_values, m.describe_estimate(e, what), len(m.order_scores.scores["the map"])
    details = {
        "rows": m.order_scores.scores["the map"],
        "dropped": m.order_scores.n_inert + m.order_scores.n_short,
        "p above chance": above,
        "p too low": below,
    }
    counted = f", with {family} lines counted (Holm)" if family > 1 else ""
    if above <= MAX_ERROR:
        verdict, text = "pass", f"{text}: better than chance, p {_p_value(above)}{counted}"
    elif below <= MAX_ERROR:
        verdict = "fail"
        worse = not m.min_score or mean_p_value(-e.mean, e.std_error, e.degrees_of_freedom) <= MAX_ERROR
        known = "worse than chance" if worse else f"below {m.min_score:g}, hardly better than chance"
        text += f": {known}, p {_p_value(below)}{counted}"
    else:
        distance = max(e.mean, m.min_score - e.mean)
        needed = rows_needed(distance, e.std_of_row, 1 - 2 * MAX_ERROR / family)
        could = "more than 100,000 rows" if needed is None else f"about {max(needed, rows + 1):,} rows like these"
        verdict = "cannot tell"
        text += f": {rows} row{'s' if rows > 1 else ''} cannot tell it from chance (p {_p_value(above)}{counted}); {could} could"
    return Check(FAITHFULNESS, m.name, verdict, e.mean, text + ".", details)


def _constant_map(c: Check) -> Check:
    """The verdict on a map that has the same value everywhere, in every row: where the score depends on the order of the parts, it names none of them."""
    if c.verdict == "not applicable":
        return c
    reason = (
        "the given map is constant in every row, so it names no part, and the score depends on which parts are removed."
    )
    return replace(c, verdict="fail", reason=reason)


def _p_value(p: float) -> str:
    return f"= {p:.2g}" if p >= MIN_P_SHOWN else f"< {MIN_P_SHOWN:g}"


def _agreement_check(checks: list[Check], columns: list[list[float]], names: list[str]) -> Check:
    judged = [c for c in checks if c.verdict != "not applicable"]
    if len(judged) < 2:
        return Check(FAITHFULNESS, TOGETHER_LINE, "not applicable", None, "fewer than two metrics apply.")
    correlations = [t for t in kendall_of_pairs(columns) if np.isfinite(t)]
    tau, least = (float(np.mean(correlations)), min(correlations)) if correlations else (0.0, 0.0)
    passes, fails = (sum(c.verdict == v for c in judged) for v in ("pass", "fail"))
    order = f"Kendall's tau of their rankings of {len(columns[0])} maps (this one and controls) is {tau:.2f} on average, {least:.2f} at least"
    text = f"{passes} of {len(judged)} metrics find it better than chance; {order}"
    details: dict[str, Any] = {
        "maps": names,
        "metrics": [c.name for c in checks],
        "scores": columns,
        "taus": correlations,
    }
    if passes == len(judged) and tau >= MIN_AGREEMENT:
        return Check(FAITHFULNESS, TOGETHER_LINE, "pass", tau, text + ": they agree.", details)
    if fails and not passes:
        return Check(FAITHFULNESS, TOGETHER_LINE, "fail", tau, text + ": none does.", details)
    if not fails and passes < len(judged):
        reason = f": {len(judged) - passes} of them cannot tell, and each says how many rows could."
        return Check(FAITHFULNESS, TOGETHER_LINE, "cannot tell", tau, text + reason, details)
    return Check(
        FAITHFULNESS,
        TOGETHER_LINE,
        "disagree",
        tau,
        text + ": they disagree, so do not quote one of them alone.",
        details,
    )


CHECK_GROUP: Final = CheckGroup(
    FAITHFULNESS, faithfulness_checks, CheckCost(n_forwards=FORWARDS_FOR_CURVES, needs_rows=True)
)
