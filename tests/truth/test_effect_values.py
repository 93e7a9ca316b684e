"""Effects against closed forms, plain Python, and repeated samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import whybox as wb
from whybox.errors import OptionError
from whybox.numerics.statistics import critical_value


def sample(n=400, seed=0, rho=0.7):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    b = rho * a + np.sqrt(1 - rho**2) * rng.normal(size=n)
    return np.column_stack([a, b, rng.integers(0, 4, n)])


@pytest.mark.parametrize("kind", ["pdp", "ale"])
def test_a_linear_function_is_a_line_of_its_slope(kind):
    X = sample()
    curves = wb.effects(lambda rows: 3.0 * rows[:, 0] - 2.0 * rows[:, 1] + rows[:, 2], X, kind=kind)
    for j, slope in enumerate([3.0, -2.0, 1.0]):
        assert np.allclose(np.diff(curves[j].values) / np.diff(curves[j].grid), slope)
    slopes = wb.effects(lambda rows: 3.0 * rows[:, 0], X, 0, "d-ice", grid={0: [-1.0, 0.0, 2.0]})[0]
    assert np.allclose(slopes.values, 3.0)
    assert np.allclose(slopes.grid, [-0.5, 1.0])


def test_ale_recovers_each_part_of_an_additive_function_where_features_depend_on_each_other():
    X = sample(rho=0.95)
    curves = wb.effects(lambda rows: np.exp(rows[:, 0]) + rows[:, 1] ** 2, X, kind="ale")
    for j, part in enumerate([np.exp, np.square]):
        assert np.ptp(curves[j].values - part(curves[j].grid)) < 1e-9
    surface = wb.effects(lambda rows: np.exp(rows[:, 0]) + rows[:, 1] ** 2, X, [(0, 1)], "ale")[0]
    assert np.abs(surface.values).max() < 1e-9


def test_the_second_order_ale_of_a_product_is_the_product_of_the_centred_features():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(4000, 2))
    surface = wb.effects(lambda rows: rows[:, 0] * rows[:, 1], X, [(0, 1)], "ale", grid=11)[0]
    a, b = surface.coords["point"] - X[:, 0].mean(), surface.coords["point_2"] - X[:, 1].mean()
    assert np.abs(surface.values - np.outer(a, b)).max() < 0.05


def plain_ale(function, X, j, edges):
    """As in Apley and Zhu's package: interval by interval, one row at a time."""
    sums, counts = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for row in X:
        k = next(k for k in range(len(edges) - 1) if row[j] <= edges[k + 1])
        high, low = row.copy(), row.copy()
        high[j], low[j] = edges[k + 1], edges[k]
        sums[k] += function(high[None])[0] - function(low[None])[0]
        counts[k] += 1
    curve = [0.0]
    for s, c in zip(sums, counts, strict=True):
        curve.append(curve[-1] + s / c)
    curve = np.array(curve)
    return curve - ((curve[1:] + curve[:-1]) / 2 * counts).sum() / counts.sum()


def test_ale_against_plain_python():
    X = sample()

    def function(rows):
        return np.sin(rows[:, 0] * rows[:, 1]) + rows[:, 2] * rows[:, 0]

    for j in range(3):
        e = wb.effects(function, X, j, "ale", grid=9)[0]
        assert np.allclose(e.values, plain_ale(function, X, j, e.grid), atol=1e-12)


def test_ale_of_categories_by_hand_with_missing_as_a_level():
    rows = pd.DataFrame({"c": ["a", "b", "c", "a", None, "b"], "z": [0.0, 1.0, 5.0, 2.0, 9.0, 3.0]})

    def function(frame):
        size = frame["c"].map({"a": 1.0, "b": 2.0, "c": 4.0}).fillna(8.0).to_numpy()
        return size * (1.0 + frame["z"].to_numpy())

    e = wb.effects(function, rows, "c", "ale", grid={"c": ["a", "b", "c", None]})["c"]
    # a -> b moves rows a and b by 1 + z; b -> c moves rows b and c by 2 (1 + z); c -> missing rows c and missing by 4 (1 + z)
    steps = [np.mean([1, 3, 2, 4]), 2 * np.mean([2, 4, 6]), 4 * np.mean([6, 10])]
    curve = np.concatenate([[0.0], np.cumsum(steps)])
    assert np.allclose(e.values, curve - curve @ (np.array([2, 2, 1, 1]) / 6))
    assert e.grid.tolist() == ["a", "b", "c", None]
    assert np.allclose(e.at([None, "b"]), e.values[[3, 1]])


