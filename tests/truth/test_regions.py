from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import whybox as wb
import zoo
from whybox.errors import OptionError


def rows(n=600):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "x": rng.uniform(-1, 1, n),
            "z": rng.normal(size=n),
            "word": rng.choice(["a", "b", "c"], n),
            "other": rng.normal(size=n),
        }
    )


def turned(frame):
    """x acts upwards where z is positive, downwards elsewhere; among c it does nothing."""
    sign = np.where(frame["z"] > 0, 3.0, -3.0) * (frame["word"] != "c")
    return frame["x"].to_numpy() * sign + frame["other"].to_numpy() ** 2


def test_rows_are_split_where_the_curves_disagree_and_agree_inside():
    X = rows()
    parts = wb.regions(turned, X, "x")
    names = list(parts)
    assert names[0] == "all rows"
    assert any("z" in n and "word" in n for n in names)
    heterogeneity = [float(e.extras["heterogeneity"][1]) for e in parts.values()]
    assert heterogeneity[0] > 1.0
    share = [float(e.extras["region_share"][1]) for e in parts.values()][1:]
    assert np.isclose(sum(share), 1.0)
    left = np.sqrt(np.dot(share, np.square(heterogeneity[1:])))
    assert left < 0.4 * heterogeneity[0]
    frame = parts.to_frame(library="pandas")
    assert set(frame["region"]) == set(names)


def test_each_curve_is_the_partial_dependence_of_its_rows():
    X = rows()
    X.loc[::9, "z"] = np.nan
    parts = wb.regions(lambda f: f["x"].to_numpy() * np.where(f["z"] > 0, 3.0, -3.0), X, "x", depth=1)
    assert len(parts) == 3
    name = next(n for n in parts if ">" in n)
    assert name.endswith("or missing")
    edge = float(name.split("> ")[1].split(" ")[0])
    inside = X[(X["z"] > edge) | X["z"].isna()]
    e = parts[name]
    again = wb.effects(lambda f: f["x"].to_numpy() * np.where(f["z"] > 0, 3.0, -3.0), inside, "x", grid={"x": e.grid})[
        "x"
    ]
    assert e.evidence.rows == len(inside)
    assert np.allclose(e.values, again.values)
    assert np.allclose(e.std_error, again.std_error)
    assert np.allclose(e.at([0.25]), again.at([0.25]))


def test_heterogeneity_is_zero_where_curves_agree():
    """Inside regions that act alike, and over all rows: not the root of what cancelled."""
    parts = wb.regions(lambda f: 1e3 * f["x"].to_numpy() * np.where(f["word"] == "a", 3.0, -3.0), rows(), "x", depth=1)
    assert len(parts) == 3
    first, *others = (float(e.extras["heterogeneity"][1]) for e in parts.values())
    assert first > 1e3
    assert max(others) < 1e-10
    (whole,) = wb.regions(lambda f: 1e3 * f["x"] + f["z"], rows(), "x").values()
    assert float(whole.extras["heterogeneity"][1]) < 1e-10


def test_nothing_is_split_where_curves_agree():
    assert list(wb.regions(lambda f: f["x"] + f["z"], rows(), "x")) == ["all rows"]


def test_regions_of_a_tree_ensemble_of_several_outputs_are_drawn_and_kept(tmp_path):
    model, X = zoo.built("RandomForestClassifier, 3 classes, sample weights")
    parts = wb.regions(model, X, "bmi")
    assert parts[0].dims == ("point", "output")
    panels = parts.plot()
    assert panels[0].get_title(loc="left") or panels[-1].get_title(loc="left")
    plt.close("all")
    parts.save(tmp_path / "r.whybox")
    assert list(wb.load(tmp_path / "r.whybox")) == list(parts)


def test_bad_questions_are_refused():
    for more, words in (({"depth": 0}, "depth"), ({"depth": True}, "depth")):
        with pytest.raises(OptionError, match=words):
            wb.regions(turned, rows(), "x", **more)
    with pytest.raises(OptionError, match="one feature"):
        wb.regions(turned, rows(), ("x", "z"))
