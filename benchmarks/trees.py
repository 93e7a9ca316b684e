"""Attributions of tree ensembles: whybox and its peers on the same rows in the same run.

    python benchmarks/trees.py                 every workload, one thread each, as a Markdown table
    python benchmarks/trees.py --only xgboost  those whose name contains the word
    python benchmarks/trees.py --cores         all cores, and memory
    python benchmarks/trees.py --quick         a tenth of the rows: a look, not a measurement

Times are CPU seconds of this process (user and system, all its threads), the best of several runs taken in turns. Slow peers get fewer
rows and are scaled up; what they need once for a model is measured apart and added once. "call" is what a user calls. "whybox" is the part of
the same calls that lies between rows and attributions: encoding, compiling the trees, attributing; the rest of a call is the model's own predict
of every row and the comparison with it, so that a part can never take longer than the whole. Reading the model (parsing, and comparing our
reading with its own predict on thousands of made rows) is shown apart.
"""

from __future__ import annotations

import os
import sys

if "--cores" not in sys.argv:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

import argparse
import contextlib
import io
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from whybox.core import workers
from whybox.explainers import TreeShap
from whybox.games.players import resolve_players
from whybox.kernels import compiled_trees
from whybox.methods.shap.compute import CompiledProblem, KernelRunner
from whybox.methods.shap.problem import resolve_problem
from whybox.models.inputs import Inputs

warnings.filterwarnings("ignore")


@dataclass
class Peer:
    """Somebody else's way to the same numbers."""

    name: str
    make: Callable[[], Any]
    run: Callable[[Any, np.ndarray], np.ndarray]
    rows: int
    target: float | None = None  # the ratio asked for
    compare: bool = True  # whether its numbers mean the same


@dataclass
class Work:
    """One workload: a model, rows, a question, peers."""

    name: str
    model: Any
    X: np.ndarray
    peers: list[Peer] = field(default_factory=list)
    background: np.ndarray | None = None
    order: int = 1
    sparse: bool = False
    dtype: str | None = None
    predict: Callable[[np.ndarray], Any] | None = None


