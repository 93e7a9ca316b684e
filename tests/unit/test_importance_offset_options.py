"""Offsets of rows in `wb.importance`: what is refused, lists of methods, containers, plans, files and the command line. The numbers: tests/truth/test_importance_offsets.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import PoissonRegressor
from sklearn.svm import SVR

import whybox as wb
from whybox.cli.main import main
from whybox.errors import InputError, NonFiniteError, OptionError, UnsupportedModelError
from whybox.methods.importance.options import ImportanceOptions

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(80, 4)), columns=list("abcd"))
Y = (X["a"] + X["b"] * X["c"] > 0).astype(int).to_numpy()
OFFSET, THREE = RNG.normal(size=80), RNG.normal(size=(80, 3))
WITH = X.assign(margin=OFFSET)
MODEL = xgboost.XGBClassifier(n_estimators=6, max_depth=3, base_score=0.3).fit(X, Y)
SEVERAL = xgboost.XGBClassifier(n_estimators=3, max_depth=3).fit(X, np.digitize(X["a"], [-0.5, 0.5]))
ROLE = {"role": "held-out"}


@pytest.fixture(scope="module")
def found():
    return wb.importance(MODEL, X, Y, offset=OFFSET, **ROLE)


def scorer(estimator, rows, truth):
    return float((estimator.predict(rows) == truth).mean())


@pytest.mark.parametrize(
    ("model", "options", "error", "says"),
    [
        (MODEL, {"offset": OFFSET[:3]}, InputError, r"offset has the shape \(3,\) for 80 rows"),
        (MODEL, {"offset": [np.nan, *OFFSET[1:]]}, NonFiniteError, "missing or infinite for 1 row, the first being row 0"),
        (MODEL, {"offset": [*OFFSET[1:], np.inf]}, NonFiniteError, "an exposure of 0 has none"),
        (MODEL, {"offset": 0.5}, OptionError, "must be a column of X, or hold one number for each row"),
        (MODEL, {"offset": "a"}, OptionError, "offset='a' is a column that the model reads, so it cannot be an offset"),
        (MODEL, {"offset": "marjin"}, OptionError, "offset='marjin' is no column of the rows"),
        (MODEL, {"offset": pd.Series(OFFSET, index=X.index)[::-1]}, InputError, "has the row labels of X in another order"),
        (SEVERAL, {"offset": pd.DataFrame(np.zeros((80, 3)), columns=[2, 1, 0])}, InputError, "another order, .* by position; give them in the order 0, 1, 2"),
        (SEVERAL, {"offset": pa.table({str(k): np.zeros(80) for k in (2, 0, 1)})}, InputError, "give them in the order 0, 1, 2"),
        (MODEL, {"offset": np.ma.masked_array(OFFSET, np.arange(80) == 4)}, NonFiniteError, "missing or infinite for 1 row, the first being row 4"),
        (SEVERAL, {"offset": OFFSET}, InputError, r"has 1 column, and the model has 3 raw outputs"),
        (SVR().fit(X, Y), {"offset": OFFSET}, UnsupportedModelError, "this one is evaluated, and only predicts"),
        (lambda rows: rows["a"], {"offset": OFFSET}, UnsupportedModelError, "Write the offset into the function"),
        (MODEL, {"offset": OFFSET, "response_method": "predict"}, UnsupportedModelError, "Write the offset into the func"),
        (RandomForestClassifier(3).fit(X, Y), {"offset": OFFSET}, UnsupportedModelError, "its trees give probabilities"),
        (MODEL, {"offset": OFFSET, "scoring": scorer}, OptionError, "scorer asks the estimator itself: give the name of a score"),
        (MODEL, {"offset": OFFSET, "train": (X, Y)}, OptionError, r"train needs the offsets of its rows too: pass train=\(rows, truth, offset\)"),
        (MODEL, {"train": (X, Y, OFFSET)}, OptionError, r"train must be a pair"),
        (PoissonRegressor().fit(X, Y), {"offset": np.r_[0.0, 0.0, 800.0, np.zeros(77)]}, NonFiniteError, "beyond the largest number, the first in row 2"),
    ],
)  # fmt: skip
def test_refused(model, options, error, says):
    with pytest.raises(error, match=says):
        wb.importance(model, X, Y, **options)


@pytest.mark.parametrize("method", ["permutation", "sage"])
def test_rows_are_named_as_they_were_given(method):
    """Rows of weight zero are left out before anything is computed."""
    model, large = PoissonRegressor().fit(X, Y), np.zeros(80)
    large[50] = 800.0
    weights = np.r_[np.zeros(20), np.ones(60)]
    with pytest.raises(NonFiniteError, match="beyond the largest number, the first in row 50"):
        wb.importance(model, X, Y, method=method, offset=large, sample_weight=weights, **ROLE)


def test_refused_with_methods():
    with pytest.raises(OptionError, match="offset='margin' is the column of y too; give each a column of its own"):
        wb.importance(MODEL, WITH, "margin", offset="margin", **ROLE)
    with pytest.raises(OptionError, match="offset='margin' is the column of y too; give each a column of its own"):
        wb.importance(MODEL, WITH, "margin", method=["permutation", "sage"], offset="margin", **ROLE)
    with pytest.raises(OptionError, match="'impurity' does not take 'offset'"):
        wb.importance(MODEL, method="impurity", offset=OFFSET)
    with pytest.raises(OptionError, match="none of the methods 'impurity' that are named by their id takes it"):
        wb.importance(MODEL, X, method=["impurity"], offset=OFFSET)
    with pytest.raises(OptionError, match="offset has a number for each row: pass the rows"):
        wb.plan(wb.importance, MODEL, 100, method="shap", offset=OFFSET)
    model = PoissonRegressor().fit(X, Y)
    more = {"method": "drop_column", "loss": "poisson", "offset": OFFSET, "train": (X, Y, OFFSET)}
    for verb in (wb.importance, lambda *a, **k: wb.plan(wb.importance, *a, **k)):
        with pytest.raises(OptionError, match=r"the fit of a PoissonRegressor takes no offsets: pass fit="):
            verb(model, X, Y, **more)


def test_the_result(found):
    assert found.evidence.settings["offset_inside_link"] == "base_margin"
    assert "SHA-256 of offset" in str(found.evidence)
    assert any("Rows keep their own offsets" in note for note in found.evidence.notes)
    assert any("Every row was compared with XGBClassifier.predict" in note for note in found.evidence.notes)
    assert found.evidence.agreement < 1e-5
    other = wb.importance(MODEL, X, Y, offset=OFFSET + 1, **ROLE)
    assert other.evidence.fingerprints["offset"] != found.evidence.fingerprints["offset"]
    assert other.evidence.fingerprints["rows"] == found.evidence.fingerprints["rows"]


@pytest.mark.parametrize("kind", ["column", "polars", "DMatrix", "options", "numpy", "weights"])
def test_rows_as_they_come(found, kind):
    rows, more = {
        "column": (WITH[["a", "margin", "b", "c", "d"]], {"offset": "margin"}),
        "polars": (polars.from_pandas(WITH), {"offset": "margin"}),
        "DMatrix": (xgboost.DMatrix(X, base_margin=OFFSET), {}),
        "options": (WITH, {"method": ImportanceOptions(method="permutation", offset="margin", role="held-out")}),
        "numpy": (X.to_numpy(), {"offset": OFFSET.tolist()}),
        "weights": (
            pd.concat([X[:5], X, X[:7]]),
            {"offset": np.r_[np.full(5, 9.0), OFFSET, np.full(7, -9.0)], "sample_weight": np.repeat([0, 1, 0], [5, 80, 7])},
        ),
    }[kind]  # fmt: skip
    y = np.r_[Y[:5], Y, Y[:7]] if kind == "weights" else Y
    e = wb.importance(MODEL, rows, y, **(more if kind == "options" else more | ROLE))
    np.testing.assert_allclose(e.values, found.values, atol=1e-7)
    np.testing.assert_allclose(e.std_error, found.std_error, atol=1e-7)
    assert e.feature_names == tuple("abcd")


@pytest.mark.parametrize("given", ["column", "array", "DMatrix"])
def test_a_list_of_methods(given, found):
    rows, offset = {
        "column": (WITH.assign(y=Y), {"offset": "margin"}),
        "array": (X.assign(y=Y), {"offset": OFFSET}),
        "DMatrix": (xgboost.DMatrix(X, base_margin=OFFSET), {}),
    }[given]
    y = Y if given == "DMatrix" else "y"
    e = wb.importance(MODEL, rows, y, method=["permutation", "pdp", "impurity"], **offset, **ROLE)
    np.testing.assert_allclose(e.extras["own_values"][1][:, 0], found.values, atol=1e-7)
    curves = wb.importance(MODEL, X, method="pdp", offset=OFFSET)
    np.testing.assert_allclose(e.extras["own_values"][1][:, 1], curves.values, atol=1e-7)
    options = ImportanceOptions(method="permutation", role="held-out", **offset)
    same = wb.importance(MODEL, rows, y, method=[options, "impurity"])
    np.testing.assert_allclose(same.extras["own_values"][1][:, 0], found.values, atol=1e-7)


def test_dependent_columns_are_permuted_together_with_their_offsets():
    copies = X.assign(e=X["a"])
    model = xgboost.XGBClassifier(n_estimators=6, max_depth=3, colsample_bynode=0.5).fit(copies, Y)
    e = wb.importance(model, copies, Y, method=["permutation", "impurity"], offset=OFFSET, **ROLE)
    groups = {"a + e": ["a", "e"]}
    alone = wb.importance(model, copies, Y, offset=OFFSET, players=groups, **ROLE)
    np.testing.assert_allclose(e.extras["together"][1][0], alone["a + e"].values)


def test_plans(found):
    plain, planned = (wb.plan(wb.importance, MODEL, X, Y, **more) for more in ({}, {"offset": OFFSET}))
    assert planned.exact
    assert "NumPy" in planned.kernel
    assert planned.model_calls == found.evidence.model_calls == plain.model_calls + 80
    for method in ("sage", "conditional", "permutation"):
        more = {"method": method} | ({"scoring": "roc_auc"} if method == "permutation" else {})
        plan = wb.plan(wb.importance, MODEL, WITH, Y, offset="margin", **more)
        e = wb.importance(MODEL, WITH, Y, offset="margin", **more)
        assert e.evidence.model_calls <= plan.model_calls
    data = xgboost.DMatrix(X, base_margin=OFFSET)
    assert wb.plan(wb.importance, MODEL, data, Y).rows == 80
    assert set(wb.plan(wb.importance, MODEL, WITH, Y, method=["permutation", "shap"], offset="margin")) == {"permutation", "shap"}  # fmt: skip


def test_it_is_kept(found, tmp_path):
    found.save(tmp_path / "kept.whybox")
    kept = wb.load(tmp_path / "kept.whybox")
    np.testing.assert_array_equal(kept.values, found.values)
    assert kept.evidence.settings["offset_inside_link"] == "base_margin"


# the command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("offsets")
    MODEL.save_model(folder / "model.ubj")
    WITH.assign(y=Y, name="u").to_csv(folder / "rows.csv", index=False)
    X.assign(y=Y).to_csv(folder / "plain.csv", index=False)
    return folder


def run(folder, *more, command=("importance",), rows="rows.csv"):
    return main([*command, str(folder / "model.ubj"), str(folder / rows), "--target", "y", *more, "--no-verify"])


def test_the_command(folder, found, capsys):
    out = folder / "out.parquet"
    methods = ("--method", "permutation", "--method", "impurity", "--train", str(folder / "rows.csv"))
    assert run(folder, "--offset", "margin", "-o", str(out), *methods, "--role", "held-out") == 0
    table = pq.read_table(out).to_pandas().set_index("method")
    np.testing.assert_allclose(table.loc["permutation", "importance"], found.values, atol=1e-6)
    np.testing.assert_allclose(table.loc["permutation", "train"], found.values, atol=1e-6)
    assert "Rows keep their own offsets" in capsys.readouterr().out
    assert run(folder, "--offset", "margin", command=("plan", "importance")) == 0
    assert "exact" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "rows", "says"),
    [
        (("--offset", "marjin"), "rows.csv", "--offset marjin is not a column of"),
        (("--offset", "a"), "rows.csv", "--offset a is a column that the model reads"),
        (("--offset", "name"), "rows.csv", "--offset holds 'u', which is no number"),
        (("--offset", "margin", "--train", "plain.csv"), "rows.csv", "--offset margin is not a column of"),
        (("--offset", "margin", "--method", "impurity"), "rows.csv", "--offset is no option of"),
    ],
)
def test_refused_on_the_command_line(folder, more, rows, says, capsys):
    more = [str(folder / word) if word.endswith(".csv") else word for word in more]
    assert run(folder, *more, rows=rows) != 0
    assert says in capsys.readouterr().err
