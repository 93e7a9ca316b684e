"""Faults in effects and interactions, planted one by one as switches: in the kernels, in the reading, in the mixing, in the sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from whybox.errors import SpotCheckError
from whybox.kernels import effects, interaction_strength
from whybox.methods.common import evaluation
from whybox.methods.common.rows import WeightedRows
from whybox.methods.effects import curves, predict_evaluator, tree_evaluator
from whybox.methods.effects.options import EffectsOptions
from whybox.methods.effects.problem import EffectsProblem, resolve_effects
from whybox.methods.effects.result import compute_effects

RUNS = 5  # of each fault, in every run of the tests; a hundred under -m soak
ROWS = 90


def table(seed: int = 0, n: int = ROWS) -> pd.DataFrame:
    """Numbers with missing values, few numbers, categories; all matter, two by two."""
    rng = np.random.default_rng(seed)
    gaps = rng.random((n, 2)) < 0.15
    return pd.DataFrame(
        {
            "a": np.where(gaps[:, 0], np.nan, rng.normal(size=n)),
            "b": np.where(gaps[:, 1], np.nan, rng.normal(size=n)),
            "few": rng.integers(0, 4, n),
            "word": pd.Categorical(rng.choice(["u", "v", "w", "x", "y"], n)),
        }
    )


def score(rows: pd.DataFrame) -> np.ndarray:
    a, b = rows["a"].fillna(1.7).to_numpy(), rows["b"].fillna(-0.6).to_numpy()
    word = (
        rows["word"].astype(object).map({"u": 0.3, "v": 1.0, "w": -1.2, "x": 2.4, "y": -0.7}).to_numpy().astype(float)
    )
    return 3.0 + a * b + 0.5 * rows["few"].to_numpy() * a + word * b + word


@cache
def booster() -> xgb.XGBRegressor:
    rows = table(1, 800)
    return xgb.XGBRegressor(n_estimators=12, max_depth=4, learning_rate=0.4, enable_categorical=True, n_jobs=1).fit(
        rows, score(rows)
    )


def asked(model: Any, kind: str, features: Any = None, **options: Any) -> EffectsProblem:
    """A question whose rows are compared once, before anything is planted."""
    weights = np.linspace(0.2, 3.0, ROWS)
    return resolve_effects(
        model, table(), features, EffectsOptions(kind=kind, sample_weight=weights, **options), kind=kind, grid=11
    )


def anew(problem: EffectsProblem) -> EffectsProblem:
    """The same question with nothing computed yet."""
    rows = WeightedRows(problem.rows.table, problem.rows.weights)
    return replace(problem, rows=rows, _evaluators={})


def tenth(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.choice(count, max(1, round(count / 10)), replace=False)


def wrong(values: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    """Numbers of which some are wrong by one in a hundred."""
    out = np.moveaxis(np.array(values), axis, 0)
    out[at] *= 1.01
    return np.moveaxis(out, 0, axis)


Plant = Callable[[pytest.MonkeyPatch, np.random.Generator], None]


def moments_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The mean curves of the kernel alone."""
    right = effects.individual_curve_moments

    def faulty(*args: Any, **more: Any) -> Any:
        return [replace(m, mean=wrong(m.mean, tenth(rng, len(m.mean)), 0)) for m in right(*args, **more)]

    patch.setattr(effects, "individual_curve_moments", faulty)


