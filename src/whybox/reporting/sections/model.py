"""What the model is, and on which scale it is explained."""

from __future__ import annotations

from typing import Final

from whybox.core.label_choice import output_words
from whybox.explanation.explanation import Explanation
from whybox.models.additive import Additive
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble
from whybox.reporting.facts import ReportData
from whybox.reporting.page import html_table
from whybox.reporting.section import Section

__all__ = ["LOG_ODDS", "model_section"]

LOG_ODDS: Final = {
    "log-odds": "the scale on which contributions add up; 0 is a probability of 50 %, 2.2 is 90 %, \N{MINUS SIGN}2.2 is 10 %, 4.6 is 99 %",
    "log-odds (softmax)": "the scale on which contributions add up, one number for each class. The more that of a class exceeds the others, the more probable "
    "it is: by 2.2 above one other class, it is 9 times as probable.",
}


def model_section(f: ReportData) -> str:
    """What the model is, and on which scale it is explained."""
    m, e = f.model, f.explanation
    rows = [
        ("Model", m.kind),
        ("Explained", _explained_lines(f, e)),
        ("Predicts", _predicts(f)),
    ]
    if isinstance(m, TreeEnsemble):
        leaves = int((m.left < 0).sum())
        rows.append(("Trees", f"{m.n_trees:,} with {leaves:,} leaves"))
        if m.rounds_used:
            rows.append(("Boosting rounds", f"{m.rounds_used[0]} of {m.rounds_used[1]} count (early stopping)"))
    elif isinstance(m, Linear):
        rows.append(("Weights", f"{m.weights.size:,}"))
    elif isinstance(m, Additive):
        pairs = sum(len(term.columns) == 2 for term in m.terms)
        rows.append(("Terms", f"{len(m.terms):,}, {pairs:,} of them of two columns"))
    rows += [
        ("Columns", f"{len(m.inputs.names):,}, explained as {len(e.feature_names):,} features"),
        ("Rows", f"{len(f.rows):,}"),
    ]
    if len(e) < len(f.rows):
        mistakes = "" if f.performance is None else ", and those with the largest mistakes"
        rows.append(("Rows explained", f"{len(e):,}, spread evenly over the predictions{mistakes}"))
    if f.options.source:
        rows.append(("Source", f.options.source))
    if e.units in LOG_ODDS:
        rows.append(("Log-odds", LOG_ODDS[e.units]))
    return html_table(("", ""), rows, text=(1,))


SECTION: Final = Section(
    "model",
    "The model",
    10,
    "what is predicted, from how many columns, and on which scale the page speaks.",
    "that a larger model is a better one; the next sections say how well it predicts.",
    model_section,
    begins_page=False,
)


def _predicts(f: ReportData) -> str:
    """What one prediction is: a probability, or a number and of what."""
    outputs = f.model.outputs
    units = outputs.response_units
    what = f"a number{f', {f.asked.truth_name}' if f.asked.truth_name else ''}" if units == "prediction" else units
    return what if outputs.link.is_identity else f"{what} ({outputs.link.name} of the sum)"


def _explained_lines(f: ReportData, e: Explanation) -> str:
    names = [str(n) for n in e.coords["output"]]
    if len(names) == 1 and e.output_name is None:
        return f"the prediction, as {e.units}" if e.named_units else "the prediction"
    words = [output_words(name, of_class=f.predicts_probability) for name in names[:12]]
    return f"{', '.join(words)}{' ...' if len(names) > 12 else ''}, in {e.units}"
