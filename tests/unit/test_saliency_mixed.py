"""Networks of several inputs, numbers beside categories: what stands for absent in each of them."""

from __future__ import annotations

from itertools import product
from math import factorial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import whybox as wb
from networks.small import Formula, rows, seeded
from whybox.errors import InputError, OptionError


def mixed_net():
    """Two numbers and two categories, which interact."""
    words, top = seeded(lambda: nn.Embedding(5, 3)), seeded(lambda: nn.Linear(8, 2))
    return Formula(lambda x, c: torch.tanh(2 * top(torch.cat([x, words(c).flatten(1)], 1))))


class Named(nn.Module):
    """The same network with names for its inputs."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.eval()

    def forward(self, number, category):
        return self.inner(number, category)


def mixed_rows(count, seed):
    return rows(count, 2, seed=seed), np.random.default_rng(seed).integers(0, 5, (count, 2))


def score(net, x, c):
    with torch.no_grad():
        return net(torch.tensor(x), torch.tensor(c))[:, 1].numpy().astype(float)


def shapley_by_definition(net, one, background, players=4):
    """Shapley values of two numbers and two categories; absent ones are drawn together from each background row."""
    worth = {}
    for shown in product((False, True), repeat=players):
        mixed = [np.where(shown[2 * k : 2 * k + 2], a, b) for k, (a, b) in enumerate(zip(one, background, strict=True))]
        worth[shown] = score(net, *mixed).mean()
    values = np.zeros(players)
    for shown, value in worth.items():
        for j in np.flatnonzero(~np.array(shown)):
            weight = factorial(sum(shown)) * factorial(players - sum(shown) - 1) / factorial(players)
            values[j] += weight * (worth[(*shown[:j], True, *shown[j + 1 :])] - value)
    return values


def test_shapley_values_of_numbers_and_categories_are_those_of_the_definition():
    net, given, behind = mixed_net(), mixed_rows(3, 1), mixed_rows(6, 2)
    found = wb.saliency(net, given, 1, "shapley", background=behind)
    for i in range(3):
        want = shapley_by_definition(net, [a[i] for a in given], behind)
        assert np.allclose(np.concatenate([e.values[i] for e in found]), want, atol=1e-6)
    assert found[0].evidence.exact
    named = wb.saliency(
        Named(net),
        dict(zip(("number", "category"), given, strict=True)),
        1,
        "shapley",
        background={"category": behind[1], "number": behind[0]},
    )
    assert all(np.array_equal(a.values, b.values) for a, b in zip(found, named, strict=True))


def test_each_input_has_its_own_replacement_beside_background_rows():
    net, given, behind = mixed_net(), mixed_rows(3, 1), mixed_rows(6, 2)

    def drop(i, x, c):
        return score(net, given[0][i : i + 1], given[1][i : i + 1])[0] - score(net, x, c).mean()

    held = wb.saliency(net, given, 1, "ablation", background=behind, baseline=("background", None))
    fixed = wb.saliency(net, given, 1, "ablation", background=behind, baseline=("background", 4))
    other = wb.saliency(net, given, 1, "ablation", background=behind, baseline=(0.5, "background"))
    assert len(held) == 1
    for i in range(3):
        c = np.repeat(given[1][i : i + 1], 6, axis=0)
        x = np.where([True, False], behind[0], given[0][i])
        assert np.isclose(held[0].values[i, 0], drop(i, x, c), atol=1e-6)
        assert np.isclose(fixed[0].values[i, 0], drop(i, x, c), atol=1e-6)
        four = np.where([True, False], 4, given[1][i : i + 1])
        assert np.isclose(fixed[1].values[i, 0], drop(i, given[0][i : i + 1], four), atol=1e-6)
        half = np.where([False, True], 0.5, given[0][i : i + 1]).astype(np.float32)
        assert np.isclose(other[0].values[i, 1], drop(i, half, given[1][i : i + 1]), atol=1e-6)
        drawn = np.where([False, True], behind[1], given[1][i])
        assert np.isclose(other[1].values[i, 1], drop(i, np.repeat(given[0][i : i + 1], 6, axis=0), drawn), atol=1e-6)
    assert "input 1 held" in held[0].evidence.estimand
    assert "input 1: 4" in fixed[0].evidence.estimand
    mean = wb.saliency(net, given, 1, "ablation", background=behind, baseline=("mean", 4))
    assert "whole numbers held" not in mean[0].evidence.estimand


def test_what_cannot_stand_in_an_input_is_refused():
    net, given, behind = mixed_net(), mixed_rows(3, 1), mixed_rows(6, 2)
    short = given[0], given[1].astype(np.uint8)
    with pytest.raises(InputError, match="beyond uint8"):
        wb.saliency(net, short, 1, "ablation", background=(behind[0], behind[1] + 256))
    with pytest.raises(OptionError, match="background=|or background rows"):
        wb.saliency(net, given, 1, "ablation")
    with pytest.raises(OptionError, match="needs background rows"):
        wb.saliency(net, given, 1, "ablation", baseline=("background", 0))
    with pytest.raises(OptionError, match="give it for all inputs"):
        wb.saliency(net, given, 1, "integrated_gradients", background=behind, baseline=("background", None))
    with pytest.raises(InputError, match=r"array of whole numbers, frame\.to_numpy"):
        wb.saliency(net, (given[0], pd.DataFrame(given[1])), 1, "ablation", baseline=(0, 0))


def test_numbers_and_categories_of_a_function_of_jax():
    jnp = pytest.importorskip("jax.numpy")
    table = rows(5, 3)

    def function(params, x, c):
        return jnp.tanh((params["table"][c].sum(1) * x).sum(1))

    net = wb.networks.jax(function, {"table": table})
    given = rows(3, 3, seed=1), np.random.default_rng(1).integers(0, 5, (3, 2))
    behind = rows(4, 3, seed=2), np.random.default_rng(2).integers(0, 5, (4, 2))
    found = wb.saliency(net, given, method="ablation", background=behind)
    worth = lambda x, c: np.tanh((table[c].sum(1) * x).sum(1))
    for i in range(3):
        drawn = np.where([True, False], behind[1], given[1][i])
        want = worth(*(a[i : i + 1] for a in given))[0] - worth(given[0][i], drawn).mean()
        assert np.isclose(found[1].values[i, 0], want, atol=1e-5)
    times = np.array([0.5, 1, 2], np.float32)
    one = wb.saliency(wb.networks.jax(lambda p, x, t: (p * x).sum(1) * t, table[:1]), (given[0], times))
    assert np.allclose(one[1].values[:, 0], (table[:1] * given[0]).sum(1), atol=1e-5)
    one = wb.saliency(wb.networks.jax(lambda p, x, t: (p[0] * x).sum() * t, table, batched=False), (given[0], times))
    assert np.allclose(one[1].values[:, 0], (table[:1] * given[0]).sum(1), atol=1e-5)


class Timed(nn.Module):
    """Two numbers, a length and an id for each row: both are (rows,)."""

    def __init__(self):
        super().__init__()
        self.words, self.top = nn.Embedding(5, 3), nn.Linear(5, 2)

    def forward(self, x, length, kind):
        assert length.ndim == kind.ndim == 1
        return torch.tanh(self.top(torch.cat([x, self.words(kind)], 1)) * length[:, None])


def timed_rows(count, seed):
    draws = np.random.default_rng(seed)
    return rows(count, 2, seed=seed), draws.uniform(0.2, 1, count).astype(np.float32), draws.integers(0, 5, count)


def test_one_number_a_row_has_the_values_of_the_definition():
    net, given, behind = seeded(Timed), timed_rows(3, 1), timed_rows(6, 2)

    def score(*x):
        with torch.no_grad():
            return net(*map(torch.tensor, x))[:, 1].numpy().astype(float)

    left = wb.saliency(net, given, 1, "ablation", background=behind)
    for i in range(3):
        repeated = [np.repeat(a[i : i + 1], 6, axis=0) for a in given]
        for k in (1, 2):
            mixed = [behind[j] if j == k else repeated[j] for j in range(3)]
            assert np.isclose(left[k].values[i, 0], (score(*repeated) - score(*mixed)).mean(), atol=1e-6)
    named = dict(zip(("x", "length", "kind"), given, strict=True))
    slopes = wb.saliency(net, named, 1)
    h = np.float32(1e-2)
    wide = (score(given[0], given[1] + h, given[2]) - score(given[0], given[1] - h, given[2])) / (2 * h)
    assert np.allclose(slopes[1].values[:, 0], wide, atol=1e-3)
    assert slopes[1].feature_names == ("length",)
    own = wb.saliency(net, given, 1, "ablation", baseline=(None, np.full(3, 0.5, np.float32), np.array([0, 1, 2])))
    assert np.isclose(own[0].values[0, 0], score(*given)[0] - score(given[0], np.full(3, 0.5, "f"), given[2])[0])
    noisy = wb.saliency(net, named, 1, "smoothgrad", samples=4)
    assert "no noise in length: a row's range of one number is 0" in noisy[1].evidence.notes
    assert wb.check(slopes, net, named, checks="numerical").passed


def test_one_number_a_row_beside_an_embedding_and_for_a_function():
    words, top = seeded(lambda: nn.Embedding(7, 3)), seeded(lambda: nn.Linear(3, 2))

    class Read(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.top = words, top

        def forward(self, ids, length):
            return self.top(self.words(ids).sum(1) / length[:, None])

    ids, length = np.array([[1, 2, 3], [4, 5, 6]]), np.array([3, 2])
    net = Read().eval()
    e = wb.saliency(net, (ids, length), 1, "gradient_x_input", embedding="words")
    want = (words.weight.detach().numpy()[ids] * top.weight[1].detach().numpy()).sum(2) / length[:, None]
    assert np.allclose(e.values, want, atol=1e-6)
    functions = wb.saliency(lambda x, k: x.sum(1) * k, (rows(4, 3), np.arange(4.0)), method="ablation")
    assert np.allclose(functions[1].values[:, 0], rows(4, 3).sum(1) * np.arange(4), atol=1e-5)


def test_networks_of_single_numbers_alone_are_explained():
    class Factors(torch.nn.Module):
        """Users and items, each an id."""

        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.user, self.item = torch.nn.Embedding(7, 3), torch.nn.Embedding(5, 3)

        def forward(self, user, item):
            return (self.user(user) * self.item(item)).sum(1)

    net = Factors().eval()
    user, item = np.array([1, 3, 2, 6]), np.array([0, 4, 4, 2])
    given = {"user": user, "item": item}
    ours = wb.saliency(net, given, method="shapley", background=given)
    table = net(torch.arange(7).repeat_interleave(5), torch.arange(5).repeat(7)).reshape(7, 5).detach().numpy()
    both, none = table[user, item], table[np.ix_(user, item)].diagonal().mean()
    only_user, only_item = table[user][:, item].mean(axis=1), table[user][:, item].mean(axis=0)
    want = ((only_user - none) + (both - only_item)) / 2
    assert np.allclose(ours[0].values[:, 0], want, atol=1e-6)
    assert np.allclose(ours[1].values[:, 0], both - none - want, atol=1e-6)
    assert [e.coords["feature"].tolist() for e in ours] == [["user"], ["item"]]
    with pytest.raises(wb.errors.InputError, match="first axis must be the rows"):
        wb.saliency(net, (user, item[:3]))
