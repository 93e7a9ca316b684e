"""Every kind of model with its verdict. The contract tests run each against oracles; docs/models.md is written from this list.

Run ``python tests/zoo --write`` after changing it.
"""

from __future__ import annotations

from pathlib import Path

from zoo import (
    catboost_models,
    lightgbm_models,
    linear_models,
    sklearn_models,
    statsmodels_models,
    wrapper_models,
    xgboost_models,
)
from zoo.base import CASES, COLUMNS, Case, X, adapted, binary, built, categories, data, holes, three, two, y, zeros

__all__ = [
    "BEGIN",
    "CASES",
    "COLUMNS",
    "END",
    "Case",
    "X",
    "adapted",
    "binary",
    "built",
    "categories",
    "data",
    "holes",
    "page",
    "table",
    "three",
    "two",
    "y",
    "zeros",
]

for library in (
    sklearn_models,
    linear_models,
    statsmodels_models,
    wrapper_models,
    xgboost_models,
    lightgbm_models,
    catboost_models,
):
    library.register()

BEGIN, END = "<!-- zoo begins -->", "<!-- zoo ends -->"


def verdict(case: Case) -> str:
    if case.verdict != "exact":
        return f"refused: {case.verdict}"
    return "exact, with a background only" if case.no_path else "exact"


def table() -> str:
    lines = ["| library | model | verdict |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {c.library} | {c.name} | {verdict(c)} |" for c in CASES)])


def page() -> Path:
    return Path(__file__).parents[2] / "docs" / "models.md"
