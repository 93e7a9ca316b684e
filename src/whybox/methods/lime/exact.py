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
from whybox.kernels.product_law import PlayerLaw, expected_outputs
from whybox.kernels.value_intervals import interval_edges, interval_index
from whybox.methods.common.columns import Ints
from whybox.methods.lime.design import LocalDesign, sample_of
from whybox.methods.lime.distributions import PlayerDistribution
from whybox.methods.lime.problem import LimeProblem, Neighbourhood
from whybox.methods.lime.truncated_normal import mass_below
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble

__all__ = ["exact_unavailable", "exact_values"]

DRAWS_COMPARED: Final = 256  # rows with numbers drawn inside bins, encoded to see that they arrive as they are
_ROOT_2PI: Final = float(np.sqrt(2.0 * np.pi))


def exact_unavailable(neighbourhood: Neighbourhood) -> str | None:
    """Return why a model cannot be explained exactly, in words; None where it can."""
    model, scale = neighbourhood.model, neighbourhood.selection.scale
    if not isinstance(model, TreeEnsemble | Linear):
        return f"{model.kind} is not a tree ensemble or a linear model that is read"
    if scale != "raw":
        return f"on this scale the model is {model.outputs.link.name} of a sum, which is no sum itself"
    if isinstance(model, TreeEnsemble) and model.has_linear_leaves:
        return "the leaves of its trees are linear functions"
    return _encoding_problem(neighbourhood)


def _encoding_problem(neighbourhood: Neighbourhood) -> str | None:
    """Why numbers that are drawn inside bins do not arrive at the model as they are; None where they do."""
    model, players = neighbourhood.model, neighbourhood.players
    drawn = [p for p, d in enumerate(neighbourhood.distributions) if d.is_continuous.any()]
    if not drawn:
        return None
    u = np.random.default_rng(0).random((DRAWS_COMPARED, players.count))
    sample = sample_of(neighbourhood.background.table, neighbourhood.distributions, u)
    matrix = model.inputs.matrix(sample.table)
    for p in drawn:
        columns = model_columns(neighbourhood, p)
        if len(columns) == 0:
            continue
        name = neighbourhood.distributions[p].name
        if len(columns) > 1:
            return f"several columns of the model are made of {name!r}, whose values are drawn inside bins"
        ours = neighbourhood.distributions[p].numbers(sample.values[:, p])
        known = ~np.isnan(sample.values[:, p])
        if ours.dtype.kind == "M":
            return f"{name!r} holds dates, which a step of the model turns into numbers"
        theirs = matrix[known, columns[0]]
        if not np.allclose(theirs, ours[known], rtol=1e-6, atol=0.0):
            return f"a step of the model changes the numbers of {name!r}"
    return None


def model_columns(neighbourhood: Neighbourhood, player: int) -> Ints:
    """Return the model columns of a player."""
    players, model = neighbourhood.players, neighbourhood.model
    made = np.array([len(s) > 0 for s in model.inputs.source_columns], dtype=bool)
    return np.flatnonzero((players.of_column == player) & made)


@final
@dataclass(frozen=True)
class ExactValues:
    """Exact coefficients, (rows, players, outputs) of the model, and the weighted mean of its raw outputs, (rows, outputs)."""

    values: Floats
    mean: Floats


def exact_values(design: LocalDesign) -> ExactValues:
    """Return the coefficients of all rows for all outputs of the model.

    Raises:
        NonFiniteError and others: as the model refuses rows.
    """
    problem, model = design.problem, design.problem.model
    matrix = model.inputs.matrix(problem.neighbourhood.background.table)
    own = model.inputs.matrix(problem.rows)
    if isinstance(model, Linear):
        return _linear_values(design, model, matrix, own)
    assert isinstance(model, TreeEnsemble)  # noqa: S101  # resolved
    read = [p for p in range(problem.first.shape[1]) if len(_columns_read(problem, model, p))]
    laws, law_of = [], np.zeros((len(problem.rows), len(read)), dtype=np.int64)
    for i, p in enumerate(read):
        law, law_of[:, i] = _player_law(design, model, p, matrix)
        laws.append(law)
    threads = thread_count(problem.options.n_jobs)
    mean, slopes = expected_outputs(model, laws, law_of, threads=threads)
    values = np.zeros((len(problem.rows), problem.first.shape[1], mean.shape[1]))
    values[:, read] = slopes
    values[design.variance <= 0] = 0.0
    for i, p in enumerate(read):
        rows = np.flatnonzero(problem.is_unseen[:, p])
        if len(rows):
            values[rows, p] = _unseen_contrasts(
                laws, law_of, i, own[rows][:, _columns_read(problem, model, p)], model, rows, threads
            )
    return ExactValues(values, mean)


