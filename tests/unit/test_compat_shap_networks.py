"""Networks of whybox.compat.shap: DeepLIFT and expected gradients, of inputs and of layers, in the shapes of shap."""

from __future__ import annotations

import numpy as np
import pytest

import whybox as wb
from compat_models import SMALL, near
from whybox.compat import shap
from whybox.errors import OptionError

torch = pytest.importorskip("torch")


def layered():
    """A network of four numbers and three outputs, and rows."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3)
    ).eval()
    return net, torch.tensor(SMALL, dtype=torch.float32)


def test_networks():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    xs = torch.tensor(SMALL, dtype=torch.float32)
    deep = shap.DeepExplainer(net, xs[:20])
    values = deep.shap_values(xs[30:33])
    assert values.shape == (3, 4, 2)
    out = net(xs).detach().numpy()
    near(values.sum(axis=1), out[30:33] - deep.expected_value, 1e-5)
    near(deep.expected_value, out[:20].mean(axis=0), 1e-5)
    drawn = shap.GradientExplainer(net, xs[:20]).shap_values(xs[30:33], nsamples=200, rseed=1)
    own = wb.saliency(net, xs[30:33], "all", "expected_gradients", background=xs[:20], reduce=None, samples=224, seed=1)
    near(drawn, own.values)
    assert deep(xs[30:33])[..., 1].to_whybox().dims == ("row", "feature")
    with shap.old_shapes():
        assert [v.shape for v in deep.shap_values([xs[30:33]])] == [(3, 4), (3, 4)]
    pictures = torch.nn.Sequential(torch.nn.Flatten(), net).eval()
    with pytest.raises(OptionError, match="overlay"):
        shap.DeepExplainer(pictures, xs[:20].reshape(20, 1, 2, 2))(xs[30:31].reshape(1, 1, 2, 2))


def test_ranked_outputs_of_networks():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    xs = torch.tensor(np.random.default_rng(0).normal(size=(40, 4)), dtype=torch.float32)
    deep = shap.DeepExplainer(net, xs[:20])
    values, out = deep.shap_values(xs[30:33]), net(xs).detach().numpy()
    drawn = shap.GradientExplainer(net, xs[:20]).shap_values(xs[30:33], nsamples=200, rseed=1)
    for order, ranks in (("max", np.argsort(-out)), ("min", np.argsort(out)), ("max_abs", np.argsort(-np.abs(out)))):
        ranked, which = deep.shap_values(xs[30:33], ranked_outputs=2, output_rank_order=order)
        assert which.tolist() == ranks[30:33].tolist()
        np.testing.assert_allclose(ranked, np.take_along_axis(values, which[:, None], axis=2), atol=1e-6)
    one, which = shap.GradientExplainer(net, xs[:20]).shap_values(xs[30:33], nsamples=200, ranked_outputs=1, rseed=1)
    assert one.shape == (3, 4, 1)
    np.testing.assert_allclose(one, np.take_along_axis(np.asarray(drawn), which[:, None], axis=2), atol=1e-6)
    half = shap.DeepExplainer(net.to(torch.bfloat16), xs[:20].to(torch.bfloat16))
    coarse, which = half.shap_values(xs[30:33].to(torch.bfloat16), ranked_outputs=1, check_additivity=False)
    assert which[:, 0].tolist() == out[30:33].argmax(1).tolist()
    np.testing.assert_allclose(coarse, np.take_along_axis(values, which[:, None], axis=2), atol=0.02)
    net.to(torch.float32)
    with pytest.raises(OptionError, match="ranked_outputs=3"):
        deep.shap_values(xs[30:33], ranked_outputs=3)
    with pytest.raises(OptionError, match="max_abs"):
        deep.shap_values(xs[30:33], ranked_outputs=1, output_rank_order="custom")


def test_values_of_a_layer_add_up():
    net, xs = layered()
    e = shap.GradientExplainer((net, net[2]), xs[:20])
    values, out = e.shap_values(xs[30:33]), net(xs).detach().numpy()
    assert values.shape == (3, 8, 3)  # of what the layer is given
    near(values.sum(axis=1), out[30:33] - out[:20].mean(axis=0), 1e-3)
    method, how = "layer_integrated_gradients", {"background": xs[:20], "reduce": None}
    near(values, wb.saliency(net, xs[30:33], "all", method, layer="2", side="input", **how).values)
    near(
        values, wb.saliency(net, xs[30:33], "all", method, layer="1", **how).values, 1e-5
    )  # what the layer before gives
    one, which = e.shap_values(xs[30:33], ranked_outputs=1)
    near(one, np.take_along_axis(values, which[:, None], axis=2), 1e-3)  # the number of steps is that of the output
    with pytest.raises(OptionError, match="about a layer"):
        e(xs[30:33])
    with pytest.raises(OptionError, match="is not"):
        shap.GradientExplainer((net, torch.nn.ReLU()), xs)
    with pytest.raises(OptionError, match="GradientExplainer takes it"):
        shap.DeepExplainer((net, net[2]), xs)


def test_local_smoothing_is_the_mean_over_noisy_rows():
    """Against the mean over drawn noise, background rows and places on the way, as shap defines it."""
    net, xs = layered()
    rows, background, width, count = xs[30:32], xs[:20], 0.5, 20_000
    e = shap.GradientExplainer(net, background, local_smoothing=width)
    values = e.shap_values(rows, nsamples=6400, rseed=1)
    generator = torch.Generator().manual_seed(3)
    for j, row in enumerate(rows):
        noisy = row + width * torch.randn(count, 4, generator=generator)
        start = background[torch.randint(0, len(background), (count,), generator=generator)]
        at = torch.rand(count, 1, generator=generator)
        point = (at * noisy + (1 - at) * start).requires_grad_()
        for k in range(3):
            (gradient,) = torch.autograd.grad(net(point)[:, k].sum(), point)
            each = (gradient * (noisy - start)).numpy()
            error = each.std(axis=0) / np.sqrt(count) + each.std(axis=0) / np.sqrt(6400)
            assert (np.abs(values[j, :, k] - each.mean(axis=0)) < 5 * error).all()
    plain = shap.GradientExplainer(net, background).shap_values(rows, nsamples=6400, rseed=1)
    assert np.abs(values - plain).max() > 1e-3
    near(values, shap.GradientExplainer(net, background, local_smoothing=width).shap_values(rows, 6400, rseed=1))
    assert e.shap_values(rows, ranked_outputs=2)[0].shape == (2, 4, 2)
    assert e(rows).base_values.shape == (2, 3)
    smooth_layer = shap.GradientExplainer((net, net[2]), background[:3], local_smoothing=0.1)
    assert smooth_layer.shap_values(rows).shape == (2, 8, 3)
    with pytest.raises(OptionError, match="local_smoothing"):
        shap.GradientExplainer(net, background, local_smoothing=-1.0)
    tokens = torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.Flatten(), torch.nn.Linear(6, 2)).eval()
    ids = torch.tensor([[1, 2], [3, 4]])
    with pytest.raises(OptionError, match="noise is for numbers"):
        shap.GradientExplainer(tokens, ids, local_smoothing=0.1).shap_values(ids)


@pytest.mark.parametrize(
    "module", ["tensorflow.python.framework.ops", "tf_keras.src.engine", "keras.engine.functional"]
)
@pytest.mark.parametrize("explainer", [shap.GradientExplainer, shap.DeepExplainer])
def test_models_of_tensorflow_are_refused_with_what_to_do(module, explainer):
    model = type("Functional", (), {"__module__": module})()
    for given in (model, (model, model)):
        with pytest.raises(OptionError, match="load it with Keras 3 on torch or JAX"):
            explainer(given, np.zeros((3, 2)))


def stand_in():
    """What a text-classification pipeline returns: for each text labels with their scores, the best first; the best alone unless all are asked for."""
    labels = ["neg", "neu", "pos"]

    class TextClassificationPipeline:
        __module__ = "transformers.pipelines.text_classification"
        task = "text-classification"
        tokenizer = None

        def __call__(self, texts, top_k=1):
            scored = []
            for text in texts:
                z = np.array([text.count("bad"), 0.3, 2.0 * text.count("good") - text.count("not")])
                p = np.exp(z) / np.exp(z).sum()
                best = sorted(zip(labels, p.tolist(), strict=True), key=lambda pair: -pair[1])
                scored.append([{"label": label, "score": score} for label, score in best][:top_k])
            return scored

    return TextClassificationPipeline(), labels


def of_transformers(folder):
    """A pipeline of transformers, of random weights and the words of these tests."""
    transformers = pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "film", "not", "bad"]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    labels = ["neg", "neu", "pos"]
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(
        vocab_size=len(words),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        initializer_range=0.5,
        **sizes,
    )
    net = transformers.BertForSequenceClassification(config).eval()
    tokenizer = transformers.BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))
    return transformers.pipeline("text-classification", model=net, tokenizer=tokenizer), labels


@pytest.mark.parametrize("kind", ["stand-in", "transformers"])
def test_a_pipeline_of_transformers_has_all_its_labels(kind, tmp_path):
    """shap leaves labels that a pipeline does not name at 0, where it returns the best alone."""
    pipeline, labels = stand_in() if kind == "stand-in" else of_transformers(tmp_path)
    texts = ["a good film", "not good"]
    e = shap.Explainer(pipeline)(texts)
    assert sorted(e.output_names) == labels
    for i, text in enumerate(texts):
        scores = {s["label"]: s["score"] for s in pipeline([text], top_k=None)[0]}
        near(e[i].values.sum(axis=0) + e[i].base_values, [scores[label] for label in e.output_names], 1e-5)
    if pipeline.tokenizer is not None:
        near(shap.Explainer(pipeline, pipeline.tokenizer)(texts)[0].values, e[0].values)
    shap.plots.text(e[0, :, "pos"], show=False)
