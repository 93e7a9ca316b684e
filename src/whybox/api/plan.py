"""What an explanation will cost, before it is computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from whybox.data.table import as_table
from whybox.games.indices import Index
from whybox.methods.shap.explainers import LinearShap, TreeShap
from whybox.methods.shap.plan import Plan
from whybox.models.linear import Linear
from whybox.models.registry import as_model

__all__ = ["plan"]


def plan(  # noqa: PLR0913  # the options of explain
    model: Any,
    rows: Any,
    background: Any = None,
    method: str = "auto",
    *,
    output: Any = None,
    scale: str | None = None,
    order: int = 1,
    players: Any = None,
    index: str | Index = "shapley",
    background_weight: Any = None,
    n_jobs: int | None = None,
    dtype: Any = None,
    sparse: bool = False,
) -> Plan:
    """Say how :func:`explain` would go about it, how long it will take and how much memory, without doing it.

    The kernel and its tables are chosen from the trees and the number of rows; a block of rows is timed on this machine. The time is that
    of the attributions, without the model's own predict, against which every row is then checked.

    Args:
        model, background, method, output, scale, order, players, index, background_weight, n_jobs, dtype, sparse: as for :func:`explain`.
        rows: how many rows, or the rows themselves.

    Returns:
        Plan: print it.

    Raises:
        WhyboxError: what explain would refuse, where that shows without the rows.

    Examples:
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.ensemble import RandomForestRegressor
        >>> import whybox as wb
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = RandomForestRegressor(n_estimators=20, random_state=0).fit(X, y)
        >>> wb.plan(model, 1_000_000).kernel
        'lane walk'
    """
    adapted = as_model(model)
    explainer = LinearShap if isinstance(adapted, Linear) else TreeShap
    asked = explainer(
        adapted,
        background,
        output=output,
        scale=scale,
        order=order,
        players=players,
        index=index,
        background_weight=background_weight,
        method=method,
        n_jobs=n_jobs,
        dtype=dtype,
        sparse=sparse,
    )
    if isinstance(rows, (int, np.integer)):
        return asked.plan(int(rows))
    table = as_table(rows)
    return asked.plan(len(table), sparse=table.is_sparse)