def test_alike_categories_stand_together():
    rng = np.random.default_rng(0)
    words = rng.choice(list("abcd"), 2000)
    z = np.array([{"a": 0.0, "d": 1.0, "b": 2.0, "c": 3.0}[w] for w in words]) + rng.normal(size=2000)
    rows = pd.DataFrame({"c": words, "z": z})
    e = wb.effects(lambda frame: frame["z"].to_numpy(), rows, "c", "ale")["c"]
    assert "".join(e.grid) in ("adbc", "cbda")


def test_ale_is_known_between_its_edges_and_nowhere_else():
    X = sample()
    e = wb.effects(lambda rows: rows[:, 0] ** 2, X, 0, "ale", grid={0: [-1.0, 0.0, 1.0]})[0]
    assert np.allclose(e.at([-0.5, 1.0]), [(e.values[0] + e.values[1]) / 2, e.values[2]])
    assert any("left out" in note for note in e.evidence.notes)
    with pytest.raises(OptionError, match="ask inside"):
        e.at([2.0])


def test_weights_are_repeated_rows_in_ale():
    X, w = sample(80), np.arange(80) % 3

    def function(rows):
        return np.sin(rows[:, 0] * rows[:, 1])

    for members in (0, 2, (0, 1)):
        a, b = (
            wb.effects(
                function,
                rows,
                [members],
                "ale",
                sample_weight=v,
                grid={0: [-3.0, -0.5, 0.5, 3.0], 1: [-3.0, 0.0, 3.0], 2: [0, 1, 2, 3]},
            )[0]
            for rows, v in ((X, w), (np.repeat(X, w, axis=0), None))
        )
        assert np.allclose(a.values, b.values)


def test_ale_asks_about_at_most_two_rows_a_row():
    X = sample(300)
    calls = []

    def function(rows):
        calls.append(len(rows))
        return rows.sum(axis=1)

    wb.effects(function, X, [0, 1, 2], "ale", spot_checks=0)
    assert sum(calls[8:-1]) <= 3 * 2 * len(X)  # before and after, some rows are asked about several times


COVERED = {
    "pdp": (lambda rows: rows[:, 0] * rows[:, 1] + rows[:, 1] ** 2, np.array([-1.0, 0.5, 2.0])),
    "ale": (lambda rows: rows[:, 0] * (1.0 + rows[:, 1]), np.array([-8.0, -1.0, 0.0, 1.0, 8.0])),
}


@pytest.mark.parametrize("weighted", ["not", "independent", "by rows"])
@pytest.mark.parametrize("kind", ["pdp", "ale"])
def test_intervals_cover(kind, weighted):
    """At 95 % nominal, between 90 and 99.5 % of 200 fresh samples cover the value for the whole population.

    Weights "by rows" undo how the rows were drawn: those of a large x1 too often.
    """
    function, points = COVERED[kind]
    found, errors, ends = [], [], []
    for seed in range(200):
        X = sample(250, seed=seed + 1)
        w = np.random.default_rng(seed).uniform(0.2, 1.8, len(X)) if weighted == "independent" else None
        if weighted == "by rows":
            X[:, :2] += [0.49, 0.7]
            w = np.exp(-0.7 * X[:, 1])
        e = wb.effects(function, X, 0, kind, sample_weight=w, grid={0: points}, spot_checks=0)[0]
        found.append(e.values)
        errors.append(e.std_error)
        ends.append(e.interval)
    if kind == "pdp":
        truth = np.ones(3)  # E[g b + b^2] = 1 for a standard normal b
    else:
        population = wb.effects(function, sample(100_000, seed=0), 0, kind, grid={0: points})[0]
        truth = population.values
        assert (population.std_error < 0.1 * np.median(errors, axis=0)).all()
    low, high = np.array(ends).swapaxes(0, 1)
    share = ((low <= truth) & (truth <= high)).mean(axis=0)
    assert ((share >= 0.90) & (share <= 0.995)).all(), share
    ratio = np.sqrt((np.array(errors) ** 2).mean(axis=0)) / np.std(found, axis=0)
    assert ((ratio >= 0.85) & (ratio <= 1.15)).all(), ratio


