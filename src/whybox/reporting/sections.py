"""The report's sections, a short list that later work adds to. Each takes the facts and returns HTML, or None to be left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.explanation.explanation import Explanation
from whybox.explanation.html import number
from whybox.explanation.negligible import negligible
from whybox.explanation.partners import as_numbers, feature_values, partner, shown_values
from whybox.frames import Floats
from whybox.models.base import Model
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble
from whybox.plots.bar import bar
from whybox.plots.beeswarm import beeswarm
from whybox.plots.scatter import scatter
from whybox.plots.style import value_text
from whybox.plots.waterfall import waterfall
from whybox.reporting.effects import effects_section
from whybox.reporting.figures import figure
from whybox.reporting.page import table
from whybox.reporting.performance import Performance
from whybox.rounding import ratio

__all__ = ["SECTIONS", "Facts", "Section"]

FEATURES: Final = 12
DEPENDENCE: Final = 6
OUTPUTS: Final = 4  # outputs that get pictures of their own
TABLE: Final = 40
MATRIX: Final = 20  # classes that get a column


@final
@dataclass(frozen=True)
class Facts:
    """Everything the sections draw on, computed once."""

    model: Model
    explanation: Explanation
    performance: Performance | None
    target_name: str | None
    source: str
    output: Any = None  # as asked

    @property
    def views(self) -> list[Explanation]:
        """The explanation of each output that gets pictures, largest attributions first."""
        e = self.explanation
        if "output" not in e.dims:
            return [e]
        size = np.abs(e.values).mean(axis=(0, 1))
        keep = sorted(np.argsort(-size, kind="stable")[:OUTPUTS])
        return [e[..., int(k)] for k in keep]

    def name(self, e: Explanation) -> str:
        """Return the output an explanation is about, for headings; empty where there is only one."""
        if "output" not in self.explanation.dims:
            return ""
        outputs = self.model.outputs
        one_of_several = outputs.has_probability and (outputs.link.name == "softmax" or outputs.additive_probability)
        return f"{'class' if one_of_several else 'output'} {e.coords['output'][0]}"


def model_section(f: Facts) -> str:
    """What the model is, and how far that reading is to be trusted."""
    m, e = f.model, f.explanation
    rows = [
        ("Model", m.kind),
        ("Explained", _explained(e)),
        (
            "Predicts",
            f"{m.outputs.response_units} ({m.outputs.link.name} of the sum)"
            if not m.outputs.link.identity
            else m.outputs.response_units,
        ),
    ]
    if isinstance(m, TreeEnsemble):
        leaves = int((m.left < 0).sum())
        rows += [
            ("Trees", f"{m.n_trees:,} with {leaves:,} leaves"),
            ("Boosting rounds", f"{m.rounds[0]} of {m.rounds[1]} count (early stopping)" if m.rounds else "all count"),
        ]
    elif isinstance(m, Linear):
        rows.append(("Weights", f"{m.weights.size:,}"))
    rows += [
        ("Columns", f"{len(m.inputs.names):,}, explained as {len(e.feature_names):,} features"),
        ("Rows", f"{len(e):,}" + (f" from {f.source}" if f.source else "")),
    ]
    verdict = e.evidence.lines("additivity", "agreement", "verdict")
    notes = "".join(f"<p class=faint>{escape(n)}</p>" for n in e.evidence.notes)
    return table(("", ""), [*rows, *verdict], text=(1,)) + notes


def _explained(e: Explanation) -> str:
    names = [str(n) for n in e.coords["output"]]
    if names == ["prediction"]:
        return "the prediction" if e.units == "prediction" else f"the prediction, as {e.units}"
    return f"{', '.join(names[:12])}{' ...' if len(names) > 12 else ''}, in {e.units}"


def performance_section(f: Facts) -> str | None:
    """How well the model does on these rows."""
    p = f.performance
    if p is None:
        return None
    cards = "".join(f"<div class=card><b>{number(v)}</b><span>{escape(name)}</span></div>" for name, v, _ in p.scores)
    meaning = table(("Score", "Value", "Meaning"), [(name, number(v), what) for name, v, what in p.scores], text=(2,))
    against = "the target given" if f.target_name is None else f"the column <code>{escape(f.target_name)}</code>"
    said = f"<p class=faint>Measured on the {len(p.truth):,} rows of this report against {against}. If the model was trained on these rows, the scores flatter it.</p>"
    picture = _fit(p) if p.task == "regression" else _confusion(p)
    return f"<div class=cards>{cards}</div>{said}{picture}<details><summary>What the scores mean</summary>{meaning}</details>"


def _fit(p: Performance) -> str:
    rows = (
        np.random.default_rng(0).choice(len(p.truth), 2500, replace=False)
        if len(p.truth) > 2500
        else np.arange(len(p.truth))
    )

    def draw() -> Any:
        from whybox.plots.style import NEGATIVE, axes, muted, tidy

        ax = axes(None, 4.6, 4.2)
        ax.scatter(p.predicted[rows], p.truth[rows], s=11, color=NEGATIVE, linewidths=0, alpha=0.9, rasterized=True)
        low, high = float(min(p.truth.min(), p.predicted.min())), float(max(p.truth.max(), p.predicted.max()))
        ax.plot([low, high], [low, high], color=muted(0.6), linewidth=0.9, linestyle=(0, (4, 3)))
        ax.set_xlabel("predicted")
        ax.set_ylabel("true")
        ax.set_title("Prediction and truth", loc="left")
        tidy(ax, grid="both")
        return ax

    cuts = np.quantile(p.predicted, np.linspace(0, 1, 11))
    place = np.clip(np.searchsorted(cuts, p.predicted, side="right") - 1, 0, 9)
    lines = [
        (
            f"{number(cuts[i])} to {number(cuts[i + 1])}",
            f"{int((place == i).sum()):,}",
            number(float(p.predicted[place == i].mean())),
            number(float(p.truth[place == i].mean())),
        )
        for i in range(10)
        if (place == i).any()
    ]
    numbers = table(("Predicted", "Rows", "Mean predicted", "Mean true"), lines)
    return figure(
        draw,
        title="Prediction and truth",
        description="One dot a row; on the dashed line the prediction is right.",
        table=numbers,
    )


def _confusion(p: Performance) -> str:
    k = len(p.classes)
    counts = np.zeros((k, k), dtype=int)
    np.add.at(counts, (p.truth.astype(int), p.predicted.astype(int)), 1)
    shown = min(k, MATRIX)
    head = ("True class", *(f"predicted {c}" for c in p.classes[:shown]), "rows")
    lines = [(p.classes[i], *(f"{counts[i, j]:,}" for j in range(shown)), f"{counts[i].sum():,}") for i in range(shown)]
    return table(head, lines, caption="Confusion matrix" + (f" (first {shown} of {k} classes)" if k > shown else ""))


def importance_section(f: Facts) -> str:
    """Which features the model relies on, over all rows."""
    e = f.explanation
    size = np.abs(e.values).mean(axis=0)
    flat = size if size.ndim == 1 else size.sum(axis=1)
    order = np.argsort(-flat, kind="stable")
    shares = ratio(flat, flat.sum(), negligible(e).sum())
    each = e.output_names[:MATRIX] if size.ndim > 1 else ()
    lines = [
        (
            e.feature_names[j],
            number(float(flat[j])),
            f"{100 * shares[j]:.1f} %",
            *(number(float(size[j, k])) for k in range(len(each))),
            ", ".join(e.players.get(e.feature_names[j], ())),
        )
        for j in order[:TABLE]
    ]
    what = f"Sum over {len(e.output_names)} outputs" if each else "Mean |attribution|"
    more = f" (largest {TABLE} of {len(order):,})" if len(order) > TABLE else ""
    numbers = table(
        ("Feature", what, "Share", *each, "Columns"),
        lines,
        caption=f"Mean |attribution|, in {e.units}{more}",
        text=(3 + len(each),),
    )
    return (
        "<p>Mean absolute attribution over all rows: how far each feature moves a prediction, on average, in either direction.</p>"
        + figure(
            lambda: bar(e, max_display=FEATURES),
            title="Importance",
            description=f"The {min(FEATURES, len(order))} features that move predictions most."
            + (f" Each bar is the sum over {len(e.output_names)} outputs." if each else ""),
            table=numbers,
        )
    )


def swarm_section(f: Facts) -> str:
    """Where each row's attributions lie."""
    said = "<p>Each dot is one row. To the right of zero the feature raised this row's prediction, to the left it lowered it.</p>"
    return said + "".join(_swarm(e, f.name(e)) for e in f.views) + _left_out(f)


