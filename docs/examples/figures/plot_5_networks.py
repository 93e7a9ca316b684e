"""
Maps of networks
================

Which parts of an input a network depends on (:func:`whybox.saliency`).
"""

import numpy as np
import torch
from skimage.data import lfw_subset
from torch import nn

import whybox as wb

torch.manual_seed(0)
pictures = torch.tensor(lfw_subset(), dtype=torch.float32)[:, None]
is_face = torch.tensor([1] * 100 + [0] * 100)
net = nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(8 * 7 * 7, 2))
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
for _ in range(80):
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(pictures), is_face).backward()
    optimizer.step()
net.eval()

# %%
# Several methods beside the picture
maps = wb.saliency(net, pictures[:2], 1, method=["integrated_gradients", "occlusion", "shapley"])
first, *others = maps.values()
first.plot.beside(*others)

# %%
# One map over the picture
maps["integrated_gradients"].plot.overlay(0)

# %%
# A series: a network that looks for a bump
series = torch.zeros(1, 1, 120)
series[0, 0, 60:72] = torch.tensor(np.hanning(12))
series += 0.05 * torch.randn(1, 1, 120, generator=torch.Generator().manual_seed(0))
bump = nn.Sequential(nn.Conv1d(1, 4, 9, padding=4), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 120, 1)).eval()
wb.saliency(bump, series, 0, "integrated_gradients").plot.track()
