"""The same weights in torch, equinox, flax, plain JAX and Keras: the same maps, and every library left as it was found."""

import os
from functools import cache

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest
import torch

import whybox as wb
from whybox.errors import DtypeError, OptionError, UnsupportedModelError
from whybox.models.registry import as_network

rng = np.random.default_rng(0)
W1 = (rng.normal(size=(8, 3, 3, 3)) * 0.3).astype(np.float32)
B1 = (rng.normal(size=8) * 0.1).astype(np.float32)
W2 = (rng.normal(size=(5, 288)) * 0.1).astype(np.float32)
B2 = rng.normal(size=5).astype(np.float32)
X = rng.normal(size=(7, 3, 8, 8)).astype(np.float32)
LAST = np.ascontiguousarray(X.transpose(0, 2, 3, 1))


class Torch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.drop, self.fc = torch.nn.Conv2d(3, 8, 3), torch.nn.Dropout(0.5), torch.nn.Linear(288, 5)
        with torch.no_grad():
            for p, w in zip(self.parameters(), (W1, B1, W2, B2), strict=True):
                p.copy_(torch.tensor(w))

    def forward(self, x):
        return self.fc(self.drop(torch.nn.functional.gelu(self.conv(x), approximate="tanh")).flatten(1))


def torch_net():
    return Torch().eval()


def equinox_net(*, train=False):
    jax, eqx = pytest.importorskip("jax"), pytest.importorskip("equinox")

    class Net(eqx.Module):
        conv: eqx.nn.Conv2d
        drop: eqx.nn.Dropout
        fc: eqx.nn.Linear

        def __init__(self):
            key = jax.random.key(0)
            self.conv, self.drop = eqx.nn.Conv2d(3, 8, 3, key=key), eqx.nn.Dropout(0.5)
            self.fc = eqx.nn.Linear(288, 5, key=key)

        def __call__(self, x):
            return self.fc(self.drop(jax.nn.gelu(self.conv(x))).ravel())

    arrays = [jax.numpy.asarray(a) for a in (W1, B1[:, None, None], W2, B2)]
    net = eqx.tree_at(lambda m: (m.conv.weight, m.conv.bias, m.fc.weight, m.fc.bias), Net(), arrays)
    return net if train else eqx.nn.inference_mode(net)


def plain(params, x):
    import jax

    h = jax.lax.conv_general_dilated(x, params["conv"]["w"], (1, 1), "VALID") + params["conv"]["b"][:, None, None]
    return jax.nn.gelu(h).reshape(len(x), -1) @ params["fc"]["w"].T + params["fc"]["b"]


PARAMS = {"conv": {"w": W1, "b": B1}, "fc": {"w": W2, "b": B2}}


def jax_net():
    pytest.importorskip("jax")
    return wb.networks.jax(plain, PARAMS, channels="first")


def keras_net():
    keras = pytest.importorskip("keras")

    @keras.saving.register_keras_serializable("whybox tests")
    def tanh_gelu(x):
        return keras.ops.gelu(x, approximate=True)

    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, name="conv", activation=tanh_gelu),
            layers.Permute((3, 1, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(5, name="fc"),
        ]
    )
    net.get_layer("conv").set_weights([W1.transpose(2, 3, 1, 0), B1])
    net.get_layer("fc").set_weights([W2.T, B2])
    return net


def flax_net(*, train=False):
    nnx = pytest.importorskip("flax.nnx")
    import jax

    class Net(nnx.Module):
        def __init__(self):
            r = nnx.Rngs(0)
            self.conv, self.drop = nnx.Conv(3, 8, (3, 3), padding="VALID", rngs=r), nnx.Dropout(0.5, rngs=r)
            self.fc = nnx.Linear(288, 5, rngs=r)

        def __call__(self, x):
            return self.fc(self.drop(jax.nn.gelu(self.conv(x))).transpose(0, 3, 1, 2).reshape(len(x), -1))

    net = Net()
    net.conv.kernel[...], net.conv.bias[...] = W1.transpose(2, 3, 1, 0), B1
    net.fc.kernel[...], net.fc.bias[...] = W2.T, B2
    if not train:
        net.eval()
    return net


NETS = {
    "equinox": (equinox_net, X),
    "jax": (jax_net, X),
    "keras": (keras_net, LAST),
    "flax": (flax_net, LAST),
}


