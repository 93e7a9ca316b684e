"""Coefficients of rows with draws of their own, computed again: sides by the cells and by counted shares, outputs by the model's own predict."""

from __future__ import annotations

from typing import Final, final

import numpy as np

from whybox.data.cells import object_cells
from whybox.data.table import Floats
from whybox.methods.common.columns import feature_of
from whybox.methods.common.spot_checks import SpotChecker, spot_predictions
from whybox.methods.common.spot_rows import FeaturePoints, RowCell, RowRecomputation, output_label
from whybox.methods.lime.design import LocalDesign
from whybox.methods.lime.narrow import CONSTANT, NarrowDraws
from whybox.methods.lime.shared_sample import REPLICATES, LocalValues
from whybox.methods.lime.spot_pieces import RowsInside

__all__ = ["check_own_draws"]

ROUNDING: Final = 1e-9


def check_own_draws(
    design: LocalDesign,
    found: LocalValues,
    draws: tuple[NarrowDraws, ...],
    checker: SpotChecker,
    rng: np.random.Generator,
) -> None:
    """Check the values, errors and means of some rows that have draws of their own.

    Args:
        found: the answer. draws: of these rows.

    Raises:
        SpotCheckError: a number differs.
    """
    if not draws:
        return
    outputs = max(1, spot_predictions(design.problem.options.spot_checks) // 2 // len(draws))
    counted = RowsInside(design.problem, design.problem.neighbourhood.background.table)
    for one in draws:
        _OwnDraws(design, one, counted, checker).run(found, outputs, rng)


@final
class _OwnDraws:
    """Checks of one row; `counted` are the rows of the background."""

    def __init__(self, design: LocalDesign, draws: NarrowDraws, counted: RowsInside, checker: SpotChecker) -> None:
        self._problem, self._draws, self._counted, self._checker = design.problem, draws, counted, checker
        self._is_unseen = self._problem.is_unseen[draws.row, draws.moved]

    def run(self, found: LocalValues, outputs: int, rng: np.random.Generator) -> None:
        inside = self._sides()
        self._check_outputs(outputs, rng)
        self._check_values(found, inside)

    def _sides(self) -> Floats:
        """On which side of its border each feature of each draw lies by its cell, (draws, moved): 1 inside; compared with the law and with the partner."""
        problem, draws = self._problem, self._draws
        weights, counted = problem.neighbourhood.background.weights, self._counted
        base, partner = (RowsInside(problem, one.table, one.pieces, counted.own) for one in (draws.base, draws.partner))
        inside, other = (
            np.column_stack([of.of(draws.row, p) for p in draws.moved.tolist()]).astype(np.float64)
            for of in (base, partner)
        )
        share = np.array([weights[counted.of(draws.row, p)].sum() for p in draws.moved.tolist()])
        chance = share / (share + (1.0 - share) * np.exp(-0.5 / problem.width**2))
        u = draws.side[:, draws.moved]
        near_border = np.abs(u - chance) <= ROUNDING
        self._compare_sides(inside, np.where(near_border, inside, u < chance), "by counting the rows of the background")
        seen = ~self._is_unseen
        self._compare_sides(other[:, seen], 1.0 - inside[:, seen], "by the cells on the other side of the border")
        return inside

    def _compare_sides(self, ours: Floats, theirs: Floats, way: str) -> None:
        row = self._draws.row
        self._checker.compare(ours, theirs, 0.0, way=way, where=lambda at: [("row", row), ("draw", at[0])])

    def _check_outputs(self, count: int, rng: np.random.Generator) -> None:
        """Ask the model about some of the draws again, some of them with a feature set to the cell of its partner."""
        draws, problem = self._draws, self._problem
        pattern = rng.integers(0, len(draws.outputs), count)
        draw = rng.integers(0, len(draws.base), count)
        points = {k: self._points(int(draws.moved[k - 1])) for k in set(pattern.tolist()) if k}
        cells = [
            RowCell(d, points[k], d) if k else RowCell(d) for k, d in zip(pattern.tolist(), draw.tolist(), strict=True)
        ]
        ask = RowRecomputation(problem.model, draws.base.table, problem.selection, self._checker)
        again, allowed = ask(cells)
        self._checker.compare(
            draws.outputs[pattern, draw],
            again,
            allowed,
            way="by asking the model about sampled rows once more",
            where=lambda at: [("row", draws.row), ("draw", int(draw[at[0]])), *output_label(problem.selection, at[1])],
        )

    def _points(self, player: int) -> FeaturePoints:
        """The cells of the partner; of a cell that the background never has, the row's own."""
        problem, draws = self._problem, self._draws
        columns, table = problem.distributions[player].columns, draws.partner.table
        if problem.is_unseen[draws.row, player]:
            table = problem.rows.rows(np.full(len(table), draws.row))
        features = tuple(feature_of(table, c) for c in columns)
        return FeaturePoints(features, table, tuple(object_cells(table, c) for c in columns))

    def _check_values(self, found: LocalValues, inside: Floats) -> None:
        """Mean differences between the sides, with their errors, and the mean output."""
        draws, row = self._draws, self._draws.row
        base = draws.outputs[0]
        sign = np.where(inside > 0, 1.0, -1.0).T[:, :, None]
        differences = sign * (base - draws.outputs[1:])
        blocks = np.array(np.split(differences, REPLICATES, axis=1)).mean(axis=2)
        theirs = np.zeros((2, *found.values.shape[1:]))
        theirs[0, draws.moved] = differences.mean(axis=1)
        rare = np.abs(differences).max(axis=(0, 1), initial=0.0) / len(base)
        error = np.sqrt(blocks.var(axis=0) / (REPLICATES - 1))
        theirs[1, draws.moved] = np.where(error <= CONSTANT * rare, rare, error)
        assert found.std_error is not None  # noqa: S101  # sampled
        allowed = ROUNDING * np.abs(draws.outputs).max(axis=(0, 1), initial=0.0) + 1e-300
        names = [d.name for d in self._problem.distributions]
        self._checker.compare(
            np.stack([found.values[row], found.std_error[row]]),
            theirs,
            allowed,
            way="by adding up values draw by draw from the cells themselves",
            where=lambda at: [
                ("row", row),
                ("feature", names[at[1]]),
                *output_label(self._problem.selection, at[2]),
                ("number", ("value", "standard error")[at[0]]),
            ],
        )
        self._checker.compare(
            found.mean[row],
            base.mean(axis=0),
            allowed,
            way="by adding up values draw by draw from the cells themselves",
            where=lambda at: [("row", row), *output_label(self._problem.selection, at[0])],
        )
