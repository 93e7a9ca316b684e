"""What a layer cannot honour is refused by its name, with what to call instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from whybox.errors import OptionError

__all__ = ["refuse", "refuse_given", "refused_class", "refused_names"]


def refuse(name: str, instead: str) -> NoReturn:
    """Refuse a name or an argument of another package.

    Args:
        name: as its users write it. instead: what to call, in plain words.

    Raises:
        OptionError: in any case.
    """
    raise OptionError(f"{name} is not honoured here: {instead}")


def refuse_given(name: str, given: Any, instead: str, *, default: Any = None) -> None:
    """Refuse an argument unless it has its default.

    Args:
        name, instead: as of :func:`refuse`. given: what was passed. default: of the other package.

    Raises:
        OptionError: it was given something else.
    """
    if given is not default and not (isinstance(given, type(default)) and given == default):
        refuse(f"{name}={given!r}" if isinstance(given, (str, int, float)) else name, instead)


def refused_class(name: str, instead: str) -> type[Any]:
    """Return a class that refuses to be made, or to be asked for anything.

    Args:
        name: of the class, as its users write it. instead: what to call, in plain words.
    """

    class Refusing(type):
        def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
            refuse(name, instead)

        def __getattr__(cls, attribute: str) -> Any:
            if attribute.startswith("__"):
                raise AttributeError(attribute)
            refuse(f"{name}.{attribute}", instead)

    return Refusing(name, (), {"__doc__": f"Refused: {instead}"})


def refused_names(module: str, instead: Mapping[str, str]) -> Callable[[str], type[Any]]:
    """Return the ``__getattr__`` of a module: a class that refuses to be used, for each of these names.

    Args:
        module: its ``__name__``. instead: for each name what to call, in plain words.
    """

    def attribute(name: str) -> type[Any]:
        if name in instead:
            return refused_class(name, instead[name])
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return attribute
