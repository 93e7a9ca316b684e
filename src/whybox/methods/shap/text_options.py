"""Options of Shapley values of texts, and which options are of texts or of tables alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

from whybox.core.validation import check_positive, check_whole_number
from whybox.errors import Argument, OptionError
from whybox.methods.common.options import check_max_evals, option
from whybox.methods.common.words.option_names import OptionNames
from whybox.methods.shap.options import AUTOMATIC_METHODS, ShapOptions
from whybox.numerics.statistics import critical_value

__all__ = ["EXACT", "OPTION_NAMES", "PARTITION", "SAMPLED", "ShapTextOptions"]

EXACT, SAMPLED, PARTITION = "exact_shap", "sampled_shap", "partition_shap"  # methods of texts
METHODS_OF_TEXTS: Final = (*AUTOMATIC_METHODS, EXACT, SAMPLED, PARTITION)
MAX_EVALS: Final = 2000  # predictions a text
DEFAULT_TOL: Final = 0.02  # of a text's largest value


@final
@dataclass(frozen=True, kw_only=True)
class ShapTextOptions:
    """What ``wb.explain`` takes for texts, beside the model and the texts; see there for each in full.

    Raises:
        OptionError: a value that is not known or out of range.
    """

    method: Any = option("auto", "auto, exact, exact_shap, sampled_shap or partition_shap", choices=METHODS_OF_TEXTS)
    output: Any = option(None, "name of a class or output, all, or predicted: of each text its own class")
    scale: str | None = option(None, "raw, probability or response", choices=(None, "raw", "probability", "response"))
    tokenizer: Any = option(None, "what separates words, a regular expression; or characters")
    by_position: bool = option(default=False, help="each occurrence of a word counts by itself")
    mask_string: str | None = option(None, "what replaces an absent word; it is left out where not given")
    tol: float | None = option(None, "standard error to reach, as a share of the largest value; 0.02")
    max_evals: int | None = option(None, "most predictions of a text; 2,000")
    level: float = option(0.95, "confidence of the intervals")
    response_method: str | None = option(None, "method of the estimator to evaluate")
    batch_size: int | None = option(None, "most texts in one call of the model; all where not given")
    seed: int = option(0, "draws the sample")

    def __post_init__(self) -> None:
        if isinstance(self.method, ShapOptions):
            raise OptionError(
                Argument("method", example="..."),
                " has options of tables, and these are texts; make it by whybox.methods.shap.text_options.ShapTextOptions(...).",
            )
        if not isinstance(self.method, str) or self.method not in METHODS_OF_TEXTS:
            raise OptionError(Argument("method", self.method), " is no method of texts.", known=METHODS_OF_TEXTS)
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


OPTION_NAMES: Final = OptionNames(ShapTextOptions, ShapOptions)
