"""Operator rules of torch modules: closed forms, recursions by hand, completeness for every kind of operator, refusals by name."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import whybox as wb
from whybox.adapters.torch.rules_pooling import _along, _shares
from whybox.errors import OptionError, UnsupportedModelError

torch.set_num_threads(1)


class Fn(nn.Module):
    """A module out of a function and parts."""

    def __init__(self, f, **parts):
        super().__init__()
        self.f = f
        for name, part in parts.items():
            setattr(self, name, part)
        self.one = nn.Parameter(torch.ones(()))  # says in what it computes

    def forward(self, *x):
        return self.f(self, *x)


class ResidualCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = (
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 8, 3, padding=1),
        )
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)
        self.relu, self.last = nn.ReLU(inplace=True), nn.Linear(8 * 4 * 4, 5)

    def forward(self, x):
        x = F.max_pool2d(self.relu(self.norm(self.first(x))), 3, 2, 1)
        return self.last((x + F.relu(self.second(x))).flatten(1))


class ViT(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, width, 4, 4), nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 5, width) * 0.3)
        layer = {"activation": "gelu", "batch_first": True, "norm_first": True}
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(width, 2, 32, **layer) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)[:, 0])


def between(f, after=16):
    """Linear, a function, linear."""
    return lambda: Fn(lambda s, x: s.b(f(s.a(x))), a=nn.Linear(8, 16), b=nn.Linear(after, 3))


def chain(*parts):
    return lambda: nn.Sequential(*(p() for p in parts))


def linear(i, o):
    return lambda: nn.Linear(i, o)


def attention(batch_first, **options):
    def answer(s, x):
        x = x if batch_first else x.transpose(0, 1)
        said = s.m(x, x, x, **options)[0]
        return said.mean(1 if batch_first else 0)

    return lambda: Fn(answer, m=nn.MultiheadAttention(8, 2, batch_first=batch_first))


def encoder(norm_first, batch_first, activation="relu"):
    def answer(s, x):
        return s.m(x).mean(1) if batch_first else s.m(x.transpose(0, 1)).mean(0)

    return lambda: Fn(
        answer, m=nn.TransformerEncoderLayer(8, 2, 16, 0.1, activation, norm_first=norm_first, batch_first=batch_first)
    )


def reused():
    relu = nn.ReLU()
    return nn.Sequential(nn.Linear(8, 16), relu, nn.Linear(16, 12), relu, nn.Linear(12, 3))


VECTOR, SERIES, PICTURE = (8,), (5, 8), (3, 8, 8)
COMPLETE = {
    # what others get wrong, silently or with an error (one row of the table of failures each)
    "nn.ReLU": (chain(linear(8, 16), nn.ReLU, linear(16, 3)), VECTOR),
    "inplace": (chain(linear(8, 16), lambda: nn.ReLU(inplace=True), linear(16, 3)), VECTOR),
    "inplace first": (chain(lambda: nn.ReLU(inplace=True), linear(8, 3)), VECTOR),
    "reused": (reused, VECTOR),
    "F.relu": (between(F.relu), VECTOR),
    "made in forward": (between(lambda h: nn.ReLU()(h)), VECTOR),
    "gelu": (between(F.gelu), VECTOR),
    "gelu module": (chain(linear(8, 16), nn.GELU, linear(16, 3)), VECTOR),
    "gelu tanh": (between(lambda h: F.gelu(h, approximate="tanh")), VECTOR),
    "silu": (between(F.silu), VECTOR),
    "h*h": (between(lambda h: h * h), VECTOR),
    "a*b": (between(lambda h: torch.sigmoid(h.flip(1)) * h), VECTOR),
    "layer norm": (chain(linear(8, 16), lambda: nn.LayerNorm(16), linear(16, 3)), VECTOR),
    "softmax": (chain(linear(8, 16), nn.ReLU, linear(16, 3), lambda: nn.Softmax(1)), VECTOR),
    "ViT": (ViT, PICTURE),
    **{
        f"encoder {a} {n} {b}": (encoder(n, b, a), SERIES)
        for a in ("relu", "gelu") for n in (True, False) for b in (True, False)
    },
    "attention": (attention(True), SERIES),
    "attention fused": (attention(True, need_weights=False), SERIES),
    "attention rows second": (attention(False), SERIES),
    "attention masked": (
        attention(True, need_weights=False, attn_mask=nn.Transformer.generate_square_subsequent_mask(5), is_causal=True), SERIES,
    ),
    "attention causal": (lambda: Fn(lambda s, x: F.scaled_dot_product_attention(x, x * s.one / 2, x, is_causal=True).mean(1)), SERIES),
    "residual CNN": (ResidualCNN, PICTURE),
    # norms
    "rms norm": (chain(linear(8, 16), lambda: nn.RMSNorm(16), linear(16, 3)), VECTOR),
    "group norm": (chain(lambda: nn.Conv2d(3, 6, 3), lambda: nn.GroupNorm(3, 6), nn.Flatten, linear(216, 3)), PICTURE),
    "instance norm": (chain(lambda: nn.Conv2d(3, 6, 3), lambda: nn.InstanceNorm2d(6, affine=True), nn.Flatten, linear(216, 3)), PICTURE),
    "response norm": (chain(lambda: nn.Conv2d(3, 4, 3), lambda: nn.LocalResponseNorm(2), nn.Flatten), PICTURE),
    "normalize": (between(F.normalize), VECTOR),
    "std": (between(lambda h: h / h.std(1, keepdim=True)), VECTOR),
    # softmax and its kin
    "log softmax": (between(lambda h: F.log_softmax(h, 1)), VECTOR),
    "logsumexp": (between(lambda h: torch.logsumexp(h, 1, keepdim=True), 1), VECTOR),
    "confident softmax": (between(lambda h: F.softmax(20 * h, 1)), VECTOR),
    "softmax by hand": (between(lambda h: h.exp() / h.exp().sum(1, keepdim=True)), VECTOR),
    # the largest
    "max pool 1d": (chain(lambda: nn.Unflatten(1, (2, 4)), lambda: nn.MaxPool1d(2), nn.Flatten, linear(4, 3)), VECTOR),
    "max pool ceil": (chain(lambda: nn.Conv2d(3, 6, 3, padding=1), lambda: nn.MaxPool2d(3, 2, ceil_mode=True), nn.Flatten, linear(96, 3)), PICTURE),
    "max pool dilated": (chain(lambda: nn.Conv2d(3, 6, 3, padding=1), lambda: nn.MaxPool2d(2, 1, dilation=2), nn.Flatten, linear(216, 3)), PICTURE),
    "max pool of zeros": (chain(lambda: nn.Conv2d(3, 6, 3), nn.ReLU, lambda: nn.MaxPool2d(2), nn.Flatten, linear(54, 3)), PICTURE),
    "adaptive max": (chain(lambda: nn.Conv2d(3, 6, 3, padding=1), lambda: nn.AdaptiveMaxPool2d(2), nn.Flatten, linear(24, 3)), PICTURE),
    "max pool 3d": (chain(lambda: nn.Unflatten(2, (2, 4)), lambda: nn.MaxPool3d(2), nn.Flatten, linear(24, 3)), PICTURE),
    "amax": (between(lambda h: h.reshape(-1, 4, 4).amax(1), 4), VECTOR),
    "max of an axis": (between(lambda h: h.reshape(-1, 4, 4).max(1)[0], 4), VECTOR),
    "min of an axis": (between(lambda h: h.reshape(-1, 4, 4).min(2).values, 4), VECTOR),
    "maximum": (between(lambda h: torch.maximum(h, h.flip(1))), VECTOR),
    "minimum of a constant": (between(lambda h: torch.minimum(h, torch.tensor(0.1))), VECTOR),
    # recurrent
    "LSTM": (lambda: Fn(lambda s, x: s.m(x)[0][:, -1], m=nn.LSTM(8, 4, batch_first=True)), SERIES),
    "GRU": (lambda: Fn(lambda s, x: s.m(x.transpose(0, 1))[1][0], m=nn.GRU(8, 4)), SERIES),
    # products and quotients
    "quotient": (between(lambda h: h / (1 + h.abs())), VECTOR),
    "one over": (between(lambda h: 1 / (1 + h * h)), VECTOR),
    "einsum": (between(lambda h: torch.einsum("bi,bj->bij", h, h).sum(1)), VECTOR),
    "gated": (between(lambda h: F.glu(h.repeat(1, 2))), VECTOR),
    "powers": (between(lambda h: h**2 + h**3 + (h.abs() + 0.1) ** 2.5), VECTOR),
    # what only moves about, or stands still
    "where": (between(lambda h: torch.where(torch.arange(16) > 5, h, 2 * h)), VECTOR),
    "masked": (between(lambda h: h.masked_fill(torch.arange(16) > 5, 0.0)), VECTOR),
    "upsample": (chain(lambda: nn.Upsample(scale_factor=2, mode="bilinear"), lambda: nn.ConvTranspose2d(3, 2, 2), nn.ReLU, nn.Flatten), PICTURE),
    "pool": (chain(lambda: nn.Conv2d(3, 6, 3, padding=1), nn.ReLU6, lambda: nn.AdaptiveAvgPool2d(3), nn.Flatten, linear(54, 3)), PICTURE),
    "unfold": (lambda: Fn(lambda s, x: F.relu(F.unfold(x * s.one, 3)).mean(2)), PICTURE),
    # functions of one number
    "prelu": (chain(linear(8, 16), lambda: nn.PReLU(16), linear(16, 3)), VECTOR),
    **{
        name: (between(getattr(F, name)), VECTOR)
        for name in (
            "elu celu selu softplus mish hardswish hardsigmoid leaky_relu relu6 hardtanh softsign tanhshrink softshrink hardshrink logsigmoid".split()
        )
    },
    **{name: (between(getattr(torch, name)), VECTOR) for name in "sigmoid tanh exp expm1 sin cos erf abs square atan".split()},
    "log": (between(lambda h: torch.log(1 + h.abs())), VECTOR),
    "sqrt": (between(lambda h: torch.sqrt(1 + h.abs()) + torch.rsqrt(1 + h.abs()) + torch.log1p(h.abs())), VECTOR),
    "exp2": (between(lambda h: 2**h), VECTOR),
}  # fmt: skip


def made(name, dtype=torch.float32, rows=4):
    build, shape = COMPLETE[name]
    torch.manual_seed(sum(map(ord, name)))
    net = build().eval().to(dtype)
    rng = np.random.default_rng(3)
    kind = "f8" if dtype == torch.float64 else "f4"
    return net, rng.standard_normal((rows, *shape)).astype(kind), (rng.standard_normal(shape) * 0.5).astype(kind)


def said(net, x):
    with torch.no_grad():
        return net(torch.tensor(x)).double().numpy()


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
    t = (np.arange(200_000) + 0.5) / 200_000
    at = np.stack([r.numpy()[:, i, None] + t * (x - r).numpy()[:, i, None] for i in range(40)])
    wanted = np.stack([(at.argmax(1) == k).mean(1) for k in range(5)])
    np.testing.assert_allclose(_along(x, r).numpy(), wanted, atol=2e-5)
    np.testing.assert_allclose(torch.stack(_shares(list(x), list(r))).numpy(), wanted, atol=2e-5)


def test_equal_operands_are_counted_once():
    x = torch.tensor([[1.0], [1.0], [0.0]])
    for shares in (_along(x, x * 2), torch.stack(_shares(list(x), list(x * 2))), _along(x, x)):
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
    trial = 1 + 2 * (2 + 1)  # the question's first row; two rows and a reference, as they are and taken apart
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
    true = rules.capture
    monkeypatch.setattr(rules, "capture", lambda *a: traced.append(1) or true(*a))
    whole = wb.saliency(net, x, None, "deeplift", baseline=reference)
    small = wb.saliency(net, x, None, "deeplift", baseline=reference, budget=3 * 80_000)
    assert len(traced) == 2  # once a question, not once a batch
    assert small.evidence.passes["backward"] == 7
    np.testing.assert_allclose(small.values, whole.values, atol=1e-6)
    np.testing.assert_array_equal(whole.extras["target"][1], said(net, x).argmax(1))
    again = wb.saliency(net, x, None, "deeplift", baseline=reference)
    np.testing.assert_array_equal(again.values, whole.values)


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
        (lambda h: torch.floor(h), "'floor'"),
        (lambda h: h + torch.rand(16), "'rand'"),
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
    with pytest.raises(OptionError, match="rules="):
        wb.models.registry.as_network(net, None).ruled("lrp", (torch.tensor(x),), None)


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
    net, x, reference = made("inplace first")
    rows = x.copy()
    for method in ("gradient", "deeplift", "guided_backprop"):
        wb.saliency(net, x, 0, method)
        np.testing.assert_array_equal(x, rows)
