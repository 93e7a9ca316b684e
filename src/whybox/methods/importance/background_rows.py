"""The rows that absent features take their values from: the caller's, or a sample of the rows themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np

from whybox.background.marginal import make_background_table, normalized_weights
from whybox.data.table import Floats, Table
from whybox.errors import Argument, OptionError
from whybox.methods.common.columns import Ints
from whybox.methods.importance.loss_problem import LossProblem
from whybox.models.blackbox import BlackBox
from whybox.models.mixed_rows import check_same_kind
from whybox.models.prepare_rows import prepare_rows

__all__ = ["BackgroundRows", "given_background", "sampled_background"]

_STREAM: Final = 0x5A6E


@final
@dataclass(frozen=True, eq=False)
class BackgroundRows:
    """Rows of a table aligned with the model, and their weights, which sum to one.

    Attributes:
        note: where they come from. n_compared: how many were compared with the model's own predict.
        positions: where they are in the rows, if they are some of these; else None.
    """

    table: Table
    weights: Floats
    note: str
    n_compared: int = 0
    positions: Ints | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table)


def given_background(problem: LossProblem, *, check: bool = True) -> BackgroundRows | None:
    """Return the background that the caller gave; None: none was given.

    Args:
        problem: with the model, the rows and the options. check: False where there is only a plan to make, and nothing is compared yet.

    Raises:
        OptionError: weights without a background. InputError, ColumnsError, DtypeError: rows or weights that do not fit the model or the rows. ModelMismatchError: our
            reading of a background row is not the model's own predict of it.
    """
    options, model = problem.options, problem.model
    if options.background is None:
        if options.background_weight is not None:
            raise OptionError(
                Argument("background_weight"), " weighs the rows of ", Argument("background"), "; pass those too."
            )
        return None
    if check:
        made = make_background_table(model, options.background, options.background_weight)
        table, weights, prepared, count = made.table, made.weights, made.prepared_rows, made.rows_given
    else:
        prepared = prepare_rows(model, options.background, what="the background")
        count = len(prepared.table)
        weights = normalized_weights(options.background_weight, count, "background_weight", "background row")
        table, weights = prepared.table.rows(weights > 0), weights[weights > 0]
    problem.prepared_rows.check_agreement(prepared)
    check_same_kind(problem.table, table, elementwise=model.inputs.encoder.is_elementwise)
    compared = 0 if isinstance(model, BlackBox) or model.own_predict is None else count
    return BackgroundRows(
        table, weights, f"Absent features come from the {len(table):,} background rows given.", compared
    )


def sampled_background(problem: LossProblem, n_rows: int) -> BackgroundRows:
    """Return some of the rows of positive weight, drawn by the seed; all of them where there are no more."""
    kept = np.flatnonzero(problem.weights > 0)
    some = kept
    if n_rows < len(kept):
        rng = np.random.default_rng([problem.options.seed % 2**63, _STREAM])
        some = np.sort(rng.permutation(kept)[:n_rows])
    weights = problem.weights[some]
    which = f"{len(some):,} of the rows, drawn by the seed" if len(some) < len(kept) else "the rows themselves"
    return BackgroundRows(
        problem.table.rows(some), weights / weights.sum(), f"Absent features come from {which}.", 0, some
    )
