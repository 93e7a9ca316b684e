"""Results of statsmodels: read as linear models, matched by name, compared with brute force over their own predict; formulas evaluated in the user's columns."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest

import whybox as wb
from whybox.errors import InputError, ModelMismatchError
from whybox.models.agreement import compare_predictions
from whybox.models.inputs import Inputs, NumberEncoder
from whybox.models.linear import Linear
from whybox.models.links import Link, Outputs

sm = pytest.importorskip("statsmodels.api")
smf = pytest.importorskip("statsmodels.formula.api")
pytestmark = pytest.mark.filterwarnings("ignore:.*does not respect the domain", "ignore::FutureWarning:statsmodels")


@pytest.fixture(scope="module")
def rows():
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    X = X[["age", "bmi", "bp", "s5"]] / [100, 10, 100, 5]
    return X.assign(
        y=y / 100,
        ill=(y > 140).astype(int),
        sick=y > 140,
        count=(y / 20).round(),
        group=np.where(X["age"] > 0.5, "old", "young"),
        years=np.linspace(0.5, 1.0, len(X)),
    )


class Logit(sm.families.links.Power):
    """A link that is called as another one of the library: 1 + the square of the sum."""

    def __init__(self):
        super().__init__(power=0.5)

    def __call__(self, p):
        return super().__call__(np.maximum(p - 1.0, 1e-3))

    def inverse(self, z):
        return super().inverse(z) + 1.0


FEATURES = ["age", "bmi", "bp", "s5"]
FAMILIES = {
    "gaussian": ("y", lambda f: f.Gaussian()),
    "gaussian, log": ("y", lambda f: f.Gaussian(sm.families.links.Log())),
    "poisson": ("count", lambda f: f.Poisson()),
    "gamma, log": ("y", lambda f: f.Gamma(sm.families.links.Log())),
    "gamma, inverse": ("y", lambda f: f.Gamma()),
    "inverse gaussian": ("years", lambda f: f.InverseGaussian()),  # its link is defined for positive sums only
    "gaussian, a link of the user's own": ("y", lambda f: f.Gaussian(Logit(), check_link=False)),
    "binomial": ("ill", lambda f: f.Binomial()),
    "binomial, probit": ("ill", lambda f: f.Binomial(sm.families.links.Probit())),
    "binomial, cloglog": ("ill", lambda f: f.Binomial(sm.families.links.CLogLog())),
    "negative binomial": ("count", lambda f: f.NegativeBinomial(alpha=0.5)),
    "tweedie": ("count", lambda f: f.Tweedie(sm.families.links.Log(), var_power=1.5)),
}


def sums_by_force(results, rows, background, **more):
    """Shapley values of the library's own sums, over all coalitions: a function is evaluated, nothing is read."""
    of_rows = lambda given: results.predict(given, **more)
    found = wb.explain(of_rows, rows, background, method="exact_shap")
    assert found.evidence.method_id == "shap.exact_shap"
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_generalized_linear_models_are_read_on_the_scale_of_their_sum(rows, name):
    truth, family = FAMILIES[name]
    X = sm.add_constant(rows[FEATURES])
    results = sm.GLM(rows[truth], X, family=family(sm.families)).fit()
    e = wb.explain(results, X[:8], X[:40])
    assert e.evidence.method_id == "shap.linear_shap"
    assert e.evidence.exact
    expected = sums_by_force(results, X[:8], X[:40], which="linear")
    np.testing.assert_allclose(e.values, expected.values, atol=1e-10)
    np.testing.assert_allclose(e.prediction, results.predict(X[:8], which="linear"), rtol=1e-12)
    assert (e[:, "const"].values == 0).all()
    behind = wb.explain(results, X[:3], X[:20], scale="response")
    np.testing.assert_allclose(behind.prediction, results.predict(X[:3]), rtol=1e-12)
    np.testing.assert_allclose(behind.values, sums_by_force(results, X[:3], X[:20]).values, atol=1e-10)


