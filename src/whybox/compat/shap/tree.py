"""``shap.TreeExplainer``: exact values of tree ensembles."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from whybox.compat.refused import refuse, refuse_given
from whybox.compat.shap.answers import Answers
from whybox.compat.shap.backgrounds import Background
from whybox.compat.shap.explainer import Explainer
from whybox.compat.shap.explanation import Explanation
from whybox.compat.shap.links import as_link, identity
from whybox.compat.shap.list_form import lists_are_asked
from whybox.errors import OptionError, UnsupportedModelError
from whybox.explanation.explanation import Explanation as OwnExplanation
from whybox.models.registry import as_model
from whybox.models.trees import TreeEnsemble

__all__ = ["TreeExplainer"]

LOSSES: Final = ("log_loss", "logloss")
METHODS: Final = ("predict", "predict_proba", "predict_log_proba", "decision_function")
NO_SAABAS: Final = (
    "values of one order of the features are no Shapley values; the exact ones cost about as much: leave it out."
)


class TreeExplainer(Explainer):
    """Exact Shapley values of a tree ensemble.

    Args:
        model: whatever whybox reads as trees, also in a Pipeline or a search, or the path of a model file.
        data: rows that absent features take their values from, all of which count (shap: 100), or what ``kmeans`` returns. None: the training weights in the trees.
        model_output: ``"raw"``; with data also ``"probability"`` (exact where shap rescales), ``"log_loss"`` and the name of a predict method.
        feature_perturbation: ``"auto"``; ``"interventional"`` takes data, ``"tree_path_dependent"`` takes none. feature_names: labels.
        approximate, link, linearize_link: refused, unless they say nothing.

    Attributes:
        expected_value: a number, or (outputs,).

    Raises:
        OptionError: what is not honoured; see docs/from_shap.md. UnsupportedModelError: no tree ensemble. Others as :func:`whybox.explain`.
    """

    def __init__(
        self,
        model: Any,
        data: Any = None,
        model_output: str = "raw",
        feature_perturbation: str = "auto",
        feature_names: Any = None,
        approximate: Any = False,
        link: Any = None,
        linearize_link: Any = None,
    ) -> None:
        refuse_given("approximate", bool(approximate), NO_SAABAS, default=False)
        if as_link(link) is not identity or linearize_link:
            refuse("link of shap.TreeExplainer", "say what to explain with model_output='probability' or 'raw'.")
        background = self._prepare(model, data, feature_names=feature_names)
        _check_background(background, feature_perturbation)
        self.feature_perturbation = "tree_path_dependent" if background.rows is None else "interventional"
        self.model_output = model_output
        read = as_model(model)
        if not isinstance(read, TreeEnsemble):
            raise UnsupportedModelError(
                f"TreeExplainer explains tree ensembles; this is {read.kind}. shap.Explainer(model, X_train) chooses the class that fits."
            )
        self._kept_answers = _answers(model, read, background, model_output)
        own = read.own_predict
        # so has shap: code for it writes expected_value[0]
        self._has_array_base = own is not None and own.library == "scikit-learn" and background.rows is None
        self._is_doubled = (
            own is not None
            and own.library == "lightgbm"
            and read.outputs.negative_class is not None
            and background.rows is None
        )

    def shap_values(
        self,
        X: Any,
        y: Any = None,
        tree_limit: int | None = None,
        approximate: bool = False,  # as shap has it
        check_additivity: bool = True,
        from_call: bool = False,  # what shap passes to itself
    ) -> Any:
        """Return values, (rows, features) or (rows, features, outputs); of one row without the first axis.

        Args:
            X: rows, or one. y: the truth of each row, with ``model_output="log_loss"``. tree_limit: None, -1 or 0: all trees; others are refused.
            approximate: refused. check_additivity: every row is checked, whatever it says.

        Raises:
            OptionError: what is not honoured. Others as :func:`whybox.explain`.
        """
        refuse_given("approximate", approximate, NO_SAABAS, default=False)
        _check_limit(tree_limit)
        del check_additivity  # a row that does not add up is an error here in any case
        e, single = self._explained(X, y, order=1)
        return self._shaped(e, single=single, doubled=self._is_doubled)

    def shap_interaction_values(self, X: Any, y: Any = None, tree_limit: int | None = None) -> Any:
        """Return interactions, (rows, features, features) [, outputs]: half of each on either side of the diagonal, main effects on it.

        Raises:
            OptionError: as :meth:`shap_values`.
        """
        _check_limit(tree_limit)
        e, single = self._explained(X, y, order=2)
        return self._shaped(e, single=single)

    def __call__(
        self,
        X: Any,
        y: Any = None,
        interactions: bool = False,
        check_additivity: bool = True,
        approximate: bool = False,
    ) -> Explanation:
        """Return an Explanation of rows, or of one; with `interactions` of their pairs of features. Arguments are those of :meth:`shap_values`.

        Raises:
            OptionError: as :meth:`shap_values`.
        """
        refuse_given("approximate", approximate, NO_SAABAS, default=False)
        del check_additivity
        e, single = self._explained(X, y, order=2 if interactions else 1)
        return self._to_shap(e)[0] if single else self._to_shap(e)

    def _explained(self, X: Any, y: Any, *, order: int) -> tuple[OwnExplanation, bool]:
        if self.model_output in LOSSES and y is None:
            raise OptionError("model_output='log_loss' takes the truth of each row: explainer.shap_values(X, y).")
        if self.model_output not in LOSSES and y is not None:
            refuse("y of shap.TreeExplainer", "it goes with model_output='log_loss'; shap ignores it otherwise.")
        rows, single = self._rows(X)
        truth = None if y is None else np.atleast_1d(np.asarray(y))
        return self._answers.explain(rows, order=order, y=truth), single

    @property
    def expected_value(self) -> Any:
        """The value when every feature is absent: a number, or (outputs,).

        Raises:
            OptionError: losses are explained, of which each row has its own.
        """
        if self.model_output in LOSSES:
            refuse("expected_value of a loss", "each row has its own: explainer(X, y).base_values.")
        base = super().expected_value
        if self._is_doubled and lists_are_asked():
            return np.array([-base, base])
        return np.array([base]) if self._has_array_base and np.ndim(base) == 0 else base


def _check_background(background: Background, feature_perturbation: str) -> None:
    """Refuse rows that do not go with what absent features should follow.

    Raises:
        OptionError: they do not.
    """
    if background.clustering is not None or background.correlated:
        refuse("a masker with a hierarchy in shap.TreeExplainer", "pass maskers.Independent(rows), or the rows.")
    if feature_perturbation not in ("auto", "interventional", "tree_path_dependent"):
        raise OptionError(
            f"feature_perturbation is 'auto', 'interventional' or 'tree_path_dependent'; this is {feature_perturbation!r}."
        )
    if feature_perturbation == "interventional" and background.rows is None:
        refuse(
            "feature_perturbation='interventional' without data",
            "pass rows, TreeExplainer(model, data=X_train), or leave it out: then absent features follow the training weights in the trees.",
        )
    if feature_perturbation == "tree_path_dependent" and background.rows is not None:
        refuse(
            "feature_perturbation='tree_path_dependent' with data",
            "the weights in the trees are those of training; leave data out, or take 'interventional'.",
        )


def _answers(model: Any, read: TreeEnsemble, background: Background, model_output: str) -> Answers:
    """Return what answers, on the scale that `model_output` names.

    Raises:
        OptionError: no such scale, or one that takes data.
    """
    if model_output not in ("raw", "probability", *LOSSES) and not (
        model_output in METHODS and hasattr(model, model_output)
    ):
        raise OptionError(
            f"model_output is 'raw', 'probability', 'log_loss' or the name of a predict method of the model; this is {model_output!r}."
        )
    if model_output != "raw" and background.rows is None and not read.outputs.additive_probability:
        refuse(
            f"model_output={model_output!r} without data",
            "the probability of a row with absent features takes rows: TreeExplainer(model, data=X_train, ...).",
        )
    both = read.outputs.additive_probability and read.outputs.negative_class is not None  # as sklearn's forests return
    if model_output == "raw":
        return Answers(read, background, output="all" if both else None)
    if model_output == "probability":
        return Answers(read, background, output="all" if both else None, scale="probability")
    if model_output in LOSSES:
        return Answers(read, background, loss="auto")
    is_binary = model_output == "predict_proba" and read.outputs.negative_class is not None
    return Answers(getattr(model, model_output), background, output="all" if is_binary else None)


def _check_limit(tree_limit: int | None) -> None:
    if tree_limit not in (None, -1, 0):
        refuse(
            f"tree_limit={tree_limit!r}",
            "explain a model with fewer trees: booster[:rounds] of XGBoost, or save LightGBM's with num_iteration.",
        )
