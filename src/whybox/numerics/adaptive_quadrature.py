"""At which points of a straight path to take gradients, and with what weights, until the integral is known well enough: numbers only, no network.

A row starts with Patterson's nested rules of 1, 3, 7, 15 and 31 points (Patterson 1968, Math. Comp. 22, 847-856), which converge faster than any power where
the network is smooth. Where two levels show that it is not (kinks of ReLU, a jump near a baseline that a normalisation sees), the nodes so far
become those of a trapezoidal rule that is refined locally. Between neighbouring nodes a and b the change of the score is known from the forwards:
the rule's share of that interval should be f(b) - f(a), so each interval has a completeness error of its own, and only the worst are bisected
(Doerfler 1996, SIAM J. Numer. Anal. 33, 1106-1124, for how many). Weights depend on the positions of nodes alone, never on the gradients there.
The gradient at the start is known besides: no rule uses it, but where it is far from that of the first node, something happens between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Floats

__all__ = ["MIN_NODES", "AdaptiveQuadrature", "coarser_weights", "gauss_legendre", "interval_weights"]

_LOWER: Final = (
    (0.112701665379258311,),
    (0.0197543656459898583, 0.282878125326598721),
    (0.0030840183936224889, 0.0557703835638715006, 0.189448526631386799, 0.388306656785516559),
    (
        *(0.000450937516166201169, 0.00923442522312994657, 0.0351725712851299717, 0.0816370309155656322),
        *(0.148751896754236461, 0.234340128177812188, 0.334432303371011583, 0.443755528433406687),
    ),
)  # nodes below the middle that each level adds
_WEIGHTS: Final = (
    (1.0,),
    (4 / 9, 5 / 18),
    (0.225458269329237071, 0.13424404493416672, 0.0523281130132336326, 0.200698707387981111),
    (
        *(0.112755249899103344, 0.0672076276218921102, 0.0258016414985398698, 0.100314264688494511),
        *(0.00850085981497013017, 0.0464635976575622688, 0.0857559545681956904, 0.109578429200793748),
    ),
    (
        *(0.0563776283603843458, 0.0336038771479953518, 0.0129037990480883268, 0.0501571393058977894),
        *(0.00421728286966055312, 0.0232314466308789933, 0.0428779600249951756, 0.0547892105279623191),
        *(0.00127239039578093721, 0.00822302492719390547, 0.017978551653564661, 0.0284897547470616787),
        *(0.0384398102495017655, 0.0468135549906322368, 0.0528349467901174049, 0.0559784365104767284),
    ),
)  # of the middle and of the nodes below it, level by level


def _both_sides(middle: float | None, lower: tuple[tuple[float, ...], ...], mirrored: float) -> Floats:
    """Return values at the middle and below it, continued above it, in the order in which nodes are evaluated."""
    out = [] if middle is None else [middle]
    for level in lower:
        out += [*level, *((mirrored - v if mirrored else v) for v in reversed(level))]
    return np.array(out)


def _weights(level: int) -> Floats:
    flat = _WEIGHTS[level]
    ends = np.cumsum([1, *(len(new) for new in _LOWER[:level])])
    return _both_sides(flat[0], tuple(flat[a:b] for a, b in pairwise(ends)), 0.0)


QUADRATURE_NODES: Final = _both_sides(0.5, _LOWER, 1.0)
QUADRATURE_LEVELS: Final = tuple(_weights(level) for level in range(len(_WEIGHTS)))
MIN_NODES: Final = 7  # nodes before a row's rule is chosen
SMOOTH_RATIO: Final = (
    0.25  # of the change from one level to the next: less means that the network is smooth along this path
)
MIN_HALVED_SHARE: Final = 0.5  # of the squared errors: how much the intervals that are bisected must hold


def gauss_legendre(steps: int) -> tuple[Floats, Floats]:
    """Return nodes and weights on [0, 1]."""
    t, w = np.polynomial.legendre.leggauss(steps)
    return np.asarray((t + 1) / 2), np.asarray(w / 2)


def interval_weights(t: Floats) -> Floats:
    """Return weights of sorted nodes: each stands for what is nearer to it than to its neighbours."""
    return np.diff(np.concatenate([[0.0], (t[1:] + t[:-1]) / 2, [1.0]]))


def coarser_weights(t: Floats) -> Floats:
    """Return weights of the same rule on every other of the sorted nodes, the outermost ones left out where their number allows."""
    w = np.zeros(len(t))
    w[len(t) % 2 :: 2] = interval_weights(t[len(t) % 2 :: 2])
    return w


@final
@dataclass
class AdaptiveQuadrature:
    """The rule of one row along one path, for all targets at once.

    Attributes:
        first, last: scores at the two ends, (targets,). scale: |score - base| of the row, (targets,).
        rounding: completeness error that rounding explains, (targets,).
        tol: of the sum, relative. map_tol: of the map, from one level to the next, relative.
        max_nodes: nodes at most.
        t: positions of the nodes so far, in the order of evaluation; f, h: scores and derivatives along the path there, (nodes, targets).
        projections: random projections of the gradients, (nodes, targets, k), which show how far maps are apart. start: the same at the start,
            (targets, k); what is not finite there is not used.
        level: of the nested rules. local: whether intervals are bisected instead.
        rejected: whether the last check of the whole map found that it still changes.
        projection_factor: how far the whole map moves for what its projections move.
    """

    first: Floats
    last: Floats
    scale: Floats
    rounding: Floats
    tol: float
    map_tol: float
    max_nodes: int
    t: Floats
    f: Floats
    h: Floats
    start: Floats
    projections: Floats | None = None
    level: int = 1
    local: bool = False
    rejected: bool = False
    projection_factor: float = 1 / 1.2
    _cache: dict[str, Any] = field(default_factory=dict)  # computed since nodes or rule last changed

    @classmethod
    def at_start(
        cls,
        first: Floats,
        last: Floats,
        scale: Floats,
        rounding: Floats,
        tol: float,
        map_tol: float,
        max_nodes: int,
        start: Floats,
    ) -> AdaptiveQuadrature:
        """Return the rule before any node: nothing is known but the ends."""
        none = np.zeros((0, len(first)))
        return cls(first, last, scale, rounding, tol, map_tol, max_nodes, np.zeros(0), none, none, start)

    def next_nodes(self) -> Floats:
        """Return the nodes to evaluate next."""
        if not self.local:
            return QUADRATURE_NODES[len(self.t) : len(QUADRATURE_LEVELS[self.level])]
        return self._bisected()[: self.max_nodes - len(self.t)]

    def add_nodes(self, t: Floats, f: Floats, h: Floats, projections: Floats) -> None:
        """Take scores, derivatives and projections at the nodes that were evaluated."""
        self.t, self.f, self.h = np.append(self.t, t), np.vstack([self.f, f]), np.vstack([self.h, h])
        self.projections = projections if self.projections is None else np.concatenate([self.projections, projections])
        self.rejected = False
        self._cache.clear()

    def _cached(self, name: str, work: Callable[[], Any]) -> Any:
        if name not in self._cache:
            self._cache[name] = work()
        return self._cache[name]

    def weights(self) -> tuple[Floats, Floats]:
        """Return the weights of the rule, and of the coarser one it is compared with, in the order of evaluation."""
        found: tuple[Floats, Floats] = self._cached("weights", self._weights)
        return found

    def _weights(self) -> tuple[Floats, Floats]:
        if not self.local:
            w = QUADRATURE_LEVELS[self.level]
            return w, np.append(
                QUADRATURE_LEVELS[self.level - 1], np.zeros(len(w) - len(QUADRATURE_LEVELS[self.level - 1]))
            )
        order = np.argsort(self.t)
        w, coarse = np.empty(len(order)), np.empty(len(order))
        w[order], coarse[order] = interval_weights(self.t[order]), coarser_weights(self.t[order])
        return w, coarse

    @property
    def allowed(self) -> Floats:
        """Completeness error that is allowed, (targets,): relative to a hundredth of the path's whole variation where the ends differ by less."""
        return np.asarray(self._cached("allowed", self._allowed))

    def _allowed(self) -> Floats:
        w, _ = self.weights()
        return np.asarray(self.tol * np.maximum(self.scale, 0.01 * (w @ np.abs(self.h))) + self.rounding)

    @property
    def gap(self) -> Floats:
        """Completeness error, (targets,)."""
        return np.asarray(self._cached("gap", lambda: self.weights()[0] @ self.h - (self.last - self.first)))

    def seems_converged(self) -> bool:
        """Whether the sum is known well enough, and the projections hardly change: then the whole map is compared."""
        short = np.abs(self.gap) > self.allowed
        moves = np.maximum(self._change() * self.projection_factor, self.start_change())
        return not self.rejected and not short.any() and bool((moves <= self.map_tol).all())

    def start_change(self) -> Floats:
        """How far the map might move for what happens before the first node, (targets,): half the change of the gradient up to there, times the distance."""
        return np.asarray(self._cached("start_change", self._start_change))

    def _start_change(self) -> Floats:
        return np.asarray(self._first_change() * self.t.min() / 2 / self._size(self.weights()[0]))

    def _first_change(self) -> Floats:
        """How far the gradient at the start is from that of the first node, (targets,)."""
        assert self.projections is not None  # noqa: S101  # there are nodes
        apart = np.linalg.norm(self.start - self.projections[self.t.argmin()], axis=-1)
        return np.where(np.isfinite(apart), apart, 0.0)

    def reject(self, change: Floats) -> None:
        """Record that the whole map still changes by `change`, (targets,), and how much more that is than its projections change."""
        self.rejected = True
        self.projection_factor = float(np.clip((change / np.maximum(self._change(), 1e-30)).max(), 0.5, 1.0))

    def is_full(self) -> bool:
        """Whether no more nodes may be evaluated."""
        return len(self.t) >= self.max_nodes

    def refine(self) -> None:
        """Choose what comes next: another level, or bisection."""
        if self.local:
            return
        if len(self.t) < MIN_NODES:
            self.level += 1
            self._cache.clear()
            return
        now = self._change().max()
        before = self._difference(QUADRATURE_LEVELS[self.level - 1], QUADRATURE_LEVELS[self.level - 2]).max()
        more = self.level + 1 < len(QUADRATURE_LEVELS) and len(QUADRATURE_LEVELS[self.level + 1]) <= self.max_nodes
        if more and now <= SMOOTH_RATIO * before and (self.start_change() <= self.map_tol).all():
            self.level += 1
        else:
            self.local = True
        self._cache.clear()

    def _change(self) -> Floats:
        return np.asarray(self._cached("change", lambda: self._difference(*self.weights())))

    def _difference(self, w: Floats, coarse: Floats) -> Floats:
        """Distance of two rules' maps in the projections, relative to the map, (targets,)."""
        assert self.projections is not None  # noqa: S101  # there are nodes
        n = len(w)
        delta = np.tensordot(w - np.append(coarse, np.zeros(n - len(coarse))), self.projections[:n], 1)
        return np.asarray(np.linalg.norm(delta, axis=-1) / self._size(w))

    def _size(self, w: Floats) -> Floats:
        """What changes of the map are relative to: its length, or a hundredth of the mean length along the path where gradients cancel, (targets,)."""
        assert self.projections is not None  # noqa: S101  # there are nodes
        length = np.linalg.norm(np.tensordot(w, self.projections[: len(w)], 1), axis=-1)
        return np.asarray(np.maximum(np.maximum(length, 0.01 * self.mean_length()), 1e-30))

    def mean_length(self) -> Floats:
        """Mean length of gradient times path, (targets,)."""
        assert self.projections is not None  # noqa: S101  # there are nodes
        w, projections = self.weights()[0], self.projections
        return np.asarray(self._cached("length", lambda: w @ np.linalg.norm(projections, axis=-1)))

    def _bisected(self) -> Floats:
        """Return nodes inside the worst intervals."""
        assert self.projections is not None  # noqa: S101  # there are nodes
        order = np.argsort(self.t)
        t, h, projections = self.t[order], self.h[order], self.projections[order]
        ends = np.concatenate([[0.0], t, [1.0]])
        width = np.diff(ends)[:, None]
        f = np.vstack([self.first, self.f[order], self.last])
        at = np.vstack([h[:1], h, h[-1:]])
        missing = np.abs(width * (at[1:] + at[:-1]) / 2 - np.diff(f, axis=0))
        short = np.abs(self.gap) > self.allowed
        worst = (missing / np.maximum(self.allowed, 1e-300) * short).max(axis=1) / 10
        moved = np.maximum(self._change(), self.start_change()) > self.map_tol
        if self.rejected or moved.any() or not worst.any():
            turned = np.zeros((len(width), projections.shape[1]))
            turned[0] = self._first_change() * width[0] / 2
            turned[1:-1] = np.linalg.norm(np.diff(projections, axis=0), axis=-1) * width[1:-1] / 2
            share = turned / (self._size(self.weights()[0]) * self.map_tol)
            worst = worst + (share * moved if moved.any() and not self.rejected else share).max(axis=1)
        if not worst.any():
            worst = width[:, 0]
        first = np.argsort(-worst, kind="stable")
        held = np.cumsum(worst[first] ** 2)
        count = min(int(np.searchsorted(held, MIN_HALVED_SHARE * held[-1])) + 1, max(1, len(t) // 4))
        return np.array([self._midpoint(ends, k) for k in first[:count]])

    def _midpoint(self, ends: Floats, k: int) -> float:
        """The middle between neighbours; at the ends so that the new node is in the middle of what it stands for."""
        a, b = ends[k], ends[k + 1]
        return float(b / 3 if k == 0 else a + (b - a) * 2 / 3 if k == len(ends) - 2 else (a + b) / 2)
