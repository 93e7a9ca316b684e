"""Exact attributions dressed as estimated ones: with errors, and what else a sampled answer carries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from whybox.explanation.explanation import Explanation

__all__ = ["estimated"]


def estimated(e: Explanation, share: float = 0.03, *, level: float | None = None, seed: int = 0) -> Explanation:
    """Attributions with errors of about `share` of the largest attribution; the value of the last feature of each row is known exactly."""
    error = share * np.abs(e.values).max() * np.random.default_rng(seed).uniform(0.5, 1.5, e.values.shape)
    error[:, -1] = 0.0
    rows = ("row",)
    count = len(e)
    settings = e.evidence.settings if level is None else {**e.evidence.settings, "level": level}
    return replace(
        e,
        std_error=error,
        evidence=replace(e.evidence, method="Sampled Shapley values", exact=False, settings=settings),
        extras={
            **e.extras,
            "background_error": (e.dims, 2.0 * error),
            "model_evals": (rows, np.arange(count) + 2000),
            "converged": (rows, np.arange(count) % 3 > 0),
        },
    )
