"""How large an attribution may be and still be rounding, beside the predictions that it explains."""

from __future__ import annotations

import numpy as np

from whybox.data.table import Floats
from whybox.explanation.labelled import Labelled
from whybox.numerics.rounding import rounding_floor

__all__ = ["negligible_size"]


def negligible_size(e: Labelled) -> Floats:
    """Return the largest attribution that is no more than rounding, () or (outputs,): relative to the predictions explained, or to the base."""
    axes = len(e.base.shape)
    predictions = e.base if e.prediction is None else e.prediction
    return rounding_floor(np.reshape(predictions, (-1, *predictions.shape[predictions.ndim - axes :])))
