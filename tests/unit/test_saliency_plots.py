"""Pictures of saliency maps: nothing cut off, nothing clipped in silence, readable on white and on black."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

import whybox as wb
from drawn import inside
from networks.small import convolutional
from whybox.errors import OptionError
from whybox.explanation.explanation import labels


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def maps(method="gradient_x_input", **options):
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


def test_an_unsigned_map_begins_at_zero():
    e = maps("gradient")
    low, high = e.plot.overlay().images[-1].get_clim()
    assert (low, high) == (0, e.values[0].max())


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
    assert "0.93% of places are beyond" in ax.get_xlabel()
    assert replace(e, values=values).plot.overlay(percentile=100).images[-1].get_clim()[1] == 9


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_pictures_side_by_side_do_not_touch(style):
    names = ["integrated_gradients", "guided_backprop", "expected_gradients", "ablation", "shapley", "gradient"]
    x = np.random.default_rng(0).normal(size=(3, 3, 9, 12)).astype(np.float32)
    found = [maps(n, **({"background": x} if n == "expected_gradients" else {})) for n in names]
    with plt.style.context(style):
        axes = found[0].plot.beside(*found[1:], columns=4)
        figure = axes[0].figure
        inside(figure)
        boxes = [ax.get_tightbbox() for ax in axes]
    apart = [a.intersection(a, b) for k, a in enumerate(boxes) for b in boxes[k + 1 :]]
    assert all(shared is None or min(shared.width, shared.height) < 1 for shared in apart)


def test_words_of_an_unsigned_map_speak_neither_for_nor_against():
    e = maps("gradient")
    said = replace(
        e,
        values=np.ones((3, 2)),
        dims=("row", "word"),
        coords={"row": labels([0, 1, 2]), "word": labels(["a", "b"])},
        extras={},
    )
    assert not any("against" in t.get_text() for t in said.plot.words().texts)


def test_figures_that_do_not_fit_name_the_one_that_does():
    e = maps()
    coords = {"row": e.coords["row"], "word": labels(["a", "b"])}
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


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_words(style):
    e = maps()
    texts = [*["The", "film", "was", "not", "bad", "at", "all", "$5", "and"], "incomprehensibilities" * 3] * 4
    values = np.random.default_rng(1).normal(size=(2, len(texts)))
    values[1, 20:] = np.nan
    said = replace(
        e, values=values, dims=("row", "word"), coords={"row": labels([0, 1]), "word": labels(list(range(len(texts))))}, std_error=None,
        prediction=np.array([1.0, 2.0]), extras={"word": (("row", "word"), np.array([texts, texts]))},
    )  # fmt: skip
    with plt.style.context(style):
        for row in (0, 1):
            ax = said.plot.words(row)
            inside(ax.figure)
            assert len([t for t in ax.texts if t.get_bbox_patch() is not None]) == (len(texts) if row == 0 else 20)


def test_figures_refuse_what_they_cannot_draw():
    e = maps()
    with pytest.raises(OptionError, match="rows"):
        e.plot.overlay(3)
    with pytest.raises(OptionError, match="percentile"):
        e.plot.overlay(percentile=20)
    with pytest.raises(OptionError, match="token"):
        e.plot.words()
    with pytest.raises(OptionError, match="channel"):
        maps(reduce=None).plot.overlay()
    for figure in ("waterfall", "beeswarm", "curve", "heatmap"):
        with pytest.raises(OptionError):
            getattr(e.plot, figure)()
