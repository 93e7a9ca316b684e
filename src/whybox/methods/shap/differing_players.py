"""Which players of a row differ from the background: the others are worth nothing and are in no coalition."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from whybox.data.cells import joint_cell_codes
from whybox.data.table import Table
from whybox.games.players import Players
from whybox.models.base import Model
from whybox.models.columns_read import columns_read

__all__ = ["columns_that_may_be_read", "players_that_differ"]


def columns_that_may_be_read(model: Model) -> set[int]:
    """Return the positions of the user's columns that a model may read."""
    sources = model.inputs.source_columns
    return {source for column in columns_read(model).tolist() for source in sources[column]}


def players_that_differ(model: Model, players: Players, rows: Table, background: Table) -> npt.NDArray[np.bool_]:
    """Return whether some background row has another cell in a column of the player that the model may read, (n, players)."""
    may_read = columns_that_may_be_read(model)
    out = np.zeros((len(rows), players.count), dtype=bool)
    for player, members in enumerate(players.members):
        for position in members:
            if position in may_read:
                own, others = joint_cell_codes(rows, background, position)
                out[:, player] |= True if bool((others != others[0]).any()) else own != others[0]
    return out
