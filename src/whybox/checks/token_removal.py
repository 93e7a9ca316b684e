"""Taking tokens and words away from texts: their parts, what stands for them, and maps that know nothing of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.checks.audit import CheckSubject
from whybox.checks.deletion_curves import MAX_SEGMENTS, MIN_SEGMENTS, Game, ordered
from whybox.checks.token_maps import Tokens
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.methods.saliency.problem import Indices, Question

__all__ = ["REPLACEMENTS", "orders_of_tokens", "removal"]

REPLACEMENTS: Final = ("absent token", "hidden", "neutral token", "other tokens")
_NEUTRAL: Final = ("[UNK]", "<unk>", "[PAD]", "<pad>", "[MASK]", "<mask>")
Bools = npt.NDArray[np.bool_]


def removal(case: CheckSubject, q: Question, asked: Sequence[str] | None) -> tuple[dict[str, Game], str]:
    """The ways to take tokens away, two of them unless others are asked for, by the words that name them; and why there are none.

    Raises:
        OptionError: stand-ins that are not known, or that these texts do not have.
    """
    assert case.tokens is not None  # noqa: S101  # asked by the caller
    tokens, rows = case.tokens, case.rows
    ids, live = _parts(tokens, rows)
    if not (live.sum(axis=1) >= MIN_SEGMENTS).any():
        what = "words" if tokens.words else "tokens"
        return {}, f"no text checked has three {what} that may be taken away (special ones stay)."
    found: dict[str, tuple[str, int, npt.NDArray[Any]]] = {}
    for name, (said, number, behind) in _stand_ins(case, tokens, rows).items():
        xs = [i.x[rows] for i in tokens.inputs]
        xs[number] = np.where(ids >= 0, behind, xs[number])
        if _finite(q, xs):  # nothing left to look at may be a division by zero
            found[name] = (said, number, behind)
    chosen = _chosen(list(found), asked)
    if len(chosen) < 2:
        why = "what stands for a token that is gone decides the result, so two stand-ins are needed, and there is "
        have = f"only {found[chosen[0]][0]}" if chosen else "none"
        return {}, f"{why}{have}: name a token (baseline_token=), bring a mask, or explain several texts at once."
    games = {}
    for name in chosen:
        said, number, behind = found[name]
        full = [i.x[rows] for i in tokens.inputs]
        full[number] = behind
        games[said] = Game(q, ((number, ids),), live.shape[1], tuple(full), live)
    return games, ""


def orders_of_tokens(case: CheckSubject, games: Mapping[str, Game]) -> dict[str, Indices]:
    """Orders of the parts, largest first: by the map, and by maps that know nothing of the network."""
    assert case.tokens is not None  # noqa: S101  # asked by the caller
    tokens, rows, game = case.tokens, case.rows, next(iter(games.values()))
    own = case.maps()[0]
    own = np.abs(own) if case.sensitivity else own
    own = own if own.ndim == 2 else own.sum(axis=-1)
    maps = {"the map": own, **tokens.trivial(rows)}
    ids, live = game.ids[0][1], game.live
    assert live is not None  # noqa: S101  # made by removal
    return {name: _order(a, tokens.which[rows], ids, live, case.seed) for name, a in maps.items()}


def _parts(tokens: Tokens, rows: Indices) -> tuple[Indices, Bools]:
    """The part of each token, (rows, tokens), -1 for those that stay; and which parts a row has. More than MAX_SEGMENTS are taken with their neighbours."""
    free, which = tokens.free[rows], tokens.which[rows]
    ids = np.full(free.shape, -1, dtype=np.intp)
    counts = np.zeros(len(rows), dtype=np.intp)
    for row in range(len(rows)):
        if free[row].any():
            place = np.unique(which[row][free[row]], return_inverse=True)[1].reshape(-1)
            n = int(place.max()) + 1
            counts[row] = min(n, MAX_SEGMENTS)
            ids[row, free[row]] = place * counts[row] // n
    return ids, np.arange(max(int(counts.max(initial=0)), 1)) < counts[:, None]


def _order(values: Floats, which: Indices, ids: Indices, live: Bools, seed: int) -> Indices:
    total = np.zeros(live.shape)
    for row in range(len(ids)):
        pairs = np.unique(
            np.stack([ids[row], which[row]])[:, ids[row] >= 0], axis=1
        )  # a word of several tokens counts once
        total[row] = np.bincount(pairs[0], weights=values[row][pairs[1]], minlength=live.shape[1])
    return ordered(np.where(live, total, -np.inf), seed)


def _stand_ins(case: CheckSubject, tokens: Tokens, rows: Indices) -> dict[str, tuple[str, int, npt.NDArray[Any]]]:
    """By name: in words, the input that changes, and what it is when all is gone, (rows, tokens)."""
    ids = tokens.ids[rows]
    out: dict[str, tuple[str, int, npt.NDArray[Any]]] = {}
    used = set()
    if tokens.absent is not None:
        out["absent token"] = (tokens.absent[1], 0, np.full_like(ids, tokens.absent[0]))
        used.add(tokens.absent[0])
    if tokens.mask is not None:
        out["hidden"] = ("hidden by the mask", tokens.mask, np.zeros_like(tokens.inputs[tokens.mask].x[rows]))
    if tokens.texts is not None:
        known = [(found, n) for n in _NEUTRAL if (found := tokens.texts.lookup(n)) is not None and found not in used]
        if known:
            out["neutral token"] = (known[0][1], 0, np.full_like(ids, known[0][0]))
    pool = tokens.ids[tokens.free]
    if len(tokens.ids) > 1 and len(np.unique(pool)) > 1:
        drawn = np.random.default_rng([case.seed, 80]).choice(pool, size=ids.shape)
        out["other tokens"] = ("tokens drawn from all texts", 0, drawn.astype(ids.dtype))
    return out


def _chosen(have: list[str], asked: Sequence[str] | None) -> list[str]:
    if asked is None:
        return have[:2]
    unknown = [a for a in asked if a not in REPLACEMENTS]
    if unknown or isinstance(asked, str):
        raise OptionError(Argument("absent", asked), f": of tokens a tuple of {', '.join(map(repr, REPLACEMENTS))}.")
    if missing := [a for a in asked if a not in have]:
        raise OptionError(
            Argument("absent", missing[0]),
            f" is not there for these texts and this network; there are: {', '.join(map(repr, have))}.",
        )
    if len(set(asked)) < 2:
        raise OptionError("absent: what stands for a part that is gone decides the result, so at least two are needed.")
    return list(dict.fromkeys(asked))


def _finite(q: Question, xs: Sequence[npt.NDArray[Any]]) -> bool:
    for start in range(0, q.rows, q.at_once):
        some = np.arange(start, min(start + q.at_once, q.rows))
        if not np.isfinite(q.asked(tuple(q.net.array(np.ascontiguousarray(x[some])) for x in xs), some)).all():
            return False
    return True
