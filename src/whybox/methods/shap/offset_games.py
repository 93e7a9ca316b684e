"""Offsets of rows in attributions: on the additive scale they move a row's base and prediction alone; behind a link each row has a game of its own.

On the additive scale every hybrid of a row has the row's offset, so it cancels in every difference and the values stay as they are. Behind a link the worth of a
coalition is the mean over background rows of link(offset + raw output of the hybrid). The background's own offsets never enter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument
from whybox.explanation.explanation import Explanation
from whybox.explanation.kinds import OFFSET_INSIDE_SETTING, OFFSET_SETTING
from whybox.methods.common.columns import Ints
from whybox.methods.common.options import not_together
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.row_offsets import RowOffsets
from whybox.methods.common.shifted_outputs import ShiftedOutputs, offset_extras
from whybox.methods.shap.row_games import RowGames, shared_base

__all__ = ["OffsetGames", "check_offset_options", "with_offsets"]

OWN_BASES_NOTE: Final = "The offset is part of each row's own base (base_values)."
OFFSET_GAMES_NOTE: Final = (
    "Behind the link the games of rows with other offsets differ, also where their cells are equal."
)
NO_SURROGATE: Final = "No surrogate was fitted: predictions depend on a row's offset, not on its cells alone."


def check_offset_options(*, stochastic: bool, surrogate: bool | None, behind_link: bool) -> None:
    """Refuse options that do not go with offsets.

    Args:
        behind_link: whether values are of predictions behind a link, or of a loss of them.

    Raises:
        OptionError: there is one.
    """
    if stochastic:
        raise not_together(
            Argument("stochastic", True),
            "offset",
            ": offsets are for models that are read, which never answer at random.",
        )
    if surrogate and behind_link:
        raise not_together(
            Argument("surrogate", True),
            "offset",
            " behind a link: it is fitted to outputs that depend on the cells of a row alone, and these depend on the offset too. Leave it out.",
        )


@final
@dataclass(frozen=True, eq=False)
class OffsetGames(RowGames):
    """Games of predictions behind a link, each with the offset of its row; outputs are the raw ones.

    Attributes:
        shifted: what makes predictions of them.
    """

    shifted: ShiftedOutputs

    def of_hybrids(self, rows: Ints, outputs: Floats) -> Floats:
        """Return predictions of hybrids; see :meth:`RowGames.of_hybrids`."""
        return self.shifted.predictions(rows, outputs)

    @property
    def keys(self) -> Floats:
        """The offsets."""
        return self.shifted.offsets.given

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the offsets."""
        return {"offset": self.shifted.offsets.fingerprint}

    @property
    def settings(self) -> dict[str, Any]:
        """The library's word for offsets."""
        return {OFFSET_INSIDE_SETTING: self.shifted.offsets.name}

    @property
    def extras(self) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
        """The offset of each row."""
        return self.shifted.extras

    @property
    def notes(self) -> tuple[str, ...]:
        """What offsets do."""
        return (self.shifted.offsets.note, OFFSET_GAMES_NOTE)

    @property
    def no_surrogate(self) -> str:
        """Why no surrogate was fitted."""
        return NO_SURROGATE

    @property
    def what(self) -> str:
        """The prediction of a row."""
        return "the model with the row's offset predicts"


def with_offsets(
    e: Explanation, offsets: RowOffsets, selection: OutputSelection, bases: Floats | None = None
) -> Explanation:
    """Return attributions or interactions of rows with offsets.

    Args:
        e: on the additive scale, of the rows without them; behind a link, of the rows with them.
        selection: of the outputs that are explained. bases: behind a link, of each row, (n, outputs explained).
    """
    if bases is None:
        setting, note, moved = OFFSET_SETTING, OWN_BASES_NOTE, _added(e, offsets, selection)
    else:
        setting, note, moved = OFFSET_INSIDE_SETTING, OFFSET_GAMES_NOTE, _inside(e, offsets, selection, bases)
    evidence = replace(
        e.evidence,
        notes=(*e.evidence.notes, offsets.note, note),
        settings={**e.evidence.settings, setting: offsets.name},
        fingerprints={**e.evidence.fingerprints, "offset": offsets.fingerprint},
    )
    return replace(e, evidence=evidence, **moved)


def _inside(e: Explanation, offsets: RowOffsets, selection: OutputSelection, bases: Floats) -> dict[str, Any]:
    """What changes behind a link, where the values are of rows with offsets already: their own bases."""
    dims = ("row", "output") if selection.has_output_axis else ("row",)
    own = np.ascontiguousarray(selection.drop_output_axis(bases))
    return {
        "base": np.array(selection.drop_output_axis(shared_base(bases))),
        "extras": {**e.extras, "base": (dims, own), **offset_extras(offsets)},
    }


def _added(e: Explanation, offsets: RowOffsets, selection: OutputSelection) -> dict[str, Any]:
    """What changes on the additive scale: the same values from other bases to other predictions."""
    replaced = selection.drop_output_axis(selection.select_values(offsets.replaced))
    added = selection.drop_output_axis(selection.select_values(offsets.added))
    extras = offset_extras(offsets, selection)
    dims, given = extras["offset"]
    base = np.asarray(e.base - replaced)
    assert e.prediction is not None  # noqa: S101  # of rows
    return {
        "base": base,
        "prediction": np.asarray(e.prediction + added),
        "extras": {**e.extras, "base": (dims, np.asarray(base + given)), **extras},
    }
