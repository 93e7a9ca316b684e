"""Do the parts that a map ranks high matter to the score? Deletion and insertion with several replacements, between chance and the best order known.

Sources: Petsiuk, Das & Saenko 2018 (RISE, arXiv:1806.07421) for deletion and insertion; normalised between bounds as in Schulz et al. 2024 (NAOPC,
arXiv:2408.08137). Metrics of this family are known to contradict each other, so none of them is shown alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.checks.audit import CheckSubject
from whybox.checks.cost import CheckCost
from whybox.checks.deletion_curves import FEW_SEGMENTS, MIN_SEGMENTS, RemovalGame, rank_segments, segment_ids
from whybox.checks.group import CheckGroup
from whybox.checks.result import Check
from whybox.checks.token_removal import token_games, token_orders
from whybox.checks.trivial_maps import edge_map, input_size, is_picture
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.problem import Indices, SaliencyProblem
from whybox.numerics.statistics import critical_value, format_mean, kendall_of_pairs, mean_interval

__all__ = ["BASELINES_TRIED", "GROUP", "faithfulness", "removal_games"]

FAITHFULNESS: Final = "faithfulness"
FORWARDS_FOR_CURVES: Final = 700  # of a row, about, for deletion and insertion
TOGETHER_LINE: Final = "faithfulness: together"
BASELINES_TRIED: Final = ("zero", "mean", "blur", "other row")
RANDOM_ORDERS: Final = 6  # random orders
MANY_RANDOM_ORDERS: Final = 24  # if there are few parts, whose coalitions are evaluated once each
MAX_ORDERS: Final = 40  # the best of so many is found by chance in 2.5 %
MIN_AGREEMENT: Final = 0.2  # mean tau; measured on digits, metrics that contradict each other have -0.6 to 0.1, those that agree 0.75 and more


def faithfulness(subject: CheckSubject) -> list[Check]:
    """Compare the map's order of parts with random orders and the best one known.

    Raises:
        OptionError: replacements that are not known, or fewer than two.
    """
    problem = subject.score_problem()
    games, reason = removal_games(subject, problem, subject.replacements)
    if reason:
        return [Check(FAITHFULNESS, TOGETHER_LINE, "not applicable", None, reason)]
    candidates = _candidates(subject, games) if subject.tokens is None else token_orders(subject, games)
    checks: list[Check] = []
    columns: list[list[float]] = []
    for name, game in games.items():
        rng = np.random.default_rng([subject.seed, 79])
        chance = [
            game.random_orders(rng) for _ in range(MANY_RANDOM_ORDERS if game.count <= FEW_SEGMENTS else RANDOM_ORDERS)
        ]
        for metric, order_scores in _score_orders(game, candidates, chance):
            checks.append(_metric_check(f"{metric}, {name}", metric, order_scores, game))
            columns.append([_mean(s) for s in order_scores.scores.values()] + [0.0])
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
                _replacement_rows(name, subject, number, problem.inputs[number])
                for number in range(len(problem.inputs))
            ),
        )
        for name in _replacement_names(problem.inputs, replacements, len(subject.inputs[0].x))
    }, ""


def _why_not_applicable(subject: CheckSubject, problem: SaliencyProblem) -> str:
    for number, part in zip(subject.input_of, subject.maps(), strict=True):
        given = problem.inputs[number]
        if given.without_gradient:
            return "the inputs are whole numbers (tokens, categories), which zero, mean or blur cannot replace."
        shape = tuple(given.x.shape[1:])
        if part.shape[1:] not in (shape, given.position_shape):
            return f"the map has the shape {part.shape[1:]} a row and the input {shape}: its positions are not those of the input, which could be removed."
    if sum(int(segment_ids(problem.inputs[i]).max()) + 1 for i in subject.input_of) < MIN_SEGMENTS:
        return "the input has fewer than three parts."
    return ""


def _replacement_names(inputs: tuple[Input, ...], requested: Sequence[str] | None, rows: int) -> tuple[str, ...]:
    pictures = any(is_picture(i) for i in inputs)
    if requested is None:
        return (
            ("zero", "blur")
            if pictures
            else ("mean", "other row")
            if rows >= 8
            else ("zero", "other row")
            if rows >= 2
            else ("zero", "one")
        )
    unknown = [a for a in requested if a not in (*BASELINES_TRIED, "one")]
    if unknown or isinstance(requested, str):
        raise OptionError(Argument("absent", requested), f": a tuple of {', '.join(map(repr, BASELINES_TRIED))}.")
    if len(set(requested)) < 2:
        raise OptionError(
            "absent: the result depends on what replaces a removed part, so at least two replacements are needed."
        )
    if "blur" in requested and not pictures:
        raise OptionError("absent: only pictures, series and volumes can be blurred.")
    return tuple(dict.fromkeys(requested))


def _replacement_rows(name: str, subject: CheckSubject, number: int, given: Input) -> npt.NDArray[Any]:
    """Rows that replace removed parts."""
    x, all_rows = given.x, subject.inputs[number].x
    if given.without_gradient:
        return x
    if name == "zero":
        return np.zeros_like(x)
    if name == "one":
        return np.ones_like(x)
    if name == "mean":
        return (
            np.broadcast_to(all_rows.mean(axis=0, keepdims=True), x.shape).astype(x.dtype)
            if not is_picture(given)
            else _channel_means(given)
        )
    if name == "other row":
        shift = 1 + np.random.default_rng([subject.seed, 80]).integers(len(all_rows) - 1) if len(all_rows) > 1 else 0
        return np.asarray(all_rows[(subject.rows + shift) % len(all_rows)])
    return _blur(given)


def _channel_means(given: Input) -> npt.NDArray[Any]:
    """Each row's mean over positions, channel by channel."""
    return np.broadcast_to(given.x.mean(axis=given.position_axes, keepdims=True), given.x.shape).astype(given.x.dtype)


