"""Local linear models of texts as an explanation: words in reading order, with errors, ranks and what says how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whybox.data.table import Floats
from whybox.explanation.evidence import Evidence
from whybox.explanation.explanation import Explanation, interval_extras
from whybox.explanation.local_rows import MAX_GAP, MIN_EFFECTIVE_SIZE, MIN_R_SQUARED
from whybox.methods.common.words.text_axes import Extras, TextAxes
from whybox.methods.lime.removal_law import KERNEL_WIDTH
from whybox.methods.lime.texts import LocalTexts, WordCoefficients
from whybox.methods.method_spec import MethodSpec
from whybox.numerics.statistics import confidence_interval

__all__ = ["text_result"]


def text_result(found: LocalTexts, *, spec: MethodSpec, seconds: float = 0.0) -> Explanation:
    """Return the explanation of some texts: values of words in reading order, (row, word) or (row, word, output), NaN where a text has fewer words.

    Args:
        found: of :func:`whybox.methods.lime.texts.explain_texts`. spec: the method in the registry. seconds: wall time.
    """
    rows, axes = found.rows, TextAxes(found)
    dims, row_dims, per_row, per_word = axes.dims, axes.row_dims, axes.per_row, axes.per_word
    values = per_word(lambda r: r.fit.values)
    exact = all(row.fit.std_error is None for row in rows)
    extras: Extras = {
        **axes.extras,
        "effective_size": (("row",), np.array([r.effective_size for r in rows])),
        "converged": (("row",), np.array([r.converged for r in rows])),
        "predictions": (("row",), np.array([r.spent for r in rows])),
        "intercept": (row_dims, per_row(lambda r: r.fit.intercept)),
        "local_prediction": (row_dims, per_row(lambda r: r.local_prediction)),
        "gap": (row_dims, per_row(lambda r: r.gap)),
        "r_squared": (row_dims, per_row(lambda r: r.fit.r_squared)),
        "spread": (row_dims, per_row(lambda r: r.fit.spread)),
        "certified": (row_dims, per_row(lambda r: [c.certified for c in r.certificates])),
        "rank": (dims, per_word(lambda r: np.stack([c.rank for c in r.certificates], axis=1), -1)),
    }
    error = None
    if not exact:  # texts whose words were enumerated have errors of zero
        error = per_word(lambda r: np.zeros_like(r.fit.values) if r.fit.std_error is None else r.fit.std_error)
        extras |= interval_extras(_intervals(rows, values, error, found.options.level), dims, found.options.level)
    return Explanation(
        kind="local",
        values=values,
        dims=dims,
        coords=axes.coords,
        base=np.full(values.shape[2:], np.nan),
        units=found.output.units,
        prediction=per_row(lambda r: r.prediction),
        std_error=error,
        evidence=_evidence(found, axes, spec, exact, seconds),
        extras=extras,
    )


def _intervals(rows: Sequence[WordCoefficients], values: Floats, error: Floats, level: float) -> Floats:
    """Ends of intervals, (rows, words, ..., 2): each text has degrees of freedom of its own."""
    return np.stack(
        [
            np.stack(confidence_interval(v, e, level, row.fit.freedom), axis=-1)
            for row, v, e in zip(rows, values, error, strict=True)
        ]
    )


def _evidence(
    found: LocalTexts, axes: TextAxes[WordCoefficients], spec: MethodSpec, exact: bool, seconds: float
) -> Evidence:
    options = found.options
    return Evidence(
        **spec.evidence_fields(),
        **axes.evidence_fields(
            {
                "method": "lime",
                "kernel_width": float(options.kernel_width or KERNEL_WIDTH),
                "alpha": float(options.alpha or 0.0),
            }
        ),
        kernel="every way to leave out words"
        if exact
        else "draws in independent replicates, known Gram matrix, surrogate as control variate",
        exact=exact,
        estimand=spec.estimand,
        index="none",
        additive=False,
        residual=0.0,
        residual_against="nothing",
        tolerance=0.0,
        seconds=seconds,
        notes=(*axes.notes, *_notes(found)),
    )


def _notes(found: LocalTexts) -> list[str]:
    rows, n = found.rows, len(found.rows)
    notes = []
    left = sum(not row.converged for row in rows)
    if left:
        notes.append(
            f"For {left:,} of {n:,} texts the largest values are not settled within the predictions allowed; see extras['certified']. Raise max_evals."
        )
    poor = sum(bool((row.fit.r_squared < MIN_R_SQUARED).any()) for row in rows)
    if poor:
        notes.append(
            f"R squared is below {MIN_R_SQUARED} for {poor:,} of {n:,} texts: words act together there, and the values tell little of the model."
        )
    few = sum(row.effective_size < MIN_EFFECTIVE_SIZE for row in rows)
    if few:
        notes.append(f"The kernel is narrow for {few:,} of {n:,} texts: under a tenth of draws count.")
    far = sum(bool((np.abs(row.gap) > MAX_GAP * row.fit.spread + row.fit.rounding).any()) for row in rows)
    if far:
        notes.append(
            f"For {far:,} of {n:,} texts the local model misses the prediction by more than a quarter of the spread of outputs; see extras['gap']."
        )
    return notes
