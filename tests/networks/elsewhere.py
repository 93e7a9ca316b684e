"""Every method, and the checks, with the network on another device, beside the processor; prints JSON. A process of its own, since torch keeps its devices for good.

python -m networks.elsewhere
"""

from __future__ import annotations

import copy
import json
import sys

import numpy as np
import torch
from torch import nn

import whybox as wb
from networks import accelerator
from networks.small import Formula, convolutional, seeded
from whybox.adapters.torch.capture_on_device import captured
from whybox.adapters.torch.module import wrap
from whybox.errors import WhyboxError
from whybox.methods.registry import family_ids

FEW = {
    "smoothgrad": {"samples": 6},
    "vargrad": {"samples": 6},
    "rise": {"samples": 32},
    "shapley": {"samples": 120},
    "gradcam": {"layer": "0"},
    "gradcam++": {"layer": "1"},
    "layercam": {"layer": "1"},
    "scorecam": {"layer": "1"},
    "occlusion": {"window": 3},
    "guided_gradcam": {"layer": "1"},
    "layer_integrated_gradients": {"layer": "1"},
    "conductance": {"layer": "1"},
}
OF_LAYERS = ("layer_integrated_gradients", "conductance")  # fmt: skip


class Attending(nn.Module):
    """Pictures as sequences: attention, norms, residuals, a buffer, and a mask made on the way."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 3, 3)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
        self.head = nn.Linear(8, 5)
        self.register_buffer("scale", torch.tensor(0.5))

    def forward(self, x):
        h = self.patches(x).flatten(2).transpose(1, 2) * self.scale
        mask = torch.ones(h.shape[1], device=x.device)
        mask[-1] = 0
        h = self.layer(h) * mask[None, :, None].to(h.dtype)
        return self.head(h.mean(1))


class Reading(nn.Module):
    """A classifier of tokens."""

    def __init__(self):
        super().__init__()
        self.embed, self.body = nn.Embedding(12, 6), nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, tokens):
        return self.body(self.embed(tokens).cumsum(1)).mean(1)


def maps(net, x, target, method, **options):
    """Numbers of every map, or what was refused."""
    try:
        e = wb.saliency(net, x, target, method, **options)
        return np.concatenate([a.values.ravel() for a in (e if isinstance(e, tuple) else (e,))])
    except WhyboxError as error:
        return f"{type(error).__name__}: {error}"


def compared(here, far):
    """The largest difference relative to the largest number; refusals are told."""
    if isinstance(here, str) or isinstance(far, str):
        return {"here": str(here)[:400], "far": str(far)[:400]} if str(here) != str(far) else "refused alike"
    return float(np.abs(here - far).max() / np.abs(here).max())


def pictures(found):
    """Every method on a convolutional network and an attending one."""
    x = np.random.default_rng(0).normal(size=(2, 3, 9, 9)).astype(np.float32)
    for name, net in {"convolutional": convolutional(), "attending": seeded(Attending)}.items():
        there = copy.deepcopy(net).to(accelerator.NAME)
        for method in family_ids("saliency"):
            options = dict(FEW.get(method, {}))
            if name == "attending":
                options.pop("layer", None)
                options["spot_checks"] = 0  # of the convolutional one, numbers are computed again
                options |= {"layer": "patches"} if method in OF_LAYERS else {}
            if method == "expected_gradients":
                options.update(background=x[::-1] + 1, samples=32)
            here = maps(net, x, 1, method, **options)
            given = torch.tensor(x).to(accelerator.NAME) if method in ("gradient", "deeplift", "shapley") else x
            found[f"{name} {method}"] = compared(here, maps(there, given, 1, method, **options))
        found[f"{name} all"] = compared(maps(net, x, "all", "gradient"), maps(there, x, "all", "gradient"))
        squared = lambda y: (y**2).sum(1)
        found[f"{name} function"] = compared(maps(net, x, squared, "gradient"), maps(there, x, squared, "gradient"))
        for baseline in ("mean", "blur", [0, "mean"]):
            both = [maps(of, x, 1, "deeplift", baseline=baseline) for of in (net, there)]
            found[f"{name} deeplift {baseline}"] = compared(*both)
        where = {str(t.device) for t in (*there.parameters(), *there.buffers())}
        found[f"{name} stays"] = 0.0 if where == {f"{accelerator.NAME}:0"} else str(where)


def mixing(found):
    """A network that leaves a number on the processor is told so: the device would notice if we did."""
    net = Formula(lambda x: (x * torch.arange(3.0)).sum(1, keepdim=True))
    x, there = np.ones((2, 3), np.float32), Formula(net.formula)
    there.register_parameter("weight", nn.Parameter(torch.zeros(1)))
    found["mixing is seen"] = maps(there.to(accelerator.NAME), x, 0, "gradient")


def checked(found):
    """The checks reach the same verdicts with the same numbers."""
    x = np.random.default_rng(1).normal(size=(4, 3, 9, 9)).astype(np.float32)
    net = convolutional(nn.GELU)
    lines = []
    for of in (net, copy.deepcopy(net).to(accelerator.NAME)):
        e = wb.saliency(of, x, 1, "gradient_x_input")
        lines.append([(c.name, c.verdict) for c in wb.check(e, of, x).rows])
    found["check"] = 0.0 if lines[0] == lines[1] else str(lines)


def shared(found):
    """What is taken down of a network has its weights themselves in it: nothing of their size lies on the device a second time."""
    made = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(196, 5)))
    net = wrap(made.to(accelerator.NAME))
    with net.session():
        graph = captured(net, (net.array(np.zeros((1, 3, 9, 9), np.float32)),))
    own = {p.host.data_ptr() for p in net.module.parameters()}
    held = [v.host for v in graph.constants.values()]
    found["weights are shared"] = float(sum(t.numel() for t in held if t.data_ptr() not in own))
    found["weights are met"] = float(len(own) - len(own & {t.data_ptr() for t in held}))


def tokens(found):
    """By an embedding, and with tokens replaced."""
    net, ids = seeded(Reading), np.random.default_rng(2).integers(0, 12, (3, 7))
    there = copy.deepcopy(net).to(accelerator.NAME)
    for method in ("gradient", "integrated_gradients", "deeplift", "smoothgrad"):
        options = FEW.get(method, {})
        found[f"tokens {method}"] = compared(
            *(maps(of, ids, 1, method, embedding="embed", **options) for of in (net, there))
        )
    for method in ("ablation", "shapley"):
        found[f"tokens {method}"] = compared(*(maps(of, ids, 1, method, baseline=0) for of in (net, there)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    held = accelerator.start()
    answers: dict[str, object] = {}
    for part in (pictures, mixing, checked, shared, tokens):
        part(answers)
    json.dump(answers, sys.stdout)
