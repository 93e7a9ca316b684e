"""Importance: tests that hold their level, standard errors, the error of drawn donors and of drawn coalitions, and the time that exact permutation importance takes.

    python benchmarks/importance.py                  all parts, as Markdown tables
    python benchmarks/importance.py --part tests     one of: tests, worth, discoveries, errors, donors, surrogate, sage, time
    python benchmarks/importance.py --tables 80      tables of the tests

Tests: 500 rows of training and 500 held out, 8 columns in pairs of correlation 0.8; the first of two pairs have the coefficients 1 and 0.8, all others are
nulls. Counted is how often a p-value is below 0.05. hidimstat is asked on the same tables where it is installed, with its default tests.
Worth: the same tables, a forest. Whether a null that drop_column calls important is worth something to this forest is measured on 40,000 fresh rows: its loss
trained without the column less its loss. Of conditional a null is worth exactly nothing where new values come from the true law; its test is run with such too.
Discoveries: 10 columns in pairs of a correlation, two of them with influence; what q-values of at most 0.1 call important.
Errors: standard errors against the spread of the values over disjoint samples, and how often the intervals hold the mean of all samples.
Donors: squared error of the values against those over all pairs of rows, at the same number of rows given to the model.
Surrogate: which share of the squared error of a value comes from drawn donors, by the spread over seeds, for models that are no trees; and how much of the
donors' variance a gradient boosting, cross-fitted over rows on the rows asked anyway, explains (the better of one of predictions and one of losses).
Sage: squared error of the values against those over all coalitions, at the same number of rows given to the model, and how often 1.96 standard errors of
coalitions hold the exact value; sage-importance is asked with the same rows and background where it is installed.
Time: CPU seconds of this process, one thread, 20,000 rows and 20 features, 200 trees, or a forest of 100 grown to purity. The call includes reading the
model and comparing it with its own predict, the median of three calls; the kernel alone is the sums over all pairs of rows.
"""

from __future__ import annotations

import os
import sys

if "--help" not in sys.argv:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

import argparse
import warnings
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np

import whybox as wb
from importance_surrogate import surrogate  # beside this file, as is
from trees import cpu, show

warnings.filterwarnings("ignore")
SIGNALS, FOLLOWERS = (0, 2), (1, 3)
NULLS = (1, 3, 4, 5, 6, 7)
PARTS = ("tests", "worth", "discoveries", "errors", "donors", "surrogate", "sage", "time")


def table(draw, n):
    """Rows in pairs of correlation 0.8, and the truth."""
    first = draw.normal(size=(n, 4))
    X = np.empty((n, 8))
    X[:, 0::2], X[:, 1::2] = first, 0.8 * first + 0.6 * draw.normal(size=(n, 4))
    return X, X[:, 0] + 0.8 * X[:, 2] + draw.normal(size=n)


def table_of(head, lines):
    """Print a Markdown table."""
    show([head, ["---"] * len(head), *([str(cell) for cell in line] for line in lines)])


def tested(model, train, held_out, seed):
    """Name -> p-values of the columns."""
    out = {}
    for method, more in (("conditional", {"seed": seed}), ("drop_column", {"train": train})):
        e = wb.importance(model, *held_out, method=method, **more)
        out[f"whybox, {method}"] = e.extras["p_value"][1]
    if find_spec("hidimstat"):
        from hidimstat import CFI, LOCO, PFI
        from sklearn.base import clone

        for peer, more in ((PFI, {"random_state": seed}), (CFI, {"random_state": seed}), (LOCO, {})):
            asked = peer(clone(model).fit(*train), **more)
            asked.fit(*train)
            asked.importance(*held_out)
            out[f"hidimstat {version('hidimstat')}, {peer.__name__}"] = asked.pvalues_
    return out


