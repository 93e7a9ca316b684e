"""A sum of functions of one player each, fitted to a sample: its coefficients are known exactly, so only what it leaves has to be averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.common.piecewise import PlayerDistribution
from whybox.methods.lime.design import LocalDesign
from whybox.methods.lime.sample import Sample

__all__ = ["AdditiveBasis", "AdditiveFit", "PlayerBasis", "additive_basis", "fit_additive", "solve_additive"]

MAX_GROUPS: Final = 12  # of the pieces of one player
DRAWS_A_TERM: Final = 8  # fewer draws for each term: no fit


@final
@dataclass(frozen=True, eq=False)
class PlayerBasis:
    """Functions of one player.

    Attributes:
        expected: (pieces, terms), the mean of each function in each piece. slope_mean: (pieces,), the mean number in each piece, where the last function is the
            number; None: there is none. scale: of that number. powers: whether the functions are the first powers of a number in standard deviations.
    """

    expected: Floats
    slope_mean: Floats | None
    scale: float
    powers: bool


@final
@dataclass(frozen=True, eq=False)
class AdditiveBasis:
    """Functions of every player, and a constant."""

    players: tuple[PlayerBasis, ...]
    slices: tuple[slice, ...]

    @property
    def terms(self) -> int:
        """How many functions there are, the constant included."""
        return self.slices[-1].stop if self.slices else 1

    def is_fitted_to(self, draws: int) -> bool:
        """Whether so many draws are enough for so many functions."""
        return self.terms * DRAWS_A_TERM <= draws

    def evaluate(self, sample: Sample, places: Floats | None) -> Floats:
        """Return all functions at a sample, (draws, terms)."""
        out = np.ones((len(sample), self.terms))
        for p, (basis, at) in enumerate(zip(self.players, self.slices, strict=True)):
            if basis.powers:
                assert places is not None  # noqa: S101  # of players that are scaled
                z = places[:, p]
                out[:, at] = np.column_stack([z, z**2, z**3])
                continue
            piece = sample.pieces[:, p]
            out[:, at] = basis.expected[piece]
            if basis.slope_mean is not None and at.stop > at.start:
                inside = sample.values[:, p] - basis.slope_mean[piece]
                out[:, at.stop - 1] += np.where(np.isnan(inside), 0.0, inside) / basis.scale
        return out


@final
@dataclass(frozen=True, eq=False)
class AdditiveFit:
    """A fitted sum: ``weights`` (terms, outputs)."""

    basis: AdditiveBasis
    weights: Floats

    def rest(self, sample: Sample, places: Floats | None, outputs: Floats) -> Floats:
        """Return what the sum leaves of the outputs, (draws, outputs)."""
        return np.asarray(outputs - self.basis.evaluate(sample, places) @ self.weights)

    def coefficients(self, design: LocalDesign) -> tuple[Floats, Floats]:
        """Return the sum's own coefficients, (rows, players, outputs), and its weighted mean, (rows, outputs), both exactly."""
        problem = design.problem
        n, count = problem.first.shape
        values = np.zeros((n, count, self.weights.shape[1]))
        mean = np.broadcast_to(self.weights[0], (n, self.weights.shape[1])).copy()
        for p, (basis, at) in enumerate(zip(self.basis.players, self.basis.slices, strict=True)):
            weights = self.weights[at]
            if basis.powers:
                m, v = design.centre[:, p], design.variance[:, p]
                moments = np.column_stack([m, m**2 + v, m**3 + 3 * m * v])
                slopes = np.column_stack([np.ones(n), 2 * m, 3 * (m**2 + v)])
                mean += moments @ weights
                values[:, p] = slopes @ weights
                continue
            own, other = _means_inside_outside(
                problem.distributions[p], basis.expected, problem.first[:, p], problem.last[:, p]
            )
            q, rest = problem.own_chance[:, p, None], problem.other_chance[:, p, None]
            mean += (q * own + rest * other) @ weights
            values[:, p] = np.where(problem.is_varying[:, p, None], (own - other) @ weights, 0.0)
        return values, mean


