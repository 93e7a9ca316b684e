"""A text's words as players: where they are, and which of them are the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, final

import numpy as np

from whybox.errors import Argument, InputError, OptionError
from whybox.methods.common.words.tokenized import TokenizedTexts, WholeNumbers, read_texts

__all__ = ["CHARACTERS", "NON_WORDS", "TextWords", "as_texts", "number_of_text", "split_text", "split_texts"]

Spans = list[tuple[int, int]]
NON_WORDS: Final = r"\W+"  # what separates words where nothing else is asked
CHARACTERS: Final = "characters"
NOT_CHARACTERS: Final = ("char", "chars", "character")  # likely meant as that
_JOINER: Final = "\u200d"  # between the parts of one emoji
_FLAG_LETTERS: Final = range(0x1F1E6, 0x1F200)
_SKIN_TONES: Final = range(0x1F3FB, 0x1F400)


@final
@dataclass(frozen=True, eq=False)
class TextWords:
    """A text in pieces. Some pieces belong to a player and can be absent; the others always stay.

    Attributes:
        text: as given. pieces: joined, they are the text.
        player_of: (pieces,): which player a piece belongs to, -1 for pieces that always stay.
        words: the word of each player, in reading order. spans: (players, 2): start and end of its first occurrence in the text, in characters.
        mask_string: what replaces an absent word; None: it is left out.
    """

    text: str
    pieces: tuple[str, ...]
    player_of: WholeNumbers
    words: tuple[str, ...]
    spans: WholeNumbers
    mask_string: str | None = None

    @property
    def n_words(self) -> int:
        """Number of players."""
        return len(self.words)

    @property
    def occurrences(self) -> WholeNumbers:
        """Every occurrence of a word in reading order, (occurrences, 3): where the word's first one starts, then start and end of this one."""
        ends = np.cumsum([len(piece) for piece in self.pieces])
        is_word = self.player_of >= 0
        starts = ends - [len(piece) for piece in self.pieces]
        first = self.spans[self.player_of[is_word], 0]
        return np.column_stack([first, starts[is_word], ends[is_word]])


def as_texts(texts: Any) -> tuple[str, ...]:
    """Return a text, or a list, array or column of texts, as a tuple.

    Raises:
        InputError: there is none, or a row is no text.
    """
    if isinstance(texts, str):
        return (str(texts),)
    reads = (getattr(texts, name, None) for name in ("tolist", "to_list", "to_pylist"))
    column = next((read() for read in reads if read is not None), texts)
    if isinstance(column, (bytes, Mapping)) or not isinstance(column, Iterable):
        raise InputError(f"texts are given as a text or a list of texts, not as a {type(texts).__name__}.")
    rows = tuple(column)
    if not rows:
        raise InputError("there is no text to explain.")
    for row, text in enumerate(rows):
        if not isinstance(text, str):
            raise InputError(f"row {row} is a {type(text).__name__}, not a text; leave it out, or convert it.")
    return tuple(map(str, rows))


def number_of_text(text: str) -> int:
    """Return a number by which the draws of a text are seeded: they do not depend on the other texts, or where it stands among them."""
    return int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "little")


def split_texts(
    texts: Sequence[str], tokenizer: Any = None, *, by_position: bool = False, mask_string: str | None = None
) -> list[TextWords]:
    """Split several texts into words; arguments and errors are those of :func:`split_text`."""
    return [
        split_text(text, tokenizer, by_position=by_position, mask_string=mask_string, row=row)
        for row, text in enumerate(texts)
    ]


def split_text(
    text: str,
    tokenizer: Any = None,
    *,
    by_position: bool = False,
    mask_string: str | None = None,
    row: int = 0,
) -> TextWords:
    r"""Split a text into words.

    Args:
        text: any text.
        tokenizer: None: words are what stands between non-word characters, ``\W+``. A regular expression, as text or compiled: words are what stands between
            its matches. ``"characters"``: each character, an emoji or a letter with its accents being one. A function: returns the words of a text
            in reading order, each as it stands in the text. A ``tokenizers.Tokenizer`` or a fast tokenizer of transformers: its words.
        by_position: whether each occurrence of a word is a player; otherwise a word that occurs several times is one player.
        mask_string: what replaces an absent word; None: it is left out.
        row: position of the text, for messages.

    Raises:
        InputError: the text has no words. OptionError: `tokenizer` is none of these, or returns words that the text does not have in this order.
    """
    if mask_string is not None and not isinstance(mask_string, str):
        raise OptionError(Argument("mask_string", mask_string), " must be a text, or None to leave words out.")
    found = _word_spans(text, tokenizer, row)
    if not found:
        why = "is empty" if not text.strip() else f"has no words ({text[:40]!r})"
        raise InputError(
            f"row {row} {why}, so no word can be left out. Leave the row out, or choose other words: ",
            Argument("tokenizer", CHARACTERS),
            " takes every character.",
        )
    players: dict[Any, int] = {}
    pieces: list[str] = []
    player_of: list[int] = []
    spans: Spans = []
    words: list[str] = []
    end = 0
    for position, (start, stop) in enumerate(found):
        if start > end:
            pieces.append(text[end:start])
            player_of.append(-1)
        word = text[start:stop]
        player = players.setdefault(position if by_position else word, len(players))
        if player == len(words):
            words.append(word)
            spans.append((start, stop))
        pieces.append(word)
        player_of.append(player)
        end = stop
    if end < len(text):
        pieces.append(text[end:])
        player_of.append(-1)
    return TextWords(text, tuple(pieces), np.array(player_of), tuple(words), np.array(spans), mask_string)


