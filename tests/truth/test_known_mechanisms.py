"""Networks whose mechanism is known, and what each method must say of them. A method that joins the catalogue must join the table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import whybox as wb
from whybox.errors import UnsupportedModelError
from whybox.methods.registry import family_ids

nn = torch.nn


class Linear(nn.Module):
    """2 a - 3 b + 1."""

    def forward(self, x):
        return 2 * x[:, 0] - 3 * x[:, 1] + 1


class And(nn.Module):
    """One if both a and b are one, zero if either is: relu(a + b - 1)."""

    def forward(self, x):
        return torch.relu(x[:, 0] + x[:, 1] - 1)


class Cancellation(nn.Module):
    """a, with b taking two ways that cancel each other: relu(a + b) - relu(b)."""

    def forward(self, x):
        return torch.relu(x[:, 0] + x[:, 1]) - torch.relu(x[:, 1])


class Product(nn.Module):
    """a b."""

    def forward(self, x):
        return x[:, 0] * x[:, 1]


# a, b, and a third input that takes no part
MECHANISMS = {
    "linear": (Linear(), (1.5, 0.5, 0.7)),
    "and": (And(), (1.0, 1.0, 0.5)),
    "cancellation": (Cancellation(), (1.0, 1.0, 0.5)),
    "product": (Product(), (2.0, 3.0, 1.0)),
}

# What a and b must get; the third input gets 0 from everyone. None: refused.
DERIVATIVE = {"linear": (2, -3), "and": (1, 1), "cancellation": (1, 0), "product": (3, 2)}
LEFT_OUT = {
    "linear": (3, -1.5),
    "and": (1, 1),
    "cancellation": (1, 0),
    "product": (6, 6),
}  # each is all of an AND, of a product
SHARED = {
    "linear": (3, -1.5),
    "and": (0.5, 0.5),
    "cancellation": (1, 0),
    "product": (3, 3),
}  # complete: adds up to score - score(0)
SPREAD = {
    "linear": (0, 0),
    "and": (0, 0),
    "cancellation": (0, 0),
    "product": (0.09, 0.09),
}  # noise of 0.15 times the range 2, squared
SEEN = {
    "linear": (1.5, -0.75),
    "and": (0.25, 0.25),
    "cancellation": (0.5, 0),
    "product": (1.5, 1.5),
}  # covariance with a mask of p = 1/2, over p
LOCAL = {
    "linear": (3, -1.5),
    "and": (0.7693, 0.7693),
    "cancellation": (1, 0),
    "product": (4.6157, 4.6157),
}  # the regression over all eight masks, weighted by their cosine distance; the third input gets a hundredth, because weights tie the parts
GUIDED = {
    "linear": None,
    "and": (1, 1),
    "cancellation": (1, 1),
    "product": None,
}  # no ReLU: refused; the way that takes b back is negative, so it is cut

ZERO = np.zeros((1, 3), dtype=np.float32)
# method -> what it must give, options, how many standard errors (0: exactly, to the tolerance given)
TABLE = {
    "gradient": (DERIVATIVE, {}, 1e-6),
    "gradient_x_input": (LEFT_OUT, {}, 1e-6),
    "smoothgrad": (DERIVATIVE, {}, 0.15),
    "vargrad": (SPREAD, {"samples": 2000}, 0.015),
    "integrated_gradients": (SHARED, {"tol": 1e-3}, 2e-3),
    "expected_gradients": (SHARED, {"background": ZERO, "samples": 512}, 0.02),
    "guided_integrated_gradients": (SHARED, {}, 2e-2),
    "deeplift": (SHARED, {}, 1e-5),
    "guided_backprop": (GUIDED, {}, 1e-6),
    "occlusion": (LEFT_OUT, {}, 1e-5),
    "ablation": (LEFT_OUT, {}, 1e-5),
    "shapley": (SHARED, {}, 1e-5),
    "lime": (LOCAL, {}, 0.05),
    "rise": (SEEN, {"samples": 4000}, 0.15),
}
CAMS = ("gradcam", "gradcam++", "layercam", "scorecam")
PICTURES_ONLY = ("xrai", "blur_integrated_gradients", "guided_gradcam")  # their truth is tested where they live
OF_LAYERS = ("layer_integrated_gradients", "conductance")  # as is that of layers
COMPLETE = ("integrated_gradients", "expected_gradients", "deeplift", "shapley")


def test_every_method_of_the_catalogue_has_its_truth():
    missing = set(family_ids("saliency")) - set(TABLE) - set(CAMS) - set(PICTURES_ONLY) - set(OF_LAYERS)
    assert not missing, f"say in this table what {sorted(missing)} must give for each mechanism"


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("method", [m for m in family_ids("saliency") if m in TABLE])
def test_known_mechanism(method, mechanism):
    expected, options, tolerance = TABLE[method]
    net, x = MECHANISMS[mechanism]
    rows = np.array([x, x], dtype=np.float32)
    if expected[mechanism] is None:
        with pytest.raises(UnsupportedModelError):
            wb.saliency(net.eval(), rows, method=method, **options)
        return
    e = wb.saliency(net.eval(), rows, method=method, **options)
    room = 1e-6 if mechanism == "linear" and method != "rise" else tolerance
    for values in e.values:
        assert values == pytest.approx((*expected[mechanism], 0), abs=room), (method, mechanism)
    if method in COMPLETE:
        truth = net(torch.tensor(rows)) - net(torch.zeros(2, 3))
        assert e.values.sum(axis=1) == pytest.approx(truth.numpy(), abs=3 * tolerance)
    if e.std_error is not None:
        far = np.abs(e.values - np.array((*expected[mechanism], 0)))
        assert (far <= 6 * e.std_error + 2e-3).all(), "the error bars do not cover the truth"


@pytest.mark.parametrize("method", [m for m in family_ids("saliency") if m in CAMS])
def test_class_activation_maps_of_two_channels(method):
    """One channel is the picture, the other its negative, which takes no part: the map is the picture's bright side."""
    conv, head = nn.Conv2d(1, 2, 1, bias=False), nn.Linear(32, 1, bias=False)
    with torch.no_grad():
        conv.weight[:] = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1)
        head.weight[:] = torch.cat([torch.full((1, 16), 0.25), torch.zeros(1, 16)], 1)
    net = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), head).eval()
    picture = np.random.default_rng(0).normal(size=(3, 1, 4, 4)).astype(np.float32)
    found = wb.saliency(net, picture, method=method, layer="1").values
    bright = np.maximum(picture[:, 0], 0)
    if method == "scorecam":  # its weights are a softmax, so a channel without part keeps a share
        dark = np.maximum(-picture[:, 0], 0)
        for values, own, other in zip(found, bright, dark, strict=True):
            kept = np.linalg.lstsq(np.stack([own.ravel(), other.ravel()], 1), values.ravel(), rcond=None)
            assert kept[0][0] > kept[0][1]
            assert kept[1] == pytest.approx(0.0, abs=1e-6)
        return
    for values, truth in zip(found, bright, strict=True):
        assert values / values.max() == pytest.approx(truth / truth.max(), abs=1e-5)
