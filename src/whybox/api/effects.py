"""How the prediction moves with each feature, and what that will cost."""

from __future__ import annotations

from typing import Any

from whybox.data.table import as_table
from whybox.explanation.effects import Effects
from whybox.methods.effects.learner_error import check_refits, with_learner_error
from whybox.methods.effects.plan import EffectsPlan
from whybox.methods.effects.plan import plan_effects as make_plan
from whybox.methods.effects.problem import check_kind, settle
from whybox.methods.effects.result import run

__all__ = ["effects", "plan_effects"]


def effects(  # noqa: PLR0913  # the promise of the public surface
    model: Any,
    X: Any,
    features: Any = None,
    kind: str = "pdp",
    *,
    grid: Any = None,
    output: Any = None,
    scale: str | None = None,
    sample_weight: Any = None,
    response_method: str | None = None,
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
        output, scale: as for :func:`explain`. Raw is the additive scale of models that are read, and of boosted ones that cannot be; of any other, what
            it answers.
        sample_weight: one weight a row of X.
        response_method: the method of the estimator to ask (``"predict"``, ``"predict_proba"``, ``"decision_function"``) instead of reading it.
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
                scale=scale,
                sample_weight=sample_weight,
                response_method=response_method,
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
    scale: str | None = None,
    sample_weight: Any = None,
    response_method: str | None = None,
    max_evals: int | None = None,
    n_jobs: int | None = None,
) -> EffectsPlan:
    """Say what :func:`effects` would cost, without doing it: how many predictions, exactly; how long and how much memory, about.

    The rows are compared and the questions counted as they will be asked. A model that is only asked answers a few of them for a timing: at most 4,640, a
    quarter of what the effects take (or 32), and fewer where it is slow (``plan.spent`` says how many). Trees are timed on some of the rows. What is read is not held against
    its own predict yet.

    Args:
        model, X, features, kind, grid, output, scale, sample_weight, response_method, max_evals, n_jobs: as for :func:`effects`.

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
        scale=scale,
        sample_weight=sample_weight,
        response_method=response_method,
        max_evals=max_evals,
        n_jobs=n_jobs,
        check=False,
    )
    return make_plan(asked)
