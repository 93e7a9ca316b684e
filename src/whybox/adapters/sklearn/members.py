"""The members of an ensemble of models: which columns each reads, and one set of inputs for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, final

import numpy as np

from whybox.adapters.sklearn.assemble import RELATIVE_ROUNDING
from whybox.data.table import Floats, Table
from whybox.models.base import Model, Verdict
from whybox.models.categories import Vocabulary
from whybox.models.inputs import Encoder, Inputs, NumberEncoder

__all__ = ["EnsembleMember", "joined_inputs", "joined_verdict", "members_rounding"]

_ModelT = TypeVar("_ModelT", bound=Model)


@final
@dataclass(frozen=True)
class EnsembleMember(Generic[_ModelT]):
    """A model of an ensemble.

    Attributes:
        model: as read, verified. weight: of its outputs in a sum.
        columns: its columns among all; None: all of them. classes: positions of its classes among all; None: it is no classifier.
    """

    model: _ModelT
    weight: float
    columns: tuple[int, ...] | None
    classes: np.ndarray[Any, np.dtype[np.int64]] | None


def joined_verdict(parts: Sequence[EnsembleMember[Any]]) -> Verdict:
    """Return what the verdicts of all members say together."""
    verdicts = [p.model.verdict for p in parts]
    return Verdict(
        sum(v.rows for v in verdicts),
        sum(v.thresholds for v in verdicts),
        sum(v.thresholds_total for v in verdicts),
        max(v.difference for v in verdicts),
        max(v.tolerance for v in verdicts),
        f"each member: {verdicts[0].against}",
        sum(v.mixed for v in verdicts),
    )


def members_rounding(parts: Sequence[EnsembleMember[Any]]) -> float:
    """Relative rounding of the members' own sums."""
    return max(
        (p.model.own_predict.relative_rounding for p in parts if p.model.own_predict is not None),
        default=RELATIVE_ROUNDING,
    )


def joined_inputs(estimator: Any, parts: Sequence[EnsembleMember[Any]], width: int) -> tuple[Inputs, list[Any]]:
    """One set of inputs for all members; for each member, its columns among the joined model's."""
    first = parts[0].model.inputs
    all_columns = all(part.columns is None for part in parts)
    named, names = all_columns and first.has_names, first.names if all_columns else tuple(f"x{i}" for i in range(width))
    if hasattr(estimator, "feature_names_in_"):
        named, names = True, tuple(map(str, estimator.feature_names_in_))
    blank_replacement = (
        first.blank_replacement if len({part.model.inputs.blank_replacement for part in parts}) == 1 else None
    )
    encoders = [part.model.inputs.encoder for part in parts]
    common_encoder = _common_encoder(encoders, type(estimator).__name__)
    if common_encoder is not None:
        inputs = Inputs(names, named, common_encoder, tuple((i,) for i in range(width)), blank_replacement)
        return inputs, [np.arange(width) if part.columns is None else np.asarray(part.columns) for part in parts]
    sources: list[tuple[int, ...]] = []
    column_maps = []
    for part in parts:
        member_columns = tuple(range(width)) if part.columns is None else part.columns
        column_maps.append(np.arange(part.model.inputs.width) + len(sources))
        sources += [tuple(member_columns[s] for s in source) for source in part.model.inputs.source_columns]
    return Inputs(
        names,
        named,
        _ConcatenatedEncoder(
            tuple((part.columns or tuple(range(width)), e) for part, e in zip(parts, encoders, strict=True))
        ),
        tuple(sources),
        blank_replacement,
        undeclared_steps=tuple(dict.fromkeys(name for part in parts for name in part.model.inputs.undeclared_steps)),
    ), column_maps


def _common_encoder(encoders: Sequence[Encoder], library: str) -> NumberEncoder | None:
    """Return one encoder of plain numbers that replaces all these, or None if they read differently."""
    number_encoders = [encoder for encoder in encoders if isinstance(encoder, NumberEncoder) and not encoder.categories]
    if len(number_encoders) < len(encoders):
        return None
    rounds_to_float32 = {encoder.float32 for encoder in number_encoders}
    # Trees of libraries that round to float32 say so at their splits; a value that means missing is compared after rounding.
    if len(
        {(repr(encoder.missing_value), encoder.float32_kinds, repr(encoder.absent)) for encoder in number_encoders}
    ) > 1 or (len(rounds_to_float32) > 1 and not np.isnan(number_encoders[0].missing_value)):
        return None
    return replace(
        number_encoders[0],
        library=library,
        float32=all(rounds_to_float32),
        allow_nan=all(encoder.allow_nan for encoder in number_encoders),
        allow_infinite=all(encoder.allow_infinite for encoder in number_encoders),
        sparse_nan=all(encoder.sparse_nan for encoder in number_encoders),
    )


@final
@dataclass(frozen=True)
class _ConcatenatedEncoder(Encoder):
    """Concatenates the members' matrices."""

    members: tuple[tuple[tuple[int, ...], Encoder], ...]

    @property
    def is_elementwise(self) -> bool:
        """Whether every member reads column by column."""
        return all(e.is_elementwise for _, e in self.members)

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories that every member with that column has learned."""
        by_column: dict[int, Vocabulary] = {}
        for columns, encoder in self.members:
            for position, vocabulary in encoder.learned_categories(
                None if table is None else table.select(columns)
            ).items():
                known = by_column.get(columns[position])
                merged = (
                    vocabulary
                    if known is None or known.categories is None or vocabulary.categories is None
                    else known.intersection(vocabulary)
                )
                by_column[columns[position]] = merged
        return by_column

    def __call__(self, table: Table) -> Floats:
        return np.column_stack([encoder(table.select(columns)) for columns, encoder in self.members])
