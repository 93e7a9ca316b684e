"""What effects will cost, said before: exactly as many predictions as are then made, and about as long."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import whybox as wb
import zoo
from whybox.core.progress import expected_batch_sizes, timed_batches
from whybox.errors import LimitError, OptionError

KINDS = ("pdp", "ice", "c-ice", "d-ice", "ale", "marginal", "anova")


def table(n=60, seed=0):
    """Numbers, few numbers, categories and flags; rows repeat."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "real": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
            "few": rng.integers(0, 4, n),
            "word": rng.choice(np.array(["a", "b", "c", None], dtype=object), n),
            "flag": rng.random(n) < 0.5,
        }
    )
    return pd.concat([rows, rows[::3]], ignore_index=True)


class Counted:
    def __init__(self):
        self.rows = 0

    def __call__(self, rows):
        self.rows += len(rows)
        word = rows["word"].map({"a": 1.0, "b": 2.0, "c": 5.0}).fillna(0.0).to_numpy()
        return rows["real"].fillna(3.0).to_numpy() * (1 + rows["few"].to_numpy()) + word * rows["flag"].to_numpy()


FEATURES = {
    "one": "real",
    "one of categories": "word",
    "several": ["real", "few", "word", "flag"],
    "a surface": [("real", "few")],
    "surfaces and curves": ["few", ("few", "real"), ("real", "few"), "real", ("word", "flag")],
}


@pytest.mark.parametrize("grid", [None, {"real": [0.0, 1.0, None], "few": [1, 9]}], ids=["all", "given"])
@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("kind", KINDS)
def test_as_many_predictions_as_were_planned(kind, features, grid):
    rows, chosen = table(), FEATURES[features]
    if kind in ("ale", "d-ice") and features == "surfaces and curves":
        chosen = ["few", "real", ("few", "real")] if kind == "ale" else ["few", "real"]
    if kind == "d-ice" and features in ("several", "one of categories", "a surface"):
        chosen = ["real", "few"]
    function = Counted()
    plan = wb.plan(wb.effects, function, rows, chosen, kind, grid=grid)
    assert function.rows == plan.spent <= 2 + max(32, plan.predictions / 4)
    function.rows = 0
    found = wb.effects(function, rows, chosen, kind, grid=grid)
    assert function.rows == plan.model_calls == found[0].evidence.model_calls
    assert plan.predictions == plan.model_calls - plan.checks
    assert (
        2 < plan.checks <= 350
    )  # two rows to see what comes out, rows that are asked about several times, and those of the spot checks
    assert plan.curves == len(found)
    assert plan.rows == len(rows)
    assert 0 < plan.predictions <= plan.brute
    assert plan.estimand == found[0].evidence.estimand
    assert plan.kernel == found[0].evidence.kernel
    assert plan.exact == found[0].evidence.exact
    if kind in ("pdp", "ice"):
        assert plan.brute == len(rows) * sum(e.extras["share"][1].size for e in found.values())
        assert plan.predictions < plan.brute  # a quarter of the rows are repeats
    assert plan.seconds > 0
    assert plan.memory_bytes > 0


def test_more_than_is_allowed_is_refused_as_by_the_call_itself():
    rows, function = table(), Counted()
    needed = wb.plan(wb.effects, function, rows, ["real", "word"], "ale").model_calls
    for ask in (partial(wb.plan, wb.effects), wb.effects):
        function.rows = 0
        with pytest.raises(LimitError, match=f"{needed:,} predictions"):
            ask(function, rows, ["real", "word"], "ale", max_evals=needed - 1)
        assert function.rows == 2
        ask(function, rows, ["real", "word"], "ale", max_evals=needed)
        assert function.rows <= 2 + 2 + needed


def test_a_plan_refuses_what_the_call_refuses():
    for wrong in ({"kind": "pdb"}, {"features": "reel"}, {"grid": 1}, {"n_jobs": 0}, {"kind": "d-ice"}):
        for ask in (partial(wb.plan, wb.effects), wb.effects):
            with pytest.raises(OptionError):
                ask(Counted(), table(), **wrong)


def test_a_plan_says_in_a_few_lines_what_it_knows():
    plan = wb.plan(wb.effects, Counted(), table(), ["real", "few"])
    said = str(plan)
    assert 4 <= len(said.splitlines()) <= 8
    for words in ("Partial dependence", "interventional", "exact", f"{plan.predictions:,}", f"{plan.brute:,}", "MiB"):
        assert words in said
    assert plan.line.startswith(f"{plan.predictions:,} predictions of the model, about ")
    with pytest.raises(AttributeError):
        plan.rows = 3


