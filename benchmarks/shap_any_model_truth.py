"""Exact Shapley values of the models of shap_any_model_cases.py, kept in a folder so that they are computed once.

Up to 16 features every coalition is evaluated; the answers are kept, and the other libraries look their coalitions up. Above, the model is a tree ensemble and
whybox's tree kernel is the truth; `check` compares that kernel with enumeration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shap_any_model_cases import BACKGROUND, Case, Floats

SMALL = 25  # background rows of the first table
COMPARED = 12  # rows of the second table that every library explains, at most
CHUNK = 250_000  # rows that the model predicts at once
ENUMERATED = 16  # most features whose coalitions are all evaluated


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known exactly about a case."""

    case: Case
    worths: Floats | None  # (rows, 2^d) against 25 background rows; bit j of a number is player j
    small: Floats  # (rows, d) against 25 background rows
    full: Floats  # (truth_rows, d) against 500

    def game(self, row: int) -> Game:
        """The game of a row against 25 background rows."""
        return Game(self.case, row, None if self.worths is None else self.worths[row])


class Game:
    """The worth of coalitions of one row, looked up where all are known, else asked of the model and kept."""

    def __init__(self, case: Case, row: int, worths: Floats | None) -> None:
        self.case, self.row, self.worths = case, row, worths
        self.bits = 1 << np.arange(case.d, dtype=np.int64)
        self.known: dict[int, float] = {}
        self.evaluated = 0  # coalitions asked for, repeats too

    def __call__(self, coalitions: npt.NDArray[np.bool_]) -> Floats:
        coalitions = np.atleast_2d(np.asarray(coalitions)).astype(bool)
        self.evaluated += len(coalitions)
        codes = coalitions.astype(np.int64) @ self.bits
        if self.worths is not None:
            return self.worths[codes]
        new = [i for i in np.unique(codes, return_index=True)[1] if int(codes[i]) not in self.known]
        if new:
            told = coalition_worths(self.case, self.case.rows[self.row], coalitions[new], self.case.background[:SMALL])
            self.known.update(zip(codes[new].tolist(), told.tolist(), strict=True))
        return np.array([self.known[c] for c in codes.tolist()])


def coalition_worths(case: Case, row: Floats, coalitions: npt.NDArray[np.bool_], background: Floats) -> Floats:
    """The mean output over background rows of the row whose players outside a coalition take the background row's values."""
    step = max(1, CHUNK // len(background))
    worths = np.empty(len(coalitions))
    for i in range(0, len(coalitions), step):
        inside = coalitions[i : i + step]
        hybrids = np.where(inside[:, None, :], row, background)
        worths[i : i + step] = case.function(hybrids.reshape(-1, case.d)).reshape(len(inside), -1).mean(axis=1)
    return worths


def all_coalitions(d: int) -> npt.NDArray[np.bool_]:
    """(2^d, d): bit j of the number of a coalition is player j."""
    return (np.arange(2**d)[:, None] >> np.arange(d) & 1).astype(bool)


def shapley_values(worths: Floats, d: int) -> Floats:
    """Shapley values from the worth of every coalition, (..., 2^d) -> (..., d)."""
    size = np.bitwise_count(np.arange(2**d, dtype=np.uint64)).astype(int)
    weight = np.array([1 / (d * math.comb(d - 1, s)) for s in range(d)])
    values = np.empty((*worths.shape[:-1], d))
    for j in range(d):
        without = np.flatnonzero(np.arange(2**d) >> j & 1 == 0)
        values[..., j] = (worths[..., without + 2**j] - worths[..., without]) @ weight[size[without]]
    return values


def enumerated(case: Case, rows: Floats, background: Floats) -> Floats:
    """The worth of every coalition of every row."""
    coalitions = all_coalitions(case.d)
    return np.array([coalition_worths(case, row, coalitions, background) for row in rows])


def tree_values(case: Case, rows: Floats, background: Floats) -> Floats:
    """Exact values by the tree kernel."""
    import whybox as wb

    answer = wb.explain(case.trees, case.frame(rows), case.frame(background), method="tree_shap", output=case.output)
    return np.asarray(answer.values, dtype=float).reshape(len(rows), case.d)


def truth(case: Case, folder: Path, full: bool = True) -> Truth:
    """The truth about a case, from the folder or computed and put there."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = np.concatenate([case.function(case.rows), case.function(case.background)])
    small = case.background[:SMALL]
    exact_trees = case.d > ENUMERATED

    def first() -> dict[str, Floats]:
        if exact_trees:
            return {"small": tree_values(case, case.rows, small)}
        worths = enumerated(case, case.rows, small)
        return {"worths": worths, "small": shapley_values(worths, case.d)}

    def second() -> dict[str, Floats]:
        rows = case.rows[: case.truth_rows]
        if case.trees is not None:
            return {"full": tree_values(case, rows, case.background)}
        one = (enumerated(case, row[None], case.background) for row in rows)
        return {"full": np.concatenate([shapley_values(worths, case.d) for worths in one])}

    kept = {}
    for part, compute in (("small", first), ("full", second)):
        if part == "full" and not full:
            continue
        path = folder / f"{case.name.replace(' ', '')}-{part}.npz"
        if path.exists():
            saved = np.load(path)
            if np.allclose(saved["outputs"], outputs, rtol=1e-9, atol=1e-12):
                kept.update({k: saved[k] for k in saved.files})
                continue
            print(f"{case.name}: the model is another one than that of {path}; its truth is computed anew")
        found = compute()
        np.savez(path, outputs=outputs, **found)
        kept.update(found)
    return Truth(case, kept.get("worths"), kept["small"], kept.get("full", np.empty((0, case.d))))


def check(case: Case, rows: int = 2, players: int = 10) -> float:
    """Tree kernel against enumeration, with all but the first players fixed at the row: largest difference, of the largest value."""
    worst = 0.0
    for row in case.rows[:rows]:
        background = np.array(case.background[:SMALL])
        background[:, players:] = row[players:]
        coalitions = np.zeros((2**players, case.d), dtype=bool)
        coalitions[:, :players] = all_coalitions(players)
        values = shapley_values(coalition_worths(case, row, coalitions, background), players)
        trees = tree_values(case, row[None], background)[0]
        worst = max(worst, float(np.abs(trees[:players] - values).max() / np.abs(values).max()))
        assert not trees[players:].any()
    return worst


__all__ = ["BACKGROUND", "SMALL", "Game", "Truth", "check", "truth"]
