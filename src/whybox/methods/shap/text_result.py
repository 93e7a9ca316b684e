"""Shapley and Owen values of words as an explanation: words in reading order, adding up to the prediction less the output for the text without words."""

from __future__ import annotations

from typing import Final

import numpy as np

from whybox.data.table import Floats
from whybox.explanation.evidence import Evidence
from whybox.explanation.explanation import Explanation, as_labels, interval_extras
from whybox.explanation.local_words import number_repeated
from whybox.methods.common.words.text_axes import Extras, TextAxes
from whybox.methods.method_spec import MethodSpec
from whybox.methods.shap.text_games import ValuesOfTexts, WordValues
from whybox.methods.shap.text_options import PARTITION
from whybox.numerics.rounding import FLOAT64_ROUNDING
from whybox.numerics.statistics import confidence_interval

__all__ = ["text_result"]

_ESTIMAND: Final = "words: absent ones are {}"
_OWEN: Final = "; blocks of {} share as one player before their words do"


def text_result(found: ValuesOfTexts, *, spec: MethodSpec, seconds: float = 0.0) -> Explanation:
    """Return the explanation of some texts: values of words in reading order, (row, word) or (row, word, output), NaN where a text has fewer words.

    Args:
        found: of :func:`whybox.methods.shap.text_games.explain_texts`. spec: the method in the registry. seconds: wall time.

    Of order 2 the words of the one text are features, (row, feature, feature_2) or (row, feature, feature_2, output), as pairs of columns are.
    """
    if found.options.order == 2:
        return _interactions(found, spec, seconds)
    rows, axes = found.rows, TextAxes(found)
    dims, per_word = axes.dims, axes.per_word
    values, bases = per_word(lambda r: r.values), axes.per_row(lambda r: r.base)
    extras: Extras = {
        **axes.extras,
        "base": (axes.row_dims, bases),
        "converged": (("row",), np.array([r.converged for r in rows])),
        "model_evals": (("row",), np.array([r.spent for r in rows])),
    }
    error = None
    if any(row.std_error is not None for row in rows):  # texts whose values are exact have errors of zero
        error = per_word(lambda r: np.zeros_like(r.values) if r.std_error is None else r.std_error)
        level = found.options.level
        bounds = np.stack(confidence_interval(values, error, level), axis=-1)
        extras |= interval_extras(bounds, dims, level)
    same = (bases == bases[0]).all()
    return Explanation(
        kind="attribution",
        values=values,
        dims=dims,
        coords=axes.coords,
        base=np.array(bases[0]) if same else np.full(bases.shape[1:], np.nan),
        units=found.output.units,
        prediction=axes.per_row(lambda r: r.prediction),
        std_error=error,
        evidence=_evidence(found, axes, spec, exact=error is None, seconds=seconds),
        extras=extras,
    )


def _interactions(found: ValuesOfTexts, spec: MethodSpec, seconds: float) -> Explanation:
    """The interactions of the words of one text."""
    axes, (row,) = TextAxes(found), found.rows
    axis = axes.row_dims[1:]
    words = as_labels(number_repeated(row.words.words))

    def per_row(values: Floats) -> Floats:
        return values if axis else values[..., 0]

    return Explanation(
        kind="interaction",
        values=per_row(row.values)[None],
        dims=("row", "feature", "feature_2", *axis),
        coords={"row": axes.coords["row"], "feature": words, "feature_2": words, "output": axes.coords["output"]},
        base=per_row(row.base),
        units=found.output.units,
        prediction=per_row(row.prediction)[None],
        evidence=_evidence(found, axes, spec, exact=True, seconds=seconds),
        players={word: (word,) for word in words},
        extras={"label": axes.extras["label"]},
    )


def _evidence(
    found: ValuesOfTexts, axes: TextAxes[WordValues], spec: MethodSpec, *, exact: bool, seconds: float
) -> Evidence:
    options, rows, owen = found.options, found.rows, spec.id == PARTITION
    adds_up = options.game_index.efficient
    sums = [r.values.sum(axis=tuple(range(r.values.ndim - 1))) for r in rows]
    residual = max(float(np.abs(r.base + s - r.prediction).max()) for r, s in zip(rows, sums, strict=True))
    largest = max(float(max(np.abs(part).max() for part in (r.base, r.prediction, r.values))) for r in rows)
    given = options.hierarchy is not None
    blocks = _OWEN.format("words, as given," if given else "neighbouring words") if owen else ""
    absent = "left out" if options.mask_string is None else f"replaced by {options.mask_string!r}"
    return Evidence(
        **spec.evidence_fields(),
        **axes.evidence_fields({"method": spec.id} | ({"hierarchy": "as given"} if given else {})),
        kernel="; ".join(dict.fromkeys(row.kernel for row in rows)),
        exact=exact,
        estimand=_ESTIMAND.format(absent) + blocks,
        index="owen" if owen else options.game_index.name,
        additive=adds_up,
        residual=residual if adds_up else 0.0,
        residual_against=found.model.kind,
        tolerance=FLOAT64_ROUNDING * largest if adds_up else 0.0,
        seconds=seconds,
        notes=(*axes.notes, *_notes(found)),
    )


def _notes(found: ValuesOfTexts) -> list[str]:
    rows, notes = found.rows, []
    left = sum(not row.converged for row in rows)
    if left:
        share = found.options.allowed_error
        notes.append(
            f"NOT CONVERGED: for {left:,} of {len(rows):,} texts some standard error is more than {share:g} of the largest value after the predictions allowed; "
            "see extras['converged']. Raise max_evals."
        )
    return notes