@pytest.mark.parametrize("weighted", [False, True])
def test_errors_are_those_of_plain_formulas(weighted):
    """Standard errors and intervals of means over rows, by their formulas: t with Hall's transformation of the long side."""
    rng = np.random.default_rng(2)
    X = np.column_stack([rng.integers(0, 3, 40), rng.lognormal(size=40)]).astype(float)
    w = np.exp(-X[:, 1] / 4) if weighted else np.ones(40)

    def function(rows):
        return rows[:, 0] * rows[:, 1] ** 2 + rows[:, 1]

    def plain(values, share):
        n = 1 / (share**2).sum()
        mean = share @ values
        off = share * (values - mean)
        error = np.sqrt((off**2).sum() * n / (n - 1))
        g = (off**3).sum() / (off**2).sum() ** 1.5 * np.sqrt(n * (n - 1)) / (n - 2)
        reach = scipy.stats.t.ppf(0.95, n - 1)
        hall = [3 / g * (np.cbrt(1 + g * (q - g / 6)) - 1) for q in (reach, -reach)]
        return mean, error, mean - max(hall[0], reach) * error, mean - min(hall[1], -reach) * error

    for kind in ("pdp", "marginal"):
        e = wb.effects(function, X, 0, kind, sample_weight=w, level=0.9)[0]
        for i, x in enumerate(e.grid):
            rows = X if kind == "pdp" else X[X[:, 0] == x]
            share = w if kind == "pdp" else w[X[:, 0] == x]
            want = plain(function(np.column_stack([np.full(len(rows), x), rows[:, 1]])), share / share.sum())
            got = [a[i] for a in (e.values, e.std_error, *e.interval)]
            if np.ptp(function(np.column_stack([np.full(len(rows), x), rows[:, 1]]))) > 0:
                np.testing.assert_allclose(got, want, rtol=1e-9)
        assert e.interval[1][-1] - e.values[-1] > e.values[-1] - e.interval[0][-1]  # the long tail is above
        assert float(e.extras["interval_level"][1]) == 0.9


def test_intervals_are_cut_saved_and_exported_with_their_curves(tmp_path):
    X = sample(60)
    e = wb.effects(lambda rows: np.column_stack([rows[:, 0], rows[:, 1] ** 2]), X, 0, grid=4)[0]
    low, high = e.interval
    assert low.shape == high.shape == e.shape == (4, 2)
    assert (low <= e.values).all()
    assert (e.values <= high).all()
    one = e[1:3, 1]
    assert np.array_equal(one.interval[0], low[1:3, 1])
    e.save(tmp_path / "curve.whybox")
    assert np.array_equal(wb.load(tmp_path / "curve.whybox").interval, e.interval)
    frame = e.to_frame(library="pandas")
    assert np.array_equal(frame["interval_low"], low.reshape(-1))
    assert np.array_equal(frame["interval_high"], high.reshape(-1))
    assert wb.effects(lambda rows: rows[:, 0], X, 0, "ice", grid=4)[0].interval is None
    with pytest.raises(OptionError, match="between 0 and 1"):
        wb.effects(lambda rows: rows[:, 0], X, level=95)


def test_ends_of_accumulated_curves_of_few_rows_cover():
    """Of 150 tables of 30 rows, at least 88 % cover at each end; with an edge at every value and 1.96 errors it were 78 %."""
    inside = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        X = np.column_stack([rng.normal(size=30), rng.exponential(size=30)])
        e = wb.effects(lambda rows: rows[:, 0] * (1.0 + rows[:, 1]), X, 0, "ale")[0]
        share = np.diff(scipy.stats.norm.cdf(e.grid))
        truth = 2.0 * (e.grid - share @ (e.grid[1:] + e.grid[:-1]) / 2.0 / share.sum())  # x1 is independent, of mean 1
        low, high = e.interval
        inside.append(((low <= truth) & (truth <= high))[[0, -1]])
    assert (np.mean(inside, axis=0) >= 0.88).all()


