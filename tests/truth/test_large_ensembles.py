"""Every kernel on large random models, of up to 2,000 leaves a tree, against predictions of changed rows and all coalitions.

Missing values, categories, columns that come back on a path, thresholds at infinity, zero as missing, weights of zero. A few situations in every run, a
thousand with ``-m soak``.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from ensembles import large_situation, rows_of
from oracles import hybrid_games, individual_curves, path_games, semivalue, shapley
from whybox.games.indices import as_index
from whybox.kernels import compiled_trees, effects, interaction_strength, reference, tree_shap, value_intervals

SETS = [s.name for s in compiled_trees.instruction_sets()]
LINKS = {
    "identity": lambda f: f,
    "logistic": lambda f: 1 / (1 + np.exp(-f)),
    "exp": np.exp,
    "softmax": lambda f: np.exp(f) / np.exp(f).sum(axis=-1, keepdims=True),
}
few = pytest.mark.parametrize("some", [range(k, k + 10) for k in range(0, 50, 10)], ids=lambda r: f"from {r.start}")
soak = pytest.mark.parametrize(
    "some", [range(k, k + 50) for k in range(1000, 2000, 50)], ids=lambda r: f"from {r.start}"
)


def near(got, want, s, *, what, scale=1e-11):
    """Equal but for rounding, relative to the largest value where that is above one."""
    assert got.shape == want.shape, (what, s.what)
    off = np.abs(got - want).max(initial=0) / max(1.0, np.abs(want).max(initial=0))
    assert off < scale, f"{what}: {off:.2g} ({s.what})"


def mean(w, values):
    return np.einsum("i,i...->...", w, values) / w.sum()


def check_predictions(s):
    assert np.array_equal(tree_shap.leaf_indices(s.e, s.X), reference.leaf_indices(s.e, s.X)), s.what
    assert np.array_equal(tree_shap.predict(s.e, s.X), reference.predict(s.e, s.X)), s.what


def check_effects(s):
    """Curves, their means and spread, surfaces, differences and strengths of interactions."""

    def predict(rows):
        return tree_shap.predict(s.e, rows)

    e, X, w, n = s.e, s.X, s.each, len(s.X)
    levels = [effects.PlayerPoints(c, v) for c, v in zip(s.players, s.points(), strict=True)]
    wanted = [individual_curves(predict, X, one.columns, one.values) for one in levels]
    pairs = list(combinations(range(len(levels)), 2))[:3]
    surfaces = []
    for a, b in pairs:
        grid = np.concatenate(
            [
                np.repeat(levels[a].values, len(levels[b].values), axis=0),
                np.tile(levels[b].values, (len(levels[a].values), 1)),
            ],
            axis=1,
        )
        both = individual_curves(predict, X, levels[a].columns + levels[b].columns, grid)
        surfaces.append(mean(w, both).reshape(len(levels[a].values), len(levels[b].values), -1))
    low, high = (
        np.column_stack([s.rng.integers(0, len(one.values), n) for one in levels]).astype(np.int32) for _ in range(2)
    )
    moved = np.stack([c[np.arange(n), high[:, j]] - c[np.arange(n), low[:, j]] for j, c in enumerate(wanted)], axis=1)
    own = predict(X)
    for name in SETS:
        with compiled_trees.forced_kernel(instructions=name):
            blocks = [parts for _, parts in effects.individual_curve_blocks(e, levels, X, numbers=2000)]
            for j, one in enumerate(levels):
                near(np.concatenate([b[j] for b in blocks]), wanted[j], s, what=f"curves of all, {name}")
                near(effects.individual_curves(e, one, X), wanted[j], s, what=f"curves, {name}")
            for j, got in enumerate(effects.partial_dependence(e, levels, X, s.weights)):
                near(got, mean(w, wanted[j]), s, what=f"partial dependence, {name}")
            for k, got in enumerate(effects.joint_partial_dependence(e, levels, pairs, X, s.weights)):
                near(got, surfaces[k], s, what=f"surface, {name}")
            for link, function in LINKS.items():
                for center in ("mean", "row"):
                    found = effects.individual_curve_moments(e, levels, X, s.weights, center=center, link=link)
                    for j, got in enumerate(found):
                        curves = function(wanted[j]) - (function(own)[:, None] if center == "row" else 0.0)
                        middle = mean(w, curves)
                        near(got.mean, middle, s, what=f"mean, {link}, {center}, {name}")
                        near(
                            got.variance, mean(w, (curves - middle) ** 2), s, what=f"variance, {link}, {center}, {name}"
                        )
            near(effects.point_differences(e, levels, X, low, high), moved, s, what=f"differences, {name}")
    check_strengths(s, predict)


def check_strengths(s, predict):
    e, X, w = s.e, s.X, s.each
    levels = [effects.PlayerPoints(c, X[:, list(c)]) for c in s.players]

    def centred(values):
        return values - mean(w, values)

    def at_rows(columns):
        return centred(mean(w, individual_curves(predict, X, columns, X[:, list(columns)])))

    alone, f = [at_rows(c) for c in s.players], centred(predict(X))
    pairs = list(combinations(range(len(levels)), 2))[:3]
    both = [at_rows(s.players[a] + s.players[b]) for a, b in pairs]
    rest = [
        centred(np.einsum("p,ipc->ic", w, individual_curves(predict, X, c, X[:, list(c)])) / w.sum()) for c in s.players
    ]
    for name in SETS:
        with compiled_trees.forced_kernel(instructions=name):
            got = interaction_strength.pair_interactions(e, levels, pairs, X, s.weights)
            for k, (a, b) in enumerate(pairs):
                near(
                    got.interaction_sums[k],
                    w @ (both[k] - alone[a] - alone[b]) ** 2,
                    s,
                    what=f"pair, {name}",
                    scale=1e-10,
                )
                near(got.total_sums[k], w @ both[k] ** 2, s, what=f"pair's whole, {name}", scale=1e-10)
            got = interaction_strength.overall_interactions(e, levels, X, s.weights)
            for j in range(len(levels)):
                near(
                    got.interaction_sums[j], w @ (f - alone[j] - rest[j]) ** 2, s, what=f"overall, {name}", scale=1e-10
                )
                near(got.total_sums[j], w @ f**2, s, what=f"overall's whole, {name}", scale=1e-10)


def check_values_of_features(s):
    """Values that stand for all others, and where rows are among them."""
    for column in range(s.e.inputs.width):
        points = value_intervals.interval_representatives(s.e, column, s.X[:, column])
        at = value_intervals.point_index_of_rows(s.e, [column], points[:, None], s.X[:, [column]])
        same = s.X.copy()
        same[:, column] = points[at]
        assert np.array_equal(tree_shap.predict(s.e, same), tree_shap.predict(s.e, s.X)), (column, s.what)


def check_attributions(s):
    """Path-dependent and interventional, of players and pairs, by every kernel."""
    e, X, groups = s.e, s.X[:5], s.groups
    B = rows_of(s.rng, e, int(s.rng.choice([1, 9, 70])))
    w = s.rng.random(len(B)) * (s.rng.random(len(B)) < 0.8) + 1e-9
    w /= w.sum()
    index = s.rng.choice(["shapley", "banzhaf(0.3)"])
    games = {
        False: path_games(e, reference.goes_left, groups, X),
        True: hybrid_games(lambda rows: tree_shap.predict(e, rows), groups, X, B, w),
    }
    count, player_of = len(groups), s.player_of
    assert np.allclose(tree_shap.expectation(e), games[False](frozenset())[0], rtol=0, atol=1e-11), s.what
    share = shapley if index == "shapley" else lambda k, rest: 0.3**k * 0.7**rest
    for order in (1, 2) if count > 1 else (1,):
        most = tree_shap.players_on_path(e, player_of, count)
        degrees, of_tree = np.unique(np.maximum(most - order, 0), return_inverse=True)
        rules = tree_shap.QuadratureRules.from_rules([as_index(index).rule(int(d)) for d in degrees], of_tree)
        moments = as_index(index).moments(count + 1)
        for interventional, game in games.items():
            want = np.moveaxis(semivalue(game, count, share, order), order, 0)
            if interventional:
                weights = np.tile(w, (len(X), 1))  # one line a row: a pair of rows at a time, else sets of rows as bits
                for own, name in [(weights, None), *((w[None], name) for name in SETS)]:
                    out = np.zeros(want.shape)
                    tree_shap.add_interventional(e, player_of, count, X, B, own, moments, order, out, instructions=name)
                    near(out, want, s, what=f"{'bit' if name else 'pair'} walk, {name}, order {order}")
            lane_kernels(s, want, X, (B, w, moments) if interventional else None, rules, order)


def lane_kernels(s, want, X, background, rules, order):
    kinds = [("lane walk", b, False) for b in (0, 4)] if background is None else []
    kinds += [("pattern tables", b, False) for b in (0, 6)]
    kinds += [("pattern tables", 7, True)] if order == 2 else []
    kinds += [("lane walk", 3, True)] if order == 2 and background is None else []
    count, pairs = len(s.groups), tree_shap.interacting_pairs(s.e, s.player_of, len(s.groups))
    for kernel, bits, sparse in kinds:
        for name in SETS:
            for arithmetic, tolerance in {"float64": 1e-11, "float32": 1e-4}.items():
                made = compiled_trees.CompiledTrees(
                    s.e, s.player_of, count, rules, kernel=kernel, order=order, background=background,
                    instructions=name, arithmetic=arithmetic, bits=bits, sparse=sparse,
                )  # fmt: skip
                shape = (len(X), count + len(pairs), want.shape[-1]) if sparse else want.shape
                out = np.zeros(shape)
                made.add_values(X, out, threads=1, description="", quiet=True)
                if sparse:
                    full = np.zeros(want.shape)
                    for k, (i, j) in enumerate(pairs):
                        full[:, i, j] = full[:, j, i] = out[:, count + k]
                    out = full
                near(
                    out,
                    want,
                    s,
                    what=f"{kernel}, {bits} bits, {name}, {arithmetic}, order {order}, background {background is not None}",
                    scale=tolerance,
                )


def check_coalitions(s):
    """All hybrids of a row."""
    B, groups = rows_of(s.rng, s.e, 7), s.groups
    got = tree_shap.hybrid_outputs(s.e, s.player_of, len(groups), s.X[0], B) + s.e.base_values
    for S in range(2 ** len(groups)):
        H = B.copy()
        for j, columns in enumerate(groups):
            if S >> j & 1:
                H[:, columns] = s.X[0, columns]
        near(got[:, S], tree_shap.predict(s.e, H), s, what="hybrids")


CHECKS = {
    "predictions": check_predictions,
    "effects": check_effects,
    "values of features": check_values_of_features,
    "attributions": check_attributions,
    "coalitions": check_coalitions,
}


@few
@pytest.mark.parametrize("what", CHECKS)
def test_large_models(what, some):
    for seed in some:
        CHECKS[what](large_situation(seed))


@soak
@pytest.mark.soak
@pytest.mark.parametrize("what", CHECKS)
def test_a_thousand_large_models(what, some):
    for seed in some:
        CHECKS[what](large_situation(seed))
