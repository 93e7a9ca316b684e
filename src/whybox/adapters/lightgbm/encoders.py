"""LightGBM's encoders: which columns are categorical, and how their categories become codes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from whybox.data.table import Floats, Table
from whybox.errors import DtypeError, ModelFileError, quoted_list
from whybox.models.categories import Vocabulary
from whybox.models.inputs import Encoder, NumberEncoder

__all__ = ["EncoderByDtype", "encoder_from_text", "encoder_of_estimator"]


def encoder_from_text(tail: str) -> Encoder:
    """Return the encoder that the parameters and the last line of a text model describe.

    Raises:
        ModelFileError: the list of categories is damaged.
    """
    match = re.search(r"^pandas_categorical:(.*)$", tail, flags=re.MULTILINE)
    category_lists: list[Any] = []
    if match and match.group(1).strip() not in ("null", ""):
        try:
            category_lists = json.loads(match.group(1))
        except (ValueError, RecursionError):
            raise ModelFileError(
                "the model's last line (pandas_categorical) is not valid JSON; it is truncated or edited."
            ) from None
    if not isinstance(category_lists, list) or not all(
        isinstance(v, list) and all(isinstance(c, (str, int, float, bool)) for c in v) for v in category_lists
    ):
        raise ModelFileError("the model's last line (pandas_categorical) is not a list of categories a column.")
    number_encoder = NumberEncoder("LightGBM", unseen_code=float("nan"), array_codes=True, float32_kinds="fiubO")
    if not category_lists:
        return number_encoder
    listed = re.search(r"^\[categorical_feature: ([\d,]*)\]$", tail, flags=re.MULTILINE)
    columns = sorted(int(c) for c in listed.group(1).split(",") if c) if listed else []
    if len(columns) == len(category_lists):
        return replace(number_encoder, categories={c: tuple(v) for c, v in zip(columns, category_lists, strict=True)})
    return EncoderByDtype(number_encoder, tuple(tuple(v) for v in category_lists))


@final
@dataclass(frozen=True)
class EncoderByDtype(Encoder):
    """Assigns categories to the columns that are not numbers in their order, as LightGBM does for pandas frames."""

    number_encoder: NumberEncoder
    category_lists: tuple[tuple[Any, ...], ...]

    @property
    def is_elementwise(self) -> bool:
        """True: columns are read one to one."""
        return True

    def __call__(self, table: Table) -> Floats:
        """Return the matrix of an aligned table."""
        if isinstance(table.native, np.ndarray) or table.is_matrix:
            return self.number_encoder(table)
        positions = self._categorical_positions(table)
        if len(positions) != len(self.category_lists):
            raise DtypeError(
                f"the model was trained with {len(self.category_lists)} columns of categorical dtype, these rows have {len(positions)} "
                f"({quoted_list([table.names[i] for i in positions])}). "
                "Give the columns the dtypes they had in training."
            )
        return replace(self.number_encoder, categories=dict(zip(positions, self.category_lists, strict=True)))(table)

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories of training, if the rows show which columns they belong to."""
        if table is None or isinstance(table.native, np.ndarray):
            return {}
        positions = self._categorical_positions(table)
        return (
            {i: Vocabulary(v) for i, v in zip(positions, self.category_lists, strict=True)}
            if len(positions) == len(self.category_lists)
            else {}
        )

    @staticmethod
    def _categorical_positions(table: Table) -> list[int]:
        return [i for i in range(table.width) if table.column(i).kind not in ("number", "boolean")]


def encoder_of_estimator(encoder: Encoder) -> Encoder:
    """Return the encoder for the scikit-learn interface, which converts object arrays to float64 before LightGBM reads them."""
    if isinstance(encoder, EncoderByDtype):
        return replace(encoder, number_encoder=replace(encoder.number_encoder, float32_kinds="fiub"))
    return replace(encoder, float32_kinds="fiub") if isinstance(encoder, NumberEncoder) else encoder
