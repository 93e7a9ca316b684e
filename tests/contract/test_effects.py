"""Effects of any model on any table: every input that scikit-learn's own partial dependence refuses, and its own numbers where it answers."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.inspection import partial_dependence
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

import whybox as wb
import zoo
from sound_answers import mixed_table
from whybox.errors import DtypeError, InputError, LimitError, OptionError, UnsupportedModelError

# Of the calls of a model that is only asked: one looks at two rows to see what comes out, seven at some rows among others, in halves and alone, and the last
# at these rows again.
WORK = slice(8, -1)


def table(n=200, seed=0):
    return mixed_table(n, np.random.default_rng(seed)).drop(columns=["same", "zone"])


def score(rows):
    """Plain Python over every kind of column."""
    rows = rows if isinstance(rows, pd.DataFrame) else rows.to_pandas()
    out = rows["whole"].to_numpy() * 2.0 + np.where(rows["real"].isna(), 5.0, rows["real"].fillna(0.0) ** 2)
    out = out + rows["text"].map({"a": 1.0, "b": 2.0}).fillna(-3.0).to_numpy()
    out = out + rows["kind"].astype(object).map({"x": 0.0, "y": 1.0, "z": 4.0, "w": 9.0}).to_numpy().astype(float)
    out = out * np.where(rows["flag"].astype(bool), 1.5, 1.0)
    return out + (pd.to_datetime(rows["day"]) - pd.Timestamp("2024-01-01")).dt.days.to_numpy() / 100.0


def brute(function, rows, column, value):
    changed = rows.copy()
    changed[column] = pd.Series([value] * len(rows), dtype=rows[column].dtype, index=rows.index)
    return function(changed).mean()


@pytest.mark.parametrize("column", ["whole", "real", "text", "kind", "flag", "day"])
@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_plain_function_of_every_kind_of_column_in_every_kind_of_frame(column, library):
    rows = table()
    given = {
        "pandas": rows,
        "polars": pl.from_pandas(rows),
        "pyarrow": pa.Table.from_pandas(rows, preserve_index=False),
    }
    curve = wb.effects(score, given[library], column)[column]
    values = [None if v is None or v != v else v for v in curve.grid.tolist()]
    if column == "day":
        values = list(pd.to_datetime(curve.grid))
    assert np.allclose(curve.values, [brute(score, rows, column, v) for v in values], rtol=1e-12)
    if column in ("real", "text"):
        assert values[-1] is None  # missing values have a point of their own
    if column == "whole":
        assert curve.grid.dtype.kind == "i"
    if column == "kind" and library != "polars":  # polars keeps no list of categories
        assert set(values) == {"w", "x", "y", "z"}
    assert np.isfinite(curve.std_error).all()


@pytest.mark.parametrize("column", ["whole", "real", "text", "kind", "flag", "day"])
def test_individual_curves_of_every_kind_of_column(column):
    rows = table(40)
    curve = wb.effects(score, rows, column, "ice")[column]
    assert curve.dims == ("row", "point")
    assert np.allclose(curve.values.mean(axis=0), wb.effects(score, rows, column)[column].values)
    pinned = wb.effects(score, rows, column, "c-ice")[column]
    assert np.allclose(pinned.values, curve.values - curve.values[:, :1])


def test_a_surface_of_a_category_and_a_number():
    rows = table()
    surface = wb.effects(score, rows, [("kind", "real")], grid={"real": [0.0, 2.0, None]})["kind", "real"]
    assert surface.dims == ("point", "point_2")
    for i, kind in enumerate(surface.grid):
        for j, real in enumerate([0.0, 2.0, np.nan]):
            changed = rows.assign(real=real)
            changed["kind"] = pd.Categorical([kind] * len(rows), categories=rows["kind"].cat.categories)
            assert np.isclose(surface.values[i, j], score(changed).mean())
    two = wb.effects(score, rows[:20], [("flag", "kind")], "ice")[0]
    assert two.dims == ("row", "point", "point_2")


def test_gradient_boosting_on_pandas_categories_and_with_sample_weights():
    rows = table()[["whole", "real", "kind"]]
    y = np.arange(len(rows)) % 7 + rows["whole"]
    weights = np.linspace(0.5, 2.0, len(rows))
    model = HistGradientBoostingRegressor(max_iter=20, categorical_features="from_dtype").fit(
        rows, y, sample_weight=weights
    )
    curves = wb.effects(model, rows, sample_weight=weights)
    for name in ("whole", "real", "kind"):
        values = [None if v is None or v != v else v for v in curves[name].grid.tolist()]
        for value, got in zip(values, curves[name].values, strict=True):
            changed = rows.copy()
            changed[name] = pd.Series([value] * len(rows), dtype=rows[name].dtype)
            assert np.isclose(got, np.average(model.predict(changed), weights=weights), atol=1e-9)


def test_every_class_at_once_without_naming_one():
    X, y = zoo.X(), zoo.three()
    model = RandomForestClassifier(n_estimators=10, random_state=0).fit(X, y)
    curve = wb.effects(model, X, "bmi")["bmi"]
    assert curve.dims == ("point", "output")
    assert np.allclose(curve.values.sum(axis=1), 1.0)
    one = wb.effects(model, X, "bmi", output=curve.output_names[1])["bmi"]
    assert np.allclose(one.values, curve.values[:, 1])


@pytest.mark.parametrize("kind", ["forest", "linear", "knn", "pipeline"])
def test_the_numbers_of_scikit_learns_brute_force(kind):
    X, y = zoo.X().astype(float), zoo.y()
    model = {
        "forest": HistGradientBoostingRegressor(max_iter=20),
        "linear": LinearRegression(),
        "knn": KNeighborsRegressor(5),
        "pipeline": make_pipeline(StandardScaler(), KNeighborsRegressor(5)),
    }[kind].fit(X, y)
    curves = wb.effects(model, X, ["bmi", ("age", "bmi")], grid={"age": 6, "bmi": 9})
    for key, names in (("bmi", ["bmi"]), (("age", "bmi"), ["age", "bmi"])):
        e = curves[key]
        axes = {n: e.coords[d] for n, d in zip(e.players, ("point", "point_2"), strict=False)}
        theirs = partial_dependence(
            model, X, names, method="brute", custom_values=axes, kind="both" if key == "bmi" else "average"
        )
        assert np.abs(theirs["average"][0] - e.values).max() < 1e-9
        if key == "bmi":
            lines = wb.effects(model, X, "bmi", "ice", grid={"bmi": 9})["bmi"]
            assert np.abs(theirs["individual"][0] - lines.values).max() < 1e-9


def test_the_probability_of_a_boosted_classifier_is_averaged_behind_the_link():
    X, y = zoo.X().astype(float), zoo.binary()
    model = HistGradientBoostingClassifier(max_iter=20).fit(X, y)
    grid = {"bmi": [20.0, 25.0, 30.0]}
    raw, probability = (wb.effects(model, X, "bmi", grid=grid, scale=s)["bmi"] for s in (None, "probability"))
    for method, ours in (("decision_function", raw), ("predict_proba", probability)):
        theirs = partial_dependence(
            model, X, ["bmi"], method="brute", response_method=method, custom_values={"bmi": ours.grid}
        )
        assert np.abs(theirs["average"][0] - ours.values).max() < 1e-9
    asked = wb.effects(model, X, "bmi", grid=grid, response_method="predict_proba")["bmi"]
    assert np.allclose(asked.values, probability.values, atol=1e-12)
    assert "predict_proba" in asked.evidence.kernel


def test_estimators_that_are_not_read_are_asked_and_the_evidence_says_so():
    X, y = zoo.X(), zoo.binary()
    model = make_pipeline(StandardScaler(), GaussianNB()).fit(X, y)
    curve = wb.effects(model, X, "bmi")["bmi"]
    assert curve.units == "probability"
    assert "predict_proba" in curve.evidence.kernel
    assert any("not read" in note for note in curve.evidence.notes)
    with pytest.raises(UnsupportedModelError):
        wb.explain(model, X)
    with pytest.raises(UnsupportedModelError):
        wb.explain(lambda rows: rows[:, 0], X)


def test_equal_rows_are_asked_about_once_and_never_more_than_the_floor():
    rng = np.random.default_rng(0)
    calls = []

    def function(rows):
        calls.append(len(rows))
        return rows[:, 0] + rows[:, 1]

    X = np.column_stack([rng.normal(size=300), rng.integers(0, 3, 300)]).astype(float)
    curve = wb.effects(function, X, 0, grid=50, spot_checks=0)[0]
    assert sum(calls[WORK]) == 3 * 50
    assert curve.evidence.model_calls == sum(calls)
    calls.clear()
    wb.effects(function, X, 1, spot_checks=0)
    assert sum(calls[WORK]) == 300 * 3


@pytest.mark.parametrize("kind", ["pdp", "ice", "c-ice", "d-ice", "ale", "marginal", "anova"])
def test_more_predictions_than_allowed_are_refused_before_any(kind):
    asked = []

    def function(rows):
        asked.append(len(rows))
        return rows.sum(axis=1)

    X = np.random.default_rng(0).normal(size=(300, 2))
    with pytest.raises(LimitError, match="max_evals"):
        wb.effects(function, X, kind=kind, max_evals=299)
    assert sum(asked) <= 2  # to see what comes out
    assert len(wb.effects(function, X, kind=kind, max_evals=100_000)) == 2


def test_regions_cost_what_is_allowed():
    X = np.random.default_rng(0).normal(size=(300, 2))
    with pytest.raises(LimitError, match="max_evals"):
        wb.regions(lambda rows: rows.sum(axis=1), X, 0, max_evals=299)


def test_a_curve_is_asked_anywhere_and_keeps_the_order_asked():
    rows = table()
    curves = wb.effects(score, rows)
    real = curves["real"].at([3.0, np.nan, -1.0, 3.0])
    assert np.allclose(real, [brute(score, rows, "real", v) for v in (3.0, None, -1.0, 3.0)])
    assert np.allclose(curves["kind"].at(["w", "x"]), [brute(score, rows, "kind", v) for v in ("w", "x")])
    assert np.allclose(
        curves["day"].at(pd.to_datetime(["2025-01-01"])), brute(score, rows, "day", pd.Timestamp("2025-01-01"))
    )
    assert np.allclose(curves["whole"].at([2.5]), brute(score, rows.astype({"whole": float}), "whole", 2.5))
    with pytest.raises(OptionError, match="categories"):
        curves["kind"].at(["v"])


def test_weighted_rows_are_rows_repeated():
    rows, w = table(60), np.arange(60) % 4
    a = wb.effects(score, rows, "whole", sample_weight=w, grid={"whole": [1, 5]})[0]
    b = wb.effects(score, rows.loc[np.repeat(rows.index, w)].reset_index(drop=True), "whole", grid={"whole": [1, 5]})[0]
    assert np.allclose(a.values, b.values)
    m, n = (
        wb.effects(score, r, "flag", "marginal", sample_weight=v)[0]
        for r, v in ((rows, w), (rows.loc[np.repeat(rows.index, w)].reset_index(drop=True), None))
    )
    assert np.allclose(m.values, n.values)


def test_saved_curves_come_back_with_their_points(tmp_path):
    curves = wb.effects(score, table(), None)
    curves.save(tmp_path / "e.whybox")
    back = wb.load(tmp_path / "e.whybox")
    for name, e in curves.items():
        assert np.array_equal(back[name].values, e.values)
        assert back[name].grid.dtype == e.grid.dtype
        assert [str(v) for v in back[name].grid] == [str(v) for v in e.grid]
        assert back[name].evidence == e.evidence
    with pytest.raises(OptionError, match="saved"):
        back["real"].at([1.0])
    curves["day"].save(tmp_path / "one.whybox")
    assert np.array_equal(wb.load(tmp_path / "one.whybox").grid, curves["day"].grid)
    frame = curves.to_frame()
    assert set(frame["feature"]) == set(curves)
    assert len(frame) == sum(len(e) for e in curves.values())
    assert isinstance(wb.effects(score, pl.from_pandas(table()), "flag").to_frame(), pl.DataFrame)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda X: wb.effects(score, X, "reel"), OptionError, "Did you mean 'real'"),
        (lambda X: wb.effects(score, X, kind="pdb"), OptionError, "pdp"),
        (lambda X: wb.effects(score, X, [("whole", "whole")]), OptionError, "different"),
        (lambda X: wb.effects(score, X, grid={"rael": [1]}), OptionError, "real"),
        (lambda X: wb.effects(score, X, "kind", grid={"kind": ["q"]}), OptionError, "categories"),
        (lambda X: wb.effects(score, X, "real", grid={"real": ["q"]}), OptionError, "finite"),
        (lambda X: wb.effects(score, X, "real", grid=1), OptionError, "2 points"),
        (lambda X: wb.effects(score, X, "kind", "d-ice"), OptionError, "slopes"),
        (lambda X: wb.effects(score, X, sample_weight=[1.0]), InputError, "sample_weight has 1 values"),
        (lambda X: wb.effects(score, X, sample_weight=-np.ones(200)), InputError, "negative"),
        (lambda X: wb.effects(lambda rows: ["yes"] * len(rows), X), DtypeError, "numbers"),
        (lambda X: wb.effects(lambda rows: 1.0, X), InputError, "one number a row"),
        (lambda X: wb.effects(3, X), UnsupportedModelError, "int"),
        (lambda X: wb.effects(score, X, output="w"), OptionError, "not an output"),
        (lambda X: wb.effects(LinearRegression, X), UnsupportedModelError, "class"),
    ],
)
def test_bad_questions_are_refused_with_what_to_do(call, error, words):
    with pytest.raises(error, match=words):
        call(table())


def test_text_behind_an_encoder_is_asked_in_the_users_own_column():
    rows = table()[["text", "whole"]].fillna({"text": "none"})
    model = make_pipeline(OrdinalEncoder(), KNeighborsRegressor(3)).fit(rows, np.arange(200) % 5)
    curve = wb.effects(model, rows, "text")["text"]
    assert [brute(model.predict, rows, "text", v) for v in curve.grid] == pytest.approx(list(curve.values))


def levels(n=160, seed=3):
    """Three features of categories, with an order each, and one of numbers."""
    rng = np.random.default_rng(seed)
    words = [rng.choice(list("abcd")[: 2 + j], n) for j in range(3)]
    return pd.DataFrame({f"c{j}": w for j, w in enumerate(words)} | {"x": rng.normal(size=n)})


def counting():
    asked = []

    def function(rows):
        asked.append(rows.copy())
        return sum(rows[f"c{j}"].map({"a": 1.0, "b": 2.0, "c": 4.0, "d": 7.0}) * (j + rows["x"]) for j in range(3))

    return function, asked


def floor_of_aleplot(rows, column):
    """What the definition asks: each row as it is, one level up unless it is the last, one down unless it is the first; of a number both ends."""
    if column == "x":
        return 2 * len(rows)
    ends = [int((rows[column] == end).sum()) for end in (min(rows[column]), max(rows[column]))]
    return 3 * len(rows) - sum(ends)


@pytest.mark.parametrize("columns", [["c2"], ["c0", "c1", "c2"], ["c0", "c2", "x"]])
@pytest.mark.parametrize("repeated", [1, 3])
def test_ale_of_categories_asks_about_rows_as_they_are_once_for_all_features(columns, repeated):
    rows = pd.concat([levels()] * repeated, ignore_index=True)
    function, asked = counting()
    grid = {c: sorted(set(rows[c])) if c != "x" else np.quantile(rows["x"], np.linspace(0, 1, 41)) for c in columns}
    curves = wb.effects(function, rows, columns, "ale", grid=grid, spot_checks=0)
    seen = pd.concat(asked[WORK])
    n = len(levels())  # the rest are repeats
    brute = sum(floor_of_aleplot(levels(), c) for c in columns)
    several = [c for c in columns if c != "x"]
    once = n + sum(floor_of_aleplot(levels(), c) - n for c in several) + 2 * n * ("x" in columns)
    assert len(seen) <= once <= brute
    assert len(seen) <= n * (1 + 2 * len(columns))
    assert len(seen) >= 0.9 * once  # categories that stand elsewhere already save a little more
    if "x" not in columns:
        assert not seen.duplicated().any()
    assert curves[0].evidence.model_calls == sum(map(len, asked))
    for c in columns:
        alone = wb.effects(function, rows, c, "ale", grid={k: v for k, v in grid.items() if k == c})[c]
        assert np.array_equal(alone.values, curves[c].values)


def test_ale_of_numbers_that_all_stand_on_edges_shares_the_rows_as_they_are():
    X = np.random.default_rng(0).integers(0, 9, (200, 4)) + 0.0
    X[:, 3] = np.arange(200)  # no two rows alike
    calls = []

    def function(rows):
        calls.append(len(rows))
        return rows.prod(axis=1)

    wb.effects(function, X, [0, 1, 2], "ale", spot_checks=0)
    total = sum(calls)
    assert sum(calls[WORK]) <= 200 + 3 * 200  # not two a row and feature
    with pytest.raises(LimitError, match=f"{total:,} predictions"):
        wb.effects(function, X, [0, 1, 2], "ale", max_evals=total - 1, spot_checks=0)
    assert len(wb.effects(function, X, [0, 1, 2], "ale", max_evals=total, spot_checks=0)) == 3


def test_without_max_evals_a_hundred_million_predictions_are_allowed(monkeypatch):
    X = np.arange(60.0).reshape(30, 2)
    monkeypatch.setattr("whybox.methods.effects.problem.DEFAULT_MAX_EVALS", 800)
    calls = []
    function = lambda rows: calls.append(len(rows)) or rows.sum(axis=1)
    for verb in (wb.effects, partial(wb.plan, wb.effects), lambda *a: wb.regions(*a, 0)):
        with pytest.raises(LimitError, match="more than max_evals=800"):
            verb(function, X)
    assert sum(calls) < 800
    assert len(wb.effects(function, X, max_evals=10_000)) == 2
