"""Options of importance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final

import numpy as np

from whybox.core.validation import check_whole_number
from whybox.errors import Argument, OptionError, Part, quoted_list
from whybox.methods.common.options import OFFSETS_OF_LIBRARIES, PredictionOptions, option
from whybox.methods.method_spec import MethodSpec
from whybox.methods.registry import find

__all__ = ["AUTO", "ROLES", "ImportanceOptions"]

AUTO: Final = "auto"
ROLES: Final = ("held-out", "train")


@dataclass(frozen=True, kw_only=True)
class ImportanceOptions(PredictionOptions):
    """What ``wb.importance`` takes beside model, rows and truth; see there for each in full. A method with options of its own derives from this.

    Raises:
        OptionError: a method that is not known, or a value out of range.
    """

    INSTEAD: ClassVar[Mapping[str, tuple[Part, ...]]] = OFFSETS_OF_LIBRARIES

    method: str = option(AUTO, "kind of importance")
    loss: Any = option(
        AUTO, "loss of a row: squared, absolute, pinball(level), log, brier, zero_one, poisson, tweedie(power)"
    )
    scoring: Any = option(None, "score of all rows together, in place of a loss: roc_auc, r2, any name of scikit-learn")
    train: Any = option(None, "training rows and their truth", as_text=False)
    role: str | None = option(None, "what the rows are: held-out or train", choices=(None, *ROLES))
    offset: Any = option(None, "what is added to the raw outputs of each row, which keeps it", as_text=False)
    players: Any = option(None, "columns that share the credit as one, or auto", as_text=False)
    background: Any = option(None, "rows to draw absent features from", as_text=False)
    background_weight: Any = option(None, "one weight a background row", as_text=False)
    fit: Callable[..., Any] | None = option(None, "function of (rows, truth) that trains a model", as_text=False)
    tol: float | None = option(None, "Monte-Carlo error to reach, as a share of the largest value; none: 0.02")
    rounds: int | None = option(
        None, "rounds of donors for a score: exactly so many, each of whose drops is kept; none: until errors are small"
    )
    seed: int = option(0, "of what is drawn")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method != AUTO:
            find("importance", self.method)
        if self.role not in (None, *ROLES):
            raise OptionError(Argument("role", self.role), " is not known.", known=ROLES)
        if self.scoring is not None and self.loss != AUTO:
            raise OptionError(Argument("scoring"), " and ", Argument("loss"), " do not go together: give one of them.")
        self._check_rounds()
        if self.fit is not None and not callable(self.fit):
            raise OptionError(
                Argument("fit", example=""), f" must be a function of (rows, truth) that trains a model, not a {type(self.fit).__name__}."
            )  # fmt: skip
        object.__setattr__(self, "seed", check_whole_number("seed", self.seed, None))
        tol = self.tol
        if tol is not None and (
            isinstance(tol, bool) or not isinstance(tol, (int, float, np.floating)) or not 0 < tol < 1
        ):
            raise OptionError(Argument("tol", tol), " must lie between 0 and 1: a share of the largest value.")
        object.__setattr__(self, "tol", None if tol is None else float(tol))

    def _check_rounds(self) -> None:
        """Check how many rounds of donors are asked for.

        Raises:
            OptionError: no positive whole number, no score, or an error to stop at too.
        """
        if self.rounds is None:
            return
        object.__setattr__(self, "rounds", check_whole_number("rounds", self.rounds))
        if self.scoring is None:
            raise OptionError(
                Argument("rounds", self.rounds), " are those of a score; give ", Argument("scoring", example="..."), "."
            )
        if self.tol is not None:
            raise OptionError(
                Argument("rounds", self.rounds), " are made however small errors get; leave ", Argument("tol"), " out."
            )

    def given(self) -> list[str]:
        """Names of the options that are not at their default, but for the method itself."""
        return [
            f.name for f in fields(self) if f.name != "method" and not _is_default(getattr(self, f.name), f.default)
        ]

    def check_taken(self, spec: MethodSpec) -> None:
        """Refuse options that a method does not take.

        Raises:
            OptionError: there are such.
        """
        if not spec.option_names:
            return
        own = {f.name for f in fields(self)} - {f.name for f in fields(ImportanceOptions)}
        foreign = [name for name in self.given() if name not in spec.option_names and name not in own]
        if foreign:
            raise OptionError(
                Argument("method", spec.id),
                f" does not take {quoted_list(foreign)}; it takes {quoted_list(spec.option_names, len(spec.option_names))}.",
            )


def _is_default(value: Any, default: Any) -> bool:
    """Whether an option is as it would be if it were not given; arrays are never compared."""
    return value is default or (
        isinstance(value, (str, int, float)) and type(value) is type(default) and value == default
    )
