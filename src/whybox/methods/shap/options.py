"""Options of attributions by SHAP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from whybox.core.validation import check_whole_number
from whybox.core.workers import check_jobs
from whybox.errors import Argument, OptionError
from whybox.games.indices import Index, as_index
from whybox.methods.common.options import check_max_evals, option
from whybox.methods.common.spot_checks import check_spot_checks
from whybox.methods.registry import family_ids

__all__ = ["AUTOMATIC_METHODS", "ShapOptions"]

AUTOMATIC_METHODS: Final = (
    "auto",
    "exact",
)  # what may be asked for instead of one method: the first that fits the model, the first exact one


@final
@dataclass(frozen=True, kw_only=True)
class ShapOptions:
    """What ``wb.explain`` and the explainers take beside model, background and rows; see there for each in full.

    Raises:
        OptionError: a value that is not known or out of range.
    """

    method: str = option("auto", "auto or exact (exact or refused), rescaled (approximate, for probabilities)")
    output: Any = option(None, "name of a class or output, or all")
    scale: str | None = option(None, "raw, probability or response", choices=(None, "raw", "probability", "response"))
    order: int = option(1, "1: attributions; 2: pairwise interactions", choices=(1, 2))
    players: Any = option(None, "columns that share the credit as one", as_text=False)
    index: str | Index = option("shapley", "shapley, banzhaf, 'banzhaf(p)' or 'beta(a, b)'")
    background_weight: Any = option(None, "one weight a background row", as_text=False)
    seed: int = option(0, "draws what is checked; exact methods draw nothing else")
    additivity_tol: float | None = option(None, "largest accepted difference from the prediction")
    max_evals: int | None = option(
        None, "most predictions of one call where coalitions are enumerated: 2^features x rows x background rows"
    )
    n_jobs: int | None = option(None, "threads")
    dtype: Any = option(None, "arithmetic", choices=(None, "float32", "float64"))
    sparse: bool = option(False, "leave out features that the model does not read, or pairs that share no path")
    spot_checks: int | None = option(None, "predictions that recompute numbers of the answer; 0: none")

    def __post_init__(self) -> None:
        if not isinstance(self.order, (int, np.integer)) or self.order not in (1, 2):
            raise OptionError(Argument("order", self.order), ": 1 gives attributions, 2 gives pairwise interactions.")
        known = (*AUTOMATIC_METHODS, *family_ids("shap"))
        if not isinstance(self.method, str) or self.method not in known:
            raise OptionError(Argument("method", self.method), " is not known here.", known=known)
        check_whole_number("seed", self.seed, None)
        tol = self.additivity_tol
        if tol is not None and not (isinstance(tol, (int, float)) and tol > 0):
            raise OptionError(
                Argument("additivity_tol", tol), " must be a positive number: the largest residual you accept."
            )
        if (
            self.dtype is not None
            and str(self.dtype) not in ("float32", "float64")
            and self.dtype not in (np.float32, np.float64)
        ):
            raise OptionError(
                Argument("dtype", self.dtype),
                ": attributions are computed in 'float32' or 'float64'; None takes what the model's library computes in.",
            )
        if not isinstance(self.sparse, bool):
            raise OptionError(
                Argument("sparse", self.sparse),
                ": True keeps what can differ from zero alone, the features that the model reads or, with ",
                Argument("order", 2),
                ", pairs that share a path; else leave it out.",
            )
        plain = {
            "order": int(self.order),
            "index": as_index(self.index),
            "seed": int(self.seed),
            "additivity_tol": None if tol is None else float(tol),
            "max_evals": check_max_evals(self.max_evals),
            "n_jobs": check_jobs(self.n_jobs),
            "spot_checks": check_spot_checks(self.spot_checks),
            "dtype": None if self.dtype is None else "float32" if np.dtype(self.dtype) == np.float32 else "float64",
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @property
    def game_index(self) -> Index:
        """The index as its quadrature."""
        return as_index(self.index)
