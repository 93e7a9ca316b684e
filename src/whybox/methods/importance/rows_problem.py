"""What every importance that is measured on rows with their truth has: a model, rows with weights, and players."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np

from whybox.data.table import Floats, Table
from whybox.errors import InputError
from whybox.games.players import Players, resolve_players
from whybox.kernels.predict import raw_outputs
from whybox.methods.common.columns import Ints
from whybox.methods.common.output import OutputSelection, raw_selection
from whybox.methods.common.repeatability import RepeatCheck
from whybox.methods.common.resolved_model import ROWS_COMPARED, ResolvedModel
from whybox.methods.common.row_offsets import RowOffsets
from whybox.methods.common.rows import WeightedRows
from whybox.methods.common.shifted_outputs import ShiftedOutputs
from whybox.methods.importance.dependence_groups import dependence_groups
from whybox.methods.importance.options import AUTO, ImportanceOptions
from whybox.methods.method_spec import MethodSpec
from whybox.models.base import Model
from whybox.models.prepare_rows import PreparedRows

__all__ = [
    "ModelRows",
    "RowsProblem",
    "check_several_rows",
    "compare_offsets",
    "compared_rows",
    "rows_with_offsets",
]

MIN_ROWS: Final = 2
OFFSET_NOTE: Final = (
    "Rows keep their own offsets while features take values of other rows; the offsets of those rows do not count."
)


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelRows:
    """A model, rows with weights, and players.

    Attributes:
        resolved: the model and the rows. players: groups of the user's columns. agreement, n_rows_checked: as :meth:`ResolvedModel.compare` returns them.
        linkage: of ``players="auto"``, see `dependence_groups`; else None.
    """

    resolved: ResolvedModel
    players: Players
    agreement: float
    n_rows_checked: int
    linkage: Floats | None = None

    @property
    def model(self) -> Model:
        """The model, read or a black box."""
        return self.resolved.model

    @property
    def rows(self) -> WeightedRows:
        """The rows, aligned with the model, with weights that sum to one."""
        return self.resolved.rows

    @property
    def table(self) -> Table:
        """The rows, aligned with the model."""
        return self.rows.table

    @property
    def weights(self) -> Floats:
        """Weights of the rows, which sum to one."""
        return self.rows.weights

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    @property
    def selection(self) -> OutputSelection:
        """The outputs that the values are about."""
        return self.resolved.selection

    @property
    def repeat_check(self) -> RepeatCheck:
        """Rows on which the model is evaluated several times."""
        return self.resolved.repeat_check

    @property
    def prepared_rows(self) -> PreparedRows:
        """The rows as they were given, with remarks."""
        return self.resolved.prepared_rows


@dataclass(frozen=True, eq=False, kw_only=True)
class RowsProblem(ModelRows, ABC):
    """Rows on which predictions are compared with the truth; the model is on the scale of predictions.

    Attributes:
        options: as given. spec: the method. shifted: what makes predictions of raw outputs, where rows have offsets; else None.
    """

    options: ImportanceOptions
    spec: MethodSpec
    shifted: ShiftedOutputs | None = None

    @property
    def evaluated(self) -> OutputSelection:
        """The outputs that the model is evaluated for: those that the values are about or, where rows have offsets, the raw ones."""
        return self.selection if self.shifted is None else raw_selection(self.model.outputs)

    def predictions(self, outputs: Floats, rows: Ints | None = None) -> Floats:
        """Return predictions of rows, (rows, outputs of the selection), from outputs as :attr:`evaluated`: each with the offset of its row.

        Args:
            outputs: of rows as they are or with some cells of others. rows: which rows keep the other cells; None: all of them, in order.

        Raises:
            NonFiniteError: with its offset one is beyond the largest number.
        """
        if self.shifted is None:
            return outputs
        return self.shifted.predictions(np.arange(len(self)) if rows is None else rows, outputs)

    @property
    def offset_notes(self) -> tuple[str, ...]:
        """What is said about the offsets of the rows."""
        return () if self.shifted is None else (self.shifted.offsets.note, OFFSET_NOTE)

    @property
    def is_compared(self) -> bool:
        """Whether our reading of the rows was compared with the model's own predict, or there is none."""
        return not np.isnan(self.agreement)

    def compared(self) -> Self:
        """Return the problem with what :meth:`ResolvedModel.compare` finds, where that was left for later; rows with offsets are compared with them too.

        Raises:
            ModelMismatchError: our reading is not the model's own predict. InputError: the library refuses the rows.
        """
        if self.is_compared:
            return self
        agreement, _ = self.resolved.compare()
        return replace(self, agreement=max(agreement, compare_offsets(self.resolved, self.shifted)))

    def compared_known(self, X: Floats, raw: Floats, theirs: Floats) -> Self:
        """Return :meth:`compared`, where the outputs are known: arguments are those of :meth:`ResolvedModel.compare_known`.

        Raises:
            ModelMismatchError: a difference that rounding does not explain. InputError: the library refuses the rows.
        """
        agreement = self.resolved.compare_known(X, raw, theirs)
        if self.shifted is not None:
            agreement = max(agreement, self.shifted.offsets.compare(self.table, X, raw))
        return replace(self, agreement=agreement)

    @property
    @abstractmethod
    def units(self) -> str:
        """Units of the values, in words."""

    @property
    @abstractmethod
    def measure(self) -> dict[str, str]:
        """What is compared, for the settings of the evidence."""


