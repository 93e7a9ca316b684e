"""LIME of parts: against brute force over all masks, scikit-learn's ridge, plain draws; errors must cover the limit."""

from itertools import product

import numpy as np
import pytest
from test_parts import random_game

import whybox as wb
from whybox.errors import LimitError, OptionError
from whybox.games.exact import all_coalitions
from whybox.games.local_linear import draw_local_design, fit_local_linear, min_local_evaluations, size_weights

torch = pytest.importorskip("torch")

from networks.small import Formula, flat, pooled_cnn, rows


def by_definition(worth, players, width, alpha=0.0, draws=0):
    """Weighted least squares over all masks, weights from the cosine distance to the mask of ones; empty masks are at distance 1."""
    masks = np.array(list(product((0, 1), repeat=players)), dtype=float)
    lengths = np.sqrt(masks.sum(axis=1))
    distance = 1 - np.divide(masks.sum(axis=1), lengths * np.sqrt(players), out=np.zeros(len(masks)), where=lengths > 0)
    weights = np.sqrt(np.exp(-(distance**2) / width**2))
    y = np.array([worth(m) for m in masks])
    if alpha:
        linear = pytest.importorskip("sklearn.linear_model")
        return linear.Ridge(alpha).fit(masks, y, sample_weight=draws * weights / len(masks)).coef_, y, weights
    x = np.column_stack([np.ones(len(masks)), masks])
    root = np.sqrt(weights)[:, None]
    return np.linalg.lstsq(root * x, root[:, 0] * y, rcond=None)[0][1:], y, weights


def score_of_masks(net, x, target, baseline, patches):
    """The score of one picture whose hidden patches hold the baseline."""
    size = x.shape[-2] // patches[0], x.shape[-1] // patches[1]

    def worth(mask):
        shown = np.kron(mask.reshape(patches), np.ones(size))
        with torch.no_grad():
            return float(net(torch.tensor((x * shown + baseline * (1 - shown)).astype("float32"))[None])[0, target])

    return worth


