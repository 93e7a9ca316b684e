"""Centers and widths of Gaussians, each with its own, learnt from hybrids by Adam (Kingma & Ba 2015) on small batches."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats

__all__ = ["learn_gaussians"]

# Chosen on 10,000 to 30,000 hybrids of three models (two networks, a logistic regression with products): batches of 512 take twice as long and leave 3 % less, more
# steps leave no less. Cosines of learnt directions leave as much as these Gaussians, and exact values of them are complex numbers
GAUSSIANS: Final = 256  # at most
STEPS: Final = 2_000
BATCH: Final = 256  # hybrids of a step
MAX_NUMBERS: Final = STEPS * 20  # steps times features: more features take fewer steps
RATE: Final = 0.05  # at the first step; it falls to zero along a cosine
MEMORY: Final = (0.9, 0.99)  # of the slope and of its square
SMALLEST: Final = 1e-8  # root of the mean square of a slope
LOG_BOUNDS: Final = (-8.0, 2.0)  # of an inverse width, in standard deviations
LEAST_INVERSE: Final = 0.05  # of an inverse width at the start
START: Final = 0.05  # standard deviation of coefficients at the start
_STREAM: Final = 0x1EA2

Singles = npt.NDArray[np.float32]


def learn_gaussians(features: Floats, targets: Floats, inverse_widths: Floats) -> tuple[Floats, Floats]:
    """Return centers and inverse widths, (Gaussians, features) each. They depend on what is given alone.

    Args:
        features: of hybrids in random order, (hybrids, features), hundreds of hybrids at least; the first are the centers at the start.
        targets: (hybrids, outputs), of variance 1. inverse_widths: (features,), at the start.
    """
    n, size = features.shape
    count, outputs, batch = min(GAUSSIANS, n), targets.shape[1], min(BATCH, n)
    x: Singles = np.concatenate([features, features**2, np.ones((n, 1))], axis=1).astype(np.float32)
    y: Singles = targets.astype(np.float32)
    shapes = [(size, count), (size, count), (count, outputs), (size, outputs), (outputs,)]
    numbers, (centers, logs, coefficients, linear, intercept) = _views(shapes)
    slope, slopes = _views(shapes)
    centers[:] = x[:count, :size].T
    logs[:] = np.log(np.maximum(inverse_widths, LEAST_INVERSE))[:, None]
    coefficients[:] = START * np.random.default_rng(_STREAM).standard_normal(coefficients.shape)
    first, second = np.zeros((2, len(numbers)), dtype=np.float32)
    # arrays are filled again and again: new ones of this size take most of the time
    values, weighted = np.empty((2, batch, count), dtype=np.float32)
    terms, sums = np.empty((2, 2 * size + 1, count), dtype=np.float32)
    steps = min(STEPS, max(1, MAX_NUMBERS // size))
    for step in range(steps):
        at = step % (n // batch) * batch
        here = x[at : at + batch]
        # exponents are sums over features of -(inverse width * (feature - center))^2 / 2
        squares = np.exp(2 * logs)
        np.multiply(squares, centers, out=terms[:size])
        np.multiply(squares, np.float32(-0.5), out=terms[size:-1])
        terms[-1] = (terms[size:-1] * centers**2).sum(axis=0)
        np.exp(np.matmul(here, terms, out=values), out=values)
        rest = values @ coefficients + here[:, :size] @ linear + intercept - y[at : at + batch]
        rest *= np.float32(2 / batch)
        slopes[2][:], slopes[3][:], slopes[4][:] = values.T @ rest, here[:, :size].T @ rest, rest.sum(axis=0)
        np.matmul(rest, coefficients.T, out=weighted)
        weighted *= values  # slopes of exponents
        np.matmul(here.T, weighted, out=sums)
        slopes[0][:] = squares * (sums[:size] - centers * sums[-1])
        slopes[1][:] = squares * (2 * centers * sums[:size] - sums[size:-1] - centers**2 * sums[-1])
        rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
        _adam(numbers, slope, first, second, step + 1, rate)
        np.clip(logs, *LOG_BOUNDS, out=logs)
    return centers.T.astype(np.float64), np.exp(logs.T.astype(np.float64))


def _views(shapes: list[Any]) -> tuple[Singles, list[Singles]]:
    """Return zeros in one array, and arrays of the shapes that are parts of it."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    numbers = np.zeros(ends[-1], dtype=np.float32)
    return numbers, [part.reshape(shape) for part, shape in zip(np.split(numbers, ends[:-1]), shapes, strict=True)]


def _adam(numbers: Singles, slope: Singles, first: Singles, second: Singles, step: int, rate: float) -> None:
    """Take one step."""
    short, long = MEMORY
    first += np.float32(1 - short) * (slope - first)
    second += np.float32(1 - long) * (slope**2 - second)
    root = np.sqrt(second / np.float32(1 - long**step))
    numbers -= np.float32(rate / (1 - short**step)) * first / (root + np.float32(SMALLEST))
