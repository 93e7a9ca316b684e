"""The explainer of LIME: the model and the background are read once, rows are explained as they come."""

from __future__ import annotations

import time
from copy import copy
from dataclasses import fields, replace
from inspect import Parameter, Signature
from typing import Any, ClassVar, final

import numpy as np

from whybox.explanation.explanation import Explanation
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.options import make_options, parameters_of
from whybox.methods.common.row_offsets import refuse_offset_of_texts, rows_and_own_offset
from whybox.methods.common.shifted_outputs import compared_shifted_predictions
from whybox.methods.common.spot_checks import NOT_CHECKED, TimeShare
from whybox.methods.common.words.text_explainer import explainer_without_background, refuse_texts_beside_background
from whybox.methods.common.words.text_model import refuse_model_of_texts
from whybox.methods.lime.design import LocalDesign
from whybox.methods.lime.exact import ExactLaws
from whybox.methods.lime.local_model import LocalModel, chosen_method, exact_model, sample_budget, sampled_model
from whybox.methods.lime.offset_groups import OffsetGroup, check_groups, model_of_groups, with_offsets_added
from whybox.methods.lime.options import LimeOptions
from whybox.methods.lime.problem import resolve_neighbourhood, resolve_rows
from whybox.methods.lime.result import local_explanation
from whybox.methods.lime.shared_sample import DrawnRows, SharedSample
from whybox.methods.lime.spot_checks import check_exact, check_sampled, rows_of_own_draws
from whybox.methods.lime.text_explainer import LimeOfTexts
from whybox.methods.lime.text_options import OPTION_NAMES, LimeTextOptions
from whybox.models.blackbox import BlackBox
from whybox.models.trees import TreeEnsemble

__all__ = ["Lime"]


