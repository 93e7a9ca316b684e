"""`wb.explain(..., loss=, y=)`: what is refused before any work, what the result says, and how it is cut, joined, kept and drawn."""

from __future__ import annotations

import pickle

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.svm import SVR

import whybox as wb
from whybox.errors import InputError, OptionError, UnsupportedModelError
from whybox.explainers import ExactShap, SampledShap, TreeShap
from whybox.methods.shap.options import ShapOptions

mpl.use("agg")
RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(60, 4)), columns=list("abcd"))
Y = (X["a"] * X["b"] + X["c"]).to_numpy()
KIND = np.where(Y > 0, "yes", "no")
ROWS, BACKGROUND, TRUTH = X[:6], X[30:45], Y[:6]
MODEL = SVR().fit(X, Y)
TREES = RandomForestRegressor(3, max_depth=3, random_state=0).fit(X, Y)
CLASSES = LogisticRegression().fit(X, KIND)


@pytest.fixture(scope="module")
def explained():
    return wb.explain(MODEL, ROWS, BACKGROUND, loss="squared", y=TRUTH)


# what is refused


class Never:
    """A model that must not be called."""

    def predict(self, rows):
        raise AssertionError("called")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"loss": "squared"}, r"loss='squared' compares predictions with the truth: pass y\."),
        ({"y": TRUTH}, r"y, the truth of each row, is used where its loss is explained: pass loss="),
        ({"loss": "sqared", "y": TRUTH}, "loss='sqared' is not known. Did you mean 'squared'"),
        ({"loss": "pinball(7)", "y": TRUTH}, "pinball takes a level between 0 and 1"),
        (
            {"loss": "squared", "y": TRUTH, "scale": "raw"},
            "a loss compares predictions with the truth; leave scale out",
        ),
        ({"loss": "squared", "y": TRUTH, "stochastic": True}, "stochastic=True does not go with loss"),
        ({"loss": "squared", "y": TRUTH, "surrogate": True}, "surrogate=True does not go with loss"),
        ({"loss": "squared", "y": TRUTH, "method": "partition_shap"}, "method='partition_shap' does not take 'loss'"),
    ],
)
def test_refused_before_the_model_is_called(options, says):
    with pytest.raises(OptionError, match=says):
        wb.explain(Never(), ROWS, BACKGROUND, **options)
    with pytest.raises(OptionError, match=says):
        wb.plan(wb.explain, Never(), ROWS, BACKGROUND, **options)


@pytest.mark.parametrize(
    ("model", "options", "error", "says"),
    [
        (MODEL, {"loss": "squared", "y": TRUTH[:5]}, InputError, "y has 5 values for 6 rows"),
        (MODEL, {"loss": "squared", "y": [np.nan, *TRUTH[1:]]}, InputError, "y has 1 missing or infinite values"),
        (MODEL, {"loss": "log", "y": KIND[:6]}, OptionError, "needs probabilities of classes; this model predicts num"),
        (CLASSES, {"loss": "squared", "y": TRUTH}, OptionError, "is of numbers; this model predicts probabilities of"),
        (CLASSES, {"loss": "log", "y": ["maybe"] * 6}, InputError, "none of the model's classes"),
        (
            CLASSES,
            {"loss": "log", "y": KIND[:6], "output": "yes"},
            OptionError,
            "a loss of classes is about all of them",
        ),
        (MODEL, {"loss": "poisson", "y": -np.ones(6)}, InputError, "is defined for truths at least 0"),
        (MODEL, {"loss": "poisson", "y": np.ones(6)}, OptionError, "needs positive predictions"),
        (MODEL, {"loss": "squared", "y": "a"}, OptionError, "y='a' is a column that the model reads"),
        (MODEL, {"loss": "squared", "y": "target"}, OptionError, "y='target' is no column of the rows"),
        (TREES, {"loss": "squared", "y": TRUTH, "method": "tree_shap"}, OptionError, "does not take 'loss'"),
        (Perceptron().fit(X, KIND), {"loss": "log", "y": KIND[:6]}, UnsupportedModelError, "gives no probabilities"),
    ],
)
def test_refused_for_a_model(model, options, error, says):
    with pytest.raises(error, match=says):
        wb.explain(model, ROWS, BACKGROUND, **options)


@pytest.mark.parametrize("model", [MODEL, TREES], ids=["evaluated", "read"])
def test_without_a_background(model):
    with pytest.raises((OptionError, UnsupportedModelError), match=r"background=X_train"):
        wb.explain(model, ROWS, loss="squared", y=TRUTH)


def test_texts_and_methods_that_read_a_model_have_no_loss():
    with pytest.raises(OptionError, match="y goes with a loss, which is explained of tables"):
        wb.explain(len, ["a text"], y=[1.0])
    with pytest.raises(OptionError, match="loss is an option of tables"):
        wb.explain(len, ["a text"], loss="squared")
    with pytest.raises(OptionError, match="does not take 'loss'"):
        TreeShap(TREES, BACKGROUND, loss="squared")


