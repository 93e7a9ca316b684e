"""Maps of masked rows, recomputed by hand: the numbers with numpy from recorded scores, and one mask of a row applied with numpy and evaluated alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.saliency.base import MethodOutput
from whybox.methods.saliency.gradient_check import unit_roundoff
from whybox.methods.saliency.lime import LimeParts
from whybox.methods.saliency.masking import Replacement, resolve_replacement
from whybox.methods.saliency.occlusion import Occlusion, value_per_input
from whybox.methods.saliency.problem import SaliencyProblem
from whybox.methods.saliency.rise import Rise
from whybox.methods.saliency.segment_shapley import ShapleyParts
from whybox.methods.saliency.spot_lime import lime_numbers
from whybox.methods.saliency.spot_record import MaskedBlock, RecordedPositions, SpotRecord
from whybox.methods.saliency.spot_rows import RecomputedNumbers, compare_with_map, outputs_alone, score_tolerance

__all__ = ["check_rows", "check_sampled_mask"]

SUM_WAY: Final = "with NumPy from recorded scores of masked rows, some of which were masked and evaluated again alone"
POINT_WAY: Final = "by masking the row with NumPy"
MASK_WAY: Final = "by evaluating one masked row alone"
MAX_PLAYERS: Final = 12  # of a game whose values are recomputed from their definition
NO_ESTIMATE: Final = (
    "not recomputed: the estimate of Shapley values from sampled coalitions, which has no second way; their sum was"
)


def check_rows(
    problem: SaliencyProblem,
    method: Any,
    output: MethodOutput,
    explanations: Sequence[Explanation],
    checker: SpotChecker,
    alone: Sequence[int],
) -> list[str]:
    """Recompute the maps of the recorded rows; return notes on what could not be.

    Args:
        alone: rows of which one masked copy is evaluated alone.

    Raises:
        SpotCheckError: a number differs.
    """
    record = problem.spot_record
    assert record is not None  # noqa: S101  # asked by the caller
    replacement = resolve_replacement(problem, method.baseline)
    mapped = [i for i, a in enumerate(output.maps[0]) if a is not None]
    notes: dict[str, None] = {}
    for row in record.rows.tolist():
        masked = record.masked_of(row)
        if masked is not None and row in alone:
            _check_points(problem, replacement, row, masked)
        one = None if masked is None else _MaskScores.from_block(masked)
        for t in record.targets:
            own = float(problem.scores[row, t])
            for e, i in zip(explanations, mapped, strict=True):
                numbers = _recompute_numbers(problem, method, one, own, row, t, i)
                if numbers is not None:
                    compare_with_map(
                        problem, e, output, checker, numbers, (row, t, i), record.input_positions[i], SUM_WAY
                    )
            if isinstance(method, ShapleyParts) and output.base_scores is not None:
                _check_sum(output, checker, own, row, t)
    if isinstance(method, ShapleyParts) and not output.exact:
        notes[NO_ESTIMATE] = None
    for row in alone:
        check_sampled_mask(problem, method, row)
    return list(notes)


def _check_points(problem: SaliencyProblem, replacement: Replacement, row: int, masked: MaskedBlock) -> None:
    """Compare recorded masked rows with the row masked by numpy."""
    record, checker = problem.spot_record, SpotChecker()  # these are no numbers of the answer
    assert record is not None  # noqa: S101  # asked by the caller
    at = np.array([row])
    held = [rows(at) for rows in replacement.reference_functions]
    for i, input_ in enumerate(problem.inputs):
        places = record.input_positions[i]
        own = places.numbers_of(input_.x[row : row + 1]).astype(np.float64)
        absent = np.concatenate([places.numbers_of(of[i][:1]) for of in held]).astype(np.float64)[
            masked.reference_numbers
        ]
        kept = masked.kept_shares[i]
        expected = np.where(kept == 1, own, np.where(kept == 0, absent, own * kept + absent * (1 - kept)))
        eps = unit_roundoff(problem.net.arithmetic)
        allowed = 0.0 if input_.without_gradient else 8 * eps * (np.abs(own) + np.abs(absent)) + 1e-30
        numbers = places.number_indices.reshape(-1)

        def place_of(k: tuple[int, ...], numbers: Any = numbers, name: str = input_.name) -> list[tuple[str, object]]:
            return [("row", row), ("mask", int(masked.mask_numbers[k[0]])), (f"number of {name}", int(numbers[k[1]]))]

        checker.compare(masked.points[i], expected, allowed, way=POINT_WAY, where=place_of)


def check_sampled_mask(problem: SaliencyProblem, method: Any, row: int) -> None:
    """Mask a row by numpy, evaluate it alone, and compare with the recorded score.

    Raises:
        SpotCheckError: they differ.
    """
    record = problem.spot_record
    assert record is not None  # noqa: S101  # asked by the caller
    if row not in record.sampled_points:
        return
    number, (reference, masks) = record.sampled_points[row]
    held = resolve_replacement(problem, method.baseline).reference_functions[reference](np.array([row]))
    arrays = []
    for input_, mask, absent in zip(problem.inputs, masks, held, strict=True):
        x = input_.x[row : row + 1]
        if mask is None:
            arrays.append(x)
            continue
        m = np.broadcast_to(mask, x.shape)
        if input_.without_gradient:
            arrays.append(np.where(m.astype(bool), x, absent[:1]).astype(x.dtype))
        else:
            arrays.append((x * m.astype(np.float64) + absent[:1] * (1 - m.astype(np.float64))).astype(x.dtype))
    outputs = outputs_alone(problem, arrays)
    masked = record.masked_of(row)
    assert masked is not None  # noqa: S101  # one of them was sampled
    which = np.flatnonzero((masked.mask_numbers == number) & (masked.reference_numbers == reference))[0]
    allowed = score_tolerance(problem.net.arithmetic) * (float(np.abs(outputs).max()) + 1e-6)
    own = outputs[problem.target.positions[:, row]]
    place = [("row", row), ("mask", number)]
    SpotChecker().compare(masked.scores[which], own, allowed, way=MASK_WAY, where=lambda _: place)


@final
@dataclass(frozen=True)
class _MaskScores:
    """Masks of one row and their scores, means over what masked positions hold.

    Attributes:
        first_copies: position of each mask among the row's masked copies. scores: (masks, targets). kept_shares: for each input (masks, numbers).
        n_hidden: number of positions that each mask hides.
    """

    first_copies: npt.NDArray[np.intp]
    scores: Floats
    kept_shares: tuple[Floats, ...]
    n_hidden: Floats

    @classmethod
    def from_block(cls, masked: MaskedBlock) -> _MaskScores:
        """Put the copies of each mask together."""
        _, first, which = np.unique(masked.mask_numbers, return_index=True, return_inverse=True)
        copies = np.bincount(which)
        scores = np.stack([np.bincount(which, s) / copies for s in masked.scores.T], axis=1)
        hidden = np.sum([h[first] for h in masked.n_hidden], axis=0)
        return cls(first, scores, tuple(k[first] for k in masked.kept_shares), hidden)


def _recompute_numbers(
    problem: SaliencyProblem, method: Any, one: _MaskScores | None, own: float, row: int, t: int, i: int
) -> RecomputedNumbers | None:
    """Numbers of one row at the places of an input; None if they cannot be recomputed."""
    record = problem.spot_record
    assert record is not None  # noqa: S101  # asked by the caller
    places = record.input_positions[i]
    shape = places.number_indices.shape
    if one is None:
        return RecomputedNumbers(np.zeros(shape), np.full(shape, 1e-300))
    scores, kept = one.scores[:, t], one.kept_shares[i]
    allowed = np.full(shape, 1e-9 * (abs(own) + float(np.abs(scores).max())) + 1e-300)
    if isinstance(method, Rise):
        return _rise_numbers(method, kept, scores, shape)
    if isinstance(method, ShapleyParts):
        width = int(np.prod(problem.inputs[i].x.shape[1:]))
        return _shapley_numbers(record, one.first_copies, scores, own, i, row, width)
    if isinstance(method, LimeParts):
        shown = np.concatenate(record.watched_masks[row])[one.first_copies]
        return lime_numbers(method, shown, kept, one.n_hidden, scores, shape)
    gone = kept == 0
    drops = own - scores
    total = (gone * drops[:, None]).sum(axis=0)
    if isinstance(method, Occlusion):
        window, stride = (value_per_input(problem, name, getattr(method, name))[i] for name in ("window", "stride"))
        windows = _windows_over(
            window, stride, problem.inputs[i].position_shape, places, problem.inputs[i].channel_axis is None
        )
        return RecomputedNumbers((total.reshape(shape) / windows[:, None]), allowed)
    size = np.where(gone.any(axis=0), (gone * one.n_hidden[:, None]).sum(axis=0), 1.0)
    return RecomputedNumbers((total / size).reshape(shape), allowed)


def _windows_over(
    window_given: Any, stride_given: Any, sizes: tuple[int, ...], places: RecordedPositions, without_channel: bool
) -> Floats:
    """How many windows contain each place, counted one by one."""
    axes = []
    for axis, n in enumerate(sizes):
        window = max(1, n // 8) if not (without_channel and len(sizes) == 1) else 1
        if window_given is not None:
            window = window_given[axis] if isinstance(window_given, (tuple, list)) else window_given
        stride = max(1, window // 2)
        if stride_given is not None:
            stride = stride_given[axis] if isinstance(stride_given, (tuple, list)) else stride_given
        starts, start = [], 0
        while start + window < n:
            starts.append(start)
            start += stride
        starts.append(n - window)
        axes.append([sum(a <= k < a + window for a in starts) for k in range(n)])
    at = np.stack(np.unravel_index(places.positions, sizes), axis=1).tolist()
    return np.array([np.prod([axis[k] for axis, k in zip(axes, place, strict=True)]) for place in at], dtype=float)


def _rise_numbers(method: Rise, kept: Floats, scores: Floats, shape: tuple[int, ...]) -> RecomputedNumbers:
    """The mean of the score where a position is visible, mask by mask, and its variance."""
    n, p = len(scores), method.keep
    centred = scores - scores.mean() if method.centred else scores
    each = centred[:, None] * (kept - (p if method.centred else 0.0)) / p
    value = each.sum(axis=0) / (n - 1 if method.centred else n)
    variance = np.maximum((each * each).mean(axis=0) - each.mean(axis=0) ** 2, 0.0) / (n - 1)
    size = np.abs(each).mean(axis=0) + 1e-9 * np.abs(scores).max()
    return RecomputedNumbers(
        value.reshape(shape),
        (1e-9 * size).reshape(shape) + 1e-300,
        variance.reshape(shape),
        (1e-9 * (each * each).mean(axis=0) / (n - 1)).reshape(shape) + 1e-300,
    )


def _shapley_numbers(
    record: SpotRecord, first: npt.NDArray[np.intp], scores: Floats, own: float, i: int, row: int, width: int
) -> RecomputedNumbers | None:
    """Shapley values from their definition: what a part adds to each coalition of the others; None where not all coalitions were evaluated.

    Args:
        first: position of each mask among the row's masked copies. scores: of the masks. own: of the row. i: the input. width: numbers of a row of it.
    """
    whole = record.whole_masks_of(row)
    if whole is None:
        return None
    shown = [None if w is None else w[first] for w in whole]
    parts = np.unique(np.concatenate([np.unique(w, axis=1) for w in shown if w is not None], axis=1), axis=1)
    parts = parts[:, ~parts.all(axis=0)]  # what is never hidden belongs to no part
    players = parts.shape[1]
    if players > MAX_PLAYERS or len(first) != 2**players - 1:
        return None
    worth = {tuple(coalition): float(s) for coalition, s in zip(parts.tolist(), scores, strict=True)}
    worth[(True,) * players] = own
    values = [_value_by_definition(worth, j, players) for j in range(players)]
    sizes = [
        sum(int((w == parts[:, j : j + 1]).all(axis=0).sum()) for w in shown if w is not None) for j in range(players)
    ]
    places, mask = record.input_positions[i], shown[i]
    assert mask is not None  # noqa: S101  # the input has a map
    by_channel = mask.shape[1] == width  # parts may differ from channel to channel
    positions = (
        places.number_indices.reshape(-1) if by_channel else np.repeat(places.positions, places.number_indices.shape[1])
    )
    out = np.zeros(len(positions))
    for n, position in enumerate(positions.tolist()):
        mine = np.flatnonzero((parts == mask[:, position : position + 1]).all(axis=0))
        if len(mine):
            out[n] = values[mine[0]] / sizes[mine[0]]
    allowed = np.full(len(out), 1e-9 * (abs(own) + float(np.abs(scores).max())) + 1e-300)
    return RecomputedNumbers(out.reshape(places.number_indices.shape), allowed.reshape(places.number_indices.shape))


def _value_by_definition(worth: dict[tuple[bool, ...], float], j: int, players: int) -> float:
    """The mean of what player j adds, over all orders of the players."""
    total = 0.0
    for coalition, score in worth.items():
        if not coalition[j]:
            size = sum(coalition)
            joined = worth[(*coalition[:j], True, *coalition[j + 1 :])]
            total += factorial(size) * factorial(players - size - 1) / factorial(players) * (joined - score)
    return total


def _check_sum(output: MethodOutput, checker: SpotChecker, own: float, row: int, t: int) -> None:
    """Values add up to the score less that of no part."""
    assert output.base_scores is not None  # noqa: S101  # asked by the caller
    total = sum(float(a[row].sum()) for a in output.maps[t] if a is not None)
    base = float(output.base_scores[row, t])
    allowed = 1e-8 * (abs(own) + abs(base)) + 1e-300
    checker.compare([total], [own - base], allowed, way=SUM_WAY, where=lambda _: [("row", row), ("sum of the map", "")])