def test_trees_are_not_asked_and_estimators_that_are_read_are_not_asked_yet():
    X, y = zoo.X(), zoo.y()
    forest = RandomForestRegressor(5, random_state=0).fit(X, y)
    calls = []
    forest.predict, own = lambda rows: calls.append(len(rows)) or own(rows), forest.predict
    for kind in KINDS:
        plan = wb.plan(wb.effects, forest, X, ["bmi", "age"], kind)
        assert plan.predictions == plan.brute == plan.batches == plan.spent == 0
        assert plan.kernel == "the trees' own leaves"
        assert len(X) < plan.model_calls == plan.checks <= len(X) + 200  # two hundred recompute numbers of the answer
        assert 0 < plan.seconds < 60
        assert plan.line.startswith("no predictions")
    surfaces = wb.plan(wb.effects, forest, X, list(combinations(X, 2)))
    assert surfaces.curves == 10
    assert wb.effects(forest, X, "bmi", spot_checks=0)["bmi"].evidence.model_calls == len(X)
    mixed = make_pipeline(PCA(2), RandomForestRegressor(5, random_state=0)).fit(X, y)
    plan = wb.plan(wb.effects, mixed, X, "bmi", grid=9)  # read, and asked through our reading
    assert plan.predictions > 0
    assert plan.spent == 0
    assert plan.model_calls == wb.effects(mixed, X, "bmi", grid=9)["bmi"].evidence.model_calls == len(X) + 200


def test_a_model_that_answers_for_some_features_only_has_both_in_one_plan():
    from sklearn.compose import ColumnTransformer

    X, y = zoo.X(), zoo.y()
    mixed = ColumnTransformer([("p", PCA(1), ["age", "bmi"])], remainder="passthrough")
    model = make_pipeline(mixed, RandomForestRegressor(5, random_state=0)).fit(X, y)
    plan = wb.plan(wb.effects, model, X, ["bmi", "bp"], grid=4)
    assert "leaves" in plan.kernel
    assert "predictions" in plan.kernel
    found = wb.effects(model, X, ["bmi", "bp"], grid=4)
    note = next(n for n in found["bmi"].evidence.notes if "predictions of single rows" in n)
    assert note.startswith(f"{plan.predictions:,} predictions")


def test_a_slow_model_is_timed_by_few_rows_and_predicted_well(monkeypatch):
    asked, now = [], [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr("time.process_time", lambda: 0.0)  # it waits for something

    def slow(rows):
        asked.append(len(rows))
        now[0] += 0.02 + 0.0002 * len(rows)
        return rows[:, 0]

    X = np.random.default_rng(0).normal(size=(2000, 2))
    plan = wb.plan(wb.effects, slow, X, 0, "ale", grid=5)
    assert plan.seconds == pytest.approx(0.02 * plan.batches + 0.0002 * plan.predictions, rel=1e-6)
    assert plan.spent < 1000
    asked.clear()
    wb.effects(slow, X, 0, "ale", grid=5)
    assert len(asked) - 9 <= 2 * plan.batches + 2  # nine calls look at some rows several times


def test_expected_batches_are_those_that_are_made(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    for total, overhead, each in ((10, 1.0, 0.1), (100_000, 0.01, 1e-5), (1_000_000, 1e-4, 1e-7), (300, 0.0, 0.3)):
        sizes = []
        for part in timed_batches(total, description="", first_size=64, max_size=4096, quiet=True):
            sizes.append(part.stop - part.start)
            now[0] += overhead + each * sizes[-1]
        guessed = expected_batch_sizes(total, overhead, each, first_size=64, max_size=4096)
        assert sum(guessed) == sum(sizes) == total
        assert abs(len(guessed) - len(sizes)) <= 1 + len(sizes) // 20
    assert expected_batch_sizes(0, 1.0, 1.0) == []


def test_knn_in_a_pipeline():
    X, y = zoo.X(), zoo.y()
    model = make_pipeline(StandardScaler(), KNeighborsRegressor(3)).fit(X, y)
    plan = wb.plan(wb.effects, model, X, ["bmi", ("bmi", "age")], grid=4, sample_weight=np.arange(len(X)) % 5)
    assert plan.model_calls == wb.effects(model, X, ["bmi", ("bmi", "age")], grid=4)[0].evidence.model_calls