def _columns_read(problem: LimeProblem, model: TreeEnsemble, player: int) -> Ints:
    return np.intersect1d(model_columns(problem.neighbourhood, player), model.columns_read)


def _unseen_contrasts(  # one player of many
    laws: list[PlayerLaw], law_of: Ints, i: int, cells: Floats, model: TreeEnsemble, rows: Ints, threads: int
) -> Floats:
    """Means with the row's own cell less means with cells of the background, (rows, outputs)."""
    law, chosen = laws[i], law_of[rows].copy()
    own_mass = np.zeros((len(rows), law.mass.shape[1]))
    if law.edges is not None:
        own_mass[np.arange(len(rows)), _class_of(model, law.columns[0], law.edges, cells[:, 0])] = 1.0
        other = law.mass[law_of[rows, i]]
        changed = PlayerLaw(law.columns, other, own_mass - other, edges=law.edges)
    else:
        assert law.atoms is not None  # noqa: S101  # one of the two
        atoms = np.concatenate([law.atoms, cells])
        before = np.concatenate([law.mass[law_of[rows, i]], np.zeros((len(rows), len(rows)))], axis=1)
        after = np.concatenate([np.zeros((len(rows), len(law.atoms))), np.eye(len(rows))], axis=1)
        changed = PlayerLaw(law.columns, before, after - before, atoms=atoms)
    return _contrast(model, [*laws[:i], changed, *laws[i + 1 :]], chosen, i, threads)


def _contrast(model: TreeEnsemble, laws: list[PlayerLaw], law_of: Ints, i: int, threads: int) -> Floats:
    """The derivative where it stands on classes without mass: the difference of two expectations."""
    law, n = laws[i], len(law_of)
    after = law.mass + law.derivative
    law_of = law_of.copy()
    law_of[:, i] = np.arange(n)
    out = []
    for mass in (after, law.mass):
        fixed = PlayerLaw(law.columns, mass, np.zeros_like(mass), edges=law.edges, atoms=law.atoms)
        out.append(expected_outputs(model, [*laws[:i], fixed, *laws[i + 1 :]], law_of, threads=threads)[0])
    return np.asarray(out[0] - out[1])


def _class_of(model: TreeEnsemble, column: int, edges: Floats, values: Floats) -> Ints:
    """The class of each value; missing ones are in the last."""
    del edges
    return np.asarray(interval_index(model, column, values), dtype=np.int64)


def _player_law(design: LocalDesign, model: TreeEnsemble, player: int, matrix: Floats) -> tuple[PlayerLaw, Ints]:
    """The law of one player: masses and derivatives, one for each different own region, and which each row has."""
    problem = design.problem
    d, columns = problem.distributions[player], _columns_read(problem, model, player)
    if d.is_unbounded:
        return _scaled_law(design, model, player, int(columns[0])), np.arange(len(problem.rows))
    continuous = bool(d.is_continuous.any())
    if continuous or len(columns) == 1:
        edges = interval_edges(model, int(columns[0]))
        masses = _class_masses(d, model, int(columns[0]), edges, matrix)
        atoms = None
    else:
        edges, cells = None, matrix[d.atom_rows][:, columns]
        atoms, which = np.unique(cells, axis=0, return_inverse=True, equal_nan=False)
        masses = np.zeros((len(d), len(atoms)))
        np.add.at(masses, (d.atom_piece, which.reshape(-1)), d.atom_share)
    kinds, law_of = np.unique(
        np.column_stack([problem.first[:, player], problem.last[:, player]]), axis=0, return_inverse=True
    )
    law_of = law_of.reshape(-1)
    first_row = np.array([int(np.flatnonzero(law_of == k)[0]) for k in range(len(kinds))])
    own, other = _inside_outside(d, masses, kinds[:, 0], kinds[:, 1])
    q, rest = problem.own_chance[first_row, player, None], problem.other_chance[first_row, player, None]
    varying = problem.is_varying[first_row, player, None]
    mass = q * own + rest * other
    derivative = np.where(varying, own - other, 0.0)
    return PlayerLaw(tuple(int(c) for c in columns), mass, derivative, edges=edges, atoms=atoms), law_of


