"""What is said beside the local values of one row: the predictions in words, and where a linear model describes little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.errors import OptionError
from whybox.explanation.html import number_text
from whybox.explanation.labelled import Labelled
from whybox.models.links import PREDICTION_UNITS
from whybox.numerics.rounding import rounding_floor

__all__ = [
    "MIN_EFFECTIVE_SIZE",
    "MIN_R_SQUARED",
    "LocalDoubts",
    "certified_text",
    "local_doubts",
    "local_headline",
    "local_numbers",
    "local_remarks",
    "local_warnings",
    "one_row",
    "row_name",
]

MIN_R_SQUARED: Final = 0.5  # below it, or beyond the next two, a linear model describes little
MIN_EFFECTIVE_SIZE: Final = 0.1
MAX_GAP: Final = 0.25  # of the spread of outputs near the row


@final
@dataclass(frozen=True, eq=False)
class LocalDoubts:
    """Where a linear model describes little, for each row and output.

    Attributes:
        poor_fit: its R squared is low. narrow_kernel: few draws from the background count, for each row alone. missed_prediction: it differs from the
            prediction by a large part of the spread of outputs, and by more than rounding.
    """

    poor_fit: npt.NDArray[np.bool_]
    narrow_kernel: npt.NDArray[np.bool_]
    missed_prediction: npt.NDArray[np.bool_]


def local_doubts(extras: Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]]) -> LocalDoubts:
    """Return where a linear model describes little, from the extras of local values."""
    r_squared, effective, gap, spread, intercept, local = (
        np.asarray(extras[name][1], dtype=np.float64)
        for name in ("r_squared", "effective_size", "gap", "spread", "intercept", "local_prediction")
    )
    rounding = rounding_floor(np.stack([intercept, local]).reshape(2, -1)).reshape(gap.shape)
    return LocalDoubts(
        np.asarray(r_squared < MIN_R_SQUARED),
        np.asarray(effective < MIN_EFFECTIVE_SIZE),
        np.asarray(np.abs(gap) > np.maximum(MAX_GAP * spread, rounding)),
    )


def local_warnings(e: Labelled) -> tuple[str, ...]:
    """Return why the values of one row and one output are to be read with care, a sentence each; none where there is no reason.

    Raises:
        OptionError: several rows, outputs or widths.
    """
    if e.kind == "attribution":
        return () if bool(e.extras["converged"][1]) else ("errors are larger than asked",)
    r_squared, effective, gap = (_number(e, name) for name in ("r_squared", "effective_size", "gap"))
    doubts = local_doubts(e.extras)
    out = []
    if doubts.poor_fit:
        out.append(f"R squared {number_text(r_squared, 2)}: a linear model describes little here")
    if doubts.narrow_kernel:
        out.append(f"effective size {number_text(effective, 2)}: few draws lie near this row at this kernel width")
    if doubts.missed_prediction:
        out.append(f"the local model misses the prediction by {number_text(abs(gap), 3)}")
    return tuple(out)


def local_headline(e: Labelled) -> str:
    """Return the row, its prediction, that of the local model, and R squared where no warning says it, of one row and one output.

    Raises:
        OptionError: several rows, outputs or widths.
    """
    return f"row {row_name(e)}: {local_numbers(e)}"


def one_row(e: Any, position: int) -> Any:
    """Return the local values of one row, of each width where there are several."""
    return e[(slice(None),) * e.dims.index("row") + (position,)]


def row_name(e: Labelled) -> str:
    """Return the label of the row, and the output where it has a name."""
    names = [str(name) for name in e.coords.get("output", ())]
    label = e.extras.get("label")
    if names in ([], [PREDICTION_UNITS]) and label is not None:
        names = [str(label[1])]
    row = str(e.coords["row"][0])
    if names in ([], [PREDICTION_UNITS]):
        return row
    return f"{row}, {names[0]}" if names[0].startswith("output ") else f"{row}, output {names[0]}"


def local_numbers(e: Labelled) -> str:
    """Return the prediction, that of the local model, and R squared where no warning says it, of one row and one output; of attributions the base."""
    prediction = "" if e.prediction is None else f"prediction {number_text(float(e.prediction), 3)}, "
    if e.kind == "attribution":
        return f"{prediction}base {number_text(float(e.base), 3)}"
    r_squared = _number(e, "r_squared")
    described = f", R squared {number_text(r_squared, 2)}" if r_squared >= MIN_R_SQUARED else ""
    return f"{prediction}local model {number_text(_number(e, 'local_prediction'), 3)}{described}"


def certified_text(e: Labelled) -> str:
    """Return how many of the largest values of one row are settled, in words; "" where all are.

    Raises:
        OptionError: several rows, outputs or widths.
    """
    if "certified" not in e.extras:
        return ""
    settled, of = int(_number(e, "certified")), e.values.size
    if settled >= of:
        return ""
    return "order not settled" if settled == 0 else f"order settled for the first {settled}"


def local_remarks(e: Labelled) -> tuple[str, ...]:
    """Return the warnings of one row and one output, and how many of its largest values are settled; none where there is nothing to say.

    Raises:
        OptionError: several rows, outputs or widths.
    """
    settled = certified_text(e)
    return (*local_warnings(e), settled) if settled else local_warnings(e)


def _number(e: Labelled, name: str) -> float:
    array: Any = e.extras[name][1]
    if np.ndim(array):
        raise OptionError("these are several rows, outputs or kernel widths; pick one of each: e[0].")
    return float(array)
