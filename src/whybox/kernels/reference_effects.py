"""The specification of feature effects: replace columns, predict, average. Slow, short."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whybox.data.table import Floats
from whybox.kernels.reference import predict
from whybox.models.trees import TreeEnsemble

__all__ = [
    "averages",
    "individual",
    "joint",
    "overall_interaction",
    "pair_interaction",
    "partial_dependence",
    "shifted",
]

Columns = Sequence[int]


def replaced(X: Floats, columns: Columns, values: Floats) -> Floats:
    """Return a copy of the rows with some columns set to these values, one row of values for all or one each."""
    out = X.copy()
    out[:, list(columns)] = values
    return out


def individual(e: TreeEnsemble, columns: Columns, points: Floats, X: Floats) -> Floats:
    """ICE, (rows, points, outputs)."""
    predictions = predict(e, np.concatenate([replaced(X, columns, v) for v in points]))
    return np.ascontiguousarray(predictions.reshape(len(points), len(X), -1).swapaxes(0, 1))


def partial_dependence(e: TreeEnsemble, columns: Columns, points: Floats, X: Floats, w: Floats) -> Floats:
    """Mean over rows, by their weights, of ICE: (points, outputs)."""
    return np.asarray(np.einsum("i,ipc->pc", w, individual(e, columns, points, X)) / w.sum())


def joint(e: TreeEnsemble, a: tuple[Columns, Floats], b: tuple[Columns, Floats], X: Floats, w: Floats) -> Floats:
    """Mean over rows with two players set: (points of the first, points of the second, outputs)."""
    return np.stack([partial_dependence(e, *b, replaced(X, a[0], v), w) for v in a[1]])


def shifted(e: TreeEnsemble, columns: Columns, low: Floats, high: Floats, X: Floats) -> Floats:
    """f(row with the player at `high`) - f(row with it at `low`), both (rows, columns): (rows, outputs)."""
    return predict(e, replaced(X, columns, high)) - predict(e, replaced(X, columns, low))


def averages(e: TreeEnsemble, columns: Columns, X: Floats, w: Floats) -> Floats:
    """The mean of each row's output over the player's own values in the data: (rows, outputs)."""
    return np.asarray(np.einsum("p,ipc->ic", w, individual(e, columns, X[:, list(columns)], X)) / w.sum())


def pair_interaction(e: TreeEnsemble, a: Columns, b: Columns, X: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Friedman and Popescu (2008), eq. 44: sums of w (PD_ab - PD_a - PD_b)^2 and of w PD_ab^2, centred, at the rows; (outputs,) each."""
    together = _centred(partial_dependence(e, [*a, *b], X[:, [*a, *b]], X, w), w)
    alone = [_centred(partial_dependence(e, c, X[:, list(c)], X, w), w) for c in (a, b)]
    return np.asarray(w @ (together - alone[0] - alone[1]) ** 2), np.asarray(w @ together**2)


def overall_interaction(e: TreeEnsemble, columns: Columns, X: Floats, w: Floats) -> tuple[Floats, Floats]:
    """Friedman and Popescu (2008), eq. 45: sums of w (f - PD_j - F_j)^2 and of w f^2, centred, at the rows; (outputs,) each."""
    f = _centred(predict(e, X), w)
    alone = _centred(partial_dependence(e, columns, X[:, list(columns)], X, w), w)
    return np.asarray(w @ (f - alone - _centred(averages(e, columns, X, w), w)) ** 2), np.asarray(w @ f**2)


def _centred(values: Floats, w: Floats) -> Floats:
    return np.asarray(values - w @ values / w.sum())
