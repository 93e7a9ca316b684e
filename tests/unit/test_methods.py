from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

import whybox as wb
import zoo
from oracles import banzhaf, beta, hybrid_game, semivalue, shapley
from whybox.errors import InputError, LimitError, OptionError, UnsupportedModelError
from whybox.games.indices import Index, as_index
from whybox.games.players import named_groups, resolve_players
from whybox.kernels import tree_shap
from whybox.models.registry import as_model


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("shapley", shapley),
        ("banzhaf", banzhaf()),
        ("banzhaf(0.2)", banzhaf(0.2)),
        ("beta(16, 1)", beta(16, 1)),
        (" beta( 0.5 ,2)", beta(0.5, 2)),
    ],
)
def test_indices_are_their_moments(text, weight):
    index = as_index(text)
    table = index.moments(12)
    for s in range(6):
        for t in range(6):
            assert table[s, t] == pytest.approx(weight(s, t), rel=1e-12)
            p, w = index.rule(s + t)
            assert np.sum(w * p**s * (1 - p) ** t) == pytest.approx(weight(s, t), rel=1e-12)
    assert index.efficient == (text == "shapley")


@pytest.mark.parametrize(
    "text", ["shap", "banzhaf(2)", "banzhaf(x)", "beta(1)", "beta(-1, 2)", "banzhaf(0.1, 0.2)", ""]
)
def test_unknown_indices_are_refused(text):
    with pytest.raises(OptionError, match="index="):
        as_index(text)


@pytest.mark.parametrize("index", ["banzhaf", "banzhaf(0.3)", "beta(4, 1)", Index("own", alpha=2.0, beta=3.0)])
def test_indices_of_a_real_model_against_all_coalitions(index):
    model, rows = zoo.built("GradientBoostingClassifier, 3 classes")
    adapted = as_model(model)
    weight = {"banzhaf": banzhaf(), "banzhaf(0.3)": banzhaf(0.3), "beta(4, 1)": beta(4, 1)}.get(index, beta(2, 3))
    got = wb.explain(adapted, rows[5:7], rows[50:60], index=index)
    game = hybrid_game(
        lambda H: tree_shap.predict(adapted, np.ascontiguousarray(H)),
        [[i] for i in range(5)],
        rows[5:6].to_numpy()[0].astype(np.float32).astype(float),
        rows[50:60].to_numpy().astype(np.float32).astype(float),
    )
    want = semivalue(game, 5, weight)
    assert np.abs(got.values[0] - want).max() < 1e-12
    assert not got.evidence.additive
    assert got.evidence.residual == 0


def test_players_are_exact_groups():
    model, rows = zoo.built("XGBRegressor, reg:squarederror")
    got = wb.explain(model, rows[:9], rows[50:70], players={"body": ["bmi", "bp"], "who": ["sex", "age"]})
    assert got.feature_names == ("who", "body", "s5")
    assert got.players["body"] == ("bmi", "bp")
    both = wb.explain(model, rows[:9], rows[50:70], players=[["age", "sex", "bmi", "bp", "s5"]])
    assert np.allclose(both.values[:, 0] + both.base, both.prediction)
    by_position = wb.explain(
        model, rows[:9].to_numpy(), rows[50:70].to_numpy(), players={"who": [0, 1], "body": [2, 3]}
    )
    assert np.allclose(by_position.values, got.values, atol=1e-4)


@pytest.mark.parametrize(
    ("players", "words"),
    [
        ({"a": ["bmi", "nope"]}, "'nope', which is not there"),
        ({"a": ["bmi"], "b": ["bmi"]}, "named twice"),
        ({"a": []}, "no columns"),
        ({"s5": ["bmi"]}, "more than one player is named 's5'"),
        ("bmi", "must be a dict"),
        ({"a": [7]}, "not there"),
        ({"a": None}, "'a' is given None"),
        ({"a": 3.5}, "'a' is given 3.5"),
        ([None], "is given None"),
        ({"a": [True, False]}, "not there"),
    ],
)
def test_bad_players(players, words):
    model, rows = zoo.built("XGBRegressor, reg:squarederror")
    with pytest.raises(OptionError, match=words):
        wb.explain(model, rows[:2], players=players)


def test_players_by_a_numpy_position():
    model, rows = zoo.built("XGBRegressor, reg:squarederror")
    assert wb.explain(model, rows[:2], players={"a": np.int64(1)}).players["a"] == ("sex",)


