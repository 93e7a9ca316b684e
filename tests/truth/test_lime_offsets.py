"""LIME of rows with offsets: against LIME of a function that has each row's offset inside, which draws the same rows, and against its definition."""

from __future__ import annotations

import pickle

import lightgbm
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xgboost
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import PoissonRegressor
from sklearn.svm import SVR
from test_lime import by_definition, discrete_table

import whybox as wb
from whybox.cli.main import main
from whybox.errors import InputError, ModelMismatchError, NonFiniteError, OptionError, UnsupportedModelError
from whybox.explainers import Lime
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.models.registry import as_model

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(200, 4)), columns=list("abcd"))
X["d"] = pd.Categorical(RNG.choice(["u", "v", "w"], 200))
NUMBERS = X[list("abc")]
OFFSET, THREE = RNG.normal(size=200), RNG.normal(size=(200, 3))
OFFSET[3] = OFFSET[0]  # rows of equal offsets
COUNTS = RNG.poisson(np.exp(0.5 * X["a"] + 0.3 * X["b"] * X["c"] + OFFSET))
KIND = np.digitize(X["a"], [-0.5, 0.5])
SMALL = {"n_estimators": 8, "max_depth": 3, "enable_categorical": True}
POISSON = xgboost.XGBRegressor(objective="count:poisson", **SMALL).fit(X, COUNTS, base_margin=OFFSET)
SEVERAL = xgboost.XGBClassifier(**SMALL).fit(X, KIND, base_margin=THREE)
ROWS, SOME = X[:6], OFFSET[:6]
FIXED = {"tol": 1e-9, "max_evals": 5_000}  # as many draws for every number of rows


@pytest.mark.parametrize("options", [{}, {"kernel_width": [0.5, 1.0]}, {"method": "sampled"}, {"neighbourhood": "row"}])
def test_on_the_additive_scale_offsets_move_the_intercept_alone(options):
    plain, e = (wb.lime(POISSON, ROWS, X, **options, **more) for more in ({}, {"offset": SOME}))
    base = float(as_model(POISSON).offset_rule.replaced[0])
    np.testing.assert_array_equal(e.values, plain.values)
    for name in ("intercept", "local_prediction"):
        np.testing.assert_allclose(e.extras[name][1] - plain.extras[name][1], np.broadcast_to(SOME - base, e.extras[name][1].shape), atol=1e-12)  # fmt: skip
    for name in ("gap", "r_squared", "spread"):
        np.testing.assert_allclose(e.extras[name][1], plain.extras[name][1], atol=1e-12)
    np.testing.assert_allclose(e.prediction, POISSON.predict(ROWS, base_margin=SOME, output_margin=True), atol=1e-6)
    assert e.extras["offset"][0] == ("row",)
    np.testing.assert_array_equal(e.extras["offset"][1], SOME)
    assert e.evidence.exact == plain.evidence.exact
    assert e.evidence.settings["offset"] == "base_margin"
    assert "SHA-256 of offset" in str(e.evidence)
    assert e.offset is None


def assert_same(e, predict, background, **options):
    """The explanation of each row is that of a function that has the row's offset inside."""
    for i in range(len(e.prediction)):
        one = wb.lime(predict(i), e.data.native[i : i + 1], background, **options)
        np.testing.assert_allclose(e.values[i], one.values[0], atol=2e-5)
        np.testing.assert_allclose(e.std_error[i], one.std_error[0], atol=2e-5)
        for name in ("intercept", "local_prediction", "gap", "spread"):
            np.testing.assert_allclose(e.extras[name][1][i], one.extras[name][1][0], atol=2e-5)
        np.testing.assert_allclose(e.prediction[i], one.prediction[0], atol=2e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel_width": 0.25, "max_evals": 100_000},
        {"neighbourhood": "row"},
        {"players": {"two": ["a", "b"]}},
        {"alpha": 1.0},
    ],
)
def test_behind_the_link_each_row_is_explained_with_its_own(options):
    options = FIXED | options
    e = wb.lime(POISSON, ROWS, X, offset=SOME, scale="response", **options)
    predict = lambda i: lambda rows: POISSON.predict(rows, base_margin=np.full(len(rows), SOME[i]))
    assert_same(e, predict, X, **options)
    assert e.evidence.spot_checks.numbers > 0
    assert e.evidence.settings["offset_inside_link"] == "base_margin"
    own = POISSON.predict(ROWS, base_margin=SOME)
    np.testing.assert_allclose(e.prediction, own, rtol=1e-5)


