"""Rank features over all rows. Methods of importance that are made of other methods are put together here: the verbs that explain rows are handed to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any, Final, overload

from whybox.api.effects import effects, plan_effects
from whybox.api.explain import explain, plan_explain
from whybox.api.texts_or_tables import refuse_texts
from whybox.data.table import as_table
from whybox.errors import Argument, InputError
from whybox.explanation.explanation import Explanation
from whybox.methods.common.columns_beside import refuse_same_column
from whybox.methods.common.options import shows_first_overload
from whybox.methods.common.plan import MethodPlan, Plan
from whybox.methods.common.row_losses import refuse_read_truth, separate_truth
from whybox.methods.importance.agreement import agreement
from whybox.methods.importance.choose import options_of_methods, single_options, uses_y
from whybox.methods.importance.copies import grouped_problem, plan_with_groups
from whybox.methods.importance.given_offset import rows_of_methods, separate_given_offset
from whybox.methods.importance.loss_problem import read_train
from whybox.methods.importance.options import AUTO, ImportanceOptions
from whybox.methods.importance.problem import ImportanceProblem, check_truth
from whybox.methods.registry import find, load

__all__ = [
    "importance",
    "importance_of_compared_rows",
    "importance_together",
    "plan_importance",
    "plan_importance_together",
    "side_by_side",
]

SLOW_METHODS: Final = (
    "sage",
    "drop_column",
    "conditional",
)  # of a list they run last: a refusal of another comes before their work


@overload
def importance(  # the promise of the public surface
    model: Any,
    X: Any = None,
    y: Any = None,
    *,
    method: str | ImportanceOptions = "auto",
    loss: Any = "auto",
    train: Any = None,
    role: str | None = None,
    offset: Any = None,
    players: Any = None,
    background: Any = None,
    background_weight: Any = None,
    output: Any = None,
    scale: str | None = None,
    sample_weight: Any = None,
    response_method: str | None = None,
    scoring: Any = None,
    fit: Callable[..., Any] | None = None,
    rounds: int | None = None,
    tol: float | None = None,
    max_evals: int | None = None,
    level: float = 0.95,
    seed: int = 0,
    n_jobs: int | None = None,
    spot_checks: int | None = None,
) -> Explanation: ...


@overload
def importance(
    model: Any, X: Any = None, y: Any = None, *, method: list[Any] | tuple[Any, ...], **options: Any
) -> Explanation: ...


@shows_first_overload
def importance(model: Any, X: Any = None, y: Any = None, *, method: Any = AUTO, **options: Any) -> Explanation:
    """Rank features over all rows: which ones does the model rely on, and what are they worth to it?

    Args:
        model: as for :func:`explain`; methods that compare predictions with the truth also take any estimator or function, as :func:`effects` does.
        X: rows to average over; not needed for ``"impurity"`` and ``"unbiased_impurity"``. Held-out rows say what a feature is worth for new rows, training
            rows what the model learned from it.
        y: the truth of each row, or the name of a column of X that holds it. Its classes are matched with the model's by name.
        method: ``"permutation"``: how much the loss grows when a feature's values come from another row. ``"conditional"``: when only the part of it does that
            the other features do not explain, with a test. ``"drop_column"``: when the model is trained again without the feature, with a test.
            ``"sage"``: Shapley values of the loss: what each feature takes off the loss of a model that knows none.
            ``"shap"``: mean absolute attribution. ``"pdp"``: standard deviation of the partial dependence. ``"impurity"``: share of the impurity decrease
            (gain) in training. ``"unbiased_impurity"``: the gain on out-of-bag rows, of scikit-learn's forests. ``"auto"``: permutation where y is given,
            else shap. Or an ``ImportanceOptions`` object in place of the options below. An option that the method does not take is refused.
            A list of these asks them all: each option goes to the methods that take it, and is refused where none does.
        loss: ``"squared"``, ``"absolute"``, ``"pinball(0.9)"``, ``"poisson"``, ``"tweedie(1.5)"`` of numbers; ``"log"``, ``"brier"``, ``"zero_one"`` of the
            probabilities of classes. ``"auto"``: log of classes, else squared.
        scoring: of ``"permutation"``, in place of a loss: a score of all rows together, by its name in scikit-learn (``"roc_auc"``, ``"r2"``), as
            ``make_scorer`` makes it, or a function ``scorer(estimator, X, y)``. Values are the drop of the score.
        train: ``(rows, truth)`` of training: the same importance is measured on them too (``extras["train"]``, ``extras["train_error"]``). Of
            ``"drop_column"``, what models are trained on; of ``"unbiased_impurity"``, what the forest was trained on, in the same order.
        fit: of ``"drop_column"``, a function of (rows, truth) that trains a model; None: a clone of the model is trained.
        role: ``"held-out"`` or ``"train"``: what X is. Where it is not said, a note says so.
        offset: what is added to the raw outputs of each row, before the link, as for :func:`explain`: (n,) or (n, outputs), or the name of a column of X. A row keeps
            its own while features take values of other rows; the offsets of these and of background rows do not count. With an array, ``train`` is
            ``(rows, truth, offset)``, and so are the arguments of ``fit``.
        players: named groups of columns that are changed together, as for :func:`explain`. ``"auto"``: columns that depend on each other (a correlation ratio of
            0.5 or more) are one group; it needs rows, also with ``"impurity"``.
        background, background_weight: as for :func:`explain`; of ``"shap"``, and of ``"sage"``, where None draws some of the rows.
        output, scale: which output on which scale, as for :func:`explain`; of a loss, the output that y is the truth of, on the scale of predictions.
        sample_weight: one weight a row of X.
        response_method: the method of the estimator to call instead of reading it, as for :func:`effects`.
        rounds: of ``"permutation"`` by a score: exactly so many rounds, in each of which every row gets the value of another one; ``extras["round_values"]`` are
            their drops. None: as many as it takes for a small error.
        tol: the Monte-Carlo error to reach where donors or coalitions are drawn, as a share of the largest value (of ``"shap"`` of each row); None: 0.02.
        max_evals: most predictions of single rows in total; None: 200 a row of X (``"sage"``: more for few rows; ``"shap"``: as :func:`explain`). Where they do not suffice,
            ``extras["converged"]`` is False and a note says so.
        level: confidence of intervals. seed: of what is drawn; exact methods draw nothing. n_jobs: threads of tree ensembles.
        spot_checks: as for :func:`explain`.

    Returns:
        Explanation of kind ``"importance"``: ``values`` (features,), or (features, outputs) of ``"shap"``.
        With a loss or a score also ``std_error``, ``interval``, and in ``extras`` ``rank``, ``rank_interval``, ``p_value`` and ``q_value`` (NaN where the method has no
        test), ``baseline_loss`` or ``baseline_score``; of permutation ``off_data``, the share of changed rows that lie where there are no data; of sage
        ``monte_carlo_error``, ``loss_without_features``, ``additivity_gap``. A list of methods gives one of kind
        ``"agreement"``: (features, methods), shares of each method's largest value, with ``findings``, a sentence for each feature that they judge differently by
        more than their errors. Where ``"permutation"`` is among them, columns that depend on each other are permuted together too.

    Raises:
        OptionError: unknown method, or arguments that do not go with it. InputError: a truth that does not fit. Others as for :func:`explain`.

    Examples:
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.ensemble import RandomForestRegressor
        >>> import whybox as wb
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> model = RandomForestRegressor(20, max_depth=4, random_state=0).fit(X[:300], y[:300])
        >>> ranking = wb.importance(model, X[300:], y[300:], role="held-out")
        >>> ranking.feature_names[ranking.values.argmax()]
        's5'
    """
    if isinstance(method, (list, tuple)):
        return _agreement(_problems(model, X, y, method, options))
    return _importance(_make_problem(model, X, y, single_options(y, method, options)))


def importance_of_compared_rows(
    model: Any, X: Any, y: Any, options: ImportanceOptions, agreement: float | None
) -> Explanation:
    """Return :func:`importance` by one method, of rows that were compared with the model's own predict before.

    Args:
        agreement: the largest difference that was found; None: they were not compared.

    Raises:
        WhyboxError: as :func:`importance`.
    """
    return _importance(replace(_make_problem(model, X, y, options), agreement=agreement))


def _problems(model: Any, X: Any, y: Any, methods: Any, options: dict[str, Any]) -> dict[str, ImportanceProblem]:
    """What each method of a list is asked; the truth goes to those that use it."""
    refuse_texts(model, X, "wb.importance")
    chosen = options_of_methods(y, methods, options)
    uses_truth = [name for name in chosen if uses_y(name)]
    if y is not None and not uses_truth:
        check_truth(y, next(iter(chosen)))
    rows, chosen = rows_of_methods(X, chosen)  # once: a reader gives its rows once
    if isinstance(y, str) and uses_truth:
        check_truth(y, uses_truth[0])
        for each in chosen.values():
            refuse_same_column(y, each.offset)
        refuse_read_truth(model, y)
        separated = {name: separate_truth(table, y) for name, table in rows.items()}
        rows, y = {name: table for name, (table, _) in separated.items()}, separated[uses_truth[0]][1]
    return {name: _make_problem(model, rows[name], y if uses_y(name) else None, each) for name, each in chosen.items()}


def _agreement(problems: dict[str, ImportanceProblem]) -> Explanation:
    quick_first = sorted(problems, key=lambda name: SLOW_METHODS.index(name) if name in SLOW_METHODS else -1)
    answers = {name: _importance(problems[name]) for name in quick_first}
    found = {name: answers[name] for name in problems}
    return side_by_side(found, lambda alone: _together(problems["permutation"], alone))


def side_by_side(
    found: Mapping[str, Explanation], permute_together: Callable[[Explanation], tuple[Explanation | None, str]]
) -> Explanation:
    """Compare what several methods found; where permutation is among them, dependent columns are permuted together too.

    Args:
        found: method -> its importance. permute_together: what permutation found -> as :func:`importance_together` returns.
    """
    together, note = permute_together(found["permutation"]) if "permutation" in found else (None, "")
    return agreement(found, together, (note,) if note else ())


def importance_together(
    model: Any, X: Any, y: Any, *, method: ImportanceOptions, alone: Explanation
) -> tuple[Explanation | None, str]:
    """Permute columns that depend on each other together, as a list of methods does; None where there are none, and why they were not looked for, or nothing.

    Args:
        method: the options of permutation importance. alone: what it found.

    Raises:
        WhyboxError: as :func:`importance`.
    """
    return _together(_make_problem(model, X, y, method), alone)


def _together(problem: ImportanceProblem, alone: Explanation) -> tuple[Explanation | None, str]:
    grouped, note = grouped_problem(problem, tuple(alone.players.values()))
    return None if grouped is None else _importance(grouped), note


def _importance(problem: ImportanceProblem) -> Explanation:
    run: Callable[[ImportanceProblem], Explanation] = load(problem.spec.run)
    if problem.options.train is None or "train" not in problem.spec.takes:
        return run(problem)
    X, y = problem.train_rows
    ranking = run(problem)
    of_train = replace(problem.options, train=None, role="train", sample_weight=None, offset=problem.train_offset)
    try:
        trained = run(replace(problem, X=X, y=y, options=of_train, agreement=None))
    except InputError as error:
        raise InputError(Argument("train"), ": ", *error.message, known=error.known, hint=error.hint) from error
    assert trained.std_error is not None  # noqa: S101  # importance by a loss has one
    extras = {"train": (trained.dims, trained.values), "train_error": (trained.dims, trained.std_error)}
    extras |= {f"train_{name}": trained.extras[name] for name in ("interval", "rank", "rank_interval")}
    own, other = ranking.evidence, trained.evidence
    evidence = replace(own, model_calls=own.model_calls + other.model_calls, seconds=own.seconds + other.seconds)
    return replace(ranking, evidence=evidence, extras={**ranking.extras, **extras})


def plan_importance(
    model: Any, X: Any = None, y: Any = None, *, method: Any = AUTO, **options: Any
) -> Plan | dict[str, Plan]:
    """Plan :func:`importance`; of `"shap"` and `"impurity"`, `X` may be a number of rows. What a method cannot tell of its cost is NaN."""
    if isinstance(method, (list, tuple)):
        problems = _problems(model, X, y, method, options)
        plans = {name: _plan(problem) for name, problem in problems.items()}
        if "permutation" in plans:
            plans["permutation"] = _plan_together(problems["permutation"], plans["permutation"])
        return plans
    problem = _make_problem(model, X, y, single_options(y, method, options))
    if problem.X is not None and not isinstance(problem.X, Integral):
        problem = replace(problem, X=as_table(problem.X))
    return _plan(problem)


def plan_importance_together(model: Any, X: Any, y: Any, *, method: ImportanceOptions) -> Plan:
    """Plan permutation importance among other methods: with :func:`importance_together`."""
    problem = _make_problem(model, as_table(X), y, method)
    return _plan_together(problem, _plan(problem))


def _plan_together(problem: ImportanceProblem, alone: Plan) -> Plan:
    return plan_with_groups(problem, alone) if isinstance(alone, MethodPlan) else alone


def _plan(problem: ImportanceProblem) -> Plan:
    spec, rows = problem.spec, problem.X
    if spec.plan:
        method_plan: Plan = load(spec.plan)(problem)
        return method_plan
    count = 0 if rows is None else int(rows) if isinstance(rows, Integral) else len(rows)
    return MethodPlan(
        method=spec.title, method_id=spec.method_id, kernel=spec.cost or spec.summary, exact=spec.exact, rows=count
    )


def _make_problem(model: Any, X: Any, y: Any, options: ImportanceOptions) -> ImportanceProblem:
    refuse_texts(model, X, "wb.importance")
    check_truth(y, options.method)
    options.check_taken(find("importance", options.method))
    refuse_read_truth(model, y)
    problem = ImportanceProblem(model, X, y, options, explain, plan_explain, effects, plan_effects)
    return read_train(separate_given_offset(problem))