@cache
def built(name):
    """One network of each library, compiled once."""
    return NETS[name][0]()


@pytest.fixture(scope="module", params=NETS)
def other(request):
    return built(request.param), NETS[request.param][1]


def test_gradients_and_smoothgrad_agree_between_libraries(other):
    net, x = other
    ours = wb.saliency(torch_net(), X)
    theirs = wb.saliency(net, x)
    assert theirs.dims == ours.dims == ("row", "y", "x")
    assert np.abs(ours.values - theirs.values).max() < 1e-6
    assert np.abs(ours.prediction - theirs.prediction).max() < 1e-5
    assert theirs.evidence.passes["forward"] == 8 + 4  # two differences, at two of the rows
    assert theirs.evidence.passes["backward"] == 7
    every = wb.saliency(net, x, "all", reduce="sum")
    assert np.abs(every.values - wb.saliency(torch_net(), X, "all", reduce="sum").values).max() < 1e-6


def test_smoothgrad_agrees_where_the_noise_is_the_same():
    """Noise is drawn in the shape of the input, so it is the same where channels stand alike."""
    options = dict(target=2, method="smoothgrad", samples=6)
    ours = wb.saliency(torch_net(), X, **options)
    for name in ("equinox", "jax"):
        theirs = wb.saliency(built(name), X, **options)
        assert np.abs(ours.values - theirs.values).max() < 1e-6
        assert np.abs(ours.std_error - theirs.std_error).max() < 1e-5  # a difference of squares
    flat = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    keras = pytest.importorskip("keras")
    dense = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(2)])
    twin = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).eval()
    for layer, own in zip(dense.layers, (twin[0], twin[2]), strict=True):
        layer.set_weights([own.weight.detach().numpy().T, own.bias.detach().numpy()])
    a, b = (wb.saliency(n, flat, 1, method="smoothgrad", samples=6).values for n in (twin, dense))
    assert np.abs(a - b).max() < 1e-6


def test_channels_are_kept_where_they_are(other):
    net, x = other
    whole = wb.saliency(net, x, 0, reduce=None)
    assert whole.values.shape == x.shape
    assert whole.dims == (("row", "channel", "y", "x") if x is X else ("row", "y", "x", "channel"))
    reference = wb.saliency(torch_net(), X, 0, reduce=None).values
    assert np.abs(whole.values - (reference if x is X else reference.transpose(0, 2, 3, 1))).max() < 1e-6


def test_fingerprints_are_stable_and_tell_weights_apart(other):
    net, x = other
    wrapped = as_network(net)
    assert wrapped.fingerprint == as_network(net).fingerprint
    drawn = wrapped.with_random_parameters(3)
    assert drawn.fingerprint != wrapped.fingerprint
    assert (
        drawn.fingerprint
        == wrapped.with_random_parameters(3).fingerprint
        != wrapped.with_random_parameters(4).fingerprint
    )
    one = wrapped.with_random_parameters(3, "fc")
    assert len({one.fingerprint, drawn.fingerprint, wrapped.fingerprint}) == 3
    xs = (wrapped.array(x),)
    before = wrapped.numpy(wrapped.forward(xs))
    assert np.abs(wrapped.numpy(drawn.forward(xs)) - before).max() > 1e-3
    assert np.array_equal(wrapped.numpy(wrapped.forward(xs)), before)


def test_a_probe_counts_what_a_row_keeps(other):
    net, x = other
    wrapped = as_network(net)
    few, many = (wrapped.forward_and_memory((wrapped.array(x[:n]),))[1] for n in (2, 6))
    assert few >= 2 * 8 * 36 * 4  # what gelu must remember
    assert 2 < many / few < 4


def test_memory_bounds_the_batch_and_changes_nothing(other):
    net, x = other
    small = wb.saliency(net, x, 0, budget=10_000)
    assert small.evidence.passes["rows together"] < 7
    assert np.abs(small.values - wb.saliency(net, x, 0).values).max() < 1e-6


