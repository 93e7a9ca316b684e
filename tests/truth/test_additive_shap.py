"""AdditiveShap against all coalitions, of random tables and of explainable boosting machines by their own predict."""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from interpret.glassbox import ExplainableBoostingClassifier, ExplainableBoostingRegressor, LogisticRegression

import whybox as wb
import zoo
from oracles import banzhaf, beta, semivalue, shapley
from whybox.adapters import interpret as adapter
from whybox.errors import ModelFileError, ModelMismatchError, OptionError, SpotCheckError, UnsupportedModelError
from whybox.explainers import AdditiveShap
from whybox.methods.shap.additive_values import AdditiveTables
from whybox.models.additive import Additive, AdditiveTerm
from whybox.models.columns_read import columns_read, narrow_to_columns_read
from whybox.models.inputs import Inputs, NumberEncoder
from whybox.models.links import Link, Outputs
from whybox.models.registry import as_model
from whybox.reporting.sections.model import model_section

WEIGHTS = {"shapley": shapley, "banzhaf": banzhaf(), "beta(4, 1)": beta(4, 1)}
CODES = 4
FEW = {"max_rounds": 30, "outer_bags": 1, "n_jobs": 1, "max_bins": 16}


def random_model(terms, columns=5, outputs=2, link=None, seed=0):
    rng = np.random.default_rng(seed)
    made = tuple(
        AdditiveTerm(str(k), of, rng.normal(size=(*(CODES,) * len(of), outputs))) for k, of in enumerate(terms)
    )
    names = tuple(f"x{j}" for j in range(columns))
    inputs = Inputs(names, True, NumberEncoder("tables"), tuple((j,) for j in range(columns)))
    return Additive(
        terms=made,
        base_values=rng.normal(size=outputs),
        inputs=inputs,
        outputs=Outputs(tuple(f"y{k}" for k in range(outputs)), link or Link()),
        kind="tables",
    )


def random_codes(rows, columns=5, seed=1):
    return np.random.default_rng(seed).integers(0, CODES, (rows, columns)).astype(float)


def game_of(model, x, B, weights, groups, link=lambda raw: raw):
    def game(coalition):
        mixed = B.copy()
        for player in coalition:
            mixed[:, groups[player]] = x[groups[player]]
        return np.average(link(model.raw_outputs(mixed)), axis=0, weights=weights)

    return game


@pytest.mark.parametrize("index", WEIGHTS)
@pytest.mark.parametrize("players", [None, {"pair": ["x0", "x3"]}, {"tied": ["x1", "x2"]}])
def test_tables_against_all_coalitions(players, index):
    model = random_model([(0,), (2,), (0, 3), (1, 2), (2, 0), (4,)])
    X, B, weights = random_codes(3), random_codes(12, seed=2), np.arange(12.0)
    options = {"players": players, "index": index, "background_weight": weights}
    e = wb.explain(model, X, B, **options)
    pairs = wb.explain(model, X[:1], B, order=2, **options)
    groups = [[int(name[1:]) for name in e.players[f]] for f in e.feature_names]
    for i, x in enumerate(X):
        game = game_of(model, x, B, weights, groups)
        np.testing.assert_allclose(e.values[i], semivalue(game, len(groups), WEIGHTS[index]), atol=1e-12)
    whole = semivalue(game_of(model, X[0], B, weights, groups), len(groups), WEIGHTS[index], 2)
    off = ~np.eye(len(groups), dtype=bool)
    np.testing.assert_allclose(2 * pairs.values[0][off], whole[off], atol=1e-12)
    np.testing.assert_allclose(pairs.values[0].sum(axis=1), e.values[0], atol=1e-12)
    np.testing.assert_allclose(e.base, weights / weights.sum() @ model.raw_outputs(B), atol=1e-12)
    assert e.evidence.exact
    assert e.evidence.method_id == "shap.additive_shap"


