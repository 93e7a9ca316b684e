"""Plain functions of arrays in wb.saliency: the methods that need outputs alone take them, the others refuse them by name."""

import functools
import pickle

import numpy as np
import pytest

import whybox as wb
from networks.small import pooled_cnn, rows
from whybox.adapters.function import CALL_BYTES
from whybox.errors import DtypeError, InputError, OptionError, SpotCheckError, UnsupportedModelError, WhyboxError
from whybox.methods.registry import methods

torch = pytest.importorskip("torch")

TAKEN = {
    "occlusion": {"window": 3},
    "ablation": {"patches": 2},
    "rise": {"samples": 60},
    "shapley": {"patches": 2},
    "lime": {"patches": (3, 4), "samples": 90},
}
NET = pooled_cnn(2)


def classifier(pictures):
    with torch.no_grad():
        return NET(torch.from_numpy(pictures)).softmax(1).numpy()


def scaled(pictures, scale=1.0):
    return classifier((scale * pictures).astype("float32"))


def pictures(count=4):
    return rows(count, 2, 8, 9)


@pytest.mark.parametrize("method", TAKEN)
def test_a_function_gives_the_maps_of_the_network_in_it(method):
    x = pictures()
    network = torch.nn.Sequential(NET, torch.nn.Softmax(1)).eval()
    found = wb.saliency(classifier, x, None, method, **TAKEN[method])
    want = wb.saliency(network, x, None, method, **TAKEN[method])
    np.testing.assert_allclose(found.values, want.values, atol=1e-6)
    assert found.dims == want.dims == ("row", "y", "x")
    assert found.evidence.spot_checks.numbers > 0
    assert found.evidence.passes["backward"] == 0
    assert found.evidence.model == "classifier (function)"
    again = wb.saliency(classifier, x, None, method, **TAKEN[method])
    np.testing.assert_array_equal(again.values, found.values)
    alone = wb.saliency(classifier, x[1:2], None, method, **TAKEN[method])
    np.testing.assert_allclose(alone.values[0], found.values[1], atol=1e-6)


@pytest.mark.parametrize("method", [spec.id for spec in methods("saliency") if "predict" not in spec.needs])
def test_methods_that_need_more_than_outputs_refuse_it_by_name(method):
    calls = []
    more = {"background": pictures()} if method == "expected_gradients" else {}
    with pytest.raises(UnsupportedModelError) as error:
        wb.saliency(calls.append, pictures(), None, method, **more)
    message = str(error.value)
    assert f"method='{method}' needs " in message
    assert all(repr(name) in message for name in TAKEN)
    assert "whybox.networks.jax(function, params)" in message
    assert not calls


def test_every_method_of_outputs_is_tested_here():
    assert set(TAKEN) == {spec.id for spec in methods("saliency") if "predict" in spec.needs}


def test_partial_functions_and_callable_objects():
    class Model:
        def __call__(self, x):
            return classifier(x)

    x = pictures(2)
    want = wb.saliency(classifier, x, 1, "ablation", patches=2)
    for function in (functools.partial(scaled, scale=1.0), Model(), Model().__call__, lambda p: classifier(p).tolist()):
        np.testing.assert_allclose(wb.saliency(function, x, 1, "ablation", patches=2).values, want.values, atol=1e-6)
    assert wb.saliency(functools.partial(scaled), x, 1, "ablation").evidence.model == "scaled (function)"


def test_a_predict_method_knows_the_names_of_its_outputs():
    linear = pytest.importorskip("sklearn.linear_model")
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 6))
    model = linear.LogisticRegression().fit(x, np.array(["cat", "dog", "emu"])[x[:, :3].argmax(axis=1)])
    e = wb.saliency(model.predict_proba, x[:3], "dog", "shapley")
    assert e.coords["output"].tolist() == ["dog"]
    assert e.evidence.model.startswith("LogisticRegression.predict_proba (LogisticRegression (sklearn ")
    assert "scikit-learn" in e.evidence.versions or "sklearn" in e.evidence.versions or "numpy" in e.evidence.versions
    predicted = wb.saliency(model.predict_proba, x[:3], None, "shapley")
    assert predicted.extras["target_name"][1].tolist() == model.predict(x[:3]).tolist()
    with pytest.raises(UnsupportedModelError, match=r"LogisticRegression.predict gives class labels.*predict_proba"):
        wb.saliency(model.predict, x[:3], None, "shapley")
    named = wb.saliency(model.predict_proba, x[:3], "b", "ablation", output_names=["a", "b", "c"])
    np.testing.assert_array_equal(named.values, wb.saliency(model.predict_proba, x[:3], "dog", "ablation").values)
    with pytest.raises(UnsupportedModelError, match=r"functions of arrays; it got sklearn.*wb.explain"):
        wb.saliency(model, x[:3], None, "shapley")


