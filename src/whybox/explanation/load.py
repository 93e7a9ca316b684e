"""Reading what save.py wrote, believing nothing of it."""

from __future__ import annotations

import io
import json
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.data.table import Table, as_table
from whybox.errors import ExplanationFileError
from whybox.explanation.axis_labels import as_index, read_label
from whybox.explanation.curve_functions import (
    CurveAxis,
    PiecewiseLinearCurve,
    SavedCurve,
    StepFunction,
    UnavailableCurve,
)
from whybox.explanation.effects import Effects
from whybox.explanation.evidence import Evidence
from whybox.explanation.explanation import Explanation, as_labels
from whybox.explanation.save import FORMAT_VERSION, SPARSE_ARRAYS

__all__ = ["load"]


def load(path: str | Path) -> Explanation | Effects:
    """Read what :meth:`Explanation.save` or :meth:`Effects.save` wrote.

    Raises:
        ExplanationFileError: not such a file, truncated, edited, or of another version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if "effects.json" not in archive.namelist():
                return _read_explanation(path)
            page = json.loads(archive.read("effects.json"))
            _check_format(page)
            curves = [_read_explanation(io.BytesIO(archive.read(f"{i}.whybox"))) for i in range(len(page["keys"]))]
        keys = [k if isinstance(k, str) else tuple(k) for k in page["keys"]]
        return Effects(dict(zip(keys, curves, strict=True)))
    except ExplanationFileError:
        raise
    except FileNotFoundError:
        raise ExplanationFileError(f"there is no file {str(path)!r}.") from None
    except Exception as error:
        raise ExplanationFileError(
            f"{path} is not a saved explanation, or it is truncated or edited ({type(error).__name__}: {error})."
        ) from error


def _read_explanation(path: str | Path | io.BytesIO) -> Explanation:
    with zipfile.ZipFile(path) as archive:
        page = json.loads(archive.read("explanation.json"))
        names = set(archive.namelist())
        axes = (page.get("at") or {}).get("axes", ())
        wanted = (
            *("values", "base", "prediction", "std_error", "at.values"),
            *(f"at.edges.{i}" for i in range(len(axes))),
            *(f"extra.{n}" for n in page.get("extras", {})),
            *(f"data.{part}" for part in SPARSE_ARRAYS),
        )
        arrays = {
            n: np.load(io.BytesIO(archive.read(f"{n}.npy")), allow_pickle=False) for n in wanted if f"{n}.npy" in names
        }
        rows, index = (archive.read(n) if n in names else None for n in ("data.arrow", "index.arrow"))
    return _build_explanation(page, arrays, rows, index)


def _check_format(page: dict[str, Any]) -> None:
    """Refuse what a later version wrote in a way that this one does not know.

    Raises:
        ExplanationFileError: no format number, or a later one.
    """
    number = page.get("format")
    if type(number) is not int or number < 1:
        raise ExplanationFileError(f"the file has format {number!r}, which whybox never wrote; it was edited.")
    if number > FORMAT_VERSION:
        raise ExplanationFileError(
            f"the file has format {number}, of a newer version of whybox; this one reads formats up to {FORMAT_VERSION}. Update whybox to read it."
        )


def _build_explanation(
    page: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], rows: bytes | None, index: bytes | None
) -> Explanation:
    _check_format(page)
    data = None
    coords = {dim: as_labels([read_label(v) for v in values]) for dim, values in page["coords"].items()}
    for dim, dtype in page.get("dtypes", {}).items():
        coords[dim] = coords[dim].astype(np.dtype(dtype))
    if page["data"] is not None and rows is not None:
        import pyarrow as pa

        about = page["data"]
        table = as_table(pa.ipc.open_file(io.BytesIO(rows)).read_all())
        labelled = about["labels"] and len(coords.get("row", ())) == len(table)
        row_index = _read_index(index, len(table)) if labelled else None
        if row_index is not None:
            coords["row"] = row_index.to_numpy()
        row_labels = coords["row"] if labelled else None
        data = Table(
            table.native,
            tuple(about["names"]),
            about["library"] if about["library"] != "numpy" else "pyarrow",
            named=about["named"],
            labels=row_labels,
            index=row_index,
        )
    elif page["data"] is not None and "data.data" in arrays:
        data = _read_sparse(page["data"], arrays)
    return Explanation(
        kind=page["kind"],
        values=arrays["values"],
        dims=tuple(page["dims"]),
        coords=coords,
        base=arrays["base"],
        units=page["units"],
        evidence=Evidence.from_dict(page["evidence"]),
        prediction=arrays.get("prediction"),
        std_error=arrays.get("std_error"),
        data=data,
        library=page.get("library", "numpy"),
        players={name: tuple(columns) for name, columns in page["players"].items()},
        extras=_read_extras(page, arrays),
        again=_curve_function(page.get("at"), arrays, [coords[d] for d in page["dims"] if d.startswith("point")]),
    )


def _read_extras(
    page: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]
) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
    """Further numbers by name; texts come as positions among the different ones."""
    out = {name: (tuple(dims), arrays[f"extra.{name}"]) for name, dims in page.get("extras", {}).items()}
    for name, levels in page.get("texts", {}).items():
        dims, codes = out[name]
        if codes.size and not 0 <= codes.min() <= codes.max() < len(levels):
            raise ExplanationFileError(f"extras[{name!r}] points at texts that are not there; the file is damaged.")
        out[name] = dims, as_labels([*map(str, levels), ""])[codes]
    return out


def _read_index(data: bytes | None, rows: int) -> Any:
    """The pandas Index of the rows; None where there was none, or pandas is not installed."""
    if data is None or find_spec("pandas") is None:
        return None
    import pyarrow as pa

    index = as_index(pa.ipc.open_file(io.BytesIO(data)).read_all())
    if len(index) != rows:
        raise ExplanationFileError(f"{len(index)} row labels for {rows} rows; the file is damaged.")
    return index


def _read_sparse(about: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Table:
    """Rows of a sparse matrix."""
    from scipy.sparse import csr_matrix

    rows = csr_matrix(tuple(arrays[f"data.{part}"] for part in SPARSE_ARRAYS), shape=tuple(about["shape"]))
    rows.check_format(full_check=True)
    names = tuple(map(str, about["names"]))
    if len(names) != rows.shape[1]:
        raise ExplanationFileError("the saved rows have another number of columns than of names.")
    return Table(rows, names, "scipy", named=bool(about["named"]), absent=float(about["absent"]))


def _curve_function(
    about: dict[str, Any] | None, arrays: dict[str, npt.NDArray[Any]], points: list[npt.NDArray[Any]]
) -> SavedCurve | None:
    """What at() of a curve does."""
    if about is None:
        return None
    if about["how"] == "line":
        return PiecewiseLinearCurve(tuple(points), arrays["values"])
    if about["how"] == "not":
        return UnavailableCurve(str(about["why"]))
    axes = []
    for i, axis in enumerate(about["axes"]):
        levels = None if axis["levels"] is None else tuple(axis["levels"])
        edges = arrays.get(f"at.edges.{i}")
        if (edges is None) == (levels is None) or (
            edges is not None and (edges.ndim != 1 or (np.diff(edges) <= 0).any())
        ):
            raise ExplanationFileError(f"the steps along {axis['name']!r} are damaged.")
        axes.append(CurveAxis(str(axis["name"]), edges, levels, bool(axis["missing"])))
    values, rows = arrays["at.values"], bool(about["rows"])
    sizes = [
        (len(a.levels) if a.levels is not None else len(arrays[f"at.edges.{i}"]) + 1) + a.has_missing
        for i, a in enumerate(axes)
    ]
    if list(values.shape[rows : rows + len(sizes)]) != sizes:
        raise ExplanationFileError("the steps of the curve are damaged.")
    return StepFunction(tuple(axes), values, rows)
