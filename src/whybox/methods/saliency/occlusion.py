"""Asking about rows with places covered, and the method that needs no more than that: windows.

Source: Zeiler & Fergus 2014 (arXiv:1311.2901), section 4.2 (occlusion).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.methods.saliency.base import Maps, Method, MethodOutput
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.masking import Replacement, resolve_replacement
from whybox.methods.saliency.problem import Indices, Question
from whybox.models.differentiable import Array

__all__ = ["Occlusion", "along", "covered", "empty"]

# rows and numbers of masks -> for each input what stays of each place: 1 all, 0 nothing; (m, *shape), a channel axis of 1; None: all of the input
Masks = Callable[[Indices, Indices], list[npt.NDArray[Any] | None]]


def covered(q: Question, absent: Replacement, counts: Indices, masks: Masks, what: str) -> Iterator[tuple[int, Floats]]:
    """Ask about every row under each of its masks; batches are filled across rows.

    Args:
        q: the question. absent: what stands where places are covered; scores are means over its references.
        counts: how many masks each row has. masks: what they leave. what: the name of the work.

    Yields:
        (row, scores (masks of the row, targets)), in the order of rows; rows without masks are left out.

    Raises:
        UnsupportedModelError: the network answers a covered row with NaN or infinity.
    """
    several = absent.count
    ends = np.cumsum(counts * several)
    lifted = _Lifted(q, absent)
    waiting: list[Floats] = []
    row = int(np.argmax(counts > 0)) if counts.any() else 0
    for at in q.passes(int(ends[-1]), what):
        rows = np.searchsorted(ends, at, side="right")
        local = at - (ends[rows] - counts[rows] * several)
        scores = q.asked(lifted.under(rows, local % several, masks(rows, local // several)), rows)
        if not np.isfinite(scores).all():
            raise UnsupportedModelError(
                f"the network answers a row with places covered by {absent.said} with NaN or infinity; choose another baseline."
            )
        start = 0
        for cut in (*(np.flatnonzero(np.diff(rows)) + 1), len(rows)):
            row = int(rows[start])
            waiting.append(scores[start:cut])
            start = int(cut)
            if at[cut - 1] == ends[row] - 1:
                done = np.concatenate(waiting)
                waiting.clear()
                yield row, done.reshape(int(counts[row]), several, -1).mean(axis=1)


@final
class _Lifted:
    """Rows and what stands for absent in them, on the network's device; those of the last batch are kept."""

    def __init__(self, q: Question, absent: Replacement) -> None:
        self._q, self._absent = q, absent
        self._rows: Indices = np.zeros(0, dtype=np.intp)
        self._xs: tuple[Array, ...] = ()
        self._behind: dict[int, list[Array]] = {}

    def under(self, rows: Indices, refs: Indices, masks: list[npt.NDArray[Any] | None]) -> tuple[Array, ...]:
        """Rows with what the masks leave of them: x m + absent (1 - m), which is x itself where m is 1."""
        q = self._q
        unique, where = np.unique(rows, return_inverse=True)
        if not np.array_equal(unique, self._rows):
            self._rows, self._xs = unique, q.lift(unique)
            self._behind = {r: b for r, b in self._behind.items() if self._absent.same[r]}
        out = []
        for i, (x, mask) in enumerate(zip(self._xs, masks, strict=True)):
            if mask is None:
                out.append(q.net.take(x, where))
                continue
            truth = q.inputs[i].x.dtype.kind == "b"
            kind: Any = q.inputs[i].x.dtype if q.inputs[i].whole else np.float32
            m = q.net.array(mask.astype(kind, order="C"))
            full = x if len(unique) == 1 else q.net.take(x, where)
            if truth:  # stays so: networks use it as a mask
                out.append((full & m) | (self._reference(i, where, refs) & ~m))
                continue
            out.append(full * m + self._reference(i, where, refs) * (1 - m))
        return tuple(out)

    def _reference(self, which: int, where: Indices, refs: Indices) -> Array:
        """What stands for absent in each of these passes."""
        used = np.unique(refs)
        if len(used) > 1:
            requested_checks = [self._absent.references[r](self._rows)[which] for r in used]
            return self._q.net.array(np.stack(requested_checks)[np.searchsorted(used, refs), where])
        r = int(used[0])
        if r not in self._behind:
            rows = self._rows[:1] if self._absent.same[r] else self._rows
            self._behind[r] = [self._q.net.array(b) for b in self._absent.references[r](rows)]
        a = self._behind[r][which]
        return a if a.shape[0] == 1 else self._q.net.take(a, where)


def empty(q: Question, absent: Replacement) -> Maps:
    """For each target and input, zeros in the input's shape less the channels; None for inputs that are held."""
    return [
        [np.zeros((q.rows, *i.sizes)) if may else None for i, may in zip(q.inputs, absent.covered, strict=True)]
        for _ in range(q.target.count)
    ]


