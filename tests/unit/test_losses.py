"""Losses against scikit-learn's metrics, and the truth matched with a model's outputs."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn import metrics
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from whybox.errors import InputError, OptionError
from whybox.kernels.predict import raw_outputs
from whybox.models.links import Link, Outputs
from whybox.models.losses import (
    LOSSES,
    as_loss,
    class_labels,
    class_probabilities,
    likeliest_classes,
    true_classes,
    true_numbers,
)
from whybox.models.registry import as_model

DRAW = np.random.default_rng(0)
COUNTS, POSITIVE, ANY = DRAW.poisson(1.5, 200).astype(float), DRAW.gamma(2, 1, 200), DRAW.normal(size=200)
PREDICTED, WEIGHTS = DRAW.gamma(2, 1, 200), DRAW.random(200)


def tweedie(power):
    return lambda y, f, sample_weight: metrics.mean_tweedie_deviance(y, f, power=power, sample_weight=sample_weight)


def pinball(level):
    return lambda y, f, sample_weight: metrics.mean_pinball_loss(y, f, alpha=level, sample_weight=sample_weight)


@pytest.mark.parametrize(
    ("loss", "truth", "metric"),
    [
        ("squared", ANY, metrics.mean_squared_error),
        ("absolute", ANY, metrics.mean_absolute_error),
        ("squared_error", ANY, metrics.mean_squared_error),
        ("absolute_error", ANY, metrics.mean_absolute_error),
        ("pinball", ANY, pinball(0.5)),
        ("pinball(0.9)", ANY, pinball(0.9)),
        ("poisson", COUNTS, metrics.mean_poisson_deviance),
        ("tweedie", COUNTS, tweedie(1.5)),
        ("tweedie(1.1)", COUNTS, tweedie(1.1)),
        ("tweedie(0)", ANY, tweedie(0)),
        ("tweedie(1)", COUNTS, tweedie(1)),
        ("tweedie(2)", POSITIVE, metrics.mean_gamma_deviance),
        ("tweedie(3)", POSITIVE, tweedie(3)),
        ("tweedie(-1)", ANY, tweedie(-1)),
    ],
)
def test_means_of_losses_of_numbers_are_scikit_learn_s(loss, truth, metric):
    each = as_loss(loss)(truth, PREDICTED)
    assert each.shape == (200,)
    for w in (np.ones(200), WEIGHTS):
        assert np.average(each, weights=w) == pytest.approx(metric(truth, PREDICTED, sample_weight=w), rel=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_means_of_losses_of_classes_are_scikit_learn_s(classes):
    p = DRAW.dirichlet(np.ones(classes), 200)
    p[:5] = np.eye(classes)[0]  # certain, and sometimes wrong
    truth = DRAW.integers(0, classes, 200)
    labels = np.arange(classes)
    score = p[:, 1] if classes == 2 else p
    for w in (np.ones(200), WEIGHTS):
        mean = {name: np.average(LOSSES[name](truth, p), weights=w) for name in ("log", "zero_one", "brier")}
        assert mean["log"] == pytest.approx(metrics.log_loss(truth, p, labels=labels, sample_weight=w), rel=1e-12)
        want = metrics.zero_one_loss(truth, p.argmax(axis=1), sample_weight=w)
        assert mean["zero_one"] == pytest.approx(want, rel=1e-12)
        if classes == 2:
            assert mean["brier"] == pytest.approx(metrics.brier_score_loss(truth, score, sample_weight=w), rel=1e-12)
        else:
            squares = ((p - np.eye(classes)[truth]) ** 2).sum(axis=1)
            assert mean["brier"] == pytest.approx(np.average(squares, weights=w), rel=1e-12)


def test_of_classes_that_are_equal_but_for_rounding_the_first_is_the_most_probable():
    p = np.array([[0.3, 0.1 + 0.2, 0.4], [0.3, 0.1 + 0.2, 0.1], [0.5, np.nextafter(0.5, 1), 0.0], [0.49, 0.51, 0.0]])
    assert likeliest_classes(p).tolist() == [2, 0, 0, 1]
    assert LOSSES["zero_one"](np.array([2, 0, 1, 1]), p).tolist() == [0.0, 0.0, 1.0, 0.0]


def test_losses_have_names_units_and_survive_pickling():
    assert as_loss("pinball( 0.9 )").name == "pinball(0.9)"
    assert as_loss(as_loss("log")) is LOSSES["log"]
    for loss in (*LOSSES.values(), as_loss("tweedie(1.7)")):
        again = pickle.loads(pickle.dumps(loss))
        assert (again.name, again.units) == (loss.name, loss.units)
        assert as_loss(loss.name).name == loss.name


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("squarred", "Did you mean 'squared'"),
        ("mse", "Known: 'squared', 'absolute'"),
        (3, "loss=3"),
        (None, "loss=None"),
        ("pinball(1)", "between 0 and 1"),
        ("pinball(x)", "must be a number"),
        ("pinball()", "must be a number"),
        ("tweedie(0.5)", "at most 0 or at least 1"),
        ("tweedie(inf)", "at most 0 or at least 1"),
        ("log(2)", "take no parameter"),
    ],
)
def test_unknown_losses_are_refused(loss, words):
    with pytest.raises(OptionError) as error:
        as_loss(loss)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("loss", "truth", "words"),
    [
        ("poisson", [1.0, -2.0], "at least 0; 1 of 2 are not, the first being -2"),
        ("tweedie(2)", [1.0, 0.0], "above 0; 1 of 2 are not, the first being 0"),
    ],
)
def test_truths_outside_a_loss_are_refused(loss, truth, words):
    with pytest.raises(InputError, match=words):
        as_loss(loss)(np.array(truth), np.ones(2))


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_predictions_outside_a_loss_are_refused(bad):
    for loss in ("poisson", "tweedie", "tweedie(-1)", "tweedie(2)"):
        with pytest.raises(OptionError, match="needs positive predictions; 1 of 2 are not"):
            as_loss(loss)(np.ones(2), np.array([1.0, bad]))
    as_loss("tweedie(0)")(np.ones(2), np.array([1.0, -1.0]))


# the truth


@pytest.mark.parametrize(
    "given",
    [
        [1, 2.5, True],
        np.array([1, 2.5, 1]),
        pd.Series([1, 2.5, 1], index=[5, 6, 7]),
        pd.DataFrame({"y": [1, 2.5, 1]}),
        pl.Series([1.0, 2.5, 1.0]),
        pa.array([1.0, 2.5, 1.0]),
        pa.chunked_array([[1.0], [2.5, 1]]),
    ],
    ids=lambda g: type(g).__module__.split(".")[0] + type(g).__name__,
)
def test_true_numbers_come_in_any_container(given):
    found = true_numbers(given, rows=3)
    assert found.dtype == np.float64
    assert found.tolist() == [1, 2.5, 1]


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ([1.0, None, 2.0], "1 missing or infinite"),
        ([1.0, np.inf, np.nan], "2 missing or infinite"),
        (pd.Series([1, None, 2], dtype="Int64"), "1 missing or infinite"),
        (["low", "high", "low"], "holds 'low', but the model predicts numbers"),
        (pd.Series(pd.date_range("2020", periods=3)), "but the model predicts numbers"),
        ([[1], [2], [3, 4]], "but the model predicts numbers"),
        (np.ones((3, 2)), r"one value a row; it has the shape \(3, 2\)"),
        (3.0, "one value a row"),
        ([1.0, 2.0], "y has 2 values for 3 rows"),
    ],
)
def test_true_numbers_that_cannot_be_are_refused(y, words):
    with pytest.raises(InputError, match=words):
        true_numbers(y, rows=3)


@pytest.mark.parametrize("labels", [("0", "1"), ("False", "True")])
@pytest.mark.parametrize(
    "y",
    [
        [1, 0, 1],
        [1.0, 0.0, 1.0],
        [True, False, True],
        ["1", "0", "1"],
        ["True", "False", "True"],
        [np.True_, np.False_, np.True_],
        [np.int8(1), np.float32(0), 1],
        [True, 0, "1"],
    ],
    ids=str,
)
def test_two_classes_may_be_numbers_their_text_or_truth_values(labels, y):
    assert true_classes(y, labels).tolist() == [1, 0, 1]
    assert true_classes(np.array(y, dtype=object), labels).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "given",
    [
        ["high", "low", "mid"],
        pd.Categorical(["high", "low", "mid"], categories=["mid", "high", "low"]),
        pd.Series(["high", "low", "mid"], dtype="category", index=[3, 4, 5]),
        pd.Series(["high", "low", "mid"], dtype="string"),
        pl.Series(["high", "low", "mid"], dtype=pl.Categorical),
        pa.array(["high", "low", "mid"]).dictionary_encode(),
        np.array(["high", "low", "mid"]),
    ],
    ids=lambda g: type(g).__module__.split(".")[0] + type(g).__name__,
)
def test_true_classes_come_in_any_container(given):
    assert true_classes(given, ("low", "mid", "high"), rows=3).tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("y", "labels", "words"),
    [
        (["yes", "no"], ("0", "1"), r"holds 'yes', 'no', which are none of the model's classes \(0, 1\)"),
        ([1, 2], ("0", "1"), "holds '2', which are none"),
        ([True, True], ("1", "2"), "holds 'True', which are none"),
        (["01", "1"], ("0", "1"), "holds '01', which are none"),
        ([0.5, 1], ("0", "1"), "holds '0.5', which are none"),
        ([1, None], ("0", "1"), "1 missing values"),
        ([np.nan, pd.NaT], ("0", "1"), "2 missing values"),
        (pd.Categorical(["a", None]), ("a", "b"), "1 missing values"),
        ([[1], [0]], ("a", "b"), "none of the model's classes"),
        ([b"a", "a"], ("a", "b"), "which are none of"),
        ([1], ("0", "1"), "y has 1 values for 2 rows"),
    ],
    ids=str,
)
def test_true_classes_that_cannot_be_are_refused(y, labels, words):
    with pytest.raises(InputError, match=words):
        true_classes(y, labels, rows=2)


def test_text_decides_where_a_number_could_be_two_classes():
    assert true_classes(["1", "1.0"], ("1.0", "1")).tolist() == [1, 0]
    with pytest.raises(InputError, match="could be any of the model's classes '1.0', '1e0'; write the class as text"):
        true_classes([1], ("1.0", "1e0"))


def test_classes_are_those_whose_probabilities_a_model_predicts():
    X, y = DRAW.normal(size=(120, 3)), DRAW.integers(0, 3, 120)
    names = np.array(["low", "mid", "high"])[y]
    for model, truth in (
        (RandomForestClassifier(5, max_depth=3), names),
        (GradientBoostingClassifier(n_estimators=4), names),
        (GradientBoostingClassifier(n_estimators=4), y > 0),
        (RandomForestClassifier(5, max_depth=3), y > 0),
    ):
        read = as_model(model.fit(X, truth))
        labels = class_labels(read.outputs)
        probabilities = class_probabilities(read.outputs, read.outputs.link(raw_outputs(read, X)))
        np.testing.assert_allclose(probabilities, model.predict_proba(X), atol=1e-12)
        loss = LOSSES["log"](true_classes(truth, labels), probabilities).mean()
        assert loss == pytest.approx(metrics.log_loss(truth, model.predict_proba(X), labels=model.classes_))
    for model in (RandomForestRegressor(3), HistGradientBoostingRegressor(max_iter=3)):
        assert class_labels(as_model(model.fit(X, X[:, 0])).outputs) is None
    several = Outputs(("a", "b"), Link("sigmoid"), "log-odds", "probability")
    assert class_labels(several) is None  # two yes-or-no outputs, which do not add up to one
