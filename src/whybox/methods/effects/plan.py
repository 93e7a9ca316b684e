"""What effects will cost: how many predictions, how long, how much memory; said before any of it is done.

Predictions are counted, not guessed: the rows are compared and the questions are made as they will be, and only the answers are left out. Seconds come from
timing: a model that is asked answers a few of the very questions, trees answer about some of the rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from whybox.core.progress import expected_batch_sizes
from whybox.methods.effects.extrapolation import OffData
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.predict_evaluator import CURVE_NUMBERS_HELD, FIRST, MOST, Evaluator, PredictEvaluator, Rows
from whybox.methods.effects.problem import EffectsProblem
from whybox.methods.effects.result import grouped
from whybox.methods.effects.tree_evaluator import TreeEvaluator
from whybox.models.blackbox import BlackBox

__all__ = ["EffectsPlan", "plan_effects"]

_PILOT: Final = (256, 1024)  # rows that trees are timed with
_MANY: Final = (2048, 8192)  # the same, for means, which come out of all rows at once
_CURVES, _SURFACES = 6, 2  # curves and surfaces that they are timed with
_FEW: Final = (32, 512, 4096)  # questions that a model is timed with: more only where that is next to nothing
_QUICK: Final = (0.2, 0.02)  # seconds after which no more of them are asked
_OFF: Final = (2, 12)  # points timed


@final
@dataclass(frozen=True)
class EffectsPlan:
    """What :func:`whybox.effects` will do with the same arguments.

    Attributes:
        method: what will be computed, in words. estimand: of what, as evidence records it.
        exact: whether the values are exact for the rows given (they are, of all kinds there are).
        kernel: how answers are found: ``"the trees' own leaves"``, or whose predictions.
        rows, curves, points: how many; points of all curves together.
        predictions: of single rows, to be asked for the curves; exactly as many, equal ones once. 0 where trees answer.
        brute: what these would be, each row and point by itself: points x rows for curves of means and of rows.
        checks: rows that the model's own predict is asked about beside these: to see what comes out, or to check our reading of it.
        model_calls: what evidence will count: checks, and the predictions where the model's own predict answers them.
        batches: calls of the model, about. seconds: about. memory_bytes: at most, about, beyond the rows given.
        spent: rows that the model's own predict was asked about to make this plan.
    """

    method: str
    estimand: str
    exact: bool
    kernel: str
    rows: int
    curves: int
    points: int
    predictions: int
    brute: int
    checks: int
    model_calls: int
    batches: int
    seconds: float
    memory_bytes: float
    spent: int

    @property
    def line(self) -> str:
        """The cost in one line."""
        if not self.predictions:
            return f"no predictions to ask for, about {_seconds(self.seconds)}"
        return f"asking the model for {self.predictions:,} predictions, about {_seconds(self.seconds)}"

    def __str__(self) -> str:
        several = "s" * (self.curves != 1)
        less = f" instead of {self.brute:,}" if self.predictions < self.brute else ""
        asks = (
            f"{self.predictions:,} predictions of single rows{less}, in about {self.batches:,} batch{'es' * (self.batches != 1)}"
            if self.predictions
            else "no predictions"
        )
        beside = f"; beside them {self.checks:,} rows to check the model" if self.checks else ""
        return "\n".join(
            [
                f"{self.method}: {self.curves:,} curve{several}, {self.points:,} points, {self.rows:,} rows",
                f"estimand  {self.estimand}; {'exact for these rows' if self.exact else 'estimated'}",
                f"found by  {self.kernel}",
                f"asks      {asks}{beside}",
                f"time      about {_seconds(self.seconds)}",
                f"memory    about {self.memory_bytes / 2**20:,.0f} MiB beyond the rows given",
            ]
        )


def _seconds(s: float) -> str:
    if s >= 60:
        return f"{s / 60:,.0f} min" if s < 7200 else f"{s / 3600:,.1f} h"
    return f"{s:.2g} s" if s >= 0.1 else f"{max(s, 1e-3) * 1e3:.0f} ms"


def plan_effects(asked: EffectsProblem) -> EffectsPlan:
    """Return what it will cost to answer a settled question.

    Raises:
        LimitError: more predictions than allowed, or curves that do not fit. OptionError: as :func:`whybox.effects`.
    """
    box = isinstance(asked.model, BlackBox)
    rounds: list[int] = []
    brute, seconds, memory, spent, kernels = 0, 0.0, 0.0, asked.shown, []
    every: list[Grid] = []
    batches = 0
    for evaluator, wanted in grouped(asked):
        began = time.perf_counter()
        grids = [asked.make(m) for m in wanted]
        here = asked.effect_kind.reserve(evaluator, grids)
        seconds += time.perf_counter() - began  # this much is done again
        if isinstance(evaluator, PredictEvaluator):
            overhead, each, used = _pace(evaluator, grids, sum(here), _allowed(asked, sum(here)))
            sizes = [expected_batch_sizes(n, overhead, each, first_size=FIRST, max_size=MOST) for n in here]
            batches += sum(map(len, sizes))
            seconds += sum(map(len, sizes)) * overhead + sum(here) * each
            spent += used if box else 0
            brute += asked.effect_kind.brute_force(evaluator, grids)
        elif isinstance(evaluator, TreeEvaluator):
            seconds += _tree_seconds(asked, evaluator, grids)
        memory = max(memory, _memory(asked, evaluator, grids, here))
        kernels.append(evaluator.kernel)
        rounds += here
        every += grids
    return EffectsPlan(
        method=asked.spec.title,
        estimand=asked.spec.estimand,
        exact=asked.spec.exact,
        kernel="; ".join(kernels),
        rows=len(asked.rows),
        curves=len(every),
        points=sum(len(g) for g in every),
        predictions=sum(rounds),
        brute=brute,
        checks=asked.checked,
        model_calls=asked.checked + (sum(rounds) if box else 0),
        batches=batches,
        seconds=seconds + _off_seconds(asked, every),
        memory_bytes=memory,
        spent=spent,
    )


def _allowed(asked: EffectsProblem, needed: int) -> int:
    """How many questions may be asked for a timing."""
    return needed if asked.max_evals is None else min(needed, max(asked.max_evals - asked.probed, 0))


def _pace(evaluator: PredictEvaluator, grids: Sequence[Grid], needed: int, most: int) -> tuple[float, float, int]:
    """Time the model: seconds a call, seconds a prediction, and how many rows that took."""
    grid = grids[0] if grids else None
    took: list[tuple[int, float]] = []
    for many, quick in zip(_FEW, (np.inf, *_QUICK), strict=True):
        size = min(many, most if not took else most // 8)
        if size == 0 or (took and (took[-1][1] > quick or size <= took[-1][0])):
            break
        began = time.perf_counter()
        evaluator.sample(grid, size)
        took.append((size, time.perf_counter() - began))
    if not took or not needed:
        return 0.0, 0.0, 0
    (size, seconds), used = took[-1], sum(n for n, _ in took)
    if len(took) == 1:
        return 0.0, seconds / size, used
    before, less = took[-2]
    each = max((seconds - less) / (size - before), 0.1 * seconds / size)
    return max(less - each * before, 0.0), each, used


def _tree_seconds(asked: EffectsProblem, trees: TreeEvaluator, grids: Sequence[Grid]) -> float:
    """Time trees on some of the rows, curves and surfaces."""
    total, kind = 0.0, asked.effect_kind
    for many, most in ((1, _CURVES), (2, _SURFACES)):
        those = [g for g in grids if len(g.features) == many]
        some = [those[i] for i in np.unique(np.linspace(0, len(those) - 1, most).astype(int))] if those else []
        if not some:
            continue
        spread = trees.spread(many) if kind.samples_variance else len(asked.rows)
        here = _growth(asked, trees, some, kind.compute, spread, _MANY if kind.mean_cost else _PILOT)
        if spread < len(asked.rows):
            here += _growth(asked, trees, some, lambda e, g: e.means(g), len(asked.rows), _MANY)
        total += here * len(those) / len(some)
    return total


def _growth(
    asked: EffectsProblem,
    trees: TreeEvaluator,
    grids: list[Grid],
    work: Callable[[Evaluator, list[Grid]], object],
    rows: int,
    sizes: tuple[int, int],
) -> float:
    """Seconds for so many rows, by a straight line through the times of two samples of them."""
    times = []
    for size in sorted({min(n, rows) for n in sizes}):
        picked = np.unique(np.linspace(0, len(asked.rows) - 1, size).astype(np.int64))
        part = Rows(asked.rows.table.rows(picked), np.full(len(picked), 1.0 / len(picked)))
        made = [
            replace(
                g, features=tuple(part.feature(p) for p in g.members), at=g.at[picked], same=g.same[picked], given=True
            )
            for g in grids
        ]
        few = TreeEvaluator(trees.model, part, trees.target, threads=trees.threads)
        began = time.perf_counter()
        work(few, made)
        times.append((len(picked), time.perf_counter() - began))
    (size, seconds), (before, less) = times[-1], times[0]
    if size == before:
        return seconds * rows / size if rows > size else seconds
    slope = max((seconds - less) / (size - before), 0.0)
    return seconds + slope * (rows - size)


def _off_seconds(asked: EffectsProblem, grids: Sequence[Grid]) -> float:
    """Time of the share off the data, by a few points of the first curve."""
    curves = [g for g in grids if len(g.features) == 1] if asked.effect_kind.off_data else []
    if not curves:
        return 0.0
    times = [time.perf_counter()]
    prepared = OffData(asked.rows)
    times.append(time.perf_counter())
    sizes = [min(n, len(curves[0])) for n in _OFF]
    for size in sizes:
        prepared(curves[0].pick(np.unique(np.linspace(0, len(curves[0]) - 1, size).astype(np.int64))))
        times.append(time.perf_counter())
    ready, less, more = np.diff(times)
    point = max(more - less, 0.0) / max(sizes[1] - sizes[0], 1)
    return float(ready + len(curves) * max(less - sizes[0] * point, 0.0) + point * sum(len(g) for g in curves))


def _memory(asked: EffectsProblem, evaluator: Evaluator, grids: Sequence[Grid], rounds: Sequence[int]) -> float:
    """Bytes at most, about: codes of the rows, the result, and the blocks that are worked on."""
    n, outputs, kind = len(asked.rows), len(asked.target.names), asked.effect_kind
    width = asked.rows.table.width
    raw = outputs if isinstance(evaluator, PredictEvaluator) else max(outputs, len(asked.model.outputs.names))
    cells = sum(len(g) for g in grids)
    codes = 8.0 * n * (3 * width + 4)
    result = 8.0 * cells * outputs * (n if kind.by_row else 2) + 8.0 * n * outputs
    if isinstance(evaluator, PredictEvaluator):
        batch = min(max(rounds, default=0), MOST)
        return (
            codes
            + result
            + 16.0 * n * (len(grids) + 1)
            + 24.0 * batch * (width + outputs)
            + 32.0 * min(max(rounds, default=0) * outputs, CURVE_NUMBERS_HELD)
            + kind.bytes_per_row * n
        )
    columns = asked.model.inputs.width
    block = min(8.0 * n * kind.numbers_per_row(grids) * raw, 8.0 * CURVE_NUMBERS_HELD)
    sums = 8.0 * cells * raw * (8 + 6 * asked.threads)
    return codes + result + 16.0 * n * columns + 2 * block + sums
