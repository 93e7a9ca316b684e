"""Importance on tables whose answer is known: all shuffles, copies of a column, weights, containers, groups as one column, and tests of nulls."""

import itertools

import lightgbm
import numpy as np
import pandas as pd
import polars
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeRegressor
from test_permutation import KINDS, truth_of

import whybox as wb
import zoo
from whybox.api.importance import _make_problem
from whybox.errors import InputError, OptionError
from whybox.methods.importance.loss_problem import resolve_loss_problem
from whybox.methods.importance.options import ImportanceOptions
from whybox.models.mixed_rows import mix_cells

ONE_OF_EACH = [
    "RandomForestClassifier, 3 classes, sample weights",
    "HistGradientBoostingClassifier, categories",
    "XGBClassifier, binary:logistic",
    "LGBMRegressor, poisson",
    "CatBoostClassifier, Logloss",
]


def mean_of_all_shuffles(model, X, y, player, loss):
    """What scikit-learn estimates by drawn shuffles: the mean over all orders of a column, by the model's own predict."""
    made = resolve_loss_problem(
        _make_problem(model, X, y, ImportanceOptions(method="permutation", loss=loss, spot_checks=0))
    )
    own, n, table = made.model.own_predict, len(made), made.table
    orders = np.array(list(itertools.permutations(range(n))))
    rows = table.rows(np.tile(np.arange(n), len(orders)))
    donors = table.rows(orders.reshape(-1))
    taken = np.zeros((len(rows), table.width), dtype=bool)
    taken[:, list(made.players.members[made.players.names.index(player)])] = True
    mixed = mix_cells(rows, donors, taken)
    mixed = (
        rows.with_columns_from(donors, list(made.players.members[made.players.names.index(player)]))
        if mixed is None
        else mixed
    )

    def losses(some, which):
        predictions = own.predict(some)
        if own.scale == "raw" and made.selection.scale != "raw":
            predictions = made.model.outputs.link(predictions)
        return made.losses(made.selection.select_predictions(predictions), which)

    return losses(mixed, np.tile(np.arange(n), len(orders))).mean() - losses(table, np.arange(n)).mean()


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_of_each_library_it_is_the_mean_of_all_shuffles_for_three_losses(name):
    check_shuffles(name)


@pytest.mark.soak
@pytest.mark.parametrize("name", KINDS)
def test_of_every_kind_it_is_the_mean_of_all_shuffles_for_three_losses(name):
    check_shuffles(name)


def check_shuffles(name):
    """A shuffle leaves a row its own value 1/n of the time, so that it is (n - 1) / n times the mean over pairs of different rows."""
    model, rows = zoo.built(name)
    rows = rows[:5]
    y, losses = truth_of(model, rows, 2)
    if y is None:
        pytest.skip("several outputs, or no probabilities")
    for loss in losses:
        e = wb.importance(model, rows, y, loss=loss, spot_checks=0)
        assert e.evidence.exact
        player = e.feature_names[int(np.abs(e.values).argmax())]
        want = mean_of_all_shuffles(model, rows, y, player, loss)
        scale = max(abs(want), float(e.extras["baseline_loss"][1]))
        assert 4 / 5 * float(e[player]) == pytest.approx(want, abs=3e-6 * scale)


def test_copies_of_a_column_hide_each_other_and_a_group_shows_them():
    """Accuracy on training rows is all zeros where every column has copies (scikit-learn#14730)."""
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(2, 150))
    X = pd.DataFrame({f"{name}{i}": v for name, v in (("a", a), ("b", b)) for i in range(5)})
    y = np.where(a > 0, "up", np.where(b > 0.5, "middle", "down"))
    model = RandomForestClassifier(50, max_features=2, random_state=0).fit(X, y)
    alone = wb.importance(model, X, y, loss="zero_one", role="train")
    assert np.abs(alone.values).max() < 0.02
    together = wb.importance(model, X, y, loss="zero_one", role="train", players="auto")
    assert together.players[together.feature_names[0]] == tuple(f"a{i}" for i in range(5))
    assert (together.values > 0.15).all()
    assert (together.values > 5 * together.std_error).all()
    named = wb.importance(model, X, y, loss="zero_one", players={"a": [f"a{i}" for i in range(5)]})
    assert float(named["a"]) == pytest.approx(together.values[0], rel=1e-12)