def _means_inside_outside(d: PlayerDistribution, expected: Floats, first: Ints, last: Ints) -> tuple[Floats, Floats]:
    """Means of functions inside and outside ranges of pieces, (ranges, terms) each; 0 where nothing is there."""
    weighted = d.shares[:, None] * expected
    up = np.concatenate([np.zeros((1, expected.shape[1])), np.cumsum(weighted, axis=0)])
    down = np.concatenate([np.zeros((1, expected.shape[1])), np.cumsum(weighted[::-1], axis=0)])
    share_up, share_down = (
        np.concatenate([[0.0], np.cumsum(d.shares)]),
        np.concatenate([[0.0], np.cumsum(d.shares[::-1])]),
    )
    inside, outside = up[last] - up[first], up[first] + down[len(d) - last]
    own, other = share_up[last] - share_up[first], share_up[first] + share_down[len(d) - last]
    return (
        np.divide(inside, own[:, None], out=np.zeros_like(inside), where=own[:, None] > 0),
        np.divide(outside, other[:, None], out=np.zeros_like(outside), where=other[:, None] > 0),
    )


def additive_basis(distributions: Sequence[PlayerDistribution]) -> AdditiveBasis:
    """Return the functions to fit."""
    players, slices, start = [], [], 1
    for d in distributions:
        if d.is_unbounded:
            basis = PlayerBasis(np.zeros((1, 3)), None, 1.0, powers=True)
        else:
            basis = _piece_basis(d)
        players.append(basis)
        slices.append(slice(start, start + basis.expected.shape[1]))
        start = slices[-1].stop
    return AdditiveBasis(tuple(players), tuple(slices))


def _piece_basis(d: PlayerDistribution) -> PlayerBasis:
    """Indicators of pieces, of groups of them where they are many, and the number itself inside bins."""
    ends = d.ends
    if len(d) <= MAX_GROUPS:
        group = np.arange(len(d))
    else:
        group = np.minimum((0.5 * (ends[1:] + ends[:-1]) * MAX_GROUPS).astype(np.int64), MAX_GROUPS - 1)
        group = np.unique(group, return_inverse=True)[1].reshape(-1)
    indicators = (group[:, None] == np.arange(1, group.max(initial=0) + 1)).astype(np.float64)
    if not d.is_continuous.any():
        return PlayerBasis(indicators, None, 1.0, powers=False)
    means = d.piece_means()
    scale = float(np.nanmax(d.high) - np.nanmin(d.low)) or 1.0
    return PlayerBasis(np.column_stack([indicators, np.zeros(len(d))]), means, scale, powers=False)


def fit_additive(basis: AdditiveBasis, sample: Sample, places: Floats | None, outputs: Floats) -> AdditiveFit:
    """Fit the functions to outputs, (draws, outputs), by least squares."""
    terms = basis.evaluate(sample, places)
    middle = outputs.mean(axis=0)
    return solve_additive(basis, terms.T @ terms, terms.T @ (outputs - middle), len(terms), middle)


def solve_additive(basis: AdditiveBasis, gram: Floats, moments: Floats, draws: int, middle: Floats) -> AdditiveFit:
    """Solve the normal equations of a fit.

    Args:
        gram: (terms, terms), sums of products of functions over the draws. moments: (terms, outputs), of functions and outputs less `middle`.
        draws: how many. middle: (outputs,), taken off, so that rounding and ridge are small beside the spread of outputs, not beside their size.
    """
    gram = gram.copy()
    # a little ridge for functions that are constant in this sample: their weight becomes zero
    gram[np.diag_indices_from(gram)] += 1e-10 * draws
    weights = np.asarray(np.linalg.solve(gram, moments), dtype=np.float64)
    weights[0] += middle  # of the constant
    return AdditiveFit(basis, weights)
