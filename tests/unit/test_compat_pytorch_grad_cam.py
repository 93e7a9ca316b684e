"""whybox.compat.pytorch_grad_cam against the formulas of its methods, written out with torch; and what is refused. Rows of docs/from_pytorch_grad_cam.md."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn
from torch.nn.functional import interpolate

from captum_formulas import PICTURES
from networks.small import cnn, pictures, seeded
from whybox.compat import pytorch_grad_cam
from whybox.compat.pytorch_grad_cam import GradCAM, GradCAMPlusPlus, GuidedBackpropReLUModel, LayerCAM, ScoreCAM
from whybox.compat.pytorch_grad_cam.metrics import cam_mult_image, road
from whybox.compat.pytorch_grad_cam.utils import model_targets
from whybox.compat.pytorch_grad_cam.utils.image import deprocess_image, preprocess_image, show_cam_on_image
from whybox.compat.pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from whybox.errors import InputError, OptionError, UnsupportedModelError

NET = cnn()
AFTER = 4  # layers of NET up to the second ReLU


def scaled(maps):
    """Each map from 0 to 1."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low + 1e-7)


def layer_and_slopes(net, after, x, score):
    layer = net[:after](x).detach().requires_grad_()
    return layer.detach(), torch.autograd.grad(score(net[after:](layer)).sum(), layer)[0]


def on_input(cam, x):
    """As pytorch_grad_cam draws a map of a layer: cut at 0, scaled, interpolated, scaled."""
    return scaled(interpolate(scaled(cam.relu())[:, None], x.shape[2:], mode="bilinear")[:, 0])


def by_hand(name, net, after, x, score):
    a, g = layer_and_slopes(net, after, x, score)
    if name == "GradCAM":
        cam = (g.mean((2, 3), keepdim=True) * a).sum(1)
    elif name == "LayerCAM":
        cam = (g.relu() * a).sum(1)
    elif name == "GradCAMPlusPlus":
        alpha = g**2 / (2 * g**2 + a.sum((2, 3), keepdim=True) * g**3 + 1e-12)
        cam = ((g.relu() * alpha).sum((2, 3), keepdim=True) * a).sum(1)
    else:
        masks = scaled(interpolate(a, x.shape[2:], mode="bilinear"))
        scores = torch.stack([score(net(x * masks[:, k : k + 1])) for k in range(a.shape[1])], 1).detach()
        scores[a.amax((2, 3)) == a.amin((2, 3))] = -torch.inf
        cam = (torch.softmax(scores, 1)[..., None, None] * a).sum(1)
    return on_input(cam, x)


@pytest.mark.parametrize("method", [GradCAM, GradCAMPlusPlus, LayerCAM, ScoreCAM])
def test_maps_are_those_of_the_formulas(method):
    with method(model=NET, target_layers=[NET[AFTER - 1]]) as cam:
        found = cam(input_tensor=PICTURES, targets=[ClassifierOutputTarget(1), ClassifierOutputTarget(2)])
    assert found.shape == (2, 8, 8)
    assert found.dtype == np.float32
    assert found.min() == 0
    expected = by_hand(method.__name__, NET, AFTER, PICTURES, lambda out: out[[0, 1], [1, 2]])
    assert np.abs(found - expected.numpy()).max() < 1e-5
    assert torch.equal(cam.outputs, NET(PICTURES))
    assert cam.explanation[0].values.shape == (2, 6, 6)


def test_without_targets_the_largest_output_is_explained():
    largest = NET(PICTURES).argmax(1)
    found = GradCAM(NET, [NET[3]])(PICTURES)
    named = GradCAM(NET, [NET[3]])(PICTURES, [ClassifierOutputTarget(int(k)) for k in largest])
    assert np.array_equal(found, named)


def test_maps_of_several_layers_are_averaged():
    found = GradCAM(NET, [NET[1], NET[3]])(PICTURES, [ClassifierOutputTarget(0)] * 2)
    score = lambda out: out[:, 0]
    each = []
    for after in (2, 4):
        a, g = layer_and_slopes(NET, after, PICTURES, score)
        cam = scaled((g.mean((2, 3), keepdim=True) * a).sum(1).relu())
        each.append(interpolate(cam[:, None], (8, 8), mode="bilinear")[:, 0])
    assert np.abs(found - scaled(torch.stack(each).mean(0)).numpy()).max() < 1e-5


