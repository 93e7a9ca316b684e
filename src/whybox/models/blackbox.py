"""A black box: any function of rows, any fitted estimator, known by its outputs alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, final

import numpy as np

from whybox.core.label_choice import class_names
from whybox.core.library_calls import suppress_warnings
from whybox.data.table import Floats, Table
from whybox.errors import Argument, InputError, OptionError, UnsupportedModelError
from whybox.models.agreement import call_own_predict
from whybox.models.base import Model, OwnPredict, digest
from whybox.models.bound_method import PREDICT_METHODS, gives_labels, has_method, last_estimator
from whybox.models.call_outputs import as_outputs
from whybox.models.categories import Vocabulary
from whybox.models.inputs import Inputs
from whybox.models.links import Outputs
from whybox.models.remote import RemoteModel

__all__ = ["BlackBox", "RawScores", "as_black_box", "box_of_call", "prediction_method", "probe_outputs"]


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class BlackBox(Model):
    """A model that can be evaluated but not read; its raw scale is the scale of its outputs.

    Methods that need outputs alone (effects) take it; methods that read a model (exact attributions) refuse it.

    Attributes:
        probe_rows: rows that it was evaluated on to learn its output shape.
        batch_size: most rows that it takes in one call; None: any number.
        gives_labels: whether its outputs are numbers that label classes.
        classes_exceeded: how many classes it has, where it gives more probabilities than that; 0 elsewhere.
    """

    probe_rows: int = 0
    batch_size: int | None = None
    gives_labels: bool = False
    classes_exceeded: int = 0

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the model's kind and of the names of its outputs: its parameters are out of reach."""
        return digest(self.kind, self.outputs.names)

    @property
    def base(self) -> Floats:
        """No constant is known: zeros, (outputs,)."""
        return np.zeros(len(self.outputs.names))


@final
@dataclass(frozen=True)
class RawScores:
    """A library's predict on the scale on which its models are additive.

    Attributes:
        predict_function: rows as scikit-learn takes them -> (rows,) or (rows, outputs). units: of the outputs. call_name: what is called, in words.
    """

    predict_function: Callable[[Any], Any]
    units: str
    call_name: str


def as_black_box(
    obj: Any,
    rows: Table,
    *,
    response_method: str | None = None,
    scores: RawScores | None = None,
    learned_categories: Callable[[Any, int], Mapping[int, Vocabulary]] | None = None,
) -> BlackBox:
    """Wrap a function or a fitted estimator.

    Args:
        obj: a function of rows, or an object with ``predict_proba``, ``decision_function`` or ``predict``.
        rows: rows of the kind that it takes; it is evaluated on two of them now, to learn its output shape.
        response_method: the method to call; None: the first of these three that it has.
        scores: called in place of a method, where given.
        learned_categories: gives the categories that the estimator learnt, from it and the number of its columns.

    Raises:
        UnsupportedModelError: nothing here can be called. OptionError: no such method.
        InputError: it refuses the rows, or returns something else than one number (or several) a row.
    """
    if isinstance(obj, type):
        raise UnsupportedModelError(f"{obj.__name__} is a class, not a fitted model; pass an instance after fit.")
    method = prediction_method(obj, response_method) if scores is None else "decision_function"
    names, named = _input_columns(obj, rows)
    categories = {} if method is None or learned_categories is None else learned_categories(obj, len(names))
    is_function = method is None
    inputs = Inputs(
        names,
        named,
        _NoMatrix(categories),
        tuple((i,) for i in range(len(names))),
        pipeline_names=_fitted_columns(obj),
        known_from="the background has" if is_function else "the model was trained on",
    )
    if scores is not None:
        call, what = _TableFunction(scores.predict_function, is_function), scores.call_name
    else:
        call = _TableFunction(obj if method is None else getattr(obj, method), is_function)
        what = f"{getattr(obj, '__name__', type(obj).__name__)}{'' if method is None else '.' + method}"
    first = inputs.align_table(rows.rows(np.arange(min(2, len(rows)))))[0]
    library = "numpy" if is_function else type(obj).__module__.partition(".")[0]
    returned = call_own_predict(OwnPredict(call, "raw", 0.0, what, library, is_function), first)
    width = returned.shape[1]
    scale_method = "predict" if method == "predict_proba" and _has_no_probability(obj, returned) else method
    multilabel = width == 2 and _is_multilabel(obj, call, first)
    outputs, binary = probe_outputs(obj, scale_method, width, multilabel=multilabel)
    if scores is not None:
        outputs = replace(outputs, raw_units=scores.units, response_units=scores.units)
    called = method if scores is None else what
    labels = scores is None and method == "predict" and gives_labels(obj)
    return BlackBox(
        inputs=inputs,
        outputs=outputs,
        kind=f"the function {what}" if is_function else f"{type(obj).__name__} ({library}), evaluated through {called}",
        own_predict=OwnPredict(_SecondColumn(call) if binary else call, "raw", 0.0, what, library, is_function),
        notes=(f"{what} gives labels; what is explained is a mean of the numbers that label classes.",)
        if labels
        else (),
        probe_rows=len(first),
        batch_size=obj.batch_size if isinstance(obj, RemoteModel) else None,
        gives_labels=labels,
        classes_exceeded=_classes_exceeded(obj, method, width),
    )