def test_weights_are_rows_that_are_there_several_times():
    """Without drawn rows there is nothing that weights could fail to follow (scikit-learn#28183); of pairs with itself a row has none."""
    draw = np.random.default_rng(1)
    X = pd.DataFrame(draw.normal(size=(20, 3)), columns=list("abc"))
    y = (X.a + X.b**2 + draw.normal(size=20)).to_numpy()
    times = draw.integers(0, 4, 20)
    model = RandomForestRegressor(3, max_depth=4, random_state=0).fit(X, y)
    repeated = np.repeat(np.arange(20), times)
    shares, count = times / times.sum(), len(repeated)
    weighted, several = (
        wb.importance(model, X, y, sample_weight=times),
        wb.importance(model, X.iloc[repeated], y[repeated]),
    )
    np.testing.assert_allclose(
        weighted.values * (1 - (shares**2).sum()), several.values * (1 - 1 / count), rtol=1e-9, atol=1e-12
    )
    for method in ("shap", "pdp"):
        np.testing.assert_allclose(
            wb.importance(model, X, method=method, sample_weight=times).values,
            wb.importance(model, X.iloc[repeated], method=method).values,
            rtol=1e-9,
        )  # fmt: skip


@pytest.mark.parametrize("method", ["permutation", "conditional", "drop_column", "pdp"])
def test_rows_without_weight_may_have_no_truth_and_change_nothing(method):
    draw = np.random.default_rng(9)
    X = pd.DataFrame(draw.normal(size=(130, 2)), columns=list("ab"))
    y = (X.a + draw.normal(size=130)).to_numpy()
    model = LinearRegression().fit(X, y)
    w = np.r_[np.zeros(5), draw.random(125)]
    spoilt = np.where(w == 0, np.nan, y)
    needs_truth = method != "pdp"
    more = {"train": (X, y)} if method == "drop_column" else {}
    e = wb.importance(model, X, spoilt if needs_truth else None, method=method, sample_weight=w, **more)
    kept = wb.importance(model, X[5:], y[5:] if needs_truth else None, method=method, sample_weight=w[5:], **more)
    np.testing.assert_allclose(e.values, kept.values, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(e.std_error, kept.std_error, rtol=1e-9, atol=1e-12)
    if needs_truth:
        with pytest.raises(InputError, match="missing"):
            wb.importance(model, X, spoilt, method=method, **more)


def test_frames_categories_and_missing_values_give_the_same_in_every_container():
    draw = np.random.default_rng(2)
    n = 40
    X = pd.DataFrame(
        {
            "number": np.where(draw.random(n) < 0.2, np.nan, draw.normal(size=n)),
            "kind": pd.Categorical(draw.choice(list("xyz"), n)),
            "flag": draw.random(n) < 0.5,
        }
    )
    y = np.nan_to_num(X.number.to_numpy()) + 2.0 * (X.kind == "x") + X.flag + draw.normal(size=n) / 5
    for model in (
        lightgbm.LGBMRegressor(n_estimators=10, min_child_samples=5, verbose=-1).fit(X, y),
        HistGradientBoostingRegressor(max_iter=10, min_samples_leaf=5, categorical_features="from_dtype").fit(X, y),
    ):
        e = wb.importance(model, X, y)
        assert (e.values > 3 * e.std_error).all()
        shuffled = wb.importance(model, X[["flag", "kind", "number"]], pd.Series(y))
        assert shuffled.feature_names == e.feature_names
        assert shuffled.values.tobytes() == e.values.tobytes()
        if isinstance(model, HistGradientBoostingRegressor):
            frame = polars.from_pandas(X).with_columns(polars.col("kind").cast(polars.Enum(["x", "y", "z"])))
            np.testing.assert_allclose(wb.importance(model, frame, y).values, e.values, rtol=1e-12)


def test_a_pipelines_columns_are_permuted_before_they_are_encoded():
    draw = np.random.default_rng(3)
    n = 16
    X = pd.DataFrame({"kind": draw.choice(list("xyz"), n), "a": draw.normal(size=n), "dropped": draw.normal(size=n)})
    y = (X.kind == "x") * 2 + X.a + draw.normal(size=n) / 5
    encoded = make_column_transformer((OneHotEncoder(), ["kind"]), ("passthrough", ["a"]))
    for last in (RandomForestRegressor(3, max_depth=4, random_state=0), LinearRegression()):
        model = make_pipeline(encoded, last).fit(X, y)
        e = wb.importance(model, X, y, max_evals=10**6)
        assert e.evidence.exact
        own = ((model.predict(X) - y) ** 2).to_numpy()
        pairs = [
            ((model.predict(X.assign(kind=X.kind[j])) - y) ** 2).to_numpy() - own for j in range(n)
        ]  # the row's own value gives 0
        assert float(e["kind"]) == pytest.approx(np.sum(pairs) / (n * (n - 1)), rel=1e-9)
        assert (float(e["dropped"]), float(e["dropped"].std_error)) == (0.0, 0.0)


@pytest.mark.parametrize("method", ["permutation", "shap"])
def test_a_group_is_worth_what_a_model_with_the_group_as_one_column_says(method):
    draw = np.random.default_rng(4)
    X = pd.DataFrame(draw.integers(0, 3, (60, 3)).astype(float), columns=list("abc"))
    X.iloc[:27] = list(itertools.product(range(3), repeat=3))
    one = pd.DataFrame({"ab": 3 * X.a + X.b, "c": X.c})
    y = (X.a * X.b + (X.a - 1) * X.c).to_numpy()
    split, joined = (DecisionTreeRegressor(random_state=0).fit(rows, y) for rows in (X, one))
    noisy = y + draw.normal(size=60)
    if method == "permutation":
        found = wb.importance(split, X, noisy, players={"ab": ["a", "b"]})
        want = wb.importance(joined, one, noisy)
    else:
        found = wb.importance(split, X, background=X, players={"ab": ["a", "b"]})
        want = wb.importance(joined, one, background=one)
    assert found.feature_names == want.feature_names == ("ab", "c")
    np.testing.assert_allclose(found.values, want.values, rtol=1e-9)
    np.testing.assert_allclose(found.std_error, want.std_error, rtol=1e-9)
    np.testing.assert_allclose(found.extras["interval"][1], want.extras["interval"][1], rtol=1e-8)


@pytest.mark.parametrize("correlation", [0.0, 0.8])
@pytest.mark.parametrize("tables", [2, pytest.param(60, marks=pytest.mark.soak)])
def test_few_of_what_q_values_call_important_are_nulls(tables, correlation):
    """By q-values of 0.1 at most a tenth of what is called important is null, and signals are found."""
    false, found = [], []
    for seed in range(tables):
        draw = np.random.default_rng(seed)

        def rows(draw=draw):
            first = draw.normal(size=(200, 5))
            other = correlation * first + np.sqrt(1 - correlation**2) * draw.normal(size=(200, 5))
            return np.column_stack([first, other]), first[:, 0] + 0.8 * first[:, 1] + draw.normal(size=200)

        (X, y), (Z, t) = rows(), rows()
        model = LinearRegression().fit(X, y)
        q = wb.importance(model, Z, t, method="conditional", spot_checks=0).extras["q_value"][1]
        called = q <= 0.1
        false.append(called[2:].sum() / max(called.sum(), 1))
        found.append(called[:2].mean())
    assert np.mean(false) <= 0.1 + 2 * 0.2 / np.sqrt(tables)
    assert np.mean(found) == 1.0


def test_a_column_without_influence_has_no_sign_and_its_error_covers_zero():
    """The model reads a column of noise: over tables its values are zero on the average, as far as their errors say."""
    draw = np.random.default_rng(5)
    values, errors = [], []
    for _ in range(24):
        X = draw.normal(size=(30, 2))
        y = X[:, 0] + draw.normal(size=30)
        e = wb.importance(lambda rows: rows[:, 0] + 0.3 * rows[:, 1], X, y, max_evals=10**5, spot_checks=0)
        values.append(e.values[1])
        errors.append(e.std_error[1])
    z = np.mean(values) / (np.std(values, ddof=1) / np.sqrt(24))
    assert abs(z) < 3
    assert 0.7 < np.sqrt(np.mean(np.square(errors))) / np.std(values, ddof=1) < 1.4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": np.zeros(29)}, "29 values for 30 rows"),
        ({"y": np.r_[np.nan, np.zeros(29)]}, "missing"),
        ({"y": ["a"] * 30}, "predicts numbers"),
        ({"y": np.zeros((30, 2))}, "one value a row"),
        ({"loss": "log"}, "needs probabilities"),
        ({"loss": "nonsense"}, "loss"),
        ({"method": "drop_column"}, "training"),
        ({"method": "nonsense"}, "not known"),
        ({"y": "shap"}, "method='shap'"),
        ({"players": {"p": ["a", "b"], "q": ["b"]}}, "b"),
        ({"players": {"p": ["nowhere"]}}, "nowhere"),
        ({"sample_weight": -np.ones(30)}, "negative"),
        ({"sample_weight": np.zeros(30)}, "zero"),
        ({"sample_weight": np.r_[1.0, np.zeros(29)]}, "1 of positive weight"),
        ({"level": 1.5}, "level"),
        ({"role": "test"}, "role"),
        ({"train": 3}, "must be a pair"),
        ({"tol": 2}, "tol"),
    ],
)
def test_what_does_not_go_together_is_refused(change, words):
    draw = np.random.default_rng(6)
    X = pd.DataFrame(draw.normal(size=(30, 3)), columns=list("abc"))
    model = RandomForestRegressor(2, max_depth=2, random_state=0).fit(X, X.a)
    options = {"y": np.zeros(30), **change}
    with pytest.raises((OptionError, InputError), match=words):
        wb.importance(model, X, options.pop("y"), **options)


