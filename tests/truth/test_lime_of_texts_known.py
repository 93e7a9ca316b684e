"""LIME of texts against enumeration, against lime's own law by simulation, and its intervals against the truth."""

import itertools

import numpy as np
import pytest

from whybox.errors import OptionError
from whybox.methods.lime.certify import certify
from whybox.methods.lime.removal_draws import all_subsets, draw_masks, size_proposal, subset_law
from whybox.methods.lime.removal_fit import fit_enumerated, fit_replicates
from whybox.methods.lime.removal_law import RemovalLaw
from whybox.methods.lime.text_options import LimeTextOptions
from whybox.methods.lime.texts import explain_texts
from whybox.numerics.statistics import critical_value


def words(count):
    return " ".join(f"word{i}" for i in range(count))


def model_of(function, count):
    """A function of strings that reads which words are there."""

    def predict(texts):
        present = np.array([[f"word{i}" in text.split() for i in range(count)] for text in texts], dtype=float)
        return function(present)

    return predict


def sigmoid_model(count, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=count)
    pair = rng.normal(size=(count, count)) / count

    def function(present):
        length = np.sqrt(present.sum(axis=1) + 1.0)
        score = (present @ weights + np.einsum("ri,ij,rj->r", present, pair, present)) / length
        return 1.0 / (1.0 + np.exp(-score))

    return function


def weights_of_lime(present, width=25.0):
    """Weights as lime computes them: cosine distances of presence vectors, times 100."""
    length = np.sqrt(present.sum(axis=1))
    cosine = np.divide(
        present.sum(axis=1), length * np.sqrt(present.shape[1]), out=np.zeros(len(present)), where=length > 0
    )
    return np.sqrt(np.exp(-((100.0 * (1.0 - cosine)) ** 2) / width**2))


def weighted_fit(present, outputs, weights, alpha=0.0):
    """A weighted ridge regression with an intercept that is not shrunk: intercept, then coefficients."""
    columns = np.column_stack([np.ones(len(present)), present])
    penalty = alpha * np.diag([0.0, *np.ones(present.shape[1])])
    return np.linalg.solve((columns.T * weights) @ columns + penalty, (columns.T * weights) @ outputs)


def enumerated_limit(function, count, width=25.0, alpha=0.0, samples=5000):
    """The regression over all texts but the full one, each with its probability under lime's draws."""
    present = np.array(list(itertools.product((0.0, 1.0), repeat=count))[:-1])
    sizes = present.sum(axis=1).astype(int)
    ways = np.bincount(sizes, minlength=count)
    probability = 1.0 / (count * ways[sizes])
    return weighted_fit(present, function(present), samples * probability * weights_of_lime(present, width), alpha)


@pytest.mark.parametrize(
    ("count", "width", "alpha"), [(2, 25.0, 0.0), (6, 25.0, 0.0), (7, 10.0, 0.0), (8, 60.0, 0.0), (7, 25.0, 1.0)]
)
def test_a_short_text_has_the_limit_of_lime_exactly(count, width, alpha):
    function = sigmoid_model(count)
    row = explain_texts(model_of(function, count), words(count), LimeTextOptions(kernel_width=width, alpha=alpha)).rows[
        0
    ]
    limit = enumerated_limit(function, count, width, alpha)
    assert row.fit.std_error is None
    np.testing.assert_allclose(row.fit.values[:, 0], limit[1:], atol=1e-12)
    np.testing.assert_allclose(row.fit.intercept, limit[:1], atol=1e-12)
    assert row.spent <= 2**count + 16


def test_the_limit_is_that_of_lime_with_many_draws():
    # lime: the number of removed words is uniform, then so many distinct ones are removed; the full text is the first row
    count, draws = 9, 200_000
    function, rng = sigmoid_model(count, 3), np.random.default_rng(0)
    removed = rng.integers(1, count + 1, draws)
    present = (rng.permuted(np.tile(np.arange(count), (draws, 1)), axis=1) >= removed[:, None]).astype(float)
    present[0] = 1.0
    weights, outputs = weights_of_lime(present), function(present)
    found = weighted_fit(present, outputs, weights)
    columns = np.column_stack([np.ones(draws), present])
    left = (columns * (weights * (outputs - columns @ found))[:, None]).T
    bread = np.linalg.inv((columns.T * weights) @ columns)
    error = np.sqrt(np.diag(bread @ (left @ left.T) @ bread))
    row = explain_texts(model_of(function, count), words(count)).rows[0]
    distance = (np.concatenate([row.fit.intercept, row.fit.values[:, 0]]) - found) / error
    assert np.abs(distance).max() < 4.0
    r_squared = 1.0 - weights @ (outputs - columns @ found) ** 2 / (
        weights @ (outputs - np.average(outputs, weights=weights)) ** 2
    )
    assert abs(float(row.fit.r_squared[0]) - r_squared) < 0.01


