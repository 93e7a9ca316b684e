"""What a model offers to methods, in the words of the registry: which methods can explain it."""

from __future__ import annotations

from typing import Final

from whybox.methods.method_spec import MethodSpec
from whybox.models.additive import Additive
from whybox.models.base import Model
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble

__all__ = ["can_explain", "model_abilities"]

_OF_MODEL: Final = (
    "trees",
    "linear",
    "additive",
    "predict",
    "gradients",
)  # needs that the model meets or not; others are arguments


def model_abilities(model: Model) -> frozenset[str]:
    """Return what a model offers: its trees, its weights or its tables, and always predictions."""
    kinds = {
        "trees": isinstance(model, TreeEnsemble),
        "linear": isinstance(model, Linear),
        "additive": isinstance(model, Additive),
        "predict": True,
    }
    return frozenset(name for name, there in kinds.items() if there)


def can_explain(spec: MethodSpec, model: Model) -> bool:
    """Return whether a method can explain a model, as far as the model itself decides."""
    return {name for name in spec.needs if name in _OF_MODEL} <= model_abilities(model)
