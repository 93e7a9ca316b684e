"""Checks of maps of tokens and words, on a small network that learned which words praise and which blame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

import whybox as wb
from whybox.checks.faithfulness import TOGETHER_LINE
from whybox.checks.model_randomization import ALL_LAYERS, TOP_LAYER
from whybox.checks.stability import SMALL_NOISE_LINE
from whybox.errors import InputError, OptionError
from whybox.methods.saliency.base import Method, MethodOutput

nn = torch.nn
GOOD, BAD = ("good", "wonderful", "fine", "superb", "nice"), ("bad", "terrible", "poor", "dreadful", "dull")
REST = (
    "the",
    "film",
    "was",
    "and",
    "story",
    "with",
    "actors",
    "in",
    "yesterday",
    "we",
    "saw",
    "extraordinarily",
    "long",
)
WORDS = ("[PAD]", "[MASK]", "[UNK]", "[CLS]", "[SEP]", *GOOD, *BAD, *REST)
NUMBER = {w: i for i, w in enumerate(WORDS)}


@pytest.fixture(scope="module")
def tokenizer():
    """Words are tokens."""
    tk = pytest.importorskip("tokenizers")
    return made(tk, "[CLS] $A [SEP]")


def made(tk, form):
    found = tk.Tokenizer(tk.models.WordLevel(NUMBER, unk_token="[UNK]"))
    found.pre_tokenizer = tk.pre_tokenizers.Whitespace()
    special = [(t, NUMBER[t]) for t in ("[CLS]", "[SEP]")]
    found.post_processor = tk.processors.TemplateProcessing(single=form, special_tokens=special)
    return found


class Reader(nn.Module):
    """One layer of attention, and the mean of what it says."""

    def __init__(self):
        super().__init__()
        self.embed, self.place = nn.Embedding(len(WORDS), 12), nn.Embedding(40, 12)
        self.query, self.value = nn.Linear(12, 12), nn.Linear(12, 12)
        self.inner, self.last = nn.Linear(12, 12), nn.Linear(12, 2)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.to(torch.float32)
        x = self.embed(input_ids) + 0.1 * self.place(torch.arange(input_ids.shape[1]))
        weights = (self.query(x) @ x.transpose(1, 2) / 3 + (1 - mask)[:, None] * -1e9).softmax(-1)
        x = torch.tanh(self.inner(x + weights @ self.value(x)))
        return self.last((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


def sentences(count, seed):
    rng = np.random.default_rng(seed)
    return [
        " ".join(
            rng.choice(GOOD + BAD) if rng.random() < 0.35 else rng.choice(REST) for _ in range(rng.integers(5, 12))
        )
        for _ in range(count)
    ]


def praise(text):
    return sum((w in GOOD) - (w in BAD) for w in text.split())


@pytest.fixture(scope="module")
def net():
    texts = [t for t in sentences(1500, 0) if praise(t)]
    ids = np.zeros((len(texts), 13), dtype=np.int64)
    for row, text in zip(ids, texts, strict=True):
        some = [NUMBER["[CLS]"], *(NUMBER[w] for w in text.split()), NUMBER["[SEP]"]]
        row[: len(some)] = some
    ids, y = torch.tensor(ids), torch.tensor([praise(t) > 0 for t in texts]).long()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = Reader()
        optimiser = torch.optim.Adam(found.parameters(), 1e-2)
        for _ in range(120):
            some = torch.randint(0, len(y) - 200, (64,))
            optimiser.zero_grad()
            nn.functional.cross_entropy(found(ids[some], (ids[some] > 0).long()), y[some]).backward()
            optimiser.step()
    assert (found.eval()(ids[-200:], (ids[-200:] > 0).long()).argmax(1) == y[-200:]).float().mean() > 0.9
    return found


@pytest.fixture(scope="module")
def texts():
    return sentences(10, 5)


@dataclass(frozen=True)
class Told(Method):
    """A method that never asks the network: a number for each token, or its place, or chance."""

    worth: tuple = ()
    drawn: bool = False
    name: ClassVar[str] = "told"
    title: ClassVar[str] = "Told"
    needs_gradients: ClassVar[bool] = False

    def __call__(self, problem):
        x = problem.inputs[0].x
        own = np.random.default_rng(7).normal(size=x.shape) if self.drawn else np.arange(x.shape[1], dtype=float)
        value = np.array(self.worth)[x] if self.worth else np.broadcast_to(own, x.shape).copy()
        return MethodOutput([[value, *(None for _ in problem.inputs[1:])]], "none", "none", exact=True)


LENGTHS = Told(tuple(float(len(w)) for w in WORDS))
RIGHT = ("integrated_gradients", "deeplift", "gradient_x_input", "ablation", "occlusion", "shapley")
FOUND = ("deletion, [MASK]", "insertion, [MASK]", "deletion, hidden by the mask", "insertion, hidden by the mask")


@pytest.mark.parametrize("method", RIGHT)
def test_right_maps_of_words_pass(net, texts, tokenizer, method):
    embedding = "embed" if method in RIGHT[:3] else None
    options = {"samples": 48} if method == "shapley" else {}
    texts = texts if method == "gradient_x_input" else texts[:6]
    e = wb.saliency(
        net, texts, 1, method, tokenizer=tokenizer, embedding=embedding, words=method != "deeplift", **options
    )
    found = wb.check(e, net, texts, tokenizer=tokenizer)
    assert found.passed, str(found)
    assert found["reproduced"].number < 1e-5
    for line in (ALL_LAYERS, TOP_LAYER, *FOUND, TOGETHER_LINE):
        assert found[line].verdict == "pass", str(found)
    assert found[SMALL_NOISE_LINE].verdict == ("pass" if embedding else "not applicable"), str(found)
    assert found["completeness"].verdict == ("not applicable" if method in RIGHT[2:5] else "pass")
    controls = set(found[ALL_LAYERS].details["controls"])
    assert controls == {"the position in the text", "the length in letters"} | (
        {"the size of the embedding's vector"} if embedding else set()
    )


@pytest.mark.parametrize("method", [LENGTHS, Told(), Told(drawn=True)], ids=["length", "place", "random"])
def test_maps_that_know_nothing_of_the_network_fail(net, texts, tokenizer, method):
    e = wb.saliency(net, texts, 1, method, tokenizer=tokenizer)
    found = wb.check(e, net, texts, tokenizer=tokenizer, method=method)
    assert found.verdict == "fail"
    for line in (ALL_LAYERS, TOP_LAYER):
        assert found[line].verdict == "fail", str(found)
    assert found[TOGETHER_LINE].verdict in ("fail", "cannot tell"), str(found)
    assert found[ALL_LAYERS].number == pytest.approx(1.0)
    if method is LENGTHS:
        assert found[ALL_LAYERS].details["controls"]["the length in letters"] == pytest.approx(1.0)


def test_a_map_of_another_class_is_worse_than_chance(net, texts, tokenizer):
    e = wb.saliency(net, texts, 1, "ablation", tokenizer=tokenizer)
    turned = replace(e, values=-e.values)
    found = wb.check(turned, net, texts, tokenizer=tokenizer, checks=("numerical", "faithfulness"))
    assert found["reproduced"].verdict == "fail"
    for line in FOUND:
        assert found[line].verdict == "fail"
        assert found[line].number < -0.5


def test_what_fills_texts_up_does_not_count(net, texts, tokenizer):
    """The same lines, whatever longer text stands beside."""
    alone = wb.saliency(net, texts[:6], 1, "ablation", tokenizer=tokenizer)
    beside = wb.saliency(net, [*texts[:6], " ".join(["the"] * 30)], 1, "ablation", tokenizer=tokenizer)
    judged = ("model dependence", "faithfulness")
    a = wb.check(alone, net, texts[:6], tokenizer=tokenizer, checks=judged)
    b = wb.check(beside[:6], net, [*texts[:6], " ".join(["the"] * 30)], tokenizer=tokenizer, checks=judged)
    for line in (ALL_LAYERS, *FOUND[:2]):
        assert a[line].number == pytest.approx(b[line].number, abs=0.12)
        assert a[line].verdict == b[line].verdict == "pass"
    padded = wb.check(beside, net, [*texts[:6], " ".join(["the"] * 30)], tokenizer=tokenizer, checks="faithfulness")
    assert "to 30 parts" in padded[FOUND[0]].reason


def test_numbers_of_tokens_and_their_mask(net, texts, tokenizer):
    rows = [tokenizer.encode(t).ids for t in texts]
    width = max(map(len, rows)) + 3
    ids = np.array([[*r, *[0] * (width - len(r))] for r in rows])
    inputs = (ids, (ids > 0).astype(np.int64))
    for given in (inputs, {"input_ids": inputs[0], "attention_mask": inputs[1]}):
        e = wb.saliency(net, given, 1, "integrated_gradients", embedding="embed", baseline_token=1)
        found = wb.check(e, net, given, checks=("numerical", "faithfulness", "stability"))
        assert found["reproduced"].number < 1e-5
        assert {c.name for c in found.rows} >= {"deletion, token 1", "insertion, tokens drawn from all texts"}
        assert found[TOGETHER_LINE].verdict == "pass", str(found)
        assert "to 13 parts" in found["deletion, token 1"].reason  # of 16 places
        assert found[SMALL_NOISE_LINE].verdict == "pass"
    with pytest.raises(InputError, match="other token ids"):
        wb.check(e, net, {**given, "input_ids": ids[::-1].copy()})
    with pytest.raises(InputError, match="baseline of tokens is not the one"):
        wb.check(e, net, given, baseline_token=2)
    with pytest.raises(OptionError, match="absent='hidden' is not possible"):  # the mean of nothing is no number
        wb.check(e, net, given, checks="faithfulness", absent=("hidden", "other tokens"))


def test_a_network_without_a_mask_takes_other_tokens(texts, tokenizer):
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.last = nn.Embedding(len(WORDS), 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.last(torch.tanh(self.embed(x)).sum(1))

    torch.manual_seed(0)
    bag, ids = Bag().eval(), np.random.default_rng(0).integers(5, len(WORDS), size=(8, 9))
    e = wb.saliency(bag, ids, 0, "integrated_gradients", embedding="embed", baseline_token=1)
    found = wb.check(e, bag, ids, checks="faithfulness")
    assert [c.name for c in found.rows if "deletion" in c.name] == [
        "deletion, token 1",
        "deletion, tokens drawn from all texts",
    ]
    alone = wb.saliency(bag, ids[:1], 0, "gradient", embedding="embed")
    lonely = wb.check(alone, bag, ids[:1], checks="faithfulness")[TOGETHER_LINE]
    assert (lonely.verdict, "two replacements" in lonely.reason) == ("not applicable", True)


def test_short_texts_say_that_nothing_can_be_said(net, tokenizer):
    few = ["bad film", "good story", "nice"]
    e = wb.saliency(net, few, 1, "ablation", tokenizer=tokenizer)
    found = wb.check(e, net, few, tokenizer=tokenizer)
    assert found.passed
    for line in (ALL_LAYERS, TOP_LAYER, TOGETHER_LINE):
        assert found[line].verdict == "not applicable"
    assert "3" not in found[TOGETHER_LINE].reason
    assert "three tokens" in found[TOGETHER_LINE].reason
    one = ["the bad film was"]
    e = wb.saliency(net, one, 1, "ablation", tokenizer=tokenizer)
    found = wb.check(e, net, one, tokenizer=tokenizer)
    assert "only 24 orders" in found[TOGETHER_LINE].reason
    assert found[ALL_LAYERS].verdict in ("pass", "not applicable")


def test_what_is_not_kept_is_brought_again(net, texts, tokenizer, tmp_path):
    tk = pytest.importorskip("tokenizers")
    options = dict(tokenizer=tokenizer, embedding="embed", words=True)
    e = wb.saliency(net, texts, 1, "integrated_gradients", baseline_token="[PAD]", **options)
    with pytest.raises(OptionError, match="pass the same one: tokenizer="):
        wb.check(e, net, texts)
    with pytest.raises(InputError, match="another tokenizer"):
        wb.check(e, net, texts, tokenizer=made(tk, "[CLS] $A"))
    with pytest.raises(InputError, match="text 2 is"):
        wb.check(e, net, [*texts[:2], "bad", *texts[3:]], tokenizer=tokenizer)
    with pytest.raises(InputError, match="not token ids"):
        wb.check(e, net, np.ones((10, 4), dtype=int), tokenizer=tokenizer)
    with pytest.raises(InputError, match="another network"):
        wb.check(e, Reader().eval(), texts, tokenizer=tokenizer)
    with pytest.raises(InputError, match="embedding='place'"):
        wb.check(e, net, texts, tokenizer=tokenizer, embedding="place")
    with pytest.raises(InputError, match="baseline_token"):
        wb.check(e, net, texts, tokenizer=tokenizer, baseline_token="[MASK]")
    with pytest.raises(OptionError, match="'absent token', 'hidden'"):
        wb.check(e, net, texts, tokenizer=tokenizer, absent=("zero", "blur"))
    with pytest.raises(OptionError, match="is for maps of tokens"):
        wb.check(
            wb.saliency(nn.Linear(4, 1).eval(), np.ones((2, 4))),
            nn.Linear(4, 1).eval(),
            np.ones((2, 4)),
            tokenizer=tokenizer,
        )
    e.save(tmp_path / "words.whybox")
    found = wb.check(
        wb.load(tmp_path / "words.whybox"), net, texts, tokenizer=tokenizer, embedding="embed", checks="numerical"
    )
    assert found["reproduced"].number < 1e-5
    old = replace(
        e,
        evidence=replace(e.evidence, settings={k: v for k, v in e.evidence.settings.items() if k != "baseline_token"}),
    )
    with pytest.raises(InputError, match="pass baseline_token="):
        wb.check(old, net, texts, tokenizer=tokenizer)
    assert wb.check(old, net, texts, tokenizer=tokenizer, baseline_token="[PAD]", checks="numerical").passed


def test_targets_rows_and_channels(net, texts, tokenizer):
    options = dict(tokenizer=tokenizer, embedding="embed")
    for target in (None, "all", lambda y: y[:, 1] - y[:, 0]):
        e = wb.saliency(net, texts, target, "gradient_x_input", **options)
        found = wb.check(
            e,
            net,
            texts,
            tokenizer=tokenizer,
            target=target if callable(target) else None,
            max_rows=5,
            checks=("numerical", "faithfulness"),
        )
        assert found["reproduced"].number < 1e-5
        assert found[FOUND[0]].verdict == "pass", str(found)
    e = wb.saliency(net, texts, 1, "gradient_x_input", reduce=None, **options)
    found = wb.check(e[3:], net, texts, tokenizer=tokenizer)
    assert found["reproduced"].number < 1e-5
    assert found[ALL_LAYERS].verdict == "pass", str(found)
    noisy = wb.saliency(net, texts, 1, "smoothgrad", samples=30, words=True, **options)
    found = wb.check(noisy, net, texts, tokenizer=tokenizer, checks=("numerical", "stability"))
    assert found["noise"].number == pytest.approx(np.median(found["noise"].details["rows"]))
    assert found["reproduced"].verdict == found["noise"].verdict == "pass", str(found)


def test_rows_far_apart_and_shorter_types_go_through_the_embedding_again(net, texts, tokenizer):
    """What is drawn hangs on a row's place, so the first rows are asked again; a shorter type is held against few rows."""
    options = dict(tokenizer=tokenizer, embedding="embed")
    drawn = wb.saliency(net, texts, 1, "smoothgrad", samples=4, **options)
    found = wb.check(drawn, net, texts, tokenizer=tokenizer, checks="numerical", max_rows=3)
    assert found["reproduced"].verdict == "pass", str(found)
    assert "4 rows differ" in found["reproduced"].reason
    other = wb.check(
        replace(drawn, values=-drawn.values), net, texts, tokenizer=tokenizer, checks="numerical", max_rows=3
    )
    assert other["reproduced"].verdict == "fail"
    for method in ("gradient", "integrated_gradients"):  # the second has a baseline for each row
        short = wb.saliency(net, texts, 1, method, dtype="bfloat16", **options)
        found = wb.check(short, net, texts, tokenizer=tokenizer, checks="numerical", max_rows=6)["dtype"]
        assert 0 < found.number < 0.05, found.reason


