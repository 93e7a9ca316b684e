"""Texts: tokens, words, what stands for an absent token, and a real sentence model."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

import whybox as wb
from networks.minilm import minilm
from whybox.errors import InputError, OptionError, UnsupportedModelError
from whybox.methods.saliency.base import Method, MethodOutput

VOCABULARY = {"[PAD]": 0, "[MASK]": 1, "[CLS]": 2, "good": 3, "un": 4, "##kind": 5, "bad": 6, "!": 7}


def tokenizer():
    """Word pieces, made here."""
    tk = pytest.importorskip("tokenizers")
    made = tk.Tokenizer(tk.models.WordPiece(VOCABULARY, unk_token="[MASK]"))
    made.pre_tokenizer = tk.pre_tokenizers.Whitespace()
    made.post_processor = tk.processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 2)])
    made.enable_padding(pad_id=0, pad_token="[PAD]", length=9)
    return made


class Sum(torch.nn.Module):
    """Adds up tanh of embeddings where the mask is: every token acts alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = torch.nn.Embedding(8, 4), torch.nn.Linear(4, 2)

    def forward(self, input_ids, attention_mask=None):
        x = self.head(self.embed(input_ids).tanh())
        return (x if attention_mask is None else x * attention_mask[..., None]).sum(1)


@pytest.fixture
def net():
    return Sum().eval()


def by_hand(net, token, output):
    e = net.embed.weight[token].detach().clone().requires_grad_()
    net.head(e.tanh())[output].backward()
    return e.grad, e.detach()


def test_tokens_of_texts(net):
    found = wb.saliency(net, ["good unkind!", "bad"], 1, tokenizer=tokenizer(), embedding="embed", reduce="sum")
    assert found.dims == ("row", "token")
    assert found.shape == (2, 5)
    assert found.extras["token"][1].tolist() == [["[CLS]", "good", "un", "##kind", "!"], ["[CLS]", "bad", "", "", ""]]
    assert np.isnan(found.values[1, 2:]).all()
    for row, column, token in ((0, 1, 3), (0, 3, 5), (1, 0, 2), (1, 1, 6)):
        assert found.values[row, column] == pytest.approx(float(by_hand(net, token, 1)[0].sum()), abs=1e-6)
    largest = wb.saliency(net, "bad", 1, tokenizer=tokenizer(), embedding="embed")
    assert largest[0].values[1] == pytest.approx(float(by_hand(net, 6, 1)[0].abs().max()), abs=1e-6)
    assert list(largest.coords["token"]) == ["[CLS]", "bad"]
    whole = wb.saliency(net, "bad", 1, tokenizer=tokenizer(), embedding="embed", reduce=None)
    assert whole.dims == ("row", "token", "channel")
    assert np.allclose(whole.values[0, 1], by_hand(net, 6, 1)[0], atol=1e-6)


def test_tokens_are_summed_to_words(net, tmp_path):
    options = dict(target=0, tokenizer=tokenizer(), embedding="embed", method="gradient_x_input")
    tokens = wb.saliency(net, ["good unkind!", "bad"], **options)
    found = wb.saliency(net, ["good unkind!", "bad"], words=True, **options)
    assert found.dims == ("row", "word")
    assert found.extras["word"][1].tolist() == [["[CLS]", "good", "unkind", "!"], ["[CLS]", "bad", "", ""]]
    assert found.values[0, 2] == pytest.approx(tokens.values[0, 2:4].sum())
    assert np.nansum(found.values) == pytest.approx(np.nansum(tokens.values))
    assert np.isnan(found.values[1, 2:]).all()
    found.save(tmp_path / "words.whybox")
    again = wb.load(tmp_path / "words.whybox")
    assert again.extras["word"][1].tolist() == found.extras["word"][1].tolist()
    assert np.array_equal(again.values, found.values, equal_nan=True)
    assert found.to_xarray()["word_text"].shape == (2, 4)
    assert found.to_frame(layout="long")["word"].tolist()[:3] == ["[CLS]", "good", "unkind"]
    noisy = wb.saliency(net, "unkind", 0, "smoothgrad", tokenizer=tokenizer(), embedding="embed", words=True, samples=4)
    parts = wb.saliency(net, "unkind", 0, "smoothgrad", tokenizer=tokenizer(), embedding="embed", samples=4)
    assert noisy.std_error[0, 1] == pytest.approx(parts.std_error[0, 1:3].sum())
    assert any("upper bound" in n for n in noisy.evidence.notes)


def test_a_longer_neighbour_changes_nothing(net):
    options = dict(target=0, tokenizer=tokenizer(), embedding="embed")
    alone = wb.saliency(net, "bad", **options).values
    beside = wb.saliency(net, ["bad", "good unkind good good!"], **options).values
    assert np.allclose(alone[0], beside[0, :2], atol=1e-7)


