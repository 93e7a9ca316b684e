"""Operator rules of torch modules: closed forms, recursions by hand, completeness for every kind of operator."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import whybox as wb
from networks.operators import COMPLETE, Fn, made, said
from whybox.adapters.torch.rules_pooling import _pooling_shares, _shares_along_axis


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", COMPLETE)
def test_maps_add_up(name, dtype):
    net, x, reference = made(name, dtype)
    change = said(net, x) - said(net, reference[None])
    target = int(np.abs(change).min(axis=0).argmax())  # the relative error of a difference of nothing is anything
    e = wb.saliency(net, x, target, "deeplift", baseline=reference, reduce=None)
    total = e.values.reshape(len(x), -1).sum(1)
    allowed = 1e-4 if dtype == torch.float32 else 1e-10
    np.testing.assert_allclose(total, change[:, target], rtol=allowed, atol=0)
    assert np.all(e.extras["converged"][1])
    assert float(e.base) == pytest.approx(said(net, reference[None])[0, target], rel=1e-4)


# Closed forms.


def test_linear_network_by_its_weights():
    net = nn.Linear(4, 2)
    x, r = np.random.default_rng(0).standard_normal((2, 3, 4)).astype("f4")
    e = wb.saliency(net.eval(), x, 1, "deeplift", baseline=r)  # one reference a row
    np.testing.assert_allclose(e.values, (x - r) * net.weight[1].detach().numpy(), atol=1e-6)


def test_product_shares_equally():
    x, r = np.array([[2.0, 3.0], [-1.0, 4.0]]), np.array([0.5, -1.0])
    e = wb.saliency(Fn(lambda s, x: s.one * x[:, 0] * x[:, 1]).eval().double(), x, None, "deeplift", baseline=r)
    np.testing.assert_allclose(e.values, (x - r) * (x + r)[:, ::-1] / 2, rtol=1e-14)


def test_quadratic_form_is_its_gradient_half_way():
    torch.manual_seed(0)
    A = torch.randn(5, 5, dtype=torch.float64)
    x, r = np.random.default_rng(1).standard_normal((2, 3, 5))
    net = Fn(lambda s, x: s.one * torch.einsum("bi,ij,bj->b", x, s.A, x), A=nn.Parameter(A)).eval()
    e = wb.saliency(net.double(), x, None, "deeplift", baseline=r)
    np.testing.assert_allclose(e.values, (x - r) * ((x + r) / 2 @ (A + A.T).numpy()), rtol=1e-12)


def test_one_number_by_its_quotient():
    for f in (torch.tanh, torch.exp, F.gelu, torch.log1p, lambda x: x**3, torch.reciprocal):
        x, r = np.array([[0.7], [1.3], [0.2]]), np.array([0.2])
        e = wb.saliency(Fn(lambda s, x, f=f: s.one * f(x)).eval().double(), x, 0, "deeplift", baseline=r)
        y, yr = (f(torch.tensor(v)).numpy() for v in (x, r))
        np.testing.assert_allclose(e.values, y - yr, rtol=1e-12, atol=1e-15)


def test_relu_network_by_hand():
    """Rescale rule, layer by layer: multipliers times weights."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 2)).eval().double()
    x, r = np.random.default_rng(2).standard_normal((2, 5, 6))
    layers = [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in net if isinstance(m, nn.Linear)]
    for i in range(5):
        at, ref, multiplier = x[i], r[i], np.eye(6)
        for k, (W, b) in enumerate(layers):
            at, ref, multiplier = W @ at + b, W @ ref + b, W @ multiplier
            if k < 2:
                slope = (np.maximum(at, 0) - np.maximum(ref, 0)) / (at - ref)
                at, ref, multiplier = np.maximum(at, 0), np.maximum(ref, 0), slope[:, None] * multiplier
        e = wb.saliency(net, x[i : i + 1], 1, "deeplift", baseline=r[i])
        np.testing.assert_allclose(e.values[0], multiplier[1] * (x[i] - r[i]), rtol=1e-11)


