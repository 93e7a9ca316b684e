"""Which checks a report makes unasked: decided by counting what they take, never by the clock, so that the same call gives the same page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from whybox.checks.audit import EXPENSIVE_PASSES
from whybox.explanation.explanation import Explanation
from whybox.methods.saliency.make_method import make
from whybox.methods.saliency.prepare_inputs import prepare_inputs
from whybox.methods.saliency.problem import first_pass
from whybox.models.registry import as_network

__all__ = ["Plan", "bytes_per_row", "choose_checks", "requested_checks"]

MAX_WORK_BYTES: Final = 100e9  # bytes of intermediate results: about a minute of one core, for a method
MIN_PASS_BYTES: Final = 100e3  # what a pass counts at least: small networks spend their time between the numbers
MAX_ROWS_CHECKED: Final = (16, 8, 4)  # rows: as many as may be within that
MIN_ROWS_COUNTED: Final = 4  # rows over which a check that counts rows can tell anything
MAX_MAPS_PER_ROW: Final = {
    "numerical": 1,
    "stability": 8,
    "model dependence": 18,
    "faithfulness": 0,
}  # maps of each row, at most
EXPENSIVE_CHECKS: Final = {
    "numerical": 1,
    "stability": 5,
    "model dependence": 8,
    "faithfulness": 0,
}  # where one takes many passes
ROWS_COUNTED: Final = ("model dependence", "faithfulness")  # verdicts hang on an interval over rows
FORWARDS_FOR_CURVES: Final = 700  # forwards of each row for deletion and insertion


@final
@dataclass(frozen=True)
class Plan:
    """The checks to make: groups of them, of how many rows; `said` is why, `whole` whether nothing is left out."""

    groups: Sequence[str] | str
    rows: int
    said: str
    whole: bool


def requested_checks(asked: Sequence[str] | str) -> Plan:
    """What the caller asked for, whatever it takes."""
    named = asked if isinstance(asked, str) else ", ".join(asked)
    return Plan(asked, MAX_ROWS_CHECKED[0], f"Checks asked for: {named}.", True)


def bytes_per_row(net: Any, inputs: Any, reading: Mapping[str, Any]) -> int:
    """Bytes that a derivative at one row keeps: the size of the network at work, the same on every machine."""
    network = as_network(net)
    with network.session():
        how = {k: reading[k] for k in ("channel_axis", "embedding", "tokenizer") if k in reading}
        made = prepare_inputs(network, inputs, make("gradient", {}), **how)
        return first_pass(made.net, tuple(i.x[:1] for i in made.inputs), made.inputs)[2]


def choose_checks(e: Explanation, kept: int) -> Plan:
    """Choose checks, and of how many rows, by the passes that a map took and the bytes that a row keeps."""
    spent = e.evidence.passes
    one = (spent["forward"] + spent["backward"]) / len(e)
    maps = EXPENSIVE_CHECKS if one > EXPENSIVE_PASSES else MAX_MAPS_PER_ROW
    passes = {g: n * one + (FORWARDS_FOR_CURVES if g == "faithfulness" else 0) for g, n in maps.items()}
    most = MAX_WORK_BYTES / max(kept, MIN_PASS_BYTES)
    able = [g for g in MAX_MAPS_PER_ROW if len(e) >= MIN_ROWS_COUNTED or g not in ROWS_COUNTED]
    few = [g for g in MAX_MAPS_PER_ROW if g not in able]
    for rows in MAX_ROWS_CHECKED:
        if min(rows, len(e)) * sum(passes[g] for g in able) <= most:
            return _plan(able, rows, few, [], passes, e, kept)
    rows, chosen = min(MAX_ROWS_CHECKED[-1], len(e)), ["numerical"]
    for group in able[1:]:
        if rows * (passes[group] + sum(passes[g] for g in chosen)) <= most:
            chosen.append(group)
    while rows > 1 and len(chosen) == 1 and rows * passes["numerical"] > most:
        rows //= 2
    return _plan(chosen, rows, few, [g for g in able if g not in chosen], passes, e, kept)


def _plan(
    groups: list[str], rows: int, few: Sequence[str], expensive: Sequence[str], passes: dict[str, float], e: Explanation, kept: int
) -> Plan:  # fmt: skip
    count = min(rows, len(e)) * sum(passes[g] for g in groups)
    each = max(kept, MIN_PASS_BYTES)
    said = (
        f"Made unasked: {_listed(groups)}, which take up to about {_round(count)} passes of a row through the network, counted at {_size(each)} each: {_size(count * each)} "
        f"of the {_size(MAX_WORK_BYTES)} that the checks of a method may take before they are asked for. It is counted, not timed."
    )
    why = [f"{_listed(few)} (fewer than {MIN_ROWS_COUNTED} rows tell nothing)"] if few else []
    why += [f"{_listed(expensive)} (more than {_size(MAX_WORK_BYTES)})"] if expensive else []
    said += f" Left out: {'; '.join(why)}; checks='all' leaves out nothing." if why else ""
    return Plan(groups, rows, said, not why)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


def _round(count: float) -> str:
    """Two digits are enough."""
    return f"{int(float(f'{count:.2g}')):,}"


def _size(count: float) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}" if count < 1000 * unit else f"{_round(count / unit)} {name}"
    return f"{count / 1e3:.3g} kB"
