"""Faults in LIME of tables, planted one by one: in kernels, laws, distributions, the sample and the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from whybox.errors import SpotCheckError
from whybox.explainers import Lime
from whybox.kernels.product_law import ProductLaw
from whybox.methods.common import cut_background, evaluation
from whybox.methods.common.spot_checks import TimeShare
from whybox.methods.lime import exact, explainer, local_model, narrow, sampled
from whybox.methods.lime.exact import ExactLaws

__all__ = ["OF_LINEAR", "OF_OWN_DRAWS", "OF_SAMPLES", "OF_TREES", "RUNS", "answer", "found"]

RUNS = 1  # of each fault, in every run of the tests; a hundred under -m soak
Plant = Callable[[pytest.MonkeyPatch, np.random.Generator], None]


@cache
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 160
    return pd.DataFrame(
        {
            "a": rng.normal(size=n),
            "b": rng.exponential(size=n),
            "c": rng.normal(size=n),
            "few": rng.integers(0, 4, n).astype(float),
            "word": rng.choice(["u", "v", "w"], n),
        }
    )


def truth(rows: pd.DataFrame) -> np.ndarray:
    word = rows["word"].map({"u": 0.0, "v": 1.0, "w": -1.2}).to_numpy()
    return (rows["a"] * rows["b"] + rows["few"] - 2 * rows["c"]).to_numpy() + word * (1 + rows["a"].to_numpy())


def fitted(model: Any) -> Any:
    encoder = make_column_transformer((OneHotEncoder(), ["word"]), remainder="passthrough")
    return make_pipeline(encoder, model).fit(table(), truth(table()))


@cache
def kept(kind: str) -> Lime:
    """An explainer that has read its model before anything is planted."""
    if kind == "trees":
        return Lime(fitted(RandomForestRegressor(6, max_depth=5, random_state=0)), table())
    if kind == "linear":
        return Lime(fitted(xgb.XGBRegressor(booster="gblinear", n_estimators=20)), table())
    if kind == "own draws":
        return Lime(truth, table(), max_evals=3_000, kernel_width=0.4)
    return Lime(truth, table(), max_evals=2_000, tol=1e-9)


def answer(kind: str, seed: int) -> Any:
    """An answer of which the seed chooses what is checked; laws are made anew."""
    lime = kept(kind)
    lime._checks, lime._time_share = seed, TimeShare()
    if lime._laws is not None:
        lime._laws = ExactLaws(lime.neighbourhood)
    return lime(table()[:12])


def found(kind: str, plant: Plant, runs: int) -> int:
    """How many of so many answers with a fault are errors."""
    kept(kind)
    count = 0
    for seed in range(runs):
        with pytest.MonkeyPatch.context() as patch:
            plant(patch, np.random.default_rng(seed))
            try:
                answer(kind, seed)
            except SpotCheckError:
                count += 1
    return count


def _answer(name: str, change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Plant:
    """Change the values of an answer, (rows, players, outputs)."""

    def plant(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
        right = getattr(explainer, name)

        def faulty(*given: Any) -> Any:
            model = right(*given)
            return replace(model, found=replace(model.found, values=change(model.found.values.copy(), rng)))

        patch.setattr(explainer, name, faulty)

    return plant


def _tenth_off(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(values.shape) < 0.1, 0.9 * values, values)


def _one_feature_off(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values[:, rng.integers(values.shape[1])] *= 1.1
    return values


def _swapped(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    pair = rng.choice(values.shape[1], 2, replace=False)
    values[:, pair] = values[:, pair[::-1]]
    return values


def _sign(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return -values


def _rows_shifted(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.roll(values, 1, axis=0)


ANSWERS = {
    "a tenth of the values off by a tenth": _tenth_off,
    "one feature off by a tenth": _one_feature_off,
    "two features swapped": _swapped,
    "the wrong sign": _sign,
    "rows shifted by one": _rows_shifted,
}


def kernel_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """A player's derivative is off by one in a hundred."""
    right = ProductLaw.expected_outputs

    def faulty(self: ProductLaw, *given: Any, **more: Any) -> Any:
        mean, slopes = right(self, *given, **more)
        slopes[:, rng.integers(slopes.shape[1])] *= 1.01
        return mean, slopes

    patch.setattr(ProductLaw, "expected_outputs", faulty)


def mean_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The weighted mean, and so the intercept, is off."""
    right = ProductLaw.expected_outputs

    def faulty(self: ProductLaw, *given: Any, **more: Any) -> Any:
        mean, slopes = right(self, *given, **more)
        return mean * 1.01, slopes

    patch.setattr(ProductLaw, "expected_outputs", faulty)


def mass_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """A tenth of the mass of each piece of one player stands in another class of values."""
    right = exact._class_masses
    which = int(rng.integers(4))
    count = iter(range(1_000))

    def faulty(d: Any, *given: Any) -> Any:
        masses = right(d, *given)
        if next(count) == which:
            masses = 0.9 * masses + 0.1 * np.roll(masses, 1 + masses.shape[1] // 2, axis=1)
        return masses

    patch.setattr(exact, "_class_masses", faulty)


def sides_swapped(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The derivative is that of outside less inside."""
    right = exact._inside_outside

    def faulty(*given: Any) -> Any:
        own, other, share, rest = right(*given)
        return other, own, rest, share

    patch.setattr(exact, "_inside_outside", faulty)


