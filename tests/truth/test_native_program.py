"""The kernels without Python: a compiled program (tests/native) runs them on edge cases, on every instruction set this processor has.

It holds empty ensembles, single leaves, routing of every flag at every kind of value, category sets at the borders of words, trees a thousand deep, rows and
threads in odd numbers, against brute force and plain loops. Built once and kept in pytest's cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SANITIZERS = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"


def output(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=1200, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


def build(request, name: str, flags: str) -> Path:
    if shutil.which("cmake") is None or not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        pytest.skip("needs cmake and a C++ compiler")
    cache = getattr(request.config, "cache", None)  # none under -p no:cacheprovider
    folder = request.getfixturevalue("tmp_path") / name if cache is None else cache.mkdir(name)
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    options = ["-DWHYBOX_BUILD_TESTS=ON", "-DCMAKE_BUILD_TYPE=", f"-DCMAKE_CXX_FLAGS={flags}"]
    output("cmake", "-S", ROOT, "-B", folder, *generator, *options)
    output("cmake", "--build", folder, "--parallel", "2")
    return folder / "whybox_native_tests"


def test_edge_cases_of_the_kernels(request):
    printed = output(build(request, "native-tests", "-O0"))
    assert " 0 failed" in printed
    assert "instruction sets:" in printed


@pytest.mark.soak
def test_edge_cases_touch_no_memory_that_is_not_theirs(request):
    program = build(request, "native-tests-sanitized", SANITIZERS)
    assert " 0 failed" in output(program, UBSAN_OPTIONS="print_stacktrace=1")
