"""Anchors: the law, the promise, the search, and what is refused."""

from __future__ import annotations

import operator
import pickle
import re
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import whybox as wb
from whybox.errors import InputError, LimitError, OptionError, SpotCheckError, UnsupportedModelError
from whybox.methods.anchors.law import RuleLaw
from whybox.methods.anchors.predicates import Condition
from whybox.numerics.statistics import binomial_bounds

RNG = np.random.default_rng(0)
X = RNG.integers(0, 3, (60, 4)).astype(float)
EDGES = {name: [0.5, 1.5] for name in ("x0", "x1", "x2", "x3")}


def labels(rows):
    """A class that depends on three columns, with an exception."""
    rows = np.asarray(rows)
    return ((rows[:, 0] + rows[:, 1] > 2) | ((rows[:, 2] == 2) & (rows[:, 3] > 0))).astype(float)


def explained(rows=X, **options):
    background = pd.DataFrame(X, columns=list(EDGES))
    return wb.anchors(labels, pd.DataFrame(rows, columns=list(EDGES)), background, discretizer=EDGES, **options)


def allowed_values(words):
    """The values 0, 1, 2 that meet a condition, by its words."""
    name = re.search(r"x\d", words)
    return [v for v in (0.0, 1.0, 2.0) if name is None or chained(words.replace(name[0], str(v)))]


def chained(words):
    """Whether ``0.5 < 1.0 <= 1.5`` holds."""
    parts = words.split()
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt}
    return all(compare[parts[i]](float(parts[i - 1]), float(parts[i + 1])) for i in range(1, len(parts), 2))


def exact_precision(row, conditions, weights=None):
    """The precision of a rule by enumeration: every background row, with every replacement of each cell that breaks a condition."""
    weights = np.full(len(X), 1 / len(X)) if weights is None else weights
    allowed = [allowed_values(words) for words in conditions]
    total = 0.0
    for b, w in zip(X, weights, strict=True):
        laws = []
        for p, values in enumerate(allowed):
            shares = {v: weights[X[:, p] == v].sum() for v in values}
            laws.append([(b[p], 1.0)] if b[p] in values else [(v, s / sum(shares.values())) for v, s in shares.items()])
        for cells in product(*laws):
            kept = labels(np.array([[v for v, _ in cells]]))[0] == labels(row[None])[0]
            total += w * kept * np.prod([share for _, share in cells])
    return min(total, 1.0)  # the weights add up to one but for rounding


def test_bounds_hold_the_exact_precision():
    e = explained()
    low, high = e.extras["precision_interval"][1].T
    truth = [exact_precision(row, words) for row, words in zip(X, e.extras["condition"][1], strict=True)]
    assert ((low <= truth) & (truth <= high)).all()
    certified = e.extras["certified"][1]
    assert certified.mean() > 0.8
    assert (np.array(truth)[certified] >= 0.95).all()
    assert (low[certified] >= 0.95).all()


def test_bounds_hold_the_exact_precision_of_a_weighted_background():
    weights = np.random.default_rng(8).integers(1, 6, len(X)).astype(float)
    e = explained(background_weight=weights)
    low, high = e.extras["precision_interval"][1].T
    shares = weights / weights.sum()
    truth = [exact_precision(row, words, shares) for row, words in zip(X, e.extras["condition"][1], strict=True)]
    assert ((low <= truth) & (truth <= high)).all()
    assert (np.array(truth)[e.extras["certified"][1]] >= 0.95).all()
    met = [[v in allowed_values(w) for v, w in zip(x, e.extras["condition"][1][0], strict=True)] for x in X]
    assert e.extras["coverage"][1][0] == pytest.approx(shares[np.all(met, axis=1)].sum())


def test_no_condition_is_without_need():
    """Without any one of its conditions, or with one side of it alone, a rule is not clearly above the promise."""
    e = explained()
    for row, conditions, certified in zip(X, e.extras["condition"][1], e.extras["certified"][1], strict=True):
        for p in np.flatnonzero(conditions != "") if certified else ():
            both = re.fullmatch(r"(\S+) < (x\d) <= (\S+)", conditions[p])
            wider = [""] if both is None else ["", f"{both[2]} <= {both[3]}", f"{both[2]} > {both[1]}"]
            for words in wider:
                shorter = conditions.astype(object)
                shorter[p] = words
                assert exact_precision(row, shorter) < 0.985


