"""Owen values of any model over a hierarchy of features: the engine of PartitionShap.

Features in a block are present or absent together while other blocks share the credit, so a model is asked less about rows in which features that go together
contradict each other. Exact where the coalitions of the hierarchy over the whole background fit into the predictions that a row may take (games/owen.py);
else from draws of an order and a background row, with standard errors (games/compatible_orders.py). Rows in which the same features differ from the background share
their draws; draws of a row do not depend on the other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, LimitError
from whybox.games.compatible_orders import MIN_DRAWS, OrderDraws, draw_donors, draw_orders, estimate_owen_values
from whybox.games.owen import Hierarchy, OwenGame, count_coalitions, owen_game
from whybox.methods.common.columns import Ints
from whybox.methods.common.spot_checks import spot_rng
from whybox.methods.shap.column_hierarchy import resolve_hierarchy
from whybox.methods.shap.game_answer import GameAnswer, SampledWorths
from whybox.methods.shap.game_hybrids import donor_outputs, hybrid_outputs
from whybox.methods.shap.game_problem import GameProblem, even_shares

__all__ = ["DRAWN", "EXACT", "SPARED_SHARE", "check_budget", "needed_predictions", "owen_games"]

Flags = npt.NDArray[np.bool_]
MAX_HYBRIDS: Final = 2**20  # evaluated together
MAX_WORTHS_KEPT: Final = 16  # for spot checks
SPARED_SHARE: Final = 0.05  # of the budget, at most: for a worth over the whole background, of answers from draws
ROUNDS: Final = (1 / 4, 1 / 2, 1)  # of all draws, after which errors are looked at
DEFAULT_TOL: Final = 0.02  # of a row's largest value
EXTRA_ROUNDS: Final = 2  # after these, of what is left
MAX_EXTRA: Final = 4  # draws of such a round, over those before
SAFE_SHARE: Final = 0.9  # of what is left: what a draw takes is known from those before
_STREAM: Final = 0x0E3  # of random numbers
EXACT: Final = "every block of the hierarchy in each of its contexts, over {:,} background rows"
DRAWN: Final = "orders that keep blocks together, each with its reverse and a background row"


def owen_games(
    problem: GameProblem,
    *,
    hierarchy: Hierarchy | None = None,
    on_round: Callable[[GameAnswer], object] | None = None,
) -> GameAnswer:
    """Return Owen values of each row's game, exact or with standard errors.

    Args:
        problem: rows of any model. hierarchy: of all its players; None: that of the options. on_round: called with the answer so far after each round of draws.

    Raises:
        LimitError: fewer predictions than values and errors take. NonFiniteError: an output is NaN or infinite.
    """
    if hierarchy is None:
        hierarchy = resolve_hierarchy(problem.options.hierarchy, problem.players, problem.background)
    return _OwenRun(problem, hierarchy).run(on_round)


def _needed(part: Hierarchy, background_rows: int) -> int:
    """Predictions of the exact values of a row."""
    return max(count_coalitions(part) - 2, 0) * background_rows


def needed_predictions(hierarchy: Hierarchy, differs: Flags, background_rows: int) -> int:
    """Return how many predictions the exact values of some rows take.

    Args:
        hierarchy: of all players. differs: (rows, players), which of them differ from the background. background_rows: different ones.
    """
    patterns, counts = np.unique(differs, axis=0, return_counts=True)
    parts = [hierarchy.restricted(pattern) for pattern in patterns]
    return sum(int(count) * _needed(part, background_rows) for part, count in zip(parts, counts, strict=True))


def _least(part: Hierarchy, background_rows: int) -> int:
    """Fewest predictions of a row that give values and errors."""
    return min(_needed(part, background_rows), 2 * max(part.players - 1, 0) * MIN_DRAWS)


def check_budget(
    hierarchy: Hierarchy, differs: Flags, background_rows: int, budget: int, max_evals: int | None
) -> None:
    """Refuse fewer predictions than values and errors take.

    Raises:
        LimitError: they are fewer.
    """
    patterns, counts = np.unique(differs, axis=0, return_counts=True)
    parts = [hierarchy.restricted(pattern) for pattern in patterns]
    least = sum(
        int(count) * _least(part, background_rows)
        for part, count in zip(parts, counts, strict=True)
        if part.players > 1
    )
    if least > budget:
        raise LimitError(
            f"values with errors take at least {least:,} predictions for {len(differs):,} row{'s' * (len(differs) != 1)} of up to "
            f"{int(differs.sum(axis=1).max())} features that differ from the background; {max(budget, 0):,} are left of ",
            Argument("max_evals", max_evals),
            ". Raise it, pass fewer rows, or group columns with ",
            Argument("players", example="{...}"),
            ".",
        )


@final
@dataclass(eq=False)
class _Rows:
    """Rows in which the same players differ: their hierarchy, and what was found so far.

    Attributes:
        rows: positions. own: players that differ. part: the hierarchy of these alone. draws: how many are drawn; 0: exact.
        done: how many of them rows have whose errors are not small enough. contributions: of each row, what each player adds in each draw so far.
    """

    rows: Ints
    own: Ints
    part: Hierarchy
    draws: int = 0
    done: int = 0
    orders: OrderDraws | None = None
    donors: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    contributions: dict[int, Floats] = field(default_factory=dict)


@final
class _OwenRun:
    """One answer on its way.

    Args:
        problem: rows of any model. hierarchy: of all players.
    """

    def __init__(self, problem: GameProblem, hierarchy: Hierarchy) -> None:
        self._problem, self._hierarchy = problem, hierarchy
        n, players = problem.differs.shape
        shape = n, players, problem.row_outputs.shape[1]
        self._values, self._error, self._background = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self._settled, self._evals = np.ones(n, dtype=bool), np.zeros(n, dtype=np.int64)
        self._kept: list[tuple[int, Flags, Floats]] = []  # rows, coalitions and worths for spot checks
        first, which = problem.background.distinct_rows(())
        weights = problem.background.weights
        self._donors = first
        self._weights, self._squares = (np.bincount(which, w, len(first)) for w in (weights, weights**2))
        check_budget(hierarchy, problem.differs, len(first), problem.budget, problem.options.max_evals)
        self._spent_before = problem.evaluator.spent
        self._spared = 0  # predictions for worths that are kept for spot checks
        self._groups = self._grouped_rows()

    def _grouped_rows(self) -> list[_Rows]:
        """Rows by which players differ, each with its share of the budget."""
        problem = self._problem
        patterns, which = np.unique(problem.differs, axis=0, return_inverse=True)
        groups = []
        for k, pattern in enumerate(patterns):
            rows = np.flatnonzero(which.reshape(-1) == k)
            groups.append(_Rows(rows, np.flatnonzero(pattern), self._hierarchy.restricted(pattern)))
        groups.sort(key=lambda g: _needed(g.part, len(self._donors)))
        budget, left = problem.budget, len(problem.rows)
        least = [_least(group.part, len(self._donors)) for group in groups]
        free = budget - sum(each * len(g.rows) for each, g in zip(least, groups, strict=True))
        if sum(_needed(g.part, len(self._donors)) * len(g.rows) for g in groups) > budget:
            self._spared = self._spare(free)
            budget -= self._spared
        kept = sum(each * len(group.rows) for each, group in zip(least, groups, strict=True))  # for groups to come
        for group, fewest in zip(groups, least, strict=True):
            count, needed = len(group.rows), _needed(group.part, len(self._donors))
            kept -= fewest * count
            each = max(fewest, min(budget // left, (budget - kept) // count))
            if needed > each:
                steps = 2 * (group.part.players - 1)
                group.draws = each // steps
                needed = group.draws * steps
            budget, left = budget - needed * count, left - count
        return groups

    def _spare(self, free: int) -> int:
        """Predictions that are set aside for a worth that spot checks can recompute: those of one coalition, or none if that is a large share."""
        once = len(self._donors)
        small = once <= min(free, SPARED_SHARE * self._problem.budget)
        return once if small and self._problem.options.spot_checks != 0 else 0

    def run(self, on_round: Callable[[GameAnswer], object] | None) -> GameAnswer:
        """Return the answer."""
        for group in self._groups:
            if not group.draws:
                self._enumerate(group)
        drawn = [group for group in self._groups if group.draws]
        for group in drawn:
            self._draw(group, group.draws)
            self._keep_drawn(group)
        for share in ROUNDS if drawn else ():
            for group in drawn:
                self._sample(group, max(MIN_DRAWS, int(group.draws * share)))
            if on_round is not None:
                on_round(self._answer())
        for _ in range(EXTRA_ROUNDS):
            if not self._use_what_is_left(drawn):
                break
            if on_round is not None:
                on_round(self._answer())
        return self._answer()

    def _use_what_is_left(self, drawn: list[_Rows]) -> bool:
        """Draw more for rows whose errors are not small enough, where equal hybrids, or rows that needed fewer, left predictions; return whether there were enough."""
        settled = self._settled
        unfinished = [group for group in drawn if not settled[group.rows].all()]
        left = self._problem.budget - (self._problem.evaluator.spent - self._spent_before)
        costs = [self._cost_of_a_draw(group) * int((~settled[group.rows]).sum()) for group in unfinished]
        extra = int(SAFE_SHARE * left / max(sum(costs), 1e-9)) if unfinished else 0
        if extra < MIN_DRAWS:
            return False
        for group in unfinished:
            self._draw(group, min(extra, MAX_EXTRA * group.draws))
            try:
                self._sample(group, group.draws)
            except LimitError:  # hybrids were less equal than before
                return False
        return True

    def _cost_of_a_draw(self, group: _Rows) -> float:
        """Predictions that a draw of a row took so far."""
        draws = sum(map(len, group.contributions.values()))
        return float(self._evals[group.rows].sum()) / draws

    def _answer(self) -> GameAnswer:
        drawn = any(group.draws for group in self._groups)
        exact = any(not group.draws and group.part.players > 1 for group in self._groups)
        kernels = [EXACT.format(len(self._problem.background))] * (exact or not drawn) + [DRAWN] * drawn
        background = np.full_like(self._background, np.nan) if len(self._problem.background) == 1 else self._background
        return GameAnswer(
            values=self._values.copy(),
            std_error=self._error.copy() if drawn else None,
            converged=self._settled.copy(),
            model_evals=self._evals.copy(),
            background_error=background.copy(),
            kernel="; ".join(kernels),
            worths=self._kept_worths(),
            index="owen",
            settings={"hierarchy": self._hierarchy.nested(self._problem.players.names)},
        )

    def _enumerate(self, group: _Rows) -> None:
        """Write exact values of rows and their background errors."""
        if not group.part.players:
            return
        game = owen_game(group.part)
        outputs = self._problem.row_outputs.shape[1]
        size = max(1, MAX_HYBRIDS // (len(game.coalitions) * len(self._donors) * outputs))
        for start in range(0, len(group.rows), size):
            rows = group.rows[start : start + size]
            before = self._problem.evaluator.spent
            for row, each in zip(rows.tolist(), self._single_games(game, group, rows), strict=True):
                mean = np.einsum("pbo,b->po", each, self._weights)
                self._values[row, group.own] = mean
                left = max(1.0 - float(self._squares.sum()), 1e-12)
                spread = np.einsum("pbo,b->po", (each - mean[:, None]) ** 2, self._squares) / left
                self._background[row, group.own] = np.sqrt(spread)
            self._evals[rows] = even_shares(self._problem.evaluator.spent - before, len(rows))

    def _single_games(self, game: OwenGame, group: _Rows, rows: Ints) -> Floats:
        """Values against each single background row, (rows, players, background rows, outputs)."""
        outputs = self._problem.row_outputs.shape[1]
        out = np.empty((len(rows), group.part.players, len(self._donors), outputs))
        step = max(1, MAX_HYBRIDS // (len(game.coalitions) * outputs * len(rows)))
        inner, sums = game.coalitions[2:], np.zeros((len(rows), len(game.coalitions), outputs))
        for start in range(0, len(self._donors), step):
            donors = self._donors[start : start + step]
            worths = np.empty((len(rows), len(game.coalitions), len(donors), outputs))
            worths[:, 0] = donor_outputs(self._problem, rows, donors)
            worths[:, 1] = self._problem.row_outputs[rows][:, None]
            if len(inner):
                which = np.repeat(np.arange(len(inner)), len(donors))
                found = self._worths(group, rows, inner, which, np.tile(donors, len(inner)))
                worths[:, 2:] = found.reshape(len(rows), len(inner), len(donors), outputs)
            sums += np.einsum("rcbo,b->rco", worths, self._weights[start : start + step])
            for r, of_row in enumerate(worths):
                values = game.values(of_row.reshape(len(game.coalitions), -1))
                out[r, :, start : start + step] = values.reshape(group.part.players, len(donors), outputs)
        self._keep(group, rows, inner, sums[:, 2:])
        return out

    def _keep(self, group: _Rows, rows: Ints, coalitions: Flags, worths: Floats) -> None:
        """Keep a coalition of each of some rows with its worth, for spot checks."""
        for row, of_row in zip(rows[: MAX_WORTHS_KEPT - len(self._kept)].tolist(), worths, strict=False):
            if len(coalitions):
                which = int(spot_rng(self._problem.options.seed, _STREAM, row).integers(len(coalitions)))
                whole = np.zeros(self._problem.players.count, dtype=bool)
                whole[group.own[coalitions[which]]] = True
                self._kept.append((row, whole, of_row[which]))

    def _kept_worths(self) -> SampledWorths | None:
        """What was kept; None where nothing was."""
        if not self._kept:
            return None
        rows, coalitions, worths = zip(*self._kept, strict=True)
        return SampledWorths(np.array(rows), np.array(coalitions), np.array(worths))

    def _keep_drawn(self, group: _Rows) -> None:
        """Evaluate the first coalition that was drawn over the whole background, and keep its worth for spot checks."""
        if len(self._donors) > self._spared or group.orders is None:
            return
        self._spared -= len(self._donors)
        coalition = group.orders.first(1).coalitions()[0, (group.part.players - 1) // 2][None]
        rows, which = group.rows[:1], np.zeros(len(self._donors), dtype=np.int64)
        worth = np.einsum("rbo,b->ro", self._worths(group, rows, coalition, which, self._donors), self._weights)
        self._keep(group, rows, coalition, worth[:, None])

    def _worths(self, group: _Rows, rows: Ints, coalitions: Flags, which: Ints, donor: Ints) -> Floats:
        """Outputs of hybrids, (rows, hybrids, outputs), given which coalition and which donor each is of.

        Args:
            coalitions: (k, players that differ).
        """
        problem = self._problem
        columns = [problem.players.columns_at(group.own[absent]) for absent in ~coalitions]
        shape = len(rows), len(which)
        row, hybrid, background = (
            np.broadcast_to(a, shape).reshape(-1) for a in (rows[:, None], which[None], donor[None])
        )
        return hybrid_outputs(problem, row, background, hybrid, columns).reshape(*shape, -1)

    def _draw(self, group: _Rows, draws: int) -> None:
        """Draw orders and donors of rows, beside those that they have."""
        problem, have = self._problem, len(group.donors)
        pattern = np.packbits(problem.differs[group.rows[0]]).tolist()
        draw = np.random.default_rng([_STREAM, problem.options.seed % 2**63, have, *pattern])
        orders = draw_orders(group.part, draws, draw).orders
        donors = draw_donors(len(problem.background), draws, draw, self._unequal_weights)
        group.orders = OrderDraws(orders if group.orders is None else np.concatenate([group.orders.orders, orders]))
        group.donors = np.concatenate([group.donors, donors])
        group.draws = have + draws

    @cached_property
    def _unequal_weights(self) -> Floats | None:
        """Weights of background rows; None where all are equal."""
        weights = self._problem.background.weights
        return weights if float(np.ptp(weights)) > 1e-12 * float(weights.max()) else None

    def _sample(self, group: _Rows, want: int) -> None:
        """Evaluate draws, up to so many, of the rows whose errors are not small enough, and write their values."""
        have, group.done = group.done, want
        active = group.rows if not have else group.rows[~self._settled[group.rows]]
        for rows in self._row_batches(group, active, want - have):
            before = self._problem.evaluator.spent
            new = self._contributions(group, rows, slice(have, want))
            self._evals[rows] += even_shares(self._problem.evaluator.spent - before, len(rows))
            for row, contributions in zip(rows.tolist(), new, strict=True):
                known = group.contributions.get(row)
                group.contributions[row] = contributions if known is None else np.concatenate([known, contributions])
                self._write_estimate(group, row)

    def _row_batches(self, group: _Rows, rows: Ints, draws: int) -> Iterator[Ints]:
        """Rows that are evaluated together."""
        if draws <= 0:
            return
        hybrids = draws * 2 * (group.part.players - 1) * self._problem.row_outputs.shape[1]
        size = max(1, MAX_HYBRIDS // hybrids)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _contributions(self, group: _Rows, rows: Ints, draws: slice) -> Floats:
        """What each player adds in some draws, (rows, draws, players, outputs)."""
        assert group.orders is not None  # noqa: S101  # drawn before
        problem = self._problem
        orders, donors = OrderDraws(group.orders.orders[draws]), group.donors[draws]
        firsts = orders.coalitions()  # (draws, players - 1, players)
        both = np.stack([firsts, ~firsts], axis=2)
        coalitions, which = np.unique(both.reshape(-1, both.shape[-1]), axis=0, return_inverse=True)
        donor = np.repeat(donors, both.shape[1] * 2)
        worths = self._worths(group, rows, coalitions, which.reshape(-1), donor)
        worths = worths.reshape(len(rows), len(donors), both.shape[1], 2, -1)
        halves = (worths[..., 0, :] - worths[..., 1, :]) / 2
        adds = problem.row_outputs[rows][:, None] - donor_outputs(problem, rows, donors)
        return np.stack([orders.contributions(h, a) for h, a in zip(halves, adds, strict=True)])

    def _write_estimate(self, group: _Rows, row: int) -> None:
        """Write the values of a row from its draws so far."""
        problem, contributions = self._problem, group.contributions[row]
        donors = group.donors[: len(contributions)]
        found = estimate_owen_values(
            contributions,
            donor=donors,
            none=donor_outputs(problem, np.array([row]), donors)[0],
            donors=len(problem.background),
            base=problem.base[row],
            weights=self._unequal_weights,
        )
        error = np.sqrt(found.variances)
        self._values[row, group.own], self._error[row, group.own] = found.values, error
        self._background[row, group.own] = np.sqrt(found.donor_variance / problem.background.effective_count)
        tol = DEFAULT_TOL if problem.options.tol is None else problem.options.tol
        allowed = tol * np.abs(found.values).max(axis=0)
        self._settled[row] = bool((error.max(axis=0) <= allowed).all())
