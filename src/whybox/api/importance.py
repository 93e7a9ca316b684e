"""Rank features over all rows."""

from __future__ import annotations

from typing import Any

from whybox.api.explain import explain
from whybox.errors import OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.importance.impurity import check_method, check_truth_unused, impurity
from whybox.methods.importance.mean_abs_shap import mean_absolute
from whybox.models.registry import as_model

__all__ = ["importance"]


def importance(  # noqa: PLR0913  # the promise of the public surface
    model: Any,
    X: Any = None,
    y: Any = None,
    method: str = "shap",
    *,
    background: Any = None,
    output: Any = None,
    scale: str | None = None,
    players: Any = None,
    background_weight: Any = None,
) -> Explanation:
    """Rank features over all rows: which ones does the model rely on?

    Args:
        model: as for :func:`explain`.
        X: rows to average over; not needed for ``method="impurity"``.
        y: the truth, for methods that measure how much worse the model gets; none of the methods below does, and y is refused.
        method: ``"shap"``: mean absolute attribution. ``"impurity"``: share of the impurity decrease (gain) in training.
        background, output, scale, players, background_weight: as for :func:`explain`; impurity takes `players` only.

    Returns:
        Explanation of kind ``"importance"``: ``values`` (features,), or (features, outputs).

    Raises:
        OptionError: unknown method, or arguments that do not go with it. Others as for :func:`explain`.
    """
    check_method(method)
    if y is not None:
        check_truth_unused(y, method)
    if method == "impurity":
        if any(given is not None for given in (background, output, scale, background_weight)):
            raise OptionError(
                "method='impurity' reads the model alone: background, output, scale and background_weight do not go with it."
            )
        return impurity(as_model(model), players)
    if X is None:
        raise OptionError("method='shap' averages over rows: pass X.")
    return mean_absolute(
        explain(model, X, background, output=output, scale=scale, players=players, background_weight=background_weight)
    )
