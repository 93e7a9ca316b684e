"""All cores and memory: the second part of benchmarks/trees.py (run that with --cores)."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from whybox.core import workers
from whybox.explainers import TreeShap

MEMORY = textwrap.dedent("""
    import re, sys
    import numpy as np, xgboost
    from whybox.core import workers
from whybox.explainers import TreeShap

    def status(name):
        return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read()).group(1)) * 1024

    n, d = int(sys.argv[1]), 50
    rng = np.random.default_rng(0)
    X = np.empty((n, d))
    for i in range(0, n, 10_000):
        X[i : i + 10_000] = rng.normal(size=(min(10_000, n - i), d))
    y = X[:20_000, 0] * X[:20_000, 1] + X[:20_000, 3:8].sum(axis=1)
    booster = xgboost.train({"max_depth": 6}, xgboost.DMatrix(X[:20_000], y), 100)
    explainer = TreeShap(booster)
    explainer(X[:100])
    before = status("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # forget the peak so far
    explanation = explainer(X)
    result = explanation.values.nbytes + explanation.prediction.nbytes
    print(before, status("VmHWM") - before - result, X.nbytes, result, explainer.plan(n).memory_bytes)
""")


def cores(scale: float) -> None:
    """Threads against one thread, and against peers with all cores; peak memory."""
    n = int(1_000_000 * scale)
    _times(n)
    if sys.platform == "linux":
        out = subprocess.run([sys.executable, "-c", MEMORY, str(n)], capture_output=True, text=True, check=True)
        before, beyond, given, result, planned = (float(v) / 2**20 for v in out.stdout.split())
        print(
            f"\nMemory, {n:,} rows x 50 features: rows {given:,.0f} MiB, result {result:,.0f} MiB, peak beyond those {beyond:,.0f} MiB "
            f"(plan: {planned:,.0f} MiB; process before: {before:,.0f} MiB)"
        )


def _times(n: int) -> None:
    import xgboost

    from trees import data

    X, y = data(n, 20)
    booster = xgboost.train({"max_depth": 6}, xgboost.DMatrix(X[:20_000], y[:20_000]), 100)
    every = workers.available_processors()
    print("\n| wall-clock, XGBoost 100 trees depth 6, d = 20 | rows | seconds | a row |\n| --- | --- | --- | --- |")
    times, out = {}, np.ones((n, 20, 1))
    for jobs in (1, every):
        _show(f"whybox, attributions, new memory, {jobs} thread{'s' * (jobs > 1)}", n, _kernel(booster, X, jobs))
        name = f"whybox, attributions, the caller's memory, {jobs} thread{'s' * (jobs > 1)}"
        times[jobs] = _show(name, n, _kernel(booster, X, jobs, out))
    del out
    for name, jobs in (("whybox, the call, 1 thread", 1), (f"whybox, the call, {every} threads", every)):
        booster.set_param({"nthread": jobs})
        explainer = TreeShap(booster, n_jobs=jobs)
        _show(name, n, lambda e=explainer: e(X))
    booster.set_param({"nthread": every})
    _show(f"XGBoost's own predict, {every} threads", n, lambda: booster.inplace_predict(X))
    few = max(1000, n // 50)
    _show(
        f"XGBoost pred_contribs, {every} threads",
        few,
        lambda: booster.predict(xgboost.DMatrix(X[:few]), pred_contribs=True),
    )
    print(
        f"\n{every} threads against one: {times[1] / times[every]:.2f}x (new memory: its first touch is the system's work, and does not double)"
    )


def _kernel(booster: Any, X: Any, jobs: int, given: Any = None) -> Callable[[], Any]:
    from trees import Work, attribute

    return attribute(Work("", booster, X), booster, X, jobs, given)


def _show(name: str, n: int, call: Callable[[], Any]) -> float:
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
    print(f"| {name} | {n:,} | {best:.2f} | {best / n * 1e6:.2f} us |", flush=True)
    return best
