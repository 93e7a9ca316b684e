"""What every importance that is measured on rows with their truth has: a model, rows with weights, and players."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np

from whybox.data.table import Floats, Table
from whybox.errors import InputError
from whybox.games.players import Players, resolve_players
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.repeatability import RepeatCheck
from whybox.methods.common.resolved_model import ResolvedModel
from whybox.methods.common.rows import WeightedRows
from whybox.methods.importance.dependence_groups import dependence_groups
from whybox.methods.importance.options import AUTO, ImportanceOptions
from whybox.methods.method_spec import MethodSpec
from whybox.models.base import Model
from whybox.models.prepare_rows import PreparedRows

__all__ = ["ModelRows", "RowsProblem", "check_several_rows", "compared_rows"]

MIN_ROWS: Final = 2


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
        options: as given. spec: the method.
    """

    options: ImportanceOptions
    spec: MethodSpec

    @property
    def is_compared(self) -> bool:
        """Whether our reading of the rows was compared with the model's own predict, or there is none."""
        return not np.isnan(self.agreement)

    def compared(self) -> Self:
        """Return the problem with what :meth:`ResolvedModel.compare` finds, where that was left for later.

        Raises:
            ModelMismatchError: our reading is not the model's own predict. InputError: the library refuses the rows.
        """
        if self.is_compared:
            return self
        agreement, checked = self.resolved.compare()
        return replace(self, agreement=agreement, n_rows_checked=checked)

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
