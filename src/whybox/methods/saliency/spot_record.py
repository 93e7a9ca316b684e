"""What a saliency method evaluates for a few rows, written down while it runs, so that its numbers can be recomputed by hand afterwards.

A map is a sum over many passes: noisy copies of a row, points of a path, masked copies. Evaluating all of them again would double the work. So a few rows are
drawn before the method runs, and at a few positions of these rows every point that the network is given is kept, with its gradient or its score. The sum
is then recomputed with numpy alone, and one of the points is given to the network again, alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.saliency.inputs import Input
from whybox.models.differentiable import Array, Differentiable

__all__ = ["MaskedBlock", "PointBlock", "RecordedPositions", "SpotRecord"]

MIN_RECORDED_NUMBERS: Final = (
    72  # of the map: enough that a fault of a tenth of the numbers is among them in 999 of 1,000 runs
)
MAX_NUMBERS: Final = 192  # numbers of each input at which points are kept
MAX_TARGETS: Final = 4  # outputs whose gradients are kept
WHOLE_MASK_ROWS: Final = (2, 8)  # rows of which whole masks are kept: least and most
WHOLE_MASK_POSITIONS: Final = 2**17  # of all these rows together, for each mask

Indices = npt.NDArray[np.intp]


@final
@dataclass(frozen=True)
class RecordedPositions:
    """Positions of an input at which numbers are kept, with all their channels.

    Attributes:
        positions: (places,), in the flattened position axes. number_indices: (places, channels), in the flattened input of a row; one channel if it has none.
        axis_coordinates: of `number_indices`, flattened, for each axis after the rows.
    """

    positions: Indices
    number_indices: Indices
    axis_coordinates: tuple[Indices, ...]

    @classmethod
    def draw_positions(cls, input_: Input, rng: np.random.Generator) -> RecordedPositions:
        """Draw positions of an input."""
        channels = 1 if input_.channel_axis is None else input_.x.shape[input_.channel_axis]
        total = int(np.prod(input_.position_shape, dtype=int))
        count = min(total, max(2, MAX_NUMBERS // channels))
        return cls.from_positions(input_, np.sort(rng.choice(total, count, replace=False)))

    @classmethod
    def all_positions(cls, input_: Input) -> RecordedPositions:
        """All positions of an input."""
        return cls.from_positions(input_, np.arange(int(np.prod(input_.position_shape, dtype=int))))

    @classmethod
    def from_positions(cls, input_: Input, positions: Indices) -> RecordedPositions:
        """These positions of an input."""
        channels = 1 if input_.channel_axis is None else input_.x.shape[input_.channel_axis]
        sizes, count = input_.position_shape, len(positions)
        at = [np.repeat(a, channels) for a in np.unravel_index(positions, sizes)] if sizes else []
        if input_.channel_axis is not None:
            at.insert(input_.channel_axis - 1, np.tile(np.arange(channels), count))
        numbers = np.ravel_multi_index(tuple(at), input_.x.shape[1:]).reshape(count, channels)
        return cls(positions, np.asarray(numbers), tuple(np.asarray(a) for a in at))

    def numbers_of(self, rows: npt.NDArray[Any]) -> Floats:
        """Numbers of whole rows (m, ...) here: (m, places x channels)."""
        return np.asarray(rows.reshape(len(rows), -1)[:, self.number_indices.reshape(-1)])

    def of_masks(self, masks: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The same of masks, whose axes may have length 1."""
        at = tuple(
            c if n > 1 else np.zeros_like(c) for c, n in zip(self.axis_coordinates, masks.shape[1:], strict=True)
        )
        index: Any = (slice(None), *at)
        return np.asarray(masks[index])


@final
@dataclass(frozen=True)
class PointBlock:
    """Points that the network took derivatives at, in one pass.

    Attributes:
        rows: (m,), the row that each belongs to. points: for each input its numbers at the places, None without derivatives.
        gradients: for each recorded target and input the same of the gradient.
    """

    rows: Indices
    points: tuple[Floats | None, ...]
    gradients: tuple[tuple[Floats | None, ...], ...]