@pytest.mark.parametrize(
    "options",
    [
        {"order": np.array([1, 2])},
        {"order": "1"},
        {"method": np.array(["auto"])},
        {"output": np.array([0, 1])},
        {"output": ["prediction"]},
        {"output": pd.DataFrame({"a": [1]})},
        {"index": np.array(["shapley"])},
        {"index": None},
        {"index": "beta(1000,1000)"},
        {"index": "beta(1e-300,1)"},
        {"index": "beta(1e-12,1e-12)"},
        {"index": "beta(nan,1)"},
        {"index": Index("mine", alpha=0.0)},
        {"index": Index("mine", point=2.0)},
    ],
    ids=lambda o: f"{o}"[:40],
)
def test_options_of_the_wrong_kind(options):
    model, rows = zoo.built("XGBRegressor, reg:squarederror")
    with pytest.raises(OptionError, match=next(iter(options))):
        wb.explain(model, rows[:2], **options)


@pytest.mark.parametrize("a", [0.01, 0.3, 1, 7, 100])
@pytest.mark.parametrize("b", [0.01, 0.3, 1, 7, 100])
def test_quadrature_of_every_beta_is_right(a, b):
    index = as_index(f"beta({a}, {b})")
    for degree in (0, 1, 9, 40):
        p, w = index.rule(degree)
        powers = np.arange(degree + 1)
        found = np.einsum("k,ks,kt->st", w, p[:, None] ** powers, (1 - p[:, None]) ** powers)
        within = powers[:, None] + powers <= degree
        assert np.abs(found - index.moments(degree + 1))[within].max() < 1e-9


def test_players_cannot_split_what_the_model_mixes():
    model, rows = zoo.built("Pipeline, PCA of two columns")
    with pytest.raises(OptionError, match="takes 'bmi' but not 's5'"):
        wb.explain(model, rows[:2], players={"a": ["bmi", "age"]})
    assert wb.explain(model, rows[:2], players={"a": ["bmi", "s5", "age"]}).feature_names == ("a", "sex", "bp")


def test_outputs():
    model, rows = zoo.built("GradientBoostingClassifier")  # classes high, low
    raw = wb.explain(model, rows[:4])
    assert raw.units == "log-odds"
    assert raw.coords["output"].tolist() == ["low"]
    assert np.array_equal(wb.explain(model, rows[:4], output="low").values, raw.values)
    other = wb.explain(model, rows[:4], output="high")
    assert np.array_equal(other.values, -raw.values)
    assert np.allclose(other.prediction, -raw.prediction)
    every = wb.explain(model, rows[:4], output="all")
    assert every.dims == ("row", "feature", "output")
    assert every.output_names == ("high", "low")
    forest, rows = zoo.built("RandomForestClassifier")
    no, yes = wb.explain(forest, rows[:4], output="0"), wb.explain(forest, rows[:4], scale="probability")
    assert np.allclose(no.base + no.values.sum(axis=1), forest.predict_proba(rows[:4])[:, 0])
    assert np.array_equal(no.values, -yes.values)
    assert wb.explain(forest, rows[:4], output=0).coords["output"].tolist() == ["0"]
    many, rows = zoo.built("LGBMClassifier, multiclass")
    assert wb.explain(many, rows[:4], output="2").dims == ("row", "feature")
    assert wb.explain(many, rows[:4], output=2).coords["output"].tolist() == ["2"]
    poisson, rows = zoo.built("HistGradientBoostingRegressor, poisson")
    response = wb.explain(poisson, rows[:4], rows[50:60], scale="response")
    assert np.allclose(response.prediction, poisson.predict(rows[:4]))
    regression, rows = zoo.built("RandomForestRegressor")
    assert wb.explain(regression, rows[:4], output="all").shape == (4, 5, 1)
    with pytest.raises(OptionError, match="not probabilities"):
        wb.explain(regression, rows[:4], scale="probability")
    with pytest.raises(OptionError, match="Did you mean 'high'"):
        wb.explain(model, rows[:4], output="hihg")


