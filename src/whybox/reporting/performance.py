"""How well the model does on the rows of the report, when the truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox
from whybox.models.losses import (
    LOSSES,
    are_of_one_target,
    class_labels,
    class_probabilities,
    true_classes,
    true_numbers,
)
from whybox.numerics.rounding import rounding_floor, varies

__all__ = [
    "Calibration",
    "Performance",
    "above_rounding",
    "calibrate",
    "largest_mistakes",
    "measure_performance",
    "precision_recall",
    "roc",
]

MAX_CALIBRATION_BINS: Final = 10
ROWS_OF_A_BIN: Final = 15  # at least, on average


@final
@dataclass(frozen=True)
class Performance:
    """Scores with their names, and what there is to draw.

    Attributes:
        task: ``"regression"``, ``"classification"``, or ``"score"`` where prediction and target are not on one scale.
        scores: (name, value, what it means).
        truth: numbers, or class positions. predicted: numbers, or class positions. classes: names of the classes.
    """

    task: str
    scores: tuple[tuple[str, float, str], ...]
    truth: Floats
    predicted: Floats
    classes: tuple[str, ...] = ()


def measure_performance(model: Model, raw: Floats, y: Any) -> Performance | None:
    """Score a model's raw outputs (rows, outputs) against the truth; None where no single target is defined (several outputs or targets, scores or labels of classes).

    Raises:
        InputError: the truth does not fit: missing values, unknown classes, text for a regression.
    """
    outputs = model.outputs
    response = outputs.link(raw)
    classes = class_labels(outputs)
    if classes is not None:
        probabilities = class_probabilities(outputs, response)
        if not are_of_one_target(probabilities):
            return None
        return _classification_scores(classes, probabilities, true_classes(y, classes))
    of_classes = isinstance(model, BlackBox) and (outputs.negative_class is not None or model.gives_labels)
    if len(outputs.names) > 1 or of_classes:
        return None
    return _regression_scores(response[:, 0], true_numbers(y))


def largest_mistakes(performance: Performance, predictions: Floats) -> list[tuple[int, str]]:
    """Return the positions of the rows with the largest mistakes, each with what it is in words; `predictions` (rows,) of classes say which are the surest."""
    if performance.task == "regression":
        off = performance.predicted - performance.truth
        return [(int(off.argmax()), "most overestimated"), (int(off.argmin()), "most underestimated")]
    wrong = np.flatnonzero(performance.predicted != performance.truth)
    surest = wrong[np.argsort(-np.abs(predictions[wrong] - np.median(predictions)), kind="stable")[:2]]
    return [
        (
            int(i),
            f"mistaken: true class {performance.classes[int(performance.truth[i])]}, predicted {performance.classes[int(performance.predicted[i])]}",
        )
        for i in surest
    ]


def _regression_scores(predicted: Floats, truth: Floats) -> Performance:
    squared = LOSSES["squared"](truth, predicted)
    scores = [
        (
            "RMSE",
            above_rounding(float(np.sqrt(squared.mean())), predicted, truth),
            "root mean squared error, in units of the target",
        ),
        (
            "MAE",
            above_rounding(float(LOSSES["absolute"](truth, predicted).mean()), predicted, truth),
            "mean absolute error, in units of the target",
        ),
        (
            "Bias",
            above_rounding(float((predicted - truth).mean()), predicted, truth),
            "mean of prediction minus truth",
        ),
    ]
    if varies(truth):
        variation = float(((truth - truth.mean()) ** 2).sum())
        scores.insert(
            0,
            (
                "R²",
                1 - float(squared.sum()) / variation,
                "share of the target's variance explained; 1 is perfect, 0 is the mean",
            ),
        )
    return Performance("regression", tuple(scores), truth, predicted)


def above_rounding(difference: float, *of: Floats) -> float:
    """Return a difference, or a mean of differences, and 0 where it is rounding of these numbers."""
    return difference if abs(difference) > max(float(rounding_floor(values)) for values in of) else 0.0


def _classification_scores(
    classes: tuple[str, ...], probabilities: Floats, truth: npt.NDArray[np.int64]
) -> Performance:
    right = LOSSES["zero_one"](truth, probabilities) == 0
    scores = [("Accuracy", float(right.mean()), "share of rows whose most probable class is the true one")]
    if len(classes) == 2 and len(np.unique(truth)) == 2:
        from sklearn.metrics import roc_auc_score

        scores.append(
            (
                "ROC AUC",
                float(roc_auc_score(truth, probabilities[:, 1])),
                "chance that a random positive row scores above a random negative one",
            )
        )
    log_loss = float(LOSSES["log"](truth, probabilities).mean())
    scores.append(("Log loss", log_loss, "mean surprise at the true class; smaller is better"))
    common = np.bincount(truth, minlength=len(classes)).max() / len(truth)
    scores.append(("Most common class", float(common), "accuracy of always guessing the most common class"))
    predicted = probabilities.argmax(axis=1).astype(np.float64)
    return Performance("classification", tuple(scores), truth.astype(np.float64), predicted, classes)


@final
@dataclass(frozen=True)
class Calibration:
    """Bins of about as many rows each, in increasing order of the predicted probability.

    Attributes:
        predicted: mean probability of each bin. observed: share of rows that are truly positive. rows: of each bin.
    """

    predicted: Floats
    observed: Floats
    rows: npt.NDArray[np.int64]


def calibrate(is_positive: npt.NDArray[np.bool_], probability: Floats) -> Calibration:
    """Compare predicted probabilities with how often the class is true (scikit-learn's ``calibration_curve``, quantile bins)."""
    from sklearn.calibration import calibration_curve

    bins = int(np.clip(len(probability) // ROWS_OF_A_BIN, 2, MAX_CALIBRATION_BINS))
    observed, predicted = calibration_curve(is_positive, probability, n_bins=bins, strategy="quantile")
    edges = np.percentile(probability, np.linspace(0, 1, bins + 1) * 100)  # as there
    rows = np.bincount(np.searchsorted(edges[1:-1], probability), minlength=bins)
    return Calibration(predicted, observed, rows[rows > 0])


def roc(is_positive: npt.NDArray[np.bool_], probability: Floats) -> tuple[Floats, Floats, Floats]:
    """Return false-positive rates, true-positive rates and their thresholds (scikit-learn's ``roc_curve``)."""
    from sklearn.metrics import roc_curve

    found: tuple[Floats, Floats, Floats] = roc_curve(is_positive, probability)
    return found


def precision_recall(is_positive: npt.NDArray[np.bool_], probability: Floats) -> tuple[Floats, Floats, Floats]:
    """Return precisions, recalls and their thresholds, one fewer (scikit-learn's ``precision_recall_curve``)."""
    from sklearn.metrics import precision_recall_curve

    found: tuple[Floats, Floats, Floats] = precision_recall_curve(is_positive, probability)
    return found
