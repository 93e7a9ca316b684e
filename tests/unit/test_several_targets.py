"""Probabilities of several targets are not those of the classes of one: no loss, no score, no rule of a class."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier

import whybox as wb
from whybox.errors import UnsupportedModelError

_RNG = np.random.default_rng(0)
_ROWS = _RNG.normal(size=(120, 4))
_TARGETS = (_ROWS[:, :3] + _RNG.normal(size=(120, 3)) > 0).astype(int)
_TRUTHS = {"labels": np.arange(120) % 3, "outputs": np.where(_TARGETS[:, 0] == 1, "y0=1", "y1=1")}


def _models():
    network = MLPClassifier((4,), solver="lbfgs", max_iter=500, random_state=0).fit(_ROWS, _TARGETS)
    return [(network, "labels"), (RandomForestClassifier(10, random_state=0).fit(_ROWS, _TARGETS), "outputs")]


def test_losses_of_several_targets_are_refused():
    for model, truth in _models():
        with pytest.raises(UnsupportedModelError, match="do not add up to one"):
            wb.importance(model, _ROWS, _TRUTHS[truth])
        with pytest.raises(UnsupportedModelError, match="do not add up to one"):
            wb.explain(model, _ROWS[:2], _ROWS[:10], loss="log", y=_TRUTHS[truth][:2])


@pytest.mark.usefixtures("unwritten_pictures")
def test_a_report_of_several_targets_has_no_scores(tmp_path):
    for model, truth in _models():
        wb.report(model, _ROWS[:30], tmp_path / "page.html", y=_TRUTHS[truth][:30], background=_ROWS[:10])
        page = (tmp_path / "page.html").read_text()
        assert "Accuracy" not in page
        assert "This page cannot say" in page


def test_anchors_keep_a_class_of_one_target():
    from xgboost import XGBClassifier

    model = XGBClassifier(n_estimators=3, max_depth=2).fit(_ROWS, _TARGETS)
    with pytest.raises(UnsupportedModelError, match="do not add up to one"):
        wb.anchors(model, _ROWS[:1], _ROWS)