def test_layers_can_be_tapped_and_entered(other):
    net, x = other
    if x is X and hasattr(net, "run") and net.kind.endswith("(JAX function)"):
        with pytest.raises(UnsupportedModelError, match="plain JAX function"):
            net.tap_layer((net.array(x),), "conv")
        return
    wrapped, reference = as_network(net), as_network(torch_net())
    xs = (wrapped.array(x),)
    assert "conv" in dict(wrapped.layers(xs))
    cotangent = np.eye(5, dtype=np.float32)[np.arange(7) % 5]
    tapped, theirs = wrapped.tap_layer(xs, "fc"), reference.tap_layer((reference.array(X),), "fc")
    assert np.abs(wrapped.numpy(tapped.activation) - reference.numpy(theirs.activation)).max() < 1e-5
    tapped = wrapped.tap_layer(xs, "conv")
    down = wrapped.numpy(tapped.pullback(wrapped.array(cotangent)))
    known = reference.tap_layer((reference.array(X),), "conv")
    known = reference.numpy(known.pullback(reference.array(cotangent)))
    flip = known.transpose(0, 2, 3, 1) if wrapped.channels == "last" else known
    if "keras" in wrapped.kind:  # the activation belongs to the layer there: what it puts out comes after it
        assert down.shape == flip.shape
    else:
        assert np.abs(down - flip).max() < 1e-6
    inner, said = wrapped.split_at_layer("conv", xs)
    outputs, pull = inner((said, *xs))
    assert np.abs(wrapped.numpy(outputs) - wrapped.numpy(wrapped.forward(xs))).max() < 1e-6
    assert np.abs(wrapped.numpy(pull(wrapped.array(cotangent))[0]) - down).max() < 1e-6
    with pytest.raises(OptionError, match="conv"):
        wrapped.tap_layer(xs, "konv")


def test_rows_are_taken_on_a_processor_without_compiling(caplog):
    """JAX would compile several programs for every number of rows."""
    jax = pytest.importorskip("jax")
    net = as_network(built("jax"))
    x = net.array(X)
    with jax.log_compiles():
        taken = [net.take(x, np.array(rows)) for rows in ([3], [6, 0, 0, 1, 5], range(7))]
    assert not caplog.messages
    for a, rows in zip(taken, ([3], [6, 0, 0, 1, 5], range(7)), strict=True):
        assert isinstance(a, jax.Array)
        assert a.devices() == x.devices()
        assert np.array_equal(a, X[list(rows)])


def test_train_mode_is_refused_by_name():
    with pytest.raises(UnsupportedModelError, match=r"train mode \('drop'\).*inference_mode"):
        wb.saliency(equinox_net(train=True), X)


def test_train_mode_of_flax_is_refused_by_name():
    with pytest.raises(UnsupportedModelError, match=r"train mode \('drop'\).*eval"):
        wb.saliency(flax_net(train=True), LAST)


def test_keras_never_trains_and_keeps_its_flags():
    net = keras_net()
    flags = [(v.trainable, v.value.detach().numpy().copy()) for v in net.variables]
    grads = [v.value.requires_grad for v in net.variables]
    a, b = wb.saliency(net, LAST), wb.saliency(net, LAST)
    assert np.array_equal(a.values, b.values)
    assert all(
        v.trainable == t and np.array_equal(v.value.detach().numpy(), w)
        for v, (t, w) in zip(net.variables, flags, strict=True)
    )
    assert [v.value.requires_grad for v in net.variables] == grads
    assert "call" not in net.get_layer("conv").__dict__


def test_functions_of_one_row_are_mapped_over_rows():
    pytest.importorskip("jax")

    def one(params, x):
        return plain(params, x[None])[0]

    wrapped = wb.networks.jax(one, PARAMS, batched=False, channels="first")
    assert np.abs(wb.saliency(wrapped, X).values - wb.saliency(torch_net(), X).values).max() < 1e-6
    with pytest.raises((UnsupportedModelError, TypeError, ValueError)):
        wb.saliency(wb.networks.jax(one, PARAMS, channels="first"), X)


def test_target_functions_several_inputs_and_names():
    jax = pytest.importorskip("jax")

    def two(a, b):
        return (a * b[:, :1]).sum(axis=1)

    a, b = np.ones((3, 4), np.float32), np.full((3, 2), 2, np.float32)
    net = wb.networks.jax(two)
    first, second = wb.saliency(net, (a, b))
    assert np.allclose(first.values, 2)
    assert np.allclose(second.values, [4, 0])
    by_name = wb.saliency(net, {"b": b, "a": a})
    assert np.allclose(by_name[0].values, [4, 0])
    squared = wb.saliency(net, (a, b), target=lambda y: y**2)
    assert np.allclose(squared[0].values, 2 * 8 * 2)
    assert wb.networks.jax(jax.jit(two)).accepted_inputs() == ("a", "b")