CLASSES = {
    "Logit": lambda rows, X: sm.Logit(rows["ill"], X).fit(disp=0),
    "Probit": lambda rows, X: sm.Probit(rows["ill"], X).fit(disp=0),
    "Poisson": lambda rows, X: sm.Poisson(rows["count"], X).fit(disp=0),
    "NegativeBinomial": lambda rows, X: sm.NegativeBinomial(rows["count"], X).fit(disp=0),
    "OLS": lambda rows, X: sm.OLS(rows["y"], X).fit(),
    "WLS": lambda rows, X: sm.WLS(rows["y"], X, weights=rows["years"]).fit(),
    "GLS": lambda rows, X: sm.GLS(rows["y"], X, sigma=rows["years"]).fit(),
    "GEE": lambda rows, X: sm.GEE(rows["y"], X, groups=rows["group"]).fit(),
    "RLM": lambda rows, X: sm.RLM(rows["y"], X).fit(),
    "QuantReg": lambda rows, X: sm.QuantReg(rows["y"], X).fit(q=0.8),
    "OLS, regularized": lambda rows, X: sm.OLS(rows["y"], X).fit_regularized(alpha=0.01),
}


@pytest.mark.parametrize("name", CLASSES)
def test_other_models_with_one_sum_are_read(rows, name):
    X = sm.add_constant(rows[FEATURES])
    results = CLASSES[name](rows, X)
    e = wb.explain(results, X[:5], X[:40])
    assert e.evidence.method_id == "shap.linear_shap"
    more = {"which": "linear"} if name in ("Logit", "Probit", "Poisson", "NegativeBinomial") else {}
    np.testing.assert_allclose(e.values, sums_by_force(results, X[:5], X[:40], **more).values, atol=1e-10)


def test_several_columns_of_truth_are_outputs_of_their_names(rows):
    X = sm.add_constant(rows[FEATURES])
    together = sm.OLS(rows[["y", "count"]], X).fit()
    e = wb.explain(together, X[:5], X[:40])
    assert e.evidence.method_id == "shap.linear_shap"
    assert e.output_names == ("y", "count")
    for k, name in enumerate(e.output_names):
        alone = wb.explain(sm.OLS(rows[name], X).fit(), X[:5], X[:40])
        np.testing.assert_allclose(e.values[..., k], alone.values, atol=1e-12)
        np.testing.assert_allclose(e.prediction[:, k], np.asarray(together.predict(X[:5]))[:, k], rtol=1e-12)


def test_classes_of_a_multinomial_model_have_their_labels(rows):
    X = sm.add_constant(rows[FEATURES])
    grade = pd.cut(rows["y"], [0, 1, 2, 9], labels=["low", "middle", "high"])
    results = sm.MNLogit(grade.cat.codes, X).fit(disp=0)
    e = wb.explain(results, X[:4], X[:30], scale="response")
    np.testing.assert_allclose(e.prediction, results.predict(X[:4]), atol=1e-12)
    assert e.output_names == ("0", "1", "2")
    raw = wb.explain(results, X[:4], X[:30])
    expected = sums_by_force(results, X[:4], X[:30], which="linear")
    np.testing.assert_allclose(raw.values, expected.values, atol=1e-10)


def test_columns_in_another_order_are_matched_by_name_where_the_library_takes_them_by_position(rows):
    X = sm.add_constant(rows[FEATURES])
    results = sm.GLM(rows["count"], X, family=sm.families.Poisson()).fit()
    shuffled = X[["s5", "const", "bp", "age", "bmi"]]
    assert not np.allclose(results.predict(shuffled), results.predict(X))  # wrong without a word
    right = wb.explain(results, X[:5], X[:40])
    e = wb.explain(results, shuffled[:5], shuffled[:40])
    assert e.feature_names == right.feature_names
    np.testing.assert_array_equal(e.values, right.values)
    np.testing.assert_array_equal(
        wb.explain(results, pl.from_pandas(X[:5]), pl.from_pandas(X[:40])).values, right.values
    )


def test_models_that_are_evaluated_are_matched_by_name_too(rows):
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    grade = pd.Series(pd.cut(rows["y"], [0, 1, 2, 9], labels=["low", "middle", "high"]))
    results = OrderedModel(grade, rows[FEATURES], distr="logit").fit(disp=0, method="bfgs")
    X = rows[FEATURES]
    e = wb.explain(results, X[:4][FEATURES[::-1]], X[:20])
    assert e.evidence.method_id == "shap.exact_shap"
    np.testing.assert_allclose(e.prediction, results.predict(X[:4]), rtol=1e-12)
    np.testing.assert_array_equal(e.values, wb.explain(results, X[:4], X[:20]).values)


