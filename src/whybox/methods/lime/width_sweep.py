"""Answers for several kernel widths side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation

__all__ = ["join_widths"]

_OF_ROWS = ("condition", "share", "label", "interval_level", "offset")  # that no width changes


def join_widths(widths: Sequence[float], parts: Sequence[Explanation]) -> Explanation:
    """Return one explanation with the axis ``width`` first.

    Args:
        widths: of the kernel. parts: the explanation for each, of the same rows.
    """
    first = parts[0]
    extras = {
        name: (dims, array) if name in _OF_ROWS else (("width", *dims), np.stack([p.extras[name][1] for p in parts]))
        for name, (dims, array) in first.extras.items()
    }
    errors = [p.std_error for p in parts if p.std_error is not None]
    notes = dict.fromkeys(
        f"Width {width:.4g}: {note}" if any(note not in p.evidence.notes for p in parts) else note
        for width, part in zip(widths, parts, strict=True)
        for note in part.evidence.notes
    )
    evidence = replace(
        first.evidence,
        notes=tuple(notes),
        model_calls=sum(p.evidence.model_calls for p in parts),
        seconds=sum(p.evidence.seconds for p in parts),
        settings={**first.evidence.settings, "kernel_width": [float(w) for w in widths]},
    )
    return replace(
        first,
        values=np.stack([p.values for p in parts]),
        std_error=_stacked(errors, len(parts)),
        dims=("width", *first.dims),
        coords={**first.coords, "width": np.asarray(widths, dtype=np.float64)},
        extras=extras,
        evidence=evidence,
    )


def _stacked(errors: Sequence[Floats], parts: int) -> Floats | None:
    return np.stack(errors) if len(errors) == parts else None
