"""A list of methods of importance as one result: which options go where, shares, ranks, evidence, tables, files, pictures."""

import pickle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

import whybox as wb
from whybox.errors import InputError, OptionError
from whybox.methods.importance.agreement import agreement as compare
from whybox.methods.importance.options import ImportanceOptions
from whybox.methods.importance.rankings import make_comparable

METHODS = ["permutation", "shap", "impurity"]
TRAIN, HELD = slice(0, 80), slice(80, 300)


@pytest.fixture(scope="module")
def data():
    draw = np.random.default_rng(0)
    X = pd.DataFrame(draw.normal(size=(300, 4)), columns=list("abcd"))
    X["b"] = X.a + 0.01 * X.b
    return X, 2 * X.a + 0.5 * X.c + 3 * draw.normal(size=300)


@pytest.fixture(scope="module")
def forest(data):
    """A forest that has learned the noise of its training rows by heart, and rows that it has not seen."""
    X, y = data
    return RandomForestRegressor(5, random_state=0).fit(X[TRAIN], y[TRAIN]), X[HELD], y[HELD]


@pytest.fixture(scope="module")
def found(forest, data):
    model, X, y = forest
    train = data[0][TRAIN], data[1][TRAIN]
    return wb.importance(model, X, y, method=METHODS, role="held-out", train=train, spot_checks=20)


def test_shares_and_own_values(forest, data, found):
    model, X, y = forest
    train = data[0][TRAIN], data[1][TRAIN]
    assert (found.kind, found.dims, found.shape) == ("agreement", ("feature", "method"), (4, 3))
    each = [
        wb.importance(model, X, y, method="permutation", role="held-out", train=train, spot_checks=20),
        wb.importance(model, X, method="shap", spot_checks=20),
        wb.importance(model, method="impurity"),
    ]
    for k, e in enumerate(each):
        assert found.extras["own_values"][1][:, k].tobytes() == e.values.tobytes()
        assert np.allclose(found.values[:, k], e.values / e.values.max(), rtol=1e-15)
        assert found.extras["own_units"][1][k] == e.units
    permutation = each[0]
    assert np.array_equal(found.extras["own_error"][1][:, 0], permutation.std_error)
    assert np.allclose(found.std_error[:, 0] * permutation.values.max(), permutation.std_error)
    assert np.array_equal(found.extras["own_interval"][1][:, 0], permutation.extras["interval"][1])
    assert np.allclose(found.interval[0][:, 0] * permutation.values.max(), permutation.interval[0])
    for name in ("rank", "rank_interval", "train", "train_error", "train_interval", "train_rank_interval", "off_data"):
        assert np.array_equal(found.extras[name][1][:, 0], permutation.extras[name][1]), name
    assert np.isnan(found.extras["own_error"][1][:, 2]).all()
    rank = found.extras["rank"][1][:, 2]
    assert np.array_equal(found.extras["rank_interval"][1][:, 2], np.column_stack([rank, rank]))


def test_the_evidence_of_each_method_is_kept(forest, found):
    model, X, y = forest
    parts = found.evidence.parts
    assert list(parts) == ["permutation", "shap", "impurity", "permutation of groups"]
    assert parts["permutation"].settings["role"] == found.evidence.settings["role"] == "held-out"
    assert parts["permutation"].spot_checks.numbers > 0
    assert "without regard to the other features" in parts["permutation"].estimand
    assert "favours features with many split points" in " ".join(parts["impurity"].notes)
    assert found.evidence.exact == all(p.exact for p in parts.values())
    assert found.evidence.model_calls == sum(p.model_calls for p in parts.values())
    lines = dict(found.evidence.lines())
    assert lines["Estimand (permutation)"] == parts["permutation"].estimand
    assert "Note (impurity)" in lines
    assert dict(found.evidence.lines("kernel"))["Kernel (shap)"] == parts["shap"].kernel
    unsaid = wb.importance(model, X, y, method=["permutation", "impurity"])
    assert not any("held out" in note for note in unsaid.evidence.notes)
    assert any("held out" in note for note in unsaid.evidence.parts["permutation"].notes)


