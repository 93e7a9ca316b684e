"""Which checks a report runs by default: decided by counting passes, never by the clock, so that the same call gives the same page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from whybox.checks.check import CHECK_GROUPS
from whybox.checks.cost import map_passes
from whybox.explanation.explanation import Explanation
from whybox.methods.saliency.first_pass import first_pass
from whybox.methods.saliency.make_method import make_method
from whybox.methods.saliency.options import ReadingOptions
from whybox.methods.saliency.prepare_inputs import prepare_inputs
from whybox.models.registry import as_network

__all__ = ["CheckChoice", "bytes_per_row", "choose_checks", "requested_checks"]

MAX_WORK_BYTES: Final = 100e9  # of intermediate results: about a minute of one core, for a method
MIN_PASS_BYTES: Final = 100e3  # that a pass counts at least: small networks spend their time outside of arithmetic
MAX_ROWS_CHECKED: Final = (16, 8, 4)  # the most that stay within MAX_WORK_BYTES
MIN_ROWS_COUNTED: Final = 4  # fewer rows tell nothing in a check that needs rows
BY_COST: Final = sorted(CHECK_GROUPS, key=lambda g: (g.cost.n_forwards > 0, g.cost.n_maps))  # those of few maps first


@final
@dataclass(frozen=True)
class CheckChoice:
    """The checks to run: groups of them and the number of rows; `reason` in words; `complete`: True if none is left out."""

    groups: Sequence[str] | str
    rows: int
    reason: str
    complete: bool


def requested_checks(requested: Sequence[str] | str) -> CheckChoice:
    """The checks that the caller asks for, whatever they cost."""
    named = requested if isinstance(requested, str) else ", ".join(requested)
    return CheckChoice(requested, MAX_ROWS_CHECKED[0], f"Checks asked for: {named}.", True)


def bytes_per_row(net: Any, inputs: Any, reading: ReadingOptions, function: Callable[[Any], Any] | None = None) -> int:
    """Bytes that a derivative at one row keeps: a size of the network that is the same on every machine.

    Args:
        net, inputs, reading: of :func:`whybox.report`. function: of the outputs, if the target is one.
    """
    network = as_network(net)
    network = network if function is None else network.with_head(function)
    with network.session():
        prepared = prepare_inputs(network, inputs, make_method("gradient", {}), reading)
        return first_pass(prepared.net, tuple(i.x[:1] for i in prepared.inputs), prepared.inputs)[2]


def choose_checks(e: Explanation, row_bytes: int) -> CheckChoice:
    """Choose checks and the number of rows, by the passes that a map took and the bytes that a row keeps."""
    passes = {group.name: group.cost.passes_per_row(map_passes(e)) for group in BY_COST}
    max_passes = MAX_WORK_BYTES / max(row_bytes, MIN_PASS_BYTES)
    possible = [g.name for g in BY_COST if len(e) >= MIN_ROWS_COUNTED or not g.cost.needs_rows]
    too_few_rows = [name for name in passes if name not in possible]
    for rows in MAX_ROWS_CHECKED:
        if min(rows, len(e)) * sum(passes[name] for name in possible) <= max_passes:
            return _plan_checks(possible, rows, too_few_rows, [], passes, e, row_bytes)
    rows, chosen = min(MAX_ROWS_CHECKED[-1], len(e)), possible[:1]
    for name in possible[1:]:
        if rows * (passes[name] + sum(passes[g] for g in chosen)) <= max_passes:
            chosen.append(name)
    while rows > 1 and len(chosen) == 1 and rows * passes[chosen[0]] > max_passes:
        rows //= 2
    expensive = [name for name in possible if name not in chosen]
    return _plan_checks(chosen, rows, too_few_rows, expensive, passes, e, row_bytes)


def _plan_checks(
    groups: list[str], rows: int, too_few_rows: Sequence[str], expensive: Sequence[str], passes: dict[str, float], e: Explanation, row_bytes: int
) -> CheckChoice:  # fmt: skip
    count = min(rows, len(e)) * sum(passes[g] for g in groups)
    pass_bytes = max(row_bytes, MIN_PASS_BYTES)
    reason = (
        f"Run by default: {_listed_names(groups)}, up to about {_round_seconds(count)} passes of a row through the network "
        f"at {_map_size(pass_bytes)} each: {_map_size(count * pass_bytes)} of the {_map_size(MAX_WORK_BYTES)} "
        "that checks of a method may take by default. This is counted, not timed."
    )
    left_out = (
        [f"{_listed_names(too_few_rows)} (fewer than {MIN_ROWS_COUNTED} rows tell nothing)"] if too_few_rows else []
    )
    left_out += [f"{_listed_names(expensive)} (more than {_map_size(MAX_WORK_BYTES)})"] if expensive else []
    reason += f" Left out: {'; '.join(left_out)}; checks='all' leaves out nothing." if left_out else ""
    return CheckChoice(groups, rows, reason, not left_out)


def _listed_names(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


def _round_seconds(count: float) -> str:
    """A number with two digits."""
    return f"{int(float(f'{count:.2g}')):,}"


def _map_size(count: float) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}" if count < 1000 * unit else f"{_round_seconds(count / unit)} {name}"
    return f"{count / 1e3:.3g} kB"
