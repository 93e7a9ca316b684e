"""Rows of any model, each with a game: resolved before the model is evaluated on anything but a few rows.

The worth of a coalition is the mean output over all background rows of a hybrid: the row explained, whose players outside the coalition take the background
row's values. No more than predictions is asked of the model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import snapshot_table
from whybox.data.table import Floats, Table, as_table
from whybox.errors import Argument, InputError, OptionError
from whybox.games.players import Players, resolve_players
from whybox.kernels.predict import raw_outputs
from whybox.methods.common.columns import Ints
from whybox.methods.common.columns_beside import refuse_same_column
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.output import OutputSelection, raw_selection
from whybox.methods.common.output_noise import noise_predictions, noise_variance
from whybox.methods.common.resolved_model import (
    ResolvedModel,
    compared_predictions,
    refuse_labels,
    resolve_model,
)
from whybox.methods.common.row_losses import RowLosses, resolve_losses, separate_truth
from whybox.methods.common.row_offsets import (
    RowOffsets,
    refuse_offset,
    resolve_offsets,
    rows_and_offset,
    separate_offset,
)
from whybox.methods.common.rows import WeightedRows, rows_of_positive_weight
from whybox.methods.common.shifted_outputs import ShiftedOutputs
from whybox.methods.shap.differing_players import players_that_differ
from whybox.methods.shap.game_budget import engine_budget, evals_per_row
from whybox.methods.shap.loss_games import LossGames, loss_selection
from whybox.methods.shap.offset_games import OffsetGames, check_offset_options
from whybox.methods.shap.options import ShapOptions
from whybox.methods.shap.row_games import RowGames
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox
from whybox.models.mixed_rows import check_same_kind
from whybox.models.prepare_rows import PreparedRows, prepare_rows

__all__ = [
    "GameProblem",
    "GameRows",
    "GameSetting",
    "PreparedGames",
    "align_rows",
    "evaluate_rows",
    "even_shares",
    "resolve_games",
    "resolve_setting",
]

Flags = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class GameProblem:
    """Rows of any model, each with a game.

    v(S) is the mean output over background rows of the row whose players outside S take the background row's values. Where a loss is explained, it takes the place of
    the output; engines take outputs of hybrids from game_hybrids.py, which knows both.

    Attributes:
        model: read or a black box. selection: its outputs that are explained, on their scale, or its loss. players: groups of the user's columns.
        rows: (n), aligned with the model. background: all rows of positive weight, never cut; weights add up to one.
        row_outputs: (n, outputs), or losses (n, 1). background_outputs: (background rows, outputs) of the model, also where games differ by row.
        base: (n, outputs), the weighted mean over background rows: the same for all rows, but where games differ by row.
        differs: (n, players), whether some background row has another cell in a column of the player that the model may read. Players that do not differ are
            worth 0 and are in no coalition.
        evaluator: evaluates hybrids, counts and bounds predictions.
        budget: predictions that an engine may make, for all rows together.
        noise_variance: (outputs,), of a single output of a model that answers at random; None: the same row always has the same output.
        by_row: what the games make of outputs, where that differs by row: of their truth, or their offset. None: the outputs themselves.
        offsets: of the rows, if they have some.
        reserved_for_checks: predictions beside the budget that are kept for spot checks, where ``max_evals`` bounds them.
    """

    options: ShapOptions
    model: Model
    selection: OutputSelection
    players: Players
    rows: Table
    background: WeightedRows
    row_outputs: Floats
    background_outputs: Floats
    base: Floats
    differs: Flags
    evaluator: HybridEvaluator
    budget: int
    noise_variance: Floats | None = None
    by_row: RowGames | None = None
    offsets: RowOffsets | None = None
    reserved_for_checks: int = 0

    @property
    def left_for_checks(self) -> int | None:
        """Predictions that spot checks may still make; None: ``max_evals`` does not bound them."""
        evaluator = self.evaluator
        if evaluator.max_evals is None or not isinstance(self.model, BlackBox):
            return None
        return evaluator.max_evals - (evaluator.reserved - self.reserved_for_checks) - evaluator.spent


@final
@dataclass(frozen=True, eq=False)
class GameSetting:
    """A model and a background, read once and kept by an explainer.

    Attributes:
        resolved: the model, with the background as the rows that are averaged over. players: groups of the user's columns.
        losses: of predictions, where these are explained; None: the predictions themselves.
        predictions: where the model is evaluated on its raw scale, to which offsets are added: the outputs that are explained, or that the loss is of.
    """

    options: ShapOptions
    resolved: ResolvedModel
    players: Players
    losses: RowLosses | None = None
    predictions: OutputSelection | None = None

    @property
    def model(self) -> Model:
        """The model, read or a black box."""
        return self.resolved.model

    @property
    def selection(self) -> OutputSelection:
        """The outputs that are explained, on their scale, or their loss."""
        if self.losses is not None:
            return loss_selection(self.losses)
        return self.resolved.selection if self.predictions is None else self.predictions

    @property
    def explains_raw_outputs(self) -> bool:
        """Whether values are of raw outputs, so that an offset cancels in them."""
        return self.losses is None and self.resolved.selection.scale == "raw" and self.predictions is None

    @cached_property
    def behind_link(self) -> GameSetting:
        """The setting for rows with offsets whose games differ by row: the model is evaluated on its raw scale."""
        raw = raw_selection(self.model.outputs)
        return replace(self, resolved=replace(self.resolved, selection=raw), predictions=self.resolved.selection)

    @property
    def background(self) -> WeightedRows:
        """The background rows with their weights."""
        return self.resolved.rows

    @property
    def is_black_box(self) -> bool:
        """Whether the model is evaluated through its own predict."""
        return isinstance(self.model, BlackBox)

    @property
    def evals_per_row(self) -> int:
        """Predictions that a row may take where ``max_evals`` is not given."""
        return evals_per_row(self.model)

    @cached_property
    def comparison(self) -> tuple[float, int]:
        """How far our reading of the background is from the model's own predict at most, and how many rows that is evaluated on.

        Raises:
            ModelMismatchError: a difference that rounding does not explain.
        """
        return self.resolved.compare()

    @cached_property
    def background_outputs(self) -> Floats:
        """Outputs of the background rows, (background rows, outputs); a black box is evaluated on some of them twice before.

        Raises:
            UnsupportedModelError: outputs for the same row differ. NonFiniteError: an output is NaN or infinite.
        """
        check, every = self.resolved.repeat_check, np.arange(len(self.background))
        if not self.options.stochastic:
            check.check_before()
        outputs = self.evaluator().evaluate_rows(self.background.table, every, what="background")
        if not self.options.stochastic:
            check.check_all(self.background.table, outputs)
        return outputs

    @property
    def base(self) -> Floats:
        """The weighted mean of the outputs of the background, (outputs,); of equal outputs it is exactly their value."""
        first = self.background_outputs[0]
        return np.asarray(first + self.background.weights @ (self.background_outputs - first))

    def evaluator(self, max_evals: int | None = None, reserved: int = 0) -> HybridEvaluator:
        """Return what evaluates rows and hybrids; arguments are as :class:`HybridEvaluator` takes them."""
        return HybridEvaluator(
            self.model,
            self.resolved.selection,
            max_evals,
            reserved=reserved,
            batch_size=self.options.batch_size,
            finite=True,
        )

    def predictions_beside(self, rows: int) -> int:
        """Return how many predictions an answer for so many rows takes beside those of its engine."""
        if not self.is_black_box:
            return 0
        check = self.resolved.repeat_check.prediction_count
        if self.options.stochastic:
            check = noise_predictions(rows + len(self.background))
        return self.resolved.n_rows_probed + check + len(self.background) + rows


@final
@dataclass(frozen=True, eq=False)
class GameRows:
    """Rows to explain, aligned with a setting; the model was not evaluated on them yet.

    Attributes:
        prepared_rows: as they were given, with remarks. rows, differs, budget, reserved_for_checks: as of a :class:`GameProblem`.
        is_whole: whether these are rows that were given, and not only a number of them. truth: of each row, (n,), where its loss is explained.
        offsets: of the rows, if they have some.
    """

    setting: GameSetting
    prepared_rows: PreparedRows
    rows: Table
    differs: Flags
    budget: int
    is_whole: bool = True
    truth: Floats | Ints | None = None
    offsets: RowOffsets | None = None
    reserved_for_checks: int = 0

    def reserving(self, checks: int) -> GameRows:
        """Return the same with predictions kept for spot checks, where ``max_evals`` bounds those of a black box; the budget can fall below 0."""
        if self.setting.options.max_evals is None or not self.setting.is_black_box or self.setting.options.stochastic:
            return self
        return replace(self, budget=self.budget - checks, reserved_for_checks=checks)

    @property
    def players_that_differ(self) -> Ints:
        """How many players of each row differ from the background, (n,)."""
        return np.asarray(self.differs.sum(axis=1), dtype=np.int64)

    def rows_at(self, positions: Ints) -> GameRows:
        """Return some of the rows."""
        truth = None if self.truth is None else self.truth[positions]
        offsets = None if self.offsets is None else self.offsets.rows_at(positions)
        rows, differs = self.rows.rows(positions), self.differs[positions]
        return replace(self, rows=rows, differs=differs, truth=truth, offsets=offsets)


@final
@dataclass(frozen=True, eq=False)
class PreparedGames:
    """A problem, and what its evidence says beside.

    Attributes:
        prepared_rows: as they were given, with remarks. agreement: largest difference between our reading and the model's own predict, of rows and background.
        n_rows_checked: rows that the model's own predict is evaluated on to compare, and to see that it always gives the same outputs.
        n_rows_evaluated: rows and background rows of a black box.
    """

    problem: GameProblem
    setting: GameSetting
    prepared_rows: PreparedRows
    agreement: float
    n_rows_checked: int
    n_rows_evaluated: int


def resolve_games(model: Any, X: Any, background: Any, options: ShapOptions) -> GameProblem:
    """Read a model, or take it as a black box, and prepare a game for each row.

    Args:
        model: any model, or a function of rows. X: rows to explain. background: rows that absent players take values from. options: as given.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    return evaluate_rows(align_rows(resolve_setting(model, background, options), X)).problem


