"""Are a network's derivatives those of its answers? Held against differences of answers at a few rows, in drawn directions.

Not where it cuts some off (detach, stop_gradient), has a backward of its own (autograd.Function, custom_vjp, a straight-through rounding), or rounds on the way.
A first look takes two forwards a row. Where it finds something, derivatives are taken again near the row, off the kinks that rows like to stand on (zeros
before a ReLU), and held against differences of up to five widths to both sides. Refused is what all of two neighbouring widths agree about in two directions of four.
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

__all__ = ["CHECK_TARGETS", "RowCheck", "check_row", "input_sizes", "typical_size"]

CHECK_TARGETS: Final = 8  # most outputs looked at for a row
STEP_SHARE: Final = 1e-2  # of the size of the input's numbers
SMALLER_STEP: Final = 0.125  # of that step, where the first look meets something
WIDTHS: Final = (4.0, 1.0, 0.25, 0.0625, 0.0156)  # of that step
FINE_WIDTH: Final = 0.06  # finer ones are taken where they are not lost in rounding:
VISIBLE_CHANGE: Final = 20.0  # times as much change
JITTER: Final = 2.0  # steps that the second look is away from the row
MAX_DIRECTIONS: Final = 4
MIN_REFUTED: Final = 2  # directions that suffice
MAX_SPREAD: Final = 0.2  # how far four residuals may be apart, of their mean, to agree
MIN_RELATIVE_ERROR: Final = 0.01  # a third of what is refused: rounding alone brings derivatives in single precision to two hundredths where numbers are large
MAX_FLAT_SLOPE: Final = 0.05  # of the slope expected: less is a staircase's tread
MAX_COARSE_ERROR: Final = 0.3  # a staircase that leaves its slope by more over the widest step is no fine rounding
ROUNDING_OPERATORS: Final = frozenset({"round", "floor", "ceil", "trunc", "fix", "int", "long", "short", "byte", "char", "a cast to whole numbers"})  # fmt: skip

_Moves = dict[int, Floats]


@final
@dataclass(frozen=True)
class RowCheck:
    """One row at which derivatives are checked.

    Attributes:
        net: the network, or what of it begins at a layer.
        x: what goes in, one array an input, (1, ...); floats as float64.
        sizes: for each input that derivatives are taken by: how large its numbers are, to be broadcast to it.
        places: of the outputs that are looked at, in the outputs flattened. shape: of one row's outputs.
    """

    net: Differentiable
    x: tuple[npt.NDArray[Any], ...]
    sizes: Mapping[int, Floats]
    output_positions: npt.NDArray[np.intp]
    shape: tuple[int, ...]

    def scores_at(self, moves: _Moves | None = None) -> tuple[Floats, float, _Moves]:
        """Scores (targets,), the largest output in size, and how far the inputs really went (they are rounded to the network's type)."""
        there, gone = [], {}
        for i, x in enumerate(self.x):
            if i not in self.sizes:
                there.append(self.net.array(x))
                continue
            there.append(self.net.array(x if moves is None else x + moves[i]))
            gone[i] = self.net.numpy(there[-1]) - x
        outputs = self.net.numpy(self.net.evaluate(tuple(there))).reshape(-1)
        return outputs[self.output_positions], float(np.abs(outputs).max(initial=0.0)), gone

    def moved_input(self, which: int, move: Floats | None) -> npt.NDArray[Any]:
        """An input somewhere near, as the network gets it."""
        return self.x[which] if move is None else self.net.numpy(self.net.array(self.x[which] + move))

    def gradients(self) -> list[_Moves]:
        """For each target its derivatives here."""
        _, pull = self.net(tuple(self.net.array(x) for x in self.x))
        found = []
        for k, place in enumerate(self.output_positions):
            cotangent = np.zeros((1, int(np.prod(self.shape, dtype=int))), dtype=np.float32)
            cotangent[0, place] = 1
            grads = pull(self.net.array(cotangent.reshape(1, *self.shape)), last=k == len(self.output_positions) - 1)
            found.append({i: self.net.numpy(grads[i]) for i in self.sizes})
        return found

    def gradient_breaks(self) -> tuple[str, ...]:
        """What the network has on the way that derivatives do not follow, by name."""
        return self.net.gradient_breaks(tuple(map(self.net.array, self.x)))

    def noise(self, largest: float) -> float:
        """What rounding alone may do to a score."""
        return (4 if "16" in self.net.arithmetic else 64) * _precision(self.net.arithmetic) * largest

    @property
    def tolerance(self) -> float:
        """Of the change expected: what derivatives and differences may be apart."""
        return 0.25 if "16" in self.net.arithmetic else 0.003


def _precision(arithmetic: str) -> float:
    if "16" in arithmetic:
        return 2.0**-8 if "bfloat16" in arithmetic else 2.0**-11
    return 2.0**-53 if arithmetic == "float64" else 2.0**-24


def typical_size(x: npt.NDArray[Any]) -> Floats:
    """How large numbers are: the root of their mean square, 1 where all are 0."""
    return np.asarray(np.sqrt(np.mean(np.square(x, dtype=np.float64))) or 1.0)


def input_sizes(x: npt.NDArray[Any], dims: Sequence[str]) -> Floats:
    """How large an input's numbers are: feature by feature where it has features, which come in any units; else one size for all."""
    if dims[-1] != "feature":
        return typical_size(x)
    each = np.sqrt(np.mean(np.square(x, dtype=np.float64), axis=tuple(range(x.ndim - 1))))
    return np.where(each > 0, each, np.median(each[each > 0]) if each.any() else 1.0)


def check_row(row: RowCheck, gradients: Sequence[_Moves], largest: float, draws: np.random.Generator) -> str | None:
    """Hold derivatives at a row against differences of its scores.

    Args:
        row: where. gradients: for each of its places the derivatives found there, an array an input. largest: of the row's outputs, in size. draws: for directions.

    Returns:
        A remark where the network is known to do something that derivatives do not follow and differences cannot tell what comes of it; None else.

    Raises:
        UnsupportedModelError: differences of answers agree among themselves, against the derivatives.
    """
    try:
        with np.errstate(all="ignore"):
            suspects, visible = _quick_check(row, gradients, largest, draws, 1.0)
            if len(suspects):  # perhaps it met a kink
                suspects = np.intersect1d(suspects, _quick_check(row, gradients, largest, draws, SMALLER_STEP)[0])
            if len(suspects):
                relative_error, breaks = _full_check(
                    replace(row, output_positions=row.output_positions[suspects[:2]]), draws
                )
            else:
                relative_error, breaks = (0.0, ()) if visible else (float("nan"), row.gradient_breaks())
    except (MemoryError, WhyboxError):
        raise
    except Exception as error:  # the network may refuse numbers that are not its rows' own
        if "OutOfMemory" in type(error).__name__:
            raise
        return None
    if relative_error > 0:
        raise UnsupportedModelError(_refusal_text(breaks, relative_error))
    if breaks and np.isnan(relative_error):
        return (
            f"UNCHECKED: the network has what derivatives do not follow ({', '.join(breaks)}), and differences of its answers do not tell here whether its derivatives "
            "are right; the map is what they say. 'occlusion' and 'shapley' do without them"
        )
    return None


def _quick_check(
    row: RowCheck, gradients: Sequence[_Moves], largest: float, draws: np.random.Generator, width: float
) -> tuple[npt.NDArray[np.intp], bool]:
    """Which scores move otherwise than derivatives say, over this width; and whether rounding leaves anything to be seen of any."""
    steps, expected = _steps(row, gradients, largest)
    direction = {i: width * s * draws.standard_normal(row.x[i].shape) for i, s in steps.items()}
    up, most, moved_up = row.scores_at(direction)
    down, _, moved_down = row.scores_at({i: -m for i, m in direction.items()})
    deviation = np.abs(up - down - [_directional(g, moved_up) - _directional(g, moved_down) for g in gradients])
    moved, noise = 2 * width * expected + np.abs(up - down), row.noise(max(largest, most))
    return np.flatnonzero(~(deviation <= row.tolerance * moved + noise)), bool(
        (moved > 3 * noise).any() or not moved.any()
    )


def _steps(row: RowCheck, gradients: Sequence[_Moves], largest: float) -> tuple[_Moves, Floats]:
    """Step sizes of each input, and the change of each score that they are expected to make (root mean square).

    A hundredth of the input's size; less where that is expected to change the answer much, more (up to ten times) where it would hardly be seen.
    """
    each = {
        i: np.array([np.sqrt(np.sum((g[i] * size) ** 2)) for g in gradients]) for i, size in row.sizes.items()
    }  # a score's change for a step of the input's own size
    visible = 500 * row.noise(largest)
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
    steps = {i: shares[i] * size for i, size in row.sizes.items()}
    expected = np.sqrt(np.sum([(shares[i] * each[i]) ** 2 for i in each], axis=0))
    return steps, expected


def _directional(gradient: _Moves, moves: _Moves) -> float:
    return float(sum(np.sum(gradient[i] * m) for i, m in moves.items()))


def _full_check(row: RowCheck, draws: np.random.Generator) -> tuple[float, tuple[str, ...]]:
    """How far derivatives are off (a share; 0: they hold; NaN: nothing can be told), and what the network has that they do not follow."""
    breaks = row.gradient_breaks()
    verdicts: list[float] = []
    while len(verdicts) < MAX_DIRECTIONS:
        verdicts.append(_verdict(row, draws, rounded=bool(ROUNDING_OPERATORS & set(breaks))))
        if sum(v > 0 for v in verdicts) == MIN_REFUTED:
            return max(v for v in verdicts if v > 0), breaks
        if sum(v == 0 for v in verdicts) > MAX_DIRECTIONS - MIN_REFUTED:
            return 0.0, breaks
    return float("nan"), breaks


def _refusal_text(breaks: Sequence[str], worst: float) -> str:
    cause = (
        f"It has {', '.join(breaks)} on the way"
        if breaks
        else "It cuts some off (detach, stop_gradient), has an operator with a backward of its own (autograd.Function, custom_vjp), or numbers too large for its arithmetic"
    )
    return (
        f"the network's derivatives are not those of its answer: off by {worst:.0%} in a direction drawn at random, where differences of answers agree among "
        f"themselves. {cause}. A map by them would be wrong: take that out of the network, or use a method that asks without derivatives: 'occlusion', 'shapley'."
    )


def _verdict(row: RowCheck, draws: np.random.Generator, *, rounded: bool) -> float:
    """One direction, near the row: how far derivatives are off (a share) where differences refute them; 0: they hold; NaN: nothing can be told."""
    away = {i: JITTER * STEP_SHARE * size * draws.standard_normal(row.x[i].shape) for i, size in row.sizes.items()}
    here = replace(row, x=tuple(row.moved_input(i, away.get(i)) for i in range(len(row.x))))
    centre, large, _ = here.scores_at()
    gradients = here.gradients()
    steps, expected = _steps(here, gradients, large)
    direction = {i: s * draws.standard_normal(row.x[i].shape) for i, s in steps.items()}
    signal = float(expected.min()) or STEP_SHARE * large
    widths = [w for w in WIDTHS if w >= FINE_WIDTH or w * signal > VISIBLE_CHANGE * here.noise(large)]
    slopes_by_width: dict[float, tuple[Floats, Floats]] = {}
    for width in widths if rounded else widths[::-1]:
        slopes, predicted = (np.empty((2, len(row.output_positions))) for _ in range(2))
        for side, sign in enumerate((1.0, -1.0)):
            scores, most, moved = here.scores_at({i: sign * width * m for i, m in direction.items()})
            slopes[side] = sign * (scores - centre) / width
            predicted[side] = [sign * _directional(g, moved) / width for g in gradients]
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


_Slopes = Mapping[
    float, tuple[Floats, Floats]
]  # for each width slopes and what derivatives make of them, (both sides, targets)


def _derivatives_agree(
    slopes_by_width: _Slopes, t: int, expected: float, row: RowCheck, large: float, *, rounded: bool
) -> bool:
    """Whether differences over any width are what derivatives say; of a network that rounds, over a wide one."""
    for width, (slopes, predicted) in slopes_by_width.items():
        size = max(expected, float(np.abs(slopes[:, t]).mean()))
        deviation = abs(float((slopes - predicted)[:, t].mean()))
        if deviation <= row.tolerance * size + row.noise(large) / width / 2 and (width >= 1 or not rounded):
            return True
    return False


def _target_verdict(
    slopes_by_width: _Slopes, t: int, expected: float, row: RowCheck, large: float, *, rounded: bool
) -> float:
    """As _verdict, of one target."""
    if _derivatives_agree(slopes_by_width, t, expected, row, large, rounded=rounded):
        return 0.0
    widths = np.array(sorted(slopes_by_width, reverse=True))
    slopes, predicted = (np.array([slopes_by_width[w][part][:, t] for w in widths]) for part in (0, 1))
    residuals, floors = slopes - predicted, row.noise(large) / widths
    flat = (
        np.abs(slopes[-2:]).max() <= MAX_FLAT_SLOPE * expected + floors[-1]
        and np.abs(predicted[-2:]).min() > MAX_FLAT_SLOPE * expected
    )
    if flat and not abs(residuals[0].mean()) > MAX_COARSE_ERROR * expected:
        return float("nan")
    finest = len(widths) - 2
    for k in (
        (0, 1) if rounded else range(finest, -1, -1)
    ):  # the finest that rounding does not hide, or of steps the widest
        four = residuals[k : k + 2].ravel()
        middle, size = abs(float(four.mean())), max(expected, float(np.abs(slopes[k : k + 2]).mean()))
        if middle > 3 * (max(row.tolerance, MIN_RELATIVE_ERROR) * size + float(floors[k + 1])):
            agree = MAX_SPREAD * middle * (2 if rounded else 1)
            if np.ptp(four) <= agree:
                return middle / float(np.maximum(np.abs(slopes[k : k + 2]), np.abs(predicted[k : k + 2])).max())
            if not rounded and np.ptp(four) > agree + 2 * float(floors[k + 1]):
                break
    return float("nan")