def test_numbers_that_are_not_cut():
    model = xgboost.XGBRegressor(objective="count:poisson", **SMALL).fit(NUMBERS, COUNTS, base_margin=OFFSET)
    options = {"discretizer": None, **FIXED}
    e = wb.lime(model, NUMBERS[:3], NUMBERS, offset=SOME[:3], scale="response", **options)
    predict = lambda i: lambda rows: model.predict(rows, base_margin=np.full(len(rows), SOME[i]))
    assert_same(e, predict, NUMBERS, **options)


def test_cells_that_the_background_never_has():
    background = X[X["d"] != "w"].copy()
    rows = X[X["d"] == "w"][:3]
    more = FIXED | {"max_evals": 20_000}  # cells that are not in the background take draws of their own
    e = wb.lime(POISSON, rows, background, offset=SOME[:3], scale="response", **more)
    predict = lambda i: lambda t: POISSON.predict(t, base_margin=np.full(len(t), SOME[i]))
    assert_same(e, predict, background, **more)
    assert "like none of the background" in " ".join(e.evidence.notes)


@pytest.mark.parametrize("output", ["all", "1", "predicted"])
def test_classes(output):
    e = wb.lime(SEVERAL, ROWS, X, offset=THREE[:6], scale="probability", output=output, **FIXED)
    shares = SEVERAL.predict_proba(ROWS, base_margin=THREE[:6])
    picked = {"all": shares, "1": shares[:, 1], "predicted": shares.max(axis=1)}[output]
    np.testing.assert_allclose(e.prediction, picked, atol=1e-6)
    predict = lambda i: lambda t: SEVERAL.predict_proba(t, base_margin=np.tile(THREE[i], (len(t), 1)))
    for i in range(3):
        one = wb.lime(predict(i), ROWS[i : i + 1], X, output={"1": 1}.get(output, output), **FIXED)
        np.testing.assert_allclose(e.values[i], one.values[0], atol=2e-5)
    raw = wb.lime(SEVERAL, ROWS, X, offset=THREE[:6], output="predicted")
    assert list(raw.extras["label"][1]) == [str(k) for k in shares.argmax(axis=1)]  # of predictions with offsets
    two = xgboost.XGBClassifier(**SMALL).fit(X, KIND > 0, base_margin=OFFSET)
    one, other = (wb.lime(two, ROWS, X, offset=SOME, scale="probability", output=k, **FIXED) for k in (1, 0))
    np.testing.assert_allclose(one.values, -other.values, atol=1e-9)
    np.testing.assert_allclose(one.prediction, two.predict_proba(ROWS, base_margin=SOME)[:, 1], atol=1e-6)


def test_errors_are_those_of_the_definition():
    """Values less those of the weighted regression over all combinations, over their errors, over 12 seeds: as a t-distribution with 15 degrees of freedom has it."""
    table = discrete_table(rows=150)
    model = PoissonRegressor().fit(table, RNG.poisson(np.exp(0.4 * table[:, 0] - 0.2 * table[:, 2])))
    offset = np.array([0.0, 1.0, -1.0, 2.0])
    width = 0.75 * 2.0
    off = []
    for seed in range(12):
        e = wb.lime(
            model, table[:4], table, offset=offset, scale="response", seed=seed, tol=1e-9, max_evals=5000, spot_checks=0
        )
        for i in range(4):
            solved, r_squared = by_definition(
                lambda A, i=i: model.predict(A) * np.exp(offset[i]), table, table[i], width
            )
            with np.errstate(invalid="ignore", divide="ignore"):
                z = (e.values[i] - solved[1:]) / e.std_error[i]
            off += z[np.isfinite(z) & (e.std_error[i] > 1e-10)].tolist()
            np.testing.assert_allclose(e.extras["r_squared"][1][i], r_squared, atol=0.02)
    assert 0.6 < np.sqrt(np.mean(np.square(off))) < 1.6


