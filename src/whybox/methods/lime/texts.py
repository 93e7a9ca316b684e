"""LIME of texts: what each word adds to a prediction, in a linear model of texts with some words left out.

The law is lime's: see :mod:`whybox.methods.lime.removal_law`. Coefficients are those of infinitely many samples; they are exact where all ways to leave out words fit
into the budget, and have standard errors from independent replicates otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.words.evaluate import MaskEvaluator, read_words
from whybox.methods.common.words.split import TextWords, as_texts, number_of_text, split_texts
from whybox.methods.common.words.text_model import TextModel, as_text_model, resolve_text_output
from whybox.methods.lime.certify import Certificate, certify
from whybox.methods.lime.removal_draws import all_subsets, draw_masks, size_proposal, subset_law
from whybox.methods.lime.removal_fit import WordFit, fit_enumerated, fit_replicates
from whybox.methods.lime.removal_law import KERNEL_WIDTH, RemovalLaw
from whybox.methods.lime.text_options import LimeTextOptions
from whybox.numerics.rounding import FLOAT64_ROUNDING

__all__ = ["LocalTexts", "WordCoefficients", "explain_texts", "is_enumerated", "most_predictions", "words_of_texts"]

DEFAULT_TOP: Final = 5
DEFAULT_TOL: Final = 0.02  # of the largest coefficient
ROUNDS: Final = 4  # of draws, each as many as all before it
PREDICTIONS_OF_CHECKS: Final = (
    16  # kept for checks and the full text, so that draws do not depend on how the model is read
)
MIN_DRAWS: Final = 64  # of a text whose words are not enumerated


@final
@dataclass(frozen=True, eq=False)
class WordCoefficients:
    """A local linear model of one text.

    Attributes:
        words: the text and its words, in reading order, with the start and end of each. fit: coefficients, (words, outputs), and how well they fit.
        prediction: of the full text, (outputs,). label: names of the outputs explained.
        certificates: of each output. converged: whether `top` of each output are settled, or errors as small as asked.
        effective_size: of the draws under the weighted law, as a share of their number; 1 where all masks were enumerated.
        spent, distinct: predictions, and different texts among them.
        compared, difference: see :class:`MaskEvaluator`. reading: how texts were given to the model.
    """

    words: TextWords
    fit: WordFit
    prediction: Floats
    label: tuple[str, ...]
    certificates: tuple[Certificate, ...]
    converged: bool
    effective_size: float
    spent: int
    distinct: int
    reading: str
    compared: int = 0
    difference: float = 0.0

    @property
    def local_prediction(self) -> Floats:
        """What the linear model says of the full text, (outputs,)."""
        return np.asarray(self.fit.intercept + self.fit.values.sum(axis=0))

    @property
    def gap(self) -> Floats:
        """The local prediction less the model's, (outputs,)."""
        return np.asarray(self.local_prediction - self.prediction)


@final
@dataclass(frozen=True, eq=False)
class LocalTexts:
    """Local linear models of several texts.

    Attributes:
        texts: as given. rows: of each. options: as given. model: of texts.
        output: the outputs explained. is_predicted: whether each text has the one of them that is predicted for it.
    """

    texts: tuple[str, ...]
    rows: tuple[WordCoefficients, ...]
    options: LimeTextOptions
    model: TextModel
    output: OutputSelection
    is_predicted: bool = False


def explain_texts(model: Any, texts: str | Sequence[str], options: LimeTextOptions | None = None) -> LocalTexts:
    """Fit a local linear model to each text.

    Args:
        model: see :func:`whybox.methods.common.words.text_model.as_text_model`. texts: a text, or a list of texts. options: None: all defaults.

    Raises:
        InputError: a row is no text or has no words; the model refuses texts, or returns no numbers. OptionError: see :class:`LimeTextOptions`.
        ModelMismatchError: the pipeline's vectorizer is not what it seems. UnsupportedModelError: outputs change from call to call.
        LimitError: `max_evals` is too small.
    """
    options = LimeTextOptions() if options is None else options
    rows = as_texts(texts)
    split = words_of_texts(rows, options)
    laws = [_law(words, options) for words in split]
    read = as_text_model(model, rows[0], response_method=options.response_method)
    output, predicted = resolve_text_output(read, options.output, options.scale)
    explained = [
        _TextProblem(words, law, read, output, options, predicted).run() for words, law in zip(split, laws, strict=True)
    ]
    return LocalTexts(rows, tuple(explained), options, read, output, predicted)


