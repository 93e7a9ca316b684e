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
from whybox.models.links import PREDICTION

__all__ = ["Target", "resolve_target"]


@final
@dataclass(frozen=True)
class Target:
    """Positions in the flattened outputs.

    Attributes:
        where: (targets, rows): for each target and row, the position.
        shape: of one row's outputs.
        names: of the targets.
        several: whether the result has an axis of outputs.
        said: in words.
        predicted: whether it is the largest output of each row, so that `where` is known when the row was answered.
    """

    where: npt.NDArray[np.intp]
    shape: tuple[int, ...]
    names: tuple[str, ...]
    several: bool
    said: str
    predicted: bool = False

    @property
    def count(self) -> int:
        """How many targets a row has."""
        return len(self.where)

    def about(self, t: int) -> str:
        """``" of output <name>"`` where there are several, for a sentence about one of them."""
        return f" of output {self.names[t]}" if self.several else ""

    def scores(self, outputs: Floats, rows: npt.NDArray[np.intp]) -> Floats:
        """Outputs (m, ...) of these rows -> scores (m, targets)."""
        flat = outputs.reshape(len(rows), -1)
        return np.take_along_axis(flat, self.where[:, rows].T, axis=1)

    def learn(self, outputs: Floats, rows: npt.NDArray[np.intp]) -> None:
        """Rows were answered: where the largest output is meant, it is known now."""
        if self.predicted:
            self.where[0, rows] = outputs.reshape(len(rows), -1).argmax(axis=1)

    def cotangent(self, t: int, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """What pulls target `t`: ones at its places, (m, ...)."""
        out = np.zeros((len(rows), int(np.prod(self.shape, dtype=int))), dtype=np.float32)
        out[np.arange(len(rows)), self.where[t, rows]] = 1
        return out.reshape(len(rows), *self.shape)


def resolve_target(target: Any, shape: tuple[int, ...], rows: int, names: Sequence[str]) -> Target:
    """Find the places of a target.

    Args:
        target: None: the only output, or the one with the largest value in each row. A number, a name, a tuple of numbers (a place in
            outputs of several axes), one number a row, names, or ``"all"``. A number is the name of an output where one is called so, else a
            position; where it could be both, it is refused.
        shape: of what the network answers to one row. rows: how many there are.
        names: of the outputs on their first axis, () when unknown.

    Raises:
        OptionError: no such output, or as many numbers as there are not rows.
    """
    count = int(np.prod(shape, dtype=int))
    labels = _labels(names, shape, count)

    def one(place: int) -> Target:
        return Target(
            np.full((1, rows), place, dtype=np.intp), shape, (labels[place],), False, f"output {labels[place]}"
        )

    if target is None:
        if count == 1:
            return one(0)
        if len(shape) != 1:
            raise OptionError(
                f"the network answers a row with an array of shape {shape}; say what to explain: ",
                Argument("target", example="(index, index, ...)"),
                ", or a function of the outputs.",
            )
        unknown = np.full((1, rows), -1, dtype=np.intp)
        return Target(
            unknown, shape, ("predicted",), False, "the output with the largest value in each row", predicted=True
        )
    if isinstance(target, str):
        if target == "all":
            if len(shape) != 1:
                raise OptionError(
                    Argument("target", "all"), f" needs outputs along one axis; here one row has the shape {shape}."
                )
            where = np.repeat(np.arange(count)[:, None], rows, axis=1)
            return Target(where, shape, tuple(labels), True, "every output")
        return one(_named(target, labels))
    if isinstance(target, tuple):
        return one(_place(target, shape))
    if getattr(target, "shape", None) == () and hasattr(target, "item"):  # an array or tensor of one number
        target = target.item()
    if isinstance(target, (int, np.integer)) and not isinstance(target, bool):
        return one(_numbered(target, shape, labels))
    given = np.asarray(target, dtype=object) if not isinstance(target, (dict, set)) else np.zeros((0, 0))
    listed: list[Any] = list(given.reshape(-1)) if given.ndim < 2 or given.shape[1:] == (1,) else []
    if listed and all(isinstance(t, str) for t in listed):
        places = [_named(t, labels) for t in listed]
        where = np.repeat(np.array(places, dtype=np.intp)[:, None], rows, axis=1)
        return Target(where, shape, tuple(labels[p] for p in places), True, f"outputs {', '.join(listed)}")
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
        places = [_numbered(t, shape, labels) for t in listed]
        return Target(np.array([places], dtype=np.intp), shape, ("given",), False, "the output given for each row")
    raise OptionError(
        Argument("target", target),
        " is not an output: give a number, a name, one number a row, 'all', or a function of the outputs.",
    )


def _labels(names: Sequence[str], shape: tuple[int, ...], count: int) -> list[str]:
    if names and len(shape) == 1 and len(names) != count:
        raise OptionError(Argument("output_names"), f" has {len(names)} names and the network has {count} outputs.")
    if len(shape) == 1:
        return list(map(str, names)) if names else [str(i) for i in range(count)]
    if not shape:
        return [PREDICTION]
    return (
        [",".join(map(str, place)) for place in np.ndindex(shape)]
        if count <= 100_000
        else [str(i) for i in range(count)]
    )


_NAMELESS: Final = "Names are given with ", Argument("output_names", example="[...]"), "."


def _named(name: str, labels: list[str]) -> int:
    if name not in labels:
        raise OptionError(
            Argument("target", name),
            " is not an output.",
            known=labels,
            hint=_NAMELESS if labels == [str(i) for i in range(len(labels))] else (),
        )
    if labels.count(name) > 1:
        raise OptionError(Argument("target", name), f": {labels.count(name)} outputs are called so; give its number.")
    return labels.index(name)


def _numbered(number: Any, shape: tuple[int, ...], labels: list[str]) -> int:
    """The place of an output given by a number: its label where labels are numbers, else its position."""
    if len(shape) == 1:
        found = output_position("target", number, labels, from_end=True)
        if found is not None:
            return found
    return _place((int(number),), shape)


def _place(index: tuple[Any, ...], shape: tuple[int, ...]) -> int:
    if not shape and index in ((0,), (-1,)):
        return 0
    if (
        int(np.prod(shape, dtype=int)) == 1
        and len(index) == 1
        and not isinstance(index[0], bool)
        and index[0] not in (0, -1)
    ):
        raise OptionError(
            Argument("target", index[0]), ": the network answers one number a row; leave ", Argument("target"), " out."
        )
    if len(index) != len(shape):
        raise OptionError(
            Argument("target", index if len(index) != 1 else index[0]),
            f": one row's outputs have the shape {shape}; give {len(shape)} numbers in a tuple.",
        )
    place = []
    for i, n in zip(index, shape, strict=True):
        if isinstance(i, bool) or not isinstance(i, (int, np.integer)) or not -n <= i < n:
            raise OptionError(Argument("target"), f" {i!r} is out of range: there are {n} outputs, 0 to {n - 1}.")
        place.append(int(i) % n)
    return int(np.ravel_multi_index(place, shape))
