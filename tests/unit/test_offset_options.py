"""Offsets of rows in `wb.explain`, `wb.effects` and on the command line: what is refused, what results say, and how they are cut, joined, kept and drawn."""

from __future__ import annotations

import pickle
from functools import partial

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars
import pyarrow.parquet as pq
import pytest
import xgboost
from matplotlib import pyplot as plt
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import PoissonRegressor
from sklearn.svm import SVR

import whybox as wb
from whybox.cli.main import main
from whybox.errors import InputError, NonFiniteError, OptionError, UnsupportedModelError
from whybox.explainers import ExactShap, TreeShap

mpl.use("agg")
RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(120, 4)), columns=list("abcd"))
Y = (X["a"] + X["b"] * X["c"] > 0).astype(int).to_numpy()
OFFSET, THREE = RNG.normal(size=120), RNG.normal(size=(120, 3))
WITH = X.assign(margin=OFFSET)
MODEL = xgboost.XGBClassifier(n_estimators=6, max_depth=3, base_score=0.3).fit(X, Y)
SEVERAL = xgboost.XGBClassifier(n_estimators=3, max_depth=3).fit(X, np.digitize(X["a"], [-0.5, 0.5]))
ROWS, SOME, BACKGROUND = X[:8], OFFSET[:8], X[30:50]
RAW = MODEL.predict(ROWS, base_margin=SOME, output_margin=True)


@pytest.fixture(scope="module")
def explained():
    return wb.explain(MODEL, ROWS, offset=SOME)


@pytest.fixture(scope="module")
def inside():
    return wb.explain(MODEL, ROWS, BACKGROUND, offset=SOME, scale="probability")


# what is refused


class Never:
    """A model that must not be called."""

    def predict(self, rows):
        raise AssertionError("called")


@pytest.mark.parametrize(
    ("model", "options", "error", "says"),
    [
        (MODEL, {"offset": SOME[:3]}, InputError, r"offset has the shape \(3,\) for 8 rows"),
        (MODEL, {"offset": [np.nan, *SOME[1:]]}, NonFiniteError, "missing or infinite for 1 row, the first being row 0"),
        (MODEL, {"offset": [*SOME[1:], -np.inf]}, NonFiniteError, "an exposure of 0 has none"),
        (MODEL, {"offset": ["u"] * 8}, InputError, "offset holds 'u', which is no number"),
        (MODEL, {"offset": 0.5}, OptionError, "must be a column of X, or hold one number for each row"),
        (MODEL, {"offset": "a"}, OptionError, "offset='a' is a column that the model reads, so it cannot be an offset"),
        (MODEL, {"offset": "marjin"}, OptionError, "offset='marjin' is no column of the rows"),
        (MODEL, {"offset": THREE[:8]}, InputError, r"has 3 columns, and the model has 1 raw output"),
        (SEVERAL, {"offset": SOME}, InputError, r"has 1 column, and the model has 3 raw outputs \(0, 1, 2\): give the shape \(8, 3\)"),
        (Never(), {"offset": SOME}, UnsupportedModelError, "Write the offset into the function"),
        (SVR().fit(X, Y), {"offset": SOME}, UnsupportedModelError, "this one is evaluated, and only predicts"),
        (lambda rows: rows["a"], {"offset": SOME}, UnsupportedModelError, "Write the offset into the function"),
        (MODEL, {"offset": SOME, "response_method": "predict"}, UnsupportedModelError, "Write the offset into the func"),
        (RandomForestClassifier(3).fit(X, Y), {"offset": SOME}, UnsupportedModelError, "its trees give probabilities"),
        (MODEL, {"offset": SOME, "scale": "probability", "method": "rescaled"}, OptionError, "'rescaled' does not go with off"),
        (MODEL, {"offset": SOME, "method": "sampled_shap", "stochastic": True}, OptionError, "stochastic=True does not go w"),
        (MODEL, {"offset": SOME, "method": "sampled_shap", "scale": "probability", "surrogate": True}, OptionError, "behind a link"),
    ],
)  # fmt: skip
def test_refused(model, options, error, says):
    with pytest.raises(error, match=says):
        wb.explain(model, ROWS, BACKGROUND, **options)


