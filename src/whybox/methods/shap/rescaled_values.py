"""The known approximation behind a link: each background row's raw attributions, scaled so that they add up on the other side of it."""

from __future__ import annotations

import numpy as np

from whybox.background.marginal import Background
from whybox.data.table import Floats
from whybox.games.players import Players
from whybox.kernels import tree_shap
from whybox.kernels.predict import raw_outputs
from whybox.methods.shap.link_slopes import slopes_between
from whybox.models.trees import TreeEnsemble

__all__ = ["rescaled_attributions"]


def rescaled_attributions(
    forest: TreeEnsemble, players: Players, background: Background, moments: Floats, X: Floats
) -> Floats:
    """Return attributions of encoded rows, (rows, players, outputs).

    Args:
        moments: of the index, for as many players as a path has at most.
    """
    outputs = len(forest.outputs.names)
    out = np.zeros((len(X), players.count, outputs))
    fx, fb = raw_outputs(forest, X), raw_outputs(forest, background.matrix)
    for k in range(outputs):
        slope = slopes_between(forest.outputs.link, fx, fb, k)
        one, single = np.zeros((len(X), players.count, 1)), forest.select_output(k)
        weights = np.ascontiguousarray(slope * background.weights)
        # one row at a time where a single row could be taken for weights common to all
        for i in range(len(X)):
            tree_shap.add_interventional(
                single,
                players.of_column,
                players.count,
                np.ascontiguousarray(X[i : i + 1]),
                background.matrix,
                weights[i : i + 1],
                moments,
                1,
                one[i : i + 1],
            )
        out[..., k] = one[..., 0]
    return out