def test_options_go_to_the_methods_that_take_them(forest):
    model, X, y = forest
    e = wb.importance(model, X, y, method=["permutation", "shap"], background=X[:20], loss="absolute", seed=5)
    assert e.evidence.parts["shap"].background_rows == 20
    assert e.evidence.parts["permutation"].settings["loss"] == "absolute"
    assert e.evidence.parts["permutation"].seed == 5
    with pytest.raises(OptionError, match="none of the methods 'shap', 'impurity' that are named by their id takes it"):
        wb.importance(model, X, method=["shap", "impurity"], loss="absolute")
    with pytest.raises(OptionError, match=r"sead= is no option here\. Did you mean 'seed'"):
        wb.importance(model, X, y, method=["permutation"], sead=1)
    own = ImportanceOptions(method="permutation", loss="absolute")
    assert (
        wb.importance(model, X, y, method=[own, "impurity"]).evidence.parts["permutation"].settings["loss"]
        == "absolute"
    )
    with pytest.raises(OptionError, match="none of the methods"):
        wb.importance(model, X, y, method=[own], seed=3)
    with pytest.raises(OptionError, match="'permutation' twice"):
        wb.importance(model, X, y, method=["permutation", own])
    with pytest.raises(OptionError, match="'permutation' twice"):
        wb.importance(model, X, y, method=["auto", "permutation"])
    with pytest.raises(OptionError, match="is empty"):
        wb.importance(model, X, y, method=[])
    with pytest.raises(OptionError, match="measures against the truth"):
        wb.importance(model, X, method=["shap", "permutation"])
    with pytest.raises(OptionError, match="does not use y"):
        wb.importance(model, X, y, method=["shap", "impurity"])
    with pytest.raises(OptionError, match="no column"):
        wb.importance(model, X, "target", method=["shap", "permutation"])


def test_the_truth_may_be_a_column_that_no_method_explains(forest):
    model, X, y = forest
    e = wb.importance(model, X.assign(target=y), "target", method=["permutation", "shap"])
    assert np.array_equal(e.values, wb.importance(model, X, y, method=["permutation", "shap"]).values)
    assert not any("left out" in note for part in e.evidence.parts.values() for note in part.notes)


def test_several_outputs_are_summed():
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(60, 3)), draw.integers(0, 3, 60)
    X[:, 0] += y
    model = RandomForestClassifier(4, max_depth=3, random_state=0).fit(X, y)
    e = wb.importance(model, X, y, method=["shap", "permutation"], role="train")
    shap = wb.importance(model, X, method="shap")
    assert np.allclose(e.extras["own_values"][1][:, 0], shap.values.sum(axis=1))
    assert any("Summed over 3 outputs" in note for note in e.evidence.parts["shap"].notes)
    assert np.allclose(e.extras["own_error"][1][:, 0], shap.std_error.sum(axis=1))
    low, high = (end.sum(axis=1) for end in shap.interval)
    assert np.allclose(e.extras["own_interval"][1][:, 0], np.column_stack([low, high]))
    assert np.isfinite(e.extras["rank_interval"][1][:, 1]).all()


def test_methods_about_different_features_are_not_compared(forest):
    model, X, y = forest
    groups = ImportanceOptions(method="shap", players={"both": ["a", "b"]})
    with pytest.raises(OptionError, match="permutation and shap are about different features"):
        wb.importance(model, X, y, method=["permutation", groups])
    with pytest.raises(OptionError, match="method='pdp' knows no players"):
        wb.importance(model, X, y, method=["permutation", "pdp"], players="auto")
    one, other = wb.importance(model, X, method="shap"), wb.importance(model, method="impurity")
    turned = make_comparable({"shap": one, "impurity": other[[3, 2, 1, 0]]})
    assert turned["impurity"].values.tolist() == other.values.tolist()


def test_values_below_zero_and_no_value_at_all(forest):
    model, X, y = forest
    e = wb.importance(model, X, y, method="permutation", role="train")
    from dataclasses import replace

    negative = compare({"permutation": replace(e, values=np.array([2.0, -1.0, 0.0, np.nan]))}, None, ())
    assert np.array_equal(negative.values[:, 0], [1.0, -0.5, 0.0, np.nan], equal_nan=True)
    nothing = compare({"permutation": replace(e, values=np.array([-2.0, -1.0, 0.0, 1e-30]))}, None, ())
    assert not nothing.values.any()
    assert np.isnan(nothing.std_error).all()
    assert "permutation: no value is above zero, so all shares are 0." in nothing.evidence.notes


