"""Models, rows and functions that the tests of whybox.compat share."""

import lightgbm
import numpy as np
import xgboost
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

X, Y = load_breast_cancer(return_X_y=True, as_frame=True)
X = X.iloc[:, :6]
TRAIN, ROWS = X.iloc[::12], X.iloc[:5]
FLOWERS, KIND = load_iris(return_X_y=True, as_frame=True)
FOREST = RandomForestClassifier(8, max_depth=4, random_state=0).fit(X, Y)
BOOSTED = xgboost.XGBClassifier(n_estimators=8, max_depth=3, n_jobs=1).fit(X, Y)
LIGHT = lightgbm.LGBMClassifier(n_estimators=6, n_jobs=1, verbose=-1).fit(X, Y)
MODELS = {
    "forest": FOREST,
    "xgboost": BOOSTED,
    "lightgbm": LIGHT,
    "regression": RandomForestRegressor(8, max_depth=4, random_state=0).fit(X, Y),
    "boosting": GradientBoostingRegressor(n_estimators=8, random_state=0).fit(X, Y),
}
OF_THREE = {
    "forest": RandomForestClassifier(8, max_depth=4, random_state=0),
    "xgboost": xgboost.XGBClassifier(n_estimators=4, max_depth=3, n_jobs=1),
    "lightgbm": lightgbm.LGBMClassifier(n_estimators=4, n_jobs=1, verbose=-1),
}
NEAREST = KNeighborsClassifier().fit(X, Y)
LOGISTIC = LogisticRegression(max_iter=5000).fit(X, Y)
SMALL = np.random.default_rng(0).normal(size=(40, 4))


def waves(rows):
    return np.sin(rows[:, 0]) * rows[:, 1] + rows[:, 2] ** 2 + rows[:, 0] * rows[:, 3]


def threefold(rows):
    return waves(rows) + rows[:, 0] * rows[:, 1] * rows[:, 2]


def rising(rows):
    return 1.0 / (1.0 + np.exp(-waves(rows)))


def near(a, b, tolerance=2e-6):
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= tolerance * np.abs(b).max() + 1e-12
