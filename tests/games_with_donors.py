"""Random games with donors whose every worth is known: a function of hybrids of a row and background rows, tabulated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from whybox.games.chains import ChainDesign, GrowingChains, solve_chains
from whybox.games.donor_blocks import BlockDesign, GrowingBlocks
from whybox.games.exact import all_coalitions, exact_values
from whybox.games.indices import SHAPLEY, Index
from whybox.games.solve import GameValues, ObservedPairs, solve_games

__all__ = ["FAMILIES", "KnownGames", "cover_of", "known_games", "solved", "solved_chains"]

Function = Callable[[np.ndarray], np.ndarray]


def additive(m: int, rng: np.random.Generator) -> Function:
    a, b = rng.normal(size=(2, m))
    return lambda z: (a * z + b * np.sin(z)).sum(axis=-1)


def pairs(m: int, rng: np.random.Generator) -> Function:
    a, q = rng.normal(size=m), rng.normal(size=(m, m)) / m
    return lambda z: z @ a + np.einsum("...i,ij,...j->...", z, q, z)


def network(m: int, rng: np.random.Generator) -> Function:
    w, c, out = rng.normal(size=(m, 12)), rng.normal(size=12), rng.normal(size=12)
    return lambda z: np.tanh(z @ w / np.sqrt(m) * 1.5 + c) @ out


def saturated(m: int, rng: np.random.Generator) -> Function:
    a = rng.normal(size=m)
    return lambda z: np.clip(z @ a * 3 / np.sqrt(m) - 1, -0.5, 1.5)


def signs(m: int, rng: np.random.Generator) -> Function:
    """The product of the signs of up to three columns, and something small beside."""
    chosen, a = rng.choice(m, min(m, 3), replace=False), 0.3 * rng.normal(size=m)
    return lambda z: np.prod(np.sign(z[..., chosen]), axis=-1) + z @ a


def product(m: int, rng: np.random.Generator) -> Function:
    """The product of up to five columns."""
    chosen = rng.choice(m, min(m, 5), replace=False)
    return lambda z: np.prod(1 + z[..., chosen], axis=-1)


def few(m: int, rng: np.random.Generator) -> Function:
    """Two columns matter."""
    i, j = rng.choice(m, 2, replace=False)
    return lambda z: z[..., i] * z[..., j] + 2 * np.cos(z[..., i])


def steps(m: int, rng: np.random.Generator) -> Function:
    """Trees of depth two, as a boosted model has."""
    columns, cuts = rng.integers(0, m, (20, 2)), rng.normal(size=(20, 2))
    leaves = rng.normal(size=(20, 4))

    def f(z: np.ndarray) -> np.ndarray:
        leaf = (z[..., columns[:, 0]] > cuts[:, 0]) * 2 + (z[..., columns[:, 1]] > cuts[:, 1])
        return leaves[np.arange(20), leaf].sum(axis=-1)

    return f


FAMILIES = {f.__name__: f for f in (additive, pairs, network, saturated, signs, product, few, steps)}


@dataclass(frozen=True, eq=False)
class KnownGames:
    """Some games with all worths, (games, 2^players, donors, outputs), of coalitions in the order of `all_coalitions`; weights (donors,)."""

    worths: np.ndarray
    weights: np.ndarray

    @property
    def players(self) -> int:
        """How many."""
        return self.worths.shape[1].bit_length() - 1

    def truth(self, index: Index = SHAPLEY) -> np.ndarray:
        """Exact values, (games, players, outputs)."""
        return np.array([exact_values(np.einsum("sbo,b->so", w, self.weights), index) for w in self.worths])

    def spread(self) -> np.ndarray:
        """The variance over donors of each player's values, (games, players, outputs)."""
        return np.array([
            np.array([exact_values(w[:, b]) for b in range(w.shape[1])]).var(axis=0, ddof=1) for w in self.worths
        ])  # fmt: skip

    def observed(
        self, design: BlockDesign | ChainDesign, noise: float = 0.0, rng: np.random.Generator | None = None
    ) -> ObservedPairs:
        """What a design observes; with `noise`, a variance, every output is observed once with an error of its own."""
        of = design.coalitions @ (1 << np.arange(self.players))
        here = of[design.pair]
        parts = [
            self.worths[:, here, design.donor],
            self.worths[:, 2**self.players - 1 - here, design.donor],
            self.worths[:, -1, 0],
            self.worths[:, 0],
        ]
        if rng is not None:
            parts = [p + np.sqrt(noise) * rng.normal(size=p.shape) for p in parts]
        of_noise = None if rng is None else np.full(self.worths.shape[-1], noise)
        return ObservedPairs(parts[0], parts[1], parts[2], parts[3], self.weights, of_noise)


def known_games(
    families: tuple[str, ...],
    players: int,
    donors: int,
    rng: np.random.Generator,
    *,
    games: int = 6,
    heavy: bool = False,
    weights: np.ndarray | None = None,
) -> KnownGames:
    """Games of one function (of several outputs: a function each) at several rows, over the same donors."""
    f = [FAMILIES[name](players, rng) for name in families]
    b = rng.normal(size=(donors, players))
    b = b / np.sqrt(rng.chisquare(3, (donors, 1)) / 3) if heavy else b
    rows = rng.normal(size=(games, players))
    hybrids = np.where(all_coalitions(players)[None, :, None], rows[:, None, None], b[None, None])
    worths = np.stack([g(hybrids) for g in f], axis=-1)
    return KnownGames(worths, np.full(donors, 1 / donors) if weights is None else weights / weights.sum())


def solved(known: KnownGames, limit: int, rng: np.random.Generator, index: Index = SHAPLEY) -> GameValues:
    """Values from a design that has grown to a limit of hybrids."""
    blocks = GrowingBlocks(known.players, known.weights, limit, rng)
    while blocks.grow(limit):
        pass
    return solve_games(blocks.design, known.observed(blocks.design), index)


def solved_chains(known: KnownGames, limit: int, rng: np.random.Generator) -> GameValues:
    """Values from chains that have grown to a limit of hybrids."""
    chains = GrowingChains(known.players, known.weights, rng)
    while chains.grow(limit):
        pass
    return solve_chains(chains.design, known.observed(chains.design))


def cover_of(found: GameValues, truth: np.ndarray) -> np.ndarray:
    """Which values are within 1.96 standard errors of the truth, up to rounding."""
    near = 1.96 * np.sqrt(found.variances) + 1e-9 * np.abs(truth).max(axis=(1, 2), keepdims=True)
    return np.abs(found.values - truth) <= near
