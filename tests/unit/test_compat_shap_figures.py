"""Figures of whybox.compat.shap: what is drawn, which looks are set and which are refused."""

from __future__ import annotations

import numpy as np
import pytest

from compat_models import BOOSTED, FLOWERS, KIND, OF_THREE, X
from whybox.compat import shap
from whybox.errors import InputError, OptionError


@pytest.fixture(scope="module")
def explained():
    return shap.TreeExplainer(BOOSTED)(X.iloc[:40])


@pytest.fixture(scope="module")
def of_three():
    return shap.TreeExplainer(OF_THREE["forest"].fit(FLOWERS, KIND))(FLOWERS.iloc[::5])


def test_figures_draw_what_shap_draws(explained, of_three, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda self, figure: None)
    labels = lambda ax: [t.get_text() for t in ax.get_yticklabels()]
    ax = shap.plots.bar(explained, max_display=3, show=False)
    assert labels(ax)[0].startswith(explained[:, explained.abs.mean(0).argsort[-1]].feature_names[:10])
    reduced = shap.plots.bar(explained.abs.max(0), show=False)
    assert reduced.get_title() == "Values: size, largest over rows"
    assert reduced.get_xlabel() == "size (log-odds)"
    assert shap.plots.bar(explained[0], show=False).get_title() == "Sizes of the values of one row"
    assert len(shap.plots.bar(of_three, show=False).containers) == 3
    values = explained.values
    ax = shap.force_plot(0.25, values[0], X.iloc[0], link="logit", show=False)
    assert any("25" in t.get_text() or "%" in t.get_text() for t in ax.get_figure().findobj(plt.Text))
    strings = X.iloc[:40].map(lambda cell: f"<{cell:.0f}>")
    ax = shap.dependence_plot(
        "rank(0)", values, X.iloc[:40], display_features=strings, interaction_index=None, show=False
    )
    assert ax.get_xlabel()
    scatter = shap.plots.scatter(explained[:, 2], color=explained[:, 1], show=False)
    assert scatter.get_xlabel().startswith(X.columns[2][:10])
    pairs = shap.summary_plot(shap.TreeExplainer(BOOSTED).shap_interaction_values(X.iloc[:9]), X.iloc[:9], show=False)
    assert pairs.images
    stacked = shap.summary_plot(
        list(np.moveaxis(of_three.values, 2, 0)), FLOWERS.iloc[::5], class_names=list("abc"), show=False
    )
    assert [t.get_text() for t in stacked.get_legend().get_texts()] == ["a", "b", "c"]
    one_output = shap.summary_plot(values, feature_names=list("abcdef"), show=False)
    assert sorted(labels(one_output)) == list("abcdef")
    sized = shap.plots.scatter(explained[:, 2], ymin=-3, ymax=3.5, ylabel="value", alpha=1.0, show=False)
    assert (*sized.get_ylim(), sized.get_ylabel()) == (-3, 3.5, "value")
    wide = shap.summary_plot(values, X.iloc[:40], plot_size=(9, 3), show=False)
    assert tuple(wide.get_figure().get_size_inches()) == (9, 3)
    for call, word in (
        (lambda: shap.plots.beeswarm(explained, color_bar=False), "beeswarm: color_bar=False"),
        (lambda: shap.plots.scatter(explained[:, 2], xmin="percentile(1)"), "scatter: xmin"),
        (lambda: shap.decision_plot(0.0, values[0], highlight=[0]), "decision: highlight"),
        (lambda: shap.force_plot(0.0, values[0], contribution_threshold=0.2), "force: contribution_threshold=0.2"),
    ):
        with pytest.raises(OptionError, match=word):
            call()
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(1))
    assert shap.plots.waterfall(explained[0]) is None
    assert shown == [1]
    plt.close("all")


