"""PartitionShap beside shap's PartitionExplainer: errors at equal predictions, and how often its intervals hold the exact values.

Usage: python benchmarks/partition_shap.py [--seeds 24] [--peers]

Both take the same linkage matrix: average linkage by correlation. The truth are the exact Owen values over all 150 background rows. shap takes `max_samples` of
them and shares what its budget does not reach equally. `--peers` compares with shap, which must be installed; without it coverage alone is measured.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from scipy.cluster.hierarchy import linkage
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

import whybox as wb

ROWS = (3, 60, 140, -1)
BACKGROUND = 150
EXACT = 2 * 10**7
BUDGETS = (1_000, 2_000, 5_000, 20_000)  # predictions a row
BESIDE = 250  # predictions for rows, background and checks
CASES = {
    "wine, MLP": (load_wine, MLPClassifier((20,), random_state=0, max_iter=300)),
    "wine, SVR": (load_wine, SVR()),
    "breast cancer, MLP": (load_breast_cancer, MLPClassifier((20,), random_state=0, max_iter=300)),
    "breast cancer, random forest": (load_breast_cancer, RandomForestClassifier(20, random_state=0)),
}


class Case:
    """A model as a function, rows, background, hierarchy, and the exact values."""

    def __init__(self, loader, model):
        data, y = loader(return_X_y=True)
        fitted = make_pipeline(StandardScaler(), model).fit(data, (y == 1).astype(int))
        self.rows, self.background = data[list(ROWS)], data[:BACKGROUND]
        self.output = (
            (lambda rows: fitted.predict_proba(rows)[:, 1]) if hasattr(model, "predict_proba") else fitted.predict
        )
        distance = 1 - np.abs(np.corrcoef(self.background.T))
        self.linkage = linkage(distance[np.triu_indices(len(distance), 1)], "average")
        truth = self.explain(EXACT)
        assert truth.evidence.exact
        self.truth = truth.values

    def explain(self, max_evals, seed=0):
        return wb.explain(
            self.output,
            self.rows,
            self.background,
            method="partition_shap",
            hierarchy=self.linkage,
            max_evals=max_evals,
            tol=1e-9,
            spot_checks=0,
            seed=seed,
        )

    def error(self, values):
        """Mean squared error over the mean square of the truth."""
        return float(((values - self.truth) ** 2).mean() / (self.truth**2).mean())


def coverage(case, budget, seeds):
    """Error, share of values inside 1.96 standard errors, and estimated over true variance; None where the values are exact."""
    errors, inside, claimed = [], [], []
    for seed in range(seeds):
        e = case.explain(len(ROWS) * budget + BESIDE, seed)
        if e.std_error is None:
            return None
        errors.append(case.error(e.values))
        inside.append(np.abs(e.values - case.truth) <= 1.96 * e.std_error)
        claimed.append((e.std_error**2).mean() / (case.truth**2).mean())
    return np.mean(errors), np.mean(inside), np.mean(claimed) / np.mean(errors)


def of_shap(case, budget, rows):
    """Error of shap's PartitionExplainer with so many background rows."""
    import shap

    masker = shap.maskers.Partition(case.background, clustering=case.linkage, max_samples=rows)
    explainer = shap.explainers.Partition(case.output, masker)
    return case.error(explainer(case.rows, max_evals=max(budget // rows, 4), silent=True, fixed_context=None).values)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--peers", action="store_true", help="compare with shap")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    peers = " shap, 25 rows | shap, 100 rows |" if options.peers else ""
    print(f"| model | predictions a row | error | coverage | claimed variance |{peers}")
    print("|---|---:|---:|---:|---:|" + "---:|---:|" * options.peers)
    for name, (loader, model) in CASES.items():
        case = Case(loader, model)
        for budget in BUDGETS:
            found = coverage(case, budget, options.seeds)
            ours = "exact | | |" if found is None else f"{found[0]:.2g} | {100 * found[1]:.1f} % | {found[2]:.2f} |"
            others = [f" {of_shap(case, budget, rows):.2g} |" for rows in (25, 100)] if options.peers else []
            print(f"| {name} | {budget:,} | {ours}{''.join(others)}", flush=True)


if __name__ == "__main__":
    main()
