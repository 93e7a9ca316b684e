"""What the functions of whybox return, for type hints and ``isinstance``; each class is loaded when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from whybox.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from whybox.checks.result import Check, Checks
    from whybox.data.table import Table
    from whybox.explanation.effects import Effects
    from whybox.explanation.evidence import Evidence
    from whybox.explanation.explanation import Explanation
    from whybox.methods.common.plan import MethodPlan, Plan
    from whybox.methods.effects.plan import EffectsPlan
    from whybox.methods.shap.plan import KernelPlan
    from whybox.models.differentiable import Differentiable

_MODULE_OF_NAME: Final = {
    "Check": "whybox.checks.result",
    "Checks": "whybox.checks.result",
    "Differentiable": "whybox.models.differentiable",
    "Effects": "whybox.explanation.effects",
    "EffectsPlan": "whybox.methods.effects.plan",
    "Evidence": "whybox.explanation.evidence",
    "Explanation": "whybox.explanation.explanation",
    "KernelPlan": "whybox.methods.shap.plan",
    "MethodPlan": "whybox.methods.common.plan",
    "Plan": "whybox.methods.common.plan",
    "Table": "whybox.data.table",
}

__all__ = [
    "Check",
    "Checks",
    "Differentiable",
    "Effects",
    "EffectsPlan",
    "Evidence",
    "Explanation",
    "KernelPlan",
    "MethodPlan",
    "Plan",
    "Table",
]

__getattr__ = lazy_names(__name__, _MODULE_OF_NAME)


def __dir__() -> list[str]:
    return sorted(__all__)
