"""Players: who shares the credit. One of the user's columns each, unless columns are named as one, or the model ties them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.errors import OptionError, UnsupportedModelError, did_you_mean, shown
from whybox.models.base import Model

__all__ = ["Players", "resolve_players", "those_read"]


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


def resolve_players(model: Model, names: Sequence[str], players: Any = None) -> Players:
    """Return the players.

    Args:
        model: whose inputs they are.
        names: the user's column names, in the model's order.
        players: ``{"address": ["street", "city"], ...}`` or a list of lists of columns; columns not named stay single.

    Raises:
        OptionError: a column is not there, or in two groups, or two players share a name.
        UnsupportedModelError: the model ties all its columns together, so that nothing is left to attribute.
    """
    groups = _wanted(names, players)
    tied = [set(p) for p in model.inputs.players()]
    for i, (_, members) in enumerate(groups):
        cut = next((t for t in tied if t & set(members) and not t <= set(members)), None)
        if cut is not None:
            raise OptionError(
                f"players: {groups[i][0]!r} takes {shown([names[j] for j in sorted(cut & set(members))])} but not {shown([names[j] for j in sorted(cut - set(members))])}, "
                "and the model mixes these columns before it reads them, so they can only be one player together."
            )
    taken = {j for _, members in groups for j in members}
    single = [(" + ".join(names[j] for j in sorted(t)), tuple(sorted(t))) for t in tied if not t & taken]
    if len(names) > 1 and not groups and len(single) == 1:
        raise UnsupportedModelError(
            f"the model mixes all its columns ({shown(names)}) before its trees read them, so they are one player and there is nothing to share out. "
            "Explain the model on the mixed columns instead (pass its last step and the transformed rows), or, for CatBoost, train with max_ctr_complexity=1."
        )
    every = sorted([*groups, *single], key=lambda g: min(g[1]))
    labels = tuple(name for name, _ in every)
    if len(set(labels)) != len(labels):
        raise OptionError(
            f"players: more than one player is named {shown([n for n in set(labels) if labels.count(n) > 1])}."
        )
    player_of = {j: p for p, (_, members) in enumerate(every) for j in members}
    of_column = np.array([player_of[source[0]] if source else 0 for source in model.inputs.sources], dtype=np.int32)
    return Players(labels, tuple(members for _, members in every), of_column)


def those_read(players: Players, columns: npt.NDArray[np.int64]) -> Players:
    """Return the players that some of these model columns belong to, for a model that has these columns alone."""
    kept, of_column = np.unique(players.of_column[columns], return_inverse=True)
    names = tuple(players.names[int(p)] for p in kept)
    members = tuple(players.members[int(p)] for p in kept)
    return Players(names, members, of_column.reshape(-1).astype(np.int32))


def _wanted(names: Sequence[str], players: Any) -> list[tuple[str, tuple[int, ...]]]:
    if players is None:
        return []
    if isinstance(players, Mapping):
        pairs = [(str(name), columns) for name, columns in players.items()]
    elif isinstance(players, Sequence) and not isinstance(players, str):
        pairs = [
            (
                " + ".join(map(str, columns))
                if isinstance(columns, Sequence) and not isinstance(columns, str)
                else str(columns),
                columns,
            )
            for columns in players
        ]
    else:
        raise OptionError("players must be a dict from a name to its columns, or a list of lists of columns.")
    position = {name: i for i, name in enumerate(names)}
    out, seen = [], set()
    for name, columns in pairs:
        listed = _listed(name, columns)
        members = []
        for column in listed:
            at = (
                position.get(column)
                if isinstance(column, str)
                else int(column)
                if isinstance(column, (int, np.integer))
                and not isinstance(column, bool)
                and 0 <= int(column) < len(names)
                else None
            )
            if at is None:
                raise OptionError(
                    f"players: {name!r} names the column {column!r}, which is not there.{did_you_mean(column, names)}"
                )
            if at in seen:
                raise OptionError(f"players: the column {names[at]!r} is named twice; a column belongs to one player.")
            seen.add(at)
            members.append(at)
        if not members:
            raise OptionError(f"players: {name!r} has no columns.")
        out.append((name, tuple(members)))
    return out


def _listed(name: str, columns: Any) -> list[Any]:
    if isinstance(columns, (str, int, np.integer)):
        return [columns]
    try:
        return list(columns)
    except TypeError:
        raise OptionError(
            f"players: {name!r} is given {columns!r}; give it a column's name or position, or a list of them."
        ) from None
