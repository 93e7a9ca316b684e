"""What networks of every library share: one array out of what they return, names of what they take."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from whybox.errors import OptionError, did_you_mean

__all__ = ["Part", "parameters_of"]


@final
@dataclass(frozen=True)
class Part:
    """One array out of what a network returns.

    Attributes:
        key: of the part: a key, a position, the name of an attribute; None where there is one part.
        kind: the type of arrays of its library.
    """

    key: Any
    kind: Any

    def __call__(self, said: Any) -> Any:
        """Find it.

        Raises:
            OptionError: no such part, or several and none is named.
        """
        if self.key is not None:
            said = self._chosen(said)
        if isinstance(said, (tuple, list)) and len(said) == 1:
            said = said[0]
        if not isinstance(said, self.kind):
            keys = (
                list(said)
                if isinstance(said, dict)
                else list(range(len(said)))
                if isinstance(said, (tuple, list))
                else [name for name, part in getattr(said, "__dict__", {}).items() if isinstance(part, self.kind)]
            )
            raise OptionError(
                f"the network answers with {type(said).__name__}; say which part to explain: output="
                + (f"one of {keys}." if keys else "the name of a part.")
            )
        return said

    def _chosen(self, said: Any) -> Any:
        try:
            return said[self.key]
        except (KeyError, IndexError, TypeError):
            if isinstance(self.key, str) and hasattr(said, self.key):
                return getattr(said, self.key)
            known = list(said) if isinstance(said, dict) else []
            raise OptionError(
                f"output={self.key!r}: the network's answer has no such part.{did_you_mean(self.key, known)}"
            ) from None


def parameters_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of what a function takes, in order; ``"**"`` at the end where it takes any name; () where it cannot be read."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    plain = [p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY, p.KEYWORD_ONLY)]
    return (*plain, *("**" for p in found if p.kind == p.VAR_KEYWORD))
