"""``lime.explanation``: what ``explain_instance`` returns, filled from an explanation of whybox."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.compat.lime.page import LabelFigure, explanation_page, in_notebook
from whybox.compat.refused import refuse
from whybox.core.atomic_write import atomic_write
from whybox.data.table import Floats
from whybox.errors import Argument, InputError, MissingDependencyError, OptionError
from whybox.explanation.explanation import Explanation as Answer

__all__ = ["DomainMapper", "Explanation", "LocalNumbers", "checked_labels", "fill_labels", "id_to_name"]


def id_to_name(x: Any) -> str:
    """Return the number of a feature as text."""
    return str(x)


class DomainMapper:
    """Names the features of an explanation."""

    def map_exp_ids(self, exp: list[tuple[int, float]], **kwargs: Any) -> list[tuple[Any, float]]:
        """Return ``[(name, weight)]`` of ``[(number, weight)]``."""
        del kwargs
        return list(exp)

    def visualize_instance_html(self, *args: Any, **kwargs: Any) -> str:
        """Refused: :meth:`Explanation.as_html` is the whole page.

        Raises:
            OptionError: in any case.
        """
        del args, kwargs
        refuse("visualize_instance_html", "call as_html() of the explanation.")


@final
@dataclass(frozen=True, eq=False)
class LocalNumbers:
    """Linear models of one row, text or picture, one for each output.

    Attributes:
        values: (features, outputs). std_error: as values; None: exact. intercept, r_squared, local_prediction: (outputs,).
        labels: of the outputs; None: 0, 1, 2 and so on. features: their numbers; None: 0, 1, 2 and so on.
    """

    values: Floats
    std_error: Floats | None
    intercept: Floats
    r_squared: Floats
    local_prediction: Floats
    labels: Sequence[int] | None = None
    features: Sequence[int] | None = None

    @classmethod
    def of_row(cls, answer: Answer) -> LocalNumbers:
        """Return those of one row of :func:`whybox.lime`."""
        several = "output" in answer.dims

        def per_output(name: str) -> Floats:
            return np.atleast_1d(np.asarray(answer.extras[name][1], dtype=np.float64))

        def outputs_last(array: npt.NDArray[Any]) -> Floats:
            return np.asarray(array if several else array[:, None])

        return cls(
            values=outputs_last(answer.values),
            std_error=None if answer.std_error is None else outputs_last(answer.std_error),
            intercept=per_output("intercept"),
            r_squared=per_output("r_squared"),
            local_prediction=per_output("local_prediction"),
        )


class Explanation:
    """lime's explanation of one row, text or picture, with the numbers of whybox.

    Attributes:
        mode: ``"classification"`` or ``"regression"``. local_exp: label -> ``[(feature, weight)]``, largest first. intercept: label -> intercept.
        score, local_pred: R squared, and the linear model's prediction, (1,), as in lime of the last label, or the first of the top ones; `scores` and `local_preds`
            have those of each label.
        class_names, top_labels, predict_proba: of classes. predicted_value: of a regression. domain_mapper: names the features.
        std_errors: label -> {feature: standard error of its weight}, 0 where exact. explanation: of :func:`whybox.lime` or :func:`whybox.saliency`.
    """

    def __init__(
        self, domain_mapper: Any, mode: str = "classification", class_names: Any = None, random_state: Any = None
    ) -> None:
        if mode not in ("classification", "regression"):
            raise OptionError(Argument("mode", mode), " is not known.", known=("classification", "regression"))
        self.random_state, self.mode, self.domain_mapper = random_state, mode, domain_mapper
        self.local_exp: dict[int, list[tuple[int, float]]] = {}
        self.intercept: dict[int, float] = {}
        self.score: float = float("nan")
        self.local_pred: Floats = np.array([])
        self.scores: dict[int, float] = {}
        self.local_preds: dict[int, float] = {}
        self.std_errors: dict[int, dict[int, float]] = {}
        self.top_labels: list[int] | None = None
        self.predict_proba: Floats | None = None
        self.predicted_value: float | None = None
        self.explanation: Any = None
        self.class_names = class_names if mode == "classification" else ["negative", "positive"]
        self.dummy_label = 1

    @property
    def min_value(self) -> float:
        """Refused: the smallest prediction of lime's sample says how far that sample went, not what the model can predict.

        Raises:
            OptionError: in any case.
        """
        refuse("min_value", "wb.effects(model, X) shows how low and high predictions go.")

    @property
    def max_value(self) -> float:
        """Refused, as :attr:`min_value`.

        Raises:
            OptionError: in any case.
        """
        refuse("max_value", "wb.effects(model, X) shows how low and high predictions go.")

    def own_prediction(self, label: int) -> float:
        """Return what the model predicts for a label."""
        if self.mode == "regression":
            return float(self.predicted_value or 0.0)
        return float(np.asarray(self.predict_proba)[label])

    def available_labels(self) -> list[int]:
        """Return the labels that are explained.

        Raises:
            OptionError: of a regression, which has none.
        """
        if self.mode == "regression":
            refuse("available_labels of a regression", "it has no labels.")
        return list(self.top_labels or self.local_exp)

    def as_list(self, label: int = 1, **kwargs: Any) -> list[tuple[Any, float]]:
        """Return ``[(condition or word, weight)]``, largest first.

        Args:
            label: position of the class; not used of a regression. kwargs: of the domain mapper.

        Raises:
            InputError: this label is not explained.
        """
        found = self.domain_mapper.map_exp_ids(self._weights(label), **kwargs)
        return [(name, float(weight)) for name, weight in found]

    def as_map(self) -> dict[int, list[tuple[int, float]]]:
        """Return ``{label: [(feature, weight)]}``."""
        return self.local_exp

    def _label(self, label: int) -> int:
        """The label of a weight that is there.

        Raises:
            InputError: it is not explained.
        """
        used = label if self.mode == "classification" else self.dummy_label
        if used not in self.local_exp:
            there = ", ".join(map(str, sorted(self.local_exp)))
            raise InputError(
                Argument("label", label),
                f" is not explained; {there} {'is' if len(self.local_exp) == 1 else 'are'}. Pass such a label, or explain this one: ",
                Argument("labels", example=f"({label},)"),
                ".",
            )
        return used

    def _weights(self, label: int) -> list[tuple[int, float]]:
        return self.local_exp[self._label(label)]

    def label_name(self, label: int) -> str:
        """Return the name of a class."""
        names = self.class_names
        return str(label) if names is None or label >= len(names) else str(names[label])

    def of_label(self, label: int) -> Answer:
        """Return the explanation of whybox for one label."""
        used = self._label(label)
        e: Answer = self.explanation
        return e[..., used] if "output" in e.dims else e

    def as_pyplot_figure(self, label: int = 1, figsize: tuple[float, float] | None = None, **kwargs: Any) -> Any:
        """Draw the weights of one label: bars with their intervals.

        Args:
            label: position of the class. figsize: in inches; None: as the bars need. kwargs: of ``plot.local``, such as `title`.

        Returns:
            The figure.
        """
        figure = self.draw(label, **kwargs).figure
        if figsize is not None:
            figure.set_size_inches(*figsize)
        return figure

    def draw(self, label: int, **kwargs: Any) -> Any:
        """Draw the weights of one label, and return the axes; arguments are those of ``plot.local``."""
        named = f" for class {self.label_name(label)}" if self.mode == "classification" else ""
        options = {"title": f"Local explanation{named}", "max_display": max(1, len(self._weights(label))), **kwargs}
        return self.of_label(label).plot.local(**options)

    def as_html(
        self, labels: Any = None, predict_proba: bool = True, show_predicted_value: bool = True, **kwargs: Any
    ) -> str:
        """Return a page: the model's predictions, and a figure for each label. It has no script and loads nothing.

        Args:
            labels: which to show; None: all that are explained. predict_proba, show_predicted_value: whether the predictions are shown.
            kwargs: `show_table` and `show_all` of lime; the numbers of a figure stand behind a fold below it.

        Raises:
            OptionError: another argument. InputError: a label that is not explained.
        """
        for name in kwargs:
            if name not in ("show_table", "show_all", "text"):
                raise OptionError(Argument(name, example=""), " is no argument of a page.")
        shown = predict_proba if self.mode == "classification" else show_predicted_value
        predictions = self._predictions() if shown else []
        figures = [self._figure(label) for label in self._labels(labels)]
        return explanation_page(str(self.explanation.evidence.method), predictions, figures)

    def _predictions(self) -> list[tuple[str, float]]:
        """What the model predicts, by class."""
        if self.mode == "regression":
            return [("this row", float(self.predicted_value or 0.0))]
        return [(self.label_name(k), float(p)) for k, p in enumerate(np.asarray(self.predict_proba))]

    def _figure(self, label: int) -> LabelFigure:
        numbered = self._weights(label)
        errors = self.std_errors[self._label(label)]
        return LabelFigure(
            heading=f"Class {self.label_name(label)}" if self.mode == "classification" else "The prediction",
            draw=lambda: self.draw(label),
            weights=[(n, w, errors[j]) for (j, _), (n, w) in zip(numbered, self.as_list(label), strict=True)],
            local_prediction=self.local_preds[label],
            prediction=self.own_prediction(label),
            r_squared=self.scores[label],
        )

    def _labels(self, labels: Any) -> list[int]:
        if self.mode == "regression":
            return [self.dummy_label]
        return self.available_labels() if labels is None else [self._label(int(label)) for label in labels]

    def save_to_file(
        self,
        file_path: Any,
        labels: Any = None,
        predict_proba: bool = True,
        show_predicted_value: bool = True,
        **kwargs: Any,
    ) -> None:
        """Write :meth:`as_html` to a file.

        Raises:
            InputError: it cannot be written. Others as :meth:`as_html`.
        """
        page = self.as_html(labels, predict_proba, show_predicted_value, **kwargs)
        with atomic_write(file_path) as path:
            path.write_text(page, encoding="utf-8")

    def show_in_notebook(
        self, labels: Any = None, predict_proba: bool = True, show_predicted_value: bool = True, **kwargs: Any
    ) -> None:
        """Show :meth:`as_html` in a notebook.

        Raises:
            MissingDependencyError: there is no IPython. Others as :meth:`as_html`.
        """
        try:
            notebook = import_module("IPython.display")
        except ImportError:
            raise MissingDependencyError("ipython", "showing an explanation in a notebook") from None
        notebook.display(
            notebook.HTML(in_notebook(self.as_html(labels, predict_proba, show_predicted_value, **kwargs)))
        )


def checked_labels(labels: Iterable[Any], top_labels: Any, outputs: int, prediction: Floats) -> list[int]:
    """Return the positions of the outputs that are asked for: those with the largest predictions, or those named.

    Args:
        labels, top_labels: as the caller gave them. outputs: how many there are. prediction: (outputs,).

    Raises:
        InputError: a label that no output has. OptionError: `top_labels` is no positive whole number.
    """
    if top_labels:
        if not isinstance(top_labels, (int, np.integer)) or top_labels < 0:
            raise OptionError(Argument("top_labels", top_labels), " must be a positive whole number.")
        return [int(k) for k in np.argsort(prediction)[::-1][:top_labels]]
    chosen = [int(label) for label in labels]
    for label in chosen:
        if not 0 <= label < outputs:
            raise InputError(
                Argument("labels", tuple(chosen)),
                f": the model has {outputs:,} output{'s' if outputs > 1 else ''}, of which the first is 0; so there is no {label}.",
            )
    return chosen


def fill_labels(
    explanation: Explanation, numbers: LocalNumbers, labels: Sequence[int], num_features: int | None
) -> None:
    """Fill in the weights and fits of some labels.

    Args:
        explanation: to be filled. numbers: of the row. labels: positions of outputs; of a regression the only one, which is label 1 as in lime, and label 0 its negative.
        num_features: how many of the largest weights; None: all.
    """
    numbered = range(len(numbers.values)) if numbers.features is None else numbers.features
    for label in reversed(labels) if explanation.top_labels else labels:  # in lime's order: the last one has the score
        k = label if numbers.labels is None else list(numbers.labels).index(label)
        weights = numbers.values[:, k]
        order = np.argsort(-np.abs(weights), kind="stable")[:num_features]
        error = np.zeros(len(weights)) if numbers.std_error is None else numbers.std_error[:, k]
        used = explanation.dummy_label if explanation.mode == "regression" else label
        explanation.local_exp[used] = [(int(numbered[j]), float(weights[j])) for j in order]
        explanation.std_errors[used] = {int(numbered[j]): float(error[j]) for j in order}
        explanation.intercept[used] = float(numbers.intercept[k])
        explanation.scores[used] = float(numbers.r_squared[k])
        explanation.local_preds[used] = float(numbers.local_prediction[k])
        explanation.score, explanation.local_pred = explanation.scores[used], np.array([explanation.local_preds[used]])
    if explanation.mode == "regression":
        explanation.local_exp[0] = [(j, -weight) for j, weight in explanation.local_exp[1]]
        explanation.intercept[0] = explanation.intercept[1]
