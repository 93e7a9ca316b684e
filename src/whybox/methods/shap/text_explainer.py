"""The values of the words of texts, from a model and options to the explanation; and what they will cost."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from whybox.explanation.explanation import Explanation
from whybox.methods.common.plan import MethodPlan, Stopwatch
from whybox.methods.common.words.split import as_texts
from whybox.methods.common.words.text_model import refuse_model_of_tables
from whybox.methods.registry import find
from whybox.methods.shap.text_games import explain_texts, split_into_games
from whybox.methods.shap.text_options import EXACT, PARTITION, SAMPLED, ShapTextOptions
from whybox.methods.shap.text_result import text_result

__all__ = ["explain_text_rows", "plan_texts"]


def explain_text_rows(model: Any, texts: Any, options: ShapTextOptions) -> Explanation:
    """Explain a text, or a list, array or column of texts.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    refuse_model_of_tables(model)
    began = time.perf_counter()
    found = explain_texts(model, texts, options)
    return text_result(found, spec=find("shap", found.method), seconds=time.perf_counter() - began)


def plan_texts(model: Any, texts: Any, options: ShapTextOptions) -> MethodPlan:
    """Return what :func:`explain_text_rows` will cost; the longest text is explained for the timing, with a small budget if it is sampled.

    Raises:
        WhyboxError: as the call itself, but for what only its answer shows.
    """
    refuse_model_of_tables(model)
    rows = as_texts(texts)
    games = split_into_games(rows, options)
    exact = all(game.is_exact for game in games)
    evals = [game.most_predictions for game in games]
    longest = max(range(len(rows)), key=lambda row: (evals[row], games[row].words.n_words))
    watch = Stopwatch(may_wait=True)
    spent = explain_texts(model, rows[longest], replace(options, tol=1.0)).rows[0].spent
    each = watch.elapsed_seconds() / max(spent, 1)
    chosen = options.method if options.method in (EXACT, SAMPLED, PARTITION) else EXACT if exact else SAMPLED
    spec = find("shap", chosen)
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
