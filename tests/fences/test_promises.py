"""Every sentence of README.md and docs/ that promises something names the test that holds it, in promises.toml.

A sentence promises if it has one of the words below. If this test fails after a change of a page, add, change or remove a line of promises.toml: below the page's
name, a piece of the sentence (enough to find it by) and the tests that fail if it is not true; or, if the sentence promises nothing, what it is instead.
"""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
TABLE = Path(__file__).with_name("promises.toml")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WORDS = re.compile(
    r"\b(always|never|nothing|every|exactly|refuse[sd]?|is an error|are errors|same bytes|bit for bit|guarantees?)\b",
    re.IGNORECASE,
)
NO_PROMISE = {
    "heading",  # what a part of the page is about
    "definition",  # what a word, a number or a formula means
    "derivation",  # a step of the mathematics, of which the result is tested against brute force
    "limit",  # what cannot be shown or told
    "advice",  # what the reader may do
    "measurement",  # numbers of a page of benchmarks/, which names its script
}


def sentences(text):
    """The sentences of a page, without code and without tables that are written by a program; a line of a table is one."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!-- (\w+)(: begin| begins) -->.*?<!-- \1(: end| ends) -->", "", text, flags=re.DOTALL)
    text = re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)
    for block in re.split(r"\n\s*\n|\n(?=[-|#] ?|\d+\. )", text):
        flat = " ".join(block.split())
        yield from [flat] if flat.startswith("|") else re.split(r"(?<=[.!?:])\s+(?=[A-Z`*\[])", flat)


def promising(page):
    """The sentences of a page that promise, in its order."""
    return [s for s in sentences(page.read_text(encoding="utf-8")) if WORDS.search(s)]


def table():
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def name(page):
    return str(page.relative_to(ROOT))


@cache
def functions_in(file):
    """The names of the test functions of a file."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_promise_names_the_test_that_holds_it(page):
    entries = table().get(name(page), {})
    missing = [s for s in promising(page) if not any(piece in s for piece in entries)]
    assert not missing, (
        f"{name(page)}: add to tests/fences/promises.toml which test holds, or what it is instead:\n"
        + ("\n".join(f'"{s[:70]}" = ["unit/test_....py::test_..."]' for s in missing))
    )


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_line_of_the_table_is_about_a_sentence(page):
    found = promising(page)
    gone = [piece for piece in table().get(name(page), {}) if not any(piece in s for s in found)]
    assert not gone, f"{name(page)} no longer says, so remove or change in tests/fences/promises.toml: {gone}"


def test_the_table_names_pages_and_tests_that_exist():
    assert set(table()) <= set(map(name, PAGES))
    wrong = []
    for page, entries in table().items():
        for piece, held_by in entries.items():
            if isinstance(held_by, str):
                wrong += [(page, piece, held_by)] * (held_by not in NO_PROMISE)
                continue
            for test in held_by or [""]:
                file, _, function = test.partition("::")
                if not (TESTS / file).is_file() or function not in functions_in(file):
                    wrong.append((page, piece, test))
    assert not wrong


def test_a_promise_is_found_where_it_stands():
    text = "# Every x\n\nA y is\nnever z. So it is.\n\n- always\n\n```\nnever\n```\n\n    every\n\n| a | refused |\n"
    assert [s for s in sentences(text) if WORDS.search(s)] == [
        "# Every x",
        "A y is never z.",
        "- always",
        "| a | refused |",
    ]
