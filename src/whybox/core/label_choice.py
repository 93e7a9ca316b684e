"""Which of several labelled outputs a user means by a label, a number or a position."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from whybox.errors import Argument, OptionError, Part

__all__ = ["choose", "class_names", "labelled"]

_NUMBER: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_TRUTH: Final = {"True": 1, "False": 0}


def class_names(classes: Iterable[Any]) -> tuple[str, ...]:
    """Return the names of classes as a person writes them: 1 for 1.0."""
    return tuple(
        str(int(c)) if isinstance(c, (float, np.floating)) and float(c).is_integer() else str(c) for c in classes
    )


def labelled(asked: Any, labels: Sequence[Any]) -> list[int]:
    """Return the positions of the labels that `asked` writes.

    Text is compared as text first. Then numbers are compared as numbers: 1, 1.0, ``"1"`` and ``"1.0"`` are the same label, and so are True
    and ``"True"``. Text with leading zeros is no number.
    """
    names = [str(label) for label in labels]
    exact = [i for i, name in enumerate(names) if name == str(asked)]
    if exact:
        return exact
    truth = isinstance(asked, (bool, np.bool_))
    if truth and not set(names) <= {"0", "1"}:  # of classes 1 and 2, True is not the class 1
        return []
    value = int(asked) if truth else _number(asked)
    if value is None:
        return []
    found = [i for i, name in enumerate(names) if _number(name) == value]
    if found or isinstance(asked, str):
        return found
    return [i for i, name in enumerate(names) if name in _TRUTH and _TRUTH[name] == value]


def choose(option: str, asked: Any, labels: Sequence[Any], *, from_end: bool = False) -> int | None:
    """Return the position of the output that `asked` means; None where it means none.

    A label wins over a position, and text is never a position. A whole number that is the label of one output and the position of another is
    refused: nobody can tell which was meant.

    Args:
        option: what the user calls the argument, for the message.
        asked: text, a number or a truth value, also of numpy.
        labels: of the outputs, in their order.
        from_end: whether -1 is the position of the last output.

    Raises:
        OptionError: several outputs could be meant; the message says how to name each.
    """
    asked = asked.item() if isinstance(asked, np.ndarray) and asked.shape == () else asked
    found = labelled(asked, labels)
    place = _position(asked, len(labels), from_end=from_end)
    if len(found) > 1:
        raise OptionError(
            Argument(option, asked), f": {len(found)} outputs are called so; ", _exactly(option, found, labels), "."
        )
    if found and place is not None and place != found[0]:
        at = _plain(asked)
        raise OptionError(
            Argument(option, at),
            f" is the label of one output and the position of another, which is called {str(labels[place])!r}. Write the label as text: ",
            Argument(option, str(labels[found[0]])),
            " for the output called so, ",
            Argument(option, str(labels[place])),
            f" for the one at position {at}.",
        )
    return found[0] if found else place


def _exactly(option: str, found: Sequence[int], labels: Sequence[Any]) -> Part:
    names = list(dict.fromkeys(str(labels[i]) for i in found))
    if len(names) < len(found):
        return "give their names to tell them apart"
    ways: list[Part] = [part for name in names for part in (" or ", Argument(option, name))]
    return ("write the label as text: ", *ways[1:])


def _plain(asked: Any) -> Any:
    return asked.item() if isinstance(asked, np.generic) else asked


def _position(asked: Any, count: int, *, from_end: bool) -> int | None:
    if isinstance(asked, bool) or not isinstance(asked, (int, np.integer)):
        return None
    place = int(asked)
    if from_end and -count <= place < 0:
        return place + count
    return place if 0 <= place < count else None


def _number(value: Any) -> int | float | None:
    """Return what a label is worth as a number; None for text that writes none, and for what is not finite."""
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            return None
        return int(value) if value.lstrip("-").isdigit() else _finite(float(value))
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (int, np.integer)):
        return int(value)
    return _finite(float(value)) if isinstance(value, (float, np.floating)) else None


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
