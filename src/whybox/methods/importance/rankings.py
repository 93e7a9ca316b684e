"""Importance by several methods made comparable: one number a feature, the same features in the same order, and a rank with its interval for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import OptionError, quoted_list
from whybox.explanation.explanation import Explanation
from whybox.numerics.statistics import rank_intervals

__all__ = ["DEFAULT_LEVEL", "ends_or_nan", "make_comparable"]

DEFAULT_LEVEL: Final = 0.95  # of intervals, where a method does not say it
Extras = dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]


def make_comparable(found: Mapping[str, Explanation]) -> dict[str, Explanation]:
    """Return each method's importance as one number a feature, with its rank and the interval of that.

    Of several outputs it is the sum over them, as ``plot.bar`` stacks them. Its errors are added too: an upper bound of that of the sum, whatever the
    dependence of the outputs. A method without an error of rows, which only reads the model, has a rank that is certain; one that has rows but no error
    has no interval (NaN).

    Raises:
        OptionError: the methods found the importance of different features.
    """
    first = next(iter(found))
    return {name: _with_ranks(_in_order_of(found[first], first, _summed(e), name)) for name, e in found.items()}


def ends_or_nan(ends: tuple[Floats, Floats] | None, count: int) -> tuple[Floats, Floats]:
    """Return the lower and upper ends of intervals, NaN where there are none."""
    return (np.full(count, np.nan), np.full(count, np.nan)) if ends is None else ends


def _summed(e: Explanation) -> Explanation:
    """The sum over outputs, if there are several."""
    if "output" not in e.dims:
        return e
    note = f"Summed over {len(e.output_names)} outputs; so are the errors, which bounds that of the sum."
    extras: Extras = {name: of for name, of in e.extras.items() if "output" not in of[0]}
    if e.interval is not None:
        extras["interval"] = ("feature", "bound"), np.stack([end.sum(axis=1) for end in e.interval], axis=-1)
    return replace(
        e,
        values=e.values.sum(axis=1),
        std_error=None if e.std_error is None else e.std_error.sum(axis=1),
        dims=("feature",),
        coords={"feature": e.coords["feature"]},
        base=np.asarray(e.base.sum()),
        extras=extras,
        evidence=replace(e.evidence, notes=(*e.evidence.notes, note)),
    )


def _in_order_of(first: Explanation, first_name: str, e: Explanation, name: str) -> Explanation:
    """An importance with its features in the order of another one.

    Raises:
        OptionError: it is about other features.
    """
    wanted, own = first.feature_names, e.feature_names
    if wanted == own:
        return e
    strangers = sorted(set(wanted) ^ set(own))
    if strangers or len(wanted) != len(own):
        raise OptionError(
            f"{first_name} and {name} are about different features ({quoted_list(strangers)}), so their ranks cannot be compared. Pass rows that hold the columns "
            "of the model alone, with their names, and the same players to each."
        )
    return e[[own.index(feature) for feature in wanted]]


def _with_ranks(e: Explanation) -> Explanation:
    """An importance with the extras ``rank`` and ``rank_interval``."""
    if "rank_interval" in e.extras:
        return e
    count, own = len(e.values), e.evidence
    if e.std_error is not None:
        level = float(e.extras["interval_level"][1]) if "interval_level" in e.extras else DEFAULT_LEVEL
        apart = e.std_error[:, None] + e.std_error[None, :]  # at most
        rank, low, high = rank_intervals(e.values, apart, level, max(own.rows - 1.0, 1.0))
    else:
        rank, low, high = rank_intervals(e.values, np.zeros((count, count)))
        if own.rows:
            low, high = np.full(count, np.nan), np.full(count, np.nan)
    ranks: Extras = {
        "rank": (("feature",), rank),
        "rank_interval": (("feature", "bound"), np.column_stack([low, high])),
    }
    return replace(e, extras={**e.extras, **ranks})
