"""Reduce a model to the columns that it reads: trees on a hundred thousand text columns split on a few thousand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from whybox.models.additive import Additive
from whybox.models.base import Model
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble

__all__ = ["columns_read", "narrow_to_columns_read"]


def columns_read(model: Model) -> npt.NDArray[np.int64]:
    """Model columns that a split, linear leaf, weight or table reads, in increasing order; at least one."""
    if isinstance(model, TreeEnsemble | Linear | Additive):
        columns = model.columns_read
    else:
        columns = np.arange(model.inputs.width)
    return columns if len(columns) else np.zeros(1, dtype=np.int64)


def narrow_to_columns_read(model: Model) -> Model:
    """Return the same model, with the same fingerprint, whose matrix has only the columns that it reads."""
    columns = columns_read(model)
    if len(columns) == model.inputs.width:
        return model
    if isinstance(model, Linear):
        weights = np.ascontiguousarray(model.weights[columns])
        narrow_model: Model = replace(model, inputs=model.inputs.select_columns(columns), weights=weights)
    elif isinstance(model, Additive):
        narrow_model = model.select_columns(columns, model.inputs.select_columns(columns))
    elif isinstance(model, TreeEnsemble):
        narrow_model = _narrow_trees(model, columns)
    else:
        return model
    vars(narrow_model)["fingerprint"] = model.fingerprint
    return narrow_model


def _narrow_trees(model: TreeEnsemble, columns: npt.NDArray[np.int64]) -> TreeEnsemble:
    new_position = np.full(
        model.inputs.width + 1, -1, dtype=np.int32
    )  # the last element is for leaves, whose feature is -1
    new_position[columns] = np.arange(len(columns), dtype=np.int32)
    return replace(
        model,
        inputs=model.inputs.select_columns(columns),
        feature=new_position[model.feature],
        linear_feature=new_position[model.linear_feature] if len(model.linear_feature) else model.linear_feature,
    )
