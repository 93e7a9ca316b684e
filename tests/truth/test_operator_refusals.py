"""Guided backpropagation by hand; operators without a rule are refused by name; networks are left as they were found."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import whybox as wb
from networks.operators import Fn, between, chain, linear, made
from whybox.errors import OptionError, UnsupportedModelError
from whybox.models.registry import as_network

# Guided backpropagation.


def guided_by_hand(weights, x, target):
    at, opened = x, []
    for k, (W, b) in enumerate(weights):
        at = at @ W.T + b
        if k < len(weights) - 1:
            opened.append(at > 0)
            at = np.maximum(at, 0)
    back = np.repeat(weights[-1][0][target][None], len(x), 0)
    for (W, _), is_open in zip(weights[-2::-1], opened[::-1], strict=True):
        back = np.where(is_open & (back > 0), back, 0) @ W
    return back


@pytest.mark.parametrize(
    "relu", [F.relu, nn.ReLU(), nn.ReLU(inplace=True), lambda h: h.clamp(min=0), lambda h: F.threshold(h, 0, 0)]
)
def test_guided_by_hand_however_the_relu_is_written(relu):
    torch.manual_seed(2)
    net = (
        Fn(lambda s, x: s.c(relu(s.b(relu(s.a(x))))), a=nn.Linear(6, 9), b=nn.Linear(9, 8), c=nn.Linear(8, 3))
        .eval()
        .double()
    )
    x = np.random.default_rng(0).standard_normal((5, 6))
    weights = [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in (net.a, net.b, net.c)]
    e = wb.saliency(net, x, 2, "guided_backprop")
    np.testing.assert_allclose(e.values, guided_by_hand(weights, x, 2), atol=1e-12)
    assert np.abs(e.values - wb.saliency(net, x, 2, "gradient").values).max() > 1e-3  # others answer that, silently
    assert any("ignore" in note for note in e.evidence.notes)


def test_guided_refuses_what_it_is_not_defined_for():
    x = np.ones((3, 8), dtype="f4")
    with pytest.raises(UnsupportedModelError, match="no ReLU"):
        wb.saliency(nn.Linear(8, 2).eval(), x, 0, "guided_backprop")
    for f, name in (
        (F.gelu, "gelu"),
        (F.silu, "silu"),
        (torch.tanh, "tanh"),
        (F.leaky_relu, "leaky_relu"),
        (F.elu, "elu"),
    ):
        net = between(lambda h, f=f: F.relu(h) + f(h))().eval()
        with pytest.raises(UnsupportedModelError, match=f"'{name}'"):
            wb.saliency(net, x, 0, "guided_backprop")
    probability = chain(linear(8, 4), nn.ReLU, linear(4, 1), nn.Sigmoid)().eval()
    assert wb.saliency(probability, x, None, "guided_backprop").values.shape == (3, 8)


# Refusals by name.


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda h: torch.atan2(h, h + 1), "'atan2'"),
        (lambda h: h * (h > 0), "'gt'"),
        (lambda h: h.sort(1)[0], "'sort'"),
        (lambda h: h.gather(1, h.argmax(1, keepdim=True)).expand(-1, 16), "'argmax'"),
        (torch.floor, "'floor'"),
        (lambda h: h + torch.rand(16), "draws random numbers"),
        (lambda h: torch.cumprod(h, 1), "'cumprod'"),
        (lambda h: h**h.abs(), "'pow'"),
        (lambda h: F.fold(h.reshape(-1, 4, 4), (3, 3), 2) .flatten(1).repeat(1, 2)[:, :16].cummax(1)[0], "'cummax'"),
    ],
)  # fmt: skip
def test_operators_without_a_rule_are_named(f, name):
    with pytest.raises(UnsupportedModelError, match=name):
        wb.saliency(between(f)().eval(), np.ones((3, 8), dtype="f4"), 0, "deeplift")


@pytest.mark.parametrize(
    "f",
    [
        lambda h: h if h.sum() > 0 else -h,
        lambda h: h * float(h.detach().sum()),
        lambda h: h[h > 0].sum() + h,
        lambda h: torch.stack([r if r[0] > 0 else -r for r in h]),
    ],
)
def test_what_hangs_on_numbers_is_refused(f):
    x = np.random.default_rng(0).standard_normal((4, 8)).astype("f4")
    with pytest.raises(UnsupportedModelError, match=r"integrated_gradients|row's answer depends"):
        wb.saliency(between(f)().eval(), x, 0, "deeplift")


def test_what_leaves_torch_unseen_is_found_out():
    net = between(lambda h: h + torch.from_numpy(np.tanh(h.detach().numpy().copy())))().eval()
    with pytest.raises(UnsupportedModelError, match="integrated_gradients"):
        wb.saliency(net, np.random.default_rng(0).standard_normal((4, 8)).astype("f4"), 0, "deeplift")


def test_other_refusals():
    net, x, _ = made("nn.ReLU")
    with pytest.raises(UnsupportedModelError, match="autocast"):
        wb.saliency(net, x, 0, "deeplift", dtype="bfloat16")
    with pytest.raises(OptionError, match="rules .lrp. are not known"):
        as_network(net, None).with_rules("lrp", (torch.tensor(x),), None)


def test_left_as_it_was_found():
    net, x, reference = made("ViT")
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.head.weight.requires_grad_(False)
    switches = lambda: (
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.mkldnn.enabled,
        torch.is_grad_enabled(),
        torch.backends.cuda.flash_sdp_enabled(),
    )
    as_found, rows = switches(), x.copy()
    wb.saliency(net, x, 0, "deeplift", baseline=reference)
    bad = Fn(lambda s, x: torch.atan2(s.m(x), s.m(x) + 1), m=net).eval()
    with pytest.raises(UnsupportedModelError):
        wb.saliency(bad, x, 0, "deeplift")
    branch = Fn(lambda s, x: s.m(x) if x.sum() > 0 else x, m=net).eval()
    with pytest.raises(UnsupportedModelError):
        wb.saliency(branch, np.abs(x), 0, "deeplift")
    assert switches() == as_found
    np.testing.assert_array_equal(x, rows)
    assert not net.head.weight.requires_grad
    assert net.head.bias.requires_grad
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks or m._backward_hooks for m in net.modules())
    assert all(p.grad is None for p in net.parameters())


def test_rows_are_not_written_to_by_a_first_layer_in_place():
    net, x, _ = made("inplace first")
    rows = x.copy()
    for method in ("gradient", "deeplift", "guided_backprop"):
        wb.saliency(net, x, 0, method)
        np.testing.assert_array_equal(x, rows)
