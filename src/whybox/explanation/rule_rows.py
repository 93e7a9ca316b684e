"""What is said about the rule of one row: the sentence, its precision with both bounds, its coverage, and what speaks against it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from whybox.errors import OptionError
from whybox.explanation.html import number_text
from whybox.explanation.labelled import Labelled

__all__ = [
    "has_conditions",
    "promised_precision",
    "rule_bounds",
    "rule_headline",
    "rule_number",
    "rule_numbers",
    "rule_sentence",
    "rule_warnings",
    "share_text",
]

ROUNDING: Final = 1e-6
MIN_PERCENT: Final = 0.1  # below it a share has more digits


def promised_precision(e: Labelled) -> float:
    """Return the precision that a certified rule reaches."""
    return float(e.evidence.settings["precision"])


def rule_headline(e: Labelled) -> str:
    """Return the label of the row and the class that the model predicts for it, of one row.

    Raises:
        OptionError: several rows.
    """
    return f"row {e.coords['row'][0]}: predicted {_one(e, 'label')}"


def has_conditions(e: Labelled) -> bool:
    """Return whether the rule of one row has conditions; without any it says that the class is always predicted.

    Raises:
        OptionError: several rows.
    """
    return str(_one(e, "rule")).startswith("IF ")


def rule_sentence(e: Labelled, label: str | None = None) -> str:
    """Return the rule of one row as a sentence: ``IF age <= 30 AND city = Rome THEN yes``.

    Args:
        label: what the class is called; None: its label.

    Raises:
        OptionError: several rows.
    """
    name = _one(e, "label") if label is None else label
    return f"{_one(e, 'rule')} {'THEN ' * has_conditions(e)}{name}"


def rule_numbers(e: Labelled) -> str:
    """Return precision with its bounds, and coverage, of the rule of one row.

    Raises:
        OptionError: several rows.
    """
    low, high = rule_bounds(e)
    precision = rule_number(e, "precision")
    found = "precision not known" if np.isnan(precision) else f"precision {share_text(precision)} ({share_text(low)} to {share_text(high)})"  # fmt: skip
    return f"{found}, coverage {share_text(rule_number(e, 'coverage'))}"


def rule_warnings(e: Labelled) -> tuple[str, ...]:
    """Return why the rule of one row is to be read with care, a sentence each; none where there is no reason.

    Raises:
        OptionError: several rows.
    """
    out = []
    if not bool(_one(e, "certified")):
        low = share_text(rule_bounds(e)[0])
        out.append(f"not certified: the lower bound {low} is below the promised {share_text(promised_precision(e))}")
    if rule_number(e, "coverage") == 0.0:
        out.append("no background row meets all of its conditions")
    return tuple(out)


def share_text(share: float) -> str:
    """Return a share in percent: ``98.3 %``; no number below 100 % is rounded to it."""
    percent = 100.0 * share
    if not MIN_PERCENT <= percent <= 100.0 - MIN_PERCENT:
        return f"{number_text(percent, 2) if percent < MIN_PERCENT else _below_hundred(percent)} %"
    return f"{percent:.1f}".removesuffix(".0") + " %"


def _below_hundred(percent: float) -> str:
    if percent == 100.0:
        return "100"
    digits = int(np.ceil(-np.log10(100.0 - percent) - ROUNDING))
    return f"{np.floor(percent * 10.0**digits + ROUNDING) / 10.0**digits:.{digits}f}"


def rule_bounds(e: Labelled) -> tuple[float, float]:
    """Return the bounds of the precision of one row's rule."""
    low, high = np.asarray(_one(e, "precision_interval", dims=1), dtype=np.float64)
    return float(low), float(high)


def rule_number(e: Labelled, name: str) -> float:
    """Return a number of one row's rule: ``precision`` or ``coverage``."""
    return float(_one(e, name))


def _one(e: Labelled, name: str, dims: int = 0) -> Any:
    array: Any = e.extras[name][1]
    if np.ndim(array) != dims:
        raise OptionError("these are the rules of several rows; pick one: e[0].")
    return array
