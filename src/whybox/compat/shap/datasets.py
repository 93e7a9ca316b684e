"""``shap.datasets``: those that scikit-learn has; the others, which shap downloads, are refused."""

from __future__ import annotations

from typing import Any

from whybox.compat.refused import refuse
from whybox.compat.shap.backgrounds import sample

__all__ = ["california", "diabetes", "iris", "linnerud"]


def california(n_points: int | None = None) -> tuple[Any, Any]:
    """Return the houses of California, frame and target; scikit-learn downloads them once."""
    from sklearn.datasets import fetch_california_housing

    return _pair(fetch_california_housing(as_frame=True), n_points)


def diabetes(n_points: int | None = None) -> tuple[Any, Any]:
    """Return the diabetes data, frame and target."""
    from sklearn.datasets import load_diabetes

    return _pair(load_diabetes(as_frame=True), n_points)


def iris(display: bool = False, n_points: int | None = None) -> tuple[Any, Any]:  # as shap has it
    """Return the irises, frame and target; with `display` the names of the species."""
    from sklearn.datasets import load_iris

    found = load_iris(as_frame=True)
    X, y = _pair(found, n_points)
    return X, [str(found.target_names[k]) for k in y] if display else y


def linnerud(n_points: int | None = None) -> tuple[Any, Any]:
    """Return the exercises of Linnerud, frame and three targets."""
    from sklearn.datasets import load_linnerud

    found = load_linnerud(as_frame=True)
    X, y = found.data, found.target
    return (X, y) if n_points is None else (sample(X, n_points), sample(y, n_points))


def _pair(found: Any, n_points: int | None) -> tuple[Any, Any]:
    X, y = found.data, found.target.to_numpy()
    return (X, y) if n_points is None else (sample(X, n_points), sample(y, n_points))


def __getattr__(name: str) -> Any:
    """Refuse the data sets that shap downloads, when they are called.

    Raises:
        AttributeError: shap has no such data.
    """
    downloaded = (
        "a1a",
        "adult",
        "cancer",
        "communitiesandcrime",
        "corrgroups60",
        "imagenet50",
        "imdb",
        "independentlinear60",
        "nhanesi",
        "rank",
    )
    if name not in downloaded:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def refusing(*_: Any, **__: Any) -> None:
        refuse(f"shap.datasets.{name}", "read the data yourself; sklearn.datasets and openml have most of them.")

    return refusing
