"""The names of pytorch_grad_cam.metrics.road, which are refused: :func:`whybox.check` removes parts of the input."""

from __future__ import annotations

from typing import Final

from whybox.compat.refused import refused_names

REFUSED: Final = dict.fromkeys(
    (
        "ROADCombined",
        "ROADLeastRelevantFirst",
        "ROADLeastRelevantFirstAverage",
        "ROADMostRelevantFirst",
        "ROADMostRelevantFirstAverage",
        "NoisyLinearImputer",
    ),
    "wb.check(e, model, x) removes parts of the input in the order of the map, beside random orders.",
)

__getattr__ = refused_names(__name__, REFUSED)