def test_saved_results_are_read(rows):
    """Without the data that they were fitted to, where `save` removes them."""
    results = smf.glm("count ~ age + bmi", rows, family=sm.families.Poisson()).fit()
    right = wb.explain(results, rows[:5], rows[:40])
    for again in (pickle.loads(pickle.dumps(results)), _saved_without_data(results)):
        np.testing.assert_array_equal(wb.explain(again, rows[:5], rows[:40]).values, right.values)


def test_results_without_their_data_are_matched_by_name_or_refused(rows):
    X = sm.add_constant(rows[FEATURES])
    shuffled = X[[*FEATURES[::-1], "const"]]
    counted = sm.NegativeBinomial(rows["count"], X).fit(disp=0)
    right = wb.explain(counted, X[:5], X[:40])
    again = _saved_without_data(counted)
    np.testing.assert_array_equal(wb.explain(again, shuffled[:5], shuffled[:40]).values, right.values)
    for build in (
        lambda: sm.GLM(rows["count"], X, family=sm.families.Poisson()).fit(),
        lambda: sm.Logit(rows["ill"], X).fit(disp=0),
    ):
        again = _saved_without_data(build())
        with pytest.raises(InputError, match=r"results\.model\.data\.xnames = "):
            wb.explain(again, shuffled[:5], shuffled[:40])
        again.model.data.xnames = list(X.columns)
        e, right = wb.explain(again, shuffled[:5], shuffled[:40]), wb.explain(build(), X[:5], X[:40])
        np.testing.assert_array_equal(e.values, right.values)
    evaluated = sm.GeneralizedPoisson(rows["count"], X).fit(disp=0)
    right, again = wb.explain(evaluated, X[:5], X[:40]), _saved_without_data(evaluated)
    with pytest.raises(InputError, match=r"cannot be matched by name: pass arrays"):
        wb.explain(again, shuffled[:5], shuffled[:40])
    by_position = wb.explain(again, X[:5].to_numpy(), X[:40].to_numpy())
    np.testing.assert_array_equal(by_position.values, right.values)


def _saved_without_data(results):
    file = io.BytesIO()
    results.save(file, remove_data=True)
    file.seek(0)
    return sm.load(file)


def test_its_predict_method_means_the_scale_of_predictions(rows):
    X = sm.add_constant(rows[FEATURES])
    results = sm.GLM(rows["count"], X, family=sm.families.Poisson()).fit()
    e = wb.explain(results.predict, X[:3][X.columns[::-1]], X[:20])
    np.testing.assert_array_equal(e.values, wb.explain(results, X[:3], X[:20], scale="response").values)
    curved = smf.glm("count ~ np.log(age) + bmi", rows, family=sm.families.Poisson()).fit()
    columns = rows[["age", "bmi"]]
    e = wb.explain(curved.predict, columns[:3], columns[:20])
    np.testing.assert_allclose(e.prediction, curved.predict(columns[:3]), rtol=1e-12)


def test_arrays_are_taken_by_position(rows):
    X = sm.add_constant(rows[FEATURES])
    framed = sm.OLS(rows["y"], X).fit()
    plain = sm.OLS(rows["y"].to_numpy(), X.to_numpy()).fit()
    e = wb.explain(plain, X.to_numpy()[:5], X.to_numpy()[:40])
    np.testing.assert_allclose(e.values, wb.explain(framed, X[:5], X[:40]).values, atol=1e-12)
    assert e.feature_names == ("const", "x1", "x2", "x3", "x4")


def test_a_formula_of_plain_columns_is_read_and_takes_the_users_frame(rows):
    results = smf.glm("count ~ age + bmi + bp", rows, family=sm.families.Poisson()).fit()
    e = wb.explain(results, rows[:5], rows[:40])
    assert e.evidence.method_id == "shap.linear_shap"
    assert e.feature_names == ("age", "bmi", "bp")
    columns = ["age", "bmi", "bp"]
    expected = sums_by_force(results, rows[columns][:5], rows[columns][:40], which="linear")
    np.testing.assert_allclose(e.values, expected.values, atol=1e-10)
    quoted = rows.rename(columns={"bmi": "body mass"})
    named = smf.ols("y ~ age + Q('body mass') - 1", quoted).fit()
    assert wb.explain(named, quoted[:3], quoted[:9]).feature_names == ("age", "body mass")


