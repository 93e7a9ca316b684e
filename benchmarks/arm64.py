"""Instructions of the kernels on arm64, a row and tree, Neon beside plain; counted by an emulator, so no times. Results: benchmarks/arm64.md.

Needs Debian's g++-aarch64-linux-gnu and qemu-user, and a C compiler; a few minutes.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SYSTEM = "/usr/aarch64-linux-gnu"
TREES, ROWS = 8, 640  # benchmarks/arm64.cpp; counted twice, with rows and with twice as many
KERNELS = [
    "predict, depth 6",
    *(f"lane walk, {dtype}, {bits} bits, depth 6" for dtype in ("float32", "float64") for bits in (2, 4, 5)),
    *(f"pattern tables, {dtype}, {bits} bits, depth 6" for dtype in ("float32", "float64") for bits in (6, 8)),
    "lane walk, float32, 5 bits, depth 8",
    "bit walk, depth 6",
    *(f"curves, depth {depth}" for depth in (4, 6, 8)),
    "exponentials",
]


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stderr


def build(folder: Path) -> tuple[Path, Path]:
    """Return the program that runs kernels, and the plugin that counts."""
    counter, program = folder / "counter.so", folder / "kernels"
    run("cc", "-O2", "-shared", "-fPIC", "-o", counter, ROOT / "benchmarks" / "arm64_counter.c")
    rooms = ("core", "attribution", "effects", "simd")
    sources = [p for room in rooms for p in sorted((ROOT / "native" / room).glob("*.cpp")) if "avx" not in p.name]
    sources += [ROOT / "benchmarks" / "arm64.cpp", ROOT / "tests" / "native" / "harness.cpp"]
    flags = ["-std=c++20", "-O3", "-ffp-contract=off", "-fno-math-errno", "-DWHYBOX_ARM64"]
    includes = [f"-I{ROOT / 'native'}", f"-I{ROOT / 'tests' / 'native'}"]
    run("aarch64-linux-gnu-g++", *flags, *includes, *sources, "-o", program)
    return program, counter


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        program, counter = build(Path(folder))

        def a_row_and_tree(name: str, kernel: str) -> float:
            few, many = (
                int(run("qemu-aarch64", "-L", SYSTEM, "-plugin", counter, program, name, kernel, str(rows)))
                for rows in (ROWS, 2 * ROWS)
            )
            return (many - few) / ROWS / TREES

        made = a_row_and_tree("plain", "rows alone")
        print("| kernel | plain | neon | plain / neon |\n|---|---|---|---|")
        for kernel in KERNELS:
            plain, neon = (a_row_and_tree(name, kernel) - made for name in ("plain", "neon"))
            print(f"| {kernel} | {plain:,.0f} | {neon:,.0f} | {plain / neon:.2f} |", flush=True)


if __name__ == "__main__":
    main()
