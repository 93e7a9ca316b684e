"""whybox.compat.captum.attr against captum's formulas, written out with torch.autograd: arguments, shapes, numbers; and what is refused. Rows of docs/from_captum.md."""

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
    as_function,
    close,
    draw,
    gradient,
    integral,
)
from networks.small import Formula, flat, seeded
from whybox.compat.captum import attr
from whybox.errors import InputError, OptionError, UnsupportedModelError

# gradients


TARGETS = {
    "a number": (1, [1, 1, 1, 1]),
    "from the end": (-1, [2, 2, 2, 2]),
    "a tensor of one": (torch.tensor(2), [2, 2, 2, 2]),
    "a tuple": ((2,), [2, 2, 2, 2]),
    "a tensor": (torch.tensor([0, 2, 1, 1]), [0, 2, 1, 1]),
    "a list": ([0, 2, 1, 1], [0, 2, 1, 1]),
    "a list of tuples": ([(0,), (2,), (1,), (1,)], [0, 2, 1, 1]),
}


@pytest.mark.parametrize("name", TARGETS)
def test_targets_of_every_form(name):
    target, places = TARGETS[name]
    expected = gradient(lambda x: NET(x)[torch.arange(4), places], X)
    close(attr.Saliency(NET).attribute(X, target=target, abs=False), expected)
    close(attr.Saliency(NET).attribute(X, target=target), expected.abs())
    close(
        attr.FeatureAblation(NET).attribute(X, target=target),
        ablated(lambda x: NET(x)[torch.arange(4), places], X, 0.0),
    )


def test_targets_in_outputs_of_two_axes():
    net = Formula(lambda x: torch.tanh(x).reshape(-1, 2, 3) * torch.arange(1, 4))
    for target in ((1, 2), [(1, 2)] * 4):
        found = attr.IntegratedGradients(net).attribute(X, target=target)
        assert found[:, :5].abs().max() == 0
        close(found[:, 5], 3 * torch.tanh(X[:, 5]))
    several = attr.Saliency(net).attribute(X, target=[(0, 0), (0, 1), (1, 0), (1, 2)])
    assert several.argmax(1).tolist() == [0, 1, 3, 5]


def test_without_a_target_there_is_one_output():
    one = lambda x: NET(x)[:, 1]
    close(attr.Saliency(one).attribute(X, abs=False), gradient(one, X))
    close(attr.Saliency(lambda x: NET(x)[:, 1:2]).attribute(X, abs=False), gradient(one, X))
    close(attr.ShapleyValueSampling(one).attribute(X), attr.ShapleyValues(one).attribute(X))
    with pytest.raises(OptionError, match="target=0"):
        attr.Saliency(NET).attribute(X)
    with pytest.raises(InputError, match="one for each row"):
        attr.FeatureAblation(lambda x: NET(x).sum()).attribute(X)
    with pytest.raises(InputError, match="logits"):
        attr.Saliency(lambda x: (NET(x), x)).attribute(X)


@pytest.mark.parametrize("function", [NET.forward, as_function])
def test_functions_of_tensors_are_taken(function):
    close(attr.InputXGradient(function).attribute(X, target=1), X * gradient(lambda x: NET(x)[:, 1], X))


def test_modules_that_a_function_names_are_part_of_the_network():
    """Their mode counts, and they are left as they were."""
    net = flat().train()
    method = attr.Saliency(lambda x: net(x)[:, 1])
    with pytest.raises(UnsupportedModelError, match="train mode"):
        method.attribute(X)
    assert net.training
    net.eval()
    method.attribute(X)
    first = method.explanation.evidence.fingerprints["model"]
    net[0].weight.data += 1
    method.attribute(X)
    assert method.explanation.evidence.fingerprints["model"] != first
    assert all(p.grad is None for p in net.parameters())


