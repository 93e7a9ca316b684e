"""Do the parts the map names matter to the score? Deletion and insertion, over several stand-ins for "absent", between chance and the best order known.

Sources: Petsiuk, Das & Saenko 2018 (RISE, arXiv:1806.07421) for deletion and insertion; normalised between bounds as Schulz et al. 2024 (NAOPC,
arXiv:2408.08137) ask for. Metrics of this family are known to contradict each other, so none of them is shown alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.checks.audit import CheckSubject
from whybox.checks.deletion_curves import FEW_SEGMENTS, MIN_SEGMENTS, Game, ordered, parts_of
from whybox.checks.result import Check
from whybox.checks.token_removal import orders_of_tokens, removal
from whybox.checks.trivial_maps import edges, itself, picture
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.problem import Indices, Question
from whybox.numerics.statistics import critical_value, format_mean, kendall_of_pairs, mean_interval

__all__ = ["BASELINES_TRIED", "faithfulness", "games_of"]

FAITHFULNESS: Final = "faithfulness"
TOGETHER_LINE: Final = "faithfulness: together"
BASELINES_TRIED: Final = ("zero", "mean", "blur", "other row")
RANDOM_ORDERS: Final = 6  # random orders
MANY_RANDOM_ORDERS: Final = 24  # of few parts, which are asked about once in each company
MAX_ORDERS: Final = 40  # of which the best is met by chance in 2.5 %
MIN_AGREEMENT: Final = 0.2  # mean tau; measured on digits, metrics that contradict each other have -0.6 to 0.1, those that agree 0.75 and more


def faithfulness(case: CheckSubject, absent: Sequence[str] | None = None) -> list[Check]:
    """Measure the map's order against random orders and the best one known.

    Raises:
        OptionError: stand-ins that are not known, or fewer than two.
    """
    q = case.question()
    games, why = games_of(case, q, absent)
    if why:
        return [Check(FAITHFULNESS, TOGETHER_LINE, "not applicable", None, why)]
    candidates = _candidates(case, games) if case.tokens is None else orders_of_tokens(case, games)
    checks: list[Check] = []
    columns: list[list[float]] = []
    for name, game in games.items():
        rng = np.random.default_rng([case.seed, 79])
        chance = [game.drawn(rng) for _ in range(MANY_RANDOM_ORDERS if game.parts <= FEW_SEGMENTS else RANDOM_ORDERS)]
        for metric, found in _measured(game, candidates, chance):
            checks.append(_line(f"{metric}, {name}", metric, found, game))
            columns.append([_mean(s) for s in found.scores.values()] + [0.0])
    return [*checks, _together(checks, columns, [*candidates, "chance"])]


def games_of(case: CheckSubject, q: Question, absent: Sequence[str] | None) -> tuple[dict[str, Game], str]:
    """Deletion and insertion by each stand-in; and why there is none.

    Raises:
        OptionError: stand-ins that are not known, or fewer than two.
    """
    if case.tokens is not None:
        games, why = removal(case, q, absent)
        own = next(iter(games.values())).own if games else np.zeros(0)
        ways = float(
            sum(math.lgamma(n + 1) for n in own if n >= MIN_SEGMENTS)
        )  # logarithm of how many orders there are
        if not why and ways < math.log(MAX_ORDERS):
            said = f"there are only {math.exp(ways):.0f} orders of all that may be taken away from these texts"
            return {}, f"{said}, so that even the best of them could be chance; bring more texts, or longer ones."
        return games, why
    why = _unfit(case, q)
    if why:
        return {}, why
    ids, count = [], 0
    for number in case.of:
        own = parts_of(q.inputs[number])
        ids.append((number, own + count))
        count += int(own.max()) + 1
    return {
        name: Game(
            q,
            tuple(ids),
            count,
            tuple(_absent(name, case, number, q.inputs[number]) for number in range(len(q.inputs))),
        )
        for name in _names(q.inputs, absent, len(case.inputs[0].x))
    }, ""


def _unfit(case: CheckSubject, q: Question) -> str:
    for number, part in zip(case.of, case.maps(), strict=True):
        given = q.inputs[number]
        if given.whole:
            return (
                "the inputs are whole numbers (tokens, categories), of which no zero, mean or blur stands for absent."
            )
        shape = tuple(given.x.shape[1:])
        if part.shape[1:] not in (shape, given.sizes):
            return f"the map has the shape {part.shape[1:]} a row and the input {shape}: its places are not those of the input, which could be taken away."
    if sum(int(parts_of(q.inputs[i]).max()) + 1 for i in case.of) < MIN_SEGMENTS:
        return "the input has fewer than three parts."
    return ""


def _names(inputs: tuple[Input, ...], asked: Sequence[str] | None, rows: int) -> tuple[str, ...]:
    pictures = any(picture(i) for i in inputs)
    if asked is None:
        return (
            ("zero", "blur")
            if pictures
            else ("mean", "other row")
            if rows >= 8
            else ("zero", "other row")
            if rows >= 2
            else ("zero", "one")
        )
    unknown = [a for a in asked if a not in (*BASELINES_TRIED, "one")]
    if unknown or isinstance(asked, str):
        raise OptionError(Argument("absent", asked), f": a tuple of {', '.join(map(repr, BASELINES_TRIED))}.")
    if len(set(asked)) < 2:
        raise OptionError("absent: what stands for a part that is gone decides the result, so at least two are needed.")
    if "blur" in asked and not pictures:
        raise OptionError("absent: only pictures, series and volumes can be blurred.")
    return tuple(dict.fromkeys(asked))


def _absent(name: str, case: CheckSubject, number: int, given: Input) -> npt.NDArray[Any]:
    """Rows that stand in for what is gone."""
    x, everything = given.x, case.inputs[number].x
    if given.whole:
        return x
    if name == "zero":
        return np.zeros_like(x)
    if name == "one":
        return np.ones_like(x)
    if name == "mean":
        return (
            np.broadcast_to(everything.mean(axis=0, keepdims=True), x.shape).astype(x.dtype)
            if not picture(given)
            else _level(given)
        )
    if name == "other row":
        shift = 1 + np.random.default_rng([case.seed, 80]).integers(len(everything) - 1) if len(everything) > 1 else 0
        return np.asarray(everything[(case.rows + shift) % len(everything)])
    return _blurred(given)


def _level(given: Input) -> npt.NDArray[Any]:
    """Each row's mean over places, channel by channel."""
    return np.broadcast_to(given.x.mean(axis=given.places, keepdims=True), given.x.shape).astype(given.x.dtype)


