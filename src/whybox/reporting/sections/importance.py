"""Which features matter, over all rows."""

from __future__ import annotations

from html import escape
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.api.importance import importance_of_compared_rows
from whybox.core.label_choice import output_words
from whybox.data.table import Floats
from whybox.errors import InputError, LimitError, OptionError, UnsupportedModelError
from whybox.explanation.errors_of_values import mean_size_error
from whybox.explanation.explanation import Explanation
from whybox.explanation.html import number_text
from whybox.explanation.importance_cells import importance_cells, interval_heading
from whybox.explanation.negligible import negligible_size
from whybox.methods.importance.options import ImportanceOptions
from whybox.models.losses import class_labels
from whybox.numerics.rounding import ratio_above_rounding
from whybox.plots.bar import bar
from whybox.plots.dots import dots
from whybox.plots.style import unit_words
from whybox.reporting.estimates import paragraph_on_errors
from whybox.reporting.facts import MAX_CLASS_COLUMNS, MAX_EVALS, MAX_FEATURES_DRAWN, MAX_TABLE_LINES, ReportData
from whybox.reporting.page import html_table
from whybox.reporting.section import Section
from whybox.reporting.sections.effects import even_positions
from whybox.reporting.svg import html_figure

__all__ = ["PERMUTATION_ID", "importance_section", "importance_table"]


PERMUTATION_ID: Final = "importance.permutation"
MAX_ROWS: Final = 5000  # that importance by a loss is measured on
MAX_ROWS_PERMUTED: Final = 500  # of a model that is evaluated
_ERRORS_OF_MEANS: Final = (
    "The error of a mean is at most the mean of the errors of its rows, which stands beside it; where two intervals overlap, nothing shows which of the two "
    "features matters more. It is the error for these rows."
)
_ROLES: Final = {
    None: "Nobody has said whether the model was trained on these rows. ",
    "held-out": "These rows were held out from training. ",
    "train": "The model was trained on these rows: the values say what it learned from them, not what a feature is worth for new rows. ",
}


def importance_section(f: ReportData) -> str:
    """Which features matter: with a truth, what each is worth to the predictions; and how far each moves them."""
    if f.truth is None:
        return _moved_predictions(f)
    try:
        worth = _worth(f, _permutation_importance(f, f.truth))
    except (OptionError, InputError, UnsupportedModelError, LimitError) as reason:
        worth = f"<p class=faint>Permutation importance, which measures against the truth, is not shown: {escape(str(reason))}</p>"
    return f"{worth}<h3>How far each feature moves predictions</h3>{_moved_predictions(f)}"


def _permutation_importance(f: ReportData, truth: npt.NDArray[Any]) -> Explanation:
    players = f.explanation.values.shape[1]
    most = int(np.clip(MAX_EVALS / (2 * (players + 1)), 2, MAX_ROWS_PERMUTED)) if f.is_evaluated else MAX_ROWS
    at = even_positions(len(truth), most)
    of_classes = class_labels(f.model.outputs) is not None  # whose loss is about all of them
    options = ImportanceOptions(
        method="permutation",
        role=f.role,
        players=f.players,
        output=None if of_classes else f.output,
        max_evals=MAX_EVALS if f.is_evaluated else None,
    )
    return importance_of_compared_rows(
        f.model,
        f.rows.rows(at),
        truth[at],
        options,
        f.agreement,
    )


def _worth(f: ReportData, e: Explanation) -> str:
    """The question, the rows and the error in words, the dots, and the numbers behind them."""
    rows = e.evidence.rows
    of = "" if rows == len(f.rows) else f" of {len(f.rows):,}, taken evenly,"
    loss = e.evidence.settings["loss"]
    words = (
        f"<p>{escape(e.evidence.estimand.capitalize())} Each value is the increase of the mean {escape(loss)} loss over {rows:,} rows{of} "
        f"when the feature's values come from another of them. {_ROLES[f.role]}Without any change the loss is {number_text(float(e.extras['baseline_loss'][1]))}. "
        "The error is that of the rows as a sample: how far the values would move with other rows of the same kind.</p>"
    )
    some = len(e.feature_names) > MAX_FEATURES_DRAWN
    which = f"The {MAX_FEATURES_DRAWN} features that are worth most" if some else "Each feature"
    drawn = html_figure(
        lambda: dots(e, max_display=MAX_FEATURES_DRAWN),
        title=e.evidence.method,
        description=f"{which}, with the {100 * float(e.extras['interval_level'][1]):g} % interval.",
        table=importance_table(e),
    )
    f.add_technical(e.evidence.method, e, "kernel", "spot_checks", "note")
    return f"{words}{drawn}"