def test_conditions_on_numbers_are_open_where_one_edge_suffices():
    background = np.linspace(0.0, 1.0, 401)[:, None]
    edges = {"x0": [0.2, 0.5, 0.8]}
    rows = np.array([[0.1], [0.3], [0.6], [0.9]])

    def rules(model):
        return list(wb.anchors(model, rows, background, discretizer=edges).extras["rule"][1])

    assert rules(lambda t: (t[:, 0] > 0.5) * 1.0) == [
        "IF x0 <= 0.2",
        "IF x0 <= 0.5",
        "IF x0 > 0.5",
        "IF x0 > 0.8",
    ]
    inside = rules(lambda t: ((t[:, 0] > 0.5) & (t[:, 0] <= 0.8)) * 1.0)
    assert inside[2] == "IF 0.5 < x0 <= 0.8"


def test_a_row_without_a_certified_rule_has_the_shortest_of_the_nearest():
    """A model of chance in every bin: longer rules are no better, so no condition is shown."""
    background = np.random.default_rng(5).normal(size=(300, 5))

    def noise(rows):
        return (np.sin(1e5 * np.asarray(rows).sum(axis=1)) > 0).astype(float)

    e = wb.anchors(noise, background[:6], background)
    assert not e.extras["certified"][1].any()
    assert e.values.sum(axis=1).max() <= 3


def test_draws_follow_the_law():
    """Of bins with several values: the share of every combination of cells, by enumeration."""
    values = np.array([[0, 0], [1, 0], [2, 1], [3, 1], [3, 0]], dtype=float)
    weights = np.array([1, 2, 3, 1, 1]) / 8
    explainer = wb.explainers.Anchors(
        labels_of_two, values, discretizer={"x0": [1.5], "x1": [0.5]}, background_weight=weights
    )
    law = RuleLaw(explainer.setting)
    sources = law.draw(np.random.default_rng(1), [Condition(0, 1, 2)], 40_000)  # x0 > 1.5
    drawn = np.column_stack([values[sources[:, p], p] for p in (0, 1)])
    meets = values[:, 0] > 1.5
    inside = weights * meets / (weights * meets).sum()
    truth = dict.fromkeys(product(range(4), range(2)), 0.0)
    for (a, b), w in zip(values, weights, strict=True):
        for v, share in [(a, 1.0)] if a > 1.5 else zip(values[:, 0], inside, strict=True):
            truth[v, b] += w * share
    for (a, b), share in truth.items():
        found = ((drawn == [a, b]).all(axis=1)).mean()
        assert abs(found - share) < 5 * np.sqrt(share * (1 - share) / len(drawn)) + 1e-12


def labels_of_two(rows):
    return (np.asarray(rows)[:, 0] > 1).astype(float)


def test_bounds_are_those_of_clopper_and_pearson():
    from scipy.stats import binomtest

    for k, n, error in [(0, 10, 0.05), (10, 10, 0.01), (123, 128, 0.0025)]:
        interval = binomtest(k, n).proportion_ci(1 - 2 * error, method="exact")
        assert np.allclose(np.ravel(binomial_bounds(k, n, error)), [interval.low, interval.high], atol=1e-12)


def test_the_result_says_everything():
    e = explained()
    assert (e.kind, e.dims, e.shape) == ("rule", ("row", "feature"), (60, 4))
    rule, condition, step = (e.extras[name][1] for name in ("rule", "condition", "step"))
    for i in range(60):
        order = [p for p in np.argsort(step[i]) if step[i, p]]
        assert ((condition[i] != "") == (e.values[i] == 1)).all()
        assert rule[i] == ("IF " + " AND ".join(condition[i, p] for p in order) if order else "always")
        met = np.mean([all(v in allowed_values(w) for v, w in zip(x, condition[i], strict=True)) for x in X])
        assert e.extras["coverage"][1][i] == pytest.approx(met)
    assert set(e.extras["label"][1]) == {"0", "1"}
    assert np.isnan(e.base)
    assert not e.evidence.exact
    assert e.evidence.settings["law"].startswith("background rows")
    assert e.evidence.spot_checks.numbers > 0


