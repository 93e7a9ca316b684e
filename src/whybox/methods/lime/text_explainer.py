"""The explainer of texts by LIME: a model and its options, called with a text or a list of texts."""

from __future__ import annotations

from typing import Any, ClassVar, final

from whybox.explanation.explanation import Explanation
from whybox.methods.common.plan import MethodPlan
from whybox.methods.common.words.text_explainer import TextExplainer
from whybox.methods.lime.text_options import WORDS, LimeTextOptions
from whybox.methods.lime.text_plan import plan_texts
from whybox.methods.lime.text_result import text_result
from whybox.methods.lime.texts import LocalTexts, explain_texts
from whybox.methods.registry import find

__all__ = ["LimeOfTexts"]


@final
class LimeOfTexts(TextExplainer[LimeTextOptions]):
    """LIME of texts: what each word adds to a prediction; arguments are those of :class:`TextExplainer`."""

    of_tables: ClassVar[str] = "LIME draws values of features from a background"

    def __init__(self, model: Any, options: LimeTextOptions) -> None:
        super().__init__(model, options, "Lime")

    def _explain(self, model: Any, texts: Any) -> LocalTexts:
        return explain_texts(model, texts, self.options)

    def _result(self, found: LocalTexts, seconds: float) -> Explanation:
        return text_result(found, spec=find("lime", WORDS), seconds=seconds)

    def _plan(self, texts: Any) -> MethodPlan:
        return plan_texts(self.model, self.options, texts)
