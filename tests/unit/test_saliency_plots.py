"""Pictures of saliency maps: nothing cut off, nothing clipped in silence, readable on white and on black."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import whybox as wb
from drawn import inside
from networks.small import convolutional
from whybox.errors import OptionError
from whybox.explanation.explanation import as_labels
from whybox.reporting.sections.saliency_maps import _picture_panels
from whybox.reporting.svg import _drawn_svg


@cache
def maps(method="gradient_x_input"):
    """Maps of three pictures, which no figure changes."""
    return maps_with(method)


def maps_with(method="gradient_x_input", **options):
    x = np.random.default_rng(0).normal(size=(3, 3, 9, 12)).astype(np.float32)
    return wb.saliency(
        convolutional(places=(9, 12)), x, 1, method, output_names=["a", "b $x$", "c", "d", "e"], **options
    )


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("percentile", [100, 90])
def test_a_signed_map_has_a_symmetric_scale_that_holds_every_value(style, percentile):
    e = maps()
    with plt.style.context(style):
        ax = e.plot.overlay(2, percentile=percentile)
        inside(ax.figure)
    low, high = ax.images[-1].get_clim()
    assert low == -high
    if percentile == 100:
        assert high == pytest.approx(np.abs(e.values[2]).max())
        assert not ax.get_xlabel()
    else:
        assert "%" in ax.get_xlabel()
        assert f"{(np.abs(e.values[2]) > high).mean():.2%}" in ax.get_xlabel()
    assert np.array_equal(np.asarray(ax.images[-1].get_array()), e.values[2])


def test_over_a_picture_signs_have_two_colours_and_opacity_says_how_large():
    e = maps()
    over = e.plot.overlay(2).images[-1]
    colours = over.get_cmap()(np.linspace(0, 1, 9))[:, :3]
    assert len(np.unique(colours, axis=0)) == 2  # pale colours of small values would look like a part of the picture
    assert np.ptp(colours, axis=1).min() > 0.4
    size = np.abs(e.values[2])
    opacity = np.asarray(over.get_alpha())
    assert (np.diff(opacity.ravel()[np.argsort(size.ravel())]) >= 0).all()
    alone = e.plot.overlay(2, blend=False).images[-1]
    assert np.ptp(alone.get_cmap()(0.5)[:3]) < 0.1


def test_an_unsigned_map_begins_at_zero():
    e = maps("gradient")
    low, high = e.plot.overlay().images[-1].get_clim()
    assert (low, high) == (0, e.values[0].max())


def test_a_picture_without_its_colour_bar():
    e = maps()
    assert len(e.plot.overlay().child_axes) == 1
    assert not e.plot.overlay(bar=False).child_axes


def test_a_map_of_zeros_says_so():
    e = maps()
    ax = replace(e, values=np.zeros_like(e.values)).plot.overlay()
    inside(ax.figure)
    assert "0 everywhere" in ax.get_xlabel()
    assert ax.images[-1].get_clim() == (0, 1)


def test_a_few_places_do_not_hide_the_others():
    e = maps("gradient")
    values = np.full(e.values.shape, 0.1)
    values[:, 4, 4] = 9.0
    ax = replace(e, values=values).plot.overlay()
    assert ax.images[-1].get_clim()[1] < 1
    assert "0.93% of positions are beyond" in ax.get_xlabel()
    assert replace(e, values=values).plot.overlay(percentile=100).images[-1].get_clim()[1] == 9


def test_pictures_side_by_side_do_not_touch():
    names = ["integrated_gradients", "guided_backprop", "expected_gradients", "ablation", "shapley", "gradient"]
    x = np.random.default_rng(0).normal(size=(3, 3, 9, 12)).astype(np.float32)
    found = [maps_with(n, **({"background": x} if n == "expected_gradients" else {})) for n in names]
    axes = found[0].plot.beside(*found[1:], columns=4)
    inside(axes[0].figure)
    boxes = [ax.get_tightbbox() for ax in axes]
    apart = [a.intersection(a, b) for k, a in enumerate(boxes) for b in boxes[k + 1 :]]
    assert all(shared is None or min(shared.width, shared.height) < 1 for shared in apart)


def test_words_of_an_unsigned_map_have_no_colour_of_negative_values():
    e = maps("gradient")
    said = replace(
        e,
        values=np.ones((3, 2)),
        dims=("row", "word"),
        coords={"row": as_labels([0, 1, 2]), "word": as_labels(["a", "b"])},
        extras={},
    )
    assert not any("negative" in t.get_text() for t in said.plot.words().texts)


def test_figures_that_do_not_fit_name_the_one_that_does():
    e = maps()
    coords = {"row": e.coords["row"], "word": as_labels(["a", "b"])}
    with pytest.raises(OptionError, match=r"plot\.words"):
        replace(e, values=np.ones((3, 2)), dims=("row", "word"), coords=coords, extras={}).plot.overlay()


def test_the_picture_below_may_be_given():
    e = maps()
    for image in (np.zeros((30, 40, 3), dtype=np.uint8), np.ones((9, 12)), np.zeros((5, 5, 4))):
        assert len(e.plot.overlay(image=image).images) == 2
    for image in (np.zeros((30, 40, 2)), np.full((9, 12), 7.0), np.array("picture")):
        with pytest.raises(OptionError, match="image"):
            e.plot.overlay(image=image)


def test_side_by_side():
    e, other = maps(), maps("gradient")
    axes = e.plot.beside(other, row=1)
    assert [ax.get_title(loc="left").split("\n")[0] for ax in axes] == ["input", "Gradient x input", "Gradient"]
    inside(axes[0].figure)
    with pytest.raises(OptionError, match="one shape"):
        e.plot.beside(maps("gradient")[:, :4])
    with pytest.raises(OptionError, match="row=0"):
        e.plot.beside(other, 1)


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_words(style):
    e = maps()
    texts = [*["The", "film", "was", "not", "bad", "at", "all", "$5", "and"], "incomprehensibilities" * 3] * 4
    values = np.random.default_rng(1).normal(size=(2, len(texts)))
    values[1, 20:] = np.nan
    said = replace(
        e, values=values, dims=("row", "word"), coords={"row": as_labels([0, 1]), "word": as_labels(list(range(len(texts))))}, std_error=None,
        prediction=np.array([1.0, 2.0]), extras={"word": (("row", "word"), np.array([texts, texts]))},
    )  # fmt: skip
    with plt.style.context(style):
        for row in (0, 1):
            ax = said.plot.words(row)
            inside(ax.figure)
            assert len([t for t in ax.texts if t.get_bbox_patch() is not None]) == (len(texts) if row == 0 else 20)


@pytest.mark.parametrize(
    ("method", "style"),
    [("gradient", "default"), ("gradient_x_input", "default"), ("gradient_x_input", "dark_background")],
)
def test_series_are_drawn_along_their_time(style, method):
    from networks.small import Formula
    from whybox.plots.saliency_series import LINE_COLOUR, panel, tracks

    x = np.random.default_rng(0).normal(size=(2, 3, 40)).astype(np.float32)
    net = Formula(lambda a: (a**3).sum((1, 2)))
    along = wb.saliency(net, x, None, method, channel_axis=1)
    each = wb.saliency(net, x, None, method)
    with plt.style.context(style):
        ax = along.plot.track(1)
        inside(ax.figure)
        assert len(ax.lines) == 3  # the channels
        assert {line.get_color() for line in ax.lines} == {LINE_COLOUR}
        assert all(len(line.get_xdata()) == 40 for line in ax.lines)
        low, high = ax.images[0].get_clim()
        assert low == (-high if method == "gradient_x_input" else 0)
        shown = np.asarray(ax.images[0].get_array())
        assert np.array_equal(shown[0], along.values[1])
        assert (
            np.asarray(ax.images[0].cmap(0.5 if low else 0.0))[:3].min() > 0.9
        )  # light where the map is 0, so the line is seen
        other = panel(each, 1)
        inside(other.figure)
        assert np.array_equal(np.asarray(other.images[0].get_array()), each.values[1].T)
        inside(tracks([along, along], 0).figure)
    with pytest.raises(OptionError, match=r"plot\.track"):
        along.plot.overlay()
    with pytest.raises(OptionError, match="time"):
        maps().plot.track()


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_one_row_of_a_table_is_drawn_as_bars_to_both_sides(style):
    import pandas as pd

    from networks.small import Formula
    from whybox.plots.saliency_series import row_bars

    names = [f"a feature with a name that is long, number {i}" for i in range(20)]
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(3, 20)).astype(np.float32), columns=names)
    e = wb.saliency(Formula(lambda a: (a**3).sum(1)), X, None, "gradient_x_input")
    with plt.style.context(style):
        for row in (0, 2):
            ax = row_bars(e, row)
            inside(ax.figure)
            drawn = [bar.get_width() for bar in ax.patches]
            assert np.allclose(drawn, sorted(e.values[row], key=abs)[:-13:-1])
            assert "8 smaller ones not shown" in ax.get_xlabel()
    zero = replace(e, values=np.zeros_like(e.values))
    inside(row_bars(zero).figure)
    with pytest.raises(OptionError, match="features"):
        row_bars(maps())


def test_long_names_do_not_reach_into_the_next_picture():
    x = np.random.default_rng(0).normal(size=(2, 3, 9, 12)).astype(np.float32)
    names = [f"a rather long name of class {i}" for i in range(5)]
    found = [wb.saliency(convolutional(places=(9, 12)), x, 1, m, output_names=names) for m in ("gradient", "deeplift")]
    from whybox.plots.saliency_image import beside

    figure = beside(*found, width=2.4)[0].figure
    inside(figure)


def test_tints_of_words_leave_the_ink_of_either_page_readable():
    from whybox.plots.saliency_image import word_colors

    e = maps()
    values = np.array([[-1.0, 0.0, 1.0, np.nan]])
    coords = {"row": as_labels([0]), "word": as_labels(list("abcd"))}
    e = replace(e, values=values, dims=("row", "word"), coords=coords, extras={}, prediction=None)
    for paper, ink in (((255, 255, 255), (0x1B, 0x1F, 0x24)), ((0x14, 0x17, 0x1B), (0xE6, 0xE9, 0xEE))):
        for tint in word_colors(e[0]):
            *colour, alpha = map(float, tint[5:-1].split(","))
            ground = [alpha * c + (1 - alpha) * p for c, p in zip(colour, paper, strict=True)]
            assert contrast(ground, ink) > 4
    assert word_colors(e[0])[1].endswith(", 0.000)")


def contrast(a, b):
    """Of two colours, as the web's guidelines count it."""

    def light(colour):
        c = np.asarray(colour) / 255
        return np.where(c <= 0.03928, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    low, high = sorted((light(a), light(b)))
    return (high + 0.05) / (low + 0.05)


def test_figures_refuse_what_they_cannot_draw():
    e = maps()
    with pytest.raises(OptionError, match="rows"):
        e.plot.overlay(3)
    with pytest.raises(OptionError, match="percentile"):
        e.plot.overlay(percentile=20)
    with pytest.raises(OptionError, match="token"):
        e.plot.words()
    with pytest.raises(OptionError, match="channel"):
        maps_with(reduce=None).plot.overlay()
    for figure in ("waterfall", "beeswarm", "curve", "heatmap"):
        with pytest.raises(OptionError):
            getattr(e.plot, figure)()


def test_figures_of_tables_say_what_draws_a_map_of_something_else():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(15, 1)).eval()
    series = wb.saliency(net, np.ones((3, 5, 3), dtype=np.float32))
    assert series.dims == ("row", "time", "feature")
    for figure in ("bar", "beeswarm", "heatmap", "waterfall"):
        with pytest.raises(OptionError, match=r"plot\.track"):
            getattr(series.plot, figure)()
        with pytest.raises(OptionError, match=r"plot\.overlay"):
            getattr(maps().plot, figure)()
    table = wb.saliency(torch.nn.Linear(4, 1).eval(), np.ones((3, 4), dtype=np.float32))
    with pytest.raises(OptionError, match=r"plot\.bar"):
        table[0].plot.waterfall()


