"""Gradients against closed forms and finite differences; their mean and variance under noise against what is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import whybox as wb
from networks.small import Formula, convolutional, digits, seeded


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_linear_quadratic_and_product():
    x = rows(6, 3)
    linear = wb.saliency(Formula(lambda x: 3 * x[:, 0] - 2 * x[:, 1]), x, reduce=None)
    assert np.allclose(linear.values, [[3, -2, 0]] * 6)
    quadratic = wb.saliency(Formula(lambda x: (x**2).sum(1, keepdim=True)), x)
    assert np.allclose(quadratic.values, 2 * x, atol=1e-6)
    product = wb.saliency(Formula(lambda x: x[:, 0] * x[:, 1]), x, method="gradient_x_input")
    assert np.allclose(product.values, (x[:, 0] * x[:, 1])[:, None] * [1, 1, 0], atol=1e-6)


def test_gradient_is_what_finite_differences_give():
    net, x = convolutional(nn.GELU, double=True), rows(3, 3, 9, 9)
    e = wb.saliency(net, x, 2, reduce=None)
    rng = np.random.default_rng(1)
    for _ in range(40):
        row, *place = (int(rng.integers(n)) for n in x.shape)
        up, down = x.copy(), x.copy()
        up[(row, *place)] += 1e-5
        down[(row, *place)] -= 1e-5
        with torch.no_grad():
            slope = float(net(torch.tensor(up))[row, 2] - net(torch.tensor(down))[row, 2]) / 2e-5
        assert e.values[(row, *place)] == pytest.approx(slope, abs=1e-8)


def test_the_map_is_the_largest_absolute_gradient_over_channels():
    net, x = convolutional(), rows(4, 3, 9, 9).astype(np.float32)
    e = wb.saliency(net, x, 1)
    leaf = torch.tensor(x, requires_grad=True)
    net(leaf)[:, 1].sum().backward()
    assert e.dims == ("row", "y", "x")
    assert np.allclose(e.values, leaf.grad.abs().amax(1), atol=1e-7)
    assert np.allclose(wb.saliency(net, x, 1, reduce="sum").values, leaf.grad.sum(1), atol=1e-6)
    assert np.allclose(wb.saliency(net, x, 1, reduce=None).values, leaf.grad, atol=1e-7)


def test_all_classes_are_the_classes_one_by_one_from_one_forward():
    net, x = convolutional(), rows(5, 3, 9, 9).astype(np.float32)
    e = wb.saliency(net, x, "all")
    assert e.dims == ("row", "y", "x", "output")
    assert e.evidence.passes["backward"] <= 5 * 5 + 2 * 4  # the second look at derivatives of two rows takes some
    for k in range(5):
        assert np.array_equal(e.values[..., k], wb.saliency(net, x, k).values)


def test_no_noise_to_speak_of_gives_the_gradient():
    net, x = convolutional(nn.GELU, double=True), rows(2, 3, 9, 9)
    plain = wb.saliency(net, x, 0, reduce=None)
    smooth = wb.saliency(net, x, 0, "smoothgrad", reduce=None, noise=1e-4, samples=4)
    assert np.allclose(plain.values, smooth.values, atol=1e-6)


def test_antithetic_noise_is_exact_where_the_gradient_is_linear():
    x = rows(5, 4)
    e = wb.saliency(Formula(lambda x: (x**2).sum(1)), x, method="smoothgrad", samples=4, noise=0.5)
    assert np.allclose(e.values, np.abs(2 * x) if e.values.min() >= 0 else 2 * x, atol=1e-5)
    assert np.allclose(e.std_error, 0, atol=1e-3)  # float32 sums of squares


def test_vargrad_of_a_quadratic_is_four_times_the_noise():
    x = rows(3, 4)
    e = wb.saliency(Formula(lambda x: (x**2).sum(1)), x, method="vargrad", samples=4000, noise=0.3, seed=3)
    sd = 0.3 * np.ptp(x, axis=1)
    assert np.allclose(e.values, 4 * sd[:, None] ** 2, rtol=0.15)


@pytest.mark.parametrize("reduce", ["max", "sum", None])
def test_error_bars_of_smoothgrad_cover_its_limit(reduce):
    net, x = convolutional(nn.GELU, channels=1, outputs=10, places=(8, 8)), digits()[0][:3]
    target, x = ("all", x[:1]) if reduce is None else (3, x)
    if reduce != "max":
        x = np.repeat(x, 2, axis=1)
        net = nn.Sequential(Formula(lambda x: x.mean(1, keepdim=True) + 0.3 * (x[:, :1] - x[:, 1:]) ** 2), net).eval()
    options = {"reduce": reduce, "spot_checks": 0}
    limit = wb.saliency(net, x, target, "smoothgrad", samples=2000, seed=99, **options)
    inside, total = 0, 0
    for seed in range(12):
        e = wb.saliency(net, x, target, "smoothgrad", samples=40, seed=seed, **options)
        if reduce == "max":  # the largest of several channels is not unbiased; with one channel it is |mean|
            known = np.abs(limit.values) > 4 * e.std_error
        else:
            known = np.ones(e.values.shape, dtype=bool)
        known &= e.std_error > 0
        inside += int((np.abs(e.values - limit.values) <= 2.09 * e.std_error)[known].sum())
        total += int(known.sum())
    assert total > 1000
    assert 0.90 < inside / total < 0.99


def test_few_draws_of_smoothgrad_are_covered_by_students_t():
    """Four pairs: two standard errors cover 84 %, as many as the evidence says 95 %."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 1)).eval()
    with torch.no_grad():
        net[0].weight *= 2
    x = np.random.default_rng(0).normal(size=(4, 12)).astype(np.float32)
    limit = wb.saliency(net, x, method="smoothgrad", reduce="sum", samples=8000, seed=99).values
    far = []
    for seed in range(40):
        e = wb.saliency(net, x, method="smoothgrad", reduce="sum", samples=8, seed=seed, spot_checks=0)
        far.append(np.abs(e.values - limit) / e.std_error)
    assert int(e.extras["freedom"][1]) == 3
    low, high = e.interval
    assert np.allclose(high - e.values, 3.182 * e.std_error, rtol=1e-3)
    assert np.allclose(e.values - low, high - e.values)
    assert wb.saliency(net, x).interval is None
    assert "a 95 % interval reaches 3.18 of them" in " ".join(e.evidence.notes)
    assert np.mean(np.array(far) <= 1.96) < 0.88
    assert 0.92 < np.mean(np.array(far) <= 3.182) < 0.98
    many = wb.saliency(net, x, method="smoothgrad", samples=200)
    assert int(many.extras["freedom"][1]) == 99
    assert "95 % interval" not in " ".join(many.evidence.notes)


