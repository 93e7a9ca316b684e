"""Several methods of importance side by side: each feature's share of the largest by each method, its ranks, and sentences where these disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.evidence_of_methods import evidence_of_methods
from whybox.explanation.explanation import Explanation, as_labels
from whybox.explanation.negligible import negligible_size
from whybox.methods.importance.findings import find_disagreements
from whybox.methods.importance.rankings import ends_or_nan, make_comparable
from whybox.numerics.rounding import rounding_floor

__all__ = ["agreement"]

UNITS: Final = "share of each method's largest value"
ESTIMAND: Final = (
    "each method answers a question of its own; the findings say where the answers differ by more than their errors"
)
GROUPS_PART: Final = "permutation of groups"  # of the evidence, beside those of the methods
OWN_NAMES: Final = {
    "interval": "own_interval"
}  # of extras in the units of a method, which stand here beside those of shares

Extras = dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]


def agreement(found: Mapping[str, Explanation], together: Explanation | None, notes: tuple[str, ...]) -> Explanation:
    """Return what several methods say about the importance of the same features.

    Args:
        found: method -> its importance. together: permutation importance of groups of dependent columns as players, where there are such groups.
        notes: what the reader should know beside what each method's evidence says.

    Returns:
        Explanation of kind ``"agreement"``, (features, methods): each method's values as shares of its largest. A value below zero is a negative share; where
        no value of a method is above zero, all its shares are 0, without errors (NaN). ``std_error`` and ``interval`` are those of a method over the same largest
        value, whose own error is not in them. In ``extras``: ``own_values``, ``own_error``, ``own_interval`` in the units of each method (``own_units``);
        ``rank``, ``rank_interval``, and whatever else a method has for each feature, NaN where another has none of it; ``group``, ``together``,
        ``together_interval`` of dependent columns permuted together; ``finding``, sentences. The evidence of each method is in ``evidence.parts``.

    Raises:
        OptionError: the methods are about different features.
    """
    rankings = make_comparable(found)
    names, first = list(rankings), next(iter(rankings.values()))
    own = np.column_stack([e.values for e in rankings.values()])
    errors = np.column_stack(
        [np.full(len(e), np.nan) if e.std_error is None else e.std_error for e in rankings.values()]
    )
    largest = np.array([_largest(e) for e in rankings.values()])
    extras = _stacked_extras(rankings)
    if "own_interval" in extras:
        dims, ends = extras["own_interval"]
        extras = {"interval": (dims, _as_shares(ends, largest[:, None])), **extras}
    groups = _group_extras(first.players, together)
    finding = find_disagreements(rankings, groups)
    nothing = [
        f"{n}: no value is above zero, so all shares are 0."
        for n, most in zip(names, largest, strict=True)
        if most == 0.0
    ]
    return Explanation(
        kind="agreement",
        library=first.library,
        values=_as_shares(own, largest, 0.0),
        dims=("feature", "method"),
        coords={"feature": as_labels(first.feature_names), "method": as_labels(names)},
        base=np.zeros(()),
        units=UNITS,
        std_error=None if np.isnan(errors).all() else _as_shares(errors, largest),
        players=first.players,
        extras={
            "finding": (("feature",), finding),
            "own_values": (("feature", "method"), own),
            "own_error": (("feature", "method"), errors),
            "own_units": (("method",), np.array([e.units for e in rankings.values()])),
            **extras,
            **groups,
        },
        evidence=evidence_of_methods(
            {name: e.evidence for name, e in rankings.items()}
            | ({} if together is None else {GROUPS_PART: together.evidence}),
            method=f"Importance by {', '.join(names)}",
            estimand=ESTIMAND,
            quantity=UNITS,
            notes=(*notes, *nothing),
        ),
    )


def _largest(e: Explanation) -> float:
    """The largest value; 0 where none is above zero by more than rounding, NaN where none is known."""
    if np.isnan(e.values).all():
        return float("nan")
    floor = float(np.max(negligible_size(e)))
    if "baseline_loss" in e.extras:
        floor = max(floor, float(rounding_floor(e.extras["baseline_loss"][1].reshape(1))))
    most = float(np.nanmax(e.values))
    return most if most > floor else 0.0


def _as_shares(values: Floats, largest: Floats, otherwise: float = np.nan) -> Floats:
    """Values over the largest of each method, `otherwise` where that is 0; NaN stays NaN."""
    whole = np.broadcast_to(largest, values.shape)
    return np.asarray(np.divide(values, whole, out=np.where(np.isnan(values), np.nan, otherwise), where=whole != 0.0))


def _stacked_extras(rankings: Mapping[str, Explanation]) -> Extras:
    """Numbers that methods have for each feature, (features, methods) [, bounds], or as a whole, (methods,); NaN where one has none."""
    count = len(next(iter(rankings.values())))
    shapes = {("feature",): (count,), ("feature", "bound"): (count, 2), (): ()}
    out: Extras = {}
    for name in dict.fromkeys(name for e in rankings.values() for name in e.extras):
        dims = next(e.extras[name][0] for e in rankings.values() if name in e.extras)
        has = [name in e.extras and e.extras[name][0] == dims for e in rankings.values()]
        if dims in shapes:
            empty = np.full(shapes[dims], np.nan)
            arrays = [e.extras[name][1] if h else empty for e, h in zip(rankings.values(), has, strict=True)]
            axis = 1 if dims else 0
            stacked = np.stack([np.asarray(a, dtype=np.float64) for a in arrays], axis=axis)
            out[OWN_NAMES.get(name, name)] = (*dims[:1], "method", *dims[1:]), stacked
        elif name == "linkage":  # of the columns, the same for every method
            out[name] = next(e.extras[name] for e in rankings.values() if name in e.extras)
    return out


def _group_extras(features: Mapping[str, tuple[str, ...]], together: Explanation | None) -> Extras:
    """For each feature the group of dependent features that it is in, and the importance of that; nothing where there are no groups."""
    if together is None:
        return {}
    holder = {column: i for i, columns in enumerate(together.players.values()) for column in columns}
    at = np.array([holder[columns[0]] for columns in features.values()])
    grouped = np.bincount(at, minlength=len(together))[at] > 1
    ends = np.column_stack(ends_or_nan(together.interval, len(together)))
    return {
        "group": (("feature",), np.where(grouped, np.array(together.feature_names)[at], "")),
        "together": (("feature",), np.where(grouped, together.values[at], np.nan)),
        "together_interval": (("feature", "bound"), np.where(grouped[:, None], ends[at], np.nan)),
    }