def test_behind_a_link_all_coalitions_are_enumerated():
    model = random_model([(0,), (0, 3), (1, 2), (4,)], outputs=3, link=Link("softmax"))
    X, B = random_codes(2), random_codes(8, seed=2)
    e = wb.explain(model, X, B, scale="response")
    assert e.evidence.kernel == "enumeration"
    for i, x in enumerate(X):
        game = game_of(model, x, B, None, [[j] for j in range(5)], Link("softmax"))
        np.testing.assert_allclose(e.values[i], semivalue(game, 5, shapley), atol=1e-12)


def test_a_pair_is_shared_out_by_halves_of_its_interaction():
    table = np.outer([0.0, 1.0], [0.0, 1.0])[..., None]  # 1 where both are there
    model = replace(
        random_model([], columns=2, outputs=1), terms=(AdditiveTerm("both", (0, 1), table),), base_values=np.zeros(1)
    )
    e = wb.explain(model, [[1.0, 1.0]], [[0.0, 0.0], [1.0, 0.0]])
    # v() = 0, v(0) = 0, v(1) = 1/2, v(0, 1) = 1
    np.testing.assert_allclose(e.values[0], [0.25, 0.75])


def test_columns_that_no_table_depends_on_are_not_read():
    model = random_model([(0,), (1, 2), (3,)], outputs=1)
    flat = np.repeat(model.terms[1].table[:1], CODES, axis=0)  # the same for every code of column 1
    constant = np.ones((CODES, 1))
    terms = (model.terms[0], AdditiveTerm("flat", (1, 2), flat), AdditiveTerm("constant", (3,), constant))
    model = replace(model, terms=terms)
    assert columns_read(model).tolist() == [0, 2]
    narrow, X = narrow_to_columns_read(model), random_codes(20)
    assert narrow.fingerprint == model.fingerprint
    np.testing.assert_allclose(narrow.raw_outputs(X[:, [0, 2]]), model.raw_outputs(X), atol=1e-14)
    whole, sparse = (wb.explain(model, X[:3], X, sparse=sparse) for sparse in (False, True))
    assert sparse.feature_names == ("x0", "x2")
    np.testing.assert_allclose(whole.values[:, [0, 2]], sparse.values, atol=1e-14)
    assert not whole.values[:, [1, 3, 4]].any()


def test_tables_are_checked():
    model = random_model([(0,)])
    with pytest.raises(ModelFileError, match="terms have one column or two"):
        replace(model, terms=(AdditiveTerm("three", (0, 1, 2), np.zeros((2, 2, 2, 2))),))
    with pytest.raises(ModelFileError, match="not finite"):
        replace(model, terms=(AdditiveTerm("nan", (0,), np.full((2, 2), np.nan)),))


def test_values_are_the_terms_of_interpret_less_their_mean():
    model, rows = zoo.built("ExplainableBoostingClassifier, 3 classes")
    e = wb.explain(model, rows[:30], rows)
    terms = model.eval_terms(rows)
    np.testing.assert_allclose(e.values, terms[:30] - terms.mean(axis=0), atol=1e-12)
    assert e.units == "log-odds (softmax)"
    local = model.explain_local(rows[:2]).data(0)  # the same terms, by the name that people know them
    assert [str(n) for n in local["names"]] == list(e.feature_names)


def test_missing_and_unseen_cells_go_where_interpret_puts_them():
    model, rows = zoo.built("ExplainableBoostingClassifier, pairs, categories")
    odd = rows[:6].copy()
    odd["age"] = ["never seen", None, "old", "young", "middle", "old"]
    odd["bmi"] = [np.nan, 1e9, -1e9, 25.0, 26.0, np.nan]
    e = wb.explain(model, odd, rows[:40])
    np.testing.assert_allclose(e.base + e.values.sum(axis=1), model.decision_function(odd), atol=1e-12)
    p = wb.explain(model, odd, rows[:40], scale="probability", output="0")
    np.testing.assert_allclose(p.base + p.values.sum(axis=1), model.predict_proba(odd)[:, 0], atol=1e-12)
    assert e.evidence.unseen