FORMULAS = (
    "count ~ np.log(age) + bmi",
    "count ~ age * bmi",
    "count ~ age + C(group)",
    "count ~ age + group",
    "count ~ bs(bmi, df=4) + age",
)


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_that_changes_columns_is_evaluated_in_them_on_the_same_scale(rows, formula):
    results = smf.glm(formula, rows, family=sm.families.Poisson()).fit()
    X = rows[["age", "bmi", "group"]]
    e = wb.explain(results, X[:5], X[:40])
    assert e.evidence.method_id == "shap.exact_shap"
    assert e.units == "log of the prediction"
    np.testing.assert_allclose(e.prediction, np.log(results.predict(X[:5])), atol=1e-10)
    assert any("of its own" in note for note in e.evidence.notes)
    behind = wb.explain(results, X[:5], X[:40], scale="response")
    np.testing.assert_allclose(behind.prediction, results.predict(X[:5]), atol=1e-10)
    if formula == "count ~ np.log(age) + bmi":  # additive, so known
        w = results.params["np.log(age)"]
        expected = w * (np.log(X["age"][:5]) - np.log(X["age"][:40]).mean())
        np.testing.assert_allclose(e[:, "age"].values, expected, atol=1e-10)


def test_the_class_that_a_formula_predicts_is_named(rows):
    """Of a truth of booleans, statsmodels makes two columns and predicts the first: that of False."""
    results = smf.glm("sick ~ age + bmi", rows, family=sm.families.Binomial()).fit()
    X = rows[["age", "bmi"]]
    e = wb.explain(results, X[:5], X[:40], output="False")
    np.testing.assert_allclose(e.prediction, results.predict(X[:5], which="linear"), atol=1e-12)
    assert results.predict(X[rows["sick"]]).mean() < results.predict(X[~rows["sick"]]).mean()
    assert e.output_name == "False"
    assert wb.importance(results, X, rows["sick"]).values.max() > 0


def test_offsets_and_exposures(rows):
    X = sm.add_constant(rows[FEATURES])
    results = sm.GLM(rows["count"], X, family=sm.families.Poisson(), exposure=rows["years"]).fit()
    without = wb.explain(results, X[:5], X[:40])
    assert any("fitted with exposure" in note for note in without.evidence.notes)
    offset = np.log(rows["years"][:5].to_numpy())
    e = wb.explain(results, X[:5], X[:40], offset=offset)
    np.testing.assert_array_equal(e.values, without.values)
    total = e.base_values + e.values.sum(axis=1)
    np.testing.assert_allclose(np.exp(total), results.predict(X[:5], exposure=rows["years"][:5]), rtol=1e-12)
    formula = smf.glm("count ~ age + bmi", rows, family=sm.families.Poisson(), exposure=rows["years"]).fit()
    by_name = wb.explain(formula, rows[:5], rows[:40], offset=offset)
    total = by_name.base_values + by_name.values.sum(axis=1)
    np.testing.assert_allclose(np.exp(total), formula.predict(rows[:5], exposure=rows["years"][:5]), rtol=1e-12)


def test_a_formula_that_is_evaluated_says_that_it_was_fitted_with_an_offset(rows):
    formula = smf.glm(
        "count ~ np.exp(age / 50) * bmi", rows, family=sm.families.Poisson(), exposure=rows["years"]
    ).fit()
    e = wb.explain(formula, rows[:5], rows[:40])
    assert any("fitted with exposure; predictions of rows are those at offset 0" in note for note in e.evidence.notes)
    total = e.base_values + e.values.sum(axis=1)
    np.testing.assert_allclose(np.exp(total), formula.predict(rows[:5], exposure=np.ones(5)), rtol=1e-9)
    plain = smf.glm("count ~ np.exp(age / 50) * bmi", rows, family=sm.families.Poisson()).fit()
    assert not any("offset" in note for note in wb.explain(plain, rows[:5], rows[:40]).evidence.notes)


