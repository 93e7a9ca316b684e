"""Local surrogates: CPU time and accuracy beside the lime package.

    python benchmarks/lime.py                every part, as Markdown tables
    python benchmarks/lime.py kernel         one part
    python benchmarks/lime.py --repeats 9    the median of nine instead of five

Needs lime 0.2.0.1. Times are CPU milliseconds of this process, one thread each, the median of some repeats; the two libraries take turns. In ratios the
lowest and the highest of the repeats follow in brackets. Where lime would take minutes it explains some of the rows, and its time is scaled to all of them.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import inspect
import itertools
import resource
import subprocess
import sys
import textwrap
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
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import whybox as wb
from whybox.explainers import Lime
from whybox.explanation.explanation import Explanation
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
NUM_FEATURES = 10  # that lime reports where it is timed
LIME_SAMPLES = 5_000  # that it draws for each row
TOP, SEEDS = 5, 10
COVERAGE_SEEDS = 24


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


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Model = tuple[str, Any, Callable[[np.ndarray], np.ndarray], str]


def data() -> Arrays:
    """4,000 rows of 20 columns with their classes, and 1,000 more."""
    X, y = make_classification(5000, 20, n_informative=8, n_redundant=4, random_state=0)
    return X[:4000], y[:4000], X[4000:], y[4000:]


def models(X: np.ndarray, y: np.ndarray) -> Iterator[Model]:
    """Tree ensembles, each with what lime takes, and lime's mode."""
    for name, depth in (("forest to purity", None), ("forest of depth 8", 8)):
        forest = RandomForestClassifier(100, max_depth=depth, random_state=0, n_jobs=1).fit(X, y)
        yield name, forest, forest.predict_proba, "classification"
    boosted = GradientBoostingClassifier(random_state=0).fit(X, y)
    yield "GradientBoosting, margin", boosted, boosted.decision_function, "regression"
    histogram = HistGradientBoostingClassifier(random_state=0).fit(X, y)
    yield "HistGradientBoosting, margin", histogram, histogram.decision_function, "regression"