def _swarm(e: Explanation, name: str) -> str:
    lines = [
        (
            e.feature_names[j],
            *(number(float(q)) for q in np.quantile(e.values[:, j], [0, 0.25, 0.5, 0.75, 1])),
            _direction(e, int(j)),
        )
        for j in e.ordered(FEATURES)
    ]
    head = ("Feature", "Lowest", "25 %", "Median", "75 %", "Highest", "High values")
    drawn = figure(
        lambda: beeswarm(e, max_display=FEATURES),
        title=f"Attributions {name}".strip(),
        description="Colour is the feature's own value: blue low, red high, grey where there is no order.",
        table=table(head, lines, caption=f"Attributions in {e.units}", text=(6,)),
    )
    return (f"<h3>{escape(name)}</h3>" if name else "") + drawn


def _direction(e: Explanation, j: int) -> str:
    """Say in a word whether high values raise or lower the prediction (rank correlation)."""
    values = feature_values(e, e.feature_names[j])
    if values is None or values.dtype == object:
        return "no order"
    x, y = as_numbers(values), e.values[:, j]
    known = np.isfinite(x)
    if known.sum() < 3 or np.ptp(x[known]) == 0 or np.ptp(y[known]) <= negligible(e):
        return "no difference"
    r = float(np.corrcoef(_ranks(x[known]), _ranks(y[known]))[0, 1])
    return "raise it" if r > 0.3 else "lower it" if r < -0.3 else "mixed"


