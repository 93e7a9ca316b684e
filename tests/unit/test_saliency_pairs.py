"""Pairs of texts, texts as a background, and how networks and tokenizers of others name what goes in."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import whybox as wb
from whybox.errors import InputError, OptionError

VOCABULARY = {"[PAD]": 0, "[MASK]": 1, "[CLS]": 2, "good": 3, "un": 4, "##kind": 5, "bad": 6, "!": 7, "[SEP]": 8}
PAIRS = [("good unkind", "unkind bad"), ("bad", "good !")]


def tokenizer():
    """Word pieces, pairs as BERT has them."""
    tk = pytest.importorskip("tokenizers")
    made = tk.Tokenizer(tk.models.WordPiece(VOCABULARY, unk_token="[MASK]"))
    made.pre_tokenizer = tk.pre_tokenizers.Whitespace()
    made.post_processor = tk.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 8)]
    )
    return made


def of_transformers(**options):
    """The same as transformers wraps it."""
    made = pytest.importorskip("transformers").PreTrainedTokenizerFast
    return made(tokenizer_object=tokenizer(), **options)


class Segments(torch.nn.Module):
    """Adds up tanh of embeddings, those of the second text ten times: every token acts alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = torch.nn.Embedding(9, 4), torch.nn.Linear(4, 1)

    def forward(self, input_ids, attention_mask, token_type_ids):
        x = self.head(self.embed(input_ids).tanh()) * (1 + 9 * token_type_ids[..., None])
        return (x * attention_mask[..., None]).sum(1)


@pytest.fixture
def net():
    return Segments().eval()


def worth(net, token, second=False):
    return float(net.head(net.embed.weight[token].tanh()).detach()) * (10 if second else 1)


def test_tokens_of_pairs_and_the_text_they_are_from(net):
    found = wb.saliency(net, PAIRS, 0, "gradient_x_input", tokenizer=tokenizer(), embedding="embed")
    first = ["[CLS]", "good", "un", "##kind", "[SEP]", "un", "##kind", "bad", "[SEP]"]
    assert found.extras["token"][1].tolist() == [first, ["[CLS]", "bad", "[SEP]", "good", "!", "[SEP]", "", "", ""]]
    assert found.extras["sequence"][1].tolist() == [[-1, 0, 0, 0, -1, 1, 1, 1, -1], [-1, 0, -1, 1, 1, -1, -1, -1, -1]]
    assert found.extras["text"][1].tolist() == ["good unkind", "bad"]
    assert found.extras["text_pair"][1].tolist() == ["unkind bad", "good !"]
    assert found.values[0, 5] == pytest.approx(10 * found.values[0, 2], rel=1e-5)  # "un" in either text
    assert np.isnan(found.values[1, 6:]).all()


def test_words_of_pairs_are_counted_in_each_text(net, tmp_path):
    """The words of both texts are numbered from 0: the last of one and the first of the other must not become one."""
    bare = tokenizer()
    bare.post_processor = None  # no [SEP] between the texts
    found = wb.saliency(net, [("unkind", "unkind bad")], 0, "ablation", tokenizer=bare, words=True)
    assert found.extras["word"][1].tolist() == [["unkind", "unkind", "bad"]]
    assert found.extras["sequence"][1].tolist() == [[0, 1, 1]]
    one = worth(net, 4) + worth(net, 5) - 2 * worth(net, 1)
    assert found.values[0] == pytest.approx([one, 10 * one, 10 * (worth(net, 6) - worth(net, 1))], abs=1e-5)
    both = wb.saliency(net, PAIRS, 0, tokenizer=tokenizer(), embedding="embed", words=True)
    assert both.extras["word"][1].tolist()[1] == ["[CLS]", "bad", "[SEP]", "good", "!", "[SEP]", ""]
    assert both.extras["sequence"][1].tolist()[1] == [-1, 0, -1, 1, 1, -1, -1]
    both.save(tmp_path / "pairs.whybox")
    assert wb.load(tmp_path / "pairs.whybox").extras["sequence"][1].tolist() == both.extras["sequence"][1].tolist()
    assert both.to_xarray()["sequence"].dims == ("row", "word")
    assert both.plot.words(1) is not None


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift", "shapley", "occlusion", "ablation"])
def test_methods_of_the_catalogue_take_pairs(net, method):
    found = wb.saliency(net, PAIRS, 0, method, tokenizer=tokenizer(), embedding="embed")
    absent = worth(net, 1)
    known = [0, worth(net, 6) - absent, 0, 10 * (worth(net, 3) - absent), 10 * (worth(net, 7) - absent), 0]
    assert found.values[1, :6] == pytest.approx(known, abs=0.1 if method == "integrated_gradients" else 1e-5)
    assert np.isnan(found.values[1, 6:]).all()


