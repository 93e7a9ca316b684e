"""``shap.Explanation``: arrays that are sliced together, beside the explanation of whybox that they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.compat.refused import refuse
from whybox.compat.shap.op_chain import OpChain
from whybox.errors import InputError, OptionError
from whybox.explanation.explanation import Explanation as OwnExplanation
from whybox.explanation.shap_explanation import dims_of_shap
from whybox.models.links import PREDICTION_UNITS

__all__ = ["Explanation", "explanation_of"]

_OF_VALUES: Final = ("values", "error_std", "lower_bounds", "upper_bounds")  # with the axes of the values
_NOT_HELD: Final = ("main_effects", "hierarchical_values", "clustering", "output_indexes")


class _Chains(type):
    """``Explanation.abs.mean(0)``: operations for later."""

    def __getattr__(cls, name: str) -> OpChain:
        if name in OPERATIONS:
            return OpChain()._with(name)  # noqa: SLF001  # its first operation
        raise AttributeError(f"type object 'Explanation' has no attribute {name!r}")

    def __getitem__(cls, key: Any) -> OpChain:
        return OpChain()[key]


OPERATIONS: Final = ("abs", "argsort", "flip", "hclust", "identity", "max", "mean", "min", "sample", "sum")


class Explanation(metaclass=_Chains):
    """Values of rows and features, with their bases, rows and names, sliced together: ``e[0]``, ``e[:, "age"]``, ``e[..., 1]``.

    ``abs``, ``argsort`` and ``flip`` are properties, ``mean``, ``max``, ``min``, ``sum`` and ``percentile`` methods, as in shap; a number has its standard error in
    ``std_error`` where it was estimated. ``e.to_whybox()`` is the explanation of whybox, with its evidence; ``e.to_shap()`` is a ``shap.Explanation``.

    Args:
        values: (rows, features) [, features] [, outputs], or of one row without the first axis; or another Explanation.
        base_values: one number, (rows,), (outputs,) or (rows, outputs). data: the rows, array or frame. display_data: the rows as they are shown.
        instance_names, feature_names, output_names: labels. lower_bounds, upper_bounds, error_std: with the axes of the values.
        compute_time: seconds. output_indexes, main_effects, hierarchical_values, clustering: refused.

    Raises:
        OptionError: an argument that is not held. InputError: the arrays do not fit each other.
    """

    def __init__(
        self,
        values: Any,
        base_values: Any = None,
        data: Any = None,
        display_data: Any = None,
        instance_names: Sequence[Any] | None = None,
        feature_names: Sequence[Any] | None = None,
        output_names: Any = None,
        output_indexes: Any = None,
        lower_bounds: Any = None,
        upper_bounds: Any = None,
        error_std: Any = None,
        main_effects: Any = None,
        hierarchical_values: Any = None,
        clustering: Any = None,
        compute_time: float | None = None,
    ) -> None:
        given = (main_effects, hierarchical_values, clustering, output_indexes)
        for name, array in zip(_NOT_HELD, given, strict=True):
            if array is not None:
                refuse(f"{name} of shap.Explanation", "an Explanation holds values, bases, rows, names and errors.")
        if isinstance(values, Explanation):
            self.__dict__.update(values._copied().__dict__)
            return
        if feature_names is None and hasattr(data, "columns"):
            feature_names = list(data.columns)
        elif feature_names is None and hasattr(data, "index") and hasattr(data, "to_frame"):  # a series: one row
            feature_names = list(data.index)
        arrays = {"values": _numbers(values), "base_values": _numbers(base_values), "data": _cells(data)}
        arrays |= {"display_data": _cells(display_data), "error_std": _numbers(error_std)}
        arrays |= {"lower_bounds": _numbers(lower_bounds), "upper_bounds": _numbers(upper_bounds)}
        self._arrays: dict[str, Any] = arrays
        self._names: dict[str, Any] = {"row": instance_names, "feature": feature_names, "output": output_names}
        self._dims = self._find_dims()
        self._names = {dim: _labels(names) for dim, names in self._names.items()}
        self._source: OwnExplanation | None = None
        self._whole: Explanation | None = None  # that a feature was picked from
        self._units = PREDICTION_UNITS
        self.compute_time = compute_time
        self.op_history: list[str] = []

    def _find_dims(self) -> tuple[str, ...]:
        """The axes of the values, from the shapes of what stands beside them."""
        like = _Like(self._arrays, self._names)
        if self._arrays["values"] is None:
            raise InputError("an Explanation needs values.")
        base = np.asarray(np.nan if self._arrays["base_values"] is None else self._arrays["base_values"])
        rows = self._arrays["data"] if self._arrays["data"] is not None else self._arrays["values"]
        if base.shape == (1,) and np.ndim(rows) == 1:
            base = base[0]  # an expected value beside one row
            self._arrays["base_values"] = base
        return dims_of_shap(like, self._arrays["values"], base)

    # what it holds

    def __getattr__(self, name: str) -> Any:
        if name in ("_arrays", "_names", "_dims"):  # while it is made or unpickled
            raise AttributeError(name)
        if name in self._arrays:
            return self._arrays[name]
        if name in _NOT_HELD:
            return None
        raise AttributeError(f"'Explanation' object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("values", "base_values", "data", "display_data"):
            self._arrays[name] = _cells(value) if name in ("data", "display_data") else _numbers(value)
            object.__setattr__(self, "_source", None)
        elif name in ("feature_names", "output_names", "instance_names"):
            dim = {"feature_names": "feature", "output_names": "output", "instance_names": "row"}[name]
            self._names[dim] = _labels(value)
            object.__setattr__(self, "_source", None)
        else:
            object.__setattr__(self, name, value)

    @property
    def feature_names(self) -> Any:
        """Names of the features, or the one that was picked."""
        return self._names["feature"]

    @property
    def output_names(self) -> Any:
        """Names of the outputs, or the one that was picked; None where there is one output."""
        return self._names["output"]

    @property
    def instance_names(self) -> Any:
        """Labels of the rows, or None."""
        return self._names["row"]

    @property
    def std_error(self) -> Any:
        """Standard errors of the values; None where they are exact or nobody knows."""
        return self._arrays["error_std"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        shape: tuple[int, ...] = self._arrays["values"].shape
        return shape

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self._arrays["values"], dtype=dtype, copy=True if copy is None else copy)

    def __repr__(self) -> str:
        parts = [f".{name} =\n{self._arrays[name]!r}" for name in ("values", "base_values", "data")]
        return "\n\n".join(parts)

    # the explanation of whybox, and shap's

    def to_whybox(self) -> OwnExplanation:
        """Return the explanation of whybox: with its evidence, where nothing but slices was taken since it was computed.

        Raises:
            InputError: of texts that were cut, or of numbers that are no attributions.
        """
        if self._source is not None:
            return self._source
        return OwnExplanation.from_shap(self, units=self._units)

    def to_shap(self) -> Any:
        """Return a ``shap.Explanation``, for shap's own figures.

        Raises:
            MissingDependencyError: shap is not installed. OptionError: of texts.
        """
        return self.to_whybox().to_shap()

    # slices

    def __getitem__(self, key: Any) -> Explanation:
        """Slice by position or name, one entry an axis, with ``...`` for those between."""
        keys = list(key) if isinstance(key, tuple) else [key]
        if any(k is Ellipsis for k in keys):
            at = next(i for i, k in enumerate(keys) if k is Ellipsis)
            keys[at : at + 1] = [slice(None)] * (len(self._dims) - len(keys) + 1)
        if len(keys) > len(self._dims):
            raise IndexError(f"{len(keys)} indices for the axes {self._dims}.")
        chosen = {dim: self._position(dim, k) for dim, k in zip(self._dims, keys, strict=False)}
        chosen = {dim: k for dim, k in chosen.items() if not (isinstance(k, slice) and k == slice(None))}
        out = self._copied()
        for name, array in self._arrays.items():
            out._arrays[name] = _taken(array, self._dims_of(name), chosen)
        for dim, k in chosen.items():
            names = self._names.get(dim)
            if names is not None and not isinstance(names, str):
                out._names[dim] = names[k] if isinstance(k, (int, slice)) else [names[i] for i in np.arange(len(names))[k]]
        out._dims = tuple(d for d in self._dims if not isinstance(chosen.get(d), int))
        if isinstance(chosen.get("feature"), int) and "row" in out._dims:
            rest = {d: k for d, k in chosen.items() if d != "feature"}
            out._whole = self[tuple(rest.get(d, slice(None)) for d in self._dims)] if rest else self
        if self._source is not None and chosen:
            out._source = self._source[tuple(chosen.get(d, slice(None)) for d in self._dims)]
        return out

    def _position(self, dim: str, key: Any) -> Any:
        """Turn names, chains and other explanations into positions."""
        if isinstance(key, OpChain):
            key = key.apply(self)
        if isinstance(key, Explanation):
            key = key._arrays["values"]
        if isinstance(key, (np.integer, np.ndarray)) and np.ndim(key) == 0:
            return int(key)
        if isinstance(key, str):
            names = self._names.get("feature" if dim == "feature_2" else dim)
            if names is None or isinstance(names, str) or key not in list(names):
                raise IndexError(f"{key!r} is no name on the axis {dim!r}.")
            return list(names).index(key)
        if isinstance(key, (list, tuple)):
            return np.array([self._position(dim, k) if isinstance(k, str) else k for k in key])
        return np.asarray(key) if hasattr(key, "dtype") else key  # a mask may be a series

    def _dims_of(self, name: str) -> tuple[str, ...]:
        """The axes of an array, as they are now."""
        if name in _OF_VALUES:
            return self._dims
        if name == "base_values":
            dims = tuple(d for d in self._dims if d in ("row", "output"))
            count = np.ndim(self._arrays[name]) if self._arrays[name] is not None else 0
            return dims[len(dims) - count :] if count < len(dims) else dims
        wanted = ("row", "feature")
        return tuple(d for d in wanted if d in self._dims)[: _ndim(self._arrays[name])]

    def _copied(self) -> Explanation:
        out = object.__new__(Explanation)
        out.__dict__.update(self.__dict__)
        out._arrays, out._names, out.op_history = dict(self._arrays), dict(self._names), list(self.op_history)
        return out

    # operations

    def _reduced(self, name: str, axis: int | None, function: Callable[..., Any]) -> Explanation:
        """Apply a function of numpy along an axis, or to all numbers."""
        out = self._copied()
        out._source, out._whole = None, None
        out._arrays = {**dict.fromkeys(self._arrays), "values": function(self._arrays["values"], axis)}
        if axis is None:
            out._dims = ()
        else:
            axis %= len(self._dims)
            gone = self._dims[axis]
            out._dims = tuple(d for i, d in enumerate(self._dims) if i != axis)
            out._names = {d: (None if d == gone else names) for d, names in self._names.items()}
            for other in ("base_values", "data"):
                dims, array = self._dims_of(other), self._arrays[other]
                if gone in dims and _is_numeric(array):
                    out._arrays[other] = function(array, dims.index(gone))
                elif gone not in dims and other == "base_values":
                    out._arrays[other] = array if gone == "output" else None
        out.op_history.append(name if axis is None else f"{name} over {self._dims[axis]}s".replace("_2", ""))
        return out

    @property
    def abs(self) -> Explanation:
        """Sizes of the values; bases and rows stay as they are."""
        out = self._copied()
        out._source, out._whole = None, None
        out._arrays["values"] = np.abs(self._arrays["values"])
        out._arrays |= dict.fromkeys(("error_std", "lower_bounds", "upper_bounds"))
        out.op_history.append("size")
        return out

    @property
    def identity(self) -> Explanation:
        """The explanation itself."""
        return self

    @property
    def argsort(self) -> Explanation:
        """Positions of the values in rising order, along the last axis."""
        return self._with_values("order", np.argsort(self._arrays["values"], kind="stable"))

    @property
    def flip(self) -> Explanation:
        """The values in reversed order, along every axis."""
        return self._with_values("reversed", np.flip(self._arrays["values"]))

    def _with_values(self, name: str, values: Any) -> Explanation:
        """Values that are no longer those of the features whose places they have."""
        out = self._copied()
        out._source, out._whole, out._arrays = None, None, {**dict.fromkeys(self._arrays), "values": values}
        out.op_history.append(name)
        return out

    def mean(self, axis: int | None = None) -> Explanation:
        """Mean along an axis."""
        return self._reduced("mean", axis, np.mean)

    def max(self, axis: int | None = None) -> Explanation:
        """Largest along an axis."""
        return self._reduced("largest", axis, np.max)

    def min(self, axis: int | None = None) -> Explanation:
        """Smallest along an axis."""
        return self._reduced("smallest", axis, np.min)

    def sum(self, axis: int | None = None, grouping: Mapping[str, str] | None = None) -> Explanation:
        """Sum along an axis.

        Raises:
            OptionError: `grouping` is given.
        """
        if grouping is not None:
            refuse(
                "grouping of Explanation.sum",
                "wb.explain(model, X, players={'name': ['column', 'column']}) gives the group one value of its own.",
            )
        return self._reduced("sum", axis, np.sum)

    def percentile(self, q: float, axis: int | None = None) -> Explanation:
        """The `q`-th percentile along an axis, in percent."""
        return self._reduced(f"percentile {q:g}", axis, lambda array, along: np.percentile(array, q, axis=along))

    def sample(self, max_samples: int, replace: bool = False, random_state: int = 0) -> Explanation:  # noqa: FBT001, FBT002
        """Return some rows, drawn at random: those that shap draws."""
        count = self.shape[0]
        rows = np.random.RandomState(random_state).choice(count, size=min(max_samples, count), replace=replace)
        return self[rows]

    def hclust(self, metric: str = "sqeuclidean", axis: int = 0) -> npt.NDArray[Any]:
        """Return positions of rows, or of features (``axis=1``), in an order that puts alike ones together.

        Raises:
            OptionError: the values have not two axes.
        """
        from scipy.cluster.hierarchy import complete, leaves_list, optimal_leaf_ordering
        from scipy.spatial.distance import pdist

        values = self._arrays["values"]
        if values.ndim != 2:
            raise OptionError(f"hclust orders rows and features; these values have the shape {values.shape}.")
        distances = pdist(values if axis == 0 else values.T, metric)
        return np.asarray(leaves_list(optimal_leaf_ordering(complete(distances), distances)))

    def hstack(self, other: Explanation) -> Explanation:
        """Return both beside each other.

        Raises:
            OptionError: always; shap keeps the rows and names of the first alone.
        """
        refuse("Explanation.hstack", "explain all features in one call.")

    def cohorts(self, cohorts: Any) -> Any:
        """Split the rows into cohorts: by a label for each, or into so many by a small tree of the values; see Cohorts.

        Raises:
            OptionError: there are several outputs.
        """
        from whybox.compat.shap.cohorts import cohorts_of

        return cohorts_of(self, cohorts)

    def _arithmetic(self, name: str, other: Any, function: Callable[[Any, Any], Any]) -> Explanation:
        """Apply an operation to values and bases; the rows stay as they are."""
        out = self._copied()
        out._source, out._whole = None, None
        out._arrays |= dict.fromkeys(("error_std", "lower_bounds", "upper_bounds"))
        for each in ("values", "base_values"):
            mine, others = self._arrays[each], other._arrays[each] if isinstance(other, Explanation) else other
            out._arrays[each] = None if mine is None or others is None else function(mine, others)
        out.op_history.append(name)
        return out

    def __add__(self, other: Any) -> Explanation:
        return self._arithmetic("sum", other, np.add)

    def __sub__(self, other: Any) -> Explanation:
        return self._arithmetic("difference", other, np.subtract)

    def __rsub__(self, other: Any) -> Explanation:
        return self._arithmetic("difference", other, lambda mine, others: others - mine)

    def __mul__(self, other: Any) -> Explanation:
        return self._arithmetic("product", other, np.multiply)

    def __truediv__(self, other: Any) -> Explanation:
        return self._arithmetic("quotient", other, np.divide)

    __radd__, __rmul__ = __add__, __mul__


class _Like:
    """What :func:`dims_of_shap` reads."""

    def __init__(self, arrays: Mapping[str, Any], names: Mapping[str, Any]) -> None:
        self.data, self.output_names = arrays["data"], names["output"]


def explanation_of(e: OwnExplanation, *, feature_names: Any = None, output_names: Any = None) -> Explanation:
    """Return an explanation of whybox as shap shapes it.

    Args:
        e: attributions or interactions of a table. feature_names, output_names: instead of those that whybox knows.

    Raises:
        InputError: a list of names of another length.
    """
    e = _renamed(_renamed(e, "feature", feature_names), "output", output_names)
    out = object.__new__(Explanation)
    error = e.std_error
    low, high = e.interval if error is not None and e.interval is not None else (None, None)
    arrays = {"values": np.array(e.values), "base_values": np.array(e.base_values), "display_data": None}
    arrays |= {"data": None if e.data is None else np.asarray(e.data)}
    arrays |= {name: None if a is None else np.array(a) for name, a in (("error_std", error), ("lower_bounds", low), ("upper_bounds", high))}
    names = {"feature": list(e.feature_names), "output": list(e.output_names) or e.output_name, "row": None}
    state = {"_arrays": arrays, "_names": names, "_dims": e.dims, "_source": e, "_whole": None, "_units": e.units}
    out.__dict__.update(state, compute_time=e.evidence.seconds, op_history=[])
    return out


def _renamed(e: OwnExplanation, dim: str, names: Any) -> OwnExplanation:
    if names is None or dim not in e.dims:
        return e
    labels = [str(name) for name in names]
    old = [str(name) for name in e.coords[dim]]
    if labels == old:
        return e
    if len(labels) != len(old):
        raise InputError(f"there are {len(old)} {dim}s and {len(labels)} names.")
    new = np.empty(len(labels), dtype=object)
    new[:] = labels
    coords = {**e.coords, **{d: new for d in e.dims if d.removesuffix("_2") == dim}}
    if dim == "output":
        return replace(e, coords=coords)
    data = e.data.with_names(labels) if e.data is not None and e.data.width == len(labels) else e.data
    return replace(e, coords=coords, data=data, players={name: (name,) for name in labels})


def _numbers(array: Any) -> Any:
    if array is None:
        return None
    return array if isinstance(array, np.ndarray) and array.dtype.kind in "fiu" else np.asarray(array, dtype=np.float64)


def _cells(table: Any) -> Any:
    """Rows as an array; a sparse matrix as it is."""
    if table is None or hasattr(table, "tocsr"):
        return table
    return table.to_numpy() if hasattr(table, "to_numpy") else np.asarray(table)


def _labels(names: Any) -> Any:
    return names if names is None or isinstance(names, str) else [str(name) for name in names]


def _ndim(array: Any) -> int:
    return 0 if array is None else len(array.shape)


def _is_numeric(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "fiub"


def _taken(array: Any, dims: tuple[str, ...], chosen: Mapping[str, Any]) -> Any:
    """Slice an array along those of its axes that are chosen, from the last, so that the others keep their places."""
    if array is None:
        return None
    for axis in reversed(range(len(dims))):
        if dims[axis] in chosen:
            array = array[(slice(None),) * axis + (chosen[dims[axis]],)]
    return array
