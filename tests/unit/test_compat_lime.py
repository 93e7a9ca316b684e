"""whybox.compat.lime of tables: numbers of wb.lime under lime's names and arguments; and what is refused. Rows of docs/from_lime.md."""

import importlib
import inspect
import pickle
import sys
import types

import lightgbm
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import whybox as wb
from whybox.compat import lime
from whybox.compat.lime import discretize, lime_base
from whybox.compat.lime.exceptions import LimeError
from whybox.compat.lime.explanation import DomainMapper, Explanation, id_to_name
from whybox.compat.lime.lime_tabular import LimeTabularExplainer, RecurrentTabularExplainer
from whybox.compat.lime.lime_text import LimeTextExplainer
from whybox.compat.lime.submodular_pick import SubmodularPick
from whybox.errors import MissingDependencyError, WhyboxError

draw = np.random.default_rng(0)
X = draw.normal(size=(120, 4))
y = X[:, 0] + np.abs(X[:, 1]) + 0.1 * draw.normal(size=120)
CLASSES = np.digitize(y, [0.2, 1.2])
FOREST = RandomForestClassifier(10, max_depth=5, random_state=0).fit(X, CLASSES)
NUMBERS = RandomForestRegressor(10, max_depth=5, random_state=0).fit(X, y)
NAMES = ["age", "size", "dose", "time"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def explainer():
    return LimeTabularExplainer(X, feature_names=NAMES, class_names=["low", "mid", "high"])


def test_numbers_are_those_of_wb_lime(explainer):
    exp = explainer.explain_instance(X[3], FOREST.predict_proba, labels=(0, 2), num_features=3)
    e = wb.lime(FOREST, X[3:4], X, output="all", alpha=1)[0]
    assert exp.explanation.evidence.exact  # a bound method is its model's own
    for label in (0, 2):
        values = e.values[:, label]
        order = np.argsort(-np.abs(values))[:3]
        assert exp.as_map()[label] == exp.local_exp[label] == [(j, values[j]) for j in order]
        assert exp.intercept[label] == e.extras["intercept"][1][label]
        assert exp.scores[label] == e.extras["r_squared"][1][label]
        assert exp.std_errors[label] == dict.fromkeys(order.tolist(), 0.0)
        assert exp.local_preds[label] == pytest.approx(exp.intercept[label] + values.sum())
    assert exp.score == exp.scores[2]
    assert exp.local_pred.tolist() == [exp.local_preds[2]]
    np.testing.assert_allclose(exp.predict_proba, FOREST.predict_proba(X[3:4])[0])
    assert exp.available_labels() == [0, 2]
    assert exp.class_names == ["low", "mid", "high"]
    words = [name for name, _ in exp.as_list(0)]
    assert words == [e.extras["condition"][1][j].replace(f"x{j}", NAMES[j]) for j, _ in exp.local_exp[0]]
    assert exp.domain_mapper.feature_names == NAMES
    assert exp.domain_mapper.discretized_feature_names[exp.local_exp[0][0][0]] == words[0]
    assert exp.explanation.feature_names == tuple(NAMES)


def test_top_labels_are_the_largest_predictions(explainer):
    exp = explainer.explain_instance(X[3], FOREST.predict_proba, top_labels=2)
    assert exp.top_labels == exp.available_labels() == np.argsort(exp.predict_proba)[::-1][:2].tolist()
    assert exp.score == exp.scores[exp.top_labels[0]]  # lime goes through them from the smallest
    assert exp.local_pred.tolist() == [exp.local_preds[exp.top_labels[0]]]
    missing = ({0, 1, 2} - set(exp.top_labels)).pop()
    with pytest.raises(WhyboxError, match=r"is not explained; .* are.*labels="):
        exp.as_list(missing)
    with pytest.raises(WhyboxError, match="3 outputs"):
        explainer.explain_instance(X[3], FOREST.predict_proba, labels=(3,))


def test_two_classes_have_opposite_weights():
    model = LogisticRegression().fit(X, y > 0.5)
    exp = LimeTabularExplainer(X).explain_instance(X[0], model.predict_proba, labels=(0, 1))
    assert exp.class_names == ["0", "1"]
    for (i, a), (j, b) in zip(exp.local_exp[0], exp.local_exp[1], strict=True):
        assert (i, a) == (j, pytest.approx(-b))
    assert exp.local_preds[0] + exp.local_preds[1] == pytest.approx(1.0)


def test_a_regression_has_label_one_and_its_negative():
    exp = LimeTabularExplainer(X, mode="regression", class_names=["price"]).explain_instance(X[0], NUMBERS.predict)
    assert exp.class_names == ["negative", "positive"]
    assert (
        exp.as_list()
        == exp.as_list(0)
        == [(exp.domain_mapper.discretized_feature_names[j], w) for j, w in exp.local_exp[1]]
    )
    assert exp.local_exp[0] == [(j, -w) for j, w in exp.local_exp[1]]
    assert exp.predicted_value == pytest.approx(NUMBERS.predict(X[:1])[0])
    assert exp.intercept[0] == exp.intercept[1]
    several = LinearRegression().fit(X, np.column_stack([y, -y]))
    for call in (exp.available_labels, lambda: exp.min_value, lambda: exp.max_value):
        with pytest.raises(WhyboxError, match="not honoured"):
            call()
    with pytest.raises(WhyboxError, match="explain one of them"):
        LimeTabularExplainer(X, mode="regression").explain_instance(X[0], several.predict)


def test_functions_are_sampled_within_num_samples(explainer):
    calls = []

    def predict(rows):
        calls.append(len(rows))
        return FOREST.predict_proba(rows)

    exp = explainer.explain_instance(X[3], predict, num_samples=1500)
    exact = dict(explainer.explain_instance(X[3], FOREST.predict_proba).local_exp[1])
    assert sum(calls) <= 1500
    assert max(exp.std_errors[1].values()) > 0
    for j, weight in exp.local_exp[1]:
        assert abs(weight - exact[j]) < 5 * exp.std_errors[1][j] + 0.01
    with pytest.raises(WhyboxError, match="at least"):
        explainer.explain_instance(X[3], predict, num_samples=10)


def test_the_penalty_is_limes_unless_a_regressor_is_given():
    plain, narrow = (
        wb.lime(NUMBERS, X[:1], X, kernel_width=0.4)[0],
        LimeTabularExplainer(X, mode="regression", kernel_width=0.4),
    )
    found = narrow.explain_instance(X[0], NUMBERS.predict)
    np.testing.assert_allclose(
        [w for _, w in sorted(found.local_exp[1])], wb.lime(NUMBERS, X[:1], X, kernel_width=0.4, alpha=1)[0].values
    )
    for regressor in (LinearRegression(), Ridge(alpha=0)):
        found = narrow.explain_instance(X[0], NUMBERS.predict, model_regressor=regressor)
        np.testing.assert_allclose([w for _, w in sorted(found.local_exp[1])], plain.values)


@pytest.mark.parametrize("options", [{"discretizer": "decile"}, {"discretizer": "entropy", "training_labels": CLASSES}, {"discretize_continuous": False}])  # fmt: skip
def test_discretizers_by_name(options):
    exp = LimeTabularExplainer(X, feature_names=NAMES, **options).explain_instance(X[3], FOREST.predict_proba)
    if options.get("discretize_continuous") is False:
        own = wb.lime(FOREST, X[3:4], X, output="all", alpha=1, discretizer=None)
        assert {name for name, _ in exp.as_list()} == set(NAMES)
    else:
        own = wb.lime(FOREST, X[3:4], X, output="all", alpha=1, discretizer=options["discretizer"], y=options.get("training_labels"))  # fmt: skip
    np.testing.assert_allclose([w for _, w in sorted(exp.local_exp[1])], own[0].values[:, 1])


def test_codes_of_categories_are_bins_with_names():
    coded = np.column_stack([X, draw.integers(0, 3, 120)])
    model = RandomForestRegressor(10, max_depth=5, random_state=0).fit(coded, y + coded[:, 4])
    explainer = LimeTabularExplainer(
        coded, mode="regression", categorical_features=[4], categorical_names={4: ["red", "green", "blue"]}
    )
    exp = explainer.explain_instance(coded[0], model.predict)
    code = int(coded[0, 4])
    assert f"4={['red', 'green', 'blue'][code]}" in dict(exp.as_list())
    frame = pd.DataFrame(coded, columns=list("abcde"))
    own = wb.lime(model, coded[:1], coded, discretizer={"x4": [0.5, 1.5]}, alpha=1)[0]
    np.testing.assert_allclose([w for _, w in sorted(exp.local_exp[1])], own.values)
    by_frame = LimeTabularExplainer(frame, mode="regression", categorical_features=[4]).explain_instance(
        frame.iloc[0], model.predict
    )
    assert f"e={code}" in dict(by_frame.as_list())
    with pytest.raises(WhyboxError, match="no code 7"):
        explainer.explain_instance([0, 0, 0, 0, 7], model.predict)
    with pytest.raises(WhyboxError, match="no column 9"):
        LimeTabularExplainer(coded, categorical_features=[9])
    with pytest.raises(WhyboxError, match="frame in which categories"):
        LimeTabularExplainer(coded, categorical_features=[4], discretizer="decile")


def test_codes_that_a_model_reads_as_categories():
    coded = np.column_stack([X[:, :2], draw.integers(0, 3, 120)])
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(coded, y > 0.5, categorical_feature=[2])
    frame = pd.DataFrame(coded, columns=list("abc")).astype({"c": int}).astype({"c": "category"})
    for data, row in ((coded, coded[0]), (frame, frame.iloc[0])):
        explainer = LimeTabularExplainer(data, categorical_features=[2], categorical_names={2: ["u", "v", "w"]})
        fitted = model if data is coded else lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(frame, y > 0.5)
        exp = explainer.explain_instance(row, fitted.predict_proba)
        assert any(name.endswith(f"={'uvw'[int(coded[0, 2])]}") for name, _ in exp.as_list())


def test_frames_keep_their_types():
    frame = pd.DataFrame(X, columns=NAMES).assign(city=np.where(X[:, 0] > 0, "Bonn", "Ulm"))
    steps = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    model = make_pipeline(steps, LogisticRegression()).fit(frame, y > 0.5)
    explainer = LimeTabularExplainer(frame)
    by_series = explainer.explain_instance(frame.iloc[0], model.predict_proba)
    assert any(name.startswith("city = ") for name, _ in by_series.as_list())
    for row in (frame.iloc[:1], dict(frame.iloc[0]), frame.iloc[0].to_numpy()):
        assert explainer.explain_instance(row, model.predict_proba).as_list() == by_series.as_list()


def test_columns_of_arrays_are_taken_by_position():
    frame = pd.DataFrame(X, columns=["d", "c", "b", "a"])
    model = RandomForestClassifier(5, random_state=0).fit(frame, CLASSES)
    exp = LimeTabularExplainer(X, feature_names=["a", "b", "c", "d"]).explain_instance(X[0], model.predict_proba)
    own = wb.lime(model, frame[:1], frame, output="all", alpha=1)[0]
    np.testing.assert_allclose([w for _, w in sorted(exp.local_exp[1])], own.values[:, 1])
    assert exp.domain_mapper.discretized_feature_names[0] == own.extras["condition"][1][0].replace("d", "a")


def test_a_sparse_row_is_a_row(explainer):
    of_sparse = explainer.explain_instance(csr_matrix(X)[0], FOREST.predict_proba)
    assert of_sparse.as_list() == explainer.explain_instance(X[0], FOREST.predict_proba).as_list()
    with pytest.raises(AttributeError, match="no attribute 'scalers'"):
        explainer.scalers  # noqa: B018  # it is read


def test_a_series_is_taken_by_its_names():
    frame = pd.DataFrame(X, columns=NAMES)
    of_frame = LimeTabularExplainer(frame)
    turned = frame[NAMES[::-1]].iloc[0]
    assert (
        of_frame.explain_instance(turned, FOREST.predict_proba).as_list()
        == of_frame.explain_instance(frame.iloc[0], FOREST.predict_proba).as_list()
    )


@pytest.mark.parametrize("columns", [range(4), ["10", "3", "30", "0"], ["x", "x <", "0.3 < x", "0"]])
def test_names_given_beside_a_frame_replace_its_own_alone(columns):
    frame = pd.DataFrame(X, columns=list(columns))
    of_frame, of_array = (
        LimeTabularExplainer(rows, feature_names=NAMES).explain_instance(X[0], FOREST.predict_proba)
        for rows in (frame, X)
    )
    assert dict(of_frame.as_list()) == dict(of_array.as_list())


def test_an_explainer_can_be_pickled_and_follows_a_model_that_is_fitted_again(explainer):
    model = RandomForestClassifier(5, random_state=0).fit(X, CLASSES)
    before = explainer.explain_instance(X[0], model.predict_proba).as_list()
    assert pickle.loads(pickle.dumps(explainer)).explain_instance(X[0], model.predict_proba).as_list() == before
    model.set_params(random_state=1).fit(X, CLASSES)
    fresh = LimeTabularExplainer(X, feature_names=NAMES).explain_instance(X[0], model.predict_proba).as_list()
    assert explainer.explain_instance(X[0], model.predict_proba).as_list() == fresh != before


def test_figures_and_pages(explainer, tmp_path, monkeypatch):
    exp = explainer.explain_instance(X[3], FOREST.predict_proba, labels=(0, 1), num_features=2)
    figure = exp.as_pyplot_figure(label=0, figsize=(5, 4))
    assert figure.get_size_inches().tolist() == [5, 4]
    assert "low" in figure.axes[0].get_title(loc="left") + str(figure.axes[0].texts)
    assert len(figure.axes[0].get_yticklabels()) == 2
    page = exp.as_html(show_table=True, show_all=False)
    assert all(name in page for name in ("low", "mid", "high", "<svg"))
    assert "<script" not in page
    assert "What does the model predict" not in exp.as_html(labels=[0], predict_proba=False)
    exp.save_to_file(tmp_path / "e.html")
    assert (tmp_path / "e.html").read_text(encoding="utf-8") == page
    shown = []
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(version_info=(9, 0), get_ipython=lambda: None))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(HTML=str, display=shown.append))
    exp.show_in_notebook()
    assert shown[0].startswith("<iframe srcdoc=")
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(MissingDependencyError, match="ipython"):
        exp.show_in_notebook()
    with pytest.raises(WhyboxError, match="no argument of a page"):
        exp.as_html(colour="red")


