"""``lime.lime_tabular``: rows of a table, answered by :func:`whybox.lime`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.compat.columns import features_in_order, names_of_columns
from whybox.compat.lime.arguments import penalty_of, refuse_distance
from whybox.compat.lime.coded_columns import CodedColumns
from whybox.compat.lime.explanation import DomainMapper, Explanation, LocalNumbers, checked_labels
from whybox.compat.lime.local_explainer import LocalExplainer, LocalQuestion
from whybox.compat.refused import refuse, refuse_given, refused_class
from whybox.core.library_calls import suppress_warnings
from whybox.data.table import Table, align_columns, as_table
from whybox.errors import Argument, ColumnsError, OptionError, quoted_list
from whybox.explainers import Lime
from whybox.explanation.explanation import Explanation as Answer
from whybox.explanation.explanation import as_labels
from whybox.explanation.number_text import number_text
from whybox.models.bound_method import bound_method

__all__ = ["LimeTabularExplainer", "RecurrentTabularExplainer", "TableDomainMapper"]

ROWS_PROBED: Final = 64  # of the training data, to see whether a model was fitted again
MODES: Final = ("classification", "regression")
DISCRETIZERS: Final = ("quartile", "decile", "entropy")
LIMES_OWN: Final = {  # attributes of lime's explainer that its users read
    "base": "explain_instance returns the weights; wb.lime(model, X, background) has those of many rows.",
    "feature_frequencies": "count them: frame['column'].value_counts(normalize=True).",
    "feature_values": "exp.domain_mapper.discretized_feature_names has the bin of each feature, exp.explanation the rest.",
    "scaler": "sklearn.preprocessing.StandardScaler().fit(X_train) has the means and spreads.",
}

RecurrentTabularExplainer: Final = refused_class(
    "RecurrentTabularExplainer",
    "steps of a series that follow each other are no independent columns. Call wb.saliency(model, series, method='lime', patches=5), which removes pieces of the series.",
)


@final
class TableDomainMapper(DomainMapper):
    """Names features by their conditions.

    Attributes:
        feature_names: of the columns. feature_values: of the row, as text. discretized_feature_names: their conditions; None where numbers are not cut into bins.
    """

    def __init__(
        self,
        feature_names: Sequence[str],
        feature_values: Sequence[str],
        discretized_feature_names: Sequence[str] | None,
    ) -> None:
        self.feature_names, self.feature_values = list(feature_names), list(feature_values)
        self.discretized_feature_names = None if discretized_feature_names is None else list(discretized_feature_names)

    def map_exp_ids(self, exp: list[tuple[int, float]], **kwargs: Any) -> list[tuple[Any, float]]:
        """Return ``[(condition, weight)]`` of ``[(number of the feature, weight)]``."""
        del kwargs
        names = self.discretized_feature_names or self.feature_names
        return [(names[j], weight) for j, weight in exp]


@final
class LimeTabularExplainer(LocalExplainer):
    """Explains rows of a table; arguments are those of lime.

    Args:
        training_data: rows like those of training, (m, d): an array, or a frame, whose columns then keep their types.
        training_labels: their truth, for ``discretizer="entropy"``. feature_names: of the columns; None: those of a frame, or their positions.
        categorical_features: positions of columns whose numbers are codes of categories. categorical_names: position -> names of the codes.
        random_state: a whole number, or a RandomState that one is drawn from. None: 0. Others as in lime.

    Raises:
        OptionError: an argument that is not honoured or not known. InputError: rows that are no table.
    """

    def __init__(
        self,
        training_data: Any,
        mode: str = "classification",
        training_labels: Any = None,
        feature_names: Any = None,
        categorical_features: Any = None,
        categorical_names: Mapping[int, Sequence[Any]] | None = None,
        kernel_width: float | None = None,
        kernel: Any = None,
        verbose: bool = False,
        class_names: Any = None,
        feature_selection: str = "auto",
        discretize_continuous: bool = True,
        discretizer: Any = "quartile",
        sample_around_instance: bool = False,
        random_state: Any = None,
        training_data_stats: Any = None,
    ) -> None:
        if mode not in MODES:
            raise OptionError(Argument("mode", mode), " is not known.", known=MODES)
        super().__init__(
            kernel=kernel,
            kernel_width=kernel_width,
            verbose=verbose,
            feature_selection=feature_selection,
            random_state=random_state,
        )
        refuse_given(
            "training_data_stats", training_data_stats, "pass rows like those of training: a thousand of them suffice."
        )
        refuse_given(
            "sample_around_instance",
            sample_around_instance,
            "call wb.lime(model, X, background, neighbourhood='row').",
            default=False,
        )
        self.mode = mode
        self.training_data = as_table(training_data, what="training_data")
        self.training_labels = training_labels
        table = self.training_data
        own = table.names if table.named else range(table.width)
        self.feature_names = names_of_columns(
            None if feature_names is None else map(str, feature_names), [*map(str, own)]
        )
        self.class_names = None if class_names is None else [str(name) for name in class_names]
        self.categorical_features = [] if categorical_features is None else [int(j) for j in categorical_features]
        self.categorical_names = dict(categorical_names or {})
        self.discretizer = _discretizer(discretizer, training_labels) if discretize_continuous else None
        self._codes = CodedColumns(self.training_data, self.categorical_features, self.categorical_names)
        self._codes.check(self.discretizer)
        self._kept: _KeptModel | None = None

    def __getattr__(self, name: str) -> Any:
        """Refuse what lime keeps for its own sampling.

        Raises:
            OptionError: lime's explainer has the attribute. AttributeError: it has none of this name.
        """
        if name in LIMES_OWN:
            refuse(f"LimeTabularExplainer.{name}", LIMES_OWN[name])
        raise AttributeError(f"'LimeTabularExplainer' object has no attribute {name!r}")

    def explain_instance(
        self,
        data_row: Any,
        predict_fn: Any,
        labels: Iterable[int] = (1,),
        top_labels: int | None = None,
        num_features: int = 10,
        num_samples: int = 5000,
        distance_metric: str = "euclidean",
        model_regressor: Any = None,
    ) -> Explanation:
        """Explain one row.

        Args:
            data_row: (d,): an array, a Series, a dict, or a frame of one row.
            predict_fn: rows -> (n, classes), of a regression (n,). A method of an estimator, such as ``model.predict_proba``, is recognised, and its model is read where
                that is possible.
            labels: positions of classes. top_labels: those with the largest predictions instead. num_features: how many of the largest weights are shown, and settled.
            num_samples: most predictions that the explanation takes. model_regressor: None: a ridge with lime's penalty; a Ridge or LinearRegression of scikit-learn.

        Raises:
            OptionError: an argument that is not honoured. LimitError: `num_samples` are too few. Others as :func:`whybox.lime`.
        """
        question = LocalQuestion(
            labels=tuple(labels),
            top_labels=top_labels,
            num_features=num_features,
            num_samples=num_samples,
            distance_metric=distance_metric,
            model_regressor=model_regressor,
        )
        return self.explain_table(self._rows(data_row, single=True), predict_fn, question)[1][0]

    def explain_table(self, rows: Any, predict_fn: Any, question: LocalQuestion) -> tuple[Answer, list[Explanation]]:
        """Return the answer of :func:`whybox.lime` for several rows, which share one sample, and its rows as lime has them.

        Errors are those of :meth:`explain_instance`; ``num_samples`` is of each row.
        """
        refuse_distance(question.distance_metric, "euclidean")
        table = self._rows(rows)
        self._codes.check_row(table)
        answer = self._answer(table, predict_fn, question)
        return answer, [self._explanation(answer[i], question) for i in range(len(table))]

    def _rows(self, data: Any, *, single: bool = False) -> Table:
        """Rows as the training data has them, with their columns in its order."""
        background = self.training_data
        if isinstance(data, Table):  # of this method
            return data
        if single and (isinstance(data, Mapping) or _is_named_row(data, background)):
            data = [data[name] for name in background.names]
        if hasattr(data, "toarray"):  # a sparse row
            data = data.toarray()
        if not background.named or not hasattr(data, "columns"):
            data = np.asarray(data)
        if single and data.ndim == 1:
            if len(data) != background.width:
                raise OptionError(Argument("data_row", example="..."), f" has {len(data):,} values, and the training data {background.width:,} columns.")  # fmt: skip
            data = data[None]
        table = as_table(data, what="data_row")
        if single and len(table) != 1:
            raise OptionError("explain_instance takes one row; wb.lime(model, X, background) explains many at once.")
        if table.named:
            table = align_columns(table, background.names, what="data_row", whose="the training data have")[0]
        if isinstance(background.native, np.ndarray) or (table.named and not single):
            return table
        cells = np.asarray(table)
        columns = {j: cells[:, j].tolist() for j in range(table.width)}  # in the types of the frame
        return replace(
            background.rows(np.zeros(len(table), dtype=np.int64)).with_columns_of_values(columns),
            labels=None,
            index=None,
        )

    def _answer(self, rows: Table, predict_fn: Any, question: LocalQuestion) -> Answer:
        """The answer of :func:`whybox.lime`, by an explainer that is kept from call to call."""
        if not callable(predict_fn):
            raise OptionError(
                f"predict_fn must be a function of rows, such as model.predict_proba, not a {type(predict_fn).__name__}."
            )
        top = max(1, min(question.num_features, rows.width))
        settings = (question.num_samples * len(rows), penalty_of(question.model_regressor), top)
        bound = bound_method(predict_fn)
        if bound is None:  # of a function there is nothing to keep
            return self._relabelled(self._make(predict_fn, *settings)(rows), rows)
        key, known = (id(bound.estimator), bound.name, *settings), self._predictions(predict_fn)
        kept = self._kept
        if kept is None or kept.key != key or not np.array_equal(kept.predictions, known):
            kept = self._kept = _KeptModel(key, bound.estimator, known, self._make(predict_fn, *settings))
        return self._relabelled(kept.explainer(rows), rows)

    def _predictions(self, predict_fn: Any) -> npt.NDArray[Any]:
        """What the model predicts for some rows: a model that was fitted again predicts something else."""
        some = self.training_data.rows(slice(0, ROWS_PROBED)).for_transformers()
        with suppress_warnings():
            return np.asarray(predict_fn(some))

    def _make(self, predict_fn: Any, max_evals: int, alpha: float | None, top: int) -> Lime:
        options: dict[str, Any] = {
            "discretizer": self._codes.edges or self.discretizer,
            "output": "all" if self.mode == "classification" else None,
            "kernel_width": self.kernel_width,
            "alpha": alpha,
            "top": top,
            "max_evals": max_evals,
            "seed": self.random_state,
        }
        if options["discretizer"] == "entropy":
            options["y"] = self.training_labels
        return Lime(predict_fn, self.training_data, **options)

    def _relabelled(self, answer: Answer, rows: Table) -> Answer:
        """The answer under the names of the caller, in the order of the training data.

        Raises:
            ColumnsError: the model does not use all columns.
        """
        unused = [name for name in self.training_data.names if name not in answer.feature_names]
        if self.training_data.named and unused:
            raise ColumnsError(f"the model does not use {quoted_list(unused)}; give the training data without: LimeTabularExplainer(X.drop(columns={unused})).")  # fmt: skip
        answer = features_in_order(answer, self.training_data.names)
        conditions = np.array(answer.extras["condition"][1], dtype=object)
        for j, (old, new) in enumerate(zip(answer.feature_names, self.feature_names, strict=True)):
            for i in range(len(conditions)):
                if j in self._codes.columns:
                    conditions[i, j] = f"{new}={self._codes.category(rows, i, j)}"
                elif old != new:
                    conditions[i, j] = _renamed(str(conditions[i, j]), old, new)
        dims = answer.extras["condition"][0]
        return replace(
            answer,
            coords={**answer.coords, "feature": as_labels(self.feature_names)},
            players=dict(zip(self.feature_names, answer.players.values(), strict=True)),
            extras={**answer.extras, "condition": (dims, conditions)},
        )

    def _explanation(self, answer: Answer, question: LocalQuestion) -> Explanation:
        numbers, prediction = LocalNumbers.of_row(answer), np.atleast_1d(np.asarray(answer.prediction))
        conditions = [str(c) for c in answer.extras["condition"][1]]
        cells = [number_text(v) if isinstance(v, float) else str(v) for v in _cells(answer)]
        mapper = TableDomainMapper(self.feature_names, cells, self._exp_names(conditions))
        found = Explanation(mapper, self.mode, self.class_names, self.random_state)
        found.explanation = answer
        if self.mode == "regression":
            if len(prediction) != 1:
                refuse(
                    f"a regression of {len(prediction)} outputs",
                    "explain one of them: predict_fn=lambda X: model.predict(X)[:, 0].",
                )
            found.predicted_value, chosen = float(prediction[0]), [0]
        else:
            found.predict_proba = prediction
            if found.class_names is None:
                found.class_names = [str(k) for k in range(len(prediction))]
            chosen = checked_labels(question.labels, question.top_labels, len(prediction), prediction)
        self._fill(found, numbers, chosen, question.top_labels, question.num_features)
        return found

    def _exp_names(self, conditions: list[str]) -> list[str] | None:
        """What features are called in a list; of numbers that are not cut into bins their names."""
        if self.discretizer is not None or self._codes.columns:
            return conditions
        return None


@final
@dataclass(frozen=True, eq=False)
class _KeptModel:
    """A model that was read.

    Attributes:
        key: which method of which estimator, and the options. estimator: kept alive, so that its identity is not given to another one.
        predictions: of some rows. explainer: that was made of it.
    """

    key: tuple[Any, ...]
    estimator: Any
    predictions: npt.NDArray[Any]
    explainer: Lime


def _is_named_row(data: Any, background: Table) -> bool:
    """Whether a row is a series that names the columns of the training data, maybe in another order."""
    names = getattr(data, "index", None) if hasattr(data, "to_frame") and getattr(data, "ndim", 0) == 1 else None
    return (
        background.named and names is not None and len(data) == background.width and set(names) == {*background.names}
    )


def _renamed(condition: str, old: str, new: str) -> str:
    """A condition under another name of its feature, which stands first or behind the lower edge: ``0.3 < 3 <= 1.3`` is about 3."""
    edge, sign, rest = condition.partition(" < ")
    if sign and not condition.startswith(f"{old} ") and rest.startswith(old):
        return f"{edge}{sign}{new}{rest[len(old) :]}"
    return f"{new}{condition[len(old) :]}" if condition.startswith(old) else condition


def _discretizer(discretizer: Any, training_labels: Any) -> str:
    """The name of a discretizer.

    Raises:
        OptionError: not one of three, or the entropy one without labels.
    """
    if not isinstance(discretizer, str):
        refuse(
            "a discretizer of your own",
            "give edges by column: wb.lime(model, X, background, discretizer={'age': [30, 50]}).",
        )
    if discretizer not in DISCRETIZERS:
        raise OptionError(Argument("discretizer", discretizer), " is not known.", known=DISCRETIZERS)
    if discretizer == "entropy" and training_labels is None:
        raise OptionError(
            Argument("discretizer", "entropy"),
            " chooses edges by the truth: pass ",
            Argument("training_labels", example="y_train"),
            ".",
        )
    return discretizer


def _cells(answer: Answer) -> list[Any]:
    """The cells of one row."""
    return [] if answer.data is None else list(answer.data[0].values())
