"""LIME of pictures beside the lime package: CPU time, agreement between seeds, and the error to the limit at equal numbers of model calls.

    python benchmarks/lime_pictures.py [--repeats 3] [--seeds 10]        # wants torch and lime; three minutes on one thread

Prints two Markdown tables. The first: one picture of 224 x 224 in 41 parts, 1,000 samples, a small network in torch, one thread; the parts are given to both, so that no
time of a segmentation counts. Agreement is the mean Jaccard index of the five largest coefficients over all pairs of seeds. The second: 12 patches of
digits, where all 4,096 masks give the limit exactly; the package's rows are its own sampling and weights, with its ridge and without.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import combinations

import numpy as np
import torch
from lime.lime_image import LimeImageExplainer
from sklearn.linear_model import LinearRegression
from torch import nn

import whybox as wb
from nets import digits, taught

SIDE, COUNT, SAMPLES = 224, 41, 1000


def picture() -> tuple[np.ndarray, np.ndarray]:
    """A smooth picture (y, x, channel), and the part of each position: nearest of drawn points, as superpixels look."""
    draw = np.random.default_rng(0)
    at = (np.arange(SIDE) + 0.5) / SIDE
    waves = draw.normal(size=(3, 6, 2)) * 9
    shades = [sum(np.cos(at[:, None] * a + at[None] * b) for a, b in channel) for channel in waves]
    points = draw.random((COUNT, 2))
    far = (at[:, None, None] - points[:, 0]) ** 2 + (at[None, :, None] - points[:, 1]) ** 2
    x = np.stack(shades, axis=-1)
    return ((x - x.min()) / np.ptp(x)).astype(np.float32), far.argmin(axis=-1)


def network() -> nn.Module:
    """Random weights, six times as large as torch draws them: else the output is all but linear in the picture."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(576, 10), nn.Softmax(1),
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(6)
    return net