def test_refused_elsewhere(tmp_path):
    for name in ("offset", "base_margin", "exposure"):
        with pytest.raises(OptionError, match=rf"{name}= is no option here: a report takes no offsets of rows"):
            wb.report(MODEL, X, tmp_path / "report.html", **{name: OFFSET})
    with pytest.raises(OptionError, match=r"sampel= is no option here\. Did you mean 'sample'"):
        wb.interactions(MODEL, X, sampel=10)
    for verb in (
        wb.explain,
        wb.effects,
        wb.importance,
        wb.lime,
        wb.anchors,
        wb.interactions,
        partial(wb.regions, feature=0),
    ):
        with pytest.raises(OptionError, match=r"base_margin= is no option here: write offset="):
            verb(MODEL, ROWS, base_margin=SOME)
        with pytest.raises(
            OptionError, match=r"exposure= is no option here: write its log: offset=numpy\.log\(exposure\)"
        ):
            verb(MODEL, ROWS, exposure=SOME)
    with pytest.raises(OptionError, match="these are texts"):
        wb.explain(lambda texts: np.zeros(len(texts)), ["a b", "c"], offset=[0.0, 1.0])
    with pytest.raises(OptionError, match="only their number is given"):
        ExactShap(MODEL, BACKGROUND).plan(100, offset=SOME)
    both = {"y": "margin", "offset": "margin"}
    for call in (wb.explain, partial(wb.plan, wb.explain)):
        with pytest.raises(OptionError, match="offset='margin' is the column of y too; give each a column of its own"):
            call(MODEL, WITH[:8], WITH[30:50], loss="log", **both)
    with pytest.raises(OptionError, match="offset='margin' is the column of y too; give each a column of its own"):
        ExactShap(MODEL, BACKGROUND, loss="log")(WITH[:8], **both)
    of_texts = ExactShap(lambda texts: np.zeros(len(texts)))
    for call in (of_texts, of_texts.plan):
        with pytest.raises(OptionError, match="offset is of rows of a table.*these are texts. Leave it out"):
            call(["a b", "c"], offset=[0.0, 1.0])


@pytest.mark.parametrize("method", ["auto", "exact_shap"])
def test_predictions_beyond_the_largest_number(method):
    model = PoissonRegressor().fit(X, Y)
    with pytest.raises(
        NonFiniteError, match=r"beyond the largest number, the first in row 2.*of an exposure it is the log"
    ):
        wb.explain(model, ROWS, BACKGROUND, method, offset=[0, 0, 800.0, 0, 0, 0, 0, 0], scale="response")
    e = wb.explain(model, ROWS, BACKGROUND, method, offset=np.full(8, -300.0), scale="response")
    np.testing.assert_allclose(e.prediction, model.predict(ROWS) * np.exp(-300.0), rtol=1e-9)


def test_a_series_in_another_order_is_refused():
    shuffled = pd.Series(SOME, index=ROWS.index)[::-1]
    with pytest.raises(InputError, match=r"has the row labels of X in another order.*pass offset\.loc\[X\.index\]"):
        wb.explain(MODEL, ROWS, offset=shuffled)
    np.testing.assert_array_equal(wb.explain(MODEL, ROWS, offset=shuffled.loc[ROWS.index]).offset, SOME)
    later = X[40:48]
    np.testing.assert_array_equal(wb.explain(MODEL, later, offset=pd.Series(SOME)).offset, SOME)  # labels of its own


def test_what_the_refusal_of_a_function_says_works():
    def predict(rows):
        return MODEL.predict(rows[list("abcd")], base_margin=rows["margin"], output_margin=True)

    e = wb.explain(predict, WITH[:8], WITH[30:50])
    np.testing.assert_allclose(e.prediction, RAW, atol=1e-6)
    assert e.feature_names == (*"abcd", "margin")


# what results say


def test_the_result(explained):
    plain = wb.explain(MODEL, ROWS)
    np.testing.assert_array_equal(explained.values, plain.values)
    np.testing.assert_array_equal(explained.extras["offset"][1], SOME)
    np.testing.assert_allclose(explained.prediction, RAW, atol=1e-6)
    np.testing.assert_allclose(explained.base, plain.base + np.log(0.7 / 0.3), atol=1e-6)  # without the base score
    np.testing.assert_allclose(explained.base_values, explained.base + SOME)
    assert float(explained[3].base) == explained.base_values[3]
    assert explained.evidence.settings["offset"] == "base_margin"
    assert explained.evidence.exact
    assert explained.evidence.agreement < 1e-5
    assert "offset" in explained.evidence.fingerprints
    assert plain.offset is None
    assert "SHA-256 of offset" in str(explained.evidence)


