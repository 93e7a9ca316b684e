"""Write a file completely or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whybox.errors import InputError

__all__ = ["atomic_write"]


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` when the block ends well, remove it when it does not.

    Raises:
        InputError: the path is a folder, or its folder does not exist or cannot be written to.
    """
    destination = Path(path)
    if destination.is_dir():
        raise InputError(f"cannot write {destination}: it is a folder. Name a file in it.")
    try:
        handle, temporary_name = tempfile.mkstemp(
            prefix=f".{destination.name}.", suffix=".part", dir=destination.parent or "."
        )
    except OSError as error:
        raise InputError(
            f"cannot write {destination}: {error.strerror}. Choose an existing folder that you may write to."
        ) from None
    os.close(handle)
    temporary_path = Path(temporary_name)
    try:
        yield temporary_path
        temporary_path.chmod(0o666 & ~_current_umask())
        temporary_path.replace(destination)
    except BaseException:
        temporary_path.unlink(missing_ok=True)
        raise


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
