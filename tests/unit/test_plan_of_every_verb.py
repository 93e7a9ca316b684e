"""``wb.plan(verb, ...)`` takes the verb's own arguments, and every plan says the same things."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import whybox as wb
import zoo
from whybox.errors import InputError, LimitError, OptionError
from whybox.methods.effects.options import EffectsOptions
from whybox.methods.importance.options import ImportanceOptions
from whybox.methods.lime.options import LimeOptions
from whybox.methods.shap.options import ShapOptions

MODEL, X = zoo.built("RandomForestRegressor")


def counted(rows):
    """A model that can only be evaluated."""
    return np.asarray(rows)[:, 0] * np.asarray(rows)[:, 1]


def is_large(rows):
    """A class."""
    return np.asarray(rows)[:, 0] > 30


TABLE = np.column_stack([np.arange(60.0), np.arange(60) % 7, np.arange(60) % 2])


@pytest.mark.parametrize(
    ("plan", "method_id", "exact"),
    [
        (lambda: wb.plan(wb.explain, MODEL, X), "shap.tree_shap", True),
        (lambda: wb.plan(wb.explain, MODEL, 1_000_000, order=2), "shap.tree_shap", True),
        (lambda: wb.plan(wb.effects, MODEL, X, ["bmi"], kind="ale"), "effects.ale", True),
        (lambda: wb.plan(wb.effects, counted, TABLE), "effects.pdp", True),
        (lambda: wb.plan(wb.interactions, MODEL, X, ["bmi", "age"]), "interactions.friedman_h", True),
        (lambda: wb.plan(wb.interactions, counted, TABLE, [0, 1], sample=20), "interactions.friedman_h", False),
        (lambda: wb.plan(wb.regions, MODEL, X, "bmi"), "regions.regional", True),
        (lambda: wb.plan(wb.regions, counted, TABLE, 0), "regions.regional", True),
        (lambda: wb.plan(wb.lime, MODEL, X[:3], X), "lime.exact", True),
        (lambda: wb.plan(wb.lime, counted, TABLE[:3], TABLE), "lime.sampled", False),
        (lambda: wb.plan(wb.anchors, is_large, TABLE[:2], TABLE), "anchors.anchors", False),
        (lambda: wb.plan(wb.importance, MODEL, X), "importance.shap", True),
        (lambda: wb.plan(wb.importance, MODEL, 500), "importance.shap", True),
        (lambda: wb.plan(wb.importance, MODEL, method="impurity"), "importance.impurity", True),
    ],
)
def test_every_plan_says_method_cost_and_exactness(plan, method_id, exact):
    made = plan()
    assert isinstance(made, wb.Plan)
    assert (made.method_id, made.exact) == (method_id, exact)
    assert made.method in str(made)
    assert made.seconds >= 0
    assert made.memory_bytes >= 0
    assert made.model_calls >= 0


def test_plans_of_maps_and_of_their_checks():
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).eval()
    rows = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    plan = wb.plan(wb.saliency, net, rows, method="rise", samples=40)
    e = wb.saliency(net, rows, method="rise", samples=40)
    spent = e.evidence.passes["forward"] + e.evidence.passes["backward"] + e.evidence.spot_checks.predictions
    assert abs(plan.model_calls - spent) < 0.1 * spent
    assert (plan.method_id, plan.rows, plan.exact) == ("saliency.rise", 30, False)
    several = wb.plan(wb.saliency, net, rows, method=["gradient", "rise"])
    assert list(several) == ["gradient", "rise"]
    checks = wb.plan(wb.check, e, net, rows, checks=["numerical", "faithfulness"])
    assert checks.kernel == "numerical, faithfulness"
    assert checks.rows == 16
    done = wb.check(e, net, rows, checks=["numerical", "faithfulness"]).about
    assert 0 < done["forward"] + done["backward"] <= 1.1 * checks.model_calls
    with pytest.raises(OptionError, match="checks='none' is not known"):
        wb.plan(wb.check, e, net, rows, checks="none")


@pytest.mark.parametrize("method", ["gradient", "deeplift", "occlusion"])
def test_plans_of_maps_count_exactly_what_every_row_takes_alike(method):
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).eval()
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    for count, spot in ((1, None), (2, 0), (5, 12), (60, None)):
        evidence = wb.saliency(net, rows[:count], method=method, spot_checks=spot).evidence
        planned = wb.plan(wb.saliency, net, rows[:count], method=method, spot_checks=spot).model_calls
        passes = evidence.passes["forward"] + evidence.passes["backward"]
        assert planned == passes + evidence.spot_checks.predictions
        assert (evidence.spot_checks.predictions > 0) == (spot != 0)
    e = wb.saliency(net, rows, method=method)
    cut, whole = (wb.plan(wb.check, part, net, rows, max_rows=4) for part in (e[:4], e))
    assert cut.model_calls == whole.model_calls
    assert wb.plan(wb.saliency, net, rows, np.array(0), method).rows == 60
    with pytest.raises(OptionError, match="max_rows=0"):
        wb.plan(wb.check, e, net, rows, max_rows=0)
    with pytest.raises(InputError, match="check takes an explanation"):
        wb.plan(wb.check, (), net, rows)


def test_interactions_take_no_more_than_planned():
    plan = wb.plan(wb.interactions, counted, TABLE, [0, 1], sample=20)
    assert wb.interactions(counted, TABLE, [0, 1], sample=20).evidence.model_calls <= plan.model_calls
    with pytest.raises(LimitError, match="more than max_evals=10"):
        wb.plan(wb.interactions, counted, TABLE, [0, 1], max_evals=10)


@pytest.mark.parametrize("rows", [1, 3, 90])
@pytest.mark.parametrize("model", ["read", "function"])
def test_lime_takes_no_more_than_planned(model, rows):
    if model == "read":
        made, answer = wb.plan(wb.lime, MODEL, X[:rows], X), wb.lime(MODEL, X[:rows], X)
        assert answer.evidence.model_calls == made.model_calls
        return
    table = np.resize(TABLE, (rows, 3))
    made = wb.plan(wb.lime, counted, table, TABLE, max_evals=9_000)
    assert made.model_calls == 9_000
    evidence = wb.lime(counted, table, TABLE, max_evals=9_000, tol=1e-12).evidence
    assert 4_000 < evidence.model_calls + evidence.spot_checks.predictions <= 9_000


def test_plans_of_lime_refuse_what_the_call_would():
    with pytest.raises(LimitError, match="more than"):
        wb.plan(wb.lime, counted, TABLE[:3], TABLE, max_evals=50)
    with pytest.raises(OptionError, match="draws values of features from a background"):
        wb.plan(wb.lime, counted, TABLE[:3])
    two = wb.plan(wb.lime, MODEL, X[:2], X, kernel_width=[0.5, 2.0])
    assert two.model_calls == wb.lime(MODEL, X[:2], X, kernel_width=[0.5, 2.0]).evidence.model_calls


def test_regions_take_what_was_planned():
    plan = wb.plan(wb.regions, counted, TABLE, 0, grid=5)
    assert wb.regions(counted, TABLE, 0, grid=5)["all rows"].evidence.model_calls == plan.model_calls


def test_refits_take_as_much_each():
    one = wb.plan(wb.effects, counted, TABLE, [0], grid=5)
    four = wb.plan(wb.effects, counted, TABLE, [0], grid=5, refits=[counted] * 3)
    assert four.predictions == 4 * one.predictions


def test_a_wrong_call_is_named_with_its_verb():
    model, X = zoo.built("RandomForestRegressor")
    with pytest.raises(TypeError, match=r"wb\.plan\(wb\.regions, \.\.\.\): missing a required argument: 'feature'"):
        wb.plan(wb.regions, model, X)
    with pytest.raises(TypeError, match="unexpected keyword argument 'backgroud'"):
        wb.plan(wb.explain, model, X, backgroud=X)
    with pytest.raises(wb.errors.OptionError, match=r"^wb\.report is not a verb"):
        wb.plan(wb.report, model, X)
    with pytest.raises(wb.errors.InputError, match="a number of rows is not enough here"):
        wb.plan(wb.effects, model, 1000)


def test_what_cannot_be_planned():
    with pytest.raises(OptionError, match=r"not a verb that can be planned; those are 'wb\.explain'"):
        wb.plan(wb.load, "file")
    with pytest.raises(TypeError, match="kindd"):
        wb.plan(wb.effects, MODEL, X, kindd="ale")
    with pytest.raises(TypeError, match="missing"):
        wb.plan(wb.regions, MODEL, X)


@pytest.mark.parametrize(
    ("verb", "options", "named"),
    [
        (wb.explain, ShapOptions, "method"),
        (wb.effects, EffectsOptions, "kind"),
        (wb.lime, LimeOptions, "method"),
        (wb.importance, ImportanceOptions, "method"),
    ],
)
def test_a_verb_shows_the_options_with_their_defaults(verb, options, named):
    from dataclasses import fields

    shown = inspect.signature(verb).parameters
    for f in fields(options):
        default = "shapley" if f.name == "index" else f.default
        assert shown[f.name].default == default, f.name
    by_name = inspect.Parameter.KEYWORD_ONLY if verb is wb.importance else inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert shown[named].kind is by_name


def test_a_method_is_an_id_an_options_object_or_a_list_of_these():
    one = wb.explain(MODEL, X[:5])
    same = wb.explain(MODEL, X[:5], method=ShapOptions(order=1))
    assert same.values.tobytes() == one.values.tobytes()
    several = wb.explain(MODEL, X[:5], method=["tree_shap", ShapOptions(method="exact", order=2)])
    assert list(several) == ["tree_shap", "exact"]
    assert several["tree_shap"].values.tobytes() == one.values.tobytes()
    assert several["exact"].kind == "interaction"
    for wrong, said in (
        ({"method": []}, "is empty"),
        ({"method": ["exact", "exact"]}, "names 'exact' twice"),
        ({"method": ShapOptions(), "order": 2}, "options go into the object itself"),
        ({"method": "exakt"}, "Did you mean 'exact'"),
        ({"method": "linear_shap"}, "explains Linear models"),
        ({"ordr": 2}, "Did you mean 'order'"),
    ):
        with pytest.raises(wb.errors.WhyboxError, match=said):
            wb.explain(MODEL, X[:5], **wrong)
    with pytest.raises(OptionError, match="is not what TreeShap computes"):
        wb.explainers.TreeShap(MODEL, method="linear_shap")
