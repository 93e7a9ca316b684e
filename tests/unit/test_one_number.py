"""One number picked out of an explanation, and explanations as arrays."""

from __future__ import annotations

import numpy as np
import pytest

import whybox as wb
import zoo
from whybox.errors import OptionError


@pytest.fixture(scope="module")
def forest():
    model, rows = zoo.built("RandomForestRegressor")
    return model, rows[:12].set_axis([f"patient {i}" for i in range(12)])


@pytest.fixture(scope="module")
def picked(forest):
    """(name, one number, what it is), for every kind of explanation."""
    model, rows = forest
    e = wb.explain(model, rows)
    several = wb.explain(*zoo.built("LGBMClassifier, multiclass"))
    pairs = wb.explain(model, rows, order=2)
    importance = wb.importance(model, rows)
    sizes = wb.interactions(model, rows)
    ice = wb.effects(model, rows, ["bmi"], "ice", grid=4)["bmi"]
    surface = wb.effects(model, rows, [("age", "bmi")], grid=3)["age", "bmi"]
    bmi = e.feature_names.index("bmi")
    return [
        ("attribution", e[0, "bmi"], e.values[0, bmi]),
        ("by labels", e.sel(row="patient 1", feature="bmi"), e.values[1, bmi]),
        ("of one output", several[3, "bmi", "1"], several.values[3, bmi, 1]),
        ("interaction", pairs[2, "age", "bmi"], pairs.values[2, 0, bmi]),
        ("importance", importance["bmi"], np.abs(e.values).mean(axis=0)[bmi]),
        ("size of an interaction", sizes["age", "bmi"], sizes.values[0, bmi]),
        ("effect", ice[3, 1], ice.values[3, 1]),
        ("surface", surface[0, 2], surface.values[0, 2]),
    ]


def test_one_number_keeps_what_it_is(picked, tmp_path):
    for name, one, value in picked:
        assert one.dims == (), name
        assert one.shape == (), name
        assert float(one) == pytest.approx(value, rel=1e-12), name
        assert np.asarray(one) == one.values, name
        assert not one.values.flags.writeable
        assert f"{value:.6g}" in repr(one), name
        assert "one number" in one._repr_html_(), name
        assert float(one) in one.to_frame(library="pandas").iloc[0].tolist(), name
        assert one.to_arrow().num_rows == 1
        assert float(one.to_xarray()["values"]) == float(one)
        one.save(tmp_path / "one.whybox")
        back = wb.load(tmp_path / "one.whybox")
        assert back.dims == ()
        assert float(back) == float(one), name
        with pytest.raises(TypeError, match="no axis"):
            len(one)
        with pytest.raises(TypeError, match="no axis"):
            list(one)


def test_the_numbers_of_a_row_add_up_to_the_models_own_prediction(forest):
    model, rows = forest
    e = wb.explain(model, rows)
    total = float(e.base) + sum(float(e[4, name]) for name in e.feature_names)
    assert total == pytest.approx(model.predict(rows)[4], rel=1e-9)


def test_several_numbers_are_no_float(forest):
    e = wb.explain(*forest)
    with pytest.raises(TypeError, match="60 numbers"):
        float(e)
    assert float(e[:1, ["bmi"]]) == e.values[0, 2]


def test_as_an_array(forest):
    e = wb.explain(*forest)
    array = np.asarray(e)
    assert array.shape == e.shape
    assert array.tobytes() == e.values.tobytes()
    assert not array.flags.writeable
    copied = np.array(e)
    copied[0, 0] = 0  # a copy is the caller's own
    assert e.values[0, 0] != 0
    assert np.asarray(e, dtype=np.float32).dtype == np.float32
    assert np.abs(e).max() == np.abs(e.values).max()
    with pytest.raises(ValueError, match="have to be copied"):
        e.__array__(np.float32, copy=False)


@pytest.mark.parametrize("figure", ["bar", "beeswarm", "waterfall", "heatmap", "curve", "overlay", "track", "words"])
def test_figures_say_what_they_need(picked, figure):
    for _, one, _ in picked:
        with pytest.raises(OptionError):
            getattr(one.plot, figure)()


def test_a_curve_that_lost_its_points_is_not_drawn(forest):
    surface = wb.effects(*forest, [("age", "bmi")], grid=3)["age", "bmi"]
    with pytest.raises(OptionError, match="one of them was picked"):
        surface[0].plot.curve()
    assert "<table" in surface[0]._repr_html_()
