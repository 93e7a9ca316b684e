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
    │   │   └── SpotCheckError             a number of the answer is not what a second way of computing it gives
    │   └── ModelFileError                 the file is truncated, edited, of an unknown version or format
    │       └── UntrustedPickleError       reading the file would run code in it
    ├── ExplanationFileError               a saved explanation is truncated, edited, or of an unknown version
    ├── LimitError (MemoryError)           exact work would not fit in memory or in ``max_evals``
    └── MissingDependencyError (ImportError)  an optional package is needed; the message says how to install it

Each message says what to do next. Catch ``WhyboxError`` to catch them all.

A message is made of parts: text, and the arguments that it mentions. Python writes an argument as ``output='x'``, the command line as
``--output x``; neither has to read the other's words::

    raise OptionError(Argument("kind", kind), " is not known.", known=EFFECT_KINDS)
    raise UnsupportedModelError("pass training rows: ", Argument("background", example="X_train"), ".")
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, final

__all__ = [
    "Argument",
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
    "SpotCheckError",
    "UnknownFieldError",
    "UnsupportedModelError",
    "UntrustedPickleError",
    "WhyboxError",
]


MAX_CHARACTERS_SHOWN: Final = 200  # of a value in a message


class _Missing(Enum):
    MISSING = "no value"


@dataclass(frozen=True)
class _Shown:
    """Stands in an error for a value that need not be kept or pickled: an array, a function, a model."""

    text: str

    def __repr__(self) -> str:
        return self.text


@final
@dataclass(frozen=True)
class Argument:
    """An argument that a message mentions; ``str`` writes it as Python does.

    Attributes:
        name: of the argument in Python.
        given: the value it was given, or should be given. Plain values are kept, of others what ``repr`` writes.
        example: Python text that stands for a value: ``X_train``, ``...``.

    Examples:
        >>> print(Argument("kind", "pdp"), Argument("background", example="X_train"), Argument("kind"))
        kind='pdp' background=X_train kind
    """

    name: str
    given: Any = _Missing.MISSING
    example: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", _plain(self.given))

    @property
    def has_value(self) -> bool:
        """Whether a value is mentioned, and not the argument alone."""
        return self.given is not _Missing.MISSING

    def __str__(self) -> str:
        if self.example is not None:
            return f"{self.name}={self.example}"
        return f"{self.name}={self.given!r}" if self.has_value else self.name


Part = str | Argument | tuple["Part", ...]


def _flat(part: Part | Sequence[Part]) -> Iterator[str | Argument]:
    if isinstance(part, (str, Argument)):
        yield part
    else:
        for inner in part:
            yield from _flat(inner)


class WhyboxError(Exception):
    """Base of every error that whybox raises on purpose.

    Args:
        message: text and the arguments it mentions, in their order; a tuple of these is taken as its parts.
        known: what could have been given; the message then ends with those that are close to what was, or with all when they are few.
        hint: what to do, behind that.

    Attributes:
        message: the parts. known, hint: as passed.
    """

    def __init__(self, *message: Part, known: Iterable[object] = (), hint: Part | Sequence[Part] = ()) -> None:
        self.message = tuple(_flat(message))
        self.known = tuple(str(k) for k in known)
        self.hint = tuple(_flat(hint))
        super().__init__(*self.message)

    @property
    def argument(self) -> str | None:
        """The name of the first argument that the message gives a value of; None where there is none."""
        return next((p.name for p in self.message if isinstance(p, Argument) and p.has_value), None)

    @property
    def given(self) -> Any:
        """The value of that argument."""
        return next((p.given for p in self.message if isinstance(p, Argument) and p.has_value), None)

    def render(self, spell: Callable[[Argument], str] = str) -> str:
        """Return the message, with each argument as `spell` writes it."""
        text = "".join(p if isinstance(p, str) else spell(p) for p in self.message)
        text += did_you_mean(self.given, self.known) if self.known else ""
        hint = "".join(p if isinstance(p, str) else spell(p) for p in self.hint)
        return f"{text} {hint}" if hint else text

    def __str__(self) -> str:
        """Return the message as Python writes it."""
        return self.render()


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

    def __init__(self, *message: Part, row: int | None = None) -> None:
        super().__init__(*message)
        self.row = row

    def render(self, spell: Callable[[Argument], str] = str) -> str:
        """Return the message with the row in it."""
        place = "a row" if self.row is None else f"row {self.row:,}"
        return super().render(spell).replace("{row}", place)

    def later(self, rows: int) -> NonFiniteError:
        """Return the same error for a block that stands behind so many other rows."""
        return self.at_row(None if self.row is None else self.row + rows)

    def at_row(self, row: int | None) -> NonFiniteError:
        """Return the same error about another row."""
        return NonFiniteError(*self.message, row=row)


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


