"""Options for each of several inputs: windows, parts that span inputs; lists of places as targets; signed activation maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import whybox as wb
from networks.small import Formula, rows, seeded
from whybox.errors import OptionError


class PictureAndNumbers(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.top = nn.Conv2d(1, 4, 3), nn.Linear(7, 3)

    def forward(self, picture, numbers):
        return torch.tanh(self.top(torch.cat([torch.relu(self.first(picture)).mean((2, 3)), numbers], 1)))


P, T = rows(2, 1, 6, 6), rows(2, 3, seed=1)


def score(net, picture, numbers):
    with torch.no_grad():
        return net(torch.tensor(picture), torch.tensor(numbers))[:, 1].numpy().astype(float)


@pytest.mark.parametrize("window", [{"picture": (3, 2), "numbers": 2}, {0: (3, 2), 1: 2}])
def test_windows_for_each_input(window):
    net = seeded(PictureAndNumbers)
    e = wb.saliency(net, {"picture": P, "numbers": T}, 1, "occlusion", window=window, stride={"picture": (3, 2)})
    masked = P.copy()
    masked[:, :, 3:, 2:4] = 0
    assert np.allclose(e[0].values[:, 4, 3], score(net, P, T) - score(net, masked, T), atol=1e-6)
    drops = [score(net, P, T) - score(net, P, np.where([k <= j < k + 2 for j in range(3)], 0, T)) for k in range(2)]
    assert np.allclose(e[1].values, np.transpose([drops[0], (drops[0] + drops[1]) / 2, drops[1]]), atol=1e-6)
    assert wb.check(e, net, {"picture": P, "numbers": T}, checks="numerical").passed


def test_windows_of_inputs_that_are_not_there():
    net = seeded(PictureAndNumbers)
    with pytest.raises(OptionError, match="no such input"):
        wb.saliency(net, (P, T), 1, "occlusion", window={"image": 2})
    with pytest.raises(OptionError, match="is empty"):
        wb.saliency(net, (P, T), 1, "occlusion", window={})
    with pytest.raises(OptionError, match="names picture twice"):
        wb.saliency(net, {"picture": P, "numbers": T}, 1, "occlusion", window={"picture": 2, 0: 3})
    for option in ("window", "stride"):
        with pytest.raises(OptionError, match="names input 1, which is held"):
            wb.saliency(net, (P, T), 1, "occlusion", **{option: {0: 1, 1: 1}}, baseline=(0.0, None))


@pytest.mark.parametrize("method", ["ablation", "shapley", "lime"])
def test_a_part_that_spans_inputs(method):
    net = seeded(PictureAndNumbers)
    grid = np.repeat([[7] * 6, [2] * 6], 3, axis=0)
    e = wb.saliency(net, (P, T), 1, method, parts=(grid, np.array([7, 9, -1])), joined=True)
    part = e[0].extras["part"][1]
    assert part.shape == (2, 3)  # 2, 7, 9
    upper, third = P.copy(), T.copy()
    upper[:, :, :3], third[:, 0] = 0, 0
    if method == "ablation":
        assert np.allclose(part[:, 1], score(net, P, T) - score(net, upper, third), atol=1e-6)
    if method == "shapley":
        both = np.where([True, True, False], 0, T)
        assert np.allclose(part.sum(1), score(net, P, T) - score(net, 0 * P, both), atol=1e-6)
    positions = (grid == 7).sum() + 1
    assert np.allclose(e[1].values[:, 0], part[:, 1] / positions)
    assert np.allclose(e[0].values[:, 0, 0], part[:, 1] / positions)
    assert (e[1].values[:, 2] == 0).all()
    assert e[0].evidence.spot_checks.numbers > 0
    with pytest.raises(OptionError, match="a tuple with an array"):
        wb.saliency(net, (P, T), 1, method, joined=True)
    with pytest.raises(OptionError, match="joined='no' must be True or False"):
        wb.saliency(net, (P, T), 1, method, parts=(grid, np.array([7, 9, -1])), joined="no")


def test_lists_of_places_are_several_outputs():
    net = seeded(lambda: nn.Conv2d(2, 3, 1))
    x = rows(2, 2, 4, 4)
    e = wb.saliency(net, x, [(1, 2, 3), (0, 0, -1)], reduce="sum")
    assert e.output_names == ("1,2,3", "0,0,3")
    assert np.array_equal(e.values[..., 0], wb.saliency(net, x, (1, 2, 3), reduce="sum").values)
    assert np.array_equal(e.values[..., 1], wb.saliency(net, x, (0, 0, 3), reduce="sum").values)
    with pytest.raises(OptionError, match="out of range"):
        wb.saliency(net, x, [(1, 2, 3), (0, 0, 4)])


@pytest.mark.parametrize("method", ["gradcam", "layercam", "scorecam"])
def test_signed_activation_maps_are_cut_to_the_plain_ones(method):
    net = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 2)))
    x = rows(3, 3, 6, 6)
    signed = wb.saliency(net, x, 1, method, layer="0", upsample=False, signed=True)
    plain = wb.saliency(net, x, 1, method, layer="0", upsample=False)
    assert (signed.values < 0).any()
    assert np.allclose(np.maximum(signed.values, 0), plain.values, atol=1e-7)
    assert signed.evidence.signed
    assert not plain.evidence.signed
    with pytest.raises(OptionError, match="True or False"):
        wb.saliency(net, x, 1, method, signed=1)


def test_a_place_is_one_output_as_before():
    e = wb.saliency(Formula(lambda x: x[:, None] * 2), rows(2, 3), (0, 1))
    assert np.array_equal(e.values, np.tile([0, 2, 0], (2, 1)))
