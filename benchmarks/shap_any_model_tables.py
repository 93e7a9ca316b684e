"""The page of shap_any_model.py, from what was measured."""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from shap_any_model_cases import BACKGROUND, CASES, ROWS, Case

TIMES_D = (5, 10, 20, 50)
ASKED = {"together": (0.3, 0.15, 0.12, 0.05), "alone": (0.35, 0.25, 0.2, 0.1)}
ASKED_ROWS = {"2000": (15, 5, 4), "20000": (100, 30, 5)}
ROW_PEERS = ("shap.Kernel, 25 rows", "shap.Permutation, 100 rows", "shap.Sampling, 500 rows")
Found = dict[str, Any]


def page(ours: Found, peers: Found) -> str:
    """The whole page."""
    cases = [make() for make in CASES.values()]
    names = dict(zip(CASES, cases, strict=True))
    parts = [
        head(ours, peers),
        models(cases),
        game_errors(ours.get("games", {}), peers["games"], names),
        peer_errors(peers["games"], names),
        cover(ours, names),
        row_errors(ours.get("rows", {}), peers.get("rows", {}), names),
        sharing(ours.get("sharing", {}), names),
        repeats(ours.get("repeats", {}), names),
        overhead(ours.get("overhead", {})),
    ]
    return "\n".join("\n".join(wrapped(part)) for part in map(list, parts) if part)


def wrapped(lines: list[str]) -> Iterator[str]:
    """Lines of text filled anew; tables, titles and commands as they are."""
    text: list[str] = []
    for line in [*lines, ""]:
        if line and not line.startswith(("|", "#", "    ")):
            text.append(line)
            continue
        yield from textwrap.wrap(" ".join(text), 118, break_on_hyphens=False)
        text = []
        yield line


def processor() -> str:
    """The processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def head(ours: Found, peers: Found) -> Iterator[str]:
    """Title, versions, how to repeat."""
    versions = ", ".join(f"{k} {v}" for k, v in peers["versions"].items() if k.startswith("shap"))
    own = ", ".join(f"{k} {v}" for k, v in ours.get("versions", {}).items())
    yield "# Shapley values of any model"
    yield ""
    yield "    python benchmarks/shap_any_model.py truth      # exact values of twelve models: a quarter of an hour"
    yield "    python benchmarks/shap_any_model_peers.py      # shap and shapiq, Python 3.12: half an hour"
    yield "    python benchmarks/shap_any_model.py            # ours, and this page"
    yield ""
    yield f"Measured with {versions} on the other side; {own}; {processor()}, one thread. Errors do not depend on the"
    yield "processor."
    yield ""
    yield "All numbers are of the present estimator. Rows together were drawn once (of mlp 12 and et 30 twice), rows alone once."
    yield ""
    yield "*nMSE* is the mean squared error over rows and features, divided by the variance of the true values over rows and"
    yield "features. The truth is the Shapley value itself: up to 16 features by evaluating every coalition, above by the"
    yield "tree kernel, which agrees with enumeration to rounding where ten features differ. *d* is the number of features."
    yield "Means over models are geometric."


def models(cases: Iterable[Case]) -> Iterator[str]:
    """Which models."""
    yield "## models"
    yield ""
    yield f"Each is asked as a function. {ROWS} rows to explain (24 of them in the tables of coalitions), {BACKGROUND} background rows (25 of"
    yield "them in those tables). The estimators were tuned on the first six, on the other six nothing was."
    yield ""
    yield "| name | model | tuned on |"
    yield "|---|---|---|"
    for case in cases:
        yield f"| {case.name} | {case.about} | {'yes' if case.tuned else 'no'} |"


def number(x: float) -> str:
    """Two digits."""
    return "-" if not np.isfinite(x) else _brief(f"{x:.1e}" if 0 < abs(x) < 1e-2 else f"{x:.2g}")


def times(x: float) -> str:
    """How many times lower, or a share."""
    return "-" if not np.isfinite(x) else f"{x:,.0f}" if x >= 10 else _brief(f"{x:.2g}")


def _brief(written: str) -> str:
    """1e-6 for 1e-06: rows of tables have at most 120 characters."""
    return written.replace("e-0", "e-")


def nmse(found: Found, *keys: str) -> float:
    """A number that may not be there, or was refused."""
    for key in keys:
        found = found.get(key, {})
    return float(found.get("nmse", np.nan))


def best(peers: Found, name: str, m: int) -> float:
    """The lowest error of shapiq's methods."""
    errors = [nmse(peers, name, peer, str(m)) for peer in peers.get(name, {}) if peer.startswith("shapiq.")]
    return float(np.nanmin(errors)) if np.isfinite(errors).any() else np.nan


