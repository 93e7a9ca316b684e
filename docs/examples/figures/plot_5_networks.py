"""
Maps of networks
================

Which parts of an input a network depends on (:func:`whybox.saliency`).
"""

import torch
from skimage.data import lfw_subset
from torch import nn

import whybox as wb

torch.manual_seed(0)
pictures = torch.tensor(lfw_subset(), dtype=torch.float32)[:, None]
is_face = torch.tensor([1] * 100 + [0] * 100)
net = nn.Sequential(
    nn.Conv2d(1, 8, 5),
    nn.ReLU(),
    nn.MaxPool2d(3),
    nn.Flatten(),
    nn.Linear(8 * 7 * 7, 2),
)
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
for _ in range(80):
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(pictures), is_face).backward()
    optimizer.step()
net.eval()

# %%
# Several methods beside the picture
maps = wb.saliency(
    net, pictures[:2], 1, method=["integrated_gradients", "occlusion", "shapley"]
)
first, *others = maps.values()
first.plot.beside(*others)

# %%
# One map over the picture
maps["integrated_gradients"].plot.overlay(0)

# %%
# A series: this network adds up where a bump of twelve steps fits, so the map should
# find the bump
bump = torch.hann_window(12)
series = 0.05 * torch.randn(1, 1, 120, generator=torch.Generator().manual_seed(0))
series[0, 0, 60:72] += bump
finds = nn.Conv1d(1, 1, 12, bias=False)
finds.weight.data[0, 0] = bump - bump.mean()
looks = nn.Sequential(
    finds, nn.ReLU(), nn.Flatten(), nn.Linear(109, 1, bias=False)
).eval()
looks[3].weight.data[:] = 1
wb.saliency(looks, series, 0, "integrated_gradients").plot.track()