def test_off_data_has_a_standard_error():
    """The error of the share at a point, against the spread over fresh tables; 0 at a point outside the data, where the share is certain."""
    for follow in (0.05, 1000.0):
        shares, errors = [], []
        for seed in range(40):
            X = sample(300, seed=seed)
            X[:, 1] = X[:, 0] + follow * X[:, 1]
            e = wb.effects(lambda rows: rows[:, 0], X, 0, grid={0: [-1.0, 0.0, 1.0, 90.0]})[0]
            shares.append(e.off_data)
            errors.append(e.extras["off_data_std_error"][1])
        ratio = np.sqrt((np.array(errors) ** 2).mean(axis=0))[:3].mean() / np.std(shares, axis=0)[:3].mean()
        assert 0.7 <= ratio <= 1.8, (follow, ratio)
        assert np.array(errors)[:, 3].max() == 0.0


def test_off_data_is_small_under_independence_and_near_one_where_another_feature_follows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 6))
    free = [e.off_data for e in wb.effects(lambda rows: rows[:, 0], X, grid=30).values()]
    assert np.mean(free) < 0.07
    X[:, 1] = X[:, 0]
    tied = wb.effects(lambda rows: rows[:, 0], X, grid=30)
    assert tied[0].off_data[[0, -1]].min() > 0.9
    assert tied[2].off_data.mean() < 0.1
    beyond = wb.effects(lambda rows: rows[:, 0], X, 2, grid={2: [0.0, 50.0]})[0]
    assert beyond.off_data[1] == 1.0
    words = pd.DataFrame({"c": np.where(X[:, 0] > 0, "up", "down"), "x": X[:, 0]})
    assert wb.effects(lambda rows: rows["x"], words, "c")["c"].off_data.min() > 0.4


@pytest.mark.parametrize("kind", ["pdp", "ale", "marginal", "anova"])
def test_learner_errors_say_how_far_training_moves_the_curve(kind):
    """A fitted slope has a known standard error; bootstrap refits find it in the curve."""
    rng = np.random.default_rng(0)
    n = 400
    X = np.column_stack([rng.normal(size=n), rng.normal(size=n)])
    y = 2.0 * X[:, 0] + rng.normal(size=n)

    def fit(rows):
        slope = np.linalg.lstsq(np.column_stack([X[rows], np.ones(len(rows))]), y[rows], rcond=None)[0]
        return lambda A: A @ slope[:2] + slope[2]

    refits = [fit(rng.integers(0, n, n)) for _ in range(60)]
    points = {0: [-2.0, 0.0, 2.0], 1: [-1.0, 1.0]}
    found = wb.effects(
        fit(np.arange(n)), X, [0, (0, 1)] if kind != "marginal" else [0], kind, grid=points, refits=refits
    )
    error = found[0].extras["learner_error"][1]
    assert error.shape == found[0].values.shape
    if kind == "pdp":  # the level counts too: sqrt(1 + x^2) / sqrt(n)
        assert np.allclose(error, np.sqrt(1 + found[0].grid ** 2) / np.sqrt(n), rtol=0.35)
    if kind == "anova":  # the mean is taken away, the slope is left
        assert np.allclose(error, np.abs(found[0].grid - X[:, 0].mean()) / np.sqrt(n), rtol=0.35, atol=0.01)
    if kind == "ale":  # the slope alone, twice the standard error of it at the ends
        assert 0.6 < error[0] / (2.0 / np.sqrt(n)) < 1.4
    frame = found.to_frame(library="pandas")
    assert {"learner_error", "learner_interval_low", "learner_interval_high"} <= set(frame)
    ends = found[0].extras["learner_interval"][1]
    assert np.allclose(ends[..., 1] - found[0].values, critical_value(freedom=59) * error)
    found[0].plot.curve()
    for bad in ([refits[0]], 3):
        with pytest.raises(OptionError, match="refits"):
            wb.effects(refits[0], X, refits=bad)
    with pytest.raises(OptionError, match="each row"):
        wb.effects(refits[0], X, kind="ice", refits=refits)


