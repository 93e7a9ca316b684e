"""The sections of a report, in their order: every file of `reporting/sections/` that declares a `SECTION`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from whybox.reporting import sections
from whybox.reporting.section import Section

__all__ = ["Section"]


def _declared_sections() -> tuple[Section, ...]:
    modules = (import_module(f"{sections.__name__}.{found.name}") for found in iter_modules(sections.__path__))
    declared = (module.SECTION for module in modules if hasattr(module, "SECTION"))
    return tuple(sorted(declared, key=lambda section: section.position))


SECTIONS: Final = _declared_sections()
