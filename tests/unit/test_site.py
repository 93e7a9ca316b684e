"""The site: its reference names everything public, and docstrings are brought into the form that it reads."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

import whybox
from whybox.explanation.figures import EFFECTS_FIGURES, FIGURE_SPECS

DOCS = Path(__file__).parents[2] / "docs"
SCRIPTS = sorted((DOCS / "examples").glob("*/*.py"))


def site_parts():
    spec = importlib.util.spec_from_file_location("site_parts", DOCS / "site_parts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def named_in_the_reference():
    """The full names in the lists of docs/api.md."""
    module, names = "", set()
    for line in (DOCS / "api.md").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = found[1]
        elif found := re.match(r"   ([\w.]+)$", line):
            names.add(f"{module}.{found[1]}")
    return names


@pytest.mark.parametrize("module", ["", ".explainers", ".typing"])
def test_the_reference_names_everything_public(module):
    public = importlib.import_module(f"whybox{module}").__all__
    others = {"__version__", "explainers", "typing"} if not module else set(whybox.__all__)
    assert {f"whybox{module}.{n}" for n in set(public) - others} - named_in_the_reference() == set()


def test_the_reference_names_every_figure():
    specs = [*FIGURE_SPECS.values(), *EFFECTS_FIGURES.values()]
    assert {s.drawn_by.replace(":", ".") for s in specs} - named_in_the_reference() == set()


def test_every_name_of_the_reference_exists():
    for name in named_in_the_reference():
        module, _, last = name.rpartition(".")
        assert (
            importlib.util.find_spec(name)
            if name.startswith("whybox.compat")
            else hasattr(importlib.import_module(module), last)
        )


def test_errors_and_arguments_get_a_line_each():
    def example(rows, seed, wait):
        """Never called."""

    lines = ["Do.", "", "Args:", "    rows: all. seed: of draws: one", "        number.", "    wait, seed: both.", ""]
    lines += ["Of some:", "    wait: long. seed: of", "        draws.", ""]
    lines += ["Raises:", "    OptionError: no", "        rows. InputError, LimitError: too many.", ""]
    site_parts().tidy_docstrings(None, "function", "example", example, None, lines)
    assert lines[3:8] == [
        "    rows: all.",
        "    seed: of draws: one",
        "        number.",
        "    wait: both.",
        "    seed: both.",
    ]
    assert lines[8:14] == ["Of some:", "", "- **wait** -- long.", "- **seed** -- of", "  draws.", ""]
    raised = lines[lines.index("Raises:") + 1 :]
    assert [r for r in raised if r] == [
        "    OptionError: no rows.",
        "    InputError: too many.",
        "    LimitError: too many.",
    ]


def test_links_to_scripts_lead_to_their_pages_on_the_site():
    source = ["[a](examples/howto/plot_1_credit.py), [b](examples/figures), [c](start.md)"]
    site_parts().link_pages_of_scripts(None, "docs/index", source)
    assert source == ["[a](howto/plot_1_credit.rst), [b](figures/index.rst), [c](start.md)"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_scripts_of_the_site_are_python_that_fits_a_page(script):
    text = script.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert max(map(len, text.splitlines())) <= 120


def test_a_link_that_reads_as_a_file_has_the_title_of_its_page():
    page = ["See [docs/lime.md](lime.md#loss), [`b.md`](../x/b.md), [the page](lime.md) and [a.md](b.md)."]
    site_parts().titles_of_pages(None, "", page)
    assert page == ["See [](lime.md#loss), [](../x/b.md), [the page](lime.md) and [a.md](b.md)."]
