"""An explanation in one file: a zip of arrays (npy), the rows (Arrow) and a JSON page. Nothing in it can run code."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.core.atomic_write import atomic_write
from whybox.data.table import Table
from whybox.errors import OptionError
from whybox.explanation.axis_labels import as_index, write_label
from whybox.explanation.curve_functions import PiecewiseLinearCurve, SavedCurve, StepFunction
from whybox.explanation.labelled import Labelled

__all__ = ["FORMAT_VERSION", "SPARSE_ARRAYS", "save_effects", "save_explanation", "write_archive"]

FORMAT_VERSION: Final = (
    1  # goes up when a file means something else; fields that are only added to the evidence do not need it
)
SPARSE_ARRAYS: Final = ("data", "indices", "indptr")  # what a sparse matrix is made of
_ZIP_TIMESTAMP: Final = (1980, 1, 1, 0, 0, 0)  # no clock in the file: same explanation, same bytes


def save_explanation(explanation: Labelled, path: str | Path) -> None:
    """Write an explanation; the file appears whole or not at all.

    Raises:
        OptionError: a name of another type of file than .whybox. InputError: the folder cannot be written to.
    """
    _check_suffix(path)
    with atomic_write(path) as part:
        write_archive(explanation, part)


def save_effects(effects: Mapping[Any, Labelled], path: str | Path) -> None:
    """Write all curves of effects into one file: a zip of explanations, and a page that names them.

    Raises:
        OptionError: a name of another type of file than .whybox. InputError: the folder cannot be written to.
    """
    _check_suffix(path)
    page = {"format": FORMAT_VERSION, "keys": [k if isinstance(k, str) else list(k) for k in effects]}
    with atomic_write(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        _add_member(archive, "effects.json", json.dumps(page).encode())
        for i, curve in enumerate(effects.values()):
            buffer = io.BytesIO()
            write_archive(curve, buffer)
            _add_member(archive, f"{i}.whybox", buffer.getvalue())


def _check_suffix(path: str | Path) -> None:
    """Refuse a name that promises another type of file."""
    suffix = Path(path).suffix
    if suffix and suffix.lower() != ".whybox":
        raise OptionError(
            f"{Path(path).name}: explanations are saved as .whybox files, not {suffix}. Name it {Path(path).with_suffix('.whybox').name}; "
            "for a table of the numbers there are to_frame() and to_arrow()."
        )


def write_archive(e: Labelled, target: Any) -> None:
    """Write an explanation to a file of any name or to a stream."""
    page = {
        "format": FORMAT_VERSION,
        "kind": e.kind,
        "dims": list(e.dims),
        "units": e.units,
        "library": e.library,
        "evidence": e.evidence.to_dict(),
        "players": {name: list(columns) for name, columns in e.players.items()},
        "coords": {
            dim: _plain_value(values) if dim != "row" else _row_labels(values) for dim, values in e.coords.items()
        },
        "dtypes": {dim: v.dtype.str for dim, v in e.coords.items() if v.dtype.kind in "iufbMm"},
        "extras": {name: list(dims) for name, (dims, _) in e.extras.items()},
        "data": None
        if e.data is None
        else {
            "names": list(e.data.names),
            "library": e.data.library,
            "named": e.data.named,
            "labels": e.data.labels is not None,
            **({"shape": list(e.data.native.shape), "absent": e.data.absent} if e.data.is_matrix else {}),
        },
    }
    texts = {name: _coded_texts(array) for name, (_, array) in e.extras.items() if array.dtype == object}
    if texts:
        page["texts"] = {name: levels for name, (levels, _) in texts.items()}
    saved_curve = None if e.again is None else e.again.saved_curve()
    page["at"] = _curve_settings(saved_curve)
    arrays: dict[str, npt.NDArray[Any] | None] = {
        "values": e.values,
        "base": e.base,
        "prediction": e.prediction,
        "std_error": e.std_error,
    }
    if e.data is not None and e.data.is_matrix:
        arrays |= {f"data.{part}": getattr(e.data.native, part) for part in SPARSE_ARRAYS}
    arrays |= {f"extra.{name}": texts[name][1] if name in texts else array for name, (_, array) in e.extras.items()}
    if isinstance(saved_curve, StepFunction):
        arrays |= {"at.values": saved_curve.values} | {
            f"at.edges.{i}": axis.edges for i, axis in enumerate(saved_curve.axes)
        }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        _add_member(archive, "explanation.json", json.dumps(page, indent=1, allow_nan=True).encode())
        for name, array in arrays.items():
            if array is not None:
                buffer = io.BytesIO()
                np.save(buffer, array, allow_pickle=False)
                _add_member(archive, f"{name}.npy", buffer.getvalue())
        if e.data is not None and not e.data.is_matrix:
            _add_member(archive, "data.arrow", _arrow_bytes(e.data))
            index = None if e.data.labels is None else _index_bytes(e.data.index)
            if index is not None:
                _add_member(archive, "index.arrow", index)


def _curve_settings(saved_curve: SavedCurve | None) -> dict[str, Any] | None:
    """What at() of a saved curve does, but for its numbers."""
    if isinstance(saved_curve, StepFunction):
        axes = [{"name": a.name, "levels": a.levels, "missing": a.has_missing} for a in saved_curve.axes]
        return {"how": "steps", "axes": axes, "rows": saved_curve.has_rows}
    if isinstance(saved_curve, PiecewiseLinearCurve):
        return {"how": "line"}
    return None if saved_curve is None else {"how": "not", "why": saved_curve.reason}


def _add_member(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, _ZIP_TIMESTAMP)
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data)


def _coded_texts(texts: npt.NDArray[Any]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """An array of texts as its different ones, and the position of each among them."""
    levels = list(dict.fromkeys(map(str, texts.reshape(-1))))
    position = {text: i for i, text in enumerate(levels)}
    codes = np.array([position[str(text)] for text in texts.reshape(-1)], dtype=np.int64)
    return levels, codes.reshape(texts.shape)


def _plain_value(values: npt.NDArray[Any]) -> list[Any]:
    if np.asarray(values).dtype.kind == "m":  # in units of the dtype, which is kept beside
        return list(values.astype(np.int64).tolist())
    return [v if isinstance(v, (str, int, float, bool)) or v is None else str(v) for v in np.asarray(values).tolist()]


def _row_labels(values: npt.NDArray[Any]) -> list[Any]:
    """Row labels, each with its kind where JSON has none for it; dates and spans as counts of the dtype's unit."""
    if values.dtype.kind in "Mm":
        return [None if np.isnat(v) else int(v.astype(np.int64)) for v in values]
    if values.dtype != object:
        return list(values.tolist())
    return [write_label(v) for v in values]


