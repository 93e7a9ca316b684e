"""Shapley values of 16 patches of digits at equal numbers of model calls: this library beside captum; truth is all 65,536 coalitions.

    python benchmarks/saliency_shapley.py [--images 4] [--seeds 3]        # wants torch and captum; ten minutes on one thread

Prints a Markdown table for three networks: the relative L2 error to exact values (geometric mean over images and seeds), the calls that were counted, and for
this library the share of patches whose exact value is within 1.96 standard errors.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from captum.attr import KernelShap, ShapleyValueSampling
from torch import nn

import whybox as wb
from nets import digits, taught


class Tally:
    """A number that is no part of the network: what a network writes down itself is put back after it was asked."""

    rows = 0


class Counted(nn.Module):
    """Counts the rows that go through."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.tally = net, Tally()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.tally.rows += len(x)
        return self.net(x)


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
    ask.add_argument("--images", type=int, default=4)
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--calls", type=int, nargs="+", default=[70, 200, 1000])
    given = ask.parse_args()
    torch.set_num_threads(1)
    learnt, classes, others = digits()
    x, mean = others[: given.images].numpy(), learnt.numpy().mean(axis=0)
    print("| network | absent | calls | method | calls counted | relative L2 error | times ours | within 1.96 errors |")
    print("|---|---|---|---|---|---|---|---|")
    gains: dict[tuple[int, str], list[float]] = {}
    for network, net in taught(learnt, classes):
        for words, baseline in (("0", np.zeros_like(mean)), ("mean picture", mean)):
            truth = wb.saliency(net, x, None, "shapley", samples=2**16, baseline=baseline)
            assert truth.evidence.exact
            for calls in given.calls:
                lines = compared(net, x, baseline, truth, calls, given.seeds)
                for name, (counted, error, inside) in lines.items():
                    times = error / lines["whybox"][1]
                    gains.setdefault((calls, name), []).append(times)
                    own = f"{inside:.3f}" if name == "whybox" else ""
                    print(
                        f"| {network} | {words} | {calls} | {name} | {counted:.0f} | {error:.4f} | {times:.1f} | {own} |",
                        flush=True,
                    )
    for (calls, name), times in gains.items():
        if name != "whybox":
            print(f"| geometric mean | | {calls} | {name} | | | {np.exp(np.log(times).mean()):.1f} | |")


def compared(
    net: nn.Module, x: np.ndarray, baseline: np.ndarray, truth: wb.Explanation, calls: int, seeds: int
) -> dict[str, tuple[float, float, float]]:
    """For each method: calls counted, error, share within the errors."""
    want, targets = truth.extras["part"][1], truth.extras["target"][1]
    out = {}
    for name in ("whybox", "captum KernelShap", "captum ShapleyValueSampling"):
        errors, inside = [], []
        for seed in range(seeds):
            watched = Counted(net).eval()
            if name == "whybox":
                e = wb.saliency(watched, x, None, "shapley", samples=calls, baseline=baseline, seed=seed)
                found = e.extras["part"][1]
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
            errors.append(np.log(np.linalg.norm(found - want, axis=1) / np.linalg.norm(want, axis=1)))
        share = float(np.mean(inside)) if inside else float("nan")
        out[name] = (watched.tally.rows / len(x), float(np.exp(np.mean(errors))), share)
    return out


if __name__ == "__main__":
    main()
