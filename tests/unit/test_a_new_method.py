"""Adding a method is one file and one line: verbs, plans, the command line, reports, figures and the docs' tables find it."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

import method_lists
import whybox as wb
import zoo
from whybox.cli.main import main
from whybox.methods.method_spec import MethodSpec
from whybox.methods.registry import registered
from whybox.reporting.contents import SECTIONS

EFFECT = """
from dataclasses import dataclass
import numpy as np
from whybox.methods.common.options import option
from whybox.methods.effects.curves import Curve, individual_curves
from whybox.methods.effects.kinds import EffectKind
from whybox.methods.effects.options import EffectsOptions


@dataclass(frozen=True, kw_only=True)
class QuantileOptions(EffectsOptions):
    kind: str = option("quantile", "this kind")
    probability: float = option(0.5, "which quantile over the rows")


class QuantileCurves(EffectKind):
    default_points = (5, 3)

    def __init__(self, probability=0.5):
        self.probability = probability

    @classmethod
    def from_options(cls, options):
        return cls(getattr(options, "probability", 0.5))

    def compute_curves(self, evaluator, grids):
        return [Curve(c.grid, np.quantile(c.values, self.probability, axis=0)) for c in individual_curves(evaluator, grids)]
"""
IMPORTANCE = """
from dataclasses import replace
from whybox.methods.importance.mean_abs_shap import mean_abs_shap
from whybox.methods.registry import find


def half(problem):
    e = mean_abs_shap(problem)
    own = find("importance", "half").evidence_fields()
    return replace(e, values=e.values / 2, evidence=replace(e.evidence, **own))
"""
MAP = """
from dataclasses import dataclass
from typing import ClassVar
from whybox.methods.saliency.base import Method, MethodOutput


@dataclass(frozen=True)
class Itself(Method):
    factor: float = 1.0
    name: ClassVar[str] = "itself"
    title: ClassVar[str] = "The input itself"
    needs_gradients: ClassVar[bool] = False

    def __call__(self, q):
        return MethodOutput([[self.factor * q.inputs[0].x.astype(float)]], "none", "the input", exact=True)
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the one file."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def file(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        sys.modules.pop(name, None)

    return file


@pytest.fixture
def quantile(write):
    """The one line."""
    write("quantile_file", EFFECT)
    with registered(
        MethodSpec(
            id="quantile",
            family="effects",
            title="Quantile over the rows",
            summary="a quantile of the rows' own curves",
            reference="none",
            run="quantile_file:QuantileCurves",
            options="quantile_file:QuantileOptions",
            quantity="quantile",
            signed=False,
            figures=("curve",),
            section="effects",
            command="effects",
        )
    ):
        yield


def test_verbs_and_plans_find_an_effect(quantile, tmp_path):
    from quantile_file import QuantileOptions

    model, X = zoo.built("RandomForestRegressor")
    rows = wb.effects(model, X, ["bmi"], "ice", grid=5)["bmi"]
    found = wb.effects(model, X, ["bmi"], "quantile")
    e = found["bmi"]
    assert np.allclose(e.values, np.median(rows.values, axis=0))
    assert (e.method_id, e.evidence.method, e.evidence.quantity) == (
        "effects.quantile",
        "Quantile over the rows",
        "quantile",
    )
    upper = wb.effects(model, X, ["bmi"], QuantileOptions(probability=0.9))["bmi"]
    assert (upper.values >= e.values).all()
    assert (upper.values > e.values).any()
    both = wb.effects(model, X, ["bmi"], ["pdp", QuantileOptions(probability=0.9)])
    assert list(both) == ["pdp", "quantile"]
    plan = wb.plan(wb.effects, model, X, ["bmi"], kind="quantile")
    assert (plan.method, plan.method_id, plan.points) == ("Quantile over the rows", "effects.quantile", 5)
    assert e.plot.curve().get_ylabel() == "quantile"
    found.save(tmp_path / "e.whybox")
    assert wb.load(tmp_path / "e.whybox")["bmi"].evidence == e.evidence
    with pytest.raises(wb.errors.OptionError, match="Did you mean 'quantile'"):
        wb.effects(model, X, kind="quantil")