def test_rescaled_is_an_approximation_by_that_name_only():
    model, rows = zoo.built("LGBMClassifier, binary, text classes")
    exact = wb.explain(model, rows[:20], rows[50:90], scale="probability")
    near = wb.explain(model, rows[:20], rows[50:90], scale="probability", method="rescaled")
    assert exact.evidence.exact
    assert not near.evidence.exact
    assert any("Rescaled" in n for n in near.evidence.notes)
    assert np.allclose(near.base + near.values.sum(axis=1), near.prediction)
    difference = np.abs(near.values - exact.values).max() / np.abs(exact.values).max()
    assert 1e-4 < difference < 0.3
    for more in ({"order": 2}, {"index": "banzhaf"}):
        with pytest.raises(OptionError, match="rescaled"):
            wb.explain(model, rows[:2], rows[50:60], scale="probability", method="rescaled", **more)
    with pytest.raises(OptionError, match="needs a background"):
        wb.explain(model, rows[:2], scale="probability", method="rescaled")
    with pytest.raises(OptionError, match="behind a link"):
        wb.explain(model, rows[:2], rows[50:60], method="rescaled")
    multi, rows = zoo.built("LGBMClassifier, multiclass")
    with pytest.raises(OptionError, match="mixes outputs"):
        wb.explain(multi, rows[:2], rows[50:60], scale="probability", method="rescaled")


def test_probabilities_of_many_features_are_refused_or_grouped():
    from sklearn.ensemble import GradientBoostingClassifier

    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 18))
    model = GradientBoostingClassifier(n_estimators=30).fit(X, X.sum(axis=1) > 0)
    with pytest.raises(UnsupportedModelError, match="up to 15 are enumerated"):
        wb.explain(model, X[:2], X[:5], "tree_shap", scale="probability")
    got = wb.explain(model, X[:2], X[:5], "tree_shap", scale="probability", players={"rest": list(range(10, 18))})
    assert got.evidence.residual < 1e-12
    few = GradientBoostingClassifier(n_estimators=8, max_depth=1, random_state=0).fit(X, X[:, 3] > 0)
    assert wb.explain(few, X[:2], X[:5], scale="probability").shape == (2, 18)  # uses few of its columns


