"""Which model columns are made of some of the user's columns, and whether of these alone."""

from __future__ import annotations

from collections.abc import Sequence

from whybox.models.base import Model

__all__ = ["model_columns", "reason_columns_mix"]


def model_columns(model: Model, members: Sequence[int]) -> tuple[int, ...]:
    """Return the model columns that are made of these of the user's columns."""
    taken = set(members)
    return tuple(i for i, s in enumerate(model.inputs.source_columns) if s and set(s) <= taken)


def reason_columns_mix(model: Model, members: Sequence[int], reader: str) -> str | None:
    """Return in words that the model mixes these of the user's columns with others; None if not.

    Args:
        reader: what reads the model columns: "its trees".
    """
    taken = set(members)
    mixed = [s for s in model.inputs.source_columns if taken & set(s) and not set(s) <= taken]
    if not mixed:
        return None
    names = sorted({model.inputs.names[i] for s in mixed for i in s if i not in taken})
    listed = f"{', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
    if model.inputs.undeclared_steps:
        return f"{', '.join(model.inputs.undeclared_steps)} may mix this column with {listed} before {reader} read it"
    return f"the model mixes this column with {listed} before {reader} read it"
