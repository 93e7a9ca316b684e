"""What maps will cost: a few rows are explained, and their passes, their time and their memory are scaled up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from whybox.explanation.explanation import Explanation
from whybox.methods.common.plan import MethodPlan, smallest_seconds
from whybox.methods.registry import find, load
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.options import CALL_OPTIONS
from whybox.methods.saliency.prepare_inputs import cut_option, cut_to_rows, one_a_row
from whybox.methods.saliency.saliency import saliency
from whybox.methods.saliency.spot_checks import rows_alone

__all__ = ["first_rows", "first_targets", "plan_saliency", "row_count"]

MAX_PILOT_ROWS: Final = 5  # rows that are explained to see what a row costs
MIN_PILOT_ROWS: Final = 2  # and of these so few first: a single row is evaluated beside another one, two rows are not


def plan_saliency(net: Any, inputs: Any, target: Any = None, method: Any = "gradient", **options: Any) -> Any:
    """Plan ``whybox.saliency``, by explaining two rows, and up to five together.

    Returns:
        MethodPlan: ``model_calls`` counts rows forward and backward through the network; of a list of methods a dict of them.

    Raises:
        WhyboxError: as ``whybox.saliency``.
    """
    if isinstance(method, (list, tuple)):
        return {str(getattr(m, "name", m)): plan_saliency(net, inputs, target, m, **options) for m in method}
    rows = row_count(inputs)
    pilot, each, slope = min(MAX_PILOT_ROWS, rows), 0.0, 0.0
    if rows > pilot:
        few, seconds_few = _timed_maps(net, inputs, target, method, rows, MIN_PILOT_ROWS, options)
    e, seconds = _timed_maps(net, inputs, target, method, rows, pilot, options)
    if rows > pilot:
        more = pilot - MIN_PILOT_ROWS
        each, slope = (_pass_count(e) - _pass_count(few)) / more, max(seconds - seconds_few, 0.0) / more
    passes = round(_pass_count(e) + each * (rows - pilot))
    return MethodPlan(
        method=e.evidence.method,
        method_id=e.method_id,
        kernel=e.evidence.kernel,
        exact=e.evidence.exact,
        rows=rows,
        model_calls=passes + _spot_passes(e, method, options, passes, rows, pilot),
        seconds=seconds + slope * (rows - pilot),
        notes=(
            f"Scaled up from the maps of {pilot} row{'s' * (pilot != 1)}; model calls are rows forward and backward, those of spot checks included.",
        ),
    )


def _timed_maps(
    net: Any, inputs: Any, target: Any, method: Any, rows: int, count: int, options: Mapping[str, Any]
) -> tuple[Explanation, float]:
    found: list[Any] = []
    each, at = one_a_row(*_input_shapes(inputs)), np.arange(count)
    method = cut_to_rows(method, at, each) if isinstance(method, Method) else method
    cut = {name: value if name in CALL_OPTIONS else cut_option(value, at, each) for name, value in options.items()}

    def explain_rows(_: None) -> None:
        found.append(saliency(net, first_rows(inputs, count), first_targets(target, rows, count), method, **cut))

    seconds = smallest_seconds(explain_rows, lambda: None, may_wait=True)
    return (found[0][0] if isinstance(found[0], tuple) else found[0]), seconds


def _spot_passes(e: Explanation, method: Any, options: Mapping[str, Any], passes: int, rows: int, pilot: int) -> int:
    """Rows forward and backward that the checks of the answer take, from those of the pilot's."""
    spot_checks = options.get("spot_checks")
    kind = type(method) if isinstance(method, Method) else load(find("saliency", method).run)
    checked = rows_alone(kind, spot_checks, _pass_count(e), pilot)
    done = 0 if e.evidence.spot_checks is None else e.evidence.spot_checks.predictions
    return round(done / checked * rows_alone(kind, spot_checks, passes, rows)) if checked else 0


def _input_shapes(inputs: Any) -> list[tuple[int, ...]]:
    """The shapes of all inputs that are arrays."""
    listed = inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, tuple) else (inputs,)
    return [tuple(map(int, a.shape)) for a in listed if hasattr(a, "shape")]


def _pass_count(e: Explanation) -> int:
    return e.evidence.passes["forward"] + e.evidence.passes["backward"]


def row_count(inputs: Any) -> int:
    """How many rows there are, of one input or of several."""
    if isinstance(inputs, str):
        return 1
    if isinstance(inputs, Mapping):
        inputs = next(iter(inputs.values()))
    elif isinstance(inputs, tuple):
        inputs = inputs[0]
    shape = getattr(inputs, "shape", None)
    return len(inputs) if shape is None else int(shape[0])


def first_rows(inputs: Any, count: int) -> Any:
    """The first rows, of every input."""
    if isinstance(inputs, str):
        return inputs
    if isinstance(inputs, Mapping):
        return {name: a[:count] for name, a in inputs.items()}
    return tuple(a[:count] for a in inputs) if isinstance(inputs, tuple) else inputs[:count]


def first_targets(target: Any, rows: int, count: int) -> Any:
    """The targets of the first rows, where there is one a row."""
    each = (
        not isinstance(target, (str, tuple))
        and getattr(target, "shape", None) != ()
        and hasattr(target, "__len__")
        and len(target) == rows
    )
    names = isinstance(target, list) and all(isinstance(t, str) for t in target)  # an axis of outputs
    return target[:count] if each and not names else target
