"""Options of importance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whybox.methods.common.options import option
from whybox.methods.common.spot_checks import check_spot_checks
from whybox.methods.registry import find

__all__ = ["ImportanceOptions"]


@dataclass(frozen=True, kw_only=True)
class ImportanceOptions:
    """What ``wb.importance`` takes beside model, rows and truth; see there for each in full. A method with options of its own derives from this.

    Raises:
        OptionError: a method that is not known.
    """

    method: str = option("shap", "kind of importance")
    background: Any = option(None, "rows to draw absent features from", as_text=False)
    output: Any = option(None, "name of a class or output, or all")
    scale: str | None = option(None, "raw, probability or response", choices=(None, "raw", "probability", "response"))
    players: Any = option(None, "columns that share the credit as one", as_text=False)
    background_weight: Any = option(None, "one weight a background row", as_text=False)
    spot_checks: int | None = option(None, "predictions that recompute numbers of the answer; 0: none")

    def __post_init__(self) -> None:
        find("importance", self.method)
        check_spot_checks(self.spot_checks)
