"""Removing tokens and words from texts: their parts, their replacements, and trivial maps for comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.checks.check_subject import CheckSubject
from whybox.checks.deletion_curves import MAX_SEGMENTS, MIN_SEGMENTS, RemovalGame, rank_segments
from whybox.checks.replacements import check_requested
from whybox.checks.token_maps import TokenInputs
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.methods.saliency.problem import Indices, SaliencyProblem

__all__ = ["TOKEN_REPLACEMENTS", "token_games", "token_orders"]

TOKEN_REPLACEMENTS: Final = ("absent token", "hidden", "neutral token", "other tokens")
_NEUTRAL_TOKENS: Final = ("[UNK]", "<unk>", "[PAD]", "<pad>", "[MASK]", "<mask>")
BoolArray = npt.NDArray[np.bool_]


def token_games(
    subject: CheckSubject, problem: SaliencyProblem, requested: Sequence[str] | None
) -> tuple[dict[str, RemovalGame], str]:
    """Removal of tokens with each replacement, by its description: two unless others are asked for; or the reason why there is none.

    Raises:
        OptionError: replacements that are not known, or not possible for these texts.
    """
    assert subject.tokens is not None  # noqa: S101  # asked by the caller
    tokens, rows = subject.tokens, subject.rows
    ids, present = _token_segments(tokens, rows)
    if not (present.sum(axis=1) >= MIN_SEGMENTS).any():
        what = "words" if tokens.words else "tokens"
        return {}, f"no text checked has three {what} that may be removed (special ones stay)."
    found: dict[str, tuple[str, int, npt.NDArray[Any]]] = {}
    for name, (description, number, replacement) in _token_replacements(subject, tokens, rows).items():
        xs = [i.x[rows] for i in tokens.inputs]
        xs[number] = np.where(ids >= 0, replacement, xs[number])
        if _all_finite(problem, xs):  # without any token the network may divide by zero
            found[name] = (description, number, replacement)
    chosen = _choose_replacements(list(found), requested)
    if len(chosen) < 2:
        reason = "the result depends on what replaces a removed token, so two replacements are needed, and there is "
        have = f"only {found[chosen[0]][0]}" if chosen else "none"
        return {}, f"{reason}{have}: name a token (baseline_token=), pass a mask, or explain several texts at once."
    games = {}
    for name in chosen:
        description, number, replacement = found[name]
        full = [i.x[rows] for i in tokens.inputs]
        full[number] = replacement
        games[description] = RemovalGame(
            problem, ((number, ids),), present.shape[1], tuple(full), present, subject.is_unsigned
        )
    return games, ""


def token_orders(subject: CheckSubject, games: Mapping[str, RemovalGame]) -> dict[str, Indices]:
    """Orders of the parts, largest first: by the map, and by trivial maps."""
    assert subject.tokens is not None  # noqa: S101  # asked by the caller
    tokens, rows, game = subject.tokens, subject.rows, next(iter(games.values()))
    own = subject.explained_maps()[0]
    own = np.abs(own) if subject.is_unsigned else own
    own = own if own.ndim == 2 else own.sum(axis=-1)
    maps = {"the map": own, **tokens.trivial_maps(rows)}
    ids, present = game.input_segments[0][1], game.has_segment
    assert present is not None  # noqa: S101  # as token_games makes it
    return {name: _token_order(a, tokens.position_of[rows], ids, present, subject.seed) for name, a in maps.items()}


def _token_segments(tokens: TokenInputs, rows: Indices) -> tuple[Indices, BoolArray]:
    """The part of each token, (rows, tokens), -1 for those that stay; and which parts a row has. More than MAX_SEGMENTS are joined with their neighbours."""
    free, which = tokens.is_removable[rows], tokens.position_of[rows]
    ids = np.full(free.shape, -1, dtype=np.intp)
    counts = np.zeros(len(rows), dtype=np.intp)
    for row in range(len(rows)):
        if free[row].any():
            place = np.unique(which[row][free[row]], return_inverse=True)[1].reshape(-1)
            n = int(place.max()) + 1
            counts[row] = min(n, MAX_SEGMENTS)
            ids[row, free[row]] = place * counts[row] // n
    return ids, np.arange(max(int(counts.max(initial=0)), 1)) < counts[:, None]


def _token_order(values: Floats, which: Indices, ids: Indices, present: BoolArray, seed: int) -> Indices:
    total = np.zeros(present.shape)
    for row in range(len(ids)):
        pairs = np.unique(
            np.stack([ids[row], which[row]])[:, ids[row] >= 0], axis=1
        )  # a word of several tokens counts once
        total[row] = np.bincount(pairs[0], weights=values[row][pairs[1]], minlength=present.shape[1])
    return rank_segments(np.where(present, total, -np.inf), seed)


def _token_replacements(
    subject: CheckSubject, tokens: TokenInputs, rows: Indices
) -> dict[str, tuple[str, int, npt.NDArray[Any]]]:
    """By name: description, index of the input that changes, and that input with all tokens removed, (rows, tokens)."""
    ids = tokens.token_ids[rows]
    out: dict[str, tuple[str, int, npt.NDArray[Any]]] = {}
    used = set()
    if tokens.absent_token is not None:
        out["absent token"] = (tokens.absent_token[1], 0, np.full_like(ids, tokens.absent_token[0]))
        used.add(tokens.absent_token[0])
    if tokens.mask_input is not None:
        out["hidden"] = (
            "hidden by the mask",
            tokens.mask_input,
            np.zeros_like(tokens.inputs[tokens.mask_input].x[rows]),
        )
    if tokens.texts is not None:
        known = [
            (found, n)
            for n in _NEUTRAL_TOKENS
            if (found := tokens.texts.lookup_id(n)) is not None and found not in used
        ]
        if known:
            out["neutral token"] = (known[0][1], 0, np.full_like(ids, known[0][0]))
    pool = tokens.token_ids[tokens.is_removable]
    if len(tokens.token_ids) > 1 and len(np.unique(pool)) > 1:
        drawn = np.random.default_rng([subject.seed, 80]).choice(pool, size=ids.shape)
        out["other tokens"] = ("tokens drawn from all texts", 0, drawn.astype(ids.dtype))
    return out


def _choose_replacements(have: list[str], requested: Sequence[str] | None) -> list[str]:
    if requested is None:
        return have[:2]
    named = check_requested(requested, TOKEN_REPLACEMENTS, "of tokens ")
    if missing := [a for a in named if a not in have]:
        raise OptionError(
            Argument("absent", missing[0]),
            f" is not possible for these texts and this network; possible are: {', '.join(map(repr, have))}.",
        )
    return list(named)


def _all_finite(problem: SaliencyProblem, xs: Sequence[npt.NDArray[Any]]) -> bool:
    for start in range(0, problem.n_rows, problem.batch_size):
        some = np.arange(start, min(start + problem.batch_size, problem.n_rows))
        if not np.isfinite(
            problem.scores_at_points(tuple(problem.net.array(np.ascontiguousarray(x[some])) for x in xs), some)
        ).all():
            return False
    return True
