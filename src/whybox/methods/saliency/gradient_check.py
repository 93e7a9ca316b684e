"""Are a network's derivatives those of its outputs? They are compared with differences of outputs at a few rows, in random directions.

They are not if the network cuts some off (detach, stop_gradient), has its own backward (autograd.Function, custom_vjp, a straight-through rounding), or rounds.
A quick check takes two forwards a row. If it finds something, derivatives are taken again near the row, away from kinks that rows are often at (zeros
before a ReLU), and compared with differences of up to five widths to both sides. A network is refused if two neighbouring widths agree in two directions of four.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import UnsupportedModelError, WhyboxError
from whybox.models.differentiable import Differentiable

__all__ = ["CHECK_TARGETS", "RowCheck", "check_row", "input_sizes", "step_sizes", "typical_size", "unit_roundoff"]

CHECK_TARGETS: Final = 8  # most outputs that are checked for a row
STEP_SHARE: Final = 1e-2  # of the size of the input's numbers
SMALLER_STEP: Final = 0.125  # of that step, if the quick check finds something
STEP_WIDTHS: Final = (4.0, 1.0, 0.25, 0.0625, 0.0156)  # of that step
FINE_WIDTH: Final = 0.06  # finer ones are taken if they are not lost in rounding:
VISIBLE_CHANGE: Final = 20.0  # times as much change
START_DISTANCE: Final = 2.0  # distance of the full check from the row, in steps
MAX_DIRECTIONS: Final = 4
MIN_REFUTED: Final = 2  # directions that suffice
MAX_SPREAD: Final = 0.2  # of four residuals that agree, relative to their mean
MIN_RELATIVE_ERROR: Final = 0.01  # a third of what is refused: rounding alone causes errors of two hundredths in single precision if numbers are large
MAX_FLAT_SLOPE: Final = 0.05  # of the slope expected: less is flat, as between the steps of a rounded function
MAX_COARSE_ERROR: Final = 0.3  # a rounded function with a larger error over the widest step is not finely rounded
ROUNDING_OPERATORS: Final = frozenset({"round", "floor", "ceil", "trunc", "fix", "int", "long", "short", "byte", "char", "a cast to whole numbers"})  # fmt: skip

_InputMoves = dict[int, Floats]


@final
@dataclass(frozen=True)
class RowCheck:
    """One row at which derivatives are checked.

    Attributes:
        net: the network, or its part from a layer on.
        x: its inputs, one array each, (1, ...); floats as float64.
        typical_sizes: for each differentiated input the typical size of its numbers, to be broadcast to it.
        output_positions: of the outputs that are checked, in the flattened outputs. output_shape: of one row's outputs.
    """

    net: Differentiable
    x: tuple[npt.NDArray[Any], ...]
    typical_sizes: Mapping[int, Floats]
    output_positions: npt.NDArray[np.intp]
    output_shape: tuple[int, ...]

    def scores_at(self, moves: _InputMoves | None = None) -> tuple[Floats, float, _InputMoves]:
        """Scores (targets,), the largest absolute output, and the actual moves of the inputs, rounded to the network's type."""
        arrays, actual = [], {}
        for i, x in enumerate(self.x):
            if i not in self.typical_sizes:
                arrays.append(self.net.array(x))
                continue
            arrays.append(self.net.array(x if moves is None else x + moves[i]))
            actual[i] = self.net.numpy(arrays[-1]) - x
        outputs = self.net.numpy(self.net.forward(tuple(arrays))).reshape(-1)
        return outputs[self.output_positions], float(np.abs(outputs).max(initial=0.0)), actual

    def moved_input(self, input_index: int, move: Floats | None) -> npt.NDArray[Any]:
        """An input near the row, as the network gets it."""
        return self.x[input_index] if move is None else self.net.numpy(self.net.array(self.x[input_index] + move))

    def target_gradients(self) -> list[_InputMoves]:
        """Derivatives of each target here."""
        _, pull = self.net(tuple(self.net.array(x) for x in self.x))
        found = []
        for k, place in enumerate(self.output_positions):
            cotangent = np.zeros((1, int(np.prod(self.output_shape, dtype=int))), dtype=np.float32)
            cotangent[0, place] = 1
            grads = pull(
                self.net.array(cotangent.reshape(1, *self.output_shape)), last=k == len(self.output_positions) - 1
            )
            found.append({i: self.net.numpy(grads[i]) for i in self.typical_sizes})
        return found

    def gradient_breaks(self) -> tuple[str, ...]:
        """Operations of the network that derivatives do not follow, by name."""
        return self.net.gradient_breaks(tuple(map(self.net.array, self.x)))

    def rounding_noise(self, largest: float) -> float:
        """The largest error of a score from rounding alone."""
        return (4 if "16" in self.net.arithmetic else 64) * unit_roundoff(self.net.arithmetic) * largest

    @property
    def relative_tolerance(self) -> float:
        """Largest difference between derivatives and differences, relative to the expected change."""
        return 0.25 if "16" in self.net.arithmetic else 0.003


