"""Rank features over all rows. Methods of importance that are made of other methods are put together here: the explainer of rows is handed to them."""

from __future__ import annotations

from numbers import Integral
from typing import Any, overload

from whybox.api.explain import explain, plan_explain
from whybox.api.method_choice import chosen_options, for_each
from whybox.data.table import as_table
from whybox.explanation.explanation import Explanation
from whybox.methods.common.options import shows_first_overload
from whybox.methods.common.plan import MethodPlan, Plan
from whybox.methods.importance.options import ImportanceOptions
from whybox.methods.importance.problem import ImportanceProblem, check_truth
from whybox.methods.registry import find, load

__all__ = ["importance", "plan_importance"]


@overload
def importance(  # the promise of the public surface
    model: Any,
    X: Any = None,
    y: Any = None,
    method: str | ImportanceOptions = "shap",
    *,
    background: Any = None,
    output: Any = None,
    scale: str | None = None,
    players: Any = None,
    background_weight: Any = None,
    spot_checks: int | None = None,
) -> Explanation: ...


@overload
def importance(
    model: Any, X: Any = None, y: Any = None, *, method: list[Any] | tuple[Any, ...], **options: Any
) -> dict[str, Explanation]: ...


@shows_first_overload
def importance(
    model: Any, X: Any = None, y: Any = None, method: Any = "shap", **options: Any
) -> Explanation | dict[str, Explanation]:
    """Rank features over all rows: which ones does the model rely on?

    Args:
        model: as for :func:`explain`.
        X: rows to average over; not needed for ``method="impurity"``.
        y: the truth, for methods that measure how much worse the model gets; none of the methods below does, and y is refused.
        method: ``"shap"``: mean absolute attribution. ``"impurity"``: share of the impurity decrease (gain) in training. Or an ``ImportanceOptions`` object in place
            of the options below, or a list of these.
        background, output, scale, players, background_weight, spot_checks: as for :func:`explain`; impurity takes `players` only.

    Returns:
        Explanation of kind ``"importance"``: ``values`` (features,), or (features, outputs); a list of methods gives a dict, method -> Explanation.

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
    chosen = chosen_options(ImportanceOptions, "method", method, options)
    rows = as_table(X) if isinstance(chosen, dict) and X is not None else X  # once: a reader gives its rows once

    def rank_with(each: ImportanceOptions) -> Explanation:
        ranking: Explanation = load(find("importance", each.method).run)(_make_problem(model, rows, y, each))
        return ranking

    return for_each(chosen, rank_with)


def plan_importance(
    model: Any, X: Any = None, y: Any = None, method: Any = "shap", **options: Any
) -> Plan | dict[str, Plan]:
    """Plan :func:`importance`; `X` may be a number of rows. What a method cannot tell of its cost is NaN."""
    chosen = chosen_options(ImportanceOptions, "method", method, options)
    rows = X if X is None or isinstance(X, Integral) else as_table(X)

    def plan_with(each: ImportanceOptions) -> Plan:
        spec = find("importance", each.method)
        problem = _make_problem(model, rows, y, each)
        if spec.plan:
            method_plan: Plan = load(spec.plan)(problem)
            return method_plan
        count = 0 if rows is None else int(rows) if isinstance(rows, Integral) else len(rows)
        return MethodPlan(
            method=spec.title, method_id=spec.method_id, kernel=spec.cost or spec.summary, exact=spec.exact, rows=count
        )

    return for_each(chosen, plan_with)


def _make_problem(model: Any, X: Any, y: Any, options: ImportanceOptions) -> ImportanceProblem:
    check_truth(y, options.method)
    named = ("background", "output", "scale", "background_weight", "spot_checks")
    given = {name: value for name in named if (value := getattr(options, name)) is not None}
    return ImportanceProblem(model, X, options.players, given, explain, plan_explain, y, options)
