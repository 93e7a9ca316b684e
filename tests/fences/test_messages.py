"""Messages name arguments through ``errors.Argument``, so that the command line can write them as its own options."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import whybox
from whybox.explanation.figures import EFFECTS_FIGURES, FIGURE_SPECS
from whybox.methods.registry import load_options, methods

SRC = Path(whybox.__file__).parent
SPELLED = re.compile(r"(?<![\w.(\-/])([a-z_]\w*)=(?!=)")
IN_PARENTHESES = re.compile(r"(?<!\w)\(([a-z_]\w*)=(?!=)")


def parameters():
    """Every argument a user of whybox writes."""
    public = [getattr(whybox, name) for name in whybox.__all__ if callable(getattr(whybox, name))]
    members = [f for _, f in inspect.getmembers(whybox.Explanation, inspect.isfunction)]
    members += [figure.load_function() for figure in (*FIGURE_SPECS.values(), *EFFECTS_FIGURES.values())]
    names = {p for f in (*public, *members) for p in inspect.signature(f).parameters}
    return names | {f.name for s in methods() if s.options for f in dataclasses.fields(load_options(s))} - {
        "self",
        "f",
        "format",
    }


def texts(tree):
    """The text of every message of an error: what its constructor is given, but for arguments that are named as such."""
    for call in ast.walk(tree):
        name = getattr(getattr(call, "func", None), "id", getattr(getattr(call, "func", None), "attr", ""))
        if isinstance(call, ast.Call) and name.endswith("Error"):
            yield from _inside(call)


def _inside(node):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and getattr(child.func, "id", "") == "Argument":
            continue
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.lineno, child.value
        yield from _inside(child)


def test_no_message_spells_an_argument_as_python_does():
    known = parameters()
    wrong = []
    for path in sorted(SRC.rglob("*.py")):
        for line, text in texts(ast.parse(path.read_text(encoding="utf-8"))):
            spelled = set(SPELLED.findall(text)) | set(IN_PARENTHESES.findall(text))
            if spelled & known:
                wrong.append(f"{path.relative_to(SRC)}:{line}: {', '.join(spelled & known)}= in {text[:80]!r}")
    assert len(known) > 100
    assert not wrong, "\n".join(wrong)


def test_no_message_loses_its_arguments_in_a_string():
    """An f-string, ``str`` and ``+`` make an Argument the words of Python for good."""
    wrong = []
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, (ast.JoinedStr, ast.BinOp)):
                continue
            if any(isinstance(n, ast.Call) and getattr(n.func, "id", "") == "Argument" for n in ast.walk(node)):
                wrong.append(f"{path.relative_to(SRC)}:{node.lineno}")
    assert not wrong, wrong