def _word_spans(text: str, tokenizer: Any, row: int) -> Spans:
    """Where words start and end, in reading order, without overlaps."""
    if tokenizer is None:
        return _between_matches(re.compile(NON_WORDS), text)
    if isinstance(tokenizer, str) and tokenizer == CHARACTERS:
        return _characters(text)
    if isinstance(tokenizer, str):
        if tokenizer in NOT_CHARACTERS:
            raise OptionError(
                Argument("tokenizer", tokenizer),
                " is read as a regular expression of what separates words. For single characters write ",
                Argument("tokenizer", CHARACTERS),
                ".",
            )
        try:
            return _between_matches(re.compile(tokenizer), text)
        except re.error as error:
            raise OptionError(Argument("tokenizer", tokenizer), f" is no regular expression: {error}.") from None
    if isinstance(tokenizer, re.Pattern):
        return _between_matches(tokenizer, text)
    if hasattr(tokenizer, "encode_batch") or hasattr(tokenizer, "backend_tokenizer"):
        return _tokenizer_words(read_texts(tokenizer, text)) if text.strip() else []
    if not callable(tokenizer):
        raise OptionError(
            Argument("tokenizer", tokenizer),
            " must be a regular expression of what separates words, ",
            Argument("tokenizer", CHARACTERS),
            ", a function that returns the words of a text, or a tokenizer.",
        )
    words = tokenizer(text)
    if isinstance(words, Mapping) or hasattr(words, "ids"):
        return _tokenizer_words(read_texts(tokenizer, text))
    return _find_words(text, words, row)


def _between_matches(separator: re.Pattern[str], text: str) -> Spans:
    spans, end = [], 0
    for match in separator.finditer(text):
        if match.start() > end:
            spans.append((end, match.start()))
        end = match.end()
    return [*spans, (end, len(text))] if end < len(text) else spans


def _find_words(text: str, words: Any, row: int) -> Spans:
    """Where the words that a function returned stand in the text, one behind the other."""
    if isinstance(words, str) or not isinstance(words, (Sequence, np.ndarray)):
        raise OptionError(
            f"the tokenizer returned a {type(words).__name__} for row {row}; it must return a list of words."
        )
    spans, end = [], 0
    for word in words:
        start = text.find(word, end) if isinstance(word, str) else -1
        if start < 0:
            raise OptionError(
                f"the tokenizer returned {word!r} for row {row}, which the text does not have behind the words before it. Words must be returned as they stand in the text, "
                "in reading order: change the case of letters, or stem, in the model and not here."
            )
        end = start + len(word)
        if word:
            spans.append((start, end))
    return spans


def _tokenizer_words(read: TokenizedTexts) -> Spans:
    """The words of a tokenizer that says where its tokens stand.

    Raises:
        OptionError: it does not say so.
    """
    if read.offsets is None:
        raise OptionError(
            Argument("tokenizer", example="..."), " does not say where its tokens stand in the text (offsets)."
        )
    spans: Spans = []
    before = None
    for token in np.flatnonzero(~read.is_special[0]).tolist():
        start, stop = (int(n) for n in read.offsets[0, token])
        word = None if read.word_of is None else int(read.word_of[0, token])
        if stop <= start:
            continue
        if spans and ((word is not None and word == before) or start < spans[-1][1]):
            spans[-1] = spans[-1][0], max(stop, spans[-1][1])
        else:
            spans.append((start, stop))
        before = word
    return spans


def _characters(text: str) -> Spans:
    """Characters as readers see them: with their accents, and emoji whole."""
    spans: Spans = []
    flag_letters = 0
    for at, character in enumerate(text):
        flag = ord(character) in _FLAG_LETTERS
        flag_letters = flag_letters + 1 if flag else 0
        joins = (
            unicodedata.category(character) in ("Mn", "Mc", "Me")  # accents, vowel signs, variation selectors
            or ord(character) in _SKIN_TONES
            or character == _JOINER
            or (at > 0 and text[at - 1] == _JOINER)
            or (flag and flag_letters % 2 == 0)
        )
        if joins and spans:
            spans[-1] = spans[-1][0], at + 1
        else:
            spans.append((at, at + 1))
    return spans
