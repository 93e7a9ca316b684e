"""Attributions as ``shap.Explanation``, so that shap's figures draw them, and back."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats, Table, as_table
from whybox.errors import Argument, InputError, MissingDependencyError, OptionError
from whybox.explanation.evidence import Evidence, library_versions
from whybox.explanation.feature_values import as_numbers, shown_values
from whybox.explanation.labelled import Labelled
from whybox.explanation.local_words import has_words
from whybox.models.links import PREDICTION_UNITS
from whybox.numerics.statistics import critical_value

__all__ = ["dims_of_shap", "from_shap", "to_shap"]

_Kind = TypeVar("_Kind")
KINDS: Final = ("attribution", "interaction")
LEVEL: Final = 0.95  # of the bounds that are written, whatever was asked: they are read back by it
NOTE: Final = "Taken from a shap.Explanation: how the values were computed and checked is not known; the prediction is the base and all attributions, added up."


def to_shap(e: Any) -> Any:
    """Return attributions or interactions of a table as a ``shap.Explanation``, for shap's figures.

    It holds the values, the base of each row and output, the rows as numbers (categories as the rank of their text, dates in seconds; as they are in
    ``display_data``), names, and of estimated values their standard errors (``error_std``) and the 95 % interval (``lower_bounds``, ``upper_bounds``). It has no
    place for units and evidence, nor for the prediction, which shap takes to be the base plus all attributions: they stay here.

    Raises:
        OptionError: of another kind, or of texts. MissingDependencyError: shap is not installed.
    """
    try:
        import shap
    except ImportError:
        raise MissingDependencyError("shap", "to_shap") from None
    if e.kind not in KINDS or has_words(e) or "feature" not in e.dims:
        what = "attributions of texts" if has_words(e) else f"an explanation of kind {e.kind!r}"
        raise OptionError(
            f"to_shap is for attributions and interactions of tables with their features; this is {what} with the axes {e.dims}."
        )
    numbers, shown = _data_columns(e)
    bounds = [None, None]
    if e.std_error is not None:
        half = critical_value(LEVEL) * e.std_error
        bounds = [e.values - half, e.values + half]
    base = np.array(e.base_values)
    made = shap.Explanation(
        values=np.array(e.values),
        base_values=base if base.ndim else float(base),
        data=numbers,
        display_data=shown,
        instance_names=[str(label) for label in e.coords["row"]] if "row" in e.dims else None,
        feature_names=list(e.feature_names),
        output_names=list(e.output_names) if "output" in e.dims else None,
        error_std=None if e.std_error is None else np.array(e.std_error),
        lower_bounds=bounds[0],
        upper_bounds=bounds[1],
        compute_time=e.evidence.seconds,
    )
    if "output" not in e.dims and e.output_name is not None:
        made.output_names = e.output_name  # beside the values of one row its constructor takes no single name
    return made


def _data_columns(e: Labelled) -> tuple[Floats | None, npt.NDArray[Any] | None]:
    """The rows as numbers, (rows, features), and as they are where these are no numbers; of one row (features,). A group of columns has no value."""
    if e.data is None:
        return None, None
    columns = [shown_values(e, name) for name in e.feature_names]
    count = len(e.data)
    numbers = np.column_stack([np.full(count, np.nan) if c is None else as_numbers(c) for c in columns])
    shown = None
    if any(c is not None and c.dtype.kind != "f" for c in columns):
        shown = np.empty(numbers.shape, dtype=object)
        for j, c in enumerate(columns):
            shown[:, j] = None if c is None else list(c)  # dates as dates
    if "row" in e.dims:
        return numbers, shown
    return numbers[0], None if shown is None else shown[0]


def from_shap(kind: type[_Kind], shap_values: Any, *, units: str = PREDICTION_UNITS) -> _Kind:
    """Return a ``shap.Explanation`` of a table as attributions or interactions, with the axes row, feature and output as far as it has them.

    Its evidence says that nothing is known of how the values were computed; the prediction is the base plus all attributions. ``error_std`` is taken for standard
    errors only beside the bounds that :func:`to_shap` writes: alone it is, in shap, the spread of single draws. Clustering and main effects are left out.

    Args:
        kind: whybox.Explanation. shap_values: the shap.Explanation. units: of the values, ``"log-odds"`` for example.

    Raises:
        InputError: it is none, or of texts or pictures, or two features have one name. OptionError: `units` is no name.
    """
    needed = ("values", "base_values", "data", "feature_names")
    if isinstance(shap_values, np.ndarray) or not all(hasattr(shap_values, name) for name in needed):
        raise InputError(
            f"from_shap takes a shap.Explanation, as explainer(X) returns it, and this is a {type(shap_values).__name__}."
        )
    if not isinstance(units, str) or not units:
        raise OptionError(Argument("units", units), " must be a name: log-odds, probability, or that of the target.")
    values = np.array(shap_values.values, dtype=np.float64) if _is_numeric(shap_values.values) else None
    if values is None or not 1 <= values.ndim <= 4 or not values.size:
        raise InputError(
            "from_shap takes attributions of tables, one number a feature; these are of texts or of other shapes."
        )
    base = np.asarray(np.nan if shap_values.base_values is None else shap_values.base_values, dtype=np.float64)
    dims = dims_of_shap(shap_values, values, base)
    rows = values.shape[0] if "row" in dims else 1
    names = _names_of(shap_values, values.shape[dims.index("feature")])
    labels = {"row": _row_labels(shap_values, rows), "feature": names, "feature_2": names}
    outputs = _output_names(shap_values, dims, values)
    if outputs:
        labels["output"] = outputs
    coords = {d: _as_labels(labels[d]) for d in labels if d in dims or d in ("row", "output")}
    features = tuple(i for i, d in enumerate(dims) if d.startswith("feature"))
    tail = tuple(d for d in dims if not d.startswith("feature"))
    summed = values.sum(axis=features)
    bases = np.broadcast_to(
        base[:, None] if tail == ("row", "output") and base.shape == (rows,) != summed.shape[1:] else base, summed.shape
    )
    first = bases[0] if "row" in dims else bases
    same = np.array_equal(np.broadcast_to(first, bases.shape), bases, equal_nan=True)
    fields: dict[str, Any] = {
        "kind": "interaction" if "feature_2" in dims else "attribution",
        "values": values,
        "dims": dims,
        "coords": coords,
        "base": np.array(first) if same else np.full(np.shape(first), np.nan),
        "units": units,
        "prediction": np.asarray(bases + summed),
        "std_error": _standard_errors(shap_values, values),
        "data": _table_of(shap_values, names, rows),
        "players": {name: (name,) for name in names},
        "extras": {} if same else {"base": (tail, np.array(bases))},
        "evidence": _evidence(rows),
    }
    return kind(**fields)


def _is_numeric(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind in "fiu"


def dims_of_shap(s: Any, values: Floats, base: Floats) -> tuple[str, ...]:
    """The axes of the values: rows, unless the data are of one; outputs last, where the base or the names have them; a second axis of features else.

    Raises:
        InputError: the base has other axes.
    """
    data = None if s.data is None else np.asarray(s.data)
    rows = ("row",) if (values.ndim > 1 if data is None else data.ndim > 1) else ()
    left = values.ndim - len(rows) - 1
    names = s.output_names
    named = not isinstance(names, str) and names is not None and len(names) == values.shape[-1]
    of_outputs = left > 0 and base.shape == values.shape[-1:]  # expected_value of several outputs
    if of_outputs and left == 1 and base.shape == values.shape[: len(rows)]:  # or one for each row, of interactions
        of_outputs = values.shape[1] != values.shape[2] or not np.allclose(values, values.swapaxes(1, 2))
    has_outputs = left > 0 and (base.ndim > len(rows) or left > 1 or named or of_outputs)
    dims = (
        *rows,
        "feature",
        *(("feature_2",) if left - has_outputs == 1 else ()),
        *(("output",) if has_outputs else ()),
    )
    allowed = [(), *([values.shape[:1]] if rows else []), *([values.shape[-1:]] if has_outputs else [])]
    allowed += [(*values.shape[:1], *values.shape[-1:])] if rows and has_outputs else []
    if len(dims) != values.ndim or base.shape not in allowed:
        raise InputError(
            f"values of shape {values.shape} with base_values of shape {base.shape} are no attributions of rows, features and outputs."
        )
    if "feature_2" in dims and values.shape[len(rows)] != values.shape[len(rows) + 1]:
        raise InputError(
            f"values of shape {values.shape} with base_values of shape {base.shape} are neither interactions nor attributions of several outputs."
        )
    return dims


def _names_of(s: Any, count: int) -> list[str]:
    names = [f"x{j}" for j in range(count)] if s.feature_names is None else [str(name) for name in s.feature_names]
    twice = next((name for name in names if names.count(name) > 1), None)
    if len(names) != count or twice is not None:
        raise InputError(
            f"there are {count} features and {len(names)} names{'' if twice is None else f', of which {twice!r} stands there twice'}; each needs a name of its own."
        )
    return names


def _row_labels(s: Any, rows: int) -> list[Any]:
    names = getattr(s, "instance_names", None)
    return list(names) if names is not None and not isinstance(names, str) and len(names) == rows else list(range(rows))


def _output_names(s: Any, dims: tuple[str, ...], values: Floats) -> list[str]:
    names = s.output_names
    if "output" not in dims:
        return [names] if isinstance(names, str) else []
    given = None if names is None or isinstance(names, str) else [str(name) for name in names]
    return (
        given
        if given is not None and len(given) == values.shape[-1]
        else [f"output {k}" for k in range(values.shape[-1])]
    )


def _as_labels(names: list[Any]) -> npt.NDArray[Any]:
    out = np.empty(len(names), dtype=object)
    out[:] = names
    return out


def _standard_errors(s: Any, values: Floats) -> Floats | None:
    """Standard errors as :func:`to_shap` writes them, with the bounds that follow; ``error_std`` alone is in shap the spread of single draws, and no error."""
    error, upper = getattr(s, "error_std", None), getattr(s, "upper_bounds", None)
    if error is None or upper is None:
        return None
    error, upper = np.asarray(error, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    if error.shape != values.shape or upper.shape != values.shape:
        return None
    return error.copy() if np.allclose(values + critical_value(LEVEL) * error, upper, rtol=1e-9) else None


def _table_of(s: Any, names: list[str], rows: int) -> Table | None:
    shown = s.data if getattr(s, "display_data", None) is None else s.display_data
    if shown is None:
        return None
    cells = np.asarray(shown)
    cells = cells[None] if cells.ndim == 1 else cells
    if cells.shape != (rows, len(names)):
        return None
    return as_table(cells).with_names(names)


def _evidence(rows: int) -> Evidence:
    return Evidence(
        method="shap.Explanation",
        method_id="",
        kernel="not known",
        exact=False,
        estimand="not known",
        index="Shapley value",
        additive=True,
        residual=0.0,
        residual_units=PREDICTION_UNITS,
        residual_against="their own sum",
        agreement=0.0,
        tolerance=0.0,
        model="not known",
        rows=rows,
        versions=library_versions("shap"),
        notes=(NOTE,),
    )
