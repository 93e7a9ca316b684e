"""Evaluating rows with masked positions, and occlusion: windows that are masked.

Source: Zeiler & Fergus 2014 (arXiv:1311.2901), section 4.2 (occlusion).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.methods.saliency.base import Method, MethodOutput, TargetMaps
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.layer_calls import input_by_name
from whybox.methods.saliency.masking import Replacement, resolve_replacement
from whybox.methods.saliency.problem import Indices, SaliencyProblem
from whybox.models.differentiable import Array

__all__ = ["Occlusion", "empty_maps", "evaluate_masked", "per_axis", "value_per_input"]

# (rows, mask numbers) -> for each input how much of each position stays: 1 all, 0 nothing; (m, *shape), a channel axis of 1; None: all of the input
MaskFunction = Callable[[Indices, Indices], list[npt.NDArray[Any] | None]]


def evaluate_masked(
    problem: SaliencyProblem, replacement: Replacement, counts: Indices, masks: MaskFunction, task: str
) -> Iterator[tuple[int, Floats]]:
    """Evaluate every row under each of its masks; micro-batches are filled across rows.

    Args:
        problem: the rows. replacement: what masked positions hold; scores are means over its references.
        counts: number of masks of each row. masks: gives the masks. task: name of the work, for the progress bar.

    Yields:
        (row, scores (masks of the row, targets)), in the order of rows, without rows that have no masks.

    Raises:
        UnsupportedModelError: outputs of a masked row are NaN or infinite.
    """
    several = replacement.n_references
    ends = np.cumsum(counts * several)
    lifted = _MaskedRows(problem, replacement)
    waiting: list[Floats] = []
    row = int(np.argmax(counts > 0)) if counts.any() else 0
    for at in problem.index_batches(int(ends[-1]), task):
        rows = np.searchsorted(ends, at, side="right")
        within_row = at - (ends[rows] - counts[rows] * several)
        numbers, drawn = (within_row // several, within_row % several), masks(rows, within_row // several)
        xs = lifted.mask_rows(rows, within_row % several, drawn)
        scores = problem.scores_at_points(xs, rows)
        if problem.spot_record is not None:
            problem.spot_record.add_masked(problem.net, rows, numbers, xs, drawn, scores)
        if not np.isfinite(scores).all():
            raise UnsupportedModelError(
                f"the {problem.net.noun}'s outputs are NaN or infinite for a row whose masked positions hold {replacement.description}; choose another baseline."
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
class _MaskedRows:
    """Rows and their replacements on the network's device; those of the last micro-batch are kept."""

    def __init__(self, problem: SaliencyProblem, replacement: Replacement) -> None:
        self._problem, self._replacement = problem, replacement
        self._rows: Indices = np.zeros(0, dtype=np.intp)
        self._xs: tuple[Array, ...] = ()
        self._references: dict[int, list[Array]] = {}

    def mask_rows(self, rows: Indices, refs: Indices, masks: list[npt.NDArray[Any] | None]) -> tuple[Array, ...]:
        """Masked rows: x m + replacement (1 - m), which is x itself where m is 1."""
        problem = self._problem
        unique, where = np.unique(rows, return_inverse=True)
        if not np.array_equal(unique, self._rows):
            self._rows, self._xs = unique, problem.to_device(unique)
            self._references = {r: b for r, b in self._references.items() if self._replacement.shared_references[r]}
        out = []
        for i, (x, mask) in enumerate(zip(self._xs, masks, strict=True)):
            if mask is None:
                out.append(problem.net.take(x, where))
                continue
            truth = problem.inputs[i].x.dtype.kind == "b"
            kind: Any = problem.inputs[i].x.dtype if problem.inputs[i].without_gradient else np.float32
            m = problem.net.array(mask.astype(kind, order="C"))
            full = x if len(unique) == 1 else problem.net.take(x, where)
            if truth:  # stays so: networks use it as a mask
                out.append((full & m) | (self._reference_rows(i, where, refs) & ~m))
                continue
            reference = self._reference_rows(i, where, refs)
            whole = mask.dtype == bool and not problem.inputs[i].without_gradient
            out.append(problem.net.choose(m, full, reference) if whole else full * m + reference * (1 - m))
        return tuple(out)

    def _reference_rows(self, input_index: int, where: Indices, refs: Indices) -> Array:
        """The replacement in each of these passes."""
        used = np.unique(refs)
        if len(used) > 1:
            references_used = [self._replacement.reference_functions[r](self._rows)[input_index] for r in used]
            return self._problem.net.array(np.stack(references_used)[np.searchsorted(used, refs), where])
        r = int(used[0])
        if r not in self._references:
            rows = self._rows[:1] if self._replacement.shared_references[r] else self._rows
            self._references[r] = [self._problem.net.array(b) for b in self._replacement.reference_functions[r](rows)]
        a = self._references[r][input_index]
        return a if a.shape[0] == 1 else self._problem.net.take(a, where)


