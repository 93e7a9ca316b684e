from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import whybox as wb
from fixed_maps import Fixed
from whybox.checks.check import GROUP_NAMES
from whybox.checks.faithfulness import TOGETHER_LINE
from whybox.checks.model_randomization import ALL_LAYERS, TOP_LAYER
from whybox.checks.result import VERDICTS
from whybox.checks.stability import OTHER_SEEDS_LINE, SMALL_NOISE_LINE
from whybox.checks.trivial_maps import edge_map
from whybox.errors import InputError, OptionError, UnsupportedModelError
from whybox.methods.saliency.base import Method, MethodOutput
from whybox.models.registry import as_network
from whybox.numerics.statistics import spearman

nn = torch.nn


@pytest.fixture(scope="module")
def digits():
    """A CNN trained on digits, and rows it did not see."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            *(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(384, 48), nn.ReLU(), nn.Linear(48, 10)),
        )
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        a, b = torch.tensor(X[:1400]), torch.tensor(y[:1400])
        for _ in range(8):
            for some in torch.randperm(1400).split(64):
                optimiser.zero_grad()
                nn.functional.cross_entropy(net(a[some]), b[some]).backward()
                optimiser.step()
    net.eval()
    assert (net(torch.tensor(X[1400:])).argmax(1).numpy() == y[1400:]).mean() > 0.85
    return net, X[1400:1424]


@pytest.fixture(scope="module")
def table():
    """A small network over a table."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(10, 24), nn.Tanh(), nn.Linear(24, 3)).eval()
    return net, np.random.default_rng(0).normal(size=(20, 10)).astype(np.float32)


@dataclass(frozen=True)
class Planted(Method):
    """A method that never asks the network: edges of the picture, or the picture itself."""

    edge: bool = True
    name: ClassVar[str] = "planted"
    title: ClassVar[str] = "Planted"

    def __call__(self, problem):
        x = problem.inputs[0].x
        found = edge_map(problem.inputs[0], x)[:, None] if self.edge else x.astype(float)
        return MethodOutput([[found] for _ in range(problem.target.n_targets)], "none", "none", exact=True)


class Shaking(nn.Module):
    """Its derivative changes within a hundredth of the input's range."""

    def forward(self, x):
        return torch.sin(400 * x.flatten(1)).sum(1)


# verdicts


BEFORE_PRODUCT = ("gradient_x_input", "integrated_gradients", "deeplift")


@pytest.mark.parametrize("method", ["gradient", "smoothgrad", "gradcam", "occlusion", "ablation", *BEFORE_PRODUCT])
def test_maps_of_a_trained_network_depend_on_it(digits, method):
    net, rows = digits
    rows = rows[:6]
    options = {"samples": 20} if method == "smoothgrad" else {}
    found = wb.check(wb.saliency(net, rows, method=method, **options), net, rows, checks="model dependence")
    for line in (ALL_LAYERS, TOP_LAYER):
        assert found[line].verdict == "pass", str(found)
        assert found[line].number < 0.55
        assert found[line].details["same network"].mean() > 0.9
    assert found.passed
    assert set(found[ALL_LAYERS].details["controls"]) == {"the input itself", "an edge detector"}
    assert ("before the product" in found[ALL_LAYERS].reason) == (method in BEFORE_PRODUCT)
    assert ("compared with replacements at the same distance" in found[ALL_LAYERS].reason) == (
        method in ("occlusion", "ablation")
    )


def test_methods_known_to_pass_over_upper_layers_keep_more(digits):
    """Sixt, Granz & Landgraf 2020 of guided backpropagation; Grad-CAM++ takes positive derivatives alone."""
    net, rows = digits
    kept = {}
    for method in ("gradient", "guided_backprop", "gradcam++"):
        found = wb.check(wb.saliency(net, rows, method=method), net, rows, checks="model dependence")
        kept[method] = found[TOP_LAYER].number
    assert kept["gradient"] * 1.5 < kept["guided_backprop"] < kept["gradcam++"]
    assert found[TOP_LAYER].verdict == "fail", str(found)


