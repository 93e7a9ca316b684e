"""``shap.LinearExplainer`` and ``shap.AdditiveExplainer``: exact values of models that are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from whybox.compat.refused import refuse, refuse_given
from whybox.compat.shap.answers import Answers
from whybox.compat.shap.backgrounds import Background
from whybox.compat.shap.explainer import Explainer
from whybox.compat.shap.explanation import Explanation
from whybox.compat.shap.links import identity
from whybox.compat.shap.maskers import Impute, Independent
from whybox.data.table import as_table
from whybox.errors import InputError, OptionError, UnsupportedModelError
from whybox.explanation.explanation import Explanation as OwnExplanation
from whybox.models.additive import Additive
from whybox.models.inputs import Inputs, NumberEncoder
from whybox.models.linear import Linear
from whybox.models.links import PREDICTION_UNITS, Outputs
from whybox.models.registry import as_model

__all__ = ["AdditiveExplainer", "LinearExplainer"]


class _OfReadModels(Explainer):
    """What both share: one call without options."""

    def _refuse_link(self) -> None:
        if self.link is not identity:
            refuse(
                f"link of shap.{type(self).__name__}",
                "wb.explain(model, X, background, scale='probability') explains the other side of the model's own link.",
            )

    def shap_values(self, X: Any) -> Any:
        """Return values, (rows, features) or (rows, features, outputs); of one row without the first axis."""
        e, single = self._explained(X)
        return self._shaped(e, single=single)

    def __call__(self, X: Any, **options: Any) -> Explanation:
        """Return an Explanation of rows.

        Raises:
            OptionError: options of explainers that evaluate the model.
        """
        for name, value in options.items():
            if name not in (
                "max_evals",
                "batch_size",
                "error_bounds",
                "silent",
            ):  # met by exact values, whatever they are
                refuse_given(name, value, "the values of this explainer are exact and take no options.")
        return self._to_shap(self._explained(X)[0])

    def _explained(self, X: Any) -> tuple[OwnExplanation, bool]:
        rows, single = self._rows(X)
        return self._answers.explain(rows), single


class LinearExplainer(_OfReadModels):
    """Exact Shapley values of a linear model, on its additive scale.

    Args:
        model: a linear model that whybox reads, or ``(coefficients, intercept)``. masker: rows, all of which count, a masker, or ``(mean, covariance)``.
        link: refused, unless it says nothing. nsamples: refused; values are exact. feature_perturbation: ``"interventional"``, or ``"correlation_dependent"`` as
            ``maskers.Impute`` has it: absent features follow from those present, as in a Gaussian, exactly for up to 15 features. feature_names: labels.

    Raises:
        OptionError: what is not honoured; see docs/from_shap.md. UnsupportedModelError: no linear model. Others as :func:`whybox.explain`.
    """

    def __init__(
        self,
        model: Any,
        masker: Any,
        link: Any = identity,
        nsamples: int = 1000,
        feature_perturbation: str | None = None,
        feature_names: Any = None,
    ) -> None:
        refuse_given("nsamples", nsamples, "the values are exact, also with correlated features.", default=1000)
        if feature_perturbation not in (None, "interventional", "correlation_dependent"):
            raise OptionError(
                f"feature_perturbation is 'interventional' or 'correlation_dependent'; this is {feature_perturbation!r}."
            )
        follows = feature_perturbation == "correlation_dependent"
        if isinstance(masker, tuple) and len(masker) == 2:
            masker = {"mean": masker[0], "cov": masker[1]}
            masker = Impute(masker) if follows else Independent(masker)
        elif follows:
            masker = masker if isinstance(masker, Impute) else Impute(masker)
        background = self._prepare(model, masker, feature_names=feature_names, link=link)
        self._refuse_link()
        if background.rows is None:
            refuse("shap.LinearExplainer without rows", "pass rows: LinearExplainer(model, X_train).")
        read = _linear_of(model[0], model[1], background) if isinstance(model, tuple) else as_model(model)
        if not isinstance(read, Linear):
            raise UnsupportedModelError(f"LinearExplainer explains linear models; this is {read.kind}.")
        self.feature_perturbation = "correlation_dependent" if background.correlated else "interventional"
        # the mean of the rows is all that a linear model needs: a hierarchy changes nothing
        rows = Background(background.rows, background.weights)
        method = {"method": "linear_shap_correlated"} if background.correlated else {}
        self._kept_answers = Answers(read, rows, **method)


class AdditiveExplainer(_OfReadModels):
    """Exact Shapley values of an additive model that whybox reads, such as interpret's ExplainableBoosting models.

    Args:
        model: the model. masker: rows, all of which count, or a masker. link: refused, unless it says nothing. feature_names: labels. linearize_link: not used
            without a link.

    Raises:
        OptionError: what is not honoured. UnsupportedModelError: no additive model. Others as :func:`whybox.explain`.
    """

    def __init__(
        self,
        model: Any,
        masker: Any,
        link: Any = identity,
        feature_names: Any = None,
        linearize_link: bool = True,
    ) -> None:
        background = self._prepare(model, masker, feature_names=feature_names, link=link)
        self._refuse_link()
        read = as_model(model)
        if not isinstance(read, Additive):
            raise UnsupportedModelError(f"AdditiveExplainer explains additive models; this is {read.kind}.")
        self._kept_answers = Answers(read, Background(background.rows, background.weights))


def _linear_of(coefficients: Any, intercept: Any, background: Background) -> Linear:
    """Return the linear model of coefficients, (features,) or (outputs, features), and an intercept, (), (1,) or (outputs,).

    Raises:
        InputError: they do not fit each other, or the rows.
    """
    weights = np.atleast_2d(np.asarray(coefficients, dtype=np.float64)).T
    names = tuple(as_table(background.rows, what="the background").names)
    if weights.shape[0] != len(names):
        raise InputError(f"there are {weights.shape[0]} coefficients and {len(names)} columns in the rows.")
    outputs = weights.shape[1]
    return Linear(
        weights=np.ascontiguousarray(weights),
        base_values=np.array(np.broadcast_to(np.asarray(intercept, dtype=np.float64), (outputs,))),
        inputs=Inputs(
            names,
            False,
            NumberEncoder("numpy", allow_nan=False, allow_infinite=False),
            tuple((j,) for j in range(len(names))),
        ),
        outputs=Outputs((PREDICTION_UNITS,) if outputs == 1 else tuple(f"output {k}" for k in range(outputs))),
        kind="(coefficients, intercept)",
    )