@final
class Lime:
    """LIME: near each row of a table, how the output changes when a feature leaves the row's own region; of texts, what each word adds.

    Args:
        model: any model that :func:`whybox.effects` takes; or a model of texts, which needs no background.
        background: rows (m, d) that values are drawn from, like those of training. None: the explainer is of texts.
        options: a LimeOptions object (whybox.methods.lime.options), of texts a LimeTextOptions object (whybox.methods.lime.text_options), in place of those by
            name that follow; see :func:`whybox.lime`.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """

    __signature__: ClassVar[Signature] = Signature(
        [
            Parameter("model", Parameter.POSITIONAL_OR_KEYWORD),
            Parameter("background", Parameter.POSITIONAL_OR_KEYWORD, default=None),
            Parameter("options", Parameter.POSITIONAL_OR_KEYWORD, default=None),
            *parameters_of(LimeOptions),
            *parameters_of(LimeTextOptions, *(f.name for f in fields(LimeOptions))),
        ]
    )

    def __init__(self, model: Any, background: Any = None, options: LimeOptions | None = None, **given: Any) -> None:
        self._texts = None
        if background is None:
            self._texts = explainer_without_background(
                LimeOfTexts, LimeTextOptions, OPTION_NAMES, model, options, given
            )
        if self._texts is not None:
            return
        OPTION_NAMES.check_for_tables(given)
        refuse_model_of_texts(model)
        self.options = make_options(LimeOptions, options, given)
        self.neighbourhood = resolve_neighbourhood(model, background, self.options)
        self.method, self._reason = chosen_method(self.neighbourhood)
        of_trees = self.method == "exact" and isinstance(self.neighbourhood.model, TreeEnsemble)
        self._laws = ExactLaws(self.neighbourhood) if of_trees else None
        evaluator = HybridEvaluator(self.neighbourhood.model, self.neighbourhood.selection)
        self.drawn = DrawnRows(self.neighbourhood)
        self._spread = SharedSample(self.drawn, evaluator)
        self._time_share, self._checks = TimeShare(), 0

    def __call__(self, X: Any, *, offset: Any = None) -> Explanation:
        """Explain rows.

        Args:
            X: (n, d) with the model's columns; of texts a text, or a list, array or column of texts.
            offset: what is added to the raw outputs of each row, (n,) or (n, outputs), or the column of X that holds it; see :func:`whybox.lime`.

        Returns:
            Explanation of kind ``"local"``, or with several kernel widths a sweep of these; see :func:`whybox.lime`.

        Raises:
            InputError: the rows or offsets do not fit. LimitError: more predictions than ``max_evals``. ModelMismatchError: our reading is not the model's own predict.
        """
        if self._texts is not None:
            refuse_offset_of_texts(offset)
            return self._texts(X)
        refuse_texts_beside_background(X, "Lime")
        widths = self.options.widths
        rows, offset = rows_and_own_offset(self.neighbourhood.model, X, offset)
        if widths is None:
            return self._explain(rows, None, offset)
        from whybox.methods.lime.width_sweep import join_widths

        return join_widths(widths, [self._explain(rows, width, offset) for width in widths])

    def limited(self, max_evals: int) -> Lime:
        """Return this explainer with another limit, which it uses up: it settles nothing before, and checks nothing. For timing."""
        other = copy(self)
        other.options = replace(self.options, max_evals=max_evals, tol=np.finfo(float).tiny, spot_checks=0)
        other.neighbourhood = replace(self.neighbourhood, options=other.options)
        other.drawn = DrawnRows(other.neighbourhood)  # draws take their time too
        return other

    def _explain(self, X: Any, width: float | None, offset: Any) -> Explanation:
        began = time.perf_counter()
        problem = resolve_rows(self.neighbourhood, X, width, offset)
        design = LocalDesign(problem)
        evaluated = len(problem.rows) if isinstance(problem.model, BlackBox) else 0
        budget = sample_budget(design, evaluated) if self.method == "sampled" else None
        problem.repeat_check.check_before()
        prediction, difference = compared_shifted_predictions(
            problem.model, problem.selection, problem.rows, lambda: problem.matrix, problem.shifted
        )
        groups: tuple[OffsetGroup, ...] = ()
        if budget is None:
            model, calls = exact_model(design, self._spread, self._laws), 0
        elif problem.is_shifted_behind_link:
            (model, groups), calls = model_of_groups(design, budget, self.drawn, self._checks + 1), 0
        else:
            checked = rows_of_own_draws(design, budget.narrow, self._checks + 1)
            model = sampled_model(design, budget, self.drawn, evaluated, checked)
            calls = evaluated + model.found.predictions
        problem.repeat_check.check_after()
        checks = self._check(design, model, groups, time.perf_counter() - began)
        if problem.shifted is not None and not groups:
            model = with_offsets_added(model, problem)
        return local_explanation(
            design,
            model,
            prediction,
            difference=difference,
            spot_checks=checks,
            reason=self._reason,
            calls=calls,
            seconds=time.perf_counter() - began,
        )

    def _check(
        self, design: LocalDesign, model: LocalModel, groups: tuple[OffsetGroup, ...], seconds: float
    ) -> SpotChecks:
        """Compute some numbers again: at the first call, then as often as a small share of the time allows."""
        if self.options.spot_checks == 0 or not self._time_share.is_check_due():
            self._time_share.add_time(work=seconds, checks=0.0)
            return NOT_CHECKED
        began, self._checks = time.perf_counter(), self._checks + 1
        if groups:
            found = check_groups(groups, self.options.seed, self._checks)
        elif model.exact:
            found = check_exact(design, model, self._spread, self._laws, self._checks)
        else:
            found = check_sampled(design, model, model.sample, self._checks)
        self._time_share.add_time(work=seconds, checks=time.perf_counter() - began)
        return found

    def __repr__(self) -> str:
        if self._texts is not None:
            return repr(self._texts)
        n = self.neighbourhood
        return f"Lime({n.model.kind}, {len(n.background):,} background rows, {self.method})"