def test_a_text_of_one_word_compares_it_with_no_word():
    row = explain_texts(lambda texts: [float(len(t)) for t in texts], "word").rows[0]
    assert row.fit.values.tolist() == [[4.0]]
    assert row.fit.intercept.tolist() == [0.0]


def test_an_additive_model_is_exact_from_few_draws():
    count = 30
    weights = np.random.default_rng(1).normal(size=count)
    row = explain_texts(
        model_of(lambda z: 2.0 + z @ weights, count), words(count), LimeTextOptions(max_evals=200, tol=0)
    ).rows[0]
    np.testing.assert_allclose(row.fit.values[:, 0], weights, atol=1e-9)
    assert row.fit.std_error.max() < 1e-9
    assert float(row.fit.r_squared[0]) == pytest.approx(1.0)
    assert row.gap == pytest.approx(0.0, abs=1e-9)


def test_known_moments_of_the_law_are_those_of_all_subsets():
    law = RemovalLaw(6, 20.0)
    present = all_subsets(6)
    probability = subset_law(law, present)
    weights = weights_of_lime(present.astype(float), 20.0) / np.bincount(present.sum(axis=1))[present.sum(axis=1)]
    np.testing.assert_allclose(probability, weights / weights.sum(), rtol=1e-12)
    covariance = (present * probability[:, None]).T @ present - np.outer(*[probability @ present] * 2)
    anything = np.random.default_rng(0).normal(size=(6, 2))
    np.testing.assert_allclose(law.solve(covariance @ anything), anything, atol=1e-10)
    scale = np.cos(law.sizes)
    scaled = present[:, 0] * scale[present.sum(axis=1)]
    own, other = ((probability * scaled) @ (present[:, k] - law.presence) for k in (0, 1))
    assert law.covariance_of_scaled(scale) == pytest.approx((own, other))


def test_draws_are_uniform_over_subsets_of_each_size_and_replicates_are_balanced():
    rng = np.random.default_rng(0)
    masks = np.concatenate([draw_masks(np.full(4, 0.25), 8, 10, 4, rng) for _ in range(400)])
    for size in range(4):
        own = masks[masks.sum(axis=1) == size]
        found = np.bincount(own @ (1, 2, 4, 8), minlength=16)
        expected = np.array([f"{k:b}".count("1") == size for k in range(16)])
        share = found[expected] / len(own)
        assert np.abs(share - 1.0 / expected.sum()).max() < 4.5 * np.sqrt(share.max() / len(own)) + 1e-12
        assert found[~expected].sum() == 0
    big = draw_masks(np.full(40, 1 / 40), 8, 60, 40, rng).reshape(8, 60, 40)
    removed = (~big).sum(axis=1)
    assert removed.std(axis=1).mean() < 2.7  # of independent draws it is 3.2


def estimate(law, function, replicates, each, rng, proposal=None):
    proposal = size_proposal(law) if proposal is None else proposal
    present = draw_masks(proposal, replicates, each, law.n_words, rng).reshape(replicates, each, -1)
    weights = (law.size_law / proposal)[present.sum(axis=2)]
    return fit_replicates(
        law, present, function(present.astype(float).reshape(-1, law.n_words)).reshape(replicates, each, 1), weights
    )


def test_estimates_are_unbiased_and_errors_are_theirs():
    law, function = RemovalLaw(6), sigmoid_model(6, 2)
    present = all_subsets(6)
    truth = fit_enumerated(law, present, function(present.astype(float))[:, None], subset_law(law, present))
    rng = np.random.default_rng(0)
    found = [estimate(law, function, 16, 12, rng) for _ in range(200)]
    values = np.array([f.values for f in found])
    deviation = values.std(axis=0)
    assert (np.abs(values.mean(axis=0) - truth.values) < 4.0 * deviation / np.sqrt(200)).all()
    claimed = np.sqrt(np.mean([f.std_error**2 for f in found], axis=0))
    np.testing.assert_allclose(claimed, deviation, rtol=0.2)
    assert np.mean([f.r_squared for f in found]) == pytest.approx(float(truth.r_squared[0]), abs=0.02)


