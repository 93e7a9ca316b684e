"""Options of LIME of texts, and which options are of texts or of tables alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

from whybox.core.validation import check_positive, check_whole_number
from whybox.errors import Argument, OptionError
from whybox.methods.common.options import check_max_evals, option
from whybox.methods.common.words.option_names import OptionNames
from whybox.methods.lime.options import AUTO, LimeOptions
from whybox.numerics.statistics import critical_value

__all__ = [
    "MAX_EVALS",
    "OPTION_NAMES",
    "WORDS",
    "LimeTextOptions",
]

WORDS: Final = "words"  # the method of texts
MAX_EVALS: Final = 2000  # predictions a text

_OUTPUTS: Final = (Argument("output"), " names a class, 'all' or 'predicted'.")
_NO_KERNEL: Final = (
    "the law of absent words is known for cosine distances alone. Choose how fast weights fall: ",
    Argument("kernel_width", example="25"),
    ".",
)
_OF_THE_LIME_PACKAGE: Final[Mapping[str, tuple[Any, ...]]] = {
    "bow": ("write ", Argument("by_position", True), " where each occurrence of a word counts by itself."),
    "split_expression": ("write ", Argument("tokenizer", r"\W+"), ", or a function that returns the words."),
    "char_level": ("write ", Argument("tokenizer", "characters"), "."),
    "kernel": _NO_KERNEL,
    "distance_metric": _NO_KERNEL,
    "model_regressor": ("for the penalty of the lime package, write ", Argument("alpha", example="1"), "."),
    "num_samples": (Argument("max_evals"), " bounds the draws, and ", Argument("tol"), " says how small errors get."),
    "num_features": ("every word has a value. ", Argument("top"), " says how many of the largest are to be settled."),
    "feature_selection": ("no word is left out of the linear model; extras['rank'] orders them.",),
    "labels": _OUTPUTS,
    "top_labels": _OUTPUTS,
    "class_names": ("names are those of the model's classes; the result says which is explained.",),
    "random_state": ("write ", Argument("seed", example="0"), "."),
}


@final
@dataclass(frozen=True, kw_only=True)
class LimeTextOptions:
    """What ``wb.lime`` and the explainer take for texts, beside the model and the texts; see there for each in full.

    Raises:
        OptionError: a value that is not known or out of range.
    """

    INSTEAD: ClassVar[Mapping[str, tuple[Any, ...]]] = _OF_THE_LIME_PACKAGE

    method: Any = option(AUTO, "auto or words", choices=(AUTO, WORDS))
    output: Any = option(None, "name of a class or output, all, or predicted: of each text its own class")
    scale: str | None = option(None, "raw, probability or response", choices=(None, "raw", "probability", "response"))
    top: int | None = option(None, "how many of the largest values are to be settled; 5 where not given")
    tokenizer: Any = option(
        None, "of texts, what separates words, a regular expression; or characters (default: what is no word character)"
    )
    by_position: bool = option(default=False, help="of texts, each occurrence of a word counts by itself")
    mask_string: str | None = option(None, "of texts, what replaces an absent word; it is left out where not given")
    kernel_width: float | None = option(None, "width of the kernel, for cosine distances times 100; 25")
    alpha: float | None = option(None, "ridge penalty of the lime package, for comparison; none where not given")
    tol: float | None = option(None, "standard error to reach, as a share of the largest value; 0.02")
    max_evals: int | None = option(None, "most predictions of a text; 2,000")
    level: float = option(0.95, "confidence of the intervals")
    response_method: str | None = option(None, "method of the estimator to evaluate")
    batch_size: int | None = option(None, "of texts, most of them in one call of the model; all where not given")
    seed: int = option(0, "draws the sample")

    def __post_init__(self) -> None:
        if isinstance(self.method, LimeOptions):
            raise OptionError(
                Argument("method", example="..."),
                " has options of tables, and these are texts; make it by whybox.methods.lime.text_options.LimeTextOptions(...).",
            )
        if self.method not in (AUTO, WORDS):
            raise OptionError(
                Argument("method", self.method),
                f" is not a method of texts. Leave it out: {WORDS!r} is the only one, and it is exact where every way to leave out words fits into ",
                Argument("max_evals"),
                ".",
            )
        for name in ("top", "batch_size"):
            if getattr(self, name) is not None:
                check_whole_number(name, getattr(self, name))
        self._check_width()
        for name in ("alpha", "tol"):
            if getattr(self, name) is not None and getattr(self, name) != 0:
                check_positive(name, getattr(self, name))
        check_whole_number("seed", self.seed, 0)
        critical_value(self.level)
        object.__setattr__(self, "level", float(self.level))
        object.__setattr__(self, "max_evals", check_max_evals(self.max_evals))

    def _check_width(self) -> None:
        if callable(self.kernel_width):
            raise OptionError(
                Argument("kernel_width"),
                " takes a width. With a kernel of your own the law of absent words is not known, and it is not supported.",
            )
        if hasattr(self.kernel_width, "__len__") and not isinstance(self.kernel_width, str):
            raise OptionError(Argument("kernel_width"), " of texts takes one width; make one call for each.")
        if self.kernel_width is not None:
            check_positive("kernel_width", self.kernel_width)

    @property
    def budget(self) -> int:
        """Most predictions of a text."""
        return MAX_EVALS if self.max_evals is None else self.max_evals


OPTION_NAMES: Final = OptionNames(LimeTextOptions, LimeOptions)
