"""The features of a table as a hierarchy: by how much columns depend on each other in the background, or as the user says."""

from __future__ import annotations

from typing import Any

import numpy as np

from whybox.errors import Argument, OptionError, did_you_mean
from whybox.games.owen import Hierarchy, nested_hierarchy
from whybox.games.players import Players
from whybox.methods.common.dependence import dependence
from whybox.methods.common.rows import WeightedRows
from whybox.methods.shap.given_hierarchy import GivenHierarchy, linked_hierarchy

__all__ = ["clustered_hierarchy", "resolve_hierarchy"]


def resolve_hierarchy(given: Any, players: Players, background: WeightedRows) -> Hierarchy:
    """Return the hierarchy that the user named, or that of the background's columns.

    Args:
        given: None; nested lists or tuples of players' names or positions, those not named standing beside the outermost ones; or a linkage matrix of scipy over all players.
        players: of the table. background: whose columns are compared where nothing is given.

    Raises:
        OptionError: a player is not there or named twice, or the matrix is no linkage of the players.
    """
    if given is None:
        return clustered_hierarchy(players, background)
    position_of = {name: position for position, name in enumerate(players.names)}

    def find(name: str) -> int:
        if name not in position_of:
            raise OptionError(
                Argument("hierarchy"),
                f" names the feature {name!r}, which is not there.{did_you_mean(name, list(position_of))}",
            )
        return position_of[name]

    return GivenHierarchy(players.names, "feature", "[['street', 'city'], 'age']", find).resolve(given)


def clustered_hierarchy(players: Players, background: WeightedRows) -> Hierarchy:
    """Return the hierarchy of average linkage, by how much the columns of the background depend on each other.

    The distance of two features is one less their dependence (:func:`whybox.methods.common.dependence.dependence`). Features that do not depend on each other
    stand side by side, as for Shapley values, and so do merges at the same distance.

    Args:
        players: a player of several columns depends on another as its closest column does. background: the rows.
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    if players.count < 3:
        return nested_hierarchy(list(range(players.count)), players.count)
    of_columns = dependence([background.feature(position) for position in range(background.table.width)])
    between = np.zeros((players.count, players.count))
    for i, own in enumerate(players.members):
        for j, others in enumerate(players.members[:i]):
            between[i, j] = between[j, i] = of_columns[np.ix_(own, others)].max()
    distances = 1.0 - between
    np.fill_diagonal(distances, 0.0)
    return linked_hierarchy(linkage(squareform(distances, checks=False), "average"), players.count)