def test_rows_do_not_depend_on_each_other_and_the_seed_repeats():
    one, again, turned, alone = explained(), explained(), explained(X[::-1]), explained(X[7:8])
    for name in ("values", "precision", "draws"):
        get = (lambda e: e.values) if name == "values" else (lambda e, name=name: e.extras[name][1])
        assert np.array_equal(get(one), get(again))
        assert np.array_equal(get(one), get(turned)[::-1])
        assert np.array_equal(get(one)[7:8], get(alone))


def test_categories_booleans_missing_values_in_pandas_and_polars():
    rng = np.random.default_rng(2)
    n = 300
    frame = pd.DataFrame(
        {
            "city": rng.choice(["Rome", "Oslo", "Bern"], n),
            "member": rng.random(n) < 0.5,
            "age": np.where(rng.random(n) < 0.2, np.nan, rng.normal(40, 10, n)),
            "constant": 1.0,
        }
    )

    def model(rows):
        age = np.asarray(rows["age"], dtype=float)
        return np.where(
            np.isnan(age), 2.0, ((np.asarray(rows["city"]) == "Rome") & np.asarray(rows["member"], bool)) * 1.0
        )

    e = wb.anchors(model, frame[:40], frame)
    assert e.extras["certified"][1].all()
    gone = np.isnan(frame["age"][:40])
    assert (e.extras["rule"][1][gone] == "IF age missing").all()
    assert not e.values[:, 3].any()
    yes = (e.extras["label"][1] == "1").nonzero()[0]
    assert {"city = Rome", "member = True"} <= set(e.extras["condition"][1][yes[0]])
    other = wb.anchors(model, pl.from_pandas(frame[:40]), pl.from_pandas(frame))
    assert np.array_equal(other.values, e.values)


def test_a_model_of_one_class_needs_no_condition():
    e = wb.anchors(lambda rows: np.zeros(len(rows)), X[:3], X)
    assert list(e.extras["rule"][1]) == ["always"] * 3
    assert e.extras["certified"][1].all()
    assert list(e.extras["coverage"][1]) == [1.0] * 3


def test_a_class_by_name_and_groups_of_columns():
    y = X[:, 0].astype(int)
    model = DecisionTreeClassifier(random_state=0).fit(X, y)
    e = wb.anchors(model, X[:20], X, output="2", discretizer=EDGES)
    assert set(e.extras["label"][1]) == {"2", "not 2"}
    assert ((e.extras["label"][1] == "2") == (y[:20] == 2)).all()
    assert np.array_equal(e.values, np.tile([1.0, 0, 0, 0], (20, 1)))
    grouped = wb.anchors(model, X[:20], X, players={"both": ["x0", "x1"]}, discretizer=EDGES)
    assert grouped.feature_names[0] == "both"
    assert grouped.extras["certified"][1].all()


def test_a_number_beyond_the_background_meets_what_is_open_to_that_side():
    rows = X[:3].copy()
    rows[:, 0] = [99.0, -99.0, np.nan]
    e = wb.anchors(lambda t: (np.nan_to_num(np.asarray(t)[:, 0]) > 1) * 1.0, rows, X, discretizer=EDGES)
    assert list(e.extras["rule"][1][:2]) == ["IF x0 > 1.5", "IF x0 <= 0.5"]
    assert e.values[2, 0] == 0
    notes = e.evidence.notes
    assert any("2 numbers lie beyond those of the background" in note for note in notes)
    assert any("1 cells are like none of the background" in note for note in notes)


def test_cells_unlike_the_background_get_no_condition():
    """A category that the background never has, and a number in a column that it has never filled."""
    background = pd.DataFrame({"c": ["a", "b"] * 30, "x": np.arange(60.0), "empty": np.nan})
    rows = pd.DataFrame({"c": ["z", "a"], "x": [50.0, 5.0], "empty": [3.0, np.nan]})
    e = wb.anchors(lambda t: (np.asarray(t["x"], float) > 30) * 1.0, rows, background, discretizer={"x": [30]})
    assert list(e.extras["rule"][1]) == ["IF x > 30", "IF x <= 30"]
    assert any("2 cells are like none of the background" in note for note in e.evidence.notes)


