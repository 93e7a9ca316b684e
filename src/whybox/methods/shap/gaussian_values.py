"""Shapley values of a linear model when absent features follow from those present, as in a Gaussian with the background's mean and covariance.

The worth of a coalition S is the mean of the model's sum given the values of S. Of a Gaussian it is linear in them: a weight keeps its own column, and the
columns outside S add what is predicted of them by least squares. So the values of all rows are one matrix of slopes, made once from all coalitions.

Sources: Strumbelj and Kononenko, Knowledge and Information Systems 41 (2014); Lundberg and Lee, NeurIPS 2017; Aas, Jullum and Loland, Artificial
Intelligence 298 (2021), arXiv:1903.10464, for the conditional mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.background.marginal import Background
from whybox.data.table import Floats
from whybox.errors import Argument, LimitError, NonFiniteError
from whybox.games.exact import all_coalitions, exact_values
from whybox.games.indices import Index
from whybox.games.players import Players
from whybox.models.linear import Linear

__all__ = ["ConditionalGaussian", "check_no_missing"]

SMALLEST_VARIANCE: Final = (
    1e-9  # of the largest eigenvalue of correlations: a direction with less counts as one that does not vary
)
MAX_NUMBERS_TOGETHER: Final = 2**21  # numbers of the covariances of coalitions that are inverted together
MAX_SLOPE_BYTES: Final = 2**28  # bytes of the slopes of all coalitions


@final
@dataclass(frozen=True, eq=False)
class ConditionalGaussian:
    """A linear model and the Gaussian of its background.

    Attributes:
        model: the model. background: with weights. players: of its columns, all of them: one without weight may predict one with it.
    """

    model: Linear
    background: Background
    players: Players

    def __post_init__(self) -> None:
        check_no_missing(self.background.matrix, "the background")
        needed = 8.0 * 2.0**self.players.count * self.model.weights.size
        if needed > MAX_SLOPE_BYTES:
            raise LimitError(
                Argument("method", "linear_shap_correlated"),
                f" would keep {needed / 2**30:.1f} GiB of slopes for all coalitions ({MAX_SLOPE_BYTES / 2**30:.2g} GiB allowed). Group columns with ",
                Argument("players", example="{...}"),
                ", or explain one ",
                Argument("output", example=""),
                " of the model by itself.",
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it is made of: slopes of all coalitions may be large, and are made again."""
        return ConditionalGaussian, (self.model, self.background, self.players)

    @cached_property
    def mean(self) -> Floats:
        """Mean of each model column, (columns,)."""
        return np.asarray(self.background.weights @ self.background.matrix)

    @cached_property
    def _deviations(self) -> tuple[Floats, Floats]:
        """Rows of the background less their mean, in standard deviations and times the root of their weight, (rows, columns); and the deviations, (columns,)."""
        apart = (self.background.matrix - self.mean) * np.sqrt(self.background.weights)[:, None]
        spread = np.sqrt((apart**2).sum(axis=0))
        varies = spread > 1e-12 * np.maximum(np.abs(self.mean), np.finfo(np.float64).tiny)
        spread = np.where(varies, spread, 0.0)
        return np.divide(apart, spread, out=np.zeros(apart.shape), where=varies), spread

    @cached_property
    def _root(self) -> Floats:
        """A few rows with the same sums of products as those of the background, (columns, columns) at most, from its QR decomposition."""
        z, _ = self._deviations
        return np.asarray(np.linalg.qr(z, mode="r")) if len(z) > z.shape[1] else z

    @cached_property
    def correlation(self) -> Floats:
        """Correlations of the model columns, (columns, columns); zero of one that does not vary."""
        z, _ = self._deviations
        return np.asarray(z.T @ z)

    @cached_property
    def rank(self) -> int:
        """In how many directions the model columns vary."""
        variances = np.linalg.eigvalsh(self.correlation)
        return int((variances > SMALLEST_VARIANCE * max(float(variances[-1]), 1e-300)).sum())

    @cached_property
    def coalition_slopes(self) -> Floats:
        """By how much the worth of each coalition rises with each model column, (2^players, columns, outputs)."""
        inside = all_coalitions(self.players.count)[:, self.players.of_column]
        out = np.where(inside[:, :, None], self.model.weights, 0.0)
        _, spread = self._deviations
        scaled = self.model.weights * spread[:, None]
        width = inside.shape[1]
        many = inside.sum(axis=1)
        for size in range(1, width):  # neither empty nor whole: those predict nothing, or have nothing to predict
            which = np.flatnonzero(many == size)
            step = max(1, MAX_NUMBERS_TOGETHER // (size * width))
            for some in (which[i : i + step] for i in range(0, len(which), step)):
                columns = np.nonzero(inside[some])[1].reshape(len(some), size)
                absent = np.where(inside[some][:, :, None], 0.0, scaled)
                target = self.correlation[columns] @ absent
                slopes = self._inverse(columns) @ target
                own = spread[columns][:, :, None]
                slopes = np.divide(slopes, own, out=np.zeros(slopes.shape), where=own > 0)
                out[some[:, None], columns] += slopes
        return out

    def _inverse(self, columns: npt.NDArray[np.int64]) -> Floats:
        """Pseudo-inverses of the correlations of some columns, (coalitions, size, size)."""
        variances, directions = np.linalg.eigh(self.correlation[columns[:, :, None], columns[:, None, :]])
        kept = variances > SMALLEST_VARIANCE * np.maximum(variances[:, -1:], 1e-300)
        inverse = np.divide(1.0, variances, out=np.zeros(variances.shape), where=kept)
        return np.asarray((directions * inverse[:, None, :]) @ directions.transpose(0, 2, 1))

    def slopes_by_regression(self, coalition: npt.NDArray[np.bool_]) -> Floats:
        """The slopes of one coalition a second way, by least squares on the background's rows; (columns, outputs).

        Args:
            coalition: (players,).
        """
        inside, z = coalition[self.players.of_column], self._root
        _, spread = self._deviations
        out = np.where(inside[:, None], self.model.weights, 0.0)
        if inside.any() and not inside.all():
            absent = z[:, ~inside] @ (self.model.weights * spread[:, None])[~inside]
            found = np.linalg.lstsq(z[:, inside], absent, rcond=np.sqrt(SMALLEST_VARIANCE))[0]
            own = spread[inside][:, None]
            out[inside] += np.divide(found, own, out=np.zeros(found.shape), where=own > 0)
        return out

    def row_slopes(self, index: Index, order: int) -> Floats:
        """By how much values, or whole interactions, rise with each model column, (players[, players], columns, outputs)."""
        slopes = self.coalition_slopes
        values = exact_values(slopes.reshape(len(slopes), -1), index, order)
        return values.reshape(*values.shape[:-1], *slopes.shape[1:])

    def values(self, X: Floats, slopes: Floats) -> Floats:
        """Return values (rows, players[, players], outputs) of encoded rows.

        Raises:
            NonFiniteError: a row has a missing value.
        """
        check_no_missing(X, "a row")
        return np.moveaxis(np.tensordot(slopes, X - self.mean, axes=([-2], [1])), -1, 0)


def check_no_missing(X: Floats, what: str) -> None:
    """Refuse missing values.

    Raises:
        NonFiniteError: there is one.
    """
    if np.isnan(X).any():
        raise NonFiniteError(
            f"{what} has a missing value, which has no place in a Gaussian. Impute it, or use linear_shap, where it adds nothing.",
            row=None,
        )
