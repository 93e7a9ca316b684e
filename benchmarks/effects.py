"""Feature effects of tree ensembles: whybox and its peers on the same rows in the same run.

    python benchmarks/effects.py                  every workload, one thread, as Markdown tables
    python benchmarks/effects.py --only LightGBM  models whose name contains the word
    python benchmarks/effects.py --quick          2,000 rows: a look, not a measurement

20,000 rows, 20 features (one of 8 values, the others continuous). Times are CPU seconds of this process, the best of several runs. scikit-learn's brute
force costs one predict of all rows for each grid point: it is timed for a few points and scaled to the 1,908 of all features at 100 points.
"kernel" is arrays to arrays; "with parsing" adds reading the model; "and comparing" the comparison of our reading with its own predict on thousands of made
rows, which nobody else makes; "the call" is what a user calls, which also reads the model and adds standard errors and the share of rows off the data.
"""

from __future__ import annotations

import os
import sys

if "--help" not in sys.argv:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

import argparse
import contextlib
import itertools
import logging
import platform
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import numpy as np

import whybox as wb
from trees import cpu, show  # beside this file
from whybox.kernels import effects, interaction_strength, value_intervals
from whybox.models.registry import as_model

warnings.filterwarnings("ignore")
POINTS = 100
HEAD = ["work", "who", "CPU", "of whybox", "differs by", "asked for"]


def best(call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """The least CPU seconds of several runs, and the result; one look at what takes long is enough."""
    least, result = cpu(call)
    for _ in range(repeats - 1):
        if least > 10:
            break
        t, result = cpu(call)
        least = min(least, t)
    return least, result


def models(n: int) -> Iterator[tuple[str, Any, np.ndarray, int]]:
    """Name, model, rows, and the ratio to brute force that was asked for."""
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 20))
    X[:, 10] = rng.integers(0, 8, n)
    y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + 0.5 * X[:, 3:8].sum(axis=1) + rng.normal(size=n) * 0.3
    with contextlib.suppress(ImportError):
        import lightgbm

        yield "LightGBM 200 x 31", lightgbm.LGBMRegressor(n_estimators=200, n_jobs=1, verbose=-1).fit(X, y), X, 5000
    yield (
        "HistGradientBoosting 200",
        HistGradientBoostingRegressor(max_iter=200, early_stopping=False).fit(X, y),
        X,
        5000,
    )
    with contextlib.suppress(ImportError):
        import xgboost

        yield "XGBoost 200, depth 6", xgboost.XGBRegressor(n_estimators=200, max_depth=6, n_jobs=1).fit(X, y), X, 1000
    yield "RandomForest 100, to purity", RandomForestRegressor(100, random_state=0, n_jobs=1).fit(X, y), X, 250


@contextlib.contextmanager
def comparing() -> Iterator[list[float]]:
    """Note the CPU seconds that readings of models spend on comparing with the model's own predict."""
    spent: list[float] = []
    patched = []
    for module in [
        m for name, m in sys.modules.items() if name.startswith("whybox.adapters.") and hasattr(m, "verify_trees")
    ]:
        own = vars(module)["verify_trees"]

        def timed(*args: Any, _own: Callable[..., Any] = own, **options: Any) -> Any:
            t, found = cpu(lambda: _own(*args, **options))
            spent.append(t)
            return found

        patched.append((module, own))
        vars(module)["verify_trees"] = timed
    try:
        yield spent
    finally:
        for module, own in patched:
            vars(module)["verify_trees"] = own


def seconds(t: float) -> str:
    """CPU time in words."""
    return f"{t:.3g} s" if t >= 1 else f"{t * 1e3:.3g} ms"


def quantiles(X: np.ndarray, j: int) -> np.ndarray:
    """The grid of scikit-learn: all values if few, else evenly spaced between the percentiles 5 and 95."""
    different = np.unique(X[:, j])
    return different if len(different) < POINTS else np.linspace(*np.quantile(X[:, j], (0.05, 0.95)), POINTS)