def test_scales_at_the_end_are_no_top_layer(texts, tokenizer):
    """A LayerNorm drawn anew changes nothing: a map that stays is no fault of the map's."""

    class Ends(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.inner, self.norm = nn.Embedding(len(WORDS), 8), nn.Linear(8, 8), nn.LayerNorm(8)

        def forward(self, input_ids):
            return self.norm(self.inner(torch.tanh(self.embed(input_ids))).mean(1))

    torch.manual_seed(3)
    ends = Ends().eval()
    ends.norm.weight.data.uniform_(0.8, 1.2)
    ids = np.random.default_rng(1).integers(5, len(WORDS), size=(8, 10))
    e = wb.saliency(ends, ids, 2, "ablation", embedding="embed", baseline_token=1)
    line = wb.check(e, ends, ids, checks="model dependence")[TOP_LAYER]
    assert line.verdict == "pass", line.reason
    assert "'norm' and 1 before it, down to 'inner'" in line.reason


@pytest.mark.parametrize("method", ["expected_gradients", "ablation"])
def test_a_background_of_texts_is_read_again(net, texts, tokenizer, method):
    behind = ["the film was long", "we saw the story yesterday"]
    options = dict(tokenizer=tokenizer, embedding="embed" if method == "expected_gradients" else None)
    texts = texts if method == "expected_gradients" else texts[:6]
    e = wb.saliency(net, texts, 1, method, background=behind, **options)
    judged = ("numerical", "model dependence", "faithfulness") if method == "expected_gradients" else "all"
    found = wb.check(e, net, texts, tokenizer=tokenizer, background=behind, checks=judged)
    assert found["reproduced"].number < 1e-5
    assert found[ALL_LAYERS].verdict == "pass", str(found)
    assert found[FOUND[0]].verdict == "pass", str(found)
    for other, error in ((None, (InputError, OptionError)), (behind[::-1], InputError)):
        with pytest.raises(error, match="background"):
            wb.check(e, net, texts, tokenizer=tokenizer, background=other)
    plain = wb.saliency(net, texts, 1, "gradient", tokenizer=tokenizer, embedding="embed")
    with pytest.raises(InputError, match="background"):
        wb.check(plain, net, texts, tokenizer=tokenizer, background=behind)


def test_pairs_are_read_again(net, texts):
    tk = pytest.importorskip("tokenizers")
    pairs = list(zip(texts[:5], texts[5:], strict=True))
    reader = made(tk, "[CLS] $A [SEP]")
    special = [(t, NUMBER[t]) for t in ("[CLS]", "[SEP]")]
    reader.post_processor = tk.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=special
    )
    e = wb.saliency(net, pairs, 1, "ablation", tokenizer=reader, words=True)
    found = wb.check(e, net, pairs, tokenizer=reader)
    assert found["reproduced"].number < 1e-5
    assert found[FOUND[0]].verdict == found[ALL_LAYERS].verdict == "pass", str(found)
    with pytest.raises(InputError, match="text 0 is"):
        wb.check(e, net, [(b, a) for a, b in pairs], tokenizer=reader)
