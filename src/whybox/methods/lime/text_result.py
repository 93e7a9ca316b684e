"""Local linear models of texts as an explanation: words in reading order, with errors, ranks and what says how far to trust them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.evidence import Evidence, library_versions
from whybox.explanation.explanation import Explanation, as_labels, interval_extras
from whybox.explanation.local_rows import MAX_GAP, MIN_EFFECTIVE_SIZE, MIN_R_SQUARED
from whybox.methods.common.output import notes_on_scale
from whybox.methods.common.words.text_axes import (
    Extras,
    comparison_text,
    reading_notes,
    stack_words,
    word_coords,
    word_extras,
    words_setting,
)
from whybox.methods.lime.removal_law import KERNEL_WIDTH
from whybox.methods.lime.texts import LocalTexts, WordCoefficients
from whybox.methods.method_spec import MethodSpec
from whybox.models.base import digest
from whybox.models.links import PREDICTION_UNITS
from whybox.numerics.statistics import confidence_interval

__all__ = ["text_result"]


def text_result(found: LocalTexts, *, spec: MethodSpec, seconds: float = 0.0) -> Explanation:
    """Return the explanation of some texts: values of words in reading order, (row, word) or (row, word, output), NaN where a text has fewer words.

    Args:
        found: of :func:`whybox.methods.lime.texts.explain_texts`. spec: the method in the registry. seconds: wall time.
    """
    rows = found.rows
    axis = ("output",) if found.output.has_output_axis and not found.is_predicted else ()
    dims, row_dims = ("row", "word", *axis), ("row", *axis)

    def per_row(values: Callable[[WordCoefficients], Any]) -> npt.NDArray[Any]:
        each = np.array([values(row) for row in rows])
        return each if axis else each[:, 0]

    def per_word(values: Callable[[WordCoefficients], npt.NDArray[Any]], fill: Any = np.nan) -> npt.NDArray[Any]:
        each = stack_words([values(row) for row in rows], fill)
        return each if axis else each[..., 0]

    values = per_word(lambda r: r.fit.values)
    exact = all(row.fit.std_error is None for row in rows)
    extras: Extras = {
        **word_extras(found.texts, [row.words for row in rows]),
        "effective_size": (("row",), np.array([r.effective_size for r in rows])),
        "label": (("row",), as_labels([r.label[0] if not axis else "each output" for r in rows])),
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
    outputs = [PREDICTION_UNITS] if found.is_predicted else found.output.names
    return Explanation(
        kind="local",
        values=values,
        dims=dims,
        coords=word_coords([row.words for row in rows], outputs),
        base=np.full(values.shape[2:], np.nan),
        units=found.output.units,
        prediction=per_row(lambda r: r.prediction),
        std_error=error,
        evidence=_evidence(found, spec, exact, seconds),
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


def _evidence(found: LocalTexts, spec: MethodSpec, exact: bool, seconds: float) -> Evidence:
    options, rows = found.options, found.rows
    return Evidence(
        **spec.evidence_fields(),
        kernel="every way to leave out words"
        if exact
        else "draws in independent replicates, known Gram matrix, surrogate as control variate",
        exact=exact,
        estimand=spec.estimand,
        index="none",
        additive=False,
        residual=0.0,
        residual_units=found.output.units,
        residual_against="nothing",
        agreement=max(row.difference for row in rows),
        tolerance=0.0,
        model=found.model.kind,
        verdict={"against": comparison_text(found.model.kind, sum(row.compared for row in rows))},
        model_calls=sum(row.spent for row in rows),
        seed=options.seed,
        rows=len(rows),
        fingerprints={"rows": digest(*found.texts)},
        versions=library_versions(None if found.model.library == "numpy" else found.model.library),
        seconds=seconds,
        notes=_notes(found),
        settings={
            "method": "lime",
            "kernel_width": float(options.kernel_width or KERNEL_WIDTH),
            "alpha": float(options.alpha or 0.0),
            "by_position": options.by_position,
            "mask_string": options.mask_string,
            "words": words_setting(options.tokenizer),
            "max_evals": options.budget,
        },
    )


def _notes(found: LocalTexts) -> tuple[str, ...]:
    rows, n = found.rows, len(found.rows)
    notes = [
        *found.model.notes,
        *notes_on_scale(found.output, found.options.scale),
        *reading_notes([row.reading for row in rows]),
    ]
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
    return tuple(notes)
