"""Where there is an accelerator it is used with no change in the call, and the maps are those of the processor."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import whybox as wb
from networks.small import digits, digits_network
from whybox.methods.registry import family_ids

needs_one = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no accelerator")

FEW = {
    "smoothgrad": {"samples": 10},
    "vargrad": {"samples": 10},
    "expected_gradients": {"samples": 32},
    "rise": {"samples": 64},
    "layer_integrated_gradients": {"layer": "1"},
    "conductance": {"layer": "1"},
}


@pytest.fixture
def _exact():
    """Convolutions in float32, not in shorter numbers."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@needs_one
@pytest.mark.usefixtures("_exact")
@pytest.mark.parametrize("target", [3, "all"])
@pytest.mark.parametrize("method", family_ids("saliency"))
def test_maps_on_the_accelerator_are_those_of_the_processor(method, target):
    net, X = digits_network("relu"), digits()[0]
    there = copy.deepcopy(net).to("cuda")
    options = dict(FEW.get(method, {}))
    if method == "expected_gradients":
        options["background"] = X[100:120]
    here = wb.saliency(net, X[:6], target, method, **options)
    for inputs in (X[:6], torch.tensor(X[:6]), torch.tensor(X[:6]).to("cuda")):
        far = wb.saliency(there, inputs, target, method, **options)
        assert far.values == pytest.approx(here.values, abs=2e-4 * np.abs(here.values).max())
    assert next(there.parameters()).device.type == "cuda"


def test_nothing_is_left_on_the_processor():
    """Every method, the checks and tokens on a device whose tensors refuse to meet the processor's; see tests/networks/elsewhere.py."""
    run = [sys.executable, "-m", "networks.elsewhere"]
    done = subprocess.run(run, check=False, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert "same device" in found.pop("mixing is seen")
    for method in ("guided_backprop", "guided_gradcam"):
        assert found.pop(f"attending {method}") == "refused alike"  # there are no ReLUs
    assert len(found) > 2 * len(family_ids("saliency"))
    assert {k: v for k, v in found.items() if not isinstance(v, float) or not v < 2e-6} == {}
