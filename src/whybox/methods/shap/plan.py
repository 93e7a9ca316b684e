"""Which kernel, which tables, and what that will cost: decided from the trees and the number of rows before any work is done.

Costs are counted, not guessed: the native code walks the trees once and returns how many vector instructions a block of rows, how many
table entries and how many multiplications to fill them each choice takes. What remains are a few speeds, measured (benchmarks/trees.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal, final

import numpy as np

from whybox.core.workers import thread_count
from whybox.data.table import Floats
from whybox.kernels import compiled_trees, tree_shap
from whybox.kernels.compiled_trees import Arithmetic, InstructionSet
from whybox.kernels.tree_shap import QuadratureRules
from whybox.methods.common.plan import WORK, cost_table, duration_text, smallest_seconds
from whybox.methods.shap.problem import ShapProblem
from whybox.models.additive import Additive
from whybox.models.trees import TreeEnsemble

__all__ = [
    "ROWS_PER_BLOCK",
    "KernelPlan",
    "cheapest_plan",
    "make_compiled_trees",
    "possible_plans",
    "quadrature_rules",
    "rows_to_choose_for",
    "timed_plan",
    "with_attributions",
]

# Nanoseconds a vector instruction of the estimate takes, on a 2.6 GHz server core; only their ratios decide. neon: not timed, but from counts of instructions
# (benchmarks/arm64.md), 5.5 a nanosecond; its blocks are eight vectors.
WALK_NANOSECONDS: Final = {
    ("avx512", "float32"): 0.22,
    ("avx512", "float64"): 0.22,
    ("avx2", "float32"): 0.24,
    ("avx2", "float64"): 0.36,
    ("neon", "float32"): 0.8,
    ("neon", "float64"): 0.75,
    ("plain", "float32"): 1.2,
    ("plain", "float64"): 2.0,
}
TABLE_NANOSECONDS: Final = {
    ("avx512", "float32"): 0.38,
    ("avx512", "float64"): 0.37,
    ("avx2", "float32"): 0.22,
    ("avx2", "float64"): 0.24,
    ("neon", "float32"): 0.42,
    ("neon", "float64"): 0.4,
    ("plain", "float32"): 0.24,
    ("plain", "float64"): 0.45,
}
SECONDS_TO_BUILD_WALK, SECONDS_TO_BUILD_TABLE = 3.5e-9, 1.5e-9  # seconds a multiplication
LOOKUP_DOUBLING_BYTES: Final = 60e6  # bytes of tables that double the time of a look-up: they leave the caches
ROWS_PER_BLOCK: Final = 16384  # rows that are encoded and explained before the next are: trees that are not kept are compiled again for each
NEAREST_CACHE_BYTES: Final = 32768  # bytes of the first cache of a core, for the columns and sums of a block
SECONDS_PER_NUMBER_MOVED: Final = 1.2e-9  # seconds to bring one number of a row into its lane, or back
SECONDS_PER_MATRIX_NUMBER, SECONDS_PER_TERM = 2.5e-9, 3e-9  # seconds a number of the result, for matrices and for terms
SECONDS_PER_LOOK_UP: Final = 6e-9  # seconds to look up what a term of an additive model adds
SECONDS_PER_COALITION: Final = 40e-6  # seconds to invert the correlations of a coalition of about ten columns
MAX_TABLE_BYTES: Final = 1 << 29  # bytes; beyond, tables are not considered
MAX_TABLE_PLAYERS: Final = 12  # on one path, for tables of whole patterns
NODES_SAMPLED: Final = 30_000  # nodes looked at for an estimate; more are scaled up from evenly spaced trees


@final
@dataclass(frozen=True)
class KernelPlan:
    """How a problem will be computed.

    Attributes:
        kernel: ``"lane walk"`` (quadrature along every path, rows in lanes, bottoms of trees in tables), ``"pattern tables"`` (one look-up a
            bottom and player), ``"pair walk"`` (row by row), ``"enumeration"``, ``"rescaled"``, ``"linear"``,
            ``"linear, correlated"``, ``"additive"``.
        instructions: instruction set, where the kernel has several. arithmetic: of sums and tables. bits: of the largest table.
        threads, rows, trees: what was planned for.
        table_bytes: of all compiled trees; those that fit into ``compiled_trees.KEPT`` stay, others are made again for each block of rows.
        build_seconds: to compile the trees, one thread. row_seconds: for one row, one thread. nan: not predicted.
        memory_bytes: at most, beyond the rows given and the result. given_bytes, result_bytes: of these; nan: not known.
        considered: (kernel, bits, seconds) of each choice there was.
        block: rows that are taken together; fewer cost as much.
        method, method_id, exact, model_calls: as of every plan; calls without those about mixed rows.
    """

    kernel: str
    instructions: str | None = None
    arithmetic: Arithmetic = "float64"
    bits: int | None = None
    threads: int = 1
    rows: int = 1
    trees: int = 0
    table_bytes: float = 0.0
    build_seconds: float = 0.0
    row_seconds: float = float("nan")
    memory_bytes: float = float("nan")
    given_bytes: float = float("nan")
    result_bytes: float = float("nan")
    considered: tuple[tuple[str, int | None, float], ...] = ()
    block: int = 1
    method: str = ""
    method_id: str = ""
    exact: bool = True
    model_calls: int = 0

    @property
    def seconds(self) -> float:
        """Predicted time for all rows on all threads, building included."""
        blocks = -(-self.rows // self.block)
        again = max(0.0, 1 - compiled_trees.MAX_COMPILED_KEPT / max(self.table_bytes, 1.0)) * (
            -(-self.rows // ROWS_PER_BLOCK) - 1
        )
        return self.build_seconds * (1 + again) / self.threads + self.row_seconds * self.block * (
            -(-blocks // min(self.threads, blocks))
        )

    @property
    def name(self) -> str:
        """The kernel in words, as evidence records it."""
        if self.instructions is None:
            return self.kernel
        return f"{self.kernel}, {self.instructions}, {self.arithmetic}"

    def __str__(self) -> str:
        about = f"{self.method}, {'exact' if self.exact else 'approximate'}\n" if self.method else ""
        bits = "" if self.bits is None else f", tables of {self.bits} bits"
        lines = [
            f"{about}{self.name}{bits}: {f'{self.trees:,} trees, ' if self.trees else ''}{self.rows:,} rows, {self.threads} thread{'s' * (self.threads > 1)}",
            *cost_table(*self._costs()),
        ]
        others = [(k, b, s) for k, b, s in self.considered if (k, b) != (self.kernel, self.bits)]
        if others:
            texts = (f"{k}{'' if b is None else f' ({b} bits)'} {duration_text(s)}" for k, b, s in others)
            lines.append(f"instead   {', '.join(texts)}")
        return "\n".join(lines)

    def _costs(self) -> tuple[dict[str, float], dict[str, float]]:
        """Seconds and bytes of each part."""
        kept = {"rows given": self.given_bytes, "result": self.result_bytes}
        if not self.build_seconds and not self.table_bytes:
            return {WORK: self.seconds}, {WORK: self.memory_bytes, **kept}
        tables = min(self.table_bytes, self.memory_bytes)
        of_rows = replace(self, build_seconds=0.0).seconds
        return (
            {"tables": self.seconds - of_rows, WORK: of_rows},
            {"tables": tables, WORK: self.memory_bytes - tables, **kept},
        )


def quadrature_rules(problem: ShapProblem, order: int, arithmetic: Arithmetic) -> QuadratureRules:
    """Quadrature for each tree: exact for its longest path, or, in float32, exact to its rounding with eight nodes."""
    degrees = np.maximum(problem.players_on_path - order, 0)
    if arithmetic == "float32":
        degrees = np.minimum(degrees, 15)
    different, of_tree = np.unique(degrees, return_inverse=True)
    return QuadratureRules.from_rules(
        [problem.options.game_index.rule(int(d)) for d in different] or [problem.options.game_index.rule(0)],
        of_tree.astype(np.int32),
    )


def possible_plans(problem: ShapProblem, order: int) -> tuple[KernelPlan, ...]:
    """Return the possible kernels, each with its cost for one row.

    `compiled_trees.forced_kernel` overrides kernel, instruction set or table size where the problem allows it.
    """
    forest = problem.model
    threads = thread_count(problem.options.n_jobs)
    if problem.kernel not in ("path-dependent", "interventional") or not isinstance(forest, TreeEnsemble):
        trees = forest.n_trees if isinstance(forest, TreeEnsemble) else 0
        build, row = _seconds_without_trees(problem, order)
        return (KernelPlan(problem.kernel, threads=1, trees=trees, build_seconds=build, row_seconds=row),)
    wanted = compiled_trees.forced_choice("instructions")
    sets = [s for s in compiled_trees.instruction_sets() if wanted in (None, s.name)]
    arithmetic: Arithmetic = problem.options.dtype or ("float32" if forest.float32_sums else "float64")
    blank = KernelPlan(
        "",
        arithmetic=arithmetic,
        threads=threads,
        trees=forest.n_trees,
        memory_bytes=_working_bytes(problem, order, threads),
    )
    plans = _vector_plans(problem, order, blank, sets[0]) if forest.n_trees and not forest.has_linear_leaves else []
    if problem.background is None and not forest.n_trees:
        plans.append(replace(blank, kernel="lane walk", instructions=sets[0].name, bits=2, row_seconds=0.0))
    elif problem.background is not None:
        plans.append(_row_walk_plan(problem, order, blank))
    if order == 2:
        plans = [replace(p, row_seconds=p.row_seconds + _seconds_to_assemble(problem)) for p in plans]
    kernel, bits = compiled_trees.forced_choice("kernel"), compiled_trees.forced_choice("bits")
    return tuple([p for p in plans if kernel in (None, p.kernel) and bits in (None, p.bits)] or plans)


def _seconds_without_trees(problem: ShapProblem, order: int) -> tuple[float, float]:
    """Seconds before the first row and for each row, of linear and additive models on their additive scale; nan of other kernels."""
    model, outputs = problem.model, len(problem.model.outputs.names)
    numbers = float(problem.players.count**order * outputs)
    if isinstance(model, Additive) and problem.kernel == "additive":
        return 0.0, (2.0 * len(model.terms) * outputs * SECONDS_PER_LOOK_UP + numbers * SECONDS_PER_MATRIX_NUMBER)
    if problem.kernel == "linear":
        return 0.0, model.inputs.width * outputs * SECONDS_PER_NUMBER_MOVED + numbers * SECONDS_PER_MATRIX_NUMBER
    if problem.kernel == "linear, correlated":
        build = 2.0**problem.players.count * SECONDS_PER_COALITION
        return build, numbers * (model.inputs.width * SECONDS_PER_NUMBER_MOVED + SECONDS_PER_MATRIX_NUMBER)
    return 0.0, float("nan")


def _seconds_to_assemble(problem: ShapProblem) -> float:
    """Seconds to write a row's interactions into fresh memory and to make its main effects of them."""
    numbers = float(np.prod(problem.values_shape(2))) * len(problem.model.outputs.names)
    return numbers * (SECONDS_PER_TERM if problem.options.sparse else SECONDS_PER_MATRIX_NUMBER)


