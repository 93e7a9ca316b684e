"""Saliency maps: time over the floor, and memory; whybox and captum with their defaults on the same network in the same run.

    python benchmarks/saliency.py                one thread, as a Markdown table
    python benchmarks/saliency.py --device cuda  on an accelerator: seconds of the clock, devices in step
    python benchmarks/saliency.py --only IG      work whose name contains the word
    python benchmarks/saliency.py --memory       peak memory, each in a process of its own

The floor is the least that a method needs: so many forwards, so many backwards to the input (or to a layer), timed on batches
of 32 with frozen parameters before and after every call that is held against them. For DeepLIFT two forwards and one backward a picture, of the rows and of their references.
Nets: a residual network of 1.6 million parameters and a vision transformer of 1.8, pictures of 3 x 64 x 64, random weights.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

import whybox as wb
from nets import Transformer, residual  # beside this file

warnings.filterwarnings("ignore")
HEAD = ["network", "work", "who", "time", "over the floor", "at most"]
CLASSES = 10


def show(lines: list[list[str]]) -> None:
    """Print lines of a Markdown table."""
    for line in lines:
        print("| " + " | ".join(line) + " |", flush=True)


class Clock:
    """CPU seconds of this process on a processor, seconds of the clock on an accelerator."""

    def __init__(self, device: str) -> None:
        self.device = device

    def __call__(self, call: Callable[[], Any], repeats: int = 3) -> float:
        """The median of several calls."""
        took = []
        for _ in range(repeats):
            self._wait()
            began = self._now()
            call()
            self._wait()
            took.append(self._now() - began)
        return statistics.median(took)

    def _wait(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()

    def _now(self) -> float:
        return time.process_time() if self.device == "cpu" else time.perf_counter()


class Bench:
    """One network."""

    def __init__(self, name: str, net: torch.nn.Module, layer: str | None, args: argparse.Namespace) -> None:
        self.name, self.layer, self.args = name, layer, args
        self.device = args.device
        self.net = net.to(self.device)
        self.clock = Clock(args.device)
        self.x = torch.randn(args.rows, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        some = self.x[:32].to(self.device)
        for p in net.parameters():
            p.requires_grad_(False)

        def forward() -> None:
            with torch.no_grad():
                net(some)

        def both() -> None:
            leaf = some.clone().requires_grad_()
            net(leaf)[:, 3].sum().backward()

        for warm in (forward, both):
            warm()
        self.forward, self.both, self.count = forward, both, len(some)

    def floor(self, forwards: float, backwards: float) -> float:
        """Seconds that so many forwards and backwards of one picture take at this moment."""
        f = self.clock(self.forward, 1) / self.count
        return forwards * f + backwards * (self.clock(self.both, 1) / self.count - f)

    def line(self, work: str, floor: tuple[float, float], calls: dict[str, Callable[[], Any]], at_most: float) -> None:
        """Time every call against the floor, which is timed anew beside every repeat: the machine's speed wanders."""
        if self.args.only.lower() not in work.lower():
            return
        for who, call in calls.items():
            call()
            took, over = [], []
            for _ in range(self.args.repeats):
                before = self.floor(*floor)
                took.append(self.clock(call, 1))
                over.append(2 * took[-1] / (before + self.floor(*floor)))
            ratio = statistics.median(over)
            said = f"{at_most:g} {'reached' if ratio <= at_most else '**missed**'}" if "whybox" in who else ""
            show([[self.name, work, who, f"{statistics.median(took) * 1e3:,.1f} ms", f"{ratio:.2f}", said]])

    def missed(self, peer: str, x: torch.Tensor) -> str:
        """The peer's name, with how far its DeepLIFT is from adding up, at the worst row: it goes by modules, and misses what is none."""
        from captum.attr import DeepLift

        _, gap = DeepLift(self.net).attribute(x[:4], torch.zeros_like(x[:4]), target=3, return_convergence_delta=True)
        with torch.no_grad():
            change = (self.net(x[:4]) - self.net(torch.zeros_like(x[:4])))[:, 3]
        worst = float((gap / change).abs().max())
        return peer if worst < 1e-2 else f"{peer}, wrong: misses score - base by {worst:.0%}"

    def run(self) -> None:
        """Every work."""
        from captum.attr import DeepLift, IntegratedGradients, LayerGradCam, NoiseTunnel, Occlusion, Saliency

        net, x, n = self.net, self.x, len(self.x)
        there = x.to(self.device)
        peer = f"captum {version('captum')}"
        self.line(
            f"gradient, {n} pictures", (n, n),
            {"**whybox**": lambda: wb.saliency(net, x, 3), peer: lambda: Saliency(net).attribute(there.clone().requires_grad_(), target=3)}, 1.15,
        )  # fmt: skip
        self.line(
            f"gradient of {CLASSES} classes, {n} pictures", (n, n * CLASSES),
            {
                "**whybox**": lambda: wb.saliency(net, x, "all"),
                peer: lambda: [Saliency(net).attribute(there.clone().requires_grad_(), target=k) for k in range(CLASSES)],
            },
            1.15,
        )  # fmt: skip
        few = x[:16]
        here = few.to(self.device)
        self.line(
            "SmoothGrad, 16 pictures, 26 samples", (16 * 26, 16 * 26),
            {
                "**whybox**": lambda: wb.saliency(net, few, 3, "smoothgrad", samples=26),
                f"{peer}, all at once": lambda: NoiseTunnel(Saliency(net)).attribute(here, nt_type="smoothgrad", nt_samples=26, stdevs=0.15, target=3),
            },
            1.15,
        )  # fmt: skip
        self.line(
            "IG, 16 pictures, 50 steps", (16 * 50, 16 * 50),
            {
                "**whybox**": lambda: wb.saliency(net, few, 3, "integrated_gradients", steps=50),
                f"{peer}, all at once": lambda: IntegratedGradients(net).attribute(here, target=3),
                f"{peer}, internal_batch_size=32": lambda: IntegratedGradients(net).attribute(here, target=3, internal_batch_size=32),
            },
            1.15,
        )  # fmt: skip
        zeros = torch.zeros_like(there)
        self.line(
            f"DeepLIFT, {n} pictures", (2 * n, n),
            {"**whybox**": lambda: wb.saliency(net, x, 3, "deeplift"), self.missed(peer, there): lambda: DeepLift(net).attribute(there, zeros, target=3)}, 1.15,
        )  # fmt: skip
        if self.layer:
            layer = dict(net.named_modules())[self.layer]
            self.line(
                f"Grad-CAM, {n} pictures", (n, 0),
                {
                    "**whybox**": lambda: wb.saliency(net, x, 3, "gradcam", layer=self.layer, upsample=False),
                    peer: lambda: LayerGradCam(net, layer).attribute(there, target=3),
                },
                1.15,
            )  # fmt: skip
        self.line(
            "Occlusion, 4 pictures, 64 windows", (4 * 65, 0),
            {
                "**whybox**": lambda: wb.saliency(net, x[:4], 3, "occlusion", window=8, stride=8),
                f"{peer}, one at a time": lambda: Occlusion(net).attribute(there[:4], (3, 8, 8), (3, 8, 8), target=3),
            },
            1.15,
        )  # fmt: skip


