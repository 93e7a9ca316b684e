"""Where there is an accelerator it is used with no change in the call, and the maps are those of the processor."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import whybox as wb
from networks.small import digits, digits_network
from whybox.methods.saliency.catalog import METHODS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no accelerator")

FEW = {
    "smoothgrad": {"samples": 10},
    "vargrad": {"samples": 10},
    "expected_gradients": {"samples": 16},
    "rise": {"samples": 64},
}


@pytest.fixture(autouse=True)
def _exact():
    """Convolutions in float32, not in shorter numbers."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("target", [3, "all"])
@pytest.mark.parametrize("method", METHODS)
def test_maps_on_the_accelerator_are_those_of_the_processor(method, target):
    net, X = digits_network("relu"), digits()[0]
    there = copy.deepcopy(net).to("cuda")
    options = dict(FEW.get(method, {}))
    if METHODS[method].background and method == "expected_gradients":
        options["background"] = X[100:120]
    here = wb.saliency(net, X[:6], target, method, **options)
    for inputs in (X[:6], torch.tensor(X[:6]), torch.tensor(X[:6]).to("cuda")):
        far = wb.saliency(there, inputs, target, method, **options)
        assert far.values == pytest.approx(here.values, abs=2e-4 * np.abs(here.values).max())
    assert next(there.parameters()).device.type == "cuda"
