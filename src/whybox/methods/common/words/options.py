"""Options that every explanation of the words of texts takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from whybox.core.validation import check_positive, check_whole_number
from whybox.methods.common.options import check_max_evals, option
from whybox.numerics.statistics import critical_value

__all__ = ["PREDICTIONS_OF_CHECKS", "TextOptions"]

MAX_EVALS: Final = 2000  # predictions a text
DEFAULT_TOL: Final = 0.02  # of a text's largest value
PREDICTIONS_OF_CHECKS: Final = (
    16  # kept for checks and the full text, so that draws do not depend on how the model is read
)


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """What every method of texts takes, beside the model and the texts.

    Raises:
        OptionError: a value that is not known or out of range.
    """

    method: Any = option("auto", "auto, or the id of a method")
    output: Any = option(None, "name of a class or output, all, or predicted: of each text its own class")
    scale: str | None = option(None, "raw, probability or response", choices=(None, "raw", "probability", "response"))
    tokenizer: Any = option(
        None, "of texts, what separates words, a regular expression; or characters (default: what is no word character)"
    )
    by_position: bool = option(default=False, help="of texts, each occurrence of a word counts by itself")
    mask_string: str | None = option(None, "of texts, what replaces an absent word; it is left out where not given")
    tol: float | None = option(None, "standard error to reach, as a share of the largest value; 0.02")
    max_evals: int | None = option(None, "most predictions of a text; 2,000")
    level: float = option(0.95, "confidence of the intervals")
    response_method: str | None = option(None, "method of the estimator to evaluate")
    batch_size: int | None = option(None, "of texts, most of them in one call of the model; all where not given")
    seed: int = option(0, "draws the sample")

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            check_whole_number("batch_size", self.batch_size)
        if self.tol is not None and self.tol != 0:
            check_positive("tol", self.tol)
        check_whole_number("seed", self.seed, 0)
        critical_value(self.level)
        object.__setattr__(self, "level", float(self.level))
        object.__setattr__(self, "max_evals", check_max_evals(self.max_evals))

    @property
    def budget(self) -> int:
        """Most predictions of a text."""
        return MAX_EVALS if self.max_evals is None else self.max_evals

    @property
    def allowed_error(self) -> float:
        """Standard error to reach, as a share of the largest value."""
        return DEFAULT_TOL if self.tol is None else float(self.tol)