@pytest.mark.parametrize("width", [0.1, 0.25, 1.0])
def test_all_masks_give_the_coefficients_of_the_definition(width):
    net, x = pooled_cnn(2), rows(2, 2, 8, 9)
    e = wb.saliency(net, x, 1, "lime", patches=(2, 3), kernel_width=width, baseline=0.2)
    assert e.evidence.exact
    assert e.std_error is None
    assert "all 64 masks" in e.evidence.kernel
    assert "part_error" not in e.extras
    for row in range(2):
        want, y, w = by_definition(score_of_masks(net, x[row], 1, 0.2, (2, 3)), 6, width)
        assert e.extras["part"][1][row] == pytest.approx(want, rel=1e-4, abs=1e-6)
        for part in range(6):
            cell = e.values[row, part // 3 * 4 : part // 3 * 4 + 4, part % 3 * 3 : part % 3 * 3 + 3]
            assert cell.sum() == pytest.approx(want[part], rel=1e-4, abs=1e-6)
        masks = np.array(list(product((0, 1), repeat=6)), dtype=float)
        mean, fitted = w @ y / w.sum(), e.extras["intercept"][1][row] + masks @ want
        r_squared = 1 - w @ (y - fitted) ** 2 / (w @ (y - mean) ** 2)
        assert e.extras["r_squared"][1][row] == pytest.approx(r_squared, abs=1e-4)
        assert e.extras["local_prediction"][1][row] == pytest.approx(fitted[-1], abs=1e-5)
        assert e.extras["gap"][1][row] == pytest.approx(fitted[-1] - y[-1], abs=1e-5)
        assert e.extras["effective_size"][1][row] == pytest.approx(w.sum() ** 2 / (64 * (w @ w)), rel=1e-6)


def test_alpha_is_the_penalty_of_scikit_learn_on_as_many_draws():
    net, x = pooled_cnn(2), rows(1, 2, 8, 9)
    e = wb.saliency(net, x, 1, "lime", patches=(2, 3), alpha=1.0, samples=700)
    want = by_definition(score_of_masks(net, x[0], 1, 0.0, (2, 3)), 6, 0.25, 1.0, 700)[0]
    assert e.extras["part"][1][0] == pytest.approx(want, rel=1e-4, abs=1e-6)
    assert "ridge penalty 1 on 700 draws" in e.evidence.estimand


def limit_of(worth, players, width):
    every = all_coalitions(players)
    weights = size_weights(players, width)[every.sum(axis=1)]
    root = np.sqrt(weights)[:, None]
    x = np.column_stack([np.ones(len(every)), every])
    return np.linalg.lstsq(root * x, root[:, 0] * worth, rcond=None)[0][1:]


@pytest.mark.parametrize(("players", "calls", "width"), [(10, 60, 0.25), (10, 400, 0.25), (12, 200, 0.1)])
def test_error_bars_cover_the_limit_and_errors_are_below_those_of_plain_draws(players, calls, width):
    bits, inside, own, plain = 1 << np.arange(players), [], [], []
    for seed in range(48):
        worth = random_game(("any", "network", "cubic", "and")[seed % 4], players, seed)
        want = limit_of(worth, players, width)
        for repeat in range(3):
            draw = np.random.default_rng([seed, repeat])
            design = draw_local_design(players, calls, width, draw)
            masks = design.coalitions
            assert len(masks) == calls
            assert len(np.unique(masks @ bits)) == calls  # no mask twice
            assert masks.all(axis=1).sum() == (~masks).all(axis=1).sum() == 1
            fit = fit_local_linear(design, worth[masks @ bits][:, None])
            inside.append(np.abs(fit.coefficients[:, 0] - want) <= 1.96 * np.sqrt(fit.variances[:, 0]))
            own.append(np.sum((fit.coefficients[:, 0] - want) ** 2) / np.sum(want**2))
            drawn = draw.random((calls, players)) < 0.5
            drawn[0] = True
            root = np.sqrt(size_weights(players, width)[drawn.sum(axis=1)])[:, None]
            x = np.column_stack([np.ones(calls), drawn])
            found = np.linalg.lstsq(root * x, root[:, 0] * worth[drawn @ bits], rcond=None)[0][1:]
            plain.append(np.sum((found - want) ** 2) / np.sum(want**2))
    assert 0.93 <= np.mean(inside) <= 0.975
    gain = np.exp(np.mean(np.log(plain)) - np.mean(np.log(own)))
    assert gain > {60: 1.0, 400: 1.4, 200: 2.5}[calls]  # of squared errors; measured 1.11, 1.88 and 3.6


def test_the_fewest_evaluations_give_errors():
    for players in (1, 2, 5, 9, 40):
        calls = min_local_evaluations(players)
        design = draw_local_design(players, calls, 0.25, np.random.default_rng(0))
        fit = fit_local_linear(design, np.random.default_rng(1).normal(size=(len(design.coalitions), 1)))
        assert np.isfinite(fit.coefficients).all()
        assert (fit.variances > 0).all() != design.is_exact
    linear = design.coalitions @ np.arange(40.0)[:, None] + 3
    fit = fit_local_linear(design, linear)
    np.testing.assert_allclose(fit.coefficients[:, 0], np.arange(40.0), atol=1e-9)
    assert fit.intercept[0] == pytest.approx(3)
    assert fit.local_prediction[0] == pytest.approx(3 + 780)
    assert fit.r_squared[0] == pytest.approx(1)


def test_drawn_masks_agree_with_all_masks_within_their_errors():
    net, x = pooled_cnn(2), rows(2, 2, 8, 9)
    truth = wb.saliency(net, x, 1, "lime", patches=(3, 4), samples=4096)
    found = [wb.saliency(net, x, 1, "lime", patches=(3, 4), samples=160, seed=seed) for seed in range(4)]
    assert truth.evidence.exact
    assert not found[0].evidence.exact
    z = [(e.extras["part"][1] - truth.extras["part"][1]) / e.extras["part_error"][1] for e in found]
    assert np.mean(np.abs(z) <= 1.96) > 0.88
    assert 0.6 < np.sqrt(np.mean(np.square(z))) < 1.4
    assert found[0].std_error.shape == found[0].values.shape
    again = wb.saliency(net, x, 1, "lime", patches=(3, 4), samples=160, seed=0)
    np.testing.assert_array_equal(again.values, found[0].values)
    np.testing.assert_array_equal(again.std_error, found[0].std_error)
    alone = wb.saliency(net, x[1:], 1, "lime", patches=(3, 4), samples=160, seed=0)  # rows share their masks
    np.testing.assert_allclose(alone.values[0], found[0].values[1], atol=1e-6)
    assert (found[1].values != found[0].values).any()


def test_parts_that_change_nothing_are_no_players():
    x = rows(3, 6)
    x[0, 2:] = 0
    x[1] = 0
    e = wb.saliency(Formula(lambda a: a[:, 0] * a[:, 1] + 2 * a[:, 3]), x, None, "lime")
    assert (e.values[0, 2:] == 0).all()
    assert (e.values[1] == 0).all()
    assert np.isnan(e.extras["r_squared"][1][1])
    assert e.extras["local_prediction"][1][1] == 0
    two = by_definition(lambda m: m[0] * m[1] * float(x[0, 0] * x[0, 1]), 2, 0.25)[0]
    assert e.values[0, :2] == pytest.approx(two, abs=1e-6)


def test_channels_outputs_inputs_and_references():
    x = rows(2, 3, 6, 6)
    net = pooled_cnn(3)
    by_channel = wb.saliency(net, x, "all", "lime", parts="channels")
    assert by_channel.dims == ("row", "channel", "y", "x", "output")
    assert by_channel.extras["r_squared"][0] == ("row", "output")
    cut = np.arange(36).reshape(6, 6) // 9
    each = wb.saliency(net, x, 1, "lime", parts=np.stack([cut, cut.T]))
    np.testing.assert_allclose(
        each.extras["part"][1][0], wb.saliency(net, x[:1], 1, "lime", parts=cut).extras["part"][1][0], atol=1e-6
    )
    several = [wb.saliency(net, x, 1, "lime", patches=2, baseline=b).values for b in (0.0, 1.0)]
    mean = wb.saliency(net, x, 1, "lime", patches=2, baseline=[0.0, 1.0])
    np.testing.assert_allclose(
        mean.values, np.mean(several, axis=0), atol=1e-6
    )  # a fit of means is the mean of the fits
    both = wb.saliency(Formula(lambda a, b: a[:, 0] * b[:, 1] + b[:, 0]), (rows(4, 2), rows(4, 3)), None, "lime")
    assert [e.shape for e in both] == [(4, 2), (4, 3)]
    largest = max(np.abs(e.values).max() for e in both)
    assert (
        np.abs(both[0].values[:, 1]).max() < 0.02 * largest
    )  # not exactly 0: under LIME's weights parts are correlated


def test_tables_series_and_whole_numbers():
    table = wb.saliency(flat(), rows(3, 6), 0, "lime")
    assert table.dims == ("row", "feature")
    assert table.units == "score"
    series = wb.saliency(Formula(lambda a: a[:, 2:4].sum((1, 2))), rows(2, 8, 3), None, "lime", patches=(4, 1))
    assert np.abs(np.delete(series.values, [2, 3], axis=1)).max() < 1e-5
    ids = np.array([[3, 1, 4, 2], [2, 0, 0, 0]])
    tokens = wb.saliency(
        Formula(lambda a: (a * a.new_tensor([1, 10, 100, 1000])).sum(1).float()), ids, None, "lime", baseline=0
    )
    assert tokens.values[0] == pytest.approx([3, 10, 400, 2000], rel=1e-5)
    assert tokens.values[1] == pytest.approx([2, 0, 0, 0], abs=1e-3)


def test_notes_say_where_the_fit_is_poor_and_where_few_masks_have_weight():
    product = Formula(lambda a: a.prod(1))
    poor = wb.saliency(product, np.ones((2, 8), "float32"), None, "lime")
    assert any("fits poorly: R squared below 0.5 in 2 of 2 rows" in note for note in poor.evidence.notes)
    good = wb.saliency(Formula(lambda a: a.sum(1)), np.ones((2, 8), "float32"), None, "lime")
    assert not any("poorly" in note or "weight" in note for note in good.evidence.notes)
    narrow = wb.saliency(product, np.ones((2, 8), "float32"), None, "lime", kernel_width=0.03)
    assert any("few masks have nearly all of the weight" in note for note in narrow.evidence.notes)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"samples": 30}, LimitError, "samples=30 are too few for the coefficients of 12 parts: standard errors need 42"),
        ({"samples": 1}, OptionError, "samples=1 must be a whole number, 2 or more"),
        ({"kernel_width": 0}, OptionError, "kernel_width=0 must be a number above 0"),
        ({"kernel_width": 0.005}, OptionError, "kernel_width=0.005 gives weight to nothing but the whole row"),
        ({"alpha": -1}, OptionError, "alpha=-1 must be a number above 0"),
        ({"num_samples": 10}, OptionError, "num_samples= is no option of method='lime'"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        wb.saliency(pooled_cnn(2), rows(1, 2, 8, 9), 1, "lime", patches=(3, 4), **options)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_a_score_that_is_linear_in_its_parts_has_errors_of_rounding_and_raises_no_alarm(scale):
    """Its residuals are rounding alone, which two ways of computing share no digit of."""
    rng = np.random.default_rng(3)
    weights = scale * rng.normal(size=(3, 24, 24))
    e = wb.saliency(
        lambda a: (a * weights).sum(axis=(1, 2, 3)),
        rng.normal(size=(2, 3, 24, 24)),
        method="lime",
        patches=4,
        samples=90,
    )
    assert not e.evidence.exact
    assert e.evidence.spot_checks.numbers > 0
    assert e.std_error.max() <= 1e-12 * np.abs(e.extras["part"][1]).max()
    np.testing.assert_allclose(e.extras["r_squared"][1], 1.0, atol=1e-12)
