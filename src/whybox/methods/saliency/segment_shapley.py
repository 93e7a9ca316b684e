"""Shapley values of parts of one row: exact if `samples` suffice for all coalitions, else estimated with standard errors.

Sources: Lundberg & Lee 2017 (arXiv:1705.07874); Covert & Lee 2021 (arXiv:2012.01536); see whybox.games.sampling, solve and gaussian_process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_true_or_false, check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, LimitError
from whybox.games.exact import all_coalitions, exact_values
from whybox.games.sampling import CoalitionDesign, draw_design, min_evaluations
from whybox.games.solve import estimate_values
from whybox.methods.saliency.base import Method, MethodOutput
from whybox.methods.saliency.masking import Replacement, resolve_replacement
from whybox.methods.saliency.occlusion import evaluate_masked
from whybox.methods.saliency.problem import Indices, SaliencyProblem
from whybox.methods.saliency.segments import Segments, resolve_segments, without_channel

__all__ = ["ShapleyParts"]

DEFAULT_SAMPLES: Final = 512


@final
@dataclass(frozen=True)
class ShapleyParts(Method):
    """What each part adds to the score, averaged over all orders of the parts.

    A part in which the row equals its replacement changes nothing: its value is 0, and it is not a player. With M players left, all 2^M coalitions are
    evaluated if `samples` allow; else pairs of coalitions, the same ones for every row of M players. Values add up to score - base exactly in both cases.
    Each position gets the part's value divided by the number of its positions, so that sums are right; the values themselves are ``extras["part"]``,
    their standard errors ``extras["part_error"]``.

    Attributes:
        samples: most evaluations a row, the row itself and the empty coalition included. None: 512, or more if more parts need it.
        parts, patches, baseline, joined: as of Ablation. With several baselines values are means over them, and they share `samples`.
    """

    samples: int | None = None
    parts: Any = None
    patches: Any = None
    baseline: Any = None
    joined: bool = False

    name: ClassVar[str] = "shapley"
    title: ClassVar[str] = "Shapley values of parts"
    needs_gradients: ClassVar[bool] = False
    takes_background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.samples is not None:
            check_whole_number("samples", self.samples, 2)
        check_true_or_false("joined", self.joined)

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps."""
        replacement = resolve_replacement(problem, self.baseline)
        parts = resolve_segments(problem, replacement, self.parts, self.patches, joined=self.joined)
        games = self._make_games(problem, parts, replacement)
        row_scores = problem.scores
        values = np.zeros((problem.n_rows, parts.n_segments, problem.target.n_targets))
        variances = np.zeros_like(values)
        base = row_scores.copy()
        players = [np.flatnonzero(of) for of in parts.is_active]

        def make_masks(rows: Indices, ks: Indices) -> list[npt.NDArray[Any] | None]:
            keep = np.ones((len(rows), parts.n_segments), dtype=bool)
            for k, (row, mask) in enumerate(zip(rows, ks, strict=True)):
                keep[k, players[row]] = games[len(players[row])].evaluated_coalitions[mask]
            return parts.position_masks(keep, rows)

        counts = np.array([len(games[len(p)].evaluated_coalitions) if len(p) else 0 for p in players], dtype=np.intp)
        for row, coalition_scores in evaluate_masked(problem, replacement, counts, make_masks, self.name):
            present = players[row]
            base[row] = coalition_scores[0]
            values[row, present], variances[row, present] = games[len(present)].shapley_values(
                coalition_scores, row_scores[row]
            )
        drawn = sorted(m for m, g in games.items() if g.design is not None)
        return MethodOutput(
            without_channel(problem, parts, parts.to_positions(values)),
            _describe_computation(games, parts),
            f"Shapley value of a part, absent parts holding {replacement.description}, divided by the number of its positions",
            None if not drawn else without_channel(problem, parts, parts.to_positions(variances, 2)),
            base_scores=base,
            exact=not drawn,
            channels_reduced=not parts.are_channels,
            keep_channels=parts.are_channels,
            index="Shapley",
            units=parts.units,
            extras={"part": parts.as_extra(problem, values)}
            | ({"part_error": parts.as_extra(problem, np.sqrt(variances))} if drawn else {}),
        )

    def _make_games(
        self, problem: SaliencyProblem, parts: Segments, replacement: Replacement
    ) -> dict[int, _SegmentGame]:
        """One game for each number of players that a row has.

        Raises:
            LimitError: `samples` are too few for an estimate with standard errors.
        """
        player_counts = sorted({int(n) for n in parts.is_active.sum(axis=1)} - {0})
        min_samples = max((min_evaluations(m) for m in player_counts), default=2)
        samples = (
            max(DEFAULT_SAMPLES, 2 * min_samples * replacement.n_references) if self.samples is None else self.samples
        )
        calls = samples // replacement.n_references
        if calls < min_samples:
            over = f" over {replacement.n_references} references" if replacement.n_references > 1 else ""
            raise LimitError(
                Argument("samples", samples),
                f" are too few for the Shapley values of {player_counts[-1]} parts{over}: standard errors need "
                f"{min_samples * replacement.n_references:,} or more. Raise samples, or take fewer parts (",
                Argument("patches", example="..."),
                ", ",
                Argument("parts", example="..."),
                ").",
            )
        return {m: _make_game(m, calls, problem.rng_for(m)) for m in player_counts}


@final
@dataclass(frozen=True)
class _SegmentGame:
    """Coalitions to be evaluated, the empty one first and never the full one. `design`: None if these are all."""

    evaluated_coalitions: npt.NDArray[np.bool_]
    design: CoalitionDesign | None

    def shapley_values(self, coalition_scores: Floats, full: Floats) -> tuple[Floats, Floats]:
        """Shapley values and variances (players, targets) from scores of the `evaluated` coalitions, and of the row itself."""
        if self.design is None:
            found = exact_values(np.concatenate([coalition_scores, full[None]]))
            return found, np.zeros_like(found)
        pairs = len(self.design.coalitions)
        with_half, without_half = coalition_scores[1 : 1 + pairs], coalition_scores[1 + pairs :]
        return estimate_values(
            self.design, (with_half - without_half) / 2, (with_half + without_half) / 2, full - coalition_scores[0]
        )


def _make_game(players: int, calls: int, draw: np.random.Generator) -> _SegmentGame:
    if players < 30 and 2**players <= calls:
        return _SegmentGame(all_coalitions(players)[:-1], None)
    d = draw_design(players, calls, draw)
    none = np.zeros((1, players), dtype=bool)
    return _SegmentGame(np.concatenate([none, d.coalitions, ~d.coalitions]), d)


def _describe_computation(games: dict[int, _SegmentGame], parts: Segments) -> str:
    every = [m for m, g in games.items() if g.design is None]
    drawn = {m: g.design for m, g in games.items() if g.design is not None}
    words = (
        [
            f"all {2 ** max(every):,} coalitions"
            if len(every) == 1
            else f"all coalitions of {min(every)} to {max(every)} players"
        ]
        if every
        else []
    )
    if drawn:
        pairs = sorted({len(d.coalitions) for d in drawn.values()})
        words.append(f"{pairs[-1]:,} pairs of coalitions")
    return f"{parts.description}: {' and '.join(words) or 'nothing to evaluate'}"
