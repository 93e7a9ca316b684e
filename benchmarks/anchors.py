"""Anchors on 200 rows: CPU time, size and coverage of the rules, and whether fresh rows keep the promised precision.

python benchmarks/anchors.py
"""

from __future__ import annotations

import argparse
import re
import time

import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

import whybox as wb

PRECISION = 0.95
FRESH_DRAWS = 20_000
SECONDS_OF_ALIBI = 3.5  # CPU seconds a row of alibi 0.9.6, AnchorTabular, on this problem; measured once, on 8 rows


def meets_condition(values, words):
    """Which values meet a condition, as it is written: "0.3 < x1 <= 0.5", "x1 > 0.5", "" for none."""
    ends = re.fullmatch(r"(?:(\S+) < )?x\d+(?: <= (\S+))?(?: > (\S+))?", words)
    inside = np.ones(len(values), dtype=bool)
    if ends is None:
        return inside
    if low := ends[1] or ends[3]:
        inside &= values > float(low)
    if ends[2]:
        inside &= values <= float(ends[2])
    return inside


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200)
    count = parser.parse_args().rows
    X, y = make_classification(5000, 20, n_informative=8, n_redundant=4, random_state=0)
    background, rows = X[:4000], X[4000 : 4000 + count]
    model = RandomForestClassifier(100, random_state=0, n_jobs=1).fit(background, y[:4000])
    began = time.process_time()
    explainer = wb.explainers.Anchors(model, background, precision=PRECISION)
    reading = time.process_time() - began
    began = time.process_time()
    e = explainer(rows)
    seconds = (time.process_time() - began) / count
    rng = np.random.default_rng(1)
    shares, size = [], e.values.sum(axis=1)
    certified = e.extras["certified"][1]
    predicted = model.predict(rows)
    for i in np.flatnonzero(certified):
        drawn = rng.integers(0, len(background), FRESH_DRAWS)
        fresh = background[drawn].copy()
        for p, words in enumerate(e.extras["condition"][1][i]):
            meets = meets_condition(background[:, p], words)
            breaks = ~meets[drawn]
            fresh[breaks, p] = background[rng.choice(np.flatnonzero(meets), int(breaks.sum())), p]
        shares.append((model.predict(fresh) == predicted[i]).mean())
    low, high = e.extras["precision_interval"][1][certified].T
    kept, coverage = np.array(shares), e.extras["coverage"][1][certified]
    print(f"reading the model and the background, CPU s: {reading:.2f}")
    print(f"CPU ms a row: {1000 * seconds:.1f}; alibi's figure is {SECONDS_OF_ALIBI / seconds:.0f} times that")
    print(f"predictions a row: {e.evidence.settings['predictions'] / count:,.0f}")
    print(f"certified: {certified.mean():.1%} of rows")
    print(f"conditions of a certified rule: median {np.median(size[certified]):.0f}, mean {size[certified].mean():.1f}")
    print(f"coverage: median {np.median(coverage):.4f}, mean {coverage.mean():.4f}")
    print(f"precision on {FRESH_DRAWS:,} fresh rows: median {np.median(kept):.3f}, smallest {kept.min():.3f}")
    print(f"certified rules that keep the promised {PRECISION}: {(kept >= PRECISION).mean():.1%}")
    print(f"intervals that hold the precision on fresh rows: {((low <= kept) & (kept <= high)).mean():.1%}")


if __name__ == "__main__":
    main()