def _index_bytes(index: Any) -> bytes | None:
    """A pandas Index with its names and dtypes; None where there is none, or it holds what Arrow has no type for."""
    if index is None:
        return None
    import pandas as pd
    import pyarrow as pa

    levels = {str(i): index.get_level_values(i).to_series(index=range(len(index))) for i in range(index.nlevels)}
    about = {"names": [write_label(n) for n in index.names], "several": isinstance(index, pd.MultiIndex)}
    try:
        arrow = pa.Table.from_pandas(pd.DataFrame(levels), preserve_index=False)
        arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), "whybox": json.dumps(about)})
        if not as_index(arrow).equals(index):
            return None
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError):
        return None  # labels of mixed kinds: the page has them one by one
    return _ipc_bytes(arrow)


def _arrow_bytes(table: Table) -> bytes:
    import pyarrow as pa

    columns = {}
    for i, name in enumerate(table.names):
        column = table.column(i)
        values = column.values if column.categories is None and column.values.dtype != object else column.objects()
        try:
            columns[name] = pa.array(values, from_pandas=True) if values.dtype != object else pa.array(values.tolist())
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            columns[name] = pa.array([None if v is None else str(v) for v in values])
    return _ipc_bytes(pa.table(columns))


def _ipc_bytes(arrow: Any) -> bytes:
    import pyarrow as pa

    sink = io.BytesIO()
    with pa.ipc.new_file(sink, arrow.schema) as writer:
        writer.write_table(arrow)
    return sink.getvalue()
