"""Texts that are explained, one by one: each with the model that is evaluated on it, checked before and after; and what is known of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.words.evaluate import MaskEvaluator, Masks, read_words
from whybox.methods.common.words.options import TextOptions
from whybox.methods.common.words.split import TextWords, number_of_text
from whybox.methods.common.words.text_model import TextModel, as_text_model, resolve_text_output

__all__ = ["ExplainedText", "ExplainedTexts", "TextEvaluation", "explain_each"]

OptionsT = TypeVar("OptionsT", bound=TextOptions)


@dataclass(frozen=True, eq=False, kw_only=True)
class ExplainedText:
    """What is known of one text, whatever the method.

    Attributes:
        words: the text and its words, in reading order, with the start and end of each.
        base, prediction: outputs for the text without any word, and for the whole text, (outputs,). label: names of the outputs explained.
        spent, distinct: predictions, and different texts among them. reading: how texts were given to the model.
        compared, difference: see :class:`MaskEvaluator`.
    """

    words: TextWords
    base: Floats
    prediction: Floats
    label: tuple[str, ...]
    spent: int
    distinct: int
    reading: str
    compared: int
    difference: float


RowT = TypeVar("RowT", bound=ExplainedText)


@final
@dataclass(frozen=True, eq=False)
class ExplainedTexts(Generic[RowT, OptionsT]):
    """Several texts that were explained.

    Attributes:
        texts: as given. rows: of each. options: as given. model: of texts.
        output: the outputs explained. is_predicted: whether each text has the one of them that is predicted for it.
    """

    texts: tuple[str, ...]
    rows: tuple[RowT, ...]
    options: OptionsT
    model: TextModel
    output: OutputSelection
    is_predicted: bool = False


@final
@dataclass(frozen=True, eq=False)
class TextEvaluation:
    """One text, and the outputs explained of it with some of its words absent.

    Attributes:
        words: the text. draw: what is drawn for it. base, prediction: outputs for the text without any word, and for the whole text, (outputs,).
    """

    words: TextWords
    draw: np.random.Generator
    base: Floats
    prediction: Floats
    _evaluate: MaskEvaluator
    _chosen: list[int]
    _checked: Masks

    def __call__(self, present: Masks) -> Floats:
        """Return the outputs explained for masks, (masks, outputs); see :class:`MaskEvaluator`."""
        return self._evaluate(present)[:, self._chosen]

    def finish(self) -> dict[str, Any]:
        """Evaluate some texts again, after the work, and return the fields of :class:`ExplainedText`.

        Raises:
            UnsupportedModelError: the outputs differ from the first ones.
        """
        evaluate = self._evaluate
        evaluate.check_after(self._checked)
        return {
            "words": self.words,
            "base": self.base,
            "prediction": self.prediction,
            "label": tuple(evaluate.output.names[k] for k in self._chosen),
            "spent": evaluate.spent,
            "distinct": evaluate.distinct,
            "reading": evaluate.reading,
            "compared": evaluate.compared,
            "difference": evaluate.difference,
        }


def explain_each(
    model: Any,
    texts: tuple[str, ...],
    split: Sequence[TextWords],
    options: OptionsT,
    explain: Callable[[int, TextEvaluation], RowT],
) -> ExplainedTexts[RowT, OptionsT]:
    """Explain texts one by one.

    Args:
        model: see :func:`whybox.methods.common.words.text_model.as_text_model`. texts: as given. split: the words of each.
        options: of the method. explain: the position of a text, and what evaluates it -> its explanation.

    Raises:
        InputError: the model refuses texts, or returns no numbers. OptionError: no such output or scale.
        ModelMismatchError: the pipeline's vectorizer is not what it seems. UnsupportedModelError: outputs change from call to call.
    """
    read = as_text_model(model, texts[0], response_method=options.response_method)
    output, predicted = resolve_text_output(read, options.output, options.scale)
    spent = [read.probed, *[0] * (len(split) - 1)]
    rows = [
        explain(row, _begin(words, read, output, options, predicted=predicted, spent=spent[row]))
        for row, words in enumerate(split)
    ]
    return ExplainedTexts(texts, tuple(rows), options, read, output, predicted)


def _begin(
    words: TextWords, model: TextModel, output: OutputSelection, options: TextOptions, *, predicted: bool, spent: int
) -> TextEvaluation:
    """What evaluates a text, on which the model was called `spent` times, compared with the whole model on some masks."""
    draw = np.random.default_rng([options.seed, number_of_text(words.text)])
    evaluate = read_words(
        words, model, output, seed=options.seed, batch_size=options.batch_size, max_evals=options.budget
    )
    evaluate.spent += spent
    checked = evaluate.checked_masks(draw)
    evaluate.check_before(checked)
    count = words.n_words
    base, prediction = evaluate(np.array([[False] * count, [True] * count]))  # both are among those checked
    chosen = [int(np.argmax(prediction))] if predicted else list(range(len(prediction)))
    return TextEvaluation(words, draw, base[chosen], prediction[chosen], evaluate, chosen, checked)
