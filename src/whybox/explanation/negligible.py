"""How large an attribution may be and still be rounding, beside the predictions that it explains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, TypeVar, cast

import numpy as np

from whybox.data.table import Floats
from whybox.explanation.labelled import Labelled
from whybox.numerics.rounding import FLOAT64_ROUNDING, rounding_floor

__all__ = ["negligible_size", "without_rounding"]

_Of = TypeVar("_Of", bound=Labelled)
_OF_PREDICTIONS: Final = (
    "attribution",
    "interaction",
    "interaction_size",
)  # kinds whose values are differences of these


def negligible_size(e: Labelled) -> Floats:
    """Return the largest attribution that is no more than rounding, () or (outputs,): relative to the predictions explained, or to the base."""
    axes = len(e.base.shape)
    predictions = e.base if e.prediction is None else e.prediction
    return rounding_floor(np.reshape(predictions, (-1, *predictions.shape[predictions.ndim - axes :])))


def without_rounding(e: _Of) -> _Of:
    """Return attributions, interactions or importances whose numbers are 0 where they are no more than rounding, to be shown; others as they are.

    Errors of such values are 0 too. Nothing is computed from what is returned.
    """
    if e.kind not in (*_OF_PREDICTIONS, "importance"):
        return e
    sizes = [np.abs(a[np.isfinite(a)]).max(initial=0.0) for a in (e.values, e.base, e.prediction) if a is not None]
    own = FLOAT64_ROUNDING * max(sizes)
    floor = np.fmax(negligible_size(e), own) if e.kind in _OF_PREDICTIONS else own

    def rounded(values: Floats | None, least: Any) -> Floats | None:
        return None if values is None else np.where(np.abs(values) <= least, 0.0, values)

    shown: _Of = replace(
        cast("Any", e),
        values=rounded(e.values, floor),
        base=rounded(e.base, own),
        prediction=rounded(e.prediction, own),
        std_error=rounded(e.std_error, floor),
    )
    return shown
