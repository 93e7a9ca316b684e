"""Windows and random masks against closed forms; what stands for absent; batches and bytes."""

import numpy as np
import pytest

import whybox as wb
from whybox.errors import InputError, LimitError, OptionError, UnsupportedModelError

torch = pytest.importorskip("torch")
nn = torch.nn

from networks.small import pictures, pooled_cnn


class Linear(nn.Module):
    """The sum of input times weights, for several outputs."""

    def __init__(self, weights):
        super().__init__()
        self.register_buffer("w", torch.as_tensor(np.asarray(weights), dtype=torch.float32))

    def forward(self, x):
        return x.flatten(1) @ self.w.flatten(1).T


class Tokens(nn.Module):
    """A value for each token and place, summed."""

    def __init__(self, table):
        super().__init__()
        self.register_buffer("table", torch.as_tensor(np.asarray(table), dtype=torch.float32))

    def forward(self, ids, *_):
        return self.table[ids, torch.arange(ids.shape[1])].sum(1, keepdim=True)


def by_hand(x, weights, window, stride, baseline=0.0):
    """Mean drop of a linear score over the windows that cover each place; the last window ends at the last place."""
    gain = (x - baseline) * weights
    gain = gain.sum(axis=1)
    height, width = gain.shape[1:]
    tops = sorted({min(a, height - window[0]) for a in range(0, height, stride[0])})
    lefts = sorted({min(a, width - window[1]) for a in range(0, width, stride[1])})
    total, times = np.zeros_like(gain), np.zeros(gain.shape[1:])
    for top in tops:
        for left in lefts:
            box = np.s_[top : top + window[0], left : left + window[1]]
            total[(slice(None), *box)] += gain[(slice(None), *box)].sum(axis=(1, 2))[:, None, None]
            times[box] += 1
    assert times.min() > 0
    return total / times, len(tops) * len(lefts)


@pytest.mark.parametrize(
    ("window", "stride"), [((4, 4), (4, 4)), ((3, 5), (2, 4)), ((1, 1), (1, 1)), ((9, 10), (1, 1))]
)
@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_occlusion_of_a_linear_network(window, stride, baseline):
    x, w = pictures(), np.random.default_rng(1).normal(size=(2, 3, 9, 10))
    e = wb.saliency(Linear(w).eval(), x, "1", "occlusion", window=window, stride=stride, baseline=baseline)
    want, count = by_hand(x.astype(np.float64), w[1], window, stride, baseline)
    np.testing.assert_allclose(e.values, want, rtol=1e-4, atol=1e-4)
    assert e.dims == ("row", "y", "x")
    assert e.units == "score"
    assert e.evidence.passes["backward"] == 0
    assert e.evidence.passes["forward"] <= 3 * (count + 1) + 2


def test_occlusion_of_several_targets_is_each_of_them():
    net, x = pooled_cnn(), pictures()
    every = wb.saliency(net, x, "all", "occlusion", window=3)
    assert every.shape == (3, 9, 10, 4)
    for t in range(4):
        np.testing.assert_array_equal(every.values[..., t], wb.saliency(net, x, t, "occlusion", window=3).values)


def test_windows_where_nothing_changes_are_not_asked_about():
    x = np.zeros((1, 1, 8, 8), dtype=np.float32)
    x[0, 0, :2, :2] = 1
    e = wb.saliency(pooled_cnn(channels=1), x, 0, "occlusion", window=2, stride=2)
    assert e.evidence.passes["forward"] <= 1 + 1 + 2
    assert (e.values[0, 2:] == 0).all()
    assert e.values[0, 0, 0] != 0


def test_channels_last():
    x, w = pictures(), np.random.default_rng(1).normal(size=(1, 3, 9, 10))
    first = wb.saliency(Linear(w).eval(), x, 0, "occlusion", window=(4, 3))
    last = wb.saliency(
        Linear(np.moveaxis(w, 1, -1)).eval(), np.moveaxis(x, 1, -1), 0, "occlusion", window=(4, 3), channel_axis=-1
    )
    np.testing.assert_allclose(first.values, last.values, atol=1e-4)


def test_tokens_are_replaced_by_a_number():
    table = np.random.default_rng(0).normal(size=(11, 6))
    ids = np.random.default_rng(1).integers(1, 11, size=(4, 6))
    want = table[ids, np.arange(6)] - table[0, np.arange(6)]
    e = wb.saliency(Tokens(table).eval(), ids, None, "occlusion", baseline=0)
    np.testing.assert_allclose(e.values, want, atol=1e-5)
    assert "0" in e.evidence.estimand
    with pytest.raises(OptionError, match="give the number that replaces them"):
        wb.saliency(Tokens(table).eval(), ids, None, "occlusion")
    with pytest.raises(InputError, match="one whole number"):
        wb.saliency(Tokens(table).eval(), ids, None, "occlusion", baseline=0.5)
    with pytest.raises(OptionError, match="does not fit into uint8"):
        wb.saliency(Tokens(table).eval(), ids.astype(np.uint8), None, "occlusion", baseline=300)


