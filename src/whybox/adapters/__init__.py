"""Read foreign objects and model files as verified models. One file or folder per library, imported only when its library is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from whybox.adapters.common import ANY_MODEL_HINT, SKLEARN_PACKAGES, refuse_overridden
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model
from whybox.models.blackbox import RawScores
from whybox.models.categories import Vocabulary
from whybox.models.differentiable import Differentiable
from whybox.models.word_counts import WordCountModel

__all__ = ["adapt", "is_network", "learned_categories", "network", "raw_scores", "takes_texts", "word_counts"]

# package of the object's class -> our module with `adapt(obj) -> Model`
_MODEL_ADAPTERS: Final = {
    "sklearn": "whybox.adapters.sklearn",
    "xgboost": "whybox.adapters.xgboost.estimator",
    "lightgbm": "whybox.adapters.lightgbm.estimator",
    "catboost": "whybox.adapters.catboost.estimator",
    "interpret": "whybox.adapters.interpret",
    "statsmodels": "whybox.adapters.statsmodels",
}
# package of the object's class -> our module with `network(obj, output) -> Differentiable`
_NETWORK_ADAPTERS: Final = {
    "torch": "whybox.adapters.torch",
    "keras": "whybox.adapters.keras.network",
    "equinox": "whybox.adapters.jax.network",
    "flax": "whybox.adapters.jax.network",
    "jax": "whybox.adapters.jax.network",
    "jaxlib": "whybox.adapters.jax.network",
}
_NETWORK_HINTS: Final = {
    "torch": "a neural network is explained by wb.saliency; wrap it in a function of rows for wb.effects.",
    "equinox": "a neural network is explained by wb.saliency; wrap it in a function of rows for wb.effects.",
    "flax": "a neural network is explained by wb.saliency; wrap it in a function of rows for wb.effects.",
    "keras": "a neural network is explained by wb.saliency; wrap it in a function of rows for wb.effects.",
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
        from whybox.adapters.files.load import load_model_file

        return load_model_file(Path(obj), adapt, **options)
    if isinstance(obj, type):
        raise UnsupportedModelError(f"{obj.__name__} is a class, not a fitted model; pass an instance after fit.")
    for cls in type(obj).__mro__:
        package = cls.__module__.partition(".")[0]
        if package in _MODEL_ADAPTERS:
            reader: Callable[[Any], Model] = import_module(_MODEL_ADAPTERS[package]).adapt
            return reader(obj)
        if package in _NETWORK_HINTS:
            raise UnsupportedModelError(f"{type(obj).__module__}.{type(obj).__name__}: {_NETWORK_HINTS[package]}")
    description = (
        "a function"
        if callable(obj) and not hasattr(obj, "predict")
        else f"{type(obj).__module__}.{type(obj).__name__}"
    )
    raise UnsupportedModelError(
        f"this version reads tree models (scikit-learn, XGBoost, LightGBM, CatBoost), linear models and additive models (interpret); it got {description}. "
        "If your object wraps such a model, pass the model inside.",
        hint=ANY_MODEL_HINT,
    )


def raw_scores(obj: Any) -> RawScores | None:
    """Return how an estimator answers on its additive scale; None where that is what it predicts, or where its predict is the user's own.

    None also for a classifier that saw a single class: its raw score is about a class that is not there.
    """
    if len(getattr(obj, "classes_", (0, 1))) == 1:
        return None
    for cls in type(obj).__mro__:
        package = cls.__module__.partition(".")[0]
        if package in _MODEL_ADAPTERS:
            try:
                refuse_overridden(obj, package)
            except UnsupportedModelError:
                return None
            scores: RawScores | None = import_module(_MODEL_ADAPTERS[package]).raw_scores(obj)
            return scores
    return None


def learned_categories(obj: Any, width: int) -> Mapping[int, Vocabulary]:
    """Return the categories that a black-box estimator learned for each of its `width` columns, if it lists them."""
    if type(obj).__module__.partition(".")[0] not in SKLEARN_PACKAGES:
        return {}
    vocabularies: Mapping[int, Vocabulary] = import_module(
        "whybox.adapters.sklearn.categories"
    ).categories_of_estimator(obj, width)
    return vocabularies


def word_counts(obj: Any, method: str) -> WordCountModel | str:
    """Return a model of texts whose first step counts single words, or why it is not read as one."""
    if type(obj).__module__.partition(".")[0] not in SKLEARN_PACKAGES:
        return f"{type(obj).__name__} is no Pipeline of scikit-learn"
    read: WordCountModel | str = import_module("whybox.adapters.sklearn.word_counts").read_word_counts(obj, method)
    return read


def takes_texts(obj: Any) -> bool:
    """Return whether an object is known to take texts, and no tables: a Pipeline that begins with a vectorizer, a pipeline of transformers."""
    if any(kind.__module__.startswith("transformers.pipelines") for kind in type(obj).__mro__):
        return True
    if type(obj).__module__.partition(".")[0] not in SKLEARN_PACKAGES:
        return False
    found: bool = import_module("whybox.adapters.sklearn.word_counts").takes_texts(obj)
    return found


def network(obj: Any, output: Any = None) -> Differentiable:
    """Wrap a neural network.

    Args:
        obj: a torch module, a model of Keras 3, a module of equinox or flax.nnx; functions of JAX through whybox.networks.jax; any other function of
            arrays has outputs, but no derivatives and no layers.
        output: which of several outputs.

    Raises:
        UnsupportedModelError: none of these.
    """
    if isinstance(obj, type):
        raise UnsupportedModelError(f"{obj.__name__} is a class, not a network; pass an instance.")
    module_name = _network_module(obj)
    if module_name is not None:
        wrapper: Callable[[Any, Any], Differentiable] = import_module(module_name).network
        return wrapper(obj, output)
    if callable(obj) and not hasattr(obj, "predict"):
        from whybox.adapters.function import network as function_network

        return function_network(obj, output)
    if "skorch" in _packages(obj):
        raise UnsupportedModelError(
            f"{type(obj).__name__} of skorch holds its network in module_: pass net.module_.eval(), and its inputs as that takes them. "
            "For rows of a table, wb.explain takes the skorch object itself."
        )
    raise UnsupportedModelError(
        "saliency maps are for neural networks (torch, keras, equinox, flax, jax) and functions of arrays; it got "
        f"{type(obj).__module__}.{type(obj).__name__}. For tree models use wb.explain."
    )


def is_network(obj: Any) -> bool:
    """Whether :func:`network` can wrap the object; nothing is imported."""
    return isinstance(obj, Differentiable) or (not isinstance(obj, type) and _network_module(obj) is not None)


def _packages(obj: Any) -> dict[str, None]:
    """The packages of the classes that an object is of, its own first."""
    return dict.fromkeys(cls.__module__.partition(".")[0] for cls in type(obj).__mro__)


def _network_module(obj: Any) -> str | None:
    return next((_NETWORK_ADAPTERS[package] for package in _packages(obj) if package in _NETWORK_ADAPTERS), None)
