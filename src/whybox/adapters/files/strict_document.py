"""Read untrusted documents: every access is checked, every error names the path of the bad element, unknown fields are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, NoReturn, final

import numpy as np
import numpy.typing as npt

from whybox.errors import ModelFileError, UnknownFieldError, did_you_mean, quoted_list

__all__ = ["CheckedNode", "parse_json", "parse_plain_number", "parse_plain_numbers", "read_concatenated"]

MAX_EXACT_INTEGER = (-(2**53), 2**53)  # what float64 holds exactly


# Python's own int() and float() also take underscores, foreign digits and odd blanks, which the libraries do not.
_WHOLE_NUMBER_PATTERN: Final = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL_PATTERN: Final = re.compile(
    r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?|[+-]?(inf|nan)", re.IGNORECASE
)


def parse_plain_number(text: str) -> float | None:
    """Return the number written in plain ASCII, or None."""
    return float(text) if _DECIMAL_PATTERN.fullmatch(text) else None


_NUMBER_LETTERS: Final = b"0123456789+-.eEinfaINFA "
_LONG_EXPONENT: Final = re.compile(r"[eE][+-]?[0-9]{5}")


def parse_plain_numbers(texts: Sequence[str]) -> tuple[npt.NDArray[np.float64], list[int]] | None:
    """Return the numbers, separated by blanks, that texts spell, end to end, and how many each spells; None where some is not plain.

    The same language as `plain_number`: of these letters Python's float() takes nothing else but exponents of more digits.
    """
    joined = " ".join(texts)
    if not joined.isascii() or joined.encode().translate(None, _NUMBER_LETTERS) or _LONG_EXPONENT.search(joined):
        return None
    counts: list[int] = []

    def words() -> Iterator[list[str]]:
        for text in texts:  # one at a time: words take ten times the memory of their numbers
            words_of_text = text.split()
            counts.append(len(words_of_text))
            yield words_of_text

    try:
        return np.fromiter(map(float, chain.from_iterable(words())), np.float64), counts
    except ValueError:
        return None


@final
@dataclass(frozen=True)
class CheckedNode:
    """A value of a parsed document with its path (``$.learner.trees[3]``)."""

    value: Any
    path: str = "$"

    def fail(self, what: str) -> NoReturn:
        """Raise an error about this element."""
        raise ModelFileError(f"the model file is damaged or not what it seems: {what} at {self.path}.")

    def fields(self, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, CheckedNode]:
        """Return an object's fields, all of which must be known.

        Raises:
            ModelFileError: not an object, or a required field is missing.
            UnknownFieldError: a field that this version does not know.
        """
        if not isinstance(self.value, dict):
            self.fail(f"an object was expected, not {type(self.value).__name__},")
        missing = [k for k in required if k not in self.value]
        if missing:
            self.fail(f"{quoted_list(missing)} missing")
        unknown = [k for k in self.value if k not in required and k not in optional]
        if unknown:
            raise UnknownFieldError(
                f"the model carries {quoted_list(unknown)} at {self.path}, which this version of whybox does not know, so it could mean other predictions."
                f"{did_you_mean(unknown[0], [*required, *optional]) if len(unknown) == 1 else ''} Update whybox, or report the file."
            )
        return {k: CheckedNode(v, f"{self.path}.{k}") for k, v in self.value.items()}

    def items(self) -> Iterator[CheckedNode]:
        """Yield a list's elements."""
        if not isinstance(self.value, list):
            self.fail(f"a list was expected, not {type(self.value).__name__},")
        for i, v in enumerate(self.value):
            yield CheckedNode(v, f"{self.path}[{i}]")

    def text(self) -> str:
        """Return a string."""
        if not isinstance(self.value, str):
            self.fail("text was expected")
        return str(self.value)

    def integer(self, low: int = 0, high: int = 2**31 - 1) -> int:
        """Return an integer (or its decimal text) within bounds."""
        value = self.value
        if isinstance(value, str):
            value = int(value) if _WHOLE_NUMBER_PATTERN.fullmatch(value) else self.fail("a whole number was expected")
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
            self.fail(f"a whole number from {low} to {high} was expected")
        return int(value)

    def number(self) -> float:
        """Return a finite number (or its decimal text)."""
        value = self.value
        if isinstance(value, str):
            value = (
                parse_plain_number(value)
                if parse_plain_number(value) is not None
                else self.fail("a number was expected")
            )
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
            self.fail("a finite number was expected")
        return float(value)

    def float_array(self, length: int | None = None, *, finite: bool = True) -> npt.NDArray[np.float64]:
        """Return a list of numbers."""
        array = self._number_array(np.float64, length)
        if finite and not np.isfinite(array).all():
            self.fail("a number that is not finite stands")
        return array

    def float32(self) -> float:
        """Return a number rounded to float32."""
        return float(CheckedNode([self.number()], self.path).float32_array()[0])

    def float32_array(self, length: int | None = None, *, finite: bool = True) -> npt.NDArray[np.float64]:
        """Return a list of numbers rounded to float32 (JSON writes short decimals)."""
        with np.errstate(over="ignore"):
            array = self.float_array(length, finite=finite).astype(np.float32).astype(np.float64)
        if finite and not np.isfinite(array).all():
            self.fail("a number too large for float32 stands")
        return array

    def integer_array(
        self, length: int | None = None, low: int = MAX_EXACT_INTEGER[0], high: int = MAX_EXACT_INTEGER[1]
    ) -> npt.NDArray[np.int64]:
        """Return a list of whole numbers within bounds."""
        array = self._number_array(np.float64, length)
        if not (np.isfinite(array).all() and (array == np.floor(array)).all()):
            self.fail("whole numbers were expected")
        if len(array) and (array.min() < low or array.max() > high):
            self.fail(f"a number outside {low} .. {high} stands")
        return array.astype(np.int64)

    def _number_array(self, dtype: npt.DTypeLike, length: int | None) -> npt.NDArray[Any]:
        if not isinstance(self.value, (list, np.ndarray)):
            self.fail("a list of numbers was expected")
        if isinstance(self.value, list) and not all(_is_number(v) for v in self.value):
            self.fail("a list of numbers was expected")
        try:
            array = np.asarray(self.value, dtype=dtype)
        except (ValueError, OverflowError, TypeError):
            self.fail("a list of numbers was expected")
        if array.ndim != 1 or (length is not None and len(array) != length):
            self.fail(f"{length} numbers were expected, not {array.size},")
        return array


