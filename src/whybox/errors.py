"""Every exception whybox raises on purpose, in one tree.

::

    WhyboxError
    ├── InputError (ValueError)            the rows, the background or their weights
    │   ├── ColumnsError                   a column is missing, named twice, or there are too many or too few
    │   ├── DtypeError (TypeError)         a column holds something the model cannot read
    │   ├── EmptyDataError                 no rows, or no columns
    │   └── NonFiniteError                 infinities or missing values where the model itself refuses them
    ├── OptionError (ValueError)           an argument, or two arguments that do not go together
    ├── ModelError                         the model
    │   ├── UnsupportedModelError          understood, but it cannot be explained exactly; the message gives the reason
    │   ├── UnknownFieldError              the model carries an option or field this version does not know
    │   ├── ModelMismatchError             our reading of the model disagrees with the model's own predict
    │   └── ModelFileError                 the file is truncated, edited, of an unknown version or format
    │       └── UntrustedPickleError       reading the file would run code in it
    ├── ExplanationFileError               a saved explanation is truncated, edited, or of an unknown version
    ├── LimitError (MemoryError)           exact work would not fit in memory or in ``max_evals``
    └── MissingDependencyError (ImportError)  an optional package is needed; the message says how to install it

Each message says what to do next. Catch ``WhyboxError`` to catch them all.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "ColumnsError",
    "DtypeError",
    "EmptyDataError",
    "ExplanationFileError",
    "InputError",
    "LimitError",
    "MissingDependencyError",
    "ModelError",
    "ModelFileError",
    "ModelMismatchError",
    "NonFiniteError",
    "OptionError",
    "UnknownFieldError",
    "UnsupportedModelError",
    "UntrustedPickleError",
    "WhyboxError",
]


class WhyboxError(Exception):
    """Base of every error that whybox raises on purpose."""


class InputError(WhyboxError, ValueError):
    """The rows, the background or their weights cannot be used as given."""


class ColumnsError(InputError):
    """Columns are missing, named twice, or do not match the model's."""


class DtypeError(InputError, TypeError):
    """A column holds values the model cannot read."""


class EmptyDataError(InputError):
    """There are no rows or no columns to work on."""


class NonFiniteError(InputError):
    """Infinite or missing values where the model itself refuses them.

    Attributes:
        row: position of the first such row among all rows given, from 0; stands in the message in place of ``{row}``.
    """

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message, row)
        self.row = row

    def __str__(self) -> str:
        """Return the message with the row in it."""
        return str(self.args[0]).replace("{row}", f"row {self.row:,}" if self.row is not None else "a row")

    def later(self, rows: int) -> NonFiniteError:
        """Return the same error for a block that stands behind so many other rows."""
        return NonFiniteError(self.args[0], None if self.row is None else self.row + rows)


class OptionError(WhyboxError, ValueError):
    """An argument is not known, or two arguments do not go together."""


class ModelError(WhyboxError):
    """Something about the model."""


class UnsupportedModelError(ModelError):
    """The model is understood but cannot be explained exactly; the message gives the reason."""


class UnknownFieldError(ModelError):
    """The model carries an option or a field that this version of whybox does not know."""


class ModelMismatchError(ModelError):
    """Our reading of the model disagrees with the model's own predict, so nothing is returned."""


class ModelFileError(ModelError):
    """A model file is truncated, edited, of an unknown version, or of an unknown format."""


class UntrustedPickleError(ModelFileError):
    """Reading the file would run whatever code is in it."""


class ExplanationFileError(WhyboxError):
    """A saved explanation is truncated, edited, or of an unknown version."""


class LimitError(WhyboxError, MemoryError):
    """The exact computation would not fit in memory or in the allowed number of evaluations."""


class MissingDependencyError(WhyboxError, ImportError):
    """An optional package is needed."""

    def __init__(self, package: str, purpose: str, extra: str | None = None) -> None:
        install = f"pip install 'whybox[{extra}]'" if extra else f"pip install {package}"
        super().__init__(f"{purpose} needs the package {package!r}, which is not installed. Run: {install}")
        self._arguments = package, purpose, extra

    def __reduce__(self) -> tuple[type[MissingDependencyError], tuple[str, str, str | None]]:
        """Pickle the arguments, so that the error comes back whole from another process."""
        return type(self), self._arguments


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Return ' Did you mean ...?' when `name` is close to a known one, and the known ones when there are few."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), names, n=2, cutoff=0.65)
    if close:
        return f" Did you mean {' or '.join(repr(c) for c in close)}?"
    return f" Known: {shown(names)}." if names else ""


def shown(names: Sequence[object], most: int = 8) -> str:
    """Return a readable, bounded list of names for a message."""
    text = ", ".join(repr(str(n)) for n in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"
