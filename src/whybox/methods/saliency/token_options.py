"""Options of networks that read texts or token ids, as one object."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, final

__all__ = ["TokenOptions"]


@final
@dataclass(frozen=True)
class TokenOptions:
    """How texts and token ids are read; see :func:`whybox.saliency` for each.

    Attributes:
        embedding: path of the layer that embeds tokens. tokenizer: reads texts. words: True if tokens are summed to words.
        baseline_token: id or name of the token that replaces absent ones.
    """

    embedding: str | None = None
    tokenizer: Any = None
    words: bool = False
    baseline_token: Any = None

    def given(self) -> tuple[str, ...]:
        """Return the names of the options that are not left at their defaults."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) is not f.default)
