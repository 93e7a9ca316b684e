"""One sample for all rows: independent scramblings of a Sobol sequence, which grow until the answer is settled.

The error of a mean is taken from the spread of the scramblings: no formula for the variance knows how evenly such points lie.

Source: Owen (1997), Monte Carlo variance of scrambled net quadrature, doi:10.1137/S0036142994277468.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, final

import numpy as np
from scipy.stats import qmc

from whybox.data.table import Floats
from whybox.errors import NonFiniteError
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.output import raw_selection
from whybox.methods.lime.additive_fit import AdditiveBasis, AdditiveFit, additive_basis, solve_additive
from whybox.methods.lime.problem import Neighbourhood
from whybox.methods.lime.sample import Sample, places_of, sample_of
from whybox.models.base import Model

__all__ = ["REPLICATES", "DrawnRows", "LocalValues", "RawDraws", "SharedSample", "UniformNumbers", "finite_outputs"]

LARGEST_OUTPUT: Final = 1e150  # squares of differences of two such outputs, over a million draws, add up to a number
REPLICATES: Final = 16  # independent scramblings
MAX_KEPT: Final = 2**20  # numbers of drawn rows, and as many functions of them, that an explainer keeps
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
class DrawnRows:
    """Rows that are drawn from the background's distribution of each player: the same at every call of an explainer, so the first of them are kept.

    Args:
        neighbourhood: what they are drawn from.
    """

    def __init__(self, neighbourhood: Neighbourhood) -> None:
        self.neighbourhood = neighbourhood
        self._kept: dict[tuple[int, int], Sample] = {}
        self._terms: dict[tuple[int, int], Floats] = {}
        self._engines: list[UniformNumbers] = []
        self._position = 0  # of the engines

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": {}, "_terms": {}, "_engines": []}  # they are drawn again

    def sample(self, first: int, draws: int) -> Sample:
        """Return so many draws of each scrambling, from the one at `first` on; those of a scrambling follow each other."""
        kept = self._kept.get((first, draws))
        if kept is not None:
            return kept
        distributions = self.neighbourhood.distributions
        if not self._engines or first != self._position:
            seed = self.neighbourhood.options.seed % 2**63
            self._engines = [
                UniformNumbers(len(distributions), np.random.default_rng([seed, r])) for r in range(REPLICATES)
            ]
            if first:
                for engine in self._engines:
                    engine(first)
        u = np.concatenate([engine(draws) for engine in self._engines])
        self._position = first + draws
        sample = sample_of(self.neighbourhood.background.table, distributions, u)
        if self._is_kept(first, draws):
            self._kept[first, draws] = sample
        return sample

    @cached_property
    def basis(self) -> AdditiveBasis:
        """The functions of an additive fit."""
        return additive_basis(self.neighbourhood.distributions)

    def terms(self, first: int, sample: Sample) -> Floats:
        """Return the functions of an additive fit at the draws from `first` on, (draws, terms)."""
        key = first, len(sample) // REPLICATES
        terms = self._terms.get(key)
        if terms is None:
            terms = self.basis.evaluate(sample, places_of(self.neighbourhood.distributions, sample))
            if self._is_kept(*key):
                self._terms[key] = terms
        return terms

    def _is_kept(self, first: int, draws: int) -> bool:
        return (first + draws) * REPLICATES * max(len(self.neighbourhood.distributions), self.basis.terms) <= MAX_KEPT


@final
class RawDraws:
    """Raw outputs of drawn rows, evaluated once for several samples of the same rows whose outputs have different offsets.

    Args:
        model: that is read.
    """

    def __init__(self, model: Model) -> None:
        self._evaluator = HybridEvaluator(model, raw_selection(model.outputs))
        self._kept: dict[tuple[int, int], Floats] = {}

    @property
    def spent(self) -> int:
        """Predictions of single rows made so far."""
        return self._evaluator.spent

    def outputs(self, first: int, sample: Sample, what: str) -> Floats:
        """Return the raw outputs of a sample, (draws, model outputs); `first` is as of :meth:`DrawnRows.sample`, `what` is shown beside the progress bar."""
        key = first, len(sample)
        if key not in self._kept:
            self._kept[key] = self._evaluator.evaluate_rows(sample.table, np.arange(len(sample)), what=what)
        return self._kept[key]


@final
@dataclass
class SharedSample:
    """A sample that grows by doubling, each scrambling by the next points of its own sequence.

    Attributes:
        drawn: the rows. evaluator: of the model. samples: what was drawn so far, one each time. outputs: of each. unseen_outputs: of the first draws
            with cells that the background never has; None: not evaluated. raw: what the outputs are made of, where these are known; each draw still counts.
    """

    drawn: DrawnRows
    evaluator: HybridEvaluator
    samples: list[Sample] = field(default_factory=list)
    outputs: list[Floats] = field(default_factory=list)
    unseen_outputs: Floats | None = None
    raw: RawDraws | None = None
    _gram: Floats | None = None
    _moments: Floats | None = None
    _in_sums: int = 0  # samples that the two hold

    @property
    def draws(self) -> int:
        """How many draws each scrambling has."""
        return sum(map(len, self.samples)) // REPLICATES

    @property
    def middle(self) -> Floats:
        """Mean output of the first draws, (outputs,), which is taken off where sums would lose a small spread beside a large mean."""
        return np.asarray(self.outputs[0].mean(axis=0))

    def grow(self, draws: int) -> None:
        """Draw so many more for each scrambling, and evaluate the model on them.

        Raises:
            LimitError: more predictions than allowed. NonFiniteError: an output is NaN or infinite.
        """
        sample = self.drawn.sample(self.draws, draws)
        what = f"LIME, {len(sample):,} sampled rows"
        if self.raw is None:
            outputs = self.evaluator.evaluate_rows(sample.table, np.arange(len(sample)), what=what)
        else:
            self.evaluator.spent += len(sample)
            known = self.raw.outputs(self.draws, sample, what)
            outputs = self.evaluator.output.from_raw(known, self.evaluator.model.outputs.link)
        outputs = finite_outputs(outputs)
        self.samples.append(sample)
        self.outputs.append(outputs)

    def fit(self) -> AdditiveFit | None:
        """Fit functions of one player each to all outputs; None where the draws are too few for that."""
        basis, total = self.drawn.basis, sum(map(len, self.samples))
        if not basis.is_fitted_to(total):
            return None
        if self._gram is None or self._moments is None:
            self._gram = np.zeros((basis.terms, basis.terms))
            self._moments = np.zeros((basis.terms, self.outputs[0].shape[1]))
        for i in range(self._in_sums, len(self.samples)):
            terms = self._terms(i)
            self._gram += terms.T @ terms
            self._moments += terms.T @ (self.outputs[i] - self.middle)
        self._in_sums = len(self.samples)
        return solve_additive(basis, self._gram, self._moments, total, self.middle)

    def rests(self, fit: AdditiveFit | None) -> list[Floats]:
        """Return what a fit leaves of the outputs of each sample, (draws, outputs); without one the distance from :attr:`middle`."""
        if fit is None:
            return [out - self.middle for out in self.outputs]
        return [out - self._terms(i) @ fit.weights for i, out in enumerate(self.outputs)]

    def _terms(self, i: int) -> Floats:
        return self.drawn.terms(sum(map(len, self.samples[:i])) // REPLICATES, self.samples[i])


def finite_outputs(outputs: Floats) -> Floats:
    """Return outputs of sampled rows, (rows, outputs).

    Raises:
        NonFiniteError: one is infinite, or so large that squares of it are.
    """
    if np.isinf(outputs).any():
        raise NonFiniteError(
            "the model's output is infinite for some of these rows or of rows near them, so no mean of outputs is defined. "
            "Leave such rows out, or explain a function of the output that is finite."
        )
    if (np.abs(outputs) > LARGEST_OUTPUT).any():
        raise NonFiniteError(
            "the model's output for some of these rows or of rows near them is so large that its square is beyond the largest number, so no spread of outputs is "
            "defined. Leave such rows out, or explain a function of the output that is smaller."
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
