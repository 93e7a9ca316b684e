"""What the site needs beside the extensions of others: errors of docstrings one a line, links of short names, a page of the command line."""

from __future__ import annotations

import argparse
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ERROR = re.compile(r"(?:^|(?<=[.;])\s+)((?:[A-Z]\w*(?:Error|Interrupt|Exit)(?:, )?)+): ")
NO_TYPE = "\ue000"  # a colon that is no end of a type
NAMED_PAGE = re.compile(r"\[`?([\w./-]+\.md)`?\]\(([\w./-]+\.md(?:#[\w-]+)?)\)")
OURS = "whybox."
HEADINGS = ("Args:", "Attributes:", "Examples:", "Raises:", "Returns:", "Yields:")


def tidy_docstrings(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Write our docstrings as napoleon reads them: one error or attribute a line, and no type where a sentence has a colon."""
    errors_one_a_line(lines)
    for heading in ("Args:", "Attributes:"):
        names_one_a_line(lines, heading, names_of(obj))
    lists_of_arguments(lines, names_of(obj))
    if what in {"attribute", "data", "property"} and lines:
        lines[0] = lines[0].replace(":", NO_TYPE)


def colons_back(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Write the colons again that napoleon was not to read."""
    lines[:] = [line.replace(NO_TYPE, ":") for line in lines]


def part_of(lines: list[str], heading: str) -> tuple[int, int]:
    """Return where the lines below a heading such as "Raises:" begin and end."""
    if heading not in lines:
        return 0, 0
    start = lines.index(heading) + 1
    return start, next(
        (i for i in range(start, len(lines)) if lines[i].strip() and not lines[i].startswith(" ")), len(lines)
    )


def names_one_a_line(lines: list[str], heading: str, names: set[str]) -> None:
    """Give each argument or attribute its own line, where "a, b: text" or "a: text. b: text" has several in one."""
    start, end = part_of(lines, heading)
    for first, last, each in reversed([*named_texts(lines, start, end, names)]):
        if len(each) > 1:
            lines[first:last] = "\n".join(
                f"    {name}: " + text.replace("\n", "\n        ") for name, text in each
            ).split("\n")


def named_texts(
    lines: list[str], start: int, end: int, names: set[str]
) -> Iterator[tuple[int, int, list[tuple[str, str]]]]:
    """Find what is said of each name in some lines: where a text of one or several names begins and ends, and each with its part."""
    begins = [i for i in range(start, end) if re.match(r"    \S", lines[i])]
    for first, last in zip(begins, [*begins[1:], end], strict=False):
        said = "\n".join(line.strip() for line in lines[first:last])
        parts = re.split(r"(?:^|(?<=[.;])\s)((?:\w+(?:, )?)+): ", said)
        if parts[0]:
            continue
        found: list[tuple[str, str]] = []
        for named, text in zip(parts[1::2], parts[2::2], strict=True):
            if not found or set(named.split(", ")) <= names:
                found.append((named, text))
            else:  # a colon inside a sentence
                found[-1] = (found[-1][0], f"{found[-1][1]} {named}: {text}")
        yield first, last, [(name, text.strip()) for named, text in found for name in named.split(", ")]


def lists_of_arguments(lines: list[str], names: set[str]) -> None:
    """Write paragraphs of arguments below a heading of our own ("Of texts:") as lists."""
    heading, starts = "", []
    for at, line in enumerate(lines):
        if line and not line.startswith(" "):
            heading = line
        elif line.startswith("    ") and heading not in HEADINGS and (not lines[at - 1] or lines[at - 1] == heading):
            starts.append(at)
    for at in reversed(starts):
        end = next((i for i in range(at, len(lines)) if not lines[i].startswith("    ")), len(lines))
        found = [*named_texts(lines, at, end, names)]
        if found and found[0][0] == at and {name for _, _, each in found for name, _ in each} <= names:
            each = [pair for _, _, pairs in found for pair in pairs]
            items = [f"- **{name}** -- " + text.replace("\n", "\n  ") for name, text in each]
            lines[at:end] = "\n".join(["", *items, ""]).split("\n")


def names_of(obj: Any) -> set[str]:
    """Return the arguments of a function or class, and its fields."""
    try:
        given = set(inspect.signature(obj).parameters)
    except (TypeError, ValueError):
        given = set()
    return given | set(getattr(obj, "__annotations__", {}))


def errors_one_a_line(lines: list[str]) -> None:
    """Give each error of a "Raises" part its own line, also where several stand in one."""
    start, end = part_of(lines, "Raises:")
    parts = ERROR.split(" ".join(part.strip() for part in lines[start:end]))
    if len(parts) >= 3 and not parts[0].strip():
        each = [
            (error, said) for errors, said in zip(parts[1::2], parts[2::2], strict=True) for error in errors.split(", ")
        ]
        lines[start:end] = [f"    {error}: {said.strip()}" for error, said in each] + [""]


def link_of_a_short_name(app: Any, env: Any, node: Any, inner: Any) -> Any:
    """Find what a docstring calls by its last name; names of other packages stay text, and so do those of rooms that nobody calls."""
    if node.get("refdomain") != "py":
        return None
    target = node.get("reftarget", "")
    domain = env.get_domain("py")
    last = target.rpartition(".")[2]
    found = sorted(
        (n for n in domain.objects if n.rpartition(".")[2] == last and n.startswith(OURS)),
        key=lambda n: (n.count("."), n),
    )
    named = [n for n in found if n.endswith(f".{target}")] or (found if target.startswith(OURS) else [])
    if named:
        from sphinx.util.nodes import make_refnode

        entry = domain.objects[named[0]]
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, inner, named[0])
    return inner if "." in target and not target.startswith(OURS) else None


