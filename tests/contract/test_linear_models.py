"""scikit-learn's linear models: every kind is read, verified, and explained as its own predict says; what is no linear function is not read."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn import linear_model, svm
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import BaggingRegressor, VotingRegressor
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC

import whybox as wb
from whybox.adapters.sklearn import linear
from whybox.adapters.sklearn.linear import LINEAR_READERS
from whybox.errors import ModelMismatchError, OptionError, UnsupportedModelError
from whybox.explainers import LinearShap
from whybox.games.exact import all_coalitions, exact_values
from whybox.models.linear import Linear
from whybox.models.registry import as_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 4)) @ RNG.normal(size=(4, 4)) + [0.0, 2.0, -1.0, 5.0]
Y = X @ [1.0, -2.0, 0.0, 0.5] + RNG.normal(size=150)
TWO = np.array(["no", "yes"])[(np.median(Y) < Y).astype(int)]
THREE = np.digitize(Y, np.quantile(Y, [0.3, 0.7]))
TARGETS = np.column_stack([Y, X[:, 0] - X[:, 1]])
CLASSIFIERS = (
    *("LogisticRegression", "LogisticRegressionCV", "LinearDiscriminantAnalysis", "RidgeClassifier"),
    *("RidgeClassifierCV", "LinearSVC", "Perceptron", "PassiveAggressiveClassifier", "SGDClassifier"),
)
KERNELS = ("SVR", "NuSVR", "SVC", "NuSVC")
SEVERAL = ("LinearRegression", "Ridge", "Lars", "PLSRegression")


def made(name):
    """The estimator of a name, and the targets that it takes."""
    kinds = {"PLSRegression": PLSRegression, "LinearDiscriminantAnalysis": LinearDiscriminantAnalysis}
    kind = kinds.get(name) or getattr(linear_model, name, None) or getattr(svm, name)
    options = {"kernel": "linear"} if name in KERNELS else {"loss": "log_loss"} if name == "SGDClassifier" else {}
    if name in CLASSIFIERS:
        return kind(**options), [TWO, THREE]
    if name in ("SVC", "NuSVC"):
        return kind(**options), [TWO]
    if name in ("PoissonRegressor", "GammaRegressor", "TweedieRegressor"):
        options = {"power": 1.5} if name == "TweedieRegressor" else {}
        return kind(**options), [np.exp(Y / 10)]
    if name.startswith("MultiTask"):
        return kind(), [TARGETS]
    return kind(**options), [Y, TARGETS] if name in SEVERAL else [Y]


def own_raw(model):
    """The additive scale of a fitted model by its own methods."""
    if hasattr(model, "decision_function"):
        return lambda rows: np.asarray(model.decision_function(rows)).reshape(len(rows), -1)
    link = np.log if hasattr(model, "power") or type(model).__name__ in ("PoissonRegressor", "GammaRegressor") else None
    return lambda rows: (link or (lambda p: p))(np.asarray(model.predict(rows)).reshape(len(rows), -1))


def check_values(model, explanation, rows, background, atol=1e-8):
    """The game is additive: a column's value is the mean of what changes when it alone takes the row's cell."""
    raw, values = own_raw(model), explanation.values.reshape(len(rows), rows.shape[1], -1)
    base = raw(background)
    for i, x in enumerate(rows):
        for j in range(rows.shape[1]):
            mixed = background.copy()
            mixed[:, j] = x[j]
            np.testing.assert_allclose(values[i, j], (raw(mixed) - base).mean(axis=0), atol=atol)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LINEAR_READERS)
def test_every_kind_is_read_and_explained_exactly(name):
    kind, targets = made(name)
    for target in targets:
        model = kind.fit(X, target) if name != "SGDOneClassSVM" else kind.fit(X)
        adapted = as_model(model)
        assert isinstance(adapted, Linear)
        assert adapted.verdict.rows >= 200
        e = wb.explain(model, X[:2], X[10:40])
        assert e.evidence.exact
        assert e.evidence.method_id == "shap.linear_shap"
        check_values(model, e, X[:2], X[10:40])


@pytest.mark.parametrize(
    "model",
    [
        lambda: MultiOutputRegressor(Ridge()).fit(X, TARGETS),
        lambda: MultiOutputRegressor(make_pipeline(MinMaxScaler(), Ridge())).fit(X, TARGETS),
        lambda: VotingRegressor([("a", Ridge()), ("b", make_pipeline(StandardScaler(), Lasso(0.1)))], weights=[1, 3]).fit(X, Y),
        lambda: BaggingRegressor(LinearRegression(), 3, max_features=0.5, random_state=0).fit(X, Y),
        lambda: OneVsRestClassifier(LogisticRegression()).fit(X, THREE),
        lambda: OneVsRestClassifier(LogisticRegression()).fit(X, TWO),
        lambda: OneVsRestClassifier(LinearSVC(random_state=0)).fit(X, THREE),
        lambda: linear_model.RANSACRegressor(random_state=0).fit(X, Y),
        lambda: GridSearchCV(make_pipeline(StandardScaler(), LinearSVC()), {}, cv=2).fit(X, TWO),
        lambda: LogisticRegression().fit(X, TWO).sparsify(),
    ],
)  # fmt: skip
def test_ensembles_and_wrappers_are_one_linear_model(model):
    model = model()
    assert isinstance(as_model(model), Linear)
    check_values(model, wb.explain(model, X[:2], X[10:40]), X[:2], X[10:40])


@pytest.mark.parametrize(
    ("model", "units"),
    [
        (lambda: LogisticRegression().fit(X, TWO), "log-odds"),
        (lambda: LogisticRegression().fit(X, THREE), "log-odds (softmax)"),
        (lambda: SGDClassifier(loss="log_loss", random_state=0).fit(X, THREE), "log-odds (one class against the rest)"),
        (lambda: OneVsRestClassifier(LogisticRegression()).fit(X, THREE), "log-odds (one class against the rest)"),
        (lambda: LinearDiscriminantAnalysis().fit(X, THREE), "log-odds (softmax)"),
    ],
)
def test_probabilities_are_those_of_predict_proba(model, units):
    model = model()
    assert wb.explain(model, X[:2], X[10:40]).units == units
    assert wb.explain(model.decision_function, X[:2], X[10:40]).units == units
    for e in (
        wb.explain(model.predict_proba, X[:5], X[10:40], output="all"),
        wb.explain(model, X[:5], X[10:40], scale="probability", output="all"),
    ):
        assert e.units == "probability"
        np.testing.assert_allclose(e.base + e.values.sum(axis=1), model.predict_proba(X[:5]), atol=1e-12)


@pytest.mark.parametrize("kind", ["linear", "additive"])
def test_twelve_features_behind_a_link_are_enumerated_and_checked(kind):
    """So many that the second way takes some of the features only."""
    rows = np.random.default_rng(0).normal(size=(200, 12))
    target = rows[:, 0] + rows[:, 1] * rows[:, 2] + rows[:, 3:].sum(axis=1) > 0
    if kind == "linear":
        model = LogisticRegression().fit(rows, target)
    else:
        from interpret.glassbox import ExplainableBoostingClassifier

        model = ExplainableBoostingClassifier(max_rounds=20, outer_bags=1, interactions=[(1, 2)], n_jobs=1)
        model.fit(rows, target)
    background = rows[100:120]
    e = wb.explain(model, rows[:2], background, scale="probability")
    assert e.evidence.kernel == "enumeration"
    assert "for 8 features against one background row" in str(e.evidence.spot_checks)
    inside = all_coalitions(12)
    for i in range(2):
        mixed = np.where(inside[:, None], rows[i], background).reshape(-1, 12)
        worths = model.predict_proba(mixed)[:, 1].reshape(len(inside), -1).mean(axis=1)
        np.testing.assert_allclose(e.values[i], exact_values(worths[:, None])[:, 0], atol=1e-12)


def test_margins_have_no_probabilities_and_labels_are_no_scale():
    model = LinearSVC(random_state=0).fit(X, TWO)
    e = wb.explain(model.decision_function, X[:2], X)
    assert e.units == "decision function"
    np.testing.assert_allclose(e.base + e.values.sum(axis=1), model.decision_function(X[:2]), atol=1e-12)
    other = wb.explain(model, X[:2], X, output="no")
    np.testing.assert_allclose(other.values, -e.values, atol=1e-14)
    with pytest.raises(OptionError, match="not probabilities"):
        wb.explain(model, X[:2], X, scale="probability")
    with pytest.raises(UnsupportedModelError, match="gives class labels"):
        as_model(model.predict)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (lambda: SVR().fit(X, Y), "kernel='rbf' is not a linear function"),
        (lambda: SVC(kernel="linear").fit(X, THREE), "lets pairs of classes vote"),
        (lambda: SGDClassifier(loss="modified_huber", random_state=0).fit(X, TWO), "clipped sums"),
        (lambda: OneVsRestClassifier(SVC()).fit(X, THREE), "is not a linear function"),
        (lambda: OneVsRestClassifier(LogisticRegression()).fit(X, np.eye(3, dtype=int)[THREE]), None),
        (lambda: linear_model.TweedieRegressor(power=0, link="identity").fit(X, Y), None),
    ],
)
def test_what_is_no_linear_function_is_evaluated(model, text):
    model = model()
    if text is None:
        assert isinstance(as_model(model), Linear)
        return
    with pytest.raises(UnsupportedModelError, match=text):
        as_model(model)
    assert wb.effects(model, X, [0], grid=3)[0].evidence.notes[0].startswith("Evaluated through")


def test_a_predict_of_the_users_own_is_evaluated():
    class Doubled(Ridge):
        def predict(self, X):
            return 2 * super().predict(X)

    model = Doubled().fit(X, Y)
    with pytest.raises(UnsupportedModelError, match="has a predict of its own"):
        as_model(model)
    curve = wb.effects(model, X, [0], grid=3)[0]
    changed = X.copy()
    changed[:, 0] = curve.grid[1]
    assert curve.values[1] == pytest.approx(model.predict(changed).mean())


@pytest.mark.parametrize("change", ["weight", "base", "link"])
def test_a_wrong_reading_is_found(monkeypatch, change):
    model = LogisticRegression().fit(X, THREE)
    right = linear._weights_and_base

    def wrong(coef, intercept):
        weights, base = right(coef, intercept)
        if change == "weight":
            weights = weights * (1 + 1e-9 * np.eye(*weights.shape))
        return weights, base + (1e-9 if change == "base" else 0.0)

    monkeypatch.setattr(linear, "_weights_and_base", wrong)
    if change == "link":
        monkeypatch.setattr(linear, "_is_one_vs_rest", lambda estimator: True)
    with pytest.raises(ModelMismatchError, match="LogisticRegression"):
        as_model(model)


def test_rows_of_float32_and_sparse_rows():
    single = X.astype(np.float32)
    for model in (Ridge().fit(single, Y.astype(np.float32)), LogisticRegression().fit(single, TWO), Ridge().fit(X, Y)):
        e = wb.explain(model, single[:5], single[10:60])
        check_values(model, e, single[:5].astype(float), single[10:60].astype(float), atol=1e-5)
    table = np.where(RNG.random(X.shape) < 0.5, 0.0, X)
    model = LogisticRegression().fit(csr_matrix(table), TWO)
    e = wb.explain(model, csr_matrix(table[:5]), csr_matrix(table[10:60]))
    np.testing.assert_allclose(e.values, wb.explain(model, table[:5], table[10:60]).values, atol=1e-12)


def test_steps_that_mix_columns_make_one_player():
    model = make_pipeline(PolynomialFeatures(2, interaction_only=True), Ridge()).fit(X[:, :3], Y)
    with pytest.raises(UnsupportedModelError, match="mixes all its columns .* before it reads them"):
        LinearShap(model, X[:, :3])
    with pytest.raises(UnsupportedModelError, match="mixes all its columns"):
        LinearShap(make_pipeline(PCA(2), Ridge()).fit(X, Y), X)


def test_a_background_is_asked_for_and_many_features_behind_a_link_are_refused():
    with pytest.raises(OptionError, match=r"a linear model keeps no training weights.*background=X_train"):
        wb.explain(Ridge().fit(X, Y), X[:2])
    wide = RNG.normal(size=(60, 16))
    model = LogisticRegression().fit(wide, wide[:, 0] > 0)
    with pytest.raises(UnsupportedModelError, match="all 2\\^16 coalitions"):
        wb.explain(model, wide[:2], wide, "linear_shap", scale="probability")
