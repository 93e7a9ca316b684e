"""How often do the checks of saliency maps fail a right map, and how often do they pass a wrong one?

    python benchmarks/check_rates.py              as Markdown tables; about twenty minutes on two cores
    python benchmarks/check_rates.py --every 5    a fifth of the networks
    python benchmarks/check_rates.py --out a.jsonl    keep every line of every check, to count otherwise or to go on

The networks are those of check_networks.py. *Right* maps are what a method of the library gives for a network. *Wrong* maps come from a method that was tampered
with: it returns the same wrong map whenever it is asked, so that "reproduced" passes and the other lines must find it. *Exchanged* maps are right ones
whose numbers were overwritten in the explanation, which "reproduced" must find whichever checks are asked for. A line says "fail", "disagree", "cannot tell",
"not applicable" or "pass"; a map is refused if at least one line says "fail" or "disagree".
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

import check_networks
import whybox as wb
from whybox.checks.trivial_maps import edge_map
from whybox.methods.saliency.base import Method, MethodOutput
from whybox.methods.saliency.make_method import make_method
from whybox.numerics.statistics import mean_interval

EMBEDDED = {"embedding": "emb", "baseline_token": 0}
VERDICTS = ("fail", "disagree", "cannot tell", "not applicable", "pass")
FEWER_ROWS = (4, 8)  # right maps of a third of the networks are also checked with so few
Record = dict[str, Any]


@dataclass(frozen=True)
class Tampered(Method):
    """Another method whose maps are made wrong in one of many ways, see `_wrong`."""

    inner: Method | None = None
    way: str = ""
    name: ClassVar[str] = "tampered"
    title: ClassVar[str] = "Tampered"

    def __call__(self, problem: Any) -> MethodOutput:
        """Compute the maps of the inner method, and make them wrong."""
        if self.way == "of another output":
            k = int(np.prod(problem.target.output_shape))
            problem = replace(
                problem,
                target=replace(problem.target, positions=(problem.target.positions + 1) % k, is_predicted=False),
            )
        found = self.inner(problem)
        maps = [[m if k else self._wrong(m, problem) for k, m in enumerate(of)] for of in found.maps]
        return MethodOutput(maps, "none", "none", exact=True, channels_reduced=found.channels_reduced)

    def _wrong(self, m: np.ndarray, problem: Any) -> np.ndarray:
        rows, given = len(m), problem.inputs[0]
        rng = np.random.default_rng(5)
        if self.way == "positions shuffled":
            if problem.after_embedding:
                return m[:, rng.permutation(m.shape[1])]
            return m.reshape(rows, -1)[:, rng.permutation(m[0].size)].reshape(m.shape)
        if self.way == "of another row":
            return np.roll(m, 1, axis=0)
        if self.way == "sign turned":
            return -m
        if self.way == "random numbers":
            return rng.normal(size=m.shape)
        if self.way == "constant":
            return np.ones(m.shape)
        if self.way == "the same for all rows":
            return np.broadcast_to(np.abs(rng.normal(size=m.shape[1:])), m.shape).copy()
        if self.way == "the input":
            x = np.abs(given.x.astype(float))
            return (x if x.shape == m.shape else x.sum(axis=given.channel_axis)).reshape(m.shape)
        if self.way in ("edges", "blurred edges"):
            e = edge_map(given, given.x)
            if self.way == "blurred edges":
                for axis in range(1, e.ndim):
                    e = e + np.roll(e, 1, axis) + np.roll(e, -1, axis)
            return e.reshape(m.shape)
        return m


TABLE_WAYS = (
    "positions shuffled",
    "of another row",
    "sign turned",
    "random numbers",
    "constant",
    "the same for all rows",
    "the input",
)
TOKEN_WAYS = TABLE_WAYS[:-1]
PICTURE_WAYS = (*TABLE_WAYS, "edges", "blurred edges")


def right_methods(case: check_networks.Case) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, id and options of the methods whose maps are right by definition."""
    x = case.rows
    if case.kind == "tokens":
        for method in ("gradient", "gradient_x_input", "integrated_gradients", "ablation"):
            yield method.replace("_x_", " x ").replace("_", " "), method, EMBEDDED
        yield "Shapley values", "shapley", {"samples": 1100, **EMBEDDED}
        return
    yield "gradient", "gradient", {}
    yield "SmoothGrad", "smoothgrad", {"samples": 16}
    yield "gradient x input", "gradient_x_input", {}
    yield "integrated gradients", "integrated_gradients", {}
    yield "DeepLIFT", "deeplift", {}
    yield "occlusion", "occlusion", {}
    if x.ndim == 2:
        yield "Shapley values", "shapley", {"samples": 300}
    else:
        yield "ablation of parts", "ablation", {"patches": 4}
        yield "Shapley values of parts", "shapley", {"patches": 2 if x.ndim == 4 else 6}
    if case.convolutional and x.ndim == 4:
        yield "Grad-CAM", "gradcam", {}
        yield "LayerCAM", "layercam", {}