def means_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Means without individual curves, of curves and of surfaces."""
    right, joint = effects.partial_dependence, effects.joint_partial_dependence

    def faulty(*args: Any, **more: Any) -> Any:
        return [wrong(m, tenth(rng, len(m)), 0) for m in right(*args, **more)]

    def faulty_joint(*args: Any, **more: Any) -> Any:
        return [
            wrong(m.reshape(-1, m.shape[2]), tenth(rng, m.shape[0] * m.shape[1]), 0).reshape(m.shape)
            for m in joint(*args, **more)
        ]

    patch.setattr(effects, "partial_dependence", faulty)
    patch.setattr(effects, "joint_partial_dependence", faulty_joint)


def blocks_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """A tenth of the points of individual curves, the same ones for all rows."""
    right = effects.individual_curve_blocks

    def faulty(*args: Any, **more: Any) -> Any:
        at: dict[int, np.ndarray] = {}
        for rows, parts in right(*args, **more):
            for i, part in enumerate(parts):
                at.setdefault(i, tenth(rng, part.shape[1]))
            yield rows, [wrong(part, at[i], 1) for i, part in enumerate(parts)]

    patch.setattr(effects, "individual_curve_blocks", faulty)


def plant_points(patch: pytest.MonkeyPatch, change: Callable[[Any, np.ndarray], np.ndarray]) -> None:
    """Have the kernels read the points of a grid as `change` of it and of what they should be."""
    right = tree_evaluator.TreeEvaluator.player_points

    def faulty(self: Any, grid: Any) -> Any:
        points = right(self, grid)
        return replace(points, values=change(grid, points.values.copy()))

    patch.setattr(tree_evaluator.TreeEvaluator, "player_points", faulty)


def one_reading_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """All that the kernels say of a tenth of the points: what they are set to is read wrongly."""
    drawn: dict[Any, set[Any]] = {}

    def change(grid: Any, values: np.ndarray) -> np.ndarray:
        for k in range(values.shape[1]):
            key = grid.column_positions[min(k, len(grid.column_positions) - 1)]
            column = values[:, k]
            different = np.unique(column)
            bad = drawn.setdefault(key, set(different[tenth(rng, len(different))].tolist()))
            hit = np.array([v in bad or (v != v and any(b != b for b in bad)) for v in column])
            values[hit, k] = np.where(column[hit] > np.nanmedian(different), np.nanmin(different), np.nanmax(different))
        return values

    plant_points(patch, change)


def missing_point_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The point of a missing value alone, which is read as another number."""
    del rng
    plant_points(patch, lambda _grid, values: np.where(np.isnan(values), 0.0, values))


