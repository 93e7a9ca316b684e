"""statsmodels: results of models whose predictions are a link of one weighted sum of the user's columns, read as linear models.

Rows of a formula are matched by name. Rows of a model without one are matched by name too, where it was fitted to a frame: statsmodels itself takes its
columns by position, whatever they are called. Formulas that change columns (``np.log(x)``, ``C(x)``, ``a:b``, splines) are evaluated in the user's columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, final

import numpy as np

from whybox.adapters.common import ANY_MODEL_HINT, as_columns, import_path
from whybox.adapters.verification.verify import verify_linear
from whybox.core.library_calls import suppress_warnings
from whybox.data.table import Floats, Table
from whybox.errors import InputError, UnsupportedModelError
from whybox.models.base import Model, OffsetRule, OwnPredict, Scale
from whybox.models.blackbox import RawScores
from whybox.models.inputs import Inputs, NumberEncoder
from whybox.models.linear import Linear
from whybox.models.links import Link, Outputs

__all__ = ["adapt", "raw_scores"]

RELATIVE_ROUNDING: Final = 1e-12  # statsmodels sums in float64
_MEANS: Final = ("OLS", "WLS", "GLS", "GLSAR", "RLM", "QuantReg")
_FAMILIES: Final = ("GLM", "GEE")  # whose link is that of their family
_COUNTS: Final = ("Poisson", "NegativeBinomial", "NegativeBinomialP")
_AT_OFFSET_0: Final = "was fitted with {}; predictions of rows are those at offset 0, as of its predict"
_TAKES_OFFSETS: Final = ("GLM", "Logit", "Probit", *_COUNTS)
_QUOTED: Final = re.compile(r"""Q\((['"])(.*)\1\)""")
_LEVEL: Final = re.compile(r".*\[(?:T\.)?(.*)\]")
_CONSTANTS: Final = ("Intercept", "1")


def adapt(obj: Any) -> Model:
    """Read what ``fit`` returned.

    Raises:
        InputError: a model before fit, one that forecasts times and takes no rows, or results that lost the names of their columns.
        UnsupportedModelError: predictions that are no link of one sum, or a formula that changes its columns.
        ModelMismatchError: our reading disagrees with the results' own predict.
    """
    name = type(obj).__name__
    if not hasattr(obj, "params") or not hasattr(obj, "model"):
        if hasattr(obj, "fit"):
            raise InputError(f"this {name} is a model before fit; pass what its fit() returns, which predicts.")
        raise UnsupportedModelError(f"{name} is not the result of a fit of statsmodels.", hint=ANY_MODEL_HINT)
    model = obj.model
    kind = type(model).__name__
    if type(model).__module__.startswith("statsmodels.tsa"):
        raise InputError(f"{name} forecasts times: its predict takes dates and no rows, so there are no features here.")
    outputs, weights = _sum_of(obj, kind)
    try:
        columns, base = _columns_of(model, len(weights))
    except UnsupportedModelError as error:
        if not _fitted_with(model):
            raise
        at_zero = f" It {_AT_OFFSET_0.format(' and '.join(_fitted_with(model)))}."
        raise UnsupportedModelError(*error.message, at_zero, hint=error.hint) from error
    linear = Linear(
        weights=np.ascontiguousarray(weights[[i for i, _ in columns]]),
        base_values=np.ascontiguousarray(weights[base].sum(axis=0)),
        inputs=_inputs(model, tuple(column for _, column in columns)),
        outputs=outputs,
        kind=f"{kind}, {import_path(obj)}",
    )
    return _verified(linear, obj, kind)


def raw_scores(obj: Any) -> RawScores | None:
    """Return the sums before the link, of results whose formula is not read: models of their kind are read on that scale."""
    kind = type(getattr(obj, "model", None)).__name__
    if kind not in _TAKES_OFFSETS:
        return None
    outputs, _ = _sum_of(obj, kind)
    if outputs.link.is_identity:
        return None
    called = f"{type(obj).__name__}.predict(which='linear')"
    return RawScores(partial(obj.predict, which="linear"), outputs.raw_units, called)


def _sum_of(obj: Any, kind: str) -> tuple[Outputs, Floats]:
    """The outputs of a kind of model, and its weights (columns of its design, outputs).

    Raises:
        UnsupportedModelError: its predictions are no link of one sum.
    """
    weights = np.asarray(obj.params, dtype=np.float64)
    if kind == "MNLogit":
        names = tuple(str(label) for _, label in sorted(obj.model._ynames_map.items()))  # noqa: SLF001  # no other list
        outputs = Outputs(names, Link("softmax"), "log-odds (softmax)", "probability")
        return outputs, np.column_stack([np.zeros(len(weights)), weights])
    if kind == "MixedLM":
        outputs, weights = Outputs(("prediction",)), np.asarray(obj.fe_params, dtype=np.float64)
    elif kind in _MEANS:
        outputs = Outputs(("prediction",) if weights.ndim == 1 else _names_of_truths(obj.model, weights.shape[1]))
    elif kind in _FAMILIES:
        outputs = _family_outputs(obj.model)
    elif kind in ("Logit", "Probit"):
        sigmoid = (Link("sigmoid"), "log-odds")
        outputs = _binary_outputs(obj.model, *(sigmoid if kind == "Logit" else _probit()))
    elif kind in _COUNTS:
        outputs = Outputs(("prediction",), Link("exp"), raw_units="log of the prediction")
        weights = weights[: len(weights) - getattr(obj.model, "k_extra", 0)]  # without parameters of the distribution
    else:
        raise UnsupportedModelError(f"the predictions of {kind} are not read as a link of one weighted sum of columns.", hint=ANY_MODEL_HINT)  # fmt: skip
    return outputs, weights.reshape(-1, len(outputs.names))


def _names_of_truths(model: Any, count: int) -> tuple[str, ...]:
    """The names of several columns of truth, as statsmodels gives them to an array where there are none."""
    names = getattr(model, "endog_names", None)  # gone where results were saved without their data
    return tuple(map(str, names)) if names is not None else tuple(f"y{k + 1}" for k in range(count))


def _probit() -> tuple[Link, str]:
    from scipy.special import ndtr

    return Link("probit", function=_Mean(ndtr)), "probit of the probability"


@final
@dataclass(frozen=True)
class _Mean:
    """The inverse of a link, by the library's own function: raw outputs -> predictions."""

    function: Callable[[Any], Any]

    def __call__(self, raw: Floats) -> Floats:
        with np.errstate(all="ignore"):  # outside of what the link is defined for, as the library's own predictions
            return np.asarray(self.function(raw), dtype=np.float64)


def _family_outputs(model: Any) -> Outputs:
    """The outputs of a generalized linear model, by the link of its family."""
    from statsmodels.genmod.families import links

    link, family = model.family.link, type(model.family).__name__
    name = type(link).__name__
    known = {links.Identity: Link(), links.Log: Link("exp"), links.Logit: Link("sigmoid")}
    ours = known.get(type(link), Link(name, function=_Mean(link.inverse)))
    if family == "Binomial" and np.isin(model.endog, (0.0, 1.0)).all():
        return _binary_outputs(model, ours, "log-odds" if name == "Logit" else f"{name} of the probability")
    units = "prediction" if name == "Identity" else f"{name.lower()} of the prediction"
    if family == "Binomial" and name != "Identity":  # of shares, or of results that were saved without their data
        units = "log-odds" if name == "Logit" else f"{name} of the probability"
    return Outputs(("prediction",), ours, raw_units=units)


def _binary_outputs(model: Any, link: Link, units: str) -> Outputs:
    """The outputs of a model of two classes; where a formula made two columns of its truth, the first is what is predicted."""
    names = getattr(model, "endog_names", None)  # gone where results were saved without their data
    if isinstance(names, (list, tuple)) and len(names) == 2:
        positive, negative = (m[1] if (m := _LEVEL.fullmatch(str(n))) else str(n) for n in names)
    else:
        positive, negative = "1", "0"
    if link.is_identity:  # a linear probability
        units = "probability"
    return Outputs((positive,), link, units, "probability", negative_class=negative)


def _columns_of(model: Any, width: int) -> tuple[list[tuple[int, str]], list[int]]:
    """Positions in the design of the user's columns, with their names; and of the constants that a formula adds.

    Raises:
        UnsupportedModelError: a formula makes columns of its own. InputError: there are no names.
    """
    if model.exog_names is None:
        raise InputError(
            f"this {type(model).__name__} was saved without its data, and the names of its columns went with it: give them, in their order in fit, "
            "by results.model.data.xnames = ['...', '...']."
        )
    names = [str(name) for name in model.exog_names][:width]
    if getattr(model, "formula", None) is None:
        return list(enumerate(names)), []
    frame = getattr(model.data, "frame", None)
    known = {str(name) for name in getattr(frame, "columns", ())}
    columns, constants = [], []
    for i, name in enumerate(names):
        quoted = _QUOTED.fullmatch(name)
        column = quoted[2] if quoted else name
        if column in known:
            columns.append((i, column))
        elif name in _CONSTANTS:
            constants.append(i)
        else:
            raise UnsupportedModelError(
                f"the formula {model.formula!r} makes a column {name!r} of its own, so it is no weighted sum of the columns of the rows.",
                hint=ANY_MODEL_HINT,
            )
    return columns, constants


def _inputs(model: Any, names: tuple[str, ...]) -> Inputs:
    named = getattr(model, "formula", None) is not None or hasattr(model.data.orig_exog, "columns")
    encoder = NumberEncoder(type(model).__name__, allow_nan=False, allow_infinite=False, sparse_nan=False)
    return Inputs(names, named, encoder, tuple((i,) for i in range(len(names))), own_names=() if named else names)


@final
@dataclass(frozen=True)
class _Predict:
    """The results' own predict: a table or a matrix of its columns -> (rows, outputs).

    Attributes:
        results: what fit returned. names: of the columns, for a formula; None: predict takes a matrix. linear: of the sum, before the link.
    """

    results: Any
    names: tuple[str, ...] | None
    linear: bool = False

    def __call__(self, table: Table) -> Floats:
        return self.rows(table.matrix())

    def rows(self, rows: Any, **more: Any) -> Floats:
        """Predictions of a matrix."""
        rows = np.asarray(rows, dtype=np.float64)
        if self.names is not None:
            import pandas as pd

            rows = pd.DataFrame(rows, columns=list(self.names))
        with suppress_warnings():
            return as_columns(self.results.predict(rows, **more, **({"which": "linear"} if self.linear else {})))

    def with_offsets(self, table: Table, offsets: Floats) -> Floats:
        """Sums with offsets, (rows, outputs)."""
        return self.rows(table.matrix(), offset=offsets[:, 0])


def _verified(model: Linear, obj: Any, kind: str) -> Model:
    """Compare predictions, and sums where the library gives them; attach the results' own predict."""
    names = model.inputs.names if getattr(obj.model, "formula", None) is not None else None
    own, called = _Predict(obj, names), f"{type(obj).__name__}.predict"
    scale: Scale = "raw" if model.outputs.link.is_identity else "response"
    against = f"{import_path(obj)}.predict"
    model = verify_linear(model, own.rows, relative=RELATIVE_ROUNDING, against=against, scale=scale, nan=False)
    rule = OffsetRule("offset")
    if kind in _TAKES_OFFSETS:
        sums = replace(own, linear=True)
        verify_linear(model, sums.rows, relative=RELATIVE_ROUNDING, against=against, nan=False)
        rule = replace(
            rule,
            predict=sums.with_offsets,
            call_name=f"{called}(offset=..., which='linear')",
            relative_rounding=RELATIVE_ROUNDING,
        )
    return replace(
        model,
        own_predict=OwnPredict(own, scale, RELATIVE_ROUNDING, called, "statsmodels"),
        offset_rule=rule,
        notes=(*model.notes, *_notes(obj.model, kind)),
    )


def _notes(model: Any, kind: str) -> tuple[str, ...]:
    notes = []
    if kind == "MixedLM":
        notes.append("MixedLMResults.predict leaves random effects out, so what is explained is the fixed part of the model.")  # fmt: skip
    given = _fitted_with(model)
    if given:
        notes.append(f"This {kind} {_AT_OFFSET_0.format(' and '.join(given))}, unless offset= gives theirs.")
    return tuple(notes)


def _fitted_with(model: Any) -> list[str]:
    """Which of offset and exposure the model was fitted with; statsmodels keeps the log of an exposure."""
    found = {name: getattr(model, name, None) for name in ("offset", "exposure")}
    return [name for name, values in found.items() if values is not None and np.any(values)]