def tests(tables):
    """How often nulls and signals are called important."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import LinearRegression

    lines = []
    for name, make in (
        ("linear", lambda seed: LinearRegression()),
        ("forest of 40", lambda seed: RandomForestRegressor(40, min_samples_leaf=3, random_state=seed)),
    ):
        counts = {}
        for seed in range(tables):
            draw = np.random.default_rng(1000 + seed)
            train, held_out = table(draw, 500), table(draw, 500)
            for who, p in tested(make(seed).fit(*train), train, held_out, seed).items():
                counts.setdefault(who, []).append(np.asarray(p) < 0.05)
        for who, found in counts.items():
            share = np.mean(found, axis=0)
            others = [i for i in range(8) if i not in (*SIGNALS, *FOLLOWERS)]
            nulls = (*FOLLOWERS, *others)
            cells = (share[list(c)].mean() for c in (SIGNALS, FOLLOWERS, others, nulls))
            lines.append([name, who, *(f"{100 * cell:.1f} %" for cell in cells)])
    table_of(["model", "who", "signals", "nulls that follow a signal", "other nulls", "all nulls"], lines)


def worth(tables, fresh=40_000):
    """How often nulls are called important that are worth something to a forest, and that are not."""
    from scipy.stats import ttest_1samp
    from sklearn.base import clone
    from sklearn.ensemble import RandomForestRegressor

    found = {
        name: [] for name in ("called by drop_column", "drop", "called by conditional", "called with the true law")
    }
    for seed in range(tables):
        draw, refits = np.random.default_rng(1000 + seed), []
        train, held_out, (X, y) = table(draw, 500), table(draw, 500), table(np.random.default_rng(77_000 + seed), fresh)
        forest = RandomForestRegressor(40, min_samples_leaf=3, random_state=seed).fit(*train)

        def fit(rows, truth, forest=forest, refits=refits):
            refits.append(clone(forest).fit(rows, truth))
            return refits[-1]

        dropped = wb.importance(forest, *held_out, method="drop_column", train=train, fit=fit)
        conditional = wb.importance(forest, *held_out, method="conditional", seed=seed)
        found["called by drop_column"].append(dropped.extras["p_value"][1][list(NULLS)] < 0.05)
        found["called by conditional"].append(conditional.extras["p_value"][1][list(NULLS)] < 0.05)
        loss = ((forest.predict(X) - y) ** 2).mean()
        found["drop"].append([((refits[j].predict(np.delete(X, j, 1)) - y) ** 2).mean() - loss for j in NULLS])
        p = [ttest_1samp(true_law(forest, held_out, j, draw), 0.0, alternative="greater").pvalue for j in NULLS]
        found["called with the true law"].append(np.array(p) < 0.05)
    found = {name: np.concatenate(some) for name, some in found.items()}
    helps = found["drop"] > 0
    every = np.ones(len(helps), dtype=bool)
    lines = [
        ["drop_column", "all nulls", *share(found["called by drop_column"], every)],
        ["drop_column", "nulls that help the forest", *share(found["called by drop_column"], helps)],
        ["drop_column", "nulls that do not", *share(found["called by drop_column"], ~helps)],
        ["conditional", "all nulls, which are worth nothing", *share(found["called by conditional"], every)],
        [
            "the same test, the true law",
            "all nulls, which are worth nothing",
            *share(found["called with the true law"], every),
        ],
    ]
    table_of(["method", "among", "columns", "p below 0.05", "standard error"], lines)


def true_law(model, rows, column, draw, draws=20):
    """What each row loses more where a column is drawn given the others: a partner of correlation 0.8 is all that tells."""
    X, y = rows
    own, more = (model.predict(X) - y) ** 2, np.zeros(len(X))
    for _ in range(draws):
        changed = X.copy()
        changed[:, column] = 0.8 * X[:, column ^ 1] + 0.6 * draw.normal(size=len(X))
        more += ((model.predict(changed) - y) ** 2 - own) / draws
    return more


def share(called, among):
    """How many, the share that is called, and its standard error."""
    rate, count = called[among].mean(), int(among.sum())
    return f"{count}", f"{100 * rate:.1f} %", f"{100 * np.sqrt(rate * (1 - rate) / count):.1f}"


def discoveries(tables):
    """The share of nulls among what q-values call important, and of signals that are found."""
    from sklearn.linear_model import LinearRegression

    lines = []
    for correlation in (0.0, 0.8):
        for method in ("conditional", "drop_column"):
            false, found = [], []
            for seed in range(tables):
                draw = np.random.default_rng(5000 + seed)
                samples = []
                for _ in range(2):
                    first = draw.normal(size=(300, 5))
                    other = correlation * first + np.sqrt(1 - correlation**2) * draw.normal(size=(300, 5))
                    truth = 0.5 * first[:, 0] + 0.4 * first[:, 1] + draw.normal(size=300)
                    samples.append((np.column_stack([first, other]), truth))
                train, held_out = samples
                more = {"train": train} if method == "drop_column" else {"spot_checks": 0}
                e = wb.importance(LinearRegression().fit(*train), *held_out, method=method, **more)
                called = e.extras["q_value"][1] <= 0.1
                false.append(called[2:].sum() / max(called.sum(), 1))
                found.append(called[:2].mean())
            lines.append([correlation, method, f"{100 * np.mean(false):.1f} %", f"{100 * np.mean(found):.1f} %"])
    table_of(["correlation in pairs", "method", "nulls among the called", "signals called"], lines)


def errors(tables):
    """Standard errors over the spread, and the cover of intervals."""
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import LinearRegression

    def sample(draw, n):
        X = draw.normal(size=(n, 4))
        X[:, 1] = 0.7 * X[:, 0] + np.sqrt(0.51) * X[:, 1]
        return X, X[:, 0] + 0.5 * X[:, 1] ** 2 + 0.4 * X[:, 2] + draw.normal(size=n)

    X, y = sample(np.random.default_rng(0), 1500)
    trees, linear = HistGradientBoostingRegressor(max_iter=40, max_leaf_nodes=8).fit(X, y), LinearRegression().fit(X, y)

    def forest_of(Z, t, seed):
        forest = RandomForestRegressor(40, min_samples_leaf=3, random_state=seed).fit(Z, t)
        return wb.importance(forest, train=(Z, t), method="unbiased_impurity")

    loss = {"spot_checks": 0, "role": "held-out"}
    calls = {
        "permutation of trees": lambda Z, t, seed: wb.importance(trees, Z, t, **loss),
        "permutation of a black box": lambda Z, t, seed: wb.importance(trees.predict, Z, t, seed=seed, **loss),
        "conditional": lambda Z, t, seed: wb.importance(trees, Z, t, method="conditional", seed=seed, **loss),
        "drop_column": lambda Z, t, seed: wb.importance(linear, Z, t, method="drop_column", train=(X, y), **loss),
        "shap": lambda Z, t, seed: wb.importance(trees, Z, spot_checks=0),
        "pdp": lambda Z, t, seed: wb.importance(trees, Z, method="pdp", spot_checks=0),
        "unbiased_impurity": forest_of,
    }
    lines = []
    for name, call in calls.items():
        draw, found = np.random.default_rng(1), []
        for seed in range(tables):
            Z, t = sample(draw, 150)
            found.append(call(Z, t, seed))
        values, error = np.array([e.values for e in found]), np.array([e.std_error for e in found])
        ratio = np.sqrt((error**2).mean(axis=0)) / values.std(axis=0, ddof=1)
        low, high = (np.array([e.interval[k] for e in found]) for k in (0, 1))
        cover = ((low <= values.mean(axis=0)) & (values.mean(axis=0) <= high)).mean(axis=0)
        lines.append([name, *(f"{r:.2f}, {100 * c:.0f} %" for r, c in zip(ratio, cover, strict=True))])
    table_of(["method", "strong", "quadratic", "weak", "noise"], lines)


def donors(repeats=60):
    """Squared error of drawn donors and of shuffles, at the same model rows."""
    from sklearn.inspection import permutation_importance
    from sklearn.linear_model import LinearRegression

    draw = np.random.default_rng(0)
    n, rounds = 400, 5
    X = draw.normal(size=(n, 4))
    y = X @ [2.0, 1.0, 0.5, 0.0] + X[:, 0] * X[:, 1] + draw.normal(size=n)
    model = LinearRegression().fit(X, y)
    exact = wb.importance(model, X, y, max_evals=10**7).values
    errors = {"whybox": [], f"scikit-learn {version('scikit-learn')}, {rounds} repeats": []}
    asked = 24 + 64 + 48 + n + 4 * n * rounds  # the checks of a black box, the rows, the rounds
    for seed in range(repeats):
        e = wb.importance(model, X, y, max_evals=asked, seed=seed, spot_checks=0)
        found = permutation_importance(
            model, X, y, scoring="neg_mean_squared_error", n_repeats=rounds, random_state=seed
        )
        for values, who in zip((e.values, found.importances_mean * n / (n - 1)), errors, strict=True):
            errors[who].append((values - exact)[:3] ** 2)
    mean = {who: np.mean(found, axis=0) for who, found in errors.items()}
    theirs = list(mean.values())[1]
    table_of(
        ["who", "feature 0", "feature 1", "feature 2", "theirs over ours"],
        [
            [who, *(f"{v:.2g}" for v in values), ", ".join(f"{r:.1f}" for r in theirs / values)]
            for who, values in mean.items()
        ],
    )


class Counted:
    """A model's predictions, and how many rows they were asked for."""

    def __init__(self, function):
        self.function, self.rows = function, 0

    def __call__(self, rows):
        self.rows += len(rows)
        return self.function(rows)


