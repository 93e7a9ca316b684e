"""Which output is explained: named, numbered, one for each row, the predicted one, or all of them from one forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.label_choice import output_position
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.models.links import PREDICTION_UNITS

__all__ = ["Target", "resolve_target"]


@final
@dataclass(frozen=True)
class Target:
    """Positions in the flattened outputs.

    Attributes:
        positions: (targets, rows): the position of each target in each row's outputs.
        output_shape: of one row's outputs.
        names: of the targets.
        has_output_axis: True if the result has an axis of outputs.
        per_row: True if each row has an output of its own (predicted, or given by the user).
        is_predicted: True if that is the largest output of the row; its position is known once the row is evaluated.
    """

    positions: npt.NDArray[np.intp]
    output_shape: tuple[int, ...]
    names: tuple[str, ...]
    has_output_axis: bool
    per_row: bool = False
    is_predicted: bool = False

    @property
    def n_targets(self) -> int:
        """Number of targets of a row."""
        return len(self.positions)

    def output_phrase(self, t: int) -> str:
        """``" of output <name>"`` where there are several: part of a sentence about one of them."""
        return f" of output {self.names[t]}" if self.has_output_axis else ""

    def select_scores(self, outputs: Floats, rows: npt.NDArray[np.intp]) -> Floats:
        """Outputs (m, ...) of these rows -> scores (m, targets)."""
        flat = outputs.reshape(len(rows), -1)
        return np.take_along_axis(flat, self.positions[:, rows].T, axis=1)

    def record_outputs(self, outputs: Floats, rows: npt.NDArray[np.intp]) -> None:
        """Note the largest output of these rows, if that is the target."""
        if self.is_predicted:
            self.positions[0, rows] = outputs.reshape(len(rows), -1).argmax(axis=1)

    def cotangent(self, t: int, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Cotangent of target `t`: ones at its positions, (m, ...)."""
        out = np.zeros((len(rows), int(np.prod(self.output_shape, dtype=int))), dtype=np.float32)
        out[np.arange(len(rows)), self.positions[t, rows]] = 1
        return out.reshape(len(rows), *self.output_shape)


def resolve_target(target: Any, shape: tuple[int, ...], rows: int, names: Sequence[str]) -> Target:
    """Find the positions of a target.

    Args:
        target: None: the only output, or the one with the largest value in each row. A number, a name, a tuple of numbers (a position in
            outputs of several axes), a list of such tuples, one number a row, names, or ``"all"``. A number is the name of an output where one is called so, else a
            position; where it could be both, it is refused.
        shape: of one row's outputs. rows: number of rows.
        names: of the outputs along their first axis, () if unknown.

    Raises:
        OptionError: there is no such output, or there is not one number for each row.
    """
    count = int(np.prod(shape, dtype=int))
    labels = _output_labels(names, shape, count)

    def one_output(position: int) -> Target:
        return Target(np.full((1, rows), position, dtype=np.intp), shape, (labels[position],), False)

    if target is None:
        if count == 1:
            return one_output(0)
        if len(shape) != 1:
            raise OptionError(
                f"a row's outputs have the shape {shape}; say which one to explain: ",
                Argument("target", example=""),
                "(index, index, ...), or a function of the outputs.",
            )
        unknown = np.full((1, rows), -1, dtype=np.intp)
        return Target(unknown, shape, ("predicted",), False, per_row=True, is_predicted=True)
    if isinstance(target, str):
        if target == "all":
            if len(shape) != 1:
                raise OptionError(
                    Argument("target", "all"),
                    f" needs outputs along one axis; one row's outputs have the shape {shape}.",
                )
            positions = np.repeat(np.arange(count)[:, None], rows, axis=1)
            return Target(positions, shape, tuple(labels), True)
        return one_output(_named_position(target, labels))
    places = target if isinstance(target, list) else [target]
    if places and all(isinstance(t, tuple) for t in places):
        chosen = [_flat_position(t, shape) for t in places]
        positions = np.repeat(np.array(chosen, dtype=np.intp)[:, None], rows, axis=1)
        return Target(positions, shape, tuple(labels[p] for p in chosen), isinstance(target, list))
    if getattr(target, "shape", None) == () and hasattr(target, "item"):  # an array or tensor of one number
        target = target.item()
    if isinstance(target, (int, np.integer)) and not isinstance(target, bool):
        return one_output(_numbered_position(target, shape, labels))
    given = np.asarray(target, dtype=object) if not isinstance(target, (dict, set)) else np.zeros((0, 0))
    listed: list[Any] = list(given.reshape(-1)) if given.ndim < 2 or given.shape[1:] == (1,) else []
    if listed and all(isinstance(t, str) for t in listed):
        chosen = [_named_position(t, labels) for t in listed]
        positions = np.repeat(np.array(chosen, dtype=np.intp)[:, None], rows, axis=1)
        return Target(positions, shape, tuple(labels[p] for p in chosen), True)
    if listed and all(isinstance(t, (int, np.integer)) and not isinstance(t, (bool, np.bool_)) for t in listed):
        if len(listed) != rows:
            raise OptionError(
                Argument("target"),
                f" has {len(listed)} numbers and there are {rows} rows: a list of numbers is one target for each row. For several "
                "outputs of every row pass their names as text (",
                Argument("target", ["0", "3"]),
                "), or ",
                Argument("target", "all"),
                ".",
            )
        chosen = [_numbered_position(t, shape, labels) for t in listed]
        return Target(np.array([chosen], dtype=np.intp), shape, ("given",), False, per_row=True)
    raise OptionError(
        Argument("target", target),
        " is not an output: give a number, a name, one number a row, 'all', or a function of the outputs.",
    )


