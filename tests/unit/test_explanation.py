from __future__ import annotations

import dataclasses
import io
import json
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest

import whybox as wb
import zoo
from whybox.errors import ExplanationFileError, OptionError


@pytest.fixture(scope="module")
def single():
    model, rows = zoo.built("RandomForestRegressor")
    return wb.explain(model, rows[:12].set_axis([f"patient {i}" for i in range(12)]))


@pytest.fixture(scope="module")
def several():
    model, rows = zoo.built("LGBMClassifier, multiclass")
    return wb.explain(model, rows[:12])


def test_shapes_follow_the_model(single, several):
    assert single.dims == ("row", "feature")
    assert single.shape == (12, 5)
    assert several.dims == ("row", "feature", "output")
    assert several.shape == (12, 5, 3)
    assert several.base.shape == (3,)
    model, rows = zoo.built("LGBMClassifier, multiclass")
    assert wb.explain(model, rows[:4], order=2).dims == ("row", "feature", "feature_2", "output")


def test_slicing_by_position_and_name_keeps_labels(several):
    one = several[3]
    assert one.dims == ("feature", "output")
    assert one.coords["row"].tolist() == [3]
    assert np.array_equal(one.values, several.values[3])
    assert np.array_equal(several[:, "bmi"].values, several.values[:, 2])
    assert np.array_equal(several[..., "1"].values, several.values[..., 1])
    assert several[..., "1"].base == several.base[1]
    assert np.array_equal(several[..., "1"].prediction, several.prediction[:, 1])
    assert several[2:5, ["bmi", "age"]].feature_names == ("bmi", "age")
    assert len(several[np.array([True, False] * 6)]) == 6
    assert several[-1].coords["row"].tolist() == [11]
    assert several[[2, 4]].data.matrix().shape == (2, 5)


def test_sel_by_row_label(single):
    assert np.array_equal(single.sel(row="patient 4").values, single.values[4])
    assert single.sel(row=["patient 4", "patient 2"]).coords["row"].tolist() == ["patient 4", "patient 2"]
    with pytest.raises(OptionError, match=r"Did you mean 'patient 1"):
        single.sel(row="patient 111")
    with pytest.raises(OptionError, match="no axis 'rows'"):
        single.sel(rows=1)
    with pytest.raises(IndexError, match="indices"):
        single[0, 0, 0]


def test_frozen(single):
    with pytest.raises(dataclasses.FrozenInstanceError):
        single.units = "x"
    with pytest.raises(ValueError, match="read-only"):
        single.values[0, 0] = 1
    with pytest.raises(TypeError):
        single.coords["row"] = []


def test_frames_out(single, several):
    wide = single.to_frame()
    assert isinstance(wide, pd.DataFrame)
    assert wide.index.tolist() == [f"patient {i}" for i in range(12)]
    assert np.allclose(wide.drop(columns="prediction").sum(axis=1), wide["prediction"])
    long = several.to_frame(layout="long")
    assert len(long) == 12 * 5 * 3
    assert long.columns.tolist() == ["row", "feature", "output", "attribution"]
    assert several.to_frame(library="polars").columns[0] == "age|0"
    assert several.to_frame(library="pyarrow").num_rows == 12
    with pytest.raises(OptionError, match="layout='tall'"):
        single.to_frame(layout="tall")
    model, rows = zoo.built("RandomForestRegressor")
    with pytest.raises(OptionError, match="no wide layout"):
        wb.explain(model, rows[:3], order=2).to_frame(layout="wide")


def test_one_row_keeps_its_label(single, several):
    assert single[3].to_frame().index.tolist() == ["patient 3"]
    assert single.sel(row="patient 7").to_frame().index.tolist() == ["patient 7"]
    assert single[3, "bmi"].to_frame().index.tolist() == ["patient 3"]
    assert single[[3, 1]].to_frame().index.tolist() == ["patient 3", "patient 1"]
    assert single[3].to_frame().equals(single.to_frame().loc[["patient 3"]])
    assert several[4].to_frame().index.tolist() == [4]
    assert several[4].to_frame().equals(several.to_frame().loc[[4]])
    assert single[3].to_arrow()["row"].to_pylist() == ["patient 3"]
    assert single.to_arrow()["row"].to_pylist()[3] == "patient 3"
    assert str(single[3].to_xarray()["row"].item()) == "patient 3"
    long = several[4].to_frame(layout="long")
    assert long["row"].tolist() == [4] * 15
    assert long.equals(several.to_frame(layout="long").query("row == 4").reset_index(drop=True))
    model, rows = zoo.built("RandomForestRegressor")
    curves = wb.effects(model, rows[:9].set_axis(list("abcdefghi")), ["bmi"], "ice", grid=3)["bmi"]
    assert curves[2].to_frame()["row"].tolist() == ["c"] * 3
    pairs = wb.explain(model, rows[:3].set_axis(["a", "b", "c"]), order=2)
    assert pairs[1].to_frame()["row"].unique().tolist() == ["b"]
    assert "row" not in wb.importance(model, rows[:9])[:2].to_frame()


