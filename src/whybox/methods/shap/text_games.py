"""Shapley and Owen values of the words of texts: a game for each text, in which a word that is no member of a coalition is left out or replaced.

No background is needed: the worth of a coalition is the model's output for the text with these words alone. Values are exact where the coalitions that they take
fit into the budget, and have standard errors otherwise: Shapley values from pairs of coalitions (games/sampling.py, games/solve.py), Owen values from orders that keep
neighbouring words together (games/compatible_orders.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, LimitError, OptionError, Part
from whybox.games.compatible_orders import MIN_DRAWS, draw_orders, estimate_owen_values
from whybox.games.exact import all_coalitions, exact_values, interaction_matrix
from whybox.games.owen import Hierarchy, count_coalitions, owen_game
from whybox.games.sampling import draw_design, min_evaluations
from whybox.games.solve import estimate_values
from whybox.methods.common.words.explained import ExplainedText, ExplainedTexts, TextEvaluation, explain_each
from whybox.methods.common.words.options import PREDICTIONS_OF_CHECKS
from whybox.methods.common.words.split import TextWords, as_texts, split_texts
from whybox.methods.shap.text_options import EXACT, PARTITION, SAMPLED, ShapTextOptions
from whybox.methods.shap.word_hierarchy import resolve_word_hierarchies

__all__ = ["ValuesOfTexts", "WordGame", "WordValues", "explain_texts", "method_of", "split_into_games"]

MAX_ENUMERATED: Final = 2**20  # coalitions of exact values, which are held in memory
FIRST_SHARE: Final = (
    1 / 8
)  # of the budget, by which a first design is drawn; it ends there where errors are small enough
ROUNDS: Final = (1 / 4, 1 / 2, 1)  # of all orders, after which errors are looked at


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class WordValues(ExplainedText):
    """The values of the words of one text.

    Attributes:
        values: (words, outputs); of order 2 (words, words, outputs), half of each interaction on either side of the diagonal, main effects on it.
        std_error: the same shape; None: exact.
        kernel: how they were computed, in words. converged: whether errors are as small as asked.
    """

    values: Floats
    std_error: Floats | None
    kernel: str
    converged: bool


ValuesOfTexts = ExplainedTexts[WordValues, ShapTextOptions]


def explain_texts(model: Any, texts: str | Sequence[str], options: ShapTextOptions | None = None) -> ValuesOfTexts:
    """Return the values of the words of each text.

    Args:
        model: see :func:`whybox.methods.common.words.text_model.as_text_model`. texts: a text, or a list of texts. options: None: all defaults.

    Raises:
        InputError: a row is no text or has no words; the model refuses texts, or returns no numbers. OptionError: see :class:`ShapTextOptions`.
        ModelMismatchError: the pipeline's vectorizer is not what it seems. UnsupportedModelError: outputs change from call to call.
        LimitError: `max_evals` is too small.
    """
    options = ShapTextOptions() if options is None else options
    rows = as_texts(texts)
    games = split_into_games(rows, options)
    return explain_each(model, rows, [g.words for g in games], options, lambda row, text: games[row].solve(text))


def method_of(options: ShapTextOptions, *, exact: bool) -> str:
    """Return the method, of the family "shap", that is used; `exact`: where the choice is left open, whether values are exact."""
    asked = str(options.method)
    return asked if asked in (EXACT, SAMPLED, PARTITION) else EXACT if exact else SAMPLED


def split_into_games(texts: Sequence[str], options: ShapTextOptions) -> list[WordGame]:
    """Split texts into words, and check that each can be explained within the budget.

    Raises:
        InputError: a text has no words. OptionError: `hierarchy` does not fit; several texts with order 2. LimitError: `max_evals` is too small.
    """
    split = split_texts(texts, options.tokenizer, by_position=options.by_position, mask_string=options.mask_string)
    if options.order == 2 and len(texts) > 1:
        raise OptionError(
            Argument("order", 2),
            f" takes one text at a time, and these are {len(texts):,}: each text has pairs of its own words.",
        )
    hierarchies: list[Hierarchy | None] = [None] * len(split)
    if options.method == PARTITION:
        hierarchies = [*resolve_word_hierarchies(options.hierarchy, split)]
    games = [WordGame(words, options, hierarchy) for words, hierarchy in zip(split, hierarchies, strict=True)]
    for row, game in enumerate(games):
        game.check_budget(row)
    return games


@final
@dataclass(frozen=True, eq=False)
class WordGame:
    """The game of one text.

    Attributes:
        words: the text and its words, the players. options: of texts. hierarchy: blocks of words; None of Shapley values.
    """

    words: TextWords
    options: ShapTextOptions
    hierarchy: Hierarchy | None = None

    @property
    def left(self) -> int:
        """Predictions that are left beside those of the checks."""
        return self.options.budget - PREDICTIONS_OF_CHECKS

    @cached_property
    def exact_evaluations(self) -> int:
        """Coalitions that exact values take."""
        return int(2**self.words.n_words) if self.hierarchy is None else count_coalitions(self.hierarchy)

    @property
    def is_exact(self) -> bool:
        """Whether they fit into the budget, and into memory."""
        return self.exact_evaluations <= min(self.left, MAX_ENUMERATED)

    @property
    def most_predictions(self) -> int:
        """Predictions at most, those of the checks included."""
        return self.exact_evaluations + PREDICTIONS_OF_CHECKS if self.is_exact else self.options.budget

    def check_budget(self, row: int) -> None:
        """Refuse a text for which the budget is too small.

        Args:
            row: position of the text, for the message.

        Raises:
            LimitError: it is; the message says what the text takes.
        """
        count, method = self.words.n_words, self.options.method
        if self.is_exact:
            return
        if self.options.has_no_estimate:
            raise LimitError(
                f"row {row} has {count:,} words: interactions and indices other than Shapley's take 2^{count} predictions and {PREDICTIONS_OF_CHECKS} for checks; up to ",
                Argument("max_evals", self.options.budget),
                f" are made, and up to {MAX_ENUMERATED:,} held in memory. They have no estimate: explain a shorter text.",
            )
        if method in ("exact", EXACT):
            limit: tuple[Part, ...] = (Argument("max_evals", self.options.budget), ". Raise it, or take ")
            if self.exact_evaluations > MAX_ENUMERATED:
                limit = (f"the {MAX_ENUMERATED:,} that are held in memory. Take ",)
            raise LimitError(
                f"row {row} has {count:,} words: exact values take 2^{count} predictions and {PREDICTIONS_OF_CHECKS} for checks, more than ",
                *limit,
                Argument("method", SAMPLED),
                " or ",
                Argument("method", PARTITION),
                ".",
            )
        least = 2 + 2 * (count - 1) * MIN_DRAWS if method == PARTITION else min_evaluations(count)
        needed = min(least, self.exact_evaluations) + PREDICTIONS_OF_CHECKS
        if self.options.budget < needed:
            raise LimitError(
                f"row {row} has {count:,} words and takes {needed:,} predictions at least, more than ",
                Argument("max_evals", self.options.budget),
                ". Raise it, or explain shorter texts.",
            )

    def solve(self, text: TextEvaluation) -> WordValues:
        """Return the values of the words.

        Args:
            text: what evaluates the coalitions.

        Raises:
            WhyboxError: see :func:`explain_texts`.
        """
        values, error, kernel = _Solver(text, self).run()
        return WordValues(
            **text.finish(),
            values=values,
            std_error=error,
            kernel=kernel,
            converged=_is_settled(values, error, self.options),
        )


def _is_settled(values: Floats, error: Floats | None, options: ShapTextOptions) -> bool:
    """Whether errors are as small as asked, of every output."""
    if error is None:
        return True
    return bool((error.max(axis=0) <= options.allowed_error * np.abs(values).max(axis=0)).all())


@final
@dataclass(frozen=True, eq=False)
class _Solver:
    """Values of one game, from a model that is evaluated on masks."""

    worths: TextEvaluation
    game: WordGame

    def run(self) -> tuple[Floats, Floats | None, str]:
        """Values, (words, outputs), their errors, and how they were computed."""
        hierarchy = self.game.hierarchy
        if hierarchy is None:
            if self.game.is_exact:
                return self.from_all(), None, "every way to leave out words"
            return (*self.from_pairs(), "pairs of coalitions, a Gaussian process over coalitions")
        if self.game.is_exact:
            owen = owen_game(hierarchy)
            return owen.values(self.worths(owen.coalitions)), None, "every block of words in each of its contexts"
        return (*self.from_orders(hierarchy), "orders that keep blocks of words together, each with its reverse")

    def from_all(self) -> Floats:
        """Values of words, or interactions of their pairs, of any index."""
        worths, index = self.worths(all_coalitions(self.game.words.n_words)), self.game.options.game_index
        values = exact_values(worths, index)
        return values if self.game.options.order == 1 else interaction_matrix(values, exact_values(worths, index, 2))

    @property
    def total(self) -> Floats:
        """Worth of all words less that of none, (outputs,)."""
        return np.asarray(self.worths.prediction - self.worths.base)

    def from_pairs(self) -> tuple[Floats, Floats]:
        """Shapley values and their errors from a design of pairs; a small one first."""
        count, left, options = self.game.words.n_words, self.game.left, self.game.options
        first = max(min_evaluations(count), int(left * FIRST_SHARE))
        sizes = [left] if options.tol == 0 or left < first + min_evaluations(count) else [first, left - first]
        for size in sizes:
            design = draw_design(count, size, self.worths.draw)
            with_words, without = self.worths(design.coalitions), self.worths(~design.coalitions)
            values, variances = estimate_values(
                design, (with_words - without) / 2, (with_words + without) / 2, self.total
            )
            if _is_settled(values, np.sqrt(variances), options):
                break
        return values, np.sqrt(variances)

    def from_orders(self, hierarchy: Hierarchy) -> tuple[Floats, Floats]:
        """Owen values and their errors from orders that are compatible with the hierarchy."""
        count, options = hierarchy.players, self.game.options
        draws = (self.game.left - 2) // (2 * (count - 1))
        orders, total = draw_orders(hierarchy, draws, self.worths.draw), self.total
        for share in ROUNDS:
            drawn = orders.first(max(MIN_DRAWS, int(draws * share)))
            coalitions = drawn.coalitions().reshape(-1, count)
            halves = ((self.worths(coalitions) - self.worths(~coalitions)) / 2).reshape(-1, count - 1, len(total))
            found = estimate_owen_values(drawn.contributions(halves, np.broadcast_to(total, (len(halves), len(total)))))
            if options.tol != 0 and _is_settled(found.values, np.sqrt(found.variances), options):
                break
        return found.values, np.sqrt(found.variances)
