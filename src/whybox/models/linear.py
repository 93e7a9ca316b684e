"""A linear model: prediction = link(base + values . weights), a missing value adding nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import ModelFileError
from whybox.models.base import Model, digest

__all__ = ["Linear"]


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Linear(Model):
    """Weights and base values, checked when made.

    Attributes:
        weights: (model columns, outputs).
        base_values: (outputs,).
    """

    weights: Floats
    base_values: Floats

    def __post_init__(self) -> None:
        shape = (self.inputs.width, len(self.outputs.names))
        if self.weights.shape != shape or self.base_values.shape != shape[1:]:
            raise ModelFileError(
                f"a linear model of {shape[0]} columns and {shape[1]} outputs has weights of shape {self.weights.shape}."
            )
        if not (np.isfinite(self.weights).all() and np.isfinite(self.base_values).all()):
            raise ModelFileError("a weight of the linear model is not finite.")
        self.weights.flags.writeable = False
        self.base_values.flags.writeable = False

    @property
    def base(self) -> Floats:
        """Constant added to each output, (outputs,)."""
        return self.base_values

    @cached_property
    def columns_read(self) -> npt.NDArray[np.int64]:
        """The columns that have a weight, in order; all others have no effect."""
        return np.flatnonzero(self.weights.any(axis=1))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over weights, base, link and class names."""
        return digest(
            self.weights, self.base_values, self.outputs.names, self.outputs.link.name, self.outputs.link.scale
        )

    def rounding_scale(self, X: Floats) -> Floats:
        """Size of the summands of each row, to which rounding is relative; (rows, outputs)."""
        size = np.abs(X if np.isfinite(X).all() else np.nan_to_num(X))
        return np.asarray(np.abs(self.base_values) + size @ np.abs(self.weights))

    def raw_outputs(self, X: Floats) -> Floats:
        """Raw outputs (rows, outputs)."""
        return np.asarray(self.base_values + np.nan_to_num(X, nan=0.0, posinf=np.inf, neginf=-np.inf) @ self.weights)
