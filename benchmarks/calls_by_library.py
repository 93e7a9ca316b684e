"""What whole calls cost, verb by verb and library by library, beside the kernel inside and what others take.

    python benchmarks/calls_by_library.py                    measure with the best instructions, and keep the numbers in calls_by_library.json: four minutes
    WHYBOX_INSTRUCTIONS=avx2 python benchmarks/calls_by_library.py --no-others    the same with AVX2, whybox alone
    python benchmarks/calls_by_library.py --show             print the table of what was kept

Times are CPU seconds of this process, one thread, the best of several. The call is what a user writes: a fitted model and a pandas frame in, the labelled
result out; reading the model, comparing it with its own predict, standard errors, shares of rows off the data and spot checks are in it. "Kernel" is the
time inside the functions of whybox.kernels that the answer comes from, in the same call. What takes others long is run in part and scaled up.
"""

from __future__ import annotations

import os

os.environ.update(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
)

import argparse
import functools
import json
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

import whybox as wb
from calls import in_words, processor, ratio  # beside this file
from trees import cpu, data
from whybox.kernels import compiled_trees

warnings.filterwarnings("ignore")
KEPT = Path(__file__).with_suffix(".json")
N, D, GRID, SIDE = 20_000, 20, 100, 20
FEW = 2_000  # rows of verbs whose result is a row's
# where the answer comes from, for each verb: (module of whybox.kernels, function or method)
KERNELS = {
    "explain": (("compiled_trees", "CompiledTrees.add_values"),),
    "explain, 100 background rows": (
        ("compiled_trees", "CompiledTrees.add_values"),
        ("tree_shap", "add_interventional"),
    ),
    "explain, order=2": (("compiled_trees", "CompiledTrees.add_values"), ("tree_shap", "add_path_interactions")),
    'effects, "pdp"': (("effects", "partial_dependence"),),
    'effects, "ale"': (("effects", "point_differences"),),
    'effects, "ice"': (("effects", "_fill_individual_curves"),),
    "effects, 190 surfaces": (("effects", "joint_partial_dependence"),),
    "interactions, 190 pairs": (
        ("interaction_strength", "pair_interactions"),
        ("interaction_strength", "overall_interactions"),
    ),
    "importance, SHAP": (("compiled_trees", "CompiledTrees.add_values"),),
    "importance, permutation": (("pair_losses", "pair_losses"),),
}
Others = dict[
    str, tuple[str, Callable[[], Any], float]
]  # verb: name, call on a part of the work, what the time is multiplied by


