"""Normal distributions cut off at both ends, element by element."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from whybox.data.table import Floats

__all__ = ["mass_below", "truncated_mean", "truncated_quantile"]

_ROOT_2PI = float(np.sqrt(2.0 * np.pi))


def _standardized(value: Floats, mean: Floats, std: Floats) -> Floats:
    return np.asarray((value - mean) / std)


def mass_below(value: Floats, mean: Floats, std: Floats, low: Floats, high: Floats) -> Floats:
    """Return the probability of being at most `value`; all arguments broadcast, `std` is positive and `low` < `high`."""
    a, b = ndtr(_standardized(low, mean, std)), ndtr(_standardized(high, mean, std))
    inside = ndtr(_standardized(np.clip(value, low, high), mean, std))
    return np.asarray((inside - a) / (b - a))


def truncated_quantile(u: Floats, mean: Floats, std: Floats, low: Floats, high: Floats) -> Floats:
    """Return the value below which a share `u` lies."""
    a, b = ndtr(_standardized(low, mean, std)), ndtr(_standardized(high, mean, std))
    return np.asarray(np.clip(mean + std * ndtri(a + u * (b - a)), low, high))


def truncated_mean(mean: Floats, std: Floats, low: Floats, high: Floats) -> Floats:
    """Return the mean of the distribution that is cut off, which is not that of the normal."""
    a, b = _standardized(low, mean, std), _standardized(high, mean, std)
    density = (np.exp(-(a**2) / 2.0) - np.exp(-(b**2) / 2.0)) / _ROOT_2PI
    return np.asarray(np.clip(mean + std * density / (ndtr(b) - ndtr(a)), low, high))
