"""Explanations as tables: the user's frame library, Arrow, xarray."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.data.table import build_frame, is_missing
from whybox.errors import Argument, MissingDependencyError, OptionError
from whybox.explanation.labelled import Labelled
from whybox.explanation.local_words import has_words

__all__ = ["table_columns", "to_arrow", "to_frame", "to_xarray"]

TABLE_LAYOUTS = ("auto", "wide", "long")
INTERVAL_BOUNDS = ("low", "high")  # of an interval
KINDS_WITH_ERRORS = ("attribution", "interaction", "local")  # whose values are exact where they have no standard error
WIDE_KINDS = ("attribution", "local", "rule")  # one number a row and feature
FIRST_LOCAL_COLUMNS = (
    "width", "row", "feature", "word", "output", "condition", "local", "attribution", "std_error", "interval_low", "interval_high", "rank", "share", "start",
)  # fmt: skip
ROW_COLUMNS_OF_ERRORS = ("converged", "model_evals")  # of estimated attributions, beside their errors
FIRST_RULE_COLUMNS = ("rule", "label", "precision", "precision_interval_low", "precision_interval_high", "coverage")
ExtraArray = tuple[tuple[str, ...], npt.NDArray[Any]]


def to_frame(explanation: Labelled, *, library: str | None = None, layout: str = "auto", errors: bool = False) -> Any:
    """Return a data frame.

    Args:
        explanation: what to export.
        library: ``"pandas"``, ``"polars"``, ``"pyarrow"``; None: the library of the rows that were given (for arrays, the first
            installed of these).
            Row labels become the index in pandas. Other libraries have no index: there they are the first columns, ``row``, or one column an
            index level under its name.
        layout: ``"wide"``, of attributions and local values: one row a row, one column a feature (``feature|output`` where there are several outputs), then
            ``base_value`` (of local values ``local_prediction``) and ``prediction``; of rules, one row a rule with its sentence, precision and coverage.
            ``"long"``: one row a number, with its standard error where there is one. ``"auto"``: wide for attributions and rules, else long.
        errors: of attributions and local values, standard errors too; of exact values they are 0. Wide: columns ``feature_std_error`` (``feature_std_error|output``)
            after all others, then ``converged`` and ``model_evals`` of rows whose attributions were sampled.

    Raises:
        OptionError: unknown layout, wide for what has no rows, or errors of what has none.
        MissingDependencyError: the library is not installed.
    """
    columns = table_columns(explanation, layout, errors=errors)
    source = library or explanation.library
    labels = _row_labels(explanation, layout)
    if labels is not None and source != "pandas":
        columns = {**{n: _as_storable_labels(v) for n, v in _row_columns(explanation, columns).items()}, **columns}
        labels = None
    return build_frame(columns, library=source, labels=labels)


def _as_storable_labels(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Labels as a column of any library: objects of one basic type unchanged, missing ones as None, others as text."""
    if labels.dtype != object:
        return labels
    present = [v for v in labels if not is_missing(v)]
    as_given = len({type(v) for v in present}) == 1 and isinstance(
        present[0], (str, bool, int, float, bytes, date, timedelta)
    )
    out = np.empty(len(labels), dtype=object)
    out[:] = [None if is_missing(v) else v if as_given else str(v) for v in labels]
    return out


def _row_labels(e: Labelled, layout: str) -> Any:
    """Row labels of a wide table, if the rows have labels of their own (also a single selected row); a long table has a column of them."""
    if e.data is None or e.data.labels is None or "row" not in e.coords or _resolve_layout(e, layout) == "long":
        return None
    return e.coords["row"] if e.data.index is None else e.data.index


def _resolve_layout(e: Labelled, layout: str) -> str:
    if layout != "auto":
        return layout
    return "wide" if e.kind in ("attribution", "rule") and not has_words(e) else "long"


def to_arrow(explanation: Labelled, *, layout: str = "auto", errors: bool = False) -> Any:
    """Return a pyarrow Table as :func:`to_frame`; its schema metadata holds the evidence as JSON under ``whybox``."""
    import pyarrow as pa

    columns = table_columns(explanation, layout, errors=errors)
    if _row_labels(explanation, layout) is not None:
        columns = {**_row_columns(explanation, columns), **columns}
    table = pa.table({name: _as_arrow(values) for name, values in columns.items()})
    about = {"kind": explanation.kind, "units": explanation.units, "evidence": explanation.evidence.to_dict()}
    return table.replace_schema_metadata({"whybox": json.dumps(about)})


