"""Networks that the benchmarks of saliency maps explain."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn


class Residual(nn.Module):
    """Two convolutions around which the input is led."""

    def __init__(self, wide_in: int, wide: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(wide_in, wide, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(wide)
        self.second = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
        self.norm_2 = nn.BatchNorm2d(wide)
        self.around = nn.Conv2d(wide_in, wide, 1, stride) if stride > 1 or wide_in != wide else nn.Identity()
        self.relu = nn.ReLU()
        self.relu_2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forward."""
        y = self.norm_2(self.second(self.relu(self.norm(self.first(x)))))
        return self.relu_2(y + self.around(x))


def residual(classes: int = 10) -> nn.Module:
    """A residual network of 1.6 million parameters for pictures of 3 x 64 x 64."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), Residual(32, 48, 1), Residual(48, 96, 2), Residual(96, 128, 2), Residual(128, 256, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, classes),
    ).eval()  # fmt: skip


class Transformer(nn.Module):
    """A vision transformer of 1.8 million parameters for pictures of 3 x 64 x 64."""

    def __init__(
        self, classes: int = 10, size: int = 64, patch: int = 8, wide: int = 192, depth: int = 4, channels: int = 3
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, wide, patch, patch)
        self.place = nn.Parameter(torch.randn(1, (size // patch) ** 2, wide) * 0.02)
        self.blocks = nn.ModuleList([Block(wide) for _ in range(depth)])
        self.norm = nn.LayerNorm(wide)
        self.head = nn.Linear(wide, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forward."""
        x = self.patches(x).flatten(2).transpose(1, 2) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


class Block(nn.Module):
    """Attention and a layer of twice the width."""

    def __init__(self, wide: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_2 = nn.LayerNorm(wide), nn.LayerNorm(wide)
        self.qkv, self.out = nn.Linear(wide, 3 * wide), nn.Linear(wide, wide)
        self.up, self.down = nn.Linear(wide, 4 * wide), nn.Linear(4 * wide, wide)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forward."""
        n, t, w = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, w))
        return x + self.down(nn.functional.gelu(self.up(self.norm_2(x))))


def cnn(act: Callable[[], nn.Module], pool: Callable[[int], nn.Module]) -> nn.Module:
    """Three convolutions for pictures of 1 x 8 x 8."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), act(), nn.Conv2d(16, 32, 3, padding=1), act(), pool(2)),
        *(nn.Conv2d(32, 32, 3, padding=1), act(), nn.Flatten(), nn.Linear(512, 64), act(), nn.Linear(64, 10)),
    )


DIGITS = {
    "ReLU CNN, max pooling": lambda: cnn(nn.ReLU, nn.MaxPool2d),
    "GELU CNN": lambda: cnn(nn.GELU, nn.AvgPool2d),
    "ViT": lambda: Transformer(size=8, patch=2, wide=48, depth=3, channels=1),
}


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scikit-learn's digits: 1,400 pictures to learn from (rows, 1, 8, 8), their classes, and the other pictures."""
    loaded = load_digits()
    order = np.random.default_rng(0).permutation(len(loaded.target))
    pictures = torch.tensor((loaded.images / 16).astype(np.float32)[order, None])
    return pictures[:1400], torch.tensor(loaded.target[order])[:1400], pictures[1400:]


def taught(x: torch.Tensor, y: torch.Tensor) -> Iterator[tuple[str, nn.Module]]:
    """Each of the networks for digits, after 25 epochs."""
    for name, make in DIGITS.items():
        torch.manual_seed(0)
        net = make()
        optimizer = torch.optim.AdamW(net.parameters(), 2e-3)
        shuffle = torch.Generator().manual_seed(0)
        for _ in range(25):
            for batch in torch.randperm(len(x), generator=shuffle).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
                optimizer.step()
        yield name, net.eval()