def test_shares_of_the_way():
    """Of many points on the way, the share at which each operand is the largest."""
    rng = np.random.default_rng(0)
    x, r = (torch.tensor(rng.integers(-3, 4, (5, 40)) + 0.01 * rng.standard_normal((5, 40))) for _ in range(2))
    t = (np.arange(40_000) + 0.5) / 40_000
    at = np.stack([r.numpy()[:, i, None] + t * (x - r).numpy()[:, i, None] for i in range(40)])
    wanted = np.stack([(at.argmax(1) == k).mean(1) for k in range(5)])
    np.testing.assert_allclose(_shares_along_axis(x, r).numpy(), wanted, atol=5e-5)
    np.testing.assert_allclose(torch.stack(_pooling_shares(list(x), list(r))).numpy(), wanted, atol=5e-5)


def test_equal_operands_are_counted_once():
    x = torch.tensor([[1.0], [1.0], [0.0]])
    for shares in (
        _shares_along_axis(x, x * 2),
        torch.stack(_pooling_shares(list(x), list(x * 2))),
        _shares_along_axis(x, x),
    ):
        np.testing.assert_array_equal(shares.numpy(), [[1.0], [0.0], [0.0]])


def test_softmax_does_not_see_a_constant():
    x, r = np.random.default_rng(5).standard_normal((2, 3, 4))
    net = Fn(lambda s, x: torch.softmax(s.one * x, 1)).eval().double()
    a = wb.saliency(net, x, 2, "deeplift", baseline=r)
    shifted = Fn(lambda s, x: torch.softmax(s.one * x + 7 * x[:, :1].detach() * 0 + 300, 1)).eval().double()
    np.testing.assert_allclose(wb.saliency(shifted, x, 2, "deeplift", baseline=r).values, a.values, atol=1e-12)
    near = wb.saliency(net, x, 2, "deeplift", baseline=x - 1e-7)  # tends to gradient times difference
    np.testing.assert_allclose(near.values, 1e-7 * wb.saliency(net, x, 2, "gradient").values, atol=1e-13)


def test_equal_row_and_reference_have_the_gradient():
    """Multipliers where differences vanish are derivatives: nothing is divided by zero, and the map is zero."""
    net, x, _ = made("residual CNN")
    assert not wb.saliency(net, x, 0, "deeplift", baseline=x).values.any()


# Several references, targets, batches.


def test_mean_over_background_and_its_price():
    net, x, _ = made("residual CNN", rows=6)
    background = np.random.default_rng(9).standard_normal((5, *x.shape[1:])).astype("f4")
    e = wb.saliency(net, x, 2, "deeplift", background=background, reduce=None)
    each = [wb.saliency(net, x, 2, "deeplift", baseline=b, reduce=None).values for b in background]
    np.testing.assert_allclose(e.values, np.mean(each, axis=0), atol=1e-6)
    assert e.evidence.passes["backward"] == 6 * 5
    first = 2  # the question's first row, and once more with its channels innermost
    trial = first + 2 * (2 + 1)  # two rows and a reference, as they are and taken apart
    assert e.evidence.passes["forward"] == 6 + 5 + trial
    assert float(e.base) == pytest.approx(said(net, background)[:, 2].mean(), abs=1e-6)


def test_references_of_each_row():
    net, x, _ = made("residual CNN")
    e = wb.saliency(net, x, 0, "deeplift", baseline=["mean", 0.0], reduce=None)
    own = np.broadcast_to(x.mean(axis=(2, 3), keepdims=True), x.shape)
    bases = (said(net, own)[:, 0] + said(net, np.zeros_like(x[:1]))[0, 0]) / 2
    np.testing.assert_allclose(e.values.reshape(4, -1).sum(1), said(net, x)[:, 0] - bases, rtol=1e-4)
    np.testing.assert_allclose(e.extras["base"][1], bases, rtol=1e-5)


