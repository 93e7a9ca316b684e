"""Options of Shapley values of texts, and which options are of texts or of tables alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

from whybox.errors import Argument, OptionError
from whybox.methods.common.options import option
from whybox.methods.common.words.option_names import OptionNames
from whybox.methods.common.words.options import TextOptions
from whybox.methods.shap.options import AUTOMATIC_METHODS, ShapOptions

__all__ = ["EXACT", "OPTION_NAMES", "PARTITION", "SAMPLED", "ShapTextOptions"]

EXACT, SAMPLED, PARTITION = "exact_shap", "sampled_shap", "partition_shap"  # methods of texts
METHODS_OF_TEXTS: Final = (*AUTOMATIC_METHODS, EXACT, SAMPLED, PARTITION)


@final
@dataclass(frozen=True, kw_only=True)
class ShapTextOptions(TextOptions):
    """What ``wb.explain`` takes for texts, beside the model and the texts; see there for each in full.

    Raises:
        OptionError: a value that is not known or out of range.
    """

    method: Any = option("auto", "auto, exact, exact_shap, sampled_shap or partition_shap", choices=METHODS_OF_TEXTS)
    hierarchy: Any = option(
        None, "blocks of words that belong together, nested lists or a function of a text", as_text=False
    )

    def __post_init__(self) -> None:
        if isinstance(self.method, ShapOptions):
            raise OptionError(
                Argument("method", example="..."),
                " has options of tables, and these are texts; make it by whybox.methods.shap.text_options.ShapTextOptions(...).",
            )
        if not isinstance(self.method, str) or self.method not in METHODS_OF_TEXTS:
            raise OptionError(Argument("method", self.method), " is no method of texts.", known=METHODS_OF_TEXTS)
        if self.hierarchy is not None and self.method != PARTITION:
            raise OptionError(
                Argument("method", self.method),
                " takes no ",
                Argument("hierarchy"),
                "; blocks of words are those of ",
                Argument("method", PARTITION),
                ".",
            )
        super().__post_init__()


OPTION_NAMES: Final = OptionNames(ShapTextOptions, ShapOptions)
