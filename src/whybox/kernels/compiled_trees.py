"""Kernels that take many rows at a time, one row a lane: compiled once for a model, its players and an index, run on any number of rows."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, final

import numpy as np
import numpy.typing as npt

from whybox import _native
from whybox.core.progress import timed_batches
from whybox.data.table import Floats
from whybox.errors import OptionError
from whybox.kernels.tree_shap import PlayerOf, QuadratureRules, native_ensemble
from whybox.models.trees import TreeEnsemble

__all__ = ["Arithmetic", "CompiledTrees", "InstructionSet", "count_work", "forced_kernel", "instruction_sets"]

Arithmetic = Literal["float32", "float64"]
MAX_COMPILED_KEPT: Final = 256 * 2**20  # bytes of compiled trees that an explainer keeps between calls
MAX_COMPILED_AT_ONCE: Final = 48 * 2**20  # bytes compiled at a time


@final
@dataclass(frozen=True)
class InstructionSet:
    """What a processor's vector instructions offer.

    Attributes:
        name: ``"avx512"``, ``"avx2"``, ``"neon"`` or ``"plain"``.
        rows: rows in a block of four vectors (neon: eight), by arithmetic.
        register_bits: bits of the largest table looked up in registers, by arithmetic; larger ones are gathered from memory.
    """

    name: str
    rows: dict[str, int]
    register_bits: dict[str, int]


_FORCED_CHOICE: ContextVar[dict[str, Any] | None] = ContextVar("forced_kernel", default=None)


@contextmanager
def forced_kernel(
    *, instructions: str | None = None, kernel: str | None = None, bits: int | None = None
) -> Iterator[None]:
    """Use this choice instead of the planned one, where that is possible: for tests and for comparing kernels."""
    token = _FORCED_CHOICE.set({"instructions": instructions, "kernel": kernel, "bits": bits})
    try:
        yield
    finally:
        _FORCED_CHOICE.reset(token)


def forced_choice(what: str) -> Any:
    """Return one part of the choice that `forced` makes, or None."""
    return (_FORCED_CHOICE.get() or {}).get(what)


def forced_key() -> tuple[object, ...]:
    """Return the choice that `forced` makes, as a key."""
    return tuple((_FORCED_CHOICE.get() or {}).values())


def instruction_sets() -> tuple[InstructionSet, ...]:
    """Return the instruction sets of this processor, best first; the last, plain one, every processor has.

    The environment variable ``WHYBOX_INSTRUCTIONS`` names the best one that may be used.

    Raises:
        OptionError: the processor does not have the set that the variable names.
    """
    return _available_sets()


def fastest_instructions() -> str:
    """Return the name of the best instruction set, or of the one that `forced` names."""
    return forced_choice("instructions") or instruction_sets()[0].name


@cache
def _available_sets() -> tuple[InstructionSet, ...]:
    sets = tuple(
        InstructionSet(name, {"float32": rows32, "float64": rows64}, {"float32": bits32, "float64": bits64})
        for name, bits32, bits64, rows32, rows64 in _native.instruction_sets()
    )
    wanted = os.environ.get("WHYBOX_INSTRUCTIONS")
    if wanted is not None and sets[0].name != wanted:
        names = ", ".join(s.name for s in sets)
        raise OptionError(f"WHYBOX_INSTRUCTIONS={wanted!r}: this processor has {names}. Take one of them, or unset it.")
    return sets


def count_work(  # noqa: PLR0913  # what there is to count has this many ingredients
    e: TreeEnsemble,
    player_of: PlayerOf,
    count: int,
    rules: QuadratureRules,
    *,
    kernel: Literal["lane walk", "pattern tables"],
    order: int,
    bits: int,
    registers: int,
    single: bool,
    background: int,
    step: int,
) -> tuple[float, float, float]:
    """Return how much work every `step`-th tree is: vector instructions a block of rows, table entries, multiplications to make those."""
    out = np.zeros((len(range(0, e.n_trees, step)), 3))
    if kernel == "lane walk":
        native_ensemble(e).lane_walk_work(player_of, count, rules.sizes, order, bits, step, out)
    else:
        native_ensemble(e).pattern_table_work(
            player_of, count, rules.sizes, order, bits, registers, single, float(background), step, out
        )
    vectors, entries, build = out.sum(axis=0).tolist()
    return vectors, entries, build


@final
class CompiledTrees:
    """Trees compiled for one question. What fits into memory is kept between calls; the rest is compiled again for each block of rows.

    Args:
        kernel: ``"lane walk"`` (path-dependent, order 1, any depth) or ``"pattern tables"`` (any game, paths of up to about ten players).
        sparse: for order 2, rows of the result are players (left as they are), then the pairs of `trees.pairs`.
        background: encoded rows and weights, with the moments of the index; None: path-dependent.
    """

    def __init__(  # noqa: PLR0913  # the mathematics has this many ingredients
        self,
        e: TreeEnsemble,
        player_of: PlayerOf,
        count: int,
        rules: QuadratureRules,
        *,
        kernel: str,
        order: int = 1,
        sparse: bool = False,
        background: tuple[Floats, Floats, Floats] | None = None,
        instructions: str,
        arithmetic: Arithmetic,
        bits: int,
        kept: int = MAX_COMPILED_KEPT,
    ) -> None:
        shared: dict[str, Any] = {
            "of_column": player_of,
            "count": count,
            "nodes": rules.nodes,
            "weights": rules.weights,
            "rule_offsets": rules.offsets,
            "rule_of_tree": rules.of_tree,
            "instructions": instructions,
            "single": arithmetic == "float32",
            "bits": bits,
            "order": order,
            "sparse": sparse,
        }
        if kernel == "lane walk":
            self._native = native_ensemble(e).lane_walk(**shared)
        else:
            rows, weights, moments = background or (np.empty((0, e.inputs.width)), np.empty(0), np.ones((1, 1)))
            self._native = native_ensemble(e).pattern_tables(b=rows, b_weights=weights, table=moments, **shared)
        self._trees = e.n_trees
        self._room = kept
        self._kept: list[_native.CompiledChunk] = []
        self._lock = threading.Lock()

    @property
    def kept_bytes(self) -> int:
        """Memory that compiled trees hold between calls."""
        return sum(part.bytes for part in self._kept)

    def add_values(
        self, X: Floats, out: npt.NDArray[Any], *, threads: int, description: str, quiet: bool = False
    ) -> None:
        """Add every tree's part to `out`, (rows, players[, players], outputs) or, sparse, (rows, players + pairs, outputs); float32 or float64."""
        first = 0
        while first < self._trees:
            part = self._compiled_chunk(first, threads)
            for rows in timed_batches(len(X), description=description, first_size=4096, quiet=quiet):
                part.run(X[rows], out[rows], threads)
            first = part.last_tree

    def _compiled_chunk(self, first: int, threads: int) -> _native.CompiledChunk:
        for part in self._kept:
            if part.first_tree == first:
                return part
        with self._lock:
            for part in self._kept:  # another thread may have made it meanwhile
                if part.first_tree == first:
                    return part
            held = self.kept_bytes
            made = self._native.compile_chunk(first, MAX_COMPILED_AT_ONCE, threads)
            if held + made.bytes <= self._room and first == (self._kept[-1].last_tree if self._kept else 0):
                self._kept.append(made)
            return made
