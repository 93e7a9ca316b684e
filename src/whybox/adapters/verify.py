"""Is our reading of a model right? Compare it with the model's own predict on rows made to find out (made_rows.py).

A row for every node costs little when only the node's own tree is asked about it, and predicts of some rounds are what boosting libraries offer.
Where they do, every node is tested so, and some rows more are asked of the whole model: they test what is not in one tree.
Where they do not, or the nodes are too many, rows are made for as many nodes as the time allows, and the whole model is asked about all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np

from whybox.adapters.made_rows import MOST, Domain, Maker, complete, rows_everywhere, some_rows
from whybox.frames import Floats, as_table
from whybox.kernels import trees
from whybox.models.base import Scale, Verdict
from whybox.models.compare import compare
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble

__all__ = ["Domain", "Rounds", "verified", "verified_linear"]

TOGETHER: Final = 10  # rounds that are asked about each other's rows: fewer save little, for a call has its price
WHOLE: Final = 500  # rows for the whole model, where every node has rows of its own


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
    maker = Maker(model, domain)
    every = rounds is not None and decode is None and model.n_trees > 0 and complete(model, domain)
    rows, tested, total = some_rows(maker, WHOLE if every else MOST)
    theirs = rows if decode is None else decode(rows)
    ours = rows if decode is None else model.inputs.matrix(model.inputs.align(as_table(theirs))[0])
    own = predict(theirs).reshape(len(rows), -1)
    found = [
        compare(model, trees.predict(model, ours), own, scale=scale, relative=relative, size=model.size),
    ]
    count = len(rows)
    if every and rounds is not None:
        made, tested, total = rows_everywhere(maker)
        count += made.shape[0] * made.shape[1]
        found += _by_rounds(model, made, rounds, scale, relative)
    difference, tolerance = (max(f[i] for f in found) for i in range(2))
    return replace(model, verdict=Verdict(count, tested, total, difference, tolerance, against))


def _by_rounds(
    model: TreeEnsemble, made: Floats, rounds: Rounds, scale: Scale, relative: float
) -> Iterator[tuple[float, float]]:
    """Compare a few rounds at a time on the rows of their nodes, (nodes, rows a node, columns)."""
    step = TOGETHER * rounds.trees
    for first in range(0, model.n_trees, step):
        last = min(first + step, model.n_trees)
        rows = made[model.tree_offsets[first] : model.tree_offsets[last]].reshape(-1, made.shape[2])
        own = rounds.predict(rows, first // rounds.trees, last // rounds.trees).reshape(len(rows), -1)
        some = slice(first, last)
        yield compare(
            model,
            trees.predict(model, rows, some),
            own,
            scale=scale,
            relative=relative,
            size=model.size_of(some),
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
    rows = rng.normal(size=(200, model.inputs.width)) * rng.choice([0.0, 1e-3, 1.0, 1e3], size=(200, 1))
    rows[rng.random(rows.shape) < 0.05] = np.nan
    rows = rows.astype(np.float32).astype(np.float64)
    difference, tolerance = compare(
        model, model.raw(rows), predict(rows), scale="raw", relative=relative, size=model.size(rows)
    )
    return replace(model, verdict=Verdict(len(rows), 0, 0, difference, tolerance, against))