def _blurred(given: Input) -> npt.NDArray[Any]:
    """A box of a quarter of each axis, three times over: nearly a Gaussian; the border is repeated."""
    x = given.x.astype(np.float64)
    for axis in given.places:
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


def _candidates(case: CheckSubject, games: Mapping[str, Game]) -> dict[str, Indices]:
    """Orders of the parts, largest first: by the map, and by maps that know nothing of the network."""
    game = next(iter(games.values()))
    ids, count, seed = game.ids, game.parts, case.seed
    given = [(case.inputs[n], case.inputs[n].x[case.rows]) for n, _ in ids]
    own = []
    for (g, _), part in zip(given, case.maps(), strict=True):
        value = np.abs(part) if case.sensitivity else part
        own.append(value if value.ndim == len(g.places) + 1 or g.channel is None else value.sum(axis=g.channel))
    out = {
        "the map": _order(own, ids, count, seed),
        "the input itself": _order([itself(g, x) for g, x in given], ids, count, seed),
    }
    if all(picture(g) for g, _ in given):
        out["an edge detector"] = _order([edges(g, x) for g, x in given], ids, count, seed)
    return out


def _order(maps: Sequence[Floats], ids: Sequence[tuple[int, Indices]], count: int, seed: int) -> Indices:
    total = np.zeros((len(maps[0]), count))
    for part, (_, own) in zip(maps, ids, strict=True):
        for k in range(len(part)):
            total[k] += np.bincount(own.reshape(-1), weights=part[k].reshape(-1), minlength=count)
    return ordered(total, seed)


@final
@dataclass(frozen=True)
class _Found:
    """Of a metric: each candidate's score of every row that reacts (0 chance, 1 the best known).

    Of chance the standard error (`doubt`), how far one order scatters, and how many were drawn (`random`); how many rows do not react (`still`), and how many are too short.
    """

    scores: dict[str, Floats]
    doubt: float
    scatter: float
    random: int
    still: int
    short: int