def geometric(values: Iterable[float]) -> float:
    """The geometric mean of what is there."""
    kept = np.array([v for v in values if np.isfinite(v)])
    return float(np.exp(np.log(np.maximum(kept, 1e-300)).mean())) if len(kept) else np.nan


def groups(names: dict[str, Case]) -> Iterator[tuple[str, list[str]]]:
    """The models tuned on, the others, and all."""
    yield "**tuned on**", [n for n, case in names.items() if case.tuned]
    yield "**others**", [n for n, case in names.items() if not case.tuned]
    yield "**all**", list(names)


def game_errors(ours: Found, peers: Found, names: dict[str, Case]) -> Iterator[str]:
    """Ours at equal numbers of coalitions."""
    if not ours:
        return
    yield "## errors at equal numbers of coalitions"
    for how, words in (("together", "24 rows explained together"), ("alone", "each row alone")):
        yield ""
        yield f"{words.capitalize()}, one background of 25 rows. A cell: nMSE; its share of that of shap.KernelExplainer(l1_reg=False); its share"
        yield "of the lowest of shapiq's LeverageSHAP, OddSHAP, PolySHAP and ProxySHAP at that budget."
        yield ""
        yield "| model | " + " | ".join(f"{m}d" for m in TIMES_D) + " |"
        yield "|---|" + "---:|" * len(TIMES_D)
        shares: dict[tuple[str, int], tuple[float, float]] = {}
        for name, case in names.items():
            cells = []
            for m in TIMES_D:
                error = nmse(ours, name, f"{how} {m}")
                shares[name, m] = error / nmse(peers, name, "shap.Kernel", str(m)), error / best(peers, name, m)
                cells.append(f"{number(error)} / {times(shares[name, m][0])} / {times(shares[name, m][1])}")
            yield f"| {case.name} | " + " | ".join(cells) + " |"
        for group, members in groups(names):
            means = [[geometric(shares[n, m][k] for n in members) for k in (0, 1)] for m in TIMES_D]
            yield f"| {group} | " + " | ".join(f"- / {times(a)} / {times(b)}" for a, b in means) + " |"
        yield "| asked for | " + " | ".join(f"- / {a:.2g} / 0.5" for a in ASKED[how]) + " |"


def peer_errors(peers: Found, names: dict[str, Case]) -> Iterator[str]:
    """The other libraries beside each other."""
    yield "## the other libraries at equal numbers of coalitions"
    yield ""
    yield "Shares of the nMSE of shap.KernelExplainer(l1_reg=False), geometric means over all models (of those where they answer)."
    yield ""
    yield "| method | " + " | ".join(f"{m}d" for m in TIMES_D) + " |"
    yield "|---|" + "---:|" * len(TIMES_D)
    for peer in dict.fromkeys(peer for found in peers.values() for peer in found):
        cells = []
        for m in TIMES_D:
            shares = [nmse(peers, n, peer, str(m)) / nmse(peers, n, "shap.Kernel", str(m)) for n in names]
            answered = int(np.isfinite(shares).sum())
            cells.append(times(geometric(shares)) + ("" if answered == len(names) else f" ({answered} models)"))
        yield f"| {peer} | " + " | ".join(cells) + " |"


def cover(ours: Found, names: dict[str, Case]) -> Iterator[str]:
    """How often 95 % intervals hold the truth."""
    found, of_rows = ours.get("games", {}), ours.get("rows", {})
    columns: list[tuple[str, Callable[[str], float]]] = []
    for how in ("together", "alone"):
        columns += [
            (
                f"{m}d" if how == "together" else f"{how} {m}d",
                lambda n, key=f"{how} {m}": found.get(n, {}).get(key, {}).get("cover", np.nan),
            )
            for m in TIMES_D
        ]
    columns += [
        (f"{int(b):,} rows", lambda n, key=b: of_rows.get(n, {}).get(key, {}).get("cover", np.nan)) for b in ASKED_ROWS
    ]
    if not found:
        return
    yield "## coverage of intervals of 95 %"
    yield ""
    yield "Asked for: 92 to 98 % on the average, no model and budget below 85 %. Seeds, rows and features are counted alike."
    yield "5d to 50d: 24 rows explained together; then each row alone; then against 500 background rows, at that many model rows."
    yield ""
    yield "| model | " + " | ".join(title for title, _ in columns) + " |"
    yield "|---|" + "---:|" * len(columns)
    table = np.array([[value(name) for _, value in columns] for name in names])
    for case, line in zip(names.values(), table, strict=True):
        yield f"| {case.name} | " + " | ".join("-" if np.isnan(c) else f"{100 * c:.0f}" for c in line) + " |"
    means = [np.nanmean(c) if np.isfinite(c).any() else np.nan for c in table.T]
    yield "| **average** | " + " | ".join("-" if np.isnan(c) else f"{100 * c:.1f}" for c in means) + " |"


