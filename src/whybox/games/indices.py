"""Indices as data: each is a distribution of the probability p that another player takes part.

Owen's multilinear extension gives a player's marginal contribution at p; its mean over p ~ Beta(1, 1) is the Shapley value, its
value at p = 1/2 the Banzhaf value, and so on. The kernels know nothing but quadrature nodes and moments.

Sources: Owen, Multilinear extensions of games, Management Science 18 (1972); Kwon & Zou, Beta Shapley, AISTATS 2022.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError

__all__ = ["Index", "as_index"]


@final
@dataclass(frozen=True)
class Index:
    """A probabilistic value of cooperative games.

    Attributes:
        name: as shown in evidence and units.
        alpha, beta: p follows Beta(beta, alpha), so that Beta Shapley(16, 1) stresses small coalitions, as in its paper.
        point: p is this constant instead (Banzhaf values).
    """

    name: str
    alpha: float = 1.0
    beta: float = 1.0
    point: float | None = None

    @property
    def efficient(self) -> bool:
        """Whether attributions add up to prediction minus base (Shapley only)."""
        return self.point is None and self.alpha == 1.0 and self.beta == 1.0

    @property
    def symmetric(self) -> bool:
        """Whether a coalition of others counts as much as all others without it."""
        return self.alpha == self.beta if self.point is None else self.point == 0.5

    def rule(self, degree: int) -> tuple[Floats, Floats]:
        """Return quadrature nodes and weights, exact for polynomials in p up to `degree`; they are shared, and cannot be written to."""
        return _quadrature_rule(self, degree)

    def moments(self, side: int) -> Floats:
        """Return the (side, side) table of E[p^s (1-p)^t]."""
        s = np.arange(side, dtype=np.float64)
        if self.point is not None:
            return np.outer(self.point**s, (1 - self.point) ** s)
        table = np.ones((side, side))
        total = self.alpha + self.beta
        for i in range(1, side):
            table[i, 0] = table[i - 1, 0] * (self.beta + i - 1) / (total + i - 1)
        for j in range(1, side):
            table[:, j] = table[:, j - 1] * (self.alpha + j - 1) / (total + s + j - 1)
        return table


@lru_cache(maxsize=256)
def _quadrature_rule(index: Index, degree: int) -> tuple[Floats, Floats]:
    n = max(1, math.ceil((degree + 1) / 2))
    if index.point is not None:
        nodes, weights = np.array([index.point]), np.array([1.0])
    elif index.efficient:
        x, w = np.polynomial.legendre.leggauss(n)
        nodes, weights = (x + 1) / 2, w / 2
    else:
        from scipy.special import roots_sh_jacobi

        x, w = roots_sh_jacobi(n, index.alpha + index.beta - 1, index.beta)
        nodes, weights = np.asarray(x), np.asarray(w / w.sum())
    nodes.setflags(write=False)
    weights.setflags(write=False)
    return nodes, weights


SHAPLEY: Final = Index("shapley")
BANZHAF: Final = Index("banzhaf", point=0.5)
MIN_PARAMETER, MAX_PARAMETER = 0.01, 100.0  # parameters of beta whose quadrature is right to rounding
_INDEX_PATTERN: Final = re.compile(r"\s*(banzhaf|beta)\s*\(\s*([^,()]+?)\s*(?:,\s*([^,()]+?)\s*)?\)\s*")


def as_index(index: str | Index) -> Index:
    """Return an index from its name: ``"shapley"``, ``"banzhaf"``, ``"banzhaf(p)"`` or ``"beta(alpha, beta)"``.

    Raises:
        OptionError: unknown name, or parameters outside their range.
    """
    if isinstance(index, Index):
        return _check_parameters(index, repr(index))
    if not isinstance(index, str):
        raise OptionError(
            Argument("index"),
            f" takes a name such as 'shapley', 'banzhaf(0.3)' or 'beta(16, 1)', not a {type(index).__name__}.",
        )
    if index in ("shapley", "banzhaf"):
        return SHAPLEY if index == "shapley" else BANZHAF
    match = _INDEX_PATTERN.fullmatch(index)
    if not match:
        raise OptionError(
            Argument("index", index), " is not known.", known=["shapley", "banzhaf", "banzhaf(p)", "beta(alpha, beta)"]
        )
    kind, first, second = match.groups()
    try:
        a, b = float(first), float(second) if second else None
    except ValueError:
        raise OptionError(
            Argument("index", index), ": the parameters must be numbers, as in 'banzhaf(0.3)' or 'beta(16, 1)'."
        ) from None
    if kind == "banzhaf":
        if b is not None:
            raise OptionError(Argument("index", index), ": banzhaf takes one probability strictly between 0 and 1.")
        return _check_parameters(Index(f"banzhaf({a:g})", point=a), index)
    if b is None:
        raise OptionError(Argument("index", index), ": beta takes two positive numbers, as in 'beta(16, 1)'.")
    return _check_parameters(Index(f"beta({a:g}, {b:g})", alpha=a, beta=b), index)


def _check_parameters(index: Index, spelled: str) -> Index:
    """Refuse parameters for which there is no index, or none whose quadrature is right to rounding."""
    if index.point is not None:
        if not 0 < index.point < 1:
            raise OptionError(Argument("index", spelled), ": banzhaf takes one probability strictly between 0 and 1.")
    elif not (MIN_PARAMETER <= index.alpha <= MAX_PARAMETER and MIN_PARAMETER <= index.beta <= MAX_PARAMETER):
        raise OptionError(
            Argument("index", spelled),
            f": beta takes two positive numbers, as in 'beta(16, 1)', each from {MIN_PARAMETER:g} to {MAX_PARAMETER:g}; beyond those its integrals lose "
            "digits.",
        )
    return index
