"""Options of LIME of texts, and which options are of texts or of tables alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

from whybox.core.validation import check_positive, check_whole_number
from whybox.errors import Argument, OptionError
from whybox.methods.common.options import option
from whybox.methods.common.words.option_names import OptionNames
from whybox.methods.common.words.options import TextOptions
from whybox.methods.lime.options import AUTO, LimeOptions

__all__ = [
    "OPTION_NAMES",
    "WORDS",
    "LimeTextOptions",
]

WORDS: Final = "words"  # the method of texts

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
class LimeTextOptions(TextOptions):
    """What ``wb.lime`` and the explainer take for texts, beside the model and the texts; see there for each in full.

    Raises:
        OptionError: a value that is not known or out of range.
    """

    INSTEAD: ClassVar[Mapping[str, tuple[Any, ...]]] = _OF_THE_LIME_PACKAGE

    method: Any = option(AUTO, "auto or words", choices=(AUTO, WORDS))
    top: int | None = option(None, "how many of the largest values are to be settled; 5 where not given")
    kernel_width: float | None = option(None, "width of the kernel, for cosine distances times 100; 25")
    alpha: float | None = option(None, "ridge penalty of the lime package, for comparison; none where not given")

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
        if self.top is not None:
            check_whole_number("top", self.top)
        self._check_width()
        if self.alpha is not None and self.alpha != 0:
            check_positive("alpha", self.alpha)
        super().__post_init__()

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


OPTION_NAMES: Final = OptionNames(LimeTextOptions, LimeOptions)
