"""Rank features over all rows."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any, overload

from whybox.api.explain import explain, plan_explain
from whybox.api.method_choice import chosen_options, for_each, shows_first_overload
from whybox.data.table import as_table
from whybox.errors import OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.common.plan import MethodPlan, Plan
from whybox.methods.importance.mean_abs_shap import mean_absolute
from whybox.methods.importance.options import ImportanceOptions
from whybox.methods.method_spec import MethodSpec
from whybox.methods.registry import family_ids, find, load

__all__ = ["importance", "plan_importance", "plan_shap_importance", "shap_importance"]


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
        background, output, scale, players, background_weight: as for :func:`explain`; impurity takes `players` only.

    Returns:
        Explanation of kind ``"importance"``: ``values`` (features,), or (features, outputs); a list of methods gives a dict, method -> Explanation.

    Raises:
        OptionError: unknown method, or arguments that do not go with it. Others as for :func:`explain`.
    """
    chosen = chosen_options(ImportanceOptions, "method", method, options)
    rows = as_table(X) if isinstance(chosen, dict) and X is not None else X  # once: a reader gives its rows once

    def run(each: ImportanceOptions) -> Explanation:
        found: Explanation = load(_spec(each, y).run)(model, rows, y, each)
        return found

    return for_each(chosen, run)


def plan_importance(
    model: Any, X: Any = None, y: Any = None, method: Any = "shap", **options: Any
) -> Plan | dict[str, Plan]:
    """Plan :func:`importance`; `X` may be a number of rows. What a method cannot tell of its cost is NaN."""
    chosen = chosen_options(ImportanceOptions, "method", method, options)
    rows = X if X is None or isinstance(X, Integral) else as_table(X)

    def plan(each: ImportanceOptions) -> Plan:
        spec = _spec(each, y)
        if spec.plan:
            made: Plan = load(spec.plan)(model, rows, y, each)
            return made
        count = 0 if rows is None else int(rows) if isinstance(rows, Integral) else len(rows)
        return MethodPlan(
            method=spec.title, method_id=spec.method_id, kernel=spec.cost or spec.summary, exact=spec.exact, rows=count
        )

    return for_each(chosen, plan)


def _spec(options: ImportanceOptions, y: Any) -> MethodSpec:
    """The method of the options.

    Raises:
        OptionError: a truth that the method does not use, or none where it needs one.
    """
    spec = find("importance", options.method)
    if y is None and "y" in spec.needs:
        raise OptionError(f"method={spec.id!r} measures against the truth: pass y.")
    if y is not None and "y" not in (*spec.needs, *spec.takes):
        if isinstance(y, str) and y in family_ids("importance"):
            raise OptionError(f"the third place of importance is y, the truth; name the method: method={y!r}.")
        raise OptionError(f"method={spec.id!r} does not use y, the truth of each row; leave y out.")
    return spec


def shap_importance(model: Any, X: Any, y: Any, options: ImportanceOptions) -> Explanation:
    """Return the mean absolute attribution of each feature; `y` is not used.

    Raises:
        OptionError: no rows. Others as :func:`whybox.explain`.
    """
    if X is None:
        raise OptionError("method='shap' averages over rows: pass X.")
    return mean_absolute(explain(model, X, options.background, **_of_shap(options)))


def plan_shap_importance(model: Any, X: Any, y: Any, options: ImportanceOptions) -> Plan:
    """Plan :func:`shap_importance`: the plan of the attributions.

    Raises:
        OptionError: no rows.
    """
    if X is None:
        raise OptionError("method='shap' averages over rows: pass X, or how many there are.")
    spec = find("importance", "shap")
    made: Any = plan_explain(model, X, options.background, **_of_shap(options))
    of_rows: Plan = replace(made, method=f"Mean |{made.method}| over the rows", method_id=spec.method_id)
    return of_rows


def _of_shap(options: ImportanceOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("output", "scale", "players", "background_weight")}
