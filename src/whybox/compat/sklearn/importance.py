"""``permutation_importance`` of scikit-learn: its arguments and its Bunch, answered by :func:`whybox.importance`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from whybox.api.importance import importance
from whybox.compat.columns import features_in_order, rows_at
from whybox.compat.refused import refuse
from whybox.compat.seeds import as_seed
from whybox.data.table import as_table
from whybox.errors import Argument, OptionError
from whybox.methods.importance.scorers import is_classifier

__all__ = ["permutation_importance"]


def permutation_importance(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    scoring: Any = None,
    n_repeats: int = 5,
    n_jobs: int | None = None,
    random_state: Any = None,
    sample_weight: Any = None,
    max_samples: Any = 1.0,
) -> Any:
    """Return how much a score drops when the values of a feature come from other rows; arguments are those of scikit-learn.

    Args:
        scoring: a name, a scorer, or a list or dict of these; None: the estimator's own ``score``.
        n_repeats: rounds, in each of which every row gets the value of another one. n_jobs: threads of tree ensembles; it changes no number.
        random_state: a whole number, or a RandomState that one is drawn from. None: 0, the same numbers in each call.
            Others as of ``sklearn.inspection.permutation_importance``.

    Returns:
        Bunch of ``importances``, (features, n_repeats), the drop that each round found, in the mean as large as that of a shuffle; their ``importances_mean``
        and ``importances_std`` over rounds; ``std_error``, (features,), of the rows as a sample; and the ``explanation`` of :func:`whybox.importance`. Of several scores a
        dict of these by name.

    Raises:
        OptionError: an argument that is not honoured or not known; others as :func:`whybox.importance`.
    """
    if y is None:
        refuse(
            "permutation_importance without y",
            'pass the truth, or call wb.importance(model, X, method="shap"), which needs none.',
        )
    if not hasattr(estimator, "fit"):
        refuse(
            "a model that is no estimator",
            'call wb.importance(model, X, y, scoring="r2"), which takes functions and files too.',
        )
    seed, table = as_seed(random_state), as_table(X)
    count = _row_count(max_samples, len(table))
    if count < len(table):
        chosen = np.sort(np.random.default_rng(seed).choice(len(table), count, replace=False))
        table, y = table.rows(chosen), rows_at(y, chosen)
        sample_weight = None if sample_weight is None else rows_at(sample_weight, chosen)

    def answer(score: Any) -> Any:
        options = {"sample_weight": sample_weight, "rounds": n_repeats, "n_jobs": n_jobs, "seed": seed}
        found = importance(estimator, table, y, method="permutation", scoring=score, **options)
        return _bunch(features_in_order(found, table.names), sample_weight)

    return _of_each_score(estimator, scoring, answer)


def _of_each_score(estimator: Any, scoring: Any, answer: Callable[[Any], Any]) -> Any:
    """The answer for one score, or a dict of them."""
    if scoring is None:
        return answer(_own_score(estimator))
    if isinstance(scoring, (list, tuple, set)):
        return {str(name): answer(name) for name in scoring}
    if isinstance(scoring, dict):
        return {name: answer(score) for name, score in scoring.items()}
    return answer(scoring)


def _own_score(estimator: Any) -> Any:
    """The name of the score that an estimator has, or its ``score`` as a function."""
    from sklearn.base import ClassifierMixin, RegressorMixin

    own = getattr(type(estimator), "score", None)
    if own is ClassifierMixin.score and is_classifier(estimator):
        return "accuracy"
    if own is RegressorMixin.score:
        return "r2"

    def score(model: Any, X: Any, y: Any) -> Any:
        return model.score(X, y)

    def weighted_score(model: Any, X: Any, y: Any, sample_weight: Any = None) -> Any:
        return model.score(X, y, **({} if sample_weight is None else {"sample_weight": sample_weight}))

    return weighted_score if _takes_weights(own) else score


def _takes_weights(function: Any) -> bool:
    import inspect

    return function is not None and "sample_weight" in inspect.signature(function).parameters


def _bunch(found: Any, sample_weight: Any) -> Any:
    from sklearn.utils import Bunch

    # whybox compares pairs of two different rows; a shuffle leaves a row its own value now and then
    weights = (
        np.full(found.evidence.rows, 1.0) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    )
    other_row = 1.0 - float((weights**2).sum() / weights.sum() ** 2)
    drops = found.extras["round_values"][1] * other_row
    return Bunch(
        importances_mean=drops.mean(axis=1),
        importances_std=drops.std(axis=1),
        importances=drops,
        std_error=found.std_error * other_row,
        explanation=found,
    )


def _row_count(max_samples: Any, rows: int) -> int:
    """How many rows are taken.

    Raises:
        OptionError: more than there are, or neither a positive whole number nor a share.
    """
    if isinstance(max_samples, (int, np.integer)) and not isinstance(max_samples, bool) and 1 <= max_samples <= rows:
        return int(max_samples)
    if isinstance(max_samples, (float, np.floating)) and 0 < max_samples <= 1:
        return max(1, int(max_samples * rows))
    raise OptionError(
        Argument("max_samples", max_samples),
        f" must be a share above 0 and up to 1, or a number of rows up to {rows:,}.",
    )
