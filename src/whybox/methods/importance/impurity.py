"""Impurity importance: what splits gained in training (mean decrease in impurity, total gain), normalised to sum to one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import numpy as np

from whybox.errors import OptionError, UnsupportedModelError
from whybox.explanation.evidence import Evidence, versions
from whybox.explanation.explanation import Explanation, labels
from whybox.games.players import resolve_players
from whybox.methods.registry import find
from whybox.models.base import Model
from whybox.models.trees import TreeEnsemble

__all__ = ["METHODS", "check_method", "check_truth_unused", "impurity"]

METHODS: Final = ("shap", "impurity")


def impurity(model: Model, players: Any = None) -> Explanation:
    """Return each player's share of the impurity decrease that the model's own training recorded.

    Equal to scikit-learn's ``feature_importances_`` where it has them (forests normalise each tree first, GradientBoosting does not), and
    to the normalised ``total_gain`` of XGBoost and ``gain`` of LightGBM.

    Args:
        model: an adapted tree ensemble. players: named groups of columns; their shares add up.

    Returns:
        Explanation of kind ``"importance"``, (features,), summing to one (or all zero for a model without splits).

    Raises:
        UnsupportedModelError: not a tree ensemble, or the library keeps no gains (CatBoost).

    References:
        Breiman et al., Classification and Regression Trees (1984). Known bias: it favours features with many split points and is
        computed on training data; method="shap" on held-out rows has neither fault.
    """
    if not isinstance(model, TreeEnsemble):
        raise UnsupportedModelError(f"impurity importance is about splits; {model.kind} has none. Use method='shap'.")
    if model.gain is None:
        raise UnsupportedModelError(
            f"{model.kind} keeps no record of what its splits gained (CatBoost models do not), so there is no impurity importance. Use method='shap'."
        )
    group = resolve_players(model, model.inputs.names, players)
    values = np.zeros(group.count)
    inner = model.left >= 0
    np.add.at(values, group.of_column[model.feature[inner]], model.gain[inner])
    total = values.sum()
    spec = find("importance", "impurity")
    evidence = Evidence(
        **spec.evidence_fields(),
        kernel="sum over splits",
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
        versions=versions(model.own.library if model.own else None),
        notes=(*model.notes, "Measured on training data; it favours features with many split points."),
    )
    return Explanation(
        kind="importance",
        values=values / total if total > 0 else values,
        dims=("feature",),
        coords={"feature": labels(group.names)},
        base=np.zeros(()),
        units=spec.quantity,
        evidence=evidence,
        players={n: tuple(model.inputs.names[i] for i in m) for n, m in zip(group.names, group.members, strict=True)},
    )


def check_method(method: str) -> None:
    """Refuse what is not an importance method.

    Raises:
        OptionError: unknown method.
    """
    if method not in METHODS:
        raise OptionError(
            f"method={method!r} is not known; importance has 'shap' (mean absolute attribution) and 'impurity' (what splits gained in training)."
        )


def check_truth_unused(y: Any, method: str) -> None:
    """Refuse a truth that no method of importance uses yet, or a method in its place.

    Raises:
        OptionError: always.
    """
    if isinstance(y, str) and y in METHODS:
        raise OptionError(f"the third place of importance is y, the truth; name the method: method={y!r}.")
    raise OptionError(f"method={method!r} does not use y, the truth of each row; leave y out.")
