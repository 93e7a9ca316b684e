"""The one result type: numbers with named axes, and the evidence for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats, Table
from whybox.errors import Argument, OptionError, did_you_mean
from whybox.explanation.axis_labels import one_position, positions_of_label
from whybox.explanation.curve_functions import CurveFunction
from whybox.explanation.errors_of_values import interval_of_values, median_error_text
from whybox.explanation.evidence import Evidence
from whybox.explanation.figures import Figures
from whybox.explanation.kinds import EXPLANATION_KINDS, KINDS_FROM_A_BASE, OFFSET_SETTING
from whybox.explanation.local_words import has_words, keep_own_words
from whybox.explanation.selection import as_key
from whybox.models.links import PREDICTION_UNITS

__all__ = ["Explanation"]

_PICKED_LABELS_KEPT: Final = ("width", "row", "channel", "output", "method")  # of axes from which one entry was picked


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Explanation:
    """Labelled numbers that a method computed from a model, a background and rows.

    Attributes:
        kind: one of EXPLANATION_KINDS.
        values: float64, one axis for each of `dims`.
        dims: names of the axes; an axis the model does not have is not there.
        coords: for each axis its labels.
        base: value when every feature is absent, () or (outputs,), NaN of local values, and of rows that differ in it (texts, losses, offsets behind a link);
            ``base_values`` has it for each row.
        prediction: what the model predicts on the explained scale, (rows,) or (rows, outputs), or the loss of that; None where there are no rows.
        units: of values, base and prediction.
        std_error: of values, same shape; None when exact.
        data: a snapshot of the user's rows, aligned with the model: ``data["bmi"]``, ``data[3]``, ``data[:5]``; None where there are no rows.
        players: for each feature label, the columns it stands for; of an effect, its feature or its two.
        evidence: how the numbers were made and checked.
        extras: further numbers with axes of their own, (dims, array) by name: of an effect ``off_data``, ``share``, ``interval`` and the like.
        library: of the rows given, kept or not: the frame library of :meth:`to_frame`. Where they are kept, it is theirs.
        again: of a curve, what computes it at other points; it lives with the model, and is saved where the curve is known without (see curve_functions.py).
    """

    kind: str
    values: Floats
    dims: tuple[str, ...]
    coords: Mapping[str, npt.NDArray[Any]]
    base: Floats
    units: str
    evidence: Evidence
    prediction: Floats | None = None
    std_error: Floats | None = None
    data: Table | None = None
    players: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    extras: Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = field(default_factory=dict)
    library: str = "numpy"
    again: CurveFunction | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        allowed = EXPLANATION_KINDS.get(self.kind)
        order = _order_dims if self.kind == "saliency" else tuple
        if allowed is None or order(d for d in allowed if d in self.dims) != order(self.dims):
            raise OptionError(f"an explanation of kind {self.kind!r} cannot have the axes {self.dims}.")
        if self.values.ndim != len(self.dims) or any(
            len(self.coords[d]) != n for d, n in zip(self.dims, self.values.shape, strict=True)
        ):
            raise OptionError(f"values of shape {self.values.shape} do not match the labels of {self.dims}.")
        for name in ("values", "base", "prediction", "std_error"):
            array = getattr(self, name)
            if array is not None and not isinstance(array, np.ndarray):  # one number picked out of an array
                object.__setattr__(self, name, np.asarray(array))
        for array in (self.values, self.base, self.prediction, self.std_error, *(a for _, a in self.extras.values())):
            if array is not None:
                array.flags.writeable = False
        if self.data is not None:
            object.__setattr__(self, "library", self.data.library)
        object.__setattr__(self, "coords", MappingProxyType(dict(self.coords)))
        object.__setattr__(self, "players", MappingProxyType(dict(self.players)))
        object.__setattr__(self, "extras", MappingProxyType(dict(self.extras)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.values.shape

    def __len__(self) -> int:
        """Return the length of the first axis.

        Raises:
            TypeError: one number, which has no axis.
        """
        if not self.dims:
            raise TypeError("this explanation holds one number and has no axis; float(...) gives the number.")
        return int(self.values.shape[0])

    def __iter__(self) -> Iterator[Explanation]:
        """Iterate along the first axis."""
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return the values, for ``np.asarray(explanation)``: read-only, unless they are copied.

        Raises:
            ValueError: another type was asked for, without a copy.
        """
        if dtype is None or np.dtype(dtype) == self.values.dtype:
            return self.values.copy() if copy else self.values
        if copy is False:
            raise ValueError(f"the values are {self.values.dtype}; as {np.dtype(dtype)} they have to be copied.")
        return self.values.astype(dtype)

    def __float__(self) -> float:
        """Return the number, where one was picked: ``float(importance["age"])``.

        Raises:
            TypeError: there are several.
        """
        if self.values.size != 1:
            raise TypeError(f"this explanation holds {self.values.size:,} numbers; pick one, or take .values.")
        return float(self.values.reshape(-1)[0])

    @property
    def method_id(self) -> str:
        """Id of the method in the registry of methods, ``"effects.ale"``; empty where none is known."""
        return self.evidence.method_id

    @property
    def base_values(self) -> Floats:
        """The base of each row, (rows,) or (rows, outputs), as ``shap.Explanation`` has it; the base itself where there is no row axis."""
        if "base" in self.extras:  # of networks, texts and losses, which have one for each row
            return self.extras["base"][1]
        if "row" not in self.dims:
            return self.base
        return np.broadcast_to(self.base, (len(self.coords["row"]), *self.base.shape))

    @property
    def explained(self) -> str:
        """What is shared out among features, in a word: ``"prediction"``, or ``"loss"`` of it."""
        return "loss" if self.kind in KINDS_FROM_A_BASE and self.evidence.settings.get("loss") else "prediction"

    @property
    def offset(self) -> Floats | None:
        """The offset of each row, (rows,) or (rows, outputs), where prediction = model's base + offset + sum of values; None where rows have none, or inside a link."""
        is_added = self.kind in KINDS_FROM_A_BASE and OFFSET_SETTING in self.evidence.settings
        return self.extras["offset"][1] if is_added else None

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Labels of the feature axis."""
        return tuple(map(str, self.coords["feature"]))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Labels of the output axis; empty when there is none."""
        return tuple(map(str, self.coords["output"])) if "output" in self.dims else ()

    @property
    def output_name(self) -> str | None:
        """Label of the one output that this is about; None where there are several, or the only one has no name."""
        names = [str(n) for n in self.coords.get("output", ())]
        return names[0] if len(names) == 1 and names[0] != PREDICTION_UNITS else None

    @property
    def named_units(self) -> bool:
        """Whether the units have a name (log-odds, probability), or are merely those of the prediction."""
        return self.units != PREDICTION_UNITS

    @property
    def grid(self) -> npt.NDArray[Any]:
        """Points of a curve: numbers or dates (missing as NaN, NaT), or categories (missing as None); of a surface, its first axis."""
        return self.coords["point"]

    @property
    def off_data(self) -> Floats | None:
        """Share of rows that each point of a curve takes to where there are no data; see whybox.methods.common.extrapolation."""
        found = self.extras.get("off_data")
        return None if found is None else found[1]

    @property
    def findings(self) -> tuple[str, ...]:
        """Sentences about features that several methods judge differently, each once; see the docs of importance. Empty where there are none."""
        found = self.extras.get("finding")
        lines = [] if found is None else [line for text in found[1].reshape(-1) for line in str(text).split("\n")]
        return tuple(dict.fromkeys(line for line in lines if line))

    @property
    def interval(self) -> tuple[Floats, Floats] | None:
        """Lower and upper ends of the confidence interval of each value, shaped as the values are; None where there is none.

        Its level is ``extras["interval_level"]``, else the ``level`` that was asked for, else 0.95. It need not be symmetric about the value: where the rows
        are skewed, one end is farther away. Of attributions and interactions that were estimated it follows from ``std_error``, as of a normal error.
        Of a saliency map that was sampled in groups it is Student's t interval of 95 %, with the degrees of freedom in ``extras["freedom"]``.
        """
        return interval_of_values(self)

    def at(self, points: Any) -> Floats:
        """Return a curve at any points, computed as its values were: of a tree ensemble this is the exact step function.

        Args:
            points: values of the feature, of a surface pairs of values; ALE is drawn straight between its edges, as it is defined. Dates of a column with a
                time zone: with any zone, or without one in UTC, as the grid is.

        Returns:
            (points,) [, outputs], with the rows first where the curve has rows.

        Raises:
            OptionError: not a curve, or one that was cut, or saved where only its model knows more than its grid.
            ModelMismatchError: the model has changed since the curve was computed.
        """
        if self.again is None:
            raise OptionError(
                "at() asks the model again, and this is not a curve that still has its model: it was cut, or is something else."
            )
        return self.again(points)

    def __getitem__(self, key: Any) -> Explanation:
        """Slice by position or by name, one entry an axis: ``e[0]``, ``e[:, "age"]``, ``e[..., "setosa"]``.

        An integer or a name drops its axis; slices, lists and masks keep it; masks may be boolean series, which are matched by their index. As in numpy,
        an integer is always a position: a label that is a number is written as text, ``e[..., "1"]``. Row labels are taken with :meth:`sel`.
        Where no axis is left, the explanation holds one number: ``float(e[0, "age"])``.

        Raises:
            OptionError: a name where a row's position is wanted, a name that is not there, or a key that is none of these.
            IndexError: a position beyond its axis.
        """
        keys = key if isinstance(key, tuple) else (key,)
        if any(k is Ellipsis for k in keys):
            at = next(i for i, k in enumerate(keys) if k is Ellipsis)
            keys = (*keys[:at], *(slice(None),) * (len(self.dims) - len(keys) + 1), *keys[at + 1 :])
        if len(keys) > len(self.dims):
            raise IndexError(f"{len(keys)} indices for the axes {self.dims}.")
        if len(keys) > 1 and isinstance(keys[0], (int, np.integer)) and self.dims[:2] == ("row", "word"):
            return self[keys[0]][keys[1:]]  # the words of one text are labels, those of several are not
        chosen = {
            dim: as_key(k, dim, self.coords[dim])
            for dim, k in zip(self.dims, keys, strict=False)
            if not (isinstance(k, slice) and k == slice(None))
        }
        for dim, k in chosen.items():
            _check_key(dim, k)
        return self._select_positions({dim: self._by_name(dim, k) if dim != "row" else k for dim, k in chosen.items()})

    def sel(self, **labels: Any) -> Explanation:
        """Slice by labels, axis by axis: ``e.sel(row="customer 7", output="setosa")``; numbers are labels here, never positions.

        Raises:
            OptionError: no such axis or label, or one that several share; the message names those there are.
        """
        for dim in labels:
            if dim not in self.dims:
                raise OptionError(f"there is no axis {dim!r} here.{did_you_mean(dim, self.dims)}")
        if len(labels) > 1 and "row" in labels and self.dims[:2] == ("row", "word"):
            return self.sel(row=labels.pop("row")).sel(**labels)
        keys = {dim: as_key(label, dim, self.coords[dim]) for dim, label in labels.items()}
        return self._select_positions({dim: self._by_name(dim, key, strict=True) for dim, key in keys.items()})

    def _by_name(self, dim: str, key: Any, *, strict: bool = False) -> Any:
        """Turn labels into positions; anything that is not a label is left as a position."""
        array = self.coords[dim]
        if (
            isinstance(key, tuple) and strict and len(positions_of_label(array, key))
        ):  # one label of an index of several levels
            return one_position(dim, key, array)
        if isinstance(key, (list, tuple)) or (
            isinstance(key, np.ndarray) and (key.dtype.kind in "OUSMm" or strict) and key.dtype != bool
        ):
            return [self._by_name(dim, k, strict=strict) for k in key]
        if isinstance(key, str) or (strict and not isinstance(key, (slice, np.ndarray))):
            return one_position(dim, key, array)
        return key

    def _select_positions(self, at: Mapping[str, Any]) -> Explanation:
        values, error = self.values, self.std_error
        base, prediction, data = self.base, self.prediction, self.data
        coords, dims = dict(self.coords), list(self.dims)
        extras = dict(self.extras)
        for dim, key in at.items():
            axis = dims.index(dim)
            index = key if isinstance(key, (slice, int, np.integer)) else np.asarray(key)
            if isinstance(index, np.ndarray) and index.size == 0:
                index = index.astype(np.intp)
            where = (slice(None),) * axis + (index,)
            values, error = values[where], None if error is None else error[where]
            extras = {name: _slice_extra(own, array, dim, index) for name, (own, array) in extras.items()}
            if dim == "row":
                prediction = None if prediction is None else prediction[index]
                data = None if data is None else data.rows(np.atleast_1d(np.arange(len(data))[index]))
                if isinstance(index, (int, np.integer)) and self.kind in KINDS_FROM_A_BASE and "base" in extras:
                    base = extras["base"][1]
            if dim == "output":
                base, prediction = base[index], None if prediction is None else prediction[..., index]
            if isinstance(index, (int, np.integer)):
                coords[dim] = coords[dim][[int(index)]]
                del dims[axis]
            else:
                coords[dim] = coords[dim][index]
        kept = {dim: label for dim, label in coords.items() if dim in dims or dim in _PICKED_LABELS_KEPT}
        picked = replace(
            self,
            values=values.copy(),
            std_error=None if error is None else error.copy(),
            base=np.asarray(base).copy(),
            dims=tuple(dims),
            coords=kept,
            prediction=None if prediction is None else np.asarray(prediction).copy(),
            data=data,
            extras=extras,
            again=None,
        )
        return keep_own_words(picked) if has_words(self) and "row" in self.dims and "row" not in dims else picked

    def ordered(self, most: int | None = None) -> npt.NDArray[np.intp]:
        """Return feature positions by falling mean absolute value over every other axis, of an agreement mean value; at most `most`; of one text its words."""
        kept = "feature" if "feature" in self.dims or "row" in self.dims else "word"
        axes = tuple(i for i, d in enumerate(self.dims) if d != kept)
        sizes = np.nan_to_num(self.values) if self.kind == "agreement" else np.abs(self.values)
        size = sizes.mean(axis=axes) if axes else sizes
        order = np.argsort(-size, kind="stable")
        return order if most is None else order[:most]

    @property
    def plot(self) -> Figures:
        """Figures by name, each returns axes: ``e.plot.bar()``, ``.dots()``, ``.agreement()``, ``.local()``, ``.rule()``, ``.beeswarm()``, ``.waterfall()``, ``.heatmap()``."""
        return Figures(self)

    def to_frame(self, *, library: str | None = None, layout: str = "auto", errors: bool = False) -> Any:
        """Return a data frame in the user's frame library; see whybox.explanation.export.to_frame."""
        from whybox.explanation.export import to_frame

        return to_frame(self, library=library, layout=layout, errors=errors)

    def top(self, count: int = 4, *, template: str | None = None, library: str | None = None) -> Any:
        """Return the features that weigh most in each row, with values, contributions and shares; see whybox.explanation.top.top_reasons."""
        from whybox.explanation.top import top_reasons

        return top_reasons(self, count, template=template, library=library)

    def to_arrow(self, *, layout: str = "auto", errors: bool = False) -> Any:
        """Return a pyarrow Table, laid out as :meth:`to_frame`, with the evidence in its metadata."""
        from whybox.explanation.export import to_arrow

        return to_arrow(self, layout=layout, errors=errors)

    def to_xarray(self) -> Any:
        """Return an xarray Dataset with variables ``values``, ``base`` and ``prediction`` on the named axes."""
        from whybox.explanation.export import to_xarray

        return to_xarray(self)

    def to_shap(self) -> Any:
        """Return a ``shap.Explanation``, for shap's figures; see whybox.explanation.shap_explanation.to_shap."""
        from whybox.explanation.shap_explanation import to_shap

        return to_shap(self)

    @classmethod
    def from_shap(cls, shap_values: Any, *, units: str = PREDICTION_UNITS) -> Explanation:
        """Return a ``shap.Explanation`` of a table as ours; see whybox.explanation.shap_explanation.from_shap."""
        from whybox.explanation.shap_explanation import from_shap

        return from_shap(cls, shap_values, units=units)

    def save(self, path: str | Path) -> None:
        """Write everything, evidence included, to one file that cannot run code; read it back with ``wb.load``."""
        from whybox.explanation.save import save_explanation

        save_explanation(self, path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle values, own rows and evidence; see whybox.explanation.pickling."""
        from whybox.explanation.pickling import from_pickled_state, pickled_state

        return from_pickled_state, (Explanation, pickled_state(self))

    def __copy__(self) -> Explanation:
        """Return the same explanation, which cannot be changed."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Explanation:
        """Return a copy with arrays and rows of its own."""
        from whybox.explanation.pickling import deep_copy

        copied: Explanation = deep_copy(self, memo)
        return copied

    def _repr_html_(self) -> str:
        from whybox.explanation.html import table_html
        from whybox.explanation.local_html import local_html
        from whybox.explanation.rule_html import rule_html

        if has_words(self) or (self.kind == "local" and "feature" in self.dims):
            return local_html(self)
        if self.kind == "rule" and "feature" in self.dims:
            return rule_html(self)
        return table_html(self)

    def __repr__(self) -> str:
        axes = ", ".join(f"{d}: {n}" for d, n in zip(self.dims, self.values.shape, strict=True))
        axes = axes or f"{float(self.values):.6g}"
        exact = "exact" if self.evidence.exact else "not exact"
        about = f" of {' x '.join(self.players)}" if self.kind == "effect" else ""
        if self.kind == "agreement" and "method" not in self.dims:  # one method was picked
            about = f", {self.coords['method'][0]} alone"
        residual = f"; residual {self.evidence.residual:.2g}" if self.evidence.additive else ""
        notes = f"; {', '.join(self.evidence.warnings)}, see .evidence.notes" if self.evidence.warnings else ""
        count = len(self.findings)
        findings = f"; {count} finding{'s' * (count != 1)}, see .findings" if count else ""
        return f"Explanation({self.kind}{about}, {axes}; {self.units}; {self.evidence.method}, {exact}{median_error_text(self)}{residual}{self._largest_text()}{findings}{notes})"

    def _largest_text(self) -> str:
        """The three largest features of an importance, for its repr."""
        from whybox.explanation.html import number_text

        if self.kind != "importance" or self.dims != ("feature",):
            return ""
        order = [i for i in np.argsort(-self.values, kind="stable")[:3] if np.isfinite(self.values[i])]
        largest = ", ".join(f"{self.feature_names[i]} {number_text(float(self.values[i]), 3)}" for i in order)
        return f"; largest: {largest}" if largest else ""


def _order_dims(dims: Iterable[str]) -> tuple[Any, ...]:
    """Rows first, outputs last, the others in any order."""
    names = tuple(dims)
    return "row" in names[:1], sorted(names), "output" in names[-1:]


def _check_key(dim: str, key: Any) -> None:
    """Refuse what can be neither a position nor, except for rows, a name."""
    plain = (int, np.integer, str)
    listed = key if isinstance(key, (list, tuple)) else [key]
    if isinstance(key, (bool, np.bool_)):
        raise OptionError(
            f"{dim}: {key!r} is no position; write the label as text, {str(key)!r}, or take it with e.sel({dim}={key!r})."
        )
    is_array = isinstance(key, np.ndarray) and (
        key.dtype.kind in "iub" or not key.size or (key.dtype.kind in "OUS" and dim != "row")
    )
    if dim == "row" and any(isinstance(k, str) for k in listed):
        raise OptionError(
            "the first axis holds rows, which are taken by position; e.sel(",
            Argument("row", key),
            f") takes row labels, and e[:, {key!r}] takes features.",
        )
    if not (is_array or isinstance(key, slice) or all(isinstance(k, (*plain, np.bool_)) for k in listed)):
        raise OptionError(
            f"{dim}: {key!r} is no position, slice, mask{'' if dim == 'row' else ', name'} or list of them."
        )


def _slice_extra(
    dims: tuple[str, ...], array: npt.NDArray[Any], dim: str, index: Any
) -> tuple[tuple[str, ...], npt.NDArray[Any]]:
    """Slice one of the extras along an axis, if it has it."""
    if dim not in dims:
        return dims, array
    axis = dims.index(dim)
    cut = array[(slice(None),) * axis + (index,)]
    kept = dims[:axis] + dims[axis + 1 :] if isinstance(index, (int, np.integer)) else dims
    return kept, np.array(cut)


def interval_extras(
    bounds: Floats, dims: tuple[str, ...], level: float
) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
    """Return the extras that hold intervals, (*dims, 2), and their level."""
    return {"interval": ((*dims, "bound"), np.ascontiguousarray(bounds)), "interval_level": ((), np.array(level))}


def as_labels(names: Sequence[Any]) -> npt.NDArray[Any]:
    """Return axis labels as an object array."""
    out = np.empty(len(names), dtype=object)
    out[:] = list(names)
    return out
