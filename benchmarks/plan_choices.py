"""Is the kernel that is chosen the fastest one, and does the plan say how long it takes?

    python benchmarks/plan_choices.py                                with the best instructions of this processor: a minute
    WHYBOX_INSTRUCTIONS=avx2 python benchmarks/plan_choices.py       the same with others: avx2, plain

Every choice that there is (kernel and size of its tables) is compiled and run for 16,384 rows, in CPU time of one thread; the time of rows is that of 4,096 (of
pairs: 1,024), the best of two, scaled up. "Chosen / best" is the time of the one that is chosen over that of the fastest; "plan / measured" is what `wb.plan`
says, after timing a block of rows, over the time of the one chosen.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from calls import processor  # beside this file
from trees import data
from whybox.explainers import TreeShap
from whybox.kernels.compiled_trees import instruction_sets
from whybox.methods.shap.plan import ROWS_PER_BLOCK, cheapest_plan, make_compiled_trees, possible_plans, timed_plan
from whybox.methods.shap.problem import ShapProblem

warnings.filterwarnings("ignore")


def models() -> Iterator[tuple[str, int, Any]]:
    """Every model, with its name and the number of columns."""
    import lightgbm
    import xgboost
    from sklearn.ensemble import RandomForestRegressor

    for d in (20, 127):
        X, y = data(10_000, d)
        for depth in (4, 6, 8, 10) if d == 20 else (6, 8):
            yield f"XGBoost, 100 x depth {depth}", d, xgboost.XGBRegressor(n_estimators=100, max_depth=depth, n_jobs=2).fit(X, y)  # fmt: skip
        if d > 20:
            continue
        yield "LightGBM, 200 x 31 leaves", d, lightgbm.LGBMRegressor(n_estimators=200, verbose=-1, n_jobs=2).fit(X, y)
        yield "RandomForest, 50 x depth 8", d, RandomForestRegressor(50, max_depth=8, random_state=0, n_jobs=2).fit(X, y)  # fmt: skip


def seconds_of(problem: ShapProblem, order: int, plan: Any, rows: np.ndarray) -> float:
    """CPU seconds to compile the trees and to run them on 16,384 rows: the latter from fewer rows where these are given."""
    out = np.zeros((len(rows), *problem.values_shape(order), len(problem.model.outputs.names)))

    def seconds(count: int, compiled: Any) -> float:
        began = time.process_time()
        compiled.add_values(rows[:count], out[:count], threads=1, description="", quiet=True)
        return time.process_time() - began

    compiled = make_compiled_trees(problem, order, plan)
    build = seconds(1, compiled)
    return build + min(seconds(len(rows), compiled) for _ in range(2)) * ROWS_PER_BLOCK / len(rows)


def main() -> None:
    """Measure, and print a table."""
    print(f"{processor()}, {instruction_sets()[0].name}, {ROWS_PER_BLOCK:,} rows, order 1 and 2\n")
    print("| model | d | order | chosen | ms | fastest | ms | chosen / best | plan / measured |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, d, model in models():
        rows = data(ROWS_PER_BLOCK, d)[0].astype(np.float64)
        for order in (1, 2) if d == 20 else (1,):
            explainer = TreeShap(model, order=order, n_jobs=1)
            problem = explainer._compiled_problem(explainer.model.inputs.names).problem  # noqa: SLF001  # it is not returned
            plans = [p for p in possible_plans(problem, order) if p.instructions is not None]
            some = rows[: 4096 if order == 1 else 1024]
            found = {(p.kernel, p.bits): seconds_of(problem, order, p, some) for p in plans}
            chosen = cheapest_plan(tuple(plans), ROWS_PER_BLOCK)
            timed = timed_plan(replace(chosen, threads=1), problem, order)
            mine, best = found[chosen.kernel, chosen.bits], min(found, key=lambda key: found[key])
            words = [f"{kernel}, {bits} bits" for kernel, bits in ((chosen.kernel, chosen.bits), best)]
            cells = [name, d, order, words[0], f"{1e3 * mine:.0f}", words[1], f"{1e3 * found[best]:.0f}", f"{mine / found[best]:.2f}", f"{timed.seconds / mine:.2f}"]  # fmt: skip
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
