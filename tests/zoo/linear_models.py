"""scikit-learn's linear models, and additive models of interpret."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.base import X, binary, categories, holes, simple, three, two, y


def register() -> None:
    _register_linear()
    _register_additive()


def _register_linear() -> None:
    from sklearn import linear_model as m
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import BaggingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler
    from sklearn.svm import SVC, LinearSVC

    def add(name: str, make: Any, **more: Any) -> None:
        simple(name, "scikit-learn", make, no_path=True, **more)

    labels = lambda: np.array(["low", "high"])[binary()]
    scaled = lambda last: make_pipeline(StandardScaler(), last)
    add("LinearRegression, several outputs", m.LinearRegression, target=two)
    add("PoissonRegressor", lambda: m.PoissonRegressor(alpha=1.0, max_iter=1000), target=lambda: y() / 100)
    add(
        "BaggingRegressor of linear models, some features each",
        lambda: BaggingRegressor(m.Ridge(), n_estimators=4, max_features=0.6, random_state=0),
    )
    add("LogisticRegression, text classes", lambda: m.LogisticRegression(max_iter=1000), target=labels)
    add("LogisticRegression, 3 classes", lambda: m.LogisticRegression(max_iter=1000), target=three)
    add(
        "SGDClassifier, log loss, 3 classes",
        lambda: m.SGDClassifier(loss="log_loss", max_iter=20, random_state=0),
        rows=lambda: (X() - X().mean()) / X().std(),
        target=three,
    )
    add("LinearSVC, 3 classes", lambda: scaled(LinearSVC(random_state=0)), target=three)
    add("SVC, linear kernel", lambda: scaled(SVC(kernel="linear")), target=labels)
    one_hot = lambda: ColumnTransformer(
        [("cat", OneHotEncoder(handle_unknown="ignore"), ["age"])], remainder=StandardScaler()
    )
    add(
        "Pipeline, one-hot and logistic regression",
        lambda: make_pipeline(one_hot(), m.LogisticRegression(max_iter=1000)),
        rows=lambda: categories(kind="text"),
        target=binary,
    )
    add("Pipeline, splines and a linear model", lambda: make_pipeline(SplineTransformer(4), m.Ridge(1e-3)))


def _register_additive() -> None:
    from interpret.glassbox import ExplainableBoostingClassifier, ExplainableBoostingRegressor

    few = {"max_rounds": 30, "outer_bags": 1, "n_jobs": 1, "random_state": 0, "max_bins": 32}

    def add(name: str, make: Any, **more: Any) -> None:
        simple(name, "interpret", make, no_path=True, **more)

    add(
        "ExplainableBoostingRegressor, pairs, missing values",
        lambda: ExplainableBoostingRegressor(interactions=3, **few),
        rows=holes,
    )
    add(
        "ExplainableBoostingClassifier, pairs, categories",
        lambda: ExplainableBoostingClassifier(interactions=2, **few),
        rows=lambda: categories(kind="text"),
        target=binary,
    )
    add(
        "ExplainableBoostingClassifier, 3 classes",
        lambda: ExplainableBoostingClassifier(interactions=0, **few),
        target=three,
    )
