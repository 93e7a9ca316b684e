"""A model and the background of a method that draws cells by pieces: every player's columns cut into pieces, and which rows each piece has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from whybox.data.table import as_table
from whybox.errors import InputError
from whybox.games.players import Players
from whybox.methods.common.columns import Ints
from whybox.methods.common.piecewise import (
    BinnedColumn,
    PlayerDistribution,
    RowRegions,
    join_columns,
    player_regions,
)
from whybox.methods.common.resolved_model import ResolvedModel
from whybox.methods.common.rows import WeightedRows, weighted_rows
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox
from whybox.models.prepare_rows import PreparedRows, prepare_rows

__all__ = ["CutBackground", "RowsInPieces", "cut_background", "regions_at"]


@dataclass(frozen=True, eq=False)
class RowsInPieces:
    """Rows to explain.

    Attributes:
        rows: aligned with the model. prepared: as they were given, with remarks. regions: for each player the own region of each row.
        n_rows_compared: on how many of them the model's own predict is evaluated, to compare our reading with it.
    """

    rows: WeightedRows
    prepared: PreparedRows
    regions: tuple[RowRegions, ...]
    n_rows_compared: int


@dataclass(frozen=True, eq=False)
class CutBackground:
    """A model, and its background in pieces.

    Attributes:
        resolved: the model, with the background as the rows that are averaged over. players: groups of the user's columns.
        columns: for each player its columns in pieces. distributions: of each player. kinds: for each player, as :func:`join_columns` returns them.
        agreement, n_rows_checked: as :meth:`ResolvedModel.compare` returns them, of the background.
    """

    resolved: ResolvedModel
    players: Players
    columns: tuple[tuple[BinnedColumn, ...], ...]
    distributions: tuple[PlayerDistribution, ...]
    kinds: tuple[Ints, ...]
    agreement: float
    n_rows_checked: int

    @property
    def model(self) -> Model:
        """The model, read or a black box."""
        return self.resolved.model

    @property
    def background(self) -> WeightedRows:
        """The background rows with their weights."""
        return self.resolved.rows

    def find_regions(self, X: Any) -> RowsInPieces:
        """Find the own regions of rows.

        Raises:
            InputError and others: the rows do not fit.
        """
        prepared = prepare_rows(self.model, as_table(X))
        if prepared.table.is_matrix:
            raise InputError("the rows are a sparse matrix and the background is not; pass both dense.")
        rows = weighted_rows(prepared.table, None)
        regions = tuple(
            player_regions(columns, kinds, rows, self.background.weights)
            for columns, kinds in zip(self.columns, self.kinds, strict=True)
        )
        is_compared = self.model.own_predict is not None and not isinstance(self.model, BlackBox)
        return RowsInPieces(rows, prepared, regions, len(rows) if is_compared else 0)


def regions_at(regions: Sequence[RowRegions], rows: Ints) -> tuple[RowRegions, ...]:
    """Return the own regions of some rows, for each player."""
    return tuple(
        RowRegions(r.first[rows], r.last[rows], tuple(r.conditions[i] for i in rows.tolist()), r.numbers[rows])
        for r in regions
    )


def cut_background(
    rows: WeightedRows, players: Players, cut: Callable[[int, int], BinnedColumn], *, drawn_inside: bool
) -> tuple[tuple[tuple[BinnedColumn, ...], ...], tuple[PlayerDistribution, ...], tuple[Ints, ...]]:
    """Return the ``columns``, ``distributions`` and ``kinds`` of a :class:`CutBackground`.

    Args:
        rows: the background. players: groups of its columns. cut: makes pieces of the column at a position, given how many columns its player has.
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
