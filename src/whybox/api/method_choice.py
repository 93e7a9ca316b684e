"""What every verb takes as its method: an id, an options object, or a list of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from whybox.errors import Argument, OptionError
from whybox.methods.common.options import make_options

__all__ = ["chosen_options", "for_each"]

_OptionsT = TypeVar("_OptionsT")
_ResultT = TypeVar("_ResultT")


def chosen_options(
    kind: type[_OptionsT], argument: str, chosen: Any, given: Mapping[str, Any]
) -> _OptionsT | dict[str, _OptionsT]:
    """Return the options of the method that was chosen, or of a list of methods by their ids.

    Args:
        kind: dataclass of the options. argument: its field that names the method. chosen: an id, an options object, or a list of these.
        given: options by name, for the methods that are given by their id.

    Raises:
        OptionError: an empty list, a method twice, or options both by name and in an object; others as the dataclass itself.
    """
    if not isinstance(chosen, (list, tuple)):
        return _single_options(kind, argument, chosen, given)
    if not chosen:
        raise OptionError(Argument(argument, example=""), " is empty: name at least one.")
    out: dict[str, _OptionsT] = {}
    for each in chosen:
        options = _single_options(kind, argument, each, {} if isinstance(each, kind) else given)
        name = str(getattr(options, argument))
        if name in out:
            raise OptionError(Argument(argument, example=""), f" names {name!r} twice.")
        out[name] = options
    return out


def _single_options(kind: type[_OptionsT], argument: str, chosen: Any, given: Mapping[str, Any]) -> _OptionsT:
    if isinstance(chosen, kind):
        return make_options(kind, chosen, given)
    return make_options(kind, None, {argument: chosen, **given})


def for_each(
    options: _OptionsT | dict[str, _OptionsT], run: Callable[[_OptionsT], _ResultT]
) -> _ResultT | dict[str, _ResultT]:
    """Return what `run` makes of the options, or of each of several by the ids of their methods."""
    if isinstance(options, dict):
        return {name: run(each) for name, each in options.items()}
    return run(options)
