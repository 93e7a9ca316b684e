"""Build the site into docs/_build/html: ``python docs/build.py``. A warning is an error.

``--check-links`` asks the network whether links to other sites lead somewhere; ``--intersphinx`` links the names of other packages, whose lists of names it fetches.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from sphinx.cmd.build import build_main

HERE = Path(__file__).parent
OUT = HERE / "_build"
MADE = ("reference", "howto", "figures")  # folders of pages that the build writes


def main() -> int:
    """Build, and say where and how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check-links", action="store_true", help="check links to other sites, and build nothing")
    parser.add_argument("--intersphinx", action="store_true", help="link names of other packages (needs the network)")
    parser.add_argument("--fresh", action="store_true", help="build everything, not only what changed")
    options = parser.parse_args()
    if options.intersphinx:
        os.environ["WHYBOX_DOCS_INTERSPHINX"] = "1"
    if options.fresh:
        for folder in (OUT, *(HERE / name for name in MADE)):
            shutil.rmtree(folder, ignore_errors=True)
    builder = "linkcheck" if options.check_links else "html"
    started = time.perf_counter()
    strict = ["--fail-on-warning", "--keep-going", "--quiet"]
    code = build_main(
        ["-b", builder, *strict, "-c", str(HERE), "-d", str(OUT / "doctrees"), str(HERE.parent), str(OUT / builder)]
    )
    print(f"{OUT / builder}: {time.perf_counter() - started:.0f} s, {'failed' if code else 'no warnings'}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