def empty_maps(problem: SaliencyProblem, replacement: Replacement) -> TargetMaps:
    """Zeros in the input's shape less its channels, for each target and input; None for held inputs."""
    return [
        [
            np.zeros((problem.n_rows, *i.position_shape)) if may else None
            for i, may in zip(problem.inputs, replacement.maskable_inputs, strict=True)
        ]
        for _ in range(problem.target.n_targets)
    ]


def _is_per_input(value: Any) -> bool:
    """True for an option that was given by inputs: pairs of (name or number of the input, its value), as explanations keep them."""
    return isinstance(value, tuple) and bool(value) and all(isinstance(of, tuple) and len(of) == 2 for of in value)


def value_per_input(problem: SaliencyProblem, name: str, value: Any, used: Sequence[bool] | None = None) -> list[Any]:
    """An option for each input: the same for all, or by their names or numbers; None for those that it does not name.

    Args:
        problem: the inputs. name, value: of the option. used: for each input whether it has a use for the option; None: all have.

    Raises:
        OptionError: it names another input than there is, one twice, or one that has no use for it.
    """
    if not _is_per_input(value):
        return [value] * len(problem.inputs)
    out: list[Any] = [None] * len(problem.inputs)
    named = [input_by_name(problem.inputs, name, key) for key, _ in value]
    for k, (_, own) in zip(named, value, strict=True):
        held = own is not None and used is not None and not used[k]
        wrong = " twice" if named.count(k) > 1 else ", which is held: leave it out" if held else ""
        if wrong:
            raise OptionError(Argument(name, dict(value)), f" names {problem.inputs[k].name}{wrong}.")
        out[k] = own
    return out


def per_axis(name: str, value: Any, sizes: tuple[int, ...], description: str) -> tuple[int, ...]:
    """One number for each position axis, from one number or a tuple of them.

    Raises:
        OptionError: the tuple has another length, or a number is below 1.
    """
    input_ = value if isinstance(value, (tuple, list)) else (value,) * len(sizes)
    if len(input_) != len(sizes):
        raise OptionError(
            f"{name}={value!r} has {len(input_)} numbers and {description} has {len(sizes)} position axes."
        )
    return tuple(check_whole_number(name, v) for v in input_)