def test_a_binomial_model_saved_without_its_data_is_in_log_odds(rows, tmp_path):
    results = smf.glm(
        "sick ~ age + bmi", rows.assign(sick=rows["sick"].astype(int)), family=sm.families.Binomial()
    ).fit()
    before = wb.explain(results, rows[:5], rows[:40])
    results.save(str(tmp_path / "results.pickle"), remove_data=True)
    after = wb.explain(sm.load(str(tmp_path / "results.pickle")), rows[:5], rows[:40])
    assert before.units == after.units == "log-odds"
    np.testing.assert_array_equal(before.values, after.values)


def test_the_link_of_a_gee_is_that_of_its_family(rows):
    results = smf.gee("count ~ age + bmi", groups=rows["group"], data=rows, family=sm.families.Poisson()).fit()
    e = wb.explain(results, rows[:5], rows[:40])
    assert e.evidence.method_id == "shap.linear_shap"
    np.testing.assert_allclose(np.exp(e.prediction), results.predict(rows[:5]), rtol=1e-12)


def test_random_effects_are_left_out_as_by_predict(rows):
    results = smf.mixedlm("y ~ age + bmi", rows, groups=rows["group"]).fit()
    e = wb.explain(results, rows[:5], rows[:40])
    np.testing.assert_allclose(e.prediction, results.predict(rows[:5]), rtol=1e-12)
    assert any("random effects" in note for note in e.evidence.notes)


def test_effects_importance_lime_and_copies(rows):
    X = sm.add_constant(rows[FEATURES])
    results = sm.GLM(rows["count"], X, family=sm.families.Poisson()).fit()
    curve = wb.effects(results, X[:60], ["bmi"], scale="response")["bmi"]
    changed = X[:60].assign(bmi=curve.grid[3])
    np.testing.assert_allclose(curve.values[3], results.predict(changed).mean(), rtol=1e-12)
    assert wb.importance(results, X, rows["count"]).feature_names
    assert wb.lime(results, X[:2], X[:60]).evidence.method_id
    kept = wb.explainers.LinearShap(results, X[:40])
    for again in (pickle.loads(pickle.dumps(kept)), copy.deepcopy(kept)):
        np.testing.assert_array_equal(again(X[:4]).values, kept(X[:4]).values)


def test_what_cannot_be_right_is_refused(rows):
    X = sm.add_constant(rows[FEATURES])
    with pytest.raises(InputError, match="before fit"):
        wb.explain(sm.OLS(rows["y"], X), X[:5], X[:40])
    times = sm.tsa.ARIMA(rows["y"].to_numpy()[:60], order=(1, 0, 0)).fit()
    with pytest.raises(InputError, match="forecasts times"):
        wb.explain(times, X[:5], X[:40])
    holes = X[:5].copy()
    holes.iloc[0, 2] = np.nan
    results = sm.OLS(rows["y"], X).fit()
    with pytest.raises(InputError, match="bmi"):
        wb.explain(results, holes, X[:40])


def test_results_that_predict_otherwise_are_refused(rows):
    X = sm.add_constant(rows[FEATURES])
    results = sm.OLS(rows["y"], X).fit()
    own = results.model.predict
    results.model.predict = lambda params, exog, *a, **k: own(params, exog, *a, **k) + exog[:, 2] ** 2
    with pytest.raises(ModelMismatchError):
        wb.explain(results, X[:5], X[:40])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_are_no_numbers_agree_with_the_same_only(value):
    """Beyond what a link is defined for, rounding explains nothing: the library's own must be the same."""
    outputs = Outputs(("prediction",), Link("none", function=lambda raw: np.where(raw > 0, raw, value)))
    inputs = Inputs(("a",), True, NumberEncoder("GLM"), ((0,),))
    model = Linear(weights=np.ones((1, 1)), base_values=np.zeros(1), inputs=inputs, outputs=outputs, kind="GLM")
    raw = np.array([[1.0], [-1.0]])
    more = {"scale": "response", "relative": 1e-12, "rounding_scale": np.ones(1)}
    difference, tolerance = compare_predictions(model, raw, np.array([[1.0], [value]]), **more)
    assert difference == 0.0
    assert 0.0 < tolerance < 1e-9
    for expected in ([1.0, 3.0], [value, value], [1.0, -np.inf]):
        with pytest.raises(ModelMismatchError):
            compare_predictions(model, raw, np.array(expected)[:, None], **more)
