"""Integrated and expected gradients against closed forms, long runs, and their own promises."""

import numpy as np
import pytest
import torch
from torch import nn

import whybox as wb
from networks.small import Formula, rows
from whybox.errors import InputError, LimitError, NonFiniteError, OptionError, UnsupportedModelError
from whybox.methods.saliency.integrated_gradients import IntegratedGradients, _PathPool
from whybox.numerics.adaptive_quadrature import QUADRATURE_LEVELS, QUADRATURE_NODES, coarser_weights, interval_weights
from whybox.numerics.statistics import critical_value

IG, EG = "integrated_gradients", "expected_gradients"


def cnn(act, seed=0, outputs=4):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        act(),
        nn.Conv2d(8, 8, 3, padding=1),
        act(),
        nn.Flatten(),
        nn.Linear(512, outputs),
    )
    for p in net.parameters():
        p.data *= 2  # so that there is something to integrate
    return net.eval()


def pictures(count=12, seed=0):
    return rows(count, 2, 8, 8, seed=seed)


def normed():
    """A layer normalisation that sees the baseline itself: all changes happen next to zero."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(16, 16, bias=False), nn.LayerNorm(16), nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 1)
    ).eval()


def extra(e, name):
    return e.extras[name][1]


# the rules


@pytest.mark.parametrize(("level", "degree"), list(enumerate([1, 5, 11, 23, 47])))
def test_patterson_rules_are_exact_up_to_their_degree(level, degree):
    w = QUADRATURE_LEVELS[level]
    x = 2 * QUADRATURE_NODES[: len(w)] - 1
    for k in range(degree + 1):
        assert w @ x**k == pytest.approx(1 / (k + 1) if k % 2 == 0 else 0.0, abs=1e-14)
    assert abs(w @ x ** (degree + 1) - 1 / (degree + 2)) > 1e-17


def test_stretches_are_what_is_nearest():
    t = np.array([0.1, 0.3, 0.9])
    np.testing.assert_allclose(interval_weights(t), [0.2, 0.4, 0.4])
    np.testing.assert_allclose(coarser_weights(t), [0, 1, 0])
    np.testing.assert_allclose(coarser_weights(np.array([0.1, 0.2, 0.3, 0.9])), [0.2, 0, 0.8, 0])


# closed forms


@pytest.mark.parametrize("steps", [None, 1, 10, 50])
def test_a_line_gives_the_line(steps):
    """Where riemann_trapezoid elsewhere returns 2.7 of 3 with 10 steps."""
    x = np.array([[1.0], [-2.0]], dtype=np.float32)
    e = wb.saliency(Formula(lambda x: 3 * x), x, method=IG, steps=steps)
    np.testing.assert_allclose(e.values, 3 * x, rtol=1e-6)
    assert extra(e, "converged").all()
    if steps is None:
        assert (extra(e, "steps") == 3).all()


def test_squares_products_and_cubes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 2)).astype(np.float32)
    e = wb.saliency(Formula(lambda x: (x**2).sum(1)), x, method=IG)
    np.testing.assert_allclose(e.values, x**2, rtol=1e-5, atol=1e-6)
    e = wb.saliency(Formula(lambda x: x[:, 0] * x[:, 1]), x, method=IG)
    np.testing.assert_allclose(e.values, np.repeat(x.prod(1, keepdims=True) / 2, 2, axis=1), rtol=1e-5, atol=1e-6)
    b = np.array([1.0, -1.0], dtype=np.float32)
    e = wb.saliency(Formula(lambda x: x[:, 0] * x[:, 1]), x, method=IG, baseline=b)
    np.testing.assert_allclose(e.values, (x - b) * (x + b)[:, ::-1] / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(extra(e, "base"), -1.0)


def test_kinks_are_found():
    places = torch.tensor([0.1234, 0.71, 0.333])
    x = np.ones((1, 3), dtype=np.float32)
    e = wb.saliency(Formula(lambda x: (x - places).abs().sum(1)), x, method=IG, tol=0.002)
    np.testing.assert_allclose(e.values[0], 1 - 2 * places.numpy(), atol=0.01)
    assert extra(e, "converged").all()
    assert extra(e, "steps")[0] < 60


def test_equal_ends_have_an_allowance_of_their_own():
    """f(x) = f(b): no error is small relative to nothing."""
    x = np.full((1, 1), 3.0, dtype=np.float32)
    e = wb.saliency(Formula(lambda x: torch.sin(x * np.pi / 3)), x, method=IG)
    assert abs(e.prediction[0]) < 1e-5
    assert extra(e, "converged").all()
    assert abs(e.values[0, 0]) < 2e-4
    e = wb.saliency(Formula(lambda x: x * 0 + 5), x, method=IG)
    assert e.values[0, 0] == 0
    assert extra(e, "converged").all()


# tolerance


@pytest.mark.parametrize("act", [nn.ReLU, nn.GELU, nn.Tanh])
def test_rows_add_up_and_maps_are_near_the_integral(act):
    net, x = cnn(act), pictures()
    e = wb.saliency(net, x, 1, IG, reduce=None)
    d = e.prediction - extra(e, "base")
    gap = e.values.reshape(len(x), -1).sum(1) - d
    np.testing.assert_allclose(gap, extra(e, "completeness_error"), atol=1e-6)
    assert (np.abs(gap) <= 0.01 * np.abs(d) + 1e-5).all()
    assert extra(e, "converged").all()
    t = (np.arange(1000) + 0.5) / 1000
    for k in range(len(x)):
        way = torch.tensor(x[k : k + 1])
        at = (torch.tensor(t, dtype=torch.float32)[:, None, None, None] * way).requires_grad_()
        (g,) = torch.autograd.grad(net(at)[:, 1].sum(), at)
        truth = (g.mean(0) * way[0]).numpy()
        assert np.linalg.norm(e.values[k] - truth) <= 0.04 * np.linalg.norm(truth)


def test_fewer_gradients_than_fifty_and_fewest_where_smooth():
    x = pictures(24)
    assert extra(wb.saliency(cnn(nn.GELU), x, 0, IG), "steps").mean() <= 50 / 3
    assert extra(wb.saliency(cnn(nn.ReLU), x, 0, IG), "steps").mean() <= 50


def test_a_tighter_tolerance_is_kept_too():
    e = wb.saliency(cnn(nn.ReLU), pictures(4), 0, IG, tol=0.003)
    d = e.prediction - extra(e, "base")
    assert (np.abs(extra(e, "completeness_error")) <= 0.003 * np.abs(d) + 1e-5).all()
    assert extra(e, "converged").all()
    assert e.evidence.tolerance < 0.0031 * np.abs(d).max() + 1e-4


def test_a_zero_baseline_in_front_of_a_normalisation():
    """Fifty steps miss by tens of percent; whoever fixes them is told, and whoever does not gets there."""
    x = (30 * np.random.default_rng(3).normal(size=(8, 16))).astype(np.float32)
    fixed = wb.saliency(normed(), x, method=IG, steps=50)
    off = np.abs(extra(fixed, "completeness_error") / (fixed.prediction - extra(fixed, "base")))
    assert off.max() > 0.1
    assert not extra(fixed, "converged").any()
    assert any("NOT CONVERGED: 8 of 8" in n for n in fixed.evidence.notes)
    e = wb.saliency(normed(), x, method=IG)
    off = np.abs(extra(e, "completeness_error") / (e.prediction - extra(e, "base")))
    assert extra(e, "converged").all()
    assert off.max() <= 0.0101


def test_rows_that_may_not_go_on_are_marked():
    x = pictures(6)
    e = wb.saliency(cnn(nn.ReLU), x, 0, IG, tol=1e-4, max_steps=9)
    assert not extra(e, "converged").all()
    assert extra(e, "steps").max() <= 9
    assert any("NOT CONVERGED" in n for n in e.evidence.notes)


def test_a_map_that_did_not_settle_is_marked_although_it_adds_up():
    # what the second half takes from one number it gives to the other: the sum is exact with any steps
    net = Formula(lambda x: torch.relu(x[:, 0] - 0.5) - torch.relu(x[:, 1] - 0.5) + x[:, 2])
    x = np.ones((1, 3), dtype=np.float32)
    e = wb.saliency(net, x, method=IG, max_steps=7, tol=0.001)
    assert abs(extra(e, "completeness_error")[0]) < 1e-6
    assert extra(e, "map_change")[0] > 0.003
    assert not extra(e, "converged")[0]
    assert extra(wb.saliency(net, x, method=IG, tol=0.001), "converged")[0]


# what is shared, what is kept apart


def test_a_row_alone_is_a_row_among_others():
    net, x = cnn(nn.ReLU), pictures(7)
    many = wb.saliency(net, x, 2, IG)
    for k in (0, 4):
        one = wb.saliency(net, x[k : k + 1], 2, IG)
        np.testing.assert_allclose(one.values[0], many.values[k], rtol=1e-4, atol=1e-6)
        assert extra(one, "steps")[0] == extra(many, "steps")[k]


def test_the_same_bytes_twice():
    net, x, behind = cnn(nn.ReLU), pictures(5), pictures(9, seed=5)
    for method, options in ((IG, {}), (IG, {"steps": 20}), (EG, {"background": behind})):
        first, second = (wb.saliency(net, x, 0, method, seed=3, **options) for _ in range(2))
        assert first.values.tobytes() == second.values.tobytes()
    other = wb.saliency(net, x, 0, EG, seed=4, background=behind)
    assert other.values.tobytes() != first.values.tobytes()


def test_several_targets_share_forwards():
    net, x = cnn(nn.GELU, outputs=3), pictures(5)
    every = wb.saliency(net, x, "all", IG, steps=16)
    assert every.evidence.passes["backward"] == 3 * 5 * 16
    assert every.evidence.passes["forward"] <= 5 * 16 + 2 * 5 + 1 + 4
    for t in range(3):
        one = wb.saliency(net, x, t, IG, steps=16)
        np.testing.assert_allclose(every.values[..., t], one.values, atol=1e-5)
    found = wb.saliency(net, x, "all", IG)
    assert extra(found, "converged").all()
    d = found.prediction - extra(found, "base")
    sums = found.values.sum(axis=(1, 2))
    np.testing.assert_array_less(
        np.abs(sums - d), np.maximum(0.01 * np.abs(d), 1e-2 * np.abs(found.values).sum((1, 2)))
    )


def test_several_baselines_are_averaged():
    net, x = cnn(nn.GELU), pictures(3)
    both = wb.saliency(net, x, 0, IG, baseline=[0, "blur"], steps=16)
    apart = [wb.saliency(net, x, 0, IG, baseline=b, steps=16) for b in (0, "blur")]
    np.testing.assert_allclose(both.values, (apart[0].values + apart[1].values) / 2, atol=1e-5)
    np.testing.assert_allclose(extra(both, "base"), (extra(apart[0], "base") + extra(apart[1], "base")) / 2, atol=1e-6)
    assert "the mean over 0; the row blurred by 1 pixels" in both.evidence.estimand
    found = wb.saliency(net, x, 0, IG, baseline=[0, "blur"])
    d = found.prediction - extra(found, "base")
    assert extra(found, "converged").all()
    assert (
        np.abs(extra(found, "completeness_error"))
        <= 0.01 * np.maximum(np.abs(d), 0.05 * np.abs(found.values).sum((1, 2)))
    ).all()
    behind = pictures(40, seed=9)
    found = wb.saliency(net, x, 0, IG, background=behind)
    with torch.no_grad():
        np.testing.assert_allclose(found.base, net(torch.tensor(behind))[:, 0].mean(), rtol=1e-4)
    assert "40 background rows" in found.evidence.estimand


def test_it_leaves_the_network_as_it_was():
    net = cnn(nn.ReLU)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    wb.saliency(net, pictures(2), 0, IG)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_whole_numbers_are_held():
    torch.manual_seed(0)
    table = nn.Embedding(5, 3)
    net = Formula(lambda ids, x: (table(ids[:, 0]) * x**2).sum(1))
    net.table = table
    ids, x = np.array([[0], [3]]), np.ones((2, 3), dtype=np.float32)
    (e,) = wb.saliency(net.eval(), (ids, x), method=IG)
    np.testing.assert_allclose(e.values, table.weight.detach().numpy()[ids[:, 0]], rtol=1e-5)
    assert "whole numbers held" in e.evidence.estimand
    with pytest.raises(OptionError, match="must be None"):
        wb.saliency(net, (ids, x), method=IG, baseline=(0, 0))
    with pytest.raises(UnsupportedModelError, match="whole numbers"):
        wb.saliency(Formula(lambda i: i.float()), np.array([[1]]), method=IG)


# memory


def test_the_budget_bounds_rows_together_and_what_is_kept(monkeypatch):
    net, x = cnn(nn.ReLU), pictures(20)
    seen, kept = [], []
    net[0].register_forward_hook(lambda _m, given, _s: seen.append(len(given[0]) * torch.is_grad_enabled()))
    sort_out = _PathPool._retire_finished

    def spied(self):
        kept.append(sum(len(c.path_ids) for c in self._chunks) * x[0].nbytes + self.batch_size * self.problem.row_bytes)
        assert kept[-1] <= self.problem.budget
        return sort_out(self)

    monkeypatch.setattr(_PathPool, "_retire_finished", spied)
    wide = wb.saliency(net, x, 0, IG)
    assert 24 < max(seen) <= 32
    seen.clear()
    small = wb.saliency(net, x, 0, IG, budget="90KB", max_steps=40)
    assert max(seen) < 12
    assert len(kept) > 2
    alike = extra(small, "steps") == extra(wide, "steps")
    assert alike.sum() > 10
    np.testing.assert_allclose(small.values[alike], wide.values[alike], atol=1e-4)
    with pytest.raises(LimitError, match="steps=50"):
        wb.saliency(net, x, 0, IG, budget="18KB")
    seen.clear()
    wb.saliency(net, x, 0, IG, steps=50, budget="30KB")
    assert max(seen) < 8


# baselines


def test_baselines_are_what_they_are_called():
    x = np.abs(pictures(3))
    net = Formula(lambda x: x.flatten(1).sum(1))  # the map is the way from the baseline

    def start(baseline, **more):
        return x - wb.saliency(net, x, method=IG, baseline=baseline, reduce=None, **more).values

    np.testing.assert_allclose(start(0.5), 0.5, atol=1e-6)
    np.testing.assert_allclose(start("mean"), np.broadcast_to(x.mean((2, 3), keepdims=True), x.shape), atol=1e-6)
    np.testing.assert_allclose(start(x[0]), np.broadcast_to(x[0], x.shape), atol=1e-6)
    np.testing.assert_allclose(start(torch.tensor(x[::-1].copy())), x[::-1], atol=1e-6)
    from scipy.ndimage import gaussian_filter

    np.testing.assert_allclose(start(("blur", 2.0)), gaussian_filter(x, (0, 0, 2, 2), mode="nearest"), atol=1e-6)
    np.testing.assert_allclose(
        start("background", background=x[:2]), np.broadcast_to(x[:2].mean(0), x.shape), atol=1e-5
    )


@pytest.mark.parametrize(
    ("baseline", "error", "words"),
    [
        ("meen", OptionError, "is not known"),
        ([], OptionError, "empty"),
        (True, OptionError, "is not known"),
        (float("nan"), NonFiniteError, "not finite"),
        (np.full((2, 8, 8), np.inf), NonFiniteError, "infinite"),
        (np.zeros((3, 3)), InputError, "must be"),
        ((0, 0), OptionError, "one input"),
        (("blur", 0), OptionError, "above 0"),
        ("background", OptionError, "needs background rows"),
    ],
)
def test_baselines_that_are_refused(baseline, error, words):
    with pytest.raises(error, match=words):
        wb.saliency(cnn(nn.ReLU), pictures(2), 0, IG, baseline=baseline)


def test_baselines_of_tables():
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    net = Formula(lambda x: x.sum(1))
    with pytest.raises(OptionError, match="mean of background rows"):
        wb.saliency(net, x, method=IG, baseline="mean")
    with pytest.raises(OptionError, match="for pictures"):
        wb.saliency(net, x, method=IG, baseline="blur")
    e = wb.saliency(net, x, method=IG, baseline="mean", background=x + 1)
    np.testing.assert_allclose(e.values, x - (x + 1).mean(0), atol=1e-5)
    with pytest.raises(OptionError, match="does not use them"):
        wb.saliency(net, x, method=IG, baseline=0, background=x)


@pytest.mark.parametrize("options", [{"tol": 0}, {"tol": 2}, {"steps": 0}, {"max_steps": 3}, {"stepz": 5}])
def test_options_that_are_refused(options):
    with pytest.raises(OptionError):
        wb.saliency(cnn(nn.ReLU), pictures(2), 0, IG, **options)
    assert IntegratedGradients(steps=5).steps == 5


# expected gradients


def test_expected_gradients_of_a_line_leave_nothing_to_chance():
    torch.manual_seed(0)
    net = nn.Linear(6, 1).eval()
    rng = np.random.default_rng(0)
    x, behind = (rng.normal(size=(n, 6)).astype(np.float32) for n in (3, 37))
    e = wb.saliency(net, x, method=EG, background=behind, samples=32)
    np.testing.assert_allclose(e.values, (x - behind.mean(0)) * net.weight.detach().numpy(), atol=1e-5)
    assert e.std_error.max() < 1e-6
    assert extra(e, "converged").all()
    with torch.no_grad():
        np.testing.assert_allclose(e.base, net(torch.tensor(behind)).mean(), atol=1e-6)
    assert e.evidence.passes["backward"] == 3 * 32
    assert e.evidence.passes["forward"] >= 3 * 32 + 37


def test_expected_gradients_cover_a_product():
    """f = x1 x2: the value of x1 is the mean of (x1 - b1)(x2 + b2) / 2 over the background. Every place of a row draws for itself."""
    rng = np.random.default_rng(1)
    x, behind = rng.normal(size=(20, 2)) + 1, rng.normal(size=(50, 2)) @ [[1, 0.5], [0, 1]]
    truth = ((x[:, None] - behind) * (x[:, None, ::-1] + behind[:, ::-1]) / 2).mean(1)
    net = Formula(lambda x: x[:, 0] * x[:, 1])
    inside, found = [], []

    def explained(samples, seed):
        given, background = np.tile(x, (5, 1)).astype(np.float32), behind.astype(np.float32)
        e = wb.saliency(net, given, method=EG, background=background, samples=samples, seed=seed, spot_checks=0)
        return e.values.reshape(5, 20, 2), e.std_error.reshape(5, 20, 2), int(e.extras["freedom"][1])

    for seed in range(5):
        values, error, _ = explained(128, seed)
        inside.append(np.abs(values - truth) <= 1.96 * error)
        found.extend(values)
    assert 0.90 <= np.mean(inside) <= 0.99
    lean = (np.mean(found, axis=0) - truth) / (np.std(found, axis=0, ddof=1) / 5)
    assert np.sqrt(np.mean(lean**2)) < 1.3  # nothing leans: as far off as 25 repeats explain
    few = []
    for seed in range(5):
        values, error, freedom = explained(32, seed)
        few.append(np.abs(values - truth) <= critical_value(freedom=freedom) * error)
    assert 0.92 <= np.mean(few) <= 0.98


def test_expected_gradients_cover_a_long_run():
    net, x, behind = cnn(nn.ReLU), pictures(2), pictures(30, seed=7)
    for reduce in ("sum", None):
        long = wb.saliency(net, x, 0, EG, background=behind, samples=2048, seed=1000, reduce=reduce)
        inside = []
        for seed in range(8):
            e = wb.saliency(net, x, 0, EG, background=behind, samples=256, seed=seed, reduce=reduce, spot_checks=0)
            inside.append(np.abs(e.values - long.values) <= 1.96 * e.std_error)
            assert e.std_error.shape == e.values.shape
        assert 0.90 <= np.mean(inside) <= 0.99
        assert long.std_error.mean() < e.std_error.mean() / 2


def test_expected_gradients_say_when_they_do_not_add_up():
    net, x, behind = cnn(nn.ReLU), pictures(6), pictures(30, seed=7)
    e = wb.saliency(net, x, 0, EG, background=behind, samples=32, tol=1e-4)
    assert not extra(e, "converged").all()
    assert any("NOT CONVERGED" in n for n in e.evidence.notes)


def test_expected_gradients_refuse():
    with pytest.raises(OptionError, match="give background="):
        wb.saliency(cnn(nn.ReLU), pictures(2), 0, EG)
    with pytest.raises(OptionError, match="multiple of"):
        wb.saliency(cnn(nn.ReLU), pictures(2), 0, EG, background=pictures(3), samples=50)
    with pytest.raises(LimitError, match="groups of one row"):
        wb.saliency(cnn(nn.ReLU), pictures(2), 0, EG, background=pictures(3), budget="20KB")


@pytest.mark.parametrize("steepness", [10.0, 1e3, 1e5])
@pytest.mark.parametrize("shared", [True, False])
def test_what_happens_close_to_the_baseline_is_seen(steepness, shared):
    """Two jumps that cancel in the score and not in the map: tanh(k a'x) - tanh(k b'x) with a'x = b'x gives x_j (a_j - b_j) tanh(k a'x) / a'x.

    No node of a rule lies in the jump, and the sum is right without it; the gradient at the baseline tells.
    """
    a, b, c = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]), torch.tensor([0.3, 0.1])
    net = Formula(lambda x: torch.tanh(steepness * (x @ a)) - torch.tanh(steepness * (x @ b)) + x @ c)
    x = np.array([[1, 1], [0.5, 0.5]], np.float32)
    e = wb.saliency(net, x, method=IG, baseline=0 if shared else np.zeros_like(x), tol=0.01)
    exact = x * np.array([1.0, -1.0]) * np.tanh(steepness * 2 * x[:, :1]) / x[:, :1] + x * c.numpy()
    assert (np.linalg.norm(e.values - exact, axis=1) < 0.05 * np.linalg.norm(exact, axis=1)).all()
    assert extra(e, "converged").all()
