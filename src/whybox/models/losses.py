"""Losses of single rows, and the truth they compare predictions with, matched with a model's outputs by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.label_choice import matching_positions
from whybox.data.cells import cell_key
from whybox.data.series import is_missing
from whybox.data.table import Floats
from whybox.errors import MAX_NAMES_LISTED, Argument, InputError, OptionError, nearest_names, quoted_list
from whybox.models.links import CLASS_LINKS, Outputs

__all__ = [
    "CLASS_LOSSES",
    "LOSSES",
    "MAX_EXCESS",
    "Loss",
    "are_of_one_target",
    "as_loss",
    "class_labels",
    "class_probabilities",
    "likeliest_classes",
    "one_value_a_row",
    "true_classes",
    "true_numbers",
]

ClassPositions = npt.NDArray[np.int64]
TIED: Final = 1e-10  # probabilities that differ by a smaller share are equal but for rounding, here and in native code
MAX_EXCESS: Final = (
    1e-3  # that probabilities of classes may add up to beside one; those of several targets add up to their number
)
_LOSS_PATTERN: Final = re.compile(r"\s*([a-z_]+)\s*(?:\(\s*([^()]*?)\s*\)\s*)?")
_OTHER_NAMES: Final = {"log_loss": "log", "squared_error": "squared", "absolute_error": "absolute"}
_TRUTH_AS_TEXT: Final[dict[str, bool | int]] = {"True": True, "False": False, "1": 1, "0": 0}


@final
@dataclass(frozen=True)
class Loss:
    """A loss of each row.

    Attributes:
        name: with its parameter: ``"pinball(0.9)"``.
        units: of its values, in words.
        function: (truth, predictions) -> losses.
        min_truth: the smallest truth that it is defined for; None: any. excludes_min_truth: whether the truth must lie above that.
        needs_positive: whether predictions must be positive.
    """

    name: str
    units: str
    function: Callable[[Any, Floats], Floats]
    min_truth: float | None = None
    excludes_min_truth: bool = False
    needs_positive: bool = False

    @property
    def kernel(self) -> tuple[str, float]:
        """The name in :data:`LOSSES` that native code knows the function by, and the level of pinball; of any other function, ``""``."""
        if isinstance(self.function, partial):
            return ("pinball", self.function.args[0]) if self.function.func is _pinball_loss else ("", 0.5)
        return next((name for name, known in LOSSES.items() if known.function is self.function), ""), 0.5

    def __call__(self, truth: Floats | ClassPositions, predictions: Floats) -> Floats:
        """Return the loss of each row, (rows,).

        Args:
            truth: (rows,) numbers, or positions of the true classes; see :func:`true_numbers` and :func:`true_classes`.
            predictions: (rows,) numbers on the scale of the truth, or (rows, classes) probabilities.

        Raises:
            InputError: a truth that the loss is not defined for.
            OptionError: predictions that it is not defined for.
        """
        self.check_truth(truth)
        if self.needs_positive and (low := ~(predictions > 0)).any():
            raise OptionError(
                Argument("loss", self.name),
                f" needs positive predictions; {int(low.sum()):,} of {low.size:,} are not, the first being {predictions[low][0]:g}. Take ",
                Argument("loss", "squared"),
                ".",
            )
        return self.function(truth, predictions)

    def check_truth(self, truth: Floats | ClassPositions) -> None:
        """Refuse a truth that the loss is not defined for.

        Args:
            truth: (rows,), as for a call.

        Raises:
            InputError: there is such.
        """
        if self.min_truth is None:
            return
        bad = truth <= self.min_truth if self.excludes_min_truth else truth < self.min_truth
        if bad.any():
            words = "above" if self.excludes_min_truth else "at least"
            raise InputError(
                Argument("loss", self.name),
                f" is defined for truths {words} {self.min_truth:g}; {int(bad.sum()):,} of {bad.size:,} are not, the first being {truth[bad][0]:g}.",
            )


def _squared_error(truth: Floats, predictions: Floats) -> Floats:
    return np.asarray((truth - predictions) ** 2)


def _absolute_error(truth: Floats, predictions: Floats) -> Floats:
    return np.asarray(np.abs(truth - predictions))


def _pinball_loss(level: float, truth: Floats, predictions: Floats) -> Floats:
    residual = truth - predictions
    return np.asarray(np.where(residual >= 0, level * residual, (level - 1.0) * residual))


def _poisson_deviance(truth: Floats, predictions: Floats) -> Floats:
    from scipy.special import xlogy

    return np.asarray(2.0 * (xlogy(truth, truth / predictions) - truth + predictions))


def _gamma_deviance(truth: Floats, predictions: Floats) -> Floats:
    return np.asarray(2.0 * (np.log(predictions / truth) + truth / predictions - 1.0))


def _tweedie_deviance(power: float, truth: Floats, predictions: Floats) -> Floats:
    one, two = 1.0 - power, 2.0 - power
    truth_term = np.maximum(truth, 0.0) ** two / (one * two)
    return np.asarray(2.0 * (truth_term - truth * predictions**one / one + predictions**two / two))


def _log_loss(classes: ClassPositions, probabilities: Floats) -> Floats:
    return np.asarray(-np.log(np.clip(_true_class_probability(classes, probabilities), np.finfo(np.float64).eps, 1.0)))


def _brier_score(classes: ClassPositions, probabilities: Floats) -> Floats:
    is_true_class = np.arange(probabilities.shape[1]) == classes[:, None]
    factor = 0.5 if probabilities.shape[1] == 2 else 1.0
    return np.asarray(factor * ((probabilities - is_true_class) ** 2).sum(axis=1))


def _zero_one(classes: ClassPositions, probabilities: Floats) -> Floats:
    return np.asarray(likeliest_classes(probabilities) != classes, dtype=np.float64)


def likeliest_classes(probabilities: Floats) -> ClassPositions:
    """Return the position of each row's most probable class, (rows,); of several that are equal but for rounding, the first.

    A forest of which half of the trees vote for each of two classes gives both the probability 0.5, and a sum in another order is not quite that.

    Args:
        probabilities: (rows, classes).
    """
    largest = probabilities.max(axis=1, keepdims=True)
    return np.asarray((probabilities >= largest - TIED * np.abs(largest)).argmax(axis=1))


def _true_class_probability(classes: ClassPositions, probabilities: Floats) -> Floats:
    return np.asarray(probabilities[np.arange(len(classes)), classes])


LOSSES: Final = {
    "squared": Loss("squared", "squared units of y", _squared_error),
    "absolute": Loss("absolute", "units of y", _absolute_error),
    "pinball": Loss("pinball(0.5)", "units of y", partial(_pinball_loss, 0.5)),
    "log": Loss("log", "nats", _log_loss),
    "brier": Loss("brier", "squared probability", _brier_score),
    "zero_one": Loss("zero_one", "share of rows", _zero_one),
    "poisson": Loss("poisson", "deviance", _poisson_deviance, min_truth=0.0, needs_positive=True),
    "tweedie": Loss("tweedie(1.5)", "deviance", partial(_tweedie_deviance, 1.5), min_truth=0.0, needs_positive=True),
}

CLASS_LOSSES: Final = ("log", "brier", "zero_one")  # of the probabilities of classes; the others are of numbers


def as_loss(loss: str | Loss) -> Loss:
    """Return a loss from its name: one of :data:`LOSSES`, with a parameter ``"pinball(level)"`` and ``"tweedie(power)"``.

    Names of scikit-learn mean the same losses: ``"log_loss"``, ``"squared_error"``, ``"absolute_error"``.

    ``"log"`` is the negative log-probability of the true class, at most 36 (probabilities below 2.2e-16 count as that); ``"brier"`` the squared
    distance of probabilities from the true class, of the second class alone where there are two; ``"zero_one"`` 1 where another class is the
    most probable, of equal ones the first. ``"poisson"`` and ``"tweedie"`` are unit deviances, ``"tweedie(2)"`` being that of the gamma distribution. Means
    over rows are scikit-learn's metrics.

    Raises:
        OptionError: unknown name, or a parameter outside its range.
    """
    if isinstance(loss, Loss):
        return loss
    match = _LOSS_PATTERN.fullmatch(_OTHER_NAMES.get(loss, loss)) if isinstance(loss, str) else None
    if match is None or match[1] not in LOSSES:
        raise OptionError(Argument("loss", loss), " is not known.", known=LOSSES)
    name, parameter = match.groups()
    if parameter is None:
        return LOSSES[name]
    try:
        value = float(parameter)
    except ValueError:
        raise OptionError(Argument("loss", loss), ": the parameter must be a number, as in 'pinball(0.9)'.") from None
    if name == "pinball" and 0 < value < 1:
        return Loss(f"pinball({value:g})", "units of y", partial(_pinball_loss, value))
    if name == "tweedie" and (np.isfinite(value) and not 0 < value < 1):
        return _tweedie_loss(value)
    raise OptionError(
        Argument("loss", loss),
        ": pinball takes a level between 0 and 1, tweedie a power of at most 0 or at least 1; other losses take no parameter.",
    )


def _tweedie_loss(power: float) -> Loss:
    """The deviance of the Tweedie distribution with this power: defined for positive truths from 2 on, for any below 0."""
    functions = {0.0: _squared_error, 1.0: _poisson_deviance, 2.0: _gamma_deviance}
    least = None if power <= 0 else 0.0
    function = functions.get(power) or partial(_tweedie_deviance, power)
    return Loss(f"tweedie({power:g})", "deviance", function, least, power >= 2, needs_positive=power != 0)


def class_labels(outputs: Outputs) -> tuple[str, ...] | None:
    """Return the labels of the classes whose probabilities a model predicts and which add up to one; None where it does not."""
    if not outputs.has_probability:
        return None
    if outputs.negative_class is not None:
        return (str(outputs.negative_class), *map(str, outputs.names))
    together = outputs.link.name in CLASS_LINKS or (len(outputs.names) > 1 and outputs.additive_probability)
    return tuple(map(str, outputs.names)) if together else None


def class_probabilities(outputs: Outputs, response: Floats) -> Floats:
    """Return probabilities (rows, classes), in the order of :func:`class_labels`, from a model's predictions (rows, outputs)."""
    if outputs.negative_class is None:
        return response
    return np.column_stack([1 - response[:, 0], response[:, 0]])


