"""What figures and notebooks show of numbers, dates, categories and pictures."""

import datetime as dt
import re

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression

import whybox as wb
from whybox.cli.main import main
from whybox.errors import OptionError
from whybox.explanation.axis_points import MAX_CATEGORIES, TOP_CATEGORIES, with_common_categories
from whybox.explanation.feature_values import cell_text
from whybox.plots.style import minus_signs

MINUS = "\N{MINUS SIGN}"


def many_categories(n=300, missing=False):
    rng = np.random.default_rng(0)
    shop = np.minimum(rng.zipf(1.3, n) - 1, 99)
    X = pd.DataFrame(
        {
            "shop": pd.Categorical([f"shop {i:02d}" for i in shop], [f"shop {i:02d}" for i in range(100)]),
            "x": rng.normal(size=n),
        }
    )
    if missing:
        X.loc[::7, "shop"] = np.nan
    return X


def predict(rows):
    codes = pd.DataFrame(rows)["shop"].astype(str).str.extract(r"(\d+)")[0].astype(float).fillna(-3.0)
    return np.sin(codes.to_numpy()) + pd.DataFrame(rows)["x"].to_numpy(float)


@pytest.mark.parametrize("missing", [False, True])
def test_the_commonest_of_many_categories_have_a_place_and_the_others_one(missing):
    X = many_categories(missing=missing)
    effects = wb.effects(predict, X, ["shop"], "pdp", max_evals=100_000_000)
    e = effects["shop"]
    short = with_common_categories(e)
    known = [v for v in e.coords["point"] if v is not None and v == v]  # NaN
    share = X["shop"].value_counts(normalize=True).reindex(known).fillna(0.0)
    top = set(share.sort_values(ascending=False, kind="stable").index[:TOP_CATEGORIES])
    assert [v for v in short.coords["point"][:-1] if isinstance(v, str)] == [v for v in known if v in top]
    assert short.coords["point"][-1] == f"{len(known) - TOP_CATEGORIES} others"
    assert len(short.values) == TOP_CATEGORIES + 1 + missing
    others = np.array([isinstance(v, str) and v not in top for v in e.coords["point"]])
    weight = e.extras["share"][1][others]
    assert short.values[-1] == pytest.approx(weight @ e.values[others] / weight.sum())
    assert short.extras["share"][1].sum() == pytest.approx(e.extras["share"][1].sum())
    ticks = [t.get_text() for t in e.plot.curve().get_xticklabels()]
    assert f"{len(known) - TOP_CATEGORIES} others" in ticks
    assert len(ticks) == len(short.values)
    assert [t.get_text() for t in effects.plot()[0].get_xticklabels()] == ticks


def test_few_categories_are_drawn_as_they_are():
    X = many_categories()
    X["shop"] = X["shop"].astype(str).where(X["shop"].cat.codes < MAX_CATEGORIES, "shop 00")
    e = wb.effects(predict, X, ["shop"], "pdp")["shop"]
    assert with_common_categories(e) is e


def test_surfaces_and_single_curves_have_others_too():
    X = many_categories()
    surface = with_common_categories(
        wb.effects(predict, X, [("shop", "x")], "pdp", grid=5, max_evals=10**9)["shop", "x"]
    )
    single = with_common_categories(wb.effects(predict, X.iloc[:50], ["shop"], "ice", max_evals=10**9)["shop"])
    assert surface.coords["point"][-1].endswith("others")
    assert surface.shape[0] == TOP_CATEGORIES + 1
    assert single.shape == (50, TOP_CATEGORIES + 1)
    surface.plot.curve()
    single.plot.curve()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.datetime64("2024-03-01T00:00:00.000000000"), "2024-03-01"),
        (np.datetime64("2024-03-01T22:28:00", "ns"), "2024-03-01 22:28"),
        (np.datetime64("2024-03-01T22:28:07", "us"), "2024-03-01 22:28:07"),
        (np.datetime64("2024-03-01T22:28:07.250", "us"), "2024-03-01 22:28:07.25"),
        (np.datetime64("2024-03-01T22:28:07.123456789"), "2024-03-01 22:28:07.123456789"),
        (np.datetime64("2024-03-01"), "2024-03-01"),
        (np.datetime64("NaT"), "missing"),
        (np.timedelta64(2 * 86400 + 3 * 3600 + 900, "s"), "2 days 03:15"),
        (np.timedelta64(1, "D").astype("m8[ns]"), "1 day"),
        (np.timedelta64(-90, "s"), "-00:01:30"),
        (np.timedelta64(1500, "ms"), "1.5 seconds"),
        (dt.date(2024, 3, 1), "2024-03-01"),
        (np.bool_(True), "true"),
        (None, "missing"),
        (1.5, "1.5"),
    ],
)
def test_cells_are_as_exact_as_they_are(value, text):
    assert cell_text(value) == text