class Stopwatch:
    """CPU time inside some functions, each counted where it is not inside another."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def watch(self, module: str, name: str) -> Callable[[], None]:
        """Time a function of whybox.kernels from now on, wherever it was imported; return what ends it."""
        owner: Any = import_module(f"whybox.kernels.{module}")
        *path, last = name.split(".")
        for part in path:
            owner = getattr(owner, part)
        function = getattr(owner, last, None)
        if function is None:
            return lambda: None

        @functools.wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            self._depth, began = self._depth + 1, time.process_time()
            try:
                return function(*args, **options)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.process_time() - began

        import sys

        places = [
            owner,
            *(
                m
                for n, m in list(sys.modules.items())
                if n.startswith("whybox.") and getattr(m, last, None) is function
            ),
        ]
        for place in places:
            setattr(place, last, timed)

        def put_back() -> None:
            for place in places:
                setattr(place, last, function)

        return put_back


def models(X: Any, y: np.ndarray) -> Iterator[tuple[str, Any]]:
    """Every model, with its name."""
    import catboost
    import lightgbm
    import xgboost
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import LinearRegression

    yield "XGBoost, 100 x depth 6", xgboost.XGBRegressor(n_estimators=100, max_depth=6, n_jobs=1).fit(X, y)
    yield "LightGBM, 200 x 31 leaves", lightgbm.LGBMRegressor(n_estimators=200, verbose=-1, n_jobs=1).fit(X, y)
    yield "CatBoost, 100 x depth 6", catboost.CatBoostRegressor(n_estimators=100, verbose=0, thread_count=1, allow_writing_files=False).fit(X, y)  # fmt: skip
    yield "HistGradientBoosting, 200 x 31 leaves", HistGradientBoostingRegressor(max_iter=200, early_stopping=False).fit(X, y)  # fmt: skip
    yield "RandomForest, 50 x depth 8", RandomForestRegressor(50, max_depth=8, random_state=0, n_jobs=1).fit(X, y)
    yield "linear regression", LinearRegression().fit(X, y)


def calls(model: Any, X: Any, y: np.ndarray) -> dict[str, Callable[[], Any]]:
    """What a user writes, by verb."""
    few, names = X.iloc[:FEW], list(X.columns)
    linear = type(model).__name__ == "LinearRegression"  # which keeps no training weights
    rows = {"background": X.iloc[-100:]} if linear else {}
    out = {
        "explain": lambda: wb.explain(model, X, n_jobs=1, **rows),
        "explain, 100 background rows": lambda: wb.explain(model, few, background=X.iloc[-100:], n_jobs=1),
        "explain, order=2": lambda: wb.explain(model, few, order=2, n_jobs=1),
        'effects, "pdp"': lambda: wb.effects(model, X, n_jobs=1),
        'effects, "ale"': lambda: wb.effects(model, X, kind="ale", n_jobs=1),
        'effects, "ice"': lambda: wb.effects(model, few, kind="ice", n_jobs=1),
        "effects, 190 surfaces": lambda: wb.effects(model, X, list(combinations(names, 2)), n_jobs=1),
        "interactions, 190 pairs": lambda: wb.interactions(model, X, n_jobs=1),
        "importance, SHAP": lambda: wb.importance(model, X, **rows),
        "importance, permutation": lambda: wb.importance(model, X, y, method="permutation", n_jobs=1),
    }
    # a linear model has no interactions
    left_out = {"explain, order=2", "interactions, 190 pairs"} if linear else set()
    return {verb: call for verb, call in out.items() if verb not in left_out}


def others(name: str, model: Any, X: Any, y: np.ndarray) -> Others:
    """What other libraries take for the same purpose."""
    from sklearn.inspection import partial_dependence, permutation_importance

    some = X.iloc[:500]
    out: Others = {
        'effects, "pdp"': (
            "scikit-learn brute",
            lambda: partial_dependence(model, X, [0], method="brute", grid_resolution=4),
            D * GRID / 4,
        ),
        'effects, "ice"': (
            "scikit-learn brute",
            lambda: partial_dependence(model, X.iloc[:FEW], [0], method="brute", kind="individual", grid_resolution=20),
            D * GRID / 20,
        ),
        "effects, 190 surfaces": (
            "scikit-learn brute",
            lambda: partial_dependence(model, X, [(0, 1)], method="brute", grid_resolution=2),
            190 * SIDE**2 / 4,
        ),
        "importance, permutation": (
            "scikit-learn, 5 repeats",
            lambda: permutation_importance(model, X.iloc[:FEW], y[:FEW], n_repeats=1, random_state=0, n_jobs=1),
            5 * N / FEW,
        ),
    }
    if name.startswith("XGBoost"):
        import xgboost

        booster = model.get_booster()
        own = lambda: booster.predict(xgboost.DMatrix(some, nthread=1), pred_contribs=True)  # noqa: E731
        out["explain"] = ("XGBoost's own", own, N / len(some))
    elif name.startswith("LightGBM"):
        out["explain"] = ("LightGBM's own", lambda: model.predict(some, pred_contrib=True), N / len(some))
    elif name.startswith("CatBoost"):
        import catboost

        pool = catboost.Pool(some)
        out["explain"] = ("CatBoost's own", lambda: model.get_feature_importance(pool, type="ShapValues", thread_count=1), N / len(some))  # fmt: skip
    return out


def measure(name: str, model: Any, X: Any, y: np.ndarray, repeats: int, *, peers: bool) -> dict[str, dict[str, Any]]:
    """The seconds of each verb."""
    out: dict[str, dict[str, Any]] = {}
    theirs = others(name, model, X, y) if peers else {}
    for verb, call in calls(model, X, y).items():
        best, inside = np.inf, 0.0
        for _ in range(repeats + 1):  # the first loads what is loaded late
            watch = Stopwatch()
            ends = [watch.watch(*place) for place in KERNELS[verb]]
            try:
                seconds = cpu(call)[0]
            finally:
                for end in ends:
                    end()
            if seconds < best:
                best, inside = seconds, watch.seconds
        out[verb] = {"call": best, "kernel": inside}
        if verb in theirs:
            who, run, scale = theirs[verb]
            out[verb] |= {"who": who, "theirs": min(cpu(run)[0] for _ in range(2)) * scale}
        print(name, verb, out[verb], flush=True)
    return out


def show(kept: dict[str, Any]) -> None:
    """Print the table."""
    sets = list(kept)
    for one in sets:
        print(f"{one}: {kept[one]['machine']}")
    print()
    head = ["model", "verb", f"call, {sets[0]}", *sets[1:], f"kernel, {sets[0]}", *sets[1:], "call / kernel", "who", "theirs", "theirs / call"]  # fmt: skip
    for cells in (head, ["---"] * len(head)):
        print("| " + " | ".join(cells) + " |")
    first = kept[sets[0]]["models"]
    for model, verbs in first.items():
        for k, (verb, found) in enumerate(verbs.items()):
            of_sets = [kept[s]["models"].get(model, {}).get(verb, {}) for s in sets]
            peer = next((o for o in of_sets if "theirs" in o), {})
            cells = [
                model if not k else "",
                verb,
                *(in_words(o["call"]) if o else "" for o in of_sets),
                *(in_words(o["kernel"]) if o.get("kernel") else "" for o in of_sets),
                f"{found['call'] / found['kernel']:.2g}" if found["kernel"] else "",
                peer.get("who", ""),
                in_words(peer["theirs"]) if peer else "",
                ratio(peer["theirs"] / found["call"]) if peer else "",
            ]
            print("| " + " | ".join(cells) + " |")


def main() -> None:
    """Measure and keep, or show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print the table of what was kept")
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--no-others", action="store_true", help="whybox alone")
    args = parser.parse_args()
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    if args.show:
        return show(kept)
    import pandas as pd

    used = compiled_trees.instruction_sets()[0].name
    rows, y = data(N, D)
    X = pd.DataFrame(rows.astype(np.float64), columns=[f"x{j}" for j in range(D)])
    machine = f"{processor()}, load {os.getloadavg()[0]:.1f} at the start; {N:,} rows x {D} columns ({FEW:,} rows: ICE, background, order=2)"
    for name, model in models(X, y):
        if args.only in name:
            found = measure(name, model, X, y, args.repeats, peers=not args.no_others)
            kept = (
                json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
            )  # another set may be measured at the same time
            of_set = kept.setdefault(used, {"machine": machine, "models": {}})
            every = of_set["models"].get(name, {}) | found
            of_set["models"][name] = {verb: every[verb] for verb in KERNELS if verb in every}
            KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return show(kept)


if __name__ == "__main__":
    main()
