"""Shapley interactions of pairs of 12 features: squared errors of ours beside those of shapiq at equal numbers of coalitions, and how often our intervals hold.

    python benchmarks/shap_pairs.py              ours, and the page shap_pairs.md
    bench/bin/python benchmarks/shap_pairs.py peers    shapiq, or those of its approximators that are named; after the first

The games are means over 30 background rows and are tabulated, so the truth is known. The second needs shapiq, whose newest version needs Python 3.12. One thread.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
TABLE, RESULTS, PAGE = HERE.parent / "build" / "shap_pairs.npz", HERE / "shap_pairs.json", HERE / "shap_pairs.md"
PLAYERS, DONORS, GAMES = 12, 30, 8
BUDGETS = (100, 200, 400, 800, 1_600)
SEEDS = range(3)
PEERS = ("KernelSHAPIQ", "InconsistentKernelSHAPIQ", "SHAPIQ")  # SVARMIQ takes a minute or more for each number
FIRST, SECOND = np.triu_indices(PLAYERS, 1)


def models() -> dict[str, Callable[[Any], Any]]:
    """Three functions of 12 columns: interactions of few pairs and of many, and of no simple form."""
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.neural_network import MLPRegressor

    rng = np.random.default_rng(0)
    x = rng.normal(size=(2_000, PLAYERS))
    y = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) * x[:, 3] + np.maximum(x[:, 4:8].sum(axis=1), 0) + x[:, 8]
    trees = GradientBoostingRegressor(max_depth=4, n_estimators=100, random_state=0).fit(x, y)
    network = MLPRegressor(hidden_layer_sizes=(32, 32), max_iter=200, random_state=0).fit(x, y)
    slopes = rng.normal(size=PLAYERS)
    return {
        "boosted trees": trees.predict,
        "neural network": network.predict,
        "saturated sum": lambda z: np.clip(z @ slopes - 1, -0.5, 1.5),
    }


def tabulate() -> dict[str, Any]:
    """Return the worths of all coalitions of each game, (games, 2^players), in the order of ``all_coalitions``."""
    from whybox.games.exact import all_coalitions

    rng = np.random.default_rng(1)
    rows, donors = rng.normal(size=(GAMES, PLAYERS)), rng.normal(size=(DONORS, PLAYERS))
    present = all_coalitions(PLAYERS)[:, None]
    out = {}
    for name, predict in models().items():
        hybrids = (np.where(present, row, donors).reshape(-1, PLAYERS) for row in rows)
        out[name] = np.stack([np.asarray(predict(h)).reshape(-1, DONORS).mean(axis=1) for h in hybrids])
    return out


def ours(worths: Any, budget: int, seed: int) -> tuple[Any, Any]:
    """Return interactions and standard errors, (games, pairs), from so many coalitions."""
    from whybox.games.donor_blocks import GrowingBlocks
    from whybox.games.solve import ObservedPairs
    from whybox.games.solve_pairs import solve_pairs

    growing = GrowingBlocks(PLAYERS, np.ones(1), budget, np.random.default_rng(seed))
    while growing.grow(budget):
        pass
    design = growing.design
    at, last = design.coalitions @ (1 << np.arange(PLAYERS)), worths.shape[1] - 1
    observed = ObservedPairs(
        worths[:, at, None], worths[:, last - at, None], worths[:, last, None], worths[:, :1, None], np.ones(1)
    )
    found = solve_pairs(design, observed)
    return 2 * found.values[:, FIRST, SECOND, 0], 2 * np.sqrt(found.variances[:, FIRST, SECOND, 0])


def exact(worths: Any) -> Any:
    """Return the interactions of all games, (games, pairs)."""
    from whybox.games.exact import exact_values

    return exact_values(worths.T, order=2)[FIRST, SECOND].T


def run_ours() -> None:
    """Measure ours, and write the games and the page."""
    tables = tabulate()
    truth = {name: exact(worths) for name, worths in tables.items()}
    TABLE.parent.mkdir(exist_ok=True)
    np.savez(
        TABLE, **{f"{kind} {name}": a for kind, of in (("worths", tables), ("truth", truth)) for name, a in of.items()}
    )
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    measured: dict[str, Any] = {}
    for name, worths in tables.items():
        for budget in BUDGETS:
            began, squares, inside = time.perf_counter(), [], []
            for seed in SEEDS:
                values, error = ours(worths, budget, seed)
                squares.append(((values - truth[name]) ** 2).sum() / (truth[name] ** 2).sum())
                near = 1.96 * error + 1e-9 * np.abs(worths).max()
                inside.append((np.abs(values - truth[name]) <= near).mean())
            seconds = (time.perf_counter() - began) / (len(SEEDS) * GAMES)
            measured[f"{name}, {budget}"] = {
                "error": float(np.mean(squares)), "cover": float(np.mean(inside)), "seconds": seconds
            }  # fmt: skip
    results["whybox"] = measured
    write(results)


def run_peers(names: list[str]) -> None:
    """Measure approximators of shapiq, by their names."""
    import shapiq

    warnings.filterwarnings("ignore")
    kept = np.load(TABLE)
    results = json.loads(RESULTS.read_text())
    for approximator in names or PEERS:
        measured: dict[str, Any] = {}
        for name in (key.removeprefix("truth ") for key in kept.files if key.startswith("truth ")):
            worths, truth = kept[f"worths {name}"], kept[f"truth {name}"]
            for budget in BUDGETS:
                began, squares = time.perf_counter(), []
                for seed in SEEDS:
                    values = [_of_peer(shapiq, approximator, game, budget, seed) for game in worths]
                    squares.append(((np.array(values) - truth) ** 2).sum() / (truth**2).sum())
                seconds = (time.perf_counter() - began) / (len(SEEDS) * GAMES)
                measured[f"{name}, {budget}"] = {"error": float(np.mean(squares)), "seconds": seconds}
        results[f"shapiq {shapiq.__version__} {approximator}"] = measured
        write(results)


def _of_peer(shapiq: Any, approximator: str, worths: Any, budget: int, seed: int) -> Any:
    power = 1 << np.arange(PLAYERS)
    found = getattr(shapiq, approximator)(n=PLAYERS, max_order=2, index="SII", random_state=seed)
    answer = found.approximate(budget, lambda coalitions: worths[coalitions.astype(int) @ power] - worths[0])
    return [answer[(int(i), int(j))] for i, j in zip(FIRST, SECOND, strict=True)]


def write(results: dict[str, Any]) -> None:
    """Keep the results, and write the page from them."""
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    lines = [
        "# Interactions of pairs beside shapiq", "",
        f"The squared error of the {len(FIRST)} Shapley interactions of {PLAYERS} features, over their sum of squares: the mean over {GAMES} rows and",
        f"{len(SEEDS)} seeds, at equal numbers of coalitions. Each coalition is evaluated over the same {DONORS} background rows, so there is no other error.",
        "Smaller is better; 1 is what zeros would have. Written by", "", "    python benchmarks/shap_pairs.py",
        "    bench/bin/python benchmarks/shap_pairs.py peers", "",
    ]  # fmt: skip
    cases = dict.fromkeys(key.rpartition(", ")[0] for key in results["whybox"])
    for name in cases:
        lines += [
            f"## {name.capitalize()}",
            "",
            "| | " + " | ".join(f"{b:,}" for b in BUDGETS) + " |",
            "|---" * (len(BUDGETS) + 1) + "|",
        ]
        for who, measured in results.items():
            lines.append(f"| {who} | " + " | ".join(f"{measured[f'{name}, {b}']['error']:.2g}" for b in BUDGETS) + " |")
        covered = (f"{100 * results['whybox'][f'{name}, {b}']['cover']:.0f} %" for b in BUDGETS)
        lines += ["| whybox: 95 % intervals hold | " + " | ".join(covered) + " |", ""]
    lines += ["Seconds a row beside the model, at most:", ""]
    lines += [
        *(f"- {who}: {max(m['seconds'] for m in measured.values()):.2g}" for who, measured in results.items()),
        "",
    ]
    PAGE.write_text("\n".join(lines))


if __name__ == "__main__":
    if sys.argv[1:2] == ["peers"]:
        run_peers(sys.argv[2:])
    else:
        run_ours()
