"""LIME without a sample: exact coefficients of tree ensembles and linear models on their additive scale.

Columns are independent, so a coefficient is the mean output inside the row's own region less the mean outside, over the weighted distributions of all other
features. For trees each mean is a sum over leaves of products of masses.

Source: Garreau and von Luxburg, Looking deeper into tabular LIME (2020), arXiv:2008.11092, for partition models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from scipy.special import ndtr

from whybox.core.workers import thread_count
from whybox.data.table import Floats
from whybox.games.players import split_ties
from whybox.kernels.product_law import PlayerLaw, ProductLaw
from whybox.kernels.value_intervals import interval_edges, interval_index
from whybox.methods.common.columns import Ints
from whybox.methods.common.piecewise import PlayerDistribution
from whybox.methods.lime.design import LocalDesign
from whybox.methods.lime.encoded_numbers import model_columns
from whybox.methods.lime.problem import Neighbourhood
from whybox.methods.lime.unseen_laws import UnseenLaws
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble
from whybox.numerics.truncated_normal import mass_below

__all__ = ["ExactLaws", "ExactValues", "exact_unavailable", "exact_values"]

_ROOT_2PI: Final = float(np.sqrt(2.0 * np.pi))


def exact_unavailable(neighbourhood: Neighbourhood) -> str | None:
    """Return why a model cannot be explained exactly, in words; None where it can."""
    model, scale = neighbourhood.model, neighbourhood.selection.scale
    if not isinstance(model, TreeEnsemble | Linear):
        return f"only tree ensembles and linear models have values without a sample, and this is {model.kind}"
    if scale != "raw":
        return f"on this scale the model is {model.outputs.link.name} of a sum, which is no sum itself"
    if isinstance(model, TreeEnsemble) and model.has_linear_leaves:
        return "the leaves of its trees are linear functions"
    mixed = split_ties(model, neighbourhood.background.table.names, neighbourhood.options.players)
    if mixed is not None and neighbourhood.options.method != "exact":  # which takes them as one
        return f"a step of the model mixes {mixed}, each of which has its own value here; as one of players they have an exact one"
    return neighbourhood.encoded_numbers.problem


@final
@dataclass(frozen=True)
class ExactValues:
    """Exact coefficients, (rows, players, outputs) of the model, and the weighted mean of its raw outputs, (rows, outputs)."""

    values: Floats
    mean: Floats


@final
class ExactLaws:
    """The laws of the players that the trees read, made once for a background and a width; tables of the native kernel are kept with them.

    Args:
        neighbourhood: with the model, a tree ensemble, and the background.

    Attributes:
        players: those that the trees read.
    """

    def __init__(self, neighbourhood: Neighbourhood) -> None:
        model = neighbourhood.model
        assert isinstance(model, TreeEnsemble)  # noqa: S101  # of trees
        self.model = model
        read = [
            np.intersect1d(model_columns(neighbourhood, p), model.columns_read)
            for p in range(neighbourhood.players.count)
        ]
        self.players = [p for p, columns in enumerate(read) if len(columns)]
        self.columns = [read[p] for p in self.players]
        self.matrix = model.inputs.matrix(neighbourhood.background.table)
        self._distributions = [neighbourhood.distributions[p] for p in self.players]
        edges = {
            p: interval_edges(model, int(columns[0]))
            for p, columns in zip(self.players, self.columns, strict=True)
            if len(columns) == 1
        }
        # the same in the own numbers of the columns, where steps before the model scale or transform them
        self._thresholds = neighbourhood.encoded_numbers.thresholds(edges)
        self._by_piece: list[_PieceMasses | None] = [
            None if d.is_unbounded else _piece_masses(d, model, columns, self.matrix, self._thresholds.get(p))
            for p, d, columns in zip(self.players, self._distributions, self.columns, strict=True)
        ]
        self._kept: dict[float, ProductLaw] = {}
        self._unseen: UnseenLaws | None = None

    def of_rows(self, design: LocalDesign) -> tuple[ProductLaw, Ints]:
        """Return the laws, and which of its player's laws each row has, (rows, players read)."""
        problem = design.problem
        if design.is_scaled.any() or problem.options.neighbourhood == "row":
            return self._of_these_rows(design)
        unseen = problem.is_unseen[:, self.players]
        pieces = np.array([len(d) for d in self._distributions])
        law_of = np.where(unseen, pieces, problem.first[:, self.players])
        if problem.width not in self._kept:
            laws = [
                self._law(i, np.arange(len(d) + 1), np.append(np.arange(len(d)) + 1, len(d)), problem.decay)
                for i, d in enumerate(self._distributions)
            ]
            self._kept = {problem.width: ProductLaw(self.model, laws)}
        return self._kept[problem.width], law_of.astype(np.int64)

    def _of_these_rows(self, design: LocalDesign) -> tuple[ProductLaw, Ints]:
        """Laws where regions differ from row to row: one for each different region, or row."""
        problem, laws = design.problem, []
        law_of = np.zeros((len(problem.rows), len(self.players)), dtype=np.int64)
        for i, p in enumerate(self.players):
            if design.is_scaled[p]:
                laws.append(_scaled_law(design, self.model, p, int(self.columns[i][0]), self._thresholds[p]))
                law_of[:, i] = np.arange(len(problem.rows))
                continue
            regions = np.column_stack([problem.first[:, p], problem.last[:, p]])
            kinds, which = np.unique(regions, axis=0, return_inverse=True)
            law_of[:, i] = which.reshape(-1)
            laws.append(self._law(i, kinds[:, 0], kinds[:, 1], problem.decay))
        return ProductLaw(self.model, laws), law_of

    def _law(self, i: int, first: Ints, last: Ints, decay: float) -> PlayerLaw:
        """Masses and derivatives for some own regions; an empty one takes the background as it is."""
        found, d = self._by_piece[i], self._distributions[i]
        assert found is not None  # noqa: S101  # of players that are cut into pieces
        own, other, share, rest = _inside_outside(d, found.masses, first, last)
        q = share / (share + rest * decay)
        not_q = rest * decay / (share + rest * decay)
        varying = ((share > 0) & (rest > 0))[:, None]
        derivative = np.where(varying, own - other, 0.0)
        columns = tuple(int(c) for c in self.columns[i])
        return PlayerLaw(columns, q[:, None] * own + not_q[:, None] * other, derivative, found.edges, found.atoms)

    def write_unseen_values(self, design: LocalDesign, law: ProductLaw, law_of: Ints, values: Floats) -> None:
        """Write the values of cells that the background never has: the mean with the cell less the mean with cells of the background.

        Args:
            law, law_of: as :meth:`of_rows` returns them. values: (rows, players, outputs), to write into.
        """
        problem = design.problem
        is_unseen = problem.is_unseen[:, self.players]
        if not is_unseen.any():
            return
        if self._unseen is None or self._unseen.law is not law:
            self._unseen = UnseenLaws(law)
        threads = thread_count(problem.options.n_jobs)
        rows, at = np.nonzero(is_unseen)
        values[rows, np.array(self.players)[at]] = self._unseen.values(
            problem.matrix, law_of, is_unseen, threads=threads
        )


