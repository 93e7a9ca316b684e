"""Small networks of six kinds of data, each trained in about a second: what check_rates.py explains."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import skimage.data
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from torch import nn

ROWS = 16  # explained, never trained on
TOKENS, LENGTH, WIDE = 24, 10, 12


@dataclass(frozen=True)
class Case:
    """A trained network, the rows to explain, and what ``whybox.saliency`` needs to know of them."""

    kind: str
    name: str
    net: nn.Module
    rows: np.ndarray
    outputs: int
    score: float  # accuracy on rows held out; of regression the correlation with the truth
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def convolutional(self) -> bool:
        """Whether class activation maps apply."""
        return any(isinstance(m, (nn.Conv1d, nn.Conv2d)) for m in self.net.modules()) and self.kind != "tokens"


# data: (rows, targets), classes as whole numbers


def digits(_: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Handwritten digits, 8 x 8."""
    X, y = load_digits(return_X_y=True)
    return (X / 16).reshape(-1, 1, 8, 8), y


def shapes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A square, a cross, a ring or a line somewhere on a noisy ground of 3 x 14 x 14, in any colour."""
    stamps = np.zeros((4, 6, 6))
    stamps[0, 1:5, 1:5] = 1
    stamps[1, 2:4] = stamps[1, :, 2:4] = 1
    stamps[2] = 1
    stamps[2, 1:5, 1:5] = 0
    stamps[3][np.arange(6), np.arange(6)] = stamps[3][np.arange(5), np.arange(1, 6)] = 1
    y = rng.integers(4, size=1200)
    X = 0.15 * rng.random((1200, 3, 14, 14))
    for x, k in zip(X, y, strict=True):
        a, b = rng.integers(9, size=2)
        x[:, a : a + 6, b : b + 6] += stamps[k] * rng.uniform(0.3, 0.8, size=(3, 1, 1))
    return X, y


def textures(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Patches of 12 x 12 from four pictures: brick, grass, gravel, and a page of text."""
    pictures = [getattr(skimage.data, n)().astype(float) / 255 for n in ("brick", "grass", "gravel", "page")]
    y = rng.integers(4, size=1200)
    X = np.empty((1200, 1, 12, 12))
    for x, k in zip(X, y, strict=True):
        a, b = (rng.integers(n - 24) for n in pictures[k].shape[:2])
        x[0] = pictures[k][a : a + 24 : 2, b : b + 24 : 2]
    return X, y