def logistic(X: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A logistic regression as a plain function."""
    fitted = LogisticRegression().fit(X, y)
    weights, base = fitted.coef_[0], fitted.intercept_[0]
    return lambda rows: 1.0 / (1.0 + np.exp(-(rows @ weights + base)))


def both_classes(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """The probabilities of both classes, as lime wants them."""

    def probabilities(rows: np.ndarray) -> np.ndarray:
        second = function(rows)
        return np.column_stack([1.0 - second, second])

    return probabilities


def inside(rows: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Rows within the range of the background."""
    return rows[((rows >= background.min(axis=0)) & (rows <= background.max(axis=0))).all(axis=1)]


def lime_explainer(background: np.ndarray, mode: str, seed: int = 0) -> Any:
    return package("lime.lime_tabular").LimeTabularExplainer(background, mode=mode, random_state=seed)


def lime_values(
    explainer: Any, predict: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, features: int
) -> np.ndarray:
    """Coefficients that lime reports, (rows, columns), NaN where it reports none."""
    out = np.full(rows.shape, np.nan)
    for i, row in enumerate(rows):
        found = explainer.explain_instance(row, predict, num_features=features, num_samples=LIME_SAMPLES)
        for j, weight in found.local_exp[1]:
            out[i, j] = weight
    return out


def take_turns(
    ours: Callable[[], object], theirs: Callable[[], object], scale: float, repeats: int, calls: int
) -> tuple[list[float], list[float]]:
    """CPU milliseconds of each in every repeat: ours as the mean of some calls, theirs times `scale`."""
    ours()
    pairs = [
        (milliseconds(lambda: [ours() for _ in range(calls)]) / calls, scale * milliseconds(theirs))
        for _ in range(repeats)
    ]
    return [a for a, _ in pairs], [b for _, b in pairs]


def times_less(ours: list[float], theirs: list[float]) -> str:
    """Median, lowest and highest ratio."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return f"{median(ratios):,.0f} ({min(ratios):,.0f} to {max(ratios):,.0f})"


def kept(repeats: int) -> Iterator[str]:
    """Explainers that are there explain 100 rows; 20 columns, 100 trees, quartiles. Ours is exact and compares its reading with the model's own predict.

    Lime: num_features=10, its 5,000 samples a row, 20 of the rows. Explainers are made before the clock runs, ours has answered once.
    """
    X, y, rows, _ = data()
    rows = rows[:ROWS]
    yield "| model | ours | of it the own predict | lime | times less | asked |"
    yield "|---|---:|---:|---:|---:|---:|"
    for (name, model, predict, mode), asked in zip(models(X, y), (250, 350, 350, 350), strict=True):
        explainer, theirs = Lime(model, X, n_jobs=1), lime_explainer(X, mode)
        assert explainer.method == "exact"
        a, b = take_turns(
            lambda e=explainer: e(rows),
            lambda t=theirs, p=predict: lime_values(t, p, rows[:LIME_ROWS], NUM_FEATURES),
            ROWS / LIME_ROWS, repeats, 10,
        )  # fmt: skip
        own = model.predict_proba if mode == "classification" else model.decision_function
        floor = median(milliseconds(lambda p=own: p(rows)) for _ in range(4 * repeats))
        yield f"| {name} | {median(a):.1f} | {floor:.1f} | {median(b):,.0f} | {times_less(a, b)} | {asked} |"


def one_call(repeats: int) -> Iterator[str]:
    """One call of `wb.lime`: the forest is read and verified, the background cut, the rows explained, numbers of the answer computed again. 100 trees, 20 columns.

    Lime: its explainer made, 20 of the rows explained, num_features=10.
    """
    X, y, rows, _ = data()
    yield "| model | rows | ours | lime | times less | asked |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, model, predict, mode in itertools.islice(models(X, y), 2):
        for n, asked in ((100, 20), (1000, 150)):
            theirs = lime_explainer(X, mode)
            start = milliseconds(lambda m=mode: lime_explainer(X, m))
            a, b = take_turns(
                lambda m=model, k=n: wb.lime(m, rows[:k], X, n_jobs=1),
                lambda t=theirs, p=predict: lime_values(t, p, rows[:LIME_ROWS], NUM_FEATURES),
                n / LIME_ROWS, repeats, 1,
            )  # fmt: skip
            b = [start + each for each in b]
            yield f"| {name} | {n:,} | {median(a):,.0f} | {median(b):,.0f} | {times_less(a, b)} | {asked} |"


def function(repeats: int) -> Iterator[str]:
    """A logistic regression as a plain function, 20 columns, 100 rows; 80 times less at 0.7 of lime's error was asked.

    Errors are root mean squares over the ten features that lime reports for each of 20 rows, to the limit: the mean over 524,288 draws behind an additive fit.
    Rows lie within the background's range (a number beyond it takes draws of its own).
    """
    X, y, rows, _ = data()
    rows, ask = inside(rows, X)[:ROWS], logistic(X, y)
    limit = wb.lime(ask, rows, X, method="sampled", tol=1e-12, max_evals=2**19 + ROWS, spot_checks=0)
    yield f"The limit's own standard error is {np.sqrt((limit.std_error**2).mean()):.1e} (root mean square)."
    yield ""
    yield "| draws for all rows | ours | lime | times less | our error | lime's error | share |"
    yield "|---:|---:|---:|---:|---:|---:|---:|"
    theirs = lime_explainer(X, "classification")
    found = lime_values(theirs, both_classes(ask), rows[:LIME_ROWS], NUM_FEATURES)
    reported = ~np.isnan(found)
    target = limit.values[:LIME_ROWS]
    off = np.sqrt(((found - target)[reported] ** 2).mean())
    for draws in (1024, 2048, 4096, None):
        most = {} if draws is None else {"tol": 1e-12, "max_evals": draws + ROWS}
        explainer = Lime(ask, X, n_jobs=1, **most)
        answer = explainer(rows)
        a, b = take_turns(
            lambda e=explainer: e(rows),
            lambda: lime_values(theirs, both_classes(ask), rows[:LIME_ROWS], NUM_FEATURES),
            ROWS / LIME_ROWS, repeats, 5 if draws else 1,
        )  # fmt: skip
        ours = np.sqrt(((answer.values[:LIME_ROWS] - target)[reported] ** 2).mean())
        words = f"{answer.evidence.settings['draws']:,}" + ("" if draws else " (default)")
        yield (
            f"| {words} | {median(a):,.0f} | {median(b):,.0f} | {times_less(a, b)} | {ours:.5f} | {off:.5f} | {ours / off:.2f} |"
        )


def limit(repeats: int) -> Iterator[str]:
    """Mean distance to the limit at the same budget, 20 rows x 20 columns: lime with 5,000 samples for each row, ours with 4,096 for all rows together.

    1.7 times less was asked. The limit of forests is exact; exact answers have distance 0.
    """
    X, y, rows, _ = data()
    rows = inside(rows, X)[:LIME_ROWS]
    cases = [(name, model, predict) for name, model, predict, mode in models(X, y) if mode == "classification"]
    ask = logistic(X, y)
    yield "| model | lime | ours, sampled | times less |"
    yield "|---|---:|---:|---:|"
    for name, model, predict in [*cases, ("logistic function", ask, both_classes(ask))]:
        exact = wb.lime(
            model,
            rows,
            X,
            **({} if model is not ask else {"tol": 1e-12, "max_evals": 2**19 + LIME_ROWS}),
            spot_checks=0,
        ).values
        found = lime_values(lime_explainer(X, "classification"), predict, rows, X.shape[1])
        sampled = [
            wb.lime(model, rows, X, method="sampled", tol=1e-12, max_evals=4096 + LIME_ROWS, seed=seed, n_jobs=1, spot_checks=0).values
            for seed in range(max(repeats, 3))
        ]  # fmt: skip
        theirs, ours = np.abs(found - exact).mean(), np.mean([np.abs(one - exact).mean() for one in sampled])
        yield f"| {name} | {theirs:.5f} | {ours:.5f} | {theirs / ours:.1f} |"


def top_features(values: np.ndarray) -> list[frozenset[int]]:
    return [frozenset(np.argsort(-np.abs(np.nan_to_num(row)))[:TOP].tolist()) for row in values]


def jaccard(answers: list[list[frozenset[int]]]) -> float:
    """Mean agreement of the largest features between seeds."""
    return float(
        np.mean(
            [
                len(a & b) / len(a | b)
                for one, other in itertools.combinations(answers, 2)
                for a, b in zip(one, other, strict=True)
            ]
        )
    )


def agreement(_: int) -> Iterator[str]:
    """Agreement (Jaccard) of the five largest features between 10 seeds, 20 rows, 20 columns; and whether certified answers are right, 100 rows x 10 seeds.

    Right: so many of the largest features as are certified come in the exact order. 99 % of answers with five or more certified were asked.
    """
    X, y, rows, _ = data()
    yield "| model | lime | exact | sampled | five certified | of these right | all certified orders right |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, model, predict, mode in itertools.islice(models(X, y), 2):
        few = rows[:LIME_ROWS]
        theirs = [
            top_features(lime_values(lime_explainer(X, mode, seed), predict, few, X.shape[1])) for seed in range(SEEDS)
        ]
        exact = [top_features(wb.lime(model, few, X, seed=seed).values) for seed in range(SEEDS)]
        answer = wb.lime(model, rows[:ROWS], X)
        sampled = [wb.lime(model, rows[:ROWS], X, method="sampled", seed=seed, spot_checks=0) for seed in range(SEEDS)]
        ours = [top_features(one.values[:LIME_ROWS]) for one in sampled]
        certified = np.array([one.extras["certified"][1] for one in sampled])
        right = np.array([certified_are_right(one, answer) for one in sampled])
        settled = certified >= TOP
        yield (
            f"| {name} | {jaccard(theirs):.2f} | {jaccard(exact):.2f} | {jaccard(ours):.2f} | {settled.mean():.0%} | {right[settled].mean():.1%} | {right.mean():.1%} |"
        )


def certified_are_right(answer: Explanation, exact: Explanation) -> np.ndarray:
    """Whether the certified features of each row come in the exact order."""
    order, true = (np.argsort(-np.abs(e.values), axis=1, kind="stable") for e in (answer, exact))
    k = answer.extras["certified"][1]
    same = (order == true) | (np.arange(order.shape[1]) >= k[:, None])
    return np.asarray(same.all(axis=1))


def coverage(_: int) -> Iterator[str]:
    """Coverage of the 95 % intervals against the exact limit, 20 rows x 20 columns x 24 seeds; 93 to 97 % was asked. Forest of depth 8, 30 trees.

    Errors are from 16 scramblings of a Sobol sequence. Up to 512 draws there is no additive fit; from 1,024 on it is the control variate. Rows of one answer
    share draws, so the standard error of the coverage is that between seeds.
    """
    X, y, rows, _ = data()
    rows = rows[:LIME_ROWS]
    model = RandomForestClassifier(30, max_depth=8, random_state=0, n_jobs=1).fit(X, y)
    yield "| what | draws | coverage | mean half width |"
    yield "|---|---:|---:|---:|"
    cases: list[tuple[str, int, dict[str, Any]]] = [
        ("default width, no control variate", 512, {}),
        ("default width, control variate", 1024, {}),
        ("default width, control variate", 4096, {}),
        ("width 1.5", 4096, {"kernel_width": 1.5}),
        ("width 1.0, draws of each row's own", 60_000, {"kernel_width": 1.0}),
        ("width 0.5, draws of each row's own", 60_000, {"kernel_width": 0.5}),
        ("per standard deviation (no bins)", 4096, {"discretizer": None}),
        ("windows around the row", 4096, {"neighbourhood": "row"}),
    ]
    for what, most, options in cases:
        exact = wb.lime(model, rows, X, spot_checks=0, **options).values
        inside, width, draws = [], [], 0
        for seed in range(COVERAGE_SEEDS):
            one = wb.lime(
                model, rows, X, method="sampled", tol=1e-12, max_evals=most, seed=seed, spot_checks=0, **options
            )
            low, high = np.moveaxis(one.extras["interval"][1], -1, 0)
            inside.append(((low <= exact) & (exact <= high)).mean())
            width.append((high - low).mean() / 2)
            draws = one.evidence.settings["draws"]
        error = np.std(inside, ddof=1) / np.sqrt(COVERAGE_SEEDS)
        yield f"| {what} | {draws or 'own':} | {np.mean(inside):.1%} +- {error:.1%} | {np.mean(width):.5f} |"


def memory(_: int) -> Iterator[str]:
    """Peak memory of one process: 10,000 rows x 100 columns, forest of 100 trees of depth 8, background of 4,000 rows; an explainer that is there.

    Before: the process with data, forest and explainer, after 100 rows. Answer: the arrays of the explanation, its conditions in words included.
    """
    yield "| method | before | peak | answer | CPU seconds |"
    yield "|---|---:|---:|---:|---:|"
    for method in ("exact", "sampled"):
        done = subprocess.run(
            [sys.executable, __file__, "--measure-memory", method], check=True, capture_output=True, text=True
        )
        yield done.stdout.strip()


def measure_memory(method: str) -> None:
    """Print a line of the table of memory."""
    rng = np.random.default_rng(0)
    X, rows = rng.normal(size=(4000, 100)), rng.normal(size=(10_000, 100))
    y = (X[:, 0] * X[:, 1] + X[:, 2:12].sum(axis=1) > 0).astype(int)
    model = RandomForestClassifier(100, max_depth=8, random_state=0, n_jobs=1).fit(X, y)
    budget = {"max_evals": 200_000} if method == "sampled" else {}
    explainer = Lime(model, X, method=method, n_jobs=1, **budget)
    explainer(rows[:100])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.process_time()
    answer = explainer(rows)
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(a.nbytes for _, a in answer.extras.values()) + answer.values.nbytes
    print(f"| {method} | {before:,.0f} MiB | {peak:,.0f} MiB | {size / 2**20:,.0f} MiB | {seconds:.1f} |")


PARTS: dict[str, Callable[[int], Iterator[str]]] = {
    "kernel": kernel, "kept": kept, "one_call": one_call, "function": function, "limit": limit, "agreement": agreement,
    "coverage": coverage, "memory": memory,
}  # fmt: skip


def processor() -> str:
    """What the times were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores, {instruction_sets()[0].name}" if names else "unknown processor"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure-memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure_memory:
        measure_memory(options.measure_memory)
        return
    print(f"{processor()}; whybox {wb.__version__}.")
    for part in options.parts:
        paragraphs = (inspect.getdoc(PARTS[part]) or "").split("\n\n")
        words = "\n\n".join(textwrap.fill(" ".join(each.split()), 118) for each in paragraphs)
        print(f"\n## {part}\n\n{words}\n")
        for line in PARTS[part](options.repeats):
            print(line, flush=True)


if __name__ == "__main__":
    main()
