"""The reasons that weigh most in each row: as a table, and in words by a template."""

from __future__ import annotations

import numpy as np
import pytest

import whybox as wb
import zoo
from estimated import estimated
from whybox.errors import OptionError
from whybox.explanation.html import number_text


def explained(name="RandomForestRegressor", rows=6):
    model, X = zoo.built(name)
    return X[:rows], wb.explain(model, X[:rows], spot_checks=0)


def test_it_is_the_largest_contributions_of_each_row():
    X, e = explained()
    frame = e.top(2)
    assert list(frame.columns) == ["row", "feature", "value", "contribution", "share"]
    assert len(frame) == 12
    for i in range(6):
        order = sorted(range(5), key=lambda j, i=i: -abs(e.values[i, j]))[:2]
        lines = frame[frame["row"] == i]
        assert list(lines["feature"]) == [e.feature_names[j] for j in order]
        assert np.array_equal(lines["contribution"], e.values[i, order])
        assert np.allclose(lines["share"], np.abs(e.values[i, order]) / np.abs(e.values[i]).sum(), rtol=1e-12)
        assert np.array_equal(lines["value"], [X.iloc[i][e.feature_names[j]] for j in order])


def test_all_shares_of_a_row_add_up_to_one():
    _, e = explained()
    assert np.allclose(e.top(5).groupby("row")["share"].sum(), 1.0)
    assert len(e.top(50)) == e.values.size


def test_of_one_row_and_of_several_classes():
    _, e = explained("LGBMClassifier, multiclass", 3)
    one = e[1, :, 2].top(3)
    assert list(one.columns) == ["feature", "value", "contribution", "share"]
    whole = e.top(3)
    assert list(whole.columns)[:2] == ["row", "output"]
    part = whole[(whole["row"] == 1) & (whole["output"] == e.output_names[2])]
    assert list(part["feature"]) == list(one["feature"])
    assert np.array_equal(part["contribution"], one["contribution"])


def test_words_follow_the_template():
    _, e = explained()
    frame = e.top(2, template="{feature} = {value} {direction} it by {contribution} ({share}, {units})")
    for line in frame.itertuples():
        verb = "raises" if line.contribution > 0 else "lowers"
        words = (
            f"{line.feature} = {number_text(line.value)} {verb} it by {number_text(line.contribution, 3, sign=True)}"
        )
        assert line.reason == f"{words} ({100 * line.share:.0f} %, {e.units})"


def test_errors_stand_beside_estimated_contributions():
    _, e = explained()
    sampled = estimated(e, 0.1)
    frame = sampled.top(1)
    at = [list(sampled.feature_names).index(name) for name in frame["feature"]]
    assert np.array_equal(frame["std_error"], sampled.std_error[range(6), at])


def test_columns_together_have_no_value_and_text_stays_text():
    model, X = zoo.built("RandomForestRegressor")
    e = wb.explain(model, X[:3], players={"body": ["bmi", "bp"]}, spot_checks=0)
    frame = e.top(4, template="{feature}{value}")
    group = frame[frame["feature"] == "body"]
    assert group["value"].isna().all()
    assert (group["reason"] == "body").all()
    single = frame[frame["feature"] == "s5"].iloc[0]
    assert single["value"] == number_text(float(X["s5"].iloc[single["row"]]))


def test_in_any_library():
    _, e = explained()
    table = e.top(2, library="pyarrow")
    assert table.column_names == list(e.top(2).columns)
    assert table.num_rows == 12
    assert (
        wb.lime(*zoo.built("RandomForestRegressor")[:1], zoo.X()[:2], zoo.X()[:40], spot_checks=0).top(1).shape[0] == 2
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 0}, "count=0 must be a whole number, 1 or more"),
        ({"template": "{name}"}, "unknown field 'name'.*Known: 'feature'"),
        ({"template": "{feature"}, "template='{feature'"),
        ({"template": 3}, "template=3 is text"),
    ],
)
def test_what_makes_no_sense_is_refused(options, words):
    _, e = explained()
    with pytest.raises(OptionError, match=words):
        e.top(**options)


def test_what_has_no_reasons_is_refused():
    model, X = zoo.built("RandomForestRegressor")
    with pytest.raises(OptionError, match="about attributions or local values"):
        wb.importance(model, X[:20], method="impurity").top()
    with pytest.raises(OptionError, match="about attributions or local values"):
        wb.explain(model, X[:2], order=2, spot_checks=0).top()
