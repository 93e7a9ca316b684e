"""Explanations of different rows as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.join_tables import join_tables
from whybox.errors import OptionError
from whybox.explanation.evidence import Evidence, merge_evidence
from whybox.explanation.exact_parts import with_errors_of_zero
from whybox.explanation.explanation import Explanation
from whybox.explanation.local_words import has_words, pad_words

__all__ = ["concat"]

JOINABLE_KINDS: Final = ("attribution", "interaction", "local", "rule", "saliency")  # every number is of one row alone
BASE_ROUNDING: Final = 1e-6  # of a network's score without its input: it moves with the rows beside it


def concat(explanations: Iterable[Explanation]) -> Explanation:
    """Join explanations of different rows, made by the same model, background and options, into one.

    Rows come in the order given, with their labels (rows without labels are counted through). Evidence is put together: sums of rows, calls and
    seconds, the worst of every check. Parts cut from one explanation count once. Exact Shapley values beside estimated ones have standard errors of 0, and a note.

    Args:
        explanations: attributions, interactions, local values, rules or saliency maps with a row axis.

    Returns:
        Explanation of the same kind with all rows.

    Raises:
        OptionError: not such explanations, or of different models, backgrounds, options, features or outputs; the message says what differs.

    Examples:
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.tree import DecisionTreeRegressor
        >>> import whybox as wb
        >>> X, y = load_diabetes(return_X_y=True)
        >>> explain = wb.explainers.TreeShap(DecisionTreeRegressor(max_depth=3, random_state=0).fit(X, y))
        >>> wb.concat(explain(X[start : start + 100]) for start in range(0, 442, 100)).shape
        (442, 10)
    """
    parts = _as_list(explanations)
    if not parts:
        raise OptionError("there is nothing to join: give at least one explanation.")
    for part in parts:
        _check_joinable(part)
    if all(part.dims[:2] == ("row", "word") and has_words(part) for part in parts):
        parts = pad_words(parts)
    parts = with_errors_of_zero(parts)
    first: Explanation = parts[0]
    for part in parts[1:]:
        _check_alike(first, part)
    evidence: list[Evidence] = []
    for part in parts:
        if part.evidence not in evidence:  # those cut from one explanation share it
            evidence.append(part.evidence)
    axis = first.dims.index("row")
    return replace(
        first,
        values=np.concatenate([part.values for part in parts], axis=axis),
        coords={**first.coords, "row": _row_labels(parts)},
        base=_common_base(parts),
        prediction=_join_axis([part.prediction for part in parts]),
        std_error=_join_axis([part.std_error for part in parts], axis),
        data=join_tables([part.data for part in parts if part.data is not None]),
        extras=_join_extras(parts),
        evidence=merge_evidence(evidence),
        again=None,
    )


def _as_list(explanations: Any) -> list[Any]:
    if isinstance(explanations, (Explanation, Mapping)):  # a mapping: effects, which are refused with the reason
        return [explanations]
    if not isinstance(explanations, Iterable):
        raise OptionError(f"concat joins a list of explanations; this is {type(explanations).__name__}.")
    return list(explanations)


def _check_joinable(part: Any) -> None:
    if not isinstance(part, Explanation):
        hint = (
            " Effects are taken over all rows together: pass all rows to wb.effects."
            if type(part).__name__ == "Effects"
            else ""
        )
        raise OptionError(f"concat joins explanations; this is {type(part).__name__}.{hint}")
    if part.kind not in JOINABLE_KINDS:
        raise OptionError(
            f"an explanation of kind {part.kind!r} is taken over all rows together, so it cannot be joined from parts: compute it with all rows."
        )
    if "row" not in part.dims:
        raise OptionError(
            "concat joins rows, and one of the parts has no row axis; keep it with a list or slice: e[[3]] or e[3:4]."
        )


def _check_alike(one: Explanation, other: Explanation) -> None:
    """Refuse what does not belong together."""
    differing: dict[str, tuple[Any, Any]] = {
        "kind": (one.kind, other.kind),
        "axes": (one.dims, other.dims),
        "scale": (one.units, other.units),
        "players": (dict(one.players), dict(other.players)),
        "extras": ({n: d for n, (d, _) in one.extras.items()}, {n: d for n, (d, _) in other.extras.items()}),
        "standard errors": (one.std_error is not None, other.std_error is not None),
        "predictions": (one.prediction is not None, other.prediction is not None),
        "rows' own values": (one.data is not None, other.data is not None),
        "columns": (() if one.data is None else one.data.names, () if other.data is None else other.data.names),
    }
    axes = [dim for dim in {**one.coords, **other.coords} if dim != "row"]
    for dim in axes:
        first_value, second_value = (None if dim not in e.coords else e.coords[dim].tolist() for e in (one, other))
        differing[f"labels of the axis {dim!r}"] = first_value, second_value
    for what, (first_value, second_value) in differing.items():
        if first_value != second_value:
            raise OptionError(f"these explanations cannot be joined: their {what} differ.")
    if "base" not in one.extras and not np.array_equal(one.base, other.base, equal_nan=True):
        raise OptionError(
            "these explanations cannot be joined: their base differs, so they are of different models, backgrounds or outputs."
        )


def _join_axis(arrays: Sequence[npt.NDArray[Any] | None], axis: int = 0) -> npt.NDArray[Any] | None:
    given = [a for a in arrays if a is not None]
    return np.concatenate(given, axis=axis) if given else None


def _common_base(parts: Sequence[Explanation]) -> npt.NDArray[Any]:
    """Return the base that all rows share; NaN where they differ, of a network by more than rounding (``extras["base"]`` has each row's own)."""
    bases = np.stack([part.base for part in parts])
    if len({b.tobytes() for b in bases}) == 1:
        return np.array(parts[0].base)
    same = np.ptp(bases, axis=0).max() <= BASE_ROUNDING * (1 + np.abs(bases).max())
    return np.array(parts[0].base if same else np.full_like(parts[0].base, np.nan))


def _row_labels(parts: Sequence[Explanation]) -> npt.NDArray[Any]:
    each = [part.coords["row"] for part in parts]
    counted = all(labels.dtype.kind in "iuO" and labels.tolist() == list(range(len(labels))) for labels in each)
    tables = [part.data for part in parts]
    if counted and all(table is None or table.labels is None for table in tables):
        return np.arange(sum(map(len, each))).astype(each[0].dtype)
    return np.concatenate(each)


def _join_extras(parts: Sequence[Explanation]) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
    out: dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = {}
    for name, (dims, array) in parts[0].extras.items():
        arrays = [part.extras[name][1] for part in parts]
        if "row" in dims:
            out[name] = dims, np.concatenate(arrays, axis=dims.index("row"))
            continue
        if any(a.shape != array.shape or a.tolist() != array.tolist() for a in arrays):
            raise OptionError(f"these explanations cannot be joined: their extras[{name!r}] differ.")
        out[name] = dims, array
    return out
