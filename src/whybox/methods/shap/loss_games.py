"""Games of the loss of each row: outputs of hybrids become losses by the truth of the row that is explained.

The worth of a coalition is the mean over background rows of the loss of the hybrid's prediction (Lundberg et al. 2020, Nature Machine Intelligence 2,
doi:10.1038/s42256-019-0138-9). The loss comes first, the mean second: so the game is a mean over background rows, as that of a prediction is, and all that holds
for such games holds. (SAGE takes the loss of the mean prediction. TreeExplainer(model_output="log_loss") of the package shap has the same base and the same sums,
but scales the values of the margin by the ratio of losses to margins for each background row, which is no Shapley value of the loss.) Two rows with equal cells
and another truth have different games; the model is evaluated for both once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.methods.common.columns import Ints
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.row_losses import RowLosses
from whybox.models.base import digest
from whybox.models.links import PREDICTION_UNITS

__all__ = [
    "LOSS_ESTIMAND",
    "LOSS_NOTE",
    "QUANTITY",
    "LossGames",
    "check_loss_options",
    "check_truth_given",
    "loss_selection",
]

QUANTITY: Final = "share of the loss"
LOSS_ESTIMAND: Final = "interventional: values of background rows; the loss with each of them, then the mean"
LOSS_NOTE: Final = "No surrogate was fitted: a loss depends on the truth of a row, not on its cells alone."
MAX_LOSSES: Final = 2**22  # computed together
PREDICTION_ROUNDING: Final = 1e-12  # of the largest output: what another batch may change


def check_truth_given(loss: Any, y: Any) -> None:
    """Refuse a loss without the truth, and the truth without a loss.

    Raises:
        OptionError: one of these.
    """
    if loss is not None and y is None:
        raise OptionError(Argument("loss", loss), " compares predictions with the truth: pass ", Argument("y"), ".")
    if loss is None and y is not None:
        raise OptionError(
            Argument("y"),
            ", the truth of each row, is used where its loss is explained: pass ",
            Argument("loss", example="'log' or 'squared'"),
            ", or leave ",
            Argument("y"),
            " out.",
        )


def check_loss_options(*, stochastic: bool, surrogate: bool | None) -> None:
    """Refuse options that do not go with a loss.

    Raises:
        OptionError: there is one.
    """
    if stochastic:
        raise OptionError(
            Argument("stochastic", True),
            " does not go with ",
            Argument("loss", example="..."),
            ": the mean loss of outputs that vary is not the loss of their mean. Explain the prediction, or the mean of several outputs.",
        )
    if surrogate:
        raise OptionError(
            Argument("surrogate", True),
            " does not go with ",
            Argument("loss", example="..."),
            ": it is fitted to outputs that depend on the cells of a row alone, and a loss depends on the truth too. Leave it out.",
        )


def loss_selection(losses: RowLosses) -> OutputSelection:
    """Return the one output that is explained: the loss."""
    return OutputSelection(
        "response", (0,), (1.0,), (0.0,), (PREDICTION_UNITS,), has_output_axis=False, units=losses.units
    )


@final
@dataclass(frozen=True, eq=False)
class LossGames:
    """The truth of the rows that are explained, and the model's outputs of them and of the background.

    Attributes:
        losses: of predictions. truth: (n,) numbers, or positions of the true classes.
        row_outputs: (n, model outputs). background_outputs: (background rows, model outputs).
    """

    losses: RowLosses
    truth: Floats | Ints
    row_outputs: Floats
    background_outputs: Floats

    def of_hybrids(self, rows: Ints, outputs: Floats) -> Floats:
        """Return the losses of hybrids, (rows, ..., 1).

        Args:
            rows: (k,), the row that hybrids are of. outputs: (k, ..., model outputs).

        Raises:
            OptionError: the loss of an output is not defined.
        """
        flat = outputs.reshape(-1, outputs.shape[-1])
        each = len(flat) // max(len(rows), 1)
        truth: Any = np.repeat(self.truth[rows], each)
        return self.losses(truth, flat).reshape(*outputs.shape[:-1], 1)

    @property
    def of_rows(self) -> Floats:
        """Losses of the rows as they are, (n, 1)."""
        return self.of_hybrids(np.arange(len(self.truth)), self.row_outputs)

    def of_donors(self, rows: Ints, donors: Ints | slice = slice(None)) -> Floats:
        """Return losses of background rows with the truth of each of some rows, (rows, donors, 1)."""
        outputs = self.background_outputs[donors]
        return self.of_hybrids(rows, np.broadcast_to(outputs, (len(rows), *outputs.shape)))

    def base(self, weights: Floats) -> Floats:
        """Return the mean loss of the background with the truth of each row, (n, 1); of equal losses it is exactly their value."""
        means = [p[:, 0] + np.einsum("b,rbo->ro", weights, p - p[:, :1]) for p in self._blocks_of_donors()]
        return np.concatenate(means)

    @cached_property
    def largest_of_donors(self) -> Floats:
        """The largest loss of a background row with the truth of each row, (n, 1)."""
        return np.concatenate([np.abs(part).max(axis=1) for part in self._blocks_of_donors()])

    def _blocks_of_donors(self) -> Iterator[Floats]:
        """Losses of background rows with the truth of some rows after the other."""
        step = max(1, MAX_LOSSES // max(self.background_outputs.size, 1))
        n = len(self.truth)
        for start in range(0, n, step):
            yield self.of_donors(np.arange(start, min(start + step, n)))

    def moved(self, rows: Ints, outputs: Floats, by: Floats) -> Floats:
        """Return how far losses move at most, about, where each output moves by so much, (k, 1).

        Args:
            rows: (k,), the row that hybrids are of. outputs, by: (k, model outputs).
        """
        losses = self.of_hybrids(rows, outputs)
        total = np.zeros_like(losses)
        for k in range(outputs.shape[1]):
            steps = []
            for sign in (-1.0, 1.0):
                other = outputs.copy()
                other[:, k] += 2.0 * sign * by[:, k]
                if self.losses.loss.needs_positive:
                    other[:, k] = np.maximum(other[:, k], outputs[:, k] / 2.0)
                steps.append(np.abs(self.of_hybrids(rows, other) - losses))
            total += np.maximum(*steps)
        return total

    @property
    def rounding(self) -> Floats:
        """How far rounding of predictions moves the losses of the rows, (n, 1)."""
        by = np.full_like(self.row_outputs, PREDICTION_ROUNDING * float(np.abs(self.row_outputs).max(initial=0.0)))
        return self.moved(np.arange(len(self.truth)), self.row_outputs, by)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the truth, as the loss takes it."""
        return digest(self.losses.loss.name, self.losses.labels, np.asarray(self.truth))

    @property
    def settings(self) -> dict[str, Any]:
        """What is explained, for the evidence: the loss, and the classes in the order of probabilities."""
        labels = self.losses.labels
        return {"loss": self.losses.loss.name} | ({} if labels is None else {"classes": list(labels)})

    @property
    def extras(self) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
        """The truth of each row, (n,), and the model's own prediction, (n,) or (n, classes)."""
        labels = self.losses.labels
        if labels is None:
            return {
                "y": (("row",), np.array(self.truth)),
                "model_prediction": (("row",), self.row_outputs[:, 0].copy()),
            }
        truth = np.array(labels, dtype=object)[self.truth]
        return {
            "y": (("row",), truth),
            "model_prediction": (("row", "class"), self.losses.compared(self.row_outputs)),
        }
