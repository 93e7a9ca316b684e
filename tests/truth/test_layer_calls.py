"""Layers and embeddings that one pass calls several times: each call against a network in which every call is a layer of its own."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import whybox as wb
from networks.small import rows, seeded
from whybox.errors import InputError, OptionError, UnsupportedModelError
from whybox.models.registry import as_network

X, Y = rows(4, 3), rows(4, 3, seed=1)
A, B = rows(2, 3, 8, 8), rows(2, 3, 10, 6, seed=1)


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act = nn.Linear(3, 5), nn.Tanh()

    def forward(self, x):
        return self.act(self.first(x))


class Twins(nn.Module):
    """One tower for both inputs."""

    def __init__(self):
        super().__init__()
        self.tower, self.top = Tower(), nn.Linear(5, 2)

    def forward(self, x, y):
        a, b = self.tower(x), self.see(y)
        return self.top(a * b + a)

    def see(self, y):
        return self.tower(y)


class TwinsApart(Twins):
    def see(self, y):
        return self.second(y)


class Chain(nn.Module):
    """A layer after itself."""

    def __init__(self):
        super().__init__()
        self.step, self.act, self.top = nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)

    def forward(self, x):
        return self.top(self.act(self.again(self.act(self.step(x)))))

    def again(self, x):
        return self.step(x)


class ChainApart(Chain):
    def again(self, x):
        return self.second(x)


def only(e):
    """The explanation of a layer; with several inputs it comes in a tuple."""
    return e[0] if isinstance(e, tuple) else e


def apart(net, kind, shared):
    """The same network with a copy of a layer in place of its second call."""
    other = copy.deepcopy(net)
    other.__class__ = kind
    other.second = copy.deepcopy(getattr(net, shared))
    return other


@pytest.mark.parametrize("side", ["output", "input"])
@pytest.mark.parametrize("method", ["conductance", "layer_integrated_gradients"])
@pytest.mark.parametrize("kind", ["twins", "chain"])
def test_each_call_is_a_layer_of_its_own(kind, method, side):
    if kind == "twins":
        net, given, layers = seeded(Twins), (X, Y), ("tower.act", "second.act")
        other = apart(net, TwinsApart, "tower")
    else:
        net, given, layers = seeded(Chain), X, ("step", "second")
        other = apart(net, ChainApart, "step")
    for call, layer in enumerate(layers):
        ours = only(wb.saliency(net, given, 1, method, layer=layers[0], side=side, call=call))
        theirs = only(wb.saliency(other, given, 1, method, layer=layer, side=side))
        assert np.allclose(ours.values, theirs.values, atol=1e-6)
        assert ours.evidence.additive == theirs.evidence.additive
        assert f"{side} of layer '{layers[0]}' at its call {call}" in ours.evidence.estimand
        assert ours.evidence.spot_checks.numbers > 0


def test_the_conductances_of_all_calls_add_up_where_nothing_else_is_passed():
    net = seeded(Twins)
    each = [only(wb.saliency(net, (X, Y), 1, "conductance", layer="tower.act", call=k, tol=1e-3)) for k in range(2)]
    outputs = [net(*(torch.tensor(s * a) for a in (X, Y)))[:, 1].detach().numpy() for s in (1, 0)]
    total = sum(e.values.sum(axis=1) for e in each)
    assert np.allclose(total, outputs[0] - outputs[1], rtol=2e-3, atol=1e-5)
    chain = seeded(Chain)
    outputs = [chain(torch.tensor(s * X))[:, 1].detach().numpy() for s in (1, 0)]
    for k in range(2):  # all of the change passes through each
        e = wb.saliency(chain, X, 1, "conductance", layer="step", call=k, tol=1e-3)
        assert np.allclose(e.values.sum(axis=1), outputs[0] - outputs[1], rtol=2e-3, atol=1e-5)


class Eyes(nn.Module):
    """One eye for two pictures of different sizes."""

    def __init__(self):
        super().__init__()
        self.eye, self.act, self.top = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, a, b):
        one, two = self.act(self.eye(a)), self.act(self.see(b))
        return self.top(one.amax((2, 3)) - two.mean((2, 3)))

    def see(self, b):
        return self.eye(b)


class EyesApart(Eyes):
    def see(self, b):
        return self.second(b)


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "layercam", "scorecam", "guided_gradcam"])
def test_the_map_lies_on_the_picture_that_the_call_sees(method):
    net = seeded(Eyes)
    other = apart(net, EyesApart, "eye")
    for net_or_copy in (net, other):  # gradcam++ takes no negative numbers
        for part in (net_or_copy.eye, getattr(net_or_copy, "second", net_or_copy.eye)):
            part.register_forward_hook(lambda module, given, out: out.relu())
    layer = "eye"
    for k, layer_apart in enumerate((layer, "second")):
        theirs = wb.saliency(other, (A, B), 1, method, layer=layer_apart)
        for chosen in ({"on_input": k}, {"call": k}, {"call": f"input {k}"}):
            ours = wb.saliency(net, (A, B), 1, method, layer=layer, **chosen)
            assert len(ours) == 1
            assert ours[0].values.shape == (2, *(A, B)[k].shape[2:])
            assert np.allclose(ours[0].values, theirs[0].values, atol=1e-6)
    with pytest.raises(OptionError, match=r"called 2 times.*\(0: of input 0, 1: of input 1\): call=0"):
        wb.saliency(net, (A, B), 1, method, layer=layer)


def test_a_call_is_known_by_its_input():
    net = seeded(Twins)
    for k, name in enumerate("xy"):
        given = {"x": X, "y": Y}, 1, "conductance"
        by_name, by_number = (wb.saliency(net, *given, layer="tower.act", call=c)[0] for c in (name, k))
        assert np.array_equal(by_name.values, by_number.values)
        assert f"at its call {k}" in by_name.evidence.estimand


def test_checks_make_the_map_of_a_call_again():
    net = seeded(Eyes)
    e = wb.saliency(net, (A, B), 1, "gradcam", layer="eye", on_input=1)
    assert e[0].evidence.settings["resolved"]["call"] == 1
    assert wb.check(e, net, (A, B), checks=["numerical"]).verdict == "pass"


def test_what_is_refused():
    net, once = seeded(Twins), seeded(Tower)
    axes = ("channel", "y", "x")
    with pytest.raises(OptionError, match=r"on_input=0: the layer does not depend on it at call='input 1'"):
        wb.saliency(seeded(Eyes), (A, B), 1, "gradcam", layer="eye", call="input 1", on_input=0, layer_axes=axes)
    with pytest.raises(OptionError, match=r"called 2 times.*\(0: of input 0, 1: of input 1\): call=0"):
        wb.saliency(net, (X, Y), 1, "conductance", layer="tower.act")
    with pytest.raises(OptionError, match=r"call=2: layer 'tower.act' is called 2 times"):
        wb.saliency(net, (X, Y), 1, "conductance", layer="tower.act", call=2)
    with pytest.raises(OptionError, match=r"call=1: layer 'act' is called 1 time in one pass"):
        wb.saliency(once, X, 1, "conductance", layer="act", call=1)
    with pytest.raises(OptionError, match=r"call=0 is about one layer: name it"):
        wb.saliency(seeded(Eyes), (A, B), 1, "gradcam", call=0)
    with pytest.raises(
        OptionError, match=r"'step' is called 2 times in one pass; say which call is meant, counted from 0: call=0"
    ):
        wb.saliency(seeded(Chain), X, 1, "conductance", layer="step")
    with pytest.raises(OptionError, match="by an input.*0: of input, 1: of input"):
        wb.saliency(seeded(Chain), X, 1, "conductance", layer="step", call="input")
    with pytest.raises(OptionError, match="call='z': there is no such input"):
        wb.saliency(net, {"x": X, "y": Y}, 1, "conductance", layer="tower.act", call="z")
    with pytest.raises(OptionError, match="call"):
        wb.saliency(net, (X, Y), 1, "conductance", layer="tower.act", call=-1)
    with pytest.raises(OptionError, match="call"):
        wb.saliency(net, (X, Y), 1, "conductance", layer="tower.act", call=True)


class Pair(nn.Module):
    """Two texts through one embedding, the second one first."""

    def __init__(self):
        super().__init__()
        self.embed, self.top = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, ids, other_ids):
        b = self.embed(other_ids)
        return self.after(self.embed(ids), b)

    def after(self, a, b):
        return self.top(torch.tanh(a).mean(1) * b.sum(1) + a[:, 0])


class After(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, a, b):
        return self.net.after(a, b)


IDS, OTHER = np.random.default_rng(0).integers(0, 9, (3, 5)), np.random.default_rng(1).integers(0, 9, (3, 4))


def embedded(net, ids):
    return net.embed(torch.tensor(ids)).detach().numpy()


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("gradient", {}), ("gradient_x_input", {}), ("smoothgrad", {"samples": 6}), ("integrated_gradients", {}), ("deeplift", {}),
        ("ablation", {}), ("shapley", {}), ("occlusion", {"window": 1}),
    ],
)  # fmt: skip
def test_an_embedding_of_two_texts_has_a_map_of_each(method, options):
    net = seeded(Pair)
    given = {"ids": IDS, "other_ids": OTHER}
    token = (
        {"baseline_token": 2}
        if method in ("integrated_gradients", "deeplift", "ablation", "shapley", "occlusion")
        else {}
    )
    ours = wb.saliency(net, given, 1, method, embedding="embed", **options, **token)
    floats = embedded(net, IDS), embedded(net, OTHER)
    baseline = {"baseline": tuple(embedded(net, np.full_like(a, 2)) for a in (IDS, OTHER))} if token else {}
    theirs = wb.saliency(seeded(lambda: After(net)), floats, 1, method, channel_axis=2, **options, **baseline)
    assert [e.dims for e in ours] == [("row", "token")] * 2
    assert [e.values.shape for e in ours] == [(3, 5), (3, 4)]  # in the order of the inputs
    assert [str(e.extras["embedding_of"][1]) for e in ours] == ["ids", "other_ids"]
    for a, b in zip(ours, theirs, strict=True):
        assert np.allclose(a.values, b.values, atol=1e-5)
        assert a.evidence.spot_checks.numbers > 0


def test_they_add_up_together():
    net = seeded(Pair)
    ours = wb.saliency(net, (IDS, OTHER), 1, "integrated_gradients", embedding="embed", baseline_token=2, tol=1e-3)
    score, base = (
        net(*map(torch.tensor, of))[:, 1].detach().numpy() for of in ((IDS, OTHER), (IDS * 0 + 2, OTHER * 0 + 2))
    )
    total = sum(e.values.sum(axis=1) for e in ours)
    assert np.allclose(total, score - base, rtol=2e-3, atol=1e-5)
    assert all(e.evidence.additive for e in ours)


def test_backgrounds_are_embedded_call_by_call():
    net = seeded(Pair)
    more = np.random.default_rng(2).integers(0, 9, (6, 5)), np.random.default_rng(3).integers(0, 9, (6, 4))
    floats, background = ((embedded(net, a), embedded(net, b)) for a, b in ((IDS, OTHER), more))
    for method in ("expected_gradients", "ablation", "shapley"):
        ours = wb.saliency(net, (IDS, OTHER), 1, method, embedding="embed", background=more)
        theirs = wb.saliency(seeded(lambda: After(net)), floats, 1, method, channel_axis=2, background=background)
        for a, b in zip(ours, theirs, strict=True):
            assert np.allclose(a.values, b.values, atol=1e-5)


def test_an_embedding_called_twice_for_one_text_has_two_maps_of_it():
    class Twice(Pair):
        def forward(self, ids):
            return self.after(self.embed(ids), self.embed(ids.flip(1)))

    net = seeded(Twice)
    ours = wb.saliency(net, IDS, 1, "integrated_gradients", embedding="embed", baseline_token=0, tol=1e-3)
    score, base = (net(torch.tensor(of))[:, 1].detach().numpy() for of in (IDS, IDS * 0))
    assert [e.values.shape for e in ours] == [(3, 5), (3, 5)]
    assert [str(e.extras["embedding_of"][1]) for e in ours] == ["input, call 0", "input, call 1"]
    assert np.allclose(sum(e.values.sum(axis=1) for e in ours), score - base, rtol=2e-3, atol=1e-5)


def test_checks_and_absent_tokens_of_such_maps_say_what_to_do():
    net = seeded(Pair)
    ours = wb.saliency(net, (IDS, OTHER), 1, "gradient", embedding="embed")
    for e in (ours, ours[0]):
        with pytest.raises(InputError, match="an embedding that is called several times"):
            wb.check(e, net, (IDS, OTHER))
    with pytest.raises(OptionError, match=r"which token replaces absent ones is not known.*baseline_token=\.\.\."):
        wb.saliency(net, (IDS, OTHER), 1, "ablation", embedding="embed")


def test_a_mask_beside_them_is_held():
    class Masked(Pair):
        def forward(self, ids, mask, other_ids):
            return self.after(self.embed(ids) * mask[..., None], self.embed(other_ids))

    net, mask = seeded(Masked), np.ones_like(IDS)
    mask[:, 3:] = 0
    a, b = wb.saliency(net, (IDS, mask, OTHER), 1, "gradient", embedding="embed")
    assert (a.values.shape, b.values.shape) == ((3, 5), (3, 4))
    assert not a.values[:, 3:].any()
    assert a.values[:, :3].any()


def test_calls_of_equinox_and_flax():
    jax, eqx, nnx = pytest.importorskip("jax"), pytest.importorskip("equinox"), pytest.importorskip("flax.nnx")
    jnp = jax.numpy

    class EyesOfEquinox(eqx.Module):
        eye: eqx.nn.Conv2d
        top: eqx.nn.Linear
        second: eqx.nn.Conv2d | None = None

        def __call__(self, a, b):
            one, two = jax.nn.relu(self.eye(a)), jax.nn.relu((self.second or self.eye)(b))
            return self.top(one.max((1, 2)) - two.mean((1, 2)))

    keys = jax.random.split(jax.random.key(0))
    eye = eqx.nn.Conv2d(3, 4, 3, stride=2, padding=1, key=keys[0])
    top = eqx.nn.Linear(4, 2, key=keys[1])
    nets = EyesOfEquinox(eye, top), EyesOfEquinox(eye, top, jax.tree_util.tree_map(lambda a: a + 0, eye))
    ours = wb.saliency(nets[0], (A, B), 1, "gradcam", layer="eye", call="input 1", spot_checks=0)
    theirs = wb.saliency(nets[1], (A, B), 1, "gradcam", layer="second", spot_checks=0)
    assert np.allclose(ours[0].values, theirs[0].values, atol=1e-5)
    with pytest.raises(OptionError, match="called 2 times in one pass"):
        wb.saliency(nets[0], (A, B), 1, "conductance", layer="eye")

    class PairOfFlax(nnx.Module):
        def __init__(self, rngs):
            self.embed, self.top = nnx.Embed(9, 4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)

        def after(self, a, b):
            return self.top(jnp.tanh(a).mean(1) * b.sum(1) + a[:, 0])

        def __call__(self, ids, other_ids):
            b = self.embed(other_ids)
            return self.after(self.embed(ids), b)

    net = PairOfFlax(nnx.Rngs(0))
    net.eval()
    floats = [np.asarray(net.embed(a)) for a in (IDS, OTHER)]
    ours = wb.saliency(net, (IDS, OTHER), 1, "gradient", embedding="embed", reduce="sum", spot_checks=0)
    whole = wb.networks.jax(net.after)
    theirs = wb.saliency(whole, tuple(floats), 1, channel_axis=2, reduce="sum", spot_checks=0)
    for a, b in zip(ours, theirs, strict=True):
        assert np.allclose(a.values, b.values, atol=1e-5)
    with pytest.raises(UnsupportedModelError, match="after an embedding in torch modules alone"):
        wb.saliency(net, (IDS, OTHER), 1, "conductance", layer="top", embedding="embed")


def test_layers_that_equinox_maps_over_tokens():
    jax, eqx = pytest.importorskip("jax"), pytest.importorskip("equinox")

    class Reader(eqx.Module):
        embed: eqx.nn.Embedding
        hidden: eqx.nn.Linear
        top: eqx.nn.Linear

        def after(self, a, b):
            return self.top(jax.numpy.tanh(jax.vmap(self.hidden)(a)).mean(0) * b.sum(0))

        def __call__(self, ids, other_ids):
            b = jax.vmap(self.embed)(other_ids)
            return self.after(jax.vmap(self.embed)(ids), b[:, :3])

    keys = jax.random.split(jax.random.key(0), 3)
    net = Reader(
        eqx.nn.Embedding(9, 4, key=keys[0]), eqx.nn.Linear(4, 3, key=keys[1]), eqx.nn.Linear(3, 2, key=keys[2])
    )
    ours = wb.saliency(net, (IDS, OTHER), 1, embedding="embed", reduce="sum", spot_checks=0)
    floats = [np.asarray(net.embed.weight)[a] for a in (IDS, OTHER)]
    whole = wb.networks.jax(lambda a, b: net.after(a, b[:, :3]), batched=False)
    theirs = wb.saliency(whole, tuple(floats), 1, channel_axis=2, reduce="sum", spot_checks=0)
    assert [e.values.shape for e in ours] == [(3, 5), (3, 4)]
    for a, b in zip(ours, theirs, strict=True):
        assert np.allclose(a.values, b.values, atol=1e-6)
    twice = wb.networks.jax(lambda a: jax.vmap(jax.vmap(net.hidden))(a).sum((0, 1)), batched=False)
    with pytest.raises(UnsupportedModelError, match="layers of a plain JAX function"):
        wb.saliency(twice, rows(2, 3, 3, 4), 1, "conductance", layer="hidden")

    class Nested(eqx.Module):
        inner: eqx.nn.Linear

        def __call__(self, x):
            return jax.vmap(jax.vmap(self.inner))(x).sum((0, 1))

    with pytest.raises(UnsupportedModelError, match="under vmap or scan"):
        wb.saliency(Nested(net.hidden), rows(2, 3, 3, 4), 1, "conductance", layer="inner")


class Sometimes(nn.Module):
    """An embedding that is called once more where the second input holds a large number."""

    def __init__(self):
        super().__init__()
        self.embed, self.top = nn.Embedding(9, 4), nn.Linear(4, 2)

    def forward(self, x, y):
        h = self.embed(x) + self.embed(y)
        if int(y.max()) > 6:
            h = h + self.embed(y)
        return self.top(h.mean(1))


@pytest.mark.parametrize(
    ("large_row", "batch", "method", "options"),
    [
        (0, 99, "gradient", {}),
        (3, 99, "gradient", {}),
        (3, 2, "gradient", {}),
        (None, 99, "integrated_gradients", {"baseline_token": 8}),
        (None, 99, "expected_gradients", {"background": (np.full((2, 3), 8),) * 2}),
    ],
)
def test_an_embedding_that_is_called_more_often_for_some_rows_is_refused(large_row, batch, method, options):
    net = replace(as_network(seeded(Sometimes)), max_batch_size=batch)
    y = np.tile([1, 2, 3], (4, 1))
    if large_row is not None:
        y[large_row, 0] = 8
    with pytest.raises(UnsupportedModelError, match=r"'embed' is called \d times for some rows and \d for others"):
        wb.saliency(net, (np.tile([4, 5, 6], (4, 1)), y), 1, method, embedding="embed", **options)