def test_arrays_go_in_as_they_are_and_may_be_written_to():
    seen = []

    def writes(x):
        seen.append((type(x), x.dtype, len(x), x.flags.c_contiguous))
        x *= 2
        return x.reshape(len(x), -1).sum(axis=1)

    x = np.asfortranarray(np.random.default_rng(0).normal(size=(5, 6, 4)))
    kept = x.copy()
    e = wb.saliency(writes, x, None, "ablation", patches=2)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_allclose(e.values.sum(axis=(1, 2)), 2 * kept.sum(axis=(1, 2)))
    assert {s[:2] for s in seen} == {(np.ndarray, np.dtype("float64"))}
    assert all(s[3] for s in seen)
    assert "output" not in e.dims


def test_calls_are_bounded_by_bytes_by_the_budget_and_by_the_batches_of_a_remote_model():
    lengths = []

    def counted(x):
        lengths.append(len(x))
        return x.reshape(len(x), -1).mean(axis=1)

    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    wb.saliency(counted, x, None, "occlusion")
    assert max(lengths) == min(CALL_BYTES // x.nbytes, 225)  # of 225 windows
    lengths.clear()
    wb.saliency(counted, x, None, "occlusion", budget=20 * 4 * x.nbytes)
    assert 10 < max(lengths) <= 20
    for one in (x, x.reshape(1, -1)[:, :40]):
        lengths.clear()
        e = wb.saliency(wb.RemoteModel(counted, batch_size=7), one, None, "ablation")
        assert max(lengths) == 7
        np.testing.assert_allclose(e.values, wb.saliency(counted, one, None, "ablation").values)


def test_channels_are_found_by_size_or_asked_for():
    mean = lambda x: x.reshape(len(x), -1).mean(axis=1)
    for shape, dims in (((2, 3, 8, 9), ("row", "y", "x")), ((2, 8, 9, 1), ("row", "y", "x"))):
        e = wb.saliency(mean, np.ones(shape, "float32"), None, "ablation")
        assert e.dims == dims
        assert e.shape == (2, 8, 9)
    for shape in ((2, 3, 8, 4), (2, 8, 9, 16)):
        with pytest.raises(OptionError, match=r"does not say which axis holds the channels: give channel_axis=1"):
            wb.saliency(mean, np.ones(shape, "float32"), None, "ablation")
        assert wb.saliency(mean, np.ones(shape, "float32"), None, "ablation", channel_axis=-1).shape == (2, *shape[1:3])


def test_several_inputs_by_place_and_by_name():
    def both(picture, age):
        return picture.sum(axis=(1, 2)) * age[:, 0]

    x, age = rows(3, 4, 4), rows(3, 2)
    by_place = wb.saliency(both, (x, age), None, "ablation", patches=2)
    by_name = wb.saliency(both, {"age": age, "picture": x}, None, "ablation", patches=2)
    np.testing.assert_array_equal(by_place[0].values, by_name[1].values)
    np.testing.assert_array_equal(by_place[1].values[:, 1], 0)


def test_a_function_of_the_outputs_is_a_target():
    x = pictures(2)
    e = wb.saliency(classifier, x, lambda p: np.log(p[:, 0]) - np.log(p[:, 1]), "ablation", patches=2)
    network = lambda outputs: outputs[:, 0] - outputs[:, 1]
    np.testing.assert_allclose(e.values, wb.saliency(NET, x, network, "ablation", patches=2).values, atol=1e-5)


def drifts():
    calls = iter(range(10_000))
    return lambda x: x.sum(axis=(1, 2, 3)) + max(next(calls) - 2, 0)


def late_shape():
    calls = iter(range(10_000))
    return lambda x: np.ones((len(x), 2 if next(calls) < 3 else 3))


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda x: x.sum(axis=(1, 2, 3)) + x.mean(), UnsupportedModelError, "changes with the other rows in its batch"),
        (lambda x: np.random.default_rng().random((len(x), 2)), UnsupportedModelError, "function's outputs change when the same rows are evaluated again"),
        (drifts(), WhyboxError, "changes with the other rows|recomputed"),
        (lambda x: x.sum(axis=(1, 2, 3)).squeeze(), InputError, r"shape \(\) for 1 row; .* also for a single row"),
        (lambda x: x, InputError, "must return one number a row"),
        (lambda x: np.ones((len(x), 3 if len(x) > 1 else 2)), InputError, "must return as many numbers for each row"),
        (late_shape(), InputError, "must return as many numbers for each row"),
        (lambda x: ["cat"] * len(x), DtypeError, "not numbers; return one number a row"),
        (lambda x: np.log(x.sum(axis=(1, 2, 3)) * 0), UnsupportedModelError, "the function's outputs for some rows are NaN or infinite"),
        (lambda x: np.where(x[:, 0, 0, 0] == 0, np.nan, 1.0), UnsupportedModelError, "the function's outputs are NaN or infinite for a row whose masked positions hold 0"),
        (lambda x: x + "a", InputError, "the function does not take these inputs .* is called with NumPy arrays"),
        (lambda x: 1j * x.sum(axis=(1, 2, 3)), UnsupportedModelError, "function's outputs are complex"),
    ],
)  # fmt: skip
def test_functions_that_have_no_map_are_refused(function, error, message):
    with pytest.raises(error, match=message):
        wb.saliency(function, pictures(), None, "ablation", patches=2)


