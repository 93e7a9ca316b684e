"""Foreign objects and model files in, verified models out. One file or folder per library; imported only when its library is met."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from whybox.errors import UnsupportedModelError
from whybox.models.base import Model

__all__ = ["adapt"]

# package of the object's class -> our module with `adapt(obj) -> Model`
_LIBRARIES: Final = {
    "sklearn": "whybox.adapters.sklearn",
    "xgboost": "whybox.adapters.xgboost",
    "lightgbm": "whybox.adapters.lightgbm",
    "catboost": "whybox.adapters.catboost",
}
_WHERE_NEXT: Final = {
    "torch": "neural networks are not explained by this version.",
    "tensorflow": "neural networks are not explained by this version.",
    "keras": "neural networks are not explained by this version.",
}


def adapt(obj: Any, **options: Any) -> Model:
    """Read a model object, or a model file given by its path.

    Args:
        obj: a fitted estimator or Pipeline of scikit-learn, a model of XGBoost, LightGBM or CatBoost, or the path of a model file.
        options: for files only, see whybox.adapters.files.load.

    Raises:
        UnsupportedModelError: the kind of model cannot be explained exactly; the message says why.
        UnknownFieldError: the model carries something this version does not know.
        ModelMismatchError: our reading disagrees with the model's own predict.
    """
    if isinstance(obj, (str, Path)):
        from whybox.adapters.files import load

        return load(Path(obj), **options)
    if isinstance(obj, type):
        raise UnsupportedModelError(f"{obj.__name__} is a class, not a fitted model; pass an instance after fit.")
    for cls in type(obj).__mro__:
        root = cls.__module__.partition(".")[0]
        if root in _LIBRARIES:
            reader: Callable[[Any], Model] = import_module(_LIBRARIES[root]).adapt
            return reader(obj)
        if root in _WHERE_NEXT:
            raise UnsupportedModelError(f"{type(obj).__module__}.{type(obj).__name__}: {_WHERE_NEXT[root]}")
    what = (
        "a function"
        if callable(obj) and not hasattr(obj, "predict")
        else f"{type(obj).__module__}.{type(obj).__name__}"
    )
    raise UnsupportedModelError(
        f"this version explains tree models (scikit-learn, XGBoost, LightGBM, CatBoost) and linear boosters; it got {what}. "
        "If your object wraps such a model, pass the model inside."
    )