def _ranks(x: Floats) -> Floats:
    from scipy.stats import rankdata

    return np.asarray(rankdata(x), dtype=np.float64)


def _left_out(f: Facts) -> str:
    left = len(f.explanation.output_names) - OUTPUTS
    return f"<p class=faint>{left} more outputs are in the numbers but not drawn.</p>" if left > 0 else ""


def dependence_section(f: Facts) -> str:
    """How the attributions of the top features depend on their values."""
    out = [
        (
            "<p>Each dot is one row, at the feature's value and what that value contributed. Vertical spread at one value means "
            "that other features have a say; the colour shows the one that seems to have most.</p>"
        )
    ]
    for e in f.views:
        names = [
            e.feature_names[j]
            for j in e.ordered()
            if np.ptp(e.values[:, j]) > negligible(e) and feature_values(e, e.feature_names[j]) is not None
        ][:DEPENDENCE]
        drawn = "".join(_dependence(e, name) for name in names)
        heading = f"<h3>{escape(f.name(e))}</h3>" if f.name(e) else ""
        out.append(
            f"{heading}<div class=grid>{drawn}</div>"
            if drawn
            else f"{heading}<p class=faint>No single column has attributions that vary.</p>"
        )
    return "".join(out) + _left_out(f)


def _dependence(e: Explanation, name: str) -> str:
    values = shown_values(e, name)
    assert values is not None  # noqa: S101  # the caller picked features with values
    y = e.values[:, e.feature_names.index(name)]
    other = partner(e, name)
    return figure(
        lambda: scatter(e, name, color=other),
        title=f"Dependence on {name}",
        description=f"{name}" + (f", coloured by {other}." if other else "."),
        table=table(("Value", "Rows", "Mean attribution", "Lowest", "Highest"), _groups(values, y)),
    )


def _groups(values: npt.NDArray[Any], y: Floats) -> list[tuple[str, ...]]:
    """Summarise attributions over ten ranges of the values, or over the commonest categories."""
    if values.dtype == object:
        words = np.array(["missing" if v is None else str(v) for v in values])
        found, counts = np.unique(words, return_counts=True)
        masks = [(str(v), words == v) for v in found[np.argsort(-counts)][:20]]
    else:
        x = as_numbers(values)
        known = x[np.isfinite(x)]
        cuts = np.unique(np.quantile(known, np.linspace(0, 1, 11))) if len(known) else np.empty(0)
        place = np.clip(np.searchsorted(cuts, x, side="right") - 1, 0, max(len(cuts) - 2, 0))
        masks = [
            (f"{value_text(cuts[i])} to {value_text(cuts[min(i + 1, len(cuts) - 1)])}", (place == i) & np.isfinite(x))
            for i in range(max(len(cuts) - 1, 1))
            if len(cuts)
        ]
        if np.isnan(x).any():
            masks.append(("missing", np.isnan(x)))
    return [
        (label, f"{int(m.sum()):,}", number(float(y[m].mean())), number(float(y[m].min())), number(float(y[m].max())))
        for label, m in masks
        if m.any()
    ]


