"""Operators taken down by a tensor that writes them: the same as torch's own tracing finds, and nothing that hangs on numbers."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

from networks.operators import COMPLETE, between, made
from whybox.adapters.torch import graph as captured
from whybox.adapters.torch.dispatch_tracer import RecordedGraph
from whybox.adapters.torch.graph import capture, operator_name


def operators(graph):
    return Counter(operator_name(step.target) for step in graph.steps)


@pytest.mark.parametrize(
    "name",
    ["ViT", "residual CNN", "attention masked", "encoder gelu True False", "written in place", "max pool ceil"],
)
def test_both_ways_find_the_same_operators(name, monkeypatch):
    assert name in COMPLETE
    net, x, _ = made(name)
    met = []
    plain = captured._graph_of_module
    monkeypatch.setattr(
        captured, "_graph_of_module", lambda module, row: met.append(type(module)) or plain(module, row)
    )
    with torch.no_grad():
        quick = capture(net, (torch.tensor(x),), lambda: None)
        assert met == [RecordedGraph]
        monkeypatch.setattr(captured, "record_operators", lambda *_: 1 / 0)
        slow = capture(net, (torch.tensor(x),), lambda: None)
    assert met[1] is not RecordedGraph
    moved = {"clone", "detach", "alias", "expand", "view", "_unsafe_view", "reshape", "getitem", "lift_fresh_copy"}
    ours, torchs = ({k: n for k, n in operators(g).items() if k not in moved} for g in (quick, slow))
    assert ours == torchs


@pytest.mark.parametrize(
    "f",
    [
        lambda h: h * float(h.sum()),
        lambda h: h if h[0, 0] > 0 else -h,
        lambda h: h + torch.tensor(h.tolist()),
        lambda h: h + torch.from_numpy(h.numpy().copy()),
        lambda h: h[h > 0].sum() + h,
        lambda h: h + torch.rand_like(h),
        lambda h: h * h.nonzero().shape[0],
    ],
)
def test_numbers_are_not_told(f):
    net = between(f)().eval()
    table = captured._decompositions()
    with captured._without_fused_kernels(), pytest.raises(Exception):  # noqa: B017, PT011  # torch says it in many ways; none is passed on
        captured.record_operators(net, (torch.randn(1, 8),), table, captured._shape_only)


def test_caches_met_on_the_way_hold_plain_tensors_afterwards():
    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.last = nn.Linear(8, 3), None

        def forward(self, x):
            self.last = self.a(x)
            return self.last.relu()

    from whybox.adapters.torch.module import wrap

    net = wrap(Keeping().eval())
    with net.session():
        net.with_rules("deeplift", (torch.randn(2, 8),), (torch.randn(1, 8),))
    assert net.module.last is None
