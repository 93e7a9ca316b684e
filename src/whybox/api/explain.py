"""Explain each row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any, Final, overload

from whybox.api.background_table import background_table
from whybox.api.method_choice import for_each
from whybox.api.texts_or_tables import chosen_options_of_tables, chosen_options_of_texts
from whybox.data.table import Table
from whybox.errors import Argument, LimitError, OptionError, UnknownFieldError, UnsupportedModelError, WhyboxError
from whybox.explanation.explanation import Explanation
from whybox.games.indices import Index
from whybox.methods.common.abilities import can_explain
from whybox.methods.common.columns_beside import without_column
from whybox.methods.common.options import shows_first_overload
from whybox.methods.common.plan import Plan
from whybox.methods.common.row_offsets import refuse_offset, refuse_offset_of_texts, rows_and_offset
from whybox.methods.common.words.tokenized import is_column_of_texts
from whybox.methods.method_spec import MethodSpec
from whybox.methods.registry import find, load, methods
from whybox.methods.shap.explainers import AdditiveShap, LinearShap, TreeShap
from whybox.methods.shap.game_explainer import AnyModelShap, ExactShap
from whybox.methods.shap.loss_games import check_truth_given
from whybox.methods.shap.options import AUTOMATIC_METHODS, ShapOptions
from whybox.methods.shap.text_explainer import ShapOfTexts
from whybox.methods.shap.text_options import OPTION_NAMES, ShapTextOptions
from whybox.models.base import Model
from whybox.models.bound_method import PREDICT_METHODS, has_method
from whybox.models.registry import as_model
from whybox.models.source_trials import with_sources_found

__all__ = ["explain", "explainer_of", "plan_explain"]

_WHY_EVALUATED: Final = "it is the loss that is explained, and that is no sum of a model's parts."


@overload
def explain(  # the promise of the public surface
    model: Any,
    X: Any,
    background: Any = None,
    method: str | ShapOptions | ShapTextOptions = "auto",
    *,
    y: Any = None,
    offset: Any = None,
    output: Any = None,
    scale: str | None = None,
    loss: Any = None,
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
    tol: float | None = None,
    top: int | None = None,
    level: float = 0.95,
    response_method: str | None = None,
    batch_size: int | None = None,
    stochastic: bool = False,
    surrogate: bool | None = None,
    callback: Callable[[Explanation], object] | None = None,
    hierarchy: Any = None,
    tokenizer: Any = None,
    by_position: bool = False,
    mask_string: str | None = None,
) -> Explanation: ...


@overload
def explain(
    model: Any, X: Any, background: Any = None, *, method: list[Any] | tuple[Any, ...], **options: Any
) -> dict[str, Explanation]: ...


@shows_first_overload
def explain(
    model: Any,
    X: Any,
    background: Any = None,
    method: Any = "auto",
    *,
    y: Any = None,
    offset: Any = None,
    **options: Any,
) -> Explanation | dict[str, Explanation]:
    """Explain each row: how much did every feature contribute to its prediction?

    Args:
        model: a fitted model of scikit-learn (trees, linear models), XGBoost, LightGBM, CatBoost or interpret, a Pipeline or search around one, or the path of a
            model file. Also one of its methods, ``model.predict_proba``, ``model.decision_function`` or a regressor's ``model.predict``: then the scale is that of the method.
            Any other fitted model, or a function of rows, is evaluated and takes a background.
        X: rows to explain, (n, d): array, pandas, polars or pyarrow frame, or sparse matrix of scipy; a frame's columns are matched by name.
            An empty cell of a sparse matrix is what the model's library reads there: missing for XGBoost, zero for the others. Also a dict of columns
            or of one row's values, a list of dicts, a pyarrow RecordBatch or RecordBatchReader, a DuckDB relation: here and wherever rows are taken.
            Also a DMatrix, a Pool of numbers, or a Dataset that kept its rows; their base margins, baselines and initial scores are offsets.
        background: rows whose values absent features take (interventional); all of them count. None: a tree ensemble's own training weights (path-dependent).
        method: ``"auto"``: exact for models that are read; of others exact where all coalitions fit the predictions allowed, else estimated with standard
            errors; the evidence says which and why. ``"exact"``: exact, or refused with the reason. ``"rescaled"``: the known approximation behind a link.
            ``"linear_shap_correlated"``: of a linear model, with absent features that follow from those present (see :class:`whybox.explainers.LinearShap`). Or
            any id of the family ``"shap"`` in whybox.methods.registry; an options object (``ShapOptions(order=2)``) in place of the options below; or a list.
        output: which class or output. None: every output of the model (of two classes, the second). The label of a class or output, as text or as
            a number: that one alone; a whole number that is no label is a position, and one that is the label of one class and the position of
            another is refused (of classes 1, 2 and 3, write ``output="1"``). ``"all"``: every one, with an axis.
        scale: on which scale. None or ``"raw"``: the additive one (log-odds of boosted classifiers, probabilities of forests). ``"probability"``: the
            probability of each class. ``"response"``: the scale of the model's predictions, whatever it is.
        loss, y: explain the loss of each row in place of its prediction. ``y`` is the truth of each row, or the name of a column of X that holds it; ``loss`` is one of
            :func:`importance`. The worth of a set of features is the mean loss over the background rows, each with its own prediction. It takes a background;
            the model is evaluated, also one that is read (see docs/any_model.md).
        offset: a part of each row's prediction that is known without the model, on its additive scale, before the link: ``base_margin`` of XGBoost, ``init_score`` of
            LightGBM, ``baseline`` of CatBoost, the log of the exposure. The name of a column of X, which is then no feature, or an array (n,), or (n, outputs). On the
            additive scale prediction = base + offset + sum of values. Behind a link (``scale="probability"``) every coalition is evaluated with the row's offset, which
            takes a background. The background's own offsets never enter. Only of models that are read.
        order: 1 for attributions, 2 for pairwise interactions.
        players: ``{"address": ["street", "city"]}``: columns that share the credit as one.
        index: ``"shapley"``, ``"banzhaf"``, ``"banzhaf(p)"``, ``"beta(a, b)"``.
        background_weight: one weight a background row.
        seed: draws samples and which numbers are recomputed; the values of exact methods draw nothing else.
        additivity_tol: largest accepted ``|base + sum of attributions - prediction|``, in the units of the prediction. None: what rounding explains.
        max_evals: most predictions of single rows in total, of a model that is evaluated, with those of rows, background and all checks; or where a tree kernel
            evaluates all coalitions (2^features x rows x background rows). None: 2,000 for each row (20,000 of a linear or additive model that is read) beside those of
            rows, background and checks; of answers that were asked to be exact a billion.
        n_jobs: threads. None: as many as this process may use (its processors, CPU quota of the container, ``OMP_NUM_THREADS``, joblib's context).
            -1: one for each processor. Their number changes no bit of the result.
        dtype: ``"float32"`` or ``"float64"`` for arithmetic and values; None: what the model's library itself computes in, values in float64.
        sparse: with ``order=1``: only the features that the model reads; all others get exactly zero.
            With ``order=2`` for the additive scale of tree ensembles: main effects, then the whole interaction of each pair of features
            that some path of a tree asks for together, in one axis; all other pairs are exactly zero.
        spot_checks: about how many predictions of single rows may be spent on recomputing numbers of this answer by a second way. None: 200, or 2 % of the
            rows where that is more. 0: none; the evidence then says "not checked".
        hierarchy: of ``"partition_shap"``: nested lists of features, ``[["street", "city"], "age"]``, or a linkage matrix of scipy; None: features that depend on
            each other in the background, by average linkage. Of texts see below.
        tokenizer, by_position, mask_string: of texts alone, see below.

    Of a model that is evaluated (an exact answer meets any `tol`; a method named by its id refuses what it does not take):
        tol: stop when every standard error is at most this share of the row's largest value; None: 0.02. top: stop when so many of the largest are settled.
        level: confidence of intervals.
        response_method: method of the estimator to evaluate instead of reading it. batch_size: most rows of one call of the model.
        stochastic: the model may answer the same row differently; standard errors count that.
        surrogate: whether a model that is fitted to the predictions lowers the errors; None: where it does.
        callback: called with the explanation so far after each round of sampling. Ctrl-C returns what is known by then; a note begins with "UNFINISHED".

    Texts:
        X may be a text, or a list, array or column of texts, for a model that takes a list of texts: a scikit-learn Pipeline that begins with a vectorizer, a
        text-classification pipeline of transformers, or a function. The words are the players, an absent one is left out, and there is no background.

        method: ``"auto"``: exact Shapley values where 2^words fits into ``max_evals``, else sampled with standard errors. ``"exact_shap"`` (or ``"exact"``),
        ``"sampled_shap"``, or ``"partition_shap"``: Owen values over neighbouring words, which are exact for about 40 words.
        tokenizer: what words are. None: what stands between characters that are in no word. A regular expression of what separates words;
        ``"characters"``; a function that returns the words of a text in reading order; a fast tokenizer of tokenizers or transformers.
        hierarchy: of ``"partition_shap"``: nested lists of words or their positions, ``[["not", "good"], "film"]``, of several texts a list with one for each; or
        a function of a text that returns them. None: a text is halved between sentences, these between clauses, and these in the middle.
        order (2: interactions of the words of one text, as features) and index are exact: they take 2^words predictions, or are refused.
        by_position: each occurrence of a word counts by itself; otherwise a word is left out everywhere. mask_string: what replaces an absent word; None: nothing.
        tol: standard error to reach, as a share of the text's largest value; None: 0.02. max_evals: most predictions of a text; None: 2,000.
        level: confidence of intervals. response_method: method of the estimator to evaluate. batch_size: most texts of one call of the model; None: all.
        output (also ``"predicted"``: of each text its own class), scale and seed are as for tables; the other options are refused.

    Returns:
        Explanation: ``values`` (n, features) for regression and binary classification, (n, features, outputs) otherwise; order 2 has the
        feature axis twice; of texts the axes are ``("row", "word"[, "output"])``, NaN behind a text's last word, and ``e[0]`` is one text with its words as
        labels; a list of methods gives a dict, method id -> Explanation. ``values.sum() + base`` is the model's own prediction of the row, checked for every row.
        With ``loss``, ``prediction`` is the loss of the row, ``base_values`` has the mean loss of the background with the truth of each row, and ``extras`` have
        ``y`` and ``model_prediction``. With ``offset``, ``base_values`` has each row's own base, and ``extras`` have ``offset``.
        Of a model that is evaluated, ``std_error`` is that of the draws (None where exact), and ``extras`` have ``background_error`` (standard error of another
        background of this size), ``model_evals`` and ``converged`` of each row.

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
    if is_column_of_texts(X):
        _refuse_beside_texts(y, offset)
        of_texts = chosen_options_of_texts(ShapTextOptions, OPTION_NAMES, background, method, options)
        return for_each(of_texts, lambda each: ShapOfTexts(model, each)(X))
    chosen = chosen_options_of_tables(ShapOptions, OPTION_NAMES, model, X, method, options)
    for_each(chosen, lambda each: check_truth_given(each.loss, y))
    rows, offset = rows_and_offset(X, offset)  # once: a reader gives its rows once
    behind, explained = background_table(model, background, y, offset), _ModelToExplain(model)
    beside = _given_beside(y, offset)

    def explain_with(each: ShapOptions) -> Explanation:
        explainer = explained.explainer(behind, each, _features_of(rows, offset), has_offset=offset is not None)
        explanation: Explanation = explainer(rows, **beside)
        return explanation

    return for_each(chosen, explain_with)


def plan_explain(
    model: Any,
    X: Any,
    background: Any = None,
    method: Any = "auto",
    *,
    y: Any = None,
    offset: Any = None,
    **options: Any,
) -> Plan | dict[str, Plan]:
    """Plan :func:`explain`; `X` may be a number of rows. The time is that of the attributions, without the model's own predict."""
    if is_column_of_texts(X):
        _refuse_beside_texts(y, offset)
        of_texts = chosen_options_of_texts(ShapTextOptions, OPTION_NAMES, background, method, options)
        return for_each(of_texts, lambda each: ShapOfTexts(model, each).plan(X))
    chosen = chosen_options_of_tables(ShapOptions, OPTION_NAMES, model, X, method, options)
    table, offset = (None, offset) if isinstance(X, Integral) else rows_and_offset(X, offset)
    if table is not None or y is not None:
        for_each(chosen, lambda each: check_truth_given(each.loss, y))
    behind, explained = background_table(model, background, y, offset), _ModelToExplain(model)

    def plan_with(each: ShapOptions) -> Plan:
        features = X if table is None else _features_of(table, offset)
        explainer = explained.explainer(behind, each, features, has_offset=offset is not None)
        return plan_of(explainer, X if table is None else table, y, offset)

    return for_each(chosen, plan_with)


def plan_of(explainer: Any, rows: Any, y: Any = None, offset: Any = None) -> Plan:
    """Plan an explainer's answer for rows, or for so many; `y`: the truth of rows whose loss is explained. `offset`: of the rows."""
    if isinstance(explainer, (TreeShap, LinearShap, AdditiveShap)):
        if not isinstance(rows, Table):
            return explainer.plan(rows, has_offset=offset is not None)
        return explainer.plan(len(rows), sparse=rows.is_sparse, has_offset=offset is not None)
    method_plan: Plan = explainer.plan(rows, **_given_beside(y, offset))
    return method_plan


def _given_beside(y: Any, offset: Any) -> dict[str, Any]:
    """What is given beside the rows, as arguments of an explainer."""
    return {name: values for name, values in (("y", y), ("offset", offset)) if values is not None}


def _features_of(rows: Table, offset: Any) -> Table:
    """The rows without the column that `offset` names."""
    return without_column(rows, offset) if isinstance(offset, str) else rows


def _refuse_beside_texts(y: Any, offset: Any) -> None:
    if y is not None:
        raise OptionError(
            Argument("y"), " goes with a loss, which is explained of tables; these are texts. Leave it out."
        )
    refuse_offset_of_texts(offset)


def explainer_of(
    model: Any, background: Any, options: ShapOptions, rows: Table | int | None = None, *, has_offset: bool = False
) -> Any:
    """Return the explainer of the method that the options name; of ``"auto"`` and ``"exact"`` the first that can answer.

    Args:
        rows: those that will be explained, or how many, where that is known: a scale that takes too many predictions for them is estimated by ``"auto"``.
        has_offset: whether the rows will have offsets.

    Raises:
        WhyboxError: as :func:`explain`.
    """
    return _ModelToExplain(model).explainer(background, options, rows, has_offset=has_offset)


class _ModelToExplain:
    """A model as it was given, read at most once, and its explainers."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @cached_property
    def _read(self) -> Model | WhyboxError:
        """The model as it is read, or why it is not."""
        try:
            return as_model(self._model)
        except (UnsupportedModelError, UnknownFieldError) as reason:
            return reason

    def explainer(
        self, background: Any, options: ShapOptions, rows: Table | int | None, *, has_offset: bool = False
    ) -> Any:
        """Return the explainer of the method that the options name, or of the first that can answer; arguments are those of :func:`explainer_of`.

        Raises:
            WhyboxError: as :func:`explain`.
        """
        if has_offset:
            is_read = options.response_method is None and isinstance(self._read, Model)
            refuse_offset(as_model(self._model) if is_read else None)
        if options.method not in AUTOMATIC_METHODS:
            named = find("shap", options.method)
            model = self._to_evaluate(options) if "predict" in named.needs else as_model(self._model)
            return load(named.run)(model, background, options)
        if options.response_method is None:
            read = self._read
            if isinstance(read, Model) and options.loss is not None:
                return _evaluating(read, background, options, _WHY_EVALUATED)
            spec = _reading_method(read, options.method) if isinstance(read, Model) else None
            if isinstance(read, Model) and spec is not None:
                tables = [table for table in (background, rows) if isinstance(table, Table)]
                read = with_sources_found(read, tables, all_rows=len(tables) == 2)
                return self._explainer_of_read_model(read, spec, background, options, rows)
            if background is None or not _can_be_evaluated(self._model):
                raise _with_advice(self._why_not_read, self._model)
        return _evaluating(self._to_evaluate(options), background, options, None)

    @property
    def _why_not_read(self) -> WhyboxError:
        read = self._read
        return UnsupportedModelError(f"{read.kind} is not read.") if isinstance(read, Model) else read

    def _to_evaluate(self, options: ShapOptions) -> Any:
        """The model for a method that evaluates it: read where it can be, which is faster."""
        if options.response_method is not None:
            return self._model
        return self._read if isinstance(self._read, Model) else self._model

    @staticmethod
    def _explainer_of_read_model(
        model: Model, spec: MethodSpec, background: Any, options: ShapOptions, rows: Table | int | None
    ) -> Any:
        """Return the explainer of a method that reads the model; where that has no answer, of one that evaluates it."""
        try:
            explainer = load(spec.run)(model, background, options.for_exact())
            if options.method == "auto" and background is not None:
                _check_evals(explainer, rows)
        except (UnsupportedModelError, LimitError) as reason:
            # a scale with too many coalitions for trees, or columns that all are one player
            if background is None or (isinstance(reason, LimitError) and options.method != "auto"):
                raise
            why, _, _ = "".join(map(str, reason.message)).partition(". ")  # without the advice behind it
            return _evaluating(model, background, options, f"{why.rstrip('.')}.")
        return explainer


def _check_evals(explainer: Any, rows: Table | int | None) -> None:
    """Refuse more predictions than allowed, where it is known how many rows there are.

    Raises:
        LimitError: there are more.
    """
    inputs = explainer.model.inputs
    if isinstance(rows, Table):
        if not rows.is_sparse and (inputs.has_names or rows.width == len(inputs.names)):
            explainer.check_evals(len(rows), None if inputs.has_names else rows.names)
    elif rows is not None and inputs.has_names:
        explainer.check_evals(int(rows))


def _reading_method(model: Model, method: str) -> MethodSpec | None:
    """The first method in the registry that reads such a model; None where it can only be evaluated."""
    specs = (s for s in methods("shap") if "predict" not in s.needs)
    return next((s for s in specs if can_explain(s, model) and (s.exact or method != "exact")), None)


def _evaluating(model: Any, background: Any, options: ShapOptions, reason: str | None) -> Any:
    """Return the explainer that evaluates a model: one that is exact, or one that chooses by the rows."""
    if options.method == "exact":
        exact = replace(options.for_exact(), stochastic=options.stochastic, batch_size=options.batch_size)
        return ExactShap(model, background, exact, reason=reason)
    return AnyModelShap(model, background, options, reason=reason)


def _can_be_evaluated(model: Any) -> bool:
    """Whether a model that is not read can be called."""
    if isinstance(model, (str, Path, type)):
        return False
    return isinstance(model, Model) or callable(model) or any(has_method(model, name) for name in PREDICT_METHODS)


def _with_advice(reason: WhyboxError, model: Any) -> WhyboxError:
    """The reason why a model is not read, with the advice to pass a background if the model can be evaluated."""
    if not _can_be_evaluated(model):
        return reason
    return type(reason)(
        *reason.message,
        known=reason.known,
        hint=(
            "It can be evaluated instead: pass rows like those of training, whose values absent features take, ",
            Argument("background", example="X_train"),
            ".",
        ),
    )
