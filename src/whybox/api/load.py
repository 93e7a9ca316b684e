"""Read what was saved."""

from __future__ import annotations

from pathlib import Path

from whybox.explanation.effects import Effects
from whybox.explanation.explanation import Explanation

__all__ = ["load"]


def load(path: str | Path) -> Explanation | Effects:
    """Read what was saved by ``Explanation.save`` or ``Effects.save``.

    Raises:
        ExplanationFileError: not such a file, truncated, edited, or of another version.
    """
    from whybox.explanation.load import load as load_file

    return load_file(path)
