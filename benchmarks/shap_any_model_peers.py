"""What the other libraries reach on the models of shap_any_model_cases.py: errors, kept as JSON for shap_any_model.py.

    python benchmarks/shap_any_model_peers.py            the parts that are missing
    python benchmarks/shap_any_model_peers.py games      against 25 background rows, at equal numbers of coalitions
    python benchmarks/shap_any_model_peers.py rows       against 500 background rows, at equal numbers of model rows
    python benchmarks/shap_any_model_peers.py --models mlp12 gp10 --again

Needs shap and shapiq; the newest need Python 3.12. The truth must be there (`shap_any_model.py truth`). One thread.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from shap_any_model_cases import CASES, Case, Floats
from shap_any_model_truth import COMPARED, SMALL, Game, Truth, truth

HERE = Path(__file__).resolve().parent
sys.path[:] = [
    p for p in sys.path if Path(p or ".").resolve() != HERE
]  # lime.py there is not the lime that shap looks for

import shap  # noqa: E402
import shapiq  # noqa: E402

warnings.filterwarnings("ignore")
logging.getLogger("shap").setLevel(logging.ERROR)
RESULTS = HERE / "shap_any_model_peers.json"
GAME_ROWS = 24
TIMES_D = (5, 10, 20, 50)
MODEL_ROWS = (2_000, 20_000)


def shap_kernel(game: Game, d: int, m: int, seed: int, l1_reg: Any = False) -> Floats:
    np.random.seed(seed)  # noqa: NPY002 - shap draws from it
    explainer = shap.KernelExplainer(lambda z: game(z > 0.5), np.zeros((1, d)))
    return np.asarray(explainer.shap_values(np.ones((1, d)), nsamples=m, l1_reg=l1_reg, silent=True))[0]


def shap_permutation(game: Game, d: int, m: int, seed: int) -> Floats:
    masker = shap.maskers.Independent(np.zeros((1, d)))
    explainer = shap.PermutationExplainer(lambda z: game(z > 0.5), masker, seed=seed)
    return np.asarray(explainer(np.ones((1, d)), max_evals=max(m, 2 * d + 1), silent=True).values)[0]


def from_shapiq(make: Callable[..., Any]) -> Callable[[Game, int, int, int], Floats]:
    def values(game: Game, d: int, m: int, seed: int) -> Floats:
        answer = make(d, random_state=seed).approximate(m, game)
        return np.asarray(answer.get_n_order_values(1), dtype=float)

    return values


GAME_PEERS: dict[str, tuple[Callable[..., Floats], int]] = {  # and how many seeds
    "shap.Kernel": (shap_kernel, 3),
    "shap.Permutation": (shap_permutation, 3),
    "shapiq.LeverageSHAP": (from_shapiq(shapiq.LeverageSHAP), 2),
    "shapiq.OddSHAP": (from_shapiq(shapiq.OddSHAP), 1),
    "shapiq.PolySHAP(2, paired)": (
        from_shapiq(
            lambda d, random_state: shapiq.PolySHAP(d, max_order=2, pairing_trick=True, random_state=random_state)
        ),
        2,
    ),
    "shapiq.ProxySHAP": (
        from_shapiq(lambda d, random_state: shapiq.ProxySHAP(d, max_order=1, index="SV", random_state=random_state)),
        1,
    ),
    "shapiq.ProxySHAP(adjusted)": (
        from_shapiq(
            lambda d, random_state: shapiq.ProxySHAP(
                d, max_order=1, index="SV", adjustment=True, k_folds=5, random_state=random_state
            )
        ),
        1,
    ),
}


def games(known: Truth, done: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Squared error of each row and seed, as a share of the variance of the true values of all rows and features."""
    case = known.case
    variance = known.small[:GAME_ROWS].var()
    kept = [known.game(row) for row in range(GAME_ROWS)]
    for peer, (values, seeds) in GAME_PEERS.items():
        for times in TIMES_D:
            if str(times) in done.get(peer, {}):
                continue
            began = time.process_time()
            errors = np.empty((seeds, GAME_ROWS))
            try:
                for seed in range(seeds):
                    for row, game in enumerate(kept):
                        told = values(game, case.d, times * case.d, 1000 * seed + row)
                        errors[seed, row] = np.mean((told - known.small[row]) ** 2) / variance
            except (ValueError, IndexError, np.linalg.LinAlgError) as error:
                yield peer, str(times), {"refused": str(error)[:200]}
                continue
            yield peer, str(times), summary(errors, time.process_time() - began)