def test_slices_keep_their_findings(found):
    assert found.findings
    assert "2 findings, see .findings" in repr(found)
    assert found["a"].findings == ()
    assert found["d"].dims == ("method",)
    assert found["d"].findings == tuple(f for f in found.findings if f.startswith("d:"))
    one = found.sel(method="shap")
    assert one.dims == ("feature",)
    assert "shap alone" in repr(one)
    assert one.extras["own_values"][1].tolist() == found.extras["own_values"][1][:, 1].tolist()
    assert found[["a", "c"], ["shap"]].shape == (2, 1)
    assert found.ordered()[0] in (0, 1)
    with pytest.raises(OptionError, match="taken over all rows together"):
        wb.concat([found, found])
    with pytest.raises(InputError, match="saliency"):
        wb.check(found, None, None)


def test_files_tables_and_pickles(found, tmp_path):
    found.save(tmp_path / "e.whybox")
    for again in (wb.load(tmp_path / "e.whybox"), pickle.loads(pickle.dumps(found))):
        assert again.findings == found.findings
        assert again.evidence == found.evidence
        assert again.values.tobytes() == found.values.tobytes()
    frame = found.to_frame(library="pandas")
    assert len(frame) == 12
    assert set(frame.loc[frame.feature == "a", "finding"]) == {""}
    assert {"agreement", "own_values", "own_error", "rank", "rank_interval_low", "own_units"} <= set(frame.columns)
    assert found.to_frame(library="polars")["finding"].to_list() == frame.finding.tolist()
    assert found.to_arrow().column_names == list(frame.columns)
    assert found.to_xarray()["rank_interval"].shape == (4, 3, 2)
    page = found._repr_html_()
    assert page.count("<li>") == len(found.findings)
    assert "permutation" in page
    assert found[:, "shap"]._repr_html_()


def test_the_figure_shows_features_with_findings_first(found):
    ax = found.plot.agreement()
    assert ax.get_legend_handles_labels()[1] == ["permutation", "shap", "impurity"]
    bold = [label.get_text() for label in ax.get_yticklabels() if label.get_fontweight() == "bold"]
    assert set(bold) == {f for f, text in zip(found.feature_names, found.extras["finding"][1], strict=True) if text}
    written = " ".join(" ".join(text.get_text() for text in ax.texts).split())
    assert found.findings[0] in written
    few = found.plot.agreement(max_display=1, findings=False)
    assert few.get_yticklabels()[0].get_text() in bold
    assert few.get_xlabel().strip().endswith("3 features not shown")
    with pytest.raises(OptionError, match="keep its axis with a list"):
        found[:, "shap"].plot.agreement()
    with pytest.raises(OptionError, match="must be at least 1"):
        found.plot.agreement(max_display=0)
    found[:, ["shap"]].plot.agreement()
    with pytest.raises(OptionError, match=r"drawn by plot\.agreement"):
        found.plot.bar()
    plt.close("all")


def test_plans_count_the_groups(forest):
    _, X, y = forest
    model = lambda r: r.a + r.c
    plans = wb.plan(wb.importance, model, X, y, method=["permutation", "conditional"], max_evals=30 * len(X))
    assert list(plans) == ["permutation", "conditional"]
    e = wb.importance(model, X, y, method=["permutation", "conditional"], max_evals=30 * len(X))
    parts = e.evidence.parts
    calls = parts["permutation"].model_calls + parts["permutation of groups"].model_calls
    assert parts["permutation of groups"].model_calls > 0
    assert calls <= plans["permutation"].model_calls
    assert "permuted together" in plans["permutation"].notes[-1]


def test_columns_taken_by_position_have_the_names_of_the_model(forest):
    model, X, y = forest
    e = wb.importance(model, X.to_numpy(), y, method=["permutation", "impurity"])
    assert e.extras["group"][1].tolist() == ["a + b", "a + b", "", ""]
    assert np.array_equal(
        e.extras["together"][1],
        wb.importance(model, X, y, method=["permutation"]).extras["together"][1],
        equal_nan=True,
    )


def test_copies_are_not_looked_for_among_too_many_columns(forest, monkeypatch):
    model, X, y = forest
    monkeypatch.setattr("whybox.methods.importance.copies.MAX_COLUMNS", 3)
    e = wb.importance(model, X, y, method=["permutation"])
    assert "group" not in e.extras
    assert any("there are 4, and 3 are compared at most" in note for note in e.evidence.notes)
