"""One question, "what model is this object?", asked from below the adapters.

Methods may be handed any object but may not import an adapter. So the adapters are looked up here by the name of their package, once:
the only place where the house calls upstairs (CONTRIBUTING.md, "The ladder").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whybox.models.base import Model
from whybox.models.blackbox import RawScores
from whybox.models.bound_method import bound_method
from whybox.models.categories import Vocabulary
from whybox.models.differentiable import Differentiable
from whybox.models.trees import TreeEnsemble
from whybox.models.word_counts import WordCountModel

__all__ = [
    "as_model",
    "as_network",
    "learned_categories",
    "raw_scores",
    "takes_texts",
    "trees_of_boosting",
    "word_counts",
]


def as_model(obj: Any, **options: Any) -> Model:
    """Return the model behind any supported object or file, verified against its own predict; models pass through.

    A predict method taken from an estimator is that estimator, explained on the scale of the method.

    Raises:
        ModelError: see whybox.errors; the message says what to do.
    """
    if isinstance(obj, Model):
        return obj
    method = bound_method(obj)
    if method is not None:
        return method.restrict_scale(as_model(method.estimator, **options))
    from importlib import import_module

    adapted: Model = import_module("whybox.adapters").adapt(obj, **options)
    return adapted


def raw_scores(obj: Any) -> RawScores | None:
    """Return how an estimator answers on its additive scale, where models of its kind are read on another scale than they predict; else None."""
    from importlib import import_module

    found: RawScores | None = import_module("whybox.adapters").raw_scores(obj)
    return found


def learned_categories(obj: Any, width: int) -> Mapping[int, Vocabulary]:
    """Return the categories that a black-box estimator learned for each of its `width` columns, if it lists them."""
    from importlib import import_module

    found: Mapping[int, Vocabulary] = import_module("whybox.adapters").learned_categories(obj, width)
    return found


def word_counts(obj: Any, method: str) -> WordCountModel | str:
    """Return a model of texts whose first step counts single words, or why it is not read as one.

    Args:
        obj: an estimator of texts. method: the method that is explained.
    """
    from importlib import import_module

    read: WordCountModel | str = import_module("whybox.adapters").word_counts(obj, method)
    return read


def trees_of_boosting(estimator: Any) -> TreeEnsemble:
    """Return the trees of a scikit-learn HistGradientBoosting estimator that whybox fitted itself, unverified: the caller compares predictions.

    Raises:
        ModelError: trees that are not read.
    """
    from importlib import import_module

    trees: TreeEnsemble = import_module("whybox.adapters.sklearn.boosting").read_hist_gradient_boosting(estimator).model
    return trees


def takes_texts(obj: Any) -> bool:
    """Return whether an estimator or pipeline is known to take texts, and no tables."""
    from importlib import import_module

    found: bool = import_module("whybox.adapters").takes_texts(obj)
    return found


def as_network(obj: Any, output: Any = None) -> Differentiable:
    """Return the network behind a module or function of a library of derivatives; networks pass through, but for which of their outputs is meant.

    Raises:
        ModelError: see whybox.errors; the message says what to do.
    """
    if isinstance(obj, Differentiable):
        return obj if output is None else obj.select_output(output)
    from importlib import import_module

    wrapped: Differentiable = import_module("whybox.adapters").network(obj, output)
    return wrapped
