"""The examples in the docstrings of the public functions run, and print what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import whybox as wb

VERBS = [
    "check",
    "concat",
    "effects",
    "explain",
    "importance",
    "interactions",
    "load",
    "plan",
    "regions",
    "report",
    "saliency",
]


@pytest.mark.parametrize("name", sorted({*VERBS, *wb.__all__}))
def test_examples_of_public_names(name):
    found = [t for t in doctest.DocTestFinder().find(getattr(wb, name), name) if t.examples]
    assert found or name not in VERBS, f"whybox.{name} has no Examples"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    printed: list[str] = []
    for test in found:
        runner.run(test, out=printed.append)
    assert runner.failures == 0, "".join(printed)


def test_examples_of_other_docstrings():
    """Of modules and of what is not public by its own name."""
    source = Path(wb.__file__).parent
    covered = {getattr(wb, name).__module__ for name in VERBS} | {"whybox.errors", "whybox.models.remote"}
    for file in source.rglob("*.py"):
        name = ".".join(("whybox", *file.relative_to(source).with_suffix("").parts)).removesuffix(".__init__")
        if ">>> " in file.read_text(encoding="utf-8") and name not in covered:
            assert doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS).failed == 0, name
