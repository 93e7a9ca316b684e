"""Shapley values from few pairs of coalitions: a Gaussian process over coalitions, whose Shapley values are known in closed form.

With z = +1 for a player who is present and -1 else, half the difference of a pair is a sum over sets S of an odd number of players of
c_S prod_{j in S} z_j, and prod_S z gives each player in S the Shapley value 2 / |S|. The prior gives c_S the variance t_|S| prod_{j in S} w_j. Single
players have no prior: they are a regression within the process. t falls with the size of sets; what is left is white noise over pairs, whose Shapley
values are known too. Sums over all sets of a size are elementary symmetric polynomials, computed by Newton's identities.

The weights w_j say how much each player takes part in interactions. They are learnt from the means of pairs, which hold the sets of even size, above
all pairs of players, and no Shapley value. How fast t falls, and how much noise there is, maximise the marginal likelihood (Rasmussen & Williams 2006,
Gaussian Processes for Machine Learning, equations 2.25, 2.26, 2.45 and 5.8). Errors are those of the posterior, or larger where pairs that are left out,
one by one, are further from their prediction than the posterior says.

Bayesian quadrature in the sense of O'Hagan 1991 (doi:10.1016/0378-3758(91)90002-V). That a pair's difference holds the odd sets alone: Covert & Lee 2021
(arXiv:2012.01536), section 4.2; a surrogate of interactions under the regression: Witter et al. 2025 (arXiv:2506.11849). The kernel, and weights from the
means, are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import comb, factorial
from typing import Final, final

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dtrtrs

from whybox.data.table import Floats
from whybox.games.indices import SHAPLEY, Index

__all__ = [
    "DEFAULT_DECAY_AND_NOISE",
    "EXCHANGEABLE_SHARE",
    "MIN_GAME_SHARE",
    "ROUNDING_SHARE",
    "CoalitionProcess",
    "LinearSolution",
    "PairErrors",
    "elementary_symmetric",
    "learning_subset",
    "most_likely",
    "residual_basis",
    "set_sums",
]

MEAN_VARIANCE: Final = 1e3  # variance of the mean over that of pairs of players, while weights are learnt
DECAYS_TRIED: Final = (0.003, 0.01, 0.03, 0.1, 0.3)  # variance of size k + 2 over that of size k
NOISES_TRIED: Final = (1e-6, 1e-4, 1e-2, 1.0)  # of a pair, over the variance of its triples
MAX_SET_SIZE: Final = 7  # larger sets are left to the noise
LEARNING_ROUNDS: Final = 4  # of learning weights
DEFAULT_DECAY_AND_NOISE: Final = (0.1, 1e-4)  # decay and noise while weights are learnt
MIN_PLAYER_SHARE: Final = 1e-3  # of the largest: a player's share in interactions
SHARE_POWER: Final = 0.7  # of that share: 1 where variances are products; 0.7 found values of networks best
EXCHANGEABLE_SHARE: Final = 0.02  # share of sets whose variance does not depend on who is in them
ROUNDING_SHARE: Final = (
    1e-5  # a sum over sets of a size that is a smaller share of the largest there can be is rounding
)
ERROR_FACTOR: Final = 1.1  # of errors: weights, decay and noise were chosen by the same pairs
MAX_PAIRS_FOR_LEARNING: Final = (
    400  # pairs by which weights, decay and noise are chosen; the work grows with their cube
)
MIN_GAME_SHARE: Final = 0.02  # of the variance of what is observed: that of the game, where errors explain all of it
MIN_SIZE: Final = 1e-9  # of what is observed beyond single players, over its errors: games of nothing but single players leave rounding
ROUNDS_OF_SCALE: Final = 3


@final
@dataclass(frozen=True, eq=False)
class PairErrors:
    """Variances of errors of what is observed of each pair: ``halves`` of half the differences, ``means`` of the means, (pairs, games) each."""

    halves: Floats
    means: Floats


def _no_errors(pairs: int, games: int) -> PairErrors:
    return PairErrors(np.zeros((games, pairs + 1, pairs + 1)), np.zeros((pairs, games)))


@final
@dataclass(frozen=True, eq=False)
class LinearSolution:
    """The process with weights, decay and noise chosen: Shapley values are a linear map of half the differences of pairs.

    Attributes:
        regression: (players, pairs + 1), the map of the regression on single players. complement: (pairs + 1, rest), a basis of what that does not explain.
        observed: (rest, players), covariances of values with that rest. inverse: (rest, rest), of the covariance of the rest.
        prior: (players,), variances of values before the rest is known.
    """

    regression: Floats
    complement: Floats
    observed: Floats
    inverse: Floats
    prior: Floats

    def values(self, halves: Floats) -> Floats:
        """Return the values of one game, (players,), or of several, (players, games), from half the differences, (pairs + 1,) or (pairs + 1, games)."""
        weighted = self.inverse @ (self.complement.T @ halves)
        return np.asarray(2 * self.regression @ halves + self.observed.T @ weighted)

    def variances(self, halves: Floats) -> Floats:
        """Return the variances of the values, of the shape of :meth:`values`, from half the differences."""
        return np.asarray(np.multiply.outer(self.posterior, self.scale(halves)))

    @cached_property
    def posterior(self) -> Floats:
        """Variances of values in units of the process, (players,), wider by what choosing it and few pairs add."""
        wider = ERROR_FACTOR * (1 + 1.2 / len(self.inverse))  # Student's t of few pairs is wider than a normal
        return np.asarray(np.maximum(self.prior - self.explained, 0.0) * wider**2)

    @cached_property
    def explained(self) -> Floats:
        """What pairs explain of the variances of values, in units of the process, (players,)."""
        return np.asarray((self.observed * (self.inverse @ self.observed)).sum(axis=0))

    @cached_property
    def slopes(self) -> Floats:
        """The values as a linear map of half the differences, (players, pairs + 1)."""
        return np.asarray(2 * self.regression + self.observed.T @ self.inverse @ self.complement.T)

    def scale(self, halves: Floats) -> Floats:
        """Return the variance of each game in units of the process, (games,), or of one game, from half the differences."""
        residual = self.complement.T @ halves
        weighted = self.inverse @ residual
        own = (residual * weighted).sum(axis=0) / len(residual)
        return np.asarray(np.maximum(own, self._left_out_scale(weighted)))

    @cached_property
    def _precision(self) -> Floats:
        """One over the variance of a pair when all others are known, (pairs,) (Rasmussen & Williams, equation 5.12)."""
        complement = self.complement[:-1]
        return np.asarray(np.maximum(((complement @ self.inverse) * complement).sum(axis=1), np.finfo(float).tiny))

    def _left_out_scale(self, weighted: Floats) -> Floats:
        """Return the mean squared distance of each pair from what the others predict of it, over the variance that the process gives that prediction.

        Where decay and noise are those of the game, this is the process's own scale but for chance. Where they are not, the process's scale is a mean over all
        sets, most of which are known by now; what values still lack is pairs that were not evaluated, and those are like pairs that are left out.
        """
        squares = (self.complement[:-1] @ weighted) ** 2
        return np.asarray((squares.T / self._precision).mean(axis=-1))


@final
class CoalitionProcess:
    """Shapley values and their variances from the worths of pairs of coalitions; one process for all games that share a design."""

    def __init__(self, coalitions: npt.NDArray[np.bool_], index: Index = SHAPLEY) -> None:
        """Prepare for `coalitions` (pairs, players), one of each pair; the pair of all players and none is known too, and comes last.

        Args:
            index: whose values are asked; of one that is not symmetric, the part that sets of an odd number of players have.
        """
        players = coalitions.shape[1]
        nodes, shares = index.rule(MAX_SET_SIZE)
        # prod_S z gives each player in S of size k the value 2 E[(2 p - 1)^(k - 1)]: 2 / k of the Shapley value
        self._value_of_set = [
            0.0,
            *(float(2 * shares @ (2 * nodes - 1) ** (k - 1)) for k in range(1, MAX_SET_SIZE + 1)),
        ]
        self._signs = np.concatenate([np.where(coalitions, 1.0, -1.0), np.ones((1, players))])
        self._orders = [k for k in range(1, MAX_SET_SIZE + 1, 2) if k <= players]
        self._pseudo_inverse = np.linalg.pinv(self._signs)
        self._complement = residual_basis(self._signs)
        self._subset = learning_subset(len(self._signs), players)
        self._subset_complement = (
            self._complement if self._subset.step == 1 else residual_basis(self._signs[self._subset])
        )
        # Shapley's weights of the pairs, one coalition of which has the player: white noise over pairs has Shapley values too
        moments = index.moments(players + 1)
        weight = [float(moments[k, players - 1 - k] + moments[players - 1 - k, k]) for k in range(players)]
        size = (self._signs > 0).sum(axis=1)[:, None]
        inside, outside = np.array([0.0, *weight])[size], np.array([*weight, 0.0])[size]
        self._noise = np.where(self._signs > 0, inside, -outside)
        self._noise_prior = sum(comb(players - 1, k) * weight[k] ** 2 for k in range(players))
        self._exchangeable = self._covariance_terms(np.ones(players))

    def __call__(self, halves: Floats, means: Floats) -> tuple[Floats, Floats]:
        """Return values and variances, (players, outputs), from half the differences of pairs (pairs + 1, outputs) and their means (pairs, outputs)."""
        solutions = [self.learn(halves[:, k], means[:, k]) for k in range(halves.shape[1])]
        values = [solution.values(halves[:, k]) for k, solution in enumerate(solutions)]
        variances = [solution.variances(halves[:, k]) for k, solution in enumerate(solutions)]
        return np.stack(values, axis=1), np.stack(variances, axis=1)

    def learn(self, halves: Floats, means: Floats, sampling: PairErrors | None = None) -> LinearSolution:
        """Choose weights, decay and noise by one game or several, from half the differences of pairs and their means.

        The solution may then be applied to other games on the same coalitions: the mean of their values is the value of their mean.

        Args:
            halves: (pairs + 1,) or (pairs + 1, games). means: (pairs,) or (pairs, games). sampling: what is known of their errors; None: they have none.
        """
        halves, means = halves.reshape(len(halves), -1), means.reshape(len(means), -1)
        sampling = _no_errors(len(means), halves.shape[1]) if sampling is None else sampling
        return self._solve(halves, self.interaction_weights(means, sampling.means), sampling.halves)

    def interaction_weights(self, means: Floats, errors: Floats) -> Floats:
        """Return how much each player takes part in interactions: the energy of its pairs of players, in a process on the means of pairs.

        Args:
            means: (pairs, games). errors: (pairs, games), their variances.
        """
        subset = self._subset
        z, y = self._signs[:-1][subset], means[subset] - means[subset].mean(axis=0)
        tiny = np.finfo(float).tiny
        size = np.maximum((y**2).mean(axis=0), tiny)
        share = np.minimum(errors[subset] / size, 1.0)  # of the variance of a mean that is error
        extra = (share / np.maximum(1 - share.mean(axis=0), MIN_GAME_SHARE)).mean(axis=1)
        y = y / np.sqrt(size)
        w = np.ones(z.shape[1])
        decay, noise = DEFAULT_DECAY_AND_NOISE
        for _ in range(LEARNING_ROUNDS):
            sums, total = set_sums(z, z, w, 4), elementary_symmetric(lambda i, w=w: (w**i).sum(), 4)  # type: ignore[misc]
            covariance = MEAN_VARIANCE + sums[2] / total[2] + decay * sums[4] / total[4] + np.diag(noise + extra)
            solved = np.linalg.solve(covariance, y)
            energy = np.zeros(len(w))
            for k in range(y.shape[1]):
                pairs = np.outer(w, w) * ((z.T * solved[:, k]) @ z)
                each = (pairs**2).sum(axis=1) - np.diag(pairs) ** 2
                energy += each / max(each.max(), tiny)
            w = (energy / max(energy.max(), tiny) + MIN_PLAYER_SHARE) ** SHARE_POWER
            w /= w.mean()
        return w

    def _solve(self, halves: Floats, w: Floats, errors: Floats) -> LinearSolution:
        """Return the solution for these weights, with the decay and noise that are most likely for half the differences, (pairs + 1, games)."""
        signs, regression, complement = self._signs, self._pseudo_inverse, self._complement
        terms = self._mixed_covariances(w)
        decay, noise, extra = most_likely(halves, [t[0] for t in terms], errors, self._subset, self._subset_complement)
        covariance = noise * np.eye(len(signs))
        slopes, prior = noise * self._noise, np.full(signs.shape[1], noise * self._noise_prior)
        for k, (kernel, slope, variance) in enumerate(terms):
            covariance += decay**k * kernel
            slopes += decay**k * slope
            prior += decay**k * variance
        covariance += extra  # of errors that are no part of the game, so values have none of it
        # of the values less those of the regression, which single players do not change
        beyond_regression = slopes - 2 * covariance @ regression.T
        prior += 4 * np.einsum("in,in->i", regression, regression @ covariance - slopes.T)

        inverse = np.asarray(np.linalg.inv(complement.T @ covariance @ complement), dtype=np.float64)
        return LinearSolution(regression, complement, complement.T @ beyond_regression, inverse, prior)

    def _mixed_covariances(self, w: Floats) -> list[tuple[Floats, ...]]:
        """Return the terms for these weights, mixed with a share of those of equal weights."""
        out = []
        total = elementary_symmetric(lambda i: (w**i).sum(), self._orders[-1])
        own = self._covariance_terms(w)
        for k, terms, equal in zip(self._orders[1:], own, self._exchangeable, strict=True):
            # few players with nearly all the weight: sums over larger sets are differences of large numbers
            share = EXCHANGEABLE_SHARE if total[k] > ROUNDING_SHARE * len(w) ** k / factorial(k) else 1.0
            out.append(tuple((1 - share) * a + share * b for a, b in zip(terms, equal, strict=True)))
        return out

    def _covariance_terms(self, w: Floats) -> list[tuple[Floats, Floats, Floats]]:
        """Return for each size of sets, of variance 1 in all: covariances of pairs, of values with pairs, and variances of values."""
        z, orders = self._signs, self._orders[1:]
        if not orders:
            return []
        sums, total = set_sums(z, z, w, orders[-1]), elementary_symmetric(lambda i: (w**i).sum(), orders[-1])
        others = elementary_symmetric(lambda i: ((z**i) @ w**i)[:, None] - (z * w) ** i, orders[-1])
        without = elementary_symmetric(lambda i: (w**i).sum() - w**i, orders[-1])
        value = self._value_of_set
        return [
            (
                sums[k] / total[k],
                value[k] * z * w * others[k - 1] / total[k],
                value[k] ** 2 * w * without[k - 1] / total[k],
            )
            for k in orders
        ]


def learning_subset(pairs: int, players: int) -> slice:
    """Return the pairs that decay and noise are chosen by: all of them, or evenly some."""
    return slice(None, None, max(1, pairs // max(MAX_PAIRS_FOR_LEARNING, 3 * players)))


def most_likely(
    halves: Floats, kernels: list[Floats], errors: Floats, subset: slice, complement: Floats, *, pooled: bool = False
) -> tuple[float, float, Floats]:
    """Return the decay and noise of the largest marginal likelihood, each game at its best scale; and what errors add to the variance of each pair.

    Errors are known in the units of the game and the scale is not, so the two are found in turn.

    Args:
        halves: (pairs, games), half the differences of pairs, or their means. kernels: (pairs, pairs) each, of the sizes of sets. errors: (games, pairs, pairs).
        subset: the pairs that are used. complement: a basis of what the regression leaves of these.
        pooled: whether errors of all games are over the variance of all; else the mean over games, of which one that has little variance counts most.
    """
    tiny = np.finfo(float).tiny
    residual = complement.T @ halves[subset]
    kernels = [complement.T @ k[subset, subset] @ complement for k in kernels]
    freedom = len(residual)
    of_errors = np.einsum("gii->g", errors) / len(halves)
    size = np.maximum.reduce([(residual**2).mean(axis=0), MIN_SIZE * of_errors, np.full(len(of_errors), tiny)])
    residual, relative = residual / np.sqrt(size), errors / size[:, None, None]
    share = np.array([((each[subset, subset] @ complement) * complement).sum() for each in relative]) / freedom
    # errors are pooled where they may be most of what is seen: their size is not known better than that of so many squares
    least = max(MIN_GAME_SHARE, np.sqrt(2 / freedom)) if pooled else MIN_GAME_SHARE
    of_kernel = float(np.trace(kernels[0]) / freedom if kernels else 1.0)
    scale = np.maximum(1 - share, least) / of_kernel
    best = (np.inf, DECAYS_TRIED[0], NOISES_TRIED[0])
    extra = np.zeros((len(halves), len(halves)))
    for _ in range(ROUNDS_OF_SCALE if errors.any() else 1):
        extra = errors.sum(axis=0) / (scale @ size) if pooled else (relative / scale[:, None, None]).mean(axis=0)
        added = complement.T @ extra[subset, subset] @ complement
        best = (np.inf, DECAYS_TRIED[0], NOISES_TRIED[0])
        for decay in DECAYS_TRIED:
            covariance = sum(decay**k * kernel for k, kernel in enumerate(kernels)) + added
            diagonal = np.diag(covariance).copy()
            for noise in NOISES_TRIED:
                np.fill_diagonal(covariance, diagonal + noise)
                root = np.linalg.cholesky(covariance)
                whitened = dtrtrs(root.T, residual, lower=0, trans=1)[0]
                squares = np.maximum((whitened**2).sum(axis=0), tiny)
                unlikely = float(freedom * np.log(squares).mean() + 2 * np.log(np.diag(root)).sum())
                if unlikely < best[0]:
                    best, fitted = (unlikely, decay, noise), squares / freedom
        scale = np.maximum(fitted, least / of_kernel) if pooled else fitted
    return best[1], best[2], extra


def residual_basis(signs: Floats) -> Floats:
    """Return an orthonormal basis, (pairs, pairs - players), of what no regression on single players explains."""
    return np.asarray(np.linalg.qr(signs, mode="complete")[0][:, signs.shape[1] :])


def elementary_symmetric(power: Callable[[int], Floats], largest: int) -> list[Floats]:
    """Return elementary symmetric polynomials of sizes 0 ... `largest` from sums of powers (Newton's identities)."""
    p = [power(i) for i in range(1, largest + 1)]
    out = [np.ones_like(p[0])]
    for k in range(1, largest + 1):
        total = out[k - 1] * p[0]
        for i in range(2, k + 1):
            if i % 2:
                total += out[k - i] * p[i - 1]
            else:
                total -= out[k - i] * p[i - 1]
        total /= k
        out.append(total)
    return out


def set_sums(a: Floats, b: Floats, w: Floats, largest: int) -> list[Floats]:
    """Return sums over the sets of each size of prod_j w_j a_j b_j, for every two rows of signs."""
    return elementary_symmetric(lambda i: (a * w**i) @ b.T if i % 2 else (w**i).sum(), largest)
