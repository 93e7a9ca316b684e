"""Options of effects, of interactions and of regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np

from whybox.core.validation import check_whole_number
from whybox.errors import Argument, OptionError, Part
from whybox.methods.common.options import OFFSETS_OF_LIBRARIES, PredictionOptions, option
from whybox.methods.effects.learner_error import check_refits
from whybox.methods.registry import find

__all__ = ["EffectsOptions", "InteractionsOptions", "RegionsOptions"]

MIN_SAMPLE: Final = 20  # rows
MAX_DEPTH: Final = 4  # splits one below the other


@dataclass(frozen=True, kw_only=True)
class EffectsOptions(PredictionOptions):
    """What ``wb.effects`` takes beside model, rows and features; see there for each in full. A kind with options of its own derives from this."""

    INSTEAD: ClassVar[Mapping[str, tuple[Part, ...]]] = OFFSETS_OF_LIBRARIES

    kind: str = option("pdp", "kind of effect")
    grid: Any = option(None, "how many points, or thresholds: one for each step of the trees")
    refits: Any = option(None, "the same model refitted on bootstrap samples", as_text=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        find("effects", self.kind, argument="kind")
        object.__setattr__(self, "refits", check_refits(self.refits, self.kind))


@final
@dataclass(frozen=True, kw_only=True)
class InteractionsOptions(PredictionOptions):
    """What ``wb.interactions`` takes beside model, rows and features; see there for each in full."""

    INSTEAD: ClassVar[Mapping[str, tuple[Part, ...]]] = OFFSETS_OF_LIBRARIES

    sample: int | None = option(None, "rows to draw where the model is evaluated at every pair of rows")
    seed: int = option(0, "of the rows drawn")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "seed", check_whole_number("seed", self.seed, None))
        if self.sample is not None:
            object.__setattr__(self, "sample", check_whole_number("sample", self.sample, MIN_SAMPLE))


@final
@dataclass(frozen=True, kw_only=True)
class RegionsOptions(PredictionOptions):
    """What ``wb.regions`` takes beside model, rows and feature; see there for each in full."""

    INSTEAD: ClassVar[Mapping[str, tuple[Part, ...]]] = OFFSETS_OF_LIBRARIES

    depth: int = option(2, "how many splits a region may be deep, 1 to 4")
    grid: Any = option(None, "how many points, or thresholds: one for each step of the trees")

    def __post_init__(self) -> None:
        super().__post_init__()
        depth = self.depth
        if isinstance(depth, bool) or not isinstance(depth, (int, np.integer)) or not 1 <= depth <= MAX_DEPTH:
            raise OptionError(Argument("depth", depth), " must be 1, 2, 3 or 4: how many splits a region may be deep.")
        object.__setattr__(self, "depth", int(depth))
