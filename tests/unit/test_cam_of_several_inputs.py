"""Class activation maps of networks with several pictures: the layer decides, or the user."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import whybox as wb
from networks.small import rows, seeded
from whybox.errors import OptionError


class Pair(nn.Module):
    """Two pictures of different sizes, each through a convolution, then one layer that both reach."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.both = nn.Conv2d(3, 4, 3), nn.Conv2d(1, 4, 3), nn.Conv2d(8, 5, 1)
        self.top = nn.Linear(5, 2)

    def forward(self, a, b):
        a, b = torch.relu(self.left(a)), torch.relu(self.right(b))
        small = nn.functional.adaptive_avg_pool2d
        both = torch.relu(self.both(torch.cat([small(a, 4), small(b, 4)], 1)))
        return self.top(both.mean((2, 3)))


A, B = rows(2, 3, 10, 10), rows(2, 1, 8, 8, seed=1)


def test_the_named_layer_decides_which_picture_the_map_lies_on():
    net = seeded(Pair)
    left = wb.saliency(net, (A, B), 1, "gradcam", layer="left")
    right = wb.saliency(net, {"a": A, "b": B}, 1, "gradcam", layer="right")
    assert [e.values.shape for e in (*left, *right)] == [(2, 10, 10), (2, 8, 8)]
    tensors = [torch.tensor(x) for x in (A, B)]
    activation = torch.relu(net.right(tensors[1]))
    raw = net.right(tensors[1]).detach().requires_grad_()
    pooled = [nn.functional.adaptive_avg_pool2d(torch.relu(x), 4) for x in (net.left(tensors[0]), raw)]
    out = net.top(torch.relu(net.both(torch.cat(pooled, 1))).mean((2, 3)))
    weights = torch.autograd.grad(out[:, 1].sum(), raw)[0].mean((2, 3), keepdim=True)
    assert activation.shape == raw.shape
    want = torch.relu((weights * raw).sum(1)).detach().numpy()
    cells = wb.saliency(net, (A, B), 1, "gradcam", layer="right", upsample=False)
    assert np.allclose(cells[0].values, want, atol=1e-6)
    scores = wb.saliency(net, (A, B), 1, "scorecam", layer="left")
    assert scores[0].values.shape == (2, 10, 10)


def test_a_layer_that_both_pictures_reach_needs_the_input():
    net = seeded(Pair)
    with pytest.raises(OptionError, match=r"depends on several of input 0 and input 1.*on_input=\.\.\."):
        wb.saliency(net, (A, B), 1, "gradcam", layer="both")
    with pytest.raises(OptionError, match="name the layer"):
        wb.saliency(net, (A, B), 1, "gradcam")
    with pytest.raises(OptionError, match="no such input"):
        wb.saliency(net, (A, B), 1, "gradcam", layer="both", on_input="c")
    on_right = wb.saliency(net, {"a": A, "b": B}, 1, "gradcam", layer="both", on_input="b")
    on_left = wb.saliency(net, (A, B), 1, "gradcam", layer="both", on_input=0)
    assert on_right[0].values.shape == (2, 8, 8)
    assert on_left[0].values.shape == (2, 10, 10)
    with pytest.raises(OptionError, match="no channels"):
        wb.saliency(seeded(Timed), (A, np.ones((2, 1), np.float32)), 1, "gradcam", layer="left", on_input=1)


class Timed(nn.Module):
    """A picture and a number."""

    def __init__(self):
        super().__init__()
        self.left, self.top = nn.Conv2d(3, 4, 3), nn.Linear(5, 2)

    def forward(self, a, age):
        return self.top(torch.cat([torch.relu(self.left(a)).mean((2, 3)), age], 1))
