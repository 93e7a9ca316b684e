"""Questions of saliency: inputs, targets, options, memory, and the network left as it was found."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LinearRegression
from torch import nn

import whybox as wb
from networks.small import Formula, convolutional, rows, seeded
from whybox.errors import (
    DtypeError,
    EmptyDataError,
    InputError,
    LimitError,
    NonFiniteError,
    OptionError,
    UnsupportedModelError,
)
from whybox.methods.saliency.gradients import SmoothGrad
from whybox.methods.saliency.problem import parse_bytes


def flat():
    return seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)))


def test_targets_by_number_name_row_list_and_function_are_the_same_output():
    net, x = flat(), rows(5, 4)
    names = ["cat", "dog", "bird"]
    one = wb.saliency(net, x, 1)
    assert np.array_equal(wb.saliency(net, x, -2).values, one.values)
    assert np.array_equal(wb.saliency(net, x, (1,)).values, one.values)
    assert np.array_equal(wb.saliency(net, x, "dog", output_names=names).values, one.values)
    assert np.array_equal(wb.saliency(net, x, "1").values, one.values)
    assert np.array_equal(wb.saliency(net, x, [1] * 5).values, one.values)
    assert np.allclose(wb.saliency(net, x, lambda out: out[:, 1]).values, one.values)
    several = wb.saliency(net, x, ["bird", "dog"], output_names=names)
    assert several.output_names == ("bird", "dog")
    assert np.array_equal(several[..., "dog"].values, one.values)
    each = wb.saliency(net, x, [0, 1, 2, 1, 0])
    assert np.array_equal(each.values[1], one.values[1])
    assert np.array_equal(each.values[2], wb.saliency(net, x, 2).values[2])
    assert each.extras["target"][1].tolist() == [0, 1, 2, 1, 0]


def test_no_target_means_the_largest_output_of_each_row():
    net, x = flat(), rows(20, 4)
    best = net(torch.tensor(x)).argmax(1).tolist()
    assert len(set(best)) > 1
    e = wb.saliency(net, x)
    assert e.extras["target"][1].tolist() == best
    assert np.array_equal(e.values, wb.saliency(net, x, best).values)
    assert np.allclose(e.prediction, net(torch.tensor(x)).detach().amax(1))


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (3, "out of range"),
        ("fish", "not an output"),
        ([0, 1], "5 rows"),
        (True, "not an output"),
        ((0, 1), "3 numbers|give 1 numbers|one row's outputs"),
        (1.0, "not an output"),
        ([[0, 1, 2, 0, 1]], "not an output"),
        ({1, 2}, "not an output"),
        (lambda out: out, "one number a row"),
        (lambda out: 3, "one number a row"),
    ],
)
def test_targets_that_cannot_be(target, says):
    with pytest.raises(OptionError, match=says):
        wb.saliency(flat(), rows(5, 4), target)


def test_outputs_of_several_axes_take_a_place_or_a_function():
    net = seeded(lambda: nn.Conv2d(2, 3, 1))
    x = rows(2, 2, 4, 4)
    with pytest.raises(OptionError, match="index, index"):
        wb.saliency(net, x)
    e = wb.saliency(net, x, (1, 2, 3))
    assert (e.values > 0).sum() == 2
    assert (e.values[:, 2, 3] > 0).all()
    assert e.coords["output"].tolist() == ["1,2,3"]


def test_networks_that_answer_with_several_things():
    inner = flat()
    net = Formula(lambda x: {"logits": inner(x), "size": x.sum(1)})
    with pytest.raises(OptionError, match="logits"):
        wb.saliency(net, rows(5, 4))
    with pytest.raises(OptionError, match="logits"):
        wb.saliency(net, rows(5, 4), output="logit")
    assert np.allclose(
        wb.saliency(net, rows(5, 4), 1, output="logits").values, wb.saliency(inner, rows(5, 4), 1).values
    )
    assert np.allclose(wb.saliency(net, rows(5, 4), output="size").values, 1)


def test_inputs_of_every_kind_are_the_same_numbers():
    net, x = flat(), rows(5, 4)
    want = wb.saliency(net, x, 0).values
    for given in (torch.tensor(x), x.astype(np.float64), list(x), x[::-1][::-1], pd.DataFrame(x, columns=list("abcd"))):
        assert np.allclose(wb.saliency(net, given, 0).values, want, atol=1e-6)
    e = wb.saliency(net, pd.DataFrame(x, columns=list("abcd")), 0)
    assert e.feature_names == tuple("abcd")
    assert e.data is not None
    frozen = x.copy()
    frozen.flags.writeable = False
    assert np.array_equal(wb.saliency(net, frozen, 0).values, want)


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        (rows(4), InputError),
        (rows(0, 4), EmptyDataError),
        ((), EmptyDataError),
        (np.array([["a"] * 4]), DtypeError),
        ([rows(4), rows(3)], InputError),
        (np.array([[1, np.nan, 2, 3]]), NonFiniteError),
        ((rows(5, 4), rows(4, 4)), InputError),
    ],
)
def test_inputs_that_cannot_be(inputs, error):
    with pytest.raises(error):
        wb.saliency(flat(), inputs, 0)


def test_whole_numbers_have_no_derivative():
    net = Formula(lambda ids: ids.float().sum(1))
    with pytest.raises(UnsupportedModelError, match="embedding"):
        wb.saliency(net, np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "gradiant"}, "Did you mean"),
        ({"samples": 3}, "no option"),
        ({"method": "smoothgrad", "sample": 3}, "samples"),
        ({"method": "smoothgrad", "samples": 5}, "even"),
        ({"method": "smoothgrad", "noise": 0}, "above 0"),
        ({"method": SmoothGrad(), "samples": 4}, "into the method"),
        ({"reduce": "mean"}, "reduce"),
        ({"channel_axis": 0}, "channel_axis"),
        ({"budget": "many"}, "budget"),
        ({"seed": -1}, "seed"),
        ({"background": rows(3, 4)}, "no background"),
        ({"dtype": "float16"}, "float16"),
        ({"output_names": ["a"]}, "1 names"),
    ],
)
def test_options_that_cannot_be(options, says):
    with pytest.raises(OptionError, match=says):
        wb.saliency(flat(), rows(5, 4), 0, **options)


def test_a_method_can_be_given_with_its_options():
    net, x = flat(), rows(5, 4)
    by_name = wb.saliency(net, x, 0, "smoothgrad", samples=6, noise=0.2)
    assert np.array_equal(wb.saliency(net, x, 0, SmoothGrad(samples=6, noise=0.2)).values, by_name.values)


def test_where_the_channels_are():
    net, x = convolutional(), rows(2, 3, 9, 9)
    last = Formula(lambda x: net(x.permute(0, 3, 1, 2)))
    e = wb.saliency(last, x.transpose(0, 2, 3, 1), 1, channel_axis=-1)
    assert e.dims == ("row", "y", "x")
    assert np.allclose(e.values, wb.saliency(net, x, 1).values, atol=1e-6)
    assert wb.saliency(net, x, 1, channel_axis=None).dims == ("row", "axis_1", "axis_2", "axis_3")
    assert wb.saliency(Formula(lambda x: x.sum((1, 2))), rows(2, 5, 3)).dims == ("row", "time", "feature")


def test_train_mode_is_refused():
    with pytest.raises(UnsupportedModelError, match=r"net\.eval\(\)"):
        wb.saliency(flat().train(), rows(5, 4), 0)


def test_rows_that_influence_each_other_are_refused():
    net = Formula(lambda x: (x - x.mean(0)) ** 2)
    with pytest.raises(UnsupportedModelError, match="other rows in its batch"):
        wb.saliency(net, rows(5, 4), 0)
    noisy = Formula(lambda x: (x * torch.randn_like(x)).sum(1))
    with pytest.raises(UnsupportedModelError, match="draws random numbers"):
        wb.saliency(noisy, rows(5, 4))
    with pytest.raises(UnsupportedModelError, match="other rows in its batch"):
        wb.saliency(net, rows(1, 4), 0)


def test_answers_that_are_not_finite_are_refused():
    with pytest.raises(UnsupportedModelError, match="NaN"):
        wb.saliency(Formula(lambda x: torch.log(x).sum(1)), -np.abs(rows(5, 4)))


class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 2)

    def forward(self, x):
        if len(x) > 2:
            raise RuntimeError("no more")
        return self.inner(x)


def test_the_network_is_left_as_it_was_also_after_an_exception():
    net = flat()
    net[0].weight.requires_grad_(False)
    net[0].bias.grad = torch.ones_like(net[0].bias)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    wb.saliency(net, rows(5, 4), "all", "smoothgrad")
    assert [p.requires_grad for p in net.parameters()] == [False, True, True, True]
    assert torch.equal(net[0].bias.grad, torch.ones_like(net[0].bias))
    assert net[2].weight.grad is None
    assert not net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())
    broken = Fails().eval()
    with pytest.raises(UnsupportedModelError, match=r"works with 1 rows and fails with 32 \(RuntimeError: no more"):
        wb.saliency(broken, rows(50, 4), 0, "smoothgrad")
    assert all(p.requires_grad for p in broken.parameters())


def test_callers_grad_modes_do_not_matter():
    net, x = flat(), rows(5, 4)
    want = wb.saliency(net, x, 0).values
    with torch.no_grad():
        assert np.array_equal(wb.saliency(net, x, 0).values, want)
    with torch.inference_mode():
        assert np.array_equal(wb.saliency(net, x, 0).values, want)


def test_memory_is_bounded_by_the_budget():
    net, x = convolutional(), rows(40, 3, 9, 9)
    whole = wb.saliency(net, x, 0, "smoothgrad", samples=8)
    tight = wb.saliency(net, x, 0, "smoothgrad", samples=8, budget="60 KB")
    assert whole.evidence.passes["rows together"] == 32
    assert 1 <= tight.evidence.passes["rows together"] < 20
    for e in (whole, tight):  # and a few to look at derivatives twice
        assert 320 <= e.evidence.passes["backward"] < 336
    with pytest.raises(LimitError, match="budget"):
        wb.saliency(net, x, 0, budget="1 KB")


@pytest.mark.parametrize(
    ("text", "number"), [("1GB", 10**9), ("512 MiB", 512 * 2**20), ("2.5kb", 2500), (77, 77), ("9", 9)]
)
def test_budgets(text, number):
    assert parse_bytes(text) == number


def test_bfloat16_is_named_in_the_evidence():
    net, x = flat(), rows(5, 4)
    e = wb.saliency(net, x, 0, dtype="bfloat16")
    assert "bfloat16" in e.evidence.kernel
    assert np.corrcoef(e.values.ravel(), wb.saliency(net, x, 0).values.ravel())[0, 1] > 0.95
    assert any("float32" in n for n in e.evidence.notes)


def test_maps_are_saved_and_read_back(tmp_path):
    net, x = convolutional(), rows(3, 3, 9, 9)
    e = wb.saliency(net, x, "all", "smoothgrad", samples=4)
    e.save(tmp_path / "map.whybox")
    again = wb.load(tmp_path / "map.whybox")
    assert np.array_equal(e.values, again.values)
    assert np.array_equal(e.std_error, again.std_error)
    assert again.evidence == e.evidence
    assert np.array_equal(again.extras["input"][1], x)
    frame = e.to_frame(library="pandas")
    assert len(frame) == e.values.size
    assert {"row", "y", "x", "output", "saliency"} <= set(frame.columns)
    assert "Explanation(saliency" in repr(e)
    page = e._repr_html_()
    assert "SmoothGrad" in page
    assert "y 9, x 9" in page
    assert "adds up" not in page
    one = wb.saliency(net, x, 0, "integrated_gradients")
    assert "adds up within" in one._repr_html_()
    assert "forward" in dict(one.evidence.lines())["Rows through the network"]
    assert "Saliency" in one[0]._repr_html_()
    y, x = np.unravel_index(np.abs(one.values[0]).argmax(), one.values[0].shape)
    assert f"at y {y}, x {x}; .plot.overlay() draws it" in one[0]._repr_html_()


def test_things_that_are_no_networks():
    with pytest.raises(UnsupportedModelError, match=r"wb\.explain"):
        wb.saliency(LinearRegression().fit(rows(5, 4), rows(5)), rows(5, 4))
    with pytest.raises(UnsupportedModelError, match="JAX"):
        wb.saliency(lambda x: x, rows(5, 4))
    with pytest.raises(UnsupportedModelError, match="instance"):
        wb.saliency(nn.Linear, rows(5, 4))
    with pytest.raises(UnsupportedModelError, match=r"wb\.saliency"):
        wb.explain(flat(), rows(5, 4))


def test_networks_that_need_pictures_in_one_piece_are_run_as_they_are():
    net, x = convolutional(), rows(4, 3, 9, 9)
    flat_view = Formula(lambda x: net[-1](net[:4](x).view(len(x), -1)))
    flat_view.inner = net
    assert np.allclose(wb.saliency(flat_view, x, 1).values, wb.saliency(net, x, 1).values, atol=1e-6)
    tricky = Formula(lambda x: net(x.contiguous() if x.is_contiguous() else x.as_strided(x.shape, (243, 81, 9, 1))))
    tricky.inner = net
    assert np.allclose(wb.saliency(tricky, x, 1).values, wb.saliency(net, x, 1).values, atol=1e-6)


def test_an_explainer_is_reusable_and_picklable():
    net, x = flat(), rows(5, 4)
    explain = wb.explainers.Saliency(net, "smoothgrad", samples=6, seed=3)
    again = pickle.loads(pickle.dumps(explain))
    want = wb.saliency(net, x, 1, "smoothgrad", samples=6, seed=3)
    assert np.array_equal(explain(x, 1).values, want.values)
    assert np.array_equal(again(x, 1).values, want.values)
    assert "samples=6" in repr(explain)
    with pytest.raises(OptionError, match="samples"):
        wb.explainers.Saliency(net, "smoothgrad", sample=6)
