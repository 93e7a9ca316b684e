"""Derivatives that are not those of the answer are refused in every library, and right ones never are."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import io
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import whybox as wb
from networks import operators
from networks.small import Formula, convolutional, flat, rows, seeded
from whybox.errors import UnsupportedModelError

WRONG = "derivatives are not those of its outputs"
RIGHT = {
    "softmax less its maximum": lambda h: (h - h.max(1, keepdim=True).values.detach()).softmax(1),
    "a gate of truth values": lambda h: h * (h > 0),
    "rounded to a step": lambda h: h + h.round().detach() * 0,
    "interpolated": lambda h: h.floor() + (h - h.floor()),
    "a weight per place, whole": lambda h: h * torch.arange(h.shape[1]).float(),
}


def differences(net, x, target, step=1e-5):
    """Central differences in float64, number by number."""
    twin = net.double()
    x = torch.tensor(x, dtype=torch.float64)
    out = torch.zeros_like(x)
    for place in np.ndindex(x.shape[1:]):
        h = torch.zeros_like(x)
        h[(slice(None), *place)] = step
        with torch.no_grad():
            out[(slice(None), *place)] = (twin(x + h)[:, target] - twin(x - h)[:, target]) / (2 * step)
    return out.numpy()


class Own(torch.autograd.Function):
    """As it is forwards; backwards the gradient times a factor."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.factor, None


class Straight(torch.autograd.Function):
    """Rounded to steps; backwards as if it were not."""

    @staticmethod
    def forward(ctx, x, steps):
        return (x * steps).round() / steps

    @staticmethod
    def backward(ctx, g):
        return g, None


CUTS = {
    "detach": lambda h: h.detach(),
    "data": lambda h: h.data,
    "numpy": lambda h: torch.tensor(h.detach().numpy()),
    "no derivative": lambda h: Own.apply(h, 0.0),
    "the other sign": lambda h: Own.apply(h, -1.0),
    "half": lambda h: Own.apply(h, 0.5),
    "in places": lambda h: torch.where(torch.arange(h.shape[-1]) % 2 == 0, h.detach(), h),
    "straight-through": lambda h: Straight.apply(h, 1.0),
    "fine steps": lambda h: (h * 10_000).round() / 10_000,
    "fine whole numbers": lambda h: (h * 10_000).long() / 10_000,
}


def quantised(net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)


def test_operators_without_a_derivative_are_refused_by_name():
    plain, short = seeded(lambda: nn.Linear(3, 1)), quantised(seeded(lambda: nn.Sequential(nn.Linear(3, 1)), 1))
    net, x = Formula(lambda x: short(x) + plain(x)), np.array([[1, 2, -1]], np.float32)
    net.short = short.eval()
    for method in ("gradient", "integrated_gradients", "smoothgrad"):
        with pytest.raises(UnsupportedModelError, match="without a derivative.*quantized::linear_dynamic"):
            wb.saliency(net, x, method=method)
    with torch.no_grad():
        without = [net(torch.tensor(x) * (torch.arange(3) != i)).item() for i in range(3)]
    taken_out = wb.saliency(net, x, method="ablation")
    assert np.allclose(taken_out.values[0], net(torch.tensor(x)).item() - np.array(without), atol=1e-5)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "smoothgrad", "expected_gradients"])
def test_a_cut_on_one_of_two_ways_is_refused(cut, method):
    inner, x = flat(), rows(3, 6)
    net = Formula(lambda x: inner(x) + inner(CUTS[cut](x) * 2))
    options = {"background": rows(4, 6, seed=5)} if method == "expected_gradients" else {}
    with pytest.raises(UnsupportedModelError, match=WRONG):
        wb.saliency(net, x, 1, method, **options)


@pytest.mark.parametrize("cut", CUTS)
def test_without_derivatives_a_cut_is_no_fault(cut):
    inner, x = flat(), rows(3, 6)
    net = Formula(lambda x: inner(x) + inner(CUTS[cut](x) * 2))
    whole = wb.saliency(net, x, 1, "shapley")
    base = net(torch.zeros(1, 6))[0, 1].item()
    assert np.allclose(whole.values.sum(1), whole.prediction - base, atol=1e-4)