def read_concatenated(
    nodes: Sequence[CheckedNode], lengths: Sequence[int], read: Callable[[CheckedNode, int | None], npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """Read lists of given lengths as one concatenated array; after an error read each by itself, for a message with its path."""
    values = [d.value for d in nodes]
    if all(isinstance(v, (list, np.ndarray)) and len(v) == n for v, n in zip(values, lengths, strict=True)):
        try:
            if all(isinstance(v, np.ndarray) for v in values):
                return read(CheckedNode(np.concatenate(values)), None)
            if all(isinstance(v, list) for v in values):
                return read(CheckedNode(list(chain.from_iterable(values))), None)
        except ModelFileError:
            pass
    return np.concatenate([read(d, n) for d, n in zip(nodes, lengths, strict=True)])


def _is_number(value: Any) -> bool:
    """Whether a JSON value is a number that float64 holds exactly, not a boolean or a larger integer."""
    return isinstance(value, float) or (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_EXACT_INTEGER[1]
    )


def parse_json(data: bytes) -> CheckedNode:
    """Parse JSON text from an untrusted file.

    Raises:
        ModelFileError: not JSON, truncated, nested too deeply, or with a name twice in one object.
    """
    try:
        return CheckedNode(json.loads(data, object_pairs_hook=_fields_once))
    except RecursionError:
        raise ModelFileError("the model file is nested more deeply than any model is.") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise ModelFileError(f"the model file is not valid JSON (truncated or edited?): {error}.") from None


def _fields_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [k for k, _ in pairs]
        raise ModelFileError(
            f"the model file names {quoted_list([n for n in set(names) if names.count(n) > 1])} twice in one object."
        )
    return fields
