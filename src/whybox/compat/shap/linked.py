"""Values of link(mean output), as shap has them: the worth of features is the link of their mean over the background, not the mean of the link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.api.explain import explainer_of
from whybox.compat.shap.answers import Budget
from whybox.compat.shap.explanation import Explanation
from whybox.core.library_calls import suppress_warnings
from whybox.data.table import Floats
from whybox.methods.shap.options import ShapOptions
from whybox.numerics.statistics import critical_value

__all__ = ["LinkedGame", "explain_linked"]

MAX_ROWS_OF_A_CALL: Final = 20_000
SPOT_CHECKS: Final = 8  # each is a coalition over the whole background


@final
class LinkedGame:
    """A function of which features are present, for one row: 1 where a feature has the row's value, 0 where it has those of the background.

    Args:
        function: of rows. link: of its outputs. row: (features,). background: (rows, features). weights: of the rows, which add up to 1. max_rows: of one call of
            the function, where one set of features takes no more.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        link: Callable[[Any], Any],
        row: npt.NDArray[Any],
        background: npt.NDArray[Any],
        weights: Floats,
        max_rows: int = MAX_ROWS_OF_A_CALL,
    ) -> None:
        self._function, self._link, self._row = function, link, row
        self._background, self._weights, self._max_rows = background, weights, max_rows

    def __call__(self, present: Any) -> Any:
        """Return link(mean output) for each set of features, (sets, features)."""
        masks = np.asarray(present) > 0.5
        size = max(1, self._max_rows // len(self._background))
        parts = [self._means(masks[start : start + size]) for start in range(0, len(masks), size)]
        return self._link(np.concatenate(parts))

    def _means(self, masks: npt.NDArray[np.bool_]) -> Any:
        rows = np.where(masks[:, None, :], self._row, self._background[None, :, :])
        with suppress_warnings():  # of estimators that were fitted to frames
            outputs = np.asarray(self._function(rows.reshape(-1, rows.shape[-1])))
        outputs = outputs.reshape(len(masks), len(self._background), *outputs.shape[1:])
        return np.einsum("ij...,j->i...", outputs, self._weights)


def explain_linked(  # as many as its callers have
    function: Callable[[Any], Any],
    link: Callable[[Any], Any],
    rows: npt.NDArray[Any],
    background: npt.NDArray[Any],
    weights: Any,
    *,
    budget: Budget,
    names: Any,
    output_names: Any = None,
    max_rows: int | None = None,
    seed: int = 0,
) -> Explanation:
    """Explain rows, one game each: exact where all coalitions fit the budget, else with standard errors.

    Args:
        function: of rows. link: of its outputs. rows: (n, features). background: (m, features), and weights of its rows or None. budget: coalitions of a row.
        names, output_names: of the features and outputs, or None. max_rows: of one call of the function. seed: of the draws.

    Raises:
        WhyboxError: as :func:`whybox.explain`.
    """
    width = background.shape[1]
    share = (
        np.full(len(background), 1.0 / len(background)) if weights is None else np.asarray(weights, dtype=np.float64)
    )
    options = ShapOptions(
        max_evals=budget.max_evals(1, 1), tol=1e-9 if budget.is_given else None, seed=seed, spot_checks=SPOT_CHECKS
    )
    present, absent = np.ones((1, width)), np.zeros((1, width))
    found = []
    for row in rows:
        game = LinkedGame(function, link, row, background, share / share.sum(), max_rows or MAX_ROWS_OF_A_CALL)
        found.append(explainer_of(game, absent, options)(present))
    error = None
    if any(e.std_error is not None for e in found):
        error = np.concatenate([np.zeros(e.shape) if e.std_error is None else e.std_error for e in found])
    values = np.concatenate([e.values for e in found])
    half = None if error is None else critical_value() * error
    return Explanation(
        values,
        base_values=np.concatenate([e.base_values for e in found]),
        data=rows,
        feature_names=[f"x{j}" for j in range(width)] if names is None else names,
        output_names=(output_names if found[0].output_names else None) or list(found[0].output_names) or None,
        error_std=error,
        lower_bounds=None if half is None else values - half,
        upper_bounds=None if half is None else values + half,
        compute_time=sum(e.evidence.seconds for e in found),
    )
