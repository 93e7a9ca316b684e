"""The result of importance on rows with their truth: values with errors, intervals and ranks, and their evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation, as_labels
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.common.evidence import make_evidence
from whybox.methods.common.shifted_outputs import offset_fingerprints, offset_settings
from whybox.methods.common.spot_checks import NOT_CHECKED
from whybox.methods.importance.loss_problem import LossProblem
from whybox.methods.importance.row_errors import errors_over_rows
from whybox.methods.importance.rows_problem import RowsProblem
from whybox.numerics.statistics import RunningMoments, mean_p_value

__all__ = ["PlayerValues", "exact_pair_values", "importance_result", "pair_values", "paired_values"]

EXACT_NOTE: Final = "Exact for these rows: all pairs of two different rows (the U-statistic); the error is that of the rows as a sample of others like them."
ROLE_NOTE: Final = (
    "Whether these rows were held out from training or trained on was not said: give their role, 'held-out' or 'train'."
)


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class PlayerValues:
    """What a method found for each player.

    Attributes:
        values: (players,). influence: (rows, players), what each row contributes: values are weighted means of it but for a constant, and their errors follow from
            its spread over rows. influence_weights: (rows,), which sum to one; None: those of the problem's rows.
        baseline: (rows,), the loss of each row as it is; None: there is none.
        monte_carlo_error: (players,), the error that the values have for these rows, added to that over rows; None: there is none, or the influence holds it.
        kernel: what computed it. exact: whether the values have no error of their own for these rows. predictions: of single rows, for this.
        p_value: (players,), NaN where there is no test; None: the method has none. test: which test that is, in words.
        notes: for the reader. extras: further numbers, name -> (dims, array). spot_checks: what was recomputed.
    """

    values: Floats
    influence: Floats
    baseline: Floats | None
    kernel: str
    exact: bool
    predictions: int
    influence_weights: Floats | None = None
    monte_carlo_error: Floats | None = None
    p_value: Floats | None = None
    test: str = ""
    notes: tuple[str, ...] = ()
    extras: Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = field(default_factory=dict)
    spot_checks: SpotChecks = NOT_CHECKED


def pair_values(problem: LossProblem, of_row: Floats, of_donor: Floats, **found: Any) -> PlayerValues:
    """Return means over pairs of two different rows, a U-statistic, with the influence of each row on them (Hajek's projection).

    Args:
        of_row, of_donor: (rows, players), sums over pairs or estimates of these, see `PairDifferences`. found: the other fields.
    """
    weights = problem.weights
    scale = 1.0 / (1.0 - float((weights**2).sum()))
    return PlayerValues(values=weights @ of_row * scale, influence=(of_row + of_donor) * scale, **found)


def exact_pair_values(problem: LossProblem, of_row: Floats, of_donor: Floats, **found: Any) -> PlayerValues:
    """Return :func:`pair_values` of the sums over all pairs."""
    return pair_values(problem, of_row, of_donor, exact=True, notes=(EXACT_NOTE,), **found)


def paired_values(problem: LossProblem, differences: Floats, **found: Any) -> PlayerValues:
    """Return the means of what each row loses more, (rows, players), with a one-sided t-test of each: is it above zero? NaN where all are 0.

    Args:
        differences: paired by row. found: the other fields.
    """
    moments = RunningMoments((differences.shape[1],))
    moments.add_rows(differences, problem.weights)
    some = np.any(differences[problem.weights > 0] != 0.0, axis=0)
    tests = zip(moments.mean, moments.std_error, some, strict=True)
    freedom = moments.effective_count - 1.0
    p_value = np.array([mean_p_value(float(m), float(e), freedom) if s else np.nan for m, e, s in tests])
    return PlayerValues(
        values=problem.weights @ differences, influence=differences, exact=False, p_value=p_value, **found
    )


def importance_result(problem: RowsProblem, found: PlayerValues, *, seconds: float) -> Explanation:
    """Return the explanation of kind ``"importance"``: values, errors, intervals, tests and ranks of players, with the evidence."""
    options = problem.options
    weights = problem.weights if found.influence_weights is None else found.influence_weights
    errors = errors_over_rows(
        found.values,
        found.influence,
        weights,
        options.level,
        monte_carlo_error=found.monte_carlo_error,
        p_value=found.p_value,
    )
    extras: dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = {
        **errors.extras,
        **found.extras,
    }
    if found.baseline is not None:
        extras["baseline_loss"] = ((), np.array(float(problem.weights @ found.baseline)))
    if problem.linkage is not None:
        extras["linkage"] = (("join", "column"), problem.linkage)
    test = () if not found.test else (f"p-values: {found.test}; q-values: Benjamini and Yekutieli.",)
    role = () if options.role else (ROLE_NOTE,)
    notes = (*problem.model.notes, *problem.prepared_rows.remarks(), *problem.offset_notes, *role, *test)
    players, names = problem.players, problem.table.names
    return Explanation(
        kind="importance",
        library=problem.table.library,
        values=found.values,
        dims=("feature",),
        coords={"feature": as_labels(players.names)},
        base=np.zeros(()),
        units=problem.units,
        std_error=errors.std_error,
        evidence=make_evidence(
            problem,
            problem.rows,
            spec=problem.spec,
            kernel=found.kernel,
            exact=found.exact,
            calls=found.predictions,
            notes=(*notes, *found.notes, *errors.notes),
            seed=options.seed,
            seconds=seconds,
            spot_checks=found.spot_checks,
            units=problem.units,
            settings={
                **problem.measure,
                "role": options.role or "not said",
                "level": options.level,
                **offset_settings(problem.shifted),
            },
            fingerprints=offset_fingerprints(problem.shifted),
        ),
        players=players.columns_of(names),
        extras=extras,
    )
