"""The pages: lines short enough to read in any window, links that lead somewhere, and a CONTRIBUTING.md that names what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC, NATIVE = ROOT / "src" / "whybox", ROOT / "native"
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.md"))
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *BENCHMARKS,
]
OTHER_PAGES = [p for p in (*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md")) if p not in PAGES]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAX_LINE = 120
SUFFIXES = (".py", ".pyi", ".cpp", ".hpp")


def name(path):
    return str(path.relative_to(ROOT))


def prose(page):
    """The lines of a page that are no table and no code, with their numbers."""
    fenced = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith(("|", "    ")):
            yield number, line


def spans(text):
    """What stands in backticks outside of code blocks."""
    return re.findall(r"`([^`\n]+)`", "\n".join(line for line in text.splitlines() if not line.startswith("    ")))


def rooms():
    """The folders of the layout in CONTRIBUTING.md with the files that it names: folder -> names."""
    layout = CONTRIBUTING.split("## Where is what?")[1].split("\n\n")[1]
    found, base = {}, ROOT
    for line in re.sub(r"\n {14,}", " ", layout).splitlines():
        folder = re.match(r" +(\w[\w/]*)/( +.*: (.*))?$", line)
        if folder and folder[2] is None:
            base = ROOT / folder[1]
        elif folder:
            found[base / folder[1]] = folder[3].split(", ")
    return found


@pytest.mark.parametrize("page", PAGES + OTHER_PAGES, ids=name)
def test_lines_are_short(page):
    """Prose, code and tables: a long remark stands below its table, and a wide table is two, or a list."""
    lines = page.read_text(encoding="utf-8").splitlines()
    long = [f"{name(page)}:{n}: {len(line)}" for n, line in enumerate(lines, 1) if len(line) > MAX_LINE]
    assert not long, f"longer than {MAX_LINE} characters: {long}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", "\n".join(line for _, line in prose(page)))
    assert [link for link in links if not (page.parent / link).exists()] == []


def anchors(page):
    """The anchors of a page's headings, as code hosts and the site make them."""
    headings = [
        re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line.lstrip("#").strip())
        for _, line in prose(page)
        if line.startswith("#")
    ]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_to_parts_of_pages_lead_there(page):
    text = "\n".join(line for _, line in prose(page))
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text)
    assert [f"{to}#{part}" for to, part in links if part not in anchors(page.parent / to if to else page)] == []


def test_the_layout_names_every_room_and_files_that_exist():
    named = rooms()
    for base in (SRC, NATIVE):
        folders = {p for p in base.iterdir() if p.is_dir() and any(f.suffix in SUFFIXES for f in p.iterdir())}
        assert folders == {p for p in named if p.parent == base}
    for folder, files in named.items():
        for file in files:
            there = [(folder / file).with_suffix(s) for s in SUFFIXES]
            assert (folder / file).is_dir() or any(p.is_file() for p in there), f"{name(folder)} has no {file}"


def test_contributing_names_files_that_exist():
    files = [s for s in spans(CONTRIBUTING) if re.fullmatch(r"[\w./*]+(\.(py|cpp|hpp|md|txt)|/)|\.ci/run", s)]
    assert len(files) > 50
    wrong = [
        s
        for s in files
        if not any(list(b.glob(s if "/" in s else f"**/{s}")) for b in (ROOT, SRC, SRC / "methods" / "common"))
    ]
    assert not wrong, wrong


def test_contributing_names_symbols_that_exist():
    text = "\n".join(p.read_text(encoding="utf-8") for p in SRC.rglob("*.py"))
    words = set(re.findall(r"\w+", text))
    symbols = [s for s in spans(CONTRIBUTING) if re.fullmatch(r"[A-Za-z_]+(\.[A-Za-z_]+)?", s) and "/" not in s]
    symbols = [s for s in symbols if not s.endswith((".py", ".cpp", ".hpp", ".txt", ".md"))]
    assert len(symbols) > 10
    assert [s for s in symbols if not set(s.split(".")) <= words | {"pytest"}] == []


def test_attributions_take_no_longer_than_the_call_that_makes_them():
    longer, workload, attributions, compared = [], "", 0.0, 0
    for line in (ROOT / "benchmarks" / "trees.md").read_text(encoding="utf-8").splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if len(cells) != 8:
            continue
        if not cells[3].endswith((" us", " ms")):
            workload = cells[0]
            continue
        number, unit = cells[3].replace(",", "").split(" ")
        time = float(number) * {"us": 1.0, "ms": 1e3}[unit]
        if "**whybox**" in cells[1]:
            attributions, compared = time, compared + 1
        elif cells[1] == "whybox, the call" and time < attributions:
            longer.append(workload)
    assert longer == []
    assert compared > 15