def _row_columns(e: Labelled, taken: Any) -> dict[str, npt.NDArray[Any]]:
    """Row labels as one column, or those of a MultiIndex as one column a level, under the names of the levels."""
    index = None if e.data is None else e.data.index
    if index is None or not hasattr(index, "levels"):
        return {_unused_name("row", taken): e.coords["row"]}
    out: dict[str, npt.NDArray[Any]] = {}
    for i, name in enumerate(index.names):
        called = f"row_{i}" if name is None else str(name)
        out[_unused_name(called, {*taken, *out})] = index.get_level_values(i).to_numpy()
    return out


def _as_arrow(values: npt.NDArray[Any]) -> Any:
    import pyarrow as pa

    if values.dtype != object:
        return pa.array(values)
    try:
        return pa.array(values.tolist())
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return pa.array([None if v is None else str(v) for v in values])


def to_xarray(explanation: Labelled) -> Any:
    """Return an xarray Dataset.

    Raises:
        MissingDependencyError: xarray is not installed.
    """
    try:
        import xarray as xr
    except ImportError:
        raise MissingDependencyError("xarray", "to_xarray", "xarray") from None
    e = explanation
    outputs = ("output",) if "output" in e.dims else ()
    variables: dict[str, Any] = {"values": (e.dims, e.values), "base": (outputs, e.base)}
    if e.std_error is not None:
        variables["std_error"] = (e.dims, e.std_error)
    if e.prediction is not None:
        variables["prediction"] = ((("row",) if "row" in e.dims else ()) + outputs, e.prediction)
    variables |= {f"{name}_text" if name in e.coords else name: of for name, of in e.extras.items()}
    coords: dict[str, Any] = {d: (d, e.coords[d]) for d in e.dims}
    if any("bound" in dims for dims, _ in e.extras.values()):
        coords["bound"] = ("bound", list(INTERVAL_BOUNDS))
    if "row" in e.coords and "row" not in e.dims:  # one row was picked
        coords["row"] = ((), e.coords["row"].reshape(-1)[0])
    return xr.Dataset(
        variables, coords=coords, attrs={"kind": e.kind, "units": e.units, "evidence": json.dumps(e.evidence.to_dict())}
    )


