"""What an engine that evaluates all coalitions keeps for spot checks: drawn by the seed before anything is evaluated."""

from __future__ import annotations

from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.common.spot_checks import spot_predictions, spot_rng
from whybox.methods.shap.game_answer import SampledHybrids, SampledWorths
from whybox.methods.shap.game_problem import GameProblem

__all__ = ["KeptNumbers"]

MIN_VALUES: Final = (
    48  # of rows whose coalitions are all kept: a fault in a tenth of all values escapes 48 in 0.6 % of cases
)
MAX_PLAYERS: Final = 14  # of such a row
MAX_COALITIONS: Final = 2**16  # of all such rows together
_STREAM: Final = 0x3A97

Coalitions = npt.NDArray[np.bool_]


@final
class KeptNumbers:
    """Hybrids with their outputs, some coalitions with their worths, and the worths of all coalitions of some rows."""

    def __init__(self, problem: GameProblem) -> None:
        options, counts = problem.options, problem.differs.sum(axis=1)
        self._players = problem.players.count
        self._draw = spot_rng(options.seed, _STREAM)
        allowed = spot_predictions(options.spot_checks)
        eligible = np.flatnonzero(counts > 0)
        rows = self._draw.permutation(eligible)
        fits = np.cumsum(2.0 ** counts[rows]) <= MAX_COALITIONS
        enough = np.cumsum(counts[rows]) - counts[rows] >= MIN_VALUES
        self._whole = set(rows[(counts[rows] <= MAX_PLAYERS) & fits & ~enough].tolist())
        self._drawn_hybrids = {row: self._draw.random(times) for row, times in self._times(eligible, allowed).items()}
        self._drawn_worths = self._times(eligible, max(allowed // len(problem.background), 1))
        self._hybrids: list[tuple[int, int, Coalitions, Floats]] = []
        self._worths: list[tuple[int, Coalitions, Floats]] = []

    def _times(self, rows: Ints, count: int) -> dict[int, int]:
        """How often each row is drawn."""
        chosen, times = np.unique(self._draw.choice(rows, count) if len(rows) else rows, return_counts=True)
        return dict(zip(chosen.tolist(), times.tolist(), strict=True))

    def add_hybrids(
        self, rows: Ints, own: Ints, coalitions: Coalitions, donors: Ints, outputs: Floats, share: tuple[float, float]
    ) -> None:
        """Keep some hybrids of the rows that were drawn.

        Args:
            rows: positions. own: players of each that differ, (rows, players that differ). coalitions: of these. donors: positions of background rows.
            outputs: (rows, coalitions, donors, outputs). share: where these background rows begin and end among all, from 0 to 1.
        """
        for r, row in enumerate(rows.tolist()):
            drawn = self._drawn_hybrids.get(row, np.empty(0))
            for at in drawn[(drawn >= share[0]) & (drawn < share[1])].tolist():
                donor = int((at - share[0]) / (share[1] - share[0]) * len(donors))
                which = int(self._draw.integers(len(coalitions)))
                present = self._present(own[r], coalitions[which])
                self._hybrids.append((row, int(donors[donor]), present, outputs[r, which, donor].copy()))

    def add_worths(self, row: int, own: Ints, coalitions: Coalitions, worths: Floats) -> None:
        """Keep some coalitions of a row, or all, if it was drawn.

        Args:
            own: its players that differ. coalitions: of these. worths: (coalitions, outputs).
        """
        drawn = self._draw.integers(0, len(coalitions), size=(self._drawn_worths.get(row, 0),))
        for which in range(len(coalitions)) if row in self._whole else map(int, drawn):
            self._worths.append((row, self._present(own, coalitions[which]), worths[which]))

    def _present(self, own: Ints, coalition: Coalitions) -> Coalitions:
        present = np.zeros(self._players, dtype=bool)
        present[own[coalition]] = True
        return present

    @property
    def hybrids(self) -> SampledHybrids | None:
        """The hybrids that were kept; None where there are none."""
        if not self._hybrids:
            return None
        rows, donors, coalitions, outputs = map(np.array, zip(*self._hybrids, strict=True))
        return SampledHybrids(rows, donors, coalitions, outputs)

    @property
    def worths(self) -> SampledWorths | None:
        """The coalitions that were kept; None where there are none."""
        if not self._worths:
            return None
        rows, coalitions, worths = map(np.array, zip(*self._worths, strict=True))
        return SampledWorths(rows, coalitions, worths)
