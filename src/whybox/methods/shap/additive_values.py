"""Shapley values of additive models: every term is a game of one player or of two, so a row's values are look-ups in tables that are made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from whybox.background.marginal import Background
from whybox.data.table import Floats
from whybox.games.indices import Index
from whybox.games.players import Players
from whybox.models.additive import Additive, AdditiveTerm

__all__ = ["AdditiveTables", "additive_hybrids"]


@final
@dataclass(frozen=True, eq=False)
class _GameOfTerm:
    """The values of a term's players for each code.

    Attributes:
        players: one or two. attributions: one for each player, as terms of the same columns.
        interaction: of two players, the whole; None of one.
    """

    players: tuple[int, ...]
    attributions: tuple[AdditiveTerm, ...]
    interaction: AdditiveTerm | None


@final
class AdditiveTables:
    """Exact values of any index of an additive model, for a background.

    A term of one player adds its value less its mean over the background. A term of two is a game with four coalitions, whose worths are means over the
    background: an index gives a player ``(1 - q) (v(i) - v()) + q (v(i, j) - v(j))``, where q is the mean probability that the other takes part.

    Args:
        model: the model. background: its rows and weights. players: of the model's columns. index: which probabilistic value.
    """

    def __init__(self, model: Additive, background: Background, players: Players, index: Index) -> None:
        self._outputs, self._count = len(model.base), players.count
        present = float(index.moments(2)[1, 0])
        varying = [term.without_constant_columns() for term in model.terms]
        self._games = [_game_of_term(term, background, players, present) for term in varying if term is not None]

    def values(self, X: Floats, order: int) -> Floats:
        """Return attributions (rows, players, outputs), or whole interactions (rows, players, players, outputs), of encoded rows."""
        codes = np.ascontiguousarray(X.T).astype(np.int64)
        out = np.zeros((*(self._count,) * order, len(X), self._outputs))
        for game in self._games:
            if order == 1:
                for player, term in zip(game.players, game.attributions, strict=True):
                    out[player] += term.values_of_codes(codes)
            elif game.interaction is not None:
                both = game.interaction.values_of_codes(codes)
                first, second = game.players
                out[first, second] += both
                out[second, first] += both
        return np.moveaxis(out, -2, 0)


def _game_of_term(term: AdditiveTerm, background: Background, players: Players, present: float) -> _GameOfTerm:
    of_term = tuple(int(players.of_column[column]) for column in term.columns)
    table = term.table
    codes = [background.matrix[:, column].astype(np.int64) for column in term.columns]
    mean = background.weights @ term.values(background.matrix)
    if len(set(of_term)) == 1:
        return _GameOfTerm(of_term[:1], (AdditiveTerm(term.name, term.columns, table - mean),), None)
    first_alone, second_alone = (
        np.tensordot(_shares(code, background.weights, size), table, axes=(0, axis))
        for code, size, axis in zip(codes[::-1], table.shape[1::-1], (1, 0), strict=True)
    )
    first_alone, second_alone = first_alone[:, None], second_alone[None]
    attributions = (
        (1.0 - present) * (first_alone - mean) + present * (table - second_alone),
        (1.0 - present) * (second_alone - mean) + present * (table - first_alone),
    )
    return _GameOfTerm(
        of_term,
        tuple(AdditiveTerm(term.name, term.columns, np.asarray(a)) for a in attributions),
        AdditiveTerm(term.name, term.columns, table - first_alone - second_alone + mean),
    )


def _shares(codes: npt.NDArray[np.int64], weights: Floats, size: int) -> Floats:
    """The share of the background that has each code."""
    return np.bincount(codes, weights, minlength=size).astype(np.float64)


def additive_hybrids(
    model: Additive, of_column: npt.NDArray[np.integer], count: int
) -> Callable[[Floats, Floats], Floats]:
    """Return what computes the raw outputs, without base, of a row mixed with background rows: (row, background rows) -> (background rows, 2^count, outputs).

    Args:
        of_column: (model columns,) the player of each; -1: it is always that of the background row. count: of players.
    """

    def hybrids(x: Floats, B: Floats) -> Floats:
        game = np.zeros((len(B), 2**count, len(model.base)))
        for term in model.terms:
            players = tuple(dict.fromkeys(int(of_column[c]) for c in term.columns if of_column[c] >= 0))
            for kept in range(2 ** len(players)):
                from_row = {player for k, player in enumerate(players) if kept >> k & 1}
                mixed = np.array(B)
                for column in term.columns:
                    if int(of_column[column]) in from_row:
                        mixed[:, column] = x[column]
                _coalitions_with(game, players, from_row)[...] += _as_coalitions(term.values(mixed), len(players))
        return game

    return hybrids


def _coalitions_with(game: Floats, players: tuple[int, ...], present: set[int]) -> Floats:
    """The worths of coalitions that hold these of up to two players and not the others, a view of (rows, coalitions, outputs)."""
    rows, _, outputs = game.shape
    at = tuple(int(player in present) for player in sorted(players))
    if not players:
        return game
    if len(players) == 1:
        return game.reshape(rows, -1, 2, 2 ** players[0], outputs)[:, :, at[0]]
    low, high = sorted(players)
    return game.reshape(rows, -1, 2, 2 ** (high - low - 1), 2, 2**low, outputs)[:, :, at[1], :, at[0]]


def _as_coalitions(values: Floats, players: int) -> Floats:
    """Values of rows, (rows, outputs), for all coalitions of a view that :func:`_coalitions_with` returns of so many players."""
    return values.reshape(len(values), *(1,) * (players + 1), values.shape[1])