class SpotCheckError(ModelMismatchError):
    """A number of an answer is not what a second, independent computation of it gives, so nothing is returned.

    Attributes:
        where: what stands there, part by part: ``(("row", 3), ("feature", "age"))``.
        answer, recomputed: both numbers. allowed: the difference that rounding explains. way: how it was recomputed.
    """

    def __init__(
        self, *, where: tuple[tuple[str, object], ...], answer: float, recomputed: float, allowed: float, way: str
    ) -> None:
        self.where, self.answer, self.recomputed, self.allowed, self.way = where, answer, recomputed, allowed, way
        place = ", ".join(f"{name} {value!r}" for name, value in where)
        super().__init__(
            f"a number of this answer is {answer!r}, but recomputed {way} it is {recomputed!r} ({place}; rounding explains {allowed:.3g}). "
            "Nothing is returned, because other numbers may be wrong too. Either the model answers differently from call to call, or this is a fault of whybox: "
            "please report it with this message."
        )

    def __reduce__(self) -> tuple[Any, tuple[dict[str, Any]]]:
        parts = {name: getattr(self, name) for name in ("where", "answer", "recomputed", "allowed", "way")}
        return _spot_check_error, (parts,)


def _spot_check_error(parts: dict[str, Any]) -> SpotCheckError:
    return SpotCheckError(**parts)


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


def _plain(value: Any) -> Any:
    """Return a value as an error keeps it: itself if it is plain, of numpy as Python has it, else what it shows of itself."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()
    if value is None or isinstance(value, (str, bool, int, float, _Missing, _Shown)):
        return value
    if (
        isinstance(value, (tuple, list))
        and len(value) <= 8
        and all(isinstance(_plain(v), (str, int, float)) for v in value)
    ):
        return value
    text = " ".join(repr(value).split())
    return _Shown(text if len(text) <= MAX_CHARACTERS_SHOWN else text[:MAX_CHARACTERS_SHOWN] + "...")


MAX_NAMES_LISTED = 12  # more are no help: those nearest to what was written are


def did_you_mean(name: object, known: Iterable[object], *, usual_first: bool = False) -> str:
    """Return ' Did you mean ...?' when `name`, unless it is a number, is close to a known one; else the known ones, of many the nearest.

    Args:
        name: what was written. known: what there is. usual_first: whether the usual ones stand first: then the first of many are listed.
    """
    names = [str(k) for k in known]
    is_text = not isinstance(name, (int, float))  # numbers that look alike mean nothing
    alike = [
        n for n in names if 2 * min(len(n), len(str(name))) > max(len(n), len(str(name)))
    ]  # not 'age' for 'target'
    close = difflib.get_close_matches(str(name), alike, n=2, cutoff=0.65) if is_text else []
    if close:
        return f" Did you mean {' or '.join(repr(c) for c in close)}?"
    if is_text and str(name) and len(names) > MAX_NAMES_LISTED and not usual_first:
        return f" The nearest of {len(names):,}: {quoted_list(nearest_names(name, names))}."
    return f" Known: {quoted_list(names)}." if names else ""


def nearest_names(name: object, known: Iterable[object], most: int = 3) -> list[str]:
    """Return the known names nearest to `name`, for a message."""
    return difflib.get_close_matches(str(name), [str(k) for k in known], n=most, cutoff=0.0)


def quoted_list(names: Sequence[object], most: int = 8) -> str:
    """Return a readable, bounded list of names for a message."""
    text = ", ".join(repr(str(n)) for n in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"