def test_the_result_behind_a_link(inside):
    shares = MODEL.predict_proba(ROWS, base_margin=SOME)[:, 1]
    np.testing.assert_allclose(inside.prediction, shares, atol=1e-6)
    np.testing.assert_allclose(inside.base_values + inside.values.sum(axis=1), shares, atol=1e-6)
    assert np.isnan(inside.base)
    assert inside.offset is None  # it is inside the link
    np.testing.assert_array_equal(inside.extras["offset"][1], SOME)
    assert inside.evidence.settings["offset_inside_link"] == "base_margin"
    same = wb.explain(MODEL, ROWS, BACKGROUND, offset=np.full(8, 0.7), scale="probability")
    assert float(same.base) == same.base_values[0]


@pytest.mark.parametrize("options", [{}, {"background": BACKGROUND, "scale": "probability"}])
def test_cut_joined_kept_and_shown(options, tmp_path):
    whole = wb.explain(MODEL, ROWS, offset=SOME, **options)
    explain = TreeShap(MODEL, options.get("background"), scale=options.get("scale"))
    parts = [explain(ROWS[:3], offset=SOME[:3]), explain(ROWS[3:], offset=SOME[3:])]
    joined = wb.concat(parts)
    np.testing.assert_allclose(joined.values, whole.values, atol=1e-12)
    np.testing.assert_allclose(joined.base_values, whole.base_values)
    np.testing.assert_array_equal(joined.extras["offset"][1], SOME)
    assert joined.evidence.fingerprints["offset"] != whole.evidence.fingerprints["offset"]
    with pytest.raises(OptionError, match="cannot be joined"):
        wb.concat([parts[0], explain(ROWS[3:])])
    whole.save(tmp_path / "kept.whybox")
    kept = wb.load(tmp_path / "kept.whybox")
    np.testing.assert_array_equal(kept.base_values, whole.base_values)
    again = pickle.loads(pickle.dumps(whole))
    np.testing.assert_array_equal(again[2].base, whole[2].base)
    frame = whole.to_frame(library="pandas")
    np.testing.assert_allclose(frame["base_value"] + frame[list("abcd")].sum(axis=1), whole.prediction, atol=1e-6)
    np.testing.assert_array_equal(whole.to_xarray()["base"], whole.base_values)
    assert ">base</th>" in whole._repr_html_()
    kept_explainer = pickle.loads(pickle.dumps(explain))
    np.testing.assert_array_equal(kept_explainer(ROWS, offset=SOME).values, explain(ROWS, offset=SOME).values)


def test_outputs_with_an_axis():
    e = wb.explain(SEVERAL, ROWS, offset=THREE[:8])
    assert e.extras["offset"][0] == ("row", "output")
    np.testing.assert_array_equal(e[..., "1"].extras["offset"][1], THREE[:8, 1])
    np.testing.assert_allclose(e[..., "1"][2].base, e.base_values[2, 1])
    inside = wb.explain(SEVERAL, ROWS, BACKGROUND, offset=THREE[:8], scale="probability")
    assert inside.extras["offset"][0] == ("row", "raw_output")
    assert inside[..., "1"].extras["offset"][1].shape == (8, 3)


def test_the_offset_is_the_first_step_of_a_waterfall(explained, inside):
    ax = explained[3].plot.waterfall()
    assert ax.get_yticklabels()[0].get_text() == "offset of the row (base_margin)"
    bar = ax.patches[0]
    assert bar.get_x() == pytest.approx(float(explained.base))
    assert bar.get_width() == pytest.approx(SOME[3])
    assert f"from base {float(explained.base):.4g} (dashed)" in ax.get_xlabel()
    ax = inside[3].plot.waterfall()
    assert len(ax.patches) == 4
    assert "from base with the offset" in ax.get_xlabel()
    ax = wb.explain(SEVERAL, ROWS, offset=THREE[:8]).plot.waterfall(0, output="2", max_display=2)
    assert [label.get_text() for label in ax.get_yticklabels()][:2] == [
        "offset of the row (base_margin)",
        "2 others, summed",
    ]
    plt.close("all")


def test_without_a_word_of_the_library():
    model = PoissonRegressor().fit(X, Y)
    e = wb.explain(model, ROWS, BACKGROUND, offset=SOME)
    assert e[0].plot.waterfall().get_yticklabels()[0].get_text() == "offset of the row"
    plt.close("all")


