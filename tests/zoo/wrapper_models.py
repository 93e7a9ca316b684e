"""Estimators of scikit-learn and imbalanced-learn around other models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from zoo.base import binary, categories, simple, three


def register() -> None:
    from sklearn import ensemble as e
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.feature_selection import RFE, RFECV, SelectFromModel
    from sklearn.frozen import FrozenEstimator
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.semi_supervised import SelfTrainingClassifier

    s = "scikit-learn"
    forest = lambda: e.RandomForestClassifier(n_estimators=8, max_depth=4, random_state=0)
    boosted = lambda: e.HistGradientBoostingClassifier(max_iter=8)
    labels = lambda: np.column_stack([binary(), three() > 0])
    simple("RFE", s, lambda: RFE(forest(), n_features_to_select=3), target=three)
    simple("RFECV", s, lambda: RFECV(e.GradientBoostingClassifier(n_estimators=5), cv=2), target=binary)
    simple(
        "RFE of a linear model",
        s,
        lambda: RFE(LogisticRegression(max_iter=3000), n_features_to_select=3),
        target=binary,
        no_path=True,
    )
    simple("Pipeline, SelectFromModel", s, lambda: make_pipeline(SelectFromModel(forest()), boosted()), target=binary)
    simple("FrozenEstimator", s, lambda: _Fit(lambda X, y: FrozenEstimator(boosted().fit(X, y))), target=binary)
    simple("FixedThresholdClassifier", s, lambda: FixedThresholdClassifier(boosted(), threshold=0.3), target=binary)
    simple("TunedThresholdClassifierCV", s, lambda: TunedThresholdClassifierCV(forest(), cv=3), target=binary)
    simple("SelfTrainingClassifier", s, lambda: SelfTrainingClassifier(boosted()), target=_some_unlabelled)
    simple("OneVsRestClassifier, several labels", s, lambda: OneVsRestClassifier(boosted()), target=labels)
    simple(
        "OneVsRestClassifier, several labels, linear",
        s,
        lambda: OneVsRestClassifier(LogisticRegression(max_iter=3000)),
        target=labels,
        no_path=True,
    )
    simple("MultiOutputClassifier of boosting", s, lambda: MultiOutputClassifier(boosted()), target=labels)
    simple(
        "CalibratedClassifierCV",
        s,
        lambda: CalibratedClassifierCV(boosted(), cv=2),
        target=binary,
        verdict="a curve on top of the sum",
    )
    i = "imbalanced-learn"
    simple(
        "Pipeline, SMOTE",
        i,
        lambda: _imblearn("pipeline").make_pipeline(
            StandardScaler(), _imblearn("over_sampling").SMOTE(random_state=0), boosted()
        ),
        target=binary,
    )
    simple(
        "Pipeline, undersampling, one-hot",
        i,
        lambda: _imblearn("pipeline").make_pipeline(
            _imblearn("under_sampling").RandomUnderSampler(random_state=0), _one_hot(), forest()
        ),
        rows=lambda: categories(kind="text"),
        target=three,
    )
    balanced: list[tuple[str, dict[str, Any], Callable[[], Any]]] = [
        ("BalancedRandomForestClassifier", {"n_estimators": 8, "max_depth": 4}, binary),
        ("BalancedBaggingClassifier", {"n_estimators": 4, "max_features": 0.6}, three),
        ("RUSBoostClassifier", {"n_estimators": 6}, binary),
    ]
    for name, options, target in balanced:
        simple(
            name,
            i,
            lambda name=name, options=options: getattr(_imblearn("ensemble"), name)(random_state=0, **options),
            target=target,
        )
    simple(
        "EasyEnsembleClassifier",
        i,
        lambda: _imblearn("ensemble").EasyEnsembleClassifier(n_estimators=3, random_state=0),
        target=binary,
        verdict="average of probabilities behind a link",
    )


def _imblearn(module: str) -> Any:
    return pytest.importorskip(f"imblearn.{module}")


class _Fit:
    """A function of rows and their truth in place of an estimator that is fitted."""

    def __init__(self, fit: Callable[[Any, Any], Any]) -> None:
        self.fit = fit


def _some_unlabelled() -> np.ndarray:
    target = binary().copy()
    target[::3] = -1
    return target


def _one_hot() -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder

    return ColumnTransformer([("cat", OneHotEncoder(handle_unknown="ignore"), ["age", "bp"])], remainder="passthrough")
