"""Rows with noise, as tensors: pairs of both signs, and what goes with each row as often as there are copies of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch

from whybox.core.validation import check_positive
from whybox.errors import Argument, InputError, OptionError

__all__ = ["NoisyRows", "repeat_for_copies"]

MIN_NOISY: Final = 4  # two pairs, for a standard error


@final
@dataclass(frozen=True)
class NoisyRows:
    """Copies of rows with normal noise, in pairs of both signs; drawn anew for each row, by its number.

    Attributes:
        tensors: the rows, one tensor an input. noise: (rows, pairs, ...), one an input. is_tuple: whether inputs were a tuple.
    """

    tensors: tuple[torch.Tensor, ...]
    noise: tuple[torch.Tensor, ...]
    is_tuple: bool

    @classmethod
    def draw(cls, inputs: Any, stdevs: Any, copies: int) -> NoisyRows:
        """Draw noise for the next even number of copies, at least 4.

        Raises:
            InputError: an input is no tensor of floats. OptionError: `stdevs` are no widths, one for each input, or all 0.
        """
        is_tuple = isinstance(inputs, tuple)
        tensors = inputs if is_tuple else (inputs,)
        if not tensors or not all(isinstance(t, torch.Tensor) and t.is_floating_point() and t.ndim for t in tensors):
            raise InputError(Argument("inputs"), " under noise must be tensors of floats, rows first.")
        widths = stdevs if isinstance(stdevs, tuple) else (stdevs,) * len(tensors)
        if len(widths) != len(tensors):
            raise OptionError(
                Argument("stdevs"), f" must be a number, or a tuple with one for each of the {len(tensors)} inputs."
            )
        widths = tuple(check_positive("stdevs", w) if w or not any(widths) else 0.0 for w in widths)
        pairs = max(MIN_NOISY, 2 * -(-copies // 2)) // 2
        noise = []
        for k, (t, width) in enumerate(zip(tensors, widths, strict=True)):
            shape = (pairs, *t.shape[1:])
            drawn = [np.random.default_rng((row, k)).standard_normal(shape) for row in range(len(t))]
            every = np.array(drawn).reshape(len(t), *shape)  # of no rows too, which the method refuses
            noise.append(torch.as_tensor(every * width, dtype=t.dtype, device=t.device))
        return cls(tensors, tuple(noise), is_tuple)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.tensors[0])

    @property
    def copies(self) -> int:
        """Number of copies of each row."""
        return 2 * int(self.noise[0].shape[1])

    def inputs(self, which: slice) -> Any:
        """Return these copies of every row, a row's own together: (rows * copies, ...), a tuple if the inputs were one."""
        made = []
        for t, e in zip(self.tensors, self.noise, strict=True):
            both = torch.stack([e, -e], dim=2).reshape(len(t), self.copies, *t.shape[1:])[:, which]
            made.append((t.detach()[:, None] + both).reshape(-1, *t.shape[1:]))
        return tuple(made) if self.is_tuple else made[0]


def repeat_for_copies(name: str, given: Any, tensors: Sequence[torch.Tensor], copies: int) -> Any:
    """Return what has an entry for each row as often as there are copies of it, a row's own together: tensors, alone or in a tuple, and a list of targets.

    All else is as it is: another list, or a tuple in a tuple, is a constant of the forward function, however long.
    """
    rows, ndims = len(tensors[0]), [t.ndim for t in tensors]

    def repeat(one: Any) -> Any:
        has_rows = isinstance(one, torch.Tensor) and one.ndim > 0 and len(one) == rows
        if name == "feature_mask":  # one of all rows may have as many features as there are rows
            has_rows = has_rows and one.ndim in ndims
        return one.repeat_interleave(copies, dim=0) if has_rows else one

    if name == "target" and isinstance(given, list) and len(given) == rows:
        return [one for one in given for _ in range(copies)]
    return tuple(map(repeat, given)) if isinstance(given, tuple) else repeat(given)
