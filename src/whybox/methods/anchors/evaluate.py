"""Predicted classes of drawn rows, all of one round in one call of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, final

import numpy as np

from whybox.data.table import Floats, Table
from whybox.methods.anchors.problem import AnchorsSetting
from whybox.methods.common.columns import Ints
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.output import OutputSelection

__all__ = ["DrawEvaluator", "drawn_table"]

MAX_DRAWS: Final = 2**16  # of one table


def drawn_table(setting: AnchorsSetting, sources: Ints) -> Table:
    """Return the rows of draws, (draws, players): of each player its cells of the background row that a draw names."""
    background = setting.background.table
    rows = np.empty((len(sources), background.width), dtype=np.int64)
    for p, d in enumerate(setting.distributions):
        rows[:, list(d.columns)] = sources[:, [p]]
    return background.columns_at_rows(rows)


@final
@dataclass
class DrawEvaluator:
    """Evaluates draws, and counts.

    Attributes:
        setting: with the model. selection: of what is evaluated; None: that of the setting. spent: predictions of single rows so far.
    """

    setting: AnchorsSetting
    selection: OutputSelection | None = None
    _evaluator: HybridEvaluator = field(init=False)

    def __post_init__(self) -> None:
        self._evaluator = HybridEvaluator(self.setting.model, self.selection or self.setting.selection)

    @property
    def spent(self) -> int:
        """Predictions of single rows so far."""
        return self._evaluator.spent

    def outputs(self, sources: Ints, *, what: str) -> Floats:
        """Return the outputs of draws, (draws, outputs).

        Raises:
            NonFiniteError: an output is NaN. InputError: the model refuses the rows.
        """
        parts = []
        for start in range(0, len(sources), MAX_DRAWS):
            table = drawn_table(self.setting, sources[start : start + MAX_DRAWS])
            parts.append(self._evaluator.evaluate_rows(table, np.arange(len(table)), what=what))
        return np.concatenate(parts)
