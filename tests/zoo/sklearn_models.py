"""scikit-learn's kinds of models."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.base import X, binary, categories, holes, simple, three, two, y


def register() -> None:
    from sklearn import ensemble as e
    from sklearn import tree as t
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.decomposition import PCA
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
    from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor, RegressorChain
    from sklearn.pipeline import FeatureUnion, make_pipeline
    from sklearn.preprocessing import (
        KBinsDiscretizer,
        OneHotEncoder,
        OrdinalEncoder,
        PolynomialFeatures,
        StandardScaler,
        TargetEncoder,
    )

    s = "scikit-learn"
    few = {"n_estimators": 12, "max_depth": 4, "random_state": 0}
    labels = lambda: np.array(["low", "high"])[binary()]
    both = lambda: np.column_stack([binary(), three()])
    weights = lambda: {"sample_weight": np.random.default_rng(0).integers(0, 4, len(y()))}
    simple("DecisionTreeRegressor", s, lambda: t.DecisionTreeRegressor(max_depth=5, random_state=0))
    simple(
        "DecisionTreeRegressor, grown to purity, sample weights with zeros",
        s,
        lambda: t.DecisionTreeRegressor(random_state=0),
        fit=weights,
    )
    simple(
        "DecisionTreeRegressor, absolute error, missing values",
        s,
        lambda: t.DecisionTreeRegressor(criterion="absolute_error", max_depth=4),
        rows=holes,
    )
    simple(
        "DecisionTreeRegressor, monotonic constraints",
        s,
        lambda: t.DecisionTreeRegressor(max_depth=4, monotonic_cst=[0, 0, 1, 0, 1]),
    )
    simple("DecisionTreeRegressor, several outputs", s, lambda: t.DecisionTreeRegressor(max_depth=4), target=two)
    simple("DecisionTreeClassifier, text classes", s, lambda: t.DecisionTreeClassifier(max_depth=4), target=labels)
    simple(
        "DecisionTreeClassifier, 3 classes, class weights",
        s,
        lambda: t.DecisionTreeClassifier(max_depth=4, class_weight="balanced"),
        target=three,
    )
    simple("DecisionTreeClassifier, several outputs", s, lambda: t.DecisionTreeClassifier(max_depth=4), target=both)
    simple("ExtraTreeRegressor", s, lambda: t.ExtraTreeRegressor(max_depth=5, random_state=0))
    simple(
        "ExtraTreeClassifier, missing values",
        s,
        lambda: t.ExtraTreeClassifier(max_depth=5, random_state=0),
        rows=holes,
        target=three,
    )
    simple("RandomForestRegressor", s, lambda: e.RandomForestRegressor(**few))
    simple("RandomForestRegressor, missing values", s, lambda: e.RandomForestRegressor(**few), rows=holes)
    simple(
        "RandomForestRegressor, poisson, several outputs",
        s,
        lambda: e.RandomForestRegressor(criterion="poisson", **few),
        target=two,
    )
    simple("RandomForestClassifier", s, lambda: e.RandomForestClassifier(**few), target=binary)
    simple(
        "RandomForestClassifier, 3 classes, sample weights",
        s,
        lambda: e.RandomForestClassifier(**few),
        target=three,
        fit=weights,
    )
    simple("RandomForestClassifier, several outputs", s, lambda: e.RandomForestClassifier(**few), target=both)
    simple("ExtraTreesRegressor", s, lambda: e.ExtraTreesRegressor(**few))
    simple(
        "ExtraTreesClassifier, 3 classes, missing values",
        s,
        lambda: e.ExtraTreesClassifier(**few),
        rows=holes,
        target=three,
    )
    for loss in ("squared_error", "absolute_error", "huber", "quantile"):
        simple(
            f"GradientBoostingRegressor, {loss}",
            s,
            lambda loss=loss: e.GradientBoostingRegressor(loss=loss, n_estimators=15, random_state=0),
        )
    simple(
        "GradientBoostingRegressor, init zero, early stopping",
        s,
        lambda: e.GradientBoostingRegressor(init="zero", n_iter_no_change=2, n_estimators=30, random_state=0),
    )
    simple(
        "GradientBoostingRegressor, constant init",
        s,
        lambda: e.GradientBoostingRegressor(init=DummyRegressor(strategy="constant", constant=100.0), n_estimators=10),
    )
    simple(
        "GradientBoostingRegressor, init is a model",
        s,
        lambda: e.GradientBoostingRegressor(init=LinearRegression(), n_estimators=5),
        verdict="init is a model of the features",
    )
    simple(
        "GradientBoostingClassifier",
        s,
        lambda: e.GradientBoostingClassifier(n_estimators=15, random_state=0),
        target=labels,
    )
    simple(
        "GradientBoostingClassifier, exponential",
        s,
        lambda: e.GradientBoostingClassifier(loss="exponential", n_estimators=15),
        target=binary,
    )
    simple(
        "GradientBoostingClassifier, 3 classes",
        s,
        lambda: e.GradientBoostingClassifier(n_estimators=8, random_state=0),
        target=three,
    )
    simple(
        "GradientBoostingClassifier, prior init",
        s,
        lambda: e.GradientBoostingClassifier(init=DummyClassifier(strategy="prior"), n_estimators=8),
        target=binary,
    )
    for loss in ("squared_error", "absolute_error", "poisson", "gamma", "quantile"):
        more = {"quantile": 0.7} if loss == "quantile" else {}
        simple(
            f"HistGradientBoostingRegressor, {loss}",
            s,
            lambda loss=loss, more=more: e.HistGradientBoostingRegressor(loss=loss, max_iter=15, **more),
        )
    simple(
        "HistGradientBoostingRegressor, missing values",
        s,
        lambda: e.HistGradientBoostingRegressor(max_iter=15),
        rows=holes,
    )
    simple(
        "HistGradientBoostingRegressor, categories by dtype",
        s,
        lambda: e.HistGradientBoostingRegressor(max_iter=15),
        rows=categories,
    )
    simple(
        "HistGradientBoostingRegressor, categories of numbers in the middle",
        s,
        lambda: e.HistGradientBoostingRegressor(max_iter=15, categorical_features=[1, 3]),
        rows=lambda: X().assign(bp=lambda d: d.bp // 2).astype(float).to_numpy(),
    )
    simple(
        "HistGradientBoostingClassifier, categories",
        s,
        lambda: e.HistGradientBoostingClassifier(max_iter=10),
        rows=categories,
        target=labels,
    )
    simple(
        "HistGradientBoostingClassifier, 3 classes, early stopping",
        s,
        lambda: e.HistGradientBoostingClassifier(max_iter=20, early_stopping=True, n_iter_no_change=2),
        target=three,
    )
    simple("IsolationForest", s, lambda: e.IsolationForest(n_estimators=15, random_state=0))
    simple(
        "IsolationForest, some features a tree",
        s,
        lambda: e.IsolationForest(n_estimators=15, max_features=0.6, random_state=0),
    )
    simple("AdaBoostClassifier", s, lambda: e.AdaBoostClassifier(n_estimators=10, random_state=0), target=binary)
    simple(
        "AdaBoostClassifier, 3 classes, deeper trees",
        s,
        lambda: e.AdaBoostClassifier(t.DecisionTreeClassifier(max_depth=2), n_estimators=6, random_state=0),
        target=three,
    )
    simple(
        "AdaBoostClassifier of linear models",
        s,
        lambda: e.AdaBoostClassifier(_logistic(), n_estimators=3),
        target=binary,
        verdict="only votes of trees",
    )
    simple("AdaBoostRegressor", s, lambda: e.AdaBoostRegressor(n_estimators=5), verdict="weighted median of trees")
    simple(
        "BaggingRegressor, some features a tree",
        s,
        lambda: e.BaggingRegressor(n_estimators=6, max_features=0.6, random_state=0),
    )
    simple(
        "BaggingClassifier of forests, 3 classes",
        s,
        lambda: e.BaggingClassifier(e.RandomForestClassifier(4, max_depth=3), n_estimators=4, random_state=0),
        target=three,
    )
    simple(
        "BaggingRegressor of boosting",
        s,
        lambda: e.BaggingRegressor(e.HistGradientBoostingRegressor(max_iter=4), n_estimators=3, random_state=0),
        rows=holes,
    )
    simple(
        "BaggingClassifier of boosting",
        s,
        lambda: e.BaggingClassifier(e.GradientBoostingClassifier(n_estimators=3), n_estimators=3),
        target=binary,
        verdict="average of probabilities behind a link",
    )
    forest, extra = (
        ("a", e.RandomForestClassifier(4, max_depth=3, random_state=0)),
        ("b", e.ExtraTreesClassifier(4, max_depth=3, random_state=0)),
    )
    simple(
        "VotingClassifier, soft, weights",
        s,
        lambda: e.VotingClassifier([forest, extra], voting="soft", weights=[1, 3]),
        target=three,
    )
    simple(
        "VotingClassifier, hard",
        s,
        lambda: e.VotingClassifier([forest, extra]),
        target=three,
        verdict="majority of labels",
    )
    simple(
        "VotingRegressor of a forest and boosting",
        s,
        lambda: e.VotingRegressor(
            [("a", e.RandomForestRegressor(**few)), ("b", e.HistGradientBoostingRegressor(max_iter=8))], weights=[2, 1]
        ),
    )
    simple(
        "StackingRegressor",
        s,
        lambda: e.StackingRegressor([("a", e.RandomForestRegressor(3))], cv=2),
        verdict="final estimator on predictions",
    )
    simple(
        "MultiOutputRegressor", s, lambda: MultiOutputRegressor(e.GradientBoostingRegressor(n_estimators=6)), target=two
    )
    simple(
        "MultiOutputClassifier of forests",
        s,
        lambda: MultiOutputClassifier(e.RandomForestClassifier(4, max_depth=3)),
        target=both,
    )
    simple(
        "RegressorChain",
        s,
        lambda: RegressorChain(e.RandomForestRegressor(3)),
        target=two,
        verdict="members read other members",
    )
    simple(
        "GridSearchCV",
        s,
        lambda: GridSearchCV(e.RandomForestRegressor(n_estimators=5, random_state=0), {"max_depth": [2, 3]}, cv=2),
    )
    simple(
        "RandomizedSearchCV of a Pipeline",
        s,
        lambda: RandomizedSearchCV(
            make_pipeline(StandardScaler(), e.GradientBoostingClassifier(n_estimators=5)),
            {"gradientboostingclassifier__max_depth": [2]},
            n_iter=1,
            cv=2,
        ),
        target=labels,
    )
    simple(
        "TransformedTargetRegressor",
        s,
        lambda: TransformedTargetRegressor(e.RandomForestRegressor(**few), func=np.log1p, inverse_func=np.expm1),
    )
    one_hot = lambda: ColumnTransformer(
        [("cat", OneHotEncoder(handle_unknown="ignore"), ["age"]), ("ord", OrdinalEncoder(), ["bp"])],
        remainder="passthrough",
    )
    simple(
        "Pipeline, one-hot and ordinal",
        s,
        lambda: make_pipeline(one_hot(), e.RandomForestRegressor(**few)),
        rows=lambda: categories(kind="text"),
    )
    simple(
        "Pipeline, target encoding, 3 classes",
        s,
        lambda: make_pipeline(
            ColumnTransformer([("t", TargetEncoder(cv=2), ["age", "bp"])], remainder="passthrough"),
            e.RandomForestClassifier(**few),
        ),
        rows=lambda: categories(kind="text"),
        target=three,
    )
    simple(
        "Pipeline, imputer with indicators and scaler",
        s,
        lambda: make_pipeline(
            SimpleImputer(add_indicator=True), StandardScaler(), e.GradientBoostingRegressor(n_estimators=10)
        ),
        rows=holes,
    )
    simple(
        "Pipeline, PCA of two columns",
        s,
        lambda: make_pipeline(
            ColumnTransformer([("pca", PCA(2), ["bmi", "s5"])], remainder="passthrough"), e.ExtraTreesRegressor(**few)
        ),
    )
    simple(
        "Pipeline, PCA of all columns",
        s,
        lambda: make_pipeline(PCA(3), e.RandomForestRegressor(**few)),
        verdict="all columns mixed into one player",
    )
    simple(
        "Pipeline, union of bins and polynomials",
        s,
        lambda: make_pipeline(
            ColumnTransformer(
                [
                    (
                        "u",
                        FeatureUnion(
                            [
                                ("k", KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf")),
                                ("p", PolynomialFeatures(2, interaction_only=True)),
                            ]
                        ),
                        ["bmi", "bp"],
                    )
                ],
                remainder="passthrough",
            ),
            e.RandomForestRegressor(**few),
        ),
    )


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000)
