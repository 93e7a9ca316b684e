"""``shap.explainers``: the classes under their shorter names too."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

__all__ = ["Additive", "Deep", "Exact", "Gradient", "Kernel", "Linear", "Partition", "Permutation", "Sampling", "Tree"]  # noqa: F822  # by __getattr__

_REFUSED: Final = ("Coalition", "GPUTree", "other")


def __getattr__(name: str) -> Any:
    """Return the class of a name, with or without "Explainer".

    Raises:
        AttributeError: shap has no such explainer.
    """
    if name.removesuffix("Explainer") in __all__ or name.removesuffix("Explainer") in _REFUSED:
        whole = name if name.endswith("Explainer") or name == "other" else f"{name}Explainer"
        return getattr(import_module("whybox.compat.shap"), whole)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
