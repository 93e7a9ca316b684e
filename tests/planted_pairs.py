"""Faults in sampled interactions of pairs, planted one by one: in hybrids, in the solver and in the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planted_sampled import FAULTS as OF_VALUES
from planted_sampled import Plant, X
from whybox.errors import SpotCheckError
from whybox.explainers import SampledShap
from whybox.methods.shap import observed_design

__all__ = ["FAULTS", "SETTINGS", "answer", "found"]

# columns, background rows, rows, options
SETTINGS: dict[str, tuple[int, int, int, dict[str, Any]]] = {
    "whole": (8, 10, 4, {"max_evals": 8_000, "tol": 1e-6}),
    "few coalitions": (8, 10, 4, {"max_evals": 1_900, "tol": 1e-6}),
    "blocks": (8, 60, 4, {"max_evals": 6_000, "tol": 1e-6}),
    "few features": (3, 60, 4, {"max_evals": 900, "tol": 1e-6}),
    "all coalitions": (5, 12, 4, {"max_evals": 4_000, "tol": 1e-6}),
}


def interacting(rows: np.ndarray) -> np.ndarray:
    """Two outputs; interactions of unlike size."""
    z = np.asarray(rows)
    one = z @ np.array([3.0, -2.0, 1.5, 1.0, -1.0, 0.5, 0.4, 0.0]) + 2.0 * z[:, 0] * z[:, 1] - z[:, 1] * z[:, 2]
    return np.column_stack(
        [one, np.exp(0.3 * z[:, 1] + 0.5 * z[:, 2]) + z[:, 0] * z[:, 4] + 2 * np.tanh(z[:, 5] + z[:, 0])]
    )


def answer(setting: str, seed: int) -> Any:
    """An answer; the seed chooses what is drawn and checked."""
    columns, background, rows, options = SETTINGS[setting]

    def model(given: np.ndarray) -> np.ndarray:
        return interacting(np.column_stack([given, np.zeros((len(given), 8 - columns))]))

    first = seed % 7
    return SampledShap(model, X[40 : 40 + background, :columns], output="all", order=2, seed=seed, **options)(
        X[first : first + rows, :columns]
    )


def found(setting: str, plant: Plant, runs: int) -> int:
    """How many of so many answers with a fault are errors."""
    count = 0
    for seed in range(runs):
        with pytest.MonkeyPatch.context() as patch:
            plant(patch, np.random.default_rng(seed))
            try:
                answer(setting, seed)
            except SpotCheckError:
                count += 1
    return count


def _solved(change: Callable[[np.ndarray], np.ndarray]) -> Plant:
    """Change the matrices that the solver returns, (games, players, players, outputs)."""

    def plant(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
        right = observed_design.solve_pairs

        def faulty(*given: Any) -> Any:
            out = right(*given)
            return replace(out, values=change(out.values.copy()))

        patch.setattr(observed_design, "solve_pairs", faulty)

    return plant


def _with_main_effects(pairs: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The matrices with other interactions, whose rows add up to what they did."""
    own = np.arange(before.shape[1])
    pairs[:, own, own] = 0.0
    pairs[:, own, own] = before.sum(axis=2) - pairs.sum(axis=2)
    return pairs


def _features_swapped(values: np.ndarray) -> np.ndarray:
    values[:, [0, 1]] = values[:, [1, 0]]
    values[:, :, [0, 1]] = values[:, :, [1, 0]]
    return values


def _not_halved(values: np.ndarray) -> np.ndarray:
    return _with_main_effects(2.0 * values, values)


def _partners_swapped(values: np.ndarray) -> np.ndarray:
    """The interactions of the first two features with all others are each other's; values of features are as they were."""
    return _with_main_effects(_features_swapped(values.copy()), values)


def _no_interactions(values: np.ndarray) -> np.ndarray:
    return _with_main_effects(0.0 * values, values)


FAULTS: dict[str, Plant] = {
    **{
        name: OF_VALUES[name]
        for name in ("outputs of other hybrids", "an output off by a hundredth", "donors shifted by one")
    },
    "two features swapped": _solved(_features_swapped),
    "interactions not halved": _solved(_not_halved),
    "partners of two features swapped": _solved(_partners_swapped),
    "no interactions": _solved(_no_interactions),
}
