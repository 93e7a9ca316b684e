"""What checks of maps say: "cannot tell" with the rows that could, chance among parts, maps without a sign, layers that can be randomised."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

import whybox as wb
from fixed_maps import Fixed
from whybox.checks import cost
from whybox.checks.check_subject import check_explanations, resolve_subject
from whybox.checks.faithfulness import TOGETHER_LINE
from whybox.checks.model_randomization import ALL_LAYERS, TOP_LAYER
from whybox.checks.result import Check, Checks
from whybox.checks.supplied import SuppliedParts
from whybox.errors import InputError
from whybox.methods.saliency.base import Method, MethodOutput
from whybox.models.registry import as_network

nn = torch.nn


def seeded(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make().eval()


@pytest.fixture(scope="module")
def pictures():
    """A network over pictures, and sixteen of them."""
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 3)))
    return net, np.random.default_rng(0).normal(size=(16, 1, 8, 8)).astype(np.float32)


def linear(d=12, n=16):
    rng = np.random.default_rng(3)
    net = seeded(lambda: nn.Linear(d, 1, bias=False))
    rows = rng.normal(size=(n, d)).astype(np.float32)
    return net, rows, rows * net.weight.detach().numpy()


# verdicts of all lines together


def test_cannot_tell_is_neither_passed_nor_failed():
    def line(verdict):
        return Check("g", verdict, verdict, None, "")

    few = Checks((line("pass"), line("cannot tell"), line("not applicable")), {})
    assert few.verdict == "cannot tell"
    assert not few.passed
    assert json.loads(json.dumps(few.to_dict()))["verdict"] == "cannot tell"
    assert "1 cannot tell" in repr(few)
    assert Checks((line("cannot tell"), line("fail")), {}).verdict == "fail"
    assert Checks((line("cannot tell"), line("disagree")), {}).verdict == "fail"
    assert Checks((line("pass"), line("not applicable")), {}).verdict == "pass"


def test_a_report_says_that_checks_cannot_tell():
    from whybox.reporting.check_budget import requested_checks
    from whybox.reporting.network_report import _check_table
    from whybox.reporting.sections.saliency_maps import MethodMaps

    e = wb.saliency(nn.Linear(6, 1).eval(), np.ones((2, 6), dtype=np.float32))
    about = {"method": "m", "rows": 1, "rows explained": 1, "seed": 0, "forward": 0, "backward": 0, "seconds": 0.0}
    for verdict, words in (("cannot tell", "fails no check, but some cannot tell"), ("fail", "does not hold")):
        found = Checks((Check("g", "a line", verdict, None, "why"),), about)
        page = _check_table(MethodMaps((e,), False, ("input",), None, None), found, requested_checks("all"))
        assert words in page
        assert f">{verdict}</td>" in page
        assert f"<b>{verdict}</b>" in found._repr_html_()


def test_passed_means_nothing_failed_or_disagrees():
    def line(verdict):
        return Check("g", verdict, verdict, None, "")

    assert Checks((line("pass"), line("not applicable")), {}).passed
    assert not Checks((line("pass"), line("fail")), {}).passed
    assert not Checks((line("pass"), line("disagree")), {}).passed


# values that were exchanged


@pytest.mark.parametrize("method", ["gradient", "gradient_x_input", "occlusion"])
def test_exchanged_values_are_found_whichever_check_is_asked_for(pictures, method):
    net, rows = pictures
    e = wb.saliency(net, rows, method=method)
    drawn = np.random.default_rng(1).normal(size=e.values.shape) * e.values.std()
    for values in (drawn, np.full_like(drawn, e.values.std()), np.roll(e.values, 1, axis=0)):
        found = wb.check(replace(e, values=values), net, rows, checks="stability", max_rows=4)
        assert found.rows[0].name == "reproduced"
        assert found.rows[0].verdict == found.verdict == "fail"
    assert wb.check(e, net, rows, checks="stability", max_rows=4)["reproduced"].verdict == "pass"


def test_a_plan_counts_the_map_that_always_is_computed_again(pictures):
    net, rows = pictures
    e = wb.saliency(net, rows)
    alone = wb.plan(wb.check, e, net, rows, checks="stability").model_calls
    assert wb.plan(wb.check, e, net, rows, checks=("stability", "numerical")).model_calls == alone
    found = wb.check(e, net, rows, checks="stability")
    assert alone >= (found.about["forward"] + found.about["backward"]) * 0.5


def test_lines_name_the_map_that_they_look_at(pictures):
    net, rows = pictures
    found = wb.check(wb.saliency(net, rows, method="gradient_x_input"), net, rows, max_rows=4)
    assert "the map computed again, compared before the product with the input" in found[ALL_LAYERS].reason
    assert "in the order of the given map" in found["deletion, zero"].reason
    assert "the map, computed again," in found["stability: small noise"].reason
    found = wb.check(wb.saliency(net, rows), net, rows, max_rows=4)
    assert "rank correlation of the given map" in found[ALL_LAYERS].reason
    assert "the sizes of the given map" in found["deletion, zero"].reason


# chance among parts


@pytest.mark.parametrize("method", ["ablation", "shapley"])
def test_exact_maps_of_few_parts_depend_on_the_network(pictures, method):
    net, rows = pictures
    e = wb.saliency(net, rows, method=method, patches=2)
    found = wb.check(e, net, rows, checks="model dependence")
    for line in (ALL_LAYERS, TOP_LAYER):
        assert found[line].verdict == "pass", str(found)
        assert found[line].details["chance"] > 0.4  # four ranks are often alike
    two = wb.check(wb.saliency(net, rows, method=method, patches=(1, 2)), net, rows, checks="model dependence")
    assert "a map of 2 parts has too few ranks" in two[ALL_LAYERS].reason


def test_chance_of_many_parts_is_that_of_positions(pictures):
    net, rows = pictures[0], pictures[1][:2]
    found = wb.check(wb.saliency(net, rows, method="ablation", patches=8), net, rows, checks="model dependence")
    assert found[ALL_LAYERS].details["chance"] < 0.2


def test_a_map_of_parts_that_ignores_the_network_still_fails(pictures):
    net, rows = pictures

    @dataclass(frozen=True)
    class Blocks(Method):
        patches: int = 2
        name: ClassVar[str] = "blocks"
        title: ClassVar[str] = "Blocks"

        def __call__(self, problem):
            means = problem.inputs[0].x.reshape(-1, 1, 2, 4, 2, 4).mean(axis=(3, 5)).astype(float)
            return MethodOutput([[means.repeat(4, axis=2).repeat(4, axis=3)]], "none", "none", exact=True)

    found = wb.check(wb.saliency(net, rows, method=Blocks()), net, rows, method=Blocks(), checks="model dependence")
    assert found[ALL_LAYERS].verdict == found[TOP_LAYER].verdict == "fail", str(found)


# maps without a sign


def test_the_gradient_of_a_linear_network_is_not_refused():
    """By the signed score it fails every line, for it names large slopes of both signs."""
    for d in (12, 40):
        net, rows, _ = linear(d)
        found = wb.check(wb.saliency(net, rows), net, rows, checks="faithfulness")
        assert found.verdict != "fail", str(found)
        assert any(c.verdict == "pass" for c in found.rows[1:-1])
        assert "the distance from the row's own score" in found.rows[1].reason


def test_slopes_at_the_wrong_positions_do_not_pass():
    net, rows, _ = linear(12)

    @dataclass(frozen=True)
    class Smallest(Fixed):
        default_reduce: ClassVar[str] = "max"

    slopes = np.abs(net.weight.detach().numpy())
    wrong = Smallest(tuple(map(tuple, np.broadcast_to(1.0 / slopes, rows.shape))))
    found = wb.check(wb.saliency(net, rows, method=wrong), net, rows, method=wrong, checks="faithfulness")
    assert found.verdict == "fail", str(found)
    assert not any(c.verdict == "pass" for c in found.rows[1:])


# few rows


def test_few_rows_cannot_tell_and_say_how_many_could():
    """The right terms, blurred by noise: two rows cannot show it, as many as the line names can."""
    net, rows, terms = linear(12, 60)
    noisy = terms + np.random.default_rng(0).normal(size=terms.shape) * 1.2 * terms.std()

    def checked(n):
        method = Fixed(tuple(map(tuple, noisy[:n])))
        e = wb.saliency(net, rows[:n], method=method)
        options = {"method": method, "checks": "faithfulness", "absent": ("zero", "other row"), "max_rows": n}
        return wb.check(e, net, rows[:n], **options)

    few, many = checked(2), checked(60)
    assert few.verdict == few[TOGETHER_LINE].verdict == "cannot tell", str(few)
    assert "rows like these could" in few["deletion, zero"].reason
    assert many["deletion, zero"].verdict == "pass", str(many)


def test_lines_are_judged_together():
    """Four lines of maps at random: rarely does any of them pass; each alone would at 2.5 %, four at up to 10 %."""
    net, rows, terms = linear(12, 8)
    passed = 0
    for seed in range(40):
        method = Fixed(tuple(map(tuple, np.random.default_rng(seed).normal(size=terms.shape))))
        e = wb.saliency(net, rows, method=method)
        found = wb.check(e, net, rows, method=method, checks="faithfulness", absent=("zero", "mean"), seed=seed)
        passed += any(c.verdict == "pass" for c in found.rows[1:])
        p = [c.details["p above chance"] for c in found.rows[1:-1]]
        assert [c.verdict == "pass" for c in found.rows[1:-1]] == [x <= 0.025 for x in p]
    assert passed <= 3


# layers


class Bag(nn.Module):
    """The mean of embeddings that lie on a line: whichever head is drawn, the score reacts as before, but for its sign."""

    def __init__(self):
        super().__init__()
        self.emb, self.last = nn.Embedding(20, 4), nn.Linear(4, 2)
        self.emb.weight.data = torch.linspace(-1, 1, 20)[:, None] * torch.tensor([[1.0, -1.0, 0.5, 0.2]])

    def forward(self, ids):
        return self.last(self.emb(ids).mean(1))


def test_a_layer_below_the_top_is_randomised_where_the_top_changes_nothing():
    net = seeded(Bag)
    ids = np.random.default_rng(0).integers(1, 20, size=(12, 9))
    options = {"embedding": "emb", "baseline_token": 0}
    e = wb.saliency(net, ids, 0, "ablation", **options)
    found = wb.check(e, net, ids, checks="model dependence")
    assert "randomised: layer 'emb' alone" in found[TOP_LAYER].reason
    assert found[TOP_LAYER].verdict == "pass", str(found)


def test_layers_whose_output_is_no_single_tensor_are_among_those_to_randomise():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.inner, self.last = nn.Embedding(9, 4), nn.GRU(4, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, ids):
            return self.last(self.inner(self.emb(ids))[0].mean(1))

    net = as_network(seeded(Recurrent))
    x = (net.array(np.ones((2, 6), dtype=np.int64)),)
    assert [name for name, _ in net.layers(x)] == ["emb", "last"]
    assert net.parameter_layers(x) == ["emb", "inner", "last"]


# what a subject of checks knows


def test_whether_maps_are_expensive_is_known_before_any_is_computed(pictures, monkeypatch):
    net, rows = pictures
    e = wb.saliency(net, rows, method="smoothgrad", samples=8)
    explanations, recipe = check_explanations(e)
    network = as_network(net)
    with network.session():
        subject = resolve_subject(
            explanations, recipe, network, rows, SuppliedParts(), max_rows=4, seed=0, budget="1GB"
        )
        assert not subject.has_expensive_maps
        monkeypatch.setattr(cost, "EXPENSIVE_PASSES", 10)
        assert subject.has_expensive_maps


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_arrays_with_one_entry_a_row_are_cut_to_the_rows_checked(library):
    net = seeded(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3)))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 2, 6, 6)).astype(np.float32)
    given = torch.tensor if library == "torch" else np.asarray
    for method, option in (
        ("ablation", {"parts": given(rng.integers(0, 6, size=(9, 6, 6)))}),
        ("deeplift", {"baseline": given(np.roll(x, 1, axis=0))}),
        ("ablation", {"parts": given(np.arange(36).reshape(6, 6) // 6)}),  # shared by all rows
    ):
        assert wb.plan(wb.saliency, net, x, 0, method=method, **option).model_calls > 0
        e = wb.saliency(net, x, 0, method, **option)
        found = wb.check(e, net, x, options=option, max_rows=3, checks="numerical")
        assert found["reproduced"].verdict == "pass", str(found)
        if method == "ablation":
            assert wb.saliency(net, x, 0, method, dtype="bfloat16", **option).values.shape == e.values.shape


def test_networks_of_one_layer_and_of_few_places():
    net, rows = nn.Linear(6, 1).eval(), np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
    found = wb.check(wb.saliency(net, rows), net, rows, checks="model dependence")
    assert found[ALL_LAYERS].verdict == "pass", str(found)
    assert found[TOP_LAYER].verdict == "not applicable"
    small, few = nn.Linear(2, 1).eval(), rows[:, :2]
    assert (
        wb.check(wb.saliency(small, few), small, few, checks="model dependence")[ALL_LAYERS].verdict == "not applicable"
    )


def test_trees_have_their_own_checks():
    from sklearn.tree import DecisionTreeRegressor

    X = np.random.default_rng(0).normal(size=(30, 3))
    e = wb.explain(DecisionTreeRegressor(max_depth=2).fit(X, X[:, 0]), X)
    with pytest.raises(InputError, match="maps of wb.saliency"):
        wb.check(e, nn.Linear(3, 1).eval(), X)
