"""Recompute some numbers of every answer by a second way, and hold them against it.

What verifies the reading of a model compares its predictions of *rows*. Answers are about mixed rows, other points, other batches and other axes, so a fault
there shows in no prediction. Each family of methods therefore draws a few numbers of the answer by the seed and computes them anew by a way that shares no
code with what computed them, best by asking the model's own predict. What every family needs for that is here: how much may be spent, the comparison, and
the error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_whole_number
from whybox.errors import SpotCheckError
from whybox.explanation.spot_checks import SpotChecks, merge_spot_checks

__all__ = [
    "DEFAULT_SPOT_PREDICTIONS",
    "MAX_TIME_SHARE",
    "NOT_CHECKED",
    "SpotChecker",
    "TimeShare",
    "check_some_groups",
    "check_spot_checks",
    "spot_predictions",
    "spot_rng",
]

DEFAULT_SPOT_PREDICTIONS: Final = 200  # predictions of single rows that the checks of one answer may take
MAX_WORK_SHARE: Final = 0.02  # of the predictions that the answer itself takes, where that is more
MAX_TIME_SHARE: Final = 0.02  # of the time that an explainer has spent, after its first call
MAX_GROUPS_CHECKED: Final = 3  # of an answer that is made group by group
NOT_CHECKED: Final = SpotChecks()
_Group = TypeVar("_Group")


def check_spot_checks(spot_checks: Any) -> int | None:
    """Return how many predictions the checks of an answer may take; None: the default.

    Raises:
        OptionError: not a whole number from 0 on.
    """
    return None if spot_checks is None else check_whole_number("spot_checks", spot_checks, 0)


def spot_predictions(spot_checks: int | None, work: float = 0.0) -> int:
    """Return how many predictions of single rows the checks may take, for an answer that itself takes `work` of them."""
    return max(DEFAULT_SPOT_PREDICTIONS, int(MAX_WORK_SHARE * work)) if spot_checks is None else spot_checks


def spot_rng(seed: int, *parts: int) -> np.random.Generator:
    """Return the generator that draws what is checked, a stream of its own: it changes no other draw of the same seed."""
    return np.random.default_rng([_RNG_STREAM, seed % 2**63, *parts])


def check_some_groups(
    groups: Sequence[_Group], rng: np.random.Generator, check: Callable[[_Group], SpotChecks]
) -> SpotChecks:
    """Check a few groups of rows whose answers were computed group by group.

    Args:
        groups: of rows, at least one. rng: draws which. check: of one of them.

    Raises:
        SpotCheckError: a number differs.
    """
    chosen = rng.choice(len(groups), min(len(groups), MAX_GROUPS_CHECKED), replace=False)
    return merge_spot_checks([check(groups[k]) for k in chosen]) or NOT_CHECKED


_RNG_STREAM: Final = 0x5907


@final
class SpotChecker:
    """Compares numbers of an answer with what was recomputed, and counts; the first that differs is an error.

    Attributes:
        predictions: predictions of single rows that the checks have taken; callers add to it.
    """

    def __init__(self) -> None:
        self.predictions = 0
        self._numbers, self._difference = 0, 0.0
        self._ways: dict[str, None] = {}

    def compare(
        self,
        answer: npt.ArrayLike,
        recomputed: npt.ArrayLike,
        allowed: npt.ArrayLike,
        *,
        way: str,
        where: Callable[[tuple[int, ...]], Sequence[tuple[str, object]]],
        accurate: bool = True,
    ) -> None:
        """Hold numbers of the answer against what was recomputed.

        Args:
            answer, recomputed: of one shape. NaN equals NaN, and infinity itself.
            allowed: the difference that rounding explains, of a shape that broadcasts to theirs.
            way: how they were recomputed, in words that follow "were recomputed": ``"by asking XGBRegressor.predict about mixed rows"``.
            where: position in the arrays -> what stands there, for the message: ``[("row", 3), ("feature", "age")]``.
            accurate: whether the numbers are those of the answer, recomputed up to rounding. If not, their largest difference is not kept: it says how coarse
                the second way is.

        Raises:
            SpotCheckError: a number differs by more than allowed; it names the one that differs most.
        """
        ours, theirs = np.asarray(answer, dtype=np.float64), np.asarray(recomputed, dtype=np.float64)
        limit = np.broadcast_to(np.asarray(allowed, dtype=np.float64), ours.shape)
        with np.errstate(invalid="ignore"):
            same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
            difference = np.where(same, 0.0, np.abs(ours - theirs))
        wrong = ~(difference <= limit)  # NaN beside a number is wrong too
        if wrong.any():
            excess = np.where(wrong, np.where(np.isnan(difference), np.inf, difference - limit), -np.inf)
            i = tuple(int(k) for k in np.unravel_index(int(excess.argmax()), excess.shape))
            raise SpotCheckError(
                where=tuple(where(i)),
                answer=float(ours[i]),
                recomputed=float(theirs[i]),
                allowed=float(limit[i]),
                way=way,
            )
        self._numbers += ours.size
        if accurate:
            self._difference = max(self._difference, float(difference.max(initial=0.0)))
        if ours.size:
            self._ways[way] = None

    def note_agreement(self, numbers: int, predictions: int, difference: float, *, way: str) -> None:
        """Count numbers that were compared elsewhere and agree, with the predictions that took and the largest difference."""
        self._numbers += numbers
        self.predictions += predictions
        self._difference = max(self._difference, difference)
        if numbers:
            self._ways[way] = None

    @property
    def result(self) -> SpotChecks:
        """What was recomputed so far."""
        return SpotChecks(self._numbers, self.predictions, self._difference, tuple(self._ways))


@final
class TimeShare:
    """Keeps checks below a share of the time that an explainer spends over all its calls; the first call is always checked.

    Args:
        clock: seconds that have passed, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._work, self._checks, self._dearest = 0.0, 0.0, 0.0

    def __reduce__(self) -> tuple[type[TimeShare], tuple[()]]:
        return TimeShare, ()  # in another process the first call is checked again

    def is_check_due(self) -> bool:
        """Whether another check, as dear as the dearest so far, leaves all checks below the share."""
        return self._dearest == 0.0 or self._checks + self._dearest <= MAX_TIME_SHARE * self._work

    def clock_time(self) -> float:
        """The time on the clock."""
        return self._clock()

    def add_time(self, *, work: float, checks: float) -> None:
        """Note the seconds that a call took for its work, and for its checks (0: there was none)."""
        self._work += work
        self._checks += checks
        self._dearest = max(self._dearest, checks)
