"""Explain each row."""

from __future__ import annotations

from typing import Any

from whybox.explanation.explanation import Explanation
from whybox.games.indices import Index
from whybox.methods.shap.explainers import LinearShap, TreeShap
from whybox.models.linear import Linear
from whybox.models.registry import as_model

__all__ = ["explain"]


def explain(  # noqa: PLR0913  # the promise of the public surface
    model: Any,
    X: Any,
    background: Any = None,
    method: str = "auto",
    *,
    output: Any = None,
    scale: str | None = None,
    order: int = 1,
    players: Any = None,
    index: str | Index = "shapley",
    background_weight: Any = None,
    seed: int = 0,
    additivity_tol: float | None = None,
    max_evals: int | None = None,
    n_jobs: int | None = None,
    dtype: Any = None,
    sparse: bool = False,
) -> Explanation:
    """Explain each row: how much did every feature contribute to its prediction?

    Args:
        model: a fitted model of scikit-learn, XGBoost, LightGBM or CatBoost, a Pipeline or search around one, or the path of a model file.
        X: rows to explain, (n, d): array, pandas, polars or pyarrow frame, or sparse matrix of scipy; a frame's columns are matched by name.
            An empty cell of a sparse matrix is what the model's library reads there: missing for XGBoost, zero for the others. Also a dict of columns
            or of one row's values, a list of dicts, a pyarrow RecordBatch or RecordBatchReader, a DuckDB relation: here and wherever rows are taken.
        background: rows to draw absent features from (interventional). None: a tree ensemble's own training weights (path-dependent).
        method: ``"auto"`` or ``"exact"``: exact, or refused with the reason. ``"rescaled"``: the known approximation behind a link.
        output: which class or output. None: every output of the model (of two classes, the second). The label of a class or output, as text or as
            a number: that one alone; a whole number that is no label is a position, and one that is the label of one class and the position of
            another is refused (of classes 1, 2 and 3, write ``output="1"``). ``"all"``: every one, with an axis.
        scale: on which scale. None or ``"raw"``: the additive one (log-odds of boosted classifiers, probabilities of forests). ``"probability"``: the
            probability of each class. ``"response"``: the scale of the model's predictions, whatever it is.
        order: 1 for attributions, 2 for pairwise interactions.
        players: ``{"address": ["street", "city"]}``: columns that share the credit as one.
        index: ``"shapley"``, ``"banzhaf"``, ``"banzhaf(p)"``, ``"beta(a, b)"``.
        background_weight: one weight a background row.
        seed: kept in the evidence; exact methods draw nothing.
        additivity_tol: largest accepted |base + sum of attributions - prediction|; None: what rounding explains.
        max_evals: most evaluations a row where coalitions are enumerated.
        n_jobs: threads; None or -1: as many as there are processors.
        dtype: ``"float32"`` or ``"float64"`` for arithmetic and values; None: what the model's library itself computes in, values in float64.
        sparse: with ``order=1``: only the features that the model reads; all others get exactly zero.
            With ``order=2`` for the additive scale of tree ensembles: main effects, then the whole interaction of each pair of features
            that some path of a tree asks for together, in one axis; all other pairs are exactly zero.

    Returns:
        Explanation: ``values`` (n, features) for regression and binary classification, (n, features, outputs) otherwise; order 2 has the
        feature axis twice. ``values.sum() + base`` is the model's own prediction of the row, checked for every row.

    Raises:
        WhyboxError: see whybox.errors for the tree; each message says what to do.

    Examples:
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.ensemble import RandomForestRegressor
        >>> import whybox as wb
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = RandomForestRegressor(n_estimators=20, random_state=0).fit(X, y)
        >>> explanation = wb.explain(model, X[:5])
        >>> explanation.values.shape
        (5, 10)
        >>> bool(abs(explanation.base + explanation.values.sum(axis=1) - model.predict(X[:5])).max() < 1e-9)
        True
    """
    adapted = as_model(model)
    explainer = LinearShap if isinstance(adapted, Linear) else TreeShap
    return explainer(
        adapted,
        background,
        output=output,
        scale=scale,
        order=order,
        players=players,
        index=index,
        background_weight=background_weight,
        method=method,
        seed=seed,
        additivity_tol=additivity_tol,
        max_evals=max_evals,
        n_jobs=n_jobs,
        dtype=dtype,
        sparse=sparse,
    )(X)
