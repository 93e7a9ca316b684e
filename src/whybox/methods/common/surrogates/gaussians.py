"""Sums of products of one-column kernels as a surrogate: Gaussians beside linear terms.

Gaussians at some of the hybrids, whose widths are fitted, or Gaussians whose centers and widths are learnt, whichever leaves less of hybrids kept apart.

A product with one factor a player has exact Shapley values by one quadrature (Owen's multilinear extension, 1972). The widths are found by variable projection
(Golub & Pereyra 1973): for given widths all else is a ridge regression, and the sum of squares that it leaves is made small by L-BFGS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.indices import SHAPLEY, Index
from whybox.kernels.product_games import DonorFactors, product_games
from whybox.methods.common.surrogates.additive import AdditiveSurrogate, row_blocks
from whybox.methods.common.surrogates.base import PlayerOf
from whybox.methods.common.surrogates.features import SMALLEST_SPREAD, ColumnFeatures, column_features
from whybox.methods.common.surrogates.learnt import learn_gaussians

__all__ = ["GaussianSurrogate", "fit_gaussians"]

# Chosen on hybrids of six models (trees.py names them), 3,000 and 24,000 of them, with trees on what is left: 256 Gaussians leave 3.8 % of 24,000 in the geometric mean
# and 512 leave 3.2 %, but exact values take twice as long; a ridge of 1e-6 leaves a fifth more, one of 1e-9 the same
MAX_GAUSSIANS: Final = 384
HYBRIDS_A_GAUSSIAN: Final = 4  # at least
HYBRIDS_TO_LEARN: Final = 10_000  # fewer are learnt by heart
KEPT_APART: Final = 10  # one in so many, to compare fitted and learnt Gaussians
WIDTH_GAUSSIANS: Final = 160  # while widths are fitted
WIDTH_HYBRIDS: Final = 2_400  # hybrids that widths are fitted to
WIDTH_STEPS: Final = 25
NARROWNESS: Final = 0.03  # penalty on inverse widths, beside the logarithm of the loss: what a column hardly changes does not depend on it
RIDGE: Final = 1e-8  # of the number of hybrids, where outputs have variance 1
LOG_BOUNDS: Final = (-5.0, 2.0)  # of an inverse width, in standard deviations
MIN_LOG_INVERSE: Final = -3.5  # below it, a feature is left out where widths are fitted: a Gaussian changes by less than 1 % over three standard deviations
MAX_WIDTHS: Final = (
    40  # features that Gaussians depend on at most, those of the least widths; exact values take time as their square
)
ROWS_AT_ONCE: Final = 512  # of a matrix product, whose rounding depends on their number
WORK_AT_ONCE: Final = 2**29  # factors times nodes of one call of the kernel and thread: about a fifth of a second
TABLE_NUMBERS: Final = 2**22  # factors held at a time

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class GaussianSurrogate:
    """``additive + sum over Gaussians of coefficient * exp(-sum over features of (inverse width * (feature - center))^2 / 2)``.

    Attributes:
        additive: intercept and linear terms, with the features of both.
        centers: (Gaussians, features). inverse_widths: (Gaussians, features), 0 where the Gaussians do not depend on one.
        coefficients: (Gaussians, outputs).
    """

    additive: AdditiveSurrogate
    centers: Floats
    inverse_widths: Floats
    coefficients: Floats

    def predict(self, cells: Floats) -> Floats:
        """Return the outputs, (n, outputs)."""
        out = self.additive.predict(cells)
        features = np.zeros((ROWS_AT_ONCE, self.inverse_widths.shape[1]))
        for block in row_blocks(len(cells), 1, ROWS_AT_ONCE):
            n = block.stop - block.start
            features[:n] = self.additive.features(cells[block])
            out[block] += (_gaussians(features, self.centers, self.inverse_widths) @ self.coefficients)[:n]
        return out

    def shapley_values(
        self,
        rows: Floats,
        background: Floats,
        weights: Floats,
        of_column: PlayerOf,
        players: int,
        index: Index = SHAPLEY,
        *,
        threads: int = 1,
    ) -> Floats:
        """Return exact values over the whole background, (n, players, outputs); see :class:`.base.Surrogate`."""
        out = self.additive.shapley_values(rows, background, weights, of_column, players)
        used = np.flatnonzero(self.inverse_widths.any(axis=0))
        active, player_of = np.unique(of_column[self.additive.features.column_of[used]], return_inverse=True)
        if not len(active) or not len(self.centers):
            return out
        nodes, node_weights = index.rule(len(active) - 1)
        numbers = len(self.centers) * len(active)
        parts = row_blocks(len(background), numbers, TABLE_NUMBERS)
        for block in row_blocks(len(rows), numbers, TABLE_NUMBERS):
            of_rows = self._factors(rows[block], used, player_of, len(active))
            values = np.zeros(of_rows.shape)
            for part in parts:
                donors = DonorFactors(self._factors(background[part], used, player_of, len(active)), weights[part])
                for some in row_blocks(len(values), donors.packed.size * len(nodes), WORK_AT_ONCE * threads):
                    product_games(of_rows[some], donors, nodes, node_weights, values[some], threads=threads)
            for i, value in enumerate(
                values, block.start
            ):  # row by row: the rounding of a matrix product depends on the number of rows
                out[i, active] += value.T @ self.coefficients
        return out

    def _factors(self, cells: Floats, used: Ints, player_of: Ints, players: int) -> Floats:
        """Return each player's factor of each Gaussian, (n, Gaussians, players)."""
        features = self.additive.features(cells)
        exponents = np.zeros((len(cells), len(self.centers), players))
        for e, player in zip(used, player_of, strict=True):
            exponents[:, :, player] += (self.inverse_widths[:, e] * (features[:, [e]] - self.centers[:, e])) ** 2
        exponents *= -0.5
        return np.exp(exponents, out=exponents)


