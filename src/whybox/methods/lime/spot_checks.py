"""Numbers of an answer of LIME, computed again by a second way.

The model is asked about sampled rows once more, in the user's own columns. Exact values of some rows follow from shares that are counted, masses of even draws, and a
plain reading of the trees; sampled values are added up draw by draw from the cells themselves, of a shared sample and of some rows' own draws.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from whybox.data.table import Floats
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.common.columns import Ints
from whybox.methods.common.spot_checks import SpotChecker, spot_predictions, spot_rng
from whybox.methods.common.spot_rows import RowCell, RowRecomputation, output_label
from whybox.methods.lime.additive_fit import additive_basis, fit_additive
from whybox.methods.lime.design import LocalDesign
from whybox.methods.lime.exact import ExactLaws
from whybox.methods.lime.local_model import LocalModel
from whybox.methods.lime.problem import LimeProblem
from whybox.methods.lime.sample import Sample
from whybox.methods.lime.shared_sample import SharedSample
from whybox.methods.lime.spot_exact import ExactChecks
from whybox.methods.lime.spot_narrow import check_own_draws
from whybox.methods.lime.spot_pieces import OwnCells, RowsInside

__all__ = ["check_exact", "check_sampled", "rows_of_own_draws"]

MIN_VALUES: Final = 48  # a fault in a tenth of all values escapes 48 in 0.6 % of cases
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
    ExactChecks(design, model, _some_rows(design, np.arange(len(problem.rows)), rng), exact, checker).run()
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
    if sample is not None and sample.samples:
        _check_outputs(problem, sample, checker, rng)
        rows = _some_rows(design, np.flatnonzero(model.near), rng)
        _check_coefficients(design, model, sample, rows, checker)
    check_own_draws(design, model.found, model.narrow, checker, rng)
    return checker.result


def rows_of_own_draws(design: LocalDesign, narrow: Ints, call: int) -> Ints:
    """Choose among rows with draws of their own those that are checked; the argument `call` is as of :func:`check_exact`."""
    options = design.problem.options
    if options.spot_checks == 0:
        return narrow[:0]
    return _some_rows(design, narrow, spot_rng(options.seed, call, 1))


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


def _some_rows(design: LocalDesign, rows: Ints, rng: np.random.Generator) -> Ints:
    """Draw so many of `rows` that they have enough values to find a fault in a tenth of all."""
    count = max(1, design.problem.first.shape[1])
    return np.sort(rng.choice(rows, min(len(rows), -(-MIN_VALUES // count)), replace=False))


def _check_coefficients(
    design: LocalDesign, model: LocalModel, sample: SharedSample, rows: Ints, checker: SpotChecker
) -> None:
    """Add up the coefficients of some rows from the cells of the sample: where each lies, what it weighs, what the additive fit leaves."""
    problem = design.problem
    own = OwnCells(problem)
    inside = [RowsInside(problem, s.table, s.pieces, own) for s in sample.samples]
    outputs = np.concatenate(sample.outputs)
    joined = Sample(
        np.concatenate([s.pieces for s in sample.samples]),
        np.concatenate([s.values for s in sample.samples]),
        sample.samples[0].table,
    )
    places = np.concatenate([design.places(s) for s in sample.samples])
    basis = additive_basis(problem.distributions)
    known = np.zeros((*problem.first.shape, outputs.shape[1]))
    if basis.is_fitted_to(len(outputs)):
        fit = fit_additive(basis, joined, places, outputs)
        outputs = fit.rest(joined, places, outputs)
        known = fit.coefficients(design)[0]
    else:
        outputs = outputs - outputs[: len(sample.outputs[0])].mean(axis=0)
    for row in rows.tolist():
        z, weights, centre, variance = _design_by_cells(design, row, inside, places)
        vary = (variance > 0) & ~problem.is_unseen[row]
        scale = np.where(vary, variance, 1.0)[:, None]
        theirs = known[row] + ((z - centre).T @ (weights[:, None] * outputs)) / len(outputs) / scale
        size = float(np.abs(outputs).max(initial=0.0)) + float(np.abs(theirs[vary]).max(initial=0.0))
        names = [problem.distributions[p].name for p in np.flatnonzero(vary)]
        checker.compare(
            model.found.values[row, vary],
            theirs[vary],
            ROUNDING * size * (1.0 + weights.max()) / scale[vary] + 1e-300,
            way="by adding up values draw by draw from the cells themselves",
            where=partial(_label, problem, row, names),
        )


def _label(problem: LimeProblem, row: int, names: list[str], at: tuple[int, ...]) -> list[tuple[str, object]]:
    return [("row", row), ("feature", names[at[0]]), *output_label(problem.selection, at[1])]


def _design_by_cells(
    design: LocalDesign, row: int, inside: list[RowsInside], places: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """The design of one row at every draw and the weight of every draw; mean and variance of each of its columns."""
    problem, scaled = design.problem, design.is_scaled
    w2, own = problem.width**2, design.own_place[row]
    z = places.copy()
    for p in np.flatnonzero(~scaled).tolist():
        z[:, p] = np.concatenate([of.of(row, p) for of in inside])
    share, other = problem.share[row], problem.other_share[row] * problem.decay
    outside = np.where(z > 0, 1.0, problem.decay)
    distance = np.exp(-0.5 * (z - own) ** 2 / w2)
    mean = np.where(scaled, np.exp(-0.5 * own**2 / (1.0 + w2)) / np.sqrt(1.0 + 1.0 / w2), share + other)
    weights = (np.where(scaled, distance, outside) / mean).prod(axis=1)
    q = share / (share + other)
    centre = np.where(scaled, own / (1.0 + w2), q)
    variance = np.where(scaled, w2 / (1.0 + w2), q * other / (share + other))
    return z, weights, centre, variance