# what is chosen and told


def test_models_that_are_read_are_evaluated():
    e = wb.explain(TREES, ROWS, BACKGROUND, loss="absolute", y=TRUTH)
    assert e.method_id == "shap.exact_shap"
    assert any("it is the loss that is explained" in note for note in e.evidence.notes)
    np.testing.assert_allclose(e.prediction, np.abs(TRUTH - TREES.predict(ROWS)), atol=1e-12)
    few = wb.explain(TREES, ROWS, BACKGROUND, loss="absolute", y=TRUTH, max_evals=600)
    assert few.method_id == "shap.sampled_shap"
    both = wb.explain(
        TREES,
        ROWS,
        BACKGROUND,
        loss="absolute",
        y=TRUTH,
        method=["exact", ShapOptions(method="exact_shap", loss="absolute")],
    )
    np.testing.assert_array_equal(both["exact"].values, both["exact_shap"].values)


def test_auto_is_the_loss_of_importance():
    assert wb.explain(MODEL, ROWS, BACKGROUND, loss="auto", y=TRUTH).evidence.settings["loss"] == "squared"
    assert wb.explain(CLASSES, ROWS, BACKGROUND, loss="auto", y=KIND[:6]).evidence.settings["loss"] == "log"
    importance = wb.importance(MODEL, ROWS, TRUTH, method="permutation")
    assert importance.units == wb.explain(MODEL, ROWS, BACKGROUND, loss="auto", y=TRUTH).units


def test_a_truth_in_another_order_is_refused():
    truth = pd.Series(TRUTH, index=ROWS.index)
    shuffled, says = (
        truth[::-1],
        r"^y has the row labels of X in another order.*pass y\.loc\[X\.index\], or y\.to_numpy\(\)",
    )
    with pytest.raises(InputError, match=says):
        wb.explain(MODEL, ROWS, BACKGROUND, loss="squared", y=shuffled)
    for method in ("permutation", "conditional", "sage"):
        with pytest.raises(InputError, match=says):
            wb.importance(MODEL, ROWS, shuffled, method=method)
    own = wb.explain(MODEL, ROWS, BACKGROUND, loss="squared", y=truth).values
    for same in (shuffled.loc[ROWS.index], truth.to_numpy(), truth.set_axis(range(100, 106))):
        np.testing.assert_array_equal(wb.explain(MODEL, ROWS, BACKGROUND, loss="squared", y=same).values, own)


def test_the_truth_as_a_column_is_no_column_of_rows_and_background():
    frame = X.assign(target=Y)

    def sums(rows):
        assert list(rows.columns) == list("abcd")
        return rows.sum(axis=1)

    e = wb.explain(sums, frame[:6], frame[30:45], loss="squared", y="target")
    np.testing.assert_array_equal(e.values, wb.explain(sums, ROWS, BACKGROUND, loss="squared", y=TRUTH).values)
    assert e.feature_names == ("a", "b", "c", "d")
    explain = ExactShap(sums, BACKGROUND, loss="squared")
    np.testing.assert_array_equal(explain(frame[:6], y="target").values, e.values)
    assert explain.plan(frame[:6], y="target").model_calls == explain.plan(ROWS, y=TRUTH).model_calls


def test_evidence(explained):
    settings, evidence = explained.evidence.settings, explained.evidence
    assert settings == {"loss": "squared"}
    assert evidence.quantity == "share of the loss"
    assert "the loss with each of them, then the mean" in evidence.estimand
    assert evidence.residual_against == "the loss of SVR.predict"
    assert ("Attributions add up to the loss within") in str(evidence)
    other = wb.explain(MODEL, ROWS, BACKGROUND, loss="squared", y=TRUTH + 1)
    assert {k for k in evidence.fingerprints if evidence.fingerprints[k] != other.evidence.fingerprints[k]} == {"y"}
    assert explained.explained == "loss"
    assert wb.explain(MODEL, ROWS, BACKGROUND).explained == "prediction"
    assert wb.importance(MODEL, X, Y).explained == "prediction"
    classes = wb.explain(CLASSES, ROWS, BACKGROUND, loss="log", y=KIND[:6])
    assert classes.evidence.settings == {"loss": "log", "classes": ["no", "yes"]}
    assert classes.extras["y"][1].tolist() == KIND[:6].tolist()


def test_plan():
    plan = wb.plan(wb.explain, MODEL, ROWS, BACKGROUND, loss="squared", y=TRUTH)
    without = wb.plan(wb.explain, MODEL, ROWS, BACKGROUND)
    assert (plan.model_calls, plan.method_id) == (without.model_calls, without.method_id)
    assert wb.plan(wb.explain, MODEL, 6, BACKGROUND, loss="squared").model_calls == plan.model_calls
    with pytest.raises(OptionError, match="only their number is given"):
        wb.plan(wb.explain, MODEL, 6, BACKGROUND, loss="squared", y=TRUTH)


