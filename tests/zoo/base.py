"""What a case is, and the real data that all cases are built on."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from whybox.models.registry import as_model

COLUMNS = ["age", "sex", "bmi", "bp", "s5"]


@cache
def data() -> pd.DataFrame:
    """Real data: 442 diabetes patients (ships with scikit-learn); five columns, so that all coalitions can be tried."""
    from sklearn.datasets import load_diabetes

    raw = load_diabetes(as_frame=True, scaled=False)
    df = raw.data[COLUMNS].copy()
    df["target"] = raw.target
    return df


def X() -> pd.DataFrame:
    return data()[COLUMNS].copy()


def y() -> np.ndarray:
    return data()["target"].to_numpy()


def binary() -> np.ndarray:
    return (y() > 140).astype(int)


def three() -> np.ndarray:
    return np.digitize(y(), [100, 180])


def two() -> np.ndarray:
    return np.column_stack([y(), data()["s5"] * 10 + data()["bp"]])


def holes(share: float = 0.12) -> pd.DataFrame:
    out = X().astype(float)
    out[np.random.default_rng(1).random(out.shape) < share] = np.nan
    return out


def zeros() -> pd.DataFrame:
    out = X().astype(float) - [48, 1, 26, 94, 4.6]
    out[np.random.default_rng(2).random(out.shape) < 0.2] = 0.0
    return out


def categories(*, kind: str = "category") -> pd.DataFrame:
    """Age band as text, blood pressure band as whole numbers (many levels), the rest as numbers."""
    out = X()
    bands = np.array(["young", "middle", "old", "älter als 60"])[np.digitize(out["age"], [35, 50, 60])]
    levels = (out["bp"] // 2).astype(int)
    out["age"] = pd.Categorical(bands) if kind == "category" else bands
    out["bp"] = pd.Categorical(levels) if kind == "category" else levels
    return out


@dataclass(frozen=True)
class Case:
    """One kind of model.

    verdict: "exact", or the reason it is refused. single: the library computes in float32. no_covers: path-dependent is refused.
    contrib: rows -> the library's own path-dependent contributions with the base last, where those are right.
    """

    name: str
    library: str
    build: Callable[[], tuple[Any, Any]]
    verdict: str = "exact"
    single: bool = False
    no_path: bool = False
    contrib: Callable[[Any, Any], np.ndarray] | None = None


CASES: list[Case] = []


def case(
    name: str, library: str, **more: Any
) -> Callable[[Callable[[], tuple[Any, Any]]], Callable[[], tuple[Any, Any]]]:
    def add(build: Callable[[], tuple[Any, Any]]) -> Callable[[], tuple[Any, Any]]:
        CASES.append(Case(name, library, build, **more))
        return build

    return add


def simple(
    name: str,
    library: str,
    make: Callable[[], Any],
    rows: Callable[[], Any] = X,
    target: Callable[[], Any] = y,
    fit: Any = None,
    **more: Any,
) -> None:
    def build() -> tuple[Any, Any]:
        table = rows()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make().fit(table, target(), **(fit() if callable(fit) else fit or {})), table

    CASES.append(Case(name, library, build, **more))


@cache
def built(name: str) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return next(c for c in CASES if c.name == name).build()


@cache
def adapted(name: str) -> Any:
    """The model of a case as whybox reads it, verified."""
    return as_model(built(name)[0])
