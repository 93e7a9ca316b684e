"""Rounds of donors: in each, every row is predicted once with a player changed; rounds are added until the Monte-Carlo error is small."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.importance.even_donors import EvenDonors
from whybox.methods.importance.prediction_budget import DEFAULT_TOL, not_converged_note
from whybox.methods.importance.rows_problem import RowsProblem

__all__ = ["DonorRounds", "donors_in_order", "run_rounds"]

MAX_BLOCK: Final = 8  # rounds of a block
BLOCKS: Final = 4  # from whose spread the Monte-Carlo error is taken; that of fewer tells little
ROUNDING: Final = 1e-9  # of what is compared as it is; a Monte-Carlo error below that is none


class Donors(Protocol):
    """Who gives each row its values: see `EvenDonors`."""

    def draw_places(self) -> None: ...
    def shifted(self, share: float = 0.0) -> Ints: ...


@final
@dataclass(frozen=True, eq=False)
class DonorRounds:
    """What the rounds found.

    Attributes:
        means: (players, rounds), the difference that each round found. errors: (players,), Monte-Carlo errors of their means.
        converged: whether these are as small as asked. limit: the option that allows more rounds.
    """

    means: Floats
    errors: Floats
    converged: bool
    limit: str = "max_evals"

    def warning(self, values: Floats) -> tuple[str, ...]:
        """A note where the error is not small enough, for these values, (players,); else none."""
        return () if self.converged else (not_converged_note(self.errors, values, self.limit),)


def run_rounds(
    problem: RowsProblem, donors: Sequence[Donors], rounds: int, evaluate: Callable[[int, Ints], float], baseline: float
) -> DonorRounds:
    """Make blocks of rounds until the Monte-Carlo error of every player is small, or as many as are allowed; with ``rounds`` of the options exactly those.

    Args:
        problem: with the options. donors: of each player. rounds: most rounds.
        evaluate: (player, donors (rows,)) -> the difference that this round finds. baseline: of what differences are of.
    """
    tol, converged = DEFAULT_TOL if problem.options.tol is None else problem.options.tol, False
    as_many = problem.options.rounds is not None  # as asked for, whatever their error
    block = _full_blocks(rounds) if as_many else rounds // -(-rounds // MAX_BLOCK)
    means: list[list[float]] = [[] for _ in donors]
    for turn in range(rounds // block):
        for player, circle in enumerate(donors):
            if turn:
                circle.draw_places()
            for k in range(block):
                means[player].append(evaluate(player, circle.shifted(k / block)))
        errors = [_monte_carlo_error(np.array(m), block) for m in means]
        largest = max(abs(float(np.mean(m))) for m in means)
        converged = bool(max(errors) <= max(tol * largest, ROUNDING * abs(baseline)))
        if converged and not as_many:
            break
    return DonorRounds(np.array(means), np.array(errors), converged, "rounds" if as_many else "max_evals")


def _full_blocks(rounds: int) -> int:
    """The size of equal blocks that together are as many rounds."""
    return max(size for size in range(1, MAX_BLOCK + 1) if rounds % size == 0)


def _monte_carlo_error(means: Floats, block: int) -> float:
    """Standard error of the mean of rounds for these rows, from the spread of blocks; of few blocks from that of rounds, which is too large rather than too small."""
    if len(means) >= BLOCKS * block:
        means = means.reshape(-1, block).mean(axis=1)
    return float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else float("nan")


def donors_in_order(
    problem: RowsProblem, kept: Ints, members: Sequence[int], weights: Floats, rng: np.random.Generator
) -> EvenDonors:
    """Return donors among some rows, in the order of a player's values, ties at random.

    Args:
        kept: positions of the rows. members: the player's columns. weights: of all rows; those of `kept` sum to one.
    """
    codes = [problem.rows.feature(p).codes[kept] for p in members]
    return EvenDonors(kept[np.lexsort((rng.random(len(kept)), *codes[::-1]))], weights, rng)
