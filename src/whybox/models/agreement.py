"""Compare our predictions with the model's own; the only place that decides how much difference rounding explains."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from whybox.core.library_calls import first_line
from whybox.data.table import Floats, Table
from whybox.errors import InputError, ModelMismatchError, WhyboxError
from whybox.models.base import Model, OwnPredict, Scale

__all__ = ["allowed_difference", "call_own_predict", "compare_predictions"]


def call_own_predict(own: OwnPredict, table: Table, *, what: str = "these rows") -> Floats:
    """Return the predictions of the model's own predict for aligned rows, (rows, outputs).

    Raises:
        InputError: the library refuses the rows; the message quotes its error.
    """
    try:
        return own.predict(table)
    except (WhyboxError, MemoryError):
        raise
    except Exception as error:  # libraries raise errors of any type
        message = first_line(error, 300)
        if type(error).__name__ == "NotFittedError":  # of scikit-learn, XGBoost and others
            raise InputError(f"the model is not fitted; call fit first ({message}).") from error
        raise InputError(
            f"{own.subject} refuses {what} ({type(error).__name__}: {message}). "
            f"Pass the rows as {'it takes them' if own.is_function else 'they were in training'}: the same kind of table, with the same dtypes."
        ) from error


def compare_predictions(
    model: Model,
    raw: Floats,
    expected: Floats,
    *,
    scale: Scale,
    relative: float,
    rounding_scale: Floats,
    what: str | Callable[[int], str] = "row",
    what_to_do: str = "Please report this model.",
) -> tuple[float, float]:
    """Compare our raw outputs with the library's predictions; return the largest difference and the tolerance for rounding.

    Args:
        relative: relative rounding of the library's sums.
        rounding_scale: how large the summands can be, (outputs,) or (rows, outputs).
        what: name of a row in messages: a word followed by its position, or a function of the position.
        what_to_do: last sentence of the error message.

    Raises:
        ModelMismatchError: a difference is larger than rounding explains, or the shapes differ.
    """
    if expected.shape != raw.shape:
        raise ModelMismatchError(
            f"{model.kind}: the model's own predict gives {expected.shape[1]} outputs, our reading of it {raw.shape[1]}."
        )
    ours, allowed = allowed_difference(model, raw, scale=scale, relative=relative, rounding_scale=rounding_scale)
    same = (ours == expected) | (np.isnan(ours) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        difference = np.abs(np.where(same, 0.0, ours - expected))
    wrong = ~(same | (difference <= allowed))  # what rounding explains is NaN where a link is not defined, or infinite
    if wrong.any():
        i, k = np.argwhere(wrong)[np.nanargmax(np.where(np.isnan(difference[wrong]), np.inf, difference[wrong]))]
        where = what(int(i)) if callable(what) else f"{what} {i} of {len(raw)} compared"
        raise ModelMismatchError(
            f"{model.kind}: our reading of the model gives {float(ours[i, k])!r} where its own predict gives {float(expected[i, k])!r} "
            f"({where}, {int(wrong.any(axis=1).sum())} rows differ by more than the {allowed[i, k]:.3g} that rounding explains). "
            f"Nothing was explained, because it would be an explanation of another model. {what_to_do}"
        )
    return float(difference.max(initial=0.0)), float(allowed.max(initial=0.0, where=~np.isnan(allowed)))


def allowed_difference(
    model: Model, raw: Floats, *, scale: Scale, relative: float, rounding_scale: Floats
) -> tuple[Floats, Floats]:
    """Return our raw outputs on a scale, and how far rounding may move each of them, (rows, outputs) both.

    Args:
        relative: relative rounding of the sums that they are compared with. rounding_scale: as for `compare_predictions`.
    """
    raw_tolerance = (relative + 1e-12) * np.maximum(
        rounding_scale, np.where(np.isfinite(raw), np.abs(raw), 0.0)
    ) + 1e-300
    if scale == "raw":
        return raw, np.broadcast_to(raw_tolerance, raw.shape)
    link = model.outputs.link
    with np.errstate(over="ignore", invalid="ignore"):
        ours = link(raw)
        allowed = np.maximum(np.abs(link(raw + raw_tolerance) - ours), np.abs(ours - link(raw - raw_tolerance)))
        return ours, np.maximum(allowed.max(axis=1, keepdims=True), 2 * relative * np.abs(ours)) + 2e-16