def test_type_and_place_are_those_of_the_inputs():
    double = seeded(lambda: nn.Linear(6, 2).double())
    x = X.double().requires_grad_()
    found, delta = attr.IntegratedGradients(double).attribute(x, target=0, return_convergence_delta=True)
    assert delta.dtype == torch.float64
    close(found, x * double.weight[0], 1e-12)
    close(attr.Saliency(lambda x: x[:, 0] ** 2).attribute(x), 2 * x.abs() * (torch.arange(6) == 0), 1e-9)
    assert x.grad is None
    assert double.weight.grad is None


def test_integrated_gradients_are_those_of_the_formula():
    score = lambda x: NET(x)[:, 1]
    ig = attr.IntegratedGradients(NET)
    for given, start in (
        (None, torch.zeros(1, 6)),
        (0.5, torch.full((1, 6), 0.5)),
        (BASE, BASE),
        (X.flip(0), X.flip(0)),
    ):
        found, delta = ig.attribute(X, given, 1, n_steps=7, internal_batch_size=3, return_convergence_delta=True)
        close(found, integral(score, X, start, 7))
        close(delta, found.sum(1) - (score(X) - score(start)))
    assert "50 Gauss-Legendre points" in (ig.attribute(X, target=1), ig.explanation.evidence.kernel)[1]
    assert ig.has_convergence_delta()
    assert not attr.Saliency(NET).has_convergence_delta()


def test_several_inputs_and_arguments_beside_them():
    """Tensors of rows go with their row, in any batch; constants are passed as they are; none of them gets a map."""
    weights = OTHER[:, :1]
    one, other = attr.IntegratedGradients(TWO).attribute(
        (X, OTHER), (BASE, 0), 1, additional_forward_args=(2.0, weights), internal_batch_size=3
    )
    close(one, integral(lambda x: 2 * (NET(x)[:, 1:2] * weights), X, BASE, 50))
    close(other, OTHER**3 * weights)
    alone = attr.IntegratedGradients(TWO).attribute(X, target=[(0,), (1,), (2,), (0,)], additional_forward_args=OTHER)
    close(alone, integral(lambda x: NET(x)[torch.arange(4), [0, 1, 2, 0]], X, 0 * X, 50))
    (only,) = attr.FeatureAblation(TWO).attribute((X,), target=1, additional_forward_args=(OTHER, 2.0))
    close(only, ablated(lambda x: 2 * NET(x)[:, 1], X, 0.0))


def test_deeplift_is_the_rescale_rule_and_adds_up():
    relu = seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)))
    found, delta = attr.DeepLift(relu).attribute(X, BASE, 1, return_convergence_delta=True)
    before, after = (relu[0](v) for v in (BASE, X))
    slope = (relu[1](after) - relu[1](before)) / (after - before)  # the rescale rule
    close(found, (X - BASE) * ((slope * relu[2].weight[1]) @ relu[0].weight))
    assert delta.abs().max() < 1e-5
    rows = torch.cat([BASE, X.flip(0)])
    mean = torch.stack([attr.DeepLift(relu).attribute(X, row[None], 1) for row in rows]).mean(0)
    close(attr.DeepLiftShap(relu).attribute(X, rows, 1), mean)
    close(attr.DeepLiftShap(relu).attribute(X, lambda inputs: rows, 1), mean)
    found, delta = attr.DeepLiftShap(relu).attribute(X, rows, 1, return_convergence_delta=True)
    close(found.sum(1), (relu(X)[:, 1] - relu(rows)[:, 1].mean()))
    assert delta.shape == (4,)
    assert delta.abs().max() < 1e-5


