"""Shapley and Owen values of the words of texts: a game for each text, in which a word that is no member of a coalition is left out or replaced.

No background is needed: the worth of a coalition is the model's output for the text with these words alone. Values are exact where the coalitions that they take
fit into the budget, and have standard errors otherwise: Shapley values from pairs of coalitions (games/sampling.py, games/solve.py), Owen values from orders that keep
neighbouring words together (games/compatible_orders.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, LimitError, Part
from whybox.games.compatible_orders import MIN_DRAWS, draw_orders, estimate_owen_values
from whybox.games.exact import all_coalitions, exact_values
from whybox.games.owen import Hierarchy, count_coalitions, owen_game
from whybox.games.sampling import draw_design, min_evaluations
from whybox.games.solve import estimate_values
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.words.evaluate import MaskEvaluator, read_words
from whybox.methods.common.words.split import TextWords, as_texts, number_of_text, split_texts
from whybox.methods.common.words.text_model import TextModel, as_text_model, resolve_text_output
from whybox.methods.shap.text_options import EXACT, PARTITION, SAMPLED, ShapTextOptions
from whybox.methods.shap.word_hierarchy import word_hierarchy

__all__ = ["ExplainedTexts", "WordGame", "WordValues", "explain_texts", "split_into_games"]

PREDICTIONS_OF_CHECKS: Final = 16  # kept for checks, so that draws do not depend on how the model is read
MAX_ENUMERATED: Final = 2**20  # coalitions of exact values, which are held in memory
FIRST_SHARE: Final = (
    1 / 8
)  # of the budget, by which a first design is drawn; it ends there where errors are small enough
ROUNDS: Final = (1 / 4, 1 / 2, 1)  # of all orders, after which errors are looked at


@final
@dataclass(frozen=True, eq=False)
class WordValues:
    """The values of the words of one text.

    Attributes:
        words: the text and its words, in reading order. values: (words, outputs). std_error: the same shape; None: exact.
        base, prediction: for the text without any word, and for the whole text, (outputs,). label: names of the outputs explained.
        kernel: how they were computed, in words. converged: whether errors are as small as asked. spent: predictions made.
        reading: how texts were given to the model. compared, difference: see :class:`MaskEvaluator`.
    """

    words: TextWords
    values: Floats
    std_error: Floats | None
    base: Floats
    prediction: Floats
    label: tuple[str, ...]
    kernel: str
    converged: bool
    spent: int
    reading: str
    compared: int
    difference: float


@final
@dataclass(frozen=True, eq=False)
class ExplainedTexts:
    """The values of words of several texts.

    Attributes:
        texts: as given. rows: of each. options: as given. method: which method it was, of the family "shap". model: of texts.
        output: the outputs explained. is_predicted: whether each text has the one of them that is predicted for it.
    """

    texts: tuple[str, ...]
    rows: tuple[WordValues, ...]
    options: ShapTextOptions
    method: str
    model: TextModel
    output: OutputSelection
    is_predicted: bool = False


def explain_texts(model: Any, texts: str | Sequence[str], options: ShapTextOptions | None = None) -> ExplainedTexts:
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
    read = as_text_model(model, rows[0], response_method=options.response_method)
    output, predicted = resolve_text_output(read, options.output, options.scale)
    first = [read.probed, *[0] * (len(games) - 1)]
    explained = tuple(
        game.solve(read, output, predicted=predicted, spent=spent) for game, spent in zip(games, first, strict=True)
    )
    method = _method_of(options.method, all(row.std_error is None for row in explained))
    return ExplainedTexts(rows, explained, options, method, read, output, predicted)


def _method_of(asked: str, exact: bool) -> str:
    """The method that was used, where the choice was left open."""
    return asked if asked in (EXACT, SAMPLED, PARTITION) else EXACT if exact else SAMPLED


def split_into_games(texts: Sequence[str], options: ShapTextOptions) -> list[WordGame]:
    """Split texts into words, and check that each can be explained within the budget.

    Raises:
        InputError: a text has no words. LimitError: `max_evals` is too small.
    """
    split = split_texts(texts, options.tokenizer, by_position=options.by_position, mask_string=options.mask_string)
    games = [WordGame(words, options) for words in split]
    for row, game in enumerate(games):
        game.check_budget(row)
    return games


@final
@dataclass(frozen=True, eq=False)
class WordGame:
    """The game of one text.

    Attributes:
        words: the text and its words, the players. options: of texts.
    """

    words: TextWords
    options: ShapTextOptions

    @property
    def hierarchy(self) -> Hierarchy | None:
        """Blocks of neighbouring words; None of Shapley values."""
        return word_hierarchy(self.words) if self.options.method == PARTITION else None

    @property
    def left(self) -> int:
        """Predictions that are left beside those of the checks."""
        return self.options.budget - PREDICTIONS_OF_CHECKS

    @property
    def exact_evaluations(self) -> int:
        """Coalitions that exact values take."""
        hierarchy = self.hierarchy
        return int(2**self.words.n_words) if hierarchy is None else count_coalitions(hierarchy)

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

    def solve(self, model: TextModel, output: OutputSelection, *, predicted: bool, spent: int = 0) -> WordValues:
        """Return the values of the words.

        Args:
            model: of texts. output: which outputs, on which scale. predicted: explain the largest of them alone. spent: predictions of the text so far.

        Raises:
            WhyboxError: see :func:`explain_texts`.
        """
        options, count = self.options, self.words.n_words
        draw = np.random.default_rng([options.seed, number_of_text(self.words.text)])
        evaluate = read_words(
            self.words, model, output, seed=options.seed, batch_size=options.batch_size, max_evals=options.budget
        )
        evaluate.spent += spent
        checked = evaluate.checked_masks(draw)
        evaluate.check_before(checked)
        base, prediction = evaluate(np.array([[False] * count, [True] * count]))
        chosen = [int(np.argmax(prediction))] if predicted else list(range(len(prediction)))
        values, error, kernel = _Solver(evaluate, self, chosen, draw).run()
        evaluate.check_after(checked)
        return WordValues(
            self.words,
            values,
            error,
            base[chosen],
            prediction[chosen],
            tuple(output.names[k] for k in chosen),
            kernel,
            _is_settled(values, error, options),
            evaluate.spent,
            evaluate.reading,
            evaluate.compared,
            evaluate.difference,
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

    evaluate: MaskEvaluator
    game: WordGame
    chosen: list[int]
    draw: np.random.Generator

    def run(self) -> tuple[Floats, Floats | None, str]:
        """Values, (words, outputs), their errors, and how they were computed."""
        hierarchy = self.game.hierarchy
        if hierarchy is None:
            if self.game.is_exact:
                values = exact_values(self.worths(all_coalitions(self.game.words.n_words)))
                return values, None, "every way to leave out words"
            return (*self.from_pairs(), "pairs of coalitions, a Gaussian process over coalitions")
        if self.game.is_exact:
            owen = owen_game(hierarchy)
            return owen.values(self.worths(owen.coalitions)), None, "every block of words in each of its contexts"
        return (*self.from_orders(hierarchy), "orders that keep blocks of words together, each with its reverse")

    def worths(self, coalitions: Any) -> Floats:
        """What the coalitions are worth, (coalitions, outputs)."""
        return self.evaluate(coalitions)[:, self.chosen]

    @property
    def total(self) -> Floats:
        """Worth of all words less that of none, (outputs,)."""
        count = self.game.words.n_words
        none, every = self.worths(np.array([[False] * count, [True] * count]))
        return np.asarray(every - none)

    def from_pairs(self) -> tuple[Floats, Floats]:
        """Shapley values and their errors from a design of pairs; a small one first."""
        count, left, options = self.game.words.n_words, self.game.left, self.game.options
        first = max(min_evaluations(count), int(left * FIRST_SHARE))
        sizes = [left] if options.tol == 0 or left < first + min_evaluations(count) else [first, left - first]
        for size in sizes:
            design = draw_design(count, size, self.draw)
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
        orders, total = draw_orders(hierarchy, draws, self.draw), self.total
        for share in ROUNDS:
            drawn = orders.first(max(MIN_DRAWS, int(draws * share)))
            coalitions = drawn.coalitions().reshape(-1, count)
            halves = ((self.worths(coalitions) - self.worths(~coalitions)) / 2).reshape(-1, count - 1, len(total))
            found = estimate_owen_values(drawn.contributions(halves, np.broadcast_to(total, (len(halves), len(total)))))
            if options.tol != 0 and _is_settled(found.values, np.sqrt(found.variances), options):
                break
        return found.values, np.sqrt(found.variances)
