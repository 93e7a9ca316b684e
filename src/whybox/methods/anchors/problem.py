"""The problem of anchors, resolved before any work: the model, its classes, the background in pieces, and the own piece of each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Table, as_table
from whybox.errors import Argument, InputError, OptionError
from whybox.games.players import resolve_players
from whybox.methods.anchors.classes import ClassReader, resolve_classes
from whybox.methods.anchors.options import AnchorsOptions
from whybox.methods.anchors.predicates import Flags
from whybox.methods.common.bins import check_named_edges, exact_texts, named_edges, short_edges
from whybox.methods.common.columns import Ints, category_positions
from whybox.methods.common.cut_background import CutBackground, cut_background, regions_at
from whybox.methods.common.evaluation import prediction_function
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.piecewise import (
    BinnedColumn,
    RowRegions,
    bin_column,
)
from whybox.methods.common.repeatability import RepeatCheck
from whybox.methods.common.resolved_model import ResolvedModel, resolve_model
from whybox.methods.common.rows import WeightedRows, rows_of_positive_weight
from whybox.methods.common.shifted_outputs import ShiftedOutputs, resolve_shifted
from whybox.models.base import Model
from whybox.models.prepare_rows import PreparedRows

__all__ = ["AnchorsProblem", "AnchorsSetting", "resolve_rows", "resolve_setting"]

MIN_BACKGROUND: Final = 2
FEW_VALUES: Final = {"quartile": 4, "decile": 10}  # of a number, that are told apart each
ROWS_OF_CLASSES: Final = 256  # background rows whose outputs say whether they are those of classes


@final
@dataclass(frozen=True, eq=False)
class AnchorsSetting(CutBackground):
    """A model, and the background rows that rules are tried on.

    Attributes:
        options: as given. reader: of the model's classes.
    """

    options: AnchorsOptions
    reader: ClassReader

    @property
    def selection(self) -> OutputSelection:
        """The outputs that are evaluated."""
        return self.reader.selection

    @cached_property
    def ordered_pieces(self) -> tuple[int, ...]:
        """For each player how many pieces are bins of a number, which come first and in order; 0 of other players."""
        return tuple(
            column.pieces - (column.missing_piece >= 0) if column.is_number and not others else 0
            for column, *others in self.columns
        )

    @cached_property
    def pieces(self) -> Ints:
        """The piece of every background row, (background rows, players)."""
        out = np.empty((len(self.background), self.players.count), dtype=np.int64)
        for p, d in enumerate(self.distributions):
            out[d.atom_rows, p] = d.atom_piece
        return out


@final
@dataclass(frozen=True, eq=False)
class AnchorsProblem:
    """Rows to explain.

    Attributes:
        setting: of the explainer. rows: aligned with the model. prepared_rows: as they were given, with remarks.
        regions: for each player the own piece of each row.
        agreement, n_rows_checked: of the rows and the background together.
        shifted: what makes predictions of raw outputs, where rows have offsets; else None.
    """

    setting: AnchorsSetting
    rows: Table
    prepared_rows: PreparedRows
    regions: tuple[RowRegions, ...]
    agreement: float
    n_rows_checked: int
    shifted: ShiftedOutputs | None = None

    def rows_at(self, positions: Ints) -> AnchorsProblem:
        """Return the problem of some of the rows."""
        shifted = None if self.shifted is None else self.shifted.rows_at(positions)
        some = self.rows.rows(positions)
        return replace(self, rows=some, regions=regions_at(self.regions, positions), shifted=shifted)

    @property
    def options(self) -> AnchorsOptions:
        """As given."""
        return self.setting.options

    @property
    def model(self) -> Model:
        """The model, read or a black box."""
        return self.setting.model

    @property
    def selection(self) -> OutputSelection:
        """The outputs that are evaluated."""
        return self.setting.selection

    @property
    def repeat_check(self) -> RepeatCheck:
        """Rows on which the model is evaluated several times."""
        return self.setting.resolved.repeat_check

    @cached_property
    def own(self) -> Ints:
        """The own piece of each row, (rows, players); -1 where no background row has anything like the row's cell.

        A number beyond all of the background lies in the last bin of that side: it meets conditions that are open to that side.
        """
        out = np.column_stack([np.where(r.is_unseen, -1, r.first) for r in self.regions])
        for p, below, above in self._beyond:
            out[below, p], out[above, p] = 0, self.setting.ordered_pieces[p] - 1
        return out

    @property
    def n_beyond(self) -> int:
        """How many numbers lie beyond all of the background."""
        return sum(int(below.sum() + above.sum()) for _, below, above in self._beyond)

    @property
    def _beyond(self) -> list[tuple[int, Flags, Flags]]:
        """For each player of a number cut into bins, which rows lie below or above all of the background."""
        found = []
        for p, regions in enumerate(self.regions):
            if self.setting.ordered_pieces[p] > 1:
                low, high = self.setting.columns[p][0].limits
                found.append((p, np.asarray(regions.numbers < low), np.asarray(regions.numbers > high)))
        return found


def resolve_setting(model: Any, background: Any, options: AnchorsOptions) -> AnchorsSetting:
    """Read the model, and cut the background into pieces.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    if background is None:
        raise OptionError(
            "anchors are tried on rows of a background: pass rows like those of training, ",
            Argument("background", example="X_train"),
            ".",
        )
    given = as_table(background, what="the background")
    rows, weights, _ = rows_of_positive_weight(given, options.background_weight, "background_weight")
    if len(rows) < MIN_BACKGROUND:
        raise InputError(
            Argument("background"),
            " has one row of positive weight, so there is nothing to try a rule on; pass rows like those of training.",
        )
    if rows.is_matrix:
        raise InputError("anchors take cells from other rows, which a sparse matrix does not allow; pass dense rows.")
    resolved = resolve_model(model, rows, replace(options.prediction_options, sample_weight=weights))
    reader = _resolve_reader(resolved, options)
    resolved = replace(resolved, selection=reader.selection)
    table = resolved.rows.table
    players = resolve_players(resolved.model, table.names, options.players, keep_tied=False)
    check_named_edges(options.discretizer, table.names)
    categories = category_positions(resolved.model, table)

    def cut(position: int, _: int) -> BinnedColumn:
        return _bins_of(resolved.rows, position, options, as_category=position in categories)

    pieces = cut_background(resolved.rows, players, cut, drawn_inside=False)
    return AnchorsSetting(resolved, players, *pieces, *resolved.compare(), options, reader)


