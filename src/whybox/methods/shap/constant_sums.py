"""Outputs that add up to the same number for every row, as probabilities of all classes do: their estimated values add up to nothing over outputs.

Each output is estimated by a process of its own, so what a feature adds to all of them is a little off nothing. It is taken from the outputs in proportion to their
variances, the same shares for all features of a row: so values of one output still add up to what they did, and an output that is known well hardly moves.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats

__all__ = ["constant_sum", "keeps_sum", "values_of_constant_sum"]

ROUNDING: Final = 1e-6  # of the largest output: probabilities in single precision add up to one within this


def constant_sum(outputs: Floats) -> float | None:
    """Return the number that several outputs of each row add up to, (rows, outputs); None where rows differ by more than rounding."""
    if outputs.shape[1] < 2:
        return None
    total = float(outputs[0].sum())
    return total if keeps_sum(outputs, total) else None


def keeps_sum(outputs: Floats, total: float) -> bool:
    """Whether outputs, the last axis, add up to a number everywhere."""
    off = np.abs(outputs.sum(axis=-1) - total).max(initial=0.0)
    return bool(off <= ROUNDING * np.abs(outputs).max(initial=0.0))


def values_of_constant_sum(
    values: Floats, variances: Floats, differs: npt.NDArray[np.bool_], *, efficient: bool = True
) -> Floats:
    """Return values that add up to nothing over outputs, where `efficient` of the same sums over features.

    Args:
        values, variances: (rows, features, outputs), or (rows, pairs of features, outputs). differs: (rows, features or pairs), those that are not worth 0 by
            definition. efficient: whether sums over features are known.
    """
    gap = values.sum(axis=2)  # (rows, features)
    own = np.maximum(differs.sum(axis=1, keepdims=True), 1)
    known = gap.sum(axis=1, keepdims=True) / own if efficient else 0.0  # so that sums over features stay as they are
    gap = np.where(differs, gap - known, 0.0)
    of_outputs = variances.sum(axis=1)
    total = of_outputs.sum(axis=1, keepdims=True)
    share = np.divide(of_outputs, total, out=np.zeros_like(of_outputs), where=total > 0)
    return np.asarray(values - gap[:, :, None] * share[:, None, :])
