"""Integrated gradients: the gradient averaged along the straight way from a baseline, times the way.

Source: Sundararajan, Taly & Yan 2017 (arXiv:1703.01365), equation 1 (the integral) and proposition 1 (completeness: it adds up to score - baseline's
score). How many gradients a row takes is decided for that row, see whybox.numerics.adaptive_quadrature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.progress import progress_counter
from whybox.core.validation import check_positive, check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, LimitError, NonFiniteError
from whybox.methods.saliency.base import Maps, Method, MethodOutput, SampleSums
from whybox.methods.saliency.baselines import Baseline, in_words, middle, resolve_baselines
from whybox.methods.saliency.problem import Grads, Indices, Question
from whybox.models.differentiable import Array, Differentiable
from whybox.numerics.adaptive_quadrature import MIN_NODES, QUADRATURE_LEVELS, AdaptiveQuadrature, gauss_legendre

__all__ = ["IntegratedGradients", "along", "base_scores"]

EXPECTED_NODES: Final = 48  # nodes of a row that memory is set aside for; more need leave
PROJECTIONS: Final = 32  # numbers that stand for a gradient when maps are compared


@final
@dataclass(frozen=True)
class IntegratedGradients(Method):
    """The mean gradient on the way from the baseline, times the way. Each row takes as many steps as it needs.

    Attributes:
        baseline: see whybox.methods.saliency.baselines; several are averaged.
        tol: completeness error wanted, relative to |score - base| (to a hundredth of what the score moves on the way, where that is more). The map must
            not change by more than three times this (relative, Euclidean) from the next coarser rule. Rows that miss either are marked.
        steps: a fixed number of Gauss-Legendre points instead; None: as many as `tol` takes.
        max_steps: most gradients for a row and baseline.
    """

    baseline: Any = None
    tol: float = 0.01
    steps: int | None = None
    max_steps: int = 512

    name: ClassVar[str] = "integrated_gradients"
    title: ClassVar[str] = "Integrated gradients"
    background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("tol", self.tol, 1.0)
        if self.steps is not None:
            check_whole_number("steps", self.steps)
        check_whole_number("max_steps", self.max_steps, MIN_NODES)

    def reference(self, q: Question) -> Sequence[npt.NDArray[Any] | None]:
        """The mean of the baselines."""
        return middle(q, self.baseline)

    def __call__(self, q: Question) -> MethodOutput:
        """Compute the maps.

        Raises:
            LimitError: the gradients of a few steps of one row do not fit into the budget.
            OptionError: see resolve_baselines.
        """
        q.needs_derivatives(self.name)
        baselines = resolve_baselines(q, self.baseline)
        bases = base_scores(q, baselines)
        said = f"gradient integrated on the straight way from what stands for absent ({in_words(baselines)})"
        if self.steps is not None:
            return MethodOutput(
                self._fixed(q, baselines, self.steps),
                f"{self.steps} Gauss-Legendre points",
                said,
                base=bases.mean(axis=0),
                tolerance=self.tol,
                extras={"steps": (("row",), np.full(q.rows, self.steps * len(baselines)))},
            )
        walks = _Walks(q, baselines, bases, self)
        walks.run()
        tail = ("row", "output") if q.target.several else ("row",)
        change = walks.change.max(axis=0)
        return MethodOutput(
            walks.maps,
            f"adaptive, {' '.join(str(len(w)) for w in QUADRATURE_LEVELS)} Patterson points, else a trapezoidal rule halved in places",
            said,
            base=bases.mean(axis=0),
            tolerance=self.tol,
            allowed=walks.allowed.mean(axis=0),
            settled=change <= 3 * self.tol,
            notes=walks.notes(),
            extras={
                "steps": (("row",), walks.steps.sum(axis=0)),
                "map_change": (tail, change if q.target.several else change[:, 0]),
            },
        )

    def _fixed(self, q: Question, baselines: tuple[Baseline, ...], steps: int) -> Maps:
        """The same points for every row."""
        t, w = gauss_legendre(steps)
        out = q.zeros()
        everyone = np.arange(q.rows)
        for k, baseline in enumerate(baselines):
            sums = SampleSums(q)
            for rows, step in q.pairs(steps, self.name if len(baselines) == 1 else f"{self.name} {k + 1}"):
                alone, back = np.unique(rows, return_inverse=True)
                _, _, grads = along(q, alone, baseline.rows(alone), back, t[step])
                share = q.net.array(w[step].astype(np.float32))
                for target, of in enumerate(grads):
                    for i, g in enumerate(of):
                        if g is not None:
                            sums.add(target, i, rows, g * _column(share, g))
            starts = baseline.rows(everyone)
            for maps, means in zip(out, sums.maps(1 / len(baselines)), strict=True):
                for given, start, to, mean in zip(q.inputs, starts, maps, means, strict=True):
                    if to is not None and mean is not None:
                        np.add(to, mean * (given.x - start), out=to)
        return out


def base_scores(q: Question, baselines: Sequence[Baseline]) -> Floats:
    """Scores of the baselines, (baselines, rows, targets): one forward each where they are the same for all rows.

    Raises:
        NonFiniteError: one of them is NaN or infinite.
    """
    everyone = np.arange(q.rows)
    q.know(everyone)
    out = np.empty((len(baselines), q.rows, q.target.count))
    same = [k for k, b in enumerate(baselines) if b.same]
    for n in range(0, len(same), q.at_once):
        some = same[n : n + q.at_once]
        parts = zip(*(baselines[k].rows(everyone[:1]) for k in some), strict=True)
        said = q.net.numpy(q.net.forward(tuple(q.net.array(np.concatenate(part)) for part in parts)))
        for k, answer in zip(some, said, strict=True):
            out[k] = q.target.scores(np.broadcast_to(answer, (q.rows, *answer.shape)), everyone)
    for k, baseline in enumerate(baselines):
        for start in range(0, 0 if baseline.same else q.rows, q.at_once):
            rows = everyone[start : start + q.at_once]
            out[k, rows] = q.asked(tuple(q.net.array(a) for a in baseline.rows(rows)), rows)
    if not np.isfinite(out).all():
        k, row, _ = map(int, np.argwhere(~np.isfinite(out))[0])
        raise NonFiniteError(
            f"the network answers what stands for absent in {{row}} ({baselines[k].said}) with NaN or infinity; choose another baseline.",
            row=row,
        )
    return out


def along(
    q: Question, rows: Indices, starts: Sequence[npt.NDArray[Any]], back: Indices, t: Floats
) -> tuple[list[Array], Floats, Grads]:
    """Go a share `t` (m,) of ways from baselines to rows.

    Args:
        rows: where ways end, (ways,). starts: where they begin, for each input (ways, ...). back: which way each point is on, (m,).

    Returns:
        The ways from baseline to row, for each input (m, ...) (the row itself where it holds whole numbers); scores there, (m, targets); gradients.
    """
    net = q.net
    share = net.array(t.astype(np.float32))
    ways, at = [], []
    for given, end, begin in zip(q.inputs, q.lift(rows), starts, strict=True):
        if given.whole:
            ways.append(net.take(end, back))
            at.append(ways[-1])
            continue
        start = net.array(begin)
        ways.append(net.take(end - start, back))
        at.append(net.take(start, back) + ways[-1] * _column(share, ways[-1]))
    scores, grads = q.gradients(tuple(at), rows[back])
    return ways, scores, grads


def _column(share: Array, like: Array) -> Array:
    """One number a row, to be multiplied with arrays of this shape."""
    return share.reshape(-1, *(1,) * (len(like.shape) - 1))


@final
@dataclass
class _Chunk:
    """Gradients times the way of some nodes, where the network computes: for each, whose it is and which of its nodes."""

    task: Indices
    slot: Indices
    values: list[list[Array | None]]


class _Walks:
    """All ways of all rows (a task is a row and a baseline), a pool of them at a time; those that are done leave it."""

    def __init__(
        self, q: Question, baselines: tuple[Baseline, ...], bases: Floats, method: IntegratedGradients
    ) -> None:
        self.q, self.baselines, self.bases, self.method = q, baselines, bases, method
        count = (len(baselines), q.rows)
        self.maps = q.zeros()
        self.steps = np.zeros(count, dtype=np.int64)
        self.change = np.zeros((*count, q.target.count))
        self.allowed = np.zeros((*count, q.target.count))
        self._scores = q.scores
        self._signs = [None if i.whole else q.net.array(_signs(i.x.shape[1:])) for i in q.inputs]
        self._at_start = [self._shadows_at(baseline) for baseline in baselines]
        self._pool: dict[int, AdaptiveQuadrature] = {}
        self._starts: dict[int, list[npt.NDArray[Any]]] = {}
        self._leave: set[int] = set()
        self._chunks: list[_Chunk] = []
        self._share_out()

    def _share_out(self) -> None:
        """Divide the budget: derivatives in flight, and gradients that are kept until their weights are known."""
        q = self.q
        width = 8 if "64" in q.net.arithmetic else 4
        node = width * q.target.count * sum(int(np.prod(i.x.shape[1:])) for i in q.inputs if not i.whole)
        kept = max(q.budget // 2, q.budget - q.row_saved * q.at_once)
        self.at_once = max(1, min(q.at_once, (q.budget - kept) // q.row_saved))
        if self.at_once * q.row_saved + kept > q.budget:
            kept = q.budget - q.row_saved * self.at_once
        self._room = kept // (2 * node)  # as much again while maps are summed and compared
        self.most = int(min(self.method.max_steps, self._room))
        if self.most < min(self.method.max_steps, 2 * MIN_NODES):
            raise LimitError(
                Argument("method", "integrated_gradients"),
                f" keeps {node / 1e6:,.1f} MB a step and row until the row is done, beside {q.row_saved / 1e6:,.0f} MB for a derivative: "
                f"that does not fit into the budget of {q.budget / 1e6:,.0f} MB. Raise it, explain fewer targets at a time, or give ",
                Argument("steps", 50),
                ".",
            )
        self.soft = min(EXPECTED_NODES, self.most)
        self.width = int(max(1, min(2 * self.at_once, 1 + (self._room - self.most) // self.soft)))

    def run(self) -> None:
        """Add nodes until every row is done."""
        tasks = len(self.baselines) * self.q.rows
        waiting = iter(range(tasks))
        with progress_counter(
            tasks, description=self.method.name, unit="rows" if len(self.baselines) == 1 else "rows x baselines"
        ) as tick:
            while True:
                while self._fits(len(self._leave), len(self._pool) + 1) and (task := next(waiting, None)) is not None:
                    self._pool[task] = self._begun(task)
                if not self._pool:
                    return
                self._ask()
                tick(self._sort_out())

    def _fits(self, much: int, all_: int) -> bool:
        """Whether so many ways fit, so many of which may take all steps; one that may is always among them."""
        return all_ <= self.width and max(much, 1) * self.most + (all_ - max(much, 1)) * self.soft <= self._room

    def notes(self) -> tuple[str, ...]:
        """What the reader should know."""
        if self.most < self.method.max_steps and (self.steps >= self.most).any():
            return (f"the budget allowed {self.most} steps a row, fewer than max_steps={self.method.max_steps}",)
        return ()

    def _begun(self, task: int) -> AdaptiveQuadrature:
        q, (k, row) = self.q, divmod(task, self.q.rows)
        last, first = self._scores[row], self.bases[k, row]
        rounding = (4e-3 if "16" in q.net.arithmetic else 1e-6) * (np.abs(last) + np.abs(first)) + 1e-12
        scale = np.abs(last - self.bases[:, row].mean(axis=0))
        self._starts[task] = self.baselines[k].rows(np.array([row]))
        tol = self.method.tol
        return AdaptiveQuadrature.at_start(
            first, last, scale, rounding, tol, 3 * tol, self.most, self._at_start[k][row]
        )

    def _shadows_at(self, baseline: Baseline) -> Floats:
        """Shadows of the gradient at the baseline times the way, (rows, targets, k). Where all rows share it, one gradient for each target there is."""
        q, net = self.q, self.q.net
        _, some, which = np.unique(q.target.where, axis=1, return_index=True, return_inverse=True)
        shared = baseline.same and len(some) <= q.at_once
        if shared:
            grads = q.gradients(tuple(net.array(a) for a in baseline.rows(some)), some, check=False)[1]
        out = []
        for start in range(0, q.rows, q.at_once):
            rows = np.arange(start, min(start + q.at_once, q.rows))
            ends = q.lift(rows)
            begins = [
                x if i.whole else net.array(a) for i, x, a in zip(q.inputs, ends, baseline.rows(rows), strict=True)
            ]
            ways = [x if i.whole else x - a for i, x, a in zip(q.inputs, ends, begins, strict=True)]
            if shared:
                mine = which.reshape(-1)[rows]
                here: Grads = [tuple(None if g is None else net.take(g, mine) for g in of) for of in grads]
            else:
                here = q.gradients(tuple(begins), rows, check=False)[1]
            out.append(np.stack([self._shadow(of) for of in self._times(ways, here)], axis=1))
        return np.concatenate(out)

    def _times(self, ways: list[Array], grads: Grads) -> list[list[Array | None]]:
        """Gradients times ways, for each target and input; None for an input that is held, which may have a gradient (a mask of floats)."""
        return [
            [None if i.whole or g is None else way * g for i, way, g in zip(self.q.inputs, ways, of, strict=True)]
            for of in grads
        ]

    def _shadow(self, values: Sequence[Array | None]) -> Floats:
        """Shadows of gradients times ways, of all inputs, (m, k)."""
        pairs = zip(values, self._signs, strict=True)
        return np.concatenate([_shadow(self.q.net, a * signs) for a, signs in pairs if a is not None], axis=1)

    def _ask(self) -> None:
        """Take the gradients that the walks want next, as many at a time as may go through together."""
        wants: list[tuple[int, Floats]] = []
        for task, walk in self._pool.items():
            t = walk.next_nodes()
            if len(walk.t) + len(t) > self.soft and task not in self._leave:
                if not self._fits(len(self._leave) + 1, len(self._pool)):
                    continue  # it waits until another one is done
                self._leave.add(task)
            wants.append((task, t))
        whose = np.concatenate([np.full(len(t), task) for task, t in wants])
        slots = np.concatenate([len(self._pool[task].t) + np.arange(len(t)) for task, t in wants])
        at = np.concatenate([t for _, t in wants])
        f, h = (np.empty((len(at), self.q.target.count)) for _ in range(2))
        shadows: list[Floats] = []
        for part in np.array_split(np.arange(len(at)), -(-len(at) // self.at_once)):
            f[part], h[part], shadow = self._gradients(whose[part], slots[part], at[part])
            shadows.append(shadow)
        shadow = np.concatenate(shadows)
        start = 0
        for task, t in wants:
            mine = np.arange(start, start + len(t))
            self._pool[task].add_nodes(t, f[mine], h[mine], shadow[mine])
            start += len(t)

    def _gradients(self, tasks: Indices, slots: Indices, t: Floats) -> tuple[Floats, Floats, Floats]:
        """Scores, derivatives along the way and shadows of gradients at these nodes; the gradients are kept."""
        net = self.q.net
        alone, back = np.unique(tasks, return_inverse=True)
        starts = [np.concatenate(a) for a in zip(*(self._starts[int(task)] for task in alone), strict=True)]
        ways, f, grads = along(self.q, alone % self.q.rows, starts, back, t)
        values = self._times(ways, grads)
        self._chunks.append(_Chunk(tasks, slots, values))
        h, shadows = np.zeros(f.shape), []
        for target, of in enumerate(values):
            for a in of:
                if a is not None:
                    h[:, target] += net.numpy(a.reshape(len(t), -1).sum(1))
            shadows.append(self._shadow(of))
        return f, h, np.stack(shadows, axis=1)

    def _sort_out(self) -> int:
        """Compare maps where that is worth it, and let go of the rows that are done; return how many."""
        ripe = [task for task, walk in self._pool.items() if walk.is_full() or walk.seems_converged()]
        gone: list[int] = []
        if ripe:
            maps, change = self._compared(ripe)
            for n, task in enumerate(ripe):
                walk = self._pool[task]
                if (change[n] <= walk.map_tol).all() or walk.is_full():
                    self._finish(task, n, maps, change[n])
                    gone.append(task)
                else:
                    walk.reject(change[n])
        for task in gone:
            del self._pool[task], self._starts[task]
        self._leave -= set(gone)
        for walk in self._pool.values():
            walk.refine()
        if gone:
            self._forget(np.array(gone))
        return len(gone)

    def _finish(self, task: int, n: int, maps: Maps, change: Floats) -> None:
        walk, (k, row) = self._pool[task], divmod(task, self.q.rows)
        self.steps[k, row], self.allowed[k, row] = len(walk.t), walk.allowed
        self.change[k, row] = np.maximum(change, walk.start_change())
        for of, mine in zip(self.maps, maps, strict=True):
            for to, a in zip(of, mine, strict=True):
                if to is not None and a is not None:
                    to[row] += a[n] / len(self.baselines)

    def _compared(self, tasks: list[int]) -> tuple[Maps, Floats]:
        """Maps of these tasks, and how far they are from those of the coarser rule, (tasks, targets)."""
        net, place = self.q.net, {task: n for n, task in enumerate(tasks)}
        rules = [self._pool[task].weights() for task in tasks]
        maps: Maps = []
        change = np.zeros((len(tasks), self.q.target.count))
        chosen = []
        for chunk in self._chunks:
            here = np.flatnonzero(np.isin(chunk.task, tasks))
            if len(here):
                to = np.array([place[task] for task in chunk.task[here]])
                both = np.array([[r[slot] for r in rules[n]] for n, slot in zip(to, chunk.slot[here], strict=True)])
                chosen.append((chunk, here, to, both.astype(np.float32)))
        for target in range(self.q.target.count):
            of: list[npt.NDArray[Any] | None] = []
            squares = np.zeros((2, len(tasks)))
            for i, given in enumerate(self.q.inputs):
                if given.whole:
                    of.append(None)
                    continue
                zeros = np.zeros((len(tasks), *given.x.shape[1:]), dtype=np.float32)
                fine, apart = net.array(zeros), net.array(zeros.copy())
                for chunk, here, to, both in chosen:
                    a = chunk.values[target][i]
                    a = a if len(here) == len(chunk.task) else net.take(a, here)
                    fine = net.add_at(fine, to, a * _column(net.array(np.ascontiguousarray(both[:, 0])), a))
                    weight = np.ascontiguousarray(both[:, 0] - both[:, 1])
                    apart = net.add_at(apart, to, a * _column(net.array(weight), a))
                for n, a in enumerate((fine, apart)):
                    squares[n] += net.numpy((a * a).reshape(len(tasks), -1).sum(1))
                of.append(net.numpy(fine))
            maps.append(of)
            floor = [0.01 * self._pool[task].mean_length()[target] for task in tasks]
            change[:, target] = np.sqrt(squares[1]) / np.maximum(np.maximum(np.sqrt(squares[0]), floor), 1e-30)
        return maps, change

    def _forget(self, gone: Indices) -> None:
        """Give back the memory of rows that are done."""
        left = []
        for chunk in self._chunks:
            stay = np.flatnonzero(~np.isin(chunk.task, gone))
            if not len(stay):
                continue
            if len(stay) < len(chunk.task):
                chunk.values = [
                    [None if a is None else self.q.net.take(a, stay) + 0.0 for a in of] for of in chunk.values
                ]
                chunk.task, chunk.slot = chunk.task[stay], chunk.slot[stay]
            left.append(chunk)
        self._chunks = left


def _signs(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Signs for random projections; the same in every run, for they decide how a row is walked."""
    return np.random.default_rng(0).choice(np.array([-1.0, 1.0], dtype=np.float32), size=(1, *shape))


def _shadow(net: Differentiable, a: Array) -> Floats:
    """Sums over parts of each row, (m, at most PROJECTIONS + 1)."""
    flat = a.reshape(a.shape[0], -1)
    count = flat.shape[1]
    if count <= PROJECTIONS:
        return net.numpy(flat)
    part = count // PROJECTIONS
    sums = net.numpy(flat[:, : part * PROJECTIONS].reshape(a.shape[0], PROJECTIONS, part).sum(2))
    rest = net.numpy(flat[:, part * PROJECTIONS :].sum(1)) if count % PROJECTIONS else np.zeros(len(sums))
    return np.column_stack([sums, rest])
