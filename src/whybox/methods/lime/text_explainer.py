"""The explainer of texts by LIME: a model and its options, called with a text or a list of texts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from whybox.errors import Argument, InputError
from whybox.explanation.explanation import Explanation
from whybox.methods.common.options import make_options
from whybox.methods.common.words.text_model import refuse_model_of_tables, refuse_no_texts, takes_tables
from whybox.methods.common.words.tokenized import is_column_of_texts
from whybox.methods.lime.text_options import OPTION_NAMES, WORDS, LimeTextOptions
from whybox.methods.lime.text_result import text_result
from whybox.methods.lime.texts import explain_texts
from whybox.methods.registry import find

__all__ = ["TextExplainer", "explainer_without_background"]


@final
@dataclass(frozen=True, eq=False)
class TextExplainer:
    """LIME of texts: what each word adds to a prediction.

    Attributes:
        model: takes a list of texts; see :func:`whybox.methods.common.words.text_model.as_text_model`. options: of texts.
    """

    model: Any
    options: LimeTextOptions

    def __call__(self, texts: Any) -> Explanation:
        """Explain a text, or a list, array or column of texts.

        Raises:
            WhyboxError: see whybox.errors; each message says what to do.
        """
        if not is_column_of_texts(texts):
            refuse_no_texts(texts)
            raise InputError(
                "this explainer has no background, so it explains texts: pass a text or a list of texts. For the rows of a table, LIME draws values of features from a "
                "background: give it rows like those of training, ",
                Argument("background", example="X_train"),
                ".",
            )
        refuse_model_of_tables(self.model)
        began = time.perf_counter()
        found = explain_texts(self.model, texts, self.options)
        return text_result(found, spec=find("lime", WORDS), seconds=time.perf_counter() - began)

    def __repr__(self) -> str:
        return f"Lime({getattr(self.model, '__name__', type(self.model).__name__)}, of texts)"


def explainer_without_background(model: Any, options: Any, given: Mapping[str, Any]) -> TextExplainer | None:
    """Return the explainer of texts, where no background was given; None where the options or the model are of tables, which need one.

    Raises:
        OptionError: see :class:`LimeTextOptions`.
    """
    if isinstance(options, LimeTextOptions):
        return TextExplainer(model, make_options(LimeTextOptions, options, given))
    if options is not None or takes_tables(model) or not OPTION_NAMES.fits_texts(given):
        return None
    return TextExplainer(model, make_options(LimeTextOptions, None, given))
