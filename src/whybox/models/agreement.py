"""Is a prediction the model's own? The one place that says how much rounding explains."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from whybox.data.table import Floats, Table
from whybox.errors import InputError, ModelMismatchError, WhyboxError
from whybox.models.base import Model, OwnPredict, Scale

__all__ = ["ask", "compare"]


def ask(own: OwnPredict, table: Table, *, what: str = "these rows") -> Floats:
    """Return the user's own predict of aligned rows, (rows, outputs).

    Raises:
        InputError: the library refuses the rows; the message quotes it.
    """
    try:
        return own.predict(table)
    except (WhyboxError, MemoryError):
        raise
    except Exception as error:  # libraries raise whatever they like about rows
        said = (str(error).strip().splitlines() or [""])[0][:300]
        raise InputError(
            f"the model's own predict refuses {what} ({type(error).__name__}: {said}). "
            "Pass the rows as they were in training: the same kind of table, with the same dtypes."
        ) from error


def compare(
    model: Model,
    raw: Floats,
    own: Floats,
    *,
    scale: Scale,
    relative: float,
    size: Floats,
    what: str | Callable[[int], str] = "row",
    advice: str = "Please report this model.",
) -> tuple[float, float]:
    """Compare our raw outputs with the library's predictions; return the largest difference and what rounding explains.

    Args:
        relative: rounding of the library's sums, relative to `size`: how large the summands can be, (outputs,) or (rows, outputs).
        what: what a row is called in messages: a word that its position follows, or a function of the position.
        advice: what to do about it.

    Raises:
        ModelMismatchError: some difference is larger than rounding explains, or the shapes differ.
    """
    if own.shape != raw.shape:
        raise ModelMismatchError(
            f"{model.kind}: the model's own predict gives {own.shape[1]} outputs, our reading of it {raw.shape[1]}."
        )
    room = (relative + 1e-12) * np.maximum(size, np.where(np.isfinite(raw), np.abs(raw), 0.0)) + 1e-300
    if scale == "raw":
        ours, allowed = raw, np.broadcast_to(room, raw.shape)
    else:
        link = model.outputs.link
        with np.errstate(over="ignore", invalid="ignore"):
            ours = link(raw)
            allowed = np.maximum(np.abs(link(raw + room) - ours), np.abs(ours - link(raw - room)))
            allowed = np.maximum(allowed.max(axis=1, keepdims=True), 2 * relative * np.abs(ours)) + 2e-16
    with np.errstate(invalid="ignore"):
        difference = np.abs(np.where(ours == own, 0.0, ours - own))
    difference = np.where(np.isnan(ours) & np.isnan(own), 0.0, difference)
    wrong = ~(difference <= allowed)
    if wrong.any():
        i, k = np.argwhere(wrong)[np.nanargmax(np.where(np.isnan(difference[wrong]), np.inf, difference[wrong]))]
        where = what(int(i)) if callable(what) else f"{what} {i} of {len(raw)} compared"
        raise ModelMismatchError(
            f"{model.kind}: our reading of the model gives {float(ours[i, k])!r} where its own predict gives {float(own[i, k])!r} "
            f"({where}, {int(wrong.any(axis=1).sum())} rows differ by more than the {allowed[i, k]:.3g} that rounding explains). "
            f"Nothing was explained, because it would be an explanation of another model. {advice}"
        )
    return float(difference.max(initial=0.0)), float(allowed.max(initial=0.0))