def test_refusals_of_functions_and_wholes():
    jax = pytest.importorskip("jax")
    with pytest.raises(UnsupportedModelError, match=r"networks\.jax"):
        wb.saliency(lambda x: x, X)
    with pytest.raises(UnsupportedModelError, match=r"networks\.jax"):
        wb.saliency(jax.jit(lambda x: x), X)
    with pytest.raises(OptionError, match="channels"):
        wb.networks.jax(plain, PARAMS, channels="middle")
    with pytest.raises(OptionError, match="neither a function"):
        wb.networks.jax(3)
    with pytest.raises(DtypeError, match="32 bits"):
        wb.networks.jax(plain, PARAMS).array(np.array([2**40]))
    with pytest.raises(UnsupportedModelError, match="first axis must be the rows"):
        wb.saliency(wb.networks.jax(lambda x: x.sum()), X)


def tanh(x):
    import jax.numpy as jnp

    return jnp.tanh(x).sum(axis=1)


def test_gradients_that_jax_stops_are_refused_where_the_answer_depends_on_them():
    """Softmax stops the gradient of its maximum inside, which is right; a network that stops all is not explained by zeros."""
    jax = pytest.importorskip("jax")
    x = np.ones((3, 2), np.float32)
    stopped = wb.networks.jax(lambda x: tanh(jax.lax.stop_gradient(x)))
    with pytest.raises(UnsupportedModelError, match="no derivative reaches the input"):
        wb.saliency(stopped, x)
    with pytest.raises(UnsupportedModelError, match="no derivative reaches input 1"):
        wb.saliency(wb.networks.jax(lambda a, b: tanh(a) + jax.jit(jax.numpy.round)(b).sum(axis=1)), (x, x))
    assert wb.saliency(stopped, x, 0, "ablation").values == pytest.approx(np.full((3, 2), np.tanh(1)), abs=1e-6)
    unused = wb.saliency(wb.networks.jax(lambda a, b: tanh(a)), (x, x))
    assert not unused[1].values.any()
    soft = wb.networks.jax(lambda x: jax.nn.softmax(x, axis=1))
    assert wb.saliency(soft, x, 0, reduce=None).values[0] == pytest.approx([0.25, -0.25])


def test_what_jax_cannot_compile_or_go_back_through_is_refused_by_name():
    jax = pytest.importorskip("jax")
    x = np.ones((3, 2), np.float32)

    def loops(x):
        return jax.lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, jax.numpy.tanh(c[1])), (0, x))[1].sum(axis=1)

    with pytest.raises(UnsupportedModelError, match="'occlusion', 'shapley'"):
        wb.saliency(wb.networks.jax(loops), x)
    assert wb.saliency(wb.networks.jax(loops), x, 0, "ablation").values[0] == pytest.approx(np.tanh(np.tanh(1)))
    with pytest.raises(UnsupportedModelError, match=r"jax\.lax\.cond"):
        wb.saliency(wb.networks.jax(lambda x: tanh(x) if x.sum() > 0 else tanh(-x)), x)
    with pytest.raises(UnsupportedModelError, match="jnp in place of numpy"):
        wb.saliency(wb.networks.jax(lambda x: np.tanh(np.asarray(x)).sum(axis=1)), x)


def test_noise_that_hangs_on_a_rows_place_is_refused():
    """The first row of a batch draws the same numbers as a row alone; the second does not."""
    jax = pytest.importorskip("jax")
    key = jax.random.key(0)
    net = wb.networks.jax(lambda x: (x * jax.random.normal(key, x.shape)).sum(axis=1))
    for rows in (1, 4):
        with pytest.raises(UnsupportedModelError, match="its position among them"):
            wb.saliency(net, np.ones((rows, 3), np.float32))
    same = wb.networks.jax(lambda x: (x * jax.random.normal(key, x.shape[1:])).sum(axis=1))
    assert wb.saliency(same, np.ones((4, 3), np.float32)).shape == (4, 3)


