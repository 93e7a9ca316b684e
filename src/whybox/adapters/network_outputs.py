"""What networks of every library share: one array out of their results, names of their inputs, short error messages."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, final

from whybox.errors import Argument, OptionError

__all__ = ["OutputPart", "followed_by", "parameter_names"]


@final
@dataclass(frozen=True)
class OutputPart:
    """One array out of a network's result.

    Attributes:
        key: a key, a position, the name of an attribute, or a tuple of these, one inside the other; None: the only array in it.
        kind: the array type of the library.
    """

    key: Any
    kind: Any

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the type by its public name, for its defining module cannot always be imported."""
        return _restore_part, (self.key, self.kind.__module__.partition(".")[0], self.kind.__name__.rpartition(".")[2])

    def __call__(self, output: Any) -> Any:
        """Return the array.

        Raises:
            OptionError: there is no such part, or there are several and none is named.
        """
        output = self.for_function(output)
        if self.key is None and not isinstance(output, self.kind):
            found = list(_arrays_in(output, self.kind))
            output = found[0] if len(found) == 1 else output
        if not isinstance(output, self.kind):
            keys = (
                list(output)
                if isinstance(output, dict)
                else list(range(len(output)))
                if isinstance(output, (tuple, list))
                else [name for name, part in getattr(output, "__dict__", {}).items() if isinstance(part, self.kind)]
            )
            raise OptionError(
                f"the network returns {type(output).__name__}"
                if self.key is None
                else (Argument("output", self.key), f" is a {type(output).__name__} itself"),
                "; name the part to explain: ",
                Argument("output", example="..."),
                "" if self.key is None else ", a tuple for a part of a part",
                f" (one of {keys})" if keys else "",
                *(
                    (", or a function of all of it: ", Argument("target", example="lambda output: ..."))
                    if self.key is None
                    else ()
                ),
                ".",
            )
        return output

    def for_function(self, output: Any) -> Any:
        """Return what a function of the outputs is given: the part that was named, else all of the result; a tuple of one array as that array.

        A list stays, however long: detectors return one thing for each row.

        Raises:
            OptionError: there is no such part.
        """
        if self.key is not None:
            output = _select_outputs(output, self.key)
        one = isinstance(output, tuple) and len(output) == 1 and isinstance(output[0], self.kind)
        return output[0] if one else output


def followed_by(before: Callable[[Any], Any], function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The head of a network after which a function of its outputs runs; after an OutputPart without a key, of all that the network returns.

    Raises:
        OptionError: in the head, if the function fails on a result that is no array.
    """
    if not isinstance(before, OutputPart):
        return lambda output: function(before(output))

    def head(output: Any) -> Any:
        given = before.for_function(output)
        try:
            return function(given)
        except (TypeError, KeyError, IndexError, AttributeError) as error:
            if isinstance(given, before.kind):
                raise
            parts = f" of {list(given)}" if isinstance(given, Mapping) else ""
            raise OptionError(
                f"the target function fails ({type(error).__name__}: {error}) on what the network returns, a {type(given).__name__}{parts}; write it for that, or name "
                "the part that it takes: ",
                Argument("output", example="..."),
                ".",
            ) from error

    return head


def _arrays_in(output: Any, kind: Any, *, whole: bool = True) -> Iterator[Any]:
    """All arrays in a result: in tuples, lists and mappings, one inside the other, and (`whole`) in the attributes of the result itself."""
    if isinstance(output, kind):
        yield output
        return
    parts: Any = ()
    if isinstance(output, Mapping):
        parts = output.values()
    elif isinstance(output, (tuple, list)):
        parts = output
    elif whole:
        parts = getattr(output, "__dict__", {}).values()
    for part in parts:
        yield from _arrays_in(part, kind, whole=False)


def _restore_part(key: Any, library: str, kind: str) -> OutputPart:
    return OutputPart(key, getattr(import_module(library), kind))


def _select_outputs(output: Any, key: Any) -> Any:
    """A part by key, position, attribute, or by several of these in turn.

    Raises:
        OptionError: there is no such part.
    """
    try:
        return output[key]
    except (KeyError, IndexError, TypeError):
        if isinstance(key, str) and hasattr(output, key):
            return getattr(output, key)
        if isinstance(key, tuple) and key:
            return (
                _select_outputs(_select_outputs(output, key[0]), key[1:])
                if len(key) > 1
                else _select_outputs(output, key[0])
            )
        known = list(output) if isinstance(output, dict) else []
        raise OptionError(Argument("output", key), ": the network's result has no such part.", known=known) from None


def parameter_names(function: Callable[..., Any], *, required: bool = False) -> tuple[str, ...]:
    """Names of a function's parameters, in order; ``"**"`` at the end if it takes any name; () if they cannot be read. `required`: those without a default."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    plain = [p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY, p.KEYWORD_ONLY)]
    if required:
        return tuple(p.name for p in plain if p.default is p.empty)
    return (*(p.name for p in plain), *("**" for p in found if p.kind == p.VAR_KEYWORD))