def test_a_feature_called_prediction_does_not_collide():
    from sklearn.tree import DecisionTreeRegressor

    rows = zoo.X().rename(columns={"age": "prediction", "sex": "base_value"})
    got = wb.explain(DecisionTreeRegressor(max_depth=3).fit(rows, zoo.y()), rows[:5])
    frame = got.to_frame()
    assert frame.shape[1] == 7
    assert np.array_equal(frame["prediction"], got.values[:, 0])
    assert np.array_equal(frame["prediction_"], got.prediction)


def test_arrow_and_xarray_carry_the_evidence(single, several):
    meta = json.loads(single.to_arrow().schema.metadata[b"whybox"])
    assert meta["evidence"]["residual"] == single.evidence.residual
    cube = several.to_xarray()
    assert dict(cube.sizes) == {"row": 12, "feature": 5, "output": 3}
    assert float(cube["values"].sel(row=3, feature="bmi", output="1")) == several.values[3, 2, 1]
    assert np.allclose(cube["values"].sum("feature") + cube["base"], cube["prediction"])


@pytest.mark.parametrize(
    "name",
    [
        "RandomForestRegressor",
        "LGBMClassifier, multiclass",
        "LGBMRegressor, categories",
        "HistGradientBoostingRegressor, categories of numbers in the middle",
    ],
)
def test_save_and_load(tmp_path, name):
    model, rows = zoo.built(name)
    for order in (1, 2):
        e = wb.explain(model, rows[:7], order=order)
        e.save(tmp_path / "e.whybox")
        got = wb.load(tmp_path / "e.whybox")
        assert got.values.tobytes() == e.values.tobytes()
        assert (got.dims, got.units, got.evidence, dict(got.players)) == (e.dims, e.units, e.evidence, dict(e.players))
        assert np.array_equal(got.prediction, e.prediction)
        assert [c.tolist() for c in map(got.coords.get, got.dims)] == [c.tolist() for c in map(e.coords.get, e.dims)]
        assert [str(v) for v in got.data.column(0).objects()] == [str(v) for v in e.data.column(0).objects()]
    first = (tmp_path / "e.whybox").read_bytes()
    e.save(tmp_path / "e.whybox")
    assert (tmp_path / "e.whybox").read_bytes() == first


def test_saved_files_hold_nothing_that_runs(tmp_path, single):
    single.save(tmp_path / "e.whybox")
    with zipfile.ZipFile(tmp_path / "e.whybox") as archive:
        assert {n.rsplit(".", 1)[1] for n in archive.namelist()} == {"json", "npy", "arrow"}
    evil = tmp_path / "evil.whybox"
    with zipfile.ZipFile(tmp_path / "e.whybox") as good, zipfile.ZipFile(evil, "w") as bad:
        for name in good.namelist():
            if name == "values.npy":
                buffer = io.BytesIO()
                np.save(buffer, np.array([print], dtype=object), allow_pickle=True)
                bad.writestr(name, buffer.getvalue())
            else:
                bad.writestr(name, good.read(name))
    with pytest.raises(ExplanationFileError, match="truncated or edited"):
        wb.load(evil)


@pytest.mark.parametrize("damage", ["truncate", "flip", "not a zip", "version", "missing"])
def test_damaged_explanations_are_refused(tmp_path, single, damage):
    path = tmp_path / "e.whybox"
    single.save(path)
    data = bytearray(path.read_bytes())
    if damage == "truncate":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        data[200] ^= 0xFF
        path.write_bytes(data)
    elif damage == "not a zip":
        path.write_bytes(b"hello")
    elif damage == "version":
        with zipfile.ZipFile(path) as a:
            files = {n: a.read(n) for n in a.namelist()}
        files["explanation.json"] = files["explanation.json"].replace(b'"format": 1', b'"format": 99')
        with zipfile.ZipFile(path, "w") as a:
            for n, b in files.items():
                a.writestr(n, b)
    else:
        path.unlink()
    with pytest.raises(ExplanationFileError):
        wb.load(path)


def test_nothing_half_written(tmp_path, single, monkeypatch):
    path = tmp_path / "e.whybox"
    path.write_bytes(b"before")
    monkeypatch.setattr(np, "save", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        single.save(path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(wb.errors.InputError, match="cannot write"):
        single.save(tmp_path / "no" / "e.whybox")


def test_notebook_table(single, several):
    for e in (single, several, single[0], several[0, :, 1], wb.importance(*zoo.built("RandomForestRegressor"))):
        html = e._repr_html_()
        assert html.count("<table") >= 2
        assert "Evidence" in html
        assert "script" not in html
    assert "Explanation(attribution, row: 12, feature: 5" in repr(single)


def test_pickle(single):
    again = pickle.loads(pickle.dumps(wb.explainers.TreeShap(zoo.built("LGBMClassifier, multiclass")[0])))
    assert again(zoo.X()[:3]).shape == (3, 5, 3)


@pytest.mark.parametrize("name", ["e.csv", "e.PARQUET", "e.whybox.zip"])
def test_a_name_of_another_type_of_file_is_refused(tmp_path, single, name):
    with pytest.raises(OptionError, match=r"explanations are saved as .whybox files.*to_frame"):
        single.save(tmp_path / name)
    assert not list(tmp_path.iterdir())
    for allowed in ("e", "E.WHYBOX"):
        single.save(tmp_path / allowed)
        assert wb.load(tmp_path / allowed).values.tobytes() == single.values.tobytes()
