"""How many predictions games of any model may take: those of an engine, beside those of rows, background and checks.

``max_evals`` bounds all of them together. Where it is not given, the engine has its own allowance, and the others come on top.
"""

from __future__ import annotations

from typing import Final

from whybox.errors import Argument, LimitError, Part
from whybox.methods.common.spot_checks import DEFAULT_SPOT_PREDICTIONS
from whybox.models.additive import Additive
from whybox.models.base import Model
from whybox.models.linear import Linear

__all__ = [
    "WORTHS_KEPT",
    "allowance_text",
    "checks_reserved",
    "engine_budget",
    "evals_per_row",
    "is_sum_over_columns",
    "reserved_text",
]

EVALS_PER_ROW: Final = 2_000  # predictions a row, where max_evals is not given
EVALS_PER_ROW_OF_SUMS: Final = (
    20_000  # of a model that is read as a sum over columns: they take about the time of 2,000 of another
)
WORTHS_KEPT: Final = 128  # hybrids of an estimate, for spot checks; half of them from all rows and rounds


def is_sum_over_columns(model: Model) -> bool:
    """Whether a model is read as a sum over its columns behind a link: its predictions are next to free."""
    return isinstance(model, (Linear, Additive))


def evals_per_row(model: Model) -> int:
    """Return the predictions that a row may take where ``max_evals`` is not given."""
    return EVALS_PER_ROW_OF_SUMS if is_sum_over_columns(model) else EVALS_PER_ROW


def checks_reserved(spot_checks: int | None, *, of_worths: int = 0) -> int:
    """Return how many predictions are kept for spot checks where ``max_evals`` bounds all predictions.

    Args:
        spot_checks: as asked. of_worths: predictions of one worth, of an answer whose worths are computed again; 0: of single hybrids alone.
    """
    if spot_checks is not None:
        return spot_checks if of_worths else min(spot_checks, WORTHS_KEPT)
    return max(DEFAULT_SPOT_PREDICTIONS, DEFAULT_SPOT_PREDICTIONS // 2 + of_worths) if of_worths else WORTHS_KEPT


def engine_budget(max_evals: int | None, beside: int, rows: int, background_rows: int, per_row: int) -> int:
    """Return the predictions that are left for an engine and for spot checks.

    Args:
        beside: predictions that an answer takes in any case. per_row: what each row may take where ``max_evals`` is not given.

    Raises:
        LimitError: there are none.
    """
    if max_evals is None:
        return per_row * rows
    if max_evals < beside:
        raise LimitError(
            f"{beside:,} predictions are needed for {rows:,} row{'s' * (rows != 1)}, {background_rows:,} background "
            f"row{'s' * (background_rows != 1)} and the check that the model "
            "always gives the same outputs, before any coalition is evaluated; that is more than ",
            Argument("max_evals", max_evals),
            f". Raise it (without it, {beside + per_row * rows:,} are allowed here), or pass fewer background rows.",
        )
    return max_evals - beside


def allowance_text(max_evals: int | None, budget: int, per_row: int) -> str:
    """Return how many predictions an engine may make, and what counts, in words that follow "within"."""
    if max_evals is None:
        return f"the {budget:,} allowed ({per_row:,} a row; those of rows, background and checks come on top)"
    return f"the {budget:,} that max_evals leaves beside rows, background and checks"


def reserved_text(checks: int) -> tuple[Part, ...]:
    """Return what else is counted: the predictions that are kept for spot checks, and how to free them."""
    if not checks:
        return ()
    return (f", and {checks:,} to compute numbers again (", Argument("spot_checks", 0), " frees them)")