@pytest.mark.parametrize("fits", [3, 5, 10])
def test_learner_intervals_of_few_fits_cover(fits):
    """Curves of fits that are normal around the truth: two standard deviations of three cover 82 %, Student's t 95 %."""
    slopes = 1.0 + 0.2 * np.random.default_rng(fits).normal(size=(fits + 1, 400))  # 400 outputs
    made = [lambda A, s=s: np.asarray(A)[:, :1] * s for s in slopes]
    e = wb.effects(made[0], np.ones((2, 1)), [0], grid={0: [1.0]}, refits=made[1:])[0]
    ends = e.extras["learner_interval"][1]
    assert 0.92 < np.mean((ends[..., 0] <= 1.0) & (ends[..., 1] >= 1.0)) < 0.98
    if fits == 3:
        assert np.mean(np.abs(e.values - 1.0) <= 1.96 * e.extras["learner_error"][1]) < 0.88


def test_learner_errors_keep_to_the_points_of_the_model_itself():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "c": rng.choice(list("abc"), 90),
            "d": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 40, 90), unit="D"),
            "z": np.where(rng.random(90) < 0.2, np.nan, rng.normal(size=90)),
        }
    )

    def model(scale):
        return lambda f: scale * (f["c"].map({"a": 1.0, "b": 5.0, "c": 2.0}).to_numpy() + f["z"].fillna(3.0).to_numpy())

    for kind in ("pdp", "ale"):
        found = wb.effects(model(1.0), rows, kind=kind, refits=[model(s) for s in (0.9, 1.0, 1.1)])
        for e in found.values():
            assert np.allclose(e.extras["learner_error"][1], np.abs(e.values) * 0.1)


ODD = {
    "the largest numbers": np.array([-1.7e308, 1.7e308, 1e308, 0.0, -1e308, 1.7e308] * 5),
    "denormal numbers": np.array([0.0, 5e-324, 1e-310, -5e-324, -0.0, 1e-310] * 5),
    "numbers next to each other": 1.0 + np.array([0, 1, 2, 3, 1, 0] * 5) * 2.2e-16,
    "large and constant": np.full(30, 1e300),
    "infinities among others": np.array([np.inf, -np.inf, 1.0, 2.0, 3.0, np.nan] * 5),
}


@pytest.mark.parametrize("kind", ["pdp", "ice", "c-ice", "d-ice", "ale", "marginal", "anova"])
@pytest.mark.parametrize("what", ODD)
def test_odd_numbers_on_an_axis(what, kind):
    """No warning, and what a plain loop says."""
    X = np.column_stack([ODD[what], np.arange(30) % 7])

    def function(rows):
        return np.nan_to_num(np.sign(rows[:, 0])) * (1.0 + rows[:, 1]) + (rows[:, 0] > 1.0) + 5.0 * np.isnan(rows[:, 0])

    different = len(np.unique(X[np.isfinite(X[:, 0]), 0])) > 1
    if kind in ("d-ice", "ale") and not different:
        with pytest.raises(OptionError, match="fewer than two values"):
            wb.effects(function, X, 0, kind)
        return
    e = wb.effects(function, X, 0, kind)[0]
    if kind == "d-ice":
        assert np.isfinite(e.grid).all()
        return
    curves = np.column_stack([function(np.column_stack([np.full(30, v), X[:, 1]])) for v in e.grid])
    if kind in ("pdp", "anova"):
        assert np.allclose(e.values, curves.mean(axis=0) - (function(X).mean() if kind == "anova" else 0.0))
    elif kind == "ale":
        inside = np.isfinite(X[:, 0])
        assert np.allclose(e.values, plain_ale(function, X[inside], 0, e.grid))
    elif kind == "marginal":
        own = [np.isnan(X[:, 0]) if np.isnan(v) else X[:, 0] == v for v in e.grid]
        if what in ("the largest numbers", "numbers next to each other"):
            assert np.allclose(e.values, [function(X)[at].mean() for at in own])
    else:
        assert np.allclose(e.values, curves - (curves[:, :1] if kind == "c-ice" else 0.0))


