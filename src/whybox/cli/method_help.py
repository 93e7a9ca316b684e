"""The methods of a command and their options as its help lists them, from the registry and the dataclasses of options."""

from __future__ import annotations

import textwrap
from dataclasses import MISSING
from typing import Final

from whybox.cli.parser import CommandParser
from whybox.methods.method_spec import MethodSpec, Option
from whybox.methods.registry import methods, options_of

__all__ = ["methods_help"]

_TEXT_WIDTH: Final = 100
_TEXT_INDENT: Final = 24


def methods_help(family: str, heading: str, command: CommandParser | None = None) -> str:
    """Return a heading, then each method of a family with what it computes and the options that not all of them have, with their defaults.

    Args:
        family: of methods. heading: of the list. command: whose own options they are, and are written so; None: they are set by an option that takes NAME=VALUE.
    """
    lines = [heading]
    shared = set.intersection(*({o.name for o in _options_taken(spec)} for spec in methods(family)))
    for spec in methods(family):
        head = f"  {spec.id:<{_TEXT_INDENT - 3}} "
        lines.append(
            textwrap.fill(spec.summary, _TEXT_WIDTH, initial_indent=head, subsequent_indent=" " * _TEXT_INDENT)
        )
        options = [
            text
            for o in _options_taken(spec)
            if o.name not in shared and (text := _option_text(o, command)) is not None
        ]
        if options:
            indent = " " * _TEXT_INDENT
            lines.append(
                textwrap.fill(
                    ", ".join(options),
                    _TEXT_WIDTH,
                    initial_indent=indent,
                    subsequent_indent=indent,
                    break_on_hyphens=False,
                )
            )
    return "\n".join(lines) + "\n\n"


def _options_taken(spec: MethodSpec) -> list[Option]:
    return [o for o in options_of(spec) if not spec.option_names or o.name in spec.option_names]


def _option_text(option: Option, command: CommandParser | None) -> str | None:
    """How an option is written; None where the command does not have it."""
    if command is not None:
        name = "--" + option.name.replace("_", "-")
        return name if command.knows(name) else None
    return option.name if option.default is MISSING or option.default is None else f"{option.name}={option.default}"