def test_smoothing_by_mirror_images_and_light():
    cam = GradCAM(NET, [NET[3]])
    targets = [ClassifierOutputTarget(1)] * 2
    each = [cam(PICTURES * f, targets) for f in (0.9, 1, 1.1)]
    each += [cam((PICTURES * f).flip(-1), targets)[..., ::-1] for f in (0.9, 1, 1.1)]
    found = cam(PICTURES, targets, aug_smooth=True)
    assert np.allclose(found, np.mean(each, axis=0), atol=1e-6)
    assert len(cam.explanation) == 6


TARGETS = {
    "softmax": (model_targets.ClassifierOutputSoftmaxTarget(1), lambda out: out.softmax(1)[:, 1]),
    "both": (model_targets.ClassifierOutputReST(2), lambda out: out[:, 2] + out.log_softmax(1)[:, 2]),
    "a function": (lambda out: out[0] - out[2], lambda out: out[:, 0] - out[:, 2]),
}


@pytest.mark.parametrize("name", TARGETS)
def test_targets_are_functions_of_one_rows_output(name):
    target, score = TARGETS[name]
    found = GradCAM(NET, [NET[3]])(PICTURES, [target, target])
    assert np.abs(found - by_hand("GradCAM", NET, AFTER, PICTURES, score).numpy()).max() < 1e-5
    mixed = GradCAM(NET, [NET[3]])(PICTURES, [ClassifierOutputTarget(1), target])
    assert np.abs(mixed[1] - found[1]).max() < 1e-6


def test_targets_of_one_output():
    one = seeded(lambda: nn.Sequential(*NET[:-1], nn.Linear(5, 1)))
    raw, up, down = (
        GradCAM(one, [one[3]])(PICTURES, [t] * 2)
        for t in (
            model_targets.RawScoresOutputTarget(),
            model_targets.BinaryClassifierOutputTarget(1),
            model_targets.BinaryClassifierOutputTarget(0),
        )
    )
    assert np.array_equal(raw, up)
    assert np.abs(down - by_hand("GradCAM", one, AFTER, PICTURES, lambda out: -out[:, 0]).numpy()).max() < 1e-5


def test_the_target_of_a_segmentation():
    net = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)))
    mask = np.zeros((8, 8), dtype=np.float32)
    mask[2:5, 2:5] = 1
    target = model_targets.SemanticSegmentationTarget(1, mask)
    found = GradCAM(net, [net[1]])(PICTURES, [target, target])
    expected = by_hand("GradCAM", net, 2, PICTURES, lambda out: (out[:, 1] * torch.tensor(mask)).sum((1, 2)))
    assert np.abs(found - expected.numpy()).max() < 1e-5


def test_tokens_are_brought_onto_a_grid():
    """As for vision transformers: (rows, tokens, channels) with a class token before."""

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.cut, self.mix, self.last = nn.Conv2d(3, 6, 2, 2), nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x):
            patches = self.cut(x).flatten(2).transpose(1, 2)
            tokens = torch.cat([patches.mean(1, keepdim=True), patches], 1)
            return self.last(torch.tanh(self.mix(tokens)).mean(1))

    net = seeded(Tokens)

    def reshape_transform(tensor, height=4, width=4):
        result = tensor[:, 1:, :].reshape(tensor.size(0), height, width, tensor.size(2))
        return result.transpose(2, 3).transpose(1, 2)

    found = GradCAM(net, [net.mix], reshape_transform=reshape_transform)(PICTURES, [ClassifierOutputTarget(1)] * 2)
    patches = net.cut(PICTURES).flatten(2).transpose(1, 2)
    a = net.mix(torch.cat([patches.mean(1, keepdim=True), patches], 1)).detach().requires_grad_()
    g = torch.autograd.grad(net.last(torch.tanh(a).mean(1))[:, 1].sum(), a)[0]
    a, g = reshape_transform(a.detach()), reshape_transform(g)
    expected = on_input((g.mean((2, 3), keepdim=True) * a).sum(1), PICTURES)
    assert np.abs(found - expected.numpy()).max() < 1e-5


def test_volumes_and_the_mode_of_the_network():
    net = nn.Sequential(nn.Conv3d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(2, 2)).train()
    x = torch.tensor(pictures(1, (1, 5, 6, 7)))
    cam = GradCAM(model=net, target_layers=[net[0]])
    assert not net.training  # as in pytorch_grad_cam
    assert cam(x).shape == (1, 5, 6, 7)
    assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in net.modules())


def test_grad_cam_plus_plus_is_refused_where_it_divides_by_nothing():
    net = seeded(lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 2)))
    with pytest.raises(UnsupportedModelError, match="after a ReLU"):
        GradCAMPlusPlus(net, [net[0]])(50 * PICTURES, [ClassifierOutputTarget(0)] * 2)


