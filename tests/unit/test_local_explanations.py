"""Local values through everything that explanations do: slices, files, tables, HTML, and rows computed apart."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from html import unescape

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

import whybox as wb
from whybox.errors import ExplanationFileError, OptionError
from whybox.explanation.html import number_text
from whybox.explanation.local_rows import certified_text, local_headline, local_warnings, row_name

X = pd.DataFrame(load_iris().data, columns=["a", "b", "c", "d"], index=[f"flower {i}" for i in range(150)])
FOREST = RandomForestClassifier(5, max_depth=3, random_state=0).fit(X, load_iris(as_frame=True).target)
ROWS = X[::40]


def product(rows):
    return rows["a"] * rows["b"] - rows["c"]


@pytest.fixture(scope="module")
def classes():
    return wb.lime(FOREST, ROWS, X)


@pytest.fixture(scope="module")
def one():
    return wb.lime(FOREST, ROWS, X, output=1)


@pytest.fixture(scope="module")
def sampled():
    return wb.lime(product, ROWS, X, max_evals=4_000, spot_checks=0)


@pytest.fixture(scope="module")
def widths():
    return wb.lime(FOREST, ROWS, X, kernel_width=[0.5, 1, 2])


@pytest.fixture(params=["classes", "one", "sampled", "widths"])
def each(request):
    return request.getfixturevalue(request.param)


def same(one, other):
    assert (one.kind, one.dims, one.units) == (other.kind, other.dims, other.units)
    for name in ("values", "base", "prediction", "std_error"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for dim, labels in one.coords.items():
        assert labels.tolist() == other.coords[dim].tolist()
    assert one.extras.keys() == other.extras.keys()
    for name, (dims, array) in one.extras.items():
        assert dims == other.extras[name][0]
        np.testing.assert_array_equal(array, other.extras[name][1])


def test_files_and_pickles_hold_all_of_it(each, tmp_path):
    each.save(tmp_path / "e.whybox")
    found = wb.load(tmp_path / "e.whybox")
    same(found, each)
    assert json.dumps(found.evidence.to_dict()) == json.dumps(each.evidence.to_dict())
    same(pickle.loads(pickle.dumps(each)), each)


def test_a_file_whose_texts_do_not_fit_is_refused(one, tmp_path):
    one.save(tmp_path / "e.whybox")
    with zipfile.ZipFile(tmp_path / "e.whybox") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    page = json.loads(members["explanation.json"])
    page["texts"]["condition"] = page["texts"]["condition"][:2]
    members["explanation.json"] = json.dumps(page).encode()
    with zipfile.ZipFile(tmp_path / "e.whybox", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ExplanationFileError, match=r"extras\['condition'\] points at texts that are not there"):
        wb.load(tmp_path / "e.whybox")


def test_slices_keep_what_belongs_to_them(classes, widths):
    picked = classes[1, :, "1"]
    assert picked.dims == ("feature",)
    assert picked.extras["condition"][1].tolist() == classes.extras["condition"][1][1].tolist()
    assert picked.extras["gap"][1] == classes.extras["gap"][1][1, 1]
    width = widths[1]
    assert width.dims == classes.dims
    assert width.coords["width"].tolist() == [1.0]
    np.testing.assert_array_equal(width.prediction, widths.prediction)
    assert widths[:, 2].prediction.tolist() == widths.prediction[2].tolist()
    assert widths.base_values.shape == (len(ROWS), 3)
    assert np.isnan(widths.base_values).all()
    assert classes.sel(row="flower 40").prediction.shape == (3,)


def test_a_long_table_has_the_condition_beside_each_value(each):
    table = each.to_frame()
    expected = [d for d in ("width", "row", "feature", "output") if d in each.dims]
    assert [*table.columns][: len(expected) + 2] == [*expected, "condition", "local"]
    np.testing.assert_array_equal(table["local"], each.values.reshape(-1))
    if each.std_error is not None:
        np.testing.assert_array_equal(table["std_error"], each.std_error.reshape(-1))
        np.testing.assert_array_equal(table["interval_low"], each.interval[0].reshape(-1))
    features = each.to_frame()["feature"].astype(str)
    assert all(name in words for name, words in zip(features, table["condition"], strict=True))
    assert not table[["local", "local_prediction", "gap", "rank", "share"]].isna().any(axis=None)
    arrow = each.to_arrow()
    assert arrow.schema.names == [*table.columns]
    assert json.loads(arrow.schema.metadata[b"whybox"])["kind"] == "local"


def test_a_wide_table_has_the_local_prediction_in_place_of_a_base(classes, one, widths):
    wide = one.to_frame(layout="wide")
    assert [*wide.columns] == ["a", "b", "c", "d", "local_prediction", "prediction"]
    assert [*wide.index] == [*ROWS.index]
    np.testing.assert_array_equal(wide["local_prediction"], one.extras["local_prediction"][1])
    of_classes = classes.to_frame(layout="wide")
    np.testing.assert_array_equal(of_classes["local_prediction|2"], classes.extras["local_prediction"][1][:, 2])
    assert [*one[0].to_frame(layout="wide")["local_prediction"]] == [one.extras["local_prediction"][1][0]]
    with pytest.raises(OptionError, match="a sweep of kernel widths has no wide layout; use layout='long'"):
        widths.to_frame(layout="wide")


def test_a_dataset_has_all_axes(each):
    found = each.to_xarray()
    np.testing.assert_array_equal(found["values"], each.values)
    assert found["condition"].shape == (len(ROWS), 4)
    assert found["values"].dims == each.dims


def test_a_notebook_shows_conditions_values_and_warnings_and_no_base(each):
    for e in (each, each[..., 0] if "output" in each.dims else each, each[0]):
        text = unescape(e._repr_html_())
        assert "nan" not in re.sub(r"<details>.*", "", text)
        assert str(each.extras["condition"][1][0, int(e.ordered(1)[0])]) in text
        assert "<script" not in text
    first = each
    for dim in ("width", "row"):
        first = first[0] if dim in first.dims else first
    first = first[..., 0] if "output" in first.dims else first
    text = unescape(first._repr_html_())
    head = local_headline(first)
    assert head[1:] in text
    for j in range(4):
        assert number_text(float(first.values[j])) in text
    for sentence in local_warnings(first):
        assert sentence[1:] in text  # the first of them begins with a capital letter


def test_a_sweep_is_shown_with_one_column_a_width(widths):
    text = widths[..., 0]._repr_html_()
    for width in (0.5, 1, 2):
        assert f"width {width}</th>" in text
    assert number_text(float(widths.values[2, 0, 3, 0])) in text


def test_words_about_a_row(one):
    e = one[0]
    numbers = {name: float(array) for name, (dims, array) in e.extras.items() if not dims and array.dtype != object}
    assert local_headline(e).startswith("row flower 0, output 1: prediction ")
    assert f"local model {number_text(numbers['local_prediction'], 3)}" in local_headline(e)

    def with_numbers(**changed):
        from dataclasses import replace

        return replace(e, extras={**e.extras, **{name: ((), np.array(v)) for name, v in changed.items()}})

    fine = {"r_squared": 0.5, "effective_size": 0.1, "gap": 0.25, "spread": 1.0}
    assert local_warnings(with_numbers(**fine)) == ()
    assert "R squared 0.5" in local_headline(with_numbers(**fine))
    assert local_warnings(with_numbers(**fine | {"r_squared": 0.234})) == (
        "R squared 0.23: a linear model describes little here",
    )
    assert "effective size 0.09: few draws" in local_warnings(with_numbers(**fine | {"effective_size": 0.09}))[0]
    assert local_warnings(with_numbers(**fine | {"gap": -0.3})) == ("the local model misses the prediction by 0.3",)
    assert (
        local_warnings(with_numbers(r_squared=np.nan, effective_size=1.0, gap=1e-17, spread=0.0, local_prediction=0.3))
        == ()
    )
    assert certified_text(with_numbers(certified=4)) == ""
    assert certified_text(with_numbers(certified=2)) == "order settled for the first 2"
    assert certified_text(with_numbers(certified=0)) == "order not settled"
    with pytest.raises(OptionError, match="pick one of each"):
        local_warnings(one)


def test_the_predicted_class_of_each_row_is_named():
    e = wb.lime(FOREST, ROWS, X, output="predicted")
    assert [row_name(r) for r in e] == [f"flower {40 * i}, output {k}" for i, k in enumerate(FOREST.predict(ROWS))]


def test_rows_computed_apart_are_joined(classes, widths):
    explain = wb.explainers.Lime(FOREST, X)
    same(wb.concat([explain(ROWS[:1]), explain(ROWS[1:])]), explain(ROWS))
    same(wb.concat([widths[:, :2], widths[:, 2:]]), widths)
    with pytest.raises(OptionError, match="no row axis"):
        wb.concat([classes[0], classes[1]])


def test_sampled_rows_of_different_draws_are_joined():
    explain = wb.explainers.Lime(product, X, max_evals=4_000, spot_checks=0)
    parts = [explain(ROWS[:1]), explain(ROWS[1:])]
    joined = wb.concat(parts)
    np.testing.assert_array_equal(joined.values, np.concatenate([p.values for p in parts]))
    np.testing.assert_array_equal(joined.std_error, np.concatenate([p.std_error for p in parts]))
    assert joined.evidence.settings["draws"] == min(p.evidence.settings["draws"] for p in parts)
    other = wb.lime(product, ROWS[1:], X, max_evals=4_000, spot_checks=0, neighbourhood="row")
    with pytest.raises(OptionError, match="settings"):
        wb.concat([parts[0], other])
