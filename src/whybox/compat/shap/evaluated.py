"""``shap.ExactExplainer``, ``PermutationExplainer`` and ``PartitionExplainer``: any model, over the rows of a masker; texts."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from whybox.api.explain import explain
from whybox.compat.columns import in_columns_of
from whybox.compat.refused import refuse, refuse_given
from whybox.compat.shap.answers import Answers, Budget
from whybox.compat.shap.backgrounds import Background
from whybox.compat.shap.explainer import Explainer, call_budget, count_or_auto, output_to_ask
from whybox.compat.shap.explanation import Explanation
from whybox.compat.shap.linked import explain_linked
from whybox.compat.shap.links import identity
from whybox.compat.shap.list_form import shaped
from whybox.compat.shap.maskers import Masker, Partition, Text
from whybox.compat.shap.op_chain import OpChain
from whybox.compat.shap.text_explanation import TextExplanation
from whybox.core.progress import no_progress_bars
from whybox.methods.common.words.tokenized import is_column_of_texts

__all__ = ["ExactExplainer", "PartitionExplainer", "PermutationExplainer"]

USUAL_COALITIONS: Final = 500  # of PermutationExplainer, where nobody says how many
MOST_COALITIONS: Final = 100_000  # of ExactExplainer
LINEARIZED: Final = (
    "a link that is linearized mixes other weights into the background. Write linearize_link=False for values of link(mean output), or pass a function "
    "that returns the output behind the link, such as log-odds."
)


class _Evaluated(Explainer):
    """What the three share."""

    _method = "auto"
    _of_texts = "auto"

    def __init__(
        self,
        model: Any,
        masker: Any = None,
        link: Any = identity,
        feature_names: Any = None,
        linearize_link: bool = True,  # as shap has it
        seed: int | None = None,
        output_names: Any = None,
        **call_args: Any,
    ) -> None:
        background = self._prepare(model, masker, feature_names=feature_names, link=link)
        self.output_names, self._call_args, self._seed = output_names, call_args, seed or 0
        if background.correlated:
            refuse(f"maskers.Impute in shap.{type(self).__name__}", "shap.LinearExplainer takes it, for linear models.")
        self._background = background
        if self.link is not identity and linearize_link and len(background) != 1:
            refuse(f"link of shap.{type(self).__name__} with linearize_link", LINEARIZED)
        if self.link is not identity and background.clustering is not None:
            refuse("a link with a hierarchy", "pass a function that returns the output behind the link.")
        if background.rows is not None and self.link is identity:
            self._kept_answers = self._make_answers(background)

    def _make_answers(self, background: Background) -> Answers:
        method, hierarchy = self._method, None
        if background.clustering is not None:
            method, hierarchy = "partition_shap", background.clustering
        rows = Background(background.rows, background.weights, most_counted=background.most_counted)
        return Answers(
            self.model, rows, output=output_to_ask(self.model), method=method, hierarchy=hierarchy, seed=self._seed
        )

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Return an Explanation of rows, or of texts.

        Args:
            args: the rows, or the texts; one input. options: ``max_evals``, coalitions of a row, each over the background, all of which are spent; ``"auto"``: as
                many as shap takes, or fewer where the errors are small. ``batch_size``: most rows in one call of the model. ``outputs``: positions or names to
                keep. ``error_bounds``: errors are there in any case. ``silent``. ``main_effects`` and ``interactions`` are refused.

        Raises:
            OptionError: what is not honoured; see docs/from_shap.md. Others as :func:`whybox.explain`.
        """
        if len(args) != 1:
            refuse(
                "several inputs of an explainer",
                "explain a function of one table; networks of several inputs go to wb.saliency.",
            )
        given = {**self._call_args, **options}
        self._check_options(given)
        outputs = given.get("outputs")
        if isinstance(self.masker, Text) or (self._background.rows is None and is_column_of_texts(args[0])):
            e: Any = self._explain_texts(args[0], given)
        else:
            with no_progress_bars(hidden=bool(given.get("silent", False))):
                e = self._explain_rows(args[0], given)
        return e if outputs is None else e[..., outputs]

    def shap_values(self, X: Any, npermutations: int | None = None, **options: Any) -> Any:
        """Return the values of a call alone; of one row without the first axis.

        Args:
            X: rows. npermutations: orders of the features, each forth and back, in place of ``max_evals``. options: of a call.

        Raises:
            OptionError: as a call.
        """
        rows, single = self._rows(X)
        if npermutations is not None:
            options["max_evals"] = npermutations * (2 * rows.shape[1] + 1)
        e = self(rows, **options)
        return shaped(e.values[0] if single else e.values, has_outputs=e.values.ndim == 3)

    def _check_options(self, given: dict[str, Any]) -> None:
        known = (
            "max_evals",
            "main_effects",
            "error_bounds",
            "batch_size",
            "outputs",
            "silent",
            "interactions",
            "fixed_context",
        )
        unknown = next((name for name in given if name not in known), None)
        if unknown is not None:
            raise TypeError(f"{type(self).__name__} takes no argument {unknown!r}.")
        refuse_given(
            "main_effects",
            given.get("main_effects", False),
            "wb.effects(model, X) draws the effect of a feature alone.",
            default=False,
        )
        if given.get("interactions", False) not in (False, 1) or given.get("interactions") is True:
            refuse(
                "interactions of shap.ExactExplainer",
                "they are Shapley-Taylor indices; wb.explain(model, X, background, order=2) returns Shapley interactions, as TreeExplainer does.",
            )
        if given.get("fixed_context") is not None:
            refuse(
                "fixed_context",
                "the exact Owen value of every word or feature is computed, or estimated with its error.",
            )
        if isinstance(given.get("outputs"), OpChain):
            refuse("outputs by an operation", "pass positions or names, or slice the answer: e[..., [0, 1]].")

    def _explain_rows(self, X: Any, given: dict[str, Any]) -> Explanation:
        rows, _ = self._rows(X)
        budget = self._budget(given.get("max_evals", "auto"), int(rows.shape[1]) if hasattr(rows, "shape") else 1)
        batch_size = given.get("batch_size", "auto")
        size = None if isinstance(batch_size, str) else batch_size
        if self.link is identity:
            return self._to_shap(self._answers.explain(rows, budget=budget, batch_size=size))
        rows, at = in_columns_of(rows, getattr(self.data, "columns", None))  # a function of arrays knows no names
        to_array = rows.to_numpy() if hasattr(rows, "to_numpy") else np.asarray(rows)
        behind = self.data.to_numpy() if hasattr(self.data, "to_numpy") else np.asarray(self.data)
        names = self.feature_names or (list(rows.columns) if hasattr(rows, "columns") else None)
        one = Budget(budget.name, budget.evaluations // max(self._background.most_counted, 1), budget.is_given)
        e = explain_linked(
            self.model,
            self.link,
            to_array,
            behind,
            self._weights,
            budget=one,
            names=names,
            output_names=self.output_names,
            max_rows=size,
            seed=self._seed,
        )
        return e if at is None else e[:, at]

    def _budget(self, max_evals: Any, width: int) -> Budget:
        return call_budget(max_evals, max(USUAL_COALITIONS, 20 * width), self._background.most_counted)

    def _explain_texts(self, texts: Any, given: dict[str, Any]) -> TextExplanation:
        """Explain texts by words that are left out; ``max_evals`` is predictions of a text."""
        if self.link is not identity:
            refuse("link of texts", "pass a function of texts that returns log-odds.")
        masker = self.masker.options() if isinstance(self.masker, Text) else {}
        max_evals, batch_size = given.get("max_evals", "auto"), given.get("batch_size", "auto")
        options = {"max_evals": max_evals, "batch_size": batch_size}
        options = {name: value for name, value in options.items() if not isinstance(value, str)}
        output = output_to_ask(self.model)
        e = explain(self.model, texts, method=self._of_texts, seed=self._seed, output=output, **masker, **options)
        return TextExplanation(e)


class ExactExplainer(_Evaluated):
    """Exact Shapley values of any model, from all coalitions; with a hierarchy of the masker exact Owen values.

    Args:
        model: any model, or a function of rows. masker: rows, all of which count, or a masker. link, linearize_link: see docs/from_shap.md. feature_names: labels.

    Raises:
        LimitError: 2^features coalitions are more than ``max_evals``, 100,000 where nobody says. Others as :func:`whybox.explain`.
    """

    _method = "exact"  # by the kernels of a model that is read
    _of_texts = "exact_shap"

    def _budget(self, max_evals: Any, width: int) -> Budget:
        most = count_or_auto("max_evals of an explainer", max_evals) or MOST_COALITIONS
        return Budget("max_evals", most * max(len(self._background), 1))


class PermutationExplainer(_Evaluated):
    """Shapley values of any model: exact where all coalitions fit ``max_evals``, else estimated with standard errors, by the sampling of whybox.

    Args:
        model: any model, or a function of rows. masker: rows, all of which count, or a masker. link, linearize_link: see docs/from_shap.md. feature_names: labels.
        seed: of the draws. call_args: defaults of a call.

    Raises:
        OptionError: what is not honoured; see docs/from_shap.md. Others as :func:`whybox.explain`.
    """


class PartitionExplainer(_Evaluated):
    """Owen values over a hierarchy of features, or of the words of a text: exact where they fit ``max_evals``, else with standard errors.

    Args:
        model: any model, or a function of rows or of texts. masker: ``maskers.Partition(rows)``, ``maskers.Text(...)``, or rows, whose columns are joined as that masker does.
        output_names, feature_names: labels. link, linearize_link: see docs/from_shap.md. call_args: defaults of a call.

    Raises:
        OptionError: what is not honoured; see docs/from_shap.md. Others as :func:`whybox.explain`.
    """

    _method = "partition_shap"
    _of_texts = "partition_shap"

    def __init__(
        self,
        model: Any,
        masker: Any = None,
        *,
        output_names: Any = None,
        link: Any = identity,
        linearize_link: bool = True,
        feature_names: Any = None,
        seed: int | None = None,
        **call_args: Any,
    ) -> None:
        is_rows = hasattr(masker, "shape") and not isinstance(masker, Masker)
        masker = Partition(masker) if is_rows else masker  # as shap does
        super().__init__(
            model, masker, link, feature_names, linearize_link, seed=seed, output_names=output_names, **call_args
        )