def records_of(job: int) -> list[Record]:
    """Train a network and check all its maps."""
    torch.set_num_threads(1)
    case = check_networks.trained(*check_networks.jobs()[job])
    return [
        {"job": job, **record}
        for record in (*_right(case, FEWER_ROWS * (job % 3 == 0)), *_wrong(case), *_exchanged(case))
    ]


def _right(case: check_networks.Case, fewer: tuple[int, ...]) -> Iterator[Record]:
    for name, method, options in right_methods(case):
        for count in (len(case.rows), *fewer):
            x = case.rows[:count]
            try:
                e = wb.saliency(case.net, x, method=method, **case.options, **options)
            except wb.errors.UnsupportedModelError:
                break
            checks = None if count == len(case.rows) else ("faithfulness",)
            yield _record(case, "right", name, e, x, count, checks)


def _wrong(case: check_networks.Case) -> Iterator[Record]:
    if case.kind == "tokens":
        inner, ways = make_method("gradient_x_input", {}), TOKEN_WAYS
    elif case.rows.ndim == 2:
        inner, ways = make_method("ablation", {}), TABLE_WAYS
    else:
        inner, ways = make_method("occlusion", {}), PICTURE_WAYS
    for way in ways + (("of another output",) if case.outputs > 2 else ()):
        method = Tampered(inner, way)
        more = EMBEDDED if case.kind == "tokens" else {}
        # spot checks find the map of another output before there is a map to check
        e = wb.saliency(case.net, case.rows, method=method, spot_checks=0, **case.options, **more)
        yield _record(case, "wrong", way, e, case.rows, len(case.rows), None, method=method)


def _exchanged(case: check_networks.Case) -> Iterator[Record]:
    rng = np.random.default_rng(7)
    options = EMBEDDED if case.kind == "tokens" else {}
    e = wb.saliency(case.net, case.rows, method="gradient_x_input", **case.options, **options)
    drawn = e.values.std() * rng.normal(size=e.values.shape)
    for way, values in (
        ("random numbers", drawn),
        ("constant", np.full_like(drawn, e.values.std())),
        ("of another row", np.roll(e.values, 1, axis=0)),
    ):
        yield _record(case, "exchanged", way, replace(e, values=values), case.rows, len(case.rows), ("stability",))


def _record(
    case: check_networks.Case, what: str, name: str, e: Any, rows: np.ndarray, count: int, checks: Any, **options: Any
) -> Record:
    began = time.process_time()
    found = wb.check(e, case.net, rows, checks=checks or "all", **options)
    lines = [(c.group, c.name, c.verdict, c.number) for c in found.rows]
    extra = {c.name: _details(c) for c in found.rows}
    return {
        "kind": case.kind, "network": case.name, "what": what, "map": name, "rows": count, "lines": lines, "details": extra, "seconds": time.process_time() - began,
        "reasons": {c.name: c.reason for c in found.rows},
    }  # fmt: skip


def _details(c: Any) -> dict[str, Any]:
    """Numbers from which thresholds are set."""
    if "same network" in c.details:
        mean, half = mean_interval(c.details["after"])
        return {
            "chance": c.details["chance"],
            "same": float(c.details["same network"].mean()),
            "after": mean,
            "half": half,
        }
    if c.group == "faithfulness" and "rows" in c.details:
        return {"rows": np.asarray(c.details["rows"]).tolist()}
    return {}


def line_of(group: str, name: str) -> str:
    """The line's name in the tables: all ways of deletion and insertion are one."""
    if group != "faithfulness":
        return name
    return "faithfulness: together" if "together" in name else name.split(",", maxsplit=1)[0]


