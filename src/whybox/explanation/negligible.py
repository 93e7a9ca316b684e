"""How large an attribution may be and still be rounding, beside the predictions that it explains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from whybox.data.table import Floats
from whybox.numerics.rounding import floor

if TYPE_CHECKING:
    from whybox.explanation.explanation import Explanation

__all__ = ["negligible"]


def negligible(e: Explanation) -> Floats:
    """Return the largest attribution that is no more than rounding, () or (outputs,): relative to the predictions explained, or to the base."""
    axes = len(e.base.shape)
    known = e.base if e.prediction is None else e.prediction
    return floor(np.reshape(known, (-1, *known.shape[known.ndim - axes :])))