def summary(errors: Floats, seconds: float, **more: Any) -> dict[str, Any]:
    return {
        "nmse": float(errors.mean()),
        "standard_error": float(errors.mean(axis=0).std(ddof=1) / np.sqrt(errors.shape[1])),
        "cpu_ms_a_row": round(1e3 * seconds / errors.size, 2),
    } | more


def drawn(case: Case, rows: int, seed: int) -> Floats:
    return case.background[np.random.default_rng(seed).permutation(len(case.background))[:rows]]


def row_kernel(case: Case, f: Any, row: Floats, budget: int, seed: int) -> Floats:
    np.random.seed(seed)  # noqa: NPY002 - shap draws from it
    explainer = shap.KernelExplainer(f, drawn(case, SMALL, seed))
    return np.asarray(explainer.shap_values(row[None], nsamples=budget // SMALL, l1_reg=False, silent=True))[0]


def row_permutation(case: Case, f: Any, row: Floats, budget: int, seed: int) -> Floats:
    explainer = shap.PermutationExplainer(
        f, shap.maskers.Independent(drawn(case, 100, seed), max_samples=100), seed=seed
    )
    return np.asarray(explainer(row[None], max_evals=max(budget // 100, 2 * case.d + 1), silent=True).values)[0]


def row_sampling(case: Case, f: Any, row: Floats, budget: int, seed: int) -> Floats:
    np.random.seed(seed)  # noqa: NPY002 - shap draws from it
    explainer = shap.SamplingExplainer(f, case.background)
    return np.asarray(explainer.shap_values(row[None], nsamples=budget // 2, silent=True))[0]


ROW_PEERS = {
    "shap.Kernel, 25 rows": row_kernel,
    "shap.Permutation, 100 rows": row_permutation,
    "shap.Sampling, 500 rows": row_sampling,
}


def rows(known: Truth, done: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Squared error of each row and seed against 500 background rows, and how many model rows were really predicted."""
    case = known.case
    count = min(COMPARED, len(known.full))
    variance = known.full.var()
    predicted = 0

    def f(codes: Any) -> Floats:
        nonlocal predicted
        table = np.asarray(codes, dtype=float)
        predicted += len(table)
        return case.function(table)

    for peer, values in ROW_PEERS.items():
        for budget in MODEL_ROWS:
            if str(budget) in done.get(peer, {}):
                continue
            seeds = 2 if budget <= 2_000 else 1
            errors, began, predicted = np.empty((seeds, count)), time.process_time(), 0
            for seed in range(seeds):
                for row in range(count):
                    told = values(case, f, case.rows[row], budget, 1000 * seed + row)
                    errors[seed, row] = np.mean((told - known.full[row]) ** 2) / variance
            yield (
                peer,
                str(budget),
                summary(errors, time.process_time() - began, model_rows=round(predicted / errors.size)),
            )


PARTS = {"games": games, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--models", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--cache", type=Path, default=Path("build/shap_any_model"), help="where the truth is kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file that is continued")
    parser.add_argument("--again", action="store_true", help="measure parts that are there too")
    given = parser.parse_args()
    results = json.loads(given.results.read_text()) if given.results.exists() else {}
    results["versions"] = {p: version(p) for p in ("shap", "shapiq", "scikit-learn", "numpy")}
    for name in given.models:
        known = None
        for part in given.parts or PARTS:
            known = known or truth(CASES[name](), given.cache, full=part == "rows")
            if part == "rows" and not len(known.full):
                known = truth(known.case, given.cache)
            done = results.setdefault(part, {}).setdefault(name, {})
            if given.again:
                done.clear()
            for peer, budget, found in PARTS[part](known, done):
                done.setdefault(peer, {})[budget] = found
                print(name, part, peer, budget, found, flush=True)
                given.results.write_text(json.dumps(results, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
