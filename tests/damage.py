"""Damaged model files, and what their own libraries make of them (each file in a process that may die)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from library_processes import run

# Importing frames takes most of a library's own import.
_WITHOUT = """
import sys
class Skipped:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in {packages}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Skipped)
"""
_FRAMES = _WITHOUT.format(packages=("pandas", "sklearn"))
_OTHER_FRAMES = _WITHOUT.format(packages=("polars", "pyarrow"))  # CatBoost needs pandas
_LOADERS = {
    "xgboost": _FRAMES + "import xgboost\n"
    "def predict(path, rows):\n"
    "    b = xgboost.Booster({'nthread': 1}); b.load_model(path)\n"
    "    d = xgboost.DMatrix(rows, feature_names=b.feature_names, feature_types=b.feature_types, enable_categorical=True)\n"
    "    n = b.attributes().get('best_iteration') if 'scikit_learn' in b.attributes() else None\n"
    "    return b.predict(d, output_margin=True, iteration_range=(0, 0) if n is None else (0, int(n) + 1))\n",
    "lightgbm": _FRAMES + "import lightgbm\n"
    "def predict(path, rows):\n"
    "    b = lightgbm.Booster(model_file=path, params={'verbose': -1, 'num_threads': 1})\n"
    "    return b.predict(rows, raw_score='average_output' not in open(path, errors='replace').read())\n",
    "catboost": _OTHER_FRAMES + "import catboost\n"
    "def predict(path, rows):\n"
    "    m = catboost.CatBoost(); m.load_model(path, format='json')\n"
    "    return m.predict(rows, prediction_type='RawFormulaVal', thread_count=1)\n",
}
_EACH = """
import os, sys, json, resource, signal
import numpy as np
rows = np.load(sys.argv[1])
for path in sys.argv[3:]:
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.alarm(20)
            out = np.asarray(predict(path, rows), dtype=float).reshape(len(rows), -1)
            np.save(path + '.out.npy', out)
        except BaseException as e:
            open(path + '.err', 'w').write(f'{type(e).__name__}: {e}')
        os._exit(0)
    os.waitpid(pid, 0)
"""


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the file truncated, or with bytes flipped, cut out, repeated, or digits changed."""
    how = rng.integers(6)
    out = bytearray(data)
    if how == 0:
        return bytes(out[: rng.integers(1, len(out))])
    if how == 1:
        for _ in range(rng.integers(1, 4)):
            out[rng.integers(len(out))] ^= 1 << rng.integers(8)
    elif how == 2:
        a = int(rng.integers(len(out)))
        del out[a : a + int(rng.integers(1, 40))]
    elif how == 3:
        a = int(rng.integers(len(out)))
        out[a:a] = out[a : a + int(rng.integers(1, 40))]
    elif how == 4:
        out[rng.integers(len(out))] = rng.integers(256)
    else:
        digits = [i for i, b in enumerate(out) if 48 <= b <= 57]
        for _ in range(rng.integers(1, 4)):
            out[digits[rng.integers(len(digits))]] = 48 + rng.integers(10)
    return bytes(out)


def reshaped(document, rng: np.random.Generator):
    """Return the JSON document with one field dropped, renamed, retyped, moved or added, or its fields shuffled."""
    out = json.loads(json.dumps(document))
    places = []

    def walk(value):
        if isinstance(value, dict) and value:
            places.append(value)
            for v in value.values():
                walk(v)
        elif isinstance(value, list) and value:
            places.append(value)
            for v in value[:6]:
                if isinstance(v, (dict, list)):
                    walk(v)

    walk(out)
    at = places[rng.integers(len(places))]
    key = list(at)[rng.integers(len(at))] if isinstance(at, dict) else int(rng.integers(len(at)))
    how = rng.integers(7)
    if how == 0:
        del at[key]
    elif how == 1:
        at[key] = [None, "x", -1, 1e30, [], {}, True, 2**40, "nan", [1, 2]][rng.integers(10)]
    elif how == 2 and isinstance(at, dict):
        at[f"{key}_new"] = at.pop(key)
    elif how == 3 and isinstance(at, list):
        at.insert(key, at[rng.integers(len(at))])
    elif how == 4 and isinstance(at, list):
        rng.shuffle(at)
    elif how == 5 and isinstance(at, dict):
        items = list(at.items())
        rng.shuffle(items)
        at.clear()
        at.update(items)
    elif isinstance(at, dict):
        at["a field from the future"] = 1
    else:
        at[key] = at[int(rng.integers(len(at)))]
    return out


def library_says(library: str, paths: list[Path], rows: np.ndarray, folder: Path) -> dict[Path, np.ndarray | str]:
    """Return, for each file, the library's predictions, or its reason, or that it died."""
    np.save(folder / "rows.npy", rows)
    program = _LOADERS[library] + _EACH
    run(
        [sys.executable, "-c", program, str(folder / "rows.npy"), "-", *map(str, paths)],
        check=True,
        capture_output=True,
        timeout=900,
    )
    out: dict[Path, np.ndarray | str] = {}
    for path in paths:
        got, err = Path(f"{path}.out.npy"), Path(f"{path}.err")
        out[path] = np.load(got) if got.exists() else err.read_text() if err.exists() else "died"
    return out
