"""The names of captum.metrics, which are refused: checks of maps are :func:`whybox.check`'s."""

from __future__ import annotations

from typing import Final

from whybox.compat.refused import refused_names

REFUSED: Final = {
    "infidelity": "wb.check(e, model, x) removes parts of the input in the order of the map, beside random orders.",
    "infidelity_perturb_func_decorator": "wb.check(e, model, x) perturbs inputs itself.",
    "sensitivity_max": "wb.check(e, model, x) says how far small noise moves the map.",
}

__getattr__ = refused_names(__name__, REFUSED)
