"""The background of a method that draws cells by pieces: every player's columns cut into pieces, and which rows each piece has."""

from __future__ import annotations

from collections.abc import Callable

from whybox.games.players import Players
from whybox.methods.common.columns import Ints
from whybox.methods.common.piecewise import BinnedColumn, PlayerDistribution, join_columns
from whybox.methods.common.rows import WeightedRows

__all__ = ["cut_background"]


def cut_background(
    rows: WeightedRows, players: Players, cut: Callable[[int, int], BinnedColumn], *, drawn_inside: bool
) -> tuple[tuple[tuple[BinnedColumn, ...], ...], tuple[PlayerDistribution, ...], tuple[Ints, ...]]:
    """Return for each player its columns in pieces, the distribution of these, and which pieces of the columns each piece is, as :func:`join_columns` does.

    Args:
        rows: the background. cut: makes pieces of the column at a position, given how many columns its player has.
        drawn_inside: whether numbers are drawn inside bins.
    """
    columns, distributions, kinds = [], [], []
    for name, members in zip(players.names, players.members, strict=True):
        own = tuple(cut(position, len(members)) for position in members)
        found, pieces = join_columns(name, own, rows.weights, drawn_inside=drawn_inside)
        columns.append(own)
        distributions.append(found)
        kinds.append(pieces)
    return tuple(columns), tuple(distributions), tuple(kinds)
