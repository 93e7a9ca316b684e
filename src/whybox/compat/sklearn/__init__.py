"""scikit-learn's inspection: ``from whybox.compat.sklearn.inspection import partial_dependence``."""

from __future__ import annotations
