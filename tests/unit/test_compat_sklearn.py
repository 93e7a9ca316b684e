"""whybox.compat.sklearn.inspection against scikit-learn itself: arguments, shapes, numbers; and what is refused. Rows of docs/from_sklearn.md."""

import inspect

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import sklearn.inspection
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import whybox as wb
from whybox.compat.sklearn import inspection
from whybox.errors import OptionError, WhyboxError

draw = np.random.default_rng(0)
X = draw.normal(size=(60, 4))
y = X[:, 0] + np.abs(X[:, 1]) + 0.1 * draw.normal(size=60)
TWO = np.where(y > 0.5, "yes", "no")
THREE = np.digitize(y, [0.2, 1.2])
WEIGHTS = draw.random(60)
FRAME = pd.DataFrame(X, columns=list("abcd")).assign(k=np.where(X[:, 1] > 0, "u", "v"))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


MODELS = {
    "trees": (RandomForestRegressor(5, random_state=0), y),
    "boosted": (GradientBoostingClassifier(n_estimators=5, random_state=0), TWO),
    "three classes": (DecisionTreeClassifier(max_depth=4, random_state=0), THREE),
    "two numbers": (DecisionTreeRegressor(max_depth=4, random_state=0), np.column_stack([y, -y])),
    "neighbours": (KNeighborsClassifier(), TWO),
}
QUESTIONS = (
    {"features": [0]},
    {"features": 2, "kind": "both", "sample_weight": WEIGHTS, "grid_resolution": 9},
    {"features": [1], "kind": "individual", "percentiles": (0, 1), "grid_resolution": 7},
    {"features": [1], "custom_values": {1: [0.3, -1.0, 0.3]}},
    {"features": [2, 1], "kind": "both", "grid_resolution": 3},
    {"features": [False, True, False, True], "grid_resolution": 3, "response_method": "auto"},
)


@pytest.mark.parametrize("name", MODELS)
def test_numbers_are_those_of_scikit_learn(name):
    model, truth = MODELS[name]
    model.fit(X, truth)
    for asked in QUESTIONS:
        theirs = sklearn.inspection.partial_dependence(model, X, method="brute", **asked)
        ours = inspection.partial_dependence(model, X, method="brute", **asked)
        assert set(ours) == {*theirs, "explanation"}
        for one, other in zip(ours.grid_values, theirs.grid_values, strict=True):
            np.testing.assert_array_equal(one, other)
        for key in set(theirs) - {"grid_values"}:
            np.testing.assert_allclose(ours[key], theirs[key], rtol=0, atol=1e-12)
            assert ours[key].shape == theirs[key].shape


@pytest.mark.parametrize("features", [["k"], ["k", "a"]])
def test_categories_are_points_of_their_own(features):
    steps = make_column_transformer((OneHotEncoder(), ["k"]), remainder="passthrough")
    model = make_pipeline(steps, LogisticRegression()).fit(FRAME, TWO)
    asked = {"categorical_features": ["k"], "grid_resolution": 4}
    theirs = sklearn.inspection.partial_dependence(model, FRAME, features, **asked)
    ours = inspection.partial_dependence(model, FRAME, features, **asked)
    assert ours.grid_values[0].tolist() == ["u", "v"]
    np.testing.assert_allclose(ours.average, theirs.average, atol=1e-12)
    if features == ["k"]:
        drawn = inspection.PartialDependenceDisplay.from_estimator(model, FRAME, ["k"], categorical_features=[4])
        assert drawn.bars_[0, 0].get_height() == pytest.approx(ours.average[0, 0])


@pytest.mark.parametrize("kind", [GradientBoostingClassifier, HistGradientBoostingClassifier])
def test_boosted_classifiers_answer_in_log_odds_unless_asked_for_probabilities(kind):
    model = kind(**({"n_estimators": 5} if kind is GradientBoostingClassifier else {"max_iter": 5})).fit(X, TWO)
    brute = sklearn.inspection.partial_dependence(model, X, [0], method="brute", response_method="decision_function")
    np.testing.assert_allclose(inspection.partial_dependence(model, X, [0]).average, brute.average, atol=1e-12)
    for asked in ({"method": "brute"}, {"response_method": "predict_proba"}, {"sample_weight": np.ones(60)}):
        found = inspection.partial_dependence(model, X, [0], **asked).average
        probabilities = sklearn.inspection.partial_dependence(model, X, [0], method="brute").average
        np.testing.assert_allclose(found, probabilities, atol=1e-12)


