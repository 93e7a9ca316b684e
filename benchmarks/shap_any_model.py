"""Shapley values of any model: errors beside those of shap and shapiq, coverage, what sharing buys, and overhead. Writes shap_any_model.md.

    python benchmarks/shap_any_model.py truth            exact values of twelve models, kept in --cache
    python benchmarks/shap_any_model_peers.py            the other libraries, kept in shap_any_model_peers.json
    python benchmarks/shap_any_model.py                  every part of ours that is missing, kept in shap_any_model.json
    python benchmarks/shap_any_model.py games --again    one part once more
    python benchmarks/shap_any_model.py write            the tables

Errors are mean squared errors over the variance of the true values of all rows and features. One thread.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import shap_any_model_tables
import whybox as wb
from shap_any_model_cases import CASES, Case, Floats
from shap_any_model_overhead import overhead
from shap_any_model_truth import COMPARED, SMALL, Truth, check, truth

HERE = Path(__file__).resolve().parent
RESULTS, PEERS, PAGE = (HERE / f"shap_any_model{end}" for end in (".json", "_peers.json", ".md"))
GAME_ROWS, SHARED_ROWS = 24, 100
TIMES_D = (5, 10, 20, 50)
MODEL_ROWS = (2_000, 20_000)
Found = dict[str, Any]
Cells = Iterator[tuple[str, Callable[[], Iterator[Found]]]]


def ours(
    case: Case, rows: Floats, background: Floats, evals_a_row: int, seed: int, **options: Any
) -> tuple[Floats, Floats, Any]:
    """Values and standard errors (rows, d), and the explanation."""
    answer = wb.explain(
        lambda table: case.predict(table),  # noqa: PLW0108 - a function, of which nothing can be read
        case.frame(rows),
        case.frame(background),
        method="sampled_shap",
        max_evals=evals_a_row * len(rows),
        tol=1e-9,
        seed=seed,
        **options,
    )
    values, errors = (np.asarray(t, dtype=float).reshape(len(rows), case.d) for t in (answer.values, answer.std_error))
    return values, errors, answer


def judged(values: Floats, errors: Floats, known: Floats, variance: float) -> Found:
    """The error, and how often an interval of 95 % holds the truth (of features that some background row changes)."""
    gap, counts = np.abs(values - known), (errors > 0) | (known != 0)
    inside = gap <= 1.96 * errors + 1e-9 * np.sqrt(variance)
    return {
        "nmse": float(np.mean(gap**2) / variance),
        "cover": float(inside[counts].mean()),
        "claimed": float(np.mean(errors**2) / variance),
    }


def averaged(found: list[Found], seconds: float) -> Found:
    """The mean over seeds or rows of what was judged, and CPU seconds of a call."""
    means = {k: float(f"{np.mean([f[k] for f in found]):.4g}") for k in found[0]}
    return means | {"cpu_s": round(seconds / len(found), 3)}


def games(known: Truth, seeds: int, options: Found) -> Cells:
    """24 rows together and each alone, 25 background rows, 5, 10, 20 and 50 times d coalitions a row."""
    case, background = known.case, known.case.background[:SMALL]
    variance = float(known.small[:GAME_ROWS].var())

    def measure(times: int, groups: Floats, seeds: int) -> Iterator[Found]:
        for seed in range(seeds):
            for group in groups:
                answer = ours(case, case.rows[group], background, times * case.d * SMALL, seed, **options)
                yield judged(*answer[:2], known.small[group], variance)

    for name, groups, count in (
        ("together", np.arange(GAME_ROWS)[None], seeds),
        ("alone", np.arange(GAME_ROWS)[:, None], 1),
    ):
        for times in TIMES_D:
            yield f"{name} {times}", partial(measure, times, groups, count)


def rows(known: Truth, seeds: int, options: Found) -> Cells:
    """30 rows together, 500 background rows, 2,000 and 20,000 model rows a row."""
    case, count = known.case, min(COMPARED, len(known.full))
    variance = float(known.full.var())

    def measure(budget: int) -> Iterator[Found]:
        for seed in range(seeds):
            values, errors, _ = ours(case, case.rows, case.background, budget, seed, **options)
            yield judged(values[:count], errors[:count], known.full[:count], variance)

    for budget in MODEL_ROWS:
        yield str(budget), partial(measure, budget)


def sharing(known: Truth, seeds: int, options: Found) -> Cells:
    """The error of the same four rows alone, among 24 and among 100, at 20 times d coalitions a row."""
    case, background = known.case, known.case.background[:SMALL]
    many = np.concatenate([case.rows, case.background[-(SHARED_ROWS - len(case.rows)) :]])
    variance = float(known.small[:GAME_ROWS].var())

    def measure(count: int) -> Iterator[Found]:
        measured = 1 if count == 1 else 4
        for first in range(4) if count == 1 else (0,):
            values, errors, _ = ours(case, many[first : first + count], background, 20 * case.d * SMALL, 0, **options)
            yield judged(values[:measured], errors[:measured], known.small[first : first + measured], variance)

    for count in (1, GAME_ROWS, SHARED_ROWS):
        yield str(count), partial(measure, count)


def repeats(known: Truth, seeds: int, options: Found) -> Cells:
    """The same seed twice, two seeds, and rows in another order."""
    case, background, budget = known.case, known.case.background[:SMALL], 10 * known.case.d * SMALL

    def measure() -> Iterator[Found]:
        table = case.rows[:GAME_ROWS]
        order = np.random.default_rng(0).permutation(GAME_ROWS)
        values, errors, _ = ours(case, table, background, budget, 0, **options)
        again = ours(case, table, background, budget, 0, **options)
        other = ours(case, table, background, budget, 1, **options)
        turned = ours(case, table[order], background, budget, 0, **options)
        both = np.sqrt(errors**2 + other[1] ** 2)
        counts = both > 0
        yield {
            "same_bytes": values.tobytes() == again[0].tobytes() and errors.tobytes() == again[1].tobytes(),
            "two_seeds": float(np.mean(np.abs(values - other[0])[counts] <= 1.96 * both[counts])),
            "order": float(np.max(np.abs(turned[0] - values[order])) / np.abs(values).max()),
            "order_errors": float(
                np.sqrt(np.mean((turned[0] - values[order])[errors[order] > 0] ** 2) / np.mean(errors[errors > 0] ** 2))
            ),
        }

    yield "10d", measure


PARTS: dict[str, Callable[[Truth, int, Found], Cells]] = {
    "games": games,
    "rows": rows,
    "sharing": sharing,
    "repeats": repeats,
}


def main() -> None:
    """Measure what is missing, or write the page."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "parts", nargs="*", metavar="part", help="truth, games, rows, sharing, repeats, overhead, write"
    )
    parser.add_argument("--models", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--cache", type=Path, default=Path("build/shap_any_model"), help="where the truth is kept")
    parser.add_argument("--again", action="store_true", help="measure what is there too")
    parser.add_argument("--cells", default="", help="only cells that begin so: together, alone, 2000")
    parser.add_argument("--seeds", type=int, default=2, help="of rows explained together")
    parser.add_argument("--set", nargs="*", default=[], help="options of wb.explain, for trials: surrogate=false")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file of ours")
    given = parser.parse_args()
    options = {k: json.loads(v) for k, _, v in (pair.partition("=") for pair in given.set)}
    results = json.loads(given.results.read_text()) if given.results.exists() else {}
    chosen = given.parts or [*PARTS, "overhead", "write"]
    if unknown := sorted({*chosen} - {*PARTS, "truth", "overhead", "write"}):
        parser.error(f"unknown parts: {', '.join(unknown)}")

    def keep(part: str, name: str, cell: str, found: Found) -> None:
        results.setdefault(part, {}).setdefault(name, {})[cell] = found
        results["versions"] = {p: version(p) for p in ("numpy", "scikit-learn")} | {"whybox": wb.__version__}
        given.results.write_text(json.dumps(results, separators=(",", ":")) + "\n")
        print(part, name, cell, found, flush=True)

    for name in given.models:
        wanted = [p for p in PARTS if p in chosen]
        if "truth" not in chosen and not wanted:
            continue
        known = truth(CASES[name](), given.cache, full="truth" in chosen or "rows" in wanted)
        if "truth" in chosen and known.case.trees is not None:
            print(f"{name}: tree kernel against enumeration {check(known.case):.1e}")
        for part in wanted:
            for cell, measure in PARTS[part](known, given.seeds, options):
                if not cell.startswith(given.cells):
                    continue
                if given.again or cell not in results.get(part, {}).get(name, {}):
                    began = time.process_time()
                    found = list(measure())
                    keep(part, name, cell, averaged(found, time.process_time() - began))
    if "overhead" in chosen and (given.again or "overhead" not in results):
        for name, cell, found in overhead(options):
            keep("overhead", name, cell, found)
    if "write" in chosen:
        PAGE.write_text(shap_any_model_tables.page(results, json.loads(PEERS.read_text())))


if __name__ == "__main__":
    main()
