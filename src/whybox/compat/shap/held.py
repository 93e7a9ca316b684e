"""What an Explanation holds: arrays with named axes, sliced and reduced together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np

from whybox.errors import InputError
from whybox.explanation.explanation import Explanation as OwnExplanation
from whybox.explanation.shap_explanation import dims_of_shap
from whybox.models.links import PREDICTION_UNITS

__all__ = ["Held", "cells_of", "held_of_arrays", "labels_of", "numbers_of"]

ERRORS: Final = ("error_std", "lower_bounds", "upper_bounds")
OF_VALUES: Final = ("values", *ERRORS)  # with the axes of the values


@final
@dataclass(frozen=True, eq=False)
class Held:
    """Arrays, labels and axes.

    Attributes:
        arrays: by name: values, base_values, data, display_data and the errors; None where there is none.
        names: labels of the rows, features and outputs; of an axis from which one was picked that one. dims: axes of the values.
        source: the explanation of whybox that these are slices of; None: they were given, or computed from others.
        whole: what a feature was picked from. units: of the values. history: what was done to them, in words. compute_time: seconds.
    """

    arrays: dict[str, Any]
    names: dict[str, Any]
    dims: tuple[str, ...]
    source: OwnExplanation | None = None
    whole: Held | None = None
    units: str = PREDICTION_UNITS
    history: tuple[str, ...] = ()
    compute_time: float | None = None

    def copied(self) -> Held:
        """Return the same arrays, of which each may be exchanged without the other noticing."""
        return replace(self, arrays=dict(self.arrays), names=dict(self.names))

    def exchanged(self, **arrays: Any) -> Held:
        """Return other arrays under some names, of which whybox knows nothing."""
        return replace(self, arrays={**self.arrays, **arrays}, source=None, whole=None)

    def labelled(self, dim: str, names: Any) -> Held:
        """Return other labels of an axis."""
        return replace(self, names={**self.names, dim: labels_of(names)}, source=None, whole=None)

    def sliced(self, key: Any) -> Held:
        """Slice by position or name, one entry an axis, with ``...`` for those between.

        Raises:
            IndexError: too many entries, or no such name.
        """
        keys = list(key) if isinstance(key, tuple) else [key]
        if any(k is Ellipsis for k in keys):
            at = next(i for i, k in enumerate(keys) if k is Ellipsis)
            keys[at : at + 1] = [slice(None)] * (len(self.dims) - len(keys) + 1)
        if len(keys) > len(self.dims):
            raise IndexError(f"{len(keys)} indices for the axes {self.dims}.")
        chosen = {dim: self._position(dim, k) for dim, k in zip(self.dims, keys, strict=False)}
        chosen = {dim: k for dim, k in chosen.items() if not (isinstance(k, slice) and k == slice(None))}
        if not chosen:
            return self.copied()
        everywhere = tuple(chosen.get(d, slice(None)) for d in self.dims)
        dims = tuple(d for d in self.dims if not isinstance(chosen.get(d), int))
        whole = None
        if isinstance(chosen.get("feature"), int) and "row" in dims:
            rest = {d: k for d, k in chosen.items() if d != "feature"}
            whole = self.sliced(tuple(rest.get(d, slice(None)) for d in self.dims))
        return replace(
            self,
            arrays={name: _taken(array, self.dims_of(name), chosen) for name, array in self.arrays.items()},
            names={dim: _taken_labels(names, chosen.get(dim)) for dim, names in self.names.items()},
            dims=dims,
            source=None if self.source is None else self.source[everywhere],
            whole=whole,
        )

    def _position(self, dim: str, key: Any) -> Any:
        """Turn names, operations and other explanations into positions."""
        if hasattr(key, "held"):
            key = key.held.arrays["values"]
        if isinstance(key, (np.integer, np.ndarray)) and np.ndim(key) == 0:
            return int(key)
        if isinstance(key, str):
            names = self.names.get("feature" if dim == "feature_2" else dim)
            if names is None or isinstance(names, str) or key not in list(names):
                raise IndexError(f"{key!r} is no name on the axis {dim!r}.")
            return list(names).index(key)
        if isinstance(key, (list, tuple)):
            return np.array([self._position(dim, k) if isinstance(k, str) else k for k in key])
        if hasattr(key, "dtype"):  # a mask may be a series
            key = np.asarray(key)
            if key.ndim > 1:
                raise IndexError(
                    f"positions on the axis {dim!r} are numbers in one row; these have the shape {key.shape}."
                )
        return key

    def dims_of(self, name: str) -> tuple[str, ...]:
        """Return the axes of an array."""
        if name in OF_VALUES:
            return self.dims
        array = self.arrays[name]
        count = 0 if array is None else len(array.shape)
        if name == "base_values":
            dims = tuple(d for d in self.dims if d in ("row", "output"))
            return dims[len(dims) - count :] if count < len(dims) else dims
        return tuple(d for d in ("row", "feature") if d in self.dims)[:count]

    def reduced(self, name: str, axis: int | None, function: Callable[..., Any]) -> Held:
        """Apply a function of numpy along an axis, or to all numbers.

        Args:
            name: of the operation, in a word. axis: None: all. function: of an array and an axis.
        """
        arrays = {**dict.fromkeys(self.arrays), "values": function(self.arrays["values"], axis)}
        if axis is None:
            names, history = dict.fromkeys(self.names), (*self.history, name)
            return replace(self, arrays=arrays, names=names, dims=(), source=None, whole=None, history=history)
        axis %= len(self.dims)
        gone = self.dims[axis]
        for other in ("base_values", "data"):
            dims, array = self.dims_of(other), self.arrays[other]
            if gone in dims and isinstance(array, np.ndarray) and array.dtype.kind in "fiub":
                arrays[other] = function(array, dims.index(gone))
            elif gone == "output" and gone not in dims:
                arrays[other] = array
        return replace(
            self,
            arrays=arrays,
            names={d: None if d == gone else names for d, names in self.names.items()},
            dims=tuple(d for i, d in enumerate(self.dims) if i != axis),
            source=None,
            whole=None,
            history=(*self.history, f"{name} over {gone.removesuffix('_2')}s"),
        )

    def with_values(self, name: str, values: Any, *, keeps: tuple[str, ...] = ()) -> Held:
        """Return other values of the same shape.

        Args:
            name: of the operation, in a word. values: the new ones. keeps: which other arrays are still true.
        """
        arrays = {each: array if each in keeps else None for each, array in self.arrays.items()}
        history = (*self.history, name)
        return replace(self, arrays={**arrays, "values": values}, source=None, whole=None, history=history)

    def operated(self, name: str, other: Any, function: Callable[[Any, Any], Any]) -> Held:
        """Apply an operation to values and bases; the rows stay as they are."""
        held = getattr(other, "held", None)
        new: dict[str, Any] = dict.fromkeys(ERRORS)
        for each in ("values", "base_values"):
            mine, others = self.arrays[each], other if held is None else held.arrays[each]
            new[each] = None if mine is None or others is None else function(mine, others)
        return replace(self.exchanged(**new), history=(*self.history, name))

    def to_whybox(self, like: Any) -> OwnExplanation:
        """Return the explanation of whybox; `like` has the same arrays as attributes.

        Raises:
            InputError: the numbers are no attributions.
        """
        return OwnExplanation.from_shap(like, units=self.units) if self.source is None else self.source


def held_of_arrays(arrays: dict[str, Any], names: dict[str, Any], compute_time: float | None) -> Held:
    """Return what arrays hold that somebody gives; their axes follow from the shapes of what stands beside the values.

    Raises:
        InputError: there are no values, or the arrays do not fit each other.
    """
    values, base, data = arrays["values"], arrays["base_values"], arrays["data"]
    if values is None:
        raise InputError("an Explanation needs values.")
    base = np.asarray(np.nan if base is None else base)
    if base.shape == (1,) and np.ndim(values if data is None else data) == 1:
        base = base[0]  # an expected value beside one row
        arrays = {**arrays, "base_values": base}
    dims = dims_of_shap(_Like(data, names["output"]), values, base)
    return Held(arrays, {d: labels_of(n) for d, n in names.items()}, dims, compute_time=compute_time)


@final
@dataclass(frozen=True)
class _Like:
    """What :func:`dims_of_shap` reads."""

    data: Any
    output_names: Any


def numbers_of(array: Any) -> Any:
    """Return numbers as an array; None as it is."""
    if array is None:
        return None
    return array if isinstance(array, np.ndarray) and array.dtype.kind in "fiu" else np.asarray(array, dtype=np.float64)


def cells_of(table: Any) -> Any:
    """Return rows as an array; a sparse matrix as it is."""
    if table is None or hasattr(table, "tocsr"):
        return table
    return table.to_numpy() if hasattr(table, "to_numpy") else np.asarray(table)


def labels_of(names: Any) -> Any:
    """Return labels as a list of texts; one label, and None, as they are."""
    return names if names is None or isinstance(names, str) else [str(name) for name in names]


def _taken(array: Any, dims: tuple[str, ...], chosen: Mapping[str, Any]) -> Any:
    """Slice an array along those of its axes that are chosen, from the last, so that the others keep their places."""
    if array is None:
        return None
    for axis in reversed(range(len(dims))):
        if dims[axis] in chosen:
            array = array[(slice(None),) * axis + (chosen[dims[axis]],)]
    return array


def _taken_labels(names: Any, key: Any) -> Any:
    if names is None or key is None or isinstance(names, str):
        return names
    return names[key] if isinstance(key, (int, slice)) else [names[i] for i in np.arange(len(names))[key]]
