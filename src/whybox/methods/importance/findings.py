"""Sentences about features that several methods of importance judge differently, by more than their errors.

Nothing here is a share or a size that somebody chose: two ranks, or two values, differ where their intervals do not overlap, and a value is above zero where its
interval is. Intervals of values are widened, so that they hold for all features at once (Bonferroni); those of ranks compare a feature with all others already.
That two of them miss each other by chance is far rarer than once in twenty tables. A feature that only rises because others fall is not mentioned: a
sentence is about the one that falls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation
from whybox.explanation.html import number_text
from whybox.methods.importance.rankings import DEFAULT_LEVEL, ends_or_nan
from whybox.methods.registry import find
from whybox.numerics.statistics import critical_value

__all__ = ["find_disagreements"]

Bools = npt.NDArray[np.bool_]
Extras = Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]]
MAX_NAMES: Final = 3  # of a group, in a sentence


@final
@dataclass(frozen=True, eq=False)
class MethodView:
    """What sentences need of one method, (features,) each; NaN where it is not known.

    Attributes:
        method: its id. question: as of its MethodSpec. units, values, interval: as the method has them, the interval (features, 2). low, high: ends of the interval that
            holds for all features at once. rank_low, rank_high: ends of the interval of the rank.
        wider: how much wider that interval is. not_shown: whether nothing shows that the value is above zero: neither the method's test nor, where there is none, the interval.
    """

    method: str
    question: str
    units: str
    values: Floats
    interval: Floats
    low: Floats
    high: Floats
    rank_low: Floats
    rank_high: Floats
    not_shown: Bools
    wider: float

    @property
    def above_zero(self) -> Bools:
        """Whether the interval lies above zero."""
        return self.low > 0.0

    @property
    def reaches_zero(self) -> Bools:
        """Whether the method's own interval does not lie above zero. One of no width does not count: rows in which a feature does not vary say nothing about it."""
        return (self.interval[:, 0] <= 0.0) & (self.high > self.low)

    def comparable_with(self, other: MethodView) -> bool:
        """Whether values of this method given the others and of another one regardless of them are the same quantity, but for what the others tell."""
        return self.question == "given_others" and self.units == other.units

    def ranks_above(self, other: MethodView) -> Bools:
        """Whether the rank is surely better than by another method."""
        return self.rank_high < other.rank_low

    def value_text(self, j: int) -> str:
        """The value of a feature and its interval."""
        return _value_text(self.values[j], self.interval[j])

    def rank_text(self, j: int) -> str:
        """The interval of the rank of a feature."""
        low, high = (int(end[j]) for end in (self.rank_low, self.rank_high))
        return str(low) if low == high else f"{low} to {high}"


def _value_text(value: Any, interval: Floats) -> str:
    shown = [number_text(float(v), 2) for v in (value, *interval)]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def find_disagreements(rankings: Mapping[str, Explanation], groups: Extras) -> npt.NDArray[np.str_]:
    """Return what the methods disagree about, (features,): one sentence a line, empty where there is nothing to say.

    Args:
        rankings: importance by each method, made comparable. groups: of dependent features, ``group``, ``together``, ``together_interval``; or nothing.
    """
    views = [_view(name, e) for name, e in rankings.items()]
    features = next(iter(rankings.values())).feature_names
    found: list[list[str]] = [[] for _ in features]

    def say(j: int, sentence: str) -> None:
        found[j].append(f"{features[j]}: {sentence}")

    _others_tell(
        [v for v in views if v.question == "loss"], [v for v in views if v.question in ("given_others", "refit")], say
    )
    for question, reading in _USED.items():
        for below in (v for v in views if v.question == "loss"):
            _used_in_vain([v for v in views if v.question == question], below, reading, say)
    trained = [(_train_view(v.method, rankings[v.method]), v) for v in views]
    _overfitted([(train, held) for train, held in trained if train is not None], say)
    if groups:
        for view in (v for v in views if v.method == "permutation"):
            _copies(view, groups, features, found)
    return np.array(["\n".join(sentences) for sentences in found], dtype=np.str_)


def _positions(mask: Bools) -> list[int]:
    return [int(j) for j in np.flatnonzero(mask)]


def _view(name: str, e: Explanation) -> MethodView:
    count = len(e.values)
    p_value = e.extras["p_value"][1] if "p_value" in e.extras else np.full(count, np.nan)
    ends = np.column_stack(ends_or_nan(e.interval, count))
    wider = _wider(e)
    low, high = _widened(e.values, ends, wider)
    not_shown = np.where(np.isnan(p_value), ~(ends[:, 0] > 0.0), p_value > 1.0 - _level(e))
    ranks = e.extras["rank_interval"][1]
    return MethodView(
        name,
        find("importance", name).question,
        e.units,
        e.values,
        ends,
        low,
        high,
        ranks[:, 0],
        ranks[:, 1],
        not_shown,
        wider,
    )


def _train_view(name: str, e: Explanation) -> MethodView | None:
    """The same method on training rows; None where it was not asked for."""
    if "train_rank_interval" not in e.extras:
        return None
    values, ends, ranks = (e.extras[key][1] for key in ("train", "train_interval", "train_rank_interval"))
    wider = _wider(e)
    low, high = _widened(values, ends, wider)
    never = np.zeros(len(values), dtype=np.bool_)
    return MethodView(name, "", e.units, values, ends, low, high, ranks[:, 0], ranks[:, 1], never, wider)


def _level(e: Explanation) -> float:
    return float(e.extras["interval_level"][1]) if "interval_level" in e.extras else DEFAULT_LEVEL