@final
@dataclass(frozen=True)
class MaskedBlock:
    """Masked rows that the network was given in one pass.

    Attributes:
        rows, mask_numbers, reference_numbers: (m,), the row, the number of its mask and of what masked positions hold. points: for each input its numbers at the places.
        kept_shares: for each input how much of each of these stays. n_hidden: for each input the number of positions of each mask that do not stay.
        scores: (m, targets).
    """

    rows: Indices
    mask_numbers: Indices
    reference_numbers: Indices
    points: tuple[Floats, ...]
    kept_shares: tuple[Floats, ...]
    n_hidden: tuple[Floats, ...]
    scores: Floats


@final
@dataclass
class SpotRecord:
    """Rows, positions and targets that are recorded, and what was evaluated there.

    Attributes:
        rows: recorded rows, in the order in which they are checked. input_positions: of each input. targets: recorded targets.
        whole_masks: of the first recorded rows, their whole masks; empty: none are kept.
        watched_positions: of recorded rows one position of each part that may be masked, for each input; whether each mask shows it is in `watched_masks`.
        point_blocks, masked_blocks: what was evaluated. sampled_points: for each recorded row one of its point_blocks, whole: (position among its points, inputs); of masks
            (mask number, reference, masks). layer_outputs: of each recorded row what a layer outputs, and its gradient for each recorded target, if any.
    """

    rows: Indices
    input_positions: tuple[RecordedPositions, ...]
    targets: tuple[int, ...]
    rng: np.random.Generator
    whole_masks: dict[int, list[tuple[npt.NDArray[np.bool_] | None, ...]]] = field(default_factory=dict)
    watched_positions: dict[int, tuple[Indices | None, ...]] = field(default_factory=dict)
    watched_masks: dict[int, list[npt.NDArray[np.bool_]]] = field(default_factory=dict)
    point_blocks: list[PointBlock] = field(default_factory=list)
    masked_blocks: list[MaskedBlock] = field(default_factory=list)
    sampled_points: dict[int, tuple[int, Any]] = field(default_factory=dict)
    layer_outputs: dict[int, tuple[Any, list[Any]]] = field(default_factory=dict)
    _points_seen: dict[int, int] = field(default_factory=dict)

    @classmethod
    def draw_record(
        cls, inputs: Sequence[Input], targets: int, rng: np.random.Generator, rows: int, *, whole_masks: bool = False
    ) -> SpotRecord:
        """Draw what is recorded: so many rows, or more of small inputs."""
        count = len(inputs[0].x)
        some = np.sort(rng.choice(targets, min(targets, MAX_TARGETS), replace=False))
        places = tuple(RecordedPositions.draw_positions(i, rng) for i in inputs)
        numbers = sum(len(p.positions) for p, i in zip(places, inputs, strict=True) if not i.is_held)
        recorded = min(count, max(rows, -(-MIN_RECORDED_NUMBERS // max(numbers, 1))))
        chosen = rng.choice(count, recorded, replace=False).astype(np.intp)
        positions = sum(int(np.prod(i.x.shape[1:])) for i in inputs)
        kept = int(np.clip(WHOLE_MASK_POSITIONS // positions, *WHOLE_MASK_ROWS))
        whole: Any = {int(row): [] for row in chosen[:kept]} if whole_masks else {}
        return cls(chosen, places, tuple(map(int, some)), rng, whole)

    def watch_parts(self, labels: Sequence[npt.NDArray[np.intp] | None], parts_of_rows: Sequence[Indices]) -> None:
        """Keep, for the recorded rows, whether each mask shows each part: at one position of it, which is much less than the whole mask.

        Args:
            labels: for each input the part of each position, (1 or rows, ...), as masks have their axes. parts_of_rows: the parts of each row that may be masked.
        """
        for row in self.rows.tolist():
            flat = [None if of is None else of[min(row, len(of) - 1)].reshape(-1) for of in labels]
            places: list[Indices | None] = []
            seen = np.zeros(0, dtype=np.intp)  # a part of several inputs is watched in the first of them
            for of in flat:
                if of is None:
                    places.append(None)
                    continue
                numbers, first = np.unique(of, return_index=True)
                places.append(first[np.isin(numbers, parts_of_rows[row]) & ~np.isin(numbers, seen)])
                seen = np.concatenate([seen, numbers])
            self.watched_positions[row], self.watched_masks[row] = tuple(places), []

    def add_points(
        self, net: Differentiable, rows: Indices, xs: Sequence[Array], grads: Sequence[Sequence[Array | None]]
    ) -> None:
        """Keep points and gradients of the recorded rows."""
        here = np.flatnonzero(np.isin(rows, self.rows))
        if not len(here):
            return
        everyone = len(here) == len(rows)

        def at_places(arrays: Sequence[Array | None]) -> tuple[Floats | None, ...]:
            return tuple(
                None if a is None else places.numbers_of(net.numpy(a if everyone else net.take(a, here)))
                for a, places in zip(arrays, self.input_positions, strict=True)
            )

        with_gradient = [x if grads[0][i] is not None else None for i, x in enumerate(xs)]
        gradients = tuple(at_places(grads[t]) for t in self.targets)
        self.point_blocks.append(PointBlock(rows[here], at_places(with_gradient), gradients))
        for k in here.tolist():
            row = int(rows[k])
            if self._keeps_next(row):
                one = np.array([k], dtype=np.intp)
                self.sampled_points[row] = self._points_seen[row] - 1, tuple(net.numpy(net.take(x, one)) for x in xs)

    def add_masked(
        self,
        net: Differentiable,
        rows: Indices,
        numbers: tuple[Indices, Indices],
        xs: Sequence[Array],
        masks: Sequence[npt.NDArray[Any] | None],
        scores: Floats,
    ) -> None:
        """Keep masked copies of the recorded rows; `numbers`: of the mask and of the reference of each."""
        here = np.flatnonzero(np.isin(rows, self.rows))
        if not len(here):
            return
        everyone = len(here) == len(rows)
        chosen = [m if m is None or everyone else m[here] for m in masks]
        kept = tuple(
            np.ones((len(here), places.number_indices.size)) if m is None else places.of_masks(m).astype(np.float64)
            for m, places in zip(chosen, self.input_positions, strict=True)
        )
        points = tuple(
            net.numbers_at(x, here, places.number_indices.reshape(-1))
            for x, places in zip(xs, self.input_positions, strict=True)
        )
        hidden = tuple(np.zeros(len(here)) if m is None else _hidden_positions(m) for m in chosen)
        self.masked_blocks.append(
            MaskedBlock(rows[here], numbers[0][here], numbers[1][here], points, kept, hidden, scores[here])
        )
        for row in self.whole_masks:
            mine = np.flatnonzero(rows[here] == row)
            if len(mine):
                self.whole_masks[row].append(tuple(None if m is None else m[mine].astype(bool) for m in chosen))
        for row, places in self.watched_positions.items():
            mine = np.flatnonzero(rows[here] == row)
            if len(mine):
                shown = [
                    m[mine].reshape(len(mine), -1)[:, p] > 0
                    for m, p in zip(chosen, places, strict=True)
                    if m is not None and p is not None
                ]
                self.watched_masks[row].append(np.concatenate(shown, axis=1))
        for n, k in enumerate(here.tolist()):
            row = int(rows[k])
            if self._keeps_next(row):
                whole = tuple(None if m is None else m[n : n + 1].copy() for m in chosen)
                self.sampled_points[row] = int(numbers[0][k]), (int(numbers[1][k]), whole)

    def add_layer(self, net: Differentiable, rows: Indices, activation: Array, gradients: Sequence[Array]) -> None:
        """Keep what a layer outputs for the recorded rows, and its gradients for each target."""
        for k in np.flatnonzero(np.isin(rows, self.rows)).tolist():
            one = np.array([k], dtype=np.intp)
            kept = [net.numpy(net.take(gradients[t], one)) for t in self.targets] if gradients else []
            self.layer_outputs[int(rows[k])] = net.numpy(net.take(activation, one)), kept

    def _keeps_next(self, row: int) -> bool:
        """Whether the next point of a row takes the place of the one that is kept: each has the same chance in the end."""
        self._points_seen[row] = self._points_seen.get(row, 0) + 1
        return bool(self.rng.random() * self._points_seen[row] < 1)

    def points_of(self, row: int) -> tuple[list[Floats | None], list[list[Floats | None]], Indices]:
        """All points of a row, gradients of each recorded target, and the pass that each was in."""
        blocks = [(k, b, np.flatnonzero(b.rows == row)) for k, b in enumerate(self.point_blocks)]
        blocks = [(k, b, at) for k, b, at in blocks if len(at)]
        which = np.concatenate([np.full(len(at), k, dtype=np.intp) for k, _, at in blocks] or [np.zeros(0, np.intp)])
        inputs = range(len(self.input_positions))
        points = [_join_arrays([_take_rows(b.points[i], at) for _, b, at in blocks]) for i in inputs]
        gradients = [
            [_join_arrays([_take_rows(b.gradients[n][i], at) for _, b, at in blocks]) for i in inputs]
            for n in range(len(self.targets))
        ]
        return points, gradients, which

    def masked_of(self, row: int) -> MaskedBlock | None:
        """All masked copies of a row; None if there were none."""
        blocks = [(b, np.flatnonzero(b.rows == row)) for b in self.masked_blocks]
        blocks = [(b, at) for b, at in blocks if len(at)]
        if not blocks:
            return None
        inputs = range(len(self.input_positions))
        return MaskedBlock(
            np.full(sum(len(at) for _, at in blocks), row, dtype=np.intp),
            np.concatenate([b.mask_numbers[at] for b, at in blocks]),
            np.concatenate([b.reference_numbers[at] for b, at in blocks]),
            tuple(np.concatenate([b.points[i][at] for b, at in blocks]) for i in inputs),
            tuple(np.concatenate([b.kept_shares[i][at] for b, at in blocks]) for i in inputs),
            tuple(np.concatenate([b.n_hidden[i][at] for b, at in blocks]) for i in inputs),
            np.concatenate([b.scores[at] for b, at in blocks]),
        )

    def whole_masks_of(self, row: int) -> list[npt.NDArray[np.bool_] | None] | None:
        """All whole masks of a row, in the order of its masked copies, for each input (masks, positions); None if they were not kept."""
        if row not in self.whole_masks:
            return None
        parts = self.whole_masks[row]
        joined = [_join_arrays([of[i] for of in parts]) for i in range(len(self.input_positions))]
        return [None if m is None else m.reshape(len(m), -1) for m in joined]


def _hidden_positions(masks: npt.NDArray[Any]) -> Floats:
    """How many positions each mask hides; of masks of shares, their sum."""
    flat = masks.reshape(len(masks), -1)
    if flat.dtype == bool:
        return np.asarray(flat.shape[1] - np.count_nonzero(flat, axis=1), dtype=np.float64)
    return np.asarray((1 - flat.astype(np.float64)).sum(axis=1))


def _take_rows(a: npt.NDArray[Any] | None, at: Indices) -> npt.NDArray[Any] | None:
    return None if a is None else a[at]


def _join_arrays(parts: Sequence[npt.NDArray[Any] | None]) -> npt.NDArray[Any] | None:
    """Parts one after the other; None for an input that is in none of them."""
    known = [p for p in parts if p is not None]
    return np.concatenate(known) if known else None
