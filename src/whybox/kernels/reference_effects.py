"""The specification of feature effects: replace columns, predict, average. Slow, short."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.kernels.reference import predict
from whybox.models.trees import TreeEnsemble

__all__ = [
    "individual_curves",
    "joint_partial_dependence",
    "off_data_rows",
    "overall_interaction",
    "pair_interaction",
    "partial_dependence",
    "point_differences",
    "row_averages",
]

Columns = Sequence[int]


def with_replaced_columns(X: Floats, columns: Columns, values: Floats) -> Floats:
    """Return a copy of the rows with some columns set to these values, one row of values for all or one each."""
    out = X.copy()
    out[:, list(columns)] = values
    return out


def individual_curves(e: TreeEnsemble, columns: Columns, points: Floats, X: Floats) -> Floats:
    """ICE, (rows, points, outputs)."""
    predictions = predict(e, np.concatenate([with_replaced_columns(X, columns, v) for v in points]))
    return np.ascontiguousarray(predictions.reshape(len(points), len(X), -1).swapaxes(0, 1))


def partial_dependence(e: TreeEnsemble, columns: Columns, points: Floats, X: Floats, w: Floats) -> Floats:
    """Mean over rows, by their weights, of ICE: (points, outputs)."""
    return np.asarray(np.einsum("i,ipc->pc", w, individual_curves(e, columns, points, X)) / w.sum())


def joint_partial_dependence(
    e: TreeEnsemble, a: tuple[Columns, Floats], b: tuple[Columns, Floats], X: Floats, w: Floats
) -> Floats:
    """Mean over rows with two players set: (points of the first, points of the second, outputs)."""
    return np.stack([partial_dependence(e, *b, with_replaced_columns(X, a[0], v), w) for v in a[1]])


def point_differences(e: TreeEnsemble, columns: Columns, low: Floats, high: Floats, X: Floats) -> Floats:
    """f(row with the player at `high`) - f(row with it at `low`), both (rows, columns): (rows, outputs)."""
    return predict(e, with_replaced_columns(X, columns, high)) - predict(e, with_replaced_columns(X, columns, low))


def row_averages(e: TreeEnsemble, columns: Columns, X: Floats, w: Floats) -> Floats:
    """The mean of each row's output over the player's own values in the data: (rows, outputs)."""
    return np.asarray(np.einsum("p,ipc->ic", w, individual_curves(e, columns, X[:, list(columns)], X)) / w.sum())


def pair_interaction(e: TreeEnsemble, a: Columns, b: Columns, X: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Friedman and Popescu (2008), eq. 44: sums of w (PD_ab - PD_a - PD_b)^2 and of w PD_ab^2, centred, at the rows; (outputs,) each."""
    together = _subtract_mean(partial_dependence(e, [*a, *b], X[:, [*a, *b]], X, w), w)
    alone = [_subtract_mean(partial_dependence(e, c, X[:, list(c)], X, w), w) for c in (a, b)]
    return np.asarray(w @ (together - alone[0] - alone[1]) ** 2), np.asarray(w @ together**2)


def overall_interaction(e: TreeEnsemble, columns: Columns, X: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Friedman and Popescu (2008), eq. 45: sums of w (f - PD_j - F_j)^2 and of w f^2, centred, at the rows; (outputs,) each."""
    f = _subtract_mean(predict(e, X), w)
    alone = _subtract_mean(partial_dependence(e, columns, X[:, list(columns)], X, w), w)
    return np.asarray(w @ (f - alone - _subtract_mean(row_averages(e, columns, X, w), w)) ** 2), np.asarray(w @ f**2)


def _subtract_mean(values: Floats, w: Floats) -> Floats:
    return np.asarray(values - w @ values / w.sum())


def off_data_rows(
    changed: Floats, neighbours: Floats, itself: Sequence[int], usual_share: float
) -> npt.NDArray[np.bool_]:
    """Return whether each changed row is farther from its nearest neighbour than `usual_share` of the neighbours are from theirs, (changed rows,).

    itself: the changed row that each neighbour is, -1 for none. A row is no neighbour of its own.
    """
    between = np.sqrt(((neighbours[:, None, :] - neighbours[None, :, :]) ** 2).sum(axis=2))
    np.fill_diagonal(between, np.inf)
    own = np.sort(between.min(axis=1))
    distances = np.sqrt(((changed[:, None, :] - neighbours[None, :, :]) ** 2).sum(axis=2))
    for k, row in enumerate(itself):
        if row >= 0:
            distances[row, k] = np.inf
    return np.asarray(distances.min(axis=1) > own[int(np.ceil((len(own) - 1) * usual_share))] + 1e-12)
