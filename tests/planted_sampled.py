"""Faults in sampled Shapley values, planted one by one: in hybrids, designs, the solver, the surrogate's values and the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from whybox.errors import SpotCheckError
from whybox.explainers import SampledShap
from whybox.methods.common.hybrid_grid import HybridGrid
from whybox.methods.shap import observed_design
from whybox.methods.shap.fitted_control import FittedControl
from whybox.methods.shap.observed_design import ObservedDesign

__all__ = ["FAULTS", "OF_SURROGATES", "RUNS", "SETTINGS", "answer", "found"]

RUNS = 2  # of each fault, in every run of the tests; a hundred under -m soak
Plant = Callable[[pytest.MonkeyPatch, np.random.Generator], None]
X = np.random.default_rng(0).normal(size=(120, 8))


def smooth(rows: np.ndarray) -> np.ndarray:
    """Two outputs; features of unlike size, some interactions."""
    z = np.asarray(rows)
    one = z @ np.array([3.0, -2.0, 1.5, 1.0, -1.0, 0.5, 0.4, 0.0]) + 0.3 * z[:, 0] * z[:, 1]
    return np.column_stack([one, np.exp(0.3 * z[:, 1]) + z[:, 2] - 2.0 * z[:, 4] + z[:, 6] * 0.7])


# columns, background rows, rows, options
SETTINGS: dict[str, tuple[int, int, int, dict[str, Any]]] = {
    "whole": (8, 10, 4, {"max_evals": 3_000, "surrogate": False}),
    "blocks": (8, 60, 4, {"max_evals": 1_400, "surrogate": False, "tol": 1e-6}),
    "chains": (8, 60, 4, {"max_evals": 5_000, "surrogate": False, "tol": 1e-6}),
    "few features": (3, 60, 4, {"max_evals": 900, "surrogate": False, "tol": 1e-6}),
    "all coalitions": (5, 12, 4, {"max_evals": 4_000, "surrogate": False, "tol": 1e-6}),
    "surrogate": (8, 60, 12, {"max_evals": 20_000, "surrogate": True, "tol": 1e-6}),
}


def answer(setting: str, seed: int) -> Any:
    """An answer; the seed chooses what is drawn and checked."""
    columns, background, rows, options = SETTINGS[setting]

    def model(given: np.ndarray) -> np.ndarray:
        return smooth(np.column_stack([given, np.zeros((len(given), 8 - columns))]))

    first = seed % 7
    return SampledShap(model, X[40 : 40 + background, :columns], output="all", seed=seed, **options)(
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


def hybrids_mixed_up(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """A tenth of the hybrids has the output of another."""
    right = HybridGrid.evaluate

    def faulty(self: Any, *given: Any, **more: Any) -> Any:
        outputs = right(self, *given, **more)
        each = outputs.reshape(-1, outputs.shape[2]).copy()
        bad = rng.choice(len(each), len(each) // 10, replace=False)
        each[bad] = each[np.roll(bad, 1)]
        return each.reshape(outputs.shape)

    patch.setattr(HybridGrid, "evaluate", faulty)


def one_output_off(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """One output is larger by a hundredth."""
    right, factors = HybridGrid.evaluate, np.where(np.arange(2) == rng.integers(2), 1.01, 1.0)
    patch.setattr(HybridGrid, "evaluate", lambda self, *given, **more: factors * right(self, *given, **more))


def complement_swapped(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Outputs of coalitions stand where those of complements belong."""
    right = ObservedDesign._outputs
    patch.setattr(ObservedDesign, "_outputs", lambda self, *given: right(self, *given)[:, ::-1])


def donors_shifted(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Outputs are those of the next background row."""
    right = HybridGrid.evaluate

    def faulty(self: Any, row: Any, donor: Any, *given: Any, **more: Any) -> Any:
        return right(self, row, (donor + 1) % len(self._donors), *given, **more)

    patch.setattr(HybridGrid, "evaluate", faulty)


def _changed(right: Callable[..., Any], change: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Any]:
    def faulty(*given: Any) -> Any:
        out = right(*given)
        return replace(out, values=change(out.values.copy()))

    return faulty


def _solved(change: Callable[[np.ndarray], np.ndarray]) -> Plant:
    """Change the values that the solver returns, (games, players, outputs)."""

    def plant(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
        for name in ("solve_games", "solve_chains"):
            patch.setattr(observed_design, name, _changed(getattr(observed_design, name), change))

    return plant


def _features_swapped(values: np.ndarray) -> np.ndarray:
    values[:, [0, 1]] = values[:, [1, 0]]
    return values


def _moved(values: np.ndarray) -> np.ndarray:
    """A half of the first feature's value is given to the next one."""
    values[:, 1] += values[:, 0] / 2
    values[:, 0] /= 2
    return values


def _all_alike(values: np.ndarray) -> np.ndarray:
    return np.broadcast_to(values.mean(axis=1, keepdims=True), values.shape)


def surrogate_swapped(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The surrogate's values of two features are swapped."""
    right = FittedControl.values
    patch.setattr(FittedControl, "values", lambda self, *given: _features_swapped(right(self, *given).copy()))


FAULTS: dict[str, Plant] = {
    "outputs of other hybrids": hybrids_mixed_up,
    "an output off by a hundredth": one_output_off,
    "coalitions and complements swapped": complement_swapped,
    "donors shifted by one": donors_shifted,
    "values of two features swapped": _solved(_features_swapped),
    "half of a value moved": _solved(_moved),
    "values all alike": _solved(_all_alike),
}
OF_SURROGATES: dict[str, Plant] = {"the surrogate's features swapped": surrogate_swapped}
