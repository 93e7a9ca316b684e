"""Attributions of a layer: conductance against its definition, integrated gradients against the rest of the network, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import whybox as wb
from networks.small import Formula, rows, seeded
from whybox.errors import InputError, OptionError, SpotCheckError, UnsupportedModelError
from whybox.methods.saliency import conductance

X = rows(5, 4)


class Wide(nn.Module):
    """Two layers; `bypass`: the input goes past them too."""

    def __init__(self, *, bypass=False):
        super().__init__()
        self.first, self.act, self.second, self.bypass = nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2), bypass

    def forward(self, x):
        out = self.second(self.act(self.first(x)))
        return out + x[:, :2] * out if self.bypass else out


def conductance_by_definition(net, layer, x, baseline, points=200):
    """The sum over inputs of (x - baseline) times the integral of d score / d unit times d unit / d input, at midpoints of the path."""
    kept = []
    handle = dict(net.named_modules())[layer].register_forward_hook(lambda m, given, out: kept.append(out))
    total = torch.zeros(())
    for t in (np.arange(points) + 0.5) / points:
        at = torch.tensor(baseline + t * (x - baseline), dtype=torch.float64, requires_grad=True)
        kept.clear()
        score = net(at[None])[0, 1]
        by_unit = torch.autograd.grad(score, kept[0], retain_graph=True)[0][0].flatten()
        by_input = torch.stack([torch.autograd.grad(unit, at, retain_graph=True)[0] for unit in kept[0].flatten()])
        change = torch.tensor(x - baseline, dtype=torch.float64)
        total = total + by_unit * (by_input @ change) / points
    handle.remove()
    return total.detach().numpy()


@pytest.mark.parametrize("bypass", [False, True])
def test_conductance_is_that_of_its_definition(bypass):
    net = seeded(lambda: Wide(bypass=bypass)).double()
    baseline = np.array([0.3, -0.2, 0.1, 0.5])
    e = wb.saliency(net, torch.tensor(X.astype(float)), 1, "conductance", layer="act", baseline=baseline, tol=1e-4)
    for i in range(2):
        want = conductance_by_definition(net, "act", X[i].astype(float), baseline)
        assert np.allclose(e.values[i], want, atol=1e-4 * np.abs(want).max())
    if bypass:
        assert not e.evidence.additive
        assert any(
            note.startswith("PARTIAL: the score depends on the inputs past the output of layer 'act'")
            for note in e.evidence.notes
        )
    else:
        assert e.evidence.additive
        assert e.extras["converged"][1].all()


def test_a_skip_that_is_closed_at_the_first_row_is_noticed():
    net = seeded(Wide)
    skipped = Formula(lambda x: net(x) + torch.relu(x[:, :2]))
    skipped.inner = net
    x = np.abs(X)
    x[0] *= -1
    e = wb.saliency(skipped, x, 1, "conductance", layer="inner.act")
    assert not e.evidence.additive
    assert [note.partition(":")[0] for note in e.evidence.notes] == ["PARTIAL"]


def test_conductance_of_a_product_and_of_a_line_are_known():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair, self.line = nn.Linear(4, 2), nn.Linear(2, 1)

        def forward(self, x):
            two = self.pair(x)
            return torch.stack([two[:, 0] * two[:, 1], self.line(two)[:, 0]], 1)

    net = seeded(Product)
    with torch.no_grad():
        two, start = net.pair(torch.tensor(X)).numpy(), net.pair(torch.zeros(1, 4)).numpy()[0]
    change = two - start
    e = wb.saliency(net, X, "all", "conductance", layer="pair")
    assert np.allclose(e.values[:, 0, 0], start[1] * change[:, 0] + change[:, 0] * change[:, 1] / 2, atol=1e-5)
    assert np.allclose(e.values[..., 1], net.line.weight.detach().numpy()[0] * change, atol=1e-5)
    assert (e.extras["steps"][1] == conductance.FIRST_STEPS).all()


def test_conductance_adds_up_with_kinks_and_over_several_baselines():
    net = seeded(lambda: nn.Sequential(nn.Linear(4, 20), nn.ReLU(), nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 2)))
    e = wb.saliency(net, X, 1, "conductance", layer="1", background=rows(3, 4, seed=5))
    assert np.allclose(e.values.sum(1), e.prediction - e.extras["base"][1], atol=0.02)
    alone = [wb.saliency(net, X, 1, "conductance", layer="1", baseline=b).values for b in rows(3, 4, seed=5)]
    assert np.allclose(e.values, np.mean(alone, axis=0), atol=1e-5)
    few = wb.saliency(net, X, 1, "conductance", layer="1", steps=4)
    assert (few.extras["steps"][1] == 4).all()


def test_integrated_gradients_of_a_layer_are_those_of_the_rest_of_the_network():
    net = seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, 3)))
    with torch.no_grad():
        at, start = net[:2](torch.tensor(X)).numpy(), net[:2](torch.full((1, 4), 0.5)).numpy()[0]
    want = wb.saliency(net[2:].eval(), at, 2, "integrated_gradients", baseline=start)
    e = wb.saliency(net, X, 2, "layer_integrated_gradients", layer="1", baseline=0.5)
    assert np.allclose(e.values, want.values, atol=1e-6)
    assert np.allclose(e.values.sum(1), e.prediction - e.extras["base"][1], atol=0.02)
    assert e.dims == ("row", "feature")
    assert e.feature_names == tuple(f"unit {k}" for k in range(6))
    assert np.allclose(np.asarray(e.data), at, atol=1e-6)
    assert e.evidence.spot_checks.numbers > 0
    given = wb.saliency(net, X, 2, "layer_integrated_gradients", layer="2", side="input", baseline=0.5)
    assert np.allclose(given.values, e.values, atol=1e-6)
    several = wb.saliency(net, X, 2, "layer_integrated_gradients", layer="1", background=X[:2])
    two = [wb.saliency(net[2:].eval(), at, 2, "integrated_gradients", baseline=at[k]).values for k in range(2)]
    assert np.allclose(several.values, np.mean(two, axis=0), atol=1e-3)


def test_other_inputs_stay_where_a_layer_is_passed_by():
    net = seeded(lambda: Wide(bypass=True))
    e = wb.saliency(net, X, 1, "layer_integrated_gradients", layer="act")
    with torch.no_grad():
        start = net.act(net.first(torch.zeros(1, 4)))
        base = (net.second(start) * (1 + torch.tensor(X)[:, :2]))[:, 1].numpy()
    assert np.allclose(e.extras["base"][1], base, atol=1e-6)
    assert e.extras["converged"][1].all()


def test_layers_of_pictures_keep_their_channels_unless_they_are_summed():
    net = seeded(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    )
    pictures = rows(2, 3, 6, 6)
    for method in ("conductance", "layer_integrated_gradients"):
        kept = wb.saliency(net, pictures, 1, method, layer="1")
        summed = wb.saliency(net, pictures, 1, method, layer="1", reduce="sum")
        assert kept.dims == ("row", "channel", "y", "x")
        assert kept.values.shape == (2, 4, 4, 4)
        assert summed.dims == ("row", "y", "x")
        assert np.allclose(summed.values, kept.values.sum(1), atol=1e-6)
        with torch.no_grad():
            assert np.allclose(kept.extras["activation"][1], net[:2](torch.tensor(pictures)), atol=1e-6)
    # a layer without kinks behind it: linear in each unit
    weight = net[4].weight.detach().numpy()[1]
    with torch.no_grad():
        change = (net[:2](torch.tensor(pictures)) - net[:2](torch.zeros(1, 3, 6, 6))).numpy()
    assert np.allclose(kept.values, change * weight[:, None, None] / 16, atol=1e-6)


def test_guided_gradcam_is_the_product_of_the_two():
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(80, 3)
        )
    )
    pictures = rows(2, 3, 8, 8)
    options = {"layer": "3"}
    guided = wb.saliency(net, pictures, 1, "guided_backprop", reduce=None).values
    cam = wb.saliency(net, pictures, 1, "gradcam", **options).values
    product = wb.saliency(net, pictures, 1, "guided_gradcam", reduce=None, **options)
    assert np.allclose(product.values, guided * cam[:, None], atol=1e-7)
    largest = wb.saliency(net, pictures, 1, "guided_gradcam", **options)
    assert np.allclose(largest.values, np.abs(product.values).max(1), atol=1e-7)
    assert largest.evidence.spot_checks.numbers > 0


def test_wrong_sums_of_conductance_are_found(monkeypatch):
    net, evaluate = seeded(Wide), conductance._LayerPaths._evaluate

    def wrong(self, which, steps):
        evaluate(self, which, steps)
        self.maps[:, which] *= 1.001

    monkeypatch.setattr(conductance._LayerPaths, "_evaluate", wrong)
    with pytest.raises(SpotCheckError):
        wb.saliency(net, X, 1, "conductance", layer="act")


def test_wrong_gradients_at_a_layer_are_found(monkeypatch):
    from whybox.adapters.torch.module import TorchNetwork

    net, tap_layer = seeded(Wide), TorchNetwork.tap_layer

    def wrong(self, *given):
        tap = tap_layer(self, *given)
        pull = tap.pullback
        return type(tap)(tap.outputs, tap.activation, lambda *a, **named: pull(*a, **named) * 1.3)

    monkeypatch.setattr(TorchNetwork, "tap_layer", wrong)
    with pytest.raises((SpotCheckError, UnsupportedModelError)):
        wb.saliency(net, X, 1, "conductance", layer="act")


@pytest.mark.parametrize("method", ["conductance", "layer_integrated_gradients"])
def test_what_layers_cannot_be_asked(method, tmp_path):
    net = seeded(Wide)
    with pytest.raises(OptionError, match=r"explains a layer; name it: layer=\.\.\. \(one of first, act, second\)"):
        wb.saliency(net, X, 1, method)
    with pytest.raises(OptionError, match="no layer 'acts'"):
        wb.saliency(net, X, 1, method, layer="acts")
    with pytest.raises(OptionError, match="'output' or 'input'"):
        wb.saliency(net, X, 1, method, layer="act", side="both")
    with pytest.raises(UnsupportedModelError, match="needs derivatives"):
        wb.saliency(lambda x: x.sum(1), X, method=method, layer="act")
    twice = Formula(lambda x: twice.inner(twice.inner(x)))
    twice.inner = seeded(lambda: nn.Linear(4, 4))
    with pytest.raises(OptionError, match="'inner' is called 2 times in one pass; say which call is meant"):
        wb.saliency(twice, X, 1, method, layer="inner")
    e = wb.saliency(net, X, 1, method, layer="act")
    with pytest.raises(InputError, match="explains a layer"):
        wb.check(e, net, X)
    with pytest.raises(OptionError, match="a report shows maps of the inputs"):
        wb.report(net, X, tmp_path / "report.html", methods=[method], output=1)
    e.save(tmp_path / "layer.whybox")
    assert np.array_equal(wb.load(tmp_path / "layer.whybox").values, e.values)


def test_steps_of_conductance_are_even():
    with pytest.raises(OptionError, match="must be even"):
        wb.saliency(seeded(Wide), X, 1, "conductance", layer="act", steps=3)


def test_layers_of_jax_modules():
    equinox, jax = pytest.importorskip("equinox"), pytest.importorskip("jax")
    net = equinox.nn.MLP(4, 2, 6, 1, activation=jax.numpy.tanh, key=jax.random.PRNGKey(0))
    name = "layers.0"
    e = wb.saliency(net, X[:2], 1, "conductance", layer=name, steps=16, spot_checks=0)
    assert np.allclose(e.values.sum(1), e.prediction - e.extras["base"][1], atol=0.02)
    assert wb.saliency(net, X[:2], 1, "layer_integrated_gradients", layer=name, steps=8).values.shape == (2, 6)
    with pytest.raises(UnsupportedModelError, match="torch modules alone"):
        wb.saliency(net, X[:2], 1, "conductance", layer="layers.1", side="input")


class Reader(nn.Module):
    """Token ids and a number beside them."""

    def __init__(self):
        super().__init__()
        self.embed, self.hidden, self.top = nn.Embedding(9, 4), nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, ids, weight=None):
        out = self.top(torch.tanh(self.hidden(self.embed(ids))).mean(1))
        return out if weight is None else out * weight


def test_whole_numbers_have_a_baseline_where_the_path_is_the_layer_s():
    net, rng = seeded(Reader), np.random.default_rng(0)
    ids, others = rng.integers(0, 9, (3, 5)), rng.integers(0, 9, (4, 5))
    known = wb.saliency(net, ids, 1, "integrated_gradients", embedding="embed", baseline_token=2)
    for baseline in (2, np.full(5, 2), np.full((3, 5), 2)):
        e = wb.saliency(net, ids, 1, "layer_integrated_gradients", layer="embed", baseline=baseline)
        assert np.allclose(e.values.sum(axis=2), known.values, atol=1e-5)
        assert e.evidence.additive
    hidden = wb.saliency(net, ids, 1, "layer_integrated_gradients", layer="hidden", baseline=2, tol=1e-3)
    score, base = (net(torch.tensor(of))[:, 1].detach().numpy() for of in (ids, 0 * ids + 2))
    assert np.allclose(hidden.values.sum(axis=(1, 2)), score - base, rtol=2e-3, atol=1e-5)
    averaged = wb.saliency(net, ids, 1, "layer_integrated_gradients", layer="hidden", background=others, tol=1e-3)
    bases = net(torch.tensor(others))[:, 1].detach().numpy().mean()
    assert np.allclose(averaged.values.sum(axis=(1, 2)), score - bases, rtol=3e-3, atol=1e-4)
    weight = rows(3, 1)
    (both,) = wb.saliency(net, (ids, weight), 1, "layer_integrated_gradients", layer="hidden", baseline=(2, 0.0))
    assert np.allclose(both.values, hidden.values * weight[:, :, None], atol=1e-3)
    with pytest.raises(
        OptionError, match=r"whole numbers \(token ids, categories\) have none of their own.*baseline=0"
    ):
        wb.saliency(net, ids, 1, "layer_integrated_gradients", layer="hidden")
    with pytest.raises(InputError, match="whole number"):
        wb.saliency(net, ids, 1, "layer_integrated_gradients", layer="hidden", baseline=0.5)


def test_conductance_from_a_baseline_on_a_kink():
    """Zeros are on the kink of every ReLU without biases, where torch's derivative is 0: the path's first gradient is taken just after it."""
    draw = torch.Generator().manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 4, bias=False), torch.nn.ReLU(), torch.nn.Linear(4, 2, bias=False)
    ).eval()
    x = torch.randn(5, 3, generator=draw)
    found = wb.saliency(net, x, 1, "conductance", layer="0", baseline=0, steps=4)
    units = net[0](x)
    expected = units.relu() * net[2].weight[1]  # the network is linear on the way from 0
    assert np.allclose(found.values, expected.detach().numpy(), atol=1e-5)
