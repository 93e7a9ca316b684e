"""A model as we read it, or else as a black box, with the reason as a note."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from whybox.data.table import Table
from whybox.errors import Argument, OptionError, UnknownFieldError, UnsupportedModelError
from whybox.models.base import Model
from whybox.models.blackbox import as_black_box
from whybox.models.bound_method import PREDICT_METHODS, bound_method, has_method
from whybox.models.registry import as_model, learned_categories, raw_scores
from whybox.models.source_trials import with_sources_found

__all__ = ["read_or_black_box"]


def read_or_black_box(model: Any, rows: Table, response_method: str | None = None, scale: Any = None) -> Model:
    """Return the model as we read it, or a black box: of a function, and of an estimator that is not read.

    A method of an estimator that is read (``forest.predict_proba``) is that estimator, explained on the scale of the method. An estimator that is not read,
    but whose kind is read on its additive scale, is evaluated on that scale, unless `scale` names another: a model must not move from log-odds to
    probabilities because it cannot be read.

    Args:
        model: a function, an estimator or one of its methods, a file, or a model that is read already.
        rows: rows of the kind that it takes. response_method: the estimator's method to call instead of reading it. scale: as :func:`whybox.explain`.

    Raises:
        ModelError: a file we cannot read, or a model that is not what it seems. OptionError: no such method. InputError: it refuses the rows.
    """
    if isinstance(model, Model):
        if response_method is not None:
            raise OptionError(
                Argument("response_method"),
                " names a method of an estimator; this model is adapted already. Use ",
                Argument("scale", example=""),
                ".",
            )
        return with_sources_found(model, [rows])
    method = bound_method(model)
    if response_method is not None or (method is None and callable(model) and not hasattr(model, "predict")):
        return as_black_box(model, rows, response_method=response_method, learned_categories=learned_categories)
    if isinstance(model, (str, Path)):
        return as_model(model)
    try:
        return with_sources_found(as_model(model), [rows])
    except (UnsupportedModelError, UnknownFieldError) as reason:
        if method is not None:
            box = as_black_box(
                method.estimator, rows, response_method=method.name, learned_categories=learned_categories
            )
        elif any(has_method(model, name) for name in PREDICT_METHODS):
            scores = None if isinstance(scale, str) and scale in ("probability", "response") else raw_scores(model)
            box = as_black_box(model, rows, scores=scores, learned_categories=learned_categories)
        else:
            raise
        called = "its own predict" if box.own_predict is None else box.own_predict.call_name
        why = "".join(map(str, reason.message))  # without the hint, which is about reading it
        return replace(box, notes=(f"Evaluated through {called}, because it is not read: {why}", *box.notes))
