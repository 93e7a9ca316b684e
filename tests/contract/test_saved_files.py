"""Files that were saved once are read by every later version: one of every kind, made by tests/saved/make.py."""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import MISSING, fields
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import whybox as wb
from whybox.errors import ExplanationFileError
from whybox.explanation.effects import Effects
from whybox.explanation.evidence import Evidence
from whybox.explanation.explanation import Explanation
from whybox.explanation.files_before_ids import method_before_ids
from whybox.explanation.kinds import EXPLANATION_KINDS
from whybox.methods.registry import of_id, options_of
from whybox.methods.saliency.recipe import read_recipe
from whybox.reporting.sections.saliency_maps import MethodMaps, saliency_maps_section

FOLDER = Path(__file__).parents[1] / "saved"
FILES = sorted(FOLDER.glob("*.whybox"))
CONTENTS = json.loads((FOLDER / "contents.json").read_text(encoding="utf-8"))
OPTIONAL = [f for f in fields(Evidence) if f.default is not MISSING or f.default_factory is not MISSING]
NEWER = {"confidence": {"level": 0.95}, "reviewed": True}  # fields that no version of today has


@pytest.fixture
def contents(monkeypatch):
    """What tells what is in a file, as it told when the files were made."""
    monkeypatch.syspath_prepend(str(FOLDER))
    sys.modules.pop("make", None)
    import make

    return make.contents