def test_verbose_prints_the_fit(capsys):
    exp = LimeTabularExplainer(X, mode="regression", verbose=True).explain_instance(X[0], NUMBERS.predict)
    out = capsys.readouterr().out.splitlines()
    assert out == [
        f"Intercept {exp.intercept[1]}",
        f"Prediction_local {exp.local_preds[1]}",
        f"Right: {exp.predicted_value}",
    ]


def test_selection_by_none_shows_every_feature():
    exp = LimeTabularExplainer(X, feature_selection="none").explain_instance(X[0], FOREST.predict_proba, num_features=1)
    assert len(exp.as_list()) == 4


def test_random_states_are_seeds():
    model = GradientBoostingClassifier(n_estimators=5).fit(X, y > 0.5)
    found = [
        LimeTabularExplainer(X, random_state=state).explain_instance(X[0], model.predict_proba).as_list()
        for state in (None, 0, np.random.RandomState(3), np.random.RandomState(3))
    ]
    assert found[0] == found[1]
    assert found[2] == found[3]


def test_submodular_pick_counts_each_bin():
    explainer = LimeTabularExplainer(X, feature_names=NAMES)
    picked = SubmodularPick(explainer, X, FOREST.predict_proba, sample_size=30, num_features=4, num_exps_desired=3)
    assert len(picked.explanations) == 30
    assert picked.sp_explanations == [picked.explanations[i] for i in picked.V]
    sets = [{name for name, _ in e.as_list(e.available_labels()[0])} for e in picked.explanations]
    weights = {}
    for e in picked.explanations:
        for name, weight in e.as_list(e.available_labels()[0]):
            weights[name] = weights.get(name, 0.0) + abs(weight)
    first = max(range(30), key=lambda i: sum(np.sqrt(weights[name]) for name in sets[i]))
    assert picked.V[0] == first
    assert len(set(picked.V)) == 3
    numbers = LimeTabularExplainer(X, mode="regression")
    again = SubmodularPick(numbers, pd.DataFrame(X).to_numpy(), NUMBERS.predict, method="full", num_exps_desired=2)
    assert len(again.explanations) == 120


