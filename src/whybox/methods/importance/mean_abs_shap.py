"""Global importance: mean absolute attribution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from whybox.errors import OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.registry import find

__all__ = ["mean_absolute"]


def mean_absolute(explanation: Explanation) -> Explanation:
    """Return the mean absolute attribution of each feature over the rows explained.

    Args:
        explanation: attributions with a row axis, (rows, features) [, outputs].

    Returns:
        Explanation of kind ``"importance"``, (features,) [, outputs], in the units of the attributions.

    Raises:
        OptionError: not attributions of several rows.
    """
    if explanation.kind != "attribution" or explanation.dims[:2] != ("row", "feature"):
        raise OptionError("importance is taken over the rows of attributions (order 1).")
    own = find("importance", "shap").evidence_fields()
    title = f"Mean |{explanation.evidence.method}| over the rows"
    evidence = replace(explanation.evidence, **(own | {"method": title}))
    return replace(
        explanation,
        kind="importance",
        values=np.abs(explanation.values).mean(axis=0),
        dims=explanation.dims[1:],
        coords={d: v for d, v in explanation.coords.items() if d != "row"},
        prediction=None,
        data=None,
        evidence=evidence,
    )