def test_all_targets_from_one_forward():
    net, x, reference = made("ViT")
    e = wb.saliency(net, x, "all", "deeplift", baseline=reference)
    for t in range(5):
        one = wb.saliency(net, x, t, "deeplift", baseline=reference)
        np.testing.assert_allclose(e.values[..., t], one.values, atol=1e-6)
    assert e.evidence.passes["forward"] == one.evidence.passes["forward"]
    assert e.evidence.passes["backward"] == 5 * one.evidence.passes["backward"]


def test_predicted_target_and_small_batches(monkeypatch):
    from whybox.adapters.torch import rules

    net, x, reference = made("residual CNN", rows=7)
    traced = []
    true = rules.captured
    monkeypatch.setattr(rules, "captured", lambda *a: traced.append(1) or true(*a))
    whole = wb.saliency(net, x, None, "deeplift", baseline=reference, spot_checks=0)
    small = wb.saliency(net, x, None, "deeplift", baseline=reference, budget=3 * 80_000, spot_checks=0)
    assert len(traced) == 2  # once a question, not once a batch
    assert small.evidence.passes["backward"] == 7
    np.testing.assert_allclose(small.values, whole.values, atol=1e-6)
    np.testing.assert_array_equal(whole.extras["target"][1], said(net, x).argmax(1))
    again = wb.saliency(net, x, None, "deeplift", baseline=reference)
    np.testing.assert_array_equal(again.values, whole.values)


@pytest.mark.parametrize("method", ["deeplift", "guided_backprop"])
def test_the_network_is_traced_once_for_a_map_and_its_checks(monkeypatch, method):
    from whybox.adapters.torch import capture_on_device

    net, x, _ = made("residual CNN", rows=7)
    traced = []
    true = capture_on_device.capture
    monkeypatch.setattr(capture_on_device, "capture", lambda *a: traced.append(1) or true(*a))
    e = wb.saliency(net, x, 0, method)
    assert "by explaining one row alone" in e.evidence.spot_checks.ways
    assert len(traced) == 1
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.5)
    assert np.abs(wb.saliency(net, x, 0, method).values - e.values).max() > 0.1 * np.abs(e.values).max()
    assert len(traced) == 2  # parameters may have changed between two questions


def test_whole_numbers_are_held():
    torch.manual_seed(4)

    def answer(s, numbers, kinds):
        gate = s.e(kinds) * (kinds > 1)[..., None]
        return s.l((F.gelu(numbers)[..., None] * gate).sum(1))

    net = Fn(answer, e=nn.Embedding(5, 3), l=nn.Linear(3, 2)).eval()
    numbers = np.random.default_rng(0).standard_normal((3, 4)).astype("f4")
    kinds = np.array([[0, 2, 3, 4], [1, 2, 2, 3], [4, 4, 0, 2]])
    (e,) = wb.saliency(net, (numbers, kinds), 1, "deeplift", baseline=0.0)
    with torch.no_grad():
        change = net(torch.tensor(numbers), torch.tensor(kinds)) - net(torch.zeros(3, 4), torch.tensor(kinds))
    np.testing.assert_allclose(e.values.sum(1), change[:, 1].numpy(), rtol=1e-4)
    assert not e.values[kinds < 2].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["residual CNN", "ViT", "softmax"])
def test_sixteen_bits_are_computed_in_thirty_two(name, dtype):
    net, x, reference = made(name)
    wide = wb.saliency(net.to(dtype).float(), x, 1, "deeplift", baseline=reference)
    e = wb.saliency(net.to(dtype), x, 1, "deeplift", baseline=reference)
    assert np.all(e.extras["converged"][1])
    np.testing.assert_allclose(
        e.values, wide.values, atol=(0.05 if dtype == torch.bfloat16 else 0.01) * np.abs(wide.values).max()
    )