def networks() -> list[tuple[str, torch.nn.Module, str | None]]:
    """Name, network, and the layer for Grad-CAM."""
    torch.manual_seed(0)
    return [("residual network", residual(), "6"), ("vision transformer", Transformer().eval(), None)]


def peak(who: str) -> None:
    """Run 50 steps on 64 pictures and print how many bytes more the process has taken than before."""
    net, x = networks()[0][1], torch.randn(64, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for p in net.parameters():
        p.requires_grad_(False)
    if who == "captum":
        from captum.attr import IntegratedGradients

        call: Callable[[], Any] = lambda: IntegratedGradients(net).attribute(x, target=3)  # noqa: E731
    else:
        call = lambda: wb.saliency(net, x, 3, "integrated_gradients", steps=50)  # noqa: E731
        wb.saliency(net, x[:2], 3, "integrated_gradients", steps=2)  # what is imported on the way
    with torch.no_grad():
        net(x[:2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


def memory() -> None:
    """Peak memory of integrated gradients, each in a process of its own."""
    show([["work", "who", "peak memory", "of whybox", "asked for"], ["---"] * 5])
    found = {}
    for who in ("whybox", "captum"):
        run = [sys.executable, __file__, "--peak", who]
        found[who] = float(subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()[-1])
    ratio = found["captum"] / found["whybox"]
    work = "50-step IG, 64 pictures, residual network"
    show([[work, "**whybox**", f"{found['whybox'] / 1e6:,.0f} MB", "1x", ""]])
    show(
        [
            [
                work,
                "captum, default",
                f"{found['captum'] / 1e6:,.0f} MB",
                f"{ratio:.1f}x",
                f"15x {'reached' if ratio >= 15 else '**missed**'}",
            ]
        ]
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--network", default="", help="networks whose name contains this")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak", choices=["whybox", "captum"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.peak:
        peak(args.peak)
        return
    print(
        f"whybox {wb.__version__}, torch {torch.__version__}, captum {version('captum')}, numpy {np.__version__}; {args.device}\n"
    )
    if args.memory:
        memory()
        return
    show([HEAD, ["---"] * len(HEAD)])
    for name, net, layer in networks():
        if args.network in name:
            Bench(name, net, layer, args).run()


if __name__ == "__main__":
    main()
