"""Evidence: its lines by name, and the evidence of several parts together."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import whybox as wb
import zoo
from whybox.errors import OptionError
from whybox.explanation.evidence import LINES, Evidence

SOURCES = Path(wb.__file__).parent


@pytest.fixture(scope="module")
def of_model():
    model, rows = zoo.built("RandomForestRegressor")
    e = wb.explain(model, rows.assign(never=1)[:5])
    return dataclasses.replace(e.evidence, unknown={"later": 1})


@pytest.fixture(scope="module")
def of_network():
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Softmax(dim=1)).eval()
    made = wb.saliency(net, x, 0, "shapley", samples=8).evidence
    return dataclasses.replace(made, operators=("aten.softmax",), notes=("a note",))


def test_every_line_has_a_name_and_every_name_a_line(of_model, of_network):
    for key in LINES:
        assert of_model.lines(key) or of_network.lines(key), key
    for evidence in (of_model, of_network):
        by_name = [line for key in LINES for line in evidence.lines(key)]
        assert sorted(by_name) == sorted(evidence.lines())
        assert evidence.lines(*LINES) == evidence.lines()


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
                assert set(re.findall(r'"([^"]+)"', keys)) <= set(LINES), path


def test_evidence_is_plain_data(of_model, of_network):
    for evidence in (of_model, of_network):
        assert Evidence.from_dict(evidence.to_dict()) == evidence
