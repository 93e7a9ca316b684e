"""The answer for all rows: exact or sampled coefficients, and how well a linear model with them follows the model near each row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, InputError, LimitError, UnsupportedModelError
from whybox.methods.common.columns import Ints
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.lime.certify import are_certified, certify_rows
from whybox.methods.lime.design import LocalDesign
from whybox.methods.lime.exact import ExactLaws, exact_unavailable, exact_values
from whybox.methods.lime.narrow import MIN_EFFECTIVE_SHARE, NarrowDraws, add_narrow_values, own_spread
from whybox.methods.lime.options import LimeOptions
from whybox.methods.lime.problem import Neighbourhood
from whybox.methods.lime.sampled import local_spread, local_values
from whybox.methods.lime.shared_sample import REPLICATES, DrawnRows, LocalValues, RawDraws, SharedSample

__all__ = [
    "FREEDOM",
    "LocalModel",
    "SampleBudget",
    "certificates",
    "chosen_method",
    "default_evals",
    "exact_model",
    "narrow_note",
    "sample_budget",
    "sampled_model",
    "settled",
]

DEFAULT_TOP: Final = 5
DEFAULT_TOL: Final = 0.02
DEFAULT_EVALS_A_ROW: Final = 2_000
MIN_DEFAULT_EVALS: Final = 20_000
FIRST_DRAWS: Final = 64  # of each scrambling
MIN_DRAWS: Final = 8
SPREAD_DRAWS: Final = 64  # of each scrambling, for the spread of outputs around exact values
OWN_SPREAD_DRAWS: Final = 128  # of a row that a common sample hardly reaches
MIN_EFFECTIVE_DRAWS: Final = 10.0
FREEDOM: Final = REPLICATES - 1  # of the errors
SAME_SIZE: Final = 1e-12  # relative: what rounding may add to an exact value
MAX_LOOKS: Final = 12  # how often a growing sample may be looked at


@final
@dataclass(frozen=True, eq=False)
class LocalModel:
    """Coefficients near each row and what goes with them.

    Attributes:
        found: the coefficients. exact: whether they have no error. kernel: what computed them, in words. converged: (rows,), whether the largest are settled,
            or known to be as good as equal. draws: of the sample. near: (rows,), those that share the sample. sample: that all rows share. looks: how often it
            was looked at, at most. notes: for the reader. narrow: draws of some of the rows that have their own, to be checked.
    """

    found: LocalValues
    exact: bool
    kernel: str
    converged: npt.NDArray[np.bool_]
    draws: int
    near: npt.NDArray[np.bool_]
    sample: SharedSample | None = None
    looks: int = 1
    notes: tuple[str, ...] = ()
    narrow: tuple[NarrowDraws, ...] = ()


def chosen_method(neighbourhood: Neighbourhood) -> tuple[str, str | None]:
    """Return ``"exact"`` or ``"sampled"``, and why exact is not possible, if it is not.

    Raises:
        UnsupportedModelError: exact was asked for, and is not possible.
    """
    wanted = neighbourhood.options.method
    reason = exact_unavailable(neighbourhood) if wanted != "sampled" else None
    if wanted == "exact" and reason is not None:
        raise UnsupportedModelError(
            Argument("method", "exact"), f" is not possible: {reason}. Leave ", Argument("method"), " out to sample."
        )
    return ("sampled" if wanted == "sampled" or reason is not None else "exact"), reason


def exact_model(design: LocalDesign, spread: SharedSample, laws: ExactLaws | None) -> LocalModel:
    """Return exact coefficients; only the spread of outputs, for R squared, is taken from a sample.

    Args:
        spread: a sample of the explainer, which grows here if it is empty. laws: of a tree ensemble.
    """
    problem = design.problem
    exact = exact_values(design, laws)
    selection = problem.selection
    values, mean = selection.select_values(exact.values), selection.select_predictions(exact.mean)
    if not spread.samples:
        spread.grow(SPREAD_DRAWS)
    variance = local_spread(design, spread)
    if not design.is_scaled.any():
        for row in np.flatnonzero(design.effective_size < MIN_EFFECTIVE_SHARE).tolist():
            variance[row] = own_spread(problem, spread.evaluator.predict, row, OWN_SPREAD_DRAWS)
    found = LocalValues(values, None, mean, variance, spread.evaluator.spent)
    every = np.ones(len(values), dtype=bool)
    return LocalModel(found, True, "exact", every, spread.draws * REPLICATES, every)


def default_evals(options: LimeOptions, rows: int) -> int:
    """How many predictions of single rows may be made."""
    return options.max_evals if options.max_evals is not None else max(DEFAULT_EVALS_A_ROW * rows, MIN_DEFAULT_EVALS)


@final
@dataclass(frozen=True, eq=False)
class SampleBudget:
    """How predictions of single rows are shared out.

    Attributes:
        shared: most for the sample that rows share. first_draws: of each scrambling, to begin with. near: (rows,), those that share it.
        narrow: positions of the other rows. narrow_draws: how many each of them has of its own. for_narrow: predictions that these take together.
    """

    shared: int
    first_draws: int
    near: npt.NDArray[np.bool_]
    narrow: Ints
    narrow_draws: int
    for_narrow: int


def sample_budget(design: LocalDesign, reserved: int) -> SampleBudget:
    """Share out the predictions that are allowed; the model is not evaluated.

    Args:
        reserved: predictions that are made besides.

    Raises:
        LimitError: even the fewest draws take more. InputError: no draw has weight near a row.
    """
    problem = design.problem
    left = default_evals(problem.options, len(problem.rows)) - reserved
    near = design.effective_size >= MIN_EFFECTIVE_SHARE
    narrow = np.flatnonzero(~near).astype(np.int64)
    if design.is_scaled.any():
        _refuse_far_rows(design, left)
        near, narrow = np.ones(len(near), dtype=bool), narrow[:0]
    unseen = int(problem.is_unseen[near].sum())
    fewest = MIN_DRAWS * REPLICATES * (1 + unseen) if near.any() else 0
    narrow_draws, for_narrow = _narrow_draws(design, len(narrow), left, fewest, reserved)
    first = _first_draws(unseen, left - for_narrow, reserved + for_narrow) if near.any() else FIRST_DRAWS
    return SampleBudget(left - for_narrow, first, near, narrow, narrow_draws, for_narrow)


def sampled_model(
    design: LocalDesign,
    budget: SampleBudget,
    drawn: DrawnRows,
    reserved: int,
    checked: Ints,
    raw: RawDraws | None = None,
) -> LocalModel:
    """Return coefficients from a sample that grows until they are settled, or no more predictions are allowed.

    Args:
        budget: as :func:`sample_budget` returns it. drawn: the rows to evaluate. reserved: predictions that are made besides.
        checked: positions of rows whose own draws are kept. raw: outputs of the drawn rows, where these are shared with other samples; or None.

    Raises:
        NonFiniteError: an output is NaN or infinite.
    """
    problem, options = design.problem, design.problem.options
    near, narrow, for_narrow = budget.near, budget.narrow, budget.narrow_draws
    evaluator = HybridEvaluator(problem.model, problem.selection, reserved=reserved)
    sample = SharedSample(drawn, evaluator, raw=raw)
    looks = 0
    done = np.zeros(len(problem.rows), dtype=bool)
    found: LocalValues | None = None
    while near.any():
        sample.grow(budget.first_draws if not sample.samples else sample.draws)
        looks += 1
        found = local_values(design, sample, near)
        done = settled(found, options, looks=MAX_LOOKS)
        following = sample.draws * REPLICATES
        if done[near].all() or evaluator.spent + following > budget.shared or looks == MAX_LOOKS:
            break
    if found is None:
        n, count = problem.first.shape
        outputs = len(problem.selection.names)
        empty = np.zeros((n, count, outputs))
        found = LocalValues(empty, empty.copy(), np.zeros((n, outputs)), np.zeros((n, outputs)), 0)
    notes = found.notes
    own_draws: tuple[NarrowDraws, ...] = ()
    if len(narrow):
        own_draws = add_narrow_values(design, evaluator, narrow, for_narrow, found, checked)
        done = settled(found, options, looks=MAX_LOOKS)
        notes = (*notes, *narrow_note(len(narrow), len(problem.rows), for_narrow))
    found = replace(found, predictions=evaluator.spent, notes=notes)
    return LocalModel(
        found, False, _draws_in_words(near), done, sample.draws * REPLICATES, near, sample, MAX_LOOKS, notes, own_draws
    )


def narrow_note(count: int, rows: int, draws: int) -> tuple[str, ...]:
    """Return what is said of rows with draws of their own: so many of all rows, with so many draws each; nothing where there are none."""
    if not count:
        return ()
    of_their_own = (
        f"{count:,} row{'s' * (count != 1)} of {rows:,} had draws of their own, because the kernel is narrow: "
        f"{draws:,} for each, with every feature moved across its border."
    )
    return (of_their_own,)


def _draws_in_words(near: npt.NDArray[np.bool_]) -> str:
    if near.all():
        return "one sample for all rows"
    return "one sample, and draws of some rows' own" if near.any() else "draws of each row's own"


def _narrow_draws(design: LocalDesign, count: int, left: int, fewest: int, reserved: int) -> tuple[int, int]:
    """How many draws each of `count` rows gets of its own, and how many predictions they take together.

    Args:
        left: predictions that are allowed. fewest: of these, that the other rows need. reserved: made besides.

    Raises:
        LimitError: even the fewest are too many.
    """
    if not count:
        return 0, 0
    rows, players = design.problem.first.shape
    moved = players + 1  # a draw, and with every feature moved across its border
    each = min(left // rows, (left - fewest) // count) // (moved * REPLICATES)
    each = min(max(1, each), FIRST_DRAWS)
    draws = 2 ** int(np.log2(each)) * REPLICATES  # a power of two, as Sobol points want it
    needed = count * draws * moved
    if needed + fewest > left:
        raise LimitError(
            f"LIME with so narrow a kernel takes {needed + fewest:,} predictions of single rows, more than ",
            Argument("max_evals", left + reserved),
            ". Pass fewer rows, a wider ",
            Argument("kernel_width"),
            ", or raise ",
            Argument("max_evals"),
            ".",
        )
    return draws, needed


def _first_draws(unseen: int, left: int, reserved: int) -> int:
    """How many draws each scrambling begins with.

    Args:
        unseen: pairs of a row and a cell that the background never has. left: predictions that are allowed, without those `reserved`.

    Raises:
        LimitError: even the fewest are too many.
    """
    draws = FIRST_DRAWS
    while draws > MIN_DRAWS and draws * REPLICATES * (1 + unseen) > left:
        draws //= 2
    needed = draws * REPLICATES * (1 + unseen)
    if needed > left:
        because = f", {unseen:,} of them pairs with cells that the background never has" if unseen else ""
        raise LimitError(
            f"LIME takes {needed + reserved:,} predictions of single rows at least{because}, more than ",
            Argument("max_evals", left + reserved),
            ". Pass fewer rows, or raise ",
            Argument("max_evals"),
            ".",
        )
    return draws


def _refuse_far_rows(design: LocalDesign, left: int) -> None:
    """Refuse rows that no draw lies near.

    Raises:
        InputError: there is one.
    """
    effective = design.effective_size * left
    far = effective < MIN_EFFECTIVE_DRAWS
    if far.any():
        row = int(effective.argmin())
        raise InputError(
            f"row {design.problem.rows.row_labels[row]!r} lies so far from the background that {left:,} draws count there as {effective[row]:.2g}. Use a wider ",
            Argument("kernel_width"),
            ", or bins: ",
            Argument("discretizer", "quartile"),
            ".",
        )


def settled(found: LocalValues, options: LimeOptions, *, looks: int) -> npt.NDArray[np.bool_]:
    """Which rows have their largest values settled, or known to be as good as equal, in every output, (rows,)."""
    values, errors = found.values, found.std_error
    if errors is None:
        return np.ones(len(values), dtype=bool)
    top = min(DEFAULT_TOP if options.top is None else options.top, values.shape[1])
    tol = DEFAULT_TOL if options.tol is None else options.tol
    largest = np.abs(values).max(axis=1, initial=0.0)
    as_good = errors.max(axis=1, initial=0.0) <= tol * largest
    out = as_good.all(axis=1)
    if options.tol is not None:
        return np.asarray(out)
    open_rows = np.flatnonzero(~out)
    for k in range(values.shape[2]):
        certified = are_certified(
            values[open_rows, :, k],
            errors[open_rows, :, k],
            top,
            level=options.level,
            freedom=FREEDOM,
            looks=looks,
        )
        open_rows = open_rows[certified | as_good[open_rows, k]]
    out[open_rows] = True
    return np.asarray(out)


def certificates(found: LocalValues, options: LimeOptions, looks: int) -> tuple[Ints, Ints]:
    """Return how many of the largest values are settled, (rows, outputs), and the rank of each value, (rows, players, outputs)."""
    n, count, outputs = found.values.shape
    certified, rank = np.zeros((n, outputs), dtype=np.int64), np.zeros((n, count, outputs), dtype=np.int64)
    if found.std_error is None:
        return np.full((n, outputs), count, dtype=np.int64), _exact_ranks(np.abs(found.values))
    for k in range(outputs):
        of_rows = certify_rows(
            found.values[:, :, k], found.std_error[:, :, k], level=options.level, freedom=FREEDOM, looks=looks
        )
        certified[:, k], rank[:, :, k] = of_rows.certified, of_rows.rank
    return certified, rank


def _exact_ranks(size: Floats) -> Ints:
    """Rank of each size along the second axis, 1 for the largest; sizes that differ by rounding alone share one."""
    order = np.argsort(-size, axis=1, kind="stable")
    falling = np.take_along_axis(size, order, axis=1)
    first = np.broadcast_to(np.arange(size.shape[1])[:, None], size.shape).copy()
    first[:, 1:][falling[:, 1:] == falling[:, :-1]] = 0
    place = first = np.maximum.accumulate(first, axis=1)  # of those that are equal
    most = falling * (1.0 + SAME_SIZE)
    while True:
        before = np.maximum(place - 1, 0)
        same = (place > 0) & (np.take_along_axis(falling, before, axis=1) <= most)
        if not same.any():
            break
        place = np.where(same, np.take_along_axis(first, before, axis=1), place)
    rank = np.empty(size.shape, dtype=np.int64)
    np.put_along_axis(rank, order, 1 + place, axis=1)
    return rank
