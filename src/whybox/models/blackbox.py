"""A model known by what it answers alone: any function of rows, any fitted estimator with predict or predict_proba."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np

from whybox.core.label_choice import class_names
from whybox.data.table import Floats, Table, as_table
from whybox.errors import DtypeError, InputError, OptionError, UnsupportedModelError, WhyboxError, did_you_mean
from whybox.models.agreement import ask
from whybox.models.base import Model, OwnPredict, digest
from whybox.models.categories import Vocabulary
from whybox.models.inputs import Inputs
from whybox.models.links import Outputs

__all__ = ["BlackBox", "RawScores", "as_black_box"]

PREDICT_METHODS = ("predict_proba", "predict", "decision_function")


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class BlackBox(Model):
    """A model that can be asked and not read; its raw scale is the scale of its answers.

    What only needs answers (effects) takes it; what needs to see inside a model (exact attributions) goes on refusing it.

    Attributes:
        probed: rows that it was asked about to see what comes out.
    """

    probed: int = 0

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what the model is called and of its outputs: the numbers inside are out of reach, so evidence adds its answers."""
        return digest(self.kind, self.outputs.names)

    @property
    def base(self) -> Floats:
        """No constant is known: zeros, (outputs,)."""
        return np.zeros(len(self.outputs.names))


@final
@dataclass(frozen=True)
class RawScores:
    """How a library answers on the scale on which its models add up.

    Attributes:
        call: rows as scikit-learn takes them -> (rows,) or (rows, outputs). units: of the answers. what: what is called, in words.
    """

    call: Callable[[Any], Any]
    units: str
    what: str


def as_black_box(
    obj: Any,
    rows: Table,
    *,
    response_method: str | None = None,
    notes: tuple[str, ...] = (),
    scores: RawScores | None = None,
    learnt: Callable[[Any, int], Mapping[int, Vocabulary]] | None = None,
) -> BlackBox:
    """Wrap a function or a fitted estimator.

    Args:
        obj: a function of rows, or an object with ``predict`` or ``predict_proba``.
        rows: rows of the kind it will be asked about; two of them are asked about now, to see what comes out.
        response_method: the method to call; None: ``predict_proba`` where there is one, else ``predict``.
        notes: what the user should know.
        scores: asked in place of a method, where given.
        learnt: what tells which categories the estimator learnt, given it and the number of its columns.

    Raises:
        UnsupportedModelError: nothing here can be called. OptionError: no such method.
        InputError: it refuses the rows, or answers with something else than one number (or several) a row.
    """
    if isinstance(obj, type):
        raise UnsupportedModelError(f"{obj.__name__} is a class, not a fitted model; pass an instance after fit.")
    method = _method(obj, response_method) if scores is None else "decision_function"
    names, named = _columns(obj, rows)
    categories = {} if method is None or learnt is None else learnt(obj, len(names))
    inputs = Inputs(
        names, named, _NoMatrix(categories), tuple((i,) for i in range(len(names))), remembered=_remembered(obj)
    )
    plain = method is None
    if scores is not None:
        call, what = _Call(scores.call, plain), scores.what
    else:
        call = _Call(obj if method is None else getattr(obj, method), plain)
        what = f"{getattr(obj, '__name__', type(obj).__name__)}{'' if method is None else '.' + method}"
    first = inputs.align(rows.rows(np.arange(min(2, len(rows)))))[0]
    library = type(obj).__module__.partition(".")[0] if not plain else "numpy"
    width = ask(OwnPredict(call, "raw", 0.0, what, library), first).shape[1]
    outputs, binary = _outputs(obj, method, width)
    own = OwnPredict(_Second(call) if binary else call, "raw", 0.0, what, library)
    if scores is not None:
        outputs = replace(outputs, raw_units=scores.units, response_units=scores.units)
    kind = (
        f"the function {what}"
        if plain
        else f"{type(obj).__name__} ({library}), asked through {method if scores is None else what}"
    )
    return BlackBox(inputs=inputs, outputs=outputs, kind=kind, own=own, notes=notes, probed=len(first))


