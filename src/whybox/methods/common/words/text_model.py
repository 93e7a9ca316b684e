"""Models that take texts: functions of a list of strings, scikit-learn Pipelines that begin with a vectorizer, text-classification pipelines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from whybox.core.library_calls import first_line, suppress_warnings
from whybox.data.table import Floats
from whybox.errors import Argument, EmptyDataError, InputError, NonFiniteError, UnsupportedModelError, WhyboxError
from whybox.methods.common.output import EVERY_OUTPUT, PREDICTED, OutputSelection, resolve_output
from whybox.models.base import Model
from whybox.models.blackbox import prediction_method, probe_outputs
from whybox.models.bound_method import bound_method, gives_labels
from whybox.models.call_outputs import as_outputs
from whybox.models.links import Outputs
from whybox.models.registry import takes_texts, word_counts
from whybox.models.word_counts import WordCountModel

__all__ = [
    "TextModel",
    "as_text_model",
    "refuse_model_of_tables",
    "refuse_model_of_texts",
    "refuse_no_texts",
    "resolve_text_output",
    "takes_only_texts",
    "takes_tables",
]


@final
@dataclass(frozen=True, eq=False)
class TextModel:
    """A model of texts, known by its outputs.

    Attributes:
        function: list of texts -> what the model returns.
        outputs: names and units of its outputs. kind: the model in words.
        labels: of a function that returns a dict for each text, the labels in the order of `outputs`; None: it returns numbers.
        second_column: whether the outputs are the two columns of a binary classifier, of which the second is kept.
        estimator, method: of a method of an estimator, which; else None.
        library: package of the model. notes: for the evidence. probed: how often it was called on a text, to learn what it returns.
    """

    function: Callable[[list[str]], Any]
    outputs: Outputs
    kind: str
    labels: tuple[str, ...] | None = None
    second_column: bool = False
    estimator: Any = None
    method: str | None = None
    library: str = "numpy"
    notes: tuple[str, ...] = ()
    probed: int = 1

    @cached_property
    def counts(self) -> WordCountModel | str:
        """What counts words in place of the first step, or why texts are written instead."""
        if self.estimator is None or self.method is None:
            return "the model is a function of texts"
        return word_counts(self.estimator, self.method)

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Return the outputs for texts, (texts, outputs).

        Raises:
            InputError: the model refuses the texts, or returns something else than numbers for each. NonFiniteError: NaN or infinity.
        """
        return self.read_outputs(call_model(self.function, list(texts), self.kind), len(texts))

    def read_outputs(self, returned: Any, count: int) -> Floats:
        """Return what the model returned for so many texts as numbers, (texts, outputs)."""
        if self.labels is not None:
            out = _label_scores(returned, self.labels, count)
        else:
            out = as_outputs(returned, count)[:, 1 if self.second_column else 0 :]
        if out.shape[1] != len(self.outputs.names):
            raise InputError(
                f"the model returned {out.shape[1]} outputs for a text after {len(self.outputs.names)} for another one."
            )
        if not np.isfinite(out).all():
            raise NonFiniteError(
                f"the {self.kind} returned NaN or infinity for a text with some words left out. Make it return numbers for every text, an empty one too."
            )
        return out


def call_model(function: Callable[[list[str]], Any], texts: list[str], kind: str) -> Any:
    """Call a model on texts.

    Raises:
        InputError: it raises an error itself.
    """
    try:
        with suppress_warnings():
            return function(texts)
    except WhyboxError:
        raise
    except Exception as error:
        raise InputError(
            f"the {kind} raised {type(error).__name__} for a list of {len(texts)} texts: {first_line(error)}. It must take a list of texts, with some or all words left out, "
            "and return one number (or several) for each. If it takes no empty text, say what stands for an absent word, ",
            Argument("mask_string", example="..."),
            ".",
        ) from error


def takes_tables(model: Any) -> bool:
    """Return whether a model is known to take tables: a file, a model that was read, or an estimator that counted columns in training."""
    return isinstance(model, (Model, str, Path)) or hasattr(_estimator_of(model), "n_features_in_")