def unit_roundoff(arithmetic: str) -> float:
    """Rounding of one operation in a network's arithmetic."""
    if "16" in arithmetic:
        return 2.0**-8 if "bfloat16" in arithmetic else 2.0**-11
    return 2.0**-53 if arithmetic == "float64" else 2.0**-24


def typical_size(x: npt.NDArray[Any]) -> Floats:
    """Typical size of numbers: their root mean square, 1 if all are 0."""
    return np.asarray(np.sqrt(np.mean(np.square(x, dtype=np.float64))) or 1.0)


def input_sizes(x: npt.NDArray[Any], dims: Sequence[str]) -> Floats:
    """Typical size of an input's numbers: of each feature if it has features, which have units of their own; else one size for all."""
    if dims[-1] != "feature":
        return typical_size(x)
    each = np.sqrt(np.mean(np.square(x, dtype=np.float64), axis=tuple(range(x.ndim - 1))))
    return np.where(each > 0, each, np.median(each[each > 0]) if each.any() else 1.0)


def check_row(
    row: RowCheck, gradients: Sequence[_InputMoves], largest: float, draws: np.random.Generator
) -> str | None:
    """Compare derivatives at a row with differences of its scores.

    Args:
        row: the row. gradients: derivatives of each of its outputs, an array an input. largest: largest absolute output. draws: random numbers, for directions.

    Returns:
        A remark if the network has operations that derivatives do not follow and differences cannot show their effect; else None.

    Raises:
        UnsupportedModelError: differences of outputs agree with each other and not with the derivatives.
    """
    try:
        with np.errstate(all="ignore"):
            suspects, visible = _quick_check(row, gradients, largest, draws, 1.0)
            if len(suspects):  # perhaps there is a kink
                suspects = np.intersect1d(suspects, _quick_check(row, gradients, largest, draws, SMALLER_STEP)[0])
            if len(suspects):
                relative_error, breaks = _full_check(
                    replace(row, output_positions=row.output_positions[suspects[:2]]), draws
                )
            else:
                relative_error, breaks = (0.0, ()) if visible else (float("nan"), row.gradient_breaks())
    except (MemoryError, WhyboxError):
        raise
    except Exception as error:  # the network may refuse numbers that are not those of its rows
        if "OutOfMemory" in type(error).__name__:
            raise
        return None
    if relative_error > 0:
        raise UnsupportedModelError(_refusal_text(breaks, relative_error))
    if breaks and np.isnan(relative_error):
        return (
            f"UNCHECKED: the network has operations that derivatives do not follow ({', '.join(breaks)}), and differences of its outputs do not show here whether its "
            "derivatives are right; the map relies on them. 'occlusion' and 'shapley' need no derivatives"
        )
    return None