@pytest.mark.parametrize("name", RIGHT)
def test_derivatives_that_are_right_pass_and_are_those_of_differences(name):
    inner, x = flat(), rows(3, 6)
    net = Formula(lambda x: RIGHT[name](inner(x)))
    net.inner = inner  # is doubled with it
    e = wb.saliency(net, x, 1, reduce=None)
    assert not e.evidence.notes
    if name != "a gate of truth values":
        assert np.allclose(e.values, differences(net, x, 1), atol=1e-5)


def test_a_backward_of_ones_own_that_is_right_passes():
    inner, x = flat(), rows(3, 6)
    assert not wb.saliency(Formula(lambda x: inner(Own.apply(x, 1.0))), x, 1).evidence.notes


def test_rounding_so_fine_that_answers_follow_the_derivative_passes():
    inner, x = flat(), rows(3, 6)
    e = wb.saliency(Formula(lambda x: inner(Straight.apply(x, 10_000.0))), x, 1)
    assert np.allclose(e.values, wb.saliency(inner, x, 1).values, atol=1e-3)


def test_what_cannot_be_told_is_noted():
    inner, x = flat(), rows(3, 6)
    net = Formula(lambda x: 1e5 + inner(x) + inner(x * 2).detach())  # changes drown in rounding
    assert (
        wb.saliency(net, x, 1)
        .evidence.notes[0]
        .startswith("UNCHECKED: the network has operations that derivatives do not follow (detach)")
    )


def test_the_output_asked_for_is_the_one_that_is_checked():
    inner, x = flat(), rows(3, 6)
    net = Formula(lambda x: torch.stack([inner(x)[:, 0], inner(x)[:, 1] * x.detach()[:, 0]], 1))
    assert not wb.saliency(net, x, 0).evidence.notes
    for target in (1, "all", [0, 1, 0], lambda out: out[:, 1]):
        with pytest.raises(UnsupportedModelError, match=WRONG):
            wb.saliency(net, x, target)


def test_a_cut_in_one_of_several_inputs():
    inner, x = flat(), rows(3, 6)
    net = Formula(lambda a, b: inner(a) + 1e-3 * inner(b) * b.detach()[:, :1])
    with pytest.raises(UnsupportedModelError, match=WRONG):
        wb.saliency(net, (x, 1000 * x), 1)


def test_class_activation_maps_are_checked_from_their_layer_on():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.early, self.late, self.top = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Linear(5, 3)

        def forward(self, x):
            h = self.early(x).relu()
            h = self.late(h + h.detach())
            return self.top(h.relu().mean((2, 3)))

    net, x = seeded(Net), rows(2, 3, 8, 7)
    assert not any("UNCHECKED" in n for n in wb.saliency(net, x, 1, "gradcam", layer="late").evidence.notes)
    with pytest.raises(UnsupportedModelError, match=WRONG):
        wb.saliency(net, x, 1, "gradcam", layer="early")
    with pytest.raises(UnsupportedModelError, match=WRONG):
        wb.saliency(net, x, 1, "gradient")


class Reading(nn.Module):
    def __init__(self, *, cut):
        super().__init__()
        self.words, self.top, self.cut = nn.Embedding(10, 6), flat(), cut

    def forward(self, tokens):
        h = self.words(tokens).mean(1)
        return self.top(h) * (h.detach() if self.cut else h)[:, :1].exp()


def test_an_embedding_is_checked_behind_it():
    tokens = np.random.default_rng(0).integers(0, 10, size=(3, 5))
    for method in ("gradient", "integrated_gradients"):
        assert not wb.saliency(seeded(lambda: Reading(cut=False)), tokens, 1, method, embedding="words").evidence.notes
        with pytest.raises(UnsupportedModelError, match=WRONG):
            wb.saliency(seeded(lambda: Reading(cut=True)), tokens, 1, method, embedding="words")


