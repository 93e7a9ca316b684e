"""What a threshold costs: a class against the others, as ROC, precision and recall, calibration, and errors for each threshold."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.numerics.statistics import wilson_interval
from whybox.plots.style import NEGATIVE, POSITIVE, axes_or_new, faint_text_color, style_axes
from whybox.reporting.decision_words import percent_text
from whybox.reporting.facts import ReportData
from whybox.reporting.page import NO_BREAK, html_table
from whybox.reporting.performance import calibrate, precision_recall, roc
from whybox.reporting.section import Section
from whybox.reporting.svg import html_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["USUAL_THRESHOLD", "Counts", "positive_rows", "rate_text", "threshold_section", "together"]

USUAL_THRESHOLD: Final = 0.5  # at which of two classes the other one is predicted
THRESHOLDS_SHOWN: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
POINTS_OF_TABLE: Final = 10


@final
@dataclass(frozen=True)
class Counts:
    """How many rows are right and wrong at a threshold."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @classmethod
    def at(cls, threshold: float, is_positive: npt.NDArray[np.bool_], probability: Floats) -> Counts:
        """Count rows whose probability is at least the threshold as positive."""
        flagged = probability >= threshold
        pairs = ((flagged, is_positive), (flagged, ~is_positive), (~flagged, is_positive), (~flagged, ~is_positive))
        return cls(*(int((a & b).sum()) for a, b in pairs))

    @property
    def flagged(self) -> int:
        """Rows that count as positive."""
        return self.true_positives + self.false_positives

    @property
    def positives(self) -> int:
        """Rows that are truly positive."""
        return self.true_positives + self.false_negatives

    @property
    def negatives(self) -> int:
        """Rows that are truly negative."""
        return self.false_positives + self.true_negatives

    @property
    def rows(self) -> int:
        """All rows."""
        return self.positives + self.negatives


def rate_text(part: int, whole: int) -> str:
    """Return a rate with its 95 % interval (Wilson), ``94 % (84 % to 98 %)``; ``none`` of no rows."""
    if whole == 0:
        return "none"
    low, high = wilson_interval(part, whole)
    return f"{percent_text(part / whole)} {together(f'({percent_text(low)} to {percent_text(high)})')}"


def together(text: str) -> str:
    """Return a text that no line break cuts."""
    return text.replace(" ", NO_BREAK)


def positive_rows(f: ReportData) -> tuple[npt.NDArray[np.bool_], Floats, str] | None:
    """Return which rows are truly of the positive class, their probabilities, and what the class is called; None where there is none, or no truth."""
    p, positive = f.performance, f.asked.positive
    if p is None or positive is None or f.class_probabilities is None:
        return None
    return p.truth == positive, f.class_probabilities[:, positive], f.class_words(positive)


def threshold_section(f: ReportData) -> str | None:
    """What a threshold costs, and whether probabilities mean what they say."""
    found = positive_rows(f)
    if found is None:
        return None
    is_positive, probability, name = found
    if is_positive.all() or not is_positive.any():
        return f"<p class=faint>{'All' if is_positive.all() else 'None'} of the rows are truly {escape(name)}, so nothing can be told apart.</p>"
    threshold = USUAL_THRESHOLD if f.options.threshold is None else f.options.threshold
    c = Counts.at(threshold, is_positive, probability)
    usual = " (nobody has chosen another threshold)" if f.options.threshold is None else ""
    words = (
        f"A row counts as {name} from a probability of {100 * threshold:g} % on{usual}. Of {c.rows:,} rows, {c.flagged:,} do: {c.true_positives:,} rightly and "
        f"{c.false_positives:,} as false alarms. Of the {c.positives:,} that are truly {name}, {c.false_negatives:,} {'is' if c.false_negatives == 1 else 'are'} missed."
    )
    pictures = [
        _cost_figure(is_positive, probability, threshold, name),
        _roc_figure(is_positive, probability, c),
        _precision_figure(is_positive, probability, c),
        _calibration_figure(is_positive, probability, name),
    ]
    return f"<p>{escape(words)}</p>{_rates(c)}{_table(is_positive, probability, threshold)}<div class=grid>{''.join(pictures)}</div>"


SECTION: Final = Section(
    "threshold",
    "What a threshold costs",
    25,
    "how many false alarms it takes to miss fewer, and whether dots in the calibration picture lie on the line, so that 30 % means 3 of 10.",
    "that one threshold is best: that depends on what a false alarm and a miss cost, which the page does not know.",
    threshold_section,
)


def _rates(c: Counts) -> str:
    lines = [
        ("Precision", rate_text(c.true_positives, c.flagged), "of the rows that count as positive, how many truly are"),
        ("Recall", rate_text(c.true_positives, c.positives), "of the rows that are truly positive, how many are found"),
        ("False-alarm rate", rate_text(c.false_positives, c.negatives), "of the other rows, how many count as positive"),
    ]  # fmt: skip
    return html_table(("At this threshold", "Rate (95 % interval)", "Meaning"), lines, text=(2,))


def _table(is_positive: npt.NDArray[np.bool_], probability: Floats, threshold: float) -> str:
    lines = []
    for t in sorted({*THRESHOLDS_SHOWN, threshold}):
        c = Counts.at(t, is_positive, probability)
        mark = " (this one)" if t == threshold else ""
        right = c.true_positives + c.true_negatives
        lines.append(
            (
                f"{100 * t:g} %{mark}",
                f"{c.flagged:,}",
                f"{c.false_positives:,}",
                f"{c.false_negatives:,}",
                "none" if c.flagged == 0 else percent_text(c.true_positives / c.flagged),
                percent_text(c.true_positives / c.positives),
                percent_text(right / c.rows),
            )
        )
    head = ("Threshold", "Positive", "False alarms", "Missed", "Precision", "Recall", "Accuracy")
    return html_table(head, lines, caption=f"Of {len(probability):,} rows")


