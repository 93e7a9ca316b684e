"""whybox.compat.captum.attr: methods that mask, against their definitions; and what is refused. Rows of docs/from_captum.md."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn

from captum_formulas import (
    BASE,
    CNN,
    IDS,
    NET,
    OTHER,
    PICTURES,
    READER,
    TWO,
    X,
    ablated,
    close,
    masked,
    shapley_by_hand,
)
from networks.small import Formula
from whybox.compat.captum import attr, metrics
from whybox.errors import EmptyDataError, InputError, LimitError, OptionError, UnsupportedModelError, WhyboxError

# masks


def test_occlusion_is_the_mean_over_windows():
    score = lambda x: CNN(x)[:, 1]
    total, count = torch.zeros_like(PICTURES), torch.zeros(3, 8, 8)
    for c in (0, 2):
        for y in range(0, 5, 2):
            for x in range(0, 5, 2):
                inside = torch.zeros(3, 8, 8, dtype=bool)
                inside[min(c, 1) : min(c, 1) + 2, y : y + 4, x : x + 4] = True
                drop = score(PICTURES) - score(masked(PICTURES, torch.tensor(0.3), ~inside))
                total += drop[:, None, None, None] * inside
                count += inside
    found = attr.Occlusion(CNN).attribute(PICTURES, (2, 4, 4), (1, 2, 2), 0.3, 1)
    close(found, total / count)
    one, other = attr.Occlusion(TWO).attribute((X, OTHER), ((1,), (1,)), target=1)
    close(one, ablated(lambda x: NET(x)[:, 1], X, 0.0))
    close(other, OTHER**3)


def test_windows_at_the_edge_are_moved_back():
    found = attr.Occlusion(Formula(lambda x: x.sum(1))).attribute(X, (4,), 4)
    first, last = X[:, :4].sum(1), X[:, 2:].sum(1)
    close(found[:, [0, 2, 5]], torch.stack([first, (first + last) / 2, last], 1))


def test_windows_of_one_input_alone_or_in_a_tuple():
    """As in captum: a tuple of one shape for a tensor, and a shape for a tuple of one tensor."""
    expected = attr.Occlusion(CNN).attribute(PICTURES, (3, 4, 4), (3, 2, 4), target=1)
    for window in ((3, 4, 4), ((3, 4, 4),)):
        for stride in ((3, 2, 4), ((3, 2, 4),)):
            close(attr.Occlusion(CNN).attribute(PICTURES, window, stride, target=1), expected)
            (found,) = attr.Occlusion(CNN).attribute((PICTURES,), window, stride, target=1)
            close(found, expected)
    alone = attr.Occlusion(NET).attribute(X, (3,), 3, target=1)
    for window, stride in (((3,), (3,)), (((3,),), ((3,),)), (((3,),), (3,))):
        close(attr.Occlusion(NET).attribute(X, window, stride, target=1), alone)


def test_groups_of_features_are_masked_together():
    """Masks are broadcast over channels, differ by row, and span inputs."""
    groups = (torch.arange(64) // 16).reshape(1, 1, 8, 8)
    score = lambda x: CNN(x)[:, 1]
    full = np.broadcast_to(groups.numpy(), (1, 3, 8, 8))
    expected = torch.zeros_like(PICTURES)
    for g in range(4):
        drop = score(PICTURES) - score(masked(PICTURES, torch.tensor(0.0), full != g))
        expected += drop[:, None, None, None] * torch.as_tensor(full == g)
    close(attr.FeatureAblation(CNN).attribute(PICTURES, target=1, feature_mask=groups), expected)
    close(
        attr.ShapleyValueSampling(CNN).attribute(PICTURES, target=1, feature_mask=groups),
        shapley_by_hand(score, PICTURES, torch.tensor(0.0), full),
    )
    by_row = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1], [5, 5, 5, 5, 5, 9], [0, 1, 2, 3, 4, 5]])
    found = attr.FeatureAblation(NET).attribute(X, target=1, feature_mask=by_row)
    for row in range(4):
        alone = attr.FeatureAblation(NET).attribute(X[row : row + 1], target=1, feature_mask=by_row[row : row + 1])
        close(found[row : row + 1], alone)
    masks = torch.tensor([[0, 0, 1, 1, 2, 2]]), torch.tensor([[2, 3]])
    one, other = attr.FeatureAblation(TWO).attribute((X, OTHER), target=1, feature_mask=masks, perturbations_per_eval=2)
    joint = TWO(X, OTHER) - TWO(
        masked(X, torch.tensor(0.0), np.arange(6) < 4), masked(OTHER, torch.tensor(0.0), np.arange(2) > 0)
    )
    close(one[:, 4], joint[:, 1])
    close(other[:, 0], joint[:, 1])


@pytest.mark.parametrize("name", ["ShapleyValueSampling", "ShapleyValues", "KernelShap"])
def test_shapley_values_are_those_of_the_definition(name):
    options = {} if name != "KernelShap" else {"n_samples": 64}
    found = getattr(attr, name)(NET).attribute(X, BASE, 1, **options)
    close(found, shapley_by_hand(lambda x: NET(x)[:, 1], X, BASE, np.arange(6)))


def test_sampled_shapley_values_add_up_and_have_errors():
    method = attr.ShapleyValueSampling(CNN)
    groups = torch.arange(64).reshape(1, 1, 8, 8) // 3
    found = method.attribute(PICTURES, target=1, feature_mask=groups, n_samples=10)
    assert method.explanation.extras["part_error"][1].max() > 0
    of_groups = attr.KernelShap(CNN).attribute(
        PICTURES, target=1, feature_mask=groups, n_samples=300, return_input_shape=False
    )
    assert of_groups.shape == (2, 22)
    close(of_groups.sum(1), (CNN(PICTURES) - CNN(0 * PICTURES))[:, 1])
    assert found.shape == PICTURES.shape


def test_by_default_samples_are_as_many_as_errors_need():
    for method in (attr.KernelShap(NET), attr.Lime(NET)):
        method.attribute(X, target=1)
        assert method.explanation.extras["part_error"][1].max() > 0
        with pytest.raises(LimitError, match="standard errors need"):
            method.attribute(X, target=1, n_samples=24)


def test_too_few_samples_are_refused_by_captums_names():
    with pytest.raises(LimitError, match=r"n_samples=100 are too few for 192 groups.*feature_mask"):
        attr.KernelShap(CNN).attribute(PICTURES, target=1, n_samples=100)
    groups = torch.arange(64).reshape(1, 1, 8, 8) // 3
    for method, least in ((attr.ShapleyValueSampling(CNN), 5), (attr.KernelShap(CNN), 90), (attr.Lime(CNN), 62)):
        with pytest.raises(LimitError, match=f"standard errors need {least} or more"):
            method.attribute(PICTURES, target=1, feature_mask=groups, n_samples=least - 1)
        method.attribute(PICTURES, target=1, feature_mask=groups, n_samples=least)


def test_lime_fits_a_line():
    line = Formula(lambda x: x @ torch.arange(6.0))
    method = attr.Lime(line)
    close(method.attribute(X, n_samples=64), X * torch.arange(6.0))
    close(method.attribute(X, n_samples=64, return_input_shape=False), X * torch.arange(6.0))


def test_values_of_groups_stand_in_the_column_of_their_number():
    """Numbers may start late, have gaps, and differ by row; a group that a row lacks changes nothing there."""
    line = Formula(lambda x: x @ torch.arange(6.0))
    mask = torch.tensor([[3, 3, 3, 6, 6, 6], [4, 4, 4, 4, 4, 3], [6, 6, 5, 5, 4, 4], [4, 6, 4, 6, 4, 6]])
    columns = [(X * torch.arange(6.0) * (mask == g)).sum(1) for g in (3, 4, 5, 6)]
    for method in (attr.KernelShap(line), attr.Lime(line)):
        close(method.attribute(X, feature_mask=mask, n_samples=64, return_input_shape=False), torch.stack(columns, 1))


# what is refused


REFUSALS = {
    "a rule": (lambda: attr.IntegratedGradients(NET).attribute(X, target=1, method="riemann_trapezoid"), "Gauss-Legendre"),
    "not multiplied": (lambda: attr.IntegratedGradients(NET, multiply_by_inputs=False), "divide"),
    "noise of no method": (lambda: attr.NoiseTunnel(NET), "whybox.compat.captum.attr"),
    "noise in a tunnel": (lambda: attr.NoiseTunnel(attr.NoiseTunnel(attr.Saliency(NET))), "NoiseTunnel"),
    "widths of three": (lambda: attr.NoiseTunnel(attr.Saliency(TWO)).attribute((X, OTHER), stdevs=(1, 1, 1), target=1), "each of the 2 inputs"),
    "baselines under noise": (lambda: attr.NoiseTunnel(attr.Saliency(NET)).attribute(X, draw_baseline_from_distrib=True, target=1), "GradientShap"),
    "a neuron that is not there": (lambda: attr.NeuronConductance(NET, NET[1]).attribute(X, 99, target=1), "neuron_selector=99"),
    "a neuron of other axes": (lambda: attr.NeuronConductance(NET, NET[1]).attribute(X, (1, 2), target=1), "must have 1 numbers"),
    "several neurons": (lambda: attr.NeuronConductance(NET, NET[1]).attribute(X, lambda a: a, target=1), "one number of each row"),
    "points of a neuron": (lambda: attr.NeuronConductance(NET, NET[1]).attribute(X, 1, target=1, method="riemann_left"), "Gauss-Legendre"),
    "a kind of noise": (lambda: attr.NoiseTunnel(attr.Saliency(NET)).attribute(X, "smooth", target=1), "smoothgrad"),
    "own rule": (lambda: attr.DeepLift(NET).attribute(X, target=1, custom_attribution_func=max), "multipliers"),
    "eps": (lambda: attr.DeepLift(NET, eps=1e-3), "threshold"),
    "channels of grad-cam": (lambda: attr.LayerGradCam(CNN, CNN[2]).attribute(PICTURES, 1, attr_dim_summation=False), "conductance"),
    "input of grad-cam": (lambda: attr.LayerGradCam(CNN, CNN[2]).attribute(PICTURES, 1, attribute_to_layer_input=True), "before"),
    "grad-cam of a table": (lambda: attr.LayerGradCam(NET, NET[1]).attribute(X, 1), "LayerConductance"),
    "devices": (lambda: attr.LayerActivation(NET, NET[0], device_ids=[0]), "device"),
    "grad_kwargs": (lambda: attr.LayerConductance(NET, NET[0]).attribute(X, target=1, grad_kwargs={"a": 1}), "grad_kwargs"),
    "a linear model": (lambda: attr.Lime(NET, interpretable_model=max), "alpha"),
    "delta later": (lambda: attr.IntegratedGradients(NET).compute_convergence_delta(X, BASE, X), "return_convergence_delta"),
    "a window": (lambda: attr.Occlusion(CNN).attribute(PICTURES, (4, 4), target=1), "channels included"),
    "windows too few": (lambda: attr.Occlusion(TWO).attribute((X, OTHER), ((1,),), target=1), "each of the 2 inputs"),
    "a window for two": (lambda: attr.Occlusion(TWO).attribute((X, OTHER), (1,), target=1), "each of the 2 inputs"),
    "a list too short": (lambda: attr.Saliency(NET).attribute(X, target=[0, 1]), "4 rows"),
    "half a target": (lambda: attr.Saliency(NET).attribute(X, target=[0, 1.5, 1, 1]), "whole number"),
    "a target of floats": (lambda: attr.Saliency(NET).attribute(X, target=torch.ones(4)), "float32"),
    "tuples of two lengths": (lambda: attr.Saliency(NET).attribute(X, target=[(0,), (0, 1), (1,), (1,)]), "lengths"),
    "places of other axes": (lambda: attr.Saliency(NET).attribute(X, target=[(0, 1)] * 4), "2 numbers a row"),
    "a place outside": (lambda: attr.Saliency(NET).attribute(X, target=[(0,), (3,), (1,), (1,)]), "not there; outputs have the shape"),
    "half a place": (lambda: attr.Saliency(NET).attribute(X, target=[(0,), (1.5,), (1,), (1,)]), "whole number"),
    "a target of yes and no": (lambda: attr.Saliency(NET).attribute(X, target=X[:, 0] > 0), "torch.bool"),
    "no noise": (lambda: attr.NoiseTunnel(attr.Saliency(NET)).attribute(X, stdevs=0.0, target=1, abs=False), "stdevs=0.0"),
    "batches of noise": (
        lambda: attr.NoiseTunnel(attr.Saliency(NET)).attribute(X, nt_samples_batch_size=0, target=1, abs=False),
        "nt_samples_batch_size=0",
    ),
    "batches of a layer": (lambda: attr.LayerConductance(NET, NET[0]).attribute(X, target=1, internal_batch_size=0), "internal_batch_size=0"),
    "batches of masks": (lambda: attr.FeatureAblation(NET).attribute(X, target=1, perturbations_per_eval=0), "perturbations_per_eval=0"),
    "a baseline too few": (lambda: attr.IntegratedGradients(TWO).attribute((X, OTHER), (BASE,), 1), "each of the 2 inputs"),
    "target of another form": (lambda: attr.Saliency(NET).attribute(X, target="1"), "whole number"),
    "one baseline of two": (lambda: attr.IntegratedGradients(TWO).attribute((X, OTHER), 0.5, 1), "each of the 2 inputs"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_not_honoured_raises_and_says_what_to_call(name):
    call, words = REFUSALS[name]
    with pytest.raises(OptionError, match=words):
        call()


def test_inputs_that_do_not_suit_are_refused():
    with pytest.raises(InputError, match="LayerIntegratedGradients"):
        attr.Saliency(READER).attribute(IDS, target=1)
    with pytest.raises(InputError, match="given first"):
        attr.LayerConductance(READER, READER.embedding).attribute(IDS, target=1)
    with pytest.raises(InputError, match="given first"):
        attr.LayerIntegratedGradients(READER, READER.last).attribute((torch.ones(3, 5), IDS), target=1)
    for baseline in (1.7, torch.full((1, 5), 1.5), torch.zeros(1, 4, dtype=int)):
        with pytest.raises(InputError, match="whole number"):
            attr.LayerIntegratedGradients(READER, READER.embedding).attribute(IDS, baseline, target=1)
    with pytest.raises(InputError, match="no part of the model"):
        attr.LayerActivation(NET, CNN[0]).attribute(X)
    with pytest.raises(InputError, match="one by one"):
        attr.LayerActivation(NET, [NET[0]]).attribute(X)
    with pytest.raises(InputError, match="must be a tensor"):
        attr.Saliency(NET).attribute(X.numpy(), target=1)
    for nothing in ((), 1.0):
        with pytest.raises(InputError, match="must be a tensor"):
            attr.FeatureAblation(NET).attribute(nothing, target=1)
    with pytest.raises(InputError, match="first axis is the rows"):
        attr.Saliency(TWO).attribute((X, OTHER[:2]), target=1)
    with pytest.raises(InputError, match="floats"):
        attr.NoiseTunnel(attr.Saliency(READER)).attribute(IDS, target=1)
    with pytest.raises(InputError, match="floats"):
        attr.NoiseTunnel(attr.Saliency(NET)).attribute((), target=1)
    with pytest.raises(EmptyDataError, match="nothing to explain"):
        attr.NoiseTunnel(attr.Saliency(NET)).attribute(X[:0], target=1)
    with pytest.raises(InputError, match="no path"):
        attr.NeuronConductance(READER, READER.embedding).attribute(IDS, (0, 1), target=1)
    for mask in (torch.zeros(3, 6, dtype=int), torch.zeros(1, 5, dtype=int), torch.zeros(1, 6), torch.full((1, 6), -1)):
        with pytest.raises(InputError, match="feature_mask"):
            attr.FeatureAblation(NET).attribute(X, target=1, feature_mask=mask)
    with pytest.raises(LimitError, match="samples"):
        attr.KernelShap(CNN).attribute(PICTURES, target=1, n_samples=100)
    with pytest.raises(LimitError, match="ShapleyValueSampling"):
        attr.ShapleyValues(CNN).attribute(PICTURES, target=1)
    with pytest.raises(UnsupportedModelError, match="train mode"):
        attr.Saliency(nn.Linear(6, 2)).attribute(X, target=1)
    with pytest.raises(WhyboxError, match="tanh"):
        attr.GuidedBackprop(NET).attribute(X, target=1)


def test_the_delta_is_refused_where_maps_need_not_add_up():
    skip = Formula(lambda x: x)
    skip.layer = nn.Linear(6, 6).eval()
    skip.forward = lambda x: torch.tanh(skip.layer(x)).sum(1) + x.sum(1)
    with pytest.raises(OptionError, match="does not pass through"):
        attr.LayerConductance(skip, skip.layer).attribute(X, return_convergence_delta=True)


@pytest.mark.parametrize("name", attr.REFUSED)
def test_names_that_are_not_honoured_are_refused_by_name(name):
    with pytest.raises(OptionError, match=name):
        getattr(attr, name)(NET)
    with pytest.raises(OptionError, match=f"{name}.anything"):
        _ = getattr(attr, name).anything


@pytest.mark.parametrize("name", metrics.REFUSED)
def test_metrics_are_refused_by_name(name):
    with pytest.raises(OptionError, match=rf"{name}.*wb.check"):
        getattr(metrics, name)(NET, X)


@pytest.mark.parametrize("module", [attr, metrics])
def test_other_names_are_unknown(module):
    with pytest.raises(AttributeError, match="Nothing"):
        _ = module.Nothing


def test_noise_takes_a_mask_for_each_row():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).eval()
    x = torch.randn(4, 4)
    each = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 2, 2], [0, 1, 2, 3]])
    tunnel = attr.NoiseTunnel(attr.FeatureAblation(net))
    together = tunnel.attribute(x, target=1, feature_mask=each, nt_samples=4, stdevs=0.1)
    for i, mask in enumerate(each):
        noisy = attr.NoiseTunnel(attr.FeatureAblation(net)).attribute(
            x, target=1, feature_mask=mask[None], nt_samples=4, stdevs=0.1
        )
        torch.testing.assert_close(together[i], noisy[i])
    flat = tunnel.attribute(x, target=1, feature_mask=each[1], nt_samples=4, stdevs=0.1)  # as many features as rows
    torch.testing.assert_close(flat[1], together[1])


@pytest.mark.parametrize("selector", [9, (0, 1)])
def test_a_neuron_that_there_is_not_is_named_with_the_shape_of_a_row(selector):
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3)).eval()
    with pytest.raises(OptionError, match=r"of each row the layer has the shape \(6,\)"):
        attr.NeuronConductance(net, net[0]).attribute(torch.ones(5, 4), neuron_selector=selector, target=0)