def _measured(game: Game, candidates: dict[str, Indices], chance: list[Indices]) -> list[tuple[str, _Found]]:
    """For deletion and insertion, what the candidates' orders are worth."""
    (away, alone), (come, _) = game.greedy(away=True), game.greedy(away=False)
    tried = {
        **candidates,
        "single removals": np.argsort(alone, axis=1, kind="stable"),
        "away": away,
        "come": game.turned(come),
    }
    areas = game.areas([*tried.values(), *map(game.turned, tried.values()), *chance])
    k = len(tried)
    down, up, random = areas[:k], areas[k : 2 * k], areas[2 * k :]
    mean, scatter = random.mean(axis=0), random.std(axis=0, ddof=1)
    doubt = scatter / np.sqrt(len(random))
    long = game.own >= MIN_SEGMENTS
    out = []
    for metric, sign, own in (("deletion", -1.0, down), ("insertion", 1.0, up)):
        best = (sign * areas).max(axis=0) * sign
        room = sign * (best - mean)
        reacts = long & (room > np.maximum(3 * doubt, 1e-6 * (np.abs(mean) + 1e-12)))
        scores = {
            name: (sign * (own[i] - mean) / np.where(reacts, room, 1.0))[reacts]
            for i, name in enumerate((*candidates, "single removals"))
        }
        size = _mean(room[reacts]) or 1.0
        apart = _mean(doubt[reacts]) / size, _mean(scatter[reacts]) / size
        out.append((metric, _Found(scores, *apart, len(random), int((long & ~reacts).sum()), int((~long).sum()))))
    return out


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def _line(name: str, metric: str, found: _Found, game: Game) -> Check:
    what = "taken away" if metric == "deletion" else "put back"
    scores = found.scores["the map"]
    least, most = int(game.own[game.own >= MIN_SEGMENTS].min(initial=game.parts)), int(game.own.max())
    count = f"{most}" if least == most else f"{least} to {most}"
    if not len(scores):
        why = f"no order of the {count} parts moves the score more than chance does, in any of {found.still} rows"
        return Check(FAITHFULNESS, name, "not applicable", None, why + ".")
    mean, half = mean_interval(scores)
    # of one row, what is known is how far a single random order may be from the mean of those drawn
    half = (
        half
        if len(scores) > 1
        else critical_value(freedom=found.random - 1) * float(np.hypot(found.scatter, found.doubt))
    )
    said = (
        f"{format_mean(mean, half)}, where 0 is random orders ({found.random}, standard error {found.doubt:.2f}) and 1 the best order known; "
        f"{count} parts {what} in the map's order"
    )
    if found.still:
        said += f"; {found.still} rows left out, whose score no order moves"
    if found.short:
        said += f"; {found.short} rows left out for fewer than {MIN_SEGMENTS} parts"
    details = {"rows": scores, "dropped": found.still + found.short}
    if mean - half > 0:
        return Check(FAITHFULNESS, name, "pass", mean, said + ": better than chance.", details)
    why = "worse than chance" if mean + half < 0 else f"not told apart from chance by these {len(scores)} rows"
    return Check(FAITHFULNESS, name, "fail", mean, f"{said}: {why}.", details)


def _together(checks: list[Check], columns: list[list[float]], names: list[str]) -> Check:
    told = [c for c in checks if c.verdict in ("pass", "fail")]
    if len(told) < 2:
        return Check(FAITHFULNESS, TOGETHER_LINE, "not applicable", None, "fewer than two metrics say anything.")
    found = [t for t in kendall_of_pairs(columns) if np.isfinite(t)]
    tau, least = (float(np.mean(found)), min(found)) if found else (0.0, 0.0)
    passes = sum(c.verdict == "pass" for c in told)
    order = f"Kendall's tau of the order in which they put {len(columns[0])} maps (this one and controls) is {tau:.2f} on average, {least:.2f} at least"
    said = f"{passes} of {len(told)} metrics say better than chance; {order}"
    details: dict[str, Any] = {"maps": names, "metrics": [c.name for c in checks], "scores": columns, "taus": found}
    if passes == len(told) and tau >= MIN_AGREEMENT:
        return Check(FAITHFULNESS, TOGETHER_LINE, "pass", tau, said + ": they agree.", details)
    if passes == 0:
        return Check(FAITHFULNESS, TOGETHER_LINE, "fail", tau, said + ": none does.", details)
    return Check(
        FAITHFULNESS,
        TOGETHER_LINE,
        "disagree",
        tau,
        said + ": they disagree, so none of them is to be quoted alone.",
        details,
    )