def test_whole_numbers_and_missing_values_are_taken_as_they_are():
    whole = FRAME[list("abcd")].assign(n=np.arange(60), gap=np.where(np.arange(60) % 9, X[:, 0], np.nan))
    model = DecisionTreeRegressor(max_depth=4).fit(whole, y)
    assert inspection.partial_dependence(model, whole, "n", grid_resolution=4).grid_values[0][1] % 1 != 0
    found = inspection.partial_dependence(model, whole, ["gap"], grid_resolution=4)
    assert np.isfinite(found.grid_values[0]).all()
    assert np.isnan(inspection.partial_dependence(model, whole, ["gap"]).grid_values[0][-1])


def test_the_display_is_scikit_learns():
    model = RandomForestRegressor(3, random_state=0).fit(X, y)
    theirs = sklearn.inspection.PartialDependenceDisplay.from_estimator(
        model, X, [0, (0, 1)], grid_resolution=5, method="brute"
    )
    ours = inspection.plot_partial_dependence(model, X, [0, (0, 1)], grid_resolution=5, n_jobs=1, verbose=1)
    assert isinstance(ours, sklearn.inspection.PartialDependenceDisplay)
    assert set(vars(theirs)) == set(vars(ours))
    assert ours.axes_.shape == theirs.axes_.shape
    assert ours.features == theirs.features
    assert ours.feature_names == theirs.feature_names
    np.testing.assert_allclose(ours.lines_[0, 0].get_xydata(), theirs.lines_[0, 0].get_xydata(), atol=1e-12)
    np.testing.assert_allclose(ours.deciles[1], theirs.deciles[1])
    assert ours.contours_[0, 1] is not None
    assert ours.figure_ is ours.axes_[0, 0].figure
    again = ours.plot(ax=ours.axes_, line_kw={"color": "red"})
    assert again.lines_[0, 0].get_color() == "red"
    assert ours.pd_results[0].explanation.std_error is not None


def test_curves_of_rows_are_drawn():
    model = LinearRegression().fit(FRAME[list("ab")], y)
    drawn = inspection.PartialDependenceDisplay.from_estimator(
        model, FRAME[list("ab")], ["a", "b"], kind=["both", "average"], subsample=7, random_state=0, centered=True
    )
    assert drawn.lines_.shape == (1, 2, 8)


def test_the_class_or_output_that_is_drawn():
    model = DecisionTreeClassifier(max_depth=3).fit(X, THREE)
    drawn = inspection.PartialDependenceDisplay.from_estimator(model, X, [0], target=2)
    assert drawn.target_idx == 2
    with pytest.raises(OptionError, match="one of the classes"):
        inspection.PartialDependenceDisplay.from_estimator(model, X, [0])
    several = LinearRegression().fit(X, np.column_stack([y, -y]))
    assert inspection.PartialDependenceDisplay.from_estimator(several, X, [0], target=1).target_idx == 1
    with pytest.raises(OptionError, match="position of one of 2 outputs"):
        inspection.PartialDependenceDisplay.from_estimator(several, X, [0])


def test_arguments_are_those_of_scikit_learn():
    pairs = (
        (inspection.partial_dependence, sklearn.inspection.partial_dependence),
        (inspection.permutation_importance, sklearn.inspection.permutation_importance),
        (
            inspection.PartialDependenceDisplay.from_estimator,
            sklearn.inspection.PartialDependenceDisplay.from_estimator,
        ),
    )
    for ours, theirs in pairs:
        own, other = (inspect.signature(f).parameters for f in (ours, theirs))
        shared = {name: p.default for name, p in other.items() if name in own}  # older ones have fewer
        assert set(other) <= set(own)
        assert {name: own[name].default for name in shared} == shared
    names = "feature_names target response_method n_cols grid_resolution percentiles method n_jobs verbose line_kw"
    before_1_2 = f"{names} ice_lines_kw pd_line_kw contour_kw ax kind subsample random_state centered".split(" ")
    assert set(before_1_2) <= set(inspect.signature(inspection.PartialDependenceDisplay.from_estimator).parameters)


