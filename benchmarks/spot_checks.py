"""What it costs that every answer checks itself: CPU time with the default checks, and with `spot_checks=0`.

    python benchmarks/spot_checks.py              every part, as Markdown tables
    python benchmarks/spot_checks.py shap         one part
    python benchmarks/spot_checks.py --repeats 9  the median of nine instead of five

Times are CPU milliseconds of this process, one thread, the median; calls with and without checks take turns.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np

import whybox as wb
from trees import data  # beside this file
from whybox.explainers import TreeShap

warnings.filterwarnings("ignore")
Case = tuple[
    str, Callable[[int | None], Any], int
]  # what is measured; the call, given `spot_checks`; how many answers it makes


def shap() -> Iterator[Case]:
    """Attributions and interactions: XGBoost, 100 trees of depth 6, 20 columns."""
    import xgboost

    X, y = data(30_000, 20)
    model = xgboost.XGBRegressor(n_estimators=100, max_depth=6, n_jobs=1).fit(X[:20_000], y[:20_000])
    rows = np.resize(X, (100_000, 20))
    for size in (0, 100, 1000):
        background = X[-size:] if size else None
        behind = f"{size:,} background rows" if size else "path-dependent"
        for n in (1, 100, 100_000):
            yield (
                f"`wb.explain`, {n:,} row{'s' * (n > 1)}, {behind}",
                lambda checks, n=n, b=background: wb.explain(model, rows[:n], b, n_jobs=1, spot_checks=checks),
                1,
            )
        yield (
            f"`wb.explain`, 100 rows, `order=2`, {behind}",
            lambda checks, b=background: wb.explain(model, rows[:100], b, order=2, n_jobs=1, spot_checks=checks),
            1,
        )
        kept = {checks: TreeShap(model, background, n_jobs=1, spot_checks=checks) for checks in (None, 0)}

        def serve(checks: int | None, kept: dict[int | None, TreeShap] = kept) -> None:
            for i in range(SERVED):
                kept[checks](rows[i : i + 1])

        yield f"a kept `TreeShap`, one row a call, {behind}", serve, SERVED


def effects() -> Iterator[Case]:
    """Effects, interactions and regions: XGBoost, 100 trees of depth 6, 20 columns; a cheap function of 3 of them as a black box."""
    import xgboost

    X, y = data(30_000, 20)
    model = xgboost.XGBRegressor(n_estimators=100, max_depth=6, n_jobs=1).fit(X[:20_000], y[:20_000])

    def function(rows: np.ndarray) -> np.ndarray:
        return rows[:, 0] * rows[:, 1] + np.sin(rows[:, 2])

    for n in (1000, 20_000):
        for kind in ("pdp", "anova", "ale", *(("ice",) if n == 1000 else ())):
            yield (
                f"`wb.effects`, {kind}, {n:,} rows",
                lambda checks, n=n, kind=kind: wb.effects(model, X[:n], kind=kind, n_jobs=1, spot_checks=checks),
                1,
            )
        yield (
            f"`wb.interactions`, {n:,} rows",
            lambda checks, n=n: wb.interactions(model, X[:n], n_jobs=1, spot_checks=checks),
            1,
        )
        yield (
            f"`wb.regions`, {n:,} rows",
            lambda checks, n=n: wb.regions(model, X[:n], 0, n_jobs=1, spot_checks=checks),
            1,
        )
    box = "a black box"
    yield (
        f"`wb.effects`, pdp, 1,000 rows, {box}, 3 curves",
        lambda checks: wb.effects(function, X[:1000], [0, 1, 2], spot_checks=checks),
        1,
    )
    yield (
        f"`wb.interactions`, 100 rows, {box}, 3 features",
        lambda checks: wb.interactions(function, X[:100], [0, 1, 2], spot_checks=checks),
        1,
    )


SERVED = 500  # answers of a kept explainer, after a first round in which each kind of check has run


def networks() -> Iterator[Case]:
    """Maps: a network of two convolutions on pictures of 3 x 9 x 10, one hidden layer on tables of six columns, EfficientNet-Lite0 on pictures of 3 x 224 x 224."""
    import sys
    from pathlib import Path

    import torch

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from networks import efficientnet, small

    torch.set_num_threads(1)
    deep = efficientnet.EfficientNetLite0().eval()
    for name, net, of, counts, methods in (
        ("convolutions", small.cnn(), (3, 9, 10), (1, 16), ("gradient", "smoothgrad", "integrated_gradients", "occlusion", "gradcam", "deeplift")),
        ("table", small.flat(), (6,), (16, 2048), ("gradient", "integrated_gradients", "shapley")),
        ("EfficientNet", deep, (3, 224, 224), (1, 16), ("gradient",)),
        ("EfficientNet", deep, (3, 224, 224), (1,), ("ablation",)),
    ):  # fmt: skip
        for method in methods:
            for n in counts:
                x = small.rows(n, *of)
                yield (
                    f"{name}, `{method}`, {n:,} row{'s' * (n > 1)}",
                    lambda checks, net=net, x=x, method=method: wb.saliency(net, x, 0, method, spot_checks=checks),
                    1,
                )


PARTS: dict[str, Callable[[], Iterator[Case]]] = {"shap": shap, "effects": effects, "networks": networks}


def milliseconds(run: Callable[[int | None], Any], checks: int | None) -> float:
    """CPU time of one call."""
    began = time.process_time()
    run(checks)
    return 1e3 * (time.process_time() - began)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    for part in options.parts:
        print(f"\n## {part}\n\n{PARTS[part].__doc__}\n")
        print("| call | without checks, ms | with checks, ms | more |\n|---|---:|---:|---:|")
        for name, run, answers in PARTS[part]():
            run(None), run(0)
            times: dict[int | None, list[float]] = {None: [], 0: []}
            for _ in range(options.repeats):
                for checks, found in times.items():
                    found.append(milliseconds(run, checks) / answers)
            without, with_checks = median(times[0]), median(times[None])
            print(f"| {name} | {without:.3g} | {with_checks:.3g} | {with_checks - without:.2g} |", flush=True)


if __name__ == "__main__":
    main()
