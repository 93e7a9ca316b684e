"""Permutation importance of models that are no trees: would a tree surrogate pay as a control variate? A part of importance.py.

Donors' share: the variance of a value over seeds, over its reported squared error, both added up over features. What a surrogate explains: a gradient boosting is
trained, cross-fitted over rows, on the rows that are asked anyway; its share of the variance of losses over the donors of a row, the better of one of
predictions and one of losses. The standard error would be smaller by that share of that share.
"""

from __future__ import annotations

import numpy as np

import whybox as wb


def other_models():
    """Table, name, model, rows and truth."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.svm import SVR

    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    words = X.assign(sex=X["sex"].map({1.0: "a", 2.0: "b"}), age=pd.cut(X["age"], 6).astype(str))
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["sex", "age"]), remainder=StandardScaler()
    )
    kernel, scale = RBF(3.0) + WhiteKernel(1.0), StandardScaler()
    network = {"max_iter": 400, "random_state": 0}
    yield "diabetes", "network", scale, MLPRegressor(hidden_layer_sizes=(20,), **network), X, y
    yield "diabetes", "support vectors", scale, SVR(C=50), X, y
    yield "diabetes", "Gaussian process", scale, GaussianProcessRegressor(kernel, normalize_y=True), X, y
    yield "diabetes", "logistic, one-hot", columns, LogisticRegression(), words, y > 140
    for name, load in (("breast cancer", load_breast_cancer), ("digits", load_digits)):
        yield (
            name,
            "network",
            scale,
            MLPClassifier(hidden_layer_sizes=(20,), **network),
            *load(return_X_y=True, as_frame=True),
        )
    yield "wine", "15 neighbours", scale, KNeighborsClassifier(15), *load_wine(return_X_y=True, as_frame=True)


def surrogate(repeats=12):
    """The share of a value's squared error that donors have, and what a surrogate would take off it."""
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline

    lines = []
    for name, kind, steps, learner, X, y in other_models():
        X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
        model = make_pipeline(steps, learner).fit(X_train, y_train)
        method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
        rows, features = X_test.shape
        by_default = min(200 // features, rows - 1)
        for rounds in dict.fromkeys((by_default, 5)):
            found = [
                wb.importance(
                    model, X_test, y_test, seed=seed, tol=1e-9, max_evals=rows * (1 + rounds * features) + 400,
                    response_method=method, role="held-out", spot_checks=0,
                )
                for seed in range(repeats)
            ]  # fmt: skip
            errors = np.mean([e.std_error**2 for e in found], axis=0).sum()
            of_donors = np.var([e.values for e in found], axis=0, ddof=1).sum() / errors
            explained = explained_by_surrogate(model, method, X_test, np.asarray(y_test), rounds)
            less = 1 - np.sqrt(1 - of_donors * max(explained, 0.0))
            cells = (f"{100 * number:.1f} %" for number in (of_donors, explained, less))
            lines.append([name, kind, rows, features, rounds, *cells])
    head = ["table", "model", "rows", "features", "rounds", "donors' share", "of it explained", "error smaller by"]
    return head, lines


def explained_by_surrogate(model, method, X, y, rounds):
    """The share of the variance within rows of losses with other rows' values that cross-fitted boosting explains."""
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingRegressor

    draw, rows = np.random.default_rng(0), np.arange(len(X))
    of_classes = method == "predict_proba"
    truth = np.searchsorted(model.classes_, y) if of_classes else y

    def compared(table, which):
        predictions = getattr(model, method)(table)
        return predictions[np.arange(len(table)), truth[which]] if of_classes else predictions

    def losses(predictions, which):
        return -np.log(np.clip(predictions, 1e-3, 1.0)) if of_classes else (predictions - truth[which]) ** 2

    row, feature = np.tile(rows, rounds * X.shape[1]), np.repeat(np.arange(X.shape[1]), rounds * len(X))
    tables = [
        X.assign(**{column: X[column].to_numpy()[draw.permutation(len(X))]})
        for column in X.columns
        for _ in range(rounds)
    ]
    changed = pd.concat(tables, ignore_index=True)
    own, predictions = compared(X, rows), compared(changed, row)
    differences = losses(predictions, row) - losses(own, rows)[row]
    numbers = changed.apply(lambda c: c if c.dtype.kind in "if" else pd.factorize(c, sort=True)[0])
    numbers = np.column_stack([numbers, truth[row], feature])
    fold, left = draw.permutation(len(X)) % 5, []
    for target, of_target in ((predictions, losses), (differences, lambda d, _: d)):
        fitted = np.zeros(len(row))
        for k in range(5):
            out = fold[row] == k
            fitted[out] = (
                HistGradientBoostingRegressor(random_state=0).fit(numbers[~out], target[~out]).predict(numbers[out])
            )
        left.append(within_rows(differences - of_target(fitted, row), X.shape, rounds))
    return 1 - min(left) / within_rows(differences, X.shape, rounds)


def within_rows(differences, shape, rounds):
    """The variance over the donors of a row, added up over rows and features."""
    return differences.reshape(shape[1], rounds, shape[0]).var(axis=1).sum()