def takes_only_texts(model: Any) -> bool:
    """Return whether a model, or the estimator that it is a method of, is known to take texts, and no tables."""
    return takes_texts(_estimator_of(model))


def _estimator_of(model: Any) -> Any:
    """The estimator of a bound method; any other model itself."""
    bound = bound_method(model)
    return model if bound is None else bound.estimator


def refuse_model_of_tables(model: Any) -> None:
    """Refuse a model that is known to take tables.

    Raises:
        InputError: it is one.
    """
    if takes_tables(model):
        name = f"the file {Path(model).name}" if isinstance(model, (str, Path)) else type(model).__name__
        raise InputError(
            f"these are texts, and the model ({name}) takes the columns of a table. Pass the whole Pipeline, whose first step makes numbers of texts, or a function of a list "
            "of texts; or pass rows as a table."
        )


def refuse_no_texts(X: Any) -> None:
    """Refuse an empty list or column of texts, and bytes.

    Raises:
        EmptyDataError: it is empty. InputError: it is, or holds, bytes.
    """
    is_column = isinstance(X, (list, tuple)) or (isinstance(X, np.ndarray) and X.ndim == 1)
    if isinstance(X, bytes) or (is_column and any(isinstance(text, bytes) for text in X)):
        raise InputError("these are bytes, and texts are strings; decode them: [text.decode('utf-8') for text in X].")
    if hasattr(X, "__len__") and not hasattr(X, "columns") and len(X) == 0:
        raise EmptyDataError("there are no texts: X is empty.")


def refuse_model_of_texts(model: Any, X: Any = None) -> None:
    """Refuse a model that is known to take texts and no table.

    Args:
        model: any model. X: what it is to explain, where that is known.

    Raises:
        InputError: it is one, or X is bytes. EmptyDataError: it is one, and X is an empty list or column.
    """
    if takes_only_texts(model):
        refuse_no_texts(X)
        raise InputError(
            f"{type(_estimator_of(model)).__name__} takes texts, and this is a table. Pass the texts alone, as a list or as the column that holds them: "
            "X['review']. They need no background."
        )


def as_text_model(model: Any, text: str, *, response_method: str | None = None) -> TextModel:
    """Return a model of texts; it is evaluated on one text, to learn what it returns.

    Args:
        model: a function of a list of texts; an estimator or Pipeline that takes texts, or its ``predict_proba``, ``decision_function`` or ``predict``; a function
            that returns, for each text, the list ``[{"label": ..., "score": ...}, ...]`` of all its classes, as text-classification pipelines of transformers do.
            A model of texts that was read is returned as it is.
        text: any text. response_method: method of an estimator to call; None: the first of these three that it has.

    Raises:
        UnsupportedModelError: nothing here can be called, or it returns labels of classes and no numbers. OptionError: no such method.
        InputError: it refuses the text; see :class:`TextModel`.
    """
    if isinstance(model, TextModel):
        return model
    if isinstance(model, type):
        raise UnsupportedModelError(f"{model.__name__} is a class, not a fitted model; pass an instance after fit.")
    bound = bound_method(model)
    estimator, chosen = (model, response_method) if bound is None else (bound.estimator, bound.name)
    name = getattr(model, "__name__", type(model).__name__)
    if _is_pipeline_of_transformers(model) and response_method is None:  # its predict returns the best label only
        return _function_model(_AllLabels(model), name, text)
    method = prediction_method(estimator, chosen)
    if method is None:
        return _function_model(model, name, text)
    if method == "predict" and gives_labels(estimator):
        raise UnsupportedModelError(
            f"{type(estimator).__name__}.predict gives labels of classes, and words are explained by numbers. Pass predict_proba or decision_function, or the model itself."
        )
    function = getattr(estimator, method)
    kind = f"{type(estimator).__name__}.{method}"
    returned = as_outputs(call_model(function, [text], kind), 1)
    outputs, second = probe_outputs(estimator, method, returned.shape[1], multilabel=_is_multilabel(estimator, text))
    return TextModel(
        function,
        outputs,
        kind,
        second_column=second,
        estimator=estimator,
        method=method,
        library=type(estimator).__module__.partition(".")[0],
        probed=1 + _is_asked_for_labels(estimator),
    )