def test_a_background_by_name_has_the_names_of_the_inputs():
    class Two(nn.Module):
        def forward(self, a, b):
            return (torch.tanh(a) * b).sum(1)

    net, rng = Two().eval(), np.random.default_rng(0)
    rows, behind = ({n: rng.normal(size=(m, 3)).astype(np.float32) for n in "ab"} for m in (5, 4))
    e = wb.saliency(net, rows, method="expected_gradients", background=behind, samples=32)
    turned = {n: behind[n] for n in "ba"}
    assert wb.check(e, net, rows, background=turned, checks="numerical")["reproduced"].number < 1e-5
    for other in ({"a": behind["a"]}, {**behind, "c": behind["a"]}):
        with pytest.raises(InputError, match="dict of the same names"):
            wb.check(e, net, rows, background=other)


def test_backgrounds_and_baselines_are_brought_again(digits):
    net, rows = digits
    some, behind = rows[:5], rows[6:14]
    e = wb.saliency(net, some, method="expected_gradients", background=behind, samples=32)
    with pytest.raises(OptionError, match="pass background="):
        wb.check(e, net, some)
    with pytest.raises(InputError, match="not the one"):
        wb.check(e, net, some, background=behind[::-1].copy())
    found = wb.check(e, net, some, background=behind, checks=("numerical", "model dependence"))
    assert found["reproduced"].verdict == "pass"
    assert found[ALL_LAYERS].verdict == "pass", str(found)
    own = np.roll(rows, 1, axis=0) * 0.5
    e = wb.saliency(net, rows, method="deeplift", baseline=own)
    with pytest.raises(OptionError, match="option 'baseline'"):
        wb.check(e, net, rows)
    with pytest.raises(InputError, match="baseline="):
        wb.check(e, net, rows, options={"baseline": rows})
    found = wb.check(e, net, rows, options={"baseline": own}, max_rows=5, checks=("numerical", "model dependence"))
    assert found["reproduced"].number < 1e-3
    assert found["completeness"].verdict == "pass"
    assert found[ALL_LAYERS].verdict == "pass", str(found)


@pytest.mark.parametrize("edge", [True, False])
def test_a_method_that_ignores_the_network_fails(digits, edge):
    net, rows = digits
    method = Planted(edge=edge)
    found = wb.check(wb.saliency(net, rows, method=method), net, rows, method=method, checks="model dependence")
    for line in (ALL_LAYERS, TOP_LAYER):
        assert found[line].verdict == "fail", str(found)
        assert found[line].number == pytest.approx(1.0)
    control = "an edge detector" if edge else "the input itself"
    assert found[ALL_LAYERS].details["controls"][control] == pytest.approx(1.0)
    assert not found.passed


def test_judged_with_the_product_the_input_alone_would_hide_the_network(digits):
    """Why maps are divided first: the product with a sparse picture keeps its order whatever the network knows."""
    net, rows = digits
    e = wb.saliency(net, rows, method="gradient_x_input")
    random_net, target = as_network(net).with_random_parameters(5), [int(t) for t in e.extras["target"][1]]
    other = wb.saliency(random_net, rows, target, method="gradient_x_input").values
    raw = np.mean([spearman(np.abs(a.ravel()), np.abs(b.ravel())) for a, b in zip(e.values, other, strict=True)])
    judged = wb.check(e, net, rows, checks="model dependence")[ALL_LAYERS].number
    assert raw > 0.5 > judged


def test_a_map_that_stops_below_the_top_fails_there(digits):
    net, rows = digits

    @dataclass(frozen=True)
    class Below(Method):
        name: ClassVar[str] = "below"
        title: ClassVar[str] = "Below"
        default_reduce: ClassVar[str] = "max"

        def __call__(self, problem):
            tapped = problem.net.split_at_layer("0", problem.to_device(np.arange(problem.n_rows)))[1]
            return MethodOutput([[problem.net.numpy(tapped).max(axis=1, keepdims=True)]], "none", "none", exact=True)

    found = wb.check(wb.saliency(net, rows, method=Below()), net, rows, method=Below(), checks="model dependence")
    assert found[TOP_LAYER].verdict == "fail"
    assert found[TOP_LAYER].number == pytest.approx(1.0)
    assert "randomised: layer '8'" in found[TOP_LAYER].reason


def test_values_that_the_method_does_not_give_are_found(table):
    net, rows = table
    e = wb.saliency(net, rows)
    assert wb.check(e, net, rows, checks="numerical")["reproduced"].verdict == "pass"
    bad = replace(e, values=e.values[:, ::-1].copy())
    assert wb.check(bad, net, rows, checks="numerical")["reproduced"].verdict == "fail"