def _method(obj: Any, response_method: str | None) -> str | None:
    if response_method is not None:
        if response_method not in PREDICT_METHODS:
            raise OptionError(
                f"response_method={response_method!r} is not known.{did_you_mean(response_method, PREDICT_METHODS)}"
            )
        if not hasattr(obj, response_method):
            raise OptionError(f"response_method={response_method!r}: this {type(obj).__name__} has no such method.")
        return response_method
    found = next((m for m in PREDICT_METHODS[:2] if hasattr(obj, m)), None)
    if found is None and not callable(obj):
        raise UnsupportedModelError(
            f"{type(obj).__name__} has neither predict nor predict_proba and cannot be called; pass a fitted model or a function of rows."
        )
    return found


def _columns(obj: Any, rows: Table) -> tuple[tuple[str, ...], bool]:
    """The estimator's own column names where it knows them, else those of the rows."""
    known = getattr(obj, "feature_names_in_", None)
    if known is not None and rows.named:
        return tuple(map(str, known)), True
    # scikit-learn's estimators count their columns in fit and keep names where there are any; of other objects, names may be known to themselves
    return rows.names, rows.named and not hasattr(obj, "n_features_in_")


def _remembered(obj: Any) -> tuple[str, ...]:
    """The column names that a step of a Pipeline was fitted with."""
    known = (getattr(step, "feature_names_in_", ()) for _, step in getattr(obj, "steps", ()))
    return next((tuple(map(str, names)) for names in known if len(names)), ())


def _outputs(obj: Any, method: str | None, width: int) -> tuple[Outputs, bool]:
    """What comes out, and whether it is the two columns of a binary classifier, of which the second is kept."""
    classes = getattr(obj, "classes_", None)
    units = {"predict_proba": "probability", "decision_function": "decision function"}.get(method or "", "prediction")
    if method in ("predict_proba", "decision_function") and classes is not None and not isinstance(classes, list):
        names = class_names(np.asarray(classes))
        if len(names) == 2 and width in (1, 2):
            return Outputs((names[1],), raw_units=units, response_units=units, negative=names[0]), width == 2
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


@final
@dataclass(frozen=True)
class _NoMatrix:
    """Stands where other models have an encoder: there is no matrix behind a function."""

    categories: Mapping[int, Vocabulary]

    @property
    def elementwise(self) -> bool:
        return True

    def learnt(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """What categories the estimator learnt, as far as it lists them."""
        del table
        return self.categories

    def __call__(self, table: Table) -> Floats:
        raise UnsupportedModelError("this model is known by its answers alone; there is no matrix that it reads.")


@final
@dataclass(frozen=True)
class _Call:
    """Rows in the user's own kind of table -> (rows, outputs); a function gets them as they are, an estimator as scikit-learn takes them."""

    function: Callable[[Any], Any]
    plain: bool

    def __call__(self, table: Table) -> Floats:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks about feature names and dtypes, once a batch
            said = self.function(table.native if self.plain else table.for_transformers())
        if isinstance(said, list) and said and getattr(said[0], "ndim", 0) == 2:  # several targets' predict_proba
            said = np.column_stack([p[:, 1:] if p.shape[1] == 2 else p for p in said])
        return _numbers(said, len(table))


@final
@dataclass(frozen=True)
class _Second:
    call: _Call

    def __call__(self, table: Table) -> Floats:
        return self.call(table)[:, 1:]


def _numbers(said: Any, rows: int) -> Floats:
    if np.iscomplexobj(said):
        raise DtypeError("the model answers with complex numbers; take .real or abs() of them in a function of rows.")
    try:
        out = np.asarray(said, dtype=np.float64)
    except (TypeError, ValueError):
        if not hasattr(said, "columns") and not hasattr(said, "to_numpy"):
            raise DtypeError(
                "the model answers with something else than numbers; an effect is a mean of answers. "
                "For classes, pass a model that has predict_proba, or a function that returns numbers."
            ) from None
        try:
            out = np.asarray(as_table(said).matrix(), dtype=np.float64)
        except WhyboxError:
            raise DtypeError("the model answers with a table that holds more than numbers.") from None
    if out.ndim not in (1, 2) or len(out) != rows:
        raise InputError(
            f"the model answers {rows} rows with an array of shape {out.shape}; it should give one number a row, or (rows, outputs)."
        )
    return out.reshape(rows, -1)
