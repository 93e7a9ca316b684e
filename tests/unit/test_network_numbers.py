"""What a network takes and answers: types of floats, complex numbers, bytes, quantised layers, and what is said about inputs and targets it does not take."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import whybox as wb
from networks.small import Formula, rows, seeded
from whybox.errors import DtypeError, InputError, OptionError, UnsupportedModelError

EVERY = ("gradient", "integrated_gradients", "smoothgrad", "deeplift", "ablation", "occlusion", "shapley")


def flat(i=3, o=4):
    return seeded(lambda: nn.Linear(i, o))


# complex numbers


@pytest.mark.parametrize("method", EVERY)
def test_complex_answers_are_refused_by_every_method(method):
    for net in (Formula(torch.fft.fft), Formula(lambda x: torch.fft.fft(x)[:, 0])):
        for target in (0, None, lambda out: out.reshape(len(out), -1)[:, 0]):
            with pytest.raises(UnsupportedModelError, match=r"complex numbers .complex64.*take \.abs\(\) or \.real"):
                wb.saliency(net, rows(3, 4), target, method)


def test_complex_answers_of_random_masks_and_of_jax():
    with pytest.raises(UnsupportedModelError, match="complex numbers"):
        wb.saliency(Formula(lambda x: torch.fft.fft(x).flatten(1)), rows(2, 1, 8, 8), 0, "rise", samples=8)
    jax = pytest.importorskip("jax")
    for method in ("gradient", "ablation"):
        with pytest.raises(UnsupportedModelError, match="complex numbers"):
            wb.saliency(wb.networks.jax(jax.numpy.fft.fft), rows(3, 4), 0, method)


def test_a_function_of_complex_answers_is_explained():
    net, x = Formula(torch.fft.fft), rows(3, 4)
    assert np.allclose(wb.saliency(net, x, lambda out: out.real[:, 0]).values, 1)  # the sum of the row
    e = wb.saliency(net, x, lambda out: out.abs()[:, 1], "ablation", baseline=0.0)
    whole = np.abs(np.fft.fft(x)[:, 1])
    without = np.stack([np.abs(np.fft.fft(np.where(np.arange(4) == i, 0, x))[:, 1]) for i in range(4)], 1)
    assert np.allclose(e.values, whole[:, None] - without, atol=1e-5)
    turned = Formula(lambda x: torch.fft.fft(x.double()).conj().imag)  # a view whose sign torch has not applied yet
    assert np.allclose(wb.saliency(turned, x, 1, "ablation").prediction, -np.fft.fft(x)[:, 1].imag, atol=1e-5)


def test_complex_inputs_are_refused():
    z = rows(3, 4) + 1j
    for given in (z, torch.tensor(z)):
        with pytest.raises(DtypeError, match="real and the imaginary parts as two channels"):
            wb.saliency(Formula(lambda x: x.abs().sum(1)), given)


# types of floats


class Scaled(nn.Module):
    """A parameter in bfloat16 before a layer in float32."""

    def __init__(self):
        super().__init__()
        self.scale, self.top = nn.Parameter(torch.ones(3, dtype=torch.bfloat16)), flat()

    def forward(self, x):
        return self.top(x * self.scale.float())


class Headed(nn.Module):
    """Its head, which is defined first, computes in bfloat16."""

    def __init__(self):
        super().__init__()
        self.head, self.body = nn.Linear(4, 2).bfloat16(), nn.Linear(3, 4)

    def forward(self, x):
        return self.head(self.body(x).tanh().bfloat16()).float()


class Shortened(nn.Module):
    """Its first layer computes in bfloat16, and a parameter in float32 is defined before it."""

    def __init__(self):
        super().__init__()
        self.shift, self.body = nn.Parameter(torch.zeros(4)), nn.Linear(3, 4).bfloat16()

    def forward(self, x):
        return self.body(x).float() + self.shift


EXACT = np.array([[1.001, 2.003, -1.007], [0.333, 0.123, 4.321]], np.float32)


@pytest.mark.parametrize("given", [EXACT, EXACT.astype(float), torch.tensor(EXACT), EXACT.astype(float).tolist()])
def test_inputs_are_not_cut_to_the_type_of_the_first_parameter(given):
    net, plain = seeded(Scaled), flat()
    given = np.array(given) if isinstance(given, list) else given
    for method in EVERY[:3] + EVERY[4:]:
        e = wb.saliency(net, given, 1, method)
        assert np.allclose(e.prediction, plain(torch.tensor(EXACT))[:, 1].detach(), atol=1e-6)
        assert np.allclose(e.values, wb.saliency(plain, EXACT, 1, method).values, atol=1e-5)
    assert wb.check(wb.saliency(net, given, 1), net, given, checks="numerical").passed


@pytest.mark.parametrize("make", [Headed, Shortened])
def test_the_first_layer_that_is_called_says_what_goes_in(make):
    net = seeded(make)
    with torch.no_grad():
        want = net(torch.tensor(EXACT).bfloat16() if make is Shortened else torch.tensor(EXACT))[:, 1].float()
    for method in ("gradient", "integrated_gradients", "occlusion", "shapley"):
        e = wb.saliency(net, EXACT, 1, method)
        assert np.allclose(e.prediction, want, atol=1e-6)
        assert "bfloat16 mixed with float32" in e.evidence.kernel


def test_single_precision_in_jax_is_not_cut_either():
    jnp = pytest.importorskip("jax.numpy")
    w = rows(3, 4)
    params = {"a": jnp.ones(3, jnp.bfloat16), "w": w}
    net = wb.networks.jax(lambda p, x: (x * p["a"].astype(jnp.float32)) @ p["w"], params)
    e = wb.saliency(net, EXACT, 1, reduce=None)
    assert np.allclose(e.prediction, EXACT @ w[:, 1], atol=1e-5)
    assert np.allclose(e.values, w[:, 1], atol=1e-6)


def test_a_network_all_in_bfloat16_or_double_takes_its_own_type():
    for dtype, tolerance in ((torch.bfloat16, 0.02), (torch.float64, 1e-6)):
        net = flat().to(dtype)
        with torch.no_grad():
            want = net(torch.tensor(EXACT).to(dtype)).double()
        e = wb.saliency(net, EXACT, 1)
        assert np.allclose(e.prediction, want[:, 1], rtol=1e-6)
        assert np.allclose(e.values[0], flat().weight[1].detach(), atol=tolerance)


def test_an_embedding_of_another_type_is_entered_in_its_own():
    class Reading(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Parameter(torch.ones((), dtype=torch.bfloat16))
            self.words, self.top = nn.Embedding(9, 3), flat()

        def forward(self, tokens):
            return self.top(self.words(tokens).mean(1)) * self.gate.float()

    net, tokens = seeded(Reading), np.random.default_rng(0).integers(0, 9, (3, 5))
    e = wb.saliency(net, tokens, 1, "gradient_x_input", embedding="words")
    with torch.no_grad():
        by_hand = net.words(torch.tensor(tokens)) @ net.top.weight[1] / 5
        assert np.allclose(e.values, by_hand, atol=1e-6)
        assert np.allclose(e.prediction, net(torch.tensor(tokens))[:, 1], atol=1e-6)


# bytes and quantised layers


def test_pictures_of_bytes():
    conv = seeded(lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 2)))
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    for method in ("gradient", "occlusion"):
        with pytest.raises(
            (InputError, UnsupportedModelError), match=r"Pass pictures of bytes as floats.*astype\('float32'\) / 255"
        ):
            wb.saliency(conv, x, 1, method)
    want = wb.saliency(conv, x / 255, 1, "occlusion", window=4)

    def only_bytes(x):
        assert x.dtype == torch.uint8
        return conv(x.float() / 255)

    for net in (Formula(lambda x: conv(x.float() / 255)), Formula(only_bytes)):
        e = wb.saliency(net, x, 1, "occlusion", window=4, baseline=0)
        assert np.allclose(e.values, want.values, atol=1e-6)
    with pytest.raises(UnsupportedModelError, match="Pass pictures of bytes as floats"):
        wb.saliency(Formula(only_bytes), x, 1)


def test_layers_quantised_by_the_range_of_a_batch_are_asked_row_by_row():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = seeded(lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)))
        net = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear}, dtype=torch.qint8).eval()
    for x in (rows(5, 3), rows(1, 3)):
        e = wb.saliency(net, x, 1, "ablation")
        for i, row in enumerate(x):
            alone = [
                net(torch.tensor(np.where(np.arange(3) == k, 0, row))[None].float())[0, 1].item() for k in (9, 0, 1, 2)
            ]
            assert np.allclose(e.prediction[i], alone[0], atol=1e-6)
            assert np.allclose(e.values[i], alone[0] - np.array(alone[1:]), atol=1e-6)
    with pytest.raises(UnsupportedModelError, match="quantised by the range of a whole batch"):
        wb.saliency(Formula(net.forward), rows(5, 3), 1, "ablation")
    with pytest.raises(UnsupportedModelError, match="quantised by the range of a whole batch"):
        wb.saliency(Formula(net.forward), rows(1, 3), 1, "ablation")


# what is said of inputs and targets


def test_targets_of_networks_with_one_output():
    one = flat(o=1)
    for net in (one, Formula(lambda x: one(x)[:, 0])):
        want = wb.saliency(net, EXACT).values
        for target in (0, -1, np.int64(0), torch.tensor(0)):
            assert np.array_equal(wb.saliency(net, EXACT, target).values, want)
        for target in (1, -2, torch.tensor(3)):
            with pytest.raises(OptionError, match="has one output a row; leave target out"):
                wb.saliency(net, EXACT, target)


def test_a_target_that_is_an_array_of_one_number():
    net = flat()
    want = wb.saliency(net, EXACT, 2).values
    for target in (torch.tensor(2), np.array(2), np.asarray(2, dtype=np.uint8)):
        assert np.array_equal(wb.saliency(net, EXACT, target).values, want)
        assert np.array_equal(wb.saliency(net, EXACT[:1], target).values, want[:1])
    jnp = pytest.importorskip("jax.numpy")
    assert np.array_equal(wb.saliency(net, EXACT, jnp.array(2)).values, want)
    for target in (torch.tensor(2.0), np.array(True)):
        with pytest.raises(OptionError, match="is not an output"):
            wb.saliency(net, EXACT, target)


def test_an_input_of_one_number_a_row_is_a_table_of_one_feature():
    net = flat()
    times = np.array([0.5, 2], np.float32)
    alone = wb.saliency(Formula(lambda x, t: net(x) * t[:, None]), (EXACT, times), 1)
    column = wb.saliency(Formula(lambda x, t: net(x) * t), (EXACT, times[:, None]), 1)
    assert np.allclose(alone[1].values[:, 0], net(torch.tensor(EXACT))[:, 1].detach(), atol=1e-6)
    assert all(np.allclose(a.values, b.values, atol=1e-6) for a, b in zip(alone, column, strict=True))
    assert alone[1].feature_names == ("input 1",)
    with pytest.raises(InputError, match=r"pass x\[None\] for a single one"):
        wb.saliency(net, EXACT[0], 1)


@pytest.mark.parametrize("method", ["ablation", "occlusion", "shapley"])
def test_background_rows_stand_for_absent_categories_as_for_numbers(method):
    words, top = seeded(lambda: nn.Embedding(5, 3)), flat()
    net = Formula(lambda c, x: top(words(c).sum(1) + x))
    cats, x = np.array([[1, 2], [0, 4]]), EXACT
    behind = np.array([[3, 3], [2, 0], [1, 1]]), rows(3, 3)

    def ask(c, x):
        with torch.no_grad():
            return net(torch.tensor(c)[None], torch.tensor(x)[None])[0, 1].item()

    found = wb.saliency(net, (cats, x), 1, method, background=behind)
    for i in range(2):
        for k in range(2):  # a network that adds up: each part's worth is its own
            c = cats[i].copy()
            left = []
            for j in range(3):
                c[k] = behind[0][j, k]
                left.append(ask(c, x[i]))
            assert np.isclose(found[0].values[i, k], ask(cats[i], x[i]) - np.mean(left), atol=1e-5)
        for k in range(3):
            left = [ask(cats[i], np.where(np.arange(3) == k, behind[1][j], x[i])) for j in range(3)]
            assert np.isclose(found[1].values[i, k], ask(cats[i], x[i]) - np.mean(left), atol=1e-5)
    assert "3 references: background row 0" in found[0].evidence.estimand
    with pytest.raises(InputError, match="both as whole numbers"):
        wb.saliency(net, (cats, x), 1, method, background=(behind[0].astype(float), behind[1]))


def test_a_network_that_fails_behind_its_embedding_is_told_with_the_shape():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.top = nn.Embedding(5, 4), nn.Linear(7, 2)

        def forward(self, tokens):
            return self.top(self.words(tokens).mean(1))

    net, tokens = seeded(Broken), np.array([[1, 2], [0, 4]])
    for ids in (tokens, tokens + 9):
        with pytest.raises(InputError, match=r"does not take these inputs .input: int64 of shape \(2, 2\)"):
            wb.saliency(net, ids, 1, embedding="words")