def rates(records: Iterable[Record], by: str = "line") -> list[tuple[str, Counter[str]]]:
    """Verdicts counted by line, or by map."""
    out: dict[str, Counter[str]] = {}
    for r in records:
        worst = Counter()
        for group, name, verdict, _ in r["lines"]:
            if by == "line":
                out.setdefault(line_of(group, name), Counter())[verdict] += 1
            worst[verdict] += 1
        whole = next((v for v in VERDICTS[:3] if worst[v]), "pass")
        out.setdefault("the whole of wb.check" if by == "line" else r[by], Counter())[whole] += 1
    return list(out.items())


def markdown(title: str, first: str, found: list[tuple[str, Counter[str]]]) -> None:
    """Print a table."""
    print(f"\n{title}\n\n| {first} | {' | '.join(VERDICTS)} |\n|---|{'---|' * len(VERDICTS)}")
    for name, counts in found:
        print(f"| {name} | {' | '.join(str(counts[v]) for v in VERDICTS)} |")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="take every n-th network")
    parser.add_argument("--first", type=int, default=0, help="begin at this network")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--out", type=Path, help="keep every line as JSON, a line a network; networks that are in it are not run again"
    )
    options = parser.parse_args()
    found = (
        [json.loads(line) for line in options.out.read_text().splitlines()]
        if options.out and options.out.exists()
        else []
    )
    done = {records[0]["job"] for records in found}
    jobs = [n for n in range(options.first, len(check_networks.jobs()), options.every) if n not in done]
    jobs.sort(key=lambda n: (n % 7, n))  # all kinds of data early, should it be interrupted
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for records in pool.imap_unordered(records_of, jobs):
            found.append(records)
            print(f"{records[0]['network']}: {len(records)} maps", file=sys.stderr, flush=True)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(records) + "\n")
    report([r for records in found for r in records])


def report(found: list[Record]) -> None:
    """Print the tables of docs/checks.md."""
    full = [r for r in found if r["rows"] == check_networks.ROWS]
    right, wrong = ([r for r in full if r["what"] == what] for what in ("right", "wrong"))
    print(
        f"{len({r['network'] for r in found})} networks, {len(right)} right maps, {len(wrong)} wrong ones, of {check_networks.ROWS} rows"
    )
    kept(right)
    line_rates(right, wrong)
    markdown("Right maps", "method", rates(right, "map"))
    markdown("Right maps", "data", rates(right, "kind"))
    markdown("Wrong maps", "map", rates(wrong, "map"))
    exchanged = [r for r in found if r["what"] == "exchanged"]
    markdown("Exchanged maps, checks='stability' alone", "map", rates(exchanged, "map"))
    for count in FEWER_ROWS:
        fewer = [r for r in found if r["what"] == "right" and r["rows"] == count]
        markdown(f"Right maps of {count} rows, checks='faithfulness'", "line", rates(fewer))


def kept(right: list[Record]) -> None:
    """Print which share of the distance from chance right maps keep when parameters are randomised: median and largest."""
    print("\n| method | all layers | top layer |\n|---|---|---|")
    for name in dict.fromkeys(r["map"] for r in right):
        cells = []
        for line in ("all layers", "top layer"):
            details = [r["details"].get(f"randomised parameters: {line}") for r in right if r["map"] == name]
            shares = [(d["after"] - d["chance"]) / (d["same"] - d["chance"]) for d in details if d]
            cells.append(f"{max(np.median(shares), 0):.0%}, at most {max(*shares, 0):.0%}")
        print(f"| {name} | {' | '.join(cells)} |")


def line_rates(right: list[Record], wrong: list[Record]) -> None:
    """Print how often each line refuses right maps and passes wrong ones, of the maps to which it applies."""
    print(
        "\n| line | right: refused | right: cannot tell | wrong: passed | wrong: cannot tell |\n|---|---|---|---|---|"
    )
    passes = dict(rates(wrong))
    for name, counts in rates(right):
        other, cells = passes[name], []
        for of, verdicts in (
            (counts, ("fail", "disagree")),
            (counts, ("cannot tell",)),
            (other, ("pass",)),
            (other, ("cannot tell",)),
        ):
            applied = sum(of.values()) - of["not applicable"]
            cells.append(f"{sum(of[v] for v in verdicts)} of {applied}" if applied else "")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