def are_of_one_target(probabilities: Floats) -> bool:
    """Return whether probabilities (rows, classes) can be those of the classes of one target: they add up to one in every row.

    Where several targets are predicted at once (multi-label networks, forests of several outputs), no class of one row is the true one.
    """
    return bool(np.allclose(probabilities.sum(axis=1), 1.0, rtol=0.0, atol=MAX_EXCESS))


def true_numbers(y: Any, rows: int | None = None) -> Floats:
    """Return the truth of each row as numbers, (rows,).

    Args:
        y: one number a row, in any container. rows: how many there must be.

    Raises:
        InputError: text, missing or infinite values, several columns, or another number of values.
    """
    plain = np.asarray(y) if isinstance(y, np.ndarray) and y.dtype.kind in "fiu" and y.ndim == 1 else None
    if plain is not None and rows in (None, len(plain)):
        numbers = plain.astype(np.float64)
    else:
        numbers = np.array([_as_float(value) for value in one_value_a_row(y, rows).tolist()], dtype=np.float64)
    if (bad := ~np.isfinite(numbers)).any():
        raise InputError(Argument("y"), f" has {int(bad.sum()):,} missing or infinite values; leave those rows out.")
    return numbers


def _as_float(value: Any) -> float:
    try:
        return np.nan if is_missing(value) else float(value)
    except (TypeError, ValueError):
        raise InputError(
            Argument("y"),
            f" holds {quoted_list([value])}, but the model predicts numbers; give the numbers that it was trained on.",
        ) from None


