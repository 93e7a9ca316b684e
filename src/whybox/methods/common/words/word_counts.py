"""Word counts of masked texts, straight from the masks: no text is written.

The text is cut into blocks at white space, and at other characters that are known to end a counted word. How often each word is counted in a block depends on
which of its own players are present, and is asked of the model's own analyzer, for each way to have some of them present. Counts of a text are sums over its
blocks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.methods.common.words.masked_texts import TextWriter
from whybox.methods.common.words.split import TextWords
from whybox.models.word_counts import WordCountModel

__all__ = ["MaskCounter", "mask_counter"]

Masks = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.float32]
MAX_BLOCK_WORDS: Final = 8  # different words that touch each other: 2^8 texts of a block are analyzed
TEXTS_COMPARED: Final = 8  # masked texts whose words are counted both ways, before any prediction
_WHITE_SPACE: Final = re.compile(r"(\s)")
_NO_WORD: Final = re.compile(r"\W+")
_SIGMA: Final = "\N{GREEK CAPITAL LETTER SIGMA}"  # whose small letter depends on what follows, past an apostrophe too


@final
@dataclass
class _Block:
    """Pieces of a text in which words may touch each other; parts are (text, player)."""

    parts: list[tuple[str, int]] = field(default_factory=list)

    @property
    def players(self) -> tuple[int, ...]:
        return tuple(sorted({p for _, p in self.parts if p >= 0}))

    def text(self, present: Sequence[int], mask_string: str) -> str:
        return "".join(t if p < 0 or p in present else mask_string for t, p in self.parts)


@final
@dataclass(frozen=True, eq=False)
class MaskCounter:
    """Counts words of a masked text.

    Attributes:
        columns: (counted,): columns of the model that the text can touch, in order.
        constant: (counted,): counts that are always there. change: (players, counted): what each player adds, of blocks with one player.
        tables: of blocks with several players: who they are, and the counts for each of the ways to have some present, (2^players, counted).
        model: that counts.
    """

    columns: npt.NDArray[np.int64]
    constant: Counts
    change: Counts
    tables: tuple[tuple[tuple[int, ...], Counts], ...]
    model: WordCountModel

    def counts(self, present: Masks) -> Counts:
        """Return counts, (masks, counted), in single precision, which holds whole numbers up to 16 million exactly."""
        out = present.astype(np.float32) @ self.change
        out += self.constant
        for players, table in self.tables:
            powers = 2 ** np.arange(len(players) - 1, -1, -1)
            out += table[present[:, list(players)] @ powers]
        return out

    def matrix(self, present: Masks) -> Any:
        """Return counts as the model's first step gives them: a sparse matrix (masks, columns of the model)."""
        from scipy.sparse import csr_matrix

        counts = self.counts(present)
        there = counts != 0.0
        starts = np.concatenate([[0], np.cumsum(np.count_nonzero(there, axis=1))])
        position = np.flatnonzero(there)
        kind = np.int32 if max(self.model.n_columns, len(position)) < 2**31 else np.int64
        indices = np.tile(self.columns.astype(kind), len(counts))[position]
        data = counts.reshape(-1)[position].astype(self.model.dtype)
        return csr_matrix((data, indices, starts.astype(kind)), shape=(len(present), self.model.n_columns))


def mask_counter(words: TextWords, model: WordCountModel, seed: np.random.Generator) -> MaskCounter | str:
    """Return what counts the words of masked texts, or why texts have to be written.

    Args:
        words: the text. model: that counts. seed: of the masked texts on which counts are compared with the model's own analyzer; the full text and the empty
            one are among them.
    """
    blocks = _cut_blocks(words, model)
    crowd = max(len(b.players) for b in blocks)
    if crowd > MAX_BLOCK_WORDS:
        return f"{crowd} different words touch each other without white space"
    mask = words.mask_string or ""
    known, constant = _Columns(model), Counter[int]()
    change: dict[int, Counter[int]] = {}
    tables: list[tuple[tuple[int, ...], list[Counter[int]]]] = []
    for block in blocks:
        players = block.players
        ways = list(product((0, 1), repeat=len(players)))
        counted = [known.count(block.text([p for p, on in zip(players, way, strict=True) if on], mask)) for way in ways]
        if len(players) > 1:
            tables.append((players, counted))
            continue
        for column, count in counted[0].items():
            constant[column] += count
        for player in players:
            added = change.setdefault(player, Counter[int]())
            for column, count in counted[1].items():
                added[column] += count
            for column, count in counted[0].items():
                added[column] -= count
    columns = np.array(sorted(known.seen), dtype=np.int64)
    place = {column: at for at, column in enumerate(columns.tolist())}

    def dense(rows: Sequence[Counter[int]]) -> Counts:
        out = np.zeros((len(rows), len(columns)), dtype=np.float32)
        for row, counter in zip(out, rows, strict=True):
            for column, count in counter.items():
                row[place[column]] = count
        return out

    counter = MaskCounter(
        columns,
        dense([constant])[0],
        dense([change.get(p, Counter()) for p in range(words.n_words)]),
        tuple((players, dense(counted)) for players, counted in tables),
        model,
    )
    same = _same_as_analyzer(words, counter, seed)
    return counter if same else "words that are counted do not end where white space is"


@final
class _Columns:
    """Columns of the words that blocks have."""

    def __init__(self, model: WordCountModel) -> None:
        self._model = model
        self.seen: set[int] = set()

        self._counted: dict[str, Counter[int]] = {}

    def count(self, text: str) -> Counter[int]:
        if text not in self._counted:
            self._counted[text] = self._count_new(text)
        return self._counted[text]

    def _count_new(self, text: str) -> Counter[int]:
        found = (self._model.columns.get(word) for word in self._model.analyze(text))
        counted = Counter(int(c) for c in found if c is not None)
        self.seen.update(counted)
        return counted


def _cut_blocks(words: TextWords, model: WordCountModel) -> list[_Block]:
    blocks, at_non_words = [_Block()], model.splits_at_non_words and _SIGMA not in words.text
    ends_block: dict[str, bool] = {}
    for piece, player in zip(words.pieces, words.player_of.tolist(), strict=True):
        if player >= 0:
            blocks[-1].parts.append((piece, player))
            continue
        for part in _WHITE_SPACE.split(piece):
            if not part:
                continue
            blocks[-1].parts.append((part, -1))
            if part not in ends_block:
                ends_block[part] = part.isspace() or bool(at_non_words and _NO_WORD.fullmatch(model.preprocess(part)))
            if ends_block[part]:
                blocks.append(_Block())
    return [b for b in blocks if b.parts]


def _same_as_analyzer(words: TextWords, counter: MaskCounter, seed: np.random.Generator) -> bool:
    """Whether counts are those of the analyzer for whole texts."""
    share = seed.random((TEXTS_COMPARED, 1))
    share[:2, 0] = 0.0, 1.0
    present = seed.random((TEXTS_COMPARED, words.n_words)) < share
    known = _Columns(counter.model)
    for text, counts in zip(TextWriter(words)(present), counter.counts(present), strict=True):
        own = known.count(text)
        ours = {int(column): count for column, count in zip(counter.columns, counts.tolist(), strict=True) if count}
        if ours != own:
            return False
    return True