@pytest.mark.parametrize("method", ["shapley", "ablation"])
def test_maps_of_single_parts_that_were_saved_with_a_number_of_patches(table, method):
    """Older versions wrote patches=4 for inputs with one position axis too, and did not cut these."""
    net, rows = nn.Sequential(nn.ConstantPad1d((0, 4), 0.5), table[0]).eval(), table[1][:3, :6]

    def verdict(e, patches):
        settings = {**e.evidence.settings, "options": {**e.evidence.settings["options"], "patches": patches}}
        old = replace(e, evidence=replace(e.evidence, settings=settings))
        return wb.check(old, net, rows, checks="numerical")["reproduced"].verdict

    assert [verdict(wb.saliency(net, rows, 0, method), patches) for patches in (None, 4, 5, 8)] == ["pass"] * 4
    cut = wb.saliency(net, rows, 0, method, patches=4)
    assert [verdict(cut, patches) for patches in (4, 5, None)] == ["pass", "fail", "fail"]


def test_what_is_drawn_is_drawn_again(table):
    net, rows = table
    e = wb.saliency(net, rows, method="smoothgrad", samples=8, noise=0.5)
    line = wb.check(e, net, rows, checks="numerical", max_rows=3)["reproduced"]
    assert (line.verdict, line.number) == ("pass", pytest.approx(0.0, abs=1e-4))
    cut = wb.check(e[8:], net, rows, checks="numerical")["reproduced"]
    assert cut.verdict == "cannot tell"
    assert wb.check(wb.saliency(net, rows)[8:], net, rows, checks="numerical")["reproduced"].verdict == "pass"


def test_completeness_is_told(table):
    net, rows = nn.Linear(10, 1, bias=False).eval(), table[1]
    right = (rows * net.weight.detach().numpy()).astype(float)
    for maps, verdict in ((right, "pass"), (right * 1.3, "fail")):
        method = Fixed(tuple(map(tuple, maps)), 0.0)
        e = wb.saliency(net, rows, method=method)
        found = wb.check(e, net, rows, method=method, checks="numerical")
        assert found["completeness"].verdict == verdict
        assert found["operators"].verdict == found["eval mode"].verdict == "pass"
    assert found["completeness"].number == pytest.approx(0.3, rel=1e-3)
    unruled = replace(e, evidence=replace(e.evidence, operators=("aten.sort",)))
    assert wb.check(unruled, net, rows, method=method, checks="numerical")["operators"].verdict == "fail"


def test_noise_is_told(digits):
    rows = digits[1]
    for net, samples, verdict in ((Shaking().eval(), 4, "fail"), (digits[0], 60, "pass")):
        e = wb.saliency(net, rows, method="smoothgrad", samples=samples)
        found = wb.check(e, net, rows, checks=("numerical", "stability"), max_rows=8)
        assert found["noise"].verdict == verdict, str(found)
        assert found[OTHER_SEEDS_LINE].verdict == verdict, str(found)


def test_an_exact_map_has_no_other_seeds_and_a_shaking_one_is_unstable(digits):
    net, rows = digits
    found = wb.check(wb.saliency(net, rows), net, rows, checks="stability")
    assert found[SMALL_NOISE_LINE].verdict == "pass"
    assert found[SMALL_NOISE_LINE].number > 0
    assert found[OTHER_SEEDS_LINE].verdict == "not applicable"
    shaking = wb.check(wb.saliency(Shaking().eval(), rows), Shaking().eval(), rows, checks="stability")
    assert shaking[SMALL_NOISE_LINE].verdict == "fail"
    assert shaking[SMALL_NOISE_LINE].number > 0.5


def test_bfloat16_is_compared(digits):
    net, rows = digits
    e = wb.saliency(net, rows, dtype="bfloat16")
    line = wb.check(e, net, rows, checks="numerical")["dtype"]
    assert line.verdict in ("pass", "fail")
    assert 1e-4 < line.number < 0.5
    assert wb.check(wb.saliency(net, rows), net, rows, checks="numerical")["dtype"].verdict == "not applicable"


# what goes in


