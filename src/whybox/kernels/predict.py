"""Outputs of our reading of a model for encoded rows, compared with the model's own predict."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from whybox.data.table import Floats, Table
from whybox.errors import NonFiniteError, UnsupportedModelError, quoted_list
from whybox.kernels.tree_shap import predict
from whybox.models.additive import Additive
from whybox.models.agreement import call_own_predict, compare_predictions
from whybox.models.base import Model, OwnPredict
from whybox.models.linear import Linear
from whybox.models.mixed_rows import MixedRows, RowSample, mix_rows, sample_rows
from whybox.models.trees import TreeEnsemble

__all__ = [
    "compare_mixed_rows",
    "compare_outputs",
    "compare_with_own_predict",
    "draw_mixed_rows",
    "mismatch_advice",
    "raw_outputs",
    "rounding_scale",
    "sample_encoded_rows",
]


def raw_outputs(model: Model, X: Floats) -> Floats:
    """Raw outputs of encoded rows, (rows, outputs).

    Raises:
        UnsupportedModelError: the model is not one that is read.
    """
    return model.raw_outputs(X) if isinstance(model, Linear | Additive) else predict(_require_ensemble(model), X)


def rounding_scale(model: Model, X: Floats) -> Floats:
    """How large the summands can be, (outputs,) or (rows, outputs): the yardstick for rounding.

    Raises:
        UnsupportedModelError: as `raw`.
    """
    return model.rounding_scale(X) if isinstance(model, Linear | Additive) else _require_ensemble(model).rounding_scale


def compare_with_own_predict(model: Model, table: Table, X: Floats, *, rows: str, row: str) -> float:
    """Compare our reading of encoded rows with the model's own predict; return the largest difference, zero where there is no own predict.

    Args:
        rows, row: what they are called in messages.

    Raises:
        ModelMismatchError: they differ by more than rounding. InputError: the library refuses the rows.
    """
    if model.own_predict is None:
        return 0.0
    theirs = call_own_predict(model.own_predict, table, what=rows)
    return compare_outputs(model, table, X, raw_outputs(model, X), theirs, row=row)


def compare_outputs(model: Model, table: Table, X: Floats, raw: Floats, theirs: Floats, *, row: str) -> float:
    """Compare our raw outputs of encoded rows with predictions of the model's own predict; return the largest difference.

    Args:
        raw, theirs: (rows, outputs). row: what a row is called in messages.

    Raises:
        ModelMismatchError: they differ by more than rounding.
    """
    own = model.own_predict
    assert own is not None  # noqa: S101  # it made the predictions
    return compare_predictions(
        model,
        raw,
        theirs,
        scale=own.scale,
        relative=own.relative_rounding,
        rounding_scale=rounding_scale(model, X),
        what=row,
        what_to_do=mismatch_advice(model, table),
    )[0]


def sample_encoded_rows(model: Model, table: Table, weights: Floats | None = None) -> RowSample:
    """Return some of a table's rows, those of weight zero left out, encoded; errors name rows of the whole.

    Raises:
        NonFiniteError: as of the whole table.
    """
    kept = np.arange(len(table)) if weights is None else np.flatnonzero(weights > 0)
    rows, at = sample_rows(table, kept)
    try:
        return RowSample(rows, model.inputs.matrix(rows), at)
    except NonFiniteError as error:
        raise error.at_row(None if error.row is None else int(at[error.row])) from None


def draw_mixed_rows(
    model: Model, explained: RowSample, background: RowSample | None, *, n_rows: int, rng: np.random.Generator
) -> Iterator[MixedRows]:
    """Mix rows that are explained with background rows, or with each other; none where nothing can be mixed.

    Args:
        n_rows: how many mixed rows. rng: draws which rows are mixed, and which columns each takes.
    """
    inputs = model.inputs
    players = inputs.group_columns()
    if len(players) < 2 or (background is None and len(explained.row_positions) < 2):
        return
    player_of = {j: p for p, members in enumerate(players) for j in members}
    player_of_column = np.array([player_of[s[0]] if s else -1 for s in inputs.source_columns], dtype=np.int64)
    yield from mix_rows(explained, background or explained, players, player_of_column, n_rows, rng)


def compare_mixed_rows(model: Model, own: OwnPredict, mixed: MixedRows, *, donors: str) -> float:
    """Compare our reading of mixed rows with a predict; return the largest difference.

    Args:
        own: the predict. donors: what a row is called that cells were taken from: ``"the background's row"``.

    Raises:
        ModelMismatchError: they differ by more than rounding; the message names a row and both numbers.
        InputError: the library refuses mixed rows.
    """
    players = model.inputs.group_columns()

    def what(i: int) -> str:
        names = [mixed.table.names[j] for p in np.flatnonzero(mixed.from_donor[i]) for j in players[p]]
        return f"row {mixed.row_positions[i]:,} with {quoted_list(names)} of {donors} {mixed.donor_positions[i]:,}"

    return compare_predictions(
        model,
        raw_outputs(model, mixed.matrix),
        call_own_predict(own, mixed.table, what="rows that mix two of these rows"),
        scale=own.scale,
        relative=own.relative_rounding,
        rounding_scale=rounding_scale(model, mixed.matrix),
        what=what,
        what_to_do=mismatch_advice(model, mixed.table),
    )[0]


def mismatch_advice(model: Model, table: Table) -> str:
    """What to do about a reading that differs from the model's own predict."""
    hints = []
    if not model.inputs.encoder.is_elementwise:
        hints.append(
            "A step of the pipeline may read several columns together: wrap that step in a transformer class of your own, which is taken as one that mixes its columns."
        )
    if table.is_sparse:
        empty = "zero" if table.absent == 0.0 else "missing"
        hints.append(f"The rows are sparse, and an empty cell counts as {empty} here: try dense rows, X.toarray().")
    return " ".join([*hints, "Please report this model." if not hints else "If that does not help, please report it."])


def _require_ensemble(model: Model) -> TreeEnsemble:
    if not isinstance(model, TreeEnsemble):
        raise UnsupportedModelError(f"{model.kind} is not a tree ensemble.")
    return model