def compared_rows(resolved: ResolvedModel, players: Any, *, check: bool, known: float | None = None) -> dict[str, Any]:
    """Return the fields of :class:`ModelRows`: find the players, and compare the model with its own predict, last of all.

    Args:
        resolved: the model and the rows. players: as the caller gave them. check: False where nothing is compared yet: there is only a plan to make,
            or it comes later. known: as for :meth:`ResolvedModel.compare`.

    Raises:
        OptionError, UnsupportedModelError: as :func:`resolve_players`. ModelMismatchError: our reading is not the model's own predict.
    """
    linkage = None
    if isinstance(players, str) and players == AUTO:
        players, linkage = dependence_groups(resolved.rows, resolved.model.inputs.group_columns())
    found = resolve_players(resolved.model, resolved.rows.table.names, players)
    agreement, checked = resolved.compare(check=check, known=known)
    return {
        "resolved": resolved, "players": found, "linkage": linkage, "agreement": agreement, "n_rows_checked": checked,
    }  # fmt: skip


def rows_with_offsets(
    resolved: ResolvedModel, options: ImportanceOptions, *, check: bool, known: float | None = None
) -> dict[str, Any]:
    """Return the fields of :class:`RowsProblem` that :func:`compared_rows` finds, and `shifted`, where the options have offsets; rows are compared with these too.

    Args:
        resolved, check, known: as there. options: `players` and `offset` are read.

    Raises:
        WhyboxError: as :func:`compared_rows`.
    """
    if options.offset is None:
        return compared_rows(resolved, options.players, check=check, known=known)
    offsets: RowOffsets = replace(options.offset, model=resolved.model)
    shifted = ShiftedOutputs(offsets, resolved.selection)
    found = compared_rows(resolved, options.players, check=check, known=known) | {"shifted": shifted}
    if not np.isnan(found["agreement"]):
        found["agreement"] = max(found["agreement"], compare_offsets(resolved, shifted))
    found["n_rows_checked"] += shifted.n_compared
    return found


def compare_offsets(resolved: ResolvedModel, shifted: ShiftedOutputs | None) -> float:
    """Compare our raw outputs of rows with their offsets with a predict of the library that takes these; return the largest difference, 0 where there is none.

    Raises:
        ModelMismatchError: they differ by more than rounding. InputError: the library refuses the rows.
    """
    if shifted is None or not shifted.offsets.is_compared:
        return 0.0
    model, worst = resolved.model, 0.0
    for start, block in resolved.rows.table.blocks(ROWS_COMPARED):
        X = model.inputs.matrix_of_block(block, start)
        worst = max(worst, shifted.offsets.compare(block, X, raw_outputs(model, X), start))
    return worst


def check_several_rows(resolved: ResolvedModel, at_least: int = MIN_ROWS) -> None:
    """Refuse fewer rows than can be compared with one another.

    Raises:
        InputError: fewer than so many rows have a weight.
    """
    weighted = int(np.count_nonzero(resolved.rows.weights))
    if weighted < at_least:
        raise InputError(
            f"importance compares rows with one another; there {'is' if weighted == 1 else 'are'} {weighted} of positive weight, give {at_least} or more."
        )
