"""Every method of the library as data: one :class:`MethodSpec` each, strings only, so that reading the list imports nothing heavy.

Dispatch, plans, the command line, reports, figures and the table in the docs come from this list. To add a method, write its file and add one entry to
`table_methods.py` or `saliency_methods.py` (a package or a test adds its own with :func:`register` or :func:`registered`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any

from whybox.errors import Argument, OptionError
from whybox.methods.method_spec import MethodSpec, Option
from whybox.methods.saliency_methods import SALIENCY_METHODS
from whybox.methods.table_methods import TABLE_METHODS

__all__ = [
    "MethodSpec",
    "Option",
    "family_ids",
    "find",
    "load",
    "load_options",
    "methods",
    "of_id",
    "options_of",
    "register",
    "registered",
]

_specs: dict[str, MethodSpec] = {}


def register(spec: MethodSpec) -> MethodSpec:
    """Add a method to the list, for as long as the process lives; return it.

    Raises:
        OptionError: its family has a method of this id already.
    """
    if spec.method_id in _specs:
        raise OptionError(f"there is a method {spec.id!r} in the family {spec.family!r} already.")
    _specs[spec.method_id] = spec
    return spec


@contextmanager
def registered(spec: MethodSpec) -> Iterator[MethodSpec]:
    """Have a method in the list for as long as the block runs: for tests, and for trying one out."""
    register(spec)
    try:
        yield spec
    finally:
        del _specs[spec.method_id]


for _spec in (*TABLE_METHODS, *SALIENCY_METHODS):
    register(_spec)


def methods(family: str | None = None, *, command: str | None = None) -> tuple[MethodSpec, ...]:
    """Return all methods, those of a family, or those that a command of ``whybox`` computes, in the order of the list."""
    return tuple(s for s in _specs.values() if family in (None, s.family) and command in (None, s.command))


def family_ids(family: str) -> tuple[str, ...]:
    """Return what the user may type for a method of this family."""
    return tuple(s.id for s in methods(family))


def find(family: str, id: Any, *, argument: str = "method", also: Sequence[str] = ()) -> MethodSpec:  # noqa: A002  # the name of the field
    """Return a method by its id.

    Args:
        family: one of FAMILIES. id: what the user typed. argument: where it was typed. also: words that the caller takes beside the ids, for the message.

    Raises:
        OptionError: the family has no such method.
    """
    found = _specs.get(f"{family}.{id}") if isinstance(id, str) else None
    if found is None:
        known = (*also, *family_ids(family))
        raise OptionError(Argument(argument, id), " is not known.", known=known)
    return found


def of_id(method_id: str) -> MethodSpec | None:
    """Return the method that evidence names by ``method_id``; None where this version does not know it."""
    return _specs.get(method_id)


def load(where: str) -> Any:
    """Import what ``"module:name"`` names."""
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)


def load_options(spec: MethodSpec) -> Any:
    """Import the dataclass of a method's options."""
    return load(spec.options)


def options_of(spec: MethodSpec) -> tuple[Option, ...]:
    """Return the options of a method, from the fields of its dataclass.

    The metadata of a field may hold ``help`` and ``choices``.
    """
    out: list[Option] = []
    for f in fields(load_options(spec)) if spec.options else ():
        default = f.default if f.default_factory is MISSING else f.default_factory()
        about: Mapping[str, Any] = f.metadata
        out.append(Option(f.name, str(f.type), default, about.get("help", ""), tuple(about.get("choices", ()))))
    return tuple(out)
