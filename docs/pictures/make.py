"""Draws the pictures of README.md and docs/book.md: `python docs/pictures/make.py`, with the package lime installed for one of them.

The code blocks of docs/book.md are run first; the pictures are of their results. Backgrounds are white, so that the pictures can be read on light and dark pages.
"""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

os.environ |= {"KERAS_BACKEND": "torch", "MPLBACKEND": "agg"}
import matplotlib.pyplot as plt
import numpy as np

HERE = Path(__file__).parent
INK, OLD, GREY = "#222222", "#d1495b", "#8a8a8a"


def run_page(page: Path) -> dict[str, Any]:
    """The names that the Python blocks of a page leave behind."""
    names: dict[str, Any] = {}
    place = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            exec(compile(block, str(page), "exec"), names)  # noqa: S102  # our own page
            plt.close("all")
        os.chdir(place)
    return names


def save(figure: Any, name: str, width: float) -> None:
    """Write a picture of few colours."""
    from PIL import Image

    path = HERE / f"{name}.png"
    figure.savefig(path, dpi=900 / width, facecolor="white")
    plt.close(figure)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(128).save(path, optimize=True)


def two_axes(width: float = 9.6, height: float = 3.6, **options: Any) -> tuple[Any, Any]:
    """A figure with two axes side by side."""
    return plt.subplots(1, 2, figsize=(width, height), layout="constrained", **options)


def importance(n: dict[str, Any]) -> None:
    """Impurity in training, beside permutation importance with intervals."""
    figure, (left, right) = two_axes()
    shares, columns = n["model"].feature_importances_, np.asarray(n["frame"].columns)
    order = np.argsort(shares)
    left.barh(columns[order], shares[order], color=[OLD if c == "dice" else GREY for c in columns[order]])
    left.set_title("the book: feature_importances_", loc="left")
    left.set_xlabel("share of the impurity decrease in training")
    left.spines[["top", "right"]].set_visible(False)
    n["importance"].plot.dots(ax=right, title="wb.importance: loss without the feature")
    save(figure, "book_importance", 9.6)


def dependence(n: dict[str, Any]) -> None:
    """The curve of scikit-learn's kind, beside that of whybox."""
    figure, (left, right) = two_axes()
    curve = n["curve"]
    left.plot(np.asarray(curve.grid, dtype=float), curve.values, color=GREY)
    left.set_title("the book: plot_partial_dependence", loc="left")
    left.set_xlabel("bmi")
    left.set_ylabel("partial dependence")
    left.spines[["top", "right"]].set_visible(False)
    curve.plot.curve(ax=right, title="wb.effects")
    save(figure, "book_dependence", 9.6)


def local(n: dict[str, Any]) -> None:
    """Weights of the package lime from ten seeds, beside those of whybox."""
    from lime.lime_tabular import LimeTabularExplainer

    columns, exact = list(n["frame"].columns), n["exp"].as_map()[1][:8]
    height = {feature: len(exact) - k for k, (feature, _) in enumerate(exact)}
    figure, ax = plt.subplots(figsize=(9.6, 3.4), layout="constrained")
    for seed in range(10):
        np.random.seed(seed)  # noqa: NPY002  # lime draws from it
        explainer = LimeTabularExplainer(n["X"], training_labels=n["y"], mode="classification")
        found = explainer.explain_instance(n["X_test"][0], n["model"].predict_proba, num_features=11).as_map()[1]
        drawn = [(weight, height[feature]) for feature, weight in found if feature in height]
        ax.plot(*zip(*drawn, strict=True), "|", color=OLD, ms=11, label=None if seed else "lime, ten seeds")
    ax.plot([w for _, w in exact], list(height.values()), "o", color=INK, ms=4, label="whybox, exact")
    ax.set_yticks(list(height.values()), [columns[feature] for feature in height])
    ax.axvline(0, color=GREY, lw=0.6)
    ax.set_xlabel("weight of the feature's condition for one row")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="lower right")
    save(figure, "book_lime", 9.6)


def shapley(n: dict[str, Any]) -> None:
    """A beeswarm and a waterfall."""
    import whybox as wb

    e = wb.explain(n["named"], n["test"])
    figure, (left, right) = two_axes(height=4.2)
    e.plot.beeswarm(ax=left, max_display=8, title="e.plot.beeswarm()")
    e[0].plot.waterfall(ax=right, max_display=8, title="e[0].plot.waterfall()")
    save(figure, "book_shap", 9.6)


def gradient(n: dict[str, Any]) -> None:
    """A digit, the book's gradient, and integrated gradients."""
    import whybox as wb

    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.0), layout="constrained")
    axes[0].imshow(n["pictures"][2, 0], cmap="gray_r")
    axes[0].set_title("the picture", loc="left")
    axes[0].set_axis_off()
    wb.saliency(n["net"], n["pictures"]).plot.overlay(2, ax=axes[1], title="the book: max |gradient|")
    n["added_up"].plot.overlay(2, ax=axes[2], title="integrated gradients")
    save(figure, "book_gradient", 9.6)


def readme(_: dict[str, Any]) -> None:
    """What whybox does, in one picture: why one prediction, all of them, what matters, how it moves; with how sure that is."""
    from sklearn.datasets import load_diabetes
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.model_selection import train_test_split

    import whybox as wb

    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    train, test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
    model = GradientBoostingRegressor(max_depth=2, random_state=0).fit(train, y_train)
    e = wb.explain(model, test)
    curve, pairs = wb.effects(model, test)["bmi"], wb.importance(model, test, y_test, role="held-out")
    figure = plt.figure(figsize=(10.8, 6.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(1.1, 1))
    places = [figure.add_subplot(grid[k]) for k in range(4)]
    e[0].plot.waterfall(ax=places[0], max_display=7, title="wb.explain: why this prediction?")
    e.plot.beeswarm(ax=places[1], max_display=7, title="wb.explain: what moves all of them?")
    pairs.plot.dots(ax=places[2], max_display=7, title="wb.importance: what matters?")
    curve.plot.curve(ax=places[3], title="wb.effects: which way?")
    save(figure, "readme", 10.8)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = run_page(HERE.parent / "book.md")
    for draw in (importance, dependence, local, shapley, gradient, readme):
        draw(found)
