"""whybox.compat.captum.attr against captum's formulas, written out with torch.autograd: arguments, shapes, numbers; and what is refused. Rows of docs/from_captum.md."""

from itertools import combinations
from math import comb

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn

from networks.small import Formula, cnn, flat, seeded
from whybox.compat.captum import attr
from whybox.errors import InputError, LimitError, OptionError, UnsupportedModelError, WhyboxError

draw = torch.Generator().manual_seed(0)
X, OTHER = (torch.randn(4, n, generator=draw) for n in (6, 2))
BASE = torch.randn(1, 6, generator=draw)
PICTURES = torch.randn(2, 3, 8, 8, generator=draw)
NET, CNN = flat(), cnn()


def as_function(x):
    """The network as a function that is no module."""
    return NET(x)


class Two(nn.Module):
    """Two inputs, a factor, and weights of the rows."""

    def __init__(self):
        super().__init__()
        self.net = NET
        self.eval()

    def forward(self, a, b, scale=1.0, weights=None):
        out = self.net(a) * scale + (b**3).sum(1, keepdim=True)
        return out if weights is None else out * weights


TWO = seeded(Two)


class Reader(nn.Module):
    """Token ids, embedded."""

    def __init__(self):
        super().__init__()
        self.embedding, self.last = nn.Embedding(20, 4), nn.Linear(4, 2)

    def forward(self, ids, mask=None):
        hidden = torch.tanh(self.embedding(ids))
        return self.last((hidden if mask is None else hidden * mask[..., None]).mean(1))


READER = seeded(Reader)
IDS = torch.randint(1, 20, (3, 5), generator=draw)


def close(found, expected, tol=2e-5):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert not found.requires_grad
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=tol)


def gradient(score, x):
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(score(x).sum(), x)[0]


def integral(score, x, start, steps):
    """Equation 1 of Sundararajan et al. 2017 at Gauss-Legendre points."""
    t, w = np.polynomial.legendre.leggauss(steps)
    return (x - start) * sum(
        float(b) / 2 * gradient(score, start + (float(a) + 1) / 2 * (x - start)) for a, b in zip(t, w, strict=True)
    )


def masked(x, base, keep):
    return torch.where(torch.as_tensor(keep), x, base)


def shapley_by_hand(score, x, base, groups):
    """The definition: over all coalitions of the other groups."""
    names = np.unique(groups)
    out = torch.zeros_like(x)
    for g in names:
        others = [o for o in names if o != g]
        total = 0
        for size in range(len(others) + 1):
            for some in combinations(others, size):
                with_it, without = (masked(x, base, np.isin(groups, s)) for s in ([*some, g], [*some]))
                total = total + (score(with_it) - score(without)) / (len(names) * comb(len(others), size))
        out = torch.where(torch.as_tensor(groups == g), total.reshape(-1, *(1,) * (x.ndim - 1)), out)
    return out


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


def ablated(score, x, base):
    return torch.stack(
        [score(x) - score(masked(x, torch.as_tensor(base), np.arange(x.shape[1]) != k)) for k in range(x.shape[1])], 1
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


def test_deeplift_has_rules_for_functions():
    """captum has them for modules alone."""
    found, delta = attr.DeepLift(Formula(lambda x: torch.tanh(x).sum(1))).attribute(
        X, BASE, return_convergence_delta=True
    )
    close(found, torch.tanh(X) - torch.tanh(BASE))
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
    assert "2002 samples" in str(method.explanation[0].evidence.notes)


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


def test_lime_fits_a_line():
    line = Formula(lambda x: x @ torch.arange(6.0))
    method = attr.Lime(line)
    close(method.attribute(X, n_samples=64), X * torch.arange(6.0))
    close(method.attribute(X, n_samples=64, return_input_shape=False), X * torch.arange(6.0))


# what is refused


REFUSALS = {
    "a rule": (lambda: attr.IntegratedGradients(NET).attribute(X, target=1, method="riemann_trapezoid"), "Gauss-Legendre"),
    "not multiplied": (lambda: attr.IntegratedGradients(NET, multiply_by_inputs=False), "divide"),
    "noise of a path": (lambda: attr.NoiseTunnel(attr.IntegratedGradients(NET)), "NoiseTunnel\\(Saliency"),
    "noise of absolutes": (lambda: attr.NoiseTunnel(attr.Saliency(NET)).attribute(X, target=1), "abs=False"),
    "noise of two": (lambda: attr.NoiseTunnel(attr.Saliency(TWO)).attribute((X, OTHER), target=1, abs=False), "noise=0.15"),
    "a kind of noise": (lambda: attr.NoiseTunnel(attr.Saliency(NET)).attribute(X, "smooth", target=1), "smoothgrad"),
    "noisy baselines": (lambda: attr.GradientShap(NET).attribute(X, BASE, stdevs=0.1, target=1), "without noise"),
    "delta of samples": (lambda: attr.GradientShap(NET).attribute(X, BASE, target=1, return_convergence_delta=True), "completeness_error"),
    "own rule": (lambda: attr.DeepLift(NET).attribute(X, target=1, custom_attribution_func=max), "multipliers"),
    "eps": (lambda: attr.DeepLift(NET, eps=1e-3), "threshold"),
    "channels of grad-cam": (lambda: attr.LayerGradCam(CNN, CNN[2]).attribute(PICTURES, 1, attr_dim_summation=False), "conductance"),
    "input of grad-cam": (lambda: attr.LayerGradCam(CNN, CNN[2]).attribute(PICTURES, 1, attribute_to_layer_input=True), "before"),
    "devices": (lambda: attr.LayerActivation(NET, NET[0], device_ids=[0]), "device"),
    "grad_kwargs": (lambda: attr.LayerConductance(NET, NET[0]).attribute(X, target=1, grad_kwargs={"a": 1}), "grad_kwargs"),
    "a linear model": (lambda: attr.Lime(NET, interpretable_model=max), "alpha"),
    "delta later": (lambda: attr.IntegratedGradients(NET).compute_convergence_delta(X, BASE, X), "return_convergence_delta"),
    "a window": (lambda: attr.Occlusion(CNN).attribute(PICTURES, (4, 4), target=1), "channels included"),
    "a list too short": (lambda: attr.Saliency(NET).attribute(X, target=[0, 1]), "4 rows"),
    "half a target": (lambda: attr.Saliency(NET).attribute(X, target=[0, 1.5, 1, 1]), "whole number"),
    "a target of floats": (lambda: attr.Saliency(NET).attribute(X, target=torch.ones(4)), "float32"),
    "tuples of two lengths": (lambda: attr.Saliency(NET).attribute(X, target=[(0,), (0, 1), (1,), (1,)]), "lengths"),
    "places of other axes": (lambda: attr.Saliency(NET).attribute(X, target=[(0, 1)] * 4), "2 numbers a row"),
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
    with pytest.raises(InputError, match="no part of the model"):
        attr.LayerActivation(NET, CNN[0]).attribute(X)
    with pytest.raises(InputError, match="one by one"):
        attr.LayerActivation(NET, [NET[0]]).attribute(X)
    with pytest.raises(InputError, match="must be a tensor"):
        attr.Saliency(NET).attribute(X.numpy(), target=1)
    with pytest.raises(InputError, match="first axis is the rows"):
        attr.Saliency(TWO).attribute((X, OTHER[:2]), target=1)
    with pytest.raises(InputError, match="leave the row out"):
        attr.NoiseTunnel(attr.Saliency(NET)).attribute(0 * X, target=1, abs=False)
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


def test_other_names_are_unknown():
    with pytest.raises(AttributeError, match="Nothing"):
        _ = attr.Nothing
