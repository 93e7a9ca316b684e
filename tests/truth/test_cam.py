"""Class activation maps of networks whose activations are known."""

import numpy as np
import pytest

import whybox as wb
from whybox.errors import OptionError, UnsupportedModelError
from whybox.numerics.interpolation import upsample

torch = pytest.importorskip("torch")
nn = torch.nn

from networks.small import rows


class Known(nn.Module):
    """`grid` puts out what it is given; the score weighs its places, squared, or leaves them out."""

    def __init__(self, weights, power=1):
        super().__init__()
        self.grid = nn.Identity()
        self.register_buffer("w", torch.as_tensor(weights))
        self.power = power

    def forward(self, x):
        return (self.grid(x)[:, None] ** self.power * self.w).flatten(2).sum(2)


def known(power=1):
    draw = np.random.default_rng(0)
    w = draw.normal(size=(3, 5, 4, 6)).astype(np.float32)
    x = np.abs(draw.normal(size=(2, 5, 4, 6))).astype(np.float32)
    return Known(w, power).eval(), x, x.astype(np.float64), w.astype(np.float64)


def relu(a):
    return np.maximum(a, 0)


def test_gradcam_by_hand():
    net, x, a, w = known(power=2)
    e = wb.saliency(net, x, "all", "gradcam")
    for t in range(3):
        weights = (2 * a * w[t]).mean(axis=(2, 3), keepdims=True)
        np.testing.assert_allclose(e.values[..., t], relu((weights * a).sum(axis=1)), rtol=1e-4, atol=1e-5)
    assert "'grid'" in e.evidence.estimand
    assert e.dims == ("row", "y", "x", "output")
    assert (
        e.evidence.passes["forward"] <= 2 + 2 + 1 + 2 + 9 + 5
    )  # rows, probe, layers, larger inputs, changed parts, differences of answers: one forward for all targets
    assert e.evidence.passes["backward"] == 2 * 3


def test_gradcam_plus_plus_by_hand():
    """Equations 10 and 19 with the score exp(y), whose derivatives are exp(y) g, exp(y) g^2, exp(y) g^3 for y linear in the layer."""
    net, x, a, w = known()
    e = wb.saliency(net, x, "all", "gradcam++")
    for t in range(3):
        g = np.broadcast_to(w[t], a.shape)
        alpha = g**2 / (2 * g**2 + a.sum(axis=(2, 3), keepdims=True) * g**3)
        weights = (alpha * relu(g)).sum(axis=(2, 3), keepdims=True)
        np.testing.assert_allclose(e.values[..., t], relu((weights * a).sum(axis=1)), rtol=1e-4, atol=1e-5)
    with pytest.raises(UnsupportedModelError, match="after a ReLU"):
        wb.saliency(net, -x, 0, "gradcam++")


def test_layercam_by_hand():
    net, x, a, w = known(power=2)
    e = wb.saliency(net, x, 1, "layercam")
    np.testing.assert_allclose(e.values, relu((relu(2 * a * w[1]) * a).sum(axis=1)), rtol=1e-4, atol=1e-5)


def test_scorecam_by_hand():
    net, x, a, w = known()
    x[0, 2] = a[0, 2] = 0.5  # a channel that is the same everywhere takes no part
    e = wb.saliency(net, x, "all", "scorecam")
    for row in range(2):
        able = [c for c in range(5) if np.ptp(a[row, c]) > 0]
        m = np.stack([(a[row, c] - a[row, c].min()) / np.ptp(a[row, c]) for c in able])
        scores = np.einsum("kyx,cyx,tcyx->kt", m, a[row], w)
        weights = np.exp(scores - scores.max(axis=0))
        weights /= weights.sum(axis=0)
        want = relu(np.einsum("kt,kyx->yxt", weights, a[row][able]))
        np.testing.assert_allclose(e.values[row], want, rtol=1e-4, atol=1e-5)
    assert e.evidence.passes["forward"] <= 2 * (5 + 1) + 2 + 1 + 2 + 9
    assert e.evidence.passes["backward"] == 0


def cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    ).eval()  # fmt: skip


def pictures(count=3):
    return rows(count, 3, 8, 10)


