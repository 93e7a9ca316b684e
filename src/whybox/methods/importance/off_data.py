"""Where the rows go that importance changes: the share of them that lie where there are no data, a number a player."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.common.columns import Feature, Ints
from whybox.methods.common.extrapolation import OffDataShare
from whybox.methods.importance.rows_problem import RowsProblem

__all__ = ["mean_off_data"]

MAX_POINTS: Final = 20  # values of a feature, from whose shares the mean is taken


def mean_off_data(problem: RowsProblem) -> Floats:
    """Return the share of changed rows that are off the data, the mean over each feature's own values, (players,); NaN for players of several columns.

    See :mod:`whybox.methods.common.extrapolation` for when a changed row is off the data.
    """
    rows = problem.rows
    share_at = OffDataShare(rows)
    out = np.full(problem.players.count, np.nan)
    for player, members in enumerate(problem.players.members):
        if len(members) == 1:
            feature = rows.feature(members[0])
            points, at, weight = _own_values(feature, rows.weights)
            shares, _ = share_at(feature, points, at, errors_wanted=False)
            known = ~np.isnan(shares) & (weight > 0)
            if known.any():
                out[player] = float(shares[known] @ weight[known] / weight[known].sum())
    return out


def _own_values(feature: Feature, weights: Floats) -> tuple[npt.NDArray[Any], Ints, Floats]:
    """A feature's own values, of many a few quantiles: the values, which of them each row is at (-1: none), and the weight that each stands for."""
    count = len(feature.unique)
    has_value = feature.codes >= 0
    of_value = np.bincount(feature.codes[has_value], weights[has_value], minlength=count).astype(np.float64)
    if feature.kind == "category" or count <= MAX_POINTS:
        return feature.unique, feature.codes, of_value
    middle = np.cumsum(of_value) - of_value / 2.0
    chosen = np.unique(
        np.searchsorted(middle, (np.arange(MAX_POINTS) + 0.5) / MAX_POINTS * of_value.sum()).clip(0, count - 1)
    )
    position = np.full(count, -1, dtype=np.int64)
    position[chosen] = np.arange(len(chosen))
    at = np.where(has_value, position[feature.codes], -1)
    nearest = np.searchsorted((chosen[:-1] + chosen[1:]) / 2.0, np.arange(count))
    return feature.unique[chosen], at, np.bincount(nearest, of_value, minlength=len(chosen)).astype(np.float64)
