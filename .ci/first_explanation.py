"""The first explanation after an installation: exact values of a small forest, compared with brute force over all coalitions.

Then the same by the command line, from files and as a table of another library.

Run by ``.ci/wheel`` and for each wheel by cibuildwheel; needs nothing but whybox and what it depends on.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib.metadata import version
from itertools import combinations
from math import comb
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.ensemble import RandomForestRegressor

import whybox as wb


def brute_force(model: RandomForestRegressor, row: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return the interventional Shapley values of one row, from the definition."""
    d = len(row)

    def worth(present: tuple[int, ...]) -> float:
        rows = background.copy()
        rows[:, present] = row[list(present)]
        return float(model.predict(rows).mean())

    values = np.zeros(d)
    for i in range(d):
        others = [j for j in range(d) if j != i]
        for size in range(d):
            for present in combinations(others, size):
                values[i] += (worth((*present, i)) - worth(present)) / (d * comb(d - 1, size))
    return values


def by_command(model: RandomForestRegressor, table: pa.Table, background: pa.Table) -> np.ndarray:
    """Return the values that ``whybox explain`` writes for the rows of a table."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.pkl").write_bytes(pickle.dumps(model))
        pq.write_table(table, folder / "rows.parquet")
        pq.write_table(background, folder / "background.parquet")
        words = ["explain", "model.pkl", "rows.parquet", "--background", "background.parquet", "-o", "out.parquet"]
        subprocess.run([sys.executable, "-m", "whybox", *words, "--trust-pickle"], cwd=folder, check=True)
        out = pq.read_table(folder / "out.parquet")
        assert b"whybox" in pq.read_metadata(folder / "out.parquet").metadata  # the evidence
    return np.column_stack([out[name] for name in table.column_names])


def main() -> None:
    """Explain three rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    model = RandomForestRegressor(10, max_depth=4, random_state=0).fit(X, X[:, 0] * X[:, 1] + X[:, 2])
    values = np.asarray(wb.explain(model, X[:3], background=X[50:70]).values)
    for row, found in zip(X[:3], values, strict=True):
        np.testing.assert_allclose(found, brute_force(model, row, X[50:70]), atol=1e-9)
    table = pa.table(dict(zip("abcd", X.T, strict=True)))
    np.testing.assert_array_equal(wb.explain(model, table[:3], background=table[50:70]).values, values)
    np.testing.assert_array_equal(by_command(model, table[:3], table[50:70]), values)
    assert wb.effects(model, table, ["a"])["a"].values.shape == wb.effects(model, X, [0])[0].values.shape
    assert wb.__version__ == version("whybox")
    print(f"whybox {wb.__version__} of {Path(wb.__file__).parent}: exact")


if __name__ == "__main__":
    main()