def test_intervals_cover_the_enumerated_limit():
    count, inside = 11, []
    for seed in range(60):
        function = sigmoid_model(count, seed)
        limit = enumerated_limit(function, count)[1:]
        row = explain_texts(
            model_of(function, count), words(count), LimeTextOptions(max_evals=400, seed=seed, tol=0)
        ).rows[0]
        assert row.spent <= 400
        reach = critical_value(0.95, row.fit.freedom) * row.fit.std_error[:, 0]
        inside.append(np.abs(row.fit.values[:, 0] - limit) <= reach)
    assert 0.925 < np.mean(inside) < 0.975  # 660 intervals


def test_draws_have_less_error_than_lime():
    count = 12
    function = sigmoid_model(count, 5)
    limit = enumerated_limit(function, count)[1:]
    ours, limes, rng = [], [], np.random.default_rng(0)
    for seed in range(15):
        row = explain_texts(
            model_of(function, count), words(count), LimeTextOptions(max_evals=600, seed=seed, tol=0)
        ).rows[0]
        ours.append(row.fit.values[:, 0] - limit)
        removed = rng.integers(1, count + 1, 600)
        present = (rng.permuted(np.tile(np.arange(count), (600, 1)), axis=1) >= removed[:, None]).astype(float)
        limes.append(weighted_fit(present, function(present), weights_of_lime(present))[1:] - limit)
    assert np.mean(np.square(ours)) < 0.7 * np.mean(np.square(limes))


def test_a_kernel_that_sees_one_size_only_is_refused():
    with pytest.raises(OptionError, match="too narrow"):
        explain_texts(lambda texts: [0.0 for _ in texts], words(20), LimeTextOptions(kernel_width=0.2))


def test_the_winner_of_ties_is_seldom_certified():
    rng = np.random.default_rng(0)
    tied = np.mean([certify(rng.normal(size=20) + 9.0, np.ones(20)).certified > 0 for _ in range(1000)])
    assert tied < 0.05
    means = np.array([6.0, 2, 2, 2, 2, 2, 2, 2])
    one_ahead = [certify(rng.normal(size=8) + means, np.ones(8)) for _ in range(1000)]
    assert np.mean([c.certified >= 1 for c in one_ahead]) > 0.4  # it is there to be found
    assert np.mean([c.certified > 1 for c in one_ahead]) < 0.05


def test_several_looks_share_the_error():
    once = certify(np.array([2.0, 0.0]), np.array([0.65, 0.65]))
    assert once.certified == 2
    assert certify(np.array([2.0, 0.0]), np.array([0.65, 0.65]), looks=8).certified == 0
    assert certify(np.array([2.0, 0.0]), np.array([0.65, 0.65]), freedom=4).certified == 0


def test_signs_do_not_matter_and_ties_share_a_rank():
    found = certify(np.array([0.5, -3.0, 0.6, 2.0]), np.full(4, 0.1))
    assert found.order.tolist() == [1, 3, 2, 0]
    assert found.certified == 2
    assert found.rank.tolist() == [3, 1, 3, 2]
    exact = certify(np.array([1.0, -1.0, 0.5]))
    assert exact.certified == 3
    assert exact.rank.tolist() == [1, 1, 3]
    assert certify(np.array([1.0, np.nan]), np.array([0.1, np.nan])).certified == 0


def test_a_constant_beside_the_output_changes_nothing():
    """Draws of 40 words; a surrogate in single precision lost a spread of 2 beside 1,000,000."""
    few = LimeTextOptions(max_evals=600)

    def shifted(by):
        def function(texts):
            split = [text.split() for text in texts]
            return np.array([by + 2 * ("w1" in s) + ("w2" in s) * ("w3" in s) for s in split])

        return explain_texts(function, " ".join(f"w{i}" for i in range(40)), few).rows[0]

    plain, large = shifted(0.0), shifted(1e6)
    np.testing.assert_allclose(large.fit.values, plain.fit.values, atol=1e-6)
    np.testing.assert_allclose(large.fit.std_error, plain.fit.std_error, atol=1e-6)
    np.testing.assert_allclose(large.fit.r_squared, plain.fit.r_squared, atol=1e-6)
    np.testing.assert_allclose(large.gap, plain.gap, atol=1e-6)
