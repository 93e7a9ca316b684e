"""Cells that the background never has: the mean with the row's own cell less the mean with cells of the background, over the row's weighted sample."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.lime.design import LocalDesign
from whybox.methods.lime.shared_sample import REPLICATES, SharedSample, finite_outputs

__all__ = ["MAX_DRAWS", "add_unseen_values"]

MAX_DRAWS: Final = 64  # of each scrambling, for each such cell


def add_unseen_values(
    design: LocalDesign, sample: SharedSample, near: npt.NDArray[np.bool_], values: Floats, errors: Floats
) -> None:
    """Write the values of cells that the background never has, and their errors, into (rows, players, outputs).

    The cell is put into the rows that were drawn first, once, and the difference of the outputs is averaged: two predictions that share all other cells.

    Raises:
        LimitError: more predictions than allowed. NonFiniteError: an output is NaN.
    """
    problem = design.problem
    rows, players = np.nonzero(problem.is_unseen & near[:, None])
    if not len(rows):
        return
    first, outputs = sample.samples[0], sample.outputs[0]
    draws = len(first) // REPLICATES
    used = min(draws, MAX_DRAWS)
    at = (np.arange(REPLICATES)[:, None] * draws + np.arange(used)).reshape(-1)
    if sample.unseen_outputs is None:
        sample.unseen_outputs = _evaluate(design, sample, rows, players, at)
    changed = sample.unseen_outputs.reshape(len(rows), REPLICATES, used, -1)
    before = outputs[at].reshape(REPLICATES, used, -1)
    places = design.places(first) if design.is_scaled.any() else None
    weights: dict[int, Floats] = {}
    for k, (row, player) in enumerate(zip(rows.tolist(), players.tolist(), strict=True)):
        if row not in weights:
            weights[row] = design.of_row(row, first, places)[1][at].reshape(REPLICATES, used, 1)
        means = (weights[row] * (changed[k] - before)).sum(axis=1) / weights[row].sum(axis=1)
        values[row, player] = means.mean(axis=0)
        errors[row, player] = means.std(axis=0, ddof=1) / np.sqrt(REPLICATES)


def _evaluate(design: LocalDesign, sample: SharedSample, rows: Ints, players: Ints, at: Ints) -> Floats:
    """Return the outputs of draws, at positions `at`, with the cells of players of some rows, (rows * draws, outputs)."""
    problem = design.problem
    kinds, pattern = np.unique(players, return_inverse=True)
    patterns = [problem.distributions[p].columns for p in kinds]
    positions = np.tile(at, len(rows))
    donors, which = np.repeat(rows, len(at)), np.repeat(pattern.reshape(-1), len(at))
    hybrids, each = sample.evaluator.evaluate_hybrids(
        sample.samples[0].table,
        problem.rows,
        positions,
        donors,
        which,
        patterns,
        what="LIME, cells that are not in the background",
    )
    return finite_outputs(each)[hybrids]
