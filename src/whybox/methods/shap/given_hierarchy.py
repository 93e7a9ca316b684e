"""A hierarchy of players as the user gives it: nested lists of names or positions, or a linkage matrix of scipy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError, quoted_list
from whybox.games.owen import Hierarchy, nested_hierarchy

__all__ = ["GivenHierarchy", "leaves", "linked_hierarchy"]

SAME_HEIGHT: Final = (
    1e-9  # merges at distances closer than this are one block: which of them comes first would be chance
)


@final
@dataclass(frozen=True)
class GivenHierarchy:
    """What players are called in a hierarchy that the user gives.

    Attributes:
        names: of the players. noun: what a player is, in words. example: nested lists, for messages. where: which of several hierarchies it is, for messages.
        find: a name -> the player's position, or None where the name is left out.

    Raises:
        OptionError: by `find`: there is no such player.
    """

    names: Sequence[str]
    noun: str
    example: str
    find: Callable[[str], int | None]
    where: str = ""

    def resolve(self, given: Any) -> Hierarchy:
        """Return the hierarchy; players that are not named stand beside the outermost blocks.

        Args:
            given: nested lists or tuples of names or positions, or a linkage matrix of scipy over all players.

        Raises:
            OptionError: a player is not there or named twice, or the matrix is no linkage of the players.
        """
        count = len(self.names)
        if isinstance(given, np.ndarray) and given.dtype.kind in "fiu" and given.ndim == 2:
            return self._linked(np.asarray(given, dtype=np.float64))
        if isinstance(given, str) or not isinstance(given, (Sequence, Mapping, np.ndarray)):
            raise OptionError(
                Argument("hierarchy", given),
                f"{self.where} must be nested lists of {self.noun}s, such as {self.example}, or a linkage matrix of scipy.",
            )
        try:
            nested = self._positions(given)
            named = list(leaves(nested))
            if not len(given):
                raise OptionError(
                    Argument("hierarchy", given),
                    f"{self.where} names no {self.noun}; write nested lists, such as {self.example}, or leave it out.",
                )
            twice = sorted({self.names[p] for p in named if named.count(p) > 1})
            if twice:
                raise OptionError(
                    Argument("hierarchy"),
                    f"{self.where} names {quoted_list(twice)} twice; a {self.noun} stands in one block.",
                )
            there = set(named)
            return nested_hierarchy([*nested, *(p for p in range(count) if p not in there)], count)
        except RecursionError:
            raise OptionError(Argument("hierarchy"), f"{self.where} has too many blocks within blocks.") from None

    def _positions(self, part: Any) -> list[Any]:
        """Nested lists of positions from nested lists of names or positions."""
        out: list[Any] = []
        for child in part.values() if isinstance(part, Mapping) else part:
            if isinstance(child, str):
                found = self.find(child)
                out += [] if found is None else [found]
            elif isinstance(child, (int, np.integer)) and not isinstance(child, bool):
                if not 0 <= int(child) < len(self.names):
                    raise OptionError(
                        Argument("hierarchy"),
                        f"{self.where} names position {child}; there are {len(self.names)} {self.noun}s, from 0 on.",
                    )
                out.append(int(child))
            elif isinstance(child, (Sequence, Mapping, np.ndarray)) and not isinstance(child, bytes):
                out.append(self._positions(child))
            else:
                raise OptionError(
                    Argument("hierarchy"),
                    f"{self.where} holds {child!r}; give names or positions of {self.noun}s, in nested lists.",
                )
        return out

    def _linked(self, matrix: Floats) -> Hierarchy:
        """The hierarchy of a linkage matrix.

        Raises:
            OptionError: it is none of these players.
        """
        count = len(self.names)
        if matrix.shape != (count - 1, 4):
            raise OptionError(
                Argument("hierarchy", example="..."),
                f"{self.where} is a matrix of shape {matrix.shape}; a linkage of {count} {self.noun}s has {count - 1} rows and 4 columns.",
            )
        nodes = matrix[:, :2]
        earlier = nodes < count + np.arange(count - 1)[:, None]
        if not (earlier & (nodes >= 0) & (nodes % 1 == 0)).all() or len(np.unique(nodes)) < 2 * (count - 1):
            raise OptionError(
                Argument("hierarchy", example="..."),
                f"{self.where} is no linkage matrix of scipy: its first two columns must hold each {self.noun} and each earlier merge once.",
            )
        return linked_hierarchy(matrix, count)


def leaves(nested: Any) -> Iterator[int]:
    """Iterate over the positions of nested lists."""
    if not isinstance(nested, list):
        yield nested
        return
    for part in nested:
        yield from leaves(part)


def linked_hierarchy(matrix: Floats, count: int) -> Hierarchy:
    """Return the hierarchy of a linkage matrix of so many players; merges at the same distance as the one that they end in are one block with it."""
    node: list[tuple[Any, float]] = [(p, -np.inf) for p in range(count)]
    for first, second, height, _ in matrix.tolist():
        children: list[Any] = []
        for part, below in (node[int(first)], node[int(second)]):
            children += part if isinstance(part, list) and height - below < SAME_HEIGHT else [part]
        node.append((sorted(children, key=lambda child: min(leaves(child))), height))
    return nested_hierarchy(node[-1][0], count)
