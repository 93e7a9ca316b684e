"""What a report says about attributions that were estimated: their errors in words, and which of them are not distinguishable from zero."""

from __future__ import annotations

from html import escape
from typing import Final

import numpy as np

from whybox.explanation.errors_of_values import interval_level, median_error
from whybox.explanation.explanation import Explanation
from whybox.explanation.html import number_text

__all__ = ["NEAR_ZERO", "paragraph_on_background", "paragraph_on_errors"]

NEAR_ZERO: Final = "not distinguishable from 0"  # whose interval includes 0


def paragraph_on_errors(e: Explanation, more: str) -> str:
    """Return a paragraph about the errors of attributions; nothing where they are exact.

    Args:
        e: attributions of rows. more: what the reader should know about the errors in this place, in plain words.
    """
    error = median_error(e)
    if error is None:
        return ""
    start = f"These attributions are estimated. Their median standard error is {number_text(error, 2)}; "
    return f"<p>{escape(f'{start}intervals are of {100 * interval_level(e):g} %. {more}')}</p>"


def paragraph_on_background(e: Explanation) -> str:
    """Return a paragraph about how far another background of the same size would move attributions; nothing where that is not known."""
    if "background_error" not in e.extras:
        return ""
    error = np.asarray(e.extras["background_error"][1])
    known = error[error > 0.0]
    if not known.size:
        return ""
    median = number_text(float(np.median(known)), 2)
    return f"<p>They hold for this background. Another one of the same size would move them, with a median standard error of {median}.</p>"