def words_of_texts(texts: Sequence[str], options: LimeTextOptions) -> list[TextWords]:
    """Split texts into words, and check that each can be explained within the budget.

    Raises:
        InputError: a text has no words. OptionError: `max_evals` is too small.
    """
    words = split_texts(texts, options.tokenizer, by_position=options.by_position, mask_string=options.mask_string)
    _check_budget(words, options)
    return words


def is_enumerated(n_words: int, options: LimeTextOptions) -> bool:
    """Return whether all ways to leave out words fit into the budget, so that values are exact."""
    return n_words == 1 or (n_words < 60 and 2**n_words <= options.budget - PREDICTIONS_OF_CHECKS)


def most_predictions(words: TextWords, options: LimeTextOptions) -> int:
    """Return how many predictions a text takes at most, those of the checks included."""
    d = words.n_words
    return 2**d + PREDICTIONS_OF_CHECKS if is_enumerated(d, options) else options.budget


def _law(words: TextWords, options: LimeTextOptions) -> RemovalLaw | None:
    """The law of removals; None for a text of one word, which has only two states."""
    width = KERNEL_WIDTH if options.kernel_width is None else float(options.kernel_width)
    return RemovalLaw(words.n_words, width) if words.n_words > 1 else None


def _check_budget(split: Sequence[TextWords], options: LimeTextOptions) -> None:
    for row, words in enumerate(split):
        needed = min(2**words.n_words if words.n_words < 60 else MIN_DRAWS, MIN_DRAWS) + PREDICTIONS_OF_CHECKS
        if options.budget < needed:
            raise OptionError(
                Argument("max_evals", options.budget),
                f" is too small: row {row} has {words.n_words:,} words and needs {needed} predictions at least.",
            )


