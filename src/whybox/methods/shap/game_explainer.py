"""Explainers of any model: the model and the background are read once, rows are explained as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from inspect import Parameter, Signature
from typing import Any, ClassVar, final

import numpy as np

from whybox.core.progress import progress_of_rounds
from whybox.core.validation import check_whole_number
from whybox.data.table import Table, as_table
from whybox.errors import Argument, LimitError, OptionError
from whybox.explanation.explanation import Explanation
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.common.options import make_options, parameters_of
from whybox.methods.common.plan import MethodPlan
from whybox.methods.common.row_offsets import refuse_offset_of_texts
from whybox.methods.common.spot_checks import NOT_CHECKED, TimeShare
from whybox.methods.common.words.text_explainer import explainer_without_background, refuse_texts_beside_background
from whybox.methods.common.words.text_model import refuse_model_of_texts
from whybox.methods.method_spec import MethodSpec
from whybox.methods.registry import find
from whybox.methods.shap.enumerate_games import MAX_PLAYERS, enumerate_games, needed_predictions
from whybox.methods.shap.game_answer import GameAnswer
from whybox.methods.shap.game_budget import allowance_text, checks_reserved, reserved_text
from whybox.methods.shap.game_plan import plan_games
from whybox.methods.shap.game_problem import GameRows, PreparedGames, align_rows, evaluate_rows, resolve_setting
from whybox.methods.shap.game_result import game_explanation, reached_error
from whybox.methods.shap.loss_games import check_truth_given
from whybox.methods.shap.options import AUTOMATIC_METHODS, ShapOptions
from whybox.methods.shap.sampled import check_sampling, least_evaluations, sample_games
from whybox.methods.shap.spot_games import check_games
from whybox.methods.shap.text_explainer import ShapOfTexts
from whybox.methods.shap.text_options import OPTION_NAMES, ShapTextOptions

__all__ = ["AnyModelShap", "ExactShap", "GameExplainer", "SampledShap", "Sampler"]

Sampler = Callable[..., GameAnswer]


class GameExplainer:
    """What explainers of any model share: options in ``__init__``, work in ``__call__``. Without a background they explain texts.

    Args:
        reason: why the model is evaluated and not read, in words, for the evidence.
    """

    __signature__: ClassVar[Signature] = Signature(
        [
            Parameter("model", Parameter.POSITIONAL_OR_KEYWORD),
            Parameter("background", Parameter.POSITIONAL_OR_KEYWORD, default=None),
            Parameter("options", Parameter.POSITIONAL_OR_KEYWORD, default=None),
            *parameters_of(ShapOptions),
            *parameters_of(ShapTextOptions, *(f.name for f in fields(ShapOptions))),
        ]
    )
    method_ids: ClassVar[tuple[str, ...]]  # of the family "shap": those that it may choose from

    def __init__(
        self,
        model: Any,
        background: Any = None,
        options: Any = None,
        *,
        reason: str | None = None,
        **given: Any,
    ) -> None:
        self._texts = None if background is not None else self._explainer_of_texts(model, options, given)
        if self._texts is not None:
            return
        OPTION_NAMES.check_for_tables(given)
        refuse_model_of_texts(model)
        self.options = make_options(ShapOptions, options, given)
        if self.options.method not in (*AUTOMATIC_METHODS, *self.method_ids):
            raise self._other_method(self.options.method)
        self.options.check_taken(*(find("shap", each) for each in self.method_ids))
        self.setting = resolve_setting(model, background, self.options)
        self.model, self.background = self.setting.model, self.setting.background
        self._reason = reason
        self._time_share, self._checks = TimeShare(), 0

    def _explainer_of_texts(self, model: Any, options: Any, given: Mapping[str, Any]) -> ShapOfTexts | None:
        """Return what explains texts by the method of this class; None where the options or the model are of tables.

        Raises:
            OptionError: a value that is not known, or another method.
        """
        own = self.method_ids[0]

        def make(model: Any, chosen: ShapTextOptions) -> ShapOfTexts:
            if chosen.method not in (*AUTOMATIC_METHODS, own):
                raise self._other_method(chosen.method)
            return ShapOfTexts(model, replace(chosen, method=own), type(self).__name__)

        if options is None and given.get("method", "auto") in AUTOMATIC_METHODS:
            given = {**given, "method": own}
        return explainer_without_background(make, ShapTextOptions, OPTION_NAMES, model, options, given)

    def _other_method(self, method: Any) -> OptionError:
        return OptionError(
            Argument("method", method), f" is not what {type(self).__name__} computes; use whybox.explain."
        )

    def __call__(self, X: Any, y: Any = None, *, offset: Any = None) -> Explanation:
        """Explain rows.

        Args:
            X: (n, d) array, data frame or sparse matrix with the model's columns, of the same kind as the background. Of texts a text, or a list, array or
                column of texts.
            y: with ``loss``, the truth of each row, or the column of X that holds it.
            offset: what is added to the raw outputs of each row, (n,) or (n, outputs), or the column of X that holds it.

        Returns:
            Explanation with ``values`` (n, players) [, outputs], or (n, players, players) [, outputs] for order 2; see :func:`whybox.explain`.

        Raises:
            WhyboxError: see whybox.errors; each message says what to do.
        """
        if self._texts is not None:
            check_truth_given(None, y)
            refuse_offset_of_texts(offset)
            return self._texts(X)
        refuse_texts_beside_background(X, type(self).__name__)
        began = time.perf_counter()
        check_truth_given(self.options.loss, y)
        given = align_rows(self.setting, X, y, offset)
        spec, notes = self._choose(given)
        given = given.reserving(self._planned_checks(given, exact=spec.exact))
        if not spec.exact:
            self._check_budget(given)
        prepared = evaluate_rows(given)
        run = _Run(prepared, spec, notes, began)
        answer = enumerate_games(prepared.problem) if spec.exact else run.sample(self._sampler())
        if run.interrupted:
            return run.explanation(answer, NOT_CHECKED)
        if not self.options.stochastic:
            self.setting.resolved.repeat_check.check_after()
        checks = self._check(prepared, answer, time.perf_counter() - began)
        return run.explanation(answer, checks)

    def _choose(self, given: GameRows) -> tuple[MethodSpec, tuple[str, ...]]:
        """Return the method for these rows, and what the reader should know about the choice."""
        notes = () if self._reason is None else (f"Evaluated, not read: {self._reason}",)
        spec = find("shap", self.method_ids[0])
        if spec.exact:
            return spec, notes
        budget = given.reserving(self._planned_checks(given, exact=False)).budget
        return spec, (
            *notes,
            f"Predictions: at most {allowance_text(self.options.max_evals, max(budget, 0), self.setting.evals_per_row)}.",
        )

    def _planned_checks(self, given: GameRows, *, exact: bool) -> int:
        """Return how many predictions are kept for spot checks, where ``max_evals`` bounds them."""
        del given
        return checks_reserved(self.options.spot_checks, of_worths=len(self.background) if exact else 0)

    def _sampler(self) -> Sampler:
        """Return the engine of what is not exact."""
        return sample_games

    def _check_budget(self, given: GameRows) -> None:
        """Refuse fewer predictions than values and errors take.

        Raises:
            LimitError: they are fewer.
        """
        check_budget(given)

    def _check(self, prepared: PreparedGames, answer: GameAnswer, seconds: float) -> SpotChecks:
        """Compute some numbers again: at the first call, then as often as a small share of the time allows."""
        if self.options.spot_checks == 0 or not self._time_share.is_check_due():
            self._time_share.add_time(work=seconds, checks=0.0)
            return NOT_CHECKED
        began, self._checks = time.perf_counter(), self._checks + 1
        checks = check_games(prepared.problem, answer, self._checks)
        self._time_share.add_time(work=seconds, checks=time.perf_counter() - began)
        return checks

    def check_evals(self, rows: int, names: tuple[str, ...] | None = None) -> None:
        """Do nothing: the predictions that each call may take are checked there, when it is known which features of its rows differ."""

    def plan(self, rows: int | Table, *, sparse: bool = False, y: Any = None, offset: Any = None) -> MethodPlan:
        """Say how rows would be explained, and what that costs at most.

        Args:
            rows: the rows, or how many; then every feature is taken to differ from the background. Of texts the texts. sparse: not used.
            y, offset: as for a call; of a number of rows, nothing.

        Raises:
            OptionError: no positive whole number. LimitError: more predictions than ``max_evals``. Others as the call.
        """
        del sparse
        if self._texts is not None:
            check_truth_given(None, y)
            refuse_offset_of_texts(offset)
            plan: MethodPlan = self._texts.plan(rows)
            return plan
        given = self._rows_to_plan(rows, y, offset)
        spec, notes = self._choose(given)
        given = given.reserving(self._planned_checks(given, exact=spec.exact))
        if not spec.exact:
            self._check_budget(given)
        return plan_games(given, spec, notes)

    def _rows_to_plan(self, rows: Any, y: Any, offset: Any) -> GameRows:
        if isinstance(rows, bool) or not isinstance(rows, (int, np.integer)):
            check_truth_given(self.options.loss, y)
            return align_rows(self.setting, as_table(rows), y, offset)
        for name, values in (("y", y), ("offset", offset)):
            if values is not None:
                raise OptionError(Argument(name), " is of rows, and only their number is given; leave it out.")
        count = check_whole_number("rows", rows)
        some = align_rows(self.setting, self.background.table.rows(np.zeros(count, dtype=np.int64)))
        return replace(some, differs=np.ones_like(some.differs), is_whole=False)

    def __repr__(self) -> str:
        if self._texts is not None:
            return repr(self._texts)
        return f"{type(self).__name__}({self.model.kind}, {len(self.background):,} background rows)"


@final
class ExactShap(GameExplainer):
    """Exact Shapley values, interactions or another index of any model: every coalition of the features that differ, over the whole background.

    Args:
        model: any model, or a function of rows; or a model of texts, which needs no background.
        background: rows (m, d) that absent features take their values from, all of which count. None: the explainer is of texts.
        options: a ShapOptions object (whybox.methods.shap.options), of texts a ShapTextOptions object (whybox.methods.shap.text_options), in place of those by
            name; see :func:`whybox.explain`.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do. LimitError: 2^features x background rows is too much.
    """

    method_ids = ("exact_shap",)


@final
class SampledShap(GameExplainer):
    """Shapley values of any model, interactions or another index, with a standard error each, from as many predictions as reach ``tol`` or ``max_evals`` allows.

    Args:
        model: any model, or a function of rows; or a model of texts, which needs no background.
        background: rows (m, d) that absent features take their values from, all of which count. None: the explainer is of texts.
        options: a ShapOptions object (whybox.methods.shap.options), of texts a ShapTextOptions object (whybox.methods.shap.text_options), in place of those by
            name; see :func:`whybox.explain`.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """

    method_ids = ("sampled_shap",)


@final
class AnyModelShap(GameExplainer):
    """What ``method="auto"`` is for a model that is not read: exact where all coalitions fit the predictions allowed, else sampled."""

    method_ids = ("exact_shap", "sampled_shap")

    def _choose(self, given: GameRows) -> tuple[MethodSpec, tuple[str, ...]]:
        exact, notes = super()._choose(given)
        most = int(given.players_that_differ.max(initial=0))
        needed = needed_predictions(given.players_that_differ, len(self.background))
        budget = given.reserving(self._planned_checks(given, exact=True)).budget
        allowed = allowance_text(self.options.max_evals, max(budget, 0), self.setting.evals_per_row)
        if self.options.stochastic:
            return find("shap", "sampled_shap"), (*notes, "Sampled, because the model answers at random.")
        if needed <= budget and most <= MAX_PLAYERS:
            return exact, (*notes, f"Exact: all coalitions take at most {needed:,.0f} predictions, within {allowed}.")
        return find("shap", "sampled_shap"), (
            *notes, f"Sampled: all coalitions would take up to {needed:,.3g} predictions, more than {allowed}.",
        )  # fmt: skip


def check_budget(given: GameRows) -> None:
    """Refuse fewer predictions than values and errors take.

    Raises:
        LimitError: they are fewer.
    """
    counts = given.players_that_differ
    options = given.setting.options
    check_sampling(options)
    least = int(least_evaluations(counts, len(given.setting.background), options).sum())
    if least > given.budget:
        beside, checks = given.setting.predictions_beside(len(counts)), given.reserved_for_checks
        raise LimitError(
            f"an estimate with errors takes at least {least + beside + checks:,} predictions here: {least:,} for {len(counts):,} row{'s' * (len(counts) != 1)} of up to "
            f"{int(counts.max())} features that differ from the background, and {beside:,} for the rows, the background and the check of the model",
            *reserved_text(checks),
            ". That is more than ",
            Argument("max_evals", given.setting.options.max_evals),
            ". Raise it, pass fewer rows, or group columns with ",
            Argument("players", example="{...}"),
            ".",
        )


@final
class _Run:
    """One answer on its way: what is known so far, for the bar, the callback and Ctrl-C.

    Attributes:
        interrupted: whether Ctrl-C ended it.
    """

    def __init__(self, prepared: PreparedGames, spec: MethodSpec, notes: tuple[str, ...], began: float) -> None:
        self._prepared, self._spec, self._notes, self._began = prepared, spec, notes, began
        self._last: GameAnswer | None = None
        self.interrupted = False

    def sample(self, sampler: Sampler) -> GameAnswer:
        """Return the estimate, or at Ctrl-C the last one so far.

        Raises:
            KeyboardInterrupt: Ctrl-C, and there is no answer yet.
        """
        problem = self._prepared.problem
        with progress_of_rounds(problem.budget, description=self._spec.title, unit="predictions") as after_round:

            def on_round(answer: GameAnswer) -> None:
                self._last = answer
                after_round(problem.evaluator.spent, f"error {reached_error(answer):.2g}")
                self._call_back(answer)

            try:
                return sampler(problem, on_round=on_round)
            except KeyboardInterrupt:
                if self._last is None:
                    raise
                self.interrupted = True
                return _marked(self._last, "UNFINISHED: interrupted; these are the values that were known by then, and none was recomputed.")  # fmt: skip

    def _call_back(self, answer: GameAnswer) -> None:
        callback = self._prepared.problem.options.callback
        if callback is not None:
            callback(self.explanation(_marked(answer, "UNFINISHED: an answer on its way."), NOT_CHECKED))

    def explanation(self, answer: GameAnswer, checks: SpotChecks) -> Explanation:
        """Return the explanation of an answer."""
        return game_explanation(
            self._prepared,
            answer,
            self._spec,
            seconds=time.perf_counter() - self._began,
            spot_checks=checks,
            notes=self._notes,
        )


def _marked(answer: GameAnswer, note: str) -> GameAnswer:
    return replace(answer, notes=(*answer.notes, note))
