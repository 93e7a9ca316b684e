"""Options of Shapley values of texts, and which options are of texts or of tables alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np

from whybox.errors import Argument, OptionError, Part
from whybox.games.indices import Index, as_index
from whybox.methods.common.options import option
from whybox.methods.common.words.option_names import OptionNames
from whybox.methods.common.words.options import TextOptions
from whybox.methods.shap.options import AUTOMATIC_METHODS, ShapOptions

__all__ = ["EXACT", "OPTION_NAMES", "PARTITION", "SAMPLED", "ShapTextOptions"]

EXACT, SAMPLED, PARTITION = "exact_shap", "sampled_shap", "partition_shap"  # methods of texts
METHODS_OF_TEXTS: Final = (*AUTOMATIC_METHODS, EXACT, SAMPLED, PARTITION)

_MAX_EVALS: Final[tuple[Part, ...]] = (
    "write ",
    Argument("max_evals", example="2000"),
    ", predictions of a text, or ",
    Argument("tol"),
    ".",
)
_OF_OTHER_LIBRARIES: Final[Mapping[str, tuple[Part, ...]]] = {
    **{name: ShapOptions.INSTEAD[name] for name in ("link", "model_output", "random_state", "interactions", "max_order", "output_names")},
    **dict.fromkeys(("nsamples", "npermutations", "budget"), _MAX_EVALS),
    "masker": (
        "words are left out, or replaced by ", Argument("mask_string", example="'...'"), "; ", Argument("tokenizer"), " says what a word is.",
    ),
    "split_expression": ("write ", Argument("tokenizer", r"\W+"), ", or a function that returns the words."),
}  # fmt: skip


@final
@dataclass(frozen=True, kw_only=True)
class ShapTextOptions(TextOptions):
    """What ``wb.explain`` takes for texts, beside the model and the texts; see there for each in full.

    Raises:
        OptionError: a value that is not known or out of range.
    """

    INSTEAD: ClassVar[Mapping[str, tuple[Part, ...]]] = _OF_OTHER_LIBRARIES

    method: Any = option("auto", "auto, exact, exact_shap, sampled_shap or partition_shap", choices=METHODS_OF_TEXTS)
    order: int = option(1, "1: attributions; 2: pairwise interactions", choices=(1, 2))
    index: str | Index = option("shapley", "shapley, banzhaf, 'banzhaf(p)' or 'beta(a, b)'")
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
        if not isinstance(self.order, (int, np.integer)) or self.order not in (1, 2):
            raise OptionError(Argument("order", self.order), ": 1 gives attributions, 2 gives pairwise interactions.")
        object.__setattr__(self, "order", int(self.order))
        object.__setattr__(self, "index", as_index(self.index))
        if self.method in (SAMPLED, PARTITION) and self.has_no_estimate:
            raise OptionError(
                Argument("method", self.method),
                " computes Shapley or Owen values of single words. ",
                Argument("order", 2),
                " and other indices are exact: take ",
                Argument("method", EXACT),
                ".",
            )
        super().__post_init__()

    @property
    def game_index(self) -> Index:
        """The index as its quadrature."""
        return as_index(self.index)

    @property
    def has_no_estimate(self) -> bool:
        """Whether values are known only where every way to leave out words is evaluated."""
        return self.order == 2 or not self.game_index.efficient


OPTION_NAMES: Final = OptionNames(ShapTextOptions, ShapOptions)
