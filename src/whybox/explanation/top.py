"""The reasons that weigh most in each row: a table of features, their values, contributions and shares, and sentences by a template."""

from __future__ import annotations

from string import Formatter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_whole_number
from whybox.data.series import build_frame
from whybox.errors import Argument, OptionError
from whybox.explanation.feature_values import cell_text, shown_values
from whybox.explanation.html import number_text
from whybox.explanation.labelled import Labelled
from whybox.explanation.negligible import negligible_size, without_rounding
from whybox.numerics.rounding import ratio_above_rounding

__all__ = ["KINDS_WITH_REASONS", "reasons_in_words", "shares_of_row", "top_positions", "top_reasons"]

KINDS_WITH_REASONS: Final = ("attribution", "local")
TEMPLATE_FIELDS: Final = ("feature", "value", "contribution", "share", "direction", "units")
_Positions = npt.NDArray[np.intp]


def top_reasons(e: Labelled, count: int = 4, *, template: str | None = None, library: str | None = None) -> Any:
    """Return the features that weigh most in each row, as a frame.

    Args:
        e: attributions, or local values of one width. count: how many features of each row and output.
        template: of a sentence for each reason, in a column ``reason``: text with ``{feature}``, ``{value}``, ``{contribution}``, ``{share}``,
            ``{direction}`` (raises, lowers, does not move) and ``{units}``. library: as for ``to_frame``.

    Returns:
        One line a reason, those of a row together, largest first: ``row`` and ``output`` where there are several, ``feature``, ``value`` (text where the
        columns are not all numbers; None of several columns together), ``contribution`` in the units of the explanation, its ``std_error`` where there is one,
        and ``share`` of the row's summed absolute contributions. A contribution that is no more than rounding is 0.

    Raises:
        OptionError: not attributions, interactions or texts among them; a count below 1; a template with an unknown field.
    """
    check_whole_number("count", count)
    if e.kind not in KINDS_WITH_REASONS or "feature" not in e.dims or "width" in e.dims:
        raise OptionError("top(...) is about attributions or local values of the features of rows; this has none. For an importance sort to_frame().")  # fmt: skip
    _check_template(template)
    has_rows, has_outputs = "row" in e.dims, "output" in e.dims
    shown = without_rounding(e)
    values = shown.values.reshape(len(e) if has_rows else 1, len(e.feature_names), -1).transpose(
        0, 2, 1
    )  # rows, outputs, features
    size = np.abs(np.nan_to_num(values))
    floor = np.broadcast_to(negligible_size(e), values.shape[1])[None, :, None]
    shares = ratio_above_rounding(size, size.sum(axis=2, keepdims=True), floor)
    order = np.argsort(-size, axis=2, kind="stable")[:, :, :count]
    row, output, _ = (axis.ravel() for axis in np.indices(order.shape))
    feature = order.ravel()
    cells = [shown_values(e, name) for name in e.feature_names]
    own = [None if (cell := cells[j]) is None else (cell[i],) for i, j in zip(row, feature, strict=True)]
    at = (row, output, feature)
    columns: dict[str, Any] = {}
    columns |= {"row": e.coords["row"][row]} if has_rows else {}
    columns |= {"output": e.coords["output"][output]} if has_outputs else {}
    columns |= {"feature": _objects([e.feature_names[j] for j in feature]), "value": _value_column(own), "contribution": values[at]}  # fmt: skip
    if shown.std_error is not None:
        columns["std_error"] = shown.std_error.reshape(len(values), len(e.feature_names), -1).transpose(0, 2, 1)[at]
    columns["share"] = shares[at]
    if template is not None:
        lines = zip(columns["feature"], own, columns["contribution"], columns["share"], strict=True)
        columns["reason"] = _objects([_reason(template, *line, e.units) for line in lines])
    return build_frame(columns, library=library or e.library)


def top_positions(one: Labelled, count: int) -> _Positions:
    """Return the positions of the largest contributions of one row and output, largest first."""
    return np.argsort(-np.abs(np.nan_to_num(one.values)), kind="stable")[:count]


def shares_of_row(one: Labelled) -> npt.NDArray[np.float64]:
    """Return what share of the summed absolute contributions of one row and output each feature has, (features,); 0 where all are rounding."""
    size = np.abs(np.nan_to_num(one.values))
    return ratio_above_rounding(size, size.sum(), negligible_size(one).sum())


def reasons_in_words(one: Labelled, at: _Positions, template: str, without_value: str | None = None) -> list[str]:
    """Return the reasons at some positions of one row and output as texts by a template.

    Args:
        template: as for :func:`top_reasons`. without_value: of features that stand for several columns; None: the same, with an empty value.
    """
    share = shares_of_row(one)
    texts = []
    for j in at:
        values = shown_values(one, one.feature_names[j])
        own = None if values is None else (values[0],)
        shown = without_value if own is None and without_value is not None else template
        texts.append(_reason(shown, one.feature_names[j], own, float(one.values[j]), float(share[j]), one.units))
    return texts


def _reason(template: str, feature: str, value: tuple[Any] | None, contribution: float, share: float, units: str) -> str:  # fmt: skip
    return template.format(
        feature=feature,
        value="" if value is None else cell_text(value[0]),
        contribution=number_text(contribution, 3, sign=True),
        share=f"{100 * share:.0f} %",
        direction="raises" if contribution > 0 else "lowers" if contribution < 0 else "does not move",
        units=units,
    )


def _check_template(template: Any) -> None:
    if template is None:
        return
    if not isinstance(template, str):
        raise OptionError(Argument("template", template), " is text, like '{feature} = {value} {direction} it by {contribution}'.")  # fmt: skip
    try:
        names = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise OptionError(Argument("template", template), f": {error}. Write {{{{ for a brace.") from None
    unknown = [name for name in names if name not in TEMPLATE_FIELDS]
    if unknown:
        raise OptionError(Argument("template", template), f" has the unknown field {unknown[0]!r}.", known=TEMPLATE_FIELDS)  # fmt: skip


def _value_column(values: list[tuple[Any] | None]) -> npt.NDArray[Any]:
    if values and all(v is not None and isinstance(v[0], (float, np.floating)) for v in values):
        return np.array([v[0] for v in values if v is not None], dtype=np.float64)
    return _objects([None if v is None else cell_text(v[0]) for v in values])


def _objects(values: list[Any]) -> npt.NDArray[Any]:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out
