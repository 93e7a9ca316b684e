"""Attributions as shap.Explanation, and back."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

import whybox as wb
from whybox.errors import InputError, OptionError


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True, as_frame=True)
    model = RandomForestClassifier(5, random_state=0).fit(
        X, y.map(dict(enumerate(["setosa", "versicolor", "virginica"])))
    )
    return wb.explain(model, X.iloc[::10], background=X), X


def like_shap(values, base, **more):
    known = {"data": None, "feature_names": None, "output_names": None}
    return SimpleNamespace(values=np.asarray(values), base_values=base, **{**known, **more})


def test_values_bases_data_and_names_go_there_and_back(iris):
    pytest.importorskip("shap")
    e, X = iris
    for mine in (e, e[..., "versicolor"], e[3], e[3][..., "setosa"]):
        s = mine.to_shap()
        assert np.array_equal(s.values, mine.values)
        assert np.array_equal(s.base_values, mine.base_values)
        assert np.array_equal(s.data, X.iloc[::10].to_numpy() if "row" in mine.dims else X.iloc[30].to_numpy())
        assert list(s.feature_names) == list(mine.feature_names)
        back = wb.Explanation.from_shap(s, units=mine.units)
        assert back.dims == mine.dims
        assert np.array_equal(back.values, mine.values)
        assert np.allclose(back.base, mine.base, atol=0)
        assert np.allclose(back.prediction, mine.prediction, atol=1e-12)
        assert (back.output_names, back.output_name, back.units) == (mine.output_names, mine.output_name, mine.units)
        assert back.feature_names == mine.feature_names
        assert np.array_equal(np.asarray(back.data), np.asarray(mine.data))
        assert back.std_error is None
        assert not back.evidence.exact
        assert "not known" in str(back.evidence)
        assert back._repr_html_()


def test_figures_of_shap_draw_it(iris):
    shap = pytest.importorskip("shap")
    import matplotlib.pyplot as plt

    one = iris[0][..., "setosa"].to_shap()
    for draw in (shap.plots.beeswarm, shap.plots.bar, shap.plots.heatmap):
        draw(one, show=False)
        plt.close("all")
    shap.plots.scatter(one[:, "petal width (cm)"], color=one, show=False)
    plt.close("all")
    shap.plots.waterfall(iris[0][2][..., "setosa"].to_shap(), show=False)
    shap.plots.waterfall(iris[0].to_shap()[2, :, 0], show=False)


def test_what_shap_computes_is_drawn_here(iris):
    shap = pytest.importorskip("shap")
    X, y = load_iris(return_X_y=True, as_frame=True)
    model = RandomForestClassifier(5, random_state=0).fit(X, y)
    theirs = shap.TreeExplainer(model, X.iloc[:50])(X.iloc[::10])
    e = wb.Explanation.from_shap(theirs)
    assert np.array_equal(e.values, theirs.values)
    assert np.array_equal(e.base_values, theirs.base_values)
    assert np.abs(e.prediction - model.predict_proba(X.iloc[::10])).max() < 0.02
    e[..., 0].plot.beeswarm()
    e[..., 0].plot.scatter("petal width (cm)")
    assert "prediction" in e[0][..., 0].plot.waterfall().get_xlabel()


def test_categories_and_dates_are_numbers_beside_themselves():
    pytest.importorskip("shap")
    X = pd.DataFrame(
        {"kind": ["b", "a", None, "c"], "when": pd.date_range("2024-01-01", periods=4), "x": [1.0, 2.0, np.nan, 4.0]}
    )
    e = wb.explain(lambda rows: pd.DataFrame(rows)["x"].fillna(0.0).to_numpy(float), X, background=X)
    s = e.to_shap()
    assert s.data.dtype == np.float64
    assert np.array_equal(s.data[:, 0], [1.0, 0.0, np.nan, 2.0], equal_nan=True)
    assert s.display_data[0, 0] == "b"
    assert s.display_data[1, 1] == np.datetime64("2024-01-02")
    back = wb.Explanation.from_shap(s)
    assert back.data["kind"][0] == "b"


def test_errors_go_along_and_those_that_are_none_are_left_out():
    pytest.importorskip("shap")
    X = np.random.default_rng(0).normal(size=(30, 12))
    e = wb.explain(lambda x: np.prod(np.sin(x), axis=1) + x[:, 0] * x[:, 1], X[:3], background=X, max_evals=3000)
    assert e.std_error.any()
    s = e.to_shap()
    assert np.array_equal(s.error_std, e.std_error)
    assert np.allclose(s.upper_bounds, e.interval[1])
    assert np.array_equal(wb.Explanation.from_shap(s).std_error, e.std_error)
    alone = like_shap(e.values, 0.0, error_std=np.ones(e.shape))
    assert wb.Explanation.from_shap(alone).std_error is None


def test_interactions_and_groups_of_columns(iris):
    pytest.importorskip("shap")
    X, y = load_iris(return_X_y=True, as_frame=True)
    model = RandomForestClassifier(5, random_state=0).fit(X, y)
    pairs = wb.explain(model, X.iloc[:5], background=X, order=2)
    assert pairs.kind == "interaction"
    for mine in (pairs, pairs[..., 0]):
        back = wb.Explanation.from_shap(mine.to_shap())
        assert back.kind == "interaction"
        assert back.dims == mine.dims
        assert np.allclose(back.prediction, mine.prediction, atol=1e-9)
    groups = wb.explain(
        model, X.iloc[:5], background=X, players={"petal": list(X.columns[2:]), "sepal": list(X.columns[:2])}
    )
    assert np.isnan(groups.to_shap().data).all()


def test_every_row_may_have_its_own_base():
    s = like_shap([[1.0, 2.0], [3.0, -1.0]], np.array([0.5, 0.25]), feature_names=["a", "b"])
    e = wb.Explanation.from_shap(s, units="log-odds")
    assert np.isnan(e.base)
    assert e.base_values.tolist() == [0.5, 0.25]
    assert e.prediction.tolist() == [3.5, 2.25]
    assert "from base 0.25" in e[1].plot.waterfall().get_xlabel()
    assert "base nan" not in e._repr_html_()


def test_bases_of_outputs_are_those_of_outputs_however_many_rows_there_are():
    base, names = np.arange(3.0), ["a", "b", "c"]
    for rows, features in (
        (5, 4),
        (5, 3),
        (3, 4),
        (3, 3),
    ):  # expected_value of an explainer beside values of all its outputs
        values = np.arange(rows * features * 3.0).reshape(rows, features, 3)
        for given in (like_shap(values, base), like_shap(values, base, output_names=names)):
            e = wb.Explanation.from_shap(given)
            assert e.dims == ("row", "feature", "output")
            assert np.array_equal(e.base, base)
            assert np.array_equal(e.prediction, base + values.sum(axis=1))
    both = np.arange(27.0).reshape(3, 3, 3)
    e = wb.Explanation.from_shap(
        like_shap(both + both.swapaxes(1, 2), base)
    )  # symmetric: interactions, and a base for each row
    assert e.dims == ("row", "feature", "feature_2")
    assert np.array_equal(e.extras["base"][1], base)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((2, 2)), "ndarray"),
        (like_shap(np.array(["a"], dtype=object), 0.0), "texts"),
        (like_shap(np.zeros((2, 3)), np.zeros(5)), "base_values of shape"),
        (like_shap(np.zeros((2, 3)), 0.0, feature_names=["a", "b", "a"]), "'a' stands there twice"),
        (like_shap(np.zeros((2, 3)), 0.0, feature_names=["a"]), "3 features and 1 names"),
        (like_shap(np.zeros((2, 3, 4)), 0.0), "neither interactions nor"),
    ],
)
def test_what_is_none_is_refused(given, words):
    with pytest.raises(InputError, match=words):
        wb.Explanation.from_shap(given)


def test_other_kinds_have_no_place_in_shap(iris):
    pytest.importorskip("shap")
    e, X = iris
    with pytest.raises(OptionError, match="attributions and interactions"):
        wb.effects(lambda x: np.asarray(x)[:, 0], X, [0])[X.columns[0]].to_shap()
    with pytest.raises(OptionError, match="units"):
        wb.Explanation.from_shap(like_shap([1.0], 0.0), units="")
    with pytest.raises(OptionError, match="with their features"):
        e[:, 0].to_shap()
