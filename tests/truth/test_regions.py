from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

import whybox as wb
import zoo
from whybox.errors import OptionError
from whybox.methods.effects import region_search


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


def test_a_booster_that_was_fitted_to_noise_is_not_split():
    """Its curves disagree, a little by every feature: a tenth of the heterogeneity is always found, and says nothing."""
    found = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(400, 5)), rng.normal(size=400)
        found += len(wb.regions(HistGradientBoostingRegressor(max_iter=60, random_state=0).fit(X, y), X, 0)) > 1
    assert found <= 1  # benchmarks/regions.md has the rate over many seeds


def test_a_split_that_rows_held_out_do_not_confirm_is_not_made():
    """Each row has a slope of its own, drawn at random, and 40 other columns: in few rows, some condition always seems to explain them."""
    splits = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = np.column_stack([rng.uniform(-1, 1, 44), rng.normal(size=(44, 40))])
        slope = dict(zip(X[:, 1], rng.normal(size=44), strict=True))
        splits += len(wb.regions(lambda Z, of=slope: Z[:, 0] * [of[z] for z in Z[:, 1]], X, 0, depth=1)) > 1
    assert splits == 0


def test_two_features_that_decide_only_together_are_found():
    """Exclusive or: neither alone changes the effect."""
    X = np.random.default_rng(0).normal(size=(400, 4))
    parts = wb.regions(lambda Z: Z[:, 0] * np.sign(Z[:, 2] * Z[:, 3]), X, 0)
    assert len(parts) == 5
    assert all("x2" in name and "x3" in name for name in list(parts)[1:])
    left = [float(e.extras["heterogeneity"][1]) for e in parts.values()]
    assert max(left[1:]) < 0.5 * left[0]
    assert len(wb.regions(lambda Z: Z[:, 0] * np.sign(Z[:, 2] * Z[:, 3]), X, 0, depth=1)) == 1


def test_two_features_are_found_in_a_booster_that_learnt_them():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(600, 4))
    y = X[:, 0] * np.sign(X[:, 2] * X[:, 3]) + 0.3 * rng.normal(size=600)
    parts = wb.regions(HistGradientBoostingRegressor(random_state=0).fit(X, y), X, 0)
    assert len(parts) == 5
    assert all("x2" in name and "x3" in name for name in list(parts)[1:])


def test_a_split_that_shows_beside_a_large_effect_is_found():
    """The slope is 3 or 5: a twentieth of the curves' spread, and all of their disagreement."""
    X = np.random.default_rng(0).normal(size=(300, 3))
    assert len(wb.regions(lambda Z: (3 + 2 * (Z[:, 1] > 0)) * Z[:, 0], X, 0, depth=1)) == 3


def test_columns_whose_pairs_were_not_looked_at_are_named(monkeypatch):
    monkeypatch.setattr(region_search, "MAX_PAIR_COLUMNS", 3)
    X = np.random.default_rng(0).normal(size=(300, 6))
    parts = wb.regions(lambda Z: Z[:, 0] * np.sign(Z[:, 4] * Z[:, 5]), X, 0)
    assert list(parts) == ["all rows"]
    assert any("first 3 of 5 columns" in note for note in parts[0].evidence.notes)


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
