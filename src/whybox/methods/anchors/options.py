"""Options of anchors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np

from whybox.core.validation import check_whole_number
from whybox.errors import Argument, OptionError, Part
from whybox.methods.common.options import OFFSETS_OF_LIBRARIES, PredictionOptions, check_max_evals, option
from whybox.methods.common.spot_checks import check_spot_checks
from whybox.numerics.statistics import critical_value

__all__ = ["DISCRETIZERS", "AnchorsOptions"]

DISCRETIZERS: Final = ("quartile", "decile")
_NO_SEARCH: Final = (
    "the search settles it. Bound the predictions: ",
    Argument("max_evals", example="100_000"),
    "; bound the length of rules: ",
    Argument("max_size", example="3"),
    ".",
)
_OF_ALIBI: Final[Mapping[str, tuple[Part, ...]]] = {
    **OFFSETS_OF_LIBRARIES,
    "threshold": ("write ", Argument("precision", example="0.95"), "."),
    "delta": ("write its complement, ", Argument("level", example="0.95"), "."),
    "tau": ("bounds are exact, and there is no tolerance; write ", Argument("precision", example="0.95"), "."),
    "max_anchor_size": ("write ", Argument("max_size", example="3"), "."),
    "disc_perc": ("write ", Argument("discretizer", "decile"), ", or edges by name."),
    "beam_size": _NO_SEARCH,
    "batch_size": _NO_SEARCH,
    "coverage_samples": ("coverage is counted on the whole ", Argument("background"), "."),
    "train_data": ("write ", Argument("background", example="X_train"), "."),
    "categorical_names": ("pass a data frame in which categories are texts.",),
    "feature_names": ("names are those of the columns; pass a data frame.",),
    "scale": ("a rule keeps a class, which is the same on every scale.",),
}


@final
@dataclass(frozen=True, kw_only=True)
class AnchorsOptions:
    """What ``wb.anchors`` and the explainer take beside model, rows and background; see there for each in full.

    Raises:
        OptionError: a value that is not known or out of range.
    """

    INSTEAD: ClassVar[Mapping[str, tuple[Part, ...]]] = _OF_ALIBI

    precision: float = option(0.95, "share of changed rows that must keep the prediction")
    level: float = option(0.95, "confidence of the promised precision")
    output: Any = option(None, "name of a class: rules for it, or against it; the predicted class where not given")
    discretizer: Any = option("quartile", "quartile, decile, or edges by name or position", as_text=False)
    max_size: int | None = option(None, "most conditions of a rule")
    players: Any = option(None, "columns that form one condition together", as_text=False)
    background_weight: Any = option(None, "one weight a background row", as_text=False)
    max_evals: int | None = option(None, "most predictions of single rows; 20,000 a row where not given")
    response_method: str | None = option(None, "method of the estimator to evaluate instead of reading it")
    seed: int = option(0, "draws the rows, and what is checked")
    spot_checks: int | None = option(None, "predictions that recompute numbers of the answer; 0: none")

    def __post_init__(self) -> None:
        if (
            isinstance(self.precision, bool)
            or not isinstance(self.precision, (int, float, np.floating))
            or not 0.0 < self.precision < 1.0
        ):
            raise OptionError(
                Argument("precision", self.precision),
                " must lie between 0 and 1, like 0.95. No sample shows a precision of exactly 1.",
            )
        critical_value(self.level)
        object.__setattr__(self, "precision", float(self.precision))
        object.__setattr__(self, "level", float(self.level))
        given = self.discretizer
        if not isinstance(given, Mapping) and not (isinstance(given, str) and given in DISCRETIZERS):
            raise OptionError(
                Argument("discretizer", given),
                " is not known. Use one of these, or edges by name ({'age': [30, 50]}).",
                known=DISCRETIZERS,
            )
        if self.max_size is not None:
            check_whole_number("max_size", self.max_size)
        check_whole_number("seed", self.seed, None)
        object.__setattr__(self, "max_evals", check_max_evals(self.max_evals))
        object.__setattr__(self, "spot_checks", check_spot_checks(self.spot_checks))

    @property
    def prediction_options(self) -> PredictionOptions:
        """What is needed to read the model; which output is explained is found once its outputs are known."""
        return PredictionOptions(
            response_method=self.response_method,
            max_evals=self.max_evals,
            level=self.level,
            spot_checks=self.spot_checks,
        )
