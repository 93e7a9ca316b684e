"""The words of a text as a hierarchy: of neighbours, by sentences, clauses, and halves of these down to single words; or as the user says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from whybox.core.library_calls import first_line
from whybox.errors import Argument, OptionError, did_you_mean
from whybox.games.owen import Hierarchy
from whybox.methods.common.words.split import TextWords
from whybox.methods.shap.given_hierarchy import GivenHierarchy

__all__ = ["resolve_word_hierarchies", "word_hierarchy"]

# between two words; of scripts without blanks the marks alone
_SENTENCE_END: Final = re.compile("[.!?\u2026]\\S*\\s|[\u3002\uff01\uff1f]|\n")
_CLAUSE_END: Final = re.compile("[^\\w\\s]\\S*\\s|\\s\\S*[^\\w\\s]|[\u3001\uff0c\uff1b\uff1a\u2014]")


def resolve_word_hierarchies(given: Any, split: Sequence[TextWords]) -> list[Hierarchy]:
    """Return the hierarchy of each text: as the user says, or of its neighbouring words.

    Args:
        given: None; of one text nested lists of its words or their positions, or a linkage matrix of scipy; of several a list with one of these for each; or a
            function of a text that returns one of these.
        split: the words of each text.

    Raises:
        OptionError: it is none of these, or does not fit a text; the message says which.
    """
    if given is None:
        return [word_hierarchy(words) for words in split]
    if callable(given):
        return [_given_hierarchy(_call(given, words.text, row), words, row) for row, words in enumerate(split)]
    if len(split) == 1:
        return [_given_hierarchy(given, split[0], None)]
    if not isinstance(given, (list, tuple)) or len(given) != len(split):
        what = f"has {len(given)}" if isinstance(given, (list, tuple)) else f"is a {type(given).__name__}"
        raise OptionError(
            Argument("hierarchy", example="..."),
            f" of {len(split)} texts must be a list of as many, each with nested lists of words, or a function of a text that returns them; this one {what}.",
        )
    return [_given_hierarchy(one, words, row) for row, (one, words) in enumerate(zip(given, split, strict=True))]


def _call(function: Any, text: str, row: int) -> Any:
    try:
        return function(text)
    except Exception as error:
        raise OptionError(
            Argument("hierarchy", example="function"),
            f" raised {type(error).__name__} for row {row}: {first_line(error)}. It is given a text, and returns nested lists of its words.",
        ) from error


def _given_hierarchy(given: Any, words: TextWords, row: int | None) -> Hierarchy:
    """The hierarchy of one text; `row`: its position among several. None stands for that of neighbouring words."""
    if given is None:
        return word_hierarchy(words)
    where = "" if row is None else f" of row {row}"
    mentions: dict[str, list[int | None]] = {}  # of a word in reading order: its players; None for one that came before
    for word, player in zip(words.pieces, words.player_of.tolist(), strict=True):
        if player >= 0:
            of_word = mentions.setdefault(word, [])
            of_word.append(None if player in of_word else player)
    next_player = {word: iter(players) for word, players in mentions.items()}

    def find(word: str) -> int | None:
        if word not in next_player:
            raise OptionError(
                Argument("hierarchy"),
                f"{where} names the word {word!r}, which the text does not have.{did_you_mean(word, list(mentions))} "
                f"Its words are what the tokenizer finds; positions from 0 to {words.n_words - 1} name them too.",
            )
        try:
            return next(next_player[word])
        except StopIteration:
            raise OptionError(
                Argument("hierarchy"), f"{where} names {word!r} more often than it stands in the text."
            ) from None

    return GivenHierarchy(words.words, "word", "[['not', 'good'], 'film']", find, where).resolve(given)


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
