"""Examples of shap's README and documentation with the import alone changed, on data of scikit-learn; docs/from_shap.md lists them."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from whybox.compat import shap
from whybox.errors import OptionError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(autouse=True)
def _no_windows(monkeypatch):
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda self, figure: None)
    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    plt.close("all")


@pytest.fixture
def houses(monkeypatch):
    """In place of the houses of California, which would be downloaded."""
    from sklearn.datasets import load_diabetes

    found = load_diabetes(as_frame=True)
    found.data = found.data.rename(columns={"bmi": "Latitude", "bp": "MedInc"})
    monkeypatch.setattr("sklearn.datasets.fetch_california_housing", lambda as_frame: found)


@pytest.mark.usefixtures("houses")
def test_readme_trees():
    import xgboost

    X, y = shap.datasets.california()
    model = xgboost.XGBRegressor(n_estimators=20, n_jobs=1).fit(X, y)

    explainer = shap.Explainer(model)
    shap_values = explainer(X)

    shap.plots.waterfall(shap_values[0])
    shap.plots.force(shap_values[0])
    shap.plots.force(shap_values[:50])
    shap.plots.scatter(shap_values[:, "Latitude"], color=shap_values)
    shap.plots.beeswarm(shap_values)
    shap.plots.bar(shap_values)
    assert shap_values.shape == X.shape


@pytest.mark.usefixtures("houses")
def test_readme_interactions():
    import xgboost

    X, y = shap.datasets.california(n_points=40)
    model = xgboost.train({"learning_rate": 0.1, "max_depth": 3, "nthread": 1}, xgboost.DMatrix(X, label=y), 10)
    shap_interaction_values = shap.TreeExplainer(model).shap_interaction_values(X)
    shap.summary_plot(shap_interaction_values, X)
    assert shap_interaction_values.shape == (40, 10, 10)


def test_readme_text():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = ["what a great movie", "a bad movie", "great acting", "bad and boring"]
    classifier = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, ["POSITIVE", "NEGATIVE"] * 2)

    explainer = shap.Explainer(classifier.predict_proba, shap.maskers.Text())
    shap_values = explainer(["What a great movie! ...if you have no taste."])
    shap.plots.text(shap_values[0, :, "POSITIVE"])
    assert shap_values[0, :, "POSITIVE"].values.shape == (9,)


def test_readme_kernel():
    import sklearn.svm
    from sklearn.model_selection import train_test_split

    shap.initjs()
    X_train, X_test, Y_train, _ = train_test_split(*shap.datasets.iris(), test_size=0.2, random_state=0)
    svm = sklearn.svm.SVC(kernel="rbf", probability=True)
    svm.fit(X_train, Y_train)

    with shap.old_shapes():  # the example has lists
        explainer = shap.KernelExplainer(svm.predict_proba, X_train, link="logit")
        shap_values = explainer.shap_values(X_test.iloc[:3], nsamples=100)
        shap.force_plot(explainer.expected_value[0], shap_values[0][0, :], X_test.iloc[0, :], link="logit")
        with pytest.raises(OptionError, match="one scale"):
            shap.force_plot(explainer.expected_value[0], shap_values[0], X_test.iloc[:3], link="logit")
    mean = np.log(svm.predict_proba(X_test.iloc[:3]) / (1 - svm.predict_proba(X_test.iloc[:3])))
    assert np.allclose(np.stack(shap_values, -1).sum(axis=1) + explainer.expected_value, mean)


@pytest.mark.usefixtures("houses")
def test_introduction_with_shapley_values():
    import sklearn.linear_model
    import xgboost

    X, y = shap.datasets.california(n_points=300)
    X100 = shap.utils.sample(X, 100)
    model = sklearn.linear_model.LinearRegression()
    model.fit(X, y)
    with pytest.raises(OptionError, match="wb.effects"):
        shap.partial_dependence_plot("MedInc", model.predict, X100, ice=False, model_expected_value=True)
    explainer = shap.Explainer(model.predict, X100)
    shap_values = explainer(X)
    shap.plots.waterfall(shap_values[20], max_display=14)
    expected = (X - X100.mean()) * model.coef_
    assert np.allclose(shap_values.values, expected)

    model_xgb = xgboost.XGBRegressor(n_estimators=20, max_depth=2, n_jobs=1).fit(X, y)
    explainer_xgb = shap.Explainer(model_xgb, X100)
    shap_values_xgb = explainer_xgb(X)
    shap.plots.scatter(shap_values_xgb[:, "MedInc"])
    shap.plots.scatter(shap_values_xgb[:, "MedInc"], color=shap_values)
    shap.plots.bar(shap_values_xgb.abs.max(0))
    shap.plots.heatmap(shap_values_xgb[:100])
    shap.plots.beeswarm(shap_values_xgb)

    classifier = sklearn.linear_model.LogisticRegression(max_iter=10000).fit(X, y > 150)

    def model_proba(x):
        return classifier.predict_proba(x)[:, 1]

    def model_log_odds(x):
        p = classifier.predict_log_proba(x)
        return p[:, 1] - p[:, 0]

    background = shap.maskers.Independent(X, max_samples=20)
    shap.plots.scatter(shap.Explainer(model_proba, background)(X[:3])[:, "MedInc"])
    log_odds = shap.Explainer(model_log_odds, background)(X[:3])
    assert np.allclose(log_odds.values, (X[:3] - shap.sample(X, 20).mean()) * classifier.coef_, atol=1e-9)


def test_census_with_lightgbm():
    import lightgbm
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X = X.iloc[:60, :5]
    X_display = X.map(lambda cell: f"{cell:.1f} units")
    model = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1, min_child_samples=5).fit(X, y[:60])
    with shap.old_shapes():
        explainer = shap.TreeExplainer(model)
        shap_values = explainer.shap_values(X)
        shap.force_plot(explainer.expected_value[1], shap_values[1][0, :], X_display.iloc[0, :])
        shap.force_plot(explainer.expected_value[1], shap_values[1][:20, :], X_display.iloc[:20, :])
        shap.summary_plot(shap_values, X)
        for name in X.columns[:2]:
            shap.dependence_plot(name, shap_values[1], X, display_features=X_display)
        shap.decision_plot(explainer.expected_value[1], shap_values[1][0], X_display.iloc[0])
        with pytest.raises(OptionError, match="heatmap"):
            shap.decision_plot(explainer.expected_value[1], shap_values[1], X_display)


def test_census_with_keras():
    """A function that cuts columns from an array, as Keras takes them."""
    X, _ = shap.datasets.diabetes()

    def f(X):
        return np.column_stack([X[:, i] for i in range(X.shape[1])])[:, :4].sum(axis=1)

    explainer = shap.KernelExplainer(f, X.iloc[:8, :])
    shap_values = explainer.shap_values(X.iloc[299, :], nsamples=500)
    shap.force_plot(explainer.expected_value, shap_values, X.iloc[299, :])
    shap_values50 = explainer.shap_values(X.iloc[280:283, :], nsamples=500)
    shap.force_plot(explainer.expected_value, shap_values50, X.iloc[280:283, :])
    assert np.allclose(shap_values[:4], (X.iloc[299] - X.iloc[:8].mean())[:4], atol=1e-6)
    assert np.allclose(shap_values[4:], 0, atol=1e-6)


def test_diabetes_and_nearest_neighbours():
    import sklearn.neighbors
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import train_test_split

    X, y = shap.datasets.diabetes()
    X_train, X_test, y_train, _ = train_test_split(X, y, test_size=0.2, random_state=0)
    X_train_summary = shap.kmeans(X_train, 10)
    lin_regr = LinearRegression().fit(X_train, y_train)
    ex = shap.KernelExplainer(lin_regr.predict, X_train_summary)
    shap_values = ex.shap_values(X_test.iloc[0, :])
    shap.force_plot(ex.expected_value, shap_values, X_test.iloc[0, :])
    shap_values = ex.shap_values(X_test)
    shap.summary_plot(shap_values, X_test)
    shap.dependence_plot("bmi", shap_values, X_test)

    X_train, X_test, Y_train, _ = train_test_split(*shap.datasets.iris(), test_size=0.2, random_state=0)
    knn = sklearn.neighbors.KNeighborsClassifier().fit(X_train, Y_train)
    explainer = shap.KernelExplainer(knn.predict_proba, X_train.iloc[:20])
    shap_values = explainer.shap_values(X_test.iloc[0, :])
    shap.force_plot(explainer.expected_value[0], shap_values[..., 0], X_test.iloc[0, :])
    assert shap_values.shape == (4, 3)


def test_sentiment_with_sparse_rows():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    corpus = ["a good film", "a bad film", "good good", "bad acting", "good acting", "so bad"]
    vectorizer = TfidfVectorizer(min_df=1)
    X_train = vectorizer.fit_transform(corpus)
    model = LogisticRegression(penalty="l2", C=0.1).fit(X_train, [1, 0, 1, 0, 1, 0])
    explainer = shap.Explainer(model, X_train, feature_names=vectorizer.get_feature_names_out())
    shap_values = explainer(X_train)
    shap.plots.beeswarm(shap_values)
    shap.plots.waterfall(shap_values[0])
    assert shap_values.feature_names == ["acting", "bad", "film", "good", "so"]


def test_api_examples_of_permutation_exact_and_figures():
    import xgboost

    X, y = shap.datasets.diabetes()
    X = X.iloc[:, :6]
    model = xgboost.XGBClassifier(n_estimators=5, max_depth=2, n_jobs=1).fit(X, y > 140)
    explainer = shap.explainers.Permutation(model.predict_proba, X.iloc[:20])
    shap_values = explainer(X[:10])
    shap_values = shap_values[..., 1]
    shap.plots.bar(shap_values)
    shap.plots.waterfall(shap_values[0])
    masker = shap.maskers.Partition(X, max_samples=20)
    partitioned = shap.explainers.Permutation(model.predict_proba, masker)(X[:5])[..., 1]
    shap.plots.bar(partitioned)
    exact = shap.explainers.Exact(model.predict_proba, X.iloc[:20])(X[:10])[..., 1]
    assert np.allclose(exact.values, shap_values.values)
    shap.plots.beeswarm(exact, max_display=4)
    shap.plots.heatmap(exact, max_display=4)
    shap.plots.scatter(exact[:, "age"], color=exact[:, "bmi"])
    sex = ["Women" if exact[i, "sex"].data > 0 else "Men" for i in range(10)]
    with pytest.raises(OptionError, match="one figure each"):
        shap.plots.bar(exact.cohorts(sex).abs.mean(0))
    for e in exact.cohorts(sex).cohorts.values():
        shap.plots.bar(e.abs.mean(0))
    frame = pd.DataFrame(exact.values, columns=exact.feature_names)
    assert frame.shape == (10, 6)
