"""Networks, rows and captum's formulas, written out with torch.autograd: for tests of whybox.compat.captum."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import torch
from torch import nn

from networks.small import cnn, flat, seeded

draw = torch.Generator().manual_seed(0)
X, OTHER = (torch.randn(4, n, generator=draw) for n in (6, 2))
BASE = torch.randn(1, 6, generator=draw)
PICTURES = torch.randn(2, 3, 8, 8, generator=draw)
NET, CNN = flat(), cnn()


def as_function(x):
    """The network as a function that is no module."""
    return NET(x)


class Two(nn.Module):
    """Two inputs, a factor, and weights of the rows."""

    def __init__(self):
        super().__init__()
        self.net = NET
        self.eval()

    def forward(self, a, b, scale=1.0, weights=None):
        out = self.net(a) * scale + (b**3).sum(1, keepdim=True)
        return out if weights is None else out * weights


TWO = seeded(Two)


class Reader(nn.Module):
    """Token ids, embedded."""

    def __init__(self):
        super().__init__()
        self.embedding, self.last = nn.Embedding(20, 4), nn.Linear(4, 2)

    def forward(self, ids, mask=None):
        hidden = torch.tanh(self.embedding(ids))
        return self.last((hidden if mask is None else hidden * mask[..., None]).mean(1))


READER = seeded(Reader)
IDS = torch.randint(1, 20, (3, 5), generator=draw)


def close(found, expected, tol=2e-5):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert not found.requires_grad
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=tol)


def gradient(score, x):
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(score(x).sum(), x)[0]


def integral(score, x, start, steps):
    """Equation 1 of Sundararajan et al. 2017 at Gauss-Legendre points."""
    t, w = np.polynomial.legendre.leggauss(steps)
    return (x - start) * sum(
        float(b) / 2 * gradient(score, start + (float(a) + 1) / 2 * (x - start)) for a, b in zip(t, w, strict=True)
    )


def masked(x, base, keep):
    return torch.where(torch.as_tensor(keep), x, base)


def shapley_by_hand(score, x, base, groups):
    """The definition: over all coalitions of the other groups."""
    names = np.unique(groups)
    out = torch.zeros_like(x)
    for g in names:
        others = [o for o in names if o != g]
        total = 0
        for size in range(len(others) + 1):
            for some in combinations(others, size):
                with_it, without = (masked(x, base, np.isin(groups, s)) for s in ([*some, g], [*some]))
                total = total + (score(with_it) - score(without)) / (len(names) * comb(len(others), size))
        out = torch.where(torch.as_tensor(groups == g), total.reshape(-1, *(1,) * (x.ndim - 1)), out)
    return out


def ablated(score, x, base):
    return torch.stack(
        [score(x) - score(masked(x, torch.as_tensor(base), np.arange(x.shape[1]) != k)) for k in range(x.shape[1])], 1
    )
