"""The problem of importance by a score of all rows together: a model, rows with their truth and weights, players, and the scorer; all checked before any work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.library_calls import suppress_warnings
from whybox.data.series import is_missing
from whybox.data.table import Floats, Table
from whybox.errors import Argument, InputError, OptionError
from whybox.methods.common.columns import Ints
from whybox.methods.common.resolved_model import ResolvedModel, resolve_model
from whybox.methods.common.row_losses import resolve_for_loss, separate_truth
from whybox.methods.importance.loss_problem import drop_weightless
from whybox.methods.importance.options import ImportanceOptions
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.importance.rows_problem import RowsProblem, check_several_rows, rows_with_offsets
from whybox.methods.importance.scorers import SCORED_METHODS, Scorer, StandIn, is_classifier, resolve_scorer
from whybox.models.losses import class_probabilities, likeliest_classes, one_value_a_row, true_classes, true_numbers

__all__ = ["ScoreProblem", "resolve_score_problem"]

MIN_ROWS: Final = 4  # two groups of two


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class ScoreProblem(RowsProblem):
    """Rows, their truth, and how a model's predictions of them are scored.

    Attributes:
        truth: (rows,), as the scorer takes it. scorer: of all rows together.
        estimator: whose own methods predict; None: predictions are those of :attr:`model`.
        classes: of a classifier, sorted; None: it predicts numbers. class_order: where each of them is among :attr:`model`'s probabilities.
    """

    truth: Any
    scorer: Scorer
    estimator: Any
    classes: npt.NDArray[Any] | None
    class_order: Ints | None = None

    @property
    def units(self) -> str:
        """Units of the values, in words."""
        return f"drop of {self.scorer.name}"

    @property
    def measure(self) -> dict[str, str]:
        """What is compared, for the settings of the evidence."""
        return {"scoring": self.scorer.name}

    def stand_in(self, table: Table, predict: Callable[[], Floats], count: Callable[[int], None]) -> StandIn:
        """Return what scikit-learn's scorers take for an estimator, of all rows by their positions.

        Args:
            table: all rows, as they are or changed. predict: their predictions, (rows, outputs) of the selection, where there is no estimator.
            count: is told how many rows the estimator predicts.
        """
        return StandIn(self._answers(table, predict, count), self.classes)

    def score_predictions(self, predictions: StandIn, rows: Ints) -> float:
        """Return the score of predictions of some rows; of several rounds, one after the other, positions go on beyond the number of rows."""
        return self._score(predictions.estimator, rows[:, None], rows % len(self))

    def score_rows(self, table: Table, rows: Ints, count: Callable[[int], None]) -> float:
        """Return the score that a function takes of the estimator itself and some rows of a table."""
        count(len(rows))
        return self._score(self.estimator, table.rows(rows).for_transformers(), rows)

    def _score(self, model: Any, X: Any, rows: Ints) -> float:
        truth = self.truth.iloc[rows] if hasattr(self.truth, "iloc") else self.truth[rows]
        weighted = self.options.sample_weight is not None
        return self.scorer(model, X, truth, self.weights[rows] * len(self) if weighted else None)

    def _answers(
        self, table: Table, predict: Callable[[], Floats], count: Callable[[int], None]
    ) -> dict[str, Callable[[], npt.NDArray[Any]]]:
        """Predictions of all rows, by the name of an estimator's method."""
        if self.estimator is not None:

            def ask(method: str) -> npt.NDArray[Any]:
                count(len(table))
                with suppress_warnings():
                    return np.asarray(getattr(self.estimator, method)(table.for_transformers()))

            names = [m for m in SCORED_METHODS if hasattr(self.estimator, m)]
            return {name: lambda name=name: ask(name) for name in names}  # type: ignore[misc]  # a default binds the name
        classes, order = self.classes, self.class_order
        if classes is None or order is None:
            name = "predict" if classes is None else "decision_function"
            return {name: lambda: predict()[:, 0]}

        def probabilities() -> Floats:
            return class_probabilities(self.model.outputs, predict())[:, order]

        return {"predict_proba": probabilities, "predict": lambda: classes[likeliest_classes(probabilities())]}