def test_classes_that_the_model_does_not_have_are_refused():
    draw = np.random.default_rng(7)
    X = draw.normal(size=(30, 2))
    model = RandomForestClassifier(2, random_state=0).fit(X, np.where(X[:, 0] > 0, "yes", "no"))
    with pytest.raises(InputError, match="none of the model's classes"):
        wb.importance(model, X, np.where(X[:, 0] > 0, "yes", "maybe"))
    with pytest.raises(OptionError, match="is of numbers"):
        wb.importance(model, X, np.where(X[:, 0] > 0, "yes", "no"), loss="squared")


def test_a_constant_column_is_exactly_zero_for_every_method():
    draw = np.random.default_rng(8)
    X = pd.DataFrame(draw.normal(size=(60, 2)), columns=list("ab")).assign(same=2.0)
    y = X.a.to_numpy() + draw.normal(size=60)
    model = RandomForestRegressor(4, max_depth=3, random_state=0).fit(X, y)
    for method in ("permutation", "conditional", "shap", "pdp", "unbiased_impurity", "drop_column"):
        needs_truth = method in ("permutation", "conditional", "drop_column")
        train = {"train": (X, y)} if method in ("unbiased_impurity", "drop_column") else {}
        fit = {"fit": LinearRegression().fit} if method == "drop_column" else {}
        model_of = LinearRegression().fit(X, y) if method == "drop_column" else model
        e = wb.importance(model_of, X, y if needs_truth else None, method=method, **train, **fit)
        assert abs(float(e["same"])) <= (1e-12 if method == "drop_column" else 0.0), method
        assert float(e["same"].std_error) <= (1e-12 if method == "drop_column" else 0.0), method
        if method in ("permutation", "conditional", "shap", "pdp"):
            assert np.isnan(e.extras["p_value"][1][2]), method
