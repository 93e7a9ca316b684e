"""Small things that several adapters need."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from whybox.frames import Floats

__all__ = ["as_columns", "class_names", "import_path", "quietly"]


@contextmanager
def quietly() -> Iterator[None]:
    """Silence a library's remarks about names and dtypes while its predict is called on our rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def class_names(classes: Iterable[Any]) -> tuple[str, ...]:
    """Return the names of classes as a person writes them: 1 for 1.0."""
    return tuple(
        str(int(c)) if isinstance(c, (float, np.floating)) and float(c).is_integer() else str(c) for c in classes
    )


def as_columns(values: Any) -> Floats:
    """Return predictions as (rows, outputs) float64."""
    out = np.asarray(values, dtype=np.float64)
    return out.reshape(len(out), -1)


def import_path(obj: Any) -> str:
    """Return how a person calls the object's class, with its library's version."""
    import sys

    root = type(obj).__module__.partition(".")[0]
    version = getattr(sys.modules.get(root), "__version__", None)
    return f"{type(obj).__name__} ({root}{'' if version is None else ' ' + version})"
