"""Scores of all rows together: scikit-learn's by name, and functions of (estimator, X, y); and what stands in for an estimator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.library_calls import first_line, suppress_warnings
from whybox.errors import Argument, OptionError, WhyboxError, did_you_mean
from whybox.methods.common.columns import Ints

__all__ = ["SCORED_METHODS", "Scorer", "StandIn", "is_classifier", "resolve_scorer"]

SCORED_METHODS: Final = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
)  # of an estimator, that scorers call

USUAL_SCORES: Final = (
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "f1",
    "neg_mean_absolute_error",
    "neg_root_mean_squared_error",
    "r2",
    "roc_auc",
)  # of classes and of numbers: a message lists them before those of clusters


@final
@dataclass(frozen=True)
class Scorer:
    """A score of all rows together: larger is better.

    Attributes:
        name: as it was asked for. function: (estimator, X, y) -> a number. takes_weights: whether it takes ``sample_weight``.
        reads_rows: whether it gets the rows themselves; scikit-learn's get nothing but predictions.
    """

    name: str
    function: Callable[..., Any]
    takes_weights: bool
    reads_rows: bool

    @property
    def ranks(self) -> bool:
        """Whether it takes scores of a classifier that need not be probabilities."""
        return "decision_function" in (getattr(self.function, "_response_method", None) or ())

    def __call__(self, estimator: Any, X: Any, y: Any, weights: Any = None) -> float:
        """Return the score; NaN where it is not defined for these rows.

        Raises:
            OptionError: it fails, or returns something else than a number.
        """
        more = {} if weights is None else {"sample_weight": weights}
        try:
            with suppress_warnings():  # about scores that are not defined: they are NaN
                score = self.function(estimator, X, y, **more)
        except (WhyboxError, MemoryError):
            raise
        except Exception as error:  # any library's
            metric = "" if hasattr(self.function, "_score_func") else (
                " It must be a function scorer(estimator, X, y); sklearn.metrics.make_scorer makes one of a metric of (y_true, y_pred)."
            )  # fmt: skip
            raise OptionError(
                Argument("scoring", self.name),
                f" fails on this model and truth ({type(error).__name__}: {first_line(error)}).{metric}",
            ) from error
        try:
            return float(score)
        except (TypeError, ValueError):
            raise OptionError(
                Argument("scoring", self.name), f" returned a {type(score).__name__}; a score is one number."
            ) from None


def resolve_scorer(scoring: Any, *, weighted: bool) -> Scorer:
    """Return the scorer of a name, of ``make_scorer``, or a function.

    Args:
        scoring: as the caller gave it. weighted: whether rows have weights.

    Raises:
        OptionError: no such scorer, or it takes no weights and rows have some.
    """
    if isinstance(scoring, str):
        from sklearn.metrics import get_scorer, get_scorer_names

        names = get_scorer_names()
        if scoring not in names:
            usual_first = sorted(names, key=lambda name: (name not in USUAL_SCORES, name))
            raise OptionError(
                Argument("scoring", scoring),
                f" is no scorer of scikit-learn.{did_you_mean(scoring, usual_first, usual_first=True)} Give one of its names, or a function scorer(estimator, X, y).",
            )
        function: Any = get_scorer(scoring)
        name = scoring
    elif callable(scoring) and not isinstance(scoring, type):
        function = scoring
        name = getattr(getattr(scoring, "_score_func", scoring), "__name__", type(scoring).__name__)
    else:
        raise OptionError(Argument("scoring", scoring), " must be a name, or a function scorer(estimator, X, y).")
    scorer = Scorer(name, function, _takes_weights(function), not hasattr(function, "_score_func"))
    if weighted and not scorer.takes_weights:
        raise OptionError(
            Argument("scoring", name), " takes no weights; leave ", Argument("sample_weight"), " out, or take another score."
        )  # fmt: skip
    return scorer


def _takes_weights(function: Any) -> bool:
    """Whether a scorer, or the metric behind it, takes ``sample_weight``."""
    try:
        parameters = inspect.signature(getattr(function, "_score_func", function)).parameters
    except (TypeError, ValueError):
        return False
    return "sample_weight" in parameters


def is_classifier(estimator: Any) -> bool:
    """Whether an estimator predicts classes, as scikit-learn sees it; of others, whether it knows classes."""
    import sklearn.base

    try:
        answer = bool(sklearn.base.is_classifier(estimator))
    except Exception:  # an estimator of another kind
        answer = True
    return answer and hasattr(estimator, "classes_")


@final
class StandIn:
    """Predictions of all rows, as scikit-learn's scorers take them: from an estimator whose methods answer for rows given by their positions, (rows, 1).

    Args:
        answers: method -> predictions of all rows, evaluated once, when first asked for. classes: of a classifier; None: it is a regressor.

    Attributes:
        known: the predictions that were asked for. estimator: what scorers take. classes: as given.
    """

    def __init__(self, answers: Mapping[str, Callable[[], npt.NDArray[Any]]], classes: npt.NDArray[Any] | None) -> None:
        from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

        self._answers, self.classes = answers, classes
        self.known: dict[str, npt.NDArray[Any]] = {}
        mixin = RegressorMixin if classes is None else ClassifierMixin
        kind: Any = type("Predictions", (mixin, BaseEstimator), {name: self._method(name) for name in answers})
        self.estimator = kind()
        if classes is not None:
            self.estimator.classes_ = classes

    def _method(self, name: str) -> Callable[[Any, Ints], npt.NDArray[Any]]:
        """The method of this name; scikit-learn reads its name."""

        def answer(_: Any, positions: Ints) -> npt.NDArray[Any]:
            if name not in self.known:
                self.known[name] = np.asarray(self._answers[name]())
            return np.asarray(self.known[name][positions[:, 0]])

        answer.__name__ = name
        return answer

    @classmethod
    def together(cls, rounds: Sequence[StandIn]) -> StandIn:
        """Return the predictions of several rounds, one after the other; all were asked for the same methods."""
        first = rounds[0]

        def stack(name: str) -> Callable[[], npt.NDArray[Any]]:
            return lambda: np.concatenate([r.known[name] for r in rounds])

        return cls({name: stack(name) for name in first.known}, first.classes)
