"""Steps that encode a whole table and do not tell which columns theirs are made of: it is found by trial, and never guessed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import BaggingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import KNNImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import whybox as wb
import zoo
from oracles import brute_frame
from whybox.errors import UnsupportedModelError
from whybox.explainers import TreeShap
from whybox.models.registry import as_model
from whybox.models.source_trials import with_sources_found

ROWS, Y = zoo.categories(kind="text").assign(bp=lambda d: (d.bp // 8).astype(str)), zoo.binary()


class Means(BaseEstimator, TransformerMixin):
    """As the target encoders of other libraries: takes a whole table, replaces text by the mean of the truth, leaves numbers alone."""

    def fit(self, X, y):
        self.n_features_in_, self.feature_names_in_ = X.shape[1], np.array(X.columns)
        self.means_ = {
            c: pd.Series(y).groupby(X[c].to_numpy()).mean() for c in X if not pd.api.types.is_numeric_dtype(X[c])
        }
        self.default_ = float(np.mean(y))
        return self

    def transform(self, X):
        return X.assign(**{c: X[c].map(m).fillna(self.default_) for c, m in self.means_.items()}).astype(float)


class Dummies(Means):
    """As the one-hot encoders of other libraries: a column for each level, in an order of its own."""

    def fit(self, X, y):
        super().fit(X, y)
        self.columns_ = [*sorted((c, v) for c in self.means_ for v in X[c].unique())][::-1]
        return self

    def transform(self, X):
        numbers = X.drop(columns=list(self.means_)).astype(float)
        return np.column_stack([numbers, *((X[c] == v).astype(float) for c, v in self.columns_)])


class Difference(Means):
    """Makes a column of two, and leaves two columns out."""

    def transform(self, X):
        return np.column_stack([X.bmi - 2 * X.s5, X.age == "old", X.sex])


class WhereMissing(Means):
    """Reads a second column only where the first is missing."""

    def transform(self, X):
        return np.column_stack([X.bmi.fillna(X.s5), X.sex, X.s5])


class Together(Means):
    """Reads a column only where three others have some values together."""

    def transform(self, X):
        return np.column_stack([X.a, np.where((X.i == 5) & (X.c == "z") & (X.a > 1), X.b, 0.0), X.i])


@pytest.mark.parametrize("seed", [6, 8, 9])
def test_columns_that_matter_only_together_are_found_in_mixed_rows(seed):
    draw = np.random.default_rng(seed)
    numbers = {"a": draw.normal(size=400), "b": 3 * draw.normal(size=400)}
    rows = pd.DataFrame({**numbers, "c": draw.choice(list("rstuvwxyz"), 400), "i": draw.integers(0, 9, 400)})
    together = (rows.i == 5) & (rows.c == "z") & (rows.a > 1)
    y = (rows.a + 5 * rows.b * together).to_numpy()
    model = make_pipeline(Together(), LinearRegression()).fit(rows, y)
    some, background = rows[(rows.i == 5) | (rows.c == "z")].iloc[:8], rows.iloc[-100:]
    got = wb.explain(model, some, background)
    assert got.feature_names == tuple(rows.columns)
    exact = wb.explain(model.predict, some, background, "exact_shap", max_evals=10**6, spot_checks=0).values
    np.testing.assert_allclose(got.values, exact, atol=1e-9)


def forest():
    return RandomForestClassifier(8, max_depth=5, random_state=0)


@pytest.mark.parametrize("encoder", [Means, Dummies])
@pytest.mark.parametrize("scaled", [False, True])
def test_columns_of_whole_table_encoders_are_players_of_their_own(encoder, scaled):
    steps = [encoder(), *([StandardScaler()] if scaled else []), forest()]
    model = make_pipeline(*steps).fit(ROWS, Y)
    row, background = ROWS.iloc[[3]], ROWS.iloc[100:130]
    found = wb.explain(model, row, background)
    assert found.evidence.method_id == "shap.tree_shap"
    want = brute_frame(lambda rows: model.predict_proba(rows)[:, 1], row, background)
    np.testing.assert_allclose(found.values[0], want, rtol=0, atol=1e-12)
    assert any("found by trial" in note and encoder.__name__ in note for note in found.evidence.notes)


def test_without_a_background_many_rows_show_it_and_few_are_refused_with_what_to_do():
    model = make_pipeline(Means(), forest()).fit(ROWS, Y)
    found = wb.explain(model, ROWS[:60])
    inner = wb.explain(model[-1], model[0].transform(ROWS[:60]))
    np.testing.assert_allclose(found.values, inner.values, rtol=0, atol=1e-12)
    kept = TreeShap(model)
    np.testing.assert_array_equal(kept(ROWS[:60]).values, found.values)
    np.testing.assert_allclose(kept(ROWS[60:63]).values, wb.explain(model, ROWS[60:120]).values[:3], rtol=0, atol=1e-12)
    with pytest.raises(UnsupportedModelError, match=r"Means of the pipeline does not tell.*background=X_train"):
        wb.explain(model, ROWS[:3])
    alike = ROWS[:60].assign(age="old")  # nothing shows what follows from age
    with pytest.raises(UnsupportedModelError, match="does not tell"):
        wb.explain(model, alike)


def test_cells_that_are_the_same_in_background_and_rows_need_no_trial():
    model = make_pipeline(Dummies(), forest()).fit(ROWS, Y)
    row, background = ROWS.iloc[[3]], ROWS.iloc[100:106].assign(age=ROWS.age.iloc[3])
    found = wb.explain(model, row, background)
    want = brute_frame(lambda rows: model.predict_proba(rows)[:, 1], row, background)
    np.testing.assert_allclose(found.values[0], want, rtol=0, atol=1e-12)
    assert found.values[0, 0] == 0


@pytest.mark.parametrize("tried", [512, 3])
def test_levels_that_were_not_tried_are_no_constants(tried, monkeypatch):
    monkeypatch.setattr("whybox.models.source_trials._WORDS_TRIED", tried)
    rows = ROWS.assign(bp=[f"level {i % 100}" for i in range(len(ROWS))])
    model = make_pipeline(Dummies(), RandomForestClassifier(20, random_state=0)).fit(rows, Y)
    row, background = rows.iloc[[3]], rows.iloc[100:150]
    found = wb.explain(model, row, background)
    assert found.evidence.method_id == ("shap.tree_shap" if tried > 100 else "shap.exact_shap")
    want = brute_frame(lambda table: model.predict_proba(table)[:, 1], row, background)
    np.testing.assert_allclose(found.values[0], want, rtol=0, atol=1e-12)


def test_columns_that_are_made_of_two_tie_these_two_and_no_others():
    model = make_pipeline(Difference(), forest()).fit(ROWS, Y)
    found = with_sources_found(as_model(model), [ROWS])
    assert found.inputs.source_columns == ((2, 4), (0,), (1,))
    assert found.inputs.group_columns() == ((0,), (1,), (2, 4), (3,))
    row, background = ROWS.iloc[[5]], ROWS.iloc[200:220]
    values = wb.explain(model, row, background).values[0]
    predict = lambda rows: model.predict_proba(rows)[:, 1]
    assert values.sum() == pytest.approx(predict(row)[0] - predict(background).mean(), abs=1e-12)
    assert values[3] == 0  # bp is left out


def test_a_column_that_is_read_only_where_another_is_missing_is_found_or_all_are_one_player():
    holes = ROWS.assign(bmi=ROWS.bmi.where(np.arange(len(ROWS)) % 40 != 7))
    model = make_pipeline(WhereMissing(), HistGradientBoostingClassifier(max_iter=5)).fit(holes, Y)
    found = with_sources_found(as_model(model), [holes])
    assert {2, 4} <= set(found.inputs.source_columns[0])
    row, background = holes.iloc[[7]], holes.iloc[80:110]
    got = wb.explain(model, row, background, scale="probability")
    predict = lambda rows: model.predict_proba(rows)[:, 1]
    assert got.values[0].sum() + got.base == pytest.approx(predict(row)[0], abs=1e-12)


def test_steps_beside_an_imputer_that_looks_for_neighbours_are_not_tried():
    class Numbers(Means):
        def transform(self, X):
            return super().transform(X)

    model = make_pipeline(Numbers(), KNNImputer(), forest()).fit(ROWS, Y)
    assert as_model(model).inputs.undeclared_steps == ()
    assert as_model(model).inputs.group_columns() == (tuple(range(5)),)


def test_rows_that_a_step_refuses_when_columns_are_combined_anew_leave_all_columns_together():
    class Strict(Means):
        def transform(self, X):
            if ((X.age == "old") & (X.sex == 1)).any():
                raise ValueError("no such person")
            return super().transform(X)

    rows = ROWS[~((ROWS.age == "old") & (ROWS.sex == 1))]
    model = make_pipeline(Strict(), forest()).fit(rows, Y[rows.index])
    read = as_model(model)
    assert with_sources_found(read, [rows]) is read


def test_a_dependence_that_the_first_rows_do_not_show_is_refused_later():
    class Rarely(Means):
        def transform(self, X):
            out = super().transform(X)
            return out.assign(bmi=np.where(X.s5 > 50, X.bmi + X.sex, X.bmi))

    model = make_pipeline(Rarely(), forest()).fit(ROWS, Y)
    kept = TreeShap(model, ROWS[:60])
    assert np.isfinite(kept(ROWS[60:70]).values).all()
    with pytest.raises(UnsupportedModelError, match=r"Rarely.*did not show"):
        kept(ROWS[60:90].assign(s5=60.0))


def test_a_threshold_beyond_all_rows_is_found():
    class Far(Means):
        def transform(self, X):
            return np.column_stack([X.bmi + (X.s5 > ROWS.s5.max() + 2), X.sex])

    model = make_pipeline(Far(), forest()).fit(ROWS, Y)
    assert with_sources_found(as_model(model), [ROWS]).inputs.source_columns[0] == (2, 4)


def test_members_of_a_bagging_share_what_is_found():
    model = BaggingClassifier(make_pipeline(Numbered(), forest()), n_estimators=2, random_state=0)
    rows = zoo.X()
    model.fit(rows, Y)
    row, background = rows.iloc[[3]], rows.iloc[100:120]
    found = wb.explain(model, row, background)
    assert found.evidence.method_id == "shap.tree_shap"
    want = brute_frame(lambda table: model.predict_proba(table)[:, 1], row, background)
    np.testing.assert_allclose(found.values[0], want, rtol=0, atol=1e-12)


class Numbered(BaseEstimator, TransformerMixin):
    """A whole array, column by column."""

    def fit(self, X, y=None):
        del y
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.asarray(X, dtype=float)[:, ::-1] * 3


@pytest.mark.parametrize("name", ["effects", "importance", "lime"])
def test_other_methods_take_what_is_found(name):
    model = make_pipeline(Means(), xgboost.XGBClassifier(n_estimators=5, max_depth=3)).fit(ROWS, Y)
    if name == "effects":
        curve = wb.effects(model, ROWS[:60], ["bmi"], grid=4, scale="probability")["bmi"]
        want = [model.predict_proba(ROWS[:60].assign(bmi=point))[:, 1].mean() for point in curve.grid]
        np.testing.assert_allclose(curve.values, want, rtol=0, atol=1e-6)
        assert not any("mixes" in note for note in curve.evidence.notes)
    elif name == "importance":
        assert wb.importance(model, ROWS[:80], Y[:80]).values.shape == (5,)
    else:
        assert wb.lime(model, ROWS[:2], ROWS[:80]).values.shape == (2, 5)


# The libraries themselves, where they are installed.

ENCODERS = {
    "category_encoders.TargetEncoder": {},
    "category_encoders.OneHotEncoder": {},
    "category_encoders.BinaryEncoder": {},
    "feature_engine.encoding.MeanEncoder": {"unseen": "encode"},
    "feature_engine.encoding.OneHotEncoder": {},
    "skrub.TableVectorizer": {"cardinality_threshold": 5},
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.filterwarnings("ignore")
def test_encoders_of_other_libraries(name):
    package, _, kind = name.rpartition(".")
    encoder = getattr(pytest.importorskip(package), kind)
    model = make_pipeline(encoder(**ENCODERS[name]), forest()).fit(ROWS, Y)
    row, background = ROWS.iloc[[3]], ROWS.iloc[100:130]
    found = wb.explain(model, row, background)
    assert found.evidence.method_id == "shap.tree_shap"
    want = brute_frame(lambda rows: model.predict_proba(rows)[:, 1], row, background)
    assert found.values.shape == (1, 5)
    np.testing.assert_allclose(found.values[0], want, rtol=0, atol=1e-12)
