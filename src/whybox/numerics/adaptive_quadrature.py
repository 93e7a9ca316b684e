"""Where to take gradients along a straight path, and with what weights, until the integral is known well enough: numbers only, no network.

A row begins with Patterson's nested rules of 1, 3, 7, 15 and 31 points (Patterson 1968, Math. Comp. 22, 847-856), which converge faster than any power where
the network is smooth. Where two levels show that it is not (kinks of ReLU, a jump near a baseline that a normalisation sees), the nodes found so far
become those of a trapezoidal rule that is refined in places. Between neighbouring nodes a and b the change of the score is known from the forwards:
f(b) - f(a) is what the rule's share of that stretch should come to, so each stretch has a completeness error of its own, and only the worst are halved
(Doerfler 1996, SIAM J. Numer. Anal. 33, 1106-1124, for the share of them). Weights depend on the places of nodes alone, never on what was found there.
The gradient at the start is known besides: no rule uses it, but where it is far from that of the first node, something happens between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Floats

__all__ = ["MIN_NODES", "Walk", "every_other", "gauss_legendre", "stretches"]

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
    """Values at the middle and below it, continued above it, in the order in which nodes are asked."""
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
    0.25  # of the change from one level to the next: less says that the network is smooth along this path
)
MIN_HALVED_SHARE: Final = 0.5  # of the squared errors, how much the stretches that are halved must hold


def gauss_legendre(steps: int) -> tuple[Floats, Floats]:
    """Nodes and weights on [0, 1]."""
    t, w = np.polynomial.legendre.leggauss(steps)
    return np.asarray((t + 1) / 2), np.asarray(w / 2)


def stretches(t: Floats) -> Floats:
    """Weights of sorted nodes: each stands for what is nearer to it than to its neighbours."""
    return np.diff(np.concatenate([[0.0], (t[1:] + t[:-1]) / 2, [1.0]]))


def every_other(t: Floats) -> Floats:
    """Weights of the same rule on every other of the sorted nodes, the outermost ones left out where their number allows."""
    w = np.zeros(len(t))
    w[len(t) % 2 :: 2] = stretches(t[len(t) % 2 :: 2])
    return w


@final
@dataclass
class Walk:
    """One row's way along one path, for all targets at once.

    Attributes:
        first, last: scores at the two ends, (targets,).
        aim: completeness error wanted, (targets,); rounding: what cannot be told apart from it.
        tol, settled: of the sum, relative; and of the map, from one level to the next.
        most: nodes at most.
        t: nodes so far, in the order they were asked; f, h: scores and derivatives along the path there, (nodes, targets); shadow: random projections
            of the gradients, (nodes, targets, k), which show how far maps are apart. start: the same at the start, (targets, k); what is not finite there is not used.
    """

    first: Floats
    last: Floats
    scale: Floats
    rounding: Floats
    tol: float
    settled: float
    most: int
    t: Floats
    f: Floats
    h: Floats
    start: Floats
    shadow: Floats | None = None
    level: int = 1
    local: bool = False
    refused: bool = False  # the last check of the whole map found that it had not settled
    trust: float = 1 / 1.2  # how far the map moves for what its shadow moves
    _known: dict[str, Any] = field(default_factory=dict)  # worked out since nodes or rule last changed

    @classmethod
    def begin(
        cls,
        first: Floats,
        last: Floats,
        scale: Floats,
        rounding: Floats,
        tol: float,
        settled: float,
        most: int,
        start: Floats,
    ) -> Walk:
        """At the start: nothing known but the ends. `scale`: |score - base| of the row, (targets,)."""
        none = np.zeros((0, len(first)))
        return cls(first, last, scale, rounding, tol, settled, most, np.zeros(0), none, none, start)

    def wants(self) -> Floats:
        """Nodes to ask next."""
        if not self.local:
            return QUADRATURE_NODES[len(self.t) : len(QUADRATURE_LEVELS[self.level])]
        return self._halved()[: self.most - len(self.t)]

    def learn(self, t: Floats, f: Floats, h: Floats, shadow: Floats) -> None:
        """Take what was found at the nodes asked for."""
        self.t, self.f, self.h = np.append(self.t, t), np.vstack([self.f, f]), np.vstack([self.h, h])
        self.shadow = shadow if self.shadow is None else np.concatenate([self.shadow, shadow])
        self.refused = False
        self._known.clear()

    def _once(self, name: str, work: Callable[[], Any]) -> Any:
        if name not in self._known:
            self._known[name] = work()
        return self._known[name]

    def weights(self) -> tuple[Floats, Floats]:
        """Of the rule, and of the coarser one it is compared with; in the order of asking."""
        found: tuple[Floats, Floats] = self._once("weights", self._weights)
        return found

    def _weights(self) -> tuple[Floats, Floats]:
        if not self.local:
            w = QUADRATURE_LEVELS[self.level]
            return w, np.append(
                QUADRATURE_LEVELS[self.level - 1], np.zeros(len(w) - len(QUADRATURE_LEVELS[self.level - 1]))
            )
        order = np.argsort(self.t)
        w, coarse = np.empty(len(order)), np.empty(len(order))
        w[order], coarse[order] = stretches(self.t[order]), every_other(self.t[order])
        return w, coarse

    @property
    def allowed(self) -> Floats:
        """Completeness error that is allowed, (targets,): where the ends differ by less than a hundredth of the way between, of that."""
        return np.asarray(self._once("allowed", self._allowed))

    def _allowed(self) -> Floats:
        w, _ = self.weights()
        return np.asarray(self.tol * np.maximum(self.scale, 0.01 * (w @ np.abs(self.h))) + self.rounding)

    @property
    def gap(self) -> Floats:
        """Completeness error, (targets,)."""
        return np.asarray(self._once("gap", lambda: self.weights()[0] @ self.h - (self.last - self.first)))

    def worth_checking(self) -> bool:
        """Whether the sum is known well enough, and the map seems to have settled: then the whole map is compared."""
        short = np.abs(self.gap) > self.allowed
        moves = np.maximum(self._change() * self.trust, self.begins())
        return not self.refused and not short.any() and bool((moves <= self.settled).all())

    def begins(self) -> Floats:
        """How far the map might move for what happens before the first node, (targets,): by half of what the gradient changes up to there, times the way to it."""
        return np.asarray(self._once("begins", self._begins))

    def _begins(self) -> Floats:
        return np.asarray(self._turn() * self.t.min() / 2 / self._size(self.weights()[0]))

    def _turn(self) -> Floats:
        """How far the gradient at the start is from that of the first node, (targets,)."""
        assert self.shadow is not None  # noqa: S101  # asked after learning
        apart = np.linalg.norm(self.start - self.shadow[self.t.argmin()], axis=-1)
        return np.where(np.isfinite(apart), apart, 0.0)

    def refuse(self, change: Floats) -> None:
        """The whole map moves by so much, (targets,), which is too much; it also tells how far shadows can be trusted here."""
        self.refused = True
        self.trust = float(np.clip((change / np.maximum(self._change(), 1e-30)).max(), 0.5, 1.0))

    def full(self) -> bool:
        """Whether no more nodes may be asked."""
        return len(self.t) >= self.most

    def proceed(self) -> None:
        """Choose what comes next: another level, or halving."""
        if self.local:
            return
        if len(self.t) < MIN_NODES:
            self.level += 1
            self._known.clear()
            return
        now = self._change().max()
        before = self._difference(QUADRATURE_LEVELS[self.level - 1], QUADRATURE_LEVELS[self.level - 2]).max()
        more = self.level + 1 < len(QUADRATURE_LEVELS) and len(QUADRATURE_LEVELS[self.level + 1]) <= self.most
        if more and now <= SMOOTH_RATIO * before and (self.begins() <= self.settled).all():
            self.level += 1
        else:
            self.local = True
        self._known.clear()

    def _change(self) -> Floats:
        return np.asarray(self._once("change", lambda: self._difference(*self.weights())))

    def _difference(self, w: Floats, coarse: Floats) -> Floats:
        """Distance of two rules' maps as their shadows show it, relative to the map, (targets,)."""
        assert self.shadow is not None  # noqa: S101  # asked after learning
        n = len(w)
        delta = np.tensordot(w - np.append(coarse, np.zeros(n - len(coarse))), self.shadow[:n], 1)
        return np.asarray(np.linalg.norm(delta, axis=-1) / self._size(w))

    def _size(self, w: Floats) -> Floats:
        """What changes of the map are relative to: its length, or a hundredth of the mean length on the way where gradients cancel, (targets,)."""
        assert self.shadow is not None  # noqa: S101  # asked after learning
        length = np.linalg.norm(np.tensordot(w, self.shadow[: len(w)], 1), axis=-1)
        return np.asarray(np.maximum(np.maximum(length, 0.01 * self.mean_length()), 1e-30))

    def mean_length(self) -> Floats:
        """Mean length of gradient times way, (targets,)."""
        assert self.shadow is not None  # noqa: S101  # asked after learning
        w, shadow = self.weights()[0], self.shadow
        return np.asarray(self._once("length", lambda: w @ np.linalg.norm(shadow, axis=-1)))

    def _halved(self) -> Floats:
        """Nodes inside the stretches that are worst."""
        assert self.shadow is not None  # noqa: S101  # asked after learning
        order = np.argsort(self.t)
        t, h, shadow = self.t[order], self.h[order], self.shadow[order]
        ends = np.concatenate([[0.0], t, [1.0]])
        width = np.diff(ends)[:, None]
        f = np.vstack([self.first, self.f[order], self.last])
        at = np.vstack([h[:1], h, h[-1:]])
        missing = np.abs(width * (at[1:] + at[:-1]) / 2 - np.diff(f, axis=0))
        short = np.abs(self.gap) > self.allowed
        worst = (missing / np.maximum(self.allowed, 1e-300) * short).max(axis=1) / 10
        moved = np.maximum(self._change(), self.begins()) > self.settled
        if self.refused or moved.any() or not worst.any():
            turned = np.zeros((len(width), shadow.shape[1]))
            turned[0] = self._turn() * width[0] / 2
            turned[1:-1] = np.linalg.norm(np.diff(shadow, axis=0), axis=-1) * width[1:-1] / 2
            share = turned / (self._size(self.weights()[0]) * self.settled)
            worst = worst + (share * moved if moved.any() and not self.refused else share).max(axis=1)
        if not worst.any():
            worst = width[:, 0]
        first = np.argsort(-worst, kind="stable")
        held = np.cumsum(worst[first] ** 2)
        count = min(int(np.searchsorted(held, MIN_HALVED_SHARE * held[-1])) + 1, max(1, len(t) // 4))
        return np.array([self._inside(ends, k) for k in first[:count]])

    def _inside(self, ends: Floats, k: int) -> float:
        """Halfway between neighbours; at the ends so that the new node is in the middle of what it stands for."""
        a, b = ends[k], ends[k + 1]
        return float(b / 3 if k == 0 else a + (b - a) * 2 / 3 if k == len(ends) - 2 else (a + b) / 2)
