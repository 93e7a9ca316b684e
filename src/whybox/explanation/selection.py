"""What stands between the brackets of ``e[...]`` and in ``e.sel(...)``: masks and labels of any library, as arrays and lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.data.table import is_missing
from whybox.errors import OptionError

__all__ = ["as_key"]


def as_key(key: Any, dim: str, labels: npt.NDArray[Any]) -> Any:
    """Return a key as an array, a list, or as it is.

    Args:
        key: what was given: also series, indexes and arrays of pandas, polars, pyarrow, torch, JAX; ranges.
        dim: the axis. labels: its labels, by which a mask with an index of its own is matched.

    Raises:
        OptionError: a mask with missing values, or one whose index is not that of the axis.
    """
    if isinstance(key, range):
        return list(key)
    if isinstance(key, list) and key and _all_boolean(key) and not _all_boolean(labels.tolist()):
        return np.array(key, dtype=bool)  # a mask, not the labels 0 and 1
    if isinstance(key, (np.ndarray, np.generic)) or not hasattr(key, "__array__"):
        return key
    array = np.asarray(key)
    if array.ndim == 0:
        return array.item()
    if array.dtype == object and any(isinstance(v, (bool, np.bool_)) for v in array):
        if any(is_missing(v) for v in array):
            raise OptionError(
                f"{dim}: the mask has missing values; say what they are: fill_null(False), or fillna(False)."
            )
        array = array.astype(bool)
    index: Any = getattr(key, "index", None)
    if array.dtype != bool or not hasattr(index, "to_numpy"):
        return array
    return _align_mask(array, index.to_numpy(), dim, labels)


def _align_mask(
    mask: npt.NDArray[Any], mask_labels: npt.NDArray[Any], dim: str, labels: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """A mask in the order of the axis, whose labels its index holds.

    Raises:
        OptionError: it holds others.
    """
    if mask_labels.shape == labels.shape and bool(np.all(mask_labels == labels)):
        return mask
    place = {label: i for i, label in enumerate(mask_labels.tolist())}
    wanted = labels.tolist()
    if len(place) != len(mask_labels) or len(set(wanted)) != len(wanted) or place.keys() != set(wanted):
        raise OptionError(
            f"{dim}: the index of the mask is not that of the axis, so it cannot be matched; pass mask.to_numpy() to go by position."
        )
    return mask[[place[label] for label in wanted]]


def _all_boolean(values: list[Any]) -> bool:
    return all(isinstance(v, (bool, np.bool_)) for v in values)