def bumps(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Series of 1 x 48: a bump, a dip or a step at some time, in noise."""
    y, t = rng.integers(3, size=1200), np.arange(48)
    at = rng.uniform(8, 40, size=(1200, 1))
    forms = np.stack([np.exp(-(((t - at) / 3) ** 2)), -np.exp(-(((t - at) / 3) ** 2)), 1.0 / (1 + np.exp(at - t))], 1)
    return (forms[np.arange(1200), y] + 0.15 * rng.normal(size=(1200, 48)))[:, None], y


def waves(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Series of 2 x 40: which channel has the faster wave, for a part of the time."""
    y, t = rng.integers(2, size=1200), np.arange(40)
    speed = np.where((np.arange(2) == y[:, None])[..., None], 1.4, 0.5)
    start = rng.integers(20, size=(1200, 1, 1))
    X = np.sin(speed * t + rng.uniform(0, 6, size=(1200, 2, 1))) * ((t >= start) & (t < start + 20))
    return X + 0.2 * rng.normal(size=X.shape), y


def cancer(_: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Breast cancer, 30 features."""
    X, y = load_breast_cancer(return_X_y=True)
    return (X - X.mean(0)) / X.std(0), y


def wine(_: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Wine, 13 features."""
    X, y = load_wine(return_X_y=True)
    return (X - X.mean(0)) / X.std(0), y


def diabetes(_: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Diabetes, 10 features, a regression."""
    X, y = load_diabetes(return_X_y=True)
    return X / X.std(0), (y - y.mean()) / y.std()


def product(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Eight features: a product of two, a square, a linear term, and four without effect; a regression."""
    X = rng.normal(size=(1500, 8))
    return X, X[:, 0] * X[:, 1] + X[:, 2] ** 2 - 1 + X[:, 3]


def mood(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Token ids: six words are good, six are bad, the others say nothing."""
    X = rng.integers(1, TOKENS, size=(2000, LENGTH))
    weight = np.zeros(TOKENS)
    weight[1:7], weight[7:13] = (3, 2, 2, 1, 1, 1), (-3, -2, -2, -1, -1, -1)
    return X, (weight[X].sum(1) + rng.normal(0, 0.3, 2000) > 0).astype(int)


def order(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Token ids: the token after 1 is one of the first or of the second half."""
    X = rng.integers(2, TOKENS, size=(2000, LENGTH))
    at = rng.integers(LENGTH - 1, size=2000)
    X[np.arange(2000), at] = 1
    return X, (X[np.arange(2000), at + 1] >= (TOKENS + 2) // 2).astype(int)


# networks: (channels, positions, outputs) -> network


def flat(c: int, size: int, k: int) -> nn.Module:
    """One hidden layer on all numbers."""
    return nn.Sequential(nn.Flatten(), nn.Linear(c * size, 32), nn.ReLU(), nn.Linear(32, k))


def linear(c: int, size: int, k: int) -> nn.Module:
    """No hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(c * size, k))


def smooth(c: int, size: int, k: int) -> nn.Module:
    """Two hidden layers of tanh."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(c * size, 32), nn.Tanh(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, k)
    )


def normed(c: int, size: int, k: int) -> nn.Module:
    """Hidden layers under norms."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(c * size, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, k)
    )  # fmt: skip


class Skip(nn.Module):
    """A hidden layer that is added to what it takes."""

    def __init__(self, c: int, size: int, k: int) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(c * size, 24), nn.Linear(24, 24), nn.Linear(24, k)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forward."""
        x = torch.relu(self.first(x.flatten(1)))
        return self.last(x + torch.relu(self.inner(x)))


def pooled(c: int, size: int, k: int) -> nn.Module:
    """Two convolutions, pooling, a hidden layer."""
    half = int(size**0.5) // 2
    return nn.Sequential(
        nn.Conv2d(c, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(12 * half * half, 24), nn.ReLU(), nn.Linear(24, k),
    )  # fmt: skip


def averaged(c: int, _: int, k: int) -> nn.Module:
    """Convolutions and the mean of the whole picture."""
    return nn.Sequential(
        nn.Conv2d(c, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, k)
    )  # fmt: skip


def strided(c: int, size: int, k: int) -> nn.Module:
    """Convolutions with strides, SiLU and a group norm."""
    half = (int(size**0.5) + 1) // 2
    return nn.Sequential(
        nn.Conv2d(c, 12, 3, 2, 1), nn.GroupNorm(3, 12), nn.SiLU(), nn.Conv2d(12, 12, 3, 1, 1), nn.SiLU(), nn.Flatten(), nn.Linear(12 * half * half, k)
    )  # fmt: skip


class Patches(nn.Module):
    """A transformer of one block over patches of 2 x 2."""

    def __init__(self, c: int, size: int, k: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(c, 16, 2, 2)
        self.place = nn.Parameter(torch.randn(size // 4, 16) * 0.1)
        self.mix, self.last = Attention(16), nn.Linear(16, k)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forward."""
        return self.last(self.mix(self.patches(x).flatten(2).transpose(1, 2) + self.place).mean(1))


class Attention(nn.Module):
    """Attention of one head and a hidden layer, each added to what it takes."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.norm, self.ask, self.out = nn.LayerNorm(wide), nn.Linear(wide, 3 * wide), nn.Linear(wide, wide)
        self.norm_2, self.hidden, self.down = nn.LayerNorm(wide), nn.Linear(wide, 2 * wide), nn.Linear(2 * wide, wide)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forward."""
        q, k, v = self.ask(self.norm(x)).chunk(3, -1)
        x = x + self.out(torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1) @ v)
        return x + self.down(torch.relu(self.hidden(self.norm_2(x))))


def in_time(c: int, size: int, k: int) -> nn.Module:
    """Convolutions in time, and all times to a linear layer."""
    return nn.Sequential(
        nn.Conv1d(c, 8, 5, 2, 2), nn.ReLU(), nn.Conv1d(8, 8, 5, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(2 * size, k)
    )


def in_time_mean(c: int, _: int, k: int) -> nn.Module:
    """Convolutions in time, and the mean over all times."""
    return nn.Sequential(
        nn.Conv1d(c, 12, 7), nn.ReLU(), nn.Conv1d(12, 12, 5, dilation=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(12, k)
    )  # fmt: skip


class Recurrent(nn.Module):
    """A GRU over the series, and its last state to a linear layer."""

    def __init__(self, c: int, _: int, k: int) -> None:
        super().__init__()
        self.recurrent, self.last = nn.GRU(c, 12, batch_first=True), nn.Linear(12, k)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forward."""
        return self.last(self.recurrent(x.transpose(1, 2))[0].mean(1))


class Bag(nn.Module):
    """The mean of embeddings, and a linear layer or two."""

    def __init__(self, k: int, *, hidden: bool = False, normed: bool = False) -> None:
        super().__init__()
        self.emb = nn.Embedding(TOKENS, WIDE)
        self.norm = nn.LayerNorm(WIDE) if normed else nn.Identity()
        self.last = nn.Sequential(nn.Linear(WIDE, 24), nn.ReLU(), nn.Linear(24, k)) if hidden else nn.Linear(WIDE, k)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Forward."""
        return self.last(self.norm(self.emb(ids).mean(1)))


class Chain(nn.Module):
    """Embeddings, then any layers over (rows, tokens, features) or, `turned`, (rows, features, tokens)."""

    def __init__(self, *layers: nn.Module, turned: bool = False, place: bool = False) -> None:
        super().__init__()
        self.emb, self.turned = nn.Embedding(TOKENS, WIDE), turned
        self.place = nn.Parameter(torch.randn(LENGTH, WIDE) * 0.5) if place else None
        self.layers = nn.Sequential(*layers)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Forward."""
        x = self.emb(ids)
        x = x if self.place is None else x + self.place
        return self.layers(x.transpose(1, 2) if self.turned else x)


class Mean(nn.Module):
    """The mean over tokens."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forward."""
        return x.mean(1)


class States(nn.Module):
    """A recurrent layer; the mean of its states."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        self.inner = kind(WIDE, 16, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forward."""
        return self.inner(x)[0].mean(1)


def token_networks() -> dict[str, Callable[[], nn.Module]]:
    """Networks over token ids."""
    return {
        "bag": lambda: Bag(2),
        "bag, hidden layer": lambda: Bag(2, hidden=True),
        "bag under a norm": lambda: Bag(2, normed=True),
        "flat": lambda: Chain(nn.Flatten(), nn.Linear(WIDE * LENGTH, 24), nn.ReLU(), nn.Linear(24, 2)),
        "convolution": lambda: Chain(
            nn.Conv1d(WIDE, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(16, 2), turned=True
        ),
        "GRU": lambda: Chain(States(nn.GRU), nn.Linear(16, 2)),
        "LSTM": lambda: Chain(States(nn.LSTM), nn.Linear(16, 2)),
        "attention": lambda: Chain(Attention(WIDE), Mean(), nn.Linear(WIDE, 2), place=True),
    }  # fmt: skip


def _tables() -> list[tuple[Any, str, Callable[..., nn.Module]]]:
    made = {"flat": flat, "smooth": smooth, "normed": normed, "skip": Skip}
    out = [(data, name, net) for data in (cancer, wine, product) for name, net in made.items()]
    return [*out, (cancer, "linear", linear), (diabetes, "smooth", smooth)]


def _pictures() -> list[tuple[Any, str, Callable[..., nn.Module]]]:
    made = {"flat": flat, "pooled": pooled, "averaged": averaged, "strided": strided, "patches": Patches}
    out = [(data, name, net) for data in (digits, shapes, textures) for name, net in made.items()]
    weak = {(shapes, "flat"), (textures, "flat")}  # these do not learn their data
    return [of for of in out if of[:2] not in weak] + [(digits, "linear", linear), (digits, "smooth", smooth)]


def _series() -> list[tuple[Any, str, Callable[..., nn.Module]]]:
    made = {"convolution": in_time, "mean": in_time_mean, "recurrent": Recurrent, "normed": normed}
    return [(data, name, net) for data in (bumps, waves) for name, net in made.items()]


def jobs() -> list[tuple[str, Any, str, Callable[..., nn.Module]]]:
    """All networks, untrained: kind, data, name, architecture."""
    out: list[tuple[str, Any, str, Callable[..., nn.Module]]] = []
    out += [(data.__name__, data, name, net) for data, name, net in _pictures()]
    out += [("series", *of) for of in _series()]
    out += [("tables", *of) for of in _tables()]
    both = itertools.product((mood, order), token_networks().items())
    kept = [(d, n, f) for d, (n, f) in both if d is mood or n in ("flat", "convolution", "GRU", "attention")]
    return out + [("tokens", data, name, lambda *_, net=net: net()) for data, name, net in kept]


def trained(kind: str, data: Any, name: str, architecture: Callable[..., nn.Module], seed: int = 0) -> Case:
    """Train a network, and keep rows that it has not seen."""
    X, y = data(np.random.default_rng(seed))
    tokens, classes = kind == "tokens", y.dtype.kind in "iu"
    X = X.astype(np.int64 if tokens else np.float32)
    mixed = np.random.default_rng([seed, 1]).permutation(len(X))
    held, rest = mixed[: len(X) // 5], mixed[len(X) // 5 :]
    torch.manual_seed(seed)
    k = int(y.max()) + 1 if classes else 1
    shape = (1, X.shape[1]) if X.ndim == 2 else (X.shape[1], int(np.prod(X.shape[2:])))
    net = architecture(*shape, k)
    x, t = torch.tensor(X[rest]), torch.tensor(y[rest], dtype=torch.long if classes else torch.float32)
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-3)
    net.train()
    for _ in range(max(4, 25_000 // len(rest))):
        for some in torch.randperm(len(rest)).split(32):
            batch = x[some]
            if tokens:  # token 0 stands for an absent one, and is learnt as such
                batch = torch.where(torch.rand(batch.shape) < 0.15, 0, batch)
            out = net(batch)
            loss = nn.functional.cross_entropy(out, t[some]) if classes else ((out[:, 0] - t[some]) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    net.eval()
    with torch.no_grad():
        out = net(torch.tensor(X[held])).numpy()
    score = (out.argmax(1) == y[held]).mean() if classes else np.corrcoef(out[:, 0], y[held])[0, 1]
    options: dict[str, Any] = {"channel_axis": 1} if kind == "series" else {}
    return Case(kind, f"{data.__name__}: {name}", net, X[held[:ROWS]], k, float(score), options)
