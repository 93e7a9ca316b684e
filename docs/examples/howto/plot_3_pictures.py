"""
A picture classifier
====================

A small network tells faces from other pictures. We ask where it looks, compare methods, and check whether the maps can
be trusted before anybody looks at them.

The 200 pictures are real: the subset of *Labeled Faces in the Wild* that ships with scikit-image (Huang et al. 2007).
"""

import numpy as np
import torch
from skimage.data import lfw_subset
from torch import nn

import whybox as wb

# (200, 1, 25, 25): 100 faces, 100 others
pictures = torch.tensor(lfw_subset(), dtype=torch.float32)[:, None]
is_face = torch.tensor([1] * 100 + [0] * 100)
order = torch.tensor(np.random.default_rng(0).permutation(200))
train, test = order[:150], order[150:]

torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(16 * 12 * 12, 2),
)
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
for _ in range(60):
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(pictures[train]), is_face[train]).backward()
    optimizer.step()
net.eval()
right = (net(pictures[test]).argmax(1) == is_face[test]).float().mean()
print(f"{right:.0%} of {len(test)} held-out pictures are right")

# %%
# Where does it look?
# -------------------
#
# Integrated gradients add up to the difference of the score from that of a baseline,
# and the evidence names rows where they do not.

faces = pictures[test][is_face[test] == 1][:4]
names = ["other", "face"]
e = wb.saliency(net, faces, "face", "integrated_gradients", output_names=names)
e.plot.beside()

# %%
# Shapley values of patches need no gradients, and have standard errors. A list of
# methods makes one map each.

maps = wb.saliency(
    net, faces, "face", method=["gradient", "shapley"], output_names=names
)
maps["shapley"].plot.overlay(0)

# %%

maps["gradient"].plot.overlay(0)

# %%
# Can the maps be trusted?
# ------------------------
#
# :func:`whybox.check` computes the map again, randomises the network, removes what the
# map names, and disturbs the picture. "cannot tell" means that these pictures are too
# few to decide.

checks = wb.check(e, net, faces)
print(checks)

# %%
# What this does not tell
# -----------------------
#
# A map says which pixels the score depends on. It does not say what the network takes
# them for, and a map that passes every check may still be hard to read. See
# :doc:`/docs/checks` for what each check cannot show.
