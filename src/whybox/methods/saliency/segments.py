"""Parts of inputs that are masked as one: features, tokens, patches, superpixels, channels. Leaving one out; values of parts at positions.

Source: leaving one out, Zeiler & Fergus 2014 (arXiv:1311.2901); for words Li, Monroe & Jurafsky 2016 (arXiv:1612.08220), equation 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_true_or_false
from whybox.data.table import Floats
from whybox.errors import Argument, InputError, OptionError
from whybox.methods.saliency.base import Method, MethodOutput, TargetMaps
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.masking import Replacement, resolve_replacement
from whybox.methods.saliency.occlusion import evaluate_masked, per_axis
from whybox.methods.saliency.problem import Indices, SaliencyProblem

__all__ = ["PATCHES_PER_SIDE", "Ablation", "Segments", "resolve_segments"]

PATCHES_PER_SIDE: Final = 4


@final
@dataclass(frozen=True)
class Segments:
    """The part that each position belongs to.

    Attributes:
        segment_labels: for each input (1 or rows, *shape of the input, a channel axis of 1 unless channels are parts), -1 for positions that always stay; None: held.
        n_segments: number of parts of all inputs, which are numbered together.
        segment_sizes: (rows, parts): number of positions of each, 0 if the row does not have it.
        is_active: (rows, parts): True if the row differs there from its replacement; other parts change nothing, and their value is 0.
        description: in words. are_channels: True if the parts are channels.
    """

    segment_labels: tuple[npt.NDArray[np.intp] | None, ...]
    n_segments: int
    segment_sizes: npt.NDArray[np.intp]
    is_active: npt.NDArray[np.bool_]
    description: str
    are_channels: bool

    @property
    def units(self) -> str:
        """Units of the values at positions."""
        return "score" if int(self.segment_sizes.max(initial=1)) <= 1 else "score per position of a part"

    def position_masks(self, keep: npt.NDArray[np.bool_], rows: Indices) -> list[npt.NDArray[Any] | None]:
        """Positions that stay, from the parts that stay, (m, parts)."""
        padded = np.concatenate([keep, np.ones((len(keep), 1), dtype=bool)], axis=1)  # -1 is the last one, which stays
        out: list[npt.NDArray[Any] | None] = []
        for of in self.segment_labels:
            if of is None:
                out.append(None)
            elif len(of) == 1:
                out.append(np.take(padded, of[0], axis=1))  # rows stay next to each other in memory
            else:
                flat = np.take_along_axis(padded, of[rows].reshape(len(rows), -1) % (self.n_segments + 1), axis=1)
                out.append(flat.reshape(len(rows), *of.shape[1:]))
        return out

    def to_positions(self, values: Floats, power: int = 1) -> TargetMaps:
        """Values of parts (rows, parts, targets) at positions: each divided by the number of its positions to the power, so that they add up to it."""
        shares = values / np.maximum(self.segment_sizes, 1)[:, :, None] ** power
        shares = np.concatenate([shares, np.zeros((len(values), 1, values.shape[2]))], axis=1)
        out: TargetMaps = []
        for t in range(values.shape[2]):
            line: list[Floats | None] = []
            for of in self.segment_labels:
                if of is None:
                    line.append(None)
                    continue
                flat = np.broadcast_to(of, (len(values), *of.shape[1:])).reshape(len(values), -1) % (
                    self.n_segments + 1
                )
                line.append(np.take_along_axis(shares[:, :, t], flat, axis=1).reshape(len(values), *of.shape[1:]))
            out.append(line)
        return out

    def as_extra(self, problem: SaliencyProblem, values: Floats) -> tuple[tuple[str, ...], npt.NDArray[Any]]:
        """Values of parts as an extra of the explanation: NaN if the row does not have the part."""
        full = np.where(self.segment_sizes[:, :, None] > 0, values, np.nan)
        return (("row", "part", "output"), full) if problem.target.has_output_axis else (("row", "part"), full[:, :, 0])


def resolve_segments(
    problem: SaliencyProblem, replacement: Replacement, parts: Any, patches: Any, *, joined: bool = False
) -> Segments:
    """Cut inputs into parts.

    Args:
        problem: the inputs. replacement: knows which inputs may be masked.
        parts: None; ``"channels"``; or whole numbers, the part of each position, below 0 for positions that always stay: of the shape of
            the input less rows and channels, or one such a row. A tuple with one for each input of several.
        patches: with parts=None, number of patches along each position axis, a number or one for each axis. None: four along each axis of pictures
            and volumes; inputs with one position axis (features, tokens, time) have each position as a part.
        joined: True: a number in `parts` means the same part in every input, so that a part can span several.

    Raises:
        OptionError, InputError: these do not suit the inputs.
    """
    requests = parts if isinstance(parts, tuple) and len(problem.inputs) > 1 else (parts,) * len(problem.inputs)
    if len(requests) != len(problem.inputs):
        raise OptionError(f"parts is a tuple of {len(requests)} and the network has {len(problem.inputs)} inputs.")
    if parts is not None and len(problem.inputs) > 1 and not isinstance(parts, (tuple, str)):
        raise OptionError("the network has several inputs: give parts as a tuple with one for each.")
    if joined:
        labels, description = _joined_segments(problem, replacement, requests)
    else:
        labels, description = _separate_segments(problem, replacement, requests, patches)
    count = 1 + max(int(of.max()) for of in labels if of is not None)
    sizes = np.zeros((problem.n_rows, count), dtype=np.intp)
    active = np.zeros((problem.n_rows, count), dtype=bool)
    for input_index, of in enumerate(labels):
        if of is None:
            continue
        for row in range(problem.n_rows):
            one = of[min(row, len(of) - 1)]
            sizes[row] += np.bincount(one[one >= 0], minlength=count)
            differs = replacement.changed_positions(problem, row, input_index)
            channel = problem.inputs[input_index].channel_axis
            if channel is not None and one.shape[channel - 1] == 1:
                differs = np.asarray(differs.any(axis=channel - 1, keepdims=True))
            active[row] |= np.bincount(one[differs & (one >= 0)], minlength=count) > 0
    channels = parts is not None and "channels" in [w for w in requests if isinstance(w, str)]
    return Segments(tuple(labels), count, sizes, active, "; ".join(dict.fromkeys(description)), channels)


def _separate_segments(
    problem: SaliencyProblem, replacement: Replacement, requests: Sequence[Any], patches: Any
) -> tuple[list[npt.NDArray[np.intp] | None], list[str]]:
    """Parts of each input, which are numbered one after the other; and what they are."""
    labels: list[npt.NDArray[np.intp] | None] = []
    count = 0
    description: list[str] = []
    for input_index, input_ in enumerate(problem.inputs):
        if not replacement.maskable_inputs[input_index]:
            labels.append(None)
            continue
        input_labels, words = _input_segments(problem, input_, requests[input_index], patches)
        labels.append(np.where(input_labels >= 0, input_labels + count, -1))
        count += int(input_labels.max()) + 1
        description.append(words)
    return labels, description


def _joined_segments(
    problem: SaliencyProblem, replacement: Replacement, requests: Sequence[Any]
) -> tuple[list[npt.NDArray[np.intp] | None], list[str]]:
    """Parts that span inputs: the same number is the same part; and what they are.

    Raises:
        OptionError: an input that may be masked has no array of parts. InputError: see _given_parts.
    """
    used = [i for i, may in enumerate(replacement.maskable_inputs) if may]
    if any(requests[i] is None or isinstance(requests[i], str) for i in used):
        raise OptionError(
            Argument("joined", True),
            " makes equal numbers one part: give ",
            Argument("parts", example="(array, array)"),
            " as a tuple with an array of whole numbers for each input.",
        )
    given = {i: _given_parts(problem, problem.inputs[i], requests[i]) for i in used}
    rows = max(len(a) for a in given.values())
    out = {i: np.full((rows, *a.shape[1:]), -1, dtype=np.intp) for i, a in given.items()}
    counts = set()
    for k in range(rows):
        one = {i: a[min(k, len(a) - 1)] for i, a in given.items()}
        numbers = np.unique(np.concatenate([a[a >= 0] for a in one.values()]))
        counts.add(len(numbers))
        for i, a in one.items():
            out[i][k][a >= 0] = np.searchsorted(numbers, a[a >= 0])
    words = f"{_count_words(sorted(counts))} given parts of {len(used)} inputs together"
    return [problem.inputs[i].with_channel(out[i]) if i in out else None for i in range(len(problem.inputs))], [words]


def _count_words(counts: Sequence[int]) -> str:
    return f"{counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''}"


def _input_segments(
    problem: SaliencyProblem, input_: Input, request: Any, patches: Any
) -> tuple[npt.NDArray[np.intp], str]:
    """Part of each position of one input, numbered from 0."""
    sizes = input_.position_shape
    if isinstance(request, str):
        if request != "channels":
            raise OptionError(
                Argument("parts", request), " is not known: 'channels', an array of whole numbers, or None for patches."
            )
        if input_.channel_axis is None:
            raise OptionError(
                f"{input_.name} has the axes {', '.join(input_.dims)} and no channels; give ",
                Argument("channel_axis", example="..."),
            )
        shape = [1] * (input_.x.ndim - 1)
        shape[input_.channel_axis - 1] = -1
        of = np.arange(input_.x.shape[input_.channel_axis]).reshape(shape)
        return np.broadcast_to(of, input_.x.shape[1:])[None].astype(np.intp), f"{of.size} channels"
    if request is not None:
        return _given_segments(problem, input_, request)
    if len(sizes) == 1 and patches is None:
        cuts: tuple[int, ...] = sizes
        words = f"{sizes[0]} {input_.dims[input_.position_axes[0]]}s"
    else:
        wanted = per_axis("patches", PATCHES_PER_SIDE if patches is None else patches, sizes, input_.name)
        cuts = tuple(min(c, n) for c, n in zip(wanted, sizes, strict=True))
        words = f"{' x '.join(map(str, cuts))} patches"
    grid = np.zeros(sizes, dtype=np.intp)
    for axis, (c, n) in enumerate(zip(cuts, sizes, strict=True)):
        at = np.arange(n) * c // n
        grid = grid * c + at.reshape(-1, *(1,) * (len(sizes) - axis - 1))
    return input_.with_channel(grid[None]), words


def _given_parts(problem: SaliencyProblem, input_: Input, request: Any) -> npt.NDArray[np.int64]:
    """The user's numbers of parts, (1 or rows, *positions).

    Raises:
        InputError: they are no whole numbers, have another shape, or hold a row all of whose positions stay.
    """
    sizes = input_.position_shape
    a = np.asarray(problem.net.numpy(request) if problem.net.is_own_array(request) else request)
    if a.dtype.kind not in "iu":
        raise InputError(f"parts holds {a.dtype}; it must be whole numbers, the part of each position.")
    if a.shape not in (sizes, (problem.n_rows, *sizes)):
        raise InputError(
            f"parts has the shape {a.shape}; for {input_.name} it must be {sizes} (one for all rows) or {(problem.n_rows, *sizes)} (one a row)."
        )
    a = a.astype(np.int64) if a.shape != sizes or problem.n_rows == a.shape[0] == 1 else a.astype(np.int64)[None]
    a = a.reshape(-1, *sizes)
    if not (a >= 0).reshape(len(a), -1).any(axis=1).all():
        raise InputError("parts has a row in which every number is below 0: nothing may be masked there.")
    return np.asarray(a)


def _given_segments(problem: SaliencyProblem, input_: Input, request: Any) -> tuple[npt.NDArray[np.intp], str]:
    """The user's superpixels, renumbered 0, 1, ... in each row, in their order."""
    a = _given_parts(problem, input_, request)
    out = np.full(a.shape, -1, dtype=np.intp)
    for k, one in enumerate(a):
        stay = one >= 0
        out[k][stay] = np.unique(one[stay], return_inverse=True)[1].reshape(-1)
    return input_.with_channel(out), f"{_count_words(sorted({int(o.max()) + 1 for o in out}))} given parts"


