"""What explainers of texts share: a model that is read at the first call, and options."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from whybox.errors import Argument, InputError, ModelMismatchError
from whybox.explanation.explanation import Explanation
from whybox.methods.common.options import make_options
from whybox.methods.common.words.evaluate import RELATIVE_ROUNDING
from whybox.methods.common.words.explained import ExplainedTexts
from whybox.methods.common.words.option_names import OptionNames
from whybox.methods.common.words.options import TextOptions
from whybox.methods.common.words.text_model import (
    TextModel,
    refuse_model_of_tables,
    refuse_no_texts,
    takes_only_texts,
    takes_tables,
)
from whybox.methods.common.words.tokenized import is_column_of_texts

__all__ = ["TextExplainer", "explainer_without_background", "refuse_texts_beside_background"]

OptionsT = TypeVar("OptionsT", bound=TextOptions)


class TextExplainer(Generic[OptionsT]):
    """Explains texts word by word. The model is read at the first call, and asked at each later one whether it is still the same.

    Args:
        model: takes a list of texts; see :func:`whybox.methods.common.words.text_model.as_text_model`. options: of texts.
        name: of the explainer, for messages; None: that of the class.
    """

    of_tables: ClassVar[str]  # what a background is for, as the end of a message

    def __init__(self, model: Any, options: OptionsT, name: str | None = None) -> None:
        self.model, self.options = model, options
        self._name = type(self).__name__ if name is None else name
        self._read: TextModel | None = None
        self._first: ExplainedTexts[Any, OptionsT] | None = None  # a text of the first call

    def __call__(self, texts: Any) -> Explanation:
        """Explain a text, or a list, array or column of texts.

        Raises:
            ModelMismatchError: the model is not the one of the first call. Others: see whybox.errors; each message says what to do.
        """
        self._refuse_tables(texts)
        began = time.perf_counter()
        self._check_same()
        found = self._explain(self.model if self._read is None else self._read, texts)
        if self._read is None:
            self._read, self._first = found.model, replace(found, texts=found.texts[:1], rows=found.rows[:1])
        return self._result(found, time.perf_counter() - began)

    def plan(self, texts: Any) -> Any:
        """Say how texts would be explained, and what that costs at most.

        Raises:
            WhyboxError: as the call itself, but for what only its answer shows.
        """
        self._refuse_tables(texts)
        return self._plan(texts)

    def _explain(self, model: Any, texts: Any) -> ExplainedTexts[Any, OptionsT]:
        raise NotImplementedError

    def _result(self, found: ExplainedTexts[Any, OptionsT], seconds: float) -> Explanation:
        raise NotImplementedError

    def _plan(self, texts: Any) -> Any:
        raise NotImplementedError

    def _refuse_tables(self, texts: Any) -> None:
        if not is_column_of_texts(texts):
            refuse_no_texts(texts)
            raise InputError(
                f"this explainer has no background, so it explains texts: pass a text or a list of texts. For the rows of a table, {self.of_tables}: give it rows like "
                "those of training, ",
                Argument("background", example="X_train"),
                ".",
            )
        refuse_model_of_tables(self.model)

    def _check_same(self) -> None:
        """Refuse a model that was trained again, or answers otherwise, since it was read."""
        if self._first is None or self._read is None:
            return
        text, row, output = self._first.texts[0], self._first.rows[0], self._first.output
        now = output.select_predictions(self._read([text]))[0, [output.names.index(name) for name in row.label]]
        if (np.abs(now - row.prediction) > RELATIVE_ROUNDING * np.abs([row.prediction, row.base]).max()).any():
            raise ModelMismatchError(
                f"the model answers otherwise than when this explainer read it ({row.prediction[0]:.6g}, then {now[0]:.6g} for {text[:60]!r}). Make a new explainer."
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return the model and the options; what was read of the model is read again."""
        return {**self.__dict__, "_read": None, "_first": None}

    def __repr__(self) -> str:
        return f"{self._name}({getattr(self.model, '__name__', type(self.model).__name__)}, of texts)"


ExplainerT = TypeVar("ExplainerT", bound=TextExplainer[Any])


def explainer_without_background(
    make: Callable[[Any, Any], ExplainerT],
    kind: type[TextOptions],
    names: OptionNames,
    model: Any,
    options: Any,
    given: Mapping[str, Any],
) -> ExplainerT | None:
    """Return the explainer of texts, where no background was given; None where the options or the model are of tables, which need one.

    Args:
        make: model, options -> the explainer. kind: dataclass of the options. names: which options are of texts, and which of tables.
        model, options, given: as they came.

    Raises:
        OptionError: an option that texts do not have, or a value that is not known.
    """
    if isinstance(options, kind):
        return make(model, make_options(kind, options, given))
    if options is not None or takes_tables(model):
        return None
    if takes_only_texts(model):
        names.check_for_texts(given)
    elif not names.fits_texts(given):
        return None
    return make(model, make_options(kind, None, given))


def refuse_texts_beside_background(X: Any, name: str) -> None:
    """Refuse texts, where an explainer has a background; `name`: of the explainer.

    Raises:
        InputError: these are texts.
    """
    if is_column_of_texts(X):
        raise InputError(
            f"these are texts, and this explainer has a background, so it explains rows of a table. For texts make one without: {name}(model)."
        )
