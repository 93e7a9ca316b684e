"""``lime.lime_text``: words of a text, answered by :func:`whybox.lime`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.compat.lime.arguments import penalty_of, refuse_distance
from whybox.compat.lime.explanation import DomainMapper, Explanation, LocalNumbers, checked_labels
from whybox.compat.lime.local_explainer import LocalExplainer, LocalQuestion
from whybox.compat.refused import refuse
from whybox.errors import Argument, InputError, OptionError
from whybox.explainers import Lime
from whybox.explanation.explanation import Explanation as Answer
from whybox.methods.common.words.masked_texts import TextWriter
from whybox.methods.common.words.split import split_text

__all__ = ["IndexedCharacters", "IndexedString", "LimeTextExplainer", "TextDomainMapper"]

MASK_STRING: Final = "UNKWORDZ"  # of lime, where each place counts by itself
MASK_CHARACTER: Final = chr(0)


class IndexedString:
    """A text in words, as whybox splits it; arguments are those of lime.

    Args:
        raw_string: the text. split_expression: a regular expression of what separates words, or a function that returns them. bow: whether a word is one feature wherever it
            stands. mask_string: what replaces an absent word where `bow` is False.

    Raises:
        InputError: a text without words. OptionError: a separator that is none.
    """

    characters = False

    def __init__(
        self,
        raw_string: str,
        split_expression: str | Callable[[str], Sequence[str]] = r"\W+",
        bow: bool = True,
        mask_string: str | None = None,
    ) -> None:
        self.raw, self.bow = raw_string, bow
        self.mask_string = (MASK_CHARACTER if self.characters else MASK_STRING) if mask_string is None else mask_string
        tokenizer = "characters" if self.characters else _tokenizer(split_expression)
        self._words = split_text(
            raw_string, tokenizer, by_position=not bow, mask_string=None if bow else self.mask_string
        )
        self.inverse_vocab = list(self._words.words)

    def raw_string(self) -> str:
        """Return the text."""
        return self.raw

    def num_words(self) -> int:
        """Return the number of features: different words, or places."""
        return self._words.n_words

    def word(self, id_: int) -> str:
        """Return the word of a feature."""
        return self._words.words[id_]

    def string_position(self, id_: int) -> npt.NDArray[np.int64]:
        """Return where the word of a feature begins in the text, for each time that it stands there, in characters."""
        places = self._words.occurrences
        return np.asarray(places[places[:, 0] == self._words.spans[id_, 0], 1], dtype=np.int64)

    def inverse_removing(self, words_to_remove: Sequence[int]) -> str:
        """Return the text without the words of some features."""
        present = np.ones((1, self.num_words()), dtype=bool)
        present[0, [int(i) for i in words_to_remove]] = False
        return TextWriter(self._words)(present)[0]


@final
class IndexedCharacters(IndexedString):
    """A text in characters; arguments are those of lime.

    Args:
        raw_string, bow, mask_string: as of :class:`IndexedString`.
    """

    characters = True

    def __init__(self, raw_string: str, bow: bool = True, mask_string: str | None = None) -> None:
        super().__init__(raw_string, bow=bow, mask_string=mask_string)


@final
class TextDomainMapper(DomainMapper):
    """Names features by their words.

    Attributes:
        indexed_string: the text in words.
    """

    def __init__(self, indexed_string: IndexedString) -> None:
        self.indexed_string = indexed_string

    def map_exp_ids(
        self, exp: list[tuple[int, float]], positions: bool = False, **kwargs: Any
    ) -> list[tuple[Any, float]]:
        """Return ``[(word, weight)]``; with `positions` the word is followed by where it stands, ``good_4-18``."""
        del kwargs
        text = self.indexed_string
        if not positions:
            return [(text.word(j), weight) for j, weight in exp]
        return [(f"{text.word(j)}_{'-'.join(map(str, text.string_position(j)))}", weight) for j, weight in exp]


@final
class LimeTextExplainer(LocalExplainer):
    """Explains texts; arguments are those of lime.

    Args:
        split_expression: a regular expression of what separates words, or a function that returns the words of a text. bow: whether a word counts once, wherever it stands.
        mask_string: what replaces an absent word where `bow` is False. char_level: whether characters are features.
        random_state: a whole number, or a RandomState that one is drawn from. None: 0. Others as in lime.

    Raises:
        OptionError: an argument that is not honoured or not known.
    """

    def __init__(
        self,
        kernel_width: float = 25,
        kernel: Any = None,
        verbose: bool = False,
        class_names: Any = None,
        feature_selection: str = "auto",
        split_expression: Any = r"\W+",
        bow: bool = True,
        mask_string: str | None = None,
        random_state: Any = None,
        char_level: bool = False,
    ) -> None:
        super().__init__(
            kernel=kernel,
            kernel_width=kernel_width,
            verbose=verbose,
            feature_selection=feature_selection,
            random_state=random_state,
        )
        if bow and mask_string is not None:
            refuse(
                "mask_string with bow=True",
                "lime uses it with bow=False alone. Leave it out, or call wb.lime(model, texts, mask_string=...).",
            )
        self.char_level = char_level
        self.class_names = None if class_names is None else [str(name) for name in class_names]
        self.split_expression, self.bow, self.mask_string = split_expression, bow, mask_string

    mode = "classification"

    def explain_instance(
        self,
        text_instance: str,
        classifier_fn: Any,
        labels: Iterable[int] = (1,),
        top_labels: int | None = None,
        num_features: int = 10,
        num_samples: int = 5000,
        distance_metric: str = "cosine",
        model_regressor: Any = None,
    ) -> Explanation:
        """Explain one text.

        Args:
            text_instance: the text. classifier_fn: a list of texts -> (n, classes). A method of a Pipeline is recognised, and its word counts are read.
            labels, top_labels, num_features, num_samples, model_regressor: as of ``LimeTabularExplainer.explain_instance``.

        Raises:
            OptionError: an argument that is not honoured. LimitError: `num_samples` are too few. Others as :func:`whybox.lime`.
        """
        if not isinstance(text_instance, str):
            raise InputError(Argument("text_instance"), f" must be a text, not a {type(text_instance).__name__}.")
        question = LocalQuestion(
            labels=tuple(labels),
            top_labels=top_labels,
            num_features=num_features,
            num_samples=num_samples,
            distance_metric=distance_metric,
            model_regressor=model_regressor,
        )
        return self.explain_table([text_instance], classifier_fn, question)[1][0]

    def explain_table(
        self, texts: Sequence[str], classifier_fn: Any, question: LocalQuestion
    ) -> tuple[Answer, list[Explanation]]:
        """Return the answer of :func:`whybox.lime` for several texts, and its rows as lime has them; errors are those of :meth:`explain_instance`."""
        refuse_distance(question.distance_metric, "cosine")
        if not callable(classifier_fn):
            raise OptionError(
                f"classifier_fn must be a function of a list of texts, such as pipeline.predict_proba, not a {type(classifier_fn).__name__}."
            )
        split = [self._indexed(text) for text in texts]
        explainer = Lime(
            classifier_fn,
            output="all",
            kernel_width=self.kernel_width,
            alpha=penalty_of(question.model_regressor),
            top=max(1, question.num_features),
            max_evals=question.num_samples,
            seed=self.random_state,
            tokenizer="characters" if self.char_level else _tokenizer(self.split_expression),
            by_position=not self.bow,
            mask_string=None if self.bow else split[0].mask_string,
        )
        answer = explainer(list(texts))
        return answer, [self._explanation(answer[i], words, question) for i, words in enumerate(split)]

    def _indexed(self, text: str) -> IndexedString:
        if self.char_level:
            return IndexedCharacters(text, bow=self.bow, mask_string=self.mask_string)
        return IndexedString(text, self.split_expression, bow=self.bow, mask_string=self.mask_string)

    def _explanation(self, answer: Answer, words: IndexedString, question: LocalQuestion) -> Explanation:
        prediction = np.atleast_1d(np.asarray(answer.prediction))
        names = self.class_names or [str(k) for k in range(len(prediction))]
        found = Explanation(TextDomainMapper(words), "classification", names, self.random_state)
        found.explanation, found.predict_proba = answer, prediction
        chosen = checked_labels(question.labels, question.top_labels, len(prediction), prediction)
        self._fill(found, LocalNumbers.of_row(answer), chosen, question.top_labels, question.num_features)
        return found


def _tokenizer(split_expression: Any) -> Any:
    """What :func:`whybox.lime` takes for lime's separator; its default is the same."""
    return None if split_expression == r"\W+" else split_expression