def test_the_calls_side_by_side():
    forest, rows = RandomForestRegressor(3, random_state=0).fit(FRAME[list("abcd")], y), FRAME[list("abcd")]
    grid = {"a": [-0.5, 0.5], "b": [0.0, 1.0]}
    found = inspection.partial_dependence(forest, rows, ["a", "b"], custom_values=grid).average[0]
    np.testing.assert_allclose(found, wb.effects(forest, rows, [("a", "b")], grid=grid)[0].values)
    both = wb.effects(forest, rows, ["a"], kind=["pdp", "ice"], grid=grid)
    found = inspection.partial_dependence(forest, rows, ["a"], custom_values=grid, kind="both")
    np.testing.assert_allclose(found.individual[0], both["ice"][0].values)
    np.testing.assert_allclose(found.average[0], both["pdp"][0].values)
    model = GradientBoostingClassifier(n_estimators=3, random_state=0).fit(X, THREE)
    found = inspection.partial_dependence(model, X, [0], grid_resolution=5, response_method="decision_function")
    own = wb.effects(model, X, [0], grid={0: found.grid_values[0]}, scale="raw", output="2")
    np.testing.assert_allclose(found.average[2], own[0].values)


def test_columns_of_a_frame_are_taken_by_name():
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    turned = frame[["c", "a", "d", "b"]]
    model = DecisionTreeRegressor(max_depth=3, random_state=0).fit(frame, y)
    for asked in (["a"], ["a", "c"]):
        for kind in ("average", "individual")[: 3 - len(asked)]:
            of_turned, of_frame = (
                inspection.partial_dependence(model, rows, asked, kind=kind, grid_resolution=4)[kind]
                for rows in (turned, frame)
            )
            np.testing.assert_allclose(of_turned, of_frame)
    of_turned, of_frame = (inspection.permutation_importance(model, rows, y) for rows in (turned, frame))
    for name in ("importances", "importances_mean", "importances_std", "std_error"):
        np.testing.assert_allclose(of_turned[name], of_frame[name][[2, 0, 3, 1]])


def test_a_pair_may_stand_in_a_list_of_its_own():
    of_pair, of_list = (
        inspection.partial_dependence(MODEL, X, asked, grid_resolution=4) for asked in ([0, 1], [(0, 1)])
    )
    np.testing.assert_array_equal(of_pair.average, of_list.average)
    assert of_list.average.shape == (1, 4, 4)


MODEL = DecisionTreeRegressor(max_depth=2, random_state=0).fit(X, y)
CODES = np.column_stack([X, np.arange(60)]).astype(object)
CODES[:, 4] = [f"word {i}" for i in range(60)]


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda: inspection.partial_dependence(MODEL, X, [0], method="recursion"), "Leave it out"),
        (lambda: inspection.partial_dependence(MODEL, X, [0, 1, 2]), "two different ones"),
        (lambda: inspection.partial_dependence(MODEL, X, [0], kind="median"), "is not known"),
        (lambda: inspection.partial_dependence(MODEL, X, [7]), "no column 7"),
        (lambda: inspection.partial_dependence(MODEL, X, [0], response_method="predict_proba"), "for classifiers"),
        (lambda: inspection.partial_dependence(MODEL, X, [0], percentiles=(0.5, 0.1)), "increasing shares"),
        (lambda: inspection.partial_dependence(MODEL, X, [0], grid_resolution=1), "at least 2"),
        (lambda: inspection.partial_dependence(MODEL, X, [0], categorical_features=[]), "leave it out"),
        (lambda: inspection.partial_dependence(MODEL, CODES, [4], grid_resolution=5), "categorical_features"),
        (lambda: inspection.plot_partial_dependence(MODEL, X, [(0, 1)], kind="both"), "'average'"),
        (lambda: inspection.plot_partial_dependence(MODEL, X, [0, 1], kind=["average"]), "has 1 entries"),
        (lambda: inspection.plot_partial_dependence(MODEL, X, [(0, 1)], categorical_features=[0]), "together"),
        (lambda: inspection.plot_partial_dependence(MODEL, X, [0], subsample=0), "subsample"),
        (lambda: inspection.DecisionBoundaryDisplay.from_estimator(MODEL, X), "sklearn.inspection"),
        (inspection.DecisionBoundaryDisplay, "wb.effects"),
        (lambda: inspection.permutation_importance(MODEL, X, None), "wb.importance"),
        (lambda: inspection.permutation_importance(MODEL.predict, X, y), "wb.importance"),
        (lambda: inspection.permutation_importance(MODEL, X, y, max_samples=100), "up to 60"),
        (lambda: inspection.permutation_importance(MODEL, X, y, random_state="x"), "RandomState"),
    ],
)
def test_what_is_not_honoured_raises_with_what_to_do(call, advice):
    with pytest.raises(WhyboxError, match=advice):
        call()


