"""Class activation maps of layers whatever the order of their axes: right values, or a refusal that says to name them."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

import whybox as wb
from whybox.errors import OptionError, UnsupportedModelError

torch = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional
METHODS = ("gradcam", "gradcam++", "layercam", "scorecam")
SHAPES = [
    (4, 2, 3),
    (5, 4, 6),
    (3, 3, 3),
    (4, 4, 5),
    (2, 6, 2),
    (1, 4, 4),
    (5, 1, 3),
    (4, 7),
    (5, 5),
    (2, 3, 4, 2),
    (3, 3, 3, 3),
]


class Turned(nn.Module):
    """`grid` outputs relu(x) with its axes in another order; the score is the sum of its squares under weights."""

    def __init__(self, order, weights, *, sized=False):
        super().__init__()
        self.order, self.sized = tuple(order), sized
        self.grid = nn.Identity()
        self.register_buffer("w", torch.as_tensor(weights, dtype=torch.float32))

    def forward(self, x):
        if self.sized:
            assert x.shape[1:] == self.w.shape
        h = self.grid(torch.relu(x).permute(0, *self.order))
        back = [0] * (len(self.order) + 1)
        for i, k in enumerate((0, *self.order)):
            back[k] = i
        return (h.permute(*back) ** 2 * self.w).flatten(1).sum(1)


def drawn(shape, rows=2, seed=0):
    draw = np.random.default_rng([seed, *shape])
    return draw.normal(size=(rows, *shape)).astype(np.float32), draw.normal(size=shape)


def relu(a):
    return np.maximum(a, 0)


def by_hand(method, x, w):
    """Maps (rows, *places) of activations relu(x), (rows, channels, *places), whose score is the sum of w times their squares."""
    a = relu(x.astype(np.float64))
    slopes, span = 2 * a * w, tuple(range(2, a.ndim))
    if method == "gradcam":
        return relu((slopes.mean(span, keepdims=True) * a).sum(1))
    if method == "layercam":
        return relu((relu(slopes) * a).sum(1))
    if method == "gradcam++":
        up = relu(slopes)
        return relu(((up / (2 + up * a.sum(span, keepdims=True))).sum(span, keepdims=True) * a).sum(1))
    out = []
    for x1, a1 in zip(x.astype(np.float64), a, strict=True):
        able = [c for c in range(len(a1)) if np.ptp(a1[c]) > 0]
        if not able:
            out.append(np.zeros(a1.shape[1:]))
            continue
        masks = np.stack([(a1[c] - a1[c].min()) / np.ptp(a1[c]) for c in able])
        scores = np.array([(relu(m * x1) ** 2 * w).sum() for m in masks])
        weights = np.exp(scores - scores.max())
        out.append(relu(np.tensordot(weights / weights.sum(), a1[able], 1)))
    return np.stack(out)


def explained(net, x, method="gradcam", **options):
    return wb.saliency(net.eval(), x, None, method, channel_axis=1, **options)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_layer_in_any_order_gives_the_map_of_channels_first(shape):
    """Every order with one of the methods, which take the axes from one place; the others at other shapes."""
    x, w = drawn(shape)
    for k, order in enumerate(permutations(range(1, len(shape) + 1))):
        method = METHODS[(k + sum(shape)) % 4]
        for layer in ("grid", None):
            e = explained(Turned(order, w), x, method, layer=layer)
            np.testing.assert_allclose(e.values, by_hand(method, x, w), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [s for s in SHAPES if 1 not in s])
def test_a_network_of_one_size_alone_is_asked_about_changed_parts(shape):
    x, w = drawn(shape)
    for order in permutations(range(1, len(shape) + 1)):
        e = explained(Turned(order, w, sized=True), x, "layercam", layer="grid")
        assert "found by changing parts of the input" in e.evidence.kernel
        np.testing.assert_allclose(e.values, by_hand("layercam", x, w), rtol=1e-4, atol=1e-5)


def test_the_smallest_case():
    """4 channels, 2 x 3 places, behind permute(0, 2, 3, 1): the map has the places, and axis 1 is y."""
    x, w = drawn((4, 2, 3), rows=1)
    e = explained(Turned((2, 3, 1), w), x, upsample=False)
    assert e.shape == (1, 2, 3)
    assert e.dims == ("row", "y", "x")
    assert (
        "layer 'grid' (row, y, x, channel: found by resizing the input and by changing parts of it)"
        in e.evidence.kernel
    )
    assert e.evidence.settings["resolved"] == {
        "layer": "grid",
        "layer_axes": ["y", "x", "channel"],
        "grid": None,
        "spare": 0,
        "on_input": 0,
    }


def test_maps_drawn_on_the_input_lie_the_right_way_round():
    x, w = drawn((3, 4, 6))
    big = np.kron(x, np.ones((1, 1, 3, 2), dtype=np.float32))

    class Pooled(nn.Module):
        def __init__(self, order):
            super().__init__()
            self.inner = Turned(order, w)

        def forward(self, x):
            return self.inner(functional.avg_pool2d(x, (3, 2)))

    want = explained(Pooled((1, 2, 3)), big)
    assert want.shape == (2, 12, 12)
    for order in permutations((1, 2, 3)):
        np.testing.assert_allclose(explained(Pooled(order), big).values, want.values, rtol=1e-5, atol=1e-6)


class Mixed(nn.Module):
    """All of the input in each number of the layer: no axis of it is one of the input's."""

    def __init__(self, change):
        super().__init__()
        self.grid, self.change = nn.Identity(), change
        self.w = nn.Parameter(torch.linspace(-1, 1, 4 * 4 * 4).reshape(4, 4, 4))

    def forward(self, x):
        return (self.grid(self.change(x)) ** 2 * self.w).flatten(1).sum(1)


