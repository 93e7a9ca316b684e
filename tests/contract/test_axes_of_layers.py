"""Axes of layers and of series in equinox, flax, Keras (whatever backend this process has, and JAX) and exported programs: found, or asked for."""

import os
from functools import cache

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest
import torch

import whybox as wb
from whybox.errors import OptionError, UnsupportedModelError

X = np.random.default_rng(0).normal(size=(3, 3, 8, 6)).astype(np.float32)
LAST = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
W = np.random.default_rng(1).normal(size=(6, 3, 3, 3)).astype(np.float32) * 0.3
V = np.random.default_rng(2).normal(size=(6, 8, 6)).astype(np.float32)
S = np.random.default_rng(3).normal(size=(3, 4, 9)).astype(np.float32)
TURNS = [(0, 1, 2), (1, 2, 0), (2, 1, 0), (2, 0, 1)]
METHODS = ("gradcam", "gradcam++", "layercam", "scorecam")


@cache
def want(method):
    """The map of relu(conv(x)) whose score is the sum of V times its squares, with channels first in torch."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3, padding=1, bias=False), torch.nn.ReLU())
    net.add_module("square", Square())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor(W))
    return wb.saliency(net.eval(), X, None, method, layer="1").values


class Square(torch.nn.Module):
    def forward(self, h):
        return (h**2 * torch.tensor(V)).flatten(1).sum(1)


def back(turn):
    return tuple(int(i) for i in np.argsort(turn))


def equinox_net(turn):
    jax, eqx = pytest.importorskip("jax"), pytest.importorskip("equinox")

    class Net(eqx.Module):
        conv: eqx.nn.Conv2d
        grid: eqx.nn.Identity

        def __call__(self, x):
            h = self.grid(jax.nn.relu(self.conv(x)).transpose(turn))
            return (h.transpose(back(turn)) ** 2 * V).sum()[None]

    conv = eqx.nn.Conv2d(3, 6, 3, padding=1, use_bias=False, key=jax.random.key(0))
    return Net(eqx.tree_at(lambda c: c.weight, conv, jax.numpy.asarray(W)), eqx.nn.Identity()), X


def flax_net(turn):
    nnx = pytest.importorskip("flax.nnx")
    import jax

    class Same(nnx.Module):
        def __call__(self, x):
            return x

    class Net(nnx.Module):
        def __init__(self):
            self.conv = nnx.Conv(3, 6, (3, 3), padding=1, use_bias=False, rngs=nnx.Rngs(0))
            self.grid = Same()

        def __call__(self, x):
            first = jax.nn.relu(self.conv(x)).transpose(0, 3, 1, 2)
            h = self.grid(first.transpose(0, *(1 + i for i in turn)))
            return (h.transpose(0, *(1 + i for i in back(turn))) ** 2 * V).sum((1, 2, 3))[:, None]

    net = Net()
    net.conv.kernel[...] = W.transpose(2, 3, 1, 0)
    return net, LAST


def keras_net(turn, *, first=False):
    keras = pytest.importorskip("keras")
    layers, ops = keras.layers, keras.ops
    was = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first" if first else "channels_last")
    try:
        i = keras.Input((3, 8, 6) if first else (8, 6, 3))
        h = layers.Conv2D(6, 3, padding="same", use_bias=False, activation="relu", name="conv")(i)
    finally:
        keras.config.set_image_data_format(was)
    h = h if first else layers.Permute((3, 1, 2))(h)
    h = layers.Identity(name="grid")(layers.Permute(tuple(1 + i for i in turn))(h))
    h = layers.Permute(tuple(1 + i for i in back(turn)))(h)
    net = keras.Model(i, ops.sum(h**2 * V[None], axis=(1, 2, 3))[:, None])
    net.get_layer("conv").set_weights([W.transpose(2, 3, 1, 0)])
    return net, X if first else LAST


def every(make, turns):
    for turn in turns:
        net, x = make(turn)
        for method in METHODS if turn == TURNS[1] else METHODS[:1]:
            e = wb.saliency(net, x, None, method, layer="grid", channel_axis=1 if x is X else 3)
            np.testing.assert_allclose(e.values, want(method), rtol=2e-4, atol=1e-5)
            assert "found by resizing the input and by changing parts of it" in e.evidence.kernel


def keras_net_first(turn):
    return keras_net(turn, first=True)


@pytest.mark.parametrize("turns", [TURNS[1::2], pytest.param(TURNS, marks=pytest.mark.soak)], ids=["some", "all"])
@pytest.mark.parametrize("make", [equinox_net, flax_net, keras_net, keras_net_first])
def test_a_layer_in_any_order_gives_one_map(make, turns):
    """Layers of torch stand in every order in tests/truth; here each library shows its layers to the same code."""
    every(make, turns)


def test_layers_of_an_exported_program_that_takes_one_size(tmp_path):
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 2)
    ).eval()
    with torch.no_grad():
        program = torch.export.export(net, (torch.tensor(X[:1]),))
    torch.export.save(program, tmp_path / "one.pt2")
    e = wb.saliency(wb.networks.exported(tmp_path / "one.pt2"), X, 1, "gradcam")
    assert (
        "'inner.1' (row, channel, y, x: found by resizing the input and by changing parts of it)" in e.evidence.kernel
    )
    np.testing.assert_allclose(e.values, wb.saliency(net, X, 1, "gradcam", layer="1").values, rtol=1e-4, atol=1e-6)


# series


class Convolved(torch.nn.Module):
    def __init__(self, *, turned, before=None):
        super().__init__()
        self.conv, self.turned, self.before = torch.nn.Conv1d(4, 5, 3), turned, before or torch.nn.Identity()

    def forward(self, x):
        return torch.relu(self.conv(self.before(x.transpose(1, 2) if self.turned else x))).mean(2)


class Recurrent(torch.nn.Module):
    def __init__(self, kind, *, turned, first):
        super().__init__()
        self.linear, self.body = torch.nn.Linear(4, 4), kind(4, 5, batch_first=first)
        self.turned, self.first = turned, first

    def forward(self, x):
        h = self.linear(x.transpose(1, 2) if self.turned else x)
        out, _ = self.body(h if self.first else h.transpose(0, 1))
        return out[:, -1] if self.first else out[-1]


def named(net, *, turned, x=S, layer=None, **options):
    """The axes are right: features stand first in S."""
    x = np.ascontiguousarray(x.transpose(0, 2, 1)) if turned else x
    e = wb.saliency(net.eval() if isinstance(net, torch.nn.Module) else net, x, 1, **options)
    assert e.dims == (("row", "time", "feature") if turned else ("row", "feature", "time"))
    assert e.shape == x.shape
    time, features = (1, 2) if turned else (2, 1)
    said = f"input: axis {time} is time and axis {features} holds features, as layer "
    assert any(note.startswith(said + (repr(layer) if layer else "")) for note in e.evidence.notes)
    return e


@pytest.mark.parametrize("turned", [False, True])
def test_series_of_torch(turned):
    named(Convolved(turned=turned), turned=turned, layer="conv")
    square = S[:, :, :4]  # as many moments as features
    named(Convolved(turned=turned), turned=turned, x=square, channel_axis=None)
    named(Convolved(turned=turned, before=torch.nn.BatchNorm1d(4)), turned=turned, layer="before")
    for kind in (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN):
        for first in (True, False):
            named(Recurrent(kind, turned=not turned, first=first), turned=turned, layer="body", method="occlusion")
    attending = torch.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    class Attending(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = attending

        def forward(self, x):
            return self.body(x if turned else x.transpose(1, 2)).mean(1)

    named(Attending(), turned=turned, layer="body")


def test_class_activation_maps_of_series_take_features_for_channels():
    torch.manual_seed(0)
    maps = []
    for turned in (False, True):
        torch.manual_seed(0)
        net = Convolved(turned=turned).eval()
        e = wb.saliency(net, S.transpose(0, 2, 1) if turned else S, 1, "gradcam", layer="conv")
        assert e.dims == ("row", "time")
        maps.append(e.values)
        assert wb.check(e, net, S.transpose(0, 2, 1) if turned else S, checks="numerical").passed
    np.testing.assert_array_equal(*maps)
    np.testing.assert_array_equal(
        maps[0], wb.saliency(net, S.transpose(0, 2, 1), 1, "gradcam", layer="conv", channel_axis=2).values
    )


def test_a_series_beside_a_picture_has_no_channels_of_its_own():
    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.picture, self.series = torch.nn.Conv2d(3, 2, 3), torch.nn.Conv1d(4, 2, 3)

        def forward(self, x, s):
            return self.picture(x).mean((2, 3)) + self.series(s).mean(2)

    net = Both().eval()
    assert [e.dims for e in wb.saliency(net, (X, S), 1)] == [("row", "y", "x"), ("row", "feature", "time")]
    (only,) = wb.saliency(net, (X, S), 1, "layercam")
    assert only.dims == ("row", "y", "x")


def test_where_no_layer_knows_it_is_noted():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2)).eval()
    e = wb.saliency(net, S, 1)
    assert e.dims == ("row", "time", "feature")
    assert any("no layer shows which axis is time" in note and "channel_axis=1" in note for note in e.evidence.notes)
    mixed = torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(36, 36),
        torch.nn.Unflatten(1, (4, 9)),
        torch.nn.Conv1d(4, 2, 9),
        torch.nn.Flatten(),
    )
    assert any("no layer shows" in note for note in wb.saliency(mixed.eval(), S, 1).evidence.notes)
    assert wb.saliency(net, S, 1, channel_axis=1).evidence.notes == ()
    with pytest.raises(UnsupportedModelError, match="channel_axis="):
        wb.saliency(net, S, 1, "gradcam")


@pytest.mark.filterwarnings("ignore")  # of torch, about LSTM
def test_series_of_an_exported_program(tmp_path):
    for name, net, turned in (
        ("conv", Convolved(turned=False), False),
        ("lstm", Recurrent(torch.nn.LSTM, turned=False, first=True), True),
    ):
        x = torch.tensor(S.transpose(0, 2, 1).copy() if turned else S)
        program = torch.export.export(net.eval(), (x,), dynamic_shapes=({0: torch.export.Dim("rows")},))
        torch.export.save(program, tmp_path / f"{name}.pt2")
        named(wb.networks.exported(tmp_path / f"{name}.pt2"), turned=turned)


def test_series_of_equinox_and_flax():
    jax, eqx, nnx = pytest.importorskip("jax"), pytest.importorskip("equinox"), pytest.importorskip("flax.nnx")

    class Equinox(eqx.Module):
        conv: eqx.nn.Conv1d
        turned: bool = eqx.field(static=True)

        def __call__(self, x):
            return jax.nn.relu(self.conv(x.T if self.turned else x)).mean(1)

    class Flax(nnx.Module):
        def __init__(self, *, turned):
            self.conv, self.turned = nnx.Conv(4, 5, (3,), rngs=nnx.Rngs(0)), turned

        def __call__(self, x):
            return jax.nn.relu(self.conv(x if self.turned else x.swapaxes(1, 2))).mean(1)

    for turned in (False, True):
        named(Equinox(eqx.nn.Conv1d(4, 5, 3, key=jax.random.key(0)), turned), turned=turned, layer="conv")
        named(Flax(turned=turned), turned=turned, layer="conv")
    e = wb.saliency(wb.networks.jax(lambda x: x.mean(1)), S, 1)
    assert any("no layer shows" in note for note in e.evidence.notes)


def keras_series():
    keras = pytest.importorskip("keras")
    layers = keras.layers
    on_torch = keras.backend.backend() == "torch"
    bodies = [
        [layers.Conv1D(5, 3), layers.GlobalAveragePooling1D()],
        [layers.LSTM(5)],
        [layers.Bidirectional(layers.GRU(3))],
    ]
    for turned in (False, True):
        start = [keras.Input((9, 4))] if turned else [keras.Input((4, 9)), layers.Permute((2, 1))]
        for body in bodies if on_torch else bodies[:1] if turned else bodies[2:]:  # JAX compiles each
            options = {} if on_torch or body is bodies[0] else {"method": "occlusion", "spot_checks": 0}
            named(keras.Sequential([*start, *body, layers.Dense(2)]), turned=turned, **options)
    if on_torch:  # on a processor JAX has no convolution with channels first
        pool = layers.GlobalAveragePooling1D(data_format="channels_first")
        named(
            keras.Sequential([keras.Input((4, 9)), layers.Conv1D(5, 3, data_format="channels_first"), pool]),
            turned=False,
        )


def test_series_of_keras():
    keras_series()


@pytest.mark.usefixtures("unwritten_pictures")
def test_figures_and_reports_of_series_with_features_first(tmp_path):
    pytest.importorskip("matplotlib")
    net = Convolved(turned=False).eval()
    first = wb.saliency(net, S, 1)
    last = wb.saliency(Convolved(turned=True).eval(), S.transpose(0, 2, 1), 1)
    with torch.no_grad():
        turned = Convolved(turned=True).eval()
        turned.load_state_dict(net.state_dict())
    last = wb.saliency(turned, S.transpose(0, 2, 1), 1)
    np.testing.assert_allclose(first.values, last.values.transpose(0, 2, 1), atol=1e-7)
    drawn = [e.plot.track(1).images[0].get_array() for e in (first, last)]
    np.testing.assert_allclose(*drawn, atol=1e-7)
    assert drawn[0].shape == (4, 9)
    with pytest.raises(OptionError, match=r"plot\.track"):
        first.plot.overlay(0)
    first.save(tmp_path / "e.whybox")
    assert wb.load(tmp_path / "e.whybox").dims == first.dims
    e = wb.report(net, S, tmp_path / "r.html", checks="numerical")
    assert e.dims == ("row", "feature", "time")
    page = (tmp_path / "r.html").read_text()
    assert "Grad-CAM" in page
    assert "axis 2 is time and axis 1 holds features" in page
