"""A method that gives the maps it was made with: what checks are held against."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from whybox.methods.saliency.base import Method, MethodOutput


@dataclass(frozen=True)
class Fixed(Method):
    """Gives the maps it was made with, in the order of the rows."""

    maps: tuple = ()
    base: float | None = None
    draws: float = 0.0
    name: ClassVar[str] = "fixed"
    title: ClassVar[str] = "Fixed"

    def __call__(self, problem):
        value = np.array(self.maps[: problem.n_rows], dtype=float).reshape(problem.inputs[0].x.shape)
        value = value + self.draws * np.random.default_rng(problem.seed).normal(size=value.shape)
        base = None if self.base is None else np.full((problem.n_rows, 1), self.base)
        return MethodOutput([[value]], "none", "none", base_scores=base, exact=not self.draws)
