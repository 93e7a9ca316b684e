"""Universal Binary JSON (draft 12), as XGBoost writes it: bounds-checked, no recursion beyond a fixed depth, typed arrays as numpy."""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np

from whybox.adapters.files.strict_document import CheckedNode
from whybox.errors import ModelFileError

__all__ = ["parse_ubjson"]

_SCALARS: Final = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q", b"d": ">f", b"D": ">d"}
_ARRAYS: Final = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_CONSTANTS: Final = {b"Z": None, b"T": True, b"F": False}
_DTYPES: Final = {kind: np.dtype(form) for kind, form in _ARRAYS.items()}
_LENGTHS: Final = {kind[0]: struct.Struct(form) for kind, form in _SCALARS.items() if form[1] in "bBhiq"}
_DEEPEST: Final = 60


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, n: int) -> bytes:
        at = self.at
        if n < 0 or n > len(self.data) - at:
            raise ModelFileError(
                f"the UBJSON file ends inside a value (byte {at}, {n} more needed); it is truncated or edited."
            )
        self.at = at + n
        return self.data[at : at + n]

    def marker(self) -> bytes:
        m = self.take(1)
        while m == b"N":
            m = self.take(1)
        return m

    def peek(self) -> bytes:
        return self.data[self.at : self.at + 1]

    def scalar(self, marker: bytes) -> Any:
        form = _SCALARS.get(marker)
        if form is None:
            raise ModelFileError(f"the UBJSON file holds an unknown marker {marker!r} at byte {self.at - 1}.")
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def length(self) -> int:
        at = self.at
        form = _LENGTHS.get(self.data[at]) if at < len(self.data) else None
        if form is not None and at + 1 + form.size <= len(self.data):
            self.at = at + 1 + form.size
            n = form.unpack_from(self.data, at + 1)[0]
        else:
            n = self.scalar(self.marker())
        if not isinstance(n, int) or n < 0:
            raise ModelFileError(f"the UBJSON file gives a length of {n!r} at byte {self.at}.")
        return n

    def text(self) -> str:
        try:
            return self.take(self.length()).decode()
        except UnicodeDecodeError:
            raise ModelFileError(f"the UBJSON file holds text that is not UTF-8 before byte {self.at}.") from None

    def value(self, depth: int = 0) -> Any:
        marker = self.marker()
        if depth > _DEEPEST:
            raise ModelFileError("the UBJSON file is nested more deeply than any model is.")
        if marker == b"[":
            return self.array(depth)
        if marker == b"S":
            return self.text()
        if marker == b"{":
            return self.object(depth)
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker == b"C":
            return self.take(1).decode("ascii", "replace")
        return self.scalar(marker)

    def array(self, depth: int) -> Any:
        if self.peek() == b"$":
            self.take(1)
            kind = self.take(1)
            dtype = _DTYPES.get(kind)
            if dtype is None or self.take(1) != b"#":
                raise ModelFileError(f"the UBJSON file holds a typed array of an unknown kind at byte {self.at}.")
            n = self.length()
            return np.frombuffer(self.take(n * dtype.itemsize), dtype=dtype)
        if self.peek() == b"#":
            self.take(1)
            n = self.length()
            if n > len(self.data) - self.at:
                raise ModelFileError(
                    f"the UBJSON file announces {n} elements at byte {self.at}, more than it has bytes."
                )
            return [self.value(depth + 1) for _ in range(n)]
        out = []
        while self.peek() != b"]":
            out.append(self.value(depth + 1))
        self.take(1)
        return out

    def object(self, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        while self.peek() != b"}":
            name = self.text()
            if name in out:
                raise ModelFileError(f"the UBJSON file names {name!r} twice in one object.")
            out[name] = self.value(depth + 1)
        self.take(1)
        return out


def parse_ubjson(data: bytes) -> CheckedNode:
    """Parse a UBJSON document from an untrusted file.

    Raises:
        ModelFileError: truncated, edited, nested too deeply, or followed by more bytes.
    """
    reader = _Reader(data)
    value = reader.value()
    if reader.at != len(data):
        raise ModelFileError(f"the UBJSON file goes on for {len(data) - reader.at} bytes after its end.")
    return CheckedNode(value)
