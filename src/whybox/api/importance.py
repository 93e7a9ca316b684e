"""Rank features over all rows. Methods of importance that are made of other methods are put together here: the explainer of rows is handed to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from whybox.api.explain import explain
from whybox.explanation.explanation import Explanation
from whybox.methods.importance.problem import ImportanceProblem, check_truth
from whybox.methods.registry import find, load

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

    Examples:
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.ensemble import RandomForestRegressor
        >>> import whybox as wb
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> model = RandomForestRegressor(20, max_depth=4, random_state=0).fit(X, y)
        >>> ranking = wb.importance(model, X[:100])
        >>> ranking.feature_names[ranking.values.argmax()]
        'bmi'
    """
    spec = find("importance", method)
    check_truth(y, method)
    options = {"background": background, "output": output, "scale": scale, "background_weight": background_weight}
    given = {name: value for name, value in options.items() if value is not None}
    compute: Callable[[ImportanceProblem], Explanation] = load(spec.run)
    return compute(ImportanceProblem(model, X, players, given, explain))
