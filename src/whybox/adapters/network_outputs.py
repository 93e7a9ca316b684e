"""What networks of every library share: one array out of what they return, names of what they take, what their library says in short."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, final

from whybox.errors import Argument, OptionError

__all__ = ["Part", "first_line", "parameters_of"]


@final
@dataclass(frozen=True)
class Part:
    """One array out of what a network returns.

    Attributes:
        key: of the part: a key, a position, the name of an attribute, or a tuple of these, one inside the other; None where there is one part.
        kind: the type of arrays of its library.
    """

    key: Any
    kind: Any

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the type by its public name, for the one it is defined under cannot always be imported."""
        return _restored, (self.key, self.kind.__module__.partition(".")[0], self.kind.__name__.rpartition(".")[2])

    def __call__(self, said: Any) -> Any:
        """Find it.

        Raises:
            OptionError: no such part, or several and none is named.
        """
        if self.key is not None:
            said = _chosen(said, self.key)
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
                f"the network answers with {type(said).__name__}"
                if self.key is None
                else (Argument("output", self.key), f" is a {type(said).__name__} itself"),
                "; say which part to explain with ",
                Argument("output", example="..."),
                "" if self.key is None else ", a tuple for a part of a part",
                f" (one of {keys})." if keys else ".",
            )
        return said


def _restored(key: Any, library: str, kind: str) -> Part:
    return Part(key, getattr(import_module(library), kind))


def _chosen(said: Any, key: Any) -> Any:
    """A part by key, position, attribute, or by several of these one after the other.

    Raises:
        OptionError: there is none.
    """
    try:
        return said[key]
    except (KeyError, IndexError, TypeError):
        if isinstance(key, str) and hasattr(said, key):
            return getattr(said, key)
        if isinstance(key, tuple) and key:
            return _chosen(_chosen(said, key[0]), key[1:]) if len(key) > 1 else _chosen(said, key[0])
        known = list(said) if isinstance(said, dict) else []
        raise OptionError(Argument("output", key), ": the network's answer has no such part.", known=known) from None


def parameters_of(function: Callable[..., Any], *, required: bool = False) -> tuple[str, ...]:
    """Names of what a function takes, in order; ``"**"`` at the end where it takes any name; () where it cannot be read. `required`: those without a default."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    plain = [p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY, p.KEYWORD_ONLY)]
    if required:
        return tuple(p.name for p in plain if p.default is p.empty)
    return (*(p.name for p in plain), *("**" for p in found if p.kind == p.VAR_KEYWORD))


def first_line(error: BaseException) -> str:
    """What an error says, in short."""
    return str(error).strip().partition("\n")[0][:200]
