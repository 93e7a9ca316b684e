"""Numbers of an answer of LIME, computed again by a second way.

The model is asked about sampled rows once more, in the user's own columns. Of one row, the masses that an exact answer is made of are counted on a fine, even grid
of draws, and its values follow from the plain NumPy reading of the trees; of a sampled answer, one value is added up draw by draw from the cells themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from whybox.data.table import Floats
from whybox.explanation.spot_checks import SpotChecks
from whybox.kernels.leaf_laws import derivatives_of_row
from whybox.kernels.product_law import PlayerLaw
from whybox.kernels.value_intervals import interval_index
from whybox.methods.common.columns import Ints, feature_of
from whybox.methods.common.spot_checks import SpotChecker, spot_predictions, spot_rng
from whybox.methods.common.spot_rows import RowCell, RowRecomputation, output_label
from whybox.methods.lime.additive_fit import additive_basis, fit_additive
from whybox.methods.lime.design import LocalDesign, Sample, sample_of
from whybox.methods.lime.exact import ExactLaws
from whybox.methods.lime.local_model import LocalModel
from whybox.methods.lime.problem import LimeProblem
from whybox.methods.lime.shared_sample import SharedSample
from whybox.models.trees import TreeEnsemble

__all__ = ["check_exact", "check_sampled"]

GRID: Final = 2048  # even draws that masses are counted on
ROUNDING: Final = 1e-9


def check_exact(
    design: LocalDesign, model: LocalModel, spread: SharedSample, exact: ExactLaws | None, call: int
) -> SpotChecks:
    """Check an exact answer.

    Args:
        spread: the sample that the spread of outputs is from. exact: the laws of trees. call: which call of the explainer this is, for what is drawn.

    Raises:
        SpotCheckError: a number differs.
    """
    problem, checker = design.problem, SpotChecker()
    rng = spot_rng(problem.options.seed, call)
    _check_outputs(problem, spread, checker, rng)
    if exact is not None:
        row = int(rng.integers(len(problem.rows)))
        law, law_of = exact.of_rows(design)
        laws, players = law.laws, exact.players
        for i, p in enumerate(players):
            if not design.is_scaled[p] and design.variance[row, p] > 0:
                _check_masses(problem, row, p, laws[i], int(law_of[row, i]), checker)
        _check_values(problem, model, row, laws, law_of, players, checker)
    return checker.result


def check_sampled(design: LocalDesign, model: LocalModel, sample: SharedSample | None, call: int) -> SpotChecks:
    """Check a sampled answer.

    Args:
        sample: the sample that all rows share; None: every row had draws of its own. call: as of :func:`check_exact`.

    Raises:
        SpotCheckError: a number differs.
    """
    problem, checker = design.problem, SpotChecker()
    rng = spot_rng(problem.options.seed, call)
    if sample is None or not sample.samples:
        return checker.result
    _check_outputs(problem, sample, checker, rng)
    near = np.flatnonzero(model.near)
    row = int(rng.choice(near))
    players = np.flatnonzero((design.variance[row] > 0) & ~design.is_scaled & ~problem.is_unseen[row])
    if len(players):
        _check_coefficient(design, model, sample, row, int(rng.choice(players)), checker)
    return checker.result


def _check_outputs(problem: LimeProblem, sample: SharedSample, checker: SpotChecker, rng: np.random.Generator) -> None:
    """Ask the model about some of the sampled rows again."""
    which = int(rng.integers(len(sample.samples)))
    table, outputs = sample.samples[which].table, sample.outputs[which]
    count = min(len(table), max(1, spot_predictions(problem.options.spot_checks) // 2))
    chosen = rng.choice(len(table), count, replace=False)
    ask = RowRecomputation(problem.model, table, problem.selection, checker)
    again, allowed = ask([RowCell(int(i)) for i in chosen])
    checker.compare(
        outputs[chosen],
        again,
        allowed,
        way="by asking the model about sampled rows once more",
        where=lambda at: [("sampled row", int(chosen[at[0]])), *output_label(problem.selection, at[1])],
    )


def _check_masses(problem: LimeProblem, row: int, player: int, law: PlayerLaw, at: int, checker: SpotChecker) -> None:
    """Count how the weighted distribution of a player falls into the classes of values that the trees tell apart."""
    d = problem.distributions[player]
    low, high = d.ends[problem.first[row, player]], d.ends[problem.last[row, player]]
    u = (np.arange(GRID) + 0.5) / GRID
    inside = (u >= low) & (u < high)
    weight = np.where(inside, 1.0, problem.decay)
    weight /= weight.sum()
    every = np.full((GRID, len(problem.distributions)), 0.5)
    every[:, player] = u
    table = sample_of(problem.neighbourhood.background.table, problem.distributions, every).table
    cells = problem.model.inputs.matrix(table)[:, list(law.columns)]
    if law.edges is not None:
        assert isinstance(problem.model, TreeEnsemble)  # noqa: S101  # it has laws
        counted = np.bincount(interval_index(problem.model, law.columns[0], cells[:, 0]), weight, law.mass.shape[1])
        ours, theirs = np.cumsum(law.mass[at]), np.cumsum(counted)
    else:
        assert law.atoms is not None  # noqa: S101  # one of the two
        same = ((cells[:, None] == law.atoms) | (np.isnan(cells[:, None]) & np.isnan(law.atoms))).all(axis=2)
        first = np.where(same.any(axis=1), same.argmax(axis=1), len(law.atoms))
        counted = np.bincount(first, weight, len(law.atoms) + 1)
        ours, theirs = np.append(law.mass[at], 0.0), counted
    # each piece, and each atom, ends somewhere between two draws of the grid
    allowed = (len(d) + 2.0) / GRID
    checker.compare(
        ours,
        theirs,
        allowed * max(1.0, float(weight.max()) * GRID),
        way=f"by counting {GRID:,} even draws of each feature of a row",
        where=lambda _: [("row", row), ("feature", d.name)],
    )


def _check_values(  # laws, and which of them
    problem: LimeProblem,
    model: LocalModel,
    row: int,
    laws: Sequence[PlayerLaw],
    law_of: Ints,
    players: list[int],
    checker: SpotChecker,
) -> None:
    """Hold the values of one row against the plain NumPy reading of the trees."""
    e = problem.model
    assert isinstance(e, TreeEnsemble)  # noqa: S101  # it has laws
    found = derivatives_of_row(e, laws, law_of[row])
    if found is None:
        return
    kept = [i for i, p in enumerate(players) if not problem.is_unseen[row, p]]
    theirs = problem.selection.select_values(found)[kept]
    ours = model.found.values[row, [players[i] for i in kept]]
    scale = max(float(np.abs(theirs).max(initial=0.0)), float(np.abs(e.rounding_scale).max(initial=0.0)))
    checker.compare(
        ours,
        theirs,
        ROUNDING * scale + 1e-300,
        way="by a plain NumPy reading of the trees, leaf by leaf",
        where=lambda at: [
            ("row", row),
            ("feature", problem.distributions[players[kept[at[0]]]].name),
            *output_label(problem.selection, at[1]),
        ],
    )


def _check_coefficient(
    design: LocalDesign, model: LocalModel, sample: SharedSample, row: int, player: int, checker: SpotChecker
) -> None:
    """Add up one coefficient from the cells of the sample: where each lies, what it weighs, what the additive fit leaves."""
    problem = design.problem
    inside = np.column_stack(
        [
            np.concatenate([_lies_inside(problem, s, row, p) for s in sample.samples])
            for p in range(len(problem.distributions))
        ]
    )
    outputs = np.concatenate(sample.outputs)
    joined = Sample(
        np.concatenate([s.pieces for s in sample.samples]),
        np.concatenate([s.values for s in sample.samples]),
        sample.samples[0].table,
    )
    basis = additive_basis(design, len(outputs))
    known = np.zeros(outputs.shape[1])
    places = design.places(joined) if design.is_scaled.any() else None
    if basis is not None:
        fit = fit_additive(basis, joined, places, outputs)
        outputs = fit.rest(joined, places, outputs)
        known = fit.coefficients(design)[0][row, player]
    weights, mean, nearness = np.ones(len(outputs)), 1.0, problem.width**-2.0
    for p in range(inside.shape[1]):
        if places is not None and design.is_scaled[p]:
            own = float(design.own_place[row, p])
            weights = weights * np.exp(-0.5 * nearness * (places[:, p] - own) ** 2)
            mean *= float(np.exp(-0.5 * own**2 * nearness / (1.0 + nearness)) / np.sqrt(1.0 + nearness))
            continue
        share = float(problem.share[row, p])
        weights = weights * np.where(inside[:, p], 1.0, problem.decay)
        mean *= share + float(problem.other_share[row, p]) * problem.decay
    q = float(problem.share[row, player]) / (
        float(problem.share[row, player]) + float(problem.other_share[row, player]) * problem.decay
    )
    total = ((weights / mean) * (inside[:, player] - q)) @ outputs
    theirs = known + total / len(outputs) / (q * float(problem.other_chance[row, player]))
    size = float(np.abs(outputs).max(initial=0.0)) + float(np.abs(theirs).max(initial=0.0))
    checker.compare(
        model.found.values[row, player],
        theirs,
        ROUNDING * size / (q * float(problem.other_chance[row, player])) + 1e-300,
        way="by adding up one value draw by draw from the cells themselves",
        where=lambda at: [
            ("row", row),
            ("feature", problem.distributions[player].name),
            *output_label(problem.selection, at[0]),
        ],
    )


def _lies_inside(problem: LimeProblem, sample: Sample, row: int, player: int) -> Any:
    """Whether sampled cells lie in the row's own region, by the cells themselves where it is a range of numbers, else by their pieces."""
    columns = problem.neighbourhood.columns[player]
    by_piece = (sample.pieces[:, player] >= problem.first[row, player]) & (
        sample.pieces[:, player] < problem.last[row, player]
    )
    if len(columns) > 1 or not columns[0].is_number or columns[0].window or columns[0].scaled:
        return by_piece
    own = problem.regions[player].numbers[row]
    if np.isnan(own) or problem.is_unseen[row, player]:
        return by_piece
    cells = feature_of(sample.table, columns[0].feature.position)
    values: Floats = np.full(len(cells.codes), np.nan)
    known = cells.codes >= 0
    values[known] = columns[0].feature.place(cells.unique)[cells.codes[known]]
    edges = np.concatenate([[-np.inf], columns[0].edges, [np.inf]])
    b = int(np.searchsorted(columns[0].edges, own, side="left"))
    return (values > edges[b]) & (values <= edges[b + 1])
