"""Small networks and inputs that Python blocks of the pages take as given: phrase of the block -> the names it needs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from torch import nn

from networks.minilm import Embeddings
from networks.small import convolutional, digits, rows, seeded
from networks.small import pictures as noise

SPECIAL = ("[PAD]", "[MASK]", "[UNK]", "[CLS]", "[SEP]")
TEXTS = ["the film was good and long", "we saw a dull story", "it was in may", "the actors were fine in it"]
PAIRS = [("who wrote it ?", "it was written by ann ."), ("when ?", "in may ."), ("who saw it ?", "we saw it .")]


class Crowd(nn.Module):
    """Detects bright squares: for each picture, its boxes and their scores, the best first."""

    def forward(self, pictures):
        squares = nn.functional.avg_pool2d(pictures.mean(1, keepdim=True), 16).flatten(1)
        scores, places = squares.sigmoid().sort(dim=1, descending=True)
        high, wide = places // (pictures.shape[-1] // 16) * 16, places % (pictures.shape[-1] // 16) * 16
        boxes = torch.stack([wide, high, wide + 16, high + 16], dim=2)
        return [{"boxes": b, "scores": s[s > 0.5]} for b, s in zip(boxes, scores, strict=True)]


class Bert(nn.Module):
    """The embeddings of MiniLM, small, and one layer of attention."""

    def __init__(self, words, width=12):
        super().__init__()
        self.embeddings = Embeddings(width, words)
        self.encoder = nn.TransformerEncoderLayer(width, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.encoder(
            self.embeddings(input_ids, token_type_ids), src_key_padding_mask=(attention_mask == 0).contiguous()
        )


class Classifier(nn.Module):
    """Three classes of a text, from the mean of its tokens."""

    def __init__(self, words):
        super().__init__()
        self.bert, self.judge = Bert(words), nn.Linear(12, 3)

    def forward(self, input_ids, attention_mask, token_type_ids):
        mask = attention_mask.to(torch.float32)[..., None]
        found = self.bert(input_ids, attention_mask, token_type_ids)
        return self.judge((found * mask).sum(1) / mask.sum(1))


class Reader(nn.Module):
    """Where an answer starts and ends, as question answering gives it."""

    def __init__(self, words):
        super().__init__()
        self.bert, self.ends = Bert(words), nn.Linear(12, 2)

    def forward(self, ids):
        out = self.ends(self.bert(ids, torch.ones_like(ids), torch.zeros_like(ids)))
        return SimpleNamespace(start_logits=out[..., 0], end_logits=out[..., 1])


class Regions(nn.Module):
    """Numbers and the id of a region."""

    def __init__(self):
        super().__init__()
        self.known, self.judge = nn.Embedding(6, 4), nn.Sequential(nn.Linear(7, 8), nn.Tanh(), nn.Linear(8, 2))

    def forward(self, age, region):
        return self.judge(torch.cat([age, self.known(region)], dim=1))


class Scan(nn.Module):
    """A picture and a table."""

    def __init__(self, channels, columns):
        super().__init__()
        self.see, self.read = nn.Conv2d(channels, 4, 3), nn.Linear(columns, 6)
        self.judge = nn.Linear(10, 3)

    def forward(self, image, age):
        return self.judge(torch.cat([torch.relu(self.see(image)).mean((2, 3)), torch.relu(self.read(age))], dim=1))


class Stages(nn.Module):
    """Four stages of convolutions, as in a residual network."""

    def __init__(self):
        super().__init__()
        sizes = (1, 4, 6, 8, 10)
        for i in range(4):
            stage = nn.Sequential(nn.Conv2d(sizes[i], sizes[i + 1], 3, padding=1), nn.ReLU())
            self.add_module(f"layer{i + 1}", stage)
        self.fc = nn.Linear(10, 5)

    def forward(self, x):
        x = self.layer2(nn.functional.max_pool2d(self.layer1(x), 2))
        return self.fc(self.layer4(self.layer3(x)).mean((2, 3)))


class Encoded(nn.Module):
    """A table, encoded in one layer of units."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleDict({"linear": nn.Linear(6, 9), "act": nn.GELU()})
        self.judge = nn.Linear(9, 3)

    def forward(self, x):
        return self.judge(self.encoder["act"](self.encoder["linear"](x)))


class Features(nn.Module):
    """Features of pictures, one layer after the other, and what judges them."""

    def __init__(self):
        super().__init__()
        convolutions = [nn.Conv2d(c, 6, 3, padding=1) for c in (1, 6, 6, 6)]
        self.features = nn.Sequential(*(layer for c in convolutions for layer in (c, nn.ReLU())))
        self.judge = nn.Linear(6, 4)

    def forward(self, x):
        return self.judge(self.features(x).mean((2, 3)))


def of_digits():
    """Tells digits apart, without ReLU, whose kinks leave gradients unchecked."""
    pictures = digits()[0][:2]
    net = convolutional(nn.Tanh, channels=1, outputs=10, places=(8, 8))
    return {"net": net, "pictures": pictures, "images": pictures}


def of_unusual_outputs():
    """A detector, and a reader of texts, whose outputs are no single array."""
    ids = np.random.default_rng(0).integers(len(SPECIAL), 20, (2, 7))
    return {
        "torch": torch,
        "detector": seeded(Crowd),
        "pictures": noise(2, (3, 64, 64)),
        "reader": seeded(lambda: Reader(20)),
        "ids": ids,
    }


def of_numbers_and_ids():
    ids = np.random.default_rng(0).integers(0, 6, 60)
    return {"net": seeded(Regions), "x": rows(3, 3), "ids": ids[:3], "x_train": rows(60, 3, seed=1), "ids_train": ids}


def of_stages():
    return {"net": seeded(Stages), "pictures": digits()[0][:2]}


def of_layers():
    return {"net": seeded(Encoded), "x": rows(3, 6), "classifier": seeded(Features), "pictures": digits()[0][:2]}


def of_parts():
    """Superpixels of quarters of a picture, and two groups of four columns."""
    quarters = np.repeat(np.repeat([[0, 1], [2, 3]], 16, axis=0), 8, axis=1)
    return {
        "net": seeded(lambda: Scan(3, 4)),
        "image": noise(2, (3, 32, 16)),
        "table": rows(2, 4),
        "superpixels": quarters,
        "groups": np.array([4, 4, 5, 5]),
    }


def of_two_inputs():
    table = pd.DataFrame(rows(6, 2), columns=["age", "bmi"])
    return {"net": seeded(lambda: Scan(1, 2)), "pictures": digits()[0][:6], "table": table}


def of_texts():
    """A small BERT that has learned nothing, and a tokenizer of whole words."""
    import tokenizers

    words = sorted({w for text in [*TEXTS, *(t for pair in PAIRS for t in pair)] for w in text.split()})
    number = {w: i for i, w in enumerate([*SPECIAL, *words])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(number, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(t, number[t]) for t in SPECIAL[3:]],
    )
    net = seeded(lambda: Classifier(len(number)))
    return {"net": net, "tokenizer": tokenizer, "texts": TEXTS, "target": 1, "other_pairs": PAIRS}


BEFORE = {
    "README.md": {'"network.html"': of_digits},
    "docs/saliency.md": {
        "net.eval()": of_digits,
        "detector": of_unusual_outputs,
        "ids_train": of_numbers_and_ids,
        '"gradcam"': of_stages,
        '"conductance"': of_layers,
        "superpixels": of_parts,
        "words=True": of_texts,
        "wb.report(net, {": of_two_inputs,
    },
    "docs/checks.md": {"images": of_digits, "texts": of_texts},
}
