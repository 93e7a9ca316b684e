"""Brute force: all 2^d coalitions of a game, and games made of nothing but a model's own predict or a plain walk down trees."""

from __future__ import annotations

from itertools import combinations, pairwise
from math import comb

import numpy as np
import pandas as pd


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


def path_games(e, goes_left, groups, X):
    """As `path_game` of many rows at once, from the leaves upwards: coalition -> (rows, outputs)."""
    count = 2 ** len(groups)
    known = {c: np.array([s >> j & 1 for s in range(count)], bool) for j, cols in enumerate(groups) for c in cols}
    out = np.tile(e.base_values[:, None, None], (1, len(X), count))
    for t, (start, stop) in enumerate(pairwise(e.tree_offsets)):
        value = np.empty((stop - start, e.leaf_values.shape[1], len(X), count))
        for i in range(stop - start - 1, -1, -1):  # children come after their parent
            at = start + i
            if e.left[at] < 0:
                value[i] = e.leaf_values[e.leaf[at]][:, None, None]
                continue
            l, r, c = int(e.left[at]), int(e.right[at]), e.cover[at]
            share = e.cover[start + l] / c if c > 0 else 0.5
            other = e.cover[start + r] / c if c > 0 else 0.5
            own = np.where(goes_left(e, at, X[:, e.feature[at]])[:, None], value[l], value[r])
            value[i] = np.where(known[int(e.feature[at])], own, share * value[l] + other * value[r])
        first = max(int(e.tree_output[t]), 0)
        out[first : first + value.shape[1]] += e.tree_weight[t] * value[0]
    return lambda S: out[:, :, sum(1 << j for j in S)].T


def of_all_coalitions(ask, rows, count):
    """Shapley values of `count` players, from one call of the model about the rows of all coalitions: `rows` of each are given."""
    coalitions = [frozenset(S) for k in range(count + 1) for S in combinations(range(count), k)]
    mixed = [rows(S) for S in coalitions]
    ends = np.cumsum([len(m) for m in mixed])[:-1]
    means = [part.mean(axis=0) for part in np.split(ask(mixed), ends)]
    return semivalue(dict(zip(coalitions, means, strict=True)).__getitem__, count, shapley)


def brute_frame(predict, row, background):
    """Shapley values of one row of a frame, from rows that take the other columns from the background, and a predict of frames."""

    def rows(S):
        mixed = background.copy()
        for j in S:
            mixed.isetitem(j, np.repeat(row.iloc[:, j].to_numpy(), len(mixed)))
        return mixed

    return of_all_coalitions(lambda mixed: predict(pd.concat(mixed)), rows, row.shape[1])


def hybrid_games(predict, groups, X, B, weights=None):
    """As `hybrid_game` of many rows at once: coalition -> (rows, outputs)."""

    def game(S):
        columns = [c for j in S for c in groups[j]]
        H = np.tile(B, (len(X), 1))
        H[:, columns] = np.repeat(X[:, columns], len(B), axis=0)
        return np.average(predict(H).reshape(len(X), len(B), -1), axis=1, weights=weights)

    return game


def individual_curves(predict, X, columns, values):
    """What each row becomes with columns set to each of the values, (points, columns): (rows, points, outputs)."""
    changed = np.repeat(X, len(values), axis=0)
    changed[:, list(columns)] = np.tile(values, (len(X), 1))
    return predict(changed).reshape(len(X), len(values), -1)


def hybrid_game(predict, groups, x, B, weights=None):
    """Interventional: predict(matrix) on rows that take the coalition's columns from x, the rest from the background."""

    def game(S):
        H = B.copy()
        for j in S:
            H[:, list(groups[j])] = x[list(groups[j])]
        return np.average(predict(H), axis=0, weights=weights)

    return game