def test_an_input_that_is_held_has_no_map():
    table = np.random.default_rng(0).normal(size=(11, 6))
    ids = np.random.default_rng(1).integers(1, 11, size=(4, 6))
    mask = np.ones((4, 6), dtype=np.int64)
    (e,) = wb.saliency(Tokens(table).eval(), (ids, mask), None, "occlusion", baseline=(0, None))
    np.testing.assert_allclose(e.values, table[ids, np.arange(6)] - table[0, np.arange(6)], atol=1e-5)
    with pytest.raises(OptionError, match="tuple with one for each input"):
        wb.saliency(Tokens(table).eval(), (ids, mask), None, "occlusion", baseline=0)
    with pytest.raises(OptionError, match="every baseline must replace the same inputs"):
        wb.saliency(Tokens(table).eval(), (ids, mask), None, "occlusion", baseline=(None, None))


def test_two_pictures_one_of_them_held():
    class Two(nn.Module):
        def forward(self, a, b):
            return (a * b).flatten(1).sum(1, keepdim=True)

    a, b = pictures(2, (1, 4, 4)), pictures(2, (1, 4, 4), seed=5)
    (e,) = wb.saliency(Two().eval(), (a, b), None, "occlusion", window=1, baseline=(0.0, None))
    np.testing.assert_allclose(e.values, (a * b)[:, 0], atol=1e-5)
    one, two = wb.saliency(Two().eval(), (a, b), None, "occlusion", window=1, baseline=(0.0, 1.0))
    np.testing.assert_allclose(one.values, (a * b)[:, 0], atol=1e-5)
    np.testing.assert_allclose(two.values, (a * (b - 1))[:, 0], atol=1e-5)


def test_several_references_are_averaged():
    x = np.random.default_rng(0).normal(size=(5, 4))
    behind = np.random.default_rng(1).normal(size=(7, 4))

    class Square(nn.Module):
        def forward(self, x):
            return (x * x).sum(1)

    e = wb.saliency(Square().eval(), x, None, "occlusion", background=behind)
    np.testing.assert_allclose(e.values, x**2 - (behind**2).mean(axis=0), atol=1e-5)


def test_options_that_leave_places_uncovered_are_refused():
    net, x = pooled_cnn(), pictures()
    with pytest.raises(OptionError, match="never be masked"):
        wb.saliency(net, x, 0, "occlusion", window=2, stride=3)
    with pytest.raises(OptionError, match="larger than input"):
        wb.saliency(net, x, 0, "occlusion", window=10)
    with pytest.raises(OptionError, match="2 position axes"):
        wb.saliency(net, x, 0, "occlusion", window=(2, 2, 2))
    with pytest.raises(OptionError, match="below 1"):
        wb.saliency(net, x, 0, "rise", keep=1)


def test_what_covers_must_not_break_the_network():
    class Root(nn.Module):
        def forward(self, x):
            return torch.sqrt(x.flatten(1).sum(1))

    with pytest.raises(UnsupportedModelError, match="another baseline"):
        wb.saliency(Root().eval(), np.ones((2, 1, 4, 4), dtype=np.float32), None, "occlusion", window=2, baseline=-5.0)


@pytest.mark.parametrize("method", ["occlusion", "rise", "ablation", "shapley"])
def test_a_row_alone_is_as_in_company_and_bytes_repeat(method):
    net, x = pooled_cnn(), pictures(5)
    options = {"rise": {"samples": 64}, "shapley": {"samples": 70}}.get(method, {})
    whole = wb.saliency(net, x, 1, method, **options)
    again = wb.saliency(net, x, 1, method, **options)
    assert whole.values.tobytes() == again.values.tobytes()
    alone = wb.saliency(net, x[3:4], 1, method, **options)
    np.testing.assert_allclose(alone.values[0], whole.values[3], rtol=1e-4, atol=1e-5)
    tight = wb.saliency(net, x, 1, method, budget=60_000, **options)
    assert tight.evidence.passes["rows together"] < whole.evidence.passes["rows together"]
    np.testing.assert_allclose(tight.values, whole.values, rtol=1e-4, atol=1e-5)
    if method in ("rise", "shapley"):
        other = wb.saliency(net, x, 1, method, seed=1, **options)
        assert not np.array_equal(other.values, whole.values)