def table_columns(e: Labelled, layout: str = "auto", *, errors: bool = False) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of the table, as :func:`to_frame` lays them out."""
    if not isinstance(errors, bool):
        raise OptionError(Argument("errors", errors), " must be True or False.")
    if errors and e.std_error is None and e.kind not in KINDS_WITH_ERRORS:
        raise OptionError(
            Argument("errors", True),
            f" is for attributions and local values; an explanation of kind {e.kind!r} has none here.",
        )
    if layout not in TABLE_LAYOUTS:
        raise OptionError(Argument("layout", layout), " is not known.", known=TABLE_LAYOUTS)
    if _resolve_layout(e, layout) == "long":
        return _long_columns(e, errors=errors)
    if e.kind not in WIDE_KINDS or "width" in e.dims or has_words(e):
        what = (
            "an explanation of texts"
            if has_words(e)
            else "a sweep of kernel widths"
            if "width" in e.dims
            else f"an explanation of kind {e.kind!r}"
        )
        raise OptionError(f"{what} has no wide layout; use ", Argument("layout", "long"), ".")
    if e.kind == "rule":
        return _rule_columns(e)
    columns = _wide_columns(e)
    for name, column in _error_columns(e).items() if errors else ():
        columns[_unused_name(name, columns)] = column
    return columns


def _error_columns(e: Labelled) -> dict[str, npt.NDArray[Any]]:
    """Standard errors of a wide table, zero where values are exact, and what is said of whole rows that were sampled."""
    error = np.zeros(e.values.shape) if e.std_error is None else e.std_error
    error = error if "row" in e.dims else error[None]
    error = error if "feature" in e.dims else error[:, None]
    features = e.feature_names if "feature" in e.dims else (e.kind,)
    if "output" not in e.dims:
        out = {f"{name}_std_error": error[:, j] for j, name in enumerate(features)}
    else:
        out = {
            f"{name}_std_error|{output}": error[:, j, k]
            for k, output in enumerate(e.output_names)
            for j, name in enumerate(features)
        }
    found = {name: e.extras[name] for name in ROW_COLUMNS_OF_ERRORS if name in e.extras}
    return out | {name: np.atleast_1d(array) for name, (dims, array) in found.items() if dims in ((), ("row",))}


def _wide_columns(e: Labelled) -> dict[str, npt.NDArray[Any]]:
    rows = "row" in e.dims
    values = e.values if rows else e.values[None]
    values = values if "feature" in e.dims else values[:, None]
    n = len(values)
    features = e.feature_names if "feature" in e.dims else (e.kind,)
    base_name, base = ("base_value", e.base_values if rows else e.base[None])
    if e.kind == "local":  # whose values do not start from a base
        base_name, base = "local_prediction", e.extras["local_prediction"][1].reshape(n, *e.base.shape)
    prediction = None if e.prediction is None else (e.prediction if rows else np.asarray(e.prediction)[None])
    out: dict[str, npt.NDArray[Any]] = {}
    if "output" not in e.dims:
        out = {name: values[:, j] for j, name in enumerate(features)}
        extra = {base_name: base} | ({} if prediction is None else {"prediction": prediction})
    else:
        for k, output in enumerate(e.output_names):
            out |= {f"{name}|{output}": values[:, j, k] for j, name in enumerate(features)}
        extra = {f"{base_name}|{o}": base[:, k] for k, o in enumerate(e.output_names)}
        if prediction is not None:
            extra |= {f"prediction|{o}": prediction[:, k] for k, o in enumerate(e.output_names)}
    for name, column in extra.items():
        out[_unused_name(name, out)] = column
    return out


def _rule_columns(e: Labelled) -> dict[str, npt.NDArray[Any]]:
    """One line a rule: the sentence, what it predicts, its precision with both bounds, its coverage, and the rest."""
    found = {n: np.asarray(array) for n, (dims, array) in _columns_of_bounds(e.extras).items() if "feature" not in dims}
    if e.prediction is not None:
        found["prediction"] = np.asarray(e.prediction)
    names = dict.fromkeys((*(n for n in FIRST_RULE_COLUMNS if n in found), *found))
    return {name: np.atleast_1d(found[name]) for name in names}


def _unused_name(name: str, taken: Any) -> str:
    while name in taken:
        name += "_"
    return name


def _pair_columns(e: Labelled) -> dict[str, npt.NDArray[Any]]:
    """Each pair once, and each feature with all others, by falling size."""
    first, second = np.triu_indices(len(e.coords["feature"]))
    several = "output" in e.dims

    def column(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values[first, second].reshape(-1)

    outputs = len(e.output_names) if several else 1
    other = np.where(first == second, "all others", np.asarray(e.coords["feature_2"])[second])
    out: dict[str, npt.NDArray[Any]] = {
        "feature": np.repeat(np.asarray(e.coords["feature"])[first], outputs),
        "feature_2": np.repeat(other, outputs),
        "size": column(e.values),
    }
    if several:
        out["output"] = np.tile(np.asarray(e.coords["output"]), len(first))
    if e.std_error is not None:
        out["std_error"] = column(e.std_error)
    for name, (dims, array) in _columns_of_bounds(e.extras).items():
        out[name] = column(array) if dims else np.full(len(out["size"]), array)
    alone = np.repeat(first == second, outputs)
    order = np.lexsort([-out["size"], alone])  # pairs before features with all others
    return {name: values[order] for name, values in out.items()}


def _columns_of_bounds(extras: Mapping[str, ExtraArray]) -> dict[str, ExtraArray]:
    """Extras, each interval as two: ``interval`` as ``interval_low`` and ``interval_high``."""
    out: dict[str, ExtraArray] = {}
    for name, (dims, array) in extras.items():
        if dims[-1:] == ("bound",):
            out |= {f"{name}_{end}": (dims[:-1], array[..., i]) for i, end in enumerate(INTERVAL_BOUNDS)}
        else:
            out[name] = dims, array
    return out


def _long_columns(e: Labelled, *, errors: bool = False) -> dict[str, npt.NDArray[Any]]:
    if e.kind == "interaction_size" and e.dims[:2] == ("feature", "feature_2"):
        return _pair_columns(e)
    shape = e.values.shape
    out: dict[str, npt.NDArray[Any]] = {}
    if "row" in e.coords and "row" not in e.dims:  # one row was picked
        out["row"] = np.repeat(np.asarray(e.coords["row"]), e.values.size)
    for axis, dim in enumerate(e.dims):
        labels = np.asarray(e.coords[dim])
        spread = labels.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        out[dim] = np.broadcast_to(spread, shape).reshape(-1)
    out["in_rule" if e.kind == "rule" else e.kind] = e.values.reshape(-1)
    if e.std_error is not None:
        out["std_error"] = e.std_error.reshape(-1)
    elif errors:
        out["std_error"] = np.zeros(e.values.size)
    for name, (dims, array) in _columns_of_bounds(e.extras).items():
        if set(dims) <= set(e.dims):
            spread = array.reshape([n if d in dims else 1 for d, n in zip(e.dims, shape, strict=True)])
            out[name] = np.broadcast_to(spread, shape).reshape(-1)
    if e.kind != "local" and not has_words(e):
        return out
    if has_words(e):  # what stands behind the last word of a text is no number
        out.pop("text", None)
        there = np.array([word != "" for word in out["word"].tolist()])
        out = {name: values[there] for name, values in out.items()}
    first = [name for name in FIRST_LOCAL_COLUMNS if name in out]
    return {name: out[name] for name in (*first, *out)}
