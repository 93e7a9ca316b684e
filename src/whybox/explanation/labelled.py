"""What the rooms beside the result type read of a result: they know this, and not the type, so that imports point one way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt  # noqa: TC002  # as elsewhere

from whybox.data.table import Floats, Table
from whybox.explanation.curve_functions import CurveFunction
from whybox.explanation.evidence import Evidence

__all__ = ["Labelled"]


class Labelled(Protocol):
    """Numbers with named axes: the attributes of whybox.Explanation that need nothing but its fields."""

    @property
    def kind(self) -> str: ...  # noqa: D102  # see Explanation, here and below
    @property
    def values(self) -> Floats: ...  # noqa: D102
    @property
    def dims(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def coords(self) -> Mapping[str, npt.NDArray[Any]]: ...  # noqa: D102
    @property
    def base(self) -> Floats: ...  # noqa: D102
    @property
    def units(self) -> str: ...  # noqa: D102
    @property
    def evidence(self) -> Evidence: ...  # noqa: D102
    @property
    def prediction(self) -> Floats | None: ...  # noqa: D102
    @property
    def std_error(self) -> Floats | None: ...  # noqa: D102
    @property
    def data(self) -> Table | None: ...  # noqa: D102
    @property
    def players(self) -> Mapping[str, tuple[str, ...]]: ...  # noqa: D102
    @property
    def extras(self) -> Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]]: ...  # noqa: D102
    @property
    def again(self) -> CurveFunction | None: ...  # noqa: D102
    @property
    def library(self) -> str: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def base_values(self) -> Floats: ...  # noqa: D102
    @property
    def offset(self) -> Floats | None: ...  # noqa: D102
    @property
    def explained(self) -> str: ...  # noqa: D102
    @property
    def feature_names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def output_names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def findings(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def method_id(self) -> str: ...  # noqa: D102
    def ordered(self, most: int | None = None) -> npt.NDArray[Any]: ...  # noqa: D102
    def __len__(self) -> int: ...
    def __getitem__(self, key: Any) -> Labelled: ...
