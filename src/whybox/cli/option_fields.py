"""Options of a command out of the dataclass that holds them in Python: each is written once, there."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from typing import Any, Final

from whybox.cli.parser import CommandParser, number, number_at_least

__all__ = ["add_fields", "given_fields"]

NONE: Final = "none"  # how None is written
_NO_VALUE: Final[Mapping[str, Sequence[str]]] = {}


def add_fields(
    parser: CommandParser,
    kind: type[Any],
    *,
    apart: Sequence[str] = (),
    choices: Mapping[str, Sequence[str]] = _NO_VALUE,
) -> None:
    """Add an option for every field that can be written as text, with its type, its default and its help; and what stands for options of other libraries.

    Args:
        parser: of the command. kind: a dataclass whose fields are made by ``whybox.methods.common.options.option``.
        apart: names of fields that the command adds in its own way. choices: values of fields that do not say them, by name.
    """
    for other, hint in getattr(kind, "INSTEAD", {}).items():
        parser.instead.setdefault(other, hint)
    for field in _written_default(kind, apart):
        name, about = "--" + field.name.replace("_", "-"), field.metadata["help"]
        if parser.knows(name):  # of a dataclass that this one derives from
            continue
        if str(field.type) == "bool":
            parser.add_argument(name, action="store_true", help=about)
            continue
        known = [c for c in field.metadata["choices"] if c is not None] or choices.get(field.name)
        if known and _may_be_none(field):
            known = [*known, NONE]
        default = "" if field.default is None else f" (default: {field.default})"
        parser.add_argument(
            name,
            type=_value_reader(str(field.type)),
            default=field.default,
            choices=known,
            metavar=None if known and len(known) <= 3 else _metavar(field),
            help=f"{about}{default}".replace("%", "%%"),
        )


def given_fields(options: argparse.Namespace, kind: type[Any], *, apart: Sequence[str] = ()) -> dict[str, Any]:
    """Return what was typed for these fields, by name, ready for the dataclass."""
    given = {field.name: (field, getattr(options, field.name)) for field in _written_default(kind, apart)}
    return {name: None if value == NONE and _may_be_none(field) else value for name, (field, value) in given.items()}


def _may_be_none(field: Field[Any]) -> bool:
    """Whether None is one of a field's values and not its default, so that it has to be written."""
    return None in field.metadata["choices"] and field.default is not None


def _written_default(kind: type[Any], apart: Sequence[str]) -> list[Field[Any]]:
    return [f for f in fields(kind) if f.metadata.get("as_text", False) and f.name not in apart]


def _value_reader(annotation: str) -> Any:
    """What turns text into a value of this type; anything but a number stays text."""
    types = {part.strip() for part in annotation.split("|")} - {"None"}
    return {frozenset({"int"}): number_at_least(None), frozenset({"float"}): number}.get(frozenset(types), str)


def _metavar(field: Field[Any]) -> str:
    return "N" if _value_reader(str(field.type)) is not str else field.name.rpartition("_")[2].upper()