def test_exported_programs_are_checked(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = flat()

        def forward(self, x):
            return self.inner(x) * self.inner(x).detach().sigmoid()

    program = torch.export.export(seeded(Net), (torch.zeros(2, 6),), dynamic_shapes=({0: torch.export.Dim("rows")},))
    held = io.BytesIO()
    torch.export.save(program, held)
    (tmp_path / "net.pt2").write_bytes(held.getvalue())
    with pytest.raises(UnsupportedModelError, match=WRONG):
        wb.saliency(wb.networks.exported(tmp_path / "net.pt2"), rows(3, 6), 1)


W = rows(6, 3, seed=7)


def in_jax():
    jax = pytest.importorskip("jax")
    jnp = jax.numpy

    def own(backward):
        f = jax.custom_vjp(lambda x: x**3)
        f.defvjp(lambda x: (x**3, x), lambda x, g: (backward(x, g),))
        return f

    def plain(p, x):
        return jnp.tanh(x @ p["w"])

    wrong = {
        "stop_gradient": lambda p, x: plain(p, x) * jax.lax.stop_gradient(x[:, :1]),
        "custom_vjp": lambda p, x: plain(p, x) + plain(p, own(lambda x, g: 0 * g)(x)),
        "straight-through": lambda p, x: plain(p, x + jax.lax.stop_gradient(jnp.round(x) - x)),
        "whole": lambda p, x: plain(p, x) + plain(p, (x * 10_000).astype(int) / 10_000),
    }
    right = {
        "custom_vjp": lambda p, x: plain(p, own(lambda x, g: 3 * x**2 * g)(x)),
        "softmax": lambda p, x: jax.nn.softmax(plain(p, x) - jax.lax.stop_gradient(plain(p, x).max(1, keepdims=True))),
        "floor": lambda p, x: plain(p, x - jnp.floor(x)),
        "relu of zeros": lambda p, x: jax.nn.relu(x * (x > 0)) @ p["w"],
    }
    return {name: (f, name in wrong) for of in (wrong, right) for name, f in of.items()}, wrong, right


@pytest.mark.parametrize(
    ("method", "of_each"),
    [
        ("gradient", None),
        ("integrated_gradients", 1),
        pytest.param("integrated_gradients", None, marks=pytest.mark.soak),
    ],
)
def test_functions_of_jax_are_checked(method, of_each):
    """Every function is refused or let through by the check; JAX compiles each anew, so integrated gradients take one of each kind, or with `soak` all."""
    _, wrong, right = in_jax()
    for f in list(wrong.values())[:of_each]:
        with pytest.raises(UnsupportedModelError, match=WRONG):
            wb.saliency(wb.networks.jax(f, {"w": W}), rows(3, 6), 1, method)
    for f in list(right.values())[:of_each]:
        found = wb.saliency(wb.networks.jax(f, {"w": W}), rows(3, 6), 1, method)
        assert not any("UNCHECKED" in n for n in found.evidence.notes)


def test_modules_of_equinox_and_flax_are_checked():
    jax, eqx, nnx = (pytest.importorskip(n) for n in ("jax", "equinox", "flax.nnx"))

    class Tree(eqx.Module):
        layer: eqx.nn.Linear

        def __call__(self, x):
            return self.layer(x) * jax.lax.stop_gradient(x[0])

    class Graph(nnx.Module):
        def __init__(self):
            self.layer = nnx.Linear(6, 3, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.layer(x) * jax.lax.stop_gradient(x[:, :1])

    for net in (Tree(eqx.nn.Linear(6, 3, key=jax.random.key(0))), Graph()):
        with pytest.raises(UnsupportedModelError, match=WRONG):
            wb.saliency(net, rows(3, 6), 1)


@pytest.mark.parametrize("name", operators.COMPLETE)
def test_no_operator_raises_a_false_alarm(name):
    """Also where half of the input is 0, so that rows stand on kinks, and where numbers are small or large."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for scale in (1.0, 1e-6, 100.0):
            net, x, _ = operators.made(name, dtype, rows=2)
            x = torch.tensor(x * scale).to(dtype)
            x[1, ..., : x.shape[-1] // 2] = 0
            try:
                out = net(x)
                e = wb.saliency(net, x, (0,) * (out.ndim - 1), spot_checks=0)  # the check of derivatives is another
            except Exception as error:  # of operators that have no derivative there, or not in this type
                if WRONG in str(error):
                    raise
                continue
            assert not any("UNCHECKED" in n for n in e.evidence.notes)


def test_dropout_saturation_and_pictures_of_one_colour_raise_no_alarm():
    x = np.zeros((2, 3, 9, 9), np.float32)
    x[1] = 0.5
    nets = [
        convolutional(),
        seeded(lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(243, 4), nn.Sigmoid())),
        Formula(lambda x: (1e4 * x.flatten(1)[:, :4] - 100).sigmoid()),
        Formula(lambda x: x.flatten(1)[:, :4].abs()),
    ]
    for net in nets:
        assert not any("UNCHECKED" in n for n in wb.saliency(net, x, 1).evidence.notes)
        assert wb.saliency(net, x + 0.3, 1).values.shape[0] == 2


def test_numbers_too_large_for_single_precision_are_refused_and_right_in_double():
    """Attention that is settled: its derivative in float32 is nothing but rounding."""
    for dtype in (torch.float32, torch.float64):
        net, x, _ = operators.made("attention fused", dtype, rows=2)
        x = torch.tensor(x * 1e5, dtype=dtype)
        leaf = x.double().requires_grad_()
        (want,) = torch.autograd.grad(operators.made("attention fused", torch.float64)[0](leaf)[:, 0].sum(), leaf)
        if dtype == torch.float32:
            with pytest.raises(UnsupportedModelError, match=WRONG):
                wb.saliency(net, x, 0)
        else:
            assert np.allclose(wb.saliency(net, x, 0, reduce=None).values, want, rtol=1e-4, atol=1e-6)


def test_a_smooth_network_is_asked_four_times_more():
    smooth = flat()
    for count in (1, 5, 40):
        e = wb.saliency(smooth, rows(count, 6), 1)
        assert e.evidence.passes["forward"] == count + 4 + (2 if count == 1 else 1)
        assert e.evidence.passes["backward"] == count


def drawn(seed, cut):
    """A network of two ways, one of them through the cut."""
    dice = np.random.default_rng(seed)
    act = (torch.relu, torch.tanh, nn.functional.gelu, torch.sigmoid)[dice.integers(4)]
    inner = seeded(lambda: nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(), nn.Linear(16, 8)), seed)
    top, share = seeded(lambda: nn.Linear(8, 3), seed), float(10 ** dice.uniform(-1.5, 1))
    return Formula(lambda x: top(act(inner(x)) + share * cut(act(inner(x.flip(1)) * 2))))


def test_drawn_networks_with_a_cut_are_found():
    """Every cut that makes a map wrong by three tenths is refused or noted, and no network without a cut is."""
    cuts = [c for name, c in CUTS.items() if "fine" not in name and name != "straight-through"]
    refused = 0
    for seed in range(60):
        x, cut = rows(2, 8, seed=seed), cuts[seed % len(cuts)]
        whole = wb.saliency(drawn(seed, lambda h: h), x, 1, reduce=None)
        assert not whole.evidence.notes
        leaf = torch.tensor(x, requires_grad=True)
        (wrong,) = torch.autograd.grad(drawn(seed, cut)(leaf)[:, 1].sum(), leaf)
        error = np.linalg.norm(wrong.numpy() - whole.values) / np.linalg.norm(whole.values)
        try:
            notes = wb.saliency(drawn(seed, cut), x, 1).evidence.notes
        except UnsupportedModelError:
            refused += 1
            assert error > 0.005
        else:
            assert notes or error < 0.3
    assert refused > 30
