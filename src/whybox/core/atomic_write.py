"""Write a file completely or not at all."""

from __future__ import annotations

import os
import secrets
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
    # named before it is made: Ctrl-C at any moment from then on leaves nothing
    temporary_path = destination.with_name(f".{destination.name}.{secrets.token_hex(8)}.part")
    try:
        _create(temporary_path, destination)
        yield temporary_path
        temporary_path.chmod(0o666 & ~_current_umask())
        temporary_path.replace(destination)
    except BaseException:
        temporary_path.unlink(missing_ok=True)
        raise


def _create(path: Path, destination: Path) -> None:
    """Make an empty file that only this user may read.

    Raises:
        InputError: the folder does not exist or cannot be written to.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise InputError(
            f"cannot write {destination}: {error.strerror}. Choose an existing folder that you may write to."
        ) from None


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
