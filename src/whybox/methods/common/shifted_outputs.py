"""Predictions of rows, and of mixtures of them with other rows, each with the offset of the row that it was made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats, Table
from whybox.explanation.kinds import OFFSET_INSIDE_SETTING, OFFSET_SETTING
from whybox.kernels.predict import raw_outputs
from whybox.methods.common.columns import Ints
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.resolved_model import compared_predictions
from whybox.methods.common.row_offsets import RowOffsets, check_finite, resolve_offsets
from whybox.models.base import Model

__all__ = [
    "ShiftedOutputs",
    "compared_shifted_predictions",
    "offset_extras",
    "offset_fingerprints",
    "offset_settings",
    "resolve_shifted",
]


@final
@dataclass(frozen=True, eq=False)
class ShiftedOutputs:
    """Predictions of rows from raw outputs and what is added to those by row.

    Attributes:
        offsets: of the rows. selection: of the predictions, on their scale.
    """

    offsets: RowOffsets
    selection: OutputSelection

    @property
    def n_compared(self) -> int:
        """How many rows are compared with the library's own predict of rows with offsets."""
        return len(self.offsets.given) if self.offsets.is_compared else 0

    def rows_at(self, positions: Any) -> ShiftedOutputs:
        """Return those of some of the rows."""
        return ShiftedOutputs(self.offsets.rows_at(positions), self.selection)

    def predictions(self, rows: Ints, raw: Floats) -> Floats:
        """Return predictions (k, ..., outputs explained) of hybrids of some rows (k,) from raw outputs (k, ..., model outputs).

        Raises:
            NonFiniteError: one is beyond the largest number.
        """
        added = self.offsets.rows_at(rows).added.reshape(len(rows), *(1,) * (raw.ndim - 2), raw.shape[-1])
        with np.errstate(over="ignore"):
            found = self.selection.from_raw(raw + added, self.offsets.model.outputs.link)
        check_finite(found, self.offsets.positions_of(rows))
        return found

    def selection_of(self, row: int) -> OutputSelection:
        """Return the selection that has the offset of a row inside, of all rows that are evaluated."""
        return replace(self.selection, added=tuple(self.offsets.added[row].tolist()))

    @property
    def extras(self) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
        """The offset of each row."""
        return offset_extras(self.offsets)


def resolve_shifted(model: Model, selection: OutputSelection, offset: Any, rows: int) -> ShiftedOutputs | None:
    """Return what makes predictions of rows with offsets; None where they have none.

    Args:
        model, offset, rows: as :func:`resolve_offsets` takes them. selection: of the predictions.

    Raises:
        WhyboxError: as :func:`resolve_offsets`.
    """
    return None if offset is None else ShiftedOutputs(resolve_offsets(model, offset, rows), selection)


def offset_settings(shifted: ShiftedOutputs | None) -> dict[str, str]:
    """Return the library's word for offsets, for the settings of the evidence; nothing where rows have none."""
    if shifted is None:
        return {}
    return {OFFSET_SETTING if shifted.selection.scale == "raw" else OFFSET_INSIDE_SETTING: shifted.offsets.name}


def offset_fingerprints(shifted: ShiftedOutputs | None) -> dict[str, str]:
    """Return the fingerprint of the offsets, for the evidence; nothing where rows have none."""
    return {} if shifted is None else {"offset": shifted.offsets.fingerprint}


def compared_shifted_predictions(
    model: Model, selection: OutputSelection, rows: Table, encode: Callable[[], Floats], shifted: ShiftedOutputs | None
) -> tuple[Floats, float]:
    """Return predictions of rows with their offsets, (rows, outputs), and how far our reading is from the model's own predict at most.

    Args:
        model, selection, rows, encode: as :func:`compared_predictions` takes them. shifted: of the rows; None: they have no offsets.

    Raises:
        ModelMismatchError: a difference that rounding does not explain. NonFiniteError: a prediction is beyond the largest number.
    """
    if shifted is None:
        return compared_predictions(model, selection, rows, encode)
    X = encode()
    _, difference = compared_predictions(model, selection, rows, lambda: X)
    raw = raw_outputs(model, X)
    difference = max(difference, shifted.offsets.compare(rows, X, raw))
    return shifted.predictions(np.arange(len(raw)), raw), difference


def offset_extras(
    offsets: RowOffsets, selection: OutputSelection | None = None
) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
    """Return the offset of each row, (n,), or for each raw output, (n, outputs).

    Args:
        selection: of raw outputs that are explained; None: those of the model, under an axis of their own.
    """
    if selection is None:
        given = offsets.given
        return {
            "offset": (("row",), given[:, 0].copy()) if given.shape[1] == 1 else (("row", "raw_output"), given.copy())
        }
    chosen = np.ascontiguousarray(selection.drop_output_axis(selection.select_values(offsets.given)))
    return {"offset": (("row", "output") if selection.has_output_axis else ("row",), chosen)}