def _gaussians(features: Floats, centers: Floats, inverse_widths: Floats) -> Floats:
    """Return the Gaussians at rows of features, (n, Gaussians); inverse widths of all, (features,), or of each, (Gaussians, features)."""
    squares = inverse_widths**2
    exponents = features @ (squares * centers).T
    exponents -= 0.5 * (features**2 @ squares.T).reshape(len(features), -1)
    exponents -= 0.5 * (squares * centers**2).sum(axis=1)
    np.minimum(exponents, 0.0, out=exponents)
    return np.exp(exponents, out=exponents)


def fit_gaussians(cells: Floats, outputs: Floats, categorical: Bools) -> GaussianSurrogate:
    """Fit Gaussians and linear terms to hybrids.

    Args:
        cells: as numbers, (hybrids, columns), in random order: the first are the centers, and those that widths are fitted to. outputs: (hybrids, outputs), finite.
        categorical: (columns,), whose numbers are codes.
    """
    features = column_features(cells, categorical)
    means, scales = outputs.mean(axis=0), outputs.std(axis=0)
    scales = np.where(scales > SMALLEST_SPREAD * np.abs(means), scales, 1.0)
    targets = (outputs - means) / scales
    count = min(MAX_GAUSSIANS, len(cells) // HYBRIDS_A_GAUSSIAN)
    first = features(cells[: max(count, WIDTH_HYBRIDS)])
    centers = first[:count]
    widths = _fit_widths(first[:WIDTH_HYBRIDS], targets[:WIDTH_HYBRIDS], centers[:WIDTH_GAUSSIANS], features.group_of)
    size = first.shape[1] + 1
    fit = _Ridge(features, centers, np.tile(np.where(widths >= np.exp(MIN_LOG_INVERSE), widths, 0.0), (count, 1)))
    learns = len(cells) >= HYBRIDS_TO_LEARN and widths.any()
    used = len(cells) - len(cells) // KEPT_APART if learns else len(cells)
    fit.add(cells[:used], targets[:used])
    if learns:
        other = _learnt(features, cells[:used], targets[:used], widths)
        other.add(cells[:used], targets[:used])
        fit = min(fit, other, key=lambda f: f.left(cells[used:], targets[used:]))
        fit.add(cells[used:], targets[used:])
    weights = fit.weights() * scales
    additive = AdditiveSurrogate(features, means + weights[0], weights[1:size])
    return GaussianSurrogate(additive, fit.centers, fit.inverse_widths, weights[size:])


class _Ridge:
    """Coefficients of an intercept, linear terms and given Gaussians."""

    def __init__(self, features: ColumnFeatures, centers: Floats, inverse_widths: Floats) -> None:
        self.features, self.centers, self.inverse_widths = features, centers, inverse_widths
        size = 1 + centers.shape[1] + len(centers)
        self._gram, self._right, self._count = np.zeros((size, size)), np.zeros((size, 0)), 0

    def add(self, cells: Floats, targets: Floats) -> None:
        """Add hybrids to those fitted."""
        if not self._count:
            self._right = np.zeros((len(self._gram), targets.shape[1]))
        self._count += len(cells)
        for block in row_blocks(len(cells), len(self._gram), TABLE_NUMBERS):
            design = _design(self.features(cells[block]), self.centers, self.inverse_widths)
            self._gram += design.T @ design
            self._right += design.T @ targets[block]

    def weights(self) -> Floats:
        """Return the coefficients, (terms, outputs)."""
        penalty = RIDGE * self._count * np.eye(len(self._gram))
        return np.asarray(np.linalg.solve(self._gram + penalty, self._right), dtype=np.float64)

    def left(self, cells: Floats, targets: Floats) -> float:
        """Return the sum of squares left of other hybrids."""
        weights, left = self.weights(), 0.0
        for block in row_blocks(len(cells), len(self._gram), TABLE_NUMBERS):
            design = _design(self.features(cells[block]), self.centers, self.inverse_widths)
            left += float(((targets[block] - design @ weights) ** 2).sum())
        return left


def _learnt(features: ColumnFeatures, cells: Floats, targets: Floats, widths: Floats) -> _Ridge:
    """Return Gaussians that are learnt, of the features whose fitted widths are not 0."""
    used = np.flatnonzero(widths)
    table = np.concatenate(
        [features(cells[block])[:, used] for block in row_blocks(len(cells), len(widths), TABLE_NUMBERS)]
    )
    learnt = learn_gaussians(table, targets, widths[used])
    centers, inverse_widths = np.zeros((2, len(learnt[0]), len(widths)))
    centers[:, used], inverse_widths[:, used] = learnt
    return _Ridge(features, centers, inverse_widths)


def _design(features: Floats, centers: Floats, inverse_widths: Floats) -> Floats:
    return np.concatenate(
        [np.ones((len(features), 1)), features, _gaussians(features, centers, inverse_widths)], axis=1
    )


def _fit_widths(features: Floats, targets: Floats, centers: Floats, group_of: Ints) -> Floats:
    """Return the inverse width of each feature, (features,); those of a group are the same; 0 where there are too many features."""
    from scipy.optimize import minimize

    groups = int(group_of.max(initial=-1)) + 1
    if not groups or not len(centers) or np.abs(targets).max() < SMALLEST_SPREAD:
        return np.zeros(len(group_of))
    n = len(targets)
    size = features.shape[1] + 1

    def log_loss(logs: Floats) -> tuple[float, Any]:
        inverse = np.exp(logs)[group_of]
        design = _design(features, centers, inverse)
        gram = design.T @ design
        gram[np.diag_indices_from(gram)] += RIDGE * n
        weights = np.linalg.solve(gram, design.T @ targets)
        rest = targets - design @ weights
        loss = float((rest**2).sum() / n + RIDGE * (weights**2).sum())
        # d loss / d log inverse width: the weights are those of the least loss, so only the Gaussians' own change counts
        product = (rest @ weights[size:].T) * design[:, size:]
        squares = product.sum(axis=1) @ features**2 + product.sum(axis=0) @ centers**2
        squares -= 2 * ((product @ centers) * features).sum(axis=0)
        slope = np.bincount(group_of, 2 / n * squares * inverse**2, groups)
        narrow = NARROWNESS * np.exp(logs)
        return float(np.log(loss) + narrow.sum()), slope / loss + narrow

    start = np.full(groups, -0.5 * np.log(groups))
    found = minimize(
        log_loss, start, jac=True, method="L-BFGS-B", bounds=[LOG_BOUNDS] * groups, options={"maxiter": WIDTH_STEPS}
    ).x
    least = np.sort(found)[-MAX_WIDTHS] if groups > MAX_WIDTHS else -np.inf
    return np.where(found >= least, np.exp(found), 0.0)[group_of]
