"""``pytorch_grad_cam.utils.model_targets``: which number of a row's output is explained. Any function of one row's output will do."""

from __future__ import annotations

from typing import Any

import torch

__all__ = [
    "BinaryClassifierOutputTarget",
    "ClassifierOutputReST",
    "ClassifierOutputSoftmaxTarget",
    "ClassifierOutputTarget",
    "RawScoresOutputTarget",
    "SemanticSegmentationTarget",
]


class _OfCategory:
    """A target with a category."""

    def __init__(self, category: Any) -> None:
        self.category = category


class ClassifierOutputTarget(_OfCategory):
    """The output of a category."""

    def __call__(self, model_output: Any) -> Any:
        """Return it."""
        return model_output[..., self.category]


class ClassifierOutputSoftmaxTarget(_OfCategory):
    """The softmax of a category."""

    def __call__(self, model_output: Any) -> Any:
        """Return it."""
        return torch.softmax(model_output, dim=-1)[..., self.category]


class ClassifierOutputReST(_OfCategory):
    """The output of a category and the logarithm of its softmax, added."""

    def __call__(self, model_output: Any) -> Any:
        """Return it."""
        return model_output[..., self.category] + torch.log_softmax(model_output, dim=-1)[..., self.category]


class BinaryClassifierOutputTarget(_OfCategory):
    """The only output; of the category 0 its negative."""

    def __call__(self, model_output: Any) -> Any:
        """Return it."""
        return model_output if self.category == 1 else -model_output


class RawScoresOutputTarget:
    """The only output."""

    def __call__(self, model_output: Any) -> Any:
        """Return it."""
        return model_output


class SemanticSegmentationTarget:
    """The sum of a category's scores over the positions of a mask, (y, x)."""

    def __init__(self, category: int, mask: Any) -> None:
        self.category, self.mask = category, torch.as_tensor(mask)

    def __call__(self, model_output: Any) -> Any:
        """Return it."""
        return (model_output[self.category] * self.mask.to(model_output.device)).sum()