def _output_labels(names: Sequence[str], shape: tuple[int, ...], count: int) -> list[str]:
    if names and len(shape) == 1 and len(names) != count:
        raise OptionError(Argument("output_names"), f" has {len(names)} names and the network has {count} outputs.")
    if len(shape) == 1:
        return list(map(str, names)) if names else [str(i) for i in range(count)]
    if not shape:
        return [PREDICTION_UNITS]
    return (
        [",".join(map(str, position)) for position in np.ndindex(shape)]
        if count <= 100_000
        else [str(i) for i in range(count)]
    )


_NAMES_HINT: Final = "Names are given with ", Argument("output_names", example="[...]"), "."


def _named_position(name: str, labels: list[str]) -> int:
    if name not in labels:
        raise OptionError(
            Argument("target", name),
            " is not an output.",
            known=labels,
            hint=_NAMES_HINT if labels == [str(i) for i in range(len(labels))] else (),
        )
    if labels.count(name) > 1:
        raise OptionError(Argument("target", name), f": {labels.count(name)} outputs have this name; give a number.")
    return labels.index(name)


def _numbered_position(number: Any, shape: tuple[int, ...], labels: list[str]) -> int:
    """The position of an output given by a number: its label if labels are numbers, else its position."""
    if len(shape) == 1:
        found = output_position("target", number, labels, from_end=True)
        if found is not None:
            return found
    return _flat_position((int(number),), shape)


def _flat_position(index: tuple[Any, ...], shape: tuple[int, ...]) -> int:
    if not shape and index in ((0,), (-1,)):
        return 0
    if (
        int(np.prod(shape, dtype=int)) == 1
        and len(index) == 1
        and not isinstance(index[0], bool)
        and index[0] not in (0, -1)
    ):
        raise OptionError(
            Argument("target", index[0]), ": the network has one output a row; leave ", Argument("target"), " out."
        )
    if len(index) != len(shape):
        raise OptionError(
            Argument("target", index if len(index) != 1 else index[0]),
            f": one row's outputs have the shape {shape}; give {len(shape)} numbers in a tuple.",
        )
    position = []
    for i, n in zip(index, shape, strict=True):
        if isinstance(i, bool) or not isinstance(i, (int, np.integer)) or not -n <= i < n:
            raise OptionError(f"target {i!r} is out of range: there are {n} outputs, 0 to {n - 1}.")
        position.append(int(i) % n)
    return int(np.ravel_multi_index(position, shape))