def _quick_check(
    row: RowCheck, gradients: Sequence[_InputMoves], largest: float, draws: np.random.Generator, width: float
) -> tuple[npt.NDArray[np.intp], bool]:
    """Scores that change otherwise than derivatives predict, over this width; and whether any change is visible above rounding."""
    steps, expected = step_sizes(row, gradients, largest)
    direction = {i: width * s * draws.standard_normal(row.x[i].shape) for i, s in steps.items()}
    up, most, moved_up = row.scores_at(direction)
    down, _, moved_down = row.scores_at({i: -m for i, m in direction.items()})
    deviation = np.abs(
        up - down - [_directional_change(g, moved_up) - _directional_change(g, moved_down) for g in gradients]
    )
    moved, noise = 2 * width * expected + np.abs(up - down), row.rounding_noise(max(largest, most))
    return np.flatnonzero(~(deviation <= row.relative_tolerance * moved + noise)), bool(
        (moved > 3 * noise).any() or not moved.any()
    )


def step_sizes(row: RowCheck, gradients: Sequence[_InputMoves], largest: float) -> tuple[_InputMoves, Floats]:
    """Step sizes of each input, and the expected change of each score (root mean square).

    A hundredth of the input's size; less if that is expected to change the output much, more (up to ten times) if the change would hardly be visible.
    """
    each = {
        i: np.array([np.sqrt(np.sum((g[i] * size) ** 2)) for g in gradients]) for i, size in row.typical_sizes.items()
    }  # a score's change for a step of the input's own size
    visible = 500 * row.rounding_noise(largest)
    large_change = max(0.03 * largest, visible)
    shares = {}
    for i, change in each.items():
        most = float(change.max())
        share = (
            STEP_SHARE
            if most <= 0
            else min(max(STEP_SHARE, min(visible / most, 10 * STEP_SHARE)), max(large_change / most, 1e-6))
        )
        shares[i] = share
    steps = {i: shares[i] * size for i, size in row.typical_sizes.items()}
    expected = np.sqrt(np.sum([(shares[i] * each[i]) ** 2 for i in each], axis=0))
    return steps, expected


def _directional_change(gradient: _InputMoves, moves: _InputMoves) -> float:
    return float(sum(np.sum(gradient[i] * m) for i, m in moves.items()))


def _full_check(row: RowCheck, draws: np.random.Generator) -> tuple[float, tuple[str, ...]]:
    """Relative error of the derivatives (0: they are right; NaN: undecided), and operations that they do not follow."""
    breaks = row.gradient_breaks()
    verdicts: list[float] = []
    while len(verdicts) < MAX_DIRECTIONS:
        verdicts.append(_direction_verdict(row, draws, rounded=bool(ROUNDING_OPERATORS & set(breaks))))
        if sum(v > 0 for v in verdicts) == MIN_REFUTED:
            return max(v for v in verdicts if v > 0), breaks
        if sum(v == 0 for v in verdicts) > MAX_DIRECTIONS - MIN_REFUTED:
            return 0.0, breaks
    return float("nan"), breaks


def _refusal_text(breaks: Sequence[str], worst: float) -> str:
    cause = (
        f"It uses {', '.join(breaks)}"
        if breaks
        else "It cuts some off (detach, stop_gradient), has an operator with its own backward (autograd.Function, custom_vjp), or numbers too large for its arithmetic"
    )
    return (
        f"the network's derivatives are not those of its outputs: off by {worst:.0%} in a random direction, where differences of outputs agree with each "
        f"other. {cause}. A map of them would be wrong: take that out of the network, or use a method without derivatives: 'occlusion', 'shapley'."
    )


