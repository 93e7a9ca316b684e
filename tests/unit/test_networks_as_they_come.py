"""Networks that write in place, keep counts, cut derivatives off, make their weights or answer with whole numbers: right, or refused by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import whybox as wb
from networks.small import Formula, cnn, convolutional, flat, rows, seeded
from whybox.adapters.torch.module import wrap
from whybox.errors import InputError, NonFiniteError, UnsupportedModelError


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "layercam", "scorecam"])
def test_a_layer_before_one_that_works_in_place(method):
    x = rows(2, 3, 8, 7)
    for layer in ("0", "2"):
        try:
            want = wb.saliency(cnn(inplace=False), x, 1, method, layer=layer).values
        except UnsupportedModelError:  # Grad-CAM++ of negative numbers
            continue
        found = wb.saliency(cnn(inplace=True), x, 1, method, layer=layer).values
        assert want.any()
        assert np.allclose(found, want, atol=1e-6)


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.top = nn.Embedding(10, 6), flat()

    def forward(self, tokens):
        h = self.words(tokens)
        h.mul_(3)
        h.add_(1)
        return self.top(h.mean(1))


def test_an_embedding_that_is_changed_in_place_is_read_before_that():
    net, tokens = seeded(Embedded), np.random.default_rng(0).integers(0, 10, size=(3, 5))
    h = net.words(torch.tensor(tokens)).detach().requires_grad_()
    (want,) = torch.autograd.grad(net.top((h * 3 + 1).mean(1))[:, 1].sum(), h)
    e = wb.saliency(net, tokens, 1, "gradient_x_input", embedding="words")
    assert np.allclose(e.values, (want * h).sum(2).detach(), atol=1e-6)
    assert np.allclose(e.prediction, net(torch.tensor(tokens))[:, 1].detach(), atol=1e-5)


class Counting(nn.Module):
    """Answers differ with how often it was asked; one count is added to, the other made anew."""

    def __init__(self):
        super().__init__()
        self.inner = flat()
        self.register_buffer("added", torch.zeros(()))
        self.register_buffer("anew", torch.zeros(()))

    def forward(self, x):
        self.added += 1
        self.anew = self.anew + 1
        return self.inner(x) * (1 + 10 * self.added + self.anew)


def test_buffers_written_in_eval_mode_are_put_back():
    net, x = Counting().eval(), rows(40, 6)
    anew = net.anew
    for method in ("gradient", "integrated_gradients", "occlusion"):
        e = wb.saliency(net, x, 1, method, budget="20KB" if method == "gradient" else "1GB")
        assert float(net.added) == float(net.anew) == 0
        assert net.anew is anew
        assert np.allclose(e.prediction, 12 * net.inner(torch.tensor(x))[:, 1].detach(), rtol=1e-5)
        assert e.evidence.fingerprints["model"] == wrap(net).fingerprint
    assert wb.check(e, net, x, checks="numerical").passed


class Cut(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.eval()

    @torch.no_grad()
    def forward(self, x):
        return self.inner(x)


def test_derivatives_that_the_network_cuts_off_are_no_zeros():
    inner, x = flat(), rows(4, 6)
    for net in (Cut(inner), Formula(lambda x: inner(x.detach())), Formula(lambda x: inner(x).data)):
        for method in ("gradient", "smoothgrad", "integrated_gradients"):
            with pytest.raises(UnsupportedModelError, match="cuts derivatives off"):
                wb.saliency(net, x, 1, method)
        want = wb.saliency(inner, x, 1, "shapley").values
        assert np.allclose(wb.saliency(net, x, 1, "shapley").values, want, atol=1e-6)
    with pytest.raises(UnsupportedModelError, match="reaches input 1"):
        wb.saliency(Formula(lambda x, y: inner(x + y.detach())), (x, x), 1)


def test_an_input_that_takes_no_part_has_a_derivative_of_zero():
    inner, x = flat(), rows(4, 6)
    used, unused = wb.saliency(Formula(lambda x, y: inner(x)), (x, x), 1)
    assert np.array_equal(used.values, wb.saliency(inner, x, 1).values)
    assert not unused.values.any()


def test_whole_numbers_for_an_answer_have_no_derivatives():
    net = Formula(lambda x: (x > 0).long().sum(1))
    with pytest.raises(UnsupportedModelError, match="whole numbers"):
        wb.saliency(net, rows(4, 6))
    assert wb.saliency(net, np.ones((2, 6), np.float32), method="occlusion").values.tolist() == [[1.0] * 6] * 2


def test_rows_where_every_derivative_is_zero_are_told():
    net = Formula(lambda x: torch.stack([x.relu().sum(1), x.sum(1)], 1))
    x = np.array([[1.0, 1.0], [-1.0, -1.0]], np.float32)
    assert "ZERO: every derivative of output 0 is 0 in 1 of 2 rows (1)" in wb.saliency(net, x, "all").evidence.notes[0]
    assert not wb.saliency(net, x, 1).evidence.notes


def normed(norm):
    net = seeded(lambda: nn.Sequential(norm(nn.Linear(6, 8)), nn.ReLU(), norm(nn.Linear(8, 3))).train())
    net(torch.tensor(rows(4, 6)))
    return net.eval()


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize(
    "norm",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
    ],
)
def test_weights_under_a_norm_are_drawn_anew(norm):
    net, x = wrap(normed(norm)), torch.tensor(rows(4, 6))
    with net.session():
        assert [name for name, _ in net.layers((x,))] == ["0", "1", "2"]
        for layer in ("0", "2"):
            gone = net.with_random_parameters(1, layer).module
            # of a layer that was only given other biases all differences between rows stay
            assert not torch.allclose((gone(x) - gone(x[:1]))[1:], (net.module(x) - net.module(x[:1]))[1:], atol=1e-3)


def test_what_makes_weights_is_no_layer_of_a_class_activation_map():
    net = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 5, 3)), nn.Flatten(),
            nn.Linear(5, 2),
        )
    )  # fmt: skip
    assert wb.saliency(net, rows(2, 3, 8, 7), 1, "gradcam").evidence.kernel.startswith("layer '2'")


def test_a_layer_whose_first_axis_is_not_the_rows_is_refused():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.places = nn.Identity()
            self.weights = nn.Parameter(torch.ones(1, 3, 8, 7))

        def forward(self, x):
            return (x * self.places(self.weights)).sum((2, 3))

    with pytest.raises(UnsupportedModelError, match="first axis is the rows"):
        wb.saliency(Table().eval(), rows(3, 3, 8, 7), 1, "gradcam", layer="places")


def test_arrays_that_run_backwards():
    net, x = flat(), rows(5, 6)
    want = wb.saliency(net, x, 1).values
    assert np.array_equal(wb.saliency(net, x[::-1], 1).values, want[::-1])
    assert np.allclose(wb.saliency(net, x[:, ::-1].copy()[:, ::-1], 1).values, want, atol=1e-7)


def test_masks_of_truth_values_stay_so_when_places_are_covered():
    inner, x = flat(), rows(4, 6)
    mask = x > 0
    net = Formula(lambda x, m: inner(x.masked_fill(~m, 0)))
    for method in ("ablation", "occlusion", "shapley"):
        e = wb.saliency(net, (x, mask), 1, method, baseline=(None, False))[0]
        assert np.allclose(e.values, wb.saliency(inner, x * mask, 1, method).values, atol=1e-6)


def test_maps_that_are_no_numbers_are_refused_by_row():
    x = np.abs(rows(4, 6)) + 0.1
    x[2, 3] = 0
    root = Formula(lambda x: x.sqrt().sum(1))
    for method in ("gradient", "gradient_x_input"):
        with pytest.raises(NonFiniteError, match="row 2"):
            wb.saliency(root, x, method=method)
    with pytest.raises(NonFiniteError, match="baseline of row 0"):
        wb.saliency(Formula(lambda x: x.log().sum(1)), x[:2], method="integrated_gradients")


def test_what_the_network_itself_refuses_is_told_with_the_shape():
    with pytest.raises(
        InputError,
        match=r"does not take these inputs .input: float32 of shape \(4, 5\)., tried on 1 of the rows: RuntimeError",
    ):
        wb.saliency(flat(), rows(4, 5))


def test_parameters_of_inference_mode_are_refused():
    with torch.inference_mode():
        net = flat()
    with pytest.raises(UnsupportedModelError, match="inference_mode"):
        wb.saliency(net, rows(4, 6), 1)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_modules_have_gradients_but_no_layers():
    net, x = cnn(inplace=False), rows(2, 3, 8, 7)
    scripted = torch.jit.trace(net, torch.tensor(x))
    e = wb.saliency(scripted, x, 1)
    assert np.allclose(e.values, wb.saliency(net, x, 1).values, atol=1e-6)
    with pytest.raises(UnsupportedModelError, match="scripted or traced"):
        wb.saliency(scripted, x, 1, "gradcam")
    frozen = torch.jit.freeze(scripted)
    assert np.allclose(wb.saliency(frozen, x, 1).values, e.values, atol=1e-6)


@pytest.mark.parametrize("method", ["deeplift", "guided_backprop"])
def test_operators_that_lay_pictures_out_in_memory(method):
    net, x = convolutional(), rows(2, 3, 9, 9)
    laid = Formula(
        lambda x: net(x.contiguous(memory_format=torch.channels_last).clone(memory_format=torch.channels_last))
    )
    assert np.allclose(wb.saliency(laid, x, 1, method).values, wb.saliency(net, x, 1, method).values, atol=1e-6)


def test_columns_of_background_and_data_go_by_name():
    net, x = flat(), pd.DataFrame(rows(4, 6), columns=list("abcdef"))
    e = wb.saliency(net, x, 1, "expected_gradients", background=x, samples=64)
    assert e.data.names == e.feature_names == tuple("abcdef")
    turned = wb.saliency(net, x, 1, "expected_gradients", background=x[list("fedcba")], samples=64)
    assert np.array_equal(turned.values, e.values)
    with pytest.raises(InputError, match="other columns"):
        wb.saliency(net, x, 1, "deeplift", background=x.rename(columns={"a": "z"}))


def test_a_background_by_name_goes_with_inputs_by_name():
    class Product(nn.Module):
        def forward(self, b, a):
            return (a * b[:, :1]).sum(1)

    net, a, b = Product().eval(), rows(3, 4), rows(3, 2, seed=1)
    behind = {"b": b + 1, "a": a - 1}
    want = wb.saliency(net, (b, a), method="deeplift", background=(behind["b"], behind["a"]))
    found = wb.saliency(net, {"a": a, "b": b}, method="deeplift", background=behind)
    for e, other in zip(found, want[::-1], strict=True):
        assert np.abs(other.values).max() > 0.1
        assert np.allclose(e.values, other.values, atol=1e-6)
    for wrong, said in [({"a": a}, "names 'a'"), (a, "ndarray"), (pd.DataFrame(a), "same names")]:
        with pytest.raises(InputError, match=said):
            wb.saliency(net, {"a": a, "b": b}, method="deeplift", background=wrong)


def test_checks_of_one_picture_beside_another_input_and_of_named_inputs():
    pictures, inner, x, z = cnn(inplace=False), flat(), rows(3, 3, 8, 7), rows(3, 6)

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.pictures, self.inner = pictures, inner

        def forward(self, z=None, x=None):
            return self.pictures(x) + self.inner(z)

    given = {"x": x, "z": z}
    found = wb.saliency(Both().eval(), given, 1, "gradcam")
    assert len(found) == 1
    assert wb.check(found, Both().eval(), given, checks="numerical").passed
    with pytest.raises(InputError, match="all explanations"):
        wb.check(wb.saliency(Both().eval(), given, 1)[0], Both().eval(), given, checks="numerical")


def test_outputs_explained_together_share_their_steps_and_are_reproduced():
    net, x = cnn(inplace=False), rows(3, 3, 13, 9)
    e = wb.saliency(net, x, "all", "integrated_gradients")
    assert len(set(e.extras["steps"][1])) > 1
    assert wb.check(e, net, x, checks="numerical").passed
    moved = e.values.copy()
    moved[1] *= 1.2
    assert not wb.check(replace(e, values=moved), net, x, checks="numerical").passed
