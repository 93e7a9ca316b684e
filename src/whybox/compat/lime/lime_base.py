"""``lime.lime_base``: refused by name, because no regression is fitted to samples of the caller's."""

from __future__ import annotations

from typing import Final

from whybox.compat.refused import refused_class

__all__ = ["LimeBase"]

LimeBase: Final = refused_class(
    "LimeBase",
    "wb.lime(model, X, background) draws its own rows; to fit a line to rows of yours, take a regression of scikit-learn.",
)
