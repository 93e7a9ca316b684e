"""Evaluating a model on a text with some of its words absent: each different text once, in batches, counted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.progress import timed_batches
from whybox.core.validation import check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, LimitError, ModelMismatchError, UnsupportedModelError
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.words.masked_texts import TextWriter
from whybox.methods.common.words.split import TextWords
from whybox.methods.common.words.text_model import TextModel
from whybox.methods.common.words.word_counts import MaskCounter, mask_counter
from whybox.models.remote import RemoteModel

__all__ = ["MaskEvaluator", "as_counter", "read_words"]

Masks = npt.NDArray[np.bool_]
MAX_BATCH_BYTES: Final = 2**26  # of the texts, or counts, of one call
TEXTS_CHECKED: Final = 6  # masked texts that are evaluated more than once
TEXTS_REPEATED: Final = 3  # of them that are evaluated again after the work
RELATIVE_ROUNDING: Final = 1e-5  # of the largest output: what single precision loses in another batch
READING_ROUNDING: Final = 1e-6  # of the largest output: between counts from masks and the whole pipeline


@final
class MaskEvaluator:
    """Evaluates a model on one text with some of its words absent, and remembers what it found.

    Args:
        words: the text. model: of texts. output: which outputs, on which scale.
        counter: counts words straight from masks; None: texts are written. why_strings: in words, why.
        batch_size: most texts of one call of the model; None: as many as fit into memory.
        max_evals: most predictions; None: no limit.

    Attributes:
        spent: predictions made so far, checks included. distinct: different texts among them.
        compared, difference: where words are counted from masks, texts on which the predictions were compared with those of the whole model, and the largest
            difference found.

    Raises:
        OptionError: `batch_size` or `max_evals` is no positive whole number.
    """

    def __init__(
        self,
        words: TextWords,
        model: TextModel,
        output: OutputSelection,
        *,
        counter: MaskCounter | None = None,
        why_strings: str = "",
        batch_size: int | None = None,
        max_evals: int | None = None,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("max_evals", max_evals)):
            if value is not None:
                check_whole_number(name, value)
        own = model.function.batch_size if isinstance(model.function, RemoteModel) else None
        self.words, self.model, self.output, self.counter = words, model, output, counter
        self._why_strings = why_strings
        self.batch_size, self.max_evals, self.spent = batch_size or own, max_evals, 0
        self.compared, self.difference = 0, 0.0
        self._write = TextWriter(words)
        self._known: dict[bytes, int] = {}
        self._output_of = np.empty(0, dtype=np.int64)  # of each known mask
        self._known_texts: dict[str, int] = {}
        self._outputs: Floats = np.empty((0, len(output.names)))

    @property
    def reading(self) -> str:
        """How texts are given to the model, in words."""
        if self.counter is None:
            return f"texts as strings ({self._why_strings})"
        return f"word counts from masks, held against the {self.model.kind} on masked texts"

    @property
    def distinct(self) -> int:
        """Number of different texts evaluated."""
        return len(self._outputs)

    def __call__(self, present: Masks) -> Floats:
        """Return the outputs for masks, (masks, outputs), evaluating each different text that is not known yet.

        Args:
            present: (masks, players), True where a word is there.

        Raises:
            LimitError: more predictions than `max_evals`. InputError, NonFiniteError: see :class:`TextModel`.
        """
        packed = np.packbits(present, axis=1)
        width, flat = packed.shape[1], packed.tobytes()
        known, before = self._known, len(self._known)
        index = np.array(
            [known.setdefault(flat[at : at + width], len(known)) for at in range(0, len(packed) * width, width)],
            dtype=np.int64,
        )
        if len(known) > before:
            highest = np.maximum.accumulate(np.concatenate([[before - 1], index]))
            self._evaluate_new(present[highest[1:] > highest[:-1]])
        return self._outputs[self._output_of[index]]

    def _evaluate_new(self, present: Masks) -> None:
        """Evaluate masks that are not known yet; some of them may give the same text."""
        if self.counter is not None:
            found, places = self._of_counts(present), np.arange(len(present)) + len(self._outputs)
        else:
            texts, known, before = self._write(present), self._known_texts, len(self._known_texts)
            places = np.array([known.setdefault(text, len(known)) for text in texts], dtype=np.int64)
            new = list(islice(known, before, None))
            found = self._of_texts(new) if new else self._outputs[:0]
        self._outputs = np.concatenate([self._outputs, found])
        self._output_of = np.concatenate([self._output_of, places])

    def _spend(self, count: int) -> None:
        if self.max_evals is not None and self.spent + count > self.max_evals:
            raise LimitError(
                f"{self.spent + count:,} predictions are needed for a text, more than ",
                Argument("max_evals", self.max_evals),
                " allows.",
            )
        self.spent += count

    def _batches(self, count: int, bytes_each: int) -> Iterator[slice]:
        size = min(self.batch_size or count, max(1, MAX_BATCH_BYTES // bytes_each))
        return timed_batches(
            count,
            description="texts with words left out",
            first_size=size,
            max_size=size,
            unit="texts",
            fixed_size=True,
        )

    def _of_texts(self, texts: list[str]) -> Floats:
        """Outputs of texts, as they are."""
        self._spend(len(texts))
        longest = 4 * len(self.words.text) + 64
        out = [self.model(texts[batch]) for batch in self._batches(len(texts), longest)]
        return self.output.select_predictions(np.concatenate(out))

    def _of_counts(self, present: Masks) -> Floats:
        assert self.counter is not None  # noqa: S101  # asked by the caller
        self._spend(len(present))
        out = []
        for batch in self._batches(len(present), 24 * (len(self.counter.columns) + 1)):
            rows = self.counter.matrix(present[batch])
            out.append(self.model.read_outputs(self.counter.model.predict(rows), rows.shape[0]))
        return self.output.select_predictions(np.concatenate(out))

    def checked_masks(self, seed: np.random.Generator) -> Masks:
        """Return masks for the checks: the full text, the empty one, and others."""
        share = seed.random((TEXTS_CHECKED, 1))
        share[:2, 0] = 1.0, 0.0
        return np.asarray(seed.random((TEXTS_CHECKED, self.words.n_words)) < share)

    def check_before(self, present: Masks) -> None:
        """Compare the outputs of some masked texts with those that the whole model returns for them in another batch.

        Raises:
            ModelMismatchError: counts from masks do not give what the pipeline predicts. UnsupportedModelError: the output for a text changes with the texts beside
                it, or from call to call.
        """
        outputs, written = self(present), self._write(present)
        texts = list(dict.fromkeys(written))
        at = [written.index(text) for text in texts]
        again = self._of_texts(texts[::-1])[::-1] if self.counter is not None else self._of_texts(texts[:2][::-1])[::-1]
        outputs = outputs[at][: len(again)]
        size = np.abs(outputs).max(axis=0)
        if self.counter is not None:
            self.compared, self.difference = len(texts), float(np.abs(outputs - again).max())
            wrong = np.abs(outputs - again) > READING_ROUNDING * size
            if wrong.any():
                worst = int(np.argmax(wrong.any(axis=1)))
                raise ModelMismatchError(
                    f"counting the words of a text with some left out gives other predictions than the pipeline itself ({outputs[worst][0]:.6g} and {again[worst][0]:.6g} for "
                    f"{texts[worst][:60]!r}). Pass a function instead, which is given the texts: lambda texts: model.predict_proba(texts)."
                )
        self._compare(outputs, again)

    def check_after(self, present: Masks) -> None:
        """Evaluate some texts again, after the work.

        Raises:
            UnsupportedModelError: the outputs differ from the first ones.
        """
        if self.counter is None:
            texts = list(dict.fromkeys(self._write(present)))[-TEXTS_REPEATED:]
            known = self._outputs[[self._known_texts[t] for t in texts]]
            self._compare(known, self._of_texts(texts))

    def _compare(self, outputs: Floats, again: Floats) -> None:
        size = np.abs(self._outputs).max(axis=0)
        wrong = np.abs(outputs - again) > RELATIVE_ROUNDING * size
        if wrong.any():
            one = int(np.argmax(wrong.any(axis=1)))
            raise UnsupportedModelError(
                f"the model's output for a text changes when it is evaluated again among other texts ({outputs[one][0]:.6g}, then {again[one][0]:.6g}), so what its words do is "
                "not defined. It draws at random, or reads the whole batch: fix the seed, or switch that off."
            )


def read_words(
    words: TextWords,
    model: TextModel,
    output: OutputSelection,
    *,
    seed: int = 0,
    batch_size: int | None = None,
    max_evals: int | None = None,
) -> MaskEvaluator:
    """Return what evaluates a model on a text with some words absent: from word counts straight from masks where the model can be read so, else as strings.

    Args:
        words, model, output, batch_size, max_evals: see :class:`MaskEvaluator`. seed: of the masked texts on which counts are compared.
    """
    counter = as_counter(words, model, seed)
    return MaskEvaluator(
        words,
        model,
        output,
        counter=None if isinstance(counter, str) else counter,
        why_strings=counter if isinstance(counter, str) else "",
        batch_size=batch_size,
        max_evals=max_evals,
    )


def as_counter(words: TextWords, model: TextModel, seed: int = 0) -> MaskCounter | str:
    """Return what counts words straight from masks, or why texts are written instead.

    Args:
        words: the text. model: of texts. seed: of the masked texts on which counts are compared.
    """
    read = model.counts
    return read if isinstance(read, str) else mask_counter(words, read, np.random.default_rng(seed))
