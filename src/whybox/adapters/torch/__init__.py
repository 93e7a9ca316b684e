"""Torch modules."""

from __future__ import annotations

from typing import Any

from whybox.models.differentiable import Differentiable

__all__ = ["network"]


def network(obj: Any, output: Any = None) -> Differentiable:
    """Wrap a torch module; see whybox.adapters.torch.module.wrap."""
    from whybox.adapters.torch.module import wrap

    return wrap(obj, output)