def test_the_command_line_finds_an_effect(quantile, tmp_path, capsys):
    import joblib

    model, X = zoo.built("RandomForestRegressor")
    joblib.dump(model, tmp_path / "m.joblib")
    X.to_csv(tmp_path / "rows.csv", index=False)
    paths = [str(tmp_path / name) for name in ("m.joblib", "rows.csv")]
    assert (
        main(
            [
                "effects",
                *paths,
                "--trust-pickle",
                "--kind",
                "quantile",
                "--feature",
                "bmi",
                "-o",
                str(tmp_path / "out.csv"),
            ]
        )
        == 0
    )
    assert "Quantile over the rows" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["effects", "--help"])
    assert "quantile a quantile of the rows' own curves probability=0.5" in re.sub(r"\s+", " ", capsys.readouterr().out)


@pytest.mark.usefixtures("unwritten_pictures")
def test_a_report_finds_an_effect(quantile, tmp_path):
    model, X = zoo.built("RandomForestRegressor")
    wb.report(
        model, X, tmp_path / "r.html", methods="quantile", sections=[s for s in SECTIONS if s.anchor == "effects"]
    )
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    section = page.split("How each feature acts")[-1]
    assert "Quantile over the rows" in section
    assert "A quantile of the rows" in section
    with pytest.raises(wb.errors.OptionError, match="methods='none' is not known"):
        wb.report(model, X, tmp_path / "r.html", methods=["none"])


def test_the_docs_find_an_effect(quantile):
    assert (
        "- **`quantile`** (Quantile over the rows): a quantile of the rows' own curves." in method_lists.every_method()
    )
    assert "`quantile`" not in method_lists.inside(method_lists.DOCS / "methods.md")


@pytest.mark.usefixtures("unwritten_pictures")
def test_a_method_of_importance(write, tmp_path):
    write("half_file", IMPORTANCE)
    model, X = zoo.built("RandomForestRegressor")
    with registered(
        MethodSpec(
            id="half",
            family="importance",
            title="Half the importance",
            summary="half of it",
            reference="none",
            run="half_file:half",
            options="whybox.methods.importance.options:ImportanceOptions",
            quantity="half",
            section="importance",
            figures=("bar",),
        )
    ):
        found = wb.importance(model, X, method=["shap", "half"])
        own = found.extras["own_values"][1]
        assert list(found.coords["method"]) == ["shap", "half"]
        assert np.allclose(own[:, 1], own[:, 0] / 2)
        assert np.allclose(found.values[:, 1], found.values[:, 0])
        plan = wb.plan(wb.importance, model, X, method="half")
        assert (plan.method, plan.rows) == ("Half the importance", len(X))
        assert "not predicted" in str(plan)
        wb.report(
            model, X, tmp_path / "r.html", methods=["half"], sections=[s for s in SECTIONS if s.anchor == "importance"]
        )
        assert "Half the importance" in (tmp_path / "r.html").read_text(encoding="utf-8")
        assert "- **`half`** (" in method_lists.every_method()


@pytest.mark.usefixtures("unwritten_pictures")
def test_a_method_of_saliency(write, tmp_path, capsys):
    import torch

    write("itself_file", MAP)
    net = torch.nn.Linear(4, 1).eval()
    rows = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    with registered(
        MethodSpec(
            id="itself",
            family="saliency",
            title="The input itself",
            summary="the input",
            reference="none",
            run="itself_file:Itself",
            options="itself_file:Itself",
            section="maps",
            command="saliency",
        )
    ):
        found = wb.saliency(net, rows, method=["gradient", "itself"])
        assert list(found) == ["gradient", "itself"]
        assert np.allclose(found["itself"].values, rows)
        assert found["itself"].method_id == "saliency.itself"
        plan = wb.plan(wb.saliency, net, rows, method="itself", factor=2.0)
        assert (plan.method, plan.rows, plan.exact) == ("The input itself", 6, True)
        wb.report(net, rows, tmp_path / "r.html", methods=["itself"], checks="numerical")
        assert "The input itself" in (tmp_path / "r.html").read_text(encoding="utf-8")
        with pytest.raises(SystemExit):
            main(["saliency", "--help"])
        assert "itself the input factor=1.0" in re.sub(r"\s+", " ", capsys.readouterr().out)
        assert '- **`"itself"`**: the input. *Options*: `factor=1.0`.' in method_lists.of_saliency()