def resolve_score_problem(problem: ImportanceProblem, *, check: bool = True) -> ScoreProblem:
    """Read the model, align the rows, find the scorer, and match the truth with the model's classes.

    Args:
        problem: as the caller gave it. check: False where there is only a plan to make, and the model's own predict is not compared yet.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    options = problem.options
    rows, y = separate_truth(problem.X, problem.y)
    scorer = resolve_scorer(options.scoring, weighted=options.sample_weight is not None)
    estimator = problem.model if hasattr(problem.model, "predict") and hasattr(problem.model, "fit") else None
    if options.offset is not None:
        _refuse_offset_of_estimator(scorer)
        estimator = None  # whose own methods know no offsets
    if estimator is None and scorer.reads_rows:
        raise OptionError(
            Argument("scoring", scorer.name), f" calls an estimator, and a {type(problem.model).__name__} is none; give the name of a score."
        )  # fmt: skip
    rows, y, options = drop_weightless(rows, y, options)
    _refuse_choice_of_outputs(options, estimated=estimator is not None)
    if estimator is None:
        resolved, truth, classes, order = _predicted_by_model(problem.model, rows, y, options, scorer)
    else:
        resolved = resolve_model(problem.model, rows, replace(options, output=None, scale="response"))
        truth, order = _given_truth(y, len(rows), scorer), None
        classes = np.asarray(estimator.classes_) if is_classifier(estimator) else None
    check_several_rows(resolved, MIN_ROWS)
    return ScoreProblem(
        **rows_with_offsets(resolved, options, check=check),
        options=options,
        spec=problem.spec,
        truth=truth,
        scorer=scorer,
        estimator=estimator,
        classes=classes,
        class_order=order,
    )


def _refuse_offset_of_estimator(scorer: Scorer) -> None:
    """Refuse a function that asks the estimator itself, which does not know the offsets of the rows.

    Raises:
        OptionError: it is one.
    """
    if scorer.reads_rows:
        raise OptionError(
            Argument("offset"),
            f" is added to predictions that whybox makes, and {scorer.name} asks the estimator itself: give the name of a score, ",
            Argument("scoring", "neg_mean_poisson_deviance"),
            ", or a loss.",
        )


def _refuse_choice_of_outputs(options: ImportanceOptions, *, estimated: bool) -> None:
    """Refuse options that say what is predicted, where the scorer does.

    Raises:
        OptionError: there are such.
    """
    names = ("scale", "output", "response_method") if estimated else ("scale",)
    for name in names:
        if getattr(options, name) is not None:
            raise OptionError(
                Argument("scoring"), ": the scorer chooses what is predicted; leave ", Argument(name), " out."
            )


def _predicted_by_model(
    model: Any, rows: Table, y: Any, options: ImportanceOptions, scorer: Scorer
) -> tuple[ResolvedModel, npt.NDArray[Any], npt.NDArray[Any] | None, Ints | None]:
    """The model, the truth, its classes in order, and where they are among its probabilities: of a model without an estimator, such as a file or a function."""
    resolved, labels = resolve_for_loss(model, rows, options)
    count = len(resolved.rows)
    if labels is not None:
        values = _values_of_labels(labels)
        order = np.argsort(values, kind="stable").astype(np.int64)
        return resolved, values[true_classes(y, labels, count)], values[order], order
    if scorer.ranks:
        truth = _given_truth(y, count, scorer)
        different = np.unique(truth)
        if len(different) == 2:
            return resolved, truth, different, None
    return resolved, true_numbers(y, count), None, None


def _values_of_labels(labels: tuple[str, ...]) -> npt.NDArray[Any]:
    """Labels of classes as whole numbers where all are: scores of two classes take 1 for the positive one."""
    try:
        numbers = [int(label) for label in labels]
    except ValueError:
        return np.array(labels)
    return np.array(numbers if [str(n) for n in numbers] == list(labels) else labels)


def _given_truth(y: Any, rows: int, scorer: Scorer) -> Any:
    """The truth as the caller gave it; an array, unless the scorer is a function and gets the caller's own series.

    Raises:
        InputError: missing values, several columns, or another number of values.
    """
    values = one_value_a_row(y, rows).tolist()
    missing = sum(map(is_missing, values))
    if missing:
        raise InputError(Argument("y"), f" has {missing:,} missing values; leave those rows out.")
    return y if scorer.reads_rows and hasattr(y, "iloc") else np.array(values)