def with_attributions(pairs: KernelPlan, attributions: KernelPlan) -> KernelPlan:
    """Add what attributions cost to a plan of interactions: main effects are attributions less their interactions, so both are computed.

    The block of rows at hand is the same for both; each keeps tables of its own.
    """
    return replace(
        pairs,
        row_seconds=pairs.row_seconds + attributions.row_seconds,
        build_seconds=pairs.build_seconds + attributions.build_seconds,
        table_bytes=pairs.table_bytes + attributions.table_bytes,
        memory_bytes=pairs.memory_bytes + _tables_held(attributions.table_bytes),
        considered=tuple((kernel, bits, s + attributions.seconds) for kernel, bits, s in pairs.considered),
    )


def _tables_held(table_bytes: float) -> float:
    """Most memory that compiled trees take: what is kept between calls, and what is being compiled."""
    return min(table_bytes, compiled_trees.MAX_COMPILED_KEPT + compiled_trees.MAX_COMPILED_AT_ONCE)


def cheapest_plan(plans: tuple[KernelPlan, ...], rows: int, *, chosen_for: int | None = None) -> KernelPlan:
    """Return the choice that costs least for this many rows, planned for `rows`.

    Args:
        chosen_for: how many rows it is chosen for; None: `rows`.
    """
    best = min(plans, key=lambda p: replace(p, rows=rows if chosen_for is None else chosen_for).seconds)
    planned = [replace(p, rows=rows) for p in plans]
    return replace(best, rows=rows, considered=tuple((p.kernel, p.bits, p.seconds) for p in planned))


