"""Networks that the benchmarks of saliency maps explain."""

from __future__ import annotations

import torch
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