def test_deeplift_has_rules_for_functions():
    """captum has them for modules alone."""
    found, delta = attr.DeepLift(Formula(lambda x: torch.tanh(x).sum(1))).attribute(
        X, BASE, return_convergence_delta=True
    )
    close(found, torch.tanh(X) - torch.tanh(BASE))
    assert delta.abs().max() < 1e-5
    for layer in (nn.Softmax(1), nn.GELU(), nn.LayerNorm(6), nn.Unflatten(1, (1, 6))):
        pool = [nn.MaxPool1d(2, 1), nn.Flatten()] if isinstance(layer, nn.Unflatten) else []
        net = seeded(lambda: nn.Sequential(nn.Linear(6, 6), layer, *pool, nn.LazyLinear(2)))  # noqa: B023  # called at once
        net(X)
        found, delta = attr.DeepLift(net).attribute(X, BASE, 1, return_convergence_delta=True)
        close(found.sum(1), (net(X) - net(BASE))[:, 1])
        assert delta.abs().max() < 1e-5
    with pytest.raises(UnsupportedModelError, match="cumprod"):
        attr.DeepLift(Formula(lambda x: x.cumprod(1).sum(1))).attribute(X, BASE)


def test_equal_calls_have_equal_answers():
    calls = (
        lambda: attr.NoiseTunnel(attr.Saliency(NET)).attribute(X, target=1, abs=False),
        lambda: attr.GradientShap(NET).attribute(X, X, target=1),
        lambda: attr.KernelShap(NET).attribute(X, target=1),
    )
    for call in calls:
        torch.manual_seed(1)
        first = call()
        torch.manual_seed(2)
        assert torch.equal(first, call())


def test_a_network_that_draws_at_random_is_refused():
    with pytest.raises(UnsupportedModelError, match="random"):
        attr.Saliency(Formula(lambda x: nn.functional.dropout(x, 0.5, training=True).sum(1))).attribute(X)


def test_expected_gradients_are_the_mean_over_the_baselines():
    rows = torch.cat([BASE, X.flip(0)])
    method = attr.GradientShap(TWO)
    found, _ = method.attribute((X, OTHER), (rows, OTHER[[0, 1, 2, 3, 0]]), n_samples=300, target=1)
    score = lambda x: NET(x)[:, 1]
    mean = torch.stack([integral(score, X, row[None], 20) for row in rows]).mean(0)
    assert (found - mean).abs().max() < 6 * method.explanation[0].std_error.max()
    assert "320 samples" in method.explanation[0].evidence.kernel


@pytest.mark.parametrize("kind", ["smoothgrad", "smoothgrad_sq", "vargrad"])
def test_noise_has_the_width_that_was_given(kind):
    """Of the cube, in closed form: under normal noise of width s, 3 x^2 has the mean 3 (x^2 + s^2) and the variance 9 (4 x^2 s^2 + 2 s^4)."""
    cube, s = Formula(lambda x: (x**3).sum(1)), 0.2
    method = attr.NoiseTunnel(attr.Saliency(cube))
    found = method.attribute(X, nt_type=kind, nt_samples=2001, stdevs=s, abs=False)
    mean, variance = 3 * (X**2 + s**2), 9 * (4 * X**2 * s**2 + 2 * s**4)
    expected = {"smoothgrad": mean, "vargrad": variance, "smoothgrad_sq": mean**2 + variance}[kind]
    assert ((found - expected).abs() / (expected + 1e-2)).max() < 0.2
    assert found.shape == X.shape
    assert len(method.explanation.values) == 4 * 2002
    if kind == "vargrad":
        assert method.std_errors is None
    else:
        assert ((found - expected).abs() < 5 * method.std_errors + 1e-5).all()


def test_noise_of_any_method_with_what_goes_with_its_rows():
    """Of a cube along its path from 0.5: (x + e)^3 - 0.125 in the mean; targets, baselines and arguments go with their row; batches change nothing."""
    net = Formula(lambda x, factor: torch.stack([(x**3).sum(1), (x**3).sum(1) * 2], 1) * factor)
    factor = torch.arange(1.0, 5.0)[:, None]
    method = attr.NoiseTunnel(attr.IntegratedGradients(net))
    given = {
        "nt_samples": 999,
        "stdevs": 0.3,
        "target": [0, 1, 1, 0],
        "baselines": torch.full((4, 6), 0.5),
        "additional_forward_args": factor,
    }
    found, delta = method.attribute(X, **given, return_convergence_delta=True)
    times = factor * torch.tensor([1.0, 2, 2, 1])[:, None]
    expected = times * (X**3 + 3 * X * 0.3**2 - 0.125)
    assert ((found - expected).abs() < 5 * method.std_errors + 1e-4).all()
    assert (method.std_errors < 0.1 * times + 0.1).all()
    assert delta.shape == (4 * 1000,)
    assert delta.abs().max() < 1e-3
    assert method.has_convergence_delta()
    close(method.attribute(X, **given, nt_samples_batch_size=300), found)
    assert len(method.explanation) == 4


