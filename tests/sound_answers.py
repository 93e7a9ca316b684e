"""Answers about effects that are right, drawn at random over models, tables, kinds, scales, outputs and weights: no spot check of theirs may fail."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from scipy.sparse import csr_matrix

import whybox as wb
import zoo
from whybox.errors import SpotCheckError, WhyboxError

EXACT = [c for c in zoo.CASES if c.verdict == "exact"]
KINDS = ("pdp", "ice", "c-ice", "d-ice", "ale", "anova", "marginal")


def mixed_table(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Every kind of column, with missing values, constants and repeats."""
    return pd.DataFrame(
        {
            "whole": rng.integers(0, 9, n),
            "real": np.where(rng.random(n) < 0.15, np.nan, rng.normal(size=n)),
            "text": rng.choice(np.array(["a", "b", None], dtype=object), n),
            "kind": pd.Categorical(rng.choice(["x", "y", "z"], n), categories=["z", "y", "x", "w"]),
            "flag": rng.random(n) < 0.5,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D"),
            "same": np.full(n, 2.5),
            "zone": pd.date_range("2024-03-01", periods=n, freq="37h", tz="Europe/Berlin"),
        }
    )


@dataclass(frozen=True)
class Score:
    """Plain Python over every kind of column; outputs of any size, in either precision, one or two."""

    size: float = 1.0
    single: bool = False
    two: bool = False

    def __call__(self, rows: Any) -> np.ndarray:
        rows = rows if isinstance(rows, pd.DataFrame) else rows.to_pandas()
        out = rows["whole"].to_numpy() * 2.0 + np.where(rows["real"].isna(), 5.0, rows["real"].fillna(0.0) ** 2)
        out = out + rows["text"].map({"a": 1.0, "b": 2.0}).fillna(-3.0).to_numpy()
        out = out + rows["kind"].astype(object).map({"x": 0.0, "y": 1.0, "z": 4.0, "w": 9.0}).to_numpy().astype(float)
        out = out * np.where(rows["flag"].astype(bool), 1.5, 1.0)
        out = out + (pd.to_datetime(rows["day"]) - pd.Timestamp("2024-01-01")).dt.days.to_numpy() / 100.0
        out = out + pd.to_datetime(rows["zone"], utc=True).dt.hour.to_numpy()
        out = (out.astype(np.float32) if self.single else out) * self.size
        return np.column_stack([out, -out * out]) if self.two else out


def wave(rows: Any) -> np.ndarray:
    x = rows.toarray() if hasattr(rows, "toarray") else np.asarray(rows, dtype=float)
    x = np.nan_to_num(x, nan=1.5)
    return x[:, 0] * x[:, 1] + np.sin(x[:, 2])


def black_box(rng: np.random.Generator) -> tuple[Any, Any, list[Any]]:
    n = int(rng.integers(3, 40))
    which = int(rng.integers(6))
    if which < 3:
        rows = mixed_table(n, rng)
        size = float(rng.choice([1.0, 1e-9, 1e12, 1e-200, 1e150]))
        given = [rows, pl.from_pandas(rows), pa.Table.from_pandas(rows, preserve_index=False)][which]
        model = Score(size, bool(rng.integers(2)) and 1e-30 < size < 1e30, bool(rng.integers(2)) and size < 1e140)
        return model, given, list(rows.columns)
    X = rng.normal(size=(n, 4)).round(int(rng.integers(0, 4)))
    X[rng.random(X.shape) < 0.1] = np.nan
    if which == 3:
        X[rng.random(X.shape) < 0.5] = 0.0
        return wave, csr_matrix(X), [0, 1, 2, 3]
    return wave, X.astype([np.float64, np.float32][which % 2]), [0, 1, 2, 3]


def sound_answer(seed: int, *, every: int = 1) -> str:
    """Compute an answer drawn by the seed; return what its evidence says of the checks, or why the question is refused.

    Args:
        every: take only every so many of the zoo's models, which take long to train.

    Raises:
        SpotCheckError: a false alarm.
    """
    rng = np.random.default_rng(seed)
    options: dict[str, Any] = {}
    if rng.random() < 0.25:
        model, rows, columns = black_box(rng)
    else:
        name = EXACT[::every][seed % len(EXACT[::every])].name
        model, rows = zoo.adapted(name), zoo.built(name)[1]
        if not len(getattr(model, "columns_read", [0])):
            return "refused: the model reads no column, so there is nothing to recompute"
        some = rng.choice(len(rows) if isinstance(rows, pd.DataFrame) else rows.shape[0], int(rng.integers(2, 40)))
        rows = rows.iloc[some] if isinstance(rows, pd.DataFrame) else rows[some]
        columns = list(rows.columns) if isinstance(rows, pd.DataFrame) else list(range(rows.shape[1]))
        options["scale"] = [None, None, "response"][int(rng.integers(3))]
    if rng.random() < 0.5:
        options["sample_weight"] = rng.random(len(rows) if not hasattr(rows, "shape") else rows.shape[0]).round(
            1
        ) + 0.1 * (rng.random() < 0.5)
    if not np.sum(options.get("sample_weight", 1.0)) > 0:
        del options["sample_weight"]
    picked = [columns[int(i)] for i in rng.choice(len(columns), min(3, len(columns)), replace=False)]
    features: list[Any] = picked[:2] if rng.random() < 0.6 else [picked[0], tuple(picked[:2])]
    verb = int(rng.integers(8))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if verb == 6:
                return str(wb.interactions(model, rows, picked, **options).evidence.spot_checks)
            if verb == 7:
                return str(wb.regions(model, rows, picked[0], depth=1, grid=5, **options)[0].evidence.spot_checks)
            kind = KINDS[int(rng.integers(len(KINDS)))]
            curves = wb.effects(model, rows, features, kind, grid=int(rng.integers(2, 9)), **options)
            if rng.random() < 0.3 and kind not in ("ale", "d-ice"):
                curves[0].at(list(curves[0].coords["point"][:2]))
            return str(curves[0].evidence.spot_checks)
    except SpotCheckError:
        raise
    except WhyboxError as refused:
        return f"refused: {refused}"
