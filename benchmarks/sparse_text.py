"""Memory and CPU time of explaining a tf-idf text model of 100,000 columns: sparse rows, several libraries, one thread (sparse_text.md)."""

from __future__ import annotations

import argparse
import platform
import re
import subprocess
import sys
import textwrap
from pathlib import Path

PROGRAM = textwrap.dedent("""
    import os, re, sys, time
    os.environ["OMP_NUM_THREADS"] = "1"
    import numpy as np
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfTransformer

    kind, columns, documents = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

    def status(name):
        return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read()).group(1)) / 1024

    def texts(rng):
        # words by Zipf's law, about 120 a document, of which a third are the subject's own
        ranks = rng.zipf(1.15, size=(documents, 120)) % columns
        subject = rng.integers(0, 20, documents)
        ranks[:, :40] = (subject[:, None] * 97 + rng.integers(0, 300, (documents, 40)) * 23) % columns
        counts = sparse.csr_matrix(
            (np.ones(ranks.size), (np.repeat(np.arange(documents), 120), ranks.ravel())), shape=(documents, columns)
        )
        return TfidfTransformer(sublinear_tf=True).fit_transform(counts).tocsr(), (subject % 2 ^ (rng.random(documents) < 0.1)).astype(int)

    def make():
        if kind == "LightGBM":
            import lightgbm
            return lightgbm.LGBMClassifier(n_estimators=200, num_leaves=31, n_jobs=1, verbose=-1)
        if kind == "XGBoost":
            import xgboost
            return xgboost.XGBClassifier(n_estimators=200, max_depth=6, n_jobs=1)
        from sklearn.ensemble import RandomForestClassifier
        return RandomForestClassifier(200, max_depth=12, n_jobs=1, random_state=0)

    X, y = texts(np.random.default_rng(0))
    model = make().fit(X, y)

    import whybox as wb
    from whybox.models.narrow import columns_read
    from whybox.models.registry import as_model

    def measured(what, ask):
        before = status("VmRSS")
        open("/proc/self/clear_refs", "w").write("5")  # forget the peak so far
        began = time.process_time()
        found = ask()
        print("|".join([what, f"{time.process_time() - began:.2f}", f"{status('VmHWM') - before:.0f}", *found]), flush=True)

    kept = {}

    def read():
        kept["model"] = as_model(model)
        return []

    def explained(background, **options):
        def ask():
            e = wb.explain(kept["model"], X[:300], background, n_jobs=1, **options)
            return [f"{e.shape[0]:,} x {e.shape[1]:,}, {e.values.nbytes / 2**20:.0f} MiB"]
        return ask

    wb.explain  # loaded before anything is measured
    wb.explain(make().set_params(n_estimators=2).fit(X[:200, :50], y[:200]), X[:2, :50])
    measured("read and verified", read)
    m = kept["model"]
    from whybox.kernels import trees
    print(f"@{m.n_trees}|{trees.native(m).depth:.0f}|{len(m.left)}|{len(columns_read(m))}|{X.nnz / X.shape[0]:.0f}|{X.shape[0]}", flush=True)
    measured("300 rows, path-dependent, sparse=True", explained(None, sparse=True))
    measured("300 rows, 100 background rows, sparse=True", explained(X[300:400], sparse=True))
    measured("300 rows, 100 background rows", explained(X[300:400]))
    print(f"#{X[:300].toarray().nbytes / 2**20:.0f}")
""")


def processor() -> str:
    """What /proc/cpuinfo calls it."""
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return found.group(1) if found else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--columns", type=int, default=100_000)
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--models", nargs="*", default=["LightGBM", "XGBoost", "random forest"])
    given = parser.parse_args()
    print(f"{processor()}, Python {platform.python_version()}, one thread\n")
    print("| model | question | CPU s | peak beyond before, MiB | result |\n|---|---|---:|---:|---|")
    dense = ""
    about = []
    for kind in given.models:
        out = subprocess.run(
            [sys.executable, "-c", PROGRAM, kind, str(given.columns), str(given.documents)],
            capture_output=True,
            text=True,
            check=False,
        )
        if out.returncode:
            sys.exit(out.stderr)
        for line in out.stdout.splitlines():
            if line.startswith("@"):
                trees, depth, nodes, read, words, rows = line[1:].split("|")
                about.append(
                    f"{kind}: {trees} trees of depth {depth} at most, {int(nodes):,} nodes, which split on {int(read):,} columns ({int(rows):,} documents, {words} words each)"
                )
            elif line.startswith("#"):
                dense = line[1:]
            else:
                what, seconds, peak, *result = line.split("|")
                print(f"| {kind} | {what} | {seconds} | {peak} | {', '.join(result)} |")
    print("\n" + "\n".join(f"- {line}" for line in about))
    print(f"- 300 rows of {given.columns:,} columns, made dense in float64: {dense} MiB")


if __name__ == "__main__":
    main()
