"""Link functions from a model's additive (raw) scale to the scale of its predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import OptionError

__all__ = ["CLASS_LINKS", "CLASS_UNITS", "ELEMENTWISE_LINKS", "PREDICTION_UNITS", "Link", "Outputs"]

PREDICTION_UNITS: Final = "prediction"  # the units, and the name of the only output, of a model that names neither


def _sigmoid(raw: Floats, scale: float) -> Floats:
    from scipy.special import expit

    return np.asarray(expit(scale * raw))


def _softmax(raw: Floats, scale: float) -> Floats:
    shifted = scale * (raw - raw.max(axis=-1, keepdims=True))
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def _normalized_sigmoid(raw: Floats, scale: float) -> Floats:
    """One sigmoid for each class against the rest, divided by their sum; equal shares where all are zero (scikit-learn's one-vs-rest)."""
    shares = _sigmoid(raw, scale)
    total = shares.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(shares, total, out=np.full(shares.shape, 1.0 / raw.shape[-1]), where=total > 0))


def _cumulative_softplus(raw: Floats, _: float) -> Floats:
    """First output, then softplus increments, so that levels never cross (XGBoost's expectiles)."""
    return np.asarray(np.cumsum(np.concatenate([raw[..., :1], np.logaddexp(0.0, raw[..., 1:])], axis=-1), axis=-1))


def _mean_and_variance(raw: Floats, _: float) -> Floats:
    """A mean unchanged, and a variance from the log of a standard deviation."""
    return np.asarray(np.concatenate([raw[..., :1], np.exp(2.0 * raw[..., 1:])], axis=-1))


_LINK_FUNCTIONS: Final[dict[str, Callable[[Floats, float], Floats]]] = {
    "identity": lambda raw, _: raw,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "normalized sigmoid": _normalized_sigmoid,
    "exp": lambda raw, scale: np.exp(scale * raw),
    "step": lambda raw, _: (raw > 0).astype(np.float64),
    "signed square": lambda raw, _: np.sign(raw) * raw * raw,
    "log1p exp": lambda raw, _: np.logaddexp(0.0, raw),
    "cumulative softplus": _cumulative_softplus,
    "mean and variance": _mean_and_variance,
    "anomaly score": lambda raw, scale: -np.exp2(-raw / scale),
}
ELEMENTWISE_LINKS: Final = frozenset(_LINK_FUNCTIONS) - {
    "softmax",
    "normalized sigmoid",
    "cumulative softplus",
    "mean and variance",
}
CLASS_UNITS: Final = frozenset(
    {"log-odds", "half log-odds", "log-odds (softmax)", "probability"}
)  # of outputs that are about a class
CLASS_LINKS: Final = frozenset({"softmax", "normalized sigmoid"})  # whose probabilities add up to one over the outputs


@final
@dataclass(frozen=True)
class Link:
    """A named function from raw outputs (..., outputs) to predictions of the same shape.

    ``function`` overrides the name, for a user's own inverse transform; it must be picklable to be kept in an explainer that is.
    """

    name: str = "identity"
    scale: float = 1.0
    function: Callable[[Floats], Floats] | None = None

    def __post_init__(self) -> None:
        if self.function is None and self.name not in _LINK_FUNCTIONS:
            raise OptionError(f"no link is named {self.name!r}.")

    @property
    def is_identity(self) -> bool:
        """Whether raw outputs are predictions already."""
        return self.function is None and self.name == "identity"

    def __call__(self, raw: Floats) -> Floats:
        """Return the predictions for raw outputs of shape (..., outputs)."""
        return self.function(raw) if self.function is not None else _LINK_FUNCTIONS[self.name](raw, self.scale)


@final
@dataclass(frozen=True)
class Outputs:
    """The outputs of a model: one name per raw output, the link to predictions, and the units of both scales.

    ``negative_class`` is the name of the other class of a binary classifier, whose single output is about the positive class.
    ``scale`` is the only scale that is explained, where a method of an estimator was passed; None: any.
    """

    names: tuple[str, ...]
    link: Link = Link()
    raw_units: str = PREDICTION_UNITS
    response_units: str = PREDICTION_UNITS
    negative_class: str | None = None
    scale: Literal["raw", "response"] | None = None

    @property
    def additive_probability(self) -> bool:
        """Whether the raw output already is a probability (forests), so that probabilities are explained exactly as they are."""
        return self.link.is_identity and self.raw_units == "probability"

    @property
    def response_words(self) -> str:
        """What the model predicts, in words: ``numbers``, or the units of its predictions."""
        return "numbers" if self.response_units == PREDICTION_UNITS else self.response_units

    @property
    def has_probability(self) -> bool:
        """Whether predictions are probabilities on either scale."""
        return "probability" in (self.raw_units, self.response_units)