def data(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Normal columns; a target with a product, a wave and a sum in it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(np.float32)
    y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + 0.5 * X[:, 3:8].sum(axis=1) + rng.normal(size=n) * 0.3
    return X, y


def cpu(call: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and its result; what it prints is dropped."""
    with contextlib.redirect_stdout(io.StringIO()):
        began = time.process_time()
        out = call()
        return time.process_time() - began, out


def attribute(
    work: Work, model: Any, X: np.ndarray, n_jobs: int, given: np.ndarray | None = None
) -> Callable[[], np.ndarray]:
    """Everything between rows and attributions, nothing kept from before, without the check of each row; into `given` memory, or new."""
    explainer = TreeShap(model, work.background, order=work.order, sparse=work.sparse, dtype=work.dtype, n_jobs=n_jobs)

    def run() -> np.ndarray:
        table, _ = explainer.model.inputs.align_table(_table(X))
        players = resolve_players(explainer.model, table.names, None)
        question = resolve_problem(explainer.model, players, explainer.background, explainer.options)
        engine = KernelRunner(CompiledProblem(question), len(X))
        shape = (len(X), *question.values_shape(work.order), len(question.selection.names))
        if given is None:
            out = np.zeros(shape, np.float32 if work.dtype == "float32" else np.float64)
        else:
            out = given
            out.fill(0)
        for start, block in table.blocks(16384):
            encoded = explainer.model.inputs.matrix(block)
            engine.write_values(encoded, out[start : start + len(encoded)], what="")
        run.plan = engine.kernel_plan  # type: ignore[attr-defined]
        return out

    return run


def _table(X: np.ndarray) -> Any:
    from whybox.data.table import as_table

    return as_table(X)


class Part:
    """CPU seconds of the part of a call that makes attributions: encoding rows, compiling trees, attributing; and the plan it followed."""

    def __init__(self) -> None:
        self.seconds, self.plan, self._inside = 0.0, None, False

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Time it in the calls made meanwhile."""
        encode, fill = Inputs.matrix_of_block, KernelRunner.write_values
        Inputs.matrix_of_block, KernelRunner.write_values = self._around(encode), self._around(fill)  # type: ignore[method-assign]
        try:
            yield
        finally:
            Inputs.matrix_of_block, KernelRunner.write_values = encode, fill  # type: ignore[method-assign]

    def _around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(owner: Any, *args: Any, **more: Any) -> Any:
            began = time.process_time()
            try:
                return function(owner, *args, **more)
            finally:
                self.seconds += time.process_time() - began
                self.plan = getattr(owner, "kernel_plan", self.plan)

        return timed


def measure(work: Work, n_jobs: int, repeats: int) -> list[list[str]]:
    """Take turns: ours, then every peer, several times; return the table's lines."""
    from whybox.models.registry import as_model

    reading, model = cpu(lambda: as_model(work.model))
    times: dict[str, list[float]] = {}
    results: dict[str, np.ndarray] = {}
    fixed: dict[str, float] = {}
    explainer = part = None
    for turn in range(repeats):
        explainer = TreeShap(
            model, work.background, order=work.order, sparse=work.sparse, dtype=work.dtype, n_jobs=n_jobs
        )  # new: nothing is kept from before
        part = Part()
        with part.timed():
            t, explanation = cpu(lambda e=explainer: e(work.X))
        times.setdefault("call", []).append(t)
        times.setdefault("whybox", []).append(part.seconds)
        results["whybox"] = explanation.values
        if work.predict is not None:
            t, _ = cpu(lambda: work.predict(work.X))  # type: ignore[misc]
            times.setdefault("predict", []).append(t)
        for peer in work.peers:
            if turn and min(times[peer.name]) > 20:
                continue  # one look at what takes so long is enough
            made, maker = cpu(peer.make)
            rows = work.X[: peer.rows]
            t, results[peer.name] = cpu(lambda p=peer, m=maker, r=rows: p.run(m, r))
            fixed[peer.name] = min(fixed.get(peer.name, np.inf), made)
            times.setdefault(peer.name, []).append(t)
    planned = explainer.plan(len(work.X)).seconds if explainer is not None else float("nan")
    return _lines(work, part.plan, planned, reading, times, fixed, results)  # type: ignore[union-attr]


def _lines(
    work: Work, plan: Any, planned: float, reading: float, times: Any, fixed: Any, results: Any
) -> list[list[str]]:
    n = len(work.X)
    mine, call = min(times["whybox"]), min(times["call"])
    kernel = f"{plan.kernel}, {plan.arithmetic}" + (f", {plan.bits} bits" if plan.bits is not None else "")
    lines = [
        [work.name, *[""] * 7],  # a line of its own: beside the kernel it would be too long to read
        [
            "",
            f"**whybox** ({kernel})",
            f"{n:,}",
            per_row(mine, n),
            "1",
            "",
            "",
            f"plan() said {planned / mine:.2f} of this",
        ],
        [
            "",
            "whybox, the call",
            f"{n:,}",
            per_row(call, n),
            f"{mine / call:.2f}",
            "",
            "",
            f"reading the model: {reading:.2f} s",
        ],
    ]
    if "predict" in times:
        own = min(times["predict"])
        lines.append(
            [
                "",
                "the model's own predict",
                f"{n:,}",
                per_row(own, n),
                f"{own / mine:.2f}",
                "",
                "",
                f"attributions take {mine / own:.2f} predicts",
            ]
        )
    for peer in work.peers:
        whole = fixed[peer.name] + min(times[peer.name]) / peer.rows * n
        reached = (
            ""
            if peer.target is None
            else f"{peer.target:g}x " + ("reached" if whole / mine >= peer.target else "**missed**")
        )
        lines.append(
            [
                "",
                peer.name,
                f"{peer.rows:,}",
                per_row(whole, n),
                f"{whole / mine:,.0f}x",
                f"{whole / call:,.0f}x",
                _agreement(work, results, peer),
                reached,
            ]
        )
    return lines


def _agreement(work: Work, results: Any, peer: Peer) -> str:
    theirs = np.asarray(results[peer.name], dtype=np.float64)
    mine = np.asarray(results["whybox"][: peer.rows])
    if not peer.compare or theirs.shape != mine.shape:
        return "not comparable"
    return f"{np.abs(theirs - mine).max() / np.abs(mine).max():.0e}"


def per_row(seconds: float, n: int) -> str:
    """Time of a row, in words."""
    t = seconds / n
    return f"{t * 1e6:,.2f} us" if t < 1e-4 else f"{t * 1e6:,.0f} us" if t < 1e-2 else f"{t * 1e3:,.1f} ms"


def installed(*peers: tuple[Any, ...]) -> list[Peer]:
    """The peers (how to make one, with what) whose packages are there."""
    out = []
    for make, *given in peers:
        with contextlib.suppress(ImportError):
            out.append(make(*given))
    return out


def shap_peer(
    model: Any, rows: int, target: float | None, background: np.ndarray | None = None, pairs: bool = False
) -> Peer:
    """shap's TreeExplainer."""
    import shap

    def make() -> Any:
        if background is None:
            return shap.TreeExplainer(model)
        every = shap.maskers.Independent(
            background, max_samples=len(background)
        )  # by default it takes a hundred of them
        return shap.TreeExplainer(model, every, feature_perturbation="interventional")

    def run(explainer: Any, X: np.ndarray) -> np.ndarray:
        if pairs:
            return np.asarray(explainer.shap_interaction_values(X))
        return np.asarray(explainer.shap_values(X, check_additivity=False))

    return Peer(f"shap {version('shap')}", make, run, rows, target)


def woodelf_peer(
    model: Any, d: int, rows: int, target: float | None, background: np.ndarray | None = None, pairs: bool = False
) -> Peer:
    """woodelf's explainer, which wants frames."""
    import pandas as pd
    from woodelf import WoodelfExplainer

    names = [f"f{i}" for i in range(d)]

    def make() -> Any:
        if background is None:
            return WoodelfExplainer(model, feature_perturbation="tree_path_dependent")
        return WoodelfExplainer(model, pd.DataFrame(background, columns=names))

    def run(explainer: Any, X: np.ndarray) -> np.ndarray:
        frame = pd.DataFrame(X, columns=names)
        if pairs:
            return np.asarray(explainer.shap_interaction_values(frame, verbose=False))
        return np.asarray(explainer.shap_values(frame, verbose=False))

    return Peer(f"woodelf {version('woodelf_explainer')}", make, run, rows, target)


def xgboost_peer(booster: Any, rows: int, target: float | None, pairs: bool = False) -> Peer:
    """XGBoost's own contributions."""
    import xgboost

    def run(_: Any, X: np.ndarray) -> np.ndarray:
        matrix = xgboost.DMatrix(X, nthread=1)
        if pairs:
            return booster.predict(matrix, pred_interactions=True)[:, :-1, :-1]
        return booster.predict(matrix, pred_contribs=True)[:, :-1]

    return Peer(
        f"XGBoost {version('xgboost')} {'pred_interactions' if pairs else 'pred_contribs'}",
        lambda: None,
        run,
        rows,
        target,
    )


def forests(scale: float) -> Iterator[Work]:
    """RandomForest grown to purity."""
    from sklearn.ensemble import RandomForestRegressor

    X, y = data(20_000, 20)
    model = RandomForestRegressor(100, random_state=0).fit(X, y)
    rows = X[: int(2000 * scale)]
    few = max(2, int(8 * scale))
    for dtype in ("float32", "float64"):
        peers = installed((shap_peer, model, few, 300))
        with contextlib.suppress(ImportError):
            import shapiq.tree

            def run(explainer: Any, R: np.ndarray) -> np.ndarray:
                out = np.zeros(R.shape)
                for i, row in enumerate(R):
                    values = explainer.explain(row)
                    for (j,), at in [(k, v) for k, v in values.interaction_lookup.items() if len(k) == 1]:
                        out[i, j] = values.values[at]
                return out

            peers.append(
                Peer(
                    f"shapiq {version('shapiq')}",
                    lambda: shapiq.tree.TreeExplainer(model, max_order=1, min_order=1, index="SV"),
                    run,
                    few,
                    400,
                )
            )
        yield Work(
            f"RandomForest(100) grown on 20,000 x 20, {dtype}",
            model,
            rows,
            peers if dtype == "float32" else peers[:1],
            dtype=dtype,
            predict=model.predict,
        )
    for dtype in ("float32", "float64"):
        yield Work(
            f"RandomForest(100), pairwise interactions, {dtype}",
            model,
            rows[: len(rows) // 4],
            installed((shap_peer, model, 1, 300, None, True)) if dtype == "float32" else [],
            order=2,
            dtype=dtype,
        )
    yield Work(
        "RandomForest(100), interventional, 100 background rows",
        model,
        rows,
        installed((shap_peer, model, max(2, int(4 * scale)), 20, X[-100:])),
        background=X[-100:],
    )


def boosted(scale: float) -> Iterator[Work]:
    """XGBoost: depths, widths, backgrounds, interactions."""
    import xgboost

    n = int(100_000 * scale)

    def train(d: int, depth: int) -> tuple[Any, np.ndarray]:
        X, y = data(max(n, 20_000), d)
        return xgboost.train(
            {"max_depth": depth, "nthread": 1}, xgboost.DMatrix(X[:20_000], y[:20_000], nthread=1), 100
        ), X[:n]

    for d in (20, 127):
        b, X = train(d, 6)
        peers = installed((xgboost_peer, b, n // 20, 100), (shap_peer, b, n // 50, 100), (woodelf_peer, b, d, n, 55))
        yield Work(f"XGBoost 100 trees depth 6, d = {d}", b, X, peers, predict=b.inplace_predict)
    for depth, rows in ((8, n), (10, n // 5), (12, n // 5)):
        b, X = train(20, depth)
        peers = [xgboost_peer(b, rows // 50, 80 if depth == 8 else 25)]
        if depth == 8:
            peers += installed((woodelf_peer, b, 20, n, 50))
        yield Work(f"XGBoost 100 trees depth {depth}, d = 20", b, X[:rows], peers, predict=b.inplace_predict)
    b, X = train(20, 6)
    back = X[-1000:]
    yield Work(
        "XGBoost depth 6, interventional, 1,000 background rows",
        b,
        X,
        installed((shap_peer, b, max(20, int(200 * scale)), 5000, back), (woodelf_peer, b, 20, n, 30, back)),
        background=back,
    )
    some = X[: n // 5]
    peers = installed(
        (shap_peer, b, max(20, n // 1000), 300, None, True),
        (xgboost_peer, b, n // 200, 40, True),
        (woodelf_peer, b, 20, len(some), 20, None, True),
    )
    yield Work("XGBoost depth 6, pairwise interactions", b, some, peers, order=2)
    yield Work("XGBoost depth 6, pairwise interactions, as terms", b, some, [], order=2, sparse=True)
    yield Work(
        "XGBoost depth 6, pairwise interactions, interventional",
        b,
        some,
        installed((woodelf_peer, b, 20, len(some), 20, back, True)),
        background=back,
        order=2,
    )


def others(scale: float) -> Iterator[Work]:
    """LightGBM and CatBoost."""
    n = int(100_000 * scale)
    X, y = data(max(n, 20_000), 20)
    rows = X[:n].astype(np.float64)
    with contextlib.suppress(ImportError):
        import lightgbm

        b = lightgbm.train(
            {"num_leaves": 31, "verbose": -1, "num_threads": 1}, lightgbm.Dataset(X[:20_000], y[:20_000]), 200
        )
        own = Peer(
            f"LightGBM {version('lightgbm')} pred_contrib",
            lambda: None,
            lambda _, R: b.predict(R, pred_contrib=True, num_threads=1)[:, :-1],
            n // 100,
            150,
        )
        for dtype in ("float32", "float64"):
            yield Work(
                f"LightGBM 200 trees of 31 leaves, {dtype}",
                b,
                rows,
                [own, *installed((shap_peer, b, n // 100, 150))],
                dtype=dtype,
                predict=lambda R: b.predict(R, num_threads=1),
            )
    with contextlib.suppress(ImportError):
        import catboost

        model = catboost.CatBoostRegressor(iterations=500, depth=6, verbose=0, thread_count=1).fit(
            X[:20_000], y[:20_000]
        )
        own = Peer(
            f"CatBoost {version('catboost')} ShapValues",
            lambda: None,
            lambda _, R: model.get_feature_importance(catboost.Pool(R), type="ShapValues", thread_count=1)[:, :-1],
            n,
            20,
        )
        for dtype in ("float32", "float64"):
            yield Work(
                f"CatBoost 500 symmetric trees depth 6, {dtype}",
                model,
                rows,
                [own, *installed((shap_peer, model, n // 100, 20))],
                dtype=dtype,
                predict=lambda R: model.predict(R, thread_count=1),
            )


def one_row() -> list[str]:
    """Wall-clock of one row with a warm explainer, the median of many calls."""
    import shap
    import xgboost

    X, y = data(20_000, 20)
    b = xgboost.train({"max_depth": 6, "nthread": 1}, xgboost.DMatrix(X, y, nthread=1), 100)
    mine, theirs = TreeShap(b, n_jobs=1), shap.TreeExplainer(b)
    compiled = mine._compiled_problem(mine.model.inputs.names)  # noqa: SLF001  # what its calls keep

    def alone(row: np.ndarray) -> np.ndarray:
        encoded = mine.model.inputs.matrix(_table(row))
        out = np.zeros((1, 20, 1))
        KernelRunner(compiled, 1).write_values(encoded, out, what="")
        return out

    calls = {
        "whybox, the call (the model's own predict and the check in it)": mine,
        "whybox, attributions alone": alone,
        f"shap {version('shap')}": lambda r: theirs.shap_values(r, check_additivity=False),
        f"XGBoost {version('xgboost')} pred_contribs": lambda r: b.predict(
            xgboost.DMatrix(r, nthread=1), pred_contribs=True
        ),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(300):
        for name, call in calls.items():
            began = time.perf_counter()
            call(X[i : i + 1])
            taken[name].append(time.perf_counter() - began)
    return ["", "One row, warm explainer, 100 trees depth 6 (wall-clock, median of 300):", ""] + [
        f"- {name}: {np.median(t) * 1e3:.2f} ms" for name, t in taken.items()
    ]


HEAD = ["workload", "who", "rows", "a row", "of whybox", "of the call", "differs by", "asked for"]


def show(lines: list[list[str]]) -> None:
    """Print table lines as they come."""
    for line in lines:
        print("| " + " | ".join(line) + " |", flush=True)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--cores", action="store_true", help="all cores, and memory")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    scale = 0.1 if args.quick else 1.0
    print(
        f"Python {platform.python_version()}, {compiled_trees.instruction_sets()[0].name}, {workers.available_processors()} cores; "
        + ", ".join(_installed())
    )
    if args.cores:
        from cores import cores  # beside this file

        cores(scale)
        return
    print()
    show([HEAD, ["---"] * len(HEAD)])
    for suite in (boosted, others, forests):
        for work in suite(scale):
            if args.only.lower() in work.name.lower():
                show(measure(work, 1, args.repeats))
    if not args.only:
        print("\n".join(one_row()))


def _installed() -> list[str]:
    out = []
    for name in (
        "whybox",
        "xgboost",
        "lightgbm",
        "catboost",
        "scikit-learn",
        "shap",
        "shapiq",
        "woodelf_explainer",
        "numpy",
    ):
        with contextlib.suppress(PackageNotFoundError):
            out.append(f"{name} {version(name)}")
    return out


if __name__ == "__main__":
    sys.exit(main())