@final
@dataclass(frozen=True, eq=False)
class _TextProblem:
    """One text, its law and its model."""

    words: TextWords
    law: RemovalLaw | None
    model: TextModel
    output: OutputSelection
    options: LimeTextOptions
    predicted: bool

    def run(self) -> WordCoefficients:
        options, d = self.options, self.words.n_words
        rng = np.random.default_rng([options.seed, number_of_text(self.words.text)])
        evaluate = read_words(
            self.words,
            self.model,
            self.output,
            seed=options.seed,
            batch_size=options.batch_size,
            max_evals=options.budget,
        )
        checked = evaluate.checked_masks(rng)
        evaluate.check_before(checked)
        prediction = evaluate(np.ones((1, d), dtype=bool))[0]
        chosen = [int(np.argmax(prediction))] if self.predicted else list(range(len(prediction)))
        left = options.budget - PREDICTIONS_OF_CHECKS
        if is_enumerated(d, options):
            fit, looks, effective = self._enumerate(evaluate, chosen), 1, 1.0
        else:
            fit, looks, effective = self._draw(evaluate, chosen, left, rng)
        evaluate.check_after(checked)
        certificates = self._certify(fit, looks)
        return WordCoefficients(
            self.words,
            fit,
            prediction[chosen],
            tuple(self.output.names[k] for k in chosen),
            certificates,
            self._is_settled(fit, certificates),
            effective,
            evaluate.spent,
            evaluate.distinct,
            evaluate.reading,
            evaluate.compared,
            evaluate.difference,
        )

    def _enumerate(self, evaluate: MaskEvaluator, chosen: list[int]) -> WordFit:
        alpha = self.options.alpha or 0.0
        if self.law is None:
            empty, full = evaluate(np.array([[False], [True]]))[:, chosen]
            r_squared = np.where(full != empty, 1.0, np.nan)
            rounding = FLOAT64_ROUNDING * np.maximum(np.abs(full), np.abs(empty))
            return WordFit((full - empty)[None], None, empty, r_squared, np.abs(full - empty) / 2, rounding)
        present = all_subsets(self.words.n_words)
        return fit_enumerated(self.law, present, evaluate(present)[:, chosen], subset_law(self.law, present), alpha)

    def _draw(
        self, evaluate: MaskEvaluator, chosen: list[int], budget: int, rng: np.random.Generator
    ) -> tuple[WordFit, int, float]:
        """Draw in rounds until the largest coefficients are settled."""
        assert self.law is not None  # noqa: S101  # a text of one word is enumerated
        law, options, d = self.law, self.options, self.words.n_words
        replicates = 32 if budget >= 1024 else 16 if budget >= 256 else 8
        several = options.tol != 0
        each = _round_sizes(budget // replicates, several)
        proposal, mixture, drawn = size_proposal(law), np.zeros(d), 0
        masks: list[Any] = []
        outputs: list[Floats] = []
        fit: WordFit | None = None
        effective = 1.0
        for look, draws in enumerate(each):
            new = draw_masks(proposal, replicates, draws, d, rng)
            outputs.append(evaluate(new)[:, chosen].reshape(replicates, draws, -1))
            masks.append(new.reshape(replicates, draws, d))
            mixture = (mixture * drawn + proposal * draws) / (drawn + draws)
            drawn += draws
            present = np.concatenate(masks, axis=1)
            sizes = present.sum(axis=2)
            weights = (law.size_law / mixture)[sizes]
            effective = float(weights.sum() ** 2 / (weights**2).sum() / weights.size)
            fit = fit_replicates(law, present, np.concatenate(outputs, axis=1), weights, options.alpha or 0.0)
            if look + 1 < len(each):
                if several and self._is_settled(fit, self._certify(fit, len(each))):
                    break
                proposal = size_proposal(law, sizes.reshape(-1), fit.squared_residuals)
        assert fit is not None  # noqa: S101  # there is a round
        return fit, len(each) if several else 1, effective

    def _certify(self, fit: WordFit, looks: int) -> tuple[Certificate, ...]:
        return tuple(
            certify(
                fit.values[:, k],
                None if fit.std_error is None else fit.std_error[:, k],
                level=self.options.level,
                freedom=fit.freedom,
                looks=looks,
                rounding=float(fit.rounding[k]),
            )
            for k in range(fit.values.shape[1])
        )

    def _is_settled(self, fit: WordFit, certificates: Sequence[Certificate]) -> bool:
        """Whether the largest coefficients of every output are settled, or all are known well enough."""
        if fit.std_error is None:
            return True
        tol = DEFAULT_TOL if self.options.tol is None else self.options.tol
        precise = fit.std_error.max(axis=0) <= tol * np.abs(fit.values).max(axis=0)
        if self.options.tol is not None:
            return bool(precise.all())
        wanted = min(DEFAULT_TOP if self.options.top is None else self.options.top, self.words.n_words)
        return all(p or c.certified >= wanted for p, c in zip(precise.tolist(), certificates, strict=True))


def _round_sizes(total: int, several: bool) -> list[int]:
    """Draws of each round: a first quarter, by which the rest is placed; or, where they may end early, each as many as all before it, and the first at least 4."""
    if not several:
        return [total // 4, total - total // 4] if total >= 16 else [total]
    rounds = ROUNDS
    while rounds > 1 and total < 4 * 2 ** (rounds - 1):
        rounds -= 1
    ends = [round(total / 2**k) for k in range(rounds - 1, -1, -1)]
    return [b - a for a, b in zip([0, *ends[:-1]], ends, strict=True)]
