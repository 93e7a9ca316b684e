"""What our reading of a model puts out for encoded rows, and whether the model's own predict says the same."""

from __future__ import annotations

from whybox.errors import UnsupportedModelError
from whybox.frames import Floats, Table
from whybox.kernels.trees import predict
from whybox.models.base import Model
from whybox.models.compare import ask, compare
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble

__all__ = ["agreement", "raw", "size"]


def raw(model: Model, X: Floats) -> Floats:
    """Raw outputs of encoded rows, (rows, outputs).

    Raises:
        UnsupportedModelError: the model is not one that is read.
    """
    return model.raw(X) if isinstance(model, Linear) else predict(_forest(model), X)


def size(model: Model, X: Floats) -> Floats:
    """How large the summands can be, (outputs,) or (rows, outputs): the yardstick for rounding.

    Raises:
        UnsupportedModelError: as `raw`.
    """
    return model.size(X) if isinstance(model, Linear) else _forest(model).size


def agreement(model: Model, table: Table, X: Floats, *, rows: str, row: str) -> float:
    """Hold our reading of encoded rows against the model's own predict; return the largest difference, zero where there is no own predict.

    Args:
        rows, row: what they are called in messages.

    Raises:
        ModelMismatchError: they differ by more than rounding. InputError: the library refuses the rows.
    """
    own = model.own
    if own is None:
        return 0.0
    theirs = ask(own, table, what=rows)
    return compare(model, raw(model, X), theirs, scale=own.scale, relative=own.relative, size=size(model, X), what=row)[
        0
    ]


def _forest(model: Model) -> TreeEnsemble:
    if not isinstance(model, TreeEnsemble):
        raise UnsupportedModelError(f"{model.kind} is not a tree ensemble.")
    return model