def row_errors(ours: Found, peers: Found, names: dict[str, Case]) -> Iterator[str]:
    """Errors against the whole background."""
    if not peers:
        return
    yield "## errors against a background of 500 rows, at equal numbers of model rows"
    yield ""
    yield "30 rows explained together; errors are those of the first 12, or 6 where the truth is costly. nMSE; for ours, how many times lower than each of the three."
    yield "A permutation over 100 rows cannot take fewer than (2d+1) x 100 model rows: where that is more than 2,000, it takes more."
    for budget, asked in ASKED_ROWS.items():
        yield ""
        yield f"{int(budget):,} model rows a row; asked for on every model: {asked[0]}, {asked[1]}, {asked[2]} times lower."
        yield ""
        yield "| model | Kernel, 25 rows | Permutation, 100 | Sampling, all | ours | times lower |"
        yield "|---|---:|---:|---:|---:|---:|"
        for name, case in names.items():
            theirs = [nmse(peers, name, peer, budget) for peer in ROW_PEERS]
            own = nmse(ours, name, budget)
            lower = " / ".join(times(t / own) for t in theirs)
            yield f"| {case.name} | " + " | ".join(map(number, [*theirs, own])) + f" | {lower} |"


def sharing(ours: Found, names: dict[str, Case]) -> Iterator[str]:
    """What more rows in a call buy."""
    if not ours:
        return
    yield "## what sharing buys"
    yield ""
    yield "nMSE of the same four rows: each alone, among 24, among 100; 20d coalitions a row, 25 background rows."
    yield ""
    yield "| model | alone | among 24 | among 100 |"
    yield "|---|---:|---:|---:|"
    for name, case in names.items():
        yield f"| {case.name} | " + " | ".join(number(nmse(ours, name, k)) for k in ("1", "24", "100")) + " |"


def repeats(ours: Found, names: dict[str, Case]) -> Iterator[str]:
    """Seeds and the order of rows."""
    if not ours:
        return
    yield "## the same call again"
    yield ""
    yield "10d coalitions, 24 rows. *Two seeds*: share of values that differ by less than 1.96 standard errors of the difference. *Order*:"
    yield "root mean square change of values when the rows come in another order, in standard errors."
    yield ""
    yield "| model | same seed, same bytes | two seeds | order |"
    yield "|---|---|---:|---:|"
    for name, case in names.items():
        if found := ours.get(name, {}).get("10d"):
            same = "yes" if found["same_bytes"] == 1 else "no"
            yield f"| {case.name} | {same} | {found['two_seeds']:.3f} | {found['order_errors']:.2g} |"


def overhead(ours: Found) -> Iterator[str]:
    """CPU time beside the model calls."""
    if not ours:
        return
    yield "## overhead beside the model"
    yield ""
    yield "1,000 rows of a logistic regression of 30 features, asked as a function; CPU ms a row, one thread, the median of three (shap's default: of"
    yield "one). *Default*: each library's own settings with 500 background rows, of which shap takes 100. *Equal*: 22 background rows and 2,000"
    yield "model rows a row. Asked for: 10 times less than shap.PermutationExplainer."
    yield ""
    yield "| setting | library | beside the model | the model | model rows a row |"
    yield "|---|---|---:|---:|---:|"
    for setting in ("default", "equal"):
        for library in ("whybox", "shap.Permutation"):
            if found := ours.get(library, {}).get(setting):
                yield f"| {setting} | {library} | {found['beside_ms']:.2f} | {found['model_ms']:.2f} | {found['model_rows']:,} |"
