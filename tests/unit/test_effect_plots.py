from __future__ import annotations

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh

import whybox as wb
from drawn import inside
from whybox.errors import OptionError


def rows(n=120):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "real $x$": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "word": rng.choice(["a", "a rather long category", "c"], n),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D"),
            "whole": rng.integers(0, 5, n),
        }
    )


def one(frame):
    return frame["real $x$"].fillna(2.0).to_numpy() + frame["whole"].to_numpy() + (frame["word"] == "a").to_numpy()


def two(frame):
    return np.column_stack([one(frame), -one(frame)])


@cache
def effect_of(feature, kind):
    return wb.effects(one, rows(), feature, kind)[0]


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("kind", ["pdp", "ice", "c-ice", "ale", "marginal"])
@pytest.mark.parametrize("feature", ["real $x$", "word", "day", "whole"])
def test_every_kind_of_curve_of_every_kind_of_feature_fits_in_its_figure(kind, feature, style):
    with plt.style.context(style):
        ax = effect_of(feature, kind).plot.curve()
        inside(ax.figure)
    assert ax.get_xlabel().replace("\\", "") == feature


def test_a_curve_draws_its_own_numbers():
    e = wb.effects(one, rows(), "whole")["whole"]
    ax = e.plot.curve()
    assert np.allclose(ax.lines[0].get_ydata(), e.values)
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert np.isclose(band.max(), e.interval[1].max())
    assert np.isclose(band.min(), e.interval[0].min())
    bars = wb.effects(one, rows(), "word")["word"]
    ax = bars.plot.curve()
    assert {round(p.get_y() + p.get_height(), 9) for p in ax.patches[:3]} >= {round(v, 9) for v in bars.values}


def test_an_accumulated_curve_is_broken_where_no_row_tells_how_it_moves():
    X = np.concatenate([np.linspace(-4, -2, 30), np.linspace(2.1, 4, 30)])[:, None]
    grid = {0: [-4.0, -3.0, -2.0, 2.0, 3.0, 4.0]}
    e = wb.effects(lambda rows: 5.0 * rows[:, 0], X, 0, "ale", grid=grid)[0]
    ax = e.plot.curve()
    solid, second, dotted = ax.lines[:3]
    assert solid.get_xdata().tolist() == [-4, -3, -2]
    assert second.get_xdata().tolist() == [2, 3, 4]
    assert dotted.get_xdata().tolist() == [-2, 2]
    assert dotted.get_linestyle() != "-"
    assert np.isfinite(ax.get_ylim()).all()
    inside(ax.figure)


def test_the_missing_value_is_drawn_apart_and_named():
    ax = wb.effects(one, rows(), "real $x$")[0].plot.curve()
    assert ax.get_xticklabels()[0].get_text() == "missing"


def test_points_off_the_data_are_marked():
    X = np.repeat(np.random.default_rng(0).normal(size=(500, 1)), 2, axis=1)
    ax = wb.effects(lambda a: a[:, 0], X, 0)[0].plot.curve()
    assert any("off the data" in t.get_text() for t in ax.texts)


def test_individual_curves_take_the_colour_of_another_feature():
    e = wb.effects(one, rows(), "whole", "ice")[0]
    for other in ("real $x$", "word", "day", 3):
        inside(e.plot.curve(color=other).figure)
    with pytest.raises(OptionError, match="colour by"):
        e.plot.curve(color="wort")


def test_surfaces_are_heatmaps():
    for kind, pair in (
        ("pdp", ("whole", "real $x$")),
        ("pdp", ("word", "whole")),
        ("pdp", ("day", "whole")),
        ("ale", ("day", "whole")),
    ):
        e = wb.effects(one, rows(), [pair], kind)[pair]
        ax = e.plot.curve()
        inside(ax.figure)
        mesh = next(c for c in ax.collections if isinstance(c, QuadMesh))
        assert np.isclose(np.nanmax(mesh.get_array()), e.values.max())


def test_panels_are_the_largest_effects_on_one_scale():
    effects = wb.effects(two, rows())
    panels = effects.plot.grid(max_display=3)
    assert len(panels) == 3
    assert panels[0].get_xlabel().replace("\\", "") == effects.ordered()[0]
    assert len({ax.get_ylim() for ax in panels}) == 1
    inside(panels[0].figure)
    assert len(effects.plot(output="output 0")) == 4


def test_what_is_no_effect_is_refused():
    from sklearn.tree import DecisionTreeRegressor

    X = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.raises(OptionError, match="effects"):
        wb.explain(DecisionTreeRegressor(max_depth=2).fit(X, X[:, 0]), X).plot.curve()
    with pytest.raises(OptionError, match="say which"):
        wb.effects(two, rows(), "whole", "ice")[0].plot.curve()


def test_notebooks_show_points_and_sizes():
    effects = wb.effects(one, rows())
    assert "Partial dependence" in effects._repr_html_()
    assert "missing" in effects["real $x$"]._repr_html_()
    assert "not exact" not in repr(effects[0])


@pytest.mark.parametrize("figure", ["bar", "beeswarm", "waterfall", "heatmap"])
def test_figures_of_attributions_refuse_curves(figure):
    e = wb.effects(one, rows(), "whole")["whole"]
    with pytest.raises(OptionError):
        getattr(e.plot, figure)()
    with pytest.raises(OptionError):
        e.plot.scatter("whole")
    with pytest.raises(OptionError, match="heatmap"):
        wb.interactions(one, rows().iloc[:30]).plot.bar()


def test_curves_go_to_xarray_and_arrow():
    e = wb.effects(one, rows(), "whole")["whole"]
    there = e.to_xarray()
    assert np.array_equal(there["off_data"], e.off_data)
    assert e.to_arrow().column("off_data").to_pylist() == e.off_data.tolist()
    assert len(e.to_frame()) == len(e)


def test_components_say_what_they_are():
    X = np.random.default_rng(0).normal(size=(60, 2))
    found = wb.effects(lambda rows: rows[:, 0] * rows[:, 1], X, [0, (0, 1)], kind="anova")
    assert found[0].plot.curve().get_ylabel() == "added to the mean"
    surface = found["x0", "x1"].plot.curve()
    low, high = surface.collections[0].get_clim()
    assert low == -high  # zero, nothing added, is the middle of the colours
    plt.close("all")