def _axes(x: str, y: str, title: str) -> Axes:
    ax = axes_or_new(None, 4.4, 3.6)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.set_title(title, loc="left")
    style_axes(ax, grid="both")
    return ax


def _cost_figure(is_positive: npt.NDArray[np.bool_], probability: Floats, threshold: float, name: str) -> str:
    grid = np.linspace(0.0, 1.0, 201)
    counts = [Counts.at(t, is_positive, probability) for t in grid]

    def draw() -> Axes:
        ax = _axes("threshold", "rows", "Errors at each threshold")
        ax.step(grid, [c.false_positives for c in counts], where="post", color=POSITIVE, label="false alarms")
        ax.step(
            grid,
            [c.false_negatives for c in counts],
            where="post",
            color=NEGATIVE,
            linestyle=(0, (5, 2)),
            label="missed",
        )
        ax.axvline(threshold, color=faint_text_color(0.6), linewidth=0.9, linestyle=(0, (3, 3)))
        ax.legend(frameon=False, fontsize="small")
        return ax  # fmt: skip

    lines = [(f"{100 * grid[i]:g} %", f"{counts[i].false_positives:,}", f"{counts[i].false_negatives:,}") for i in range(0, 201, 20)]  # fmt: skip
    return html_figure(
        draw,
        title="Errors at each threshold",
        description=f"Rows that count as {name} and are not (false alarms), and rows that are {name} and do not count as such (missed); dashed: the threshold.",
        table=html_table(("Threshold", "False alarms", "Missed"), lines),
    )


def _roc_figure(is_positive: npt.NDArray[np.bool_], probability: Floats, c: Counts) -> str:
    false, true, thresholds = roc(is_positive, probability)

    def draw() -> Axes:
        ax = _axes("false-alarm rate", "recall", "ROC")
        ax.plot([0, 1], [0, 1], color=faint_text_color(0.6), linewidth=0.9, linestyle=(0, (4, 3)))
        ax.plot(false, true, color=NEGATIVE)
        ax.plot([c.false_positives / c.negatives], [c.true_positives / c.positives], "o", color=POSITIVE)
        return ax

    return html_figure(
        draw,
        title="ROC",
        description="Recall against false-alarm rate over all thresholds; the dot is the threshold above, the dashed line is guessing.",
        table=_curve_table(("Threshold", "False-alarm rate", "Recall"), thresholds, false, true),
    )


def _precision_figure(is_positive: npt.NDArray[np.bool_], probability: Floats, c: Counts) -> str:
    precision, recall, thresholds = precision_recall(is_positive, probability)

    def draw() -> Axes:
        ax = _axes("recall", "precision", "Precision and recall")
        ax.axhline(c.positives / c.rows, color=faint_text_color(0.6), linewidth=0.9, linestyle=(0, (4, 3)))
        ax.step(recall, precision, where="post", color=NEGATIVE)
        if c.flagged:
            ax.plot([c.true_positives / c.positives], [c.true_positives / c.flagged], "o", color=POSITIVE)
        ax.set_ylim(-0.03, 1.03)
        return ax

    return html_figure(
        draw,
        title="Precision and recall",
        description="Precision against recall over all thresholds; the dot is the threshold above, the dashed line is guessing.",
        table=_curve_table(("Threshold", "Recall", "Precision"), thresholds, recall, precision),
    )


def _curve_table(head: tuple[str, str, str], thresholds: Floats, first: Floats, second: Floats) -> str:
    """Some points of a curve, evenly taken; thresholds above 1, where nothing counts, are left out."""
    known = np.flatnonzero(thresholds <= 1.0)
    at = known[np.unique(np.linspace(0, len(known) - 1, POINTS_OF_TABLE).astype(np.int64))]
    lines = [(percent_text(thresholds[i]), percent_text(first[i]), percent_text(second[i])) for i in at]
    return html_table(head, lines)


def _calibration_figure(is_positive: npt.NDArray[np.bool_], probability: Floats, name: str) -> str:
    found = calibrate(is_positive, probability)
    hits = np.rint(found.observed * found.rows).astype(np.int64)
    ends = np.array([wilson_interval(int(k), int(n)) for k, n in zip(hits, found.rows, strict=True)])

    def draw() -> Axes:
        ax = _axes("predicted probability", f"share truly {name}", "Calibration")
        ax.plot([0, 1], [0, 1], color=faint_text_color(0.6), linewidth=0.9, linestyle=(0, (4, 3)))
        ax.vlines(found.predicted, ends[:, 0], ends[:, 1], color=NEGATIVE, linewidth=1.2)
        ax.plot(found.predicted, found.observed, "o", color=NEGATIVE, markersize=4)
        return ax

    numbers = zip(found.predicted, hits, found.rows, strict=True)
    lines = [(percent_text(p), f"{n:,}", rate_text(int(k), int(n))) for p, k, n in numbers]
    return html_figure(
        draw,
        title="Calibration",
        description=f"Groups of rows with about the same probability: how often they are truly {name}, with 95 % intervals. On the dashed line a probability means what it says.",
        table=html_table(("Predicted", "Rows", "Truly (95 % interval)"), lines),
    )
