"""Small networks of every kind of operator that has a rule."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["COMPLETE", "Fn", "between", "chain", "linear", "made", "said"]


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


def written(h):
    """Slices and places written over, by numbers, constants and other places."""
    h = h.clone()
    h[:, 0] = 1.5
    h[:, 1] = h[:, 2] * h[:, 3]
    h[:, 4:6] = h[:, 6:8] * 2
    h[:, 6:8] = torch.tensor([1.0, 2.0], dtype=h.dtype) * h[:, :1]
    h[:, 8].fill_(0.5)
    h[:, 9].zero_()
    h[:, 12:].copy_(h[:, :4])
    return h * h


VECTOR, SERIES, PICTURE = (8,), (5, 8), (3, 8, 8)
COMPLETE = {
    # what others get wrong, silently or with an error (one row of the table of failures each)
    "nn.ReLU": (chain(linear(8, 16), nn.ReLU, linear(16, 3)), VECTOR),
    "inplace": (chain(linear(8, 16), lambda: nn.ReLU(inplace=True), linear(16, 3)), VECTOR),
    "inplace first": (chain(lambda: nn.ReLU(inplace=True), linear(8, 3)), VECTOR),
    "reused": (reused, VECTOR),
    "F.relu": (between(F.relu), VECTOR),
    "made in forward": (between(nn.ReLU()), VECTOR),
    "gelu": (between(F.gelu), VECTOR),
    "gelu module": (chain(linear(8, 16), nn.GELU, linear(16, 3)), VECTOR),
    "gelu tanh": (between(lambda h: F.gelu(h, approximate="tanh")), VECTOR),
    "silu": (between(F.silu), VECTOR),
    "h*h": (between(lambda h: h * h), VECTOR),
    "written in place": (between(written), VECTOR),
    "clamp between tensors": (between(lambda h: h.clamp(torch.linspace(-1, 0, 16, dtype=h.dtype), torch.tensor(0.3, dtype=h.dtype))), VECTOR),
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
    "upsample": (chain(lambda: nn.Upsample(scale_factor=2, mode="bicubic"), lambda: nn.ConvTranspose2d(3, 2, 2), nn.ReLU, nn.Flatten), PICTURE),
    "pool": (chain(lambda: nn.Conv2d(3, 6, 3, padding=1), nn.ReLU6, lambda: nn.AdaptiveAvgPool2d(3), nn.Flatten, linear(54, 3)), PICTURE),
    "unfold": (lambda: Fn(lambda s, x: F.relu(F.unfold(x * s.one, 3)).mean(2)), PICTURE),
    # functions of one number
    "prelu": (chain(linear(8, 16), lambda: nn.PReLU(16), linear(16, 3)), VECTOR),
    **{
        name: (between(getattr(F, name)), VECTOR)
        for name in (
            ["elu", "celu", "selu", "softplus", "mish", "hardswish", "hardsigmoid", "leaky_relu", "relu6", "hardtanh", "softsign", "tanhshrink",
             "softshrink", "hardshrink", "logsigmoid"]
        )
    },
    **{name: (between(getattr(torch, name)), VECTOR) for name in ["sigmoid", "tanh", "exp", "expm1", "sin", "cos", "erf", "abs", "square", "atan"]},
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
