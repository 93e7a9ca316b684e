"""Rows that the model treats most like a given one: in trees those that end in the same leaves, in sums those with the same contributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation
from whybox.explanation.html import number_text
from whybox.kernels.tree_shap import leaf_indices
from whybox.models.trees import TreeEnsemble
from whybox.numerics.statistics import wilson_interval
from whybox.plots.style import unit_label
from whybox.reporting.decision_words import percent_text, truth_text
from whybox.reporting.facts import ReportData
from whybox.reporting.page import html_table

__all__ = ["Neighbours", "comparable_html", "nearest_rows"]

NEIGHBOURS: Final = 10  # that are summed up
NEIGHBOURS_SHOWN: Final = 5
MAX_CELLS: Final = 20_000_000  # rows times trees that are compared
_Positions = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class Neighbours:
    """The rows most like one, nearest first.

    Attributes:
        rows: positions among all rows. nearness: of each, the share of trees in which both end in the same leaf, or the summed distance of contributions.
        of_leaves: which of the two.
    """

    rows: _Positions
    nearness: Floats
    of_leaves: bool


def nearest_rows(f: ReportData, e: Explanation, positions: Sequence[int]) -> list[Neighbours] | None:
    """Return the rows of the report that the model treats most like each of some explained ones; None for a model that is evaluated, which is not known inside.

    Args:
        e: of one output. positions: of rows among those that are explained.
    """
    if f.is_evaluated or len(f.rows) < 2:
        return None
    if not isinstance(f.model, TreeEnsemble):
        distance = [np.abs(e.values - e.values[p]).sum(axis=1) for p in positions]
        return [_nearest(d, d, p, of_leaves=False) for d, p in zip(distance, positions, strict=True)]
    most = max(MAX_CELLS // f.model.n_trees, 2)
    compared = np.unique(np.linspace(0, len(f.rows) - 1, min(len(f.rows), most)).astype(np.int64))
    compared = np.union1d(compared, np.asarray(positions))
    leaves = leaf_indices(f.model, f.model.inputs.matrix_of_block(f.rows.rows(compared), 0))
    out = []
    for p in positions:
        at = int(np.searchsorted(compared, p))
        shared = (leaves == leaves[at]).mean(axis=1)
        found = _nearest(-shared, shared, at, of_leaves=True)
        out.append(Neighbours(compared[found.rows], found.nearness, of_leaves=True))
    return out


def _nearest(distance: Floats, nearness: Floats, own: int, *, of_leaves: bool) -> Neighbours:
    order = np.argsort(distance, kind="stable")
    rows = order[order != own][:NEIGHBOURS]
    return Neighbours(rows.astype(np.int64), nearness[rows], of_leaves)


def comparable_html(f: ReportData, e: Explanation, near: Neighbours) -> str:
    """Return the rows most like one as HTML: a sentence on what they are in truth, and a table of the nearest.

    Args:
        e: of one output, all rows.
    """
    predicted, labels = f.predicted(e), f.rows.row_labels
    shown = range(min(NEIGHBOURS_SHOWN, len(near.rows)))
    head = ["Row" if f.asked.ids_name is None else f.asked.ids_name, "Shared leaves" if near.of_leaves else f"Distance ({unit_label(e)})"]  # fmt: skip
    columns = [
        [str(labels[near.rows[i]]) for i in shown],
        [
            f"{100 * near.nearness[i]:.0f} %" if near.of_leaves else number_text(float(near.nearness[i]), 3)
            for i in shown
        ],
    ]
    head.append("Probability" if f.predicts_probability else "Predicted")
    columns.append([percent_text(v) if f.predicts_probability else number_text(float(v)) for v in predicted[near.rows[: len(shown)]]])  # fmt: skip
    if f.truth is not None:
        head.append("True")
        columns.append([truth_text(f, int(near.rows[i])) for i in shown])
    means = "share of the trees in which both end in the same leaf" if near.of_leaves else "summed distance of their contributions"  # fmt: skip
    table = html_table(head, list(zip(*columns, strict=True)))
    return (
        f"<h4>Comparable rows</h4><p class=faint>The rows that the model treats most like this one ({means}).{escape(_true_of(f, e, near))}</p>{table}"
    )  # fmt: skip


def _true_of(f: ReportData, e: Explanation, near: Neighbours) -> str:
    """What the nearest rows are in truth, in a sentence."""
    p, count = f.performance, len(near.rows)
    if p is None:
        return ""
    truth = p.truth[near.rows]
    if p.task == "regression":
        mean, low, high = (number_text(float(v), 3) for v in (truth.mean(), truth.min(), truth.max()))
        return f" Of the nearest {count}, the truth has the mean {mean} and runs from {low} to {high}."
    name = str(e.coords["output"][0])
    if f.classes is None or name not in f.classes:
        return ""
    k = f.classes.index(name)
    hits = int((truth == k).sum())
    least, most = wilson_interval(hits, count)
    return f" Of the nearest {count}, {hits} {'is' if hits == 1 else 'are'} truly {f.class_words(k)} (95 % interval {percent_text(least)} to {percent_text(most)})."