def mean_of_parts(x: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """What the lime package hides a part by: its own mean colour."""
    out = np.zeros_like(x)
    for k in np.unique(parts):
        out[parts == k] = x[parts == k].mean(axis=0)
    return out


def by_package(
    x: np.ndarray, parts: np.ndarray, classifier: Callable[[np.ndarray], np.ndarray], seed: int, **options: object
) -> np.ndarray:
    """Coefficients of the lime package, in the order of the parts."""
    e = LimeImageExplainer(random_state=seed).explain_instance(
        x.astype(np.float64), classifier, labels=(0,), top_labels=None, num_samples=SAMPLES,
        segmentation_fn=lambda _: parts, random_seed=seed, **options,
    )  # fmt: skip
    return np.array([dict(e.local_exp[0])[k] for k in range(parts.max() + 1)])


def agreement(found: list[np.ndarray]) -> float:
    tops = [set(np.argsort(-np.abs(f))[:5].tolist()) for f in found]
    return float(np.mean([len(a & b) / len(a | b) for a, b in combinations(tops, 2)]))


def cpu_seconds(function: Callable[[int], np.ndarray], repeats: int) -> float:
    seconds = []
    for k in range(repeats):
        began = time.process_time()
        function(k)
        seconds.append(time.process_time() - began)
    return min(seconds)


def pictures_of_224(repeats: int, seeds: int) -> None:
    x, parts = picture()
    net, hidden = network(), mean_of_parts(x, parts)

    def classifier(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net(torch.from_numpy(np.asarray(images, dtype=np.float32).transpose(0, 3, 1, 2))).numpy()

    def first(a: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(a.transpose(2, 0, 1))

    ways: dict[str, Callable[[int], np.ndarray]] = {
        "lime 0.2.0.1, a function": lambda seed: by_package(x, parts, classifier, seed),
        "lime 0.2.0.1, batches of 32": lambda seed: by_package(x, parts, classifier, seed, batch_size=32),
        "whybox, the same function": lambda seed: wb.saliency(
            classifier, x[None], 0, "lime", parts=parts, baseline=hidden, samples=SAMPLES, seed=seed
        ).extras["part"][1][0],
        "whybox, the torch network": lambda seed: wb.saliency(
            net, first(x)[None], 0, "lime", parts=parts, baseline=first(hidden), samples=SAMPLES, seed=seed
        ).extras["part"][1][0],
        "the network's forwards alone": lambda seed: np.concatenate(
            [classifier(np.repeat(x[None], 25, axis=0)) for _ in range(SAMPLES // 25)]
        ),
    }
    print("| way | CPU s | times the last whybox row | top-5 agreement between seeds |\n|---|---|---|---|")
    seconds = {name: cpu_seconds(way, repeats) for name, way in ways.items()}
    for name, way in ways.items():
        found = f"{agreement([way(seed) for seed in range(seeds)]):.3f}" if "forwards" not in name else ""
        print(
            f"| {name} | {seconds[name]:.2f} | {seconds[name] / seconds['whybox, the torch network']:.1f} | {found} |",
            flush=True,
        )


def limit_of_12(seeds: int) -> None:
    learnt, classes, others = digits()
    x = others[:4].numpy()
    cut = np.minimum(np.arange(8) // 2, 3)[:, None] * 3 + np.minimum(np.arange(8) // 3, 2)[None]
    print(
        "| network | calls | way | relative squared error | times ours | within 1.96 errors |\n|---|---|---|---|---|---|"
    )
    for network_name, net in taught(learnt, classes):
        truth = wb.saliency(net, x, None, "lime", parts=cut, baseline=0.5, samples=4096)
        want, targets = truth.extras["part"][1], truth.extras["target"][1]
        assert truth.evidence.exact

        def score(images: np.ndarray, net: nn.Module = net) -> np.ndarray:
            with torch.no_grad():
                return net(torch.from_numpy(np.asarray(images, dtype=np.float32)[:, None, :, :, 0])).numpy()

        for calls in (60, 200, 1000):
            ours, inside, plain, ridge = [], [], [], []
            for seed in range(seeds):
                e = wb.saliency(net, x, None, "lime", parts=cut, baseline=0.5, samples=calls, seed=seed)
                found = e.extras["part"][1]
                ours.append(squared_error(found, want))
                inside.append(np.abs(found - want) <= 1.96 * e.extras["part_error"][1])
                for regressor, errors in ((LinearRegression(), plain), (None, ridge)):
                    each = [
                        package_of_digits(a[0, :, :, None], cut, score, int(t), calls, seed, regressor)
                        for a, t in zip(x, targets, strict=True)
                    ]
                    errors.append(squared_error(np.stack(each), want))
            own = np.mean(ours)
            print(f"| {network_name} | {calls} | whybox | {own:.5f} | 1.0 | {np.mean(inside):.3f} |")
            for name, errors in (("lime, no penalty", plain), ("lime, as it comes", ridge)):
                print(
                    f"| {network_name} | {calls} | {name} | {np.mean(errors):.5f} | {np.mean(errors) / own:.1f} | |",
                    flush=True,
                )


def squared_error(found: np.ndarray, want: np.ndarray) -> float:
    return float(np.mean(np.sum((found - want) ** 2, axis=1) / np.sum(want**2, axis=1)))


def package_of_digits(
    image: np.ndarray, cut: np.ndarray, score: Callable[[np.ndarray], np.ndarray], label: int, calls: int, seed: int, regressor: object
) -> np.ndarray:  # fmt: skip
    """Coefficients of the package for a grey picture; it copies colours, so three equal ones."""
    e = LimeImageExplainer(random_state=seed).explain_instance(
        np.repeat(image, 3, axis=-1).astype(np.float64), score, labels=(label,), top_labels=None, num_samples=calls,
        hide_color=0.5, segmentation_fn=lambda _: cut, random_seed=seed, batch_size=200, model_regressor=regressor,
    )  # fmt: skip
    return np.array([dict(e.local_exp[label])[k] for k in range(cut.max() + 1)])


def main() -> None:
    ask = argparse.ArgumentParser()
    ask.add_argument("--repeats", type=int, default=3)
    ask.add_argument("--seeds", type=int, default=10)
    given = ask.parse_args()
    torch.set_num_threads(1)
    pictures_of_224(given.repeats, given.seeds)
    print()
    limit_of_12(given.seeds)


if __name__ == "__main__":
    main()
