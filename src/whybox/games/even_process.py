"""The part of values that only sets of an even number of players have: a Gaussian process over the means of pairs of coalitions.

With z = +1 for a player who is present and -1 else, the mean of a coalition and its complement is a constant plus a sum over sets S of an even number of players
of c_S prod_{j in S} z_j. Of an index that is symmetric, prod_S z gives each pair of players in S the interaction 4 E[(2 p - 1)^(|S| - 2)]: 4 / (|S| - 1) of the
Shapley interaction index. Of any index it gives each player in S the value 2 E[(2 p - 1)^(|S| - 1)], which is zero where the index is symmetric.

The constant has no prior. The prior of larger sets is that of :mod:`whybox.games.gaussian_process`. A pair of players has a variance of its own, found by
expectation maximisation (Tipping 2001, Sparse Bayesian learning, Journal of Machine Learning Research 1) and mixed with a share that all pairs have alike: few
pairs of coalitions then suffice where few players interact, and errors stay honest where many do.

Interaction index: Grabisch & Roubens 1999 (doi:10.1007/s001820050125). What all interactions of one player add up to has variances of its own: they are what
its main effect lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb, factorial
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.gaussian_process import (
    DEFAULT_DECAY_AND_NOISE,
    EXCHANGEABLE_SHARE,
    MIN_GAME_SHARE,
    ROUNDING_SHARE,
    LinearSolution,
    elementary_symmetric,
    learning_subset,
    most_likely,
    residual_basis,
    set_sums,
)
from whybox.games.indices import SHAPLEY, Index

__all__ = ["MAX_PLAYERS_OF_PAIRS", "EvenProcess", "EvenSolution"]

MAX_PLAYERS_OF_PAIRS: Final = 100  # 4,950 pairs, each with a covariance with up to a thousand pairs of coalitions
MAX_SET_SIZE: Final = 6  # larger sets are left to the noise
ROUNDS_OF_PAIRS: Final = (
    4  # of expectation maximisation; more find variances that are too certain of few pairs of coalitions
)
ALIKE_SHARE: Final = 0.25  # of the variance of pairs of players, that all have alike
PRIOR_FREEDOM: Final = 3.0  # degrees of freedom that the process has in the variance of one value
MIN_KEPT: Final = 1e-9  # of the variance of a value: what pairs of coalitions explain
CONSTANT_VARIANCE: Final = 1e3  # over that of pairs of players, while their variances are found

Terms = tuple[Floats, Floats, Floats]


@final
@dataclass(frozen=True, eq=False)
class EvenSolution:
    """The process with everything chosen: values are a linear map of the means of pairs.

    Attributes:
        linear: for the interaction of each pair in the order of ``numpy.triu_indices``, then for what they add up to, (players,); or for the players' values alone.
        slopes: (values, pairs + 1), that map. of_errors: (values,), what errors of the means add to variances, in units of the process.
    """

    linear: LinearSolution
    slopes: Floats
    of_errors: Floats

    def variances(self, means: Floats) -> Floats:
        """Return the variances of values, (values, games), that means of pairs without errors would leave, from the means, (pairs + 1, games).

        A value that is much larger than the process expected of it is larger still, as the process draws all towards zero: its own variance is then found with it.
        By how much a process with that variance would have drawn it less, counts as an error.
        """
        tiny = np.finfo(float).tiny
        scale, explained = self.linear.scale(means), np.maximum(self.linear.explained, tiny)
        values = self.slopes @ means
        surprise = values**2 / np.multiply.outer(explained, np.maximum(scale, tiny))
        larger = np.maximum((PRIOR_FREEDOM + surprise) / (PRIOR_FREEDOM + 1), 1.0)
        kept = np.clip(explained / np.maximum(self.linear.prior, tiny), MIN_KEPT, 1.0)[:, None]
        lacking = values * (larger / (larger * kept + 1 - kept) - 1)
        left = np.maximum(self.linear.posterior - self.of_errors, 0.0)
        return np.asarray(np.multiply.outer(left, scale) * larger + lacking**2)


@final
class EvenProcess:
    """Interactions, or the even part of values, and their variances from the means of pairs of coalitions; one process for all games that share a design.

    Args:
        coalitions: (pairs, players), one of each pair; the pair of all players and none is known too, and comes last.
        index: one that is symmetric, for interactions. order: 2 for interactions and what they add up to for each player, 1 for the even part of values.
    """

    def __init__(self, coalitions: npt.NDArray[np.bool_], index: Index = SHAPLEY, order: int = 2) -> None:
        n, players = coalitions.shape
        self._has_pairs = order == 2
        self._signs = np.concatenate([np.where(coalitions, 1.0, -1.0), np.ones((1, players))])
        self._orders = [k for k in range(2, MAX_SET_SIZE + 1, 2) if k <= players]
        nodes, shares = index.rule(MAX_SET_SIZE)
        moments = [float(shares @ (2 * nodes - 1) ** k) for k in range(MAX_SET_SIZE + 1)]  # of 2 p - 1
        # what a set of so many players gives each pair in it, and each player
        self._of_pair = [4 * moments[max(k - 2, 0)] for k in range(MAX_SET_SIZE + 1)]
        self._of_player = [
            (k - 1) * self._of_pair[k] if self._has_pairs else 2 * moments[max(k - 1, 0)]
            for k in range(MAX_SET_SIZE + 1)
        ]
        self._first, self._second = np.triu_indices(players, 1)
        self._products = self._signs[:, self._first] * self._signs[:, self._second]
        self._member = np.zeros((len(self._first), players))  # of pairs of players
        for side in (self._first, self._second):
            self._member[np.arange(len(side)), side] = 1.0
        ones = np.ones((n + 1, 1))
        self._complement = residual_basis(ones)
        self._subset = learning_subset(n + 1, players)
        self._subset_complement = self._complement if self._subset.step == 1 else residual_basis(ones[self._subset])
        self._noise, self._noise_prior = self._noise_terms(index)
        self._exchangeable = self._covariance_terms(np.ones(players))

    def kernel_of_donors(self, weights: Floats) -> Floats:
        """Return covariances of the means less that of all players and none, of pairs of players with these weights alone, (pairs, pairs)."""
        contrasts = self._products[:-1] - 1.0
        variance = weights[self._first] * weights[self._second]
        return np.asarray((contrasts * (variance / max(variance.sum(), np.finfo(float).tiny))) @ contrasts.T)

    def _noise_terms(self, index: Index) -> tuple[Floats, Floats]:
        """Covariances of values with pairs, (pairs + 1, values), and variances of values, (values,), of white noise over pairs."""
        players = self._signs.shape[1]
        moments = index.moments(players + 1)  # E[p^s (1 - p)^t], at most of all other players
        held = np.arange(1, players + 1)  # sizes of coalitions that hold a player
        others = players - held
        if self._has_pairs:
            weight = [2 * float(moments[k, players - 2 - k]) for k in range(players - 1)]  # of k others who are present
            # of a coalition that holds both; one place further on for each that is absent
            of_size = np.array([0.0, 0.0, *weight, 0.0, 0.0])
            of_player = (held - 1) * of_size[held] - others * of_size[held + 1]
        else:
            of_player = moments[held - 1, others] - moments[others, held - 1]
        size = (self._signs > 0).sum(axis=1)[:, None]
        noise = [np.append(0.0, of_player)[np.where(self._signs > 0, size, players - size)]]
        count = [comb(players - 1, int(s) - 1) for s in held]
        prior = [np.full(players, float(sum(n * c**2 for n, c in zip(count, of_player.tolist(), strict=True))))]
        if self._has_pairs:
            absent = (self._signs[:, self._first] < 0).astype(int) + (self._signs[:, self._second] < 0)
            noise.insert(0, self._products * of_size[size + absent])
            each = 2 * sum(comb(players - 2, k) * w**2 for k, w in enumerate(weight))
            prior.insert(0, np.full(len(self._first), each))
        return np.concatenate(noise, axis=1), np.concatenate(prior)

    def learn(self, means: Floats, weights: Floats, errors: Floats) -> EvenSolution:
        """Choose variances of pairs of players, decay and noise by some games.

        Args:
            means: (pairs + 1, games), of pairs. weights: (players,), how much each player takes part in interactions. errors: (games, pairs + 1, pairs + 1),
                covariances of errors of the means.
        """
        terms = self._mixed_covariances(weights)
        terms[0] = self._terms_of_pairs(self._variances_of_pairs(means, weights, errors, [t[0] for t in terms[1:]]))
        kernels = [t[0] for t in terms]
        decay, noise, extra = most_likely(means, kernels, errors, self._subset, self._subset_complement, pooled=True)
        covariance = noise * np.eye(len(self._signs)) + extra
        slopes, prior = noise * self._noise, noise * self._noise_prior
        for k, (kernel, slope, variance) in enumerate(terms):
            covariance += decay**k * kernel
            slopes += decay**k * slope
            prior += decay**k * variance
        basis = self._complement
        inverse = np.asarray(np.linalg.inv(basis.T @ covariance @ basis), dtype=np.float64)
        linear = LinearSolution(np.zeros((1, len(self._signs))), basis, basis.T @ slopes, inverse, prior)
        found = linear.slopes
        return EvenSolution(linear, found, ((found @ extra) * found).sum(axis=1))

    def _variances_of_pairs(self, means: Floats, weights: Floats, errors: Floats, larger: list[Floats]) -> Floats:
        """Variances of the pairs of players, (players * (players - 1) / 2,), adding up to one.

        Args:
            larger: kernels of sets of more players.
        """
        some = self._subset
        y, z = means[some] - means[some].mean(axis=0), self._products[some]
        tiny = np.finfo(float).tiny
        size = np.maximum((y**2).mean(axis=0), tiny)
        share = np.minimum(np.einsum("gnn->ng", errors)[some] / size, 1.0)  # of the variance of a mean that is error
        extra = share.mean(axis=1) / max(1 - share.mean(), MIN_GAME_SHARE)
        y = y / np.sqrt(size)
        decay, noise = DEFAULT_DECAY_AND_NOISE
        rest = CONSTANT_VARIANCE + np.diag(noise + extra)
        for k, kernel in enumerate(larger, 1):
            rest = rest + decay**k * kernel[some, some]
        variance = weights[self._first] * weights[self._second]
        variance = variance / max(variance.sum(), tiny)
        for _ in range(ROUNDS_OF_PAIRS):
            solved = np.linalg.solve((z * variance) @ z.T + rest, np.concatenate([y, z], axis=1))
            found = variance[:, None] * (z.T @ solved[:, : y.shape[1]])
            left = variance - variance**2 * (z * solved[:, y.shape[1] :]).sum(axis=0)
            variance = (found**2).mean(axis=1) + np.maximum(left, 0.0)
            variance = variance / max(variance.sum(), tiny)
        # where errors are most of what is seen, which pairs have the larger interactions is not seen
        alike = ALIKE_SHARE + (1 - ALIKE_SHARE) * float(share.mean()) ** 2
        return np.asarray((1 - alike) * variance + alike / len(variance))

    def _terms_of_pairs(self, variance: Floats) -> Terms:
        """The terms of sets of two players, each with a variance of its own."""
        kernel = (self._products * variance) @ self._products.T
        of_pair, of_player = self._of_pair[2], self._of_player[2]
        slopes = [of_player * (self._products * variance) @ self._member]
        prior = [of_player**2 * variance @ self._member]
        if self._has_pairs:
            slopes.insert(0, of_pair * self._products * variance)
            prior.insert(0, of_pair**2 * variance)
        return kernel, np.concatenate(slopes, axis=1), np.concatenate(prior)

    def _mixed_covariances(self, w: Floats) -> list[Terms]:
        """Return the terms for these weights, mixed with a share of those of equal weights."""
        out = []
        total = elementary_symmetric(lambda i: (w**i).sum(), self._orders[-1])
        for k, terms, equal in zip(self._orders, self._covariance_terms(w), self._exchangeable, strict=True):
            share = EXCHANGEABLE_SHARE if total[k] > ROUNDING_SHARE * len(w) ** k / factorial(k) else 1.0
            one, two, three = ((1 - share) * a + share * b for a, b in zip(terms, equal, strict=True))
            out.append((one, two, three))
        return out

    def _covariance_terms(self, w: Floats) -> list[Terms]:
        """Return for each size of sets, of variance 1 in all: covariances of pairs, of values with pairs, and variances of values."""
        z, largest = self._signs, self._orders[-1]
        i, j = self._first, self._second
        sums, total = set_sums(z, z, w, largest), elementary_symmetric(lambda k: (w**k).sum(), largest)
        signed, unsigned = (lambda k: (z * w) ** k), (lambda k: w**k)  # what each player adds to sums of powers
        beside, left = (_sums_beside(f, lambda a: a, largest - 1) for f in (signed, unsigned))
        if self._has_pairs:
            of_two = lambda a: a[..., i] + a[..., j]  # noqa: E731
            beside_two, left_two = (_sums_beside(f, of_two, max(largest - 2, 1)) for f in (signed, unsigned))
        out = []
        for k in self._orders:
            a, b = self._of_pair[k], self._of_player[k]
            slopes, prior = [b * z * w * beside[k - 1]], [b**2 * w * left[k - 1]]
            if self._has_pairs:
                slopes.insert(0, a * self._products * (w[i] * w[j]) * beside_two[k - 2])
                prior.insert(0, a**2 * w[i] * w[j] * left_two[k - 2])
            out.append(
                (sums[k] / total[k], np.concatenate(slopes, axis=1) / total[k], np.concatenate(prior) / total[k])
            )
        return out


def _sums_beside(powers: Callable[[int], Floats], own: Callable[[Floats], Floats], size: int) -> list[Floats]:
    """Return sums over sets of the other players, of sizes 0 ... `size`, given each player's powers (..., players) and which of them are a value's own."""
    return elementary_symmetric(lambda k: powers(k).sum(axis=-1, keepdims=True) - own(powers(k)), size)
