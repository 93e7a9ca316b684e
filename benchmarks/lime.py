"""Local surrogates: CPU time and accuracy beside the lime package.

    python benchmarks/lime.py                every part, as Markdown tables
    python benchmarks/lime.py kernel         one part
    python benchmarks/lime.py --repeats 9    the median of nine instead of five

Needs lime 0.2.0.1. Times are CPU milliseconds of this process, one thread, the median; the two libraries take turns.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import inspect
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import truncnorm
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

from whybox.kernels import reference
from whybox.kernels.compiled_trees import forced_kernel, instruction_sets
from whybox.kernels.product_law import PlayerLaw, ProductLaw
from whybox.kernels.value_intervals import interval_edges
from whybox.models.registry import as_model
from whybox.models.trees import TreeEnsemble

warnings.filterwarnings("ignore")
ROWS = 100
LIME_ROWS = 20  # of those, rows that lime explains in one repeat
EXACT_ROWS = 3  # compared with the specification, leaf by leaf


def package(name: str) -> Any:
    """A module of the lime package, whose name this script has too."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != here]
    return import_module(name)


def forests() -> Iterator[tuple[str, RandomForestClassifier, np.ndarray, np.ndarray]]:
    """Two forests of 100 trees, on 4,000 rows of 20 columns, and 100 rows to explain."""
    X, y = make_classification(5000, 20, n_informative=8, n_redundant=4, random_state=0)
    for name, depth in (("to purity", None), ("depth 8", 8)):
        model = RandomForestClassifier(100, max_depth=depth, random_state=0, n_jobs=1).fit(X[:4000], y[:4000])
        yield name, model, X[:4000], X[4000 : 4000 + ROWS]


def laws_of(e: TreeEnsemble, explainer: Any, rows: np.ndarray) -> tuple[list[PlayerLaw], np.ndarray]:
    """The law that lime draws from, for each column and each bin that a row may be in, and the bins of the rows."""
    bins = explainer.discretizer.discretize(rows).astype(np.int64)
    keep = np.exp(-1 / (2 * (0.75 * np.sqrt(rows.shape[1])) ** 2))  # weight of a draw for each column with another bin
    laws = []
    for j in range(rows.shape[1]):
        edges = interval_edges(e, j)
        share = np.asarray(explainer.feature_frequencies[j])
        discretizer = explainer.discretizer
        masses = []
        for m, s, low, high in zip(
            *(t[j] for t in (discretizer.means, discretizer.stds, discretizer.mins, discretizer.maxs)), strict=True
        ):
            below = truncnorm.cdf(edges, (low - m) / s, (high - m) / s, m, s)
            masses.append(np.append(np.diff(below, prepend=0, append=1), 0.0))  # NaN is not drawn
        own = np.array(masses)
        other = np.array(
            [np.average(np.delete(own, k, axis=0), axis=0, weights=np.delete(share, k)) for k in range(len(own))]
        )
        total = share + (1 - share) * keep
        mass = (share / total)[:, None] * own + ((1 - share) * keep / total)[:, None] * other
        laws.append(PlayerLaw((j,), mass, own - other, edges=edges))
    return laws, bins


def kernel(repeats: int) -> Iterator[str]:
    """Forests of 100 trees to purity and of depth 8, 20 columns, lime's own law (quartiles): coefficients of all columns, CPU ms for 100 rows.

    The kernel alone finds its tables made; with tables, they are made again. The first call for a model
    also makes the native model, its classes of values and all paths.
    """
    lime_tabular = package("lime.lime_tabular")
    yield "| forest | leaves | instructions | kernel | with tables | first call | lime | times less | off by | lime off by |"
    yield "|---|---:|---|---:|---:|---:|---:|---|---:|---:|"
    for name, model, background, rows in forests():
        e = as_model(model)
        explainer = lime_tabular.LimeTabularExplainer(background, mode="classification", random_state=0)
        laws, law_of = laws_of(e, explainer, rows)
        kept = ProductLaw(e, laws)
        exact = reference.product_law(
            e, [law.columns for law in laws], [law.points() for law in laws], [law.mass for law in laws],
            [law.derivative for law in laws], law_of[:EXACT_ROWS],
        )[1]  # fmt: skip
        theirs: list[float] = []
        off = []
        for repeat in range(repeats):
            began = time.process_time()
            found = [explainer.explain_instance(row, model.predict_proba, num_features=20) for row in rows[:LIME_ROWS]]
            theirs.append(1e3 * (time.process_time() - began) * ROWS / LIME_ROWS)
            if repeat == 0:
                ours = kept.expected_outputs(law_of)[1][:, :, 0]
                off = [abs(w - ours[i, j]) for i, one in enumerate(found) for j, w in one.local_exp[1]]
        for instructions in instruction_sets():
            with forced_kernel(instructions=instructions.name):
                yield row_of(
                    name, e, kept, law_of, repeats, instructions.name, median(theirs), exact, float(np.mean(off))
                )


def row_of(
    name: str, e: TreeEnsemble, kept: ProductLaw, law_of: np.ndarray, repeats: int, instructions: str, theirs: float, exact: np.ndarray, off: float
) -> str:  # fmt: skip
    """One line of the table of the kernel."""

    got = kept.expected_outputs(law_of)[1]
    times = [
        median(milliseconds(call) for _ in range(max(repeats, 5)))
        for call in (
            lambda: kept.expected_outputs(law_of),
            lambda: ProductLaw(e, kept.laws).expected_outputs(law_of),
            lambda: ProductLaw(replace(e), kept.laws).expected_outputs(law_of),
        )
    ]
    less = " / ".join(f"{theirs / t:,.0f}" for t in times)
    largest = np.abs(got[:EXACT_ROWS] - exact).max()
    cells = (f"{t:.2f}" for t in times)
    return f"| {name} | {int((e.left < 0).sum()):,} | {instructions} | {' | '.join(cells)} | {theirs:,.0f} | {less} | {largest:.1e} | {off:.4f} |"


def milliseconds(run: Callable[[], object]) -> float:
    """CPU time of one call."""
    began = time.process_time()
    run()
    return 1e3 * (time.process_time() - began)


PARTS: dict[str, Callable[[int], Iterator[str]]] = {"kernel": kernel}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    for part in options.parts:
        print(f"\n## {part}\n\n{inspect.getdoc(PARTS[part])}\n")
        for line in PARTS[part](options.repeats):
            print(line, flush=True)


if __name__ == "__main__":
    main()
