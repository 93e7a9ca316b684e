"""whybox explains machine-learning models.

An explanation is labelled numbers that a method computed from (model, background, rows): exactly where that is possible, with a standard
error where it is not, and it carries the evidence for itself.

    >>> import whybox as wb
    >>> explanation = wb.explain(model, X)        # doctest: +SKIP
    >>> explanation.plot.beeswarm()               # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whybox import errors as errors
    from whybox import explainers as explainers
    from whybox import networks as networks
    from whybox import typing as typing
    from whybox.api.anchors import anchors as anchors
    from whybox.api.effects import effects as effects
    from whybox.api.explain import explain as explain
    from whybox.api.importance import importance as importance
    from whybox.api.interactions import interactions as interactions
    from whybox.api.lime import lime as lime
    from whybox.api.load import load as load
    from whybox.api.plan import plan as plan
    from whybox.api.regions import regions as regions
    from whybox.checks.check import check as check
    from whybox.explanation.concat import concat as concat
    from whybox.explanation.effects import Effects as Effects
    from whybox.explanation.explanation import Explanation as Explanation
    from whybox.explanation.submodular_pick import submodular_pick as submodular_pick
    from whybox.methods.common.plan import Plan as Plan
    from whybox.methods.saliency.saliency import saliency as saliency
    from whybox.models.remote import RemoteModel as RemoteModel
    from whybox.reporting.report import report as report

__version__: str  # of the installed package; written once, in pyproject.toml

_MODULE_OF_NAME = {
    "anchors": "whybox.api.anchors",
    "check": "whybox.checks.check",
    "concat": "whybox.explanation.concat",
    "Effects": "whybox.explanation.effects",
    "effects": "whybox.api.effects",
    "Explanation": "whybox.explanation.explanation",
    "explain": "whybox.api.explain",
    "importance": "whybox.api.importance",
    "interactions": "whybox.api.interactions",
    "lime": "whybox.api.lime",
    "load": "whybox.api.load",
    "Plan": "whybox.methods.common.plan",
    "plan": "whybox.api.plan",
    "regions": "whybox.api.regions",
    "RemoteModel": "whybox.models.remote",
    "report": "whybox.reporting.report",
    "saliency": "whybox.methods.saliency.saliency",
    "submodular_pick": "whybox.explanation.submodular_pick",
}
_MODULES = ("errors", "explainers", "networks", "typing")

__all__ = [
    "Effects",
    "Explanation",
    "Plan",
    "RemoteModel",
    "__version__",
    "anchors",
    "check",
    "concat",
    "effects",
    "errors",
    "explain",
    "explainers",
    "importance",
    "interactions",
    "lime",
    "load",
    "networks",
    "plan",
    "regions",
    "report",
    "saliency",
    "submodular_pick",
    "typing",
]


def __getattr__(name: str) -> Any:
    """Load public names when they are first used; importing whybox alone costs next to nothing."""
    if name in _MODULES:
        return import_module(f"whybox.{name}")
    if name in _MODULE_OF_NAME:
        return getattr(import_module(_MODULE_OF_NAME[name]), name)
    if name == "__version__":
        return import_module("importlib.metadata").version("whybox")
    raise AttributeError(f"module 'whybox' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