def test_the_last_layer_with_places_is_taken_and_drawn_bilinearly():
    net, x = cnn(), pictures()
    fine = wb.saliency(net, x, 0, "gradcam")
    raw = wb.saliency(net, x, 0, "gradcam", upsample=False)
    assert "'4'" in fine.evidence.estimand
    assert fine.shape == (3, 8, 10)
    assert raw.shape == (3, 4, 5)
    want = nn.functional.interpolate(torch.tensor(raw.values)[:, None], size=(8, 10), mode="bilinear")[:, 0]
    np.testing.assert_allclose(fine.values, want.numpy(), atol=1e-12)
    assert raw.extras["input"][0] == ("row", "channel", "input_y", "input_x")
    assert raw[:, 1:3].shape == (3, 2, 5)
    named = wb.saliency(net, x, 0, "gradcam", layer="1")
    assert not np.allclose(named.values, fine.values)


def test_enlarged_as_torch_does():
    a = np.random.default_rng(0).normal(size=(2, 3, 4))
    for size in ((7, 9), (3, 4), (6, 2), (1, 1)):
        want = nn.functional.interpolate(torch.as_tensor(a)[:, None], size=size, mode="bilinear")[:, 0].numpy()
        np.testing.assert_allclose(upsample(a, size), want, atol=1e-12)
    np.testing.assert_allclose(upsample(a[:, :1, :1], (4, 5)), np.broadcast_to(a[:, :1, :1], (2, 4, 5)))


def test_a_residual_block_is_taken_whole_and_a_reused_relu_is_not():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()

        def forward(self, x):
            return self.relu(x + self.conv(self.relu(x)))

    torch.manual_seed(1)
    net = nn.Sequential()
    net.add_module("block", Block())
    net.add_module("head", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)))
    e = wb.saliency(net.eval(), pictures(), 1, "gradcam")
    assert "'block'" in e.evidence.estimand
    with pytest.raises(OptionError, match="'block.relu' is called 2 times in one pass; say which call is meant"):
        wb.saliency(net, pictures(), 1, "gradcam", layer="block.relu")


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "layercam", "scorecam"])
def test_a_row_alone_is_as_in_company_and_bytes_repeat(method):
    net, x = cnn(), pictures(5)
    whole, again = wb.saliency(net, x, "all", method), wb.saliency(net, x, "all", method)
    assert whole.values.tobytes() == again.values.tobytes()
    assert (whole.values >= 0).all()
    np.testing.assert_allclose(wb.saliency(net, x[2:3], "all", method).values[0], whole.values[2], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(wb.saliency(net, x, 3, method).values, whole.values[..., 3], rtol=1e-5, atol=1e-7)
    few = wb.saliency(net, x, "all", method, budget=20_000)
    assert few.evidence.passes["rows together"] < 5
    np.testing.assert_allclose(few.values, whole.values, rtol=1e-4, atol=1e-6)


def test_an_empty_map_is_said_to_be_empty():
    net, x, _, w = known()
    net.w = -torch.as_tensor(np.abs(w), dtype=torch.float32)
    e = wb.saliency(net, x, 0, "gradcam")
    assert (e.values == 0).all()
    assert any("EMPTY" in n and "2 of 2 rows" in n for n in e.evidence.notes)
    assert not any("EMPTY" in n for n in wb.saliency(cnn(), pictures(), None, "layercam").evidence.notes)


def test_channels_last():
    """A network that says its channels are last: the layer's channels are there too."""
    from dataclasses import replace

    from whybox.adapters.torch.module import wrap

    class Last(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net, self.grid = net, nn.Identity()

        def forward(self, x):
            return self.net(self.grid(x).permute(0, 3, 1, 2))

    inner, x, _, _ = known(power=2)
    last = replace(wrap(Last(inner).eval()), channels="last")
    want = wb.saliency(inner, x, 1, "gradcam")
    for method in ("gradcam", "gradcam++", "layercam", "scorecam"):
        want = wb.saliency(inner, x, 1, method, layer="grid")
        got = wb.saliency(last, np.moveaxis(x, 1, -1), 1, method, layer="grid")
        np.testing.assert_allclose(got.values, want.values, rtol=1e-4, atol=1e-5)


def test_what_has_no_grid_is_refused():
    net = cnn()
    with pytest.raises(OptionError, match="position axes"):
        wb.saliency(net, pictures(), 0, "gradcam", layer="6")
    with pytest.raises(OptionError, match="there is no layer"):
        wb.saliency(net, pictures(), 0, "gradcam", layer="conv9")
    with pytest.raises(UnsupportedModelError, match="channels and positions"):
        wb.saliency(nn.Linear(3, 2).eval(), np.ones((2, 3)), 0, "gradcam")
    with pytest.raises(UnsupportedModelError, match="name one"):
        wb.saliency(nn.Sequential(nn.Flatten(), nn.Linear(240, 2)).eval(), pictures(), 0, "gradcam")
