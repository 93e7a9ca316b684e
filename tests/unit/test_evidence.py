"""Evidence: its lines by name, and the evidence of several parts together."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import whybox as wb
import zoo
from whybox.errors import OptionError
from whybox.explanation.evidence import EVIDENCE_LINES, Evidence, merge_evidence
from whybox.explanation.spot_checks import SpotChecks

SOURCES = Path(wb.__file__).parent


@pytest.fixture(scope="module")
def of_model():
    model, rows = zoo.built("RandomForestRegressor")
    e = wb.explain(model, rows.assign(never=1)[:5])
    return dataclasses.replace(e.evidence, unknown={"later": 1}, spot_checks=SpotChecks(1, 1, 0.0, ("by hand",)))


@pytest.fixture(scope="module")
def of_network():
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Softmax(dim=1)).eval()
    made = wb.saliency(net, x, 0, "shapley", samples=8).evidence
    return dataclasses.replace(made, operators=("aten.softmax",), notes=("a note",))


def test_every_line_has_a_name_and_every_name_a_line(of_model, of_network):
    for key in EVIDENCE_LINES:
        assert of_model.lines(key) or of_network.lines(key), key
    for evidence in (of_model, of_network):
        by_name = [line for key in EVIDENCE_LINES for line in evidence.lines(key)]
        assert sorted(by_name) == sorted(evidence.lines())
        assert evidence.lines(*EVIDENCE_LINES) == evidence.lines()


def test_lines_are_asked_for_by_name(of_model, of_network):
    assert of_model.lines("seed") == [("Seed", "0")]
    assert [text for _, text in of_model.lines("note")] == list(of_model.notes)
    assert of_network.lines("estimand") == [("What is absent, or measured", of_network.estimand)]
    assert of_network.lines("verdict") == []
    with pytest.raises(OptionError, match=r"no line 'Estimand'\. Did you mean 'estimand'"):
        of_model.lines("Estimand")


def test_nobody_chooses_lines_by_their_english():
    """Names of lines that a source file asks for are names; labels are written in evidence.py alone."""
    labels = re.findall(r'\("[a-z_]+", "([A-Z][^"]+)"', (SOURCES / "explanation" / "evidence.py").read_text("utf-8"))
    assert len(labels) > 10
    for path in SOURCES.rglob("*.py"):
        text = path.read_text("utf-8")
        if ".lines(" in text and path.name != "evidence.py" and "evidence" in text:
            assert ".startswith((" not in text, path
            for keys in re.findall(r"evidence\.lines\(([^)*]*)\)", text):
                assert set(re.findall(r'"([^"]+)"', keys)) <= set(EVIDENCE_LINES), path


def test_evidence_is_plain_data(of_model, of_network):
    for evidence in (of_model, of_network):
        assert Evidence.from_dict(evidence.to_dict()) == evidence


def test_parts_of_one_explanation_are_put_together():
    model, rows = zoo.built("RandomForestRegressor")
    explainer = wb.explainers.TreeShap(model)
    parts = [explainer(rows[:7]).evidence, explainer(rows[7:19].assign(never=1)).evidence]
    both = merge_evidence(parts)
    assert both.rows == 19
    assert both.model_calls == sum(p.model_calls for p in parts)
    assert both.residual == max(p.residual for p in parts)
    assert both.tolerance == max(p.tolerance for p in parts)
    assert both.seconds == sum(p.seconds for p in parts)
    assert any("left out: never" in note for note in both.notes)
    assert both.fingerprints["model"] == parts[0].fingerprints["model"]
    told = "".join(p.fingerprints["rows"] for p in parts)
    assert both.fingerprints["rows"] == hashlib.sha256(told.encode()).hexdigest()
    assert merge_evidence(parts[:1]) == parts[0]


def test_kernels_and_versions_that_differ_are_listed(of_model):
    other = dataclasses.replace(
        of_model,
        kernel="another kernel",
        versions={**of_model.versions, "numpy": "1.0", "new": "2"},
        residual_against="our reading of the model file",
        verdict={"rows": 0, "against": "nothing"},
        operators=("a",),
    )
    both = merge_evidence([of_model, other, of_model])
    assert both.kernel == f"{of_model.kernel}; another kernel"
    assert both.versions["numpy"] == f"{of_model.versions['numpy']}; 1.0"
    assert both.versions["python"] == of_model.versions["python"]
    assert both.versions["new"] == "2"
    assert both.residual_against == f"{of_model.residual_against}; our reading of the model file"
    assert both.verdict == other.verdict
    assert both.operators == ("a",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "another model"}, "model"),
        ({"estimand": "interventional"}, "estimand"),
        ({"exact": False}, "exactness"),
        ({"index": "banzhaf"}, "index"),
        ({"method": "LinearShap"}, "method"),
        ({"residual_units": "probability"}, "scale"),
        ({"additive": False}, "additivity"),
        ({"background_rows": 3}, "background"),
        ({"seed": 1}, "seed"),
    ],
    ids=str,
)
def test_parts_that_differ_in_what_was_asked_are_refused(of_model, change, said):
    with pytest.raises(OptionError, match=f"their {said} differs"):
        merge_evidence([of_model, of_model, dataclasses.replace(of_model, **change)])


def test_parts_of_models_that_are_only_called_alike_are_refused():
    rows = zoo.X()
    from sklearn.tree import DecisionTreeRegressor

    shallow, deep = (DecisionTreeRegressor(max_depth=d).fit(rows, zoo.y()) for d in (2, 3))
    one, other, behind = (
        wb.explain(shallow, rows[:3]).evidence,
        wb.explain(deep, rows[:3]).evidence,
        [wb.explain(shallow, rows[:3], rows[n : n + 5]).evidence for n in (0, 5)],
    )
    with pytest.raises(OptionError, match="SHA-256 of the model differs"):
        merge_evidence([one, other])
    with pytest.raises(OptionError, match="SHA-256 of the background differs"):
        merge_evidence(behind)
    with pytest.raises(OptionError, match="no evidence"):
        merge_evidence([])


def test_passes_of_networks_are_summed(of_network):
    both = merge_evidence([of_network, of_network])
    assert both.passes["forward"] == 2 * of_network.passes["forward"]
    assert both.passes["rows together"] == of_network.passes["rows together"]
