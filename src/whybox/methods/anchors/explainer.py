"""The explainer of anchors: the model and the background are read once, rows are explained as they come."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property, partial
from inspect import Parameter, Signature
from typing import Any, ClassVar, Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, LimitError
from whybox.explanation.explanation import Explanation
from whybox.methods.anchors.evaluate import DrawEvaluator
from whybox.methods.anchors.law import RuleLaw
from whybox.methods.anchors.offset_groups import RowGroup, check_groups, row_groups
from whybox.methods.anchors.options import AnchorsOptions
from whybox.methods.anchors.predicates import own_predicates
from whybox.methods.anchors.problem import resolve_rows, resolve_setting
from whybox.methods.anchors.result import rule_explanation
from whybox.methods.anchors.rounds import find_rules
from whybox.methods.anchors.screening import POOL_DRAWS, PoolOutputs, SharedPool, draw_pool
from whybox.methods.anchors.search import MIN_BUDGET, FoundRule, RuleProblem
from whybox.methods.common.options import make_options, parameters_of
from whybox.methods.common.output import raw_selection
from whybox.methods.common.row_offsets import rows_and_own_offset
from whybox.methods.common.shifted_outputs import compared_shifted_predictions

__all__ = ["Anchors"]

EVALS_A_ROW: Final = 20_000
POOL_SHARE: Final = 4  # the shared sample takes at most one in so many of the predictions allowed


@final
class Anchors:
    """Anchors of tables: for each row, conditions under which the model keeps its class with a promised precision.

    Args:
        model: a classifier, or a function of rows that gives labels or probabilities.
        background: rows (m, d) that rules are tried on, like those of training.
        options: an AnchorsOptions object (whybox.methods.anchors.options), in place of those by name that follow; see :func:`whybox.anchors`.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """

    __signature__: ClassVar[Signature] = Signature(
        [
            Parameter("model", Parameter.POSITIONAL_OR_KEYWORD),
            Parameter("background", Parameter.POSITIONAL_OR_KEYWORD, default=None),
            Parameter("options", Parameter.POSITIONAL_OR_KEYWORD, default=None),
            *parameters_of(AnchorsOptions),
        ]
    )

    def __init__(self, model: Any, background: Any = None, options: AnchorsOptions | None = None, **given: Any) -> None:
        self.options = make_options(AnchorsOptions, options, given)
        self.setting = resolve_setting(model, background, self.options)
        self.law = RuleLaw(self.setting)

    @property
    def pool_draws(self) -> int:
        """How many predictions the sample takes that all rows share."""
        allowed = self.options.max_evals
        return POOL_DRAWS if allowed is None else min(POOL_DRAWS, max(1, allowed // POOL_SHARE))

    @cached_property
    def pool(self) -> SharedPool:
        """The sample that all rows without offsets share, drawn at the first call."""
        pool = draw_pool(self.law, DrawEvaluator(self.setting), self.pool_draws)
        return SharedPool(pool.pieces, self.setting.reader.answers(pool.outputs))

    @cached_property
    def raw_pool(self) -> PoolOutputs:
        """The sample that all rows with offsets share, with its raw outputs."""
        raw = raw_selection(self.setting.model.outputs)
        return draw_pool(self.law, DrawEvaluator(self.setting, raw), self.pool_draws)

    def pool_of(self, group: RowGroup) -> SharedPool:
        """Return the shared sample as the model with the offset of these rows predicts it."""
        if group.problem.shifted is None:
            return self.pool
        reader, link = group.problem.setting.reader, self.setting.model.outputs.link
        outputs = reader.selection.from_raw(self.raw_pool.outputs, link)
        return SharedPool(self.raw_pool.pieces, reader.answers(outputs))

    def __call__(self, X: Any, *, offset: Any = None) -> Explanation:
        """Explain rows.

        Args:
            X: (n, d) with the model's columns.
            offset: what is added to the raw outputs of each row, (n,) or (n, outputs), or the column of X that holds it; see :func:`whybox.anchors`.

        Returns:
            Explanation of kind ``"rule"``; see :func:`whybox.anchors`.

        Raises:
            InputError: the rows or offsets do not fit. LimitError: ``max_evals`` is too small for these rows. ModelMismatchError: our reading is not the model's own predict.
        """
        began = time.perf_counter()
        problem = resolve_rows(self.setting, *rows_and_own_offset(self.setting.model, X, offset))
        problem.repeat_check.check_before()
        encode = partial(problem.model.inputs.matrix, problem.rows)
        outputs, difference = compared_shifted_predictions(
            problem.model, problem.selection, problem.rows, encode, problem.shifted
        )
        problem = replace(problem, agreement=max(problem.agreement, difference))
        answers = self.setting.reader.answers(outputs)
        drawn_before = ("pool" if problem.shifted is None else "raw_pool") in self.__dict__
        groups = row_groups(problem, answers)
        budget = self.budget(len(problem.rows), sum(len(group.kinds) for group in groups))
        found, spent = self.rules_of(groups, budget)
        problem.repeat_check.check_after()
        calls = spent + (0 if drawn_before else self.pool_draws) + len(problem.rows)
        checks = check_groups(groups, found, spent)
        of_rows: dict[int, FoundRule] = {}
        for group, rules in zip(groups, found, strict=True):
            of_rows |= dict(zip(group.rows.tolist(), (rules[k] for k in group.which.tolist()), strict=True))
        return rule_explanation(
            problem,
            [of_rows[i] for i in range(len(problem.rows))],
            outputs,
            answers,
            spot_checks=checks,
            calls=calls,
            seconds=time.perf_counter() - began,
        )

    def rules_of(self, groups: list[RowGroup], budget: int) -> tuple[list[list[FoundRule]], int]:
        """Return for each group the rule of each of its kinds, and how many predictions that took; `budget` is the most predictions of each rule."""
        found, spent = [], 0
        for group in groups:
            evaluator, kinds = DrawEvaluator(group.problem.setting), group.kinds

            def make_problem(i: int, kinds: Floats = kinds) -> RuleProblem:
                return self._rule_problem(kinds[i], budget)

            found.append(find_rules(self.law, evaluator, self.pool_of(group), len(kinds), make_problem))
            spent += evaluator.spent
        return found, spent

    def budget(self, rows: int, problems: int) -> int:
        """Predictions that each different problem may take.

        Raises:
            LimitError: too few for one test.
        """
        allowed = self.options.max_evals
        if allowed is None:
            return EVALS_A_ROW
        each = (allowed - self.pool_draws - rows) // max(problems, 1)
        if each < MIN_BUDGET:
            count = "1 different row" if problems == 1 else f"each of {problems:,} different rows"
            raise LimitError(
                f"anchors take at least {MIN_BUDGET:,} predictions for {count}, beside the sample that all rows share: more than ",
                Argument("max_evals", allowed),
                ". Pass fewer rows, or raise ",
                Argument("max_evals"),
                ".",
            )
        return each

    def _rule_problem(self, kind: Floats, budget: int) -> RuleProblem:
        """The problem of rows whose own pieces and class are these, (players + 1,)."""
        setting, options = self.setting, self.options
        own, answer = kind[:-1].astype(np.int64), float(kind[-1])
        predicates = own_predicates(setting.ordered_pieces, own)
        inside = np.asfortranarray(predicates.met_by(setting.pieces))  # read column by column
        weights = setting.background.weights
        usable = np.asarray(inside.any(axis=0) & ~inside.all(axis=0))
        return RuleProblem(
            own,
            predicates,
            answer,
            usable,
            inside,
            weights,
            options.precision,
            1.0 - options.level,
            setting.players.count if options.max_size is None else options.max_size,
            budget,
        )

    def __repr__(self) -> str:
        s = self.setting
        return f"Anchors({s.model.kind}, {len(s.background):,} background rows)"
