"""Leaving out, and Shapley values of parts, against brute force; errors must cover; sums must hold."""

from itertools import permutations

import numpy as np
import pytest

import whybox as wb
from whybox.errors import InputError, LimitError, OptionError
from whybox.games.exact import all_coalitions, exact_values
from whybox.games.gaussian_process import CoalitionProcess
from whybox.games.sampling import draw_design, min_evaluations
from whybox.games.solve import estimate_values

torch = pytest.importorskip("torch")
nn = torch.nn

from networks.small import Formula, pooled_cnn, rows


def pictures(count=3):
    return rows(count, 2, 8, 9)


def over_orders(worth, players):
    """Shapley's own definition: the mean over all orders."""
    out = np.zeros(players)
    orders = list(permutations(range(players)))
    for order in orders:
        came = 0
        for who in order:
            out[who] += worth[came | 1 << who] - worth[came]
            came |= 1 << who
    return out / len(orders)


def random_game(kind, players, seed):
    draw = np.random.default_rng([players, seed])
    every = all_coalitions(players)
    if kind == "any":
        return draw.normal(size=2**players)
    if kind == "network":
        hidden = np.maximum(every @ draw.normal(size=(players, 16)) + draw.normal(size=16), 0)
        return np.maximum(hidden @ draw.normal(size=(16, 16)), 0) @ draw.normal(size=16)
    if kind == "and":
        sets = [draw.permutation(players)[: draw.integers(2, players // 2 + 1)] for _ in range(4)]
        return sum(draw.normal() * every[:, s].all(axis=1) for s in sets)
    out = every @ draw.normal(size=players)
    for _ in range(2 * players):
        out = out + draw.normal() * every[:, draw.permutation(players)[: draw.integers(2, 4)]].all(axis=1)
    return out


def test_exact_values_are_means_over_all_orders():
    worth = np.random.default_rng(0).normal(size=(2**5, 2))
    found = exact_values(worth)
    for t in range(2):
        np.testing.assert_allclose(found[:, t], over_orders(worth[:, t], 5), atol=1e-12)


def in_pairs(worth, k):
    """Half the differences and the means of coalitions numbered k and their complements."""
    there, away = worth[k][:, None], worth[len(worth) - 1 - k][:, None]
    return (there - away) / 2, (there + away) / 2


@pytest.mark.parametrize("kind", ["any", "network", "cubic", "and"])
@pytest.mark.parametrize(("players", "calls"), [(8, 60), (10, 63), (10, 400), (12, 160)])
def test_error_bars_cover_exact_values(kind, players, calls):
    full, bits = 2**players - 1, 1 << np.arange(players)
    inside, gaps, errors = [], [], []
    for seed in range(120 if calls < 100 else 40 if calls < 400 else 24):
        worth = random_game(kind, players, seed)
        d = draw_design(players, calls, np.random.default_rng([seed, 7]))
        assert 2 * len(d.coalitions) + 2 <= calls
        k = d.coalitions @ bits
        assert len(set(k) | set(full - k)) == 2 * len(k)  # every coalition once
        total = worth[full] - worth[0]
        values, variances = estimate_values(d, *in_pairs(worth, k), np.array([total]))
        want = exact_values(worth[:, None])
        assert values.sum() == pytest.approx(total, abs=1e-9)
        assert (variances > 0).all()
        inside.append(np.abs(values - want) <= 1.96 * np.sqrt(variances))
        gaps.append((values - want) / np.sqrt(variances))
        errors.append(np.linalg.norm(values - want) / np.linalg.norm(want))
    assert np.mean(inside) >= 0.90
    assert (
        np.mean(inside) <= 0.99 or np.median(errors) < 1e-3
    )  # all sets of three are known; what is left is the least noise there may be
    assert abs(np.mean(gaps)) < 0.2


def test_values_are_those_of_the_process():
    """Explicit features, a set each and a pair each: weights, likelihoods, posterior mean and variance of the values, all by enumeration."""
    players, draw = 6, np.random.default_rng(0)
    every = all_coalitions(players)
    one_of_pair = every[every[:, 0]]
    feature = lambda z, sets: np.stack([np.where(s, np.where(z, 1.0, -1.0), 1.0).prod(axis=1) for s in sets], axis=1)
    prior = lambda sets, w: np.array([np.where(s, w, 1.0).prod() for s in sets])
    of_size = lambda k: every[every.sum(axis=1) == k]
    pairs = one_of_pair[draw.permutation(31)[:17]]  # the last one is that of all players
    worth = draw.normal(size=(64, 2)) + 3 * every[:, [0, 2]] * every[:, [1, 3]] * every[:, [2, 5]]
    one = 0.1 * np.random.default_rng(1).normal(size=64) + 10 * (np.arange(64) == 50)  # no such process
    worth = np.column_stack([worth, one])
    index = pairs @ (1 << np.arange(players))
    halves, means = (worth[index] - worth[63 - index]) / 2, (worth[index] + worth[63 - index]) / 2
    halves = np.concatenate([halves, (worth[-1:] - worth[:1]) / 2])
    found, variances = CoalitionProcess(pairs)(halves, means)
    known = np.concatenate([pairs, every[-1:]])
    signs = np.where(known, 1.0, -1.0)
    surprised = []
    for t in range(3):
        w, y = np.ones(players), means[:, t] - means[:, t].mean()
        for _ in range(4):
            two, four = (feature(pairs, of_size(k)) for k in (2, 4))
            v2, v4 = (prior(of_size(k), w) / prior(of_size(k), w).sum() for k in (2, 4))
            weighed = np.linalg.solve(1e3 + (two * v2) @ two.T + 0.1 * (four * v4) @ four.T + 1e-4 * np.eye(len(y)), y)
            energy = ((v2 * (two.T @ weighed)) ** 2) @ of_size(2)
            w = (energy / energy.max() + 1e-3) ** 0.7
            w /= w.mean()
        share = lambda k, w=w: 0.98 * prior(of_size(k), w) / prior(of_size(k), w).sum() + 0.02 / len(of_size(k))
        linear = np.linalg.lstsq(signs, halves[:, t], rcond=None)[
            0
        ]  # single players are free: what is left of them is hardly shrunk
        left = halves[:, t] - signs @ linear
        tries = []
        for fall in (0.003, 0.01, 0.03, 0.1, 0.3):
            for noise in (1e-6, 1e-4, 1e-2, 1.0):
                # all there is to be known: a coefficient of each odd set, and noise of each pair
                sets = np.concatenate([of_size(1), of_size(3), of_size(5)])
                variance = np.concatenate([np.full(6, 1e4), share(3), fall * share(5), np.full(32, noise)])
                at = np.concatenate([feature(one_of_pair, sets), np.eye(32)], axis=1)
                rows = [int(np.flatnonzero((one_of_pair == z).all(axis=1))[0]) for z in known]
                game = np.zeros((64, at.shape[1]))
                game[every[:, 0]], game[~every[:, 0]] = at, -at[::-1]  # the complement of number k is number 63 - k
                to_values = exact_values(game)
                a = at[rows]
                covariance = (a * variance) @ a.T
                quiet, size = np.linalg.slogdet(covariance)
                assert quiet > 0
                weighed = np.linalg.solve(covariance, left)
                likely = -(len(left) - players) * np.log(left @ weighed) - size
                values = 2 * linear + (to_values * variance) @ a.T @ weighed
                gain = np.linalg.solve(covariance, a * variance)
                spread = np.diag(to_values @ (np.diag(variance) - (a * variance).T @ gain) @ to_values.T)
                free = len(left) - players
                apart = [left_out(covariance, left, i) for i in range(len(left) - 1)]
                scales = [left @ weighed / free, np.mean([gap**2 / alone for gap, alone in apart])]
                tries.append((likely, values, spread * max(scales) * (1.1 * (1 + 1.2 / free)) ** 2, np.argmax(scales)))
        _, values, spread, which = max(tries, key=lambda of: of[0])
        np.testing.assert_allclose(found[:, t], values, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(variances[:, t], spread, rtol=1e-3)
        surprised.append(which)
    assert surprised == [0, 0, 1]  # in the last one pairs that are left out are further off than the process says
    np.testing.assert_allclose(found.sum(axis=0), worth[-1] - worth[0], atol=1e-9)


def left_out(covariance, y, i):
    """What one number is more than the others say of it, and the variance of that."""
    others = np.delete(np.arange(len(y)), i)
    pull = np.linalg.solve(covariance[np.ix_(others, others)], covariance[others, i])
    return y[i] - pull @ y[others], covariance[i, i] - pull @ covariance[others, i]


def threes_and_sevens(players, seed):
    """Sets of three, and sets of seven worth a hundredth of their variance."""
    draw = np.random.default_rng([players, seed])
    z = np.where(all_coalitions(players), 1.0, -1.0)
    worth = z @ draw.normal(size=players)
    for size, deviation in ((3, 1.0), (7, 0.1)):
        for _ in range(60):
            who = draw.permutation(players)[:size]
            worth += draw.normal() * deviation / 60**0.5 * z[:, who].prod(axis=1)
    return worth


def test_errors_cover_where_fall_and_noise_were_chosen_by_part_of_the_pairs(monkeypatch):
    """Those few pairs do not tell the larger sets, on which alone values of many pairs still hang; the pairs left out, one by one, do."""
    monkeypatch.setattr("whybox.games.gaussian_process.MAX_PAIRS_FOR_LEARNING", 50)
    players, bits = 10, 1 << np.arange(10)
    inside, far = [], []
    for seed in range(24):
        worth = threes_and_sevens(players, seed)
        d = draw_design(players, 511, np.random.default_rng([seed, 7]))
        values, variances = estimate_values(d, *in_pairs(worth, d.coalitions @ bits), np.array([worth[-1] - worth[0]]))
        gaps = np.abs(values - exact_values(worth[:, None])) / np.sqrt(variances)
        inside.append(gaps <= 1.96)
        far.append(np.median(gaps))
    assert np.mean(inside) >= 0.93  # 0.83 by the process's own scale
    assert np.mean(far) >= 0.5  # 0.67 of exact errors


def few_meet(players, seed):
    """Players of whom four meet, by threes, and the others add up."""
    draw = np.random.default_rng([players, seed])
    every = all_coalitions(players)
    four = draw.permutation(players)[:4]
    threes = [np.delete(four, k) for k in range(4)]
    return every @ draw.normal(size=players) + sum(draw.normal() * every[:, s].all(axis=1) for s in threes)


def test_who_takes_part_in_interactions_is_learnt(monkeypatch):
    """At equal calls a third of the regression's error, where it is four of fourteen players who meet."""
    players, bits = 14, 1 << np.arange(14)
    errors = {}
    for pairs in (1000, 20):
        monkeypatch.setattr("whybox.games.sampling.MAX_PROCESS_PAIRS", pairs)
        for seed in range(6):
            worth = few_meet(players, seed)
            d = draw_design(players, 140, np.random.default_rng([seed, 7]))
            values, _ = estimate_values(d, *in_pairs(worth, d.coalitions @ bits), np.array([worth[-1] - worth[0]]))
            errors.setdefault(pairs, []).append(np.linalg.norm(values - exact_values(worth[:, None])))
    assert np.exp(np.mean(np.log(errors[1000]))) < np.exp(np.mean(np.log(errors[20]))) / 3


@pytest.mark.parametrize(("players", "calls"), [(6, 40), (7, 60), (9, 80), (16, 1000)])
@pytest.mark.parametrize("heavy", [1, 2])
def test_few_players_with_all_the_weight(players, calls, heavy):
    """Sums over large sets are differences of large numbers then; covariances must stay so all the same."""
    w = np.where(np.arange(players) < heavy, 1.0, 1e-3**0.7)
    process = CoalitionProcess(draw_design(players, calls, np.random.default_rng(0)).coalitions)
    for kernel, _, prior in process._mixed_covariances(w / w.mean()):
        assert np.linalg.eigvalsh(kernel).min() > -1e-6
        assert (prior > 0).all()


def test_a_constant_game_is_nothing_to_everybody():
    d = draw_design(8, 60, np.random.default_rng(0))
    zero = np.zeros((len(d.coalitions), 1))
    values, variances = estimate_values(d, zero, zero + 3, np.zeros(1))
    assert (values == 0).all()
    assert (variances == 0).all()


def test_regression_takes_over_where_pairs_are_many(monkeypatch):
    """The same games, as if so many pairs, and players, were too many for the process: unbiased, and errors that cover."""
    monkeypatch.setattr("whybox.games.sampling.MAX_PROCESS_PAIRS", 19)
    players, bits = 10, 1 << np.arange(10)
    inside, gaps = [], []
    for seed in range(120):
        worth = random_game(("network", "and")[seed % 2], players, seed)
        d = draw_design(players, 160, np.random.default_rng([seed, 7]))
        assert d.strata
        assert not len(d.process_pairs)
        values, variances = estimate_values(d, *in_pairs(worth, d.coalitions @ bits), np.array([worth[-1] - worth[0]]))
        gaps.append((values - exact_values(worth[:, None])) / np.sqrt(variances))
        inside.append(np.abs(gaps[-1]) <= 1.96)
        assert values.sum() == pytest.approx(worth[-1] - worth[0], abs=1e-9)
    assert 0.90 <= np.mean(inside) <= 0.99
    assert abs(np.mean(gaps)) < 0.2


def test_more_calls_are_not_worse(monkeypatch):
    """The process sees a part of the pairs where they are many, and the better of the two is taken: beyond its limit errors stay, and cover."""
    monkeypatch.setattr("whybox.games.sampling.MAX_PROCESS_PAIRS", 150)
    players, bits = 11, 1 << np.arange(11)
    errors, inside = {}, []
    for seed in range(16):
        worth = random_game(("network", "cubic")[seed % 2], players, seed)
        want = exact_values(worth[:, None])
        for calls in (302, 306, 700):
            d = draw_design(players, calls, np.random.default_rng([seed, 7]))
            assert len(d.process_pairs) == 150
            values, variances = estimate_values(
                d, *in_pairs(worth, d.coalitions @ bits), np.array([worth[-1] - worth[0]])
            )
            errors.setdefault(calls, []).append(np.linalg.norm(values - want) / np.linalg.norm(want))
            inside.append(np.abs(values - want) <= 1.96 * np.sqrt(variances) + 1e-9)
    at, beyond, far = (np.exp(np.mean(np.log(errors[c]))) for c in (302, 306, 700))
    assert beyond < 1.5 * at
    assert far < 1.5 * at
    assert np.mean(inside) >= 0.9


def test_regression_is_exact_where_pairs_see_no_interaction():
    """Products of two are even in a pair: their Shapley values come out exactly from few calls."""
    draw = np.random.default_rng(0)
    every = all_coalitions(12).astype(float)
    worth = every @ draw.normal(size=12) + np.einsum("ki,ij,kj->k", every, draw.normal(size=(12, 12)), every)
    d = draw_design(12, 60, np.random.default_rng(1))
    k = d.coalitions @ (1 << np.arange(12))
    values, variances = estimate_values(d, *in_pairs(worth, k), np.array([worth[-1] - worth[0]]))
    np.testing.assert_allclose(values, exact_values(worth[:, None]), atol=1e-9)
    assert variances.max() < 1e-18


def test_many_players():
    for players, calls in ((40, min_evaluations(40)), (100, 1000), (200, min_evaluations(200)), (40, 5000)):
        d = draw_design(players, calls, np.random.default_rng(0))
        weights = np.random.default_rng(1).normal(size=players)
        worth = lambda z, w=weights: (z @ w)[:, None]
        there, away = worth(d.coalitions), worth(~d.coalitions)
        values, _ = estimate_values(d, (there - away) / 2, (there + away) / 2, weights.sum(keepdims=True))
        np.testing.assert_allclose(values[:, 0], weights, atol=1e-8)
        if d.strata:
            assert sum(s.kernel_share for s in d.strata) == pytest.approx(
                sum(1 / (s * (players - s)) for s in range(1, players))
            )


def test_and_and_product_of_a_table():
    x = np.array([[2.0, 3.0, 5.0, 1.0], [1.0, -1.0, 2.0, 0.0]])
    e = wb.saliency(Formula(lambda a: a[:, 0] * a[:, 1] * a[:, 2] + 4 * a[:, 3]), x, None, "shapley")
    np.testing.assert_allclose(e.values, [[10, 10, 10, 4], [-2 / 3, -2 / 3, -2 / 3, 0]], atol=1e-5)
    assert e.evidence.exact
    assert e.evidence.index == "Shapley"
    assert e.std_error is None
    assert e.dims == ("row", "feature")
    np.testing.assert_array_equal(e.base, 0)
    np.testing.assert_allclose(e.extras["part"][1], e.values)


def test_a_part_that_changes_nothing_is_no_player():
    x = np.zeros((1, 40), dtype=np.float32)
    x[0, :6] = 1
    e = wb.saliency(Formula(lambda a: a[:, :6].prod(1)), x, None, "shapley", samples=64)
    np.testing.assert_allclose(e.values[0, :6], 1 / 6, atol=1e-6)
    assert (e.values[0, 6:] == 0).all()
    assert e.evidence.exact
    assert e.evidence.passes["forward"] <= 2 + 1 + 63


def test_patches_against_brute_force():
    network, x = pooled_cnn(2), pictures()
    e = wb.saliency(network, x, 2, "shapley", patches=(2, 3), samples=64)
    labels = (np.arange(8) * 2 // 8)[:, None] * 3 + np.arange(9) * 3 // 9
    keep = all_coalitions(6)[:, labels][:, None]
    for row in range(3):
        with torch.no_grad():
            worth = network(torch.as_tensor(x[row] * keep, dtype=torch.float32))[:, 2].numpy().astype(np.float64)
        want = over_orders(worth, 6)
        np.testing.assert_allclose(e.extras["part"][1][row], want, atol=1e-5)
        for part in range(6):
            assert e.values[row][labels == part].sum() == pytest.approx(want[part], abs=1e-5)
            assert np.ptp(e.values[row][labels == part]) == 0
    assert e.extras["converged"][1].all()
    np.testing.assert_allclose(e.values.sum(axis=(1, 2)) + e.extras["base"][1], e.prediction, atol=1e-4)


def test_sampled_patches_cover_and_add_up():
    network, x = pooled_cnn(2), pictures(12)
    truth = wb.saliency(network, x, 1, "shapley", patches=(3, 4), samples=4096)
    assert truth.evidence.exact
    inside = []
    for seed in range(6):
        e = wb.saliency(network, x, 1, "shapley", patches=(3, 4), samples=120, seed=seed)
        assert not e.evidence.exact
        assert e.evidence.passes["forward"] <= 12 * 120 + 2
        np.testing.assert_allclose(e.values.sum(axis=(1, 2)) + e.extras["base"][1], e.prediction, atol=1e-4)
        found, error = e.extras["part"][1], e.extras["part_error"][1]
        inside.append(np.abs(found - truth.extras["part"][1]) <= 1.96 * error)
        np.testing.assert_allclose(e.std_error * (e.values / np.where(e.values == 0, 1, e.values)), e.std_error)
    assert 0.90 <= np.mean(inside) <= 0.99


def test_superpixels_one_cut_a_row():
    network, x = pooled_cnn(2, 1), pictures(2)
    cut = np.full((2, 8, 9), 7)
    cut[0, :4], cut[1, :, :3], cut[1, :, 3:5] = 2, 1, -1
    e = wb.saliency(network, x, None, "shapley", parts=cut)
    assert (e.values[1, :, 3:5] == 0).all()  # below 0: always there
    both = wb.saliency(network, x[:1], None, "shapley", parts=cut[0])
    np.testing.assert_allclose(both.values[0], e.values[0], atol=1e-6)
    np.testing.assert_allclose(e.values.sum(axis=(1, 2)) + e.extras["base"][1], e.prediction, atol=1e-5)
    with pytest.raises(InputError, match="one for all rows"):
        wb.saliency(network, x, None, "shapley", parts=cut[:, :4])
    with pytest.raises(InputError, match="whole numbers"):
        wb.saliency(network, x, None, "shapley", parts=cut * 1.0)


def test_rows_with_fewer_parts_have_none_there():
    x = pictures(2)
    cut = np.zeros((2, 8, 9), dtype=int)
    cut[1, 4:] = 1
    e = wb.saliency(pooled_cnn(2, 1), x, None, "ablation", parts=cut)
    assert np.isnan(e.extras["part"][1][0, 1])
    assert np.isfinite(e.extras["part"][1][1]).all()


def test_channels_as_parts():
    network, x = pooled_cnn(2, 1), pictures(2)
    e = wb.saliency(network, x, None, "ablation", parts="channels")
    assert e.dims == ("row", "channel", "y", "x")
    for channel in range(2):
        without = x.copy()
        without[:, channel] = 0
        with torch.no_grad():
            drop = (network(torch.as_tensor(x)) - network(torch.as_tensor(without)))[:, 0].numpy()
        np.testing.assert_allclose(e.values[:, channel].sum(axis=(1, 2)), drop, atol=1e-5)
        np.testing.assert_allclose(e.extras["part"][1][:, channel], drop, atol=1e-5)
    s = wb.saliency(network, x, None, "shapley", parts="channels")
    np.testing.assert_allclose(s.values.sum(axis=(1, 2, 3)) + s.extras["base"][1], s.prediction, atol=1e-5)
    with pytest.raises(OptionError, match="no channels"):
        wb.saliency(Formula(lambda a: a.sum(1)), np.ones((1, 3)), None, "ablation", parts="channels")


def test_patches_of_a_series_are_counted_too():
    """A number of patches is not ignored where there is one position axis, with channels or without."""
    rng = np.random.default_rng(4)
    for shape, axis in (((2, 12), None), ((2, 3, 12), 1), ((2, 12, 3), 2)):
        x, weights = rng.normal(size=shape).astype(np.float32), rng.normal(size=shape[1:]).astype(np.float32)
        linear = Formula(lambda a, w=weights: (a * torch.as_tensor(w)).flatten(1).sum(1))
        gain = (x * weights) if axis is None else (x * weights).sum(axis=axis)
        for method in ("ablation", "shapley"):
            e = wb.saliency(linear, x, None, method, patches=4, channel_axis=axis)
            np.testing.assert_allclose(e.extras["part"][1], gain.reshape(2, 4, 3).sum(axis=2), atol=1e-4)
            each = wb.saliency(linear, x, None, method, channel_axis=axis)
            assert "part" not in each.extras or each.extras["part"][1].shape == (2, 12)
            np.testing.assert_allclose(
                each.values.reshape(2, -1, 12).sum(axis=1) if axis == 1 else each.values, gain, atol=1e-4
            )


def test_channels_last_patches():
    weights = np.random.default_rng(3).normal(size=(8, 9, 2)).astype(np.float32)
    x = np.moveaxis(pictures(), 1, -1)
    linear = Formula(lambda a: (a * torch.as_tensor(weights)).flatten(1).sum(1))
    gain = (x * weights).sum(axis=-1)
    e = wb.saliency(linear, x, None, "shapley", patches=2, channel_axis=-1)
    for k, box in enumerate(np.s_[:4, :5, :4, 5:, 4:, :5, 4:, 5:][i : i + 2] for i in range(0, 8, 2)):
        np.testing.assert_allclose(e.extras["part"][1][:, k], gain[(slice(None), *box)].sum(axis=(1, 2)), atol=1e-4)


def test_ablation_of_tokens_and_several_targets():
    table = np.random.default_rng(0).normal(size=(9, 5, 3))
    ids = np.random.default_rng(1).integers(1, 9, size=(4, 5))
    network = Formula(lambda a: torch.as_tensor(table, dtype=torch.float32)[a, torch.arange(5)].sum(1))
    e = wb.saliency(network, ids, "all", "ablation", baseline=0)
    np.testing.assert_allclose(e.values, table[ids, np.arange(5)] - table[0], atol=1e-5)
    s = wb.saliency(network, ids, "all", "shapley", baseline=0)
    np.testing.assert_allclose(s.values, e.values, atol=1e-5)
    assert s.extras["part"][0] == ("row", "part", "output")
    np.testing.assert_allclose(s[1].extras["part"][1], s.values[1], atol=1e-6)


def test_parts_of_two_inputs_play_together():
    a, b = np.array([[2.0, 3.0]]), np.array([[5.0]])
    one, two = wb.saliency(
        Formula(lambda a, b: a[:, 0] * b[:, 0] + a[:, 1]), (a, b), None, "shapley", baseline=(0.0, 0.0)
    )
    np.testing.assert_allclose(one.values, [[5, 3]], atol=1e-5)
    np.testing.assert_allclose(two.values, [[5]], atol=1e-5)


def test_background_rows_stand_for_absent():
    draw = np.random.default_rng(0)
    x, behind = draw.normal(size=(3, 4)), draw.normal(size=(5, 4))
    function = lambda a: a[:, 0] * a[:, 1] + a[:, 2].abs() * a[:, 3]
    e = wb.saliency(Formula(function), x, None, "shapley", background=behind)
    for row in range(3):
        worth = np.empty(16)
        for k, keep in enumerate(all_coalitions(4)):
            worth[k] = float(function(torch.as_tensor(np.where(keep, x[row], behind))).mean())
        np.testing.assert_allclose(e.values[row], over_orders(worth, 4), atol=1e-5)


def test_too_few_calls_are_refused_with_the_number_that_is_needed():
    x = pictures(1)
    with pytest.raises(LimitError, match=f"{min_evaluations(16):,} or more"):
        wb.saliency(pooled_cnn(2, 1), x, None, "shapley", samples=min_evaluations(16) - 1)
    wb.saliency(pooled_cnn(2, 1), x, None, "shapley", samples=min_evaluations(16))
    with pytest.raises(OptionError, match="2 position axes"):
        wb.saliency(pooled_cnn(2, 1), x, None, "shapley", patches=(2, 2, 2))


def test_saved_and_loaded(tmp_path):
    e = wb.saliency(pooled_cnn(2, 1), pictures(2), None, "shapley", samples=70)
    e.save(tmp_path / "e.whybox")
    back = wb.load(tmp_path / "e.whybox")
    np.testing.assert_array_equal(back.values, e.values)
    np.testing.assert_array_equal(back.extras["part_error"][1], e.extras["part_error"][1])
