"""``PartialDependenceDisplay`` of scikit-learn, and ``plot_partial_dependence``: drawn by scikit-learn from the numbers of :func:`whybox.effects`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import sklearn.inspection

from whybox.compat.columns import names_of_columns
from whybox.compat.sklearn.dependence import (
    DependenceQuestion,
    column_deciles,
    column_position,
    is_categorical,
)
from whybox.data.table import as_table
from whybox.errors import Argument, OptionError
from whybox.methods.importance.scorers import is_classifier

__all__ = ["PartialDependenceDisplay", "plot_partial_dependence"]


@final
class PartialDependenceDisplay(sklearn.inspection.PartialDependenceDisplay):  # type: ignore[misc]  # scikit-learn has no types
    """scikit-learn's display: its arguments, attributes and figures. Each of ``pd_results`` also has the ``explanation`` of :func:`whybox.effects`."""

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        features: Any,
        *,
        sample_weight: Any = None,
        categorical_features: Any = None,
        feature_names: Any = None,
        target: Any = None,
        response_method: str = "auto",
        n_cols: int = 3,
        grid_resolution: int = 100,
        percentiles: tuple[float, float] = (0.05, 0.95),
        custom_values: Any = None,
        method: str = "auto",
        n_jobs: int | None = None,
        verbose: int = 0,
        line_kw: dict[str, Any] | None = None,
        ice_lines_kw: dict[str, Any] | None = None,
        pd_line_kw: dict[str, Any] | None = None,
        contour_kw: dict[str, Any] | None = None,
        ax: Any = None,
        kind: Any = "average",
        centered: bool = False,
        subsample: Any = 1000,
        random_state: Any = None,
    ) -> PartialDependenceDisplay:
        """Compute partial dependence or ICE of some features, and draw them.

        Args:
            n_jobs: threads of tree ensembles; it changes no number. verbose: whether a bar is asked for; one is shown after two seconds in any case.
                Others as of scikit-learn and of :func:`whybox.compat.sklearn.inspection.partial_dependence`.

        Raises:
            OptionError: an argument that is not honoured or not known; others as :func:`whybox.effects`.
        """
        table = as_table(X)
        names = names_of_columns(feature_names, table.names)
        categorical = is_categorical(names, categorical_features)
        entries = [_entry(names, each) for each in features]
        kinds = [kind] * len(entries) if isinstance(kind, str) else [*kind]
        _check_kinds(entries, kinds, categorical)
        _check_subsample(subsample)
        question = DependenceQuestion(
            estimator=estimator,
            table=table,
            names=names,
            categorical=categorical,
            sample_weight=sample_weight,
            response_method=response_method,
            percentiles=percentiles,
            grid_resolution=grid_resolution,
            custom_values=custom_values,
            method=method,
            n_jobs=n_jobs,
        )
        target_idx = _class_position(estimator, target)
        results = question.answer(entries, kinds)
        if target_idx is None:
            first = results[0]
            target_idx = _task_position(len(first["average" if "average" in first else "individual"]), target)
        display = cls(
            pd_results=results,
            features=entries,
            feature_names=names,
            target_idx=target_idx,
            deciles={p: column_deciles(table, p) for entry in entries for p in entry if not categorical[p]},
            kind=kind,
            subsample=subsample,
            random_state=random_state,
            is_categorical=[tuple(categorical[p] for p in entry) for entry in entries],
        )
        drawn: PartialDependenceDisplay = display.plot(
            ax=ax,
            n_cols=n_cols,
            line_kw=line_kw,
            ice_lines_kw=ice_lines_kw,
            pd_line_kw=pd_line_kw,
            contour_kw=contour_kw,
            centered=centered,
        )
        return drawn


def plot_partial_dependence(estimator: Any, X: Any, features: Any, **arguments: Any) -> PartialDependenceDisplay:
    """Draw partial dependence or ICE, as the function of this name did before scikit-learn 1.2.

    Args:
        arguments: by name, those of :meth:`PartialDependenceDisplay.from_estimator`.

    Raises:
        OptionError: as of :meth:`PartialDependenceDisplay.from_estimator`.
    """
    return PartialDependenceDisplay.from_estimator(estimator, X, features, **arguments)


def _entry(names: Sequence[Any], given: Any) -> tuple[int, ...]:
    members = [given] if isinstance(given, (str, int, np.integer)) else [*given]
    return tuple(column_position(names, each) for each in members)


def _check_kinds(entries: Sequence[tuple[int, ...]], kinds: Sequence[str], categorical: Sequence[bool]) -> None:
    """Check that each kind can be drawn.

    Raises:
        OptionError: another number of kinds than of features, or curves of rows where there is no place for them.
    """
    if len(kinds) != len(entries):
        raise OptionError(
            Argument("kind"), f" has {len(kinds):,} entries, and ", Argument("features"), f" {len(entries):,}."
        )
    for entry, kind in zip(entries, kinds, strict=True):
        own = [categorical[p] for p in entry]
        if kind != "average" and (len(entry) > 1 or any(own)):
            raise OptionError(
                Argument("kind", kind),
                " has no figure for two features together or for categories; write 'average' for these.",
            )
        if len(set(own)) > 1:
            raise OptionError("a number and a category together have no figure; draw wb.effects(model, X, [(a, b)]).")


def _check_subsample(subsample: Any) -> None:
    """Check how many curves of rows are drawn.

    Raises:
        OptionError: neither a positive whole number nor a share between 0 and 1.
    """
    if subsample is None:
        return
    whole = isinstance(subsample, (int, np.integer))
    if not isinstance(subsample, (int, float, np.number)) or subsample <= 0 or not (whole or subsample < 1):
        raise OptionError(
            Argument("subsample", subsample), " must be a positive whole number, or a share between 0 and 1."
        )


def _class_position(estimator: Any, target: Any) -> int | None:
    """Which output is drawn of a classifier; None where only the outputs say that.

    Raises:
        OptionError: several classes, and no known one of them is named.
    """
    if not is_classifier(estimator):
        return None
    classes = np.asarray(estimator.classes_).tolist()
    if len(classes) <= 2:
        return 0
    if target not in classes:
        raise OptionError(Argument("target", target), " must be one of the classes.", known=classes)
    return int(classes.index(target))


def _task_position(outputs: int, target: Any) -> int:
    if outputs == 1:
        return 0
    if not isinstance(target, (int, np.integer)) or not 0 <= target < outputs:
        raise OptionError(Argument("target", target), f" must be the position of one of {outputs:,} outputs, from 0.")
    return int(target)
