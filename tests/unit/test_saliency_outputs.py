"""Networks that return more than one array: the only array is taken unasked, and functions of the output are given all of it."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import whybox as wb
from networks.small import Formula, rows, seeded
from whybox.errors import OptionError

X = rows(5, 4)


class ModelOutput(OrderedDict):
    """As that of transformers: a dict whose keys are attributes too."""

    def __getattr__(self, name):
        if name in self:
            return self[name]
        raise AttributeError(name)


def flat():
    return seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)))


def returning(wrap):
    inner = flat()
    net = Formula(lambda x: wrap(inner(x), x))
    net.inner = inner
    return net


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y, x: {"logits": y},
        lambda y, x: ModelOutput(logits=y, past=SimpleNamespace(cache=x), loss=None),
        lambda y, x: SimpleNamespace(logits=y, size=3),
        lambda y, x: ((y, None),),
        lambda y, x: {"out": {"logits": y}, "name": "a"},
        lambda y, x: [y],
    ],
)
def test_the_only_array_is_taken_unasked(wrap):
    want = wb.saliency(flat(), X, 1, "integrated_gradients").values
    assert np.allclose(wb.saliency(returning(wrap), X, 1, "integrated_gradients").values, want, atol=1e-6)
    assert np.allclose(wb.saliency(returning(wrap), X, 1, "deeplift").values.sum(1), want.sum(1), atol=1e-2)


@pytest.mark.parametrize(
    "wrap", [lambda y, x: {"logits": y, "states": (x, x)}, lambda y, x: (y, x), lambda y, x: SimpleNamespace(a=y, b=x)]
)
def test_one_of_several_arrays_is_not_guessed(wrap):
    with pytest.raises(
        OptionError, match=r"name the part to explain: output=.* or a function of all of it: target=lambda"
    ):
        wb.saliency(returning(wrap), X, 1)


def test_a_function_is_given_all_that_the_network_returns():
    inner, net = flat(), returning(lambda y, x: ModelOutput(logits=y, size=x.sum(1)))
    e = wb.saliency(net, X, lambda out: out.logits[:, 2] * out["size"])
    want = wb.saliency(Formula(lambda x: inner(x)[:, 2] * x.sum(1)), X)
    assert np.allclose(e.values, want.values, atol=1e-6)
    part = wb.saliency(net, X, lambda logits: logits[:, 2], output="logits")
    assert np.allclose(part.values, wb.saliency(inner, X, 2).values, atol=1e-6)
    one = wb.saliency(returning(lambda y, x: (y,)), X, lambda y: y[:, 2])
    assert np.allclose(one.values, part.values, atol=1e-6)
    assert wb.check(e, net, X, target=lambda out: out.logits[:, 2] * out["size"], checks="numerical").passed
    with pytest.raises(
        OptionError, match=r"fails \(TypeError: .* on what the network returns, a ModelOutput of \['logits', 'size'\]"
    ):
        wb.saliency(net, X, lambda out: out + 1)
    with pytest.raises(OptionError, match="one number a row"):
        wb.saliency(net, X, lambda out: out.logits)


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "occlusion"])
@pytest.mark.parametrize("count", [1, 4])
def test_detectors_with_a_list_of_boxes_for_each_row(method, count):
    """Each row has as many scores as pass a threshold, so the result is no array."""
    inner = flat()

    def detect(x):
        scores = torch.sigmoid(inner(x))
        return [{"scores": one[one > 0.2].sort(descending=True).values, "labels": torch.arange(3)} for one in scores]

    def best(found):
        return torch.stack([one["scores"][:1].sum() for one in found])

    net = Formula(detect)
    net.inner = inner
    given = X[:count]
    want = wb.saliency(Formula(lambda x: torch.sigmoid(inner(x)).amax(1)), given, method=method)
    assert np.allclose(wb.saliency(net, given, best, method).values, want.values, atol=1e-4)


def test_the_same_in_jax():
    jnp = pytest.importorskip("jax.numpy")
    weights = rows(4, 3)

    def function(params, x):
        return {"logits": jnp.tanh(x @ params), "size": x.sum(1)}

    net = wb.networks.jax(function, weights)
    e = wb.saliency(net, X, lambda out: out["logits"][:, 1] * out["size"])
    want = wb.saliency(wb.networks.jax(lambda p, x: jnp.tanh(x @ p)[:, 1] * x.sum(1), weights), X)
    assert np.allclose(e.values, want.values, atol=1e-5)
    only = wb.saliency(wb.networks.jax(lambda p, x: {"logits": jnp.tanh(x @ p), "n": 3}, weights), X, 1)
    assert np.allclose(only.values, wb.saliency(net, X, 1, output="logits").values, atol=1e-5)
    with pytest.raises(OptionError, match="logits"):
        wb.saliency(net, X, 1)


class Ends(nn.Module):
    """Where an answer starts and ends in a text."""

    def __init__(self):
        super().__init__()
        self.embed, self.ends = nn.Embedding(9, 4), nn.Linear(4, 2)

    def forward(self, ids):
        out = self.ends(torch.tanh(self.embed(ids)))
        return SimpleNamespace(start=out[..., 0], end=out[..., 1])


def test_a_function_of_several_outputs_goes_with_an_embedding():
    """The embedding is looked for before the function is set: its layer alone is asked about."""
    net, ids = seeded(Ends), np.random.default_rng(0).integers(0, 9, (4, 5))
    both = lambda out: out.start.max(1).values + out.end.max(1).values
    e = wb.saliency(net, ids, both, "integrated_gradients", embedding="embed", baseline_token=0)
    whole = Formula(lambda ids: both(net(ids)))
    whole.net = net
    want = wb.saliency(whole, ids, None, "integrated_gradients", embedding="net.embed", baseline_token=0)
    assert np.allclose(e.values, want.values, atol=1e-6)
    assert wb.check(e, net, ids, target=both, checks="numerical").passed
    with pytest.raises(OptionError, match=r"name the part to explain: output=.*'start', 'end'"):
        wb.saliency(net, ids, embedding="embed")


def test_the_same_in_equinox():
    jax, eqx = pytest.importorskip("jax"), pytest.importorskip("equinox")

    class Reader(eqx.Module):
        embed: eqx.nn.Embedding
        ends: eqx.nn.Linear

        def __call__(self, ids):
            out = jax.vmap(self.ends)(jax.numpy.tanh(jax.vmap(self.embed)(ids)))
            return {"start": out[:, 0], "end": out[:, 1]}

    keys = jax.random.split(jax.random.key(0), 2)
    net = Reader(eqx.nn.Embedding(9, 4, key=keys[0]), eqx.nn.Linear(4, 2, key=keys[1]))
    ids = np.random.default_rng(0).integers(0, 9, (4, 5))
    both = wb.saliency(net, ids, lambda out: out["start"][:, 1] + out["end"][:, 2], embedding="embed", reduce="sum")
    one = [
        wb.saliency(net, ids, k, output=part, embedding="embed", reduce="sum") for part, k in (("start", 1), ("end", 2))
    ]
    assert np.allclose(both.values, one[0].values + one[1].values, atol=1e-6)


def test_axes_of_series_are_found_under_a_function_of_several_outputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.see, self.judge = nn.Conv1d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            found = torch.tanh(self.see(x)).mean(2)
            return {"logits": self.judge(found), "found": found}

    e = wb.saliency(seeded(Two), rows(4, 3, 9), lambda out: out["logits"][:, 0])
    assert e.dims == ("row", "feature", "time")


@pytest.mark.parametrize("method", ["gradient", "occlusion"])
def test_a_function_that_answers_in_another_library_is_refused(method):
    net, x = seeded(lambda: nn.Linear(3, 2)), rows(5, 3)
    with pytest.raises(OptionError, match=r"an array of the network's library; it returned ndarray of shape \(1,\)"):
        wb.saliency(net, x, lambda out: out.detach().numpy()[:, 0], method)
    e = wb.saliency(lambda a: a, x, lambda out: np.asarray(out)[:, 0], "occlusion")
    assert np.allclose(e.values[:, 0], x[:, 0], atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_a_function_that_decides_is_explained_by_its_zeros_and_ones(dtype):
    net, x = seeded(lambda: nn.Linear(3, 2)), rows(5, 3)
    of_floats = wb.saliency(net, x, lambda out: (out[:, 0] > 0).float(), "occlusion")
    of_others = wb.saliency(net, x, lambda out: (out[:, 0] > 0).to(dtype), "occlusion")
    assert of_floats.values.any()
    assert np.array_equal(of_floats.values, of_others.values)


@pytest.mark.parametrize("method", ["occlusion", "rise", "ablation", "shapley", "lime"])
def test_parts_have_one_number_for_their_channels(method):
    net = seeded(lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)))
    pictures = rows(2, 2, 8, 8)
    for reduce in (None, "max"):
        with pytest.raises(OptionError, match=f"{method}.* changes all channels of a place together"):
            wb.saliency(net, pictures, 1, method, reduce=reduce)
    alike = wb.saliency(net, pictures, 1, method, reduce="sum").values
    assert np.array_equal(alike, wb.saliency(net, pictures, 1, method).values)
    if method in ("ablation", "shapley", "lime"):
        with pytest.raises(OptionError, match="explains channels, which stay"):
            wb.saliency(net, pictures, 1, method, parts="channels", reduce="sum")
        e = wb.saliency(net, pictures, 1, method, parts="channels", reduce=None)
        assert "channel" in e.dims
        assert wb.check(e, net, pictures, options={"parts": "channels"}, checks="numerical").passed
