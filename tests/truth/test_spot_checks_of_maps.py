"""Every map checks itself: faults planted one by one are found with default settings, sound maps raise no alarm, and the evidence says what was recomputed."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest
import torch
from torch import nn

import whybox as wb
from networks import small
from spot_faults import FAULTS, planted
from whybox.errors import OptionError, SpotCheckError, UnsupportedModelError
from whybox.methods.registry import load, methods
from whybox.methods.saliency import spot_checks, spot_gradients

CASES = [(fault, method, options) for fault, of in FAULTS.items() for method, options in of]
SHAPE = (6, 6, 6)  # all axes alike, so that no shape tells which is which


def network(activation=nn.ReLU):
    return small.seeded(
        lambda: nn.Sequential(
            nn.Conv2d(6, 4, 3, padding=1), activation(), nn.Conv2d(4, 4, 3, padding=1), activation(), nn.Flatten(), nn.Linear(144, 3)
        )
    )  # fmt: skip


NET = network()


def explained(method, options, seed=0, net=NET, rows=5, **more):
    given = dict(options, method=method, seed=seed, **more)
    if method == "expected_gradients":
        given["background"] = small.pictures(4, SHAPE, seed=99)
    return wb.saliency(net, small.pictures(rows, SHAPE, seed=seed), 1, **given)


def found(fault, method, options, seed):
    with planted(fault, seed):
        try:
            explained(method, options, seed)
        except (SpotCheckError, UnsupportedModelError):  # the second: what every call compared before
            return True
    return False


def name(case):
    return f"{case[0].__name__}-{case[1]}{''.join(f'-{v}' for v in case[2].values())}"


@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_planted_fault_is_found(case):
    assert found(*case, seed=0)


@pytest.mark.soak
@pytest.mark.parametrize("case", CASES, ids=name)
def test_planted_faults_are_found_in_99_of_100_runs(case):
    assert sum(found(*case, seed) for seed in range(100)) >= 99


EVERY = dict.fromkeys((m, tuple(o.items())) for m, o in sum(map(tuple, FAULTS.values()), ()))


@pytest.mark.parametrize("method", EVERY, ids=lambda m: "-".join(map(str, [m[0], *(v for _, v in m[1])])))
def test_sound_maps_raise_no_alarm(method):
    for seed in range(3):
        e = explained(method[0], dict(method[1]), seed)
        checks = e.evidence.spot_checks
        assert checks.numbers > 0
        assert checks.predictions > 0
        assert checks.difference < 1e-5
        assert ("spot_checks", "Spot checks") in [
            ("spot_checks", label) for label, _ in e.evidence.lines("spot_checks")
        ]


@pytest.mark.soak
def test_thousands_of_sound_maps_raise_no_alarm():
    kinds = [network(), network(nn.GELU), network(nn.Tanh), small.cnn(), small.digits_network()]
    count = 0
    for seed in range(60):
        for k, net in enumerate(kinds):
            shape = (SHAPE, SHAPE, SHAPE, (3, 9, 10))[k] if k < 4 else None
            rows = 1 + seed % 6
            x = small.pictures(rows, shape, seed=seed) if shape else small.digits()[0][7 * seed : 7 * seed + rows]
            for method, options in EVERY:
                if method in ("guided_backprop", "guided_gradcam") and k in (1, 2):  # they know only ReLU
                    continue
                more = {"background": x[::-1] + 0.1} if method == "expected_gradients" else {}
                wb.saliency(net, x, "all" if seed % 3 else None, method=method, seed=seed, **dict(options), **more)
                count += 1
    assert count == 60 * (5 * len(EVERY) - 4)


def test_every_method_has_a_check():
    known = (
        *spot_checks._GRADIENT_METHODS,
        *spot_checks._MASKING_METHODS,
        *spot_checks._CAM_METHODS,
        *spot_checks._RULE_METHODS,
        *spot_checks._LAYER_METHODS,
    )
    assert {load(spec.run) for spec in methods("saliency")} == set(known)


def test_a_layer_that_looks_at_other_rows_is_found():
    """From the third row of a batch on: the second row, which every call compares, shows nothing."""

    def formula(x):
        scores = NET(x)
        return scores + (scores.cumsum(0) - scores) * (scores.new_ones(len(x)).cumsum(0) > 2)[:, None]

    caught = 0
    for seed in range(10):
        try:
            explained("gradient", {}, seed, small.Formula(formula), rows=40)
        except (SpotCheckError, UnsupportedModelError):
            caught += 1
    assert caught >= 7  # one row is drawn: of a run of forty, four are among the first two of a batch


def test_a_gradient_that_is_not_that_of_the_outputs_is_found_by_differences(monkeypatch):
    import torch

    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return g * 1.1

    monkeypatch.setattr("whybox.methods.saliency.problem.check_row", lambda *given: None)  # the check before the map
    net = small.Formula(lambda x: network(nn.Tanh)(Half.apply(x)))
    for seed in range(5):
        with pytest.raises(SpotCheckError, match="differences of the network's outputs"):
            explained("gradient", {}, seed, net=net)


def test_zero_turns_the_checks_off_and_the_evidence_says_so():
    e = explained("gradient", {}, spot_checks=0)
    assert str(e.evidence.spot_checks) == "not checked"
    assert e.evidence.spot_checks.predictions == 0
    assert np.array_equal(e.values, explained("gradient", {}).values)
    with planted(CASES[0][0]):
        explained("gradient", {}, spot_checks=0)
    with pytest.raises(OptionError, match="spot_checks"):
        explained("gradient", {}, spot_checks=-1)


def test_more_passes_check_more_rows():
    few, many = (explained("occlusion", {"window": 3}, rows=8, spot_checks=n).evidence.spot_checks for n in (1, 16))
    assert (few.predictions, many.predictions) == (2, 16)


def test_an_error_names_row_place_and_both_numbers():
    with planted(CASES[0][0]), pytest.raises(SpotCheckError) as error:
        explained("gradient", {})
    where = dict(error.value.where)
    assert {"row", "y", "x"} <= set(where)
    assert error.value.answer == pytest.approx(1.01 * error.value.recomputed, rel=1e-6)


def test_rows_on_kinks_raise_no_alarm():
    """Pictures of zeros lie on every kink of a network without biases."""
    net = small.seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2)
        )
    )
    x = np.zeros((6, 1, 8, 8), dtype=np.float32)
    x[3:, :, 2:5] = 1.0
    for method in ("gradient", "smoothgrad", "integrated_gradients", "gradcam", "deeplift", "guided_backprop"):
        wb.saliency(net, x, "all", method=method)


def test_texts_series_tables_and_several_inputs_are_checked():
    import torch

    table = small.rows(12, 6)
    assert wb.saliency(small.flat(), table, "all").evidence.spot_checks.numbers > 50

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(20, 5), nn.Linear(5, 2)

        def forward(self, ids, mask):
            return self.out((torch.tanh(self.embed(ids)) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))

    ids = np.random.default_rng(0).integers(1, 20, (7, 9))
    mask = (np.arange(9) < np.array([[9], [3], [5], [9], [1], [7], [2]])).astype(np.int64)
    for method in ("gradient", "integrated_gradients", "smoothgrad"):
        e = wb.saliency(small.seeded(Tokens), (ids, mask), 0, method, embedding="embed")
        assert e[0].evidence.spot_checks.numbers > 20
    e = wb.saliency(small.seeded(Tokens), (ids, mask), 0, "occlusion", baseline=(0, None))
    assert e[0].evidence.spot_checks.numbers > 20
    series = small.rows(6, 20, 3)
    net = small.seeded(lambda: nn.Sequential(nn.Conv1d(20, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)))
    assert wb.saliency(net, series, 0, "integrated_gradients").evidence.spot_checks.numbers > 50


@pytest.mark.parametrize("library", ["equinox", "keras"])
def test_other_libraries_are_checked(library):
    x = small.rows(6, 5)
    if library == "keras":
        keras = pytest.importorskip("keras")
        net = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(2)])
    else:
        eqx, jax = pytest.importorskip("equinox"), pytest.importorskip("jax")
        net = eqx.nn.MLP(5, 2, 4, 1, key=jax.random.key(0))
        net = wb.networks.jax(jax.vmap(net))
    for method in ("gradient", "integrated_gradients", "occlusion"):
        assert wb.saliency(net, x, 0, method).evidence.spot_checks.numbers > 20
    with planted(CASES[0][0]), pytest.raises(SpotCheckError):
        wb.saliency(net, np.repeat(x, 8, axis=0), 0)


def test_networks_in_sixteen_bits_raise_no_alarm():
    for seed in range(3):
        x = small.pictures(4, SHAPE, seed=seed)
        for method in ("gradient", "smoothgrad", "occlusion", "gradcam"):
            wb.saliency(NET, x, 1, method, seed=seed, dtype="bfloat16")


def test_a_kept_explainer_checks_its_first_call_and_then_a_share_of_its_time():
    from whybox.explainers import Saliency
    from whybox.methods.common.spot_checks import TimeShare

    ticks = iter(range(1000))
    explainer = Saliency(NET)
    explainer._share = TimeShare(lambda: float(next(ticks)))
    x = small.pictures(2, SHAPE)
    checked = [explainer(x).evidence.spot_checks.numbers > 0 for _ in range(100)]
    assert checked[0]
    assert 2 <= sum(checked) <= 8  # four of its six passes are a check's, so about every seventeenth call is checked
    always = Saliency(NET, spot_checks=6)
    assert all(always(x).evidence.spot_checks.numbers > 0 for _ in range(3))


def test_weights_of_the_integral_are_those_of_the_rules():
    from whybox.numerics.adaptive_quadrature import QUADRATURE_LEVELS, QUADRATURE_NODES, interval_weights

    for weights in QUADRATURE_LEVELS:
        nodes = QUADRATURE_NODES[: len(weights)] + 1e-8 * np.cos(np.arange(len(weights)))
        assert np.abs(spot_gradients._quadrature_weights(nodes, None) - weights).max() < 1e-5
    nodes = np.sort(np.random.default_rng(0).random(31))
    assert np.allclose(spot_gradients._quadrature_weights(nodes, None), interval_weights(nodes), atol=1e-15)


@pytest.mark.parametrize(
    "method", ["gradient", "integrated_gradients", "smoothgrad", "vargrad", "occlusion", "deeplift"]
)
def test_networks_in_float64_pass_too(method):
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).double().eval()
    e = wb.saliency(net, np.random.default_rng(1).normal(size=(4, 6)), 0, method)
    assert e.evidence.spot_checks.numbers > 0
