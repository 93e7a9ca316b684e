"""Draws of texts with words removed: numbers of words by strata, each word removed equally often."""

from __future__ import annotations

import itertools
import math
from typing import Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.lime.removal_law import RemovalLaw

__all__ = ["all_subsets", "draw_masks", "size_proposal", "subset_law"]

Masks = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
UNIFORM_SHARE: Final = 0.1  # of draws that are spread over all sizes, whatever was seen so far
SIZE_GROUPS: Final = 12  # groups of sizes for which squared residuals are averaged


def draw_masks(proposal: Floats, replicates: int, each: int, n_words: int, seed: np.random.Generator) -> Masks:
    """Draw which words are present, (replicates * each, words), replicate by replicate.

    In each replicate the numbers of words are a systematic sample of `proposal`. Removed words are consecutive in a random order of all words, and the next draw
    goes on behind them, so that a replicate removes every word about equally often. Given its size, each draw alone is uniform over all subsets; replicates
    are independent.

    Args:
        proposal: probability of each number of words present, (words,).
        replicates: number of independent replicates. each: draws of a replicate.
    """
    strata = (np.arange(each) + seed.random((replicates, 1))) / each
    sizes = np.searchsorted(np.cumsum(proposal)[:-1], strata, side="right")
    removed = n_words - seed.permuted(sizes, axis=1)
    start = np.cumsum(removed, axis=1) - removed
    # draws of a replicate whose removed words begin in the same round over all words share an order
    round_of = start // n_words + np.arange(replicates)[:, None] * (each + 1)
    _, order_of = np.unique(round_of, return_inverse=True)
    order_of = order_of.reshape(-1)
    kind = np.uint16 if n_words < 2**15 else np.uint32
    orders = seed.permuted(np.broadcast_to(np.arange(n_words, dtype=kind), (int(order_of[-1]) + 1, n_words)), axis=1)
    place = orders[order_of]
    place -= (start.reshape(-1, 1) % n_words).astype(kind)
    place = np.minimum(
        place, place + kind(n_words)
    )  # below zero, unsigned numbers are large, and words more brings them back
    return np.asarray(place >= removed.reshape(-1, 1).astype(kind))


def all_subsets(n_words: int) -> Masks:
    """Return every way to have some words present but not all, (2^words - 1, words)."""
    return np.array(list(itertools.product((False, True), repeat=n_words))[:-1], dtype=bool).reshape(-1, n_words)


def subset_law(law: RemovalLaw, present: Masks) -> Floats:
    """Return the probability of each of :func:`all_subsets`."""
    sizes = present.sum(axis=1)
    ways = np.array([math.comb(law.n_words, s) for s in range(law.n_words)], dtype=np.float64)
    return np.asarray((law.size_law / ways)[sizes])


def size_proposal(law: RemovalLaw, sizes: Ints | None = None, squared_residuals: Floats | None = None) -> Floats:
    """Return the probability with which each number of words shall be drawn, (words,).

    The variance of a coefficient is least if sizes are drawn in proportion to their probability under the law, times the root of the mean square of what a draw
    contributes.

    Args:
        sizes, squared_residuals: (draws,): of earlier draws, the number of words present and the squared residual of a fit. None: nothing is known, and all sizes
            are drawn equally often, as in lime.
    """
    d = law.n_words
    uniform = np.full(d, 1.0 / d)
    if sizes is None or squared_residuals is None or not squared_residuals.any():
        return uniform
    order = np.argsort(sizes, kind="stable")
    groups = [g for g in np.array_split(order, SIZE_GROUPS) if len(g)]
    centre = np.array([sizes[g].mean() for g in groups])
    mean = np.array([squared_residuals[g].mean() for g in groups])
    share = law.sizes / d
    spread = share * (1.0 - share) + (share - law.presence) ** 2
    wanted = law.size_law * np.sqrt(spread * np.interp(law.sizes, centre, mean))
    if not wanted.any():
        return uniform
    return np.asarray(UNIFORM_SHARE * uniform + (1.0 - UNIFORM_SHARE) * wanted / wanted.sum())
