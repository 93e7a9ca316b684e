"""Explain each row."""

from __future__ import annotations

from numbers import Integral
from typing import Any, overload

from whybox.api.method_choice import chosen_options, for_each
from whybox.data.table import Table, as_table
from whybox.explanation.explanation import Explanation
from whybox.games.indices import Index
from whybox.methods.common.abilities import can_explain
from whybox.methods.common.options import shows_first_overload
from whybox.methods.common.plan import Plan
from whybox.methods.method_spec import MethodSpec
from whybox.methods.registry import find, load, methods
from whybox.methods.shap.options import AUTOMATIC_METHODS, ShapOptions
from whybox.models.base import Model
from whybox.models.registry import as_model

__all__ = ["explain", "explainer_of", "plan_explain"]


@overload
def explain(  # the promise of the public surface
    model: Any,
    X: Any,
    background: Any = None,
    method: str | ShapOptions = "auto",
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
    spot_checks: int | None = None,
) -> Explanation: ...


@overload
def explain(
    model: Any, X: Any, background: Any = None, *, method: list[Any] | tuple[Any, ...], **options: Any
) -> dict[str, Explanation]: ...


@shows_first_overload
def explain(
    model: Any, X: Any, background: Any = None, method: Any = "auto", **options: Any
) -> Explanation | dict[str, Explanation]:
    """Explain each row: how much did every feature contribute to its prediction?

    Args:
        model: a fitted model of scikit-learn (trees, linear models), XGBoost, LightGBM, CatBoost or interpret, a Pipeline or search around one, or the path of a model
            file. Also one of its methods, ``model.predict_proba``, ``model.decision_function`` or a regressor's ``model.predict``: then the scale is that of the method.
        X: rows to explain, (n, d): array, pandas, polars or pyarrow frame, or sparse matrix of scipy; a frame's columns are matched by name.
            An empty cell of a sparse matrix is what the model's library reads there: missing for XGBoost, zero for the others. Also a dict of columns
            or of one row's values, a list of dicts, a pyarrow RecordBatch or RecordBatchReader, a DuckDB relation: here and wherever rows are taken.
        background: rows to draw absent features from (interventional). None: a tree ensemble's own training weights (path-dependent).
        method: ``"auto"`` or ``"exact"``: exact, or refused with the reason. ``"rescaled"``: the known approximation behind a link. ``"linear_shap_correlated"``: of a
            linear model, with absent features that follow from those present as in a Gaussian (see :class:`whybox.explainers.LinearShap`). Or any id of the family
            ``"shap"`` in whybox.methods.registry; an options object (``ShapOptions(order=2)``) in place of the options below; or a list of these.
        output: which class or output. None: every output of the model (of two classes, the second). The label of a class or output, as text or as
            a number: that one alone; a whole number that is no label is a position, and one that is the label of one class and the position of
            another is refused (of classes 1, 2 and 3, write ``output="1"``). ``"all"``: every one, with an axis.
        scale: on which scale. None or ``"raw"``: the additive one (log-odds of boosted classifiers, probabilities of forests). ``"probability"``: the
            probability of each class. ``"response"``: the scale of the model's predictions, whatever it is.
        order: 1 for attributions, 2 for pairwise interactions.
        players: ``{"address": ["street", "city"]}``: columns that share the credit as one.
        index: ``"shapley"``, ``"banzhaf"``, ``"banzhaf(p)"``, ``"beta(a, b)"``.
        background_weight: one weight a background row.
        seed: draws which numbers are recomputed; the values of exact methods draw nothing.
        additivity_tol: largest accepted |base + sum of attributions - prediction|, in the units of the prediction. None: what rounding explains.
        max_evals: most predictions in total where coalitions are enumerated (2^features x rows x background rows); None: a billion. More is refused
            before the first is made. Other methods predict each row once.
        n_jobs: threads. None: as many as this process may use (its processors, CPU quota of the container, ``OMP_NUM_THREADS``, joblib's context).
            -1: one for each processor. Their number changes no bit of the result.
        dtype: ``"float32"`` or ``"float64"`` for arithmetic and values; None: what the model's library itself computes in, values in float64.
        sparse: with ``order=1``: only the features that the model reads; all others get exactly zero.
            With ``order=2`` for the additive scale of tree ensembles: main effects, then the whole interaction of each pair of features
            that some path of a tree asks for together, in one axis; all other pairs are exactly zero.
        spot_checks: about how many predictions of single rows may be spent on recomputing numbers of this answer by a second way. None: 200, or 2 % of the
            rows where that is more. 0: none; the evidence then says "not checked".

    Returns:
        Explanation: ``values`` (n, features) for regression and binary classification, (n, features, outputs) otherwise; order 2 has the
        feature axis twice; a list of methods gives a dict, method id -> Explanation. ``values.sum() + base`` is the model's own prediction of the row, checked for every row.

    Raises:
        WhyboxError: see whybox.errors for the tree; each message says what to do. SpotCheckError: a number that was recomputed is another one.

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
    chosen = chosen_options(ShapOptions, "method", method, options)
    adapted = as_model(model)
    rows, behind = as_table(X), _background_table(background)  # once: a reader gives its rows once

    def explain_with(each: ShapOptions) -> Explanation:
        explanation: Explanation = explainer_of(adapted, behind, each)(rows)
        return explanation

    return for_each(chosen, explain_with)


def plan_explain(
    model: Any, X: Any, background: Any = None, method: Any = "auto", **options: Any
) -> Plan | dict[str, Plan]:
    """Plan :func:`explain`; `X` may be a number of rows. The time is that of the attributions, without the model's own predict."""
    chosen = chosen_options(ShapOptions, "method", method, options)
    adapted = as_model(model)
    table = None if isinstance(X, Integral) else as_table(X)
    behind = _background_table(background)

    def plan_with(each: ShapOptions) -> Plan:
        explainer = explainer_of(adapted, behind, each)
        method_plan: Plan = explainer.plan(X) if table is None else explainer.plan(len(table), sparse=table.is_sparse)
        return method_plan

    return for_each(chosen, plan_with)


def _background_table(background: Any) -> Table | None:
    return None if background is None else as_table(background, what="the background")


def explainer_of(model: Model, background: Any, options: ShapOptions) -> Any:
    """Return the explainer of the method that the options name, or of the first that the model fits.

    Raises:
        WhyboxError: as :func:`explain`.
    """
    return load(_method_spec(model, options.method).run)(model, background, options)


def _method_spec(model: Model, method: str) -> MethodSpec:
    """The method of an id; of ``"auto"`` and ``"exact"`` the first in the registry that the model fits, else the first, which says why not."""
    if method not in AUTOMATIC_METHODS:
        return find("shap", method)
    specs = methods("shap")
    return next((s for s in specs if can_explain(s, model) and (s.exact or method != "exact")), specs[0])
