from typing import Any

import numpy as np
import numpy.typing as npt

_F = npt.NDArray[np.float64]
_I = npt.NDArray[np.int32]

class Ensemble:
    def __init__(self, *, columns: int, **arrays: npt.NDArray[Any]) -> None: ...
    @property
    def depth(self) -> int: ...
    def predict(self, x: _F, out: _F, first_tree: int, last_tree: int) -> None: ...
    def leaves(self, x: _F, out: _I) -> None: ...
    def expectation(self, out: _F) -> None: ...
    def players_on_path(self, of_column: _I, count: int, out: _I) -> None: ...
    def path_pairs(
        self,
        *,
        x: _F,
        of_column: _I,
        count: int,
        nodes: _F,
        weights: _F,
        rule_offsets: npt.NDArray[np.int64],
        rule_of_tree: _I,
        out: _F,
    ) -> None: ...
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
    def hybrids(self, *, x: _F, of_column: _I, count: int, b: _F, out: _F) -> None: ...
    def walk(
        self,
        *,
        of_column: _I,
        count: int,
        nodes: _F,
        weights: _F,
        rule_offsets: npt.NDArray[np.int64],
        rule_of_tree: _I,
        instructions: str,
        single: bool,
        bits: int,
    ) -> Attribution: ...
    def patterns(
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
    ) -> Attribution: ...
    def pairs(self, of_column: _I, count: int) -> npt.NDArray[np.int32]: ...
    def walk_work(self, of_column: _I, count: int, q: _I, bits: int, step: int, out: _F) -> None: ...
    def pattern_work(
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

class Part:
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    def run(self, x: _F, out: npt.NDArray[Any], threads: int) -> None: ...

class Attribution:
    def chunk(self, first: int, room: int, threads: int) -> Part: ...

class Classes:
    def __init__(self, ensemble: Ensemble) -> None: ...
    def count(self, column: int) -> int: ...
    def edges(self, column: int, out: _F) -> None: ...

class Effects:
    def __init__(
        self,
        ensemble: Ensemble,
        classes: Classes,
        columns: _I,
        offsets: npt.NDArray[np.int64],
        values: _F,
        points: npt.NDArray[np.int64],
    ) -> None: ...
    def points(self, player: int) -> int: ...
    def index(self, player: int, out: npt.NDArray[np.uint32]) -> None: ...
    def individual(self, x: _F, instructions: str, out: _F) -> None: ...
    def moments(
        self, x: _F, instructions: str, weights: _F, link: int, less_own: bool, centre: _F, total: _F, squares: _F
    ) -> None: ...
    def averages(self, x: _F, instructions: str, masses: _F, out: _F) -> None: ...
    def shifted(self, x: _F, low: _I, high: _I, out: _F) -> None: ...
    def means(self, first: _I, second: _I, instructions: str) -> Means: ...

class Means:
    def fill(self, x: _F, weights: _F) -> None: ...
    def add(self, first_tree: int, last_tree: int) -> None: ...
    def merge(self, other: Means) -> None: ...
    def one(self, player: int, out: _F) -> None: ...
    def pair(self, which: int, out: _F) -> None: ...

def instruction_sets() -> list[tuple[str, int, int, int, int]]: ...