def test_points_that_no_row_stands_among_are_refused_or_noted():
    X = sample(60)
    for features in ([0], [(0, 1)]):
        with pytest.raises(OptionError, match="no row that counts has a value of x0"):
            wb.effects(lambda rows: rows[:, 0], X, features, "ale", grid={0: [90.0, 91.0], 1: [-3.0, 3.0]})
    e = wb.effects(lambda rows: rows[:, 0], X, 0, "ale", grid={0: [-5.0, 5.0, 6.0, 7.0]})[0]
    assert any("2 of the 3 intervals (from 5.0 to 6.0, from 6.0 to 7.0)" in note for note in e.evidence.notes)
    assert e.extras["gap_before"][1].tolist() == [False, False, True, True]
    assert np.isinf(e.std_error).tolist() == [False, False, True, True]
    whole = wb.effects(lambda rows: rows[:, 0], X, 0, "ale")[0]
    assert not any("No row" in note for note in whole.evidence.notes)
    assert "gap_before" not in whole.extras


def test_the_error_of_an_accumulated_curve_knows_of_intervals_without_rows():
    """Half of the rise of 5 x0 lies where no row is: the curve cannot show it, and says so at each of its points."""
    X = sample(400)
    X[:, 0] = np.sign(X[:, 0]) * (2.0 + np.abs(X[:, 0]))
    edges = {0: [-5.0, -3.0, -2.0, 2.0, 3.0, 5.0]}
    e = wb.effects(lambda rows: 5.0 * rows[:, 0], X, 0, "ale", grid=edges)[0]
    assert e.values[3] == e.values[2]
    assert np.isinf(e.std_error).all()
    assert np.isinf(e.interval).all()
    assert e.extras["gap_before"][1].tolist() == [False, False, False, True, False, False]
    ours = wb.effects(lambda rows: 5.0 * rows[:, 0], X, 0, "ale")[0]
    assert np.isfinite(ours.std_error).all()
    assert np.isclose(np.ptp(ours.values), 5.0 * np.ptp(ours.grid))  # quantiles leave no interval without rows


@pytest.mark.parametrize("rows", [[0.5], [0.5, 1.5], [0.5, 1.5, 2.5]])
def test_single_rows_alone_tell_no_error_of_an_accumulated_curve(rows):
    """One row in an interval borrows its spread from those of more; where there are none, the error is infinite and not undefined."""
    X = np.column_stack([rows, np.arange(len(rows)) + 1.0])
    grid = {0: [0.0, 1.0, 2.0, 3.0]}
    e = wb.effects(lambda rows: rows[:, 0] * rows[:, 1], X, 0, "ale", grid=grid)[0]
    assert np.isinf(e.std_error).all()
    assert np.array_equal(e.interval, [np.full(4, -np.inf), np.full(4, np.inf)])
    full = np.concatenate([X, np.add(X, [0.0, 1.0]), [[1.5, 3.0], [2.5, 4.0]]])
    known = wb.effects(lambda rows: rows[:, 0] * rows[:, 1], full, 0, "ale", grid=grid)[0]
    assert np.isfinite(known.std_error).all()
    assert np.isfinite(known.interval).all()


def test_intervals_of_few_rows_are_joined_where_the_edges_are_ours():
    X = sample(60)
    X[:, 1] = np.minimum(np.round(np.abs(X[:, 1]) * 2), 5.0)
    found = wb.effects(lambda rows: rows[:, 0] * rows[:, 1], X, [0, 1], "ale")
    for j, e in found.items():
        x = X[:, int(j[1:])]
        place = np.clip(np.searchsorted(e.grid, x) - 1, 0, None)
        assert np.bincount(place).min() >= 5
        assert e.grid[0] == x.min()
        assert e.grid[-1] == x.max()
        assert any("were joined to" in note for note in e.evidence.notes)
    given = wb.effects(lambda rows: rows[:, 0] * rows[:, 1], X, 0, "ale", grid={0: np.sort(X[:, 0])})[0]
    assert len(given.grid) == len(X)
    X[:, 1] = np.inf
    with pytest.raises(OptionError, match="'x1' has no finite value"):
        wb.effects(lambda rows: rows[:, 0], X)


def test_the_standard_error_of_what_all_rows_agree_on_is_zero():
    from sklearn.tree import DecisionTreeRegressor

    X = sample(60)
    model = DecisionTreeRegressor(max_depth=5).fit(X[:, :1] * [1, 0, 0], 100 + X[:, 0])
    e = wb.effects(model, X, 0)[0]
    assert np.ptp(e.values) > 1
    assert e.std_error.max() < 1e-13
