"""How a sampled answer spends its predictions: on the design that promises smaller errors, to the end, in few rounds."""

from __future__ import annotations

import re

import numpy as np
import pytest

import whybox as wb
from whybox.methods.shap.fitted_control import FittedControl
from whybox.methods.shap.observed_design import ObservedDesign

RNG = np.random.default_rng(1)
X = RNG.normal(size=(400, 10))
BACKGROUND = X[100:350]


def steps(rows):
    """Steps of single columns and of pairs: what matters is which background row is met."""
    z = np.asarray(rows, dtype=float)
    return (z[:, :5] > 0.3).sum(axis=1) + (z[:, 5] > 0) * (z[:, 6] > 0.5) + 0.1 * z[:, 7] * z[:, 8]


def smooth(rows):
    """Interactions of many columns, and hardly any difference between background rows."""
    z = np.asarray(rows, dtype=float)
    return np.tanh(z @ np.linspace(-1, 1, 10)) * np.cos(z[:, 0] + z[:, 5])


def explain(model, rows, a_row, **more):
    seen = []
    more = {"tol": 1e-9, "surrogate": False, "spot_checks": 0, "callback": seen.append} | more
    got = wb.explain(model, rows, BACKGROUND, "sampled_shap", max_evals=a_row * len(rows), **more)
    return got, len(seen)


def orders_of(got):
    found = re.search(r"([\d,]+) random orders", got.evidence.kernel)
    return 0 if found is None else int(found[1].replace(",", ""))


def test_most_predictions_go_to_the_design_that_promises_smaller_errors():
    got, _ = explain(steps, X[:3], 9_000)
    assert 18 * orders_of(got) > 0.7 * 9_000


@pytest.fixture(scope="module")
def of_surrogate():
    """An answer with a surrogate, which takes seconds to fit: how many rounds it had, what was asked of the surrogate, and whether bits differed."""
    asked, bits_differ = [], []
    outputs, fitted = FittedControl.outputs, ObservedDesign._fitted_outputs

    def counted(self, rows, own, design, entries):
        found = outputs(self, rows, own, design, entries)
        asked.append((id(self), own.tobytes(), rows[0], type(design), len(entries), len(design.donor)))
        return found

    def checked(self, control):
        found = fitted(self, control)
        every = outputs(control, self.rows, self.own, self.design, np.arange(len(self.design.donor)))
        bits_differ.append(found.present.tobytes() != every[:, 0].tobytes())
        bits_differ.append(found.absent.tobytes() != every[:, 1].tobytes())
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FittedControl, "outputs", counted)
        patch.setattr(ObservedDesign, "_fitted_outputs", checked)
        got, rounds = explain(smooth, X[:8], 6_000, surrogate=True)
    return got, rounds, asked, bits_differ


def assert_used_in_few_rounds(got, rounds):
    assert got.extras["model_evals"][1].sum() > 0.95 * 6_000 * len(got.values)
    assert rounds <= 12


@pytest.mark.parametrize("model", [steps, smooth])
def test_predictions_are_used_to_the_end_in_few_rounds(model):
    assert_used_in_few_rounds(*explain(model, X[:8], 6_000))


def test_predictions_are_used_to_the_end_with_a_surrogate(of_surrogate):
    got, rounds, *_ = of_surrogate
    assert_used_in_few_rounds(got, rounds)


def test_what_a_surrogate_says_is_asked_once(of_surrogate):
    """Only of entries that are new since the last round, with the same bits as of all entries."""
    *_, asked, bits_differ = of_surrogate
    assert bits_differ
    assert not any(bits_differ)
    assert any(new < every for *_, new, every in asked)
    sums, last = {}, {}
    for *which, new, every in asked:
        key = tuple(which)
        sums[key], last[key] = sums.get(key, 0) + new, every
    assert sums == last