def test_a_date_with_a_time_zone_says_that_it_is_in_utc():
    day = pd.Series(pd.date_range("2024-01-01", periods=6, tz="Europe/Berlin"))
    X = pd.DataFrame({"when": day, "x": np.arange(6.0)})
    e = wb.explain(lambda rows: pd.DataFrame(rows)["x"].to_numpy(float), X.iloc[:2], background=X)
    labels = [t.get_text() for t in e[0].plot.waterfall().get_yticklabels()]
    assert "when = 2023-12-31 23:00 UTC" in labels
    assert "2023-12-31 23:00 UTC" in e[0]._repr_html_()


def linear(shift=0.0):
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(40, 3)), columns=["a", "b", "c"]) + shift
    return LinearRegression().fit(X, X["a"] - 2 * X["b"] + 0.1), X


def test_rounding_is_shown_as_zero():
    model, X = linear(shift=3.0)
    e = wb.explain(model, pd.DataFrame([X.mean()]), background=X)
    assert 0 < np.abs(e.values).max() < 1e-12
    ax = e[0].plot.waterfall()
    assert {"0"} == {t.get_text() for t in ax.texts}
    shown = {t.get_text() for t in e.plot.bar().texts}
    assert shown == {"0"}
    for page in (e._repr_html_(), e[0]._repr_html_()):
        assert "e-1" not in page.partition("<details>")[0]


def test_numbers_of_figures_have_one_minus_sign():
    model, X = linear()
    ax = wb.explain(model, X, background=X)[3].plot.waterfall()
    words = [
        *(t.get_text() for t in (*ax.texts, *ax.get_yticklabels(), ax.title)),
        ax.get_xlabel(),
        ax.get_title("left"),
    ]
    assert any(MINUS in w for w in words)
    assert not any(re.search(r"-\d", w) for w in words)
    assert (
        minus_signs("-1 < x-1 <= -.5, 2024-03-01, a -b, 1e-05")
        == f"{MINUS}1 < x-1 <= {MINUS}.5, 2024-03-01, a -b, 1e{MINUS}05"
    )
    with plt.rc_context({"axes.unicode_minus": False}):
        assert minus_signs("-1") == "-1"


def test_the_base_line_of_a_waterfall_crosses_no_number():
    model, X = linear()
    ax = wb.explain(model, X, background=X)[3].plot.waterfall()
    ax.figure.canvas.draw()
    base = float(wb.explain(model, X, background=X).base)
    (lines,) = [c for c in ax.collections if np.allclose([s[0, 0] for s in c.get_segments()], base)]
    for text in ax.texts:
        box = text.get_window_extent().transformed(ax.transData.inverted())
        for segment in lines.get_segments():
            low, high = sorted(segment[:, 1])
            assert high <= box.y0 or low >= box.y1 or not box.x0 <= base <= box.x1


def forest():
    rng = np.random.default_rng(2)
    X = pd.DataFrame(rng.normal(size=(120, 12)), columns=[f"feature number {i}" for i in range(12)])
    y = np.where(X.iloc[:, 0] > 0.4, "high", np.where(X.iloc[:, 0] < -0.4, "low", "middle"))
    return RandomForestClassifier(10, random_state=0).fit(X, y), X