def test_there_is_a_file_of_every_kind():
    assert {path.stem for path in FILES} == set(CONTENTS)
    kinds = {e["kind"] for held in CONTENTS.values() for _, e in held}
    assert kinds == set(EXPLANATION_KINDS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_old_files_say_what_they_said(path, tmp_path, contents):
    found = wb.load(path)
    assert as_then(contents(found), path) == CONTENTS[path.stem]
    found.save(tmp_path / "again.whybox")
    assert as_then(contents(wb.load(tmp_path / "again.whybox")), path) == CONTENTS[path.stem]


def as_then(held, path):
    """Without the evidence that came later, which must hold its defaults, or what the method's title of that time says."""
    defaults = {f.name: f.default if f.default is not MISSING else f.default_factory() for f in OPTIONAL}
    for (_, e), (_, old) in zip(held, CONTENTS[path.stem], strict=True):
        later = {name: e["evidence"].pop(name) for name in set(e["evidence"]) - set(old["evidence"])}
        known = defaults | method_before_ids(old["evidence"])
        assert later == {name: known[name] for name in later}
    return held


@pytest.mark.parametrize(
    ("name", "method_id", "quantity"),
    [
        ("attribution", "shap.tree_shap", "attribution"),
        ("effect", "effects.pdp", "mean prediction"),
        ("effects_ale", "effects.ale", "accumulated effect"),
        ("effects_ice", "effects.ice", "prediction"),
        ("effects_regions", "regions.regional", "mean prediction"),
        ("importance_impurity", "importance.impurity", "share of impurity decrease"),
        ("interaction_size", "interactions.friedman_h", "size of the interaction"),
        ("saliency_tokens", "saliency.gradient", "attribution"),
    ],
)
def test_old_files_know_their_method(name, method_id, quantity):
    found = wb.load(FOLDER / f"{name}.whybox")
    e = found[0] if isinstance(found, Effects) else found
    assert (e.method_id, e.evidence.quantity) == (method_id, quantity)
    assert of_id(method_id).evidence_fields().items() <= e.evidence.to_dict().items()


def test_every_old_file_names_a_method_of_the_registry():
    for path in FILES:
        found = wb.load(path)
        for e in found.values() if isinstance(found, Effects) else [found]:
            parts = e.evidence.parts.values()
            for method_id in [part.method_id for part in parts] or [e.method_id]:
                assert of_id(method_id) is not None, path.name


@pytest.mark.parametrize("name", ["effect", "effect_outputs", "effects_ice", "effects_surface", "effects_ale"])
def test_old_curves_still_answer(name):
    found = wb.load(FOLDER / f"{name}.whybox")
    for e in found.values() if isinstance(found, Effects) else [found]:
        points = e.grid if "point_2" not in e.dims else [(a, b) for a in e.grid for b in e.coords["point_2"]]
        assert np.allclose(e.at(points).reshape(e.shape), e.values, rtol=1e-12)
    between = wb.load(FOLDER / "effect.whybox")
    assert np.isin(between.at(np.linspace(-3, 3, 50)), between.again.values).all()


def page_of(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("explanation.json"))


def changed(path, target, change):
    """The same file with another evidence, or another page."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "explanation.json":
                page = json.loads(data)
                change(page)
                data = json.dumps(page).encode()
            new.writestr(name, data)
    return target


@pytest.mark.parametrize("name", ["attribution", "saliency", "importance_impurity", "effect"])
def test_fields_of_a_newer_version_are_kept_and_shown(tmp_path, name):
    path = changed(FOLDER / f"{name}.whybox", tmp_path / "new.whybox", lambda page: page["evidence"].update(NEWER))
    e = wb.load(path)
    old = wb.load(FOLDER / f"{name}.whybox")
    assert isinstance(e, Explanation)
    assert e.evidence.unknown == NEWER
    assert e.values.tobytes() == old.values.tobytes()
    assert str(e.evidence).startswith(str(old.evidence))
    assert "confidence (written by a newer version of whybox): {'level': 0.95}" in str(e.evidence)
    assert "written by a newer version" in e._repr_html_()
    e[:1].save(tmp_path / "again.whybox")
    back = page_of(tmp_path / "again.whybox")["evidence"]
    assert {field: back[field] for field in NEWER} == NEWER
    assert "unknown" not in back
    assert wb.load(tmp_path / "again.whybox").evidence == e.evidence


def test_fields_of_an_older_version_get_their_defaults(tmp_path):
    later = ("verdict", "passes", "operators", "settings", "notes", "seconds", "seed")

    def without(page):
        for field in later:
            del page["evidence"][field]

    e = wb.load(changed(FOLDER / "attribution.whybox", tmp_path / "old.whybox", without))
    plain = Evidence(*["?"] * 12)
    assert {field: getattr(e.evidence, field) for field in later} == {field: getattr(plain, field) for field in later}
    assert e.evidence.method == "TreeShap"


@pytest.mark.parametrize("field", ["method", "exact", "residual", "model"])
def test_nothing_is_assumed_for_what_every_version_writes(tmp_path, field):
    path = changed(FOLDER / "attribution.whybox", tmp_path / "e.whybox", lambda page: page["evidence"].pop(field))
    with pytest.raises(ExplanationFileError, match=f"lacks '{field}'"):
        wb.load(path)


@pytest.mark.parametrize(
    ("number", "said"), [(2, "newer version"), (None, "edited"), (0, "edited"), ("1", "edited"), (True, "edited")]
)
def test_formats_that_are_not_known(tmp_path, number, said):
    path = changed(FOLDER / "attribution.whybox", tmp_path / "e.whybox", lambda page: page.update(format=number))
    with pytest.raises(ExplanationFileError, match=said):
        wb.load(path)


FIGURES_OF_FILES = {
    "agreement": ("agreement",),
    "attribution": ("bar", "beeswarm", "heatmap"),
    "effect": ("curve",),
    "effects_dates": ("grid",),
    "effects_regions": ("grid",),
    "importance": ("bar",),
    "interaction": ("heatmap",),
    "interaction_size_sampled": ("heatmap",),
    "saliency": ("overlay", "beside"),
    "saliency_table": ("bar", "beeswarm", "heatmap"),
    "saliency_tokens": ("words",),
}


@pytest.mark.parametrize("name", FIGURES_OF_FILES)
def test_old_files_have_their_figures(name):
    found = wb.load(FOLDER / f"{name}.whybox")
    for figure in FIGURES_OF_FILES[name]:
        getattr(found.plot, figure)()
        plt.close("all")


@pytest.mark.parametrize("name", ["saliency", "saliency_paths", "saliency_table", "saliency_tokens"])
def test_old_maps_are_shown_in_a_section_of_the_report(name):
    e = wb.load(FOLDER / f"{name}.whybox")
    section = saliency_maps_section([MethodMaps((e,), False, ("input",), None, None)], 2)
    assert "There is no figure" not in section
    assert e.evidence.method in section
    recipe = read_recipe(e)
    assert f"saliency.{recipe.method}" == e.method_id
    assert set(recipe.options) <= {option.name for option in options_of(of_id(e.method_id))}