def test_guided_backpropagation_of_one_picture():
    from whybox.compat.captum.attr import GuidedBackprop

    model = GuidedBackpropReLUModel(model=NET, device="cpu")
    found = model(PICTURES, target_category=1)
    expected = GuidedBackprop(NET).attribute(PICTURES[:1], target=1)[0].permute(1, 2, 0)
    assert np.allclose(found, expected.numpy(), atol=1e-6)
    assert found.dtype == np.float32
    ready = deprocess_image(found)
    assert ready.dtype == np.uint8
    assert 120 < ready.mean() < 135


def test_a_map_over_its_picture():
    from matplotlib import colormaps

    picture = np.full((4, 5, 3), 0.25, dtype=np.float32)
    mask = np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5)
    shown = show_cam_on_image(picture, mask, use_rgb=True)
    assert shown.shape == (4, 5, 3)
    assert shown.dtype == np.uint8
    assert shown.max() == 255
    both = (colormaps["jet"](np.uint8(255 * mask))[..., :3] + 0.25) / 2
    assert np.abs(shown - 255 * both / both.max()).max() < 1
    assert np.array_equal(show_cam_on_image(picture, mask), shown[..., ::-1])
    assert np.abs(show_cam_on_image(picture, mask, image_weight=1.0) / 255.0 - 1).max() == 0
    other = show_cam_on_image(picture, mask, use_rgb=True, colormap="viridis")
    assert not np.array_equal(other, shown)
    for call, kind in (
        (lambda: show_cam_on_image(255 * picture, mask), InputError),
        (lambda: show_cam_on_image(picture, 300 * mask), InputError),
        (lambda: show_cam_on_image(picture, mask - 0.5), InputError),
        (lambda: show_cam_on_image(picture, mask, image_weight=2), OptionError),
        (lambda: show_cam_on_image(picture, mask, colormap=11), OptionError),
    ):
        with pytest.raises(kind):
            call()


def test_pictures_before_a_network():
    whole = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    ready = preprocess_image(whole, mean=[0.1, 0.2, 0.3], std=[1, 2, 4])
    assert ready.shape == (1, 3, 2, 4)
    assert ready.dtype == torch.float32
    assert torch.allclose(ready[0, 1], (torch.tensor(whole[..., 1] / 255.0) - 0.2).float() / 2)
    assert torch.allclose(preprocess_image(np.float32(whole) / 255, mean=[0.1, 0.2, 0.3], std=[1, 2, 4]), ready)


REFUSALS = {
    "eigen": (lambda: GradCAM(NET, [NET[3]])(PICTURES, eigen_smooth=True), "eigen_smooth=True"),
    "few targets": (lambda: GradCAM(NET, [NET[3]])(PICTURES, [ClassifierOutputTarget(1)]), "2 rows"),
    "no rows": (lambda: GradCAM(NET, [NET[3]])(PICTURES[:0]), "nothing to explain"),
    "no rows and no targets": (lambda: GradCAM(NET, [NET[3]])(PICTURES[:0], []), "nothing to explain"),
    "no picture": (lambda: GradCAM(NET, [NET[3]])(PICTURES[0]), "rows, channels, y, x"),
    "another layer": (lambda: GradCAM(NET, [cnn()[3]]), "no part of the model"),
    "no layers": (lambda: GradCAM(NET, NET[3]), "list"),
    "cuda": (lambda: GradCAM(NET, [NET[3]], use_cuda=True), "use_cuda"),
    "device": (lambda: GuidedBackpropReLUModel(NET, device="meta"), "device='meta'"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_not_honoured_raises_and_says_what_to_call(name):
    call, words = REFUSALS[name]
    with pytest.raises((OptionError, InputError), match=words):
        call()


@pytest.mark.parametrize("name", pytorch_grad_cam.REFUSED)
def test_names_that_are_not_honoured_are_refused_by_name(name):
    with pytest.raises(OptionError, match=name):
        getattr(pytorch_grad_cam, name)(model=NET, target_layers=[NET[3]])


@pytest.mark.parametrize("module", [road, cam_mult_image])
def test_metrics_are_refused_by_name(module):
    for name in module.REFUSED:
        with pytest.raises(OptionError, match=rf"{name}.*wb.check"):
            getattr(module, name)()


@pytest.mark.parametrize("module", [pytorch_grad_cam, road, cam_mult_image])
def test_other_names_are_unknown(module):
    with pytest.raises(AttributeError, match="Nothing"):
        _ = module.Nothing