def true_classes(y: Any, labels: Sequence[str], rows: int | None = None) -> ClassPositions:
    """Return the position of each row's true class among `labels`, (rows,).

    Classes are matched by name, never by their order, which would swap classes silently: text with text, else numbers and truth values by what they
    are worth (1, 1.0, ``"1"``, and of two classes 0 and 1 True), see :func:`whybox.core.label_choice.matching_positions`.

    Args:
        y: one class a row, in any container. labels: of the model's classes. rows: how many there must be.

    Raises:
        InputError: missing values, a class that the model does not have or that could be two of them, several columns, or another number of values.
    """
    values = one_value_a_row(y, rows).tolist()
    missing = sum(map(is_missing, values))
    if missing:
        raise InputError(Argument("y"), f" has {missing:,} missing values; leave those rows out.")
    keys = [cell_key(v) for v in values]  # True and 1 are equal, and not always the same class
    different = dict(zip(keys, values, strict=True))
    matches = {key: _matching_labels(value, labels) for key, value in different.items()}
    unknown = [different[key] for key, found in matches.items() if not found]
    if unknown:
        many = f"{len(labels):,}, nearest are {quoted_list(nearest_names(unknown[0], labels))}"
        known = ", ".join(labels) if len(labels) <= MAX_NAMES_LISTED else many
        raise InputError(
            Argument("y"),
            f" holds {quoted_list(unknown, most=3)}, which are none of the model's classes ({known}). "
            f"Encode it as the model was trained, for example as a column of {' and '.join(labels) if len(labels) < 4 else 'these values'}.",
        )
    several = [key for key, found in matches.items() if len(found) > 1]
    if several:
        value, found = different[several[0]], matches[several[0]]
        raise InputError(
            Argument("y"),
            f" holds {value!r}, which could be any of the model's classes {quoted_list([labels[i] for i in found])}; write the class as text.",
        )
    return np.array([matches[key][0] for key in keys], dtype=np.int64)


def _matching_labels(value: Any, labels: Sequence[str]) -> list[int]:
    found = matching_positions(value, labels)
    if found or not isinstance(value, str) or value not in _TRUTH_AS_TEXT:
        return found
    return matching_positions(_TRUTH_AS_TEXT[value], labels)


def one_value_a_row(y: Any, rows: int | None) -> npt.NDArray[np.object_]:
    """Return the truth as objects, (rows,), unchanged.

    Raises:
        InputError: several columns, or another number of values than `rows`.
    """
    values = np.asarray(y, dtype=object)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise InputError(Argument("y"), f" must hold one value a row; it has the shape {values.shape}.")
    if rows is not None and len(values) != rows:
        raise InputError(Argument("y"), f" has {len(values):,} values for {rows:,} rows.")
    return values
