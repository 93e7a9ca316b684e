"""How often intervals and standard errors cover the truth. Writes the tables of docs/coverage.md.

Usage: python benchmarks/error_coverage.py [--part effects] [--replications 400] [--jobs 2] [--cells coverage.json] [--write]

Fresh rows are drawn again and again, the call is made, and it is counted how often the interval holds the value that the law of the rows has. Truths are
integrals over the law, not estimates. Cells that are in the file of `--cells` with as many replications are not measured again, so a run can be continued, or made longer.
`--write` puts the tables into the page; without it they are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

ON_PAGE = ["effects", "interactions"]  # "shapley", which takes hours, is printed
PAGE = Path(__file__).resolve().parent.parent / "docs" / "coverage.md"


def parts():
    """The parts of the page: modules with `cells()`, `measure(cell, replications)` and `tables(found)`."""
    import coverage_effects
    import coverage_interactions
    import coverage_shapley

    return {"effects": coverage_effects, "interactions": coverage_interactions, "shapley": coverage_shapley}


def measure(part, cell, replications):
    """Measure one cell, in a process of its own."""
    return parts()[part].measure(tuple(cell), replications)


def main():
    """Measure what is missing, and print or write all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--part", choices=list(parts()), action="append", help="only these parts; not given: those of the page"
    )
    parser.add_argument("--replications", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--cells", type=Path, default=Path("coverage.json"), help="file of what is measured")
    parser.add_argument("--write", action="store_true", help="write the tables into the page")
    options = parser.parse_args()
    chosen = options.part or ON_PAGE
    found = json.loads(options.cells.read_text()) if options.cells.exists() else {}
    missing = [
        (part, cell)
        for part in chosen
        for cell in parts()[part].cells()
        if found.get(key(part, cell), {}).get("replications", 0) < options.replications
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        jobs = {pool.submit(measure, part, cell, options.replications): (part, cell) for part, cell in missing}
        for i, job in enumerate(as_completed(jobs), start=1):
            part, cell = jobs[job]
            found[key(part, cell)] = {"replications": options.replications, "counts": job.result()}
            options.cells.write_text(json.dumps(found))
            print(f"{i} of {len(jobs)}: {key(part, cell)}", file=sys.stderr, flush=True)
    for part in chosen:
        counts = {tuple(c): found[key(part, c)]["counts"] for c in parts()[part].cells() if key(part, c) in found}
        text = parts()[part].tables(counts)
        if options.write and part in ON_PAGE:
            write(part, text, min(v["replications"] for k, v in found.items() if k.startswith(part)))
        else:
            print(text)


def key(part, cell):
    """The name of a cell in the file."""
    return " ".join(map(str, (part, *cell)))


def write(part, text, replications):
    """Put the tables of a part between its marks in the page."""
    page = PAGE.read_text()
    begin, end = f"<!-- {part}: measured -->", f"<!-- {part}: end -->"
    block = f"{begin}\n\nOf {replications} tables a cell or more:\n\n{text}\n{end}"
    new, count = re.subn(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: block, page, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{PAGE} has no marks {begin} ... {end}")
    PAGE.write_text(new)


if __name__ == "__main__":
    main()
