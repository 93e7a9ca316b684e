"""The problem of LIME, resolved before any work: the model, the distribution of each player, and the own region of each row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.series import is_missing
from whybox.data.table import Floats, Table, as_table
from whybox.errors import Argument, InputError, OptionError
from whybox.games.players import resolve_players
from whybox.methods.common.bins import check_named_edges
from whybox.methods.common.columns import Ints, category_positions
from whybox.methods.common.cut_background import CutBackground, cut_background, regions_at
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.piecewise import (
    BinnedColumn,
    PlayerDistribution,
    RowRegions,
    bin_column,
)
from whybox.methods.common.repeatability import RepeatCheck
from whybox.methods.common.resolved_model import refuse_labels, resolve_model
from whybox.methods.common.rows import WeightedRows, rows_of_positive_weight, weighted_rows
from whybox.methods.common.shifted_outputs import ShiftedOutputs, resolve_shifted
from whybox.methods.lime.encoded_numbers import EncodedNumbers
from whybox.methods.lime.options import LimeOptions
from whybox.models.base import Model
from whybox.models.prepare_rows import PreparedRows

__all__ = ["DEFAULT_WIDTH", "LimeProblem", "Neighbourhood", "resolve_neighbourhood", "resolve_rows"]

DEFAULT_WIDTH: Final = 0.75  # times the root of the number of players, as in lime
MIN_BACKGROUND: Final = 2
MIN_WIDTH: Final = 0.04  # below it the squared weight of one feature outside its region is nearly 0 in floats


@final
@dataclass(frozen=True, eq=False)
class Neighbourhood(CutBackground):
    """A model, and what the values of its features are drawn from. ``options``: as given."""

    options: LimeOptions

    @property
    def selection(self) -> OutputSelection:
        """Which outputs are explained."""
        return self.resolved.selection

    @property
    def default_width(self) -> float:
        """The kernel width where none is given."""
        return DEFAULT_WIDTH * float(np.sqrt(self.players.count))

    @cached_property
    def encoded_numbers(self) -> EncodedNumbers:
        """What the steps before the model do with numbers that are drawn inside bins."""
        return EncodedNumbers(self)


@final
@dataclass(frozen=True, eq=False)
class LimeProblem:
    """Rows to explain, each with its own region in every player's distribution.

    Attributes:
        neighbourhood: of the explainer. coded_rows: aligned with the model. prepared_rows: as they were given, with remarks. width: of the kernel.
        regions: for each player those of the rows. agreement: of the background. n_rows_checked: of the rows and the background together.
        shifted: what makes predictions of raw outputs, where rows have offsets; else None.
    """

    neighbourhood: Neighbourhood
    coded_rows: WeightedRows
    prepared_rows: PreparedRows
    regions: tuple[RowRegions, ...]
    width: float
    agreement: float
    n_rows_checked: int
    shifted: ShiftedOutputs | None = None

    def rows_at(self, positions: Ints) -> LimeProblem:
        """Return the problem of some of the rows."""
        regions = regions_at(self.regions, positions)
        shifted = None if self.shifted is None else self.shifted.rows_at(positions)
        some = weighted_rows(self.rows.rows(positions), None)
        return replace(self, coded_rows=some, regions=regions, shifted=shifted)

    @property
    def is_shifted_behind_link(self) -> bool:
        """Whether the rows have offsets, and outputs are behind a link."""
        return self.shifted is not None and self.selection.scale != "raw"

    @property
    def options(self) -> LimeOptions:
        """As given."""
        return self.neighbourhood.options

    @property
    def rows(self) -> Table:
        """The rows, aligned with the model."""
        return self.coded_rows.table

    @cached_property
    def matrix(self) -> Floats:
        """The rows as a model that is read takes them, (rows, model columns)."""
        return self.model.inputs.matrix(self.rows)

    @property
    def model(self) -> Model:
        """The model, read or a black box."""
        return self.neighbourhood.model

    @property
    def selection(self) -> OutputSelection:
        """Which outputs are explained."""
        return self.neighbourhood.selection

    @property
    def repeat_check(self) -> RepeatCheck:
        """Rows on which the model is evaluated several times."""
        return self.neighbourhood.resolved.repeat_check

    @property
    def distributions(self) -> tuple[PlayerDistribution, ...]:
        """Of each player."""
        return self.neighbourhood.distributions

    @property
    def decay(self) -> float:
        """What a feature outside the row's own region multiplies the weight of a sample by."""
        return float(np.exp(-0.5 / self.width**2))

    @cached_property
    def first(self) -> Ints:
        """First piece of each own region, (rows, players)."""
        return np.column_stack([r.first for r in self.regions])

    @cached_property
    def last(self) -> Ints:
        """The piece after the last of each own region, (rows, players)."""
        return np.column_stack([r.last for r in self.regions])

    @cached_property
    def is_unseen(self) -> npt.NDArray[np.bool_]:
        """Where a row has a cell that the background never has, (rows, players)."""
        return np.asarray(self.first == self.last)

    @cached_property
    def share(self) -> Floats:
        """Share of the background inside each own region, (rows, players)."""
        out = np.empty(self.first.shape)
        for p, d in enumerate(self.distributions):
            ends = d.ends
            out[:, p] = ends[self.last[:, p]] - ends[self.first[:, p]]
        return out

    @cached_property
    def other_share(self) -> Floats:
        """Share of the background outside each own region, (rows, players), added up, not subtracted from one."""
        out = np.empty(self.first.shape)
        for p, d in enumerate(self.distributions):
            down = np.concatenate([[0.0], np.cumsum(d.shares[::-1])])
            out[:, p] = d.ends[self.first[:, p]] + down[len(d) - self.last[:, p]]
        return out

    @cached_property
    def own_chance(self) -> Floats:
        """Probability of being inside the own region once samples are weighted, q, (rows, players)."""
        return np.asarray(self.share / (self.share + self.other_share * self.decay))

    @cached_property
    def other_chance(self) -> Floats:
        """One less :attr:`own_chance`, without a subtraction."""
        outside = self.other_share * self.decay
        return np.asarray(outside / (self.share + outside))

    @cached_property
    def is_varying(self) -> npt.NDArray[np.bool_]:
        """Where something inside and something outside the own region can be drawn, so that a coefficient is a contrast of the two."""
        return np.asarray((self.share > 0) & (self.other_share > 0))


