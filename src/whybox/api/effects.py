"""How the prediction moves with each feature, and what that will cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, overload

from whybox.api.method_choice import chosen_options, for_each
from whybox.api.texts_or_tables import refuse_texts
from whybox.data.table import Table
from whybox.explanation.effects import Effects
from whybox.methods.common.offset_column import with_offset_columns
from whybox.methods.common.options import shows_first_overload
from whybox.methods.common.plan import Plan
from whybox.methods.common.row_offsets import rows_and_offset
from whybox.methods.effects.learner_error import with_learner_error
from whybox.methods.effects.options import EffectsOptions
from whybox.methods.effects.plan import plan_effects as plan_problem
from whybox.methods.effects.problem import EffectsProblem, resolve_effects
from whybox.methods.effects.result import compute_effects

__all__ = ["effects", "plan_effects"]


@overload
def effects(  # the promise of the public surface
    model: Any,
    X: Any,
    features: Any = None,
    kind: str | EffectsOptions = "pdp",
    *,
    offset: Any = None,
    grid: Any = None,
    output: Any = None,
    scale: str | None = None,
    sample_weight: Any = None,
    response_method: str | None = None,
    max_evals: int | None = None,
    refits: Any = None,
    n_jobs: int | None = None,
    level: float = 0.95,
    spot_checks: int | None = None,
) -> Effects: ...


@overload
def effects(
    model: Any, X: Any, features: Any = None, *, kind: list[Any] | tuple[Any, ...], **options: Any
) -> dict[str, Effects]: ...


@shows_first_overload
def effects(
    model: Any, X: Any, features: Any = None, kind: Any = "pdp", *, offset: Any = None, **options: Any
) -> Effects | dict[str, Effects]:
    """Show how the prediction moves with each feature, over the rows at hand.

    Args:
        model: a model as for :func:`explain`, or a black box: a function of rows (over a network: :class:`RemoteModel`), or an estimator that is not read,
            by its ``predict_proba``, else ``decision_function``, else ``predict``. A black box is evaluated on equal rows once, and on some rows several times:
            outputs that depend on other rows or on chance are refused.
        X: rows to take the effect over, (n, d): array, or pandas, polars or pyarrow frame.
        features: names or positions; a tuple of two is a surface. None: every column.
        kind: ``"pdp"``: partial dependence, the mean over the rows with the feature set to each point (interventional). ``"ice"``: each
            row's own curve; ``"c-ice"``: less its first point; ``"d-ice"``: its slope. ``"ale"``: accumulated local effects, centred at zero, for
            features that depend on each other. ``"anova"``: the component of the functional
            ANOVA, what a feature adds to the mean prediction, or a pair to what its features add alone. ``"marginal"``: the mean prediction of the rows that
            have the value (observational). Which it is stands in the evidence. Or an ``EffectsOptions`` object in place of the options below, or a list of these.
        grid: how many points, ``"thresholds"`` (one for each step of a tree ensemble), or a dict from a
            feature to its points (or one of these). None: all different values up to 100, else
            quantiles (surfaces: 20 a side; ``"ale"``: 40 intervals, fewer so that each holds five rows, surfaces 20); categories of the data and of the
            dtype; missing values have a point of their own.
            A point that the data have is a cell of theirs, as it came. Dates: with any time zone; without one, in UTC where the column has a zone.
        output, scale: as for :func:`explain`. Raw is the additive scale of models that are read, and of boosted ones that cannot be; of any other, what
            it answers.
        sample_weight: one weight a row of X.
        response_method: the method of the estimator to call (``"predict"``, ``"predict_proba"``, ``"decision_function"``) instead of reading it.
        max_evals: most predictions of single rows in total where the model is evaluated; None: 100 million. More is refused before any
            is made, but for two rows of a black box that show the shape of its outputs.
        refits: the same model fitted again on bootstrap samples of its training rows, a list of at least three: ``extras["learner_error"]`` then says how
            far training moves each curve, and ``extras["learner_interval"]`` holds the ends of its 95 % interval.
        n_jobs: threads of tree ensembles, as for :func:`explain`; their number changes no bit of the result.
        level: confidence of the intervals around what is estimated from the rows.
        spot_checks: about how many predictions recompute numbers of the answer: the model itself is asked about rows with the feature set to a point. None: 200,
            or 2 % of the predictions that the answer takes where that is more, and never more than the answer takes. 0: none; the evidence then says "not checked".

    Returns:
        Effects, or of a list of kinds a dict of them: ``effects["age"]`` with ``grid``, ``values`` (points,) [, outputs], ``std_error``,
        ``interval`` (lower ends, upper ends), ``off_data`` and ``at(points)``.

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
    chosen = chosen_options(EffectsOptions, "kind", kind, options)
    refuse_texts(model, X, "wb.effects")
    rows, offset = rows_and_offset(X, offset)  # once: a reader gives its rows once
    return for_each(chosen, lambda each: _effects_of_kind(model, rows, features, each, offset))


def _effects_of_kind(model: Any, rows: Table, features: Any, options: EffectsOptions, offset: Any) -> Effects:
    curves = compute_effects(_make_problem(model, rows, features, options, options.grid, offset))
    if options.refits is None:
        return curves
    return with_learner_error(
        curves,
        options.refits,
        lambda refit, keys, points: compute_effects(_make_problem(refit, rows, keys, options, points, offset)),
    )


def _make_problem(
    model: Any, rows: Table, features: Any, options: EffectsOptions, grid: Any, offset: Any, *, check: bool = True
) -> EffectsProblem:
    options_kept = replace(options, refits=None)  # the problem lives as long as the curves, and does not need them
    if offset is not None:
        model, rows, names = with_offset_columns(model, rows, offset, options)
        features = names if features is None else features
    return resolve_effects(model, rows, features, options_kept, kind=options.kind, grid=grid, check=check)


def plan_effects(
    model: Any, X: Any, features: Any = None, kind: Any = "pdp", *, offset: Any = None, **options: Any
) -> Plan | dict[str, Plan]:
    """Plan :func:`effects`: how many predictions, exactly; how long and how much memory, about.

    The rows are compared and the predictions counted as they will be made. A model that is only evaluated makes a few of them for a timing: at most 4,640, a
    quarter of what the effects take (or 32), and fewer where it is slow (``plan.spent`` says how many). Trees are timed on some of the rows. What is read is
    not compared with its own predict yet. Refits take as many predictions each as the model itself.
    """
    chosen = chosen_options(EffectsOptions, "kind", kind, options)
    refuse_texts(model, X, "wb.effects")
    rows, offset = rows_and_offset(X, offset)

    def plan_kind(each: EffectsOptions) -> Plan:
        cost = plan_problem(_make_problem(model, rows, features, each, each.grid, offset, check=False))
        return cost if each.refits is None else cost.repeated_plan(1 + len(each.refits))

    return for_each(chosen, plan_kind)