def without_channel(problem: SaliencyProblem, parts: Segments, maps: TargetMaps) -> TargetMaps:
    """Maps without the channel axis of length 1 that masks have."""
    if parts.are_channels:
        return maps
    return [
        [
            a if a is None or i.channel_axis is None else a.reshape(tuple(np.delete(a.shape, i.channel_axis)))
            for a, i in zip(of, problem.inputs, strict=True)
        ]
        for of in maps
    ]


@final
@dataclass(frozen=True)
class Ablation(Method):
    """How much the score drops when one part is left out: M parts over N rows take N (M + 1) forwards at most.

    Parts in which a row equals its replacement are 0 without an evaluation. Each position gets the drop divided by the number of positions of its
    part, so that a map's sum over a part is its drop; the drops themselves are ``extras["part"]``.

    Attributes:
        parts: None: patches, or each feature or token; ``"channels"``; or whole numbers, see resolve_segments.
        patches: number of patches along each position axis; None: four, or each feature, token or time step.
        baseline: what replaces a part; see whybox.methods.saliency.masking.
        joined: True: equal numbers in `parts` of several inputs are one part.
    """

    parts: Any = None
    patches: Any = None
    baseline: Any = None
    joined: bool = False

    name: ClassVar[str] = "ablation"
    title: ClassVar[str] = "Leaving one part out"
    needs_gradients: ClassVar[bool] = False
    takes_background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_true_or_false("joined", self.joined)

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps."""
        replacement = resolve_replacement(problem, self.baseline)
        parts = resolve_segments(problem, replacement, self.parts, self.patches, joined=self.joined)
        active = [np.flatnonzero(of) for of in parts.is_active]
        row_scores = problem.scores
        values = np.zeros((problem.n_rows, parts.n_segments, problem.target.n_targets))

        def make_masks(rows: Indices, ks: Indices) -> list[npt.NDArray[Any] | None]:
            keep = np.ones((len(rows), parts.n_segments), dtype=bool)
            keep[np.arange(len(rows)), [active[row][k] for row, k in zip(rows, ks, strict=True)]] = False
            return parts.position_masks(keep, rows)

        counts = parts.is_active.sum(axis=1).astype(np.intp)
        for row, scores in evaluate_masked(problem, replacement, counts, make_masks, self.name):
            values[row, active[row]] = row_scores[row] - scores
        return MethodOutput(
            without_channel(problem, parts, parts.to_positions(values)),
            f"one of {parts.description} left out at a time",
            f"drop of the score when a part holds {replacement.description}, divided by the number of its positions",
            exact=True,
            channels_reduced=not parts.are_channels,
            keep_channels=parts.are_channels,
            units=parts.units,
            extras={"part": parts.as_extra(problem, values)},
        )