def test_a_row_alone_gets_the_map_it_gets_among_others():
    net, x = convolutional(), rows(5, 3, 9, 9).astype(np.float32)
    for method in ("gradient", "smoothgrad", "vargrad"):
        whole = wb.saliency(net, x, 0, method)
        assert np.allclose(whole.values[0], wb.saliency(net, x[:1], 0, method).values[0], atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_whatever_the_budget():
    net, x = convolutional(), rows(5, 3, 9, 9).astype(np.float32)
    first, again = (wb.saliency(net, x, 0, "smoothgrad", seed=7) for _ in range(2))
    assert first.values.tobytes() == again.values.tobytes()
    small = wb.saliency(net, x, 0, "smoothgrad", seed=7, budget="100KB")
    assert small.evidence.passes["rows together"] < first.evidence.passes["rows together"]
    assert np.allclose(small.values, first.values, atol=1e-5)
    assert not np.allclose(first.values, wb.saliency(net, x, 0, "smoothgrad", seed=8).values)


def test_several_inputs_of_which_one_holds_whole_numbers():
    table = nn.Embedding(5, 2)

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = table

        def forward(self, x, kind):
            return (x * self.table(kind)).sum(1)

    net, x, kind = seeded(Two), rows(4, 2).astype(np.float32), np.array([[0], [1], [2], [4]])[:, 0:1]
    net.forward = lambda x, kind: (x * net.table(kind[:, 0])).sum(1)
    found = wb.saliency(net, (x, kind))
    assert isinstance(found, tuple)
    assert len(found) == 1
    assert np.allclose(found[0].values, table.weight.detach().numpy()[kind[:, 0]], atol=1e-6)
