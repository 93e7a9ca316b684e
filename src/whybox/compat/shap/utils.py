"""``shap.utils``: ``sample``, ``hclust``."""

from __future__ import annotations

from typing import Any

from whybox.compat.refused import refuse
from whybox.compat.shap.backgrounds import sample
from whybox.compat.shap.refusals import REFUSED, refused

__all__ = ["hclust", "sample"]


def hclust(X: Any, y: Any = None, linkage: str = "single", metric: str = "auto", random_state: int = 0) -> Any:
    """Return a hierarchy of features by the distance of their columns, for ``maskers.Partition(X, clustering=...)``.

    Args:
        X: rows. y, linkage, random_state: refused, unless they say nothing. metric: of scipy.spatial.distance.pdist; ``"auto"``: cosine.

    Raises:
        OptionError: what is not honoured.
    """
    from whybox.compat.shap.maskers import linkage_of_features

    if y is not None or metric == "xgboost_distances_r2":
        refuse(
            "y of shap.utils.hclust",
            "features are joined by the distance of their columns: hclust(X, metric='correlation').",
        )
    del random_state  # nothing is drawn
    return linkage_of_features(X, "cosine" if metric == "auto" else metric, linkage)


def __getattr__(name: str) -> Any:
    """Return what raises, for the names that are refused.

    Raises:
        AttributeError: shap.utils has no such name.
    """
    if name in ("approximate_interactions", "potential_interactions"):
        return refused(name, "shap.utils", REFUSED["approximate_interactions"])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