def exact_values(design: LocalDesign, laws: ExactLaws | None) -> ExactValues:
    """Return the coefficients of all rows for all outputs of the model.

    Args:
        laws: of a tree ensemble; None: the model is linear.

    Raises:
        NonFiniteError and others: as the model refuses rows.
    """
    problem = design.problem
    if laws is None:
        background = problem.model.inputs.matrix(problem.neighbourhood.background.table)
        return _linear_values(design, background, problem.matrix)
    law, law_of = laws.of_rows(design)
    mean, slopes = law.expected_outputs(law_of, threads=thread_count(problem.options.n_jobs))
    values = np.zeros((len(problem.rows), problem.first.shape[1], mean.shape[1]))
    values[:, laws.players] = slopes
    values[design.variance <= 0] = 0.0
    laws.write_unseen_values(design, law, law_of, values)
    return ExactValues(values, mean)


@final
@dataclass(frozen=True, eq=False)
class _PieceMasses:
    """Mass of each class of values, or of each atom, in each piece of a player, (pieces, classes)."""

    masses: Floats
    edges: Floats | None
    atoms: Floats | None


def _piece_masses(
    d: PlayerDistribution, model: TreeEnsemble, columns: Ints, matrix: Floats, thresholds: Floats | None
) -> _PieceMasses:
    if thresholds is not None:
        masses = _class_masses(d, model, int(columns[0]), thresholds, matrix)
        return _PieceMasses(masses, interval_edges(model, int(columns[0])), None)
    cells = matrix[d.atom_rows][:, columns]
    missing = np.isnan(cells)  # beside the numbers, because `np.unique` takes two rows with NaN for different ones
    keys = np.concatenate([missing, np.where(missing, 0.0, cells)], axis=1)
    _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    atoms = cells[first]
    masses = np.zeros((len(d), len(atoms)))
    np.add.at(masses, (d.atom_piece, which.reshape(-1)), d.atom_share)
    return _PieceMasses(masses, None, atoms)