def _is_asked_for_labels(estimator: Any) -> bool:
    """Whether only its predict tells two classes from two labels."""
    return hasattr(estimator, "predict") and len(getattr(estimator, "classes_", ())) == 2


def _is_multilabel(estimator: Any, text: str) -> bool:
    """Whether two columns are two labels, each yes or no, and not two classes."""
    if not _is_asked_for_labels(estimator):
        return False
    with suppress_warnings():
        return np.ndim(estimator.predict([text])) == 2


def _function_model(function: Callable[[list[str]], Any], name: str, text: str) -> TextModel:
    kind = f"function {name}"
    library = "transformers" if isinstance(function, _AllLabels) else type(function).__module__.partition(".")[0]
    returned = call_model(function, [text], kind)
    if _holds_labels(returned):
        labels = _labels_of(returned)
        outputs = Outputs(labels, raw_units="probability", response_units="probability")
        return TextModel(function, outputs, kind, labels=labels, library=library)
    width = as_outputs(returned, 1).shape[1]
    outputs, _ = probe_outputs(None, None, width, multilabel=False)
    return TextModel(function, outputs, kind, library="numpy" if library in ("builtins", "functools") else library)


def _is_pipeline_of_transformers(model: Any) -> bool:
    return any(kind.__module__.startswith("transformers.pipelines") for kind in type(model).__mro__)


@final
@dataclass(frozen=True, eq=False)
class _AllLabels:
    """A text-classification pipeline of transformers, asked for the scores of all labels."""

    pipeline: Callable[..., Any]

    def __call__(self, texts: list[str]) -> Any:
        return self.pipeline(texts, top_k=None)


def _holds_labels(returned: Any) -> bool:
    """Whether a function returned dicts, or lists of dicts."""
    first = returned[0] if isinstance(returned, (list, tuple)) and returned else None
    return isinstance(first, Mapping) or (
        isinstance(first, (list, tuple)) and bool(first) and isinstance(first[0], Mapping)
    )


def _labels_of(returned: Any) -> tuple[str, ...]:
    """The labels of the first text, sorted, since their order there is that of their scores."""
    first = returned[0]
    found = [str(_field(entry, "label")) for entry in ([first] if isinstance(first, Mapping) else first)]
    if len(set(found)) < len(found):
        raise InputError(f"the model returned the label {max(found, key=found.count)!r} twice for one text.")
    return tuple(sorted(found))


def _label_scores(returned: Any, labels: tuple[str, ...], count: int) -> Floats:
    """Scores, (texts, labels), of dicts or lists of dicts."""
    if not isinstance(returned, (list, tuple)) or len(returned) != count:
        raise InputError(f"the model returned no list of {count} answers for {count} texts.")
    out = np.empty((count, len(labels)))
    for row, answer in zip(out, returned, strict=True):
        entries = [answer] if isinstance(answer, Mapping) else answer
        scores = {str(_field(entry, "label")): _field(entry, "score") for entry in entries}
        if tuple(sorted(scores)) != labels:
            raise InputError(
                f"the model returned the labels {sorted(scores)} for a text, and {list(labels)} for another one. It must return the scores of all labels for every text: "
                "a text-classification pipeline of transformers does so with top_k=None."
            )
        row[:] = [scores[label] for label in labels]
    return out


def _field(entry: Any, name: str) -> Any:
    if not isinstance(entry, Mapping) or name not in entry:
        raise InputError(
            f"the model returned {entry!r} for a text, where a dict with 'label' and 'score' was expected."
        )
    return entry[name]


def resolve_text_output(model: TextModel, output: Any, scale: str | None) -> tuple[OutputSelection, bool]:
    """Return the outputs explained, and whether each text has the one of them that is predicted for it.

    Args:
        output, scale: as :func:`whybox.methods.common.output.resolve_output`; also ``"predicted"``, unless an output has that name.

    Raises:
        OptionError: no such output or scale.
    """
    names = (*model.outputs.names, model.outputs.negative_class)
    predicted = isinstance(output, str) and output == PREDICTED and PREDICTED not in names
    return resolve_output(model.outputs, EVERY_OUTPUT if predicted else output, scale), predicted
