"""Parts of inputs that come and go as one: features, tokens, patches, superpixels, channels. Leaving one out, and painting numbers of parts on places.

Source: leaving one out, Zeiler & Fergus 2014 (arXiv:1311.2901); for words Li, Monroe & Jurafsky 2016 (arXiv:1612.08220), equation 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, InputError, OptionError
from whybox.methods.saliency.base import Maps, Method, MethodOutput
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.masking import Replacement, resolve_replacement
from whybox.methods.saliency.occlusion import along, covered
from whybox.methods.saliency.problem import Indices, Question

__all__ = ["Ablation", "Segments", "resolve_segments"]

PATCHES_PER_SIDE: Final = 4


@final
@dataclass(frozen=True)
class Segments:
    """Which part each place belongs to.

    Attributes:
        labels: for each input (1 or rows, *shape of the input, a channel axis of 1 unless channels are parts), -1 for places that always stay; None: held.
        count: how many parts there are; those of all inputs are numbered in one go.
        sizes: (rows, parts): how many places each has, 0 where a row does not have it.
        live: (rows, parts): whether the row differs there from what stands for absent; other parts change nothing, and are worth 0.
        said: in words. channels: whether the parts are channels.
    """

    labels: tuple[npt.NDArray[np.intp] | None, ...]
    count: int
    sizes: npt.NDArray[np.intp]
    live: npt.NDArray[np.bool_]
    said: str
    channels: bool

    @property
    def units(self) -> str:
        """Of what stands on the places."""
        return "score" if int(self.sizes.max(initial=1)) <= 1 else "score per place of a part"

    def masks(self, keep: npt.NDArray[np.bool_], rows: Indices) -> list[npt.NDArray[Any] | None]:
        """Which places stay, from which parts stay (m, parts)."""
        padded = np.concatenate([keep, np.ones((len(keep), 1), dtype=bool)], axis=1)  # -1 is the last one, which stays
        out: list[npt.NDArray[Any] | None] = []
        for of in self.labels:
            if of is None:
                out.append(None)
            elif len(of) == 1:
                out.append(np.take(padded, of[0], axis=1))  # rows stay next to each other in memory
            else:
                flat = np.take_along_axis(padded, of[rows].reshape(len(rows), -1) % (self.count + 1), axis=1)
                out.append(flat.reshape(len(rows), *of.shape[1:]))
        return out

    def painted(self, values: Floats, power: int = 1) -> Maps:
        """Numbers of parts (rows, parts, targets) on their places: each divided by the places of the part to the power, so that they add up to it."""
        shares = values / np.maximum(self.sizes, 1)[:, :, None] ** power
        shares = np.concatenate([shares, np.zeros((len(values), 1, values.shape[2]))], axis=1)
        out: Maps = []
        for t in range(values.shape[2]):
            line: list[Floats | None] = []
            for of in self.labels:
                if of is None:
                    line.append(None)
                    continue
                flat = np.broadcast_to(of, (len(values), *of.shape[1:])).reshape(len(values), -1) % (self.count + 1)
                line.append(np.take_along_axis(shares[:, :, t], flat, axis=1).reshape(len(values), *of.shape[1:]))
            out.append(line)
        return out

    def beside(self, q: Question, values: Floats) -> tuple[tuple[str, ...], npt.NDArray[Any]]:
        """Numbers of parts as they are kept beside the map: NaN where a row does not have the part."""
        full = np.where(self.sizes[:, :, None] > 0, values, np.nan)
        return (("row", "part", "output"), full) if q.target.several else (("row", "part"), full[:, :, 0])


def resolve_segments(q: Question, absent: Replacement, parts: Any, patches: Any) -> Segments:
    """Cut inputs into parts.

    Args:
        q: the question. absent: says which inputs may be covered.
        parts: None; ``"channels"``; or whole numbers that say which part each place belongs to, below 0 for places that always stay: of the shape of
            the input less rows and channels, or one such a row. A tuple with one for each input of several.
        patches: with parts=None, how many patches along each axis of places, a number or one for each axis. Inputs with one axis of places (features,
            tokens, time) have each place as a part unless a tuple is given.

    Raises:
        OptionError, InputError: these do not suit the inputs.
    """
    wishes = parts if isinstance(parts, tuple) and len(q.inputs) > 1 else (parts,) * len(q.inputs)
    if len(wishes) != len(q.inputs):
        raise OptionError(
            Argument("parts"), f" has {len(wishes)} parts in a tuple and the network {len(q.inputs)} inputs."
        )
    if parts is not None and len(q.inputs) > 1 and not isinstance(parts, (tuple, str)):
        raise OptionError("the network has several inputs: give parts as a tuple with one for each.")
    labels: list[npt.NDArray[np.intp] | None] = []
    count = 0
    said: list[str] = []
    for which, given in enumerate(q.inputs):
        if not absent.covered[which]:
            labels.append(None)
            continue
        own, words = _labels(q, given, wishes[which], patches)
        labels.append(np.where(own >= 0, own + count, -1))
        count += int(own.max()) + 1
        said.append(words)
    sizes = np.zeros((q.rows, count), dtype=np.intp)
    live = np.zeros((q.rows, count), dtype=bool)
    for which, of in enumerate(labels):
        if of is None:
            continue
        for row in range(q.rows):
            one = of[min(row, len(of) - 1)]
            sizes[row] += np.bincount(one[one >= 0], minlength=count)
            differs = absent.differs(q, row, which)
            channel = q.inputs[which].channel
            if channel is not None and one.shape[channel - 1] == 1:
                differs = np.asarray(differs.any(axis=channel - 1, keepdims=True))
            live[row] |= np.bincount(one[differs & (one >= 0)], minlength=count) > 0
    channels = parts is not None and "channels" in [w for w in wishes if isinstance(w, str)]
    return Segments(tuple(labels), count, sizes, live, "; ".join(dict.fromkeys(said)), channels)


def _labels(q: Question, given: Input, wish: Any, patches: Any) -> tuple[npt.NDArray[np.intp], str]:
    """Numbers of parts of one input, from 0 on."""
    sizes = given.sizes
    if isinstance(wish, str):
        if wish != "channels":
            raise OptionError(
                Argument("parts", wish), " is not known: 'channels', an array of whole numbers, or None for patches."
            )
        if given.channel is None:
            raise OptionError(
                f"{given.name} has the axes {', '.join(given.dims)}: there are no channels; say ",
                Argument("channel_axis", example="..."),
            )
        shape = [1] * (given.x.ndim - 1)
        shape[given.channel - 1] = -1
        of = np.arange(given.x.shape[given.channel]).reshape(shape)
        return np.broadcast_to(of, given.x.shape[1:])[None].astype(np.intp), f"{of.size} channels"
    if wish is not None:
        return _given(q, given, wish, sizes)
    if len(sizes) == 1 and not isinstance(patches, (tuple, list)):
        cuts: tuple[int, ...] = sizes
        words = f"{sizes[0]} {given.dims[given.places[0]]}s"
    else:
        cuts = tuple(min(c, n) for c, n in zip(along("patches", patches, sizes, given.name), sizes, strict=True))
        words = f"{' x '.join(map(str, cuts))} patches"
    grid = np.zeros(sizes, dtype=np.intp)
    for axis, (c, n) in enumerate(zip(cuts, sizes, strict=True)):
        at = np.arange(n) * c // n
        grid = grid * c + at.reshape(-1, *(1,) * (len(sizes) - axis - 1))
    return given.with_channel(grid[None]), words


def _given(q: Question, given: Input, wish: Any, sizes: tuple[int, ...]) -> tuple[npt.NDArray[np.intp], str]:
    """The user's superpixels; their numbers become 0, 1, ... in each row, in their order."""
    a = np.asarray(q.net.numpy(wish) if q.net.is_own_array(wish) else wish)
    if a.dtype.kind not in "iu":
        raise InputError(
            Argument("parts"), f" holds {a.dtype}; it must be whole numbers that say which part each place belongs to."
        )
    if a.shape not in (sizes, (q.rows, *sizes)):
        raise InputError(
            Argument("parts"),
            f" has the shape {a.shape}; for {given.name} it must be {sizes} (one for all rows) or {(q.rows, *sizes)} (one a row).",
        )
    a = a.astype(np.int64) if a.shape != sizes or q.rows == a.shape[0] == 1 else a.astype(np.int64)[None]
    a = a.reshape(-1, *sizes)
    out = np.full(a.shape, -1, dtype=np.intp)
    for k, one in enumerate(a):
        stay = one >= 0
        if not stay.any():
            raise InputError(
                Argument("parts"), " has a row in which every number is below 0: nothing may be covered there."
            )
        out[k][stay] = np.unique(one[stay], return_inverse=True)[1].reshape(-1)
    counts = sorted({int(o.max()) + 1 for o in out})
    return given.with_channel(out), f"{counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''} given parts"


