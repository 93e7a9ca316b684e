"""The names of the lime package (0.2.0.1): ``from whybox.compat.lime import lime_tabular``."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

_MODULES: Final = (
    "discretize", "exceptions", "explanation", "lime_base", "lime_image", "lime_tabular", "lime_text", "submodular_pick", "wrappers",
)  # fmt: skip

__all__ = list(_MODULES)  # the modules of lime


def __getattr__(name: str) -> Any:
    """Load a module when it is first used."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
