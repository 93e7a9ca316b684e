"""``shap.Explanation``: arrays that are sliced together, beside the explanation of whybox that they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.compat.refused import refuse
from whybox.compat.shap.held import Held, cells_of, held_of_arrays, numbers_of
from whybox.compat.shap.op_chain import OPERATIONS, OpChain
from whybox.errors import InputError, OptionError
from whybox.explanation.explanation import Explanation as OwnExplanation

__all__ = ["Explanation", "explanation_of"]

_NOT_HELD: Final = ("main_effects", "hierarchical_values", "clustering", "output_indexes")
_DIM_OF_NAMES: Final = {"feature_names": "feature", "output_names": "output", "instance_names": "row"}


class _Chains(type):
    """``Explanation.abs.mean(0)``: operations for later."""

    def __getitem__(cls, key: Any) -> OpChain:
        return OpChain()[key]


def _chain_of(name: str) -> property:
    return property(lambda cls: getattr(OpChain(), name))


for _name in OPERATIONS:  # on the class of the class, they stand before the methods of explanations
    setattr(_Chains, _name, _chain_of(_name))


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

    held: Held

    def __init__(  # as shap has it
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
        if isinstance(values, (Explanation, Held)):
            self.held = (values.held if isinstance(values, Explanation) else values).copied()
            return
        if feature_names is None and hasattr(data, "columns"):
            feature_names = list(data.columns)
        elif feature_names is None and hasattr(data, "index") and hasattr(data, "to_frame"):  # a series: one row
            feature_names = list(data.index)
        arrays = {"values": numbers_of(values), "base_values": numbers_of(base_values), "data": cells_of(data)}
        arrays |= {"display_data": cells_of(display_data), "error_std": numbers_of(error_std)}
        arrays |= {"lower_bounds": numbers_of(lower_bounds), "upper_bounds": numbers_of(upper_bounds)}
        names = {"row": instance_names, "feature": feature_names, "output": output_names}
        self.held = held_of_arrays(arrays, names, compute_time)

    # what it holds

    def __getattr__(self, name: str) -> Any:
        if name == "held":  # while it is made or unpickled
            raise AttributeError(name)
        if name in self.held.arrays:
            return self.held.arrays[name]
        if name in _DIM_OF_NAMES:
            return self.held.names[_DIM_OF_NAMES[name]]
        if name in _NOT_HELD:
            return None
        raise AttributeError(f"'Explanation' object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "held":
            object.__setattr__(self, name, value)
        elif name in self.held.arrays:
            is_table = name in ("data", "display_data")
            self.held = self.held.exchanged(**{name: cells_of(value) if is_table else numbers_of(value)})
        elif name in _DIM_OF_NAMES:
            self.held = self.held.labelled(_DIM_OF_NAMES[name], value)
        else:
            object.__setattr__(self, name, value)

    @property
    def std_error(self) -> Any:
        """Standard errors of the values; None where they are exact or nobody knows."""
        return self.held.arrays["error_std"]

    @property
    def compute_time(self) -> float | None:
        """Seconds that the values took."""
        return self.held.compute_time

    @property
    def op_history(self) -> list[str]:
        """What was done to the values since they were computed, in words."""
        return list(self.held.history)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        shape: tuple[int, ...] = self.held.arrays["values"].shape
        return shape

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.held.arrays["values"], dtype=dtype, copy=True if copy is None else copy)

    def __copy__(self) -> Explanation:
        return Explanation(self)

    def __repr__(self) -> str:
        return "\n\n".join(f".{name} =\n{self.held.arrays[name]!r}" for name in ("values", "base_values", "data"))

    # the explanation of whybox, and shap's

    def to_whybox(self) -> OwnExplanation:
        """Return the explanation of whybox: with its evidence, where nothing but slices was taken since it was computed.

        Raises:
            InputError: the numbers are no attributions.
        """
        return self.held.to_whybox(self)

    def to_shap(self) -> Any:
        """Return a ``shap.Explanation``, for shap's own figures.

        Raises:
            MissingDependencyError: shap is not installed. InputError: the numbers are no attributions.
        """
        return self.to_whybox().to_shap()

    def __getitem__(self, key: Any) -> Explanation:
        """Slice by position or name, one entry an axis, with ``...`` for those between."""
        keys = key if isinstance(key, tuple) else (key,)
        return Explanation(self.held.sliced(tuple(k.apply(self) if isinstance(k, OpChain) else k for k in keys)))

    # operations

    @property
    def abs(self) -> Explanation:
        """Sizes of the values; bases and rows stay as they are."""
        sizes = np.abs(self.held.arrays["values"])
        return Explanation(self.held.with_values("size", sizes, keeps=("base_values", "data", "display_data")))

    @property
    def identity(self) -> Explanation:
        """The explanation itself."""
        return self

    @property
    def argsort(self) -> Explanation:
        """Positions of the values in rising order, along the last axis."""
        return Explanation(self.held.with_values("order", np.argsort(self.held.arrays["values"], kind="stable")))

    @property
    def flip(self) -> Explanation:
        """The values in reversed order, along every axis."""
        return Explanation(self.held.with_values("reversed", np.flip(self.held.arrays["values"])))

    def mean(self, axis: int | None = None) -> Explanation:
        """Mean along an axis."""
        return Explanation(self.held.reduced("mean", axis, np.mean))

    def max(self, axis: int | None = None) -> Explanation:
        """Largest along an axis."""
        return Explanation(self.held.reduced("largest", axis, np.max))

    def min(self, axis: int | None = None) -> Explanation:
        """Smallest along an axis."""
        return Explanation(self.held.reduced("smallest", axis, np.min))

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
        return Explanation(self.held.reduced("sum", axis, np.sum))

    def percentile(self, q: float, axis: int | None = None) -> Explanation:
        """The `q`-th percentile along an axis, in percent."""
        percentile: Callable[..., Any] = lambda array, along: np.percentile(array, q, axis=along)  # noqa: E731
        return Explanation(self.held.reduced(f"percentile {q:g}", axis, percentile))

    def sample(self, max_samples: int, replace: bool = False, random_state: int = 0) -> Explanation:
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

        values = self.held.arrays["values"]
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

    def __add__(self, other: Any) -> Explanation:
        return Explanation(self.held.operated("sum", other, np.add))

    def __sub__(self, other: Any) -> Explanation:
        return Explanation(self.held.operated("difference", other, np.subtract))

    def __rsub__(self, other: Any) -> Explanation:
        return Explanation(self.held.operated("difference", other, lambda mine, others: others - mine))

    def __mul__(self, other: Any) -> Explanation:
        return Explanation(self.held.operated("product", other, np.multiply))

    def __truediv__(self, other: Any) -> Explanation:
        return Explanation(self.held.operated("quotient", other, np.divide))

    __radd__, __rmul__ = __add__, __mul__


def explanation_of(e: OwnExplanation, *, feature_names: Any = None, output_names: Any = None) -> Explanation:
    """Return an explanation of whybox as shap shapes it.

    Args:
        e: attributions or interactions of a table. feature_names, output_names: instead of those that whybox knows.

    Raises:
        InputError: a list of names of another length.
    """
    e = _renamed(_renamed(e, "feature", feature_names), "output", output_names)
    error = e.std_error
    low, high = e.interval if error is not None and e.interval is not None else (None, None)
    arrays = {"values": np.array(e.values), "base_values": np.array(e.base_values), "display_data": None}
    arrays |= {"data": None if e.data is None else np.asarray(e.data)}
    arrays |= {
        name: None if array is None else np.array(array)
        for name, array in (("error_std", error), ("lower_bounds", low), ("upper_bounds", high))
    }
    names = {"feature": list(e.feature_names), "output": list(e.output_names) or e.output_name, "row": None}
    return Explanation(Held(arrays, names, e.dims, source=e, units=e.units, compute_time=e.evidence.seconds))


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
