"""Brute force: all 2^d coalitions of a game, and games made of nothing but a model's own predict or a plain walk down trees."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np


def every_coalition(game, d):
    """Return the game with each coalition's value looked up instead of worked out again."""
    v = {S: np.asarray(game(S), float) for k in range(d + 1) for S in map(frozenset, combinations(range(d), k))}
    return v.__getitem__


def semivalue(game, d, weight, order=1):
    """game(coalition as a frozenset) -> value array; weight(s, t) = E[p^s (1-p)^t]. Returns (d, ...) or (d, d, ...)."""
    v = {S: np.asarray(game(S), float) for k in range(d + 1) for S in map(frozenset, combinations(range(d), k))}
    shape = next(iter(v.values())).shape
    out = np.zeros((*(d,) * order, *shape))
    for target in combinations(range(d), order):
        rest = [i for i in range(d) if i not in target]
        total = np.zeros(shape)
        for k in range(len(rest) + 1):
            for S in map(frozenset, combinations(rest, k)):
                delta = sum(
                    (-1) ** (order - m) * v[S | set(T)] for m in range(order + 1) for T in combinations(target, m)
                )
                total = total + weight(k, len(rest) - k) * delta
        for perm in {target, target[::-1]}:
            out[perm] = total
    return out


def shapley(s, t):
    return 1.0 / ((s + t + 1) * comb(s + t, s))


def banzhaf(p=0.5):
    return lambda s, t: p**s * (1 - p) ** t


def beta(alpha, beta_):
    from scipy.special import beta as B

    return lambda s, t: B(s + beta_, t + alpha) / B(beta_, alpha)


def path_game(e, goes_left, groups, x):
    """Walk the trees in plain Python: known players follow x, others take both ways by cover; groups: player -> set of columns."""
    column_player = {c: j for j, cols in enumerate(groups) for c in cols}

    def expect(t, node, S):
        at = int(e.tree_offsets[t]) + node
        if e.left[at] < 0:
            return e.tree_weight[t] * e.leaf_values[e.leaf[at]]
        l, r = int(e.left[at]), int(e.right[at])
        if column_player[int(e.feature[at])] in S:
            return expect(t, l if goes_left(e, at, x[e.feature[at] : e.feature[at] + 1])[0] else r, S)
        o = int(e.tree_offsets[t])
        cl, c = e.cover[o + l], e.cover[at]
        cr = e.cover[o + r]
        wl, wr = (cl / c, cr / c) if c > 0 else (0.5, 0.5)
        return wl * expect(t, l, S) + wr * expect(t, r, S)

    def game(S):
        out = e.base_values.copy()
        for t in range(e.n_trees):
            v = expect(t, 0, S)
            if e.tree_output[t] < 0:
                out += v
            else:
                out[e.tree_output[t]] += v[0]
        return out

    return game


def hybrid_game(predict, groups, x, B, weights=None):
    """Interventional: predict(matrix) on rows that take the coalition's columns from x, the rest from the background."""

    def game(S):
        H = B.copy()
        for j in S:
            H[:, list(groups[j])] = x[list(groups[j])]
        return np.average(predict(H), axis=0, weights=weights)

    return game
