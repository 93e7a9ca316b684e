"""What several methods of importance disagree about, where the answer is known: four planted cases, and cases in which there is nothing to say."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression

import whybox as wb
from whybox.methods.importance.findings import find_disagreements
from whybox.methods.importance.rankings import make_comparable

QUICK = {"role": "held-out", "spot_checks": 0, "max_evals": 6000}


def table(draw, rows, names):
    return pd.DataFrame(draw.normal(size=(rows, len(names))), columns=list(names))


def about(e):
    """The features that findings are about, and how each ends."""
    return {(f.split(":")[0], f.rsplit(": ", 1)[1]) for f in e.findings}


def test_the_other_features_tell_what_it_tells():
    """The model reads a, of which b is a copy; c and d stand alone."""
    draw = np.random.default_rng(0)
    X = table(draw, 120, "abcd").assign(b=lambda x: x.a)
    y = X.a + 0.5 * X.c + 0.3 * draw.normal(size=120)
    e = wb.importance(lambda r: r.a + 0.5 * r.c, X, y, method=["permutation", "conditional"], **QUICK)
    assert e.findings == ("a: permutation ranks it 1, conditional 2 to 4: the other features tell what it tells.",)
    X["b"] = X.a + 0.5 * draw.normal(size=120)
    e = wb.importance(lambda r: r.a + 0.5 * r.c, X, y, method=["permutation", "conditional"], **QUICK)
    assert not e.findings or about(e) == {("a", f) for _, f in about(e)}


def test_values_tell_it_where_ranks_cannot():
    """Two features that are copies: each is above zero for the model, and adds nothing to the other. Both ranks are uncertain."""
    draw = np.random.default_rng(1)
    X = table(draw, 120, "a").assign(b=lambda x: x.a)
    y = X.a + X.b + 0.3 * draw.normal(size=120)
    e = wb.importance(lambda r: r.a + r.b, X, y, method=["permutation", "conditional"], **QUICK)
    endings = dict(about(e))
    assert endings["a"] == endings["b"] == "the other features tell what it tells."
    assert all("permutation is" in f for f in e.findings[:2])


def test_overfitting():
    """Of c the model has learned the noise of the training rows."""
    draw = np.random.default_rng(2)
    X, Z = table(draw, 60, "abc"), table(draw, 60, "abc")
    y, u = X.a + draw.normal(size=60), Z.a + draw.normal(size=60)

    def model(r):
        nearest = np.abs(r.c.to_numpy()[:, None] - X.c.to_numpy()).argmin(axis=1)
        return r.a + (y - X.a).to_numpy()[nearest]

    e = wb.importance(model, Z, u, method=["permutation"], train=(X, y), **QUICK)
    assert about(e) == {("c", "overfitting.")}
    assert "on training rows" in e.findings[0]
    assert e.extras["train_interval"][1].shape == (3, 1, 2)
    assert wb.importance(model, Z, u, method=["permutation"], **QUICK).findings == ()


def test_copies_share_it():
    """Of four copies none matters alone; together they are more than e, which matters more than each."""
    draw = np.random.default_rng(0)
    X = table(draw, 150, "abcdef")
    for copy in "bcd":
        X[copy] = X.a + 0.05 * X[copy]
    y = X[list("abcd")].mean(axis=1) + 0.5 * X.e + 0.3 * draw.normal(size=150)
    model = lambda r: r[list("abcd")].mean(axis=1) + 0.5 * r.e
    e = wb.importance(model, X, y, method=["permutation"], **QUICK)
    assert about(e) == {("a, b, c, ...", "copies share it.")}
    assert e.extras["group"][1].tolist() == ["a + b + c + d"] * 4 + [""] * 2
    alone = wb.importance(model, X, y, players={"copies": list("abcd")}, **QUICK)
    assert np.array_equal(e.extras["together"][1][:4], np.repeat(alone["copies"].values, 4))
    assert np.isnan(e.extras["together"][1][4:]).all()
    assert e["b"].findings == e.findings
    assert e[["e", "f"]].findings == ()
    grouped = wb.importance(model, X, y, method=["permutation"], players="auto", **QUICK)
    assert (grouped.findings, "group" in grouped.extras) == ((), False)


def test_dependent_features_that_matter_alone_are_no_copies():
    """Each of two correlated features is worth more than the third already."""
    draw = np.random.default_rng(0)
    X = table(draw, 100, "abc").assign(b=lambda x: x.a + 0.3 * x.b)
    y = X.a + X.b + 0.3 * X.c + 0.1 * draw.normal(size=100)
    e = wb.importance(lambda r: r.a + r.b + 0.3 * r.c, X, y, method=["permutation"], **QUICK)
    assert e.extras["together"][1][0] > e.extras["own_values"][1][:2].sum()
    assert e.findings == ()


@pytest.mark.parametrize(("rows", "seeds"), [(12, 2), (100, 1)])
def test_nothing_is_found_where_features_are_independent_and_the_model_is_right(rows, seeds):
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        X, Z = table(draw, 300, "abcd"), table(draw, rows, "abcd")
        y, u = (2 * t.a + t.b - 0.5 * t.c + draw.normal(size=len(t)) for t in (X, Z))
        methods = ["permutation", "drop_column", *(["conditional"] if rows > 50 and not seed else [])]
        e = wb.importance(LinearRegression().fit(X, y), Z, u, method=methods, train=(X[:100], y[:100]), **QUICK)
        assert e.findings == ()


def test_nothing_is_found_by_how_far_predictions_move_if_they_move_rightly():
    draw = np.random.default_rng(0)
    X, Z = table(draw, 2000, "abcd"), table(draw, 100, "abcd")
    y, u = (2 * t.a + np.sin(2 * t.b) + 0.5 * t.c**2 + 0.3 * draw.normal(size=len(t)) for t in (X, Z))
    model = HistGradientBoostingRegressor(max_iter=60, max_leaf_nodes=6, random_state=0).fit(X, y)
    assert wb.importance(model, Z, u, method=["permutation", "shap", "pdp", "impurity"], **QUICK).findings == ()


def test_what_moves_predictions_for_nothing():
    """The model learned that c counts as much as a; here it does not. Of b there is nothing to say."""
    draw = np.random.default_rng(0)
    X, Z = table(draw, 600, "abcd"), table(draw, 200, "abcd")
    model = HistGradientBoostingRegressor(max_iter=40, max_leaf_nodes=6, random_state=0).fit(X, X.a + 0.5 * X.b + X.c)
    u = Z.a + 0.5 * Z.b + 0.3 * draw.normal(size=200)
    e = wb.importance(model, Z, u, method=["permutation", "shap", "pdp", "impurity"], **QUICK)
    assert {feature for feature, _ in about(e)} == {"c"}
    assert e.findings[-1].endswith("its splits gained in training, but predictions of these rows are no better for it.")
    assert len(e.findings) == 2
    assert e.findings[0].startswith("c: shap ranks it 1 to 2, pdp 1, permutation 3 to 4 at ")
    assert e.findings[0].endswith("used, but predictions are no better for it.")


def test_nothing_is_found_where_nothing_matters():
    draw = np.random.default_rng(0)
    X = table(draw, 60, "abc")
    y = draw.normal(size=60)
    for model in (lambda r: np.full(len(r), 0.1), lambda r: 0.01 * (r.a + r.b)):
        e = wb.importance(model, X, y, method=["permutation", "conditional"], **QUICK)
        assert e.findings == ()
    constant = wb.importance(lambda r: np.full(len(r), 0.1), X, y, method=["permutation", "conditional"], **QUICK)
    assert not constant.values.any()
    assert sum("no value is above zero" in note for note in constant.evidence.notes) == 2


def test_rows_in_which_a_feature_does_not_vary_say_nothing_about_it():
    """In training c mattered; on these rows it is one value, so its permutation importance is 0 with an error of 0."""
    draw = np.random.default_rng(0)
    X, Z = table(draw, 100, "abc"), table(draw, 60, "abc").assign(c=1.5)
    y, u = (t.a + t.c + 0.1 * draw.normal(size=len(t)) for t in (X, Z))
    model = HistGradientBoostingRegressor(max_iter=30, max_leaf_nodes=6, min_samples_leaf=5, random_state=0).fit(X, y)
    e = wb.importance(model, Z, u, method=["permutation", "shap", "impurity"], train=(X, y), **QUICK)
    assert (e.extras["own_values"][1][2, 0], e.extras["own_error"][1][2, 0]) == (0.0, 0.0)
    assert e.extras["train_interval"][1][2, 0, 0] > 0
    assert "c" not in {feature for feature, _ in about(e)}


def test_one_feature_is_always_first():
    draw = np.random.default_rng(0)
    X = table(draw, 60, "a")
    e = wb.importance(lambda r: r.a, X, X.a + draw.normal(size=60), method=["permutation", "conditional"], **QUICK)
    assert e.values.tolist() == [[1.0, 1.0]]
    assert e.findings == ()


def test_ranks_that_others_only_move_are_not_mentioned():
    """b rises because a, a copy of c, falls; the sentence is about a alone."""
    draw = np.random.default_rng(3)
    X = table(draw, 120, "abc").assign(c=lambda x: x.a)
    y = X.a + 0.5 * X.b + 0.2 * draw.normal(size=120)
    e = wb.importance(lambda r: r.a + 0.5 * r.b, X, y, method=["permutation", "conditional"], **QUICK)
    ranks = e.extras["rank"][1]
    assert ranks[1].tolist() == [2, 1]
    assert {feature for feature, _ in about(e)} == {"a"}


def test_sentences_do_not_depend_on_the_order_of_methods():
    draw = np.random.default_rng(4)
    X = table(draw, 80, "abc")
    y = X.a + draw.normal(size=80)
    forest = RandomForestRegressor(10, random_state=0).fit(X[:40], y[:40])
    found = {m: wb.importance(forest, X[40:], y[40:], method=m, **QUICK) for m in ("permutation", "conditional")}
    found["impurity"] = wb.importance(forest, method="impurity")
    sentences = [
        set(find_disagreements(make_comparable({m: found[m] for m in order}), {}).tolist())
        for order in (list(found), list(found)[::-1])
    ]
    assert sentences[0] == sentences[1]
