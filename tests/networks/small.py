"""Small networks: some with answers known by hand, some trained on scikit-learn's digits in seconds."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import nn


class Formula(nn.Module):
    """A function of the inputs as a network in eval mode."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula
        self.eval()

    def forward(self, *x):
        return self.formula(*x)


def seeded(make, seed=0):
    """A network with the same parameters every time, in eval mode, without touching the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().eval()


def rows(*shape, seed=0):
    """Normal float32 numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def pictures(count=3, shape=(3, 9, 10), seed=0):
    """Pictures of noise, (count, channels, height, width)."""
    return rows(count, *shape, seed=seed)


def flat(out=3):
    """Six features, one hidden layer."""
    return seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, out)))


def cnn(*, inplace=False):
    """Two convolutions of three channels, pooled; three outputs."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=inplace), nn.Conv2d(4, 5, 3), nn.ReLU(inplace=inplace), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(5, 3),
        )
    )  # fmt: skip


def pooled_cnn(channels=3, outputs=4):
    """One convolution, pooled to two by two."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, outputs)
        )
    )  # fmt: skip


def convolutional(activation=nn.ReLU, channels=3, outputs=5, places=(9, 9), double=False):
    """Two convolutions and a linear layer, as they come."""
    high, wide = ((n - 3) // 2 + 1 for n in places)
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1),
            activation(),
            nn.Conv2d(8, 8, 3, stride=2),
            activation(),
            nn.Flatten(),
            nn.Linear(8 * high * wide, outputs),
        )
    )
    return net.double() if double else net


@cache
def digits():
    """Pictures (1797, 1, 8, 8) from 0 to 1, and their classes."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return (X.reshape(-1, 1, 8, 8) / 16).astype(np.float32), y


@cache
def digits_network(activation="relu", epochs=12):
    """A convolutional network trained on the digits; 96 % right or more on those left out."""
    act = {"relu": nn.ReLU, "gelu": nn.GELU}[activation]
    X, y = digits()
    order = np.random.default_rng(0).permutation(len(X))
    train = order[:1400]
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), act(), nn.Conv2d(16, 32, 3, padding=1), act(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 64), act(),
            nn.Linear(64, 10),
        )
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        fit(net.train(), torch.tensor(X[train]), torch.tensor(y[train]), epochs)
    return net.eval()


def fit(net, x, y, epochs, rate=2e-3, batch=64):
    """Train a classifier."""
    adam = torch.optim.Adam(net.parameters(), rate)
    for _ in range(epochs):
        for some in torch.randperm(len(x)).split(batch):
            adam.zero_grad()
            nn.functional.cross_entropy(net(x[some]), y[some]).backward()
            adam.step()
    net.zero_grad(set_to_none=True)