def decoded(x):
    generator = torch.Generator().manual_seed(0)
    return (x.flatten(1) @ torch.randn(64, 64, generator=generator)).reshape(-1, 4, 4, 4)


@pytest.mark.parametrize(
    "change",
    [
        decoded,
        lambda x: x.flip(3),
        lambda x: x.flip(2).permute(0, 2, 3, 1),
        lambda x: x.reshape(len(x), x.shape[2], x.shape[3], x.shape[1]),
        lambda x: x[:, :, torch.tensor([2, 0, 3, 1])],
    ],
)
def test_axes_that_are_not_the_input_s_are_refused(change):
    x, _ = drawn((4, 4, 4))
    for method in METHODS:
        with pytest.raises(UnsupportedModelError, match="layer_axes="):
            explained(Mixed(change), x, method, layer="grid")
    with pytest.raises(UnsupportedModelError, match="layer_axes="):
        explained(Mixed(change), x)


def test_axes_that_are_named_are_taken_and_held_against_the_network():
    x, w = drawn((4, 4, 5))
    net = Turned((3, 2, 1), w)
    for said in (("x", "y", "channel"), "x, y, channel", ["x", "y", "channels"]):
        e = explained(net, x, layer="grid", layer_axes=said)
        np.testing.assert_allclose(e.values, by_hand("gradcam", x, w), rtol=1e-4, atol=1e-5)
        assert "(row, x, y, channel: as given)" in e.evidence.kernel
        assert e.evidence.notes == ()
    with pytest.raises(OptionError, match="axis 1 .* grows .* along x"):
        explained(net, x, layer="grid", layer_axes="channel, y, x")
    e = explained(Turned((3, 2, 1), w, sized=True), x, layer="grid", layer_axes="channel, y, x")
    assert any("AXES" in note for note in e.evidence.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_axes": ("y", "x", "channel")}, "name it, layer="),
        ({"layer": "grid", "layer_axes": 3}, "in its own order"),
        ({"layer": "grid", "layer_axes": ("y", "x")}, "'channel'"),
        ({"layer": "grid", "layer_axes": ("y", "y", "channel")}, "a name of its own"),
        ({"layer": "grid", "layer_axes": ("y", "z", "channel")}, "position axes are y and x"),
        ({"layer": "grid", "layer_axes": ("token", "channel")}, "3 axes after the rows"),
        ({"layer": "grid", "grid": (2, 2)}, "needs a token axis"),
        ({"layer": "grid", "grid": (0, 2), "layer_axes": ("token", "channel")}, "along each axis"),
        ({"layer": "grid", "grid": "wide"}, "along each axis"),
        ({"layer": "grid", "reshape": 3}, "must be a function"),
        ({"layer": "grid", "reshape": lambda a: a * 2}, "must not compute"),
        ({"layer": "grid", "reshape": lambda a: a[:, :1].expand_as(a)}, "must not compute"),
        ({"layer": "grid", "reshape": lambda a: a.flip(0)}, "must not compute"),
        ({"layer": "grid", "reshape": lambda a: a.numpy()}, "array of the network's library"),
        ({"layer": "grid", "reshape": lambda a: a.flatten(1)}, "position axes"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    x, w = drawn((4, 4, 5))
    with pytest.raises(OptionError, match=message):
        explained(Turned((2, 3, 1), w), x, **options)


class Block(nn.Module):
    """As of ConvNeXt: depthwise convolution, norm and linear layers over channels that stand last, a residual."""

    def __init__(self, wide):
        super().__init__()
        self.depthwise = nn.Conv2d(wide, wide, 7, padding=3, groups=wide)
        self.norm, self.up, self.act, self.down = (
            nn.LayerNorm(wide),
            nn.Linear(wide, 4 * wide),
            nn.GELU(),
            nn.Linear(4 * wide, wide),
        )

    def forward(self, x):
        h = self.depthwise(x).permute(0, 2, 3, 1)
        return x + self.down(self.act(self.up(self.norm(h)))).permute(0, 3, 1, 2)


class Windowed(nn.Module):
    """As of Swin: channels last throughout; attention within windows of 2 x 2, the second time shifted by one."""

    def __init__(self, wide):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(wide) for _ in range(2))
        self.attend = nn.ModuleList(nn.MultiheadAttention(wide, 2, batch_first=True) for _ in range(2))
        self.end = nn.LayerNorm(wide)

    def forward(self, x):
        rows, high, wide, channels = x.shape
        for shift, (norm, attend) in enumerate(zip(self.norms, self.attend, strict=True)):
            h = norm(x).roll((-shift, -shift), (1, 2))
            h = h.reshape(rows, high // 2, 2, wide // 2, 2, channels).transpose(2, 3).reshape(-1, 4, channels)
            h = attend(h, h, h, need_weights=False)[0].reshape(rows, high // 2, wide // 2, 2, 2, channels)
            x = x + h.transpose(2, 3).reshape(rows, high, wide, channels).roll((shift, shift), (1, 2))
        return self.end(x)


class Pyramid(nn.Module):
    """A stem, a body, a head; `last`: whether the body's channels stand last. `plain` repeats what a layer outputs with channels first."""

    def __init__(self, body, wide, *, last):
        super().__init__()
        self.stem, self.body, self.plain, self.head = nn.Conv2d(3, wide, 4, 4), body, nn.Identity(), nn.Linear(wide, 3)
        self.last = last

    def forward(self, x):
        h = self.stem(x)
        h = self.body(h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) if self.last else self.body(h)
        return self.head(self.plain(h).mean((2, 3)))


@pytest.mark.parametrize("size", [(24, 32), (32, 32)])
def test_blocks_of_swin_and_convnext(size):
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(2, 3, *size)).astype(np.float32)
    swin = Pyramid(Windowed(8), 8, last=True).eval()  # 8 channels, 8 places along x
    for method in ("gradcam", "layercam", "scorecam"):
        want = wb.saliency(swin, x, 1, method, layer="plain")
        np.testing.assert_array_equal(wb.saliency(swin, x, 1, method).values, want.values)
        got = wb.saliency(swin, x, 1, method, layer="body")
        np.testing.assert_allclose(got.values, want.values, rtol=1e-4, atol=1e-6)
        got = wb.saliency(swin, x, 1, method, layer="body.end")
        np.testing.assert_allclose(got.values, want.values, rtol=1e-4, atol=1e-6)
    convnext = Pyramid(nn.Sequential(Block(8), Block(8)), 8, last=False).eval()
    with torch.no_grad():
        known = convnext.body[1].up(
            convnext.body[1].norm(
                convnext.body[1].depthwise(convnext.body[0](convnext.stem(torch.tensor(x)))).permute(0, 2, 3, 1)
            )
        )
    tail = nn.Sequential(nn.GELU(), convnext.body[1].down)
    leaf = known.clone().requires_grad_()
    skip = convnext.body[0](convnext.stem(torch.tensor(x))).detach()
    convnext.head((skip + tail(leaf).permute(0, 3, 1, 2)).mean((2, 3)))[:, 1].sum().backward()
    want = relu((leaf.grad.mean((1, 2), keepdim=True) * known).sum(3).numpy())
    got = wb.saliency(convnext, x, 1, "gradcam", layer="body.1.up", upsample=False)
    assert got.shape == (2, size[0] // 4, size[1] // 4)
    np.testing.assert_allclose(got.values, want, rtol=1e-4, atol=1e-6)


class Transformer(nn.Module):
    """Patches of 4 x 4, an embedding of places, a class token first or last, and a head on it."""

    def __init__(self, size, *, first=True, wide=12):
        super().__init__()
        self.size, self.first = size, first
        count = size[0] // 4 * (size[1] // 4)
        self.patches = nn.Conv2d(3, wide, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, wide))
        self.places = nn.Parameter(torch.randn(1, count + 1, wide))
        layer = nn.TransformerEncoderLayer(wide, 2, 16, batch_first=True, norm_first=True)
        self.body, self.norm = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Identity()
        self.last = nn.TransformerEncoderLayer(wide, 2, 16, batch_first=True, norm_first=True)
        self.head = nn.Linear(wide, 3)

    def forward(self, x):
        assert tuple(x.shape[2:]) == self.size
        h, token = self.patches(x).flatten(2).transpose(1, 2), self.token.expand(len(x), -1, -1)
        h = torch.cat([token, h] if self.first else [h, token], 1) + self.places
        return self.head(self.last(self.norm(self.body(h)))[:, 0 if self.first else -1])


def tokens_by_hand(net, x, target):
    """Grad-CAM at `norm`, without the class token."""
    kept = []
    handle = net.norm.register_forward_hook(lambda _m, _g, out: kept.append(out) or out.retain_grad())
    net(torch.tensor(x).requires_grad_())[:, target].sum().backward()
    handle.remove()
    some = slice(1, None) if net.first else slice(None, -1)
    a, g = kept[0].detach()[:, some], kept[0].grad[:, some]
    grid = net.size[0] // 4, net.size[1] // 4
    return relu((g.mean(1, keepdim=True) * a).sum(2).numpy()).reshape(len(x), *grid)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("size", [(24, 24), (12, 28)])
def test_tokens_are_laid_out_and_the_class_token_is_left_out(size, first):
    torch.manual_seed(0)
    net = Transformer(size, first=first).eval()
    x = np.random.default_rng(0).normal(size=(2, 3, *size)).astype(np.float32)
    want, grid = tokens_by_hand(net, x, 1), (size[0] // 4, size[1] // 4)
    assert want.max() > 0.001
    some = slice(1, None) if first else slice(None, -1)
    for options in (
        {"layer_axes": ("token", "channel")},
        {"layer_axes": ("token", "channel"), "grid": grid},
        {"reshape": lambda a: a[:, some].reshape(len(a), *grid, -1)},
        {"reshape": lambda a: a[:, some].reshape(len(a), *grid, -1).permute(0, 3, 1, 2)},
        {"reshape": lambda a: a[:, some].transpose(1, 2), "layer_axes": "channel, token"},
    ):
        e = wb.saliency(net, x, 1, "gradcam", layer="norm", upsample=False, **options)
        np.testing.assert_allclose(e.values, want, rtol=1e-4, atol=1e-6)
        assert e.evidence.notes == ()
        if "reshape" not in options:
            assert f"the {'first' if first else 'last'} 1 left out" in e.evidence.kernel
    drawn_out = wb.saliency(net, x, 1, "layercam", layer="norm", layer_axes=("token", "channel"))
    assert drawn_out.shape == (2, *size)
    with pytest.raises(OptionError, match=r"say layer_axes=\('token', 'channel'\)"):
        wb.saliency(net, x, 1, "gradcam", layer="norm")
    noted = wb.saliency(net, x, 1, "gradcam").evidence
    assert noted.kernel.startswith("layer 'patches'")
    assert any("layer_axes=('token', 'channel')" in note for note in noted.notes)


def test_a_grid_of_tokens_that_their_number_does_not_decide_is_asked_for():
    net = nn.Sequential(
        nn.Conv2d(3, 5, (2, 3), (2, 3)), nn.Flatten(2), nn.Identity(), nn.Flatten(), nn.Linear(5 * 12, 2)
    ).eval()
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 12)).astype(np.float32)
    with pytest.raises(OptionError, match=r"give grid="):
        wb.saliency(net, x, 1, "gradcam", layer="2", layer_axes="channel, token")
    want = wb.saliency(net, x, 1, "gradcam", layer="0")
    got = wb.saliency(net, x, 1, "gradcam", layer="2", layer_axes="channel, token", grid=(3, 4))
    np.testing.assert_allclose(got.values, want.values, rtol=1e-5, atol=1e-6)
    turned = wb.saliency(net, x, 1, "gradcam", layer="2", layer_axes="channel, token", grid=(4, 3))
    assert any("AXES" in note for note in turned.evidence.notes)


def test_checks_ask_with_the_axes_that_were_found(tmp_path):
    torch.manual_seed(0)
    swin = Pyramid(Windowed(8), 8, last=True).eval()
    x = np.random.default_rng(0).normal(size=(3, 3, 24, 32)).astype(np.float32)
    e = wb.saliency(swin, x, 1, "gradcam", layer="body.end")
    e.save(tmp_path / "e.whybox")
    for given in (e, wb.load(tmp_path / "e.whybox")):
        assert wb.check(given, swin, x, checks="numerical").passed
    vit = Transformer((24, 24), first=False).eval()
    x = np.random.default_rng(0).normal(size=(3, 3, 24, 24)).astype(np.float32)
    e = wb.saliency(vit, x, 1, "gradcam", layer="norm", layer_axes=("token", "channel"))
    assert wb.check(e, vit, x).about["rows"] == 3
    own = wb.saliency(
        vit, x, 1, "gradcam", layer="norm", reshape=(turn := lambda a: a[:, :-1].reshape(len(a), 6, 6, -1))
    )
    with pytest.raises(OptionError, match="reshape"):
        wb.check(own, vit, x)
    assert wb.check(own, vit, x, checks="numerical", options={"reshape": turn}).passed


def test_a_device_that_larger_inputs_could_break_is_asked_about_smaller_ones(monkeypatch):
    from whybox.adapters.torch.module import TorchNetwork

    met = []

    class Noting(Turned):
        def forward(self, x):
            met.append(tuple(x.shape[2:]))
            return super().forward(x)

    x, w = drawn((3, 4, 6))
    net = Noting((2, 3, 1), w).eval()
    monkeypatch.setattr(TorchNetwork, "may_break_device", property(lambda self: True))
    e = explained(net, x, layer="grid")
    np.testing.assert_allclose(e.values, by_hand("gradcam", x, w), rtol=1e-4, atol=1e-5)
    assert "resizing" in e.evidence.kernel
    assert {(2, 6), (4, 3)} < set(met)
    assert all(a <= 4 and b <= 6 for a, b in met)


def test_tokens_of_a_text_behind_its_embedding():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.body = nn.Embedding(20, 7), nn.Sequential(nn.Linear(7, 7), nn.ReLU())
            self.head = nn.Linear(7, 2)

        def forward(self, ids):
            return self.head(self.body(self.embed(ids)).sum(1) ** 2)

    torch.manual_seed(0)
    net = Reader().eval()
    ids = np.random.default_rng(0).integers(0, 20, size=(3, 7))  # 7 tokens, 7 numbers each
    a = net.body(net.embed(torch.tensor(ids))).detach().requires_grad_()
    net.head(a.sum(1) ** 2)[:, 1].sum().backward()
    want = relu((a.grad.mean(1, keepdim=True) * a).sum(2).detach().numpy())
    for options in ({}, {"layer_axes": ("token", "channel")}):
        e = wb.saliency(net, ids, 1, "gradcam", embedding="embed", layer="body", **options)
        np.testing.assert_allclose(e.values, want, rtol=1e-4, atol=1e-6)


def test_the_embedding_itself_as_the_layer():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(20, 4), nn.Linear(4, 2)

        def forward(self, ids):
            return self.head(torch.relu(self.embed(ids)).sum(1) ** 2)

    torch.manual_seed(0)
    net = Reader().eval()
    ids = np.random.default_rng(0).integers(0, 20, size=(3, 6))
    a = net.embed(torch.tensor(ids)).detach().requires_grad_()
    net.head(torch.relu(a).sum(1) ** 2)[:, 1].sum().backward()
    want = relu((a.grad.mean(1, keepdim=True) * a).sum(2).detach().numpy())
    assert want.max() > 0.001
    for layer in ("embed", None):
        e = wb.saliency(net, ids, 1, "gradcam", embedding="embed", layer=layer)
        np.testing.assert_allclose(e.values, want, rtol=1e-4, atol=1e-6)


def test_a_grid_of_one_place_is_refused():
    torch.manual_seed(0)
    net = Transformer((4, 4)).eval()
    with pytest.raises(OptionError, match="one position has no map"):
        wb.saliency(
            net,
            np.ones((2, 3, 4, 4), dtype=np.float32),
            1,
            "gradcam",
            layer="norm",
            layer_axes="token, channel",
            grid=(1, 1),
        )
