"""LIME of texts: what each word adds to a prediction, in a linear model of texts with some words left out.

The law is lime's: see :mod:`whybox.methods.lime.removal_law`. Coefficients are those of infinitely many samples; they are exact where all ways to leave out words fit
into the budget, and have standard errors from independent replicates otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np

from whybox.core.validation import check_positive, check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.methods.common.output import EVERY_OUTPUT, OutputSelection, resolve_output
from whybox.methods.common.words.evaluate import MaskEvaluator, as_counter
from whybox.methods.common.words.split import TextWords, as_texts, split_text
from whybox.methods.common.words.text_model import TextModel, as_text_model
from whybox.methods.lime.certify import Certificate, certify
from whybox.methods.lime.removal_draws import all_subsets, draw_masks, size_proposal, subset_law
from whybox.methods.lime.removal_fit import WordFit, fit_enumerated, fit_replicates
from whybox.methods.lime.removal_law import KERNEL_WIDTH, RemovalLaw
from whybox.numerics.rounding import FLOAT64_ROUNDING
from whybox.numerics.statistics import critical_value

__all__ = ["MAX_EVALS", "PREDICTED", "LocalTexts", "TextSettings", "WordCoefficients", "explain_texts"]

MAX_EVALS: Final = 2000  # predictions a text
PREDICTED: Final = "predicted"  # the output that the model predicts for each text
DEFAULT_TOP: Final = 5
DEFAULT_TOL: Final = 0.02  # of the largest coefficient
ROUNDS: Final = 4  # of draws, each as many as all before it
PREDICTIONS_OF_CHECKS: Final = (
    16  # kept for checks and the full text, so that draws do not depend on how the model is read
)
MIN_DRAWS: Final = 64  # of a text whose words are not enumerated


@final
@dataclass(frozen=True, kw_only=True)
class TextSettings:
    r"""How texts are explained.

    Attributes:
        output, scale: as of ``whybox.explain``; ``output="predicted"``: the class that the model predicts for each text.
        top: how many of the largest coefficients are to be settled before draws stop; None: 5.
        tol: stop when every standard error is at most this share of the largest coefficient, and not before; 0: `max_evals` is spent. None: when the `top` are
            settled, or errors are under 0.02 of it.
        tokenizer: what words are, see :func:`whybox.methods.common.words.split.split_text`: None for what stands between non-word characters.
        by_position: whether each occurrence of a word counts alone. mask_string: what replaces an absent word; None: it is left out.
        kernel_width: of lime, for cosine distances times 100. alpha: lime's ridge penalty (lime itself takes 1); None: none.
        max_evals: most predictions of a text; None: 2,000. level: of confidence. response_method: method of an estimator to call.
        batch_size: most texts of one call; None: all. seed: of the draws.
    """

    output: Any = None
    scale: Any = None
    top: int | None = None
    tol: float | None = None
    tokenizer: Any = None
    by_position: bool = False
    mask_string: str | None = None
    kernel_width: float | None = None
    alpha: float | None = None
    max_evals: int | None = None
    level: float = 0.95
    response_method: str | None = None
    batch_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("top", "batch_size", "max_evals"):
            if getattr(self, name) is not None:
                check_whole_number(name, getattr(self, name))
        if self.kernel_width is not None:
            check_positive("kernel_width", self.kernel_width)
        for name in ("alpha", "tol"):
            if getattr(self, name) is not None and getattr(self, name) != 0:
                check_positive(name, getattr(self, name))
        check_whole_number("seed", self.seed, 0)
        critical_value(self.level)

    @property
    def budget(self) -> int:
        """Most predictions of a text."""
        return MAX_EVALS if self.max_evals is None else self.max_evals


@final
@dataclass(frozen=True, eq=False)
class WordCoefficients:
    """A local linear model of one text.

    Attributes:
        words: the text and its words, in reading order, with the start and end of each. fit: coefficients, (words, outputs), and how well they fit.
        prediction: of the full text, (outputs,). label: names of the outputs explained.
        certificates: of each output. converged: whether `top` of each output are settled, or errors as small as asked.
        effective_size: of the draws under the weighted law, as a share of their number; 1 where all masks were enumerated.
        spent, distinct: predictions, and different texts among them. reading: how texts were given to the model. notes: for the evidence.
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
    notes: tuple[str, ...] = ()

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
        texts: as given. rows: of each. settings: as given. model: of texts.
        output: the outputs explained. is_predicted: whether each text has the one of them that is predicted for it.
    """

    texts: tuple[str, ...]
    rows: tuple[WordCoefficients, ...]
    settings: TextSettings
    model: TextModel
    output: OutputSelection
    is_predicted: bool = False


def explain_texts(model: Any, texts: str | Sequence[str], settings: TextSettings | None = None) -> LocalTexts:
    """Fit a local linear model to each text.

    Args:
        model: see :func:`whybox.methods.common.words.text_model.as_text_model`. texts: a text, or a list of texts. settings: None: all defaults.

    Raises:
        InputError: a row is no text or has no words; the model refuses texts, or returns no numbers. OptionError: see :class:`TextSettings`.
        ModelMismatchError: the pipeline's vectorizer is not what it seems. UnsupportedModelError: outputs change from call to call.
        LimitError: `max_evals` is too small.
    """
    settings = TextSettings() if settings is None else settings
    rows = as_texts(texts)
    split = [
        split_text(
            text,
            settings.tokenizer,
            by_position=settings.by_position,
            mask_string=settings.mask_string,
            row=row,
        )
        for row, text in enumerate(rows)
    ]
    laws = [_law(words, settings) for words in split]
    _check_budget(split, settings)
    read = as_text_model(model, rows[0], response_method=settings.response_method)
    predicted = isinstance(settings.output, str) and settings.output == PREDICTED
    if predicted and PREDICTED in (*read.outputs.names, read.outputs.negative_class):
        predicted = False
    output = resolve_output(read.outputs, EVERY_OUTPUT if predicted else settings.output, settings.scale)
    explained = [
        _TextProblem(row, words, law, read, output, settings, predicted).run()
        for row, (words, law) in enumerate(zip(split, laws, strict=True))
    ]
    return LocalTexts(rows, tuple(explained), settings, read, output, predicted)


def _law(words: TextWords, settings: TextSettings) -> RemovalLaw | None:
    """The law of removals; None for a text of one word, which has only two states."""
    width = KERNEL_WIDTH if settings.kernel_width is None else float(settings.kernel_width)
    return RemovalLaw(words.n_words, width) if words.n_words > 1 else None


def _check_budget(split: Sequence[TextWords], settings: TextSettings) -> None:
    for row, words in enumerate(split):
        needed = min(2**words.n_words if words.n_words < 60 else MIN_DRAWS, MIN_DRAWS) + PREDICTIONS_OF_CHECKS
        if settings.budget < needed:
            raise OptionError(
                Argument("max_evals", settings.budget),
                f" is too small: row {row} has {words.n_words:,} words and needs {needed} predictions at least.",
            )


@final
@dataclass
class _TextProblem:
    """One text, its law and its model."""

    row: int
    words: TextWords
    law: RemovalLaw | None
    model: TextModel
    output: OutputSelection
    settings: TextSettings
    predicted: bool
    notes: list[str] = field(default_factory=list)

    def run(self) -> WordCoefficients:
        settings, d = self.settings, self.words.n_words
        rng = np.random.default_rng([settings.seed, self.row])
        counter = as_counter(self.words, self.model, settings.seed)
        reading = (
            f"texts as strings ({counter})"
            if isinstance(counter, str)
            else f"word counts from masks, held against the {self.model.kind} on masked texts"
        )
        evaluate = MaskEvaluator(
            self.words,
            self.model,
            self.output,
            counter=None if isinstance(counter, str) else counter,
            batch_size=settings.batch_size,
            max_evals=settings.budget,
        )
        checked = evaluate.checked_masks(rng)
        evaluate.check_before(checked)
        prediction = evaluate(np.ones((1, d), dtype=bool))[0]
        chosen = [int(np.argmax(prediction))] if self.predicted else list(range(len(prediction)))
        left = settings.budget - PREDICTIONS_OF_CHECKS
        if self.law is None or (d < 60 and 2**d <= left):
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
            reading,
            tuple(self.notes),
        )

    def _enumerate(self, evaluate: MaskEvaluator, chosen: list[int]) -> WordFit:
        alpha = self.settings.alpha or 0.0
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
        law, settings, d = self.law, self.settings, self.words.n_words
        replicates = 32 if budget >= 1024 else 16 if budget >= 256 else 8
        several = settings.tol != 0
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
            fit = fit_replicates(law, present, np.concatenate(outputs, axis=1), weights, settings.alpha or 0.0)
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
                level=self.settings.level,
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
        tol = DEFAULT_TOL if self.settings.tol is None else self.settings.tol
        precise = fit.std_error.max(axis=0) <= tol * np.abs(fit.values).max(axis=0)
        if self.settings.tol is not None:
            return bool(precise.all())
        wanted = min(DEFAULT_TOP if self.settings.top is None else self.settings.top, self.words.n_words)
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
