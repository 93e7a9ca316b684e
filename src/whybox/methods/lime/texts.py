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
from whybox.methods.common.words.explained import ExplainedText, ExplainedTexts, TextEvaluation, explain_each
from whybox.methods.common.words.options import PREDICTIONS_OF_CHECKS
from whybox.methods.common.words.split import TextWords, as_texts, split_texts
from whybox.methods.lime.certify import Certificate, certify
from whybox.methods.lime.removal_draws import all_subsets, draw_masks, size_proposal, subset_law
from whybox.methods.lime.removal_fit import WordFit, fit_enumerated, fit_replicates
from whybox.methods.lime.removal_law import KERNEL_WIDTH, RemovalLaw
from whybox.methods.lime.text_options import LimeTextOptions
from whybox.numerics.rounding import FLOAT64_ROUNDING

__all__ = ["LocalTexts", "WordCoefficients", "explain_texts", "is_enumerated", "most_predictions", "words_of_texts"]

DEFAULT_TOP: Final = 5
ROUNDS: Final = 4  # of draws, each as many as all before it
MIN_DRAWS: Final = 64  # of a text whose words are not enumerated


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class WordCoefficients(ExplainedText):
    """A local linear model of one text.

    Attributes:
        fit: coefficients, (words, outputs), and how well they fit.
        certificates: of each output. converged: whether `top` of each output are settled, or errors as small as asked.
        effective_size: of the draws under the weighted law, as a share of their number; 1 where all masks were enumerated.
    """

    fit: WordFit
    certificates: tuple[Certificate, ...]
    converged: bool
    effective_size: float

    @property
    def local_prediction(self) -> Floats:
        """What the linear model says of the full text, (outputs,)."""
        return np.asarray(self.fit.intercept + self.fit.values.sum(axis=0))

    @property
    def gap(self) -> Floats:
        """The local prediction less the model's, (outputs,)."""
        return np.asarray(self.local_prediction - self.prediction)


LocalTexts = ExplainedTexts[WordCoefficients, LimeTextOptions]


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
    return explain_each(model, rows, split, options, lambda row, text: _TextProblem(text, laws[row], options).run())


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
    """One text that is evaluated, and its law."""

    text: TextEvaluation
    law: RemovalLaw | None
    options: LimeTextOptions

    def run(self) -> WordCoefficients:
        if is_enumerated(self.text.words.n_words, self.options):
            fit, looks, effective = self._enumerate(), 1, 1.0
        else:
            fit, looks, effective = self._draw(self.options.budget - PREDICTIONS_OF_CHECKS)
        certificates = self._certify(fit, looks)
        return WordCoefficients(
            **self.text.finish(),
            fit=fit,
            certificates=certificates,
            converged=self._is_settled(fit, certificates),
            effective_size=effective,
        )

    def _enumerate(self) -> WordFit:
        text, alpha = self.text, self.options.alpha or 0.0
        if self.law is None:
            empty, full = text.base, text.prediction
            r_squared = np.where(full != empty, 1.0, np.nan)
            rounding = FLOAT64_ROUNDING * np.maximum(np.abs(full), np.abs(empty))
            return WordFit((full - empty)[None], None, empty, r_squared, np.abs(full - empty) / 2, rounding)
        present = all_subsets(text.words.n_words)
        return fit_enumerated(self.law, present, text(present), subset_law(self.law, present), alpha)

    def _draw(self, budget: int) -> tuple[WordFit, int, float]:
        """Draw in rounds until the largest coefficients are settled."""
        assert self.law is not None  # noqa: S101  # a text of one word is enumerated
        law, options, d = self.law, self.options, self.text.words.n_words
        replicates = 32 if budget >= 1024 else 16 if budget >= 256 else 8
        several = options.tol != 0
        each = _round_sizes(budget // replicates, several)
        proposal, mixture, drawn = size_proposal(law), np.zeros(d), 0
        masks: list[Any] = []
        outputs: list[Floats] = []
        fit: WordFit | None = None
        effective = 1.0
        for look, draws in enumerate(each):
            new = draw_masks(proposal, replicates, draws, d, self.text.draw)
            outputs.append(self.text(new).reshape(replicates, draws, -1))
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
        precise = fit.std_error.max(axis=0) <= self.options.allowed_error * np.abs(fit.values).max(axis=0)
        if self.options.tol is not None:
            return bool(precise.all())
        wanted = min(DEFAULT_TOP if self.options.top is None else self.options.top, self.text.words.n_words)
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