def test_plans():
    plain, with_offset = wb.plan(wb.explain, MODEL, ROWS), wb.plan(wb.explain, MODEL, ROWS, offset=SOME)
    assert with_offset.model_calls == plain.model_calls + 8
    assert wb.plan(wb.explain, MODEL, 1000, offset=None).rows == 1000
    assert (
        "tree_shap" in wb.plan(wb.explain, MODEL, WITH[:8], BACKGROUND, offset="margin", scale="probability").method_id
    )
    games = wb.plan(wb.explain, MODEL, WITH[:8], BACKGROUND, "exact_shap", offset="margin", scale="probability")
    assert games.rows == 8


# effects


def curve_by_hand(predict, grid):
    return np.array([predict(X.assign(a=value)).mean() for value in grid])


@pytest.mark.parametrize("scale", [None, "probability"])
@pytest.mark.parametrize("kind_of_rows", ["array", "column", "numpy", "polars", "DMatrix"])
def test_effects(scale, kind_of_rows):
    own = {"base_margin": OFFSET}
    if scale is None:
        predict = lambda rows: MODEL.predict(rows, **own, output_margin=True)
    else:
        predict = lambda rows: MODEL.predict_proba(rows, **own)[:, 1]
    rows, offset = {
        "array": (X, OFFSET),
        "column": (WITH[["a", "margin", "b", "c", "d"]], "margin"),
        "numpy": (X.to_numpy(), OFFSET),
        "polars": (polars.from_pandas(WITH), "margin"),
        "DMatrix": (xgboost.DMatrix(X, base_margin=OFFSET), None),
    }[kind_of_rows]
    curves = wb.effects(MODEL, rows, [0], offset=offset, scale=scale, grid=7)
    np.testing.assert_allclose(curves[0].values, curve_by_hand(predict, curves[0].grid), atol=1e-6)
    np.testing.assert_allclose(curves[0].at([0.25]), curve_by_hand(predict, [0.25]), atol=1e-6)
    assert curves[0].units == ("log-odds" if scale is None else "probability")
    assert any("Each row's offset is added" in note for note in curves[0].evidence.notes)


def test_effects_of_all_features_and_of_classes():
    curves = wb.effects(SEVERAL, X, offset=THREE, scale="probability", output="1", grid=4)
    assert list(curves) == list("abcd")  # none is that of the offset
    by_hand = curve_by_hand(lambda rows: SEVERAL.predict_proba(rows, base_margin=THREE)[:, 1], curves["a"].grid)
    np.testing.assert_allclose(curves["a"].values, by_hand, atol=1e-6)
    other = wb.effects(MODEL, X, ["a"], offset=OFFSET, scale="probability", output="0", grid=4)["a"]
    own = wb.effects(MODEL, X, ["a"], offset=OFFSET, scale="probability", grid=4)["a"]
    np.testing.assert_allclose(other.values, 1 - own.values, atol=1e-12)
    rows = wb.effects(MODEL, X, ["a"], "ice", offset=OFFSET, scale="probability", grid=4)["a"]
    np.testing.assert_allclose(rows.values.mean(axis=0), own.values, atol=1e-12)
    assert "predictions" in str(wb.plan(wb.effects, MODEL, X, offset=OFFSET))


def test_effects_of_an_exposure():
    model = PoissonRegressor().fit(X, Y)
    curve = wb.effects(model, X, ["a"], offset=OFFSET, scale="response", grid=5)["a"]
    by_hand = curve_by_hand(lambda rows: model.predict(rows) * np.exp(OFFSET), curve.grid)
    np.testing.assert_allclose(curve.values, by_hand, rtol=1e-9)


def test_effects_refused():
    for model, offset, says in (
        (SVR().fit(X, Y), OFFSET, "Write the offset into the function"),
        (MODEL, OFFSET[:5], "for 120 rows"),
        (MODEL, "a", "is a column that the model reads"),
    ):
        with pytest.raises((OptionError, InputError, UnsupportedModelError), match=says):
            wb.effects(model, X, offset=offset)


