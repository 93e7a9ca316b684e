"""The report's section on effects: how each of the top features acts, and which act together."""

from __future__ import annotations

from html import escape
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Table
from whybox.explanation.axis_points import point_labels
from whybox.explanation.effects import Effects
from whybox.explanation.explanation import Explanation
from whybox.explanation.html import number_text
from whybox.methods.effects.interactions import find_interactions, leaves_suffice
from whybox.methods.effects.options import EffectsOptions
from whybox.methods.effects.problem import EffectsProblem, resolve_effects
from whybox.methods.effects.result import compute_effects
from whybox.plots.curve import curve
from whybox.plots.heatmap import heatmap
from whybox.plots.style import unit_words
from whybox.reporting.facts import MAX_EVALS, ReportData
from whybox.reporting.page import html_table
from whybox.reporting.section import Section
from whybox.reporting.svg import html_figure

__all__ = ["curve_figure", "effects_section", "even_positions", "evenly_taken", "top_features"]

MAX_FEATURES_DRAWN: Final = 6  # with a picture
FEATURES_PAIRED: Final = 10  # that are paired up
MAX_ROWS: Final = 20_000
MAX_ROWS_OF_CURVES: Final = 300  # of a model that is evaluated, and points of its curves
POINTS_EVALUATED: Final = 40
MAX_TABLE_LINES: Final = 12


def effects_section(f: ReportData) -> str | None:
    """Partial dependence of the top features with standard errors and the share off the data, and the sizes of their interactions."""
    rows = evenly_taken(f)
    features = top_features(f.explanation)[: MAX_FEATURES_DRAWN if f.is_evaluated else FEATURES_PAIRED]
    if not features:
        return None
    problem = resolve_effects(
        f.model,
        rows,
        features,
        _options(f),
        known=f.agreement,
    )
    effects = compute_effects(problem)
    first = effects[0]
    of = "" if len(rows) == len(f.rows) else f" of {len(f.rows):,}, taken evenly,"
    caption = (
        f"<p>Each curve is the mean prediction over {len(rows):,} rows{of} when the feature is set to each value in all of them and everything else stays "
        f"as it is (partial dependence, interventional). The band is the 95 % interval: how far the mean would move with other rows of the same kind. "
        "Grey bars show where the rows are; red along the top shows how many of them the value takes to where there are no such rows.</p>"
    )
    names = effects.ordered(MAX_FEATURES_DRAWN)
    f.add_technical(first.evidence.method, first, "kernel", "spot_checks", "note")
    drawn = "".join(curve_figure(effects, str(n)) for n in names)
    return f"{caption}<div class=grid>{drawn}</div>{_pairs(f, problem)}"


SECTION: Final = Section(
    "effects",
    "How each feature acts",
    50,
    "where a curve rises, falls or jumps, while grey bars below it show that there are rows.",
    "that changing the feature in the world changes the outcome; the curve is about the model, and where it is red along the top there are no such rows.",
    effects_section,
)


def _options(f: ReportData) -> EffectsOptions:
    evaluated: dict[str, Any] = {"grid": POINTS_EVALUATED, "max_evals": MAX_EVALS} if f.is_evaluated else {}
    return EffectsOptions(output=f.output, scale=f.scale, **evaluated)


def evenly_taken(f: ReportData) -> Table:
    """Return the rows that effects are taken over: all, or as many as are enough."""
    most = MAX_ROWS_OF_CURVES if f.is_evaluated else MAX_ROWS
    return f.rows if len(f.rows) <= most else f.rows.rows(even_positions(len(f.rows), most))


def even_positions(count: int, most: int) -> npt.NDArray[np.int64]:
    """Return positions of at most so many rows of `count`, spread evenly over them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def top_features(e: Explanation) -> list[str]:
    """Return columns of the features that move predictions most; groups of columns have no axis to draw them on."""
    single = [e.players[e.feature_names[j]] for j in e.ordered()]
    return [columns[0] for columns in single if len(columns) == 1][:FEATURES_PAIRED]


def curve_figure(effects: Effects, name: str) -> str:
    """Return the curve of a feature with its numbers; of individual curves their mean."""
    e = effects[name]
    at = np.unique(np.linspace(0, len(e.grid) - 1, MAX_TABLE_LINES).astype(np.int64))
    several = e.output_names if "output" in e.dims else (e.evidence.quantity.capitalize(),)
    values = (e.values.mean(axis=0) if "row" in e.dims else e.values).reshape(len(e.grid), -1)
    errors = np.full(values.shape, np.nan) if e.std_error is None else e.std_error.reshape(values.shape)
    off = e.off_data
    lines = [
        (
            w,
            *(_with_error(float(v), float(s)) for v, s in zip(values[i], errors[i], strict=True)),
            "" if off is None or np.isnan(off[i]) else f"{100 * off[i]:.0f} %",
        )
        for i, w in zip(at, _shown(e.grid[at]), strict=True)
    ]
    return html_figure(
        lambda: curve(e, legend="output" in e.dims),
        title=f"Effect of {name}",
        description=f"{name}: {e.evidence.method.lower()}, {unit_words(e)}.",
        table=html_table((name, *several, "Off the data"), lines, caption="Value, with its standard error"),
    )


def _with_error(value: float, error: float) -> str:
    return number_text(value) if np.isnan(error) else f"{number_text(value)} ± {number_text(error, 2)}"


def _shown(points: Any) -> list[str]:
    if points.dtype.kind in "fiu":
        return ["missing" if np.isnan(v) else number_text(float(v)) for v in points]
    return list(point_labels(points))


def _pairs(f: ReportData, problem: EffectsProblem) -> str:
    """Sizes of the interactions, where the trees say them exactly; elsewhere they cost too much for a report."""
    if len(problem.requested_features) < 2:
        return ""
    if not leaves_suffice(problem, [members[0] for members in problem.requested_features]):
        return "<p class=faint>Which features act together is not shown: of this model it would take too many predictions.</p>"
    sizes = find_interactions(problem, sample=None, seed=0)
    sizes_of_output = sizes if "output" not in sizes.dims else sizes[..., int(np.argmax(sizes.values.max(axis=(0, 1))))]
    frame = _lines(sizes_of_output)
    about = "" if "output" not in sizes.dims else f" for {f.output_words(sizes_of_output)}"
    drawn = html_figure(
        lambda: heatmap(sizes_of_output, max_display=FEATURES_PAIRED),
        title=f"Interactions{about}",
        description=f"Root mean square of what two features do together beyond what each does alone{about}, {unit_words(sizes_of_output)}.",
        table=html_table(("Feature", "And", "Size", "Friedman's H squared"), frame, text=(1,)),
    )
    return f"<div class=seen><h3>Which features act together{escape(about)}</h3>{drawn}</div>"


def _lines(e: Explanation) -> list[tuple[str, ...]]:
    names, ratio = e.feature_names, e.extras["h_squared"][1]
    first, second = np.triu_indices(len(names), 1)
    order = np.argsort(-e.values[first, second], kind="stable")[:MAX_TABLE_LINES]
    return [
        (names[i], names[j], number_text(float(e.values[i, j])), number_text(float(ratio[i, j]), 3))
        for i, j in zip(first[order], second[order], strict=True)
    ]
