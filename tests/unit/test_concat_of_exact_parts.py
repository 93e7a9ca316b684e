"""Exact rows joined with estimated ones."""

from __future__ import annotations

import numpy as np
import pytest

import whybox as wb
from whybox.errors import OptionError

X = np.random.default_rng(0).normal(size=(80, 10))
BACKGROUND = X[20:80]
NEAR = np.repeat(BACKGROUND[:1], 2, axis=0)
NEAR[:, :2] += 1.0


def total(rows):
    z = np.asarray(rows)
    return z.sum(axis=1) + z[:, 0] * z[:, 1]


SAME = np.repeat(BACKGROUND[:1], 60, axis=0)
SAME[:, 0] = BACKGROUND[:, 0]


def test_exact_rows_have_errors_of_zero_beside_estimated_ones():
    exact = wb.explain(total, NEAR, SAME)
    sampled = wb.explain(total, X[:3], SAME)
    assert exact.evidence.exact
    assert not sampled.evidence.exact
    for parts in ((exact, sampled), (sampled, exact), (wb.concat([sampled, exact]), exact[:1])):
        both = wb.concat(parts)
        np.testing.assert_array_equal(both.values, np.concatenate([part.values for part in parts]))
        is_exact = np.concatenate(
            [np.zeros(len(p.values)) if p.std_error is None else p.std_error[:, 0] for p in parts]
        )
        np.testing.assert_array_equal(both.std_error[:, 0], is_exact)
        assert not both.evidence.exact
        assert both.evidence.method_id == "shap.sampled_shap"
        assert any("exact (ExactShap): standard errors are 0 there." in note for note in both.evidence.notes)
        assert "all coalitions" in both.evidence.kernel
        assert "pairs of coalitions" in both.evidence.kernel
        low, high = both.interval
        np.testing.assert_array_equal((low == high).all(axis=1), (both.std_error == 0).all(axis=1))
    assert wb.concat([exact, exact]).evidence.exact


def test_what_is_no_estimate_of_the_same_is_refused_as_before():
    sampled = wb.explain(total, X[:3], BACKGROUND)
    with pytest.raises(OptionError):
        wb.concat([sampled, wb.explain(total, NEAR, SAME)])  # another background
    with pytest.raises(OptionError):
        wb.concat([wb.explain(total, X[:3], SAME), wb.explain(total, NEAR, SAME, index="banzhaf")])