def _blur(given: Input) -> npt.NDArray[Any]:
    """A box of a quarter of each axis, three times over: nearly a Gaussian; the border is repeated."""
    x = given.x.astype(np.float64)
    for axis in given.position_axes:
        n = x.shape[axis]
        half = max(1, n // 8)
        for _ in range(3):
            wide = np.pad(x, [(half, half) if i == axis else (0, 0) for i in range(x.ndim)], mode="edge")
            total = np.cumsum(np.insert(wide, 0, 0.0, axis=axis), axis=axis)
            x = (
                np.take(total, np.arange(2 * half + 1, n + 2 * half + 1), axis=axis)
                - np.take(total, np.arange(n), axis=axis)
            ) / (2 * half + 1)
    return x.astype(given.x.dtype)


def _candidates(subject: CheckSubject, games: Mapping[str, RemovalGame]) -> dict[str, Indices]:
    """Orders of the parts, largest first: by the map, and by trivial maps."""
    game = next(iter(games.values()))
    ids, count, seed = game.input_segments, game.count, subject.seed
    given = [(subject.inputs[n], subject.inputs[n].x[subject.rows]) for n, _ in ids]
    own = []
    for (g, _), part in zip(given, subject.maps(), strict=True):
        value = np.abs(part) if subject.sensitivity else part
        own.append(value if value.ndim == len(g.position_axes) + 1 or g.channel is None else value.sum(axis=g.channel))
    out = {
        "the map": _order(own, ids, count, seed),
        "the input itself": _order([input_size(g, x) for g, x in given], ids, count, seed),
    }
    if all(is_picture(g) for g, _ in given):
        out["an edge detector"] = _order([edge_map(g, x) for g, x in given], ids, count, seed)
    return out


def _order(maps: Sequence[Floats], ids: Sequence[tuple[int, Indices]], count: int, seed: int) -> Indices:
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
        std_error: of the mean of random orders. scatter: their standard deviation. random: number of random orders.
        inert: rows whose score does not react. short: rows with too few parts.
    """

    scores: dict[str, Floats]
    std_error: float
    scatter: float
    random: int
    inert: int
    short: int


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
        size = _mean(room[reacts]) or 1.0
        deviations = _mean(std_error[reacts]) / size, _mean(scatter[reacts]) / size
        out.append(
            (metric, _OrderScores(scores, *deviations, len(random), int((long & ~reacts).sum()), int((~long).sum())))
        )
    return out


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def _metric_check(name: str, metric: str, order_scores: _OrderScores, game: RemovalGame) -> Check:
    action = "removed" if metric == "deletion" else "put back"
    scores = order_scores.scores["the map"]
    least, most = (
        int(game.segment_counts[game.segment_counts >= MIN_SEGMENTS].min(initial=game.count)),
        int(game.segment_counts.max()),
    )
    count = f"{most}" if least == most else f"{least} to {most}"
    if not len(scores):
        reason = f"no order of the {count} parts changes the score more than random orders do, in any of {order_scores.inert} rows"
        return Check(FAITHFULNESS, name, "not applicable", None, reason + ".")
    mean, half = mean_interval(scores)
    # of a single row, only the scatter of random orders is known
    half = (
        half
        if len(scores) > 1
        else critical_value(freedom=order_scores.random - 1)
        * float(np.hypot(order_scores.scatter, order_scores.std_error))
    )
    random_orders = f"{order_scores.random}, standard error {order_scores.std_error:.2f}"
    text = f"{format_mean(mean, half)}, where 0 is random orders ({random_orders}) and 1 the best order known; {count} parts {action} in the map's order"
    if order_scores.inert:
        text += f"; {order_scores.inert} rows left out, whose score no order changes"
    if order_scores.short:
        text += f"; {order_scores.short} rows left out for fewer than {MIN_SEGMENTS} parts"
    details = {"rows": scores, "dropped": order_scores.inert + order_scores.short}
    if mean - half > 0:
        return Check(FAITHFULNESS, name, "pass", mean, text + ": better than chance.", details)
    reason = "worse than chance" if mean + half < 0 else f"these {len(scores)} rows cannot tell it from chance"
    return Check(FAITHFULNESS, name, "fail", mean, f"{text}: {reason}.", details)


def _agreement_check(checks: list[Check], columns: list[list[float]], names: list[str]) -> Check:
    judged = [c for c in checks if c.verdict in ("pass", "fail")]
    if len(judged) < 2:
        return Check(FAITHFULNESS, TOGETHER_LINE, "not applicable", None, "fewer than two metrics apply.")
    correlations = [t for t in kendall_of_pairs(columns) if np.isfinite(t)]
    tau, least = (float(np.mean(correlations)), min(correlations)) if correlations else (0.0, 0.0)
    passes = sum(c.verdict == "pass" for c in judged)
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
    if passes == 0:
        return Check(FAITHFULNESS, TOGETHER_LINE, "fail", tau, text + ": none does.", details)
    return Check(
        FAITHFULNESS,
        TOGETHER_LINE,
        "disagree",
        tau,
        text + ": they disagree, so do not quote one of them alone.",
        details,
    )


GROUP: Final = CheckGroup(FAITHFULNESS, faithfulness, CheckCost(forwards=FORWARDS_FOR_CURVES, needs_rows=True))
