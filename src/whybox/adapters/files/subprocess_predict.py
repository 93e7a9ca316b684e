"""Run a model file's own library in another process, where it may crash, hang or run out of memory.

The parent asks for predictions of made rows (or for a JSON copy of a cbm file) and reads plain arrays back.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from whybox.data.sparse_rows import is_sparse
from whybox.data.table import Floats
from whybox.errors import MissingDependencyError, ModelFileError

__all__ = ["cbm_as_json", "is_installed", "predict_in_subprocess"]

MAX_SECONDS: Final = 120
MAX_MEMORY_GIGABYTES: Final = 8

_RESOURCE_LIMITS: Final = """
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))
    resource.setrlimit(resource.RLIMIT_AS, ({bytes}, {bytes}))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, ValueError, OSError):
    pass
""".format(seconds=MAX_SECONDS, bytes=MAX_MEMORY_GIGABYTES * 2**30)

# The libraries run without these packages, and importing them takes much of such a process's time.
_SKIP_IMPORTS: Final = """
class Skipped:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in {packages}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Skipped)
"""
_SKIP_FRAMES: Final = _SKIP_IMPORTS.format(packages=("pandas", "sklearn"))
_SKIP_OTHER_FRAMES: Final = _SKIP_IMPORTS.format(packages=("polars", "pyarrow"))  # CatBoost itself needs pandas

_READ_ROWS: Final = """
def read(path):
    import numpy as np
    found = np.load(path, allow_pickle=False)
    if isinstance(found, np.ndarray):
        return found
    from scipy.sparse import csr_matrix
    return csr_matrix((found["data"], found["indices"], found["indptr"]), shape=tuple(found["shape"]))
"""

_PROGRAM_TEXTS: Final = {
    "xgboost": _SKIP_FRAMES
    + """
import numpy as np, xgboost
b = xgboost.Booster({"nthread": 1}); b.load_model(sys.argv[1])
rows = read(sys.argv[2])
rounds = (0, int(sys.argv[4]))
d = xgboost.DMatrix(rows.astype(np.float32), feature_names=b.feature_names, feature_types=b.feature_types, enable_categorical=True)
out = b.predict(d, output_margin=True, iteration_range=rounds, strict_shape=True)
np.save(sys.argv[3], np.asarray(out, dtype=np.float64).reshape(rows.shape[0], -1), allow_pickle=False)
""",
    "lightgbm": _SKIP_FRAMES
    + """
import numpy as np, lightgbm
b = lightgbm.Booster(model_file=sys.argv[1], params={"verbose": -1, "num_threads": 1})
rows = read(sys.argv[2])
out = b.predict(rows, raw_score=sys.argv[4] == "raw", validate_features=False)
np.save(sys.argv[3], np.asarray(out, dtype=np.float64).reshape(rows.shape[0], -1), allow_pickle=False)
""",
    "catboost": _SKIP_OTHER_FRAMES
    + """
import numpy as np, catboost
m = catboost.CatBoost(); m.load_model(sys.argv[1], format=sys.argv[4])
rows = read(sys.argv[2])
if len(sys.argv) > 5:
    wide = np.empty((len(rows), int(sys.argv[6])), dtype=object)
    floats = [int(i) for i in sys.argv[5].split(",") if i]
    texts = __import__("json").load(open(sys.argv[7], encoding="utf-8")) if len(sys.argv) > 7 else {}
    for j in range(wide.shape[1]):
        wide[:, j] = rows[:, floats.index(j)] if j in floats else texts[str(j)] if str(j) in texts else [f"category {i % 5} that training did not have" for i in range(len(rows))]
    rows = wide
out = m.predict(rows, prediction_type="RawFormulaVal", thread_count=1)
np.save(sys.argv[3], np.asarray(out, dtype=np.float64).reshape(rows.shape[0], -1), allow_pickle=False)
""",
    "cbm": _SKIP_OTHER_FRAMES
    + """
import catboost
m = catboost.CatBoost(); m.load_model(sys.argv[1], format="cbm")
m.save_model(sys.argv[2], format="json")
""",
}


def is_installed(library: str) -> bool:
    """Whether the library is installed."""
    return find_spec(library) is not None


def predict_in_subprocess(
    library: str,
    path: Path,
    rows: Any,
    *extra: str,
    categories: Mapping[int, Sequence[str]] | None = None,
    seconds: float = MAX_SECONDS,
) -> Floats:
    """Return what the library itself, loading the file in a process of its own, predicts for rows of the model's matrix, dense or sparse.

    Args:
        library, path: the library and the file. rows: of the matrix that it takes. extra: as its program takes them.
        categories: of CatBoost, the texts of categorical columns by their position; None: categories that training did not have.
        seconds: how long it may take.

    Raises:
        ModelFileError: it refuses the file, crashes on it, or takes more than its time or memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows_path, predictions_path = Path(folder) / "rows", Path(folder) / "out.npy"
        with rows_path.open("wb") as file:
            if is_sparse(rows):
                np.savez(file, data=rows.data, indices=rows.indices, indptr=rows.indptr, shape=rows.shape)
            else:
                np.save(file, rows, allow_pickle=False)
        if categories is not None:
            texts_path = Path(folder) / "texts.json"
            texts_path.write_text(
                json.dumps({str(i): list(texts) for i, texts in categories.items()}), encoding="utf-8"
            )
            extra = (*extra, str(texts_path))
        _run_program(library, library, str(path), str(rows_path), str(predictions_path), *extra, seconds=seconds)
        return np.asarray(np.load(predictions_path, allow_pickle=False))


def cbm_as_json(path: Path) -> bytes:
    """Return a cbm file as CatBoost's JSON.

    Raises:
        MissingDependencyError: CatBoost, the only reader of this format, is not installed.
        ModelFileError: CatBoost refuses the file or crashes on it.
    """
    if not is_installed("catboost"):
        raise MissingDependencyError(
            "catboost",
            f"reading {path.name} (cbm is CatBoost's own binary format; save_model(..., format='json') needs nothing)",
            "catboost",
        )
    with tempfile.TemporaryDirectory() as folder:
        json_path = Path(folder) / "model.json"
        _run_program("cbm", "CatBoost", str(path), str(json_path))
        return json_path.read_bytes()


def _run_program(program: str, library: str, *arguments: str, seconds: float = MAX_SECONDS) -> None:
    try:
        process = subprocess.run(  # noqa: S603  # our own programs, on paths that are passed as arguments
            [sys.executable, "-c", _RESOURCE_LIMITS + _READ_ROWS + _PROGRAM_TEXTS[program], *arguments],
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelFileError(
            f"{library} did not finish reading the file within {seconds:g} s, so it cannot be checked; the file is damaged or enormous."
        ) from None
    if process.returncode < 0:
        raise ModelFileError(
            f"{library} crashed on this file (signal {-process.returncode}), in a process of its own. The file is damaged; it is not explained."
        )
    if process.returncode:
        last_line = process.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no reason given"]
        raise ModelFileError(f"{library} itself refuses this file: {last_line[0][:300]}")
