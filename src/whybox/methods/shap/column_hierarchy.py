"""The features of a table as a hierarchy: by how much columns depend on each other in the background, or as the user says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError, did_you_mean, quoted_list
from whybox.games.owen import Hierarchy, nested_hierarchy
from whybox.games.players import Players
from whybox.methods.common.dependence import dependence
from whybox.methods.common.rows import WeightedRows

__all__ = ["clustered_hierarchy", "resolve_hierarchy"]

SAME_HEIGHT: Final = (
    1e-9  # merges at distances closer than this are one block: which of them comes first would be chance
)


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
    if isinstance(given, np.ndarray) and given.dtype.kind in "fiu":
        return _linked(np.asarray(given, dtype=np.float64), players)
    if isinstance(given, str) or not isinstance(given, (Sequence, Mapping, np.ndarray)):
        raise OptionError(
            Argument("hierarchy", given),
            " must be nested lists of features, such as [['street', 'city'], 'age'], or a linkage matrix of scipy.",
        )
    nested = _positions(given, {name: position for position, name in enumerate(players.names)})
    named = list(_leaves(nested))
    twice = sorted({players.names[p] for p in named if named.count(p) > 1})
    if twice:
        raise OptionError(Argument("hierarchy"), f" names {quoted_list(twice)} twice; a feature stands in one block.")
    single = [p for p in range(players.count) if p not in named]
    top = nested if isinstance(nested, list) else [nested]
    return nested_hierarchy([*top, *single], players.count)


def _positions(part: Any, position_of: Mapping[str, int]) -> Any:
    """Nested lists of positions from nested lists of names or positions."""
    if isinstance(part, str):
        if part not in position_of:
            raise OptionError(
                Argument("hierarchy"),
                f" names the feature {part!r}, which is not there.{did_you_mean(part, list(position_of))}",
            )
        return position_of[part]
    if isinstance(part, (int, np.integer)) and not isinstance(part, bool):
        if not 0 <= int(part) < len(position_of):
            raise OptionError(
                Argument("hierarchy"), f" names position {part}; there are {len(position_of)} features, from 0 on."
            )
        return int(part)
    if isinstance(part, Mapping):
        return [_positions(child, position_of) for child in part.values()]
    if isinstance(part, (Sequence, np.ndarray)):
        return [_positions(child, position_of) for child in part]
    raise OptionError(Argument("hierarchy"), f" holds {part!r}; give names or positions of features, in nested lists.")


def _leaves(nested: Any) -> Iterator[int]:
    if not isinstance(nested, list):
        yield nested
        return
    for part in nested:
        yield from _leaves(part)


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
    return _nested_of(linkage(squareform(distances, checks=False), "average"), players.count)


def _linked(matrix: Floats, players: Players) -> Hierarchy:
    """The hierarchy of a linkage matrix.

    Raises:
        OptionError: it is none of these players.
    """
    count = players.count
    if matrix.shape != (count - 1, 4):
        raise OptionError(
            Argument("hierarchy", example="..."),
            f" is a matrix of shape {matrix.shape}; a linkage of {count} features has {count - 1} rows and 4 columns.",
        )
    nodes = matrix[:, :2]
    earlier = nodes < count + np.arange(count - 1)[:, None]
    if not (earlier & (nodes >= 0) & (nodes % 1 == 0)).all() or len(np.unique(nodes)) < 2 * (count - 1):
        raise OptionError(
            Argument("hierarchy", example="..."),
            " is no linkage matrix of scipy: its first two columns must hold each feature and each earlier merge once.",
        )
    return _nested_of(matrix, count)


def _nested_of(matrix: Floats, count: int) -> Hierarchy:
    """The hierarchy of a linkage matrix; merges at the same distance as the one that they end in are one block with it."""
    node: list[tuple[Any, float]] = [(p, -np.inf) for p in range(count)]
    for first, second, height, _ in matrix.tolist():
        children: list[Any] = []
        for part, below in (node[int(first)], node[int(second)]):
            children += part if isinstance(part, list) and height - below < SAME_HEIGHT else [part]
        node.append((sorted(children, key=lambda child: min(_leaves(child))), height))
    return nested_hierarchy(node[-1][0], count)