def test_drops_have_the_expectation_of_shuffles():
    model = LinearRegression().fit(X, y)
    many = sklearn.inspection.permutation_importance(model, X, y, n_repeats=300, random_state=0)
    ours = inspection.permutation_importance(model, X, y, n_repeats=60, random_state=0)
    assert ours.importances.shape == (4, 60)
    np.testing.assert_allclose(ours.importances_mean, ours.importances.mean(axis=1))
    np.testing.assert_allclose(ours.importances_std, ours.importances.std(axis=1))
    error = np.hypot(many.importances_std / np.sqrt(300), ours.importances_std / np.sqrt(60))
    assert (np.abs(ours.importances_mean - many.importances_mean) < 4 * error + 1e-9).all()
    assert ours.std_error.shape == (4,)
    np.testing.assert_allclose(ours.importances_mean, ours.explanation.values * 59 / 60)


def test_scores_seeds_rows_and_weights_of_importance():
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, TWO)
    asked = {"n_repeats": 3, "sample_weight": WEIGHTS, "max_samples": 0.8, "random_state": np.random.RandomState(1)}
    several = inspection.permutation_importance(model, X, TWO, scoring=["accuracy", "neg_log_loss"], **asked)
    assert list(several) == ["accuracy", "neg_log_loss"]
    assert several["accuracy"].explanation.evidence.rows == 48
    own = inspection.permutation_importance(model, X, TWO, n_repeats=2)
    named = inspection.permutation_importance(model, X, TWO, n_repeats=2, scoring={"a": "accuracy"}, random_state=0)[
        "a"
    ]
    np.testing.assert_array_equal(own.importances, named.importances)


class Own(LinearRegression):
    """A regression with a score of its own."""

    def score(self, X, y):
        return 100.0 - np.abs(self.predict(X) - y).mean()


def test_without_scoring_the_estimators_own_score_is_taken():
    found = inspection.permutation_importance(Own().fit(X, y), X, y, n_repeats=2)
    assert found.explanation.extras["baseline_score"][1] > 90
    assert found.importances_mean[0] > found.importances_mean[3]


def test_rounds_of_a_score_are_as_many_as_asked_for():
    for rounds in (1, 11, 12):
        e = wb.importance(MODEL, X, y, scoring="r2", rounds=rounds, role="train")
        dims, drops = e.extras["round_values"]
        assert dims == ("feature", "round")
        assert drops.shape == (4, rounds)
        np.testing.assert_allclose(drops.mean(axis=1), e.values)
        assert ("one round alone has no Monte-Carlo error; raise rounds." in " ".join(e.evidence.notes)) == (
            rounds == 1
        )
    for options, advice in (
        ({"rounds": 3}, "scoring"),
        ({"rounds": 3, "scoring": "r2", "tol": 0.1}, "tol"),
        ({"rounds": 0, "scoring": "r2"}, "rounds"),
        ({"rounds": 300, "scoring": "r2", "max_evals": 5000}, "Ask for fewer"),
    ):
        with pytest.raises(WhyboxError, match=advice):
            wb.importance(MODEL, X, y, **options)