def test_what_does_not_belong_is_refused(table):
    net, rows = table
    e = wb.saliency(net, rows)
    other = as_network(net).with_random_parameters(2).module
    with pytest.raises(InputError, match="another network"):
        wb.check(e, other, rows)
    with pytest.raises(InputError, match="other inputs"):
        wb.check(e, net, rows[::-1].copy())
    with pytest.raises(InputError, match="other inputs"):
        wb.check(e, net, rows[:5])
    with pytest.raises(InputError, match="single row"):
        wb.check(e[0], net, rows)
    with pytest.raises(InputError, match="takes an explanation"):
        wb.check(rows, net, rows)
    with pytest.raises(OptionError, match="knows its target"):
        wb.check(e, net, rows, target=1)
    with pytest.raises(OptionError, match="without a background"):
        wb.check(e, net, rows, background=rows)
    with pytest.raises(OptionError, match="Did you mean 'stability'"):
        wb.check(e, net, rows, checks="stabilty")
    with pytest.raises(OptionError, match="max_rows"):
        wb.check(e, net, rows, max_rows=0)
    with pytest.raises(OptionError, match="at least two"):
        wb.check(e, net, rows, absent=("zero",))
    with pytest.raises(OptionError, match="blurred"):
        wb.check(e, net, rows, absent=("zero", "blur"), checks="faithfulness")
    with pytest.raises(OptionError, match="not a method of this library"):
        wb.check(wb.saliency(net, rows, method=Planted(edge=False)), net, rows)
    with pytest.raises(InputError, match="is not the (option|method) that made"):
        wb.check(wb.saliency(net, rows, method=Planted(edge=False)), net, rows, method=Planted(edge=True))
    with pytest.raises(InputError, match="samples="):
        wb.check(wb.saliency(net, rows, method="smoothgrad"), net, rows, options={"samples": 7})
    net.train()
    try:
        with pytest.raises(UnsupportedModelError, match="train mode"):
            wb.check(e, net, rows)
    finally:
        net.eval()


def test_targets_of_every_kind(table):
    net, rows = table
    kinds = {
        "number": (2, {}),
        "one a row": ([int(i) for i in np.arange(20) % 3], {}),
        "names": (["b", "a"], {"output_names": ["a", "b", "c"]}),
        "all": ("all", {}),
        "predicted": (None, {}),
    }
    for name, (target, more) in kinds.items():
        e = wb.saliency(net, rows, target, **more)
        found = wb.check(e, net, rows, checks=("numerical", "model dependence"), max_rows=8)
        assert found["reproduced"].verdict == "pass", name
        assert found["reproduced"].number < 1e-5, name
        assert found[ALL_LAYERS].verdict == "pass", name

    def margin(out):
        return out[:, 0] - out[:, 1]

    e = wb.saliency(net, rows, margin)
    with pytest.raises(OptionError, match="was a function"):
        wb.check(e, net, rows)
    assert wb.check(e, net, rows, target=margin, checks="numerical")["reproduced"].number < 1e-5


def test_outputs_of_several_axes_and_of_none(table):
    _, rows = table

    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(10, 8), nn.Linear(8, 6)

        def forward(self, x):
            return {"grid": self.last(torch.tanh(self.first(x))).reshape(-1, 2, 3)}

    net = Square().eval()
    e = wb.saliency(net, rows, (1, 2), output="grid")
    assert wb.check(e, net, rows, checks="numerical")["reproduced"].number < 1e-5

    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.only = nn.Linear(10, 1)

        def forward(self, x):
            return self.only(x)[:, 0]

    one = One().eval()
    assert wb.check(wb.saliency(one, rows), one, rows).rows


def test_two_inputs_one_of_tokens():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.first, self.last = nn.Embedding(9, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x, tokens):
            return self.last(torch.tanh(self.first(x) + self.words(tokens).mean(1)))

    net, rng = Both().eval(), np.random.default_rng(0)
    inputs = (rng.normal(size=(9, 6)).astype(np.float32), rng.integers(0, 9, size=(9, 4)))
    found = wb.check(wb.saliency(net, inputs), net, inputs)
    assert found["reproduced"].verdict == "pass"
    assert found[TOGETHER_LINE].verdict in ("pass", "disagree", "fail", "cannot tell")
    assert found[SMALL_NOISE_LINE].verdict == "pass"


