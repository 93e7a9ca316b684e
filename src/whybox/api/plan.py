"""What a call will cost, before it is made: the same for every verb."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import Any, Final, ParamSpec

from whybox.errors import OptionError, quoted_list
from whybox.methods.common.plan import Plan

__all__ = ["plan"]

_VerbParameters = ParamSpec("_VerbParameters")

# module and name of a verb -> what plans it, a function of the same arguments
_PLANNER_OF_VERB: Final = {
    "whybox.api.explain.explain": "whybox.api.explain:plan_explain",
    "whybox.api.importance.importance": "whybox.api.importance:plan_importance",
    "whybox.api.effects.effects": "whybox.api.effects:plan_effects",
    "whybox.api.interactions.interactions": "whybox.api.interactions:plan_interactions",
    "whybox.api.regions.regions": "whybox.api.regions:plan_regions",
    "whybox.api.lime.lime": "whybox.api.lime:plan_lime",
    "whybox.api.anchors.anchors": "whybox.api.anchors:plan_anchors",
    "whybox.methods.saliency.saliency.saliency": "whybox.methods.saliency.plan:plan_saliency",
    "whybox.checks.check.check": "whybox.checks.plan:plan_check",
}


def plan(
    verb: Callable[_VerbParameters, Any], /, *args: _VerbParameters.args, **kwargs: _VerbParameters.kwargs
) -> Plan:
    """Say what a call would do and cost, without making it: ``wb.plan(wb.effects, model, X, kind="ale")``.

    Args:
        verb: ``wb.explain``, ``wb.importance``, ``wb.effects``, ``wb.interactions``, ``wb.regions``, ``wb.lime``, ``wb.anchors``, ``wb.saliency`` or
            ``wb.check``.
        args, kwargs: those of the verb, as they would be given to it; type checkers hold them against its signature. For ``wb.explain`` and
            ``wb.importance`` the rows may be a number of rows: ``wb.plan(wb.explain, model, 1_000_000)``.

    Returns:
        Plan: method and kernel, exact or estimated, rows, model calls, memory, seconds; print it. Plans of single verbs say more (``predictions`` of effects,
        ``considered`` of attributions). A list of methods gives a dict, method -> Plan. Some of the work is done for a timing: attributions are timed on a
        block of made rows, effects by a few predictions, LIME on up to 64 of the rows, anchors by the rules of up to eight, saliency by the maps of up
        to five. Processor time counts, the smallest of several.

    Raises:
        OptionError: not one of these verbs. TypeError: arguments that the verb does not take. LimitError: more than ``max_evals`` allows. Others as the verb.

    Examples:
        >>> import numpy as np
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.ensemble import RandomForestRegressor
        >>> import whybox as wb
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = RandomForestRegressor(n_estimators=20, random_state=0).fit(X, y)
        >>> wb.plan(wb.explain, model, 1_000_000).kernel
        'lane walk'
        >>> X = np.column_stack([np.arange(1000.0), np.arange(1000) % 3])
        >>> wb.plan(wb.effects, lambda rows: rows.sum(axis=1), X, 0, grid=50).predictions
        150
    """
    name = f"{getattr(verb, '__module__', '')}.{getattr(verb, '__qualname__', verb)}"
    where = _PLANNER_OF_VERB.get(name)
    if where is None:
        verbs = [f"wb.{name.rpartition('.')[2]}" for name in _PLANNER_OF_VERB]
        shown = f"wb.{verb.__name__}" if hasattr(verb, "__name__") else repr(verb)
        raise OptionError(f"{shown} is not a verb that can be planned; those are {quoted_list(verbs)}.")
    try:
        bound = signature(verb).bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"wb.plan(wb.{name.rpartition('.')[2]}, ...): {error}") from None
    module, _, function = where.partition(":")
    method_plan: Plan = getattr(import_module(module), function)(*bound.args, **bound.kwargs)
    return method_plan