def resolve_neighbourhood(model: Any, background: Any, options: LimeOptions) -> Neighbourhood:
    """Read the model, and cut the background into pieces.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    if background is None:
        raise OptionError(
            "LIME draws values of features from a background: pass rows like those of training, ",
            Argument("background", example="X_train"),
            ".",
        )
    given = as_table(background, what="the background")
    rows, weights, kept = rows_of_positive_weight(given, options.background_weight, "background_weight")
    if len(rows) < MIN_BACKGROUND:
        raise InputError(
            Argument("background"),
            " has one row of positive weight, so there is nothing to draw from; pass rows like those of training.",
        )
    if rows.is_matrix:
        raise InputError(
            "LIME draws values of each column by itself, which leaves few cells of a sparse matrix absent; pass the columns that matter as a dense table, "
            "or for word counts the texts themselves, with the Pipeline that counts them as the model."
        )
    resolved = resolve_model(model, rows, replace(options.prediction_options, sample_weight=weights))
    refuse_labels(resolved.model)
    if options.predicted_class and len(resolved.selection.names) == 1:
        raise OptionError(
            Argument("output", "predicted"),
            " is of each row the class with the largest output, and this model has one output alone; leave ",
            Argument("output"),
            " out.",
        )
    names = resolved.rows.table.names
    players = resolve_players(resolved.model, names, options.players, keep_tied=options.method == "exact")
    check_named_edges(options.discretizer, resolved.rows.table.names)
    y = None if options.y is None else _truth(options.y, len(given))[kept]
    categories = category_positions(resolved.model, resolved.rows.table)

    def cut(position: int, columns_of_player: int) -> BinnedColumn:
        return bin_column(
            resolved.rows,
            position,
            discretizer=options.discretizer,
            y=y,
            seed=options.seed,
            as_category=position in categories,
            window=options.neighbourhood == "row" and columns_of_player == 1,
        )

    pieces = cut_background(resolved.rows, players, cut, drawn_inside=options.neighbourhood == "lime")
    if not all(d.is_unbounded for d in pieces[1]):
        _refuse_width(options)
    return Neighbourhood(resolved, players, *pieces, *resolved.compare(), options)


def resolve_rows(neighbourhood: Neighbourhood, X: Any, width: float | None = None, offset: Any = None) -> LimeProblem:
    """Find the own region of each row.

    Args:
        neighbourhood: of the explainer. X: rows. width: of the kernel; None: that of the options. offset: of each row, (n,) or (n, outputs); None: they have none.

    Raises:
        WhyboxError: see whybox.errors.
    """
    options, found = neighbourhood.options, neighbourhood.find_regions(X)
    chosen = width if width is not None else options.kernel_width
    shifted = resolve_shifted(neighbourhood.model, neighbourhood.selection, offset, len(found.rows))
    compared = found.n_rows_compared + (0 if shifted is None else shifted.n_compared)
    return LimeProblem(
        neighbourhood,
        found.rows,
        found.prepared,
        found.regions,
        neighbourhood.default_width if chosen is None else float(chosen),
        neighbourhood.agreement,
        neighbourhood.n_rows_checked + compared,
        shifted,
    )


def _refuse_width(options: LimeOptions) -> None:
    """Refuse a kernel so narrow that bins outside the own one have no weight.

    Raises:
        OptionError: it is.
    """
    width = options.kernel_width
    widths = options.widths or (() if width is None else (float(width),))
    if widths and min(widths) < MIN_WIDTH:
        raise OptionError(
            Argument("kernel_width", min(widths)),
            f" is so narrow that samples with one feature outside the row's own region have no weight; use {MIN_WIDTH} or more.",
        )


def _truth(y: Any, rows: int) -> npt.NDArray[Any]:
    """The truth of the background rows.

    Raises:
        InputError: it is not one a row, or missing. OptionError: it does not look like classes.
    """
    values = np.asarray(y)
    if values.ndim != 1 or len(values) != rows:
        raise InputError(Argument("y"), f" must have one value for each of the {rows:,} background rows.")
    missing = [i for i, value in enumerate(values.tolist()) if is_missing(value)]
    if missing:
        raise InputError(
            Argument("y"), f" is missing for background row {missing[0]:,}; leave such rows out of the background."
        )
    if values.dtype.kind == "f" and len(np.unique(values)) > max(20, rows // 10):
        raise OptionError(
            Argument("discretizer", "entropy"),
            " separates classes, and y holds many different numbers; use 'quartile' or 'decile'.",
        )
    return values
