"""What stands in the place of what is covered: baselines, and replacement numbers for tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, InputError, OptionError
from whybox.methods.saliency.baselines import repeated, resolve_baselines
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.problem import Indices, Question

__all__ = ["Replacement", "resolve_replacement"]

_Rows = Callable[[Indices], list[npt.NDArray[Any]]]


@final
@dataclass(frozen=True)
class Replacement:
    """What a covered place holds.

    Attributes:
        said: in words.
        references: one or more, which are averaged over; each gives for rows one array an input, (m, *shape of the input).
        same: for each of them, whether it is the same for all rows.
        covered: for each input, whether its places may be covered; else it is held as it is.
    """

    said: str
    references: tuple[_Rows, ...]
    same: tuple[bool, ...]
    covered: tuple[bool, ...]

    @property
    def count(self) -> int:
        """How many references."""
        return len(self.references)

    def differs(self, q: Question, row: int, which: int) -> npt.NDArray[np.bool_]:
        """Where a row is not what stands for absent, (*shape of the input). Covering the other places asks the network the same thing again."""
        x = q.inputs[which].x[row]
        out = np.zeros(x.shape, dtype=bool)
        at = np.array([row])
        for rows in self.references:
            out |= rows(at)[which][0] != x
        return out


def resolve_replacement(q: Question, given: Any = None) -> Replacement:
    """Read what was given as ``baseline=`` to a method that covers.

    Args:
        q: the question.
        given: as of :func:`whybox.methods.saliency.baselines.resolve_baselines`, and for inputs of whole numbers (tokens, categories, bytes) the number that
            stands for absent: a mask or padding token. In a tuple for a network of several inputs None means that this input is held as it is.

    Raises:
        OptionError: whole numbers without a replacement, or nothing that may be covered; InputError: see resolve_baselines.
    """
    if not any(i.whole for i in q.inputs) and not _some_held(q, given):
        refs = resolve_baselines(q, given)
        said = refs[0].said if len(refs) == 1 else f"{len(refs)} references: {refs[0].said}, ..."
        return Replacement(said, tuple(r.rows for r in refs), tuple(r.same for r in refs), (True,) * len(q.inputs))
    if q.background is not None and (given is None or (isinstance(given, str) and given == "background")):
        return _background(q, q.background)
    listed = given if isinstance(given, list) else [given]
    made = [_mixed(q, one) for one in listed]
    if not any(made[0].covered) or any(m.covered != made[0].covered for m in made):
        raise OptionError(
            "nothing may be covered, or not the same inputs in every baseline; give a replacement for the inputs to be covered."
        )
    if len(made) == 1:
        return made[0]
    return Replacement(
        f"{len(made)} references: {made[0].said}, ...",
        tuple(r for m in made for r in m.references),
        tuple(s for m in made for s in m.same),
        made[0].covered,
    )


def _background(q: Question, behind: tuple[Input, ...]) -> Replacement:
    """Every background row is a reference, its categories and numbers alike; what is held stays the row's own.

    Raises:
        InputError: an input holds whole numbers and its background others, or the other way round.
    """
    for given, other in zip(q.inputs, behind, strict=True):
        if (given.x.dtype.kind in "iub") != (other.x.dtype.kind in "iub"):
            raise InputError(
                f"{given.name} holds {given.x.dtype} and its background {other.x.dtype}; give both as whole numbers, or both as floats."
            )

    def fixed(k: int) -> _Rows:
        return lambda rows: [
            given.x[rows] if given.held else repeated(other.x[k].astype(given.x.dtype), rows)
            for given, other in zip(q.inputs, behind, strict=True)
        ]

    count = len(behind[0].x)
    said = "background row 0" if count == 1 else f"{count} references: background row 0, ..."
    free = tuple(not given.held for given in q.inputs)
    return Replacement(said, tuple(map(fixed, range(count))), (all(free),) * count, free)


def _some_held(q: Question, given: Any) -> bool:
    listed = given if isinstance(given, list) else [given]
    return len(q.inputs) > 1 and any(isinstance(one, tuple) and None in [_plain(o) for o in one] for one in listed)


def _plain(given: Any) -> Any:
    """Arrays are not compared with None."""
    return given if given is None else 0


def _mixed(q: Question, one: Any) -> Replacement:
    """Whole numbers replaced, or inputs held; the rest is for resolve_baselines."""
    wishes = _wishes(q, one)
    covered = tuple(w is not None for w in wishes)
    own = {i: _replaced(q.inputs[i], w) for i, w in enumerate(wishes) if w is not None and q.inputs[i].whole}
    rest = [None if g.whole else g.x if w is None else w for g, w in zip(q.inputs, wishes, strict=True)]
    words = [f"{q.inputs[i].name}: {said}" for i, (said, _, _) in own.items()]
    words += [f"{g.name} held" for g, w in zip(q.inputs, wishes, strict=True) if w is None]
    if all(g.whole for g in q.inputs):
        return Replacement(
            "; ".join(words) if len(q.inputs) > 1 else own[0][0],
            (lambda rows: [own[i][2](rows) if i in own else g.x[rows] for i, g in enumerate(q.inputs)],),
            (all(covered) and all(same for _, same, _ in own.values()),),
            covered,
        )
    refs = resolve_baselines(q, tuple(rest))

    def rows_of(ref: Any) -> _Rows:
        return lambda rows: [own[i][2](rows) if i in own else a for i, a in enumerate(ref.rows(rows))]

    return Replacement("; ".join([*words, refs[0].said]), tuple(map(rows_of, refs)), (False,) * len(refs), covered)


def _wishes(q: Question, one: Any) -> list[Any]:
    """One wish an input."""
    if len(q.inputs) == 1:
        wish = one[0] if isinstance(one, tuple) and len(one) == 1 else one
        if wish is None or isinstance(wish, str):
            raise OptionError(
                f"{q.inputs[0].name} holds whole numbers: say which number stands for absent, say that of a mask or padding token (",
                Argument("baseline", 0),
                "), or pass floats where they are quantities.",
            )
        return [wish]
    if isinstance(one, tuple) and len(one) == len(q.inputs):
        return list(one)
    raise OptionError(
        f"the network has {len(q.inputs)} inputs, some of them of whole numbers: give baseline as a tuple with one for each input; None holds an input as it is."
    )


def _replaced(given: Input, wish: Any) -> tuple[str, bool, Callable[[Indices], npt.NDArray[Any]]]:
    """Whole numbers instead of those of the rows."""
    a = np.asarray(wish)
    if a.dtype.kind not in "iub" or (a.ndim and a.shape not in (given.x.shape, given.x.shape[1:])):
        raise InputError(
            f"{given.name} holds whole numbers; what stands for absent must be one whole number, or an array of them of shape {given.x.shape[1:]}, and is {wish!r}."
        )
    if a.size and (a.min() < np.iinfo(np.int64).min or (given.x.dtype != bool and not _fits(a, given.x.dtype))):
        raise OptionError(Argument("baseline", wish), f" does not fit into {given.x.dtype}, the type of {given.name}.")
    a = a.astype(given.x.dtype)
    if a.shape == given.x.shape:
        return "a given replacement for each row", False, lambda rows: a[rows]
    one = np.broadcast_to(a, given.x.shape[1:])
    said = str(a) if not a.ndim else "a given replacement"
    return said, True, lambda rows: repeated(one, rows)


def _fits(a: npt.NDArray[Any], dtype: Any) -> bool:
    info = np.iinfo(dtype)
    return bool(info.min <= a.min() and a.max() <= info.max)