def test_numbers_of_tokens_by_place_and_by_name(net):
    ids, mask = np.array([[2, 3, 6], [2, 6, 0]]), np.array([[1, 1, 1], [1, 1, 0]])
    by_name = wb.saliency(net, {"input_ids": ids, "attention_mask": mask}, 0, embedding="embed")
    by_place = wb.saliency(net, (ids, mask.astype(np.float32)), 0, embedding="embed")
    assert by_name.dims == ("row", "token")
    assert np.allclose(by_name.values, by_place.values)
    assert by_name.values[1, 2] == 0
    alone = wb.saliency(net, ids, 0, embedding="embed", reduce="sum")
    assert alone.values[0, 1] == pytest.approx(float(by_hand(net, 3, 0)[0].sum()), abs=1e-6)


@dataclass(frozen=True)
class Absent(Method):
    """What stands for absent tokens is handed to methods as their baseline: exact here, since every token acts alone."""

    baseline: object = None
    name: ClassVar[str] = "absent"
    title: ClassVar[str] = "Absent"

    def __call__(self, problem):
        given = self.baseline[0] if isinstance(self.baseline, tuple) else self.baseline
        if isinstance(self.baseline, tuple):
            assert all(b is None for b in self.baseline[1:])
            assert len(self.baseline) == len(problem.inputs)
        assert all(i.is_held for i in problem.inputs[1:])
        difference = np.zeros(problem.inputs[0].x.shape)
        for k in range(difference.shape[1]):
            x = problem.inputs[0].x.copy()
            x[:, k] = given[:, k]
            scores = problem.scores_at_points(
                (problem.net.array(x), *(problem.net.array(i.x) for i in problem.inputs[1:])), np.arange(problem.n_rows)
            )
            difference[:, k] = (problem.scores - scores).reshape(-1, *(1,) * (x.ndim - 2)) / np.prod(
                x.shape[2:], dtype=int
            )
        x = (given.astype(problem.inputs[0].x.dtype), *(i.x for i in problem.inputs[1:]))
        base = problem.scores_at_points(tuple(map(problem.net.array, x)), np.arange(problem.n_rows))
        return MethodOutput(
            [[difference, *(None for _ in problem.inputs[1:])]], "by hand", "absent tokens", base_scores=base
        )


@pytest.mark.parametrize("embedding", [None, "embed"])
def test_what_stands_for_an_absent_token(net, embedding):
    options = dict(target=0, method=Absent(), tokenizer=tokenizer(), embedding=embedding)

    def said(token):
        return float(net.head(net.embed.weight[token].tanh())[0].detach())

    found = wb.saliency(net, ["good bad", "bad"], **options)
    assert found.values[0] == pytest.approx([0, said(3) - said(1), said(6) - said(1)], abs=1e-6)
    assert found.extras["converged"][1].all()
    assert any("[MASK]" in n for n in found.evidence.notes)
    padded = wb.saliency(net, "bad", baseline_token="[PAD]", **options)
    assert padded.values[0] == pytest.approx([0, said(6) - said(0)], abs=1e-6)
    numbered = wb.saliency(net, "bad", baseline_token=3, **options)
    assert numbered.values[0] == pytest.approx([0, said(6) - said(3)], abs=1e-6)
    plain = wb.saliency(net, np.array([[2, 6]]), 0, Absent(), embedding="embed", baseline_token=1)
    assert plain.values[0] == pytest.approx([said(2) - said(1), said(6) - said(1)], abs=1e-6)


@pytest.mark.parametrize(
    ("method", "embedding"),
    [
        ("integrated_gradients", "embed"),
        ("deeplift", "embed"),
        ("shapley", "embed"),
        ("shapley", None),
        ("occlusion", None),
        ("ablation", None),
    ],
)
def test_methods_of_the_catalogue_take_texts(net, method, embedding):
    """Every token acts alone, so each method that compares with absent tokens must find the same."""

    def said(token):
        return float(net.head(net.embed.weight[token].tanh())[0].detach())

    found = wb.saliency(net, ["good unkind", "bad"], 0, method, tokenizer=tokenizer(), embedding=embedding, words=True)
    known = [0, said(3) - said(1), said(4) + said(5) - 2 * said(1)]
    slack = 2e-2 if method == "integrated_gradients" else 1e-5
    assert found.values[0] == pytest.approx(known, abs=slack)
    assert found.values[1, :2] == pytest.approx([0, said(6) - said(1)], abs=slack)
    assert np.isnan(found.values[1, 2])


