"""The examples in the docstrings of the public functions run, and print what they say."""

import doctest

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