@final
@dataclass(frozen=True)
class Occlusion(Method):
    """How much the score drops when a window is masked; each position gets the mean over the windows that contain it.

    P windows over N rows take N (P + 1) forwards; windows in which a row equals its replacement anyway are not evaluated.

    Attributes:
        window: positions masked together, with all their channels: a number or one for each axis; of several inputs, a dict of these by the input's name or number. None:
            an eighth of each axis; of tables one feature or token.
        stride: distance between windows, in the same form. None: half a window, at least 1; the last window ends at the last position, whatever the stride.
        baseline: what masked positions hold; see whybox.methods.saliency.masking.
    """

    window: Any = None
    stride: Any = None
    baseline: Any = None

    name: ClassVar[str] = "occlusion"
    title: ClassVar[str] = "Occlusion"
    needs_gradients: ClassVar[bool] = False
    takes_background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("window", "stride"):
            value = getattr(self, name)
            if isinstance(value, Mapping):
                if not value:
                    raise OptionError(Argument(name, {}), " is empty: name at least one input.")
                object.__setattr__(self, name, tuple(value.items()))

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps."""
        replacement = resolve_replacement(problem, self.baseline)
        sizes, strides = (
            value_per_input(problem, name, getattr(self, name), replacement.maskable_inputs)
            for name in ("window", "stride")
        )
        windows = [
            (input_index, window_slices)
            for input_index, (input_, may) in enumerate(zip(problem.inputs, replacement.maskable_inputs, strict=True))
            if may
            for window_slices in _input_windows(input_, sizes[input_index], strides[input_index])
        ]
        active = [self._active_windows(problem, replacement, windows, row) for row in range(problem.n_rows)]
        out, times = empty_maps(problem, replacement), [np.zeros(i.position_shape) for i in problem.inputs]
        for input_index, window_slices in windows:
            times[input_index][window_slices] += 1
        own = problem.scores

        def make_masks(rows: Indices, ks: Indices) -> list[npt.NDArray[Any] | None]:
            chosen = [windows[active[row][k]] for row, k in zip(rows, ks, strict=True)]
            return [_window_masks(i, input_index, chosen) for input_index, i in enumerate(problem.inputs)]

        counts = np.array([len(a) for a in active], dtype=np.intp)
        for row, scores in evaluate_masked(problem, replacement, counts, make_masks, self.name):
            drops = own[row] - scores
            for k, drop in zip(active[row], drops, strict=True):
                input_index, window_slices = windows[k]
                for t in range(problem.target.n_targets):
                    to = out[t][input_index]
                    if to is not None:
                        to[row][window_slices] += drop[t]
        return MethodOutput(
            [[None if a is None else a / n for a, n in zip(of, times, strict=True)] for of in out],
            f"{len(windows):,} windows",
            f"mean drop of the score over the windows that contain a position; masked positions hold {replacement.description}",
            exact=True,
            channels_reduced=True,
            units="score",
            resolved_options=self._by_number(problem),
        )

    def _by_number(self, problem: SaliencyProblem) -> dict[str, Any]:
        """Options that were given by inputs, with their numbers in place of names, as plain data."""
        given = {name: getattr(self, name) for name in ("window", "stride") if _is_per_input(getattr(self, name))}
        return {
            name: [
                [k, list(v) if isinstance(v, tuple) else v] for k, v in enumerate(value_per_input(problem, name, of))
            ]
            for name, of in given.items()
        }

    def with_resolved(self, settings: Mapping[str, Any]) -> Method:
        """See Method: inputs by their numbers."""
        numbered = {
            name: tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in of) for name, of in settings.items()
        }
        return replace(self, **numbered)

    def _active_windows(
        self, problem: SaliencyProblem, replacement: Replacement, windows: list[tuple[int, tuple[slice, ...]]], row: int
    ) -> Indices:
        """Windows that change this row."""
        differs = []
        for input_index, input_ in enumerate(problem.inputs):
            d = (
                replacement.changed_positions(problem, row, input_index)
                if replacement.maskable_inputs[input_index]
                else np.zeros(input_.x.shape[1:], dtype=bool)
            )
            differs.append(d if input_.channel_axis is None else np.asarray(d.any(axis=input_.channel_axis - 1)))
        if all(d.all() for d, may in zip(differs, replacement.maskable_inputs, strict=True) if may):
            return np.arange(len(windows))
        return np.array(
            [k for k, (input_index, window_slices) in enumerate(windows) if differs[input_index][window_slices].any()],
            dtype=np.intp,
        )


def _input_windows(input_: Input, window_given: Any, stride_given: Any) -> list[tuple[slice, ...]]:
    """The windows of one input.

    Raises:
        OptionError: a window is larger than the input, or windows leave positions out.
    """
    sizes = input_.position_shape
    table = len(sizes) == 1 and input_.channel_axis is None
    window = (
        tuple(1 if table else max(1, n // 8) for n in sizes)
        if window_given is None
        else per_axis("window", window_given, sizes, input_.name)
    )
    stride = (
        tuple(max(1, w // 2) for w in window)
        if stride_given is None
        else per_axis("stride", stride_given, sizes, input_.name)
    )
    for w, s, n in zip(window, stride, sizes, strict=True):
        if w > n:
            raise OptionError(
                Argument("window", window_given), f" is larger than {input_.name}, whose positions are {sizes}."
            )
        if s > w:
            raise OptionError(
                Argument("stride", example=str(s)),
                f" is larger than the window of {w}: positions between windows would never be masked.",
            )
    starts = [
        sorted({min(k, n - w) for k in range(0, n - w + s, s)}) for w, s, n in zip(window, stride, sizes, strict=True)
    ]
    return [tuple(slice(a, a + w) for a, w in zip(at, window, strict=True)) for at in product(*starts)]


def _window_masks(
    input_: Input, input_index: int, chosen: list[tuple[int, tuple[slice, ...]]]
) -> npt.NDArray[Any] | None:
    """Masks of one input: 0 within its windows; None if none of them is in this input."""
    if all(w != input_index for w, _ in chosen):
        return None
    mask = np.ones((len(chosen), *input_.position_shape), dtype=np.float32)
    for k, (w, window_slices) in enumerate(chosen):
        if w == input_index:
            mask[k][window_slices] = 0
    return input_.with_channel(mask)