def test_libraries_without_offsets_in_predict(tmp_path):
    model = lightgbm.LGBMRegressor(objective="poisson", n_estimators=8, verbose=-1).fit(
        NUMBERS, COUNTS, init_score=OFFSET
    )
    model.booster_.save_model(tmp_path / "model.txt")
    predict = lambda i: lambda rows: np.exp(model.predict(rows, raw_score=True) + SOME[i])
    for read in (model, str(tmp_path / "model.txt")):
        e = wb.lime(read, NUMBERS[:3], NUMBERS, offset=SOME[:3], scale="response", **FIXED)
        assert_same(e, predict, NUMBERS, **FIXED)


def test_rows_are_drawn_and_evaluated_once(monkeypatch):
    made = []
    own = HybridEvaluator.evaluate_rows

    def counted(self, rows, row, **more):
        made.append(len(row))
        return own(self, rows, row, **more)

    monkeypatch.setattr(HybridEvaluator, "evaluate_rows", counted)
    wb.lime(POISSON, X[:20], X, offset=OFFSET[:20], scale="response", tol=1e-9, max_evals=5_000, spot_checks=0)
    assert sum(made) == 4_096


def test_a_wrong_base_score_is_found():
    from dataclasses import replace

    read = as_model(POISSON)
    wrong = replace(read, offset_rule=replace(read.offset_rule, replaced=np.zeros(1)))
    with pytest.raises(ModelMismatchError, match=r"row \d+ with its offset"):
        wb.lime(wrong, ROWS, X, offset=SOME, scale="response")


# how they are given, kept, planned; the command line


@pytest.mark.parametrize("scale", [None, "response"])
def test_given_and_kept(scale, tmp_path):
    e = wb.lime(POISSON, ROWS, X, offset=SOME, scale=scale, **FIXED)
    with_column = X.assign(o=OFFSET)[["a", "o", "b", "c", "d"]]
    same = wb.lime(POISSON, with_column[:6], with_column, offset="o", scale=scale, **FIXED)
    np.testing.assert_array_equal(same.values, e.values)
    assert same.feature_names == tuple("abcd")
    explain = Lime(POISSON, X, scale=scale, **FIXED)
    parts = [explain(ROWS[:2], offset=SOME[:2]), explain(ROWS[2:], offset=SOME[2:])]
    joined = wb.concat(parts)
    np.testing.assert_allclose(joined.values, e.values, atol=1e-12)
    np.testing.assert_array_equal(joined.extras["offset"][1], SOME)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(explain))(ROWS, offset=SOME).values, e.values)
    e.save(tmp_path / "kept.whybox")
    np.testing.assert_array_equal(wb.load(tmp_path / "kept.whybox").extras["offset"][1], SOME)
    for options in (FIXED, {"kernel_width": 2.0, **FIXED}):
        plan = wb.plan(wb.lime, POISSON, with_column[:25], with_column, offset="o", scale=scale, **options)
        assert plan.exact == (scale is None)
        assert plan.model_calls >= wb.lime(POISSON, X[:25], X, offset=OFFSET[:25], scale=scale, **options).evidence.model_calls  # fmt: skip