def test_lists_and_tuples_beside_the_inputs_are_constants_under_noise():
    """As many numbers as there are rows, but none of a row; of a linear network every copy has the same gradient."""
    weights = torch.arange(1.0, 5.0)
    net = Formula(lambda x, given: x[:, :4] @ torch.as_tensor(given[0] if isinstance(given, tuple) else given))
    for beside in (weights.tolist(), (weights.tolist(),), ((weights,),)):
        found = attr.NoiseTunnel(attr.Saliency(net)).attribute(X, additional_forward_args=beside, abs=False)
        close(found, torch.tensor([1.0, 2, 3, 4, 0, 0]).expand(4, 6))


def test_noise_of_absolute_gradients_and_of_several_inputs():
    absolute = attr.NoiseTunnel(attr.Saliency(Formula(lambda x: (x**2).sum(1)))).attribute(0 * X, nt_samples=4000)
    assert (absolute - 2 * (2 / torch.pi) ** 0.5).abs().max() < 0.1  # the mean of |2 e|
    one, other = attr.NoiseTunnel(attr.Saliency(TWO)).attribute(
        (X, OTHER), target=1, abs=False, nt_samples=2000, stdevs=(0.1, 0.5)
    )
    close(other, 3 * (OTHER**2 + 0.25), 0.15)
    assert one.shape == X.shape


def test_maps_under_noise_are_a_tuple_where_those_of_the_method_are():
    for method, is_tuple in (
        (attr.LayerIntegratedGradients(NET, NET[1]), False),
        (attr.IntegratedGradients(NET), True),
    ):
        noise = attr.NoiseTunnel(method)
        for found in (method.attribute((X,), target=1), noise.attribute((X,), target=1), noise.std_errors):
            assert isinstance(found, tuple) == is_tuple


def test_errors_of_noise_hold_the_truth():
    """95 % intervals of 60 pairs, which are skewed here: (e^2) hold the mean in a little less than 95 % of numbers."""
    x = torch.linspace(-1, 1, 6).repeat(150, 1)
    cube = Formula(lambda x: (x**3).sum(1))
    noise = attr.NoiseTunnel(attr.Saliency(cube))
    found = noise.attribute(x, nt_samples=120, stdevs=0.5, abs=False)
    held = (found - 3 * (x**2 + 0.25)).abs() < 2 * noise.std_errors
    assert 0.91 < held.double().mean() < 0.97
    shap = attr.GradientShap(cube)
    found = shap.attribute(x, torch.tensor([[0.5] * 6, [1.0] * 6]), n_samples=120, stdevs=0.5)
    held = (found - (x**3 + 3 * x * 0.25 - (0.125 + 1) / 2)).abs() < 2 * shap.std_errors
    assert held.double().mean() > 0.93  # strata and pairs are spread more evenly than independent ones


def test_batches_of_copies_draw_anew():
    """Else a method that draws repeats its numbers in every batch, and errors are too small: of two copies at a time, they held hardly a number."""
    x = torch.linspace(-1, 1, 6).repeat(20, 1)
    rows = torch.tensor([[0.5] * 6, [-1.0] * 6, [2.0] * 6])
    noise = attr.NoiseTunnel(attr.GradientShap(Formula(lambda x: (x**3).sum(1))))
    found = noise.attribute(x, nt_samples=30, nt_samples_batch_size=2, stdevs=0.01, baselines=rows, n_samples=32)
    held = (found - (x**3 - (rows**3).mean(0))).abs() < 2.15 * noise.std_errors
    assert held.double().mean() > 0.9


