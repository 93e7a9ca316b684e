"""The short road: functions that adapt the model, choose the explainer, and run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from whybox.errors import OptionError
from whybox.explanation.effects import Effects
from whybox.explanation.explanation import Explanation
from whybox.frames import as_table
from whybox.methods.effects.interactions import check_sample
from whybox.methods.effects.interactions import interactions as find_interactions
from whybox.methods.effects.plan import EffectsPlan
from whybox.methods.effects.plan import plan_effects as make_plan
from whybox.methods.effects.question import check_kind, settle
from whybox.methods.effects.refits import check_refits, with_learner_error
from whybox.methods.effects.regions import POINTS, check_depth
from whybox.methods.effects.regions import regions as find_regions
from whybox.methods.effects.run import run
from whybox.methods.importance.impurity import check_method, check_truth_unused, impurity
from whybox.methods.importance.shap import mean_absolute
from whybox.methods.shap.indices import Index
from whybox.methods.shap.plan import Plan
from whybox.methods.shap.tree import LinearShap, TreeShap
from whybox.models.linear import Linear
from whybox.models.registry import as_model
from whybox.options import whole

__all__ = ["effects", "explain", "importance", "interactions", "load", "plan", "plan_effects", "regions"]


def explain(  # noqa: PLR0913  # the promise of the public surface
    model: Any,
    X: Any,
    background: Any = None,
    method: str = "auto",
    *,
    output: Any = None,
    order: int = 1,
    players: Any = None,
    index: str | Index = "shapley",
    weights: Any = None,
    seed: int = 0,
    tol: float | None = None,
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
        output: None or ``"raw"``: the additive scale (log-odds of boosted classifiers, probabilities of forests). ``"probability"`` or
            ``"response"``: the scale of predictions. The label of a class or output, as text or as a number: that one alone; a whole number
            that is no label is a position, and one that is the label of one class and the position of another is refused (of classes 1, 2
            and 3, write ``output="1"``). ``"all"``: every one, with an axis.
        order: 1 for attributions, 2 for pairwise interactions.
        players: ``{"address": ["street", "city"]}``: columns that share the credit as one.
        index: ``"shapley"``, ``"banzhaf"``, ``"banzhaf(p)"``, ``"beta(a, b)"``.
        weights: one number a background row.
        seed: kept in the evidence; exact methods draw nothing.
        tol: largest accepted |base + sum of attributions - prediction|; None: what rounding explains.
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
        order=order,
        players=players,
        index=index,
        weights=weights,
        method=method,
        seed=seed,
        tol=tol,
        max_evals=max_evals,
        n_jobs=n_jobs,
        dtype=dtype,
        sparse=sparse,
    )(X)


def plan(  # noqa: PLR0913  # the options of explain
    model: Any,
    rows: Any,
    background: Any = None,
    method: str = "auto",
    *,
    output: Any = None,
    order: int = 1,
    players: Any = None,
    index: str | Index = "shapley",
    weights: Any = None,
    n_jobs: int | None = None,
    dtype: Any = None,
    sparse: bool = False,
) -> Plan:
    """Say how :func:`explain` would go about it, how long it will take and how much memory, without doing it.

    The kernel and its tables are chosen from the trees and the number of rows; a block of rows is timed on this machine. The time is that
    of the attributions, without the model's own predict, against which every row is then checked.

    Args:
        model, background, method, output, order, players, index, weights, n_jobs, dtype, sparse: as for :func:`explain`.
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
        order=order,
        players=players,
        index=index,
        weights=weights,
        method=method,
        n_jobs=n_jobs,
        dtype=dtype,
        sparse=sparse,
    )
    if isinstance(rows, (int, np.integer)):
        return asked.plan(int(rows))
    table = as_table(rows)
    return asked.plan(len(table), sparse=table.is_sparse)


def importance(
    model: Any,
    X: Any = None,
    y: Any = None,
    method: str = "shap",
    *,
    background: Any = None,
    output: Any = None,
    players: Any = None,
    weights: Any = None,
) -> Explanation:
    """Rank features over all rows: which ones does the model rely on?

    Args:
        model: as for :func:`explain`.
        X: rows to average over; not needed for ``method="impurity"``.
        y: the truth, for methods that measure how much worse the model gets; none of the methods below does, and y is refused.
        method: ``"shap"``: mean absolute attribution. ``"impurity"``: share of the impurity decrease (gain) in training.
        background, output, players, weights: as for :func:`explain`; impurity takes `players` only.

    Returns:
        Explanation of kind ``"importance"``: ``values`` (features,), or (features, outputs).

    Raises:
        OptionError: unknown method, or arguments that do not go with it. Others as for :func:`explain`.
    """
    check_method(method)
    if y is not None:
        check_truth_unused(y, method)
    if method == "impurity":
        if background is not None or output is not None or weights is not None:
            raise OptionError(
                "method='impurity' reads the model alone: background, output and weights do not go with it."
            )
        return impurity(as_model(model), players)
    if X is None:
        raise OptionError("method='shap' averages over rows: pass X.")
    return mean_absolute(explain(model, X, background, output=output, players=players, weights=weights))


