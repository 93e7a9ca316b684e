"""Models that know no column names: columns are taken by position, and that is said; where names say another order, they are matched or refused."""

from __future__ import annotations

import catboost as cb
import lightgbm as lgb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xgboost as xgb
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor, VotingRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import whybox as wb
from whybox.cli.main import main
from whybox.errors import ColumnsError, InputError

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(200, 3)), columns=["a", "b", "c"])
Y = X.a + 2 * X.b * X.c
TURNED = X[["c", "a", "b"]]
NOTE = "The model knows no column names; columns were taken by position."
CAUTION = "columns taken by position"
MODELS = {
    "xgboost": lambda: xgb.XGBRegressor(n_estimators=3, max_depth=3),
    "lightgbm": lambda: lgb.LGBMRegressor(n_estimators=3, verbose=-1),
    "catboost": lambda: cb.CatBoostRegressor(iterations=3, depth=3, verbose=0, allow_writing_files=False),
    "forest": lambda: RandomForestRegressor(3, random_state=0),
    "hist gradient boosting": lambda: HistGradientBoostingRegressor(max_iter=3),
    "voting": lambda: VotingRegressor([("f", RandomForestRegressor(2, random_state=0))]),
    "pipeline": lambda: make_pipeline(make_column_transformer((StandardScaler(), [0, 1, 2])), RandomForestRegressor(2)),
}


def as_library(frame, library):
    return {"pandas": lambda f: f, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}[library](frame)


@pytest.fixture(scope="module", params=MODELS)
def nameless(request):
    return MODELS[request.param]().fit(X.to_numpy(), Y)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_columns_taken_by_position_are_noted(nameless, library):
    rows = as_library(TURNED[:20], library)
    got = wb.explain(nameless, rows, rows)
    assert np.allclose(got.prediction, nameless.predict(TURNED[:20].to_numpy()), rtol=1e-5)
    assert got.evidence.by_position
    assert NOTE in got.evidence.notes
    assert CAUTION in got.plot.bar().get_xlabel()
    effect = wb.effects(nameless, rows, ["a"])["a"]
    assert NOTE in effect.evidence.notes
    assert CAUTION in effect.plot.curve().get_xlabel()
    # arrays have no names, and the names of a model that knows some are matched
    assert NOTE not in wb.explain(nameless, X.to_numpy()[:9]).evidence.notes


def test_models_that_know_names_match_them():
    for make in MODELS.values():
        model = make().fit(X, Y)
        got = wb.explain(model, TURNED[:9])
        assert got.feature_names == ("a", "b", "c")
        assert got.evidence.notes.count(NOTE) == 0
        assert np.array_equal(got.values, wb.explain(model, X[:9]).values)


@pytest.mark.parametrize("style", ["{}", "x{}", "f{}", "Column_{}"])
def test_names_that_are_numbers_in_another_order(nameless, style):
    numbered = X.set_axis([style.format(i) for i in range(3)], axis=1)
    turned = numbered.iloc[:, [2, 0, 1]]
    got = wb.explain(nameless, numbered[:9], numbered)
    assert not got.evidence.by_position
    if type(nameless).__name__ == "LGBMRegressor" and style == "Column_{}":  # these names stand in the model
        assert np.array_equal(wb.explain(nameless, turned[:9], numbered).values, got.values)
        assert np.array_equal(wb.explain(nameless, numbered[:9], turned).values, got.values)
        return
    for ask in (lambda: wb.explain(nameless, turned), lambda: wb.explain(nameless, X, turned)):
        with pytest.raises(ColumnsError, match=rf"column 0 is '{style.format(2)}' where '{style.format(0)}' belongs"):
            ask()
    with pytest.raises(ColumnsError, match="another order than their names say"):
        wb.effects(nameless, turned)


@pytest.mark.parametrize("library", ["lightgbm", "catboost"])
def test_names_that_look_like_none_are_names_where_their_order_says_so(library):
    names = ["Column_2", "Column_0", "Column_1"] if library == "lightgbm" else ["2", "0", "1"]
    odd = X.set_axis(names, axis=1)
    model = MODELS[library]().fit(odd, Y)
    got = wb.explain(model, odd[sorted(names)][:9])
    assert got.feature_names == tuple(names)
    assert np.allclose(got.prediction, model.predict(odd[:9]))
    assert not got.evidence.by_position