def link_pages_of_scripts(app: Any, docname: str, source: list[str]) -> None:
    """Let links to the scripts of the how-to pages and figures, which a code host shows, lead to their pages."""
    source[0] = re.sub(r"\]\(examples/(\w+)/(\w+)\.py\)", r"](\1/\2.rst)", source[0])
    source[0] = re.sub(r"\]\(examples/(\w+)\)", r"](\1/index.rst)", source[0])


def titles_of_pages(app: Any, docname: str, source: list[str]) -> None:
    """Let a link whose text is the name of a file, as a code host shows it, have the title of that page or part as its text."""
    source[0] = NAMED_PAGE.sub(
        lambda m: f"[]({m[2]})" if Path(m[1]).name == Path(m[2].split("#")[0]).name else m[0], source[0]
    )


def write_page_of_commands(app: Any) -> None:
    """Write docs/reference/command_line.md: the help of every command, as it is printed."""
    os.environ["COLUMNS"] = "100"
    from whybox.cli.main import build_parser

    parser, commands = build_parser()
    page = ["# The command line", "", "What `whybox --help` and the help of each command print.", ""]
    for name, each in [("whybox", parser), *((f"whybox {name}", command) for name, command in commands.items())]:
        page += [f"## `{name}`", "", "```text", help_of(each), "```", ""]
    path = HERE / "reference" / "command_line.md"
    path.parent.mkdir(exist_ok=True)
    text = "\n".join(page)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def help_of(parser: argparse.ArgumentParser) -> str:
    """Return what ``--help`` prints."""
    filled = getattr(parser, "filled", None)
    if filled is not None:
        filled()
    return parser.format_help().rstrip()


def setup(app: Any) -> dict[str, bool]:
    """Connect these parts to the build."""
    app.connect("builder-inited", write_page_of_commands, priority=100)
    app.connect("source-read", link_pages_of_scripts)
    app.connect("source-read", titles_of_pages)
    app.connect("autodoc-process-docstring", tidy_docstrings, priority=100)
    app.connect("autodoc-process-docstring", colons_back, priority=900)
    app.connect("missing-reference", link_of_a_short_name, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