def shares_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Own regions count as larger than they are."""
    right = exact._inside_outside

    def faulty(*given: Any) -> Any:
        own, other, share, rest = right(*given)
        return own, other, 1.2 * share, rest

    patch.setattr(exact, "_inside_outside", faulty)


def regions_shifted(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """One player's own regions are those of the neighbouring row."""
    right = cut_background.player_regions
    which = int(rng.integers(5))
    count = iter(range(1_000))

    def faulty(*given: Any) -> Any:
        regions = right(*given)
        if next(count) % 5 != which:
            return regions
        return replace(regions, first=np.roll(regions.first, 1), last=np.roll(regions.last, 1))

    patch.setattr(cut_background, "player_regions", faulty)


def outputs_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """A tenth of the sampled rows has the output of another."""
    right = evaluation.HybridEvaluator.evaluate_rows

    def faulty(self: Any, *given: Any, **more: Any) -> Any:
        out = right(self, *given, **more)
        bad = rng.choice(len(out), len(out) // 10, replace=False)
        out[bad] = out[np.roll(bad, 1)]
        return out

    patch.setattr(evaluation.HybridEvaluator, "evaluate_rows", faulty)


def replicate_lost(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The draws of one scrambling are those of another."""
    right = sampled._sums_of_rows

    def faulty(*given: Any) -> Any:
        sums = right(*given)
        sums.moments[0], sums.rest[0] = sums.moments[1], sums.rest[1]
        return sums

    patch.setattr(sampled, "_sums_of_rows", faulty)


def weights_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Draws outside weigh as if the kernel were a tenth wider."""
    right = sampled.LocalDesign.weights

    def faulty(self: Any, *given: Any) -> Any:
        return right(self, *given) ** (1 / 1.21)

    patch.setattr(sampled.LocalDesign, "weights", faulty)


def _uniform(column: int, change: Callable[[np.ndarray], np.ndarray]) -> Plant:
    """Change the uniform numbers of a row's own draws: which side (0), where inside (1), where outside (2)."""

    def plant(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
        right = narrow.weighted_draws

        def faulty(problem: Any, row: int, u: np.ndarray) -> Any:
            changed = u.copy()
            changed[:, :, column] = change(u[:, :, column])
            return right(problem, row, changed)

        patch.setattr(narrow, "weighted_draws", faulty)

    return plant


def own_outputs_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """A tenth of the hybrids has the output of another."""
    right = evaluation.HybridEvaluator.evaluate_hybrids

    def faulty(self: Any, *given: Any, **more: Any) -> Any:
        hybrids, outputs = right(self, *given, **more)
        bad = rng.choice(len(hybrids), len(hybrids) // 10, replace=False)
        hybrids = hybrids.copy()
        hybrids[bad] = hybrids[np.roll(bad, 1)]
        return hybrids, outputs

    patch.setattr(evaluation.HybridEvaluator, "evaluate_hybrids", faulty)


def partner_is_base(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The features of the partner stay on the side of the draw."""
    right = narrow.weighted_draws

    def faulty(*given: Any) -> Any:
        base, _ = right(*given)
        return base, base

    patch.setattr(narrow, "weighted_draws", faulty)


def errors_halved(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Standard errors of own draws are half as large."""
    right = local_model.add_narrow_values

    def faulty(design: Any, evaluator: Any, rows: Any, draws: int, found: Any, kept: Any) -> Any:
        out = right(design, evaluator, rows, draws, found, kept)
        found.std_error[rows] /= 2.0
        return out

    patch.setattr(local_model, "add_narrow_values", faulty)


_EXACT = {name: _answer("exact_model", change) for name, change in ANSWERS.items()}
_SAMPLED = {name: _answer("sampled_model", change) for name, change in ANSWERS.items()}
OF_OWN_DRAWS = {
    **_SAMPLED,
    "own regions of another row": regions_shifted,
    "outputs of other hybrids": own_outputs_wrong,
    "a wider kernel": _uniform(0, lambda u: 0.98 * u),
    "the other side": _uniform(0, lambda u: 1.0 - u),
    "features that stay": partner_is_base,
    "errors that are half": errors_halved,
}
OF_LINEAR = {**_EXACT, "own regions of another row": regions_shifted}
OF_TREES = {
    **OF_LINEAR,
    "a derivative of the kernel": kernel_wrong,
    "the weighted mean": mean_wrong,
    "masses of bins": mass_wrong,
    "inside and outside swapped": sides_swapped,
    "shares of own regions": shares_wrong,
}
OF_SAMPLES = {
    **_SAMPLED,
    "own regions of another row": regions_shifted,
    "outputs of other rows": outputs_wrong,
    "a scrambling twice": replicate_lost,
    "a wider kernel": weights_wrong,
}
