"""The values of games, as an engine gives them, and what it keeps of its work for spot checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints

__all__ = ["GameAnswer", "SampledHybrids", "SampledRow", "SampledWorths"]

Flags = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class SampledWorths:
    """Some coalitions with the worth that was computed, for spot checks: `rows` (k,), `coalitions` (k, players), `worths` (k, outputs)."""

    rows: Ints
    coalitions: Flags
    worths: Floats


@final
@dataclass(frozen=True, eq=False)
class SampledHybrids:
    """Some hybrids with the output that was used, for spot checks.

    Attributes:
        rows, donors: (k,), positions of the row and of the background row that each is mixed of. coalitions: (k, players), the players that are as in the row.
        outputs: (k, outputs).
    """

    rows: Ints
    donors: Ints
    coalitions: Flags
    outputs: Floats


@final
@dataclass(frozen=True, eq=False)
class SampledRow:
    """The outputs that one row's values were estimated from, for spot checks.

    Attributes:
        row: its position. own: positions of the players that differ. coalitions: (pairs, players that differ), one of each pair.
        pair, donor: (entries,), in the order of pairs. present, absent: (entries, outputs), of the coalition and of its complement.
        with_replacement: whether donors were drawn by their weights; else outputs count by them.
        is_of_chains: whether coalitions are chains: one player joins after the other, over one donor.
    """

    row: int
    own: Ints
    coalitions: Flags
    pair: Ints
    donor: Ints
    present: Floats
    absent: Floats
    with_replacement: bool
    is_of_chains: bool = False

    @property
    def donors_of_pairs(self) -> tuple[bytes, ...]:
        """The donors of each pair, in their order."""
        ends = np.cumsum(np.bincount(self.pair))[:-1]
        return tuple(part.tobytes() for part in np.split(self.donor, ends))

    def examples(self, others: Flags, count: int, draw: np.random.Generator) -> list[tuple[int, Flags, int, Floats]]:
        """Draw hybrids: row, coalition of all players, donor and outputs of each.

        Args:
            others: (players,), those that do not differ, who are the same either way.
        """
        out = []
        for at in draw.integers(2 * len(self.pair), size=count).tolist():
            complement, entry = divmod(at, len(self.pair))
            coalition = others.copy()
            coalition[self.own] = self.coalitions[self.pair[entry]] ^ bool(complement)
            outputs = (self.absent if complement else self.present)[entry]
            out.append((self.row, coalition, int(self.donor[entry]), outputs))
        return out


@final
@dataclass(frozen=True, eq=False)
class GameAnswer:
    """The values of each row's game.

    Attributes:
        values: (n, players, outputs); of order 2 (n, players, players, outputs), half of each interaction on either side of the diagonal, main effects on it.
        std_error: of the same shape; None where exact. converged: (n,), whether errors are as small as asked.
        model_evals: (n,), predictions spent for each row.
        background_error: (n, players, outputs), standard error of another background of this size; None: not known.
        kernel: how, in words. notes: what the reader should know. worths, hybrids, sampled_rows: for spot checks.
        index: which value it is, where that is not the options' own index. settings: for the evidence, what was chosen.
    """

    values: Floats
    std_error: Floats | None
    converged: Flags
    model_evals: Ints
    background_error: Floats | None
    kernel: str
    notes: tuple[str, ...] = ()
    worths: SampledWorths | None = None
    hybrids: SampledHybrids | None = None
    sampled_rows: tuple[SampledRow, ...] = ()
    index: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
