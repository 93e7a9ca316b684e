"""Is our reading of a model right? Compare it with the model's own predict on rows made to find out (probe_rows.py).

A row for every node costs little when only the node's own tree is asked about it, and predicts of some rounds are what boosting libraries offer.
Where they do, every node is tested so, and some rows more are asked of the whole model: they test what is not in one tree.
Where they do not, or the nodes are too many, rows are made for as many nodes as the time allows, and the whole model is asked about all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.adapters.verification.probe_rows import (
    MAX_PROBE_ROWS,
    MIN_PROBE_ROWS,
    Domain,
    ProbeRowMaker,
    complete,
    rows_everywhere,
    some_rows,
)
from whybox.data.sparse_rows import from_dense
from whybox.data.table import Floats, as_table
from whybox.kernels import tree_shap
from whybox.models.agreement import compare_predictions
from whybox.models.base import Scale, Verdict
from whybox.models.columns_read import columns_read, narrow_to_columns_read
from whybox.models.linear import Linear
from whybox.models.mixed_rows import random_masks
from whybox.models.trees import TreeEnsemble

__all__ = ["Domain", "Rounds", "verified", "verified_linear"]

ROUNDS_TOGETHER: Final = (
    10  # rounds that are asked about each other's rows: fewer save little, for a call has its price
)
WHOLE_MODEL_ROWS: Final = 500  # rows for the whole model, where every node has rows of its own
MIXED: Final = 64  # rows that are mixed of two of them
WIDE: Final = 2048  # columns; of wider models, rows have the columns that are read alone, until a predict is asked
CELLS: Final = 2**22  # of dense rows that are asked about at a time


@final
@dataclass(frozen=True)
class Rounds:
    """The library's own predict of some boosting rounds.

    Attributes:
        predict: rows, first round, round after the last -> (rows, outputs), on the scale of the whole predict and with its base values.
        trees: trees a round.
    """

    predict: Callable[[Floats, int, int], Floats]
    trees: int


def verified(
    model: TreeEnsemble,
    predict: Callable[[Any], Floats],
    *,
    scale: Scale,
    relative: float,
    domain: Domain,
    against: str,
    decode: Callable[[Floats], Any] | None = None,
    rounds: Rounds | None = None,
) -> TreeEnsemble:
    """Return the model with the verdict of its comparison with the library's own predict.

    Args:
        predict: rows as the library takes them -> (rows, outputs).
        decode: model matrix -> such rows, where they differ (categories); the encoder is then tested along with the trees.
        rounds: the same predict, of some rounds at a time; None: the library offers none.

    Raises:
        ModelMismatchError: they differ by more than rounding.
    """
    if decode is None and model.inputs.width > WIDE:
        columns = columns_read(model)
        wide = _Wide(columns, model.inputs.width, domain.sparse)
        known = {
            i: (domain.categories or {})[int(c)] for i, c in enumerate(columns) if int(c) in (domain.categories or {})
        }
        checked = _checked(
            narrowed_trees(model),
            wide.asking(predict),
            scale,
            relative,
            replace(domain, categories=known),
            None,
            None if rounds is None else replace(rounds, predict=wide.by_rounds(rounds.predict)),
        )
    else:
        checked = _checked(model, predict, scale, relative, domain, decode, rounds)
    return replace(model, verdict=replace(checked, against=against))


def narrowed_trees(model: TreeEnsemble) -> TreeEnsemble:
    """As `narrowed`."""
    found = narrow_to_columns_read(model)
    assert isinstance(found, TreeEnsemble)  # noqa: S101  # the same kind of model comes back
    return found


def _checked(
    model: TreeEnsemble,
    predict: Callable[[Any], Floats],
    scale: Scale,
    relative: float,
    domain: Domain,
    decode: Callable[[Floats], Any] | None,
    rounds: Rounds | None,
) -> Verdict:
    maker = ProbeRowMaker(model, domain)
    every = rounds is not None and decode is None and model.n_trees > 0 and complete(model, domain)
    wide = len(model.inputs.names)
    if decode is not None:  # which makes whole rows
        most = int(np.clip(2 * CELLS // wide, 60, MAX_PROBE_ROWS))
    else:
        most = (
            MAX_PROBE_ROWS
            if wide <= WIDE
            else int(np.clip(2 * CELLS // model.inputs.width, MIN_PROBE_ROWS, MAX_PROBE_ROWS))
        )
    rows, tested, total = some_rows(maker, WHOLE_MODEL_ROWS if every else most)
    mixed = _mixed(rows, maker.rng)
    made = np.concatenate([rows, mixed])
    theirs = made if decode is None else decode(made)
    ours = made if decode is None else model.inputs.matrix(model.inputs.align(as_table(theirs))[0])
    own = predict(theirs).reshape(len(made), -1)

    def what(i: int) -> str:
        return f"made row {i:,} of {len(made):,}{', which mixes two others' if i >= len(rows) else ''}"

    found = [
        compare_predictions(
            model,
            tree_shap.predict(model, ours),
            own,
            scale=scale,
            relative=relative,
            rounding_scale=model.rounding_scale,
            what=what,
        )
    ]
    count = len(made)
    if every and rounds is not None:
        made, tested, total = rows_everywhere(maker)
        count += made.shape[0] * made.shape[1]
        found += _by_rounds(model, made, rounds, scale, relative)
    difference, tolerance = (max(f[i] for f in found) for i in range(2))
    return Verdict(count, tested, total, difference, tolerance, mixed=len(mixed))


def _mixed(rows: Floats, rng: np.random.Generator) -> Floats:
    """Rows that take some of their columns from one of the rows made and the others from another."""
    if len(rows) < 2 or rows.shape[1] < 2:
        return rows[:0]
    taken = random_masks(MIXED, rows.shape[1], rng)
    one, two = rng.integers(0, len(rows), (2, MIXED))
    return np.asarray(np.where(taken, rows[two], rows[one]))


@final
@dataclass(frozen=True)
class _Wide:
    """Rows of the columns that are read alone, made whole for a predict: sparse where it takes that, else some at a time."""

    columns: npt.NDArray[np.int64]
    width: int
    sparse: bool

    def ask(self, predict: Callable[..., Floats], rows: Floats, *more: int) -> Floats:
        """Return the answers to these rows."""
        if self.sparse:
            return predict(from_dense(rows, columns=self.columns, width=self.width), *more)
        step = max(1, CELLS // self.width)
        said = [predict(self._whole(rows[i : i + step]), *more) for i in range(0, len(rows), step)]
        return np.asarray(np.concatenate(said), dtype=np.float64)

    def _whole(self, rows: Floats) -> Floats:
        out = np.zeros((len(rows), self.width))
        out[:, self.columns] = rows
        return out

    def asking(self, predict: Callable[[Any], Floats]) -> Callable[[Any], Floats]:
        """Return the predict, for such rows."""
        return lambda rows: self.ask(predict, rows)

    def by_rounds(self, predict: Callable[[Floats, int, int], Floats]) -> Callable[[Floats, int, int], Floats]:
        """Return the predict of some rounds, for such rows."""
        return lambda rows, first, last: self.ask(predict, rows, first, last)


def _by_rounds(
    model: TreeEnsemble, made: Floats, rounds: Rounds, scale: Scale, relative: float
) -> Iterator[tuple[float, float]]:
    """Compare a few rounds at a time on the rows of their nodes, (nodes, rows a node, columns)."""
    step = ROUNDS_TOGETHER * rounds.trees
    for first in range(0, model.n_trees, step):
        last = min(first + step, model.n_trees)
        rows = made[model.tree_offsets[first] : model.tree_offsets[last]].reshape(-1, made.shape[2])
        own = rounds.predict(rows, first // rounds.trees, last // rounds.trees).reshape(len(rows), -1)
        some = slice(first, last)
        yield compare_predictions(
            model,
            tree_shap.predict(model, rows, some),
            own,
            scale=scale,
            relative=relative,
            rounding_scale=model.rounding_scale_of(some),
            what=f"row for trees {first} to {last - 1},",
        )


def verified_linear(
    model: Linear, predict: Callable[[Any], Floats], *, relative: float, against: str, seed: int = 0
) -> Linear:
    """As `verified`, for a linear model's margins: zeros, made rows, missing values.

    Raises:
        ModelMismatchError: they differ by more than rounding.
    """
    rng = np.random.default_rng(seed)
    count = int(np.clip(CELLS // model.inputs.width, 20, 200))
    rows = rng.normal(size=(count, model.inputs.width)) * rng.choice([0.0, 1e-3, 1.0, 1e3], size=(count, 1))
    rows[rng.random(rows.shape) < 0.05] = np.nan
    rows = rows.astype(np.float32).astype(np.float64)
    mixed = _mixed(rows, rng)[:count]
    rows = np.concatenate([rows, mixed])
    difference, tolerance = compare_predictions(
        model, model.raw(rows), predict(rows), scale="raw", relative=relative, rounding_scale=model.rounding_scale(rows)
    )
    return replace(model, verdict=Verdict(len(rows), 0, 0, difference, tolerance, against, len(mixed)))