def _class_masses(d: PlayerDistribution, model: TreeEnsemble, column: int, edges: Floats, matrix: Floats) -> Floats:
    """Mass of each class of values in each piece, (pieces, classes)."""
    masses = np.zeros((len(d), len(edges) + 2))
    c = d.is_continuous
    if c.any():
        of = [a[c][:, None] for a in (d.mean, d.std, d.low, d.high)]
        below = mass_below(edges[None], *of)
        masses[c, :-1] = np.diff(np.concatenate([np.zeros((len(below), 1)), below, np.ones((len(below), 1))], axis=1))
    if len(d.atom_rows):
        index = _class_of(model, column, edges, matrix[d.atom_rows, column])
        np.add.at(masses, (d.atom_piece, index), d.atom_share)
    return masses


def _inside_outside(d: PlayerDistribution, masses: Floats, first: Ints, last: Ints) -> tuple[Floats, Floats]:
    """Masses inside and outside ranges of pieces, (ranges, classes) each; an empty side has none."""
    own, other = np.zeros((len(first), masses.shape[1])), np.zeros((len(first), masses.shape[1]))
    position = np.arange(len(d))
    for k, (a, b) in enumerate(zip(first, last, strict=True)):
        inside = (position >= a) & (position < b)
        for side, out in ((inside, own), (~inside, other)):
            share = d.shares[side]
            if share.sum() > 0:
                out[k] = share @ masses[side] / share.sum()
    return own, other


def _scaled_law(design: LocalDesign, model: TreeEnsemble, player: int, column: int) -> PlayerLaw:
    """Of a number that is not cut: a normal distribution drawn towards each row's own value; the derivative is that of a shift, in standard deviations."""
    d = design.problem.distributions[player]
    edges = interval_edges(model, column)
    m, v = design.centre[:, player, None], design.variance[:, player, None]
    at = ((edges - d.mean[0]) / d.std[0] - m) / np.sqrt(v)
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
    return PlayerLaw(
        (column,), np.concatenate([mass, missing], axis=1), np.concatenate([derivative, missing], axis=1), edges=edges
    )


def _linear_values(design: LocalDesign, model: Linear, matrix: Floats, own: Floats) -> ExactValues:
    """A weight times the mean inside the own region less the mean outside."""
    problem = design.problem
    n, count = problem.first.shape
    values = np.zeros((n, count, model.weights.shape[1]))
    mean = np.broadcast_to(model.base, (n, model.weights.shape[1])).copy()
    for p, d in enumerate(problem.distributions):
        columns = model_columns(problem.neighbourhood, p)
        if not len(columns):
            continue
        weights = model.weights[columns]
        if d.is_unbounded:
            mean += (d.mean[0] + d.std[0] * design.centre[:, p, None]) * weights
            values[:, p] = d.std[0] * weights[0]
            continue
        cells = np.zeros((len(d), len(columns)))
        np.add.at(cells, d.atom_piece, d.atom_share[:, None] * np.nan_to_num(matrix[d.atom_rows][:, columns]))
        c = d.is_continuous
        cells[c, 0] = d.piece_means()[c]
        inside, outside = _inside_outside(d, cells, problem.first[:, p], problem.last[:, p])
        q, rest = problem.own_chance[:, p, None], problem.other_chance[:, p, None]
        mean += (q * inside + rest * outside) @ weights
        unseen = problem.is_unseen[:, p, None]
        inside = np.where(unseen, np.nan_to_num(own[:, columns]), inside)
        contrast = problem.is_varying[:, p, None] | unseen
        values[:, p] = np.where(contrast, (inside - outside) @ weights, 0.0)
    return ExactValues(values, mean)