def resolve_setting(model: Any, background: Any, options: ShapOptions) -> GameSetting:
    """Read a model, or take it as a black box, and align its background.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    if background is None:
        raise OptionError(
            f"this {'model' if options.loss is None else 'loss'} is evaluated, not read, so features are absent by taking the values of background rows: "
            "pass rows like those of training, or a sample of some hundred of them, ",
            Argument("background", example="X_train"),
            ".",
        )
    given = as_table(background, what="the background")
    rows, weights, _ = rows_of_positive_weight(given, options.background_weight, "background_weight")
    asked = replace(options.prediction_options, sample_weight=weights)
    losses = None
    if options.loss is None:
        resolved = resolve_model(model, rows, asked)
    else:
        resolved, losses = resolve_losses(model, rows, asked, options.loss)
    resolved.repeat_check.advice = (
        "If randomness belongs to the model, ",
        Argument("stochastic", True),
        " estimates values, with errors that count it.",
    )
    refuse_labels(resolved.model)
    names = resolved.rows.table.names
    players = resolve_players(resolved.model, names, options.players, keep_tied=False)
    return GameSetting(replace(options, background_weight=None), resolved, players, losses)


def align_rows(setting: GameSetting, X: Any, y: Any = None, offset: Any = None) -> GameRows:
    """Align rows with the model and find which players differ from the background; the model is not evaluated.

    Args:
        y: the truth of each row, or the column of X that holds it, where its loss is explained. offset: of each row, or the column of X that holds it.

    Raises:
        InputError: the rows do not fit the model or the background, or the truth the rows or the model.
        UnsupportedModelError, OptionError: offsets do not go with the model or the options.
        LimitError: ``max_evals`` does not even suffice for rows and background.
    """
    model, background, options = setting.model, setting.background.table, setting.options
    X, offset = rows_and_offset(X, offset)
    refuse_same_column(y, offset)
    X, y = (X, None) if y is None else separate_truth(X, y, model)
    offsets = None
    if offset is not None:
        refuse_offset(model)
        behind_link = not setting.explains_raw_outputs
        check_offset_options(stochastic=options.stochastic, surrogate=options.surrogate, behind_link=behind_link)
        X, offset = separate_offset(X, offset, model)
        offsets = resolve_offsets(model, offset, len(X))
        setting = setting.behind_link if behind_link else setting
    prepared = prepare_rows(model, X)
    prepared.check_agreement(setting.resolved.prepared_rows)
    rows = snapshot_table(prepared.table)
    check_same_kind(rows, background, elementwise=model.inputs.encoder.is_elementwise)
    if rows.library != background.library:
        raise InputError(
            f"the rows are a table of {rows.library} and the background is one of {background.library}, and the model is evaluated on rows that are mixed of both; "
            "pass both as the same kind of table."
        )
    return GameRows(
        setting,
        replace(prepared, table=rows),
        rows,
        players_that_differ(model, setting.players, rows, background),
        engine_budget(
            setting.options.max_evals,
            setting.predictions_beside(len(rows)),
            len(rows),
            len(background),
            setting.evals_per_row,
        ),
        truth=None if y is None or setting.losses is None else setting.losses.truth_of(y, len(rows)),
        offsets=offsets,
    )


def evaluate_rows(given: GameRows) -> PreparedGames:
    """Evaluate the rows and, at the first call, the background; compare a model that is read with its own predict.

    Raises:
        ModelMismatchError: our reading is not the model's own predict. UnsupportedModelError: outputs for the same row differ.
        NonFiniteError: an output is NaN or infinite.
    """
    setting, n = given.setting, len(given.rows)
    background_outputs = setting.background_outputs
    agreement, n_checked = setting.comparison
    beside = setting.predictions_beside(n)
    if setting.is_black_box:
        row_outputs = setting.evaluator().evaluate_rows(given.rows, np.arange(n), what="rows")
    else:
        row_outputs, difference = compared_predictions(
            setting.model, setting.resolved.selection, given.rows, lambda: setting.model.inputs.matrix(given.rows)
        )
        agreement = max(agreement, difference)
        n_checked += n if setting.model.own_predict is not None else 0
    if given.offsets is not None and given.offsets.is_compared:
        X = setting.model.inputs.matrix(given.rows)
        agreement = max(agreement, given.offsets.compare(given.rows, X, raw_outputs(setting.model, X)))
        n_checked += n
    noise = None
    if setting.options.stochastic:
        noise = noise_variance(setting.evaluator(), given.rows, setting.background.table)
    by_row = _row_games(given, row_outputs, background_outputs)
    if by_row is None:
        base = np.broadcast_to(setting.base, row_outputs.shape)
    else:
        row_outputs, base = by_row.of_rows, by_row.base(setting.background.weights)
    problem = GameProblem(
        setting.options,
        setting.model,
        setting.selection,
        setting.players,
        given.rows,
        setting.background,
        row_outputs,
        background_outputs,
        base,
        given.differs,
        setting.evaluator(setting.options.max_evals, beside + given.reserved_for_checks),
        given.budget,
        noise,
        by_row,
        given.offsets,
        given.reserved_for_checks,
    )
    evaluated = n + len(setting.background) if setting.is_black_box else 0
    checked = beside - evaluated if setting.is_black_box else n_checked
    return PreparedGames(problem, setting, given.prepared_rows, agreement, checked, evaluated)


def _row_games(given: GameRows, row_outputs: Floats, background_outputs: Floats) -> RowGames | None:
    """What the games make of outputs, where that differs by row."""
    setting, shifted = given.setting, None
    if setting.predictions is not None and given.offsets is not None:
        shifted = ShiftedOutputs(given.offsets, setting.predictions)
    if setting.losses is not None and given.truth is not None:
        return LossGames(row_outputs, background_outputs, setting.losses, given.truth, shifted)
    return None if shifted is None else OffsetGames(row_outputs, background_outputs, shifted)


def even_shares(total: int, parts: int) -> Ints:
    """Return whole numbers, as equal as can be, that add up to a total, (parts,)."""
    ends = np.arange(parts + 1, dtype=np.int64) * total // max(parts, 1)
    return np.asarray(ends[1:] - ends[:-1])