def test_arrays_for_each_of_several_inputs_are_brought_again_and_cut_to_the_rows_checked():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.last = nn.Linear(6, 8), nn.Linear(4, 8), nn.Linear(8, 1)

        def forward(self, x, y):
            return self.last(torch.tanh(self.a(x) + self.b(y)))

    torch.manual_seed(0)
    net, rng = Two().eval(), np.random.default_rng(0)
    inputs = tuple(rng.normal(size=(9, n)).astype(np.float32) for n in (6, 4))
    behind = tuple(rng.normal(size=(9, n)).astype(np.float32) for n in (6, 4))
    e = wb.saliency(net, inputs, None, "deeplift", baseline=behind)
    with pytest.raises(OptionError, match="option 'baseline'"):
        wb.check(e, net, inputs)
    found = wb.check(e, net, inputs, options={"baseline": behind}, max_rows=4, checks=("numerical", "faithfulness"))
    assert found["reproduced"].number < 1e-4, str(found)
    assert found[TOGETHER_LINE].verdict in ("pass", "disagree")


def test_tokens_say_what_does_not_apply():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.last = nn.Embedding(9, 6), nn.Linear(48, 2)

        def forward(self, tokens):
            return self.last(torch.tanh(self.words(tokens)).flatten(1))

    net, tokens = Words().eval(), np.random.default_rng(0).integers(1, 9, size=(6, 8))
    found = wb.check(wb.saliency(net, tokens, method="ablation", baseline=0), net, tokens)
    assert found["reproduced"].verdict == "pass"
    assert found[ALL_LAYERS].verdict == "pass", str(found)
    assert found[TOGETHER_LINE].verdict == found[SMALL_NOISE_LINE].verdict == "not applicable"
    assert "tokens" in found[TOGETHER_LINE].reason


def test_one_row_alone(digits):
    net, rows = digits
    found = wb.check(wb.saliency(net, rows[:1]), net, rows[:1])
    assert found[ALL_LAYERS].verdict == "pass"
    assert "one row" in found[SMALL_NOISE_LINE].reason
    assert "inf" not in str(found)


def test_series_volumes_and_channels_kept():
    rng = np.random.default_rng(0)
    series = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 98, 2)).eval()
    x = rng.normal(size=(6, 2, 100)).astype(np.float32)
    found = wb.check(wb.saliency(series, x, channel_axis=1), series, x)
    assert found["deletion, blur"].number is not None
    assert "an edge detector" in found[ALL_LAYERS].details["controls"]
    picture = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 100, 2)).eval()
    x = rng.normal(size=(6, 3, 12, 12)).astype(np.float32)
    found = wb.check(wb.saliency(picture, x, reduce=None, method="gradient_x_input"), picture, x)
    assert found[ALL_LAYERS].verdict == "pass", str(found)
    assert found["insertion, zero"].verdict == "pass", str(found)


# what comes out


def test_the_table_in_every_form(table, tmp_path):
    net, rows = table
    e = wb.saliency(net, rows, method="smoothgrad", samples=6)
    found = wb.check(e, net, rows, max_rows=5)
    assert {c.group for c in found.rows} == set(GROUP_NAMES)
    assert {c.verdict for c in found.rows} <= set(VERDICTS)
    assert all(c.reason for c in found.rows)
    assert [set(line) for line in found.table()] == [{"check", "verdict", "number", "reason"}] * len(found.rows)
    assert "5 of 20 rows checked" in str(found)
    assert all(c.name in str(found) and c.name in found._repr_html_() for c in found.rows)
    frame = found.to_frame(library="pandas")
    assert list(frame["check"]) == [c.name for c in found.rows]
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert again["passed"] == found.passed
    assert again["about"]["forward"] == found.about["forward"] > 0
    assert "reproduced" in found
    with pytest.raises(KeyError, match="there are: "):
        found["nothing"]
    e.save(tmp_path / "e.whybox")
    saved = wb.check(wb.load(tmp_path / "e.whybox"), net, rows, max_rows=5)
    assert saved.table() == found.table()


def test_the_seed_decides_everything(table):
    net, rows = table
    e = wb.saliency(net, rows, method="smoothgrad", samples=6)
    first, second, third = (wb.check(e, net, rows, seed=s, max_rows=4) for s in (0, 0, 1))
    assert first.table() == second.table()
    assert first.table() != third.table()


def test_the_network_is_left_as_it_was(table):
    net, rows = table
    before, state = {k: v.clone() for k, v in net.state_dict().items()}, torch.random.get_rng_state()
    wb.check(wb.saliency(net, rows), net, rows, max_rows=4)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert torch.equal(state, torch.random.get_rng_state())