def test_expected_gradients_under_noise_and_their_delta():
    rows, score = torch.cat([BASE, X.flip(0)]), lambda x: NET(x)[:, 1]
    method = attr.GradientShap(NET)
    found, delta = method.attribute(X, rows, n_samples=2000, stdevs=0.1, target=1, return_convergence_delta=True)
    draw = torch.Generator().manual_seed(1)
    mean = torch.zeros_like(X)
    for row in rows:
        some = [integral(score, X + 0.1 * torch.randn(X.shape, generator=draw), row[None], 12) for _ in range(40)]
        mean += torch.stack(some).mean(0) / len(rows)
    assert (found - mean).abs().max() < 6 * method.std_errors.max() + 0.02
    assert delta.shape == (4,)
    assert delta.abs().max() < 6 * method.std_errors.max() * 6**0.5
    quiet, delta = method.attribute(X, rows, target=1, n_samples=300, return_convergence_delta=True)
    close(delta, quiet.sum(1) - (score(X) - score(rows).mean()), 1e-5)
    assert method.std_errors.shape == X.shape
    some, other = attr.GradientShap(TWO).attribute(
        (X, OTHER), (rows, OTHER[[0, 1, 2, 3, 0]]), n_samples=2000, stdevs=(0.0, 0.2), target=[1, 1, 1, 1]
    )
    at = lambda x: x**3 + 3 * x * 0.04
    assert (other - (at(OTHER) - (OTHER[[0, 1, 2, 3, 0]] ** 3).mean(0))).abs().max() < 0.5
    assert some.shape == X.shape


def test_conductance_of_a_neuron():
    """By hand; and over the inputs it is the neuron's part of the conductance of its layer."""
    t, w = np.polynomial.legendre.leggauss(50)
    by_hand = torch.zeros_like(X)
    for a, b in zip((t + 1) / 2, w / 2, strict=True):
        point = (BASE + float(a) * (X - BASE)).requires_grad_()
        layer = NET[1](NET[0](point))
        score_by_neuron = torch.autograd.grad(NET[2](layer)[:, 1].sum(), layer, retain_graph=True)[0][:, 2:3]
        by_hand += float(b) * score_by_neuron * torch.autograd.grad(layer[:, 2].sum(), point)[0]
    for function in (NET, as_function):
        found = attr.NeuronConductance(function, NET[1]).attribute(X, 2, BASE, 1)
        close(found, by_hand * (X - BASE), 1e-5)
    whole = attr.LayerConductance(NET, NET[1]).attribute(X, BASE, 1)
    close(found.sum(1), whole[:, 2], 1e-4)
    method = attr.NeuronConductance(TWO, NET[1])
    one, other = method.attribute((X, OTHER), (slice(0, 2),), (BASE, 0), [1, 1, 1, 1], 3.0)
    assert other.abs().max() == 0
    assert len(method.explanation) == 2
    first, second = (
        method.attribute((X, OTHER), k, (BASE, 0), 1, 3.0, attribute_to_neuron_input=False)[0] for k in (0, 1)
    )
    assert one.shape == first.shape == second.shape
    by_input = attr.NeuronConductance(NET, NET[1]).attribute(
        X, lambda a: a[:, 2], BASE, 1, attribute_to_neuron_input=True
    )
    close(
        by_input.sum(1),
        attr.LayerConductance(NET, NET[1]).attribute(X, BASE, 1, attribute_to_layer_input=True)[:, 2],
        1e-4,
    )


def test_no_forward_of_a_neuron_has_more_rows_than_was_said():
    sizes = []
    net = Formula(lambda x: sizes.append(len(x)) or NET(x))
    net.layers = NET
    found = attr.NeuronConductance(net, NET[1]).attribute(X, 2, BASE, 1, internal_batch_size=5)
    assert max(sizes) == 5
    close(found, attr.NeuronConductance(NET, NET[1]).attribute(X, 2, BASE, 1), 1e-6)