def test_max_evals_counts_all_rows_together_and_refuses_before_the_first_prediction(monkeypatch):
    from sklearn.ensemble import GradientBoostingClassifier

    X = np.random.default_rng(0).normal(size=(300, 18))
    model = GradientBoostingClassifier(n_estimators=8, max_depth=1, random_state=0).fit(X, X[:, 3] > 0)
    used = len(np.unique(as_model(model).columns_read))
    per_row = 2**used * 5
    explainer = wb.explainers.TreeShap(model, X[:5], scale="probability", max_evals=2 * per_row)
    assert explainer(X[:2]).evidence.kernel == "enumeration"
    assert explainer.plan(2).kernel == "enumeration"
    monkeypatch.setattr(tree_shap, "hybrid_outputs", None)  # any coalition evaluated would fail
    says = rf"{3 * per_row:,} predictions .3 rows x 2\^{used} coalitions x 5 background rows., more than the {2 * per_row:,} allowed"
    for ask in (explainer, lambda rows: explainer.plan(len(rows))):
        with pytest.raises(LimitError, match=says):
            ask(X[:3])
    with pytest.raises(LimitError, match=r"1 row x .* raise max_evals"):  # not even one row: known without rows
        wb.explainers.TreeShap(model, X[:5], scale="probability", max_evals=per_row - 1)
    unlimited = wb.explainers.TreeShap(model, X[:5], scale="probability")
    with pytest.raises(LimitError, match="more than the 1,000,000,000 allowed"):
        unlimited.plan(10**9 // per_row + 1)


@pytest.mark.parametrize("weights", [[1, 2], [-1] * 10, [0] * 10, [np.nan] * 10, "x"])
def test_bad_weights(weights):
    model, rows = zoo.built("RandomForestRegressor")
    with pytest.raises(InputError, match="background_weight"):
        wb.explain(model, rows[:2], rows[50:60], background_weight=weights)


def test_weights_are_repeated_rows():
    model, rows = zoo.built("LGBMRegressor, missing values")
    background = rows[50:60]
    times = np.arange(10)
    for order in (1, 2):
        weighted = wb.explain(model, rows[:5], background, background_weight=times, order=order)
        repeated = wb.explain(model, rows[:5], background.iloc[np.repeat(np.arange(10), times)], order=order)
        assert np.abs(weighted.values - repeated.values).max() < 1e-11


@pytest.mark.parametrize(
    "bad",
    [
        {"order": 3},
        {"method": "kernel"},
        {"seed": "x"},
        {"seed": True},
        {"additivity_tol": 0},
        {"additivity_tol": -1.0},
        {"max_evals": 0},
        {"max_evals": 1.5},
    ],
)
def test_bad_options(bad):
    model, rows = zoo.built("RandomForestRegressor")
    with pytest.raises(OptionError, match=next(iter(bad))):
        wb.explain(model, rows[:2], **bad)


def test_tolerance_is_asked_and_reached():
    model, rows = zoo.built("XGBRegressor, reg:squarederror")
    got = wb.explain(model, rows[:20], additivity_tol=0.5)
    assert got.evidence.tolerance == 0.5
    with pytest.raises(wb.errors.ModelMismatchError, match="additivity_tol allows"):
        wb.explain(model, rows[:20], additivity_tol=1e-12)


def test_evidence_is_complete():
    model, rows = zoo.built("XGBRegressor, reg:squarederror")
    e = wb.explain(model, rows[:20], rows[50:70], seed=7).evidence
    assert set(e.fingerprints) == {"model", "rows", "background"}
    assert e.seed == 7
    assert e.model_calls == 20 + 200
    assert e.verdict["mixed_rows"] == 180
    assert e.verdict["mixed"] == 64
    assert e.background_rows == 20
    assert e.versions["xgboost"]
    assert 0 < e.agreement < 1e-3
    assert e.verdict["thresholds"] == e.verdict["thresholds_total"] > 10
    again = wb.explain(model, rows[:20], rows[50:70]).evidence
    assert again.fingerprints == e.fingerprints
    assert wb.explain(model, rows[1:21], rows[50:70]).evidence.fingerprints["rows"] != e.fingerprints["rows"]
    assert type(e).from_dict(e.to_dict()) == e


@pytest.mark.parametrize(
    "name",
    [
        "RandomForestRegressor",
        "ExtraTreesClassifier, 3 classes, missing values",
        "GradientBoostingRegressor, huber",
        "AdaBoostClassifier, 3 classes, deeper trees",
        "DecisionTreeClassifier, several outputs",
    ],
)
def test_impurity_importance_is_scikit_learn_own(name):
    model, _ = zoo.built(name)
    assert np.allclose(wb.importance(model, method="impurity").values, model.feature_importances_)


def test_impurity_importance_of_boosters_and_groups():
    model, _ = zoo.built("XGBRegressor, reg:squarederror")
    gain = model.get_booster().get_score(importance_type="total_gain")
    want = np.array([gain.get(c, 0) for c in zoo.COLUMNS])
    assert np.allclose(wb.importance(model, method="impurity").values, want / want.sum(), rtol=1e-5)
    model, _ = zoo.built("LGBMRegressor, regression")
    want = model.booster_.feature_importance("gain")
    assert np.allclose(wb.importance(model, method="impurity").values, want / want.sum(), rtol=1e-5)
    pipeline, _ = zoo.built("Pipeline, one-hot and ordinal")
    grouped = wb.importance(pipeline, method="impurity")
    assert grouped.feature_names == tuple(zoo.COLUMNS)
    assert np.isclose(grouped.values.sum(), 1)
    assert np.isclose(grouped.values[0], pipeline[-1].feature_importances_[:4].sum())
    with pytest.raises(UnsupportedModelError, match="keeps no record"):
        wb.importance(zoo.built("CatBoostRegressor, RMSE")[0], method="impurity")
    with pytest.raises(OptionError, match="does not take 'scale'"):
        wb.importance(model, method="impurity", scale="raw")
    with pytest.raises(OptionError, match="does not take 'spot_checks'; it takes 'players'"):
        wb.importance(model, method="impurity", spot_checks=5)
    with pytest.raises(
        OptionError,
        match="method='gain' is not known. Known: 'permutation', 'conditional', 'drop_column', ",
    ):
        wb.importance(model, method="gain")
    with pytest.raises(OptionError, match="pass X"):
        wb.importance(model)


def test_importance_finds_its_methods_in_the_registry(monkeypatch):
    """One that explains rows gets the explainer handed in, and the truth where it uses it."""
    from whybox.methods.method_spec import MethodSpec
    from whybox.methods.registry import registered

    def largest(problem):
        e = problem.explain_rows()
        return replace(
            e, kind="importance", values=np.abs(e.values).max(axis=0), dims=("feature",), prediction=None, data=None
        )

    model, rows = zoo.built("RandomForestRegressor")
    monkeypatch.setattr("whybox.methods.importance.impurity.largest", largest, raising=False)
    spec = MethodSpec(
        id="largest",
        family="importance",
        title="Largest attribution",
        summary="the largest absolute attribution",
        reference="none",
        run="whybox.methods.importance.impurity:largest",
        takes=("y",),
    )
    with registered(spec):
        got = wb.importance(model, rows[:20], zoo.y()[:20], method="largest", background=rows[50:60])
    want = wb.explain(model, rows[:20], rows[50:60])
    assert got.values.tobytes() == np.abs(want.values).max(axis=0).tobytes()


def test_shap_importance_is_the_mean_absolute_attribution():
    model, rows = zoo.built("LGBMClassifier, multiclass")
    got = wb.importance(model, rows[:50])
    assert got.dims == ("feature", "output")
    assert np.allclose(got.values, np.abs(wb.explain(model, rows[:50]).values).mean(axis=0))


def test_linear_models_need_a_background():
    model, rows = zoo.built("XGBRegressor, gblinear")
    with pytest.raises(OptionError, match="background"):
        wb.explain(model, rows[:2])
    with pytest.raises(UnsupportedModelError, match="TreeShap explains"):
        wb.explainers.TreeShap(model)
    pairs = wb.explain(model, rows[:2], rows[50:60], order=2)
    assert np.abs(pairs.values[:, ~np.eye(5, dtype=bool)]).max() == 0


@pytest.mark.parametrize(
    ("obj", "words"), [(lambda x: x, "a function"), (dict, "is a class"), (object(), "builtins.object"), (3, "int")]
)
def test_what_is_not_a_model(obj, words):
    with pytest.raises(UnsupportedModelError, match=words):
        wb.explain(obj, np.zeros((2, 2)))


def test_unfitted_models():
    import catboost
    import lightgbm
    import xgboost
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.pipeline import make_pipeline

    for model in (
        RandomForestRegressor(),
        make_pipeline(RandomForestRegressor()),
        xgboost.XGBRegressor(),
        lightgbm.LGBMRegressor(),
        catboost.CatBoostRegressor(),
    ):
        with pytest.raises(UnsupportedModelError, match="not fitted|not a fitted"):
            wb.explain(model, np.zeros((2, 2)))


def test_a_model_that_is_not_read_is_sent_to_effects_and_one_that_is_not_fitted_to_fit():
    import xgboost
    from sklearn.svm import SVC

    X = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(
        UnsupportedModelError, match=r"SVC with kernel=.rbf. is not a linear function.*background=X_train"
    ):
        wb.explain(SVC().fit(X, X[:, 0] > 0), X)
    (note, *_) = wb.effects(SVC().fit(X, X[:, 0] > 0), X, [0])[0].evidence.notes
    assert note.endswith("because it is not read: SVC with kernel='rbf' is not a linear function of the columns.")
    for model in (SVC(), xgboost.XGBRegressor()):
        with pytest.raises(InputError, match="the model is not fitted; call fit first"):
            wb.effects(model, X)


def test_results_too_large_for_memory_are_refused():
    import xgboost

    X = np.random.default_rng(0).normal(size=(50, 4000))
    model = xgboost.XGBRegressor(n_estimators=2).fit(X, X[:, 0])
    with pytest.raises(LimitError, match="GiB"):
        wb.explain(model, np.concatenate([X] * 40), order=2)


def test_the_third_place_of_importance_is_the_truth():
    """It is refused where the method does not use it, by its name, before any work; a method in its place too."""
    model, rows = zoo.built("RandomForestRegressor")
    for truth in (zoo.y(), zoo.y().tolist(), "target"):
        for method in ("shap", "impurity"):
            with pytest.raises(OptionError, match=rf"method='{method}' does not use y"):
                wb.importance(model, rows, truth, method=method)
    with pytest.raises(OptionError, match="name the method: method='impurity'"):
        wb.importance(model, rows, "impurity")


def test_groups_hold_every_part_once_in_order():
    """Of words or segments as of columns; what is tied together comes as one."""
    words = ["the", "film", "was", "not", "good"]
    single = [(i,) for i in range(5)]
    assert named_groups(words, [], single) == [(w, (i,)) for i, w in enumerate(words)]
    assert named_groups(words, [("negated", (3, 4))], single)[2:] == [("was", (2,)), ("negated", (3, 4))]
    tied = [(0, 1), (2,), (3, 4)]
    assert [name for name, _ in named_groups(words, [], tied)] == ["the + film", "was", "not + good"]
    with pytest.raises(OptionError, match="more than one player is named 'was'"):
        named_groups(words, [("was", (3, 4))], single)


def test_groups_of_many_columns():
    names = [f"x{i}" for i in range(5000)]
    X = np.random.default_rng(0).normal(size=(40, 5000))
    model = as_model(RandomForestRegressor(2, max_depth=2, random_state=0).fit(pd.DataFrame(X, columns=names), X[:, 0]))
    players = resolve_players(model, names, {f"g{k}": names[5 * k : 5 * k + 5] for k in range(1000)})
    assert players.count == 1000
    assert players.of_column.tolist() == [i // 5 for i in range(5000)]
