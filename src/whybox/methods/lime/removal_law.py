"""LIME's law of texts with some words removed, and the linear projection under it, in closed form.

The number of removed words is uniform on 1, ..., d, and which ones are removed is uniform. A text with s of its d words left is at the cosine distance
1 - sqrt(s / d) from the full text; its weight is exp(-distance^2 / (2 width^2)), where distances are multiplied by 100. Weights depend on s alone, so the
weighted law treats all words alike: the covariance of presences has one number on its diagonal and one off it, and its inverse is known.

Source: lime 0.2.0.1, lime_text.py and lime_base.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError

__all__ = ["KERNEL_WIDTH", "LIME_SAMPLES", "RemovalLaw"]

KERNEL_WIDTH: Final = 25.0  # lime's own
LIME_SAMPLES: Final = 5000  # samples that lime draws, beside which its ridge penalty is small or large
MIN_SIZE_VARIANCE: Final = 1e-6  # of the number of words present: below it all texts have the same number, and the level of coefficients is not defined


@final
@dataclass(frozen=True)
class RemovalLaw:
    """The weighted law of which words are present, for a text of several words.

    Attributes:
        n_words: d, at least 2. kernel_width: of lime, for distances times 100.
    """

    n_words: int
    kernel_width: float = KERNEL_WIDTH

    def __post_init__(self) -> None:
        if self.size_variance < MIN_SIZE_VARIANCE:
            raise OptionError(
                Argument("kernel_width", self.kernel_width),
                f" is too narrow for a text of {self.n_words:,} words: all weight is on texts without a single word, and how the others change the prediction is not "
                "seen. Use a wider one; lime's own is 25.",
            )

    @cached_property
    def sizes(self) -> Floats:
        """Numbers of words present, 0, ..., d - 1, as floats."""
        return np.arange(self.n_words, dtype=np.float64)

    @cached_property
    def _log_weights(self) -> Floats:
        distance = 100.0 * (1.0 - np.sqrt(self.sizes / self.n_words))
        return np.asarray(-0.5 * (distance / self.kernel_width) ** 2)

    @cached_property
    def size_law(self) -> Floats:
        """Probability of each number of words present under the weighted law, (d,)."""
        weights = np.exp(self._log_weights - self._log_weights.max())
        return np.asarray(weights / weights.sum())

    @cached_property
    def mean_weight(self) -> float:
        """Mean weight of a sample of lime."""
        return float(np.exp(self._log_weights).mean())

    def size_mean(self, of_size: Floats) -> Floats:
        """Return the mean of a function of the number of words present, given as (d,) or (d, functions)."""
        return np.asarray(self.size_law @ of_size)

    @cached_property
    def presence(self) -> float:
        """Probability that a word is present."""
        return float(self.size_mean(self.sizes)) / self.n_words

    @cached_property
    def size_variance(self) -> float:
        """Variance of the number of words present."""
        return float(self.size_mean((self.sizes - self.n_words * self.presence) ** 2))

    @cached_property
    def _own_variance(self) -> float:
        """Eigenvalue of the covariance for contrasts between words: its diagonal less what is off it."""
        d, s = self.n_words, self.sizes
        return float(self.size_mean(s * (d - s))) / (d * (d - 1))

    @cached_property
    def _shared_variance(self) -> float:
        """Eigenvalue of the covariance for the sum over all words."""
        return self.size_variance / self.n_words

    def solve(self, covariance: Floats) -> Floats:
        """Return the coefficients of the linear fit of an output, from its covariances with the presence of words, (words, ...)."""
        mean = covariance.mean(axis=0)
        return np.asarray((covariance - mean) / self._own_variance + mean / self._shared_variance)

    def shrink(self, coefficients: Floats, alpha: float) -> Floats:
        """Return the coefficients, (words, ...), as lime's ridge with the penalty `alpha` and 5,000 samples shrinks them."""
        total = LIME_SAMPLES * self.mean_weight
        own, shared = (total * v / (total * v + alpha) for v in (self._own_variance, self._shared_variance))
        mean = coefficients.mean(axis=0)
        return np.asarray(own * (coefficients - mean) + shared * mean)

    def covariance_of_size(self, of_size: Floats) -> Floats:
        """Return the covariance of any word's presence with functions of the number of words present, given as (d,) or (d, functions)."""
        mean = self.size_mean(of_size)
        return np.asarray((of_size - mean).T @ (self.size_law * self.sizes) / self.n_words)

    def covariance_of_scaled(self, scale: Floats) -> tuple[float, float]:
        """Return the covariances of a word's presence with ``presence * scale(size)``: of the word itself, and of any other word.

        Args:
            scale: function of the number of words present, (d,).
        """
        d, s = self.n_words, self.sizes
        mean = float(self.size_mean(scale * s)) / d
        other = float(self.size_mean(scale * s * (s - 1))) / (d * (d - 1)) if d > 1 else 0.0
        return mean * (1.0 - self.presence), other - self.presence * mean
