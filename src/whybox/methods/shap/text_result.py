"""Shapley and Owen values of words as an explanation: words in reading order, adding up to the prediction less the output for the text without words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.evidence import Evidence, library_versions
from whybox.explanation.explanation import Explanation, as_labels, interval_extras
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
from whybox.methods.method_spec import MethodSpec
from whybox.methods.shap.text_games import ExplainedTexts, WordValues
from whybox.methods.shap.text_options import PARTITION
from whybox.models.base import digest
from whybox.models.links import PREDICTION_UNITS
from whybox.numerics.rounding import FLOAT64_ROUNDING
from whybox.numerics.statistics import confidence_interval

__all__ = ["text_result"]

_ESTIMAND: Final = "words: absent ones are {}"
_OWEN: Final = "; blocks of neighbouring words share as one player before their words do"


def text_result(found: ExplainedTexts, *, spec: MethodSpec, seconds: float = 0.0) -> Explanation:
    """Return the explanation of some texts: values of words in reading order, (row, word) or (row, word, output), NaN where a text has fewer words.

    Args:
        found: of :func:`whybox.methods.shap.text_games.explain_texts`. spec: the method in the registry. seconds: wall time.
    """
    rows = found.rows
    axis = ("output",) if found.output.has_output_axis and not found.is_predicted else ()
    dims, row_dims = ("row", "word", *axis), ("row", *axis)

    def per_row(values: Callable[[WordValues], Any]) -> npt.NDArray[Any]:
        each = np.array([values(row) for row in rows])
        return each if axis else each[:, 0]

    def per_word(values: Callable[[WordValues], Floats]) -> npt.NDArray[Any]:
        each = stack_words([values(row) for row in rows], np.nan)
        return each if axis else each[..., 0]

    values, bases = per_word(lambda r: r.values), per_row(lambda r: r.base)
    extras: Extras = {
        **word_extras(found.texts, [row.words for row in rows]),
        "base": (row_dims, bases),
        "label": (("row",), as_labels([r.label[0] if not axis else "each output" for r in rows])),
        "converged": (("row",), np.array([r.converged for r in rows])),
        "model_evals": (("row",), np.array([r.spent for r in rows])),
    }
    error = None
    if any(row.std_error is not None for row in rows):  # texts whose values are exact have errors of zero
        error = per_word(lambda r: np.zeros_like(r.values) if r.std_error is None else r.std_error)
        level = found.options.level
        bounds = np.stack(confidence_interval(values, error, level), axis=-1)
        extras |= interval_extras(bounds, dims, level)
    outputs = [PREDICTION_UNITS] if found.is_predicted else found.output.names
    same = (bases == bases[0]).all()
    return Explanation(
        kind="attribution",
        values=values,
        dims=dims,
        coords=word_coords([row.words for row in rows], outputs),
        base=np.array(bases[0]) if same else np.full(bases.shape[1:], np.nan),
        units=found.output.units,
        prediction=per_row(lambda r: r.prediction),
        std_error=error,
        evidence=_evidence(found, spec, error is None, seconds),
        extras=extras,
    )


def _evidence(found: ExplainedTexts, spec: MethodSpec, exact: bool, seconds: float) -> Evidence:
    options, rows = found.options, found.rows
    residual = max(float(np.abs(r.base + r.values.sum(axis=0) - r.prediction).max()) for r in rows)
    largest = max(float(np.abs(np.concatenate([r.base[None], r.prediction[None], r.values])).max()) for r in rows)
    absent = "left out" if options.mask_string is None else f"replaced by {options.mask_string!r}"
    return Evidence(
        **spec.evidence_fields(),
        kernel="; ".join(dict.fromkeys(row.kernel for row in rows)),
        exact=exact,
        estimand=_ESTIMAND.format(absent) + (_OWEN if found.method == PARTITION else ""),
        index="owen" if found.method == PARTITION else "shapley",
        additive=True,
        residual=residual,
        residual_units=found.output.units,
        residual_against=found.model.kind,
        agreement=max(row.difference for row in rows),
        tolerance=FLOAT64_ROUNDING * largest,
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
            "method": found.method,
            "by_position": options.by_position,
            "mask_string": options.mask_string,
            "words": words_setting(options.tokenizer),
            "max_evals": options.budget,
        },
    )


def _notes(found: ExplainedTexts) -> tuple[str, ...]:
    rows = found.rows
    notes = [
        *found.model.notes,
        *notes_on_scale(found.output, found.options.scale),
        *reading_notes([row.reading for row in rows]),
    ]
    left = sum(not row.converged for row in rows)
    if left:
        share = found.options.allowed_error
        notes.append(
            f"NOT CONVERGED: for {left:,} of {len(rows):,} texts some standard error is more than {share:g} of the largest value after the predictions allowed; "
            "see extras['converged']. Raise max_evals."
        )
    return tuple(notes)
