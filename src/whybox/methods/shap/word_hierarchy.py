"""The words of a text as a hierarchy of neighbours: sentences, clauses, and halves of these down to single words."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from whybox.games.owen import Hierarchy
from whybox.methods.common.words.split import TextWords

__all__ = ["word_hierarchy"]

# between two words; of scripts without blanks the marks alone
_SENTENCE_END: Final = re.compile("[.!?\u2026]\\S*\\s|[\u3002\uff01\uff1f]|\n")
_CLAUSE_END: Final = re.compile("[^\\w\\s]\\S*\\s|\\s\\S*[^\\w\\s]|[\u3001\uff0c\uff1b\uff1a\u2014]")


def word_hierarchy(words: TextWords) -> Hierarchy:
    """Return a binary tree of the words: a text is halved between sentences, a sentence between clauses, and a clause in the middle.

    Each block is halved at the strongest end that it has inside, a sentence's before a clause's, and of several at the one nearest to its middle. A word that
    stands several times is where it stands first.

    Args:
        words: the text.
    """
    count = words.n_words
    ends = words.spans[:, 1].tolist()
    starts = words.spans[:, 0].tolist()
    strength = np.array([_strength(words.text[ends[k] : starts[k + 1]]) for k in range(count - 1)], dtype=np.int64)
    blocks: list[tuple[int, ...]] = []

    def node_of(first: int, last: int) -> int:
        """The node of the words from first to last, the latter included."""
        if first == last:
            return first
        inside = strength[first:last]
        strongest = np.flatnonzero(inside == inside.max())
        cut = first + int(strongest[np.argmin(np.abs(2 * strongest + 1 - len(inside)))])
        children = node_of(first, cut), node_of(cut + 1, last)
        blocks.append(children)
        return count + len(blocks) - 1

    node_of(0, count - 1)
    return Hierarchy(count, tuple(blocks))


def _strength(between: str) -> int:
    """What ends between two words: 2 a sentence, 1 a clause, 0 neither."""
    return 2 if _SENTENCE_END.search(between) else 1 if _CLAUSE_END.search(between) else 0
