"""A model on the columns that it reads alone: of a hundred thousand columns of a text, trees split on a few thousand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from whybox.models.base import Model
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble

__all__ = ["columns_read", "narrowed"]


def columns_read(model: Model) -> npt.NDArray[np.int64]:
    """Model columns that some split, linear leaf or weight reads, in rising order; at least one."""
    if isinstance(model, TreeEnsemble):
        found = np.unique(np.concatenate([model.feature[model.feature >= 0], model.linear_feature])).astype(np.int64)
    elif isinstance(model, Linear):
        found = np.flatnonzero(model.weights.any(axis=1))
    else:
        found = np.arange(model.inputs.width)
    return found if len(found) else np.zeros(1, dtype=np.int64)


def narrowed(model: Model) -> Model:
    """Return the same function of the same rows, under the same fingerprint, whose matrix has only the columns that it reads."""
    columns = columns_read(model)
    if len(columns) == model.inputs.width:
        return model
    if isinstance(model, Linear):
        weights = np.ascontiguousarray(model.weights[columns])
        found: Model = replace(model, inputs=model.inputs.select_columns(columns), weights=weights)
    elif isinstance(model, TreeEnsemble):
        found = _forest(model, columns)
    else:
        return model
    vars(found)["fingerprint"] = model.fingerprint
    return found


def _forest(model: TreeEnsemble, columns: npt.NDArray[np.int64]) -> TreeEnsemble:
    place = np.full(model.inputs.width + 1, -1, dtype=np.int32)  # the last one for leaves, whose feature is -1
    place[columns] = np.arange(len(columns), dtype=np.int32)
    return replace(
        model,
        inputs=model.inputs.select_columns(columns),
        feature=place[model.feature],
        linear_feature=place[model.linear_feature] if len(model.linear_feature) else model.linear_feature,
    )
