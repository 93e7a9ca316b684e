"""What calls of other libraries need: silence about their warnings, and the first line of their errors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["first_line", "suppress_warnings"]


@contextmanager
def suppress_warnings() -> Iterator[None]:
    """Suppress a library's warnings, about names and dtypes for example, while it is called on our rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def first_line(error: BaseException, max_length: int = 200) -> str:
    """Return the first line of an error message, in short."""
    return str(error).strip().partition("\n")[0][:max_length]
