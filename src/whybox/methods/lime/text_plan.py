"""What LIME of texts will cost: at most how many predictions, and about how long; one text is explained for the timing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from whybox.methods.common.plan import MethodPlan, Stopwatch
from whybox.methods.common.words.split import as_texts
from whybox.methods.lime.text_options import WORDS, LimeTextOptions
from whybox.methods.lime.texts import explain_texts, is_enumerated, most_predictions, words_of_texts
from whybox.methods.registry import find

__all__ = ["plan_texts"]

TIMED_EVALS: Final = (128, 1024)  # predictions of the text that is timed
MAX_TIMED_SECONDS: Final = 0.5  # beyond which it is not timed again


def plan_texts(model: Any, options: LimeTextOptions, texts: Any) -> MethodPlan:
    """Return what :func:`whybox.lime` will cost with the same arguments.

    Args:
        model, options: of the explainer. texts: to be explained.

    Raises:
        WhyboxError: as the call itself, but for what only its answer shows.
    """
    rows = as_texts(texts)
    split = words_of_texts(rows, options)
    evals = [most_predictions(words, options) for words in split]
    timed = max(range(len(rows)), key=lambda row: (evals[row], split[row].n_words))
    start, each = _seconds_of(model, rows[timed], options, evals[timed])
    exact = all(is_enumerated(words.n_words, options) for words in split)
    spec = find("lime", WORDS)
    return MethodPlan(
        method=spec.title,
        method_id=spec.method_id,
        kernel="every way to leave out words" if exact else "draws in independent replicates",
        exact=exact,
        rows=len(rows),
        model_calls=float(sum(evals)),
        seconds=len(rows) * start + sum(evals) * each,
        notes=(
            "at most: each different masked text is predicted once"
            + ("" if exact else ", and draws stop when the largest words are settled"),
        ),
    )


def _seconds_of(model: Any, text: str, options: LimeTextOptions, most: int) -> tuple[float, float]:
    """Seconds that a text takes without its predictions, and with each of them."""
    found: list[tuple[float, int]] = []
    for evals in sorted({min(most, count) for count in TIMED_EVALS}):
        watch = Stopwatch(may_wait=True)
        spent = explain_texts(model, text, replace(options, max_evals=max(evals, TIMED_EVALS[0]), tol=0)).rows[0].spent
        found.append((watch.elapsed_seconds(), spent))
        if found[-1][0] > MAX_TIMED_SECONDS:
            break
    (first, few), (last, many) = found[0], found[-1]
    if many == few:
        return 0.0, last / many
    each = max(last - first, 0.0) / (many - few)
    return max(first - few * each, 0.0), each
