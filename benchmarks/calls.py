"""What a user's calls cost: CPU time of whybox beside shap, XGBoost's own contributions and scikit-learn's inspection, in one run.

    python benchmarks/calls.py                    every call, as a Markdown table: some minutes
    python benchmarks/calls.py --only effects     those whose name contains the word
    python benchmarks/calls.py --repeats 5        the best of five instead of three

The model: XGBoost, 100 trees of depth 6 on 20,000 rows of 20 columns; one thread each. Times are CPU seconds of this process (user and system, all its
threads). Every call runs several times, the libraries in turns: the first time, when libraries load what they load late, and the best of the next times.
Imports run in fresh processes. A call of whybox includes reading the model (parsing it, and comparing our reading with its own predict on made rows), the
model's own predict of every explained row, and the comparison with it; a kept explainer has read the model before. What takes others long is run in part
and scaled up; the table says which part.
"""

from __future__ import annotations

import os

os.environ.update(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
)

import argparse
import contextlib
import platform
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import whybox as wb
from trees import cpu, data  # beside this file
from whybox.explainers import TreeShap
from whybox.kernels import compiled_trees

warnings.filterwarnings("ignore")
FEATURES = 20
EFFECT_ROWS = 1_000


@dataclass(frozen=True)
class Alternative:
    """Another library's call for the same purpose, on 1 / `scale` of the work."""

    name: str
    run: Callable[[], Any]
    scale: float = 1.0


@dataclass(frozen=True)
class Call:
    """One call of whybox, and what others offer for it."""

    name: str
    run: Callable[[], Any]
    alternatives: list[Alternative] = field(default_factory=list)
    seconds: Callable[[Callable[[], Any]], float] = lambda run: cpu(run)[0]


def import_seconds(run: Callable[[], Any]) -> float:
    """CPU seconds of an import in a fresh process, less those of a bare interpreter; `run` returns the statement."""

    def of(statement: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", statement], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return of(run()) - of("pass")


def attributions(model: Any, X: np.ndarray) -> Iterator[Call]:
    """`wb.explain` and a kept explainer."""
    import shap
    import xgboost

    booster = model.get_booster()

    def contributions(rows: np.ndarray) -> np.ndarray:
        return booster.predict(xgboost.DMatrix(rows, nthread=1), pred_contribs=True)

    shap_name, own_name = f"shap {version('shap')}", f"XGBoost {version('xgboost')} pred_contribs"
    for n in (1, 100, 100_000):
        rows = np.resize(X, (n, FEATURES))
        scale = max(1.0, n / 2_000)
        some = rows[: int(n / scale)]
        yield Call(
            f"wb.explain, {n:,} row{'s' * (n > 1)}",
            lambda rows=rows: wb.explain(model, rows, n_jobs=1),
            [
                Alternative(own_name, lambda some=some: contributions(some), scale),
                Alternative(
                    shap_name,
                    lambda some=some: shap.TreeExplainer(model).shap_values(some, check_additivity=False),
                    scale,
                ),
            ],
        )
    mine, theirs = TreeShap(model, n_jobs=1), shap.TreeExplainer(model)
    for n in (1, 100):
        rows = X[:n]
        yield Call(
            f"a kept explainer, {n} row{'s' * (n > 1)}",
            lambda rows=rows: mine(rows),
            [
                Alternative(own_name, lambda rows=rows: contributions(rows)),
                Alternative(shap_name, lambda rows=rows: theirs.shap_values(rows, check_additivity=False)),
            ],
        )


def effects(model: Any, X: np.ndarray, y: np.ndarray) -> Iterator[Call]:
    """Effects, interactions and importance, of 1,000 rows."""
    from sklearn.inspection import partial_dependence, permutation_importance

    rows, truth = X[:EFFECT_ROWS], y[:EFFECT_ROWS]
    name = f"scikit-learn {version('scikit-learn')}"

    def curves(kind: str) -> None:
        for j in range(FEATURES):
            partial_dependence(model, rows, [j], kind=kind, method="brute", grid_resolution=20)

    yield Call(
        "wb.effects, 20 features",
        lambda: wb.effects(model, rows, grid=20, n_jobs=1),
        [Alternative(f"{name} partial_dependence", lambda: curves("average"))],
    )
    yield Call(
        'wb.effects, kind="ice"',
        lambda: wb.effects(model, rows, kind="ice", grid=20, n_jobs=1),
        [Alternative(f'{name} partial_dependence, kind="individual"', lambda: curves("individual"))],
    )
    pairs = [(0, 1), (2, 3)]
    yield Call(
        "wb.interactions, 190 pairs",
        lambda: wb.interactions(model, rows, n_jobs=1),
        [
            Alternative(
                f"{name} partial_dependence of pairs",
                lambda: [partial_dependence(model, rows, [p], method="brute", grid_resolution=20) for p in pairs],
                FEATURES * (FEATURES - 1) / 2 / len(pairs),
            )
        ],
    )
    yield Call(
        "wb.importance, mean absolute SHAP value",
        lambda: wb.importance(model, rows),
        [
            Alternative(
                f"{name} permutation_importance, 5 repeats",
                lambda: permutation_importance(model, rows, truth, n_repeats=5, random_state=0, n_jobs=1),
            )
        ],
    )


def calls() -> Iterator[Call]:
    """Every call that is measured."""
    import xgboost

    yield Call(
        "import whybox",
        lambda: "import whybox",
        [Alternative(f"import shap {version('shap')}", lambda: "import shap"), Alternative("import xgboost", lambda: "import xgboost")],
        import_seconds,
    )  # fmt: skip
    X, y = data(20_000, FEATURES)
    model = xgboost.XGBRegressor(n_estimators=100, max_depth=6, n_jobs=1).fit(X, y)
    yield from attributions(model, X)
    yield from effects(model, X, y)


def measure(call: Call, repeats: int) -> list[list[str]]:
    """Take turns, several times; return the table's lines."""
    runs = [Alternative("**whybox**", call.run), *call.alternatives]
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(repeats + 1):
        for alternative, taken in zip(runs, times, strict=True):
            if turn < 2 or min(taken) < 20:
                taken.append(call.seconds(alternative.run) * alternative.scale)
    own = min(times[0][1:])
    lines = []
    for k, (alternative, (first, *later)) in enumerate(zip(runs, times, strict=True)):
        share = "" if alternative.scale == 1 else f" (1/{alternative.scale:g} of it, scaled up)"
        against = ratio(min(later) / own) if k else ""
        lines.append(
            [call.name if not k else "", alternative.name + share, in_words(first), in_words(min(later)), against]
        )
    return lines


def in_words(seconds: float) -> str:
    return (
        f"{seconds:,.1f} s"
        if seconds >= 1
        else f"{seconds * 1e3:,.0f} ms"
        if seconds >= 0.01
        else f"{seconds * 1e3:.2f} ms"
    )


def ratio(times: float) -> str:
    return f"{times:,.0f}" if times >= 10 else f"{times:.2g}"


def processor() -> str:
    """The name of the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="calls whose name contains this")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    print(
        f"{processor()}, {compiled_trees.instruction_sets()[0].name}, load {load:.1f} at the start; Python {platform.python_version()}, "
        f"whybox {version('whybox')}, numpy {version('numpy')}\n"
    )
    head = ["call", "who", "first call", "best of the next", "times whybox"]
    for cells in (head, ["---"] * len(head)):
        print("| " + " | ".join(cells) + " |", flush=True)
    for call in calls():
        if args.only.lower() in call.name.lower():
            for cells in measure(call, args.repeats):
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
