"""Permutation importance of forests whose trees vote: rounding in sums of votes is neither a choice nor a probability."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

import whybox as wb
from whybox.methods.importance import permutation_of_trees


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_with_equal_votes_are_ties_in_every_sum(classes, monkeypatch):
    """Shares of ten trees differ by rounding where they are added up in another order: the first class counts, as for the forest itself."""
    draw = np.random.default_rng(classes)
    X = draw.normal(size=(30, 3)).round(1)
    y = np.digitize(X[:, 0] + draw.normal(size=30), [0.0, 0.7][: classes - 1])
    model = RandomForestClassifier(10, random_state=0).fit(X, y)
    shares = model.predict_proba(X)
    assert (np.sort(shares, axis=1)[:, -1] - np.sort(shares, axis=1)[:, -2] < 1e-9).any()

    def wrong(rows, truth):
        return (model.predict_proba(rows).round(12).argmax(axis=1) != truth).astype(float)

    want = np.zeros(3)
    for j in range(3):
        for k in range(1, 30):
            changed = X.copy()
            changed[:, j] = np.roll(X[:, j], k)
            want[j] += (wrong(changed, y) - wrong(X, y)).mean() / 29
    found = [wb.importance(model, X, y, loss="zero_one")]
    monkeypatch.setattr(permutation_of_trees, "MAX_NUMBERS_IN_FULL", 0)
    found.append(wb.importance(model, X, y, loss="zero_one"))
    monkeypatch.setattr(permutation_of_trees, "_kernel_loss", lambda *_: None)
    found.append(wb.importance(model, X, y, loss="zero_one"))
    assert len({e.evidence.kernel for e in found}) == 3
    for e in found:
        np.testing.assert_allclose(e.values, want, rtol=0, atol=1e-12)


def test_classes_without_a_vote_have_no_probability_in_any_sum(monkeypatch):
    """Sums along a curve leave 1e-16 where no tree votes for a class; the log loss would take that for a probability."""
    draw = np.random.default_rng(9)
    n = 120
    X = draw.normal(size=(n, 2))
    y = np.digitize(X[:, 0] + draw.normal(size=n), [-1.0, 1.0])
    model = RandomForestClassifier(20, random_state=0).fit(X, y)

    def log_loss(rows, truth):
        p = model.predict_proba(rows)[np.arange(len(rows)), truth]
        return -np.log(np.maximum(p, np.finfo(float).eps))

    changed = np.column_stack([np.repeat(X[:, 0], n), np.tile(X[:, 1], n)])  # row i with the value of row j, at j n + i
    want = (log_loss(changed, np.tile(y, n)).mean() - log_loss(X, y).mean()) * n / (n - 1)
    ways = [{}, {"MAX_NUMBERS_IN_FULL": 0}, {"_kernel_loss": lambda *_: None}]
    for way in ways:
        for name, value in way.items():
            monkeypatch.setattr(permutation_of_trees, name, value)
        assert wb.importance(model, X, y, loss="log").values[0] == pytest.approx(want, rel=1e-12)