def test_models_without_names_take_arrays_and_links_are_read():
    X = np.random.default_rng(0).normal(size=(200, 3))
    counts = np.exp(X[:, 0] / 2)
    model = ExplainableBoostingRegressor(objective="poisson_deviance", interactions=0, **FEW).fit(X, counts)
    e = wb.explain(model, X[:5], X)
    np.testing.assert_allclose(e.base + e.values.sum(axis=1), np.log(model.predict(X[:5])), atol=1e-9)
    assert e.units == "log of the prediction"
    response = wb.explain(model.predict, X[:5], X[:20])
    np.testing.assert_allclose(response.base + response.values.sum(axis=1), model.predict(X[:5]), atol=1e-9)
    frame = pd.DataFrame(X[:5], columns=["c", "a", "b"])
    assert wb.explain(model, frame, X).evidence.by_position


def test_a_wrong_table_is_found_when_the_model_is_read(monkeypatch):
    model, _ = zoo.built("ExplainableBoostingRegressor, pairs, missing values")
    right = adapter.AdditiveTerm

    def wrong(name, columns, table):
        table = np.array(table)
        if len(columns) == 2:
            table[1, 2] += 1e-6
        return right(name, columns, table)

    monkeypatch.setattr(adapter, "AdditiveTerm", wrong)
    with pytest.raises(ModelMismatchError, match="ExplainableBoostingRegressor"):
        as_model(model)


@pytest.mark.parametrize("order", [1, 2])
def test_a_wrong_value_is_found_by_the_second_way(monkeypatch, order):
    model, right = random_model([(0,), (0, 3), (1, 2)]), AdditiveTables.values

    def wrong(self, X, of_order):
        values = np.array(right(self, X, of_order))
        if of_order == 1:
            values[:, 0] += 1e-6
            values[:, 1] -= 1e-6  # the sum stays what it was
        return values

    monkeypatch.setattr(AdditiveTables, "values", wrong)
    with pytest.raises(SpotCheckError, match="coalition by coalition"):
        wb.explain(model, random_codes(4), random_codes(10, seed=2), order=order)


def test_a_plan_knows_what_is_computed():
    model, rows = random_model([(0,), (0, 3)]), random_codes(30)
    plan = wb.plan(wb.explain, model, rows, rows)
    assert (plan.kernel, plan.method_id, plan.exact) == ("additive", "shap.additive_shap", True)
    assert 0 < plan.seconds < 1e-3
    assert "trees" not in str(plan)


def test_what_is_refused():
    X = np.random.default_rng(0).normal(size=(150, 3))
    y = X[:, 0] * X[:, 1] * X[:, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its figures do not show such terms
        three = ExplainableBoostingRegressor(interactions=[(0, 1, 2)], **FEW).fit(X, y)
    with pytest.raises(UnsupportedModelError, match="a term of 3 features"):
        as_model(three)
    assert np.isfinite(wb.effects(three, X, [0], grid=3)[0].values).all()  # evaluated instead
    with pytest.raises(UnsupportedModelError, match="not fitted"):
        as_model(ExplainableBoostingClassifier())
    with pytest.raises(UnsupportedModelError, match="explainable boosting machines are"):
        as_model(LogisticRegression().fit(X, y > 0))
    model, rows = zoo.built("ExplainableBoostingClassifier, 3 classes")
    with pytest.raises(OptionError, match="an additive model keeps no training weights"):
        wb.explain(model, rows[:2])
    with pytest.raises(UnsupportedModelError, match="AdditiveShap explains Additive models"):
        AdditiveShap(zoo.built("PoissonRegressor")[0], rows)

    class Doubled(ExplainableBoostingRegressor):
        def predict(self, X, init_score=None):
            return 2 * super().predict(X)

    with pytest.raises(UnsupportedModelError, match="has a predict of its own"):
        as_model(Doubled(interactions=0, **FEW).fit(X, y))


def test_the_report_says_what_the_model_is_made_of():
    model, rows = zoo.built("ExplainableBoostingClassifier, pairs, categories")
    e = wb.explain(model, rows[:3], rows[:20])
    text = model_section(
        SimpleNamespace(
            model=as_model(model),
            explanation=e,
            rows=rows[:3],
            options=SimpleNamespace(source=None),
            predicts_probability=False,
        )
    )
    assert "7, 2 of them of two columns" in text
    assert "ExplainableBoostingClassifier" in text
