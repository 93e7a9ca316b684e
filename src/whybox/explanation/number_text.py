"""Numbers as tables and figures write them."""

from __future__ import annotations

import numpy as np

__all__ = ["number_text"]


def number_text(value: float, digits: int = 4, *, sign: bool = False) -> str:
    """Return a number short enough for a table: so many digits that count, whole numbers in full up to a hundred million."""
    plus = "+" if sign else ""
    if not np.isfinite(value) or value == 0:
        return f"{value:{plus}g}"
    if not 1e-4 <= abs(value) < 1e8:
        return f"{value:{plus}.{digits - 1}e}"
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    apart = "," if abs(value) >= 10_000 else ""  # four digits may be a year
    text = f"{value:{plus}{apart}.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text
