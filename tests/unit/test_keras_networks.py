"""Models of Keras as people write them: on whichever backend this process has."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest

import whybox as wb
from whybox.errors import OptionError, UnsupportedModelError
from whybox.models.registry import as_network

keras = pytest.importorskip("keras")
if keras.backend.backend() not in ("torch", "jax"):
    pytest.skip("Keras runs on another backend here", allow_module_level=True)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras's own
layers, ops = keras.layers, keras.ops
X = np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype(np.float32)
T = np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


class Gated(keras.Model):
    """Two inputs in one argument, as Keras has it."""

    def call(self, inputs, mask=None):
        a, b = (inputs["a"], inputs["b"]) if isinstance(inputs, dict) else inputs
        return ops.sum(a * ops.tanh(b), axis=1)


@pytest.mark.parametrize("inputs", [(T, T + 1), {"b": T + 1, "a": T}])
def test_models_that_take_all_inputs_in_one_argument(inputs):
    net = Gated()
    net([T, T])
    maps = {
        n: e.values
        for n, e in zip(("a", "b") if isinstance(inputs, tuple) else inputs, wb.saliency(net, inputs), strict=True)
    }
    assert maps["a"] == pytest.approx(np.tanh(T + 1), abs=1e-5)
    assert maps["b"] == pytest.approx(T / np.cosh(T + 1) ** 2, abs=1e-5)


def test_errors_are_said_in_our_words_alone():
    i = keras.Input((6, 6, 3))
    twice = layers.Conv2D(3, 3, padding="same", name="shared")
    net = keras.Model(i, layers.Dense(2)(layers.GlobalAveragePooling2D()(twice(twice(i)))))
    with pytest.raises(OptionError, match="^layer 'shared' is called 2 times in one pass; say which call") as caught:
        wb.saliency(net, X, 0, "gradcam", layer="shared")
    assert "Arguments received" not in str(caught.value)
    assert keras.config.is_traceback_filtering_enabled()


def test_each_call_of_a_layer_is_a_layer_of_its_own():
    eye, second = (layers.Conv2D(3, 3, strides=2, padding="same", name=n) for n in ("eye", "second"))
    pool, top = layers.GlobalAveragePooling2D(), layers.Dense(2)
    a, b = keras.Input((6, 6, 3), name="a"), keras.Input((6, 6, 3), name="b")
    nets = [keras.Model([a, b], top(layers.concatenate([pool(eye(a)), pool(layer(b))]))) for layer in (eye, second)]
    second.set_weights(eye.get_weights())
    for method in ("gradcam", "layer_integrated_gradients"):
        for picture, name in enumerate(("eye", "second")):  # which Keras calls first is its own matter
            ours = wb.saliency(nets[0], (X, X[::-1]), 1, method, layer="eye", call=f"input {picture}")
            theirs = wb.saliency(nets[1], (X, X[::-1]), 1, method, layer=name)
            assert ours[0].values == pytest.approx(theirs[0].values, abs=1e-5)
    embed = layers.Embedding(9, 4, name="embed")
    i, j = keras.Input((5,), dtype="int32", name="i"), keras.Input((4,), dtype="int32", name="j")
    net = keras.Model([i, j], layers.Dense(2)(ops.mean(embed(i), axis=1) * ops.sum(embed(j), axis=1)))
    ids = np.random.default_rng(0).integers(0, 9, (3, 9)).astype(np.int32)
    maps = wb.saliency(net, (ids[:, :5], ids[:, 5:]), 1, "integrated_gradients", embedding="embed", baseline_token=0)
    assert [e.shape for e in maps] == [(3, 5), (3, 4)]
    score, base = (np.asarray(net.predict([of[:, :5], of[:, 5:]], verbose=0))[:, 1] for of in (ids, 0 * ids))
    assert sum(e.values.sum(axis=1) for e in maps) == pytest.approx(score - base, abs=0.01)


def test_mixed_precision_is_named_and_not_taken_for_the_weights():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        net = keras.Sequential([keras.Input((5,)), layers.Dense(8, activation="tanh"), layers.Dense(2)])
    finally:
        keras.config.set_dtype_policy("float32")
    assert as_network(net).arithmetic == "bfloat16 mixed with float32"
    plain = keras.Sequential([keras.Input((5,)), layers.Dense(8, activation="tanh"), layers.Dense(2)])
    assert as_network(plain).arithmetic == "float32"
    plain.set_weights(net.get_weights())
    known, found = (wb.saliency(n, T, 0, reduce="sum").values for n in (plain, net))
    assert np.linalg.norm(found - known) < 0.03 * np.linalg.norm(known)
    with pytest.raises(UnsupportedModelError, match="mixed precision|integrated_gradients"):
        wb.saliency(net, T, 0, "deeplift")


def test_layers_of_one_name_are_told_apart():
    class Twins(keras.Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = (layers.Conv2D(2, 3, padding="same", name="conv") for _ in range(2))
            self.pool = layers.GlobalAveragePooling2D()

        def call(self, x):
            return self.pool(self.two(ops.relu(self.one(x))))

    net = Twins()
    net(X)
    first, second = (wb.saliency(net, X, 0, "gradcam", layer=n, upsample=False) for n in ("conv", "conv:2"))
    said = ops.convert_to_numpy(net.two(ops.relu(net.one(X))))[..., 0] / 36
    assert second.values == pytest.approx(np.maximum(said, 0), abs=1e-6)
    assert np.abs(first.values - second.values).max() > 1e-4


def test_preprocessing_and_models_inside_models():
    body = keras.Sequential([layers.Conv2D(4, 3, activation="relu", name="inner")], name="body")
    i = keras.Input((6, 6, 3))
    h = body(layers.RandomFlip()(layers.Rescaling(1 / 255.0, offset=-0.5)(i)))
    net = keras.Model(i, layers.Dense(2)(layers.GlobalAveragePooling2D()(h)))
    after = keras.Model(h_in := keras.Input((6, 6, 3)), net.layers[-1](net.layers[-2](body(h_in))))
    raw = (X * 40 + 128).astype(np.float32)
    scaled = wb.saliency(after, raw / 255 - 0.5, 0, reduce=None).values
    assert wb.saliency(net, raw, 0, reduce=None).values * 255 == pytest.approx(scaled, abs=1e-5)
    assert "body/inner" in dict(as_network(net).layers((as_network(net).array(raw),)))
    maps = [
        wb.saliency(n, x, 0, "gradcam", layer="body/inner").values for n, x in ((net, raw), (after, raw / 255 - 0.5))
    ]
    assert maps[0] == pytest.approx(maps[1], abs=1e-5)


def test_texts_go_in_under_the_names_of_the_inputs():
    ids, mask = keras.Input((None,), dtype="int32", name="input_ids"), keras.Input((None,), name="attention_mask")
    embedded = layers.Embedding(9, 4, name="words", embeddings_initializer="normal")(ids)
    said = layers.Dense(1)(ops.tanh(embedded)) * ops.expand_dims(mask, -1)
    net = keras.Model([ids, mask], ops.sum(said, axis=1))

    def read(text):
        return {"ids": [int(c) for c in text], "tokens": list(text)}

    found = wb.saliency(net, ["123", "45"], 0, "gradient_x_input", tokenizer=read, embedding="words")
    alone = wb.saliency(net, "45", 0, "gradient_x_input", tokenizer=read, embedding="words")
    assert found.values[1, :2] == pytest.approx(alone.values[0], abs=1e-6)
    assert np.abs(alone.values).min() > 0
    plain = keras.Sequential(
        [keras.Input((3,), dtype="int32"), layers.Embedding(9, 4, name="words"), layers.Flatten(), layers.Dense(2)]
    )
    assert wb.saliency(plain, ["123"], 0, tokenizer=read, embedding="words").shape == (1, 3)