def test_labels_of_colour_bars_lie_inside_the_panels_of_a_report():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1)).eval()
    e = wb.saliency(net, np.random.default_rng(0).random((1, 1, 8, 8)).astype(np.float32))
    for most in (1.0, 1.9, 0.15):  # the ticks of the colour bar have more digits or fewer
        scaled = replace(e, values=e.values / np.abs(e.values).max() * most)
        svg = _drawn_svg(lambda scaled=scaled: _picture_panels([scaled], 0)[1](), "", 100)
        width = float(re.search(r'width="([\d.]+)pt"', svg)[1])
        at = float(re.search(r'x="([\d.]+)"[^>]*>score per unit of input', svg)[1])
        assert at < width - 1  # the line that letters stand on, from below: tails of letters reach over it


@pytest.mark.parametrize("side", [8, 25])
@pytest.mark.parametrize("most", [1.0, 0.015])
def test_the_label_of_the_colour_bar_of_a_map_of_its_own_is_not_cut_off(side, most):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(side * side, 1)).eval()
    e = wb.saliency(
        net, np.random.default_rng(0).random((1, 1, side, side)).astype(np.float32), method="gradient_x_input"
    )
    figure = replace(e, values=e.values / np.abs(e.values).max() * most).plot.overlay(0).figure
    figure.canvas.draw()
    label = figure.axes[0].child_axes[0].yaxis.label.get_window_extent()
    assert label.x1 <= figure.bbox.x1
    plt.close(figure)
