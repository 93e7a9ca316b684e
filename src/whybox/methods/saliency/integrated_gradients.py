"""Integrated gradients: the mean gradient on the straight path from a baseline, times the difference from it.

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
from whybox.methods.saliency.base import Method, MethodOutput, SampleSums, TargetMaps
from whybox.methods.saliency.baselines import Baseline, describe_baselines, mean_baseline, resolve_baselines
from whybox.methods.saliency.problem import Indices, SaliencyProblem, TargetGradients
from whybox.models.differentiable import Array, Differentiable
from whybox.numerics.adaptive_quadrature import MIN_NODES, QUADRATURE_LEVELS, AdaptiveQuadrature, gauss_legendre

__all__ = ["IntegratedGradients", "baseline_scores", "path_gradients"]

EXPECTED_NODES: Final = 48  # nodes of a row that memory is reserved for; more need permission
RANDOM_PROJECTIONS: Final = 32  # random projections by which maps are compared


@final
@dataclass(frozen=True)
class IntegratedGradients(Method):
    """The mean gradient on the path from the baseline, times the difference from it. Each row takes as many steps as it needs.

    Attributes:
        baseline: see whybox.methods.saliency.baselines; several are averaged.
        tol: completeness error wanted, relative to ``|score - base|`` (to a hundredth of the score's total variation on the path, if that is more). The map must
            not differ by more than three times this (relative, Euclidean) from that of the next coarser rule. Rows that miss either are marked.
        steps: a fixed number of Gauss-Legendre points instead; None: as many as `tol` needs.
        max_steps: most gradients for a row and baseline.
    """

    baseline: Any = None
    tol: float = 0.01
    steps: int | None = None
    max_steps: int = 512

    name: ClassVar[str] = "integrated_gradients"
    title: ClassVar[str] = "Integrated gradients"
    takes_background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("tol", self.tol, 1.0)
        if self.steps is not None:
            check_whole_number("steps", self.steps)
        check_whole_number("max_steps", self.max_steps, MIN_NODES)

    def reference_inputs(self, problem: SaliencyProblem) -> Sequence[npt.NDArray[Any] | None]:
        """The mean of the baselines."""
        return mean_baseline(problem, self.baseline)

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps.

        Raises:
            LimitError: the gradients of a few steps of one row do not fit into the budget.
            OptionError: see resolve_baselines.
        """
        problem.require_derivatives(self.name)
        baselines = resolve_baselines(problem, self.baseline)
        bases = baseline_scores(problem, baselines)
        estimand = f"gradient integrated on the straight path from the baseline ({describe_baselines(baselines)})"
        if self.steps is not None:
            return MethodOutput(
                self._fixed_steps(problem, baselines, self.steps),
                f"{self.steps} Gauss-Legendre points",
                estimand,
                base_scores=bases.mean(axis=0),
                relative_tolerance=self.tol,
                extras={"steps": (("row",), np.full(problem.n_rows, self.steps * len(baselines)))},
            )
        pool = _PathPool(problem, baselines, bases, self)
        pool.run()
        tail = ("row", "output") if problem.target.has_output_axis else ("row",)
        change = pool.change.max(axis=0)
        return MethodOutput(
            pool.maps,
            f"adaptive, {' '.join(str(len(w)) for w in QUADRATURE_LEVELS)} Patterson points, else a trapezoidal rule refined locally",
            estimand,
            base_scores=bases.mean(axis=0),
            relative_tolerance=self.tol,
            allowed_error=pool.allowed.mean(axis=0),
            converged=change <= 3 * self.tol,
            notes=pool.notes(),
            extras={
                "steps": (("row",), pool.steps.sum(axis=0)),
                "map_change": (tail, change if problem.target.has_output_axis else change[:, 0]),
            },
        )

    def _fixed_steps(self, problem: SaliencyProblem, baselines: tuple[Baseline, ...], steps: int) -> TargetMaps:
        """The same points for every row."""
        t, w = gauss_legendre(steps)
        out = problem.zero_maps()
        all_rows = np.arange(problem.n_rows)
        for k, baseline in enumerate(baselines):
            sums = SampleSums(problem)
            for rows, step in problem.sample_batches(
                steps, self.name if len(baselines) == 1 else f"{self.name} {k + 1}"
            ):
                alone, path_of = np.unique(rows, return_inverse=True)
                _, _, grads = path_gradients(problem, alone, baseline.for_rows(alone), path_of, t[step])
                fractions = problem.net.array(w[step].astype(np.float32))
                for target, of in enumerate(grads):
                    for i, g in enumerate(of):
                        if g is not None:
                            sums.add_samples(target, i, rows, g * _as_column(fractions, g))
            starts = baseline.for_rows(all_rows)
            for maps, means in zip(out, sums.to_maps(1 / len(baselines)), strict=True):
                for input_, start, total, mean in zip(problem.inputs, starts, maps, means, strict=True):
                    if total is not None and mean is not None:
                        np.add(total, mean * (input_.x - start), out=total)
        return out


def baseline_scores(problem: SaliencyProblem, baselines: Sequence[Baseline]) -> Floats:
    """Scores of the baselines, (baselines, rows, targets): one forward each if all rows share them.

    Raises:
        NonFiniteError: one of them is NaN or infinite.
    """
    all_rows = np.arange(problem.n_rows)
    problem.evaluate_rows(all_rows)
    out = np.empty((len(baselines), problem.n_rows, problem.target.n_targets))
    same = [k for k, b in enumerate(baselines) if b.is_shared]
    for n in range(0, len(same), problem.batch_size):
        some = same[n : n + problem.batch_size]
        parts = zip(*(baselines[k].for_rows(all_rows[:1]) for k in some), strict=True)
        estimand = problem.net.numpy(
            problem.net.forward(tuple(problem.net.array(np.concatenate(segment)) for segment in parts))
        )
        for k, answer in zip(some, estimand, strict=True):
            out[k] = problem.target.select_scores(np.broadcast_to(answer, (problem.n_rows, *answer.shape)), all_rows)
    for k, baseline in enumerate(baselines):
        for start in range(0, 0 if baseline.is_shared else problem.n_rows, problem.batch_size):
            rows = all_rows[start : start + problem.batch_size]
            out[k, rows] = problem.scores_at_points(tuple(problem.net.array(a) for a in baseline.for_rows(rows)), rows)
    if not np.isfinite(out).all():
        k, row, _ = map(int, np.argwhere(~np.isfinite(out))[0])
        raise NonFiniteError(
            f"the network's output for the baseline of {{row}} ({baselines[k].description}) is NaN or infinite; choose another baseline.",
            row=row,
        )
    return out


def path_gradients(
    problem: SaliencyProblem, rows: Indices, starts: Sequence[npt.NDArray[Any]], path_of: Indices, t: Floats
) -> tuple[list[Array], Floats, TargetGradients]:
    """Scores and gradients at fractions `t` (m,) of paths from baselines to rows.

    Args:
        rows: ends of the paths, (paths,). starts: their beginnings, for each input (paths, ...). path_of: the path of each point, (m,).

    Returns:
        Row less baseline for each input, (m, ...) (the row itself for whole numbers); scores at the points, (m, targets); gradients.
    """
    net = problem.net
    fractions = net.array(t.astype(np.float32))
    displacements, at = [], []
    for input_, end, begin in zip(problem.inputs, problem.to_device(rows), starts, strict=True):
        if input_.without_gradient:
            displacements.append(net.take(end, path_of))
            at.append(displacements[-1])
            continue
        start = net.array(begin)
        displacements.append(net.take(end - start, path_of))
        at.append(net.take(start, path_of) + displacements[-1] * _as_column(fractions, displacements[-1]))
    scores, grads = problem.gradients_at_points(tuple(at), rows[path_of])
    return displacements, scores, grads


def _as_column(fractions: Array, like: Array) -> Array:
    """One number a row, to be multiplied with arrays of this shape."""
    return fractions.reshape(-1, *(1,) * (len(like.shape) - 1))


@final
@dataclass
class _NodeGradients:
    """Gradients times displacement of some nodes, on the network's device; `path_ids` and `node_ids`: of each node."""

    path_ids: Indices
    node_ids: Indices
    gradient_times_path: list[list[Array | None]]


class _PathPool:
    """All paths of all rows (a path belongs to a row and a baseline), a pool of them at a time; finished ones leave the pool."""

    def __init__(
        self, problem: SaliencyProblem, baselines: tuple[Baseline, ...], bases: Floats, method: IntegratedGradients
    ) -> None:
        self.problem, self.baselines, self.bases, self.method = problem, baselines, bases, method
        count = (len(baselines), problem.n_rows)
        self.maps = problem.zero_maps()
        self.steps = np.zeros(count, dtype=np.int64)
        self.change = np.zeros((*count, problem.target.n_targets))
        self.allowed = np.zeros((*count, problem.target.n_targets))
        self._scores = problem.scores
        self._signs = [
            None if i.without_gradient else problem.net.array(_random_signs(i.x.shape[1:])) for i in problem.inputs
        ]
        self._start_projections = [self._baseline_projections(baseline) for baseline in baselines]
        self._pool: dict[int, AdaptiveQuadrature] = {}
        self._starts: dict[int, list[npt.NDArray[Any]]] = {}
        self._may_use_all: set[int] = set()
        self._chunks: list[_NodeGradients] = []
        self._divide_budget()

    def _divide_budget(self) -> None:
        """Divide the budget: derivatives in flight, and gradients that are kept until their weights are known."""
        problem = self.problem
        max_paths = 8 if "64" in problem.net.arithmetic else 4
        node = (
            max_paths
            * problem.target.n_targets
            * sum(int(np.prod(i.x.shape[1:])) for i in problem.inputs if not i.without_gradient)
        )
        kept = max(problem.budget // 2, problem.budget - problem.row_bytes * problem.batch_size)
        self.batch_size = max(1, min(problem.batch_size, (problem.budget - kept) // problem.row_bytes))
        if self.batch_size * problem.row_bytes + kept > problem.budget:
            kept = problem.budget - problem.row_bytes * self.batch_size
        self._node_capacity = kept // (2 * node)  # the same again while maps are summed and compared
        self.max_nodes = int(min(self.method.max_steps, self._node_capacity))
        if self.max_nodes < min(self.method.max_steps, 2 * MIN_NODES):
            raise LimitError(
                Argument("method", "integrated_gradients"),
                f" keeps {node / 1000000.0:,.1f} MB a step and row until the row is finished, beside {problem.row_bytes / 1000000.0:,.0f} MB "
                f"for a derivative: that does not fit into the budget of {problem.budget / 1000000.0:,.0f} MB. Raise it, explain fewer targets "
                "at a time, or give ",
                Argument("steps", 50),
                ".",
            )
        self.expected_nodes = min(EXPECTED_NODES, self.max_nodes)
        self.max_paths = int(
            max(1, min(2 * self.batch_size, 1 + (self._node_capacity - self.max_nodes) // self.expected_nodes))
        )

    def run(self) -> None:
        """Evaluate nodes until every row is finished."""
        tasks = len(self.baselines) * self.problem.n_rows
        waiting = iter(range(tasks))
        with progress_counter(
            tasks, description=self.method.name, unit="rows" if len(self.baselines) == 1 else "rows x baselines"
        ) as tick:
            while True:
                while (
                    self._fits_budget(len(self._may_use_all), len(self._pool) + 1)
                    and (task := next(waiting, None)) is not None
                ):
                    self._pool[task] = self._begin_path(task)
                if not self._pool:
                    return
                self._evaluate_nodes()
                tick(self._retire_finished())

    def _fits_budget(self, much: int, all_: int) -> bool:
        """True if so many paths fit, `much` of which may take all steps; at least one always may."""
        return (
            all_ <= self.max_paths
            and max(much, 1) * self.max_nodes + (all_ - max(much, 1)) * self.expected_nodes <= self._node_capacity
        )

    def notes(self) -> tuple[str, ...]:
        """Notes for the evidence."""
        if self.max_nodes < self.method.max_steps and (self.steps >= self.max_nodes).any():
            return (f"the budget allowed {self.max_nodes} steps a row, fewer than max_steps={self.method.max_steps}",)
        return ()

    def _begin_path(self, task: int) -> AdaptiveQuadrature:
        problem, (k, row) = self.problem, divmod(task, self.problem.n_rows)
        last, first = self._scores[row], self.bases[k, row]
        rounding = (4e-3 if "16" in problem.net.arithmetic else 1e-6) * (np.abs(last) + np.abs(first)) + 1e-12
        scale = np.abs(last - self.bases[:, row].mean(axis=0))
        self._starts[task] = self.baselines[k].for_rows(np.array([row]))
        tol = self.method.tol
        return AdaptiveQuadrature.at_start(
            first, last, scale, rounding, tol, 3 * tol, self.max_nodes, self._start_projections[k][row]
        )

    def _baseline_projections(self, baseline: Baseline) -> Floats:
        """Projections of the gradient at the baseline times displacement, (rows, targets, k). If all rows share the baseline, one gradient for each target."""
        problem, net = self.problem, self.problem.net
        _, some, which = np.unique(problem.target.positions, axis=1, return_index=True, return_inverse=True)
        shared = baseline.is_shared and len(some) <= problem.batch_size
        if shared:
            grads = problem.gradients_at_points(
                tuple(net.array(a) for a in baseline.for_rows(some)), some, check=False
            )[1]
        out = []
        for start in range(0, problem.n_rows, problem.batch_size):
            rows = np.arange(start, min(start + problem.batch_size, problem.n_rows))
            ends = problem.to_device(rows)
            begins = [
                x if i.without_gradient else net.array(a)
                for i, x, a in zip(problem.inputs, ends, baseline.for_rows(rows), strict=True)
            ]
            displacements = [
                x if i.without_gradient else x - a for i, x, a in zip(problem.inputs, ends, begins, strict=True)
            ]
            if shared:
                mine = which.reshape(-1)[rows]
                here: TargetGradients = [tuple(None if g is None else net.take(g, mine) for g in of) for of in grads]
            else:
                here = problem.gradients_at_points(tuple(begins), rows, check=False)[1]
            out.append(
                np.stack([self._project_inputs(of) for of in self._gradient_times_path(displacements, here)], axis=1)
            )
        return np.concatenate(out)

    def _gradient_times_path(self, displacements: list[Array], grads: TargetGradients) -> list[list[Array | None]]:
        """Gradients times displacements, for each target and input; None for held inputs, which may have a gradient (a mask of floats)."""
        return [
            [
                None if i.without_gradient or g is None else displacement * g
                for i, displacement, g in zip(self.problem.inputs, displacements, of, strict=True)
            ]
            for of in grads
        ]

    def _project_inputs(self, values: Sequence[Array | None]) -> Floats:
        """Projections of gradients times displacements, of all inputs, (m, k)."""
        pairs = zip(values, self._signs, strict=True)
        return np.concatenate(
            [_project_array(self.problem.net, a * signs) for a, signs in pairs if a is not None], axis=1
        )

    def _evaluate_nodes(self) -> None:
        """Evaluate the nodes that the walks need next, one micro-batch at a time."""
        requests: list[tuple[int, Floats]] = []
        for task, walk in self._pool.items():
            t = walk.next_nodes()
            if len(walk.node_positions) + len(t) > self.expected_nodes and task not in self._may_use_all:
                if not self._fits_budget(len(self._may_use_all) + 1, len(self._pool)):
                    continue  # it waits until another one is finished
                self._may_use_all.add(task)
            requests.append((task, t))
        whose = np.concatenate([np.full(len(t), task) for task, t in requests])
        slots = np.concatenate([len(self._pool[task].node_positions) + np.arange(len(t)) for task, t in requests])
        at = np.concatenate([t for _, t in requests])
        f, h = (np.empty((len(at), self.problem.target.n_targets)) for _ in range(2))
        projections: list[Floats] = []
        for segment in np.array_split(np.arange(len(at)), -(-len(at) // self.batch_size)):
            f[segment], h[segment], projection = self._node_gradients(whose[segment], slots[segment], at[segment])
            projections.append(projection)
        projection = np.concatenate(projections)
        start = 0
        for task, t in requests:
            mine = np.arange(start, start + len(t))
            self._pool[task].add_nodes(t, f[mine], h[mine], projection[mine])
            start += len(t)

    def _node_gradients(self, tasks: Indices, slots: Indices, t: Floats) -> tuple[Floats, Floats, Floats]:
        """Scores, derivatives along the path and projections of gradients at these nodes; the gradients are kept."""
        net = self.problem.net
        alone, path_of = np.unique(tasks, return_inverse=True)
        starts = [np.concatenate(a) for a in zip(*(self._starts[int(task)] for task in alone), strict=True)]
        displacements, f, grads = path_gradients(self.problem, alone % self.problem.n_rows, starts, path_of, t)
        values = self._gradient_times_path(displacements, grads)
        self._chunks.append(_NodeGradients(tasks, slots, values))
        h, projections = np.zeros(f.shape), []
        for target, of in enumerate(values):
            for a in of:
                if a is not None:
                    h[:, target] += net.numpy(a.reshape(len(t), -1).sum(1))
            projections.append(self._project_inputs(of))
        return f, h, np.stack(projections, axis=1)

    def _retire_finished(self) -> int:
        """Compare maps of rows that may be finished, and remove those that are; return their number."""
        candidates = [task for task, walk in self._pool.items() if walk.is_full() or walk.seems_converged()]
        finished: list[int] = []
        if candidates:
            maps, change = self._compare_maps(candidates)
            for n, task in enumerate(candidates):
                walk = self._pool[task]
                if (change[n] <= walk.map_tol).all() or walk.is_full():
                    self._finish_path(task, n, maps, change[n])
                    finished.append(task)
                else:
                    walk.reject_map(change[n])
        for task in finished:
            del self._pool[task], self._starts[task]
        self._may_use_all -= set(finished)
        for walk in self._pool.values():
            walk.refine_rule()
        if finished:
            self._free_memory(np.array(finished))
        return len(finished)

    def _finish_path(self, task: int, n: int, maps: TargetMaps, change: Floats) -> None:
        walk, (k, row) = self._pool[task], divmod(task, self.problem.n_rows)
        self.steps[k, row], self.allowed[k, row] = len(walk.node_positions), walk.allowed_error
        self.change[k, row] = np.maximum(change, walk.start_change())
        for of, mine in zip(self.maps, maps, strict=True):
            for total, a in zip(of, mine, strict=True):
                if total is not None and a is not None:
                    total[row] += a[n] / len(self.baselines)

    def _compare_maps(self, tasks: list[int]) -> tuple[TargetMaps, Floats]:
        """Maps of these tasks, and their distance from those of the coarser rule, (tasks, targets)."""
        net, place = self.problem.net, {task: n for n, task in enumerate(tasks)}
        rules = [self._pool[task].rule_weights() for task in tasks]
        maps: TargetMaps = []
        change = np.zeros((len(tasks), self.problem.target.n_targets))
        chosen = []
        for chunk in self._chunks:
            here = np.flatnonzero(np.isin(chunk.path_ids, tasks))
            if len(here):
                total = np.array([place[task] for task in chunk.path_ids[here]])
                both = np.array(
                    [[r[slot] for r in rules[n]] for n, slot in zip(total, chunk.node_ids[here], strict=True)]
                )
                chosen.append((chunk, here, total, both.astype(np.float32)))
        for target in range(self.problem.target.n_targets):
            of: list[npt.NDArray[Any] | None] = []
            squares = np.zeros((2, len(tasks)))
            for i, input_ in enumerate(self.problem.inputs):
                if input_.without_gradient:
                    of.append(None)
                    continue
                zeros = np.zeros((len(tasks), *input_.x.shape[1:]), dtype=np.float32)
                fine, difference = net.array(zeros), net.array(zeros.copy())
                for chunk, here, total, both in chosen:
                    a = chunk.gradient_times_path[target][i]
                    a = a if len(here) == len(chunk.path_ids) else net.take(a, here)
                    fine = net.add_at(fine, total, a * _as_column(net.array(np.ascontiguousarray(both[:, 0])), a))
                    weight = np.ascontiguousarray(both[:, 0] - both[:, 1])
                    difference = net.add_at(difference, total, a * _as_column(net.array(weight), a))
                for n, a in enumerate((fine, difference)):
                    squares[n] += net.numpy((a * a).reshape(len(tasks), -1).sum(1))
                of.append(net.numpy(fine))
            maps.append(of)
            floor = [0.01 * self._pool[task].mean_length()[target] for task in tasks]
            change[:, target] = np.sqrt(squares[1]) / np.maximum(np.maximum(np.sqrt(squares[0]), floor), 1e-30)
        return maps, change

    def _free_memory(self, finished: Indices) -> None:
        """Free the memory of finished rows."""
        left = []
        for chunk in self._chunks:
            stay = np.flatnonzero(~np.isin(chunk.path_ids, finished))
            if not len(stay):
                continue
            if len(stay) < len(chunk.path_ids):
                chunk.gradient_times_path = [
                    [None if a is None else self.problem.net.take(a, stay) + 0.0 for a in of]
                    for of in chunk.gradient_times_path
                ]
                chunk.path_ids, chunk.node_ids = chunk.path_ids[stay], chunk.node_ids[stay]
            left.append(chunk)
        self._chunks = left


def _random_signs(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Signs for random projections; the same in every run, for they decide the nodes of a row."""
    return np.random.default_rng(0).choice(np.array([-1.0, 1.0], dtype=np.float32), size=(1, *shape))


def _project_array(net: Differentiable, a: Array) -> Floats:
    """Sums over segments of each row, (m, at most PROJECTIONS + 1)."""
    flat = a.reshape(a.shape[0], -1)
    count = flat.shape[1]
    if count <= RANDOM_PROJECTIONS:
        return net.numpy(flat)
    segment = count // RANDOM_PROJECTIONS
    sums = net.numpy(flat[:, : segment * RANDOM_PROJECTIONS].reshape(a.shape[0], RANDOM_PROJECTIONS, segment).sum(2))
    rest = (
        net.numpy(flat[:, segment * RANDOM_PROJECTIONS :].sum(1)) if count % RANDOM_PROJECTIONS else np.zeros(len(sums))
    )
    return np.column_stack([sums, rest])
