"""One sample for all rows: independent scramblings of a Sobol sequence, which grow until the answer is settled.

The error of a mean is taken from the spread of the scramblings: no formula for the variance knows how evenly such points lie.

Source: Owen (1997), Monte Carlo variance of scrambled net quadrature, doi:10.1137/S0036142994277468.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
from scipy.stats import qmc

from whybox.data.table import Floats
from whybox.errors import NonFiniteError
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.lime.design import Sample, sample_of
from whybox.methods.lime.problem import Neighbourhood

__all__ = ["REPLICATES", "LocalValues", "SharedSample", "UniformNumbers", "finite_outputs"]

REPLICATES: Final = 16  # independent scramblings
MAX_SOBOL_PLAYERS: Final = 21201  # that SciPy has directions for


@final
@dataclass(frozen=True, eq=False)
class LocalValues:
    """Coefficients of a linear model near each row.

    Attributes:
        values: (rows, players, outputs). std_error: the same shape, None where exact. mean: (rows, outputs), weighted mean of the output.
        variance: (rows, outputs), weighted variance of the output, from a sample. replicates: (replicates, rows, players, outputs), None where exact.
        predictions: of single rows, beside those of the rows themselves. notes: for the reader.
    """

    values: Floats
    std_error: Floats | None
    mean: Floats
    variance: Floats
    predictions: int
    notes: tuple[str, ...] = ()


@final
@dataclass
class SharedSample:
    """A sample that grows by doubling, each scrambling by the next points of its own sequence.

    Attributes:
        neighbourhood: what it is drawn from. evaluator: of the model. samples: what was drawn so far, one each time. outputs: of each.
    """

    neighbourhood: Neighbourhood
    evaluator: HybridEvaluator
    samples: list[Sample] = field(default_factory=list)
    outputs: list[Floats] = field(default_factory=list)
    _engines: list[UniformNumbers] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = len(self.neighbourhood.distributions)
        for r in range(REPLICATES):
            self._engines.append(
                UniformNumbers(count, np.random.default_rng([self.neighbourhood.options.seed % 2**63, r]))
            )

    @property
    def draws(self) -> int:
        """How many draws each scrambling has."""
        return sum(map(len, self.samples)) // REPLICATES

    def grow(self, draws: int) -> None:
        """Draw so many more for each scrambling, and evaluate the model on them.

        Raises:
            LimitError: more predictions than allowed. NonFiniteError: an output is NaN or infinite.
        """
        u = np.concatenate([engine(draws) for engine in self._engines])
        background = self.neighbourhood.background.table
        sample = sample_of(background, self.neighbourhood.distributions, u)
        what = f"LIME, {len(u):,} sampled rows"
        self.samples.append(sample)
        self.outputs.append(finite_outputs(self.evaluator.evaluate_rows(sample.table, np.arange(len(u)), what=what)))


def finite_outputs(outputs: Floats) -> Floats:
    """Return outputs of sampled rows, (rows, outputs).

    Raises:
        NonFiniteError: one is infinite.
    """
    if np.isinf(outputs).any():
        raise NonFiniteError(
            "the model's output is infinite for some of these rows or of rows near them, so no mean of outputs is defined. "
            "Leave such rows out, or explain a function of the output that is finite."
        )
    return outputs


@final
class UniformNumbers:
    """A scrambled Sobol sequence, which goes on with each call; independent numbers beyond the columns that it has directions for.

    Args:
        count: numbers of each draw. rng: scrambles, or draws.
    """

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self._count, self._rng = count, rng
        self._sobol = None if count > MAX_SOBOL_PLAYERS else qmc.Sobol(count, scramble=True, seed=rng)

    def __call__(self, draws: int) -> Floats:
        """Return the next draws, (draws, count), numbers of [0, 1)."""
        return self._rng.random((draws, self._count)) if self._sobol is None else np.asarray(self._sobol.random(draws))