def test_a_condition_can_be_applied_as_it_is_written():
    """Coverage, counted by the edges as they are written, is the coverage; edges are short where hardly a row changes sides."""
    rng = np.random.default_rng(6)
    background = pd.DataFrame(rng.normal((100, 105, 100), 0.01, (400, 3)), columns=list("abc"))
    background["c"] = rng.choice([0.0, 1.0], 400, p=[0.05, 0.95])  # quartiles alone would not tell them apart
    e = wb.anchors(lambda t: ((t["a"] > 100) & (t["c"] == 1)) * 1, background[:40], background)
    assert {"c <= 0", "c > 0"} <= set(e.extras["condition"][1][:, 2])
    for conditions, coverage in zip(e.extras["condition"][1], e.extras["coverage"][1], strict=True):
        met = np.ones(400, dtype=bool)
        for name, words in zip("abc", conditions, strict=True):
            if words:
                met &= [chained(words.replace(name, repr(float(v)))) for v in background[name]]
        assert coverage == pytest.approx(met.mean())
    edges = {word for words in e.extras["condition"][1][:, 0] for word in words.split() if word[0].isdigit()}
    assert max(map(len, edges)) <= 8


def test_edges_by_name_are_written_in_full():
    e = wb.anchors(lambda t: (t["x"] > 1.23456789) * 1, pd.DataFrame({"x": [5.0]}), pd.DataFrame({"x": np.arange(9.0)}), discretizer={"x": [1.23456789]})  # fmt: skip
    assert e.extras["rule"][1][0] == "IF x > 1.23456789"


def test_what_cannot_be_certified_says_so():
    def noise(rows):  # a class of its own for nearly every combination of values inside the bins
        return (np.sin(1e4 * np.asarray(rows).sum(axis=1)) > 0).astype(float)

    background = np.random.default_rng(3).normal(size=(200, 3))
    e = wb.anchors(noise, background[:4], background)
    assert not e.extras["certified"][1].any()
    assert (e.extras["precision_interval"][1][:, 0] < 0.95).all()
    assert any("reaches the precision" in note for note in e.evidence.notes)
    wide = np.random.default_rng(4).normal(size=(200, 8))
    few = wb.anchors(noise, wide[:2], wide, max_evals=1_750)
    assert any("want of predictions" in note for note in few.evidence.notes)
    with pytest.raises(LimitError, match="at least 640 predictions"):
        wb.anchors(noise, background[:4], background, max_evals=1_000)


def test_a_kept_explainer_is_pickled_and_gives_the_same():
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, X[:, 0])
    for kept in (model, model.predict_proba):
        explainer = wb.explainers.Anchors(kept, X, discretizer=EDGES)
        e = explainer(X[:5])
        assert np.array_equal(pickle.loads(pickle.dumps(explainer))(X[:5]).values, e.values)