def decisions_section(f: Facts) -> str:
    """Single decisions: typical and extreme ones, and the worst mistakes where the truth is known."""
    said = (
        "From the base (the value when nothing is known of the row) to the row's own prediction, one feature at a time."
    )
    out = [f"<p>{said} Read each picture from bottom to top.</p>"]
    for e in f.views[:2]:
        if f.name(e):
            out.append(f"<h3>{escape(f.name(e))}</h3>")
        out += [_decision(e, position, why) for position, why in _chosen(f, e)]
    return "".join(out)


def _chosen(f: Facts, e: Explanation) -> list[tuple[int, str]]:
    assert e.prediction is not None  # noqa: S101  # explanations of rows have predictions
    p = np.asarray(e.prediction)
    order = np.argsort(p, kind="stable")
    picks = [
        (int(order[-1]), "highest prediction"),
        (int(order[len(order) // 2]), "median prediction"),
        (int(order[0]), "lowest prediction"),
    ]
    if f.performance is not None and f.performance.task == "regression":
        off = f.performance.predicted - f.performance.truth
        picks += [(int(off.argmax()), "most overestimated"), (int(off.argmin()), "most underestimated")]
    elif f.performance is not None:
        wrong = np.flatnonzero(f.performance.predicted != f.performance.truth)
        if len(wrong):
            sure = wrong[np.argsort(-np.abs(p[wrong] - np.median(p)), kind="stable")[:2]]
            picks += [
                (
                    int(i),
                    f"mistaken: true class {f.performance.classes[int(f.performance.truth[i])]}, predicted {f.performance.classes[int(f.performance.predicted[i])]}",
                )
                for i in sure
            ]
    seen: set[int] = set()
    return [(i, why) for i, why in picks if not (i in seen or seen.add(i))]  # type: ignore[func-returns-value]


def _decision(e: Explanation, position: int, why: str) -> str:
    one = e[position]
    order = np.argsort(-np.abs(one.values), kind="stable")
    lines = []
    for j in order[:TABLE]:
        values = shown_values(one, one.feature_names[j])
        lines.append(
            (
                one.feature_names[j],
                "" if values is None else value_text(values[0]),
                number(float(one.values[j]), sign=True),
            )
        )
    more = one.values[order[TABLE:]]
    if len(more):
        lines.append((f"{len(more)} others, summed", "", number(float(more.sum()), sign=True)))
    lines += [("base", "", number(float(one.base))), ("prediction", "", number(float(one.prediction)))]  # type: ignore[arg-type]
    row = str(one.coords["row"][0])
    drawn = figure(
        lambda: waterfall(one),
        title=f"Row {row}",
        description=f"Row {row}: {why}.",
        table=table(("Feature", "Value", f"Attribution ({one.units})"), lines, text=(1,)),
    )
    return f"<div class=decision>{drawn}</div>"


def evidence_section(f: Facts) -> str:
    """The evidence that the explanation carries."""
    return (
        "<p>What these numbers rest on. The same model, rows and background give the same numbers again.</p>"
        + table(("", ""), f.explanation.evidence.lines(), text=(1,))
    )


@final
@dataclass(frozen=True)
class Section:
    """One part of the report."""

    anchor: str
    heading: str
    build: Callable[[Facts], str | None]


SECTIONS: Final = (
    Section("model", "The model", model_section),
    Section("performance", "How well it does", performance_section),
    Section("importance", "What it relies on", importance_section),
    Section("attributions", "What each row owes to each feature", swarm_section),
    Section("effects", "How each feature acts", effects_section),
    Section("dependence", "What each value contributed", dependence_section),
    Section("decisions", "Single decisions", decisions_section),
    Section("evidence", "Evidence", evidence_section),
)
