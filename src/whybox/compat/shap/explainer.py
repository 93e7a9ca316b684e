"""``shap.Explainer``: the class that chooses, and what all explainers share."""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar, Final

import numpy as np

from whybox.compat.refused import refuse
from whybox.compat.shap.answers import Answers, Budget
from whybox.compat.shap.backgrounds import CUT_BY_SHAP, Background, as_background, rows_as
from whybox.compat.shap.explanation import Explanation, explanation_of
from whybox.compat.shap.links import as_link, identity
from whybox.compat.shap.list_form import shaped
from whybox.compat.shap.maskers import Masker, Text
from whybox.errors import OptionError, UnknownFieldError, UnsupportedModelError
from whybox.explanation.explanation import Explanation as OwnExplanation
from whybox.methods.common.words.text_model import takes_only_texts
from whybox.models.additive import Additive
from whybox.models.linear import Linear
from whybox.models.registry import as_model
from whybox.models.trees import TreeEnsemble

__all__ = ["Explainer", "call_budget", "count_or_auto", "output_to_ask"]

_CLASSES: Final = {
    "exact": "whybox.compat.shap.evaluated:ExactExplainer",
    "permutation": "whybox.compat.shap.evaluated:PermutationExplainer",
    "partition": "whybox.compat.shap.evaluated:PartitionExplainer",
    "tree": "whybox.compat.shap.tree:TreeExplainer",
    "linear": "whybox.compat.shap.read:LinearExplainer",
    "additive": "whybox.compat.shap.read:AdditiveExplainer",
}
MOST_FEATURES_EXACT: Final = 10  # for which shap.Explainer enumerates all coalitions


class Explainer:
    """Explain a model: the class that fits is chosen, as in shap, and this object becomes one of it.

    Args:
        model: a model that whybox reads, any other fitted model, or a function of rows. masker: rows, a masker, or None for trees and texts.
        link: from outputs to the units of the values. algorithm: ``"auto"``, ``"exact"``, ``"permutation"``, ``"partition"``, ``"tree"``, ``"linear"`` or
            ``"additive"``. output_names, feature_names: labels. linearize_link: False: values of link(mean output); True (shap's default) is refused with a link.
        seed: of the draws of estimates. call_args: defaults of a call.

    Raises:
        OptionError: what is not honoured; see docs/from_shap.md. WhyboxError: as :func:`whybox.explain`.
    """

    kind_of_model: ClassVar[Any] = None  # of models that a class reads

    def __init__(
        self,
        model: Any,
        masker: Any = None,
        link: Any = identity,
        algorithm: str = "auto",
        output_names: Any = None,
        feature_names: Any = None,
        linearize_link: bool = True,  # as shap has it
        seed: int | None = None,
        **call_args: Any,
    ) -> None:
        masker = Text(masker) if _is_tokenizer(masker) else masker
        given_model = model
        if algorithm == "auto":
            algorithm, model = _algorithm_for(model, masker)  # read once
        if algorithm not in _CLASSES:
            refuse(
                f"algorithm={algorithm!r} of shap.Explainer",
                "write shap.DeepExplainer(net, rows)." if algorithm == "deep" else f"known: {', '.join(_CLASSES)}.",
            )
        module, _, name = _CLASSES[algorithm].partition(":")
        self.__class__ = getattr(import_module(module), name)
        given = {"feature_names": feature_names}
        if algorithm == "tree":
            if as_link(link) is not identity:
                refuse("link of shap.TreeExplainer", "say what to explain with model_output='probability' or 'raw'.")
        else:
            given["link"] = link
        if algorithm in ("exact", "permutation", "partition"):
            given |= {"linearize_link": linearize_link, "seed": seed, **call_args}
        elif call_args:
            given |= call_args
        self.__init__(model, masker, **given)  # type: ignore[misc]  # of the class that was chosen
        self.model, self.output_names = given_model, output_names

    def _prepare(
        self, model: Any, data: Any, *, feature_names: Any = None, link: Any = identity, cut: int | None = CUT_BY_SHAP
    ) -> Background:
        """Set what every explainer has; return the background."""
        self.model, self.masker, self.link = model, data, as_link(link)
        self.feature_names, self.output_names = feature_names, None
        background = Background() if isinstance(data, Text) else as_background(data, cut=cut)
        self.data = background.rows
        self._weights = background.weights
        return background

    @property
    def expected_value(self) -> Any:
        """The value when every feature is absent: a number, or (outputs,)."""
        base = np.asarray(self._answers.base)
        return np.float64(base) if base.ndim == 0 else np.array(base)  # as in shap, with .item() and .round()

    @property
    def _answers(self) -> Answers:
        found: Answers = self.__dict__["_kept_answers"]
        return found

    def _rows(self, X: Any) -> tuple[Any, bool]:
        return rows_as(X, self.data)

    def _to_shap(self, e: OwnExplanation) -> Explanation:
        """The explanation of whybox as shap shapes it, with the names of this explainer."""
        return explanation_of(e, feature_names=self.feature_names, output_names=self.output_names)

    def _shaped(self, e: OwnExplanation, *, single: bool, doubled: bool = False) -> Any:
        """Values alone, as they are asked for; of one row without its axis."""
        values = np.array(e.values)[0] if single else np.array(e.values)
        return shaped(values, has_outputs="output" in e.dims, doubled=doubled)

    def save(self, out_file: Any, *_: Any, **__: Any) -> None:
        """Refuse: pickle the explainer instead.

        Raises:
            OptionError: always.
        """
        refuse("Explainer.save", "pickle the explainer, or write joblib.dump(explainer, path).")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of whybox.compat.shap>"