def test_networks_are_given_segments_under_the_names_they_have(net):
    """forward(ids, segments, mask) must not read the mask as segments."""

    class Own(Segments):
        def forward(self, ids, segment_ids=None, mask=None):
            return super().forward(ids, mask, segment_ids)

    class Any(Segments):
        def forward(self, **named):
            return super().forward(**named)

    class Blind(Segments):
        def forward(self, input_ids, attention_mask):
            return super().forward(input_ids, attention_mask, torch.zeros_like(input_ids))

    options = dict(target=0, tokenizer=tokenizer(), embedding="embed", reduce="sum")
    known = wb.saliency(net, PAIRS, **options)
    for other in (Own(), Any()):
        assert np.array_equal(wb.saliency(other.eval(), PAIRS, **options).values, known.values, equal_nan=True)
    blind = wb.saliency(Blind().eval(), PAIRS, **options)
    assert blind.values[0, 5] == pytest.approx(blind.values[0, 2])
    assert any("only special tokens" in n for n in blind.evidence.notes)
    assert not any("only special tokens" in n for n in known.evidence.notes)


def test_a_switch_is_no_mask(net):
    class Switched(Segments):
        def forward(self, ids, training=False):
            assert training is False
            return self.head(self.embed(ids).tanh()).sum(1)

    class Second(Segments):
        def forward(self, ids, m):
            return super().forward(ids, m, torch.zeros_like(ids))

    options = dict(target=0, tokenizer=tokenizer(), embedding="embed")
    assert wb.saliency(Switched().eval(), ["good"], **options).shape == (1, 3)
    with pytest.raises(InputError, match="attention_mask"):
        wb.saliency(Switched().eval(), ["good", "good bad"], **options)
    notes = wb.saliency(Second().eval(), ["good", "good bad"], **options).evidence.notes
    assert any("second input, 'm'" in n for n in notes)


def test_segments_that_tell_nothing_are_left_out(net):
    """GPT-2 embeds them with the words, so that zeros change its answer."""

    class Optional(Segments):
        def forward(self, input_ids, attention_mask, token_type_ids=None):
            more = 0 if token_type_ids is None else self.embed(token_type_ids)
            x = self.head((self.embed(input_ids) + more).tanh())
            return (x * attention_mask[..., None]).sum(1)

    options = dict(target=0, method="gradient_x_input", embedding="embed")
    bare = wb.saliency(Optional().eval(), ["good bad"], tokenizer=tokenizer(), **options)
    assert bare.values == pytest.approx(wb.saliency(net, ["good bad"], tokenizer=tokenizer(), **options).values)

    def without(*texts):
        read = tokenizer().encode(*texts)
        return {"ids": read.ids, "tokens": read.tokens}

    pair = wb.saliency(Optional().eval(), [("good", "bad")], tokenizer=without, **options)
    assert pair.values[0, [1, 3]] == pytest.approx(bare.values[0, [1, 2]])


class Last(Segments):
    """Answers for the last token, as some networks find it."""

    def forward(self, input_ids, attention_mask):
        last = (input_ids != 7).sum(1) - 1
        return self.head(self.embed(input_ids).tanh())[torch.arange(len(last)), last]


def test_texts_are_filled_up_with_the_tokenizers_own_token():
    plain = tokenizer()
    plain.enable_padding(pad_id=7, pad_token="!")
    options = dict(target=0, embedding="embed")
    found = wb.saliency(Last().eval(), ["bad", "good bad good"], tokenizer=plain, **options)
    assert (np.flatnonzero(found.values[0, :3]).tolist(), np.isnan(found.values[0, 3:]).all()) == ([2], True)
    plain.enable_padding(pad_id=7, pad_token="!", direction="left")
    notes = wb.saliency(Last().eval(), ["bad", "good bad good"], tokenizer=plain, **options).evidence.notes
    assert any("on the left" in n for n in notes)


def test_tokenizers_as_transformers_wraps_them(net):
    options = dict(target=0, embedding="embed")
    known = wb.saliency(net, PAIRS, tokenizer=tokenizer(), **options)
    found = wb.saliency(net, PAIRS, tokenizer=of_transformers(pad_token="[PAD]"), **options)
    assert np.array_equal(found.values, known.values, equal_nan=True)
    assert found.extras["sequence"][1].tolist() == known.extras["sequence"][1].tolist()
    last = wb.saliency(Last().eval(), ["bad", "good bad good"], tokenizer=of_transformers(pad_token="!"), **options)
    assert np.flatnonzero(last.values[0, :3]).tolist() == [2]
    unfilled = of_transformers()  # transformers refuses to fill up without such a token; here the mask is enough
    assert wb.saliency(Segments().eval(), ["bad", "good bad"], 0, tokenizer=unfilled, embedding="embed").shape == (2, 4)