def sage(repeats=10):
    """Squared error of Shapley values of the loss, at the same model rows."""
    import xgboost

    draw = np.random.default_rng(0)
    X = draw.normal(size=(2000, 10))
    y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + X[:, 3:7].sum(axis=1) * (X[:, 7] > 0) + draw.normal(size=2000)
    model = xgboost.XGBRegressor(n_estimators=200, max_depth=5, n_jobs=1).fit(X, y)
    rows, truth, background = X[:128], y[:128], X[1000:1016]
    options = {"method": "sage", "background": background, "spot_checks": 0}
    exact = wb.importance(model, rows, truth, max_evals=10**7, **options)
    lines = []
    for budget in (200_000, 400_000):
        for who, estimate in sage_estimates(model, rows, truth, options).items():
            found = [estimate(budget, seed) for seed in range(repeats)]
            values, errors, asked = (np.array([f[k] for f in found]) for k in range(3))
            off = values - exact.values
            error = (off**2).sum(axis=1).mean() / (exact.values**2).sum()
            held = np.mean(np.abs(off) <= 1.96 * errors)
            lines.append([who, f"{asked.mean():,.0f}", f"{error:.1e}", f"{100 * held:.0f} %"])
    table_of(
        ["who", "rows given to the model", "squared error over that of the values", "1.96 errors hold the value"], lines
    )