def _class_masses(
    d: PlayerDistribution, model: TreeEnsemble, column: int, thresholds: Floats, matrix: Floats
) -> Floats:
    """Mass of each class of values in each piece, (pieces, classes)."""
    masses = np.zeros((len(d), len(thresholds) + 2))
    c = d.is_continuous
    if c.any():
        of = [a[c][:, None] for a in (d.mean, d.std, d.low, d.high)]
        below = mass_below(thresholds[None], *of)
        masses[c, :-1] = np.diff(np.concatenate([np.zeros((len(below), 1)), below, np.ones((len(below), 1))], axis=1))
    if len(d.atom_rows):
        index = interval_index(model, column, matrix[d.atom_rows, column])
        np.add.at(masses, (d.atom_piece, index), d.atom_share)
    return masses


def _inside_outside(
    d: PlayerDistribution, masses: Floats, first: Ints, last: Ints
) -> tuple[Floats, Floats, Floats, Floats]:
    """Masses inside and outside ranges of pieces, (ranges, classes) each, 0 where a side is empty; and the share of each side, (ranges,)."""
    position = np.arange(len(d))
    inside = (position >= first[:, None]) & (position < last[:, None])
    sides = []
    for side in (inside, ~inside):
        weight = side * d.shares
        share = weight.sum(axis=1)
        sides.append((weight @ masses / np.where(share > 0, share, 1.0)[:, None], share))
    (own, share), (other, rest) = sides
    return own, other, share, rest


def _scaled_law(design: LocalDesign, model: TreeEnsemble, player: int, column: int, thresholds: Floats) -> PlayerLaw:
    """Of a number that is not cut: a normal distribution drawn towards each row's own value; the derivative is that of a shift, in standard deviations."""
    d = design.problem.distributions[player]
    m, v = design.centre[:, player, None], design.variance[:, player, None]
    at = ((thresholds - d.mean[0]) / d.std[0] - m) / np.sqrt(v)
    ends = np.full((len(m), 1), np.inf)
    at = np.concatenate([-ends, at, ends], axis=1)
    upper = at > 0  # the smaller tail is the exact one
    tail = ndtr(-np.abs(at))
    mass = np.where(upper[:, :-1] & upper[:, 1:], tail[:, :-1] - tail[:, 1:], 0.0)
    low = ~upper[:, :-1] & ~upper[:, 1:]
    mass = np.where(low, tail[:, 1:] - tail[:, :-1], mass)
    mass = np.where(~upper[:, :-1] & upper[:, 1:], 1.0 - tail[:, :-1] - tail[:, 1:], mass)
    density = np.exp(-0.5 * at**2) / _ROOT_2PI
    derivative = (density[:, :-1] - density[:, 1:]) / np.sqrt(v)
    missing = np.zeros((len(m), 1))
    derivative = np.where(mass > 0, derivative, 0.0)
    mass, derivative = (np.concatenate([a, missing], axis=1) for a in (mass, derivative))
    return PlayerLaw((column,), mass, derivative, edges=interval_edges(model, column))


def _linear_values(design: LocalDesign, matrix: Floats, own: Floats) -> ExactValues:
    """A weight times the mean inside the own region less the mean outside."""
    problem = design.problem
    model, encoded = problem.model, problem.neighbourhood.encoded_numbers
    assert isinstance(model, Linear)  # noqa: S101  # resolved
    n, count = problem.first.shape
    values = np.zeros((n, count, model.weights.shape[1]))
    mean = np.broadcast_to(model.base, (n, model.weights.shape[1])).copy()
    for p, d in enumerate(problem.distributions):
        columns = model_columns(problem.neighbourhood, p)
        if not len(columns):
            continue
        weights = model.weights[columns]
        if d.is_unbounded:
            mean += encoded.on_line(p, d.mean[0] + d.std[0] * design.centre[:, p, None]) * weights
            values[:, p] = encoded.slope(p) * d.std[0] * weights[0]
            continue
        cells = np.zeros((len(d), len(columns)))
        np.add.at(cells, d.atom_piece, d.atom_share[:, None] * np.nan_to_num(matrix[d.atom_rows][:, columns]))
        c = d.is_continuous
        cells[c, 0] = encoded.on_line(p, d.piece_means()[c])
        inside, outside, _, _ = _inside_outside(d, cells, problem.first[:, p], problem.last[:, p])
        q, rest = problem.own_chance[:, p, None], problem.other_chance[:, p, None]
        mean += (q * inside + rest * outside) @ weights
        unseen = problem.is_unseen[:, p, None]
        inside = np.where(unseen, np.nan_to_num(own[:, columns]), inside)
        contrast = problem.is_varying[:, p, None] | unseen
        values[:, p] = np.where(contrast, (inside - outside) @ weights, 0.0)
    return ExactValues(values, mean)
