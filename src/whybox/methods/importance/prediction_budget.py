"""How often every row can be predicted with every player changed, within the predictions that are allowed."""

from __future__ import annotations

from typing import Final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, LimitError
from whybox.methods.common.spot_checks import spot_predictions
from whybox.methods.importance.rows_problem import RowsProblem

__all__ = ["DEFAULT_PREDICTIONS_A_ROW", "DEFAULT_TOL", "allowed_rounds", "not_converged_note"]

DEFAULT_PREDICTIONS_A_ROW: Final = 200  # of all players together
DEFAULT_TOL: Final = 0.02  # Monte-Carlo error to reach, as a share of the largest value


def allowed_rounds(problem: RowsProblem, what: str, others: int = 0) -> int:
    """Return how many rounds are allowed: in one, every row is predicted once with each player changed. One at least.

    Args:
        what: what the method calls a round, for the message. others: predictions of the method besides the rounds and the rows as they are.

    Raises:
        LimitError: `max_evals` does not allow one, or not those asked for.
    """
    count, limit, asked = len(problem), problem.options.max_evals, problem.options.rounds
    a_round = count * problem.players.count
    if asked is not None and limit is None:
        return asked
    if limit is None:
        return max(1, (DEFAULT_PREDICTIONS_A_ROW * count - others) // a_round)
    others += problem.n_rows_checked + count + spot_predictions(problem.options.spot_checks, limit)
    if limit < others + a_round:
        raise LimitError(
            f"one {what} of all players takes {others + a_round:,} predictions of single rows. Pass fewer rows, join players, or raise ",
            Argument("max_evals", limit), ".",
        )  # fmt: skip
    allowed = (limit - others) // a_round
    if asked is None:
        return allowed
    if allowed < asked:
        raise LimitError(
            Argument("rounds", asked), f" take {others + asked * a_round:,} predictions of single rows. Ask for fewer, or raise ",
            Argument("max_evals", limit), ".",
        )  # fmt: skip
    return asked


def not_converged_note(errors: Floats, values: Floats, limit: str = "max_evals") -> str:
    """Return what to tell the reader where the predictions that are allowed do not make the Monte-Carlo errors as small as asked; (players,) each.

    `limit` is the option that allows more.
    """
    if np.isnan(errors).any():
        return f"NOT CONVERGED: one round alone has no Monte-Carlo error; raise {limit}."
    return f"NOT CONVERGED: the largest Monte-Carlo error is {errors.max():.2g}, and the largest value {np.abs(values).max():.2g}; raise {limit}."
