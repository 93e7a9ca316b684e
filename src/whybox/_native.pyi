from typing import Any

import numpy as np
import numpy.typing as npt

_F = npt.NDArray[np.float64]
_I = npt.NDArray[np.int32]

class Ensemble:
    def __init__(self, *, columns: int, **arrays: npt.NDArray[Any]) -> None: ...
    @property
    def depth(self) -> int: ...
    def predict(self, x: _F, out: _F, first_tree: int, last_tree: int, instructions: str) -> None: ...
    def leaf_indices(self, x: _F, out: _I) -> None: ...
    def expectation(self, out: _F) -> None: ...
    def players_on_path(self, of_column: _I, count: int, out: _I) -> None: ...
    def pair_walk(
        self,
        *,
        x: _F,
        of_column: _I,
        count: int,
        b: _F,
        weights: _F,
        table: _F,
        order: int,
        first_tree: int,
        last_tree: int,
        instructions: str,
        out: _F,
    ) -> None: ...
    def hybrid_outputs(self, *, x: _F, of_column: _I, count: int, b: _F, out: _F) -> None: ...
    def lane_walk(
        self,
        *,
        of_column: _I,
        count: int,
        nodes: _F,
        weights: _F,
        rule_offsets: npt.NDArray[np.int64],
        rule_of_tree: _I,
        order: int,
        sparse: bool,
        instructions: str,
        single: bool,
        bits: int,
    ) -> CompiledTrees: ...
    def pattern_tables(
        self,
        *,
        of_column: _I,
        count: int,
        order: int,
        sparse: bool,
        nodes: _F,
        weights: _F,
        rule_offsets: npt.NDArray[np.int64],
        rule_of_tree: _I,
        b: _F,
        b_weights: _F,
        table: _F,
        instructions: str,
        single: bool,
        bits: int,
    ) -> CompiledTrees: ...
    def interacting_pairs(self, of_column: _I, count: int) -> npt.NDArray[np.int32]: ...
    def lane_walk_work(self, of_column: _I, count: int, q: _I, order: int, bits: int, step: int, out: _F) -> None: ...
    def pattern_table_work(
        self,
        of_column: _I,
        count: int,
        q: _I,
        order: int,
        bits: int,
        registers: int,
        single: bool,
        background: float,
        step: int,
        out: _F,
    ) -> None: ...

class CompiledChunk:
    @property
    def first_tree(self) -> int: ...
    @property
    def last_tree(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    def run(self, x: _F, out: npt.NDArray[Any], threads: int) -> None: ...

class CompiledTrees:
    def compile_chunk(self, first_tree: int, max_bytes: int, threads: int) -> CompiledChunk: ...

class ValueIntervals:
    def __init__(self, ensemble: Ensemble) -> None: ...
    def interval_count(self, column: int) -> int: ...
    def edges(self, column: int, out: _F) -> None: ...
    def find(self, column: int, x: _F, out: npt.NDArray[np.uint32]) -> None: ...

class EffectGrid:
    def __init__(
        self,
        ensemble: Ensemble,
        intervals: ValueIntervals,
        columns: _I,
        offsets: npt.NDArray[np.int64],
        values: _F,
        points: npt.NDArray[np.int64],
    ) -> None: ...
    def point_count(self, player: int) -> int: ...
    def point_order(self, player: int, out: npt.NDArray[np.uint32]) -> None: ...
    def individual_curves(self, x: _F, instructions: str, out: _F) -> None: ...
    def curve_moments(
        self, x: _F, instructions: str, weights: _F, link: int, less_own: bool, centre: _F, total: _F, squares: _F
    ) -> None: ...
    def row_averages(self, x: _F, instructions: str, masses: _F, out: _F) -> None: ...
    def has_path_lists(self) -> bool: ...
    def pair_losses(
        self,
        x: _F,
        instructions: str,
        at_changes: bool,
        kind: int,
        link: int,
        scale: float,
        level: float,
        first_output: int,
        outputs: int,
        truth: _F,
        row_weights: _F,
        own_points: _I,
        point_weights: _F,
        watched: npt.NDArray[np.int64],
        own_outputs: _F,
        of_row: _F,
        at_points: _F,
        watched_outputs: _F,
        watched_differences: _F,
    ) -> None: ...
    def point_differences(self, x: _F, low: _I, high: _I, out: _F) -> None: ...
    def product_paths(self) -> ProductPaths: ...
    def effect_sums(self, first: _I, second: _I, instructions: str) -> EffectSums: ...

class EffectSums:
    def load_rows(self, x: _F, weights: _F) -> None: ...
    def add_trees(self, first_tree: int, last_tree: int) -> None: ...
    def merge(self, other: EffectSums) -> None: ...
    def curve(self, player: int, out: _F) -> None: ...
    def surface(self, which: int, out: _F) -> None: ...

class ProductPaths:
    def tables(
        self,
        mass: _F,
        derivative: _F,
        laws: npt.NDArray[np.int64],
        first_tree: int,
        max_bytes: int,
        instructions: str,
        threads: int,
    ) -> LawTables: ...

class LawTables:
    @property
    def last_tree(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    def run(
        self, law_of: npt.NDArray[np.int64], rows: int, instructions: str, threads: int, expected: _F, derivative: _F
    ) -> None: ...

def instruction_sets() -> list[tuple[str, int, int, int, int]]: ...

products_at_once: int

def product_games(
    rows: _F,
    donors: _F,
    n_rows: int,
    groups: int,
    players: int,
    weights: _F,
    nodes: _F,
    node_weights: _F,
    instructions: str,
    threads: int,
    out: _F,
) -> None: ...
def off_data_shares(
    data: _F,
    changed: npt.NDArray[np.int64],
    weights: _F,
    usual_share: float,
    neighbours: npt.NDArray[np.int64],
    size: int,
    starts: npt.NDArray[np.int64],
    instructions: str,
    shares: _F,
    squares: _F,
) -> None: ...
