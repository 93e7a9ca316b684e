"""The numbers of an importance as text, for tables: intervals, ranks, tests and shares off the data, whichever there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.explanation.explanation import Explanation
from whybox.explanation.html import number_text

__all__ = ["importance_cells", "interval_heading"]


def importance_cells(e: Explanation, features: npt.NDArray[np.intp]) -> dict[str, list[str]]:
    """Return columns of text, one cell a feature: of ``interval``, ``rank``, ``p``, ``q`` and ``off_data`` those that there are.

    Args:
        e: an importance of one output. features: positions of those that are shown, in order.
    """
    out: dict[str, list[str]] = {}
    if e.interval is not None:
        low, high = ([number_text(float(end[j]), 3) for j in features] for end in e.interval)
        out["interval"] = [f"{a} to {b}" for a, b in zip(low, high, strict=True)]
    if "rank_interval" in e.extras:
        ends = zip(e.extras["rank"][1][features], e.extras["rank_interval"][1][features], strict=True)
        out["rank"] = [_rank_text(rank, *bounds) for rank, bounds in ends]
    for name in ("p_value", "q_value"):
        if name in e.extras and not np.isnan(e.extras[name][1]).all():
            out[name[0]] = ["no test" if np.isnan(p) else number_text(float(p), 2) for p in e.extras[name][1][features]]
    if e.off_data is not None:
        out["off_data"] = ["" if np.isnan(share) else f"{100 * share:.0f} %" for share in e.off_data[features]]
    return out


def interval_heading(e: Explanation) -> str:
    """Return what the column of intervals is called, with their level where it is known."""
    level = e.extras.get("interval_level")
    return "interval" if level is None else f"{100 * float(level[1]):g} % interval"


def _rank_text(rank: Any, low: Any, high: Any) -> str:
    """The interval of a rank; the rank alone where it is certain or has no interval."""
    return f"{low:.0f} to {high:.0f}" if low < high else f"{rank:.0f}"