def output_to_ask(model: Any) -> str | None:
    """Return which output to ask for, so that the outputs are those that shap has: both classes where the model returns both."""
    if getattr(model, "__name__", "") == "predict_proba" and hasattr(model, "__self__"):
        return "all"
    return None


def call_budget(max_evals: Any, coalitions: int, counted: int) -> Budget:
    """Return the predictions that ``max_evals`` of a call means: coalitions of a row, each over the background.

    Raises:
        OptionError: it is no positive whole number.
    """
    given = count_or_auto("max_evals of an explainer", max_evals)
    return Budget("max_evals", (coalitions if given is None else given) * max(counted, 1), is_given=given is not None)


def count_or_auto(name: str, given: Any) -> int | None:
    """Return a number of predictions or coalitions; None for ``"auto"``.

    Raises:
        OptionError: it is neither.
    """
    if isinstance(given, str) and given == "auto":
        return None
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
        raise OptionError(f"{name} is 'auto' or a positive whole number; this is {given!r}.")
    return int(given)


def _algorithm_for(model: Any, masker: Any) -> tuple[str, Any]:
    """Return shap's choice for a model, and the model, read where it is read.

    Raises:
        UnsupportedModelError: it is not read, and there is no background.
    """
    if isinstance(masker, Text) or (masker is None and takes_only_texts(model)):
        return "partition", model
    background = as_background(masker)
    try:
        read = as_model(model)
    except (UnsupportedModelError, UnknownFieldError):
        if background.rows is None:
            raise
        read = None
    if isinstance(read, (TreeEnsemble, Linear, Additive)) and not callable(model) and background.clustering is None:
        kinds = ((TreeEnsemble, "tree"), (Linear, "linear"), (Additive, "additive"))
        return next(name for kind, name in kinds if isinstance(read, kind)), read
    if background.rows is None:
        raise UnsupportedModelError(
            "this model is evaluated, which takes rows that absent features take their values from: shap.Explainer(model, X_train)."
        )
    width = int(background.rows.shape[1])
    most = MOST_FEATURES_EXACT if background.clustering is None else 32
    return ("exact" if width <= most else "permutation"), model


def _is_tokenizer(masker: Any) -> bool:
    return masker is not None and not isinstance(masker, Masker) and callable(getattr(masker, "encode", None))
