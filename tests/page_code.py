"""The code of the pages: Python blocks, which run in the order of the page, and lines of the command line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
EVERY_PAGE = tuple(str(p.relative_to(ROOT)) for part in (".", "docs", "benchmarks") for p in sorted((ROOT / part).glob("*.md")))  # fmt: skip
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def python_of(page):
    """The Python blocks of a page, each at its line, so that an error names the line of the page."""
    text = text_of(page)
    return [("\n" * text.count("\n", 0, m.start(1)) + m[1]) for m in PYTHON.finditer(text)]


def code_lines(page):
    """Lines of code blocks, with the language of the fence, None where a block is indented by four spaces."""
    language = None
    for line in text_of(page).replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            language = line.removeprefix("```") if language is None else None
        elif language is not None or line.startswith("    "):
            yield language, line


def commands_of(page):
    """The command lines of whybox in code blocks, alone or after another command, as lists of words without the first."""
    found = [re.match(r"(?: *|.* && )whybox ([a-z].*)", line) for _, line in code_lines(page)]
    return [shlex.split(match[1], comments=True) for match in found if match]


def run_page(page, names, before=None):
    """Run every Python block of a page, with what it needs that the page does not make.

    Args:
        page: its path from the root.
        names: the names that the blocks share; changed.
        before: phrase of one block -> function without arguments that gives names for it and those after it.
    """
    before = before or {}
    blocks = python_of(page)
    assert blocks
    for phrase in before:
        assert sum(phrase in block for block in blocks) == 1, f"{page}: {phrase!r} is to name one block"
    for block in blocks:
        for phrase, made in before.items():
            if phrase in block:
                names.update(made())
        exec(compile(block, page, "exec"), names)  # noqa: S102  # our own pages
        plt.close("all")
