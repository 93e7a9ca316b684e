"""Class activation maps of each channel of a layer: by hand, their sum is the signed map, every axis order, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import whybox as wb
from networks.small import rows, seeded
from whybox.errors import LimitError, OptionError, SpotCheckError
from whybox.methods.saliency import cam
from whybox.numerics.interpolation import upsample

METHODS = ["gradcam", "gradcam++", "layercam", "scorecam"]


class Net(nn.Module):
    """A grid half as wide as the picture; `last`: it outputs channels last."""

    def __init__(self, *, last=False):
        super().__init__()
        self.grid, self.act, self.keep = nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU(), nn.Identity()
        self.top, self.last = nn.Linear(5 * 24, 3), last

    def forward(self, x):
        a = self.act(self.grid(x))
        a = self.keep(a.permute(0, 2, 3, 1) if self.last else a)
        return self.top((a.permute(0, 3, 1, 2) if self.last else a).flatten(1))


X = rows(3, 3, 8, 12)


def terms_by_hand(net, method, target):
    """Weight of each channel times the channel, (rows, channels, y, x), for the methods that take derivatives."""
    a = torch.relu(net.grid(torch.tensor(X))).detach().requires_grad_()
    g = torch.autograd.grad(net.top(a.flatten(1))[:, target].sum(), a)[0].double().numpy()
    a = a.detach().double().numpy()
    up = np.maximum(g, 0)
    if method == "gradcam":
        return g.mean(axis=(2, 3), keepdims=True) * a
    if method == "layercam":
        return up * a
    return (up / (2 + up * a.sum(axis=(2, 3), keepdims=True))).sum(axis=(2, 3), keepdims=True) * a


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_each_channel_is_that_of_the_formula_and_they_sum_to_the_signed_map(method, last):
    net = seeded(lambda: Net(last=last))
    for up in (True, False):
        options = {"layer": "keep", "upsample": up}
        e = wb.saliency(net, X, "all", method, reduce=None, **options)
        whole = wb.saliency(net, X, "all", method, signed=True, **options)
        assert e.dims == ("row", "channel", "y", "x", "output")
        assert e.values.shape[:2] == (3, 5)
        assert np.allclose(e.values.sum(axis=1), whole.values, atol=1e-6)
        assert e.evidence.signed
        assert "each channel alone" in e.evidence.estimand
        assert e.evidence.spot_checks.numbers > 60
        assert e.extras["input"][0] == ("row", "input_channel", *(("y", "x") if up else ("input_y", "input_x")))
        if method != "scorecam":
            want = terms_by_hand(net, method, 2)
            want = upsample(want.reshape(15, 4, 6), (8, 12)).reshape(3, 5, 8, 12) if up else want
            assert np.allclose(e.values[..., 2], want, atol=1e-5 * np.abs(want).max())


def test_scorecam_of_channels_has_the_weights_of_its_scores():
    net = seeded(Net)
    a = torch.relu(net.grid(torch.tensor(X[:1]))).detach().double().numpy()[0]
    e = wb.saliency(net, X[:1], 1, "scorecam", layer="act", reduce=None, upsample=False)
    able = [k for k in range(5) if np.ptp(a[k]) > 0]
    drawn = upsample(a[able], (8, 12))
    low, high = (f(axis=(1, 2), keepdims=True) for f in (drawn.min, drawn.max))
    masked = torch.tensor((drawn - low) / (high - low), dtype=torch.float32)[:, None] * torch.tensor(X[:1])
    scores = net(masked)[:, 1].detach().double().numpy()
    share = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    assert np.allclose(e.values[0, able], share[:, None, None] * a[able], atol=1e-5)


def test_channels_of_series_stand_where_the_input_has_its_own():
    class Series(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.top = nn.Conv1d(2, 6, 3, padding=1), nn.Linear(6, 2)

        def forward(self, x):
            return self.top(torch.relu(self.conv(x.transpose(1, 2))).mean(2))

    net, x = seeded(Series), rows(2, 20, 2)
    e = wb.saliency(net, x, 1, "gradcam", layer="conv", reduce=None)
    signed = wb.saliency(net, x, 1, "gradcam", layer="conv", signed=True)
    assert e.values.shape == (2, 20, 6)
    assert np.allclose(e.values.sum(axis=2), signed.values, atol=1e-6)


def test_one_channel_is_drawn_over_the_picture(tmp_path):
    net = seeded(Net)
    e = wb.saliency(net, X, 1, "gradcam", layer="act", reduce=None)
    e.save(tmp_path / "each.whybox")
    back = wb.load(tmp_path / "each.whybox")
    assert np.array_equal(back.values, e.values)
    assert back[:, 3].plot.overlay(0).images[0].get_cmap().name == "gray"
    back[:, 3].save(tmp_path / "one.whybox")
    assert "channel 3" in wb.load(tmp_path / "one.whybox").plot.overlay(0).get_title(loc="left")
    with pytest.raises(OptionError, match="labels of the axis 'channel' differ"):
        wb.concat([back[:1, 3], back[1:, 2]])
    with pytest.raises(OptionError, match=r"e\[:, 0\]"):
        back.plot.overlay(0)
    checks = wb.check(e, net, X, checks=["numerical"], max_rows=2)
    assert checks.verdict == "pass"


def test_what_is_refused(monkeypatch):
    net = seeded(Net)
    with pytest.raises(OptionError, match=r"reduce='max'.*sum over the channels.*reduce=None"):
        wb.saliency(net, X, 1, "layercam", layer="act", reduce="max")
    with pytest.raises(LimitError, match="maps of 5 channels at 96 positions of 3 rows take 0 MB.*upsample=False"):
        wb.saliency(net, X, 1, "gradcam", layer="act", reduce=None, budget=9000)
    guided = wb.saliency(net, X, 1, "guided_gradcam", layer="act", reduce=None)
    assert guided.values.shape == X.shape
    right = cam.GradCam._channel_terms
    monkeypatch.setattr(cam.GradCam, "_channel_terms", lambda *given: right(*given) * 1.01)
    with pytest.raises(SpotCheckError, match="channel"):
        wb.saliency(net, X, 1, "gradcam", layer="act", reduce=None)
