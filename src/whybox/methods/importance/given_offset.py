"""Offsets as the caller gave them: an array, a column of the rows, or those of a DMatrix, Pool or Dataset; and those of training rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any

from whybox.data.library_containers import rows_of_container
from whybox.data.table import as_table
from whybox.errors import Argument, OptionError
from whybox.methods.common.columns_beside import refuse_same_column, without_column
from whybox.methods.common.offset_column import read_for_offsets
from whybox.methods.common.row_offsets import resolve_offsets, rows_and_offset, separate_offset
from whybox.methods.importance.options import ImportanceOptions
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.registry import find
from whybox.models.base import Model

__all__ = ["rows_of_methods", "separate_given_offset"]


def rows_of_methods(
    X: Any, chosen: Mapping[str, ImportanceOptions]
) -> tuple[dict[str, Any], dict[str, ImportanceOptions]]:
    """Return the rows of each of several methods as a table, once, and its options: with the offsets of a container of rows, where it takes offsets.

    Args:
        X: as it was given, a number of rows, or None. chosen: the options of each method, by its id.

    Raises:
        OptionError: offsets are given twice. InputError: as of :func:`as_table`.
    """
    options = dict(chosen)
    if X is None or isinstance(X, Integral):
        return dict.fromkeys(options, X), options
    takers = [name for name in options if _takes_offset(name)]
    given = next((options[name].offset for name in takers if options[name].offset is not None), None)
    rows, offset = rows_and_offset(X, given) if takers else (as_table(X), None)
    if given is None and offset is not None:
        options |= {name: replace(options[name], offset=offset) for name in takers}
    without = without_column(rows, offset) if isinstance(offset, str) else rows
    return {name: rows if name in takers else without for name in options}, options


def separate_given_offset(problem: ImportanceProblem) -> ImportanceProblem:
    """Return the problem with the offset of each row as :class:`RowOffsets`, out of the columns of the rows, and so of the rows of training.

    The model is read for this, and stays read, but where the method trains it again.

    Raises:
        OptionError: there are no rows or no such column, the model reads it, it is that of the truth, or offsets are given twice.
        UnsupportedModelError: the model takes none.
        InputError, NonFiniteError: they are none.
    """
    options = problem.options
    if not _takes_offset(options.method):
        return problem
    if problem.X is None or isinstance(problem.X, Integral):
        if options.offset is not None:
            raise OptionError(Argument("offset"), " has a number for each row: pass the rows, ", Argument("X"), ".")
        return problem
    if options.offset is None and rows_of_container(problem.X, "X") is None:
        return problem
    rows, given = rows_and_offset(problem.X, options.offset)
    if given is None:
        return replace(problem, X=rows)
    refuse_same_column(problem.y, given)
    model = read_for_offsets(problem.model, options.response_method)
    rows, values = separate_offset(rows, given, model)
    offset = resolve_offsets(model, values, len(rows))
    trained = problem if options.train is None else _separate_training_rows(problem, given, model)
    return replace(
        trained,
        model=problem.model if "train" in problem.spec.needs else model,
        X=rows,
        options=replace(trained.options, offset=offset),
    )


def _takes_offset(method: str) -> bool:
    return "offset" in find("importance", method).option_names


def _separate_training_rows(problem: ImportanceProblem, given: Any, model: Model) -> ImportanceProblem:
    """The problem with the offsets of the training rows beside these and their truth.

    Raises:
        OptionError: they have none. Others as :func:`separate_given_offset`.
    """
    train = problem.options.train
    if isinstance(train, (tuple, list)) and len(train) == 3:
        X, y, own = train
    else:
        (X, y), own = problem.train_rows, given if isinstance(given, str) else None
    rows, own = rows_and_offset(X, own)
    if own is None:
        raise OptionError(
            Argument("train"),
            " needs the offsets of its rows too: pass ",
            Argument("train", example="(rows, truth, offset)"),
            ", or the name of a column that both tables have as ",
            Argument("offset"),
            ".",
        )
    rows, own = separate_offset(rows, own, model)
    values = resolve_offsets(model, own, len(rows))
    return replace(problem, options=replace(problem.options, train=(rows, y)), train_offset=values)