def box_of_call(
    call: Callable[[Table], Floats],
    names: tuple[str, ...],
    outputs: Outputs,
    *,
    kind: str,
    call_name: str,
    categories: Mapping[int, Vocabulary],
    notes: tuple[str, ...],
) -> BlackBox:
    """Wrap a function of aligned tables whose outputs are known.

    Args:
        call: table -> (rows, outputs). names: of its columns. outputs: on their only scale. kind, call_name: in words.
        categories: learned for some of the columns, by position. notes: remarks for the user.
    """
    inputs = Inputs(names, True, _NoMatrix(categories), tuple((i,) for i in range(len(names))))
    own = OwnPredict(call, "raw", 0.0, call_name, "numpy")
    return BlackBox(inputs=inputs, outputs=outputs, kind=kind, own_predict=own, notes=notes)


def prediction_method(obj: Any, response_method: str | None) -> str | None:
    """The method to call; None for a function."""
    if response_method is not None:
        if response_method not in PREDICT_METHODS:
            raise OptionError(Argument("response_method", response_method), " is not known.", known=PREDICT_METHODS)
        if not has_method(obj, response_method):
            raise OptionError(
                Argument("response_method", response_method), f": this {type(obj).__name__} has no such method."
            )
        return response_method
    method = next((m for m in PREDICT_METHODS if has_method(obj, m)), None)
    if method is None and not callable(obj):
        raise UnsupportedModelError(
            f"{type(obj).__name__} has no predict_proba, decision_function or predict and cannot be called; pass a fitted model or a function of rows."
        )
    return method


def _input_columns(obj: Any, rows: Table) -> tuple[tuple[str, ...], bool]:
    """The estimator's own column names where it knows them, else those of the rows."""
    known = getattr(obj, "feature_names_in_", None)
    if known is None and rows.named:
        known = _columns_of_design(obj)
    if known is not None and rows.named:
        return tuple(map(str, known)), True
    # scikit-learn's estimators count their columns in fit and keep names where there are any; of other objects, names may be known to themselves
    return rows.names, rows.named and not hasattr(obj, "n_features_in_")


def _columns_of_design(obj: Any) -> Any:
    """The columns of the frame that results of statsmodels were fitted to without a formula: their predict takes them by position, whatever they are called.

    Raises:
        InputError: they were saved without it.
    """
    model = getattr(obj, "model", None) if type(obj).__module__.startswith("statsmodels.") else None
    data: Any = getattr(model, "data", None)
    if getattr(model, "formula", None) is not None or not hasattr(data, "orig_exog"):
        return None
    if data.orig_exog is None:
        raise InputError(
            f"this {type(model).__name__} was saved without its data, so the columns of a table cannot be matched by name: "
            "pass arrays, X.to_numpy(), with the columns in their order in fit."
        )
    return getattr(data.orig_exog, "columns", None)


def _fitted_columns(obj: Any) -> tuple[str, ...]:
    """The column names that a step of a Pipeline was fitted with."""
    known = (getattr(step, "feature_names_in_", ()) for _, step in getattr(obj, "steps", ()))
    return next((tuple(map(str, names)) for names in known if len(names)), ())


