"""The background of verbs that explain rows, beside whose columns stand the truth or an offset."""

from __future__ import annotations

from typing import Any

from whybox.data.library_containers import rows_of_container
from whybox.data.table import Table, as_table
from whybox.methods.common.columns_beside import refuse_column_of_estimator, refuse_same_column, without_column
from whybox.methods.common.row_losses import refuse_read_truth
from whybox.methods.common.row_offsets import OFFSET_ROLE

__all__ = ["background_table"]


def background_table(model: Any, background: Any, y: Any, offset: Any) -> Table | None:
    """Return the background as a table, without the columns of the truth and of the offset where `y` and `offset` name some; its own offsets never enter.

    Raises:
        OptionError: the model reads such a column, or both name the same one.
    """
    refuse_same_column(y, offset)
    refuse_read_truth(model, y)
    refuse_column_of_estimator(model, offset, "offset", OFFSET_ROLE)
    if background is None:
        return None
    held = rows_of_container(background, "the background")
    table = as_table(background if held is None else held.rows, what="the background")
    for name in (y, offset):
        table = without_column(table, name) if isinstance(name, str) else table
    return table