def test_fingerprints_of_functions_know_what_these_hold():
    """Weights come as arguments, in a closure, as defaults, with functools.partial; a key of random numbers is no numpy array."""
    from functools import partial

    jax = pytest.importorskip("jax")

    def made(scale, seed=0):
        held = {"layer": [jax.numpy.full((2,), scale)]}

        def inner(x):
            return x @ held["layer"][0]

        return partial(lambda key, x: inner(x) + jax.random.normal(key), jax.random.key(seed))

    def prints(function, **options):
        return as_network(wb.networks.jax(function, **options)).fingerprint

    assert prints(made(1.0)) == prints(made(1.0))
    assert len({prints(made(1.0)), prints(made(2.0)), prints(made(1.0, seed=1)), prints(jax.jit(made(3.0)))}) == 4
    weighted = [prints(partial(lambda w, x: x @ w, np.full(2, w))) for w in (1.0, 2.0)]
    assert weighted[0] != weighted[1]
    assert wb.saliency(wb.networks.jax(made(1.0)), np.ones((3, 2), np.float32), 0).values.tolist() == [[1, 1]] * 3


def test_modules_of_equinox_as_they_come():
    """With a key or a state to be given, mapped over rows, with an embedding that is looked up and not called."""
    jax, eqx = pytest.importorskip("jax"), pytest.importorskip("equinox")
    x = np.ones((3, 2), np.float32)

    class Keyed(eqx.Module):
        layer: eqx.nn.Linear

        def __call__(self, x, key):
            return self.layer(x)

    class Looked(eqx.Module):
        embed: eqx.nn.Embedding

        def __call__(self, ids):
            return self.embed.weight[ids].sum(axis=0)

    keyed = Keyed(eqx.nn.Linear(2, 1, key=jax.random.key(0)))
    with pytest.raises(UnsupportedModelError, match=r"needs 'key'.*batched=False"):
        wb.saliency(keyed, x)
    fixed = wb.saliency(wb.networks.jax(lambda x: keyed(x, None), batched=False), x, 0)
    assert fixed.values[0] == pytest.approx(np.asarray(keyed.layer.weight)[0])
    mapped = [wb.networks.jax(jax.vmap(eqx.nn.Linear(2, 1, key=jax.random.key(k)))) for k in (0, 1)]
    assert mapped[0].fingerprint != mapped[1].fingerprint
    assert wb.saliency(mapped[0], x, 0).values[0] == pytest.approx(np.asarray(keyed.layer.weight)[0])
    with pytest.raises(UnsupportedModelError, match="'embed' is never called"):
        wb.saliency(Looked(eqx.nn.Embedding(5, 2, key=jax.random.key(0))), np.array([[1, 2]]), 0, embedding="embed")


def test_functions_compute_in_the_type_of_what_they_hold():
    jax = pytest.importorskip("jax")
    w = jax.numpy.ones((2, 1), jax.numpy.bfloat16)
    assert as_network(wb.networks.jax(lambda x: x @ w)).arithmetic == "bfloat16"
    assert as_network(wb.networks.jax(lambda x: x)).arithmetic == "float32"
    double = np.ones((2, 1))  # which JAX cuts to 32 bits unless it was told otherwise
    assert as_network(wb.networks.jax(lambda x: x @ double)).arithmetic == "float32"
    assert as_network(wb.networks.jax(lambda p, x: x @ p, double)).arithmetic == "float32"


def test_outputs_of_functions_are_chosen():
    pytest.importorskip("jax")
    net = wb.networks.jax(lambda x: {"logits": (tanh(x), x), "aux": x})
    x = np.ones((3, 2), np.float32)
    with pytest.raises(OptionError, match=r"one of \['logits', 'aux'\]"):
        wb.saliency(net, x)
    with pytest.raises(OptionError, match="a tuple for a part of a part"):
        wb.saliency(net, x, output="logits")
    assert wb.saliency(net, x, output=("logits", 0)).values[0] == pytest.approx(1 - np.tanh(1) ** 2)
    assert wb.saliency(net, x, 1, output="aux").values[0].tolist() == [0, 1]
    two = as_network(torch.nn.Module())
    assert two.select_output("aux").head.key == "aux"
