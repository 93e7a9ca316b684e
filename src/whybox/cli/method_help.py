"""The methods of a command and their options as its help lists them, from the registry and the dataclasses of options."""

from __future__ import annotations

import textwrap
from dataclasses import MISSING
from typing import Final

from whybox.methods.method_spec import MethodSpec, Option
from whybox.methods.registry import methods, options_of

__all__ = ["methods_help"]

_TEXT_WIDTH: Final = 100
_TEXT_INDENT: Final = 24


def methods_help(family: str, heading: str) -> str:
    """Return a heading, then each method of a family with what it computes and the options that not all of them have, with their defaults."""
    lines = [heading]
    shared = set.intersection(*({o.name for o in _options_taken(spec)} for spec in methods(family)))
    for spec in methods(family):
        head = f"  {spec.id:<{_TEXT_INDENT - 3}} "
        lines.append(
            textwrap.fill(spec.summary, _TEXT_WIDTH, initial_indent=head, subsequent_indent=" " * _TEXT_INDENT)
        )
        options = [
            o.name if o.default is MISSING or o.default is None else f"{o.name}={o.default}"
            for o in _options_taken(spec)
            if o.name not in shared
        ]
        if options:
            indent = " " * _TEXT_INDENT
            lines.append(
                textwrap.fill(", ".join(options), _TEXT_WIDTH, initial_indent=indent, subsequent_indent=indent)
            )
    return "\n".join(lines) + "\n\n"


def _options_taken(spec: MethodSpec) -> list[Option]:
    return [o for o in options_of(spec) if not spec.option_names or o.name in spec.option_names]