def test_functions_read_pairs(net):
    def read(first, second):
        words = [*first.split(), *second.split()]
        which = [0] * len(first.split()) + [1] * len(second.split())
        ids = [VOCABULARY[w] for w in words]
        return {"ids": ids, "tokens": words, "sequence_ids": which, "type_ids": which, "word_ids": [0] * len(ids)}

    found = wb.saliency(net, [("good", "bad")], 0, "gradient_x_input", tokenizer=read, embedding="embed", words=True)
    assert found.extras["word"][1].tolist() == [["good", "bad"]]
    with pytest.raises(OptionError, match="cannot be called with 1 text"):
        wb.saliency(net, ["good"], 0, tokenizer=read, embedding="embed")
    with pytest.raises(OptionError, match="cannot be called with 2 texts"):
        wb.saliency(net, [("good", "bad")], 0, tokenizer=lambda text: read(text, text), embedding="embed")
    silent = SimpleNamespace(ids=[3, 6], tokens=["good", "bad"], word_ids=[0, 0])
    with pytest.raises(OptionError, match="sequence_ids"):
        wb.saliency(net, [("good", "bad")], 0, tokenizer=lambda *_: silent, embedding="embed", words=True)


def test_what_is_read_as_what(net):
    options = dict(target=0, tokenizer=tokenizer(), embedding="embed")
    assert wb.saliency(net, [("good", "bad")], **options).shape == (1, 5)
    assert wb.saliency(net, ["good", "bad"], **options).shape == (2, 3)
    assert wb.saliency(net, np.array(["good", "bad"]), **options).shape == (2, 3)
    for unclear in (("good", "bad"), (["good", "bad"], ["bad", "good"])):
        with pytest.raises(InputError, match="one row or several"):
            wb.saliency(net, unclear, **options)
    with pytest.raises(InputError, match="row 0 is a list of 2"):
        wb.saliency(net, [["good", "bad"]], **options)
    with pytest.raises(InputError, match="row 1 is a tuple of 3"):
        wb.saliency(net, [("good", "bad"), ("good", "bad", "!")], **options)
    with pytest.raises(InputError, match="two calls"):
        wb.saliency(net, ["good", ("good", "bad")], **options)
    with pytest.raises(InputError, match="tokenizer="):
        wb.saliency(net, [("good", "bad")], 0)


@pytest.mark.parametrize("embedding", ["embed", None])
@pytest.mark.parametrize("method", ["expected_gradients", "integrated_gradients", "deeplift", "shapley", "ablation"])
def test_background_texts_stand_place_by_place(net, method, embedding):
    """Every token acts alone: each is worth what it says less the mean of what the background says in its place."""
    if embedding is None and method not in ("shapley", "ablation"):
        return
    behind = ["bad", "good ! bad bad bad"]  # one is shorter than the rows, one longer
    rows, options = ["good unkind", "bad"], {"samples": 4096} if method == "expected_gradients" else {}
    found = wb.saliency(
        net, rows, 0, method, tokenizer=tokenizer(), embedding=embedding, background=behind, seed=1, **options
    )
    first, second = ([worth(net, t) for t in of] for of in ([2, 6, 8, 0, 0], [2, 3, 7, 6, 6]))
    own = [[2, 3, 4, 5, 8], [2, 6, 8]]
    for row, ids in enumerate(own):
        known = [worth(net, t) - (first[k] + second[k]) / 2 for k, t in enumerate(ids)]
        slack = {"expected_gradients": 0.03, "integrated_gradients": 0.02}.get(method, 1e-5)
        assert found.values[row, : len(ids)] == pytest.approx(known, abs=slack)
    assert any("2 background texts" in n and "1 of them" in n for n in found.evidence.notes)


def test_background_tokens_by_number_and_pairs(net):
    ids = np.array([[2, 3, 6], [2, 6, 3]])
    whole = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    behind = {name: a[:1] for name, a in whole.items()}
    found = wb.saliency(net, whole, 0, "expected_gradients", embedding="embed", background=behind, samples=32)
    assert np.allclose(found.values[0], 0)
    assert np.abs(found.values[1, 1:]).min() > 0
    options = dict(target=0, method="expected_gradients", tokenizer=tokenizer(), embedding="embed", samples=32)
    pairs = wb.saliency(net, PAIRS, background=PAIRS[:1], **options)
    assert np.allclose(pairs.values[0], 0)
    assert np.abs(pairs.values[1, [1, 3, 4]]).min() > 0
    with pytest.raises(InputError, match="background holds single texts"):
        wb.saliency(net, PAIRS, background=["good"], **options)
    with pytest.raises(InputError, match="the rows do not"):
        wb.saliency(net, whole, 0, "expected_gradients", embedding="embed", background=["good"])
    with pytest.raises(InputError, match="same names"):
        wb.saliency(net, whole, 0, "expected_gradients", embedding="embed", background={"input_ids": ids})
    with pytest.raises(OptionError, match="leave one of the two out"):
        wb.saliency(net, PAIRS, background=PAIRS, baseline_token=1, **options)
    with pytest.raises(InputError, match="texts for texts"):
        wb.saliency(net, PAIRS, background=ids, **options)