def test_numbers_that_catboost_stores_as_names_are_matched():
    numbered = X.set_axis(["0", "1", "2"], axis=1)
    model = MODELS["catboost"]().fit(numbered, Y)
    turned = numbered[["2", "0", "1"]]
    got = wb.explain(model, turned[:9], turned)
    assert np.allclose(got.prediction, model.predict(numbered[:9]))
    assert np.array_equal(got.values, wb.explain(model, numbered[:9], numbered).values)
    assert (
        wb.effects(model, turned, ["0"])["0"].values.tolist() == wb.effects(model, numbered, ["0"])["0"].values.tolist()
    )
    with pytest.raises(ColumnsError, match="lacks 3 columns '0', '1', '2'"):  # CatBoost itself refuses them too
        wb.explain(model, TURNED[:9])


def test_integer_columns_of_pandas_are_positions():
    model = RandomForestRegressor(3, random_state=0).fit(pd.DataFrame(X.to_numpy()), Y)
    frame = pd.DataFrame(X.to_numpy())
    assert not wb.explain(model, frame[:5]).evidence.by_position
    with pytest.raises(ColumnsError, match="another order"):
        wb.explain(model, frame[[2, 0, 1]])


def test_background_and_rows_in_different_orders_are_refused(nameless):
    with pytest.raises(
        ColumnsError,
        match=r"background has the same columns as the rows in another order \('c', 'a', 'b'; the rows: 'a', 'b', 'c'\)",
    ):
        wb.explain(nameless, X[:9], TURNED)
    same = wb.explain(nameless, X[:9], X)
    assert np.array_equal(same.values, wb.explain(nameless, X[:9], X.set_axis(list("pqr"), axis=1)).values)
    assert np.array_equal(same.values, wb.explain(nameless, X[:9], X.to_numpy()).values)


class Kept(BaseEstimator, TransformerMixin):
    """A transformer that hands frames on and remembers no names."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X

    def get_feature_names_out(self, names=None):
        return np.array(["a", "b", "c"])


@pytest.mark.parametrize(
    "last", [RandomForestRegressor(2, random_state=0), KNeighborsRegressor()], ids=["read", "asked"]
)
def test_names_that_a_later_step_remembers(last):
    model = make_pipeline(Kept(), StandardScaler(), last).fit(X, Y)
    effect = wb.effects(model, X[:50], ["a"], grid=5)["a"]
    assert NOTE not in effect.evidence.notes
    with pytest.raises(InputError, match=r"column 0 is 'c' where 'a' belongs.*'a', 'b', 'c'|names should match those"):
        wb.effects(model, TURNED[:50], ["a"])


def test_estimators_that_are_only_asked():
    model = KNeighborsRegressor().fit(X.to_numpy(), Y)
    effect = wb.effects(model, TURNED[:50], ["a"], grid=3)["a"]
    assert NOTE in effect.evidence.notes
    assert NOTE not in wb.effects(lambda rows: rows["a"] * 2.0, TURNED[:50], ["a"], grid=3)["a"].evidence.notes
    assert NOTE not in wb.effects(KNeighborsRegressor().fit(X, Y), TURNED[:50], ["a"], grid=3)["a"].evidence.notes


def test_pictures_report_and_command_line_say_so(tmp_path, capsys):
    model = MODELS["xgboost"]().fit(X.to_numpy(), Y)
    model.save_model(tmp_path / "m.json")
    TURNED.to_csv(tmp_path / "d.csv", index=False)
    files = [str(tmp_path / "m.json"), str(tmp_path / "d.csv")]
    for verb, out in (("explain", "o.parquet"), ("effects", "e.parquet"), ("report", "r.html")):
        assert main([verb, *files, "-o", str(tmp_path / out), "--no-verify"]) == 0
        assert NOTE in capsys.readouterr().out
    page = (tmp_path / "r.html").read_text()
    assert NOTE in page
    assert page.count(CAUTION) > 3
    X[:20].to_csv(tmp_path / "b.csv", index=False)
    assert (
        main(
            [
                "explain",
                *files,
                "-o",
                str(tmp_path / "p.parquet"),
                "--no-verify",
                "--background",
                str(tmp_path / "b.csv"),
            ]
        )
        == 3
    )
    assert "another order" in capsys.readouterr().err
    got = wb.explain(model, TURNED[:30], TURNED)
    for picture in (got.plot.beeswarm, got.plot.heatmap, lambda: got.plot.scatter("a"), lambda: got.plot.waterfall(0)):
        assert CAUTION in picture().get_xlabel()
    effects = wb.effects(model, TURNED[:60], ["a", ("a", "b")])
    assert CAUTION in effects[("a", "b")].plot.curve().get_xlabel()
    assert CAUTION in effects.plot()[0].figure._supxlabel.get_text()


def test_evidence_of_files_that_earlier_versions_saved():
    from whybox.explanation.evidence import Evidence

    now = wb.explain(MODELS["forest"]().fit(X, Y), X[:3]).evidence
    then = {k: v for k, v in now.to_dict().items() if k not in ("by_position", "unseen")}
    assert Evidence.from_dict(then) == now
