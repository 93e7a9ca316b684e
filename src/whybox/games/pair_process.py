"""Interactions of pairs from few pairs of coalitions: a Gaussian process over coalitions, whose interactions are known in closed form.

With z = +1 for a player who is present and -1 else, the mean of a coalition and its complement is a constant plus a sum over sets S of an even number of players
of c_S prod_{j in S} z_j, and of an index that is symmetric prod_S z gives each pair of players in S the interaction 4 E[(2 p - 1)^(|S| - 2)]: 4 / (|S| - 1) of
the Shapley interaction index. The constant has no prior. The prior of larger sets is that of :mod:`whybox.games.gaussian_process`. A pair of players has a
variance of its own, which is found by expectation maximisation (Tipping 2001, Sparse Bayesian learning, Journal of Machine Learning Research 1), mixed with a
share that all pairs have alike: few pairs of coalitions then suffice where few players interact, and errors stay honest where many do.

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

__all__ = ["PairProcess", "PairSolution"]

MAX_SET_SIZE: Final = 6  # larger sets are left to the noise
ROUNDS_OF_PAIRS: Final = (
    4  # of expectation maximisation; more find variances that are too certain of few pairs of coalitions
)
ALIKE_SHARE: Final = 0.25  # of the variance of pairs of players, that all have alike
PRIOR_FREEDOM: Final = 3.0  # degrees of freedom that the process has in the variance of one value
CONSTANT_VARIANCE: Final = 1e3  # over that of pairs of players, while their variances are found

Terms = tuple[Floats, Floats, Floats]


@final
@dataclass(frozen=True, eq=False)
class PairSolution:
    """The process with everything chosen: interactions, and their sums for each player, are a linear map of the means of pairs.

    Attributes:
        linear: for (players * (players - 1) / 2 + players) values: the interaction of each pair in the order of ``numpy.triu_indices``, then the sums.
        slopes: (values, pairs + 1), that map. of_errors: (values,), what errors of the means add to variances, in units of the process.
    """

    linear: LinearSolution
    slopes: Floats
    of_errors: Floats

    def variances(self, means: Floats) -> Floats:
        """Return the variances of values, (values, games), that means of pairs without errors would leave, from the means, (pairs + 1, games).

        A value that is much larger than the process expected of it is larger still, as the process draws all towards zero: its own variance is then found with it.
        """
        scale = self.linear.scale(means)
        expected = np.multiply.outer(np.maximum(self.linear.explained, np.finfo(float).tiny), np.maximum(scale, np.finfo(float).tiny))
        surprise = (self.slopes @ means) ** 2 / expected
        larger = np.maximum((PRIOR_FREEDOM + surprise) / (PRIOR_FREEDOM + 1), 1.0)
        left = np.maximum(self.linear.posterior - self.of_errors, 0.0)
        return np.asarray(np.multiply.outer(left, scale) * larger)


@final
class PairProcess:
    """Interactions and their variances from the worths of pairs of coalitions; one process for all games that share a design.

    Args:
        coalitions: (pairs, players), one of each pair; the pair of all players and none is known too, and comes last. index: one that is symmetric.
    """

    def __init__(self, coalitions: npt.NDArray[np.bool_], index: Index = SHAPLEY) -> None:
        n, players = coalitions.shape
        self._signs = np.concatenate([np.where(coalitions, 1.0, -1.0), np.ones((1, players))])
        self._orders = [k for k in range(2, MAX_SET_SIZE + 1, 2) if k <= players]
        nodes, shares = index.rule(MAX_SET_SIZE)
        self._value_of_set = [4.0 * float(shares @ (2 * nodes - 1) ** max(k - 2, 0)) for k in range(MAX_SET_SIZE + 1)]
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
        moments = index.moments(players + 1)
        weight = [2 * float(moments[k, players - 2 - k]) for k in range(players - 1)]  # of k others who are present
        of_size = np.array(
            [0.0, 0.0, *weight, 0.0, 0.0]
        )  # of a coalition that holds both; one place further on for each that is absent
        size = (self._signs > 0).sum(axis=1)[:, None]
        absent = (self._signs[:, self._first] < 0).astype(int) + (self._signs[:, self._second] < 0)
        pairs = self._products * of_size[size + absent]
        sums = pairs @ self._member
        prior = 2 * sum(comb(players - 2, k) * w**2 for k, w in enumerate(weight))
        held = np.arange(1, players + 1)  # sizes of coalitions that hold a player
        of_sum = (held - 1) * of_size[held] - (players - held) * of_size[held + 1]
        prior_of_sum = sum(comb(players - 1, int(s) - 1) * float(c) ** 2 for s, c in zip(held, of_sum, strict=True))
        return (
            np.concatenate([pairs, sums], axis=1),
            np.concatenate([np.full(pairs.shape[1], prior), np.full(players, prior_of_sum)]),
        )

    def learn(self, means: Floats, weights: Floats, errors: Floats) -> PairSolution:
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
        return PairSolution(linear, found, ((found @ extra) * found).sum(axis=1))

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
        return np.asarray((1 - ALIKE_SHARE) * variance + ALIKE_SHARE / len(variance))

    def _terms_of_pairs(self, variance: Floats) -> Terms:
        """The terms of sets of two players, each with a variance of its own."""
        value = self._value_of_set[2]
        slopes, prior = value * self._products * variance, value**2 * variance
        return (
            (self._products * variance) @ self._products.T,
            np.concatenate([slopes, slopes @ self._member], axis=1),
            np.concatenate([prior, prior @ self._member]),
        )

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

        def without(of: Callable[[int], Floats], size: int) -> tuple[list[Floats], list[Floats]]:
            """Sums over sets of players beside each pair, and beside each player, given what each player adds to the sums of powers."""
            every = lambda k: of(k).sum(axis=-1, keepdims=True)  # noqa: E731
            return (
                elementary_symmetric(lambda k: every(k) - of(k)[..., i] - of(k)[..., j], max(size - 2, 1)),
                elementary_symmetric(lambda k: every(k) - of(k), size - 1),
            )

        beside_two, beside_one = without(lambda k: (z * w) ** k, largest)
        left_two, left_one = without(lambda k: w**k, largest)
        out = []
        for k in self._orders:
            a, b = self._value_of_set[k], (k - 1) * self._value_of_set[k]  # of a pair, and of all pairs of a player
            slopes = [a * self._products * (w[i] * w[j]) * beside_two[k - 2], b * z * w * beside_one[k - 1]]
            prior = [a**2 * w[i] * w[j] * left_two[k - 2], b**2 * w * left_one[k - 1]]
            out.append(
                (sums[k] / total[k], np.concatenate(slopes, axis=1) / total[k], np.concatenate(prior) / total[k])
            )
        return out