def rows_to_choose_for(problem: ShapProblem, rows: int) -> int:
    """Return for how many rows the kernel is chosen: without a background always the same, so that a row has the same bits in a call of any size.

    With a background it is the number of rows at hand: tables that pay off for many rows take up to a second and more to fill, pairs of rows a few milliseconds.
    """
    return rows if problem.background is not None else ROWS_PER_BLOCK


def _vector_plans(
    problem: ShapProblem, order: int, blank: KernelPlan, instructions: InstructionSet
) -> list[KernelPlan]:
    forest = problem.model
    assert isinstance(forest, TreeEnsemble)  # noqa: S101  # resolved by the problem
    single = blank.arithmetic == "float32"
    step = max(1, len(forest.left) // NODES_SAMPLED)
    scale = forest.n_trees / len(range(0, forest.n_trees, step))
    every = quadrature_rules(problem, order, blank.arithmetic)
    background = 0 if problem.background is None else len(problem.background.matrix)
    longest = int(problem.players_on_path.max(initial=0))
    moved = forest.inputs.width + problem.players.count**order * len(forest.outputs.names)
    largest, deepest = int(np.diff(forest.tree_offsets).max(initial=0)), tree_shap.native_ensemble(forest).depth
    # background rows by columns, and which way each goes in the tree that is being compiled
    sorting = background * (16.0 * forest.inputs.width + blank.threads * (largest + 4.0 * deepest + 8))
    block = instructions.rows[blank.arithmetic]
    wide = moved * block * (4 if single else 8)
    out = []
    for kernel, bits in _vector_choices(walk=problem.background is None, longest=longest):
        vectors, entries, build = compiled_trees.count_work(
            forest,
            problem.players.of_column,
            problem.players.count,
            every,
            kernel=kernel,
            order=order,
            bits=bits,
            registers=instructions.register_bits[blank.arithmetic],
            single=single,
            background=background,
            step=step,
        )
        size = entries * scale * (4 if single else 8)
        if kernel == "pattern tables" and size > MAX_TABLE_BYTES:
            continue
        key, walk = (instructions.name, blank.arithmetic), kernel == "lane walk"
        speed = WALK_NANOSECONDS[key] if walk else TABLE_NANOSECONDS[key] * (1 + size / LOOKUP_DOUBLING_BYTES)
        if wide > NEAREST_CACHE_BYTES and order == 1:
            speed *= 1.1 if walk else 1.6  # tables take more of the nearest cache, so they lose more
        carried = _carried_bytes(problem, int(every.sizes.max()), block) if walk and order == 2 else 0
        out.append(
            replace(
                blank,
                kernel=kernel,
                instructions=instructions.name,
                bits=bits,
                block=block,
                table_bytes=size,
                build_seconds=build * scale * (SECONDS_TO_BUILD_WALK if walk else SECONDS_TO_BUILD_TABLE),
                row_seconds=vectors * scale * speed * 1e-9 / block + moved * SECONDS_PER_NUMBER_MOVED,
                memory_bytes=blank.memory_bytes + _tables_held(size) + sorting + blank.threads * carried,
            )
        )
    return out


def _carried_bytes(problem: ShapProblem, nodes: int, rows: int) -> float:
    """At most, what a walk of interactions carries: sums of each player and output at each depth, for each quadrature node and row."""
    forest = problem.model
    assert isinstance(forest, TreeEnsemble)  # noqa: S101  # resolved by the problem
    levels = tree_shap.native_ensemble(forest).depth + 2
    return 8.0 * levels * (problem.players.count + 1) * len(forest.outputs.names) * nodes * rows


def _vector_choices(*, walk: bool, longest: int) -> list[tuple[Literal["lane walk", "pattern tables"], int]]:
    """Return vector kernels and bits of their tables, where the longest path has this many players."""
    choices: list[tuple[Literal["lane walk", "pattern tables"], int]] = []
    if walk:
        choices += [("lane walk", bits) for bits in (2, 4, 5)]
    if longest <= MAX_TABLE_PLAYERS:
        choices += [("pattern tables", bits) for bits in (6, 7, 8)]
    return choices


def _row_walk_plan(problem: ShapProblem, order: int, blank: KernelPlan) -> KernelPlan:
    """Row by row, against every background row."""
    forest = problem.model
    assert isinstance(forest, TreeEnsemble)  # noqa: S101  # resolved by the problem
    assert problem.background is not None  # noqa: S101  # the same
    sizes, many = np.diff(forest.tree_offsets).astype(np.float64), len(problem.background.matrix)
    if forest.has_linear_leaves:  # really one pair of rows at a time
        row = many * 0.058e-6 * float(((sizes / 110) ** 0.82).sum()) * order**0.6
        return replace(blank, kernel="pair walk", arithmetic="float64", row_seconds=row)
    row = 1e-6 * (0.028 + 0.0023 * many) * float((sizes**0.6).sum()) * (5.0 if order == 2 else 1.0)
    # the first of 64 rows that walk together costs as much as these
    return replace(blank, kernel="pair walk", arithmetic="float64", row_seconds=row, build_seconds=5.5 * row)


def _working_bytes(problem: ShapProblem, order: int, threads: int) -> float:
    """Bytes of the block at hand: encoded rows, and what the threads work on."""
    block = ROWS_PER_BLOCK * problem.model.inputs.width * 8 * 3.0
    cells = problem.players.count**order * len(problem.model.outputs.names)
    beside = min(8.0 * ROWS_PER_BLOCK * cells, 64.0 * 2**20) * (order - 1)
    return float(block + beside + threads * (2**20 + 64 * 8.0 * (cells + problem.model.inputs.width)))


def timed_plan(plan: KernelPlan, problem: ShapProblem, order: int) -> KernelPlan:
    """Return the plan with its speed corrected by timing a block of rows on some of the trees on this machine."""
    forest = problem.model
    if plan.instructions is None or not isinstance(forest, TreeEnsemble):
        return plan
    part, share = _sampled_trees(forest)
    pilot = replace(problem, model=part)
    small = next(
        (
            p
            for p in _vector_plans(pilot, order, replace(plan, rows=1), _instructions_named(plan.instructions))
            if (p.kernel, p.bits) == (plan.kernel, plan.bits)
        ),
        None,
    )
    if small is None or small.row_seconds <= 0:
        return plan
    choice = small
    rows = np.zeros((1024, forest.inputs.width))
    out = np.zeros((len(rows), *problem.values_shape(order), len(forest.outputs.names)))

    def one_row(work: compiled_trees.CompiledTrees) -> compiled_trees.CompiledTrees:
        work.add_values(rows[:1], out[:1], threads=1, description="", quiet=True)
        return work

    built = smallest_seconds(one_row, lambda: make_compiled_trees(pilot, order, choice))
    compiled = one_row(make_compiled_trees(pilot, order, choice))
    run = smallest_seconds(
        lambda work: work.add_values(rows, out, threads=1, description="", quiet=True),
        lambda: compiled,
    )
    row_ratio = run / (small.row_seconds * len(rows))
    build_ratio = built / max(small.build_seconds, 1e-4)
    measured = replace(
        plan,
        row_seconds=plan.row_seconds * row_ratio,
        build_seconds=max(plan.build_seconds * build_ratio, built * share),
    )
    # the other choices were not timed: this machine is as much faster or slower for them as for the one that was
    scale = measured.seconds / plan.seconds
    return replace(measured, considered=tuple((kernel, bits, s * scale) for kernel, bits, s in plan.considered))


def _instructions_named(name: str) -> InstructionSet:
    return next(s for s in compiled_trees.instruction_sets() if s.name == name)


def _sampled_trees(forest: TreeEnsemble) -> tuple[TreeEnsemble, float]:
    """The first trees, up to about thirty thousand nodes, and how many times those the whole is."""
    many = max(1, int(np.searchsorted(forest.tree_offsets, NODES_SAMPLED)) - 1)
    if many >= forest.n_trees:
        return forest, 1.0
    end = int(forest.tree_offsets[many])
    part = replace(
        forest,
        tree_offsets=forest.tree_offsets[: many + 1].copy(),
        **{
            n: getattr(forest, n)[:end].copy()
            for n in ("left", "right", "feature", "leaf", "threshold", "cover", "flags", "set_begin", "set_words")
        },
        gain=None,
        tree_output=forest.tree_output[:many].copy(),
        tree_weight=forest.tree_weight[:many].copy(),
    )
    return part, len(forest.left) / end


def make_compiled_trees(problem: ShapProblem, order: int, plan: KernelPlan) -> compiled_trees.CompiledTrees:
    """Compile nothing yet; return what will, when rows come."""
    forest = problem.model
    assert isinstance(forest, TreeEnsemble)  # noqa: S101  # resolved by the problem
    background: tuple[Floats, Floats, Floats] | None = None
    if problem.background is not None:
        most = int(problem.players_on_path.max(initial=0))
        background = (
            problem.background.matrix,
            problem.background.weights,
            problem.options.game_index.moments(max(most, 1) + 1),
        )
    made: dict[str, Any] = {"instructions": plan.instructions, "arithmetic": plan.arithmetic, "bits": plan.bits}
    return compiled_trees.CompiledTrees(
        forest,
        problem.players.of_column,
        problem.players.count,
        quadrature_rules(problem, order, plan.arithmetic),
        kernel=plan.kernel,
        order=order,
        sparse=problem.options.sparse,
        background=background,
        **made,
    )
