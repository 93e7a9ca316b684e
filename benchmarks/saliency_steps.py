"""Integrated gradients to 1 % completeness: how many gradients a row takes, here and with captum's fixed steps. Prints a Markdown table.

Usage: python benchmarks/saliency_steps.py [--rows 100]

Trains a ReLU CNN, a GELU CNN and a small ViT on scikit-learn's digits (a minute), explains the predicted class of rows left out, baseline 0. captum's
`IntegratedGradients` (Gauss-Legendre, its default) starts at its default of 50 steps and doubles them until every row is within 1 %; "in hindsight" is the
smallest number of steps, of those tried, from which on every row would have been within. The map's error is relative (Euclidean), against 2,000 midpoints.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from captum.attr import IntegratedGradients

import whybox as wb
from nets import digits, taught

TRIED = (*range(4, 32), *range(32, 64, 2), *range(64, 128, 4), *range(128, 512, 16), *range(512, 2049, 64))


def misses(net, x, target, steps, difference):
    """Maps of captum, and each row's completeness error relative to the difference of scores."""
    maps = IntegratedGradients(net).attribute(x, target=target, n_steps=steps, internal_batch_size=512)
    maps = maps.detach().numpy().reshape(len(x), -1).astype(float)
    return maps, np.abs(maps.sum(1) - difference) / np.abs(difference)


def truth(net, x, target):
    """2,000 midpoints."""
    out = []
    for row, t in zip(x, target, strict=True):
        at = (((torch.arange(2000) + 0.5) / 2000)[:, None, None, None] * row[None]).requires_grad_()
        (g,) = torch.autograd.grad(net(at)[:, int(t)].sum(), at)
        out.append((g.mean(0, dtype=torch.float64) * row).numpy().ravel())
    return np.array(out)


def away(maps, exact):
    """Relative errors of maps."""
    return np.linalg.norm(maps - exact, axis=1) / np.linalg.norm(exact, axis=1)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100)
    rows = parser.parse_args().rows
    torch.set_num_threads(1)
    learnt, classes, others = digits()
    x = others[:rows]
    print(
        "| network | gradients a row: ours (mean, most) | captum from 50 up | fewer | captum in hindsight |\n|---|---|---|---|---|"
    )
    accuracy = [
        "| network | map error: ours (median, worst) | captum's | rows outside: ours, captum at 50 | CPU s: ours, captum |",
        "|---|---|---|---|---|",
    ]
    for name, net in taught(learnt, classes):
        with torch.no_grad():
            target = net(x).argmax(1)
            difference = (net(x) - net(x * 0)).gather(1, target[:, None])[:, 0].double().numpy()
        exact = truth(net, x, target)
        wb.saliency(net, x[:1], target[:1].tolist(), "integrated_gradients")
        began = time.process_time()
        e = wb.saliency(net, x, target.tolist(), "integrated_gradients")
        ours = time.process_time() - began
        steps = e.extras["steps"][1]
        off = np.abs(e.values.reshape(rows, -1).sum(1) - difference) / np.abs(difference)
        outside = int((off > 0.01).sum())
        n, at_50 = 50, int((misses(net, x, target, 50, difference)[1] > 0.01).sum())
        began = time.process_time()
        while (found := misses(net, x, target, n, difference))[1].max() > 0.01:
            n *= 2
        theirs = time.process_time() - began
        hindsight = n
        for fewer in reversed([k for k in TRIED if k < n]):
            if misses(net, x, target, fewer, difference)[1].max() > 0.01:
                break
            hindsight = fewer
        mine, captum = away(e.values.reshape(rows, -1), exact), away(found[0], exact)
        print(
            f"| {name} | {steps.mean():.1f}, {steps.max()} | {n} | {n / steps.mean():.1f}x | {hindsight} ({hindsight / steps.mean():.1f}x) |",
            flush=True,
        )
        accuracy.append(
            f"| {name} | {np.median(mine):.3f}, {mine.max():.3f} | {np.median(captum):.3f}, {captum.max():.3f} | {outside}, {at_50} | {ours:.2f}, {theirs:.2f} |"
        )
    print("", *accuracy, sep="\n")


if __name__ == "__main__":
    main()
