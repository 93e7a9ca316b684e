"""Helpers shared by several adapters."""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from whybox.core.label_choice import class_names
from whybox.core.library_calls import suppress_warnings
from whybox.data.table import Floats
from whybox.errors import ModelMismatchError, UnsupportedModelError

__all__ = [
    "ANY_MODEL_HINT",
    "SKLEARN_PACKAGES",
    "FittedPart",
    "PredictWith",
    "as_columns",
    "class_names",
    "import_path",
    "refuse_one_class",
    "refuse_overridden",
]

ANY_MODEL_HINT: Final = (
    "Attributions with a background, effects, LIME and anchors take any model or function that predicts: wb.explain(model, X, background), "
    "wb.effects(model, X), wb.lime(model, X, background)."
)

SKLEARN_PACKAGES: Final = ("sklearn", "imblearn")  # imbalanced-learn's estimators are read as those that they extend


def as_columns(values: Any) -> Floats:
    """Return predictions as (rows, outputs) float64."""
    array = np.asarray(values, dtype=np.float64)
    return array.reshape(len(array), -1)


@final
@dataclass(frozen=True)
class FittedPart:
    """The part of an estimator that predicts and that `fit` replaces: its booster, or the best model of a search.

    Args:
        part: the part that was read. owner: the estimator; the part itself, where it was given by itself.
        find: owner -> the part that it has now, a function of a module, so that it can be pickled.
    """

    part: Any
    owner: Any
    find: Callable[[Any], Any]

    def __call__(self) -> Any:
        """Return the part.

        Raises:
            ModelMismatchError: the estimator has another one now.
        """
        if self.owner is not self.part and self.find(self.owner) is not self.part:
            raise ModelMismatchError(
                f"this {type(self.owner).__name__} was fitted again since it was read, so this would be an explanation of another model. "
                "Make the explainer, or compute the effects, again."
            )
        return self.part

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the part alone: a copy meets no new fit, and an estimator may hold functions that cannot be pickled."""
        return FittedPart, (self.part, self.part, self.find)


@final
@dataclass(frozen=True)
class PredictWith:
    """A model's own predict with one of its options switched on: rows -> (rows, outputs)."""

    model: Any
    option: str

    def __call__(self, rows: Any) -> Floats:
        """Return what the model predicts with it."""
        with suppress_warnings():
            return as_columns(self.model.predict(rows, **{self.option: True}))


def refuse_one_class(what: str, classes: Sized) -> None:
    """Refuse a classifier that saw a single class: libraries predict different things then.

    Raises:
        UnsupportedModelError: there are fewer than two.
    """
    if len(classes) < 2:
        raise UnsupportedModelError(f"this {what} saw one class only; there is nothing to explain.")


def import_path(obj: Any) -> str:
    """Return the name of the object's class with its library and version."""
    import sys

    package = type(obj).__module__.partition(".")[0]
    version = getattr(sys.modules.get(package), "__version__", None)
    return f"{type(obj).__name__} ({package}{'' if version is None else ' ' + version})"


def refuse_overridden(obj: Any, library: str) -> None:
    """Refuse an estimator that, or whose class, overrides the predict of its library.

    Raises:
        UnsupportedModelError: its predictions may differ from its trees.
    """
    packages = SKLEARN_PACKAGES if library in SKLEARN_PACKAGES else (library,)
    for method in ("predict", "predict_proba", "decision_function"):
        owner = next((c for c in type(obj).__mro__ if method in vars(c)), None)
        own = method in getattr(obj, "__dict__", {})
        if own or (owner is not None and owner.__module__.partition(".")[0] not in packages):
            where = "this object" if own or owner is None else f"the class {owner.__name__}"
            raise UnsupportedModelError(
                f"{where} has a {method} of its own in place of {library}'s, so what was trained does not say what it predicts. "
                f"Explain the {library} model inside instead, for example its booster."
            )
