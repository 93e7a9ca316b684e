"""Expected gradients: integrated gradients averaged over baselines drawn from a background, one gradient a draw.

Source: Erion, Janizek, Sturmfels, Lundberg & Lee 2021 (arXiv:1906.10670), equation 2. Samples come in independent groups, from which the standard error is
estimated. Within a group shares of the way are stratified and background rows used as evenly as their number allows, in a random pairing (a Latin
hypercube: McKay, Beckman & Conover 1979, Technometrics 21, 239-245). What a group's background rows miss of the background's mean is made up with the mean
gradient of the other groups, which is independent of it, so that nothing is biased (a control variate whose coefficient is estimated elsewhere:
Owen, Monte Carlo theory, section 8.9); for a linear network nothing is left to chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_positive, check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, LimitError, OptionError
from whybox.methods.saliency.base import Maps, Method, MethodOutput
from whybox.methods.saliency.baselines import middle, resolve_baselines
from whybox.methods.saliency.integrated_gradients import along, base_scores
from whybox.methods.saliency.problem import Indices, Question
from whybox.models.differentiable import Array

__all__ = ["ExpectedGradients"]

GROUPS: Final = 32
_Held = list[list[npt.NDArray[np.float64] | None]]  # for each target and input: (groups, *shape)
_Rows = Iterator[tuple[int, _Held, _Held, list[npt.NDArray[np.float64] | None]]]


@final
@dataclass(frozen=True)
class ExpectedGradients(Method):
    """Integrated gradients in the mean over background rows, sampled; each number has a standard error.

    Attributes:
        samples: gradients a row, a multiple of 32. tol: completeness error, relative to |score - mean score of the background|, beyond which rows are marked.
    """

    samples: int = 256
    tol: float = 0.05

    name: ClassVar[str] = "expected_gradients"
    title: ClassVar[str] = "Expected gradients"
    background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_whole_number("samples", self.samples, GROUPS)
        check_positive("tol", self.tol, 1.0)
        if self.samples % GROUPS:
            raise OptionError(
                Argument("samples", self.samples),
                f" must be a multiple of {GROUPS} (say {-(-self.samples // GROUPS) * GROUPS}): the standard error comes from {GROUPS} "
                "equal groups.",
            )

    def reference(self, q: Question) -> Sequence[npt.NDArray[Any] | None] | None:
        """The mean of the background."""
        return middle(q, "background")

    def __call__(self, q: Question) -> MethodOutput:
        """Compute the maps.

        Raises:
            OptionError: there is no background. LimitError: the groups of one row do not fit into the budget.
        """
        q.needs_derivatives(self.name)
        if q.background is None:
            raise OptionError(
                Argument("method", "expected_gradients"),
                " averages over background rows; give ",
                Argument("background", example="..."),
                ".",
            )
        numbers = q.target.count * sum(int(np.prod(i.x.shape[1:])) for i in q.inputs if not i.whole)
        if (held := 2 * GROUPS * 8 * numbers) > q.budget:
            raise LimitError(
                f"the groups of one row take {held / 1e6:,.0f} MB, more than the budget of {q.budget / 1e6:,.0f} MB; raise it, or explain fewer targets at a time."
            )
        base = base_scores(q, resolve_baselines(q, "background")).mean(axis=0)
        maps, variances = q.zeros(), self._empty(q)
        for row, a, g, off in self._groups(q):
            for t in range(q.target.count):
                for i, to in enumerate(maps[t]):
                    spread = variances[t][i]
                    if to is None or spread is None:
                        continue
                    each = _steadied(a[t][i], g[t][i], off[i])
                    to[row] = each.mean(axis=0)
                    axis = q.summed(i)
                    lean = each if axis is None else each.sum(axis)
                    spread[row] = lean.var(axis=0, ddof=1) / GROUPS
        count = len(q.background[0].x)
        return MethodOutput(
            maps,
            f"{self.samples} samples a row in {GROUPS} independent Latin hypercubes, control variate of the background's mean",
            f"gradient integrated on straight ways from {count:,} background rows, which stand for absent"
            + (", whole numbers held" if any(i.whole for i in q.inputs) else ""),
            variances,
            base=base,
            tolerance=self.tol,
        )

    def _empty(self, q: Question) -> Maps:
        """Where variances go: without channels where these are summed."""
        return [
            [
                None if i.whole else np.zeros(tuple(n for k, n in enumerate(i.x.shape) if k != q.summed(which)))
                for which, i in enumerate(q.inputs)
            ]
            for _ in range(q.target.count)
        ]

    def _drawn(self, q: Question, row: int, count: int) -> tuple[Floats, Indices]:
        """Shares of the way and background rows of one row's samples, group after group."""
        rng, each = q.draws(row), self.samples // GROUPS
        shares = np.empty((GROUPS, each))
        picks = np.empty((GROUPS, each), dtype=np.intp)
        for group in range(GROUPS):
            shares[group] = (np.arange(each) + rng.random(each)) / each
            rounds = [rng.permutation(count) for _ in range(-(-each // count))]
            picks[group] = rng.permutation(np.concatenate(rounds)[:each])
        return shares.reshape(-1), picks.reshape(-1)

    def _groups(self, q: Question) -> _Rows:
        """For each row: its number; for targets and inputs, means over each group of gradient times way, and of the gradient.

        And for inputs, by how much the group's background rows differ from the mean of all, (groups, ...).
        """
        assert q.background is not None  # noqa: S101  # asked by the caller
        behind = [b.x.astype(np.float64) for b in q.background]
        centres = [b.mean(axis=0) for b in behind]
        each = self.samples // GROUPS
        drawn: dict[int, tuple[Floats, Indices]] = {}
        sums: dict[int, tuple[_Held, _Held]] = {}
        for rows, sample in q.pairs(self.samples, self.name):
            for row in np.unique(rows):
                if int(row) not in drawn:
                    drawn[int(row)] = self._drawn(q, int(row), len(behind[0]))
                    sums[int(row)] = (_held(q), _held(q))
            shares = np.array([drawn[int(r)][0][s] for r, s in zip(rows, sample, strict=True)])
            picks = np.array([drawn[int(r)][1][s] for r, s in zip(rows, sample, strict=True)])
            self._add(q, rows, sample // each, shares, picks, sums)
            done = [int(r) for r in np.unique(rows) if r != rows[-1] or sample[-1] == self.samples - 1]
            for row in done:
                picked = drawn.pop(row)[1].reshape(GROUPS, each)
                a, g = sums.pop(row)
                off = [
                    None if i.whole else b[picked].mean(axis=1) - c
                    for i, b, c in zip(q.inputs, behind, centres, strict=True)
                ]
                yield row, _divided(a, each), _divided(g, each), off

    def _add(
        self,
        q: Question,
        rows: Indices,
        group: Indices,
        shares: Floats,
        picks: Indices,
        sums: dict[int, tuple[_Held, _Held]],
    ) -> None:
        """Take these gradients, and add them to the sums of their groups."""
        assert q.background is not None  # noqa: S101  # asked by the caller
        starts = [
            i.x[rows] if i.whole else b.x[picks].astype(i.x.dtype) for i, b in zip(q.inputs, q.background, strict=True)
        ]
        ways, _, grads = along(q, rows, starts, np.arange(len(rows)), shares)
        keys, to = np.unique(rows * GROUPS + group, return_inverse=True)

        def grouped(values: Array) -> Floats:
            total = q.net.array(np.zeros((len(keys), *map(int, values.shape[1:])), dtype=np.float32))
            return q.net.numpy(q.net.add_at(total, to, values))

        for t, of in enumerate(grads):
            for i, g in enumerate(of):
                if g is None:
                    continue
                both = grouped(ways[i] * g), grouped(g)
                for n, key in enumerate(keys):
                    row, which = divmod(int(key), GROUPS)
                    for held, values in zip(sums[row], both, strict=True):
                        a = held[t][i]
                        if a is not None:
                            a[which] += values[n]


def _held(q: Question) -> _Held:
    return [[None if i.whole else np.zeros((GROUPS, *i.x.shape[1:])) for i in q.inputs] for _ in range(q.target.count)]


def _divided(held: _Held, count: int) -> _Held:
    return [[None if a is None else a / count for a in of] for of in held]


def _steadied(a: Floats | None, g: Floats | None, off: Floats | None) -> Floats:
    """Each group's estimate, less what its background rows miss of their mean: (groups, ...)."""
    assert a is not None  # noqa: S101  # asked by the caller
    assert g is not None  # noqa: S101
    assert off is not None  # noqa: S101
    others = (g.sum(axis=0) - g) / (GROUPS - 1)
    return np.asarray(a + others * off)
