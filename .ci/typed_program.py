"""A user's small program, for type checkers: the installed package tells its types."""

from typing import assert_type

import whybox as wb


def explained(e: wb.Explanation) -> None:
    """Public names have types of their own, not Any."""
    assert_type(wb.load("shap.parquet"), wb.Explanation | wb.Effects)
    assert_type(wb.concat([e, e]), wb.Explanation)
    assert_type(wb.__version__, str)