def test_max_size_is_kept():
    e = explained(max_size=1)
    assert e.values.sum(axis=1).max() == 1


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"background": X[:1]}, InputError, "one row of positive weight"),
        ({"background": None}, OptionError, "pass rows like those of training"),
        ({"precision": 1.0}, OptionError, "between 0 and 1"),
        ({"precision": 0}, OptionError, "between 0 and 1"),
        ({"level": 1.0}, OptionError, "between 0 and 1"),
        ({"discretizer": "entropy"}, OptionError, "is not known"),
        ({"max_size": 0}, OptionError, "whole number"),
        ({"model": DecisionTreeRegressor().fit(X, X[:, 0] / 7)}, UnsupportedModelError, "one number a row"),
        ({"model": lambda rows: np.asarray(rows)[:, :2] / 7}, UnsupportedModelError, "not the probabilities"),
        ({"output": "none", "model": LogisticRegression().fit(X, X[:, 0] > 0)}, OptionError, "is not a class"),
        ({"output": "1"}, OptionError, "gives labels"),
    ],
)
def test_bad_input_is_refused(change, error, said):
    given = {"model": labels, "background": X} | change
    with pytest.raises(error, match=said):
        wb.anchors(given.pop("model"), X[:2], given.pop("background"), **given)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("threshold", "threshold= is no option here: write precision=0.95."),
        ("delta", "write its complement, level=0.95."),
        ("disc_perc", "write discretizer='decile', or edges by name."),
        ("scale", "a rule keeps a class, which is the same on every scale."),
        ("levle", "levle= is no option here. Did you mean 'level'"),
    ],
)
def test_options_of_others_are_refused_with_what_to_use_instead(name, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        explained(X[:1], **{name: 0.5})


def test_a_wrong_law_is_found(monkeypatch):
    """Draws that do not put the row's own cells into the rule."""

    def unconditioned(self, rng, rule, count):
        base = self.background_rows(rng.random(count))
        return np.repeat(base[:, None], self.setting.players.count, axis=1)

    monkeypatch.setattr(RuleLaw, "draw", unconditioned)
    with pytest.raises(SpotCheckError, match="condition on"):
        explained()


def test_predictions_of_other_rows_are_found(monkeypatch):
    from whybox.methods.anchors.evaluate import DrawEvaluator

    right = DrawEvaluator.outputs
    monkeypatch.setattr(DrawEvaluator, "outputs", lambda self, sources, **k: right(self, sources[::-1], **k))
    with pytest.raises(SpotCheckError, match="rows drawn under a rule"):
        explained()


def test_it_goes_through_files_frames_and_slices(tmp_path):
    e = explained(X[:5])
    e.save(tmp_path / "rules.whybox")
    back = wb.load(tmp_path / "rules.whybox")
    assert back.kind == "rule"
    assert np.array_equal(back.values, e.values)
    for name, (dims, array) in e.extras.items():
        assert back.extras[name][0] == dims
        assert np.array_equal(back.extras[name][1], array)
    part = e[1:3]
    assert list(part.extras["rule"][1]) == list(e.extras["rule"][1][1:3])
    assert part.extras["precision_interval"][1].shape == (2, 2)
    assert len(e.to_frame())
    assert e.to_xarray()["values"].shape == (5, 4)
    assert "<" in e._repr_html_()


def test_picks_cover_most_with_few_rows():
    values = np.array([[3.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 1, 2], [0, 0, 0]])
    e = explained(X[:5])[:, :3]
    e = replace(e, values=values)
    picked = wb.submodular_pick(e, 3)
    weight = np.sqrt([6.0, 2.0, 2.0])
    assert np.array_equal(picked.values, values[[3, 0, 1]])
    assert picked.extras["pick_coverage"][1] == pytest.approx([weight[1:].sum() / weight.sum(), 1.0, 1.0])
    one = wb.submodular_pick(e, 2, top=1)
    assert np.array_equal(one.values, values[[0, 2]])  # rows 2 and 3 add as much: the first
    assert len(wb.submodular_pick(e, 50)) == 5


def test_picks_of_other_axes_are_refused():
    model = DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, X[:, 0])
    several = wb.explain(model, X)
    with pytest.raises(OptionError, match="pick one: e"):
        wb.submodular_pick(several)
    assert wb.submodular_pick(several[..., "2"], 2).shape == (2, 4)
    with pytest.raises(OptionError, match="axes row and feature"):
        wb.submodular_pick(several[0, ..., "2"])
    with pytest.raises(OptionError, match="takes an Explanation"):
        wb.submodular_pick([1])
    with pytest.raises(OptionError, match="whole number"):
        wb.submodular_pick(several[..., "2"], 0)


def test_a_plan_of_few_rows_counts_what_they_take(monkeypatch):
    asked = []

    def counted(rows):
        asked.append(len(rows))
        return labels(rows)

    background = pd.DataFrame(X, columns=list(EDGES))
    for count in (1, 5):
        options = {"discretizer": EDGES, "spot_checks": 0}
        plan = wb.plan(wb.anchors, counted, background[:count], background, **options)
        spent = wb.anchors(counted, background[:count], background, **options).evidence.model_calls
        assert plan.model_calls == spent
        assert (plan.rows, plan.exact, plan.method_id) == (count, False, "anchors.anchors")
    whole = wb.plan(wb.anchors, counted, background, background, **options)
    spent = wb.anchors(counted, background, background, **options).evidence.model_calls
    assert abs(whole.model_calls - spent) < 0.3 * spent
    assert "12,000 that all rows share" in str(whole)
    monkeypatch.setattr("whybox.methods.anchors.plan.QUICK_SECONDS", 0.0)
    asked.clear()
    most = wb.plan(wb.anchors, counted, background, background, max_evals=80_000, **options)
    assert spent < most.model_calls <= 81_000
    assert sum(asked) < 2_000
    assert "predictions of single rows, at most" in str(most)
    with pytest.raises(LimitError, match="at least 640 predictions"):
        wb.plan(wb.anchors, counted, background, background, max_evals=1_000, **options)
