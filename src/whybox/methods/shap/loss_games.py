"""Games of the loss of each row: outputs of hybrids become losses by the truth of the row that is explained.

The worth of a coalition is the mean over background rows of the loss of the hybrid's prediction (Lundberg et al. 2020, Nature Machine Intelligence 2,
doi:10.1038/s42256-019-0138-9). The loss comes first, the mean second: so the game is a mean over background rows, as that of a prediction is, and all that holds
for such games holds. (SAGE takes the loss of the mean prediction. TreeExplainer(model_output="log_loss") of the package shap has the same base and the same sums,
but scales the values of the margin by the ratio of losses to margins for each background row, which is no Shapley value of the loss.) Two rows with equal cells
and another truth have different games; the model is evaluated for both once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.explanation.kinds import OFFSET_INSIDE_SETTING
from whybox.methods.common.columns import Ints
from whybox.methods.common.options import not_together
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.row_losses import AUTO_LOSS, RowLosses, check_loss_scale
from whybox.methods.common.shifted_outputs import ShiftedOutputs
from whybox.methods.shap.row_games import RowGames
from whybox.models.base import digest
from whybox.models.links import PREDICTION_UNITS
from whybox.models.losses import as_loss

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


def check_loss_options(loss: Any, scale: str | None, *, stochastic: bool, surrogate: bool | None) -> None:
    """Refuse a loss that is not known, and options that do not go with one.

    Raises:
        OptionError: there is one.
    """
    if not (isinstance(loss, str) and loss == AUTO_LOSS):
        as_loss(loss)
    check_loss_scale(scale)
    if stochastic:
        raise not_together(
            Argument("stochastic", True),
            "loss",
            ": the mean loss of outputs that vary is not the loss of their mean. Explain the prediction, or the mean of several outputs.",
        )
    if surrogate:
        raise not_together(
            Argument("surrogate", True),
            "loss",
            ": it is fitted to outputs that depend on the cells of a row alone, and a loss depends on the truth too. Leave it out.",
        )


def loss_selection(losses: RowLosses) -> OutputSelection:
    """Return the one output that is explained: the loss."""
    return OutputSelection(
        "response", (0,), (1.0,), (0.0,), (PREDICTION_UNITS,), has_output_axis=False, units=losses.units
    )


@final
@dataclass(frozen=True, eq=False)
class LossGames(RowGames):
    """The truth of the rows that are explained; outputs are predictions or, where rows have offsets, the raw ones.

    Attributes:
        losses: of predictions. truth: (n,) numbers, or positions of the true classes. shifted: what makes predictions of raw outputs, where rows have offsets.
    """

    losses: RowLosses
    truth: Floats | Ints
    shifted: ShiftedOutputs | None = None

    def of_hybrids(self, rows: Ints, outputs: Floats) -> Floats:
        """Return the losses of hybrids, (rows, ..., 1); see :meth:`RowGames.of_hybrids`."""
        predictions = self._predictions(rows, outputs)
        flat = predictions.reshape(-1, predictions.shape[-1])
        each = len(flat) // max(len(rows), 1)
        truth: Any = np.repeat(self.truth[rows], each)
        return self.losses(truth, flat).reshape(*outputs.shape[:-1], 1)

    def _predictions(self, rows: Ints, outputs: Floats) -> Floats:
        return outputs if self.shifted is None else self.shifted.predictions(rows, outputs)

    def _allowed(self, moved: Floats, outputs: Floats, k: int) -> Floats:
        """Keep predictions positive where the loss needs them so; raw outputs may be any."""
        if self.losses.loss.needs_positive and self.shifted is None:
            moved[:, k] = np.maximum(moved[:, k], outputs[:, k] / 2.0)
        return moved

    @property
    def keys(self) -> Floats:
        """The truth, and the offsets."""
        truth = np.asarray(self.truth, dtype=np.float64)[:, None]
        return truth if self.shifted is None else np.column_stack([truth, self.shifted.offsets.given])

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the truth, as the loss takes it, and of the offsets."""
        prints = {"y": digest(self.losses.loss.name, self.losses.labels, np.asarray(self.truth))}
        return prints if self.shifted is None else prints | {"offset": self.shifted.offsets.fingerprint}

    @property
    def settings(self) -> dict[str, Any]:
        """What is explained, for the evidence: the loss, and the classes in the order of probabilities."""
        labels = self.losses.labels
        settings = {"loss": self.losses.loss.name} | ({} if labels is None else {"classes": list(labels)})
        return settings if self.shifted is None else settings | {OFFSET_INSIDE_SETTING: self.shifted.offsets.name}

    @property
    def notes(self) -> tuple[str, ...]:
        """What offsets do, if there are any."""
        return () if self.shifted is None else (self.shifted.offsets.note,)

    @property
    def no_surrogate(self) -> str:
        """Why no surrogate was fitted."""
        return LOSS_NOTE

    @property
    def what(self) -> str:
        """The loss of a row."""
        return "the loss of the model's own prediction is"

    @property
    def extras(self) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
        """The truth of each row, (n,), the model's own prediction, (n,) or (n, classes), and the offset."""
        labels = self.losses.labels
        predictions = self._predictions(np.arange(len(self.row_outputs)), self.row_outputs)
        compared, truth = self.losses.compared(predictions), self.truth
        axes = ("row",) if labels is None else ("row", "class")
        found: dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = {
            "y": (("row",), np.array(truth) if labels is None else np.array(labels, dtype=object)[truth]),
            "model_prediction": (axes, compared.copy()),
        }
        return found if self.shifted is None else found | self.shifted.extras