def without_channel(q: Question, parts: Segments, maps: Maps) -> Maps:
    """Maps less the channel axis of 1 that masks have."""
    if parts.channels:
        return maps
    return [
        [
            a if a is None or i.channel is None else a.reshape(tuple(np.delete(a.shape, i.channel)))
            for a, i in zip(of, q.inputs, strict=True)
        ]
        for of in maps
    ]


@final
@dataclass(frozen=True)
class Ablation(Method):
    """How much the score drops when one part is left out: M parts over N rows take N (M + 1) forwards at most.

    Parts in which a row is what stands for absent anyway are 0 without being asked about. On the places stands the drop divided by the places of the
    part (so that a map's sum over a part is its drop); the drops themselves are ``extras["part"]``.

    Attributes:
        parts: None: patches, or each feature or token; ``"channels"``; or whole numbers, see resolve_segments.
        patches: how many along each axis of places.
        baseline: what stands for absent; see whybox.methods.saliency.masking.
    """

    parts: Any = None
    patches: Any = PATCHES_PER_SIDE
    baseline: Any = None

    name: ClassVar[str] = "ablation"
    title: ClassVar[str] = "Leaving one part out"
    derivatives: ClassVar[bool] = False
    background: ClassVar[bool] = True

    def __call__(self, q: Question) -> MethodOutput:
        """Compute the maps."""
        absent = resolve_replacement(q, self.baseline)
        parts = resolve_segments(q, absent, self.parts, self.patches)
        live = [np.flatnonzero(of) for of in parts.live]
        own = q.scores
        values = np.zeros((q.rows, parts.count, q.target.count))

        def masks(rows: Indices, ks: Indices) -> list[npt.NDArray[Any] | None]:
            keep = np.ones((len(rows), parts.count), dtype=bool)
            keep[np.arange(len(rows)), [live[row][k] for row, k in zip(rows, ks, strict=True)]] = False
            return parts.masks(keep, rows)

        counts = parts.live.sum(axis=1).astype(np.intp)
        for row, scores in covered(q, absent, counts, masks, self.name):
            values[row, live[row]] = own[row] - scores
        return MethodOutput(
            without_channel(q, parts, parts.painted(values)),
            f"one of {parts.said} left out at a time",
            f"drop of the score when a part holds {absent.said}, divided among the places of the part",
            exact=True,
            reduced=not parts.channels,
            kept=parts.channels,
            units=parts.units,
            extras={"part": parts.beside(q, values)},
        )
