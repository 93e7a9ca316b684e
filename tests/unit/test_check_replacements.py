"""What replaces the parts of an input where the check of parameters covers them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

import whybox as wb
from whybox.checks.model_randomization import _equidistant_method


def test_replacements_stand_half_the_range_away_from_every_number():
    """Of each column of a table, and of all pictures together; inside the range."""
    for shape in ((30, 4), (6, 2, 5, 5)):
        x = np.random.default_rng(0).normal(size=shape)
        axes = 0 if x.ndim == 2 else None
        low, high = x.min(axis=axes), x.max(axis=axes)
        subject = SimpleNamespace(
            method=wb.explainers.Occlusion(),
            tokens=None,
            inputs=[SimpleNamespace(x=x, without_gradient=False)],
            rows=np.arange(len(x)),
            inputs_are_tuple=False,
            cut_to_rows=lambda _: wb.explainers.Occlusion(),
        )
        replacement = _equidistant_method(subject).baseline
        assert np.allclose(np.abs(replacement - x), np.broadcast_to((high - low) / 2, shape))
        assert (replacement >= low - 1e-12).all()
        assert (replacement <= high + 1e-12).all()
