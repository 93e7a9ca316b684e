"""Which method made a file that was written before evidence kept the method's id. Nothing else reads a method's title."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["method_before_ids"]

# title of that time -> id, what a number is, whether it has a sign
_METHOD_OF_TITLE: Final = {
    "TreeShap": ("shap.tree_shap", "attribution", True),
    "LinearShap": ("shap.linear_shap", "attribution", True),
    "Partial dependence": ("effects.pdp", "mean prediction", False),
    "Individual conditional expectation": ("effects.ice", "prediction", False),
    "Individual conditional expectation, each curve less its first point": (
        "effects.c-ice",
        "prediction, less its first",
        True,
    ),
    "Individual conditional expectation, slopes": ("effects.d-ice", "slope", True),
    "Accumulated local effects": ("effects.ale", "accumulated effect", True),
    "Mean prediction by value": ("effects.marginal", "mean prediction", False),
    "Functional ANOVA component": ("effects.anova", "added to the mean", True),
    "Partial dependence in a region": ("regions.regional", "mean prediction", False),
    "Friedman's H and the size of interactions": ("interactions.friedman_h", "size of the interaction", False),
    "Mean |TreeShap| over the rows": ("importance.shap", "mean |attribution|", False),
    "Mean |LinearShap| over the rows": ("importance.shap", "mean |attribution|", False),
    "Impurity decrease in training": ("importance.impurity", "share of impurity decrease", False),
}


def method_before_ids(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields ``method_id``, ``quantity`` and ``signed`` of evidence that was saved without them; {} where they are not known."""
    settings = evidence.get("settings") or {}
    if settings.get("method"):
        return {"method_id": f"saliency.{settings['method']}"}
    fields = _METHOD_OF_TITLE.get(evidence["method"])
    return {} if fields is None else dict(zip(("method_id", "quantity", "signed"), fields, strict=True))
