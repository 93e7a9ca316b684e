"""The list of methods: what it says is true of what it names."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest

from whybox.errors import OptionError
from whybox.methods.method_spec import FAMILIES, NEEDS, MethodSpec
from whybox.methods.registry import family_ids, find, load, methods, of_id, options_of, register, registered
from whybox.methods.saliency.base import Method
from whybox.reporting.sections.more_methods import methods_of_tables

EVERY = methods()


def spec(**changes):
    given = {"id": "one", "family": "effects", "title": "One", "summary": "one", "reference": "none", "run": "a:b"}
    return MethodSpec(**{**given, **changes})


@pytest.mark.parametrize("method", EVERY, ids=lambda s: s.method_id)
def test_what_an_entry_names_is_there(method):
    assert callable(load(method.run))
    assert not method.options or is_dataclass(load(method.options))
    assert of_id(method.method_id) is find(method.family, method.id) is method
    for words in (method.title, method.summary, method.reference, method.quantity):
        assert words
        assert not words.endswith(".")


@pytest.mark.parametrize("method", methods("saliency"), ids=lambda s: s.id)
def test_methods_of_saliency_are_what_their_entries_say(method):
    cls = load(method.run)
    assert issubclass(cls, Method)
    assert (cls.name, cls.title) == (method.id, method.title)
    assert cls.takes_background == ("background" in (*method.needs, *method.takes))
    assert cls.needs_gradients == ("gradients" in method.needs)
    assert cls.needs_channels == ("layer" in method.needs)
    assert [o.name for o in options_of(method)] == [f.name for f in fields(cls)]


def test_every_family_has_methods_and_their_ids_differ():
    assert {s.family for s in EVERY} == set(FAMILIES)
    assert len({s.method_id for s in EVERY}) == len(EVERY)
    assert family_ids("importance")[:3] == ("permutation", "conditional", "drop_column")
    assert {"sage", "shap", "pdp", "impurity", "unbiased_impurity"} <= set(family_ids("importance"))
    assert {s.family for s in methods(command="saliency")} == {"saliency"}


def test_pdp_in_a_report_is_the_effect():
    """Importance has a method of this id too."""
    assert [s.method_id for s in methods_of_tables(["pdp", "shap"])] == ["effects.pdp", "importance.shap"]


def test_options_have_their_defaults():
    found = {o.name: o for o in options_of(find("saliency", "rise"))}
    assert found["samples"].default == 2000
    assert "int" in found["samples"].kind


def test_reading_the_list_imports_nothing_heavy():
    program = (
        "import sys; import whybox.methods.registry as r; r.methods()\n"
        "print(*sorted(m for m in sys.modules if m.startswith('whybox') or m in ('scipy', 'torch', 'pyarrow')))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) == {
        "whybox",
        "whybox.errors",
        "whybox.methods",
        "whybox.methods.method_spec",
        "whybox.methods.saliency_methods",
        "whybox.methods.table_methods",
        "whybox.methods.registry",
    }


def test_a_method_that_is_not_there():
    with pytest.raises(OptionError, match=r"kind='alle' is not known.*Did you mean 'ale'"):
        find("effects", "alle", argument="kind")
    with pytest.raises(OptionError, match="method=3 is not known. Known: 'auto', 'tree_shap'"):
        find("shap", 3, also=("auto",))
    assert of_id("effects.none") is None


def test_a_method_is_registered_once_and_goes_again():
    with registered(spec()) as one:
        assert find("effects", "one") is one
        with pytest.raises(OptionError, match="already"):
            register(spec())
    assert of_id("effects.one") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"family": "none"}, "families are"),
        ({"needs": ("luck",)}, "'luck' is not among"),
        ({"run": "no colon"}, "must read 'module:name'"),
        ({"options": "no colon"}, "must read 'module:name'"),
    ],
)
def test_entries_that_cannot_be(changes, said):
    with pytest.raises(OptionError, match=said):
        spec(**changes)


def test_what_methods_need_is_listed():
    assert {n for s in EVERY for n in (*s.needs, *s.takes)} <= set(NEEDS)