class Bench:
    """One model: every workload, ours and theirs."""

    def __init__(self, name: str, model: Any, X: np.ndarray, asked: int, repeats: int) -> None:
        self.name, self.model, self.X, self.asked, self.repeats = name, model, X, asked, repeats
        self.reading, self.e = best(lambda: as_model(model), max(repeats, 5))
        self.parsing = min(self.parsed() for _ in range(5))
        self.grids = [effects.PlayerPoints((j,), quantiles(X, j)[:, None]) for j in range(20)]
        self.points = sum(len(g.values) for g in self.grids)
        self.encoded = X.astype(np.float32).astype(np.float64) if "XGBoost" in name else X

    def parsed(self) -> float:
        """CPU seconds of reading the model once, without the comparison with its own predict."""
        with comparing() as spent:
            t, _ = cpu(lambda: as_model(self.model))
        assert spent, "no comparison was seen"
        return t - sum(spent)

    def line(self, work: str, who: str, t: float, ours: float, differs: str = "", asked: float | None = None) -> None:
        """Print one line of the table."""
        ratio = t / ours
        said = "" if asked is None else f"{asked:g}x {'reached' if ratio >= asked else '**missed**'}"
        show([[work, who, seconds(t), f"{ratio:,.3g}x", differs, said]])

    def curves(self) -> None:
        """All one-way partial dependence, at every threshold."""
        work = "one-way PD of all features"

        def every() -> Any:
            levels = [
                effects.PlayerPoints(
                    (j,), value_intervals.interval_representatives(self.e, j, self.encoded[:, j])[:, None]
                )
                for j in range(20)
            ]
            return effects.partial_dependence(self.e, levels, self.encoded)

        ours, found = best(every, self.repeats)
        with_reading = ours + self.reading
        steps = sum(len(c) for c in found)
        self.line(work, f"**whybox**, kernel, {steps:,} points: every step", ours, ours)
        self.line(work, "whybox, with parsing the model", ours + self.parsing, ours)
        self.line(work, "whybox, and with comparing it with its own predict", with_reading, ours)
        t, _ = best(lambda: wb.effects(self.model, self.X, grid="thresholds"), 1)
        self.line(work, "whybox, the call, every step", t, ours)
        t, _ = best(lambda: wb.effects(self.model, self.X), 1)
        self.line(work, "whybox, the call, 100 points", t, ours)
        brute, far = self.brute()
        self.line(work, f"scikit-learn {version('scikit-learn')} brute, to the kernel", brute, ours, far, self.asked)
        self.line(work, "the same, with parsing", brute, ours + self.parsing, "", self.asked)
        self.line(work, "the same, with parsing and comparing", brute, with_reading, "", self.asked)
        if "Forest" not in self.name:  # woodelf takes minutes and all memory for two of its trees
            with contextlib.suppress(ImportError):
                self.woodelf_curves(ours)

    def brute(self) -> tuple[float, str]:
        """Scikit-learn's time for all points, from a few; and how far it is from us there."""
        from sklearn.inspection import partial_dependence

        few = quantiles(self.X, 2)[::10]
        t, theirs = best(
            lambda: partial_dependence(self.model, self.X, [2], custom_values={2: few}, method="brute", kind="average"),
            1,
        )
        mine = effects.partial_dependence(self.e, [effects.PlayerPoints((2,), few[:, None])], self.encoded)[0][:, 0]
        self.per_point = t / len(few)
        return self.per_point * self.points, f"{np.abs(theirs['average'][0] - mine).max() / np.abs(mine).max():.0e}"

    def woodelf_curves(self, ours: float) -> None:
        """Woodelf's exact curves."""
        import pandas as pd
        from woodelf.pdp import woodelf_pdp

        frame = pd.DataFrame(self.X, columns=[f"f{i}" for i in range(20)])
        t, _ = best(lambda: woodelf_pdp(self.model, frame, k=POINTS, verbose=False), 1)
        who = f"woodelf {version('woodelf_explainer')}, 100 points"
        self.line("one-way PD of all features", who, t, ours + self.reading, "", 20)

    def pairs(self) -> None:
        """All surfaces, and Friedman's H squared of all pairs on all rows."""
        pairs = list(itertools.combinations(range(20), 2))
        t, _ = best(lambda: effects.joint_partial_dependence(self.e, self.grids, pairs, self.encoded), self.repeats)
        self.line("190 two-way PD, 100 x 100", "**whybox**, kernel", t, t)
        joint = t
        levels = [
            effects.PlayerPoints((j,), value_intervals.interval_representatives(self.e, j, self.encoded[:, j])[:, None])
            for j in range(20)
        ]
        t, _ = best(lambda: interaction_strength.pair_interactions(self.e, levels, pairs, self.encoded), self.repeats)
        self.line("190 H squared on all rows", "**whybox**, kernel", t, t)
        t, _ = best(lambda: wb.interactions(self.model, self.X), 1)
        self.line("190 H squared on all rows", "whybox, the call (and every overall H)", t, t)
        with contextlib.suppress(ImportError):
            import pandas as pd
            from woodelf.pdp import woodelf_pdp_joint

            frame = pd.DataFrame(self.X, columns=[f"f{i}" for i in range(20)])
            w, _ = best(lambda: woodelf_pdp_joint(self.model, frame, k=POINTS, verbose=False), 1)
            self.line(
                "190 two-way PD, 100 x 100", f"woodelf {version('woodelf_explainer')}", w, joint + self.reading, "", 100
            )

    def rows(self) -> None:
        """Individual curves of all rows, and accumulated local effects."""
        t, _ = best(
            lambda: [0 for _ in effects.individual_curve_blocks(self.e, self.grids, self.encoded)], self.repeats
        )
        self.line("ICE of all rows and features", "**whybox**, kernel", t, t)
        self.line(
            "ICE of all rows and features",
            "scikit-learn brute (its time for PD)",
            self.per_point * self.points,
            t + self.reading,
            "",
            200,
        )
        mine, _ = best(lambda: wb.effects(self.e, self.X, kind="ale"), self.repeats)
        self.line("ALE of all features", "**whybox**, the call, the model read before", mine, mine)
        with contextlib.suppress(ImportError):
            import pandas as pd
            from PyALE import ale

            frame = pd.DataFrame(self.X, columns=[f"f{i}" for i in range(20)])
            plain = type("Plain", (), {"predict": lambda _, R: self.model.predict(R.to_numpy())})()
            theirs, _ = best(
                lambda: [ale(frame, plain, [f"f{j}"], grid_size=40, include_CI=True, plot=False) for j in range(20)], 1
            )
            self.line("ALE of all features", f"PyALE {version('PyALE')}", theirs, mine, "", 4)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="models whose name contains this")
    parser.add_argument("--quick", action="store_true", help="2,000 rows")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    print(f"Python {platform.python_version()}, whybox {wb.__version__}, numpy {np.__version__}; one thread")
    for name, model, X, asked in models(2_000 if args.quick else 20_000):
        if args.only.lower() in name.lower():
            print(f"\n## {name}\n")
            show([HEAD, ["---"] * len(HEAD)])
            bench = Bench(name, model, X, asked, args.repeats)
            bench.curves()
            bench.rows()
            if "Forest" not in name:
                bench.pairs()


if __name__ == "__main__":
    main()
