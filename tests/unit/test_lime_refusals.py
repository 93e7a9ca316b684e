"""What `wb.lime` refuses, each with a message that says what to do, and before any work; and what it says of what it takes."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.neighbors import KNeighborsClassifier

import whybox as wb
from whybox.errors import (
    ColumnsError,
    DtypeError,
    EmptyDataError,
    InputError,
    LimitError,
    ModelMismatchError,
    NonFiniteError,
    OptionError,
    UnsupportedModelError,
)
from whybox.explainers import Lime
from whybox.methods.lime.options import LimeOptions

RNG = np.random.default_rng(0)
X = pd.DataFrame(
    {
        "age": RNG.integers(18, 80, 60).astype(float),
        "income": RNG.normal(3, 1, 60).round(3),
        "city": RNG.choice(["Rome", "Oslo"], 60),
    }
)
ROWS = X[:2]
NUMBERS = X[["age", "income"]]
OLD = (NUMBERS["age"] > 45).to_numpy()
FOREST = RandomForestClassifier(5, random_state=0).fit(NUMBERS, OLD)


class Counted:
    """A function of rows that counts the rows it evaluates."""

    def __init__(self):
        self.rows = 0

    def __call__(self, table):
        self.rows += len(table)
        return table["age"] * table["income"]


@pytest.fixture
def model():
    return Counted()


REFUSED_OPTIONS = [
    ({"method": "fast"}, "method='fast' is not known here. Known: 'auto', 'exact', 'sampled'"),
    ({"method": "sample"}, "Did you mean 'sampled'"),
    ({"discretizer": "quartiles"}, "Did you mean 'quartile'"),
    ({"discretizer": 4}, "edges by name"),
    ({"discretizer": "entropy"}, "by the truth of the background rows: pass y"),
    ({"y": OLD}, "y is used by discretizer='entropy' alone; leave it out"),
    ({"neighbourhood": "near"}, "Known: 'lime', 'row'"),
    ({"neighbourhood": "row", "discretizer": "decile"}, "a quarter of the background"),
    ({"neighbourhood": "row", "discretizer": None}, "leave discretizer out"),
    ({"kernel_width": 0}, "kernel_width=0 must be a number above 0"),
    ({"kernel_width": "wide"}, "must be a number above 0"),
    ({"kernel_width": float("inf")}, "must be a number above 0"),
    ({"kernel_width": []}, "give one width or several"),
    ({"kernel_width": [1.0, -1.0]}, "kernel_width=-1.0 must be a number above 0"),
    ({"kernel_width": np.exp}, "takes a width"),
    ({"alpha": -1}, "alpha=-1 must be a number above 0"),
    ({"top": 0}, "top=0 must be a whole number, 1 or more"),
    ({"top": 2.5}, "must be a whole number"),
    ({"tol": 0}, "tol=0 must be a number above 0"),
    ({"max_evals": 0}, "max_evals=0 must be a whole number, 1 or more"),
    ({"level": 95}, "must lie between 0 and 1, as 0.95 does"),
    ({"seed": 0.5}, "must be a whole number"),
    ({"n_jobs": 0}, "-1 for all processors"),
    ({"spot_checks": -1}, "must be a whole number, 0 or more"),
    ({"response_method": "predict_log_proba"}, "Did you mean 'predict_proba'"),
    ({"widths": [1, 2]}, "widths= is no option here. Known: 'method'"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED_OPTIONS, ids=str)
def test_options_are_refused_before_the_model_is_asked(model, options, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        wb.lime(model, NUMBERS[:2], NUMBERS, **options)
    with pytest.raises(OptionError, match=re.escape(message)):
        Lime(model, NUMBERS, **options)
    assert model.rows == 0


OF_THE_LIME_PACKAGE = {
    "kernel": "kernel_width=",
    "distance_metric": "kernel_width=",
    "model_regressor": "alpha=",
    "num_samples": "max_evals bounds it",
    "base_margin": "write offset=",
    "init_score": "write offset=",
    "baseline": "write offset=",
    "exposure": "offset=numpy.log(exposure)",
    "num_features": "top says how many",
    "feature_selection": "their ranks",
    "discretize_continuous": "discretizer=None",
    "sample_around_instance": "neighbourhood='row'",
    "labels": "'all' or 'predicted'",
    "top_labels": "'all' or 'predicted'",
    "random_state": "write seed=",
    "training_data": "write background=",
    "training_labels": "discretizer='entropy'",
    "feature_names": "pass a data frame",
    "class_names": "the model's classes",
    "categorical_features": "categories already",
    "categorical_names": "pass a data frame",
}


@pytest.mark.parametrize("name", OF_THE_LIME_PACKAGE)
def test_what_the_lime_package_calls_otherwise_is_refused_with_what_to_use_instead(model, name):
    with pytest.raises(OptionError, match=re.escape(f"{name}= is no option here: ")) as refused:
        wb.lime(model, NUMBERS[:2], NUMBERS, **{name: 1})
    assert OF_THE_LIME_PACKAGE[name] in str(refused.value)
    assert model.rows == 0


def test_every_such_name_is_tested():
    assert set(LimeOptions.INSTEAD) == set(OF_THE_LIME_PACKAGE)


REFUSED_BACKGROUNDS = [
    (None, {}, OptionError, "pass rows like those of training, background=X_train"),
    (NUMBERS[:1], {}, InputError, "has one row of positive weight, so there is nothing to draw from"),
    (NUMBERS[:0], {}, EmptyDataError, "the background has no rows"),
    (NUMBERS, {"background_weight": np.eye(60)[3]}, InputError, "has one row of positive weight"),
    (NUMBERS, {"background_weight": [1, 2]}, InputError, "background_weight has 2 values for 60 rows"),
    (NUMBERS, {"background_weight": -np.ones(60)}, InputError, "background_weight must be finite, not negative"),
    (NUMBERS, {"background_weight": "age"}, InputError, "pass the column itself"),
]


@pytest.mark.parametrize(("background", "options", "error", "message"), REFUSED_BACKGROUNDS)
def test_a_background_to_draw_from_is_needed(model, background, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        wb.lime(model, NUMBERS[:2], background, **options)
    assert model.rows == 0


REFUSED_COLUMNS = [
    ({"kernel_width": 0.02}, OptionError, "kernel_width=0.02 is so narrow that samples with one feature outside"),
    ({"kernel_width": [1.0, 0.001]}, OptionError, "use 0.04 or more"),
    ({"discretizer": {"ages": [40]}}, OptionError, "there is no column 'ages'. Did you mean 'age'"),
    ({"discretizer": {"age": None}}, OptionError, "the edges of 'age' must be increasing numbers, at least one"),
    ({"discretizer": {"age": [40], 0: [50]}}, OptionError, "'age' and 0 are the same column; give its edges once"),
    ({"discretizer": {"age": []}}, OptionError, "the edges of 'age' must be increasing numbers, at least one"),
    ({"discretizer": {"age": [50, 30]}}, OptionError, "must be increasing numbers"),
    ({"discretizer": {"age": [30, 30]}}, OptionError, "must be increasing numbers"),
    ({"discretizer": {"age": [float("nan")]}}, OptionError, "must be increasing numbers"),
    ({"discretizer": {"age": ["young"]}}, OptionError, "must be increasing numbers"),
    ({"discretizer": {"city": [1]}}, OptionError, "column 'city' holds categories, which have no edges"),
    ({"discretizer": "entropy", "y": OLD[:9]}, InputError, "one value for each of the 60 background rows"),
    ({"discretizer": "entropy", "y": NUMBERS["income"]}, OptionError, "separates classes"),
    ({"discretizer": "entropy", "y": np.where(OLD, np.nan, 1)}, InputError, "y is missing for background row"),
    ({"discretizer": "entropy", "y": np.where(OLD, None, "no")}, InputError, "y is missing for background row"),
    ({"players": {"both": ["age", "salary"]}}, OptionError, "names the column 'salary', which is not there"),
    ({"players": {"a": ["age"], "b": ["age"]}}, OptionError, "a column belongs to one player"),
    ({"output": "old"}, OptionError, "is not an output of this model"),
    ({"output": "predicted"}, OptionError, "this model has one output alone"),
    ({"scale": "probability"}, OptionError, "not probabilities"),
    ({"method": "exact"}, UnsupportedModelError, "Leave method out to sample"),
]


@pytest.mark.parametrize(("options", "error", "message"), REFUSED_COLUMNS, ids=str)
def test_options_that_do_not_fit_the_table_or_the_model_are_refused_before_a_sample(model, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        wb.lime(model, ROWS, X, **options)
    assert model.rows <= 2  # what its outputs look like


REFUSED_ROWS = [
    (X.rename(columns={"age": "Age"}), ColumnsError, "X lacks column 'age' that the background has. Did you mean 'Age'"),
    (X[["age"]], ColumnsError, "X lacks 2 columns 'income', 'city'"),
    (X.assign(age="old"), DtypeError, "column 'age' holds categories in the rows and numbers in the background"),
    (X[:0], EmptyDataError, "X has no rows"),
    (X.iloc[0], InputError, "pass two, also for one row"),
    ([1.0, 2.0], InputError, "pass two, also for one row"),
    (None, InputError, "X must be a data frame or an array"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "error", "message"), REFUSED_ROWS, ids=lambda r: r if isinstance(r, str) else None)
def test_rows_that_do_not_fit_are_refused_before_a_sample(model, rows, error, message):
    with pytest.raises(error, match=re.escape(message)):
        wb.lime(model, rows, X)
    assert model.rows <= 2


@pytest.mark.parametrize("max_evals", [1, 50, 129])
def test_too_few_predictions_are_refused_with_how_many_it_takes(model, max_evals):
    with pytest.raises(LimitError, match=f"takes 130 predictions of single rows at least, more than max_evals={max_evals}"):  # fmt: skip
        wb.lime(model, ROWS, X, max_evals=max_evals)
    assert model.rows <= 2
    wb.lime(model, ROWS, X, max_evals=130, spot_checks=0)


@pytest.mark.parametrize("width", [0.3, 2.0])
def test_cells_that_the_background_never_has_do_not_take_more_predictions_than_allowed(width):
    """One row is all new, so that it shares the sample, and others are near the background."""
    rng = np.random.default_rng(0)
    background = rng.normal(size=(200, 5))
    rows = np.concatenate([np.full((1, 5), 9.0), background[:3]])
    rows[1, 0] = -9.0
    taken: list[int] = []

    def function(table):
        taken.append(len(table))
        return table[:, 0] * table[:, 1] + table[:, 2] * table[:, 3] * table[:, 4]

    explainer = Lime(function, background, kernel_width=width, max_evals=8_000, spot_checks=0)
    taken.clear()
    explainer(rows)
    assert 4_000 < sum(taken) <= 8_200  # with rows that are evaluated several times


def test_so_are_too_few_for_a_narrow_kernel(model):
    with pytest.raises(LimitError, match=re.escape("a wider kernel_width, or raise max_evals")):
        wb.lime(model, ROWS, X, max_evals=20, kernel_width=0.1)
    assert model.rows <= 2


@pytest.mark.parametrize("value", [np.inf, 1e300])
def test_entropy_has_no_edges_between_infinite_values(value):
    background = np.random.default_rng(0).normal(size=(40, 2))
    background[3, 1] = value
    with pytest.raises(InputError, match="infinite values, or some beyond single precision"):
        wb.lime(lambda A: A[:, 0], background[:2], background, discretizer="entropy", y=background[:, 0] > 0)


@pytest.mark.parametrize("method", ["exact", "sampled"])
def test_the_narrowest_kernel_has_finite_numbers(method):
    rows = np.random.default_rng(0).normal(size=(60, 3))
    model = RandomForestRegressor(5, random_state=0).fit(rows, rows[:, 0] * rows[:, 1])
    e = wb.lime(model, [[9.0, 0.0, 0.0], rows[0]], rows, kernel_width=0.04, method=method)
    assert np.isfinite(e.values).all()
    assert (e.values[:, 0] != 0).all()


REFUSED_MODELS = [
    (FOREST.predict, UnsupportedModelError, "gives labels of classes, which have no size to explain; pass the method that gives probabilities"),
    (lambda A: np.where(A["age"] > 45, "old", "young"), DtypeError, "not numbers, and only numbers can be explained"),
    (lambda A: np.ones(3), InputError, "must return one number a row"),
    (lambda A: 1.0, InputError, "must return one number a row"),
    (lambda A: np.ones((len(A), 2, 2)), InputError, "must return one number a row"),
    (lambda A: np.full(len(A), np.nan), NonFiniteError, "output is NaN for some of these rows"),
    (None, UnsupportedModelError, "NoneType"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "error", "message"), REFUSED_MODELS, ids=lambda m: m if isinstance(m, str) else None)
def test_models_without_numbers_to_explain_are_refused(model, error, message):
    with pytest.raises(error, match=re.escape(message)):
        wb.lime(model, NUMBERS[:2], NUMBERS)


class ThreeColumns(RandomForestClassifier):
    """A forest of two classes that gives three probabilities."""

    def predict_proba(self, rows):
        two = super().predict_proba(rows)
        return np.column_stack([two, two[:, 0]])


class ThreeColumnsAlone(ClassifierMixin, BaseEstimator):
    """The same of a model that nothing is read of."""

    classes_ = np.array([0, 1])

    def fit(self, rows, y):
        return self

    def predict_proba(self, rows):
        return np.full((len(rows), 3), 1 / 3)


def test_more_columns_than_classes_are_refused():
    with pytest.raises(ModelMismatchError, match="gives 3 outputs"):
        wb.lime(ThreeColumns(5, random_state=0).fit(NUMBERS, OLD), NUMBERS[:2], NUMBERS)
    with pytest.raises(UnsupportedModelError, match="gives 3 probabilities a row, and the model has 2 classes"):
        wb.lime(ThreeColumnsAlone(), NUMBERS[:2], NUMBERS)


def test_infinite_numbers_are_refused_by_name(model):
    wide = NUMBERS.assign(age=np.where(NUMBERS["age"] > 70, np.inf, NUMBERS["age"]))
    with pytest.raises(InputError, match="column 'age' of the background has infinite values"):
        wb.lime(model, NUMBERS[:2], wide)
    with pytest.raises(NonFiniteError, match="output is infinite"):
        wb.lime(model, wide[wide["age"] == np.inf][:1], NUMBERS)


@pytest.mark.parametrize("method", ["exact", "sampled"])
def test_a_constant_column_is_worth_exactly_zero_and_that_is_said(method):
    background = NUMBERS.assign(country="Italy", year=2026)
    forest = RandomForestRegressor(5, random_state=0).fit(background[["age", "income", "year"]], NUMBERS["income"])

    def function(table):
        return forest.predict(table[["age", "income", "year"]])

    columns = ["age", "income", "year"] if method == "exact" else [*background]
    e = wb.lime(
        forest if method == "exact" else function, background[columns][:3], background[columns], max_evals=2_000
    )
    assert e.evidence.exact == (method == "exact")
    for name in set(columns) - {"age", "income"}:
        assert (e[:, name].values == 0).all()
        assert e.std_error is None or (e[:, name].std_error == 0).all()
        assert (e[:, name].extras["share"][1] == 1).all()
    named = "year" if method == "exact" else "country, year"
    assert f"Constant in the background, so their values are exactly 0: {named}." in e.evidence.notes


def test_a_column_without_values_is_a_constant_too():
    background = NUMBERS.assign(empty=np.nan)
    rows = background[:2].assign(empty=[np.nan, 7.0])
    e = wb.lime(lambda A: A["age"] + A["empty"].fillna(0), rows, background, max_evals=2_000)
    assert e.values[0, 2] == 0
    assert e.values[1, 2] == pytest.approx(7)
    without, with_value = e.extras["condition"][1][:, 2]
    assert without == "empty missing"
    assert with_value.startswith("empty = 7")
    assert (
        "Constant in the background, so their values are exactly 0 for rows with the same cell: empty."
        in e.evidence.notes
    )
    assert not [note for note in e.evidence.notes if "exactly 0:" in note]


def test_a_raw_scale_that_a_model_does_not_have_is_said():
    nearest = KNeighborsClassifier(3).fit(NUMBERS, OLD)
    said = "scale='raw': no additive scale of this model is known, so values are of its probabilities."
    options = {"max_evals": 2_000, "spot_checks": 0}
    raw = wb.lime(nearest, NUMBERS[:2], NUMBERS, scale="raw", **options)
    assert raw.units == "probability"
    assert said in raw.evidence.notes
    assert said in wb.effects(nearest, NUMBERS, "age", scale="raw")["age"].evidence.notes
    assert said not in wb.lime(nearest, NUMBERS[:2], NUMBERS, **options).evidence.notes
    assert said not in wb.lime(FOREST, NUMBERS[:2], NUMBERS, scale="raw").evidence.notes  # additive: of its trees


def test_numbers_that_are_not_cut_stand_beside_categories():
    """Every way of drawing and of checking the answer has both kinds at once."""

    def function(table):
        return 2 * table["age"] + 3 * (table["city"] == "Rome")

    e = wb.lime(function, X[:4], X, discretizer=None, max_evals=2_000)
    assert e.evidence.spot_checks.numbers > 0
    np.testing.assert_allclose(e[:, "age"].values, 2 * X["age"].std(ddof=0), atol=1e-8)
    np.testing.assert_allclose(e[:, "city"].values, np.where(X["city"][:4] == "Rome", 3, -3), atol=1e-8)
    assert e.extras["condition"][1][0].tolist() == ["age, each 18.8", "income, each 1.01", f"city = {X['city'][0]}"]


def test_a_local_model_that_misses_by_rounding_alone_is_not_remarked_on():
    """A prediction that nothing moves: spread and gap are rounding."""
    e = wb.lime(lambda A: 0.1 + 0.2 + 0 * A["age"], X[:2], X, max_evals=2_000)
    assert not any("misses the prediction" in note for note in e.evidence.notes)
    assert np.abs(e.extras["gap"][1]).max() < 1e-15