def importance_table(e: Explanation) -> str:
    """Return the numbers of an importance, largest first: values with their errors, and whatever of intervals, ranks, tests and shares off the data there is."""
    values = e.values if e.values.ndim == 1 else e.values.sum(axis=1)
    order = np.argsort(-values, kind="stable")
    top = order[:MAX_TABLE_LINES]
    columns = {"Feature": [e.feature_names[j] for j in top]} | _number_columns(e, values, top)
    groups = [", ".join(e.players.get(e.feature_names[j], ())) for j in top]
    more = f" (largest {MAX_TABLE_LINES} of {len(order):,})" if len(order) > MAX_TABLE_LINES else ""
    return html_table(
        (*columns, "Columns"),
        list(zip(*columns.values(), groups, strict=True)),
        caption=f"{'With standard errors, in' if e.std_error is not None else 'In'} {e.units}{more}",
        text=(len(columns),),
    )


def _number_columns(e: Explanation, values: Floats, top: npt.NDArray[np.intp]) -> dict[str, list[str]]:
    quantity = e.evidence.quantity.capitalize()
    out = {quantity: [number_text(float(values[j])) for j in top]}
    if e.values.ndim > 1:  # summed over outputs
        return out
    if e.std_error is not None:
        out[quantity] = [
            f"{v} ± {number_text(float(e.std_error[j]), 2)}" for v, j in zip(out[quantity], top, strict=True)
        ]
    headings = {"interval": interval_heading(e), "rank": "Rank", "off_data": "Changed rows off the data"}
    return out | {headings.get(name, name): cells for name, cells in importance_cells(e, top).items()}


def _moved_predictions(f: ReportData) -> str:
    """Mean absolute attributions: how far each feature moves predictions."""
    e = f.explanation
    size = np.abs(e.values).mean(axis=0)
    size = np.where(size <= negligible_size(e), 0.0, size)
    flat = size if size.ndim == 1 else size.sum(axis=1)
    order = np.argsort(-flat, kind="stable")
    shares = ratio_above_rounding(flat, flat.sum(), negligible_size(e).sum())
    each = e.output_names[:MAX_CLASS_COLUMNS] if size.ndim > 1 else ()
    error = mean_size_error(e)
    error = error.sum(axis=1) if error is not None and size.ndim > 1 else error
    lines = [
        (
            e.feature_names[j],
            number_text(float(flat[j]))
            + ("" if error is None or error[j] == 0.0 else f" ± {number_text(float(error[j]), 2)}"),
            f"{100 * shares[j]:.1f} %",
            *(number_text(float(size[j, k])) for k in range(len(each))),
            ", ".join(e.players.get(e.feature_names[j], ())),
        )
        for j in order[:MAX_TABLE_LINES]
    ]
    outputs = f.kinds_of_outputs
    what = f"Sum over {len(e.output_names)} {outputs}" if each else "Mean |attribution|"
    more = f" (largest {MAX_TABLE_LINES} of {len(order):,})" if len(order) > MAX_TABLE_LINES else ""
    numbers = html_table(
        ("Feature", what, "Share", *(output_words(name, of_class=f.predicts_probability) for name in each), "Columns"),
        lines,
        caption=f"Mean |attribution|, {unit_words(e)}{more}" + ("" if error is None else ", with standard errors"),
        text=(3 + len(each),),
    )
    first = "that move predictions most" if error is None else "with the largest estimates"
    return (
        f"<p>Mean absolute attribution over {f.which_rows}: how far each feature moves a prediction, on average, in either direction.</p>"
        + paragraph_on_errors(e, _ERRORS_OF_MEANS)
        + html_figure(
            lambda: bar(e, max_display=MAX_FEATURES_DRAWN),
            title="Importance",
            description=f"The {min(MAX_FEATURES_DRAWN, len(order))} features {first}."
            + (f" Each bar is the sum over {len(e.output_names)} {outputs}." if each else ""),
            table=numbers,
        )
    )


SECTION: Final = Section(
    "importance",
    "Which features matter",
    30,
    "the few features at the top, and whether their intervals lie apart from those below.",
    "that a feature low in the list has nothing to do with the outcome; another column may carry the same information.",
    importance_section,
)