def effects(  # noqa: PLR0913  # the promise of the public surface
    model: Any,
    X: Any,
    features: Any = None,
    kind: str = "pdp",
    *,
    grid: Any = None,
    output: Any = None,
    weights: Any = None,
    response: str | None = None,
    max_evals: int | None = None,
    refits: Any = None,
    n_jobs: int | None = None,
) -> Effects:
    """Show how the prediction moves with each feature, over the rows at hand.

    Args:
        model: a model as for :func:`explain`, or anything else that answers: a function of rows, an estimator with ``predict`` or
            ``predict_proba``. What is not read is asked, equal rows once, and some rows several times: what depends on other rows or on chance is refused.
        X: rows to take the effect over, (n, d): array, or pandas, polars or pyarrow frame.
        features: names or positions; a tuple of two is a surface. None: every column.
        kind: ``"pdp"``: partial dependence, the mean over the rows with the feature set to each point (interventional). ``"ice"``: each
            row's own curve; ``"c-ice"``: less its first point; ``"d-ice"``: its slope. ``"ale"``: accumulated local effects, centred at zero, for
            features that depend on each other. ``"anova"``: the component of the functional
            ANOVA, what a feature adds to the mean prediction, or a pair to what its features add alone. ``"marginal"``: the mean prediction of the rows that
            have the value (observational). Which it is stands in the evidence.
        grid: how many points, ``"thresholds"`` (one for each step of a tree ensemble), or a dict from a
            feature to its points (or one of these). None: all different values up to 100, else
            quantiles (surfaces: 20 a side; ``"ale"``: 40 intervals, surfaces 20); categories of the data and of the dtype; missing values have a point of their own.
            A point that the data have is a cell of theirs, as it came. Dates: with any time zone; without one, in UTC where the column has a zone.
        output: as for :func:`explain`; None is the raw scale for models that are read, and for boosted ones that cannot be; else what the model answers.
        weights: one number a row of X.
        response: the method of the estimator to ask (``"predict"``, ``"predict_proba"``, ``"decision_function"``) instead of reading it.
        max_evals: most predictions of single rows where the model is asked; more is refused before any is made.
        refits: the same model fitted again on bootstrap samples of its training rows, a list of at least three: ``extras["learner_error"]`` then says how
            far training moves each curve.
        n_jobs: threads of tree ensembles, as for :func:`explain`; their number changes no bit of the result.

    Returns:
        Effects: ``effects["age"]`` with ``grid``, ``values`` (points,) [, outputs], ``std_error``, ``off_data`` and ``at(points)``.

    Raises:
        WhyboxError: see whybox.errors for the tree; each message says what to do.

    Examples:
        >>> import numpy as np
        >>> import whybox as wb
        >>> X = np.random.default_rng(0).normal(size=(50, 2))
        >>> curves = wb.effects(lambda rows: 3.0 * rows[:, 0], X)
        >>> bool(abs(curves[0].values - 3.0 * curves[0].grid).max() < 1e-12)
        True
    """
    again = check_refits(refits, check_kind(kind))
    rows = as_table(X)  # once: a reader gives its rows once

    def ask(one: Any, chosen: Any, points: Any) -> Effects:
        return run(
            settle(
                one,
                rows,
                chosen,
                kind=kind,
                grid=points,
                output=output,
                weights=weights,
                response=response,
                max_evals=max_evals,
                n_jobs=n_jobs,
            )
        )

    found = ask(model, features, grid)
    return found if again is None else with_learner_error(found, again, ask)


def plan_effects(  # noqa: PLR0913  # the options of effects
    model: Any,
    X: Any,
    features: Any = None,
    kind: str = "pdp",
    *,
    grid: Any = None,
    output: Any = None,
    weights: Any = None,
    response: str | None = None,
    max_evals: int | None = None,
    n_jobs: int | None = None,
) -> EffectsPlan:
    """Say what :func:`effects` would cost, without doing it: how many predictions, exactly; how long and how much memory, about.

    The rows are compared and the questions counted as they will be asked. A model that is only asked answers a few of them for a timing: at most 4,640, a
    quarter of what the effects take (or 32), and fewer where it is slow (``plan.spent`` says how many). Trees are timed on some of the rows. What is read is not held against
    its own predict yet.

    Args:
        model, X, features, kind, grid, output, weights, response, max_evals, n_jobs: as for :func:`effects`.

    Returns:
        EffectsPlan: print it. ``predictions`` are those for the curves; ``model_calls`` is what the evidence of the curves will say.

    Raises:
        LimitError: more predictions than ``max_evals``. Others as for :func:`effects`.

    Examples:
        >>> import numpy as np
        >>> import whybox as wb
        >>> X = np.column_stack([np.arange(1000.0), np.arange(1000) % 3])
        >>> wb.plan_effects(lambda rows: rows.sum(axis=1), X, 0, grid=50).predictions
        150
    """
    asked = settle(
        model,
        X,
        features,
        kind=kind,
        grid=grid,
        output=output,
        weights=weights,
        response=response,
        max_evals=max_evals,
        n_jobs=n_jobs,
        check=False,
    )
    return make_plan(asked)