def _direction_verdict(row: RowCheck, draws: np.random.Generator, *, rounded: bool) -> float:
    """Relative error of the derivatives in one direction near the row; 0: they are right; NaN: undecided."""
    away = {
        i: START_DISTANCE * STEP_SHARE * size * draws.standard_normal(row.x[i].shape)
        for i, size in row.typical_sizes.items()
    }
    here = replace(row, x=tuple(row.moved_input(i, away.get(i)) for i in range(len(row.x))))
    centre, large, _ = here.scores_at()
    gradients = here.target_gradients()
    steps, expected = step_sizes(here, gradients, large)
    direction = {i: s * draws.standard_normal(row.x[i].shape) for i, s in steps.items()}
    signal = float(expected.min()) or STEP_SHARE * large
    widths = [w for w in STEP_WIDTHS if w >= FINE_WIDTH or w * signal > VISIBLE_CHANGE * here.rounding_noise(large)]
    slopes_by_width: dict[float, tuple[Floats, Floats]] = {}
    for width in widths if rounded else widths[::-1]:
        slopes, predicted = (np.empty((2, len(row.output_positions))) for _ in range(2))
        for side, sign in enumerate((1.0, -1.0)):
            scores, most, moved = here.scores_at({i: sign * width * m for i, m in direction.items()})
            slopes[side] = sign * (scores - centre) / width
            predicted[side] = [sign * _directional_change(g, moved) / width for g in gradients]
            large = max(large, most)
        slopes_by_width[width] = slopes, predicted
        if all(
            _derivatives_agree(slopes_by_width, t, float(expected[t]), here, large, rounded=rounded)
            for t in range(len(row.output_positions))
        ):
            return 0.0
    found = [
        _target_verdict(slopes_by_width, t, float(expected[t]), here, large, rounded=rounded)
        for t in range(len(row.output_positions))
    ]
    return float(np.nanmax(found)) if np.greater(found, 0).any() else float("nan")


_SlopesByWidth = Mapping[
    float, tuple[Floats, Floats]
]  # for each width: slopes of scores and their predictions by derivatives, (both sides, targets)


def _derivatives_agree(
    slopes_by_width: _SlopesByWidth, t: int, expected: float, row: RowCheck, large: float, *, rounded: bool
) -> bool:
    """True if differences over any width agree with the derivatives; for a network that rounds, over a wide one."""
    for width, (slopes, predicted) in slopes_by_width.items():
        size = max(expected, float(np.abs(slopes[:, t]).mean()))
        deviation = abs(float((slopes - predicted)[:, t].mean()))
        if deviation <= row.relative_tolerance * size + row.rounding_noise(large) / width / 2 and (
            width >= 1 or not rounded
        ):
            return True
    return False


def _target_verdict(
    slopes_by_width: _SlopesByWidth, t: int, expected: float, row: RowCheck, large: float, *, rounded: bool
) -> float:
    """As _verdict, of one target."""
    if _derivatives_agree(slopes_by_width, t, expected, row, large, rounded=rounded):
        return 0.0
    widths = np.array(sorted(slopes_by_width, reverse=True))
    slopes, predicted = (np.array([slopes_by_width[w][part][:, t] for w in widths]) for part in (0, 1))
    residuals, floors = slopes - predicted, row.rounding_noise(large) / widths
    flat = (
        np.abs(slopes[-2:]).max() <= MAX_FLAT_SLOPE * expected + floors[-1]
        and np.abs(predicted[-2:]).min() > MAX_FLAT_SLOPE * expected
    )
    if flat and not abs(residuals[0].mean()) > MAX_COARSE_ERROR * expected:
        return float("nan")
    finest = len(widths) - 2
    for k in (
        (0, 1) if rounded else range(finest, -1, -1)
    ):  # the finest width that rounding does not hide; of rounded functions the widest
        four = residuals[k : k + 2].ravel()
        middle, size = abs(float(four.mean())), max(expected, float(np.abs(slopes[k : k + 2]).mean()))
        if middle > 3 * (max(row.relative_tolerance, MIN_RELATIVE_ERROR) * size + float(floors[k + 1])):
            agree = MAX_SPREAD * middle * (2 if rounded else 1)
            if np.ptp(four) <= agree:
                return middle / float(np.maximum(np.abs(slopes[k : k + 2]), np.abs(predicted[k : k + 2])).max())
            if not rounded and np.ptp(four) > agree + 2 * float(floors[k + 1]):
                break
    return float("nan")
