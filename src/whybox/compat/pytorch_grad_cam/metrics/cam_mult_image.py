"""The names of pytorch_grad_cam.metrics.cam_mult_image, which are refused: :func:`whybox.check` removes parts of the input."""

from __future__ import annotations

from typing import Any, Final

from whybox.compat.refused import refused_class

REFUSED: Final = (
    "CamMultImageConfidenceChange",
    "DropInConfidence",
    "IncreaseInConfidence",
)


def __getattr__(name: str) -> Any:
    """Return a class that refuses to be used, for a name of this module."""
    if name in REFUSED:
        return refused_class(
            name, "wb.check(e, model, x) removes parts of the input in the order of the map, beside random orders."
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