def test_names_of_lime_are_there():
    for name in lime.__all__:
        assert importlib.import_module(f"whybox.compat.lime.{name}") is getattr(lime, name)
    assert issubclass(LimeError, Exception)
    assert DomainMapper().map_exp_ids([(0, 1.0)]) == [(0, 1.0)]
    assert id_to_name(3) == "3"
    tabular = list(inspect.signature(LimeTabularExplainer).parameters)
    assert tabular[:5] == ["training_data", "mode", "training_labels", "feature_names", "categorical_features"]
    assert list(inspect.signature(LimeTabularExplainer.explain_instance).parameters)[1:] == [
        "data_row", "predict_fn", "labels", "top_labels", "num_features", "num_samples", "distance_metric", "model_regressor",
    ]  # fmt: skip


PROBA = FOREST.predict_proba


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda: RecurrentTabularExplainer(X), "wb.saliency"),
        (lambda: LimeTabularExplainer(X, kernel=np.exp), "kernel_width"),
        (lambda: LimeTabularExplainer(X, feature_selection="lasso_path"), "'highest_weights'"),
        (lambda: LimeTabularExplainer(X, feature_selection="forward_selection"), "'highest_weights'"),
        (lambda: LimeTabularExplainer(X, feature_selection="best"), "is not known"),
        (lambda: LimeTabularExplainer(X, sample_around_instance=True), "neighbourhood='row'"),
        (lambda: LimeTabularExplainer(X, training_data_stats={}), "rows like those of training"),
        (lambda: LimeTabularExplainer(X, discretizer=object()), "edges by column"),
        (lambda: LimeTabularExplainer(X, discretizer="thirds"), "is not known"),
        (lambda: LimeTabularExplainer(X, discretizer="entropy"), "training_labels"),
        (lambda: LimeTabularExplainer(X, mode="ranking"), "is not known"),
        (lambda: LimeTabularExplainer(X, feature_names=["a"]), "4 different names"),
        (lambda: LimeTabularExplainer(X).explain_instance(X[0], PROBA, distance_metric="cosine"), "leave it out"),
        (lambda: LimeTabularExplainer(X).explain_instance(X[0], PROBA, model_regressor=NUMBERS), "a Ridge"),
        (lambda: LimeTabularExplainer(X).explain_instance(X[0], FOREST), "model.predict_proba"),
        (lambda: LimeTabularExplainer(X).explain_instance(X[0], FOREST.predict), "probabilities"),
        (lambda: LimeTabularExplainer(X).explain_instance(X[:2], PROBA), "takes one row"),
        (lambda: LimeTabularExplainer(X).explain_instance(X[0, :2], PROBA), "4 columns"),
        (lambda: LimeTabularExplainer(X).scaler, "StandardScaler"),
        (lambda: LimeTabularExplainer(X).feature_frequencies, "value_counts"),
        (lambda: discretize.BaseDiscretizer(X), "edges of bins"),
        (lambda: discretize.StatsDiscretizer(X), "rows like those"),
        (lambda: discretize.QuartileDiscretizer(X), "discretizer='quartile'"),
        (lambda: lime_base.LimeBase(np.exp), "wb.lime"),
        (lambda: DomainMapper().visualize_instance_html([]), "as_html"),
        (lambda: Explanation(DomainMapper(), mode="ranking"), "is not known"),
        (lambda: SubmodularPick(object(), X, PROBA), "LimeTextExplainer"),
        (lambda: SubmodularPick(LimeTabularExplainer(X), X, PROBA, top_labels=2), "wb.submodular_pick"),
        (lambda: SubmodularPick(LimeTabularExplainer(X), X, PROBA, method="half"), "is not known"),
        (lambda: LimeTextExplainer(mask_string="x"), "bow=False"),
        (lambda: LimeTextExplainer().explain_instance(["a"], PROBA), "must be a text"),
        (lambda: LimeTextExplainer().explain_instance("a", FOREST), "list of texts"),
    ],
)
def test_what_is_not_honoured_raises_with_what_to_do(call, advice):
    with pytest.raises(WhyboxError, match=advice):
        call()
