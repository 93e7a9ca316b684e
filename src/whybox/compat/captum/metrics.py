"""The names of captum.metrics, which are refused: checks of maps are :func:`whybox.check`'s."""

from __future__ import annotations

from typing import Any, Final

from whybox.compat.refused import refused_class

REFUSED: Final = {
    "infidelity": "wb.check(e, model, x) removes parts of the input in the order of the map, beside random orders.",
    "infidelity_perturb_func_decorator": "wb.check(e, model, x) perturbs inputs itself.",
    "sensitivity_max": "wb.check(e, model, x) says how far small noise moves the map.",
}


def __getattr__(name: str) -> Any:
    """Return a class that refuses to be used, for a name of captum.metrics."""
    if name in REFUSED:
        return refused_class(name, REFUSED[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