def probe_outputs(obj: Any, method: str | None, width: int, *, multilabel: bool) -> tuple[Outputs, bool]:
    """The outputs, and whether they are the two columns of a binary classifier, of which the second is kept."""
    classes = getattr(obj, "classes_", None)
    units = {"predict_proba": "probability", "decision_function": "decision function"}.get(method or "", "prediction")
    if method in ("predict_proba", "decision_function") and classes is not None and not isinstance(classes, list):
        names = class_names(np.asarray(classes))
        if len(names) == 2 and width in (1, 2) and not multilabel:
            return Outputs((names[1],), raw_units=units, response_units=units, negative_class=names[0]), width == 2
        if method == "decision_function" and _one_against_one(obj, len(names), width):
            names = tuple(f"{a} over {b}" for a, b in combinations(names, 2))
        if len(names) == width:
            return Outputs(names, raw_units=units, response_units=units), False
    names = ("prediction",) if width == 1 else tuple(f"output {i}" for i in range(width))
    if method == "predict_proba" and isinstance(classes, list):  # several targets: of two classes the second is kept
        each = [class_names(c) for c in classes]
        named = tuple(
            f"y{k}={c}" for k, labels in enumerate(each) for c in (labels[1:] if len(labels) == 2 else labels)
        )
        names = named if len(named) == width else names
    return Outputs(names, raw_units=units, response_units=units), False


def _has_no_probability(obj: Any, returned: Floats) -> bool:
    """Whether the one column of ``predict_proba`` is a score: LightGBM's, whose objective is a function of the user."""
    score = callable(getattr(last_estimator(obj), "objective_", None)) or bool(((returned < 0) | (returned > 1)).any())
    return returned.shape[1] == 1 and score


def _classes_exceeded(obj: Any, method: str | None, width: int) -> int:
    """How many classes an estimator has, where it gives more probabilities than that; 0 elsewhere."""
    classes = getattr(obj, "classes_", None)
    if method != "predict_proba" or classes is None or isinstance(classes, list):
        return 0
    count = len(np.atleast_1d(np.asarray(classes)))
    return count if width > count else 0


def _is_multilabel(obj: Any, call: _TableFunction, rows: Table) -> bool:
    """Whether two columns are two labels, each yes or no: then ``predict`` has a column a label, where that of two classes has one number a row."""
    predict = getattr(obj, "predict", None)
    if call.is_function or predict is None or not hasattr(obj, "classes_"):
        return False
    try:
        labels = replace(call, function=predict).call_function(rows)
    except Exception:  # libraries raise errors of any type; the method to call has answered
        return False
    return np.ndim(labels) == 2 and np.shape(labels)[1] == 2


def _one_against_one(obj: Any, classes: int, width: int) -> bool:
    """Whether a decision function has one output a pair of classes: with three classes the number of outputs does not tell."""
    pairs = classes * (classes - 1) // 2
    return width == pairs and getattr(last_estimator(obj), "decision_function_shape", "ovr") == "ovo"


@final
@dataclass(frozen=True)
class _NoMatrix:
    """In place of the encoder of other models: no matrix is behind a function."""

    categories: Mapping[int, Vocabulary]

    @property
    def is_elementwise(self) -> bool:
        return True

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """The categories that the estimator learnt, as far as it lists them."""
        del table
        return self.categories

    def __call__(self, table: Table) -> Floats:
        raise UnsupportedModelError("this model is a black box; it reads no matrix that is known.")


@final
@dataclass(frozen=True)
class _TableFunction:
    """Aligned rows -> (rows, outputs); a function gets them in the user's own kind of table, an estimator as scikit-learn takes them."""

    function: Callable[[Any], Any]
    is_function: bool

    def call_function(self, table: Table) -> Any:
        """Return what the function gives, as it is."""
        with suppress_warnings():
            return self.function(table.native if self.is_function else table.for_transformers())

    def __call__(self, table: Table) -> Floats:
        returned = self.call_function(table)
        if isinstance(returned, list) and returned and getattr(returned[0], "ndim", 0) == 2:  # several targets
            returned = np.column_stack([p[:, 1:] if p.shape[1] == 2 else p for p in returned])
        return as_outputs(returned, len(table))


@final
@dataclass(frozen=True)
class _SecondColumn:
    call: _TableFunction

    def __call__(self, table: Table) -> Floats:
        return self.call(table)[:, 1:]
