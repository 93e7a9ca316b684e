"""The tables of docs/from_*.md name what the layers have; that it does what they say is tested beside each layer."""

import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from whybox.compat.sklearn import inspection

DOCS = Path(__file__).parents[2] / "docs"
MODULES = {
    "from_sklearn.md": ["sklearn.inspection"],
    "from_captum.md": ["captum.attr"],
    "from_pytorch_grad_cam.md": [
        "pytorch_grad_cam",
        "pytorch_grad_cam.utils.image",
        "pytorch_grad_cam.utils.model_targets",
    ],
    "from_lime.md": [
        f"lime.{name}"
        for name in (
            "lime_tabular",
            "lime_text",
            "lime_image",
            "submodular_pick",
            "explanation",
            "wrappers.scikit_image",
        )
    ],
}


def names_of(module):
    """Names of a module, of the members of its classes, and of arguments."""
    for name in module.__all__:
        value = getattr(module, name)
        yield name
        members = (
            [value, *(m for _, m in inspect.getmembers(value) if callable(m))] if inspect.isclass(value) else [value]
        )
        if inspect.isclass(value):
            yield from dir(value)
            yield from re.findall(r"\w+", inspect.getdoc(value) or "")
        for member in members:
            if inspect.isroutine(member) or inspect.isclass(member):
                try:
                    yield from inspect.signature(member).parameters
                except ValueError:  # of C
                    continue


def results():
    X = np.arange(20.0).reshape(10, 2)
    model = DecisionTreeClassifier().fit(X, X[:, 0] > 8)
    yield from inspection.partial_dependence(model, X, [0], kind="both")
    yield from inspection.permutation_importance(model, X, X[:, 0] > 8)


@pytest.mark.parametrize("page", MODULES)
def test_what_a_page_says_is_honoured_is_there(page):
    if page in {"from_captum.md", "from_pytorch_grad_cam.md"}:
        pytest.importorskip("torch")
    known = {*results(), "plot"}
    for name in MODULES[page]:
        known |= set(names_of(importlib.import_module(f"whybox.compat.{name}")))
    section = (DOCS / page).read_text(encoding="utf-8").split("## What is honoured?")[1].split("\n## ")[0]
    listed = [
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)", line.split(" | ")[0])
    ]
    assert len(listed) > 15
    assert set(listed) <= known, set(listed) - known