def test_programs_change_figures_as_they_change_those_of_shap(explained):
    import matplotlib.pyplot as plt

    shap.summary_plot(explained.values, X.iloc[:40], show=False)  # with a colour bar
    plt.title("of one hospital")
    plt.tight_layout()  # alone, matplotlib refuses to lay out a colour bar anew
    ax = plt.gca()
    assert [ax.get_title(loc=where) for where in ("left", "center", "right")] == ["", "of one hospital", ""]
    ax.figure.draw_without_rendering()
    ax.figure.canvas.get_renderer()
    assert min(t.get_window_extent().x0 for t in ax.get_yticklabels()) >= 0  # no label is cut
    _, mine = plt.subplots(1, 2)
    shap.dependence_plot(0, explained.values, X.iloc[:40], ax=mine[0], show=False)
    plt.tight_layout()  # of a figure of the program's own it is the program's
    assert mine[0].figure.tight_layout.__name__ == "tight_layout"
    shap.dependence_plot(0, explained.values, X.iloc[:40], interaction_index=1, ax=mine[1], show=False)
    note = next(t for t in mine[1].texts if "blue low" in t.get_text())
    title = next(t for t in mine[1].get_children() if getattr(t, "get_text", str)() == mine[1].get_title(loc="left"))
    mine[1].figure.draw_without_rendering()
    assert note.get_window_extent().y1 <= title.get_window_extent().y0  # they stand on lines of their own
    plt.close("all")


def test_figures_are_drawn_where_the_program_made_room(explained):
    import matplotlib.pyplot as plt

    plt.close("all")
    figure = plt.figure(figsize=(9, 4))
    shap.summary_plot(explained.values, X.iloc[:40], show=False)
    assert plt.get_fignums() == [figure.number]
    assert len(figure.axes) == 2  # with the colour bar
    assert tuple(figure.get_size_inches()) == (9, 4)
    shap.plots.bar(explained, show=False)  # the figure is full: another one
    assert len(plt.get_fignums()) == 2
    plt.close("all")
    left = plt.subplot(1, 2, 1)
    shap.plots.bar(explained, show=False)
    right = plt.subplot(1, 2, 2)
    assert shap.plots.waterfall(explained[0], show=False) is right
    assert left.patches
    plt.tight_layout()
    assert len(plt.get_fignums()) == 1
    plt.close("all")


def test_the_older_waterfall_and_private_names(explained):
    e = explained[0]
    ax = shap.plots._waterfall.waterfall_legacy(e.base_values, e.values, X.iloc[0], max_display=4, show=False)
    same = shap.plots.waterfall(e, max_display=4, show=False)
    labels = lambda axes: [t.get_text() for t in axes.get_yticklabels()]
    assert labels(ax) == labels(same)
    for call, word in (
        (lambda: shap.plots.colors.red_blue, "colours of their own"),
        (lambda: shap.utils.approximate_interactions(0, explained.values, X), "shap_interaction_values"),
        (lambda: shap.utils.potential_interactions(explained[:, 0], explained), "shap_interaction_values"),
    ):
        with pytest.raises(OptionError, match=word):
            call()


def test_pictures_with_a_map_for_each_output(monkeypatch):
    import matplotlib.pyplot as plt

    draw = np.random.default_rng(0)
    values, pictures = draw.normal(size=(2, 6, 5, 3, 4)), draw.random((2, 6, 5, 3))
    axes = shap.image_plot(values, pictures, labels=["a", "b", "c", "d"], true_labels=[7, 8], show=False)
    assert axes.shape == (2, 5)
    assert np.allclose(axes[1, 3].images[-1].get_array(), values[1, ..., 2].sum(axis=-1))
    limit = np.percentile(np.abs(values[1].sum(axis=2)), 99.9)
    assert axes[1, 1].images[-1].get_clim() == pytest.approx((-limit, limit))
    assert [ax.get_title() for ax in axes[0]] == ["7", "a", "b", "c", "d"]
    assert np.allclose(axes[0, 0].images[0].get_array(), pictures[0])
    lists = shap.plots.image([values[..., 0], values[..., 1]], 255 * pictures, width=4, vmax=2.0, show=False)
    assert lists.shape == (2, 3)
    assert lists[0, 0].figure.get_size_inches()[0] == pytest.approx(4)
    assert lists[0, 1].images[-1].get_clim() == (-2, 2)
    grey = shap.image_plot(values[..., :1, 0], -pictures[..., :1], labels=[["one"], ["two"]], show=False)
    assert grey.shape == (2, 2)
    assert grey[1, 1].get_title() == "two"
    monkeypatch.setattr(plt, "show", lambda: None)
    assert shap.image_plot(values, pictures) is None
    with pytest.raises(InputError, match="moveaxis"):
        shap.image_plot(np.moveaxis(values, 3, 1), pictures)
    with pytest.raises(InputError, match="pixel_values"):
        shap.image_plot(values)
    with pytest.raises(InputError, match="labels"):
        shap.image_plot(values, pictures, labels=["a"])
    with pytest.raises(OptionError, match="cmap"):
        shap.image_plot(values, pictures, cmap="jet")
