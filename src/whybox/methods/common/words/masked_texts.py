"""Texts with some of their words left out or replaced, written for many masks at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import compress, pairwise
from operator import getitem
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.methods.common.words.split import TextWords

__all__ = ["TextWriter"]

Masks = npt.NDArray[np.bool_]
WORDS_TOGETHER: Final = 8  # of a group, whose texts are written down beforehand: as many as bits in a byte

FEW_MASKS: Final = 32  # texts that are joined from their pieces


@final
class TextWriter:
    """Writes a text with some of its words absent.

    The text is cut into groups of eight words. What a group reads like is known beforehand for each of the 256 ways to leave some out, so that a text is joined
    from one part a group. Few texts are joined from their pieces.

    Args:
        words: the text in pieces.
    """

    def __init__(self, words: TextWords) -> None:
        self.words = words
        self._is_word = np.flatnonzero(words.player_of >= 0)
        self._players = words.player_of[self._is_word]

    @cached_property
    def _groups(self) -> list[Sequence[str]]:
        """The texts of each group, which reaches to the next one's first word; the first one begins with the text."""
        first = [0, *self._is_word[WORDS_TOGETHER::WORDS_TOGETHER].tolist(), len(self.words.pieces)]
        return [self._group_texts(slice(a, b)) for a, b in pairwise(first)]

    def _group_texts(self, pieces: slice) -> Sequence[str]:
        """The texts of a group, by the byte in which the first word is the highest bit."""
        texts, n_words = [""], 0
        absent = self.words.mask_string or ""
        for piece, player in zip(self.words.pieces[pieces], self.words.player_of[pieces].tolist(), strict=True):
            if player < 0:
                texts = [t + piece for t in texts]
            else:
                texts = [u for t in texts for u in (t + absent, t + piece)]
                n_words += 1
        unused = 2 ** (WORDS_TOGETHER - n_words)  # of the last group: lower bits that are zero
        return texts if unused == 1 else [t for t in texts for _ in range(unused)]

    def _joined(self, present: npt.NDArray[np.bool_]) -> str:
        pieces, absent = self.words.pieces, self.words.mask_string
        there = (present[self.words.player_of] | (self.words.player_of < 0)).tolist()
        if not absent:
            return "".join(compress(pieces, there))
        return "".join([piece if is_there else absent for piece, is_there in zip(pieces, there, strict=True)])

    def __call__(self, present: Masks) -> list[str]:
        """Return the text for each mask.

        Args:
            present: (masks, players), True where a word is there.
        """
        if present.ndim != 2 or present.shape[1] != self.words.n_words:
            raise ValueError(f"masks of shape {present.shape} do not fit {self.words.n_words} words")
        if len(present) <= FEW_MASKS:
            return [self._joined(row) for row in present]
        codes = np.packbits(present[:, self._players], axis=1)
        width, flat = codes.shape[1], codes.tobytes()
        return [
            "".join(map(getitem, self._groups, flat[at : at + width])) for at in range(0, len(present) * width, width)
        ]
