"""How well the model does on the rows of the report, when the truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats, is_missing
from whybox.errors import InputError, shown
from whybox.models.base import Model
from whybox.numerics.rounding import varies

__all__ = ["Performance", "measure"]


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


def measure(model: Model, raw: Floats, target: npt.NDArray[Any]) -> Performance | None:
    """Score a model's raw outputs (rows, outputs) against the truth; None where no single target is defined (several outputs).

    Raises:
        InputError: the target does not fit: missing values, unknown classes, text for a regression.
    """
    outputs = model.outputs
    response = outputs.link(raw)
    if outputs.has_probability and (
        outputs.negative_class is not None or outputs.link.name == "softmax" or len(outputs.names) > 1
    ):
        classes = (outputs.negative_class, *outputs.names) if outputs.negative_class is not None else outputs.names
        if outputs.negative_class is None and not (outputs.link.name == "softmax" or outputs.additive_probability):
            return None
        shares = (
            np.column_stack([1 - response[:, 0], response[:, 0]]) if outputs.negative_class is not None else response
        )
        return _classification(tuple(str(c) for c in classes), shares, target)
    if len(outputs.names) > 1:
        return None
    return _regression(response[:, 0], _numbers(target))


def _numbers(target: npt.NDArray[Any]) -> Floats:
    try:
        out = np.asarray(target, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("the target column holds text, but the model predicts numbers.") from None
    if not np.isfinite(out).all():
        raise InputError(
            f"the target column has {int((~np.isfinite(out)).sum()):,} missing or infinite values; leave those rows out."
        )
    return out


def _regression(predicted: Floats, truth: Floats) -> Performance:
    error = predicted - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    scores = [
        ("RMSE", float(np.sqrt((error**2).mean())), "root mean squared error, in units of the target"),
        ("MAE", float(np.abs(error).mean()), "mean absolute error, in units of the target"),
        ("Bias", float(error.mean()), "mean of prediction minus truth"),
    ]
    if varies(truth):
        scores.insert(
            0,
            (
                "R²",
                1 - float((error**2).sum()) / spread,
                "share of the target's variance explained; 1 is perfect, 0 is the mean",
            ),
        )
    return Performance("regression", tuple(scores), truth, predicted)


def _classification(classes: tuple[str, ...], shares: Floats, target: npt.NDArray[Any]) -> Performance:
    truth = _positions(classes, target)
    predicted = shares.argmax(axis=1).astype(np.float64)
    own = np.clip(shares[np.arange(len(truth)), truth.astype(int)], 1e-15, 1)
    scores = [
        ("Accuracy", float((predicted == truth).mean()), "share of rows whose most probable class is the true one")
    ]
    if len(classes) == 2 and len(np.unique(truth)) == 2:
        from sklearn.metrics import roc_auc_score

        scores.append(
            (
                "ROC AUC",
                float(roc_auc_score(truth, shares[:, 1])),
                "chance that a random positive row scores above a random negative one",
            )
        )
    scores.append(("Log loss", float(-np.log(own).mean()), "mean surprise at the true class; smaller is better"))
    common = np.bincount(truth.astype(int), minlength=len(classes)).max() / len(truth)
    scores.append(("Most common class", float(common), "accuracy of always guessing the most common class"))
    return Performance("classification", tuple(scores), truth, predicted, classes)


def _positions(classes: tuple[str, ...], target: npt.NDArray[Any]) -> Floats:
    """Return the position of each true class. Names are never matched by their order: that would swap classes without a word."""
    at = {name: float(i) for i, name in enumerate(classes)}
    numbers = {_as_number(name): i for name, i in at.items() if _as_number(name) is not None}
    values = np.asarray(target, dtype=object).tolist()
    missing = sum(map(is_missing, values))
    if missing:
        raise InputError(f"the target column has {missing:,} missing values; leave those rows out.")
    place = {v: at.get(str(v), numbers.get(_as_number(v))) for v in dict.fromkeys(values)}
    unknown = [v for v, i in place.items() if i is None]
    if unknown:
        known = ", ".join(classes[:8]) + (" ..." if len(classes) > 8 else "")
        raise InputError(
            f"the target column holds {shown(unknown, most=3)}, which are none of the model's classes ({known}). "
            f"Encode it as the model was trained, for example as a column of {' and '.join(classes) if len(classes) < 4 else 'these values'}."
        )
    return np.array([place[v] for v in values], dtype=np.float64)


def _as_number(value: Any) -> float | None:
    """Return what a class is worth as a number: 1 for 1.0, "1" and True; None for other words."""
    if isinstance(value, str) and value in ("True", "False"):
        return float(value == "True")
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