def along(name: str, value: Any, sizes: tuple[int, ...], said: str) -> tuple[int, ...]:
    """One number for each axis of places, from one number or a tuple of them.

    Raises:
        OptionError: another number of numbers, or a number below 1.
    """
    given = value if isinstance(value, (tuple, list)) else (value,) * len(sizes)
    if len(given) != len(sizes):
        raise OptionError(
            Argument(name, value), f" has {len(given)} numbers and {said} has {len(sizes)} axes of places."
        )
    return tuple(check_whole_number(name, v) for v in given)


@final
@dataclass(frozen=True)
class Occlusion(Method):
    """How much the score drops when a window is covered; each place shows the mean over the windows that cover it.

    The windows of P positions over N rows take N (P + 1) forwards; windows in which a row is what stands for absent anyway are not asked about.

    Attributes:
        window: places covered at a time, all channels of them: a number or one for each axis. None: an eighth of each axis; one feature or token of tables.
        stride: how far windows are apart. None: half a window, at least 1; the last window ends at the last place, whatever the stride.
        baseline: what stands in the window; see whybox.methods.saliency.masking.
    """

    window: Any = None
    stride: Any = None
    baseline: Any = None

    name: ClassVar[str] = "occlusion"
    title: ClassVar[str] = "Occlusion"
    derivatives: ClassVar[bool] = False
    background: ClassVar[bool] = True

    def __call__(self, q: Question) -> MethodOutput:
        """Compute the maps."""
        absent = resolve_replacement(q, self.baseline)
        slots = [
            (which, box)
            for which, (given, may) in enumerate(zip(q.inputs, absent.covered, strict=True))
            if may
            for box in self._boxes(given)
        ]
        live = [self._live(q, absent, slots, row) for row in range(q.rows)]
        out, times = empty(q, absent), [np.zeros(i.sizes) for i in q.inputs]
        for which, box in slots:
            times[which][box] += 1
        own = q.scores

        def masks(rows: Indices, ks: Indices) -> list[npt.NDArray[Any] | None]:
            chosen = [slots[live[row][k]] for row, k in zip(rows, ks, strict=True)]
            return [_cut_out(i, which, chosen) for which, i in enumerate(q.inputs)]

        counts = np.array([len(a) for a in live], dtype=np.intp)
        for row, scores in covered(q, absent, counts, masks, self.name):
            drops = own[row] - scores
            for k, drop in zip(live[row], drops, strict=True):
                which, box = slots[k]
                for t in range(q.target.count):
                    to = out[t][which]
                    if to is not None:
                        to[row][box] += drop[t]
        return MethodOutput(
            [[None if a is None else a / n for a, n in zip(of, times, strict=True)] for of in out],
            f"{len(slots):,} windows",
            f"mean drop of the score over the windows that cover a place, which then holds {absent.said}",
            exact=True,
            reduced=True,
            units="score",
        )

    def _boxes(self, given: Input) -> list[tuple[slice, ...]]:
        sizes = given.sizes
        table = len(sizes) == 1 and given.channel is None
        window = (
            tuple(1 if table else max(1, n // 8) for n in sizes)
            if self.window is None
            else along("window", self.window, sizes, given.name)
        )
        stride = (
            tuple(max(1, w // 2) for w in window)
            if self.stride is None
            else along("stride", self.stride, sizes, given.name)
        )
        for w, s, n in zip(window, stride, sizes, strict=True):
            if w > n:
                raise OptionError(
                    Argument("window", self.window), f" is larger than {given.name}, whose places are {sizes}."
                )
            if s > w:
                raise OptionError(
                    Argument("stride", s),
                    f" is larger than the window of {w}: places between windows would never be covered.",
                )
        starts = [
            sorted({min(k, n - w) for k in range(0, n - w + s, s)})
            for w, s, n in zip(window, stride, sizes, strict=True)
        ]
        return [tuple(slice(a, a + w) for a, w in zip(at, window, strict=True)) for at in product(*starts)]

    def _live(self, q: Question, absent: Replacement, slots: list[tuple[int, tuple[slice, ...]]], row: int) -> Indices:
        """Windows that change anything in this row."""
        differs = []
        for which, given in enumerate(q.inputs):
            d = absent.differs(q, row, which) if absent.covered[which] else np.zeros(given.x.shape[1:], dtype=bool)
            differs.append(d if given.channel is None else np.asarray(d.any(axis=given.channel - 1)))
        if all(d.all() for d, may in zip(differs, absent.covered, strict=True) if may):
            return np.arange(len(slots))
        return np.array([k for k, (which, box) in enumerate(slots) if differs[which][box].any()], dtype=np.intp)


def _cut_out(given: Input, which: int, chosen: list[tuple[int, tuple[slice, ...]]]) -> npt.NDArray[Any] | None:
    """Masks of one input: 0 within the windows that are in it; None where there are none."""
    if all(w != which for w, _ in chosen):
        return None
    mask = np.ones((len(chosen), *given.sizes), dtype=np.float32)
    for k, (w, box) in enumerate(chosen):
        if w == which:
            mask[k][box] = 0
    return given.with_channel(mask)
