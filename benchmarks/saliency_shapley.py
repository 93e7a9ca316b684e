"""Shapley values of 16 patches of digits at equal numbers of model calls: this library beside captum; truth is all 65,536 coalitions.

    python benchmarks/saliency_shapley.py [--images 6] [--seeds 5]        # wants torch and captum; some minutes on one thread

Prints a Markdown table: the relative L2 error to exact values (mean over images and seeds), the calls that were counted, and for this library the share of
patches whose exact value is within 1.96 standard errors.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from captum.attr import KernelShap, ShapleyValueSampling
from sklearn.datasets import load_digits
from torch import nn

import whybox as wb


class Counted(nn.Module):
    """Counts the rows that go through."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.rows = net, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.rows += len(x)
        return self.net(x)


def trained() -> tuple[nn.Module, np.ndarray, np.ndarray]:
    """A CNN with ReLU and max pooling, test pictures, and the mean picture of the training set."""
    torch.manual_seed(0)
    digits = load_digits()
    x, y = (digits.images / 16).astype(np.float32)[:, None], torch.tensor(digits.target)
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:1400], order[1400:]
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    steps = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(12):
        for some in torch.randperm(len(train)).split(64):
            steps.zero_grad()
            nn.functional.cross_entropy(net(torch.tensor(x[train[some]])), y[train[some]]).backward()
            steps.step()
    return net.eval(), x[test], x[train].mean(axis=0)


def captums(name: str, net: Counted, x: torch.Tensor, target: int, baseline: torch.Tensor, calls: int) -> np.ndarray:
    """Values of the 16 patches."""
    cut = torch.arange(8) // 2
    mask = (cut[:, None] * 4 + cut[None])[None, None]
    common = {"baselines": baseline, "target": target, "feature_mask": mask, "perturbations_per_eval": 32}
    if name == "captum KernelShap":
        found = KernelShap(net).attribute(x, n_samples=calls, **common)
    else:
        found = ShapleyValueSampling(net).attribute(x, n_samples=-(-(calls - 1) // 16), **common)
    return found.detach().numpy()[0, 0, ::2, ::2].ravel().astype(np.float64)


def main() -> None:
    ask = argparse.ArgumentParser()
    ask.add_argument("--images", type=int, default=6)
    ask.add_argument("--seeds", type=int, default=5)
    ask.add_argument("--calls", type=int, nargs="+", default=[70, 200, 1000])
    given = ask.parse_args()
    torch.set_num_threads(1)
    net, x, mean = trained()
    x = x[: given.images]
    print(
        "| absent | calls | method | calls counted | relative L2 error | times ours | within 1.96 errors |\n|---|---|---|---|---|---|---|"
    )
    for words, baseline in (("0", np.zeros_like(mean)), ("mean picture", mean)):
        truth = wb.saliency(net, x, None, "shapley", samples=2**16, baseline=baseline)
        assert truth.evidence.exact
        want, targets = truth.extras["part"][1], truth.extras["target"][1]
        for calls in given.calls:
            table: dict[str, list[float]] = {}
            counted: dict[str, float] = {}
            inside = []
            for name in ("whybox", "captum KernelShap", "captum ShapleyValueSampling"):
                for seed in range(given.seeds):
                    watched = Counted(net).eval()
                    if name == "whybox":
                        e = wb.saliency(watched, x, None, "shapley", samples=calls, baseline=baseline, seed=seed)
                        found = e.extras["part"][1]
                        if not e.evidence.exact:
                            inside.append(np.abs(found - want) <= 1.96 * e.extras["part_error"][1] + 1e-5)
                    else:
                        torch.manual_seed(seed)
                        np.random.seed(seed)  # noqa: NPY002  # captum draws from it
                        behind = torch.tensor(baseline)[None]
                        found = np.stack(
                            [
                                captums(name, watched, torch.tensor(a)[None], int(t), behind, calls)
                                for a, t in zip(x, targets, strict=True)
                            ]
                        )
                    error = np.linalg.norm(found - want, axis=1) / np.linalg.norm(want, axis=1)
                    table.setdefault(name, []).append(float(error.mean()))
                    counted[name] = watched.rows / len(x)
            for name, errors in table.items():
                ratio = np.mean(errors) / np.mean(table["whybox"])
                cover = f"{np.mean(inside):.3f}" if name == "whybox" and inside else ""
                print(
                    f"| {words} | {calls} | {name} | {counted[name]:.0f} | {np.mean(errors):.4f} | {ratio:.1f} | {cover} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
