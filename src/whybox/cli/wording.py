"""How the command line writes the arguments that an error mentions: ``--output x`` for ``output='x'``."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from whybox.errors import Argument

__all__ = ["Wording", "speller", "typed"]

_SHELL_SAFE = re.compile(r"[\w@%+=:,./{}-]+", re.ASCII)


def typed(text: str) -> str:
    """Return a word as one types it into a shell, in quotes where it needs them."""
    if _SHELL_SAFE.fullmatch(text):
        return text
    return shlex.quote(text) if set('"$`\\!') & set(text) else f'"{text}"'


def _is_never_option(name: str) -> bool:
    del name
    return False


@final
@dataclass(frozen=True)
class Wording:
    """How a command names what Python calls otherwise.

    Attributes:
        places: from the Python name of an argument to the ``dest`` of its option, where the two differ.
        is_method_option: whether a Python name is given as ``--option NAME=VALUE``.
    """

    places: Mapping[str, str]
    is_method_option: Callable[[str], bool] = _is_never_option


def speller(command: argparse.ArgumentParser, wording: Wording, words: Sequence[str] = ()) -> Callable[[Argument], str]:
    """Return the function that writes an argument as an option of a command; an option of several names as it stands in the `words` that were typed."""
    typed_names = {word.partition("=")[0] for word in words}
    actions = {action.dest: action for action in command._actions}  # noqa: SLF001  # argparse has no public list

    def spell(argument: Argument) -> str:
        action = actions.get(wording.places.get(argument.name, argument.name))
        if action is not None:
            return _option_name(action, argument, typed_names)
        if wording.is_method_option(argument.name):
            return f"--option {_option_setting(argument)}"
        return f"{argument} (in Python)" if argument.name.isidentifier() else argument.name

    return spell


def _option_name(action: argparse.Action, argument: Argument, typed_names: Collection[str]) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest)
    name = next((n for n in action.option_strings if n in typed_names), action.option_strings[-1])
    if action.nargs == 0:
        return f"leaving {name} out" if argument.has_value and not argument.given else name
    if argument.example is not None:
        return f"{name} {action.metavar or action.dest.upper()}"
    return f"{name} {_option_value(argument)}" if argument.has_value else name


def _option_value(argument: Argument) -> str:
    given = argument.given
    if given is None:
        return "none"
    return typed(",".join(map(str, given)) if isinstance(given, (tuple, list)) else str(given))


def _option_setting(argument: Argument) -> str:
    if argument.example is not None:
        return f"{argument.name}=..."
    return typed(f"{argument.name}={argument.given}") if argument.has_value else argument.name