def test_memory_of_a_forward_is_what_lives_at_a_time():
    deep = nn.Sequential(*[nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU()) for _ in range(40)], nn.Flatten())
    x = pictures(2, (1, 32, 32))
    one = 32 * 32 * 4
    score = lambda outputs: outputs.sum(1)
    with pytest.raises(LimitError, match="a derivative at one row keeps"):
        wb.saliency(deep.eval(), x, score, "gradient", budget=10 * one)
    e = wb.saliency(deep.eval(), x, score, "occlusion", window=16, budget=10 * one)
    assert e.evidence.passes["rows together"] >= 2
    with pytest.raises(LimitError, match="evaluating one row takes"):
        wb.saliency(deep.eval(), x, score, "occlusion", window=16, budget=one)


def test_fused_layers_count_as_what_their_derivatives_keep():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(16, 2, 512, batch_first=True)

        def forward(self, x):
            return self.layer(x).mean((1, 2))

    x = np.random.default_rng(0).normal(size=(2, 8, 16)).astype(np.float32)
    with pytest.raises(LimitError):  # 8 x 512 hidden numbers are 16 KB, of which the operators show nothing
        wb.saliency(Encoder().eval(), x, None, "occlusion", budget=10_000)


# random masks


def test_rise_of_a_linear_network_is_its_gain_and_errors_cover():
    """Masks of single places: seen or not is worth (1 - p) of the gain against the mean."""
    x, w = pictures(1, (1, 5, 5)), np.random.default_rng(1).normal(size=(1, 1, 5, 5))
    want = (x[0, 0] * w[0, 0]) * 0.5
    inside = []
    for seed in range(40):
        e = wb.saliency(Linear(w).eval(), x, 0, "rise", samples=200, cells=5, seed=seed)
        inside.append(np.abs(e.values[0] - want) <= 1.96 * e.std_error[0])
    assert 0.92 <= np.mean(inside) <= 0.98


def test_rise_with_interpolated_masks_is_unbiased():
    """E[(f - E f) (m - p)] / p of a linear score by the masks' covariance, and the mean of the paper's estimate is that plus the mean score."""
    from whybox.methods.saliency.inputs import Input
    from whybox.methods.saliency.rise import Rise

    x, w = pictures(1, (1, 12, 10)), np.random.default_rng(1).normal(size=(1, 1, 12, 10))
    given = Input(x, ("row", "channel", "y", "x"), 1, None, "input")
    m = Rise(samples=40_000, cells=3, keep=0.3)._mask_sampler(given, np.random.default_rng(9))(np.arange(40_000))
    assert m.shape == (40_000, 12, 10)
    assert m.min() >= 0
    assert m.max() <= 1
    np.testing.assert_allclose(m.mean(axis=0), 0.3, atol=0.012)
    flat = m.reshape(len(m), -1).astype(np.float64)
    gain = (x[0] * w[0]).reshape(-1)
    want = np.cov(flat.T) @ gain / 0.3
    maps, errors, plain = [], [], []
    for seed in range(12):
        e = wb.saliency(Linear(w).eval(), x, 0, "rise", samples=500, cells=3, keep=0.3, seed=seed)
        p = wb.saliency(Linear(w).eval(), x, 0, "rise", samples=500, cells=3, keep=0.3, seed=seed, centred=False)
        maps.append(e.values[0].ravel())
        errors.append(e.std_error[0].ravel())
        plain.append(p.values[0].ravel())
    spread = np.sqrt(np.mean(np.square(errors), axis=0) / 12)
    assert np.abs((np.mean(maps, axis=0) - want) / spread).mean() < 1.3
    assert np.corrcoef(np.mean(maps, axis=0), want)[0, 1] > 0.95
    assert np.abs(np.mean(plain, axis=0) - want - 0.3 * gain.sum()).mean() < 4 * spread.mean()


def test_rise_of_tables_and_tokens_draws_each_place():
    w = np.array([[1.0, -2.0, 0.5]])
    x = np.array([[1.0, 1.0, 1.0]])
    e = wb.saliency(Linear(w).eval(), x, 0, "rise", samples=4000)
    np.testing.assert_allclose(e.values[0], w[0] * 0.5, atol=5 * e.std_error.max())
    table = np.random.default_rng(0).normal(size=(5, 3))
    e = wb.saliency(Tokens(table).eval(), np.array([[1, 2, 3]]), None, "rise", samples=4000, baseline=0)
    want = (table[[1, 2, 3], np.arange(3)] - table[0]) * 0.5
    np.testing.assert_allclose(e.values[0], want, atol=5 * e.std_error.max())
