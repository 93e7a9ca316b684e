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

_LOWER_NODES: Final = (
    (0.112701665379258311,),
    (0.0197543656459898583, 0.282878125326598721),
    (0.0030840183936224889, 0.0557703835638715006, 0.189448526631386799, 0.388306656785516559),
    (
        *(0.000450937516166201169, 0.00923442522312994657, 0.0351725712851299717, 0.0816370309155656322),
        *(0.148751896754236461, 0.234340128177812188, 0.334432303371011583, 0.443755528433406687),
    ),
)  # nodes below the middle that each level adds
_LEVEL_WEIGHTS: Final = (
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


def _nested_rule_weights(level: int) -> Floats:
    flat = _LEVEL_WEIGHTS[level]
    ends = np.cumsum([1, *(len(new) for new in _LOWER_NODES[:level])])
    return _both_sides(flat[0], tuple(flat[a:b] for a, b in pairwise(ends)), 0.0)


QUADRATURE_NODES: Final = _both_sides(0.5, _LOWER_NODES, 1.0)
QUADRATURE_LEVELS: Final = tuple(_nested_rule_weights(level) for level in range(len(_LEVEL_WEIGHTS)))
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
        first_scores, last_scores: scores at the two ends, (targets,). scale: |score - base| of the row, (targets,).
        rounding_error: completeness error that rounding explains, (targets,).
        tol: of the sum, relative. map_tol: of the map, from one level to the next, relative.
        max_nodes: nodes at most.
        node_positions: of the nodes so far, in the order of evaluation. node_scores, node_derivatives: scores and derivatives along the path there, (nodes, targets).
        projections: random projections of the gradients, (nodes, targets, k), which show how far maps are apart. start_projections: the same at the start,
            (targets, k); what is not finite there is not used.
        level: of the nested rules. is_bisecting: whether intervals are bisected instead.
        was_rejected: whether the last check of the whole map found that it still changes.
        projection_factor: how far the whole map moves for what its projections move.
    """

    first_scores: Floats
    last_scores: Floats
    scale: Floats
    rounding_error: Floats
    tol: float
    map_tol: float
    max_nodes: int
    node_positions: Floats
    node_scores: Floats
    node_derivatives: Floats
    start_projections: Floats
    projections: Floats | None = None
    level: int = 1
    is_bisecting: bool = False
    was_rejected: bool = False
    projection_factor: float = 1 / 1.2
    _cached_results: dict[str, Any] = field(default_factory=dict)  # computed since nodes or rule last changed

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
        if not self.is_bisecting:
            return QUADRATURE_NODES[len(self.node_positions) : len(QUADRATURE_LEVELS[self.level])]
        return self._bisection_nodes()[: self.max_nodes - len(self.node_positions)]

    def add_nodes(self, t: Floats, f: Floats, h: Floats, projections: Floats) -> None:
        """Take scores, derivatives and projections at the nodes that were evaluated."""
        self.node_positions, self.node_scores, self.node_derivatives = (
            np.append(self.node_positions, t),
            np.vstack([self.node_scores, f]),
            np.vstack([self.node_derivatives, h]),
        )
        self.projections = projections if self.projections is None else np.concatenate([self.projections, projections])
        self.was_rejected = False
        self._cached_results.clear()

    def _from_cache(self, name: str, work: Callable[[], Any]) -> Any:
        if name not in self._cached_results:
            self._cached_results[name] = work()
        return self._cached_results[name]

    def rule_weights(self) -> tuple[Floats, Floats]:
        """Return the weights of the rule, and of the coarser one it is compared with, in the order of evaluation."""
        found: tuple[Floats, Floats] = self._from_cache("rule_weights", self._compute_rule_weights)
        return found

    def _compute_rule_weights(self) -> tuple[Floats, Floats]:
        if not self.is_bisecting:
            w = QUADRATURE_LEVELS[self.level]
            return w, np.append(
                QUADRATURE_LEVELS[self.level - 1], np.zeros(len(w) - len(QUADRATURE_LEVELS[self.level - 1]))
            )
        order = np.argsort(self.node_positions)
        w, coarse = np.empty(len(order)), np.empty(len(order))
        w[order], coarse[order] = (
            interval_weights(self.node_positions[order]),
            coarser_weights(self.node_positions[order]),
        )
        return w, coarse

    @property
    def allowed_error(self) -> Floats:
        """Completeness error that is allowed, (targets,): relative to a hundredth of the path's whole variation where the ends differ by less."""
        return np.asarray(self._from_cache("allowed_error", self._compute_allowed_error))

    def _compute_allowed_error(self) -> Floats:
        w, _ = self.rule_weights()
        return np.asarray(
            self.tol * np.maximum(self.scale, 0.01 * (w @ np.abs(self.node_derivatives))) + self.rounding_error
        )

    @property
    def completeness_error(self) -> Floats:
        """Completeness error, (targets,)."""
        return np.asarray(
            self._from_cache(
                "completeness_error",
                lambda: self.rule_weights()[0] @ self.node_derivatives - (self.last_scores - self.first_scores),
            )
        )

    def seems_converged(self) -> bool:
        """Whether the sum is known well enough, and the projections hardly change: then the whole map is compared."""
        exceeds_allowed = np.abs(self.completeness_error) > self.allowed_error
        moves = np.maximum(self._map_change() * self.projection_factor, self.start_change())
        return not self.was_rejected and not exceeds_allowed.any() and bool((moves <= self.map_tol).all())

    def start_change(self) -> Floats:
        """How far the map might move for what happens before the first node, (targets,): half the change of the gradient up to there, times the distance."""
        return np.asarray(self._from_cache("start_change", self._start_change))

    def _start_change(self) -> Floats:
        return np.asarray(self._first_change() * self.node_positions.min() / 2 / self._map_size(self.rule_weights()[0]))

    def _first_change(self) -> Floats:
        """How far the gradient at the start is from that of the first node, (targets,)."""
        assert self.projections is not None  # noqa: S101  # there are nodes
        apart = np.linalg.norm(self.start_projections - self.projections[self.node_positions.argmin()], axis=-1)
        return np.where(np.isfinite(apart), apart, 0.0)

    def reject_map(self, change: Floats) -> None:
        """Record that the whole map still changes by `change`, (targets,), and how much more that is than its projections change."""
        self.was_rejected = True
        self.projection_factor = float(np.clip((change / np.maximum(self._map_change(), 1e-30)).max(), 0.5, 1.0))

    def is_full(self) -> bool:
        """Whether no more nodes may be evaluated."""
        return len(self.node_positions) >= self.max_nodes

    def refine_rule(self) -> None:
        """Choose what comes next: another level, or bisection."""
        if self.is_bisecting:
            return
        if len(self.node_positions) < MIN_NODES:
            self.level += 1
            self._cached_results.clear()
            return
        change = self._map_change().max()
        change_before = self._map_difference(QUADRATURE_LEVELS[self.level - 1], QUADRATURE_LEVELS[self.level - 2]).max()
        has_next_level = (
            self.level + 1 < len(QUADRATURE_LEVELS) and len(QUADRATURE_LEVELS[self.level + 1]) <= self.max_nodes
        )
        if has_next_level and change <= SMOOTH_RATIO * change_before and (self.start_change() <= self.map_tol).all():
            self.level += 1
        else:
            self.is_bisecting = True
        self._cached_results.clear()

    def _map_change(self) -> Floats:
        return np.asarray(self._from_cache("map_change", lambda: self._map_difference(*self.rule_weights())))

    def _map_difference(self, w: Floats, coarse: Floats) -> Floats:
        """Distance of two rules' maps in the projections, relative to the map, (targets,)."""
        assert self.projections is not None  # noqa: S101  # there are nodes
        n = len(w)
        delta = np.tensordot(w - np.append(coarse, np.zeros(n - len(coarse))), self.projections[:n], 1)
        return np.asarray(np.linalg.norm(delta, axis=-1) / self._map_size(w))

    def _map_size(self, w: Floats) -> Floats:
        """What changes of the map are relative to: its length, or a hundredth of the mean length along the path where gradients cancel, (targets,)."""
        assert self.projections is not None  # noqa: S101  # there are nodes
        length = np.linalg.norm(np.tensordot(w, self.projections[: len(w)], 1), axis=-1)
        return np.asarray(np.maximum(np.maximum(length, 0.01 * self.mean_length()), 1e-30))

    def mean_length(self) -> Floats:
        """Mean length of gradient times path, (targets,)."""
        assert self.projections is not None  # noqa: S101  # there are nodes
        w, projections = self.rule_weights()[0], self.projections
        return np.asarray(self._from_cache("mean_length", lambda: w @ np.linalg.norm(projections, axis=-1)))

    def _bisection_nodes(self) -> Floats:
        """Return nodes inside the worst intervals."""
        assert self.projections is not None  # noqa: S101  # there are nodes
        order = np.argsort(self.node_positions)
        t, h, projections = self.node_positions[order], self.node_derivatives[order], self.projections[order]
        ends = np.concatenate([[0.0], t, [1.0]])
        width = np.diff(ends)[:, None]
        f = np.vstack([self.first_scores, self.node_scores[order], self.last_scores])
        derivatives_at_ends = np.vstack([h[:1], h, h[-1:]])
        interval_errors = np.abs(width * (derivatives_at_ends[1:] + derivatives_at_ends[:-1]) / 2 - np.diff(f, axis=0))
        exceeds_allowed = np.abs(self.completeness_error) > self.allowed_error
        badness = (interval_errors / np.maximum(self.allowed_error, 1e-300) * exceeds_allowed).max(axis=1) / 10
        moved = np.maximum(self._map_change(), self.start_change()) > self.map_tol
        if self.was_rejected or moved.any() or not badness.any():
            turned = np.zeros((len(width), projections.shape[1]))
            turned[0] = self._first_change() * width[0] / 2
            turned[1:-1] = np.linalg.norm(np.diff(projections, axis=0), axis=-1) * width[1:-1] / 2
            share = turned / (self._map_size(self.rule_weights()[0]) * self.map_tol)
            badness = badness + (share * moved if moved.any() and not self.was_rejected else share).max(axis=1)
        if not badness.any():
            badness = width[:, 0]
        order_of_badness = np.argsort(-badness, kind="stable")
        cumulative_squares = np.cumsum(badness[order_of_badness] ** 2)
        count = min(
            int(np.searchsorted(cumulative_squares, MIN_HALVED_SHARE * cumulative_squares[-1])) + 1, max(1, len(t) // 4)
        )
        return np.array([self._interval_midpoint(ends, k) for k in order_of_badness[:count]])

    def _interval_midpoint(self, ends: Floats, k: int) -> float:
        """The middle between neighbours; at the ends so that the new node is in the middle of what it stands for."""
        a, b = ends[k], ends[k + 1]
        return float(b / 3 if k == 0 else a + (b - a) * 2 / 3 if k == len(ends) - 2 else (a + b) / 2)
