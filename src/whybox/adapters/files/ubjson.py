"""Universal Binary JSON (draft 12), as XGBoost writes it: bounds-checked, no recursion beyond a fixed depth, typed arrays as numpy."""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np

from whybox.adapters.files.strict_document import CheckedNode
from whybox.errors import ModelFileError

__all__ = ["parse_ubjson"]

_SCALAR_FORMATS: Final = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q", b"d": ">f", b"D": ">d"}
_ARRAY_FORMATS: Final = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_CONSTANT_OF_TYPE: Final = {b"Z": None, b"T": True, b"F": False}
_ARRAY_DTYPES: Final = {kind: np.dtype(form) for kind, form in _ARRAY_FORMATS.items()}
_LENGTH_STRUCTS: Final = {kind[0]: struct.Struct(form) for kind, form in _SCALAR_FORMATS.items() if form[1] in "bBhiq"}
_MAX_DEPTH: Final = 60


class _UbjsonReader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0

    def read_bytes(self, n_bytes: int) -> bytes:
        start = self.offset
        if n_bytes < 0 or n_bytes > len(self.data) - start:
            raise ModelFileError(
                f"the UBJSON file ends inside a value (byte {start}, {n_bytes} more needed); it is truncated or edited."
            )
        self.offset = start + n_bytes
        return self.data[start : start + n_bytes]

    def read_marker(self) -> bytes:
        marker = self.read_bytes(1)
        while marker == b"N":
            marker = self.read_bytes(1)
        return marker

    def peek_byte(self) -> bytes:
        return self.data[self.offset : self.offset + 1]

    def read_scalar(self, marker: bytes) -> Any:
        struct_format = _SCALAR_FORMATS.get(marker)
        if struct_format is None:
            raise ModelFileError(f"the UBJSON file holds an unknown marker {marker!r} at byte {self.offset - 1}.")
        return struct.unpack(struct_format, self.read_bytes(struct.calcsize(struct_format)))[0]

    def read_length(self) -> int:
        start = self.offset
        length_struct = _LENGTH_STRUCTS.get(self.data[start]) if start < len(self.data) else None
        if length_struct is not None and start + 1 + length_struct.size <= len(self.data):
            self.offset = start + 1 + length_struct.size
            length = length_struct.unpack_from(self.data, start + 1)[0]
        else:
            length = self.read_scalar(self.read_marker())
        if not isinstance(length, int) or length < 0:
            raise ModelFileError(f"the UBJSON file gives a length of {length!r} at byte {self.offset}.")
        return length

    def read_text(self) -> str:
        try:
            return self.read_bytes(self.read_length()).decode()
        except UnicodeDecodeError:
            raise ModelFileError(f"the UBJSON file holds text that is not UTF-8 before byte {self.offset}.") from None

    def read_value(self, depth: int = 0) -> Any:
        marker = self.read_marker()
        if depth > _MAX_DEPTH:
            raise ModelFileError("the UBJSON file is nested more deeply than any model is.")
        if marker == b"[":
            return self.read_array(depth)
        if marker == b"S":
            return self.read_text()
        if marker == b"{":
            return self.read_object(depth)
        if marker in _CONSTANT_OF_TYPE:
            return _CONSTANT_OF_TYPE[marker]
        if marker == b"C":
            return self.read_bytes(1).decode("ascii", "replace")
        return self.read_scalar(marker)

    def read_array(self, depth: int) -> Any:
        if self.peek_byte() == b"$":
            self.read_bytes(1)
            type_marker = self.read_bytes(1)
            dtype = _ARRAY_DTYPES.get(type_marker)
            if dtype is None or self.read_bytes(1) != b"#":
                raise ModelFileError(f"the UBJSON file holds a typed array of an unknown kind at byte {self.offset}.")
            length = self.read_length()
            return np.frombuffer(self.read_bytes(length * dtype.itemsize), dtype=dtype)
        if self.peek_byte() == b"#":
            self.read_bytes(1)
            length = self.read_length()
            if length > len(self.data) - self.offset:
                raise ModelFileError(
                    f"the UBJSON file announces {length} elements at byte {self.offset}, more than it has bytes."
                )
            return [self.read_value(depth + 1) for _ in range(length)]
        values = []
        while self.peek_byte() != b"]":
            values.append(self.read_value(depth + 1))
        self.read_bytes(1)
        return values

    def read_object(self, depth: int) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        while self.peek_byte() != b"}":
            name = self.read_text()
            if name in fields:
                raise ModelFileError(f"the UBJSON file names {name!r} twice in one object.")
            fields[name] = self.read_value(depth + 1)
        self.read_bytes(1)
        return fields


def parse_ubjson(data: bytes) -> CheckedNode:
    """Parse a UBJSON document from an untrusted file.

    Raises:
        ModelFileError: truncated, edited, nested too deeply, or followed by more bytes.
    """
    reader = _UbjsonReader(data)
    value = reader.read_value()
    if reader.offset != len(data):
        raise ModelFileError(f"the UBJSON file goes on for {len(data) - reader.offset} bytes after its end.")
    return CheckedNode(value)
