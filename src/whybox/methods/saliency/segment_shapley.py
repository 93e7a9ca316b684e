"""Shapley values of parts of one row: exact where the budget of calls reaches, else estimated with standard errors.

Sources: Lundberg & Lee 2017 (arXiv:1705.07874); Covert & Lee 2021 (arXiv:2012.01536); see whybox.games.sampling and gaussian_process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, LimitError
from whybox.games.exact import all_coalitions, exact_values
from whybox.games.sampling import Design, draw_design, estimate_values, min_evaluations
from whybox.methods.saliency.base import Method, MethodOutput
from whybox.methods.saliency.masking import Replacement, resolve_replacement
from whybox.methods.saliency.occlusion import covered
from whybox.methods.saliency.problem import Indices, Question
from whybox.methods.saliency.segments import PATCHES_PER_SIDE, Segments, resolve_segments, without_channel

__all__ = ["ShapleyParts"]

DEFAULT_SAMPLES: Final = 512


@final
@dataclass(frozen=True)
class ShapleyParts(Method):
    """What each part adds to the score, averaged over every order in which the parts may come.

    A part in which the row is what stands for absent anyway changes nothing: it is 0, and no player. With M players left, all 2^M coalitions are
    asked about where `samples` allows; else pairs of coalitions, the same ones for every row of M players. Values add up to score - base exactly
    in both cases. On the places stands the value divided by the places of the part, so that sums are right; the values are ``extras["part"]``,
    their standard errors ``extras["part_error"]``.

    Attributes:
        samples: most times the network is asked about a row, the row itself and the empty one among them. None: 512, or more where more parts need it.
        parts, patches, baseline: as of Ablation. Values are means over references where several are given, which share `samples`.
    """

    samples: int | None = None
    parts: Any = None
    patches: Any = PATCHES_PER_SIDE
    baseline: Any = None

    name: ClassVar[str] = "shapley"
    title: ClassVar[str] = "Shapley values of parts"
    derivatives: ClassVar[bool] = False
    background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.samples is not None:
            check_whole_number("samples", self.samples, 2)

    def __call__(self, q: Question) -> MethodOutput:
        """Compute the maps."""
        absent = resolve_replacement(q, self.baseline)
        parts = resolve_segments(q, absent, self.parts, self.patches)
        games = self._games(q, parts, absent)
        own = q.scores
        values = np.zeros((q.rows, parts.count, q.target.count))
        variances = np.zeros_like(values)
        base = own.copy()
        players = [np.flatnonzero(of) for of in parts.live]

        def masks(rows: Indices, ks: Indices) -> list[npt.NDArray[Any] | None]:
            keep = np.ones((len(rows), parts.count), dtype=bool)
            for k, (row, mask) in enumerate(zip(rows, ks, strict=True)):
                keep[k, players[row]] = games[len(players[row])].asked[mask]
            return parts.masks(keep, rows)

        counts = np.array([len(games[len(p)].asked) if len(p) else 0 for p in players], dtype=np.intp)
        for row, worths in covered(q, absent, counts, masks, self.name):
            who = players[row]
            base[row] = worths[0]
            values[row, who], variances[row, who] = games[len(who)].values(worths, own[row])
        drawn = sorted(m for m, g in games.items() if g.design is not None)
        return MethodOutput(
            without_channel(q, parts, parts.painted(values)),
            _kernel(games, parts),
            f"Shapley value of a part, absent parts holding {absent.said}, divided among the places of the part",
            None if not drawn else without_channel(q, parts, parts.painted(variances, 2)),
            base=base,
            exact=not drawn,
            reduced=not parts.channels,
            kept=parts.channels,
            index="Shapley",
            units=parts.units,
            extras={"part": parts.beside(q, values)}
            | ({"part_error": parts.beside(q, np.sqrt(variances))} if drawn else {}),
        )

    def _games(self, q: Question, parts: Segments, absent: Replacement) -> dict[int, _Game]:
        """One for each number of players met in a row.

        Raises:
            LimitError: `samples` are too few for an estimate with an error.
        """
        met = sorted({int(n) for n in parts.live.sum(axis=1)} - {0})
        need = max((min_evaluations(m) for m in met), default=2)
        samples = max(DEFAULT_SAMPLES, 2 * need * absent.count) if self.samples is None else self.samples
        calls = samples // absent.count
        if calls < need:
            behind = f" over {absent.count} references" if absent.count > 1 else ""
            raise LimitError(
                Argument("samples", samples),
                f" are too few for the Shapley values of {met[-1]} parts{behind}: {need * absent.count:,} are the least that also gives "
                "standard errors. Raise ",
                Argument("samples"),
                ", or take fewer parts (",
                Argument("patches", example="..."),
                ", ",
                Argument("parts", example="..."),
                ").",
            )
        return {m: _game(m, calls, q.draws(m)) for m in met}


@final
@dataclass(frozen=True)
class _Game:
    """Which coalitions are asked about, the empty one first and never the full one; `design` is None where all are."""

    asked: npt.NDArray[np.bool_]
    design: Design | None

    def values(self, worths: Floats, full: Floats) -> tuple[Floats, Floats]:
        """Shapley values and variances (players, targets) from the worths of `asked`, and of the row itself."""
        if self.design is None:
            found = exact_values(np.concatenate([worths, full[None]]))
            return found, np.zeros_like(found)
        pairs = len(self.design.coalitions)
        there, away = worths[1 : 1 + pairs], worths[1 + pairs :]
        return estimate_values(self.design, (there - away) / 2, (there + away) / 2, full - worths[0])


def _game(players: int, calls: int, draw: np.random.Generator) -> _Game:
    if players < 30 and 2**players <= calls:
        return _Game(all_coalitions(players)[:-1], None)
    d = draw_design(players, calls, draw)
    none = np.zeros((1, players), dtype=bool)
    return _Game(np.concatenate([none, d.coalitions, ~d.coalitions]), d)


def _kernel(games: dict[int, _Game], parts: Segments) -> str:
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
    return f"{parts.said}: {' and '.join(words) or 'nothing to ask'}"