def sage_estimates(model, rows, truth, options):
    """Name -> (budget, seed) -> values, errors, rows given to the model."""

    def ours(budget, seed):
        counted = Counted(model.predict)
        e = wb.importance(counted, rows, truth, max_evals=budget, tol=1e-9, seed=seed, **options)
        return e.values, e.extras["monte_carlo_error"][1], counted.rows

    out = {"whybox": ours}
    if find_spec("sage"):
        import sage as peer

        def theirs(kind, batch, amount):
            def estimate(budget, seed):
                counted = Counted(model.predict)
                imputer = peer.MarginalImputer(counted, options["background"])
                found = kind(imputer, "mse", random_state=seed)(
                    rows, truth, batch_size=batch, detect_convergence=False, bar=False, **amount(budget)
                )
                return found.values, found.std, counted.rows

            return estimate

        name, behind, width = f"sage-importance {version('sage-importance')}", len(options["background"]), rows.shape[1]
        each = behind * (width + 1)  # rows that a permutation takes; the kernel's samples are pairs
        out[f"{name}, permutations"] = theirs(
            peer.PermutationEstimator, 50, lambda budget: {"n_permutations": budget // each}
        )
        out[f"{name}, kernel"] = theirs(peer.KernelEstimator, 100, lambda budget: {"n_samples": budget // (2 * behind)})
    return out


def time():
    """The call, its kernel alone, and scikit-learn's."""
    import lightgbm
    import xgboost
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.inspection import permutation_importance

    draw = np.random.default_rng(0)
    X = draw.normal(size=(20_000, 20))
    y = X[:, 0] * X[:, 1] + X[:, 2:6].sum(axis=1) + draw.normal(size=len(X))
    lines = []
    for model, truth, loss, scoring in (
        (lightgbm.LGBMRegressor(n_estimators=200, n_jobs=1, verbose=-1), y, "squared", "neg_mean_squared_error"),
        (HistGradientBoostingRegressor(max_iter=200), y, "squared", "neg_mean_squared_error"),
        (xgboost.XGBRegressor(n_estimators=200, max_depth=6, n_jobs=1), y, "squared", "neg_mean_squared_error"),
        (lightgbm.LGBMClassifier(n_estimators=200, n_jobs=1, verbose=-1), y > 0, "log", "neg_log_loss"),
        (RandomForestRegressor(100, random_state=0), y, "squared", "neg_mean_squared_error"),
    ):
        model.fit(X, truth)
        wb.importance(model, X[:2000], truth[:2000])  # so that no module is imported while time is taken
        calls = [cpu(lambda model=model, truth=truth: wb.importance(model, X, truth, n_jobs=1)) for _ in range(3)]
        ours, e = sorted(calls, key=lambda call: call[0])[1]
        alone = kernel_alone(model, X, truth)
        theirs, _ = cpu(
            lambda model=model, truth=truth, scoring=scoring: permutation_importance(
                model, X, truth, scoring=scoring, n_repeats=5, random_state=0, n_jobs=1
            )
        )
        name = type(model).__name__
        cells = (f"{s:.2f} s" for s in (ours, alone, theirs))
        lines.append([name, loss, e.evidence.exact, *cells, f"{theirs / ours:.1f}", f"{theirs / alone:.0f}"])
    who = f"scikit-learn {version('scikit-learn')}, 5 repeats"
    table_of(
        ["model", "loss", "exact", "whybox, the call", "its kernel", who, "ratio: call", "kernel"],
        lines,
    )


def kernel_alone(model, X, y):
    """CPU seconds of the sums over all pairs."""
    from whybox.api.importance import _make_problem
    from whybox.methods.importance.loss_problem import resolve_loss_problem
    from whybox.methods.importance.options import ImportanceOptions
    from whybox.methods.importance.permutation_of_trees import tree_pairs
    from whybox.methods.importance.spot_checks import PermutationChecks

    problem = resolve_loss_problem(_make_problem(model, X, y, ImportanceOptions(method="permutation", n_jobs=1)))
    trees, checks = tree_pairs(problem), PermutationChecks(problem)
    return cpu(lambda: trees.pair_differences(problem, checks))[0]


def main():
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--tables", type=int, default=80)
    options = parser.parse_args()
    for part in options.part or PARTS:
        print(f"\n{part}\n")
        {
            "tests": lambda: tests(options.tables),
            "worth": lambda: worth(options.tables),
            "discoveries": lambda: discoveries(options.tables),
            "errors": lambda: errors(options.tables),
            "donors": donors,
            "surrogate": lambda: table_of(*surrogate()),
            "sage": sage,
            "time": time,
        }[part]()


if __name__ == "__main__":
    main()