@pytest.mark.parametrize(("layer", "by_input"), [(0, False), (1, True)])
def test_a_neuron_is_what_its_layer_returns_where_the_next_works_in_place(layer, by_input):
    in_place, other = (nn.Sequential(NET[0], nn.SiLU(inplace=i), NET[2]).eval() for i in (True, False))
    found, expected = (
        attr.NeuronConductance(net, net[layer]).attribute(X, 2, BASE, 1, attribute_to_neuron_input=by_input)
        for net in (in_place, other)
    )
    close(found, expected, 1e-6)


def test_conductance_of_a_neuron_in_pictures():
    found = attr.NeuronConductance(CNN, CNN[2]).attribute(PICTURES, (1, 2, 3), target=1, n_steps=400)
    layer = attr.LayerConductance(CNN, CNN[2]).attribute(PICTURES, target=1, n_steps=400)
    close(found.sum((1, 2, 3)), layer[:, 1, 2, 3], 1e-3)


def test_guided_gradients_and_grad_cam_are_those_of_the_formulas():
    def run(x):
        first = CNN[0](x)
        return first, CNN[2](CNN[1](first))

    first, second = run(PICTURES)
    second = second.detach().requires_grad_()
    by_layer = torch.autograd.grad(CNN[3:](second)[:, 1].sum(), second)[0]
    cam = (by_layer.mean((2, 3), keepdim=True) * second).sum(1, keepdim=True)
    close(attr.LayerGradCam(CNN, CNN[2]).attribute(PICTURES, target=1), cam)
    close(attr.LayerGradCam(CNN, CNN[2]).attribute(PICTURES, target=1, relu_attributions=True), cam.relu())
    guided = by_layer.relu() * (second > 0)
    guided = nn.functional.conv_transpose2d(guided, CNN[2].weight)
    guided = guided.relu() * (first > 0)
    guided = nn.functional.conv_transpose2d(guided, CNN[0].weight, padding=1)
    close(attr.GuidedBackprop(CNN).attribute(PICTURES, target=1), guided)
    large = attr.LayerAttribution.interpolate(cam.relu(), (8, 8))
    assert large.shape == (2, 1, 8, 8)
    close(attr.GuidedGradCam(CNN, CNN[2]).attribute(PICTURES, target=1), guided * large)


def test_grad_cam_beside_a_table_and_weights():
    """Channels are those of the pictures; the rest goes with its row."""

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 2, 3), nn.Linear(2, 1)

        def forward(self, pictures, table, weights):
            return self.last(self.conv(pictures).relu().mean((2, 3)) + table)[:, 0] * weights

    net = seeded(Both)
    weights = torch.tensor([1.0, 3.0])
    layer = net.conv(PICTURES).detach().requires_grad_()
    slope = torch.autograd.grad((net.last(layer.relu().mean((2, 3)) + OTHER[:2])[:, 0] * weights).sum(), layer)[0]
    expected = (slope.mean((2, 3), keepdim=True) * layer).sum(1, keepdim=True)
    both = (PICTURES, OTHER[:2])
    close(attr.LayerGradCam(net, net.conv).attribute(both, additional_forward_args=weights), expected)
    close(attr.LayerActivation(net, net.conv).attribute(both, weights), net.conv(PICTURES))
    _, table = attr.GradientShap(net).attribute(both, (PICTURES, OTHER[:2] * 0), additional_forward_args=(weights,))
    close(table, OTHER[:2] * net.last.weight * weights[:, None])


def test_grad_cam_of_series():
    net = seeded(lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2)))
    x = torch.randn(2, 2, 8, generator=draw)
    layer = net[0](x).detach().requires_grad_()
    slope = torch.autograd.grad(net[1:](layer)[:, 1].sum(), layer)[0]
    found = attr.LayerGradCam(net, net[0]).attribute(x, target=1)
    close(found, (slope.mean(2, keepdim=True) * layer).sum(1, keepdim=True))