def category_shifted(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Points of categories are read as the next category."""
    del rng

    def change(grid: Any, values: np.ndarray) -> np.ndarray:
        return np.where(values < 4, values + 1, 0.0) if grid.features[0].kind == "category" else values

    plant_points(patch, change)


def inverted_range(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Where a grid has a missing point, points between two others are wrong too: an item that lives for its NaN alone spoils the range above it."""
    right = effects.individual_curve_moments, effects.individual_curve_blocks

    def spoiled(values: np.ndarray, points: Any, axis: int) -> np.ndarray:
        if not np.isnan(points.values).any():
            return values
        start = int(rng.integers(len(points.values) - 2))
        return wrong(values, np.arange(start, start + 2), axis)

    def moments(e: Any, levels: Any, *args: Any, **more: Any) -> Any:
        found = right[0](e, levels, *args, **more)
        return [replace(m, mean=spoiled(m.mean, p, 0)) for m, p in zip(found, levels, strict=True)]

    def blocks(e: Any, levels: Any, *args: Any, **more: Any) -> Any:
        for rows, parts in right[1](e, levels, *args, **more):
            yield rows, [spoiled(part, p, 1) for part, p in zip(parts, levels, strict=True)]

    patch.setattr(effects, "individual_curve_moments", moments)
    patch.setattr(effects, "individual_curve_blocks", blocks)


def weights_ignored(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The kernels' means take every row alike."""
    del rng
    for name in ("individual_curve_moments", "partial_dependence"):
        right = getattr(effects, name)
        patch.setattr(
            effects,
            name,
            lambda e, p, X, w=None, right=right, **more: right(e, p, X, np.full(len(X), 1 / len(X)), **more),
        )
    joint = effects.joint_partial_dependence
    patch.setattr(
        effects,
        "joint_partial_dependence",
        lambda e, p, pairs, X, w=None, **more: joint(e, p, pairs, X, np.full(len(X), 1 / len(X)), **more),
    )


def rows_shifted(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Individual curves belong to the row before."""
    del rng
    right = effects.individual_curve_blocks
    patch.setattr(
        effects,
        "individual_curve_blocks",
        lambda *args, **more: ((rows, [np.roll(p, 1, axis=0) for p in parts]) for rows, parts in right(*args, **more)),
    )


def wrong_column(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The column beside the feature's is set."""
    del rng
    right = tree_evaluator.TreeEvaluator.model_columns
    patch.setattr(
        tree_evaluator.TreeEvaluator,
        "model_columns",
        lambda self, members: tuple((c + 1) % 4 for c in right(self, members)),
    )


def ends_swapped(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Differences of ALE are lower end less upper end, in as many rows as a tenth of all, which have a difference."""
    right = effects.point_differences

    def faulty(*args: Any, **more: Any) -> Any:
        out = right(*args, **more)
        moved = np.flatnonzero(out.any(axis=(1, 2)))
        out[rng.choice(moved, min(len(moved), round(len(out) / 10)), replace=False)] *= -1
        return out

    patch.setattr(effects, "point_differences", faulty)


def steps_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The weights of rows are lost where differences of ALE are averaged."""
    del rng
    from whybox.methods.effects import ale

    for name in ("accumulate_differences",):
        right = getattr(ale, name)
        patch.setattr(
            ale,
            name,
            lambda rows, *more, right=right: right(WeightedRows(rows.table, np.full(len(rows), 1 / len(rows))), *more),
        )


def surfaces_transposed(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Points of surfaces in the other order."""
    del rng

    def change(grid: Any, values: np.ndarray) -> np.ndarray:
        if len(grid.features) < 2 or len(grid.shape) < 2:
            return values
        return np.ascontiguousarray(values[np.arange(len(grid)).reshape(grid.shape).T.ravel()])

    plant_points(patch, change)


OF_TREES: dict[str, tuple[Plant, list[tuple[str, Any]]]] = {
    "a tenth of the means": (moments_wrong, [("pdp", None), ("pdp", [("a", "b")])]),
    "a tenth of the means without curves": (means_wrong, [("anova", None), ("anova", [("a", "b")])]),
    "a tenth of the individual values": (blocks_wrong, [("ice", None), ("c-ice", None), ("d-ice", ["a", "b"])]),
    "a tenth of the points, everywhere": (one_reading_wrong, [("pdp", None), ("ice", None), ("anova", ["a", "b"])]),
    "the missing point": (missing_point_wrong, [("pdp", None), ("ice", None), ("c-ice", ["a", "b"]), ("anova", None)]),
    "categories shifted": (category_shifted, [("pdp", None), ("ice", None), ("ale", ["word", "a"]), ("anova", None)]),
    "an inverted range": (inverted_range, [("pdp", ["a", "b"]), ("ice", ["a", "b"])]),
    "weights ignored": (weights_ignored, [("pdp", None), ("anova", None), ("anova", [("a", "b")])]),
    "rows shifted": (rows_shifted, [("ice", None), ("c-ice", None), ("d-ice", ["a", "b"])]),
    "the wrong column": (wrong_column, [("pdp", None), ("ice", None), ("ale", ["a", "b"]), ("anova", None)]),
    "ends swapped": (ends_swapped, [("ale", None), ("ale", [("a", "b")])]),
    "weights of steps": (steps_wrong, [("ale", None)]),
    "surfaces transposed": (surfaces_transposed, [("pdp", [("a", "b")]), ("ice", [("a", "b")]), ("pdp", [("few", "word")])]),
}  # fmt: skip


def values_of(answer: Any) -> list[np.ndarray]:
    """The numbers of an answer, of one explanation or of several, with their errors."""
    each = [answer[name] for name in answer] if hasattr(answer, "keys") else [answer]
    numbers = [n for e in each for n in (e.values, e.std_error) if n is not None]
    return [np.asarray(n, dtype=float) for n in numbers]


def found(
    problem: EffectsProblem, plant: Plant, runs: int, answer: Callable[[EffectsProblem], Any] = compute_effects
) -> int:
    """In how many runs the fault is found, or changes nothing of the answer."""
    count, without_effect, right = 0, 0, values_of(answer(anew(problem)))
    for seed in range(runs):
        with pytest.MonkeyPatch.context() as patch:
            plant(patch, np.random.default_rng(seed))
            try:
                given = values_of(answer(anew(problem)))
            except SpotCheckError:
                count += 1
            else:
                without_effect += all(np.array_equal(a, b, equal_nan=True) for a, b in zip(given, right, strict=True))
    assert without_effect <= runs / 10
    return count + without_effect


def distinct_rows_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """A tenth of the rows are taken for equal to another one."""
    right = WeightedRows._find_distinct_rows

    def faulty(self: Any, key: Any) -> Any:
        first, inverse = right(self, key)
        if not key:
            return first, inverse
        some = tenth(rng, len(inverse))
        inverse = inverse.copy()
        inverse[some] = (inverse[some] + 1) % len(first)
        return first, inverse

    patch.setattr(WeightedRows, "_find_distinct_rows", faulty)


def mixed_wrongly(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Hybrids take the donor's points of another place in a tenth of the cases."""
    right = evaluation.HybridEvaluator.evaluate_each

    def faulty(self: Any, rows: Any, donors: Any, row: Any, donor: Any, *more: Any, **named: Any) -> Any:
        if len(donor) > 1:
            some = tenth(rng, len(donor))
            donor = donor.copy()
            donor[some] = (donor[some] + 1) % len(donors)
        return right(self, rows, donors, row, donor, *more, **named)

    patch.setattr(evaluation.HybridEvaluator, "evaluate_each", faulty)


def own_cells_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """A row set to its own value is taken for another row as it is."""
    del rng
    right = predict_evaluator.PredictEvaluator._own_cells

    def faulty(self: Any, grid: Any) -> Any:
        cells, rows = right(self, grid)
        return cells, (rows + 1) % len(self.rows)

    patch.setattr(predict_evaluator.PredictEvaluator, "_own_cells", faulty)


def sums_without_weights(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Running sums take every row alike."""
    del rng
    right = predict_evaluator.RunningMoments.add_rows
    patch.setattr(
        predict_evaluator.RunningMoments,
        "add_rows",
        lambda self, values, w: right(self, values, np.full(len(w), w.mean())),
    )


def nearest_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """A tenth of the rows count at another point."""
    right = curves.nearest_points

    def faulty(rows: Any, grid: Any) -> Any:
        out = right(rows, grid).copy()
        some = tenth(rng, len(out))
        out[some] = (out[some] + 1) % len(grid)
        return out

    patch.setattr(curves, "nearest_points", faulty)


OF_BLACK_BOXES: dict[str, tuple[Plant, list[tuple[str, Any]]]] = {
    "rows taken for equal": (distinct_rows_wrong, [("pdp", ["a", "word"]), ("ice", ["a", "word"]), ("ale", ["a", "few"])]),
    "points mixed up": (mixed_wrongly, [("pdp", ["a", "word"]), ("ice", ["a", "word"]), ("anova", ["a", "b"])]),
    "own cells": (own_cells_wrong, [("pdp", ["few", "word"]), ("ice", ["few", "word"])]),
    "weights ignored": (sums_without_weights, [("pdp", ["a", "word"]), ("anova", ["a", "word"])]),
    "nearest points": (nearest_wrong, [("marginal", ["a", "few"])]),
}  # fmt: skip


def pair_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The surface of one pair of features is wrong at all its points."""
    right, which = interaction_strength.compute_surfaces, int(rng.integers(1000))

    def faulty(e: Any, levels: Any, pairs: Any, *more: Any) -> Any:
        for k, surface in right(e, levels, pairs, *more):
            yield k, surface * (1.0 + 0.3 * np.arange(len(surface))[:, None, None] if k == which % len(pairs) else 1.0)

    patch.setattr(interaction_strength, "compute_surfaces", faulty)


def pair_size_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """One pair of features is said to interact by one in a hundred more."""
    right, which = interaction_strength.pair_interactions, int(rng.integers(1000))

    def faulty(e: Any, levels: Any, pairs: Any, *more: Any, **named: Any) -> Any:
        out = right(e, levels, pairs, *more, **named)
        out.interaction_sums[which % len(pairs)] *= 1.01**2
        return out

    patch.setattr(interaction_strength, "pair_interactions", faulty)
