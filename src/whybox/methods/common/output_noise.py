"""How much the outputs of a model that answers at random vary: some rows are evaluated several times."""

from __future__ import annotations

from typing import Final

import numpy as np

from whybox.data.cells import representative_rows
from whybox.data.table import Floats, Table
from whybox.methods.common.evaluation import HybridEvaluator

__all__ = ["noise_predictions", "noise_variance"]

NOISE_ROWS: Final = 32  # rows on which the noise is measured
NOISE_REPEATS: Final = 5  # predictions of each


def noise_predictions(rows: int) -> int:
    """Return how many predictions :func:`noise_variance` makes of so many rows and background rows together."""
    return NOISE_REPEATS * min(NOISE_ROWS, rows)


def noise_variance(evaluator: HybridEvaluator, rows: Table, background: Table) -> Floats:
    """Return the variance of single outputs, (outputs,), over repeated predictions of the same rows.

    Args:
        evaluator: makes the predictions. rows, background: tables, of which some rows are evaluated.
    """
    n_rows = min(NOISE_ROWS, len(rows))
    n_background, variances = min(NOISE_ROWS - n_rows, len(background)), []
    for table, count in ((rows, n_rows), (background, n_background)):
        if count:
            some = representative_rows(table, count)[:count]
            repeats = [evaluator.evaluate_rows(table, some, what="repeated rows") for _ in range(NOISE_REPEATS)]
            variances.append(np.var(repeats, axis=0, ddof=1))
    return np.asarray(np.concatenate(variances).mean(axis=0))
