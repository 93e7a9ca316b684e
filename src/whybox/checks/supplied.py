"""What an auditor passes to a check beside the explanation, the network and the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from whybox.methods.saliency.options import ReadingOptions

__all__ = ["SuppliedParts"]


@final
@dataclass(frozen=True)
class SuppliedParts:
    """Parts of the recipe that an explanation does not keep; see :func:`whybox.check` for each."""

    method: Any = None
    options: Mapping[str, Any] | None = None
    target: Any = None
    background: Any = None
    reading_options: ReadingOptions = field(default_factory=ReadingOptions)