def test_a_function_reads_texts(net):
    def read(text):
        words = text.split()
        return {"ids": [VOCABULARY[w] for w in words], "tokens": words}

    found = wb.saliency(net, "good bad !", 0, tokenizer=read, embedding="embed")
    assert list(found.coords["token"]) == ["good", "bad", "!"]
    with pytest.raises(OptionError, match="word_ids"):
        wb.saliency(net, "good", 0, tokenizer=read, embedding="embed", words=True)
    marked = SimpleNamespace(ids=[4, 5, 3], tokens=["un", "##kind", "good"], word_ids=[0, 0, 1])
    merged = wb.saliency(net, "?", 0, tokenizer=lambda _: marked, embedding="embed", words=True)
    assert list(merged.coords["word"]) == ["unkind", "good"]


def test_networks_that_name_nothing_take_ids_and_mask_by_place():
    class Plain(Sum):
        def forward(self, x, m):
            return super().forward(x, m)

    class NoMask(Sum):
        def forward(self, x):
            return super().forward(x)

    options = dict(target=0, tokenizer=tokenizer(), embedding="embed")
    assert wb.saliency(Plain().eval(), ["good bad", "bad"], **options).shape == (2, 3)
    assert wb.saliency(NoMask().eval(), ["good bad", "bad good"], **options).shape == (2, 3)
    with pytest.raises(InputError, match="attention_mask"):
        wb.saliency(NoMask().eval(), ["good bad", "bad"], **options)


def test_refusals(net):
    ids, tk = np.array([[2, 3]]), tokenizer()
    with pytest.raises(InputError, match="tokenizer="):
        wb.saliency(net, "good", 0)
    with pytest.raises(OptionError, match="tokenizer= needs texts"):
        wb.saliency(net, ids, 0, tokenizer=tk, embedding="embed")
    with pytest.raises(OptionError, match="words=True"):
        wb.saliency(net, ids, 0, embedding="embed", words=True)
    with pytest.raises(OptionError, match="baseline_token"):
        wb.saliency(net, ids, 0, baseline_token=1)
    with pytest.raises(OptionError, match=r"\[MASK\]"):
        wb.saliency(net, "good", 0, tokenizer=tk, embedding="embed", baseline_token="[MAKS]")
    with pytest.raises(UnsupportedModelError, match="embedding="):
        wb.saliency(net, "good", 0, tokenizer=tk)
    with pytest.raises(OptionError, match="embed"):
        wb.saliency(net, "good", 0, tokenizer=tk, embedding="embedd")
    with pytest.raises(UnsupportedModelError, match="rows, tokens, numbers"):
        wb.saliency(
            torch.nn.Sequential(torch.nn.Embedding(8, 4), torch.nn.Flatten(), torch.nn.Linear(8, 1)).eval(),
            ids,
            embedding="1",
        )
    with pytest.raises(InputError, match="whole numbers"):
        wb.saliency(net, ids.astype(np.float32), 0, embedding="embed")
    with pytest.raises(OptionError, match="is not a tokenizer"):
        wb.saliency(net, "good", 0, tokenizer=3)
    with pytest.raises(InputError, match="no tokens"):
        wb.saliency(net, "x", 0, tokenizer=lambda _: {"ids": [], "tokens": []}, embedding="embed")
    with pytest.raises(OptionError, match="name the one that replaces"):
        wb.saliency(net, "good", 0, Absent(baseline=3), tokenizer=tk, embedding="embed")


def test_texts_that_were_cut_are_said_to_be(net):
    tk = tokenizer()
    tk.enable_truncation(3)
    found = wb.saliency(net, ["good bad good bad", "bad"], 0, tokenizer=tk, embedding="embed")
    assert any("1 of 2 texts were cut" in n for n in found.evidence.notes)


def test_a_sentence_model_is_right_and_its_similarity_is_explained_by_words():
    net, tk = minilm()
    torch.set_num_threads(1)
    texts = ["A man is eating food.", "Someone is having a meal.", "The stock market fell sharply today."]
    rows = tk.encode_batch(texts)
    with torch.no_grad():
        vectors = net(torch.tensor([r.ids for r in rows]), torch.tensor([r.attention_mask for r in rows]))
    near, far = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    assert near == pytest.approx(0.689, abs=0.002)  # as the published model answers
    assert far < 0.2
    found = wb.saliency(
        net, texts[0], lambda y: y @ vectors[1], tokenizer=tk, embedding="embeddings.word_embeddings", words=True
    )
    assert found.prediction[0] == pytest.approx(near, abs=1e-5)
    ranked = [str(found.coords["word"][i]) for i in np.argsort(-found.values[0])]
    assert set(ranked[:2]) == {"eating", "food"}, dict(zip(found.coords["word"], found.values[0], strict=True))
