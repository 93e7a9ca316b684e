"""Instructions and cache misses of attributions, counted by cachegrind: they repeat where times do not.

    python benchmarks/counts.py                 every workload, as a Markdown table: a quarter of an hour
    python benchmarks/counts.py --only forest   those whose name contains the word

Each workload runs twice under ``valgrind --tool=cachegrind``, with different numbers of rows, and the difference is divided by the rows between
them, so that what is done once does not count. Caches are 32 KiB and 1 MiB; valgrind knows AVX2, so that is what runs.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from whybox.games.indices import SHAPLEY
from whybox.kernels import compiled_trees, tree_shap
from whybox.kernels.tree_shap import QuadratureRules
from whybox.models.registry import as_model

# name: features, depth (None: a forest grown to purity), kernel, arithmetic, bits, rows; and how many trees a row's figures are divided by
WORK: dict[str, tuple[int, int | None, str, compiled_trees.Arithmetic, int, tuple[int, int], int]] = {
    "depth 6, d = 20, pattern tables of 7 bits": (20, 6, "pattern tables", "float32", 7, (1024, 3072), 1),
    "depth 6, d = 20, lane walk": (20, 6, "lane walk", "float32", 5, (1024, 3072), 1),
    "depth 6, d = 127, pattern tables of 7 bits": (127, 6, "pattern tables", "float32", 7, (1024, 3072), 1),
    "depth 6, d = 127, lane walk": (127, 6, "lane walk", "float32", 5, (1024, 3072), 1),
    "forest, float32": (20, None, "lane walk", "float32", 4, (256, 512), 5),
    "forest, float64": (20, None, "lane walk", "float64", 4, (256, 512), 5),
    "forest, interventional, 100 background rows": (20, None, "pair walk", "float64", 0, (64, 192), 5),
}


def made(d: int, depth: int | None) -> tuple[Any, np.ndarray]:
    """A model as we read it, without its library, and rows."""
    from trees import data  # beside this file

    X, y = data(20_000, d)
    if depth is None:
        from sklearn.ensemble import RandomForestRegressor

        model = as_model(RandomForestRegressor(5, random_state=0, n_jobs=2).fit(X, y))
    else:
        import xgboost

        model = as_model(xgboost.train({"max_depth": depth}, xgboost.DMatrix(X, y), 100))
    return pickle.dumps(replace(model, own_predict=None)), X[:4096].astype(np.float64)


def attribute(path: str, name: str, rows: int) -> None:
    """What runs under valgrind: the attributions of the first rows."""
    d, _, kernel, arithmetic, bits, _, _ = WORK[name]
    kept = np.load(path)
    e, X = pickle.loads(kept["model"].tobytes()), kept["X"]  # noqa: S301  # written by this script a moment ago
    player_of, out, few = np.arange(d, dtype=np.int32), np.zeros((rows, d, 1)), np.ascontiguousarray(X[:rows])
    if kernel == "pair walk":
        back = np.ascontiguousarray(X[-100:])
        return tree_shap.add_interventional(
            e, player_of, d, few, back, np.full((1, 100), 0.01), SHAPLEY.moments(d + 1), 1, out
        )
    degrees = np.maximum(tree_shap.players_on_path(e, player_of, d) - 1, 0)
    different, of_tree = np.unique(np.minimum(degrees, 15) if arithmetic == "float32" else degrees, return_inverse=True)
    rules = QuadratureRules.from_rules([SHAPLEY.rule(int(k)) for k in different], of_tree.astype(np.int32))
    best = compiled_trees.instruction_sets()[0].name
    work = compiled_trees.CompiledTrees(
        e, player_of, d, rules, kernel=kernel, instructions=best, arithmetic=arithmetic, bits=bits
    )
    return work.add_values(few, out, threads=1, description="", quiet=True)


def counted(path: Path, name: str, rows: int) -> np.ndarray:
    """Instructions, first-level and second-level data misses of one run."""
    caches = ["--I1=32768,8,64", "--D1=32768,8,64", "--LL=1048576,8,64", "--cachegrind-out-file=/dev/null"]
    said = subprocess.run(
        ["valgrind", "--tool=cachegrind", "--cache-sim=yes", *caches, sys.executable, __file__, "--run", str(path), name, str(rows)],
        capture_output=True, text=True, check=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    ).stderr  # fmt: skip
    return np.array([int(re.search(rf"{what}:\s+([\d,]+)", said)[1].replace(",", "")) for what in ("I\\s+refs", "D1\\s+misses", "LLd misses")])  # type: ignore[index]  # fmt: skip


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--run", nargs=3, metavar=("PATH", "NAME", "ROWS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        return attribute(args.run[0], args.run[1], int(args.run[2]))
    print(
        "| attributions of one row (and tree, for the forest) | instructions | first-level misses | second-level misses |"
    )
    print("| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name, (d, depth, *_, rows, shared) in WORK.items():
            if args.only not in name:
                continue
            path = Path(folder) / f"{d}-{depth}.npz"
            if not path.exists():
                model, X = made(d, depth)
                np.savez(path, model=np.frombuffer(model, np.uint8), X=X)
            few, many = (counted(path, name, n) for n in rows)
            print(
                f"| {name} | " + " | ".join(f"{x:,.0f}" for x in (many - few) / (rows[1] - rows[0]) / shared) + " |",
                flush=True,
            )
    return None


if __name__ == "__main__":
    main()
