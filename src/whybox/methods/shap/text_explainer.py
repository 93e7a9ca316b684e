"""The explainer of the words of texts by Shapley or Owen values: a model and its options, called with a text or a list of texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, final

from whybox.explanation.explanation import Explanation
from whybox.methods.common.plan import MethodPlan, Stopwatch
from whybox.methods.common.words.split import as_texts
from whybox.methods.common.words.text_explainer import TextExplainer
from whybox.methods.registry import find
from whybox.methods.shap.text_games import ValuesOfTexts, explain_texts, method_of, split_into_games
from whybox.methods.shap.text_options import ShapTextOptions
from whybox.methods.shap.text_result import text_result

__all__ = ["ShapOfTexts"]


@final
class ShapOfTexts(TextExplainer[ShapTextOptions]):
    """Shapley or Owen values of words; arguments are those of :class:`TextExplainer`."""

    of_tables: ClassVar[str] = "absent features take their values from a background"

    def hierarchy_of(self, text: str) -> Any:
        """Return the hierarchy of a text, over which Owen values are taken, as nested lists of its words.

        Raises:
            OptionError: the hierarchy that was given does not fit. InputError: the text has no words. LimitError: `max_evals` is too small.
        """
        (game,) = split_into_games(as_texts(text), self.options)
        assert game.hierarchy is not None  # noqa: S101  # asked of Owen values alone
        return game.hierarchy.nested(game.words.words)

    def _explain(self, model: Any, texts: Any) -> ValuesOfTexts:
        return explain_texts(model, texts, self.options)

    def _result(self, found: ValuesOfTexts, seconds: float) -> Explanation:
        exact = all(row.std_error is None for row in found.rows)
        return text_result(found, spec=find("shap", method_of(self.options, exact=exact)), seconds=seconds)

    def _plan(self, texts: Any) -> MethodPlan:
        """Plan texts; the longest one is explained for the timing, with a small budget if it is sampled."""
        rows = as_texts(texts)
        games = split_into_games(rows, self.options)
        exact = all(game.is_exact for game in games)
        evals = [game.most_predictions for game in games]
        longest = max(range(len(rows)), key=lambda row: (evals[row], games[row].words.n_words))
        watch = Stopwatch(may_wait=True)
        spent = explain_texts(self.model, rows[longest], replace(self.options, tol=1.0)).rows[0].spent
        each = watch.elapsed_seconds() / max(spent, 1)
        spec = find("shap", method_of(self.options, exact=exact))
        return MethodPlan(
            method=spec.title,
            method_id=spec.method_id,
            kernel="every coalition that exact values take" if exact else "a sample of coalitions",
            exact=exact,
            rows=len(rows),
            model_calls=float(sum(evals)),
            seconds=sum(evals) * each,
            notes=(
                "at most: each different masked text is predicted once"
                + ("" if exact else ", and a small first sample is enough where its errors are small"),
            ),
        )