def interactions(  # noqa: PLR0913  # the promise of the public surface
    model: Any,
    X: Any,
    features: Any = None,
    *,
    output: Any = None,
    weights: Any = None,
    response: str | None = None,
    sample: int | None = None,
    seed: int = 0,
    max_evals: int | None = None,
    n_jobs: int | None = None,
) -> Explanation:
    """Say which features act together: all pairs, by size and by Friedman's H squared.

    Args:
        model, X, output, weights, response: as for :func:`effects`.
        features: names or positions of those to pair up; None: all.
        sample: how many rows to draw where the model has to be asked about every pair of rows; the result then has standard errors. Tree
            ensembles on their own scale take all rows, exactly, and need none.
        seed: of the rows drawn.
        max_evals: most answers of a model that is asked (default 20 million); more is refused before any is made.
        n_jobs: as for :func:`effects`.

    Returns:
        Explanation of kind ``"interaction_size"``: ``values`` (features, features) [, outputs] are sizes in the units of the prediction: of pairs, and
        on the diagonal of each feature with all others together. ``extras["h_squared"]`` has the same shape. ``to_frame()`` lists pairs, largest
        first; ``plot.heatmap()`` draws them.

    Raises:
        LimitError: too many answers; pass sample. Others as :func:`effects`.

    Examples:
        >>> import numpy as np
        >>> import whybox as wb
        >>> X = np.random.default_rng(0).normal(size=(60, 3))
        >>> found = wb.interactions(lambda rows: rows[:, 0] * rows[:, 1] + rows[:, 2], X)
        >>> found.to_frame(library="pandas")["feature"][0], found.to_frame(library="pandas")["feature_2"][0]
        ('x0', 'x1')
    """
    seed = whole("seed", seed, None)
    chosen = check_sample(sample)
    asked = settle(
        model,
        X,
        features,
        kind="pdp",
        grid=None,
        output=output,
        weights=weights,
        response=response,
        max_evals=max_evals,
        n_jobs=n_jobs,
    )
    return find_interactions(asked, sample=chosen, seed=seed)


def regions(  # noqa: PLR0913  # the promise of the public surface
    model: Any,
    X: Any,
    feature: Any,
    *,
    depth: int = 2,
    grid: Any = None,
    output: Any = None,
    weights: Any = None,
    response: str | None = None,
    max_evals: int | None = None,
    n_jobs: int | None = None,
) -> Effects:
    """Split the rows where a feature acts differently, and show its effect in each part.

    Args:
        model, X, output, weights, response, max_evals, n_jobs: as for :func:`effects`.
        feature: one name or position.
        depth: how many splits a region may be deep, 1 to 4.
        grid: as for :func:`effects`; None: 30 points.

    Returns:
        Effects keyed by conditions on other features: ``"all rows"`` first, then each region, if any split takes a tenth off. Each is partial dependence over the
        rows that meet the conditions; ``extras["heterogeneity"]`` is how far their individual curves still are from it (root mean square, less their levels),
        and ``extras["region_share"]`` the region's share of the rows.

    Raises:
        OptionError: more than one feature, or a depth that cannot be. Others as :func:`effects`.

    Examples:
        >>> import numpy as np
        >>> import whybox as wb
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> parts = wb.regions(lambda rows: rows[:, 0] * np.where(rows[:, 1] > 0, 1.0, -1.0), X, 0, depth=1)
        >>> len(parts)
        3
    """
    deep = check_depth(depth)
    asked = settle(
        model,
        X,
        [feature],
        kind="pdp",
        grid=POINTS if grid is None else grid,
        output=output,
        weights=weights,
        response=response,
        max_evals=max_evals,
        n_jobs=n_jobs,
    )
    return find_regions(asked, depth=deep)


def load(path: str | Path) -> Explanation | Effects:
    """Read what was saved by ``Explanation.save`` or ``Effects.save``.

    Raises:
        ExplanationFileError: not such a file, truncated, edited, or of another version.
    """
    from whybox.explanation.load import load as load_file

    return load_file(path)