def test_values_that_do_not_add_up_are_no_waterfall():
    X = np.random.default_rng(0).normal(size=(40, 3))
    e = wb.explain(lambda rows: rows[:, 0] * rows[:, 1] + rows[:, 2], X[:1], X, index="banzhaf")
    with pytest.raises(OptionError, match="those of banzhaf do not"):
        e.plot.waterfall(row=0)
    assert e.plot.bar() is not None


def test_a_notebook_shows_the_values_prediction_and_class_of_one_row():
    model, X = forest()
    e = wb.explain(model, X.iloc[:10], background=X)
    i = int(np.argmax(e.prediction[:, 1]))  # the second class, low
    page = e[i]._repr_html_()
    assert "(output low of 3)" in page
    assert f"Row {i}: prediction <b>low " in page
    assert cell_text(X.iloc[i, 0]) in page
    assert "(output low)" in e[i][..., "low"]._repr_html_()
    assert f"base {float(e.base[1]):.4f}".rstrip("0") in e[i][..., "low"]._repr_html_()


def test_a_notebook_breaks_no_words_of_columns_and_shows_the_prediction_first():
    model, X = forest()
    page = wb.explain(model, X.iloc[:10], background=X)[..., "low"]._repr_html_()
    head = page[page.index("<tr>") : page.index("</tr>")]
    assert "overflow-wrap:anywhere" not in head
    assert head.index("prediction") < head.index("feature number")
    assert head.count("feature number") == 8
    assert "and 2 more rows and 4 more features" in page
    assert "whybox-hint" in page


def test_a_picture_of_maps_is_drawn_over_the_picture(tmp_path, exported_programs, monkeypatch, capsys):
    from whybox.plots import saliency_series

    pixels = np.zeros((30, 50, 3), dtype=np.uint8)
    pixels[:, 25:] = 255
    Image.fromarray(pixels).save(tmp_path / "half.png")
    (tmp_path / "names.txt").write_text("\n".join(f"kind {k}" for k in range(5)))
    seen = []
    draw = saliency_series.overlay
    monkeypatch.setattr(saliency_series, "overlay", lambda e, **options: seen.append(draw(e, **options)) or seen[-1])
    program, picture, names = (
        str(p) for p in (exported_programs / "net.pt2", tmp_path / "half.png", tmp_path / "names.txt")
    )
    assert main(["saliency", program, picture, "-o", str(tmp_path / "out.png"), "--names", names, "--target", "1"]) == 0
    (ax,) = seen
    assert ax.images[0].get_array().shape == (30, 50)
    assert ax.get_aspect() == pytest.approx(30 / 50)  # the map is square
    assert "kind 1" in ax.get_title("left")
    assert main(["saliency", program, picture, "-o", str(tmp_path / "out.npz"), "--names", names]) == 0
    assert re.search(r"half\.png: kind \d, score ", capsys.readouterr().out)


@pytest.mark.parametrize("seed", range(4))
def test_points_are_coloured_by_a_feature_that_takes_part(seed):
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.pipeline import make_pipeline

    from whybox.explanation.feature_values import strongest_partner

    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(120, 30)), columns=["a", "b", *(f"unused {i}" for i in range(28))])
    y = X["a"] + 0.5 * X["b"] + 0.01 * X["a"] * X["b"]
    keep = ColumnTransformer([("kept", "passthrough", ["a", "b"])])
    model = make_pipeline(keep, GradientBoostingRegressor(n_estimators=20, max_depth=2, random_state=0)).fit(X, y)
    e = wb.explain(model, X, background=X)
    assert not e.values[:, 2:].any()
    assert strongest_partner(e, "a") in ("b", None)
    assert strongest_partner(e, "unused 0") is None
    sampled = wb.explain(model.predict, X.iloc[:40], background=X.iloc[:20], max_evals=4000)
    assert strongest_partner(sampled, "a") in ("a", "b", None)
    e.plot.scatter("a")