# layers


@pytest.mark.parametrize("function", [NET, as_function])
def test_layers_are_explained(function):
    at, start = NET[1](NET[0](X)), NET[1](NET[0](BASE))
    close(attr.LayerActivation(function, NET[1]).attribute(X), at)
    close(attr.LayerActivation(function, NET[1]).attribute(X, attribute_to_layer_input=True), NET[0](X))
    expected = (at - start) * NET[2].weight[1]  # the rest is linear
    for method in (attr.LayerIntegratedGradients, attr.LayerConductance):
        found, delta = method(function, NET[1]).attribute(X, BASE, 1, return_convergence_delta=True)
        close(found, expected, 2e-4)
        close(delta, found.sum(1) - (NET(X) - NET(BASE))[:, 1], 1e-5)
    by_input = attr.LayerIntegratedGradients(function, NET[1]).attribute(
        X, BASE, 1, n_steps=9, attribute_to_layer_input=True
    )
    close(by_input, integral(lambda a: NET[2](NET[1](a))[:, 1], NET[0](X).detach(), NET[0](BASE).detach(), 9))


@pytest.mark.parametrize("baselines", [None, torch.full((1, 5), 3), torch.arange(15).reshape(3, 5)])
def test_token_ids_are_explained_at_their_embedding(baselines):
    mask = torch.ones(3, 5)
    mask[0, 3:] = 0
    start = READER.embedding(torch.zeros(1, 5, dtype=int) if baselines is None else baselines).detach()
    at = READER.embedding(IDS).detach()
    score = lambda e: READER.last((torch.tanh(e) * mask[..., None]).mean(1))[torch.arange(3), [1, 0, 1]]
    method = attr.LayerIntegratedGradients(READER, READER.embedding)
    found, delta = method.attribute(
        IDS, baselines, torch.tensor([1, 0, 1]), additional_forward_args=mask, return_convergence_delta=True
    )
    close(found, integral(score, at, start, 50))
    close(delta, found.sum((1, 2)) - (score(at) - score(start)), 1e-6)
    close(attr.FeatureAblation(READER).attribute(IDS, 7, 1), ablated(lambda i: READER(i)[:, 1], IDS, 7))


def test_token_ids_beside_other_ids_and_a_choice_of_the_answer():
    """As in captum's example of answers to questions: a function of ids, their types, a mask and which of two outputs is meant."""
    types = torch.nn.Embedding(2, 4)
    kinds, mask = torch.tensor([[0, 0, 0, 1, 1]] * 3), torch.ones(3, 5, dtype=int)
    mask[1, 4] = 0

    def answer(ids, kinds, mask, position):
        hidden = torch.tanh(READER.embedding(ids) + types(kinds)) * mask[..., None]
        return READER.last(hidden)[..., position].max(1).values

    method = attr.LayerIntegratedGradients(answer, READER.embedding)
    types.eval()
    found, delta = method.attribute(
        IDS, 0 * IDS, additional_forward_args=(kinds, mask, 1), return_convergence_delta=True
    )
    start, at = READER.embedding(0 * IDS).detach(), READER.embedding(IDS).detach()
    score = lambda e: READER.last(torch.tanh(e + types(kinds)) * mask[..., None])[..., 1].max(1).values
    close(found, integral(score, at, start, 50))
    close(delta, found.sum((1, 2)) - (score(at) - score(start)), 1e-6)


def test_a_layer_has_one_explanation_and_inputs_in_a_tuple_one_each():
    of_layer = attr.LayerGradCam(CNN, CNN[2]), attr.LayerIntegratedGradients(CNN, CNN[2])
    for method in of_layer:
        found = method.attribute((PICTURES,), target=1)
        assert method.explanation.values.sum() == pytest.approx(float(found.sum()), abs=1e-5)
    method = attr.Saliency(TWO)
    assert method.attribute((X, OTHER), 1, abs=False)[1].shape == method.explanation[1].values.shape
