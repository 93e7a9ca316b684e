"""Find the output that a user means by a label, a number or a position."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from whybox.errors import Argument, OptionError, Part

__all__ = ["class_names", "matching_positions", "output_position", "output_words"]

_NUMBER_TEXT: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_BOOLEAN_VALUES: Final = {"True": 1, "False": 0}


def class_names(classes: Iterable[Any]) -> tuple[str, ...]:
    """Return class names as text; whole floats lose their point (1 for 1.0)."""
    return tuple(
        str(int(label)) if isinstance(label, (float, np.floating)) and float(label).is_integer() else str(label)
        for label in classes
    )


def output_words(name: str, *, of_class: bool) -> str:
    """Return what an output is called in a sentence: its name, and of a bare number or truth value what it is the name of, ``class 1`` or ``output 1``."""
    bare = _NUMBER_TEXT.fullmatch(name) is not None or name in _BOOLEAN_VALUES
    return f"{'class' if of_class else 'output'} {name}" if bare else name


def matching_positions(requested: Any, labels: Sequence[Any]) -> list[int]:
    """Return the positions of the labels that match `requested`.

    Text is compared as text first. Then numbers are compared as numbers: 1, 1.0, ``"1"`` and ``"1.0"`` are the same label, and so are True
    and ``"True"``. Text with leading zeros is not a number.
    """
    names = [str(label) for label in labels]
    exact = [position for position, name in enumerate(names) if name == str(requested)]
    if exact:
        return exact
    is_boolean = isinstance(requested, (bool, np.bool_))
    if is_boolean and not set(names) <= {"0", "1"}:  # of classes 1 and 2, True is not the class 1
        return []
    value = int(requested) if is_boolean else _label_value(requested)
    if value is None:
        return []
    matches = [position for position, name in enumerate(names) if _label_value(name) == value]
    if matches or isinstance(requested, str):
        return matches
    return [
        position for position, name in enumerate(names) if name in _BOOLEAN_VALUES and _BOOLEAN_VALUES[name] == value
    ]


def output_position(argument: str, requested: Any, labels: Sequence[Any], *, from_end: bool = False) -> int | None:
    """Return the position of the output that `requested` means, or None if it means no output.

    A label wins over a position, and text is never a position. A whole number that is the label of one output and the position of another is
    refused as ambiguous.

    Args:
        argument: name of the user's argument, for the message.
        requested: text, a number or a truth value, also of numpy.
        labels: labels of the outputs, in order.
        from_end: whether -1 is the position of the last output.

    Raises:
        OptionError: several outputs could be meant; the message says how to name each.
    """
    requested = requested.item() if isinstance(requested, np.ndarray) and requested.shape == () else requested
    matches = matching_positions(requested, labels)
    position_meant = _as_position(requested, len(labels), from_end=from_end)
    if len(matches) > 1:
        raise OptionError(
            Argument(argument, requested),
            f": {len(matches)} outputs are called so; ",
            _how_to_name_each(argument, matches, labels),
            ".",
        )
    if matches and position_meant is not None and position_meant != matches[0]:
        number = _without_numpy(requested)
        raise OptionError(
            Argument(argument, number),
            f" is the label of one output and the position of another, which is called {str(labels[position_meant])!r}. "
            "Write the label as text: ",
            Argument(argument, str(labels[matches[0]])),
            " for the output called so, ",
            Argument(argument, str(labels[position_meant])),
            f" for the one at position {number}.",
        )
    return matches[0] if matches else position_meant


def _how_to_name_each(argument: str, matches: Sequence[int], labels: Sequence[Any]) -> Part:
    names = list(dict.fromkeys(str(labels[i]) for i in matches))
    if len(names) < len(matches):
        return "give their names to tell them apart"
    ways: list[Part] = [part for name in names for part in (" or ", Argument(argument, name))]
    return ("write the label as text: ", *ways[1:])


def _without_numpy(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _as_position(requested: Any, count: int, *, from_end: bool) -> int | None:
    if isinstance(requested, bool) or not isinstance(requested, (int, np.integer)):
        return None
    position = int(requested)
    if from_end and -count <= position < 0:
        return position + count
    return position if 0 <= position < count else None


def _label_value(value: Any) -> int | float | None:
    """Return a label as a finite number, or None if it is not one."""
    if isinstance(value, str):
        if not _NUMBER_TEXT.fullmatch(value):
            return None
        return int(value) if value.lstrip("-").isdigit() else _finite_or_none(float(value))
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (int, np.integer)):
        return int(value)
    return _finite_or_none(float(value)) if isinstance(value, (float, np.floating)) else None


def _finite_or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