def test_effects_beyond_the_largest_number():
    model = PoissonRegressor().fit(X, Y)
    large = np.r_[0.0, 0.0, 800.0, np.zeros(117)]
    for verb in (wb.effects, partial(wb.plan, wb.effects)):
        with pytest.raises(NonFiniteError, match=r"beyond the largest number, the first in row 2\."):
            verb(model, X, ["a"], offset=large, scale="response")
    at_the_edge = np.log(np.finfo(float).max) - np.log(model.predict(X)) - 1e-3
    with pytest.raises(NonFiniteError, match=r"beyond the largest number, the first in a row\."):
        wb.effects(model, X, ["a"], offset=at_the_edge, scale="response")
    assert np.isfinite(wb.effects(model, X, ["a"], offset=large)["a"].values).all()  # on the additive scale


# the command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("offsets")
    MODEL.save_model(folder / "model.ubj")
    WITH[:8].assign(customer=list("abcdefgh")).to_csv(folder / "rows.csv", index=False)
    WITH[30:50].to_csv(folder / "background.csv", index=False)
    WITH.to_csv(folder / "all.csv", index=False)
    WITH[:8].assign(margin=[0.0] * 7 + [np.nan]).to_csv(folder / "missing.csv", index=False)
    return folder


def run(folder, *more, command=("explain",), rows="rows.csv", out="out.parquet"):
    written = ["-o", str(folder / out)] if out else []
    return main([*command, str(folder / "model.ubj"), str(folder / rows), *written, *more])


@pytest.mark.parametrize("scale", [None, "probability"])
def test_explain_on_the_command_line(folder, scale, capsys):
    more = () if scale is None else ("--background", str(folder / "background.csv"), "--scale", scale)
    assert run(folder, "--offset", "margin", "--id", "customer", "--id", "margin", *more) == 0
    got = pq.read_table(folder / "out.parquet").to_pandas()
    expected = wb.explain(MODEL, ROWS, None if scale is None else BACKGROUND, offset=SOME, scale=scale)
    assert list(got) == ["customer", "margin", *"abcd", "base_value", "prediction"]
    np.testing.assert_allclose(got[list("abcd")].to_numpy(), expected.values, atol=1e-9)
    np.testing.assert_allclose(got["base_value"], expected.base_values)
    np.testing.assert_allclose(got["prediction"], expected.prediction, atol=1e-6)
    assert "8 rows x 4 features" in capsys.readouterr().out


def test_the_loss_of_rows_with_offsets_on_the_command_line(folder):
    data = folder / "truth.csv"
    WITH[:8].assign(kind=Y[:8]).to_csv(data, index=False)
    given = ("--background", str(folder / "background.csv"), "--loss", "log", "--target", "kind", "--offset", "margin")
    assert run(folder, *given, rows="truth.csv") == 0
    got = pq.read_table(folder / "out.parquet").to_pandas()
    expected = wb.explain(MODEL, ROWS, BACKGROUND, loss="log", y=Y[:8], offset=SOME)
    np.testing.assert_allclose(got[list("abcd")].to_numpy(), expected.values, atol=1e-6)
    np.testing.assert_allclose(got["prediction"], expected.prediction, atol=1e-6)


def test_effects_and_plans_on_the_command_line(folder, capsys):
    given = ("--offset", "margin", "--feature", "a", "--scale", "probability", "--grid", "5")
    assert run(folder, *given, command=("effects",), rows="all.csv") == 0
    got = pq.read_table(folder / "out.parquet").to_pandas()
    expected = wb.effects(MODEL, X, ["a"], offset=OFFSET, scale="probability", grid=5)["a"]
    np.testing.assert_allclose(got["effect"], expected.values, atol=1e-9)
    capsys.readouterr()
    assert run(folder, "--offset", "margin", command=("plan", "explain"), out=None) == 0
    assert "TreeShap, exact" in capsys.readouterr().out
    assert run(folder, *given, command=("plan", "effects"), rows="all.csv", out=None) == 0
    assert "with the offset" in capsys.readouterr().out
    number = ["plan", "explain", str(folder / "model.ubj"), "1000", "--offset", "margin"]
    assert main(number) == 2
    assert "only their number is given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "rows", "says"),
    [
        (("--offset", "marjin"), "rows.csv", "marjin"),
        (("--offset", "a"), "rows.csv", "--offset a is a column that the model reads"),
        (("--offset", "customer"), "rows.csv", "--offset holds 'a', which is no number"),
        (("--offset", "margin"), "missing.csv", "row 7 of missing.csv"),
    ],
)
def test_refused_on_the_command_line(folder, more, rows, says, capsys):
    assert run(folder, *more, rows=rows, out="none.csv") != 0
    assert says in capsys.readouterr().err
    assert not (folder / "none.csv").exists()
