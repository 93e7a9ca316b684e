"""Players: who shares the credit. One of the user's columns each, unless columns are named as one, or the model ties them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, OptionError, UnsupportedModelError, did_you_mean, quoted_list
from whybox.models.base import Model

__all__ = ["Players", "column_position", "named_groups", "players_of_columns", "resolve_players", "split_ties"]

Group = tuple[str, tuple[int, ...]]  # name, and positions of its members


@final
@dataclass(frozen=True)
class Players:
    """Named groups of the user's columns.

    Attributes:
        names: one a player.
        members: for each player, positions of the user's columns.
        of_column: (model columns,) int32, the player of each; a model column that reads nothing belongs to player 0.
    """

    names: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    of_column: npt.NDArray[np.int32]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.names)

    def columns_at(self, positions: Iterable[int]) -> tuple[int, ...]:
        """Return the user's columns of some players, sorted."""
        return tuple(sorted(column for position in positions for column in self.members[position]))

    def columns_of(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the columns of each player, by their names."""
        return {
            player: tuple(names[i] for i in members) for player, members in zip(self.names, self.members, strict=True)
        }


def resolve_players(model: Model, names: Sequence[str], players: Any = None, *, keep_tied: bool = True) -> Players:
    """Return the players.

    Args:
        model: whose inputs they are.
        names: the user's column names, in the model's order.
        players: ``{"address": ["street", "city"], ...}`` or a list of lists of columns; columns not named stay single.
        keep_tied: whether columns that the model ties together are one player, as they must be where its trees are read. Where a model is only evaluated,
            each is a player of its own, and `of_column` says nothing about model columns that read several.

    Raises:
        OptionError: a column is not there, or in two groups, or two players share a name.
        UnsupportedModelError: the model ties all its columns together, so that nothing is left to attribute.
    """
    given = _read_groups(names, players)
    groups_of_model = model.inputs.group_columns() if keep_tied else tuple((j,) for j in range(len(names)))
    tied = [tuple(sorted(columns)) for columns in groups_of_model]
    _refuse_split(names, given, tied)
    if len(names) > 1 and not given and len(tied) == 1:
        steps = model.inputs.undeclared_steps
        if steps:
            raise UnsupportedModelError(
                f"{', '.join(steps)} of the pipeline does not tell which columns its own are made of, and rows at hand do not show it, so all its columns "
                f"({quoted_list(names)}) would be one player. Pass more rows, or rows like those of training as ",
                Argument("background", example="X_train"),
                ": it is then found by trial, or the model is evaluated.",
            )
        raise UnsupportedModelError(
            f"the model mixes all its columns ({quoted_list(names)}) before it reads them, so they are one player and there is nothing to share out. "
            "Evaluate the model column by column instead of reading it: ",
            Argument("response_method", example="'predict'"),
            " (of classes 'predict_proba'). Or explain it on the mixed columns (pass its last step and the transformed rows); for CatBoost, train with max_ctr_complexity=1.",
        )
    groups = named_groups(names, given, tied)
    player_of = {column: player for player, (_, members) in enumerate(groups) for column in members}
    of_column = np.array(
        [player_of[source[0]] if source else 0 for source in model.inputs.source_columns], dtype=np.int32
    )
    return Players(tuple(name for name, _ in groups), tuple(members for _, members in groups), of_column)


def split_ties(model: Model, names: Sequence[str], players: Any = None) -> str | None:
    """Return the columns that the model ties together while the user takes them apart, in words; None where there are none.

    Args:
        model, names, players: as :func:`resolve_players` takes them.

    Raises:
        OptionError: as there.
    """
    given = [set(members) for _, members in _read_groups(names, players)]
    for columns in model.inputs.group_columns():
        if len(columns) > 1 and not any(set(columns) <= members for members in given):
            return quoted_list([names[j] for j in sorted(columns)])
    return None


def named_groups(names: Sequence[str], given: Sequence[Group], tied: Sequence[tuple[int, ...]]) -> list[Group]:
    """Return groups of parts (columns, words, segments) that together hold every part once, in the order of their first members.

    Args:
        names: of the parts. given: groups that the user named, without overlap.
        tied: parts that come together in any case, every part once; where no group holds them, they are one named after them all.

    Raises:
        OptionError: two groups share a name.
    """
    taken = {part for _, members in given for part in members}
    others = [(" + ".join(names[part] for part in parts), parts) for parts in tied if not taken & set(parts)]
    groups = sorted([*given, *others], key=lambda group: min(group[1]))
    labels = [name for name, _ in groups]
    if len(set(labels)) != len(labels):
        raise OptionError(
            Argument("players"),
            f": more than one player is named {quoted_list([name for name in set(labels) if labels.count(name) > 1])}.",
        )
    return groups


def players_of_columns(players: Players, columns: npt.NDArray[np.int64]) -> Players:
    """Return the players that some of these model columns belong to, for a model that has these columns alone."""
    kept, of_column = np.unique(players.of_column[columns], return_inverse=True)
    names = tuple(players.names[int(player)] for player in kept)
    members = tuple(players.members[int(player)] for player in kept)
    return Players(names, members, of_column.reshape(-1).astype(np.int32))


def _refuse_split(names: Sequence[str], given: Sequence[Group], tied: Sequence[tuple[int, ...]]) -> None:
    """Refuse a group that holds some, but not all, of the columns that the model ties together."""
    several = [set(columns) for columns in tied if len(columns) > 1]
    for group, members in given:
        for columns in several:
            inside, outside = columns & set(members), columns - set(members)
            if inside and outside:
                raise OptionError(
                    Argument("players"),
                    f": {group!r} takes {quoted_list([names[j] for j in sorted(inside)])} but not {quoted_list([names[j] for j in sorted(outside)])}, "
                    "and the model mixes these columns before it reads them, so they can only be one player together.",
                )


def _read_groups(names: Sequence[str], players: Any) -> list[Group]:
    """Return groups of column positions from what the user gave."""
    if players is None:
        return []
    if isinstance(players, Mapping):
        pairs = [(str(name), columns) for name, columns in players.items()]
    elif isinstance(players, Sequence) and not isinstance(players, str):
        pairs = [(_joined_columns(columns), columns) for columns in players]
    else:
        raise OptionError(
            Argument("players"), " must be a dict from a name to its columns, or a list of lists of columns."
        )
    position_of = {name: position for position, name in enumerate(names)}
    groups: list[Group] = []
    taken: set[int] = set()
    for name, columns in pairs:
        members = []
        for column in _as_list(name, columns):
            position = column_position(position_of, column)
            if position is None:
                raise OptionError(
                    Argument("players"),
                    f": {name!r} names the column {column!r}, which is not there.{did_you_mean(column, names)}",
                )
            if position in taken:
                raise OptionError(
                    Argument("players"),
                    f": the column {names[position]!r} is named twice; a column belongs to one player.",
                )
            taken.add(position)
            members.append(position)
        if not members:
            raise OptionError(Argument("players"), f": {name!r} has no columns.")
        groups.append((name, tuple(members)))
    return groups


def _joined_columns(columns: Any) -> str:
    if isinstance(columns, Sequence) and not isinstance(columns, str):
        return " + ".join(map(str, columns))
    return str(columns)


def column_position(position_of: Mapping[str, int], column: Any) -> int | None:
    """Return the position of a column given by name or position; None where there is none."""
    if isinstance(column, str):
        return position_of.get(column)
    if isinstance(column, bool) or not isinstance(column, (int, np.integer)):
        return None
    return int(column) if 0 <= int(column) < len(position_of) else None


def _as_list(name: str, columns: Any) -> list[Any]:
    if isinstance(columns, (str, int, np.integer)):
        return [columns]
    try:
        return list(columns)
    except TypeError:
        raise OptionError(
            Argument("players"),
            f": {name!r} is given {columns!r}; give it a column's name or position, or a list of them.",
        ) from None