def _wider(e: Explanation) -> float:
    """How much wider intervals are that hold for all features at once: as Student's t is at the level that this takes."""
    level, freedom = _level(e), max(e.evidence.rows - 1.0, 1.0)
    return critical_value(1.0 - (1.0 - level) / len(e.values), freedom) / critical_value(level, freedom)


def _widened(values: Floats, ends: Floats, wider: float) -> tuple[Floats, Floats]:
    return values - wider * (values - ends[:, 0]), values + wider * (ends[:, 1] - values)


def _others_tell(loss: list[MethodView], below: list[MethodView], say: Callable[[int, str], None]) -> None:
    """The model is better for a feature, and given the others it adds less: by rank, or by value where the test finds nothing (values of equal meaning only)."""
    for j in range(len(loss[0].values) if loss else 0):
        worth = [v for v in loss if v.above_zero[j]]
        fallen = {above: [v for v in below if _falls(above, v, j)] for above in worth}
        vanished = {above: [v for v in below if _vanishes(above, v, j)] for above in worth}
        if any(fallen.values()):
            above = next(v for v in worth if fallen[v])
            ranks = ", ".join(
                f"{v.method} {v.rank_text(j)}" for v in (*(v for v in worth if fallen[v]), *fallen[above])
            )
            ranks = ranks.replace(" ", " ranks it ", 1)
            say(j, f"{ranks}: the other features tell {_how_much(above, fallen[above], j)}what it tells.")
        elif any(vanished.values()):
            above = next(v for v in worth if vanished[v])
            shown = (*(v for v in worth if vanished[v]), *vanished[above])
            values = ", ".join(f"{v.method} {v.value_text(j)}" for v in shown)
            say(j, f"{values.replace(' ', ' is ', 1)}: the other features tell what it tells.")


def _falls(above: MethodView, v: MethodView, j: int) -> bool:
    """Whether a feature ranks surely lower given the others, and not because others rise."""
    rises = v.comparable_with(above) and v.values[j] >= above.low[j]
    return bool(above.ranks_above(v)[j]) and not rises


def _vanishes(above: MethodView, v: MethodView, j: int) -> bool:
    """Whether a feature is surely worth less given the others, and nothing shows that it is worth anything."""
    return v.comparable_with(above) and bool(v.not_shown[j] and v.high[j] < above.low[j])


def _how_much(above: MethodView, fallen: list[MethodView], j: int) -> str:
    """Which share of a feature the others tell: all where no test finds that it adds something; a number where two values have the same meaning."""
    adds = [v for v in fallen if v.above_zero[j] and not v.not_shown[j]]
    if not adds:
        return ""
    shares = [1.0 - v.values[j] / above.values[j] for v in adds if v.comparable_with(above)]
    return f"{100 * shares[0]:.0f} % of " if shares else "part of "


_USED: Final = {  # question of a method that measures no loss -> what a high value means where no loss follows
    "size": "used, but predictions are no better for it",
    "gain": "its splits gained in training, but predictions of these rows are no better for it",
}


def _used_in_vain(used: list[MethodView], below: MethodView, reading: str, say: Callable[[int, str], None]) -> None:
    """A feature is surely ranked higher by how much it is used than by the loss, which does not surely grow without it."""
    for j in _positions(below.reaches_zero):
        above = [v for v in used if v.ranks_above(below)[j] and v.values[j] > 0.0 and not v.low[j] <= 0.0]
        if above:
            ranks = ", ".join(f"{v.method} {'ranks it ' * (v is above[0])}{v.rank_text(j)}" for v in above)
            say(j, f"{ranks}, {below.method} {below.rank_text(j)} at {below.value_text(j)}: {reading}.")


def _overfitted(trained: list[tuple[MethodView, MethodView]], say: Callable[[int, str], None]) -> None:
    """A feature is surely worth something on training rows and surely less on these, where it is not surely worth anything or surely ranks lower."""
    differs = [
        train.above_zero
        & (train.low > held.high)
        & (held.high > held.low)
        & (train.ranks_above(held) | held.reaches_zero)
        for train, held in trained
    ]
    for j in _positions(np.any(differs, axis=0)) if differs else ():
        pairs = [pair for pair, differing in zip(trained, differs, strict=True) if differing[j]]
        words = [
            f"{held.method} ranks it {train.rank_text(j)} on training rows, {held.rank_text(j)} on these"
            if train.ranks_above(held)[j]
            else f"{held.method} is {train.value_text(j)} on training rows, {held.value_text(j)} on these"
            for train, held in pairs
        ]
        say(j, f"{'; '.join(words)}: overfitting.")


def _copies(alone: MethodView, groups: Extras, features: tuple[str, ...], found: list[list[str]]) -> None:
    """Features of a group are surely worth more together than the sum of what each is alone, and the group surely passes another feature, or zero, that none passes alone."""
    names, together, ends = (groups[key][1] for key in ("group", "together", "together_interval"))
    for group in dict.fromkeys(name for name in names.tolist() if name):
        inside = names == group
        members = np.flatnonzero(inside)
        j = int(members[0])
        low = float(_widened(together, ends, alone.wider)[0][j])
        passed = ~inside & (alone.low > alone.high[members].max()) & (alone.high < low)
        from_nothing = not alone.above_zero[members].any() and low > 0.0
        if low > alone.high[members].sum() and (passed.any() or from_nothing):
            most = members[np.argmax(alone.values[members])]
            shown = ", ".join(features[j] for j in members[:MAX_NAMES]) + ", ..." * (len(members) > MAX_NAMES)
            sentence = (
                f"{shown}: {alone.method} of one alone is {alone.value_text(int(most))} at most, of all {len(members)} together "
                f"{_value_text(together[j], ends[j])}: copies share it."
            )
            for member in members:
                found[member].append(sentence)
