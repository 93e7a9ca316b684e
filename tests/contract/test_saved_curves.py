"""Curves at any point after they were saved and loaded: the numbers of before, or a refusal that says what to do."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import whybox as wb
import zoo
from whybox.data.table import as_table
from whybox.errors import OptionError
from whybox.models.registry import as_model
from whybox.models.trees import TreeEnsemble

TREES = [
    case for case in zoo.CASES if case.verdict == "exact" and not any(w in case.name for w in ("linear", "Linear"))
]


# numbers that are categories, or mean a missing value
TRANSFORMED = (
    "HistGradientBoostingRegressor, categories of numbers in the middle",
    "XGBRegressor, missing=0",
    "CatBoostRegressor, categories, one-hot",
    "CatBoostRegressor, categories, Counter counters",
)


def through(effects, path, *, twice=False):
    effects.save(path / "a.whybox")
    back = wb.load(path / "a.whybox")
    back.save(path / "b.whybox")
    assert (path / "a.whybox").read_bytes() == (path / "b.whybox").read_bytes()
    if twice:
        effects.save(path / "b.whybox")
        assert (path / "a.whybox").read_bytes() == (path / "b.whybox").read_bytes()
    return back


def everywhere(e, model, column):
    """On, just below and just above thresholds (also as float32), between them, and far beyond."""
    from whybox.kernels.value_intervals import distinct_thresholds

    t = distinct_thresholds(model, column)
    t = t[np.isfinite(t) & (np.abs(t) < 1e30)][:: max(1, len(t) // 25)]
    f = t.astype(np.float32)
    half = (f.astype(float) + np.nextafter(f, np.float32(np.inf)).astype(float)) / 2
    near = [v for a in (t, f.astype(float), half) for v in (a, np.nextafter(a, np.inf), np.nextafter(a, -np.inf))]
    known = e.grid[np.isfinite(e.grid.astype(float))].astype(float)
    return np.unique(np.concatenate([*near, known, [-1e9, 0.0, 1e9]])).tolist()


@pytest.mark.parametrize(
    "case",
    [c for i, c in enumerate(TREES) if i % 12 == 0 or "nan_mode" in c.name or c.name in TRANSFORMED],
    ids=lambda c: c.name,
)
def test_the_step_function_of_every_kind_of_trees_comes_back(case, tmp_path):
    live, rows = zoo.built(case.name)
    model = as_model(live)
    if not isinstance(model, TreeEnsemble):
        pytest.skip("no trees")
    rows = rows[:30]
    effects = wb.effects(model, rows, grid=5, spot_checks=0)
    back = through(effects, tmp_path)
    table = as_table(rows)
    for p, (name, e) in enumerate(effects.items()):
        own = [i for i, source in enumerate(model.inputs.source_columns) if source == (p,)]
        number = e.grid.dtype.kind in "fiu"
        if number and not (model.inputs.encoder.is_elementwise and len(own) <= 1 and case.name not in TRANSFORMED):
            with suppress(OptionError) if case.name in TRANSFORMED else pytest.raises(OptionError, match="saved"):
                assert np.allclose(back[name].at(e.grid), e.values, rtol=1e-6)  # what is not refused is right
            continue
        points = [v for v in e.grid.tolist() if v is not None and v == v]
        if number:
            points += everywhere(e, model, own[0]) if own else [-1.0, 7.5]
            points += [None] if table.column(p).kind == "number" and e.grid.tolist()[-1] != e.grid.tolist()[-1] else []
        close = {"rtol": 1e-6, "atol": 1e-6} if case.single else {"rtol": 1e-12, "atol": 1e-12}
        assert np.allclose(back[name].at(points), e.at(points), **close)
        assert np.allclose(back[name].at(e.grid), e.values, **close)


@cache
def data(kind):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=200), "b": rng.integers(0, 30, 200), "c": rng.choice(["x", "y", "z"], 200)})
    X["a"] = X["a"].where(rng.random(200) > 0.1)
    X["c"] = pd.Categorical(X["c"], categories=["z", "y", "x", "w"])
    y = (X["a"].fillna(1.0) + X["b"] / 30 + (X["c"] == "y") > 1).astype(int)
    model = as_model(HistGradientBoostingClassifier(max_iter=6, categorical_features="from_dtype").fit(X, y))
    X = X[:50].copy()
    if kind == "float32":
        X["a"] = X["a"].astype(np.float32)
    return model, pl.from_pandas(X) if kind == "polars" else X


ASKED = {"a": [0.123, None, -7.0, 2.5, 0.123], "b": [3, 4.5, 100, -1], "c": ["w", "x", "z"]}


@pytest.mark.parametrize("library", ["pandas", "float32", "polars"])
@pytest.mark.parametrize("kind", ["pdp", "anova", "ice", "c-ice"])
@pytest.mark.parametrize("scale", [None, "probability"])
def test_every_kind_of_column_and_curve(kind, scale, library, tmp_path):
    model, X = data(library)
    if library != "pandas" and kind != "pdp":
        pytest.skip("pandas says enough")
    names = ["a", "b"] if library == "polars" else ["a", "b", "c"]
    effects = wb.effects(model, X, [*names, ("b", "a")], kind, grid=6, scale=scale, spot_checks=0)
    back = through(effects, tmp_path, twice=library == "pandas" and scale is None)
    for name in names:
        points = ASKED[name]
        assert np.allclose(back[name].at(points), effects[name].at(points), rtol=1e-12, atol=1e-12)
        assert np.allclose(effects[name].at(effects[name].grid), effects[name].values, rtol=1e-12, atol=1e-12)
    pairs = [(3.5, 0.1), (-1, None), (3.5, -0.4)]
    if kind in ("pdp", "anova") and not (scale and library == "polars"):
        assert np.allclose(back["b", "a"].at(pairs), effects["b", "a"].at(pairs), rtol=1e-12, atol=1e-12)
    for name, wrong in (("a", ["x"]), ("a", [np.inf]), *([("c", ["q"])] if "c" in names else [])):
        for one in (effects, back):
            with pytest.raises(OptionError):
                one[name].at(wrong)


def test_several_outputs_regions_and_thresholds(tmp_path):
    X, y = zoo.X(), zoo.three()
    model = RandomForestClassifier(8, max_depth=4, random_state=0).fit(X, y)
    effects = wb.effects(model, X, ["bmi", "age"], output="all")
    back = through(effects, tmp_path)
    at = [20.0, 31.25, 25.0]
    assert back["bmi"].at(at).shape == (3, 3)
    assert np.allclose(back["bmi"].at(at), effects["bmi"].at(at), rtol=1e-12)
    parts = wb.regions(GradientBoostingRegressor(n_estimators=20).fit(X, X["bmi"] * (X["age"] > 50)), X, "bmi")
    again = through(parts, tmp_path)
    for name in parts:
        assert np.allclose(again[name].at(at), parts[name].at(at), rtol=1e-12)


def test_accumulated_curves_are_drawn_between_their_edges(tmp_path):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=90), "c": rng.choice(list("abc"), 90)})
    X["d"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 40, 90), unit="D")
    effects = wb.effects(lambda f: f["x"] * (1 + (f["c"] == "b")), X, ["x", "c", "d", ("x", "d")], "ale", grid={"x": 7})
    back = through(effects, tmp_path)
    for name, points in (("x", [-0.3, 0.0]), ("c", ["b", "a"]), ("d", pd.to_datetime(["2024-01-07 12:00"]))):
        assert np.array_equal(back[name].at(points), effects[name].at(points))
    for one in (effects, back):
        for name, wrong, said in (
            ("x", [9.0], "ask inside"),
            ("c", ["q"], "not a level"),
            (("x", "d"), [1], "grid only"),
        ):
            with pytest.raises(OptionError, match=said):
                one[name].at(wrong)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda X: wb.effects(lambda f: f["x"], X), "saved without it"),
        (lambda X: wb.effects(zoo_model(X), X, kind="marginal"), "saved without it"),
        (lambda X: wb.effects(make_pipeline(StandardScaler(), zoo_model(X)).fit(X, X["x"]), X), "grid="),
    ],
)
def test_what_only_the_model_knows_is_refused(make, said, tmp_path):
    X = pd.DataFrame({"x": np.random.default_rng(0).normal(size=50), "z": np.arange(50.0)})
    effects = make(X)
    effects[0].at([0.5])
    back = through(effects, tmp_path)
    with pytest.raises(OptionError, match=said):
        back[0].at([0.5])


def zoo_model(X):
    return GradientBoostingRegressor(n_estimators=5, random_state=0).fit(X, X["x"])


def test_too_many_steps_are_not_saved_and_say_so(tmp_path, monkeypatch):
    from whybox.methods.effects import curve_at

    monkeypatch.setattr(curve_at, "MAX_NUMBERS_SAVED", 3)
    X = pd.DataFrame({"x": np.random.default_rng(0).normal(size=50), "z": np.arange(50.0)})
    back = through(wb.effects(zoo_model(X), X), tmp_path)
    with pytest.raises(OptionError, match="too many"):
        back["x"].at([0.5])


def test_a_number_that_means_missing_is_no_step(tmp_path):
    import xgboost

    X = pd.DataFrame({"x": np.random.default_rng(0).normal(size=80), "z": np.arange(80.0)})
    model = xgboost.XGBRegressor(n_estimators=4, missing=-999.0).fit(X, X["x"])
    back = through(wb.effects(model, X), tmp_path)
    with pytest.raises(OptionError, match="grid="):
        back["x"].at([-999.0])


def test_damaged_steps_are_found(tmp_path):
    import io
    import json
    import zipfile

    X = pd.DataFrame({"x": np.random.default_rng(0).normal(size=50), "z": np.arange(50.0)})
    wb.effects(zoo_model(X), X)["x"].save(tmp_path / "a.whybox")
    with zipfile.ZipFile(tmp_path / "a.whybox") as archive:
        parts = {n: archive.read(n) for n in archive.namelist()}
    assert json.loads(parts["explanation.json"])["at"]["how"] == "steps"
    edges = np.load(io.BytesIO(parts["at.edges.0.npy"]))
    for wrong in (edges[::-1], edges[1:], edges[None]):
        buffer = io.BytesIO()
        np.save(buffer, wrong)
        with zipfile.ZipFile(tmp_path / "b.whybox", "w") as archive:
            for n, part in (parts | {"at.edges.0.npy": buffer.getvalue()}).items():
                archive.writestr(n, part)
        with pytest.raises(wb.errors.ExplanationFileError, match="damaged"):
            wb.load(tmp_path / "b.whybox")