@pytest.mark.parametrize("explainer", [ExactShap, SampledShap])
def test_explainers_are_called_with_the_truth(explained, explainer):
    explain = pickle.loads(pickle.dumps(explainer(MODEL, BACKGROUND, loss="squared")))
    for at in (slice(0, 3), slice(3, 6)):
        np.testing.assert_allclose(explain(ROWS[at], y=TRUTH[at]).values, explained.values[at], atol=0.2)
    with pytest.raises(OptionError, match="pass y"):
        explain(ROWS)
    with pytest.raises(OptionError, match="leave y out"):
        explainer(MODEL, BACKGROUND)(ROWS, y=TRUTH)


def test_an_answer_on_its_way():
    seen = []
    e = SampledShap(MODEL, BACKGROUND, loss="squared", max_evals=600, tol=1e-9, callback=seen.append)(ROWS, y=TRUTH)
    assert seen
    np.testing.assert_array_equal(seen[0].base_values, e.base_values)


# how it is cut, joined, kept and drawn


def test_each_row_has_its_own_base(explained):
    e = explained
    assert np.isnan(e.base)
    assert e.base_values.shape == (6,)
    one = e[2]
    assert float(one.base) == e.base_values[2]
    np.testing.assert_allclose(one.values.sum() + one.base, one.prediction, atol=1e-12)
    assert float(e.sel(row=2).base) == e.base_values[2]
    np.testing.assert_array_equal(e[[4, 1]].base_values, e.base_values[[4, 1]])
    np.testing.assert_array_equal(e[:, "a"].base_values, e.base_values)
    pairs = wb.explain(MODEL, ROWS, BACKGROUND, loss="squared", y=TRUTH, order=2)
    assert float(pairs[2].base) == pairs.base_values[2]
    same = wb.explain(MODEL, ROWS[:2], BACKGROUND, loss="squared", y=[1.0, 1.0])
    assert float(same.base) == same.base_values[0]


def test_tables(explained):
    frame = explained.to_frame()
    np.testing.assert_array_equal(frame["base_value"], explained.base_values)
    np.testing.assert_allclose(frame[list("abcd")].sum(axis=1) + frame["base_value"], frame["prediction"], atol=1e-12)
    one = explained[1].to_frame()
    assert one["base_value"].tolist() == [explained.base_values[1]]
    assert {"y", "model_prediction", "base"} <= set(explained.to_frame(layout="long").columns)
    xr = pytest.importorskip("xarray")
    assert xr is not None
    np.testing.assert_array_equal(explained.to_xarray()["base"], explained.base_values)


def test_parts_are_joined(explained):
    parts = [wb.explain(MODEL, ROWS[at], BACKGROUND, loss="squared", y=TRUTH[at]) for at in (slice(0, 2), slice(2, 6))]
    joined = wb.concat(parts)
    np.testing.assert_array_equal(joined.values, explained.values)
    np.testing.assert_array_equal(joined.base_values, explained.base_values)
    assert np.isnan(joined.base)
    assert joined.evidence.fingerprints["y"] not in [p.evidence.fingerprints["y"] for p in parts]
    with pytest.raises(OptionError, match="cannot be joined|not of one explanation"):
        wb.concat([parts[0], wb.explain(MODEL, ROWS, BACKGROUND, loss="absolute", y=TRUTH)])
    with pytest.raises(OptionError, match="cannot be joined|not of one explanation"):
        wb.concat([parts[0], wb.explain(MODEL, ROWS, BACKGROUND)])


def test_saved_and_pickled(explained, tmp_path):
    classes = wb.explain(CLASSES, ROWS, BACKGROUND, loss="log", y=KIND[:6])
    for e in (explained, classes):
        e.save(tmp_path / "e.whybox")
        for again in (wb.load(tmp_path / "e.whybox"), pickle.loads(pickle.dumps(e))):
            np.testing.assert_array_equal(again.base_values, e.base_values)
            assert again.extras["y"][1].tolist() == e.extras["y"][1].tolist()
            assert again.explained == "loss"
            assert float(again[1].base) == e.base_values[1]


def test_figures_and_html_say_loss(explained):
    ax = explained[0].plot.waterfall()
    assert "from mean loss" in ax.get_xlabel()
    assert "to loss" in ax.get_xlabel()
    assert "Row 0: loss" in ax.get_title(loc="left")
    assert "loss" in [t.get_text() for t in explained.plot.heatmap().get_yticklabels()]
    assert "share of the loss" in explained.plot.bar().get_xlabel()
    explained.plot.beeswarm()
    html = explained._repr_html_()
    assert ">base</th>" in html
    assert ">loss</th>" in html
    assert "base nan" not in html
    assert "nan" not in explained[0]._repr_html_()
