"""Impurity importance: what splits gained in training (mean decrease in impurity, total gain), normalised to sum to one."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Final

import numpy as np

from whybox.errors import Argument, UnsupportedModelError
from whybox.explanation.evidence import Evidence, library_versions
from whybox.explanation.explanation import Explanation, as_labels
from whybox.games.players import resolve_players
from whybox.methods.common.plan import MethodPlan, Plan
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.registry import find
from whybox.models.registry import as_model
from whybox.models.trees import TreeEnsemble

__all__ = ["impurity_importance", "plan_impurity"]

KERNEL_NAME: Final = "sum over splits"


def plan_impurity(problem: ImportanceProblem) -> Plan:
    """Plan :func:`impurity_importance`: the model is read, and nothing is evaluated."""
    spec = find("importance", "impurity")
    return MethodPlan(
        method=spec.title,
        method_id=spec.method_id,
        kernel=KERNEL_NAME,
        exact=True,
        rows=0,
        model_calls=0,
        memory_bytes=0.0,
        seconds=0.0,
    )


def impurity_importance(problem: ImportanceProblem) -> Explanation:
    """Return each player's share of the impurity decrease that the model's own training recorded.

    Equal to scikit-learn's ``feature_importances_`` where it has them (forests normalise each tree first, GradientBoosting does not), and
    to the normalised ``total_gain`` of XGBoost and ``gain`` of LightGBM.

    Args:
        problem: a tree ensemble, and named groups of columns, whose shares add up.

    Returns:
        Explanation of kind ``"importance"``, (features,), summing to one (or all zero for a model without splits).

    Raises:
        UnsupportedModelError: not a tree ensemble, or the library keeps no gains (CatBoost). OptionError: options that need rows.

    References:
        Breiman et al., Classification and Regression Trees (1984). Known bias: it favours features with many split points and is
        computed on training data; method="shap" on held-out rows has neither fault.
    """
    model = as_model(problem.model)
    if not isinstance(model, TreeEnsemble):
        raise UnsupportedModelError(
            f"impurity importance is about splits; {model.kind} has none. Use ", Argument("method", "shap"), "."
        )
    if model.gain is None:
        raise UnsupportedModelError(
            f"{model.kind} keeps no record of what its splits gained (CatBoost models do not), so there is no impurity importance. Use ",
            Argument("method", "shap"),
            ".",
        )
    grouped, extras = replace(problem, model=model).with_groups()
    players = resolve_players(model, model.inputs.names, grouped.players)
    values = np.zeros(players.count)
    inner = model.left >= 0
    np.add.at(values, players.of_column[model.feature[inner]], model.gain[inner])
    total = values.sum()
    spec = find("importance", "impurity")
    evidence = Evidence(
        **spec.evidence_fields(),
        kernel=KERNEL_NAME,
        exact=True,
        estimand=spec.estimand,
        index="none",
        additive=False,
        residual=0.0,
        residual_units="share",
        residual_against="nothing",
        agreement=0.0,
        tolerance=0.0,
        model=model.kind,
        verdict=asdict(model.verdict),
        fingerprints={"model": model.fingerprint},
        versions=library_versions(model.own_predict.library if model.own_predict else None),
        notes=(*model.notes, "Measured on training data; it favours features with many split points."),
    )
    return Explanation(
        kind="importance",
        values=values / total if total > 0 else values,
        dims=("feature",),
        coords={"feature": as_labels(players.names)},
        base=np.zeros(()),
        units=spec.quantity,
        evidence=evidence,
        players=players.columns_of(model.inputs.names),
        extras=extras,
    )