def test_base_margins_of_a_container():
    model = xgboost.XGBRegressor(objective="count:poisson", n_estimators=5).fit(NUMBERS, COUNTS, base_margin=OFFSET)
    data = xgboost.DMatrix(NUMBERS[:4], base_margin=SOME[:4])
    e = wb.lime(model, data, xgboost.DMatrix(NUMBERS, base_margin=OFFSET), scale="response", **FIXED)
    expected = wb.lime(model, NUMBERS[:4].astype(np.float32), NUMBERS.astype(np.float32), offset=SOME[:4], scale="response", **FIXED)  # fmt: skip
    np.testing.assert_allclose(e.values, expected.values, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "options", "error", "says"),
    [
        (POISSON, {"offset": SOME[:3]}, InputError, r"offset has the shape \(3,\) for 6 rows"),
        (POISSON, {"offset": [np.nan, *SOME[1:]]}, NonFiniteError, "missing or infinite for 1 row, the first being row 0"),
        (POISSON, {"offset": "a"}, OptionError, "offset='a' is a column that the model reads"),
        (POISSON, {"offset": "o"}, OptionError, "offset='o' is no column of the rows"),
        (POISSON, {"offset": pd.Series(SOME, index=ROWS.index)[::-1]}, InputError, "row labels of X in another order"),
        (POISSON, {"offset": [0, 0, 800.0, 0, 0, 0], "scale": "response"}, NonFiniteError, "beyond the largest number, the first in row 2"),
        (lambda rows: rows["a"], {"offset": SOME}, UnsupportedModelError, "Write the offset into the function"),
        (SVR().fit(NUMBERS, COUNTS), {"offset": SOME, "rows": NUMBERS}, UnsupportedModelError, "only predicts"),
        (RandomForestClassifier(3).fit(NUMBERS, KIND), {"offset": SOME, "rows": NUMBERS}, UnsupportedModelError, "its trees give prob"),
    ],
)  # fmt: skip
def test_refused(model, options, error, says):
    rows = options.pop("rows", X)
    with pytest.raises(error, match=says):
        wb.lime(model, rows[:6], rows, **options)
    with pytest.raises(OptionError, match="these are texts"):
        wb.lime(lambda texts: np.zeros(len(texts)), ["a b", "c"], offset=[0.0, 1.0])


@pytest.mark.parametrize("width", [None, 0.1])
@pytest.mark.parametrize("large", [400.0, 700.0, 709.5])
def test_offsets_that_make_outputs_near_a_row_too_large(width, large):
    """The prediction of the row itself is a number; squares of outputs near it, or these themselves, are not."""
    for spot_checks in (None, 0):
        with pytest.raises(
            NonFiniteError,
            match="offset of row 2 is added before the link, .* (beyond the largest number|is infinite)",
        ):
            wb.lime(
                POISSON,
                ROWS,
                X,
                offset=[0, 0, large, 0, 0, 0],
                scale="response",
                kernel_width=width,
                spot_checks=spot_checks,
            )


def test_outputs_whose_squares_are_too_large():
    with pytest.raises(NonFiniteError, match="so large that its square is beyond the largest number"):
        wb.lime(lambda rows: 1e200 * rows["a"], ROWS, X)


def test_the_command(tmp_path, capsys):
    model = xgboost.XGBRegressor(objective="count:poisson", n_estimators=8).fit(NUMBERS, COUNTS, base_margin=OFFSET)
    model.save_model(tmp_path / "model.ubj")
    NUMBERS.assign(o=OFFSET, name="u").to_csv(tmp_path / "rows.csv", index=False)
    NUMBERS.to_csv(tmp_path / "train.csv", index=False)

    def run(*more, command=("lime",)):
        files = [str(tmp_path / name) for name in ("model.ubj", "rows.csv")]
        given = ["--background", str(tmp_path / "train.csv"), "--scale", "response", "--rows", "4,1"]
        return main([*command, *files, *given, *more, "--no-verify"])

    assert run("--offset", "o", "-o", str(tmp_path / "out.parquet")) == 0
    got = pq.read_table(tmp_path / "out.parquet").to_pandas()
    expected = wb.lime(model, NUMBERS.iloc[[4, 1]], NUMBERS, offset=OFFSET[[4, 1]], scale="response")
    np.testing.assert_allclose(got["local"], expected.values.ravel(), atol=1e-9)
    assert "has the offset of that row" in capsys.readouterr().out
    assert run("--offset", "o", command=("plan", "lime")) == 0
    assert "LIME from a sample" in capsys.readouterr().out
    for name, says in (("a", "is a column that the model reads"), ("p", "is not a column of"), ("name", "which is no number")):  # fmt: skip
        assert run("--offset", name) != 0
        assert says in capsys.readouterr().err