def _bins_of(rows: WeightedRows, p: int, options: AnchorsOptions, *, as_category: bool) -> BinnedColumn:
    """Cut a column into pieces; edges of numbers are short, and written in full, so that a rule can be applied as it is written."""

    def cut(discretizer: Any) -> BinnedColumn:
        return bin_column(rows, p, discretizer=discretizer, y=None, seed=options.seed, as_category=as_category, window=False)  # fmt: skip

    column, name = cut(options.discretizer), rows.table.names[p]
    numbers = column.feature.numbers
    if (
        column.feature.kind not in ("number", "integer")
        or numbers is None
        or column.feature.number_origin
        or not len(column.edges)
    ):
        return column
    if named_edges(options.discretizer, name, p) is None:
        known = ~np.isnan(numbers)
        few = FEW_VALUES["quartile" if isinstance(options.discretizer, Mapping) else options.discretizer]
        edges = short_edges(numbers[known], rows.weights[known] / rows.weights[known].sum(), column.edges, few)
        column = cut({name: edges})
    return replace(column, edge_words=exact_texts(column.edges))


def _resolve_reader(resolved: ResolvedModel, options: AnchorsOptions) -> ClassReader:
    """How the class is read, checked on some background rows."""
    model, table = resolved.model, resolved.rows.table
    selection = resolve_classes(model, None, options.output).selection
    some = np.unique(np.linspace(0, len(table) - 1, min(len(table), ROWS_OF_CLASSES)).astype(np.int64))
    outputs = prediction_function(model, selection)(table.rows(some))
    return resolve_classes(model, outputs, options.output)


def resolve_rows(setting: AnchorsSetting, X: Any, offset: Any = None) -> AnchorsProblem:
    """Find the own piece of each row.

    Args:
        setting: of the explainer. X: rows. offset: of each row, (n,) or (n, outputs); None: they have none.

    Raises:
        WhyboxError: see whybox.errors.
    """
    found = setting.find_regions(X)
    shifted = resolve_shifted(setting.model, setting.selection, offset, len(found.rows))
    checked = setting.n_rows_checked + found.n_rows_compared + (0 if shifted is None else shifted.n_compared)
    return AnchorsProblem(setting, found.rows.table, found.prepared, found.regions, setting.agreement, checked, shifted)