def test_an_answer_that_depends_on_later_rows_of_a_batch_is_found_by_the_spot_checks():
    def ranks(x):  # the first two rows of a batch are right
        return x.sum(axis=(1, 2, 3)) + np.maximum(np.arange(len(x)) - 1, 0)

    with pytest.raises(SpotCheckError):
        wb.saliency(ranks, pictures(8), None, "ablation", patches=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"output": 1}, "answers with one thing"), ({"dtype": "bfloat16"}, "leave dtype"), ({"embedding": "a"}, "embedding='a'")],
)  # fmt: skip
def test_options_of_networks_are_refused(options, message):
    with pytest.raises(WhyboxError, match=message):
        wb.saliency(classifier, pictures(), None, "ablation", **options)


def test_results_are_pickled_saved_planned_and_kept(tmp_path):
    x = pictures()
    e = wb.saliency(classifier, x, None, "lime", patches=2)
    e.save(tmp_path / "map.whybox")
    for other in (pickle.loads(pickle.dumps(e)), wb.load(tmp_path / "map.whybox")):
        np.testing.assert_array_equal(other.values, e.values)
        np.testing.assert_array_equal(other.extras["r_squared"][1], e.extras["r_squared"][1])
    plan = wb.plan(wb.saliency, classifier, x, None, "lime", patches=2)
    assert plan.model_calls == pytest.approx(e.evidence.passes["forward"], abs=8)
    kept = wb.explainers.Saliency(classifier, "lime", patches=2)
    np.testing.assert_array_equal(kept(x).values, e.values)


def test_checks_of_a_function_say_what_cannot_be_tested():
    x = pictures(6)
    e = wb.saliency(classifier, x, None, "lime", patches=(2, 3))
    checks = wb.check(e, classifier, x)
    verdicts = {line.name: line for line in checks.rows}
    assert verdicts["reproduced"].verdict == "pass"
    for name in ("randomised parameters: all layers", "randomised parameters: top layer"):
        assert verdicts[name].verdict == "not applicable"
        assert "no parameters in reach" in verdicts[name].reason
    assert verdicts["deletion, zero"].verdict in ("pass", "cannot tell")
    assert "the network is in eval mode" not in verdicts["eval mode"].reason
    other = wb.check(e, functools.partial(classifier), x, checks="numerical")
    assert other.passed
    with pytest.raises(InputError, match="made from another network"):
        wb.check(e, scaled, x)

    def changed(p):
        return classifier(0.5 * p)

    changed.__name__ = "classifier"
    assert wb.check(e, changed, x, checks="numerical").verdict == "fail"
