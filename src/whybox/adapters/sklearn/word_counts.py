"""Pipelines that begin with a vectorizer of single words: what it counts, and what the steps behind it make of counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

from whybox.core.library_calls import suppress_warnings
from whybox.models.word_counts import WordCountModel

__all__ = ["read_word_counts", "takes_texts"]

_MODULE: Final = "sklearn.feature_extraction.text"
_PIPELINE_MODULES: Final = ("sklearn.pipeline", "imblearn.pipeline")
_COUNTERS: Final = ("CountVectorizer", "TfidfVectorizer")
WORD_RUNS: Final = r"(?u)\b\w\w+\b"  # their default pattern of a word


def takes_texts(estimator: Any) -> bool:
    """Return whether the first step of a Pipeline, or of the best one of a search, is a vectorizer of texts.

    Args:
        estimator: any object.
    """
    while hasattr(estimator, "best_estimator_") or hasattr(estimator, "steps"):
        estimator = estimator.best_estimator_ if hasattr(estimator, "best_estimator_") else estimator.steps[0][1]
    return any(kind.__module__ == _MODULE and kind.__name__.endswith("Vectorizer") for kind in type(estimator).__mro__)


def read_word_counts(pipeline: Any, method: str) -> WordCountModel | str:
    """Read the first step of a fitted Pipeline, or return why it is not read.

    Args:
        pipeline: any object. method: the method that is explained, such as ``"predict_proba"``.
    """
    if type(pipeline).__name__ != "Pipeline" or type(pipeline).__module__ not in _PIPELINE_MODULES:
        return f"{type(pipeline).__name__} is no Pipeline of scikit-learn"
    if method in vars(pipeline):
        return f"this Pipeline has a {method} of its own"
    if len(pipeline.steps) < 2:
        return "the Pipeline has one step only"
    first = pipeline.steps[0][1]
    reason = _unread_vectorizer(first)
    if reason:
        return reason
    with suppress_warnings():
        analyze, preprocess = first.build_analyzer(), first.build_preprocessor()
    rest = getattr(pipeline[1:], method)
    weigh = _counts_to_weights(first)
    binary = bool(first.binary)
    return WordCountModel(
        analyze=analyze,
        preprocess=preprocess,
        splits_at_non_words=first.token_pattern == WORD_RUNS,
        columns=first.vocabulary_,
        n_columns=len(first.vocabulary_),
        predict=_OfCounts(rest, weigh, binary),
        dtype=first.dtype,
        counter=type(first).__name__,
    )


def _unread_vectorizer(step: Any) -> str:
    """Why a first step is not read; empty if it is."""
    name = type(step).__name__
    if type(step).__module__ != _MODULE or name not in _COUNTERS:
        return f"the first step, {name}, is no CountVectorizer or TfidfVectorizer"
    if not isinstance(step.analyzer, str):
        return f"the {name} has an analyzer of its own"
    if step.analyzer != "word":
        return f"the {name} counts characters"
    if tuple(step.ngram_range) != (1, 1):
        return f"the {name} counts n-grams of up to {step.ngram_range[1]} words"
    for option in ("tokenizer", "preprocessor"):
        if getattr(step, option) is not None:
            return f"the {name} has a {option} of its own"
    if callable(step.strip_accents):
        return f"the {name} has a strip_accents of its own"
    if step.input != "content":
        return f"the {name} takes {step.input}s, not texts"
    if any(method in vars(step) for method in ("transform", "build_analyzer", "build_tokenizer", "build_preprocessor")):
        return f"this {name} has methods of its own"
    return "" if hasattr(step, "vocabulary_") else f"the {name} is not fitted"


def _counts_to_weights(vectorizer: Any) -> Callable[[Any], Any] | None:
    """The weights that a TfidfVectorizer gives counts; None for a CountVectorizer."""
    if type(vectorizer).__name__ == "CountVectorizer":
        return None
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfTransformer

    weigh = TfidfTransformer(
        norm=vectorizer.norm,
        use_idf=vectorizer.use_idf,
        smooth_idf=vectorizer.smooth_idf,
        sublinear_tf=vectorizer.sublinear_tf,
    )
    with suppress_warnings():
        weigh.fit(csr_matrix((1, len(vectorizer.vocabulary_))))  # it wants to be fitted, also without idf
    if vectorizer.use_idf:
        weigh.idf_ = vectorizer.idf_
    return _Weigh(weigh, vectorizer.dtype)


@final
@dataclass(frozen=True, eq=False)
class _Weigh:
    transformer: Any
    dtype: Any

    def __call__(self, counts: Any) -> Any:
        return self.transformer.transform(counts.astype(self.dtype, copy=False), copy=False)


@final
@dataclass(frozen=True, eq=False)
class _OfCounts:
    """Counts -> what the steps behind the vectorizer return."""

    rest: Callable[[Any], Any]
    weigh: Callable[[Any], Any] | None
    binary: bool

    def __call__(self, counts: Any) -> Any:
        if self.binary:
            counts.data.fill(1)
        return self.rest(counts if self.weigh is None else self.weigh(counts))
