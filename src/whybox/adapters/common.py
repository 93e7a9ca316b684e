"""Small things that several adapters need."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from whybox.core.label_choice import class_names
from whybox.data.table import Floats
from whybox.errors import UnsupportedModelError

__all__ = [
    "PredictWith",
    "as_columns",
    "class_names",
    "import_path",
    "quietly",
    "refuse_one_class",
    "refuse_overridden",
]


@contextmanager
def quietly() -> Iterator[None]:
    """Silence a library's remarks about names and dtypes while its predict is called on our rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def as_columns(values: Any) -> Floats:
    """Return predictions as (rows, outputs) float64."""
    out = np.asarray(values, dtype=np.float64)
    return out.reshape(len(out), -1)


@final
@dataclass(frozen=True)
class PredictWith:
    """A model's own predict with one of its options switched on: rows -> (rows, outputs)."""

    model: Any
    option: str

    def __call__(self, rows: Any) -> Floats:
        """Return what the model predicts with it."""
        with quietly():
            return as_columns(self.model.predict(rows, **{self.option: True}))


def refuse_one_class(what: str, classes: Sized) -> None:
    """Refuse a classifier that saw a single class: libraries disagree about what they predict then.

    Raises:
        UnsupportedModelError: there are fewer than two.
    """
    if len(classes) < 2:
        raise UnsupportedModelError(f"this {what} saw one class only; there is nothing to explain.")


def import_path(obj: Any) -> str:
    """Return how a person calls the object's class, with its library's version."""
    import sys

    root = type(obj).__module__.partition(".")[0]
    version = getattr(sys.modules.get(root), "__version__", None)
    return f"{type(obj).__name__} ({root}{'' if version is None else ' ' + version})"


def refuse_overridden(obj: Any, library: str) -> None:
    """Refuse an estimator whose class, or which itself, puts a predict of its own in place of its library's.

    Raises:
        UnsupportedModelError: what it predicts is not what its trees say.
    """
    for method in ("predict", "predict_proba"):
        owner = next((c for c in type(obj).__mro__ if method in vars(c)), None)
        own = method in getattr(obj, "__dict__", {})
        if own or (owner is not None and owner.__module__.partition(".")[0] != library):
            where = "this object" if own or owner is None else f"the class {owner.__name__}"
            raise UnsupportedModelError(
                f"{where} has a {method} of its own in place of {library}'s, so its trees do not say what it predicts. "
                f"Explain the {library} model inside instead, for example its booster."
            )
